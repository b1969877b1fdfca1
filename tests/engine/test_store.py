"""Interferograms and revisions are written once, whole or not at all, and never read as something they are not."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from mintpy.objects import ifgramStack

from sagwatch.domain.grid import Grid
from sagwatch.engine.files import ASIDE, file_aside, folder_aside, remove_leftovers, sha256_of
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram, read_layers
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, read_manifest
from sagwatch.engine.revision import read_revision, revision_folders, solve_past, verify
from sagwatch.engine.store import TrackStore
from sagwatch.engine.velocity import Window
from sagwatch.engine.weights import Weight
from sagwatch.engine.window import Effort
from sagwatch.errors import BadInputError, BadProductError, BadRevisionError
from tests.engine.invented_ground import GRID, PARAMETERS, invent_stack

SMALL = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=11, rows=9)
SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def small(tmp_path):
    return invent_stack(tmp_path / "track", n_epochs=6, grid=SMALL)


def build(invented, number=1, **changes):
    settings = replace(SETTINGS, **changes)
    return invented.store.build_revision(
        number, invented.members, settings, ReferencePoint(*invented.reference)
    )


def damage(path: Path) -> None:
    """Turn over one bit in the middle of a file."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# --- interferograms


def test_an_interferogram_comes_back_as_it_went_in(tmp_path):
    rng = np.random.default_rng(1)
    unwrapped, coherence = rng.normal(size=SMALL.shape), rng.uniform(0.1, 0.9, SMALL.shape)
    unwrapped[2, 3], coherence[4, 5] = 0.0, 0.0
    layers = Layers.from_product(unwrapped, coherence, np.full(SMALL.shape, 2.0))
    store = TrackStore(tmp_path, SMALL)
    name = "S1_021697_IW3_20240111_20240123_VV_INT80_E09B"

    digest = store.write_interferogram("abc", layers, product_attributes(name, PARAMETERS, SMALL))

    back = read_layers(store.interferogram_path("abc"))
    np.testing.assert_array_equal(back.phase_rad, layers.phase_rad)
    np.testing.assert_array_equal(back.coherence, layers.coherence)
    np.testing.assert_array_equal(back.component, 2)
    assert np.isnan(back.phase_rad[2, 3])
    assert np.isnan(back.coherence[4, 5])
    assert back.mean_coherence == pytest.approx(coherence[coherence > 0].mean(), abs=1e-6)
    assert digest == sha256_of(store.interferogram_path("abc"))
    assert sorted(path.name for path in store.interferograms.iterdir()) == ["abc.h5"]


def test_mintpy_can_open_a_single_interferogram(small):
    stack = ifgramStack(str(small.store.interferogram_path(small.members[0].id)))
    stack.open(print_msg=False)

    assert stack.date12List == [small.members[0].name]
    assert (stack.length, stack.width) == SMALL.shape


def test_writing_again_changes_nothing_and_another_content_is_refused(small):
    first = small.members[0]
    layers = read_layers(small.store.interferogram_path(first.id))
    name = f"S1_021697_IW3_{first.name}_VV_INT80_0000"
    baseline = str(first.perpendicular_baseline_m)
    attributes = product_attributes(name, {**PARAMETERS, "Baseline": baseline}, SMALL)
    attributes["relative_orbit"] = "11"

    assert small.store.write_interferogram(first.id, layers, attributes) == first.sha256
    with pytest.raises(BadProductError, match="another content"):
        small.store.write_interferogram(first.id, replace(layers, phase_rad=layers.phase_rad + 1), attributes)
    assert sha256_of(small.store.interferogram_path(first.id)) == first.sha256


def test_an_interferogram_of_another_size_is_refused(small):
    with pytest.raises(BadInputError, match="clip it to the grid first"):
        small.store.write_interferogram("abc", Layers(np.zeros((3, 3)), np.zeros((3, 3))), {})


# --- revisions


