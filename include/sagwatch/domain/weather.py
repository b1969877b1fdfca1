"""What is asked of a weather model for an acquisition, and when it is asked again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from sagwatch.domain.delay import DelayState
from sagwatch.domain.grid import Grid

#: MintPy's: around the grid so many degrees, then outwards to whole multiples of the step.
_BUFFER_DEG, _STEP_DEG = 2, 10

#: ERA5T comes about five days after the day, ERA5 two to three months after it.
FIRST_ASKED_AFTER_DAYS, FINAL_ASKED_AFTER_DAYS = 4, 60
_SOON, _DAILY, _WEEKLY = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
#: A daily run must not miss its turn by the minutes that it began earlier than the one before.
_SLACK = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class WeatherRequest:
    """One hour of ERA5 on pressure levels over a box of whole degrees, as PyAPS asks for it."""

    day: date
    hour: int
    south: int
    north: int
    west: int
    east: int

    def __post_init__(self) -> None:
        if not (0 <= self.hour <= 23 and self.south < self.north and self.west < self.east):
            raise ValueError(f"not an hour over a box: {self}")

    @classmethod
    def of_pass(cls, day: date, center_line_utc_s: float, grid: Grid) -> WeatherRequest:
        """What MintPy's ``tropo_pyaps3`` would ask for.

        The nearest full hour of the same date: like MintPy, a pass after 23:30 gets 23:00 and not the next day's 0:00.

        Parameters
        ----------
        center_line_utc_s
            Seconds of the day at which the track's products were seen (attribute ``CENTER_LINE_UTC``).
        """
        hours = center_line_utc_s % 86_400 / 3600
        hour = min(range(24), key=lambda whole: abs(whole - hours))
        longitudes, latitudes = grid.lon_lat_of_corners()
        return cls(
            day,
            hour,
            _down(min(latitudes)),
            _up(max(latitudes)),
            _down(min(longitudes)),
            _up(max(longitudes)),
        )

    @property
    def moment(self) -> datetime:
        return datetime(self.day.year, self.day.month, self.day.day, self.hour, tzinfo=UTC)

    @property
    def file_name(self) -> str:
        """PyAPS's, for example ``ERA5_N30_N40_E100_E120_20250718_11.grb``."""
        edges = [_edge(value, "SN") for value in (self.south, self.north)]
        edges += [_edge(value, "WE") for value in (self.west, self.east)]
        return f"ERA5_{'_'.join(edges)}_{self.day:%Y%m%d}_{self.hour:02d}.grb"


def _down(degrees: float) -> int:
    return math.floor(math.floor(degrees - _BUFFER_DEG) / _STEP_DEG) * _STEP_DEG


def _up(degrees: float) -> int:
    return math.ceil(math.ceil(degrees + _BUFFER_DEG) / _STEP_DEG) * _STEP_DEG


def _edge(degrees: int, letters: str) -> str:
    return f"{letters[degrees >= 0]}{abs(degrees)}"


class Outcome(StrEnum):
    """How an attempt to get a delay ended."""

    OBTAINED = "obtained"
    #: The service has nothing for that hour yet.
    NOT_YET = "not yet"
    #: Anything else that may be gone at the next try.
    FAILED = "failed"


def next_try(
    day: date, state: DelayState, outcome: Outcome, failures: int, give_up_after_days: int, as_of: datetime
) -> datetime | None:
    """When a delay is asked for again; None: never, it is final.

    What is not out yet is asked for daily, what fails after 1, 2, 4 ... hours and then daily. A preliminary delay is
    left alone until the final data may be out, and asked for weekly from then on. For acquisitions older than
    ``give_up_after_days`` every "daily" is weekly.

    Parameters
    ----------
    state
        What is held now.
    failures
        How often it failed in a row, this time included.
    """
    if state == DelayState.FINAL:
        return None
    began = datetime(day.year, day.month, day.day, tzinfo=UTC)
    overdue = as_of - began > timedelta(days=give_up_after_days)
    if outcome == Outcome.FAILED:
        return as_of + min(_SOON * 2 ** min(failures - 1, 10), (_WEEKLY if overdue else _DAILY) - _SLACK)
    if overdue:
        return as_of + _WEEKLY - _SLACK
    if state == DelayState.PRELIMINARY:
        return max(began + timedelta(days=FINAL_ASKED_AFTER_DAYS), as_of + _WEEKLY - _SLACK)
    return max(began + timedelta(days=FIRST_ASKED_AFTER_DAYS), as_of + _DAILY - _SLACK)
