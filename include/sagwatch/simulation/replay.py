"""A world made from a folder of existing HyP3 products: its catalogue, and its zips as finished orders.

Perpendicular baselines per date come from the products' own baselines by least squares; state vectors that reproduce
them are attached to the granules, so that a catalogue client computes what the archive says. What the archive does
not say is invented and harmless: frame number, publication time, node time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import isnan
from pathlib import Path

import numpy as np
from shapely.geometry import Polygon, box

from .archive import ArchivedProduct, granule_time, places, read_archive
from .granule import BURST_SECONDS, SLC_SECONDS, Granule
from .orbit import ORBIT_HEIGHT_M, ViewingGeometry, state_vectors
from .scenario import Scenario
from .world import JobFailedError, Made, Order

LATENCY = timedelta(hours=20)
ORBITS_PER_CYCLE = 175
ORBIT_SECONDS = 12 * 86_400 / ORBITS_PER_CYCLE
BEAM_SECONDS, PREAMBLE_SECONDS = 2.758273, 2.299849
INCLINATION = math.radians(98.18)
FRAME_SECONDS = 5.12
EARTH_RADIUS_M = 6_371_000.0
FOOTPRINT_MARGIN_DEG = 0.1
# Offset of absolute and relative orbit numbers (MintPy's prep_hyp3 uses the same).
ORBIT_OFFSET = {"S1A": 73, "S1B": 202, "S1C": 172, "S1D": 42}
S1C_MOVED_AFTER_ORBIT, S1C_LATER_OFFSET = 8018, 99

PairKey = tuple[str, frozenset[str], date, date]


@dataclass(frozen=True)
class ArchiveTrack:
    """What all products of one viewing geometry share."""

    path: int
    direction: str
    heading_deg: float
    incidence_deg: float
    footprint: Polygon
    frame: int
    node_seconds: int


class ReplayWorld:
    """The world of an archive."""

    def __init__(self, folder: Path, starts_at: datetime | None = None) -> None:
        products, self.left_out = read_archive(folder)
        self.name = f"archive {folder.resolve().name}"
        self.scenario: Scenario | None = None
        self.credits_per_month = 8000
        self.job_seconds = 1.5
        # Of several products of one pair the last by name is served, as MintPy would take it.
        self._by_pair: dict[PairKey, ArchivedProduct] = {_key_of(product): product for product in products}
        self._granules = tuple(_granules(products))
        first = min(granule.acquired for granule in self._granules)
        self.starts_at = starts_at or first - timedelta(days=1)
        paths = [granule.path for granule in self._granules]
        self.rehearsal_path = max(sorted(set(paths)), key=paths.count)

    @property
    def granules(self) -> Sequence[Granule]:
        return self._granules

    def make(self, order: Order, folder: Path) -> Made:  # noqa: ARG002 (nothing is written: the zip exists)
        first = min(map(granule_time, order.references)).date()
        second = min(map(granule_time, order.secondaries)).date()
        held = self._by_pair.get((order.job_type, places(order.references), first, second))
        if held is None:
            raise JobFailedError(
                f"RuntimeError: the replayed archive holds no {order.job_type} of {first} and {second}"
            )
        if held.looks != order.looks:
            raise JobFailedError(
                f"RuntimeError: the replayed archive holds {first} and {second} with looks {held.looks}, "
                f"not {order.looks}"
            )
        return Made(held.name, held.file)


def _key_of(product: ArchivedProduct) -> PairKey:
    return product.job_type, places(product.references), *product.days


def _granules(products: list[ArchivedProduct]) -> list[Granule]:
    """One catalogue record for each granule that any product names, in order of time."""
    by_path: dict[int, list[ArchivedProduct]] = {}
    for product in products:
        by_path.setdefault(_path(product), []).append(product)
    found = []
    for path, members in sorted(by_path.items()):
        track, baselines = _track(path, members), date_baselines_m(members)
        orbits: dict[str, int] = {}
        for product in members:
            orbits |= dict.fromkeys(product.references, product.reference_orbit)
            orbits |= dict.fromkeys(product.secondaries, product.secondary_orbit)
        found += [
            _granule(name, orbit, track, baselines.get(granule_time(name).date()))
            for name, orbit in orbits.items()
        ]
    return sorted(found, key=lambda granule: (granule.acquired, granule.name))


def date_baselines_m(products: list[ArchivedProduct]) -> dict[date, float]:
    """Perpendicular baseline of every date to the first one, metres, by least squares over the pairs' baselines.

    A product says ``baseline(secondary) - baseline(reference)``. Dates of which no product states a number are left
    out; parts of a network that no pair connects each have a mean of their own.
    """
    stated = [product for product in products if not isnan(product.baseline_m)]
    days = sorted({day for product in stated for day in product.days})
    if not days:
        return {}
    index = {day: number for number, day in enumerate(days)}
    design = np.zeros((len(stated), len(days)))
    for row, product in enumerate(stated):
        reference, secondary = product.days
        design[row, index[secondary]], design[row, index[reference]] = 1.0, -1.0
    solution, *_ = np.linalg.lstsq(design, np.array([product.baseline_m for product in stated]), rcond=None)
    return {day: float(solution[number] - solution[0]) for day, number in index.items()}


def _path(product: ArchivedProduct) -> int:
    """Relative orbit: from the name where it stands there, else from burst number or absolute orbit."""
    named = re.match(r"^S1_(\d{3})_\d{6}s1n", product.name)
    if named:
        return int(named[1])
    burst = re.match(r"^S1_(\d{6})_IW", product.name)
    if burst:
        # Burst numbers count beams through the cycle of 175 orbits.
        seconds = (int(burst[1]) - 1) * BEAM_SECONDS + PREAMBLE_SECONDS
        return int(seconds // ORBIT_SECONDS) + 1
    platform, orbit = product.references[0][:3], product.reference_orbit
    moved = platform == "S1C" and orbit > S1C_MOVED_AFTER_ORBIT
    offset = S1C_LATER_OFFSET if moved else ORBIT_OFFSET[platform]
    return (orbit - offset) % ORBITS_PER_CYCLE + 1


def _track(path: int, products: list[ArchivedProduct]) -> ArchiveTrack:
    first = min(products, key=lambda product: product.name)
    west = min(product.bounds[0] for product in products) - FOOTPRINT_MARGIN_DEG
    south = min(product.bounds[1] for product in products) - FOOTPRINT_MARGIN_DEG
    east = max(product.bounds[2] for product in products) + FOOTPRINT_MARGIN_DEG
    north = max(product.bounds[3] for product in products) + FOOTPRINT_MARGIN_DEG
    latitude = math.radians((first.bounds[1] + first.bounds[3]) / 2)
    from_node = math.asin(min(1.0, max(-1.0, math.sin(latitude) / math.sin(INCLINATION))))
    if first.direction == "DESCENDING":
        from_node = math.pi - from_node
    seconds = (from_node % (2 * math.pi)) / (2 * math.pi) * ORBIT_SECONDS
    return ArchiveTrack(
        path=path,
        direction=first.direction,
        heading_deg=first.heading_deg,
        incidence_deg=_incidence_deg(first.slant_range_m),
        footprint=box(west, south, east, north),
        # A frame is a number that stays the same for the archive; multiples of five, as neighbouring frames differ.
        frame=max(5, 5 * round(seconds / FRAME_SECONDS / 5)),
        node_seconds=round(seconds),
    )


def _incidence_deg(slant_range_m: float) -> float:
    orbit_m = EARTH_RADIUS_M + ORBIT_HEIGHT_M
    cosine = (orbit_m**2 - EARTH_RADIUS_M**2 - slant_range_m**2) / (2 * EARTH_RADIUS_M * slant_range_m)
    return math.degrees(math.acos(cosine)) if -1 < cosine < 1 else 39.0


def _granule(name: str, orbit: int, track: ArchiveTrack, baseline_m: float | None) -> Granule:
    acquired, centre = granule_time(name), track.footprint.centroid
    view = ViewingGeometry(centre.x, centre.y, track.heading_deg, track.incidence_deg)
    burst = name.endswith("-BURST")
    number, swath = name.split("_")[1:3] if burst else ("", "")
    return Granule(
        name=name,
        short_name="SENTINEL-1_BURSTS" if burst else f"SENTINEL-1{name[2]}_SLC",
        acquired=acquired,
        seconds=BURST_SECONDS if burst else float(SLC_SECONDS),
        published=acquired + LATENCY,
        platform="S1A" if burst else name[:3],
        path=track.path,
        direction=track.direction,
        polarization=name.split("_")[4] if burst else _polarization(name),
        orbit=orbit,
        slc_name=f"archive-{name}" if burst else name,
        footprint=track.footprint,
        vectors=None if baseline_m is None else state_vectors(view, acquired, baseline_m),
        ascending_node=acquired - timedelta(seconds=track.node_seconds),
        baseline_m=baseline_m or 0.0,
        burst_id=f"{track.path:03d}_{number}_{swath}" if burst else None,
        frame=None if burst else track.frame,
    )


def _polarization(scene: str) -> str:
    letters = scene.split("_")[4]
    return {"1SDV": "VV+VH", "1SSV": "VV", "1SDH": "HH+HV", "1SSH": "HH"}[letters]
