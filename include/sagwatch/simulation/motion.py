"""How the ground moves: every source in three dimensions, and what a track sees of it.

Signs: east, north and up are positive; along the line of sight positive = toward the satellite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from sagwatch.domain.grid import Grid

from .look import line_of_sight
from .noise import to_utm
from .scenario import Rate, Scenario, Trough
from .scenario_physics import CreepingSlope, Landfill, Panel
from .subsidence import DAYS_PER_YEAR, panel_motion, reach_m

RAINY_DAY = 213  # 1 August

Floats = NDArray[np.float64]
Source = Panel | Landfill | CreepingSlope


@dataclass(frozen=True)
class Motion:
    """Displacement in metres, each of the grid's shape."""

    east: Floats
    north: Floats
    up: Floats


def moved_m(rates: list[Rate], since: date, until: date) -> float:
    """Displacement of a trough's centre between two days, metres along the line of sight."""
    total_mm = 0.0
    ends = [rate.start for rate in rates[1:]] + [date.max]
    for rate, end in zip(rates, ends, strict=True):
        days = (min(end, until) - max(rate.start, since)).days
        if days > 0:
            total_mm += rate.peak_los_mm_yr * days / DAYS_PER_YEAR
    return total_mm / 1000.0


def trough_shape(trough: Trough, epsg: int, grid: Grid) -> Floats:
    """Depth of a trough as a share of its centre's, 1 in the centre. Shape of the grid.

    ``gaussian`` is ``exp(-pi (r/R)^2)``, the influence function of the probability-integral method (Knothe 1957);
    ``probability_integral`` is that function integrated over a square panel of side R.
    """
    centre_x, centre_y = to_utm(epsg).transform(trough.lon, trough.lat)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    dx, dy = (x - centre_x) / trough.radius_m, (y - centre_y) / trough.radius_m
    if trough.profile == "gaussian":
        return np.exp(-np.pi * dy**2)[:, None] * np.exp(-np.pi * dx**2)[None, :]
    return _panel(dy)[:, None] * _panel(dx)[None, :]


def _panel(offset: Floats) -> Floats:
    """Influence of a strip as wide as one radius, normalised to its middle; offset in radii."""
    root = np.sqrt(np.pi)
    return (erf(root * (offset + 0.5)) - erf(root * (offset - 0.5))) / (2 * erf(root * 0.5))


def source_names(scenario: Scenario) -> list[str]:
    """Everything that moves, by name."""
    return [one.name for one in (*scenario.troughs, *_sources(scenario))]


def displacement_3d_m(
    scenario: Scenario, since: date, until: date, grid: Grid, only: str | None = None
) -> Motion:
    """True displacement between two days, of everything or of one source.

    `troughs` are known along the line of sight only, and left out.
    """
    total = Motion(*(np.zeros(grid.shape) for _ in range(3)))
    for source in _sources(scenario):
        if only in (None, source.name):
            _add(total, source, scenario.epsg, since, until, grid)
    return total


def displacement_m(
    scenario: Scenario, path: int, since: date, until: date, grid: Grid, only: str | None = None
) -> Floats:
    """True displacement of a track's line of sight between two days, metres, positive toward the satellite.

    Of everything, or of the source named by `only`. Shape of the grid.
    """
    total = np.zeros(grid.shape)
    for trough in scenario.troughs:
        depth_m = moved_m(trough.rates, since, until) if only in (None, trough.name) else 0.0
        if depth_m:
            total += depth_m * trough_shape(trough, scenario.epsg, grid)
    if _sources(scenario):
        moved = displacement_3d_m(scenario, since, until, grid, only)
        east, north, up = line_of_sight(scenario, path, grid)
        total += east * moved.east + north * moved.north + up * moved.up
    return total


def _sources(scenario: Scenario) -> Sequence[Source]:
    return (*scenario.panels, *scenario.landfills, *scenario.slopes)


def _add(total: Motion, source: Source, epsg: int, since: date, until: date, grid: Grid) -> None:
    """Add one source to the part of the grid that it reaches."""
    here, x, y = _window(source, epsg, grid)
    if x.size and y.size:
        moved = _motion(source, since, until, x[None, :], y[:, None])
        total.east[here] += moved.east
        total.north[here] += moved.north
        total.up[here] += moved.up


