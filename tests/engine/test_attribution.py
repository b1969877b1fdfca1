"""Who is at fault: one interferogram that is wrong is found, and what could be several is left to nobody."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagwatch.engine.attribution import Jury, Network, Verdict
from sagwatch.engine.closure import UNKNOWN, triangles

DAYS = [date(2024, 1, 1) + timedelta(days=12 * i) for i in range(10)]


def network(neighbours: int) -> list[tuple[date, date]]:
    return [pair for pair in combinations(DAYS, 2) if (pair[1] - pair[0]).days <= 12 * neighbours]


def jury_of(errors: dict, neighbours: int = 2, unknown=()) -> Jury:
    """A jury that sees the closures of these errors (cycles by pair, arrays or one number)."""
    every = Network(triangles(network(neighbours)))
    shape = np.broadcast_shapes((6, 8), *(np.shape(value) for value in errors.values()))

    def cycles(triangle):
        total = np.zeros(shape, np.int8)
        for pair, sign in triangle.legs:
            total = total + np.int8(sign) * np.asarray(errors.get(pair, 0), np.int8)
        return np.where(any(pair in unknown for pair, _ in triangle.legs), UNKNOWN, total).astype(np.int8)

    return Jury(every, cycles)


def pair(first: int, last: int) -> tuple[date, date]:
    return DAYS[first], DAYS[last]


@pytest.mark.parametrize("wrong", [pair(3, 5), pair(3, 4), pair(4, 6)])
@pytest.mark.parametrize("cycles", [1, -2])
@pytest.mark.parametrize("neighbours", [2, 3])
def test_one_that_is_wrong_is_found_and_no_other_is_suspected(wrong, cycles, neighbours):
    jury = jury_of({wrong: cycles}, neighbours)

    for one in network(neighbours):
        accused = jury.accused(one)
        assert (accused.fault == (cycles if one == wrong else 0)).all(), one
        assert not accused.suspect.any(), one


def test_at_the_end_of_the_record_the_long_pair_and_the_short_one_may_both_be_it():
    jury = jury_of({pair(7, 9): 1})

    assert not jury.accused(pair(7, 9)).fault.any()
    assert jury.accused(pair(7, 9)).suspect.all()
    assert jury.accused(pair(8, 9)).suspect.all()
    assert not jury.accused(pair(7, 8)).suspect.any(), "the triangle before confirms it"


def test_three_triangles_in_a_row_are_ambiguous():
    jury = jury_of({pair(2, 4): 1, pair(3, 5): 1, pair(4, 6): 1})

    assert not any(jury.accused(one).fault.any() for one in network(2))
    suspected = [one for one in network(2) if jury.accused(one).suspect.all()]
    assert suspected == [pair(2, 4), pair(3, 4), pair(3, 5), pair(4, 5), pair(4, 6)]


def test_a_triangle_without_data_confirms_nothing():
    jury = jury_of({pair(3, 5): 1}, unknown=[pair(4, 6)])

    assert not jury.accused(pair(3, 5)).fault.any()
    assert jury.accused(pair(3, 5)).suspect.all()
    assert jury.accused(pair(4, 5)).suspect.all()


def test_cycles_are_added_where_the_fault_has_company_and_masked_where_it_stands_alone():
    errors = np.zeros((6, 8), np.int8)
    errors[1:4, 1:4], errors[5, 7], errors[1:4, 5:7] = 2, 2, -1
    accused = jury_of({pair(3, 5): errors}).accused(pair(3, 5))

    repair = Verdict(repair=True, least_pixels=7).on(accused)

    expected = np.zeros((6, 8))
    expected[1:4, 1:4] = -2
    np.testing.assert_array_equal(repair.cycles, expected)
    np.testing.assert_array_equal(repair.masked, (errors != 0) & (expected == 0))
    phase = np.full((6, 8), 4.0, np.float32)
    repaired = repair.apply(phase)
    np.testing.assert_allclose(repaired[1:4, 1:4], 4 - 4 * np.pi, rtol=1e-6)
    assert np.isnan(repaired[5, 7])
    assert repaired[0, 0] == 4
    assert not Verdict(repair=False, least_pixels=1).on(accused).cycles.any()


def test_the_shortest_pairs_are_never_masked_because_they_hold_the_network_together():
    jury = jury_of({pair(2, 4): 1, pair(3, 5): 1, pair(4, 6): 1})

    masked = [one for one in network(2) if Verdict(False, 2).on(jury.accused(one)).masked.any()]

    assert masked == [pair(2, 4), pair(3, 5), pair(4, 6)]
    assert jury.accused(pair(3, 4)).suspect.all()


@given(st.dictionaries(st.sampled_from(network(3)), st.integers(-2, 2).filter(bool), max_size=3))
@settings(max_examples=60, deadline=None)
def test_adding_back_what_is_found_closes_every_triangle_of_a_pair_or_changes_nothing(errors):
    """Whatever is wrong: a fault that is named explains all contradictions around it, by the fewest cycles."""
    jury = jury_of(errors, 3)
    found = {one: -int(jury.accused(one).fault[0, 0]) for one in network(3)}
    after = jury_of({one: errors.get(one, 0) + found[one] for one in network(3)}, 3)

    for one, added in found.items():
        if added:
            for triangle, _ in jury.network.of_pair[one]:
                assert not after.cycles(triangle).any()
    assert sum(map(abs, found.values())) <= sum(map(abs, errors.values()))
