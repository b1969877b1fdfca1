"""Rules R2 to R7: what they read from a zone or an asset at one acquisition. R1 is in `rules`, R8 in `datum`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import Alert, Reading
from sagwatch.domain.alert_rules import AlertRules, Tell
from sagwatch.domain.mine import Place
from sagwatch.domain.stages import Movement
from sagwatch.domain.zone_series import ZoneSeries, acceleration, moved_since, trend_change
from sagwatch.domain.zone_shape import ZoneShape, smoothed

_SURE = 0.01
#: What was raised holds until it has fallen to this share of what would raise it.
_HELD = 0.5
_LEAST_EPOCHS_OF_A_THIRD = 4
#: Normal deviation of a one-sided 95 % limit.
_NORMAL_95 = 1.645
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule reads: levels, facts for SQL, and a sentence; updates of None are as many as the rules ask for."""

    rule: str
    reading: Reading
    tell: Tell
    words: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    updates_to_raise: int | None = None
    updates_to_clear: int | None = None
    limit_words: str = ""


def by_noise(probability: float) -> str:
    """How often noise alone would show as much, in words; the number itself is in the evidence."""
    if probability > 0.01:
        return f"noise alone shows as much in {probability:.0%} of cases"
    times = next(times for times in (1_000_000, 100_000, 10_000, 1_000, 100) if probability <= 1 / times)
    return f"noise alone shows as much less than once in {times:,} cases"


def withdrawn(rule: str) -> Finding:
    """Ends what is still open of a rule that was switched off, or of an asset that the mine plan no longer has."""
    return Finding(rule, Reading(0, 0), "digest", "It is not judged any more.", updates_to_clear=1)


@dataclass(frozen=True, eq=False)
class ZoneEvidence:
    """Everything that the rules look at; ``step_share`` as `zone_shape.step_share` gives it.

    ``misclosed_share`` is the share of its pixels whose newest interferograms contradict each other by whole cycles.
    """

    epoch: date
    velocity_alert: Alert | None
    series: ZoneSeries | None
    shape: ZoneShape
    place: Place
    pixels: int
    no_data_fraction: float
    step_share: float
    misclosed_share: float = 0.0


def zone_findings(seen: ZoneEvidence, rules: AlertRules) -> list[Finding]:
    """What R2, R3, R4, R5 and R7 read; a rule that has nothing to look at is not there, one that is off withdraws."""
    found = [
        _trend(seen, rules),
        _new_zone(seen, rules),
        _acceleration(seen, rules),
        _displacement(seen, rules),
        _blind(seen, rules),
    ]
    return [withdrawn(one.rule) if one.tell == "off" else one for one in found if one is not None]


def _trend(seen: ZoneEvidence, rules: AlertRules) -> Finding | None:
    shortest = min(rules.windows, key=lambda window: window.days)
    if seen.velocity_alert is None or not seen.velocity_alert.is_open:
        return Finding("R2", Reading(0, 0), rules.trend.tell, "The zone's velocity alert is over.")
    if seen.series is None or seen.velocity_alert.raised_epoch is None:
        return None
    # What came before the alert is not the zone's known rate: that the zone began is what R1 has told.
    known = seen.series.beginning(seen.velocity_alert.raised_epoch)
    if known is None:
        return None
    found = trend_change(known, shortest.days, shortest.least_epochs)
    if found is None:
        return None
    limit = -max(rules.trend.least_change_mm_yr, rules.trend.deviations * found.sd_mm_yr)
    now = int(found.change_mm_yr < limit and found.probability < _SURE and found.now_mm_yr < 0)
    held = int(found.change_mm_yr < _HELD * limit)
    return Finding(
        "R2",
        Reading(now, max(now, held)),
        rules.trend.tell,
        f"It moves at {found.now_mm_yr:+.0f} mm/yr against its surroundings in the last {shortest.days} days and "
        f"did at {found.before_mm_yr:+.0f} mm/yr before, while the alert was open: {found.change_mm_yr:+.0f} ± "
        f"{2 * found.sd_mm_yr:.0f} mm/yr ({by_noise(found.probability)}).",
        {
            "change_mm_yr": round(found.change_mm_yr, 2),
            "sd_mm_yr": round(found.sd_mm_yr, 2),
            "before_mm_yr": round(found.before_mm_yr, 2),
            "now_mm_yr": round(found.now_mm_yr, 2),
            "probability": found.probability,
        },
        limit_words=f"faster by more than {-limit:.0f} mm/yr",
    )


