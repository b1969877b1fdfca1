"""A zone's own history: trend, acceleration, displacement, stages, and whether the reference moved."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagwatch.domain.datum import common_mode_mm, datum_motion
from sagwatch.domain.grid import Grid
from sagwatch.domain.stages import movement
from sagwatch.domain.zone_series import (
    ZoneSeries,
    acceleration,
    moved_since,
    trend_change,
    zone_series,
)

DAY = date(2020, 1, 1)
STEP_YR = 12 / 365.25


def series_of(rates_mm_yr: list[tuple[int, float]], noise_mm: float = 1.0, seed: int = 1) -> ZoneSeries:
    """A history of pieces (epochs, rate) with white noise."""
    rng = np.random.default_rng(seed)
    rates = np.concatenate([np.full(n, rate) for n, rate in rates_mm_yr])
    los_mm = np.concatenate([[0.0], np.cumsum(rates * STEP_YR)])
    dates = tuple(DAY + timedelta(days=12 * i) for i in range(los_mm.size))
    return ZoneSeries(dates, los_mm + rng.normal(0, noise_mm, los_mm.size), 0.0)


@pytest.mark.parametrize(
    ("pieces", "stage"),
    [
        ([(60, 0.0)], "stable"),
        ([(60, -80.0)], "linear"),
        ([(45, 0.0), (10, -150.0)], "initiation"),
        ([(30, 0.0), (30, -80.0), (12, -300.0)], "acceleration"),
        ([(30, 0.0), (25, -300.0), (14, -120.0)], "decay"),
        ([(20, 0.0), (25, -300.0), (20, -15.0)], "residual"),
        ([(20, 0.0), (25, -300.0), (20, 0.0)], "residual"),
        ([(20, 0.0), (45, -100.0)], "linear"),
        ([(4, -100.0)], "cannot tell"),
    ],
)
def test_the_stage_of_an_invented_history_is_found(pieces, stage):
    assert movement(series_of(pieces)).stage == stage


def test_a_stage_begins_where_the_history_bends_and_says_how_sure_it_is():
    found = movement(series_of([(40, 0.0), (14, -200.0)]))

    assert abs((found.since - (DAY + timedelta(days=480))).days) <= 24
    assert found.confidence > 0.999
    assert found.pieces[-1].rate_mm_yr == pytest.approx(-200, abs=15)
    assert "initiation" in found.words
    assert "confidence" in found.words
    assert "against its surroundings" in found.rate_words


def test_a_noisy_history_that_proves_no_motion_is_not_surely_stable():
    quiet, noisy = (movement(series_of([(14, 0.0)], noise, 3)) for noise in (0.5, 15.0))

    assert (quiet.stage, noisy.stage) == ("stable", "stable")
    assert quiet.confidence > 0.95
    assert noisy.confidence < 0.5


def test_noise_alone_hardly_ever_bends_a_history():
    bent = sum(len(movement(series_of([(80, -60.0)], 4.0, seed)).pieces) > 1 for seed in range(60))

    assert bent <= 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-400, 400), st.integers(6, 70))
def test_every_history_has_one_stage_and_pieces_that_join(seed, rate, epochs):
    found = movement(series_of([(epochs, rate)], 3.0, seed))

    assert all(one.end == other.begin for one, other in zip(found.pieces, found.pieces[1:], strict=False))
    assert found.stage in (
        "stable",
        "initiation",
        "acceleration",
        "linear",
        "decay",
        "residual",
        "cannot tell",
    )


def test_a_change_of_trend_is_measured_with_its_deviation():
    inside = 0
    for seed in range(80):
        found = trend_change(series_of([(30, -60.0), (12, -120.0)], 3.0, seed), 144, 8)
        assert found is not None
        inside += abs(found.change_mm_yr + 60) < 2.1 * found.sd_mm_yr
    assert inside >= 0.85 * 80
    assert trend_change(series_of([(10, -60.0)]), 150, 8) is None


def test_correlated_noise_makes_a_change_less_sure():
    plain = series_of([(30, -60.0), (12, -120.0)], 3.0)
    correlated = ZoneSeries(plain.dates, plain.los_mm, 0.6)

    assert trend_change(correlated, 150, 8).sd_mm_yr == pytest.approx(
        2 * trend_change(plain, 150, 8).sd_mm_yr
    )


def test_acceleration_needs_three_faster_windows_and_a_proved_bend():
    faster = acceleration(series_of([(10, -40.0), (10, -120.0), (10, -260.0)]), 4)
    steady = acceleration(series_of([(31, -120.0)], 3.0), 4)
    slower = acceleration(series_of([(10, -260.0), (10, -120.0), (10, -40.0)]), 4)

    assert faster.faster_each_time
    assert faster.probability < 0.01
    assert faster.curvature_mm_yr2 < 0
    assert list(faster.inverse_velocity_yr_per_m) == sorted(faster.inverse_velocity_yr_per_m, reverse=True)
    assert steady.probability > 0.01 or not steady.faster_each_time
    assert not slower.faster_each_time
    assert acceleration(series_of([(12, -40.0)]), 4) is None


def test_displacement_counts_from_the_baseline_and_its_bound_errs_towards_less():
    series = series_of([(30, -100.0), (30, -100.0)], 2.0)

    whole = moved_since(series, None)
    half = moved_since(series, DAY + timedelta(days=360))

    assert whole.los_mm == pytest.approx(-100 * 58 * STEP_YR, abs=6)
    assert half.los_mm == pytest.approx(-100 * 28 * STEP_YR, abs=6)
    assert whole.los_mm < whole.upper_mm < 0
    assert moved_since(series_of([(3, -100.0)]), None) is None


def test_what_zone_and_surroundings_share_is_no_motion_of_the_zone():
    rng = np.random.default_rng(3)
    grid = Grid(epsg=32649, west=400_000, north=4_140_000, pixel_m=80, columns=40, rows=40)
    dates = [DAY + timedelta(days=12 * i) for i in range(20)]
    los_mm = rng.normal(0, 20, 20)[:, None, None] + rng.normal(0, 1, (20, 40, 40))
    zone = (np.arange(18, 22)[:, None] * 40 + np.arange(18, 22)[None, :]).ravel()
    los_mm.reshape(20, -1)[:, zone] -= np.linspace(0, 50, 20)[:, None]
    quiet = np.ones((40, 40), bool)

    found = zone_series(zone, dates, los_mm / 1000, quiet, grid, 2900, 0.0)

    assert found.los_mm[-1] == pytest.approx(-50, abs=3)
    assert np.abs(np.diff(found.los_mm) + 50 / 19).max() < 4
    holes = los_mm.copy()
    holes[5] = np.nan
    assert len(zone_series(zone, dates, holes / 1000, quiet, grid, 2900, 0.0).dates) == 19


def common(noise_mm: float, seed: int, step_mm: float = 0.0, drift_mm_yr: float = 0.0) -> np.ndarray:
    """A year of what the quiet ground shares."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, noise_mm, len(DAYS)) + drift_mm_yr * np.arange(len(DAYS)) * STEP_YR
    values[-2:] += step_mm
    return values


