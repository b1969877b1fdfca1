"""Write a site file for an archive of HyP3 products, so that it can be replayed through the whole way."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import rasterio
from pyproj import Transformer
from rasterio.warp import transform_bounds

from sagwatch.adapters.product_zip import unpack_product
from sagwatch.domain.frame import nominal_frame, relative_orbit_of_burst
from sagwatch.domain.grid import Grid
from sagwatch.domain.product import ProductName
from sagwatch.domain.site import PIXEL_M_BY_LOOKS
from sagwatch.engine.hyp3_attributes import parse_parameters, relative_orbit
from sagwatch.errors import BadInputError, BadProductError
from sagwatch.settings import ProductSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Archived:
    """What a site file needs to know of one product; ``extent`` is its raster."""

    name: ProductName
    relative_orbit: int
    direction: str
    bursts: tuple[str, ...]
    extent: Grid
    latitude: float

    @property
    def geometry(self) -> tuple[str, int, str, tuple[str, ...], str, float, int]:
        """All products of one track agree in this."""
        return (
            self.name.processor,
            self.relative_orbit,
            self.direction,
            self.bursts,
            self.name.polarisation,
            self.name.pixel_m,
            self.extent.epsg,
        )


def site_from_products(folder: Path, name: str) -> str:
    """Describe an archive as the text of a site file: its pairs, and the grid that all its products cover.

    Raises
    ------
    BadInputError
        The folder holds no usable product, or products of more than one track, or without a common area.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,40}", name):
        raise BadInputError(
            f"{name!r} is no site name: use small letters, digits and _, beginning with a letter"
        )
    products = _read_all(folder)
    tracks = {product.geometry for product in products}
    if len(tracks) > 1:
        found = "; ".join(sorted(" ".join(map(str, track)) for track in tracks))
        raise BadInputError(f"{folder} holds products of {len(tracks)} tracks; give each a folder: {found}")
    return _site_text(name, products, common_grid([product.extent for product in products]))


def common_grid(extents: Sequence[Grid]) -> Grid:
    """The part of a lattice that all extents cover."""
    first = extents[0]
    west, east = max(e.west for e in extents), min(e.east for e in extents)
    south, north = max(e.south for e in extents), min(e.north for e in extents)
    columns, rows = round((east - west) / first.pixel_m), round((north - south) / first.pixel_m)
    if columns < 3 or rows < 3:
        raise BadInputError("the products have no common area")
    return Grid(first.epsg, west, north, first.pixel_m, columns, rows)


def _read_all(folder: Path) -> list[Archived]:
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder of product zips")
    products = []
    for file in sorted(folder.glob("*.zip")):
        try:
            products.append(_read(file))
        except BadProductError as problem:
            log.warning("%s left out: %s", file.name, problem)
    if not products:
        raise BadInputError(f"{folder} holds no usable zip of a HyP3 interferogram")
    return products


def _read(file: Path) -> Archived:
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = unpack_product(file, Path(temporary), ProductSettings())
        with rasterio.open(unpacked.layers["unw_phase"], driver="GTiff") as raster:
            epsg = raster.crs.to_epsg() if raster.crs else None
            if epsg is None:
                raise BadProductError("its rasters have no coordinate system")
            try:
                step = raster.transform
                extent = Grid(epsg, step.c, step.f, step.a, raster.width, raster.height)
            except ValueError as problem:
                raise BadProductError(str(problem)) from problem
            bounds = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    name = ProductName.parse(unpacked.name)
    said = parse_parameters(unpacked.parameters_text)
    return Archived(
        name=name,
        relative_orbit=_relative_orbit(name, said),
        direction=_said(said, "Reference Pass Direction").lower(),
        bursts=_bursts(name, said),
        extent=extent,
        latitude=(bounds[1] + bounds[3]) / 2,
    )


def _said(parameters: dict[str, str], key: str) -> str:
    if key not in parameters:
        raise BadProductError(f"its parameter file lacks {key}")
    return parameters[key]


def _relative_orbit(name: ProductName, said: dict[str, str]) -> int:
    if name.relative_orbit is not None:
        return name.relative_orbit
    if name.processor == "INSAR_GAMMA":
        satellite = _said(said, "Reference Granule")[:3]
        return relative_orbit(satellite, int(_said(said, "Reference Orbit Number")))
    return relative_orbit_of_burst(int((name.bursts or "0")[:6]))


def _bursts(name: ProductName, said: dict[str, str]) -> tuple[str, ...]:
    if name.processor == "INSAR_GAMMA":
        return ()
    orbit = _relative_orbit(name, said)
    granules = [part.strip() for part in _said(said, "Reference Granule").split(",")]
    return tuple(sorted(f"{orbit:03d}_{'_'.join(granule.split('_')[1:3])}" for granule in granules))


def _site_text(name: str, products: Sequence[Archived], grid: Grid) -> str:
    first = products[0]
    looks = next(text for text, pixel_m in PIXEL_M_BY_LOOKS.items() if pixel_m == first.name.pixel_m)
    pairs = sorted({(p.name.reference, p.name.secondary) for p in products})
    place = (
        f"bursts: [{', '.join(first.bursts)}]"
        if first.bursts
        else f"frame: {nominal_frame(first.latitude, first.direction)}"
    )
    return f"""\
# Written from {len(products)} HyP3 products: `make run SITE={name} PRODUCTS=FOLDER` replays them.
# Worth adding by hand: a title, contacts, a reference point on stable ground, the licence area as boundary.
name: {name}
title: {name} (replay of {len(products)} products)
boundary:
  type: Polygon
  coordinates:
    - [{_ring(grid)}]
start: {min(first for first, _ in pairs)}

tracks:
  - name: t{first.relative_orbit:03d}{first.direction[0]}
    relative_orbit: {first.relative_orbit}
    direction: {first.direction}
    polarisation: {first.name.polarisation}
    {place}
    processor: {first.name.processor}
    looks: {looks}
    grid:
      epsg: {grid.epsg}
      west: {grid.west:.0f}
      north: {grid.north:.0f}
      pixel_m: {grid.pixel_m:g}
      columns: {grid.columns}
      rows: {grid.rows}

network:
  only:
{_pair_lines(pairs)}
"""


def _ring(grid: Grid) -> str:
    to_lon_lat = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    corners = [
        (grid.west, grid.north),
        (grid.east, grid.north),
        (grid.east, grid.south),
        (grid.west, grid.south),
    ]
    around = [to_lon_lat.transform(x, y) for x, y in [*corners, corners[0]]]
    return ", ".join(f"[{lon:.5f}, {lat:.5f}]" for lon, lat in around)


def _pair_lines(pairs: Sequence[tuple[date, date]]) -> str:
    return "\n".join(f"    - [{first}, {second}]" for first, second in pairs)
