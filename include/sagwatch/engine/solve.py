"""From interferograms to displacement history: MintPy's weighted small-baseline solution, thousands of times faster.

The mathematics is that of MintPy's ``ifgram_inversion`` with its defaults: weighted least squares per pixel, and
where a pixel's network is torn, among all best fits the one with the smallest velocities (Berardino et al.,
2002; Yunjun et al., 2019). See `sagwatch.engine.kernel` for how it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import checks, kernel
from sagwatch.engine.lines import fit_range
from sagwatch.engine.network import InversionSettings, Network
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE
from sagwatch.engine.window import Checkpoint, Effort, set_reference, solve_window
from sagwatch.errors import BadInputError

__all__ = ["InversionSettings", "Network", "Observations", "Solution", "check_reference", "solve", "warm_up"]


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


@dataclass(frozen=True)
class Solution:
    """Displacement history of a block of pixels.

    Attributes
    ----------
    los_m
        Shape (n_epochs, n_pixels), float32, metres along the line of sight, negative away from the satellite, 0
        at the first epoch. Not masked: NaN only before the pixel's first observation, everywhere if it has none.
    temporal_coherence
        Shape (n_pixels,), float32, 0 to 1; NaN where there is no observation.
    n_observations
        Shape (n_pixels,), how many pairs each pixel used.
    pairs_per_epoch
        Shape (n_epochs, n_pixels), how many of them touch each epoch, 255 if more. Where it is 0 the displacement is
        not observed but the smoothest guess (no motion, or a straight line between neighbours), or NaN before the
        first.
    parts
        Shape (n_pixels,), into how many pieces the pixel's own network falls; 1 is whole. An epoch without any
        pair is a piece of its own.
    redundant
        Shape (n_pixels,), False where MintPy's redundancy test would write zeros instead of the history.
    """

    los_m: NDArray[np.float32]
    temporal_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    pairs_per_epoch: NDArray[np.uint8]
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
    order = np.lexsort((network.later, network.earlier))
    in_order = np.array_equal(order, np.arange(order.size))
    pick = slice(None) if in_order else order
    start = Checkpoint.empty(observations.phase_rad.shape[1])
    given = kernel.Given(
        np.ascontiguousarray(observations.phase_rad[pick], np.float32),
        np.ascontiguousarray(observations.coherence[pick], np.float32),
        np.ascontiguousarray(observations.reference_phase_rad[pick], np.float32),
        start.floats,
        start.counts,
    )
    effort = Effort(threads=threads)
    solved = solve_window(network, given, start, (), settings, effort, float_type, keeps_sums=False)
    if observations.reference_pixel is not None:
        set_reference(solved, observations.reference_pixel, network)
    solution = Solution(
        solved.los_m,
        solved.temporal_coherence,
        solved.n_observations,
        solved.pairs_per_epoch,
        solved.parts,
        solved.redundant,
    )
    return solution


def warm_up() -> None:
    """Compile everything that an update calls, or load it from its cache: a minute that an installation can spend."""
    network = Network(days=np.arange(2), earlier=np.zeros(1, np.int64), later=np.ones(1, np.int64))
    phase, coherence = np.ones((1, 1), np.float32), np.ones((1, 1), np.float32)
    reference = np.full(1, 0.5, np.float32)
    solve(Observations(network, phase, coherence, reference), InversionSettings(wavelength_m=0.0555, looks=1))
    los_m, pairs = np.zeros((2, 1), np.float32), np.ones((2, 1), np.uint8)
    line, n_epochs = np.empty((kernel.LINE_ROWS, 1), np.float32), np.empty(1, np.uint16)
    fit_range(0, 1, np.arange(2.0), los_m, pairs, LEAST_EPOCHS_OF_A_LINE, line, n_epochs)


def check_reference(reference_phase_rad: NDArray[np.float32], pair_names: list[str]) -> None:
    """Refuse pairs that have no phase at the reference pixel; one such pair poisons every pixel.

    Raises
    ------
    BadInputError
        Names the pairs.
    """
    if len(pair_names) != reference_phase_rad.size:
        raise BadInputError(f"{reference_phase_rad.size} reference phases for {len(pair_names)} pairs")
    for finding in checks.check_reference(reference_phase_rad, pair_names):
        raise BadInputError(str(finding))
