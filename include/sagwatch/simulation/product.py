"""HyP3's product zips over the simulated ground: names, members, parameter file, rasters.

The pixels depend on the scenario's seed, the pair, the looks and the processor only; the four hexadecimal digits at the
end of the name come from the job, as in HyP3 every rerun of a pair has another name.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from sagwatch.domain.grid import Grid

from .granule import Granule
from .ground import Interferogram, area, generator, height_m, interferogram
from .orbit import slant_range_m
from .scenario import Scenario, Track
from .world import Made, Order

MOST_EXTRA_PIXELS = 3
SPACECRAFT_HEIGHT_M = 693_000.0
EARTH_RADIUS_M = 6_337_286.638938101


@dataclass(frozen=True)
class Looks:
    """HyP3 writes range looks x azimuth looks."""

    range: int
    azimuth: int

    @classmethod
    def parse(cls, text: str) -> Looks:
        in_range, in_azimuth = text.split("x")
        return cls(int(in_range), int(in_azimuth))

    @property
    def pixel_m(self) -> int:
        return max(self.range, 5 * self.azimuth) * 4


@dataclass(frozen=True)
class _Pair:
    """Everything a product says about itself."""

    scenario: Scenario
    track: Track
    order: Order
    looks: Looks
    references: Sequence[Granule]
    secondaries: Sequence[Granule]

    @property
    def reference(self) -> Granule:
        return min(self.references, key=lambda g: g.acquired)

    @property
    def secondary(self) -> Granule:
        return max(self.secondaries, key=lambda g: g.acquired)

    def option(self, name: str) -> bool:
        return bool(self.order.parameters.get(name, False))


def make_product(
    scenario: Scenario,
    order: Order,
    references: Sequence[Granule],
    secondaries: Sequence[Granule],
    folder: Path,
) -> Made:
    """Write the zip of an order into a folder, all or nothing."""
    track = scenario.track(references[0].path)
    pair = _Pair(scenario, track, order, Looks.parse(order.looks), references, secondaries)
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


# --- names -----------------------------------------------------------------------------------------------------------


def product_name(pair: _Pair) -> str:
    """The name HyP3 gives a product of this order."""
    return _NAMES[pair.order.job_type](pair, pair.order.job_id.replace("-", "")[:4].upper())


def _multi_burst_name(pair: _Pair, suffix: str) -> str:
    parts = []
    for swath in (1, 2, 3):
        numbers = sorted(
            int(g.burst_id[4:10]) for g in pair.references if g.burst_id and g.burst_id[-1] == str(swath)
        )
        lowest = numbers[0] if numbers else 0
        parts.append(f"{lowest:06d}s{swath}n{len(numbers):02d}")
    return (
        f"S1_{pair.track.path:03d}_{'-'.join(parts)}_IW_{pair.reference.acquired:%Y%m%d}_"
        f"{pair.secondary.acquired:%Y%m%d}_{pair.reference.polarization}_INT{pair.looks.pixel_m}_{suffix}"
    )


def _single_burst_name(pair: _Pair, suffix: str) -> str:
    assert pair.reference.burst_id is not None
    return (
        f"S1_{pair.reference.burst_id[4:]}_{pair.reference.acquired:%Y%m%d}_{pair.secondary.acquired:%Y%m%d}_"
        f"{pair.reference.polarization}_INT{pair.looks.pixel_m}_{suffix}"
    )


def _gamma_name(pair: _Pair, suffix: str) -> str:
    days = abs((pair.secondary.acquired.date() - pair.reference.acquired.date()).days)
    masked = "w" if pair.option("apply_water_mask") else "u"
    return (
        f"S1{pair.reference.platform[2]}{pair.secondary.platform[2]}_{pair.reference.acquired:%Y%m%dT%H%M%S}_"
        f"{pair.secondary.acquired:%Y%m%dT%H%M%S}_VVP{days:03d}_INT{pair.looks.pixel_m}_G_{masked}eF_{suffix}"
    )


_NAMES: dict[str, Callable[[_Pair, str], str]] = {
    "INSAR_ISCE_MULTI_BURST": _multi_burst_name,
    "INSAR_ISCE_BURST": _single_burst_name,
    "INSAR_GAMMA": _gamma_name,
}


# --- members ---------------------------------------------------------------------------------------------------------


def _members(pair: _Pair, name: str) -> Iterator[tuple[str, bytes]]:
    full, window = _grids(pair)
    nominal_looks = pair.looks.range * pair.looks.azimuth
    first, second = pair.reference.acquired.date(), pair.secondary.acquired.date()
    made = interferogram(pair.scenario, pair.track.path, first, second, nominal_looks, full)
    cut = _cut(full, window)
    for layer, values in _layers(pair, made, full).items():
        yield f"{name}_{layer}.tif", geotiff(values[cut], window, gamma=pair.order.job_type == "INSAR_GAMMA")
    yield f"{name}_unw_phase.png", _browse(made.unwrapped_rad[cut])
    yield f"{name}.txt", parameter_file(pair).encode()
    dot = "." if pair.order.job_type == "INSAR_GAMMA" else "_"
    yield f"{name}{dot}README.md.txt", _readme(pair, name).encode()


def _grids(pair: _Pair) -> tuple[Grid, Grid]:
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


def _layers(pair: _Pair, made: Interferogram, grid: Grid) -> dict[str, NDArray[Any]]:
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
        layers["los_disp"] = (unwrapped * np.float32(-0.0554657 / (4 * np.pi))).astype(np.float32)
    return layers


def look_vectors(track: Track, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """HyP3's ``lv_theta`` and ``lv_phi``: direction from the ground to the satellite, radians.

    ``lv_theta`` is the elevation above the horizontal; ``lv_phi`` counts from east, counter-clockwise. The incidence
    grows with ground range by ``cos(i) / slant range + 1 / earth radius``.
    """
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    incidence, look_azimuth = np.radians(track.incidence_deg), np.radians(track.heading_deg + 90.0)
    ground_range_m = (x - x.mean())[None, :] * np.sin(look_azimuth) + (y - y.mean())[:, None] * np.cos(
        look_azimuth
    )
    per_metre = np.cos(incidence) / slant_range_m(track.incidence_deg) + 1.0 / 6_371_000.0
    theta = np.pi / 2 - (incidence + ground_range_m * per_metre)
    toward_satellite = np.radians(-180.0 - track.heading_deg)
    phi = np.angle(np.exp(1j * toward_satellite)) + ground_range_m * 2e-8
    return theta.astype(np.float32), phi.astype(np.float32)


def _amplitude(pair: _Pair, made: Interferogram) -> NDArray[np.float32]:
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
    with MemoryFile() as memory:
        height, width = angle.shape
        with memory.open(driver="PNG", width=width, height=height, count=3, dtype="uint8") as picture:
            picture.write(np.stack(bands).astype(np.uint8))
        return bytes(memory.read())


# --- text ------------------------------------------------------------------------------------------------------------


def parameter_file(pair: _Pair) -> str:
    """The parameter file, key for key and in HyP3's order; readers split it at the first colon of each line."""
    lines = _common_parameters(pair)
    if pair.order.job_type == "INSAR_GAMMA":
        lines |= _gamma_parameters(pair)
    elif pair.order.job_type == "INSAR_ISCE_BURST":
        lines |= _radar_parameters(pair)
    return "\n".join(f"{key}: {value}" for key, value in lines.items()) + "\n"