def _new_zone(seen: ZoneEvidence, rules: AlertRules) -> Finding | None:
    """Follows the velocity alert of the zone's first episode: R1 has proved already what it says."""
    alert = seen.velocity_alert
    if alert is None or alert.episode > 1 or alert.raised_epoch is None:
        return None
    outside = seen.place.inside_licence is False
    level = (2 if outside else 1) if alert.is_open else 0
    where = (
        "its centre lies outside the licence area" if outside else "its centre lies inside the licence area"
    )
    if seen.place.inside_licence is None:
        where = "the site has no licence area to compare it with"
    return Finding(
        "R3",
        Reading(level, level),
        rules.new_zone.outside if outside else rules.new_zone.inside,
        f"It was not known before; {where}." if level else "The alert that it began with is over.",
        {"inside_licence": seen.place.inside_licence},
        updates_to_raise=1,
        updates_to_clear=1,
        limit_words="outside the licence area" if outside else "",
    )


def _acceleration(seen: ZoneEvidence, rules: AlertRules) -> Finding | None:
    if seen.series is None:
        return None
    found = acceleration(seen.series, _LEAST_EPOCHS_OF_A_THIRD)
    if found is None:
        return None
    bends = found.curvature_mm_yr2 < 0 and found.probability < _SURE
    now = int(bends and found.faster_each_time)
    rates = ", ".join(f"{rate:+.0f}" for rate in found.rates_mm_yr)
    return Finding(
        "R4",
        Reading(now, max(now, int(bends))),
        rules.acceleration.tell,
        f"The thirds of the last year moved at {rates} mm/yr against the surroundings "
        f"({by_noise(found.probability)}). Inverse velocities are in the evidence; no date of failure follows from "
        "data of every twelfth day.",
        {
            "rates_mm_yr": [round(rate, 2) for rate in found.rates_mm_yr],
            "curvature_mm_yr2": round(found.curvature_mm_yr2, 2),
            "probability": found.probability,
            "inverse_velocity_yr_per_m": list(found.inverse_velocity_yr_per_m),
        },
        limit_words="faster three times running",
    )


def _displacement(seen: ZoneEvidence, rules: AlertRules) -> Finding | None:
    if seen.series is None:
        return None
    found = moved_since(seen.series, rules.displacement.baseline)
    if found is None:
        return None
    now = sum(found.upper_mm < level for level in rules.displacement.levels_mm)
    held = sum(found.los_mm <= _HELD * level for level in rules.displacement.levels_mm)
    limit = rules.displacement.levels_mm[max(now, 1) - 1]
    return Finding(
        "R5",
        Reading(now, max(now, held)),
        rules.displacement.tell,
        f"It has moved {found.los_mm:+.0f} ± {2 * found.sd_mm:.0f} mm along the line of sight against its "
        f"surroundings since {found.since.isoformat()}.",
        {
            "displacement_mm": round(found.los_mm, 2),
            "sd_mm": round(found.sd_mm, 2),
            "baseline": found.since.isoformat(),
        },
        limit_words=f"beyond {-limit:g} mm with 95 % certainty",
    )


def _blind(seen: ZoneEvidence, rules: AlertRules) -> Finding | None:
    """A zone whose centre is lost is level 2; one whose steps come near the limit of what can be seen, level 1.

    Only where the zone has or had an alert: the edge of a zone that was never proved is no blind spot.
    """
    alert = seen.velocity_alert
    if alert is None or alert.raised_epoch is None:
        return None
    open_ = alert.is_open
    reasons = []
    if seen.shape.hole_pixels >= rules.blind.least_hole_pixels:
        reasons.append(f"{seen.shape.hole_pixels} pixels without data are ringed by it")
    if seen.no_data_fraction > rules.blind.lost_share:
        reasons.append(f"{seen.no_data_fraction:.0%} of its pixels have no data any more")
    lost = len(reasons) > 0
    if seen.step_share >= rules.blind.step_share:
        reasons.append(
            f"steps between neighbouring pixels use {seen.step_share:.0%} of what one interferogram can tell apart"
        )
    if seen.misclosed_share >= rules.blind.closure_share:
        reasons.append(
            f"its newest interferograms contradict each other by whole cycles on {seen.misclosed_share:.0%} of it, so "
            "unwrapping has failed there"
        )
    limit = "near the limit of what can be seen"
    if lost or seen.misclosed_share >= rules.blind.closure_share:
        limit = "a part of it cannot be seen" if lost else "unwrapping fails in it"
    level = 2 if lost else int(bool(reasons))
    near = (
        seen.step_share >= 0.8 * rules.blind.step_share
        or seen.misclosed_share >= _HELD * rules.blind.closure_share
    )
    held = max(level, int(near))
    if not open_ and not lost:
        level = held = 0
    return Finding(
        "R7",
        Reading(level, held),
        rules.blind.tell,
        f"What InSAR shows of it is a lower bound: {'; '.join(reasons)}. Survey it on the ground."
        if reasons
        else "Nothing hides a part of it any more.",
        {
            "hole_pixels": seen.shape.hole_pixels,
            "no_data_fraction": round(seen.no_data_fraction, 4),
            "step_share": round(seen.step_share, 4),
            "misclosed_share": round(seen.misclosed_share, 4),
        },
        limit_words=limit,
    )


