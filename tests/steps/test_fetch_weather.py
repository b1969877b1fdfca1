"""The step that gets delays: what it asks for and when, what it writes down, what a revision says of it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from sagwatch.adapters.era5 import ClimateDataStore
from sagwatch.domain.delay import DelayState
from sagwatch.domain.weather import WeatherRequest
from sagwatch.engine.delay_files import read_delay
from sagwatch.engine.delays import era5_delay
from sagwatch.engine.manifest import read_manifest
from sagwatch.errors import BadInputError, NotYetError, StillQueuedError, StopAndAskError, TryAgainError
from sagwatch.simulation.running import RunningCloud, start
from sagwatch.steps import fetch_weather as module
from sagwatch.steps.fetch_weather import fetch_weather
from sagwatch.steps.update_stack import update_stack
from tests.steps.stored_track import StoredTrack, store_track

ERA5 = {"corrections": {"troposphere": {"method": "era5", "give_up_after_days": 120}}}


@pytest.fixture
def stored(tmp_path: Path, ledger) -> StoredTrack:
    track = store_track(tmp_path, ledger, n_epochs=8, **ERA5)
    track.accept(track.members)
    return track


def at(day: date, days: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=days)


@dataclass
class Shelf:
    """A weather store of the test's own: preliminary after 5 days, final after 75, and what is done to it."""

    now: datetime
    asked: list[date] = field(default_factory=list)
    taken_up: list[str | None] = field(default_factory=list)
    trouble: Callable[[date], Exception | None] = lambda day: None

    def fetch(self, request: WeatherRequest, target: Path, request_id: str | None = None) -> DelayState:
        self.asked.append(request.day)
        self.taken_up.append(request_id)
        if (problem := self.trouble(request.day)) is not None:
            raise problem
        age = self.now - request.moment
        if age < timedelta(days=5):
            raise NotYetError("not out yet: none of it")
        state = DelayState.FINAL if age >= timedelta(days=75) else DelayState.PRELIMINARY
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{request.day} {state}")
        return state


