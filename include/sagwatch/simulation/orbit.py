"""State vectors that a catalogue would publish, built so that a wanted perpendicular baseline comes out.

The orbit is a circle through a point that sees the target at right angles to the flight (zero Doppler). Catalogue
clients difference two satellite positions along the direction ``velocity x line-of-sight``; the satellite is therefore
shifted by the baseline along exactly that direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

WGS84_A_M = 6_378_137.0
WGS84_E2 = 6.694379990141e-3
ORBIT_HEIGHT_M = 700_000.0
SPEED_M_S = 7_590.0
PRE_SECONDS, POST_SECONDS = -2.0, 8.0

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ViewingGeometry:
    """How one track sees one place."""

    lon: float
    lat: float
    heading_deg: float
    incidence_deg: float


@dataclass(frozen=True)
class StateVectors:
    """Earth-fixed positions (m) and velocities (m/s) shortly before and after the centre of a granule."""

    pre_time: datetime
    post_time: datetime
    pre_position_m: Vector
    post_position_m: Vector
    pre_velocity_m_s: Vector
    post_velocity_m_s: Vector


def earth_fixed(lon: float, lat: float) -> tuple[Vector, Vector, Vector, Vector]:
    """Position on the ellipsoid and the local east, north, up unit vectors, all earth-fixed."""
    lam, phi = np.radians(lon), np.radians(lat)
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    up = np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    prime_vertical_m = WGS84_A_M / np.sqrt(1 - WGS84_E2 * np.sin(phi) ** 2)
    position = prime_vertical_m * np.array([up[0], up[1], (1 - WGS84_E2) * up[2]])
    return position, east, north, up


def slant_range_m(incidence_deg: float, radius_m: float = 6_371_000.0) -> float:
    """Distance to a satellite at Sentinel-1's height, from the law of cosines on a sphere."""
    cos_i, sin_i = np.cos(np.radians(incidence_deg)), np.sin(np.radians(incidence_deg))
    return float(np.sqrt((radius_m + ORBIT_HEIGHT_M) ** 2 - (radius_m * sin_i) ** 2) - radius_m * cos_i)


def state_vectors(view: ViewingGeometry, centre_time: datetime, baseline_m: float) -> StateVectors:
    """State vectors of a pass whose perpendicular baseline to the nominal orbit is ``baseline_m``."""
    target, east, north, up = earth_fixed(view.lon, view.lat)
    heading, incidence = np.radians(view.heading_deg), np.radians(view.incidence_deg)
    flight = np.sin(heading) * east + np.cos(heading) * north
    toward_satellite_azimuth = heading - np.pi / 2  # the radar looks to the right
    horizontal = np.sin(toward_satellite_azimuth) * east + np.cos(toward_satellite_azimuth) * north
    sight = np.sin(incidence) * horizontal + np.cos(incidence) * up
    across = np.cross(flight, sight)
    radius_m = float(np.linalg.norm(target))
    centre = target + slant_range_m(view.incidence_deg, radius_m) * sight + baseline_m * across

    def at(seconds: float) -> tuple[Vector, Vector]:
        orbit_radius_m = np.linalg.norm(centre)
        outward = centre / orbit_radius_m
        along = flight - (flight @ outward) * outward
        along /= np.linalg.norm(along)
        angle = SPEED_M_S / orbit_radius_m * seconds
        position = orbit_radius_m * (np.cos(angle) * outward + np.sin(angle) * along)
        velocity = SPEED_M_S * (np.cos(angle) * along - np.sin(angle) * outward)
        return position, velocity

    (pre_position, pre_velocity), (post_position, post_velocity) = at(PRE_SECONDS), at(POST_SECONDS)
    return StateVectors(
        pre_time=centre_time + timedelta(seconds=PRE_SECONDS),
        post_time=centre_time + timedelta(seconds=POST_SECONDS),
        pre_position_m=pre_position,
        post_position_m=post_position,
        pre_velocity_m_s=pre_velocity,
        post_velocity_m_s=post_velocity,
    )