def _window(source: Source, epsg: int, grid: Grid) -> tuple[tuple[slice, slice], Floats, Floats]:
    """The part of a grid within a source's reach; east and north of its pixels from the source's place, metres."""
    place_x, place_y = to_utm(epsg).transform(source.lon, source.lat)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    dx, dy, reach = x - place_x, y - place_y, _reach_m(source)
    columns, rows = np.flatnonzero(np.abs(dx) <= reach), np.flatnonzero(np.abs(dy) <= reach)
    if not (columns.size and rows.size):
        return (slice(0, 0), slice(0, 0)), dx[:0], dy[:0]
    here = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return here, dx[here[1]], dy[here[0]]


def _reach_m(source: Source) -> float:
    """No pixel further away than this from the source's place, east or north, moves."""
    if isinstance(source, Panel):
        shift_m = source.depth_m / np.tan(np.radians(source.propagation_angle_deg))
        return float(source.face[-1].advanced_m + source.width_m / 2 + reach_m(source) * np.sqrt(2) + shift_m)
    if isinstance(source, Landfill):
        return 2.0 * source.radius_m
    return 2.0 * float(np.hypot(source.length_m, source.width_m))


def _motion(source: Source, since: date, until: date, x: Floats, y: Floats) -> Motion:
    """Displacement between two days at places east and north of the source, metres."""
    if isinstance(source, Panel):
        return _over_panel(source, since, until, x, y)
    if isinstance(source, Landfill):
        return _on_landfill(source, since, until, x, y)
    return _on_slope(source, since, until, x, y)


def _over_panel(source: Panel, since: date, until: date, x: Floats, y: Floats) -> Motion:
    shift_m = source.depth_m / np.tan(np.radians(source.propagation_angle_deg))
    dip = np.radians(source.dip_azimuth_deg)
    x, y = x - shift_m * np.sin(dip), y - shift_m * np.cos(dip)
    azimuth = np.radians(source.azimuth_deg)
    along, across = x * np.sin(azimuth) + y * np.cos(azimuth), x * np.cos(azimuth) - y * np.sin(azimuth)
    moved = panel_motion(source, since, until, along, across)
    return Motion(
        moved.along_m * np.sin(azimuth) + moved.across_m * np.cos(azimuth),
        moved.along_m * np.cos(azimuth) - moved.across_m * np.sin(azimuth),
        moved.up_m,
    )


def _on_landfill(source: Landfill, since: date, until: date, x: Floats, y: Floats) -> Motion:
    def settled(day: date) -> float:
        years = max((day - source.opened).days, 0) / DAYS_PER_YEAR
        return -source.settlement_m * -np.expm1(-source.per_year * years)

    shape = np.exp(-((np.hypot(x, y) / source.radius_m) ** 4))
    nothing = np.zeros(shape.shape)
    return Motion(nothing, nothing, (settled(until) - settled(since)) * shape)


def _on_slope(source: CreepingSlope, since: date, until: date, x: Floats, y: Floats) -> Motion:
    def crept(day: date) -> float:
        years = day.toordinal() / DAYS_PER_YEAR
        season = 2 * np.pi * (years - RAINY_DAY / DAYS_PER_YEAR)
        return source.mm_yr / 1000.0 * (years + source.rainy_share * np.sin(season) / (2 * np.pi))

    azimuth, plunge = np.radians(source.azimuth_deg), np.radians(source.plunge_deg)
    along, across = x * np.sin(azimuth) + y * np.cos(azimuth), x * np.cos(azimuth) - y * np.sin(azimuth)
    shape = np.exp(-(((along / source.length_m) ** 2 + (across / source.width_m) ** 2) ** 2))
    moved = (crept(until) - crept(since)) * shape
    return Motion(
        moved * np.cos(plunge) * np.sin(azimuth),
        moved * np.cos(plunge) * np.cos(azimuth),
        -moved * np.sin(plunge),
    )
