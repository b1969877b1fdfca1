"""The engine beside MintPy and its peers, on the same synthetic stacks, in one run: ``make bench-engine JSON=FILE``.

Every stack lies on the disk as Sagwatch stores interferograms. Ours: a batch, then updates by one acquisition each,
from stored interferogram files to stored series, velocity and quality, synced to the disk. MintPy: its own programs
``ifgram_inversion`` and ``timeseries2velocity``, as a new acquisition makes them run again, with one thread, which is
its fastest. Stacks with gaps are solved weighted; complete ones unweighted, which is MintPy's best case and all that
the peers can do. Keys of the JSON: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.against_mintpy import measure_programs
from benchmarks.figures import (
    USUAL_NEIGHBOURS,
    bandwidth_fraction,
    headline,
    key_table,
    peer_table,
    ratios,
    table,
)
from benchmarks.gauges import copy_bytes_per_second
from benchmarks.ours import Task, float64_difference, largest_gap_mm, measure_apart, observe
from benchmarks.peers import install_peers, measure_peers
from benchmarks.run import machine
from benchmarks.stacks import Case, Extent, Track, make_track, open_track
from sagwatch.engine.manifest import read_manifest
from sagwatch.engine.solve import warm_up
from sagwatch.engine.weights import Weight

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mintpy", "numpy", "scipy", "numba", "h5py")
THREADS = (1, 2)
#: Complete stacks are the smaller part of the story, and get less of the time.
_COMPLETE_UPDATES = 5


@dataclass(frozen=True)
class Wish:
    """How large the benchmark is."""

    side: int
    epochs: tuple[int, ...]
    neighbours: tuple[int, ...]
    updates: int
    mintpy_seconds: float

    def cases(self, *, gaps: bool) -> list[Case]:
        return [Case(epochs, neighbours, gaps) for neighbours in self.neighbours for epochs in self.epochs]


@dataclass
class Progress:
    """Says what is being done, and since when."""

    began: float = field(default_factory=time.monotonic)

    def say(self, words: str) -> None:
        print(f"[{self.seconds:5.0f} s] {words}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def run(wish: Wish) -> dict[str, Any]:
    """Everything, one after the other. Each stack is deleted before the next one is made."""
    progress = Progress()
    absent = install_peers(progress.say)
    installed = progress.seconds
    about = {
        "benchmark": "engine",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {name: version(name) for name in PACKAGES},
        "blas": _blas(),
        "pixels": wish.side**2,
        "updates": wish.updates,
    }
    progress.say("compiling the kernels, without and with their cache")
    compiling = measure_compiling()
    warm_up()
    cases = []
    for gaps in (True, False):
        with make_scratch() as folder:
            largest = Case(max(wish.epochs), max(wish.neighbours), gaps)
            progress.say(f"making the stack of {largest.name}")
            track = _make(folder, Extent(wish.side), largest)
            for case in wish.cases(gaps=gaps):
                cases.append(measure_case(track, case, wish, absent, progress))
                track.forget_solutions()
    return {
        **about,
        **headline(cases),
        **float64_difference(),
        **compiling,
        "seconds": progress.seconds - installed,
        "seconds_of_making_peers": installed,
        "load_after": os.getloadavg()[0],
        "cases": cases,
    }


def measure_case(
    track: Track, case: Case, wish: Wish, absent: dict[str, str], progress: Progress
) -> dict[str, Any]:
    """All figures of one case."""
    task, folder = _task(track, case, wish), track.store.folder
    progress.say(f"{case.name}: the inversion in memory")
    memory = measure_apart(replace(task, what="in_memory", threads=max(THREADS)))
    progress.say(f"{case.name}: {task.updates} updates and {task.repeats} batches")
    # One thread last: its revisions are what is looked at below.
    ours = {f"threads_{n}": measure_ours(track, replace(task, threads=n)) for n in _threads(case)}
    update, batch = ours["threads_1"]["update"], ours["threads_1"]["batch"]
    revision = Path(update["revision"])
    progress.say(f"{case.name}: MintPy's programs")
    entry = {
        **_about(task, track),
        "in_memory": memory,
        "ours": ours,
        "max_difference_batch_mm": largest_gap_mm(revision, Path(batch["revision"])),
        **_state(track, revision),
        "copy_bytes_per_second": copy_bytes_per_second(folder, int(update["bytes_written"])),
        "mintpy": _mintpy(task, revision, memory, wish),
    }
    if not case.gaps:
        progress.say(f"{case.name}: peers")
        entry["peers"] = measure_peers(observe(track, case), task.settings.inversion, absent, folder)
    entry |= {"ratios": ratios(entry), "bandwidth_fraction": bandwidth_fraction(entry)}
    told = ", ".join(f"{key} {value:,.1f}" for key, value in entry["ratios"].items())
    progress.say(f"{case.name}: {told}")
    return entry


def _task(track: Track, case: Case, wish: Wish) -> Task:
    """What all measurements of a case have in common."""
    return Task(
        "",
        str(track.store.folder),
        Extent(wish.side),
        case,
        Weight.VARIANCE if case.gaps else Weight.NONE,
        updates=wish.updates if case.gaps else min(wish.updates, _COMPLETE_UPDATES),
        repeats=3 if case.gaps else 2,
    )


def _threads(case: Case) -> tuple[int, ...]:
    return tuple(reversed(THREADS)) if case.gaps else THREADS[:1]


def _about(task: Task, track: Track) -> dict[str, Any]:
    return {
        "name": task.case.name,
        **asdict(task.case),
        "weight": str(task.weight),
        "pixels": track.store.grid.pixels,
        "pairs": len(track.pairs(task.case)),
        "updates": task.updates,
    }


def measure_ours(track: Track, task: Task) -> dict[str, Any]:
    """A first batch, updates after it, and the batch of everything, each in a process of its own."""
    track.forget_solutions()
    measure_apart(replace(task, what="begin"))
    return {
        "update": measure_apart(replace(task, what="updates")),
        "batch": measure_apart(replace(task, what="batch")),
    }


def _mintpy(task: Task, revision: Path, memory: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """MintPy's programs: weighted on samples; unweighted on all pixels, which are one problem to it."""
    weighted = task.weight is not Weight.NONE
    usual = weighted and task.case.neighbours == USUAL_NEIGHBOURS
    headline = usual and task.case.epochs == max(wish.epochs)
    return measure_programs(
        revision,
        task.weight,
        Path(task.folder),
        memory["mintpy_seconds"] / memory["pixels"] if weighted else 0.0,
        (2 if headline else 1) * wish.mintpy_seconds,
        1 + usual + headline,
    )


