"""The adapter of the Climate Data Store against the simulated one: the right file, or a clear error and no file."""

import errno
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sagwatch.adapters import era5
from sagwatch.adapters.era5 import ClimateDataStore, check_grib
from sagwatch.domain.delay import DelayState
from sagwatch.domain.weather import WeatherRequest
from sagwatch.errors import (
    BadWeatherError,
    FailedRequestError,
    NotYetError,
    StillQueuedError,
    StopAndAskError,
    TryAgainError,
)
from sagwatch.simulation import cds
from sagwatch.simulation.grib import Field, LatLonGrid, message
from sagwatch.simulation.running import RunningCloud, start

NOW = "2024-06-15T00:00:00Z"
FINAL = WeatherRequest(date(2024, 3, 1), 11, 36, 38, 110, 112)
RECENT = WeatherRequest(date(2024, 6, 5), 11, 36, 38, 110, 112)
TOMORROW = WeatherRequest(date(2024, 6, 14), 11, 36, 38, 110, 112)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with start(tmp_path_factory.mktemp("cloud"), scenario="shaqu_mine", job_seconds=0) as running:
        running.advance_to(NOW)
        yield running


@pytest.fixture(autouse=True)
def _no_faults(cloud: RunningCloud) -> Iterator[None]:
    cloud.faults()
    yield
    cloud.faults()


def store(cloud: RunningCloud, **changes: object) -> ClimateDataStore:
    words = {"patience_seconds": 20.0, "tries": 2, "pause_seconds": 0.1} | changes
    return ClimateDataStore("a-key", cloud.url, **words)  # type: ignore[arg-type]


def test_final_and_preliminary_files_are_told_apart(cloud: RunningCloud, tmp_path: Path) -> None:
    assert store(cloud).fetch(FINAL, tmp_path / "a" / FINAL.file_name) == DelayState.FINAL
    assert store(cloud).fetch(RECENT, tmp_path / "a" / RECENT.file_name) == DelayState.PRELIMINARY

    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [FINAL.file_name, RECENT.file_name]
    assert check_grib(tmp_path / "a" / FINAL.file_name, FINAL) == DelayState.FINAL


@pytest.mark.parametrize(
    ("faults", "error", "text"),
    [
        ({"cds_file": "truncated"}, BadWeatherError, "cut short"),
        (
            {"cds_file": "other_area"},
            BadWeatherError,
            r"covers south.*111.*asked for was \[36, 38, 110, 112\]",
        ),
        (
            {"cds_file": "other_hour"},
            BadWeatherError,
            "the weather of 20240301 0500, asked for was 20240301 1100",
        ),
        ({"cds_licence_refused": True}, StopAndAskError, "licence is accepted: https://cds.*manage-licences"),
        ({"cds_fails": True}, FailedRequestError, "MARS has returned an error"),
        ({"cds_unavailable": True}, TryAgainError, r"answers 503"),
    ],
)
def test_each_fault_is_its_own_error_and_leaves_no_file(
    cloud: RunningCloud, tmp_path: Path, faults: dict, error: type[Exception], text: str
) -> None:
    cloud.faults(**faults)

    with pytest.raises(error, match=text) as raised:
        store(cloud).fetch(FINAL, tmp_path / FINAL.file_name)

    assert type(raised.value) is error
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_survives_a_fault(cloud: RunningCloud, tmp_path: Path) -> None:
    target = tmp_path / FINAL.file_name
    store(cloud).fetch(FINAL, target)
    before = target.read_bytes()
    cloud.faults(cds_file="truncated")

    with pytest.raises(BadWeatherError):
        store(cloud).fetch(FINAL, target)

    assert target.read_bytes() == before


def test_what_is_not_out_yet_says_which_day_is(cloud: RunningCloud, tmp_path: Path) -> None:
    with pytest.raises(NotYetError, match="latest date available for this dataset is: 2024-06-10"):
        store(cloud).fetch(TOMORROW, tmp_path / TOMORROW.file_name)


def test_an_order_left_in_the_queue_is_taken_up_again(cloud: RunningCloud, tmp_path: Path) -> None:
    cloud.faults(cds_queue_seconds=3600)
    with pytest.raises(StillQueuedError, match="still waits in the Climate Data Store's queue") as raised:
        store(cloud, patience_seconds=0.3).fetch(FINAL, tmp_path / FINAL.file_name)
    cloud.faults()
    orders = count_orders(cloud)

    state = store(cloud).fetch(FINAL, tmp_path / FINAL.file_name, raised.value.request_id)

    assert (state, count_orders(cloud)) == (DelayState.FINAL, orders)
    assert orders > 0


