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
    displacement is a number. ``line`` has the rows of `kernel.LINE_ROWS`. Times count from their middle; loops
    are short so that the compiler vectorises them.
    """
    size, middle_year = _TILE_PIXELS, np.mean(years)
    one, d = np.empty(size), np.empty(size)
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
            _take_epoch(width, los_m[m, start : start + width], observed[m, start : start + width], one, d)
            for t in range(width):
                n[t] += one[t]
                sum_t[t] += one[t] * year
            for t in range(width):
                sum_tt[t] += one[t] * year * year
            for t in range(width):
                sum_d[t] += d[t]
                sum_td[t] += d[t] * year
        for t in range(width):
            count = max(n[t], 1.0)
            mean = sum_t[t] / count
            # Less than two epochs have no slope; they are NaN below.
            slope[t] = (sum_td[t] - mean * sum_d[t]) / max(sum_tt[t] - count * mean * mean, 1e-12)
            intercept[t] = sum_d[t] / count - slope[t] * mean
        for m in range(years.shape[0]):
            year = years[m] - middle_year
            _take_epoch(width, los_m[m, start : start + width], observed[m, start : start + width], one, d)
            for t in range(width):
                d[t] = (d[t] - (intercept[t] + slope[t] * year)) * one[t]
            for t in range(width):
                squares[t] += d[t] * d[t]
                lagged[t] += d[t] * before[t]
            for t in range(width):
                before[t] = d[t] if one[t] > 0.0 else before[t]
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
def _take_epoch(width, history, seen, one, d):
    """1 and the displacement where it is observed, 0 and 0 elsewhere."""
    for t in range(width):
        used = (seen[t] > 0) & (abs(history[t]) < np.inf)
        one[t] = 1.0 if used else 0.0
        d[t] = np.float64(history[t]) if used else 0.0
