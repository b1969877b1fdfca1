"""Write what people are told about alert events into the outbox, in the transaction that decides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from sagwatch.adapters.database.outbox import Channel, DraftMessage, Outbox
from sagwatch.domain.alert import AlertEvent
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.judgement import Judged
from sagwatch.domain.message import (
    NO_OTHER_VIEWS,
    Letter,
    Origin,
    OtherView,
    event_letter,
    how_alerts_stand,
    message_id,
    summary_letter,
)
from sagwatch.domain.reasons import Reason
from sagwatch.domain.site import Site

#: Whom a Slack message goes to: the one webhook of the site's Connection.
SLACK_RECIPIENT = "sagwatch_slack"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where messages go, and from which level on."""

    channel: Channel
    address: str
    least_level: int
    health: bool = True

    def wants(self, event: AlertEvent) -> bool:
        """Alerts about the data go to those who look after it, alerts about the ground by their level."""
        if event.rule == "R8":
            return self.health
        return max(event.from_level, event.to_level) >= self.least_level


def compose_messages(
    outbox: Outbox,
    session: Session,
    site: Site,
    judged: Sequence[Judged],
    origin: Origin,
    as_of: datetime,
    others: Mapping[str, Sequence[OtherView]] = NO_OTHER_VIEWS,
) -> int:
    """Put messages about the events of a publication into the outbox; returns how many are new.

    An event younger than ``single_messages_for_days`` has a message of its own for each recipient; older ones (a first
    fill) are told together. Asking again for the same events adds nothing. ``others`` are the views of the site's other
    tracks, by zone.
    """
    events = [event for one in judged for event in one.events]
    if not events:
        return 0
    first = outbox.first_message_ids(session, {event.alert_id for event in events})
    history_only = int(np.count_nonzero(judged[-1].reasons == Reason.HISTORY_ONLY))
    standing = how_alerts_stand(judged[-1], others)
    drafts = draft_messages(site, events, origin, history_only, first, as_of, standing, others)
    return outbox.put(session, drafts, as_of)


def draft_messages(
    site: Site,
    events: Sequence[AlertEvent],
    origin: Origin,
    history_only_points: int,
    first_message_ids: Mapping[tuple[str, str, str], str],
    as_of: datetime,
    standing: Mapping[str, str] = MappingProxyType({}),
    others: Mapping[str, Sequence[OtherView]] = NO_OTHER_VIEWS,
) -> list[DraftMessage]:
    """The messages about some events, summaries first.

    ``first_message_ids`` is what `Outbox.first_message_ids` gives, ``standing`` what `how_alerts_stand` gives.
    """
    limit = site.alerts.single_messages_for_days
    old = [e for e in events if e.tell == "page" and (as_of.date() - e.epoch).days > limit]
    single = [event for event in events if (as_of.date() - event.epoch).days <= limit and event.is_news]
    drafts: list[DraftMessage] = []
    for recipient in recipients(site):
        told_together = [event for event in old if recipient.wants(event)]
        if any(event.is_news for event in told_together):
            letter = summary_letter(
                told_together,
                [e for e in events if e.tell == "page"],
                origin,
                history_only_points,
                site.alerts.levels_mm_yr[0],
                standing,
            )
            drafts.append(_summary(site, told_together, recipient, letter, origin))
        first = dict(first_message_ids)
        for event in filter(recipient.wants, single):
            letter = event_letter(event, origin, as_of, others.get(event.subject, ()))
            draft = _single(site, event, recipient, letter, first)
            first.setdefault((event.alert_id, recipient.channel, recipient.address), draft.message_id)
            drafts.append(draft)
    return drafts


def recipients(site: Site) -> list[Recipient]:
    """Each address once, with the lowest level that any of its contacts asks for.

    News about the data goes to the contacts with ``health``, or to all where there is none.
    """
    least: dict[tuple[Channel, str], int] = {}
    caretakers: set[tuple[Channel, str]] = set()
    for contact in site.contacts:
        addresses: list[tuple[Channel, str]] = []
        if contact.email is not None:
            addresses.append(("mail", contact.email))
        if contact.slack:
            addresses.append(("slack", SLACK_RECIPIENT))
        for key in addresses:
            least[key] = min(contact.least_level, least.get(key, contact.least_level))
            if contact.health:
                caretakers.add(key)
    return [
        Recipient(channel, address, level, not caretakers or (channel, address) in caretakers)
        for (channel, address), level in least.items()
    ]


def _single(
    site: Site,
    event: AlertEvent,
    recipient: Recipient,
    letter: Letter,
    first_message_ids: Mapping[tuple[str, str, str], str],
) -> DraftMessage:
    return DraftMessage(
        dedupe_key=opaque_id("event message", event.id, recipient.channel, recipient.address, length=40),
        site=site.name,
        alert_id=event.alert_id,
        event_id=event.id,
        kind="alert",
        channel=recipient.channel,
        recipient=recipient.address,
        message_id=message_id(event.id, recipient.channel, recipient.address),
        in_reply_to=first_message_ids.get((event.alert_id, recipient.channel, recipient.address)),
        **bodies(letter, recipient.channel),
    )


def _summary(
    site: Site, events: Sequence[AlertEvent], recipient: Recipient, letter: Letter, origin: Origin
) -> DraftMessage:
    summary_id = opaque_id("summary", origin.track_id, sorted(event.id for event in events))
    return DraftMessage(
        dedupe_key=opaque_id("summary message", summary_id, recipient.channel, recipient.address, length=40),
        site=site.name,
        alert_id=None,
        event_id=None,
        kind="summary",
        channel=recipient.channel,
        recipient=recipient.address,
        message_id=message_id(summary_id, recipient.channel, recipient.address),
        in_reply_to=None,
        **bodies(letter, recipient.channel),
    )


def bodies(letter: Letter, channel: Channel) -> dict[str, Any]:
    """Subject and texts as the channel shows them."""
    if channel == "slack":
        return {"subject": letter.subject, "body_text": letter.as_slack(), "body_html": None}
    return {"subject": letter.subject, "body_text": letter.as_text(), "body_html": letter.as_html()}
