"""What the ledger knows about the network that a stack hangs together by, and about its reference point."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import aliased

from sagwatch.adapters.database import models
from sagwatch.adapters.database.orders import LIVE, PairToOrder
from sagwatch.adapters.database.revisions import AcceptedInterferogram
from sagwatch.domain.coherence import Measured, Standing
from sagwatch.domain.orbits import PRECISE_AFTER, Orbits, UsedOrbits, epoch_orbits
from sagwatch.errors import BadInputError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

#: Who excluded an interferogram: the coherence rule may take it back, a new reference point may take it back.
BY_COHERENCE = "coherence"
BY_REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class RankedPlace:
    """A place fit to be the reference point, and its numbers."""

    rank: int
    row: int
    column: int
    latitude: float
    longitude: float
    score: float
    mean_coherence: float
    temporal_coherence: float
    unrest_mm_yr: float
    above_area_m: float | None


class Network:
    """Reached as `ledger.network`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def measured(self, track_id: str) -> list[Measured]:
        """Everything that the coherence rule decides about."""
        statement = (
            select(models.Interferogram, models.Pair.reference_date, models.Pair.secondary_date)
            .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
            .where(models.Pair.track_id == track_id)
            .where(
                or_(
                    models.Interferogram.state == "accepted", models.Interferogram.excluded_by == BY_COHERENCE
                )
            )
        )
        with self._ledger.begin() as session:
            return [
                Measured(row.id, reference, secondary, row.mean_coherence)
                for row, reference, secondary in session.execute(statement)
            ]

    def note_standings(self, track_id: str, standings: Mapping[str, Standing]) -> list[str]:
        """Write down what the coherence rule says now; return the ids of those of which it says something else."""
        changed = []
        with self._ledger.begin() as session:
            # One writer at a time: products of a track are fetched side by side.
            session.execute(select(models.Track.id).where(models.Track.id == track_id).with_for_update())
            rows = session.scalars(
                select(models.Interferogram)
                .where(models.Interferogram.id.in_(list(standings)))
                .order_by(models.Interferogram.id)
                .with_for_update()
            ).all()
            for row in rows:
                if row.state != "accepted" and row.excluded_by != BY_COHERENCE:
                    continue
                now = standings[row.id]
                values = (
                    ("accepted", now.reason, None) if now.kept else ("excluded", now.reason, BY_COHERENCE)
                )
                if (row.state, row.reason, row.excluded_by) != values:
                    row.state, row.reason, row.excluded_by = values
                    changed.append(row.id)
        return changed

    def lost_in_a_row(self, track_id: str) -> list[tuple[date, date]]:
        """The newest pairs that have no phase at the reference point, newest first, up to the first that has."""
        statement = (
            select(models.Interferogram.excluded_by, models.Pair.reference_date, models.Pair.secondary_date)
            .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
            .where(models.Pair.track_id == track_id)
            .where(
                or_(
                    models.Interferogram.state == "accepted", models.Interferogram.excluded_by == BY_REFERENCE
                )
            )
            .order_by(models.Pair.secondary_date.desc(), models.Pair.reference_date.desc())
        )
        lost = []
        with self._ledger.begin() as session:
            for excluded_by, reference, secondary in session.execute(statement):
                if excluded_by is None:
                    break
                lost.append((reference, secondary))
        return lost

    def epoch_orbits(self, interferogram_ids: Collection[str]) -> dict[date, Orbits]:
        """The poorest orbit that these interferograms took for each acquisition, in order of date."""
        statement = (
            select(models.Interferogram, models.Pair.reference_date, models.Pair.secondary_date)
            .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
            .where(models.Interferogram.id.in_(list(interferogram_ids)))
        )
        with self._ledger.begin() as session:
            return epoch_orbits(
                UsedOrbits(reference, secondary, Orbits(row.orbits), row.processed_at)
                for row, reference, secondary in session.execute(statement)
            )

    def to_reorder(self, track_id: str, as_of: datetime) -> list[PairToOrder]:
        """Pairs in the stack with restituted orbits whose precise ones are out, never ordered again; newest first."""
        made_by = aliased(models.Job)
        later = aliased(models.Job)
        again = exists().where(later.pair_id == models.Pair.id, later.attempt > made_by.attempt)
        live = exists().where(later.pair_id == models.Pair.id, later.state.in_(LIVE))
        statement = (
            select(models.Pair, made_by.attempt)
            .join(models.Interferogram, models.Interferogram.pair_id == models.Pair.id)
            .join(
                models.Product,
                (models.Product.sha256 == models.Interferogram.product_sha256)
                & (models.Product.pair_id == models.Pair.id),
            )
            .join(made_by, made_by.name == models.Product.job_name)
            .where(models.Pair.track_id == track_id, models.Pair.wanted)
            .where(models.Interferogram.state == "accepted")
            .where(models.Interferogram.orbits == Orbits.RESTITUTED.value)
            .where(models.Pair.secondary_date <= (as_of - PRECISE_AFTER).date(), ~again, ~live)
            .order_by(models.Pair.secondary_date.desc(), models.Pair.reference_date.desc())
        )
        with self._ledger.begin() as session:
            return [
                PairToOrder(pair.id, pair.reference_date, pair.secondary_date, attempt, None)
                for pair, attempt in session.execute(statement)
            ]

    def with_or_without_reference(self, track_id: str) -> list[AcceptedInterferogram]:
        """What the stack consists of, and what it would if every pixel had phase; in order of dates."""
        return self._ledger.revisions.interferograms(
            track_id,
            or_(models.Interferogram.state == "accepted", models.Interferogram.excluded_by == BY_REFERENCE),
        )

    def note_candidates(self, track_id: str, places: Sequence[RankedPlace], as_of: datetime) -> None:
        """Keep the places that were fit, in their order; once for each time."""
        with self._ledger.begin() as session:
            known = exists().where(
                models.ReferenceCandidate.track_id == track_id,
                models.ReferenceCandidate.ranked_at == as_of,
            )
            if session.scalar(select(known)):
                return
            for place in places:
                values = {name: getattr(place, name) for name in RankedPlace.__slots__}
                session.add(models.ReferenceCandidate(track_id=track_id, ranked_at=as_of, **values))

    def candidates(self, track_id: str) -> list[RankedPlace]:
        """The newest ranking, best first; empty where none was made."""
        newest = (
            select(func.max(models.ReferenceCandidate.ranked_at))
            .where(models.ReferenceCandidate.track_id == track_id)
            .scalar_subquery()
        )
        statement = (
            select(models.ReferenceCandidate)
            .where(models.ReferenceCandidate.track_id == track_id)
            .where(models.ReferenceCandidate.ranked_at == newest)
            .order_by(models.ReferenceCandidate.rank)
        )
        with self._ledger.begin() as session:
            return [
                RankedPlace(**{name: getattr(row, name) for name in RankedPlace.__slots__})
                for row in session.scalars(statement)
            ]

    def zone_at(self, track_id: str, row: int, column: int) -> str | None:
        """The id of the zone that a pixel is in, by what is published."""
        statement = (
            select(models.PointVelocity.zone_id)
            .join(models.Point, models.Point.id == models.PointVelocity.point_id)
            .where(models.Point.track_id == track_id)
            .where(models.Point.row == row, models.Point.column == column)
        )
        with self._ledger.begin() as session:
            return session.scalar(statement)

    def move_reference(
        self, track_id: str, place: tuple[int, int, float, float], who: str, why: str, as_of: datetime
    ) -> None:
        """Record the act and pin the new place (row, column, latitude, longitude), in one transaction.

        Interferograms that the old place left out come back; the next update looks whether the new one sees them.

        Raises
        ------
        BadInputError
            No reference is pinned yet, or this one is.
        """
        row, column, latitude, longitude = place
        with self._ledger.begin() as session:
            track = session.get(models.Track, track_id, with_for_update=True)
            if track is None or track.reference_row is None:
                raise BadInputError(f"{track_id} has no reference point yet: the next update chooses one")
            if (track.reference_row, track.reference_column) == (row, column):
                raise BadInputError(
                    f"row {row}, column {column} is the reference point of {track_id} already"
                )
            session.add(
                models.ReferenceChange(
                    track_id=track_id,
                    at=as_of,
                    who=who,
                    why=why,
                    old_row=track.reference_row,
                    old_column=track.reference_column,
                    old_latitude=track.reference_latitude,
                    old_longitude=track.reference_longitude,
                    new_row=row,
                    new_column=column,
                    new_latitude=latitude,
                    new_longitude=longitude,
                )
            )
            track.reference_row, track.reference_column = row, column
            track.reference_latitude, track.reference_longitude = latitude, longitude
            track.reference_reason, track.reference_pinned_at = f"chosen by {who}: {why}", as_of
            lost = (
                select(models.Interferogram)
                .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
                .where(models.Pair.track_id == track_id, models.Interferogram.excluded_by == BY_REFERENCE)
            )
            for interferogram in session.scalars(lost):
                interferogram.state, interferogram.reason, interferogram.excluded_by = "accepted", None, None
