"""What of a revision readers will see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

#: Columns of `point_velocity` by length of the window in days; 0 is the whole record.
WINDOWS = {0: "velocity", 150: "velocity_150d", 365: "velocity_365d"}
_RASTERS = (
    "temporal_coherence",
    "observations",
    "reliable",
    "why_not",
    "zone",
    "evidence",
    "blind",
    "stage",
    "stage_since",
    "stage_confidence",
)

Raster = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PublishedArrays:
    """Everything that readers will see of a revision.

    Rasters have shape (rows, columns) of the grid; line of sight, negative away from the satellite; NaN is no-data.
    A pixel is published from the first revision on in which it has an observation.
    """

    grid: Grid
    #: Acquisition dates, ascending.
    epochs: tuple[date, ...]
    #: Shape (epochs, rows, columns), relative to the first epoch, with what a wrong height feigns still in it.
    los_mm: Raster
    #: By length of the window in days (0, 150, 365).
    velocity_mm_yr: Mapping[int, Raster]
    velocity_sd_mm_yr: Mapping[int, Raster]
    #: As if noise were independent in time (MintPy's), and how many epochs each line used; for the same windows.
    velocity_white_sd_mm_yr: Mapping[int, Raster]
    epochs_used: Mapping[int, Raster]
    temporal_coherence: Raster
    #: Number of interferograms with a value.
    observations: Raster
    reliable: Raster
    #: Codes of the reasons against an alert; a code that is not in ``why_not_texts`` means none.
    why_not: Raster
    why_not_texts: Mapping[int, str]
    #: Indices of zones; an index that is not in ``zone_ids`` means none.
    zone: Raster
    zone_ids: Mapping[int, str]
    #: What the windows prove: numbers in ``evidence_texts``.
    evidence: Raster
    evidence_texts: Mapping[int, str]
    #: Where InSAR cannot see: codes; a code that is not in ``blind_texts`` means that nothing hides the ground there.
    blind: Raster
    blind_texts: Mapping[int, str]
    #: Stage of movement: numbers in ``stage_texts``, day since when (`date.toordinal`, 0 unknown), confidence 0 to 1.
    stage: Raster
    stage_texts: Mapping[int, str]
    stage_since: Raster
    stage_confidence: Raster
    #: The first epoch whose values may differ from the head's, where the caller knows it; None compares all.
    changed_from: date | None = None
    #: What a wrong height feigns: mm per metre of perpendicular baseline, NaN where it was not estimated; and the
    #: baselines of the epochs. None takes nothing away.
    topography_mm_per_m: Raster | None = None
    perpendicular_m: NDArray[np.floating] | None = None
    #: Mean angle between the vertical and the line of sight.
    incidence_deg: float | None = None

    def __post_init__(self) -> None:
        if list(self.epochs) != sorted(set(self.epochs)) or not self.epochs:
            raise ValueError("epochs must be ascending dates, each once, and at least one")
        shapes = {
            "los_mm": (self.los_mm.shape, (len(self.epochs), *self.grid.shape)),
            **{
                f"velocity {days}": (raster.shape, self.grid.shape)
                for days, raster in self.velocity_mm_yr.items()
            },
            **{
                f"sd {days}": (raster.shape, self.grid.shape)
                for days, raster in self.velocity_sd_mm_yr.items()
            },
        }
        for name in _RASTERS:
            shapes[name] = (getattr(self, name).shape, self.grid.shape)
        for name, (found, expected) in shapes.items():
            if tuple(found) != tuple(expected):
                raise ValueError(f"{name} has shape {found}, the grid asks for {expected}")
        if not set(self.velocity_mm_yr) == set(self.velocity_sd_mm_yr) <= set(WINDOWS):
            raise ValueError(f"velocities and their sd are for the same windows out of {sorted(WINDOWS)}")

    @property
    def newest_mm(self) -> Raster:
        """Displacement at the newest epoch, as it is shown."""
        if self.topography_mm_per_m is None or self.perpendicular_m is None:
            return self.los_mm[-1]
        return self.los_mm[-1] - np.nan_to_num(self.topography_mm_per_m) * self.perpendicular_m[-1]
