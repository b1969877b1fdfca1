from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.domain.footprint import Footprint
from sagwatch.domain.grid import Grid
from sagwatch.domain.windows import WindowVelocity
from sagwatch.domain.zones import (
    MovingWindow,
    Zone,
    follow_zones,
    moving_areas,
    moving_windows,
    new_zone_id,
)

GRID = Grid(epsg=32649, west=400_000, north=4_140_000, pixel_m=80, columns=60, rows=50)
DAY = date(2024, 1, 1)


def block(row: int, column: int, height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[row : row + height, column : column + width]
    return (rows * GRID.columns + columns).ravel()


def zone(name: str, pixels: np.ndarray, born: date = DAY, **changes: object) -> Zone:
    plain = Zone(name, name, born, born, 1, 0, Footprint.of(pixels))
    return replace(plain, **changes)


def follow(areas, zones, epoch=DAY, within=365):
    return follow_zones(areas, zones, GRID, epoch, within)


def window_of(velocity: np.ndarray, sd: float = 5.0, days: int = 150) -> WindowVelocity:
    ones = np.full(velocity.shape, sd, np.float32)
    return WindowVelocity(
        days, velocity.astype(np.float32), ones, ones, np.full(velocity.shape, 13, np.uint16), 0.0
    )


def moving(contrast: np.ndarray, velocity: np.ndarray | None = None, sd: float = 5.0) -> MovingWindow:
    velocity = contrast if velocity is None else velocity
    everywhere = np.ones(contrast.shape, bool)
    return moving_windows(
        [window_of(velocity, sd)], [contrast.astype(np.float32)], everywhere, everywhere, -40.0
    )[0]


def test_an_area_grows_from_a_core_to_half_of_the_threshold():
    field = np.zeros(GRID.shape)
    field[10:20, 10:20] = -25
    field[13:16, 13:16] = -60
    field[30:36, 30:36] = -35  # never beyond the threshold

    areas = moving_areas([moving(field)], -40, least_pixels=9)

    assert [area.tolist() for area in areas] == [sorted(block(10, 10, 10, 10).tolist())]


@pytest.mark.parametrize(("pixels", "found"), [(8, 0), (9, 1)])
def test_a_core_needs_its_least_number_of_pixels(pixels, found):
    field = np.full(GRID.shape, -0.0)
    field.ravel()[block(10, 10, 3, 3)[:pixels]] = -60

    assert len(moving_areas([moving(field)], -40, least_pixels=9)) == found


def test_pixels_that_touch_at_a_corner_are_connected():
    field = np.zeros(GRID.shape)
    field[10:13, 10:13] = -60
    field[13:16, 13:16] = -60

    assert len(moving_areas([moving(field)], -40, least_pixels=10)) == 1


def test_ground_that_may_as_well_stand_still_is_no_area():
    field = np.zeros(GRID.shape)
    field[10:15, 10:15] = -60

    assert moving_areas([moving(field, sd=30.0)], -40, 9) == []  # -60 + 2.72 x 30 is above zero
    assert len(moving_areas([moving(field, sd=20.0)], -40, 9)) == 1


def test_a_contrast_that_quiet_ground_shows_by_chance_is_no_area():
    quiet = np.random.default_rng(3).normal(0, 15, GRID.shape)
    quiet[10:15, 10:15] = -50

    assert moving_areas([moving(quiet, velocity=np.full(GRID.shape, -60.0))], -40, 9) == []


def test_the_short_window_overrules_the_long_one_where_motion_has_ended():
    long = np.zeros(GRID.shape, np.float32)
    long[10:15, 10:15] = -120
    short = np.zeros(GRID.shape, np.float32)
    short[10:15, 10:13] = -120  # goes on in three columns of five
    everywhere = np.ones(GRID.shape, bool)
    windows = [window_of(long, days=365), window_of(short, days=150)]

    result = moving_windows(windows, [long, short], everywhere, everywhere, -40)

    assert [window.velocity.days for window in result] == [150, 365]
    assert result[1].usable[10:15, 10:15].sum(axis=0).tolist() == [5, 5, 5, 0, 0]
    assert [area.size for area in moving_areas(result, -40, 9)] == [15]


def test_a_zone_is_recognised_when_it_drifts_and_when_an_acquisition_is_missing():
    known = [zone("a", block(10, 10, 6, 6)), zone("b", block(10, 30, 6, 6))]

    found = follow([block(11, 12, 6, 6), block(10, 31, 7, 6)], known, DAY + timedelta(days=24))

    assert found.zone_of_area == ("a", "b")
    assert not found.merged_into


def test_small_areas_are_recognised_by_their_distance_and_large_ones_are_not():
    near = [zone("a", block(10, 10, 3, 3))]
    assert follow([block(10, 13, 3, 3)], near).zone_of_area == ("a",)  # 240 m away, no pixel in common
    assert follow([block(10, 14, 3, 3)], near).zone_of_area == (None,)  # 320 m

    large = [zone("a", block(10, 10, 8, 3), born=DAY)]
    assert follow([block(10, 13, 8, 8)], large).zone_of_area == (None,)


def test_an_equal_claim_goes_to_the_oldest():
    older = zone("z", block(10, 10, 3, 3), born=DAY - timedelta(days=12))
    younger = zone("a", block(10, 16, 3, 3), born=DAY)

    found = follow([block(10, 13, 3, 3)], [younger, older])

    assert found.zone_of_area == ("z",)


def test_the_largest_part_of_a_zone_that_splits_keeps_its_id():
    parent = [zone("p", block(10, 10, 4, 20))]

    found = follow([block(10, 10, 4, 6), block(10, 18, 4, 14)], parent)

    assert found.zone_of_area == (None, "p")
    assert found.parent_of_area == ("p", None)

    # Also where the smaller part resembles the zone more, because the larger one grew beyond it.
    found = follow([block(10, 10, 3, 13), block(10, 24, 7, 6)], parent)
    assert found.zone_of_area == (None, "p")


def test_the_oldest_of_zones_that_merge_lives_on_whatever_their_size():
    old = zone("old", block(10, 10, 3, 3), born=DAY - timedelta(days=50))
    young = zone("young", block(10, 15, 8, 20), born=DAY)

    found = follow([block(10, 10, 8, 25)], [young, old])

    assert found.zone_of_area == ("old",)
    assert found.merged_into == {"young": "old"}


@pytest.mark.parametrize(("days", "expected"), [(365, "gone"), (366, None)])
def test_a_zone_that_ended_comes_back_within_a_year_at_the_same_place(days, expected):
    gone = zone("gone", block(10, 10, 5, 5), ended_epoch=DAY)

    found = follow([block(11, 11, 5, 5), block(30, 30, 5, 5)], [gone], DAY + timedelta(days=days))

    assert found.zone_of_area == (expected, None)


def test_a_living_zone_has_the_first_claim_on_its_place():
    gone = zone("gone", block(10, 10, 5, 5), born=DAY - timedelta(days=100), ended_epoch=DAY)
    living = zone("living", block(10, 11, 5, 5))

    assert follow([block(10, 10, 5, 5)], [gone, living]).zone_of_area == ("living",)


def test_following_does_not_depend_on_the_order_in_which_zones_are_known():
    rng = np.random.default_rng(8)
    places = [(5, 5), (5, 25), (25, 5), (25, 25), (40, 40)]
    known = [zone(f"z{i}", block(r, c, 6, 6)) for i, (r, c) in enumerate(places)]
    areas = [block(r + 1, c + 1, 6, 6) for r, c in places]

    expected = follow(areas, known).zone_of_area

    for _ in range(5):
        shuffled = [known[i] for i in rng.permutation(len(known))]
        assert follow(areas, shuffled).zone_of_area == expected
    assert expected == ("z0", "z1", "z2", "z3", "z4")


def test_new_ids_name_track_epoch_and_place_only():
    assert new_zone_id("s/t011a", DAY, 77) == new_zone_id("s/t011a", DAY, 77)
    assert (
        len(
            {
                new_zone_id("s/t011a", DAY, 77),
                new_zone_id("s/t018d", DAY, 77),
                new_zone_id("s/t011a", DAY, 78),
            }
        )
        == 3
    )
