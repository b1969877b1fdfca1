"""The compiled fit of straight lines through displacement histories."""

from __future__ import annotations

import numpy as np
from numba import njit

from sagwatch.engine.kernel import (
    CORRELATION,
    INTERCEPT,
    INTERCEPT_STD,
    RESIDUE,
    VELOCITY,
    VELOCITY_STD,
)

_TILE_PIXELS = 256


@njit(cache=True, nogil=True)
def fit_range(first, last, years, los_m, observed, least, line, n_epochs):
    """Fit pixels ``first`` to ``last`` (exclusive); fill in their columns of ``line`` and of ``n_epochs``.

    ``los_m`` and ``observed`` have shape (n_epochs, n_pixels); an epoch counts where ``observed`` is above 0 and the
    displacement is a number. ``line`` has the rows of `kernel.LINE_ROWS`.
    """
    size = _TILE_PIXELS
    n, sum_t, sum_tt = np.empty(size), np.empty(size), np.empty(size)
    sum_d, sum_td = np.empty(size), np.empty(size)
    slope, intercept = np.empty(size), np.empty(size)
    squares, lagged, before = np.empty(size), np.empty(size), np.empty(size)
    for start in range(first, last, size):
        width = min(size, last - start)
        for array in (n, sum_t, sum_tt, sum_d, sum_td, squares, lagged, before):
            array[:] = 0.0
        for m in range(years.shape[0]):
            year, history, seen = (
                years[m],
                los_m[m, start : start + width],
                observed[m, start : start + width],
            )
            for t in range(width):
                used = (seen[t] > 0) & (abs(history[t]) < np.inf)
                d = np.float64(history[t]) if used else 0.0
                one = 1.0 if used else 0.0
                n[t] += one
                sum_t[t] += one * year
                sum_tt[t] += one * year * year
                sum_d[t] += d
                sum_td[t] += d * year
        for t in range(width):
            count = max(n[t], 1.0)
            middle = sum_t[t] / count
            spread = sum_tt[t] - count * middle * middle
            # Less than two epochs have no slope; they are NaN below.
            slope[t] = (sum_td[t] - middle * sum_d[t]) / max(spread, 1e-12)
            intercept[t] = sum_d[t] / count - slope[t] * middle
        for m in range(years.shape[0]):
            year, history, seen = (
                years[m],
                los_m[m, start : start + width],
                observed[m, start : start + width],
            )
            for t in range(width):
                used = (seen[t] > 0) & (abs(history[t]) < np.inf)
                rest = np.float64(history[t]) - (intercept[t] + slope[t] * year) if used else 0.0
                squares[t] += rest * rest
                lagged[t] += rest * before[t]
                before[t] = rest if used else before[t]
        for t in range(width):
            n_epochs[start + t] = n[t]
            if n[t] < least:
                line[:, start + t] = np.nan
                continue
            middle = sum_t[t] / n[t]
            spread = sum_tt[t] - n[t] * middle * middle
            noise = squares[t] / (n[t] - 2.0)
            line[VELOCITY, start + t] = slope[t]
            line[VELOCITY_STD, start + t] = np.sqrt(noise / spread)
            line[INTERCEPT, start + t] = intercept[t]
            line[INTERCEPT_STD, start + t] = np.sqrt(noise * (1.0 / n[t] + middle * middle / spread))
            line[RESIDUE, start + t] = np.sqrt(squares[t])
            line[CORRELATION, start + t] = lagged[t] / squares[t] if squares[t] > 0.0 else 0.0
