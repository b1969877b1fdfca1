"""A product's name must say what was ordered."""

from datetime import date

import pytest

from sagwatch.domain.product import ProductName, bursts_in_name, check_granules, check_name
from sagwatch.errors import BadProductError
from tests.steps.small_site import burst_track

MULTI = "S1_011_000000s1n00-000000s2n00-021697s3n01_IW_20240101_20240113_VV_INT80_B4FA"
SINGLE = "S1_021697_IW3_20240101_20240113_VV_INT80_E09B"
GAMMA = "S1AC_20240101T103702_20240113T103701_VVP012_INT80_G_ueF_1DBE"
TRACK = burst_track("ascending", "011_021697_IW3")
DATES = date(2024, 1, 1), date(2024, 1, 13)


@pytest.mark.parametrize(
    ("name", "processor", "orbit"),
    [(MULTI, "INSAR_ISCE_MULTI_BURST", 11), (SINGLE, "INSAR_ISCE_BURST", None), (GAMMA, "INSAR_GAMMA", None)],
)
def test_names_of_all_three_processors_are_taken_apart(name, processor, orbit):
    parsed = ProductName.parse(name)

    assert (parsed.processor, parsed.reference, parsed.secondary) == (processor, *DATES)
    assert (parsed.relative_orbit, parsed.polarisation, parsed.pixel_m) == (orbit, "VV", 80)


@pytest.mark.parametrize(
    "name",
    [
        "S1A_064_E053_1_N27_3_E054_1_N27_8_VV_20240101_20240113_INT80_ABCD",  # an older form
        MULTI + "x",
        MULTI.replace("20240113", "20241313"),
        MULTI.replace("B4FA", "B4FG"),
        "../" + SINGLE,
        "",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(BadProductError):
        ProductName.parse(name)


def test_the_right_product_passes():
    check_name(ProductName.parse(MULTI), TRACK, *DATES)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("20240113", "20240125", "dates: the product has 2024-01-01 to 2024-01-25"),
        ("S1_011", "S1_012", "relative orbit"),
        ("021697s3", "021698s3", "bursts"),
        ("s3n01", "s3n02", "bursts"),
        ("INT80", "INT40", "pixel: the product has 40 m, the order 80 m"),
        ("_VV_", "_HH_", "polarisation"),
    ],
)
def test_a_name_that_differs_from_the_order_is_refused(old, new, told):
    with pytest.raises(BadProductError, match=told):
        check_name(ProductName.parse(MULTI.replace(old, new)), TRACK, *DATES)


def test_another_processors_product_is_refused():
    with pytest.raises(BadProductError, match="processor"):
        check_name(ProductName.parse(SINGLE), TRACK, *DATES)


def test_bursts_are_listed_by_swath_with_the_lowest_number_and_the_count():
    track = burst_track("descending", "044_093117_IW2", "044_093118_IW3", "044_093118_IW2")

    assert bursts_in_name(track) == "000000s1n00-093117s2n02-093118s3n01"


def test_the_granules_in_the_product_are_those_that_were_ordered():
    ordered = {"reference": ["a", "b"], "secondary": ["c", "d"]}
    check_granules({"Reference Granule": "b, a", "Secondary Granule": "c, d"}, ordered)

    with pytest.raises(BadProductError, match="Secondary Granule: c, x in the product, c, d were ordered"):
        check_granules({"Reference Granule": "a, b", "Secondary Granule": "c, x"}, ordered)
    with pytest.raises(BadProductError, match="Reference Granule: none"):
        check_granules({}, ordered)
