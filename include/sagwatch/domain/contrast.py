"""Local contrast: a pixel against its surroundings, so that atmosphere wider than a trough cancels.

The double difference of Bekaert et al. 2020 (doi:10.1016/j.rse.2020.111983), with the median of a square.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

#: Blocks along a side of the surroundings: more would be slower and no better.
_BLOCKS_PER_SIDE = 12
#: Surroundings with fewer blocks of data than this share say nothing; the site's median stands in.
_LEAST_SHARE = 0.1
#: Of a normal distribution half of the absolute values lie below 1 / 1.4826 standard deviations.
_SIGMA_OF_MEDIAN = 1.4826


def local_contrast(
    velocity_mm_yr: NDArray[np.floating],
    pixel_m: float,
    ring_m: float,
    background: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """A pixel's velocity minus the median of its surroundings.

    Parameters
    ----------
    velocity_mm_yr
        Shape (rows, columns), NaN without data.
    pixel_m, ring_m
        Size of a pixel, and width of the square of surroundings.
    background
        Pixels that may count as surroundings; ground that is known to move should not. None takes all.

    Returns
    -------
    Shape (rows, columns); NaN where the velocity is.
    """
    field = np.asarray(velocity_mm_yr, dtype=np.float32)
    base = field if background is None else np.where(background, field, np.nan).astype(np.float32)
    if not np.isfinite(base).any():
        base = field
    side = max(1, round(ring_m / pixel_m / _BLOCKS_PER_SIDE))
    medians = _block_medians(base, side)
    surroundings = _moving_medians(medians, max(3, round(ring_m / pixel_m / side)) | 1)
    everywhere = _median_last_axis(base.reshape(1, -1), least=1)[0]
    surroundings[~np.isfinite(surroundings)] = everywhere
    rows = (np.arange(field.shape[0]) + 0.5) / side - 0.5
    columns = (np.arange(field.shape[1]) + 0.5) / side - 0.5
    where = np.meshgrid(rows, columns, indexing="ij")
    from scipy.ndimage import map_coordinates  # scipy takes long to load, and most tasks judge nothing

    smooth = map_coordinates(surroundings, where, order=1, mode="nearest")
    return (field - smooth).astype(np.float32)


def contrast_noise(contrast_mm_yr: NDArray[np.floating], background: NDArray[np.bool_]) -> float:
    """Standard deviation of the contrast of ground that does not move, mm/yr, from its median absolute value.

    Half of the site may move before it is misled. 0 if there is nothing to measure.
    """
    values = np.abs(contrast_mm_yr[background & np.isfinite(contrast_mm_yr)])
    return float(_SIGMA_OF_MEDIAN * np.median(values)) if values.size else 0.0


def _block_medians(field: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Median of each block of side x side pixels; blocks at the far edges may be smaller."""
    if side == 1:
        return field.copy()
    rows, columns = (-(-n // side) for n in field.shape)
    padded = np.full((rows * side, columns * side), np.nan, dtype=np.float32)
    padded[: field.shape[0], : field.shape[1]] = field
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, side * side)
    return _median_last_axis(blocks, least=1)


def _moving_medians(medians: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Median of the width x width blocks around each block."""
    padded = np.pad(medians, width // 2, constant_values=np.nan)
    views = sliding_window_view(padded, (width, width))
    least = max(1, int(_LEAST_SHARE * width * width))
    result = np.empty_like(medians)
    for row in range(medians.shape[0]):  # one row of windows at a time keeps memory small
        result[row] = _median_last_axis(views[row].reshape(medians.shape[1], width * width), least)
    return result


def _median_last_axis(values: NDArray[np.float32], least: int) -> NDArray[np.float32]:
    """Median without NaN along the last axis; NaN where fewer than ``least`` values are there."""
    ordered = np.sort(values, axis=-1)  # NaN goes last
    n = np.count_nonzero(np.isfinite(ordered), axis=-1)
    low = np.maximum((n - 1) // 2, 0)[..., None]
    high = np.maximum(n // 2, 0)[..., None]
    high = np.minimum(high, values.shape[-1] - 1)
    middle = (np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1))[..., 0] / 2
    return np.where(n >= least, middle, np.nan).astype(np.float32)
