"""Where the satellite is, seen from the ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

from .noise import to_utm
from .orbit import slant_range_m
from .scenario import Scenario, Track

Floats = NDArray[np.float64]


def line_of_sight(scenario: Scenario, path: int, grid: Grid) -> tuple[Floats, Floats, Floats]:
    """East, north and up of the unit vector from the ground to the satellite, each of the grid's shape.

    Counted from the middle of the scenario's box, so that every grid shows the same geometry.
    """
    west, south, east, north = scenario.box
    middle = to_utm(scenario.epsg).transform((west + east) / 2, (south + north) / 2)
    theta, phi = _directions(scenario.track(path), grid, *middle)
    return np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)


def look_vectors(track: Track, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """HyP3's ``lv_theta`` and ``lv_phi``: direction from the ground to the satellite, radians.

    ``lv_theta`` is the elevation above the horizontal; ``lv_phi`` counts from east, counter-clockwise. The incidence
    grows with ground range by ``cos(i) / slant range + 1 / earth radius``.
    """
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    theta, phi = _directions(track, grid, float(x.mean()), float(y.mean()))
    return theta.astype(np.float32), phi.astype(np.float32)


def ground_range_m(track: Track, grid: Grid, middle_x: float, middle_y: float) -> Floats:
    """How much further from the satellite's track than the middle, on the ground. Shape of the grid."""
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    look_azimuth = np.radians(track.heading_deg + 90.0)
    return (x - middle_x)[None, :] * np.sin(look_azimuth) + (y - middle_y)[:, None] * np.cos(look_azimuth)


def _directions(track: Track, grid: Grid, middle_x: float, middle_y: float) -> tuple[Floats, Floats]:
    further_m = ground_range_m(track, grid, middle_x, middle_y)
    incidence = np.radians(track.incidence_deg)
    per_metre = np.cos(incidence) / slant_range_m(track.incidence_deg) + 1.0 / 6_371_000.0
    theta = np.pi / 2 - (incidence + further_m * per_metre)
    toward_satellite = np.radians(-180.0 - track.heading_deg)
    phi = np.angle(np.exp(1j * toward_satellite)) + further_m * 2e-8
    return theta, phi
