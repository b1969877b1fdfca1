"""The whole way of one track in one call: what a run of its DAG does, without Airflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.site import Site, Track
from sagwatch.errors import StopAndAskError, TryAgainError
from sagwatch.steps.detect_scenes import detect_scenes
from sagwatch.steps.fetch_product import fetch_product
from sagwatch.steps.fetch_weather import fetch_weather
from sagwatch.steps.plan_pairs import plan_pairs
from sagwatch.steps.ports import Catalogue, Clock, InsarCloud, WeatherStore
from sagwatch.steps.publish_revision import Published, publish_revision
from sagwatch.steps.sense_jobs import sense_jobs
from sagwatch.steps.submit_jobs import submit_jobs
from sagwatch.steps.update_stack import update_stack

log = logging.getLogger(__name__)


def _no_weather() -> WeatherStore:
    raise StopAndAskError(
        "this site wants weather data, and no weather store is connected (Connection sagwatch_cds)"
    )


@dataclass(frozen=True)
class Tools:
    """Everything outside that a track's way needs."""

    ledger: Ledger
    catalogue: Catalogue
    cloud: InsarCloud
    clock: Clock
    data: Path
    weather: Callable[[], WeatherStore] = _no_weather


def watch_track(
    site: Site,
    track: Track,
    tools: Tools,
    poll_seconds: float = 60,
    patience_seconds: float = 18_000,
    on_step: Callable[[str], None] = log.debug,
) -> Published | None:
    """Detect, plan, order, wait, fetch, solve, judge and publish.

    After ``patience_seconds`` it goes on with what there is; the next call picks up the rest. ``on_step`` is told
    the name of each step before it begins.

    Raises
    ------
    SagwatchError
        A step failed; calling again goes on from there.
    """
    ledger, now = tools.ledger, tools.clock.now
    on_step("detect_scenes")
    ledger.sites.sync_site(site, now())
    detect_scenes(site, track, tools.catalogue, ledger, now())
    on_step("plan_pairs")
    plan_pairs(site, track, ledger, now())
    on_step("submit_jobs")
    submit_jobs(site, track, tools.cloud, ledger, now())
    on_step("wait_for_jobs")
    finished = _wait(site, track, tools, poll_seconds, patience_seconds)
    on_step("fetch_product")
    for job_name in finished:
        fetch_product(job_name, site, track, tools.cloud, ledger, tools.data, now())
    if site.corrections.troposphere.is_fetched:
        on_step("fetch_weather")
        fetch_weather(site, track, tools.weather, ledger, tools.data, now())
    on_step("update_stack")
    update_stack(site, track, ledger, tools.data, now())
    on_step("publish_revision")
    return publish_revision(site, track, ledger, tools.data, now())


def _wait(
    site: Site, track: Track, tools: Tools, poll_seconds: float, patience_seconds: float
) -> tuple[str, ...]:
    give_up_at = time.monotonic() + patience_seconds
    while True:
        sensed = None
        try:
            sensed = sense_jobs(site, track, tools.cloud, tools.ledger, tools.clock.now())
        except TryAgainError as problem:
            if time.monotonic() >= give_up_at:
                raise
            log.warning("%s: %s; asking again", track.id, problem)
        if sensed is not None and (not sensed.open or time.monotonic() >= give_up_at):
            return sensed.finished
        time.sleep(poll_seconds)
