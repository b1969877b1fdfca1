"""Zones, alerts and judgements: what is remembered from one acquisition to the next, and what was decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

from geoalchemy2.shape import from_shape
from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from sagwatch.adapters.database import models
from sagwatch.domain.alert import RULE_TITLES, Alert, AlertEvent, Phase
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.footprint import Footprint, outline
from sagwatch.domain.grid import Grid
from sagwatch.domain.influence import Influence
from sagwatch.domain.judgement import Judged, WatchState, ZoneSnapshot
from sagwatch.domain.message import OtherView
from sagwatch.domain.rules import rules_sha256
from sagwatch.domain.zones import Zone
from sagwatch.errors import BadRevisionError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Alerts:
    """Reached as `ledger.alerts`; the methods that take a session are part of the caller's transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def judged_epochs(self, session: Session, track_id: str) -> frozenset[date]:
        """Acquisitions that were judged: they never are again."""
        found = session.scalars(select(models.Judgement.epoch).where(models.Judgement.track_id == track_id))
        return frozenset(found)

    def load_state(self, session: Session, track_id: str) -> WatchState:
        """What the last judgement left behind.

        Zones that merged are left out, and their alerts with them: nothing can happen to them any more.
        """
        last_epoch = session.scalar(
            select(func.max(models.Judgement.epoch)).where(models.Judgement.track_id == track_id)
        )
        zones = session.scalars(
            select(models.Zone)
            .where(models.Zone.track_id == track_id, models.Zone.merged_into.is_(None))
            .order_by(models.Zone.born_epoch, models.Zone.id)
        ).all()
        evidence = _newest_evidence(session, [zone.id for zone in zones])
        alerts = _newest_alerts(session, track_id, {zone.id: i for i, zone in enumerate(zones)})
        return WatchState(
            zones=tuple(_zone(row, evidence[row.id]) for row in zones),
            alerts=tuple(_alert(row) for row in alerts),
            last_epoch=last_epoch,
        )

    def save_judgement(
        self,
        session: Session,
        track_id: str,
        judged: Judged,
        grid: Grid,
        revision_id: str,
        rules_digest: str,
        as_of: datetime,
    ) -> bool:
        """Write one judged acquisition down; False if it had been judged before, and then nothing is changed.

        Call it in order of date, inside the transaction that puts the revision live.
        """
        written = session.execute(
            insert(models.Judgement)
            .values(
                track_id=track_id,
                epoch=judged.epoch,
                revision_id=revision_id,
                rules_sha256=rules_digest,
                zones=len(judged.snapshots),
                judged_at=as_of,
            )
            .on_conflict_do_nothing()
            .returning(models.Judgement.epoch)
        ).scalar()
        if written is None:
            return False
        _refuse_the_past(session, track_id, judged.epoch)
        _upsert(session, models.Zone, [_zone_values(track_id, zone) for zone in judged.state.zones])
        snapshots = [_snapshot_values(s, judged, grid, revision_id) for s in judged.snapshots]
        if snapshots:
            session.execute(insert(models.ZoneSnapshot), snapshots)
        _upsert(session, models.Alert, [_alert_values(track_id, alert) for alert in judged.state.alerts])
        events = [_event_values(track_id, event, revision_id, as_of) for event in judged.events]
        if events:
            session.execute(insert(models.AlertEvent), events)
        return True

    def other_views(
        self, session: Session, track_id: str, zone_ids: Iterable[str]
    ) -> dict[str, list[OtherView]]:
        """What the site's other tracks show where some zones were last seen, by zone; those that judge already."""
        theirs = select(models.Track.site).where(models.Track.id == track_id).scalar_subquery()
        tracks = session.execute(
            select(
                models.Track.id, models.Track.name, models.Track.direction, func.max(models.Judgement.epoch)
            )
            .join(models.Judgement, models.Judgement.track_id == models.Track.id)
            .where(
                models.Track.site == theirs, models.Track.id != track_id, models.Track.archived_at.is_(None)
            )
            .group_by(models.Track.id)
            .order_by(models.Track.name)
        ).all()
        own = _newest_snapshots(models.ZoneSnapshot.zone_id.in_(list(zone_ids)))
        views: dict[str, list[OtherView]] = {}
        for other_id, name, direction, epoch in tracks:
            live = _newest_snapshots(
                models.Zone.track_id == other_id,
                models.Zone.ended_epoch.is_(None),
                models.Zone.merged_into.is_(None),
            )
            common = func.st_area(func.st_intersection(own.c.geom, live.c.geom))
            rows = session.execute(
                select(own.c.zone_id, live.c.name, live.c.epoch, live.c.evidence)
                .outerjoin_from(own, live, func.st_intersects(own.c.geom, live.c.geom))
                .ext(distinct_on(own.c.zone_id))
                .order_by(own.c.zone_id, common.desc().nulls_last(), live.c.zone_id)
            )
            for zone_id, zone, seen, evidence in rows:
                view = OtherView(name, direction, epoch)
                if zone is not None:
                    view = OtherView(name, direction, seen, zone, tuple(evidence["windows"]))
                views.setdefault(zone_id, []).append(view)
        return views

    def note_late(
        self,
        session: Session,
        track_id: str,
        epochs: Iterable[date],
        revision_id: str,
        rules_digest: str,
        as_of: datetime,
    ) -> None:
        """Write down that acquisitions came after a newer one was judged: nothing is decided on them alone."""
        rows = [
            {
                "track_id": track_id,
                "epoch": epoch,
                "revision_id": revision_id,
                "rules_sha256": rules_digest,
                "zones": 0,
                "judged_at": as_of,
            }
            for epoch in sorted(set(epochs))
        ]
        if rows:
            session.execute(insert(models.Judgement).on_conflict_do_nothing(), rows)

    def note_rules(self, session: Session, site: str, rules: AlertRules, as_of: datetime) -> str:
        """Write the site's rules down as a new version, unless they are the last one's; returns their hash."""
        digest = rules_sha256(rules)
        session.execute(
            select(models.Site.name).where(models.Site.name == site).with_for_update(key_share=True)
        )
        known = session.scalar(
            select(models.AlertRule.version).where(
                models.AlertRule.site == site, models.AlertRule.sha256 == digest
            )
        )
        if known is None:
            newest = session.scalar(
                select(func.max(models.AlertRule.version)).where(models.AlertRule.site == site)
            )
            session.execute(
                insert(models.AlertRule).values(
                    site=site,
                    version=(newest or 0) + 1,
                    sha256=digest,
                    rules=rules.model_dump(mode="json"),
                    valid_from=as_of,
                )
            )
        return digest

    def note_influence(
        self, session: Session, track_id: str, revision_id: str, influence: Influence, grid: Grid
    ) -> None:
        """The boundary of mining influence of a revision; the same revision has one."""
        session.execute(
            insert(models.Influence)
            .values(
                track_id=track_id,
                revision_id=revision_id,
                epoch=influence.epoch,
                limit_mm=influence.limit_mm,
                area_m2=influence.footprint.size * grid.pixel_m**2,
                geom=from_shape(outline(influence.footprint, grid), srid=4326),
            )
            .on_conflict_do_nothing()
        )

    def advisories(
        self, session: Session, site: str, begin: datetime | None, end: datetime
    ) -> list[models.AlertEvent]:
        """Events of a span of time (None: from the beginning) that were no messages of their own, in order."""
        rows = session.scalars(
            select(models.AlertEvent)
            .join(models.Track, models.Track.id == models.AlertEvent.track_id)
            .where(
                models.Track.site == site,
                models.AlertEvent.decided_at >= (begin or datetime.min.replace(tzinfo=UTC)),
                models.AlertEvent.decided_at < end,
                models.AlertEvent.evidence["told"].astext == "digest",
            )
            .order_by(models.AlertEvent.epoch, models.AlertEvent.id)
        )
        return list(rows)

    def open_since_before(self, session: Session, site: str, day: datetime) -> list[tuple[str, str]]:
        """(name, level and day) of the alerts that page and are open since before a day, worst first."""
        newest = (
            select(models.AlertEvent)
            .ext(distinct_on(models.AlertEvent.alert_id))
            .order_by(models.AlertEvent.alert_id, models.AlertEvent.epoch.desc())
            .subquery()
        )
        rows = session.execute(
            select(
                newest.c.evidence["zone"].astext,
                models.Alert.rule,
                models.Alert.level,
                models.Alert.raised_epoch,
            )
            .join(models.Alert, models.Alert.id == newest.c.alert_id)
            .join(models.Track, models.Track.id == models.Alert.track_id)
            .where(
                models.Track.site == site,
                models.Alert.state.in_(("raised", "clearing")),
                models.Alert.raised_epoch < day.date(),
                newest.c.evidence["tell"].astext == "page",
            )
            .order_by(models.Alert.level.desc(), models.Alert.id)
        )
        return [
            (name, f"{rule} ({RULE_TITLES[rule]}), level {level} since {since}")
            for name, rule, level, since in rows
        ]

    def open_alerts(self, session: Session, track_id: str) -> list[Alert]:
        """Raised and not over, the oldest first."""
        rows = session.scalars(
            select(models.Alert)
            .where(models.Alert.track_id == track_id, models.Alert.state.in_(("raised", "clearing")))
            .order_by(models.Alert.raised_epoch, models.Alert.id)
        )
        return [_alert(row) for row in rows]


