"""Solve the end of a record from a checkpoint, pixel by pixel as far back as it is needed.

`solve_window` is one call of the kernel on arrays. `solve_from` is what an update does: it takes up the solution at
the newest checkpoint that still holds, and for the few pixels where something older would change, at older ones.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.network import DAYS_PER_YEAR, InversionSettings, Network
from sagwatch.engine.weights import Weight, weight_table
from sagwatch.errors import BadInputError

_KIND = {
    Weight.VARIANCE: kernel.WEIGHT_VARIANCE,
    Weight.FISHER: kernel.WEIGHT_FISHER,
    Weight.COHERENCE: kernel.WEIGHT_COHERENCE,
    Weight.NONE: kernel.WEIGHT_NONE,
}
# A new acquisition changes what lies further back less and less: by a factor of ten each two to three mean pairs.
SETTLING_PAIRS = 10.0
_RECENT_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Effort:
    """How far an update goes, and how it is shared.

    Attributes
    ----------
    tolerance_mm
        What an update leaves as it is may be wrong by so much at most; beyond it the update goes further back. Stored
        epochs are also left as they are while a newer solution differs from them by no more.
    budget_mm
        The same for all updates together, so a stored epoch is never off by more than both.
    block_epochs
        Series are stored, and checkpoints made, in blocks of so many epochs.
    settling_pairs
        A checkpoint is made where so many mean pairs, and the longest one, have followed: less makes updates go back
        further more often, more makes each of them longer.
    memory_bytes
        Arrays of pixels that are held at a time.
    threads
        None is one for each processor.
    """

    tolerance_mm: float = 1e-4
    budget_mm: float = 5e-4
    block_epochs: int = 8
    settling_pairs: float = SETTLING_PAIRS
    memory_bytes: int = 512 * 2**20
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.block_epochs < 2 or self.tolerance_mm <= 0 or self.budget_mm < self.tolerance_mm:
            raise BadInputError(
                f"blocks of {self.block_epochs} epochs, tolerance {self.tolerance_mm} mm, budget {self.budget_mm} mm: "
                "a block has 2 epochs or more, the tolerance is positive and the budget not less"
            )

    @property
    def n_threads(self) -> int:
        return self.threads or os.cpu_count() or 1


@dataclass(frozen=True)
class Checkpoint:
    """Where the solution of some pixels can be taken up again: before the pairs that begin at ``epoch`` or later.

    Attributes
    ----------
    epoch
        Index of the epoch.
    reach
        How many epochs after it the pairs that begin before it touch.
    floats
        Shape (kernel.float_rows(reach), n_pixels).
    counts
        Shape (kernel.count_rows(reach), n_pixels), uint16.
    """

    epoch: int
    reach: int
    floats: NDArray[np.float64]
    counts: NDArray[np.uint16]

    @classmethod
    def empty(cls, n_pixels: int) -> Checkpoint:
        """The beginning of the record, when nothing is known."""
        counts = np.zeros((kernel.count_rows(0), n_pixels), np.uint16)
        counts[kernel.MEETS] = 1
        return cls(0, 0, np.zeros((kernel.float_rows(0), n_pixels)), counts)

    def of(self, pixels: NDArray[np.int64] | slice) -> Checkpoint:
        """The same for some of its pixels."""
        return Checkpoint(self.epoch, self.reach, self.floats[:, pixels], self.counts[:, pixels])


@dataclass(frozen=True)
class WindowSolution:
    """The solution of some pixels from epoch ``first`` on; arrays as in `solve.Solution`.

    Attributes
    ----------
    line
        Shape (kernel.LINE_ROWS, n_pixels), the straight line through the whole record, metres and years.
    left_out_m
        A bound for what any epoch before ``first`` lacks of the exact solution.
    needs_older
        The bound is above what is allowed, so the pixel must be taken up at an older checkpoint.
    checkpoints
        The new ones, by rising epoch.
    """

    first: int
    los_m: NDArray[np.floating]
    pairs_per_epoch: NDArray[np.uint8]
    temporal_coherence: NDArray[np.float32]
    mean_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    parts: NDArray[np.uint16]
    redundant: NDArray[np.bool_]
    line: NDArray[np.float32]
    left_out_m: NDArray[np.float64]
    needs_older: NDArray[np.bool_]
    checkpoints: tuple[Checkpoint, ...]

    def of(self, pixels: NDArray[np.int64]) -> WindowSolution:
        """The same for some of its pixels."""
        arrays = {
            entry.name: getattr(self, entry.name)[..., pixels]
            for entry in fields(self)
            if entry.name not in ("first", "checkpoints")
        }
        return WindowSolution(self.first, **arrays, checkpoints=tuple(c.of(pixels) for c in self.checkpoints))


class PairSource(Protocol):
    """Where phases and coherences come from."""

    def __call__(
        self, first_pair: int, pixels: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Phase and coherence, (n_pairs - first_pair, n_pixels), of all pixels or of some."""
        ...


