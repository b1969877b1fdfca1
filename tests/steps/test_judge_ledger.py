"""Judgements that are written down: lived through in any batches, crashed and repeated, they are the same."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pytest
from geoalchemy2.shape import to_shape
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.judgement import Judged
from sagwatch.domain.rules import rules_sha256
from sagwatch.errors import BadRevisionError
from tests.database.published import epochs as _epochs
from tests.database.published import make_revision, make_site
from tests.domain.moving_ground import (
    RULES,
    TRACK,
    Basin,
    days_of,
    grid_of,
    history,
    invent_ground,
    live_through,
)

SHAPE = (64, 64)
AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
RULES_SHA256 = rules_sha256(RULES)


@lru_cache(maxsize=1)
def ground() -> np.ndarray:
    """Two basins side by side that grow together, stop, and one that returns within a year."""
    basins = [
        Basin(-300, 12, 24, 0.3, 0.3),
        Basin(-260, 14, 24, 0.3, 0.55),
        Basin(-250, 30, 40, 0.7, 0.7),
        Basin(-250, 52, 66, 0.7, 0.7),
    ]
    return invent_ground(12, 66, SHAPE, basins, 5.0, 3.0)


@pytest.fixture
def watched(ledger: Ledger) -> Ledger:
    """A ledger with the invented track and one revision to hang judgements on."""
    ledger.sites.sync([make_site("invented", *SHAPE)], AS_OF)
    ledger.revisions.write_down(make_revision(1, _epochs(5), TRACK), AS_OF)
    return ledger


def judge_and_save(ledger: Ledger, epochs: range) -> list[Judged]:
    """One run of the publication step's transaction, as far as judgement goes."""
    with ledger.begin() as session:
        judged = live_through(ground(), epochs, ledger.alerts.load_state(session, TRACK))
        for one in judged:
            ledger.alerts.save_judgement(
                session, TRACK, one, grid_of(SHAPE), "revision-1", RULES_SHA256, AS_OF
            )
    return judged


def test_living_through_in_batches_with_the_ledger_between_equals_one_replay(watched):
    expected = live_through(ground(), range(7, 66))

    lived = [
        one
        for batch in (range(7, 14), *(range(i, i + 1) for i in range(14, 20)), range(20, 50), range(50, 66))
        for one in judge_and_save(watched, batch)
    ]

    assert [one.events for one in lived] == [one.events for one in expected]
    kinds = [kind for _, kind, _ in history(expected)]
    assert kinds.count("raised") >= 3
    assert "cleared" in kinds
    with watched.begin() as session:
        events = session.scalars(select(models.AlertEvent.id)).all()
        assert sorted(events) == sorted(event.id for one in expected for event in one.events)
        assert session.scalar(select(func.count()).select_from(models.Judgement)) == 59
        zones = session.scalars(select(models.Zone.id)).all()
    assert set(zones) == {zone.id for one in expected for zone in one.state.zones}
    returned = [z for one in expected for z in one.state.zones if z.episode == 2]
    assert returned, "no zone came back: the ground shows nothing of it"


def test_asking_twice_decides_nothing_twice(watched):
    first = judge_and_save(watched, range(7, 30))

    assert history(first)
    assert judge_and_save(watched, range(7, 30)) == []
    with watched.begin() as session:
        again = [
            watched.alerts.save_judgement(
                session, TRACK, one, grid_of(SHAPE), "revision-1", RULES_SHA256, AS_OF
            )
            for one in first
        ]
        assert again == [False] * len(first)
        decided = sum(len(one.events) for one in first)
        assert session.scalar(select(func.count()).select_from(models.AlertEvent)) == decided


def test_a_publication_that_fails_leaves_nothing_and_the_next_one_decides_the_same(watched):
    class KilledError(Exception):
        pass

    judged: list[Judged] = []

    def killed_run() -> None:
        with watched.begin() as session:
            judged.extend(live_through(ground(), range(7, 30), watched.alerts.load_state(session, TRACK)))
            for one in judged:
                watched.alerts.save_judgement(
                    session, TRACK, one, grid_of(SHAPE), "revision-1", RULES_SHA256, AS_OF
                )
            raise KilledError

    with pytest.raises(KilledError):
        killed_run()

    with watched.begin() as session:
        assert watched.alerts.load_state(session, TRACK).last_epoch is None
        assert watched.alerts.judged_epochs(session, TRACK) == frozenset()
    assert [one.events for one in judge_and_save(watched, range(7, 30))] == [one.events for one in judged]


def test_the_rows_are_what_was_judged(watched):
    judged = judge_and_save(watched, range(7, 24))
    shown = judged[-1].snapshots[0]

    with watched.begin() as session:
        row = session.get_one(models.ZoneSnapshot, (shown.zone_id, judged[-1].epoch))
        zone = session.get_one(models.Zone, shown.zone_id)
        area = session.scalar(
            text(
                "SELECT ST_Area(geom::geography) FROM sagwatch.zone_snapshot WHERE zone_id = :z AND epoch = :e"
            ),
            {"z": row.zone_id, "e": row.epoch},
        )
        event = session.get(models.AlertEvent, next(e.id for one in judged for e in one.events))
        opened = watched.alerts.open_alerts(session, TRACK)
    assert area == pytest.approx(shown.area_m2, rel=2e-3)  # an area on the ellipsoid against one in UTM
    assert row.pixels == shown.footprint.size == len(shown.footprint.pixels)
    assert to_shape(row.geom).is_valid
    assert row.velocity_median_mm_yr == pytest.approx(shown.window.median_mm_yr)
    assert zone.last_epoch == judged[-1].epoch
    assert event is not None
    assert event.sentence == next(e for one in judged for e in one.events).sentence
    assert {alert.id for alert in opened} == {a.id for a in judged[-1].state.alerts if a.is_open}
    assert {alert.rule for alert in opened} >= {"R1", "R3"}


def test_events_cannot_be_changed_or_deleted(watched):
    judge_and_save(watched, range(7, 24))

    for statement in ("UPDATE sagwatch.alert_event SET sentence = ''", "DELETE FROM sagwatch.alert_event"):
        with pytest.raises(DBAPIError), watched.engine.begin() as connection:
            connection.execute(text(statement))


def test_late_acquisitions_are_written_down_and_decide_nothing(watched):
    judge_and_save(watched, range(7, 24))
    late = days_of(66)[5]

    with watched.begin() as session:
        before = watched.alerts.load_state(session, TRACK)
        watched.alerts.note_late(session, TRACK, [late], "revision-1", RULES_SHA256, AS_OF)
        watched.alerts.note_late(session, TRACK, [late], "revision-1", RULES_SHA256, AS_OF)
        assert late in watched.alerts.judged_epochs(session, TRACK)
        assert watched.alerts.load_state(session, TRACK) == before


def test_a_judgement_on_an_outdated_state_is_refused(watched):
    old = live_through(ground(), range(7, 20))
    judge_and_save(watched, range(12, 24))

    with pytest.raises(BadRevisionError, match="cannot be judged after"), watched.begin() as session:
        watched.alerts.save_judgement(
            session, TRACK, old[0], grid_of(SHAPE), "revision-1", RULES_SHA256, AS_OF
        )
