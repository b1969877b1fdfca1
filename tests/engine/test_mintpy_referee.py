"""MintPy's own programs open our revisions and come to the same answer."""

from dataclasses import astuple, replace

import h5py
import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.engine import mintpy_programs
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_programs import (
    Differences,
    MintPyError,
    Sample,
    compare_with_mintpy,
    export_mintpy,
    run_program,
)
from sagwatch.engine.revision import read_revision
from sagwatch.engine.weights import Weight
from sagwatch.errors import BadInputError, BadRevisionError
from tests.engine.invented_ground import invent_stack

SMALL = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=16, rows=14)


def test_our_solution_is_mintpys_within_its_own_rounding(built):
    differences = compare_with_mintpy(built.revision)

    print(differences.table())  # noqa: T201  for whoever runs it with -s
    assert differences.epochs == 20
    assert differences.pairs == 37
    assert differences.pixels > 2500
    assert differences.torn_pixels > 20
    assert differences.whole_max_mm < 0.002
    assert differences.torn_max_mm < 0.02
    assert differences.velocity_max_mm_yr < 0.01
    assert differences.velocity_std_max_mm_yr < 0.01
    assert differences.temporal_coherence_max < 5e-6
    assert differences.counts_that_differ == 0


def test_a_sample_is_drawn_by_its_seed_and_compared(built):
    sample = Sample(pixels=300, seed=5)

    differences = compare_with_mintpy(built.revision, sample=sample)

    assert differences.pixels in (300, 301), "the reference pixel is always one of them"
    assert differences.seed == 5
    assert differences.of_pixels > 2500
    assert differences.whole_max_mm < 0.002
    assert differences.counts_that_differ == 0
    eligible = np.random.default_rng(1).random((20, 30)) < 0.8
    drawn = Sample(40, 9).draw(eligible)
    np.testing.assert_array_equal(drawn, Sample(40, 9).draw(eligible))
    assert not np.array_equal(drawn, Sample(40, 10).draw(eligible))
    assert drawn.sum() == 40
    assert not (drawn & ~eligible).any()
    np.testing.assert_array_equal(Sample(10**6, 1).draw(eligible), eligible)
    with pytest.raises(BadInputError, match="compares nothing"):
        Sample(0, 1)


@pytest.mark.parametrize(
    "settings",
    [
        RevisionSettings(20, 4, weight=Weight.FISHER, min_redundancy=2.0),
        RevisionSettings(20, 4, weight=Weight.NONE, coherence_threshold=0.55),
    ],
    ids=["fisher", "unweighted-masked"],
)
def test_other_settings_are_mintpys_too(tmp_path, settings):
    invented = invent_stack(tmp_path / "track", n_epochs=9, neighbours=3, grid=SMALL)
    revision = invented.store.build_revision(
        1, invented.members, settings, ReferencePoint(*invented.reference)
    )

    differences = compare_with_mintpy(revision)

    print(differences.table())  # noqa: T201  for whoever runs it with -s
    assert differences.pixels > 30
    assert differences.max_mm < 0.01
    assert differences.velocity_max_mm_yr < 0.01
    assert differences.counts_that_differ == 0


def test_what_is_unknown_by_definition_is_no_difference(tmp_path):
    settings = RevisionSettings(20, 4, coherence_threshold=0.6, min_redundancy=0.0)
    invented = invent_stack(tmp_path / "track", n_epochs=9, neighbours=3, grid=SMALL)
    revision = invented.store.build_revision(
        1, invented.members, settings, ReferencePoint(*invented.reference)
    )

    differences = compare_with_mintpy(revision)

    assert differences.max_mm < 0.01
    assert differences.velocity_max_mm_yr < 0.01
    assert differences.counts_that_differ == 0


