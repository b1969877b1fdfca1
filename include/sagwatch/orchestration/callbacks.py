"""When the pipeline breaks: a row for people to find. News of the ground never comes this way."""

from __future__ import annotations

import logging
from typing import Any

from sagwatch.errors import SagwatchError

log = logging.getLogger(__name__)


def note_failure(context: dict[str, Any]) -> None:
    """Airflow's ``on_failure_callback`` of every task: one ``operation_event`` a failed task of a run.

    A callback must never hide the failure it reports, so a ledger that is away is logged and nothing more.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from sagwatch.orchestration import wiring

    instance = context["ti"]
    site, track = site_and_track(instance.dag_id, instance.task_id)
    try:
        wiring.ledger().operations.record(
            "pipeline",
            sentence(instance, context.get("exception")),
            severity="error",
            site=site,
            track_id=track,
            as_of=wiring.clock().now(),
            details={
                "dag_id": instance.dag_id,
                "run_id": instance.run_id,
                "task_id": instance.task_id,
                "map_index": instance.map_index,
                "try_number": instance.try_number,
            },
            dedupe_key=f"pipeline:{instance.dag_id}:{instance.run_id}:{instance.task_id}:{instance.map_index}",
        )
    except (SagwatchError, SQLAlchemyError, OSError) as problem:
        log.error("the failure of %s could not be written to the ledger: %s", instance.task_id, problem)


def site_and_track(dag_id: str, task_id: str) -> tuple[str | None, str | None]:
    """Which site and track a task works for: ``monitor_shaqu`` and ``t011a.update_stack`` say it."""
    verb, _, name = dag_id.partition("_")
    site = name if verb in {"monitor", "audit"} and name else None
    group, dot, _ = task_id.partition(".")
    return site, f"{site}/{group}" if site and dot else None


def sentence(instance: Any, problem: Any) -> str:
    """What failed and why, on one line."""
    mapped = f" (part {instance.map_index})" if instance.map_index >= 0 else ""
    why = f"{type(problem).__name__}: {problem}" if isinstance(problem, BaseException) else str(problem)
    return f"{instance.dag_id} {instance.task_id}{mapped} failed: {' '.join(why.split())[:1000]}"
