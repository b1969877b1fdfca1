"""What we store is what MintPy's own loader would make of the same product files.

MintPy reads rasters through GDAL's own Python binding, which is not installed; two small readers over rasterio stand
in for it. Everything else of MintPy is the real thing.
"""

from argparse import Namespace
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from mintpy import prep_hyp3
from mintpy.objects.stackDict import geometryDict, ifgramDict, ifgramStackDict
from mintpy.utils import readfile

from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import parse_parameters, product_attributes, relative_orbit, utm_zone
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadProductError

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=12, rows=9)
BURST = "S1_021697_IW3_20240111_20240123_VV_INT80_E09B"
MULTI = "S1_011_000000s1n00-021697s2n01-021697s3n02_IW_20240111_20240123_VV_INT80_B4FA"
GAMMA = "S1AA_20240111T103702_20240123T103702_VVP012_INT80_G_ueF_1DBE"
ASCENDING, DESCENDING = "-13.3101122688203", "-164.275514873119"


def parameter_text(reference: str, heading: str, baseline: str = "-33.88969537726557") -> str:
    return f"""Reference Granule: {reference}
Secondary Granule: something
Reference Pass Direction: ASCENDING
Reference Orbit Number: 60141
Secondary Pass Direction: ASCENDING
Secondary Orbit Number: 60316
Baseline: {baseline}
UTC time: 38222.201944
Heading: {heading}
Spacecraft height: 693000.0
Earth radius at nadir: 6370286.638938101
Slant range near: 849199.1730339259
Slant range center: 877732.8145960167
Slant range far: 906266.4561581073
Range looks: 20
Azimuth looks: 4
INSAR phase filter: yes
Unwrapping type: snaphu_mcf
Speckle filter: yes
"""


SCENE = "S1A_IW_SLC__1SDV_20240111T103702_20240111T103729_060141_0221EC_1CAA"
PRODUCTS = [
    (BURST, "S1_021697_IW3_20240111T103702_VV_AAAA-BURST", ASCENDING),
    (MULTI, "S1_021697_IW3_20240111T103702_VV_AAAA-BURST", DESCENDING),
    (GAMMA, SCENE, ASCENDING),
    (GAMMA, SCENE, DESCENDING),
]


@pytest.fixture
def mintpy_without_gdal(monkeypatch):
    """Let MintPy read rasters through rasterio."""

    def attributes(path) -> dict[str, object]:
        with rasterio.open(path) as raster:
            return readfile.standardize_metadata(
                {
                    "WIDTH": raster.width,
                    "LENGTH": raster.height,
                    "BANDS": raster.count,
                    "DATA_TYPE": raster.dtypes[0],
                    "INTERLEAVE": "BSQ",
                    "X_STEP": abs(raster.transform.a),
                    "Y_STEP": -abs(raster.transform.e),
                    "X_FIRST": raster.transform.c,
                    "Y_FIRST": raster.transform.f,
                    "EPSG": str(raster.crs.to_epsg()),
                    "UTM_ZONE": raster.crs.wkt.split("UTM zone ")[1].split('"')[0],
                    "X_UNIT": "meters",
                    "Y_UNIT": "meters",
                    "NoDataValue": raster.nodata,
                }
            )

    def pixels(path, box=None, **_):
        with rasterio.open(path) as raster:
            west, north, east, south = box or (0, 0, raster.width, raster.height)
            return raster.read(1)[north:south, west:east]

    monkeypatch.setattr(readfile, "read_gdal_vrt", attributes)
    monkeypatch.setattr(readfile, "read_gdal", pixels)


