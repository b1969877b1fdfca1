"""Judge one acquisition: which areas move, who they are, and what that does to the alerts.

A pure function: the same views in the same order give the same zones, alerts and events, in whatever batches they come
and however often they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import (
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
from sagwatch.domain.contrast import local_contrast
from sagwatch.domain.datum import DatumMotion, common_mode_mm, datum_motion, is_shared
from sagwatch.domain.footprint import Footprint, centroid_lon_lat
from sagwatch.domain.grid import Grid
from sagwatch.domain.history import history_finding
from sagwatch.domain.mine import Mine
from sagwatch.domain.reasons import point_reasons
from sagwatch.domain.rules import ZoneWindow, read_zone, rules_sha256
from sagwatch.domain.sentence import ZoneFacts, event_sentence, rule_sentence, zone_sentence
from sagwatch.domain.site import AlertRules
from sagwatch.domain.stages import Movement, movement
from sagwatch.domain.windows import WHOLE_RECORD, WindowVelocity
from sagwatch.domain.zone_rules import (
    Finding,
    ZoneEvidence,
    asset_finding,
    movement_facts,
    tilt_field,
    zone_findings,
)
from sagwatch.domain.zone_series import zone_series
from sagwatch.domain.zone_shape import step_share, zone_shape
from sagwatch.domain.zones import (
    UPDATES_UNSEEN_TO_END,
    MovingWindow,
    Zone,
    follow_zones,
    moving_areas,
    moving_windows,
    new_zone_id,
)


@dataclass(frozen=True)
class GroundView:
    """The ground as the solution up to one acquisition shows it; arrays of shape (rows, columns).

    ``windows`` are the rule's, ``whole`` is the whole record. ``observed``: the pixel has data at this acquisition.
    ``reliable``: its temporal coherence suffices. ``displacement_mm`` is LOS since the record began.
    """

    epoch: date
    windows: tuple[WindowVelocity, ...]
    whole: WindowVelocity
    observed: NDArray[np.bool_]
    reliable: NDArray[np.bool_]
    displacement_mm: NDArray[np.float32]
    incidence_deg: float | None = None
    #: The history that all this is made of: shape (n_epochs, rows, columns), metres. Without it no rule looks back.
    dates: tuple[date, ...] = ()
    los_m: NDArray[np.float32] | None = None
    #: Pixels whose interferograms with this acquisition contradict each other by whole cycles; None: not known.
    misclosed: NDArray[np.bool_] | None = None

    @property
    def pair_days(self) -> float:
        """The time that an interferogram usually spans at most: two pauses between the latest acquisitions."""
        latest = self.dates[-14:]
        pauses = [(later - earlier).days for earlier, later in pairwise(latest)]
        return 2.0 * median(pauses) if pauses else 24.0


@dataclass(frozen=True)
class WatchState:
    """What has to be remembered between acquisitions: zones, and the newest alert of each rule about each."""

    zones: tuple[Zone, ...] = ()
    alerts: tuple[Alert, ...] = ()
    last_epoch: date | None = None


@dataclass(frozen=True, slots=True)
class ZoneSnapshot:
    """A living zone as one acquisition shows it."""

    zone_id: str
    epoch: date
    footprint: Footprint
    area_m2: float
    seen: bool
    window: ZoneWindow
    windows: tuple[ZoneWindow, ...]
    displacement_mm: float | None
    no_data_fraction: float
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """One acquisition, judged.

    ``zone_index`` numbers the pixels by their place in ``zone_ids``, -1 outside; ``reasons`` are `Reason` numbers.
    """

    epoch: date
    state: WatchState
    snapshots: tuple[ZoneSnapshot, ...]
    events: tuple[AlertEvent, ...]
    zone_ids: tuple[str, ...]
    zone_index: NDArray[np.int32]
    reasons: NDArray[np.uint8]


#: Alerts by what they are about and by their rule.
Alerts = dict[tuple[str, str], Alert]


def judge(
    view: GroundView,
    state: WatchState,
    rules: AlertRules,
    grid: Grid,
    track_id: str,
    mine: Mine | None = None,
) -> Judged:
    """Judge one acquisition after all earlier ones.

    While the reference point itself seems to move, nothing about the ground changes: one alert about the data says so.

    Raises
    ------
    ValueError
        The acquisition is not newer than the last one judged, or the arrays do not fit the grid.
    """
    _check(view, state, grid)
    digest, rules = rules_sha256(rules), rules.on_pixels(grid.pixel_m)
    known = _remembered(state, view.epoch, rules)
    alerts = _alerts_of(state, known)
    has_data = view.observed & view.reliable
    background = _background(known, alerts, has_data)
    windows = _windows(view, background, has_data, rules, grid)
    motion = _datum_motion(view, background, windows, rules)
    zones, seen, merged = (
        (known, frozenset[str](), {})
        if motion is not None and rules.health.hold_when_reference_moves
        else _follow(view, known, windows, rules, grid, track_id)
    )
    courtroom = _Courtroom(
        view, windows, has_data, background, rules, grid, zones, alerts, mine or Mine(), digest
    )
    courtroom.hear_the_datum(track_id, motion)
    if motion is not None and rules.health.hold_when_reference_moves:
        return courtroom.verdict(frozenset(key for key, zone in known.items() if zone.updates_unseen == 0))
    courtroom.merge(merged)
    for zone_id in sorted(zones, key=lambda key: (zones[key].born_epoch, key)):
        if zones[zone_id].lives:
            courtroom.hear(zone_id, seen=zone_id in seen)
    courtroom.hear_the_assets(track_id)
    courtroom.hear_the_history(track_id)
    return courtroom.verdict(seen)


def look_again(view: GroundView, state: WatchState, rules: AlertRules, grid: Grid) -> Judged:
    """Say where the known zones are and why each point is in an alert or not, without judging anything.

    For a revision that shows the last judged acquisition anew (a late interferogram), or one that is not settled.
    """
    digest, rules = rules_sha256(rules), rules.on_pixels(grid.pixel_m)
    known = _remembered(state, view.epoch, rules)
    alerts = _alerts_of(state, known)
    has_data = view.observed & view.reliable
    background = _background(known, alerts, has_data)
    windows = _windows(view, background, has_data, rules, grid)
    courtroom = _Courtroom(view, windows, has_data, background, rules, grid, known, alerts, Mine(), digest)
    verdict = courtroom.verdict(frozenset(key for key, zone in known.items() if zone.updates_unseen == 0))
    return replace(verdict, state=state)


def _check(view: GroundView, state: WatchState, grid: Grid) -> None:
    if state.last_epoch is not None and view.epoch <= state.last_epoch:
        raise ValueError(f"{view.epoch} cannot be judged after {state.last_epoch}: judge in order of date")
    if not view.windows:
        raise ValueError("no window to judge: the site's alerts.windows is empty")
    for window in (*view.windows, view.whole):
        if window.velocity_mm_yr.shape != grid.shape:
            raise ValueError(
                f"window of {window.days} days has shape {window.velocity_mm_yr.shape}, the grid {grid.shape}"
            )


def _remembered(state: WatchState, epoch: date, rules: AlertRules) -> dict[str, Zone]:
    """Zones that live or may still return; others are history."""
    return {
        zone.id: zone
        for zone in state.zones
        if zone.lives
        or (
            zone.merged_into is None
            and zone.ended_epoch is not None
            and (epoch - zone.ended_epoch).days <= rules.zone_returns_within_days
        )
    }


def _alerts_of(state: WatchState, known: Mapping[str, Zone]) -> Alerts:
    """Alerts about the zones that are remembered, and about what is no zone."""
    return {
        (alert.subject, alert.rule): alert
        for alert in state.alerts
        if alert.zone_id is None or alert.zone_id in known
    }


def _background(zones: Mapping[str, Zone], alerts: Alerts, has_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ground with data but without an open velocity alert: what may count as quiet."""
    background = has_data.copy()
    for zone in zones.values():
        alert = alerts.get((zone.id, VELOCITY_RULE))
        if alert is not None and alert.is_open:
            background.ravel()[zone.footprint.pixels] = False
    return background


