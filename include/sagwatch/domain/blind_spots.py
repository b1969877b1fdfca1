"""Where InSAR cannot see the ground, or shows a lower bound only: a code for every pixel of a track.

The phase tells neighbouring pixels apart only while they move by less than a quarter wavelength against each other
within one interferogram (Massonnet and Feigl 1998, doi:10.1029/97RG03139). Whoever moves faster is shown with a whole
number of half wavelengths too little, and so is everything behind that edge. What was lost once stays lost in every
later displacement: so the whole record is searched, and nothing has to be remembered beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from sagwatch.domain.grid import Grid
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Face
from sagwatch.domain.sentence import STEP_LIMIT_MM
from sagwatch.domain.zone_shape import ringed

_DAYS_PER_YEAR = 365.25
#: A rate is taken over so many days: one acquisition's noise then hardly shows, and a passing face still does.
_RATE_DAYS = 60
#: The longest interferogram of a network usually spans so many pauses between acquisitions.
_PAUSES_A_PAIR = 2
#: Tangent of the angle of influence that most coal mines have; a range of 1.2 to 2.6 is reported.
_TAN_BETA = 2.0
_EIGHT = np.ones((3, 3), dtype=bool)
#: Steep pixels in a square of three by three, from which on they are an area.
_LEAST_STEEP = 4

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]


class Blind(IntEnum):
    """Stored per point as its number, shown as its words; where several hold, the first of `_ORDER`."""

    NONE = 0
    BEYOND = 1
    NEAR = 2
    RINGED = 3
    HOLE = 4
    CONTRADICTED = 5
    INCOHERENT = 6
    FACE = 7

    def words(self, limit: GradientLimit, step_share: float) -> str:
        """What is wrong there, in a sentence of its own."""
        within = f"the {limit.los_mm:.1f} mm of LOS motion between pixels of {limit.pixel_m:g} m within one interval"
        return {
            Blind.NONE: "",
            Blind.BEYOND: f"beyond the gradient limit: it went beyond {within} between acquisitions at some time of "
            "the record, so its displacement is a lower bound",
            Blind.NEAR: f"near the gradient limit: from {step_share:.0%} of {within} (or of an interferogram over two "
            "of them), so whole cycles may be missing",
            Blind.RINGED: "ringed by ground near the gradient limit: whole cycles may be missing, so its displacement "
            "is a lower bound",
            Blind.HOLE: "no data inside moving ground: the motion of its surroundings is a lower bound",
            Blind.CONTRADICTED: "its newest interferograms contradict each other by whole cycles",
            Blind.INCOHERENT: "temporal coherence below the site's limit: what is shown there may be noise",
            Blind.FACE: "over a worked face that is expected to tilt the ground beyond the gradient limit",
        }[self]


_ORDER = (
    Blind.BEYOND,
    Blind.HOLE,
    Blind.RINGED,
    Blind.CONTRADICTED,
    Blind.INCOHERENT,
    Blind.NEAR,
    Blind.FACE,
)


@dataclass(frozen=True, slots=True)
class GradientLimit:
    """The steepest motion that a track can tell: between neighbouring pixels, within one pause of its acquisitions.

    ``incidence_deg``: between the vertical and the line of sight; None where it is not known.
    """

    pixel_m: float
    interval_days: float
    incidence_deg: float | None = None

    @classmethod
    def of(cls, grid: Grid, dates: Sequence[date], incidence_deg: float | None) -> GradientLimit:
        """With the usual pause between the latest acquisitions; 12 days where there is only one."""
        pauses = [(later - earlier).days for earlier, later in pairwise(dates[-14:])]
        return cls(grid.pixel_m, float(median(pauses)) if pauses else 12.0, incidence_deg)

    @property
    def los_mm(self) -> float:
        """A quarter wavelength, LOS mm between neighbours within one interval."""
        return STEP_LIMIT_MM

    @property
    def los_mm_yr(self) -> float:
        """The same as a rate, LOS mm/yr a pixel."""
        return self.los_mm * _DAYS_PER_YEAR / self.interval_days

    @property
    def vertical_mm(self) -> float | None:
        """Purely vertical motion that the line of sight shows as the limit, mm within one interval."""
        if self.incidence_deg is None:
            return None
        return float(self.los_mm / np.cos(np.radians(self.incidence_deg)))


@dataclass(frozen=True, eq=False)
class Steps:
    """Steepest LOS step between a pixel and a neighbour in the record, as a share of the limit; NaN without data.

    ``once``: within one interval between acquisitions, or from before to after one that the pixel lacks: then one
    interferogram spans both. ``lasting``: rate over two months, times what an interferogram
    spans at most. Shape (rows, columns).
    """

    once: Floats
    lasting: Floats


def record_steps(dates: Sequence[date], los_mm: Floats, land: Bools) -> Steps:
    """The steepest steps of a displacement history.

    Parameters
    ----------
    dates
        Acquisitions, rising.
    los_mm
        Shape (n_epochs, rows, columns), LOS, NaN where an acquisition was not observed.
    land
        Shape (rows, columns). Water has a phase of its own that means nothing, so there is no step to it.
    """
    if los_mm.shape[0] != len(dates):
        raise ValueError(f"a history of {los_mm.shape[0]} epochs for {len(dates)} dates")
    once = np.full(los_mm.shape[1:], np.nan, dtype=np.float32)
    lasting = once.copy()
    days = np.array([day.toordinal() for day in dates])

    def moved(first: int, last: int) -> Floats:
        return np.where(land, los_mm[last] - los_mm[first], np.float32(np.nan))

    for first in range(len(dates) - 1):
        _raise_to(once, _steepest(moved(first, first + 1)) / STEP_LIMIT_MM)
        lacking = np.isnan(los_mm[first + 1])
        if first + 2 < len(dates) and lacking.any():
            over = np.where(lacking, _steepest(moved(first, first + 2)), np.float32(np.nan))
            _raise_to(once, over / STEP_LIMIT_MM)
        last = int(np.searchsorted(days, days[first] + _RATE_DAYS))
        if last < len(dates):
            share = _spanned_days(days[first : last + 1]) / (days[last] - days[first]) / STEP_LIMIT_MM
            _raise_to(lasting, _steepest(moved(first, last)) * share)
    return Steps(once, lasting)


def _spanned_days(days: NDArray[np.integer]) -> float:
    """The longest span of one interferogram: a usual one's, or that over the longest pause."""
    pauses = np.diff(days)
    return float(max(_PAUSES_A_PAIR * np.median(pauses), pauses.max()))


