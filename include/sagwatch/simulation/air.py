"""What stands between satellite and ground on one pass, as the motion that it feigns.

Metres along the line of sight, positive toward the satellite.
Each disturbance belongs to a pass, so that pairs which share a date share it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

from .chance import generator
from .ground import height_m
from .kept import kept
from .look import ground_range_m, line_of_sight
from .noise import TEN_KM, difference_rms, lattice_of, power_law_field, to_utm
from .orbit import slant_range_m
from .scenario import Scenario
from .weather import zenith_delay_m

FREQUENCY_HZ = 5.405e9
METRES_PER_TECU = 40.28e16 / FREQUENCY_HZ**2
SOLAR_MAXIMUM_YEAR, SOLAR_CYCLE_YEARS = 2024.8, 11.0
DAWN_SHARE = 0.35
GROUND_SPEED_M_S = 6_800.0
#: How fast an orbit error of one metre changes along the orbit, per second.
ORBIT_ERROR_RATE = 0.01

Floats = NDArray[np.float64]


@lru_cache(maxsize=64)
def _atmosphere_lattice(seed: int, path: int, day: date, size: int, mm_at_10_km: float) -> Floats:
    # Power law -8/3 over two dimensions: turbulence at scales of kilometres (Hanssen 2001, section 4.7).
    field, spectrum = power_law_field(size, 8.0 / 3.0, generator(seed, "atmosphere", path, day))
    return field * (mm_at_10_km / 1000.0 / difference_rms(spectrum, TEN_KM))


def turbulent_m(scenario: Scenario, path: int, day: date, grid: Grid) -> Floats:
    """Turbulent delay of one pass. Shape of the grid."""
    lattice = lattice_of(scenario)
    amount = scenario.atmosphere.turbulent_mm_at_10_km
    return lattice.sample(_atmosphere_lattice(scenario.seed, path, day, lattice.size, amount), grid)


def stratified_m(scenario: Scenario, path: int, day: date, grid: Grid) -> Floats:
    """Delay of the large-scale weather, of which ERA5 knows; 0 without weather. Shape of the grid."""
    if scenario.weather is None:
        return np.zeros(grid.shape)
    moment = datetime.combine(day, scenario.track(path).utc, UTC)
    _, _, up = line_of_sight(scenario, path, grid)
    return -zenith_delay_m(scenario, moment, height_m(scenario, grid), grid) / up


def ionospheric_m(scenario: Scenario, path: int, day: date, grid: Grid) -> Floats:
    """Phase advance by a tilted layer of electrons: the sun's cycle, dusk more than dawn. Shape of the grid."""
    if scenario.ionosphere is None:
        return np.zeros(grid.shape)
    year = day.year + day.timetuple().tm_yday / 365.25
    activity = 0.2 + 0.8 * (1 + np.cos(2 * np.pi * (year - SOLAR_MAXIMUM_YEAR) / SOLAR_CYCLE_YEARS)) / 2
    hour = 1.0 if scenario.track(path).direction == "ASCENDING" else DAWN_SHARE
    sigma_tecu_m = scenario.ionosphere.gradient_tecu_per_100_km / 1e5 * activity * hour
    east, north = generator(scenario.seed, "ionosphere", path, day).normal(0.0, sigma_tecu_m, 2)
    x, y = _from_middle_m(scenario, grid)
    _, _, up = line_of_sight(scenario, path, grid)
    return METRES_PER_TECU * (east * x[None, :] + north * y[:, None]) / up


def orbital_m(scenario: Scenario, path: int, day: date, grid: Grid, *, restituted: bool) -> Floats:
    """Ramp of an orbit error: across the track by its perpendicular part, along it by its drift. Shape of the grid."""
    if scenario.orbits is None:
        return np.zeros(grid.shape)
    # One draw, two sizes: a restituted orbit errs in the same direction as the precise one that replaces it, only more.
    across, drift = generator(scenario.seed, "orbit", path, day).standard_normal(2)
    sigma_m = scenario.orbits.restituted_m if restituted else scenario.orbits.precise_m
    track = scenario.track(path)
    x, y = _from_middle_m(scenario, grid)
    middle = grid.west + grid.pixel_m / 2 - x[0], grid.north - grid.pixel_m / 2 - y[0]
    further_m = ground_range_m(track, grid, *middle)
    heading, incidence = np.radians(track.heading_deg), np.radians(track.incidence_deg)
    ahead_m = x[None, :] * np.sin(heading) + y[:, None] * np.cos(heading)
    per_metre = np.cos(incidence) / slant_range_m(track.incidence_deg)
    ramp = across * further_m * per_metre + drift * ORBIT_ERROR_RATE * ahead_m / GROUND_SPEED_M_S
    return sigma_m * ramp


def _from_middle_m(scenario: Scenario, grid: Grid) -> tuple[Floats, Floats]:
    """East of the columns and north of the rows from the middle of the scenario's box, metres."""
    west, south, east, north = scenario.box
    middle_x, middle_y = to_utm(scenario.epsg).transform((west + east) / 2, (south + north) / 2)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    return x - middle_x, y - middle_y


def disturbance_m(scenario: Scenario, name: str, path: int, day: date, grid: Grid) -> Floats:
    """One disturbance of one pass by its name. Shape of the grid.

    Raises
    ------
    ValueError
        There is none of that name.
    """
    if name in ("orbital_precise", "orbital_restituted"):
        return orbital_m(scenario, path, day, grid, restituted=name == "orbital_restituted")
    known = {"turbulent": turbulent_m, "stratified": stratified_m, "ionospheric": ionospheric_m}
    if name not in known:
        raise ValueError(f"no disturbance {name!r}")
    return known[name](scenario, path, day, grid)


@kept(12)
def feigned_m(scenario: Scenario, path: int, day: date, grid: Grid, *, restituted: bool) -> Floats:
    """All disturbances of one pass together. Shape of the grid."""
    total = turbulent_m(scenario, path, day, grid)
    total += stratified_m(scenario, path, day, grid)
    total += ionospheric_m(scenario, path, day, grid)
    total += orbital_m(scenario, path, day, grid, restituted=restituted)
    return total
