"""Get the troposphere's delay of every acquisition of the stack that lacks one, or has a preliminary one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.weather import WeatherRecord
from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.domain.ids import content_sha256
from sagwatch.domain.site import Site, Track
from sagwatch.domain.weather import Outcome, WeatherRequest, next_try
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.delays import era5_delay, gacos_delay, read_look
from sagwatch.engine.files import sha256_of
from sagwatch.engine.mintpy_process import MintPyError
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadWeatherError, NotYetError, StillQueuedError, StopAndAskError, TryAgainError
from sagwatch.steps.ports import WeatherStore
from sagwatch.steps.stack_members import track_store

log = logging.getLogger(__name__)

#: One run asks for so many hours at most, and begins none after so many seconds; the next run goes on.
MOST_FETCHES, RUN_SECONDS = 400, 2400.0
#: So many failures of the service in a row mean that it is away: the rest waits for the next run.
_FAILURES_IN_A_ROW = 3


@dataclass
class FetchedWeather:
    """What a run did; ``stopped`` says why it asked no further."""

    final: list[date] = field(default_factory=list)
    preliminary: list[date] = field(default_factory=list)
    missed: dict[date, str] = field(default_factory=dict)
    waiting: int = 0
    stopped: str | None = None

    def __str__(self) -> str:
        text = (
            f"{len(self.final)} final, {len(self.preliminary)} preliminary, {len(self.missed)} not to be had"
        )
        text += f", {self.waiting} left for the next run" if self.waiting else ""
        return text + (f"; stopped: {self.stopped}" if self.stopped else "")


def fetch_weather(
    site: Site,
    track: Track,
    store: Callable[[], WeatherStore],
    ledger: Ledger,
    data: Path,
    as_of: datetime,
    most_fetches: int = MOST_FETCHES,
    run_seconds: float = RUN_SECONDS,
) -> FetchedWeather:
    """Ask for what is missing and due, each one recorded by itself.

    Newest acquisition first; then what waits in the service's queue, longest untouched first, so that orders that
    never come through keep nobody else waiting.

    A delay that cannot be had stays away with its reason, and the run goes on. Where a person must act (licence, key)
    nothing more is asked for, and an event says so once a month.

    Parameters
    ----------
    store
        Makes the weather store; called only where it is needed. StopAndAskError counts like the store's own.

    Raises
    ------
    BadInputError
        The track has no geometry, so no delay can be made of anything.
    """
    rules = site.corrections.troposphere
    done = FetchedWeather()
    if not rules.is_fetched:
        return done
    records = ledger.weather.records(track.id, rules.method)
    place = track_store(track, data)
    due = _due(ledger, track, records, as_of, _replaced(place, records) if rules.method == "gacos" else set())
    if not due:
        return done
    _, attributes = read_look(place.geometry_path)
    search = _Search(site, track, place, ledger, attributes, as_of, records, done)
    began, in_a_row = time.monotonic(), 0
    source: Callable[[date], StoredDelay | None] = search.from_gacos
    try:
        if rules.method == "era5":
            weather = store()
            source = lambda day: search.from_era5(weather, day)  # noqa: E731  the two ways differ in this only
        for number, day in enumerate(due):
            if number >= most_fetches or time.monotonic() - began >= run_seconds:
                done.waiting = len(due) - number
                break
            in_a_row = in_a_row + 1 if search.attempt(day, source) == Outcome.FAILED else 0
            if in_a_row >= _FAILURES_IN_A_ROW and rules.method == "era5":
                done.stopped = f"{in_a_row} requests in a row failed: {done.missed[day]}"
                done.waiting = len(due) - number - 1
                break
    except StopAndAskError as problem:
        done.stopped = str(problem)
        done.waiting = search.tell_once(problem, due)
    search.report_overdue()
    log.info("%s: weather of %d acquisitions: %s", track.id, len(due), done)
    return done


def _due(
    ledger: Ledger, track: Track, records: dict[date, WeatherRecord], as_of: datetime, replaced: set[date]
) -> list[date]:
    """Acquisitions of the stack whose delay is to be asked for now, in the order of `fetch_weather`."""
    accepted = ledger.revisions.accepted_interferograms(track.id)
    days = {day for entry in accepted for day in (entry.reference, entry.secondary)}
    waiting = {
        day
        for day, record in records.items()
        if record.state == DelayState.FINAL or (record.next_try_at is not None and record.next_try_at > as_of)
    }

    def turn(day: date) -> tuple[bool, float, int]:
        record = records.get(day)
        queued = record is not None and record.request_id is not None
        return queued, record.tried_at.timestamp() if record is not None and queued else 0.0, -day.toordinal()

    return sorted(days - (waiting - replaced), key=turn)


def _replaced(place: TrackStore, records: dict[date, WeatherRecord]) -> set[date]:
    """Acquisitions that have a delay from GACOS whose file is another one now: somebody asked GACOS again."""
    return {
        day
        for day, record in records.items()
        if record.source_sha256 is not None
        and (file := _gacos_file(place, day)).is_file()
        and sha256_of(file) != record.source_sha256
    }


def _gacos_file(place: TrackStore, day: date) -> Path:
    return place.folder / "gacos" / f"{day:%Y%m%d}.ztd"


@dataclass(frozen=True)
class _Search:
    """One run's search for the delays of a track."""

    site: Site
    track: Track
    place: TrackStore
    ledger: Ledger
    attributes: dict[str, str]
    as_of: datetime
    records: dict[date, WeatherRecord]
    done: FetchedWeather

    @property
    def method(self) -> str:
        return self.site.corrections.troposphere.method

    def attempt(self, day: date, source: Callable[[date], StoredDelay | None]) -> Outcome:
        """Try one acquisition and write down how it ended.

        Raises
        ------
        StopAndAskError
            A person must act; nothing is written down about this acquisition.
        """
        request_id = None
        try:
            delay = source(day)
        except NotYetError as problem:
            outcome, reason = Outcome.NOT_YET, str(problem)
        except StillQueuedError as problem:
            outcome, reason, request_id = Outcome.NOT_YET, str(problem), problem.request_id
        except (TryAgainError, BadWeatherError, MintPyError, OSError) as problem:  # OSError: our own disk
            outcome, reason = Outcome.FAILED, str(problem)
        else:
            if delay is None:
                outcome, reason = (
                    Outcome.NOT_YET,
                    f"nobody has put {day:%Y%m%d}.ztd into {self.place.folder / 'gacos'}",
                )
            else:
                found = self.done.final if delay.state == DelayState.FINAL else self.done.preliminary
                found.append(day)
                return Outcome.OBTAINED
        record = self.records.get(day)
        failed = outcome == Outcome.FAILED
        failures = (record.failures if record is not None else 0) + 1 if failed else 0
        # An order that waits in the queue is taken up by the next run, whenever that is.
        # So is a file that somebody may put into a folder: looking costs nothing.
        at_once = request_id is not None or (self.method == "gacos" and outcome == Outcome.NOT_YET)
        again = self.as_of if at_once else self._next(day, self._held(day), outcome, failures)
        self.done.missed[day] = reason
        log.warning("%s %s: no better delay than %s: %s", self.track.id, day, self._held(day), reason)
        self.ledger.weather.missed(
            self.track.id, [day], self.method, reason, again, self.as_of, failed=failed, request_id=request_id
        )
        return outcome

    def from_era5(self, weather: WeatherStore, day: date) -> StoredDelay:
        request = WeatherRequest.of_pass(day, float(self.attributes["CENTER_LINE_UTC"]), self.place.grid)
        grib = self.place.folder / "weather" / "ERA5" / request.file_name
        record = self.records.get(day)
        state = weather.fetch(request, grib, record.request_id if record is not None else None)
        return self._keep(day, state, grib, era5_delay(grib, self.place.geometry_path))

    def from_gacos(self, day: date) -> StoredDelay | None:
        ztd = _gacos_file(self.place, day)
        if not ztd.is_file():
            return None
        # The file says nothing about its day, only its name does.
        taken = self.ledger.weather.day_of_source(self.track.id, sha256_of(ztd))
        if taken not in (None, day) and taken not in _replaced(self.place, self.records):
            raise BadWeatherError(f"{ztd.name} is a copy of the file of {taken}: it is of another day")
        delay_m = gacos_delay(ztd, self.place.geometry_path, self.place.grid)
        return self._keep(day, DelayState.FINAL, ztd, delay_m)

    def tell_once(self, problem: StopAndAskError, days: list[date]) -> int:
        """A person must act: one event a month; what is still due says why. Returns how much that is."""
        text = str(problem)
        log.error("%s: no weather data: %s", self.track.id, text)
        rest = [
            day for day in days if day not in {*self.done.final, *self.done.preliminary, *self.done.missed}
        ]
        self.ledger.weather.missed(
            self.track.id, rest, self.method, text, self.as_of, self.as_of, tried=False
        )
        self.ledger.operations.record(
            "weather_refused",
            f"{self.site.name} gets no weather data until somebody acts: {text}",
            severity="error",
            site=self.site.name,
            track_id=self.track.id,
            dedupe_key=f"weather_refused:{self.track.id}:{self.as_of:%Y-%m}:{content_sha256(text)[:12]}",
            as_of=self.as_of,
        )
        return len(rest)

    def report_overdue(self) -> None:
        """An acquisition whose delay did not come (or did not become final) in time: one event each."""
        limit = self.site.corrections.troposphere.give_up_after_days
        for day, reason in self.done.missed.items():
            if self.as_of.date() - day <= timedelta(days=limit):
                continue
            state = self._held(day)
            self.ledger.operations.record(
                "weather_overdue",
                f"the tropospheric delay of {day} of {self.track.id} is {state} after more than {limit} days, and is "
                f"asked for once a week from now on: {reason}",
                site=self.site.name,
                track_id=self.track.id,
                dedupe_key=f"weather_overdue:{self.track.id}:{day}:{self.method}:{state}",
                as_of=self.as_of,
            )

    def _held(self, day: date) -> DelayState:
        record = self.records.get(day)
        return record.state if record is not None else DelayState.NONE

    def _next(self, day: date, state: DelayState, outcome: Outcome, failures: int) -> datetime | None:
        limit = self.site.corrections.troposphere.give_up_after_days
        return next_try(day, state, outcome, failures, limit, self.as_of)

    def _keep(self, day: date, state: DelayState, source: Path, delay_m: NDArray[np.float32]) -> StoredDelay:
        """Store a delay with the hash of what it was made from, and write it down."""
        source_sha256 = sha256_of(source)
        about = {**self._attributes(), "WEATHER_FILE": source.name, "WEATHER_SHA256": source_sha256}
        delay = write_delay(self.place.folder, day, self.method, state, delay_m, about)
        again = self._next(day, state, Outcome.OBTAINED, 0)
        self.ledger.weather.obtained(self.track.id, delay, source.name, source_sha256, again, self.as_of)
        return delay

    def _attributes(self) -> dict[str, str]:
        """The geometry's, without what belongs to its file."""
        return {
            key: value for key, value in self.attributes.items() if key not in ("FILE_TYPE", "NO_DATA_VALUE")
        }
