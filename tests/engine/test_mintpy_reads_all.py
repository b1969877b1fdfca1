"""MintPy's own programs read a revision as it lies there, and what writes into its input runs on an export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from mintpy.utils import readfile

from sagwatch.domain.grid import Grid
from sagwatch.engine.files import sha256_of
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, read_manifest
from sagwatch.engine.mintpy_programs import export_mintpy, run_program
from sagwatch.engine.revision import read_revision
from sagwatch.engine.window import Effort
from tests.engine.invented_ground import invent_stack

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=20, rows=24)


@pytest.fixture(scope="module")
def revision(tmp_path_factory) -> Path:
    """A revision that an update made, so that its files stand on those of the one before."""
    invented = invent_stack(tmp_path_factory.mktemp("read") / "track", n_epochs=24, grid=GRID)
    effort, reference = Effort(block_epochs=5), ReferencePoint(*invented.reference, "invented")
    before = [member for member in invented.members if member.secondary < invented.dates[-1]]
    for number, members in enumerate((before, invented.members), 1):
        folder = invented.store.build_revision(
            number, members, RevisionSettings(range_looks=20, azimuth_looks=4), reference, effort
        )
    assert read_manifest(folder).first_solved > 0
    return folder


@pytest.fixture(scope="module")
def outputs(revision, tmp_path_factory) -> Iterator[Path]:
    """A folder for what the programs write; afterwards the track is as it was, to the last byte."""
    track = revision.parent.parent
    before = files_of(track)
    assert not any(path.stat().st_mode & 0o222 for path in revision.rglob("*.h5"))
    yield tmp_path_factory.mktemp("outputs")
    assert files_of(track) == before


def files_of(track: Path) -> dict[Path, tuple[str, int]]:
    """Content and time of every file."""
    files = [path for path in track.rglob("*") if path.is_file()]
    return {path: (sha256_of(path), path.stat().st_mtime_ns) for path in files}


def test_mintpy_reads_every_dataset_of_every_file(revision, outputs):
    files = sorted(path for path in revision.rglob("*.h5") if path.name != "updateState.h5")

    assert len(files) == 14
    for path in files:
        names = readfile.get_dataset_list(str(path))
        assert names
        for name in names:
            data, attributes = readfile.read(str(path), datasetName=name, print_msg=False)
            assert data.shape[-2:] == GRID.shape, (path, name)
            assert (attributes["LENGTH"], attributes["WIDTH"]) == ("24", "20")


def test_info_and_view_describe_and_draw(revision, outputs):
    told = run_program("info", [str(revision / "inputs" / "ifgramStack.h5")], outputs)
    assert "45 ifgrams" in told or "shape=(45, 24, 20)" in told
    for file, words in (("timeseries.h5", []), ("inputs/ifgramStack.h5", ["coherence"])):
        picture = outputs / f"{Path(file).stem}.png"
        arguments = [str(revision / file), *words, "--nodisplay", "--noverbose", "-o", str(picture)]
        run_program("view", arguments, outputs)
        drawn = sorted(outputs.glob(f"{picture.stem}*.png"))
        assert drawn
        assert drawn[0].read_bytes().startswith(b"\x89PNG")
        assert drawn[0].stat().st_size > 5000


def test_tsview_draws_the_history_of_a_point(revision, outputs):
    words = [str(revision / "timeseries.h5"), "--yx", "14", "12", "--nodisplay", "-o", "point"]

    run_program("tsview", words, outputs)

    told = (outputs / "point_ts.txt").read_text()
    last_cm = float(told.splitlines()[-1].split()[1])
    series_m = read_revision(revision).los_m()[:, 14, 12]
    assert last_cm == pytest.approx(100 * (series_m[-1] - series_m[0]), abs=0.01)
    assert (outputs / "point_ts.pdf").stat().st_size > 2000


def test_ifgram_inversion_solves_the_stack_as_it_lies_there(revision, outputs):
    names = ["theirs.h5", "theirsCoherence.h5", "theirsNumber.h5"]
    stack, mask = revision / "inputs" / "ifgramStack.h5", revision / "waterMask.h5"

    run_program("ifgram_inversion", [str(stack), "-m", str(mask), "-w", "var", "-o", *names], outputs)

    ours = read_revision(revision)
    with h5py.File(outputs / names[0]) as file:
        theirs_m = file["timeseries"][:]
    kept = ours.layers.redundant & ours.layers.land & (ours.layers.parts == 1)
    assert kept.sum() > 250
    np.testing.assert_allclose(theirs_m[:, kept], ours.los_m()[:, kept], rtol=0, atol=2e-6)


def test_timeseries2velocity_finds_our_velocity(revision, outputs):
    run_program(
        "timeseries2velocity", [str(revision / "timeseries.h5"), "-o", str(outputs / "v.h5")], outputs
    )

    line = read_revision(revision).layers.lines["whole"]
    with h5py.File(outputs / "v.h5") as file:
        known = np.isfinite(line.velocity_m_yr)  # MintPy writes 0 where nothing is known
        np.testing.assert_allclose(file["velocity"][known], line.velocity_m_yr[known], rtol=0, atol=1e-6)


def test_save_hdfeos5_makes_the_file_that_insarmaps_takes(revision, outputs):
    words = [str(revision / "timeseries.h5"), "-g", str(revision / "inputs" / "geometryGeo.h5")]
    words += ["--tc", str(revision / "temporalCoherence.h5"), "--asc", str(revision / "avgSpatialCoh.h5")]

    run_program("save_hdfeos5", [*words, "-m", str(revision / "maskTempCoh.h5")], outputs)

    (made,) = outputs.glob("*.he5")
    first, *_, last = read_manifest(revision).epochs
    assert made.name == f"S1_IW3_011_0000_{first:%Y%m%d}_{last:%Y%m%d}.he5"
    with h5py.File(made) as file:
        observation = file["HDFEOS/GRIDS/timeseries/observation"]
        ours = read_revision(revision)
        np.testing.assert_array_equal(observation["displacement"][:], ours.los_m())
        quality = file["HDFEOS/GRIDS/timeseries/quality"]
        np.testing.assert_array_equal(quality["temporalCoherence"][:], ours.layers.temporal_coherence)
        assert file.attrs["relative_orbit"] in (11, "11")
        assert file.attrs["flight_direction"] == "A"
        assert file.attrs["unwrap_method"] == "snaphu_mcf"


def test_programs_that_write_into_their_input_run_on_an_export(revision, tmp_path, outputs):
    export = export_mintpy(revision, tmp_path / "export")

    run_program("reference_point", ["timeseries.h5", "-y", "5", "-x", "6"], export)
    run_program("remove_ramp", ["timeseries.h5", "-s", "linear", "-m", "maskTempCoh.h5"], export)

    with h5py.File(export / "timeseries.h5") as moved:
        assert (moved.attrs["REF_Y"], moved.attrs["REF_X"]) == ("5", "6")
    with h5py.File(export / "timeseries_ramp.h5") as flat:
        assert flat["timeseries"].shape == (24, 24, 20)
        assert np.isfinite(flat["timeseries"][:, 14, 12]).all()
