"""Who flew when: gaps, two satellites, the end of one and the beginning of another, orbits that come late."""

from datetime import date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from sagwatch.simulation import air, ground, interferogram
from sagwatch.simulation.passes import baseline_m, has_precise_orbit
from sagwatch.simulation.product_text import Looks, Pair, product_name
from sagwatch.simulation.scenario import Scenario, read_scenario
from sagwatch.simulation.world import Order, ScenarioWorld

#: Offset of absolute and relative orbit numbers (MintPy's prep_hyp3 uses the same); S1C's changed in June 2026.
OFFSET = {"S1A": 73, "S1B": 202, "S1C": 172, "S1D": 42}


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return read_scenario("shaqu_mine")


@pytest.fixture(scope="module")
def world(scenario: Scenario) -> ScenarioWorld:
    return ScenarioWorld(scenario)


@pytest.mark.parametrize("path", [11, 18])
def test_the_history_of_the_satellites_is_kept(scenario: Scenario, path: int) -> None:
    passes = scenario.track(path).passes()
    flown = {platform: [one.day for one in passes if one.platform == platform] for platform in OFFSET}
    steps = {(b.day - a.day).days for a, b in pairwise(passes)}

    assert len(passes) >= 300
    assert passes[0].day == date(2017, 1, 11)
    assert max(flown["S1B"]) <= date(2021, 12, 23)
    assert min(flown["S1C"]) >= date(2025, 3, 26)
    assert not [day for day in flown["S1C"] if date(2026, 6, 8) <= day <= date(2026, 6, 24)]
    assert min(flown["S1D"]) >= date(2026, 4, 14)
    assert max(flown["S1A"]) <= date(2026, 6, 29)
    assert {6, 12, 24} <= steps
    assert max(steps) <= 48


@pytest.mark.parametrize("path", [11, 18])
def test_absolute_orbits_belong_to_the_relative_orbit(scenario: Scenario, path: int) -> None:
    for one in scenario.track(path).passes():
        moved = one.platform == "S1C" and one.orbit > 8018
        assert (one.orbit - (99 if moved else OFFSET[one.platform])) % 175 + 1 == path


def test_granules_carry_their_satellite(world: ScenarioWorld) -> None:
    scenes = {g.acquired.date(): g for g in world.granules if g.path == 11 and not g.is_burst}

    assert scenes[date(2021, 12, 22)].name.startswith("S1B_IW_SLC")
    assert scenes[date(2021, 12, 22)].short_name == "SENTINEL-1B_SLC"
    assert scenes[date(2025, 4, 5)].name.startswith("S1C_IW_SLC")
    assert date(2019, 10, 28) not in scenes


def gamma_pair(world: ScenarioWorld, scenario: Scenario, requested: datetime | None) -> Pair:
    scenes = {g.acquired.date(): g for g in world.granules if g.path == 18 and not g.is_burst}
    first, second = scenes[date(2021, 12, 16)], scenes[date(2021, 12, 22)]
    order = Order("abcd", "INSAR_GAMMA", {"looks": "20x4"}, requested)
    return Pair(scenario, scenario.track(18), order, Looks.parse("20x4"), [first], [second])


def test_a_pair_that_is_made_early_uses_restituted_orbits_and_its_gamma_name_says_so(
    world: ScenarioWorld, scenario: Scenario
) -> None:
    early = gamma_pair(world, scenario, datetime.fromisoformat("2022-01-08T00:00:00Z"))
    late = gamma_pair(world, scenario, datetime.fromisoformat("2022-02-08T00:00:00Z"))

    assert early.restituted == {date(2021, 12, 22)}
    assert product_name(early).startswith("S1AB_20211216T2237")
    assert "_VVR006_INT80_G_" in product_name(early)
    assert "_VVP006_INT80_G_" in product_name(late)
    assert gamma_pair(world, scenario, None).restituted == frozenset()


def test_precise_orbits_are_out_after_twenty_days_and_always_where_nothing_is_said(
    scenario: Scenario,
) -> None:
    acquired = datetime.fromisoformat("2022-01-03T10:37:02Z")

    assert not has_precise_orbit(scenario, acquired, acquired + timedelta(days=19.9))
    assert has_precise_orbit(scenario, acquired, acquired + timedelta(days=20))
    assert has_precise_orbit(read_scenario("shaqu"), acquired, acquired)


def test_orbit_errors_are_ramps_and_the_precise_orbit_errs_less(scenario: Scenario) -> None:
    grid = ground.area(scenario, 400.0)
    day = date(2022, 3, 4)

    precise, restituted = (
        air.orbital_m(scenario, 11, day, grid, restituted=restituted) for restituted in (False, True)
    )

    assert scenario.orbits is not None
    ratio = scenario.orbits.restituted_m / scenario.orbits.precise_m
    np.testing.assert_allclose(restituted, ratio * precise, atol=1e-12)
    assert np.abs(np.diff(precise, n=2, axis=0)).max() < 1e-12
    assert 1e-5 < np.ptp(precise) < 0.01


def test_the_ionosphere_is_stronger_at_dusk_than_at_dawn_and_near_a_solar_maximum(scenario: Scenario) -> None:
    grid = ground.area(scenario, 2000.0)

    def spread_mm(path: int, year: int) -> float:
        days = [date(year, 1, 1) + timedelta(days=6 * n) for n in range(50)]
        return 1000 * float(np.mean([np.std(air.ionospheric_m(scenario, path, day, grid)) for day in days]))

    dusk_maximum, dusk_minimum, dawn_maximum = spread_mm(11, 2024), spread_mm(11, 2019), spread_mm(18, 2024)
    assert 3.5 < dusk_maximum / dusk_minimum < 8
    assert 2 < dusk_maximum / dawn_maximum < 4.5
    assert 0.5 < dusk_maximum < 10


def test_an_error_of_the_dem_shows_with_the_baseline(scenario: Scenario) -> None:
    grid = ground.area(scenario, 400.0)
    days = [one.day for one in scenario.track(11).passes()[:3]]
    error_m = ground.dem_error_m(scenario, grid)

    feigned = interferogram.topographic_m(scenario, 11, days[0], days[2], grid)

    apart_m = baseline_m(scenario, 11, 2) - baseline_m(scenario, 11, 0)
    lever_m = 898_000.0 * np.sin(np.radians(42.5))
    np.testing.assert_allclose(feigned, apart_m / lever_m * error_m, rtol=0.02)
    assert np.std(error_m) == pytest.approx(scenario.dem_error_m, rel=0.4)