def _windows(
    view: GroundView,
    background: NDArray[np.bool_],
    has_data: NDArray[np.bool_],
    rules: AlertRules,
    grid: Grid,
) -> tuple[MovingWindow, ...]:
    """The windows with their local contrast; ground with an open alert does not count as anybody's surroundings."""
    contrasts = [
        local_contrast(window.velocity_mm_yr, grid.pixel_m, rules.ring_m, background)
        for window in view.windows
    ]
    return moving_windows(view.windows, contrasts, has_data, background, rules.levels_mm_yr[0])


def _datum_motion(
    view: GroundView, background: NDArray[np.bool_], windows: Sequence[MovingWindow], rules: AlertRules
) -> DatumMotion | None:
    """Whether all quiet ground moved together."""
    if view.los_m is None or rules.health.tell == "off":
        return None
    quiet = background.copy()
    for window in windows:
        quiet &= ~window.significant
    common = common_mode_mm(view.los_m, quiet)
    motion = datum_motion(view.dates[-common.size :], common)
    return motion if motion is not None and is_shared(view.dates, view.los_m, quiet, motion) else None


def _follow(
    view: GroundView,
    known: Mapping[str, Zone],
    windows: Sequence[MovingWindow],
    rules: AlertRules,
    grid: Grid,
    track_id: str,
) -> tuple[dict[str, Zone], frozenset[str], Mapping[str, str]]:
    """The zones with this acquisition's areas, which of them were seen, and which merged into which."""
    areas = moving_areas(windows, rules.levels_mm_yr[0], rules.least_pixels)
    following = follow_zones(areas, tuple(known.values()), grid, view.epoch, rules.zone_returns_within_days)
    zones = dict(known)
    for zone_id, survivor in following.merged_into.items():
        zones[zone_id] = replace(known[zone_id], merged_into=survivor, ended_epoch=view.epoch)
    seen = set()
    for area, name, parent in zip(areas, following.zone_of_area, following.parent_of_area, strict=True):
        footprint = Footprint.of(area)
        zone = (
            _born(track_id, view.epoch, footprint, _fastest(area, windows), parent)
            if name is None
            else _seen_again(known[name], view.epoch, footprint)
        )
        zones[zone.id] = zone
        seen.add(zone.id)
    return zones, frozenset(seen), following.merged_into