def _refuse_the_past(session: Session, track_id: str, epoch: date) -> None:
    newest = session.scalar(
        select(func.max(models.Judgement.epoch)).where(models.Judgement.track_id == track_id)
    )
    if newest is not None and newest > epoch:
        raise BadRevisionError(
            f"{epoch} of {track_id} cannot be judged after {newest}: load the state again and judge from there"
        )


def _newest_evidence(session: Session, zone_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = session.execute(
        select(models.ZoneSnapshot.zone_id, models.ZoneSnapshot.evidence)
        .where(models.ZoneSnapshot.zone_id.in_(zone_ids))
        .ext(distinct_on(models.ZoneSnapshot.zone_id))
        .order_by(models.ZoneSnapshot.zone_id, models.ZoneSnapshot.epoch.desc())
    )
    return {row.zone_id: row.evidence for row in rows}


def _newest_snapshots(*where: ColumnElement[bool]) -> Subquery:
    """Zones as they were last seen."""
    return (
        select(
            models.ZoneSnapshot.zone_id,
            models.Zone.name,
            models.ZoneSnapshot.epoch,
            models.ZoneSnapshot.evidence,
            models.ZoneSnapshot.geom,
        )
        .join(models.Zone, models.Zone.id == models.ZoneSnapshot.zone_id)
        .where(*where)
        .ext(distinct_on(models.ZoneSnapshot.zone_id))
        .order_by(models.ZoneSnapshot.zone_id, models.ZoneSnapshot.epoch.desc())
        .subquery()
    )


def _newest_alerts(session: Session, track_id: str, zones: Mapping[str, int]) -> list[models.Alert]:
    """The newest episode of each rule about each subject, in the order of the zones; what has no zone comes first."""
    rows = session.scalars(
        select(models.Alert)
        .where(models.Alert.track_id == track_id)
        .ext(distinct_on(models.Alert.subject, models.Alert.rule))
        .order_by(models.Alert.subject, models.Alert.rule, models.Alert.episode.desc())
    ).all()
    kept = [row for row in rows if row.zone_id is None or row.zone_id in zones]
    return sorted(kept, key=lambda row: (zones.get(row.zone_id or "", -1), row.subject, row.rule))


def _upsert(session: Session, model: type[models.Base], rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(model)
    changing = {
        column.name: statement.excluded[column.name]
        for column in model.__table__.columns
        if not column.primary_key
    }
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changing), rows)


