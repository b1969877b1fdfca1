"""Whole cycles in single interferograms: found, repaired or masked, recorded, and revised when more is known."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from pyproj import Transformer
from sqlalchemy import text

from sagwatch.adapters.database import models
from sagwatch.adapters.database.products import FetchedProduct, MadeInterferogram
from sagwatch.domain.mine_plan import Face
from sagwatch.domain.orbits import Orbits
from sagwatch.domain.site import Site
from sagwatch.engine.closure_files import CLOSURES
from sagwatch.engine.files import sha256_of
from sagwatch.engine.interferogram import read_layers
from sagwatch.engine.manifest import ReferencePoint, read_manifest
from sagwatch.engine.mintpy_programs import compare_with_mintpy
from sagwatch.engine.revision import read_revision
from sagwatch.steps.audit_track import problems_of
from sagwatch.steps.closure import misclosed
from sagwatch.steps.repair_unwrapping import repair_unwrapping
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


def told_of(ledger, name: str, *columns: str) -> tuple:
    with ledger.begin() as session:
        words = f"SELECT {', '.join(columns)} FROM analyst.interferograms WHERE interferogram = :name"
        return tuple(session.execute(text(words), {"name": name}).one())


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


def without_faults(stored: StoredTrack, number: int) -> list:
    """The members as they were before whole cycles were added to one of them."""
    plain = list(stored.members)
    name = plain[number].id.removesuffix("w")
    sha256 = sha256_of(stored.invented.store.interferogram_path(name))
    plain[number] = replace(plain[number], id=name, sha256=sha256)
    return plain


def test_report_counts_and_repair_gives_the_displacement_back_and_the_rule_can_be_taken_back(
    tmp_path, ledger
):
    stored = track(tmp_path, ledger, "report", {8: (*BLOB, -1)})
    truth_mm = of_truth(stored, without_faults(stored, 8))

    reported = stored.update(stored.members)
    assert accepted(stored) == sorted(member.id for member in stored.members)
    assert worst_mm(stored, truth_mm) > 5
    assert counts(stored.newest)["contradictingTriplets"][BLOB].min() == 2
    assert told_of(ledger, stored.members[8].id, "triplets", "ambiguous_pixels") == (2, None)
    (share,) = told_of(ledger, stored.members[8].id, "contradicting_share")
    land = stored.invented.store.read_geometry().land
    seen = np.isfinite(np.stack([stored.invented.phase_rad[number] for number in (6, 7, 8, 9, 10)])).all(
        axis=0
    )
    blob = np.zeros(land.shape, bool)
    blob[BLOB] = True
    assert share == pytest.approx((blob & land & seen).sum() / (land & seen).sum())

    repairing = with_rule(stored, "repair")
    repairing.update()
    assert worst_mm(repairing, truth_mm) < 0.01
    # Pair 4-5 is the shortest of its dates, and mask never takes such a one away.
    assert with_rule(stored, "mask").update().id == reported.id
    assert told_of(ledger, stored.members[8].id, "masked_pixels") == (0,)
    assert told_of(ledger, stored.members[8].id, "ambiguous_pixels")[0] == (blob & land & seen).sum()
    assert with_rule(stored, "report").update().id == reported.id
    assert accepted(stored) == sorted(member.id for member in stored.members)
    assert told_of(ledger, stored.members[8].id, "ambiguous_pixels") == (None,)


@pytest.mark.parametrize("rule", ["mask", "repair"])
def test_a_long_pair_that_one_triangle_names_is_left_out_there(tmp_path, ledger, rule):
    stored = track(tmp_path, ledger, "off", {9: (*BLOB, 1)})
    truth_mm = of_truth(stored, without_faults(stored, 9))
    stored.update(stored.members)
    assert not (stored.newest / CLOSURES).exists()
    assert told_of(ledger, stored.members[9].id, "triplets") == (None,)
    assert worst_mm(stored, truth_mm) > 5

    masking = with_rule(stored, rule)
    masking.update()
    assert 0 < worst_mm(masking, truth_mm) < 2, "one observation less"
    assert counts(stored.newest)["contradictingTriplets"].max() == 0
    # What is left out is not seen any better: the warning about it stays.
    stack = stored.invented.store.stack(read_manifest(stored.newest).members)
    assert misclosed(stack, stored.members[9].secondary)[BLOB].all()
    audit = compare_with_mintpy(stored.newest)
    assert problems_of(audit) == ()
    assert audit.pixels > 100


def with_face(stored: StoredTrack, rows: slice, columns: slice) -> StoredTrack:
    """The same site with one face over some pixels, which draws nothing along around it."""
    site = stored.site.model_dump() | {"corrections": corrections("mask") | {"exclude_around_faces_m": 0}}
    grid = stored.track.grid.grid()
    west, north = grid.west + grid.pixel_m * columns.start, grid.north - grid.pixel_m * rows.start
    east, south = grid.west + grid.pixel_m * columns.stop, grid.north - grid.pixel_m * rows.stop
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform
    area = {"type": "Polygon", "coordinates": [[to_degrees(*corner) for corner in ring]]}
    face = Face.model_validate({"geometry": area, "name": "101", "begin": date(2024, 1, 1)})
    return replace(stored, site=Site.model_validate(site).model_copy(update={"faces": (face,)}))


def test_only_what_a_face_draws_along_is_treated_and_a_new_plan_decides_anew(tmp_path, ledger):
    rows, columns = BLOB
    left = slice(columns.start, columns.start + 4)
    stored = track(tmp_path, ledger, "mask", {9: (*BLOB, 1)})
    wrong = stored.members[9]
    stored.update(stored.members)
    (whole,) = told_of(
        ledger, next(n for n in accepted(stored) if n not in stored_ids(stored)), "masked_pixels"
    )

    there = with_face(stored, rows, left)
    there.update()
    (treated,) = set(accepted(stored)) - stored_ids(stored)
    seen = np.isfinite(stored.invented.phase_rad[9])
    mended = read_layers(stored.invented.store.interferogram_path(treated)).phase_rad
    lost = seen & ~np.isfinite(mended)
    assert lost[rows, left].sum() == lost.sum() > 0
    assert told_of(ledger, treated, "original", "masked_pixels", "ambiguous_pixels") == (
        wrong.id,
        lost.sum(),
        whole - lost.sum(),
    )

    elsewhere = with_face(stored, slice(0, 4), slice(0, 4))
    elsewhere.update()
    assert set(accepted(stored)) == stored_ids(stored)
    assert told_of(ledger, wrong.id, "masked_pixels", "ambiguous_pixels") == (0, whole)


def stored_ids(stored: StoredTrack) -> set[str]:
    return {member.id for member in stored.members}


def test_the_newest_is_decided_again_when_the_next_triangle_tells(tmp_path, ledger):
    stored = track(tmp_path, ledger, "repair", {12: (*BLOB, 1)})
    wrong, long_one = stored.members[12], stored.members[11]
    stored.update(stored.until(stored.dates[7]))
    # Pair 6-7 is the newest short one: only the next date tells it from the long one, 5-7.
    first = accepted(stored)
    assert first == sorted(member.id for member in stored.until(stored.dates[7]))
    assert told_of(ledger, wrong.id, "ambiguous_pixels") == told_of(ledger, long_one.id, "ambiguous_pixels")
    assert told_of(ledger, wrong.id, "ambiguous_pixels") > (0,)
    stored.update(stored.until(stored.dates[8]))
    assert wrong.id not in accepted(stored)
    assert long_one.id in accepted(stored)
    assert told_of(ledger, long_one.id, "ambiguous_pixels", "masked_pixels") == (0, 0)
    # What told it is withdrawn again, and so is the decision.
    stored.update(stored.until(stored.dates[7]))
    assert accepted(stored) == first


def test_two_faults_at_once_are_masked_where_they_can_be_spared_and_never_repaired(tmp_path, ledger):
    stored = track(tmp_path, ledger, "repair", {6: (*BLOB, 1), 8: (*BLOB, 1)})
    before = {member.id for member in stored.members}
    stored.update(stored.members)
    seen = np.isfinite(stored.invented.phase_rad[6][BLOB]).sum()
    rows = {row[1]: row for row in told(ledger) if row[0] in set(accepted(stored)) - before}
    # Original, state, repaired, masked.
    assert sorted(rows) == sorted(stored.members[number].id for number in (5, 7, 9))
    assert {row[2:5] for row in rows.values()} == {("accepted", 0, seen)}
    for number in (6, 8):
        assert told_of(ledger, stored.members[number].id, "state", "ambiguous_pixels") == ("accepted", seen)


@pytest.mark.parametrize("cycles", [1, -1])
def test_what_sinks_again_and_again_is_masked_at_the_newest_date_already(tmp_path, ledger, cycles):
    # The long pairs of dates 2-4, 3-5 and 4-6 have a cycle too few, as where ground sinks too steeply for them.
    stored = track(tmp_path, ledger, "mask", dict.fromkeys((5, 7, 9), (*BLOB, -cycles)))
    stored.update(stored.until(stored.dates[6]))
    treated = set(accepted(stored)) - {member.id for member in stored.members}
    originals = {told_of(ledger, name, "original")[0] for name in treated}
    assert originals == ({stored.members[number].id for number in (5, 7, 9)} if cycles == 1 else set())
    (share,) = told_of(ledger, stored.members[8].id, "contradicting_share")
    assert share == (0 if cycles == 1 else pytest.approx(0.22, abs=0.03))


@pytest.mark.parametrize("orbits", [Orbits.RESTITUTED, Orbits.PRECISE])
def test_what_is_fetched_again_pushes_a_treated_one_out_only_with_better_orbits(tmp_path, ledger, orbits):
    stored = track(tmp_path, ledger, "mask", {9: (*BLOB, 1)})
    wrong = stored.members[9]
    stored.accept(stored.members)
    with ledger.begin() as session:
        session.get(models.Interferogram, wrong.id).orbits = "restituted"
    stored.update()
    before = accepted(stored)
    assert wrong.id not in before
    new = wrong.id if orbits is Orbits.RESTITUTED else f"{wrong.id}precise"
    job = {"name": "sg-1", "pair_id": wrong.id, "attempt": 1, "job_type": "INSAR_ISCE_BURST"}
    with ledger.begin() as session:
        session.add(models.Job(**job, parameters={}, credits=1, state="succeeded", intended_at=AS_OF))
    made = MadeInterferogram(new, "c", f"{new}.h5", "s", 0.6, 0.9, 10.0, orbits, AS_OF)
    state, reason = ledger.products.accept(FetchedProduct("p", "sg-1", wrong.id, "f.zip", 1), made, AS_OF)
    if orbits is Orbits.RESTITUTED:
        assert (state, accepted(stored)) == ("withdrawn", before)
        assert reason.endswith("stands for it")
    else:
        assert state == "accepted"
        assert new in accepted(stored)
        assert len(accepted(stored)) == len(before)


def test_what_a_rule_says_about_coherence_stays_with_the_pair(tmp_path, ledger):
    stored = track(tmp_path, ledger, "report", {9: (*BLOB, 1)})
    stored.update(stored.members)
    wrong = stored.members[9]
    with ledger.begin() as session:
        session.get(models.Interferogram, wrong.id).reason = "kept although low"
    repairing = with_rule(stored, "mask")
    with ledger.begin() as session:
        # The step's own coherence rule has nothing to say about these: as if it had said this.
        entries = ledger.revisions.accepted_interferograms(stored.track.id)
    now = repair_unwrapping(
        repairing.site,
        repairing.track,
        ledger,
        stored.invented.store,
        entries,
        ReferencePoint(*stored.invented.reference),
        stored.data,
        AS_OF,
    )
    (treated,) = {one.id for one in now} - {one.id for one in entries}
    assert told_of(ledger, treated, "reason", "state", "original") == (
        "kept although low",
        "accepted",
        wrong.id,
    )
    state, reason = told_of(ledger, wrong.id, "state", "reason")
    assert (state, reason.split(":")[0]) == ("withdrawn", f"replaced by {treated}")


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
