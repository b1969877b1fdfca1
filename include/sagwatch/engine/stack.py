"""A set of stored interferograms as one problem to solve, read and solved in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.interferogram import (
    COHERENCE,
    COMPONENT,
    PHASE,
    StoredInterferogram,
    open_hdf5,
)
from sagwatch.engine.solve import InversionSettings, Network, Observations, Solution, check_reference, solve
from sagwatch.errors import BadRevisionError

BLOCK_BYTES = 256 * 2**20
ROWS_TOGETHER = 64


@dataclass(frozen=True)
class Block:
    """Some rows of the grid, solved.

    ``mean_coherence`` has shape (n_pixels,) and is NaN where no interferogram has data.
    """

    rows: slice
    solution: Solution
    mean_coherence: NDArray[np.float32]


@dataclass(frozen=True)
class Stack:
    """Interferograms of one track in MintPy's order, by earlier and then later date.

    ``folder`` holds the files ``<id>.h5``; ``shape`` is the grid's rows and columns.
    """

    folder: Path
    shape: tuple[int, int]
    members: tuple[StoredInterferogram, ...]

    def __post_init__(self) -> None:
        if not self.members:
            raise BadRevisionError("a revision needs at least one interferogram")
        if list(self.members) != sorted(self.members):
            raise BadRevisionError("the interferograms of a stack must be sorted by their dates")
        names = [member.name for member in self.members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadRevisionError(
                f"more than one interferogram of pair {', '.join(twice)}; choose one of them"
            )

    @cached_property
    def dates(self) -> tuple[date, ...]:
        """All epochs, rising."""
        return tuple(sorted({day for member in self.members for day in (member.reference, member.secondary)}))

    @cached_property
    def network(self) -> Network:
        index = {day: i for i, day in enumerate(self.dates)}
        return Network(
            days=np.array([(day - self.dates[0]).days for day in self.dates], dtype=np.int64),
            earlier=np.array([index[member.reference] for member in self.members], dtype=np.int64),
            later=np.array([index[member.secondary] for member in self.members], dtype=np.int64),
        )

    def path(self, member: StoredInterferogram) -> Path:
        return self.folder / f"{member.id}.h5"

    @cached_property
    def has_components(self) -> bool:
        """Whether every interferogram knows its connected components."""
        for member in self.members:
            with open_hdf5(self.path(member)) as file:
                if COMPONENT not in file:
                    return False
        return True

    def perpendicular_baselines_m(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Baselines of the pairs and of the epochs against the first, float32 metres.

        The epochs' are the least-squares solution over the pairs, the smallest one where pairs do not tell. A pair
        whose product lacks a baseline gets the difference of its epochs.
        """
        network = self.network
        pairs = np.array([member.perpendicular_baseline_m for member in self.members], dtype=np.float32)
        design = np.zeros((network.n_pairs, network.n_epochs), dtype=np.float32)
        rows = np.arange(network.n_pairs)
        design[rows, network.earlier], design[rows, network.later] = -1.0, 1.0
        known = np.isfinite(pairs)
        epochs = np.zeros(network.n_epochs, dtype=np.float32)
        epochs[1:] = np.linalg.lstsq(design[known, 1:], pairs[known], rcond=None)[0]
        return np.where(known, pairs, design @ epochs).astype(np.float32), epochs

    def reference_phase(self, row: int, column: int) -> NDArray[np.float32]:
        """Phase of one pixel in every pair, shape (n_pairs,), radians."""
        phase = np.empty(len(self.members), dtype=np.float32)
        for i, member in enumerate(self.members):
            with open_hdf5(self.path(member)) as file:
                phase[i] = file[PHASE][0, row, column]
        return phase

    def read(self, name: str, rows: slice) -> NDArray[np.float32]:
        """One layer of every pair in some rows, shape (n_pairs, n_pixels)."""
        height = len(range(*rows.indices(self.shape[0])))
        block = np.empty((len(self.members), height, self.shape[1]), dtype=np.float32)
        for i, member in enumerate(self.members):
            with open_hdf5(self.path(member)) as file:
                layer = file[name]
                if layer.shape[1:] != self.shape:
                    raise BadRevisionError(
                        f"{self.path(member)} has {layer.shape[1:]} pixels, the track's grid {self.shape}"
                    )
                layer.read_direct(block, np.s_[0, rows], np.s_[i])
        return block.reshape(len(self.members), -1)

    def solve_blocks(
        self, settings: InversionSettings, row: int, column: int, threads: int | None = None
    ) -> Iterator[Block]:
        """Solve the stack against the reference pixel (row, column), some rows at a time.

        Memory stays bounded, whatever the size of the grid.
        """
        reference_phase = self.reference_phase(row, column)
        check_reference(reference_phase, [member.name for member in self.members])
        for rows in self._row_blocks():
            phase, coherence = self.read(PHASE, rows), self.read(COHERENCE, rows)
            inside = rows.start <= row < rows.stop
            pixel = (row - rows.start) * self.shape[1] + column if inside else None
            observations = Observations(self.network, phase, coherence, reference_phase, pixel)
            yield Block(rows, solve(observations, settings, threads), _mean_over_pairs(coherence))

    def solve_whole(
        self, settings: InversionSettings, row: int, column: int, threads: int | None = None
    ) -> Solution:
        """Solve the whole grid in memory; pixels run row by row.

        For judging past states of a stack without writing a revision of each.
        """
        blocks = [block.solution for block in self.solve_blocks(settings, row, column, threads)]
        layers = (np.concatenate([getattr(b, f.name) for b in blocks], axis=-1) for f in fields(Solution))
        return Solution(*layers)

    def until(self, day: date) -> Stack:
        """The stack as it was when ``day`` was its newest epoch.

        Raises
        ------
        BadRevisionError
            No pair had been completed by then.
        """
        return Stack(self.folder, self.shape, tuple(m for m in self.members if m.secondary <= day))

    def _row_blocks(self) -> Iterator[slice]:
        """Cut the rows so that a block with its results fits the memory set for it."""
        per_pixel = 8 * self.network.n_pairs + 16 * self.network.n_epochs
        rows = BLOCK_BYTES // (per_pixel * self.shape[1])
        rows = max(rows // ROWS_TOGETHER * ROWS_TOGETHER, ROWS_TOGETHER)
        for first in range(0, self.shape[0], rows):
            yield slice(first, min(first + rows, self.shape[0]))


def make_stack(folder: Path, shape: tuple[int, int], members: Sequence[StoredInterferogram]) -> Stack:
    """Put interferograms, in any order, into a stack."""
    return Stack(folder, shape, tuple(sorted(members)))


def _mean_over_pairs(coherence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean coherence of each pixel over the pairs that have one."""
    seen = np.isfinite(coherence)
    total = np.where(seen, coherence, 0).sum(axis=0, dtype=np.float64)
    count = seen.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