def test_a_revision_gives_the_invented_trough_back(built):
    invented, revision = built.invented, read_revision(built.revision)
    row, column = invented.reference
    truth_m = invented.truth_m - invented.truth_m[:, row, column][:, None, None]
    whole = (revision.layers.parts == 1) & revision.layers.reliable

    error_m = revision.los_m() - truth_m

    assert whole.mean() > 0.8
    assert np.sqrt(np.mean(error_m[:, whole] ** 2)) < 0.004
    line = revision.layers.lines["whole"]
    years = (invented.dates[-1] - invented.dates[0]).days / 365.25
    assert np.sqrt(np.mean((line.velocity_m_yr - truth_m[-1] / years)[whole] ** 2)) < 0.008
    assert revision.layers.lines["150d"].velocity_m_yr[36, 30] == pytest.approx(-0.15, abs=0.02)
    assert np.all(np.isnan(revision.layers.lines["365d"].velocity_m_yr)) == (years < 0.5)
    assert revision.epochs == invented.dates


def test_what_is_not_observed_is_nan_and_not_stable(built):
    revision = read_revision(built.revision)
    unseen = revision.layers.n_observations == 0

    assert unseen[:, :2].all()
    assert np.isnan(revision.los_m()[:, unseen]).all()
    assert np.isnan(revision.layers.lines["whole"].velocity_m_yr[unseen]).all()
    assert not revision.layers.reliable[unseen].any()
    newest_missing = ~revision.observed()[-1, 40:44, 4:9]
    assert newest_missing.all()
    assert not revision.layers.redundant[40:44, 4:9].any()
    assert np.isfinite(revision.los_m()[:, 40:44, 4:9]).all(), "the history before it is kept"
    assert not revision.layers.reliable[~revision.layers.land].any()


def test_pixels_solved_in_strips_by_threads_equal_pixels_solved_at_once(tmp_path, monkeypatch):
    invented = invent_stack(tmp_path / "track", n_epochs=20)
    reference = ReferencePoint(*invented.reference)
    first = invented.store.build_revision(1, invented.members, SETTINGS, reference, Effort(threads=1))
    monkeypatch.setattr("sagwatch.engine.update._FEWEST_PIXELS", 256)
    effort = Effort(memory_bytes=1, threads=3)

    second = invented.store.build_revision(2, invented.members, SETTINGS, reference, effort)

    for name in verify(first).files:
        assert sha256_of(first / name) == sha256_of(second / name), name
    assert verify(first).shared == verify(second).shared


def test_the_past_of_a_stack_is_what_it_was_then(small):
    then = build(replace(small, members=tuple(m for m in small.members if m.secondary <= small.dates[3])))
    now = read_revision(build(small, number=2))
    stack = small.store.stack(small.members)

    past = solve_past(now, stack, SETTINGS, small.dates[3], Effort())

    assert past.dates == small.dates[:4]
    np.testing.assert_array_equal(past.los_m, read_revision(then).los_m())
    np.testing.assert_array_equal(past.observed, read_revision(then).observed())
    np.testing.assert_array_equal(past.temporal_coherence, read_revision(then).layers.temporal_coherence)
    with pytest.raises(BadRevisionError, match=r"\[E104\] .*at least one interferogram"):
        stack.until(small.dates[0])


def test_the_same_inputs_make_the_same_revision_byte_for_byte(tmp_path):
    folders = [build(invent_stack(tmp_path / "one", n_epochs=5, grid=SMALL))]
    time.sleep(1.1)  # HDF5 knows how to note the second at which a dataset was made
    folders.append(build(invent_stack(tmp_path / "two", n_epochs=5, grid=SMALL)))

    assert read_manifest(folders[0]).shared == read_manifest(folders[1]).shared
    assert folders[0].name == folders[1].name
    assert (folders[0] / "manifest.json").read_bytes() == (folders[1] / "manifest.json").read_bytes()


def test_order_of_arrival_does_not_matter_but_settings_do(small):
    first = build(small)
    backwards = small.store.build_revision(
        1, small.members[::-1], SETTINGS, ReferencePoint(*small.reference, "another reason")
    )
    others = [
        build(small, weight=Weight.COHERENCE),
        build(small, coherence_threshold=0.2),
        build(small, min_redundancy=2.0),
        build(small, windows=(Window("60d", 60, 3),)),
    ]

    assert backwards == first
    assert len({first, *others}) == 5
    assert list(read_revision(others[3]).layers.lines) == ["whole", "60d"]


def test_building_again_leaves_the_revision_as_it_is(small):
    first = build(small)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}

    assert build(small) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert revision_folders(small.store.revisions) == [first]


