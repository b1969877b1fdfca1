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

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine import kernel
from sagwatch.engine.arrays import OpenArray, OpenArrays, create_array, map_arrays
from sagwatch.engine.files import ASIDE, Disk, Stamp, flush, stamp_of
from sagwatch.engine.manifest import Sealed, check_sealed
from sagwatch.engine.window import Checkpoint
from sagwatch.errors import BadRevisionError, DamagedBaseError

SERIES, CHECKPOINTS, STACK = "series", "checkpoints", "stack"
KINDS = (SERIES, CHECKPOINTS, STACK)
LOS, PAIRS = "timeseries", "pairsPerEpoch"
_HASH_LETTERS = 16
_STAMPS = ".stamps"

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


@dataclass(frozen=True)
class OpenBlock:
    """A block of the series that is being filled, rows by epoch."""

    made: Made
    los_m: OpenArray
    pairs: OpenArray


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


@dataclass(frozen=True)
class Shared:
    """The sealed files of a track, as an update takes them up.

    ``stamps``, by name, are those that files had when they were sealed, or were last found to be what their hash says.
    A file of another stamp is hashed. One of the same stamp is not: nobody has written to it since, and what its disk
    may have lost is found by audits, which hash everything, as it is for interferograms. Stamps are kept in a file of
    the track that no revision knows: they mean something on this machine alone, and without them everything is hashed.
    """

    track: Path
    stamps: dict[str, Stamp] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, track: Path) -> Self:
        try:
            words = json.loads((track / _STAMPS).read_text())
            return cls(track, {name: Stamp(*stamp) for name, stamp in words.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return cls(track)

    def check(self, sealed: Sealed) -> None:
        """Check that a file is there and is what its hash says.

        Raises
        ------
        BadRevisionError
            Names the file.
        """
        check_sealed(self.track, [sealed], hashes=False)
        # Before the hash: what is written meanwhile gives another stamp.
        stamp = stamp_of(self.track / sealed.name)
        if self.stamps.get(sealed.name) != stamp:
            check_sealed(self.track, [sealed], hashes=True)
            self.stamps[sealed.name] = stamp

    def take(self, sealed: Sealed, read: Callable[[Path, Sealed], Read]) -> Read:
        """Read or map a file of the base.

        Raises
        ------
        DamagedBaseError
            It is not what its hash says.
        """
        try:
            self.check(sealed)
            return read(self.track, sealed)
        except BadRevisionError as problem:
            raise DamagedBaseError(str(problem)) from problem

    def remember(self, files: Sequence[Sealed], fresh: Sequence[Sealed]) -> None:
        """Keep which of a revision's files the next update need not hash: ``fresh`` ones, and those known before."""
        known = {sealed.name: self.stamps[sealed.name] for sealed in files if sealed.name in self.stamps}
        known |= {sealed.name: stamp_of(self.track / sealed.name) for sealed in fresh}
        # Not flushed: what a crash leaves of it is no JSON, or old.
        aside = self.track / f"{_STAMPS}-new"
        aside.write_text(json.dumps(known))
        aside.replace(self.track / _STAMPS)


def seal(track: Path, made: Sequence[Made], hashes: Mapping[Path, str], disk: Disk) -> list[Sealed]:
    """Give files that were made aside their final names.

    They need not be on the disk yet: nothing names them before a revision does, which waits for the disk; until then a
    file of the same name takes the place of what a crash left.
    """
    sealed = []
    for one in made:
        digest = hashes[one.path]
        name = f"{one.kind}/{one.epoch:06d}-{digest[:_HASH_LETTERS]}.h5"
        if not (track / one.kind).is_dir():
            (track / one.kind).mkdir()
            flush(track)
        one.path.replace(track / name)
        sealed.append(Sealed(one.epoch, one.length, name, digest))
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
