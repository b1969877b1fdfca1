"""From a HyP3 product's name and parameter file to the attributes that MintPy's files carry.

The result equals what MintPy's own ``prep_hyp3`` writes beside a raster of the product, clipped to the track's grid;
a test holds the two together. It is made here because MintPy reads rasters through a library that its own package
does not bring, and because it needs a writable product folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from sagwatch.domain.grid import Grid
from sagwatch.errors import BadProductError

SPEED_OF_LIGHT_M_S = 299792458.0
CARRIER_FREQUENCY_HZ = 5.405e9
WAVELENGTH_M = SPEED_OF_LIGHT_M_S / CARRIER_FREQUENCY_HZ
RANGE_PIXEL_M = 2.3
AZIMUTH_PIXEL_M = 14.1
ORBITS_PER_CYCLE = 175
LAST_ABSOLUTE_ORBIT_OF_S1C_BEFORE_ITS_MOVE = 8018

_BURST = re.compile(
    r"S1_\d{6}_IW(?P<swath>[123])_(?P<first>\d{8})_(?P<second>\d{8})_(VV|HH)_INT\d{2}_[0-9A-F]{4}"
)
_MULTI_BURST = re.compile(
    r"S1_\d{3}_(?P<swaths>\d{6}s1n\d{2}-\d{6}s2n\d{2}-\d{6}s3n\d{2})_IW"
    r"_(?P<first>\d{8})_(?P<second>\d{8})_(VV|HH)_INT\d{2}_[0-9A-F]{4}"
)
_GAMMA = re.compile(
    r"S1[ABCD]{2}_(?P<first>\d{8})T\d{6}_(?P<second>\d{8})T\d{6}"
    r"_(VV|HH)[PRO]\d{3,4}_INT\d{2}_G_[uw][ec][123F]_[0-9A-F]{4}"
)
_COPIED = {
    "CENTER_LINE_UTC": "UTC time",
    "ALOOKS": "Azimuth looks",
    "RLOOKS": "Range looks",
    "EARTH_RADIUS": "Earth radius at nadir",
    "HEIGHT": "Spacecraft height",
    "STARTING_RANGE": "Slant range near",
    "unwrap_method": "Unwrapping type",
    "P_BASELINE_TOP_HDR": "Baseline",
    "P_BASELINE_BOTTOM_HDR": "Baseline",
}


def parse_parameters(text: str) -> dict[str, str]:
    """Read a product's parameter file: one ``Key: value`` on each line; other lines are passed over."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def product_attributes(product: str, parameters: Mapping[str, str], grid: Grid) -> dict[str, str]:
    """Return MintPy's attributes of an interferogram of a product on the track's grid.

    Parameters
    ----------
    product
        The product's name, which is also its folder's and the beginning of every file in it.
    parameters
        As `parse_parameters` returns them.

    Raises
    ------
    BadProductError
        The name is not one of HyP3's, or the file lacks a parameter.
    """
    name = _match_name(product)
    missing = sorted({key for key in (*_COPIED.values(), "Heading") if key not in parameters})
    if missing:
        raise BadProductError(f"{product}.txt lacks {', '.join(missing)}; order the interferogram again")
    attributes = grid_attributes(grid)
    # MintPy drops every blank and all that follows a second colon.
    attributes |= {
        ours: parameters[theirs].replace(" ", "").split(":")[0] for ours, theirs in _COPIED.items()
    }
    heading_deg = _number(product, parameters, "Heading") % 360.0 - 360.0
    ascending = abs(heading_deg) < 90
    attributes |= {
        "PROCESSOR": "hyp3",
        "PLATFORM": "Sen",
        "ANTENNA_SIDE": "-1",
        "beam_mode": "IW",
        "HEADING": str(heading_deg),
        "ORBIT_DIRECTION": "ASCENDING" if ascending else "DESCENDING",
        "WAVELENGTH": str(WAVELENGTH_M),
        "RANGE_PIXEL_SIZE": str(RANGE_PIXEL_M * int(_number(product, parameters, "Range looks"))),
        "AZIMUTH_PIXEL_SIZE": str(AZIMUTH_PIXEL_M * int(_number(product, parameters, "Azimuth looks"))),
        "DATE12": f"{name['first'][2:]}-{name['second'][2:]}",
    }
    attributes |= _corners(grid, ascending)
    return attributes | _beam(product, name, parameters)


