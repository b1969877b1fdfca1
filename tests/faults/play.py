"""One whole life of the small mine: its ledger, its cloud and its worker, any of which may be killed on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import psycopg

from launcher.cluster import Cluster
from sagwatch.adapters.database.fingerprint import differences, fingerprint
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.engine.files import ASIDE
from sagwatch.engine.manifest import verify
from sagwatch.simulation.running import RunningCloud, start
from sagwatch.steps.clear_leftovers import OLD_ENOUGH, clear_leftovers
from tests.faults.small_mine import SITE_NAME, SmallMine, write_small_mine
from tests.faults.worker import WorkOrder, stages_of, work

FIRST_FILL = 10
LIVE = 4
MOST_SECONDS = 900
VICTIMS = ("worker", "cloud", "worker and cloud", "database")

#: Workers are forked from a process that has everything imported, so a new life begins at once.
_nursery = multiprocessing.get_context("forkserver")
_nursery.set_forkserver_preload(["tests.faults.worker"])


@dataclass(frozen=True)
class Outcome:
    """What a play came to. ``books`` are the cloud's; ``leftovers`` lie on the disk and should not."""

    fingerprint: dict[str, Any]
    books: dict[str, Any]
    leftovers: list[str]
    seconds: float

    def complaints(self, undisturbed: Outcome) -> list[str]:
        """What is not as in the other play, or should not be there at all; a line each."""
        return [
            *differences(undisturbed.fingerprint, self.fingerprint),
            *(f"the cloud's {line}" for line in differences(undisturbed.books, self.books)),
            *(f"left over: {line}" for line in self.leftovers),
        ]


class Disturber(Protocol):
    """Somebody who may kill the crew."""

    def watch(self, crew: Crew) -> None:
        """Called again and again while the worker lives; returns within a second or so."""
        ...


class Nobody:
    """Disturbs nobody."""

    def watch(self, crew: Crew) -> None:
        crew.worker.join(1)


@dataclass
class Play:
    """The mine's files and folders, and a ledger; ``cluster`` where the database server is the play's own."""

    folder: Path
    database_url: str
    cluster: Cluster | None = None
    first_fill: int = FIRST_FILL
    live: int = LIVE
    mine: SmallMine = field(init=False)
    ports: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.mine = write_small_mine(self.folder / "mine")
        self.ports = (_free_port(), _free_port())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def order_file(self) -> Path:
        return self.folder / "order.json"

    def perform(self, disturber: Disturber | None = None) -> Outcome:
        """Live through all stages, as often interrupted as the disturber likes; then look at what there is."""
        began = time.monotonic()
        disturber = disturber or Nobody()
        with ExitStack() as stack:
            crew = Crew(self)
            stack.callback(crew.end)
            while not crew.is_done():
                if time.monotonic() - began > MOST_SECONDS:
                    raise TimeoutError(f"{self.folder}: not done after {MOST_SECONDS} s")
                disturber.watch(crew)
            seconds = time.monotonic() - began
            return Outcome(self._fingerprint(), read_books(crew.cloud.url), list(self._leftovers()), seconds)

    def write_order(self, cloud: RunningCloud) -> None:
        """Tell the worker where everything is."""
        order = WorkOrder(
            database_url=self.database_url,
            cloud_url=cloud.url,
            smtp_port=cloud.smtp_port,
            site_file=str(self.mine.site_file),
            data=str(self.data),
            note=str(self.folder / "note.json"),
            stages=stages_of(cloud.timeline(), self.first_fill, self.live),
        )
        order.write(self.order_file)

    def _fingerprint(self) -> dict[str, Any]:
        ledger = Ledger(self.database_url)
        try:
            return fingerprint(ledger, SITE_NAME)
        finally:
            ledger.close()

    def _leftovers(self) -> Iterator[str]:
        """What a day's maintenance leaves half made, and whatever the ledger and the disk do not agree about."""
        clear_leftovers(self.data, datetime.now(UTC) + 2 * OLD_ENOUGH)
        for path in sorted([*self.data.rglob(f"{ASIDE}*"), *self.data.glob("incoming/*")]):
            yield str(path.relative_to(self.data))
        with psycopg.connect(self.database_url) as connection:
            revisions = {folder for (folder,) in connection.execute("SELECT folder FROM sagwatch.revision")}
            files = {path for (path,) in connection.execute("SELECT path FROM sagwatch.interferogram")}
        on_disk = {str(path.relative_to(self.data)) for path in self.data.glob("*/*/interferograms/*")}
        yield from (f"{name}: on the disk or in the ledger, not both" for name in sorted(on_disk ^ files))
        folders = {str(path.relative_to(self.data)) for path in self.data.glob("*/*/revisions/*")}
        yield from (f"{name}: on the disk or in the ledger, not both" for name in sorted(folders ^ revisions))
        for name in sorted(folders & revisions):
            verify(self.data / name)


