"""Where InSAR cannot see, or shows a lower bound only: a code for every pixel, and the words for it.

Unwrapping needs less than a quarter wavelength of line-of-sight motion between neighbouring pixels within one
interferogram. Where motion is steeper it comes out too small by whole cycles, and looks harmless just where it is
worst: so not only the steps count that are measured but all that they surround.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.sentence import STEP_LIMIT_MM

#: Steps are measured over so many days at least, so that noise and air do not make them.
_STEP_DAYS = 96
#: Contradicting triangles that are no accident: so many, and so large a share of the pixel's triangles, or a smaller
#: one within so many pixels of steps near the limit. Incoherent ground contradicts itself now and then everywhere.
_LEAST_TRIANGLES = 2
_LEAST_SHARE = 0.1
_LEAST_SHARE_NEAR_STEPS = 0.02
_NEAR_STEPS = 3
#: Fewer connected pixels say nothing about what is around them.
_LEAST_AREA = 6
#: Gaps of twice this many pixels in a ring are bridged.
_CLOSING = 2
_DAYS_PER_YEAR = 365.25

Bools = NDArray[np.bool_]


class Blind(IntFlag):
    """Why a pixel's motion may be more than what is shown; 0 is nothing known against it."""

    NEAR_LIMIT = 1
    INSIDE = 2
    CONTRADICTED = 4
    HOLE = 8
    LOW_COHERENCE = 16


@dataclass(frozen=True, slots=True)
class GradientLimit:
    """The most that neighbouring pixels may differ, mm per year: along the line of sight, and as vertical motion."""

    los_mm_yr: float
    vertical_mm_yr: float
    pixel_m: float

    @classmethod
    def of(cls, pair_days: float, pixel_m: float, incidence_deg: float | None = None) -> GradientLimit:
        """The limit of interferograms that span so many days; without an incidence the vertical is NaN."""
        los = STEP_LIMIT_MM * _DAYS_PER_YEAR / pair_days
        cosine = np.nan if incidence_deg is None else np.cos(np.radians(incidence_deg))
        return cls(los, float(los / cosine), pixel_m)


@dataclass(frozen=True)
class BlindView:
    """What is known of every pixel; arrays without time have shape (rows, columns).

    Attributes
    ----------
    dates, los_m
        The history, shape (n_epochs, rows, columns), metres, NaN is no data.
    pair_days
        Span of a usual interferogram.
    has_data, reliable
        Seen at the newest acquisition; temporal coherence suffices.
    moving
        Part of a zone that moves.
    contradicted, triangles
        Triangles of interferograms that miss by whole cycles, and triangles with data; None: not known.
    """

    dates: Sequence[date]
    los_m: NDArray[np.floating]
    pair_days: float
    has_data: Bools
    reliable: Bools
    moving: Bools
    contradicted: NDArray[np.floating] | None = None
    triangles: NDArray[np.integer] | None = None


def blind_spots(view: BlindView, step_share: float) -> NDArray[np.uint8]:
    """The `Blind` code of every pixel.

    Parameters
    ----------
    step_share
        Steps between neighbours count from this share of a quarter wavelength within one interferogram.
    """
    # scipy is slow to load, and tasks that publish nothing import this.
    from scipy.ndimage import binary_dilation

    near = steepest_steps_mm_yr(view.dates, view.los_m) * view.pair_days / _DAYS_PER_YEAR
    limit = near >= step_share * STEP_LIMIT_MM
    nearby = binary_dilation(_without_specks(limit), iterations=_NEAR_STEPS)
    wrong = _contradicted(view, np.where(nearby, _LEAST_SHARE_NEAR_STEPS, _LEAST_SHARE))
    core = limit | wrong
    inside = _filled(_without_specks(core))
    around = binary_dilation(inside, iterations=1) & ~core
    holes = (inside | _filled(view.moving)) & ~view.has_data
    code = np.zeros(core.shape, np.uint8)
    for where, why in (
        (limit, Blind.NEAR_LIMIT),
        (around, Blind.INSIDE),
        (wrong, Blind.CONTRADICTED),
        (holes, Blind.HOLE),
        (view.has_data & ~view.reliable, Blind.LOW_COHERENCE),
    ):
        code[where] |= np.uint8(why)
    return code


def steepest_steps_mm_yr(dates: Sequence[date], los_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """The largest step to a neighbour at any time, as a rate over some months, mm per year; 0 where unknown."""
    days = np.array([day.toordinal() for day in dates])
    steepest = np.zeros(los_m.shape[1:])
    for first, last in _windows(days):
        moved_mm = 1000.0 * (los_m[last].astype(np.float64) - los_m[first])
        rate = _DAYS_PER_YEAR / (days[last] - days[first])
        for axis in (0, 1):
            step = np.nan_to_num(np.abs(np.diff(moved_mm, axis=axis))) * rate
            before, after = _neighbours(axis)
            steepest[before] = np.maximum(steepest[before], step)
            steepest[after] = np.maximum(steepest[after], step)
    return steepest


def blind_words(code: int, limit: GradientLimit) -> str:
    """The reasons of a code in words; empty for 0."""
    vertical = f" ({limit.vertical_mm_yr:.0f} if vertical)" if np.isfinite(limit.vertical_mm_yr) else ""
    words = {
        Blind.NEAR_LIMIT: "steps to neighbours come near what can be told apart, "
        f"{limit.los_mm_yr:.0f} mm/yr{vertical} over {limit.pixel_m:g} m: a lower bound",
        Blind.INSIDE: "inside or beside an area of such steps: may move faster than shown",
        Blind.CONTRADICTED: "interferograms contradict each other by whole cycles: unwrapping fails",
        Blind.HOLE: "no data, ringed by moving ground",
        Blind.LOW_COHERENCE: "temporal coherence below the site's limit",
    }
    return "; ".join(text for flag, text in words.items() if code & flag)


def _windows(days: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last epoch of windows that are long enough, every quarter of one; the whole of a short record."""
    found, last_begin = [], -_STEP_DAYS
    for first, day in enumerate(days):
        last = int(np.searchsorted(days, day + _STEP_DAYS))
        if last < days.size and day - last_begin >= _STEP_DAYS / 4:
            found.append((first, last))
            last_begin = day
    ends = int(np.searchsorted(days, days[-1] - _STEP_DAYS, side="right")) - 1
    if days.size > 1 and max(ends, 0) < days.size - 1:
        found.append((max(ends, 0), days.size - 1))
    return found


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    whole = slice(None)
    before, after = slice(None, -1), slice(1, None)
    return ((before, whole), (after, whole)) if axis == 0 else ((whole, before), (whole, after))


def _contradicted(view: BlindView, least_share: NDArray[np.float64]) -> Bools:
    if view.contradicted is None or view.triangles is None:
        return np.zeros(view.has_data.shape, np.bool_)
    least = np.maximum(_LEAST_TRIANGLES, least_share * view.triangles)
    return np.nan_to_num(view.contradicted) >= least


def _without_specks(mask: Bools) -> Bools:
    """A mask without what is no area: incoherent pixels stand alone, the edge of a trough does not."""
    from scipy.ndimage import label

    labels, count = label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(sizes[labels] >= _LEAST_AREA, np.bool_)


def _filled(mask: Bools) -> Bools:
    """An area with the gaps in its ring closed and what it surrounds."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    padded = np.pad(mask, _CLOSING + 1)
    closed = binary_closing(padded, iterations=_CLOSING) | padded
    inner = slice(_CLOSING + 1, -_CLOSING - 1)
    return np.asarray(binary_fill_holes(closed)[inner, inner], np.bool_)
