"""The simulated ground and air: invented fields have the properties they promise."""

from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.simulation import air, ground, interferogram, motion, noise, unwrapping
from sagwatch.simulation.scenario import Rate, Scenario, Trough, read_scenario

DAY = date(2024, 1, 11)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return read_scenario("shaqu")


@pytest.fixture(scope="module")
def grid(scenario: Scenario) -> Grid:
    return ground.area(scenario, 80.0)


def test_the_area_lies_on_hyp3s_lattice_and_covers_the_box(scenario: Scenario) -> None:
    for pixel_m in (20.0, 40.0, 80.0):
        grid = ground.area(scenario, pixel_m)
        assert (grid.west % pixel_m, grid.north % pixel_m) == (0.0, 0.0)
        lon, lat = grid.lon_lat(np.array([0, grid.rows - 1]), np.array([0, grid.columns - 1]))
        west, south, east, north = scenario.box
        assert lon[0] < west
        assert lat[0] > north
        assert lon[1] > east
        assert lat[1] < south


def test_displacement_follows_piecewise_rates() -> None:
    rates = [
        Rate.model_validate({"from": "2024-01-01", "peak_los_mm_yr": -365.25}),
        Rate.model_validate({"from": "2024-02-01", "peak_los_mm_yr": 0}),
        Rate.model_validate({"from": "2024-03-01", "peak_los_mm_yr": -730.5}),
    ]

    moved = [
        motion.moved_m(rates, date(2023, 12, 1), until) for until in (date(2024, 1, 11), date(2024, 2, 20))
    ]

    np.testing.assert_allclose(moved, [-0.010, -0.031], atol=1e-12)
    assert motion.moved_m(rates, date(2024, 2, 10), date(2024, 3, 11)) == pytest.approx(-0.020)


@pytest.mark.parametrize("profile", ["gaussian", "probability_integral"])
def test_a_trough_is_deepest_in_its_centre_and_gone_outside_its_radius(
    scenario: Scenario, profile: str
) -> None:
    trough = Trough.model_validate(
        {
            "name": "one",
            "lon": 110.84,
            "lat": 37.42,
            "radius_m": 500,
            "profile": profile,
            "rates": [{"from": "2024-01-01", "peak_los_mm_yr": -100}],
        }
    )
    x, y = noise.to_utm(32649).transform(110.84, 37.42)
    grid = Grid(32649, np.floor(x / 10) * 10 - 1000, np.ceil(y / 10) * 10 + 1000, 10.0, 201, 201)

    shape = motion.trough_shape(trough, 32649, grid)

    assert shape.max() == pytest.approx(1.0, abs=0.01)
    row, column = np.unravel_index(shape.argmax(), shape.shape)
    assert (abs(row - 100), abs(column - 100)) <= (1, 1)
    assert shape[100, 0] < 0.01
    if profile == "gaussian":
        half_m = 500 * np.sqrt(np.log(2) / np.pi)
        assert shape[100, 100 + round(half_m / 10)] == pytest.approx(0.5, abs=0.03)


def test_turbulence_has_the_stated_size_at_ten_kilometres_and_its_slope(scenario: Scenario) -> None:
    lattice = noise.lattice_of(scenario)
    tens, ones = [], []
    for number in range(30):
        day = DAY + timedelta(days=number)
        field = air._atmosphere_lattice(scenario.seed, 11, day, lattice.size, 4.0)
        tens.append(np.mean((field[:, 100:] - field[:, :-100]) ** 2))
        ones.append(np.mean((field[:, 10:] - field[:, :-10]) ** 2))

    rms_10_km_mm = np.sqrt(np.mean(tens)) * 1000
    # Spectrum k^-8/3 in two dimensions: the structure function grows with distance to the power 2/3.
    slope = np.log10(np.mean(tens) / np.mean(ones))
    assert rms_10_km_mm == pytest.approx(4.0, rel=0.12)
    assert slope == pytest.approx(2 / 3, abs=0.12)


def test_every_look_shows_the_same_air_and_hills(scenario: Scenario) -> None:
    coarse = ground.area(scenario, 80.0)
    fine = Grid(coarse.epsg, coarse.west, coarse.north, 20.0, 4 * coarse.columns, 4 * coarse.rows)

    def averaged(values: np.ndarray) -> np.ndarray:
        return values.reshape(coarse.rows, 4, coarse.columns, 4).mean(axis=(1, 3))

    def delay(grid: Grid) -> np.ndarray:
        return air.turbulent_m(scenario, 11, DAY, grid)

    def hills(grid: Grid) -> np.ndarray:
        return ground.height_m(scenario, grid)

    for field in (delay, hills):
        values = field(coarse)
        np.testing.assert_allclose(averaged(field(fine)), values, atol=0.1 * np.ptp(values))
        assert np.corrcoef(averaged(field(fine)).ravel(), values.ravel())[0, 1] > 0.99


def test_pairs_that_share_a_date_share_its_air(scenario: Scenario, grid: Grid) -> None:
    quiet = scenario.model_copy(
        update={
            "troughs": [],
            "river": None,
            "coherence": scenario.coherence.model_copy(update={"median": 0.97, "spread": 0.0}),
        }
    )
    days = [DAY, DAY + timedelta(days=12), DAY + timedelta(days=24)]

    made = {
        (a, b): interferogram.interferogram(quiet, 11, days[a], days[b], 80, grid).unwrapped_rad
        for a, b in [(0, 1), (1, 2), (0, 2)]
    }

    closure = made[0, 1] + made[1, 2] - made[0, 2]
    closure -= np.median(closure)
    # Air and motion close exactly; what is left is the noise of three pairs.
    assert np.std(closure) < 0.1
    assert np.std(made[0, 1]) > 0.2
    assert np.std(closure) > 0.001


