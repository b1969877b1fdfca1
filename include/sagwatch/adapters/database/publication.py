"""Puts a revision live: points, series, velocities and the head pointer in the caller's transaction.

Readers see the revision before or this one, never a mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg import Connection
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from sagwatch.adapters.database.models import PublishedRevision, Revision, Track
from sagwatch.adapters.database.point_writer import PointWriter
from sagwatch.adapters.database.published_arrays import PublishedArrays
from sagwatch.adapters.database.tile_writer import TileWriter
from sagwatch.errors import BadRevisionError, FencedError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Head:
    """What readers see of a track now; keep it when work begins, hand it back when the result goes live."""

    track_id: str
    revision_id: str | None
    number: int
    fence: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a publication wrote."""

    points_new: int
    points: int
    series_tiles: int
    series_tiles_closed: int
    velocity_tiles: int


class Publication:
    """Reached as `ledger.publication`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def head(self, track_id: str) -> Head:
        """What readers see now, and the fence that a writer must hand back."""
        with self._ledger.begin() as session:
            found = session.execute(
                select(Track.head_revision_id, Revision.number, Track.fence)
                .outerjoin(Revision, Revision.id == Track.head_revision_id)
                .where(Track.id == track_id)
            ).one_or_none()
        if found is None:
            raise BadRevisionError(f"the ledger knows no track {track_id}")
        return Head(track_id, found[0], found[1] or 0, found[2])

    def put_live(
        self,
        session: Session,
        track_id: str,
        revision_id: str,
        expected_head: str | None,
        fence: int,
        points: PublishedArrays,
        as_of: datetime,
    ) -> Written:
        """Make a built revision the one that readers see, when the caller's transaction commits.

        Parameters
        ----------
        expected_head, fence : as `head` told them before the work began.

        Raises
        ------
        FencedError
            Another writer has published meanwhile; roll back and leave.
        BadRevisionError
            The revision is not one that can go live, or lives on another grid than the track.
        """
        session.flush()
        session.execute(text("SET LOCAL lock_timeout = '60s'"))
        # The server itself ends a writer that was stopped in the middle, so that it cannot hold the track for ever.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
        track = _claim(session, track_id, expected_head, fence)
        revision = _presentable(session, track, revision_id, points)
        connection: Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
        written = _write(connection, track_id, revision, points)
        track.incidence_deg = points.incidence_deg
        _move_head(session, track, revision, as_of)
        return written

    def refresh_points(
        self, session: Session, track_id: str, revision_id: str, fence: int, points: PublishedArrays
    ) -> None:
        """Show zones, reasons and stages anew where an acquisition was judged later than its revision went live.

        Raises
        ------
        FencedError
            Another writer has published meanwhile; roll back and leave.
        """
        session.flush()
        _claim(session, track_id, revision_id, fence)
        connection: Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
        writer = PointWriter(connection, track_id, revision_id, points)
        known, _ = writer.known_and_new()
        writer.replace_current(known, np.empty(0, dtype=np.int64))


def _claim(session: Session, track_id: str, expected_head: str | None, fence: int) -> Track:
    """Lock the track's row; other tables may still refer to it meanwhile."""
    track = session.get(Track, track_id, with_for_update={"key_share": True}, populate_existing=True)
    if track is None:
        raise BadRevisionError(f"the ledger knows no track {track_id}")
    if (track.head_revision_id, track.fence) != (expected_head, fence):
        raise FencedError(
            f"track {track_id} shows revision {track.head_revision_id} (fence {track.fence}), this writer started "
            f"from {expected_head} (fence {fence}): another one has published meanwhile, this one stops"
        )
    return track


def _presentable(session: Session, track: Track, revision_id: str, points: PublishedArrays) -> Revision:
    revision = session.get(Revision, revision_id, populate_existing=True)
    if revision is None or revision.track_id != track.id:
        raise BadRevisionError(
            f"track {track.id} has no revision {revision_id}: write it down before it goes live"
        )
    if revision.state != "built":
        raise BadRevisionError(f"revision {revision_id} is {revision.state}, only a built one can go live")
    if list(points.epochs) != list(revision.epochs):
        raise BadRevisionError(f"revision {revision_id} has other epochs than what is to be published of it")
    if points.grid.id != track.grid_id:
        raise BadRevisionError(
            f"revision {revision_id} is on grid {points.grid.id}, track {track.id} on {track.grid_id}"
        )
    last = session.scalar(
        select(func.max(PublishedRevision.number)).where(PublishedRevision.track_id == track.id)
    )
    if last is not None and revision.number <= last:
        raise BadRevisionError(
            f"revision number {revision.number} is not after {last}, which was live already"
        )
    return revision


def _move_head(session: Session, track: Track, revision: Revision, as_of: datetime) -> None:
    if track.head_revision_id is not None:
        before = session.get(Revision, track.head_revision_id)
        if before is not None:
            before.state = "retired"
    revision.state, revision.published_at = "live", as_of
    track.head_revision_id, track.fence = revision.id, track.fence + 1
    session.add(
        PublishedRevision(
            track_id=track.id, number=revision.number, revision_id=revision.id, published_at=as_of
        )
    )
    session.flush()


def _write(
    connection: Connection[Any], track_id: str, revision: Revision, points: PublishedArrays
) -> Written:
    writer = PointWriter(connection, track_id, revision.id, points)
    known, new = writer.known_and_new()
    writer.add(new)
    writer.replace_current(known, new)
    tiles = TileWriter(connection, track_id, revision.number, points)
    series = tiles.write_series()
    tiles.write_topography()
    velocities = tiles.write_velocities()
    return Written(new.size, known.size + new.size, series.written, series.closed, velocities.written)
