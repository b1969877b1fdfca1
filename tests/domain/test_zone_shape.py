"""Tilt, volume, axis and holes of zones whose shape is known, the mine around them, and the 10 mm boundary."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from shapely.geometry import box as rectangle
from shapely.geometry import mapping

from sagwatch.domain.grid import Grid
from sagwatch.domain.influence import influence
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Asset, Face
from sagwatch.domain.zone_shape import step_share, zone_shape
from tests.database.published import make_site
from tests.domain.moving_ground import invent_ground

SIDE = 60
GRID = Grid(epsg=32649, west=480_000, north=4_145_600, pixel_m=80, columns=SIDE, rows=SIDE)
ROWS, COLUMNS = np.indices((SIDE, SIDE))
SEEN = np.ones((SIDE, SIDE), bool)


def ellipse(long_px: float, short_px: float, azimuth_deg: float) -> np.ndarray:
    """Pixel numbers of an ellipse in the middle, its long axis that many degrees from north over east."""
    east, north = COLUMNS - SIDE / 2 + 0.5, SIDE / 2 - 0.5 - ROWS
    angle = np.radians(azimuth_deg)
    along = east * np.sin(angle) + north * np.cos(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    return np.flatnonzero(((along / long_px) ** 2 + (across / short_px) ** 2 <= 1).ravel())


@pytest.mark.parametrize("azimuth_deg", [0, 30, 90, 135, 170])
def test_the_axis_of_an_ellipse_is_its_long_one(azimuth_deg):
    shape = zone_shape(ellipse(20, 8, azimuth_deg), np.zeros((SIDE, SIDE)), SEEN, GRID)

    off = abs(shape.axis_deg - azimuth_deg) % 180
    assert min(off, 180 - off) < 3
    assert shape.elongation == pytest.approx(2.5, rel=0.05)


def test_a_round_zone_has_no_axis():
    assert zone_shape(ellipse(10, 10, 0), np.zeros((SIDE, SIDE)), SEEN, GRID).axis_deg is None


def test_tilt_and_volume_of_a_plane_and_a_bowl():
    plane = -0.5 * 80 * COLUMNS.astype(float)  # 0.5 mm per metre eastwards
    pixels = ellipse(10, 10, 0)
    assert zone_shape(pixels, plane, SEEN, GRID).tilt_max_mm_m == pytest.approx(0.5)

    flat = np.full((SIDE, SIDE), -100.0)
    shape = zone_shape(pixels, flat, SEEN, GRID)
    assert shape.volume_m3 == pytest.approx(-0.1 * pixels.size * 6400)
    assert shape.tilt_max_mm_m == pytest.approx(0, abs=1e-9)


def test_a_hole_in_the_middle_is_ringed_and_one_outside_is_not():
    whole = ellipse(12, 12, 0)
    hole = ellipse(4, 4, 0)
    ring = np.setdiff1d(whole, hole)
    seen = SEEN.copy()
    seen.ravel()[hole] = False
    seen[:5, :5] = False

    shape = zone_shape(ring, np.zeros((SIDE, SIDE)), seen, GRID)

    assert shape.hole_pixels == hole.size
    assert shape.blind_share(0.0, ring.size) == pytest.approx(hole.size / whole.size)
    assert zone_shape(whole, np.zeros((SIDE, SIDE)), SEEN, GRID).hole_pixels == 0


def test_the_step_share_is_one_where_neighbours_differ_by_a_quarter_wavelength_within_a_pair():
    velocity = np.zeros((SIDE, SIDE))
    velocity[:, 30:] = -13.87 * 365.25 / 24

    assert step_share(ellipse(5, 5, 0), velocity, 24, GRID) == pytest.approx(1.0, rel=0.01)
    assert step_share(ellipse(5, 5, 0), velocity, 12, GRID) == pytest.approx(0.5, rel=0.01)
    lonely = np.zeros((SIDE, SIDE))
    lonely[30, 30] = np.nan
    assert step_share(ellipse(5, 5, 0), lonely, 24, GRID) == 0


def place_of(pixels: np.ndarray, axis_deg: float | None = 60.0, day: date = date(2024, 1, 1)):
    def at(row: int, column: int, size: float = 0.001) -> dict:
        longitude, latitude = GRID.lon_lat(row, column)
        return mapping(rectangle(longitude - size, latitude - size, longitude + size, latitude + size))

    site = make_site().model_copy(
        update={
            "assets": (
                Asset(name="far", geometry=at(5, 5)),
                Asset(name="near", geometry=at(30, 45)),
            ),
            "faces": (
                Face(
                    name="done",
                    begin=date(2020, 1, 1),
                    end=date(2021, 1, 1),
                    advance_deg=0,
                    geometry=at(30, 30),
                ),
                Face(name="working", begin=date(2023, 6, 1), advance_deg=30, geometry=at(36, 30)),
            ),
        }
    )
    return Mine.of(site, GRID).place(pixels, GRID, day, axis_deg)


def test_a_zone_names_the_nearest_asset_the_face_that_works_and_the_angle_to_its_advance():
    place = place_of(ellipse(5, 5, 0))

    assert (place.asset, place.face, place.face_works) == ("near", "working", True)
    assert place.axis_to_advance_deg == 30
    assert place.inside_licence is True
    assert "near " in place.words.lower()
    assert "30° off" in place.words
    before = place_of(ellipse(5, 5, 0), None, date(2022, 1, 1))
    assert (before.face, before.face_works, before.axis_to_advance_deg) == ("done", False, None)


def test_the_axis_and_the_advance_have_no_arrow():
    assert place_of(ellipse(5, 5, 0), 179.0).axis_to_advance_deg == 31
    assert place_of(ellipse(5, 5, 0), 120.0).axis_to_advance_deg == 90


def test_a_site_without_a_mine_plan_says_only_what_it_knows():
    place = Mine.of(make_site(), GRID).place(ellipse(5, 5, 0), GRID, date(2024, 1, 1), 10.0)

    assert place.as_dict() == {"inside_licence": True}
    assert place.words == ""
    assert Mine().place(ellipse(5, 5, 0), GRID, date(2024, 1, 1), 10.0).as_dict() == {}


def test_the_boundary_of_influence_is_the_contour_of_ten_millimetres():
    radius = np.hypot(ROWS - 30, COLUMNS - 30)
    moved = -40 * np.exp(-((radius / 8) ** 2) / 2)
    truth = moved < -10

    found = influence(date(2024, 1, 1), moved, SEEN, ~SEEN, 9)

    assert abs(found.footprint.size - truth.sum()) < 0.1 * truth.sum()
    speck = np.zeros((SIDE, SIDE))
    speck[3, 3] = -80
    assert influence(date(2024, 1, 1), speck, SEEN, ~SEEN, 10).footprint.size == 0


@pytest.mark.parametrize("rms_mm", [8.0, 15.0])
def test_the_atmosphere_of_one_acquisition_is_no_influence_of_mining(rms_mm):
    moved = invent_ground(1, 31, (100, 100), (), rms_mm)[-1] * 1000.0
    moved -= np.median(moved)
    seen = np.ones(moved.shape, bool)

    found = influence(date(2024, 1, 1), moved, seen, ~seen, 9)
    known = influence(date(2024, 1, 1), moved, seen, moved < -10, 9)

    assert found.footprint.size == 0
    assert known.footprint.size > 100, "over a known zone ten millimetres suffice"
