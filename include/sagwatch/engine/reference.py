"""Choose the pixel that all displacements of a track refer to, where its site names none.

The choice is made once and pinned; it is a pure function of the interferograms, so it can be repeated and explained.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sagwatch.engine.interferogram import COHERENCE, PHASE, open_hdf5
from sagwatch.engine.revision import ReferencePoint
from sagwatch.engine.solve import InversionSettings, Observations, solve
from sagwatch.engine.stack import Stack
from sagwatch.engine.velocity import elapsed_years, fit_line
from sagwatch.errors import BadInputError


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
    most_candidates
        Bounds the memory.
    """

    least_coherence: float = 0.4
    best_share: float = 0.2
    neighbourhood: int = 7
    least_company: int = 5
    most_candidates: int = 50_000


@dataclass(frozen=True)
class _Survey:
    """Per pixel of the grid: never missing in any pair, and the mean coherence over the pairs."""

    complete: NDArray[np.bool_]
    mean_coherence: NDArray[np.float64]


def choose_reference(
    stack: Stack,
    settings: InversionSettings,
    land: NDArray[np.bool_],
    rules: ReferenceRules | None = None,
) -> ReferencePoint:
    """Choose a coherent, never missing, dry pixel on quiet ground.

    Ground is quiet where its velocity differs little from the median of all candidates, in a first solution that
    refers to their median; so most of the track's coherent area must be stable, which holds around a mine and
    not in a city that sinks as a whole: there the site file has to name the point.

    Parameters
    ----------
    stack
        All interferograms so far.
    settings
        How they are solved.
    land
        Shape of the grid; False on water.

    Raises
    ------
    BadInputError
        No pixel fulfils the rules; the text says at which rule the last ones fell.
    """
    rules = rules or ReferenceRules()
    survey = _survey(stack)
    eligible = survey.complete & land & (survey.mean_coherence >= rules.least_coherence)
    if not eligible.any():
        raise BadInputError(_explain(survey, land, rules))
    candidates = _best(survey, eligible, rules)
    velocity_m_yr, agreement = _first_solution(stack, settings, candidates)
    unrest_m_yr, company = _unrest(velocity_m_yr, candidates, rules.neighbourhood)
    known = candidates & (company >= min(rules.least_company, int(candidates.sum())))
    if not known.any():
        raise BadInputError(
            f"none of the {int(candidates.sum())} coherent pixels has {rules.least_company} others within "
            f"{rules.neighbourhood} pixels; name a reference point in the site file"
        )
    quiet = known & (unrest_m_yr <= np.median(unrest_m_yr[known]))
    score = np.where(quiet, survey.mean_coherence * agreement, -np.inf)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return ReferencePoint(int(row), int(column), _reason(survey, agreement, unrest_m_yr, int(row), int(column)))


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


def _first_solution(
    stack: Stack, settings: InversionSettings, candidates: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Velocity (m/yr) and temporal coherence of the candidates against their median; NaN elsewhere."""
    shape = (len(stack.members), int(candidates.sum()))
    phase, coherence = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for i, member in enumerate(stack.members):
        with open_hdf5(stack.path(member)) as file:
            phase[i], coherence[i] = file[PHASE][0][candidates], file[COHERENCE][0][candidates]
    middle = np.nextafter(np.median(phase, axis=1).astype(np.float32), np.float32(np.inf))
    solution = solve(Observations(stack.network, phase, coherence, middle), settings)
    years = elapsed_years(stack.dates)
    if years.size < 3:  # two epochs make no line with a residual, but they do make a difference
        speed = (solution.los_m[-1] - solution.los_m[0]) / years[-1]
    else:
        speed = fit_line(years, solution.los_m).velocity_m_yr
    velocity, agreement = np.full(stack.shape, np.nan), np.full(stack.shape, np.nan)
    velocity[candidates], agreement[candidates] = speed, solution.temporal_coherence
    return velocity, agreement


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


def _explain(survey: _Survey, land: NDArray[np.bool_], rules: ReferenceRules) -> str:
    complete = survey.complete & land
    best = float(survey.mean_coherence[complete].max()) if complete.any() else 0.0
    return (
        f"no pixel can be the reference point: {int(land.sum())} of {land.size} pixels are land, "
        f"{int(complete.sum())} of them are in every interferogram, and their highest mean coherence is "
        f"{best:.2f} (at least {rules.least_coherence} is needed); name a reference point in the site file"
    )


def _reason(
    survey: _Survey,
    agreement: NDArray[np.float64],
    unrest_m_yr: NDArray[np.float64],
    row: int,
    column: int,
) -> str:
    return (
        f"mean coherence {survey.mean_coherence[row, column]:.2f}, in every interferogram, on land, "
        f"temporal coherence {agreement[row, column]:.2f}, velocities around it within "
        f"{1000 * unrest_m_yr[row, column]:.1f} mm/yr of the median"
    )
