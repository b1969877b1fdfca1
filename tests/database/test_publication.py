"""Publication: what goes in comes out, only what changed is written, and nobody sees half of it."""

import dataclasses
import threading
from collections import Counter

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from sagwatch.adapters.database.tile_writer import TOLERANCE
from sagwatch.domain.blind_spots import Blind, GradientLimit
from sagwatch.domain.point import point_ids
from sagwatch.domain.sentence import WAVELENGTH_M
from sagwatch.errors import BadRevisionError, FencedError, TryAgainError
from tests.database.published import (
    FIRST_EPOCH,
    START,
    TRACK,
    at,
    epochs,
    make_arrays,
    make_revision,
    make_series,
    make_site,
    publish,
)


@pytest.fixture
def site_ledger(ledger):
    """A ledger that knows one site, without data."""
    ledger.sites.sync([make_site()], START)
    return ledger


def rows(ledger, statement, **values):
    with ledger.begin() as session:
        return session.execute(text(statement), values).all()


def shown_series(ledger, epochs_count, shape=(20, 37)):
    """What `analyst.series` shows of every point, as an array like the one that was published."""
    found = rows(
        ledger,
        "SELECT point.row, point.column, series.date, series.displacement_mm "
        "FROM sagwatch.point CROSS JOIN LATERAL analyst.series(point.id)",
    )
    days = {day: i for i, day in enumerate(epochs(epochs_count))}
    shown = np.full((epochs_count, *shape), np.nan, np.float32)
    for row, column, day, value in found:
        if value is not None:
            shown[days[day], row, column] = value
    return shown


def test_what_was_published_is_what_people_read(site_ledger):
    los_mm = make_series(12)

    written = publish(site_ledger, 1, make_arrays(los_mm))

    np.testing.assert_array_equal(shown_series(site_ledger, 12), los_mm)
    with_data = np.isfinite(los_mm).any(axis=0)
    assert written.points_new == written.points == with_data.sum()
    ids = point_ids(TRACK, make_site().tracks[0].grid.grid())
    assert {row[0] for row in rows(site_ledger, "SELECT point_id FROM analyst.current_velocities")} == set(
        ids[with_data].tolist()
    )


def test_current_values_belong_to_their_pixel_and_no_data_is_null(site_ledger):
    los_mm = make_series(6)
    arrays = make_arrays(los_mm)

    publish(site_ledger, 1, arrays)

    found = rows(
        site_ledger,
        "SELECT point.row, point.column, c.velocity_mm_yr, c.velocity_365d_mm_yr, c.displacement_mm, "
        "c.longitude, c.latitude FROM analyst.current_velocities c JOIN sagwatch.point ON point.id = c.point_id",
    )
    assert found
    for row, column, velocity, yearly, displacement, longitude, latitude in found:
        expected = arrays.velocity_mm_yr[0][row, column]
        assert velocity == expected if np.isfinite(expected) else velocity is None
        assert displacement == los_mm[-1, row, column] or (
            displacement is None and np.isnan(los_mm[-1, row, column])
        )
        assert yearly is None
        assert arrays.grid.row_column(longitude, latitude) == (row, column)


def test_appending_an_epoch_writes_only_the_tiles_that_changed(site_ledger):
    los_mm = make_series(9)
    publish(site_ledger, 1, make_arrays(los_mm[:8]))
    appended = los_mm.copy()
    appended[7, 17, 3] += 1.0  # one value of one tile of the past moves
    appended[:7] += np.float32(TOLERANCE / 10)  # and everything else by less than anyone publishes

    written = publish(site_ledger, 2, make_arrays(appended))

    tiles = 2 * 3
    assert (written.series_tiles, written.series_tiles_closed) == (tiles + 1, 1)
    assert written.points_new == 0
    history = rows(
        site_ledger,
        "SELECT epoch, tile, from_number, until_number FROM sagwatch.series_tile WHERE until_number IS NOT NULL",
    )
    assert history == [(epochs(8)[7], 3, 1, 2)]


def test_a_caller_who_knows_what_changed_saves_the_comparison(site_ledger):
    los_mm = make_series(6)
    publish(site_ledger, 1, make_arrays(los_mm[:5]))

    written = publish(site_ledger, 2, make_arrays(los_mm, changed_from=epochs(6)[5]))

    assert written.series_tiles == 6
    np.testing.assert_array_equal(shown_series(site_ledger, 6), los_mm)


