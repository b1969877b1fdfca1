"""How many triangles of interferograms contradict each other at each pixel: a layer of a revision.

``numTriNonzeroIntAmbiguity.h5`` has MintPy's layer ``mask``, equal to that of its program
``unwrap_error_phase_closure --action calculate`` on the same stack. MintPy says NaN where any interferogram lacks the
pixel and where all triangles contradict. Beside it are the plain counts: ``contradictingTriplets`` of
``completeTriplets`` (the three phases are known), and ``pairsWithoutPhase``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.closure import Pair, Triangle, cycles, triangles
from sagwatch.engine.interferogram import PHASE, StoredInterferogram, open_hdf5
from sagwatch.engine.revision_files import open_file
from sagwatch.engine.stack import Stack
from sagwatch.engine.update import Base, Update
from sagwatch.errors import BadRevisionError

log = logging.getLogger(__name__)

CLOSURES = "numTriNonzeroIntAmbiguity.h5"
_COUNTS = ("contradictingTriplets", "completeTriplets", "pairsWithoutPhase")
#: A triangle needs three interferograms, and the next one mostly two of them again.
_PHASES_KEPT = 8


class Phases:
    """Phases of interferograms, 0 at the reference pixel; the last few stay in memory."""

    def __init__(self, folder: Path, row: int, column: int) -> None:
        self._folder, self._row, self._column = folder, row, column
        self.of = lru_cache(_PHASES_KEPT)(self._read)

    def _read(self, interferogram_id: str) -> NDArray[np.float32]:
        with open_hdf5(self._folder / f"{interferogram_id}.h5") as file:
            phase = np.asarray(file[PHASE][0], np.float32)
        return phase - phase[self._row, self._column]

    def cycles(
        self, triangle: Triangle, ids: Mapping[Pair, str]
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Closure of a triangle in whole cycles and where it is known, see `closure.cycles`."""
        early, late, both = (self.of(ids[pair]) for pair in triangle.pairs)
        return cycles(early, late, both)

    def cycles_on_land(
        self, triangle: Triangle, ids: Mapping[Pair, str], land: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """The same, unknown on water, which is noise that nobody reads: so most interferograms stay as they are."""
        whole, known = self.cycles(triangle, ids)
        return np.where(land, whole, 0).astype(np.int16), known & land


@dataclass
class Counts:
    """Numbers of triangles and pairs at each pixel; each has the grid's shape."""

    contradicting: NDArray[np.uint16]
    complete: NDArray[np.uint16]
    without_phase: NDArray[np.uint16]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Counts:
        return cls(*(np.zeros(shape, np.uint16) for _ in _COUNTS))

    def add_triangle(self, whole: NDArray[np.int16], known: NDArray[np.bool_], sign: int) -> None:
        self.complete += (sign * known).astype(np.uint16)  # wraps round and back: -1 subtracts
        self.contradicting += (sign * (whole != 0)).astype(np.uint16)

    def add_pair(self, phase: NDArray[np.float32], sign: int) -> None:
        self.without_phase += (sign * np.isnan(phase)).astype(np.uint16)


def write_closures(aside: Path, template: bytes, update: Update) -> None:
    """Write the layer of a revision that is being made; without triangles there is none, as MintPy does it.

    The counts of the base are taken over: only triangles and pairs that came or went are looked at.
    """
    stack = update.stack
    found = triangles([(member.reference, member.secondary) for member in stack.members])
    if not found:
        return
    counts = _counted(update)
    with h5py.File(aside / "avgSpatialCoh.h5", "r") as file:
        coherence = file["coherence"][:]
    unknown = (counts.without_phase > 0) | (counts.contradicting == len(found)) | (coherence == 0)
    with open_file(template, aside / CLOSURES, "mask", "1") as file:
        layer = np.where(unknown, np.nan, counts.contradicting).astype(np.float32)
        file.create_dataset("mask", data=layer, track_times=False)
        arrays = (counts.contradicting, counts.complete, counts.without_phase)
        for name, array in zip(_COUNTS, arrays, strict=True):
            file.create_dataset(name, data=array, track_times=False)


def _counted(update: Update) -> Counts:
    stack, base = update.stack, update.plan.base
    if base is not None and (old := _of_base(base, stack.shape)) is not None:
        try:
            return _change(old, stack, base.manifest.members, update)
        except BadRevisionError as problem:
            # A withdrawn interferogram may be gone; what it took part in can then only be counted anew.
            log.warning("%s; all triangles are counted anew", problem)
    return _change(Counts.none(stack.shape), stack, (), update)


def _of_base(base: Base, shape: tuple[int, int]) -> Counts | None:
    path = base.intact(CLOSURES)
    if path is None:
        return None
    with open_hdf5(path) as file:
        counts = Counts(*(file[name][:] for name in _COUNTS))
    return counts if counts.complete.shape == shape else None


def _change(counts: Counts, stack: Stack, before: Iterable[StoredInterferogram], update: Update) -> Counts:
    """Go from the interferograms before to those of the stack."""
    old = {(one.reference, one.secondary): one for one in before}
    new = {(one.reference, one.secondary): one for one in stack.members}
    touched = {
        pair for pair in {*old, *new} if pair not in old or pair not in new or old[pair].key != new[pair].key
    }
    phases = Phases(stack.folder, update.reference.row, update.reference.column)
    for members, sign in ((old, -1), (new, 1)):
        ids = {pair: member.id for pair, member in members.items()}
        for triangle in triangles(ids):
            if not touched.isdisjoint(triangle.pairs):
                counts.add_triangle(*phases.cycles(triangle, ids), sign)
        for pair in sorted(touched & ids.keys()):
            counts.add_pair(phases.of(ids[pair]), sign)
    return counts
