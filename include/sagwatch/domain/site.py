"""A monitored mine: everything that a site file says, checked.

The models refuse unknown keys, so a misspelt rule is an error and not a silent default.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from croniter import croniter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from shapely.geometry import Polygon, shape
from shapely.validation import explain_validity

from sagwatch.domain.delay import FETCHED_METHODS
from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import content_sha256

Processor = Literal["INSAR_GAMMA", "INSAR_ISCE_BURST", "INSAR_ISCE_MULTI_BURST"]

#: Ground pixel of a HyP3 product in metres, by looks (HyP3 product guides).
PIXEL_M_BY_LOOKS = {"20x4": 80.0, "10x2": 40.0, "5x1": 20.0}


class _Strict(BaseModel):
    # A threshold of NaN is never exceeded: such a site would be silent for ever.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GridRules(_Strict):
    """The track's fixed lattice, in whole pixels."""

    epsg: int = Field(description="Projected coordinate system of the products (UTM zone), EPSG code.")
    west: float = Field(description="Outer edge of the first column, metres; a multiple of pixel_m.")
    north: float = Field(description="Outer edge of the first row, metres; a multiple of pixel_m.")
    pixel_m: float = Field(gt=0, description="Pixel size, metres.")
    columns: int = Field(ge=3, le=20000)
    rows: int = Field(ge=3, le=20000)

    @field_validator("epsg")
    @classmethod
    def _is_a_utm_zone(cls, epsg: int) -> int:
        if not any(first < epsg <= first + 60 for first in (32600, 32700)):
            raise ValueError(
                f"{epsg} is no UTM zone on WGS84, and HyP3 delivers no other products; 32601 to 32660 are the zones "
                "north of the equator, 32701 to 32760 those south of it"
            )
        return epsg

    @model_validator(mode="after")
    def _is_a_lattice(self) -> Self:
        self.grid()
        return self

    def grid(self) -> Grid:
        return Grid(**self.model_dump())

    @property
    def outline(self) -> Polygon:
        """The quadrangle between its corner pixels, longitude and latitude; empty where they are nowhere on Earth."""
        return _on_the_map(self.grid())