def write_product(folder: Path, name: str, text: str, layers: dict[str, np.ndarray]) -> dict[str, str]:
    """Write HyP3's files of one product; return their paths by layer."""
    product = folder / name
    product.mkdir(parents=True)
    (product / f"{name}.txt").write_text(text)
    transform = rasterio.Affine(GRID.pixel_m, 0, GRID.west, 0, -GRID.pixel_m, GRID.north)
    paths = {}
    for layer, array in layers.items():
        path = product / f"{name}_{layer}.tif"
        profile = {
            "driver": "GTiff",
            "count": 1,
            "dtype": array.dtype,
            "crs": GRID.epsg,
            "transform": transform,
        }
        with rasterio.open(path, "w", width=GRID.columns, height=GRID.rows, nodata=0, **profile) as raster:
            raster.write(array, 1)
        paths[layer] = str(path)
    return paths


@pytest.mark.parametrize(("name", "granule", "heading"), PRODUCTS)
def test_attributes_equal_those_of_mintpys_own_preparation(
    tmp_path, mintpy_without_gdal, name, granule, heading
):
    text = parameter_text(granule, heading)
    paths = write_product(tmp_path, name, text, {"unw_phase": np.ones(GRID.shape, np.float32)})
    prep_hyp3.prep_hyp3(Namespace(file=[paths["unw_phase"]]))
    theirs = readfile.read_roipac_rsc(paths["unw_phase"] + ".rsc")

    ours = product_attributes(name, parse_parameters(text), GRID)

    assert ours == theirs


