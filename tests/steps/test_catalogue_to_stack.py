"""From the catalogue to stored interferograms, through the real clients, against the simulated cloud."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from sagwatch.engine.interferogram import read_layers
from sagwatch.errors import BadInputError, IncompleteAnswerError, StopAndAskError, TryAgainError
from tests.steps.small_site import small_site, small_system

JANUARY = [date(2024, 1, 1), date(2024, 1, 13), date(2024, 1, 25)]


@pytest.fixture
def system(tmp_path, ledger):
    with small_system(tmp_path, ledger) as running:
        yield running


def test_acquisitions_become_interferograms_on_the_grid(system):
    system.sim.show(3)

    results = system.run()

    assert [result.state for result in results] == ["accepted"] * 3
    assert system.states() == dict.fromkeys(JANUARY, "used")
    rows = system.query("SELECT path, mean_coherence, perpendicular_baseline_m FROM sagwatch.interferogram")
    for path, mean_coherence, baseline_m in rows:
        layers = read_layers(system.data / path)
        assert layers.phase_rad.shape == system.track.grid.grid().shape
        assert np.isfinite(layers.phase_rad).mean() > 0.9
        assert mean_coherence == pytest.approx(layers.mean_coherence, abs=0.01)
        assert abs(baseline_m) < 400
    assert (system.data / "small/t011a/geometry/geometryGeo.h5").exists()
    assert list((system.data / "incoming").iterdir()) == []


def test_a_second_run_changes_nothing_and_orders_nothing(system):
    system.sim.show(3)
    first = system.run()
    files = {path: path.stat().st_mtime_ns for path in system.data.rglob("*.h5")}
    before = {table: system.query(f"SELECT * FROM sagwatch.{table} ORDER BY 1, 2") for table in TABLES}

    assert system.run() == []
    again = [system.fetch(result.job_name) for result in first]

    assert [(r.state, r.interferogram_id) for r in again] == [(r.state, r.interferogram_id) for r in first]
    assert {path: path.stat().st_mtime_ns for path in system.data.rglob("*.h5")} == files
    assert {
        table: system.query(f"SELECT * FROM sagwatch.{table} ORDER BY 1, 2") for table in TABLES
    } == before


def test_bridging_is_written_down_and_makes_another_interferogram(tmp_path, ledger):
    site = small_site(corrections={"unwrapping": {"bridge": True}})
    with small_system(tmp_path, ledger, site) as system:
        system.sim.show(2)
        results = system.run()
        plain = system.with_site(corrections={"unwrapping": {"bridge": False}})
        rows = system.query("SELECT components, bridged_pixels, state FROM analyst.interferograms")
        bridged = system.query("SELECT config_sha256 FROM sagwatch.interferogram")
        system.execute("UPDATE sagwatch.job SET state = 'succeeded'", "DELETE FROM sagwatch.interferogram")
        again = plain.fetch(results[0].job_name)

    assert [row[2] for row in rows] == ["accepted"]
    assert all(components is not None and pixels is not None for components, pixels, _ in rows)
    assert again.interferogram_id != results[0].interferogram_id
    assert len(bridged) == 1


TABLES = ("granule", "acquisition", "pair", "job", "product", "interferogram", "operation_event")


def test_other_polarisations_are_refused_with_a_reason(system):
    system.sim.show(2)

    found = system.detect()

    assert found.new == tuple(JANUARY[:2])
    rows = system.query("SELECT polarisation, state, reason FROM sagwatch.granule")
    assert (
        sorted(rows)
        == [("VH", "refused", "polarisation VH, the track uses VV")] * 2 + [("VV", "chosen", None)] * 2
    )


def test_a_reprocessed_granule_does_not_replace_what_was_ordered(system):
    system.sim.show(3)
    system.run()
    used = system.query("SELECT granules FROM sagwatch.acquisition WHERE date = '2024-01-25'")

    system.sim.show(5)  # the third date is reprocessed after 15 days
    system.run()

    reasons = system.query("SELECT reason FROM sagwatch.granule WHERE state = 'superseded'")
    assert len(reasons) == 1
    assert "it was ordered already" in reasons[0][0]
    assert system.query("SELECT granules FROM sagwatch.acquisition WHERE date = '2024-01-25'") == used
    assert len(system.jobs_at_hyp3()) == 7


def test_a_reprocessed_granule_that_comes_in_time_stands_for_the_acquisition(system):
    system.sim.show(5)

    system.detect()

    reasons = system.query("SELECT reason FROM sagwatch.granule WHERE state = 'superseded'")
    assert len(reasons) == 1
    assert "it is the newest processing" in reasons[0][0]


def test_baselines_agree_whether_found_at_once_or_one_by_one(system):
    for shown in (1, 2, 5, 7, 9):
        system.sim.show(shown)
        system.detect()
    one_by_one = system.query("SELECT date, perpendicular_baseline_m FROM sagwatch.acquisition ORDER BY date")

    system.execute(
        "DELETE FROM sagwatch.granule",
        "DELETE FROM sagwatch.acquisition",
        "UPDATE sagwatch.track SET searched_at = NULL",
    )
    system.detect()

    at_once = system.query("SELECT date, perpendicular_baseline_m FROM sagwatch.acquisition ORDER BY date")
    assert one_by_one == at_once
    assert len(at_once) == 9
    assert len({baseline for _, baseline in at_once}) > 5


def test_a_late_date_is_found_by_its_update_and_joins_the_network(system):
    """The sixth date appears 30 days late, after the two that follow it."""
    visible = [date.fromisoformat(one["date"]) for one in system.sim.timeline(11)]
    late = next(after for before, after in pairwise(visible) if after < before)
    shown = visible.index(late)
    system.sim.show(shown)
    system.detect()
    before = system.plan()
    assert late not in system.states()

    system.sim.show(shown + 1)
    found = system.detect()
    after = system.plan()

    assert found.new == (late,)
    assert len(after.new) == after.pairs - before.pairs
    assert all(f"{late:%Y%m%d}" in pair for pair in after.new)
    assert len(after.new) == 4


def test_missing_state_vectors_leave_the_acquisition_in_the_network(system):
    system.sim.show(9)
    system.detect()
    planned = system.plan()

    unknown = system.query("SELECT date FROM sagwatch.acquisition WHERE perpendicular_baseline_m IS NULL")
    assert len(unknown) == 1
    [(day,)] = unknown
    assert any(f"{day:%Y%m%d}" in pair for pair in planned.new)


def test_a_gap_is_reported_once_and_bridged_where_allowed(system):
    system.sim.show(10)  # the ninth date is missing: 24 days, which is within the rule; make the rule tighter
    tight = system.with_site(network={"max_days": 20})

    tight.detect()
    planned = tight.plan()
    tight.plan()

    assert len(planned.disconnected) == 1
    events = tight.query("SELECT kind, severity FROM sagwatch.operation_event WHERE kind <> 'site_changed'")
    assert events == [("disconnected", "warning")]

    bridged = tight.with_site(network={"max_days": 20, "bridge": True}).plan()
    assert bridged.disconnected == ()
    assert len(bridged.new) == 1


def test_two_bursts_make_one_acquisition_and_one_job(tmp_path, ledger):
    site = small_site("011_021697_IW3", "011_021698_IW3")
    with small_system(tmp_path, ledger, site) as system:
        system.sim.show(2)

        results = system.run()

        assert [result.state for result in results] == ["accepted"]
        [(granules,)] = system.query("SELECT granules FROM sagwatch.acquisition WHERE date = '2024-01-01'")
        assert [name[3:13] for name in granules] == ["021697_IW3", "021698_IW3"]


@pytest.mark.parametrize("processor", ["INSAR_ISCE_BURST", "INSAR_GAMMA"])
def test_the_other_processors_go_the_same_way(tmp_path, ledger, processor):
    place = {"frame": 118} if processor == "INSAR_GAMMA" else {"bursts": ["011_021697_IW3"]}
    plain = small_site()
    track = plain.tracks[0].model_dump() | {"bursts": [], "frame": None, "processor": processor} | place
    site = small_site(tracks=[track])
    with small_system(tmp_path, ledger, site) as system:
        system.sim.show(2)

        results = system.run()

        assert [result.state for result in results] == ["accepted"]
        assert set(system.states().values()) == {"used"}


def test_a_burst_that_does_not_exist_is_an_error_and_not_silence(tmp_path, ledger):
    with small_system(tmp_path, ledger, small_site("011_021600_IW3")) as system:
        system.sim.show(3)
        system.detect()  # too early to be sure

        system.sim.show(8)
        with pytest.raises(BadInputError, match=r"never shown burst 011_021600_IW3 .* burst map"):
            system.detect()


def test_an_incomplete_answer_of_the_catalogue_is_not_used(system):
    system.sim.show(3)
    system.sim.faults(cmr_incomplete=True)

    with pytest.raises(IncompleteAnswerError, match="fewer than it announced"):
        system.detect()

    assert system.states() == {}
    assert system.ledger.acquisitions.searched_at(system.track.id) is None


def test_credits_that_run_out_stop_the_order_and_lose_nothing(system):
    system.sim.show(4)
    system.sim.faults(no_credits=True)
    system.detect()
    system.plan()

    assert system.submit() == []
    assert system.submit() == []

    events = system.query("SELECT kind, text FROM sagwatch.operation_event")
    assert [kind for kind, _ in events] == ["no_credits"]
    assert system.jobs_at_hyp3() == []
    assert set(system.states().values()) == {"pending"}

    system.sim.faults()
    assert len(system.submit()) == 5


def test_the_sites_budget_takes_the_newest_pairs_and_goes_on_next_month(system):
    system.sim.show(4)
    poor = system.with_site(credits={"per_month": 2, "reserve": 0})
    poor.detect()
    poor.plan()

    assert len(poor.submit()) == 2
    ordered = poor.query("SELECT secondary_date FROM sagwatch.pair p JOIN sagwatch.job j ON j.pair_id = p.id")
    newest = max(day for (day,) in poor.query("SELECT date FROM sagwatch.acquisition"))
    assert {day for (day,) in ordered} == {newest}
    assert len(poor.submit()) == 2

    poor.wait()
    poor.sim.advance_to(datetime(2024, 3, 1, tzinfo=UTC))
    assert len(poor.submit()) == 2
    assert len(poor.jobs_at_hyp3()) == 4


def test_the_accounts_reserve_is_never_spent(system):
    system.sim.show(4)  # the account has 8000 credits
    careful = system.with_site(credits={"reserve": 7997})
    careful.detect()
    careful.plan()

    assert len(careful.submit()) == 3
    assert careful.cloud.remaining_credits() == 7997


def test_a_lost_answer_never_pays_twice(system):
    system.sim.show(4)
    system.detect()
    system.plan()
    system.sim.faults(drop_after_commit=1)

    with pytest.raises(TryAgainError):
        system.submit()
    assert system.query("SELECT DISTINCT state FROM sagwatch.job") == [("intended",)]

    names = system.submit()
    assert sorted(names) == system.jobs_at_hyp3()
    assert len(names) == 5


def test_a_listing_that_lags_behind_does_not_pay_twice(system):
    system.sim.show(3)
    system.detect()
    system.plan()
    system.pause_seconds = 3.0
    system.sim.faults(drop_after_commit=1, listing_lag_seconds=1.5)
    with pytest.raises(TryAgainError):
        system.submit()

    names = system.submit()

    system.sim.faults()
    assert sorted(names) == system.jobs_at_hyp3()
    assert len(names) == 3


def test_a_ledger_that_forgot_its_jobs_finds_them_at_hyp3(system):
    """As after a restore from a backup."""
    system.sim.show(3)
    system.run()
    paid = system.jobs_at_hyp3()
    system.execute(*(f"DELETE FROM sagwatch.{table}" for table in ("interferogram", "product", "job")))

    results = system.run()

    assert system.jobs_at_hyp3() == paid
    assert [result.state for result in results] == ["accepted"] * 3


def test_only_one_process_orders_for_a_track_at_a_time(system):
    system.sim.show(2)
    system.detect()
    system.plan()

    with (
        system.ledger.orders.exclusive(system.track.id),
        pytest.raises(TryAgainError, match="another process is ordering"),
    ):
        system.submit()

    assert len(system.submit()) == 1


def test_wrong_credentials_stop_at_once_and_are_not_repeated(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.token = "expired"
    before = system.requests_to_hyp3()

    with pytest.raises(StopAndAskError, match="Renew the token"):
        system.submit()

    assert system.requests_to_hyp3() - before == 1
    assert system.query("SELECT count(*) FROM sagwatch.job") == [(0,)]


def test_failed_jobs_are_ordered_again_and_then_given_up(system):
    system.sim.show(2)
    twice = system.with_site(max_attempts=2)
    system.sim.faults(fail_orders=[1, 2])
    twice.run()
    assert twice.states() == dict.fromkeys(JANUARY[:2], "pending")

    twice.run()
    assert twice.query("SELECT attempt, state FROM sagwatch.job ORDER BY 1") == [(1, "failed"), (2, "failed")]

    twice.run()
    [(reason,)] = twice.query("SELECT given_up_reason FROM sagwatch.pair")
    assert reason.startswith("2 attempts, the last: HyP3 could not make it")
    assert len(twice.jobs_at_hyp3()) == 2
    assert ("pair_given_up",) in twice.query("SELECT kind FROM sagwatch.operation_event")

    twice.sim.advance_to(twice.now + timedelta(days=120))
    unseen = twice.with_site(end="2024-01-14")
    unseen.detect()
    assert unseen.states() == dict.fromkeys(JANUARY[:2], "unavailable")
    reasons = {r for (r,) in twice.query("SELECT reason FROM sagwatch.acquisition")}
    assert all("given up" in reason for reason in reasons)


def test_an_expired_product_is_ordered_again(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.submit()
    [name] = system.wait()

    system.sim.advance_to(system.now + timedelta(days=16))
    assert system.wait() == ()
    assert system.query("SELECT state FROM sagwatch.job") == [("expired",)]
    assert system.fetch(name).state == "expired"

    only = system.with_site(end="2024-01-14")
    only.submit()
    assert [only.fetch(name).state for name in only.wait()] == ["accepted"]


def test_a_job_that_hyp3_forgot_makes_room_for_another(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    [name] = system.submit()
    system.execute("UPDATE sagwatch.job SET hyp3_id = 'gone'")
    assert system.wait() == (name,)  # found again by its name

    system.execute("UPDATE sagwatch.job SET hyp3_id = 'gone', state = 'open', name = 'sg-unknown-1'")
    assert system.wait() == ()
    [(state, message)] = system.query("SELECT state, message FROM sagwatch.job")
    assert state == "failed"
    assert "no longer knows" in message


def test_a_late_date_pushes_out_the_pair_over_it_unless_it_was_paid(system):
    """With one neighbour, the pair over the late sixth date is no longer wanted: only if nobody ordered it."""
    visible = [date.fromisoformat(one["date"]) for one in system.sim.timeline(11)]
    late = next(after for before, after in pairwise(visible) if after < before)
    shown = visible.index(late)
    one = system.with_site(network={"max_days": 30, "neighbours": 1})
    system.sim.show(shown)
    one.detect()
    one.plan()
    [over] = one.query(
        f"SELECT id, wanted FROM sagwatch.pair WHERE reference_date < '{late}' AND secondary_date > '{late}'"
    )
    system.sim.show(shown + 1)
    one.detect()

    one.plan()

    assert one.query(f"SELECT wanted FROM sagwatch.pair WHERE id = '{over[0]}'") == [(False,)]

    one.execute(
        f"UPDATE sagwatch.pair SET wanted = true WHERE id = '{over[0]}'",
        "INSERT INTO sagwatch.job (name, pair_id, attempt, job_type, parameters, credits, state, intended_at) "
        f"VALUES ('sg-paid-1', '{over[0]}', 1, 'INSAR_ISCE_MULTI_BURST', "
        """'{"reference": ["a"], "secondary": ["b"]}', 1, 'failed', now())""",
    )
    one.plan()
    assert one.query(f"SELECT wanted FROM sagwatch.pair WHERE id = '{over[0]}'") == [(True,)]


def test_a_site_that_begins_earlier_now_is_searched_from_there(system):
    system.sim.show(12)
    later = system.with_site(start="2024-05-01")
    later.detect()
    assert min(later.states()) > date(2024, 5, 1)

    earlier = later.with_site(start="2024-01-01")
    earlier.detect()

    assert min(earlier.states()) == date(2024, 1, 1)