@pytest.fixture
def invented_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAPS takes seconds a date; its own tests are elsewhere. The delay tells from which file it was made."""

    def delay(grib: Path, geometry: Path) -> np.ndarray:
        day, state = grib.read_text().split()
        value = -2.5 - date.fromisoformat(day).toordinal() % 100 / 1000 - 0.01 * (state == "preliminary")
        return np.full((20, 24), value, np.float32)

    monkeypatch.setattr(module, "era5_delay", delay)


def run(stored: StoredTrack, shelf: Shelf, now: datetime, **limits):
    shelf.now = now
    return fetch_weather(stored.site, stored.track, lambda: shelf, stored.ledger, stored.data, now, **limits)


def query(stored: StoredTrack, statement: str) -> list[tuple]:
    with stored.ledger.begin() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def states(stored: StoredTrack) -> dict[date, str]:
    return dict(query(stored, "SELECT date, state FROM analyst.weather ORDER BY date"))


@pytest.mark.usefixtures("invented_delays")
def test_a_life_from_none_over_preliminary_to_final(stored: StoredTrack) -> None:
    last, shelf = stored.dates[-1], Shelf(at(stored.dates[-1]))

    def solve(now: datetime) -> str | None:
        return update_stack(stored.site, stored.track, stored.ledger, stored.data, now)

    def of_revision() -> list[tuple]:
        stored.publish()
        return query(
            stored,
            "SELECT date, troposphere, provisional, why FROM analyst.epochs ORDER BY date DESC LIMIT 1",
        )

    run(stored, shelf, at(last, 1))
    first = solve(at(last, 1))
    assert of_revision() == [(last, "none", True, "no weather data yet")]
    shelf.asked.clear()
    run(stored, shelf, at(last, 2))
    assert shelf.asked == [], "nothing is out so soon"
    run(stored, shelf, at(last, 4.5))
    assert shelf.asked == [last]
    assert states(stored)[last] == "none"

    run(stored, shelf, at(last, 6))
    second = solve(at(last, 6))
    assert of_revision() == [(last, "preliminary", True, "preliminary weather data")]
    assert solve(at(last, 6)) == second, "nothing new makes no new revision"
    shelf.asked.clear()
    for days in (7, 20, 59):
        run(stored, shelf, at(last, days))
    assert last not in shelf.asked, "final data are not asked for before they can be out"

    run(stored, shelf, at(last, 61))
    run(stored, shelf, at(last, 62))
    assert shelf.asked.count(last) == 1, "once a week"
    assert states(stored)[last] == "preliminary"
    run(stored, shelf, at(last, 76))
    third = solve(at(last, 76))
    assert of_revision() == [(last, "final", False, None)]
    shelf.asked.clear()
    run(stored, shelf, at(last, 400))
    assert shelf.asked == []

    assert len({first, second, third}) == 3
    rows = query(stored, "SELECT input_sha256, troposphere FROM sagwatch.revision ORDER BY number")
    assert len({row[0] for row in rows}) == 3
    assert [row[1][-1] for row in rows] == ["none", "preliminary", "final"]
    history = stored.ledger.weather.history(stored.track.id, last)
    assert [delay.state for delay in history] == [DelayState.PRELIMINARY, DelayState.FINAL]
    folder = stored.invented.store.folder
    early, final = (read_delay(folder, delay) for delay in history)
    np.testing.assert_allclose(final - early, 0.01, atol=1e-6)
    shown = query(stored, f"SELECT state, sha256, replaced FROM analyst.weather WHERE date = '{last}'")
    assert shown == [("final", history[1].sha256, 1)]


@pytest.mark.usefixtures("invented_delays")
def test_a_first_fill_goes_newest_first_and_in_batches(stored: StoredTrack) -> None:
    now, shelf = at(stored.dates[-1], 200), Shelf(at(stored.dates[-1], 200))

    done = run(stored, shelf, now, most_fetches=3)
    assert shelf.asked == list(reversed(stored.dates))[:3]
    assert (len(done.final), done.waiting) == (3, 5)
    assert sorted(states(stored)) == list(stored.dates[-3:])
    assert run(stored, shelf, now, run_seconds=0).waiting == 5
    run(stored, shelf, now)

    assert shelf.asked == list(reversed(stored.dates))
    assert set(states(stored).values()) == {"final"}
    again = run(stored, shelf, now)
    assert str(again) == "0 final, 0 preliminary, 0 not to be had"


@pytest.mark.usefixtures("invented_delays")
def test_one_date_that_fails_stops_no_other_and_is_tried_again_ever_later(stored: StoredTrack) -> None:
    bad, now = stored.dates[4], at(stored.dates[-1], 100)
    shelf = Shelf(now, trouble=lambda day: TryAgainError("the store hiccups") if day == bad else None)

    done = run(stored, shelf, now)
    assert done.missed == {bad: "the store hiccups"}
    assert sum(state == "final" for state in states(stored).values()) == 7
    (row,) = query(stored, f"SELECT state, reason, tries FROM analyst.weather WHERE date = '{bad}'")
    assert row == ("none", "the store hiccups", 1)
    shelf.asked.clear()
    run(stored, shelf, now + timedelta(minutes=30))
    assert shelf.asked == []
    tried = []
    for quarter in range(1, 24 * 4):
        moment = now + timedelta(minutes=15 * quarter)
        shelf.asked.clear()
        run(stored, shelf, moment)
        tried += [quarter / 4] * len(shelf.asked)
    assert tried == [1, 3, 7, 15], "hours after the first"


@pytest.mark.usefixtures("invented_delays")
def test_a_refused_licence_is_told_once_and_stops_the_run(stored: StoredTrack) -> None:
    now = at(stored.dates[-1], 300)
    refused = StopAndAskError("accept the licence at https://example.org/licence")
    shelf = Shelf(now, trouble=lambda day: refused)

    done = run(stored, shelf, now)
    run(stored, shelf, now + timedelta(hours=1))
    assert done.stopped == str(refused)
    assert (done.waiting, shelf.asked) == (8, [stored.dates[-1]] * 2)
    events = query(
        stored, "SELECT severity, text FROM analyst.pipeline_events WHERE kind = 'weather_refused'"
    )
    assert len(events) == 1
    assert "https://example.org/licence" in events[0][1]
    rows = query(stored, "SELECT DISTINCT state, reason, tries FROM analyst.weather")
    assert rows == [("none", str(refused), 0)]

    shelf.trouble = lambda day: None
    assert len(run(stored, shelf, now + timedelta(hours=2)).final) == 8


def test_a_missing_connection_is_a_refusal_too(stored: StoredTrack) -> None:
    now = at(stored.dates[-1], 100)

    def nothing():
        raise StopAndAskError("Airflow has no Connection sagwatch_cds")

    done = fetch_weather(stored.site, stored.track, nothing, stored.ledger, stored.data, now)

    assert done.stopped == "Airflow has no Connection sagwatch_cds"


@pytest.mark.usefixtures("invented_delays")
def test_a_store_that_is_away_is_not_asked_for_every_date(stored: StoredTrack) -> None:
    now = at(stored.dates[-1], 100)
    shelf = Shelf(now, trouble=lambda day: TryAgainError("away"))

    done = run(stored, shelf, now)

    assert len(shelf.asked) == 3
    assert done.stopped == "3 requests in a row failed: away"
    assert done.waiting == 5


@pytest.mark.usefixtures("invented_delays")
def test_what_never_comes_is_reported_once_and_asked_for_weekly(stored: StoredTrack) -> None:
    last = stored.dates[-1]
    shelf = Shelf(at(last), trouble=lambda day: NotYetError("not out yet: never") if day == last else None)

    for days in range(110, 141):
        run(stored, shelf, at(last, days))
    asked = shelf.asked.count(last)

    (event,) = query(stored, "SELECT text FROM analyst.pipeline_events WHERE kind = 'weather_overdue'")
    assert f"delay of {last} of invented/t011a is none after more than 120 days" in event[0]
    assert asked == 11 + 2, "daily until day 120, then weekly"


@pytest.mark.usefixtures("invented_delays")
def test_an_order_in_the_queue_is_taken_up_by_the_next_run(stored: StoredTrack) -> None:
    now = at(stored.dates[-1], 100)
    last = stored.dates[-1]
    shelf = Shelf(now, trouble=lambda day: StillQueuedError("queued", "order-7") if day == last else None)
    run(stored, shelf, now)
    shelf.asked.clear(), shelf.taken_up.clear()
    shelf.trouble = lambda day: None

    done = run(stored, shelf, now + timedelta(minutes=5))

    assert (shelf.asked, shelf.taken_up, done.final) == ([last], ["order-7"], [last])


@pytest.mark.usefixtures("invented_delays")
def test_orders_that_stay_in_the_queue_keep_nobody_else_waiting(stored: StoredTrack) -> None:
    """Each waits as long as a run may last, so that a run has time for two."""
    now, asked = at(stored.dates[-1], 100), []
    shelf = Shelf(now, trouble=lambda day: StillQueuedError("queued", f"order-{day}"))

    for number in range(6):
        shelf.asked.clear()
        run(stored, shelf, now + timedelta(hours=6 * number), most_fetches=2)
        asked.append(list(shelf.asked))

    newest_first = list(reversed(stored.dates))
    assert asked[:4] == [newest_first[i : i + 2] for i in range(0, 8, 2)]
    assert asked[4:] == asked[:2]


@pytest.mark.usefixtures("invented_delays")
def test_a_disk_that_takes_nothing_is_said_and_the_run_goes_on(stored: StoredTrack, monkeypatch) -> None:
    now, bad, write = at(stored.dates[-1], 100), stored.dates[4], module.write_delay

    def full(track: Path, day: date, *words: object):
        if day == bad:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(track, day, *words)

    monkeypatch.setattr(module, "write_delay", full)
    done = run(stored, Shelf(now), now)

    assert "No space left on device" in done.missed[bad]
    assert (len(done.final), states(stored)[bad]) == (7, "none")


@pytest.mark.usefixtures("invented_delays")
@pytest.mark.parametrize("place", ["write_delay", "sha256_of", "obtained"])
def test_a_kill_before_the_ledgers_row_is_harmless(stored, monkeypatch, place) -> None:
    """After each of the three writes: the weather file, the delay file, and just before the row."""
    now, shelf = at(stored.dates[-1], 100), Shelf(at(stored.dates[-1], 100))
    owner = type(stored.ledger.weather) if place == "obtained" else module

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        killed.setattr(owner, place, kill)
        with pytest.raises(Killed):
            run(stored, shelf, now)
    assert query(stored, "SELECT count(*) FROM sagwatch.weather_delay") == [(0,)]
    run(stored, shelf, now)

    assert set(states(stored).values()) == {"final"}
    delays = stored.ledger.weather.delays(stored.track.id, "era5")
    folder = stored.invented.store.folder
    assert sorted(delays) == list(stored.dates)
    assert {path.name for path in (folder / "delays").iterdir()} == {
        Path(one.name).name for one in delays.values()
    }


def test_gacos_files_are_taken_when_somebody_puts_them_there(tmp_path: Path, ledger) -> None:
    from tests.engine.test_delays import write_ztd

    gacos = {"corrections": {"troposphere": {"method": "gacos"}}}
    stored = store_track(tmp_path, ledger, n_epochs=4, **gacos)
    stored.accept(stored.members)
    now, day = at(stored.dates[-1], 10), stored.dates[1]
    folder = stored.invented.store.folder / "gacos"
    folder.mkdir()

    def nobody():
        raise AssertionError("GACOS needs no store")

    def go(now: datetime):
        return fetch_weather(stored.site, stored.track, nobody, ledger, stored.data, now)

    assert len(go(now).missed) == 4
    file = write_ztd(folder, north=37.6, west=110.5)
    for part in (file, file.with_name(f"{file.name}.rsc")):
        part.rename(folder / part.name.replace("20220718", f"{day:%Y%m%d}"))
    done = go(now + timedelta(minutes=1))

    assert done.final == [day]
    (delay,) = ledger.weather.delays(stored.track.id, "gacos").values()
    known = read_delay(stored.invented.store.folder, delay)
    assert -3.0 < np.nanmin(known) < np.nanmax(known) < -2.6

    other = stored.dates[2]
    for name in (f"{day:%Y%m%d}.ztd", f"{day:%Y%m%d}.ztd.rsc"):
        shutil.copy(folder / name, folder / name.replace(f"{day:%Y%m%d}", f"{other:%Y%m%d}"))
    again = go(now + timedelta(minutes=2))
    assert again.final == []
    assert f"is a copy of the file of {day}" in again.missed[other]

    # Somebody asks GACOS again, for a better map.
    stored.update(stored.members)
    before = read_manifest(stored.newest)
    assert [one.sha256 for one in before.delays] == [delay.sha256]
    assert go(now + timedelta(minutes=2)).final == [], "nothing is new"
    ztd = folder / f"{day:%Y%m%d}.ztd"
    (np.fromfile(ztd, np.float32) + np.float32(0.05)).tofile(ztd)

    assert go(now + timedelta(minutes=3)).final == [day]

    (better,) = ledger.weather.delays(stored.track.id, "gacos").values()
    assert better.sha256 != delay.sha256
    assert ledger.weather.history(stored.track.id, day) == [delay, better]
    after = stored.update()
    assert [one.sha256 for one in after.delays] == [better.sha256]
    assert after.number == before.number + 1
    assert after.series == before.series, "and nothing is solved again"
    with ztd.open("r+b") as half:
        half.truncate(1000)
    cut = go(now + timedelta(minutes=4))
    assert day in cut.missed
    assert ledger.weather.delays(stored.track.id, "gacos")[day] == better, "a damaged one replaces nothing"
    assert go(now + timedelta(days=2)).final == [other], "that file was never of the other day"


@pytest.mark.parametrize(("method", "word"), [("none", "off"), ("height_correlation", "estimated")])
def test_other_methods_fetch_nothing_and_are_not_provisional(tmp_path, ledger, method, word) -> None:
    stored = store_track(tmp_path, ledger, n_epochs=5, corrections={"troposphere": {"method": method}})
    stored.update(stored.members)
    stored.publish()

    def nobody():
        raise AssertionError("nothing to fetch")

    done = fetch_weather(stored.site, stored.track, nobody, ledger, stored.data, at(stored.dates[-1], 9))

    assert str(done) == "0 final, 0 preliminary, 0 not to be had"
    assert query(stored, "SELECT DISTINCT troposphere, orbits, provisional FROM analyst.epochs") == [
        (word, "unknown", False)
    ]


def test_a_track_without_geometry_is_an_error(stored: StoredTrack) -> None:
    stored.invented.store.geometry_path.unlink()
    shelf = Shelf(at(stored.dates[-1], 100))

    with pytest.raises(BadInputError, match=r"geometryGeo\.h5 is missing"):
        run(stored, shelf, shelf.now)

    assert shelf.asked == []


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with start(tmp_path_factory.mktemp("cloud"), scenario="shaqu_mine", job_seconds=0) as running:
        running.advance_to("2024-06-15T00:00:00Z")
        yield running


def test_real_client_real_pyaps_over_http(tmp_path: Path, ledger, cloud: RunningCloud) -> None:
    """Three acquisitions: one has final, one preliminary data, and one comes cut short."""
    stored = store_track(tmp_path, ledger, n_epochs=20, **ERA5)
    recent, final = date(2024, 6, 3), stored.dates[3]
    days = sorted(stored.dates)[:3]
    stored.accept([member for member in stored.members if member.reference == days[0]])
    with ledger.begin() as session:
        session.execute(
            text("UPDATE sagwatch.pair SET secondary_date = :d WHERE secondary_date = :o"),
            {"d": recent, "o": days[2]},
        )

    def go(now: datetime, **limits):
        store = ClimateDataStore("a-key", cloud.url, patience_seconds=20, tries=2, pause_seconds=0.1)
        return fetch_weather(stored.site, stored.track, lambda: store, ledger, stored.data, now, **limits)

    now = datetime(2024, 6, 15, tzinfo=UTC)
    cloud.faults(cds_file="truncated")
    cut = go(now, most_fetches=1)
    cloud.faults()
    done = go(now + timedelta(hours=2))

    assert "cut short" in cut.missed[recent]
    assert (done.preliminary, done.final) == ([recent], [days[1], days[0]])
    delays = ledger.weather.delays(stored.track.id, "era5")
    folder = stored.invented.store.folder
    assert sorted(path.suffix for path in (folder / "weather" / "ERA5").iterdir()) == [".grb"] * 3
    for delay in delays.values():
        (grib,) = (folder / "weather" / "ERA5").glob(f"*_{delay.day:%Y%m%d}_11.grb")
        np.testing.assert_array_equal(
            read_delay(folder, delay), era5_delay(grib, stored.invented.store.geometry_path)
        )
    assert final not in delays