DAYS = [DAY + timedelta(days=12 * i) for i in range(31)]


def test_a_reference_that_jumps_or_drifts_is_told_from_noise():
    assert datum_motion(DAYS, common(2.0, 1, step_mm=20)).kind == "step"
    assert datum_motion(DAYS, common(2.0, 1, step_mm=-20)).amount == pytest.approx(-20, abs=4)
    assert datum_motion(DAYS, common(2.0, 2, drift_mm_yr=-20)).kind == "drift"
    assert datum_motion(DAYS[:15], common(0.5, 2, drift_mm_yr=-20)[:15]) is None, (
        "a drift needs most of a year"
    )
    old_step = common(2.0, 3)
    old_step[15:] += 20
    assert datum_motion(DAYS, old_step) is None, "a step of the past is no drift"
    false = sum(datum_motion(DAYS, common(8.0, seed)) is not None for seed in range(400))
    assert false <= 5
    assert datum_motion(DAYS[:8], common(2.0, 1, step_mm=20)[:8]) is None


@pytest.mark.parametrize("pause_days", [6, 12, 24])
def test_a_season_is_no_drift_and_a_reference_that_begins_to_sink_is_found_within_half_a_year(pause_days):
    """Air between a reference and ground of another height has a season of some millimetres."""
    days = [DAY + timedelta(days=pause_days * i) for i in range(1000 // pause_days)]
    year = np.array([(day - DAY).days for day in days]) / 365.25
    quiet = np.ones((2, 2), bool)
    false = found = late = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        season = 8 * np.sin(2 * np.pi * (year + rng.random())) + rng.normal(0, 2, year.size)
        sinking = season + 80 * np.clip(year - 1.5, 0, None)
        for last in range(int(np.searchsorted(year, 1.0)), year.size):
            if year[last] > 2.6:
                break
            seen = days[: last + 1]
            motions = []
            for values in (season, sinking):
                los_m = np.broadcast_to(values[: last + 1, None, None] / 1000, (last + 1, 2, 2))
                common_mm = common_mode_mm(seen, los_m, quiet)
                motions.append(datum_motion(seen[-common_mm.size :], common_mm))
            false += motions[0] is not None
            if year[last] > 2.0:
                found, late = found + (motions[1] is not None), late + 1

    assert false <= 2
    assert found >= 0.9 * late


def test_the_common_mode_is_that_of_quiet_ground_only():
    los_m = np.zeros((15, 10, 10))
    los_m[:, :, :5] = -np.linspace(0, 1, 15)[:, None, None]
    quiet = np.zeros((10, 10), bool)
    quiet[:, 5:] = True

    assert np.allclose(common_mode_mm(DAYS[:15], los_m, quiet), 0)
    assert common_mode_mm(DAYS[:15], los_m, quiet).shape == (15,)
    days = [DAY + timedelta(days=6 * i) for i in range(90)]
    long_m = np.concatenate([los_m] * 6)
    assert common_mode_mm(days, long_m, quiet).shape == (63,), "a year"
    assert common_mode_mm(days[::2], long_m[::2], quiet).shape == (32,)
    assert common_mode_mm(days[::3], long_m[::3], quiet).shape == (30,), "all"
    assert np.isnan(common_mode_mm(DAYS[:15], los_m, np.zeros((10, 10), bool))).all()
