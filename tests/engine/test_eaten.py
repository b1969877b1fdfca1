"""What corrections would take of a trough is foretold, and is what they take."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.engine.corrections import LEAST_TOPOGRAPHY_EPOCHS, CorrectionSettings, Scene, estimate
from sagwatch.engine.eaten import (
    MOST_EATEN_BY_RAMP,
    MOST_EATEN_BY_TOPOGRAPHY,
    eaten_by_ramp,
    eaten_by_topography,
    taken_by_ramp,
)
from sagwatch.engine.velocity import fit_line

SHAPE, PIXEL_M, TROUGH_M = (60, 70), 80.0, 300.0
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]]
PEAK = (40, 48)
BOWL = np.exp(-((ROWS - PEAK[0]) ** 2 + (COLUMNS - PEAK[1]) ** 2) / (2 * (TROUGH_M / PIXEL_M) ** 2))
DAYS = [date(2020, 1, 4) + timedelta(days=12 * i) for i in range(60)]
YEARS = np.array([(day - DAYS[0]).days for day in DAYS]) / 365.25


def scene(steady: np.ndarray) -> Scene:
    flat = np.ones(SHAPE)
    return Scene(900 * flat, 41 * flat, 850e3 * flat, steady, 6, 7)


def lost(steady: np.ndarray, kind: str, refer_to: str) -> float:
    """Share of the trough that the correction itself takes at its maximum."""
    ground = scene(steady)
    los_m = np.stack([0 * BOWL, -0.4 * (BOWL - BOWL[ground.row, ground.column])]).astype(np.float32)
    found = estimate(
        DAYS[:2],
        los_m,
        lambda *_: None,
        np.zeros(2),
        ground,
        CorrectionSettings(ramp=kind, refer_to=refer_to),
    )
    return 1.0 - float(found[1][1][PEAK] / los_m[1][PEAK])


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
@pytest.mark.parametrize("left_out_m", [0, 400, 1200])
@pytest.mark.parametrize("refer_to", ["point", "steady_ground"])
def test_the_share_of_a_ramp_is_what_the_ramp_takes(kind, left_out_m, refer_to):
    steady = np.hypot(ROWS - PEAK[0], COLUMNS - PEAK[1]) * PIXEL_M >= left_out_m
    steady[:, :5] = False

    told = eaten_by_ramp(scene(steady), kind, PIXEL_M, TROUGH_M, refer_to)

    assert told.shape == SHAPE
    assert told[PEAK] == pytest.approx(lost(steady, kind, refer_to), abs=2e-3)
    assert (told[PEAK] < 0.002) == (left_out_m == 1200), "what is left out is not eaten"


def test_a_small_scene_is_warned_of_and_a_large_one_is_not():
    small, large = np.ones((30, 30), np.bool_), np.ones((200, 250), np.bool_)

    def worst(steady: np.ndarray) -> float:
        flat = np.ones(steady.shape)
        ground = Scene(flat, flat, flat, steady, steady.shape[0] // 2, steady.shape[1] // 2)
        return float(eaten_by_ramp(ground, "linear", PIXEL_M).max())

    assert worst(small) > 4 * MOST_EATEN_BY_RAMP
    assert worst(large) < MOST_EATEN_BY_RAMP


def wide_trough(
    rate_m_yr: float, tilt_m: float, kind: str = "linear", refer_to: str = "point"
) -> tuple[np.ndarray, np.ndarray, Scene, np.ndarray]:
    """A trough as wide as the scene, and air that tilts.

    The ramps that are fitted, the velocity that is left, the scene, and the velocity before.
    """
    rng = np.random.default_rng(8)
    wide = np.exp(-((ROWS - 50) ** 2 + (COLUMNS - 60) ** 2) / (2 * 25**2))
    air = rng.normal(0, tilt_m, (60, 1, 1)) * ROWS + rng.normal(0, tilt_m, (60, 1, 1)) * COLUMNS
    los_m = rate_m_yr * YEARS[:, None, None] * wide + air + rng.normal(0, 0.003, (60, *SHAPE))
    los_m -= los_m[0]
    los_m -= los_m[:, 6, 7][:, None, None]
    ground = scene(np.ones(SHAPE, np.bool_))
    settings = CorrectionSettings(ramp=kind, refer_to=refer_to)
    found, left_m = estimate(DAYS, los_m.astype(np.float32), lambda *_: None, np.zeros(60), ground, settings)
    left, whole = (
        fit_line(YEARS, each.reshape(60, -1)).velocity_m_yr.reshape(SHAPE) for each in (left_m, los_m)
    )
    return found.ramp, left, ground, whole


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
@pytest.mark.parametrize("refer_to", ["point", "steady_ground"])
def test_what_a_ramp_has_taken_of_a_wide_trough_shows_in_the_ramps(kind, refer_to):
    ramp, velocity, ground, whole = wide_trough(-0.2, 1e-4, kind, refer_to)

    share = taken_by_ramp(DAYS, ramp, ground, velocity, refer_to)

    # Not of one pixel, whose noise is its own, but of the fastest hundredth.
    fastest = np.argsort(whole.ravel())[: whole.size // 100]
    left = velocity.ravel()[fastest].mean() / whole.ravel()[fastest].mean()
    assert share == pytest.approx(min(1 - left, 1), abs=0.005)
    assert share > 4 * MOST_EATEN_BY_RAMP
    velocity[0, 0] = -3.0
    assert taken_by_ramp(DAYS, ramp, ground, velocity, refer_to) > 2 * MOST_EATEN_BY_RAMP


def test_what_is_too_slow_or_too_young_to_be_called_motion_has_lost_nothing():
    ramp, velocity, ground, _ = wide_trough(-0.012, 0.0)
    assert taken_by_ramp(DAYS, ramp, ground, velocity) == 0.0

    # A motion is 3 cm at least, which 6 cm a year reach in half a year.
    ramp, velocity, ground, _ = wide_trough(-0.06, 0.0)
    assert taken_by_ramp(DAYS[:12], ramp[:12], ground, velocity) == 0.0
    assert taken_by_ramp(DAYS[:24], ramp[:24], ground, velocity) > 0.0


@pytest.mark.parametrize("tilt_m", [0.0, 1e-4, 2e-3])
def test_air_that_comes_and_goes_has_taken_nothing(tilt_m):
    ramp, velocity, ground, _ = wide_trough(0.0, tilt_m)
    assert taken_by_ramp(DAYS, ramp, ground, velocity) == 0.0


def test_nothing_is_said_of_ground_that_nobody_knows_or_of_a_young_record():
    ramp, velocity, ground, _ = wide_trough(-0.2, 0.0)
    assert taken_by_ramp(DAYS, ramp, ground, np.full(SHAPE, np.nan)) == 0.0
    assert taken_by_ramp(DAYS[:7], ramp[:7], ground, velocity) == 0.0
    assert taken_by_ramp(DAYS[:8], ramp[:8], ground, velocity) > 0.0


def test_no_ramp_on_no_ground_eats_nothing():
    assert not eaten_by_ramp(scene(np.zeros(SHAPE, np.bool_)), "quadratic", PIXEL_M).any()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_share_of_a_height_error_is_what_it_takes(order):
    wave = 60 * np.sin(2 * np.pi * YEARS / 1.5)
    sunk = np.array([1 - np.exp(-4 * np.maximum(YEARS - begin, 0)) for begin in YEARS[:-2]])
    flat = np.ones((58, 1))
    los_m = -sunk.T[:, :, None].astype(np.float32)
    ground = Scene(900 * flat, 41 * flat, 850e3 * flat, np.zeros((58, 1), np.bool_), 0, 0)

    told = eaten_by_topography(DAYS, wave, order)

    settings = CorrectionSettings(topography_order=order)
    found, _ = estimate(DAYS, los_m, lambda *_: None, wave, ground, settings)
    taken = max(np.abs(found.topography_m(epoch)).max() for epoch in range(60))
    assert told >= taken - 1e-4
    assert told == pytest.approx(taken, rel=0.5)
    assert told > 0.2, "and of a slow wave it is much"


def test_baselines_by_chance_are_not_warned_of_and_too_few_of_them_take_nothing():
    chance = np.random.default_rng(2).normal(0, 60, 60)
    assert 0.01 < eaten_by_topography(DAYS, chance, 2) < MOST_EATEN_BY_TOPOGRAPHY
    few = LEAST_TOPOGRAPHY_EPOCHS - 1
    assert eaten_by_topography(DAYS[:few], chance[:few], 2) == 0.0


def test_a_wider_trough_loses_more():
    wide = eaten_by_ramp(scene(np.ones(SHAPE, np.bool_)), "linear", PIXEL_M, 2 * TROUGH_M)[PEAK]
    narrow = eaten_by_ramp(scene(np.ones(SHAPE, np.bool_)), "linear", PIXEL_M, TROUGH_M)[PEAK]
    assert 2 < wide / narrow < 4.1, "it grows with the trough's area"
