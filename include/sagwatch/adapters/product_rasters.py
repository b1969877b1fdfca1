"""Reads a product's rasters onto the track's grid, in whole pixels, and refuses what does not fit.

MintPy checks neither origin nor projection nor values of what it stacks; nothing that passed here needs it to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sagwatch.domain.grid import Grid
from sagwatch.errors import BadProductError

#: A product that covers less of the track's grid is not of this place.
LEAST_COVERED = 0.5
#: The first product of a track gives its geometry for good; holes of the height model are tolerated, no more.
MOST_WITHOUT_GEOMETRY = 0.5
#: No product of HyP3 has more pixels (a whole scene at 40 m has 25 million).
_LIMIT_PIXELS = 400_000_000
#: Lattices agree to a thousandth of a pixel, or they do not agree.
_LATTICE_TOLERANCE = 1e-3
_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
#: No side files, no network, no other format: a raster must not make the library open anything else.
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_MAX_RETRY": "0",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nothing",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_NUM_THREADS": "1",
}
#: Lowest and highest value that a layer can sensibly have. 10,000 radians are 44 m of motion.
_RANGES = {
    "unw_phase": (-1e4, 1e4),
    "corr": (0.0, 1.001),
    "dem": (-1000.0, 9500.0),
    "lv_theta": (0.0, np.pi / 2),
    "lv_phi": (-2 * np.pi, 2 * np.pi),
    "conncomp": (0.0, 32767.0),
    "water_mask": (0.0, 255.0),
}
_TYPES = {
    "conncomp": {"float32", "uint8", "uint16", "int16", "uint32"},
    "water_mask": {"uint8", "float32"},
    "dem": {"float32", "int16"},
}

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ClippedProduct:
    """A product's layers on the track's grid: float32, NaN outside of the product, HyP3's own 0 for "no data" inside.

    ``layers`` maps HyP3's layer names to arrays of the grid's shape.
    """

    layers: Mapping[str, FloatArray]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels with phase and coherence."""
        phase, coherence = self.layers["unw_phase"], self.layers["corr"]
        return np.isfinite(phase) & (phase != 0) & (np.nan_to_num(coherence) > 0)

    @property
    def land(self) -> NDArray[np.bool_]:
        """Pixels that are not water; all, if the product has no mask."""
        mask = self.layers.get("water_mask")
        return np.ones(self.layers["corr"].shape, bool) if mask is None else mask == 1

    @property
    def mean_coherence(self) -> float:
        """Mean coherence of the valid pixels on land, 0 to 1."""
        chosen = self.layers["corr"][self.valid & self.land]
        return float(chosen.mean(dtype=np.float64)) if chosen.size else 0.0

    @property
    def valid_fraction(self) -> float:
        return float(self.valid.mean())


@dataclass(frozen=True, slots=True)
class _Placement:
    """Where a raster lies on the grid, in whole pixels."""

    column: int
    row: int
    width: int
    height: int


def clip_product(layers: Mapping[str, Path], grid: Grid) -> ClippedProduct:
    """Read all layers of a product onto the grid.

    Raises
    ------
    BadProductError
        A raster is damaged, of another projection, pixel or lattice, of another size than the others, has impossible
        values, or the product covers less than half of the grid, has no valid pixel on it, or no geometry for them.
    """
    clipped: dict[str, FloatArray] = {}
    phase_place: _Placement | None = None
    with rasterio.Env(**_GDAL):
        for layer in sorted(layers, key=lambda name: name != "unw_phase"):
            place, values = _read(layer, layers[layer], grid)
            if phase_place is None:
                phase_place = place
                _refuse_little_cover(place, grid)
            _refuse_other_extent(layer, place, phase_place)
            _refuse_impossible_values(layer, values)
            clipped[layer] = values
    product = ClippedProduct(clipped)
    if not product.valid.any():
        raise BadProductError("no pixel of the grid has both phase and coherence")
    _refuse_no_geometry(product)
    return product


def _read(layer: str, path: Path, grid: Grid) -> tuple[_Placement, FloatArray]:
    with path.open("rb") as file:
        if file.read(4) not in _MAGIC:
            raise BadProductError(f"{layer} is not a GeoTIFF")
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            place = _placement(layer, raster, grid)
            return place, _clip(raster, place, grid)
    except (RasterioError, ValueError) as problem:
        raise BadProductError(f"{layer} cannot be read: {problem}") from problem


