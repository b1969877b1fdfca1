"""Whole cycles in single interferograms: found, repaired or masked, recorded, and revised when more is known."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from sagwatch.adapters.database import models
from sagwatch.domain.site import Site
from sagwatch.engine.files import sha256_of
from sagwatch.engine.interferogram import read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.revision import read_revision
from sagwatch.steps.stack_members import revision_settings
from tests.database.published import make_site
from tests.engine.invented_ground import invent_stack
from tests.engine.test_closure import counts, spoiled
from tests.steps.stored_track import AS_OF, StoredTrack


class TreatedTrack(StoredTrack):
    """Interferograms come and go, by their originals; a treated one stays in its original's place."""

    def accept(self, members) -> None:
        wanted = {member.id: member for member in members}
        with self.ledger.begin() as session:
            rows = session.query(models.Interferogram).all()
            for row in rows:
                if row.state == "accepted" and (row.original_id or row.id) not in wanted:
                    row.state, row.reason = "withdrawn", "withdrawn by a test"
            there = {row.original_id or row.id for row in rows if row.state == "accepted"}
            known = {row.id: row for row in rows}
            for name in wanted.keys() - there:
                if name in known:
                    known[name].state, known[name].reason = "accepted", None
                else:
                    self.add(session, wanted[name])


BLOB = slice(6, 14), slice(8, 18)
SPECK = slice(3, 4), slice(18, 20)


def track(tmp_path, ledger, rule, faults, n_epochs=10) -> StoredTrack:
    """A calm track of two neighbours with whole cycles in some of its pairs; noise is far below half a cycle.

    The pair of dates a and a+1 is number 2a, that of a and a+2 is 2a+1.
    """
    site = make_site("invented", rows=20, columns=24, corrections=corrections(rule))
    ledger.sites.sync([site], AS_OF)
    of_track, data = site.tracks[0], tmp_path / "data"
    folder = data / of_track.site / of_track.name
    invented = invent_stack(folder, n_epochs, noise=0.05, gaps=0, grid=of_track.grid.grid())
    stored = TreatedTrack(ledger, data, site, spoiled(invented, faults))
    stored.pin(*invented.reference)
    return stored


def corrections(rule) -> dict:
    return {"unwrapping": {"closure": rule, "repair_least_pixels": 20}}


def with_rule(stored: StoredTrack, rule: str) -> StoredTrack:
    return replace(
        stored, site=Site.model_validate(stored.site.model_dump() | {"corrections": corrections(rule)})
    )


def told(ledger) -> list[tuple]:
    with ledger.begin() as session:
        return [
            tuple(row)
            for row in session.execute(
                text(
                    "SELECT interferogram, original, state, repaired_pixels, masked_pixels, ambiguous_pixels, reason "
                    "FROM analyst.interferograms ORDER BY reference_date, secondary_date, original NULLS FIRST"
                )
            )
        ]


@pytest.mark.parametrize("fault", [8, 10])
@pytest.mark.parametrize("cycles", [1, -2])
def test_a_blob_of_cycles_in_one_pair_is_repaired_and_the_truth_comes_back(tmp_path, ledger, fault, cycles):
    stored = track(tmp_path, ledger, "repair", {fault: (*BLOB, cycles)})
    wrong = stored.members[fault]
    manifest = stored.update(stored.members)

    (treated,) = {member.id for member in manifest.members} - {member.id for member in stored.members}
    truth = stored.invented.phase_rad[fault]
    mended = read_layers(stored.invented.store.interferogram_path(treated)).phase_rad
    np.testing.assert_allclose(mended, truth, atol=1e-5)
    rows = {row[0]: row[1:] for row in told(ledger)}
    inside = int(np.isfinite(truth[BLOB]).sum())
    seen = int(rows[treated][2])
    assert rows[treated][:2] == (wrong.id, "accepted")
    assert seen == inside
    assert rows[wrong.id][1] == "withdrawn"
    assert rows[wrong.id][5].startswith(f"replaced by {treated}: {seen} pixels repaired")
    land = stored.invented.store.read_geometry().land
    assert counts(stored.newest)["contradictingTriplets"][land].max() == 0
    assert stored.update().number == manifest.number, "nothing new is nothing to decide"


def on_land(stored: StoredTrack, array: np.ndarray) -> np.ndarray:
    return np.where(stored.invented.store.read_geometry().land, array, np.nan)


def of_truth(stored: StoredTrack, members) -> np.ndarray:
    """Displacement of the interferograms without faults, beside the step's own revisions, mm."""
    reference = ReferencePoint(*stored.invented.reference)
    settings = revision_settings(stored.site, stored.track)
    folder = stored.invented.store.build_revision(900, members, settings, reference, from_scratch=True)
    los_m = read_revision(folder).los_m()
    stored.invented.store.delete_revision(folder.name)
    return on_land(stored, los_m) * 1000


