"""Files of a track that are written once and shared by revisions: blocks of epochs of the series, and checkpoints.

::

    series/<first epoch>-<hash>.h5        timeseries and pairsPerEpoch of up to 16 epochs
    checkpoints/<epoch>-<hash>.h5         where the solution can be taken up again, see `kernel`

An update writes the blocks that changed, and a checkpoint now and then; a revision names by path and hash the files
that it consists of. A name ends with its content's hash, so a file of a name never changes.

Datasets lie in one piece, epoch after epoch, so that they can be mapped and filled from several threads. That is also
the fastest to write and for one epoch of all pixels, and as fast as tiles for all epochs of one pixel: see
``benchmarks/chunking.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import DTypeLike, NDArray

from sagwatch.engine import kernel
from sagwatch.engine.files import ASIDE, flush, sha256_of
from sagwatch.engine.interferogram import map_array, open_hdf5
from sagwatch.engine.manifest import Sealed
from sagwatch.engine.window import Checkpoint
from sagwatch.errors import BadRevisionError

SERIES, CHECKPOINTS = "series", "checkpoints"
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
class OpenBlock:
    """A block of the series that is being filled."""

    path: Path
    epoch: int
    los_m: NDArray[np.float32]
    pairs: NDArray[np.uint8]


def open_block(path: Path, epoch: int, n_epochs: int, shape: tuple[int, int]) -> OpenBlock:
    """Make a block whose pixels are still to be written."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["epoch"], file.attrs["length"] = epoch, n_epochs
        create_array(file, LOS, (n_epochs, *shape), np.float32)
        create_array(file, PAIRS, (n_epochs, *shape), np.uint8)
    return OpenBlock(
        path,
        epoch,
        map_array(path, LOS, writable=True).reshape(n_epochs, -1),
        map_array(path, PAIRS, writable=True).reshape(n_epochs, -1),
    )


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint that is being filled."""

    path: Path
    epoch: int
    reach: int
    floats: NDArray[np.float64]
    counts: NDArray[np.uint16]


def open_checkpoint(path: Path, epoch: int, reach: int, n_pixels: int) -> OpenCheckpoint:
    """Make a checkpoint whose pixels are still to be written."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["epoch"], file.attrs["length"] = epoch, reach
        create_array(file, "floats", (kernel.float_rows(reach), n_pixels), np.float64)
        create_array(file, "counts", (kernel.count_rows(reach), n_pixels), np.uint16)
    return OpenCheckpoint(
        path, epoch, reach, map_array(path, "floats", writable=True), map_array(path, "counts", writable=True)
    )


def read_checkpoint(track: Path, sealed: Sealed) -> Checkpoint:
    """Map a checkpoint; nothing is read before it is used."""
    path = track / sealed.name
    floats, counts = map_array(path, "floats"), map_array(path, "counts")
    rows = kernel.float_rows(sealed.length), kernel.count_rows(sealed.length)
    if (floats.shape[0], counts.shape[0]) != rows:
        raise BadRevisionError(f"{path} does not reach {sealed.length} epochs; it may be damaged")
    return Checkpoint(sealed.epoch, sealed.length, floats, counts)


def seal(aside: Path, track: Path, kind: str) -> Sealed:
    """Give a file that was made aside its final name, durably; its epoch and length stand in its attributes."""
    with open_hdf5(aside) as file:
        epoch, length = int(file.attrs["epoch"]), int(file.attrs["length"])
    digest = sha256_of(aside)
    name = f"{kind}/{epoch:06d}-{digest[:_HASH_LETTERS]}.h5"
    target = track / name
    target.parent.mkdir(exist_ok=True)
    flush(aside)
    aside.chmod(0o444)
    aside.replace(target)
    return Sealed(epoch, length, name, digest)


def flush_names(track: Path) -> None:
    """Make the names of sealed files durable."""
    for kind in (SERIES, CHECKPOINTS):
        if (track / kind).is_dir():
            flush(track / kind)


def remove_unnamed(track: Path, named: set[str]) -> list[str]:
    """Delete sealed files that no revision names; return their names."""
    removed = []
    for kind in (SERIES, CHECKPOINTS):
        for path in sorted((track / kind).glob("*.h5")):
            name = f"{kind}/{path.name}"
            if name not in named and not path.name.startswith(ASIDE):
                path.unlink()
                removed.append(name)
    return removed
