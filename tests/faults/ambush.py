"""Kill exactly between an effect and its record, without any help from the product.

The worker is frozen every few milliseconds (SIGSTOP), as a debugger would. While it stands still, somebody looks
whether the effect is there (an order at HyP3, a file on the disk, a mail) and the ledger does not say so yet. If so,
it dies.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from tests.faults.play import Crew, Play, read_books

#: The worker goes on for so long between two looks.
SLICE_SECONDS = 0.004


@dataclass(frozen=True)
class Trap:
    """An effect of a step, and how to see that it has no record yet."""

    name: str
    step: str
    is_unrecorded: Callable[[Crew], bool]


class Ambush:
    """Waits at one trap after the other, until each has caught a worker; a `Disturber`."""

    def __init__(self, traps: Sequence[Trap]) -> None:
        self._ahead = list(traps)
        self.caught: list[str] = []

    def watch(self, crew: Crew) -> None:
        crew.worker.join(0.002)
        if not self._ahead or not any(step == self._ahead[0].step for _, step in crew.heard()):
            return
        if self._lies_in_wait(crew, self._ahead[0]):
            self.caught.append(self._ahead.pop(0).name)

    def _lies_in_wait(self, crew: Crew, trap: Trap) -> bool:
        """Until the step is over; a later one may be caught as well."""
        pid = crew.worker.pid
        assert pid is not None
        while crew.worker.exitcode is None and not crew.heard():
            os.kill(pid, signal.SIGSTOP)
            if trap.is_unrecorded(crew):
                crew.kill("worker")
                return True
            os.kill(pid, signal.SIGCONT)
            crew.worker.join(SLICE_SECONDS)
        return False


def _order_unrecorded(crew: Crew) -> bool:
    known = _column(crew.play, "SELECT name FROM sagwatch.job WHERE hyp3_id IS NOT NULL")
    return bool({job["name"] for job in read_books(crew.cloud.url)["jobs"]} - known)


def _interferogram_unrecorded(crew: Crew) -> bool:
    return bool(
        _on_disk(crew.play, "*.h5", "interferograms")
        - _column(crew.play, "SELECT path FROM sagwatch.interferogram")
    )


def _revision_unrecorded(crew: Crew) -> bool:
    return bool(
        _on_disk(crew.play, "0*", "revisions") - _column(crew.play, "SELECT folder FROM sagwatch.revision")
    )


def _message_unrecorded(crew: Crew) -> bool:
    sent = _column(crew.play, "SELECT message_id FROM sagwatch.message WHERE state = 'sent'")
    return bool({message_id for _, message_id, _ in read_books(crew.cloud.url)["messages"]} - sent)


def _half_made_revision(crew: Crew) -> bool:
    return bool(_on_disk(crew.play, ".making-*/timeseries.h5", "revisions"))


TRAPS = (
    Trap("an order", "submit_jobs", _order_unrecorded),
    Trap("an interferogram", "fetch_product", _interferogram_unrecorded),
    Trap("half a revision", "update_stack", _half_made_revision),
    Trap("a revision", "update_stack", _revision_unrecorded),
    Trap("a message", "deliver_messages", _message_unrecorded),
)


def _on_disk(play: Play, pattern: str, kind: str) -> set[str]:
    found = play.data.glob(f"*/*/{kind}/{pattern}")
    return {str(path.relative_to(play.data)) for path in found}


def _column(play: Play, query: str) -> set[str]:
    with psycopg.connect(play.database_url, autocommit=True) as connection:
        return {value for (value,) in connection.execute(query)}  # type: ignore[arg-type]
