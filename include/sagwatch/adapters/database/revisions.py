"""Revisions of a track: what they are made from, and the folder that each one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from sagwatch.adapters.database.models import Interferogram, Pair, Revision, Track
from sagwatch.domain.provisional import EpochInputs
from sagwatch.errors import BadInputError, FencedError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class AcceptedInterferogram:
    """An interferogram that belongs into the stack; ``path`` is relative to the data folder."""

    id: str
    pair_id: str
    reference: date
    secondary: date
    path: str
    file_sha256: str
    product_sha256: str
    config_sha256: str
    mean_coherence: float
    valid_fraction: float
    perpendicular_baseline_m: float | None


@dataclass(frozen=True, slots=True)
class BuiltRevision:
    """A revision folder that is complete on disk, to be written down.

    ``inputs`` say how good each epoch's weather and orbits are; without them nothing is wanted and nothing known.
    ``perpendicular_m`` are the epochs' baselines against the first one.
    """

    id: str
    track_id: str
    number: int
    parent_id: str | None
    input_sha256: str
    config_sha256: str
    folder: str
    manifest_sha256: str
    interferograms: Sequence[str]
    epochs: Sequence[date]
    reference_row: int
    reference_column: int
    summary: Mapping[str, Any]
    inputs: Sequence[EpochInputs] = ()
    perpendicular_m: Sequence[float] = ()


class Revisions:
    """Reached as `ledger.revisions`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def accepted_interferograms(self, track_id: str) -> list[AcceptedInterferogram]:
        """Everything that the stack consists of now, in order of its dates."""
        return self.interferograms(track_id, Interferogram.state == "accepted")

    def interferograms(self, track_id: str, condition: ColumnElement[bool]) -> list[AcceptedInterferogram]:
        """Those of a track for which something holds, in order of their dates."""
        statement = (
            select(Interferogram, Pair.reference_date, Pair.secondary_date)
            .join(Pair, Pair.id == Interferogram.pair_id)
            .where(Pair.track_id == track_id, condition)
            .order_by(Pair.reference_date, Pair.secondary_date)
        )
        with self._ledger.begin() as session:
            return [_accepted(*row) for row in session.execute(statement)]

    def leave_out(self, interferogram_id: str, reason: str, excluded_by: str) -> None:
        """Take an interferogram out of the stack; it is kept, with the reason."""
        with self._ledger.begin() as session:
            row = session.get(Interferogram, interferogram_id, with_for_update=True)
            if row is not None and row.state == "accepted":
                row.state, row.reason, row.excluded_by = "excluded", reason, excluded_by

    def newest(self, track_id: str) -> Revision | None:
        """The revision of the highest number, live or not yet."""
        with self._ledger.begin() as session:
            return session.scalar(
                select(Revision)
                .where(Revision.track_id == track_id)
                .order_by(Revision.number.desc())
                .limit(1)
            )

    def get(self, revision_id: str) -> Revision | None:
        with self._ledger.begin() as session:
            return session.get(Revision, revision_id)

    def head(self, track_id: str) -> Revision | None:
        """The revision that readers see."""
        with self._ledger.begin() as session:
            return session.scalar(
                select(Revision)
                .join(Track, Track.head_revision_id == Revision.id)
                .where(Track.id == track_id)
            )

    def next_number(self, track_id: str) -> int:
        """The number that the next revision of this track gets, and its folder's name begins with."""
        with self._ledger.begin() as session:
            return _next_number(session, track_id)

    def write_down(self, built: BuiltRevision, as_of: datetime) -> Revision:
        """Note a complete revision folder, not yet visible to readers. Writing it twice changes nothing.

        The same inputs and configuration are the same revision. One that was built before and has been built
        again, or that was live before others and returns, keeps its row and gets the new folder and number.

        Raises
        ------
        FencedError
            Another writer used that number meanwhile: ask for the next number and name the folder by it.
        """
        with self._ledger.begin() as session:
            track = session.get(Track, built.track_id, with_for_update=True)
            if track is None:
                raise BadInputError(f"the ledger knows no track {built.track_id}")
            known = session.get(Revision, built.id)
            same = known is not None and (known.folder, known.manifest_sha256) == (
                built.folder,
                built.manifest_sha256,
            )
            if known is not None and (
                (same and known.state != "retired") or track.head_revision_id == built.id
            ):
                return known
            if built.number < _next_number(session, built.track_id):
                raise FencedError(
                    f"revision number {built.number} of {built.track_id} is taken; another writer has moved on"
                )
            if known is None:
                known = Revision(id=built.id, track_id=built.track_id)
                session.add(known)
            _fill(known, built, as_of)
            return known


def _accepted(row: Interferogram, reference: date, secondary: date) -> AcceptedInterferogram:
    return AcceptedInterferogram(
        id=row.id,
        pair_id=row.pair_id,
        reference=reference,
        secondary=secondary,
        path=row.path,
        file_sha256=row.file_sha256,
        product_sha256=row.product_sha256,
        config_sha256=row.config_sha256,
        mean_coherence=row.mean_coherence,
        valid_fraction=row.valid_fraction,
        perpendicular_baseline_m=row.perpendicular_baseline_m,
    )


def _next_number(session: Session, track_id: str) -> int:
    return (session.scalar(select(func.max(Revision.number)).where(Revision.track_id == track_id)) or 0) + 1


def _fill(row: Revision, built: BuiltRevision, as_of: datetime) -> None:
    row.number = built.number
    row.parent_id = built.parent_id
    row.input_sha256, row.config_sha256 = built.input_sha256, built.config_sha256
    row.folder, row.manifest_sha256 = built.folder, built.manifest_sha256
    row.interferograms, row.epochs = list(built.interferograms), list(built.epochs)
    inputs = built.inputs or [EpochInputs(day) for day in built.epochs]
    row.troposphere = [one.troposphere for one in inputs]
    row.orbits = [one.orbits for one in inputs]
    row.perpendicular_m = list(built.perpendicular_m) or None
    row.reference_row, row.reference_column = built.reference_row, built.reference_column
    row.summary = dict(built.summary)
    row.state, row.built_at, row.published_at = "built", as_of, None
