"""Replay: a folder of existing HyP3 products becomes a catalogue and an order desk."""

import shutil
import time
import zipfile
from pathlib import Path

import asf_search
import pytest
import requests
from asf_search.baseline.calc import calculate_perpendicular_baselines
from hyp3_sdk import HyP3, Job

from sagwatch.simulation.running import start
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import Order, ScenarioWorld
from tests.simulation.catalogue_client import search_options
from tests.simulation.small_world import write_small_world

WHOLE = {"start": "2017-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}


def finished(hyp3: HyP3, job: Job) -> Job:
    end = time.monotonic() + 90
    while not (job := hyp3.refresh(job)).complete():
        assert time.monotonic() < end
        time.sleep(0.03)
    return job


@pytest.fixture(scope="module")
def burst_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products of three burst pairs and one single-burst pair, made by the simulation, among broken files."""
    folder = tmp_path_factory.mktemp("archive")
    world = ScenarioWorld(read_scenario(str(write_small_world(tmp_path_factory.mktemp("scenario")))))
    names = [g.name for g in world.granules if g.burst_id == "011_021697_IW3" and g.polarization == "VV"]
    names = [name for name in names if "_20240125T" not in name]
    for number, (first, second) in enumerate([(0, 1), (1, 2), (0, 2)]):
        parameters = {"reference": [names[first]], "secondary": [names[second]], "looks": "20x4"}
        made = world.make(Order(f"{number:04x}", "INSAR_ISCE_MULTI_BURST", parameters), folder / "made")
        shutil.move(made.file, folder)
    single = {"granules": [names[2], names[3]], "looks": "10x2"}
    shutil.move(world.make(Order("00ff", "INSAR_ISCE_BURST", single), folder / "made").file, folder)
    whole = next(folder.glob("S1_*_20240101_20240113_*.zip"))
    (folder / whole.name.replace("_20240113_", "_20240301_")).write_bytes(whole.read_bytes()[:5000])
    shutil.copy(whole, folder / whole.name.replace("_20240101_", "_20230101_"))
    (folder / "holiday.zip").write_bytes(b"PK")
    return folder


def test_an_archive_of_bursts_is_searched_and_ordered(burst_archive: Path, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in burst_archive.glob("*.zip")}
    with start(tmp_path, products=burst_archive, job_seconds=0) as cloud:
        left_out = cloud.get("/archive")["left_out"]
        assert len(left_out) == 3
        assert left_out["holiday.zip"] == "the name is not that of a HyP3 interferogram"
        assert any("not a whole zip" in reason for reason in left_out.values())
        assert any("a member is missing" in reason for reason in left_out.values())
        assert cloud.clock().isoformat().startswith("2023-12-31T")
        cloud.show(4)
        found = asf_search.search(opts=search_options(cloud.url), fullBurstID="011_021697_IW3", **WHOLE)
        names = sorted(p.properties["sceneName"] for p in found)
        assert [name.split("_")[3][:8] for name in names] == ["20240101", "20240113", "20240206", "20240218"]
        hyp3 = HyP3(api_url=cloud.url, token="any")

        held = finished(hyp3, hyp3.submit_insar_isce_multi_burst_job([names[0]], [names[2]])[0])
        other_looks = finished(
            hyp3, hyp3.submit_insar_isce_multi_burst_job([names[0]], [names[2]], looks="5x1")[0]
        )
        other_pair = finished(hyp3, hyp3.submit_insar_isce_multi_burst_job([names[1]], [names[3]])[0])
        single = finished(hyp3, hyp3.submit_insar_isce_burst_job(names[3], names[2], looks="10x2")[0])

        assert requests.get(held.files[0]["url"], timeout=10).content == before[held.files[0]["filename"]]
        assert requests.get(single.files[0]["url"], timeout=10).content == before[single.files[0]["filename"]]
        log = requests.get(other_looks.logs[0], timeout=10).text
        assert "holds 2024-01-01 and 2024-02-06 with looks 20x4, not 5x1" in log
        log = requests.get(other_pair.logs[0], timeout=10).text
        assert "holds no INSAR_ISCE_MULTI_BURST of 2024-01-13 and 2024-02-18" in log
        cloud.faults(product="outside")
        spoiled = requests.get(hyp3.refresh(held).files[0]["url"], timeout=10).content
        assert spoiled != before[held.files[0]["filename"]]
    assert {file.name: file.read_bytes() for file in burst_archive.glob("*.zip")} == before


def test_a_folder_without_products_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()

    with (
        pytest.raises(RuntimeError, match="holds no usable HyP3 product zip"),
        start(tmp_path / "state", products=tmp_path / "archive"),
    ):
        pass


@pytest.mark.real_data
def test_the_real_archive_is_replayed_byte_for_byte(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "mexico_city"
    stated_m = {}
    for file in folder.glob("*.zip"):
        with zipfile.ZipFile(file) as archive:
            text = archive.read(f"{file.stem}/{file.stem}.txt").decode()
        said = dict(line.split(": ", 1) for line in text.splitlines())
        stated_m[said["Reference Granule"], said["Secondary Granule"]] = float(said["Baseline"]), file
    with start(tmp_path, products=folder, job_seconds=0) as cloud:
        archive = cloud.get("/archive")
        assert archive["left_out"] == {}
        (track,) = archive["tracks"]
        assert (track["path"], track["dates"]) == (5, 9)
        cloud.show(9)
        options = search_options(cloud.url)
        query = {"processingLevel": "SLC", "relativeOrbit": 5, "asfFrame": track["frame"], "beamMode": "IW"}
        stack = list(asf_search.search(opts=options, platform="SENTINEL-1A", **query, **WHOLE))
        assert len(stack) == 9

        for (reference, secondary), (baseline_m, _) in stated_m.items():
            calculate_perpendicular_baselines(reference, stack)
            by_name = {p.properties["sceneName"]: p.properties["perpendicularBaseline"] for p in stack}
            assert by_name[secondary] == pytest.approx(baseline_m, abs=3.0)

        hyp3 = HyP3(api_url=cloud.url, token="any")
        for (reference, secondary), (_, file) in sorted(stated_m.items())[::5]:
            job = finished(hyp3, hyp3.submit_insar_job(reference, secondary)[0])
            assert requests.get(job.files[0]["url"], timeout=10).content == file.read_bytes()
