"""When ground that sinks becomes an alert: the part `alerts` of a site file."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sagwatch.domain.strict import Day, Strict

#: Two satellites of Sentinel-1 see a place so often on one track.
_SHORTEST_REVISIT_DAYS = 6

#: How a rule speaks: a message of its own, a line of the monthly digest, or not at all. YAML reads a bare off as False.
Tell = Annotated[
    Literal["page", "digest", "off"], BeforeValidator(lambda said: "off" if said is False else said)
]

_TELL = "page: a message of its own; digest: a line of the monthly digest; off: the rule is not judged."


class WindowRules(Strict):
    """A trailing window of time on which a velocity is judged."""

    days: int = Field(ge=30, le=4000)
    least_epochs: int = Field(ge=4, le=400)

    @model_validator(mode="after")
    def _can_be_filled(self) -> Self:
        most = self.days // _SHORTEST_REVISIT_DAYS + 1
        if self.least_epochs > most:
            raise ValueError(
                f"least_epochs: {self.days} days never hold {self.least_epochs} acquisitions, so the window would stay "
                f"silent; ask for {most} at most"
            )
        return self


class HistoryRule(Strict):
    """R1-history, the published study's rule: the velocity of the whole record. It comes and goes years late."""

    tell: Tell = Field(default="digest", description=_TELL)


class TrendRule(Strict):
    """R2: the rate of the shortest window against the zone's before it (a year at most), while its alert is open."""

    tell: Tell = Field(default="digest", description=_TELL)
    least_change_mm_yr: float = Field(default=10, gt=0, description="Smaller changes are no news, mm/yr.")
    deviations: float = Field(
        default=3, ge=2, le=10, description="A change must exceed so many of its deviations."
    )


class NewZoneRule(Strict):
    """R3: a zone whose first alert is raised, inside or outside the licence area."""

    inside: Tell = Field(default="digest", description=_TELL)
    outside: Tell = Field(default="page", description=_TELL)


class AccelerationRule(Strict):
    """R4: three successive windows faster and a proved bend; inverse velocity is shown, never a date of failure."""

    tell: Tell = Field(default="digest", description=_TELL)


class DisplacementRule(Strict):
    """R5: how far a zone has moved against its surroundings."""

    tell: Tell = Field(default="digest", description=_TELL)
    levels_mm: tuple[float, ...] = Field(
        default=(-10, -100, -300), description="Line-of-sight displacement at which level 1, 2, ... begin."
    )
    baseline: Day | None = Field(
        default=None, description="Counted from here; from the record's beginning if left out."
    )

    @field_validator("levels_mm")
    @classmethod
    def _a_ladder_downwards(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        return ladder(levels, "[-10, -100, -300]")


class TiltRule(Strict):
    """R6: tilt and curvature of the line-of-sight displacement at assets. Nothing is on until a preset is named."""

    tell: Tell = Field(default="page", description=_TELL)
    preset: Literal["china_brick_concrete", "poland_mining_area"] | None = Field(
        default=None,
        description="Limits by name; a person must have checked them against the code of practice that applies.",
    )


class BlindRule(Strict):
    """R7: where InSAR cannot see, or shows a lower bound only. A zone that loses its centre goes up."""

    tell: Tell = Field(default="page", description=_TELL)
    step_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Steps between neighbours from this share of a quarter wavelength.",
    )
    lost_share: float = Field(default=0.3, gt=0, le=1, description="Share of a zone's pixels without data.")
    least_hole_pixels: int = Field(default=4, ge=1, description="Smallest ringed hole, pixels.")
    closure_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Share of a zone's pixels whose newest interferograms contradict each other by whole cycles.",
    )


class HealthRule(Strict):
    """R8: the data's own health; told to the contacts with `health: true`, or to all where there is none."""

    tell: Tell = Field(default="page", description=_TELL)
    hold_when_reference_moves: bool = Field(
        default=True, description="No ground alert changes while the reference point itself seems to move."
    )
    silent_after_revisits: float = Field(
        default=2, ge=1, description="No new acquisition for so many usual pauses is told."
    )
    reference_lost_after: int = Field(
        default=3,
        ge=1,
        description="So many of the newest interferograms in a row without phase at the reference.",
    )
    least_credits: float = Field(default=50, ge=0, description="Fewer remaining HyP3 credits are told.")
    outbox_hours: float = Field(default=1, gt=0, description="A message that waits longer is told.")


