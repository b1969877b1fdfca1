"""ERA5 from the Climate Data Store, through its own client (cdsapi).

The client would try for 17 hours when the store is away (500 times, 120 s apart) and wait for ever in its queue; here
both have limits. A file is looked into before it gets its name: PyAPS reads messages by their position and believes
whatever it finds there.
"""

from __future__ import annotations

import errno
import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from sagwatch.adapters.http import CONNECT_SECONDS, first_line
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

log = logging.getLogger(__name__)

OFFICIAL_URL = "https://cds.climate.copernicus.eu/api"
DATASET = "reanalysis-era5-pressure-levels"
LICENCE_URL = f"https://cds.climate.copernicus.eu/datasets/{DATASET}?tab=download#manage-licences"
KEY_URL = "https://cds.climate.copernicus.eu/profile"
VARIABLES = {"z": "geopotential", "t": "temperature", "q": "specific_humidity"}
LEVELS_HPA = (
    *(
        1,
        2,
        3,
        5,
        7,
        10,
        20,
        30,
        50,
        70,
        100,
        125,
        150,
        175,
        200,
        225,
        250,
        300,
        350,
        400,
        450,
        500,
        550,
        600,
    ),
    *(650, 700, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000),
)
#: What ECMWF writes into each message: ERA5, and the preliminary ERA5T.
_STATES = {"0001": DelayState.FINAL, "0005": DelayState.PRELIMINARY}
_NOT_YET = "is available yet"
#: Then it is not the store that is away.
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class ClimateDataStore:
    """The store with the key of an account.

    Parameters
    ----------
    url
        Another server than the official one; ``/api`` at its end may be left out.
    patience_seconds
        How long one request may stay in the store's queue before it is left there for the next run.
    tries, pause_seconds
        For each question that ends with a cut line or a 5xx.
    """

    def __init__(
        self,
        key: str | None,
        url: str | None = None,
        patience_seconds: float = 600.0,
        tries: int = 3,
        pause_seconds: float = 10.0,
    ) -> None:
        if not key or ":" in key:
            raise StopAndAskError(
                f"the Climate Data Store needs the personal access token of an account ({KEY_URL}), "
                f"without a colon: give it as the password of Connection sagwatch_cds"
            )
        address = (url or OFFICIAL_URL).rstrip("/")
        self._url = address if address.endswith("/api") else f"{address}/api"
        self._key, self._patience_seconds = key, patience_seconds
        self._tries, self._pause_seconds = tries, pause_seconds

    def fetch(self, request: WeatherRequest, target: Path, request_id: str | None = None) -> DelayState:
        """Get one hour's file to ``target`` and say whether it is preliminary or final.

        It is loaded under another name, checked and renamed, so whatever has the name is right.

        Parameters
        ----------
        request_id
            Of an order that was left in the queue (`StillQueuedError`); a forgotten one is ordered again.

        Raises
        ------
        NotYetError, StillQueuedError, FailedRequestError, TryAgainError, StopAndAskError
            By what the store said.
        BadWeatherError
            What came is not what was asked for.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
        try:
            with _told_clearly(self._url):
                order = self._order(request, request_id)
                self._wait(order, request)
                order.download(str(aside))
            state = check_grib(aside, request)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        return state

    def _order(self, request: WeatherRequest, request_id: str | None) -> Any:
        import cdsapi

        session = requests.Session()
        client = cdsapi.Client(
            url=self._url,
            key=self._key,
            quiet=True,
            progress=False,
            timeout=int(CONNECT_SECONDS) * 4,
            retry_max=self._tries,
            sleep_max=self._pause_seconds,
            delete=False,
            wait_until_complete=False,
            session=session,
        )
        if request_id is not None:
            try:
                return client.client.get_remote(request_id)
            except requests.HTTPError as problem:
                if problem.response is None or problem.response.status_code != 404:
                    raise
                log.info("the Climate Data Store has forgotten request %s; it is made again", request_id)
        return client.retrieve(DATASET, _inputs(request))

    def _wait(self, order: Any, request: WeatherRequest) -> None:
        give_up_at = time.monotonic() + self._patience_seconds
        pause = 0.2
        while not order.results_ready:
            if time.monotonic() >= give_up_at:
                raise StillQueuedError(
                    f"the weather of {request.moment:%Y-%m-%d %H:%M} still waits in the Climate Data Store's queue "
                    f"(request {order.request_id})",
                    order.request_id,
                )
            time.sleep(min(pause, max(0.0, give_up_at - time.monotonic())))
            pause = min(pause * 1.5, self._pause_seconds)


def _inputs(request: WeatherRequest) -> dict[str, Any]:
    """PyAPS's own request (`pyaps3.autoget.ECMWFdload`); a test holds the two together."""
    return {
        "product_type": ["reanalysis"],
        "variable": list(VARIABLES.values()),
        "year": [f"{request.day:%Y}"],
        "month": [f"{request.day:%m}"],
        "day": [f"{request.day:%d}"],
        "time": [f"{request.hour:02d}:00"],
        "pressure_level": [str(level) for level in LEVELS_HPA],
        "data_format": "grib",
        "area": [request.north, request.west, request.south, request.east],
    }


