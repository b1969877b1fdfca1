"""Scores of a displacement history against the truth: arrays in, numbers out.

Everything refers to one reference pixel and to the first epoch, as the histories do. Displacements are in metres along
the line of sight with the shape (n_epochs, rows, columns), velocities and errors in mm and mm/yr.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from sagwatch.engine.hyp3_attributes import WAVELENGTH_M
from sagwatch.engine.velocity import Window, fit_windows

#: A phase that changes by half a cycle from one pixel to the next cannot be unwrapped.
QUARTER_WAVELENGTH_M = WAVELENGTH_M / 4
STABLE_MM_YR = 1.0
#: Of the truth: a pixel belongs to a source of motion where that moves it by so much over the record.
MOVED_MM = 10.0
DAYS_PER_YEAR = 365.25

Series = NDArray[np.floating]
Bools = NDArray[np.bool_]
Pixel = tuple[int, int]


def referenced(los_m: Series, reference: Pixel) -> NDArray[np.float32]:
    """Relative to the reference pixel and to the first epoch."""
    own = los_m - los_m[:, reference[0], reference[1]][:, None, None]
    return (own - own[0]).astype(np.float32)


def stable_ground(truth_m: Series, dates: Sequence[date]) -> Bools:
    """Pixels that never move faster than 1 mm/yr, from one acquisition to the next, anywhere in the record."""
    days = np.diff([day.toordinal() for day in dates])[:, None, None]
    speed_mm_yr = 1000 * np.abs(np.diff(truth_m, axis=0)) / days * DAYS_PER_YEAR
    return np.asarray((speed_mm_yr < STABLE_MM_YR).all(axis=0))


@dataclass(frozen=True)
class Reach:
    """What phase unwrapping could know of the ground between acquisitions.

    ``steep``: a neighbour moved by a quarter of the wavelength or more against the pixel. ``observable``: a chain of
    neighbours that never is so leads to the reference pixel: a flat bottom behind steep walls is not observable.
    """

    steep: Bools
    observable: Bools


def reach(truth_m: Series, reference: Pixel) -> Reach:
    """From the true motion between successive epochs, the shortest intervals that there are."""
    steps = np.diff(truth_m, axis=0)
    down_m = np.abs(np.diff(steps, axis=1)).max(axis=0)
    right_m = np.abs(np.diff(steps, axis=2)).max(axis=0)
    shape = truth_m.shape[1:]
    numbers = np.arange(shape[0] * shape[1]).reshape(shape)
    joined = [
        (numbers[:-1][down_m < QUARTER_WAVELENGTH_M], numbers[1:][down_m < QUARTER_WAVELENGTH_M]),
        (numbers[:, :-1][right_m < QUARTER_WAVELENGTH_M], numbers[:, 1:][right_m < QUARTER_WAVELENGTH_M]),
    ]
    one, other = (np.concatenate(side) for side in zip(*joined, strict=True))
    graph = coo_matrix((np.ones(one.size, bool), (one, other)), shape=(numbers.size, numbers.size))
    _, part = connected_components(graph, directed=False)
    steep = np.zeros(shape, bool)
    steep[:-1] |= down_m >= QUARTER_WAVELENGTH_M
    steep[1:] |= down_m >= QUARTER_WAVELENGTH_M
    steep[:, :-1] |= right_m >= QUARTER_WAVELENGTH_M
    steep[:, 1:] |= right_m >= QUARTER_WAVELENGTH_M
    together = (part == part[numbers[reference]]).reshape(shape)
    return Reach(steep, together & ~steep)


def velocity_mm_yr(los_m: Series, dates: Sequence[date], days: int | None) -> tuple[Series, Series]:
    """Slope of the line over the last so many days, and its white standard deviation (MintPy's), mm/yr."""
    window = Window("it", days, 3)
    line = fit_windows(dates, los_m.reshape(len(dates), -1), [window])["it"]
    shape = los_m.shape[1:]
    return 1000 * line.velocity_m_yr.reshape(shape), 1000 * line.velocity_std_m_yr.reshape(shape)


@dataclass(frozen=True)
class StableScores:
    """Errors on stable ground, root mean square over pixels (and epochs)."""

    displacement_rmse_mm: float
    displacement_since_quietest_rmse_mm: float
    displacement_since_first_rmse_mm: float
    velocity_rmse_mm_yr: float
    velocity_365d_rmse_mm_yr: float
    pixels: int


def score_stable(
    los_m: Series,
    velocity: Series,
    truth_m: Series,
    dates: Sequence[date],
    pixels: Bools,
    ends: Sequence[int],
    quietest: int,
) -> StableScores:
    """Errors of displacement and velocity on some pixels.

    The constant of a displacement history is arbitrary, so ``displacement`` is without each pixel's mean difference to
    the truth, as histories are compared with GNSS. ``since_first`` leaves the first epoch's own air in all others;
    ``since_quietest`` that of the epoch which MintPy takes for its reference date.

    Parameters
    ----------
    velocity
        Of the whole record, mm/yr, as the chain published it.
    """
    error_mm = 1000 * (los_m[:, pixels] - truth_m[:, pixels]).astype(np.float64)
    whole = velocity - velocity_mm_yr(truth_m, dates, None)[0]
    recent = [
        velocity_mm_yr(los_m[: end + 1], dates[: end + 1], 365)[0]
        - velocity_mm_yr(truth_m[: end + 1], dates[: end + 1], 365)[0]
        for end in ends
    ]
    return StableScores(
        displacement_rmse_mm=rms(error_mm - error_mm.mean(axis=0)),
        displacement_since_quietest_rmse_mm=rms(error_mm - error_mm[quietest]),
        displacement_since_first_rmse_mm=rms(error_mm - error_mm[0]),
        velocity_rmse_mm_yr=rms(whole[pixels]),
        velocity_365d_rmse_mm_yr=rms(np.stack([one[pixels] for one in recent])),
        pixels=int(pixels.sum()),
    )


@dataclass(frozen=True)
class Trough:
    """One source of motion at the moment when its observable part was fastest.

    ``end`` is the epoch that ends the 365 days, ``pixel`` the fastest observable pixel by the truth, ``area`` all that
    the source moves.
    """

    name: str
    end: int
    pixel: Pixel
    area: Bools
    observable: Bools
    true_mm_yr: float
    deepest_true_mm_yr: float
    observable_share: float


def find_trough(
    name: str,
    own_m: Series,
    truth_m: Series,
    dates: Sequence[date],
    reference: Pixel,
    ends: Sequence[int],
    known: Bools | None = None,
) -> Trough | None:
    """The fastest year of a source; None if no observable pixel of it moves by more than 1 cm/yr.

    ``own_m`` is the motion by this source alone, ``truth_m`` all motion relative to the reference pixel; pixels that
    are not ``known`` are no maximum.
    """
    own = np.abs(own_m[-1]) * 1000 >= MOVED_MM
    best: Trough | None = None
    for end in ends:
        first = next(i for i, day in enumerate(dates) if (dates[end] - day).days <= 365)
        true = velocity_mm_yr(truth_m[: end + 1], dates[: end + 1], 365)[0]
        # The limit holds in every interval since the window began.
        seen = own & reach(truth_m[first : end + 1], reference).observable
        if known is not None:
            seen &= known
        if not seen.any():
            continue
        fastest = np.unravel_index(int(np.argmin(np.where(seen, true, np.inf))), true.shape)
        pixel = (int(fastest[0]), int(fastest[1]))
        if best is None or true[pixel] < best.true_mm_yr:
            deepest = float(true[own].min())
            share = float(seen.sum() / own.sum())
            best = Trough(name, end, pixel, own, seen, float(true[pixel]), deepest, share)
    return best if best is not None and best.true_mm_yr < -MOVED_MM else None


def score_trough(
    trough: Trough,
    los_m: Series,
    truth_m: Series,
    dates: Sequence[date],
    flagged: Bools | None = None,
) -> dict[str, Any]:
    """Errors of a trough's velocity over 365 days, mm/yr: at its fastest observable pixel, and of the fastest tenth.

    ``unflagged_...`` is what a reader takes for the maximum who leaves out every pixel that carries a flag.
    """
    upto = slice(0, trough.end + 1)
    seen = velocity_mm_yr(los_m[upto], dates[upto], 365)[0]
    true = velocity_mm_yr(truth_m[upto], dates[upto], 365)[0]
    error = seen - true
    fast = trough.observable & (true <= np.quantile(true[trough.observable], 0.1))
    found = {
        "end": dates[trough.end].isoformat(),
        "true_mm_yr": trough.true_mm_yr,
        "error_mm_yr": float(error[trough.pixel]),
        "error_percent": float(100 * error[trough.pixel] / trough.true_mm_yr),
        "within_goal": _within_goal(error[trough.pixel], trough.true_mm_yr),
        "fastest_tenth_rmse_mm_yr": rms(error[fast]),
        "deepest_true_mm_yr": trough.deepest_true_mm_yr,
        "observable_share": trough.observable_share,
    }
    if flagged is None:
        return found
    found["flagged"] = bool(flagged[trough.pixel])
    plain = trough.area & ~flagged & np.isfinite(seen)
    if plain.any():
        fastest = np.unravel_index(int(np.argmin(np.where(plain, seen, np.inf))), seen.shape)
        found |= {
            "unflagged_true_mm_yr": float(true[fastest]),
            "unflagged_error_mm_yr": float(error[fastest]),
            "unflagged_within_goal": _within_goal(error[fastest], true[fastest]),
        }
    return found


def _within_goal(error: float, true: float) -> bool:
    """Within 5 % or 5 mm/yr."""
    return bool(abs(error) <= max(5.0, 0.05 * abs(true)))


def coverage(velocity: Series, half: Series, truth: Series, pixels: Bools) -> float:
    """Share of the pixels whose interval, velocity +- half, holds the truth."""
    known = pixels & np.isfinite(velocity) & np.isfinite(half)
    return float(np.mean(np.abs(velocity - truth)[known] <= half[known])) if known.any() else float("nan")


def flagged_share(flagged: Bools, unobservable: Bools) -> float:
    """Share of the unobservable pixels that are flagged; NaN where nothing is unobservable."""
    return float(flagged[unobservable].mean()) if unobservable.any() else float("nan")


def rms(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known.astype(np.float64) ** 2))) if known.size else float("nan")
