"""The published blind spots over the simulated mine: what InSAR lost of its truth is flagged, stable ground is not."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from shapely.geometry import box

from sagwatch.domain.blind_spots import GradientLimit, blind_spots, expected_step_mm, record_steps
from sagwatch.domain.mine_plan import Face
from sagwatch.domain.sentence import STEP_LIMIT_MM, WAVELENGTH_M
from sagwatch.engine.solve import InversionSettings, Network, Observations, solve
from sagwatch.simulation import ground, interferogram, motion
from sagwatch.simulation.scenario import Scenario, read_scenario

PATH, LOOKS = 11, 80
SINCE, UNTIL = date(2020, 2, 1), date(2020, 7, 31)
MOST_STABLE_FLAGGED = 0.03


def steepest_mm(field: np.ndarray) -> np.ndarray:
    padded = np.pad(field, 1, mode="edge")
    shifts = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.max([np.abs(field - shifted) for shifted in shifts], axis=0)


@pytest.mark.parametrize("seed", [303])
def test_what_is_lost_of_the_trough_is_flagged_and_stable_ground_is_not(seed: int) -> None:
    scenario = read_scenario("shaqu_mine").model_copy(update={"seed": seed})
    grid = ground.area(scenario, 80.0)
    days = sorted({one.day for one in scenario.track(PATH).passes() if SINCE <= one.day <= UNTIL})
    truth_mm = 1000 * np.array([motion.displacement_m(scenario, PATH, days[0], day, grid) for day in days])
    pairs = [(i, j) for i in range(len(days)) for j in (i + 1, i + 2) if j < len(days)]
    made = [interferogram.interferogram(scenario, PATH, days[i], days[j], LOOKS, grid) for i, j in pairs]
    land = made[0].land
    stable = (np.abs(truth_mm).max(axis=0) < 2) & land

    solution = _solve(days, pairs, made, stable)

    shape = (len(days), *grid.shape)
    los_mm = np.where(solution.pairs_per_epoch > 0, 1000 * solution.los_m, np.nan).reshape(shape)
    reliable = (solution.temporal_coherence.reshape(grid.shape) >= 0.7) & land
    codes = blind_spots(
        record_steps(days, los_mm, land),
        0.5,
        has_data=np.isfinite(los_mm[-1]),
        reliable=reliable,
        land=land,
    )
    lost = np.max([steepest_mm(step) for step in np.diff(truth_mm, axis=0)], axis=0) > STEP_LIMIT_MM
    off_mm = los_mm - truth_mm
    off_mm -= np.nanmedian(off_mm[:, stable & reliable], axis=1)[:, None, None]
    trough = np.abs(truth_mm).max(axis=0) > 10
    lost |= trough & (np.nanmax(np.abs(off_mm), axis=0) > 500 * WAVELENGTH_M)
    assert lost.sum() > 40
    assert (codes[lost] > 0).mean() >= 0.99
    assert (codes[stable] > 0).mean() < MOST_STABLE_FLAGGED


def test_what_is_expected_of_a_face_is_at_least_the_truth_and_tells_the_two_panels_apart() -> None:
    scenario = read_scenario("shaqu_mine")
    limit = GradientLimit(80.0, 12.0, scenario.track(PATH).incidence_deg)

    for name, begin, end, beyond in (
        ("panel_east", date(2020, 6, 1), date(2020, 6, 13), True),
        ("panel_west", date(2023, 6, 1), date(2023, 6, 13), False),
    ):
        true_mm = 1000 * motion.displacement_m(scenario, PATH, begin, end, ground.area(scenario, 80.0), name)
        expected_mm = _expected_mm(scenario, name, limit)
        assert expected_mm > steepest_mm(true_mm).max()
        assert (expected_mm > limit.los_mm) == (steepest_mm(true_mm).max() > limit.los_mm) == beyond


def _expected_mm(scenario: Scenario, name: str, limit: GradientLimit) -> float:
    (panel,) = [one for one in scenario.panels if one.name == name]
    area = box(0, 0, panel.face[-1].advanced_m, panel.width_m)
    face = Face(
        name=name,
        begin=panel.face[0].day,
        end=panel.face[-1].day,
        depth_m=panel.depth_m,
        thickness_m=panel.thickness_m,
        subsidence_factor=panel.subsidence_factor,
        geometry={},
    )
    expected_mm = expected_step_mm(face, area, limit)
    assert expected_mm is not None
    return expected_mm


def _solve(days, pairs, made, stable):
    phase = np.array([one.unwrapped_rad.ravel() for one in made], np.float32)
    coherence = np.array([one.coherence.ravel() for one in made], np.float32)
    candidates = np.flatnonzero(stable.ravel())
    reference = int(candidates[np.argmax(coherence.mean(axis=0)[candidates])])
    earlier, later = np.array(pairs).T
    network = Network(days=np.array([(day - days[0]).days for day in days]), earlier=earlier, later=later)
    seen = Observations(network, phase, coherence, phase[:, reference].copy(), reference)
    return solve(seen, InversionSettings(wavelength_m=WAVELENGTH_M, looks=LOOKS))
