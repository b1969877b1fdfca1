"""What a server serves: a catalogue, a rhythm, and a maker of products. The scenario's world; replay has its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pyproj import Geod
from shapely.geometry import Polygon

from .chance import generator
from .granule import BURST_SECONDS, SLC_SECONDS, Granule
from .orbit import ViewingGeometry, state_vectors
from .passes import baseline_m
from .scenario import PlannedPass, Scenario, Track

WGS84 = Geod(ellps="WGS84")
ASCENDING_NODE_SECONDS = {"ASCENDING": 603, "DESCENDING": 2360}
BURST_LENGTH_M, BURST_WIDTH_M = 20_000.0, 86_000.0
SLC_LENGTH_M, SLC_WIDTH_M = 190_000.0, 250_000.0


class JobFailedError(Exception):
    """The order cannot be made; the text goes into the job's log."""


@dataclass(frozen=True)
class Order:
    """What a job asks for."""

    job_id: str
    job_type: str
    parameters: dict[str, Any]
    requested: datetime | None = (
        None  # by the simulated clock; None = long after, when everything final is out
    )

    @property
    def references(self) -> list[str]:
        if self.job_type == "INSAR_ISCE_MULTI_BURST":
            return list(self.parameters["reference"])
        return [self._granules_by_time[0]]

    @property
    def secondaries(self) -> list[str]:
        if self.job_type == "INSAR_ISCE_MULTI_BURST":
            return list(self.parameters["secondary"])
        return [self._granules_by_time[1]]

    @property
    def _granules_by_time(self) -> list[str]:
        # Neither processor trusts the order in which two granules are named: the older is the reference.
        return sorted(self.parameters["granules"], key=_time_in_name)

    @property
    def looks(self) -> str:
        return str(self.parameters["looks"])


def _time_in_name(granule: str) -> str:
    parts = granule.split("_")
    return parts[3] if granule.endswith("-BURST") else parts[5]


@dataclass(frozen=True)
class Made:
    """A finished product: its zip in the server's folder."""

    name: str
    file: Path


@dataclass(frozen=True)
class Pass:
    """One acquisition of the timeline."""

    path: int
    acquired: datetime
    visible: datetime


class World(Protocol):
    """What the server needs to know of a world."""

    name: str
    starts_at: datetime
    rehearsal_path: int
    credits_per_month: int
    job_seconds: float
    scenario: Scenario | None
    left_out: dict[str, str]

    @property
    def granules(self) -> Sequence[Granule]:
        """Everything that the catalogue will ever show."""
        ...

    def make(self, order: Order, folder: Path) -> Made:
        """Make the product of an order; raises JobFailedError."""
        ...


def timeline(granules: Sequence[Granule], path: int | None) -> list[Pass]:
    """First appearance of every acquisition in VV, in the order in which they become visible."""
    first: dict[tuple[int, date], Granule] = {}
    for granule in sorted(granules, key=lambda g: (g.published, not g.is_burst)):
        counts = granule.polarization.startswith("VV") and (path is None or granule.path == path)
        if counts:
            first.setdefault((granule.path, granule.acquired.date()), granule)
    passes = [Pass(granule.path, granule.acquired, granule.published) for granule in first.values()]
    return sorted(passes, key=lambda one: (one.visible, one.acquired))


class ScenarioWorld:
    """The world of a scenario file."""

    left_out: dict[str, str]

    def __init__(self, scenario: Scenario) -> None:
        self.scenario: Scenario | None = scenario
        self._scenario = scenario
        self.name = f"scenario {scenario.name}, seed {scenario.seed}"
        self.starts_at = scenario.starts_at
        self.rehearsal_path = scenario.rehearsal_path
        self.credits_per_month = scenario.credits_per_month
        self.job_seconds = scenario.job_seconds
        self.left_out = {}

    @cached_property
    def granules(self) -> Sequence[Granule]:
        return tuple(
            granule for track in self._scenario.tracks for granule in _track_granules(self._scenario, track)
        )

    @cached_property
    def _by_name(self) -> dict[str, Granule]:
        return {granule.name: granule for granule in self.granules}

    def make(self, order: Order, folder: Path) -> Made:
        from .product import (
            make_product,
        )  # the raster libraries are slow to load; a catalogue does not need them

        references = [self._by_name[name] for name in order.references]
        secondaries = [self._by_name[name] for name in order.secondaries]
        return make_product(self._scenario, order, references, secondaries, folder)


