"""One row a day that says how much is watched: its absence is the news."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.models import Acquisition, Alert, Message, Site, Track
from sagwatch.steps.check_health import check_health

log = logging.getLogger(__name__)


def heartbeat(ledger: Ledger, as_of: datetime) -> bool:
    """Check the pipeline's health and write the day's heartbeat; False where it is written already."""
    check_health(ledger, as_of)
    details = _counts(ledger)
    text = (
        f"{details['sites']} sites with {details['tracks']} tracks are watched; newest acquisition in the catalogue "
        f"{details['newest_acquisition'] or 'none'}, {details['open_alerts']} alerts open, "
        f"{details['waiting_messages']} messages wait, {details['unexplained_acquisitions']} acquisitions unexplained"
    )
    log.info(text)
    return ledger.operations.record(
        "heartbeat",
        text,
        severity="info",
        dedupe_key=f"heartbeat:{as_of.date()}",
        details=details,
        as_of=as_of,
    )


def _counts(ledger: Ledger) -> dict[str, Any]:
    with ledger.begin() as session:

        def count(thing: Any, *where: Any) -> int:
            return int(session.scalar(select(func.count()).select_from(thing).where(*where)) or 0)

        newest = session.scalar(select(func.max(Acquisition.date)))
        return {
            "sites": count(Site, Site.archived_at.is_(None)),
            "tracks": count(Track, Track.archived_at.is_(None)),
            "newest_acquisition": newest.isoformat() if newest else None,
            "open_alerts": count(Alert, Alert.state.in_(["raised", "clearing"])),
            "waiting_messages": count(Message, Message.state.in_(["waiting", "sending"])),
            "unexplained_acquisitions": count(Acquisition, Acquisition.state == "new"),
        }
