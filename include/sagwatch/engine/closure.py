"""Triangles of interferograms, and the whole cycles by which each misses to close.

Of three acquisitions, ``early + late - both`` of the unwrapped phases, each counted from the reference pixel, is a few
tenths of a radian (noise, multilooking) and a whole number of cycles where one of the three was unwrapped wrongly: the
integer ambiguity of Yunjun et al. 2019 (doi:10.1016/j.cageo.2019.104331, equations 8 and 9).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.interferogram import PHASE, StoredInterferogram, open_hdf5, write_attributes
from sagwatch.engine.stack import Stack

#: MintPy's name of the file and of its dataset.
COUNT_FILE, COUNT, KNOWN = "numTriNonzeroIntAmbiguity.h5", "mask", "numTriangles"
#: Stands for "no data" among whole cycles.
UNKNOWN = np.int8(-128)
_MOST_CYCLES = 127
_CYCLE = 2 * np.pi
_KEPT_FIELDS = 24

Cycles = NDArray[np.int8]
Dates = tuple[date, date]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, order=True)
class Triangle:
    """Three acquisitions of which each pair has an interferogram."""

    first: date
    middle: date
    last: date

    @property
    def legs(self) -> tuple[tuple[Dates, int], ...]:
        """Its pairs, and the sign with which each enters the closure."""
        return (
            ((self.first, self.middle), 1),
            ((self.middle, self.last), 1),
            ((self.first, self.last), -1),
        )


def triangles(pairs: Sequence[Dates]) -> tuple[Triangle, ...]:
    """All triangles of a network, in order of their dates."""
    known = set(pairs)
    later: dict[date, list[date]] = {}
    for earlier, end in sorted(known):
        later.setdefault(earlier, []).append(end)
    return tuple(
        Triangle(first, middle, last)
        for first, ends in sorted(later.items())
        for middle in ends
        for last in later.get(middle, ())
        if (first, last) in known
    )


def integer_ambiguity(
    early: NDArray[np.float32], late: NDArray[np.float32], both: NDArray[np.float32]
) -> Cycles:
    """Whole cycles by which a triangle misses to close, of phases that are counted from the reference pixel, radians.

    ``UNKNOWN`` where one of them has no data.
    """
    closure = early + late - both
    known = np.isfinite(closure)
    cycles = np.floor((np.where(known, closure, 0) + np.pi) / _CYCLE)
    return np.where(known, np.clip(cycles, -_MOST_CYCLES, _MOST_CYCLES), UNKNOWN).astype(np.int8)


@dataclass
class Closures:
    """Closures of stored interferograms by triangle; keeps the latest few, so that a walk through time reads once.

    ``paths`` has each pair's file; ``reference`` is the row and column from which phases are counted.
    """

    paths: Mapping[Dates, Path]
    reference: tuple[int, int]
    _phase: OrderedDict[Dates, NDArray[np.float32]] = field(default_factory=OrderedDict, repr=False)
    _cycles: OrderedDict[Triangle, Cycles] = field(default_factory=OrderedDict, repr=False)

    def cycles(self, triangle: Triangle) -> Cycles:
        """Shape of the grid, see `integer_ambiguity`."""
        if triangle not in self._cycles:
            early, late, both = (self._read(pair) for pair, _ in triangle.legs)
            self._cycles[triangle] = integer_ambiguity(early, late, both)
        return newest(self._cycles, triangle)

    def _read(self, pair: Dates) -> NDArray[np.float32]:
        if pair not in self._phase:
            with open_hdf5(self.paths[pair]) as file:
                phase = file[PHASE][0]
            self._phase[pair] = phase - phase[self.reference]
        return newest(self._phase, pair)


def newest(kept: OrderedDict[K, V], key: K) -> V:
    """Mark an entry as used and forget the one that was not for longest, if there are many."""
    kept.move_to_end(key)
    if len(kept) > _KEPT_FIELDS:
        kept.popitem(last=False)
    return kept[key]


def write_counts(
    folder: Path,
    stack: Stack,
    reference: tuple[int, int],
    attributes: Mapping[str, str],
    base: tuple[Path, Sequence[StoredInterferogram]] | None,
) -> None:
    """Write how many triangles of a stack contradict themselves at each pixel, as MintPy's program counts them.

    ``mask`` equals MintPy's number wherever MintPy gives one; it is NaN where no triangle has data. MintPy gives none
    where a single interferogram lacks data or where every triangle contradicts itself; those are counted here by what
    is known. ``numTriangles`` is how many have data.

    Parameters
    ----------
    base
        Folder and interferograms of an earlier revision with the same reference pixel, whose counts are taken over:
        only triangles that came or went are read.
    """
    count, known = _counts(stack, reference, base)
    layers = (
        (COUNT, np.where(known > 0, count, np.nan).astype(np.float32)),
        (KNOWN, known.astype(np.uint16)),
    )
    with h5py.File(folder / COUNT_FILE, "w", libver="latest") as file:
        for name, values in layers:
            file.create_dataset(name, data=values, track_times=False)
        write_attributes(file, {**attributes, "FILE_TYPE": "mask", "UNIT": "1"})


def read_counts(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Triangles that contradict themselves (NaN: no data), and triangles with data."""
    with open_hdf5(folder / COUNT_FILE) as file:
        return file[COUNT][:], file[KNOWN][:]


def _counts(
    stack: Stack,
    reference: tuple[int, int],
    base: tuple[Path, Sequence[StoredInterferogram]] | None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    count, known = np.zeros(stack.shape, np.int32), np.zeros(stack.shape, np.int32)
    now = _triangles_of(stack.members)
    before: dict[tuple[str, ...], Triangle] = {}
    if base is not None and (base[0] / COUNT_FILE).is_file():
        of_base = _triangles_of(base[1])
        gone = [key for key in of_base if key not in now]
        there = all(stack.folder.joinpath(f"{name}.h5").is_file() for key in gone for name in key)
        if there and len(gone) < len(now):
            before = of_base
            values, known_before = read_counts(base[0])
            count += np.nan_to_num(values).astype(np.int32)
            known += known_before
    for sign, new, old in ((1, now, before), (-1, before, now)):
        changed = {triangle: key for key, triangle in new.items() if key not in old}
        names = {
            pair: name
            for triangle, key in changed.items()
            for (pair, _), name in zip(triangle.legs, key, strict=True)
        }
        closures = Closures({pair: stack.folder / f"{name}.h5" for pair, name in names.items()}, reference)
        for triangle in changed:
            cycles = closures.cycles(triangle)
            count += sign * ((cycles != 0) & (cycles != UNKNOWN))
            known += sign * (cycles != UNKNOWN)
    return count, known


def _triangles_of(members: Sequence[StoredInterferogram]) -> dict[tuple[str, ...], Triangle]:
    """Triangles by the ids of their interferograms: another file of a pair makes another triangle."""
    ids = {(member.reference, member.secondary): member.id for member in members}
    return {tuple(ids[pair] for pair, _ in one.legs): one for one in triangles(list(ids))}
