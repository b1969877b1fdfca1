"""The accuracy benchmark: its scores give invented errors back, and its short form runs."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy_mine import TUNING_SEED, SeenMine, Span, scenario_of
from benchmarks.accuracy_mintpy import MintPyChain
from benchmarks.accuracy_scores import (
    QUARTER_WAVELENGTH_M,
    coverage,
    find_trough,
    flagged_share,
    reach,
    referenced,
    score_stable,
    score_trough,
    stable_ground,
)
from benchmarks.accuracy_weather import weather_hour, write_weather
from sagwatch.engine.interferogram import read_attributes

DATES = tuple(date(2020, 1, 1) + timedelta(days=12 * n) for n in range(40))
YEARS = np.array([(day - DATES[0]).days / 365.25 for day in DATES])
TINY = Span(date(2019, 10, 1), date(2020, 12, 31), box=(110.855, 37.432, 110.872, 37.445))


def bowl(side: int, centre: int, sigma: float) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((rows - centre) ** 2 + (columns - centre) ** 2) / (2 * sigma**2))


def test_displacements_refer_to_the_reference_pixel_and_the_first_epoch():
    los_m = np.random.default_rng(1).normal(size=(5, 4, 4)).astype(np.float32)

    own = referenced(los_m + 3.0, (1, 2))

    assert np.all(own[0] == 0)
    np.testing.assert_allclose(own[:, 1, 2], 0, atol=1e-7)
    np.testing.assert_allclose(
        own[3, 0, 0], los_m[3, 0, 0] - los_m[3, 1, 2] - los_m[0, 0, 0] + los_m[0, 1, 2], atol=1e-6
    )


def test_an_invented_error_of_displacement_and_velocity_comes_back():
    truth_m = np.zeros((40, 6, 6), np.float32)
    drift_mm_yr, offset_mm = 3.0, 4.0
    error_m = (drift_mm_yr * YEARS / 1000)[:, None, None] * np.ones((6, 6))
    error_m[1:] += offset_mm / 1000

    drift = score_stable(
        (drift_mm_yr * YEARS / 1000)[:, None, None] * np.ones((6, 6), np.float32),
        truth_m,
        DATES,
        np.ones((6, 6), bool),
        [39],
    )
    both = score_stable(error_m, truth_m, DATES, np.ones((6, 6), bool), [39])

    assert drift.velocity_rmse_mm_yr == pytest.approx(drift_mm_yr, rel=5e-3)  # MintPy's years
    assert drift.velocity_365d_rmse_mm_yr == pytest.approx(drift_mm_yr, rel=1e-4)
    assert drift.displacement_rmse_mm == pytest.approx(drift_mm_yr * np.sqrt(np.mean(YEARS**2)), rel=1e-4)
    assert both.displacement_rmse_mm > both.displacement_rmse_about_mean_mm


def test_ground_that_once_moved_faster_than_1_mm_a_year_is_not_stable():
    truth_m = np.zeros((40, 2, 2))
    truth_m[20:, 0, 0] = 0.0005  # half a millimetre in twelve days, and never again
    truth_m[:, 1, 1] = 0.0009 * YEARS

    assert stable_ground(truth_m, DATES).tolist() == [[False, True], [True, True]]


def test_a_flat_bottom_behind_steep_walls_cannot_be_observed():
    truth_m = np.zeros((3, 20, 20))
    truth_m[1, 5:15, 5:15] = -1.1 * QUARTER_WAVELENGTH_M
    truth_m[2] = truth_m[1]

    found = reach(truth_m, (0, 0))

    assert not found.observable[5:15, 5:15].any()
    assert not found.steep[8:12, 8:12].any()
    assert found.steep[4, 8]
    assert found.observable[3, 8]
    assert reach(0.9 * truth_m, (0, 0)).observable.all()


def test_a_trough_is_measured_at_its_fastest_observable_pixel_in_its_fastest_year():
    sinking = np.clip(YEARS - 0.2, 0, 0.9)
    own_m = -(0.15 * sinking)[:, None, None] * bowl(41, 20, 4.0)
    ends = (31, 39)

    trough = find_trough("bowl", own_m, own_m, DATES, (0, 0), ends)

    assert trough is not None
    assert (trough.pixel, trough.end) == ((20, 20), 31)
    assert trough.true_mm_yr == pytest.approx(-150, rel=0.1)
    found = score_trough(trough, 0.9 * own_m, own_m, DATES)
    assert found["error_mm_yr"] == pytest.approx(0.1 * -trough.true_mm_yr, rel=1e-3)
    assert found["error_percent"] == pytest.approx(-10, rel=1e-3)
    assert not found["within_goal"]
    assert score_trough(trough, 0.96 * own_m, own_m, DATES)["within_goal"]


def test_the_centre_of_a_trough_that_is_too_fast_is_left_to_the_flags():
    own_m = -(8.0 * YEARS)[:, None, None] * bowl(41, 20, 4.0)

    trough = find_trough("bowl", own_m, own_m, DATES, (0, 0), (39,))

    assert trough is not None
    assert not trough.observable[20, 20]
    assert trough.deepest_true_mm_yr < 3 * trough.true_mm_yr
    flagged = np.zeros((2, 2), bool)
    flagged[0] = True
    assert flagged_share(flagged, np.array([[True, True], [True, False]])) == pytest.approx(2 / 3)


def test_coverage_counts_the_intervals_that_hold_the_truth():
    errors = np.random.default_rng(1).normal(0, 2.0, (300, 300))

    share = coverage(errors, np.full_like(errors, 2.0), np.zeros_like(errors), np.ones(errors.shape, bool))

    assert share == pytest.approx(0.95, abs=0.005)
    assert (
        coverage(errors, np.full_like(errors, 1.0), np.zeros_like(errors), np.ones(errors.shape, bool)) < 0.7
    )


def test_the_seed_of_the_tuned_scenario_is_refused_and_a_disturbance_can_be_taken_away():
    with pytest.raises(ValueError, match="tuned with"):
        scenario_of(TUNING_SEED)
    with pytest.raises(ValueError, match="no disturbance 'rain'"):
        scenario_of(5, ["rain"])

    calm = SeenMine(scenario_of(5, ["turbulence", "weather"]), TINY)

    assert not calm.disturbance_m("turbulent", calm.dates[:3]).any()
    assert not calm.disturbance_m("stratified", calm.dates[:3]).any()
    assert calm.disturbance_m("ionospheric", calm.dates[:3]).any()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The command on a tiny mine without weather, whose files cost MintPy a second each; and what it left."""
    folder = tmp_path_factory.mktemp("accuracy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accuracy, "SMALL", TINY)
        words = ["--json", str(folder / "figures.json"), "--seed", "5", "--small", "--without", "weather"]
        assert accuracy.main([*words, "--keep", str(folder / "kept")]) == 0
    return json.loads((folder / "figures.json").read_text()), folder / "kept"


def test_the_short_form_measures_both_chains_on_the_same_interferograms(
    measured: tuple[dict[str, Any], Path],
) -> None:
    found, _ = measured

    for key in accuracy.REQUIRED:
        assert isinstance(found[key], float), key
        assert isinstance(found[f"{key}_mintpy"], float), key
    assert (found["seed"], found["without"]) == (5, ["weather"])
    assert found["epochs"] > 30
    assert found["interferograms"] > 60
    # Without corrections the two are one solution.
    ours, theirs = found["sagwatch"]["none"], found["mintpy"]["none"]
    for key in ("stable_displacement_rmse_mm", "stable_velocity_rmse_mm_yr", "trough_maximum_error_mm_yr"):
        assert ours[key] == pytest.approx(theirs[key], abs=0.01), key
    assert 0.9 < found["storage_saving_fraction"] < 1
    # The budget's largest part is what the scenario says of it, and no part is more than the whole.
    assert found["error_budget"]["turbulent"]["displacement_rmse_mm"] < ours["stable_displacement_rmse_mm"]
    assert found["error_budget"]["stratified"]["displacement_rmse_mm"] == 0


def test_mintpy_reads_the_simulated_weather_and_gives_the_true_stratified_delay(
    measured: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    mine, chain = SeenMine(scenario_of(5), TINY), MintPyChain(measured[1] / "mintpy")
    days = (mine.dates[2], mine.dates[20])
    attributes = read_attributes(chain.folder / "timeseries.h5")
    weather = write_weather(mine.scenario, days, attributes, tmp_path)

    delay_m = chain.delays_of(days, weather_hour(attributes), weather, "inputs/two.h5")

    row, column = measured[0]["reference"]["row"], measured[0]["reference"]["column"]
    true_m = mine.disturbance_m("stratified", days)
    error_mm = 1000 * (referenced(delay_m, (row, column)) - referenced(true_m, (row, column)))[1]
    assert np.std(1000 * referenced(true_m, (row, column))[1]) > 0.3
    assert np.sqrt(np.mean(error_mm**2)) < 0.3 * np.std(1000 * referenced(true_m, (row, column))[1])