class ReferencePlace(_Strict):
    """A place on stable ground to which every displacement of the track refers."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Track(_Strict):
    """One viewing geometry of a site."""

    site: str = Field(default="", description="Filled in by the site.")
    name: str = Field(pattern=r"^t\d{3}[ad]$", description="Relative orbit and direction, as t011a.")
    relative_orbit: int = Field(ge=1, le=175)
    direction: Literal["ascending", "descending"]
    polarisation: Literal["VV", "HH"] = "VV"
    bursts: tuple[str, ...] = Field(
        default=(), max_length=15, description="Full burst ids, as 011_021697_IW3."
    )
    frame: int | None = Field(default=None, ge=1, description="ESA frame number, for INSAR_GAMMA.")
    processor: Processor = "INSAR_ISCE_MULTI_BURST"
    looks: Literal["20x4", "10x2", "5x1"] = "5x1"
    grid: GridRules
    reference: ReferencePlace | None = Field(
        default=None, description="Pinned reference point; chosen once by rule where it is left out."
    )

    @field_validator("bursts")
    @classmethod
    def _burst_ids(cls, bursts: tuple[str, ...]) -> tuple[str, ...]:
        for burst in bursts:
            if not re.fullmatch(r"\d{3}_\d{6}_IW[123]", burst):
                raise ValueError(f"{burst!r} is not a full burst id; it reads like 011_021697_IW3")
            if bursts.count(burst) > 1:
                raise ValueError(f"{burst} stands here {bursts.count(burst)} times; name it once")
        return tuple(sorted(bursts))

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        letter = self.direction[0]
        if self.name != f"t{self.relative_orbit:03d}{letter}":
            raise ValueError(f"name {self.name!r} should be 't{self.relative_orbit:03d}{letter}'")
        if bool(self.bursts) == (self.frame is not None):
            raise ValueError("name either bursts or a frame, not both and not neither")
        if (self.frame is not None) != (self.processor == "INSAR_GAMMA"):
            raise ValueError("a frame goes with INSAR_GAMMA, bursts go with the INSAR_ISCE processors")
        if self.processor == "INSAR_GAMMA" and self.looks == "5x1":
            raise ValueError("INSAR_GAMMA offers looks 20x4 and 10x2; 5x1 exists for bursts only")
        if self.processor == "INSAR_ISCE_BURST" and len(self.bursts) != 1:
            raise ValueError("INSAR_ISCE_BURST takes exactly one burst; use INSAR_ISCE_MULTI_BURST")
        expected = PIXEL_M_BY_LOOKS[self.looks]
        if self.grid.pixel_m != expected:
            raise ValueError(
                f"looks {self.looks} make pixels of {expected:g} m, the grid says {self.grid.pixel_m:g}"
            )
        for burst in self.bursts:
            if int(burst[:3]) != self.relative_orbit:
                raise ValueError(f"burst {burst} is not of relative orbit {self.relative_orbit}")
        if self.reference is not None:
            try:
                self.grid.grid().row_column(self.reference.longitude, self.reference.latitude)
            except ValueError as problem:
                raise ValueError(
                    f"reference: {problem}; take a stable place inside, or leave the key out"
                ) from None
        return self

    @property
    def id(self) -> str:
        return f"{self.site}/{self.name}"

    @property
    def range_looks(self) -> int:
        return int(self.looks.split("x")[0])

    @property
    def azimuth_looks(self) -> int:
        return int(self.looks.split("x")[1])


class NetworkRules(_Strict):
    """Which pairs are wanted."""

    max_days: int = Field(default=30, ge=1, le=1000, description="Longest temporal baseline, days.")
    max_perpendicular_m: float = Field(
        default=300, gt=0, description="Longest perpendicular baseline, metres."
    )
    neighbours: int = Field(
        default=2, ge=1, le=20, description="Pairs to at most so many following acquisitions."
    )
    bridge: bool = Field(
        default=False,
        description="Join a disconnected date to its nearest neighbour in time, beyond the limits.",
    )
    in_pieces: Literal["solve", "refuse"] = Field(
        default="solve",
        description="A network in pieces: MintPy's answer (smallest velocities) and a warning, or no answer.",
    )
    reorder_restituted: bool = Field(
        default=False,
        description="Order a pair that was made with restituted orbits once more, 21 days after its later acquisition, "
        "when the precise ones are out. Costs the credits of those pairs twice; after all first orders, never a third.",
    )
    only: tuple[tuple[date, date], ...] | None = Field(
        default=None, description="Exactly these pairs and no others, for archives that exist already."
    )


class CoherenceRules(_Strict):
    least_mean: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="An interferogram with a lower mean coherence is left out of the stack. The mean is over all valid "
        "pixels on land of the track's grid (MintPy's coherenceBased takes its area of interest).",
    )
    keep_connected: bool = Field(
        default=True,
        description="Keep the most coherent of those without which acquisitions would be cut off from the rest, and no "
        "more (MintPy's keepMinSpanTree).",
    )
    least_pixel: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="An observation with a lower coherence counts as missing (MintPy's maskThreshold).",
    )


class DatumRules(_Strict):
    """Where the reference point is looked for, if the site file names none; see engine/reference.py."""

    draw_m: float = Field(
        default=1000, ge=0, description="No reference point so near to a face of the mine plan, metres."
    )
    height_m: float = Field(
        default=100,
        gt=0,
        description="A candidate so far above or below the boundary's median height counts half: the delay that "
        "depends on height maps into everything.",
    )


class InversionRules(_Strict):
    """As MintPy's networkInversion."""

    weight: Literal["var", "fim", "coh", "no"] = "var"
    min_redundancy: float = Field(default=1.0, ge=0, le=10)
    min_temporal_coherence: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Points below this are published as not reliable, and raise no alert.",
    )


