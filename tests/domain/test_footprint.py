from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from scipy.ndimage import label
from shapely import transform

from sagwatch.domain.footprint import Footprint, centroid_lon_lat, connected_level, outline
from sagwatch.domain.grid import Grid

GRID = Grid(epsg=32649, west=400_000, north=4_140_000, pixel_m=80, columns=12, rows=10)
PIXELS = st.lists(st.integers(0, GRID.pixels - 1), min_size=1, max_size=60)


@given(PIXELS)
def test_a_footprint_is_the_set_of_its_pixels_in_whatever_order(pixels):
    footprint = Footprint.of(np.array(pixels))

    assert footprint.pixels.tolist() == sorted(set(pixels))
    assert footprint.size == len(set(pixels))
    assert footprint == Footprint.of(np.array(pixels[::-1]))
    assert Footprint.from_json(footprint.to_json()) == footprint


@settings(max_examples=40)
@given(PIXELS)
def test_the_outline_covers_exactly_the_pixels(pixels):
    footprint = Footprint.of(np.array(pixels))
    back = Transformer.from_crs(4326, GRID.epsg, always_xy=True).transform

    shape = outline(footprint, GRID)

    assert shape.is_valid
    assert transform(shape, back, interleaved=False).area == pytest.approx(footprint.size * 80**2, rel=1e-6)


def test_the_outline_of_a_block_is_its_four_corners():
    block = np.array([row * GRID.columns + column for row in (2, 3, 4) for column in (5, 6)])

    shape = outline(Footprint.of(block), GRID)

    assert len(shape.geoms) == 1
    assert len(shape.geoms[0].exterior.coords) == 5
    assert shape.centroid.coords[0] == pytest.approx(centroid_lon_lat(block, GRID), abs=1e-7)


def brute_force_level(mask: np.ndarray, field: np.ndarray, least: int) -> float:
    for value in np.unique(field[mask]):
        labels, _ = label(mask & (field <= value), structure=np.ones((3, 3)))
        if np.bincount(labels.ravel())[1:].max(initial=0) >= least:
            return float(value)
    return float("nan")


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.2, 1.0), st.integers(1, 12))
def test_the_connected_level_is_that_of_labelling_at_every_threshold(seed, share, least):
    rng = np.random.default_rng(seed)
    mask = rng.random(GRID.shape) < share
    field = rng.integers(-20, 20, GRID.shape).astype(float)
    pixels = np.flatnonzero(mask)

    found = connected_level(pixels, field.ravel()[pixels], GRID.columns, least)

    np.testing.assert_equal(found, brute_force_level(mask, field, least))
