"""Schema analyst: what an invented history looks like to people who ask in SQL."""

import json
import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest
from sqlalchemy import text

from sagwatch.adapters.database import models
from sagwatch.adapters.database.migrate import SQL_FOLDER, VIEWS
from sagwatch.adapters.database.status import read_status
from tests.conftest import ROOT
from tests.database.published import START, TRACK, at, epochs, make_arrays, make_site, publish

SHAPE = (20, 37)
DAYS = epochs(6)
SQUARE = "SRID=4326;MULTIPOLYGON(((110.8 37.4,110.81 37.4,110.81 37.41,110.8 37.41,110.8 37.4)))"


def rows(ledger, statement, **values):
    with ledger.begin() as session:
        return session.execute(text(statement), values).all()


def add(ledger, *things):
    with ledger.begin() as session:
        for thing in things:
            session.add(thing)
            session.flush()


def acquisition(day, state, **values):
    return models.Acquisition(
        track_id=TRACK,
        date=day,
        acquired_at=START,
        platform="S1A",
        granules=["g"],
        state=state,
        first_seen_at=START,
        changed_at=START,
        **values,
    )


def pair(name, reference, secondary, **values):
    return models.Pair(
        id=name,
        track_id=TRACK,
        reference_date=reference,
        secondary_date=secondary,
        why="neighbours",
        planned_at=START,
        **values,
    )


def job(name, pair_id, state, attempt=1, **values):
    return models.Job(
        name=name,
        pair_id=pair_id,
        attempt=attempt,
        job_type="INSAR_GAMMA",
        parameters={},
        credits=10,
        state=state,
        intended_at=START,
        **values,
    )


def interferogram(pair_id, state="accepted", reason=None):
    return models.Interferogram(
        id=f"i-{pair_id}",
        pair_id=pair_id,
        product_sha256="p",
        config_sha256="c",
        path="x.h5",
        file_sha256="f",
        mean_coherence=0.6,
        valid_fraction=0.9,
        state=state,
        excluded_by="coherence" if state == "excluded" else None,
        reason=reason,
        made_at=START,
    )


@pytest.fixture
def mine(ledger):
    """One site with a published revision in which four points sink, each for another reason told or not told."""
    ledger.sites.sync([make_site()], START)
    velocity = {days: np.zeros(SHAPE, np.float32) for days in (0, 150, 365)}
    why, zone = np.ones(SHAPE, np.uint8), np.full(SHAPE, -1)
    velocity[150][2, 2], zone[2, 2], why[2, 2] = -80, 0, 0  # in the alert
    velocity[150][2, 5], why[2, 5] = -70, 2  # refused with a reason
    velocity[0][2, 8], why[2, 8] = -41, 3  # in the past only
    velocity[365][2, 11], zone[2, 11], why[2, 11] = -60, 1, 0  # in a zone that is no alert yet
    texts = {
        1: "no velocity beyond",
        2: "fewer than 9 connected pixels",
        3: "not beyond in the window: past motion",
    }
    los_mm = np.zeros((6, *SHAPE), np.float32)
    publish(
        ledger,
        1,
        make_arrays(
            los_mm,
            velocity_mm_yr=velocity,
            why_not=why,
            why_not_texts=texts,
            zone=zone,
            zone_ids={0: "zone-a", 1: "zone-b"},
        ),
    )
    add(
        ledger,
        models.Judgement(
            track_id=TRACK,
            epoch=DAYS[-1],
            revision_id="revision-1",
            rules_sha256="r",
            zones=2,
            judged_at=at(1),
        ),
        *(
            models.Zone(
                id=f"zone-{letter}",
                track_id=TRACK,
                name=f"Z-{letter}",
                born_epoch=DAYS[-2],
                last_epoch=DAYS[-1],
                episode=1,
                updates_unseen=0,
            )
            for letter in "ab"
        ),
        *(
            models.ZoneSnapshot(
                zone_id="zone-a",
                epoch=day,
                revision_id="revision-1",
                geom=SQUARE,
                area_m2=area,
                pixels=12,
                window_days=150,
                velocity_median_mm_yr=-60,
                velocity_p95_mm_yr=-80,
                velocity_sd_mm_yr=5,
                no_data_fraction=0,
                evidence={},
            )
            for day, area in ((DAYS[-2], 50_000), (DAYS[-1], 76_800))
        ),
        models.Alert(
            id="alert-a",
            track_id=TRACK,
            subject="zone-a",
            zone_id="zone-a",
            rule="R1",
            rules_sha256="r",
            episode=1,
            state="raised",
            level=1,
            pending_level=1,
            updates_beyond=2,
            updates_below=0,
            raised_epoch=DAYS[-1],
            last_epoch=DAYS[-1],
        ),
        models.AlertEvent(
            id="event-a",
            alert_id="alert-a",
            track_id=TRACK,
            epoch=DAYS[-1],
            type="raised",
            from_state="pending",
            to_state="raised",
            from_level=0,
            to_level=1,
            revision_id="revision-1",
            evidence={"pixels": 12},
            sentence="The ground moves away from the satellite.",
            decided_at=at(1),
        ),
        models.Message(
            dedupe_key="m1",
            site="anyang",
            alert_id="alert-a",
            event_id="event-a",
            kind="alert",
            channel="mail",
            recipient="safety@example.org",
            message_id="<event-a@sagwatch>",
            subject="Level 1",
            body_text="...",
            state="waiting",
            created_at=at(1),
        ),
    )
    return ledger


