"""The physical parts of a scenario: panels, landfills, slopes, weather, ionosphere, orbits, satellites.

Plain descriptions, checked on reading; what they do to the ground and to the radar stands in `motion`, `weather`,
`air` and `interferogram`. A scenario that leaves a part out is not touched by it.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Platform = Literal["S1A", "S1B", "S1C", "S1D"]


class Part(BaseModel):
    """A part of a scenario: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(Part):
    """Something with a name at a place."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-80, le=84)


# --- what moves ------------------------------------------------------------------------------------------------------


class FacePosition(Part):
    """Where the face of a panel stands on a day, counted from where it started."""

    day: date
    advanced_m: float = Field(ge=0, le=10_000)


class Panel(Place):
    """A longwall panel by the probability-integral method; `lon`, `lat` are the middle of the set-up room."""

    azimuth_deg: float = Field(ge=0, lt=360, description="Direction of advance, clockwise from north")
    width_m: float = Field(gt=10, le=1000, description="Length of the face")
    face: Annotated[list[FacePosition], Field(min_length=2, description="Linear in between; equal = halted")]
    depth_m: float = Field(ge=50, le=2000)
    thickness_m: float = Field(gt=0, le=20, description="Mined thickness")
    subsidence_factor: float = Field(0.7, gt=0, le=1, description="Full subsidence / mined thickness")
    tan_beta: float = Field(2.0, gt=0.5, le=4, description="Depth / radius of main influence")
    horizontal_factor: float = Field(0.3, ge=0, le=0.6, description="b: most horizontal motion / subsidence")
    inflection_share: float = Field(
        0.05, ge=0, le=0.2, description="Offset of the inflection point inwards / depth"
    )
    dip_deg: float = Field(0.0, ge=0, le=45, description="Dip of the seam")
    dip_azimuth_deg: float = Field(0.0, ge=0, lt=360)
    propagation_angle_deg: float = Field(
        90.0, ge=45, le=90, description="Of main influence: the trough lies depth / tan of it down the dip"
    )
    knothe_per_year: float = Field(3.0, gt=0, le=100, description="c of Knothe's time function")
    residual_share: float = Field(0.05, ge=0, le=0.5, description="Share of the subsidence that comes late")
    residual_per_year: float = Field(0.3, gt=0, le=10, description="c of the late share")

    @field_validator("face")
    @classmethod
    def _advances(cls, face: list[FacePosition]) -> list[FacePosition]:
        days, metres = [one.day for one in face], [one.advanced_m for one in face]
        if days != sorted(set(days)):
            raise ValueError("the days of `face` must increase")
        if metres != sorted(metres) or metres[0] != 0 or metres[-1] == 0:
            raise ValueError("`advanced_m` starts at 0, never falls, and ends beyond 0")
        return face

    @model_validator(mode="after")
    def _is_wide_enough(self) -> Panel:
        if 2 * self.inflection_m >= min(self.width_m, self.face[-1].advanced_m):
            raise ValueError("twice the inflection offset is more than the panel is wide or long")
        return self

    @property
    def radius_m(self) -> float:
        """Radius of main influence."""
        return self.depth_m / self.tan_beta

    @property
    def inflection_m(self) -> float:
        return self.inflection_share * self.depth_m


class Landfill(Place):
    """A fill that settles under its own weight: vertical, exponential in time."""

    radius_m: float = Field(gt=10, le=2000)
    opened: date
    settlement_m: float = Field(gt=0, le=20, description="Of the middle, in the end")
    per_year: float = Field(gt=0, le=10)


class CreepingSlope(Place):
    """A slope that creeps along its fall, faster in the rainy season."""

    azimuth_deg: float = Field(ge=0, lt=360, description="Down the slope, clockwise from north")
    plunge_deg: float = Field(ge=0, le=60)
    length_m: float = Field(gt=10, le=3000, description="Half length along the fall")
    width_m: float = Field(gt=10, le=3000, description="Half width")
    mm_yr: float = Field(gt=0, le=1000, description="Mean speed of the middle along the slope")
    rainy_share: float = Field(0.5, ge=0, le=1, description="Speed in August = (1 + share) x the mean")


# --- what disturbs ---------------------------------------------------------------------------------------------------


class Weather(Part):
    """Large-scale weather, in the radar's path and in the ERA5 that the simulated CDS serves."""

    preliminary_vapour_error: float = Field(
        0.1, ge=0, le=1, description="Relative error (1 sigma) of the vapour in ERA5T, per time"
    )
    preliminary_after_days: float = Field(5.0, ge=0, le=60)
    final_after_days: float = Field(75.0, ge=0, le=400)

    @model_validator(mode="after")
    def _in_order(self) -> Weather:
        if self.final_after_days < self.preliminary_after_days:
            raise ValueError("final_after_days is before preliminary_after_days")
        return self


class Ionosphere(Part):
    gradient_tecu_per_100_km: float = Field(
        3.0, ge=0, le=100, description="1 sigma at dusk in a solar maximum; much less at dawn or in a minimum"
    )


class Orbits(Part):
    """Errors of the orbits that the processor uses (1 sigma per axis) and when the good ones come."""

    precise_m: float = Field(0.03, ge=0, le=10)
    restituted_m: float = Field(0.10, ge=0, le=10)
    precise_after_days: float = Field(20.0, ge=0, le=100)


class PhaseBias(Part):
    """Bias of short multilooked pairs over vegetation (Ansari et al. 2021): it fades with the span of the pair."""

    los_mm_yr: float = Field(
        ge=-30, le=30, description="Apparent velocity of a chain of 12-day pairs, full green"
    )
    decay_days: float = Field(15.0, gt=0, le=200)


# --- who flies -------------------------------------------------------------------------------------------------------


class Mission(Part):
    """One stretch of one satellite over a track: its own rhythm and orbit count."""

    platform: Platform
    first: date
    last: date
    repeat_days: int = Field(12, ge=1, le=60)
    first_orbit: int = Field(ge=1, description="Absolute orbit of the first acquisition")
    missing: list[date] = Field(default=[], description="Days of the rhythm that were not acquired")

    @model_validator(mode="after")
    def _dates(self) -> Mission:
        if self.last < self.first:
            raise ValueError(f"last {self.last} is before first {self.first}")
        for day in self.missing:
            if not self.first <= day <= self.last or (day - self.first).days % self.repeat_days:
                raise ValueError(f"missing {day} is not a day of the rhythm from {self.first} on")
        return self
