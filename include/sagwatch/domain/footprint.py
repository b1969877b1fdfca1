"""A set of pixels of a grid, as runs: what a zone covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import transform, union_all
from shapely.geometry import MultiPolygon, box

from sagwatch.domain.grid import Grid


@dataclass(frozen=True, slots=True)
class Footprint:
    """Pixels numbered row by row, as (first, length) runs in rising order: the same set is the same value."""

    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, pixels: NDArray[np.integer]) -> Footprint:
        """From pixel numbers in any order."""
        ordered = np.unique(pixels)
        if ordered.size == 0:
            return cls(())
        first = np.concatenate([[0], np.flatnonzero(np.diff(ordered) > 1) + 1])
        length = np.diff(np.concatenate([first, [ordered.size]]))
        return cls(tuple(zip(ordered[first].tolist(), length.tolist(), strict=True)))

    @classmethod
    def from_json(cls, runs: Sequence[Sequence[int]]) -> Footprint:
        return cls(tuple((int(first), int(length)) for first, length in runs))

    def to_json(self) -> list[list[int]]:
        return [list(run) for run in self.runs]

    @property
    def pixels(self) -> NDArray[np.int64]:
        if not self.runs:
            return np.empty(0, dtype=np.int64)
        return np.concatenate([np.arange(first, first + length) for first, length in self.runs])

    @property
    def size(self) -> int:
        return sum(length for _, length in self.runs)


def centroid_m(pixels: NDArray[np.integer], grid: Grid) -> tuple[float, float]:
    """Mean easting and northing of pixel centres, metres."""
    rows, columns = np.divmod(pixels, grid.columns)
    x, y = grid.xy(rows, columns)
    return float(np.mean(x)), float(np.mean(y))


def centroid_lon_lat(pixels: NDArray[np.integer], grid: Grid) -> tuple[float, float]:
    """Mean place of the pixels, degrees WGS84."""
    longitude, latitude = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform(
        *centroid_m(pixels, grid)
    )
    return float(longitude), float(latitude)


def outline(footprint: Footprint, grid: Grid) -> MultiPolygon:
    """The pixels' outer and inner edges, exactly, as longitude and latitude (WGS84)."""
    boxes = []
    for first, length in footprint.runs:
        # A run of pixel numbers may go round the end of a row.
        while length > 0:
            row, column = divmod(first, grid.columns)
            here = min(length, grid.columns - column)
            boxes.append(_pixel_box(grid, row, column, here))
            first, length = first + here, length - here
    merged: Any = union_all(boxes).simplify(0)
    pieces = merged if isinstance(merged, MultiPolygon) else MultiPolygon([merged])
    to_degrees = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform
    return transform(pieces, to_degrees, interleaved=False)


def _pixel_box(grid: Grid, row: int, column: int, length: int) -> Any:
    west, north = grid.west + column * grid.pixel_m, grid.north - row * grid.pixel_m
    return box(west, north - grid.pixel_m, west + length * grid.pixel_m, north)


def connected_level(
    pixels: NDArray[np.integer], values: NDArray[np.floating], columns: int, least_pixels: int
) -> float:
    """The lowest value that at least ``least_pixels`` 8-connected pixels reach together; NaN if they never do.

    That is the bottom of an area closing of the field: one lone extreme pixel does not count, nine that touch do.
    Pixels join from the lowest value upwards until a group is large enough.
    """
    order = np.argsort(values, kind="stable")
    parent: dict[int, int] = {}
    size: dict[int, int] = {}

    def root(pixel: int) -> int:
        while parent[pixel] != pixel:
            parent[pixel] = parent[parent[pixel]]
            pixel = parent[pixel]
        return pixel

    for index in order:
        pixel = int(pixels[index])
        parent[pixel], size[pixel] = pixel, 1
        for neighbour in _neighbours(pixel, columns):
            if neighbour in parent:
                one, other = root(neighbour), root(pixel)
                if one != other:
                    parent[other] = one
                    size[one] += size[other]
        if size[root(pixel)] >= least_pixels:
            return float(values[index])
    return float("nan")


def _neighbours(pixel: int, columns: int) -> list[int]:
    """The up to eight neighbours (those above the first and below the last row are nobody's pixels)."""
    column = pixel % columns
    steps = [-1, 0, 1]
    if column == 0:
        steps.remove(-1)
    if column == columns - 1:
        steps.remove(1)
    return [pixel + down * columns + step for down in (-1, 0, 1) for step in steps if (down, step) != (0, 0)]
