"""Our side of the engine benchmark, each measurement in a process of its own, for the sake of its memory.

``python -m benchmarks.ours TASK.json RESULT.json`` is what `measure_apart` calls.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.gauges import Memory, OwnMemory, SyncClock, openblas_kernel
from benchmarks.stacks import AZIMUTH_LOOKS, RANGE_LOOKS, Case, Extent, Track, open_track
from sagwatch.engine.manifest import Manifest, RevisionSettings, read_manifest
from sagwatch.engine.network import Network
from sagwatch.engine.revision import read_revision
from sagwatch.engine.solve import Observations, solve, warm_up
from sagwatch.engine.weights import Weight, weigh
from sagwatch.engine.window import Effort

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
#: Number of the revision that a whole batch makes; updates count from 1.
WHOLE = 900


@dataclass(frozen=True)
class Task:
    """What to measure on which part of which stack, and how.

    ``updates`` acquisitions come one by one after a batch of the others. ``memory_bytes`` bounds what the engine
    holds at a time; None is its own choice. A ``large`` task says how far it is, and
    watches its own memory, without mapped files.
    """

    what: str
    folder: str
    extent: Extent
    case: Case
    weight: Weight = Weight.VARIANCE
    threads: int | None = 1
    updates: int = 0
    repeats: int = 1
    memory_bytes: int | None = None
    large: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str) -> Task:
        words = json.loads(text)
        nested = {"extent": Extent(**words["extent"]), "case": Case(**words["case"])}
        return cls(**{**words, **nested, "weight": Weight(words["weight"])})

    @property
    def settings(self) -> RevisionSettings:
        return RevisionSettings(RANGE_LOOKS, AZIMUTH_LOOKS, weight=self.weight)

    @property
    def effort(self) -> Effort:
        bound = {} if self.memory_bytes is None else {"memory_bytes": self.memory_bytes}
        return Effort(threads=self.threads, **bound)

    @property
    def track(self) -> Track:
        return open_track(Path(self.folder), self.extent)


def measure_apart(task: Task) -> dict[str, Any]:
    """Measure in a new process."""
    with tempfile.TemporaryDirectory(prefix="sagwatch-benchmark-") as folder:
        words, result = Path(folder) / "task.json", Path(folder) / "result.json"
        words.write_text(json.dumps(asdict(task)))
        environment = (
            os.environ | ONE_THREAD | {"PYTHONPATH": f"{ROOT / 'include'}:{ROOT}"} | task.environment
        )
        command = [sys.executable, "-m", "benchmarks.ours", str(words), str(result)]
        subprocess.run(command, check=True, cwd=ROOT, env=environment)
        return json.loads(result.read_text())


def begin(task: Task) -> dict[str, Any]:
    """The batch that updates follow."""
    last = task.case.epochs - 1 - task.updates
    return measure_builds(task, [1], [last], from_scratch=True)


def updates(task: Task) -> dict[str, Any]:
    """One new acquisition after the other, from stored interferograms to a stored revision."""
    epochs = range(task.case.epochs - task.updates, task.case.epochs)
    return measure_builds(task, range(2, 2 + task.updates), epochs, from_scratch=False)


def batch(task: Task) -> dict[str, Any]:
    """Everything from scratch, several times."""
    last = [task.case.epochs - 1] * task.repeats
    return measure_builds(task, range(WHOLE, WHOLE + task.repeats), last, from_scratch=True)


def measure_builds(task: Task, numbers: Any, epochs: Any, *, from_scratch: bool) -> dict[str, Any]:
    """Build revisions one after the other: seconds, bytes and memory."""
    track, taken, clocks, written, read = task.track, [], [], [], []
    before, own = Memory.read(), OwnMemory()
    if task.large:
        own.start()
    for number, epoch in zip(numbers, epochs, strict=True):
        members, files, clock = track.pairs(task.case, epoch), _files(track), SyncClock()
        began = time.perf_counter()
        with clock.watching():
            folder = track.store.build_revision(
                number, members, task.settings, track.reference, task.effort, from_scratch=from_scratch
            )
        taken.append(time.perf_counter() - began)
        clocks.append(clock.seconds())
        written.append(sum(size for entry, size in _files(track).items() if entry not in files))
        read.append(_bytes_to_read(track, read_manifest(folder)))
    after, most_own = Memory.read(), own.stop()
    return {
        "seconds": median(taken),
        "seconds_of_each": taken,
        "sync_seconds": median(clocks),
        "bytes_written": median(written),
        "bytes_to_read": median(read),
        "memory_after_imports_bytes": before.now,
        "peak_memory_bytes": max(after.most - before.now, 0),
        **({"peak_own_memory_bytes": most_own} if task.large else {}),
        "revision": str(folder),
    }


def _files(track: Track) -> dict[tuple[str, int], int]:
    """Size of each file but the interferograms, by path and inode."""
    stats = {
        path: path.stat()
        for path in track.store.folder.rglob("*.*")
        if path.parent != track.store.interferograms and path.is_file()
    }
    return {(str(path), found.st_ino): found.st_size for path, found in stats.items()}


def _bytes_to_read(track: Track, manifest: Manifest) -> int:
    """Pairs from the epoch on that was solved anew, and the checkpoint there."""
    first = manifest.epochs[manifest.first_solved]
    pairs = sum(member.reference >= first for member in manifest.members)
    checkpoints = [sealed for sealed in manifest.checkpoints if sealed.epoch == manifest.first_solved]
    return 8 * track.store.grid.pixels * pairs + sum(
        (track.store.folder / sealed.name).stat().st_size for sealed in checkpoints
    )


def compile_kernels(task: Task) -> dict[str, Any]:
    """The first calls in a process: `warm_up`, and then a batch and an update of a few pixels.

    Where the cache of compiled kernels lies is said by the task's environment.
    """
    began = time.perf_counter()
    warm_up()
    warm = time.perf_counter() - began
    batch, update = begin(task), updates(task)
    return {"warm_up": warm, "batch": batch["seconds"], "update": update["seconds"]}


def blas(_: Task) -> dict[str, Any]:
    return {"kernel": openblas_kernel()}


def in_memory(task: Task) -> dict[str, Any]:
    """The inversion alone, in turns: all pixels ours, MintPy's function on as many as its share of time allows."""
    from benchmarks.against_mintpy import MintPyInversion

    observations = observe(task.track, task.case)
    theirs = MintPyInversion(observations, task.settings.inversion)
    ours: dict[int, list[float]] = {1: [], task.effort.n_threads: []}
    for _ in range(task.repeats):
        for threads, seconds in ours.items():
            began = time.perf_counter()
            solution = solve(observations, task.settings.inversion, threads=threads)
            seconds.append(time.perf_counter() - began)
        theirs.go_on()
    return {
        "pixels": theirs.pixels,
        **{f"seconds_threads_{threads}": median(seconds) for threads, seconds in ours.items()},
        "mintpy_seconds": theirs.seconds,
        "mintpy_seconds_spread": theirs.spread,
        "mintpy_pixels_timed": theirs.done,
        "max_difference_mm": theirs.difference_mm(solution),
    }


