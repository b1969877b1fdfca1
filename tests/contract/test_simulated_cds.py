"""The simulated Climate Data Store, met by the unmodified cdsapi."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cdsapi
import pygrib
import pytest
import requests

from sagwatch.simulation.running import RunningCloud, start
from tests.simulation.small_world import SMALL

DATASET = "reanalysis-era5-pressure-levels"
ASKED = {
    "product_type": ["reanalysis"],
    "variable": ["geopotential", "temperature", "specific_humidity"],
    "year": ["2024"],
    "month": ["03"],
    "day": ["01"],
    "time": ["11:00"],
    "pressure_level": ["500", "850", "1000"],
    "data_format": "grib",
    "area": [40, 108, 36, 114],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    folder = tmp_path_factory.mktemp("cloud")
    scenario = folder / "windy.yaml"
    scenario.write_text(SMALL + "weather: {final_after_days: 60}\n")
    with start(folder / "state", scenario=str(scenario), job_seconds=0) as running:
        running.advance_to("2024-03-20T00:00:00Z")
        yield running


@pytest.fixture(autouse=True)
def _no_faults(cloud: RunningCloud) -> Iterator[None]:
    cloud.faults()
    yield
    cloud.faults()


def client(cloud: RunningCloud) -> cdsapi.Client:
    return cdsapi.Client(
        url=f"{cloud.url}/api", key="a-key", quiet=True, progress=False, retry_max=1, sleep_max=0.1
    )


def fetch(cloud: RunningCloud, folder: Path, **changes: Any) -> Path:
    file = folder / "weather.grb"
    client(cloud).retrieve(DATASET, ASKED | changes, str(file))
    return file


def test_cdsapi_gets_the_file_that_it_asked_for(cloud: RunningCloud, tmp_path: Path) -> None:
    with pygrib.open(str(fetch(cloud, tmp_path))) as opened:
        messages = opened.read()

    assert [(one.level, one.shortName) for one in messages] == [
        (level, name) for level in (500, 850, 1000) for name in ("z", "t", "q")
    ]
    assert {one.validDate.isoformat() for one in messages} == {"2024-03-01T11:00:00"}
    latitudes, longitudes = messages[0].latlons()
    assert (latitudes.max(), latitudes.min(), longitudes.min(), longitudes.max()) == (40, 36, 108, 114)


def test_the_newest_days_are_preliminary_and_final_later(cloud: RunningCloud, tmp_path: Path) -> None:
    def version(day: str) -> str:
        with pygrib.open(str(fetch(cloud, tmp_path, day=[day]))) as opened:
            return str(opened.read(1)[0]["experimentVersionNumber"])

    first = version("05")
    cloud.advance_to("2024-05-20T00:00:00Z")

    assert (first, version("05")) == ("0005", "0001")


def test_days_that_are_not_out_yet_are_refused_with_the_latest_date(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    with pytest.raises(requests.HTTPError, match="latest date available for this dataset is: 2024-0"):
        fetch(cloud, tmp_path, month=["12"])


def test_a_licence_that_was_not_accepted_is_a_403_that_says_where_to_accept_it(
    cloud: RunningCloud, tmp_path: Path
) -> None:
    cloud.faults(cds_licence_refused=True)

    with pytest.raises(requests.HTTPError, match=r"(?s)required licences not accepted.*manage-licences"):
        fetch(cloud, tmp_path)


def test_a_failed_request_and_a_missing_key_are_refused(cloud: RunningCloud, tmp_path: Path) -> None:
    without_key = requests.get(f"{cloud.url}/api/retrieve/v1/processes/{DATASET}", timeout=20)
    cloud.faults(cds_fails=True)

    assert without_key.status_code == 401
    with pytest.raises(Exception, match="MARS has returned an error"):
        fetch(cloud, tmp_path)


def test_a_request_waits_in_the_queue(cloud: RunningCloud, tmp_path: Path) -> None:
    cloud.faults(cds_queue_seconds=1.5)
    began = time.monotonic()

    file = fetch(cloud, tmp_path)

    assert time.monotonic() - began > 1.4
    assert file.stat().st_size > 1000


@pytest.mark.parametrize("fault", ["truncated", "other_area", "other_hour"])
def test_files_can_be_wrong_in_ways_that_only_their_content_shows(
    cloud: RunningCloud, tmp_path: Path, fault: str
) -> None:
    right = fetch(cloud, tmp_path).read_bytes()
    cloud.faults(cds_file=fault)

    wrong = fetch(cloud, tmp_path).read_bytes()

    assert wrong != right
    assert (len(wrong) < len(right)) == (fault == "truncated")


def test_an_outage_is_a_503(cloud: RunningCloud) -> None:
    cloud.faults(cds_unavailable=True)

    answer = requests.get(
        f"{cloud.url}/api/retrieve/v1/processes/{DATASET}", headers={"PRIVATE-TOKEN": "a-key"}, timeout=20
    )

    assert answer.status_code == 503


def test_requests_survive_a_restart(tmp_path: Path) -> None:
    scenario = tmp_path / "windy.yaml"
    scenario.write_text(SMALL + "weather: {}\n")
    headers = {"PRIVATE-TOKEN": "a-key"}
    with start(tmp_path / "state", scenario=str(scenario), job_seconds=0) as cloud:
        cloud.advance_to("2024-03-20T00:00:00Z")
        path = f"/api/retrieve/v1/processes/{DATASET}/execution"
        made = requests.post(cloud.url + path, json={"inputs": ASKED}, headers=headers, timeout=20).json()
        cloud.kill()

    with start(tmp_path / "state", scenario=str(scenario), job_seconds=0) as cloud:
        url = f"{cloud.url}/api/retrieve/v1/jobs/{made['jobID']}"
        again = requests.get(url, headers=headers, timeout=20).json()

    assert made["status"] == again["status"] == "successful"
