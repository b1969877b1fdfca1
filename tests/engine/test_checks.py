"""What is wrong with a stack is told in seconds, by its number; what has a defined answer gets it."""

import re
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.engine import checks
from sagwatch.engine.checks import MATTERS, Finding, check_disk, check_members, check_stack, pieces, refuse
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram, read_layers
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_programs import compare_with_mintpy
from sagwatch.engine.revision import read_revision
from sagwatch.engine.window import Effort
from sagwatch.errors import BadInputError, BadRevisionError
from tests.engine.invented_ground import PARAMETERS, invent_stack

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=16, rows=14)
SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)
DAY = date(2024, 1, 1)
ROOT = Path(__file__).resolve().parents[2]


def member(first: int, second: int, name: str = "") -> StoredInterferogram:
    """An interferogram of two acquisitions that are numbered every 12 days."""
    days = [DAY + timedelta(days=12 * number) for number in (first, second)]
    return StoredInterferogram(*days, name or f"{first}x{second}", "hash", 0.0)


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.fixture
def track(tmp_path):
    return invent_stack(tmp_path / "track", n_epochs=6, grid=GRID, gaps=0.0)


def look(track, members=None, **changes):
    store = track.store
    return check_stack(
        store.interferograms,
        store.grid,
        store.geometry_path,
        track.members if members is None else members,
        **changes,
    )


def rewrite(path: Path, **attributes: str) -> None:
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        for key, value in attributes.items():
            file.attrs[key] = value


def build(track, number=1, members=None, settings=SETTINGS, reference=None):
    point = ReferencePoint(*(reference or track.reference))
    return track.store.build_revision(number, members or track.members, settings, point)


# ---- each number ---------------------------------------------------------------------------------------------------


def test_a_stack_in_order_has_no_findings(track):
    assert look(track) == []
    refuse([])


def test_another_size_or_another_place_is_another_grid(track):
    small = replace(GRID, columns=15)
    found = check_stack(track.store.interferograms, small, track.store.geometry_path, track.members)
    assert codes(found) == ["E101"] * 9 + ["E108"]

    rewrite(track.store.interferogram_path(track.members[2].id), X_FIRST="478960.0")
    (found,) = look(track)
    assert found.code == "E101"
    assert str(found).startswith("[E101] ")
    assert track.members[2].id in str(found)
    assert "X_FIRST 478960.0, the track's grid at X_FIRST 478880.0; clip the product" in str(found)


def test_a_pair_twice_is_refused_and_a_file_of_other_dates_too(track):
    twice = [*track.members, replace(track.members[0], id=track.members[1].id)]

    assert codes(look(track, twice)) == ["E102", "E103"]
    with pytest.raises(BadRevisionError, match=r"(?s)\[E102\].*\[E103\]"):
        refuse(look(track, twice))


def test_nothing_is_refused_and_two_acquisitions_have_no_velocity_yet(track):
    assert codes(check_members([])) == ["E104"]
    assert codes(check_members([member(0, 1)])) == ["W104"]
    assert codes(check_members([member(0, 1), member(1, 2)])) == []
    refuse(check_members([member(0, 1)]))


def test_a_reference_without_phase_is_named_with_the_pairs():
    phase = np.array([1.0, 0.0, np.nan, np.inf], np.float32)

    (found,) = checks.check_reference(phase, ["a", "b", "c", "d"])

    assert str(found).startswith("[E105] no phase at the reference pixel in pair b, c, d; ")
    many = checks.check_reference(np.zeros(600, np.float32), [str(i) for i in range(600)])
    assert "pair 0, 1, 2, 3, 4 and 595 more" in str(many[0])


def test_a_disk_that_would_fill_up_stops_a_revision_before_it_begins(track, monkeypatch):
    (found,) = check_disk(track.store.folder / "not" / "there", 10**18)
    assert re.match(
        r"\[E106\] .* GB are free, the next revision needs 1000000000.5 GB; make room", str(found)
    )
    assert check_disk(track.store.folder, 0, spare=1) == []

    monkeypatch.setattr("sagwatch.engine.revision.needed_bytes", lambda *_: 10**18)
    with pytest.raises(BadRevisionError, match="E106"):
        build(track)
    assert list(track.store.revisions.glob("*")) == []


