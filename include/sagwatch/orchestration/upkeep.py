"""The DAGs beside the monitoring: delivery, maintenance, audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, TriggerRule, task

from sagwatch.domain.site import Site, Track, site_day_start
from sagwatch.orchestration import tasks
from sagwatch.orchestration.monitor import DEFAULT_ARGS

#: Some day in the past: these DAGs are not about history.
SINCE = datetime(2024, 1, 1, tzinfo=UTC)


def deliver_messages(doc_md: str) -> DAG:
    """Every five minutes, what the outbox still holds."""
    with DAG(
        dag_id="deliver_messages",
        description="Messages that could not go out before",
        schedule="*/5 * * * *",
        start_date=SINCE,
        catchup=False,
        max_active_runs=1,
        # The next run is the next try.
        default_args={**DEFAULT_ARGS, "retries": 0, "execution_timeout": timedelta(minutes=15)},
        doc_md=doc_md,
        tags=["sagwatch"],
    ) as page:

        @task(task_id="deliver_messages")
        def deliver() -> None:
            """Look whether anything of the pipeline needs a person (R8), then send what the outbox holds, in order."""
            tasks.check_health()
            tasks.deliver_messages()

        deliver()
    return page


def maintain(doc_md: str) -> DAG:
    """Every day; the tasks do not need each other, only the heartbeat comes last."""
    with DAG(
        dag_id="maintain",
        description="Archive, credits, retention, leftovers, heartbeat",
        schedule="40 3 * * *",
        start_date=SINCE,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULT_ARGS,
        doc_md=doc_md,
        tags=["sagwatch"],
    ) as page:

        @task
        def sync_sites() -> None:
            """Archive sites whose file is gone."""
            tasks.sync_sites()

        @task
        def read_credits() -> None:
            """Note what HyP3 says is left."""
            tasks.read_credits()

        @task
        def retire_revisions() -> None:
            """Remove the folders of superseded revisions that nobody needs."""
            tasks.retire_revisions()

        @task
        def clear_leftovers() -> None:
            """Remove what killed processes left half made."""
            tasks.clear_leftovers()

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def heartbeat() -> None:
            """One row a day that says how much is watched."""
            tasks.heartbeat()

        @task(trigger_rule=TriggerRule.ALL_DONE, retries=0, on_failure_callback=None)
        def nothing_failed() -> None:
            """Red when anything in this run failed, although everything else went on."""
            tasks.raise_for_failures()

        (
            [sync_sites(), read_credits(), retire_revisions(), clear_leftovers()]
            >> heartbeat()
            >> nothing_failed()
        )
    return page


def audit(site: Site, doc_md: str) -> DAG:
    """Every week, one task for each track of a site."""
    with DAG(
        dag_id=f"audit_{site.name}",
        description=f"Files and numbers of {site.title} against MintPy",
        schedule="0 2 * * 0",
        start_date=site_day_start(site.start),
        catchup=False,
        max_active_runs=1,
        default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=8)},
        doc_md=doc_md,
        tags=["sagwatch", site.name],
    ) as page:
        for track in site.tracks:
            _audit_track(site, track)
    return page


def _audit_track(site: Site, track: Track) -> None:
    @task(task_id=f"audit_{track.name}", max_active_tis_per_dag=1)
    def audit_track(site: str, track: str) -> None:
        """Compare every hash, then every number with MintPy's."""
        tasks.audit_track(site, track)

    audit_track(site.name, track.name)
