"""The stage of movement of every point.

One pixel is too noisy to prove a cut in its history. So a zone's median proves them (`stages.movement`), every pixel of
the zone is fitted with the zone's cuts, and its own rates name its own stage: the middle of a trough may be decaying
while its advancing edge begins. A pixel in no zone has the straight line of the whole record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.domain.stages import (
    INITIATION_DAYS,
    RESIDUAL_SHARE,
    SLOWEST_MM_YR,
    Movement,
    Stage,
    confidence_of_motion,
    confidence_of_rest,
    movement,
)
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zone_series import DAYS_PER_YEAR, ZoneSeries, surroundings_mm, zone_series

STAGES = cast("tuple[Stage, ...]", get_args(Stage))
_CODE = {stage: code for code, stage in enumerate(STAGES)}
_CANNOT_TELL = _CODE["cannot tell"]


@dataclass(frozen=True, eq=False)
class PointStages:
    """Arrays of shape (rows, columns): number in `STAGES`; day since when, as `date.toordinal` (0: not known); and
    confidence, 0 to 1, NaN where it cannot be told."""

    stage: NDArray[np.uint8]
    since: NDArray[np.int32]
    confidence: NDArray[np.float32]


def point_stages(
    dates: Sequence[date],
    los_m: NDArray[np.floating],
    whole: WindowVelocity,
    has_data: NDArray[np.bool_],
    zone_index: NDArray[np.integer],
    grid: Grid,
    ring_m: float,
) -> PointStages:
    """Name the stage of every pixel at the newest acquisition.

    Parameters
    ----------
    los_m
        Shape (n_epochs, rows, columns), metres, negative away from the satellite; NaN is no data.
    has_data
        Shape (rows, columns): observed and reliable; elsewhere nothing is told.
    zone_index
        Shape (rows, columns): number of the pixel's zone, -1 outside.
    """
    found = _outside(dates, whole, has_data)
    flat = los_m.reshape(len(dates), -1)
    background = has_data & (zone_index < 0)
    for number in np.unique(zone_index[zone_index >= 0]).tolist():
        pixels = np.flatnonzero((zone_index == number).ravel() & has_data.ravel())
        series = (
            zone_series(pixels, dates, los_m, background, grid, ring_m, whole.correlation)
            if pixels.size
            else None
        )
        if series is None:
            continue
        quiet_mm = surroundings_mm(pixels, dates, los_m, background, grid, ring_m)
        los_mm = flat[:, pixels].astype(np.float64) * 1000 - quiet_mm[:, None]
        stage, since, confidence = _inside(dates, los_mm, series, movement(series))
        found.stage.ravel()[pixels] = stage
        found.since.ravel()[pixels] = since
        found.confidence.ravel()[pixels] = confidence
    return found


def _outside(dates: Sequence[date], whole: WindowVelocity, has_data: NDArray[np.bool_]) -> PointStages:
    """Straight lines: moving, stable, or too noisy to tell."""
    velocity, sd = whole.velocity_mm_yr, whole.sd_mm_yr
    with np.errstate(invalid="ignore"):
        moving = np.abs(velocity) > np.maximum(SLOWEST_MM_YR, 2 * sd)
        known = has_data & whole.valid & (moving | (sd <= SLOWEST_MM_YR))
    stage = np.where(moving, _CODE["linear"], _CODE["stable"])
    confidence = np.where(moving, confidence_of_motion(velocity, sd), confidence_of_rest(velocity, sd))
    return PointStages(
        np.where(known, stage, _CANNOT_TELL).astype(np.uint8),
        np.where(known, dates[0].toordinal(), 0).astype(np.int32),
        np.where(known, confidence, np.nan).astype(np.float32),
    )


def _inside(
    dates: Sequence[date], los_mm: NDArray[np.float64], series: ZoneSeries, zone: Movement
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
    """Stage, day and confidence of each column of ``los_mm`` (n_epochs, n_points), by the zone's cuts."""
    n = los_mm.shape[1]
    stage = np.full(n, _CANNOT_TELL, dtype=np.uint8)
    since, confidence = np.zeros(n, dtype=np.int32), np.full(n, np.nan, dtype=np.float32)
    if not zone.pieces:
        return stage, since, confidence
    begins = [piece.begin for piece in zone.pieces]
    ends = np.array([*(day.toordinal() for day in begins), dates[-1].toordinal()])
    years = np.array([day.toordinal() for day in dates]) / DAYS_PER_YEAR
    cuts = ends[1:-1] / DAYS_PER_YEAR
    design = np.column_stack(
        [np.ones(years.size), years - years[-1], *(np.clip(years - cut, 0, None) for cut in cuts)]
    )
    known = np.isfinite(los_mm)
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        rows, columns = patterns[:, number], np.flatnonzero(member.ravel() == number)
        part = design[rows]
        freedom = int(rows.sum()) - part.shape[1]
        if freedom < 3 or np.linalg.matrix_rank(part) < part.shape[1]:
            continue
        values = los_mm[np.ix_(rows, columns)]
        fitted, *_ = np.linalg.lstsq(part, values, rcond=None)
        noise = np.sqrt(np.sum((values - part @ fitted) ** 2, axis=0) / freedom) * series.inflation
        rates = np.cumsum(fitted[1:], axis=0)
        spreads = [
            _spread(years[rows], begin / DAYS_PER_YEAR, end / DAYS_PER_YEAR)
            for begin, end in pairwise(ends.tolist())
        ]
        sds = noise[None, :] / np.array(spreads)[:, None]
        stage[columns], sure = _name(rates, sds, int(ends[-1] - ends[-2]))
        confidence[columns] = np.minimum(sure, zone.confidence)
        since[columns] = begins[-1].toordinal()
    return stage, since, confidence


def _spread(years: NDArray[np.float64], begin: float, end: float) -> float:
    part = years[(years >= begin - 1e-9) & (years <= end + 1e-9)]
    return max(float(np.sqrt(np.sum((part - part.mean()) ** 2))), 1e-6) if part.size else 1e-6


def _name(
    rates: NDArray[np.float64], sds: NDArray[np.float64], days_of_last: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The stages that `stages.movement` would name; both arguments of shape (n_pieces, n_points)."""
    moving = np.abs(rates) > np.maximum(SLOWEST_MM_YR, 2 * sds)
    last = np.abs(rates[-1])
    earlier = moving[:-1].any(axis=0) if len(rates) > 1 else np.zeros(rates.shape[1], bool)
    fastest = np.where(moving[:-1], np.abs(rates[:-1]), 0).max(axis=0, initial=0)
    before = np.abs(rates[-2]) if len(rates) > 1 else last
    resting = ~moving[-1] | (earlier & (last < RESIDUAL_SHARE * fastest))
    begun = "initiation" if days_of_last <= INITIATION_DAYS else "linear"
    code = np.select(
        [
            resting & earlier,
            resting,
            ~earlier & (len(rates) > 1),
            np.full(last.shape, len(rates) == 1),
            last > before,
        ],
        [
            _CODE["residual"],
            _CODE["stable"],
            _CODE[cast("Stage", begun)],
            _CODE["linear"],
            _CODE["acceleration"],
        ],
        default=_CODE["decay"],
    ).astype(np.uint8)
    sure = np.where(
        moving[-1], confidence_of_motion(rates[-1], sds[-1]), confidence_of_rest(rates[-1], sds[-1])
    )
    return code, sure
