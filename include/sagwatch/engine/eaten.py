"""How much of a trough corrections would take for something else, before anything is published.

- A ramp that is fitted through a trough leans into it. What a trough loses at its maximum is the fitted surface there.
  The surface is linear in the trough, so the loss of a trough anywhere is a smoothing of the steady ground's terms with
  the trough's shape. A trough that is left out of the fit loses nothing.
- What a ramp has taken already shows as a tilt that grows with time: ground sinks on, while air and orbits come and go.
- A height error follows the perpendicular baseline, and beside it stands a polynomial in time (`corrections`). Motion
  that no polynomial follows is taken for height as far as the baselines happen to resemble it.

Measured on the simulated mine by ``python -m benchmarks.eaten``; docs/accuracy.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sagwatch.engine.corrections import Scene, ramp_terms, topography_row
from sagwatch.engine.steady_ground import MOVED_M, MOVING_M_YR
from sagwatch.engine.velocity import elapsed_years, fit_line

#: Standard deviation of a Gaussian trough with the volume and the depth of one over a longwall panel, metres.
PANEL_TROUGH_M = 300.0
#: Larger shares are worth a warning. A trough's maximum is to be right within 5 % (docs/accuracy.md).
MOST_EATEN_BY_RAMP = 0.05
#: The baselines of Sentinel-1's tube stay below by chance; baselines that come and go over years do not.
MOST_EATEN_BY_TOPOGRAPHY = 0.25
#: Knothe's coefficient of time, 1/year, over hard and soft overburden.
_KNOTHE_PER_YEAR = (2.0, 4.0)
_LEAST_EPOCHS, _SURE = 8, 4.0


def eaten_by_ramp(
    scene: Scene, kind: str, pixel_m: float, trough_m: float = PANEL_TROUGH_M, refer_to: str = "point"
) -> NDArray[np.float64]:
    """Share of a trough's maximum that a ramp takes away, by the place of the maximum, shape (rows, columns).

    Parameters
    ----------
    kind
        ``linear`` or ``quadratic``.
    trough_m
        Standard deviation of the Gaussian trough.
    refer_to
        As in `corrections.CorrectionSettings`: whether the surface is 0 at the reference pixel or keeps its constant.
    """
    shape = scene.steady.shape
    rows, columns = (index.ravel().astype(np.float64) for index in np.indices(shape))
    terms = ramp_terms(kind, rows / shape[0], columns / shape[1])
    steady = terms * scene.steady.ravel()[:, None]
    sigma = trough_m / pixel_m
    # Product of each term with a trough at each place; a Gaussian filter's weights add up to 1.
    volume = 2 * np.pi * sigma**2
    seen = np.stack(
        [
            volume * gaussian_filter(term.reshape(shape), sigma, mode="constant", truncate=5).ravel()
            for term in steady.T
        ]
    )
    surface = np.linalg.pinv(steady.T @ steady) @ seen
    if refer_to == "point":
        terms = terms - terms[scene.row * shape[1] + scene.column]
    return np.asarray(np.einsum("pk,kp->p", terms, surface).reshape(shape))


def taken_by_ramp(
    dates: Sequence[date],
    ramp: NDArray[np.floating],
    scene: Scene,
    velocity_m_yr: NDArray[np.floating],
    refer_to: str = "point",
) -> float:
    """Share of the fastest ground's velocity that went into the ramps of a record, 0 to 1.

    0 where the ramps have no trend that stands out of their scatter by `_SURE` deviations, and where nothing moves.

    Parameters
    ----------
    ramp
        Shape (n_epochs, n_terms), as in `corrections.Corrections`.
    velocity_m_yr
        Shape (rows, columns), without the ramps; NaN where it is unknown or not to be trusted.
    refer_to
        As in `eaten_by_ramp`.
    """
    known = np.flatnonzero(np.isfinite(velocity_m_yr).ravel())
    if len(dates) < _LEAST_EPOCHS or known.size == 0:
        return 0.0
    kind = "linear" if ramp.shape[1] == 3 else "quadratic"
    rows, columns = (at.astype(np.float64) for at in np.unravel_index(known, velocity_m_yr.shape))
    terms = ramp_terms(kind, rows, columns)
    if refer_to == "point":
        terms -= ramp_terms(kind, np.array([float(scene.row)]), np.array([float(scene.column)]))
    years = elapsed_years(dates)
    trend = np.polyfit(years, ramp, 1)[0]
    taken_m_yr = terms @ trend
    whole_m_yr = velocity_m_yr.ravel()[known] + taken_m_yr
    fastest = np.argsort(-np.abs(whole_m_yr))[: max(1, known.size // 100)]
    surface_m = ramp @ terms[fastest].mean(axis=0)
    line = fit_line(years, surface_m[:, None])
    sure = abs(float(line.velocity_m_yr[0])) > _SURE * float(line.velocity_std_m_yr[0])
    moves = abs(float(whole_m_yr[fastest].mean())) > max(MOVING_M_YR, MOVED_M / years[-1])
    share = float(taken_m_yr[fastest].sum() / whole_m_yr[fastest].sum()) if sure and moves else 0.0
    return min(max(share, 0.0), 1.0)


def eaten_by_topography(dates: Sequence[date], baselines_m: NDArray[np.floating], order: int) -> float:
    """Largest share of a trough's final subsidence that is taken for a height error at some acquisition.

    Of all troughs by Knothe's time function, 1 - exp(-c t), whose onset is an acquisition of the record. 0 where no
    height error is estimated.

    Parameters
    ----------
    baselines_m
        Shape (n_epochs,), against the first epoch.
    order
        Of the polynomial in time beside the height error.
    """
    row = topography_row(dates, baselines_m, order)
    if row is None:
        return 0.0
    years = elapsed_years(dates)
    since = np.maximum(years[:, None] - years[None, :-2], 0.0)
    heights = [np.abs(row @ (1.0 - np.exp(-rate * since))).max() for rate in _KNOTHE_PER_YEAR]
    return float(np.abs(baselines_m).max() * max(heights))