@dataclass(frozen=True, slots=True)
class TiltLimits:
    """Limits of a preset; level n begins beyond the n-th: tilt in mm/m, curvature in 10⁻³/m."""

    source: str
    tilt_mm_m: tuple[float, ...]
    curvature_per_km: tuple[float, ...]


#: From the literature in the documentation; a person must check the code of practice that applies before naming one.
TILT_PRESETS = {
    "china_brick_concrete": TiltLimits(
        "Chinese code for mining under buildings, brick-concrete grades I to III, quoted second-hand",
        (3.0, 6.0, 10.0),
        (0.2, 0.4, 0.6),
    ),
    "poland_mining_area": TiltLimits(
        "Polish mining-area categories I to IV, doi:10.2478/acee-2024-0004",
        (0.5, 2.5, 5.0, 10.0),
        (),
    ),
}


@dataclass(frozen=True, eq=False)
class TiltField:
    """Tilt (mm/m) and curvature (10⁻³/m) of the LOS displacement, with their deviations on quiet ground."""

    tilt_mm_m: NDArray[np.float64]
    curvature_per_km: NDArray[np.float64]
    tilt_sd: float
    curvature_sd: float


def tilt_field(moved_mm: NDArray[np.floating], quiet: NDArray[np.bool_], pixel_m: float) -> TiltField:
    """Derivatives of the displacement, smoothed over 3 x 3 pixels; LOS, so horizontal motion is mixed in."""
    smooth = smoothed(moved_mm)
    down, right = np.gradient(smooth, pixel_m)
    down, right = np.asarray(down), np.asarray(right)
    tilt = np.hypot(down, right)
    # Displacement in mm over metres twice is 10⁻³/m.
    curvature = np.fmax(
        np.abs(np.gradient(down, pixel_m, axis=0)), np.abs(np.gradient(right, pixel_m, axis=1))
    )
    components = np.concatenate([down[quiet], right[quiet]])
    return TiltField(tilt, curvature, _spread(components), _spread(curvature[quiet]))


def _spread(values: NDArray[np.float64]) -> float:
    known = np.abs(values[np.isfinite(values)])
    return _MAD_TO_SIGMA * float(np.median(known)) if known.size else float("nan")


def asset_finding(pixels: NDArray[np.int64], field_: TiltField, rules: AlertRules) -> Finding | None:
    """R6 at one asset: levels by the lower bound of its steepest tilt and sharpest curvature; None without data."""
    preset = rules.tilt.preset
    if preset is None or rules.tilt.tell == "off" or not pixels.size:
        return None
    limits = TILT_PRESETS[preset]
    tilt, curvature = field_.tilt_mm_m.ravel()[pixels], field_.curvature_per_km.ravel()[pixels]
    if not np.isfinite(tilt).any() or not np.isfinite(field_.tilt_sd):
        return None
    steepest = float(np.nanmax(tilt))
    sharpest = float(np.nanmax(curvature)) if np.isfinite(curvature).any() else 0.0
    tilt_low = steepest - _NORMAL_95 * field_.tilt_sd
    curve_low = sharpest - _NORMAL_95 * (field_.curvature_sd if np.isfinite(field_.curvature_sd) else 0.0)
    now = max(
        sum(tilt_low > x for x in limits.tilt_mm_m), sum(curve_low > x for x in limits.curvature_per_km)
    )
    held = max(
        sum(steepest > x for x in limits.tilt_mm_m), sum(sharpest > x for x in limits.curvature_per_km)
    )
    return Finding(
        "R6",
        Reading(now, max(now, held)),
        rules.tilt.tell,
        f"The line-of-sight displacement there tilts by {steepest:.1f} mm/m (surely more than "
        f"{max(0.0, tilt_low):.1f}) and bends by {sharpest:.2f} · 10⁻³/m. Limits: preset {preset} ({limits.source}).",
        {
            "tilt_mm_m": round(steepest, 3),
            "tilt_lower_bound_mm_m": round(tilt_low, 3),
            "curvature_per_km": round(sharpest, 4),
            "curvature_lower_bound_per_km": round(curve_low, 4),
            "preset": preset,
        },
        limit_words=f"step {now} of preset {preset}" if now else f"below preset {preset}",
    )


def movement_facts(movement: Movement | None) -> dict[str, Any]:
    """The stage of a zone for SQL."""
    if movement is None:
        return {"stage": "cannot tell"}
    return {
        "stage": movement.stage,
        "stage_since": movement.since.isoformat(),
        "stage_confidence": round(movement.confidence, 4),
        "stage_pieces": [
            {
                "begin": piece.begin.isoformat(),
                "end": piece.end.isoformat(),
                "rate_mm_yr": round(piece.rate_mm_yr, 2),
                "sd_mm_yr": round(piece.sd_mm_yr, 2),
            }
            for piece in movement.pieces
        ],
    }
