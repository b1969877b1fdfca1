"""Judge one acquisition: which areas move, who they are, and what that does to the alerts.

A pure function: the same views in the same order give the same zones, alerts and events, in whatever batches they come
and however often they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import (
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
from sagwatch.domain.footprint import Footprint, centroid_lon_lat
from sagwatch.domain.grid import Grid
from sagwatch.domain.reasons import point_reasons
from sagwatch.domain.rules import ZoneWindow, read_zone, rules_sha256
from sagwatch.domain.sentence import ZoneFacts, event_sentence
from sagwatch.domain.site import AlertRules
from sagwatch.domain.windows import WHOLE_RECORD, WindowVelocity
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


@dataclass(frozen=True)
class WatchState:
    """What has to be remembered between acquisitions: zones, and the newest alert of each."""

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


def judge(view: GroundView, state: WatchState, rules: AlertRules, grid: Grid, track_id: str) -> Judged:
    """Judge one acquisition after all earlier ones.

    Raises
    ------
    ValueError
        The acquisition is not newer than the last one judged, or the arrays do not fit the grid.
    """
    _check(view, state, grid)
    known = _remembered(state, view.epoch, rules)
    alerts = {alert.zone_id: alert for alert in state.alerts if alert.zone_id in known}
    has_data = view.observed & view.reliable
    windows = _windows(view, known, alerts, has_data, rules, grid)
    zones, seen, merged = _follow(view, known, windows, rules, grid, track_id)
    courtroom = _Courtroom(view, windows, has_data, rules, grid, zones, alerts)
    courtroom.merge(merged)
    for zone_id in sorted(zones, key=lambda key: (zones[key].born_epoch, key)):
        if zones[zone_id].lives:
            courtroom.hear(zone_id, seen=zone_id in seen)
    return courtroom.verdict(seen)


def look_again(view: GroundView, state: WatchState, rules: AlertRules, grid: Grid) -> Judged:
    """Say where the known zones are and why each point is in an alert or not, without judging anything.

    For a revision that shows the last judged acquisition anew (a late interferogram), or one that is not settled.
    """
    known = _remembered(state, view.epoch, rules)
    alerts = {alert.zone_id: alert for alert in state.alerts if alert.zone_id in known}
    has_data = view.observed & view.reliable
    windows = _windows(view, known, alerts, has_data, rules, grid)
    courtroom = _Courtroom(view, windows, has_data, rules, grid, known, alerts)
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


def _windows(
    view: GroundView,
    zones: Mapping[str, Zone],
    alerts: Mapping[str, Alert],
    has_data: NDArray[np.bool_],
    rules: AlertRules,
    grid: Grid,
) -> tuple[MovingWindow, ...]:
    """The windows with their local contrast; ground with an open alert does not count as anybody's surroundings."""
    background = has_data.copy()
    for zone in zones.values():
        if zone.id in alerts and alerts[zone.id].is_open:
            background.ravel()[zone.footprint.pixels] = False
    contrasts = [
        local_contrast(window.velocity_mm_yr, grid.pixel_m, rules.ring_m, background)
        for window in view.windows
    ]
    return moving_windows(view.windows, contrasts, has_data, background, rules.levels_mm_yr[0])


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
    """The pixel with the strongest contrast in any window; of equal ones the first."""
    strongest = np.nanmin(
        [np.where(w.significant, w.contrast_mm_yr, np.inf).ravel()[area] for w in windows], axis=0
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
        rules: AlertRules,
        grid: Grid,
        zones: dict[str, Zone],
        alerts: dict[str, Alert],
    ) -> None:
        self.view, self.windows, self.has_data = view, windows, has_data
        self.rules, self.grid = rules, grid
        self.zones, self.alerts = zones, alerts
        self.rules_sha256 = rules_sha256(rules)
        self.snapshots: list[ZoneSnapshot] = []
        self.events: list[AlertEvent] = []

    def merge(self, merged: Mapping[str, str]) -> None:
        """Close the alerts of zones that became part of another, and hand over what they had proved."""
        for zone_id in sorted(merged):
            if (alert := self.alerts.get(zone_id)) is None or alert.is_over:
                continue
            survivor = self.zones[merged[zone_id]]
            heir = self._alert_of(survivor)
            self.alerts[survivor.id] = inherit(heir, alert, self.rules.updates_to_raise)
            closed, change = merge_alert(alert, self.view.epoch)
            self.alerts[zone_id] = closed
            _, shown = read_zone(
                self.zones[zone_id].footprint.pixels, self.windows, self.has_data, self.rules
            )
            if change is not None:
                self._record(change, self._snapshot(self.zones[zone_id], shown, seen=False), survivor)

    def hear(self, zone_id: str, seen: bool) -> None:
        """Judge one living zone by the pixels where it is, or where it was seen last."""
        zone = self.zones[zone_id]
        reading, shown = read_zone(zone.footprint.pixels, self.windows, self.has_data, self.rules)
        if reading is None:
            return  # Too little data proves nothing: neither alert nor zone changes.
        zone = _count(zone, reading, seen, self.view.epoch)
        before = self._alert_of(zone) if reading.level_now > 0 else self.alerts.get(zone_id)
        change = None
        if before is not None:
            alert, change = advance(
                before, reading, self.view.epoch, self.rules.updates_to_raise, self.rules.updates_to_clear
            )
            self.alerts[zone_id] = alert
        self.zones[zone_id] = self._ended_if_gone(zone)
        snapshot = self._snapshot(zone, shown, seen)
        if snapshot is not None:
            self.snapshots.append(snapshot)
        if change is not None:
            self._record(change, snapshot, None)

    def verdict(self, seen: frozenset[str]) -> Judged:
        zones = tuple(sorted(self.zones.values(), key=lambda zone: (zone.born_epoch, zone.id)))
        order = {zone.id: place for place, zone in enumerate(zones)}
        index, in_alert = self._paint(zones, seen)
        return Judged(
            epoch=self.view.epoch,
            state=WatchState(
                zones,
                tuple(sorted(self.alerts.values(), key=lambda alert: order[alert.zone_id])),
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

    def _alert_of(self, zone: Zone) -> Alert:
        """The zone's running alert, or the next episode's if there is none."""
        alert = self.alerts.get(zone.id)
        if alert is not None and not alert.is_over:
            return alert
        episode = 1 if alert is None else alert.episode + 1
        return begin_alert(zone.id, episode, self.view.epoch, self.rules_sha256)

    def _ended_if_gone(self, zone: Zone) -> Zone:
        """A zone has ended when it stayed away and no alert about it is open."""
        alert = self.alerts.get(zone.id)
        if zone.updates_unseen < UPDATES_UNSEEN_TO_END or (alert is not None and alert.is_open):
            return zone
        if alert is not None and not alert.is_over:
            self.alerts[zone.id] = close_unraised(alert, self.view.epoch)
        return replace(zone, ended_epoch=self.view.epoch)

    def _snapshot(self, zone: Zone, shown: tuple[ZoneWindow, ...], seen: bool) -> ZoneSnapshot | None:
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
        return replace(snapshot, evidence=self._evidence(zone, snapshot))

    def _evidence(self, zone: Zone, snapshot: ZoneSnapshot) -> dict[str, Any]:
        """The facts behind the words, for SQL."""
        longitude, latitude = centroid_lon_lat(zone.footprint.pixels, self.grid)
        return {
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "area_m2": snapshot.area_m2,
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
        zone = self.zones[after.zone_id]
        level = after.level or change.before.level
        threshold = self.rules.levels_mm_yr[level - 1]
        facts = self._facts(zone, snapshot) if snapshot is not None else None
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
                zone_id=zone.id,
                epoch=self.view.epoch,
                type=change.type,
                from_state=change.before.state,
                to_state=after.state,
                from_level=change.before.level,
                to_level=after.level,
                evidence={
                    **(snapshot.evidence if snapshot is not None else {}),
                    "zone": zone.name,
                    "threshold_mm_yr": threshold,
                    "rules_sha256": self.rules_sha256,
                    "merged_into": survivor.id if survivor is not None else None,
                },
                sentence=sentence,
            )
        )

    def _facts(self, zone: Zone, snapshot: ZoneSnapshot) -> ZoneFacts:
        window = snapshot.window
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
            p95_mm_yr=window.p95_mm_yr,
            contrast_mm_yr=window.judged_mm_yr if np.isfinite(window.judged_mm_yr) else None,
            evidence_class=window.evidence_class(self.rules.levels_mm_yr[0]),
            n_epochs=window.n_epochs,
            beyond_since=zone.beyond_since,
            epoch=self.view.epoch,
            displacement_mm=snapshot.displacement_mm,
            no_data_fraction=snapshot.no_data_fraction,
            incidence_deg=self.view.incidence_deg,
        )

    def _paint(
        self, zones: tuple[Zone, ...], seen: frozenset[str]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Zone number of each pixel, and whether its alert is open; what is seen now covers what was before."""
        index = np.full(self.grid.pixels, -1, dtype=np.int32)
        in_alert = np.zeros(self.grid.pixels, dtype=bool)
        alerted = {alert.zone_id for alert in self.alerts.values() if alert.is_open}
        shown = [(i, z) for i, z in enumerate(zones) if z.lives and (z.id in seen or z.id in alerted)]
        for i, zone in sorted(shown, key=lambda pair: (pair[1].id in seen, -pair[0])):
            index[zone.footprint.pixels] = i
            in_alert[zone.footprint.pixels] = zone.id in alerted
        return index.reshape(self.grid.shape), in_alert.reshape(self.grid.shape)


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
        "contrast_mm_yr": _rounded(window.judged_mm_yr),
        "sd_mm_yr": _rounded(window.sd_mm_yr),
        "n_epochs": window.n_epochs,
        "noise_correlation": round(window.correlation, 4),
        "level": window.level_now,
    }
