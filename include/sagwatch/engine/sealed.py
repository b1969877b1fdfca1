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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import DTypeLike, NDArray

from sagwatch.engine import kernel
from sagwatch.engine.files import ASIDE, flush
from sagwatch.engine.interferogram import map_array, map_at
from sagwatch.engine.manifest import Sealed
from sagwatch.engine.window import Checkpoint
from sagwatch.errors import BadRevisionError

SERIES, CHECKPOINTS, STACK = "series", "checkpoints", "stack"
KINDS = (SERIES, CHECKPOINTS, STACK)
LOS, PAIRS = "timeseries", "pairsPerEpoch"
_HASH_LETTERS = 16


def create_array(file: h5py.File, name: str, shape: Sequence[int], dtype: DTypeLike) -> int:
    """Reserve a dataset in one piece; return where its pixels begin. It is filled through a map of the closed file."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.CONTIGUOUS)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    kind = h5t.py_create(np.dtype(dtype), logical=True)
    return h5d.create(file.id, name.encode(), kind, h5s.create_simple(tuple(shape)), properties).get_offset()


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
    los_m: NDArray[np.float32]
    pairs: NDArray[np.uint8]


def open_block(made: Made, shape: tuple[int, int]) -> OpenBlock:
    """Make a block whose pixels are still to be written."""
    with h5py.File(made.path, "w", libver="latest") as file:
        los_at = create_array(file, LOS, (made.length, *shape), np.float32)
        pairs_at = create_array(file, PAIRS, (made.length, *shape), np.uint8)
    flat = made.length, shape[0] * shape[1]
    return OpenBlock(
        made,
        map_at(made.path, los_at, flat, np.float32, writable=True),
        map_at(made.path, pairs_at, flat, np.uint8, writable=True),
    )


def read_block(track: Path, sealed: Sealed) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Map a block's displacements and pairs per epoch, (n_epochs, n_pixels)."""
    path = track / sealed.name
    return (
        map_array(path, LOS).reshape(sealed.length, -1),
        map_array(path, PAIRS).reshape(sealed.length, -1),
    )


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint that is being filled."""

    made: Made
    floats: NDArray[np.float64]
    counts: NDArray[np.uint16]


def open_checkpoint(made: Made, n_pixels: int) -> OpenCheckpoint:
    """Make a checkpoint whose pixels are still to be written."""
    floats, counts = (kernel.float_rows(made.length), n_pixels), (kernel.count_rows(made.length), n_pixels)
    with h5py.File(made.path, "w", libver="latest") as file:
        floats_at = create_array(file, "floats", floats, np.float64)
        counts_at = create_array(file, "counts", counts, np.uint16)
    return OpenCheckpoint(
        made,
        map_at(made.path, floats_at, floats, np.float64, writable=True),
        map_at(made.path, counts_at, counts, np.uint16, writable=True),
    )


def read_checkpoint(track: Path, sealed: Sealed) -> Checkpoint:
    """Map a checkpoint; nothing is read before it is used."""
    path = track / sealed.name
    floats, counts = map_array(path, "floats"), map_array(path, "counts")
    rows = kernel.float_rows(sealed.length), kernel.count_rows(sealed.length)
    if (floats.shape[0], counts.shape[0]) != rows:
        raise BadRevisionError(f"{path} does not reach {sealed.length} epochs; it may be damaged")
    return Checkpoint(sealed.epoch, sealed.length, floats, counts)


def seal(track: Path, made: Sequence[Made], hashes: Mapping[Path, str]) -> list[Sealed]:
    """Give files that were made aside, and are on the disk by now, their final names, durably."""
    sealed = []
    for one in made:
        digest = hashes[one.path]
        name = f"{one.kind}/{one.epoch:06d}-{digest[:_HASH_LETTERS]}.h5"
        if not (track / one.kind).is_dir():
            (track / one.kind).mkdir()
            flush(track)
        one.path.replace(track / name)
        sealed.append(Sealed(one.epoch, one.length, name, digest))
    for kind in {one.kind for one in made}:
        flush(track / kind)
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
