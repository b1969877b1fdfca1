"""Incoherent interferograms that come and go, and products whose orbits were not final yet, over the real clients."""

from datetime import UTC, date, datetime

import pytest

from sagwatch.domain.orbits import Orbits
from sagwatch.steps.sort_interferograms import sort_interferograms
from sagwatch.steps.update_stack import update_stack
from tests.steps.small_site import SmallSystem, small_system

ORBITS = "credits_per_month: 8000\norbits: {precise_m: 0.03, restituted_m: 0.1, precise_after_days: 20}"


@pytest.fixture
def system(tmp_path, ledger, monkeypatch):
    write = small_world_with_orbits()
    monkeypatch.setattr("tests.steps.small_site.write_small_world", write)
    with small_system(tmp_path, ledger) as running:
        yield running


def small_world_with_orbits():
    from tests.simulation.small_world import write_small_world

    def write(folder, **replacements):
        file = write_small_world(folder, **replacements)
        file.write_text(file.read_text().replace("credits_per_month: 8000", ORBITS))
        return file

    return write


def table(system: SmallSystem) -> dict[tuple[date, date], tuple]:
    rows = system.query(
        "SELECT reference_date, secondary_date, interferogram.state, orbits, reason FROM sagwatch.interferogram "
        "JOIN sagwatch.pair ON pair.id = pair_id ORDER BY 1, 2, made_at, interferogram.id"
    )
    return {(first, second): (state, orbits, reason) for first, second, state, orbits, reason in rows}


def test_the_ledger_keeps_a_bad_one_as_long_as_it_is_needed(system):
    system.sim.show(3)
    system.run()
    low = (
        "UPDATE sagwatch.interferogram SET mean_coherence = {} "
        "WHERE pair_id IN (SELECT id FROM sagwatch.pair WHERE {})"
    )
    system.execute(
        low.format(0.08, "secondary_date = '2024-01-25' AND reference_date = '2024-01-01'"),
        low.format(0.05, "secondary_date = '2024-01-25' AND reference_date = '2024-01-13'"),
    )

    assert len(sort_interferograms(system.site, system.track, system.ledger)) == 2
    assert sort_interferograms(system.site, system.track, system.ledger) == []

    first, second, third = date(2024, 1, 1), date(2024, 1, 13), date(2024, 1, 25)
    assert table(system)[first, third] == (
        "accepted",
        "restituted",
        "kept, although its mean coherence 0.080 is below 0.1: without it 2024-01-25 would stand alone",
    )
    assert table(system)[second, third] == ("excluded", "restituted", "mean coherence 0.050 is below 0.1")
    [health] = system.query(
        "SELECT pieces, excluded, kept_although_low, round(lowest_coherence::numeric, 2)::float, "
        "largest_gap_days, single_dates "
        "FROM analyst.network_health"
    )
    assert health[:5] == (1, 1, 1, pytest.approx(0.08), 12)
    assert health[5] == [first, third] or health[5] == [second, third]

    system.sim.show(4)  # the next acquisition joins it to the rest by better ones
    system.run()
    assert table(system)[first, third][:1] == ("excluded",)
    assert set(system.states().values()) == {"used"}


def test_a_network_that_falls_apart_is_counted_in_pieces(system):
    system.sim.show(5)
    system.run()
    middle = "2024-01-25"
    system.execute(
        "UPDATE sagwatch.interferogram SET mean_coherence = 0.01 WHERE pair_id IN (SELECT id FROM sagwatch.pair "
        f"WHERE reference_date < '{middle}' AND secondary_date >= '{middle}')"
    )
    torn = system.with_site(coherence={"keep_connected": False})

    sort_interferograms(torn.site, torn.track, torn.ledger)

    assert torn.query("SELECT pieces, excluded FROM analyst.network_health") == [(2, 3)]
    assert torn.query(
        "SELECT month, interferograms, below_share, years, dark_years FROM analyst.seasonal_coherence"
    ) == [
        (1, 5, 0.6, 1, 1),
        (2, 2, 0.0, 1, 0),
    ]


def test_without_the_switch_nothing_is_ordered_twice(system):
    system.sim.show(3)
    system.run()
    assert {orbits for _, orbits, _ in table(system).values()} == {"restituted"}
    paid = system.jobs_at_hyp3()

    system.sim.advance_to(datetime(2024, 3, 20, tzinfo=UTC))
    system.submit()

    assert system.jobs_at_hyp3() == paid


def test_a_pair_is_made_once_more_with_precise_orbits_and_takes_the_place_of_the_first(system):
    system.sim.show(3)
    again = system.with_site(network={"reorder_restituted": True}, end="2024-01-26")
    first = {result.dates: result for result in again.run()}
    assert again.submit() == [], "the precise orbits are not out yet"
    assert update_stack(again.site, again.track, again.ledger, again.data, again.now)
    before = again.ledger.revisions.newest(again.track.id)
    # Ordered on 26 January: the precise orbit of the first date was out.
    orbits = again.ledger.network.epoch_orbits(before.interferograms)
    assert list(orbits.values()) == [Orbits.PRECISE, Orbits.RESTITUTED, Orbits.RESTITUTED]

    again.sim.advance_to(datetime(2024, 2, 14, tzinfo=UTC))  # 20 days after the last one
    assert len(again.submit()) == 1  # that of the first two dates
    again.fetch_all()
    again.sim.advance_to(datetime(2024, 2, 20, tzinfo=UTC))
    again.sim.faults(fail_orders=[5])
    names = again.submit()
    assert len(names) == 2
    assert {name[-2:] for name in names} == {"-2"}
    assert len(again.query("SELECT 1 FROM sagwatch.interferogram WHERE state = 'accepted'")) == 3
    results = again.fetch_all()
    again.sim.faults()

    assert [result.state for result in results] == ["accepted"], "the failed one leaves the first where it is"
    assert again.ledger.network.to_reorder(again.track.id, again.now) == []
    assert again.submit() == [], "never a third"
    assert len(again.jobs_at_hyp3()) == 6
    states = again.query(
        "SELECT state, orbits, count(*) FROM sagwatch.interferogram GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert states == [
        ("accepted", "precise", 2),
        ("accepted", "restituted", 1),
        ("withdrawn", "restituted", 2),
    ]
    replaced = again.query("SELECT reason FROM sagwatch.interferogram WHERE state = 'withdrawn'")
    assert all("which was made with precise orbits" in reason for (reason,) in replaced)
    assert set(again.states().values()) == {"used"}
    update_stack(again.site, again.track, again.ledger, again.data, again.now)
    after = again.ledger.revisions.newest(again.track.id)
    assert after.number == before.number + 1
    assert first[results[0].dates].interferogram_id not in after.interferograms
    assert results[0].interferogram_id in after.interferograms


def test_orders_of_new_pairs_come_before_those_that_are_made_again(system):
    system.sim.show(3)
    poor = system.with_site(network={"reorder_restituted": True}, credits={"per_month": 4})
    poor.run()
    system.sim.show(5)
    system.sim.advance_to(datetime(2024, 3, 1, tzinfo=UTC))
    poor.detect()
    poor.plan()

    ordered = poor.submit()

    attempts = {name: int(name.rsplit("-", 1)[1]) for name in ordered}
    assert len(ordered) == 4
    assert set(attempts.values()) == {1}, "the budget went to first orders"
