"""What a person is told of a revision's corrections: where, how much, and only beyond the limits."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sagwatch.domain.delay import DelayState
from sagwatch.engine import correction_files
from sagwatch.engine.correction_files import check_corrections, read_corrections, read_scene
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.delay_files import write_delay
from sagwatch.engine.eaten import eaten_by_ramp, eaten_by_topography, taken_by_ramp
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.revision import Revision, read_revision, revision_folders
from sagwatch.errors import BadRevisionError
from tests.engine.invented_ground import GRID, Invented, invent_stack

EVERYTHING = CorrectionSettings(ramp="linear", topography_order=2)
LIMITS = ("MOST_EATEN_BY_RAMP", "MOST_EATEN_BY_TOPOGRAPHY")


@pytest.fixture(scope="module")
def invented(tmp_path_factory) -> Invented:
    return invent_stack(tmp_path_factory.mktemp("told") / "track", n_epochs=24)


def build(invented: Invented, corrections: CorrectionSettings, **more) -> Revision:
    number = len(revision_folders(invented.store.revisions)) + 1
    settings = RevisionSettings(20, 4, corrections=corrections)
    reference = ReferencePoint(*invented.reference)
    return read_revision(invented.store.build_revision(number, invented.members, settings, reference, **more))


@pytest.fixture(scope="module", params=["point", "steady_ground"])
def corrected(invented, request) -> Revision:
    return build(invented, replace(EVERYTHING, refer_to=request.param))


def shares(revision: Revision) -> dict[int, float]:
    """The three shares by number, from the functions that foretell them."""
    found, scene = read_corrections(revision.folder), read_scene(revision.folder, revision.manifest)
    refer_to = revision.manifest.settings["corrections"]["refer_to"]
    with open_hdf5(revision.folder / "velocity.h5") as file:
        velocity = file["velocity"][:]
    with open_hdf5(revision.folder / "maskTempCoh.h5") as file:
        trusted = np.where(file["mask"][:], velocity, np.nan)
    return {
        120: float(eaten_by_ramp(scene, "linear", GRID.pixel_m, refer_to=refer_to).max()),
        121: eaten_by_topography(revision.epochs, found.baselines_m, 2),
        124: taken_by_ramp(revision.epochs, found.ramp, scene, trusted, refer_to),
    }


def told(revision: Revision) -> dict[int, str]:
    found = read_corrections(revision.folder)
    return {one.number: str(one) for one in check_corrections(revision.folder, revision.manifest, found)}


def test_each_is_told_beyond_its_limit_and_not_below(corrected, monkeypatch):
    expected = shares(corrected)
    assert min(expected.values()) > 0.001
    for name in LIMITS:
        monkeypatch.setattr(correction_files, name, 1e-6)
    found = told(corrected)
    assert sorted(found) == [120, 121, 124]
    for number, text in found.items():
        assert re.search(rf"\b{expected[number]:.0%} of ", text), text

    for number, limit in ((120, LIMITS[0]), (124, LIMITS[0]), (121, LIMITS[1])):
        monkeypatch.setattr(correction_files, limit, expected[number] * 1.001)
        assert number not in told(corrected)
        monkeypatch.setattr(correction_files, limit, expected[number] * 0.999)
        assert number in told(corrected)


def test_the_place_that_is_named_is_the_worst_one(corrected):
    scene = read_scene(corrected.folder, corrected.manifest)
    refer_to = corrected.manifest.settings["corrections"]["refer_to"]
    field = eaten_by_ramp(scene, "linear", GRID.pixel_m, refer_to=refer_to)
    longitude, latitude = GRID.lon_lat(*np.unravel_index(field.argmax(), field.shape))

    assert f"most at {latitude:.4f} N, {longitude:.4f} E" in told(corrected)[120]


def test_ground_that_is_not_to_be_trusted_has_no_say_in_what_was_taken(corrected, monkeypatch):
    asked = []
    monkeypatch.setattr(correction_files, "taken_by_ramp", lambda *given: asked.append(given[3]) or 0.0)
    told(corrected)

    with open_hdf5(corrected.folder / "maskTempCoh.h5") as file:
        trusted = file["mask"][:]
    assert 0 < trusted.sum() < trusted.size
    assert np.isnan(asked[0][~trusted]).all()


def test_a_constant_an_acquisition_eats_nothing(invented):
    revision = build(invented, CorrectionSettings(refer_to="steady_ground"))
    assert told(revision) == {}


def test_a_reference_in_a_hole_of_the_height_model_is_refused_with_its_number_and_nothing_is_made(invented):
    delays = {}
    for n, day in enumerate(invented.dates):
        delay = np.full(GRID.shape, -2.4 - 0.01 * n)
        delay[invented.reference] = np.nan
        delays[day] = write_delay(invented.store.folder, day, "era5", DelayState.FINAL, delay, {"A": "1"})
    before = revision_folders(invented.store.revisions)

    with pytest.raises(
        BadRevisionError, match=r"\[E123\] .*has a hole there; choose another reference point"
    ):
        build(invented, replace(EVERYTHING, troposphere="era5"), delays=delays)

    assert revision_folders(invented.store.revisions) == before
