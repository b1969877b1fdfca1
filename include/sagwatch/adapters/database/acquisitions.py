"""What the ledger knows about acquisitions and the granules they were seen in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.domain.acquisition import Acquisition, AcquisitionState, Granule, Merged
from sagwatch.domain.order import ordered_granules
from sagwatch.domain.settling import PairFacts, Settled
from sagwatch.domain.site import Track

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Acquisitions:
    """Reached as `ledger.acquisitions`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def searched_at(self, track_id: str) -> datetime | None:
        """When the catalogue was last asked about a track as its site is now, with a complete answer.

        None after the site's file has changed: an earlier start or another burst has never been asked for.
        """
        row = (
            select(models.Track.searched_at, models.Site.changed_at)
            .join(models.Site, models.Site.name == models.Track.site)
            .where(models.Track.id == track_id)
        )
        with self._ledger.begin() as session:
            found = session.execute(row).first()
        if found is None or found.searched_at is None or found.changed_at >= found.searched_at:
            return None
        searched_at: datetime = found.searched_at
        return searched_at

    def granules(self, track: Track, dates: Iterable[date]) -> list[Granule]:
        """Every granule that the catalogue ever showed for these dates, whatever became of it."""
        rows = select(models.Granule, func.ST_AsText(models.Granule.footprint)).where(
            models.Granule.track_id == track.id, models.Granule.date.in_(list(dates))
        )
        with self._ledger.begin() as session:
            return [_granule(track, row, footprint) for row, footprint in session.execute(rows)]

    def baseline_reference(self, track_id: str) -> tuple[str, ...]:
        """Granules, newest processing first, of the acquisition from which baselines are measured.

        It is the earliest one of the first search that gave any baseline: never another one later, so that
        answers of different days agree.
        """
        first = (
            select(models.Acquisition.date)
            .where(models.Acquisition.track_id == track_id, models.Acquisition.perpendicular_baseline_m == 0)
            .order_by(models.Acquisition.first_seen_at, models.Acquisition.date)
            .limit(1)
            .scalar_subquery()
        )
        names = (
            select(models.Granule.name)
            .where(
                models.Granule.track_id == track_id,
                models.Granule.date == first,
                models.Granule.state.in_(["chosen", "superseded"]),
            )
            .order_by(models.Granule.burst, models.Granule.state, models.Granule.name.desc())
        )
        with self._ledger.begin() as session:
            return tuple(session.scalars(names))

    def ordered(self, track_id: str) -> dict[date, frozenset[str]]:
        """Granules that jobs were ordered with, by date."""
        jobs = (
            select(models.Pair.reference_date, models.Pair.secondary_date, models.Job.parameters)
            .join(models.Job, models.Job.pair_id == models.Pair.id)
            .where(models.Pair.track_id == track_id, models.Job.state != "refused")
        )
        names: dict[date, set[str]] = defaultdict(set)
        with self._ledger.begin() as session:
            for first, second, parameters in session.execute(jobs):
                reference, secondary = ordered_granules(parameters)
                names[first].update(reference)
                names[second].update(secondary)
        return {day: frozenset(granules) for day, granules in names.items()}

    def record(self, track_id: str, merged: Merged, searched_at: datetime) -> list[date]:
        """Write down what a search found; return the dates that are new.

        A granule's verdict may change, an acquisition's granules and baseline too; when both were first seen, and the
        state an acquisition has reached, stay.
        """
        with self._ledger.begin() as session:
            session.execute(select(models.Track.id).where(models.Track.id == track_id).with_for_update())
            known = set(
                session.scalars(
                    select(models.Acquisition.date).where(models.Acquisition.track_id == track_id)
                )
            )
            for verdict in merged.verdicts:
                _upsert_granule(
                    session, track_id, verdict.granule, verdict.state, verdict.reason, searched_at
                )
            for acquisition in merged.acquisitions:
                _upsert_acquisition(session, acquisition, searched_at)
            session.execute(
                update(models.Track).where(models.Track.id == track_id).values(searched_at=searched_at)
            )
        return [a.date for a in merged.acquisitions if a.date not in known]

    def known(self, track: Track) -> list[Acquisition]:
        """All acquisitions of a track in order of date, with the bursts that are still missing."""
        rows = (
            select(models.Acquisition)
            .where(models.Acquisition.track_id == track.id)
            .order_by(models.Acquisition.date)
        )
        bursts = select(models.Granule.date, models.Granule.burst).where(
            models.Granule.track_id == track.id, models.Granule.state == "chosen"
        )
        with self._ledger.begin() as session:
            seen: dict[date, set[str | None]] = defaultdict(set)
            for day, burst in session.execute(bursts):
                seen[day].add(burst)
            return [_acquisition(track, row, seen[row.date]) for row in session.scalars(rows)]

    def pair_facts(self, track_id: str) -> dict[date, list[PairFacts]]:
        """What became of the pairs of each date."""
        pairs = select(models.Pair).where(models.Pair.track_id == track_id)
        with self._ledger.begin() as session:
            live = _newest_jobs(session, track_id)
            made = _interferogram_states(session, track_id)
            facts: dict[date, list[PairFacts]] = defaultdict(list)
            for pair in session.scalars(pairs):
                job = live.get(pair.id)
                fact = PairFacts(
                    reference=pair.reference_date,
                    secondary=pair.secondary_date,
                    wanted=pair.wanted,
                    planned_at=pair.planned_at,
                    given_up_reason=pair.given_up_reason,
                    job_state=job.state if job else None,
                    job_intended_at=job.intended_at if job else None,
                    interferograms=made.get(pair.id, ()),
                )
                facts[pair.reference_date].append(fact)
                facts[pair.secondary_date].append(fact)
        return facts

    def settle(self, track_id: str, settled: Mapping[date, Settled], as_of: datetime) -> list[date]:
        """Write acquisitions' states down where they changed; return those dates."""
        changed = []
        with self._ledger.begin() as session:
            for day, now in sorted(settled.items()):
                values = {"state": now.state.value, "reason": now.reason, "until": now.until}
                differs = [getattr(models.Acquisition, k).is_distinct_from(v) for k, v in values.items()]
                statement = (
                    update(models.Acquisition)
                    .where(
                        models.Acquisition.track_id == track_id,
                        models.Acquisition.date == day,
                        or_(*differs),
                    )
                    .values(**values, changed_at=as_of)
                    .returning(models.Acquisition.date)
                )
                changed += list(session.scalars(statement))
        return changed


