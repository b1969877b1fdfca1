"""Judge one acquisition: which areas move, who they are, and what that does to the alerts.

A pure function: the same views in the same order give the same zones, alerts and events, in whatever batches they come
and however often they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import (
    VELOCITY_RULE,
)
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.contrast import local_contrast
from sagwatch.domain.courtroom import Alerts, Courtroom
from sagwatch.domain.datum import DatumMotion, common_mode_mm, datum_motion, is_shared
from sagwatch.domain.footprint import Footprint
from sagwatch.domain.grid import Grid
from sagwatch.domain.judgement import GroundView, Judged, WatchState
from sagwatch.domain.mine import Mine
from sagwatch.domain.rules import rules_sha256
from sagwatch.domain.zones import (
    MovingWindow,
    Zone,
    follow_zones,
    moving_areas,
    moving_windows,
    new_zone_id,
)


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
    courtroom = Courtroom(
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
    courtroom = Courtroom(view, windows, has_data, background, rules, grid, known, alerts, Mine(), digest)
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
    common = common_mode_mm(view.dates, view.los_m, quiet)
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
