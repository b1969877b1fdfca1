"""Arrays that lie in one piece in an HDF5 file: reserved, filled in pieces, mapped for reading."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import DTypeLike, NDArray

from sagwatch.engine.interferogram import open_hdf5
from sagwatch.errors import BadRevisionError


def create_array(file: h5py.File, name: str, shape: Sequence[int], dtype: DTypeLike) -> h5d.DatasetID:
    """Reserve a dataset in one piece, which is filled when the file is closed: its ``get_offset()`` says where."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.CONTIGUOUS)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    kind = h5t.py_create(np.dtype(dtype), logical=True)
    return h5d.create(file.id, name.encode(), kind, h5s.create_simple(tuple(shape)), properties)


def write_array(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    """Write a small array; on the low level, which is several times faster."""
    create_array(file, name, values.shape, values.dtype).write(h5s.ALL, h5s.ALL, np.ascontiguousarray(values))


def read_array(file: h5py.File, name: str) -> NDArray[Any]:
    """Read a whole array, in the same way."""
    dataset = h5d.open(file.id, name.encode())
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, values)
    return values


class OpenArray:
    """Rows of pixels in a file that is being made; filled in pieces, from several threads if need be.

    They are written, not mapped: a page that is written through a map for the first time costs several times the copy.
    """

    def __init__(self, descriptor: int, offset: int, n_pixels: int, dtype: DTypeLike) -> None:
        self._descriptor, self._offset = descriptor, offset
        self._n_pixels, self._dtype = n_pixels, np.dtype(dtype)

    def __setitem__(self, pixels: slice, values: NDArray[Any]) -> None:
        """Write some pixels of all rows."""
        values = np.ascontiguousarray(values, self._dtype).reshape(-1, pixels.stop - pixels.start)
        if values.shape[1] == self._n_pixels:
            self._write(0, values)
            return
        for row, piece in enumerate(values):
            self._write(row * self._n_pixels + pixels.start, piece)

    def write_row(self, row: int, values: NDArray[Any]) -> None:
        """Write all pixels of a row."""
        self._write(row * self._n_pixels, np.ascontiguousarray(values, self._dtype))

    def map(self, n_rows: int) -> NDArray[Any]:
        """Map the first rows, for reading."""
        mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        rows = np.frombuffer(mapped, self._dtype, n_rows * self._n_pixels, self._offset)
        return rows.reshape(n_rows, self._n_pixels)

    def _write(self, first: int, values: NDArray[Any]) -> None:
        at, left = self._offset + first * self._dtype.itemsize, values.data.cast("B")
        while left:
            written = os.pwrite(self._descriptor, left, at)
            at, left = at + written, left[written:]


class OpenArrays:
    """The arrays of files that are being made; a context, because it keeps the files open."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def open(self, path: Path, n_pixels: int, places: Sequence[tuple[int, DTypeLike]]) -> list[OpenArray]:
        """Open a file's arrays, each by its place and type, and reserve the file's room.

        Raises
        ------
        OSError
            The disk has no room for it.
        """
        descriptor = os.open(path, os.O_RDWR)
        self._descriptors.append(descriptor)
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
        return [OpenArray(descriptor, offset, n_pixels, dtype) for offset, dtype in places]


def map_arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    """Map datasets that lie in one piece, for reading.

    Raises
    ------
    BadRevisionError
        The file is missing or damaged.
    """
    with open_hdf5(path) as file:
        if absent := [name for name in names if name not in file]:
            raise BadRevisionError(f"{path} has no {absent[0]}; it may be damaged")
        found = [h5d.open(file.id, name.encode()) for name in names]
        places = [(dataset.get_offset(), dataset.shape, dataset.dtype) for dataset in found]
    with path.open("rb") as content:
        size = os.fstat(content.fileno()).st_size
        # To read past a file's end kills the process.
        if any(at is None or at + math.prod(shape) * dtype.itemsize > size for at, shape, dtype in places):
            raise BadRevisionError(f"{path} cannot be read, it may be damaged: it is cut short")
        mapped = mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)
    return [np.frombuffer(mapped, dtype, math.prod(shape), at).reshape(shape) for at, shape, dtype in places]


def map_array(path: Path, name: str) -> NDArray[Any]:
    """Map one dataset; see `map_arrays`."""
    return map_arrays(path, name)[0]
