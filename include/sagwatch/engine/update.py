"""Bring a track's stored solution up to date: what an update reads, and what it writes.

There are no modes. The difference between the interferograms that are wanted and those of the revision before decides:
the first epoch at which a pair came or went names the checkpoints that still hold, and from the newest of them on
everything is solved again. Nothing in common, another configuration or another reference point: then from epoch 0.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.interferogram import StoredInterferogram, map_array
from sagwatch.engine.lines import fit_range
from sagwatch.engine.manifest import WHOLE_RECORD, Manifest, ReferencePoint, RevisionSettings, Sealed
from sagwatch.engine.network import Network
from sagwatch.engine.sealed import (
    CHECKPOINTS,
    LOS,
    PAIRS,
    SERIES,
    OpenBlock,
    OpenCheckpoint,
    open_block,
    open_checkpoint,
    read_checkpoint,
)
from sagwatch.engine.stack import KnownPair, Stack
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE, elapsed_years, mintpy_years
from sagwatch.engine.window import (
    Checkpoint,
    Effort,
    Renewed,
    Taken,
    WindowSolution,
    emission_epochs,
    solve_from,
)
from sagwatch.errors import BadRevisionError

log = logging.getLogger(__name__)

Day = TypeVar("Day", date, int)

_FEWEST_PIXELS, _MOST_PIXELS = 1024, 16384


@dataclass(frozen=True)
class Base:
    """The revision that an update begins with. ``track`` is the folder that its sealed files lie in."""

    track: Path
    manifest: Manifest


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

    @cached_property
    def first_pair(self) -> int:
        """The first pair that is read, in the stack's order."""
        return int(np.searchsorted(self.stack.network.earlier, self.first))


