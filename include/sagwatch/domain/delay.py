"""What is known of the troposphere's delay at an acquisition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

#: Methods whose delays come from outside, one file for each acquisition.
FETCHED_METHODS = ("era5", "gacos")


class DelayState(StrEnum):
    """How good the delay of an acquisition is; anything but `FINAL` makes its displacement provisional."""

    NONE = "none"
    PRELIMINARY = "preliminary"
    FINAL = "final"


@dataclass(frozen=True, slots=True, order=True)
class StoredDelay:
    """A delay map of one acquisition in the track's folder.

    ``name`` is the file's path in the track's folder, ``sha256`` its hash. The file has MintPy's sign and unit: metres
    of line-of-sight displacement that the delay feigns, so it is subtracted; not referenced in space or time.
    """

    day: date
    method: str
    state: DelayState
    name: str
    sha256: str

    def __post_init__(self) -> None:
        if self.state == DelayState.NONE:
            raise ValueError(f"{self.day}: a delay that is not known has no file")