def footprint(lon: float, lat: float, heading_deg: float, length_m: float, width_m: float) -> Polygon:
    """A rectangle on the ground along a flight direction."""
    corners = []
    for along, across in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
        azimuth = heading_deg + np.degrees(np.arctan2(across * width_m, along * length_m))
        distance_m = np.hypot(length_m, width_m) / 2
        corner_lon, corner_lat, _ = WGS84.fwd(lon, lat, azimuth, distance_m)
        corners.append((corner_lon, corner_lat))
    return Polygon(corners)


def _track_granules(scenario: Scenario, track: Track) -> list[Granule]:
    found = []
    for one in track.passes():
        found += _pass_granules(scenario, track, one, version=0)
        if one.number in track.oddities.reprocessed_after_days:
            found += _pass_granules(scenario, track, one, version=1)
    return found


def _pass_granules(scenario: Scenario, track: Track, one: PlannedPass, version: int) -> list[Granule]:
    """The scene of one pass and its bursts, each in VV and VH; version 1 is the reprocessed set."""
    number, orbit = one.number, one.orbit
    west, south, east, north = scenario.box
    lon, lat = (west + east) / 2, (south + north) / 2
    rng = generator(scenario.seed, "pass", track.path, number)
    # Passes are never on the second. Whole seconds, because clients cut the node time to seconds.
    start = datetime.combine(one.day, track.utc, UTC) + timedelta(seconds=int(rng.integers(0, 3)))
    suffix = (
        hashlib.sha256(f"{scenario.seed}/{track.path}/{number}/{version}".encode()).hexdigest()[:4].upper()
    )
    slc_start = start - timedelta(seconds=9)
    slc_name = (
        f"{one.platform}_IW_SLC__1SDV_{slc_start:%Y%m%dT%H%M%S}"
        f"_{slc_start + timedelta(seconds=SLC_SECONDS):%Y%m%dT%H%M%S}_{orbit:06d}_{orbit * 8 % 0xFFFFFF:06X}_{suffix}"
    )
    baseline = baseline_m(scenario, track.path, number)
    node = start - timedelta(seconds=ASCENDING_NODE_SECONDS[track.direction])

    def granule(**own: Any) -> Granule:
        shape: Polygon = own["footprint"]
        view = ViewingGeometry(shape.centroid.x, shape.centroid.y, track.heading_deg, track.incidence_deg)
        known = number not in track.oddities.without_state_vectors
        return Granule(
            published=_published(scenario, track, number, start, version),
            platform=one.platform,
            path=track.path,
            direction=track.direction,
            orbit=orbit,
            slc_name=slc_name,
            vectors=state_vectors(view, start, baseline) if known else None,
            ascending_node=node,
            baseline_m=baseline,
            processor_version="003.71" if version == 0 else "003.91",
            **own,
        )

    found = [
        granule(
            name=slc_name,
            short_name=f"SENTINEL-1{one.platform[2]}_SLC",
            acquired=slc_start,
            seconds=float(SLC_SECONDS),
            polarization="VV+VH",
            frame=track.frame,
            footprint=footprint(lon, lat, track.heading_deg, SLC_LENGTH_M, SLC_WIDTH_M),
        )
    ]
    for index, burst in enumerate(track.bursts):
        burst_start = start + timedelta(seconds=3 * index)
        ahead_lon, ahead_lat, _ = WGS84.fwd(lon, lat, track.heading_deg, index * 0.85 * BURST_LENGTH_M)
        shape = footprint(ahead_lon, ahead_lat, track.heading_deg, BURST_LENGTH_M, BURST_WIDTH_M)
        found += [
            granule(
                name=f"S1_{burst[4:]}_{burst_start:%Y%m%dT%H%M%S}_{polarization}_{suffix}-BURST",
                short_name="SENTINEL-1_BURSTS",
                acquired=burst_start,
                seconds=BURST_SECONDS,
                polarization=polarization,
                burst_id=burst,
                footprint=shape,
            )
            for polarization in ("VV", "VH")
        ]
    return found


def _published(scenario: Scenario, track: Track, number: int, start: datetime, version: int) -> datetime:
    late = track.oddities.late_days.get(number)
    first = start + (timedelta(days=late) if late is not None else timedelta(hours=scenario.latency_hours))
    if version == 0:
        return first
    return first + timedelta(days=track.oddities.reprocessed_after_days[number])
