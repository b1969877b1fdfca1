"""The graph of one mine: what `monitor_<site>` looks like in Airflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    TaskGroup,
    TriggerRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException

from sagwatch.domain.site import Site, Track, site_day_start
from sagwatch.errors import (
    BadInputError,
    BadProductError,
    FencedError,
    RefusedError,
    StopAndAskError,
    TryAgainError,
)
from sagwatch.orchestration import tasks
from sagwatch.orchestration.callbacks import note_failure
from sagwatch.orchestration.wait_for_jobs import WaitForJobs

#: Trying again helps against what is away, and harms where a person must act.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=TryAgainError, reason="may be gone at the next try"),
        RetryRule(
            exception=[BadInputError, StopAndAskError],
            action=RetryAction.FAIL,
            reason="a person must act, see the message",
        ),
        RetryRule(
            exception=[BadProductError, RefusedError, FencedError],
            action=RetryAction.FAIL,
            reason="the same try would end the same",
        ),
    ]
)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "sagwatch",
    "retries": 3,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": note_failure,
    "execution_timeout": timedelta(minutes=30),
}


def monitor(site: Site, doc_md: str) -> DAG:
    """The DAG of one site: every track the whole way, then one delivery of messages.

    A track or a product that fails stops nobody else, but `nothing_failed` at the end turns the run red and
    names what failed.
    """
    with DAG(
        dag_id=f"monitor_{site.name}",
        dag_display_name=f"monitor_{site.name}",
        description=site.title,
        schedule=site.schedule,
        start_date=site_day_start(site.start),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULT_ARGS,
        doc_md=f"{doc_md}\n\n**{site.title}**\n\n{site.note}",
        tags=["sagwatch", site.name],
        owner_links=_owner_links(site),
    ) as page:
        published = [_watch(site, track) for track in site.tracks]
        published >> deliver() >> nothing_failed()
    return page


def _owner_links(site: Site) -> dict[str, str]:
    """Whom to ask about this site, as a link beside the DAG's owner: its first contact with an address."""
    addresses = [contact.email for contact in site.contacts if contact.email]
    return {DEFAULT_ARGS["owner"]: f"mailto:{addresses[0]}"} if addresses else {}


def revision_asset(track: Track) -> Asset:
    """What users hang their own DAGs on: new velocities of a track are published."""
    return Asset(name=f"{track.id} revision", uri=f"sagwatch://{track.id}/revision", group="sagwatch")


def _watch(site: Site, track: Track) -> Any:
    """The way of one track; returns its last task."""
    with TaskGroup(track.name, tooltip=f"{track.direction}, relative orbit {track.relative_orbit}"):
        asset = revision_asset(track)
        names = {"site": site.name, "track": track.name}

        @task(execution_timeout=timedelta(minutes=15))
        def detect_scenes(site: str, track: str) -> None:
            """Ask the catalogue what is new; every acquisition gets one state."""
            tasks.detect_scenes(site, track)

        @task(execution_timeout=timedelta(minutes=10))
        def plan_pairs(site: str, track: str) -> None:
            """Bring the wanted pairs up to date."""
            tasks.plan_pairs(site, track)

        @task
        def submit_jobs(site: str, track: str) -> list[str]:
            """Order what is missing, each pair once; intent is written down first."""
            return tasks.submit_jobs(site, track)

        # Open jobs are watched and fetched even when the catalogue or ordering is out of order: products expire.
        wait = WaitForJobs(
            task_id="wait_for_jobs",
            schedule=site.schedule,
            patience_minutes=site.patience_minutes,
            trigger_rule=TriggerRule.ALL_DONE,
            doc_md="Waits without a worker; gives up the wait, not the jobs, before the next run is due.",
            **names,
        )

        @task(
            map_index_template="{{ dates | default(task.op_kwargs['job_name'], true) }}",
            max_active_tis_per_dagrun=4,
            execution_timeout=timedelta(hours=1),
        )
        def fetch_product(site: str, track: str, job_name: str) -> str | None:
            """Download, verify, check, clip; accept or quarantine."""
            result = tasks.fetch_product(site, track, job_name)
            name_after_dates(result.dates)
            if result.state == "quarantined":
                raise AirflowFailException(f"the product of {job_name} is in quarantine: {result.reason}")
            return result.interferogram_id

        # What is in the stack needs its weather whether or not anything was fetched in this run.
        @task(
            trigger_rule=TriggerRule.ALL_DONE,
            max_active_tis_per_dag=1,
            # 40 minutes of asking, then the wait and the programs of the last request that began within them.
            execution_timeout=timedelta(hours=2),
        )
        def fetch_weather(site: str, track: str) -> str:
            """Get the troposphere's delay where it is missing or preliminary, newest acquisition first."""
            return tasks.fetch_weather(site, track)

        # An earlier run may have fetched what was not solved yet, so the stack is looked after in any case.
        @task(
            trigger_rule=TriggerRule.ALL_DONE,
            max_active_tis_per_dag=1,
            execution_timeout=timedelta(hours=3),
        )
        def update_stack(site: str, track: str) -> str | None:
            """Solve with every accepted interferogram; a new revision is made aside."""
            return tasks.update_stack(site, track)

        @task(outlets=[asset], execution_timeout=timedelta(hours=2))
        def publish_revision(site: str, track: str) -> str:
            """Judge every acquisition in order, and put the revision live in one transaction."""
            published = tasks.publish_revision(site, track)
            event = get_current_context()["outlet_events"][asset]
            event.extra = {"revision_id": published.revision_id, "number": published.number}
            return published.revision_id

        ordered = submit_jobs(**names)
        detect_scenes(**names) >> plan_pairs(**names) >> ordered >> wait
        fetched = fetch_product.partial(**names).expand(job_name=wait.output)
        published = publish_revision(**names)
        solved = update_stack(**names)
        if site.corrections.troposphere.is_fetched:
            fetched >> fetch_weather(**names) >> solved
        fetched >> solved >> published
    return published


def name_after_dates(dates: str) -> None:
    """Let `map_index_template` call a mapped task by its pair's dates."""
    context: dict[str, Any] = get_current_context()  # type: ignore[assignment]
    context["dates"] = dates


@task(task_id="deliver_messages", trigger_rule=TriggerRule.ALL_DONE, execution_timeout=timedelta(minutes=15))
def deliver() -> None:
    """Send what the outbox holds, in order."""
    tasks.deliver_messages()


@task(
    task_id="nothing_failed",
    trigger_rule=TriggerRule.ALL_DONE,
    retries=0,
    on_failure_callback=None,
)
def nothing_failed() -> None:
    """Red when anything in this run failed, although everything else went on."""
    tasks.raise_for_failures()
