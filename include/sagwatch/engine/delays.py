"""The troposphere's delay on a track's grid, from a weather model (PyAPS) or from GACOS's files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator

from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry, read_geometry
from sagwatch.engine.interferogram import read_attributes
from sagwatch.engine.mintpy_process import run_module
from sagwatch.errors import BadInputError, BadWeatherError

#: Half a million pixels take PyAPS less than a minute.
_PROGRAM_SECONDS = 1200
#: Zenith delays from the highest mountain to the Dead Sea, metres; beyond are other units or another order of bytes.
_ZENITH_M = (0.5, 3.0)


def read_look(path: Path) -> tuple[Geometry, dict[str, str]]:
    """A track's geometry and its attributes, if a delay can be computed with it.

    Raises
    ------
    BadInputError
        There is none, or nothing is known in it.
    """
    if not path.is_file():
        raise BadInputError(
            f"{path} is missing: no product of this track brought its geometry, so no delay can be made"
        )
    look = read_geometry(path)
    if not _known(look).any():
        raise BadInputError(
            f"{path} has no pixel with a height and an incidence angle: the track's first product brought none, so no "
            "delay can be made; order the track with DEM and look vectors"
        )
    return look, read_attributes(path)


def era5_delay(grib: Path, geometry_path: Path) -> NDArray[np.float32]:
    """MintPy's delay of an acquisition, in a process of its own.

    Returns
    -------
    shape (rows, columns)
        Metres with MintPy's sign (see `delay_files`). NaN where height or incidence angle is unknown: PyAPS would put
        such a pixel 200 m below the sea, or give it a delay of 0.

    Raises
    ------
    BadInputError
        There is no geometry.
    MintPyError
        PyAPS failed.
    BadWeatherError
        It gave nothing for some pixel: the weather does not reach it.
    """
    look, _ = read_look(geometry_path)
    with tempfile.TemporaryDirectory(prefix="sagwatch-delay-") as folder:
        target = Path(folder) / "delay.npy"
        run_module(
            "sagwatch.engine.delay_program",
            [str(grib.resolve()), str(geometry_path.resolve()), str(target)],
            Path(folder),
            seconds=_PROGRAM_SECONDS,
        )
        delay_m: NDArray[np.float32] = np.load(target)
    # PyAPS's fill value outside the weather's box is 0, which would say "no delay".
    return _everywhere(grib.name, np.where(delay_m != 0, delay_m, np.nan), look)


def gacos_delay(ztd: Path, geometry_path: Path, grid: Grid) -> NDArray[np.float32]:
    """Project GACOS's zenith delay to the line of sight, as MintPy's ``tropo_gacos`` does.

    MintPy's reader takes the file. Its resampling expects degrees and fails on HyP3's UTM grids (MintPy issues 1086
    and 1265), so values are interpolated linearly at the pixels' own longitudes and latitudes.

    Returns
    -------
    shape (rows, columns)
        Metres with MintPy's sign.

    Raises
    ------
    BadInputError
        There is no geometry.
    BadWeatherError
        The file cannot be read, is cut short, holds no zenith delay in metres, or leaves a part of the grid without
        one: an acquisition is corrected everywhere or nowhere.
    """
    look, _ = read_look(geometry_path)
    zenith_m, latitudes, longitudes = _read_ztd(ztd)
    rows, columns = np.meshgrid(np.arange(grid.rows), np.arange(grid.columns), indexing="ij")
    lon, lat = grid.lon_lat(rows, columns)
    at_pixel = RegularGridInterpolator(
        (latitudes[::-1], longitudes), zenith_m[::-1], bounds_error=False, fill_value=np.nan
    )
    delay_m = -at_pixel(np.stack([lat, lon], axis=-1)) / np.cos(
        np.radians(look.incidence_deg.astype(np.float64))
    )
    if not np.isfinite(delay_m).any():
        raise BadWeatherError(f"{ztd.name} covers no pixel of the track's grid: it is of another area")
    return _everywhere(ztd.name, delay_m, look)


def _read_ztd(ztd: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Zenith delay in metres, latitudes falling, longitudes rising, of pixel centres; NaN where it is 0 (no data)."""
    from mintpy.utils import readfile, utils0

    header = ztd.with_name(f"{ztd.name}.rsc")
    if not header.is_file():
        raise BadWeatherError(f"{ztd.name} has no {header.name} beside it; put both into the folder")
    try:
        attributes = readfile.read_attribute(str(ztd))
        length, width = int(attributes["LENGTH"]), int(attributes["WIDTH"])
        if ztd.stat().st_size != 4 * length * width:
            raise BadWeatherError(
                f"{ztd.name} has {ztd.stat().st_size} bytes where {length} x {width} values of 4 need "
                f"{4 * length * width}: it is cut short, or not a binary file of GACOS"
            )
        with np.errstate(invalid="ignore"):  # other files than GACOS's hold bits that are no number
            zenith_m = readfile.read(str(ztd))[0].astype(np.float64)
        latitudes, longitudes = (np.asarray(axis) for axis in utils0.get_lat_lon(attributes, dimension=1))
    except (KeyError, ValueError, IndexError, OSError) as problem:
        raise BadWeatherError(f"{ztd.name} or its .rsc cannot be read: {problem}") from problem
    if not ((np.diff(latitudes) < 0).all() and (np.diff(longitudes) > 0).all()):
        raise BadWeatherError(f"{header.name}: rows must run from north to south, columns from west to east")
    zenith_m[zenith_m == 0] = np.nan
    low, high = np.nanmin(zenith_m, initial=np.inf), np.nanmax(zenith_m, initial=-np.inf)
    if low < _ZENITH_M[0] or high > _ZENITH_M[1]:
        raise BadWeatherError(
            f"{ztd.name} has values from {low:.3g} to {high:.3g}: no zenith delay in metres, little-endian float32"
        )
    return zenith_m, latitudes, longitudes


def _everywhere(name: str, delay_m: NDArray[np.floating], look: Geometry) -> NDArray[np.float32]:
    """NaN where the geometry is not known; refused where it is and the delay is not.

    An acquisition that is corrected here and not there would have an edge that looks like motion; and one pixel
    without a delay is without displacement at every acquisition, if it is the first or stands in for others.
    """
    known = _known(look)
    missing = known & ~np.isfinite(delay_m)
    if missing.any():
        raise BadWeatherError(
            f"{name} gives no delay for {int(missing.sum())} of {known.size} pixels of the track's grid"
        )
    return np.where(known, delay_m, np.nan).astype(np.float32)


def _known(look: Geometry) -> NDArray[np.bool_]:
    return np.isfinite(look.height_m) & np.isfinite(look.incidence_deg) & (look.incidence_deg != 0)
