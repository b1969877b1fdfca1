"""The simulated Climate Data Store: which requests it takes, what it has by the simulated clock, and the GRIB it gives.

Only ``reanalysis-era5-pressure-levels`` is there. The newest days are ERA5T (experiment 0005, preliminary); they are
replaced by ERA5 (0001) later; still newer ones are not there yet.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from .grib import Field, LatLonGrid, message
from .kept import kept
from .scenario import Scenario
from .weather import GRAVITY, air

DATASET = "reanalysis-era5-pressure-levels"
ERA5, ERA5T = "0001", "0005"
#: ECMWF's parameter numbers (table 128), in the order in which the real files hold them.
PARAMETERS = {"geopotential": 129, "temperature": 130, "specific_humidity": 133}
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
        650,
    ),
    *(700, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000),
)
STEP_DEG = 0.25
MOST_DEGREES = 40.0
NAMESPACE = uuid.UUID("0b6e3c1a-6a55-5a19-8f0e-6572613567b1")
LICENCE_TEXT = (
    "Not all the required licences have been accepted; please visit "
    f"https://cds.climate.copernicus.eu/datasets/{DATASET}?tab=download#manage-licences "
    "to accept the required licence(s)."
)


class CdsRefusalError(ValueError):
    """A request that the store would not take; the text is its `detail`."""

    def __init__(self, detail: str, status: int = 400, title: str = "invalid request") -> None:
        super().__init__(detail)
        self.status, self.title = status, title


@dataclass(frozen=True)
class WeatherRequest:
    """One hour of some variables and levels over an area."""

    moment: datetime
    variables: tuple[str, ...]
    levels_hpa: tuple[int, ...]
    north: float
    west: float
    south: float
    east: float

    @property
    def grid(self) -> LatLonGrid:
        return LatLonGrid(self.north, self.west, self.south, self.east, STEP_DEG)


def read_request(inputs: dict[str, Any]) -> WeatherRequest:
    """Understand a request as cdsapi sends it.

    Raises
    ------
    CdsRefusalError
        Names the key and what it may be.
    """
    if _only(inputs, "data_format") not in ("grib",):
        raise CdsRefusalError(f"data_format {inputs.get('data_format')!r}: this store gives grib only")
    if _only(inputs, "product_type") != "reanalysis":
        raise CdsRefusalError(f"product_type {inputs.get('product_type')!r}: this store has reanalysis only")
    variables = _chosen(inputs, "variable", tuple(PARAMETERS))
    levels = tuple(int(word) for word in _chosen(inputs, "pressure_level", tuple(map(str, LEVELS_HPA))))
    year, month, day, hour = (_only(inputs, key) for key in ("year", "month", "day", "time"))
    try:
        moment = datetime.strptime(f"{year}-{month}-{day} {hour}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise CdsRefusalError(f"year, month, day, time do not name an hour: {error}") from error
    return WeatherRequest(moment, variables, levels, *_area(inputs))


def _only(inputs: dict[str, Any], key: str) -> str:
    value = inputs.get(key)
    values = value if isinstance(value, list) else [value]
    if len(values) != 1 or not isinstance(values[0], str):
        raise CdsRefusalError(f"{key} must name exactly one value, not {value!r}")
    return values[0]


def _chosen(inputs: dict[str, Any], key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """What is asked for, in the order of the store."""
    value = inputs.get(key)
    asked = {str(word) for word in (value if isinstance(value, list) else [value])}
    if value is None or not asked <= set(known):
        raise CdsRefusalError(f"{key} must be among {', '.join(known)}, not {value!r}")
    return tuple(word for word in known if word in asked)


def _area(inputs: dict[str, Any]) -> tuple[float, float, float, float]:
    try:
        north, west, south, east = (float(edge) for edge in inputs["area"])
    except (KeyError, TypeError, ValueError) as error:
        raise CdsRefusalError("area must be [north, west, south, east] in degrees") from error
    fits = -90 <= south < north <= 90 and -180 <= west < east <= 360
    if not fits or north - south > MOST_DEGREES or east - west > MOST_DEGREES:
        raise CdsRefusalError(
            f"area {inputs['area']} must be [north, west, south, east], at most {MOST_DEGREES:g} degrees a side"
        )
    return north, west, south, east


def experiment(scenario: Scenario, request: WeatherRequest, now: datetime) -> str:
    """Which version of an hour the store has now.

    Raises
    ------
    CdsRefusalError
        None yet; with the store's own text.
    """
    rules = scenario.weather
    assert rules is not None
    if request.moment + timedelta(days=rules.final_after_days) <= now:
        return ERA5
    latest = (now - timedelta(days=rules.preliminary_after_days)).replace(minute=0, second=0, microsecond=0)
    if request.moment <= latest:
        return ERA5T
    raise CdsRefusalError(
        "None of the data you have requested is available yet, please revise the period requested. "
        f"The latest date available for this dataset is: {latest:%Y-%m-%d %H:%M}"
    )


def job_id(number: int, inputs: dict[str, Any]) -> str:
    """Opaque, and the same for the same request in the same place of the queue."""
    return str(uuid.uuid5(NAMESPACE, f"{number}/{sorted(inputs.items())!r}"))


@kept(8)
def grib_file(scenario: Scenario, request: WeatherRequest, version: str) -> bytes:
    """The file: for each level, from the top of the air down, each variable."""
    grid = request.grid
    lon, lat = np.meshgrid(grid.longitudes, grid.latitudes)
    column = air(scenario, request.moment, lon, lat, preliminary=version == ERA5T)
    messages = []
    for level in request.levels_hpa:
        height_m = column.height_m(level * 100.0)
        values = {
            "geopotential": GRAVITY * height_m,
            "temperature": column.temperature_k(height_m),
            "specific_humidity": column.specific_humidity(height_m),
        }
        messages += [
            message(Field(PARAMETERS[name], level, request.moment, version), grid, values[name])
            for name in request.variables
        ]
    return b"".join(messages)
