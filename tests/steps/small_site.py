"""A site on the small simulated world, and the whole way from catalogue to interferograms in a few words."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import text

from sagwatch.adapters.asf import AsfCatalogue
from sagwatch.adapters.clock import CloudClock
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.hyp3 import Hyp3Cloud
from sagwatch.domain.site import GridRules, Site, Track
from sagwatch.settings import ProductSettings
from sagwatch.simulation.cloud import Cloud
from sagwatch.simulation.running import RunningCloud
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.server import create_app
from sagwatch.simulation.world import ScenarioWorld
from sagwatch.steps.detect_scenes import Detected, detect_scenes
from sagwatch.steps.fetch_product import FetchResult, fetch_product
from sagwatch.steps.plan_pairs import Planned, plan_pairs
from sagwatch.steps.sense_jobs import Sensed, sense_jobs
from sagwatch.steps.submit_jobs import submit_jobs
from tests.simulation.small_world import write_small_world

PATIENCE_SECONDS = 60

#: A grid inside the small world, 80 m.
GRID = GridRules(epsg=32649, west=482320, north=4142560, pixel_m=80, columns=30, rows=38)
BOUNDARY = {
    "type": "Polygon",
    "coordinates": [[[110.80, 37.40], [110.83, 37.40], [110.83, 37.43], [110.80, 37.43], [110.80, 37.40]]],
}


def burst_track(direction: str, *bursts: str, grid: GridRules = GRID, **changes: Any) -> Track:
    orbit = int(bursts[0][:3])
    words = {
        "site": "small",
        "name": f"t{orbit:03d}{direction[0]}",
        "relative_orbit": orbit,
        "direction": direction,
        "bursts": bursts,
        "looks": "20x4",
        "grid": grid,
    }
    return Track(**(words | changes))


def small_site(*bursts: str, grid: GridRules = GRID, **changes: Any) -> Site:
    track = burst_track("ascending", *(bursts or ("011_021697_IW3",)), grid=grid)
    words = {
        "name": "small",
        "title": "A small mine",
        "boundary": BOUNDARY,
        "start": date(2024, 1, 1),
        "tracks": [track.model_dump()],
    }
    return Site.model_validate(words | changes)


@dataclass
class SmallSystem:
    """One track of a site, its ledger and its simulated cloud."""

    sim: RunningCloud
    ledger: Ledger
    data: Path
    site: Site
    token: str = "any"
    pause_seconds: float = 0.0
    attempts: int = 2
    results: list[FetchResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger.sites.sync([self.site], self.now)

    @property
    def track(self) -> Track:
        return self.site.tracks[0]

    @property
    def now(self):
        return CloudClock(self.sim.url).now()

    @property
    def cloud(self) -> Hyp3Cloud:
        return Hyp3Cloud(self.sim.url, self.token, lookup_pause_seconds=self.pause_seconds)

    def with_site(self, **changes: Any) -> SmallSystem:
        """The same system with another configuration of the site."""
        site = Site.model_validate(self.site.model_dump() | changes)
        return replace(self, site=site, results=[])

    def detect(self) -> Detected:
        return detect_scenes(self.site, self.track, AsfCatalogue(self.sim.url), self.ledger, self.now)

    def plan(self) -> Planned:
        return plan_pairs(self.site, self.track, self.ledger, self.now)

    def submit(self) -> list[str]:
        return submit_jobs(self.site, self.track, self.cloud, self.ledger, self.now)

    def sense(self) -> Sensed:
        return sense_jobs(self.site, self.track, self.cloud, self.ledger, self.now)

    def wait(self) -> tuple[str, ...]:
        """Names of jobs whose product is ready, once no job runs any more."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (sensed := self.sense()).open:
            assert time.monotonic() < end, f"{sensed.open} jobs are still open"
            time.sleep(0.05)
        return sensed.finished

    def fetch(self, name: str) -> FetchResult:
        return fetch_product(
            name,
            self.site,
            self.track,
            self.cloud,
            self.ledger,
            self.data,
            self.now,
            ProductSettings(attempts=self.attempts),
            pause_seconds=0,
        )

    def fetch_all(self) -> list[FetchResult]:
        return [self.fetch(name) for name in self.wait()]

    def run(self) -> list[FetchResult]:
        """The whole way once."""
        self.detect()
        self.plan()
        self.submit()
        return self.fetch_all()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.ledger.begin() as session:
            return [tuple(row) for row in session.execute(text(statement))]

    def execute(self, *statements: str) -> None:
        """Do what only a disaster would."""
        with self.ledger.begin() as session:
            for statement in statements:
                session.execute(text(statement))

    def requests_to_hyp3(self) -> int:
        """How often the cloud was asked anything about jobs or the account."""
        counts = self.sim.get("/requests")
        return sum(count for path, count in counts.items() if "/jobs" in path or "/user" in path)

    def states(self) -> dict[date, str]:
        return dict(self.query("SELECT date, state FROM sagwatch.acquisition ORDER BY date"))

    def jobs_at_hyp3(self) -> list[str]:
        """Names of all jobs that the cloud has stored, and been paid for."""
        return sorted(job.name or "" for job in self.cloud._hyp3.find_jobs().jobs)


@contextmanager
def cloud_in_a_thread(folder: Path, scenario: Path) -> Iterator[RunningCloud]:
    """The simulated cloud over HTTP, but in this process: it starts in a tenth of a second."""
    cloud = Cloud(ScenarioWorld(read_scenario(str(scenario))), folder)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(cloud), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    cloud.maker.start()
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield RunningCloud(None, f"http://127.0.0.1:{listener.getsockname()[1]}", 0, folder)  # type: ignore[arg-type]
    finally:
        server.should_exit = True
        thread.join()
        cloud.maker.stop()
        cloud.state.close()
        listener.close()


@contextmanager
def small_system(
    folder: Path, ledger: Ledger, site: Site | None = None, **changes: Any
) -> Iterator[SmallSystem]:
    """A running small world with a site on it."""
    data = folder / "data"
    data.mkdir()
    scenario = write_small_world(folder, credits_per_month="8000")
    with cloud_in_a_thread(folder / "cloud", scenario) as sim:
        yield SmallSystem(sim, ledger, data, site or small_site(), **changes)