class TroposphereRules(_Strict):
    """Where the troposphere's delay at each acquisition comes from."""

    method: Literal["none", "era5", "gacos", "height_correlation"] = Field(
        default="none",
        description="era5: the weather model, fetched from the Climate Data Store, delays by PyAPS; gacos: files that "
        "somebody puts into the track's folder `gacos`; height_correlation: from the displacements themselves.",
    )
    missing: Literal["mean", "height_correlation"] = Field(
        default="mean",
        description="What stands in while an acquisition has no delay: that of an average acquisition, or what its own "
        "displacements say about their dependence on height.",
    )
    give_up_after_days: int = Field(
        default=120,
        ge=1,
        le=1000,
        description="A delay that did not come (or did not become final) so long after the acquisition is reported, "
        "and asked for once a week from then on.",
    )

    @property
    def is_fetched(self) -> bool:
        """Whether delays come from outside, acquisition by acquisition."""
        return self.method in FETCHED_METHODS


class RampRules(_Strict):
    """A plane through each acquisition's displacements, as MintPy's remove_ramp. It may eat what is wide and slow."""

    shape: Literal["none", "linear", "quadratic"] = "none"


class TopographyRules(_Strict):
    """The residue of an imperfect height model, as MintPy's dem_error."""

    estimate: bool = False
    polynomial_order: int = Field(
        default=2, ge=1, le=3, description="Of the motion that is estimated beside it."
    )


class UnwrappingRules(_Strict):
    """What is done about whole cycles that phase unwrapping got wrong."""

    bridge: bool = Field(
        default=False, description="Join the connected components of each interferogram (MintPy's bridging)."
    )


class CorrectionRules(_Strict):
    """What is corrected in the displacements; each part can be switched by itself. MintPy's order."""

    unwrapping: UnwrappingRules = UnwrappingRules()
    troposphere: TroposphereRules = TroposphereRules()
    ramp: RampRules = RampRules()
    topography: TopographyRules = TopographyRules()
    exclude_around_faces_m: float = Field(
        default=500,
        ge=0,
        le=10000,
        description="Ground within this distance of a face of the mine plan never counts as steady: no ramp and no "
        "correlation with height is estimated on it.",
    )


#: Two satellites of Sentinel-1 see a place so often on one track.
_SHORTEST_REVISIT_DAYS = 6


class WindowRules(_Strict):
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


#: How a rule speaks: a message of its own, a line of the monthly digest, or not at all. YAML reads a bare off as False.
Tell = Annotated[
    Literal["page", "digest", "off"], BeforeValidator(lambda said: "off" if said is False else said)
]
_TELL = "page: a message of its own; digest: a line of the monthly digest; off: the rule is not judged."


class HistoryRule(_Strict):
    """R1-history, the published study's rule: the velocity of the whole record. It comes and goes years late."""

    tell: Tell = Field(default="digest", description=_TELL)


class TrendRule(_Strict):
    """R2: the rate of the shortest window against the zone's before it (a year at most), while its alert is open."""

    tell: Tell = Field(default="digest", description=_TELL)
    least_change_mm_yr: float = Field(default=10, gt=0, description="Smaller changes are no news, mm/yr.")
    deviations: float = Field(
        default=3, ge=2, le=10, description="A change must exceed so many of its deviations."
    )


class NewZoneRule(_Strict):
    """R3: a zone whose first alert is raised, inside or outside the licence area."""

    inside: Tell = Field(default="digest", description=_TELL)
    outside: Tell = Field(default="page", description=_TELL)


class AccelerationRule(_Strict):
    """R4: three successive windows faster and a proved bend; inverse velocity is shown, never a date of failure."""

    tell: Tell = Field(default="digest", description=_TELL)