def test_the_track_can_be_moved_and_read_from_anywhere(small, tmp_path, monkeypatch):
    los_m = read_revision(build(small)).los_m()
    moved = tmp_path / "elsewhere" / "deep"
    moved.parent.mkdir()
    small.store.folder.rename(moved)
    monkeypatch.chdir("/")
    store = TrackStore(moved, SMALL)
    name = revision_folders(store.revisions)[0].name

    store.verify(name)
    np.testing.assert_array_equal(store.read_revision(name).los_m(), los_m)
    with h5py.File(moved / "revisions" / name / "inputs" / "ifgramStack.h5") as file:
        np.testing.assert_array_equal(file["unwrapPhase"][:], small.phase_rad)


def test_a_missing_interferogram_raises_and_would_at_worst_read_as_nan(small):
    revision = build(small)
    gone = small.store.interferogram_path(small.members[2].id)
    gone.unlink()

    for check in (verify, read_revision):
        with pytest.raises(BadRevisionError, match=f"{small.members[2].id}.* is missing"):
            check(revision)
    with h5py.File(revision / "inputs" / "ifgramStack.h5") as file:
        assert np.isnan(file["unwrapPhase"][2]).all()
        assert np.isnan(file["coherence"][2]).all()
    with pytest.raises(BadRevisionError, match=f"{small.members[2].name}.*is missing"):
        build(small, number=2)


@pytest.mark.parametrize(
    "name", ["timeseries.h5", "velocity.h5", "inputs/geometryGeo.h5", "inputs/ifgramStack.h5"]
)
def test_damage_to_any_file_is_found(small, name):
    revision = build(small)
    damage(revision / name)

    with pytest.raises(BadRevisionError, match=name.split("/")[-1]):
        verify(revision)
    with pytest.raises(
        BadRevisionError, match=f"{revision.name}.*move the revision's folder away, then it is built anew"
    ):
        build(small)


def test_damage_to_the_manifest_or_an_interferogram_is_found(small):
    revision = build(small)
    manifest = revision / "manifest.json"
    manifest.chmod(0o644)
    text = manifest.read_text()
    manifest.write_text(text.replace('"number":1', '"number":2'))
    with pytest.raises(BadRevisionError, match="was changed after it was written"):
        verify(revision)
    manifest.write_text(text[:100])
    with pytest.raises(BadRevisionError, match="is damaged"):
        verify(revision)
    manifest.write_text(text)
    verify(revision)

    damage(small.store.interferogram_path(small.members[1].id))
    with pytest.raises(BadRevisionError, match=rf"\[E107\].*{small.members[1].name}.*is damaged"):
        verify(revision)
    with pytest.raises(BadRevisionError, match="fetch the product again"):
        build(small, number=2)


def test_a_file_too_few_or_too_many_is_found(small):
    revision = build(small)
    (revision / "notes.txt").write_text("hello")
    with pytest.raises(BadRevisionError, match=r"has \['notes.txt'\] too much"):
        verify(revision)
    (revision / "notes.txt").unlink()
    (revision / "velocity.h5").unlink()
    with pytest.raises(BadRevisionError, match=r"lacks \['velocity.h5'\]"):
        verify(revision)


def test_the_manifest_tells_what_the_revision_was_made_from(small):
    manifest = json.loads((build(small) / "manifest.json").read_text())

    assert [entry[3] for entry in manifest["interferograms"]] == [m.sha256 for m in small.members]
    assert manifest["epochs"] == [day.isoformat() for day in small.dates]
    assert manifest["settings"]["weight"] == "var"
    assert manifest["files"]["timeseries.h5"]["bytes"] > 0
    assert set(manifest["versions"]) == {"python", "numpy", "numba", "h5py", "solver"}


def test_two_interferograms_of_one_pair_are_refused(small):
    double = replace(small.members[0], id="other")

    with pytest.raises(BadRevisionError, match=rf"\[E102\] .*pair {double.name}; withdraw all but one"):
        small.store.stack([*small.members, double])
    with pytest.raises(BadInputError, match="is not before"):
        replace(double, secondary=double.reference - timedelta(days=1))


def test_a_reference_pixel_without_data_is_refused_by_pair(small):
    with pytest.raises(BadInputError, match=small.members[0].name):
        small.store.build_revision(1, small.members, SETTINGS, ReferencePoint(0, 0))
    assert revision_folders(small.store.revisions) == []


