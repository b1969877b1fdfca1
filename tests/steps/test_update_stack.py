"""The step between ledger and engine: what it takes up, what it solves from the beginning, what stops it."""

import re

import h5py
import numpy as np
import pytest
import yaml

from sagwatch.__main__ import main
from sagwatch.adapters.database import models
from sagwatch.domain.site import Site
from sagwatch.engine.interferogram import read_attributes
from sagwatch.engine.revision import read_revision
from sagwatch.errors import BadRevisionError
from sagwatch.steps.check_stack import check_stack
from sagwatch.steps.update_stack import update_stack
from tests.steps.stored_track import AS_OF, StoredTrack, store_track


@pytest.fixture
def stored(tmp_path, ledger) -> StoredTrack:
    return store_track(tmp_path, ledger)


def events(stored: StoredTrack, kind: str) -> list[str]:
    with stored.ledger.begin() as session:
        rows = session.query(models.OperationEvent).filter_by(kind=kind).order_by(models.OperationEvent.id)
        return [row.text for row in rows]


def assert_is_the_batch(stored: StoredTrack) -> None:
    ours, batch = read_revision(stored.newest), stored.batch()
    np.testing.assert_allclose(ours.los_m() * 1000, batch.los_m() * 1000, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(ours.observed(), batch.observed())
    for name in ("n_observations", "parts", "redundant", "land"):
        np.testing.assert_array_equal(getattr(ours.layers, name), getattr(batch.layers, name), err_msg=name)
    stored.invented.store.delete_revision(batch.folder.name)


def test_acquisitions_late_and_withdrawn_interferograms_are_taken_up_where_they_begin(stored):
    days = stored.dates
    late = next(member for member in stored.members if member.reference == days[52])
    gone = next(member for member in stored.members if member.reference == days[50])

    first = stored.update(one for one in stored.until(days[56]) if one is not late)
    assert first.first_solved == 0
    forward = stored.update(one for one in stored.until(days[57]) if one is not late)
    assert 0 < forward.first_solved <= 55
    assert_is_the_batch(stored)
    several = stored.update(one for one in stored.members if one is not late)
    assert 0 < several.first_solved <= 56
    assert_is_the_batch(stored)
    arrived = stored.update(stored.members)
    assert 0 < arrived.first_solved <= 52
    assert late.id in {member.id for member in arrived.members}
    assert_is_the_batch(stored)
    withdrawn = stored.update(one for one in stored.members if one is not gone)
    assert 0 < withdrawn.first_solved <= 50
    assert gone.id not in {member.id for member in withdrawn.members}
    assert_is_the_batch(stored)
    early = next(member for member in stored.members if member.reference == days[2])
    assert stored.update(one for one in stored.members if one is not early).first_solved == 0
    assert_is_the_batch(stored)

    rows = stored.ledger.revisions
    assert rows.newest(stored.track.id).number == 6
    assert stored.update().number == 6, "nothing new makes no new revision"


def test_another_configuration_or_reference_is_solved_from_the_beginning_by_itself(stored):
    stored.update(stored.until(stored.dates[58]))
    assert stored.update(stored.members).first_solved > 0

    changed = stored.site.model_dump() | {"inversion": {"weight": "fim"}}
    stored.site = Site.model_validate(changed)
    again = stored.update()
    assert (again.first_solved, again.settings["weight"]) == (0, "fim")
    assert [member.id for member in again.members] == [member.id for member in stored.members]
    assert_is_the_batch(stored)

    seen = np.isfinite(stored.invented.phase_rad).all(axis=0)
    row, column = (int(value) for value in np.argwhere(seen)[-1])
    assert (row, column) != stored.invented.reference
    stored.pin(row, column)
    moved = stored.update()
    assert moved.first_solved == 0
    assert (moved.reference.row, moved.reference.column) == (row, column)
    np.testing.assert_array_equal(read_revision(stored.newest).los_m()[:, row, column], 0.0)
    assert_is_the_batch(stored)


def test_a_network_in_pieces_is_solved_and_told_once_or_refused(stored):
    middle = stored.dates[20]
    torn = [
        one for one in stored.until(stored.dates[40]) if one.secondary < middle or one.reference >= middle
    ]
    stored.update(torn[:-2])
    stored.update(torn)
    (told,) = events(stored, "network_in_pieces")
    assert "[W109] the network falls into 2 pieces" in told

    refusing = stored.site.model_dump() | {"network": {"in_pieces": "refuse"}}
    stored.site = Site.model_validate(refusing)
    with pytest.raises(BadRevisionError, match=r"\[E109\]"):
        stored.update()
    stored.update(stored.until(stored.dates[40]))
    assert len(events(stored, "network_in_pieces")) == 1


def test_a_file_of_another_grid_stops_the_update_before_anything_is_written(stored):
    stored.update(stored.until(stored.dates[30]))
    number = stored.ledger.revisions.newest(stored.track.id).number
    fresh = next(member for member in stored.members if member.secondary == stored.dates[31])
    path = stored.invented.store.interferogram_path(fresh.id)
    other = stored.invented.store.interferogram_path("other")
    _move(path, other)
    stored.accept(stored.until(stored.dates[31]))

    with pytest.raises(BadRevisionError, match=r"\[E101\].*X_FIRST 480080.0"):
        update_stack(stored.site, stored.track, stored.ledger, stored.data, AS_OF)

    assert stored.ledger.revisions.newest(stored.track.id).number == number
    (found,) = check_stack(stored.site, stored.track, stored.ledger, stored.data)
    assert found.code == "E101"


def _move(path, aside) -> None:
    """Write an interferogram anew, one pixel further east."""
    assert read_attributes(path)["X_FIRST"] == "480000.0"
    path.rename(aside)
    path.write_bytes(aside.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["X_FIRST"] = "480080.0"


def test_one_pair_without_phase_at_the_reference_is_left_out_and_a_reference_without_any_is_refused(stored):
    few = stored.until(stored.dates[10])
    holes = ~np.isfinite(stored.invented.phase_rad[: len(stored.members)])
    missing = holes.sum(axis=0)
    missing[:, :2] = 0
    some = np.argwhere(missing[:, :] > 0)
    row, column = next(
        (int(r), int(c))
        for r, c in some
        if 0 < sum(holes[stored.members.index(one), r, c] for one in few) < 4
    )
    stored.pin(row, column)
    manifest = stored.update(few)
    lost = [one for one in few if holes[stored.members.index(one), row, column]]
    assert {one.id for one in few} - {one.id for one in manifest.members} == {one.id for one in lost}
    assert len(events(stored, "interferogram_left_out")) == len(lost)

    stored.pin(3, 0)  # nothing ever sees the first columns
    with pytest.raises(BadRevisionError, match=r"\[E105\] no phase at the reference pixel .* and \d+ more"):
        stored.update()
    assert len(events(stored, "interferogram_left_out")) == len(lost), "no interferogram is blamed for it"
    (found,) = check_stack(stored.site, stored.track, stored.ledger, stored.data)
    assert found.code == "E105"


def test_no_interferogram_is_no_revision(stored):
    assert update_stack(stored.site, stored.track, stored.ledger, stored.data, AS_OF) is None
    (found,) = check_stack(stored.site, stored.track, stored.ledger, stored.data)
    assert found.code == "E104"


def test_by_hand_it_says_what_stands_in_the_way(stored, postgis_url, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "sites"
    folder.mkdir()
    file = folder / "invented.yaml"
    file.write_text(yaml.safe_dump(stored.site.model_dump(mode="json", exclude_defaults=True)))
    for name, value in (("SITES", folder), ("DATA", stored.data), ("DATABASE_URL", postgis_url)):
        monkeypatch.setenv(f"SAGWATCH_{name}", str(value))
    stored.accept(stored.until(stored.dates[9]))

    assert main(["check-stack", "invented"]) == 0
    assert capsys.readouterr().out == "invented/t011a: nothing stands in the way\n"

    stored.invented.store.interferogram_path(stored.members[0].id).unlink()
    assert main(["check-stack", "invented"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("invented/t011a: [E107] pair ")
    assert said.err.startswith("sagwatch check-stack: [E107] pair ")


def test_a_stack_in_order_has_nothing_in_its_way(stored):
    stored.accept(stored.until(stored.dates[9]))

    assert check_stack(stored.site, stored.track, stored.ledger, stored.data) == []


def test_corrections_that_would_eat_a_trough_are_told_once_a_year(stored, monkeypatch, caplog):
    rules = {"ramp": {"shape": "linear"}, "topography": {"estimate": True}}
    stored.site = Site.model_validate(stored.site.model_dump() | {"corrections": rules})
    monkeypatch.setattr("sagwatch.engine.correction_files.MOST_EATEN_BY_TOPOGRAPHY", 0.001)
    monkeypatch.setattr("sagwatch.engine.corrections.LEAST_STEADY_PIXELS", 20)
    stored.update(stored.until(stored.dates[22]))
    ramp, topography, eaten = sorted(events(stored, "corrections"))
    assert re.search(r"\[W120\] the linear ramp takes up to \d+% of a new trough of 300 m", ramp)
    assert re.search(r"\[W121\] .*up to \d+% of a trough is taken for a height error; lower", topography)
    assert re.search(r"\[W124\] the linear ramps grow with time.*taken \d+% of the velocity", eaten)
    assert "[W120]" in caplog.text

    stored.update(stored.until(stored.dates[23]))
    assert len(events(stored, "corrections")) == 3, "told once"
    by_hand = check_stack(stored.site, stored.track, stored.ledger, stored.data)
    assert {"W120", "W121", "W124"} <= {finding.code for finding in by_hand}


def test_an_acquisition_without_steady_ground_is_marked_and_told(stored, monkeypatch):
    stored.site = Site.model_validate(
        stored.site.model_dump() | {"corrections": {"ramp": {"shape": "linear"}}}
    )
    monkeypatch.setattr("sagwatch.engine.corrections.LEAST_STEADY_PIXELS", 20)
    marked = [stored.dates[7]]

    def nothing_seen(manifest, corrections):
        return [day for day in manifest.epochs if day in marked]

    for module in ("sagwatch.steps.update_stack", "sagwatch.engine.correction_files"):
        monkeypatch.setattr(f"{module}.corrected_by_average", nothing_seen)

    def told() -> list[str]:
        return [text for text in events(stored, "corrections") if "[W122]" in text]

    for last in (10, 11):
        stored.update(stored.until(stored.dates[last]))
        (text,) = told()
        assert f"the average of the other acquisitions corrects {marked[0]};" in text, "once"
    marked.append(stored.dates[9])
    stored.update(stored.until(stored.dates[12]))
    assert len(told()) == 2, "another acquisition, in the same year, is told too"
    row = stored.ledger.revisions.newest(stored.track.id)
    assert row.summary["average_correction"] == [f"{day}" for day in marked]


def test_steady_ground_that_is_decided_anew_is_told_once_the_record_is_old_enough(stored, monkeypatch):
    stored.site = Site.model_validate(stored.site.model_dump() | {"datum": {"refer_to": "steady_ground"}})
    monkeypatch.setattr("sagwatch.engine.corrections.LEAST_STEADY_PIXELS", 20)
    for module in ("engine.steady_ground", "steps.update_stack"):
        monkeypatch.setattr(f"sagwatch.{module}.DECIDED_EVERY", 6)

    told = []
    for epochs in (4, 5, 6, 7, 11, 12, 13):
        stored.update(stored.until(stored.dates[epochs - 1]))
        told.append(len(events(stored, "steady_ground")))

    assert told == [0, 0, 0, 0, 0, 1, 1]
    (text,) = events(stored, "steady_ground")
    assert f"until {stored.dates[11]} (before: {stored.dates[5]})" in text
    assert "what displacements refer to" in text
