"""The tasks' bodies: find the outside through the wiring, run one step, hand on nothing but ids.

Steps are imported when a task runs, so that reading a DAG file stays cheap.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sagwatch.orchestration import wiring

if TYPE_CHECKING:
    from sagwatch.steps.fetch_product import FetchResult
    from sagwatch.steps.publish_revision import Published
    from sagwatch.steps.sense_jobs import Sensed

log = logging.getLogger(__name__)


def detect_scenes(site_name: str, track_name: str) -> None:
    """Ask the catalogue what is new over a track."""
    from sagwatch.steps.detect_scenes import detect_scenes as step

    site = wiring.site(site_name)
    ledger, as_of = wiring.ledger(), wiring.clock().now()
    ledger.sites.sync_site(site, as_of)
    step(site, site.track(track_name), wiring.catalogue(), ledger, as_of)


def plan_pairs(site_name: str, track_name: str) -> None:
    """Bring the wanted pairs of a track up to date."""
    from sagwatch.steps.plan_pairs import plan_pairs as step

    site = wiring.site(site_name)
    step(site, site.track(track_name), wiring.ledger(), wiring.clock().now())


def submit_jobs(site_name: str, track_name: str) -> list[str]:
    """Order what is missing; return the names of the open jobs."""
    from sagwatch.steps.submit_jobs import submit_jobs as step

    site = wiring.site(site_name)
    return list(step(site, site.track(track_name), wiring.cloud(), wiring.ledger(), wiring.clock().now()))


def sense(site_name: str, track_name: str) -> Sensed:
    """Ask HyP3 once about every open job of a track, and note the answers."""
    from sagwatch.steps.sense_jobs import sense_jobs as step

    site = wiring.site(site_name)
    return step(site, site.track(track_name), wiring.cloud(), wiring.ledger(), wiring.clock().now())


def fetch_product(site_name: str, track_name: str, job_name: str) -> FetchResult:
    """Bring one finished job's product into the stack."""
    from sagwatch.steps.fetch_product import fetch_product as step

    site = wiring.site(site_name)
    result = step(
        job_name,
        site,
        site.track(track_name),
        wiring.cloud(),
        wiring.ledger(),
        wiring.data_folder(),
        wiring.clock().now(),
    )
    return result


def fetch_weather(site_name: str, track_name: str) -> str:
    """Get the delays that the track's acquisitions lack; red where a person must act, or the service is away."""
    from sagwatch.steps.fetch_weather import fetch_weather as step

    site = wiring.site(site_name)
    done = step(
        site,
        site.track(track_name),
        wiring.weather_store,
        wiring.ledger(),
        wiring.data_folder(),
        wiring.clock().now(),
    )
    if done.stopped:
        raise AirflowFailException(f"{done}. What lacks its delay stays provisional")
    return str(done)


def update_stack(site_name: str, track_name: str) -> str | None:
    """Solve the track with every accepted interferogram; return the id of its newest revision."""
    from sagwatch.steps.update_stack import update_stack as step

    site = wiring.site(site_name)
    return step(site, site.track(track_name), wiring.ledger(), wiring.data_folder(), wiring.clock().now())


def publish_revision(site_name: str, track_name: str) -> Published:
    """Judge and put the newest revision live; skipped where nothing is new."""
    from sagwatch.steps.publish_revision import publish_revision as step

    site = wiring.site(site_name)
    published = step(
        site, site.track(track_name), wiring.ledger(), wiring.data_folder(), wiring.clock().now()
    )
    if published is None:
        raise AirflowSkipException("nothing is new: readers see the newest revision, and it is judged")
    return published


def check_health() -> None:
    """Rule R8 about the pipeline; a state of affairs is told once."""
    from sagwatch.steps.check_health import check_health as step

    news = step(wiring.ledger(), wiring.clock().now())
    log.info("%d new findings about the pipeline", news)


def deliver_messages() -> None:
    """Send what the outbox holds; red, once, where a message can never arrive."""
    from sagwatch.steps.deliver_messages import deliver_messages as step

    delivered = step(wiring.ledger(), wiring.messengers(), wiring.clock().now())
    log.info("%d sent, %d wait, %d refused", delivered.sent, delivered.waiting, delivered.refused)
    if delivered.refused:
        raise AirflowFailException(
            f"{delivered.refused} messages were refused for good and never arrive: see the log, and view "
            "analyst.messages WHERE state = 'refused'"
        )


def raise_for_failures() -> None:
    """Fail, with their names, if any task of this run failed.

    Trigger rules let the run go on beside a failure; without this the run would end green.
    """
    from airflow.sdk import get_current_context

    instance = get_current_context()["ti"]
    states = instance.get_task_states(dag_id=instance.dag_id, run_ids=[instance.run_id])
    failed = failed_tasks(states.get(instance.run_id, {}))
    if failed:
        raise AirflowFailException(f"failed in this run, everything else went on: {', '.join(failed)}")


def failed_tasks(states: dict[str, str | None]) -> list[str]:
    """Names of the tasks that failed by themselves (not those that waited for them), in order."""
    return sorted(name for name, state in states.items() if state == "failed")


def sync_sites() -> None:
    """Make the ledger know exactly the sites that have a file; a broken file archives nothing."""
    from sagwatch.adapters.site_files import load_sites

    sites, problems = load_sites(wiring.sites_folder())
    unreadable = {problem.file.stem for problem in problems}
    wiring.ledger().sites.sync(sites.values(), wiring.clock().now(), unreadable)
    log.info("%d sites are watched, %d site files cannot be read", len(sites), len(problems))


def read_credits() -> None:
    """Note what HyP3 says is left of this month's credits."""
    remaining = wiring.cloud().remaining_credits()
    wiring.ledger().operations.note_credits(remaining, wiring.clock().now())
    log.info("HyP3 credits left this month: %s", "unlimited" if remaining is None else remaining)


def retire_revisions() -> None:
    """Remove the folders of superseded revisions that nobody needs."""
    from sagwatch.steps.retire_revisions import retire_revisions as step

    step(wiring.ledger(), wiring.data_folder(), wiring.clock().now())


def clear_leftovers() -> None:
    """Remove what killed processes left half made; files have the machine's time, whatever time the cloud has."""
    from sagwatch.adapters.clock import SystemClock
    from sagwatch.steps.clear_leftovers import clear_leftovers as step

    step(wiring.data_folder(), SystemClock().now())


def heartbeat() -> None:
    """Write the day's row that says how much is watched."""
    from sagwatch.steps.heartbeat import heartbeat as step

    step(wiring.ledger(), wiring.clock().now())


def audit_track(site_name: str, track_name: str) -> None:
    """Compare a track's published revision with its hashes and with MintPy."""
    from sagwatch.steps.audit_track import audit_track as step
    from sagwatch.steps.audit_track import sample_of

    site, as_of = wiring.site(site_name), wiring.clock().now()
    sample = sample_of(site.audit, as_of)
    audit = step(site.track(track_name), wiring.ledger(), wiring.data_folder(), as_of, sample)
    if audit is None:
        raise AirflowSkipException("nothing is published yet")