def test_a_full_disk_is_not_told_as_a_store_that_is_away(
    cloud: RunningCloud, tmp_path: Path, monkeypatch
) -> None:
    def full(self: object, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr("ecmwf.datastores.processing.Remote.download", full)

    with pytest.raises(TryAgainError, match="cannot be written: No space left on device; make room"):
        store(cloud).fetch(FINAL, tmp_path / FINAL.file_name)
    assert list(tmp_path.iterdir()) == []


def test_a_forgotten_order_is_made_again(cloud: RunningCloud, tmp_path: Path) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"

    assert store(cloud).fetch(FINAL, tmp_path / FINAL.file_name, unknown) == DelayState.FINAL


def test_a_store_that_is_not_there_is_given_up_soon(tmp_path: Path) -> None:
    away = ClimateDataStore("a-key", "http://127.0.0.1:9", tries=2, pause_seconds=0.05)

    with pytest.raises(TryAgainError, match=r"http://127\.0\.0\.1:9/api is away"):
        away.fetch(FINAL, tmp_path / FINAL.file_name)


@pytest.mark.parametrize("key", [None, "", "123:old-kind"])
def test_a_missing_or_old_key_is_refused_before_anything_is_asked(key: str | None) -> None:
    with pytest.raises(StopAndAskError, match="Connection sagwatch_cds"):
        ClimateDataStore(key)


def grib(version: str = "0001", order: tuple[str, ...] = ("z", "t", "q"), levels: int = 37) -> bytes:
    """A small file in PyAPS's order, or in another."""
    grid = LatLonGrid(FINAL.north, FINAL.west, FINAL.south, FINAL.east, 1.0)
    numbers = {"z": 129, "t": 130, "q": 133}
    import numpy as np

    values = np.arange(9.0).reshape(3, 3)
    return b"".join(
        message(Field(numbers[name], level, FINAL.moment, version), grid, values)
        for level in era5.LEVELS_HPA[:levels]
        for name in order
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (grib(order=("t", "z", "q")), "message 1 is t at 1 hPa where PyAPS expects z at 1 hPa"),
        (grib(levels=36), "108 of 111 messages"),
        (grib() + grib(levels=1), "more than the 111 messages"),
        (grib("0002"), "experiment 0002 is neither"),
        (b"<html>log in</html>", "not a GRIB file"),
        (b"", "not a GRIB file"),
        (grib()[:-20] + b"7777", "not readable|messages"),
    ],
)
def test_a_file_is_refused_for_its_content(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "one.grb"
    file.write_bytes(content)

    with pytest.raises(BadWeatherError, match=text):
        check_grib(file, FINAL)


def test_one_preliminary_message_makes_a_file_preliminary(tmp_path: Path) -> None:
    file = tmp_path / "mixed.grb"
    final, early = grib(), grib("0005")
    size = len(final) // 111
    file.write_bytes(final[:size] + early[size:])

    assert check_grib(file, FINAL) == DelayState.PRELIMINARY


def test_the_request_is_pyaps_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pyaps3
    import pyaps3.autoget

    asked = []

    class Recorder:
        def __init__(self, **_: object) -> None:
            pass

        def retrieve(self, name: str, request: dict, target: str) -> None:
            asked.append((name, request, Path(target).name))

    monkeypatch.setattr(pyaps3.autoget.cdsapi, "Client", Recorder)
    monkeypatch.setenv("HOME", str(tmp_path))
    box = (FINAL.south, FINAL.north, FINAL.west, FINAL.east)
    pyaps3.ECMWFdload(["20240301"], "11", str(tmp_path), model="ERA5", snwe=box)

    assert asked == [(era5.DATASET, era5._inputs(FINAL), FINAL.file_name)]
    assert era5.LEVELS_HPA == cds.LEVELS_HPA
    assert FINAL.moment == datetime(2024, 3, 1, 11, tzinfo=UTC)


def count_orders(cloud: RunningCloud) -> int:
    counts = cloud.get("/requests")
    return sum(count for path, count in counts.items() if path.endswith("/execution"))
