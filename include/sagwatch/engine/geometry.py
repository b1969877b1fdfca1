"""The geometry file of a track: heights, look angles and land, in MintPy's conventions, written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.files import file_aside, sha256_of
from sagwatch.engine.interferogram import open_hdf5, write_attributes
from sagwatch.errors import BadInputError

_UNITS = {"height": "m", "incidenceAngle": "degrees", "azimuthAngle": "degrees", "slantRangeDistance": "m"}


@dataclass(frozen=True)
class Geometry:
    """How the satellite sees each pixel of the grid; every array has the grid's shape.

    Attributes
    ----------
    height_m
        Height above the WGS84 ellipsoid, float32.
    incidence_deg
        Angle between the vertical and the line of sight, float32, degrees.
    azimuth_deg
        Direction from the pixel to the satellite, from north, anti-clockwise positive, -180 to 180 (MintPy's
        ``azimuthAngle``).
    land
        False on water.
    """

    height_m: NDArray[np.float32]
    incidence_deg: NDArray[np.float32]
    azimuth_deg: NDArray[np.float32]
    land: NDArray[np.bool_]

    def __post_init__(self) -> None:
        arrays = (self.height_m, self.incidence_deg, self.azimuth_deg, self.land)
        if len({array.shape for array in arrays}) != 1 or self.height_m.ndim != 2:
            raise BadInputError(f"the geometry's layers have different shapes: {[a.shape for a in arrays]}")

    @classmethod
    def from_product(
        cls,
        dem: NDArray[np.floating],
        lv_theta: NDArray[np.floating],
        lv_phi: NDArray[np.floating],
        water_mask: NDArray[np.integer] | None = None,
    ) -> Self:
        """Take HyP3's rasters after clipping to the grid.

        Parameters
        ----------
        dem
            Metres; 0 is believed where the look vector is known.
        lv_theta
            Elevation of the look vector above the horizontal, radians; 0 is "no data".
        lv_phi
            Its direction from east, anti-clockwise, radians.
        water_mask
            1 is land, anything else is not. None if the product has no mask: all is taken for land.
        """
        known = np.isfinite(lv_theta) & (lv_theta != 0)
        incidence = np.where(known, 90.0 - np.degrees(lv_theta), np.nan)
        azimuth = np.where(known, _wrap_degrees(np.degrees(lv_phi) - 90.0), np.nan)
        height = np.where(known | (dem != 0), dem, np.nan)
        land = np.ones(dem.shape, np.bool_) if water_mask is None else water_mask == 1
        return cls(height.astype(np.float32), incidence.astype(np.float32), azimuth.astype(np.float32), land)


def slant_range_m(incidence_deg: NDArray[np.floating], attributes: Mapping[str, str]) -> NDArray[np.float32]:
    """Distance from the pixel to the satellite by the law of sines, as MintPy computes it.

    ``attributes`` hold the radius of the Earth (``EARTH_RADIUS``) and the height of the orbit (``HEIGHT``), metres.
    """
    radius, height = float(attributes["EARTH_RADIUS"]), float(attributes["HEIGHT"])
    incidence = np.radians(incidence_deg.astype(np.float64))
    circumcircle = (radius + height) / np.sin(incidence)
    look = np.arcsin(radius / circumcircle)
    return (circumcircle * np.sin(incidence - look)).astype(np.float32)


def write_geometry(path: Path, geometry: Geometry, attributes: Mapping[str, str]) -> str:
    """Write ``geometryGeo.h5`` unless it is there already; return the file's SHA-256.

    The first product of a track decides; later ones differ by some metres of orbit, which MintPy ignores too.
    """
    if path.exists():
        _check_shape(path, geometry)
        return sha256_of(path)
    with file_aside(path) as aside:
        with h5py.File(aside, "w") as file:
            for name, array in (
                ("height", geometry.height_m),
                ("incidenceAngle", geometry.incidence_deg),
                ("azimuthAngle", geometry.azimuth_deg),
                ("slantRangeDistance", slant_range_m(geometry.incidence_deg, attributes)),
            ):
                file.create_dataset(name, data=array, track_times=False).attrs["UNIT"] = _UNITS[name]
            file.create_dataset("waterMask", data=geometry.land, track_times=False)
            kept = {key: value for key, value in attributes.items() if key not in _OF_A_PAIR}
            write_attributes(file, {**kept, "FILE_TYPE": "geometry", "NO_DATA_VALUE": "nan"})
        return sha256_of(aside)


def read_geometry(path: Path) -> Geometry:
    """Read ``geometryGeo.h5``."""
    with open_hdf5(path) as file:
        return Geometry(
            file["height"][:], file["incidenceAngle"][:], file["azimuthAngle"][:], file["waterMask"][:]
        )


_OF_A_PAIR = ("DATE12", "P_BASELINE_TOP_HDR", "P_BASELINE_BOTTOM_HDR")


def _wrap_degrees(angle: NDArray[np.floating]) -> NDArray[np.floating]:
    return (angle + 180.0) % 360.0 - 180.0


def _check_shape(path: Path, geometry: Geometry) -> None:
    with open_hdf5(path) as file:
        shape = file["height"].shape
    if shape != geometry.height_m.shape:
        raise BadInputError(
            f"{path} has {shape} pixels, the new geometry {geometry.height_m.shape}; a track's grid never changes. "
            "Give the changed grid a track folder of its own"
        )
