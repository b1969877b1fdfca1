"""What the launcher and Airflow do, in one process that can be killed: stage by stage, until everything is sent.

A stage lets simulated time run to an acquisition, watches the track, and delivers. A finished stage is noted, so that
the next life goes on after it.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from sagwatch.adapters.asf import AsfCatalogue
from sagwatch.adapters.clock import CloudClock
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import Outbox
from sagwatch.adapters.hyp3 import Hyp3Cloud
from sagwatch.adapters.site_files import read_site
from sagwatch.domain.site import Site
from sagwatch.errors import TryAgainError
from sagwatch.steps.deliver_messages import deliver_messages
from sagwatch.steps.ports import Messenger
from sagwatch.steps.watch_track import Tools, watch_track
from tests.faults.plain_messengers import SmtpMessenger, WebhookMessenger

log = logging.getLogger("worker")
PAUSE_SECONDS = 0.2
#: A killed sender's messages may go again after so long; the product waits five minutes.
LEASE_SECONDS = 1.0


@dataclass(frozen=True)
class WorkOrder:
    """All that a worker needs to know; ``stages`` are moments in simulated time, ISO 8601."""

    database_url: str
    cloud_url: str
    smtp_port: int
    site_file: str
    data: str
    note: str
    stages: list[str]

    def write(self, file: Path) -> Path:
        file.write_text(json.dumps(asdict(self)))
        return file

    @classmethod
    def read(cls, file: Path) -> WorkOrder:
        return cls(**json.loads(file.read_text()))


#: Told the number of the stage and the name of the step before each step.
Announce = Callable[[int, str], None]


class Worker:
    """One life of the watching process."""

    def __init__(self, order: WorkOrder, announce: Announce = lambda *_: None) -> None:
        self.order = order
        self.announce = announce
        self.site: Site = read_site(Path(order.site_file))
        self.ledger = Ledger(order.database_url)
        self.ledger.outbox = Outbox(self.ledger, lease_seconds=LEASE_SECONDS, first_pause_seconds=0.1)
        self.clock = CloudClock(order.cloud_url)
        self.messengers: dict[str, Messenger] = {
            "mail": SmtpMessenger("127.0.0.1", order.smtp_port),
            "slack": WebhookMessenger(f"{order.cloud_url}/services/T0/B0/test"),
        }

    def tools(self) -> Tools:
        cloud = Hyp3Cloud(
            self.order.cloud_url, token="any", lookup_pause_seconds=0.05, read_seconds=5, sleep=time.sleep
        )
        catalogue = AsfCatalogue(self.order.cloud_url, page_seconds=5)
        return Tools(self.ledger, catalogue, cloud, self.clock, Path(self.order.data))

    def run(self) -> None:
        done = self._done()
        for number, stage in enumerate(self.order.stages):
            if stage not in done:
                self._until_it_works(partial(self._live_through, number, stage))
                done.append(stage)
                self._note(done)
        self._until_it_works(self._deliver_the_rest)
        self.ledger.close()

    def _live_through(self, number: int, stage: str) -> None:
        moment = datetime.fromisoformat(stage)
        if self.clock.now() < moment:
            self._advance(stage)
        for track in self.site.tracks:
            watch_track(
                self.site,
                track,
                self.tools(),
                poll_seconds=PAUSE_SECONDS,
                on_step=partial(self.announce, number),
            )
        self.announce(number, "deliver_messages")
        deliver_messages(self.ledger, self.messengers, self.clock.now())

    def _deliver_the_rest(self) -> None:
        while deliver_messages(self.ledger, self.messengers, self.clock.now()).waiting:
            time.sleep(PAUSE_SECONDS)

    def _until_it_works(self, action: Callable[[], None]) -> None:
        """What Airflow's retries do: only errors that say "try again" are tried again."""
        while True:
            try:
                action()
                return
            except TryAgainError as problem:
                log.info("trying again: %s", problem)
                time.sleep(PAUSE_SECONDS)

    def _advance(self, stage: str) -> None:
        request = urllib.request.Request(
            f"{self.order.cloud_url}/clock",
            json.dumps({"now": stage}).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        with _cloud_may_be_away():
            urllib.request.urlopen(request, timeout=5).close()

    def _done(self) -> list[str]:
        note = Path(self.order.note)
        return json.loads(note.read_text()) if note.exists() else []

    def _note(self, done: list[str]) -> None:
        aside = Path(self.order.note).with_suffix(".part")
        aside.write_text(json.dumps(done))
        aside.replace(self.order.note)


@contextmanager
def _cloud_may_be_away() -> Iterator[None]:
    try:
        yield
    except OSError as problem:  # a refused or broken connection, and urllib's own errors
        raise TryAgainError(f"the simulated cloud is away: {problem}") from problem


def stages_of(timeline: list[dict[str, str]], first_fill: int, live: int) -> list[str]:
    """An hour after the last acquisition of the first fill shows, then after each live one."""
    seen = [datetime.fromisoformat(one["visible"]) for one in timeline]
    return [(moment + timedelta(hours=1)).isoformat() for moment in seen[first_fill - 1 : first_fill + live]]


def work(order_file: str, announcements: Connection) -> None:
    """A worker's whole life; its words go into a file beside its order, its steps to whoever listens."""
    order = Path(order_file)
    logging.basicConfig(
        filename=order.with_name("worker.log"),
        level=logging.INFO,
        format="%(process)d %(asctime)s %(name)s %(message)s",
    )
    logging.getLogger("asf_search").setLevel(logging.WARNING)

    def announce(stage: int, step: str) -> None:
        log.info("stage %d: %s", stage, step)
        announcements.send((stage, step))

    try:
        Worker(WorkOrder.read(order), announce).run()
    except BaseException:
        log.exception("the worker ended")
        raise
