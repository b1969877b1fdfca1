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
    displacement is a number. ``line`` has the rows of `kernel.LINE_ROWS`. Times count from their middle.
    """
    size, middle_year = _TILE_PIXELS, np.mean(years)
    sums = np.empty((5, size))
    slope, intercept = np.empty(size), np.empty(size)
    squares, lagged, before = np.empty(size), np.empty(size), np.empty(size)
    for start in range(first, last, size):
        width = min(size, last - start)
        sums[:] = 0.0
        squares[:], lagged[:], before[:] = 0.0, 0.0, 0.0
        n, sum_t, sum_tt, sum_d, sum_td = sums[0], sums[1], sums[2], sums[3], sums[4]
        for m in range(years.shape[0]):
            year = years[m] - middle_year
            history, seen = los_m[m, start : start + width], observed[m, start : start + width]
            for t in range(width):
                used = _is_used(history[t], seen[t])
                one, d = 1.0 if used else 0.0, np.float64(history[t]) if used else 0.0
                n[t] += one
                sum_t[t] += one * year
                sum_tt[t] += one * year * year
                sum_d[t] += d
                sum_td[t] += d * year
        for t in range(width):
            count = max(n[t], 1.0)
            mean = sum_t[t] / count
            # Less than two epochs have no slope; they are NaN below.
            slope[t] = (sum_td[t] - mean * sum_d[t]) / max(sum_tt[t] - count * mean * mean, 1e-12)
            intercept[t] = sum_d[t] / count - slope[t] * mean
        for m in range(years.shape[0]):
            year = years[m] - middle_year
            history, seen = los_m[m, start : start + width], observed[m, start : start + width]
            for t in range(width):
                used = _is_used(history[t], seen[t])
                d = np.float64(history[t]) - (intercept[t] + slope[t] * year) if used else 0.0
                squares[t] += d * d
                lagged[t] += d * before[t]
                before[t] = d if used else before[t]
        for t in range(width):
            n_epochs[start + t] = n[t]
            if n[t] < least:
                line[:, start + t] = np.nan
                continue
            mean = sum_t[t] / n[t]
            spread = sum_tt[t] - n[t] * mean * mean
            noise = squares[t] / (n[t] - 2.0)
            away = mean + middle_year
            line[VELOCITY, start + t] = slope[t]
            line[VELOCITY_STD, start + t] = np.sqrt(noise / spread)
            line[INTERCEPT, start + t] = intercept[t] - slope[t] * middle_year
            line[INTERCEPT_STD, start + t] = np.sqrt(noise * (1.0 / n[t] + away * away / spread))
            line[RESIDUE, start + t] = np.sqrt(squares[t])
            line[CORRELATION, start + t] = lagged[t] / squares[t] if squares[t] > 0.0 else 0.0


@njit(cache=True, nogil=True, inline="always")
def _is_used(displacement, pairs):
    return (pairs > 0) & (abs(displacement) < np.inf)
