"""The network rule against a brute-force statement of it, and against asf_search's own network."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagwatch.domain.acquisition import Acquisition
from sagwatch.domain.network import connected_groups, plan_network
from sagwatch.domain.stack_rules import NetworkRules

FIRST = date(2024, 1, 1)


def acquisition(day: int, across_m: float | None = 0.0) -> Acquisition:
    on = FIRST + timedelta(days=day)
    noon = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
    return Acquisition("site/t011a", on, noon, "S1A", (f"g{day}",), across_m)


tracks = st.dictionaries(
    st.integers(0, 200), st.one_of(st.none(), st.integers(-400, 400).map(float)), min_size=0, max_size=25
).map(lambda days: [acquisition(day, across) for day, across in days.items()])
rules = st.builds(
    NetworkRules,
    max_days=st.integers(1, 60),
    max_perpendicular_m=st.integers(1, 400),
    neighbours=st.integers(1, 5),
    bridge=st.booleans(),
)


def within(first: Acquisition, second: Acquisition, rule: NetworkRules) -> bool:
    if (second.date - first.date).days > rule.max_days:
        return False
    across = (first.perpendicular_baseline_m, second.perpendicular_baseline_m)
    return None in across or abs(across[1] - across[0]) <= rule.max_perpendicular_m


def by_brute_force(acquisitions: list[Acquisition], rule: NetworkRules) -> set[tuple[date, date]]:
    """A pair is wanted if it is within both limits and fewer than N closer ones from its first date are."""
    wanted = set()
    for first, second in combinations(sorted(acquisitions, key=lambda a: a.date), 2):
        closer = [a for a in acquisitions if first.date < a.date < second.date and within(first, a, rule)]
        if within(first, second, rule) and len(closer) < rule.neighbours:
            wanted.add((first.date, second.date))
    return wanted


def dates_of(pairs) -> set[tuple[date, date]]:
    return {(pair.reference, pair.secondary) for pair in pairs}


@settings(deadline=None, max_examples=80)
@given(tracks, rules)
def test_the_plan_is_the_rule_and_the_bridges(acquisitions, rule):
    plan = plan_network(acquisitions, rule)

    wanted = by_brute_force(acquisitions, rule)
    assert dates_of(plan.pairs) - dates_of(plan.bridges) == wanted
    assert len(dates_of(plan.pairs)) == len(plan.pairs)
    for bridge in plan.bridges:
        before = [a.date for a in acquisitions if a.date < bridge.secondary]
        assert bridge.reference == max(before)
        assert not any(second == bridge.secondary for _, second in wanted)


@settings(deadline=None, max_examples=80)
@given(tracks, rules, st.randoms())
def test_the_order_in_which_acquisitions_come_changes_nothing(acquisitions, rule, random):
    shuffled = acquisitions.copy()
    random.shuffle(shuffled)

    assert plan_network(shuffled, rule) == plan_network(acquisitions, rule)


@settings(deadline=None, max_examples=80)
@given(tracks, rules, st.integers(1, 60))
def test_a_newer_acquisition_never_takes_a_pair_away(acquisitions, rule, days_later):
    newest = max((a.date for a in acquisitions), default=FIRST)
    later = acquisition((newest - FIRST).days + days_later)

    assert dates_of(plan_network(acquisitions, rule).pairs) <= dates_of(
        plan_network([*acquisitions, later], rule).pairs
    )


@settings(deadline=None, max_examples=80)
@given(tracks, rules)
def test_bridges_leave_nothing_disconnected(acquisitions, rule):
    plan = plan_network(acquisitions, rule)

    groups = connected_groups([a.date for a in acquisitions], plan.pairs)
    assert len(groups) == (len(plan.disconnected) + 1 if acquisitions else 0)
    if rule.bridge:
        assert plan.disconnected == ()


def test_a_gap_is_reported_with_its_dates_and_the_remedy():
    acquisitions = [acquisition(day) for day in (0, 12, 24, 90, 102)]

    plan = plan_network(acquisitions, NetworkRules())

    assert plan.disconnected == ((date(2024, 3, 31), date(2024, 4, 12)),)
    assert "2024-03-31 to 2024-04-12 (2 dates)" in plan.explanations[0]
    assert "bridge: true" in plan.explanations[0]


def test_a_gap_is_bridged_by_one_pair_where_the_site_allows():
    acquisitions = [acquisition(day) for day in (0, 12, 24, 90, 102)]

    plan = plan_network(acquisitions, NetworkRules(bridge=True))

    assert dates_of(plan.bridges) == {(date(2024, 1, 25), date(2024, 3, 31))}
    assert "bridge over 66 days" in plan.bridges[0].why


def test_an_acquisition_beyond_the_perpendicular_limit_takes_no_place_among_the_neighbours():
    acquisitions = [acquisition(0), acquisition(6, 900.0), acquisition(12), acquisition(18)]

    plan = plan_network(acquisitions, NetworkRules(neighbours=2))

    assert (date(2024, 1, 1), date(2024, 1, 19)) in dates_of(plan.pairs)
    assert plan.disconnected == ((date(2024, 1, 7),),)


def test_a_missing_baseline_is_allowed_and_said():
    plan = plan_network([acquisition(0), acquisition(12, None)], NetworkRules())

    assert len(plan.pairs) == 1
    assert plan.pairs[0].perpendicular_baseline_m is None
    assert "no state vectors" in plan.pairs[0].why


def test_named_pairs_are_all_there_is_and_missing_dates_are_explained():
    days = [(FIRST, date(2024, 3, 1)), (FIRST, date(2024, 4, 1))]
    rule = NetworkRules(only=days, max_days=1)

    plan = plan_network([acquisition(0), acquisition(12), acquisition(60)], rule)

    assert dates_of(plan.pairs) == {days[0]}
    assert plan.explanations == ("2024-01-01 to 2024-04-01 waits: no acquisition of 2024-04-01",)


@pytest.mark.real_data
def test_asf_search_plans_the_same_network_on_its_own_stack(real_data):
    """70 of 166 real dates of S1A and S1B (all of them take half a minute); without a limit of neighbours both
    state the same rule.

    asf_search takes each pair's baseline at the pair's own orbit time, we take differences of baselines to one date,
    so they may differ by metres: only pairs that close to the limit may be in one network and not in the other.
    """
    import asf_search
    from asf_search.SBASNetwork import SBASNetwork
    from asf_search.search.search_generator import as_ASFProduct

    from sagwatch.adapters.asf import _baselines_m, _granule
    from sagwatch.domain.acquisition import merge_granules
    from tests.steps.small_site import burst_track

    answer = json.loads((real_data / "cmr" / "s1_burst_stack_166.umm_json").read_text())
    products = [as_ASFProduct(item, session=asf_search.ASFSession()) for item in answer["items"][60:130]]
    track = burst_track("descending", "174_372326_IW3")
    baselines = _baselines_m(track, products, [])
    merged = merge_granules(track, [_granule(p) for p in products], baselines, {})
    assert len(merged.acquisitions) == 70

    rule = NetworkRules(max_days=30, max_perpendicular_m=60, neighbours=20)
    ours = dates_of(plan_network(merged.acquisitions, rule).pairs)

    oldest_first = asf_search.ASFSearchResults(sorted(products, key=lambda p: p.properties["startTime"]))
    network = SBASNetwork.from_search_results(
        oldest_first, perpendicular_baseline=60, inseason_temporal_baseline=30, bridge_year_threshold=0
    )
    theirs = {(pair.ref_time.date(), pair.sec_time.date()) for pair in network.subset_stack}
    at_the_limit = {
        (first, second)
        for first, second in ours ^ theirs
        if abs(abs(baselines[second] - baselines[first]) - 60) > 5
    }
    assert at_the_limit == set()
    assert 50 < len(ours & theirs) < len(plan_network(merged.acquisitions, NetworkRules(neighbours=20)).pairs)