def worst_mm(stored: StoredTrack, truth_mm: np.ndarray) -> float:
    return float(np.nanmax(np.abs(on_land(stored, read_revision(stored.newest).los_m()) * 1000 - truth_mm)))


def accepted(stored: StoredTrack) -> list[str]:
    return sorted(one.id for one in stored.ledger.revisions.accepted_interferograms(stored.track.id))


def test_repair_gives_the_displacement_back_mask_leaves_the_pair_out_and_report_changes_nothing(
    tmp_path, ledger
):
    stored = track(tmp_path, ledger, "report", {8: (*BLOB, 1)})
    plain = [replace(m, id=m.id.removesuffix("w")) for m in stored.members]
    plain[8] = replace(plain[8], sha256=sha256_of(stored.invented.store.interferogram_path(plain[8].id)))
    truth_mm = of_truth(stored, plain)

    reported = stored.update(stored.members)
    assert accepted(stored) == sorted(member.id for member in stored.members)
    assert worst_mm(stored, truth_mm) > 5
    assert counts(stored.newest)["contradictingTriplets"][BLOB].min() == 2
    shares = dict(ledger.unwrapping.facts(stored.track.id))
    at_fault = shares[stored.members[8].id][1]["closure"]
    assert at_fault["triplets"] == 2
    assert at_fault["contradicting_share"] > 0.15

    masking = with_rule(stored, "mask")
    masking.update()
    masked_mm = worst_mm(masking, truth_mm)
    assert 0 < masked_mm < 2, "one observation less"
    repairing = with_rule(stored, "repair")
    repairing.update()
    assert worst_mm(repairing, truth_mm) < 0.01
    assert with_rule(stored, "report").update().id == reported.id
    assert accepted(stored) == sorted(member.id for member in stored.members)


def test_the_newest_stays_as_it_is_until_the_next_triangle_tells(tmp_path, ledger):
    stored = track(tmp_path, ledger, "repair", {12: (*BLOB, 1)})
    wrong = stored.members[12]
    stored.update(stored.until(stored.dates[7]))
    assert wrong.id in accepted(stored)
    ambiguous = {row[0]: row[5] for row in told(ledger)}
    assert ambiguous[wrong.id] == ambiguous[stored.members[11].id] > 0
    # Pair 6-7 is the newest short one: only the next date tells it from the long one, 5-7.
    stored.update(stored.until(stored.dates[8]))
    assert wrong.id not in accepted(stored)
    assert {row[0]: row[5] for row in told(ledger)}[stored.members[11].id] == 0
    # What told it is withdrawn again, and so is the decision.
    stored.update(stored.until(stored.dates[7]))
    assert accepted(stored) == sorted(member.id for member in stored.until(stored.dates[7]))


def test_a_speck_is_masked_and_what_two_faults_make_is_left_and_counted(tmp_path, ledger):
    stored = track(tmp_path, ledger, "repair", {9: (*SPECK, 1), 6: (*BLOB, 1), 8: (*BLOB, 1)})
    before = {member.id for member in stored.members}
    stored.update(stored.members)
    rows = {row[0]: row for row in told(ledger)}
    (treated,) = set(accepted(stored)) - before
    # Original, state, repaired, masked.
    assert rows[treated][1:5] == (stored.members[9].id, "accepted", 0, 2)
    for number in (6, 8):
        name = stored.members[number].id
        assert rows[name][2:4] == ("accepted", 0)
        assert rows[name][5] == np.isfinite(stored.invented.phase_rad[number][BLOB]).sum()
    assert counts(stored.newest)["contradictingTriplets"][BLOB].min() == 3


def test_the_order_of_arrival_does_not_matter(tmp_path, ledger):
    faults = {8: (*BLOB, 1), 11: (slice(2, 6), slice(14, 22), -1), 3: (slice(2, 9), slice(4, 12), 1)}
    at_once = track(tmp_path / "a", ledger, "repair", faults)
    at_once.update(at_once.members)
    expected = accepted(at_once)
    assert len({*expected} - {member.id for member in at_once.members}) >= 2
    late = at_once.members[9]
    with_rule(at_once, "report").update()
    at_once.update(at_once.until(at_once.dates[4]))
    for day in (6, 7, 9):
        there = [m for m in at_once.until(at_once.dates[day]) if m is not late]
        at_once.update(there)
    at_once.update(at_once.members)
    assert accepted(at_once) == expected
