"""A simulated cloud that was killed goes on exactly where it was."""

import hashlib
import io
import smtplib
import time
import zipfile
from pathlib import Path

import pytest
import requests
from hyp3_sdk import HyP3

from sagwatch.simulation.running import start
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import ScenarioWorld
from tests.simulation.small_world import write_small_world


def finished(hyp3: HyP3, count: int) -> dict[str, str]:
    end = time.monotonic() + 90
    while True:
        jobs = hyp3.find_jobs()
        if len(jobs) == count and jobs.complete():
            return {job.name: requests.get(job.files[0]["url"], timeout=20).content for job in jobs}
        assert time.monotonic() < end
        time.sleep(0.1)


def digest(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_a_killed_server_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    scenario = write_small_world(tmp_path)
    names = [
        g.name
        for g in ScenarioWorld(read_scenario(str(scenario))).granules
        if g.burst_id == "011_021697_IW3" and g.polarization == "VV" and g.processor_version == "003.71"
    ]

    def orders(hyp3: HyP3, first: int, last: int) -> None:
        for n in range(first, last):
            hyp3.submit_insar_isce_multi_burst_job([names[n]], [names[n + 1]], name=f"n{n}")

    def run(folder: Path, *, kill: bool) -> tuple[dict, list, float, str]:
        with start(folder, scenario=str(scenario)) as cloud:
            cloud.advance_to("2024-06-10T00:00:00Z")
            cloud.faults(fail_orders=[99])
            orders(HyP3(api_url=cloud.url, token="any"), 0, 4)
            with smtplib.SMTP("127.0.0.1", cloud.smtp_port) as smtp:
                smtp.sendmail("a@x.org", ["b@x.org"], "Message-ID: <1@x.org>\r\nSubject: one\r\n\r\nbody\r\n")
            if kill:
                cloud.kill()
        with start(folder, scenario=str(scenario)) as cloud:
            hyp3 = HyP3(api_url=cloud.url, token="any")
            assert cloud.get("/faults")["fail_orders"] == [99]
            clock = cloud.clock().isoformat()
            orders(hyp3, 4, 6)
            products = finished(hyp3, 6)
            ids = [job.job_id for job in hyp3.find_jobs()]
            assert [message["subject"] for message in cloud.messages()] == ["one"]
            return (
                {name: digest(content) for name, content in products.items()},
                ids,
                hyp3.check_credits(),
                clock,
            )

    killed, undisturbed = run(tmp_path / "killed", kill=True), run(tmp_path / "undisturbed", kill=False)

    assert killed == undisturbed
    assert killed[2] == 34
    assert killed[3] == "2024-06-10T00:00:00+00:00"


def test_a_folder_of_another_world_is_refused(tmp_path: Path) -> None:
    with start(tmp_path / "state", scenario=str(write_small_world(tmp_path))):
        pass

    other = write_small_world(tmp_path, seed="8")
    with (
        pytest.raises(RuntimeError, match="holds the state of another world"),
        start(tmp_path / "state", scenario=str(other)),
    ):
        pass


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    scenario = str(write_small_world(tmp_path))
    with start(tmp_path / "first", scenario=scenario) as first:
        port = int(first.url.rsplit(":", 1)[1])
        with (
            pytest.raises(RuntimeError, match=r"simulated cloud: .*in use"),
            start(tmp_path / "second", scenario=scenario, port=port),
        ):
            pass