def _common_parameters(pair: _Pair) -> dict[str, str]:
    start = pair.reference.acquired
    seconds = start.hour * 3600 + start.minute * 60 + start.second + 0.201944
    centre_m = slant_range_m(pair.track.incidence_deg)
    baseline = pair.secondary.baseline_m - pair.reference.baseline_m
    gamma = pair.order.job_type == "INSAR_GAMMA"
    lines = {
        "Reference Granule": ", ".join(g.name for g in pair.references),
        "Secondary Granule": ", ".join(g.name for g in pair.secondaries),
        "Reference Pass Direction": pair.track.direction,
        "Reference Orbit Number": str(pair.reference.orbit),
        "Secondary Pass Direction": pair.track.direction,
        "Secondary Orbit Number": str(pair.secondary.orbit),
        "Baseline": f"{baseline:.4f}" if gamma else repr(round(baseline, 10)),
        "UTC time": f"{seconds:.6f}",
        "Heading": repr(pair.track.heading_deg),
        "Spacecraft height": "705239.4" if gamma else repr(SPACECRAFT_HEIGHT_M),
        "Earth radius at nadir": "6370012.38" if gamma else repr(EARTH_RADIUS_M),
        "Slant range near": repr(centre_m - 28_533.5),
        "Slant range center": repr(centre_m),
        "Slant range far": repr(centre_m + 28_533.5),
        "Range looks": str(pair.looks.range),
        "Azimuth looks": str(pair.looks.azimuth),
    }
    if gamma:
        return lines
    return lines | {
        "INSAR phase filter": "yes",
        "Phase filter parameter": "0.5",
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": "GLO_30",
        "DEM resolution (m)": "30",
        "Unwrapping type": "snaphu_mcf",
        "Speckle filter": "yes",
        "Water mask": "yes" if pair.option("apply_water_mask") else "no",
    }


def _gamma_parameters(pair: _Pair) -> dict[str, str]:
    strength = float(pair.order.parameters.get("phase_filter_parameter", 0.6))
    return {
        "INSAR phase filter": "adf" if strength else "none",
        "Phase filter parameter": str(strength),
        "Resolution of output (m)": str(pair.looks.pixel_m),
        "Range bandpass filter": "no",
        "Azimuth bandpass filter": "no",
        "DEM source": "GLO-30",
        "DEM resolution (m)": str(2 * pair.looks.pixel_m),
        "Unwrapping type": "mcf",
        "Phase at reference point": "0.0",
        "Azimuth line of the reference point in SAR space": "0.0",
        "Range pixel of the reference point in SAR space": "0.0",
        "Y coordinate of the reference point in the map projection": "0.0",
        "X coordinate of the reference point in the map projection": "0.0",
        "Latitude of the reference point (WGS84)": "0.0",
        "Longitude of the reference point (WGS84)": "0.0",
        "Unwrapping threshold": "none",
        "Speckle filter": "no",
    }


def _radar_parameters(pair: _Pair) -> dict[str, str]:
    lines, samples = 1504 // pair.looks.azimuth, 25380 // pair.looks.range
    return {
        "Radar n lines": str(lines),
        "Radar n samples": str(samples),
        "Radar first valid line": "7",
        "Radar n valid lines": str(lines - 13),
        "Radar first valid sample": "23",
        "Radar n valid samples": str(samples - 51),
        "Multilook azimuth time interval": repr(0.0020555563 * pair.looks.azimuth),
        "Multilook range pixel size": repr(2.329562114715323 * pair.looks.range),
        "Radar sensing stop": pair.reference.ends.replace(tzinfo=None).isoformat(),
    }


def _readme(pair: _Pair, name: str) -> str:
    return (
        f"{name}\n\n"
        "This product was made by Sagwatch's simulated cloud. Its layout follows ASF HyP3; its ground, atmosphere and\n"
        f"noise are invented (scenario {pair.scenario.name}, seed {pair.scenario.seed}). Not a measurement.\n"
    )
