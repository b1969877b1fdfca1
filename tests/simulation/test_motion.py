"""Sources of motion in three dimensions, and what two tracks see of them."""

from datetime import date

import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.simulation import ground, interferogram, look, motion
from sagwatch.simulation.scenario import Scenario, read_scenario

SINCE, UNTIL = date(2022, 6, 1), date(2023, 6, 1)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return read_scenario("shaqu_mine")


@pytest.fixture(scope="module")
def grid(scenario: Scenario) -> Grid:
    return ground.area(scenario, 80.0)


def test_the_whole_is_the_sum_of_its_sources_each_in_its_place(scenario: Scenario, grid: Grid) -> None:
    whole = motion.displacement_3d_m(scenario, SINCE, UNTIL, grid)
    parts = {
        name: motion.displacement_3d_m(scenario, SINCE, UNTIL, grid, name)
        for name in motion.source_names(scenario)
    }

    for axis in ("east", "north", "up"):
        total = sum(getattr(part, axis) for part in parts.values())
        np.testing.assert_allclose(getattr(whole, axis), total, atol=1e-12)
    for place in (*scenario.landfills, *scenario.slopes):
        row, column = grid.row_column(place.lon, place.lat)
        here = np.hypot(parts[place.name].up, parts[place.name].east)
        assert here[row, column] > 0.9 * here.max() > 0.01


def test_horizontal_motion_over_a_panel_points_to_its_trough(scenario: Scenario, grid: Grid) -> None:
    moved = motion.displacement_3d_m(scenario, SINCE, UNTIL, grid, "panel_west")
    row, column = np.unravel_index(moved.up.argmin(), moved.up.shape)

    assert moved.up[row, column] < -0.1
    assert moved.east[row, column - 3] > 0.01
    assert moved.east[row, column + 3] < -0.01
    assert moved.north[row - 3, column] < -0.01
    assert moved.north[row + 3, column] > 0.01


def test_a_window_of_the_grid_shows_the_same_ground(scenario: Scenario, grid: Grid) -> None:
    part = Grid(grid.epsg, grid.west + 20 * 80.0, grid.north - 30 * 80.0, 80.0, 90, 70)

    for path in (11, 18):
        np.testing.assert_allclose(
            motion.displacement_m(scenario, path, SINCE, UNTIL, part),
            motion.displacement_m(scenario, path, SINCE, UNTIL, grid)[30:100, 20:110],
            atol=1e-9,
        )


def test_the_two_tracks_see_a_landfill_alike_and_a_westward_slope_with_opposite_signs(
    scenario: Scenario, grid: Grid
) -> None:
    def seen(name: str, path: int) -> float:
        place = next(one for one in (*scenario.landfills, *scenario.slopes) if one.name == name)
        return float(
            motion.displacement_m(scenario, path, SINCE, UNTIL, grid, name)[
                grid.row_column(place.lon, place.lat)
            ]
        )

    assert seen("landfill", 11) == pytest.approx(seen("landfill", 18), rel=0.05)
    assert seen("landfill", 11) < -0.02
    # The ascending track looks from the west: ground that creeps west comes nearer.
    assert seen("slope", 11) > 0.01
    assert seen("slope", 18) < -0.03


def test_the_line_of_sight_is_a_unit_vector_to_a_satellite_in_the_west_or_east(
    scenario: Scenario, grid: Grid
) -> None:
    for path, sign in ((11, -1.0), (18, 1.0)):
        east, north, up = look.line_of_sight(scenario, path, grid)
        theta, phi = look.look_vectors(scenario.track(path), grid)

        np.testing.assert_allclose(east**2 + north**2 + up**2, 1.0, atol=1e-12)
        assert (np.sign(east) == sign).all()
        assert np.degrees(np.arccos(up.mean())) == pytest.approx(scenario.track(path).incidence_deg, abs=0.1)
        np.testing.assert_allclose(np.sin(theta), up, atol=2e-4)
        np.testing.assert_allclose(np.cos(theta) * np.cos(phi), east, atol=2e-4)


def test_a_slope_creeps_fastest_in_the_rainy_season_and_keeps_its_yearly_mean(
    scenario: Scenario, grid: Grid
) -> None:
    slope = scenario.slopes[0]
    here = grid.row_column(slope.lon, slope.lat)

    def crept_mm(since: date, until: date) -> float:
        moved = motion.displacement_3d_m(scenario, since, until, grid, "slope")
        return 1000 * float(np.sqrt(moved.east**2 + moved.north**2 + moved.up**2)[here])

    year = crept_mm(date(2021, 1, 1), date(2025, 1, 1)) / 4
    assert year == pytest.approx(slope.mm_yr, rel=0.03)
    rainy, dry = (
        crept_mm(date(2022, 7, 15), date(2022, 8, 15)),
        crept_mm(date(2022, 1, 15), date(2022, 2, 15)),
    )
    assert rainy / dry == pytest.approx((1 + slope.rainy_share) / (1 - slope.rainy_share), rel=0.1)


def test_motion_that_differs_within_a_pixel_costs_coherence() -> None:
    columns = np.arange(40)
    quarter = interferogram.WAVELENGTH_M / 4
    ramp = np.broadcast_to(columns * quarter, (40, 40))

    flat, steep = (interferogram.strain_coherence(scale * ramp) for scale in (0.0, 1.0))

    np.testing.assert_allclose(flat, 1.0)
    # Half a cycle across a pixel: sin(pi / 2) / (pi / 2).
    np.testing.assert_allclose(steep, 2 / np.pi, rtol=1e-9)


def test_a_phase_bias_breaks_closure_and_long_pairs_are_free_of_it(scenario: Scenario, grid: Grid) -> None:
    first, second, third = date(2022, 7, 6), date(2022, 7, 18), date(2022, 7, 30)

    def bias_mm(since: date, until: date) -> np.ndarray:
        return 1000 * interferogram.phase_bias_m(scenario, since, until, grid)

    closure = bias_mm(first, second) + bias_mm(second, third) - bias_mm(first, third)
    green = ground.vegetated_share(scenario, grid)
    assert scenario.phase_bias is not None
    velocity = bias_mm(first, second) / 12 * 365.25
    assert velocity[green > 0.95].mean() == pytest.approx(scenario.phase_bias.los_mm_yr, rel=0.1)
    assert np.abs(closure).max() > 0.1
    assert np.abs(bias_mm(first, date(2023, 7, 6))).max() < 1e-9
