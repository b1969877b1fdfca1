"""Products that must not touch a stack, and clouds that misbehave: nothing lost, nothing twice, nobody else stopped."""

import pytest

from sagwatch.errors import BadInputError, TryAgainError
from sagwatch.steps.fetch_product import _own_folder
from tests.steps.small_site import small_system

#: What each kind of bad product is told to be.
REASONS = {
    "short": "were announced",
    "login_page": "a web page came",
    "other_grid": "off the track's lattice",
    "wrong_date": "Secondary Granule: ",
    "outside": "wants to be written outside",
}


@pytest.fixture
def system(tmp_path, ledger):
    with small_system(tmp_path, ledger) as running:
        yield running


def test_bad_products_are_quarantined_with_their_reason_and_stop_no_other(system):
    system.sim.show(5)
    system.detect()
    system.plan()
    system.submit()
    names = list(system.wait())
    bad = dict(zip(REASONS, names, strict=False))
    # Without an announced size, so that what is wrong inside is found by looking inside.
    inside = [bad[fault] for fault in ("other_grid", "wrong_date", "outside")]
    system.execute(*(f"UPDATE sagwatch.job SET file_bytes = NULL WHERE name = '{name}'" for name in inside))
    files_before = {p for p in system.data.parent.rglob("*") if system.data not in p.parents}

    results = {}
    for fault, name in bad.items():
        system.sim.faults(product=fault)
        results[fault] = system.fetch(name)
    system.sim.faults()
    others = [system.fetch(name) for name in names[len(bad) :]]

    assert [result.state for result in others] == ["accepted"] * 2
    for fault, result in results.items():
        assert result.state == "quarantined", fault
        assert REASONS[fault] in result.reason, fault
    rows = system.query(
        "SELECT sha256, reason, kept_at, state FROM sagwatch.product WHERE state = 'quarantined'"
    )
    assert len(rows) == len(bad)
    for sha256, reason, kept_at, _ in rows:
        assert reason
        assert (system.data / kept_at).name == f"{sha256}.zip"
        assert (system.data / kept_at).is_file()
    assert len(
        system.query("SELECT 1 FROM sagwatch.operation_event WHERE kind = 'product_quarantined'")
    ) == len(bad)
    assert list((system.data / "incoming").iterdir()) == []
    written = {p for p in system.data.parent.rglob("*") if system.data not in p.parents} - files_before
    assert {p for p in written if "escaped" in p.name} == set()

    # Each of them gets another attempt, under a new name, and is paid once more.
    again = system.submit()
    assert len(again) == len(bad)
    assert [system.fetch(name).state for name in system.wait()] == ["accepted"] * len(bad)
    assert len(system.jobs_at_hyp3()) == len(names) + len(bad)
    assert set(system.states().values()) == {"used"}


