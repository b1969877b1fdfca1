"""What a simulated world is made of: tracks, troughs, noise, oddities. Read from one YAML file, checked on reading.

A scenario and its seed determine everything the server hands out: the same file gives the same granules, the
same baselines and the same pixels on every machine.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from .scenario_physics import (
    CreepingSlope,
    Ionosphere,
    Landfill,
    Mission,
    Orbits,
    Panel,
    Part,
    PhaseBias,
    Place,
    Platform,
    Weather,
)

SCENARIO_FOLDER = Path(__file__).parent / "scenarios"
ORBITS_PER_DAY = 175 / 12
BURST_ID = re.compile(r"^(\d{3})_(\d{6})_(IW[123])$")


class ScenarioError(ValueError):
    """A scenario file that cannot be used; the message names the file, the key and what is wrong."""


class Rate(Part):
    """From this day on the centre of a trough moves with this line-of-sight velocity."""

    start: date = Field(alias="from", description="First day of this rate")
    peak_los_mm_yr: float = Field(
        ge=-3000, le=3000, description="LOS velocity; negative = away from the satellite"
    )


class Trough(Part):
    """One subsidence trough: a fixed shape whose depth follows piecewise constant rates."""

    name: str
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-80, le=84)
    radius_m: float = Field(
        gt=0, le=20_000, description="Radius of influence: the trough has faded to about 4 % there"
    )
    profile: Literal["gaussian", "probability_integral"] = "gaussian"
    rates: Annotated[list[Rate], Field(min_length=1)]

    @field_validator("rates")
    @classmethod
    def _in_order(cls, rates: list[Rate]) -> list[Rate]:
        days = [rate.start for rate in rates]
        if days != sorted(set(days)):
            raise ValueError("the days of `rates` must increase")
        return rates


class River(Part):
    """A water body: a polyline with a width; masked in products, incoherent in phase."""

    points: Annotated[list[tuple[float, float]], Field(min_length=2, description="lon, lat of the axis")]
    width_m: float = Field(gt=0, le=5_000)


class Oddities(Part):
    """What is wrong with some acquisitions; each number counts the acquisitions of the track from 0."""

    missing: list[int] = Field(default=[], description="Never acquired: a gap in the rhythm")
    late_days: dict[int, float] = Field(
        default={}, description="Published so many days after the acquisition"
    )
    without_state_vectors: list[int] = Field(default=[])
    reprocessed_after_days: dict[int, float] = Field(
        default={},
        description="A second granule with another suffix appears so many days after the acquisition",
    )


@dataclass(frozen=True)
class PlannedPass:
    """One acquisition of a track: its number in the rhythm and who flies it."""

    number: int
    day: date
    platform: Platform
    orbit: int
    acquired: bool


class Track(Part):
    """One viewing geometry with its rhythm of acquisitions."""

    bursts: Annotated[list[str], Field(min_length=1)]
    frame: int = Field(ge=1, le=2000)
    direction: Literal["ASCENDING", "DESCENDING"]
    heading_deg: float = Field(ge=-180, le=180, description="Flight direction, clockwise from north")
    incidence_deg: float = Field(ge=20, le=50, description="Incidence angle at the centre of the area")
    utc: time = Field(description="Time of day of the first burst")
    platform: Platform = "S1A"
    first: date
    last: date
    repeat_days: int = Field(12, ge=1, le=60)
    first_orbit: int = Field(1, ge=1, description="Absolute orbit of the first acquisition")
    oddities: Oddities = Oddities()
    missions: list[Mission] = Field(
        default=[], description="Several satellites; replaces platform, repeat_days and first_orbit"
    )

    @field_validator("bursts")
    @classmethod
    def _burst_ids(cls, bursts: list[str]) -> list[str]:
        for burst in bursts:
            if not BURST_ID.match(burst):
                raise ValueError(f"{burst!r} is not a burst id such as 011_021697_IW3")
        if len({burst[:3] for burst in bursts}) > 1:
            raise ValueError("bursts of one track must have one relative orbit")
        return bursts

    @model_validator(mode="after")
    def _dates(self) -> Track:
        if self.last < self.first:
            raise ValueError(f"last {self.last} is before first {self.first}")
        days = [one.day for one in self.planned]
        if not days:
            raise ValueError("no mission flies between first and last")
        if len(days) != len(set(days)):
            raise ValueError("two missions acquire on the same day")
        return self

    @property
    def path(self) -> int:
        """Relative orbit number."""
        return int(self.bursts[0][:3])

    @property
    def planned(self) -> tuple[PlannedPass, ...]:
        """The rhythm of every satellite in order of time, the missing ones included."""
        alone = Mission(
            platform=self.platform,
            first=self.first,
            last=self.last,
            repeat_days=self.repeat_days,
            first_orbit=self.first_orbit,
        )
        flown = [
            (mission.first + timedelta(days=n * mission.repeat_days), n, mission)
            for mission in self.missions or [alone]
            for n in range((mission.last - mission.first).days // mission.repeat_days + 1)
        ]
        inside = sorted(
            (one for one in flown if self.first <= one[0] <= self.last), key=lambda one: (one[0], one[1])
        )
        return tuple(
            PlannedPass(
                number,
                day,
                mission.platform,
                mission.first_orbit + round(n * mission.repeat_days * ORBITS_PER_DAY),
                acquired=day not in mission.missing and number not in self.oddities.missing,
            )
            for number, (day, n, mission) in enumerate(inside)
        )

    def passes(self) -> list[PlannedPass]:
        """Every acquisition that takes place, in order of time."""
        return [one for one in self.planned if one.acquired]

    def days(self) -> list[tuple[int, date]]:
        """Number in the rhythm and date of every acquisition that takes place."""
        return [(one.number, one.day) for one in self.passes()]

    def pass_on(self, day: date) -> PlannedPass:
        """The acquisition of a day.

        Raises
        ------
        KeyError
            There is none.
        """
        for one in self.planned:
            if one.day == day:
                return one
        raise KeyError(f"track {self.path} acquires nothing on {day}")


class Atmosphere(Part):
    turbulent_mm_at_10_km: float = Field(
        4.0, ge=0, le=100, description="RMS delay difference of two points 10 km apart"
    )


class Coherence(Part):
    median: float = Field(0.6, gt=0.05, lt=0.99, description="Median of a 12-day pair outside summer")
    spread: float = Field(0.12, ge=0, le=0.4, description="Spatial standard deviation")
    summer_loss: float = Field(
        0.2, ge=0, le=0.9, description="Share lost in the middle of the growing season"
    )
    decay_days: float = Field(150.0, gt=1, description="Time constant of temporal decorrelation")
    strain: bool = Field(False, description="Motion that differs within a pixel costs coherence")


class Scenario(Part):
    """A whole simulated world."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    seed: int = Field(ge=0)
    epsg: int = Field(ge=32601, le=32760)
    box: tuple[float, float, float, float] = Field(description="west, south, east, north in degrees")
    margin_m: float = Field(600.0, ge=0, le=20_000)
    tracks: Annotated[list[Track], Field(min_length=1)]
    rehearsal_path: int = Field(description="The track whose rhythm drives a rehearsal (GET /timeline)")
    latency_hours: float = Field(20.0, ge=0, le=2000)
    job_seconds: float = Field(1.5, ge=0, le=3600, description="Least wall time from order to result")
    credits_per_month: int = Field(8000, ge=0, le=1_000_000)
    clock_start: datetime | None = None
    baseline_std_m: float = Field(55.0, ge=0, le=500)
    baseline_limit_m: float = Field(150.0, ge=0, le=1000)
    atmosphere: Atmosphere = Atmosphere()
    coherence: Coherence = Coherence()
    troughs: list[Trough] = Field(default=[])
    river: River | None = None
    panels: list[Panel] = Field(default=[])
    landfills: list[Landfill] = Field(default=[])
    slopes: list[CreepingSlope] = Field(default=[])
    weather: Weather | None = None
    ionosphere: Ionosphere | None = None
    orbits: Orbits | None = None
    phase_bias: PhaseBias | None = None
    dem_error_m: float = Field(0.0, ge=0, le=50, description="Standard deviation of the DEM's error")

    @field_validator("box")
    @classmethod
    def _box(cls, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        west, south, east, north = box
        if not (west < east and south < north):
            raise ValueError("box must be west, south, east, north")
        return box

    @field_validator("clock_start")
    @classmethod
    def _aware(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("clock_start needs a time zone, for example 2023-12-29T00:00:00Z")
        return moment

    @model_validator(mode="after")
    def _rehearsal(self) -> Scenario:
        paths = [track.path for track in self.tracks]
        if self.rehearsal_path not in paths:
            raise ValueError(f"rehearsal_path {self.rehearsal_path} is not a path of the tracks {paths}")
        if len(paths) != len(set(paths)):
            raise ValueError(f"two tracks share a path: {paths}")
        places: list[Trough | Place] = [*self.troughs, *self.panels, *self.landfills, *self.slopes]
        names = [one.name for one in places]
        if len(names) != len(set(names)) or "total" in names:
            raise ValueError(f"sources of motion need names of their own, other than `total`: {names}")
        return self

    @property
    def key(self) -> str:
        """The same scenario has the same key: everything that is computed from it may be kept under it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @cached_property
    def first_day(self) -> date:
        """Displacement is counted from here."""
        return min(track.first for track in self.tracks)

    @property
    def starts_at(self) -> datetime:
        """What the clock of a new world shows."""
        day_before = datetime.combine(self.first_day, time(), UTC) - timedelta(days=1)
        return self.clock_start or day_before

    def track(self, path: int) -> Track:
        for track in self.tracks:
            if track.path == path:
                return track
        raise KeyError(f"scenario {self.name} has no track {path}")


def read_scenario(name_or_file: str) -> Scenario:
    """Read a scenario by the name of a shipped one or by the path of a YAML file."""
    file = Path(name_or_file)
    if file.suffix not in (".yaml", ".yml"):
        file = SCENARIO_FOLDER / f"{name_or_file}.yaml"
    if not file.is_file():
        shipped = ", ".join(sorted(path.stem for path in SCENARIO_FOLDER.glob("*.yaml")))
        raise ScenarioError(
            f"{name_or_file}: no such scenario; shipped are {shipped}, or give the path of a YAML file"
        )
    try:
        return Scenario.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ScenarioError(f"{file}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(file)"
        raise ScenarioError(f"{file}: {key}: {first['msg']}") from error