def test_every_file_is_applied_and_every_view_and_function_explains_itself(ledger):
    assert sorted(VIEWS) == sorted(path.stem for path in (SQL_FOLDER / "views").glob("*.sql"))
    silent = rows(
        ledger,
        "SELECT relname FROM pg_class WHERE relnamespace = 'analyst'::regnamespace "
        "AND obj_description(oid, 'pg_class') IS NULL UNION ALL "
        "SELECT proname FROM pg_proc WHERE pronamespace = 'analyst'::regnamespace "
        "AND obj_description(oid, 'pg_proc') IS NULL",
    )
    assert silent == []


def test_every_view_answers(mine):
    names = [row[0] for row in rows(mine, "SELECT viewname FROM pg_views WHERE schemaname = 'analyst'")]
    assert len(names) > 15
    for name in names:
        rows(mine, f"SELECT * FROM analyst.{name}")


def test_every_velocity_has_exactly_one_class(ledger):
    expected = {
        -49.2: "high",
        -40.01: "high",
        -40: "moderate",
        -35: "moderate",
        -10: "moderate",
        -9.9: "stable",
        -5: "stable",
        10: "stable",
        10.1: "uplift",
        "NaN": "unknown",
        None: "unknown",
    }

    found = {
        velocity: rows(ledger, "SELECT analyst.velocity_class(CAST(:v AS real))", v=velocity)[0][0]
        for velocity in expected
    }

    assert found == expected


def test_every_point_below_the_threshold_has_a_reason_for_its_alert_or_the_lack_of_one(mine):
    found = rows(
        mine,
        "SELECT fastest_mm_yr, in_alert, level, reason FROM analyst.points_below_threshold ORDER BY fastest_mm_yr",
    )
    assert found == [
        (-80, True, 1, f"alert of level 1 in Z-a since {DAYS[-1]}"),
        (-70, False, None, "fewer than 9 connected pixels"),
        (-60, False, None, "in Z-b, not yet in enough updates in a row"),
        (-41, False, None, "not beyond in the window: past motion"),
    ]


def test_the_threshold_is_the_sites_own(mine):
    mine.sites.sync_site(make_site(alerts={"levels_mm_yr": [-65, -100]}), at(2))

    found = rows(mine, "SELECT threshold_mm_yr, count(*) FROM analyst.points_below_threshold GROUP BY 1")

    assert found == [(-65, 2)]


