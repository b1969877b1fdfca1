"""Incoherent interferograms go, and of those that hold the network together only the best that do it stay."""

from datetime import date, timedelta
from itertools import combinations, pairwise

import numpy as np

from sagwatch.domain.coherence import Measured, Standing, stand
from sagwatch.domain.network import connected_groups
from sagwatch.domain.pair import Pair
from sagwatch.domain.stack_rules import CoherenceRules

DAYS = [date(2019, 6, 10) + timedelta(days=12 * i) for i in range(8)]
RULES = CoherenceRules(least_mean=0.1)


def one(first: int, second: int, coherence: float) -> Measured:
    return Measured(f"{first}x{second}", DAYS[first], DAYS[second], coherence)


def kept(standings: dict[str, Standing]) -> set[str]:
    return {name for name, standing in standings.items() if standing.kept}


def test_an_incoherent_interferogram_beside_coherent_ones_is_left_out_with_its_number():
    found = stand([one(0, 1, 0.5), one(1, 2, 0.1), one(0, 2, 0.0999)], RULES)

    assert found == {
        "0x1": Standing(True),
        "1x2": Standing(True),
        "0x2": Standing(False, "mean coherence 0.100 is below 0.1"),
    }


def test_the_best_of_the_bad_is_kept_for_a_date_that_would_stand_alone():
    found = stand([one(0, 1, 0.5), one(1, 2, 0.06), one(0, 2, 0.08), one(2, 3, 0.03), one(1, 3, 0.2)], RULES)

    assert kept(found) == {"0x1", "1x3", "0x2"}
    assert found["0x2"].reason == (
        "kept, although its mean coherence 0.080 is below 0.1: without it 2019-07-04 would stand alone"
    )


def test_one_bridge_is_enough_between_two_halves_and_says_what_it_holds():
    halves = [
        one(0, 1, 0.5),
        one(1, 2, 0.5),
        one(3, 4, 0.5),
        one(2, 3, 0.02),
        one(1, 3, 0.05),
        one(2, 4, 0.04),
    ]

    found = stand(halves, RULES)

    assert kept(found) == {"0x1", "1x2", "3x4", "1x3"}
    assert "without it 2 acquisitions from 2019-07-16 to 2019-07-28 would hang" in found["1x3"].reason


def test_what_was_kept_is_left_out_again_when_something_better_comes():
    first = [one(0, 1, 0.5), one(1, 2, 0.08)]
    assert kept(stand(first, RULES)) == {"0x1", "1x2"}

    assert kept(stand([*first, one(0, 2, 0.3)], RULES)) == {"0x1", "0x2"}


def test_without_keep_connected_nothing_incoherent_stays():
    rules = CoherenceRules(least_mean=0.1, keep_connected=False)

    assert kept(stand([one(0, 1, 0.5), one(1, 2, 0.08)], rules)) == {"0x1"}


def test_any_set_stays_as_connected_as_it_was_with_no_bad_one_too_many_and_in_any_order():
    rng = np.random.default_rng(4)
    for _ in range(60):
        pairs = [pair for pair in combinations(range(8), 2) if rng.random() < 0.35]
        measured = [one(a, b, float(rng.uniform(0, 0.2))) for a, b in pairs]
        found = stand(measured, RULES)

        assert found == stand([measured[i] for i in rng.permutation(len(measured))], RULES)
        whole, dates = _groups(measured), {day for m in measured for day in (m.reference, m.secondary)}
        stack = [m for m in measured if found[m.id].kept]
        assert _groups(stack, dates) == whole
        for low in (m for m in stack if m.mean_coherence < 0.1):
            assert len(_groups([m for m in stack if m is not low], dates)) == len(whole) + 1
        # Everything left out is no better than anything kept on the way between its dates.
        for out in (m for m in measured if not found[m.id].kept):
            better = [m for m in stack if m.mean_coherence >= out.mean_coherence]
            assert any({out.reference, out.secondary} <= set(g) for g in _groups(better, dates))


def test_a_chain_of_nothing_but_bad_ones_stays_a_chain():
    chain = [one(a, b, 0.01 * (a + 1)) for a, b in pairwise(range(8))]

    assert kept(stand(chain, RULES)) == {m.id for m in chain}
    assert stand([], RULES) == {}


def _groups(measured, dates=()):
    days = set(dates) | {day for m in measured for day in (m.reference, m.secondary)}
    return connected_groups(days, [Pair("t", m.reference, m.secondary, None) for m in measured])
