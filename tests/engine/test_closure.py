"""Triangles of interferograms are counted as MintPy counts them, and an update counts only its own."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from sagwatch.engine.closure import Triangle, integer_ambiguity, read_counts, triangles
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_programs import export_mintpy, run_program
from tests.engine.invented_ground import Invented, invent_stack

SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)


@pytest.fixture
def wrong(tmp_path) -> Invented:
    """An invented stack in which three interferograms are off by cycles somewhere."""
    invented = invent_stack(tmp_path / "track", n_epochs=9, neighbours=3, gaps=0.02)
    members = list(invented.members)
    for number, patch, cycles in (
        (4, np.s_[20:30, 20:30], 1),
        (7, np.s_[25:35, 25:30], -2),
        (12, np.s_[5:8], 1),
    ):
        members[number] = _off(invented, members[number], patch, cycles)
    return Invented(**{**vars(invented), "members": tuple(members)})


def _off(invented: Invented, member: StoredInterferogram, patch, cycles: int) -> StoredInterferogram:
    path = invented.store.interferogram_path(member.id)
    layers, attributes = read_layers(path), read_attributes(path)
    layers.phase_rad[patch] += np.float32(2 * np.pi * cycles)
    row, column = invented.reference
    layers.phase_rad[row, column] -= np.float32(0)
    name = f"{member.id}off"
    sha256 = invented.store.write_interferogram(name, layers, attributes)
    return StoredInterferogram(
        member.reference, member.secondary, name, sha256, member.perpendicular_baseline_m
    )


def build(invented: Invented, number: int, members, **changes):
    reference = ReferencePoint(*invented.reference)
    return invented.store.build_revision(number, members, SETTINGS, reference, **changes)


def test_all_triangles_of_a_network_are_found():
    pairs = [(1, 2), (2, 3), (1, 3), (3, 4), (1, 4)]

    assert triangles(pairs) == (Triangle(1, 2, 3), Triangle(1, 3, 4))


def test_half_a_cycle_is_where_a_whole_one_begins_and_no_data_is_unknown():
    closure = np.array([0, 3.1, 3.2, -3.1, -3.2, 6.3, -12.6, np.nan], np.float32)
    zero = np.zeros_like(closure)

    assert integer_ambiguity(closure, zero, zero).tolist() == [0, 0, 1, 0, -1, 1, -2, -128]


def test_counts_equal_those_of_mintpys_program(wrong, tmp_path):
    folder = build(wrong, 1, wrong.members)
    exported = export_mintpy(folder, tmp_path / "mintpy")
    (exported / "numTriNonzeroIntAmbiguity.h5").unlink()

    run_program("unwrap_error_phase_closure", ["inputs/ifgramStack.h5", "--action", "calculate"], exported)

    with h5py.File(exported / "numTriNonzeroIntAmbiguity.h5") as file:
        theirs = file["mask"][:]
    count, known = read_counts(folder)
    given = np.isfinite(theirs)
    np.testing.assert_array_equal(count[given], theirs[given])
    assert given.sum() > 500
    assert len(np.unique(theirs[given])) > 3
    assert np.isfinite(count[~given & (known > 0)]).all()
    assert np.isnan(count[known == 0]).all()


def test_new_late_withdrawn_and_replaced_interferograms_are_counted_as_from_the_beginning(wrong):
    members = list(wrong.members)
    days = wrong.dates
    late, gone = members[6], members[10]
    steps = [
        [one for one in members if one.secondary <= days[6] and one is not late],
        [one for one in members if one.secondary <= days[7] and one is not late],
        members,
        [one for one in members if one is not gone],
        [_off(wrong, one, np.s_[40:45], 2) if one is members[3] else one for one in members],
    ]
    for number, some in enumerate(steps, start=1):
        ours = read_counts(build(wrong, number, some))
        folder = build(wrong, 900 + number, some, from_scratch=True)
        fresh = read_counts(folder)
        wrong.store.delete_revision(folder.name)
        for mine, theirs in zip(ours, fresh, strict=True):
            np.testing.assert_array_equal(mine, theirs)
