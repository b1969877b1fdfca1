"""A monitored mine: everything that a site file says, checked.

The models refuse unknown keys, so a misspelt rule is an error and not a silent default.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any, Literal, Self

import numpy as np
from croniter import croniter
from pydantic import Field, field_validator, model_validator
from shapely.geometry import Polygon, shape
from shapely.validation import explain_validity

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import content_sha256
from sagwatch.domain.mine_plan import Asset, Face
from sagwatch.domain.stack_rules import (
    CoherenceRules,
    CorrectionRules,
    DatumRules,
    InversionRules,
    NetworkRules,
)
from sagwatch.domain.strict import Day, Strict

Processor = Literal["INSAR_GAMMA", "INSAR_ISCE_BURST", "INSAR_ISCE_MULTI_BURST"]

#: Ground pixel of a HyP3 product in metres, by looks (HyP3 product guides).
PIXEL_M_BY_LOOKS = {"20x4": 80.0, "10x2": 40.0, "5x1": 20.0}


class GridRules(Strict):
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


class ReferencePlace(Strict):
    """A place on stable ground to which every displacement of the track refers."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Track(Strict):
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


class Contact(Strict):
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


class CreditRules(Strict):
    """The site's share of the account's monthly HyP3 credits."""

    per_month: int = Field(
        default=500, ge=0, description="This site spends at most so many credits a calendar month."
    )
    reserve: int = Field(default=100, ge=0, description="Never spend the account's last so many credits.")


class AuditRules(Strict):
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


class Site(Strict):
    """A mine, as its YAML file describes it."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{1,40}$", description="Also the name of the file and of the DAG."
    )
    title: str = Field(min_length=1, max_length=200)
    note: str = ""
    boundary: dict[str, Any] = Field(description="GeoJSON Polygon, longitude and latitude: the licence area.")
    start: Day
    end: Day | None = None
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
