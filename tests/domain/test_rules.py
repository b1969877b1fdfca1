from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.domain.alert import advance, begin_alert
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.rules import ZoneWindow, levels_of, read_zone, rules_sha256
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zones import MovingWindow
from sagwatch.engine.velocity import fit_line

RULES = AlertRules()
DAY = date(2024, 1, 1)


def raises_per_year(rules: AlertRules, noise_mm: float, n_zones: int = 60, n_epochs: int = 160) -> float:
    """Zones that sink at exactly the threshold, judged on 13 acquisitions: how often each is raised in a year."""
    rng = np.random.default_rng(17)
    years = np.arange(n_epochs) * 12 / 365.25
    los_mm = rules.levels_mm_yr[0] * years[:, None] + rng.normal(0, noise_mm, (n_epochs, n_zones))
    alerts = [begin_alert(str(zone), 1, DAY, "rules") for zone in range(n_zones)]
    raises = 0
    for last in range(13, n_epochs):
        velocity = fit_line(years[:13], los_mm[last - 13 : last]).velocity_m_yr
        for zone, value in enumerate(velocity.tolist()):
            if alerts[zone].is_over:
                alerts[zone] = begin_alert(str(zone), alerts[zone].episode + 1, DAY, "rules")
            reading = levels_of(value, value, 0.0, rules)
            alerts[zone], change = advance(
                alerts[zone],
                reading,
                DAY + timedelta(days=12 * last),
                rules.updates_to_raise,
                rules.updates_to_clear,
            )
            raises += change is not None and change.type == "raised"
    return raises / n_zones / (years[-1] - years[13])


def test_a_zone_at_the_threshold_does_not_chatter():
    nervous = AlertRules(updates_to_raise=1, updates_to_clear=1, deadband_mm_yr=0)

    assert raises_per_year(RULES, 5.0) <= 0.3
    assert raises_per_year(nervous, 5.0) == pytest.approx(3.4, abs=0.6)


@pytest.mark.parametrize(
    ("proved", "possible", "noise", "now", "held"),
    [
        (-41, -41, 0, 1, 1),
        (-40, -40, 0, 0, 1),  # beyond means beyond
        (-700, -700, 0, 4, 4),
        (float("nan"), -30, 0, 0, 1),
        (float("nan"), -19, 0, 0, 0),  # risen by more than the deadband of 20
        (-95, -77, 12, 1, 2),  # not by two deviations
        (-95, -75, 5, 1, 1),
        (float("nan"), -19, 50, 0, 0),  # but never asked for more than half of the way
        (-90, -90, 0, 1, 2),
        (float("nan"), float("nan"), 0, 0, 0),
    ],
)
def test_the_ladder_and_its_deadband(proved, possible, noise, now, held):
    reading = levels_of(proved, possible, noise, RULES)

    assert (reading.level_now, reading.level_held) == (now, held)


def moving_window(values: np.ndarray, days: int = 150, usable: np.ndarray | None = None) -> MovingWindow:
    field = values.astype(np.float32)
    known = np.isfinite(field) if usable is None else usable
    sd = np.full(field.shape, 5, np.float32)
    velocity = WindowVelocity(days, field, sd, sd, np.full(field.shape, 13, np.uint16), 0.0)
    return MovingWindow(
        velocity, field, 3.0, known, known & (field < -20), np.zeros(field.shape, bool), field
    )


def test_a_zone_is_read_from_the_pixels_that_reach_a_level_together():
    values = np.full((6, 6), -30.0)
    values[:3, :3] = -120
    values[5, 5] = -500  # alone
    pixels = np.arange(36)

    reading, (shown,) = read_zone(pixels, [moving_window(values)], np.ones((6, 6), bool), RULES)

    assert reading is not None
    assert reading.level_now == 2
    assert shown.judged_mm_yr == -120
    assert shown.judged_half_interval_mm_yr == pytest.approx(2.2010 * 5, abs=1e-3)
    assert shown.median_mm_yr == -30
    assert shown.interval_mm_yr == pytest.approx((-30 - 2.2010 * 5, -30 + 2.2010 * 5), abs=1e-3)


def test_the_highest_level_of_any_window_counts():
    short, long = np.full((5, 5), -30.0), np.full((5, 5), -110.0)

    reading, shown = read_zone(
        np.arange(25), [moving_window(short), moving_window(long, 365)], np.ones((5, 5), bool), RULES
    )

    assert reading is not None
    assert (reading.level_now, len(shown)) == (2, 2)


def test_half_a_zone_without_data_says_nothing():
    values = np.full((6, 6), -60.0)
    values[:, :4] = np.nan

    reading, shown = read_zone(np.arange(36), [moving_window(values)], np.isfinite(values), RULES)

    assert reading is None
    assert shown[0].level_now == 1, "what is left would have spoken"


@pytest.mark.parametrize(
    ("core", "sd", "words"),
    [(-80, 10, "beyond threshold"), (-60, 20, "moving"), (float("nan"), 5, "cannot tell")],
)
def test_moving_and_beyond_the_threshold_are_different_claims(core, sd, words):
    window = ZoneWindow(150, core, sd, -40, -90, 10, 13, 0.0, 1, 1)

    assert window.evidence_class(-40) == words


def test_a_changed_rule_has_another_version():
    assert rules_sha256(RULES) == rules_sha256(AlertRules())
    assert rules_sha256(RULES) != rules_sha256(AlertRules(deadband_mm_yr=21))