def test_what_a_revision_needs_is_what_it_writes(tmp_path):
    """Near enough for a batch; for an update never too little, which may write less where blocks stay as they are."""
    grid = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=120, rows=100)
    track = invent_stack(tmp_path / "track", n_epochs=40, neighbours=3, grid=grid)
    effort = Effort(block_epochs=8)
    before = [one for one in track.members if one.secondary < track.dates[-1]]
    written = 0
    for number, members in enumerate((before, track.members), 1):
        stack = track.store.stack(members)
        folder = track.store.build_revision(
            number, members, SETTINGS, ReferencePoint(*track.reference), effort
        )
        first = read_revision(folder).manifest.first_solved
        needed = checks.needed_bytes(stack.network, grid.pixels, first, effort)
        paths = [
            *folder.rglob("*.h5"),
            *track.store.folder.glob("series/*"),
            *track.store.folder.glob("checkpoints/*"),
        ]
        total = sum(path.stat().st_size for path in paths)
        assert 0.9 * (total - written) < needed < (1.8 if first == 0 else 5) * (total - written), number
        written = total - sum(path.stat().st_size for path in folder.rglob("*.h5"))
    assert first > 0


def test_missing_and_damaged_files_are_told_by_pair(track):
    track.store.interferogram_path(track.members[0].id).unlink()
    path = track.store.interferogram_path(track.members[1].id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:600])
    track.store.geometry_path.unlink()

    found = look(track)

    assert codes(found) == ["E107", "E107", "E108"]
    assert track.members[0].name in str(found[0])
    assert track.members[1].name in str(found[1])


def test_only_new_files_are_opened(track):
    track.store.interferogram_path(track.members[0].id).unlink()

    assert look(track, fresh={track.members[3].id}) == []


def test_a_network_in_pieces_is_solved_and_said_or_refused_where_the_site_says_so():
    members = [member(0, 1), member(1, 2), member(3, 4), member(6, 8), member(5, 7)]

    assert [len(piece) for piece in pieces(members)] == [3, 2, 2, 2]
    (found,) = check_members(members)
    assert (found.code, found.refused) == ("W109", False)
    assert "falls into 4 pieces (2024-01-01 to 2024-01-25, 2024-02-06 to 2024-02-18" in str(found)
    assert codes(check_members(members, refuse_pieces=True)) == ["E109"]
    assert check_members([*members, member(2, 3), member(4, 5), member(5, 6)]) == []


def test_a_record_twice_as_long_takes_twice_the_work():
    def work(epochs):
        members = [member(a, b) for a in range(epochs) for b in range(a + 1, min(a + 5, epochs))]
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            assert check_members(members) == []
        finally:
            sys.setprofile(None)
        return calls

    assert 1.5 < work(600) / work(300) < 2.5


def test_every_number_and_its_remedy_stand_in_the_documentation():
    rows = re.findall(
        r"^\| (\d+) \| (.*?) \| .*? \| (.*?) \|$", (ROOT / "docs" / "checks.md").read_text(), re.M
    )

    assert {int(number): (title, remedy) for number, title, remedy in rows} == {
        number: (matter.title, matter.remedy) for number, matter in MATTERS.items()
    }


# ---- what bad input gets -------------------------------------------------------------------------------------------


def replaced(track, number: int, change) -> list[StoredInterferogram]:
    """The stack with one interferogram whose pixels are changed."""
    old = track.members[number]
    layers = change(read_layers(track.store.interferogram_path(old.id)))
    name = f"S1_021697_IW3_{old.reference:%Y%m%d}_{old.secondary:%Y%m%d}_VV_INT80_FFFF"
    digest = track.store.write_interferogram("changed", layers, product_attributes(name, PARAMETERS, GRID))
    new = replace(old, id="changed", sha256=digest)
    return sorted([*(one for one in track.members if one != old), new])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_coherence_that_is_no_number_counts_with_mintpys_least_weight(track, value):
    def spoil(layers):
        coherence = layers.coherence.copy()
        coherence[4:8, 4:8] = value
        return Layers.from_product(layers.phase_rad, coherence, layers.component)

    def lowest(layers):
        coherence = layers.coherence.copy()
        coherence[4:8, 4:8] = 0.01
        return Layers.from_product(layers.phase_rad, coherence, layers.component)

    spoiled = build(track, 1, replaced(track, 3, spoil))
    track.store.interferogram_path("changed").unlink()
    expected = build(track, 2, replaced(track, 3, lowest))

    np.testing.assert_array_equal(read_revision(spoiled).los_m(), read_revision(expected).los_m())
    assert np.isfinite(read_revision(spoiled).layers.mean_coherence).sum() > 150


