"""Weights of interferometric phase from coherence, exactly as MintPy's inversion uses them.

The default, ``var``, is the inverse of the phase variance of a distributed scatterer. MintPy does not
evaluate it per pixel: it bins coherence into 200 classes and integrates the probability density of the phase
(Tough et al., 1995; Hanssen, 2001, eq. 4.2.32) over a coarse grid of 200 phases. Above a coherence of 0.95 that
grid is an artefact, and it is part of the answer: an analytic variance would move published displacements.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sagwatch.errors import BadInputError

COHERENCE_BINS = 200
COHERENCE_STEP = 1.0 / COHERENCE_BINS
LOWEST_COHERENCE = np.float32(0.05)
HIGHEST_FISHER_COHERENCE = 1.0 - 1e-3
MOST_LOOKS = 80
RESOLUTION_PER_PIXEL_RATIO = 1.94


class Weight(StrEnum):
    """MintPy's four choices of how coherence weighs an observation."""

    VARIANCE = "var"
    FISHER = "fim"
    COHERENCE = "coh"
    NONE = "no"


def independent_looks(range_looks: int, azimuth_looks: int) -> int:
    """Return MintPy's number of independent looks of a Sentinel-1 product without ``NCORRLOOKS``."""
    if range_looks < 1 or azimuth_looks < 1:
        raise BadInputError(
            f"looks of {range_looks}x{azimuth_looks} are not possible; both must be 1 or more"
        )
    return max(int(np.rint(range_looks * azimuth_looks / RESOLUTION_PER_PIXEL_RATIO)), 1)


@lru_cache(maxsize=16)
def weight_table(weight: Weight, looks: int) -> NDArray[np.float64]:
    """Tabulate the weight of an observation by coherence bin.

    Only ``var`` is a table in MintPy; the other weights are smooth functions of coherence, see `weigh`.

    Returns
    -------
    shape (200,)
        Inverse phase variance in rad^-2, rounded to float32 as MintPy keeps it. Ones for other weights.
    """
    if weight is not Weight.VARIANCE:
        return np.ones(COHERENCE_BINS)
    table = (1.0 / phase_variance(min(looks, MOST_LOOKS))).astype(np.float32).astype(np.float64)
    table.setflags(write=False)
    return table


def phase_variance(looks: int) -> NDArray[np.float64]:
    """Integrate the phase variance of a distributed scatterer for each coherence bin.

    Parameters
    ----------
    looks
        Number of independent looks, 1 to 80.

    Returns
    -------
    shape (200,)
        Variance in rad^2 at coherence 0.0025, 0.0075, ... 0.9975.
    """
    if not 1 <= looks <= MOST_LOOKS:
        raise BadInputError(f"{looks} looks: the phase variance is tabulated for 1 to {MOST_LOOKS}")
    coherence = np.linspace(COHERENCE_STEP, 1.0, COHERENCE_BINS) - COHERENCE_STEP / 2.0
    phase_rad = np.linspace(-np.pi, np.pi, COHERENCE_BINS)[:, None]
    density = _phase_density(phase_rad, coherence[None, :], looks)
    step_rad = 2.0 * np.pi / COHERENCE_BINS
    variance = np.sum(phase_rad**2 * density * step_rad, axis=0)
    # Rounding makes the sum negative close to coherence 1; MintPy gives such bins the smallest positive one.
    variance[variance <= 0] = np.min(variance[variance > 0])
    return variance


def weigh(coherence: NDArray[np.float32], weight: Weight, looks: int) -> NDArray[np.float64]:
    """Return the weight of each observation; the compiled solver does the same inside its loop.

    Parameters
    ----------
    coherence
        Any shape, 0 to 1; NaN counts as the lowest.
    """
    floored = np.where(coherence >= LOWEST_COHERENCE, coherence, LOWEST_COHERENCE).astype(np.float64)
    match weight:
        case Weight.VARIANCE:
            lowest, highest = COHERENCE_STEP / 2, 1.0 - COHERENCE_STEP / 2
            bins = ((np.clip(floored, lowest, highest) - lowest) / COHERENCE_STEP).astype(np.intp)
            return weight_table(weight, looks)[bins]
        case Weight.FISHER:
            squared = np.minimum(floored, HIGHEST_FISHER_COHERENCE) ** 2
            return (2.0 * looks * squared / (1.0 - squared)).astype(np.float32).astype(np.float64)
        case Weight.COHERENCE:
            return floored
        case Weight.NONE:
            return np.ones_like(floored)


def _phase_density(
    phase_rad: NDArray[np.float64], coherence: NDArray[np.float64], looks: int
) -> NDArray[np.float64]:
    """Probability density of the interferometric phase, in the form of Tough et al. (1995), eq. 66."""
    beta = coherence * np.cos(phase_rad)
    rest = 1.0 - beta**2
    outer = (1.0 - coherence**2) ** looks / (2.0 * np.pi)
    scale = math.gamma(2 * looks - 1) / (math.gamma(looks) ** 2 * 2 ** (2 * (looks - 1)))
    main = (2 * looks - 1) * beta / rest ** (looks + 0.5) * (np.pi / 2 + np.arcsin(beta)) + 1.0 / rest**looks
    return outer * (scale * main + _finite_sum(beta, rest, looks))


def _finite_sum(beta: NDArray[np.float64], rest: NDArray[np.float64], looks: int) -> NDArray[np.float64]:
    """Return the finite sum over looks of the density; zero for a single look."""
    total = np.zeros_like(beta)
    for r in range(looks - 1):
        ratio = math.gamma(looks - 0.5) / math.gamma(looks - 0.5 - r)
        ratio *= math.gamma(looks - 1 - r) / math.gamma(looks - 1)
        total += ratio * (1.0 + (2 * r + 1) * beta**2) / rest ** (r + 2)
    return total / (2 * (looks - 1)) if looks > 1 else total
