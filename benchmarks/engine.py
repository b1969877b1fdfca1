"""The engine beside MintPy and its peers, on the same synthetic stacks, in one run: ``make bench-engine JSON=FILE``.

Every stack lies on the disk as Sagwatch stores interferograms. Ours: a batch, then updates by one acquisition each,
from stored interferogram files to stored series, velocity and quality, synced to the disk. MintPy: its own programs
``ifgram_inversion`` and ``timeseries2velocity``, as a new acquisition makes them run again, with one thread, which is
its fastest. MintPy inverts pixel by pixel, so it is run on two random samples of the pixels; the time of the whole
stack is the fixed part plus the time of a pixel times the number of pixels. Peers are made in environments of their
own (`benchmarks.peers`); one that cannot be installed is reported as absent.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np

from benchmarks.peers import peer_seconds
from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, read_manifest
from sagwatch.engine.mintpy_programs import Sample, compare_with_mintpy, export_mintpy, run_program
from sagwatch.engine.network import Network
from sagwatch.engine.revision import read_revision
from sagwatch.engine.solve import Observations, solve, warm_up
from sagwatch.engine.store import TrackStore
from sagwatch.engine.weights import Weight, weigh
from sagwatch.engine.window import Effort

SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)
PARAMETERS = {
    "Reference Granule": "S1_021697_IW3_20240111T103702_VV_AAAA-BURST",
    "Secondary Granule": "S1_021697_IW3_20240123T103702_VV_BBBB-BURST",
    "Reference Orbit Number": "60141",
    "Baseline": "33.9",
    "UTC time": "38222.201944",
    "Heading": "-13.3101122688203",
    "Spacecraft height": "693000.0",
    "Earth radius at nadir": "6370000.5",
    "Slant range near": "849199.1730339259",
    "Range looks": "20",
    "Azimuth looks": "4",
    "Unwrapping type": "snaphu_mcf",
}


@dataclass(frozen=True)
class Case:
    """A synthetic stack: ``updates`` of its epochs come one by one after a batch of the others."""

    epochs: int
    neighbours: int
    gaps: bool
    updates: int
    side: int

    @property
    def name(self) -> str:
        return f"{self.epochs} epochs, {self.neighbours} neighbours, {'gaps' if self.gaps else 'complete'}"


@dataclass(frozen=True)
class Made:
    """A stack on the disk."""

    case: Case
    store: TrackStore
    members: tuple[StoredInterferogram, ...]
    dates: tuple[date, ...]
    reference: ReferencePoint

    def until(self, epoch: int) -> list[StoredInterferogram]:
        return [member for member in self.members if member.secondary <= self.dates[epoch]]


def make_stack(folder: Path, case: Case, seed: int = 1) -> Made:
    """Bowls that sink, a season, smooth air, decorrelation noise; with gaps, patches of each pair are missing."""
    rng = np.random.default_rng(seed)
    side = case.side
    grid = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=side, rows=side)
    store = TrackStore(folder, grid)
    dates = tuple(date(2016, 1, 1) + timedelta(days=12 * i) for i in range(case.epochs))
    rows, columns = np.mgrid[:side, :side] / side
    bowl = np.exp(-((rows - 0.6) ** 2 + (columns - 0.55) ** 2) / 0.01)
    years = np.arange(case.epochs) * 12 / 365.25
    air = [_smooth(rng, side) for _ in range(case.epochs)]
    motion = [
        14.0 * year * bowl + 1.5 * np.sin(2 * np.pi * year) * rows + a
        for year, a in zip(years, air, strict=True)
    ]
    base = np.clip(0.6 + 0.25 * _smooth(rng, side), 0.15, 0.95)
    water = rows > 0.95
    reference = ReferencePoint(side // 8, side // 8)
    members = []
    for a in range(case.epochs):
        for b in range(a + 1, min(a + case.neighbours, case.epochs - 1) + 1):
            coherence = np.clip(base + rng.normal(0, 0.05, grid.shape), 0.05, 0.98)
            noise = rng.normal(0, 1, grid.shape) * np.sqrt((1 - coherence**2) / (2 * 41 * coherence**2))
            phase = motion[b] - motion[a] + noise + rng.uniform(-9, 9)
            if case.gaps:
                phase[(coherence < 0.3) | (_smooth(rng, side) > 1.6)] = 0.0
            phase[water] = 0.0
            phase[reference.row, reference.column] = rng.uniform(1, 2)
            layers = Layers.from_product(phase.astype(np.float32), coherence.astype(np.float32))
            identity = f"{len(members):032x}"
            name = f"S1_021697_IW3_{dates[a]:%Y%m%d}_{dates[b]:%Y%m%d}_VV_INT80_{len(members):04X}"
            digest = store.write_interferogram(identity, layers, product_attributes(name, PARAMETERS, grid))
            members.append(StoredInterferogram(dates[a], dates[b], identity, digest, 33.9))
    flat = np.full(grid.shape, 0.8)
    geometry = Geometry.from_product(100 * flat, flat, -3 * flat, (~water).astype(np.uint8))
    store.write_geometry(geometry, product_attributes(name, PARAMETERS, grid))
    return Made(case, store, tuple(members), dates, reference)


def _smooth(rng: np.random.Generator, side: int) -> np.ndarray:
    """A smooth random field of standard deviation 1."""
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
    distance = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side + 1.0
    field = np.fft.irfft2(spectrum / distance**2, (side, side))
    return (field - field.mean()) / field.std()


def measure_ours(made: Made, threads: int) -> dict[str, Any]:
    """Times of a batch and of each update, with files, and what they need."""
    effort, case = Effort(threads=threads), made.case
    first = case.epochs - 1 - case.updates

    def build(number: int, epoch: int, *, from_scratch: bool = False) -> tuple[Path, float]:
        began = time.perf_counter()
        folder = made.store.build_revision(
            number, made.until(epoch), SETTINGS, made.reference, effort, from_scratch=from_scratch
        )
        return folder, time.perf_counter() - began

    build(1, first)
    seconds = []
    for step in range(1, case.updates + 1):
        folder, took = build(1 + step, first + step)
        seconds.append(took)
    batch_folder, batch_seconds = build(900, case.epochs - 1, from_scratch=True)
    manifest = read_manifest(folder)
    ours, batch = read_revision(folder), read_revision(batch_folder)
    known = np.isfinite(batch.los_m())
    gap_mm = 1000 * np.abs(ours.los_m().astype(np.float64) - batch.los_m())[known].max()
    pixels = case.side**2
    fresh = [sealed for sealed in manifest.series if sealed.epoch >= manifest.first_solved]
    written = sum(entry["bytes"] for entry in manifest.files.values())
    written += sum((made.store.folder / sealed.name).stat().st_size for sealed in fresh)
    window_pairs = sum(member.reference >= made.dates[manifest.first_solved] for member in manifest.members)
    state = sum((made.store.folder / sealed.name).stat().st_size for sealed in manifest.checkpoints[-1:])
    return {
        "update_seconds": median(seconds),
        "update_seconds_all": seconds,
        "update_bytes": written + 8 * pixels * window_pairs + state,
        "batch_end_to_end_seconds": batch_seconds,
        "max_difference_batch_mm": float(gap_mm),
        "state_bytes_per_pixel": state / pixels,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "revision": str(folder),
    }


def measure_mintpy(made: Made, revision: Path, sizes: tuple[int, int]) -> dict[str, Any]:
    """Seconds of MintPy's two programs for all pixels that it inverts, and our difference to it on a sample."""
    ours = read_revision(revision)
    eligible = ours.layers.land & ours.layers.redundant & (ours.layers.n_observations > 0)
    with tempfile.TemporaryDirectory(prefix="bench-mintpy-", dir=made.store.folder) as scratch:
        folder = export_mintpy(revision, Path(scratch) / "export")
        took = []
        for size in sizes:
            with h5py.File(folder / "waterMask.h5", "r+") as file:
                file["waterMask"][:] = Sample(size, 1).draw(eligible)
            began = time.perf_counter()
            run_program(
                "ifgram_inversion", ["inputs/ifgramStack.h5", "-w", "var", "-m", "waterMask.h5"], folder
            )
            run_program("timeseries2velocity", ["timeseries.h5", "-o", "velocity.h5"], folder)
            took.append(time.perf_counter() - began)
    pixel_seconds = (took[1] - took[0]) / (sizes[1] - sizes[0])
    differences = compare_with_mintpy(revision, sample=Sample(sizes[1], 2))
    return {
        "sample_pixels": sizes,
        "sample_seconds": took,
        "pixels_inverted": int(eligible.sum()),
        "pixel_seconds": pixel_seconds,
        "seconds": took[0] + pixel_seconds * (int(eligible.sum()) - sizes[0]),
        "max_difference_mm": differences.max_mm,
        "counts_that_differ": differences.counts_that_differ,
    }


