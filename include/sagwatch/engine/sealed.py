"""Files of a track that are written once and shared by revisions.

::

    series/<first epoch>-<hash>.h5        timeseries and pairsPerEpoch of a few epochs, see `Effort.block_epochs`
    checkpoints/<epoch>-<hash>.h5         where the solution can be taken up again, see `kernel`
    stack/<first pair>-<hash>.h5          MintPy's stack of a few pairs, as views of ../interferograms/<id>.h5

An update writes what changed; a revision names by path and hash the files that it consists of. A name ends with its
content's hash, so a file of a name never changes. Datasets lie in one piece, epoch after epoch, so that they can be
mapped and filled from several threads. ``benchmarks/chunking.py`` compares layouts: against tiles of 64 x 64 pixels one
epoch of all pixels is read several times faster, and all epochs of one pixel several times slower (some 70 ms of 240
epochs), which is the better bargain: an update reads and writes epochs, people look at a pixel now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.arrays import OpenArray, OpenArrays, create_array, map_arrays
from sagwatch.engine.files import ASIDE, Disk, is_content, letters_of
from sagwatch.engine.manifest import Sealed, check_sealed
from sagwatch.engine.window import Checkpoint
from sagwatch.errors import BadRevisionError, DamagedBaseError

SERIES, CHECKPOINTS, STACK = "series", "checkpoints", "stack"
KINDS = (SERIES, CHECKPOINTS, STACK)
LOS, PAIRS = "timeseries", "pairsPerEpoch"
_HASH_LETTERS = 16

Read = TypeVar("Read")


@dataclass(frozen=True)
class Made:
    """A shared file that lies aside until it is sealed; ``epoch`` and ``length`` as in `Sealed`."""

    path: Path
    kind: str
    epoch: int
    length: int

    @classmethod
    def aside(cls, folder: Path, kind: str, epoch: int, length: int) -> Made:
        return cls(folder / f"{kind}-{epoch:06d}.h5", kind, epoch, length)

    def sealed(self, disk: Disk) -> Sealed:
        """What it will be, when the disk has taken it."""
        digest = disk.digest(self.path)
        name = f"{self.kind}/{self.epoch:06d}-{letters_of(digest, _HASH_LETTERS)}.h5"
        return Sealed(self.epoch, self.length, name, digest)


@dataclass(frozen=True)
class OpenBlock:
    """A block of the series that is being filled, rows by epoch."""

    made: Made
    los_m: OpenArray
    pairs: OpenArray

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Map what is filled in, as `read_block` does."""
        return self.los_m.map(self.made.length), self.pairs.map(self.made.length)


def open_block(made: Made, shape: tuple[int, int], arrays: OpenArrays) -> OpenBlock:
    """Make a block whose pixels are still to be written."""
    with h5py.File(made.path, "w", libver="latest") as file:
        los_at = create_array(file, LOS, (made.length, *shape), np.float32).get_offset()
        pairs_at = create_array(file, PAIRS, (made.length, *shape), np.uint8).get_offset()
    places = (los_at, np.float32), (pairs_at, np.uint8)
    return OpenBlock(made, *arrays.open(made.path, shape[0] * shape[1], places))


def read_block(track: Path, sealed: Sealed) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Map a block's displacements and pairs per epoch, (n_epochs, n_pixels)."""
    los_m, pairs = map_arrays(track / sealed.name, LOS, PAIRS)
    return los_m.reshape(sealed.length, -1), pairs.reshape(sealed.length, -1)


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint that is being filled."""

    made: Made
    floats: OpenArray
    counts: OpenArray


def open_checkpoint(made: Made, n_pixels: int, arrays: OpenArrays) -> OpenCheckpoint:
    """Make a checkpoint whose pixels are still to be written."""
    floats, counts = (kernel.float_rows(made.length), n_pixels), (kernel.count_rows(made.length), n_pixels)
    with h5py.File(made.path, "w", libver="latest") as file:
        floats_at = create_array(file, "floats", floats, np.float64).get_offset()
        counts_at = create_array(file, "counts", counts, np.uint16).get_offset()
    places = (floats_at, np.float64), (counts_at, np.uint16)
    return OpenCheckpoint(made, *arrays.open(made.path, n_pixels, places))


def read_checkpoint(track: Path, sealed: Sealed) -> Checkpoint:
    """Map a checkpoint; nothing is read before it is used."""
    path = track / sealed.name
    floats, counts = map_arrays(path, "floats", "counts")
    rows = kernel.float_rows(sealed.length), kernel.count_rows(sealed.length)
    if (floats.shape[0], counts.shape[0]) != rows:
        raise BadRevisionError(f"{path} does not reach {sealed.length} epochs; it may be damaged")
    return Checkpoint(sealed.epoch, sealed.length, floats, counts)


class Shared:
    """The sealed files of a track, as an update takes them up: none is used before its hash was seen to be right.

    Hashing takes longer than anything else that is done with most of them, so it is begun as soon as it is known which
    files are needed, one after the other beside the rest of the work. A context, because it has a thread of its own.
    """

    def __init__(self, track: Path) -> None:
        self._track = track
        self._lock, self._taken = threading.Lock(), dict[str, Future[Any]]()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, sealed: Sealed, read: Callable[[Path, Sealed], Read]) -> Future[Read]:
        """Begin to check a file of the base, and to read or map it then; once, however often it is asked for.

        The result raises `DamagedBaseError` if the file is not what its hash says.
        """
        with self._lock:
            if sealed.name not in self._taken:
                self._taken[sealed.name] = self._pool.submit(self._take, sealed, read)
            return self._taken[sealed.name]

    def _take(self, sealed: Sealed, read: Callable[[Path, Sealed], Read]) -> Read:
        try:
            check_sealed(self._track, [sealed], hashes=True)
            return read(self._track, sealed)
        except BadRevisionError as problem:
            raise DamagedBaseError(str(problem)) from problem


def seal(track: Path, made: Sequence[Made], disk: Disk) -> list[Sealed]:
    """Give files that were made aside, and given to the disk, their final names.

    They need not be on the disk yet: nothing names them before a revision does, which waits for the disk; until then a
    file of the same name takes the place of what a crash left. One that is whole already is left as it is, because an
    older revision may stand on it.
    """
    sealed = [one.sealed(disk) for one in made]
    for one, final in zip(made, sealed, strict=True):
        target = track / final.name
        if not target.parent.is_dir():
            target.parent.mkdir()
            disk.flush([track])
        if target.is_file() and is_content(target, final.digest):
            one.path.unlink()
            disk.flush([target])
        else:
            one.path.replace(target)
    disk.flush({track / one.kind for one in made})
    return sealed


def remove_unnamed(track: Path, named: set[str]) -> list[str]:
    """Delete sealed files that no revision names; return their names."""
    removed = []
    for kind in KINDS:
        for path in sorted((track / kind).glob("*.h5")):
            name = f"{kind}/{path.name}"
            if name not in named and not path.name.startswith(ASIDE):
                path.unlink()
                removed.append(name)
    return removed
