"""How series should lie on the disk: ``PYTHONPATH=include:. python -m benchmarks.chunking [--json FILE]``.

A record is cut into files of some epochs each, as `sagwatch.engine.sealed` does, or is one file that grows, as
MintPy's. For each layout: writing what one acquisition changes (one block, or the same epochs of the growing file),
synced; one epoch of all pixels; all epochs of one pixel; all epochs of some rows. Blocks are read through a virtual
dataset, as every MintPy tool reads a revision; what lies in one piece can also be mapped, file by file, as the engine
does. Reads are measured with the files in the system's cache and without.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import make_scratch
from sagwatch.engine.arrays import OpenArrays, create_array, map_array
from sagwatch.engine.files import flush

_NAME = "timeseries"
_ROWS = 60
_REPEATS = 15


@dataclass(frozen=True)
class Layout:
    """``block_epochs`` per file, or one file where it is None; ``chunks`` within a file, or in one piece."""

    block_epochs: int | None
    chunks: tuple[int, int, int] | None

    @property
    def name(self) -> str:
        files = "one file" if self.block_epochs is None else f"files of {self.block_epochs} epochs"
        return f"{files}, {'in one piece' if self.chunks is None else f'chunks {self.chunks}'}"


LAYOUTS = (
    Layout(8, None),
    Layout(16, None),
    Layout(32, None),
    Layout(16, (1, 128, 128)),
    Layout(16, (16, 32, 32)),
    Layout(16, (16, 64, 64)),
    Layout(None, (16, 64, 64)),
    Layout(None, (15, 38, 38)),
)


def write_piece(path: Path, values: NDArray[np.float32], chunks: tuple[int, int, int] | None) -> None:
    """Write a file of some epochs, durably."""
    with h5py.File(path, "w", libver="latest") as file:
        if chunks is None:
            place = create_array(file, _NAME, values.shape, np.float32).get_offset(), np.float32
        else:
            file.create_dataset(_NAME, data=values, chunks=chunks)
    if chunks is None:
        n_pixels = values[0].size
        with OpenArrays() as arrays:
            arrays.open(path, n_pixels, [place])[0][0:n_pixels] = values
    flush(path)


def write_end(path: Path, first: int, values: NDArray[np.float32]) -> None:
    """Write the last epochs into the growing file, durably."""
    with h5py.File(path, "r+", libver="latest") as file:
        file[_NAME][first : first + len(values)] = values
    flush(path)


def write_all(folder: Path, layout: Layout, values: NDArray[np.float32]) -> Path:
    """Write a record; return the file that it is read through."""
    whole, size = folder / "timeseries.h5", layout.block_epochs
    if size is None:
        write_piece(whole, values, layout.chunks)
        return whole
    virtual = h5py.VirtualLayout(values.shape, np.float32)
    for first in range(0, len(values), size):
        block = values[first : first + size]
        path = folder / f"{first:06d}.h5"
        write_piece(path, block, layout.chunks)
        virtual[first : first + len(block)] = h5py.VirtualSource(path.name, _NAME, shape=block.shape)
    with h5py.File(whole, "w", libver="latest") as file:
        file.create_virtual_dataset(_NAME, virtual)
    return whole


def read(path: Path, part: tuple[Any, ...]) -> None:
    with h5py.File(path) as file:
        file[_NAME][part]


def read_mapped(folder: Path, row: int, column: int) -> None:
    """All epochs of one pixel from the files themselves."""
    for path in sorted(folder.glob("0*.h5")):
        np.array(map_array(path, _NAME)[:, row, column])


def measure(folder: Path, layout: Layout, values: NDArray[np.float32]) -> dict[str, Any]:
    """Milliseconds of each use; medians."""
    folder.mkdir()
    whole = write_all(folder, layout, values)
    epochs, rows, columns = values.shape
    size = layout.block_epochs or 16
    rng = np.random.default_rng(1)
    uses: dict[str, Callable[[], tuple[Any, ...]]] = {
        "epoch": lambda: (int(rng.integers(epochs)),),
        "pixel": lambda: (slice(None), int(rng.integers(rows)), int(rng.integers(columns))),
        "rows": lambda: (slice(None), slice(first := int(rng.integers(rows - _ROWS)), first + _ROWS)),
    }
    last = (epochs - 1) // size * size
    if layout.block_epochs is None:
        write = partial(write_end, whole, last, values[last:])
    else:
        write = partial(write_piece, folder / "new.h5", values[last:], layout.chunks)
    found = {"layout": layout.name, "write_ms": _milliseconds(write)}
    for use, part in uses.items():
        found[f"{use}_ms"] = _milliseconds(lambda part=part: read(whole, part()))
        found[f"{use}_cold_ms"] = _milliseconds(
            lambda part=part: read(whole, part()), before=partial(_forget, folder)
        )
    mapped = layout.chunks is None
    found["pixel_mapped_ms"] = (
        _milliseconds(lambda: read_mapped(folder, *uses["pixel"]()[1:])) if mapped else None
    )
    return found


def _milliseconds(call: Callable[[], None], before: Callable[[], None] = lambda: None) -> float:
    taken = []
    for _ in range(_REPEATS):
        before()
        began = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - began))
    return median(taken)


def _forget(folder: Path) -> None:
    """Ask the system to drop the files from its cache; they are synced, so it can."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def table(found: Sequence[dict[str, Any]]) -> str:
    keys = [key for key in found[0] if key != "layout"]
    heads = ["layout", *(key.removesuffix("_ms").replace("_", " ") + ", ms" for key in keys)]
    lines = [heads, ["---"] * len(heads)]
    lines += [[entry["layout"], *(_number(entry[key]) for key in keys)] for entry in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", type=int, default=600, help="pixels of one side of the square")
    parser.add_argument("--epochs", type=int, default=240)
    wish = parser.parse_args()
    shape = (wish.epochs, wish.side, wish.side)
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with make_scratch() as folder:
        found = [measure(folder / str(number), layout, values) for number, layout in enumerate(LAYOUTS)]
    print(table(found))
    if wish.json:
        wish.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
