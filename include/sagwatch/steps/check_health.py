"""Rule R8 about the pipeline: silence, credits, stuck messages, rejected revisions, incomplete inputs.

A row for the operators, once for each state of affairs, and a message to the contacts who look after the system.
The reference point's own motion is judged with the ground (`domain/datum.py`); that it was lost is told here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import DraftMessage
from sagwatch.domain.ids import opaque_id
from sagwatch.domain.message import Letter, message_id, subject_line
from sagwatch.domain.site import Site
from sagwatch.steps.compose_messages import bodies, recipients

log = logging.getLogger(__name__)

_PAUSES = 10


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """Something about the pipeline that a person should know; the same ``key`` is told once."""

    kind: str
    key: str
    text: str
    track_id: str | None = None


def check_health(ledger: Ledger, as_of: datetime) -> int:
    """Look at every watched site; returns how many findings are news."""
    news = 0
    with ledger.begin() as session:
        rows = session.scalars(
            select(models.Site).where(models.Site.archived_at.is_(None)).order_by(models.Site.name)
        ).all()
        sites = [Site.model_validate(row.config) for row in rows]
    for site in sites:
        if site.alerts.health.tell == "off":
            continue
        with ledger.begin() as session:
            for finding in _findings(session, ledger, site, as_of):
                news += _tell(session, ledger, site, finding, as_of)
    return news


def _findings(session: Session, ledger: Ledger, site: Site, as_of: datetime) -> Iterator[HealthFinding]:
    rules = site.alerts.health
    for track in site.tracks:
        yield from _silence(session, track.id, rules.silent_after_revisits, as_of)
        yield from _incomplete(session, track.id, as_of)
        yield from _rejected(session, track.id)
        yield from _lost_reference(ledger, track.id, rules.reference_lost_after)
    reading = ledger.operations.last_credits()
    if reading is not None and reading.remaining is not None and reading.remaining < rules.least_credits:
        yield HealthFinding(
            "credits_low",
            f"credits_low:{as_of:%Y-%m}",
            f"{reading.remaining:g} HyP3 credits are left this month, fewer than {rules.least_credits:g}: orders will "
            "wait for the next month",
        )
    limit = as_of - timedelta(hours=rules.outbox_hours)
    stuck = session.scalar(
        select(func.count()).where(
            models.Message.site == site.name,
            models.Message.state.in_(("waiting", "sending")),
            models.Message.created_at < limit,
        )
    )
    if stuck:
        yield HealthFinding(
            "outbox_stuck",
            f"outbox_stuck:{site.name}:{as_of.date()}",
            f"{stuck} messages wait for longer than {rules.outbox_hours:g} hours: see the view analyst.messages and "
            "the Connections for mail and Slack",
        )


def _silence(session: Session, track_id: str, revisits: float, as_of: datetime) -> Iterator[HealthFinding]:
    days = session.scalars(
        select(models.Acquisition.date)
        .where(models.Acquisition.track_id == track_id)
        .order_by(models.Acquisition.date.desc())
        .limit(_PAUSES + 1)
    ).all()
    if len(days) < 3:
        return
    pause = median((later - earlier).days for later, earlier in pairwise(days))
    silent = (as_of.date() - days[0]).days
    if silent > revisits * pause:
        yield HealthFinding(
            "no_new_acquisition",
            f"no_new_acquisition:{track_id}:{days[0]}",
            f"no acquisition of {track_id} since {days[0]}, {silent} days ago, where one comes every {pause:g} days: "
            "the ground is not watched meanwhile, and silence does not mean that it is stable",
            track_id,
        )


def _incomplete(session: Session, track_id: str, as_of: datetime) -> Iterator[HealthFinding]:
    overdue = session.execute(
        select(models.Acquisition.date, models.Acquisition.reason)
        .where(
            models.Acquisition.track_id == track_id,
            models.Acquisition.state == "pending",
            models.Acquisition.until < as_of,
        )
        .order_by(models.Acquisition.date)
    ).all()
    for day, reason in overdue:
        yield HealthFinding(
            "input_incomplete",
            f"input_incomplete:{track_id}:{day}",
            f"the acquisition of {day} of {track_id} is overdue: {reason or 'no reason is known'}",
            track_id,
        )


def _rejected(session: Session, track_id: str) -> Iterator[HealthFinding]:
    rows = session.execute(
        select(models.Revision.id, models.Revision.number).where(
            models.Revision.track_id == track_id, models.Revision.state == "abandoned"
        )
    ).all()
    for revision_id, number in rows:
        yield HealthFinding(
            "revision_rejected",
            f"revision_rejected:{revision_id}",
            f"revision {number} of {track_id} ({revision_id}) was rejected; readers still see the one before",
            track_id,
        )


def _lost_reference(ledger: Ledger, track_id: str, least: int) -> Iterator[HealthFinding]:
    """Acquisitions without phase at the reference are in no revision, so they are not judged: alerts stand still."""
    lost = ledger.network.lost_in_a_row(track_id)
    if len(lost) < least:
        return
    since = min(secondary for _, secondary in lost)
    yield HealthFinding(
        "reference_lost",
        f"reference_lost:{track_id}:{since}",
        f"the {len(lost)} newest interferograms of {track_id}, since {since}, have no phase at the reference point and "
        "are left out: the ground is not judged meanwhile and no alert is raised or cleared. Choose another point: "
        "`python -m sagwatch re-reference`, candidates by `rank-references` and in the view analyst.stable_points",
        track_id,
    )


def _tell(session: Session, ledger: Ledger, site: Site, finding: HealthFinding, as_of: datetime) -> bool:
    fresh = ledger.operations.record(
        finding.kind,
        finding.text,
        dedupe_key=f"R8:{finding.key}",
        site=site.name,
        track_id=finding.track_id,
        as_of=as_of,
        session=session,
    )
    if fresh:
        log.warning("%s: %s", site.name, finding.text)
        if site.alerts.health.tell == "page":
            ledger.outbox.put(session, list(_drafts(site, finding)), as_of)
    return fresh


def _drafts(site: Site, finding: HealthFinding) -> Iterator[DraftMessage]:
    letter = Letter(
        subject_line(f"[Sagwatch] {site.title}: about the system, {finding.kind.replace('_', ' ')}"),
        f"{site.title}: {finding.text}.",
        (("What", "rule R8 (health of the data): about the system, not about the ground"),),
        (),
    )
    news_id = opaque_id("health", site.name, finding.key)
    for recipient in recipients(site):
        if recipient.health:
            yield DraftMessage(
                dedupe_key=opaque_id(
                    "health message", news_id, recipient.channel, recipient.address, length=40
                ),
                site=site.name,
                alert_id=None,
                event_id=None,
                kind="health",
                channel=recipient.channel,
                recipient=recipient.address,
                message_id=message_id(news_id, recipient.channel, recipient.address),
                in_reply_to=None,
                **bodies(letter, recipient.channel),
            )