def test_an_interferogram_is_motion_and_air_up_to_a_constant(scenario: Scenario, grid: Grid) -> None:
    first, second = date(2024, 8, 2), date(2024, 8, 14)

    made = interferogram.interferogram(scenario, 11, first, second, 80, grid)

    moved = motion.displacement_m(scenario, 11, first, second, grid)
    delay = air.turbulent_m(scenario, 11, second, grid) - air.turbulent_m(scenario, 11, first, grid)
    error = made.unwrapped_rad - interferogram.PHASE_PER_METRE * (moved + delay)
    good = made.components == 1
    error = error[good] - np.median(error[good])
    assert good.mean() > 0.9
    assert np.std(error) < 0.4
    assert np.mean(np.abs(error) > np.pi) < 0.002
    # 12 days of -450 mm/yr: 14.8 mm, 3.3 radians, away from the satellite.
    assert (interferogram.PHASE_PER_METRE * moved).max() == pytest.approx(3.35, abs=0.1)


def test_the_constant_of_a_pair_is_unknown(scenario: Scenario, grid: Grid) -> None:
    medians = [
        np.median(
            interferogram.interferogram(
                scenario, 11, DAY + timedelta(days=12 * n), DAY + timedelta(days=12 * n + 12), 80, grid
            ).wrapped_rad
        )
        for n in range(4)
    ]

    assert np.ptp(medians) > 0.5


def test_noise_follows_coherence_and_looks() -> None:
    rng = np.random.default_rng(1)
    shape = (200, 200)

    noise = {
        (gamma, looks): interferogram.phase_noise_rad(np.full(shape, gamma), looks, rng).std()
        for gamma in (0.3, 0.9)
        for looks in (25, 100)
    }

    # Cramer-Rao: sqrt(1 - g^2) / (g sqrt(2 L)).
    assert noise[0.9, 25] == pytest.approx(np.sqrt(1 - 0.81) / (0.9 * np.sqrt(50)), rel=0.05)
    assert noise[0.9, 100] == pytest.approx(noise[0.9, 25] / 2, rel=0.05)
    assert noise[0.3, 25] > 4 * noise[0.9, 25]


def test_coherence_falls_with_time_and_in_summer_and_is_lost_over_water(
    scenario: Scenario, grid: Grid
) -> None:
    winter, later, summer = (
        interferogram.true_coherence(scenario, start, start + timedelta(days=days), grid)
        for start, days in ((date(2024, 1, 11), 12), (date(2024, 1, 11), 24), (date(2024, 7, 21), 12))
    )
    river = ground.water(scenario, grid)

    assert np.median(winter) == pytest.approx(0.6, abs=0.05)
    assert np.median(winter) > np.median(later) > np.median(summer) > 0.35
    assert 0.001 < river.mean() < 0.05
    assert winter[river].max() < 0.1


def test_unwrapping_recovers_a_steep_ramp_and_keeps_islands_apart() -> None:
    rows, columns = np.mgrid[0:80, 0:90]
    truth = 0.9 * columns + 0.3 * rows
    coherence = np.full(truth.shape, 0.8)
    coherence[:, 40:50] = 0.05
    wrapped = np.angle(np.exp(1j * truth))

    unwrapped, components = unwrapping.unwrap(wrapped, coherence)

    assert set(np.unique(components)) == {0, 1, 2}
    for label in (1, 2):
        error = (unwrapped - truth)[components == label]
        np.testing.assert_allclose(error, error[0], atol=1e-6)
    cycles = (unwrapped - wrapped) / (2 * np.pi)
    np.testing.assert_allclose(cycles, np.round(cycles), atol=1e-9)
    assert components[:, :35].max() == components[:, :35].min()


def test_motion_too_fast_for_the_wavelength_aliases(scenario: Scenario) -> None:
    """Physics, not a flag: more than half a cycle between neighbouring pixels comes out too small."""
    fast = scenario.model_copy(
        update={
            "troughs": [
                Trough.model_validate(
                    {
                        "name": "steep",
                        "lon": 110.84,
                        "lat": 37.42,
                        "radius_m": 180,
                        "rates": [{"from": "2024-01-01", "peak_los_mm_yr": -2500}],
                    }
                )
            ]
        }
    )
    grid = ground.area(fast, 80.0)
    first, second = DAY, DAY + timedelta(days=24)

    made = interferogram.interferogram(fast, 11, first, second, 80, grid)

    true_rad = (interferogram.PHASE_PER_METRE * motion.displacement_m(fast, 11, first, second, grid)).max()
    seen_rad = made.unwrapped_rad.max() - np.median(made.unwrapped_rad)
    assert true_rad > 25
    assert seen_rad < 0.7 * true_rad


def test_everything_is_a_function_of_the_seed(scenario: Scenario, grid: Grid) -> None:
    pair = (11, DAY, DAY + timedelta(days=12), 80, grid)

    one, same = interferogram.interferogram(scenario, *pair), interferogram.interferogram(scenario, *pair)
    other = interferogram.interferogram(scenario.model_copy(update={"seed": 1}), *pair)

    np.testing.assert_array_equal(one.unwrapped_rad, same.unwrapped_rad)
    assert not np.array_equal(one.unwrapped_rad, other.unwrapped_rad)
