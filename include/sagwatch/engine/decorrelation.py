"""What the noise of the interferograms themselves does to a velocity.

Decorrelation differs from pair to pair, and an epoch's displacement is a chain of pairs, so its error is a random walk:
it grows with time, and a line follows it. The scatter about that line therefore tells little of it (Agnew 1992,
doi:10.1029/91GL02832; Williams 2003, doi:10.1007/s00190-002-0283-4). But redundant pairs contradict each other, and by
how much they do is kept: in the temporal coherence (Pepe and Lanari 2006, doi:10.1109/TGRS.2006.873207).

For residuals r of variance v the mean of exp(jr) has the length exp(-v / 2) (the circular standard deviation of Mardia
and Jupp 2000, section 2.3). Of a pair's noise s^2 least squares leave v = s^2 (M - N + 1) / M, on average over M pairs
with N - 1 unknown displacements. So s^2 is known for each pixel, and propagates through the network to the slope of a
line. What the pairs at the reference pixel contribute is in it, as every phase is relative to that.

Every pair counts as equally noisy and independent of the others, and every pixel as having all of them. Noise that
closes round every triangle of dates is no part of it: of one acquisition's own air the scatter tells, of the bias of
short pairs nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.hyp3_attributes import WAVELENGTH_M
from sagwatch.engine.velocity import Window, window_years

_METRES_PER_RADIAN = WAVELENGTH_M / (4.0 * np.pi)
#: Makes a gap that no pair spans solvable: minimum norm takes the ground there for still. Far below the least
#: eigenvalue of a network without gaps, which is of the order of 1 for steps between neighbouring epochs.
_RIDGE = 1e-9


def decorrelation_std_m_yr(
    temporal_coherence: NDArray[np.floating],
    dates: Sequence[date],
    pairs: Sequence[tuple[date, date]],
    windows: Sequence[Window],
) -> dict[str, NDArray[np.float32]]:
    """Standard deviation of each window's velocity by decorrelation noise, metres per year.

    Parameters
    ----------
    temporal_coherence
        Any shape, 0 to 1.
    dates
        The epochs, rising; windows end with the last one.
    pairs
        The interferograms that the history was solved from, earlier date first.

    Returns
    -------
    By the window's name, arrays of the shape of ``temporal_coherence``; NaN where that is unknown (or 0, which only a
    pixel without any agreement has). No windows at all if no pair is redundant: then the interferograms say nothing.

    Raises
    ------
    ValueError
        A pair names a date that is no epoch.
    """
    number = {day: i for i, day in enumerate(dates)}
    try:
        ends = np.array([(number[one], number[other]) for one, other in pairs], dtype=np.int64).reshape(-1, 2)
    except KeyError as unknown:
        raise ValueError(f"a pair names {unknown.args[0]}, which is no epoch of the history") from None
    redundant = len(ends) - (len(dates) - 1)
    if redundant <= 0:
        return {}
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = -2.0 * np.log(np.asarray(temporal_coherence, np.float32))
    residual[~np.isfinite(residual)] = np.nan
    noise_m = _METRES_PER_RADIAN * np.sqrt(np.maximum(residual, 0) * (len(ends) / redundant))
    gains = np.sqrt(_slope_variances(dates, ends, windows))
    return {
        window.name: (noise_m * gain).astype(np.float32) for window, gain in zip(windows, gains, strict=True)
    }


def _slope_variances(
    dates: Sequence[date], ends: NDArray[np.int64], windows: Sequence[Window]
) -> NDArray[np.float64]:
    """Variance of each window's slope, per year squared, if every pair has the variance 1.

    The unknowns are the steps between neighbouring epochs: a pair is the sum of those that it spans (G), a slope is a
    sum weighted by b. So the slope is a sum of the pairs weighted by G (G'G)^-1 b, whose squares are the variance.
    """
    n_steps = len(dates) - 1
    normal = _RIDGE * np.eye(n_steps)
    for first, last in ends.tolist():
        normal[first:last, first:last] += 1
    weights = np.zeros((n_steps, len(windows)))
    for column, window in enumerate(windows):
        first, years = window_years(dates, window)
        off_mean = years - years.mean()
        of_epochs = np.zeros(len(dates))
        of_epochs[first:] = off_mean / max(np.sum(off_mean**2), np.finfo(float).tiny)
        # A step moves every epoch after it.
        weights[:, column] = np.cumsum(of_epochs[::-1])[::-1][1:]
    path = np.vstack([np.zeros(len(windows)), np.cumsum(np.linalg.solve(normal, weights), axis=0)])
    return np.asarray(np.sum((path[ends[:, 1]] - path[ends[:, 0]]) ** 2, axis=0))
