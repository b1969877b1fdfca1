"""95 of 100 intervals of published velocities hold the truth: white air, and the walk of decorrelation."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.windows import WindowVelocity
from sagwatch.engine.solve import InversionSettings, Network, Observations, solve
from sagwatch.steps.judge import Solution, ground_view

SHAPE = (60, 80)
SETTINGS = InversionSettings(0.05546576, looks=41)
RULES = AlertRules()
TRUE_MM_YR = -12.0
#: Three standard errors of a share of 4,800 pixels.
WITHIN = 0.0095


def acquisitions() -> np.ndarray:
    """Days of four years: a platform more for a while, single ones missing, a pause of 72 days."""
    steps = np.full(110, 12)
    steps[[9, 31, 32, 70, 103]] = 24
    steps[40:54] = 6
    steps[60] = 72
    return np.concatenate([[0], np.cumsum(steps)])


def solved(air_mm: float, noise_rad: float) -> Solution:
    """Ground that moves evenly, seen through air (white in time) and by pairs with noise of their own."""
    rng = np.random.default_rng(20)
    days = acquisitions()
    pairs = np.array([(i, j) for i in range(days.size) for j in (i + 1, i + 2) if j < days.size])
    network = Network(days, *pairs.T)
    pixels = SHAPE[0] * SHAPE[1]
    seen_m = TRUE_MM_YR / 1000 * days[:, None] / 365.25 + rng.normal(0, air_mm / 1000, (days.size, pixels))
    phase = (seen_m[network.later] - seen_m[network.earlier]) / SETTINGS.metres_per_radian
    phase += 3 + rng.normal(0, noise_rad, phase.shape)
    phase[rng.random(phase.shape) < 0.02] = np.nan
    given = Observations(
        network,
        phase.astype(np.float32),
        np.full(phase.shape, 0.6, np.float32),
        np.full(network.n_pairs, 3, np.float32),
    )
    found = solve(given, SETTINGS)
    dates = tuple(date(2021, 3, 5) + timedelta(int(day)) for day in days)
    return Solution(
        dates,
        found.los_m.reshape(-1, *SHAPE),
        found.temporal_coherence.reshape(SHAPE),
        (found.pairs_per_epoch > 0).reshape(-1, *SHAPE),
        pairs=tuple((dates[i], dates[j]) for i, j in pairs),
    )


def coverage(solution: Solution) -> dict[int, float]:
    """Share of the pixels whose interval holds the truth, by days of the window."""
    view = ground_view(solution.dates[-1], solution, RULES, 0.7, 80.0)
    return {window.days: _share(window) for window in (*view.windows, view.whole)}


def _share(window: WindowVelocity) -> float:
    half = window.half_interval(0.975)
    return float(np.mean(np.abs(window.velocity_mm_yr - TRUE_MM_YR) <= half))


@pytest.mark.parametrize(("air_mm", "noise_rad"), [(5.0, 0.0001), (5.0, 0.1), (5.0, 0.2)])
def test_95_of_100_intervals_hold_the_truth_in_every_window(air_mm, noise_rad):
    for days, share in coverage(solved(air_mm, noise_rad)).items():
        assert share == pytest.approx(0.95, abs=WITHIN), days


@pytest.mark.parametrize(("air_mm", "noise_rad"), [(5.0, 0.4), (1.0, 0.3)])
def test_where_little_but_the_walk_is_left_they_still_hold_about_95(air_mm, noise_rad):
    """The walk's own scatter about the line counts twice; a pixel's missing pairs are not counted."""
    for days, share in coverage(solved(air_mm, noise_rad)).items():
        assert share == pytest.approx(0.95, abs=0.02), days


def test_without_the_walk_the_intervals_are_far_too_narrow():
    solution = solved(5.0, 0.4)

    shares = coverage(dataclasses.replace(solution, pairs=()))

    assert shares[0] < 0.7
    assert shares[365] < 0.9
    assert shares[150] < 0.93


def test_velocities_and_mintpys_deviation_do_not_depend_on_it():
    solution = solved(5.0, 0.3)

    views = [
        ground_view(solution.dates[-1], one, RULES, 0.7, 80.0)
        for one in (solution, dataclasses.replace(solution, pairs=()))
    ]

    for with_walk, without in zip(
        *[(*view.windows, view.whole) for view in views],
        strict=True,
    ):
        np.testing.assert_array_equal(with_walk.velocity_mm_yr, without.velocity_mm_yr)
        np.testing.assert_array_equal(with_walk.sd_white_mm_yr, without.sd_white_mm_yr)
        assert np.all(with_walk.sd_mm_yr > without.sd_mm_yr)
        assert with_walk.correlation == without.correlation
        if with_walk.sd_local_mm_yr is not None:
            assert np.all(with_walk.contrast_sd_mm_yr > without.contrast_sd_mm_yr)