def _granule(track: Track, row: models.Granule, footprint_wkt: str) -> Granule:
    return Granule(
        name=row.name,
        acquired_at=row.acquired_at,
        platform=row.platform,
        relative_orbit=track.relative_orbit,
        absolute_orbit=row.absolute_orbit,
        direction=track.direction,
        polarisation=row.polarisation,
        burst=row.burst,
        frame=row.frame,
        footprint_wkt=footprint_wkt or "",
        bytes=row.bytes,
        processing_version=row.processing_version,
        published_at=row.published_at,
    )


def _acquisition(track: Track, row: models.Acquisition, seen: set[str | None]) -> Acquisition:
    return Acquisition(
        track_id=track.id,
        date=row.date,
        acquired_at=row.acquired_at,
        platform=row.platform,
        granules=tuple(row.granules),
        perpendicular_baseline_m=row.perpendicular_baseline_m,
        missing_bursts=tuple(burst for burst in track.bursts if burst not in seen),
    )


def _upsert_granule(
    session: Session, track_id: str, granule: Granule, state: str, reason: str | None, as_of: datetime
) -> None:
    facts: dict[str, Any] = {
        "date": granule.date,
        "acquired_at": granule.acquired_at,
        "platform": granule.platform,
        "absolute_orbit": granule.absolute_orbit,
        "polarisation": granule.polarisation,
        "burst": granule.burst,
        "frame": granule.frame,
        "bytes": granule.bytes,
        "processing_version": granule.processing_version,
        "published_at": granule.published_at,
        "footprint": f"SRID=4326;{granule.footprint_wkt}" if granule.footprint_wkt else None,
        "state": state,
        "reason": reason,
    }
    key = {"track_id": track_id, "name": granule.name}
    statement = insert(models.Granule).values(**key, **facts, first_seen_at=as_of)
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=facts))


def _upsert_acquisition(session: Session, acquisition: Acquisition, as_of: datetime) -> None:
    facts: dict[str, Any] = {
        "acquired_at": acquisition.acquired_at,
        "platform": acquisition.platform,
        "granules": list(acquisition.granules),
        "perpendicular_baseline_m": acquisition.perpendicular_baseline_m,
    }
    key = {"track_id": acquisition.track_id, "date": acquisition.date}
    statement = insert(models.Acquisition).values(
        **key, **facts, state=AcquisitionState.NEW.value, first_seen_at=as_of, changed_at=as_of
    )
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=facts))


def _newest_jobs(session: Session, track_id: str) -> dict[str, models.Job]:
    """The newest attempt of each pair."""
    jobs = (
        select(models.Job)
        .join(models.Pair, models.Pair.id == models.Job.pair_id)
        .where(models.Pair.track_id == track_id)
        .order_by(models.Job.attempt)
    )
    return {job.pair_id: job for job in session.scalars(jobs)}


def _interferogram_states(session: Session, track_id: str) -> dict[str, tuple[tuple[str, str | None], ...]]:
    rows = (
        select(models.Interferogram.pair_id, models.Interferogram.state, models.Interferogram.reason)
        .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
        .where(models.Pair.track_id == track_id)
        .order_by(models.Interferogram.id)
    )
    states: dict[str, tuple[tuple[str, str | None], ...]] = {}
    for pair_id, state, reason in session.execute(rows):
        states[pair_id] = (*states.get(pair_id, ()), (state, reason))
    return states