def _fastest(area: NDArray[np.int64], windows: Sequence[MovingWindow]) -> int:
    """The pixel that moves fastest in any window; of equal ones the first."""
    strongest = np.nanmin(
        [np.where(w.significant, w.moved_mm_yr, np.inf).ravel()[area] for w in windows], axis=0
    )
    return int(area[np.argmin(strongest)])


def _born(track_id: str, epoch: date, footprint: Footprint, seed: int, parent: str | None) -> Zone:
    zone_id = new_zone_id(track_id, epoch, seed)
    return Zone(
        id=zone_id,
        name=f"zone {zone_id[:6]}",
        born_epoch=epoch,
        last_epoch=epoch,
        episode=1,
        updates_unseen=0,
        footprint=footprint,
        parent_zone=parent,
    )


def _seen_again(zone: Zone, epoch: date, footprint: Footprint) -> Zone:
    returned = zone.ended_epoch is not None
    return replace(
        zone,
        last_epoch=epoch,
        episode=zone.episode + 1 if returned else zone.episode,
        updates_unseen=0,
        footprint=footprint,
        ended_epoch=None,
        beyond_since=None if returned else zone.beyond_since,
    )


class _Courtroom:
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
        self._moved_mm: NDArray[np.float64] | None = None

    @property
    def moved_mm(self) -> NDArray[np.float64]:
        """LOS displacement since the record began minus that of the quiet ground."""
        if self._moved_mm is None:
            self._moved_mm = against_quiet_ground(self.view.displacement_mm, self.background)
        return self._moved_mm

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
        snapshot = self._snapshot(zone, shown, seen=False, about=self._look_at(zone, None))
        if change.after.rule == VELOCITY_RULE:
            self._record(change, snapshot, survivor)
        else:
            silent = Finding(change.after.rule, Reading(0, 0), "digest", f"It goes on in {survivor.name}.")
            self._record_finding(change, silent, zone.name, snapshot, self._where(zone))

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
        about = self._look_at(zone, self.alerts.get(key))
        self.zones[zone_id] = self._ended_if_gone(zone)
        findings = zone_findings(about.evidence, rules)
        snapshot = self._snapshot(zone, shown, seen, about, findings)
        if snapshot is not None:
            self.snapshots.append(snapshot)
        if change is not None:
            self._record(change, snapshot, None)
        for finding in findings:
            self._apply(zone.id, finding, zone.name, snapshot, self._where(zone))
        if not self.zones[zone_id].lives:
            self._close_other_rules(zone, snapshot)

    def _hear_the_blind(self, zone: Zone, shown: tuple[ZoneWindow, ...], rules: AlertRules) -> None:
        about = self._look_at(zone, self.alerts.get((zone.id, VELOCITY_RULE)))
        snapshot = self._snapshot(zone, shown, seen=False, about=about)
        for finding in zone_findings(about.evidence, rules):
            if finding.rule == "R7":
                self._apply(zone.id, finding, zone.name, snapshot, self._where(zone))

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
                self._record_finding(change, finding, zone.name, snapshot, self._where(zone))

    def hear_the_datum(self, track_id: str, motion: DatumMotion | None) -> None:
        """R8: one alert about the reference point."""
        subject = f"reference/{track_id}"
        if self.view.los_m is None or (motion is None and (subject, "R8") not in self.alerts):
            return
        level = int(motion is not None)
        held = "; alerts about the ground are held" if self.rules.health.hold_when_reference_moves else ""
        words = (
            f"{motion.words[:1].upper()}{motion.words[1:]}{held}."
            if motion is not None
            else "The quiet ground stands still again; alerts about the ground go on."
        )
        facts = {} if motion is None else {"kind": motion.kind, "amount": motion.amount, "sd": motion.sd}
        finding = Finding("R8", Reading(level, level), self.rules.health.tell, words, facts, 1, 1)
        self._apply(subject, finding, f"the reference point of track {track_id}", None, {})

    def hear_the_assets(self, track_id: str) -> None:
        """R6: tilt and curvature where something can be damaged."""
        if self.rules.tilt.preset is None or self.rules.tilt.tell == "off" or not self.mine.assets:
            return
        field = tilt_field(self.moved_mm, self.background, self.grid.pixel_m)
        for asset, shape in self.mine.assets:
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
        if self.rules.history.tell == "off":
            return
        alerted = np.zeros(self.grid.pixels, dtype=bool)
        for zone_id, zone in self.zones.items():
            alert = self.alerts.get((zone_id, VELOCITY_RULE))
            if alert is not None and alert.is_open:
                alerted[zone.footprint.pixels] = True
        finding = history_finding(self.view.whole, self.has_data, alerted, self.grid, self.rules)
        self._apply(f"history/{track_id}", finding, f"the whole record of track {track_id}", None, {})

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
        self.alerts[key], change = advance(
            before, finding.reading, self.view.epoch, finding.updates_to_raise, finding.updates_to_clear
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

    def _look_at(self, zone: Zone, velocity_alert: Alert | None) -> _About:
        """Everything about a zone beside its velocity."""
        pixels = zone.footprint.pixels
        shape = zone_shape(pixels, self.moved_mm, self.has_data, self.grid)
        place = self.mine.place(pixels, self.grid, self.view.epoch, shape.axis_deg)
        series = None
        if self.view.los_m is not None:
            series = zone_series(
                pixels,
                self.view.dates,
                self.view.los_m,
                self.background,
                self.grid,
                self.rules.ring_m,
                self.windows[0].velocity.correlation,
            )
        no_data = 1.0 - float(np.mean(self.has_data.ravel()[pixels]))
        usable = np.where(self.has_data, self.windows[0].velocity.velocity_mm_yr, np.nan)
        evidence = ZoneEvidence(
            epoch=self.view.epoch,
            velocity_alert=velocity_alert,
            series=series,
            shape=shape,
            place=place,
            pixels=pixels.size,
            no_data_fraction=no_data,
            step_share=step_share(pixels, usable, self.view.pair_days, self.grid),
            misclosed_share=0.0
            if self.view.misclosed is None
            else float(np.mean(self.view.misclosed.ravel()[pixels])),
        )
        return _About(evidence, movement(series) if series is not None else None)

    def _where(self, zone: Zone) -> dict[str, Any]:
        longitude, latitude = centroid_lon_lat(zone.footprint.pixels, self.grid)
        return {
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "area_m2": zone.footprint.size * self.grid.pixel_m**2,
        }

    def _snapshot(
        self,
        zone: Zone,
        shown: tuple[ZoneWindow, ...],
        seen: bool,
        about: _About,
        findings: Sequence[Finding] = (),
    ) -> ZoneSnapshot | None:
        if not shown:
            return None
        telling = min(shown, key=lambda w: (-w.level_now, -w.level_held, w.days))
        pixels = zone.footprint.pixels
        displacement = self.view.displacement_mm.ravel()[pixels]
        moved = float(np.nanmedian(displacement)) if np.isfinite(displacement).any() else None
        no_data = 1.0 - float(np.mean(self.has_data.ravel()[pixels]))
        snapshot = ZoneSnapshot(
            zone_id=zone.id,
            epoch=self.view.epoch,
            footprint=zone.footprint,
            area_m2=pixels.size * self.grid.pixel_m**2,
            seen=seen,
            window=telling,
            windows=shown,
            displacement_mm=moved,
            no_data_fraction=no_data,
            evidence={},
        )
        snapshot = replace(snapshot, evidence=self._evidence(zone, snapshot, about))
        sentence = zone_sentence(self._facts(zone, snapshot))
        # What each rule reads today, so that SQL shows more than what was said when its alert last changed.
        today = {finding.rule: finding.words for finding in findings}
        return replace(snapshot, evidence={**snapshot.evidence, "sentence": sentence, "rules": today})

    def _evidence(self, zone: Zone, snapshot: ZoneSnapshot, about: _About) -> dict[str, Any]:
        """The facts behind the words, for SQL."""
        shape, place = about.evidence.shape, about.evidence.place
        return {
            **self._where(zone),
            "tilt_max_mm_m": _rounded(shape.tilt_max_mm_m),
            "volume_m3": _rounded(shape.volume_m3),
            "axis_deg": _rounded(shape.axis_deg),
            "elongation": _rounded(shape.elongation),
            "blind_share": _rounded(
                shape.blind_share(about.evidence.no_data_fraction, snapshot.footprint.size)
            ),
            "step_share": _rounded(about.evidence.step_share),
            "misclosed_share": _rounded(about.evidence.misclosed_share),
            "place": place.as_dict(),
            "place_words": place.words,
            "lower_bound": about.lower_bound(self.rules),
            **movement_facts(about.movement),
            "stage_words": about.movement.words if about.movement is not None else "",
            "stage_rate_words": about.movement.rate_words if about.movement is not None else "",
            "seen": snapshot.seen,
            "beyond_since": zone.beyond_since.isoformat() if zone.beyond_since else None,
            "evidence_class": snapshot.window.evidence_class(self.rules.levels_mm_yr[0]),
            "no_data_fraction": round(snapshot.no_data_fraction, 4),
            "displacement_mm": _rounded(snapshot.displacement_mm),
            "incidence_deg": _rounded(self.view.incidence_deg),
            "telling_window_days": snapshot.window.days,
            "windows": [_window_facts(window) for window in snapshot.windows],
        }

    def _record(self, change: Change, snapshot: ZoneSnapshot | None, survivor: Zone | None) -> None:
        after = change.after
        zone = self.zones[after.subject]
        level = after.level or change.before.level
        threshold = self.rules.of_zone(zone.id).levels_mm_yr[level - 1]
        facts = self._facts(zone, snapshot, threshold) if snapshot is not None else None
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
                    **(snapshot.evidence if snapshot is not None else self._where(zone)),
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
        facts = self._facts(zone, snapshot) if zone is not None and snapshot is not None else None
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

    def _facts(self, zone: Zone, snapshot: ZoneSnapshot, threshold_mm_yr: float | None = None) -> ZoneFacts:
        """What words about a zone are made of; the certainty is about the first level where no other is named."""
        window = snapshot.window
        threshold = threshold_mm_yr or self.rules.of_zone(zone.id).levels_mm_yr[0]
        return ZoneFacts(
            zone_name=zone.name,
            latitude=snapshot.evidence["latitude"],
            longitude=snapshot.evidence["longitude"],
            area_m2=snapshot.area_m2,
            pixel_m=self.grid.pixel_m,
            window_words=f"the last {window.days} days"
            if window.days != WHOLE_RECORD
            else "the whole record",
            median_mm_yr=window.median_mm_yr,
            interval_mm_yr=window.interval_mm_yr,
            core_mm_yr=window.judged_mm_yr if np.isfinite(window.judged_mm_yr) else None,
            core_half_interval_mm_yr=window.judged_half_interval_mm_yr,
            wide=window.wide,
            threshold_mm_yr=threshold,
            evidence_class=window.evidence_class(threshold),
            n_epochs=window.n_epochs,
            beyond_since=zone.beyond_since,
            epoch=self.view.epoch,
            displacement_mm=snapshot.displacement_mm,
            no_data_fraction=snapshot.no_data_fraction,
            incidence_deg=self.view.incidence_deg,
            place=snapshot.evidence["place_words"],
            stage=snapshot.evidence["stage_words"],
            lower_bound=snapshot.evidence["lower_bound"],
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


@dataclass(frozen=True, eq=False)
class _About:
    """A zone beside its velocity: what the other rules look at, and its stage."""

    evidence: ZoneEvidence
    movement: Movement | None

    def lower_bound(self, rules: AlertRules) -> bool:
        """What is seen of it may be less than what happens."""
        seen = self.evidence
        return (
            seen.step_share >= rules.blind.step_share
            or seen.shape.hole_pixels >= rules.blind.least_hole_pixels
            or seen.no_data_fraction > rules.blind.lost_share
            or seen.misclosed_share >= rules.blind.closure_share
        )


def against_quiet_ground(
    displacement_mm: NDArray[np.floating], background: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Displacement minus the median of the quiet ground, so that the reference point's noise is out of it."""
    quiet = displacement_mm[background & np.isfinite(displacement_mm)]
    return displacement_mm.astype(np.float64) - (float(np.median(quiet)) if quiet.size else 0.0)


def _count(zone: Zone, reading: Reading, seen: bool, epoch: date) -> Zone:
    since = (zone.beyond_since or epoch) if reading.level_held > 0 and (seen or zone.beyond_since) else None
    return replace(zone, updates_unseen=0 if seen else zone.updates_unseen + 1, beyond_since=since)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 3)


def _window_facts(window: ZoneWindow) -> dict[str, Any]:
    low, high = window.interval_mm_yr
    return {
        "days": window.days,
        "median_mm_yr": _rounded(window.median_mm_yr),
        "p95_mm_yr": _rounded(window.p95_mm_yr),
        "interval_mm_yr": [_rounded(low), _rounded(high)],
        "core_mm_yr": _rounded(window.judged_mm_yr),
        "core_half_interval_mm_yr": _rounded(window.judged_half_interval_mm_yr),
        "core_is_wide": window.wide,
        "sd_mm_yr": _rounded(window.sd_mm_yr),
        "n_epochs": window.n_epochs,
        "noise_correlation": round(window.correlation, 4),
        "level": window.level_now,
    }
