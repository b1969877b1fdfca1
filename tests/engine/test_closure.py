"""Closures of triangles: what they count is MintPy's, and an update counts what a batch counts."""

from dataclasses import replace
from datetime import date

import h5py
import numpy as np
import pytest

from sagwatch.engine.closure import CYCLE_RAD, Triangle, cycles, triangles
from sagwatch.engine.closure_files import CLOSURES, Phases
from sagwatch.engine.interferogram import Layers, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_process import run_program
from sagwatch.engine.mintpy_programs import export_mintpy
from sagwatch.engine.revision import read_manifest
from sagwatch.engine.window import Effort
from tests.engine.invented_ground import Invented, invent_stack

SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)


def spoiled(invented: Invented, faults: dict[int, tuple[slice, slice, int]], suffix: str = "w") -> Invented:
    """The same stack with whole cycles added to blobs of some members, as files of their own."""
    members = list(invented.members)
    for number, (rows, columns, added) in faults.items():
        member = members[number]
        path = invented.store.interferogram_path(member.id)
        layers = read_layers(path)
        phase = layers.phase_rad.copy()
        phase[rows, columns] += np.float32(CYCLE_RAD * added)
        name = member.id + suffix
        layers = Layers(phase, layers.coherence, layers.component)
        sha = invented.store.write_interferogram(name, layers, read_attributes(path))
        members[number] = replace(member, id=name, sha256=sha)
    return replace(invented, members=tuple(members))


def without_coherence(invented: Invented, area: tuple[slice, slice]) -> Invented:
    """The same stack with a coherence of exactly 0 in an area of all members."""
    members = []
    for member in invented.members:
        path = invented.store.interferogram_path(member.id)
        layers = read_layers(path)
        coherence = layers.coherence.copy()
        coherence[area] = 0.0
        layers = Layers(layers.phase_rad, coherence, layers.component)
        sha = invented.store.write_interferogram(member.id + "z", layers, read_attributes(path))
        members.append(replace(member, id=member.id + "z", sha256=sha))
    return replace(invented, members=tuple(members))


def build(invented: Invented, number: int, members=None, **words):
    reference = ReferencePoint(*invented.reference)
    members = members or invented.members
    words = {"closures": True} | words
    return invented.store.build_revision(number, members, SETTINGS, reference, **words)


def counts(folder) -> dict[str, np.ndarray]:
    with h5py.File(folder / CLOSURES) as file:
        return {name: file[name][:] for name in file}


def test_triangles_are_all_threes_of_dates_with_three_pairs():
    days = [date(2024, 1, 1 + i) for i in range(5)]
    pairs = [(days[a], days[b]) for a, b in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4))]
    assert triangles(pairs) == [Triangle(*days[:3]), Triangle(*days[1:4])]
    assert [Triangle(*days[:3]).sign(pair) for pair in Triangle(*days[:3]).pairs] == [1, 1, -1]
    assert triangles(pairs[:2]) == []


@pytest.mark.parametrize(("closure", "expected"), [(0.1, 0), (3.1, 0), (3.2, 1), (-3.2, -1), (12.5, 2)])
def test_cycles_are_the_nearest_integer_and_unknown_is_not_zero_closure(closure, expected):
    zero = np.zeros((1, 2), np.float32)
    early = np.array([[closure, np.nan]], np.float32)
    whole, known = cycles(early, zero, zero)
    assert whole.tolist() == [[expected, 0]]
    assert known.tolist() == [[True, False]]