def _raise_to(most: Floats, values: Floats) -> None:
    np.fmax(most, values, out=most)


def _steepest(field: Floats) -> Floats:
    """Largest difference to one of the four neighbours, of both pixels that it lies between; NaN without any."""
    most = np.full(field.shape, np.nan, dtype=field.dtype)
    down, right = np.abs(np.diff(field, axis=0)), np.abs(np.diff(field, axis=1))
    for part, step in ((most[:-1], down), (most[1:], down), (most[:, :-1], right), (most[:, 1:], right)):
        np.fmax(part, step, out=part)
    return most


def blind_spots(
    steps: Steps,
    step_share: float,
    *,
    has_data: Bools,
    reliable: Bools,
    land: Bools,
    contradicted: Bools | None = None,
    under_face: Bools | None = None,
) -> NDArray[np.uint8]:
    """Codes of `Blind`, shape (rows, columns).

    Parameters
    ----------
    steps
        From the whole record.
    step_share
        From this share of the limit on, whole cycles may be missing.
    has_data
        Observed at the newest acquisition.
    reliable
        Temporal coherence suffices.
    land
        Water is no blind spot: nothing is expected to be seen there.
    contradicted
        Interferograms contradict each other by whole cycles (`steps.closure`).
    under_face
        Worked ground whose expected gradient is beyond the limit.
    """
    steep, specks = _steep(steps, step_share)
    with np.errstate(invalid="ignore"):
        beyond = (steep | specks) & (steps.once >= 1)
    lost = ~(has_data & reliable)
    hole = ringed(lost & ~steep, steep)
    nothing = np.zeros(steep.shape, dtype=bool)
    found = {
        Blind.BEYOND: beyond,
        Blind.HOLE: hole & ~has_data,
        Blind.RINGED: (_interior(steep | hole) & ~steep) | (hole & has_data),
        Blind.CONTRADICTED: nothing if contradicted is None else contradicted & land,
        Blind.INCOHERENT: ~reliable & land,
        Blind.NEAR: specks | _beside(steep),
        Blind.FACE: nothing if under_face is None else under_face,
    }
    codes = np.select([found[kind] for kind in _ORDER], [np.uint8(kind) for kind in _ORDER], np.uint8(0))
    return codes.astype(np.uint8)


