"""Bring a track's stored solution up to date: what an update reads, and what it writes.

There are no modes. The difference between the interferograms that are wanted and those of the revision before decides:
the first epoch at which a pair came or went names the checkpoints that still hold, and from the newest of them on
everything is solved again. Nothing in common, another configuration or another reference point: then from epoch 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.arrays import OpenArray, OpenArrays
from sagwatch.engine.interferogram import PairKey
from sagwatch.engine.lines import fit_range
from sagwatch.engine.manifest import (
    WHOLE_RECORD,
    Manifest,
    ReferencePoint,
    RevisionSettings,
    Sealed,
    holds,
)
from sagwatch.engine.sealed import (
    CHECKPOINTS,
    SERIES,
    Made,
    OpenBlock,
    OpenCheckpoint,
    Shared,
    open_block,
    open_checkpoint,
    read_block,
    read_checkpoint,
)
from sagwatch.engine.stack import KnownPair, PairFiles, Stack
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE, Window, elapsed_years, first_of, mintpy_years
from sagwatch.engine.window import (
    Effort,
    Renewed,
    Taken,
    WindowSolution,
    emission_epochs,
    is_worth_keeping,
    set_reference,
    solve_from,
)
from sagwatch.errors import BadRevisionError

log = logging.getLogger(__name__)

Day = TypeVar("Day", date, int)

_FEWEST_PIXELS = 1024
# What the arrays of a strip take at most: with more, a processor's caches are of no use any more; with less, an update
# is many small calls.
_STRIP_BYTES = 128 * 2**20
_PIECE_PIXELS = 8192
# Pixels by the epoch of a checkpoint that does not hold for them.
Stale = Mapping[int, NDArray[np.int64]]
StoredBlock = tuple[NDArray[np.float32], NDArray[np.uint8]]


@dataclass(frozen=True)
class Base:
    """The revision that an update begins with. ``track`` is the folder that its sealed files lie in."""

    track: Path
    manifest: Manifest

    @property
    def folder(self) -> Path:
        """The revision's own."""
        return self.track / "revisions" / self.manifest.folder_name

    def intact(self, name: str) -> Path | None:
        """A file of the revision's folder; None where there is none, or where it is not what the manifest says."""
        path = self.folder / name
        described = self.manifest.files.get(name)
        return path if described is not None and path.is_file() and holds(path, described) else None


@dataclass(frozen=True)
class Plan:
    """What of the base still holds for a stack.

    Attributes
    ----------
    checkpoints
        By rising epoch; the solution is taken up at the last one.
    blocks
        Blocks of the series before the last checkpoint.
    first
        Epoch from which on everything is solved; 0 is a batch.
    """

    stack: Stack
    base: Base | None
    checkpoints: tuple[Sealed, ...]
    blocks: tuple[Sealed, ...]

    @property
    def first(self) -> int:
        return self.checkpoints[-1].epoch if self.checkpoints else 0

    def kept(self, same: set[int]) -> tuple[Sealed, ...]:
        """The base's files that stay, if its blocks that begin at ``same`` are solved again and nothing is new."""
        solved_again = () if self.base is None else self.base.manifest.series
        return (*self.blocks, *self.checkpoints, *(block for block in solved_again if block.epoch in same))

    @cached_property
    def unchanged(self) -> frozenset[PairKey]:
        """The base's interferograms. One that was replaced under its name is another one."""
        return frozenset(() if self.base is None else self.base.manifest.keys)

    @cached_property
    def first_pair(self) -> int:
        """The first pair that is read, in the stack's order."""
        return int(np.searchsorted(self.stack.network.earlier, self.first))

    @cached_property
    def of_base(self) -> dict[int, Sealed]:
        """The base's blocks whose epochs are the stack's too, by first epoch."""
        if self.base is None:
            return {}
        manifest, dates = self.base.manifest, self.stack.dates
        return {
            sealed.epoch: sealed
            for sealed in manifest.series
            if manifest.epochs[sealed.epoch : sealed.after] == dates[sealed.epoch : sealed.after]
        }

    def begin(self, shared: Shared, windows: Sequence[Window]) -> None:
        """Begin to check what of the base is likely to be taken up, in the order in which it will be."""
        # Some pixels of most records are in pieces at the last checkpoint, and a few of these at the one before it.
        likely = self.checkpoints[:-4:-1]
        for sealed in likely:
            shared.begin(sealed, read_checkpoint)
        first = min(
            [sealed.epoch for sealed in likely] + [first_of(w, self.stack.dates) for w in windows], default=0
        )
        for sealed in self.of_base.values():
            if sealed.after > first:
                shared.begin(sealed, read_block)


