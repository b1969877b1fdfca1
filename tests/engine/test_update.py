"""A stored track is kept up to date: as a batch would, with fewer files written; old or new after a kill."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import content_sha256
from sagwatch.engine import manifest as manifest_module
from sagwatch.engine import update as update_module
from sagwatch.engine.files import sha256_of
from sagwatch.engine.manifest import MANIFEST, ReferencePoint, RevisionSettings, read_manifest, write_manifest
from sagwatch.engine.mintpy_programs import compare_with_mintpy
from sagwatch.engine.revision import read_revision, solve_past, verify
from sagwatch.engine.store import TrackStore
from sagwatch.engine.window import Effort
from sagwatch.errors import BadRevisionError
from tests.engine.invented_ground import invent_stack

SMALL = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=24, rows=20)
SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)
EFFORT = Effort(block_epochs=5, threads=2)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def invented(tmp_path_factory):
    return invent_stack(tmp_path_factory.mktemp("long") / "track", n_epochs=36, grid=SMALL, gaps=0.08)


@pytest.fixture
def track(invented, tmp_path):
    """A store of its own over the same interferograms."""
    folder = tmp_path / "track"
    folder.mkdir()
    for name in ("interferograms", "geometry"):
        (folder / name).mkdir()
        for path in (invented.store.folder / name).iterdir():
            os.link(path, folder / name / path.name)
    return replace(invented, store=TrackStore(folder, SMALL))


def until(invented, day):
    return [member for member in invented.members if member.secondary <= day]


def build(track, number, members, **changes):
    reference = ReferencePoint(*track.reference)
    return track.store.build_revision(number, members, replace(SETTINGS, **changes), reference, EFFORT)


def assert_same_solution(one, other):
    ours, theirs = read_revision(one), read_revision(other)
    np.testing.assert_allclose(ours.los_m() * 1000, theirs.los_m() * 1000, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(ours.observed(), theirs.observed())
    for name in ("n_observations", "parts", "redundant", "land"):
        np.testing.assert_array_equal(getattr(ours.layers, name), getattr(theirs.layers, name), err_msg=name)
    for name in ("temporal_coherence", "mean_coherence"):
        np.testing.assert_allclose(
            getattr(ours.layers, name), getattr(theirs.layers, name), rtol=0, atol=3e-6, err_msg=name
        )
    for window, line in ours.layers.lines.items():
        other_line = theirs.layers.lines[window]
        np.testing.assert_allclose(line.velocity_m_yr, other_line.velocity_m_yr, rtol=0, atol=1e-5)
        np.testing.assert_allclose(line.velocity_std_m_yr, other_line.velocity_std_m_yr, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(line.n_epochs, other_line.n_epochs)


def test_acquisitions_one_by_one_end_with_the_batch_and_mintpy_agrees(track):
    revision = build(track, 1, until(track, track.dates[24]))
    for number, day in enumerate(track.dates[25:], 2):
        revision = build(track, number, until(track, day))

    manifest = read_manifest(revision)
    batch = track.store.build_revision(
        99, track.members, SETTINGS, ReferencePoint(*track.reference), EFFORT, from_scratch=True
    )
    assert manifest.first_solved > 0
    assert read_manifest(batch).first_solved == 0
    assert manifest.id == read_manifest(batch).id
    assert_same_solution(revision, batch)
    differences = compare_with_mintpy(revision)
    assert differences.whole_max_mm < 0.002
    assert differences.torn_max_mm < 0.02
    assert differences.counts_that_differ == 0
    verify(revision)


def test_an_update_shares_what_did_not_change(track):
    before = read_manifest(build(track, 1, until(track, track.dates[30])))
    after = read_manifest(build(track, 2, until(track, track.dates[31])))

    assert after.first_solved >= 10
    kept = set(before.series) & set(after.series)
    assert {block.epoch for block in kept} >= {0}
    assert sum(block.length for block in after.series) == 32
    assert [block.epoch for block in after.series] == list(range(0, 32, 5))


def test_late_and_withdrawn_interferograms_reopen_the_solution_where_they_begin(track):
    late = [member for member in track.members if member.reference == track.dates[27]]
    without = [member for member in track.members if member not in late]
    first = build(track, 1, without)

    second = build(track, 2, track.members)
    third = build(track, 3, without)

    assert 0 < read_manifest(second).first_solved <= 27
    assert_same_solution(third, first)
    batch = track.store.build_revision(
        9, track.members, SETTINGS, ReferencePoint(*track.reference), EFFORT, from_scratch=True
    )
    assert_same_solution(second, batch)


def test_other_settings_or_another_reference_are_solved_from_the_beginning(track):
    build(track, 1, until(track, track.dates[34]))

    other = build(track, 2, track.members, coherence_threshold=0.3)
    row, column = 9, 12
    seen = np.isfinite(track.phase_rad[:, row, column])
    members = [member for member, there in zip(track.members, seen, strict=True) if there]
    build(track, 3, members[:-1])
    moved = track.store.build_revision(4, members, SETTINGS, ReferencePoint(row, column), EFFORT)

    assert read_manifest(other).first_solved == 0
    assert read_manifest(moved).first_solved == 0


@pytest.mark.parametrize("solver", [{}, {"solver": "1"}])
def test_checkpoints_of_an_earlier_solver_are_read_but_not_taken_up(track, solver):
    before = build(track, 1, until(track, track.dates[30]))
    manifest = read_manifest(before)
    packages = {name: version for name, version in manifest.versions.items() if name != "solver"}
    write_manifest(before, replace(manifest, versions=packages | solver))

    after = build(track, 2, until(track, track.dates[31]))
    last = build(track, 3, until(track, track.dates[32]))

    assert read_revision(before).los_m().shape[0] == 31
    assert read_manifest(after).first_solved == 0
    assert read_manifest(last).first_solved > 0


def test_a_damaged_checkpoint_or_block_is_not_taken_up(track, caplog):
    before = read_manifest(build(track, 1, until(track, track.dates[34])))
    path = track.store.folder / before.checkpoints[-1].name
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    after = build(track, 2, track.members)

    assert read_manifest(after).first_solved == 0
    assert "everything is solved anew" in caplog.text
    with pytest.raises(BadRevisionError, match=r"checkpoints/.* is damaged"):
        verify(track.store.revisions / before.folder_name)


def test_two_that_build_the_same_revision_at_once_end_with_one(track):
    build(track, 1, until(track, track.dates[33]))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: build(track, 2, track.members), range(2))

    assert one == other
    verify(one)


def test_a_file_replaced_under_its_name_is_another_interferogram(track):
    build(track, 1, track.members)
    member = track.members[-2]
    path = track.store.interferogram_path(member.id)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file["unwrapPhase"][...] += 2.0
    replaced = replace(member, sha256=sha256_of(path))
    members = [replaced if each is member else each for each in track.members]

    update = build(track, 2, members)
    batch = track.store.build_revision(
        3, members, SETTINGS, ReferencePoint(*track.reference), EFFORT, from_scratch=True
    )

    assert read_manifest(update).first_solved > 0
    assert_same_solution(update, batch)


@pytest.mark.parametrize("how", ["gone", "cut short"])
def test_a_part_of_the_stack_that_is_damaged_is_made_anew(track, how):
    before = read_manifest(build(track, 1, until(track, track.dates[34])))
    spoil(track.store.folder / before.stack[0].name, how)

    after = build(track, 2, track.members)

    verify(after)
    assert read_manifest(after).first_solved > 0


@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_that_fills_up_meanwhile_is_said_and_leaves_nothing(track, monkeypatch, damaged):
    """Also where the base turned out to be damaged and everything is solved anew."""
    manifest = read_manifest(build(track, 1, until(track, track.dates[34])))
    if damaged:
        spoil(track.store.folder / manifest.checkpoints[-1].name, "cut short")
    before = sorted(path for path in track.store.folder.rglob("*"))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BadRevisionError, match=r"\[E106\] .*No space left"):
        build(track, 2, track.members)

    assert sorted(path for path in track.store.folder.rglob("*")) == before


def test_a_strange_folder_among_the_revisions_changes_nothing(track):
    first = build(track, 1, until(track, track.dates[34]))
    (track.store.revisions / "lost+found").mkdir()
    (track.store.revisions / "zz copy-of-2").mkdir()

    second = build(track, 2, track.members)
    track.store.delete_revision(first.name)

    assert read_manifest(second).first_solved > 0
    verify(second)


def test_a_damaged_revision_does_not_keep_others_from_being_deleted(track, caplog):
    first = build(track, 1, until(track, track.dates[33]))
    evidence = build(track, 2, until(track, track.dates[34]))
    spoil(evidence / "manifest.json", "cut short")
    shared = sorted(track.store.folder.glob("series/*"))

    track.store.delete_revision(first.name)

    assert not first.exists()
    assert sorted(track.store.folder.glob("series/*")) == shared
    assert "no shared file is deleted" in caplog.text


def spoil(path, how):
    path.chmod(0o644)
    if how == "gone":
        path.unlink()
    elif how == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 64
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "cut short", "another bit"])
@pytest.mark.parametrize("what", ["block before", "block solved again", "state"])
def test_what_an_update_would_take_up_is_not_taken_up_damaged(track, caplog, what, how):
    folder = build(track, 1, until(track, track.dates[34]))
    before = read_manifest(folder)
    first = before.checkpoints[-1].epoch
    path = {
        "block before": track.store.folder / next(b.name for b in before.series if b.after == first),
        "block solved again": track.store.folder / next(b.name for b in before.series if b.epoch == first),
        "state": folder / "updateState.h5",
    }[what]
    spoil(path, how)

    after = build(track, 2, track.members)

    assert read_manifest(after).first_solved == 0
    assert "everything is solved anew" in caplog.text
    verify(after)


def test_all_that_an_update_takes_up_is_hashed_before_it_is_used(track, monkeypatch):
    """Nobody but the hash can tell what a disk lost by itself: size and times stay as they were."""
    before = read_manifest(build(track, 1, until(track, track.dates[34])))
    hashed, read = [], []

    def watch(module, name, seen, place):
        real = getattr(module, name)

        def watched(*arguments):
            found = real(*arguments)
            seen.append(place(*arguments))
            return found

        monkeypatch.setattr(module, name, watched)

    watch(manifest_module, "is_content", hashed, lambda path, digest: path)
    for name in ("read_block", "read_checkpoint"):
        watch(update_module, name, read, lambda folder, sealed: (folder / sealed.name, list(hashed)))
    build(track, 2, track.members)

    taken = {path for path, _ in read}
    first = before.checkpoints[-1].epoch
    assert {track.store.folder / before.checkpoints[-1].name} <= taken
    assert {track.store.folder / block.name for block in before.series if block.epoch >= first} <= taken
    assert all(path in known for path, known in read)


def test_a_manifest_as_earlier_versions_laid_it_out_is_read_and_taken_up(track):
    folder = build(track, 1, until(track, track.dates[34]))
    lay_out_as_before(folder)

    after = build(track, 2, track.members)

    assert verify(folder).number == 1
    manifest = read_manifest(after)
    assert manifest.first_solved > 0
    assert {len(sealed.digest) for sealed in manifest.shared} == {64, len("blake3:") + 64}
    verify(after)
    kept = next(sealed for sealed in manifest.shared if len(sealed.digest) == 64)
    spoil(folder.parent.parent / kept.name, "another bit")
    for revision in (folder, after):
        with pytest.raises(BadRevisionError, match=f"{kept.name} is damaged"):
            verify(revision)
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"number": 1', '"number": 3'))
    with pytest.raises(BadRevisionError, match="was changed after it was written"):
        read_manifest(folder)


def test_a_revision_of_an_earlier_solver_is_read_and_its_checkpoints_are_left_alone(track):
    folder = build(track, 1, until(track, track.dates[34]))
    lay_out_as_before(folder, solver=False)
    verify(folder)
    shown = read_revision(folder)
    for sealed in shown.manifest.checkpoints:
        spoil(track.store.folder / sealed.name, "cut short")

    past = solve_past(shown, track.store.stack(track.members), SETTINGS, track.dates[33], EFFORT)
    after = build(track, 2, track.members)

    assert past.dates == track.dates[:34]
    assert read_manifest(after).first_solved == 0
    verify(after)


def lay_out_as_before(folder, solver=True):
    """As versions before the solver had a number wrote it, and hashed with SHA-256; without one if asked for."""
    content = read_manifest(folder).as_json()
    for kind in ("series", "checkpoints", "stack"):
        for entry in content[kind]:
            entry[3] = sha256_of(folder.parent.parent / entry[2])
    for name, described in content["files"].items():
        del described["digest"]
        described["sha256"] = sha256_of(folder / name)
    if not solver:
        content["versions"] = {key: value for key, value in content["versions"].items() if key != "solver"}
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(
        json.dumps({**content, "sha256": content_sha256(content)}, default=str) + "\n"
    )


def test_a_shared_file_that_is_made_again_stays_if_it_is_whole_and_is_mended_if_not(track):
    """An older revision stands on it, and what takes its place is not on the disk yet."""
    first = build(track, 1, track.members)
    whole, damaged = (track.store.folder / block.name for block in read_manifest(first).series[:2])
    spoil(damaged, "another bit")
    before = whole.stat().st_ino, damaged.stat().st_ino

    again = track.store.build_revision(
        2, track.members, SETTINGS, ReferencePoint(*track.reference), EFFORT, from_scratch=True
    )

    assert read_manifest(again).series == read_manifest(first).series
    assert whole.stat().st_ino == before[0]
    assert damaged.stat().st_ino != before[1]
    verify(first)


def test_a_missing_block_is_found_on_opening_and_never_reads_as_stable(track):
    revision = build(track, 1, track.members)
    (track.store.folder / read_manifest(revision).series[1].name).unlink()

    with pytest.raises(BadRevisionError, match=r"series/.* is gone"):
        read_revision(revision)


def test_an_old_revision_takes_only_its_own_blocks_with_it(track):
    first, second = build(track, 1, until(track, track.dates[34])), build(track, 2, track.members)
    own = {sealed.name for sealed in read_manifest(first).shared} - {
        sealed.name for sealed in read_manifest(second).shared
    }

    track.store.delete_revision(first.name)

    assert own
    assert not [name for name in own if (track.store.folder / name).exists()]
    verify(second)


def test_the_past_is_what_an_update_gave_then(track):
    then = build(track, 1, until(track, track.dates[33]))
    now = read_revision(build(track, 2, track.members))

    past = solve_past(now, track.store.stack(track.members), SETTINGS, track.dates[33], EFFORT)

    shown = read_revision(then)
    np.testing.assert_allclose(past.los_m * 1000, shown.los_m() * 1000, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(past.observed, shown.observed())
    np.testing.assert_allclose(past.temporal_coherence, shown.layers.temporal_coherence, rtol=0, atol=3e-6)
