"""The ground above one longwall panel: probability-integral method in space, Knothe's function in time.

An extracted element of the seam lowers the ground by ``W0 f(x - xi) f(y - eta)`` with ``f(x) = exp(-pi x^2 / r^2) / r``
and ``W0 = thickness x factor x cos(dip)`` (Knothe 1957; Liu and Liao 1965). It does so with ``1 - exp(-c t)`` from
the day on which the face passed it, so the ground over an advancing face starts slowly, accelerates and settles. A
small share of the subsidence comes with a second, slower constant: residual settlement. Horizontal motion is
``b r`` times the tilt, toward the deepest place.

Not simulated: different radii up and down the dip, the effect of an old goaf beside the panel, steps and cracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.special import erf

from .scenario_physics import Panel

DAYS_PER_YEAR = 365.25
ELEMENTS_PER_RADIUS = 25
REACH_RADII = 2.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PanelMotion:
    """Displacement in the panel's own directions, metres; all of one shape."""

    up_m: Floats
    along_m: Floats
    across_m: Floats


def settled_share(panel: Panel, days: Floats) -> Floats:
    """Share of its subsidence that an element has caused ``days`` after its extraction."""
    years = np.maximum(days, 0.0) / DAYS_PER_YEAR
    late = panel.residual_share
    soon = (1.0 - late) * -np.expm1(-panel.knothe_per_year * years)
    return soon + late * -np.expm1(-panel.residual_per_year * years)


def panel_motion(panel: Panel, since: date, until: date, along: Floats, across: Floats) -> PanelMotion:
    """What a panel did to the ground between two days.

    Parameters
    ----------
    along, across : any equal shape, metres
        Place from the middle of the set-up room: in the direction of advance, and to the right of it.
    """
    profile = _advance_profile(panel, since, until)
    along = np.clip(along, profile.x[0], profile.x[-1])  # beyond, the ground does not move
    half_m = panel.width_m / 2 - panel.inflection_m
    root = np.sqrt(np.pi) / panel.radius_m
    section = (erf(root * (across + half_m)) - erf(root * (across - half_m))) / 2
    section_slope = _influence(across + half_m, panel.radius_m) - _influence(across - half_m, panel.radius_m)
    full_m = panel.thickness_m * panel.subsidence_factor * np.cos(np.radians(panel.dip_deg))
    horizontal_m = panel.horizontal_factor * panel.radius_m * full_m
    depth, slope = profile(along), profile(along, 1)
    return PanelMotion(
        -full_m * depth * section, horizontal_m * slope * section, horizontal_m * depth * section_slope
    )


def _influence(offset_m: Floats, radius_m: float) -> Floats:
    """Influence function of the method, per metre; its integral is 1."""
    return np.exp(-np.pi * (offset_m / radius_m) ** 2) / radius_m


def _advance_profile(panel: Panel, since: date, until: date) -> CubicHermiteSpline:
    """Share of full subsidence gained between two days, along the advance, with exact slopes."""
    radius, inset = panel.radius_m, panel.inflection_m
    total_m = panel.face[-1].advanced_m
    x = np.arange(-REACH_RADII * radius, total_m + REACH_RADII * radius + 1, radius / ELEMENTS_PER_RADIUS)
    edges = np.linspace(inset, total_m - inset, 2 + int((total_m - 2 * inset) / radius * ELEMENTS_PER_RADIUS))
    passed = _day_of_face(panel, (edges[1:] + edges[:-1]) / 2)
    gained = settled_share(panel, until.toordinal() - passed) - settled_share(
        panel, since.toordinal() - passed
    )
    offset = x[:, None] - edges[None, :]
    steps = erf(np.sqrt(np.pi) * offset / radius) / 2
    slopes = _influence(offset, radius)
    return CubicHermiteSpline(
        x, (steps[:, :-1] - steps[:, 1:]) @ gained, (slopes[:, :-1] - slopes[:, 1:]) @ gained
    )


def _day_of_face(panel: Panel, place_m: Floats) -> Floats:
    """Ordinal day on which the face passed a place."""
    metres = np.array([one.advanced_m for one in panel.face])
    days = np.array([one.day.toordinal() for one in panel.face], dtype=float)
    return np.interp(place_m, metres, days)


def reach_m(panel: Panel) -> float:
    """How far outside the mined rectangle the ground still moves visibly."""
    return REACH_RADII * panel.radius_m