def make_plan(stack: Stack, base: Base | None, effort: Effort) -> Plan:
    """Compare the wanted interferograms with those of the base."""
    if base is None or base.manifest.block_epochs != effort.block_epochs:
        return Plan(stack, None, (), ())
    changed = set(stack.keys) ^ set(base.manifest.keys)
    earliest = min((key[0] for key in changed), default=stack.dates[-1])
    epochs = base.manifest.epochs
    holds = tuple(
        sealed
        for sealed in base.manifest.checkpoints
        if still_holds(sealed.epoch, sealed.length, epochs, stack.dates, earliest)
        and is_worth_keeping(sealed.epoch, len(stack.dates), effort)
    )
    first = holds[-1].epoch if holds else 0
    if epochs[:first] != stack.dates[:first]:
        raise BadRevisionError(
            "the epochs before the first change differ: this is a fault of Sagwatch, report it"
        )
    return Plan(stack, base, holds, tuple(block for block in base.manifest.series if block.after <= first))


def still_holds(epoch: int, reach: int, before: Sequence[Day], after: Sequence[Day], earliest: Day) -> bool:
    """Whether a solution can be taken up at a checkpoint.

    Nothing that begins before it may have come or gone, and its rim must mean the same epochs: an epoch within it can
    appear, or be gone, with pairs that all begin later.

    Parameters
    ----------
    before, after
        All epochs, when the checkpoint was made and now.
    earliest
        Where the first pair begins that came or went.
    """
    rim = slice(0, epoch + reach + 1)
    return before[epoch] <= earliest and before[rim] == after[rim] and epoch + reach < len(after) - 1


@dataclass(frozen=True)
class Layers:
    """Layers without time of all pixels, flat, that are filled in strip by strip.

    ``lines`` and ``line_epochs`` are by window; the whole record's name is `WHOLE_RECORD`.
    """

    temporal_coherence: OpenArray
    mean_coherence: OpenArray
    n_observations: OpenArray
    parts: OpenArray
    redundant: OpenArray
    reliable: OpenArray
    lines: Mapping[str, Sequence[OpenArray]]
    line_epochs: Mapping[str, OpenArray]


@dataclass(frozen=True)
class Targets:
    """What an update fills; ``land`` are the pixels of it, flat."""

    layers: Layers
    blocks: Sequence[OpenBlock]
    checkpoints: Sequence[OpenCheckpoint]
    land: NDArray[np.bool_]


@dataclass(frozen=True)
class Patch:
    """What some pixels say about epochs before the checkpoint at which all others were taken up, if it is news."""

    pixels: NDArray[np.int64]
    first: int
    los_m: NDArray[np.float32]
    pairs: NDArray[np.uint8]


@dataclass(frozen=True)
class Past:
    """A solution as it was at an earlier acquisition.

    ``los_m`` and ``observed`` have shape (n_epochs, rows, columns), metres; ``temporal_coherence`` (rows, columns).
    """

    dates: tuple[date, ...]
    los_m: NDArray[np.float32]
    observed: NDArray[np.bool_]
    temporal_coherence: NDArray[np.float32]


