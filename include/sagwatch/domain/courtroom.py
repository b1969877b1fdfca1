"""What one acquisition does to zones and alerts, collected zone by zone: the inside of `judge`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import (
    HISTORY_RULE,
    VELOCITY_RULE,
    Alert,
    AlertEvent,
    Change,
    Reading,
    advance,
    begin_alert,
    close_unraised,
    event_id,
    inherit,
    merge_alert,
)
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.datum import DatumMotion
from sagwatch.domain.footprint import centroid_lon_lat
from sagwatch.domain.grid import Grid
from sagwatch.domain.history import history_finding
from sagwatch.domain.judgement import GroundView, Judged, WatchState, ZoneSnapshot
from sagwatch.domain.mine import Mine
from sagwatch.domain.reasons import point_reasons
from sagwatch.domain.rules import ZoneWindow, read_zone
from sagwatch.domain.sentence import event_sentence, rule_sentence
from sagwatch.domain.witness import Witness
from sagwatch.domain.zone_rules import (
    Finding,
    asset_finding,
    tilt_field,
    withdrawn,
    zone_findings,
)
from sagwatch.domain.zones import (
    UPDATES_UNSEEN_TO_END,
    MovingWindow,
    Zone,
)

#: Alerts by what they are about and by their rule.
Alerts = dict[tuple[str, str], Alert]


class Courtroom:
    """Collects what one acquisition does to zones and alerts; lives as long as one call of `judge`."""

    def __init__(
        self,
        view: GroundView,
        windows: tuple[MovingWindow, ...],
        has_data: NDArray[np.bool_],
        background: NDArray[np.bool_],
        rules: AlertRules,
        grid: Grid,
        zones: dict[str, Zone],
        alerts: Alerts,
        mine: Mine,
        rules_digest: str,
    ) -> None:
        self.view, self.windows, self.has_data = view, windows, has_data
        self.background, self.mine = background, mine
        self.rules, self.grid = rules, grid
        self.zones, self.alerts = zones, alerts
        self.rules_sha256 = rules_digest
        self.snapshots: list[ZoneSnapshot] = []
        self.events: list[AlertEvent] = []
        self.witness = Witness(view, windows, has_data, background, rules, grid, mine)

    def merge(self, merged: Mapping[str, str]) -> None:
        """Close the alerts of zones that became part of another, and hand over what they had proved."""
        for zone_id in sorted(merged):
            survivor = self.zones[merged[zone_id]]
            for subject, rule in [key for key in sorted(self.alerts) if key[0] == zone_id]:
                alert = self.alerts[subject, rule]
                if alert.is_over:
                    continue
                if rule == VELOCITY_RULE:
                    heir = self._alert_of(survivor.id, rule)
                    self.alerts[survivor.id, rule] = inherit(heir, alert, self.rules.updates_to_raise)
                closed, change = merge_alert(alert, self.view.epoch)
                self.alerts[subject, rule] = closed
                if change is not None:
                    self._tell_of_merging(change, zone_id, survivor)

    def _tell_of_merging(self, change: Change, zone_id: str, survivor: Zone) -> None:
        zone = self.zones[zone_id]
        _, shown = read_zone(zone.footprint.pixels, self.windows, self.has_data, self.rules)
        snapshot = self.witness.snapshot(zone, shown, seen=False, about=self.witness.look_at(zone, None))
        if change.after.rule == VELOCITY_RULE:
            self._record(change, snapshot, survivor)
        else:
            silent = Finding(change.after.rule, Reading(0, 0), "digest", f"It goes on in {survivor.name}.")
            self._record_finding(change, silent, zone.name, snapshot, self.witness.where(zone))

    def hear(self, zone_id: str, seen: bool) -> None:
        """Judge one living zone by the pixels where it is, or where it was seen last."""
        zone = self.zones[zone_id]
        rules = self.rules.of_zone(zone_id)
        reading, shown = read_zone(zone.footprint.pixels, self.windows, self.has_data, rules)
        if reading is None:
            # Too little data proves nothing: neither velocity alert nor zone changes; but that is told (R7).
            self._hear_the_blind(zone, shown, rules)
            return
        zone = _count(zone, reading, seen, self.view.epoch)
        key = zone_id, VELOCITY_RULE
        before = self._alert_of(*key) if reading.level_now > 0 else self.alerts.get(key)
        change = None
        if before is not None:
            self.alerts[key], change = advance(
                before, reading, self.view.epoch, rules.updates_to_raise, rules.updates_to_clear
            )
        about = self.witness.look_at(zone, self.alerts.get(key))
        self.zones[zone_id] = self._ended_if_gone(zone)
        findings = zone_findings(about.evidence, rules)
        snapshot = self.witness.snapshot(zone, shown, seen, about, findings)
        if snapshot is not None:
            self.snapshots.append(snapshot)
        if change is not None:
            self._record(change, snapshot, None)
        for finding in findings:
            self._apply(zone.id, finding, zone.name, snapshot, self.witness.where(zone))
        if not self.zones[zone_id].lives:
            self._close_other_rules(zone, snapshot)

    def _hear_the_blind(self, zone: Zone, shown: tuple[ZoneWindow, ...], rules: AlertRules) -> None:
        about = self.witness.look_at(zone, self.alerts.get((zone.id, VELOCITY_RULE)))
        snapshot = self.witness.snapshot(zone, shown, seen=False, about=about)
        for finding in zone_findings(about.evidence, rules):
            if finding.rule == "R7":
                self._apply(zone.id, finding, zone.name, snapshot, self.witness.where(zone))

    def _close_other_rules(self, zone: Zone, snapshot: ZoneSnapshot | None) -> None:
        """What other rules still say about a zone that has ended ends with it."""
        for subject, rule in [key for key in sorted(self.alerts) if key[0] == zone.id]:
            alert = self.alerts[subject, rule]
            if alert.is_over:
                continue
            after = close_unraised(alert, self.view.epoch)
            self.alerts[subject, rule] = after
            if alert.is_open:
                finding = Finding(rule, Reading(0, 0), "digest", "The zone has ended.")
                change = Change("cleared", alert, replace(after, level=0))
                self._record_finding(change, finding, zone.name, snapshot, self.witness.where(zone))

    def hear_the_datum(self, track_id: str, motion: DatumMotion | None) -> None:
        """R8: one alert about the reference point."""
        subject = f"reference/{track_id}"
        if self.view.los_m is None or (motion is None and (subject, "R8") not in self.alerts):
            return
        level = int(motion is not None)
        held = (
            "; alerts about the ground are held meanwhile, so look at the reference; the rule "
            "health.hold_when_reference_moves: false lets them go on"
            if self.rules.health.hold_when_reference_moves
            else ""
        )
        words = (
            f"{motion.words[:1].upper()}{motion.words[1:]}{held}."
            if motion is not None
            else "The quiet ground stands still again; alerts about the ground go on."
        )
        facts = {} if motion is None else {"kind": motion.kind, "amount": motion.amount, "sd": motion.sd}
        finding = Finding("R8", Reading(level, level), self.rules.health.tell, words, facts, 1, 1)
        self._apply(subject, finding, f"the reference of track {track_id}", None, {})

    def hear_the_assets(self, track_id: str) -> None:
        """R6: tilt and curvature where something can be damaged."""
        judged = self.rules.tilt.preset is not None and self.rules.tilt.tell != "off"
        assets = self.mine.assets if judged else ()
        known = {f"asset/{track_id}/{asset.name}" for asset, _ in assets}
        for subject, rule in sorted(self.alerts):
            if rule == "R6" and subject not in known:
                self._apply(subject, withdrawn(rule), subject.split("/")[-1], None, {})
        if not assets:
            return
        field = tilt_field(self.witness.moved_mm, self.background, self.grid.pixel_m)
        for asset, shape in assets:
            pixels = self.mine.pixels_of(shape, self.grid)
            pixels = pixels[self.has_data.ravel()[pixels]]
            finding = asset_finding(pixels, field, self.rules)
            if finding is not None:
                longitude, latitude = centroid_lon_lat(pixels, self.grid)
                where = {
                    "latitude": round(latitude, 6),
                    "longitude": round(longitude, 6),
                    "area_m2": pixels.size * self.grid.pixel_m**2,
                }
                self._apply(f"asset/{track_id}/{asset.name}", finding, asset.name, None, where)

    def hear_the_history(self, track_id: str) -> None:
        """R1-history: the whole record's velocity, as one advisory about the track."""
        name = f"the whole record of track {track_id}"
        if self.rules.history.tell == "off":
            self._apply(f"history/{track_id}", withdrawn(HISTORY_RULE), name, None, {})
            return
        alerted = np.zeros(self.grid.pixels, dtype=bool)
        for zone_id, zone in self.zones.items():
            alert = self.alerts.get((zone_id, VELOCITY_RULE))
            if alert is not None and alert.is_open:
                alerted[zone.footprint.pixels] = True
        finding = history_finding(self.view.whole, self.has_data, alerted, self.grid, self.rules)
        self._apply(f"history/{track_id}", finding, name, None, {})

    def _apply(
        self,
        subject: str,
        finding: Finding,
        name: str,
        snapshot: ZoneSnapshot | None,
        where: Mapping[str, Any],
    ) -> None:
        """Take what a rule reads into its alert, and tell what that changes."""
        key = subject, finding.rule
        before = self.alerts.get(key)
        if finding.reading.level_now > 0:
            before = self._alert_of(*key)
        if before is None:
            return
        rules = self.rules.of_zone(subject)
        self.alerts[key], change = advance(
            before,
            finding.reading,
            self.view.epoch,
            finding.updates_to_raise or rules.updates_to_raise,
            finding.updates_to_clear or rules.updates_to_clear,
        )
        if change is not None:
            self._record_finding(change, finding, name, snapshot, where)

    def verdict(self, seen: frozenset[str]) -> Judged:
        zones = tuple(sorted(self.zones.values(), key=lambda zone: (zone.born_epoch, zone.id)))
        order = {zone.id: place for place, zone in enumerate(zones)}
        index, in_alert = self._paint(zones, seen)
        return Judged(
            epoch=self.view.epoch,
            state=WatchState(
                zones,
                tuple(
                    sorted(
                        self.alerts.values(),
                        key=lambda alert: (order.get(alert.subject, -1), alert.subject, alert.rule),
                    )
                ),
                self.view.epoch,
            ),
            snapshots=tuple(self.snapshots),
            events=tuple(self.events),
            zone_ids=tuple(zone.id for zone in zones),
            zone_index=index,
            reasons=point_reasons(
                self.windows,
                self.view.whole,
                self.view.observed,
                self.view.reliable,
                index >= 0,
                in_alert,
                self.rules,
            ),
        )

    def _alert_of(self, subject: str, rule: str) -> Alert:
        """The running alert, or the next episode's if there is none."""
        alert = self.alerts.get((subject, rule))
        if alert is not None and not alert.is_over:
            return alert
        episode = 1 if alert is None else alert.episode + 1
        return begin_alert(subject, episode, self.view.epoch, self.rules_sha256, rule)

    def _ended_if_gone(self, zone: Zone) -> Zone:
        """A zone has ended when it stayed away and no velocity alert about it is open."""
        key = zone.id, VELOCITY_RULE
        alert = self.alerts.get(key)
        if zone.updates_unseen < UPDATES_UNSEEN_TO_END or (alert is not None and alert.is_open):
            return zone
        if alert is not None and not alert.is_over:
            self.alerts[key] = close_unraised(alert, self.view.epoch)
        return replace(zone, ended_epoch=self.view.epoch)

    def _record(self, change: Change, snapshot: ZoneSnapshot | None, survivor: Zone | None) -> None:
        after = change.after
        zone = self.zones[after.subject]
        level = after.level or change.before.level
        levels = self.rules.of_zone(zone.id).levels_mm_yr
        # The rules may have fewer levels now than when the alert was raised.
        threshold = levels[min(level, len(levels)) - 1]
        facts = self.witness.facts(zone, snapshot, threshold) if snapshot is not None else None
        other = survivor.name if survivor is not None else ""
        sentence = (
            event_sentence(change.type, level, threshold, facts, other)
            if facts is not None
            else f"{zone.name} has grown together with {other}; its alert goes on there. It has no data at "
            f"{self.view.epoch.isoformat()}."
        )
        self.events.append(
            AlertEvent(
                id=event_id(after.id, self.view.epoch, change.type),
                alert_id=after.id,
                subject=zone.id,
                epoch=self.view.epoch,
                type=change.type,
                from_state=change.before.state,
                to_state=after.state,
                from_level=change.before.level,
                to_level=after.level,
                evidence={
                    **(snapshot.evidence if snapshot is not None else self.witness.where(zone)),
                    "zone": zone.name,
                    "rule": VELOCITY_RULE,
                    "tell": "page",
                    "threshold_mm_yr": threshold,
                    **({"evidence_class": snapshot.window.evidence_class(threshold)} if snapshot else {}),
                    "rules_sha256": self.rules_sha256,
                    "merged_into": survivor.id if survivor is not None else None,
                },
                sentence=sentence,
            )
        )

    def _record_finding(
        self,
        change: Change,
        finding: Finding,
        name: str,
        snapshot: ZoneSnapshot | None,
        where: Mapping[str, Any],
    ) -> None:
        after = change.after
        level = after.level or change.before.level
        zone = self.zones.get(after.subject)
        facts = self.witness.facts(zone, snapshot) if zone is not None and snapshot is not None else None
        self.events.append(
            AlertEvent(
                id=event_id(after.id, self.view.epoch, change.type),
                alert_id=after.id,
                subject=after.subject,
                epoch=self.view.epoch,
                type=change.type,
                from_state=change.before.state,
                to_state=after.state,
                from_level=change.before.level,
                to_level=after.level,
                evidence={
                    **where,
                    **(snapshot.evidence if snapshot is not None else {}),
                    **{
                        f"{finding.rule.lower().replace('-', '_')}_{key}": value
                        for key, value in finding.facts.items()
                    },
                    "zone": name,
                    "rule": finding.rule,
                    "tell": finding.tell,
                    "rule_words": finding.words,
                    "rules_sha256": self.rules_sha256,
                },
                sentence=rule_sentence(
                    change.type,
                    finding.rule,
                    level,
                    finding.limit_words,
                    finding.words,
                    name,
                    facts,
                    advisory=finding.tell != "page",
                ),
                rule=finding.rule,
                tell=finding.tell,
            )
        )

    def _paint(
        self, zones: tuple[Zone, ...], seen: frozenset[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Zone number of each pixel, and whether its alert is open; what is seen now covers what was before."""
        index = np.full(self.grid.pixels, -1, dtype=np.int32)
        in_alert = np.zeros(self.grid.pixels, dtype=bool)
        alerted = {
            alert.subject for alert in self.alerts.values() if alert.is_open and alert.rule == VELOCITY_RULE
        }
        shown = [(i, z) for i, z in enumerate(zones) if z.lives and (z.id in seen or z.id in alerted)]
        for i, zone in sorted(shown, key=lambda pair: (pair[1].id in seen, -pair[0])):
            index[zone.footprint.pixels] = i
            in_alert[zone.footprint.pixels] = zone.id in alerted
        return index.reshape(self.grid.shape), in_alert.reshape(self.grid.shape)


def _count(zone: Zone, reading: Reading, seen: bool, epoch: date) -> Zone:
    since = (zone.beyond_since or epoch) if reading.level_held > 0 and (seen or zone.beyond_since) else None
    return replace(zone, updates_unseen=0 if seen else zone.updates_unseen + 1, beyond_since=since)
