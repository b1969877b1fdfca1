"""The stage of a movement: stable, initiation, acceleration, linear, decay, residual.

The published study describes points that are stable before mining, sink linearly as the face approaches, then
accelerate, and its conclusion speaks of initiation, acceleration and stabilisation; longwall practice adds the long
residual phase. Here a history is cut into straight pieces, each cut proved by a test, and the last piece names the
stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.zone_series import Fit, ZoneSeries, fit

Stage = Literal["stable", "initiation", "acceleration", "linear", "decay", "residual", "cannot tell"]

#: Slower than this is not called moving, whatever its significance: mm/yr.
SLOWEST_MM_YR = 10.0
#: A stopped basin that still creeps at less than this share of its fastest rate is in its residual phase.
RESIDUAL_SHARE = 0.2
#: A movement younger than this is beginning.
INITIATION_DAYS = 180
_LEAST_EPOCHS = 5
_MOST_BREAKS = 3
#: Places that are tried for the first of two cuts.
_COARSE = 16
#: Each cut is the best of many places, so the test is strict.
_CUT_PROBABILITY = 1e-4
_SURE = 0.05


@dataclass(frozen=True, slots=True)
class Piece:
    """A straight part of a history; rate LOS in mm/yr, negative away from the satellite."""

    begin: date
    end: date
    rate_mm_yr: float
    sd_mm_yr: float
    moving: bool


@dataclass(frozen=True, slots=True)
class Movement:
    """The stage, since when, how sure, and the pieces that it rests on, oldest first.

    ``confidence`` is that the cuts are there, and that the last piece moves, or rests, as the stage says.
    """

    stage: Stage
    since: date
    confidence: float
    pieces: tuple[Piece, ...]

    @property
    def words(self) -> str:
        if self.stage == "cannot tell":
            return "stage of movement: cannot tell yet"
        sure = "over 99 %" if self.confidence > 0.99 else f"{self.confidence:.0%}"
        return f"stage of movement: {self.stage} since {self.since.isoformat()} (confidence {sure})"

    @property
    def rate_words(self) -> str:
        """How fast the zone's median moves in this stage."""
        if not self.pieces:
            return ""
        last = self.pieces[-1]
        return f"{last.rate_mm_yr:+.0f} ± {2 * last.sd_mm_yr:.0f} mm/yr against its surroundings"


def movement(series: ZoneSeries) -> Movement:
    """Cut a history into straight pieces and name the stage of the last one.

    The pieces join each other (the ground does not jump). A cut is made where it lowers the sum of squares most, while
    an F-test, its statistic divided by the variance inflation of correlated noise, rejects the fit without it.
    """
    if series.los_mm.size < 2 * _LEAST_EPOCHS:
        return Movement("cannot tell", series.dates[0], 0.0, ())
    breaks: list[int] = []
    found = fit(_design(series, breaks), series)
    confidence = 1.0
    while found is not None and len(breaks) < _MOST_BREAKS:
        cut = _proved_cut(series, breaks, found)
        if cut is None:
            break
        breaks, found, probability = cut
        confidence = min(confidence, 1 - probability)
    if found is None:
        return Movement("cannot tell", series.dates[0], 0.0, ())
    return _named(_pieces(series, breaks, found), confidence)


def confidence_of_motion(rate: NDArray[np.floating], sd: NDArray[np.floating]) -> NDArray[np.floating]:
    """That the true rate is not zero."""
    from scipy.special import ndtr  # scipy is slow to load, and tasks that judge nothing import this

    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - 2 * ndtr(-np.abs(rate / sd))


def confidence_of_rest(rate: NDArray[np.floating], sd: NDArray[np.floating]) -> NDArray[np.floating]:
    """That the true rate is slower than what is called moving."""
    from scipy.special import ndtr

    with np.errstate(invalid="ignore", divide="ignore"):
        return ndtr((SLOWEST_MM_YR - rate) / sd) - ndtr((-SLOWEST_MM_YR - rate) / sd)


def _design(series: ZoneSeries, breaks: list[int]) -> NDArray[np.float64]:
    years = series.years
    hinges = [np.clip(years - years[index], 0, None) for index in breaks]
    return np.column_stack([np.ones(years.size), years, *hinges])


def _proved_cut(series: ZoneSeries, breaks: list[int], found: Fit) -> tuple[list[int], Fit, float] | None:
    """The best cut, or the best two where one alone proves nothing: ground that starts and stops looks straight to a
    single hinge."""
    best = _best_cut(series, breaks)
    if best is None:
        return None
    probability = _cut_probability(found, best[1], series, 1)
    if probability <= _CUT_PROBABILITY:
        return sorted([*breaks, best[0]]), best[1], probability
    if len(breaks) + 2 > _MOST_BREAKS or (both := _best_two_cuts(series, breaks)) is None:
        return None
    probability = _cut_probability(found, both[1], series, 2)
    return (*both, probability) if probability <= _CUT_PROBABILITY else None


