"""The mine around a zone: what is near it, which face works under it, whether it lies inside the licence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from shapely import contains_xy, transform
from shapely.geometry import MultiPoint
from shapely.geometry.base import BaseGeometry

from sagwatch.domain.grid import Grid
from sagwatch.domain.mine_plan import Asset, Face
from sagwatch.domain.site import Site


@dataclass(frozen=True, slots=True)
class Place:
    """Where a zone lies in the mine; metres, 0 inside; ``axis_to_advance_deg`` from 0 (along) to 90 (across).

    ``inside_licence`` is about the zone's centre.
    """

    asset: str | None = None
    asset_m: float | None = None
    face: str | None = None
    face_m: float | None = None
    face_works: bool | None = None
    axis_to_advance_deg: float | None = None
    inside_licence: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """For SQL; what is not known is left out."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @property
    def words(self) -> str:
        """Sentences about the place, or nothing."""
        parts = []
        if self.face is not None and self.face_m is not None:
            works = "being worked" if self.face_works else "not being worked then"
            where = "over" if self.face_m < 1 else f"{self.face_m:.0f} m from"
            parts.append(f"{where} {self.face} ({works})")
        if self.axis_to_advance_deg is not None:
            parts.append(f"its axis {self.axis_to_advance_deg:.0f}° off the face's advance")
        if self.asset is not None and self.asset_m is not None:
            parts.append(f"{self.asset} {'in it' if self.asset_m < 1 else f'{self.asset_m:.0f} m away'}")
        if self.inside_licence is False:
            parts.append("its centre outside the licence area")
        return f"In the mine: {'; '.join(parts)}." if parts else ""


@dataclass(frozen=True, eq=False)
class Mine:
    """Assets, faces and licence in metres of a track's grid."""

    assets: tuple[tuple[Asset, BaseGeometry], ...] = ()
    faces: tuple[tuple[Face, BaseGeometry], ...] = ()
    licence: BaseGeometry | None = None
    grid: Grid | None = field(default=None)

    @classmethod
    def of(cls, site: Site, grid: Grid) -> Mine:
        """What the site's files say, on the grid of one of its tracks."""
        to_metres = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform

        def metres(shape: BaseGeometry) -> BaseGeometry:
            return transform(shape, to_metres, interleaved=False)

        return cls(
            tuple((asset, metres(asset.shape)) for asset in site.assets),
            tuple((face, metres(face.shape)) for face in site.faces),
            metres(site.polygon),
            grid,
        )

    def place(self, pixels: NDArray[np.int64], grid: Grid, day: date, axis_deg: float | None) -> Place:
        """Where an area lies. A face that works on that day comes before nearer ones that do not."""
        if self.licence is None and not self.assets and not self.faces:
            return Place()
        x, y = grid.xy(*np.divmod(pixels, grid.columns))
        area = MultiPoint(np.column_stack([x, y])[:: max(1, pixels.size // 400)])
        asset, asset_m = _nearest(area, self.assets)
        face, face_m = _nearest_face(area, self.faces, day)
        angle = None
        if axis_deg is not None and face is not None and face.advance_deg is not None:
            off = abs(axis_deg - face.advance_deg) % 180
            angle = round(min(off, 180 - off), 1)
        return Place(
            asset=None if asset is None else asset.name,
            asset_m=asset_m,
            face=None if face is None else face.name,
            face_m=face_m,
            face_works=None if face is None else face.works_on(day),
            axis_to_advance_deg=angle,
            inside_licence=None if self.licence is None else bool(self.licence.covers(area.centroid)),
        )

    def undermined(self, draw_m: float, grid: Grid) -> NDArray[np.bool_]:
        """Pixels within the draw of any face, past, present or planned; shape of the grid."""
        rows, columns = np.mgrid[: grid.rows, : grid.columns]
        x, y = grid.xy(rows, columns)
        found = np.zeros(grid.shape, dtype=bool)
        for _, shape in self.faces:
            found |= contains_xy(shape.buffer(draw_m), x, y)
        return found

    def licensed(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels inside the licence area; all where it is not known, shape of the grid."""
        if self.licence is None:
            return np.ones(grid.shape, dtype=bool)
        rows, columns = np.mgrid[: grid.rows, : grid.columns]
        inside: NDArray[np.bool_] = contains_xy(self.licence, *grid.xy(rows, columns))
        return inside

    def pixels_of(self, shape: BaseGeometry, grid: Grid) -> NDArray[np.int64]:
        """Pixels within one and a half pixels of an asset."""
        near = shape.buffer(1.5 * grid.pixel_m)
        west, south, east, north = near.bounds
        rows = np.arange(
            max(0, int((grid.north - north) // grid.pixel_m)),
            min(grid.rows, int((grid.north - south) // grid.pixel_m) + 1),
        )
        columns = np.arange(
            max(0, int((west - grid.west) // grid.pixel_m)),
            min(grid.columns, int((east - grid.west) // grid.pixel_m) + 1),
        )
        if not rows.size or not columns.size:
            return np.empty(0, dtype=np.int64)
        row, column = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
        x, y = grid.xy(row, column)
        inside = contains_xy(near, x, y)
        return (row * grid.columns + column)[inside].astype(np.int64)


def _nearest(
    area: BaseGeometry, things: Sequence[tuple[Any, BaseGeometry]]
) -> tuple[Any | None, float | None]:
    if not things:
        return None, None
    distances = [(float(shape.distance(area)), thing.name) for thing, shape in things]
    index = distances.index(min(distances))
    return things[index][0], round(distances[index][0], 1)


#: A face that is being worked counts as the nearest from this far away.
_UNDER_M = 1000.0


def _nearest_face(
    area: BaseGeometry, faces: Sequence[tuple[Face, BaseGeometry]], day: date
) -> tuple[Face | None, float | None]:
    working = [(face, shape) for face, shape in faces if face.works_on(day)]
    face, metres = _nearest(area, working)
    if face is not None and metres is not None and metres <= _UNDER_M:
        return face, metres
    return _nearest(area, faces)