def test_the_layer_is_what_mintpys_program_counts(tmp_path):
    plain = invent_stack(tmp_path / "track", n_epochs=8, neighbours=3, gaps=0.004, seed=3)
    bad = spoiled(plain, {4: (slice(20, 30), slice(15, 40), 1), 9: (slice(25, 35), slice(5, 25), -2)})
    # In a corner no triangle closes: x² + y² is never (x + y)².
    span = [(bad.dates.index(m.secondary) - bad.dates.index(m.reference)) ** 2 for m in bad.members]
    bad = spoiled(bad, {n: (slice(2, 6), slice(40, 44), cycles) for n, cycles in enumerate(span)}, "x")
    bad = without_coherence(bad, (slice(8, 12), slice(40, 44)))
    folder = build(bad, 1)
    export = export_mintpy(folder, tmp_path / "export")
    ours = counts(export)
    (export / CLOSURES).unlink()
    run_program("unwrap_error_phase_closure", ["inputs/ifgramStack.h5", "-a", "calculate"], export)
    with h5py.File(export / CLOSURES) as file:
        theirs = file["mask"][:]
    np.testing.assert_array_equal(ours["mask"], theirs)
    assert np.isnan(theirs[2:6, 40:44]).all()
    assert np.isnan(theirs[8:12, 40:44]).all()
    assert 0.3 < np.isfinite(theirs).mean() < 1
    assert np.nanmax(theirs) >= 3
    seen = {
        (m.reference, m.secondary): np.isfinite(read_layers(bad.store.interferogram_path(m.id)).phase_rad)
        for m in bad.members
    }
    np.testing.assert_array_equal(ours["pairsWithoutPhase"], sum(~known for known in seen.values()))
    complete = sum(
        np.logical_and.reduce([seen[pair] for pair in triangle.pairs]) for triangle in triangles(seen)
    )
    np.testing.assert_array_equal(ours["completeTriplets"], complete)
    assert complete.min() < complete.max()


def test_an_update_counts_only_what_came_and_went_and_ends_like_a_batch(tmp_path, monkeypatch):
    plain = invent_stack(tmp_path / "track", n_epochs=14, seed=5)
    bad = spoiled(plain, {20: (slice(20, 30), slice(15, 40), 1)})
    effort = Effort(block_epochs=4)
    read: list[str] = []
    real = Phases._read
    monkeypatch.setattr(Phases, "_read", lambda self, name: read.append(name) or real(self, name))
    n = len(plain.members)
    steps = [
        list(plain.members[: n - 6]),
        list(plain.members[: n - 2]),  # forward
        [m for i, m in enumerate(bad.members) if i != 22],  # one replaced, one withdrawn
        list(plain.members),  # both come back
    ]
    for number, members in enumerate(steps, 1):
        read.clear()
        ours = counts(build(bad, number, members, effort=effort))
        if number == 2:
            # Four new interferograms, and what stands in a triangle with them.
            assert 4 <= len(set(read)) <= 7
        batch = counts(build(bad, 100 + number, members, effort=effort, from_scratch=True))
        assert ours.keys() == batch.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], batch[name], err_msg=f"{name} {number}")
        bad.store.delete_revision(read_manifest(sorted(bad.store.revisions.glob("0001*"))[-1]).folder_name)


def test_without_triangles_there_is_no_layer(tmp_path):
    chain = invent_stack(tmp_path / "track", n_epochs=4, neighbours=1)
    assert not (build(chain, 1) / CLOSURES).exists()


def assert_like_a_batch(invented: Invented, number: int, members=None) -> None:
    ours = counts(build(invented, number, members))
    batch = counts(build(invented, 100 + number, members, from_scratch=True))
    assert ours.keys() == batch.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], batch[name], err_msg=name)


def test_counts_of_the_base_that_are_not_what_its_manifest_says_are_not_taken_over(tmp_path):
    plain = invent_stack(tmp_path / "track", n_epochs=10, seed=5)
    path = build(plain, 1, plain.members[:-2]) / CLOSURES
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["contradictingTriplets"][:] += 7

    assert_like_a_batch(plain, 2)


def test_a_base_that_counted_nothing_is_no_obstacle(tmp_path):
    plain = invent_stack(tmp_path / "track", n_epochs=10, seed=5)
    assert not (build(plain, 1, plain.members[:-2], closures=False) / CLOSURES).exists()

    assert_like_a_batch(plain, 2)


def test_where_a_withdrawn_interferogram_is_gone_everything_is_counted_anew(tmp_path, caplog):
    plain = invent_stack(tmp_path / "track", n_epochs=10, seed=5)
    bad = spoiled(plain, {6: (slice(20, 30), slice(15, 40), 1)})
    build(bad, 1)
    bad.store.interferogram_path(bad.members[6].id).unlink()

    assert_like_a_batch(bad, 2, [member for n, member in enumerate(bad.members) if n != 6])
    assert "all triangles are counted anew" in caplog.text
