"""HyP3 products of a few hundred pixels, made in milliseconds, right or wrong in every way a test wants."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

NAME = "S1_011_000000s1n00-000000s2n00-021697s3n01_IW_20240101_20240113_VV_INT80_AB12"
REFERENCE = "S1_021697_IW3_20240101T103702_VV_1111-BURST"
SECONDARY = "S1_021697_IW3_20240113T103702_VV_2222-BURST"
PARAMETERS = {
    "Reference Granule": REFERENCE,
    "Secondary Granule": SECONDARY,
    "Reference Pass Direction": "ASCENDING",
    "Reference Orbit Number": "51883",
    "Secondary Pass Direction": "ASCENDING",
    "Secondary Orbit Number": "52058",
    "Baseline": "33.9",
    "UTC time": "38222.5",
    "Heading": "-12.6",
    "Spacecraft height": "693000.0",
    "Earth radius at nadir": "6337286.6",
    "Slant range near": "849199.2",
    "Slant range center": "877732.8",
    "Slant range far": "906266.5",
    "Range looks": "20",
    "Azimuth looks": "4",
    "Unwrapping type": "snaphu_mcf",
    "Water mask": "yes",
}
#: Outer edges of the product: 34 x 30 pixels of 80 m.
WEST, NORTH, PIXEL_M, COLUMNS, ROWS = 482240.0, 4142640.0, 80.0, 34, 30

Array = NDArray[Any]


def layers(columns: int = COLUMNS, rows: int = ROWS) -> dict[str, Array]:
    """Plausible layers; phase counts the pixels, so that a shifted one shows."""
    phase = np.arange(1, rows * columns + 1, dtype=np.float32).reshape(rows, columns) / 100
    return {
        "unw_phase": phase,
        "corr": np.full((rows, columns), 0.5, np.float32),
        "dem": np.full((rows, columns), 900, np.float32),
        "lv_theta": np.full((rows, columns), 0.83, np.float32),
        "lv_phi": np.full((rows, columns), 2.9, np.float32),
        "conncomp": np.ones((rows, columns), np.float32),
        "water_mask": np.ones((rows, columns), np.uint8),
    }


def geotiff(
    values: Array, west: float = WEST, north: float = NORTH, pixel_m: float = PIXEL_M, epsg: int = 32649
) -> bytes:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=values.shape[1],
            height=values.shape[0],
            count=1,
            dtype=values.dtype.name,
            crs=f"EPSG:{epsg}",
            transform=Affine(pixel_m, 0, west, 0, -pixel_m, north),
            nodata=0,
        ) as raster:
            raster.write(values, 1)
        return bytes(memory.read())


def parameter_text(**changes: str) -> str:
    return "".join(f"{key}: {value}\n" for key, value in (PARAMETERS | changes).items())


def members(name: str = NAME, **changes: Any) -> dict[str, bytes]:
    """All members of a right product, by full name; changes replace layers by arrays or by bytes, None leaves out."""
    chosen = layers() | changes
    found = {
        f"{name}/{name}_{layer}.tif": values if isinstance(values, bytes) else geotiff(values)
        for layer, values in chosen.items()
        if values is not None
    }
    found[f"{name}/{name}.txt"] = parameter_text().encode()
    found[f"{name}/{name}_README.md.txt"] = b"read me"
    found[f"{name}/{name}_unw_phase.png"] = b"\x89PNG"
    return found


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in content.items():
            archive.writestr(member, data)
    return buffer.getvalue()


def write_product(file: Path, content: dict[str, bytes] | None = None) -> Path:
    file.write_bytes(zipped(members() if content is None else content))
    return file
