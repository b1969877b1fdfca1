"""Real interferograms of Mexico City: our revision is MintPy's solution of them."""

import zipfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sagwatch.domain.grid import Grid
from sagwatch.engine.geometry import Geometry
from sagwatch.engine.hyp3_attributes import parse_parameters, product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings
from sagwatch.engine.mintpy_programs import compare_with_mintpy
from sagwatch.engine.reference import choose_reference
from sagwatch.engine.revision import Revision, read_revision
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadInputError

GRID = Grid(epsg=32614, west=479920.0, north=2150800.0, pixel_m=80.0, columns=183, rows=116)
SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)

pytestmark = pytest.mark.real_data


def read_raster(product: Path, layer: str) -> np.ndarray:
    """One layer of a product's zip, clipped to the grid in whole pixels."""
    with rasterio.open(f"zip://{product}!{product.stem}/{product.stem}_{layer}.tif") as raster:
        assert raster.crs.to_epsg() == GRID.epsg
        column = round((GRID.west - raster.transform.c) / GRID.pixel_m)
        row = round((raster.transform.f - GRID.north) / GRID.pixel_m)
        return raster.read(1)[row : row + GRID.rows, column : column + GRID.columns]


def store_product(store: TrackStore, product: Path) -> StoredInterferogram:
    with zipfile.ZipFile(product) as archive:
        parameters = parse_parameters(archive.read(f"{product.stem}/{product.stem}.txt").decode())
    attributes = product_attributes(product.stem, parameters, GRID)
    layers = Layers.from_product(read_raster(product, "unw_phase"), read_raster(product, "corr"))
    digest = store.write_interferogram(product.stem, layers, attributes)
    kinds = ("dem", "lv_theta", "lv_phi", "water_mask")
    store.write_geometry(Geometry.from_product(*(read_raster(product, kind) for kind in kinds)), attributes)
    first, second = (date.fromisoformat(part[:8]) for part in product.stem.split("_")[1:3])
    return StoredInterferogram(first, second, product.stem, digest, float(parameters["Baseline"]))


@pytest.fixture(scope="module")
def mexico_city(real_data: Path, tmp_path_factory) -> tuple[TrackStore, list[StoredInterferogram]]:
    products = sorted((real_data / "mexico_city").glob("S1AA_*.zip"))
    if not products:
        pytest.skip(f"no products of Mexico City in {real_data}")
    store = TrackStore(tmp_path_factory.mktemp("mexico") / "t005a", GRID)
    return store, [store_product(store, product) for product in products]


@pytest.fixture(scope="module")
def revision(mexico_city) -> Revision:
    store, members = mexico_city
    reference = ReferencePoint(*GRID.row_column(longitude=-99.17947732, latitude=19.43816124))
    return read_revision(store.build_revision(1, members, SETTINGS, reference))


def test_the_solution_of_real_interferograms_is_mintpys(revision):
    differences = compare_with_mintpy(revision.folder)

    print(differences.table())  # noqa: T201  for whoever runs it with -s
    assert differences.pixels > 20_000
    assert differences.max_mm < 0.01
    assert differences.velocity_max_mm_yr < 0.01
    assert differences.temporal_coherence_max < 1e-5
    assert differences.counts_that_differ == 0


def test_the_city_sinks_in_the_east_and_rests_in_the_west(revision):
    velocity_m_yr = revision.layers.lines["whole"].velocity_m_yr

    assert revision.layers.reliable.mean() > 0.9
    assert -0.32 < np.nanmin(velocity_m_yr) < -0.25
    assert abs(np.nanmedian(velocity_m_yr[:, 10:25])) < 0.02
    assert np.nanmedian(velocity_m_yr[:, -25:]) < -0.1


def test_no_reference_point_is_guessed_in_a_city_that_sinks_as_a_whole(mexico_city):
    store, members = mexico_city

    with pytest.raises(BadInputError, match="cannot be told which ground is stable"):
        choose_reference(store.stack(members), SETTINGS.inversion, store.read_geometry().land)
