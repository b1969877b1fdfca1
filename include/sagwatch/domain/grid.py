"""The fixed lattice on which everything of a track lives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer


@lru_cache(maxsize=16)
def _to_lon_lat(epsg: int) -> Transformer:
    return Transformer.from_crs(epsg, 4326, always_xy=True)


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up raster lattice in whole pixels.

    ``west`` and ``north`` are the outer edges of the upper-left pixel in metres of ``epsg``; both are whole
    multiples of ``pixel_m``, as HyP3 aligns its products, so that clipping never resamples.
    """

    epsg: int
    west: float
    north: float
    pixel_m: float
    columns: int
    rows: int

    def __post_init__(self) -> None:
        if self.pixel_m <= 0 or self.columns < 1 or self.rows < 1:
            raise ValueError(f"a grid needs a positive pixel and at least one row and column: {self}")
        for name, edge in (("west", self.west), ("north", self.north)):
            if abs(edge / self.pixel_m - round(edge / self.pixel_m)) > 1e-6:
                raise ValueError(
                    f"{name} {edge} is not a whole multiple of the pixel of {self.pixel_m} m; "
                    f"use {round(edge / self.pixel_m) * self.pixel_m}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    @property
    def east(self) -> float:
        return self.west + self.columns * self.pixel_m

    @property
    def south(self) -> float:
        return self.north - self.rows * self.pixel_m

    @property
    def id(self) -> str:
        """The same lattice always has the same id, on every machine."""
        text = f"{self.epsg}:{self.west:.3f}:{self.north:.3f}:{self.pixel_m:.3f}:{self.columns}x{self.rows}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def xy(
        self, rows: NDArray[np.integer] | int, columns: NDArray[np.integer] | int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Projected easting and northing of pixel centres, metres."""
        x = self.west + (np.asarray(columns, dtype=np.float64) + 0.5) * self.pixel_m
        y = self.north - (np.asarray(rows, dtype=np.float64) + 0.5) * self.pixel_m
        return x, y

    def lon_lat(
        self, rows: NDArray[np.integer] | int, columns: NDArray[np.integer] | int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitude and latitude of pixel centres, degrees WGS84."""
        return _to_lon_lat(self.epsg).transform(*self.xy(rows, columns))

    def lon_lat_of_corners(self) -> tuple[list[float], list[float]]:
        """Longitudes and latitudes of the four outer corners, degrees WGS84."""
        xs = [self.west, self.east, self.west, self.east]
        ys = [self.north, self.north, self.south, self.south]
        longitudes, latitudes = _to_lon_lat(self.epsg).transform(xs, ys)
        return list(longitudes), list(latitudes)

    def row_column(self, longitude: float, latitude: float) -> tuple[int, int]:
        """The pixel that contains a place.

        Raises
        ------
        ValueError
            The place is outside the grid.
        """
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            raise ValueError(
                f"latitude {latitude:g}, longitude {longitude:g} is no place on Earth; are the two swapped?"
            )
        x, y = Transformer.from_crs(4326, self.epsg, always_xy=True).transform(longitude, latitude)
        row, column = int((self.north - y) // self.pixel_m), int((x - self.west) // self.pixel_m)
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise ValueError(
                f"{latitude:.5f} N, {longitude:.5f} E lies outside the grid of {self.columns} x {self.rows} pixels"
            )
        return row, column
