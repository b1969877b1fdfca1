"""One pass of a satellite over a track on one day, and the granules in which the catalogue shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class AcquisitionState(StrEnum):
    """Every acquisition is in exactly one of these; ``NEW`` is what nobody has explained yet."""

    NEW = "new"
    USED = "used"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    PENDING = "pending"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Granule:
    """One entry of the catalogue: a burst or a scene, in one processing."""

    name: str
    acquired_at: datetime
    platform: str
    relative_orbit: int
    absolute_orbit: int | None
    direction: str
    polarisation: str
    burst: str | None
    frame: int | None
    footprint_wkt: str
    bytes: int | None
    processing_version: str | None
    published_at: datetime | None

    @property
    def date(self) -> date:
        return self.acquired_at.date()


@dataclass(frozen=True, slots=True)
class Acquisition:
    """A track's acquisition, with the granules chosen to stand for it."""

    track_id: str
    date: date
    acquired_at: datetime
    platform: str
    granules: tuple[str, ...]
    #: Metres relative to the track's first acquisition with state vectors; None where the catalogue has none.
    perpendicular_baseline_m: float | None