def measure_in_memory(made: Made, mintpy_pixels: int) -> dict[str, Any]:
    """The inversion alone, one thread each: all pixels ours, MintPy's function on some of them."""
    from mintpy.ifgram_inversion import estimate_timeseries

    stack = made.store.stack(made.members)
    phase, coherence = stack.read("unwrapPhase", slice(None)), stack.read("coherence", slice(None))
    reference = stack.reference_phase(made.reference.row, made.reference.column)
    observations = Observations(stack.network, phase, coherence, reference)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        solve(observations, SETTINGS.inversion, threads=1)
        took.append(time.perf_counter() - began)
    design, intervals = _mintpy_design(stack.network)
    seen = np.flatnonzero(np.isfinite(phase).sum(axis=0) > phase.shape[0] // 2)[:mintpy_pixels]
    weights = np.sqrt(weigh(coherence[:, seen], Weight.VARIANCE, SETTINGS.inversion.looks)).astype(np.float32)
    values = (phase[:, seen] - reference[:, None]).astype(np.float32)
    began = time.perf_counter()
    for k in range(seen.size):
        estimate_timeseries(
            design[0], design[1], values[:, k : k + 1], intervals, weights[:, k : k + 1], print_msg=False
        )
    theirs = (time.perf_counter() - began) / seen.size
    land = int((np.isfinite(phase).any(axis=0)).sum())
    return {
        "seconds": median(took),
        "pixels": land,
        "mintpy_seconds": theirs * land,
        "mintpy_sample": int(seen.size),
    }


def _mintpy_design(network: Network) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """MintPy's two design matrices and its intervals in years, as a column."""
    years = (network.days / 365.25).astype(np.float32)
    position = np.zeros((network.n_pairs, network.n_epochs), np.float32)
    speed = np.zeros((network.n_pairs, network.n_epochs - 1), np.float32)
    intervals = np.diff(years)
    for i, (a, b) in enumerate(zip(network.earlier, network.later, strict=True)):
        position[i, a], position[i, b] = -1, 1
        speed[i, a:b] = intervals[a:b]
    return (position[:, 1:], speed), intervals.reshape(-1, 1)


def float64_difference_mm(seed: int = 3, pixels: int = 400) -> float:
    """Ours to a float64 singular value decomposition, where 30 of 100 observations are missing by chance."""
    rng = np.random.default_rng(seed)
    n = 40
    days = np.concatenate([[0], np.cumsum(rng.integers(6, 70, n - 1))])
    pairs = np.array([(a, b) for a in range(n) for b in range(a + 1, min(a + 3, n - 1) + 1)])
    network = Network(days, pairs[:, 0], pairs[:, 1])
    phase = rng.normal(0, 5, (len(pairs), pixels)).astype(np.float32)
    phase[rng.random(phase.shape) < rng.uniform(0, 0.6, pixels)] = np.nan
    coherence = rng.random(phase.shape).astype(np.float32)
    reference = rng.normal(0, 3, len(pairs)).astype(np.float32)
    inversion = SETTINGS.inversion
    ours = solve(Observations(network, phase, coherence, reference), inversion, float_type=np.float64)
    worst = 0.0
    for k in range(pixels):
        seen = np.isfinite(phase[:, k])
        design = np.zeros((len(pairs), n - 1))
        for i, (a, b) in enumerate(pairs):
            design[i, a:b] = network.steps_year[a:b]
        root = np.sqrt(weigh(coherence[:, k], Weight.VARIANCE, inversion.looks)[seen])
        y = (phase[:, k] - reference).astype(np.float64)[seen]
        speed = np.linalg.lstsq(design[seen] * root[:, None], y * root, rcond=1e-11)[0]
        series = np.concatenate([[0.0], np.cumsum(speed * network.steps_year)]) * inversion.metres_per_radian
        worst = max(worst, float(np.max(np.abs(ours.los_m[:, k] - series))) * 1000)
    return worst


def copy_bytes_per_second(folder: Path, size: int = 2**26) -> float:
    """What a plain copy of a file reaches, read and written and synced."""
    source, target = folder / "copy-source", folder / "copy-target"
    source.write_bytes(os.urandom(size))
    began = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    source.unlink()
    target.unlink()
    return 2 * size / took


def run_apart(case: Case, folder: Path, threads: int, what: str) -> dict[str, Any]:
    """Measure in a process of its own, so that its memory is its own."""
    words = [str(getattr(case, name)) for name in ("epochs", "neighbours", "gaps", "updates", "side")]
    command = [sys.executable, "-m", "benchmarks.engine", "--apart", what, str(folder), str(threads), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def reopen(folder: Path, case: Case) -> Made:
    """A stack that another process made."""
    content = json.loads((folder / "members.json").read_text())
    members = tuple(
        StoredInterferogram(date.fromisoformat(a), date.fromisoformat(b), i, digest, baseline)
        for a, b, i, digest, baseline in content
    )
    side = case.side
    grid = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=side, rows=side)
    dates = tuple(sorted({day for m in members for day in (m.reference, m.secondary)}))
    return Made(case, TrackStore(folder, grid), members, dates, ReferencePoint(side // 8, side // 8))


def keep(made: Made) -> None:
    entries = [
        [m.reference.isoformat(), m.secondary.isoformat(), m.id, m.sha256, m.perpendicular_baseline_m]
        for m in made.members
    ]
    (made.store.folder / "members.json").write_text(json.dumps(entries))


def measure(side: int, sample: tuple[int, int], updates: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    """All cases, one after the other; each stack is deleted before the next one is made."""
    cases = [Case(epochs, 2, True, updates, side) for epochs in sizes]
    cases += [
        Case(sizes[-1], 4, True, min(updates, 5), side),
        Case(sizes[-1], 2, False, min(updates, 5), side),
    ]
    began = time.perf_counter()
    warm_up()
    result: dict[str, Any] = {"warm_up_seconds": time.perf_counter() - began, "cases": []}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="bench-engine-") as name:
            folder = Path(name) / "track"
            keep(made := make_stack(folder, case))
            ours = {f"threads_{n}": run_apart(case, folder, n, "ours") for n in (1,)}
            entry: dict[str, Any] = {"name": case.name, "ours": ours["threads_1"]}
            entry["copy_bytes_per_second"] = copy_bytes_per_second(folder)
            if case.neighbours == 2 and case.gaps:
                entry["mintpy"] = measure_mintpy(made, Path(ours["threads_1"]["revision"]), sample)
            if case.epochs == sizes[-1] and case.neighbours == 2:
                entry["in_memory"] = run_apart(case, folder, 1, "memory")
            if not case.gaps:
                entry["peers"] = peer_seconds(made.store.stack(made.members), made.reference)
            result["cases"].append(entry)
            print(json.dumps(entry), flush=True)
    return result | summary(result["cases"], sizes, side)


def summary(cases: list[dict[str, Any]], sizes: tuple[int, ...], side: int) -> dict[str, Any]:
    """The keys that the README quotes; the longest record stands for 240 epochs."""
    gappy = dict(zip(sizes, cases, strict=False))
    longest, shortest, complete = gappy[sizes[-1]], gappy[sizes[0]], cases[-1]
    ours, mintpy = longest["ours"], longest["mintpy"]
    memory = longest["in_memory"]
    rate = ours["update_bytes"] / ours["update_seconds"]
    peers = complete["peers"]
    unweighted = {
        f"batch_speedup_vs_{name.replace('-', '_')}_{sizes[-1]}": (
            peer["seconds"] / peer["ours_seconds"] if "seconds" in peer else f"absent: {peer['absent']}"
        )
        for name, peer in peers.items()
    }
    return {
        "pixels": side**2,
        f"update_speedup_vs_mintpy_{sizes[-1]}": mintpy["seconds"] / ours["update_seconds"],
        f"batch_speedup_vs_mintpy_{sizes[-1]}": memory["mintpy_seconds"] / memory["seconds"],
        f"batch_end_to_end_speedup_{sizes[-1]}": mintpy["seconds"] / ours["batch_end_to_end_seconds"],
        **unweighted,
        f"update_growth_{sizes[0]}_to_{sizes[-1]}": ours["update_seconds"]
        / shortest["ours"]["update_seconds"],
        "max_difference_mm": max(case["mintpy"]["max_difference_mm"] for case in gappy.values()),
        "counts_that_differ": sum(case["mintpy"]["counts_that_differ"] for case in gappy.values()),
        "max_difference_float64_mm": float64_difference_mm(),
        "max_difference_batch_mm": max(case["ours"]["max_difference_batch_mm"] for case in cases),
        "bandwidth_fraction": rate / longest["copy_bytes_per_second"],
        "peak_memory_bytes_per_pixel": ours["peak_memory_bytes"] / side**2,
        "state_bytes_per_pixel": ours["state_bytes_per_pixel"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", type=int, default=300, help="pixels of one side of the square")
    parser.add_argument("--epochs", default="60,120,240")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--sample", default="500,2500", help="pixels that MintPy inverts in its two runs")
    parser.add_argument("--apart", nargs=8, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.apart:
        what, folder, threads, epochs, neighbours, gaps, updates, side = wish.apart
        case = Case(int(epochs), int(neighbours), gaps == "True", int(updates), int(side))
        made = reopen(Path(folder), case)
        warm_up()
        print(
            json.dumps(measure_ours(made, int(threads)) if what == "ours" else measure_in_memory(made, 1000))
        )
        return 0
    if wish.json is None:
        parser.error("say where the figures go: --json FILE")
    load = os.getloadavg()[0]
    small, large = (int(word) for word in wish.sample.split(","))
    figures = measure(
        wish.side, (small, large), wish.updates, tuple(int(word) for word in wish.epochs.split(","))
    )
    figures |= {
        "load_before": load,
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
    }
    wish.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({key: value for key, value in figures.items() if key != "cases"}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