@dataclass(frozen=True)
class Taken:
    """A checkpoint that may be taken up, loaded when it is needed.

    ``stale`` are pixels for which it holds no more: epochs before it changed since it was made.
    """

    epoch: int
    load: Callable[[], Checkpoint] = field(repr=False)
    stale: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)


@dataclass(frozen=True)
class Renewed:
    """What an update found: the solution from the newest checkpoint on, and for some pixels from older ones.

    ``older`` holds (pixels, solution) by falling first epoch, each pixel once. What it says about the epochs, quality
    and new checkpoints of ``newest`` is in ``newest`` already.
    """

    newest: WindowSolution
    older: tuple[tuple[NDArray[np.int64], WindowSolution], ...] = ()

    @property
    def first(self) -> int:
        """The first epoch at which anything is new."""
        return min([self.newest.first, *(solution.first for _, solution in self.older)])


def emission_epochs(network: Network, after: int, effort: Effort) -> tuple[int, ...]:
    """Epochs after ``after`` at which a checkpoint is made: block borders that new acquisitions hardly reach.

    Those long ago are only needed for late interferograms, so few are made there (`is_worth_keeping`).
    """
    spans = network.later - network.earlier
    settling = network.bandwidth + math.ceil(effort.settling_pairs * float(np.mean(spans)))
    first = (after // effort.block_epochs + 1) * effort.block_epochs
    epochs = range(first, network.n_epochs - settling, effort.block_epochs)
    return tuple(epoch for epoch in epochs if is_worth_keeping(epoch, network.n_epochs, effort))


def is_worth_keeping(epoch: int, n_epochs: int, effort: Effort) -> bool:
    """Whether a checkpoint at an epoch still earns the disk that it takes: all recent ones, and every eighth."""
    recent = n_epochs - epoch <= _RECENT_BLOCKS * effort.block_epochs
    return recent or epoch % (_RECENT_BLOCKS * effort.block_epochs) == 0


def solve_window(
    network: Network,
    given: kernel.Given,
    start: Checkpoint,
    emit: Sequence[int],
    settings: InversionSettings,
    effort: Effort,
    float_type: type[np.floating] = np.float32,
    years: NDArray[np.float64] | None = None,
    *,
    keeps_sums: bool = True,
) -> WindowSolution:
    """Solve all epochs from a checkpoint on.

    Parameters
    ----------
    network
        Of the whole record.
    given
        The pairs that begin at the checkpoint or later, by earlier epoch; and the checkpoint's arrays.
    emit
        Epochs at which new checkpoints are made.
    years
        MintPy's years since the first epoch, for the line; by default true years.
    keeps_sums
        False spares some of the time where nobody asks for mean coherence and lines, which are NaN then.

    Raises
    ------
    BadInputError
        Checkpoints are asked for without the sums, which they hold.
    """
    if emit and not keeps_sums:
        raise BadInputError("a checkpoint holds sums, so it cannot be made without them")
    first, n_pixels = start.epoch, given.phase.shape[1]
    window = _window(network, start, emit, years)
    n_epochs = window.years.size
    most = int(np.max(window.emit_reach, initial=0))
    result = kernel.Result(
        los_m=np.empty((n_epochs, n_pixels), float_type),
        pairs_per_epoch=np.empty((n_epochs, n_pixels), np.uint8),
        temporal_coherence=np.empty(n_pixels, np.float32),
        mean_coherence=np.empty(n_pixels, np.float32),
        n_observations=np.empty(n_pixels, np.uint16),
        parts=np.empty(n_pixels, np.uint16),
        redundant=np.empty(n_pixels, np.bool_),
        line=np.empty((kernel.LINE_ROWS, n_pixels), np.float32),
        left_out_m=np.empty(n_pixels),
        needs_older=np.empty(n_pixels, np.bool_),
        floats=np.empty((len(emit), kernel.float_rows(most), n_pixels)),
        counts=np.empty((len(emit), kernel.count_rows(most), n_pixels), np.uint16),
    )
    # Mapped or copied, the kernel sees the same type, and is compiled once.
    given = given._replace(floats=_read_only(given.floats), counts=_read_only(given.counts))
    arguments = (window, _rules(settings, effort, keeps_sums), _times(network, years), given, result)
    _share(n_pixels, effort.n_threads, arguments)
    checkpoints = tuple(
        Checkpoint(
            epoch,
            int(reach),
            result.floats[k, : kernel.float_rows(int(reach))],
            result.counts[k, : kernel.count_rows(int(reach))],
        )
        for k, (epoch, reach) in enumerate(zip(emit, window.emit_reach, strict=True))
    )
    return WindowSolution(
        first,
        result.los_m,
        result.pairs_per_epoch,
        result.temporal_coherence,
        result.mean_coherence,
        result.n_observations,
        result.parts,
        result.redundant,
        result.line,
        result.left_out_m,
        result.needs_older,
        checkpoints,
    )


def solve_from(
    network: Network,
    reference_phase_rad: NDArray[np.float32],
    source: PairSource,
    taken: Sequence[Taken],
    settings: InversionSettings,
    effort: Effort,
    n_pixels: int,
    float_type: type[np.floating] = np.float32,
    years: NDArray[np.float64] | None = None,
) -> Renewed:
    """Bring a solution up to date.

    Parameters
    ----------
    network
        Of the whole record, pairs by earlier and then later epoch.
    reference_phase_rad
        Shape (n_pairs,).
    taken
        Checkpoints that still hold, that is, before which no pair came or went, by rising epoch. May be empty.
    n_pixels
        How many pixels the source has.
    """

    def solve_at(way: Taken, pixels: NDArray[np.int64] | None) -> WindowSolution:
        first_pair = int(np.searchsorted(network.earlier, way.epoch))
        phase, coherence = source(first_pair, pixels)
        start = way.load() if pixels is None else way.load().of(pixels)
        reference = np.ascontiguousarray(reference_phase_rad[first_pair:], np.float32)
        given = kernel.Given(
            phase,
            coherence,
            reference,
            np.ascontiguousarray(start.floats),
            np.ascontiguousarray(start.counts),
        )
        return solve_window(network, given, start, emit, settings, effort, float_type, years)

    ways = [Taken(0, lambda: Checkpoint.empty(n_pixels)), *taken]
    emit = emission_epochs(network, ways[-1].epoch, effort)
    newest = solve_at(ways[-1], None)
    newest.needs_older[ways[-1].stale] = True
    older: list[tuple[NDArray[np.int64], WindowSolution]] = []
    pixels = np.flatnonzero(newest.needs_older)
    for way in ways[-2::-1]:
        if pixels.size == 0:
            break
        solution = solve_at(way, pixels)
        again = solution.needs_older | np.isin(pixels, way.stale)
        if not np.all(again):
            holds = solution.of(np.flatnonzero(~again))
            _patch(newest, pixels[~again], holds)
            older.append((pixels[~again], holds))
        pixels = pixels[again]
    return Renewed(newest, tuple(older))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def set_reference(solution: WindowSolution, pixel: int, network: Network) -> None:
    """The reference pixel does not move and agrees with itself: that is its definition, as in MintPy."""
    solution.los_m[:, pixel] = 0.0
    solution.temporal_coherence[pixel] = 1.0
    solution.n_observations[pixel] = network.n_pairs
    solution.pairs_per_epoch[:, pixel] = np.minimum(
        network.pairs_per_epoch[solution.first :], kernel.MOST_PAIRS
    )
    solution.parts[pixel] = 1
    solution.redundant[pixel] = True
    solution.line[:, pixel] = 0.0


def _patch(newest: WindowSolution, pixels: NDArray[np.int64], solution: WindowSolution) -> None:
    """Write what a solution from an older checkpoint says about some pixels into the newest one."""
    shift = newest.first - solution.first
    newest.los_m[:, pixels] = solution.los_m[shift:]
    newest.pairs_per_epoch[:, pixels] = solution.pairs_per_epoch[shift:]
    newest.line[:, pixels] = solution.line
    for name in (
        "temporal_coherence",
        "mean_coherence",
        "n_observations",
        "parts",
        "redundant",
        "left_out_m",
    ):
        getattr(newest, name)[pixels] = getattr(solution, name)
    theirs = {checkpoint.epoch: checkpoint for checkpoint in solution.checkpoints}
    for checkpoint in newest.checkpoints:
        checkpoint.floats[:, pixels] = theirs[checkpoint.epoch].floats
        checkpoint.counts[:, pixels] = theirs[checkpoint.epoch].counts


def _window(
    network: Network, start: Checkpoint, emit: Sequence[int], years: NDArray[np.float64] | None
) -> kernel.Window:
    first = start.epoch
    order = np.lexsort((network.later, network.earlier))
    earlier, later = network.earlier[order], network.later[order]
    inside = earlier >= first
    earlier, later = earlier[inside] - first, later[inside] - first
    n_epochs = network.n_epochs - first
    all_years = network.days / DAYS_PER_YEAR if years is None else years
    return kernel.Window(
        earlier=np.ascontiguousarray(earlier, np.int64),
        later=np.ascontiguousarray(later, np.int64),
        first_pair=np.searchsorted(earlier, np.arange(n_epochs + 1)).astype(np.int64),
        steps_year=np.ascontiguousarray(network.steps_year[first:]),
        years=np.ascontiguousarray(all_years[first:], np.float64),
        bandwidth=int(max(np.max(later - earlier, initial=1), start.reach, 1)),
        n_before=first,
        reach=start.reach,
        emit=np.array([epoch - first for epoch in emit], np.int64),
        emit_reach=np.array([network.reach(epoch) for epoch in emit], np.int64),
    )


def _rules(settings: InversionSettings, effort: Effort, keeps_sums: bool) -> kernel.Rules:
    threshold = -1.0 if settings.coherence_threshold is None else settings.coherence_threshold
    return kernel.Rules(
        kind=_KIND[settings.weight],
        looks=int(settings.looks),
        table=weight_table(settings.weight, settings.looks).astype(np.float32),
        coherence_floor=np.float32(threshold),
        least_pairs=float(settings.min_redundancy),
        metres_per_radian=float(settings.metres_per_radian),
        tolerance_m=effort.tolerance_mm / 1000.0,
        budget_m=effort.budget_mm / 1000.0,
        keeps_sums=keeps_sums,
    )


def _times(network: Network, years: NDArray[np.float64] | None) -> kernel.LineTimes:
    t = network.days / DAYS_PER_YEAR if years is None else years
    return kernel.LineTimes(
        n=int(t.size),
        mean=float(np.mean(t)),
        spread=float(np.sum((t - np.mean(t)) ** 2)),
        pair_sum=float(np.sum(t[1:] + t[:-1])),
        pair_product=float(np.sum(t[1:] * t[:-1])),
    )


def _share(n_pixels: int, threads: int, arguments: tuple[object, ...]) -> None:
    """Share the tiles among threads; the compiled code releases the interpreter's lock."""
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
