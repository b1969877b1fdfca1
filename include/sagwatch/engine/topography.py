"""The residue of an imperfect height model, as MintPy's ``dem_error.py`` (Fattahi and Amelung 2013,
doi:10.1109/TGRS.2012.2227761), and how much of a trough it would eat.

A height error feigns a displacement that follows the perpendicular baseline. It is fitted together with a polynomial in
time, so it eats what no polynomial follows and the baselines happen to resemble: the more, the fewer the epochs, the
more the baselines drift, and the faster a trough forms. Measured on invented troughs (Knothe's time function with 2 and
4 per year, every onset within the record, polynomial of order 2, largest share of the final subsidence that went into
the residual height at any epoch; median and worst of 20 seeds of baselines with a deviation of 60 m):

=============================  ===========  ===========
baselines                      median       worst
=============================  ===========  ===========
15 epochs, by chance           6 %          13 %
60 epochs, by chance           10 %         17 %
240 epochs, by chance          7 %          17 %
240 epochs, drift of 30 m/yr   13 %         30 %
60 epochs, slow wave of 60 m   38 %         50 %
240 epochs, slow wave of 60 m  54 %         73 %
=============================  ===========  ===========

So baselines that scatter about a tube, as Sentinel-1's do, are harmless, and those that come and go over years are not;
`MOST_EATEN` lies between. The share is that of the epoch with the largest baseline: the velocity over years loses less.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.velocity import elapsed_years, mintpy_years

#: More than this of a trough is worth a warning.
MOST_EATEN = 0.25
#: Knothe's coefficient of time, 1/year: hard and soft overburden over a longwall face.
_KNOTHE_PER_YEAR = (2.0, 4.0)
_CUTOFF = 1e-8


def residual_height(
    los_m: NDArray[np.float64],
    years: NDArray[np.float64],
    perpendicular_m: NDArray[np.float64],
    sensitivity: NDArray[np.float64],
    order: int,
) -> NDArray[np.float64]:
    """Height (m) that each pixel lies above the height model.

    Parameters
    ----------
    los_m
        Shape (n_epochs, n_pixels). A pixel that is unknown at some epochs is estimated from the others, where MintPy
        skips it.
    sensitivity
        Shape (n_pixels,), see `corrections.Scene`.

    Returns
    -------
    shape (n_pixels,); NaN where the geometry is unknown or the epochs are too few: one more than unknowns at least.
    """
    known = np.isfinite(los_m)
    found = np.full(los_m.shape[1], np.nan)
    whole = known.all(axis=0)
    # The sensitivity scales the column of a pixel's design and nothing else, so one row solves all pixels.
    row = row_of_height(years, perpendicular_m, order)
    if whole.all():
        return np.asarray(row @ los_m / sensitivity, np.float64)
    found[whole] = row @ los_m[:, whole]
    torn = np.flatnonzero(~whole & known.any(axis=0))
    if torn.size:
        patterns, group = np.unique(known[:, torn], axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            pixels = torn[group.reshape(-1) == number]
            row = row_of_height(years[pattern], perpendicular_m[pattern], order)
            found[pixels] = row @ los_m[np.ix_(pattern, pixels)]
    return found / sensitivity


def row_of_height(
    years: NDArray[np.float64], perpendicular_m: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    """What turns a history into displacement per metre of baseline, shape (n_epochs,); NaN with too few epochs.

    The first row of the pseudo-inverse of MintPy's design [baseline, 1, t, t²/2, ...].
    """
    n = years.size
    if n < order + 3 or not np.any(perpendicular_m):
        return np.full(n, np.nan)
    polynomial = np.array([years**power for power in range(order + 1)])
    design = np.vstack([perpendicular_m, polynomial])
    # Columns of like size, so that the cut-off is about shape and not about units.
    size = np.sqrt((design**2).sum(axis=1))
    size[size == 0] = 1.0
    inverse = np.linalg.pinv((design / size[:, None]).T, rcond=_CUTOFF)
    return np.asarray(inverse[0] / size[0], np.float64)


def eaten_share(dates: Sequence[date], perpendicular_m: NDArray[np.floating], order: int) -> float:
    """Largest share of a trough's final subsidence that would be taken for height at some epoch, 0 to more than 1.

    Over troughs by Knothe's time function with every onset within the record; see the module's docstring.
    """
    baselines = perpendicular_m.astype(np.float64)
    row = row_of_height(mintpy_years(dates), baselines, order)
    if not np.isfinite(row).all():
        return 0.0
    elapsed = elapsed_years(dates)
    since = np.maximum(elapsed[:, None] - elapsed[None, :-2], 0.0)
    shares = [
        np.abs(baselines).max() * np.abs(row @ (1.0 - np.exp(-rate * since))).max()
        for rate in _KNOTHE_PER_YEAR
    ]
    return float(max(shares))
