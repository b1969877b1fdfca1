"""Delays on the grid: MintPy's own, NaN where nothing is known, refused where they cannot be right."""

from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.domain.weather import WeatherRequest
from sagwatch.engine.delays import era5_delay, gacos_delay
from sagwatch.engine.geometry import Geometry, write_geometry
from sagwatch.engine.hyp3_attributes import grid_attributes
from sagwatch.engine.mintpy_process import run_program
from sagwatch.errors import BadInputError, BadWeatherError
from sagwatch.simulation import cds
from sagwatch.simulation.scenario import read_scenario

GRID = Grid(32649, 482320, 4142560, 80, 24, 20)
DAYS = (date(2022, 7, 18), date(2022, 12, 21))
UTC_SECONDS = 10 * 3600 + 37 * 60 + 2


@pytest.fixture(scope="module")
def gribs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two days of the simulated weather, small boxes under the names that PyAPS would give them."""
    folder = tmp_path_factory.mktemp("weather") / "ERA5"
    folder.mkdir()
    scenario = read_scenario("shaqu_mine")
    return [write_grib(folder / request(day).file_name, scenario, day) for day in DAYS]


def write_grib(path: Path, scenario, day: date, area=(40, 108, 34, 114)) -> Path:
    words = {
        "product_type": ["reanalysis"],
        "variable": ["geopotential", "temperature", "specific_humidity"],
        "year": [f"{day:%Y}"],
        "month": [f"{day:%m}"],
        "day": [f"{day:%d}"],
        "time": ["11:00"],
        "pressure_level": [str(level) for level in cds.LEVELS_HPA],
        "data_format": "grib",
        "area": list(area),
    }
    path.write_bytes(cds.grib_file(scenario, cds.read_request(words), cds.ERA5))
    return path


def request(day: date) -> WeatherRequest:
    return WeatherRequest.of_pass(day, UTC_SECONDS, GRID)


def ground(holes: bool = False) -> Geometry:
    rows, columns = np.mgrid[: GRID.rows, : GRID.columns]
    height = (900 + 12.5 * rows + 7.3 * columns).astype(np.float32)
    incidence = (41.0 + 0.02 * columns).astype(np.float32)
    if holes:
        height[3, 4:7] = np.nan
        incidence[9, 2] = np.nan
        height[11, 5], incidence[11, 5] = np.nan, np.nan
    return Geometry(height, incidence, np.full(GRID.shape, -100, np.float32), np.ones(GRID.shape, bool))


def write_look(folder: Path, look: Geometry) -> Path:
    path = folder / "geometryGeo.h5"
    words = {
        "CENTER_LINE_UTC": str(UTC_SECONDS),
        "EARTH_RADIUS": "6370000.0",
        "HEIGHT": "700000.0",
        "PROCESSOR": "hyp3",
    }
    write_geometry(path, look, {**grid_attributes(GRID), **words})
    return path


def test_the_delay_is_that_of_mintpys_own_program(tmp_path: Path, gribs: list[Path]) -> None:
    look = write_look(tmp_path, ground())
    days = [f"{day:%Y%m%d}" for day in DAYS]

    said = run_program(
        "tropo_pyaps3",
        [
            "-d",
            *days,
            "--hour",
            "11",
            "-g",
            str(look),
            "-w",
            str(gribs[0].parent.parent),
            "--tropo-file",
            "ERA5.h5",
        ],
        tmp_path,
    )
    ours = np.stack([era5_delay(grib, look) for grib in gribs])

    with h5py.File(tmp_path / "ERA5.h5") as file:
        assert [day.decode() for day in file["date"][:]] == days, said
        theirs = file["timeseries"][:]
    assert -3.7 < theirs.min() < theirs.max() < -2.4
    assert np.ptp(theirs[0]) > 0.02
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_holes_of_the_dem_stay_unknown_and_change_nothing_else(tmp_path: Path, gribs: list[Path]) -> None:
    (tmp_path / "whole").mkdir()
    whole = era5_delay(gribs[0], write_look(tmp_path / "whole", ground()))
    holed = era5_delay(gribs[0], write_look(tmp_path, ground(holes=True)))

    known = np.isfinite(ground(holes=True).height_m) & np.isfinite(ground(holes=True).incidence_deg)
    np.testing.assert_array_equal(np.isfinite(holed), known)
    np.testing.assert_allclose(holed[known], whole[known], rtol=0, atol=1e-6)


def test_no_geometry_is_an_error(tmp_path: Path, gribs: list[Path]) -> None:
    with pytest.raises(BadInputError, match=r"geometryGeo\.h5 is missing"):
        era5_delay(gribs[0], tmp_path / "geometryGeo.h5")
    nothing = ground()
    nothing.height_m[:] = np.nan
    with pytest.raises(BadInputError, match="no pixel with a height and an incidence angle"):
        era5_delay(gribs[0], write_look(tmp_path, nothing))


def test_weather_that_ends_short_of_the_grid_is_refused(tmp_path: Path) -> None:
    """PyAPS gives 0 there, which would say that there is no delay."""
    short = write_grib(tmp_path / "short.grb", read_scenario("shaqu_mine"), DAYS[0], (40, 110.81, 34, 114))

    with pytest.raises(BadWeatherError, match=r"no delay for \d+ pixels"):
        era5_delay(short, write_look(tmp_path, ground()))


@pytest.mark.parametrize("seconds", [UTC_SECONDS, 11.5 * 3600, 11.51 * 3600, 10.0, 86_390.0, 84_600.5])
@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid(32649, 166080, 4423040, 80, 900, 700),
        Grid(32719, 300000, 7990000, 80, 100, 100),
        Grid(32614, 480000, 2140000, 80, 300, 300),
    ],
)
def test_the_hour_the_box_and_the_name_are_mintpys(grid: Grid, seconds: float) -> None:
    from mintpy import tropo_pyaps3

    day = date(2024, 2, 29)
    box = tropo_pyaps3.get_snwe(grid_attributes(grid))
    hour = tropo_pyaps3.closest_weather_model_hour(str(seconds))
    (name,) = tropo_pyaps3.get_grib_filenames([f"{day:%Y%m%d}"], hour, "ERA5", "", box)

    ours = WeatherRequest.of_pass(day, seconds, grid)

    assert (ours.file_name, ours.day) == (name, day)
    assert (ours.south, ours.north, ours.west, ours.east) == box
    assert ours.hour == int(hour)


def write_ztd(folder: Path, north=37.6, west=110.5, size=(300, 400), step=0.001) -> Path:
    """A plane of zenith delay, metres, as GACOS writes it."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    lat, lon = north - (rows + 0.5) * step, west + (columns + 0.5) * step
    file = folder / "20220718.ztd"
    plane_m(lat, lon).astype("<f4").tofile(file)
    header = {
        "WIDTH": size[1],
        "FILE_LENGTH": size[0],
        "X_FIRST": west,
        "Y_FIRST": north,
        "X_STEP": step,
        "Y_STEP": -step,
        "X_UNIT": "degrees",
        "Y_UNIT": "degrees",
    }
    text = "".join(f"{key} {value}\n" for key, value in header.items())
    file.with_name("20220718.ztd.rsc").write_text(text)
    return file


