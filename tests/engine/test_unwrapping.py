"""Bridging over connected components: the truth comes back, and it is what MintPy's program does."""

from datetime import date

import h5py
import numpy as np
import pytest

from sagwatch.engine.closure import CYCLE_RAD
from sagwatch.engine.interferogram import Layers, write_interferogram
from sagwatch.engine.mintpy_programs import run_program
from sagwatch.engine.unwrapping import Bridging, bridge_components

ROWS, COLUMNS = 120, 160
DATES = date(2024, 1, 5), date(2024, 1, 17)


def islands() -> tuple[np.ndarray, np.ndarray]:
    """A smooth phase and three components; a river without phase lies between the first two."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    truth = (0.004 * x + 0.006 * y + 0.4 * np.sin(x / 40)).astype(np.float32)
    truth[:, 60:64] = np.nan
    component = np.zeros((ROWS, COLUMNS), np.int16)
    component[:, :60], component[:70, 64:], component[74:, 64:] = 1, 2, 3
    return truth, component


def broken(cycles: dict[int, int]) -> tuple[Layers, np.ndarray]:
    truth, component = islands()
    phase = truth.copy()
    for label, added in cycles.items():
        phase[component == label] += np.float32(CYCLE_RAD * added)
    return Layers(phase, np.full(phase.shape, 0.7, np.float32), component), truth


@pytest.mark.parametrize("cycles", [{1: 2}, {2: -1}, {1: 1, 2: -2}])
def test_components_that_are_off_by_whole_cycles_come_back(cycles):
    layers, truth = broken(cycles)
    mended, found = bridge_components(layers)

    # Component 3 of the strip between 2 and 3 is in none: nobody joins it.
    inside = (layers.component != 0) & np.isfinite(truth)
    error = mended.phase_rad - truth
    np.testing.assert_allclose(error[inside] - error[100, 100], 0, atol=2e-5)
    pixels = {label: int((layers.component == label).sum()) for label in (1, 2, 3)}
    expected: dict[int, int] = {}
    # The largest component, 1 or 2, stays; the others are moved to it.
    stays = max(pixels, key=lambda label: pixels[label])
    for label in (1, 2, 3):
        added = cycles.get(stays, 0) - cycles.get(label, 0)
        if added:
            expected[added] = expected.get(added, 0) + pixels[label]
    assert found == Bridging(3, sum(expected.values()), expected)
    assert mended.component is layers.component
    assert mended.coherence is layers.coherence


def test_water_and_pixels_without_phase_are_in_no_component():
    layers, _ = broken({2: 1})
    land = np.ones(layers.phase_rad.shape, bool)
    land[:70, 64:] = False
    mended, found = bridge_components(layers, land)
    np.testing.assert_array_equal(mended.phase_rad, layers.phase_rad)
    assert found == Bridging(2, 0, {})


@pytest.mark.parametrize("component", [None, "empty", "one"])
def test_nothing_to_join_leaves_everything_as_it_is(component):
    layers, _ = broken({1: 1})
    labels = {"empty": np.zeros_like(layers.component), "one": np.ones_like(layers.component)}
    layers = Layers(layers.phase_rad, layers.coherence, labels.get(component))
    if component == "one":
        layers.phase_rad[:, 60:64] = 0.1
    mended, found = bridge_components(layers)
    np.testing.assert_array_equal(mended.phase_rad, layers.phase_rad)
    assert found == Bridging(1 if component == "one" else 0, 0, {})


def test_it_is_what_mintpys_program_makes_of_the_same_interferogram(tmp_path):
    layers, _ = broken({1: 2, 3: -1})
    path = tmp_path / "pair.h5"
    attributes = {
        "DATE12": "240105-240117",
        "P_BASELINE_TOP_HDR": "12.5",
        "LENGTH": str(ROWS),
        "WIDTH": str(COLUMNS),
        "PROCESSOR": "hyp3",
    }
    write_interferogram(path, layers, attributes)
    path.chmod(0o644)
    run_program("unwrap_error_bridging", [path.name, "--water-mask", "no"], tmp_path)

    with h5py.File(path) as file:
        theirs = file["unwrapPhase_bridging"][0]
    mended, _ = bridge_components(layers)
    np.testing.assert_array_equal(mended.phase_rad, theirs)
    assert not np.array_equal(theirs, layers.phase_rad, equal_nan=True)
