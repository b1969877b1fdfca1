"""What a zone is beside its speed: tilt, volume, axis, and where InSAR cannot see in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.domain.sentence import STEP_LIMIT_MM

_EIGHT = np.ones((3, 3), dtype=bool)
#: Shorter than this times its width an area has no axis.
_LEAST_ELONGATION = 1.2
#: A hole counts as ringed if the zone holds this share of what surrounds it.
RINGED_SHARE = 0.6
_STEP_PAIRS = 3


@dataclass(frozen=True, slots=True)
class ZoneShape:
    """Numbers of a zone from its LOS displacement against the surroundings.

    ``tilt_max_mm_m``: steepest gradient of LOS displacement over 3 x 3 pixels, mm per m. ``volume_m3``: displacement
    times area, negative where the ground went away. ``axis_deg``: direction of the long axis, 0 to 180 from north over
    east, None where the area is round. ``hole_pixels``: pixels without data that the zone rings.
    """

    tilt_max_mm_m: float | None
    volume_m3: float | None
    axis_deg: float | None
    elongation: float
    hole_pixels: int

    def blind_share(self, without_data: float, pixels: int) -> float:
        """Share of the zone, holes included, that InSAR cannot see now."""
        blind = without_data * pixels + self.hole_pixels
        return float(blind / max(1, pixels + self.hole_pixels))


def zone_shape(
    pixels: NDArray[np.int64],
    moved_mm: NDArray[np.floating],
    has_data: NDArray[np.bool_],
    grid: Grid,
) -> ZoneShape:
    """Measure a zone.

    Parameters
    ----------
    pixels
        Pixel numbers of the zone.
    moved_mm
        Shape (rows, columns): LOS displacement since the record began minus that of quiet ground, mm; NaN is no data.
    has_data
        Shape (rows, columns).
    """
    rows, columns = np.divmod(pixels, grid.columns)
    top, left = max(0, rows.min() - 3), max(0, columns.min() - 3)
    box = slice(top, rows.max() + 4), slice(left, columns.max() + 4)
    inside = np.zeros(grid.shape, dtype=bool)
    inside.ravel()[pixels] = True
    values, here = moved_mm[box], inside[box]
    known = here & np.isfinite(values)
    volume = float(values[known].sum() / 1000 * grid.pixel_m**2) if known.any() else None
    axis, elongation = _axis(rows, columns)
    return ZoneShape(_tilt(values, here, grid.pixel_m), volume, axis, elongation, _holes(here, has_data[box]))


def _tilt(values_mm: NDArray[np.floating], inside: NDArray[np.bool_], pixel_m: float) -> float | None:
    gradient = gradient_mm_m(values_mm, pixel_m)[inside]
    return float(np.nanmax(gradient)) if np.isfinite(gradient).any() else None


def gradient_mm_m(values_mm: NDArray[np.floating], pixel_m: float) -> NDArray[np.float64]:
    """Length of the gradient of a field smoothed over 3 x 3 pixels; NaN where data are missing nearby."""
    if min(values_mm.shape) < 3:
        return np.full(values_mm.shape, np.nan)
    smooth = smoothed(values_mm)
    down, right = np.gradient(smooth, pixel_m)
    return np.hypot(down, right)


def smoothed(values_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of 3 x 3 pixels, NaN where most of them are."""
    from scipy.ndimage import (
        uniform_filter,
    )  # scipy is slow to load, and tasks that judge nothing import this

    known = np.isfinite(values_mm)
    weight = uniform_filter(known.astype(np.float64), 3, mode="nearest")
    total = uniform_filter(np.where(known, values_mm, 0.0).astype(np.float64), 3, mode="nearest")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0.5, total / weight, np.nan)


def _axis(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> tuple[float | None, float]:
    if rows.size < 3:
        return None, 1.0
    # A pixel is itself a square: its own extent of 1/12 keeps a line of pixels from being infinitely long.
    covariance = np.cov(np.stack([columns, -rows]).astype(np.float64)) + np.eye(2) / 12
    lengths, directions = np.linalg.eigh(covariance)
    elongation = float(np.sqrt(lengths[1] / lengths[0]))
    if elongation < _LEAST_ELONGATION:
        return None, elongation
    east, north = directions[:, 1]
    return float(np.degrees(np.arctan2(east, north)) % 180), elongation


def _holes(inside: NDArray[np.bool_], has_data: NDArray[np.bool_]) -> int:
    """Pixels without data, not of the zone, in areas that the zone surrounds."""
    return int(np.count_nonzero(ringed(~has_data & ~inside, inside)))


def ringed(lost: NDArray[np.bool_], around: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected areas of ``lost`` most of whose surroundings are ``around``; none that touches the grid's edge."""
    from scipy.ndimage import binary_dilation, find_objects, label

    labels, _ = label(lost, _EIGHT)
    found = np.zeros(lost.shape, dtype=bool)
    for number, place in enumerate(find_objects(labels), 1):
        if any(part.start == 0 or part.stop == size for part, size in zip(place, lost.shape, strict=True)):
            continue
        box = tuple(slice(part.start - 1, part.stop + 1) for part in place)
        hole = labels[box] == number
        ring = binary_dilation(hole, _EIGHT) & ~hole
        if around[box][ring].mean() >= RINGED_SHARE:
            found[box] |= hole
    return found


def step_share(
    pixels: NDArray[np.int64],
    velocity_mm_yr: NDArray[np.floating],
    pair_days: float,
    grid: Grid,
) -> float:
    """How much of the ambiguity limit the steepest step between neighbouring pixels uses up within one interferogram.

    1 is a quarter wavelength between neighbours: beyond it unwrapping must fail, and from about one half on it may. The
    third-steepest pair counts, so that one noisy pixel does not.
    """
    rows, columns = np.divmod(pixels, grid.columns)
    box = (
        slice(max(0, rows.min() - 1), rows.max() + 2),
        slice(max(0, columns.min() - 1), columns.max() + 2),
    )
    values = velocity_mm_yr[box]
    steps = np.concatenate([np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)])
    steps = steps[np.isfinite(steps)]
    if steps.size < _STEP_PAIRS:
        return 0.0
    steepest = float(np.partition(steps, -_STEP_PAIRS)[-_STEP_PAIRS])
    return steepest * pair_days / 365.25 / STEP_LIMIT_MM
