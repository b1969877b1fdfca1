"""Rule R1: what the windows of a zone say about the ladder of velocity levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert import Reading
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.footprint import connected_level
from sagwatch.domain.ids import content_sha256
from sagwatch.domain.windows import EvidenceClass, half_interval
from sagwatch.domain.zones import MovingWindow

#: A zone with usable values on less than this share of its pixels says nothing.
LEAST_DATA_SHARE = 0.5
#: The deadband never asks for more than a rise to half of the threshold: with more, noisy ground could hardly clear.
_WIDEST_DEADBAND = 0.5
#: What a window does not disprove is read from this share of a zone's pixels: of the many pixels of a zone some are
#: always low by chance. (What it proves is read from the rule's least number of pixels.)
_HELD_SHARE = 0.5
_TWO_SIDED_95 = 0.975
_ONE_SIDED_95 = 0.95


@dataclass(frozen=True, slots=True)
class ZoneWindow:
    """What one window shows about a zone; LOS in mm/yr, negative away from the satellite.

    ``judged_mm_yr`` is what the fastest connected pixels (the rule's least number: the zone's core) reach together:
    their local contrast, with its deviation, or the slow end of their velocity where it is ``wide``; NaN if the window
    proves no motion. ``median`` and ``p95`` are of the velocities themselves, p95 at the fast end.
    """

    days: int
    judged_mm_yr: float
    judged_sd_mm_yr: float
    median_mm_yr: float
    p95_mm_yr: float
    sd_mm_yr: float
    n_epochs: int
    correlation: float
    level_now: int
    level_held: int
    #: The core moves with wide surroundings: ``judged`` is the slow end of its velocity's near certainty, no contrast.
    wide: bool = False
    #: The parts of `sd_mm_yr` and `judged_sd_mm_yr` that the walk of decorrelation makes.
    walk_mm_yr: float = 0.0
    judged_walk_mm_yr: float = 0.0

    @property
    def interval_mm_yr(self) -> tuple[float, float]:
        """Two-sided 95 % interval of the median velocity, fast end first."""
        half = float(half_interval(_TWO_SIDED_95, self.n_epochs, self.sd_mm_yr, self.walk_mm_yr))
        return self.median_mm_yr - half, self.median_mm_yr + half

    @property
    def judged_half_interval_mm_yr(self) -> float | None:
        """Half of the two-sided 95 % interval of the core's contrast."""
        if self.wide or not np.isfinite(self.judged_mm_yr):
            return None
        return self._judged_half(_TWO_SIDED_95)

    def evidence_class(self, threshold_mm_yr: float) -> EvidenceClass:
        """Whether the core is surely beyond the threshold or surely moving (one-sided 95 %), or nothing is proved."""
        if not np.isfinite(self.judged_mm_yr):
            return "cannot tell"
        if self.wide:
            return "beyond threshold" if self.judged_mm_yr < threshold_mm_yr else "moving"
        upper = self.judged_mm_yr + self._judged_half(_ONE_SIDED_95)
        return "beyond threshold" if upper < threshold_mm_yr else "moving"

    def _judged_half(self, probability: float) -> float:
        return float(half_interval(probability, self.n_epochs, self.judged_sd_mm_yr, self.judged_walk_mm_yr))


def rules_sha256(rules: AlertRules) -> str:
    """The version of the rules that an alert was judged with."""
    return content_sha256(rules.model_dump())


def read_zone(
    pixels: NDArray[np.int64],
    windows: Sequence[MovingWindow],
    has_data: NDArray[np.bool_],
    rules: AlertRules,
) -> tuple[Reading | None, tuple[ZoneWindow, ...]]:
    """Judge a zone's pixels by every window; the highest level of any window counts.

    Returns None for the reading if fewer than half of the pixels have data: then nothing may be concluded.
    """
    shown = [_read_window(pixels, window, rules) for window in windows]
    seen = tuple(window for window in shown if window is not None)
    if not seen or np.mean(has_data.ravel()[pixels]) < LEAST_DATA_SHARE:
        return None, seen
    now = max(window.level_now for window in seen)
    # A longer window goes on averaging in a motion that has ended: it may prove a level, but it is the shortest window
    # with data that disproves one.
    shortest = min(seen, key=lambda window: window.days)
    return Reading(now, max(now, shortest.level_held)), seen


def _read_window(pixels: NDArray[np.int64], window: MovingWindow, rules: AlertRules) -> ZoneWindow | None:
    velocity = window.velocity
    known = window.usable.ravel()[pixels]
    valid = velocity.valid.ravel()[pixels]
    if known.sum() < max(rules.least_pixels, LEAST_DATA_SHARE * valid.sum()):
        return None
    columns = window.usable.shape[1]
    usable = pixels[known]
    sure = pixels[window.significant.ravel()[pixels]]
    contrast = window.moved_mm_yr.ravel()
    values = velocity.velocity_mm_yr.ravel()[usable]
    proved = connected_level(sure, contrast[sure], columns, rules.least_pixels)
    core = sure[contrast[sure] <= proved] if np.isfinite(proved) else sure[:0]
    many = max(rules.least_pixels, int(_HELD_SHARE * usable.size))
    possible = connected_level(usable, contrast[usable], columns, many)
    reading = levels_of(proved, possible, window.contrast_sd_mm_yr, rules)
    return ZoneWindow(
        days=velocity.days,
        judged_mm_yr=proved,
        judged_sd_mm_yr=_median(velocity.contrast_sd_mm_yr, core),
        median_mm_yr=float(np.median(values)),
        p95_mm_yr=float(np.percentile(values, 5)),
        sd_mm_yr=_median(velocity.sd_mm_yr, usable),
        n_epochs=int(np.median(velocity.n_epochs.ravel()[usable])),
        correlation=velocity.correlation,
        level_now=reading.level_now,
        level_held=reading.level_held,
        wide=bool(core.size and np.mean(window.wide.ravel()[core]) > 0.5),
        walk_mm_yr=_median(velocity.walk_mm_yr, usable),
        judged_walk_mm_yr=_median(velocity.walk_mm_yr, core),
    )


def _median(field: NDArray[np.floating], pixels: NDArray[np.int64]) -> float:
    return float(np.median(field.ravel()[pixels])) if pixels.size else float("nan")


def levels_of(proved_mm_yr: float, possible_mm_yr: float, noise_mm_yr: float, rules: AlertRules) -> Reading:
    """The levels that a zone's velocity is beyond, and those that it has not clearly left.

    A level T is left above -(T - max(deadband, 2 deviations)); ``proved`` counts significant pixels only (NaN if
    there are too few), ``possible`` all with data.
    """
    now = sum(proved_mm_yr < level for level in rules.levels_mm_yr)
    held = sum(possible_mm_yr <= level + _deadband(level, noise_mm_yr, rules) for level in rules.levels_mm_yr)
    return Reading(now, max(now, held))


def _deadband(level_mm_yr: float, sd_mm_yr: float, rules: AlertRules) -> float:
    """How far a contrast of that noise must rise above a level before the level counts as left."""
    wanted = max(rules.deadband_mm_yr, 2 * sd_mm_yr)
    return min(wanted, _WIDEST_DEADBAND * -level_mm_yr)
