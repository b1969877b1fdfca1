"""GRIB edition 1, as ERA5 on pressure levels is written: regular latitudes and longitudes, 16 bits a value.

Layout after the WMO Manual on Codes, volume I.2, FM 92 GRIB edition 1, with ECMWF's local extension of section 1 that
carries the version of the experiment: 0001 = ERA5, 0005 = ERA5T. Messages have the size that the real ones have.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

ECMWF, ECMWF_TABLE, PROCESS = 98, 128, 148
ISOBARIC_LEVEL = 100
LOCAL_DEFINITION, CLASS_ERA5, TYPE_ANALYSIS, STREAM_OPER = 1, 23, 2, 1025
BITS = 16

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LatLonGrid:
    """A regular grid in degrees, scanned from north-west along the parallels."""

    north: float
    west: float
    south: float
    east: float
    step: float = 0.25

    @property
    def latitudes(self) -> Floats:
        return self.north - self.step * np.arange(1.0 + round((self.north - self.south) / self.step))

    @property
    def longitudes(self) -> Floats:
        return self.west + self.step * np.arange(1.0 + round((self.east - self.west) / self.step))


@dataclass(frozen=True)
class Field:
    """What one message is about: ECMWF's parameter number, pressure level, time, version of the experiment."""

    parameter: int
    level_hpa: int
    moment: datetime
    experiment: str


def message(field: Field, grid: LatLonGrid, values: Floats) -> bytes:
    """One message; `values` has the shape (latitudes, longitudes)."""
    body = _product(field) + _grid(grid) + _data(values) + b"7777"
    return b"GRIB" + _three(8 + len(body)) + b"\x01" + body


def _three(number: int) -> bytes:
    return number.to_bytes(3, "big")


def _signed_three(number: int) -> bytes:
    """Sign and magnitude, as edition 1 writes negative numbers."""
    return _three(abs(number) | (0x800000 if number < 0 else 0))


def _product(field: Field) -> bytes:
    moment = field.moment
    century, year = (moment.year - 1) // 100 + 1, (moment.year - 1) % 100 + 1
    octets = bytes([ECMWF_TABLE, ECMWF, PROCESS, 255, 128, field.parameter, ISOBARIC_LEVEL])
    octets += field.level_hpa.to_bytes(2, "big")
    octets += bytes([year, moment.month, moment.day, moment.hour, moment.minute])
    octets += bytes([1, 0, 0, 0, 0, 0, 0, century, 0, 0, 0])  # hours; an analysis, not averaged; no scaling
    octets += bytes(12)
    octets += bytes([LOCAL_DEFINITION, CLASS_ERA5, TYPE_ANALYSIS]) + STREAM_OPER.to_bytes(2, "big")
    octets += field.experiment.encode("ascii") + bytes(3)
    return _three(3 + len(octets)) + octets


def _grid(grid: LatLonGrid) -> bytes:
    section = struct.pack(">BBB", 0, 255, 0) + struct.pack(">HH", len(grid.longitudes), len(grid.latitudes))
    section += _signed_three(round(grid.north * 1000)) + _signed_three(round(grid.west * 1000))
    section += struct.pack(">B", 0x80)  # increments are given, the earth is a sphere
    section += _signed_three(round(grid.south * 1000)) + _signed_three(round(grid.east * 1000))
    section += struct.pack(">HHB", round(grid.step * 1000), round(grid.step * 1000), 0) + bytes(4)
    return _three(3 + len(section)) + section


def _data(values: Floats) -> bytes:
    lowest = _ibm_floor(float(values.min()))
    steps = (float(values.max()) - lowest) / (2**BITS - 2)
    scale = int(np.ceil(np.log2(steps))) if steps > 0 else 0
    packed = np.rint((values.ravel() - lowest) / 2.0**scale).astype(">u2").tobytes()
    padding = len(packed) % 2 == 0  # eleven octets of head: the section must have an even length
    unused_bits = 8 if padding else 0
    head = struct.pack(">B", unused_bits) + struct.pack(">H", abs(scale) | (0x8000 if scale < 0 else 0))
    section = head + _ibm_bytes(lowest) + struct.pack(">B", BITS) + packed + bytes(padding)
    return _three(3 + len(section)) + section


def _ibm_bytes(value: float) -> bytes:
    """IBM's 32-bit float: sign, exponent of 16 in excess 64, 24 bits of fraction; rounded toward minus infinity."""
    if value == 0:
        return bytes(4)
    exponent = int(np.floor(np.log2(abs(value)) / 4)) + 1
    fraction = abs(value) / 16.0**exponent * 2**24
    whole = int(np.floor(fraction) if value > 0 else np.ceil(fraction))
    if whole == 2**24:
        exponent, whole = exponent + 1, 2**20
    return struct.pack(">I", (0x80000000 if value < 0 else 0) | (exponent + 64) << 24 | whole)


def _ibm_floor(value: float) -> float:
    """The largest number that the format can hold and that is not above this one."""
    word = struct.unpack(">I", _ibm_bytes(value))[0]
    sign = -1.0 if word & 0x80000000 else 1.0
    return float(sign * (word & 0xFFFFFF) / 2**24 * 16.0 ** (((word >> 24) & 0x7F) - 64))
