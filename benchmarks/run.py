"""How long a run takes, step by step, and how much memory it needs: `make bench-run JSON=FILE [SIZES=40,20]`.

For each size it takes the demonstration's site over the simulated ground with smaller pixels, and lets it live
through a first fill and some live acquisitions, in a process of its own, against a throw-away PostGIS. What the
simulated cloud needs to make its products is waited for and told apart: in real life that happens at ASF. Keys of the
JSON: README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE_FILE = ROOT / "include" / "sites" / "demonstration" / "shaqu.yaml"
SCENARIO = "shaqu"
LOOKS = {80: "20x4", 40: "10x2", 20: "5x1"}
SIZES_M = (40, 20)
FIRST_FILL, LIVE = 12, 4
#: The step that waits for HyP3; here it is the simulator that works meanwhile.
WAITING = "wait_for_jobs"
PACKAGES = ("numpy", "numba", "h5py", "rasterio", "mintpy", "hyp3_sdk", "asf_search", "SQLAlchemy", "psycopg")


@dataclass
class StepTimes:
    """A stopwatch that is told when a step begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    _step: str | None = None
    _since: float = 0.0

    def begin(self, step: str) -> None:
        self.stop()
        self._step, self._since = step, time.perf_counter()

    def stop(self) -> None:
        if self._step is not None:
            spent = time.perf_counter() - self._since
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + spent
        self._step = None

    @property
    def waited(self) -> float:
        return self.seconds.get(WAITING, 0.0)

    @property
    def ours(self) -> dict[str, float]:
        """Seconds of each step but the waiting."""
        return {step: spent for step, spent in self.seconds.items() if step != WAITING}


@dataclass(frozen=True)
class Watched:
    """One call of the whole way; ``seconds`` without the waiting for the simulator."""

    newest_acquisition: str
    acquisitions: int
    interferograms: int
    seconds: float
    steps: dict[str, float]
    simulator_seconds: float


def measure(pixel_m: int, database_url: str, folder: Path) -> dict[str, Any]:
    """Let one site live and return its figures; to be called in a process of its own, for the sake of its memory."""
    from sagwatch.adapters.asf import AsfCatalogue
    from sagwatch.adapters.clock import CloudClock
    from sagwatch.adapters.database.ledger import Ledger
    from sagwatch.adapters.database.migrate import migrate
    from sagwatch.adapters.hyp3 import Hyp3Cloud
    from sagwatch.adapters.site_files import read_site
    from sagwatch.simulation.running import RunningCloud, start
    from sagwatch.steps.watch_track import Tools, watch_track

    site = read_site(write_site(pixel_m, folder))
    track = site.tracks[0]
    migrate(database_url)
    ledger = Ledger(database_url)
    imports_mb = peak_memory_mb()

    def watch_until(cloud: RunningCloud, count: int, before: int) -> Watched:
        newest = cloud.show(count)[-1]["date"]
        pairs_before = len(ledger.revisions.accepted_interferograms(track.id))
        hyp3 = Hyp3Cloud(cloud.url, token="benchmark", lookup_pause_seconds=0.1)
        tools = Tools(ledger, AsfCatalogue(cloud.url), hyp3, CloudClock(cloud.url), folder / "data")
        times = StepTimes()
        watch_track(site, track, tools, poll_seconds=0.5, on_step=times.begin)
        times.stop()
        pairs = len(ledger.revisions.accepted_interferograms(track.id)) - pairs_before
        steps = {step: round(spent, 3) for step, spent in times.ours.items()}
        total = round(sum(times.ours.values()), 3)
        return Watched(newest, count - before, pairs, total, steps, round(times.waited, 3))

    with start(folder / "cloud", scenario=SCENARIO, job_seconds=0) as cloud:
        first_fill = watch_until(cloud, FIRST_FILL, 0)
        live = [watch_until(cloud, FIRST_FILL + n, FIRST_FILL + n - 1) for n in range(1, LIVE + 1)]
        peak_mb = peak_memory_mb()  # here, because the simulator is our child too, but has not ended yet
    ledger.close()
    grid = track.grid
    return {
        "pixels": grid.columns * grid.rows,
        "columns": grid.columns,
        "rows": grid.rows,
        "pixel_m": grid.pixel_m,
        "first_fill": asdict(first_fill),
        "live": [asdict(one) for one in live],
        "live_median_seconds": round(statistics.median(one.seconds for one in live), 3),
        "live_median_steps": {
            step: round(statistics.median(one.steps[step] for one in live), 3) for step in live[0].steps
        },
        "peak_memory_mb": peak_mb,
        "memory_after_imports_mb": imports_mb,
        "data_mb": round(_size(folder / "data") / 1e6, 1),
        "ledger_mb": round(_ledger_size(database_url) / 1e6, 1),
    }


