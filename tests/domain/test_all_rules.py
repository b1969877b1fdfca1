"""Rules R2 to R8 as they are lived, on ground whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from shapely.geometry import box, mapping

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.judgement import Judged, WatchState
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Asset
from sagwatch.domain.zone_rules import by_noise
from sagwatch.steps.judge import Solution, judge_settled
from tests.database.published import make_site
from tests.domain.moving_ground import (
    DAYS_BETWEEN,
    RULES,
    TRACK,
    Basin,
    days_of,
    grid_of,
    history,
    invent_ground,
    live_through,
)

SMALL = (48, 48)
GRID = grid_of(SMALL)
STEP_YR = DAYS_BETWEEN / 365.25


def with_mine(
    los_m: np.ndarray, epochs: range, rules: AlertRules, mine: Mine, state: WatchState | None = None
) -> list[Judged]:
    days = days_of(los_m.shape[0])

    def solution(epoch):
        n = days.index(epoch) + 1
        return Solution(tuple(days[:n]), los_m[:n], np.ones(SMALL, np.float32), incidence_deg=39.0)

    asked = [days[i] for i in epochs]
    return judge_settled(TRACK, GRID, rules, 0.7, asked, state or WatchState(), solution, mine)


@lru_cache(maxsize=1)
def faster_and_faster() -> tuple[np.ndarray, list[Judged]]:
    """A basin of -120 mm/yr from epoch 8 on, of -400 from epoch 36 on."""
    los_m = invent_ground(3, 50, SMALL, [Basin(-120, 8), Basin(-280, 36)], 4.0, 2.0)
    return los_m, live_through(los_m, range(12, 50))


def test_a_known_zone_that_gets_faster_is_told_as_a_change_of_trend():
    _, judged = faster_and_faster()

    told = history(judged, "R2")
    assert told, "no change of trend was told"
    assert told[0][1] == "raised"
    assert 36 < told[0][0] <= 36 + 10
    event = next(e for one in judged for e in one.events if e.rule == "R2")
    assert event.evidence["r2_change_mm_yr"] < -30
    assert event.evidence["r2_probability"] < 0.01
    assert "while the alert was open" in event.sentence


def test_acceleration_is_an_advisory_without_a_date_of_failure():
    _, judged = faster_and_faster()

    events = [e for one in judged for e in one.events if e.rule == "R4"]
    assert events
    assert all(e.tell == "digest" and not e.is_news for e in events)
    assert "no date of failure" in events[0].sentence
    assert events[0].evidence["r4_inverse_velocity_yr_per_m"][-1] > 0


def test_displacement_climbs_its_ladder_and_the_interval_keeps_it_honest():
    _, judged = faster_and_faster()

    told = history(judged, "R5")
    levels = [level for _, kind, level in told if kind in ("raised", "worse")]
    assert levels[0] == 1
    assert levels == sorted(levels)
    for one in judged:
        for event in one.events:
            if event.rule == "R5" and event.type == "raised":
                assert event.evidence["r5_displacement_mm"] < -10


def test_a_new_zone_inside_the_licence_is_a_line_of_the_digest_and_outside_a_page():
    los_m, _ = faster_and_faster()
    longitude, latitude = GRID.lon_lat(24, 24)
    inside = replace_boundary(box(longitude - 0.1, latitude - 0.1, longitude + 0.1, latitude + 0.1))
    outside = replace_boundary(box(longitude + 0.3, latitude, longitude + 0.4, latitude + 0.1))

    told = {}
    for name, mine in (("inside", inside), ("outside", outside)):
        events = [
            e for one in with_mine(los_m, range(12, 26), RULES, mine) for e in one.events if e.rule == "R3"
        ]
        told[name] = [(e.type, e.to_level, e.tell) for e in events]

    assert told == {"inside": [("raised", 1, "digest")], "outside": [("raised", 2, "page")]}


def replace_boundary(boundary) -> Mine:
    site = make_site().model_copy(update={"boundary": mapping(boundary)})
    return Mine.of(site, GRID)


def test_a_hole_that_opens_in_a_sinking_zone_goes_up():
    los_m = invent_ground(3, 40, SMALL, [Basin(-300, 8, sigma_m=500)], 4.0, 2.0)
    seen = np.ones(los_m.shape, bool)
    seen[30:, 22:27, 22:27] = False

    judged = live_through(los_m, range(12, 40), observed=seen)

    told = history(judged, "R7")
    assert told[0][1:] == ("raised", 2)
    assert 30 <= told[0][0] <= 32
    event = next(e for one in judged for e in one.events if e.rule == "R7")
    assert event.evidence["lower_bound"] is True
    assert "lower bound" in event.sentence
    assert "Survey it on the ground" in event.sentence
    assert history(live_through(los_m, range(12, 40)), "R7") == []


def test_steps_near_the_limit_of_one_interferogram_are_told():
    los_m = invent_ground(3, 30, SMALL, [Basin(-2500, 8, sigma_m=250)], 4.0, 2.0)

    told = history(live_through(los_m, range(12, 30)), "R7")

    assert told[0][1:] == ("raised", 1)


def test_interferograms_that_contradict_each_other_over_a_zone_are_told():
    los_m = invent_ground(3, 40, SMALL, [Basin(-300, 8, sigma_m=500)], 4.0, 2.0)
    days = days_of(40)
    wrong = np.zeros(SMALL, bool)
    wrong[14:34, 14:34] = True

    def solution(epoch):
        n = days.index(epoch) + 1
        bad = wrong if n > 30 else np.zeros(SMALL, bool)
        return Solution(tuple(days[:n]), los_m[:n], np.ones(SMALL, np.float32), misclosed=bad)

    judged = judge_settled(TRACK, GRID, RULES, 0.7, days[12:], WatchState(), solution)

    events = [e for one in judged for e in one.events if e.rule == "R7"]
    assert [e.type for e in events] == ["raised"]
    assert events[0].epoch == days[31], "two updates in a row, the first one being number 30"
    assert events[0].evidence["misclosed_share"] >= 0.2
    assert "unwrapping has failed there" in events[0].sentence
    assert events[0].evidence["lower_bound"] is True


@pytest.mark.parametrize("kind", ["jump", "drift"])
def test_a_reference_that_moves_holds_the_ground_alerts_and_is_told_once(kind):
    los_m = invent_ground(3, 50, SMALL, [Basin(-200, 27)], 3.0, 2.0)
    if kind == "jump":
        los_m[28:] -= np.float32(0.02)
    else:
        los_m[22:] -= (0.08 * STEP_YR * np.arange(28)[:, None, None]).astype(np.float32)

    judged = live_through(los_m, range(12, 50))

    health = history(judged, "R8")
    assert [k for _, k, _ in health][:1] == ["raised"]
    assert [k for _, k, _ in health].count("raised") == 1
    raised = next(one for one in judged for e in one.events if e.rule == "R8")
    held = [
        one
        for one in judged
        if one.epoch >= raised.epoch and any(a.rule == "R8" and a.is_open for a in one.state.alerts)
    ]
    assert held
    assert all(e.rule == "R8" for one in held for e in one.events)
    if kind == "jump":
        assert health[-1][1] == "cleared"
        assert history(judged)[0][1] == "raised", "the ground is judged again"
    text = next(e.sentence for one in judged for e in one.events if e.rule == "R8")
    assert "alerts about the ground are held" in text
    assert "as if the reference itself had moved" in text


def test_tilt_at_an_asset_needs_a_preset_by_name_and_says_which():
    los_m = invent_ground(3, 40, SMALL, [Basin(-400, 8, sigma_m=300)], 3.0, 2.0)
    longitude, latitude = GRID.lon_lat(24, 28)
    far = GRID.lon_lat(5, 5)
    assets = tuple(
        Asset(name=name, geometry={"type": "Point", "coordinates": [float(x), float(y)]})
        for name, (x, y) in {"School": (longitude, latitude), "Barn": far}.items()
    )
    mine = Mine.of(make_site().model_copy(update={"assets": assets}), GRID)
    rules = AlertRules(tilt={"preset": "poland_mining_area"})

    silent = [e for one in with_mine(los_m, range(12, 40), RULES, mine) for e in one.events if e.rule == "R6"]
    judged = with_mine(los_m, range(12, 40), rules, mine)
    told = [e for one in judged for e in one.events if e.rule == "R6"]

    assert silent == []
    assert {e.evidence["zone"] for e in told} == {"School"}
    assert told[0].zone_id is None
    assert told[0].type == "raised"
    # 400 mm/yr for a year over a Gaussian of 300 m: the flank's truth is peak / sigma · exp(-1/2)
    steepest = max(e.evidence["r6_tilt_mm_m"] for e in told)
    assert 0.3 < steepest < 400 * 32 * STEP_YR / 300 * np.exp(-0.5) * 1.3
    assert "preset poland_mining_area" in told[0].sentence
    without = with_mine(
        los_m, range(39, 40), rules, Mine(), with_mine(los_m, range(12, 39), rules, mine)[-1].state
    )
    assert history(without, "R6") == [(39, "cleared", 0)], "an asset that the plan no longer has"


def test_rules_that_are_off_say_nothing():
    los_m, _ = faster_and_faster()
    off = {"tell": "off"}
    rules = AlertRules(
        trend=off,
        new_zone={"inside": "off", "outside": "off"},
        acceleration=off,
        displacement=off,
        blind=off,
        health=off,
        history=off,
    )

    judged = live_through(los_m, range(12, 30), rules=rules)

    assert {e.rule for one in judged for e in one.events} == {"R1"}


@pytest.mark.parametrize("rule", ["R5", "R1-history"])
def test_what_is_open_of_a_rule_ends_when_the_rule_is_switched_off(rule):
    los_m, judged = faster_and_faster()
    before = next(one for one in judged if any(a.rule == rule and a.is_open for a in one.state.alerts))
    first = days_of(30).index(before.epoch) + 1
    off = AlertRules(
        **{"R5": {"displacement": {"tell": "off"}}, "R1-history": {"history": {"tell": "off"}}}[rule]
    )

    after = live_through(los_m, range(first, first + 3), before.state, off)

    assert history(after, rule) == [(first, "cleared", 0)]
    assert "not judged any more" in next(e.sentence for one in after for e in one.events if e.rule == rule)


def test_an_exception_for_a_zone_changes_its_ladder_and_no_other():
    los_m, judged = faster_and_faster()
    zone = judged[-1].state.zones[0].id
    rules = AlertRules(zones=({"zone": zone, "levels_mm_yr": (-40, -60), "why": "a school stands on it"},))

    changed = live_through(los_m, range(12, 30), rules=rules)

    assert max(level for _, _, level in history(changed)) == 2
    strict = AlertRules(zones=({"zone": zone, "levels_mm_yr": (-590,), "why": "it is known"},))
    last = live_through(los_m, range(12, 30), rules=strict)[-1].snapshots[0]
    assert last.evidence["evidence_class"] == "moving"
    assert "perhaps slower than 590 mm/yr" in last.evidence["sentence"]
    assert history(changed)[0][:2] == history(judged)[0][:2]


@pytest.mark.parametrize("rule", ["R1", "R5"])
def test_every_rule_waits_for_as_many_updates_as_the_site_asks(rule):
    los_m, judged = faster_and_faster()
    slower = live_through(los_m, range(12, 30), rules=AlertRules(updates_to_raise=4))

    assert history(slower, rule)[0][0] == history(judged, rule)[0][0] + 2


def test_every_snapshot_has_its_numbers_and_a_sentence():
    _, judged = faster_and_faster()
    shown = judged[-1].snapshots[0].evidence

    assert shown["tilt_max_mm_m"] > 0
    assert shown["volume_m3"] < 0
    assert shown["blind_share"] == 0
    assert shown["stage"] in ("acceleration", "linear", "initiation")
    assert shown["stage_words"] in shown["sentence"].lower() or "Stage of movement" in shown["sentence"]
    assert "along the line of sight" in shown["sentence"]


def test_going_on_from_what_was_remembered_decides_the_same_for_every_rule():
    los_m, judged = faster_and_faster()
    first = live_through(los_m, range(12, 33))
    second = live_through(los_m, range(33, 50), replace(first[-1].state))

    assert [one.events for one in (*first, *second)] == [one.events for one in judged]


def test_ground_that_sinks_over_a_wider_place_than_its_surroundings_is_told_too():
    """All that is near a point of a wide trough moves with it: a contrast alone would see next to nothing."""
    shape = (100, 100)
    los_m = invent_ground(3, 36, shape, [Basin(-250, 4, sigma_m=1800, column=0.75)], 4.0, 2.0)

    judged = live_through(los_m, range(12, 36))

    told = history(judged)
    assert told[0][1] == "raised"
    assert max(level for _, _, level in told) >= 2
    first = next(e for one in judged for e in one.events if e.rule == "R1")
    assert first.evidence["windows"][0]["core_is_wide"]
    assert "together with wide surroundings" in first.sentence
    assert history(judged, "R8") == [], "a wide trough is not taken for a reference that drifts"


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.3, "in 30% of cases"),
        (0.02, "in 2% of cases"),
        (0.009, "less than once in 100 cases"),
        (0.001, "less than once in 1,000 cases"),
        (2e-5, "less than once in 10,000 cases"),
        (0.0, "less than once in 1,000,000 cases"),
    ],
)
def test_a_probability_is_told_in_words(probability, words):
    assert by_noise(probability) == f"noise alone shows as much {words}"