def test_publishing_the_same_values_again_writes_no_tile(site_ledger):
    arrays = make_arrays(make_series(5))
    publish(site_ledger, 1, arrays)

    written = publish(site_ledger, 2, arrays)

    assert (written.series_tiles, written.series_tiles_closed, written.velocity_tiles) == (0, 0, 0)


def test_a_withdrawn_acquisition_ends_and_its_past_stays(site_ledger):
    los_mm = make_series(5)
    publish(site_ledger, 1, make_arrays(los_mm))
    keep = [0, 1, 3, 4]

    publish(site_ledger, 2, make_arrays(los_mm[keep], days=[epochs(5)[i] for i in keep]))

    point = rows(site_ledger, 'SELECT id FROM sagwatch.point WHERE "row" = 9 AND "column" = 20')[0][0]
    now = [day for day, *_ in rows(site_ledger, "SELECT * FROM analyst.series(:p)", p=point)]
    before = [
        row[0] for row in rows(site_ledger, "SELECT * FROM analyst.series_as_of(:p, :t)", p=point, t=at(1))
    ]
    assert now == [epochs(5)[i] for i in keep]
    current = rows(site_ledger, "SELECT DISTINCT epoch FROM sagwatch.series_tile WHERE until_number IS NULL")
    assert {row[0] for row in current} == set(now)
    assert before == list(epochs(5))


def test_a_point_that_loses_its_data_keeps_its_row_and_shows_nothing(site_ledger):
    los_mm = make_series(5)
    publish(site_ledger, 1, make_arrays(los_mm))
    gone = los_mm.copy()
    gone[:, 10, 10] = np.nan

    publish(site_ledger, 2, make_arrays(gone))

    found = rows(
        site_ledger,
        "SELECT velocity_mm_yr, displacement_mm, observations, c.revision_number FROM analyst.current_velocities c "
        "JOIN sagwatch.point ON point.id = point_id WHERE point.row = 10 AND point.column = 10",
    )
    assert found == [(None, None, 0, 2)]