def observe(track: Track, case: Case) -> Observations:
    """All pixels of a case in memory."""
    stack = track.store.stack(track.pairs(case))
    reference = track.reference
    return Observations(
        stack.network,
        stack.read("unwrapPhase", slice(None)),
        stack.read("coherence", slice(None)),
        stack.reference_phase(reference.row, reference.column),
    )


def largest_gap_mm(one: Path, other: Path) -> float:
    """Largest difference of two revisions of the same interferograms."""
    ours, theirs = (read_revision(folder).los_m().astype(np.float64) for folder in (one, other))
    if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return float("inf")
    return 1000 * float(np.nanmax(np.abs(ours - theirs)))


def float64_difference(seeds: int = 3, pixels: int = 300) -> dict[str, Any]:
    """Ours to a float64 solution by singular values, on networks of which up to 60 % are missing by chance."""
    worst, torn = 0.0, 0
    for seed in range(seeds):
        observations = _adversarial(np.random.default_rng(seed), 40, 3, pixels)
        settings = RevisionSettings(RANGE_LOOKS, AZIMUTH_LOOKS).inversion
        ours = solve(observations, settings, threads=1, float_type=np.float64)
        for k in np.flatnonzero(ours.n_observations > 0):
            exact = _by_singular_values(observations, k, settings.looks) * settings.metres_per_radian
            worst = max(worst, 1000 * float(np.max(np.abs(ours.los_m[:, k] - exact))))
        torn += int((ours.parts > 1).sum())
    return {"max_difference_float64_mm": worst, "float64_pixels": seeds * pixels, "float64_torn_pixels": torn}


def _adversarial(rng: np.random.Generator, epochs: int, neighbours: int, pixels: int) -> Observations:
    days = np.concatenate([[0], np.cumsum(rng.integers(6, 70, epochs - 1))])
    pairs = np.array(
        [(a, b) for a in range(epochs) for b in range(a + 1, min(a + neighbours, epochs - 1) + 1)]
    )
    phase = rng.normal(0, 5, (len(pairs), pixels)).astype(np.float32)
    phase[rng.random(phase.shape) < rng.uniform(0, 0.6, pixels)] = np.nan
    coherence = rng.random(phase.shape).astype(np.float32)
    reference = rng.normal(0, 3, len(pairs)).astype(np.float32)
    return Observations(Network(days, pairs[:, 0], pairs[:, 1]), phase, coherence, reference)


def _by_singular_values(observations: Observations, pixel: int, looks: int) -> np.ndarray:
    """Minimum-norm history of a pixel, radians."""
    network = observations.network
    seen = np.isfinite(observations.phase_rad[:, pixel])
    design = np.zeros((network.n_pairs, network.n_epochs - 1))
    for row, a, b in zip(design, network.earlier, network.later, strict=True):
        row[a:b] = network.steps_year[a:b]
    root = np.sqrt(weigh(observations.coherence[:, pixel], Weight.VARIANCE, looks)[seen])
    y = (observations.phase_rad[:, pixel] - observations.reference_phase_rad).astype(np.float64)[seen]
    speed = np.linalg.lstsq(design[seen] * root[:, None], y * root, rcond=1e-11)[0]
    return np.concatenate([[0.0], np.cumsum(speed * network.steps_year)])


MEASUREMENTS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "begin": begin,
    "updates": updates,
    "batch": batch,
    "in_memory": in_memory,
    "compile": compile_kernels,
    "blas": blas,
}


def main() -> int:
    words, result = (Path(word) for word in sys.argv[1:])
    task = Task.from_json(words.read_text())
    if task.large:
        logging.basicConfig(level=logging.INFO, format="          %(message)s", stream=sys.stdout)
    if task.what not in ("compile", "blas"):
        warm_up()
    result.write_text(json.dumps(MEASUREMENTS[task.what](task)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
