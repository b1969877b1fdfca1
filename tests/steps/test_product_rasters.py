"""Rasters come onto the track's grid in whole pixels, or not at all."""

import numpy as np
import pytest

from sagwatch.adapters.product_rasters import clip_product
from sagwatch.domain.grid import Grid
from sagwatch.errors import BadProductError
from tests.steps.tiny_product import COLUMNS, NORTH, PIXEL_M, ROWS, WEST, geotiff, layers

#: Two columns and three rows inside the product's own edges.
GRID = Grid(32649, WEST + 2 * PIXEL_M, NORTH - 3 * PIXEL_M, PIXEL_M, 20, 15)


def clip(tmp_path, grid=GRID, placed=None, **changes):
    """Write a product's rasters and clip them; ``placed`` overrides where some lie."""
    files = {}
    for layer, values in (layers() | changes).items():
        if values is None:
            continue
        files[layer] = tmp_path / f"{layer}.tif"
        data = values if isinstance(values, bytes) else geotiff(values, **(placed or {}).get(layer, {}))
        files[layer].write_bytes(data)
    return clip_product(files, grid)


def everywhere(**place):
    return dict.fromkeys(layers(), place)


def test_clipping_takes_exactly_the_grids_pixels(tmp_path):
    product = clip(tmp_path)

    np.testing.assert_array_equal(product.layers["unw_phase"], layers()["unw_phase"][3:18, 2:22])
    assert product.valid_fraction == 1


@pytest.mark.parametrize(("left", "top"), [(0, 0), (-4, 0), (0, -5), (3, 2), (-2, 6)])
def test_any_whole_pixel_shift_of_the_product_gives_the_same_ground(tmp_path, left, top):
    """Extents of one track's products differ by pixels; a place keeps its value, outside is NaN and never 0."""
    place = everywhere(west=WEST + left * PIXEL_M, north=NORTH - top * PIXEL_M)
    phase = clip(tmp_path, placed=place).layers["unw_phase"]

    whole = np.full((ROWS + 40, COLUMNS + 40), np.nan, np.float32)
    whole[20 + top : 20 + top + ROWS, 20 + left : 20 + left + COLUMNS] = layers()["unw_phase"]
    np.testing.assert_array_equal(phase, whole[23 : 23 + 15, 22 : 22 + 20])


def test_a_product_that_covers_less_than_half_is_of_another_place(tmp_path):
    with pytest.raises(BadProductError, match="covers 45% of the track's grid"):
        clip(tmp_path, placed=everywhere(west=WEST - 23 * PIXEL_M))
    with pytest.raises(BadProductError, match="covers 0%"):
        clip(tmp_path, placed=everywhere(west=WEST + 200 * PIXEL_M))


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"west": WEST + 40}, "off the track's lattice"),
        ({"north": NORTH + 8}, "off the track's lattice"),
        ({"epsg": 32650}, "EPSG:32650, the track's grid in EPSG:32649"),
        ({"pixel_m": 40.0}, "pixels of 40 x -40 m"),
    ],
)
def test_another_lattice_is_refused(tmp_path, place, reason):
    with pytest.raises(BadProductError, match=reason):
        clip(tmp_path, placed=everywhere(**place))


@pytest.mark.parametrize("layer", ["corr", "dem", "lv_theta", "conncomp"])
def test_one_layer_of_the_same_size_but_shifted_by_a_pixel_is_refused(tmp_path, layer):
    with pytest.raises(BadProductError, match=f"{layer} has 34 x 30 pixels from"):
        clip(tmp_path, placed={layer: {"west": WEST + PIXEL_M}})


def test_a_water_mask_may_be_one_column_wider(tmp_path):
    wider = np.ones((ROWS, COLUMNS + 1), np.uint8)
    assert clip(tmp_path, water_mask=wider).land.all()

    with pytest.raises(BadProductError, match="water_mask has 36 x 30"):
        clip(tmp_path, water_mask=np.ones((ROWS, COLUMNS + 2), np.uint8))


@pytest.mark.parametrize(
    ("layer", "value"),
    [
        ("corr", 1.2),
        ("corr", -0.1),
        ("unw_phase", 1e6),
        ("unw_phase", np.inf),
        ("dem", 20000),
        ("lv_theta", 40.0),
    ],
)
def test_impossible_values_are_refused(tmp_path, layer, value):
    values = layers()[layer].copy()
    values[10, 10] = value
    with pytest.raises(BadProductError, match=f"{layer} has values"):
        clip(tmp_path, **{layer: values})


@pytest.mark.parametrize(
    ("layer", "nothing"), [("dem", np.nan), ("lv_theta", 0), ("lv_theta", np.nan), ("lv_phi", np.nan)]
)
def test_a_product_whose_geometry_is_empty_is_refused_and_one_with_holes_is_not(tmp_path, layer, nothing):
    values = layers()[layer].copy()
    values[6:9, 5:15] = nothing
    assert clip(tmp_path, **{layer: values}).valid_fraction == 1

    values[:, :] = nothing
    with pytest.raises(BadProductError, match=f"{layer} has no value for 100% of the pixels that have phase"):
        clip(tmp_path, **{layer: values})


def test_a_product_of_nothing_but_zeros_is_refused(tmp_path):
    with pytest.raises(BadProductError, match="no pixel"):
        clip(tmp_path, unw_phase=np.zeros((ROWS, COLUMNS), np.float32))


def test_mean_coherence_counts_valid_land_only(tmp_path):
    coherence, water, phase = layers()["corr"], layers()["water_mask"], layers()["unw_phase"]
    coherence[:10], water[:10] = 0.01, 0  # a lake
    phase[10:12], coherence[10:12] = 0, 0.02  # no phase
    coherence[12:] = 0.8

    product = clip(tmp_path, corr=coherence, water_mask=water, unw_phase=phase)

    assert product.mean_coherence == pytest.approx(0.8)
    assert product.valid_fraction == pytest.approx(13 / 15)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<VRTDataset rasterXSize='34' rasterYSize='30'><SRS>EPSG:32649</SRS></VRTDataset>",
        b"II*\x00" + b"\xff" * 100,
        geotiff(layers()["corr"])[:-500],
    ],
)
def test_what_is_no_whole_geotiff_is_refused(tmp_path, data):
    with pytest.raises(BadProductError, match=r"corr (is not a GeoTIFF|cannot be read)"):
        clip(tmp_path, corr=data)


def test_a_side_file_has_no_effect(tmp_path):
    """A sidecar could override the projection or point elsewhere."""
    (tmp_path / "corr.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>")
    (tmp_path / "corr.tfw").write_text("1\n0\n0\n-1\n0\n0\n")

    assert clip(tmp_path).valid.all()
