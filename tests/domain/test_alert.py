from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagwatch.domain.alert import (
    Alert,
    Reading,
    advance,
    begin_alert,
    close_unraised,
    event_id,
    inherit,
    merge_alert,
)

DAY = date(2024, 1, 1)
NO_DATA = None


def live(readings: list[Reading | int | None], raise_after: int = 2, clear_after: int = 3):
    """Run an alert through readings (a number is a level that is proved and held); every change as (i, type, level)."""
    alert, changes = begin_alert("zone", 1, DAY, "rules"), []
    for i, reading in enumerate(readings):
        if isinstance(reading, int):
            reading = Reading(reading, reading)
        alert, change = advance(alert, reading, DAY + timedelta(days=12 * i), raise_after, clear_after)
        if change is not None:
            changes.append((i, change.type, change.after.level))
    return alert, changes


@pytest.mark.parametrize(
    ("readings", "changes", "state"),
    [
        ([1], [], "pending"),
        ([1, 0, 1, 0], [], "pending"),
        ([1, 1], [(1, "raised", 1)], "raised"),
        ([3, 1], [(1, "raised", 1)], "raised"),  # only what both updates show
        ([2, 3, 3, 3], [(1, "raised", 2), (3, "worse", 3)], "raised"),
        ([1, 1, 2, 1, 2, 1], [(1, "raised", 1)], "raised"),
        ([1, 1, 0, 0], [(1, "raised", 1)], "clearing"),
        ([1, 1, 0, 0, 0], [(1, "raised", 1), (4, "cleared", 0)], "cleared"),
        ([1, 1, 0, 0, 1, 0, 0], [(1, "raised", 1)], "clearing"),  # the count begins anew
        ([3, 3, 1, 1, 1], [(1, "raised", 3), (4, "better", 1)], "raised"),
        ([3, 3, 0, 2, 0], [(1, "raised", 3), (4, "better", 2)], "raised"),  # as far down as all three allow
        ([3, 3, 0, 0, 0], [(1, "raised", 3), (4, "cleared", 0)], "cleared"),
    ],
)
def test_the_life_of_an_alert(readings, changes, state):
    alert, found = live(readings)

    assert found == changes
    assert alert.state == state


def test_what_the_deadband_holds_is_neither_raised_nor_cleared():
    alert, changes = live([Reading(1, 1), Reading(1, 1), *[Reading(0, 1)] * 10])

    assert changes == [(1, "raised", 1)]
    assert alert.state == "raised"


def test_missing_data_stops_every_count_and_resets_none():
    alert, changes = live([1, NO_DATA, 1, 0, NO_DATA, NO_DATA, NO_DATA, NO_DATA, 0])
    assert changes == [(2, "raised", 1)]
    assert (alert.state, alert.updates_below) == ("clearing", 2)

    _, changes = live([1, 1, *[NO_DATA] * 50])
    assert changes == [(1, "raised", 1)]


@given(st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=40))
def test_removing_updates_without_data_changes_no_decision(readings):
    with_gaps = [(kind, level) for _, kind, level in live(readings)[1]]
    without = [(kind, level) for _, kind, level in live([r for r in readings if r is not None])[1]]

    assert with_gaps == without


@given(st.lists(st.integers(0, 4), max_size=60))
def test_every_history_is_a_legal_one(readings):
    level, is_open = 0, False
    for _, kind, new in live(readings)[1]:
        if kind == "raised":
            assert not is_open
            is_open = True
        elif kind == "worse":
            assert is_open
            assert new > level
        elif kind == "better":
            assert is_open
            assert 0 < new < level
        elif kind == "cleared":
            assert is_open
            assert new == 0
            is_open = False
        level = new


def test_a_cleared_alert_stays_cleared():
    alert, _ = live([1, 1, 0, 0, 0])

    assert advance(alert, Reading(4, 4), DAY + timedelta(days=99), 2, 3) == (alert, None)


def test_a_zone_that_merges_hands_over_what_people_were_told():
    told, _ = live([3, 3])
    fresh = begin_alert("older", 1, DAY, "rules")

    closed, change = merge_alert(told, DAY)
    heir = inherit(fresh, told, updates_to_raise=2)
    raised, news = advance(heir, Reading(3, 3), DAY, 2, 3)

    assert closed.state == "merged"
    assert change is not None
    assert change.type == "merged"
    assert news is not None
    assert (news.type, raised.level) == ("raised", 3)


def test_nothing_is_inherited_from_a_lower_level():
    high, _ = live([3, 3])
    low, _ = live([1, 1])

    assert inherit(high, low, 2) == high


def test_a_suspicion_that_merges_or_ends_is_no_news():
    suspicion, _ = live([1])

    assert merge_alert(suspicion, DAY)[1] is None
    assert close_unraised(suspicion, DAY).state == "cleared"
    assert close_unraised(suspicion, DAY).raised_epoch is None


def test_ids_are_made_from_what_they_name():
    one, other = begin_alert("z", 1, DAY, "a"), begin_alert("z", 1, DAY + timedelta(days=9), "b")

    assert isinstance(one, Alert)
    assert one.id == other.id != begin_alert("z", 2, DAY, "a").id
    assert event_id(one.id, DAY, "raised") != event_id(one.id, DAY, "worse")


def test_a_reading_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="level 2 is proved"):
        Reading(2, 1)
