"""The faces of a mine, and what stands above them."""

from __future__ import annotations

from datetime import date
from typing import Any, Self

from pydantic import Field, model_validator
from shapely.geometry import shape

from sagwatch.domain.strict import Day, Strict


class Asset(Strict):
    """Something that can be damaged: a point, a line or an area."""

    name: str = Field(min_length=1, max_length=120)
    kind: str = Field(default="", max_length=60, description="As shaft, road, village.")
    geometry: dict[str, Any]

    @property
    def shape(self) -> Any:
        return shape(self.geometry)


class Face(Strict):
    """A longwall face: the panel's area, when it is worked, and where to it advances."""

    name: str = Field(min_length=1, max_length=120)
    seam: str = Field(default="", max_length=60)
    begin: Day = Field(ge=date(1900, 1, 1), lt=date(2200, 1, 1))
    end: Day | None = Field(default=None, lt=date(2200, 1, 1))
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
