"""Whatever is killed, and whenever: the end is that of a run which nobody disturbed."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from sagwatch.adapters.database.fingerprint import differences, fingerprint
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.migrate import migrate
from tests.faults.ambush import TRAPS, Ambush
from tests.faults.kill_loop import Killer, random_moments
from tests.faults.play import LIVE, Outcome, Play
from tests.faults.small_mine import MAIL_RECIPIENT, SITE_NAME

SEED = 20170501
KILLS = 10


@dataclass(frozen=True)
class Rig:
    """Where plays can be performed, and how the undisturbed one came out."""

    server: str
    folder: Path
    undisturbed: Outcome


@pytest.fixture(scope="module")
def rig(postgis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("kill")
    with _ledger(postgis_server) as url:
        yield Rig(postgis_server, folder, Play(folder / "undisturbed", url).perform())


@contextmanager
def _ledger(server: str) -> Iterator[str]:
    """A migrated database that is ours alone."""
    name = f"sagwatch_kill_{uuid.uuid4().hex[:12]}"
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        migrate(url)
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(rig: Rig):
    killer = Killer(random_moments(SEED, KILLS, LIVE + 1))
    with _ledger(rig.server) as url:
        killed = Play(rig.folder / "killed", url).perform(killer)

        assert killed.complaints(rig.undisturbed) == []
        assert len(killer.killed) >= KILLS - 2
        assert {"worker", "cloud"} <= {word for one in killer.killed for word in one.victim.split(" and ")}
        _assert_that_it_was_worth_comparing(rig.undisturbed)
        _assert_that_nothing_happened_twice(killed)
        _assert_that_a_change_would_be_seen(url, rig.undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_dies_between_an_effect_and_its_record_does_nothing_twice(rig: Rig):
    ambush = Ambush(TRAPS)
    with _ledger(rig.server) as url:
        killed = Play(rig.folder / "ambushed", url).perform(ambush)

    assert ambush.caught == [trap.name for trap in TRAPS]
    assert killed.complaints(rig.undisturbed) == []
    _assert_that_nothing_happened_twice(killed)


def _assert_that_it_was_worth_comparing(outcome: Outcome) -> None:
    found = outcome.fingerprint
    assert {event["type"] for event in found["alert_events"]} >= {"raised", "worse"}
    assert {one["kind"] for one in found["messages"]} == {"summary", "alert"}
    assert found["points"]["count"] == 3000
    assert [one["state"] for one in found["acquisitions"]] == ["used"] * 14


def _assert_that_nothing_happened_twice(outcome: Outcome) -> None:
    """Said in words of its own, not only by comparison with another run of the same code."""
    ledger, books = outcome.fingerprint, outcome.books
    pairs = len(ledger["pairs"])
    assert pairs == 2 * 14 - 3
    granules = Counter(json.dumps(job["job_parameters"], sort_keys=True) for job in books["jobs"])
    assert len(granules) == pairs
    assert set(granules.values()) == {1}
    assert [job["name"] for job in books["jobs"]] == [job["name"] for job in ledger["jobs"]]
    assert {job["state"] for job in ledger["jobs"]} == {"fetched"}
    assert sum(job["credit_cost"] for job in books["jobs"]) == ledger["credits"][0]["spent"] == pairs
    assert {message["state"] for message in ledger["messages"]} == {"sent"}
    decided = {(one["channel"], one["message_id"]) for one in ledger["messages"]}
    assert {(kind, message_id) for kind, message_id, _ in books["messages"]} == decided
    assert len(books["messages"]) == len(decided) == len(ledger["messages"])


def _assert_that_a_change_would_be_seen(url: str, undisturbed: Outcome) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE sagwatch.message SET state = 'waiting' WHERE recipient = %s", [MAIL_RECIPIENT]
        )
        connection.execute(
            "UPDATE sagwatch.point_velocity SET velocity_mm_yr = velocity_mm_yr + 0.1 WHERE point_id = "
            "(SELECT min(point_id) FROM sagwatch.point_velocity WHERE velocity_mm_yr IS NOT NULL)"
        )
        connection.execute("UPDATE sagwatch.series_tile SET los_mm[100] = los_mm[100] + 1 WHERE tile = 0")
    ledger = Ledger(url)
    seen = differences(undisturbed.fingerprint, fingerprint(ledger, SITE_NAME))
    ledger.close()
    assert {line.partition(",")[0].partition(":")[0] for line in seen} == {"messages", "points", "series"}


def test_books_that_differ_are_told_line_by_line():
    one = Outcome({"jobs": [{"name": "a"}]}, {"credits_left": 10, "jobs": ["x"]}, [], 1.0)
    other = replace(one, fingerprint={"jobs": [{"name": "a"}, {"name": "b"}]}, leftovers=["incoming/x"])

    assert one.complaints(one) == []
    assert other.complaints(one) == ['jobs, only in the second: {"name": "b"}', "left over: incoming/x"]
    assert replace(one, books={"credits_left": 9, "jobs": ["x"]}).complaints(one) == [
        "the cloud's credits_left: 10 and 9"
    ]
    twice = replace(one, books={"credits_left": 10, "jobs": ["x", "x"]})
    assert twice.complaints(one) == ["the cloud's jobs: 1 and 2 rows, some of them more than once"]