def test_reasons_and_zones_come_with_their_texts(site_ledger):
    los_mm = make_series(3)
    los_mm[:, 5, 5:8] = 1.0
    why, zone = np.zeros((20, 37), np.uint8), np.full((20, 37), -1)
    why[5, 5], why[5, 6], zone[5, 6] = 7, 3, 0

    publish(
        site_ledger,
        1,
        make_arrays(
            los_mm,
            why_not=why,
            why_not_texts={3: "not reliable", 7: "too small", 9: "never used"},
            zone=zone,
            zone_ids={0: "zone-a"},
        ),
    )

    found = rows(
        site_ledger,
        'SELECT "column", why_not, zone_id FROM sagwatch.point_velocity JOIN sagwatch.point ON id = point_id '
        'WHERE "row" = 5 AND "column" BETWEEN 5 AND 7 ORDER BY 1',
    )
    assert found == [(5, "too small", None), (6, "not reliable", "zone-a"), (7, None, None)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_publishing_one_by_one_equals_publishing_at_once(ledger, data):
    """Whatever order of appended and revised epochs: the current values are those of the last revision alone."""
    seed = data.draw(st.integers(0, 2**16))
    lengths = sorted(data.draw(st.lists(st.integers(2, 8), min_size=1, max_size=4)))
    name = f"mine_{seed}_{'_'.join(map(str, lengths))}_{data.draw(st.integers(0, 10**9))}"
    rng = np.random.default_rng(seed)
    ledger.sites.sync_site(make_site(name), START)
    ledger.sites.sync_site(make_site(f"{name}b"), START)
    shown_then = []
    for number, length in enumerate(lengths, start=1):
        los_mm = make_series(length, seed=seed)
        los_mm += np.where(rng.random(los_mm.shape) < 0.002, 5, 0).astype(np.float32)
        arrays = make_arrays(los_mm)
        _publish_as(ledger, f"{name}/t011a", number, arrays)
        shown_then.append(_current(ledger, f"{name}/t011a"))
    _publish_as(ledger, f"{name}b/t011a", 1, arrays)

    at_once, one_by_one = _current(ledger, f"{name}b/t011a"), _current(ledger, f"{name}/t011a")
    assert one_by_one.keys() == at_once.keys()
    assert len(at_once) > 0
    for key, values in at_once.items():
        np.testing.assert_allclose(one_by_one[key], values, atol=TOLERANCE * 1.01)
    for number, then in enumerate(shown_then, start=1):
        assert _as_of(ledger, f"{name}/t011a", number) == then


def _publish_as(ledger, track_id, number, arrays):
    """`publish` for one of many tracks in one ledger: ids of revisions are unique in it."""
    head = ledger.publication.head(track_id)
    built = dataclasses.replace(
        make_revision(number, arrays.epochs, track_id, head.revision_id), id=f"{track_id}-{number}"
    )
    ledger.revisions.write_down(built, at(number))
    with ledger.begin() as session:
        ledger.publication.put_live(
            session, track_id, built.id, head.revision_id, head.fence, arrays, at(number)
        )


def _current(ledger, track_id):
    """Series of some points: (row, column) to (date, mm) pairs, NaN for no data."""
    found = rows(
        ledger,
        "SELECT point.row, point.column, series.date, coalesce(series.displacement_mm, 'NaN') FROM sagwatch.point "
        "CROSS JOIN LATERAL analyst.series(point.id) WHERE track_id = :t AND point.row % 7 = 3 ORDER BY 1, 2, 3",
        t=track_id,
    )
    return _by_point(found)


def _as_of(ledger, track_id, number):
    found = rows(
        ledger,
        "SELECT point.row, point.column, series.date, coalesce(series.displacement_mm, 'NaN') FROM sagwatch.point "
        "CROSS JOIN LATERAL analyst.series_as_of(point.id, :moment) series "
        "WHERE track_id = :t AND point.row % 7 = 3 ORDER BY 1, 2, 3",
        t=track_id,
        moment=at(number),
    )
    return _by_point(found)


def _by_point(found):
    series = {}
    for row, column, day, value in found:
        series.setdefault((row, column), []).append(((day - FIRST_EPOCH).days, round(float(value), 4)))
    return {key: [(d, -9999.0 if v != v else v) for d, v in values] for key, values in series.items()}


def test_velocities_as_of_a_moment_are_those_shown_then(site_ledger):
    first = make_arrays(make_series(5))
    publish(site_ledger, 1, first)
    publish(site_ledger, 2, make_arrays(make_series(6, seed=9)))

    def shown(moment):
        statement = (
            "SELECT point.row, point.column, v.velocity_mm_yr, v.revision_number "
            "FROM analyst.velocities_as_of('anyang', :t) v JOIN sagwatch.point ON point.id = v.point_id"
        )
        return rows(site_ledger, statement, t=moment)

    assert shown(START) == []
    before = shown(at(1))
    assert {row[3] for row in before} == {1}
    assert {row[3] for row in shown(at(2))} == {2}
    expected = first.velocity_mm_yr[0]
    assert len(before) == np.isfinite(expected).sum()
    assert all(velocity == expected[row, column] for row, column, velocity, _ in before)


def test_a_revision_that_returns_after_another_goes_live_again_and_history_tells_both(site_ledger):
    a, b = make_arrays(make_series(4)), make_arrays(make_series(4, seed=5))
    publish(site_ledger, 1, a)
    publish(site_ledger, 2, b)
    head = site_ledger.publication.head(TRACK)
    again = dataclasses.replace(make_revision(3, a.epochs), id="revision-1", input_sha256="input 1")
    site_ledger.revisions.write_down(again, at(3))
    with site_ledger.begin() as session:
        site_ledger.publication.put_live(session, TRACK, "revision-1", head.revision_id, head.fence, a, at(3))

    point = rows(site_ledger, 'SELECT id FROM sagwatch.point WHERE "row" = 9 AND "column" = 20')[0][0]

    def series_at(number):
        found = rows(site_ledger, "SELECT * FROM analyst.series_as_of(:p, :t)", p=point, t=at(number))
        return [row[1] for row in found]

    assert series_at(1) == series_at(3) == pytest.approx(a.los_mm[:, 9, 20].tolist(), rel=1e-6)
    assert series_at(2) == pytest.approx(b.los_mm[:, 9, 20].tolist(), rel=1e-6)


# --- one writer wins, all or nothing ---------------------------------------------------------------------


def test_two_writers_from_one_head_one_wins_and_the_other_is_fenced(site_ledger):
    head = site_ledger.publication.head(TRACK)
    candidates = {number: make_arrays(make_series(4, seed=number)) for number in (1, 2)}
    for number, arrays in candidates.items():
        site_ledger.revisions.write_down(make_revision(number, arrays.epochs), at(number))
    outcome, start = {}, threading.Barrier(2)

    def write(number):
        start.wait()
        try:
            with site_ledger.begin() as session:
                site_ledger.publication.put_live(
                    session,
                    TRACK,
                    f"revision-{number}",
                    head.revision_id,
                    head.fence,
                    candidates[number],
                    at(number),
                )
            outcome[number] = "won"
        except FencedError:
            outcome[number] = "fenced"

    threads = [threading.Thread(target=write, args=[number]) for number in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(outcome.values()) == {"won": 1, "fenced": 1}
    winner = next(number for number, what in outcome.items() if what == "won")
    assert site_ledger.publication.head(TRACK).revision_id == f"revision-{winner}"
    np.testing.assert_array_equal(shown_series(site_ledger, 4), candidates[winner].los_mm)


def test_a_writer_that_wakes_up_late_is_fenced_even_when_the_head_is_the_same_again(site_ledger):
    a, b = make_arrays(make_series(4)), make_arrays(make_series(4, seed=5))
    publish(site_ledger, 1, a)
    asleep = site_ledger.publication.head(TRACK)
    publish(site_ledger, 2, b)
    site_ledger.revisions.write_down(
        dataclasses.replace(make_revision(3, a.epochs), id="revision-1", input_sha256="input 1"), at(3)
    )
    head = site_ledger.publication.head(TRACK)
    with site_ledger.begin() as session:
        site_ledger.publication.put_live(session, TRACK, "revision-1", head.revision_id, head.fence, a, at(3))
    site_ledger.revisions.write_down(make_revision(4, b.epochs), at(4))
    assert site_ledger.publication.head(TRACK).revision_id == asleep.revision_id

    with pytest.raises(FencedError, match="another one has published"), site_ledger.begin() as session:
        site_ledger.publication.put_live(
            session, TRACK, "revision-4", asleep.revision_id, asleep.fence, b, at(4)
        )


TABLES = ("point", "point_velocity", "series_tile", "velocity_tile", "published_revision", "operation_event")


def content(ledger):
    everything = {
        table: sorted(map(repr, rows(ledger, f"SELECT * FROM sagwatch.{table}"))) for table in TABLES
    }
    return everything | {"head": ledger.publication.head(TRACK)}


@pytest.mark.parametrize("moment", ["points", "current", "series", "head"])
def test_a_connection_that_dies_in_the_middle_leaves_no_trace(site_ledger, monkeypatch, moment):
    publish(site_ledger, 1, make_arrays(make_series(4)))
    before = content(site_ledger)
    los_mm = make_series(5, seed=3)
    site_ledger.revisions.write_down(make_revision(2, epochs(5)), at(2))
    head = site_ledger.publication.head(TRACK)

    from sagwatch.adapters.database import publication

    target = {
        "points": (publication.PointWriter, "add"),
        "current": (publication.PointWriter, "replace_current"),
        "series": (publication.TileWriter, "write_velocities"),
        "head": (publication, "_move_head"),
    }[moment]
    original = getattr(*target)

    def cut_off_after(*arguments):
        result = original(*arguments)
        session_pid = pids[0]
        with psycopg.connect(
            site_ledger.engine.url.set(drivername="postgresql").render_as_string(False)
        ) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", [session_pid])
        return result

    pids = []
    with monkeypatch.context() as patched:
        patched.setattr(*target, cut_off_after)
        with pytest.raises(TryAgainError, match="is away"), site_ledger.begin() as session:  # noqa: PT012
            pids.append(session.scalar(text("SELECT pg_backend_pid()")))
            site_ledger.operations.record(
                "test", "in the same transaction", dedupe_key="x", as_of=at(2), session=session
            )
            site_ledger.publication.put_live(
                session, TRACK, "revision-2", head.revision_id, head.fence, make_arrays(los_mm), at(2)
            )

    assert content(site_ledger) == before
    with site_ledger.begin() as session:
        site_ledger.publication.put_live(
            session, TRACK, "revision-2", head.revision_id, head.fence, make_arrays(los_mm), at(2)
        )
    np.testing.assert_array_equal(shown_series(site_ledger, 5), los_mm)


def test_readers_who_look_all_the_time_never_see_a_mixture(site_ledger):
    """Every value of revision n is n: one that reads two different values has seen half a publication."""

    def constant(number):
        los_mm = np.full((4, 20, 37), number, np.float32)
        velocity = {0: los_mm[0], 150: los_mm[0], 365: los_mm[0]}
        return make_arrays(los_mm, velocity_mm_yr=velocity)

    publish(site_ledger, 1, constant(1))
    address = site_ledger.engine.url.set(drivername="postgresql").render_as_string(False)
    seen, done = [], threading.Event()

    def look():
        with psycopg.connect(address, autocommit=True) as connection:
            while not done.is_set():
                seen.append(
                    connection.execute(
                        "SELECT array_agg(DISTINCT velocity_mm_yr), array_agg(DISTINCT displacement_mm), count(*), "
                        "array_agg(DISTINCT revision_number), "
                        "(SELECT array_agg(DISTINCT s.displacement_mm) FROM (SELECT id FROM sagwatch.point LIMIT 40) p "
                        " CROSS JOIN LATERAL analyst.series(p.id) s) FROM analyst.current_velocities"
                    ).fetchone()
                )

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(2, 10):
        publish(site_ledger, number, constant(number))
    done.set()
    reader.join()

    assert len(seen) > 3
    for velocities, displacements, count, numbers, series in seen:
        assert velocities == displacements == numbers == series
        assert len(numbers) == 1
        assert count == 20 * 37


def test_someone_may_write_about_the_track_while_a_publication_holds_it(site_ledger):
    """The track's row is locked so that other tables can still refer to it: detection goes on meanwhile."""
    arrays = make_arrays(make_series(3))
    site_ledger.revisions.write_down(make_revision(1, arrays.epochs), at(1))
    with site_ledger.begin() as session:
        site_ledger.publication.put_live(session, TRACK, "revision-1", None, 0, arrays, at(1))
        with site_ledger.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '1s'"))
            other.execute(
                text(
                    "INSERT INTO sagwatch.acquisition (track_id, date, acquired_at, platform, granules, state, "
                    "first_seen_at, changed_at) VALUES (:t, '2024-01-01', now(), 'S1A', '{}', 'new', now(), now())"
                ),
                {"t": TRACK},
            )
    assert site_ledger.revisions.head(TRACK).id == "revision-1"


# --- what is refused -------------------------------------------------------------------------------------


def test_only_a_built_revision_of_this_track_grid_and_these_epochs_goes_live(site_ledger):
    arrays = make_arrays(make_series(4))
    publish(site_ledger, 1, arrays)
    head = site_ledger.publication.head(TRACK)
    site_ledger.revisions.write_down(make_revision(2, epochs(4)), at(2))
    wrong = {
        "write it down": ("unknown", arrays),
        "is live, only a built one": ("revision-1", arrays),
        "other epochs": ("revision-2", make_arrays(make_series(3))),
        "is on grid": ("revision-2", make_arrays(make_series(4, rows=21))),
    }
    for message, (revision_id, given_arrays) in wrong.items():
        with pytest.raises(BadRevisionError, match=message), site_ledger.begin() as session:
            site_ledger.publication.put_live(
                session, TRACK, revision_id, head.revision_id, head.fence, given_arrays, at(2)
            )
    assert site_ledger.publication.head(TRACK) == head


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": tuple(reversed(epochs(3)))}, "ascending"),
        ({"los_mm": np.zeros((2, 20, 37), np.float32)}, "los_mm has shape"),
        ({"reliable": np.ones((20, 36), bool)}, "reliable has shape"),
        ({"velocity_mm_yr": {30: np.zeros((20, 37))}}, "same windows"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_anything_is_written(change, message):
    good = make_arrays(make_series(3))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good, **change)


def test_writing_a_revision_down_twice_is_once_and_a_taken_number_is_fenced(site_ledger):
    built = make_revision(1, epochs(3))
    first = site_ledger.revisions.write_down(built, at(1))
    second = site_ledger.revisions.write_down(built, at(5))

    assert (second.number, second.built_at) == (first.number, at(1))
    assert site_ledger.revisions.next_number(TRACK) == 2
    with pytest.raises(FencedError, match="number 1"):
        site_ledger.revisions.write_down(dataclasses.replace(built, id="other", input_sha256="other"), at(2))


def test_stages_are_shown_with_their_day_and_an_unknown_day_is_null(site_ledger):
    los_mm = make_series(6)
    stage, since = np.zeros(los_mm.shape[1:], np.uint8), np.full(los_mm.shape[1:], FIRST_EPOCH.toordinal())
    confidence = np.full(los_mm.shape[1:], 0.75, np.float32)
    stage[2, 7], since[2, 7], confidence[2, 7] = 1, 0, np.nan

    publish(
        site_ledger,
        1,
        make_arrays(
            los_mm,
            stage=stage,
            stage_texts={0: "linear", 1: "cannot tell"},
            stage_since=since,
            stage_confidence=confidence,
        ),
    )

    widths = rows(
        site_ledger,
        "SELECT DISTINCT velocity_150d_white_sd_mm_yr, velocity_150d_epochs, evidence FROM analyst.current_velocities",
    )
    assert widths == [(pytest.approx(1.2), 13, "cannot tell")]
    found = rows(
        site_ledger, "SELECT DISTINCT stage, stage_since, stage_confidence FROM analyst.current_velocities"
    )
    assert sorted(found, key=str) == [("cannot tell", None, None), ("linear", FIRST_EPOCH, 0.75)]


def test_what_is_judged_after_a_revision_went_live_is_shown_without_a_new_revision(site_ledger):
    los_mm = make_series(6)
    publish(site_ledger, 1, make_arrays(los_mm))
    head = site_ledger.publication.head(TRACK)
    later = make_arrays(los_mm, why_not=np.ones(los_mm.shape[1:], np.uint8), why_not_texts={1: "too small"})

    with site_ledger.begin() as session:
        site_ledger.publication.refresh_points(session, TRACK, "revision-1", head.fence, later)

    assert rows(site_ledger, "SELECT DISTINCT why_not FROM analyst.current_velocities") == [("too small",)]
    assert site_ledger.publication.head(TRACK) == head
    np.testing.assert_array_equal(shown_series(site_ledger, 6), los_mm)

    publish(site_ledger, 2, make_arrays(make_series(7)))
    with pytest.raises(FencedError), site_ledger.begin() as session:
        site_ledger.publication.refresh_points(session, TRACK, "revision-1", head.fence, later)


def test_blind_spots_and_the_gradient_limit_are_shown(site_ledger):
    los_mm = make_series(6)
    blind = np.zeros(los_mm.shape[1:], np.uint8)
    blind[3:5, 10:12] = Blind.BEYOND
    limit = GradientLimit(80.0, 12.0, 42.5)
    texts = {int(Blind.BEYOND): Blind.BEYOND.words(limit, 0.5)}
    publish(site_ledger, 1, make_arrays(los_mm, blind=blind, blind_texts=texts, incidence_deg=42.5))

    found = rows(
        site_ledger,
        'SELECT point.row, point."column", blind FROM analyst.current_velocities JOIN sagwatch.point ON id = point_id '
        "WHERE blind IS NOT NULL ORDER BY 1, 2",
    )
    assert found == [(row, column, texts[1]) for row in (3, 4) for column in (10, 11)]
    (told,) = rows(
        site_ledger,
        "SELECT pixel_m, wavelength_mm, interval_days, limit_los_mm, limit_los_mm_yr, limit_vertical_mm, "
        "limit_vertical_mm_yr, limit_vertical_mm_m FROM analyst.gradient_limits",
    )
    assert told == pytest.approx(
        (
            limit.pixel_m,
            1000 * WAVELENGTH_M,
            limit.interval_days,
            limit.los_mm,
            limit.los_mm_yr,
            limit.vertical_mm,
            limit.vertical_mm * 365.25 / 12,
            limit.vertical_mm / 80,
        ),
        rel=1e-6,
    )

    head = site_ledger.publication.head(TRACK)
    with site_ledger.begin() as session:
        site_ledger.publication.refresh_points(session, TRACK, "revision-1", head.fence, make_arrays(los_mm))
    assert rows(site_ledger, "SELECT DISTINCT blind FROM analyst.current_velocities") == [(None,)]
