"""Sites and tracks as the ledger remembers them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from geoalchemy2.shape import from_shape
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.domain import site as domain
from sagwatch.domain.ids import content_sha256
from sagwatch.errors import BadInputError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Sites:
    """Reached as `ledger.sites`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def sync(self, sites: Iterable[domain.Site], as_of: datetime, unreadable: Collection[str] = ()) -> None:
        """Make the ledger know exactly these sites; those that are gone are archived, never deleted.

        Parameters
        ----------
        sites : all sites that there are.
        unreadable : names of sites whose file is broken at the moment; they stay as they are.

        Raises
        ------
        BadInputError
            A site may not change like that. All other sites are in step nevertheless.
        """
        present = list(sites)
        problems: list[str] = []
        for site in present:
            try:
                self.sync_site(site, as_of)
            except BadInputError as problem:
                problems.append(str(problem))
        self._archive_all_but({site.name for site in present} | set(unreadable), as_of)
        if problems:
            raise BadInputError("; ".join(problems))

    def sync_site(self, site: domain.Site, as_of: datetime) -> None:
        """Make the ledger know one site as its file describes it now, also when it was archived.

        Raises
        ------
        BadInputError
            The grid of a track that has data differs: points are pixels of a grid and would change their place.
        """
        with self._ledger.begin() as session:
            config = site.model_dump(mode="json")
            values = {
                "title": site.title,
                "boundary": from_shape(site.polygon, srid=4326),
                "config": config,
                "config_sha256": content_sha256(config),
            }
            row = session.get(models.Site, site.name, with_for_update=True)
            if row is None:
                session.add(models.Site(name=site.name, first_seen_at=as_of, changed_at=as_of, **values))
            elif row.config_sha256 != values["config_sha256"]:
                self._remember_change(session, row, as_of)
                for key, value in values.items():
                    setattr(row, key, value)
                row.changed_at = as_of
            if row is not None:
                row.archived_at = None
            session.flush()
            for track in site.tracks:
                _sync_track(session, track)
            _archive_tracks(session, site.name, {track.id for track in site.tracks}, as_of)

    def site(self, name: str) -> models.Site:
        """A site, archived or not.

        Raises
        ------
        BadInputError
            The ledger has never seen it.
        """
        with self._ledger.begin() as session:
            row = session.get(models.Site, name)
            if row is None:
                known = session.scalars(select(models.Site.name).order_by(models.Site.name)).all()
                raise BadInputError(
                    f"the ledger knows no site {name}; it knows {', '.join(known) or 'none yet: run its DAG once'}"
                )
            return row

    def track(self, track_id: str) -> models.Track:
        """A track, archived or not.

        Raises
        ------
        BadInputError
            The ledger has never seen it.
        """
        with self._ledger.begin() as session:
            return _track(session, track_id)

    def pin_reference(
        self,
        track_id: str,
        row: int,
        column: int,
        latitude: float,
        longitude: float,
        reason: str,
        as_of: datetime,
    ) -> models.Track:
        """Pin the track's reference pixel, once: every displacement ever published refers to it.

        Raises
        ------
        BadInputError
            It is pinned already, to another pixel.
        """
        with self._ledger.begin() as session:
            track = _track(session, track_id, lock=True)
            if track.reference_row is None:
                track.reference_row, track.reference_column = row, column
                track.reference_latitude, track.reference_longitude = latitude, longitude
                track.reference_reason, track.reference_pinned_at = reason, as_of
            elif (track.reference_row, track.reference_column) != (row, column):
                raise BadInputError(
                    f"track {track_id} has its reference pinned at row {track.reference_row}, column "
                    f"{track.reference_column} ({track.reference_reason}); moving it to row {row}, column {column} "
                    "shifts everything published: leave `reference` in the site file as it was, or move it by "
                    "`python -m sagwatch re-reference`"
                )
            return track

    def _remember_change(self, session: Session, row: models.Site, as_of: datetime) -> None:
        self._ledger.operations.record(
            "site_changed",
            f"the file of site {row.name} changed; the details hold how it was",
            severity="info",
            site=row.name,
            dedupe_key=f"site_changed:{row.name}:{row.config_sha256}:{as_of.isoformat()}",
            details={"before": row.config},
            as_of=as_of,
            session=session,
        )

    def _archive_all_but(self, names: Collection[str], as_of: datetime) -> None:
        gone = select(models.Site).where(models.Site.archived_at.is_(None), models.Site.name.not_in(names))
        with self._ledger.begin() as session:
            for row in session.scalars(gone.with_for_update()):
                row.archived_at = as_of
                _archive_tracks(session, row.name, set(), as_of)


def _track(session: Session, track_id: str, *, lock: bool = False) -> models.Track:
    row = session.get(models.Track, track_id, with_for_update=True if lock else None)
    if row is None:
        raise BadInputError(
            f"the ledger knows no track {track_id}: is its site file there, did its DAG run once?"
        )
    return row


def _sync_track(session: Session, track: domain.Track) -> None:
    grid = track.grid.grid()
    values: dict[str, Any] = {
        "site": track.site,
        "name": track.name,
        "relative_orbit": track.relative_orbit,
        "direction": track.direction,
        "grid": track.grid.model_dump(mode="json"),
        "grid_id": grid.id,
    }
    row = session.get(models.Track, track.id, with_for_update=True)
    if row is None:
        session.add(models.Track(id=track.id, **values))
        return
    if row.grid_id != grid.id and _has_data(session, track.id):
        raise BadInputError(
            f"site {track.site}, key tracks.{track.name}.grid: this track has data on grid {row.grid}; published "
            "points are pixels of it and may not move. Restore the grid, or describe a new site with the new grid"
        )
    for key, value in values.items():
        setattr(row, key, value)
    row.archived_at = None


def _has_data(session: Session, track_id: str) -> bool:
    """Is there anything that lives on the track's grid?"""
    interferogram = (
        select(models.Interferogram.id)
        .join(models.Pair, models.Pair.id == models.Interferogram.pair_id)
        .where(models.Pair.track_id == track_id)
    )
    revision = select(models.Revision.id).where(models.Revision.track_id == track_id)
    pinned = select(models.Track.id).where(
        models.Track.id == track_id, models.Track.reference_row.is_not(None)
    )
    return bool(session.scalar(select(or_(exists(interferogram), exists(revision), exists(pinned)))))


def _archive_tracks(session: Session, site: str, keep: Collection[str], as_of: datetime) -> None:
    gone = select(models.Track).where(
        models.Track.site == site, models.Track.archived_at.is_(None), models.Track.id.not_in(keep)
    )
    for row in session.scalars(gone.with_for_update()):
        row.archived_at = as_of