class Crew:
    """The simulated cloud and the worker of a play; each may be killed and has a next life at once."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self._cloud_life = ExitStack()
        self.cloud = self._begin_cloud()
        play.write_order(self.cloud)
        self._begin_worker()

    def _begin_cloud(self) -> RunningCloud:
        http_port, smtp_port = self.play.ports
        scenario, folder = str(self.play.mine.scenario_file), self.play.folder / "cloud"
        life = start(folder, scenario=scenario, port=http_port, smtp_port=smtp_port)
        return self._cloud_life.enter_context(life)

    def _begin_worker(self) -> None:
        self._announcements: Connection
        self._announcements, far_end = _nursery.Pipe(duplex=False)
        self.worker = _nursery.Process(target=work, args=(str(self.play.order_file), far_end), daemon=True)
        self.worker.start()
        far_end.close()

    def heard(self) -> list[tuple[int, str]]:
        """What this worker has announced since it was asked last: numbers of stages and names of steps."""
        words = []
        try:
            while self._announcements.poll():
                words.append(self._announcements.recv())
        except (EOFError, ConnectionError):
            pass  # it has ended; what it said before counts
        return words

    def is_done(self) -> bool:
        """Whether the worker has come to its end. An end by itself before that is an error."""
        code = self.worker.exitcode
        if code not in (None, 0):
            log_file = self.play.order_file.with_name("worker.log")
            raise RuntimeError(f"the worker ended with {code}:\n{log_file.read_text()[-3000:]}")
        return code == 0

    def kill(self, victim: str) -> None:
        """SIGKILL, and a new life for whoever died."""
        if "worker" in victim:
            self.worker.kill()
            self.worker.join()
            self._announcements.close()
        if "cloud" in victim:
            self.cloud.kill()
            self._cloud_life.close()
            self.cloud = self._begin_cloud()
        if victim == "database":
            self._kill_database()
        if "worker" in victim:
            self._begin_worker()

    def _kill_database(self) -> None:
        """The server's children notice and end; it recovers from its log at the next start."""
        cluster = self.play.cluster
        if cluster is None or (postmaster := cluster.postmaster()) is None:
            raise RuntimeError("this play has no running database server of its own")
        os.kill(postmaster, signal.SIGKILL)
        cluster.start()

    def end(self) -> None:
        self.worker.kill()
        self.worker.join()
        self._announcements.close()
        self._cloud_life.close()


def read_books(cloud_url: str) -> dict[str, Any]:
    """What the simulated cloud remembers: every order, the account, each message once by its Message-ID."""
    jobs: list[dict[str, Any]] = []
    page = f"{cloud_url}/jobs"
    while page:
        answer = _ask(page)
        jobs += answer["jobs"]
        page = answer.get("next", "")
    kept = ("name", "job_id", "job_type", "job_parameters", "credit_cost", "status_code", "request_time")
    messages = _ask(f"{cloud_url}/messages")
    return {
        "jobs": sorted(({key: job[key] for key in kept} for job in jobs), key=lambda job: str(job["name"])),
        "credits_left": _ask(f"{cloud_url}/user")["remaining_credits"],
        # A digest tells how things stood at some hour, so kills may change it.
        "messages": sorted(
            [one["kind"], str(one["message_id"]), _without_note(one["text"])]
            for one in messages
            if ", digest of " not in one["text"]
        ),
    }


def _without_note(text: str) -> str:
    """The words of a message without the mark that it may be a repeat."""
    return text.removeprefix("(This may be a repeat of an earlier message with the same number.)").strip()


def _ask(url: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": "Bearer any"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
