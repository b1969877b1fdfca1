"""Makes Airflow's database ready before Airflow starts, and its runs ready to go on after a crash.

Run by the environment's Python while no scheduler, worker or triggerer runs. Airflow itself would wait for
heartbeats to time out (five minutes for a task); but nothing of it is alive now, so whatever it believes to
be running is not. The same is done here that its scheduler does with orphans, only at once.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from airflow.jobs.job import Job
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils import db
from airflow.utils.session import create_session
from airflow.utils.state import JobState, TaskInstanceState
from sqlalchemy import select, update
from sqlalchemy.orm import Session

INTERRUPTED = (TaskInstanceState.RUNNING, TaskInstanceState.QUEUED, TaskInstanceState.RESTARTING)


def prepare_database() -> None:
    """Create or upgrade Airflow's tables, unless they are up to date."""
    try:
        db.check_migrations(timeout=1)
    except TimeoutError:
        db.initdb()


def end_dead_jobs(session: Session, as_of: datetime) -> None:
    """Schedulers and triggerers that never said good-bye are over; nobody need wait for their heartbeat."""
    dead = update(Job).where(Job.state == JobState.RUNNING).values(state=JobState.FAILED, end_date=as_of)
    session.execute(dead)


def release_interrupted_tasks(session: Session) -> list[str]:
    """Tasks that were queued or running when everything died are scheduled again; return their names."""
    interrupted = session.scalars(select(TaskInstance).where(TaskInstance.state.in_(INTERRUPTED))).all()
    names = [f"{one.dag_id} {one.run_id} {one.task_id}[{one.map_index}]" for one in interrupted]
    for task in interrupted:
        task.prepare_db_for_next_try(session)  # keeps the lost try in the history, with its log
        task.max_tries += 1  # a crash of the machine is not the task's fault
        task.state = None
        task.queued_by_job_id = None
        task.external_executor_id = None
        task.clear_next_method_args()
    return names


def release_triggers(session: Session) -> None:
    """What waits deferred is free for the next triggerer."""
    held = update(Trigger).where(Trigger.triggerer_id.is_not(None)).values(triggerer_id=None)
    session.execute(held)


def main() -> None:
    prepare_database()
    with create_session() as session:
        end_dead_jobs(session, datetime.now(UTC))
        released = release_interrupted_tasks(session)
        release_triggers(session)
    for name in released:
        sys.stdout.write(f"  goes on where it was interrupted: {name}\n")


if __name__ == "__main__":
    main()
