"""A whole frame on a small machine: ``make bench-frame JSON=FILE``.

Millions of pixels, a batch and some updates, with bounded memory: seconds, memory above the imports, bytes on the disk.
The stack is a field of 500 x 500 pixels laid side by side, so that making it does not take longer than solving it.
Keys of the JSON: README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.engine import Progress, make_scratch
from benchmarks.figures import key_table
from benchmarks.ours import Task, measure_apart
from benchmarks.run import machine
from benchmarks.stacks import Case, Extent, make_track
from sagwatch.engine.solve import warm_up

_SIDE = 500
#: Of a pixel and epoch: series and number of pairs, of all revisions together, and a state now and then.
_SOLVED_BYTES = 40


@dataclass(frozen=True)
class Wish:
    """How large the frame is."""

    pixels: int
    epochs: int
    neighbours: int
    updates: int
    memory_mb: int
    threads: int | None

    @property
    def extent(self) -> Extent:
        """Nearly a square of at least so many pixels."""
        fields = math.ceil(self.pixels / _SIDE**2)
        across = math.ceil(math.sqrt(fields))
        return Extent(_SIDE, math.ceil(fields / across), across)

    @property
    def needed_bytes(self) -> int:
        """An upper bound for what will lie on the disk."""
        return self.extent.grid.pixels * self.epochs * (8 * self.neighbours + _SOLVED_BYTES)


def run(wish: Wish) -> dict[str, Any]:
    """Make the frame, solve it, bring it up to date."""
    progress, extent = Progress(), wish.extent
    case = Case(wish.epochs, wish.neighbours, gaps=True)
    pixels = extent.grid.pixels
    found: dict[str, Any] = {
        "benchmark": "frame",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "pixels": pixels,
        "rows": extent.grid.rows,
        "columns": extent.grid.columns,
        "epochs": wish.epochs,
        "neighbours": wish.neighbours,
        "memory_setting_mb": wish.memory_mb,
    }
    warm_up()
    with make_scratch() as folder:
        _check_disk(folder, wish.needed_bytes)
        for done, of in make_track(folder, extent, wish.epochs, wish.neighbours, gaps=True):
            if done % max(of // 10, 1) == 0:
                progress.say(f"{done} of {of} interferograms of {pixels:,} pixels are made")
        found["input_bytes"] = _bytes_below(folder)
        task = Task("", str(folder), extent, case, threads=wish.threads, updates=wish.updates, large=True)
        task = replace(task, memory_bytes=wish.memory_mb * 2**20)
        for name, what in (("batch", "begin"), ("update", "updates")):
            progress.say(f"{name} of {pixels:,} pixels")
            found |= _figures(name, measure_apart(replace(task, what=what)), pixels)
        found["solution_bytes"] = _bytes_below(folder) - found["input_bytes"]
    return {**found, "seconds": progress.seconds}


def _figures(name: str, measured: dict[str, Any], pixels: int) -> dict[str, Any]:
    return {
        f"{name}_seconds": measured["seconds"],
        f"{name}_seconds_of_each": measured["seconds_of_each"],
        f"{name}_pixels_per_second": pixels / measured["seconds"],
        f"{name}_sync_seconds": measured["sync_seconds"],
        f"{name}_bytes_written": measured["bytes_written"],
        f"{name}_peak_memory_bytes": measured["peak_memory_bytes"],
        f"{name}_peak_own_memory_bytes": measured["peak_own_memory_bytes"],
        f"{name}_peak_memory_bytes_per_pixel": measured["peak_memory_bytes"] / pixels,
    }


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"only {free / 1e9:.1f} GB of disk are free at {folder}, up to {needed / 1e9:.1f} GB are needed: "
            "make room, or ask for fewer --pixels or --epochs"
        )


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frame", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--pixels", type=int, default=5_000_000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--neighbours", type=int, default=2, help="pairs that begin at an epoch")
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument(
        "--memory-mb", type=int, default=512, help="what the engine may hold of pixels at a time"
    )
    parser.add_argument("--threads", type=int, help="by default one for each processor")
    wish = vars(parser.parse_args(words))
    target = wish.pop("json")
    found = run(Wish(**wish))
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(
        f"\n{key_table({key: value for key, value in found.items() if not isinstance(value, dict | list)})}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
