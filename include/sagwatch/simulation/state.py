"""What the simulated cloud must not forget: clock, account, jobs, messages, fault switches.

One SQLite file; every change is committed with full synchronisation before it is answered, so a server that was
killed goes on exactly where it was.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

JOB_NAMESPACE = uuid.UUID("7f1d1f0c-51f4-5a0b-9d53-5a6777617463")

SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS job (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    name TEXT,
    job_type TEXT NOT NULL,
    parameters TEXT NOT NULL,
    requested TEXT NOT NULL,
    wall_requested REAL NOT NULL,
    credit_cost REAL NOT NULL,
    priority INTEGER NOT NULL,
    outcome TEXT,
    product TEXT,
    size INTEGER,
    log TEXT
);
CREATE INDEX IF NOT EXISTS job_name ON job (name);
CREATE TABLE IF NOT EXISTS message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    received TEXT NOT NULL,
    message_id TEXT,
    envelope TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS weather_job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    inputs TEXT NOT NULL,
    experiment TEXT NOT NULL,
    requested TEXT NOT NULL,
    wall_requested REAL NOT NULL
);
"""


class ClockError(ValueError):
    """The clock was told to run backwards."""


class CreditError(ValueError):
    """An order costs more than the account holds."""


@dataclass(frozen=True)
class JobRow:
    """One order as stored. ``outcome`` is empty until the result is there: SUCCEEDED or FAILED."""

    seq: int
    job_id: str
    name: str | None
    job_type: str
    parameters: dict[str, Any]
    requested: datetime
    wall_requested: float
    credit_cost: float
    priority: int
    outcome: str | None
    product: str | None
    size: int | None
    log: str | None


@dataclass(frozen=True)
class NewJob:
    """One order that has passed validation."""

    name: str | None
    job_type: str
    parameters: dict[str, Any]
    credit_cost: float


@dataclass(frozen=True)
class MessageRow:
    seq: int
    kind: str
    received: datetime
    message_id: str | None
    envelope: dict[str, Any]
    content: bytes


@dataclass(frozen=True)
class WeatherJobRow:
    """One request to the Climate Data Store and the version of ERA5 that it met."""

    job_id: str
    inputs: dict[str, Any]
    experiment: str
    requested: datetime
    wall_requested: float


