"""Who is at fault: invented cycles are found where closures can tell, and nothing is done where they cannot."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagwatch.engine.closure import CYCLE_RAD, triangles
from sagwatch.engine.faults import Attribution, Treatment, decide, decision_key

DAYS = [date(2024, 1, 1) + timedelta(days=12 * i) for i in range(12)]
SHAPE = (1, 1)


def network(neighbours=2, n=9):
    return [(DAYS[a], DAYS[b]) for a in range(n) for b in range(a + 1, min(a + neighbours, n - 1) + 1)]


def pair(a, b):
    return DAYS[a], DAYS[b]


def attribution(pairs, faults, shape=SHAPE, unknown=()):
    """``faults`` maps a pair to the cycles it has too many; pairs in ``unknown`` have no phase."""

    def closure(triangle):
        total = sum(triangle.sign(one) * np.asarray(faults.get(one, 0)) for one in triangle.pairs)
        known = np.full(shape, not any(one in unknown for one in triangle.pairs))
        return np.where(known, np.broadcast_to(total, shape), 0).astype(np.int16), known

    return Attribution(pairs, closure)


def found(pairs, faults, **words):
    """Pairs that are named, with their cycles, and pairs for which something is ambiguous."""
    one = attribution(pairs, faults, **words)
    named = {p: int(one.at_fault(p)[0, 0]) for p in pairs if one.of(p) and one.at_fault(p)[0, 0]}
    return named, {p for p in pairs if one.of(p) and one.ambiguous(p)[0, 0]}


@pytest.mark.parametrize("neighbours", [2, 3, 4])
@pytest.mark.parametrize("cycles", [1, -2])
def test_one_pair_at_fault_inside_the_network_is_named_with_its_cycles(neighbours, cycles):
    pairs = network(neighbours)
    for a, b in ((3, 4), (3, 5), (4, 5), (4, 6)):
        assert found(pairs, {pair(a, b): cycles}) == ({pair(a, b): cycles}, set())


def test_at_the_newest_date_nobody_knows_until_the_next_triangle_comes():
    newest = pair(5, 6)
    named, ambiguous = found(network(n=7), {newest: 1})
    assert named == {}
    assert ambiguous == {pair(4, 5), newest, pair(4, 6)}
    assert found(network(n=8), {newest: 1}) == ({newest: 1}, set())
    # The long pair of the same triangle looks the same at first.
    assert found(network(n=7), {pair(4, 6): -1})[0] == {}
    assert found(network(n=8), {pair(4, 6): -1}) == ({pair(4, 6): -1}, set())


def test_what_two_faults_make_is_left_as_it_is_and_counted():
    for faults in (
        {pair(3, 4): 1, pair(4, 5): 1},  # 1, 2, 1
        {pair(3, 5): 1, pair(4, 6): -1},  # opposite signs in two adjacent triangles
        {pair(3, 5): 1, pair(5, 7): 1},  # 1, 0, 1: or two short pairs
        {pair(3, 4): 1, pair(3, 5): -1},  # 1, 2
    ):
        named, ambiguous = found(network(), faults)
        assert named == {}, faults
        assert ambiguous >= set(faults), faults


def test_a_triangle_that_is_not_known_names_nobody():
    # Without pair 4-6 the triangle after is unknown: the short pair 4-5 could be it as well as the long one.
    assert found(network(), {pair(3, 5): 1}, unknown={pair(4, 6)})[0] == {}
    # Nor does a second contradiction, behind the one that is unknown, make it the long pair's.
    two = {pair(3, 5): 1, pair(6, 8): 1}
    assert found(network(n=11), two, unknown={pair(4, 6)})[0] == {pair(6, 8): 1}
    assert found(network(), {pair(3, 5): 1}, unknown={pair(7, 8)})[0] == {pair(3, 5): 1}


def test_three_that_err_together_close_and_a_wrong_one_is_named_beside_them():
    """The limit that the docstring admits: closures see the sum only. What is done to the wrong one stays counted."""
    faults = {pair(3, 5): 1, pair(4, 5): 1}
    named, _ = found(network(), faults)
    assert named == {pair(4, 6): -1}
    one = attribution(network(), faults)
    assert decide(one, pair(4, 6), "mask", 1).as_json() == {"masked": 1, "repaired": 0, "ambiguous": 0}


def test_repair_wants_a_region_that_agrees_and_gives_the_truth_back():
    shape = (20, 30)
    blob = np.zeros(shape, np.int16)
    blob[4:9, 4:10] = 2
    blob[15, 20] = 1
    wrong_one, pairs = pair(3, 5), network(3)
    one = attribution(pairs, {wrong_one: blob}, shape)
    truth = np.random.default_rng(2).normal(0, 1, shape).astype(np.float32)
    wrong = truth + np.float32(CYCLE_RAD) * blob

    repair = decide(one, wrong_one, "repair", 20)
    assert repair.as_json() == {"masked": 1, "repaired": 30, "ambiguous": 0}
    mended = repair.apply(wrong)
    assert np.isnan(mended[15, 20])
    np.testing.assert_allclose(mended[~repair.masked], truth[~repair.masked], atol=2e-6)
    mask = decide(one, wrong_one, "mask", 20)
    np.testing.assert_array_equal(np.isnan(mask.apply(wrong)), blob != 0)
    assert len({repair.sha256, mask.sha256, decide(one, wrong_one, "repair", 31).sha256}) == 2
    others = [decide(one, p, "repair", 20) for p in pairs if p != wrong_one]
    assert not any(other.changes for other in others)


@pytest.mark.parametrize(("rule", "done"), [("mask", "masked"), ("repair", "repaired")])
def test_where_no_face_draws_the_ground_along_it_is_only_told(rule, done):
    shape = (6, 6)
    near = np.zeros(shape, np.bool_)
    near[:, :2] = True
    one = attribution(network(3), {pair(3, 5): np.ones(shape, np.int16)}, shape)

    treatment = decide(one, pair(3, 5), rule, 36, near)

    np.testing.assert_array_equal(getattr(treatment, done), near)
    np.testing.assert_array_equal(treatment.ambiguous, ~near)
    assert decide(one, pair(3, 5), rule, 36).as_json() == {
        "masked": 0,
        "repaired": 0,
        "ambiguous": 0,
        done: 36,
    }
    # Two that err one after the other are not named, but lag.
    lagging = attribution(
        network(), dict.fromkeys((pair(2, 4), pair(3, 5), pair(4, 6)), -np.ones(shape, np.int16)), shape
    )
    assert decide(lagging, pair(3, 5), rule, 1).as_json()["masked"] == 36
    treatment = decide(lagging, pair(3, 5), rule, 1, near)
    np.testing.assert_array_equal(treatment.masked, near)
    np.testing.assert_array_equal(treatment.ambiguous, ~near)


@pytest.mark.parametrize("neighbours", [2, 3, 4])
def test_the_shortest_pair_is_never_masked_but_repaired(neighbours):
    shape = (6, 6)
    one = attribution(network(neighbours), {pair(3, 4): np.ones(shape, np.int16)}, shape)
    mask = {p: decide(one, p, "mask", 1).as_json() for p in network(neighbours)}
    assert {p for p, said in mask.items() if said["masked"]} == set()
    assert mask[pair(3, 4)] == {"masked": 0, "repaired": 0, "ambiguous": 36}
    repair = decide(one, pair(3, 4), "repair", 36)
    assert repair.as_json() == {"masked": 0, "repaired": 36, "ambiguous": 0}
    assert decide(one, pair(3, 4), "repair", 37).as_json() == mask[pair(3, 4)]


def test_suspects_are_masked_where_the_long_ones_lag_again_and_again():
    def masked(faults, **words):
        one = attribution(network(**words), faults)
        return {p for p in network(**words) if decide(one, p, "mask", 1).masked.any()}

    # One triangle, or two, may be anything. What sinks and is too steep for the long pairs: all of these lag.
    assert masked({pair(5, 6): 1}, n=7) == set()
    assert masked({pair(4, 6): -1, pair(5, 7): -1}) == set()
    sinking = {pair(a, a + 2): -1 for a in (1, 2, 3)}
    assert masked(sinking) == set(sinking)
    # The newest one as well, which no triangle after it confirms.
    newest = {pair(a, a + 2): -1 for a in (2, 3, 4)}
    assert masked(newest, n=7) == set(newest)
    # Short ones that err so often look the same; the long ones are spared for nothing, and the network stays whole.
    assert masked({pair(3, 4): 1, pair(4, 5): 1}) == {pair(2, 4), pair(3, 5), pair(4, 6)}
    # A cycle too few is not what sinking ground does: then the long pairs stay.
    assert masked(dict.fromkeys(sinking, 1)) == set()
    ambiguous = attribution(network(), dict.fromkeys(sinking, 1))
    assert all(decide(ambiguous, p, "mask", 1).as_json()["ambiguous"] for p in sinking)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 4]), st.sampled_from(["mask", "repair"]))
def test_no_pixel_loses_a_way_from_one_date_to_another(seed, neighbours, rule):
    rng, shape, pairs = np.random.default_rng(seed), (12, 12), network(neighbours)
    faults = {p: np.where(rng.random(shape) < 0.2, rng.integers(-2, 3, shape), 0) for p in pairs}
    gaps = {p: rng.random(shape) < 0.1 for p in pairs}

    def closure(triangle):
        known = ~np.logical_or.reduce([gaps[p] for p in triangle.pairs])
        total = sum(triangle.sign(p) * faults[p] for p in triangle.pairs)
        return np.where(known, total, 0).astype(np.int16), known

    one = Attribution(pairs, closure)
    masked = {p: decide(one, p, rule, 3).masked for p in pairs}
    assert any(where.any() for where in masked.values())
    for place in np.ndindex(shape):
        before = [p for p in pairs if not gaps[p][place]]
        assert parts([p for p in before if not masked[p][place]]) == parts(before)


def parts(pairs):
    """Which dates hang together: for each the first one of its part."""
    first = {day: day for day in DAYS}
    for _ in DAYS:
        for a, b in pairs:
            first[a] = first[b] = min(first[a], first[b])
    return first


def test_what_one_triangle_alone_tells_is_masked_and_never_repaired():
    shape = (6, 6)
    one = attribution(network(), {pair(3, 5): np.ones(shape, np.int16)}, shape)
    assert decide(one, pair(3, 5), "repair", 1).as_json() == {"masked": 36, "repaired": 0, "ambiguous": 0}
    wider = attribution(network(3), {pair(3, 5): np.ones(shape, np.int16)}, shape)
    assert decide(wider, pair(3, 5), "repair", 1).as_json() == {"masked": 0, "repaired": 36, "ambiguous": 0}


def test_a_pair_in_no_triangle_is_left_alone():
    assert decide(attribution(network(1), {}), pair(0, 1), "mask", 1) is None


@st.composite
def lives(draw):
    """A network with faults and gaps at many pixels, and its pairs arriving in any order, in any batches."""
    pairs = network(draw(st.sampled_from([2, 2, 3])), n=12)
    seed = draw(st.integers(0, 10_000))
    order = draw(st.permutations(pairs))
    cuts = sorted(draw(st.sets(st.integers(1, len(pairs) - 1), max_size=12)))
    return pairs, seed, [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(pairs)], strict=True)]


@settings(max_examples=60, deadline=None)
@given(lives())
def test_any_order_and_batching_of_arrivals_ends_with_the_same_treated_set(life):
    pairs, seed, batches = life
    rng = np.random.default_rng(seed)
    shape = (10, 20)
    faults = {p: np.where(rng.random(shape) < 0.1, rng.integers(-1, 2, shape), 0) for p in pairs}
    gaps = {p: rng.random(shape) < 0.06 for p in pairs}

    def closure(triangle):
        known = ~np.logical_or.reduce([gaps[p] for p in triangle.pairs])
        total = sum(triangle.sign(p) * faults[p] for p in triangle.pairs)
        return np.where(known, total, 0).astype(np.int16), known

    def keyed(there, decided):
        """As the step does it: only where what a decision depends on has changed."""
        one = Attribution(there, closure)
        ids = {p: f"{p[0]}{p[1]}" for p in there}
        for p in there:
            key = decision_key(one, p, ids, "repair", 2, (0, 0))
            if decided.get(p, ("", None))[0] != key:
                decided[p] = key, decide(one, p, "repair", 2)
        return decided

    there, decided = [], {}
    for batch in batches:
        there = [*there, *batch]
        keyed(there, decided)
    assert said(decided) == said(keyed(pairs, {}))


def said(decided):
    return {p: (t.sha256, t.as_json()) if isinstance(t, Treatment) else None for p, (_, t) in decided.items()}


def test_a_decision_depends_on_what_is_near_only():
    days = [date(2020, 1, 1) + timedelta(days=12 * i) for i in range(60)]
    pairs = [(days[a], days[b]) for a in range(60) for b in range(a + 1, min(a + 2, 59) + 1)]
    one = Attribution(pairs, lambda _: (np.zeros(SHAPE, np.int16), np.ones(SHAPE, bool)))
    assert len(triangles(pairs)) == 58
    assert len(one.depends_on((days[30], days[31]))) <= 12