def _placement(layer: str, raster: rasterio.DatasetReader, grid: Grid) -> _Placement:
    allowed = _TYPES.get(layer, {"float32"})
    if raster.count != 1 or raster.dtypes[0] not in allowed:
        raise BadProductError(
            f"{layer} has {raster.count} bands of {raster.dtypes[0]}, not one of {sorted(allowed)}"
        )
    if raster.width * raster.height > _LIMIT_PIXELS:
        raise BadProductError(f"{layer} has {raster.width} x {raster.height} pixels")
    epsg = raster.crs.to_epsg() if raster.crs else None
    if epsg != grid.epsg:
        raise BadProductError(f"{layer} is in EPSG:{epsg}, the track's grid in EPSG:{grid.epsg}")
    step = raster.transform
    if (step.b, step.d) != (0, 0) or abs(step.a - grid.pixel_m) > 1e-6 or abs(step.e + grid.pixel_m) > 1e-6:
        raise BadProductError(
            f"{layer} has pixels of {step.a:g} x {step.e:g} m, the grid {grid.pixel_m:g} m north up"
        )
    column, row = (step.c - grid.west) / grid.pixel_m, (grid.north - step.f) / grid.pixel_m
    if abs(column - round(column)) > _LATTICE_TOLERANCE or abs(row - round(row)) > _LATTICE_TOLERANCE:
        raise BadProductError(
            f"{layer} lies {column - round(column):+.3f}, {row - round(row):+.3f} pixels off the track's lattice"
        )
    return _Placement(round(column), round(row), raster.width, raster.height)


def _clip(raster: rasterio.DatasetReader, place: _Placement, grid: Grid) -> FloatArray:
    """The part of a raster that lies on the grid; NaN where the grid reaches beyond it."""
    values = np.full(grid.shape, np.nan, np.float32)
    left, top = max(place.column, 0), max(place.row, 0)
    right, bottom = min(place.column + place.width, grid.columns), min(place.row + place.height, grid.rows)
    if left < right and top < bottom:
        window = Window(left - place.column, top - place.row, right - left, bottom - top)
        values[top:bottom, left:right] = raster.read(1, window=window)
    return values


def _refuse_little_cover(place: _Placement, grid: Grid) -> None:
    columns = min(place.column + place.width, grid.columns) - max(place.column, 0)
    rows = min(place.row + place.height, grid.rows) - max(place.row, 0)
    covered = max(columns, 0) * max(rows, 0) / grid.pixels
    if covered < LEAST_COVERED:
        raise BadProductError(
            f"it covers {covered:.0%} of the track's grid, at least {LEAST_COVERED:.0%} are needed"
        )


def _refuse_no_geometry(product: ClippedProduct) -> None:
    """Heights and look vectors are files of their own, which may be there and hold nothing."""
    for layer, nothing in (("dem", np.nan), ("lv_theta", 0.0), ("lv_phi", np.nan)):
        values = product.layers[layer][product.valid]
        lacking = float(np.mean(np.isnan(values) | (values == nothing)))
        if lacking > MOST_WITHOUT_GEOMETRY:
            raise BadProductError(f"{layer} has no value for {lacking:.0%} of the pixels that have phase")


def _refuse_other_extent(layer: str, place: _Placement, phase: _Placement) -> None:
    """All layers are of one size; a real water mask has been seen one column wider."""
    slack = 1 if layer == "water_mask" else 0
    same_origin = (place.column, place.row) == (phase.column, phase.row)
    same_size = 0 <= place.width - phase.width <= slack and 0 <= place.height - phase.height <= slack
    if not (same_origin and same_size):
        raise BadProductError(
            f"{layer} has {place.width} x {place.height} pixels from {place.column}, {place.row} on; "
            f"the phase {phase.width} x {phase.height} from {phase.column}, {phase.row}"
        )


def _refuse_impossible_values(layer: str, values: FloatArray) -> None:
    seen = values[~np.isnan(values)]
    if not seen.size:
        return
    lowest, highest = float(seen.min()), float(seen.max())
    least, most = _RANGES[layer]
    if lowest < least or highest > most or not np.isfinite([lowest, highest]).all():
        raise BadProductError(
            f"{layer} has values from {lowest:g} to {highest:g}, possible are {least:g} to {most:g}"
        )