def _zone(row: models.Zone, evidence: dict[str, Any]) -> Zone:
    since = evidence["beyond_since"]
    return Zone(
        id=row.id,
        name=row.name,
        born_epoch=row.born_epoch,
        last_epoch=row.last_epoch,
        episode=row.episode,
        updates_unseen=row.updates_unseen,
        footprint=Footprint.from_json(evidence["pixels"]),
        ended_epoch=row.ended_epoch,
        parent_zone=row.parent_zone,
        merged_into=row.merged_into,
        beyond_since=date.fromisoformat(since) if since else None,
    )


def _zone_values(track_id: str, zone: Zone) -> dict[str, Any]:
    return {
        "id": zone.id,
        "track_id": track_id,
        "name": zone.name,
        "born_epoch": zone.born_epoch,
        "last_epoch": zone.last_epoch,
        "episode": zone.episode,
        "updates_unseen": zone.updates_unseen,
        "ended_epoch": zone.ended_epoch,
        "parent_zone": zone.parent_zone,
        "merged_into": zone.merged_into,
    }


def _alert_values(track_id: str, alert: Alert) -> dict[str, Any]:
    return {"track_id": track_id, "zone_id": alert.zone_id, **asdict(alert)}


def _alert(row: models.Alert) -> Alert:
    return Alert(
        id=row.id,
        subject=row.subject,
        rule=row.rule,
        episode=row.episode,
        state=cast(Phase, row.state),
        level=row.level,
        pending_level=row.pending_level,
        updates_beyond=row.updates_beyond,
        updates_below=row.updates_below,
        raised_epoch=row.raised_epoch,
        last_epoch=row.last_epoch,
        cleared_epoch=row.cleared_epoch,
        rules_sha256=row.rules_sha256,
    )


def _snapshot_values(snapshot: ZoneSnapshot, judged: Judged, grid: Grid, revision_id: str) -> dict[str, Any]:
    window = snapshot.window
    return {
        "zone_id": snapshot.zone_id,
        "epoch": judged.epoch,
        "revision_id": revision_id,
        "geom": from_shape(outline(snapshot.footprint, grid), srid=4326),
        "area_m2": snapshot.area_m2,
        "pixels": snapshot.footprint.size,
        "window_days": window.days,
        "velocity_median_mm_yr": window.median_mm_yr,
        "velocity_p95_mm_yr": window.p95_mm_yr,
        "velocity_sd_mm_yr": window.sd_mm_yr,
        "displacement_mm": snapshot.displacement_mm,
        "no_data_fraction": snapshot.no_data_fraction,
        # The exact pixels, so that the next judgement starts from what this one saw.
        "evidence": {**snapshot.evidence, "pixels": snapshot.footprint.to_json()},
    }


def _event_values(track_id: str, event: AlertEvent, revision_id: str, as_of: datetime) -> dict[str, Any]:
    return {
        "id": event.id,
        "alert_id": event.alert_id,
        "track_id": track_id,
        "epoch": event.epoch,
        "type": event.type,
        "from_state": event.from_state,
        "to_state": event.to_state,
        "from_level": event.from_level,
        "to_level": event.to_level,
        "revision_id": revision_id,
        "evidence": {**event.evidence, "told": event.told},
        "sentence": event.sentence,
        "decided_at": as_of,
    }
