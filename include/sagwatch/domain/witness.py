"""What is seen of a zone at one acquisition beside its level: shape, place, history, stage, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import Alert
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.footprint import centroid_lon_lat
from sagwatch.domain.grid import Grid
from sagwatch.domain.judgement import GroundView, ZoneSnapshot
from sagwatch.domain.mine import Mine
from sagwatch.domain.rules import ZoneWindow
from sagwatch.domain.sentence import ZoneFacts, zone_sentence
from sagwatch.domain.stages import Movement, movement
from sagwatch.domain.windows import WHOLE_RECORD
from sagwatch.domain.zone_rules import Finding, ZoneEvidence, movement_facts
from sagwatch.domain.zone_series import zone_series
from sagwatch.domain.zone_shape import step_share, zone_shape
from sagwatch.domain.zones import MovingWindow, Zone


class Witness:
    """Looks at zones for a `Courtroom`; knows nothing of alerts but what it is told."""

    def __init__(
        self,
        view: GroundView,
        windows: tuple[MovingWindow, ...],
        has_data: NDArray[np.bool_],
        background: NDArray[np.bool_],
        rules: AlertRules,
        grid: Grid,
        mine: Mine,
    ) -> None:
        self.view, self.windows, self.has_data = view, windows, has_data
        self.background, self.rules, self.grid, self.mine = background, rules, grid, mine

    @cached_property
    def moved_mm(self) -> NDArray[np.float64]:
        """LOS displacement since the record began minus that of the quiet ground."""
        return against_quiet_ground(self.view.displacement_mm, self.background)

    @cached_property
    def _velocity_mm_yr(self) -> NDArray[np.floating]:
        """Of the first window, NaN where there are no data now."""
        return np.where(self.has_data, self.windows[0].velocity.velocity_mm_yr, np.nan)

    def look_at(self, zone: Zone, velocity_alert: Alert | None) -> About:
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
        evidence = ZoneEvidence(
            epoch=self.view.epoch,
            velocity_alert=velocity_alert,
            series=series,
            shape=shape,
            place=place,
            pixels=pixels.size,
            no_data_fraction=no_data,
            step_share=step_share(pixels, self._velocity_mm_yr, self.view.pair_days, self.grid),
            misclosed_share=0.0
            if self.view.misclosed is None
            else float(np.mean(self.view.misclosed.ravel()[pixels])),
        )
        return About(evidence, movement(series) if series is not None else None)

    def where(self, zone: Zone) -> dict[str, Any]:
        longitude, latitude = centroid_lon_lat(zone.footprint.pixels, self.grid)
        return {
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "area_m2": zone.footprint.size * self.grid.pixel_m**2,
        }

    def snapshot(
        self,
        zone: Zone,
        shown: tuple[ZoneWindow, ...],
        seen: bool,
        about: About,
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
        sentence = zone_sentence(self.facts(zone, snapshot))
        # What each rule reads today, so that SQL shows more than what was said when its alert last changed.
        today = {finding.rule: finding.words for finding in findings}
        return replace(snapshot, evidence={**snapshot.evidence, "sentence": sentence, "rules": today})

    def _evidence(self, zone: Zone, snapshot: ZoneSnapshot, about: About) -> dict[str, Any]:
        """The facts behind the words, for SQL."""
        shape, place = about.evidence.shape, about.evidence.place
        return {
            **self.where(zone),
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
            "evidence_class": snapshot.window.evidence_class(self.rules.of_zone(zone.id).levels_mm_yr[0]),
            "no_data_fraction": round(snapshot.no_data_fraction, 4),
            "displacement_mm": _rounded(snapshot.displacement_mm),
            "incidence_deg": _rounded(self.view.incidence_deg),
            "telling_window_days": snapshot.window.days,
            "windows": [_window_facts(window) for window in snapshot.windows],
        }

    def facts(self, zone: Zone, snapshot: ZoneSnapshot, threshold_mm_yr: float | None = None) -> ZoneFacts:
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


@dataclass(frozen=True, eq=False)
class About:
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
