"""The physical mine as the radar sees it: everything is in the phase, and what is too fast is not seen."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sagwatch.domain.grid import Grid
from sagwatch.simulation import air, ground, interferogram, motion
from sagwatch.simulation.scenario import Scenario, read_scenario
from sagwatch.simulation.world import Order, ScenarioWorld

RADIANS_PER_MM = interferogram.PHASE_PER_METRE / 1000


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return read_scenario("shaqu_mine")


@pytest.fixture(scope="module")
def grid(scenario: Scenario) -> Grid:
    return ground.area(scenario, 80.0)


@pytest.mark.parametrize("path", [11, 18])
def test_a_pair_holds_motion_air_bias_and_topography_up_to_a_constant(
    scenario: Scenario, grid: Grid, path: int
) -> None:
    first, second = date(2023, 7, 27), date(2023, 8, 8)

    made = interferogram.interferogram(scenario, path, first, second, 80, grid, frozenset({second}))

    def delay(name: str) -> np.ndarray:
        after = air.disturbance_m(scenario, name, path, second, grid)
        return after - air.disturbance_m(scenario, name, path, first, grid)

    ramps = air.orbital_m(scenario, path, second, grid, restituted=True)
    ramps = ramps - air.orbital_m(scenario, path, first, grid, restituted=False) + delay("ionospheric")
    parts = {
        "turbulent": delay("turbulent"),
        "stratified": delay("stratified"),
        "ramps": ramps,
        "motion": motion.displacement_m(scenario, path, first, second, grid),
        "bias": interferogram.phase_bias_m(scenario, first, second, grid),
        "topography": interferogram.topographic_m(scenario, path, first, second, grid),
    }
    seen_m = made.unwrapped_rad / interferogram.PHASE_PER_METRE
    error_m = seen_m - sum(parts.values())
    error_m -= np.median(error_m[made.components == 1])
    good = (made.components == 1) & (np.abs(error_m) < 0.008)
    assert good.mean() > 0.7
    assert 0.0003 < np.std(error_m[good]) < 0.003
    # Every part is in there once: its coefficient in the phase is 1, as well as the noise lets it be known.
    columns = np.stack([*(part[good] for part in parts.values()), np.ones(good.sum())], axis=1)
    coefficients, *_ = np.linalg.lstsq(columns, seen_m[good], rcond=None)
    uncertainty = np.sqrt(np.diag(np.linalg.inv(columns.T @ columns))) * np.std(error_m[good])
    np.testing.assert_array_less(np.abs(coefficients[:-1] - 1), 4 * uncertainty[:-1] + 0.02)
    assert uncertainty[:-1].max() < 0.3


def test_what_is_too_fast_for_the_pixels_comes_out_too_small_or_incoherent(
    scenario: Scenario, grid: Grid
) -> None:
    first, second = date(2020, 4, 1), date(2020, 4, 25)
    steps = [one.day for one in scenario.track(11).passes() if first <= one.day <= second]

    made = interferogram.interferogram(scenario, 11, steps[0], steps[-1], 80, grid)

    true_mm = 1000 * motion.displacement_m(scenario, 11, steps[0], steps[-1], grid)
    deepest = np.unravel_index(true_mm.argmin(), true_mm.shape)
    seen_mm = (made.unwrapped_rad - np.median(made.unwrapped_rad)) / RADIANS_PER_MM
    steepest_rad = max(np.abs(np.diff(true_mm * RADIANS_PER_MM, axis=axis)).max() for axis in (0, 1))
    assert steepest_rad > np.pi
    assert seen_mm[deepest] > true_mm[deepest] + 20
    around = made.coherence[deepest[0] - 3 : deepest[0] + 4, deepest[1] - 3 : deepest[1] + 4]
    assert around.min() < 0.7 * np.median(made.coherence)


def test_summer_costs_more_coherence_than_winter_and_most_over_vegetation(
    scenario: Scenario, grid: Grid
) -> None:
    winter = interferogram.true_coherence(scenario, date(2023, 1, 4), date(2023, 1, 16), grid)
    summer = interferogram.true_coherence(scenario, date(2023, 7, 27), date(2023, 8, 8), grid)
    land, green = ~ground.water(scenario, grid), ground.vegetated_share(scenario, grid)

    lost = 1 - summer[land] / winter[land]
    assert np.median(lost) > 0.15
    assert np.median(lost[green[land] > 0.7]) > 1.2 * np.median(lost[green[land] < 0.3])


def test_a_full_size_product_is_made_once_and_repeats_itself(scenario: Scenario, tmp_path: Path) -> None:
    world = ScenarioWorld(scenario)
    bursts = {
        granule.acquired.date(): granule.name
        for granule in world.granules
        if granule.path == 18 and granule.is_burst and granule.polarization == "VV"
    }
    order = Order(
        "abcd1234",
        "INSAR_ISCE_MULTI_BURST",
        {
            "reference": [bursts[date(2023, 1, 4)]],
            "secondary": [bursts[date(2023, 1, 16)]],
            "looks": "5x1",
            "apply_water_mask": True,
        },
    )

    made = world.make(order, tmp_path / "one")

    written = made.file.stat().st_ino
    assert world.make(order, tmp_path / "one").file == made.file
    assert made.file.stat().st_ino == written, "what is there already is not made again"
    with rasterio.open(f"zip://{made.file}!/{made.name}/{made.name}_unw_phase.tif") as raster:
        assert raster.width * raster.height > 500_000
        assert raster.transform.a == 20.0
    again = ScenarioWorld(read_scenario("shaqu_mine")).make(order, tmp_path / "two")
    assert again.file.read_bytes() == made.file.read_bytes()


def test_kept_fields_belong_to_their_scenario_and_cannot_be_changed(scenario: Scenario, grid: Grid) -> None:
    same = ground.height_m(read_scenario("shaqu_mine"), grid)
    other = ground.height_m(scenario.model_copy(update={"seed": 1}), grid)

    assert same is ground.height_m(scenario, grid)
    assert not np.array_equal(same, other)
    with pytest.raises(ValueError, match="read-only"):
        same[0, 0] = 0.0