def test_a_bad_product_is_downloaded_again_before_it_is_believed_to_be_bad(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.submit()
    [name] = system.wait()
    system.attempts = 3
    system.sim.faults(product="short")

    assert system.fetch(name).state == "quarantined"

    downloads = sum(n for path, n in system.sim.get("/requests").items() if "/products" in path)
    assert downloads == 3


def test_a_cut_line_decides_nothing(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.submit()
    [name] = system.wait()
    system.sim.faults(product="dropped")

    with pytest.raises(TryAgainError, match="downloading"):
        system.fetch(name)

    assert system.query("SELECT state FROM sagwatch.job") == [("succeeded",)]
    assert system.query("SELECT count(*) FROM sagwatch.product") == [(0,)]
    system.sim.faults()
    assert system.fetch(name).state == "accepted"


def test_low_coherence_is_kept_out_of_the_stack_but_kept(system):
    system.sim.show(2)
    strict = system.with_site(coherence={"least_mean": 0.95, "keep_connected": False}, end="2024-01-14")

    [result] = strict.run()

    assert result.state == "excluded"
    assert "is below 0.95" in result.reason
    [(path,)] = strict.query("SELECT path FROM sagwatch.interferogram WHERE state = 'excluded'")
    assert (strict.data / path).is_file()
    assert strict.run() == []
    assert strict.fetch(result.job_name) == result


def test_a_grid_that_the_products_do_not_cover_is_refused(system):
    grid = system.track.grid.model_dump() | {"west": 492320}
    tracks = [system.track.model_dump() | {"grid": grid}]
    system.sim.show(2)
    east = {
        "type": "Polygon",
        "coordinates": [[[110.9, 37.4], [110.95, 37.4], [110.95, 37.43], [110.9, 37.4]]],
    }
    elsewhere = system.with_site(name="small", tracks=tracks, boundary=east)

    [result] = elsewhere.run()

    assert result.state == "quarantined"
    assert "covers 0% of the track's grid" in result.reason


def test_the_same_product_gives_the_same_interferogram_on_another_machine(system, tmp_path):
    system.sim.show(2)
    [first] = system.run()
    sums = system.query("SELECT id, file_sha256 FROM sagwatch.interferogram")
    system.data = tmp_path / "another"
    system.data.mkdir()
    system.execute(
        "DELETE FROM sagwatch.interferogram",
        "DELETE FROM sagwatch.product",
        "UPDATE sagwatch.job SET state = 'succeeded'",
    )

    assert system.fetch(first.job_name) == first

    assert system.query("SELECT id, file_sha256 FROM sagwatch.interferogram") == sums


def test_a_cloud_that_fails_every_third_time_is_worn_down(system):
    """A third of all API requests fail, one answer to an order is lost, downloads break: each pair is paid once."""
    system.sim.show(5)
    weather = [
        {"cmr_bad_gateway": True},
        {"cmr_incomplete": True},
        {"api_bad_gateway": True, "api_every": 3, "drop_after_commit": 1},
        {"api_unavailable": True, "api_every": 3, "product": "dropped"},
        {"api_too_many_requests": True, "api_every": 3, "empty_first_page": True, "product": "dropped"},
        {"api_bad_gateway": True, "api_every": 3},
    ]
    failures = 0
    for faults in [*weather, *[{}] * 6]:
        system.sim.faults(**faults)
        for step in (system.detect, system.plan, system.submit, system.fetch_all):
            try:
                step()
            except TryAgainError:
                failures += 1
        if len(system.query("SELECT 1 FROM sagwatch.interferogram")) == 7:
            break

    system.sim.faults()
    assert failures >= 4
    assert len(system.jobs_at_hyp3()) == 7
    assert (
        len(system.query("SELECT DISTINCT pair_id FROM sagwatch.interferogram WHERE state = 'accepted'")) == 7
    )
    assert system.query("SELECT count(*) FROM sagwatch.product WHERE state = 'quarantined'") == [(0,)]
    assert system.cloud.remaining_credits() == 8000 - 7


def test_what_a_killed_fetch_left_behind_is_cleared_away(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.submit()
    [name] = system.wait()
    leftover = system.data / "incoming" / name
    (leftover / "layers-1").mkdir(parents=True)
    (leftover / "layers-1" / "corr.tif").write_bytes(b"half")
    (leftover / "product.zip").write_bytes(b"half")

    assert system.fetch(name).state == "accepted"
    assert list((system.data / "incoming").iterdir()) == []


def test_two_processes_do_not_fetch_one_product_at_once(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    system.submit()
    [name] = system.wait()

    with _own_folder(system.data / "incoming" / name), pytest.raises(TryAgainError, match="another process"):
        system.fetch(name)

    assert system.fetch(name).state == "accepted"


def test_a_job_that_is_not_of_the_track_or_not_finished_is_refused(system):
    system.sim.show(2)
    system.detect()
    system.plan()
    [name] = system.submit()

    with pytest.raises(BadInputError, match="it has no product to fetch"):
        system.fetch(name)
    with pytest.raises(BadInputError, match="has no job sg-nobody"):
        system.fetch("sg-nobody")


def test_a_second_product_of_a_pair_does_not_replace_the_first(system):
    """Two orders of a pair may both be made, if HyP3 was given up too early."""
    system.sim.show(2)
    [first] = system.run()
    system.execute(
        "INSERT INTO sagwatch.job (name, pair_id, attempt, job_type, parameters, credits, state, intended_at) "
        "SELECT 'sg-again-2', pair_id, 2, job_type, parameters, credits, 'intended', intended_at FROM sagwatch.job"
    )
    again = system.ledger.orders.job("sg-again-2").order
    [job] = system.cloud.submit([again])
    system.ledger.orders.record_taken({"sg-again-2": job})
    [name] = system.wait()

    second = system.fetch(name)

    assert (second.state, second.reason) == ("withdrawn", f"the pair has {first.interferogram_id} already")
    states = system.query("SELECT id, state FROM sagwatch.interferogram WHERE state = 'accepted'")
    assert states == [(first.interferogram_id, "accepted")]