def make_plan(stack: Stack, base: Base | None) -> Plan:
    """Compare the wanted interferograms with those of the base."""
    if base is None:
        return Plan(stack, None, (), ())
    changed = {key_of(member) for member in stack.members} ^ {
        key_of(member) for member in base.manifest.members
    }
    earliest = min((key[0] for key in changed), default=stack.dates[-1])
    epochs = base.manifest.epochs
    holds = tuple(
        sealed
        for sealed in base.manifest.checkpoints
        if still_holds(sealed.epoch, sealed.length, epochs, stack.dates, earliest)
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


def key_of(member: StoredInterferogram) -> tuple[date, date, str, str]:
    """What makes an interferogram another one; its baseline may be unknown, and NaN is never equal."""
    return member.reference, member.secondary, member.id, member.sha256


@dataclass(frozen=True)
class Layers:
    """Layers without time of all pixels, flat, that are filled in strip by strip.

    ``lines`` and ``line_epochs`` are by window; the whole record's name is `WHOLE_RECORD`.
    """

    temporal_coherence: NDArray[np.float32]
    mean_coherence: NDArray[np.float32]
    n_observations: NDArray[np.float32]
    parts: NDArray[np.uint16]
    redundant: NDArray[np.bool_]
    reliable: NDArray[np.bool_]
    lines: Mapping[str, Sequence[NDArray[Any]]]
    line_epochs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Patch:
    """What some pixels say about epochs before the checkpoint at which all others were taken up."""

    pixels: NDArray[np.int64]
    first: int
    los_m: NDArray[np.float32]
    pairs: NDArray[np.uint8]
    checkpoints: tuple[Checkpoint, ...]


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

    @property
    def stack(self) -> Stack:
        return self.plan.stack

    @cached_property
    def n_pixels(self) -> int:
        return self.stack.shape[0] * self.stack.shape[1]

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

    def solve(
        self,
        layers: Layers,
        blocks: Sequence[OpenBlock],
        checkpoints: Sequence[OpenCheckpoint],
        land: NDArray[np.bool_],
    ) -> list[Patch]:
        """Solve all pixels, fill the arrays, and return what lies before the blocks."""
        alone = replace(self, effort=replace(self.effort, threads=1))
        strips = self.strips()

        def work(strip: slice) -> list[Patch]:
            return alone._solve_strip(strip, layers, blocks, checkpoints, land)

        patches: list[Patch] = []
        with ThreadPoolExecutor(self.effort.n_threads) as pool:
            for number, found in enumerate(pool.map(work, strips), 1):
                patches += found
                if len(strips) > 20 and number % (len(strips) // 10) == 0:
                    log.info("%d of %d pixels are solved", strips[number - 1].stop, self.n_pixels)
        return patches

    def strips(self) -> list[slice]:
        """Cut the pixels so that what all threads hold at a time fits the memory that is set, and the caches."""
        pairs = self.stack.network.n_pairs - self.plan.first_pair
        epochs = self.stack.network.n_epochs - self.plan.first
        made = sum(8 * kernel.float_rows(self.stack.network.reach(epoch)) + 40 for epoch in self.emitted)
        per_pixel = 8 * pairs + 16 * epochs + made + 200
        most = self.effort.memory_bytes // (per_pixel * self.effort.n_threads)
        size = int(np.clip(most, _FEWEST_PIXELS, _MOST_PIXELS)) // kernel.GROUP_PIXELS * kernel.GROUP_PIXELS
        return [slice(a, min(a + size, self.n_pixels)) for a in range(0, self.n_pixels, size)]

    def renew(self, strip: slice) -> Renewed:
        """Solve some pixels, each as far back as it needs."""

        def source(
            first_pair: int, pixels: NDArray[np.int64] | None
        ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return self.stack.read_pixels(self.facts, first_pair, strip, pixels)

        renewed = solve_from(
            self.stack.network,
            self.reference_phase,
            source,
            [self._taken(sealed, strip) for sealed in self.plan.checkpoints],
            self.settings.inversion,
            self.effort,
            strip.stop - strip.start,
            years=self.years,
        )
        pixel = self.reference.row * self.stack.shape[1] + self.reference.column
        if strip.start <= pixel < strip.stop:
            _set_reference(renewed.newest, pixel - strip.start, self.stack.network)
        return renewed

    def history(
        self, strip: slice, renewed: Renewed, first: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Series and pairs per epoch of some pixels from an epoch on, the new solution over what is stored."""
        newest = renewed.newest
        new_pairs = np.minimum(newest.pairs_per_epoch, 255).astype(np.uint8)
        if first >= newest.first:
            return newest.los_m[first - newest.first :], new_pairs[first - newest.first :]
        size = strip.stop - strip.start
        los_m = np.empty((self.stack.network.n_epochs - first, size), np.float32)
        pairs = np.empty(los_m.shape, np.uint8)
        for block in self.plan.blocks:
            if block.after > first and self.plan.base is not None:
                path, skipped = self.plan.base.track / block.name, max(first - block.epoch, 0)
                rows = slice(block.epoch + skipped - first, block.after - first)
                los_m[rows] = map_array(path, LOS).reshape(block.length, -1)[skipped:, strip]
                pairs[rows] = map_array(path, PAIRS).reshape(block.length, -1)[skipped:, strip]
        los_m[newest.first - first :], pairs[newest.first - first :] = newest.los_m, new_pairs
        for pixels, solution in renewed.older:
            shift = max(first - solution.first, 0)
            los_m[solution.first + shift - first :, pixels] = solution.los_m[shift:]
            counts = np.minimum(solution.pairs_per_epoch[shift:], 255)
            pairs[solution.first + shift - first :, pixels] = counts.astype(np.uint8)
        return los_m, pairs

    def in_memory(self) -> Past:
        """Solve all pixels without writing anything."""
        parts = []
        for strip in self.strips():
            renewed = self.renew(strip)
            los_m, pairs = self.history(strip, renewed, 0)
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
        base = self.plan.base
        if base is None:
            raise BadRevisionError("a batch has no checkpoint: this is a fault of Sagwatch, report it")
        return Taken(sealed.epoch, lambda: read_checkpoint(base.track, sealed).of(strip))

    def _solve_strip(
        self,
        strip: slice,
        layers: Layers,
        blocks: Sequence[OpenBlock],
        checkpoints: Sequence[OpenCheckpoint],
        land: NDArray[np.bool_],
    ) -> list[Patch]:
        renewed = self.renew(strip)
        newest = renewed.newest
        pairs = np.minimum(newest.pairs_per_epoch, 255).astype(np.uint8)
        for block in blocks:
            rows = slice(block.epoch - newest.first, block.epoch - newest.first + block.los_m.shape[0])
            block.los_m[:, strip], block.pairs[:, strip] = newest.los_m[rows], pairs[rows]
        for target, made in zip(checkpoints, newest.checkpoints, strict=True):
            target.floats[:, strip], target.counts[:, strip] = made.floats, made.counts
        self._fill_layers(strip, renewed, layers, land)
        return [
            Patch(
                pixels + strip.start,
                solution.first,
                solution.los_m[: newest.first - solution.first],
                np.minimum(solution.pairs_per_epoch[: newest.first - solution.first], 255).astype(np.uint8),
                tuple(made for made in solution.checkpoints if made.epoch <= newest.first),
            )
            for pixels, solution in renewed.older
        ]

    def _fill_layers(self, strip: slice, renewed: Renewed, layers: Layers, land: NDArray[np.bool_]) -> None:
        newest = renewed.newest
        layers.temporal_coherence[strip] = newest.temporal_coherence
        layers.mean_coherence[strip] = newest.mean_coherence
        layers.n_observations[strip] = newest.n_observations
        layers.parts[strip] = newest.parts
        layers.redundant[strip] = newest.redundant
        with np.errstate(invalid="ignore"):
            agrees = newest.temporal_coherence >= self.settings.min_temporal_coherence
        layers.reliable[strip] = agrees & newest.redundant & land[strip]
        for row, layer in enumerate(layers.lines[WHOLE_RECORD.name]):
            layer[strip] = newest.line[row]
        layers.line_epochs[WHOLE_RECORD.name][strip] = np.where(
            newest.n_observations > 0, self.stack.network.n_epochs, 0
        )
        self._fit_windows(strip, renewed, layers)

    def _fit_windows(self, strip: slice, renewed: Renewed, layers: Layers) -> None:
        dates, size = self.stack.dates, strip.stop - strip.start
        firsts = {
            window.name: next(
                i for i, day in enumerate(dates) if (dates[-1] - day).days <= (window.days or 0)
            )
            for window in self.settings.windows
        }
        if not firsts:
            return
        first = min(firsts.values())
        los_m, pairs = self.history(strip, renewed, first)
        years = elapsed_years(dates)
        for window in self.settings.windows:
            skip = firsts[window.name] - first
            rows, n_epochs = np.empty((kernel.LINE_ROWS, size), np.float32), np.empty(size, np.uint16)
            least = max(window.least_epochs, LEAST_EPOCHS_OF_A_LINE)
            fit_range(0, size, years[first + skip :], los_m[skip:], pairs[skip:], least, rows, n_epochs)
            for row, layer in enumerate(layers.lines[window.name]):
                layer[strip] = rows[row]
            layers.line_epochs[window.name][strip] = n_epochs


def open_files(aside: Path, update: Update) -> tuple[list[OpenBlock], list[OpenCheckpoint]]:
    """Make the blocks and checkpoints that an update fills, in a folder aside."""
    last, size = update.stack.network.n_epochs, update.effort.block_epochs
    blocks = [
        open_block(aside / f"{SERIES}-{epoch:06d}.h5", epoch, min(size, last - epoch), update.stack.shape)
        for epoch in range(update.plan.first, last, size)
    ]
    checkpoints = [
        open_checkpoint(
            aside / f"{CHECKPOINTS}-{epoch:06d}.h5", epoch, update.stack.network.reach(epoch), update.n_pixels
        )
        for epoch in update.emitted
    ]
    return blocks, checkpoints


def apply_patches(aside: Path, plan: Plan, patches: Sequence[Patch]) -> list[Path]:
    """Write the older epochs of pixels that went further back into new versions of the blocks and checkpoints.

    Returns the new versions, in the folder aside; their names say what they replace.
    """
    if plan.base is None or not patches:
        return []
    first = min(patch.first for patch in patches)
    written = []
    for block in plan.blocks:
        if block.after <= first:
            continue
        path = aside / f"{SERIES}-{block.epoch:06d}.h5"
        _copy(plan.base.track / block.name, path)
        los_m = map_array(path, LOS, writable=True).reshape(block.length, -1)
        pairs = map_array(path, PAIRS, writable=True).reshape(block.length, -1)
        for patch in patches:
            begin = max(patch.first, block.epoch)
            if begin < block.after:
                source = slice(begin - patch.first, block.after - patch.first)
                los_m[begin - block.epoch :, patch.pixels] = patch.los_m[source]
                pairs[begin - block.epoch :, patch.pixels] = patch.pairs[source]
        written.append(path)
    for sealed in plan.checkpoints:
        found = [
            (patch.pixels, made)
            for patch in patches
            for made in patch.checkpoints
            if made.epoch == sealed.epoch
        ]
        if not found:
            continue
        path = aside / f"{CHECKPOINTS}-{sealed.epoch:06d}.h5"
        _copy(plan.base.track / sealed.name, path)
        floats, counts = map_array(path, "floats", writable=True), map_array(path, "counts", writable=True)
        for pixels, made in found:
            floats[:, pixels], counts[:, pixels] = made.floats, made.counts
        written.append(path)
    return written


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _set_reference(solution: WindowSolution, pixel: int, network: Network) -> None:
    """The reference pixel does not move and agrees with itself: that is its definition, as in MintPy."""
    solution.los_m[:, pixel] = 0.0
    solution.temporal_coherence[pixel] = 1.0
    solution.n_observations[pixel] = network.n_pairs
    solution.pairs_per_epoch[:, pixel] = network.pairs_per_epoch[solution.first :]
    solution.parts[pixel] = 1
    solution.redundant[pixel] = True
    solution.line[:, pixel] = 0.0
