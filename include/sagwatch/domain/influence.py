"""The boundary of mining influence: where the ground has moved by 10 mm, the convention for where movement begins.

The atmosphere of a single acquisition moves a fifth of a noisy scene by as much. So only areas count that hold a known
zone, or whose movement stands out of the scene's own noise. 10 mm along the line of sight are 12 to 14 mm of purely
vertical motion, so the line lies a little inside of what levelling would draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.contrast import contrast_noise
from sagwatch.domain.footprint import Footprint
from sagwatch.domain.zone_shape import smoothed

LIMIT_MM = -10.0
#: An area without a zone must stand out of the noise of quiet ground by so many deviations.
_SURE = 4.0
_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class Influence:
    """Pixels beyond the limit at an acquisition; LOS displacement since the record began, against quiet ground."""

    epoch: date
    limit_mm: float
    footprint: Footprint


def influence(
    epoch: date,
    moved_mm: NDArray[np.floating],
    has_data: NDArray[np.bool_],
    in_zone: NDArray[np.bool_],
    least_pixels: int,
) -> Influence:
    """Where the smoothed displacement is beyond 10 mm away from the satellite, in areas that surely move.

    Parameters
    ----------
    moved_mm, has_data, in_zone
        Shape (rows, columns); 3 x 3 pixels are averaged, as a single one is noisier than the limit.
    least_pixels
        An area has so many pixels of a zone, or so many that stand out of the noise.
    """
    from scipy.ndimage import label  # scipy is slow to load, and tasks that judge nothing import this

    with np.errstate(invalid="ignore"):
        smooth = smoothed(np.where(has_data, moved_mm, np.nan))
        beyond = has_data & (smooth < LIMIT_MM)
        sure = beyond & (in_zone | (smooth < -_SURE * contrast_noise(smooth, has_data & ~in_zone)))
    labels, n = label(beyond, _EIGHT)
    proved = np.bincount(labels[sure], minlength=n + 1) >= least_pixels
    return Influence(epoch, LIMIT_MM, Footprint.of(np.flatnonzero((proved[labels] & beyond).ravel())))