def steep_faces(mine: Mine, grid: Grid, day: date, limit: GradientLimit) -> Bools:
    """Pixels over faces begun by a day that are expected to move neighbours apart beyond the limit."""
    found = np.zeros(grid.shape, dtype=bool)
    for face, area in mine.faces:
        expected_mm = expected_step_mm(face, area, limit) if face.begin <= day else None
        if expected_mm is not None and expected_mm > limit.los_mm:
            found.ravel()[mine.pixels_of(area, grid)] = True
    return found


def expected_step_mm(face: Face, area: BaseGeometry, limit: GradientLimit) -> float | None:
    """At most so much LOS motion between neighbours a face causes within one interval; None where the plan is silent.

    A trough of depth ``W = thickness x factor`` follows the face at its speed ``v``; the sharpest bend of its profile
    is ``1.52 W / r^2`` (probability-integral method, Liu and Liao 1965: influence ``exp(-pi x^2 / r^2) / r``, radius
    ``r = depth / tan beta``, here ``tan beta`` = 2), and moves by ``v`` times the interval. Ground over a narrow panel,
    or one that follows late, bends less. ``area`` is the face in metres.
    """
    if face.depth_m is None or face.thickness_m is None or face.end is None or face.end == face.begin:
        return None
    speed_m_day = _length_m(area, face.advance_deg) / (face.end - face.begin).days
    radius_m = face.depth_m / _TAN_BETA
    bend_per_m = np.sqrt(2 * np.pi / np.exp(1)) * face.thickness_m * face.subsidence_factor / radius_m**2
    step_m = bend_per_m * speed_m_day * limit.interval_days * limit.pixel_m
    return float(1000 * step_m * np.cos(np.radians(limit.incidence_deg or 0.0)))


def _length_m(area: BaseGeometry, advance_deg: float | None) -> float:
    """Extent along the advance, or of the longer side of the narrowest box."""
    x, y = np.array(area.convex_hull.exterior.coords).T
    if advance_deg is not None:
        return float(np.ptp(x * np.sin(np.radians(advance_deg)) + y * np.cos(np.radians(advance_deg))))
    corners = np.array(area.minimum_rotated_rectangle.exterior.coords)
    return float(np.hypot(*np.diff(corners, axis=0).T).max())


def _steep(steps: Steps, step_share: float) -> tuple[Bools, Bools]:
    """Near the limit for two months or beyond it once: as areas, with their edge, and as specks.

    Single steps of noisy pixels come near the limit now and then; beside ground that does so lastingly, they are its
    edge. Not further: in noise they hang together over any distance. A step has a pixel on both sides and an end, so
    ground that really is steep has four such pixels in a square of three by three; fewer are the noise of a pixel, or
    a cycle that it alone lost, and say nothing about their surroundings.
    """
    from scipy.ndimage import (
        binary_dilation,
        convolve,
    )  # scipy is slow to load, and tasks that judge nothing import this

    with np.errstate(invalid="ignore"):
        sure = (steps.lasting >= step_share) | (steps.once >= 1)
        perhaps = steps.once >= step_share
    area = sure & (convolve(sure.astype(np.uint8), _EIGHT.astype(np.uint8), mode="constant") >= _LEAST_STEEP)
    steep = np.asarray(area | (perhaps & binary_dilation(area, _EIGHT)), dtype=bool)
    return steep, sure & ~steep


def _beside(steep: Bools) -> Bools:
    """With the four neighbours: a step beyond the limit is shown a pixel aside now and then, or too small."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(steep), dtype=bool)


def _interior(ring: Bools) -> Bools:
    """Pixels inside closed rings; a gap of one pixel does not open a ring."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    padded = np.pad(ring, 2)
    return np.asarray(binary_fill_holes(binary_closing(padded, _EIGHT)), dtype=bool)[2:-2, 2:-2]
