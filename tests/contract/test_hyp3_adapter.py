"""The HyP3 adapter keeps the promises of the port `InsarCloud` over HTTP, whatever the other side does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hyp3_sdk
import pytest

from sagwatch.adapters.hyp3 import Hyp3Cloud, _cost
from sagwatch.domain.order import CloudJob, Order, order_parameters, ordered_granules
from sagwatch.errors import (
    BadInputError,
    BadProductError,
    GoneError,
    NoCreditsError,
    RefusedError,
    StopAndAskError,
    TryAgainError,
)
from sagwatch.simulation.running import start
from tests.simulation.small_world import write_small_world
from tests.steps.small_site import burst_track

TRACK = burst_track("ascending", "011_021697_IW3")
FIRST, SECOND = "S1_021697_IW3_20240101T103702_VV_1111-BURST", "S1_021697_IW3_20240113T103702_VV_2222-BURST"


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hyp3")
    with start(folder / "cloud", scenario=str(write_small_world(folder, credits_per_month="40"))) as running:
        running.show(3)
        yield running


@pytest.fixture(autouse=True)
def fair_weather(sim):
    sim.faults()
    yield
    sim.faults()


@pytest.fixture
def cloud(sim):
    return Hyp3Cloud(sim.url, "any", lookup_pause_seconds=0)


@pytest.fixture(scope="module")
def granules(sim):
    """VV granules of the ascending track, oldest first."""
    from sagwatch.adapters.asf import AsfCatalogue

    answer = AsfCatalogue(sim.url).search(TRACK, datetime(2024, 1, 1, tzinfo=UTC), sim.clock())
    return sorted((g.name for g in answer.granules if g.polarisation == "VV"), key=lambda name: name[14:22])


def order(pair: str, first: str, second: str, **changes) -> Order:
    parameters = order_parameters(TRACK, [first], [second]) | changes
    return Order(pair, 1, TRACK.processor, parameters)


@contextmanager
def answering(
    status: int, body: bytes = b"<html>no</html>", kind: str = "text/html", **headers: str
) -> Iterator[str]:
    """A server that says one thing to everybody; counts who asked."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            Handler.asked.append(self.command)
            self.send_response(status)
            for key, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815
        asked: list[str] = []  # noqa: RUF012

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    answering.asked = Handler.asked
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_order_is_found_by_its_exact_name_and_its_id(cloud, granules):
    wish = order("found", granules[0], granules[1])
    assert cloud.find([wish.name]) == {}

    [job] = cloud.submit([wish])

    assert job.name == wish.name
    assert cloud.find([wish.name, "sg-never"], doubtful=True) == {wish.name: cloud.jobs([job.id])[0]}
    assert cloud.find([wish.name[:-1]]) == {}
    assert [j.id for j in cloud.jobs(["unknown", job.id])] == [job.id]
    many = [f"sg-{i}" for i in range(20)]
    assert set(cloud.find([*many, wish.name])) == {wish.name}
    assert [j.id for j in cloud.jobs([*many, job.id], since=job.requested_at)] == [job.id]


def test_of_two_jobs_with_one_name_the_oldest_counts(sim, cloud, granules):
    wish = order("twice", granules[0], granules[1])
    [first] = cloud.submit([wish])
    sim.advance_to(sim.clock() + timedelta(hours=1))
    [second] = cloud.submit([wish])

    assert first.id != second.id
    assert cloud.find([wish.name])[wish.name].id == first.id


def test_a_doubtful_name_is_asked_for_again_after_a_pause(sim, granules):
    pauses = []
    cloud = Hyp3Cloud(sim.url, "any", lookup_pause_seconds=7, sleep=pauses.append)
    wish = order("doubtful", granules[0], granules[1])
    cloud.submit([wish])

    assert cloud.find(["sg-nobody"]) == {}
    assert pauses == []
    assert cloud.find(["sg-nobody"], doubtful=True) == {}
    assert set(cloud.find([wish.name], doubtful=True)) == {wish.name}
    assert pauses == [7]


