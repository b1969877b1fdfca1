"""The weather of the simulated mine in files, as the Climate Data Store gives them and MintPy names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from mintpy.tropo_pyaps3 import closest_weather_model_hour, get_grib_filenames, get_snwe

from sagwatch.simulation.cds import ERA5, ERA5T, LEVELS_HPA, PARAMETERS, WeatherRequest, grib_file
from sagwatch.simulation.scenario import Scenario

MODEL = "ERA5"


def write_weather(
    scenario: Scenario,
    dates: Sequence[date],
    attributes: Mapping[str, str],
    folder: Path,
    *,
    preliminary: bool = False,
) -> Path:
    """Write the GRIB of each date for the area and hour that MintPy would ask for; return MintPy's weather folder."""
    place = folder / MODEL
    place.mkdir(parents=True)
    hour = weather_hour(attributes)
    south, north, west, east = get_snwe(dict(attributes))
    words = [f"{day:%Y%m%d}" for day in dates]
    files = get_grib_filenames(words, hour, MODEL, str(place), (south, north, west, east))
    for day, file in zip(dates, files, strict=True):
        moment = datetime(day.year, day.month, day.day, int(hour), tzinfo=UTC)
        request = WeatherRequest(moment, tuple(PARAMETERS), LEVELS_HPA, north, west, south, east)
        Path(file).write_bytes(grib_file(scenario, request, ERA5T if preliminary else ERA5))
    return folder


def weather_hour(attributes: Mapping[str, str]) -> str:
    """The full hour nearest to the pass, two digits."""
    hour: str = closest_weather_model_hour(attributes["CENTER_LINE_UTC"])
    return hour
