"""Rule R8 about the pipeline: each state of affairs is told once, to those who look after the system."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import DraftMessage
from sagwatch.steps.check_health import check_health
from tests.database.published import TRACK, epochs, make_revision, make_site

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CONTACTS = [
    {"name": "Safety", "email": "safety@example.org"},
    {"name": "Operators", "email": "operators@example.org", "health": True},
]


def acquisition(days_ago: int, state: str = "used", until: datetime | None = None) -> models.Acquisition:
    day = NOW - timedelta(days=days_ago)
    return models.Acquisition(
        track_id=TRACK,
        date=day.date(),
        acquired_at=day,
        platform="S1A",
        granules=["g"],
        state=state,
        until=until,
        reason="waits for its pair" if until else None,
        first_seen_at=day,
        changed_at=day,
    )


@pytest.fixture
def watched(ledger: Ledger) -> Ledger:
    """A site whose acquisitions came every twelve days until twelve days ago."""
    ledger.sites.sync([make_site(contacts=CONTACTS)], NOW - timedelta(days=100))
    with ledger.begin() as session:
        session.add_all([acquisition(days) for days in (12, 24, 36, 48, 60)])
    return ledger


def told(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.begin() as session:
        rows = session.execute(
            select(models.OperationEvent.kind, models.OperationEvent.text)
            .where(models.OperationEvent.dedupe_key.startswith("R8:"))
            .order_by(models.OperationEvent.id)
        )
        return [(kind, text) for kind, text in rows]


def test_a_system_in_order_is_silent(watched):
    watched.operations.note_credits(500, NOW)

    assert check_health(watched, NOW) == 0
    assert told(watched) == []


def test_silence_is_told_once_and_again_only_when_it_is_a_new_silence(watched):
    late = NOW + timedelta(days=20)

    assert check_health(watched, late) == 1
    assert check_health(watched, late + timedelta(minutes=30)) == 0
    [(kind, text)] = told(watched)
    assert kind == "no_new_acquisition"
    assert "32 days ago, where one comes every 12 days" in text
    assert "silence does not mean that it is stable" in text


def test_low_credits_overdue_inputs_rejected_revisions_and_stuck_messages_are_told(watched):
    watched.operations.note_credits(20, NOW)
    watched.revisions.write_down(replace(make_revision(3, epochs(5), TRACK)), NOW)
    with watched.begin() as session:
        session.add(acquisition(1, "pending", NOW - timedelta(hours=1)))
        session.get_one(models.Revision, "revision-3").state = "abandoned"
        draft = DraftMessage(
            "k",
            "anyang",
            None,
            None,
            "summary",
            "mail",
            "x@example.org",
            "<k@sagwatch>",
            None,
            "s",
            "t",
            None,
        )
        watched.outbox.put(session, [draft], NOW - timedelta(hours=2))

    assert check_health(watched, NOW) == 4

    found = dict(told(watched))
    assert set(found) == {"credits_low", "input_incomplete", "revision_rejected", "outbox_stuck"}
    assert "20 HyP3 credits are left" in found["credits_low"]
    assert "waits for its pair" in found["input_incomplete"]
    assert "revision 3" in found["revision_rejected"]
    assert "1 messages wait for longer than 1 hours" in found["outbox_stuck"]


def test_only_those_who_look_after_the_system_are_told_and_none_where_the_rule_is_off(watched):
    check_health(watched, NOW + timedelta(days=20))

    with watched.begin() as session:
        mails = session.execute(select(models.Message.recipient, models.Message.kind)).all()
    assert mails == [("operators@example.org", "health")]

    watched.sites.sync([make_site(contacts=CONTACTS, alerts={"health": {"tell": "off"}})], NOW)
    watched.operations.note_credits(0, NOW)
    assert check_health(watched, NOW + timedelta(days=60)) == 0
