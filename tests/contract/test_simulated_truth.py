"""The truth of the simulated mine over HTTP: per source, in three dimensions, per disturbance."""

import io
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pytest
import requests

from sagwatch.domain.grid import Grid
from sagwatch.simulation import air, ground, motion
from sagwatch.simulation.running import RunningCloud, start
from sagwatch.simulation.scenario import Scenario, read_scenario

DAY, SINCE = date(2023, 6, 1), date(2022, 6, 1)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with start(tmp_path_factory.mktemp("cloud"), scenario="shaqu_mine", job_seconds=0) as running:
        yield running


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return read_scenario("shaqu_mine")


@pytest.fixture(scope="module")
def grid(scenario: Scenario) -> Grid:
    return ground.area(scenario, 400.0)


def ask(cloud: RunningCloud, grid: Grid, **changes: Any) -> requests.Response:
    words = {key: getattr(grid, key) for key in ("west", "north", "east", "south", "columns", "rows")}
    words |= {"date": DAY.isoformat(), "since": SINCE.isoformat(), "form": "npy"} | changes
    return requests.get(f"{cloud.url}/truth", params=words, timeout=60)


def array(answer: requests.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(np.load(io.BytesIO(answer.content)))


def test_total_and_sources_along_both_lines_of_sight(
    cloud: RunningCloud, scenario: Scenario, grid: Grid
) -> None:
    names = requests.get(f"{cloud.url}/truth/components", timeout=60).json()["motion"]

    assert names == ["total", "panel_east", "panel_west", "panel_old", "landfill", "slope"]
    for path in (11, 18):
        total = array(ask(cloud, grid, path=path))
        parts = sum(array(ask(cloud, grid, path=path, component=name)) for name in names[1:])
        np.testing.assert_allclose(total, parts, atol=1e-3)
        true_mm = 1000 * motion.displacement_m(scenario, path, SINCE, DAY, grid)
        np.testing.assert_allclose(total, true_mm, atol=1e-3)
    assert total.min() < -60


def test_three_dimensions(cloud: RunningCloud, scenario: Scenario, grid: Grid) -> None:
    moved = motion.displacement_3d_m(scenario, SINCE, DAY, grid)

    for axis in ("east", "north", "up"):
        np.testing.assert_allclose(
            array(ask(cloud, grid, direction=axis)), 1000 * getattr(moved, axis), atol=1e-3
        )


def test_disturbances_and_what_never_changes(cloud: RunningCloud, scenario: Scenario, grid: Grid) -> None:
    stratified = array(ask(cloud, grid, component="stratified", path=18))
    heights = array(ask(cloud, grid, component="height"))

    expected = air.stratified_m(scenario, 18, DAY, grid) - air.stratified_m(scenario, 18, SINCE, grid)
    np.testing.assert_allclose(stratified, 1000 * expected, atol=1e-3)
    np.testing.assert_allclose(heights, ground.height_m(scenario, grid), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"component": "dragon"}, "component 'dragon' is none of"),
        ({"path": 12}, "path 12 is not a track"),
        ({"component": "turbulent", "direction": "up"}, "along the line of sight only"),
        ({"columns": 0}, "must be between 1 and"),
    ],
)
def test_a_wrong_question_is_refused(
    cloud: RunningCloud, grid: Grid, changes: dict[str, Any], text: str
) -> None:
    answer = ask(cloud, grid, **changes)

    assert answer.status_code == 400
    assert text in answer.json()["detail"]