def test_a_baseline_that_hyp3_could_not_tell_is_filled_in_from_the_others(small):
    dates = small.dates
    height_m = np.array([0.0, 30.0, -12.0, 55.0, 8.0, -40.0])
    known = dict(zip(dates, height_m, strict=True))
    exact = [
        replace(m, perpendicular_baseline_m=known[m.secondary] - known[m.reference]) for m in small.members
    ]
    holed = [replace(exact[0], perpendicular_baseline_m=float("nan")), *exact[1:]]

    pairs_m, epochs_m = small.store.stack(holed).perpendicular_baselines_m

    np.testing.assert_allclose(epochs_m, height_m, atol=1e-3)
    np.testing.assert_allclose(pairs_m, [m.perpendicular_baseline_m for m in exact], atol=1e-3)
    revision = small.store.build_revision(1, holed, SETTINGS, ReferencePoint(*small.reference))
    assert np.isnan(verify(revision).members[0].perpendicular_baseline_m)


def test_a_second_geometry_of_another_grid_is_refused_and_the_first_one_stays(small):
    geometry = small.store.read_geometry()
    before = sha256_of(small.store.geometry_path)

    assert small.store.write_geometry(replace(geometry, height_m=geometry.height_m + 1), PARAMETERS) == before
    with pytest.raises(BadInputError, match="on a grid of"):
        TrackStore(small.store.folder, GRID).write_geometry(geometry, PARAMETERS)


def test_an_old_revision_can_be_deleted_and_its_interferograms_stay(small):
    old, new = build(small), build(small, number=2)

    small.store.delete_revision(old.name)

    assert revision_folders(small.store.revisions) == [new]
    verify(new)


# --- crashes

KILLED = """
import os, signal, sys
from pathlib import Path
import sagwatch.engine.revision as revision
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from tests.engine.invented_ground import invent_stack
from tests.engine.test_store import SMALL

stage, folder = sys.argv[1], Path(sys.argv[2])
real = getattr(revision, stage)

def then_die(*arguments):
    real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(revision, stage, then_die)
invented = invent_stack(folder, n_epochs=6, grid=SMALL)
invented.store.build_revision(1, invented.members, RevisionSettings(20, 4), ReferencePoint(*invented.reference))
"""


@pytest.mark.parametrize("stage", ["make_heads", "write_stack", "write_solution", "seal", "write_series"])
def test_a_kill_leaves_no_half_revision_and_the_next_build_clears_up(tmp_path, stage):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(ROOT)])}
    command = [sys.executable, "-c", KILLED, stage, str(tmp_path / "track")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = TrackStore(tmp_path / "track", SMALL)
    assert revision_folders(store.revisions) == []
    assert [path.name.startswith(ASIDE) for path in store.revisions.iterdir()] == [True]

    again = invent_stack(tmp_path / "track", n_epochs=6, grid=SMALL)
    revision = build(again)

    assert [path.name for path in store.revisions.iterdir()] == [revision.name]
    verify(revision)


def test_an_error_leaves_neither_folder_nor_file(tmp_path):
    def fail_in_folder():
        with folder_aside(tmp_path / "a") as (aside, _):
            (aside / "half").write_text("x")
            raise ZeroDivisionError

    def fail_in_file():
        with file_aside(tmp_path / "b") as aside:
            aside.write_text("x")
            raise ZeroDivisionError

    for fail in (fail_in_folder, fail_in_file):
        with pytest.raises(ZeroDivisionError):
            fail()

    assert list(tmp_path.iterdir()) == []


def test_clearing_up_spares_the_folder_that_someone_is_still_making(tmp_path):
    dead = tmp_path / f"{ASIDE}dead"
    dead.mkdir()
    with folder_aside(tmp_path / "revision") as (alive, _):
        assert remove_leftovers(tmp_path) == [dead.name]
        assert alive.is_dir()

    assert [path.name for path in tmp_path.iterdir()] == ["revision"]


def test_a_file_that_is_replaced_is_never_half_there(tmp_path):
    target = tmp_path / "value"
    for text in ("first", "second"):
        with file_aside(target) as aside:
            aside.write_text(text)
            assert target.exists() == (text == "second")
            if target.exists():
                assert target.read_text() == "first"
        assert target.read_text() == text


def test_a_stored_interferogram_knows_its_name():
    member = StoredInterferogram(date(2024, 1, 11), date(2024, 1, 23), "abc", "0" * 64, 12.0)

    assert member.name == "20240111_20240123"
