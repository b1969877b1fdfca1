"""A track whose interferograms lie in the store already: the ledger says which of them are accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.site import Site, Track
from sagwatch.engine.interferogram import StoredInterferogram
from sagwatch.engine.manifest import Manifest, ReferencePoint, read_manifest
from sagwatch.engine.revision import Revision, read_revision
from sagwatch.engine.window import Effort
from sagwatch.steps.stack_members import revision_settings
from sagwatch.steps.update_stack import update_stack
from tests.database.published import make_site
from tests.engine.invented_ground import Invented, invent_stack

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)


@dataclass
class StoredTrack:
    """What a first fill, monitoring, late and withdrawn interferograms leave in the ledger."""

    ledger: Ledger
    data: Path
    site: Site
    invented: Invented

    @property
    def track(self) -> Track:
        return self.site.tracks[0]

    @property
    def members(self) -> tuple[StoredInterferogram, ...]:
        return self.invented.members

    @property
    def dates(self) -> tuple[date, ...]:
        return self.invented.dates

    def until(self, day: date) -> list[StoredInterferogram]:
        return [member for member in self.members if member.secondary <= day]

    def accept(self, members: Iterable[StoredInterferogram]) -> None:
        """Exactly these are accepted now; others that were are withdrawn."""
        wanted = {member.id: member for member in members}
        self._accept(wanted, withdraw=True)

    def accept_more(self, members: Iterable[StoredInterferogram]) -> None:
        """These come; what became of earlier ones stays."""
        self._accept({member.id: member for member in members}, withdraw=False)

    def _accept(self, wanted: dict[str, StoredInterferogram], *, withdraw: bool) -> None:
        with self.ledger.begin() as session:
            rows = {row.id: row for row in session.query(models.Interferogram).all()}
            for row in rows.values() if withdraw else ():
                row.state = "accepted" if row.id in wanted else "withdrawn"
                row.reason = None if row.id in wanted else "withdrawn by a test"
                row.excluded_by = None
            for name in sorted(wanted.keys() - rows.keys()):
                self.add(session, wanted[name])

    def add(self, session: Session, member: StoredInterferogram) -> None:
        """Tell the ledger of a pair and its interferogram."""
        session.add(
            models.Pair(
                id=member.id,
                track_id=self.track.id,
                reference_date=member.reference,
                secondary_date=member.secondary,
                why="neighbours",
                planned_at=AS_OF,
            )
        )
        session.flush()
        path = self.invented.store.interferogram_path(member.id).relative_to(self.data)
        session.add(
            models.Interferogram(
                id=member.id,
                pair_id=member.id,
                product_sha256=member.sha256,
                config_sha256="c",
                path=str(path),
                file_sha256=member.sha256,
                mean_coherence=0.6,
                valid_fraction=0.9,
                perpendicular_baseline_m=member.perpendicular_baseline_m,
                state="accepted",
                made_at=AS_OF,
            )
        )

    def pin(self, row: int, column: int) -> None:
        """The reference as the ledger knows it; moving it is an act of a person, done here in SQL."""
        with self.ledger.begin() as session:
            of_track = session.get(models.Track, self.track.id)
            of_track.reference_row, of_track.reference_column = row, column
            of_track.reference_latitude, of_track.reference_longitude = 37.4, 110.8
            of_track.reference_reason, of_track.reference_pinned_at = "invented", AS_OF

    def update(self, members: Iterable[StoredInterferogram] | None = None) -> Manifest:
        """Run the step, after accepting exactly these."""
        if members is not None:
            self.accept(members)
        update_stack(self.site, self.track, self.ledger, self.data, AS_OF)
        return read_manifest(self.newest)

    @property
    def newest(self) -> Path:
        row = self.ledger.revisions.newest(self.track.id)
        assert row is not None
        return self.data / row.folder

    def batch(self, number: int = 900) -> Revision:
        """The accepted interferograms solved from the beginning, beside the step's own revisions."""
        manifest = read_manifest(self.newest)
        folder = self.invented.store.build_revision(
            number,
            manifest.members,
            revision_settings(self.site, self.track),
            ReferencePoint(manifest.reference.row, manifest.reference.column),
            Effort(),
            from_scratch=True,
        )
        revision = read_revision(folder)
        return revision

    def publish(self) -> None:
        """Make the newest revision what readers see, without judging it."""
        row = self.ledger.revisions.newest(self.track.id)
        with self.ledger.begin() as session:
            session.get(models.Revision, row.id).state = "live"
            session.get(models.Track, self.track.id).head_revision_id = row.id


def store_track(
    folder: Path,
    ledger: Ledger,
    n_epochs: int = 60,
    gaps: float = 0.04,
    lost: tuple[int, int] | None = None,
    **changes: object,
) -> StoredTrack:
    """Invent a track and tell the ledger of its site; nothing is accepted yet."""
    site = make_site("invented", **({"rows": 20, "columns": 24} | changes))
    track = site.tracks[0]
    ledger.sites.sync([site], AS_OF)
    data = folder / "data"
    invented = invent_stack(
        data / track.site / track.name, n_epochs, grid=track.grid.grid(), gaps=gaps, lost=lost
    )
    stored = StoredTrack(ledger, data, site, invented)
    stored.pin(*invented.reference)
    return stored
