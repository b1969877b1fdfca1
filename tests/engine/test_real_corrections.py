"""Corrections of the real interferograms of Mexico City, by Sagwatch and by MintPy's own programs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sagwatch.engine import corrections
from sagwatch.engine.correction_files import check_corrections, read_corrections
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.mintpy_corrections import compare_corrections
from sagwatch.engine.revision import Revision, read_revision
from tests.engine.test_real_stack import GRID, SETTINGS, mexico_city

pytestmark = pytest.mark.real_data

__all__ = ["mexico_city"]

HEIGHT = CorrectionSettings(troposphere="height_correlation")
WANTED = {
    "height correlation": HEIGHT,
    "linear ramp": CorrectionSettings(ramp="linear"),
    "quadratic ramp": CorrectionSettings(ramp="quadratic"),
    "topography": CorrectionSettings(topography_order=2),
    "all of them": replace(HEIGHT, ramp="linear", topography_order=1),
}


def build(mexico_city, number: int, wanted: CorrectionSettings) -> Revision:
    store, members = mexico_city
    reference = ReferencePoint(*GRID.row_column(longitude=-99.17947732, latitude=19.43816124))
    settings = replace(SETTINGS, corrections=wanted)
    return read_revision(store.build_revision(number, members, settings, reference))


@pytest.mark.parametrize("name", WANTED)
def test_corrections_of_real_interferograms_are_mintpys(mexico_city, name, monkeypatch, tmp_path: Path):
    # Nine acquisitions are too few for a site; the arithmetic is the same.
    monkeypatch.setattr(corrections, "LEAST_TOPOGRAPHY_EPOCHS", 9)
    revision = build(mexico_city, 20 + list(WANTED).index(name), WANTED[name])

    found = compare_corrections(revision, tmp_path)

    removed_mm = 1000 * np.abs(revision.los_m() - revision.raw_los_m())
    taken_mm = float(np.sqrt(np.nanmean(removed_mm**2)))
    print(  # noqa: T201  for whoever runs it with -s
        f"| {name} | {np.nanmax(removed_mm):.1f}, {taken_mm:.2f} mm | {found.displacement_max_mm:.5f}, "
        f"{found.displacement_rms_mm:.5f} mm | {found.velocity_max_mm_yr:.5f} mm/yr |"
    )
    assert found.pixels > 20_000
    assert found.displacement_max_mm < 0.01
    assert found.displacement_rms_mm < 0.001
    assert found.velocity_max_mm_yr < 0.01
    assert found.height_error_max_m is None or found.height_error_max_m < 0.05
    assert taken_mm > 0.5, "there was something to correct"


def test_nine_acquisitions_have_no_height_error_of_their_own(mexico_city):
    revision = build(mexico_city, 30, CorrectionSettings(topography_order=2))

    assert read_corrections(revision.folder).per_baseline is None
    np.testing.assert_array_equal(revision.los_m(), revision.raw_los_m())


def test_ramps_that_eat_the_sinking_city_are_told(mexico_city):
    revision = build(mexico_city, 31, CorrectionSettings(ramp="linear"))

    found = read_corrections(revision.folder)
    told = [str(finding) for finding in check_corrections(revision.folder, revision.manifest, found)]

    print(*told, sep="\n")  # noqa: T201
    (share,) = (
        int(found[1])
        for text in told
        if (found := re.search(r"W124.*have taken (\d+)% of the velocity", text))
    )
    assert 30 < share < 60, "what is fastest is left out of the fit, but the city sinks as a whole"
    raw = build(mexico_city, 32, CorrectionSettings(topography_order=2)).layers.lines["whole"].velocity_m_yr
    left = revision.layers.lines["whole"].velocity_m_yr
    assert np.nanpercentile(left, 1) / np.nanpercentile(raw, 1) == pytest.approx(1 - share / 100, abs=0.1)
