"""Ground over panels: the numbers of the probability-integral method come back, and time runs as Knothe says."""

from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.simulation.scenario_physics import Panel
from sagwatch.simulation.subsidence import panel_motion, settled_share

WORDS = {
    "name": "one",
    "lon": 110.84,
    "lat": 37.42,
    "azimuth_deg": 90,
    "width_m": 1000,
    "depth_m": 300,
    "thickness_m": 3.0,
    "inflection_share": 0.0,
    "residual_share": 0.0,
    "face": [{"day": "2018-01-01", "advanced_m": 0}, {"day": "2019-01-01", "advanced_m": 2000}],
}
BEFORE, FACE_STARTS, LONG_AFTER = date(2017, 1, 1), date(2018, 1, 1), date(2060, 1, 1)


def panel(**changes: object) -> Panel:
    return Panel.model_validate(WORDS | changes)


def test_a_wide_panel_comes_down_by_thickness_times_factor_and_half_of_it_over_its_edges() -> None:
    one = panel()
    along = np.array([1000.0, 0.0, 2000.0, 1000.0, 0.0, -400.0])
    across = np.array([0.0, 0.0, 0.0, 500.0, 500.0, 0.0])

    moved = panel_motion(one, BEFORE, LONG_AFTER, along, across)

    np.testing.assert_allclose(moved.up_m, [-2.1, -1.05, -1.05, -1.05, -0.525, 0.0], atol=1e-4)


def test_tilt_is_greatest_over_the_edge_and_horizontal_motion_is_b_r_times_tilt_inwards() -> None:
    one = panel()
    full_m, radius_m = 2.1, 150.0
    step_m = 0.5
    along, across = np.array([-step_m, step_m, 0.0, 2000.0, 1000.0]), np.array([0.0, 0.0, 0.0, 0.0, 500.0])

    moved = panel_motion(one, BEFORE, LONG_AFTER, along, across)

    tilt = (moved.up_m[0] - moved.up_m[1]) / (2 * step_m)
    assert tilt == pytest.approx(full_m / radius_m, rel=1e-4)
    # Over the edges the ground moves by b W0 toward the middle of the panel.
    np.testing.assert_allclose(moved.along_m[2:], [0.3 * full_m, -0.3 * full_m, 0.0], atol=1e-4)
    np.testing.assert_allclose(moved.across_m[2:], [0.0, 0.0, -0.3 * full_m], atol=1e-4)


def test_the_offset_of_the_inflection_point_and_the_dip_make_the_trough_smaller() -> None:
    along, across = np.array([30.0, 1000.0]), np.zeros(2)

    inset = panel_motion(panel(inflection_share=0.1), BEFORE, LONG_AFTER, along, across)
    dipping = panel_motion(panel(dip_deg=30), BEFORE, LONG_AFTER, along, across)

    assert inset.up_m[0] == pytest.approx(-1.05, abs=1e-3)
    assert dipping.up_m[1] == pytest.approx(-2.1 * np.cos(np.radians(30)), abs=1e-4)


def test_the_settlement_of_an_element_follows_knothe_and_leaves_a_residue() -> None:
    one = panel(residual_share=0.1, residual_per_year=0.2, knothe_per_year=3.0)
    years = np.array([-1.0, 0.0, 0.5, 5.0, 1000.0])

    share = settled_share(one, years * 365.25)

    late = 0.1 * (1 - np.exp(-0.2 * 5))
    expected = [0.0, 0.0, 0.9 * (1 - np.exp(-1.5)) + 0.1 * (1 - np.exp(-0.1)), 0.9 + late, 1.0]
    np.testing.assert_allclose(share, expected, atol=1e-6)


def test_ground_before_an_advancing_face_starts_slowly_accelerates_and_settles() -> None:
    one = panel(width_m=300)
    days = [FACE_STARTS + timedelta(days=24 * n) for n in range(60)]
    place = np.array([1000.0]), np.array([0.0])

    down_m = np.array([-panel_motion(one, BEFORE, day, *place).up_m[0] for day in days])
    rate = np.diff(down_m)

    fastest = int(rate.argmax())
    passes_below = (date(2018, 7, 2) - FACE_STARTS).days // 24
    assert passes_below <= fastest <= passes_below + 2
    assert rate[0] < 0.001 * rate[fastest]
    assert rate[-1] < 0.01 * rate[fastest]
    assert (rate > -1e-12).all()


def test_motion_adds_up_over_time_and_stops_with_the_face() -> None:
    halted = panel(
        knothe_per_year=100.0,
        face=[
            {"day": "2018-01-01", "advanced_m": 0},
            {"day": "2018-07-01", "advanced_m": 1000},
            {"day": "2018-12-01", "advanced_m": 1000},
            {"day": "2019-06-01", "advanced_m": 2000},
        ],
    )
    along, across = np.meshgrid(np.linspace(-500, 2500, 40), np.linspace(-800, 800, 20))
    first, second, third = date(2018, 3, 1), date(2018, 9, 1), date(2019, 3, 1)

    def up_m(since: date, until: date) -> np.ndarray:
        return panel_motion(halted, since, until, along, across).up_m

    np.testing.assert_allclose(up_m(first, second) + up_m(second, third), up_m(first, third), atol=1e-9)
    assert np.abs(up_m(date(2018, 9, 1), date(2018, 12, 1))).max() < 1e-6
    assert np.abs(up_m(date(2018, 12, 1), date(2019, 3, 1))).max() > 1.0


@pytest.mark.parametrize(
    ("face", "text"),
    [
        ([{"day": "2018-02-01", "advanced_m": 0}, {"day": "2018-01-01", "advanced_m": 9}], "must increase"),
        ([{"day": "2018-01-01", "advanced_m": 0}, {"day": "2018-02-01", "advanced_m": 0}], "ends beyond 0"),
        ([{"day": "2018-01-01", "advanced_m": 5}, {"day": "2018-02-01", "advanced_m": 9}], "starts at 0"),
    ],
)
def test_a_face_that_cannot_be_is_refused(face: list[dict[str, object]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        panel(face=face)