def grid_attributes(grid: Grid) -> dict[str, str]:
    """Return where a raster of the grid lies, in MintPy's words (UTM: lengths in metres)."""
    return {
        "WIDTH": str(grid.columns),
        "LENGTH": str(grid.rows),
        "FILE_LENGTH": str(grid.rows),
        "BANDS": "1",
        "DATA_TYPE": "float32",
        "INTERLEAVE": "BSQ",
        "X_FIRST": str(float(grid.west)),
        "Y_FIRST": str(float(grid.north)),
        "X_STEP": str(float(grid.pixel_m)),
        "Y_STEP": str(-float(grid.pixel_m)),
        "X_UNIT": "meters",
        "Y_UNIT": "meters",
        "EPSG": str(grid.epsg),
        "UTM_ZONE": utm_zone(grid.epsg),
        "NO_DATA_VALUE": "0.0",
        "NoDataValue": "0.0",
    }


def utm_zone(epsg: int) -> str:
    """Name a UTM zone on WGS84 as MintPy does, for example ``49N``.

    Raises
    ------
    BadProductError
        Not the code of such a zone; HyP3 makes no other products.
    """
    for first, hemisphere in ((32600, "N"), (32700, "S")):
        if 1 <= epsg - first <= 60:
            return f"{epsg - first}{hemisphere}"
    raise BadProductError(f"EPSG:{epsg} is not a UTM zone on WGS84; HyP3 delivers only those")


def _match_name(product: str) -> dict[str, str]:
    for pattern in (_BURST, _MULTI_BURST, _GAMMA):
        if match := pattern.fullmatch(product):
            return match.groupdict()
    raise BadProductError(f"{product} is not the name of a HyP3 interferogram (GAMMA, burst or multi-burst)")


def _number(product: str, parameters: Mapping[str, str], key: str) -> float:
    try:
        return float(parameters[key])
    except (KeyError, ValueError):
        raise BadProductError(f"{product}.txt: {key} is not a number: {parameters.get(key)!r}") from None


def _corners(grid: Grid, ascending: bool) -> dict[str, str]:
    """Name the corners in the order of flight: first line near and far, last line near and far."""
    first, last = (grid.south, grid.north) if ascending else (grid.north, grid.south)
    near, far = (grid.west, grid.east) if ascending else (grid.east, grid.west)
    corners = ((first, near), (first, far), (last, near), (last, far))
    attributes = {}
    for number, (northing, easting) in enumerate(corners, start=1):
        attributes[f"LAT_REF{number}"] = str(float(northing))
        attributes[f"LON_REF{number}"] = str(float(easting))
    return attributes


def _beam(product: str, name: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """Swath of the beam and, from a whole scene, its orbit and times."""
    if "swath" in name:
        return {"beam_swath": name["swath"]}
    if "swaths" in name:
        used = [part[7] for part in name["swaths"].split("-") if not part.startswith("000000s")]
        return {"beam_swath": "".join(used)}
    granule = parameters.get("Reference Granule", "")
    fields = granule.split("_")
    if len(fields) < 6:
        raise BadProductError(f"{product}.txt: Reference Granule is not the name of a scene: {granule!r}")
    start, stop = (_moment(product, text) for text in fields[-5:-3])
    orbit = relative_orbit(granule[:3], int(_number(product, parameters, "Reference Orbit Number")))
    return {
        "beam_swath": "123",
        "relative_orbit": str(orbit),
        "startUTC": f"{start:%Y-%m-%d %H:%M:%S.%f}",
        "stopUTC": f"{stop:%Y-%m-%d %H:%M:%S.%f}",
    }


def _moment(product: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadProductError(
            f"{product}.txt: the reference granule has no time where {text!r} stands"
        ) from None


def relative_orbit(satellite: str, absolute_orbit: int) -> int:
    """Return the track number of an orbit; S1C was moved in June 2026."""
    moved = absolute_orbit > LAST_ABSOLUTE_ORBIT_OF_S1C_BEFORE_ITS_MOVE
    offsets = {"S1A": 73, "S1B": 202, "S1C": 99 if moved else 172, "S1D": 42}
    if satellite not in offsets:
        raise BadProductError(f"{satellite} is not a Sentinel-1 satellite that we know: {', '.join(offsets)}")
    return (absolute_orbit - offsets[satellite]) % ORBITS_PER_CYCLE + 1