def invent_product_layers(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    layers = {
        "unw_phase": rng.normal(0, 4, GRID.shape),
        "corr": rng.uniform(0.2, 0.9, GRID.shape),
        "conncomp": rng.integers(0, 3, GRID.shape),
        "dem": rng.normal(1100, 50, GRID.shape),
        "lv_theta": rng.uniform(0.8, 0.9, GRID.shape),
        "lv_phi": rng.uniform(-3.2, 3.2, GRID.shape),
    }
    arrays = {name: array.astype(np.float32) for name, array in layers.items()}
    for array in arrays.values():
        array[:, -1] = 0  # no data
    arrays["water_mask"] = (rng.random(GRID.shape) < 0.8).astype(np.uint8)
    return arrays


@pytest.fixture
def loaded_twice(tmp_path, mintpy_without_gdal):
    """The same two products, loaded by MintPy and by us: folder of MintPy's inputs, folder of our revision."""
    store, members, pairs = TrackStore(tmp_path / "track", GRID), [], {}
    names = [BURST, "S1_021697_IW3_20240123_20240204_VV_INT80_E09C"]
    days = [date(2024, 1, 11), date(2024, 1, 23), date(2024, 2, 4)]
    for i, name in enumerate(names):
        text = parameter_text("S1_021697_IW3_20240111T103702_VV_AAAA-BURST", ASCENDING, str(40.5 - 90 * i))
        layers = invent_product_layers(i)
        paths = write_product(tmp_path / "products", name, text, layers)
        prep_hyp3.prep_hyp3(Namespace(file=list(paths.values())))
        families = {"unwrapPhase": "unw_phase", "coherence": "corr", "connectComponent": "conncomp"}
        key = (f"{days[i]:%Y%m%d}", f"{days[i + 1]:%Y%m%d}")
        pairs[key] = ifgramDict(datasetDict={family: paths[layer] for family, layer in families.items()})
        attributes = product_attributes(name, parse_parameters(text), GRID)
        ours = Layers.from_product(layers["unw_phase"], layers["corr"], layers["conncomp"])
        digest = store.write_interferogram(f"pair{i}", ours, attributes)
        baseline = float(attributes["P_BASELINE_TOP_HDR"])
        members.append(StoredInterferogram(days[i], days[i + 1], f"pair{i}", digest, baseline))
        if i == 0:
            first = ("dem", "lv_theta", "lv_phi", "water_mask")
            store.write_geometry(Geometry.from_product(*(layers[layer] for layer in first)), attributes)
            kinds = ("height", "incidenceAngle", "azimuthAngle", "waterMask")
            files = {kind: paths[layer] for kind, layer in zip(kinds, first, strict=True)}
            extra = readfile.read_attribute(paths["unw_phase"])
            geometry = geometryDict(processor="hyp3", datasetDict=files, extraMetadata=extra)
    theirs = tmp_path / "mintpy"
    ifgramStackDict(pairsDict=pairs).write2hdf5(str(theirs / "ifgramStack.h5"))
    geometry.write2hdf5(str(theirs / "geometryGeo.h5"))
    revision = store.build_revision(1, members, RevisionSettings(20, 4), ReferencePoint(3, 4))
    return theirs, revision / "inputs"


def test_the_stack_equals_the_one_that_mintpy_loads(loaded_twice):
    theirs, ours = loaded_twice

    with h5py.File(theirs / "ifgramStack.h5") as expected, h5py.File(ours / "ifgramStack.h5") as got:
        assert set(got) == set(expected)
        for name in ("date", "dropIfgram", "bperp", "connectComponent"):
            np.testing.assert_array_equal(got[name][:], expected[name][:])
            assert got[name].dtype == expected[name].dtype
        for name in ("unwrapPhase", "coherence"):
            np.testing.assert_array_equal(np.nan_to_num(got[name][:]), expected[name][:])
            np.testing.assert_array_equal(np.isnan(got[name][:]), expected[name][:] == 0)
        # MintPy notes where the product lay; and where it leaves HyP3's 0 for "no data", we write NaN.
        wanted = {key: str(value) for key, value in expected.attrs.items() if key != "FILE_PATH"}
        wanted["NO_DATA_VALUE"] = "nan"
        assert {key: got.attrs.get(key) for key in wanted} == wanted


def test_the_geometry_equals_the_one_that_mintpy_loads(loaded_twice):
    theirs, ours = loaded_twice

    with h5py.File(theirs / "geometryGeo.h5") as expected, h5py.File(ours / "geometryGeo.h5") as got:
        assert set(got) == set(expected)
        # MintPy computes these in float32: 900 km are then known to a few metres.
        for name, tolerance in (
            ("incidenceAngle", 1e-5),
            ("azimuthAngle", 5e-5),
            ("slantRangeDistance", 5.0),
        ):
            np.testing.assert_allclose(got[name][:], expected[name][:], rtol=0, atol=tolerance, err_msg=name)
        known = ~np.isnan(got["height"][:])
        np.testing.assert_array_equal(got["height"][:][known], expected["height"][:][known])
        np.testing.assert_array_equal(known[:, :-1], True)
        np.testing.assert_array_equal(known[:, -1], False)
        np.testing.assert_array_equal(got["waterMask"][:], expected["waterMask"][:])
        assert got["waterMask"].dtype == expected["waterMask"].dtype == np.bool_


def test_a_name_or_a_file_that_is_not_hyp3s_is_refused_with_its_reason():
    good = parse_parameters(parameter_text(SCENE, ASCENDING))

    with pytest.raises(BadProductError, match="not the name of a HyP3 interferogram"):
        product_attributes("S1_field_trip", good, GRID)
    with pytest.raises(BadProductError, match="lacks Baseline, Heading"):
        product_attributes(BURST, {k: v for k, v in good.items() if k not in ("Baseline", "Heading")}, GRID)
    with pytest.raises(BadProductError, match="Heading is not a number: 'north'"):
        product_attributes(BURST, {**good, "Heading": "north"}, GRID)
    with pytest.raises(BadProductError, match="not the name of a scene"):
        product_attributes(GAMMA, {**good, "Reference Granule": "unknown"}, GRID)
    with pytest.raises(BadProductError, match="EPSG:4326"):
        utm_zone(4326)
    with pytest.raises(BadProductError, match="S1Z"):
        relative_orbit("S1Z", 1)


def test_a_parameter_file_with_blank_lines_can_be_read():
    text = parameter_text(SCENE, ASCENDING).replace("\n", "\n\n") + "no colon here\n"

    assert parse_parameters(text) == parse_parameters(parameter_text(SCENE, ASCENDING))


def test_zones_of_both_hemispheres_have_mintpys_names():
    assert [utm_zone(code) for code in (32601, 32649, 32755)] == ["1N", "49N", "55S"]
