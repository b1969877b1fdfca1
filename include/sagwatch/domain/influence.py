"""The boundary of mining influence: where the ground has moved by 10 mm, the convention for where movement begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.footprint import Footprint
from sagwatch.domain.zone_shape import smoothed

LIMIT_MM = -10.0
_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class Influence:
    """Pixels beyond the limit at an acquisition; LOS displacement since the record began, against quiet ground."""

    epoch: date
    limit_mm: float
    footprint: Footprint


def influence(
    epoch: date, moved_mm: NDArray[np.floating], has_data: NDArray[np.bool_], least_pixels: int
) -> Influence:
    """Where the smoothed displacement is beyond 10 mm away from the satellite, in areas of the least size.

    Parameters
    ----------
    moved_mm, has_data
        Shape (rows, columns); 3 x 3 pixels are averaged, as a single one is noisier than the limit.
    """
    from scipy.ndimage import label  # scipy is slow to load, and tasks that judge nothing import this

    with np.errstate(invalid="ignore"):
        beyond = has_data & (smoothed(np.where(has_data, moved_mm, np.nan)) < LIMIT_MM)
    labels, n = label(beyond, _EIGHT)
    large = np.bincount(labels.ravel(), minlength=n + 1) >= least_pixels
    large[0] = False
    return Influence(epoch, LIMIT_MM, Footprint.of(np.flatnonzero(large[labels].ravel())))
