"""The ground of ramps: decided now and then, kept in between, and never too little without a word."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import h5py
import numpy as np
import pytest

from sagwatch.engine import corrections, steady_ground
from sagwatch.engine.correction_files import STEADY, check_corrections, read_corrections
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_corrections import compare_corrections
from sagwatch.engine.revision import Revision, read_revision, revision_folders
from sagwatch.errors import BadRevisionError
from tests.engine.invented_ground import GRID, Invented, invent_stack

RAMP = CorrectionSettings(ramp="linear")
SETTINGS = RevisionSettings(20, 4, corrections=RAMP)


@pytest.fixture
def invented(tmp_path) -> Invented:
    return invent_stack(tmp_path / "track", n_epochs=17)


def build(invented: Invented, epochs: int, settings: RevisionSettings = SETTINGS, **more) -> Revision:
    last = invented.dates[epochs - 1]
    members = [member for member in invented.members if member.secondary <= last]
    number = len(revision_folders(invented.store.revisions)) + 1
    reference = ReferencePoint(*invented.reference)
    return read_revision(invented.store.build_revision(number, members, settings, reference, **more))


def mask_of(revision: Revision) -> np.ndarray:
    with open_hdf5(revision.folder / STEADY) as file:
        return file["mask"][:]


def test_the_mask_is_decided_at_whole_multiples_and_at_once_by_a_young_record():
    days = [date(2020, 1, 1) + timedelta(days=12 * i) for i in range(95)]
    decided = [steady_ground.decided_at(days[:count]) for count in (1, 29, 30, 31, 59, 60, 95)]
    assert decided == [days[i] for i in (0, 28, 29, 29, 29, 59, 89)]


def test_an_update_keeps_the_mask_and_with_it_the_ramps_of_old_epochs(invented, monkeypatch):
    monkeypatch.setattr(steady_ground, "DECIDED_EVERY", 12)
    decided = build(invented, 12)
    update = build(invented, 16)
    batch = build(invented, 16, from_scratch=True)
    monkeypatch.setattr(steady_ground, "DECIDED_EVERY", 1)
    anew = build(invented, 17)

    kept = mask_of(decided)
    np.testing.assert_array_equal(mask_of(update), kept)
    np.testing.assert_array_equal(mask_of(batch), kept)
    assert (mask_of(anew) != kept).sum() > 10, "what came after has another mask"
    # Pairs with the newest acquisitions still move the last epochs of the series themselves.
    before, after = read_corrections(decided.folder).ramp, read_corrections(update.folder).ramp
    np.testing.assert_allclose(after[:7], before[:7], rtol=0, atol=1e-6)
    np.testing.assert_allclose(update.los_m(), batch.los_m(), rtol=0, atol=2e-6)
    with open_hdf5(update.folder / STEADY) as file:
        assert file.attrs["STEADY_UNTIL"] == f"{invented.dates[11]:%Y%m%d}"


def test_an_interferogram_in_place_of_another_decides_anew_and_a_later_one_does_not(invented, monkeypatch):
    monkeypatch.setattr(steady_ground, "DECIDED_EVERY", 12)
    manifest = build(invented, 14).manifest
    key = steady_ground.mask_key(manifest, RAMP)

    def with_other(member) -> str:
        members = [replace(one, sha256="0" * 64) if one == member else one for one in manifest.members]
        return steady_ground.mask_key(replace(manifest, members=tuple(members)), RAMP)

    keys = [with_other(member) == key for member in manifest.members]
    assert keys == [member.secondary > invented.dates[11] for member in manifest.members]


def test_another_mine_plan_decides_anew(invented, monkeypatch):
    monkeypatch.setattr(steady_ground, "DECIDED_EVERY", 12)
    before = mask_of(build(invented, 13))
    x, y = GRID.west + 80 * 10, GRID.north - 80 * 20
    area = f"POLYGON (({x} {y}, {x + 800} {y}, {x + 800} {y - 800}, {x} {y - 800}, {x} {y}))"
    excluded = replace(SETTINGS, corrections=replace(RAMP, excluded=(area,)))

    after = mask_of(build(invented, 13, excluded))

    gone = before & ~after
    assert gone[20:30, 10:20].sum() > 50
    assert gone.sum() == gone[20:30, 10:20].sum()
    assert not after[20:30, 10:20].any()


def test_a_damaged_mask_is_not_taken_over(invented, monkeypatch):
    monkeypatch.setattr(steady_ground, "DECIDED_EVERY", 12)
    first = build(invented, 13)
    kept = mask_of(first)
    path = first.folder / STEADY
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["mask"][:] = ~kept  # it can be read, and is of the same key

    np.testing.assert_array_equal(mask_of(build(invented, 14)), kept)


def test_nothing_steady_is_asked_for_where_nothing_is_estimated_on_it(invented):
    only_topography = replace(SETTINGS, corrections=CorrectionSettings(topography_order=2))
    assert not (build(invented, 8, only_topography).folder / STEADY).exists()


def test_an_acquisition_without_ground_gets_the_average_ramp_and_is_marked(invented, tmp_path, monkeypatch):
    whole = build(invented, 17)
    raw, steady = whole.raw_los_m(), mask_of(whole)
    seen = (np.isfinite(raw) & (raw != 0) & steady).sum(axis=(1, 2))
    assert seen[1] < seen[2:].min()
    monkeypatch.setattr(corrections, "LEAST_STEADY_PIXELS", int(seen[2:].min()))

    poor = build(invented, 17, replace(SETTINGS, min_temporal_coherence=0.7000001))

    found, calm = read_corrections(poor.folder), read_corrections(whole.folder)
    assert list(np.flatnonzero(found.stood_in)) == [1]
    np.testing.assert_allclose(found.ramp[1], found.ramp[2:].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.ramp[2:], calm.ramp[2:], rtol=0, atol=1e-9)
    (told,) = (str(one) for one in check_corrections(poor.folder, poor.manifest, found) if one.number == 122)
    assert told.startswith(
        f"[W122] the average of the other acquisitions corrects {invented.dates[1]}; lower"
    )
    assert all(one.number != 122 for one in check_corrections(whole.folder, whole.manifest, calm))
    folder = tmp_path / "mintpy"
    folder.mkdir()
    assert compare_corrections(poor, folder).displacement_max_mm < 0.001


def test_no_ground_at_all_is_refused_with_a_number(invented):
    everywhere = "POLYGON ((0 0, 9e6 0, 9e6 9e6, 0 9e6, 0 0))"
    settings = replace(SETTINGS, corrections=replace(RAMP, excluded=(everywhere,)))
    with pytest.raises(
        BadRevisionError, match=r"\[E122\] .*0 pixels are steady at all.*exclude_around_faces_m"
    ):
        build(invented, 8, settings)
    assert revision_folders(invented.store.revisions) == []


# --- one decision

LAND = np.ones(GRID.shape, np.bool_)
YEAR = [date(2020, 1, 1), date(2021, 1, 1)]


def decide(velocity_m_yr: np.ndarray, dates=YEAR, coherent_land=LAND, excluded=()) -> np.ndarray:
    return steady_ground.steady_ground(dates, velocity_m_yr, coherent_land, excluded, GRID)


def test_ground_that_moves_is_left_out_with_300_metres_around_it_and_a_lone_pixel_is_noise():
    velocity = np.zeros(GRID.shape)
    velocity[20:26, 20:26] = -0.1
    velocity[50, 10] = -0.5

    steady = decide(velocity)

    assert not steady[20 - 3 : 26 + 3, 22:24].any()
    assert steady[: 20 - 4].all()
    assert steady[26 + 4 :].all()
    assert steady[50, 10]


def test_what_the_whole_scene_does_together_is_no_motion_and_unknown_ground_neither():
    velocity = np.full(GRID.shape, -0.1)
    velocity[30:36, 30:36] = np.nan
    velocity[10:16, 10:16] = 0.0

    steady = decide(velocity)

    assert steady[30:36, 30:36].all()
    assert not steady[10:16, 10:16].any()
    assert steady[40:].all()


@pytest.mark.parametrize(("days", "found"), [(60, False), (366, True)])
def test_a_young_record_has_to_have_moved_by_3_centimetres(days, found):
    velocity = np.zeros(GRID.shape)
    velocity[20:26, 20:26] = -0.05

    steady = decide(velocity, [date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=days)])

    assert (not steady[22, 22]) == found


def test_a_revision_leaves_out_water_and_what_is_not_coherent(invented):
    revision = build(invented, 10)
    with open_hdf5(revision.folder / "waterMask.h5") as file:
        land = file["waterMask"][:]
    with open_hdf5(revision.folder / "temporalCoherence.h5") as file:
        agreement = file["temporalCoherence"][:]

    steady = mask_of(revision)

    assert (agreement[~land] >= 0.7).any()
    assert ((agreement < 0.7) & land).sum() > 10
    assert not steady[~land].any()
    assert not steady[agreement < 0.7].any()
