"""The task that waits for HyP3: deferred, so that it holds no worker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, timezone
from airflow.sdk.definitions.context import Context
from croniter import croniter

from sagwatch.orchestration.trigger import JobsTrigger

#: The next run must find this one done: the wait ends so long before it.
MARGIN = timedelta(minutes=10)
#: A run that was started by hand just before the next one is due still waits so long (the next one queues).
LEAST_PATIENCE = timedelta(minutes=10)


class WaitForJobs(BaseOperator):
    """Waits until a track has no open job, or gives up the wait (never the jobs) before the next run is due.

    Returns the names of the jobs whose products are waiting to be fetched, also those of earlier runs.
    """

    def __init__(self, *, site: str, track: str, schedule: str, patience_minutes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.site = site
        self.track = track
        self.schedule = schedule
        self.patience_minutes = patience_minutes

    def execute(self, context: Context) -> list[str]:  # noqa: ARG002  Airflow's signature
        from sagwatch.orchestration import tasks, wiring

        sensed = tasks.sense(self.site, self.track)
        if sensed.open == 0:
            return list(sensed.finished)
        patience = patience_until_next_run(self.schedule, self.patience_minutes, timezone.utcnow())
        self.log.info("%d jobs run at HyP3; waiting for them at most %s", sensed.open, patience)
        self.defer(
            trigger=JobsTrigger(
                site=self.site,
                track=self.track,
                poll_seconds=wiring.poll_seconds(),
                patience_seconds=patience.total_seconds(),
            ),
            method_name="resume",
        )
        raise AssertionError("defer always raises")

    def resume(self, context: Context, event: dict[str, Any]) -> list[str]:  # noqa: ARG002
        """Go on with what is finished; what is still open belongs to the next run."""
        from sagwatch.orchestration import tasks

        if event["still_open"]:
            self.log.warning("%d jobs are left to the next run", event["still_open"])
        return list(tasks.sense(self.site, self.track).finished)


def patience_until_next_run(schedule: str, patience_minutes: int, now: datetime) -> timedelta:
    """How long a run that waits from ``now`` on may wait. Schedules run on the machine's clock, and so does this."""
    next_run: datetime = croniter(schedule, now).get_next(datetime)
    until_next = next_run - now - MARGIN
    return max(LEAST_PATIENCE, min(timedelta(minutes=patience_minutes), until_next))