def test_a_wrong_displacement_would_be_seen(tmp_path, built):
    """The referee must not be blind: shift one epoch of the stored series by a tenth of a millimetre."""
    ours = built.revision
    answer = tmp_path / "answer"
    export_mintpy(ours, answer)
    revision = read_revision(ours)
    with h5py.File(answer / "timeseries.h5", "r+") as file:
        file["timeseries"][5] += 1e-4
    with h5py.File(answer / "numInvIfgram.h5", "r+") as file:
        masked = ~(revision.layers.land & revision.layers.redundant)
        counts = file["mask"][:]
        counts[masked] = 0
        counts[30, 25] += 1
        file["mask"][:] = counts

    differences = mintpy_programs._differences(
        revision, answer, mintpy_programs._inverted_by_mintpy(revision)
    )

    assert differences.whole_max_mm == pytest.approx(0.1, abs=1e-3)
    assert differences.counts_that_differ == 1
    assert differences.velocity_max_mm_yr == 0.0


def test_an_export_stands_alone_and_mintpy_draws_and_describes_it(built, tmp_path):
    folder = export_mintpy(built.revision, tmp_path / "export")
    with h5py.File(folder / "inputs" / "ifgramStack.h5", "r+") as file:
        assert not file["unwrapPhase"].is_virtual
        np.testing.assert_array_equal(file["unwrapPhase"][:], built.invented.phase_rad)
        file["dropIfgram"][0] = False

    told = run_program("info", ["inputs/ifgramStack.h5"], folder)
    run_program("view", ["velocity.h5", "velocity", "--nodisplay", "-o", "velocity.png"], folder)

    assert "shape=(37, 60, 50)" in told
    picture = (folder / "velocity.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    with pytest.raises(BadInputError, match="nothing is overwritten"):
        export_mintpy(built.revision, folder)


def test_an_export_of_a_broken_revision_leaves_nothing(tmp_path):
    invented = invent_stack(tmp_path / "track", n_epochs=4, grid=SMALL)
    settings = RevisionSettings(20, 4)
    revision = invented.store.build_revision(
        1, invented.members, settings, ReferencePoint(*invented.reference)
    )
    invented.store.interferogram_path(invented.members[0].id).unlink()

    with pytest.raises(BadRevisionError, match="is missing"):
        export_mintpy(revision, tmp_path / "export" / "one")

    assert list((tmp_path / "export").glob("*")) == []


def test_a_program_that_fails_says_what_it_said(tmp_path):
    with pytest.raises(MintPyError, match=r"(?s)view missing.h5 .*failed with code.*missing.h5"):
        run_program("view.py", ["missing.h5", "--nodisplay"], tmp_path)


def test_a_program_that_hangs_is_stopped(tmp_path):
    with pytest.raises(MintPyError, match="did not end within"):
        run_program("info", ["-h"], tmp_path, seconds=0.01)


def test_programs_know_nothing_of_airflow(monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = mintpy_programs._environment("/home")

    assert not [key for key in environment if key.startswith(("AIRFLOW", "PYTHONPATH"))]
    assert environment["OPENBLAS_NUM_THREADS"] == environment["OMP_NUM_THREADS"] == "1"
    assert environment["HOME"] == "/home"


def test_the_table_tells_every_difference(built):
    numbers = Differences(20, 37, 2660, 45, 1.5e-4, 2e-5, 3e-4, 4e-5, 6e-4, 7e-5, 8e-6, 9e-7, 3)

    table = numbers.table()

    assert numbers.max_mm == 3e-4
    assert len(astuple(numbers)) == 18
    assert "corrected" not in table
    corrected = replace(
        numbers, corrections="ERA5, ramp", corrected_max_mm=5e-5, corrected_rms_mm=2e-6
    ).table()
    assert "corrected displacement (ERA5, ramp): largest, rms | 5.0e-05 mm, 2.0e-06 mm" in corrected
    assert "all pixels" in table
    sampled = replace(numbers, of_pixels=90_000, seed=7).table()
    assert "90,000 pixels by chance, seed 7" in sampled
    for text in (
        "2,660, 45",
        "20, 37",
        "1.5e-04 mm, 2.0e-05 mm",
        "3.0e-04 mm",
        "6.0e-04 mm/yr",
        "9.0e-07",
        "| 3 |",
    ):
        assert text in table
