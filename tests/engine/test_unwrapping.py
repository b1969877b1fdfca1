"""Connected components are joined as MintPy's own program joins them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers
from sagwatch.engine.mintpy_programs import run_program
from sagwatch.engine.store import TrackStore
from sagwatch.engine.unwrapping import bridge
from tests.engine.invented_ground import PARAMETERS

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=120, rows=100)
NAME = "S1_021697_IW3_20240111_20240123_VV_INT80_E09B"


def islands(cycles=(0, 3, -2)) -> tuple[Layers, np.ndarray]:
    """Smooth phase on three islands, two of them off by whole cycles; also the phase without that."""
    rows, columns = np.mgrid[: GRID.rows, : GRID.columns]
    truth = 0.02 * rows + 0.01 * columns + np.random.default_rng(3).normal(0, 0.3, GRID.shape) + 1.0
    component = np.zeros(GRID.shape, np.int16)
    component[5:95, 5:60], component[10:40, 66:110], component[50:90, 68:115] = 1, 2, 3
    component[45, 62] = 4  # too small to be joined
    phase = truth.copy()
    for number, off in enumerate(cycles, start=1):
        phase[component == number] += 2 * np.pi * off
    phase[0, :] = 0
    coherence = np.where(component > 0, 0.8, 0.2)
    return Layers.from_product(phase, coherence, component), truth


def test_islands_come_back_to_the_main_land():
    layers, truth = islands()

    found = bridge(layers)

    joined = np.isin(layers.component, (1, 2, 3))
    np.testing.assert_allclose(found.layers.phase_rad[joined], truth[joined], atol=1e-4)
    assert (found.components, found.cycles) == (3, (2, -3))
    assert found.pixels == int(np.isin(layers.component, (2, 3)).sum())
    assert np.isnan(found.layers.phase_rad[0]).all()


def test_the_phase_equals_that_of_mintpys_program(tmp_path):
    layers, _ = islands()
    store = TrackStore(tmp_path / "track", GRID)
    store.write_interferogram("abc", layers, product_attributes(NAME, PARAMETERS, GRID))
    copy = tmp_path / "ifgramStack.h5"
    copy.write_bytes(store.interferogram_path("abc").read_bytes())

    run_program("unwrap_error_bridging", [copy.name, "--water-mask", "no"], tmp_path)

    with h5py.File(copy) as file:
        theirs = file["unwrapPhase_bridging"][0]
    np.testing.assert_array_equal(bridge(layers).layers.phase_rad, theirs)
    assert not np.array_equal(theirs, layers.phase_rad, equal_nan=True)


def test_phase_that_is_missing_in_a_component_does_not_spread():
    layers, truth = islands()
    layers.phase_rad[10:40, 66:80] = np.nan

    found = bridge(layers).layers.phase_rad

    np.testing.assert_array_equal(np.isnan(found), np.isnan(layers.phase_rad))
    np.testing.assert_allclose(found[20, 90], truth[20, 90], atol=1e-4)


@pytest.mark.parametrize("component", [None, np.zeros(GRID.shape, np.int16), np.ones(GRID.shape, np.int16)])
def test_without_two_components_nothing_changes(component):
    layers, _ = islands()
    alone = Layers(layers.phase_rad, layers.coherence, component)

    assert bridge(alone).layers is alone
    assert bridge(alone).pixels == 0