def test_mintpy_agrees_about_a_coherence_that_is_no_number(track):
    def spoil(layers):
        coherence = layers.coherence.copy()
        coherence[4:6, 4:8], coherence[6:8, 4:8] = np.nan, np.inf
        return Layers.from_product(layers.phase_rad, coherence, layers.component)

    differences = compare_with_mintpy(build(track, 1, replaced(track, 3, spoil)))

    assert differences.max_mm < 0.002
    assert differences.counts_that_differ == 0


def test_an_infinite_phase_is_no_observation(track):
    def spoil(layers):
        phase = layers.phase_rad.copy()
        phase[4:8, 4:8] = np.inf
        return Layers.from_product(phase, layers.coherence, layers.component)

    whole, spoiled = read_revision(build(track, 1)), read_revision(build(track, 2, replaced(track, 3, spoil)))

    fewer = whole.layers.n_observations.astype(int) - spoiled.layers.n_observations
    assert fewer.sum() == fewer[4:8, 4:8].sum() == 16
    assert np.isfinite(spoiled.los_m()[:, 4:8, 4:8]).all()


def test_an_all_zero_interferogram_is_refused_by_name(track):
    def empty(layers):
        return Layers.from_product(np.zeros_like(layers.phase_rad), np.zeros_like(layers.coherence))

    members = replaced(track, 3, empty)

    assert look(track, members) == []
    with pytest.raises(BadInputError, match=rf"\[E105\] .*{track.members[3].name}"):
        build(track, 1, members)


def test_a_network_in_two_pieces_goes_on_without_a_jump_and_says_so(track):
    middle = track.dates[3]
    torn = [one for one in track.members if one.secondary < middle or one.reference >= middle]
    assert codes(look(track, torn)) == ["W109"]

    revision = read_revision(build(track, 1, torn))

    seen = revision.layers.n_observations > 0
    seen[track.reference] = False
    assert seen.sum() > 100
    assert np.all(revision.layers.parts[seen] >= 2)
    at = track.dates.index(middle)
    np.testing.assert_array_equal(revision.los_m()[at][seen], revision.los_m()[at - 1][seen])
    assert compare_with_mintpy(revision.folder).max_mm < 0.02


def test_one_interferogram_has_a_displacement_and_no_velocity(track):
    only = [track.members[0]]
    assert codes(look(track, only)) == ["W104"]

    revision = read_revision(build(track, 1, only))

    los_m = revision.los_m()
    assert los_m.shape[0] == 2
    assert np.isfinite(los_m[1]).sum() > 150
    others = np.ones(GRID.shape, np.bool_)
    others[track.reference] = False  # it rests by definition, from the beginning
    for line in revision.layers.lines.values():
        assert np.isnan(line.velocity_m_yr[others]).all()
        assert np.isnan(line.velocity_std_m_yr[others]).all()


def test_zero_is_never_written_for_unknown(track):
    """The two columns that nothing ever saw, in every layer that is published."""
    revision = read_revision(build(track))

    never = revision.layers.n_observations == 0
    assert never[:, :2].all()
    assert np.isnan(revision.los_m()[:, never]).all()
    assert not revision.observed()[:, never].any()
    assert np.isnan(revision.layers.temporal_coherence[never]).all()
    for line in revision.layers.lines.values():
        for name in ("velocity_m_yr", "velocity_std_m_yr", "intercept_m", "residue_m"):
            assert np.isnan(getattr(line, name)[never]).all(), name
    assert not revision.layers.reliable[never].any()
    assert not revision.layers.redundant[never].any()