@dataclass(frozen=True)
class Update:
    """One update of a track: the pixels strip by strip."""

    plan: Plan
    settings: RevisionSettings
    reference: ReferencePoint
    facts: Mapping[str, KnownPair] = field(repr=False)
    effort: Effort
    shared: Shared
    stale: Stale = field(default_factory=dict, repr=False)

    @property
    def stack(self) -> Stack:
        return self.plan.stack

    @cached_property
    def n_pixels(self) -> int:
        return self.stack.pixels

    @cached_property
    def reference_phase(self) -> NDArray[np.float32]:
        return np.array(
            [self.facts[member.id].reference_phase_rad for member in self.stack.members], np.float32
        )

    @cached_property
    def years(self) -> NDArray[np.float64]:
        return mintpy_years(self.stack.dates)

    @cached_property
    def emitted(self) -> tuple[int, ...]:
        """Epochs of the checkpoints that are made anew."""
        return emission_epochs(self.stack.network, self.plan.first, self.effort)

    @cached_property
    def window_firsts(self) -> dict[str, int]:
        """The first epoch of each window."""
        dates = self.stack.dates
        return {window.name: first_of(window, dates) for window in self.settings.windows}

    def stored(self, epoch: int, length: int) -> StoredBlock | None:
        """The base's block of these epochs, mapped; None if it has none."""
        sealed = self.plan.of_base.get(epoch)
        if sealed is None or sealed.length != length:
            return None
        # Checked, because windows and the next revisions take it as it is.
        return self.shared.begin(sealed, read_block).result()

    def stored_before(self, block: Sealed) -> StoredBlock:
        """One of the plan's blocks, mapped."""
        if (stored := self.stored(block.epoch, block.length)) is None:
            raise BadRevisionError(f"{block.name} is not of its epochs: a fault of Sagwatch, report it")
        return stored

    def solve(self, targets: Callable[[], Targets]) -> tuple[list[Patch], set[int]]:
        """Solve all pixels and fill the arrays, which need not be there yet.

        Returns what is new before the blocks, and the first epochs of those blocks in which nothing is.
        """
        strips = self.strips()
        patches: list[Patch] = []
        changed: set[int] = set()
        with PairFiles(self.stack, self.facts, self.plan.first_pair) as pairs:
            work = StripWork(self, pairs, targets)
            with ThreadPoolExecutor(self.effort.n_threads) as pool:
                for number, (found, news) in enumerate(pool.map(work.solve, strips), 1):
                    patches += found
                    changed |= news
                    if len(strips) > 20 and number % (len(strips) // 10) == 0:
                        log.info("%d of %d pixels are solved", strips[number - 1].stop, self.n_pixels)
        return patches, {block.made.epoch for block in targets().blocks} - changed

    def strips(self) -> list[slice]:
        """Cut the pixels so that what all threads hold at a time fits the memory that is set, and the caches."""
        pairs = self.stack.network.n_pairs - self.plan.first_pair
        epochs = self.stack.network.n_epochs - self.plan.first
        made = sum(8 * kernel.float_rows(self.stack.network.reach(epoch)) + 40 for epoch in self.emitted)
        per_pixel = 8 * pairs + 16 * epochs + made + 200
        threads = self.effort.n_threads
        most = min(self.effort.memory_bytes // threads, _STRIP_BYTES) // per_pixel
        # Every thread gets a strip.
        size = max(min(most, -(-self.n_pixels // threads)), _FEWEST_PIXELS)
        return [slice(a, min(a + size, self.n_pixels)) for a in range(0, self.n_pixels, size)]

    def renew(self, strip: slice, pairs: PairFiles) -> Renewed:
        """Solve some pixels, each as far back as it needs."""

        def source(
            first_pair: int, pixels: NDArray[np.int64] | None
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return pairs.read(first_pair, strip, pixels)

        renewed = solve_from(
            self.stack.network,
            self.reference_phase,
            source,
            [self._taken(sealed, strip) for sealed in self.plan.checkpoints],
            self.settings.inversion,
            replace(self.effort, threads=1),
            strip.stop - strip.start,
            years=self.years,
        )
        pixel = self.reference.row * self.stack.shape[1] + self.reference.column
        if strip.start <= pixel < strip.stop:
            set_reference(renewed.newest, pixel - strip.start, self.stack.network)
        return renewed

    def history(self, strip: slice, renewed: Renewed) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Series and pairs per epoch of a strip, the new solution over what is stored."""
        newest = renewed.newest
        los_m = np.empty((self.stack.network.n_epochs, strip.stop - strip.start), np.float32)
        pairs = np.empty(los_m.shape, np.uint8)
        for block in self.plan.blocks:
            stored = self.stored_before(block)
            los_m[block.epoch : block.after] = stored[0][:, strip]
            pairs[block.epoch : block.after] = stored[1][:, strip]
        los_m[newest.first :], pairs[newest.first :] = newest.los_m, newest.pairs_per_epoch
        for pixels, solution in renewed.older:
            los_m[solution.first :, pixels] = solution.los_m
            pairs[solution.first :, pixels] = solution.pairs_per_epoch
        return los_m, pairs

    def in_memory(self) -> Past:
        """Solve all pixels without writing anything."""
        parts = []
        with PairFiles(self.stack, self.facts, self.plan.first_pair) as files:
            for strip in self.strips():
                renewed = self.renew(strip, files)
                los_m, pairs = self.history(strip, renewed)
                parts.append((los_m, pairs, renewed.newest.temporal_coherence))
        los_m, pairs, agreement = (np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True))
        shape = self.stack.shape
        return Past(
            self.stack.dates,
            los_m.reshape(-1, *shape),
            pairs.reshape(-1, *shape) > 0,
            agreement.reshape(shape),
        )

    def _taken(self, sealed: Sealed, strip: slice) -> Taken:
        stale = self.stale.get(sealed.epoch, np.zeros(0, np.int64)) - strip.start
        inside = stale[(stale >= 0) & (stale < strip.stop - strip.start)]
        return Taken(
            sealed.epoch, lambda: self.shared.begin(sealed, read_checkpoint).result().of(strip), inside
        )

    def series_of_windows(self, blocks: Mapping[int, StoredBlock]) -> list[StoredBlock]:
        """The blocks that windows lie in: ``blocks``, by first epoch, where they were written, and the base's."""
        size = self.effort.block_epochs
        epochs = range(self._window_block, len(self.stack.dates), size)
        return [blocks.get(epoch) or self.stored_before(self.plan.of_base[epoch]) for epoch in epochs]

    @property
    def _window_block(self) -> int:
        """Where the first block begins that a window lies in."""
        first = min(self.window_firsts.values(), default=len(self.stack.dates) - 1)
        return first // self.effort.block_epochs * self.effort.block_epochs

    def fit_windows(self, layers: Layers, series: Sequence[StoredBlock]) -> None:
        """Fit the lines of the windows through the series as it is published."""
        years, begin = elapsed_years(self.stack.dates), self._window_block

        def fit(pixels: slice) -> None:
            los_m = np.concatenate([stored[0][:, pixels] for stored in series])
            pairs = np.concatenate([stored[1][:, pixels] for stored in series])
            for window in self.settings.windows:
                after, width = self.window_firsts[window.name], pixels.stop - pixels.start
                line, n_epochs = np.empty((kernel.LINE_ROWS, width), np.float32), np.empty(width, np.uint16)
                least = max(window.least_epochs, LEAST_EPOCHS_OF_A_LINE)
                fit_range(
                    0,
                    width,
                    years[after:],
                    los_m[after - begin :],
                    pairs[after - begin :],
                    least,
                    line,
                    n_epochs,
                )
                for row, layer in zip(line, layers.lines[window.name], strict=True):
                    layer[pixels] = row
                layers.line_epochs[window.name][pixels] = n_epochs

        # In pieces, so that the history of each stays in a processor's cache.
        starts = range(0, self.n_pixels, _PIECE_PIXELS)
        with ThreadPoolExecutor(self.effort.n_threads) as pool:
            for _ in pool.map(fit, [slice(a, min(a + _PIECE_PIXELS, self.n_pixels)) for a in starts]):
                pass


@dataclass(frozen=True)
class StripWork:
    """Solves strips of pixels and writes what it finds into the arrays of all pixels."""

    update: Update
    pairs: PairFiles
    targets: Callable[[], Targets]

    def solve(self, strip: slice) -> tuple[list[Patch], set[int]]:
        """Returns what is news before the blocks, and the first epochs of the blocks in which something is."""
        renewed = self.update.renew(strip, self.pairs)
        newest, targets = renewed.newest, self.targets()
        changed = set()
        for block in targets.blocks:
            rows = slice(block.made.epoch - newest.first, block.made.epoch - newest.first + block.made.length)
            los_m, pairs = newest.los_m[rows], newest.pairs_per_epoch[rows]
            block.los_m[strip], block.pairs[strip] = los_m, pairs
            if self._has_news(block.made.epoch, strip, los_m, pairs):
                changed.add(block.made.epoch)
        for target, made in zip(targets.checkpoints, newest.checkpoints, strict=True):
            target.floats[strip], target.counts[strip] = made.floats, made.counts
        self._fill_layers(strip, newest, targets)
        return [
            patch for older in renewed.older for patch in self._patches(strip, newest.first, *older)
        ], changed

    def _patches(
        self, strip: slice, before: int, pixels: NDArray[np.int64], solution: WindowSolution
    ) -> Iterator[Patch]:
        """What of some pixels' older solution is news: from the first block on in which it is."""
        for block in self.update.plan.blocks:
            if not solution.first <= block.epoch < before:
                continue
            rows = slice(block.epoch - solution.first, block.after - solution.first)
            los_m, pairs = solution.los_m, solution.pairs_per_epoch
            news = self._is_news(block.epoch, pixels + strip.start, los_m[rows], pairs[rows])
            if np.any(news):
                yield Patch(
                    pixels[news] + strip.start,
                    block.epoch,
                    los_m[rows.start : before - solution.first, news],
                    pairs[rows.start : before - solution.first, news],
                )
                pixels, solution = pixels[~news], solution.of(np.flatnonzero(~news))

    def _has_news(
        self, epoch: int, strip: slice, los_m: NDArray[np.floating], pairs: NDArray[np.uint8]
    ) -> bool:
        """Whether any pixel of a strip differs; most blocks tell soon."""
        starts = range(0, strip.stop - strip.start, _PIECE_PIXELS)
        pieces = (slice(start, min(start + _PIECE_PIXELS, strip.stop - strip.start)) for start in starts)
        return any(
            np.any(
                self._is_news(
                    epoch,
                    slice(strip.start + piece.start, strip.start + piece.stop),
                    los_m[:, piece],
                    pairs[:, piece],
                )
            )
            for piece in pieces
        )

    def _is_news(
        self,
        epoch: int,
        pixels: slice | NDArray[np.int64],
        los_m: NDArray[np.floating],
        pairs: NDArray[np.uint8],
    ) -> NDArray[np.bool_]:
        """Which pixels differ from what is stored by more than the tolerance, or in what is known."""
        if (stored := self.update.stored(epoch, los_m.shape[0])) is None:
            return np.ones(los_m.shape[1], np.bool_)
        old_m, old_pairs = stored[0][:, pixels], stored[1][:, pixels]
        differs = ~(np.abs(old_m - los_m) <= self.update.effort.tolerance_mm / 1000.0)
        if np.any(differs):
            differs &= ~(np.isnan(old_m) & np.isnan(los_m))
        return np.any(differs, axis=0) | np.any(old_pairs != pairs, axis=0)

    def _fill_layers(self, strip: slice, newest: WindowSolution, targets: Targets) -> None:
        layers, update = targets.layers, self.update
        layers.temporal_coherence[strip] = newest.temporal_coherence
        layers.mean_coherence[strip] = newest.mean_coherence
        layers.n_observations[strip] = newest.n_observations
        layers.parts[strip] = newest.parts
        layers.redundant[strip] = newest.redundant
        with np.errstate(invalid="ignore"):
            agrees = newest.temporal_coherence >= update.settings.min_temporal_coherence
        layers.reliable[strip] = agrees & newest.redundant & targets.land[strip]
        for row, layer in enumerate(layers.lines[WHOLE_RECORD.name]):
            layer[strip] = newest.line[row]
        layers.line_epochs[WHOLE_RECORD.name][strip] = np.where(
            np.isfinite(newest.line[kernel.VELOCITY]), update.stack.network.n_epochs, 0
        )


def open_files(
    aside: Path, update: Update, arrays: OpenArrays
) -> tuple[list[OpenBlock], list[OpenCheckpoint]]:
    """Make the blocks and checkpoints that an update fills, in a folder aside."""
    network, size = update.stack.network, update.effort.block_epochs
    blocks = [
        open_block(
            Made.aside(aside, SERIES, epoch, min(size, network.n_epochs - epoch)), update.stack.shape, arrays
        )
        for epoch in range(update.plan.first, network.n_epochs, size)
    ]
    checkpoints = [
        open_checkpoint(Made.aside(aside, CHECKPOINTS, epoch, network.reach(epoch)), update.n_pixels, arrays)
        for epoch in update.emitted
    ]
    return blocks, checkpoints


def apply_patches(
    aside: Path, update: Update, patches: Sequence[Patch], arrays: OpenArrays
) -> list[OpenBlock]:
    """Write what is news of a few pixels into new versions of older blocks, in the folder aside."""
    if not patches:
        return []
    first = min(patch.first for patch in patches)
    written = []
    for block in update.plan.blocks:
        if block.epoch < first:
            continue
        news = [patch for patch in patches if patch.first <= block.epoch]
        made = Made.aside(aside, SERIES, block.epoch, block.length)
        opened, stored = open_block(made, update.stack.shape, arrays), update.stored_before(block)
        for row in range(block.length):
            los_m, pairs = stored[0][row].copy(), stored[1][row].copy()
            for patch in news:
                source = block.epoch - patch.first + row
                los_m[patch.pixels], pairs[patch.pixels] = patch.los_m[source], patch.pairs[source]
            opened.los_m.write_row(row, los_m)
            opened.pairs.write_row(row, pairs)
        written.append(opened)
    return written


def stale_after(plan: Plan, known: Stale, patches: Sequence[Patch]) -> Stale:
    """Which pixels may not be taken up at a checkpoint that stays: those that were not before, and those with news.

    A list of few pixels, because a new version of a checkpoint would be most of what an update writes.
    """
    return {
        sealed.epoch: np.unique(
            np.concatenate(
                [
                    known.get(sealed.epoch, np.zeros(0, np.int64)),
                    *(patch.pixels for patch in patches if patch.first < sealed.epoch),
                ]
            )
        )
        for sealed in plan.checkpoints
    }