def test_an_alert_comes_with_its_zone_as_last_seen_its_sentence_and_its_message(mine):
    found = rows(
        mine,
        "SELECT site, zone, open, level, since, sentence, last_message, last_message_state, area_m2 "
        "FROM analyst.alerts",
    )
    sentence = "The ground moves away from the satellite."
    assert found == [("anyang", "Z-a", True, 1, DAYS[-1], sentence, "Level 1", "waiting", 76_800)]
    told = rows(
        mine,
        "UPDATE sagwatch.zone_snapshot SET evidence = '{\"sentence\": \"It moves at 90.\"}' WHERE zone_id = 'zone-a' "
        "RETURNING 1",
    )
    assert len(told) == 2
    today = rows(mine, "SELECT sentence, sentence_epoch, last_event_sentence FROM analyst.alerts")
    assert today == [(f"Level 1 since {DAYS[-1]}. It moves at 90.", DAYS[-1], sentence)]
    (place,) = rows(mine, "SELECT longitude, latitude FROM analyst.alerts")
    assert tuple(place) == pytest.approx((110.805, 37.405))
    assert rows(mine, "SELECT zone, type, to_level FROM analyst.alert_history") == [("Z-a", "raised", 1)]
    assert rows(mine, "SELECT zone, area_m2 FROM analyst.zones ORDER BY 1") == [("Z-a", 76800), ("Z-b", None)]


def test_a_date_without_data_is_a_row_with_null(ledger):
    ledger.sites.sync([make_site()], START)
    los_mm = np.zeros((3, *SHAPE), np.float32)
    los_mm[1] = np.nan  # a whole acquisition without data leaves no tile behind
    publish(ledger, 1, make_arrays(los_mm))

    found = rows(ledger, "SELECT * FROM analyst.series((SELECT min(id) FROM sagwatch.point))")

    assert found == [(DAYS[0], 0, False), (DAYS[1], None, False), (DAYS[2], 0, False)]


def test_what_stands_on_preliminary_input_is_provisional_in_every_view_of_the_newest_state(ledger):
    ledger.sites.sync([make_site()], START)
    publish(ledger, 1, make_arrays(np.zeros((3, *SHAPE), np.float32)))
    answers = (
        "SELECT provisional FROM analyst.epochs ORDER BY date",
        "SELECT provisional FROM analyst.series((SELECT min(id) FROM sagwatch.point))",
        "SELECT DISTINCT provisional FROM analyst.current_velocities",
        "SELECT provisional, acquisitions_provisional FROM analyst.freshness",
        "SELECT DISTINCT provisional FROM analyst.velocities_as_of('anyang', 'infinity')",
    )
    assert [rows(ledger, one) for one in answers] == [
        [(False,)] * 3,
        [(False,)] * 3,
        [(False,)],
        [(False, 0)],
        [(False,)],
    ]

    with ledger.begin() as session:
        row = session.get(models.Revision, "revision-1")
        row.troposphere, row.orbits = (
            ["final", "final", "preliminary"],
            ["precise", "restituted", "restituted"],
        )

    assert rows(ledger, "SELECT date, why FROM analyst.epochs ORDER BY date") == [
        (DAYS[0], None),
        (DAYS[1], "restituted orbits"),
        (DAYS[2], "preliminary weather data, restituted orbits"),
    ]
    mixed = [(False,), (True,), (True,)]
    assert [rows(ledger, one) for one in answers] == [mixed, mixed, [(True,)], [(True, 2)], [(True,)]]


def test_whatever_tells_how_the_ground_moves_tells_whether_that_is_provisional(ledger):
    found = rows(
        ledger,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'analyst' GROUP BY table_name "
        "HAVING bool_or(column_name ~ '(velocity|displacement|_mm|sentence)') "
        "AND NOT bool_or(column_name = 'provisional')",
    )

    assert sorted(name for (name,) in found) == ["audits", "gradient_limits"], "neither is about motion"


