"""Read a folder of existing HyP3 products: what each zip says about itself, by its name and its parameter file.

Nothing is believed that the zip does not say: a file that is not a whole zip, has another name than HyP3 gives, or
lacks what is needed is left out, with the reason.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from math import isnan, nan
from pathlib import Path

from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds

_COMMON_END = r"_INT(?P<pixel>\d{2,3})"
NAME_PATTERNS = {
    "INSAR_GAMMA": re.compile(
        r"^S1[ABCD]{2}_(?P<first>\d{8})T\d{6}_(?P<second>\d{8})T\d{6}_[VH]{2}[PRO]\d{3}"
        + _COMMON_END
        + r"_G_.{3}_\w{4}$"
    ),
    "INSAR_ISCE_BURST": re.compile(
        r"^S1_\d{6}_IW\d_(?P<first>\d{8})_(?P<second>\d{8})_[VH]{2}" + _COMMON_END + r"_\w{4}$"
    ),
    "INSAR_ISCE_MULTI_BURST": re.compile(
        r"^S1_\d{3}_\d{6}s1n\d{2}-\d{6}s2n\d{2}-\d{6}s3n\d{2}_IW_(?P<first>\d{8})_(?P<second>\d{8})_[VH]{2}"
        + _COMMON_END
        + r"_\w{4}$"
    ),
}
LOOKS_OF_PIXEL = {"80": "20x4", "40": "10x2", "20": "5x1"}


class UnusableZipError(ValueError):
    """A zip that cannot be served; the text says why."""


@dataclass(frozen=True)
class ArchivedProduct:
    """One zip of the folder."""

    file: Path
    job_type: str
    looks: str
    references: tuple[str, ...]
    secondaries: tuple[str, ...]
    reference_orbit: int
    secondary_orbit: int
    direction: str
    heading_deg: float
    baseline_m: float
    slant_range_m: float
    bounds: tuple[float, float, float, float]

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def days(self) -> tuple[date, date]:
        return granule_time(self.references[0]).date(), granule_time(self.secondaries[0]).date()


def granule_time(granule: str) -> datetime:
    """The time in the name of a burst or a scene, UTC."""
    parts = granule.split("_")
    stamp = parts[3] if granule.endswith("-BURST") else parts[5]
    return datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%S%z")


def places(granules: tuple[str, ...] | list[str]) -> frozenset[str]:
    """Burst number and swath of each burst; empty for scenes."""
    return frozenset("_".join(g.split("_")[1:3]) for g in granules if g.endswith("-BURST"))


def read_archive(folder: Path) -> tuple[list[ArchivedProduct], dict[str, str]]:
    """All usable products of a folder, by name, and the reasons for those left out."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder of product zips")
    usable, left_out = [], {}
    for file in sorted(folder.glob("*.zip")):
        try:
            usable.append(read_product(file))
        except UnusableZipError as error:
            left_out[file.name] = str(error)
    if not usable:
        raise ValueError(f"{folder} holds no usable HyP3 product zip: {left_out or 'no *.zip at all'}")
    return usable, left_out


def read_product(file: Path) -> ArchivedProduct:
    """Read one zip.

    Raises
    ------
    UnusableZipError
        Says what is wrong.
    """
    job_type, looks = _kind(file.stem)
    try:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(f"{file.stem}/{file.stem}.txt").decode("utf-8")
            raster = archive.read(f"{file.stem}/{file.stem}_unw_phase.tif")
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UnusableZipError(f"not a whole zip: {error}") from error
    except KeyError as error:
        raise UnusableZipError(f"a member is missing: {error.args[0]}") from error
    except UnicodeDecodeError as error:
        raise UnusableZipError("the parameter file is not text") from error
    return _product(file, job_type, looks, _parameters(text), _bounds(raster))


def _kind(name: str) -> tuple[str, str]:
    for job_type, pattern in NAME_PATTERNS.items():
        match = pattern.match(name)
        if match:
            looks = LOOKS_OF_PIXEL.get(match["pixel"])
            if looks is None:
                raise UnusableZipError(f"pixel size {match['pixel']} m is not one of HyP3's")
            return job_type, looks
    raise UnusableZipError("the name is not that of a HyP3 interferogram")


def _parameters(text: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _product(
    file: Path,
    job_type: str,
    looks: str,
    said: dict[str, str],
    bounds: tuple[float, float, float, float],
) -> ArchivedProduct:
    try:
        product = ArchivedProduct(
            file=file,
            job_type=job_type,
            looks=looks,
            references=tuple(said["Reference Granule"].replace(" ", "").split(",")),
            secondaries=tuple(said["Secondary Granule"].replace(" ", "").split(",")),
            reference_orbit=int(said["Reference Orbit Number"]),
            secondary_orbit=int(said["Secondary Orbit Number"]),
            direction=said["Reference Pass Direction"],
            heading_deg=float(said["Heading"]),
            baseline_m=float(said.get("Baseline", nan)),
            slant_range_m=float(said["Slant range center"]),
            bounds=bounds,
        )
        named = NAME_PATTERNS[job_type].match(file.stem)
        assert named is not None
        if tuple(f"{day:%Y%m%d}" for day in product.days) != (named["first"], named["second"]):
            raise UnusableZipError(f"name and parameter file disagree about the dates: {product.days}")
    except KeyError as error:
        raise UnusableZipError(f"the parameter file lacks {error}") from error
    except (ValueError, IndexError) as error:
        raise UnusableZipError(f"the parameter file cannot be understood: {error}") from error
    if product.direction not in ("ASCENDING", "DESCENDING") or isnan(product.heading_deg):
        raise UnusableZipError(f"the parameter file names no flight direction: {product.direction}")
    return product


def _bounds(raster: bytes) -> tuple[float, float, float, float]:
    try:
        with MemoryFile(raster) as memory, memory.open() as data:
            west, south, east, north = transform_bounds(data.crs, 4326, *data.bounds)
            return west, south, east, north
    except RasterioError as error:
        raise UnusableZipError(f"the unwrapped phase is not a raster: {error}") from error
