"""The simulated ground that does not move: the area, its heights, its cover, its river.

Every field is a function of position (UTM metres) and of the scenario's seed. Fields are made on a coarse lattice of
their own and interpolated, so that products of any looks show the same world.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

from .kept import kept
from .noise import lattice_of, to_utm, unit_field
from .scenario import Scenario

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def area(scenario: Scenario, pixel_m: float) -> Grid:
    """The box of the scenario and its margin, on the lattice that every product of this pixel size shares."""
    west, south, east, north = scenario.box
    corners_x, corners_y = to_utm(scenario.epsg).transform(
        [west, west, east, east], [south, north, south, north]
    )
    left = np.floor((min(corners_x) - scenario.margin_m) / pixel_m)
    right = np.ceil((max(corners_x) + scenario.margin_m) / pixel_m)
    bottom = np.floor((min(corners_y) - scenario.margin_m) / pixel_m)
    top = np.ceil((max(corners_y) + scenario.margin_m) / pixel_m)
    columns, rows = int(right - left), int(top - bottom)
    return Grid(scenario.epsg, float(left * pixel_m), float(top * pixel_m), pixel_m, columns, rows)


@kept(4)
def height_m(scenario: Scenario, grid: Grid) -> Floats:
    """Ellipsoidal height: rolling loess hills cut by V-shaped gullies. Shape of the grid."""
    lattice = lattice_of(scenario)
    hills = lattice.sample(unit_field(scenario.seed, "hills", lattice.size, 4.0), grid)
    gullies = lattice.sample(unit_field(scenario.seed, "gullies", lattice.size, 4.0, 2_800.0), grid)
    small = lattice.sample(unit_field(scenario.seed, "small gullies", lattice.size, 3.5, 900.0), grid)
    # |noise| is creased where the noise changes sign: a branching net of valley floors.
    return (
        960.0 + 70.0 * hills + 95.0 * np.minimum(np.abs(gullies), 1.3) + 30.0 * np.minimum(np.abs(small), 1.3)
    )


@kept(4)
def cover(scenario: Scenario, grid: Grid) -> Floats:
    """Land cover: high = bare ground, low = vegetated; mean 0, standard deviation 1. Shape of the grid."""
    lattice = lattice_of(scenario)
    return lattice.sample(unit_field(scenario.seed, "land cover", lattice.size, 2.6), grid)


def vegetated_share(scenario: Scenario, grid: Grid) -> Floats:
    """0 = bare, 1 = all green in summer. Shape of the grid."""
    return np.clip(0.5 - 0.35 * cover(scenario, grid), 0.0, 1.0)


def dem_error_m(scenario: Scenario, grid: Grid) -> Floats:
    """How much the product's DEM is too low, metres. Shape of the grid."""
    lattice = lattice_of(scenario)
    field = unit_field(scenario.seed, "dem error", lattice.size, 2.0, 1_500.0)
    return scenario.dem_error_m * lattice.sample(field, grid)


@kept(4)
def water(scenario: Scenario, grid: Grid) -> Bools:
    """True where the river is. Shape of the grid."""
    if scenario.river is None:
        return np.zeros(grid.shape, dtype=bool)
    lons, lats = zip(*scenario.river.points, strict=True)
    xs, ys = to_utm(scenario.epsg).transform(lons, lats)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    nearest = np.full(grid.shape, np.inf)
    for start, end in zip(zip(xs, ys, strict=True), zip(xs[1:], ys[1:], strict=True), strict=False):
        nearest = np.minimum(nearest, _distance_m(x[None, :], y[:, None], start, end))
    return nearest <= scenario.river.width_m / 2


def _distance_m(x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Distance of points to a segment."""
    along = np.subtract(end, start)
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0.0, 1.0)
    return np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
