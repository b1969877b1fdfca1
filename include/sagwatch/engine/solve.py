"""From interferograms to displacement history: MintPy's weighted small-baseline solution, thousands of times faster.

The mathematics is that of MintPy's ``ifgram_inversion`` with its defaults: weighted least squares per pixel, and
where a pixel's network is torn, among all best fits the one with the smallest velocities (Berardino et al.,
2002; Yunjun et al., 2019). See `sagwatch.engine.kernel` for how it is computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.weights import Weight, weight_table
from sagwatch.errors import BadInputError

DAYS_PER_YEAR = 365.25
_KIND = {
    Weight.VARIANCE: kernel.WEIGHT_VARIANCE,
    Weight.FISHER: kernel.WEIGHT_FISHER,
    Weight.COHERENCE: kernel.WEIGHT_COHERENCE,
    Weight.NONE: kernel.WEIGHT_NONE,
}


@dataclass(frozen=True)
class Network:
    """Which epochs the interferograms connect, and when the epochs were.

    Attributes
    ----------
    days
        Shape (n_epochs,), whole days since the first epoch, rising from 0.
    earlier, later
        Shape (n_pairs,), index of each pair's two epochs; earlier < later.
    """

    days: NDArray[np.int64]
    earlier: NDArray[np.int64]
    later: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.days.ndim != 1 or self.days.size < 2 or self.days[0] != 0 or np.any(np.diff(self.days) <= 0):
            raise BadInputError(
                f"the days of the epochs must rise from 0, at least two of them; got {self.days}"
            )
        if self.earlier.shape != self.later.shape or self.earlier.ndim != 1 or self.earlier.size == 0:
            raise BadInputError("a network needs one earlier and one later epoch for each of its pairs")
        inside = (self.earlier >= 0) & (self.later < self.days.size)
        if not np.all(inside & (self.earlier < self.later)):
            raise BadInputError("each pair must name two of the epochs, the earlier one first")

    @property
    def n_epochs(self) -> int:
        return self.days.size

    @property
    def n_pairs(self) -> int:
        return self.earlier.size

    @property
    def bandwidth(self) -> int:
        """The longest pair, in epochs."""
        return int(np.max(self.later - self.earlier))

    @property
    def steps_year(self) -> NDArray[np.float64]:
        """Time between neighbouring epochs in years, shape (n_epochs - 1,)."""
        return np.diff(self.days).astype(np.float64) / DAYS_PER_YEAR


@dataclass(frozen=True)
class Observations:
    """Unwrapped phases of a block of pixels.

    Attributes
    ----------
    network
        The pairs that the rows of the arrays stand for.
    phase_rad
        Shape (n_pairs, n_pixels), float32, not referenced; positive away from the satellite. NaN and exactly 0
        are missing.
    coherence
        Shape (n_pairs, n_pixels), float32, 0 to 1; NaN counts as 0.
    reference_phase_rad
        Shape (n_pairs,), the phase of the reference pixel.
    reference_pixel
        Index of the reference pixel in this block, or None if it lies in another.
    """

    network: Network
    phase_rad: NDArray[np.float32]
    coherence: NDArray[np.float32]
    reference_phase_rad: NDArray[np.float32]
    reference_pixel: int | None = None

    def __post_init__(self) -> None:
        if self.phase_rad.ndim != 2 or self.phase_rad.shape != self.coherence.shape:
            raise BadInputError(
                f"phase {self.phase_rad.shape} and coherence {self.coherence.shape} must both be (pairs, pixels)"
            )
        if self.phase_rad.shape[0] != self.network.n_pairs:
            raise BadInputError(
                f"{self.phase_rad.shape[0]} rows of phase for a network of {self.network.n_pairs} pairs"
            )
        check_reference(self.reference_phase_rad, [str(i) for i in range(self.network.n_pairs)])


@dataclass(frozen=True, slots=True)
class InversionSettings:
    """What MintPy's template calls ``mintpy.networkInversion``; the defaults are MintPy's.

    ``looks`` is the number of independent looks (see `weights.independent_looks`). With ``coherence_threshold``
    an observation below it is missing.
    """

    wavelength_m: float
    looks: int
    weight: Weight = Weight.VARIANCE
    min_redundancy: float = 1.0
    coherence_threshold: float | None = None

    def __post_init__(self) -> None:
        if self.wavelength_m <= 0 or self.looks < 1:
            raise BadInputError(f"wavelength {self.wavelength_m} m and {self.looks} looks must be positive")
        if self.coherence_threshold is not None and not 0 <= self.coherence_threshold < 1:
            raise BadInputError(f"a coherence threshold of {self.coherence_threshold} is not in [0, 1)")

    @property
    def metres_per_radian(self) -> float:
        """LOS displacement of one radian; negative, because phase grows away from the satellite."""
        return -self.wavelength_m / (4.0 * np.pi)


@dataclass(frozen=True)
class Solution:
    """Displacement history of a block of pixels.

    Attributes
    ----------
    los_m
        Shape (n_epochs, n_pixels), float32, metres along the line of sight, negative away from the satellite, 0
        at the first epoch. Not masked: NaN only where the pixel has no observation at all.
    temporal_coherence
        Shape (n_pixels,), float32, 0 to 1; NaN where there is no observation.
    n_observations
        Shape (n_pixels,), how many pairs each pixel used.
    pairs_per_epoch
        Shape (n_epochs, n_pixels), how many of them touch each epoch. Where it is 0 the displacement is not
        observed but the smoothest guess (no motion, or a straight line between neighbours).
    parts
        Shape (n_pixels,), into how many pieces the pixel's own network falls; 1 is whole. An epoch without any
        pair is a piece of its own.
    redundant
        Shape (n_pixels,), False where MintPy's redundancy test would write zeros instead of the history.
    """

    los_m: NDArray[np.float32]
    temporal_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    pairs_per_epoch: NDArray[np.uint16]
    parts: NDArray[np.uint16]
    redundant: NDArray[np.bool_]


def solve(
    observations: Observations,
    settings: InversionSettings,
    threads: int | None = None,
    *,
    float_type: type[np.floating] = np.float32,
) -> Solution:
    """Invert the interferograms of a block of pixels.

    The result does not depend on ``threads`` (by default one for each processor). ``float_type`` is what ``los_m``
    is rounded to; inside, everything is float64.
    """
    network = observations.network
    n_pixels = observations.phase_rad.shape[1]
    solution = Solution(
        los_m=np.empty((network.n_epochs, n_pixels), np.float64),
        temporal_coherence=np.empty(n_pixels, np.float32),
        n_observations=np.empty(n_pixels, np.uint16),
        pairs_per_epoch=np.empty((network.n_epochs, n_pixels), np.uint16),
        parts=np.empty(n_pixels, np.uint16),
        redundant=np.empty(n_pixels, np.bool_),
    )
    _run(observations, settings, solution, threads or os.cpu_count() or 1)
    if observations.reference_pixel is not None:
        _set_reference(solution, observations.reference_pixel, network)
    return replace(solution, los_m=solution.los_m.astype(float_type, copy=False))


def warm_up() -> None:
    """Compile the kernel, or load it from its cache: some ten seconds that an installation can spend beforehand."""
    network = Network(days=np.arange(2), earlier=np.zeros(1, np.int64), later=np.ones(1, np.int64))
    phase, coherence = np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
    reference = np.full(1, 0.5, np.float32)
    solve(Observations(network, phase, coherence, reference), InversionSettings(wavelength_m=0.0555, looks=1))


def check_reference(reference_phase_rad: NDArray[np.float32], pair_names: list[str]) -> None:
    """Refuse pairs that have no phase at the reference pixel; one such pair poisons every pixel.

    Raises
    ------
    BadInputError
        Names the pairs.
    """
    unusable = ~np.isfinite(reference_phase_rad) | (reference_phase_rad == 0)
    if len(pair_names) != unusable.size:
        raise BadInputError(f"{unusable.size} reference phases for {len(pair_names)} pairs")
    if np.any(unusable):
        names = ", ".join(name for name, bad in zip(pair_names, unusable, strict=True) if bad)
        raise BadInputError(
            f"no phase at the reference pixel in pair {names}; reject the pair or choose another reference point"
        )


def _run(observations: Observations, settings: InversionSettings, solution: Solution, threads: int) -> None:
    """Share the tiles among threads; the compiled code releases the interpreter's lock."""
    network = observations.network
    threshold = -1.0 if settings.coherence_threshold is None else settings.coherence_threshold
    arguments = (
        np.ascontiguousarray(observations.phase_rad, np.float32),
        np.ascontiguousarray(observations.coherence, np.float32),
        np.ascontiguousarray(observations.reference_phase_rad, np.float32),
        np.ascontiguousarray(network.earlier, np.int64),
        np.ascontiguousarray(network.later, np.int64),
        network.steps_year,
        network.bandwidth,
        _KIND[settings.weight],
        settings.looks,
        np.array(weight_table(settings.weight, settings.looks)),
        np.float32(threshold),
        float(settings.min_redundancy),
        settings.metres_per_radian,
        solution.los_m,
        solution.temporal_coherence,
        solution.n_observations,
        solution.pairs_per_epoch,
        solution.parts,
        solution.redundant,
    )
    n_pixels = solution.parts.size
    ranges = list(_split(n_pixels, threads))
    if len(ranges) == 1:
        kernel.solve_range(0, n_pixels, *arguments)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for job in [pool.submit(kernel.solve_range, first, last, *arguments) for first, last in ranges]:
            job.result()


def _split(n_pixels: int, threads: int) -> Iterator[tuple[int, int]]:
    """Cut the pixels at tile borders into a few ranges per thread, so that no thread waits long for another."""
    tiles = max(-(-n_pixels // kernel.TILE_PIXELS), 1)
    pieces = 1 if threads == 1 else min(4 * threads, tiles)
    borders = [round(tiles * k / pieces) * kernel.TILE_PIXELS for k in range(pieces + 1)]
    for first, last in pairwise(borders):
        yield first, min(last, n_pixels)


def _set_reference(solution: Solution, pixel: int, network: Network) -> None:
    """The reference pixel does not move and agrees with itself: that is its definition, as in MintPy."""
    touches = np.bincount(network.earlier, minlength=network.n_epochs)
    touches += np.bincount(network.later, minlength=network.n_epochs)
    solution.los_m[:, pixel] = 0.0
    solution.temporal_coherence[pixel] = 1.0
    solution.n_observations[pixel] = network.n_pairs
    solution.pairs_per_epoch[:, pixel] = touches
    solution.parts[pixel] = 1
    solution.redundant[pixel] = True
