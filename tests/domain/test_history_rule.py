"""R1-history: the published study's rule over the whole record, an advisory by default."""

from __future__ import annotations

import numpy as np

from sagwatch.domain.alert_rules import AlertRules
from tests.domain.moving_ground import Basin, history, invent_ground, live_through

SMALL = (48, 48)


def test_motion_of_the_past_goes_on_being_told_by_the_whole_record_as_an_advisory_only():
    los_m = invent_ground(3, 60, SMALL, [Basin(-400, 6, 26)], 3.0, 2.0)

    judged = live_through(los_m, range(12, 60))

    events = [e for one in judged for e in one.events if e.rule == "R1-history"]
    assert events[0].type == "raised"
    assert {e.tell for e in events} == {"digest"}
    assert not any(e.is_news for e in events)
    cleared = next(epoch for epoch, kind, _ in history(judged) if kind == "cleared")
    assert any(a.rule == "R1-history" and a.is_open for a in judged[cleared - 12].state.alerts)
    last = events[-1].evidence
    assert last["r1_history_areas"][0]["median_mm_yr"] < -30
    assert "over the whole record" in events[0].sentence
    assert "it lies in a zone with an open velocity alert" in events[0].sentence
    past = [one.evidence["r1_history_areas"][0]["in_open_alert"] for one in events]
    assert past[0]
    assert not past[-1]
    assert "motion of the past" in events[-1].sentence
    assert "motion of the past" not in events[0].sentence


def test_it_pages_where_a_mine_wants_it_and_is_silent_where_it_is_off():
    los_m = invent_ground(3, 30, SMALL, [Basin(-400, 6)], 3.0, 2.0)

    told = {
        tell: [
            e.is_news for one in judged for e in one.events if e.rule == "R1-history" and e.type == "raised"
        ]
        for tell in ("page", "off")
        for judged in [live_through(los_m, range(12, 30), rules=AlertRules(history={"tell": tell}))]
    }

    assert told == {"page": [True], "off": []}


def test_stable_ground_is_beyond_nothing():
    judged = live_through(invent_ground(3, 40, SMALL, [], 8.0, 3.0), range(12, 40))

    assert history(judged, "R1-history") == []
    assert np.all([one.zone_index < 0 for one in judged])


def test_the_smallest_area_may_be_given_in_square_metres():
    los_m = invent_ground(3, 24, SMALL, [Basin(-400, 8, sigma_m=200)], 3.0, 2.0)

    nine = live_through(los_m, range(12, 24))
    as_m2 = live_through(los_m, range(12, 24), rules=AlertRules(least_area_m2=9 * 80.0**2))
    huge = live_through(los_m, range(12, 24), rules=AlertRules(least_area_m2=5e6))

    assert history(nine)
    assert history(as_m2) == history(nine)
    assert history(huge) == []
    assert AlertRules(least_area_m2=3600).on_pixels(20.0).least_pixels == 9
