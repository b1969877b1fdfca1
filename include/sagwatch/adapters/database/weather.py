"""What the ledger knows about the troposphere's delays: which are there, how good, and what is still looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.domain.delay import DelayState, StoredDelay

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class WeatherRecord:
    """How the search for one acquisition's delay stands.

    ``failures`` are those in a row; ``source_sha256`` is of the file that the delay in use was made from.
    """

    day: date
    state: DelayState
    reason: str | None
    tries: int
    failures: int
    tried_at: datetime
    next_try_at: datetime | None
    request_id: str | None
    source_sha256: str | None


class WeatherRecords:
    """Reached as `ledger.weather`. A site that changes its method keeps what it had, and looks for its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def delays(self, track_id: str, method: str) -> dict[date, StoredDelay]:
        """The delay map that is used now, for each acquisition that has one."""
        statement = (
            select(models.WeatherDelay)
            .join(models.Weather, models.Weather.delay_id == models.WeatherDelay.id)
            .where(models.Weather.track_id == track_id, models.Weather.method == method)
            .order_by(models.WeatherDelay.date)
        )
        with self._ledger.begin() as session:
            return {row.date: _stored(row) for row in session.scalars(statement)}

    def history(self, track_id: str, day: date) -> list[StoredDelay]:
        """Every delay map that an acquisition ever had, oldest first."""
        statement = (
            select(models.WeatherDelay)
            .where(models.WeatherDelay.track_id == track_id, models.WeatherDelay.date == day)
            .order_by(models.WeatherDelay.id)
        )
        with self._ledger.begin() as session:
            return [_stored(row) for row in session.scalars(statement)]

    def records(self, track_id: str, method: str) -> dict[date, WeatherRecord]:
        """Everything that was ever tried."""
        statement = (
            select(models.Weather, models.WeatherDelay.source_sha256)
            .outerjoin(models.WeatherDelay, models.WeatherDelay.id == models.Weather.delay_id)
            .where(models.Weather.track_id == track_id, models.Weather.method == method)
        )
        with self._ledger.begin() as session:
            return {row.date: _record(row, source) for row, source in session.execute(statement)}

    def day_of_source(self, track_id: str, source_sha256: str) -> date | None:
        """The acquisition whose delay in use was made from a file of this content."""
        statement = (
            select(models.WeatherDelay.date)
            .join(models.Weather, models.Weather.delay_id == models.WeatherDelay.id)
            .where(models.WeatherDelay.track_id == track_id)
            .where(models.WeatherDelay.source_sha256 == source_sha256)
            .limit(1)
        )
        with self._ledger.begin() as session:
            return session.scalar(statement)

    def obtained(
        self,
        track_id: str,
        delay: StoredDelay,
        source: str,
        source_sha256: str,
        next_try_at: datetime | None,
        as_of: datetime,
    ) -> None:
        """A delay map is on disk: from now on it is the one that is used. Saying it twice changes nothing.

        A final one is replaced by another final one only if that was made from another file.

        Parameters
        ----------
        source
            Name of the file that it was made from.
        next_try_at
            When a better one is asked for.
        """
        with self._ledger.begin() as session:
            row = _locked(session, track_id, delay.day, delay.method, as_of)
            held = None if row.delay_id is None else session.get(models.WeatherDelay, row.delay_id)
            if held is None or (held.sha256 != delay.sha256 and _is_better(delay, source_sha256, held)):
                held = _made(track_id, delay, source, source_sha256, as_of)
                session.add(held)
                session.flush()
            row.state, row.delay_id = held.state, held.id
            row.tries, row.failures, row.tried_at = row.tries + 1, 0, as_of
            row.reason, row.request_id = None, None
            row.next_try_at = None if held.state == DelayState.FINAL else next_try_at

    def missed(
        self,
        track_id: str,
        days: Iterable[date],
        method: str,
        reason: str,
        next_try_at: datetime | None,
        as_of: datetime,
        *,
        failed: bool = False,
        tried: bool = True,
        request_id: str | None = None,
    ) -> None:
        """A try brought nothing; what is held stays, with the reason why there is nothing better.

        Without ``tried`` nobody has asked, because it would have been useless.
        """
        with self._ledger.begin() as session:
            for day in days:
                row = _locked(session, track_id, day, method, as_of)
                row.tries += tried
                row.tried_at = as_of
                row.failures = row.failures + 1 if failed else 0
                row.reason, row.next_try_at, row.request_id = reason, next_try_at, request_id


def _is_better(delay: StoredDelay, source_sha256: str, held: models.WeatherDelay) -> bool:
    if held.state != DelayState.FINAL:
        return True
    return delay.state == DelayState.FINAL and source_sha256 != held.source_sha256


def _locked(session: Session, track_id: str, day: date, method: str, as_of: datetime) -> models.Weather:
    """The acquisition's row, made where there is none; one writer a track at a time."""
    session.execute(select(models.Track.id).where(models.Track.id == track_id).with_for_update())
    row = session.get(models.Weather, (track_id, day, method))
    if row is None:
        row = models.Weather(
            track_id=track_id,
            date=day,
            method=method,
            state=DelayState.NONE.value,
            reason="nothing was asked for yet",
            tries=0,
            failures=0,
            tried_at=as_of,
        )
        session.add(row)
    return row


def _made(
    track_id: str, delay: StoredDelay, source: str, source_sha256: str, as_of: datetime
) -> models.WeatherDelay:
    return models.WeatherDelay(
        track_id=track_id,
        date=delay.day,
        method=delay.method,
        state=delay.state.value,
        name=delay.name,
        sha256=delay.sha256,
        source=source,
        source_sha256=source_sha256,
        obtained_at=as_of,
    )


def _stored(row: models.WeatherDelay) -> StoredDelay:
    return StoredDelay(row.date, row.method, DelayState(row.state), row.name, row.sha256)


def _record(row: models.Weather, source_sha256: str | None) -> WeatherRecord:
    return WeatherRecord(
        row.date,
        DelayState(row.state),
        row.reason,
        row.tries,
        row.failures,
        row.tried_at,
        row.next_try_at,
        row.request_id,
        source_sha256,
    )
