"""The audit runs MintPy's own corrections on our series; the export names the corrected one as MintPy would."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest

from sagwatch.engine.corrections import Corrections
from sagwatch.engine.manifest import RevisionSettings
from sagwatch.engine.mintpy_programs import Sample, compare_with_mintpy, export_mintpy, run_program
from tests.engine.invented_ground import invent_stack
from tests.engine.test_corrected_revision import HOLE, build, store_delays

SETTINGS = {
    "era5 late": Corrections("era5", "mean", "linear", True, 2, (HOLE,)),
    "heights": Corrections("height_correlation", ramp="quadratic", topography=True, polynomial_order=1),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_audit_of_a_corrected_revision_finds_nothing(tmp_path, name):
    invented = invent_stack(tmp_path / "track", n_epochs=14)
    delays = store_delays(invented, list(invented.dates[1:11]))
    settings = replace(RevisionSettings(20, 4), corrections=SETTINGS[name])
    revision = build(invented, 1, invented.members, settings, delays)

    differences = compare_with_mintpy(revision.folder, sample=Sample(400, 3))

    print(differences.table())  # noqa: T201  for whoever runs it with -s
    assert 0 < differences.corrected_max_mm < 0.01
    assert differences.velocity_max_mm_yr < 0.01
    assert differences.whole_max_mm < 0.002
    assert differences.corrections == ("ERA5, ramp, demErr" if "era5" in name else "tropHgt, ramp, demErr")
    path = revision.folder / "corrections.h5"
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["ramp"][5, 0] += 1e-5
    wrong = compare_with_mintpy(revision.folder, sample=Sample(400, 3))
    assert wrong.corrected_max_mm > 0.1


def test_an_export_has_the_corrected_series_under_mintpys_name(tmp_path):
    invented = invent_stack(tmp_path / "track", n_epochs=8)
    settings = replace(RevisionSettings(20, 4), corrections=SETTINGS["era5 late"])
    revision = build(invented, 1, invented.members, settings, store_delays(invented, list(invented.dates)))

    target = export_mintpy(revision.folder, tmp_path / "copy")

    with h5py.File(target / "timeseries_ERA5_ramp_demErr.h5") as file:
        np.testing.assert_array_equal(file["timeseries"][:], revision.los_m())
    run_program("diff", ["timeseries.h5", "inputs/ERA5.h5", "-o", "mine.h5"], target)
    with h5py.File(target / "mine.h5") as file:
        known = np.isfinite(revision.los_m()).all(axis=0)
        air = revision.terms.air.strip(slice(None)).reshape(revision.los_m().shape)
        raw = revision.raw_los_m()
        expected = np.where(raw == 0, 0, raw - air)
        np.testing.assert_allclose(file["timeseries"][:][:, known], expected[:, known], atol=1e-6)
    run_program("info", ["demErr.h5"], target)
