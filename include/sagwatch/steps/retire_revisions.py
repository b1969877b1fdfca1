"""Remove the folders of superseded revisions that nobody needs any more; their rows stay for ever."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.models import AlertEvent, Revision, Track
from sagwatch.domain.grid import Grid
from sagwatch.engine.store import TrackStore

log = logging.getLogger(__name__)

#: So many of a track's newest revisions keep their folder, whatever became of them.
KEEP_NEWEST = 5


def retire_revisions(ledger: Ledger, data: Path, as_of: datetime) -> list[str]:
    """Delete folders of old revisions; return the ids of those revisions. Doing it twice changes nothing.

    Kept are what readers see, the newest ones of each track, whatever was not yet published, and every revision on
    which an alert was decided, because somebody may ask after an incident what was known. Interferograms stay: with
    them any revision can be solved again.
    """
    removed: list[str] = []
    with ledger.begin() as session:
        tracks = list(session.scalars(select(Track).order_by(Track.id)))
    for track in tracks:
        store = TrackStore(data / track.site / track.name, Grid(**track.grid))
        with ledger.begin() as session:
            doomed = _doomed(session, track)
        for revision in doomed:
            folder = data / revision.folder
            # The folder first: after a crash between the two the next run finds it gone and writes that down.
            if folder.exists():
                store.delete_revision(folder.name)
            _note(ledger, revision.id, as_of)
            removed.append(revision.id)
            log.info("%s: folder of revision %d removed", track.id, revision.number)
    log.info("%d folders of superseded revisions removed", len(removed))
    return removed


def _doomed(session: Session, track: Track) -> list[Revision]:
    """Retired revisions of a track whose folder may go."""
    named_by_alerts = select(AlertEvent.revision_id).where(AlertEvent.track_id == track.id)
    numbers = (
        select(Revision.number)
        .where(Revision.track_id == track.id)
        .order_by(Revision.number.desc())
        .limit(KEEP_NEWEST)
    )
    candidates = session.scalars(
        select(Revision)
        .where(
            Revision.track_id == track.id,
            Revision.state == "retired",
            Revision.number.not_in(numbers),
            Revision.id.not_in(named_by_alerts),
            Revision.id != (track.head_revision_id or ""),
        )
        .order_by(Revision.number)
    )
    return [revision for revision in candidates if "folder_removed_at" not in revision.summary]


def _note(ledger: Ledger, revision_id: str, as_of: datetime) -> None:
    with ledger.begin() as session:
        row = session.get(Revision, revision_id, with_for_update=True)
        if row is not None:
            row.summary = {**row.summary, "folder_removed_at": as_of.isoformat()}