def plane_m(lat, lon):
    return 2.1 + 0.31 * (lat - 37.4) - 0.17 * (lon - 110.8)


def test_gacos_is_projected_to_the_line_of_sight(tmp_path: Path) -> None:
    from mintpy.tropo_gacos import get_delay_radar

    look, ztd = ground(holes=True), write_ztd(tmp_path)
    ours = gacos_delay(ztd, write_look(tmp_path, look), GRID)

    rows, columns = np.mgrid[: GRID.rows, : GRID.columns]
    lon, lat = GRID.lon_lat(rows, columns)
    truth = -plane_m(lat, lon) / np.cos(np.radians(look.incidence_deg.astype(np.float64)))
    truth[np.isnan(look.height_m)] = np.nan
    # Single precision in the file and in MintPy's rounding of it, each a fifth of a micrometre.
    np.testing.assert_allclose(ours, truth, rtol=0, atol=3e-6)
    # MintPy's own takes the nearest value: half a step of the plane at most.
    theirs = get_delay_radar(
        str(ztd), np.cos(np.radians(look.incidence_deg)), np.stack([lat.ravel(), lon.ravel()], axis=1)
    )
    assert np.nanmax(np.abs(ours - theirs)) < 0.001 * 0.5 * (0.31 + 0.17) / np.cos(np.radians(42))


def test_gacos_files_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    look, ztd = write_look(tmp_path, ground()), write_ztd(tmp_path)
    ztd.write_bytes(ztd.read_bytes()[:-100])
    with pytest.raises(BadWeatherError, match="cut short"):
        gacos_delay(ztd, look, GRID)
    with pytest.raises(BadWeatherError, match="another area"):
        gacos_delay(write_ztd(tmp_path, west=109.0), look, GRID)
    ztd.with_name("20220718.ztd.rsc").unlink()
    with pytest.raises(BadWeatherError, match=r"no 20220718\.ztd\.rsc"):
        gacos_delay(ztd, look, GRID)


def test_a_gacos_file_that_ends_within_the_grid_corrects_nothing(tmp_path: Path) -> None:
    look = write_look(tmp_path, ground())

    with pytest.raises(BadWeatherError, match="no delay for 336 of 480 pixels"):
        gacos_delay(write_ztd(tmp_path, north=37.42), look, GRID)


@pytest.mark.parametrize("kind", [">f4", "cm"])
def test_gacos_values_that_are_no_delay_in_metres_are_refused(tmp_path: Path, kind: str) -> None:
    look, ztd = write_look(tmp_path, ground()), write_ztd(tmp_path)
    values = np.fromfile(ztd, "<f4")
    (values * np.float32(100) if kind == "cm" else values.astype(kind)).tofile(ztd)

    with pytest.raises(BadWeatherError, match="no zenith delay in metres"):
        gacos_delay(ztd, look, GRID)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X_STEP 0.001", "X_STEP nan"),
        ("X_STEP 0.001", "X_STEP 0"),
        ("Y_STEP -0.001", "Y_STEP 0.001"),
        ("X_STEP 0.001", ""),
        ("WIDTH", "\n<html>\nWIDTH"),
    ],
)
def test_a_gacos_header_that_cannot_be_right_is_refused(tmp_path: Path, old: str, new: str) -> None:
    look, ztd = write_look(tmp_path, ground()), write_ztd(tmp_path)
    header = ztd.with_name(f"{ztd.name}.rsc")
    header.write_text(header.read_text().replace(old, new))

    with pytest.raises(BadWeatherError, match=r"cannot be read|from north to south"):
        gacos_delay(ztd, look, GRID)
