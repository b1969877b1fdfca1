"""What the benchmark of eaten troughs measures is what it says: with a mask little, without one much."""

from datetime import date

import pytest

from benchmarks.accuracy_mine import SeenMine, Span, scenario_of
from benchmarks.eaten import BOXES, Truth, ramp_shares, topography_shares


@pytest.fixture(scope="module")
def truth() -> Truth:
    span = Span(date(2018, 1, 1), date(2021, 12, 31), box=BOXES["2.5 x 2 km"])
    return Truth.of(SeenMine(scenario_of(4021), span))


def test_a_surface_through_the_trough_eats_it_and_one_beside_it_does_not(truth):
    everything, steady, faces = (
        ramp_shares(truth, "quadratic", mask) for mask in ("everything", "steady", "faces")
    )
    assert 0.1 < everything.maximum < 0.3
    assert everything.foretold == pytest.approx(everything.maximum, abs=0.05)
    assert everything.stable > 0.1
    for masked in (steady, faces):
        assert abs(masked.maximum) < 0.005
        assert masked.stable < 0.005


def test_baselines_that_come_and_go_slowly_eat_more_than_the_satellites(truth):
    own, slow = topography_shares(truth, 2, None), topography_shares(truth, 2, 3.0)
    assert 0 < own.maximum <= own.foretold * 1.01
    assert slow.maximum > 2 * own.maximum
    assert slow.foretold > 0.25