def write_site(pixel_m: int, folder: Path) -> Path:
    """The demonstration's site with pixels of another size over the same area."""
    words = yaml.safe_load(SITE_FILE.read_text(encoding="utf-8"))
    for track in words["tracks"]:
        finer = track["grid"]["pixel_m"] / pixel_m
        track["looks"] = LOOKS[pixel_m]
        track["grid"] |= {
            "pixel_m": pixel_m,
            "columns": round(track["grid"]["columns"] * finer),
            "rows": round(track["grid"]["rows"] * finer),
        }
    words["credits"] = {"per_month": 8000, "reserve": 0}
    file = folder / SITE_FILE.name
    file.write_text(yaml.safe_dump(words), encoding="utf-8")
    return file


def peak_memory_mb() -> float:
    """The most memory that this process, or one of its ended children, ever had resident."""
    most_kb = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return round(most_kb / 1024, 1)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _ledger_size(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "",
    )
    memory_kb = next(
        (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
    )
    return {
        "cpu": cpu or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": memory_kb // 1024,
        "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines() if Path(file).exists() else []


def versions(database_url: str) -> dict[str, str]:
    """Of everything that the figures depend on."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS postgis")
        row = connection.execute("SELECT current_setting('server_version'), postgis_lib_version()").fetchone()
    assert row is not None
    known = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "postgresql": row[0], "postgis": row[1], **known}


def run(sizes_m: Sequence[int], folder: Path) -> dict[str, Any]:
    """Measure every size, one after the other, each in a new process with a new database."""
    from launcher.cluster import temporary_cluster

    found: dict[str, Any] = {
        "benchmark": "run",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sites": [],
    }
    with temporary_cluster() as cluster:
        for pixel_m in sizes_m:
            name = f"pixels_of_{pixel_m}_m"
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            found["sites"].append(_in_a_process_of_its_own(pixel_m, cluster.url(name), folder / name))
        found["versions"] = versions(cluster.url("postgres"))
    return found


def _in_a_process_of_its_own(pixel_m: int, database_url: str, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    result = folder / "result.json"
    command = [sys.executable, "-m", "benchmarks.run", "--one", str(pixel_m), "--folder", str(folder)]
    with _seconds(f"pixels of {pixel_m} m"):
        # The address has a password in it, so it does not travel on the command line.
        environment = os.environ | {"SAGWATCH_BENCHMARK_DATABASE_URL": database_url}
        subprocess.run([*command, "--json", str(result)], check=True, cwd=ROOT, env=environment)
    figures: dict[str, Any] = json.loads(result.read_text())
    print(_in_short(figures), flush=True)
    return figures


@contextmanager
def _seconds(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{what}: first fill of {FIRST_FILL} acquisitions, then {LIVE} live ones ...", flush=True)
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s in all", flush=True)


def _in_short(figures: dict[str, Any]) -> str:
    fill, steps = figures["first_fill"], figures["live_median_steps"]
    return "\n".join(
        [
            f"  {figures['pixels']:,} pixels, peak memory {figures['peak_memory_mb']:.0f} MB",
            f"  first fill {fill['seconds']:.1f} s for {fill['interferograms']} interferograms "
            f"(and {fill['simulator_seconds']:.1f} s of waiting for the simulator)",
            f"  a live acquisition {figures['live_median_seconds']:.1f} s: "
            + ", ".join(f"{step} {spent:.2f}" for step, spent in steps.items()),
        ]
    )


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(word) if word.strip().isdigit() else 0 for word in text.split(","))
    if any(size not in LOOKS for size in sizes):
        raise argparse.ArgumentTypeError(
            f"{text!r}: name pixel sizes in metres out of {sorted(LOOKS)}, as 40,20"
        )
    return sizes


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--sizes", type=_sizes, default=SIZES_M, help="pixel sizes in metres, as 40,20")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    wish = parser.parse_args(words)
    if wish.one is not None:
        found = measure(wish.one, os.environ["SAGWATCH_BENCHMARK_DATABASE_URL"], wish.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="sagwatch-benchmark-") as folder:
            found = run(wish.sizes, Path(folder))
    wish.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
