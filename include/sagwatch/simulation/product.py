"""HyP3's product zips over the simulated ground: members and rasters.

The pixels depend on the scenario's seed, the pair, the looks, the processor and which orbits were out, and on nothing
else; the four hexadecimal digits at the end of the name come from the job, as in HyP3 every rerun of a pair has another
name.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile

from sagwatch.domain.grid import Grid

from .chance import generator
from .granule import Granule
from .ground import area, height_m
from .interferogram import PHASE_PER_METRE, Interferogram, interferogram
from .look import look_vectors
from .product_text import Looks, Pair, parameter_file, product_name, readme
from .scenario import Scenario
from .world import Made, Order

MOST_EXTRA_PIXELS = 3


def make_product(
    scenario: Scenario,
    order: Order,
    references: Sequence[Granule],
    secondaries: Sequence[Granule],
    folder: Path,
) -> Made:
    """Write the zip of an order into a folder, all or nothing."""
    track = scenario.track(references[0].path)
    pair = Pair(scenario, track, order, Looks.parse(order.looks), references, secondaries)
    name = product_name(pair)
    file = folder / f"{name}.zip"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_zip(file, name, _members(pair, name), pair.secondary.acquired)
    return Made(name, file)


def write_zip(file: Path, top: str, members: Iterator[tuple[str, bytes]], stamp: datetime) -> None:
    """Write a zip aside and rename it; equal members give equal bytes."""
    aside = file.with_suffix(".part")
    when = (stamp.year, stamp.month, stamp.day, 0, 0, 0)
    with aside.open("wb") as handle:
        with zipfile.ZipFile(handle, "w") as archive:
            for member, content in members:
                entry = zipfile.ZipInfo(f"{top}/{member}", when)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=1)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(file)


# --- members ---------------------------------------------------------------------------------------------------------


def _members(pair: Pair, name: str) -> Iterator[tuple[str, bytes]]:
    full, window = _grids(pair)
    nominal_looks = pair.looks.range * pair.looks.azimuth
    first, second = pair.reference.acquired.date(), pair.secondary.acquired.date()
    made = interferogram(pair.scenario, pair.track.path, first, second, nominal_looks, full, pair.restituted)
    cut = _cut(full, window)
    for layer, values in _layers(pair, made, full).items():
        yield f"{name}_{layer}.tif", geotiff(values[cut], window, gamma=pair.order.job_type == "INSAR_GAMMA")
    yield f"{name}_unw_phase.png", _browse(made.unwrapped_rad[cut])
    yield f"{name}.txt", parameter_file(pair).encode()
    dot = "." if pair.order.job_type == "INSAR_GAMMA" else "_"
    yield f"{name}{dot}README.md.txt", readme(pair, name).encode()


def _grids(pair: Pair) -> tuple[Grid, Grid]:
    """The lattice on which every pair of these looks is made, and the part of it that this product covers.

    Extents of real products of one track differ by some pixels; the area itself is always covered.
    """
    inner = area(pair.scenario, float(pair.looks.pixel_m))
    full = _grow(inner, MOST_EXTRA_PIXELS, MOST_EXTRA_PIXELS, MOST_EXTRA_PIXELS, MOST_EXTRA_PIXELS)
    words = (pair.scenario.seed, "extent", pair.track.path, pair.reference.acquired.date())
    rng = generator(*words, pair.secondary.acquired.date(), pair.looks.pixel_m)
    left, top, right, bottom = (int(n) for n in rng.integers(0, MOST_EXTRA_PIXELS + 1, 4))
    return full, _grow(inner, left, top, right, bottom)


def _grow(grid: Grid, left: int, top: int, right: int, bottom: int) -> Grid:
    return Grid(
        grid.epsg,
        grid.west - left * grid.pixel_m,
        grid.north + top * grid.pixel_m,
        grid.pixel_m,
        grid.columns + left + right,
        grid.rows + top + bottom,
    )


def _cut(full: Grid, window: Grid) -> tuple[slice, slice]:
    row = round((full.north - window.north) / full.pixel_m)
    column = round((window.west - full.west) / full.pixel_m)
    return slice(row, row + window.rows), slice(column, column + window.columns)


def _layers(pair: Pair, made: Interferogram, grid: Grid) -> dict[str, NDArray[Any]]:
    theta, phi = look_vectors(pair.track, grid)
    unwrapped = made.unwrapped_rad
    if pair.option("apply_water_mask"):
        unwrapped = np.where(made.land, unwrapped, np.float32(0))
    layers: dict[str, NDArray[Any]] = {
        "unw_phase": unwrapped,
        "corr": made.coherence,
        "amp": _amplitude(pair, made),
    }
    dem = height_m(pair.scenario, grid).astype(np.float32)
    land = made.land.astype(np.uint8)
    if pair.order.job_type != "INSAR_GAMMA":
        layers |= {"conncomp": made.components, "wrapped_phase": made.wrapped_rad, "dem": dem}
        layers |= {"lv_theta": theta, "lv_phi": phi}
        if pair.order.job_type == "INSAR_ISCE_BURST":
            del layers["amp"]
        if pair.order.job_type == "INSAR_ISCE_BURST" or pair.option("apply_water_mask"):
            layers["water_mask"] = land
        return layers
    layers["water_mask"] = land
    if pair.option("include_dem"):
        layers["dem"] = dem
    if pair.option("include_look_vectors"):
        layers |= {"lv_theta": theta, "lv_phi": phi}
    if pair.option("include_inc_map"):
        layers["inc_map"] = (np.pi / 2 - theta).astype(np.float32)
    if pair.option("include_wrapped_phase"):
        layers["wrapped_phase"] = made.wrapped_rad
    if pair.option("include_displacement_maps") or pair.option("include_los_displacement"):
        layers["los_disp"] = (unwrapped * np.float32(1.0 / PHASE_PER_METRE)).astype(np.float32)
    return layers


def _amplitude(pair: Pair, made: Interferogram) -> NDArray[np.float32]:
    rng = generator(pair.scenario.seed, "amplitude", pair.track.path, pair.secondary.acquired.date())
    speckle = rng.gamma(20.0, 1 / 20.0, made.coherence.shape)
    return (np.where(made.land, 0.35, 0.05) * speckle + 0.01).astype(np.float32)


def geotiff(values: NDArray[Any], grid: Grid, *, gamma: bool = False) -> bytes:
    """One band as HyP3 writes it: ISCE2 products tiled and LZW-compressed, GAMMA products plain."""
    layout: dict[str, Any] = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=grid.columns,
            height=grid.rows,
            count=1,
            dtype=values.dtype,
            crs=f"EPSG:{grid.epsg}",
            transform=Affine(grid.pixel_m, 0.0, grid.west, 0.0, -grid.pixel_m, grid.north),
            nodata=255 if values.dtype == np.uint8 else 0,
            **({} if gamma else layout),
        ) as raster:
            raster.update_tags(AREA_OR_POINT="Point" if gamma else "Area")
            raster.write(np.ascontiguousarray(values), 1)
        return bytes(memory.read())


def _browse(phase: NDArray[np.float32]) -> bytes:
    """A small colour picture of the phase, one colour circle per 2 pi."""
    step = max(1, max(phase.shape) // 512)
    angle = phase[::step, ::step]
    bands = [127.5 * (1 + np.cos(angle + shift)) for shift in (0.0, 2 * np.pi / 3, 4 * np.pi / 3)]
    picture = BytesIO()
    Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8)).save(picture, "PNG")
    return picture.getvalue()