def check_grib(path: Path, request: WeatherRequest) -> DelayState:
    """Compare a GRIB file with what was asked for, and say how good its data are.

    Every message is looked at: order, hour, box, missing values, and the version of the experiment (ECMWF's local
    section: 0001 is ERA5, 0005 is ERA5T). One preliminary message makes the file preliminary.

    Raises
    ------
    BadWeatherError
        The text says what is wrong.
    """
    import pygrib

    name = request.file_name
    expected = [(level, variable) for level in LEVELS_HPA for variable in VARIABLES]
    states = set()
    count = 0
    _refuse_cut(path, name)
    try:
        with pygrib.open(str(path)) as file:
            for count, message in enumerate(file, start=1):
                if count > len(expected):
                    raise BadWeatherError(
                        f"{name}: more than the {len(expected)} messages of PyAPS's request"
                    )
                states.add(_check_message(name, count, message, expected[count - 1], request))
    except (OSError, RuntimeError) as problem:
        raise BadWeatherError(f"{name}: not readable as GRIB after message {count}: {problem}") from problem
    if count != len(expected):
        raise BadWeatherError(f"{name}: {count} of {len(expected)} messages: the file is cut short")
    return DelayState.PRELIMINARY if DelayState.PRELIMINARY in states else DelayState.FINAL


def _refuse_cut(path: Path, name: str) -> None:
    """Each message of GRIB ends with four sevens; a reader may pass over one that does not."""
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(max(0, path.stat().st_size - 4))
        end = file.read(4)
    if begin != b"GRIB":
        raise BadWeatherError(f"{name}: not a GRIB file; it begins with {begin!r}")
    if end != b"7777":
        raise BadWeatherError(f"{name}: the file is cut short")


def _check_message(
    name: str, number: int, message: Any, expected: tuple[int, str], request: WeatherRequest
) -> DelayState:
    found = (message.level, message.shortName)
    if found != expected or message.typeOfLevel != "isobaricInhPa":
        raise BadWeatherError(
            f"{name}: message {number} is {found[1]} at {found[0]} hPa where PyAPS expects {expected[1]} at "
            f"{expected[0]} hPa"
        )
    moment = (message.validityDate, message.validityTime)
    if moment != (int(f"{request.day:%Y%m%d}"), request.hour * 100):
        raise BadWeatherError(
            f"{name}: the weather of {moment[0]} {moment[1]:04d}, asked for was {request.moment:%Y%m%d %H%M}"
        )
    latitudes = sorted(message[f"latitudeOf{which}GridPointInDegrees"] for which in ("First", "Last"))
    longitudes = sorted(
        (message[f"longitudeOf{which}GridPointInDegrees"] + 180) % 360 - 180 for which in ("First", "Last")
    )
    box = [*latitudes, *longitudes]
    asked = [request.south, request.north, request.west, request.east]
    if max(abs(one - other) for one, other in zip(box, asked, strict=True)) > 0.01:
        raise BadWeatherError(f"{name}: covers south, north, west, east {box}, asked for was {asked}")
    if message.numberOfMissing:
        raise BadWeatherError(f"{name}: {found[1]} at {found[0]} hPa lacks {message.numberOfMissing} values")
    version = str(message["experimentVersionNumber"])
    if version not in _STATES:
        raise BadWeatherError(f"{name}: experiment {version} is neither ERA5 (0001) nor ERA5T (0005)")
    return _STATES[version]


@contextmanager
def _told_clearly(url: str) -> Iterator[None]:
    """The client's errors by what has to be done about them."""
    from ecmwf.datastores.processing import DownloadError, LinkError, ProcessingFailedError

    try:
        yield
    except requests.HTTPError as problem:
        raise _by_answer(problem, url) from problem
    except ProcessingFailedError as problem:
        text = first_line(str(problem))
        if _NOT_YET in text:
            raise NotYetError(f"not out yet: {_from(text, 'None of the data')}") from problem
        raise FailedRequestError(f"the Climate Data Store could not fulfil the request: {text}") from problem
    except (DownloadError, LinkError) as problem:
        raise TryAgainError(f"the Climate Data Store: {first_line(str(problem))}") from problem
    except OSError as problem:
        if problem.errno in _OUR_DISK:
            raise TryAgainError(
                f"the weather file cannot be written: {problem.strerror}; make room"
            ) from problem
        raise TryAgainError(
            f"the Climate Data Store at {url} is away: {first_line(str(problem))}"
        ) from problem
    except (requests.RequestException, ValueError) as problem:
        raise TryAgainError(
            f"the Climate Data Store at {url} is away: {first_line(str(problem))}"
        ) from problem


def _by_answer(problem: requests.HTTPError, url: str) -> Exception:
    status = 0 if problem.response is None else problem.response.status_code
    text = first_line(str(problem), 600)
    if _NOT_YET in text:
        return NotYetError(f"not out yet: {_from(text, 'None of the data')}")
    if "licence" in text.lower():
        return StopAndAskError(
            f"the Climate Data Store gives ERA5 to this account only after its licence is accepted: {LICENCE_URL}"
        )
    if status in (401, 403):
        return StopAndAskError(
            f"the Climate Data Store refuses us ({status}: {text}); if it means the key of Connection sagwatch_cds, "
            f"make a new one at {KEY_URL}"
        )
    if 400 <= status < 500 and status not in (404, 408, 425, 429):
        return FailedRequestError(f"the Climate Data Store refuses the request: {text}")
    return TryAgainError(f"the Climate Data Store at {url} answers {status}: {text}")


def _from(text: str, beginning: str) -> str:
    """The text from there on; all of it where it says something else."""
    return text[max(0, text.find(beginning)) :]