class DisplacementRule(_Strict):
    """R5: how far a zone has moved against its surroundings."""

    tell: Tell = Field(default="digest", description=_TELL)
    levels_mm: tuple[float, ...] = Field(
        default=(-10, -100, -300), description="Line-of-sight displacement at which level 1, 2, ... begin."
    )
    baseline: date | None = Field(
        default=None, description="Counted from here; from the record's beginning if left out."
    )

    @field_validator("levels_mm")
    @classmethod
    def _a_ladder_downwards(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        return ladder(levels, "[-10, -100, -300]")


class TiltRule(_Strict):
    """R6: tilt and curvature of the line-of-sight displacement at assets. Nothing is on until a preset is named."""

    tell: Tell = Field(default="page", description=_TELL)
    preset: Literal["china_brick_concrete", "poland_mining_area"] | None = Field(
        default=None,
        description="Limits by name; a person must have checked them against the code of practice that applies.",
    )


class BlindRule(_Strict):
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


class HealthRule(_Strict):
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


class ZoneRules(_Strict):
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


class AlertRules(_Strict):
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


class Contact(_Strict):
    name: str = Field(min_length=1)
    email: str | None = Field(
        default=None,
        pattern=r"^[^@\s,;:<>\"]+@[^@\s,;:<>\"]+$",
        description="One address, as ann@example.org.",
    )
    slack: bool = Field(
        default=False, description="Post to the Slack webhook of the Connection sagwatch_slack."
    )
    least_level: int = Field(default=1, ge=1, le=9)
    health: bool = Field(default=False, description="Is told about the system's own health (rule R8).")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.email is None and not self.slack:
            raise ValueError(
                f"contact {self.name!r} has neither an email nor slack: true; add one, or take the contact out"
            )
        return self


class Asset(_Strict):
    """Something that can be damaged: a point, a line or an area."""

    name: str = Field(min_length=1, max_length=120)
    kind: str = Field(default="", max_length=60, description="As shaft, road, village.")
    geometry: dict[str, Any]

    @property
    def shape(self) -> Any:
        return shape(self.geometry)


class Face(_Strict):
    """A longwall face: the panel's area, when it is worked, and where to it advances."""

    name: str = Field(min_length=1, max_length=120)
    seam: str = Field(default="", max_length=60)
    begin: date = Field(ge=date(1900, 1, 1), lt=date(2200, 1, 1))
    end: date | None = Field(default=None, lt=date(2200, 1, 1))
    advance_deg: float | None = Field(
        default=None, ge=0, lt=360, description="Direction of advance, degrees from north over east."
    )
    depth_m: float | None = Field(default=None, gt=0, le=3000, description="Depth of the seam, metres.")
    thickness_m: float | None = Field(default=None, gt=0, le=50, description="Mined thickness, metres.")
    subsidence_factor: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Share of the thickness by which the ground sinks at most; less where the gob is backfilled.",
    )
    geometry: dict[str, Any]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end < self.begin:
            raise ValueError(f"face {self.name!r} ends on {self.end}, before it begins on {self.begin}")
        return self

    @property
    def shape(self) -> Any:
        return shape(self.geometry)

    def works_on(self, day: date) -> bool:
        return self.begin <= day and (self.end is None or day <= self.end)


class CreditRules(_Strict):
    """The site's share of the account's monthly HyP3 credits."""

    per_month: int = Field(
        default=500, ge=0, description="This site spends at most so many credits a calendar month."
    )
    reserve: int = Field(default=100, ge=0, description="Never spend the account's last so many credits.")


class AuditRules(_Strict):
    """How much of a revision the weekly audit compares with MintPy; hashes are always all compared."""

    pixels: int | None = Field(
        default=None, ge=1, description="Draw so many pixels by chance; all where it is left out."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        description="Of the draw; where it is left out, the day's number, so others every week.",
    )

    def seed_on(self, day: date) -> int:
        return day.toordinal() if self.seed is None else self.seed


