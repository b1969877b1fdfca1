"""The accuracy benchmark's arithmetic, and that a mine which hides nothing is solved exactly."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from benchmarks.accuracy_mine import DISTURBANCES, TUNING_SEED, TURBULENCE, SeenMine, Span, scenario_of
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
from sagwatch.engine.manifest import ReferencePoint

DATES = [date(2020, 1, 1) + timedelta(days=12 * i) for i in range(61)]
YEARS = np.array([(day - DATES[0]).days for day in DATES])[:, None, None] / 365.25


def bowl(side: int, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side] - side // 2
    return np.exp(-(rows**2 + columns**2) / (2 * radius**2))


def test_the_seed_of_tuning_is_refused():
    with pytest.raises(ValueError, match="the one that the corrections are tuned with"):
        scenario_of(TUNING_SEED)
    assert scenario_of(7).seed == 7


def test_stable_ground_never_moves_not_only_on_the_average():
    truth = np.zeros((61, 2, 2))
    truth[30:, 0, 0] = 0.001  # a step of one millimetre, and nothing else
    assert stable_ground(truth, DATES).tolist() == [[False, True], [True, True]]


def test_a_flat_bottom_behind_steep_walls_is_out_of_reach():
    truth = np.zeros((2, 15, 15))
    truth[1, 5:10, 5:10] = -2 * QUARTER_WAVELENGTH_M
    found = reach(truth, (0, 0))
    assert not found.observable[7, 7], "nothing there is steep, but no way leads to it"
    assert not found.steep[7, 7]
    assert found.steep[5, 5]
    assert found.observable[1, 1]
    gentle = np.zeros((2, 15, 15))
    gentle[1, 5:10, 5:10] = -0.9 * QUARTER_WAVELENGTH_M
    assert reach(gentle, (0, 0)).observable.all()


def test_scores_are_the_errors_that_were_put_in():
    rng = np.random.default_rng(1)
    truth = (-0.05 * YEARS * bowl(21, 3)).astype(np.float32)
    pixels = stable_ground(truth, DATES)
    drift = truth + 0.002 * YEARS + rng.normal(0, 0.003, truth.shape)
    drift[0] = 0

    found = score_stable(drift, truth, DATES, pixels, [60])

    assert found.velocity_rmse_mm_yr == pytest.approx(2.0, abs=0.4)
    assert found.displacement_rmse_mm == pytest.approx(np.hypot(3.0, 2.0 * np.sqrt(4 / 3)), rel=0.15)
    trough = find_trough("it", truth, truth, DATES, (0, 0), [60])
    assert trough.pixel == (10, 10)
    scored = score_trough(trough, drift, truth, DATES)
    assert scored["true_mm_yr"] == pytest.approx(-50, abs=0.5)
    assert scored["error_mm_yr"] == pytest.approx(2.0, abs=3.0)
    assert scored["within_goal"]


def test_coverage_and_flags_count():
    sd = np.ones(20_000)
    velocity = np.random.default_rng(2).normal(0, 1, 20_000)
    everywhere = np.ones(20_000, bool)
    assert coverage(velocity, sd, 0 * sd, everywhere) == pytest.approx(0.95, abs=0.006)
    assert coverage(velocity, 0.5 * sd, 0 * sd, everywhere) == pytest.approx(0.67, abs=0.02)
    assert flagged_share(np.array([True, False, True]), np.array([True, True, False])) == 0.5


def test_a_mine_without_disturbances_is_solved_to_a_fraction_of_a_millimetre(tmp_path):
    quiet = scenario_of(5, [TURBULENCE, *DISTURBANCES])
    clear = quiet.coherence.model_copy(update={"median": 0.97, "spread": 0.0, "summer_loss": 0.0})
    quiet = quiet.model_copy(update={"coherence": clear.model_copy(update={"strain": False})})
    span = Span(date(2021, 9, 1), date(2021, 12, 10), box=(110.780, 37.430, 110.802, 37.448))
    mine = SeenMine(quiet, span)

    store, members = mine.fill(tmp_path)
    revision = store.read_revision(store.build_revision(1, members, mine.settings, ReferencePoint(2, 2)).name)

    truth = referenced(mine.truth_m(mine.dates), (2, 2))
    land = revision.layers.land & np.isfinite(revision.los_m()).all(axis=0)
    error_mm = 1000 * (referenced(revision.los_m(), (2, 2)) - truth)[:, land]
    assert land.sum() > 300
    assert np.sqrt(np.mean(error_mm**2)) < 1.0
