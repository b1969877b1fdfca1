"""The monthly digest: advisories, what is open, and what only the whole record shows (rule R1-history)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from sagwatch.adapters.database.alerts import Alerts
from sagwatch.adapters.database.outbox import DraftMessage, Outbox
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.message import Letter, digest_letter, message_id
from sagwatch.domain.site import Site
from sagwatch.steps.compose_messages import Recipient, bodies, recipients


def compose_digest(
    alerts: Alerts,
    outbox: Outbox,
    session: Session,
    site: Site,
    history_only_points: int,
    as_of: datetime,
    provisional: Sequence[str] = (),
) -> int:
    """Put a digest of all since the last one, to the end of last month, into the outbox, where there is something to
    tell; at most one a month. Nothing is left out where months pass without a publication.

    Returns how many messages are new.
    """
    end = datetime(as_of.year, as_of.month, 1, tzinfo=UTC)
    last = end - timedelta(days=1)
    before = outbox.last_digest_at(session, site.name)
    begin = (
        datetime(last.year, last.month, 1, tzinfo=UTC)
        if before is None
        else datetime(before.year, before.month, 1, tzinfo=UTC)
    )
    if before is not None and begin >= end:
        return 0
    span = (
        f"{begin:%Y-%m}"
        if (begin.year, begin.month) == (last.year, last.month)
        else f"{begin:%Y-%m} to {last:%Y-%m}"
    )
    advisories = alerts.advisories(session, site.name, None if before is None else begin, end)
    open_alerts = alerts.open_since_before(session, site.name, end)
    points = history_only_points if site.alerts.history.tell == "digest" else 0
    if not advisories and not open_alerts:
        return 0
    letter = digest_letter(
        site.title,
        span,
        [(event.epoch.isoformat(), event.sentence) for event in advisories],
        open_alerts,
        points,
        site.alerts.levels_mm_yr[0],
        provisional,
    )
    drafts = [_draft(site, f"{last:%Y-%m}", recipient, letter) for recipient in recipients(site)]
    return outbox.put(session, drafts, as_of)


def _draft(site: Site, month: str, recipient: Recipient, letter: Letter) -> DraftMessage:
    digest_id = opaque_id("digest", site.name, month)
    return DraftMessage(
        dedupe_key=opaque_id("digest message", digest_id, recipient.channel, recipient.address, length=40),
        site=site.name,
        alert_id=None,
        event_id=None,
        kind="digest",
        channel=recipient.channel,
        recipient=recipient.address,
        message_id=message_id(digest_id, recipient.channel, recipient.address),
        in_reply_to=None,
        **bodies(letter, recipient.channel),
    )
