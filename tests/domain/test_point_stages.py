"""The stage of every point, from the cuts of its zone and its own rates."""

from __future__ import annotations

from datetime import date

import numpy as np

from sagwatch.domain.point_stages import STAGES, PointStages, point_stages
from sagwatch.domain.windows import WindowVelocity
from tests.domain.moving_ground import DAYS_BETWEEN, PIXEL_M, days_of, grid_of

SHAPE = (24, 24)
EPOCHS = 70
STEP_YR = DAYS_BETWEEN / 365.25


def staged(los_mm: np.ndarray, zone: np.ndarray, rate: float = 0.0, sd: float = 2.0) -> PointStages:
    rng = np.random.default_rng(4)
    los_mm = los_mm + rng.normal(0, 1.0, los_mm.shape)
    velocity = np.full(SHAPE, rate, np.float32)
    deviation = np.full(SHAPE, sd, np.float32)
    whole = WindowVelocity(0, velocity, deviation, deviation, np.full(SHAPE, EPOCHS, np.uint16), 0.1)
    return point_stages(
        tuple(days_of(EPOCHS)),
        (los_mm / 1000).astype(np.float32),
        whole,
        np.ones(SHAPE, bool),
        zone,
        grid_of(SHAPE),
        10 * PIXEL_M,
    )


def ramp(rates: list[tuple[int, float]]) -> np.ndarray:
    """Displacement in mm at each epoch: from each epoch on a rate in mm/yr."""
    rate = np.zeros(EPOCHS)
    for first, value in rates:
        rate[first:] = value
    return np.concatenate([[0.0], np.cumsum(rate[:-1] * STEP_YR)])


def test_the_points_of_one_zone_may_be_in_different_stages_since_the_same_day():
    zone = np.full(SHAPE, -1)
    zone[8:14, 8:14] = 0
    los_mm = np.zeros((EPOCHS, *SHAPE))
    los_mm[:, 8:14, 8:12] += ramp([(20, -300), (50, -80)])[:, None, None]  # the trough, most of it: decaying
    los_mm[:, 8:14, 12] += ramp([(20, -300), (50, 0)])[:, None]  # stopped
    los_mm[:, 8:14, 13] += ramp([(20, -40), (50, -200)])[:, None]  # faster at last

    found = staged(los_mm, zone)

    assert STAGES[found.stage[10, 9]] == "decay"
    assert STAGES[found.stage[10, 12]] == "residual"
    assert STAGES[found.stage[10, 13]] == "acceleration"
    since = date.fromordinal(int(found.since[10, 9]))
    assert abs((since - days_of(EPOCHS)[50]).days) <= 4 * DAYS_BETWEEN
    assert found.since[10, 9] == found.since[10, 13]
    assert found.confidence[10, 9] > 0.95


def test_outside_zones_a_point_is_stable_moving_or_too_noisy_to_tell():
    nowhere = np.full(SHAPE, -1)
    flat = np.zeros((EPOCHS, *SHAPE))

    told = {
        (rate, sd): STAGES[staged(flat, nowhere, rate, sd).stage[5, 5]]
        for rate, sd in ((1.0, 2.0), (-25.0, 3.0), (-25.0, 20.0), (12.0, 1.0))
    }

    assert told == {
        (1.0, 2.0): "stable",
        (-25.0, 3.0): "linear",
        (-25.0, 20.0): "cannot tell",
        (12.0, 1.0): "linear",
    }
    unknown = staged(flat, nowhere, -25.0, 20.0)
    assert unknown.since[5, 5] == 0
    assert np.isnan(unknown.confidence[5, 5])
    assert staged(flat, nowhere, 1.0, 2.0).confidence[5, 5] > 0.99


def test_a_point_without_an_epoch_is_named_from_the_others():
    zone = np.full(SHAPE, -1)
    zone[8:14, 8:14] = 0
    los_mm = np.zeros((EPOCHS, *SHAPE))
    los_mm[:, 8:14, 8:14] += ramp([(20, -300), (50, -80)])[:, None, None]
    los_mm[30:34, 10, 10] = np.nan
    los_mm[3:, 11, 11] = np.nan  # nearly nothing

    found = staged(los_mm, zone)

    assert STAGES[found.stage[10, 10]] == "decay"
    assert STAGES[found.stage[11, 11]] == "cannot tell"
