"""Rank the pixels that all displacements of a track could refer to, where its site names none; the first is taken.

The choice is made once and pinned; it is a pure function of the interferograms, so it can be repeated and explained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sagwatch.engine.interferogram import COHERENCE, PHASE, open_hdf5
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.solve import InversionSettings, Observations, solve
from sagwatch.engine.stack import Stack
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE, elapsed_years, fit_line
from sagwatch.errors import BadInputError

MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """What a reference point must be.

    Attributes
    ----------
    least_coherence
        Mean over all pairs; below it nothing is taken.
    best_share
        Only this share of the never-missing pixels, those of highest mean coherence, are looked at closer.
    neighbourhood
        Side of the square, in pixels, over which the ground must be quiet; odd.
    least_company
        So many of the neighbourhood's pixels must be candidates too: no lonely pixel.
    most_scatter_m_yr, most_scatter_m
        If the candidates' velocities scatter by more than the first, the second over the span of the record, and
        three of their own standard deviations, then nobody can tell which ground is the stable one.
    edge_margin
        No pixel so near to the grid's edge (an eighth of a small grid): products of one track differ by some pixels
        in extent, and one that ends short of the reference would be lost as a whole.
    most_candidates
        Bounds the memory.
    height_m
        So far above or below the area of interest a pixel counts half: the part of the troposphere's delay that depends
        on height would map from the reference into everything.
    most_ranked, apart
        So many places are ranked, each so many pixels away from all better ones.
    """

    least_coherence: float = 0.4
    best_share: float = 0.2
    neighbourhood: int = 7
    least_company: int = 5
    most_scatter_m_yr: float = 0.020
    most_scatter_m: float = 0.010
    edge_margin: int = 10
    most_candidates: int = 50_000
    height_m: float = 100.0
    most_ranked: int = 12
    apart: int = 7


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is known of the ground beside its interferograms; arrays of the grid's shape.

    Attributes
    ----------
    land
        False on water, and where the height model has a hole: no delay could ever refer to such a pixel.
    undermined
        True within the draw of a panel: it moves, has moved or will.
    above_area_m
        Height above the median of the area of interest, metres; None: not known, and height plays no part.
    """

    land: NDArray[np.bool_]
    undermined: NDArray[np.bool_] | None = None
    above_area_m: NDArray[np.floating] | None = None

    @property
    def allowed(self) -> NDArray[np.bool_]:
        return self.land if self.undermined is None else self.land & ~self.undermined


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that is fit, with the numbers that rank it; ``score`` runs from 0 to 1.

    ``off_panels`` is False where no mine plan says where the panels are.
    """

    row: int
    column: int
    score: float
    mean_coherence: float
    temporal_coherence: float
    unrest_m_yr: float
    above_area_m: float | None
    off_panels: bool = False

    @property
    def reason(self) -> str:
        height = (
            "" if self.above_area_m is None else f", {round(self.above_area_m):+d} m above the area's median"
        )
        panels = ", off the panels" if self.off_panels else ""
        return (
            f"mean coherence {self.mean_coherence:.2f}, in every interferogram, on land{panels}, "
            f"temporal coherence {self.temporal_coherence:.2f}, velocities around it within "
            f"{1000 * self.unrest_m_yr:.1f} mm/yr of the median{height}"
        )

    @property
    def point(self) -> ReferencePoint:
        return ReferencePoint(self.row, self.column, self.reason)


@dataclass(frozen=True)
class _Survey:
    """Per pixel of the grid: never missing in any pair, and the mean coherence over the pairs."""

    complete: NDArray[np.bool_]
    mean_coherence: NDArray[np.float64]


def rank_references(
    stack: Stack,
    settings: InversionSettings,
    surroundings: Surroundings,
    rules: ReferenceRules | None = None,
) -> tuple[Candidate, ...]:
    """Coherent, never missing, dry pixels on quiet ground off the panels, the best first; never none.

    Ground is quiet where its velocity differs little from the median of all candidates, in a first solution that
    refers to their median; so most of the track's coherent area must be stable. That holds around a mine. A city
    that sinks as a whole is refused: there the site file has to name the point. Among quiet pixels the score is
    mean coherence times temporal coherence times nearness in height, 1 / (1 + (difference / height_m) squared).

    Parameters
    ----------
    stack
        All interferograms so far.
    settings
        How they are solved.

    Raises
    ------
    BadInputError
        No pixel fulfils the rules; the text says at which rule the last ones fell.
    """
    rules = rules or ReferenceRules()
    survey = _survey(stack)
    eligible = survey.complete & surroundings.allowed & (survey.mean_coherence >= rules.least_coherence)
    if not eligible.any():
        raise BadInputError(_explain(survey, surroundings, rules))
    candidates = _best(survey, eligible, rules)
    first = _first_solution(stack, settings, candidates)
    _check_scatter(first, stack, candidates, rules)
    unrest_m_yr, company = _unrest(first.velocity_m_yr, candidates, rules.neighbourhood)
    known = candidates & (company >= min(rules.least_company, int(candidates.sum())))
    known &= _inside(stack.shape, rules.edge_margin)
    if not known.any():
        raise BadInputError(
            f"none of the {int(candidates.sum())} coherent pixels lies away from the grid's edge and has "
            f"{rules.least_company} others within {rules.neighbourhood} pixels; name a reference point in the site file"
        )
    quiet = known & (unrest_m_yr <= np.median(unrest_m_yr[known]))
    above = surroundings.above_area_m
    score = survey.mean_coherence * first.agreement
    if above is not None:
        score = score * np.nan_to_num(1 / (1 + (above / rules.height_m) ** 2))
    return tuple(
        Candidate(
            row=row,
            column=column,
            score=float(score[row, column]),
            mean_coherence=float(survey.mean_coherence[row, column]),
            temporal_coherence=float(first.agreement[row, column]),
            unrest_m_yr=float(unrest_m_yr[row, column]),
            above_area_m=None if above is None else float(above[row, column]),
            off_panels=surroundings.undermined is not None,
        )
        for row, column in _apart(np.where(quiet, score, -np.inf), rules)
    )


def choose_reference(
    stack: Stack,
    settings: InversionSettings,
    land: NDArray[np.bool_],
    rules: ReferenceRules | None = None,
) -> ReferencePoint:
    """The best of `rank_references` where nothing is known of panels and heights; ``land`` is False on water."""
    return rank_references(stack, settings, Surroundings(land), rules)[0].point


def _apart(score: NDArray[np.float64], rules: ReferenceRules) -> list[tuple[int, int]]:
    """Pixels of falling score, each away from all better ones; of equal ones the first by row and column."""
    left = score.copy()
    places: list[tuple[int, int]] = []
    while len(places) < rules.most_ranked and np.isfinite(left.max()):
        row, column = (int(value) for value in np.unravel_index(int(np.argmax(left)), left.shape))
        places.append((row, column))
        near = slice(max(row - rules.apart, 0), row + rules.apart + 1)
        left[near, max(column - rules.apart, 0) : column + rules.apart + 1] = -np.inf
    return places


def _inside(shape: tuple[int, int], margin: int) -> NDArray[np.bool_]:
    """True on the pixels that are farther than the margin from the grid's edge."""
    inside = np.zeros(shape, np.bool_)
    down, across = (min(margin, side // 8) for side in shape)
    inside[down : shape[0] - down, across : shape[1] - across] = True
    return inside


def _survey(stack: Stack) -> _Survey:
    """Look at every pair once."""
    complete = np.ones(stack.shape, np.bool_)
    total = np.zeros(stack.shape)
    for member in stack.members:
        with open_hdf5(stack.path(member)) as file:
            phase, coherence = file[PHASE][0], file[COHERENCE][0]
        complete &= np.isfinite(phase) & (phase != 0) & np.isfinite(coherence)
        total += np.nan_to_num(coherence)
    return _Survey(complete, total / len(stack.members))


def _best(survey: _Survey, eligible: NDArray[np.bool_], rules: ReferenceRules) -> NDArray[np.bool_]:
    """Keep the most coherent pixels; ties go by row and column."""
    flat = np.flatnonzero(eligible)
    wanted = min(max(int(np.ceil(rules.best_share * flat.size)), 1), rules.most_candidates)
    order = np.argsort(-survey.mean_coherence.ravel()[flat], kind="stable")
    best = np.zeros(eligible.shape, np.bool_)
    best.ravel()[flat[order[:wanted]]] = True
    return best


@dataclass(frozen=True)
class _FirstSolution:
    """Velocity, its standard deviation (m/yr) and temporal coherence of the candidates; NaN elsewhere."""

    velocity_m_yr: NDArray[np.float64]
    velocity_std_m_yr: NDArray[np.float64]
    agreement: NDArray[np.float64]


def _first_solution(
    stack: Stack, settings: InversionSettings, candidates: NDArray[np.bool_]
) -> _FirstSolution:
    """Solve the candidates against their median phase."""
    shape = (len(stack.members), int(candidates.sum()))
    phase, coherence = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for i, member in enumerate(stack.members):
        with open_hdf5(stack.path(member)) as file:
            phase[i], coherence[i] = file[PHASE][0][candidates], file[COHERENCE][0][candidates]
    # A hair beside the median, because a pixel exactly on it would count as missing.
    middle = np.nextafter(np.median(phase, axis=1).astype(np.float32), np.float32(np.inf))
    solution = solve(Observations(stack.network, phase, coherence, middle), settings)
    years = elapsed_years(stack.dates)
    if years.size < LEAST_EPOCHS_OF_A_LINE:
        speed = (solution.los_m[-1] - solution.los_m[0]) / years[-1]
        std = np.zeros_like(speed)
    else:
        line = fit_line(years, solution.los_m)
        speed, std = line.velocity_m_yr, line.velocity_std_m_yr
    layers = np.full((3, *stack.shape), np.nan)
    for layer, values in zip(layers, (speed, std, solution.temporal_coherence), strict=True):
        layer[candidates] = values
    return _FirstSolution(*layers)


def _check_scatter(
    first: _FirstSolution, stack: Stack, candidates: NDArray[np.bool_], rules: ReferenceRules
) -> None:
    """Refuse ground on which the coherent pixels do not agree what is stable."""
    velocity_m_yr = first.velocity_m_yr[candidates]
    scatter_m_yr = MAD_TO_SIGMA * np.median(np.abs(velocity_m_yr - np.median(velocity_m_yr)))
    limit_m_yr = max(
        rules.most_scatter_m_yr,
        rules.most_scatter_m / elapsed_years(stack.dates)[-1],
        3.0 * float(np.median(first.velocity_std_m_yr[candidates])),
    )
    if scatter_m_yr > limit_m_yr:
        raise BadInputError(
            f"the velocities of the {velocity_m_yr.size} most coherent pixels scatter by "
            f"{1000 * scatter_m_yr:.0f} mm/yr, so it cannot be told which ground is stable; "
            "name a reference point in the site file"
        )


def _unrest(
    velocity_m_yr: NDArray[np.float64], candidates: NDArray[np.bool_], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square of the candidates' velocities about their median in the square around each pixel.

    Also returns how many candidates the square holds.
    """
    about = np.where(candidates, (velocity_m_yr - np.nanmedian(velocity_m_yr)) ** 2, 0.0)
    cells = side * side
    company = ndimage.uniform_filter(candidates.astype(np.float64), side, mode="constant") * cells
    total = ndimage.uniform_filter(about, side, mode="constant") * cells
    return np.sqrt(np.maximum(total, 0.0) / np.maximum(company, 1.0)), np.rint(company)


def _explain(survey: _Survey, surroundings: Surroundings, rules: ReferenceRules) -> str:
    land, allowed = surroundings.land, surroundings.allowed
    complete = survey.complete & allowed
    best = float(survey.mean_coherence[complete].max()) if complete.any() else 0.0
    off = "" if surroundings.undermined is None else f", {int(allowed.sum())} of them off the panels' draw"
    remedy = "" if surroundings.undermined is None else ", or lower datum.draw_m"
    return (
        f"no pixel can be the reference point: {int(land.sum())} of {land.size} pixels are land{off}, "
        f"{int(complete.sum())} of them are in every interferogram, and their highest mean coherence is "
        f"{best:.2f} (at least {rules.least_coherence} is needed); name a reference point in the site file{remedy}"
    )
