"""The trigger that waits for HyP3 jobs without holding a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from sagwatch.errors import TryAgainError

#: So many polls in a row may fail before the wait itself fails.
MOST_FAILURES_IN_A_ROW = 10


class JobsTrigger(BaseTrigger):
    """Fires once: when no job of a track is open any more, or when patience ends (the jobs go on, the wait does not).

    Polling is what notes the jobs' states in the ledger; the event carries nothing but how many are still open,
    because whoever resumes asks the ledger.
    """

    def __init__(self, site: str, track: str, poll_seconds: float, patience_seconds: float) -> None:
        super().__init__()
        self.site = site
        self.track = track
        self.poll_seconds = poll_seconds
        self.patience_seconds = patience_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "site": self.site,
                "track": self.track,
                "poll_seconds": self.poll_seconds,
                "patience_seconds": self.patience_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        still_open = await self._wait()
        yield TriggerEvent({"still_open": still_open})

    async def _wait(self) -> int:
        """Poll until nothing is open or patience ends; return how many jobs are open then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience_seconds
        failures = 0
        known_open = -1
        while True:
            try:
                still_open = await asyncio.to_thread(self.poll)
                failures = 0
            except (TryAgainError, OSError) as problem:
                failures += 1
                if failures >= MOST_FAILURES_IN_A_ROW:
                    raise
                self.log.warning("poll %d in a row failed, the wait goes on: %s", failures, problem)
            else:
                if still_open == 0:
                    return 0
                if still_open != known_open:
                    self.log.info("%s/%s: %d jobs still run at HyP3", self.site, self.track, still_open)
                known_open = still_open
            if loop.time() + self.poll_seconds > end:
                self.log.warning("patience ends after %.0f s; the jobs go on", self.patience_seconds)
                return known_open
            await asyncio.sleep(self.poll_seconds)

    def poll(self) -> int:
        """Ask HyP3 once, note the answer in the ledger, return how many jobs are still open. Blocks."""
        from sagwatch.orchestration import tasks

        return tasks.sense(self.site, self.track).open