def _state(track: Track, revision: Path) -> dict[str, float]:
    """Bytes per pixel of what an update takes up, and of all such states that are kept."""
    manifest = read_manifest(revision)
    sizes = {
        sealed.epoch: (track.store.folder / sealed.name).stat().st_size for sealed in manifest.checkpoints
    }
    pixels = track.store.grid.pixels
    return {
        "state_bytes_per_pixel": sizes.get(manifest.first_solved, 0) / pixels,
        "all_states_bytes_per_pixel": sum(sizes.values()) / pixels,
    }


def measure_compiling() -> dict[str, Any]:
    """Seconds of the first calls without compiled kernels, and of the next process's."""
    with tempfile.TemporaryDirectory(prefix="sagwatch-kernels-") as cache:
        task = Task("compile", "", Extent(16), Case(20, 2, True), updates=1)
        task = replace(task, environment={"NUMBA_CACHE_DIR": f"{cache}/kernels"})
        first, second = (_first_calls(task, Path(cache) / name) for name in ("first", "second"))
    return {
        "first_call_without_cache_seconds": first["warm_up"],
        "first_call_with_cache_seconds": second["warm_up"],
        "first_calls": {"without_cache": first, "with_cache": second},
    }


def _first_calls(task: Task, folder: Path) -> dict[str, float]:
    _make(folder, task.extent, task.case)
    return measure_apart(replace(task, folder=str(folder)))


def _blas() -> dict[str, Any]:
    """What computes below MintPy. Its programs run without the variables of the environment."""
    settings = {
        key: value for key, value in os.environ.items() if key.startswith(("OPENBLAS", "OMP_", "MKL_"))
    }
    task = Task("blas", "", Extent(1), Case(2, 1, False))
    return {"environment": settings, "kernel": measure_apart(task)["kernel"]}


@contextmanager
def make_scratch() -> Iterator[Path]:
    """A folder on the checkout's disk: the system's temporary folder may lie in memory, where syncing is free."""
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-engine-", dir=ROOT / "var") as name:
        yield Path(name)


def _make(folder: Path, extent: Extent, case: Case) -> Track:
    for _ in make_track(folder, extent, case.epochs, case.neighbours, gaps=case.gaps):
        pass
    return open_track(folder, extent)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--side", type=int, default=300, help="pixels of one side of the square")
    parser.add_argument("--epochs", type=_numbers, default=(60, 120, 240), help="lengths of the record")
    parser.add_argument("--neighbours", type=_numbers, default=(2, 4), help="pairs that begin at an epoch")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument(
        "--mintpy-seconds", type=float, default=8, help="how long MintPy's larger sample takes"
    )
    wish = vars(parser.parse_args(words))
    target = wish.pop("json")
    found = run(Wish(**wish))
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    keys = {key: value for key, value in found.items() if not isinstance(value, dict | list)}
    for part in (table(found["cases"]), peer_table(found["cases"]), key_table(keys)):
        print(f"\n{part}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
