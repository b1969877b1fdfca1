"""Two acquisitions of a track that the network wants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sagwatch.domain.ids import opaque_id


@dataclass(frozen=True, slots=True)
class Pair:
    """Two acquisitions of one track, earlier first."""

    track_id: str
    reference: date
    secondary: date
    perpendicular_baseline_m: float | None
    #: The rule that wants it, in words.
    why: str = ""

    def __post_init__(self) -> None:
        if self.reference >= self.secondary:
            raise ValueError(f"reference {self.reference} is not before secondary {self.secondary}")

    @property
    def id(self) -> str:
        return opaque_id("pair", self.track_id, self.reference, self.secondary)

    @property
    def baseline_days(self) -> int:
        return (self.secondary - self.reference).days

    @property
    def date12(self) -> str:
        """MintPy's name of the pair, YYYYMMDD_YYYYMMDD."""
        return f"{self.reference:%Y%m%d}_{self.secondary:%Y%m%d}"