def ladder(levels: tuple[float, ...], example: str) -> tuple[float, ...]:
    """Levels must be negative (away from the satellite) and go down."""
    if not levels or any(v >= 0 for v in levels) or list(levels) != sorted(set(levels), reverse=True):
        raise ValueError(f"levels must be negative and go down, as {example}")
    return levels


class ZoneRules(Strict):
    """Other numbers for one zone, by its id; what is left out stays as for the site."""

    zone: str = Field(pattern=r"^[0-9a-f]{6,20}$", description="The zone's id, or its first digits.")
    levels_mm_yr: tuple[float, ...] | None = None
    deadband_mm_yr: float | None = Field(default=None, ge=0)
    updates_to_raise: int | None = Field(default=None, ge=1, le=10)
    updates_to_clear: int | None = Field(default=None, ge=1, le=20)
    why: str = Field(min_length=1, description="Who decided it and why.")

    @field_validator("levels_mm_yr")
    @classmethod
    def _a_ladder_downwards(cls, levels: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if levels is None else ladder(levels, "[-40, -100, -300, -600]")


class AlertRules(Strict):
    """When ground that sinks becomes an alert; rule numbers as in the documentation."""

    levels_mm_yr: tuple[float, ...] = Field(
        default=(-40, -100, -300, -600),
        description="Line-of-sight velocities at which level 1, 2, ... begin.",
    )
    windows: Annotated[tuple[WindowRules, ...], Field(min_length=1)] = (
        WindowRules(days=150, least_epochs=8),
        WindowRules(days=365, least_epochs=16),
    )
    least_pixels: int = Field(default=9, ge=1, description="Smallest connected area, pixels.")
    least_area_m2: float | None = Field(
        default=None,
        gt=0,
        description="Smallest connected area in m²; where it is given, least_pixels is not used.",
    )
    ring_m: float = Field(
        default=2900, gt=0, description="Width of the surroundings for local contrast, metres."
    )
    updates_to_raise: int = Field(
        default=2, ge=1, le=10, description="So many updates in a row raise an alert (R3 and R8: one)."
    )
    updates_to_clear: int = Field(
        default=3, ge=1, le=20, description="So many updates in a row clear it (R3 and R8: one)."
    )
    deadband_mm_yr: float = Field(default=20, ge=0)
    zone_returns_within_days: int = Field(default=365, ge=0)
    single_messages_for_days: int = Field(
        default=60, ge=0, description="Older events are recorded and told in one summary, not one by one."
    )

    history: HistoryRule = HistoryRule()
    trend: TrendRule = TrendRule()
    new_zone: NewZoneRule = NewZoneRule()
    acceleration: AccelerationRule = AccelerationRule()
    displacement: DisplacementRule = DisplacementRule()
    tilt: TiltRule = TiltRule()
    blind: BlindRule = BlindRule()
    health: HealthRule = HealthRule()
    zones: tuple[ZoneRules, ...] = Field(default=(), description="Exceptions for single zones.")

    @field_validator("levels_mm_yr")
    @classmethod
    def _a_ladder_downwards(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        return ladder(levels, "[-40, -100, -300, -600]")

    @field_validator("windows")
    @classmethod
    def _each_window_once(cls, windows: tuple[WindowRules, ...]) -> tuple[WindowRules, ...]:
        days = [window.days for window in windows]
        for one in days:
            if days.count(one) > 1:
                raise ValueError(f"two windows have {one} days; take one out")
        return windows

    @model_validator(mode="after")
    def _one_exception_a_zone(self) -> Self:
        for one in self.zones:
            rivals = [other.zone for other in self.zones if other.zone.startswith(one.zone)]
            if len(rivals) > 1:
                raise ValueError(f"zones: {rivals[0]} and {rivals[1]} may be the same zone; write longer ids")
        return self

    def on_pixels(self, pixel_m: float) -> AlertRules:
        """The rules with their smallest area in pixels of that size."""
        if self.least_area_m2 is None:
            return self
        pixels = max(1, math.ceil(self.least_area_m2 / pixel_m**2 - 1e-9))
        return self.model_copy(update={"least_pixels": pixels})

    def of_zone(self, zone_id: str) -> AlertRules:
        """The rules with the zone's exceptions."""
        for one in self.zones:
            if zone_id.startswith(one.zone):
                changes = one.model_dump(exclude={"zone", "why"}, exclude_none=True)
                return self.model_copy(update=changes)
        return self
