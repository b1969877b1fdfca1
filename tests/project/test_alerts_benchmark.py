"""The alert benchmark's own arithmetic, and that scores never see the ground of tuning."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.alert_ground import SCORING, TUNING, Scene, Trough, atmosphere_mm, stream
from benchmarks.alerts import (
    SMALL,
    _first_above,
    _first_beyond,
    coverage,
    main,
    plan,
    summarise,
    upper_bound,
)


def test_tuning_and_scoring_never_share_ground():
    assert {run.purpose for run in plan(SMALL, SCORING, 1)} == {SCORING}
    draws = {
        stream(purpose, seed, 0, 0).integers(2**60) for purpose in (TUNING, SCORING) for seed in range(20)
    }
    assert len(draws) == 40


def test_every_scene_of_a_plan_has_ground_of_its_own():
    runs = plan(SMALL, SCORING, 3)
    assert len({run.rng.integers(2**60) for run in runs}) == len(runs)


@pytest.mark.parametrize("rms_mm", [8.0, 15.0])
def test_the_atmosphere_has_the_rms_difference_at_10_km_that_it_is_asked_for(rms_mm):
    field = atmosphere_mm(np.random.default_rng(1), 60, (128, 128), rms_mm)

    lag = 125
    across = np.concatenate(
        [(field[:, :, lag:] - field[:, :, :-lag]).ravel(), (field[:, lag:] - field[:, :-lag]).ravel()]
    )
    assert np.sqrt(np.mean(across**2)) == pytest.approx(rms_mm, rel=0.25)


def test_a_trough_sinks_at_its_rate_and_stops():
    scene = Scene(np.random.default_rng(1), 40, 0.001, [Trough(20, 20, -100.0, 5, 20)], (40, 40))
    fields = list(scene)

    moved = [float(field[20, 20]) for field in fields]
    assert moved[5] == pytest.approx(0, abs=12)
    assert np.mean(moved[25:]) == pytest.approx(-100 * 15 * 12 / 365.25, abs=3)


def test_the_whole_record_comes_as_late_as_the_reference_says():
    los_mm = -100 * 12 / 365.25 * np.clip(np.arange(600) - 152, 0, None).astype(float)

    assert _first_beyond(los_mm, 152) == pytest.approx(117, abs=2)  # 46 months, measured independently
    assert _first_above(-los_mm, 152) == 0


def test_no_false_zone_in_1060_square_kilometre_years_bounds_the_rate_at_0_28():
    assert upper_bound(0, 10.6) == pytest.approx(0.283, abs=0.001)
    assert upper_bound(1, 10.6) > upper_bound(0, 10.6)


def test_the_naive_interval_covers_far_less_than_it_says_where_noise_is_correlated():
    shares = coverage(TUNING, 1, 2, 0.6)

    assert shares["naive"] < 80
    assert 90 < shares["150"] < 99


def test_the_summary_counts_what_the_scenes_found():
    runs = plan(SMALL, TUNING, 1)
    found = []
    for run in runs:
        answers = {
            "stable": {"paged": 1, "naive": 90, "km2_years": 100.0},
            "troughs": {
                "rms_mm": run.rms_mm,
                "troughs": 2,
                "delays": [5],
                "clear": [12],
                "naive_delays": [1, 2],
                "whole_record_delay": 100,
                "whole_record_clear": 200,
            },
            "threshold": {"raises": 3, "naive": 30, "zone_years": 10.0},
            "face": {"switches": 1, "naive": 4, "zone_years": 20.0},
        }
        found.append((run, answers[run.kind]))

    figures = summarise(found)

    assert figures["false_zones_per_100km2_year_8mm"] == pytest.approx(upper_bound(1, 1.0))
    assert figures["naive_false_zones_per_100km2_year_8mm"] == 90
    assert (figures["episodes"], figures["missed_episodes"]) == (12, 6)
    assert figures["raises_per_zone_year_at_threshold"] == pytest.approx(0.3)
    assert figures["id_switches_per_zone_year"] == pytest.approx(0.05)
    assert figures["epochs_to_clear_p95"] == 12


def test_the_command_asks_for_a_file():
    with pytest.raises(SystemExit):
        main([])