class Site(_Strict):
    """A mine, as its YAML file describes it."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{1,40}$", description="Also the name of the file and of the DAG."
    )
    title: str = Field(min_length=1, max_length=200)
    note: str = ""
    boundary: dict[str, Any] = Field(description="GeoJSON Polygon, longitude and latitude: the licence area.")
    start: date
    end: date | None = None
    schedule: str = Field(default="15 */6 * * *", description="Cron, UTC.")
    patience_minutes: int = Field(default=300, ge=1, description="A run waits for HyP3 jobs at most so long.")
    max_attempts: int = Field(default=3, ge=1, le=10, description="Orders of one pair before it is given up.")
    tracks: tuple[Track, ...] = Field(min_length=1)
    network: NetworkRules = NetworkRules()
    coherence: CoherenceRules = CoherenceRules()
    datum: DatumRules = DatumRules()
    inversion: InversionRules = InversionRules()
    corrections: CorrectionRules = CorrectionRules()
    alerts: AlertRules = AlertRules()
    credits: CreditRules = CreditRules()
    audit: AuditRules = AuditRules()
    contacts: tuple[Contact, ...] = ()
    assets: tuple[Asset, ...] = Field(default=(), description="From the site's folder: assets.geojson.")
    faces: tuple[Face, ...] = Field(default=(), description="From the site's folder: faces.geojson.")

    @model_validator(mode="before")
    @classmethod
    def _tell_the_tracks(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("tracks"), list):
            name = raw.get("name")
            tracks = [{**t, "site": name} if isinstance(t, dict) and name else t for t in raw["tracks"]]
            return {**raw, "tracks": tracks}
        return raw

    @field_validator("schedule")
    @classmethod
    def _a_cron_line(cls, schedule: str) -> str:
        if not croniter.is_valid(schedule):
            raise ValueError(f"{schedule!r} is no cron line; five fields as '15 */6 * * *', or @daily")
        return schedule

    @field_validator("boundary")
    @classmethod
    def _a_simple_polygon(cls, boundary: dict[str, Any]) -> dict[str, Any]:
        if boundary.get("type") != "Polygon":
            raise ValueError("must be a GeoJSON object of type Polygon")
        try:
            polygon = shape(boundary)
        except Exception as problem:
            raise ValueError(f"coordinates cannot be read as a polygon ({problem})") from problem
        if polygon.is_empty or not polygon.is_valid:
            raise ValueError(
                f"is not a simple polygon: {explain_validity(polygon)}; draw it without crossings"
            )
        west, south, east, north = polygon.bounds
        if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
            raise ValueError(
                "has coordinates outside longitude -180..180, latitude -90..90; the order is [lon, lat]"
            )
        return boundary

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        names = [track.name for track in self.tracks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tracks are called {name}")
        for track in self.tracks:
            if not self.polygon.intersects(track.grid.outline):
                raise ValueError(
                    f"track {track.name}: no pixel of its grid lies inside the boundary; check epsg, west and north "
                    "against it"
                )
            grid = track.grid.grid()
            if (least := self.alerts.on_pixels(grid.pixel_m).least_pixels) > grid.pixels:
                raise ValueError(
                    f"alerts: track {track.name} has {grid.pixels} pixels, fewer than the {least} that least_pixels or "
                    "least_area_m2 ask for, so nothing would ever be told; lower them"
                )
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self

    @property
    def polygon(self) -> Polygon:
        return shape(self.boundary)

    @property
    def slack(self) -> bool:
        return any(contact.slack for contact in self.contacts)

    def track(self, name: str) -> Track:
        for track in self.tracks:
            if track.name == name:
                return track
        raise KeyError(
            f"site {self.name} has no track {name}; it has {', '.join(t.name for t in self.tracks)}"
        )

    def solution_config_sha256(self, track: Track) -> str:
        """Hash of everything that changes a revision's numbers, apart from its interferograms."""
        return content_sha256(
            {
                "grid": track.grid.model_dump(),
                "coherence": self.coherence.model_dump(),
                "inversion": self.inversion.model_dump(),
                "corrections": self.corrections.model_dump(),
                "looks": track.looks,
            }
        )


def _on_the_map(grid: Grid) -> Polygon:
    """The quadrangle between a grid's corner pixels, longitude and latitude; empty where they are nowhere on Earth."""
    last_row, last_column = grid.rows - 1, grid.columns - 1
    longitudes, latitudes = grid.lon_lat(
        np.array([0, 0, last_row, last_row]), np.array([0, last_column, last_column, 0])
    )
    corners = list(zip(longitudes.tolist(), latitudes.tolist(), strict=True))
    return Polygon(corners) if np.isfinite(corners).all() else Polygon()


def site_day_start(day: date) -> datetime:
    """Midnight UTC at the beginning of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
