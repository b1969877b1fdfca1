"""A set of stored interferograms as one problem to solve, and how their pixels are read."""

from __future__ import annotations

import mmap
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from h5py import h5d, h5o, h5s, h5t
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from sagwatch.engine.checks import Finding
from sagwatch.engine.interferogram import (
    COHERENCE,
    COMPONENT,
    PHASE,
    PairKey,
    StoredInterferogram,
    look_into,
    open_hdf5,
)
from sagwatch.engine.network import Network
from sagwatch.errors import BadRevisionError

_MOST_MAPPED_PAIRS = 512


@dataclass(frozen=True, slots=True)
class KnownPair:
    """What is found out once about a stored interferogram.

    Attributes
    ----------
    reference_phase_rad
        Phase of the reference pixel; NaN if it has none.
    phase_at, coherence_at
        Where the pixels of the two layers begin in the file, bytes; they lie in one piece.
    has_components
        Whether the file knows its connected components.
    """

    reference_phase_rad: float
    phase_at: int
    coherence_at: int
    has_components: bool


@dataclass(frozen=True)
class Stack:
    """Interferograms of one track in MintPy's order, by earlier and then later date.

    ``folder`` holds the files ``<id>.h5``; ``shape`` is the grid's rows and columns. ``known`` is what was found out
    before about some of them, by id, for one and the same reference pixel.
    """

    folder: Path
    shape: tuple[int, int]
    members: tuple[StoredInterferogram, ...]
    known: Mapping[str, KnownPair] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.members:
            raise BadRevisionError(str(Finding(104, True, "a revision needs at least one interferogram")))
        if list(self.keys) != sorted(self.keys):
            raise BadRevisionError("the interferograms of a stack must be sorted by their dates")
        counts = Counter((member.reference, member.secondary) for member in self.members)
        twice = [
            f"{earlier:%Y%m%d}_{later:%Y%m%d}" for (earlier, later), count in counts.items() if count > 1
        ]
        if twice:
            where = f"there is more than one interferogram of pair {', '.join(twice)}"
            raise BadRevisionError(str(Finding(102, True, where)))

    @property
    def pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    @cached_property
    def dates(self) -> tuple[date, ...]:
        """All epochs, rising."""
        return tuple(sorted({day for member in self.members for day in (member.reference, member.secondary)}))

    @cached_property
    def keys(self) -> tuple[PairKey, ...]:
        return tuple(member.key for member in self.members)

    @cached_property
    def names(self) -> list[str]:
        """MintPy's names of the pairs."""
        return [member.name for member in self.members]

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
    def perpendicular_baselines_m(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Baselines of the pairs and of the epochs against the first, float32 metres.

        The epochs' are the least-squares solution over the pairs, the smallest one where pairs do not tell. A pair
        whose product lacks a baseline gets the difference of its epochs.
        """
        network = self.network
        pairs = np.array([member.perpendicular_baseline_m for member in self.members], dtype=np.float32)
        known = np.isfinite(pairs)
        epochs = np.zeros(network.n_epochs, dtype=np.float32)
        epochs[1:] = _heights(network, pairs, known)
        from_epochs = epochs[network.later] - epochs[network.earlier]
        return np.where(known, pairs, from_epochs).astype(np.float32), epochs

    def facts(self, row: int, column: int) -> dict[str, KnownPair]:
        """What is known of every pair, by id; opens only the files that are not known yet."""
        return {
            member.id: self.known.get(member.id) or self._find_out(member, row, column)
            for member in self.members
        }

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
                self._check_shape(member, file[name])
                file[name].read_direct(block, np.s_[0, rows], np.s_[i])
        return block.reshape(len(self.members), -1)

    def _find_out(self, member: StoredInterferogram, row: int, column: int) -> KnownPair:
        with look_into(self.path(member)) as file:
            phase, coherence = (h5d.open(file, name.encode()) for name in (PHASE, COHERENCE))
            for layer in (phase, coherence):
                self._check_shape(member, layer)
                if layer.get_offset() is None or not layer.get_type().equal(h5t.IEEE_F32LE):
                    raise BadRevisionError(
                        f"{self.path(member)} is not laid out as Sagwatch writes it; fetch the product again"
                    )
            here, value = phase.get_space(), np.empty((1, 1, 1), np.float32)
            here.select_hyperslab((0, row, column), value.shape)
            phase.read(h5s.create_simple(value.shape), here, value)
            return KnownPair(
                float(value[0, 0, 0]),
                phase.get_offset(),
                coherence.get_offset(),
                bool(h5o.exists_by_name(file, COMPONENT.encode())),
            )

    def _check_shape(self, member: StoredInterferogram, layer: h5py.Dataset | h5d.DatasetID) -> None:
        if layer.shape[1:] != self.shape:
            where = f"{self.path(member)} has {layer.shape[1:]} pixels, the track's grid {self.shape}"
            raise BadRevisionError(str(Finding(101, True, where)))

    def until(self, day: date) -> Stack:
        """The stack as it was when ``day`` was its newest epoch.

        Raises
        ------
        BadRevisionError
            No pair had been completed by then.
        """
        members = tuple(m for m in self.members if m.secondary <= day)
        return Stack(self.folder, self.shape, members, self.known)


def make_stack(folder: Path, shape: tuple[int, int], members: Sequence[StoredInterferogram]) -> Stack:
    """Put interferograms, in any order, into a stack."""
    return Stack(folder, shape, tuple(sorted(members, key=attrgetter("key"))))


class PairFiles:
    """Reads phases and coherences of a stack's pairs, from one pair on; a context, because it keeps files mapped."""

    def __init__(self, stack: Stack, facts: Mapping[str, KnownPair], first_pair: int) -> None:
        self._stack, self._facts = stack, facts
        # An update needs a few dozen pairs; those of a long record would be more maps than a process may have.
        kept = stack.members[first_pair:] if len(stack.members) - first_pair <= _MOST_MAPPED_PAIRS else ()
        self._kept = {member.id: self._map(member) for member in kept}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.clear()

    def read(
        self, first_pair: int, strip: slice, pixels: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Phase and coherence of the pairs from ``first_pair`` on, shape (n, n_pixels).

        Parameters
        ----------
        strip
            Pixels in order of rows and columns.
        pixels
            Some of the strip's, or None for all.
        """
        members = self._stack.members[first_pair:]
        chosen = strip if pixels is None else pixels + strip.start
        size = strip.stop - strip.start if pixels is None else pixels.size
        phase = np.empty((len(members), size), np.float32)
        coherence = np.empty((len(members), size), np.float32)
        for i, member in enumerate(members):
            layers = self._kept.get(member.id) or self._map(member)
            phase[i], coherence[i] = layers[0][chosen], layers[1][chosen]
        return phase, coherence

    def _map(self, member: StoredInterferogram) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The two layers, flat. A file that is cut short is refused here: to read past its end kills a process."""
        path, known, size = self._stack.path(member), self._facts[member.id], self._stack.pixels
        descriptor = os.open(path, os.O_RDONLY)
        try:
            length = os.fstat(descriptor).st_size
            if length < max(known.phase_at, known.coherence_at) + 4 * size:
                raise BadRevisionError(str(Finding(107, True, f"{path} (pair {member.name}) is cut short")))
            content = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        return (
            np.frombuffer(content, np.float32, size, known.phase_at),
            np.frombuffer(content, np.float32, size, known.coherence_at),
        )


def _heights(network: Network, pairs: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Baselines of all epochs but the first from those of the pairs that are known, least squares."""
    earlier, later = network.earlier[known], network.later[known]
    values = pairs[known].astype(np.float64)
    joined = csr_matrix((np.ones(earlier.size), (earlier, later)), shape=(network.n_epochs,) * 2)
    # LAPACK's banded solver takes no system of one unknown.
    if connected_components(joined, directed=False)[0] > 1 or network.n_epochs == 2:
        design = np.zeros((values.size, network.n_epochs))
        rows = np.arange(values.size)
        design[rows, earlier], design[rows, later] = -1.0, 1.0
        return np.asarray(np.linalg.lstsq(design[:, 1:], values, rcond=None)[0], np.float64)
    # The normal matrix of a connected network without its first epoch is banded and positive definite.
    normal = np.zeros((int(np.max(later - earlier)) + 1, network.n_epochs))
    right = np.zeros(network.n_epochs)
    np.add.at(normal[0], earlier, 1.0)
    np.add.at(normal[0], later, 1.0)
    np.add.at(normal, (later - earlier, earlier), -1.0)
    np.add.at(right, earlier, -values)
    np.add.at(right, later, values)
    return solveh_banded(normal[:, 1:], right[1:], lower=True)
