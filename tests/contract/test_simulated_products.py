"""Product zips of the simulated cloud: names, members, parameter files and rasters as HyP3 makes them."""

import io
import re
import time
import zipfile
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import rasterio
import requests
from hyp3_sdk import HyP3, Job

from sagwatch.simulation.running import RunningCloud, start
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import ScenarioWorld
from tests.simulation.small_world import write_small_world

KEYS = [
    "Reference Granule",
    "Secondary Granule",
    "Reference Pass Direction",
    "Reference Orbit Number",
    "Secondary Pass Direction",
    "Secondary Orbit Number",
    "Baseline",
    "UTC time",
    "Heading",
    "Spacecraft height",
    "Earth radius at nadir",
    "Slant range near",
    "Slant range center",
    "Slant range far",
    "Range looks",
    "Azimuth looks",
    "INSAR phase filter",
    "Phase filter parameter",
]
ISCE_KEYS = [
    *KEYS,
    "Range bandpass filter",
    "Azimuth bandpass filter",
    "DEM source",
    "DEM resolution (m)",
    "Unwrapping type",
    "Speckle filter",
    "Water mask",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ScenarioWorld:
    return ScenarioWorld(read_scenario(str(write_small_world(tmp_path_factory.mktemp("scenario")))))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    folder = tmp_path_factory.mktemp("cloud")
    scenario = write_small_world(folder, credits_per_month="4000")
    with start(folder / "state", scenario=str(scenario)) as running:
        running.advance_to("2024-08-01T00:00:00Z")
        yield running


@pytest.fixture(scope="module")
def hyp3(cloud: RunningCloud) -> HyP3:
    return HyP3(api_url=cloud.url, token="any")


def bursts(world: ScenarioWorld, burst: str = "011_021697_IW3") -> list[str]:
    found = [g for g in world.granules if g.burst_id == burst and g.polarization == "VV"]
    return [g.name for g in found if g.processor_version == "003.71"]


def scenes(world: ScenarioWorld, path: int) -> list[str]:
    return [g.name for g in world.granules if not g.is_burst and g.path == path]


def download(hyp3: HyP3, job: Job) -> tuple[str, zipfile.ZipFile]:
    """The name of a job's product and its zip."""
    end = time.monotonic() + 90
    while not (job := hyp3.refresh(job)).complete():
        assert time.monotonic() < end
        time.sleep(0.03)
    assert job.status_code == "SUCCEEDED"
    content = requests.get(job.files[0]["url"], timeout=20).content
    return job.files[0]["filename"].removesuffix(".zip"), zipfile.ZipFile(io.BytesIO(content))


def members(name: str, archive: zipfile.ZipFile) -> set[str]:
    prefix = f"{name}/{name}"
    assert all(entry.startswith(prefix) for entry in archive.namelist())
    return {entry.removeprefix(prefix) for entry in archive.namelist()}


def parameters(name: str, archive: zipfile.ZipFile) -> dict[str, str]:
    lines = archive.read(f"{name}/{name}.txt").decode().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def layer(name: str, archive: zipfile.ZipFile, which: str) -> tuple[np.ndarray, rasterio.profiles.Profile]:
    with rasterio.open(io.BytesIO(archive.read(f"{name}/{name}_{which}.tif"))) as raster:
        return raster.read(1), raster.profile | {"area_or_point": raster.tags()["AREA_OR_POINT"]}


def test_a_multi_burst_product_is_laid_out_as_hyp3_does(hyp3: HyP3, world: ScenarioWorld) -> None:
    south, north = bursts(world), bursts(world, "011_021698_IW3")
    job = hyp3.submit_insar_isce_multi_burst_job([south[0], north[0]], [south[1], north[1]], looks="10x2")[0]

    name, archive = download(hyp3, job)

    assert re.fullmatch(
        r"S1_011_000000s1n00-000000s2n00-021697s3n02_IW_20240101_20240113_VV_INT40_[0-9A-F]{4}", name
    )
    tifs = {
        f"_{x}.tif"
        for x in ("unw_phase", "corr", "dem", "conncomp", "amp", "wrapped_phase", "lv_theta", "lv_phi")
    }
    assert members(name, archive) == tifs | {"_unw_phase.png", ".txt", "_README.md.txt"}
    said = parameters(name, archive)
    assert list(said) == ISCE_KEYS
    assert said["Reference Granule"] == f"{south[0]}, {north[0]}"
    assert (said["Range looks"], said["Azimuth looks"], said["Water mask"]) == ("10", "2", "no")
    truth_m = {g.name: g.baseline_m for g in world.granules}
    assert float(said["Baseline"]) == pytest.approx(truth_m[south[1]] - truth_m[south[0]])
    assert archive.testzip() is None


def test_a_single_burst_product_is_laid_out_as_hyp3_does(hyp3: HyP3, world: ScenarioWorld) -> None:
    newer, older = bursts(world)[3], bursts(world)[2]

    name, archive = download(hyp3, hyp3.submit_insar_isce_burst_job(newer, older, apply_water_mask=True)[0])

    assert re.fullmatch(r"S1_021697_IW3_20240125_20240206_VV_INT80_[0-9A-F]{4}", name)
    assert "_water_mask.tif" in members(name, archive)
    assert "_amp.tif" not in members(name, archive)
    said = parameters(name, archive)
    assert list(said)[: len(ISCE_KEYS)] == ISCE_KEYS
    assert list(said)[len(ISCE_KEYS)] == "Radar n lines"
    assert (said["Reference Granule"], said["Secondary Granule"]) == (older, newer)


def test_a_gamma_product_is_laid_out_as_hyp3_does(hyp3: HyP3, world: ScenarioWorld) -> None:
    first, second = scenes(world, 18)[:2]

    plain_name, plain = download(hyp3, hyp3.submit_insar_job(first, second)[0])
    job = hyp3.submit_insar_job(first, second, include_dem=True, include_look_vectors=True, looks="10x2")[0]
    full_name, full = download(hyp3, job)

    assert re.fullmatch(
        r"S1AA_20240103T2237\d\d_20240115T2237\d\d_VVP012_INT80_G_ueF_[0-9A-F]{4}", plain_name
    )
    expected = {
        "_amp.tif",
        "_corr.tif",
        "_unw_phase.tif",
        "_water_mask.tif",
        "_unw_phase.png",
        ".txt",
        ".README.md.txt",
    }
    assert members(plain_name, plain) == expected
    assert members(full_name, full) == expected | {"_dem.tif", "_lv_theta.tif", "_lv_phi.tif"}
    assert "_INT40_" in full_name
    said = parameters(full_name, full)
    assert list(said)[: len(KEYS)] == KEYS
    assert said["Resolution of output (m)"] == "40"
    _, profile = layer(full_name, full, "unw_phase")
    assert (profile["tiled"], profile.get("compress"), profile["area_or_point"]) == (False, None, "Point")


def test_rasters_lie_on_one_lattice_with_extents_of_their_own(hyp3: HyP3, world: ScenarioWorld) -> None:
    names = bursts(world)
    corners, shapes = set(), set()
    for first, second in pairwise(names[:7]):
        name, archive = download(hyp3, hyp3.submit_insar_isce_multi_burst_job([first], [second])[0])
        values, profile = layer(name, archive, "unw_phase")
        assert (profile["dtype"], profile["nodata"], profile["compress"]) == ("float32", 0, "lzw")
        assert (profile["tiled"], profile["blockxsize"], profile["area_or_point"]) == (True, 256, "Area")
        assert profile["crs"].to_epsg() == 32649
        west, north = profile["transform"].c, profile["transform"].f
        assert (profile["transform"].a, profile["transform"].e) == (80.0, -80.0)
        assert (west % 80, north % 80) == (0.0, 0.0)
        corners.add((west, north))
        shapes.add(values.shape)
        assert not (values == 0).any()
    for axis in (0, 1):
        edges = [corner[axis] for corner in corners]
        assert max(edges) - min(edges) <= 3 * 80
    assert len(corners) > 1
    assert len(shapes) > 1


def test_layers_have_the_meaning_of_the_real_ones(hyp3: HyP3, world: ScenarioWorld) -> None:
    east_looking, west_looking = bursts(world)[:2], bursts(world, "018_037368_IW2")[:2]
    rising = download(hyp3, hyp3.submit_insar_isce_multi_burst_job([east_looking[0]], [east_looking[1]])[0])
    falling = download(hyp3, hyp3.submit_insar_isce_multi_burst_job([west_looking[0]], [west_looking[1]])[0])

    for (name, archive), incidence_deg, phi_deg in ((rising, 42.5, -167.4), (falling, 41.4, -12.6)):
        theta, _ = layer(name, archive, "lv_theta")
        phi, _ = layer(name, archive, "lv_phi")
        assert 90 - np.degrees(np.median(theta)) == pytest.approx(incidence_deg, abs=0.1)
        assert np.degrees(np.median(phi)) == pytest.approx(phi_deg, abs=0.1)
        wrapped, _ = layer(name, archive, "wrapped_phase")
        unwrapped, _ = layer(name, archive, "unw_phase")
        cycles = (unwrapped - wrapped) / (2 * np.pi)
        assert np.abs(cycles - np.round(cycles)).max() < 1e-4
        coherence, _ = layer(name, archive, "corr")
        assert 0 < coherence.min() <= coherence.max() < 1
    # The incidence grows away from the satellite: eastward on an ascending track, westward on a descending one.
    assert layer(*rising, "lv_theta")[0][0, 0] > layer(*rising, "lv_theta")[0][0, -1]
    assert layer(*falling, "lv_theta")[0][0, 0] < layer(*falling, "lv_theta")[0][0, -1]


def test_sinking_ground_has_positive_phase_of_the_right_size(
    hyp3: HyP3, cloud: RunningCloud, world: ScenarioWorld
) -> None:
    names = bursts(world)

    name, archive = download(hyp3, hyp3.submit_insar_isce_multi_burst_job([names[0]], [names[2]])[0])

    phase, profile = layer(name, archive, "unw_phase")
    rows, columns = phase.shape
    west, north = profile["transform"].c, profile["transform"].f
    east, south = west + 80 * columns, north - 80 * rows
    grid = f"west={west}&north={north}&east={east}&south={south}&columns={columns}&rows={rows}"
    truth_mm = np.array(cloud.get(f"/truth?date=2024-01-25&since=2024-01-01&{grid}")["los_mm"])
    centre, far = truth_mm < -15, truth_mm > -0.5
    assert centre.sum() > 5
    # 24 days of -300 mm/yr are -19.7 mm; one radian is 4.4 mm.
    assert truth_mm.min() == pytest.approx(-300 * 24 / 365.25, rel=0.03)
    measured_rad = np.median(phase[centre]) - np.median(phase[far])
    expected_rad = (np.median(truth_mm[centre]) - np.median(truth_mm[far])) / 1000 * -4 * np.pi / 0.0554658
    assert expected_rad > 3.5
    assert measured_rad == pytest.approx(expected_rad, abs=0.8)


def test_a_rerun_has_another_name_and_the_same_pixels(hyp3: HyP3, world: ScenarioWorld) -> None:
    pair = [bursts(world)[4]], [bursts(world)[6]]

    (one, first), (other, second) = (
        download(hyp3, hyp3.submit_insar_isce_multi_burst_job(*pair, name="rerun")[0]) for _ in range(2)
    )

    assert one != other
    assert one[:-5] == other[:-5]
    for which in ("unw_phase", "corr", "dem"):
        np.testing.assert_array_equal(layer(one, first, which)[0], layer(other, second, which)[0])


def spoiled(cloud: RunningCloud, hyp3: HyP3, job: Job, fault: str) -> requests.Response:
    cloud.faults(product=fault, product_jobs=[job.job_id])
    try:
        file = hyp3.refresh(job).files[0]
        answer = requests.get(file["url"], timeout=20)
        answer.headers["announced"] = str(file["size"])
        return answer
    finally:
        cloud.faults()


def test_downloads_can_be_spoiled_in_the_ways_seen_in_the_wild(
    hyp3: HyP3, cloud: RunningCloud, world: ScenarioWorld
) -> None:
    job = hyp3.submit_insar_isce_multi_burst_job([bursts(world)[1]], [bursts(world)[2]])[0]
    name, right = download(hyp3, job)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        spoiled(cloud, hyp3, job, "dropped")
    short = spoiled(cloud, hyp3, job, "short")
    assert len(short.content) == int(short.headers["announced"]) // 2
    assert spoiled(cloud, hyp3, job, "login_page").text.startswith("<!DOCTYPE html>")

    def opened(fault: str) -> zipfile.ZipFile:
        answer = spoiled(cloud, hyp3, job, fault)
        assert len(answer.content) == int(answer.headers["announced"])
        return zipfile.ZipFile(io.BytesIO(answer.content))

    shifted = layer(name, opened("other_grid"), "unw_phase")[1]["transform"]
    assert shifted.c - layer(name, right, "unw_phase")[1]["transform"].c == 40.0
    assert "20240206T" in parameters(name, opened("wrong_date"))["Secondary Granule"]
    assert "../../escaped.txt" in opened("outside").namelist()
    wrong, phase = (layer(name, one, "unw_phase")[0] for one in (opened("wrong_cycle"), right))
    changed = wrong != phase
    assert 0.04 < changed.mean() < 0.07
    np.testing.assert_allclose((wrong - phase)[changed], 2 * np.pi, atol=1e-4)
    assert parameters(name, download(hyp3, job)[1]) == parameters(name, right)
