"""Judging as it is lived: acquisition by acquisition, on ground whose truth is known."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label

from sagwatch.domain.alert_rules import AlertRules, WindowRules
from sagwatch.domain.judgement import Judged, WatchState
from sagwatch.domain.reasons import Reason
from sagwatch.engine.velocity import elapsed_years, fit_line
from tests.domain.moving_ground import (
    DAYS_BETWEEN,
    PIXEL_M,
    RULES,
    Basin,
    days_of,
    grid_of,
    history,
    invent_ground,
    live_through,
)

SMALL = (64, 64)
YEAR = 365.25 / DAYS_BETWEEN


@lru_cache(maxsize=8)
def sinking_and_stopping(peak_mm_yr: float, seed: int = 50, rms_mm: float = 8.0) -> NDArray[np.float32]:
    """70 epochs with a basin that sinks from epoch 20 to epoch 40."""
    return invent_ground(seed, 70, SMALL, [Basin(peak_mm_yr, 20, 40)], rms_mm)


def naive_false_zones(los_m: NDArray[np.float32], epochs: range) -> int:
    """New zones of the rule "any 9 connected pixels below -40 mm/yr over 150 days" on ground that does not move."""
    zones, before = 0, np.zeros(los_m.shape[1:], bool)
    for last in epochs:
        part = slice(last - 12, last + 1)
        line = fit_line(elapsed_years(days_of(13)), los_m[part].reshape(13, -1))
        labels, n = label(line.velocity_m_yr.reshape(before.shape) < -0.04, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=n + 1)
        large = [i for i in range(1, n + 1) if sizes[i] >= 9]
        zones += sum(not before[labels == i].any() for i in large)
        before = np.isin(labels, large)
    return zones


@pytest.mark.parametrize(("rms_mm", "white_mm"), [(8.0, 3.0), (15.0, 4.0)])
def test_stable_ground_under_an_atmosphere_raises_nothing_where_a_plain_threshold_cries_wolf(
    rms_mm, white_mm
):
    shape = (100, 100)  # 64 km², 1.4 years of updates
    los_m = invent_ground(1, 55, shape, (), rms_mm, white_mm)

    judged = live_through(los_m, range(7, 55))

    assert history(judged) == []
    assert naive_false_zones(los_m, range(12, 55)) > 10


@pytest.mark.parametrize(
    ("peak_mm_yr", "most_epochs", "seeds"), [(-100, 12, (51, 52, 53)), (-200, 8, (51,)), (-400, 6, (51,))]
)
def test_a_basin_is_found_in_time_and_clears_after_it_stopped(peak_mm_yr, most_epochs, seeds):
    delays = []
    for seed in seeds:
        events = history(live_through(sinking_and_stopping(peak_mm_yr, seed), range(12, 60)))
        delays.append(events[0][0] - 20)
        assert events[0][1] == "raised"
        assert events[0][0] > 20
        assert events[-1][1:] == ("cleared", 0)
        assert 40 < events[-1][0] <= 40 + 15
        assert [kind for _, kind, _ in events].count("raised") == 1

    assert np.median(delays) <= most_epochs


def test_a_fast_basin_climbs_the_ladder_and_comes_down():
    events = history(live_through(sinking_and_stopping(-400), range(12, 60)))

    levels = [level for _, _, level in events]
    assert max(levels) == 3
    assert [kind for _, kind, _ in events] == sorted(
        (kind for _, kind, _ in events), key=["raised", "worse", "better", "cleared"].index
    )
    assert "better" in [kind for _, kind, _ in events]


def test_ground_that_is_seen_too_rarely_for_the_short_window_is_judged_by_the_long_one():
    los_m = invent_ground(7, 60, SMALL, [Basin(-100, 10)])
    seen = np.ones(los_m.shape, bool)
    seen[1::2] = False  # 7 of 13 acquisitions in 150 days, 16 of 31 in a year
    short_only = AlertRules(windows=(WindowRules(days=150, least_epochs=8),))

    both = history(live_through(los_m, range(12, 60), observed=seen))
    alone = history(live_through(los_m, range(12, 60), rules=short_only, observed=seen))

    assert [event[1:] for event in both][:1] == [("raised", 1)]
    assert alone == []


@lru_cache(maxsize=1)
def one_life() -> tuple[NDArray[np.float32], list[Judged]]:
    los_m = invent_ground(
        12, 45, SMALL, [Basin(-300, 12, 24, 0.3, 0.3), Basin(-180, 16, 60, 0.7, 0.7)], 8.0, 3.0
    )
    return los_m, live_through(los_m, range(7, 45))


@settings(max_examples=3, deadline=None)
@given(st.sets(st.integers(8, 44), max_size=6))
def test_batches_change_nothing(cuts):
    los_m, expected = one_life()
    bounds = [7, *sorted(cuts), 45]

    judged: list[Judged] = []
    for first, end in pairwise(bounds):
        judged += live_through(los_m, range(first, end), judged[-1].state if judged else None)

    assert [one.events for one in judged] == [one.events for one in expected]
    assert judged[-1].state == expected[-1].state
    assert sum(len(one.events) for one in expected) >= 3


def test_what_was_judged_is_not_judged_again_and_late_acquisitions_decide_nothing():
    los_m, expected = one_life()

    assert live_through(los_m, range(7, 45), expected[-1].state) == []
    assert live_through(los_m, [20, 30], expected[-1].state) == []


def test_a_larger_picture_changes_no_decision_only_names_of_pixels():
    los_m, expected = one_life()
    turned = los_m[:, ::-1, ::-1].copy()

    judged = live_through(turned, range(7, 45))

    assert [e[:2] for e in history(judged)] == [e[:2] for e in history(expected)]


def test_missing_data_never_clears_and_evidence_does():
    los_m = sinking_and_stopping(-200)
    seen = np.ones(los_m.shape, bool)
    middle = slice(20, 44)
    seen[42:52, middle, middle] = False  # the basin loses coherence just after it stopped

    judged = live_through(los_m, range(7, 70), observed=seen)

    events = history(judged)
    cleared = [epoch for epoch, kind, _ in events if kind == "cleared"]
    assert events[0][1] == "raised"
    assert cleared
    assert cleared[0] >= 54  # 52, 53 and 54 are the first three updates with data
    silent = [one for one in judged if 42 <= (one.epoch - judged[0].epoch).days // DAYS_BETWEEN + 7 < 52]
    assert len(silent) == 10
    velocity = [[a for a in one.state.alerts if a.rule == "R1"] for one in silent]
    assert all(alerts == velocity[0] for alerts in velocity)
    told = history(judged, "R7")
    assert told[0][1:] == ("raised", 2), "a zone that loses its centre goes up"
    assert told[0][0] == 43
    assert told[-1][1] == "cleared"


def test_unreliable_ground_raises_no_alert_and_says_why():
    los_m = sinking_and_stopping(-400)
    judged = live_through(los_m, range(7, 40))
    assert history(judged)
    seen = np.ones(los_m.shape, bool)
    seen[:, 20:44, 20:44] = False

    blind = live_through(los_m, range(7, 40), observed=seen)

    assert history(blind) == []
    centre = blind[-1].reasons[32, 32]
    assert centre == Reason.NO_DATA


def test_every_velocity_beyond_the_threshold_has_a_reason():
    los_m = sinking_and_stopping(-200, rms_mm=15.0)
    threshold = RULES.levels_mm_yr[0]
    found: set[int] = set()

    for one in live_through(los_m, range(7, 70)):
        n = (one.epoch - days_of(1)[0]).days // DAYS_BETWEEN + 1
        whole = fit_line(elapsed_years(days_of(n)), los_m[:n].reshape(n, -1)).velocity_m_yr * 1000
        beyond = (whole < threshold - 0.5).reshape(SMALL)
        assert (one.reasons[beyond] != Reason.NOT_BEYOND).all()
        found |= set(np.unique(one.reasons).tolist())
        in_alert = {a.zone_id for a in one.state.alerts if a.is_open and a.rule == "R1"}
        painted = {one.zone_ids[i] for i in np.unique(one.zone_index[one.reasons == Reason.IN_ALERT])}
        assert painted <= in_alert
        assert bool(painted) == bool(in_alert)

    assert {Reason.IN_ALERT, Reason.TOO_FEW_UPDATES, Reason.NOT_SIGNIFICANT, Reason.AS_SURROUNDINGS} <= found
    assert all(Reason(code).words(RULES) for code in Reason)


def test_the_sentence_says_what_moves_how_fast_since_when_how_sure_and_what_cannot_be_seen():
    los_m = sinking_and_stopping(-200)
    judged = live_through(los_m, range(7, 40))
    event = next(event for one in judged for event in one.events)

    assert "along the line of sight" in event.sentence
    assert "95 % interval" in event.sentence
    assert f"since {event.evidence['beyond_since']}" in event.sentence
    assert "over the last 150 days" in event.sentence
    assert "How sure:" in event.sentence
    assert "Blind spots: 0% of it has no usable data" in event.sentence
    assert "a fast centre can be faster than it is shown" in event.sentence
    assert "incidence 39°" in event.sentence
    assert "vertical" not in event.sentence
    row, column = grid_of(SMALL).row_column(event.evidence["longitude"], event.evidence["latitude"])
    assert np.hypot(row - 32, column - 32) * PIXEL_M < 300
    shown = next(w for w in event.evidence["windows"] if w["days"] == 150)
    assert shown["interval_mm_yr"][0] < shown["median_mm_yr"] < shown["interval_mm_yr"][1]


def test_a_basin_that_moves_with_its_face_stays_one_zone():
    shape = (64, 96)
    n = 60
    los_m = invent_ground(5, n, shape, (), 8.0, 3.0)
    rows, columns = np.indices(shape)
    for i in range(12, n):  # 100 m a month, each place sinks while the face passes
        centre = 25 + (i - 12) * 0.5
        bowl = np.exp(-(((rows - 32) ** 2 + (columns - centre) ** 2) * PIXEL_M**2) / (2 * 350.0**2))
        los_m[i:] -= (0.3 / YEAR * bowl).astype(np.float32)

    judged = live_through(los_m, range(7, n))

    assert [kind for _, kind, _ in history(judged)].count("raised") == 1
    assert len({zone.id for one in judged for zone in one.state.zones}) == 1
    zone = judged[-1].state.zones[0]
    first = next(one for one in judged if one.state.zones).state.zones[0]
    assert np.intersect1d(zone.footprint.pixels, first.footprint.pixels).size < 0.5 * zone.footprint.size


def test_bad_input_is_refused_by_name():
    los_m = sinking_and_stopping(-100)[:20]
    state = live_through(los_m, [12])[-1].state

    from sagwatch.domain.judge import judge
    from sagwatch.steps.judge import Solution, ground_view

    view = ground_view(
        days_of(20)[12],
        Solution(tuple(days_of(13)), los_m[:13], np.ones(SMALL, np.float32)),
        RULES,
        0.7,
        PIXEL_M,
    )
    with pytest.raises(ValueError, match="judge in order of date"):
        judge(view, state, RULES, grid_of(SMALL), "s/t011a")
    with pytest.raises(ValueError, match=r"shape \(64, 64\), the grid \(9, 9\)"):
        judge(view, WatchState(), RULES, grid_of((9, 9)), "s/t011a")
    with pytest.raises(ValueError, match="13 dates"):
        ground_view(
            days_of(20)[12],
            Solution(tuple(days_of(13)), los_m[:12], np.ones(SMALL, np.float32)),
            RULES,
            0.7,
            PIXEL_M,
        )


def test_rules_that_lose_a_level_while_an_alert_is_above_it_still_clear_it():
    los_m = sinking_and_stopping(-400)
    before = live_through(los_m, range(12, 40))
    assert history(before)[-1][2] == 3

    after = live_through(los_m, range(50, 60), before[-1].state, AlertRules(levels_mm_yr=(-100,)))

    assert history(after)[-1][1:] == ("cleared", 0)