def test_validation_orders_and_charges_nothing(cloud, granules):
    wish = order("validated", granules[0], granules[1])
    before = cloud.remaining_credits()

    cloud.validate([wish])

    assert cloud.remaining_credits() == before
    assert cloud.find([wish.name]) == {}
    with pytest.raises(RefusedError, match="could not be found"):
        cloud.validate([order("validated", granules[0], SECOND)])


def test_the_price_comes_from_the_services_table(cloud):
    assert cloud.cost("INSAR_ISCE_MULTI_BURST", "5x1", 1) == 1
    assert cloud.cost("INSAR_ISCE_MULTI_BURST", "5x1", 2) == 5
    assert cloud.cost("INSAR_ISCE_BURST", "5x1", 1) == 1
    assert cloud.cost("INSAR_GAMMA", "10x2", 1) == 15
    with pytest.raises(BadInputError, match="offers no INSAR_TODAY"):
        cloud.cost("INSAR_TODAY", "5x1", 1)
    with pytest.raises(BadInputError, match="no price"):
        _cost({"X": {"cost_parameters": ["looks"], "cost_table": {"5x1": 1}}}, "X", {"looks": "7x7"})


def test_an_order_that_can_never_work_is_refused_with_hyp3s_words(cloud, granules):
    with pytest.raises(
        RefusedError, match=r"Some requested scenes could not be found: S1_021697.*2222-BURST"
    ):
        cloud.submit([order("never", granules[0], SECOND)])


def test_no_credits_is_told_apart_from_a_bad_order(sim, cloud, granules):
    sim.faults(no_credits=True)

    with pytest.raises(NoCreditsError, match="would cost"):
        cloud.submit([order("poor", granules[0], granules[1])])


@pytest.mark.parametrize("token", ["expired", "unapproved"])
def test_a_refused_login_asks_for_a_person(sim, token, granules):
    cloud = Hyp3Cloud(sim.url, token, lookup_pause_seconds=0)

    for ask in (
        cloud.remaining_credits,
        lambda: cloud.find(["x"]),
        lambda: cloud.submit([order("x", *granules[:2])]),
    ):
        with pytest.raises(StopAndAskError):
            ask()


def test_without_credentials_nothing_is_asked():
    with pytest.raises(StopAndAskError, match="token"):
        Hyp3Cloud("http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("status", "error", "times"),
    [(401, StopAndAskError, 1), (403, StopAndAskError, 1), (404, TryAgainError, 1), (502, TryAgainError, 4)],
)
def test_web_pages_instead_of_answers_are_understood(status, error, times, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    with answering(status) as url:
        with pytest.raises(error):
            Hyp3Cloud(url, "any").remaining_credits()
        assert answering.asked == ["GET"] * times


def test_a_login_page_with_status_200_is_understood():
    with answering(200) as url, pytest.raises(TryAgainError, match="web page"):
        Hyp3Cloud(url, "any").remaining_credits()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_order_is_never_repeated_by_itself(status):
    with answering(status, b'{"detail": "no"}', "application/json") as url:
        with pytest.raises(TryAgainError):
            Hyp3Cloud(url, "any").submit([order("once", FIRST, SECOND)])
        assert answering.asked == ["POST"]


def test_a_silent_server_does_not_hang_us(sim):
    sim.faults(stall_seconds=20)
    cloud = Hyp3Cloud(sim.url, "any", read_seconds=0.5)

    with pytest.raises(TryAgainError):
        cloud.submit([order("silent", FIRST, SECOND)])


def test_a_server_that_is_away_is_tried_again_later(monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    with pytest.raises(TryAgainError):
        Hyp3Cloud("http://127.0.0.1:9", "any").remaining_credits()


def finished(url: str, size: int | None = None, name: str = "p.zip") -> CloudJob:
    return CloudJob("id", "sg-x-1", "SUCCEEDED", datetime(2024, 1, 1, tzinfo=UTC), None, name, url, size)


def test_a_download_is_measured_and_limited(tmp_path):
    target = tmp_path / "p.part"
    with answering(200, b"x" * 1000, "application/zip") as url:
        cloud = Hyp3Cloud(url, "any")
        cloud.download(finished(f"{url}/p.zip", 1000), target, 5000)
        assert target.stat().st_size == 1000
        with pytest.raises(BadProductError, match="1000 bytes, 1001 were announced"):
            cloud.download(finished(f"{url}/p.zip", 1001), target, 5000)
        with pytest.raises(BadProductError, match="larger than the limit of 999"):
            cloud.download(finished(f"{url}/p.zip"), target, 999)
        with pytest.raises(BadProductError, match="the limit is 999"):
            cloud.download(finished(f"{url}/p.zip", 1000), target, 999)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_deleted_product_is_gone(tmp_path, status):
    with (
        answering(status, b"<Error>AccessDenied</Error>", "application/xml") as url,
        pytest.raises(GoneError),
    ):
        Hyp3Cloud(url, "any").download(finished(f"{url}/p.zip"), tmp_path / "p", 100)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/p.zip",
        "http://d3gm2hf49xd6jj.cloudfront.net/p.zip",
        "https://evil.example/p.zip",
        "https://asf.alaska.edu.evil.example/p.zip",
        "https://x.asf.alaska.edu@evil.example/p.zip",
        "file:///etc/passwd",
        "ftp://x.asf.alaska.edu/p.zip",
    ],
)
def test_products_are_fetched_from_hyp3s_places_only(tmp_path, url):
    cloud = Hyp3Cloud("https://hyp3-api.asf.alaska.edu", "any")

    with pytest.raises(BadProductError, match="where HyP3 keeps none"):
        cloud.download(finished(url), tmp_path / "p", 100)