def _best_two_cuts(series: ZoneSeries, breaks: list[int]) -> tuple[list[int], Fit] | None:
    """A coarse search for the first of two, an exact one for the second, and for the first again."""
    n = series.los_mm.size
    tried: list[tuple[list[int], Fit]] = []
    for first in range(_LEAST_EPOCHS - 1, n - _LEAST_EPOCHS + 1, max(1, n // _COARSE)):
        if min(abs(first - bound) for bound in (0, *breaks, n - 1)) < _LEAST_EPOCHS - 1:
            continue
        second = _best_cut(series, sorted([*breaks, first]))
        if second is not None:
            tried.append((sorted([*breaks, first, second[0]]), second[1]))
    if not tried:
        return None
    both, found = min(tried, key=lambda one: one[1].squares)
    for cut in [index for index in both if index not in breaks]:
        others = [index for index in both if index != cut]
        again = _best_cut(series, others)
        if again is not None and again[1].squares < found.squares:
            both, found = sorted([*others, again[0]]), again[1]
    return both, found


def _best_cut(series: ZoneSeries, breaks: list[int]) -> tuple[int, Fit] | None:
    """The place that lowers the sum of squares most, no piece shorter than the least number of epochs.

    What a hinge gains is its part that is at right angles to the columns there are, so all places are tried at once.
    """
    n = series.los_mm.size
    bounds = np.array([0, *breaks, n - 1])
    places = np.arange(_LEAST_EPOCHS - 1, n - _LEAST_EPOCHS + 1)
    far = np.abs(places[:, None] - bounds[None, :]).min(axis=1) >= _LEAST_EPOCHS - 1
    places = places[far]
    if not places.size:
        return None
    years = series.years
    basis, _ = np.linalg.qr(_design(series, breaks))
    hinges = np.clip(years[:, None] - years[places][None, :], 0, None)
    upright = hinges - basis @ (basis.T @ hinges)
    residual = series.los_mm - basis @ (basis.T @ series.los_mm)
    gain = (upright.T @ residual) ** 2 / np.maximum(np.sum(upright**2, axis=0), 1e-12)
    best = int(places[np.argmax(gain)])
    found = fit(_design(series, sorted([*breaks, best])), series)
    return None if found is None else (best, found)


def _cut_probability(before: Fit, after: Fit, series: ZoneSeries, cuts: int) -> float:
    if after.squares <= 0:
        return 1.0 if before.squares <= 0 else 0.0
    # A hinge costs two parameters, its place and its change of rate.
    gain = (before.squares - after.squares) / (2 * cuts)
    freedom = max(1, after.freedom - cuts)
    noise = after.squares / freedom
    from scipy.special import fdtrc  # scipy is slow to load, and tasks that judge nothing import this

    return float(fdtrc(2 * cuts, freedom, gain / noise / series.inflation**2))


def _pieces(series: ZoneSeries, breaks: list[int], found: Fit) -> list[Piece]:
    edges = [0, *breaks, series.los_mm.size - 1]
    years = series.years
    noise = np.sqrt(found.squares / found.freedom)
    pieces = []
    for number, (begin, end) in enumerate(pairwise(edges)):
        rate = float(np.sum(found.values[1 : 2 + number]))
        part = years[begin : end + 1]
        spread = float(np.sqrt(np.sum((part - part.mean()) ** 2)))
        sd = float(noise / spread * series.inflation)
        moving = abs(rate) > max(SLOWEST_MM_YR, 2 * sd)
        pieces.append(Piece(series.dates[begin], series.dates[end], rate, sd, moving))
    return pieces


def _named(pieces: list[Piece], confidence: float) -> Movement:
    last = pieces[-1]
    earlier = [piece for piece in pieces[:-1] if piece.moving]
    fastest = max((abs(piece.rate_mm_yr) for piece in earlier), default=0.0)
    before = pieces[-2] if len(pieces) > 1 else None
    stage: Stage
    if not last.moving or (earlier and abs(last.rate_mm_yr) < RESIDUAL_SHARE * fastest):
        stage = "residual" if earlier else "stable"
    elif before is None:
        stage = "linear"
    elif not before.moving and not earlier:
        stage = "initiation" if (last.end - last.begin).days <= INITIATION_DAYS else "linear"
    else:
        stage = "acceleration" if abs(last.rate_mm_yr) > abs(before.rate_mm_yr) else "decay"
    rate, sd = np.array(last.rate_mm_yr), np.array(last.sd_mm_yr)
    sure = confidence_of_motion(rate, sd) if last.moving else confidence_of_rest(rate, sd)
    return Movement(stage, last.begin, min(confidence, float(sure)), tuple(pieces))
