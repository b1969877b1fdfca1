"""Wrong cycles on the whole way: ordered, fetched, found, repaired when a late acquisition tells, and taken back."""

import numpy as np
import pytest

from sagwatch.adapters.asf import AsfCatalogue
from sagwatch.adapters.clock import CloudClock
from sagwatch.engine.closure import CYCLE_RAD
from sagwatch.engine.interferogram import read_layers
from sagwatch.steps.audit_track import audit_track
from sagwatch.steps.watch_track import Tools, watch_track
from tests.steps.small_site import SmallSystem, small_site, small_system

FIRST = ("2024-01-01", "2024-01-13", "2024-01-25", "2024-02-06", "2024-02-18")
WRONG, LONG = (FIRST[3], FIRST[4]), (FIRST[2], FIRST[4])
#: Comes thirty days late, after the acquisition that follows it.
LATE = "2024-03-01"
COLUMNS = (
    "reference_date, secondary_date, state, repaired_pixels, masked_pixels, ambiguous_pixels, triplets, path"
)


@pytest.fixture
def system(tmp_path, ledger):
    site = small_site(corrections={"unwrapping": {"closure": "repair", "repair_least_pixels": 20}})
    with small_system(tmp_path, ledger, site) as running:
        yield running


def watch(system: SmallSystem, wrong: tuple[str, str] | None = None):
    """The whole way once; the product of one pair comes with a whole cycle too many in a patch."""

    def spoil(step: str) -> None:
        if step != "wait_for_jobs":
            return
        first, second = wrong or ("", "")
        ids = system.query(
            "SELECT job.hyp3_id FROM sagwatch.job JOIN sagwatch.pair ON pair.id = job.pair_id "
            f"WHERE reference_date::text = '{first}' AND secondary_date::text = '{second}'"
        )
        if ids:
            system.sim.faults(product="wrong_cycle", product_jobs=[ids[0][0]])

    tools = Tools(
        system.ledger, AsfCatalogue(system.sim.url), system.cloud, CloudClock(system.sim.url), system.data
    )
    return watch_track(system.site, system.track, tools, poll_seconds=0.05, on_step=spoil)


def told(system: SmallSystem) -> dict[tuple[str, str], dict[str, dict]]:
    """What SQL says of each pair's interferograms, by state."""
    found: dict[tuple[str, str], dict[str, dict]] = {}
    for first, second, state, *values in system.query(f"SELECT {COLUMNS} FROM analyst.interferograms"):
        row = dict(zip(COLUMNS.split(", ")[3:], values, strict=True))
        found.setdefault((f"{first}", f"{second}"), {})[state] = row
    return found


def phase(system: SmallSystem, row: dict) -> np.ndarray:
    return read_layers(system.data / row["path"]).phase_rad


def test_a_wrong_cycle_is_counted_until_a_late_acquisition_tells_whose_it_is_then_repaired(system):
    system.sim.show(5)
    assert watch(system, WRONG) is not None
    rows = told(system)
    # The newest triangle does not tell which of its three it is, and one miss alone is not how ground sinks.
    assert set(rows[WRONG]) == set(rows[LONG]) == {"accepted"}
    patch = rows[WRONG]["accepted"]["ambiguous_pixels"]
    assert patch > 20
    assert rows[LONG]["accepted"]["ambiguous_pixels"] == patch
    held = phase(system, rows[WRONG]["accepted"])

    # The next acquisition is too far away to stand in a triangle with that pair: nothing is known anew.
    system.sim.show(6)
    assert watch(system) is not None
    assert told(system)[WRONG] == rows[WRONG]
    assert told(system)[LONG]["accepted"] == rows[LONG]["accepted"]

    # The late one does, and so the decision is another one.
    while (FIRST[3], LATE) not in told(system):
        assert len(system.sim.show(len(system.states()) + 1)) < 12
        watch(system)
    rows = told(system)
    assert set(rows[LONG]) == {"accepted"}
    assert rows[LONG]["accepted"]["ambiguous_pixels"] == 0
    repaired = rows[WRONG]["accepted"]
    assert (repaired["repaired_pixels"], repaired["masked_pixels"]) == (patch, 0)
    np.testing.assert_array_equal(phase(system, rows[WRONG]["withdrawn"]), held)
    change = held - phase(system, repaired)
    np.testing.assert_allclose(change[change != 0], CYCLE_RAD, atol=1e-5)
    assert np.count_nonzero(change) == patch

    # MintPy solves the treated ones, and comes to the same numbers.
    audit = audit_track(system.track, system.ledger, system.data, system.now)
    assert audit is not None
    assert audit.problems == ()
    assert watch(system) is None, "nothing new is nothing to do"

    taken_back = system.with_site(corrections={"unwrapping": {"closure": "report"}})
    published = watch(taken_back)
    assert published is not None
    assert published.went_live
    rows = told(system)
    np.testing.assert_array_equal(phase(system, rows[WRONG]["accepted"]), held)
    assert rows[WRONG]["accepted"]["ambiguous_pixels"] is None
    ((used,),) = system.query(
        f"SELECT count(*) FROM sagwatch.revision WHERE id = '{published.revision_id}' AND interferograms @> ARRAY("
        "SELECT id FROM sagwatch.interferogram WHERE original_id IS NULL)"
    )
    assert used == 1