def test_an_acquisition_that_the_average_corrects_is_marked(ledger):
    ledger.sites.sync([make_site()], START)
    publish(ledger, 1, make_arrays(np.zeros((3, *SHAPE), np.float32)))
    asked = "SELECT average_correction FROM analyst.epochs ORDER BY date"
    assert rows(ledger, asked) == [(False,)] * 3, "nothing is said of it"

    with ledger.begin() as session:
        session.get(models.Revision, "revision-1").summary = {"average_correction": [f"{DAYS[1]}"]}

    assert rows(ledger, asked) == [(False,), (True,), (False,)]


def test_the_nearest_point_is_the_nearest_in_metres(mine):
    grid = make_site().tracks[0].grid.grid()
    longitude, latitude = (float(value) for value in grid.lon_lat(7, 9))

    found = rows(
        mine,
        "SELECT point.row, point.column, distance_m FROM analyst.nearest_point(:x, :y, 'anyang') n "
        "JOIN sagwatch.point ON point.id = n.point_id",
        x=longitude + 0.0001,
        y=latitude,
    )

    assert [(row, column) for row, column, _ in found] == [(7, 9)]
    assert found[0][2] == pytest.approx(8.8, abs=0.2)
    assert rows(mine, "SELECT * FROM analyst.nearest_point(110, 37, 'elsewhere')") == []


def test_acquisitions_that_nothing_accounts_for_are_listed_and_others_not(mine):
    mine.sites.sync_site(make_site(), START)
    with mine.begin() as session:
        session.get(models.Track, TRACK).searched_at = START + timedelta(days=10)
    add(
        mine,
        acquisition(DAYS[0], "used"),
        acquisition(DAYS[1], "used"),
        acquisition(DAYS[2], "rejected", reason="only HH"),
        acquisition(DAYS[3], "pending", until=START + timedelta(days=11)),
        acquisition(DAYS[4], "pending", until=START + timedelta(days=9)),
        acquisition(DAYS[5], "new"),
        acquisition(date(2024, 2, 1), "used"),
        pair("p1", DAYS[0], DAYS[1]),
        interferogram("p1"),
    )

    found = rows(mine, "SELECT date, state FROM analyst.unexplained_acquisitions ORDER BY date")

    assert found == [(DAYS[4], "pending"), (DAYS[5], "new"), (date(2024, 2, 1), "used")]
    assert rows(mine, "SELECT count(*) FROM analyst.acquisitions") == [(7,)]


def test_what_is_begun_and_not_done_is_on_the_list(mine):
    add(
        mine,
        pair("never", DAYS[0], DAYS[1]),
        pair("failed", DAYS[1], DAYS[2]),
        job("j1", "failed", "failed"),
        pair("running", DAYS[2], DAYS[3]),
        job("j2", "running", "open", requested_at=START),
        pair("done", DAYS[3], DAYS[4]),
        job("j3", "done", "fetched"),
        interferogram("done"),
        pair("dull", DAYS[4], DAYS[5]),
        job("j4", "dull", "fetched"),
        interferogram("dull", "excluded", "mean coherence 0.05"),
        pair("unwanted", DAYS[0], DAYS[5], wanted=False),
        pair("lost", DAYS[0], DAYS[4], given_up_at=START, given_up_reason="failed three times"),
    )

    waiting = {row[0] for row in rows(mine, "SELECT pair_id FROM analyst.pairs_without_job")}
    kinds = [row[0] for row in rows(mine, "SELECT kind FROM analyst.unfinished_work ORDER BY kind")]

    assert waiting == {"never", "failed"}
    assert kinds == ["job running", "message not sent", "pair without job", "pair without job"]
    assert rows(mine, "SELECT reason FROM analyst.pairs_given_up") == [("failed three times",)]