def test_a_redirect_to_elsewhere_is_not_followed(tmp_path):
    with answering(302, b"", "text/plain", Location="http://169.254.169.254/secrets") as url:
        with pytest.raises(BadProductError, match=r"169\.254\.169\.254, where HyP3 keeps none"):
            Hyp3Cloud(url, "any").download(finished(f"{url}/p.zip"), tmp_path / "p", 100)
        assert answering.asked == ["GET"]


@pytest.mark.parametrize("processor", ["INSAR_ISCE_MULTI_BURST", "INSAR_ISCE_BURST", "INSAR_GAMMA"])
def test_orders_are_what_the_sdk_prepares(processor):
    place = {"bursts": (), "frame": 118} if processor == "INSAR_GAMMA" else {}
    track = burst_track("ascending", "011_021697_IW3", processor=processor, **place)

    parameters = order_parameters(track, [FIRST], [SECOND])

    if processor == "INSAR_ISCE_MULTI_BURST":
        prepared = hyp3_sdk.HyP3.prepare_insar_isce_multi_burst_job(
            [FIRST], [SECOND], apply_water_mask=True, looks="20x4"
        )
    elif processor == "INSAR_ISCE_BURST":
        prepared = hyp3_sdk.HyP3.prepare_insar_isce_burst_job(
            FIRST, SECOND, apply_water_mask=True, looks="20x4"
        )
    else:
        prepared = hyp3_sdk.HyP3.prepare_insar_job(
            FIRST, SECOND, include_look_vectors=True, include_dem=True, apply_water_mask=True, looks="20x4"
        )
    assert {"job_type": processor, "job_parameters": parameters} == prepared
    assert ordered_granules(parameters) == ((FIRST,), (SECOND,))


def test_names_are_opaque_and_change_with_everything_that_is_asked_for():
    one = order("pair", FIRST, SECOND)
    others = [
        order("other", FIRST, SECOND),
        order("pair", SECOND, FIRST),
        order("pair", FIRST, SECOND, looks="5x1"),
        Order("pair", 2, one.job_type, one.parameters),
    ]

    assert order("pair", FIRST, SECOND).name == one.name
    assert len({one.name, *(o.name for o in others)}) == 5
    assert "pair" not in one.name
    assert len(one.name) <= 100