class State:
    """All durable state, safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    # --- settings -----------------------------------------------------------------------------------------------

    def setting(self, key: str) -> str | None:
        with self._lock:
            row = self._connection.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row["value"])

    def set_setting(self, key: str, value: str) -> None:
        with self._transaction() as connection:
            _put(connection, key, value)

    def belongs_to(self, world: str) -> bool:
        """Whether this folder holds the state of the named world; a new folder is claimed for it."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO setting VALUES ('world', ?)", (world,))
        return self.setting("world") == world

    # --- clock --------------------------------------------------------------------------------------------------

    def start_clock(self, now: datetime) -> None:
        """Set the clock of a new folder; an existing one keeps its time."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO setting VALUES ('now', ?)", (now.isoformat(),))

    def now(self) -> datetime:
        text = self.setting("now")
        if text is None:
            raise ClockError("the clock was never started")
        return datetime.fromisoformat(text)

    def advance_to(self, moment: datetime) -> None:
        with self._transaction() as connection:
            now = self.now()
            if moment < now:
                raise ClockError(
                    f"the clock shows {now.isoformat()} and does not go back to {moment.isoformat()}"
                )
            _put(connection, "now", moment.astimezone(UTC).isoformat())

    # --- account and jobs ---------------------------------------------------------------------------------------

    def credits(self, per_month: int) -> float:
        """What is left this month; the first question of a calendar month fills the account up."""
        with self._transaction() as connection:
            return self._credits(connection, per_month)

    def _credits(self, connection: sqlite3.Connection, per_month: int) -> float:
        month = self.now().strftime("%Y-%m")
        if self.setting("credit_month") != month:
            _put(connection, "credit_month", month)
            _put(connection, "credits", str(per_month))
        return float(self.setting("credits") or 0)

    def order(
        self,
        jobs: Sequence[NewJob],
        per_month: int,
        *,
        dry_run: bool = False,
        doom: Callable[[int], str | None] = lambda _: None,
    ) -> list[JobRow]:
        """Take the credits and store the jobs, all or none; a dry run only checks and shows.

        ``doom`` may say for the n-th order of the account (counted from 1) that it will fail, and with what log.

        Raises
        ------
        CreditError
            With HyP3's own text.
        """
        with self._transaction() as connection:
            left = self._credits(connection, per_month)
            cost = sum(job.credit_cost for job in jobs)
            if cost > left:
                shown = str(per_month) if left == per_month else str(left)
                raise CreditError(
                    f"These jobs would cost {cost} credits, but you have only {shown} remaining."
                )
            rows = []
            for job in jobs:
                row = self._insert(connection, job, round(left))
                log = doom(row.seq)
                if log is not None:
                    _fail(connection, row.job_id, log)
                    row = replace(row, outcome="FAILED", log=log)
                rows.append(row)
                left -= job.credit_cost
            if dry_run:
                connection.execute("DELETE FROM job WHERE seq >= ?", (rows[0].seq,))
            else:
                _put(connection, "credits", str(left))
            return rows

    def _insert(self, connection: sqlite3.Connection, job: NewJob, left: int) -> JobRow:
        parameters = json.dumps(job.parameters, sort_keys=True)
        counted = "SELECT count(*) AS n FROM job WHERE name IS ?"
        number = connection.execute(counted, (job.name,)).fetchone()["n"]
        # Equal scenarios must give equal ids, so the id depends on what was ordered and how often, not on chance.
        job_id = str(uuid.uuid5(JOB_NAMESPACE, f"{number}/{job.name}/{job.job_type}/{parameters}"))
        connection.execute(
            "INSERT INTO job (job_id, name, job_type, parameters, requested, wall_requested, credit_cost, priority)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job_id,
                job.name,
                job.job_type,
                json.dumps(job.parameters),
                self.now().replace(microsecond=0).isoformat(),
                time.time(),
                job.credit_cost,
                min(left, 9999),
            ),
        )
        row = connection.execute("SELECT * FROM job WHERE job_id = ?", (job_id,)).fetchone()
        return _job(row)

    def job(self, job_id: str) -> JobRow | None:
        with self._lock:
            row = self._connection.execute("SELECT * FROM job WHERE job_id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def jobs_before(self, seq: int | None, limit: int) -> list[JobRow]:
        """Newest first, from just before a sequence number on."""
        upper = 2**62 if seq is None else seq
        query = "SELECT * FROM job WHERE seq < ? ORDER BY seq DESC LIMIT ?"
        with self._lock:
            return [_job(row) for row in self._connection.execute(query, (upper, limit))]

    def unfinished_jobs(self) -> list[JobRow]:
        with self._lock:
            query = "SELECT * FROM job WHERE outcome IS NULL ORDER BY seq"
            return [_job(row) for row in self._connection.execute(query)]

    def finish_job(self, job_id: str, product: str, size: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                "UPDATE job SET outcome = 'SUCCEEDED', product = ?, size = ? WHERE job_id = ?",
                (product, size, job_id),
            )

    def fail_job(self, job_id: str, log: str) -> None:
        with self._transaction() as connection:
            _fail(connection, job_id, log)

    def rename_jobs(self, job_ids: Sequence[str], name: str | None) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE job SET name = ? WHERE job_id = ?", [(name, job) for job in job_ids]
            )

    # --- weather -------------------------------------------------------------------------------------------------

    def add_weather_job(
        self, name: Callable[[int], str], inputs: dict[str, Any], experiment: str
    ) -> WeatherJobRow:
        """Store a request; `name` makes its id from its number in the queue, counted from 1."""
        with self._transaction() as connection:
            last = connection.execute("SELECT max(seq) AS n FROM weather_job").fetchone()["n"]
            row = WeatherJobRow(
                name((last or 0) + 1), inputs, experiment, self.now().replace(microsecond=0), time.time()
            )
            connection.execute(
                "INSERT INTO weather_job (job_id, inputs, experiment, requested, wall_requested)"
                " VALUES (?, ?, ?, ?, ?)",
                (row.job_id, json.dumps(inputs), experiment, row.requested.isoformat(), row.wall_requested),
            )
        return row

    def weather_job(self, job_id: str) -> WeatherJobRow | None:
        query = (
            "SELECT job_id, inputs, experiment, requested, wall_requested FROM weather_job WHERE job_id = ?"
        )
        with self._lock:
            row = self._connection.execute(query, (job_id,)).fetchone()
        if row is None:
            return None
        values = dict(row)
        values["inputs"] = json.loads(values["inputs"])
        values["requested"] = datetime.fromisoformat(values["requested"])
        return WeatherJobRow(**values)

    def forget_weather_job(self, job_id: str) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM weather_job WHERE job_id = ?", (job_id,))

    # --- messages -----------------------------------------------------------------------------------------------

    def keep_message(
        self, kind: str, message_id: str | None, envelope: dict[str, Any], content: bytes
    ) -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO message (kind, received, message_id, envelope, content) VALUES (?, ?, ?, ?, ?)",
                (kind, self.now().isoformat(), message_id, json.dumps(envelope), content),
            )

    def messages(self) -> list[MessageRow]:
        with self._lock:
            rows = self._connection.execute("SELECT * FROM message ORDER BY seq").fetchall()
        return [
            MessageRow(
                row["seq"],
                row["kind"],
                datetime.fromisoformat(row["received"]),
                row["message_id"],
                json.loads(row["envelope"]),
                row["content"],
            )
            for row in rows
        ]


def _put(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))


def _fail(connection: sqlite3.Connection, job_id: str, log: str) -> None:
    connection.execute("UPDATE job SET outcome = 'FAILED', log = ? WHERE job_id = ?", (log, job_id))


def _job(row: sqlite3.Row) -> JobRow:
    values = dict(row)
    values["parameters"] = json.loads(values["parameters"])
    values["requested"] = datetime.fromisoformat(values["requested"])
    return JobRow(**values)