def test_credits_are_counted_by_month_of_order_and_site(mine):
    add(
        mine,
        pair("a", DAYS[0], DAYS[1]),
        job("j1", "a", "failed", requested_at=START),
        job("j2", "a", "fetched", attempt=2, requested_at=START + timedelta(days=40)),
        job("j3", "a", "intended", attempt=3),
    )

    found = rows(
        mine,
        "SELECT site, month, orders, credits_spent, budget_per_month FROM analyst.credits ORDER BY month",
    )

    assert found == [
        ("anyang", date(2024, 1, 1), 1, 10, 500),
        ("anyang", date(2024, 2, 1), 1, 10, 500),
    ]


def test_freshness_tells_how_far_behind_a_track_is(mine):
    with mine.begin() as session:
        session.get(models.Track, TRACK).searched_at = START
    add(mine, acquisition(DAYS[5], "pending", until=at(9)), acquisition(DAYS[4], "rejected", reason="HH"))

    found = rows(
        mine,
        "SELECT last_acquisition_seen, last_acquisition_shown, revision_number, days_behind, acquisitions_pending "
        "FROM analyst.freshness",
    )

    assert found == [(DAYS[5], DAYS[5], 1, (START.date() - DAYS[5]).days, 1)]


def test_an_archived_site_leaves_the_current_views_and_keeps_its_history(mine):
    point = rows(mine, "SELECT min(id) FROM sagwatch.point")[0][0]

    mine.sites.sync([], at(3))

    assert rows(mine, "SELECT count(*) FROM analyst.current_velocities") == [(0,)]
    assert rows(mine, "SELECT count(*) FROM analyst.freshness") == [(0,)]
    assert len(rows(mine, "SELECT * FROM analyst.series(:p)", p=point)) == 6
    assert len(rows(mine, "SELECT * FROM analyst.alert_history")) == 1
    assert len(rows(mine, "SELECT * FROM analyst.velocities_as_of('anyang', :t)", t=at(3))) == 20 * 37


# --- python -m sagwatch -------------------------------------------------------------------------------------


def sagwatch(url, *words):
    environment = {"PYTHONPATH": str(ROOT / "include"), "SAGWATCH_DATABASE_URL": url, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "sagwatch", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_status_counts_what_there_is(mine, postgis_url):
    add(
        mine,
        acquisition(DAYS[0], "new"),
        pair("a", DAYS[0], DAYS[1]),
        job("j", "a", "open", requested_at=START),
    )
    mine.operations.note_credits(70, START)

    (status,) = read_status(mine, "anyang")
    said = sagwatch(postgis_url, "status", "anyang", "--json")

    expected = {
        "site": "anyang",
        "acquisitions": 1,
        "pairs": 1,
        "jobs": 1,
        "interferograms": 0,
        "credits_spent": 10.0,
        "credits_remaining": 70.0,
        "points": 20 * 37,
        "worst_velocity_mm_yr": -80.0,
        "zones": 2,
        "alerts_open": 1,
        "events": 1,
        "messages_sent": 0,
        "messages_waiting": 1,
        "unexplained": 1,
        "revision": 1,
        "last_epoch": DAYS[-1],
        "mintpy_folder": "revisions/000001-revision-1",
        "audited": None,
        "equals_mintpy": None,
    }
    assert status.as_dict() == expected
    assert json.loads(said.stdout) == {**expected, "last_epoch": str(DAYS[-1])}


def test_the_command_line_tells_an_error_in_one_line(postgis_url):
    unknown = sagwatch(postgis_url, "status", "nowhere")
    away = sagwatch("postgresql://x@127.0.0.1:1/y", "migrate")
    unset = sagwatch("", "migrate")

    assert (unknown.returncode, away.returncode, unset.returncode) == (64, 75, 64)
    assert unknown.stderr.strip() == (
        "sagwatch status: the ledger knows no site nowhere; it knows none yet: run its DAG once"
    )
    assert "is away" in away.stderr
    assert "set SAGWATCH_DATABASE_URL" in unset.stderr
    assert all(said.stderr.count("\n") == 1 for said in (unknown, away, unset))
