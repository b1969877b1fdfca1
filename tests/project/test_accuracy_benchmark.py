"""The accuracy benchmark's arithmetic, and that a mine which hides nothing is solved exactly."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import REQUIRED, required
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
    velocity_mm_yr,
)
from benchmarks.accuracy_table import BEGIN, END, tables, write_into
from sagwatch.engine.manifest import ReferencePoint

ROOT = Path(__file__).resolve().parents[2]

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
    drift -= drift[0]

    found = score_stable(drift, velocity_mm_yr(truth, DATES, None)[0] + 1.5, truth, DATES, pixels, [60], 20)

    assert found.velocity_rmse_mm_yr == pytest.approx(1.5, abs=1e-3), "as it was published"
    assert found.velocity_365d_rmse_mm_yr == pytest.approx(np.hypot(2.0, 1.8), rel=0.1)
    # Of a drift over two years its scatter is left; the air of the epoch referred to is in all others.
    assert found.displacement_rmse_mm == pytest.approx(np.hypot(3.0, 4 / np.sqrt(12)), rel=0.05)
    assert found.displacement_since_first_rmse_mm == pytest.approx(
        np.sqrt(2 * 3.0**2 + 2.0**2 * 4 / 3), rel=0.05
    )
    assert found.displacement_since_quietest_rmse_mm < found.displacement_since_first_rmse_mm


def test_a_trough_is_scored_at_its_fastest_pixel_and_as_a_reader_of_flags_sees_it():
    truth = (-0.05 * YEARS * bowl(21, 3)).astype(np.float32)
    seen = truth + np.float32(0.002) * YEARS.astype(np.float32)
    flagged = np.zeros((21, 21), bool)
    flagged[9:12, 9:12] = True

    trough = find_trough("it", truth, truth, DATES, (0, 0), [60])
    scored = score_trough(trough, seen, truth, DATES, flagged)

    assert trough.pixel == (10, 10)
    assert scored["true_mm_yr"] == pytest.approx(-50, abs=0.5)
    assert scored["error_mm_yr"] == pytest.approx(2.0, abs=0.01)
    assert scored["within_goal"]
    assert scored["flagged"]
    assert scored["unflagged_true_mm_yr"] == pytest.approx(-50 * bowl(21, 3)[10, 12], abs=0.5)
    assert not score_trough(trough, 0.8 * truth, truth, DATES)["within_goal"]
    unknown = ~flagged
    assert find_trough("it", truth, truth, DATES, (0, 0), [60], unknown).pixel in (
        (10, 12),
        (10, 8),
        (8, 10),
        (12, 10),
    )


def test_the_whole_answer_takes_troughs_from_the_fine_stack_and_the_worse_share_of_flags():
    def part(errors, share):
        troughs = {
            name: {"error_mm_yr": error, "within_goal": abs(error) < 5} for name, error in errors.items()
        }
        scores = dict.fromkeys(("stable_displacement_rmse_mm", "stable_velocity_rmse_mm_yr"), 1.0)
        scores |= {"interval_coverage": 0.95, "unobservable_flagged_fraction": share, "troughs": troughs}
        return {"published": "all", "sagwatch": {"none": {}, "all": scores}, "mintpy": {"last": scores}}

    found = required(part({"a": -50.0, "b": 3.0}, 0.9), part({"a": 4.0}, float("nan")))

    assert found["trough_maximum_error_mm_yr"] == 4.0
    assert found["trough_maximum_within_goal"]
    assert found["unobservable_flagged_fraction_mintpy"] == 0.9
    assert set(found) == {
        f"{key}{end}" for key in (*REQUIRED, "trough_maximum_within_goal") for end in ("", "_mintpy")
    }


def test_tables_are_written_between_their_marks_and_nowhere_else():
    document = f"before {BEGIN} old\n{END} after"

    assert write_into(document, "| new |") == f"before {BEGIN}\n\n| new |\n{END} after"
    with pytest.raises(ValueError, match="has no"):
        write_into(f"before {BEGIN} old", "| new |")


def test_the_document_has_the_tables_of_its_results():
    runs = [json.loads(file.read_text()) for file in sorted(ROOT.glob("benchmarks/results/accuracy-*.json"))]
    document = (ROOT / "docs" / "accuracy.md").read_text()

    assert write_into(document, tables(runs)) == document


def test_coverage_and_flags_count():
    sd = np.ones(20_000)
    velocity = np.random.default_rng(2).normal(0, 1, 20_000)
    everywhere = np.ones(20_000, bool)
    assert coverage(velocity, 1.96 * sd, 0 * sd, everywhere) == pytest.approx(0.95, abs=0.006)
    assert coverage(velocity, sd, 0 * sd, everywhere) == pytest.approx(0.68, abs=0.02)
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
