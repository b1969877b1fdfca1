"""The simulated HyP3 against the unmodified hyp3_sdk."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from hyp3_sdk import Batch, HyP3, Job
from hyp3_sdk.exceptions import HyP3Error, ServerError, ServiceUnavailableError

from sagwatch.simulation.running import RunningCloud, start
from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import ScenarioWorld
from tests.simulation.small_world import write_small_world


@pytest.fixture(scope="module")
def scenario_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_world(tmp_path_factory.mktemp("scenario"))


@pytest.fixture(scope="module")
def granules(scenario_file: Path) -> dict[str, list[str]]:
    """Names by kind, in order of time, without the reprocessed ones."""
    world = ScenarioWorld(read_scenario(str(scenario_file)))
    plain = [granule for granule in world.granules if granule.processor_version == "003.71"]
    kinds: dict[str, list[str]] = {}
    for granule in plain:
        kind = (
            f"{granule.burst_id[:10]} {granule.polarization}" if granule.burst_id else f"scene {granule.path}"
        )
        kinds.setdefault(kind, []).append(granule.name)
    return kinds


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory, scenario_file: Path) -> Iterator[RunningCloud]:
    """One server for all tests of this file that do not need a folder of their own."""
    with start(tmp_path_factory.mktemp("cloud"), scenario=str(scenario_file)) as running:
        running.advance_to("2024-06-10T01:02:03Z")
        yield running


@pytest.fixture
def cloud(shared_cloud: RunningCloud) -> Iterator[RunningCloud]:
    """The tenth of a month that no other test has seen: full credits, and no job since its beginning."""
    month = shared_cloud.clock().replace(day=1) + timedelta(days=32)
    shared_cloud.advance_to(month.replace(day=10, hour=1, minute=2, second=3))
    yield shared_cloud
    shared_cloud.faults()


@pytest.fixture
def hyp3(cloud: RunningCloud) -> HyP3:
    return HyP3(api_url=cloud.url, token="anything")


def jobs_of_this_test(hyp3: HyP3, cloud: RunningCloud) -> Batch:
    return hyp3.find_jobs(start=cloud.clock())


def finished(hyp3: HyP3, job: Job, seconds: float = 90.0) -> Job:
    end = time.monotonic() + seconds
    while not (job := hyp3.refresh(job)).complete():
        assert time.monotonic() < end, f"job {job.job_id} did not finish"
        time.sleep(0.05)
    return job


def test_an_order_lives_from_pending_to_a_download(
    hyp3: HyP3, cloud: RunningCloud, granules: dict, tmp_path: Path
) -> None:
    first, second = granules["011_021697 VV"][:2]

    batch = hyp3.submit_insar_isce_multi_burst_job([first], [second], name="one", looks="20x4")

    ordered = batch[0]
    assert (ordered.status_code, ordered.credit_cost, ordered.priority) == ("PENDING", 1, 40)
    assert ordered.request_time == cloud.clock()
    assert ordered.job_parameters == {
        "reference": [first],
        "secondary": [second],
        "apply_water_mask": False,
        "looks": "20x4",
    }
    job = finished(hyp3, ordered)
    assert job.status_code == "SUCCEEDED"
    # Ordered at 01:02:03 on the 10th: fourteen days, then the next midnight.
    assert job.expiration_time == cloud.clock().replace(day=25, hour=0, minute=0, second=0)
    (file,) = job.files
    name = f"S1_011_000000s1n00-000000s2n00-021697s3n01_IW_20240101_20240113_VV_INT80_{job.job_id[:4].upper()}.zip"
    assert file["filename"] == name
    content = requests.get(file["url"], timeout=20).content
    assert len(content) == file["size"]
    assert content[:2] == b"PK"


def test_a_job_waits_and_runs_before_it_succeeds(tmp_path: Path, scenario_file: Path, granules: dict) -> None:
    with start(tmp_path, scenario=str(scenario_file), job_seconds=1.5) as slow:
        slow.advance_to("2024-06-10T00:00:00Z")
        hyp3 = HyP3(api_url=slow.url, token="any")
        job = hyp3.submit_insar_isce_burst_job(*granules["011_021697 VV"][:2])[0]
        seen = []
        while not job.complete():
            job = hyp3.refresh(job)
            seen.append(job.status_code)
            time.sleep(0.05)
    assert list(dict.fromkeys(seen)) == ["PENDING", "RUNNING", "SUCCEEDED"]


def test_equal_orders_get_ids_of_their_own_and_a_rerun_the_same(
    hyp3: HyP3, granules: dict, tmp_path: Path, scenario_file: Path
) -> None:
    pair = granules["011_021697 VV"][:2]
    ids = [hyp3.submit_insar_isce_burst_job(*pair, name="twice")[0].job_id for _ in range(2)]
    with start(tmp_path / "again", scenario=str(scenario_file)) as again:
        again.advance_to("2024-08-20T00:00:00Z")
        other = HyP3(api_url=again.url, token="any")
        rerun = [other.submit_insar_isce_burst_job(*pair, name="twice")[0].job_id for _ in range(2)]

    assert ids[0] != ids[1]
    assert rerun == ids


def test_credits_are_taken_at_once_and_come_back_with_the_month(
    hyp3: HyP3, cloud: RunningCloud, granules: dict
) -> None:
    scenes, bursts = granules["scene 11"], granules["011_021697 VV"]
    assert hyp3.check_credits() == 40
    hyp3.submit_insar_job(scenes[0], scenes[1], looks="10x2")
    hyp3.submit_insar_job(scenes[0], scenes[1])
    assert hyp3.check_credits() == 15
    too_many = [hyp3.prepare_insar_isce_burst_job(*bursts[:2], name=f"n{n}") for n in range(16)]
    with pytest.raises(HyP3Error) as refusal:
        hyp3.submit_prepared_jobs(too_many)
    assert "These jobs would cost 16.0 credits, but you have only 15.0 remaining." in str(refusal.value)
    assert hyp3.check_credits() == 15
    assert len(jobs_of_this_test(hyp3, cloud)) == 2

    next_month = (cloud.clock().replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0
    )
    cloud.advance_to(next_month - timedelta(minutes=1))
    assert hyp3.check_credits() == 15
    cloud.advance_to(next_month)
    assert hyp3.check_credits() == 40


def test_an_untouched_account_is_named_as_a_whole_number(hyp3: HyP3, granules: dict) -> None:
    orders = [hyp3.prepare_insar_isce_burst_job(*granules["011_021697 VV"][:2]) for _ in range(41)]

    with pytest.raises(HyP3Error, match=r"would cost 41\.0 credits, but you have only 40 remaining\."):
        hyp3.submit_prepared_jobs(orders)


def test_the_priority_falls_with_the_credits(hyp3: HyP3, granules: dict) -> None:
    scene = granules["scene 11"]
    orders = [hyp3.prepare_insar_job(scene[0], scene[1]) for _ in range(3)]

    assert [job.priority for job in hyp3.submit_prepared_jobs(orders)] == [40, 30, 20]


def test_validate_only_checks_and_stores_nothing(cloud: RunningCloud, hyp3: HyP3, granules: dict) -> None:
    order = hyp3.prepare_insar_isce_burst_job(*granules["011_021697 VV"][:2], name="dry")
    body = {"jobs": [order], "validate_only": True}

    answer = hyp3.session.post(f"{cloud.url}/jobs", json=body, timeout=10).json()

    assert answer["validate_only"] is True
    assert answer["jobs"][0]["credit_cost"] == 1
    assert len(jobs_of_this_test(hyp3, cloud)) == 0
    assert hyp3.check_credits() == 40


def test_listings_follow_next_over_pages_that_hold_nothing(
    tmp_path: Path, granules: dict, scenario_file: Path
) -> None:
    rich = write_small_world(tmp_path, credits_per_month="1000", job_seconds="600")
    with start(tmp_path / "cloud", scenario=str(rich)) as cloud:
        cloud.advance_to("2024-06-10T00:00:00Z")
        hyp3 = HyP3(api_url=cloud.url, token="any")
        pair = granules["011_021697 VV"][:2]
        hyp3.submit_insar_isce_burst_job(*pair, name="oldest")
        hyp3.submit_prepared_jobs([hyp3.prepare_insar_isce_burst_job(*pair, name="many") for _ in range(200)])
        first_page = hyp3.session.get(f"{cloud.url}/jobs", params={"name": "oldest"}, timeout=10).json()

        assert first_page["jobs"] == []
        assert "next" in first_page
        assert [job.name for job in hyp3.find_jobs(name="oldest")] == ["oldest"]
        assert len(hyp3.find_jobs()) == 201
        assert hyp3.find_jobs()[-1].name == "oldest"
        with pytest.raises(HyP3Error, match="Invalid start_token value"):
            hyp3_get(hyp3, cloud, "/jobs?start_token=rubbish")
        # The workshop is busy with 201 products; nobody waits for them.
        cloud.kill()


def hyp3_get(hyp3: HyP3, cloud: RunningCloud, path: str) -> None:
    from hyp3_sdk.exceptions import _raise_for_hyp3_status

    _raise_for_hyp3_status(hyp3.session.get(cloud.url + path, timeout=10))


def test_renaming_changes_the_name_that_is_searched_for(hyp3: HyP3, granules: dict) -> None:
    batch = hyp3.submit_insar_isce_burst_job(*granules["011_021697 VV"][:2], name="before")

    hyp3.update_jobs(batch, name="after")

    assert [job.job_id for job in hyp3.find_jobs(name="after")] == [batch[0].job_id]
    assert len(hyp3.find_jobs(name="before")) == 0


def test_products_expire_by_the_simulated_clock(hyp3: HyP3, cloud: RunningCloud, granules: dict) -> None:
    job = finished(hyp3, hyp3.submit_insar_isce_burst_job(*granules["011_021697 VV"][:2])[0])
    url = job.files[0]["url"]
    single_file = url.removesuffix(".zip") + "_corr.tif"
    expiry: datetime = job.expiration_time
    cloud.advance_to(expiry - timedelta(seconds=1))
    assert requests.get(url, timeout=10).status_code == 200
    assert requests.get(single_file, timeout=10).content[:2] == b"II"

    cloud.advance_to(expiry)

    assert requests.get(url, timeout=10).status_code == 404
    assert hyp3.get_job_by_id(job.job_id).status_code == "SUCCEEDED"


REFUSALS = [
    ("a", "x", "Some requested scenes could not be found: S1_021697_IW3_20240101T000000_VV_0000-BURST"),
    (
        "a",
        "other burst",
        "Burst number + swath + polarization identifiers must be the same for reference scenes and",
    ),
    ("b", "a", "Reference scenes must be older than secondary scenes"),
    (
        "a",
        "a a",
        "Must provide the same number of reference and secondary scenes, got 1 reference and 2 secondary",
    ),
    ("a a", "b b", "Each reference scene must have a unique burst number + swath + polarization identifier"),
    ("", "", "Must include at least 1 reference scene and 1 secondary scene"),
    ("cross", "cross", "VH polarization is not currently supported, only VV and HH"),
    ("a mixed", "b mixed", "Scenes must have the same polarization. Polarizations present: VH, VV"),
    (
        "a later",
        "b second",
        "Reference scenes must fall within a 2-minute window in order to ensure they were collected",
    ),
    ("many", "many", "Must provide no more than 15 scene pairs, got 16 reference and 16 secondary"),
]


@pytest.mark.parametrize(("reference", "secondary", "text"), REFUSALS)
def test_impossible_multi_burst_orders_are_refused_in_hyp3s_words(
    shared_cloud: RunningCloud, granules: dict, reference: str, secondary: str, text: str
) -> None:
    first, second, third = granules["011_021697 VV"][:3]
    crossed = granules["011_021697 VH"]
    named = {
        "a": [first],
        "b": [second],
        "": [],
        "x": ["S1_021697_IW3_20240101T000000_VV_0000-BURST"],
        "other burst": [granules["011_021698 VV"][1]],
        "a a": [first, first],
        "b b": [second, second],
        "cross": [crossed[0]],
        "a mixed": [first, crossed[0]],
        "b mixed": [second, crossed[1]],
        "a later": [first, granules["011_021698 VV"][1]],
        "b second": [third, granules["011_021698 VV"][2]],
        "many": [first] * 16,
    }
    hyp3 = HyP3(api_url=shared_cloud.url, token="any")

    with pytest.raises(HyP3Error) as refusal:
        hyp3.submit_insar_isce_multi_burst_job(named[reference], named[secondary])

    assert f"<Response [400]> {text}" in str(refusal.value)


def test_impossible_single_burst_orders_are_refused_in_hyp3s_words(
    shared_cloud: RunningCloud, granules: dict
) -> None:
    hyp3 = HyP3(api_url=shared_cloud.url, token="any")
    vv, vh, other = granules["011_021697 VV"][0], granules["011_021697 VH"], granules["011_021698 VV"][1]

    with pytest.raises(HyP3Error, match=f"Burst IDs do not match for {vv} and {other}"):
        hyp3.submit_insar_isce_burst_job(vv, other)
    with pytest.raises(HyP3Error, match="need to have the same polarization, got: VV, VH"):
        hyp3.submit_insar_isce_burst_job(vv, vh[1])
    with pytest.raises(HyP3Error, match="Only VV and HH polarizations are currently supported, got: VH"):
        hyp3.submit_insar_isce_burst_job(vh[0], vh[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda order: order.pop("job_type"),
        lambda order: order.update(colour="red"),
        lambda order: order["job_parameters"].update(looks="3x3"),
        lambda order: order["job_parameters"].update(granules=["nonsense", "nonsense"]),
        lambda order: order.update(name="x" * 101),
        lambda order: order["job_parameters"].pop("granules"),
    ],
)
def test_a_wrong_shape_is_refused_without_saying_where(
    shared_cloud: RunningCloud, granules: dict, spoil
) -> None:
    hyp3 = HyP3(api_url=shared_cloud.url, token="any")
    order = hyp3.prepare_insar_isce_burst_job(*granules["011_021697 VV"][:2])
    spoil(order)

    answer = hyp3.session.post(f"{shared_cloud.url}/jobs", json={"jobs": [order]}, timeout=10)

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "status": 400,
        "detail": "Bad Request",
        "title": "Bad Request",
        "type": "about:blank",
    }


def test_more_than_200_orders_at_once_are_refused(shared_cloud: RunningCloud, granules: dict) -> None:
    hyp3 = HyP3(api_url=shared_cloud.url, token="any")
    orders = [hyp3.prepare_insar_isce_burst_job(*granules["011_021697 VV"][:2])] * 201

    with pytest.raises(HyP3Error, match="400"):
        hyp3.submit_prepared_jobs(orders)


def test_tokens_are_asked_for(shared_cloud: RunningCloud) -> None:
    answer = requests.get(f"{shared_cloud.url}/jobs", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "No authorization token provided"
    assert answer.json()["title"] == "Unauthorized"
    with pytest.raises(HyP3Error, match="Invalid authorization token provided: Signature has expired"):
        HyP3(api_url=shared_cloud.url, token="expired").check_credits()
    assert requests.get(f"{shared_cloud.url}/costs", timeout=10).status_code == 200


def test_an_unknown_job_is_not_there(shared_cloud: RunningCloud) -> None:
    with pytest.raises(HyP3Error, match="job_id does not exist: nobody"):
        HyP3(api_url=shared_cloud.url, token="any").get_job_by_id("nobody")


def test_the_price_list_is_the_published_one(shared_cloud: RunningCloud) -> None:
    costs = HyP3(api_url=shared_cloud.url, token="any").costs()

    table = costs["INSAR_ISCE_MULTI_BURST"]["cost_table"]
    assert list(table["5x1"].values()) == [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 90, 95, 100, 105, 110]
    assert list(table["20x4"].values()) == [1] * 4 + [5] * 8 + [10] * 3
    assert list(table["10x2"].values()) == [1] * 3 + [5] * 6 + [10] * 6
    assert costs["INSAR_GAMMA"]["cost_table"] == {"20x4": 10, "10x2": 15}
    assert costs["INSAR_ISCE_BURST"] == {"cost": 1}


def test_a_lost_answer_leaves_paid_jobs_behind(cloud: RunningCloud, hyp3: HyP3, granules: dict) -> None:
    cloud.faults(drop_after_commit=1, listing_lag_seconds=1.0)

    with pytest.raises(requests.exceptions.ConnectionError):
        hyp3.submit_insar_isce_burst_job(*granules["011_021697 VV"][:2], name="lost")

    assert len(hyp3.find_jobs(name="lost")) == 0
    assert hyp3.check_credits() == 39
    time.sleep(1.1)
    assert len(hyp3.find_jobs(name="lost")) == 1
    hyp3.submit_insar_isce_burst_job(*granules["011_021697 VV"][:2], name="next")


def test_outages_reach_the_client_as_the_real_ones(cloud: RunningCloud, hyp3: HyP3) -> None:
    cloud.faults(api_unavailable=True)
    with pytest.raises(
        ServiceUnavailableError, match=r"HyP3 is currently unavailable\. Please try again later\."
    ):
        hyp3.check_credits()
    cloud.faults(api_bad_gateway=True)
    with pytest.raises(ServerError):
        hyp3.check_credits()
    cloud.faults(api_too_many_requests=True)
    assert hyp3.session.get(f"{cloud.url}/user", timeout=10).status_code == 429
    cloud.faults(api_unavailable=True, api_every=2)
    answers = [hyp3.session.get(f"{cloud.url}/user", timeout=10).status_code for _ in range(6)]
    assert sorted(answers) == [200, 200, 200, 503, 503, 503]
    cloud.faults(no_credits=True)
    assert hyp3.check_credits() == 0
    cloud.faults(stall_seconds=0.5)
    with pytest.raises(requests.exceptions.ReadTimeout):
        hyp3.session.get(f"{cloud.url}/user", timeout=0.2)
    cloud.faults(empty_first_page=True)
    assert len(jobs_of_this_test(hyp3, cloud)) == 0
    cloud.faults()
    assert hyp3.check_credits() == 40


def test_chosen_orders_fail_with_a_log_and_cost_their_credits(
    cloud: RunningCloud, hyp3: HyP3, granules: dict
) -> None:
    ordered_before = len(hyp3.find_jobs())
    cloud.faults(fail_orders=[ordered_before + 2])
    pair = granules["011_021697 VV"][:2]

    jobs = [finished(hyp3, hyp3.submit_insar_isce_burst_job(*pair, name=f"n{n}")[0]) for n in range(3)]

    assert [job.status_code for job in jobs] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert (jobs[1].files, jobs[1].processing_times) == ([], None)
    (log,) = jobs[1].logs
    assert "simulated failure" in requests.get(log, timeout=10).text
    assert hyp3.check_credits() == 37


def test_a_wrong_switch_is_refused_by_name(shared_cloud: RunningCloud) -> None:
    with pytest.raises(ValueError, match="api_unavaliable"):
        shared_cloud.faults(api_unavaliable=True)


def test_the_clock_does_not_run_backwards(shared_cloud: RunningCloud) -> None:
    before = shared_cloud.clock()
    with pytest.raises(ValueError, match="409"):
        shared_cloud.advance_to(before - timedelta(seconds=1))
    with pytest.raises(ValueError, match="time zone"):
        shared_cloud.advance_to("2090-01-01T00:00:00")
    assert shared_cloud.clock() == before
