"""The monthly digest: what was not worth waking anybody for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from sagwatch.adapters.database import models
from sagwatch.domain.rules import rules_sha256
from sagwatch.steps.compose_digest import compose_digest
from tests.database.published import epochs, make_revision, make_site
from tests.domain.moving_ground import RULES, TRACK, Basin, grid_of, invent_ground, live_through

SHAPE = (40, 40)
DECIDED = datetime(2021, 1, 20, tzinfo=UTC)
CONTACTS = [{"name": "Shift", "email": "shift@example.org"}]


@pytest.fixture
def watched(ledger):
    """A ledger with a basin's judgements, all decided on one day."""
    site = make_site("invented", *SHAPE, contacts=CONTACTS)
    ledger.sites.sync([site], DECIDED)
    ledger.revisions.write_down(make_revision(1, epochs(5), TRACK), DECIDED)
    judged = live_through(invent_ground(5, 34, SHAPE, [Basin(-300, 10)], 3.0, 2.0), range(7, 34))
    with ledger.begin() as session:
        for one in judged:
            ledger.alerts.save_judgement(
                session, TRACK, one, grid_of(SHAPE), "revision-1", rules_sha256(RULES), DECIDED
            )
    return ledger, site, judged


def write(ledger, site, as_of: datetime, points: int = 0) -> int:
    with ledger.begin() as session:
        return compose_digest(ledger.alerts, ledger.outbox, session, site, points, as_of)


def test_last_months_advisories_and_open_alerts_are_told_once(watched):
    ledger, site, judged = watched

    assert write(ledger, site, datetime(2021, 2, 2, tzinfo=UTC), points=7) == 1
    assert write(ledger, site, datetime(2021, 2, 20, tzinfo=UTC), points=7) == 0

    with ledger.begin() as session:
        mail = session.scalars(select(models.Message)).one()
    advisories = [e for one in judged for e in one.events if e.told == "digest"]
    assert advisories
    for event in advisories:
        assert f"{event.epoch.isoformat()}: {event.sentence}" in mail.body_text
    assert not [
        e
        for one in judged
        for e in one.events
        if e.told == "page" and f": {e.sentence}" in mail.body_text and e.rule != "R1"
    ]
    assert "Open: " in mail.body_text
    assert "7 points are beyond 40 mm/yr over the whole record" in mail.body_text
    assert "had a message of its own" in mail.body_text


def test_a_month_without_anything_has_no_digest(ledger):
    site = make_site("invented", *SHAPE, contacts=CONTACTS)
    ledger.sites.sync([site], DECIDED)

    assert write(ledger, site, datetime(2021, 2, 2, tzinfo=UTC)) == 0


def test_months_without_a_publication_are_caught_up_in_the_next_digest(watched):
    ledger, site, _ = watched
    assert write(ledger, site, datetime(2021, 2, 2, tzinfo=UTC)) == 1

    late = live_through(invent_ground(5, 44, SHAPE, [Basin(-300, 10, 24)], 3.0, 2.0), range(7, 44))
    with ledger.begin() as session:
        for one in late[27:]:
            ledger.alerts.save_judgement(
                session,
                TRACK,
                one,
                grid_of(SHAPE),
                "revision-1",
                rules_sha256(RULES),
                datetime(2021, 2, 5, tzinfo=UTC),
            )
    advisories = [e for one in late[27:] for e in one.events if e.told == "digest"]
    assert advisories

    assert write(ledger, site, datetime(2021, 6, 9, tzinfo=UTC)) == 1
    with ledger.begin() as session:
        newest = session.scalars(select(models.Message).order_by(models.Message.id.desc())).first()
    assert "digest of 2021-02 to 2021-05" in newest.subject
    assert all(event.sentence in newest.body_text for event in advisories)
