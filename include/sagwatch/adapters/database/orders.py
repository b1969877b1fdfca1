"""What the ledger knows about pairs, and about the jobs ordered for them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert

from sagwatch.adapters.database import models
from sagwatch.domain.order import CloudJob, JobState, Order
from sagwatch.domain.pair import Pair
from sagwatch.errors import TryAgainError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

LIVE = (JobState.INTENDED, JobState.OPEN, JobState.SUCCEEDED)


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What a plan changed in the ledger."""

    added: tuple[Pair, ...]
    dropped: tuple[str, ...]  # MintPy names of pairs that are no longer wanted and were never ordered


@dataclass(frozen=True, slots=True)
class PairToOrder:
    """A wanted pair without a live job or an interferogram."""

    pair_id: str
    reference: date
    secondary: date
    attempts: int
    last_message: str | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as the ledger has it."""

    name: str
    pair_id: str
    track_id: str
    reference: date
    secondary: date
    attempt: int
    job_type: str
    parameters: dict[str, object]
    credits: float
    state: JobState
    hyp3_id: str | None
    message: str | None
    intended_at: datetime
    requested_at: datetime | None
    expires_at: datetime | None
    file_name: str | None
    file_url: str | None
    file_bytes: int | None
    perpendicular_baseline_m: float | None

    @property
    def order(self) -> Order:
        return Order(self.pair_id, self.attempt, self.job_type, dict(self.parameters), self.credits)

    @property
    def cloud_job(self) -> CloudJob:
        """As HyP3 described it when it had finished."""
        if self.hyp3_id is None or self.requested_at is None:
            raise ValueError(f"job {self.name} has never been taken by HyP3")
        return CloudJob(
            id=self.hyp3_id,
            name=self.name,
            status="SUCCEEDED",
            requested_at=self.requested_at,
            expires_at=self.expires_at,
            file_name=self.file_name,
            file_url=self.file_url,
            file_bytes=self.file_bytes,
            credits=self.credits,
        )


class Orders:
    """Reached as `ledger.orders`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @contextmanager
    def exclusive(self, track_id: str) -> Iterator[None]:
        """Let one process at a time order for a track: two would each look for names, find none, and pay twice.

        The lock goes with the connection, so a killed process does not keep it.
        """
        with self._ledger.begin() as session:
            key = zlib.crc32(f"order:{track_id}".encode())
            if not session.scalar(select(func.pg_try_advisory_xact_lock(key))):
                raise TryAgainError(f"another process is ordering for {track_id}")
            yield

    def record_plan(self, track_id: str, pairs: Sequence[Pair], as_of: datetime) -> PlanChange:
        """Make the plan's pairs the wanted ones.

        A pair that the plan no longer holds stays wanted if it was ordered: it is paid for and good data.
        """
        ids = [pair.id for pair in pairs]
        with self._ledger.begin() as session:
            session.execute(select(models.Track.id).where(models.Track.id == track_id).with_for_update())
            known = set(session.scalars(select(models.Pair.id).where(models.Pair.track_id == track_id)))
            for pair in pairs:
                statement = insert(models.Pair).values(
                    id=pair.id,
                    track_id=track_id,
                    reference_date=pair.reference,
                    secondary_date=pair.secondary,
                    perpendicular_baseline_m=pair.perpendicular_baseline_m,
                    why=pair.why,
                    wanted=True,
                    planned_at=as_of,
                )
                changes = {
                    "wanted": True,
                    "why": pair.why,
                    "perpendicular_baseline_m": pair.perpendicular_baseline_m,
                }
                session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
            ordered = exists().where(models.Job.pair_id == models.Pair.id)
            dropped = session.execute(
                update(models.Pair)
                .where(models.Pair.track_id == track_id, models.Pair.wanted, ~ordered)
                .where(models.Pair.id.not_in(ids))
                .values(wanted=False)
                .returning(models.Pair.reference_date, models.Pair.secondary_date)
            )
            names = tuple(f"{first:%Y%m%d}_{second:%Y%m%d}" for first, second in dropped)
        return PlanChange(tuple(p for p in pairs if p.id not in known), names)

    def to_order(self, track_id: str) -> list[PairToOrder]:
        """Wanted pairs without a live job or an interferogram, newest first."""
        live = exists().where(models.Job.pair_id == models.Pair.id, models.Job.state.in_(LIVE))
        made = exists().where(models.Interferogram.pair_id == models.Pair.id)
        newest = (
            select(models.Job.pair_id, models.Job.attempt, models.Job.message)
            .ext(distinct_on(models.Job.pair_id))
            .order_by(models.Job.pair_id, models.Job.attempt.desc())
            .subquery()
        )
        rows = (
            select(models.Pair, newest.c.attempt, newest.c.message)
            .outerjoin(newest, newest.c.pair_id == models.Pair.id)
            .where(models.Pair.track_id == track_id, models.Pair.wanted, models.Pair.given_up_at.is_(None))
            .where(~live, ~made)
            .order_by(models.Pair.secondary_date.desc(), models.Pair.reference_date.desc())
        )
        with self._ledger.begin() as session:
            return [
                PairToOrder(pair.id, pair.reference_date, pair.secondary_date, attempt or 0, message)
                for pair, attempt, message in session.execute(rows)
            ]

    def give_up(self, pair_id: str, reason: str, as_of: datetime) -> None:
        """No further attempt will be made for a pair."""
        with self._ledger.begin() as session:
            session.execute(
                update(models.Pair)
                .where(models.Pair.id == pair_id)
                .values(given_up_at=as_of, given_up_reason=reason)
            )

    def write_down(self, orders: Sequence[Order], as_of: datetime) -> list[Order]:
        """Commit the intent to order; return the orders that are ours to send.

        An order is left out if the pair got a live one in the meantime.
        """
        ours = []
        with self._ledger.begin() as session:
            for order in orders:
                statement = (
                    insert(models.Job)
                    .values(
                        name=order.name,
                        pair_id=order.pair_id,
                        attempt=order.attempt,
                        job_type=order.job_type,
                        parameters=order.parameters,
                        credits=order.credits,
                        state=JobState.INTENDED.value,
                        intended_at=as_of,
                    )
                    .on_conflict_do_nothing()
                    .returning(models.Job.name)
                )
                if session.scalar(statement) is not None:
                    ours.append(order)
        return ours

    def take_back(self, names: Sequence[str]) -> None:
        """Forget intents that HyP3 certainly did not take."""
        with self._ledger.begin() as session:
            session.execute(
                delete(models.Job).where(
                    models.Job.name.in_(list(names)), models.Job.state == JobState.INTENDED.value
                )
            )

    def record_taken(self, jobs: Mapping[str, CloudJob]) -> None:
        """HyP3 has these jobs, by our name."""
        with self._ledger.begin() as session:
            for name, job in jobs.items():
                values = {"hyp3_id": job.id, "requested_at": job.requested_at, "state": JobState.OPEN.value}
                if job.credits is not None:
                    values["credits"] = job.credits
                session.execute(
                    update(models.Job)
                    .where(
                        models.Job.name == name,
                        models.Job.state.in_([JobState.INTENDED.value, JobState.OPEN.value]),
                    )
                    .values(**values)
                )

    def record_end(
        self,
        name: str,
        state: JobState,
        as_of: datetime,
        message: str | None = None,
        job: CloudJob | None = None,
    ) -> None:
        """A job has come to an end, or one stage further to it; a fetched one stays fetched."""
        values: dict[str, object] = {"state": state.value, "message": message, "finished_at": as_of}
        if job is not None:
            values |= {
                "expires_at": job.expires_at,
                "file_name": job.file_name,
                "file_url": job.file_url,
                "file_bytes": job.file_bytes,
            }
        with self._ledger.begin() as session:
            session.execute(
                update(models.Job)
                .where(models.Job.name == name, models.Job.state != JobState.FETCHED.value)
                .values(**values)
            )

    def jobs(self, track_id: str, states: Sequence[JobState]) -> list[JobRecord]:
        """Jobs of a track in these states, newest dates first."""
        return self._records(
            models.Pair.track_id == track_id, models.Job.state.in_([s.value for s in states])
        )

    def job(self, name: str) -> JobRecord | None:
        """One job by our name."""
        found = self._records(models.Job.name == name)
        return found[0] if found else None

    def credits_spent(self, site: str, month_start: datetime) -> float:
        """What a site has paid since the beginning of a month; failed jobs are paid too."""
        spent = (
            select(func.coalesce(func.sum(models.Job.credits), 0))
            .join(models.Pair, models.Pair.id == models.Job.pair_id)
            .join(models.Track, models.Track.id == models.Pair.track_id)
            .where(models.Track.site == site, models.Job.requested_at >= month_start)
        )
        with self._ledger.begin() as session:
            return float(session.scalar(spent) or 0)

    def _records(self, *conditions: object) -> list[JobRecord]:
        rows = (
            select(models.Job, models.Pair)
            .join(models.Pair, models.Pair.id == models.Job.pair_id)
            .where(*conditions)  # type: ignore[arg-type]
            .order_by(
                models.Pair.secondary_date.desc(), models.Pair.reference_date.desc(), models.Job.attempt
            )
        )
        with self._ledger.begin() as session:
            return [_record(job, pair) for job, pair in session.execute(rows)]


def _record(job: models.Job, pair: models.Pair) -> JobRecord:
    return JobRecord(
        name=job.name,
        pair_id=pair.id,
        track_id=pair.track_id,
        reference=pair.reference_date,
        secondary=pair.secondary_date,
        attempt=job.attempt,
        job_type=job.job_type,
        parameters=job.parameters,
        credits=job.credits,
        state=JobState(job.state),
        hyp3_id=job.hyp3_id,
        message=job.message,
        intended_at=job.intended_at,
        requested_at=job.requested_at,
        expires_at=job.expires_at,
        file_name=job.file_name,
        file_url=job.file_url,
        file_bytes=job.file_bytes,
        perpendicular_baseline_m=pair.perpendicular_baseline_m,
    )
