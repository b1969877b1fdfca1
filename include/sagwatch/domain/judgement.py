"""What a judgement looks at, what it remembers, and what it says: the nouns of `judge`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import Alert, AlertEvent
from sagwatch.domain.footprint import Footprint
from sagwatch.domain.rules import ZoneWindow
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zones import Zone


def pair_days(dates: Sequence[date]) -> float:
    """The time that an interferogram usually spans at most: two pauses between the latest acquisitions."""
    pauses = [(later - earlier).days for earlier, later in pairwise(dates[-14:])]
    return 2.0 * median(pauses) if pauses else 24.0


@dataclass(frozen=True)
class GroundView:
    """The ground as the solution up to one acquisition shows it; arrays of shape (rows, columns).

    ``windows`` are the rule's, ``whole`` is the whole record. ``observed``: the pixel has data at this acquisition.
    ``reliable``: its temporal coherence suffices. ``displacement_mm`` is LOS since the record began.
    """

    epoch: date
    windows: tuple[WindowVelocity, ...]
    whole: WindowVelocity
    observed: NDArray[np.bool_]
    reliable: NDArray[np.bool_]
    displacement_mm: NDArray[np.float32]
    incidence_deg: float | None = None
    #: The history that all this is made of: shape (n_epochs, rows, columns), metres. Without it no rule looks back.
    dates: tuple[date, ...] = ()
    los_m: NDArray[np.float32] | None = None
    #: Pixels whose interferograms with this acquisition contradict each other by whole cycles; None: not known.
    misclosed: NDArray[np.bool_] | None = None

    @property
    def pair_days(self) -> float:
        """See `pair_days`."""
        return pair_days(self.dates)


@dataclass(frozen=True)
class WatchState:
    """What has to be remembered between acquisitions: zones, and the newest alert of each rule about each."""

    zones: tuple[Zone, ...] = ()
    alerts: tuple[Alert, ...] = ()
    last_epoch: date | None = None


@dataclass(frozen=True, slots=True)
class ZoneSnapshot:
    """A living zone as one acquisition shows it."""

    zone_id: str
    epoch: date
    footprint: Footprint
    area_m2: float
    seen: bool
    window: ZoneWindow
    windows: tuple[ZoneWindow, ...]
    displacement_mm: float | None
    no_data_fraction: float
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One acquisition, judged.

    ``zone_index`` numbers the pixels by their place in ``zone_ids``, -1 outside; ``reasons`` are `Reason` numbers.
    """

    epoch: date
    state: WatchState
    snapshots: tuple[ZoneSnapshot, ...]
    events: tuple[AlertEvent, ...]
    zone_ids: tuple[str, ...]
    zone_index: NDArray[np.int32]
    reasons: NDArray[np.uint8]
