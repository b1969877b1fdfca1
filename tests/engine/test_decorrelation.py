"""The noise of interferograms comes back, from their own contradictions, as the scatter of the slopes that it makes."""

from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.engine.decorrelation import decorrelation_std_m_yr
from sagwatch.engine.solve import InversionSettings, Network, Observations, solve
from sagwatch.engine.velocity import Window, fit_windows
from tests.engine.test_solve import WAVELENGTH_M, irregular_days, make_network

WINDOWS = [Window("whole", None, 3), Window("365d", 365, 3), Window("150d", 150, 3)]
FIRST_DAY = date(2020, 2, 3)
NOISE_RAD = 0.25


def dates_and_pairs(network: Network):
    dates = [FIRST_DAY + timedelta(int(day)) for day in network.days]
    pairs = zip(network.earlier.tolist(), network.later.tolist(), strict=True)
    return dates, [(dates[one], dates[other]) for one, other in pairs]


def without_pairs_over(network: Network, step: int) -> Network:
    """Torn: no pair spans that step."""
    keep = (network.later <= step) | (network.earlier > step)
    return Network(network.days, network.earlier[keep], network.later[keep])


@pytest.mark.parametrize("neighbours", [2, 4])
@pytest.mark.parametrize("torn", [False, True])
def test_the_deviation_is_the_scatter_of_the_slopes_that_the_engine_solves(neighbours, torn):
    network = make_network(irregular_days(40) // 2, neighbours)
    network = without_pairs_over(network, 17) if torn else network
    dates, pairs = dates_and_pairs(network)
    shape = (network.n_pairs, 6000)
    phase = (1 + np.random.default_rng(8).normal(0, NOISE_RAD, shape)).astype(np.float32)
    seen = Observations(network, phase, np.full(shape, 0.7, np.float32), np.ones(shape[0], np.float32))
    solution = solve(seen, InversionSettings(WAVELENGTH_M, looks=41))

    found = decorrelation_std_m_yr(solution.temporal_coherence, dates, pairs, WINDOWS)

    lines = fit_windows(dates, solution.los_m, WINDOWS)
    for window in WINDOWS:
        scatter = np.sqrt(np.mean(lines[window.name].velocity_m_yr ** 2))
        told = np.sqrt(np.mean(found[window.name] ** 2))
        assert told == pytest.approx(scatter, rel=0.06 if not torn else 0.1), window.name
    white = np.sqrt(np.mean(lines["whole"].velocity_std_m_yr ** 2))
    assert white < 0.7 * np.sqrt(np.mean(lines["whole"].velocity_m_yr ** 2)), "the scatter does not tell it"


def test_noise_grows_as_a_random_walk_with_the_length_of_the_record():
    # A least-squares slope through a walk of n steps has 6/5 of the variance of one step over n (sum its covariance);
    # pairs of neighbours and of next but one, of the variance 1, leave steps of the variance 1 / (1^2 + 2^2) far apart.
    n = 400
    network = make_network(12 * np.arange(n), 2)
    dates, pairs = dates_and_pairs(network)
    misfit = (n - 2) / (2 * n - 3)

    found = decorrelation_std_m_yr(np.exp(-np.full(1, misfit) / 2), dates, pairs, WINDOWS[:1])["whole"]

    step_m = WAVELENGTH_M / (4 * np.pi) * np.sqrt(1 / 5)
    expected = np.sqrt(6 / 5 / n) * step_m / (12 / 365.25)
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_pairs_that_cannot_contradict_each_other_say_nothing():
    dates, pairs = dates_and_pairs(make_network(12 * np.arange(9), 1))

    assert decorrelation_std_m_yr(np.ones((2, 3), np.float32), dates, pairs, WINDOWS) == {}
    assert decorrelation_std_m_yr(np.ones((2, 3), np.float32), dates, [], WINDOWS) == {}


def test_what_is_not_known_stays_unknown_and_perfect_agreement_is_no_noise():
    dates, pairs = dates_and_pairs(make_network(12 * np.arange(9), 2))

    found = decorrelation_std_m_yr(np.array([np.nan, 0.0, 1.0, 0.9], np.float32), dates, pairs, WINDOWS)

    for deviation in found.values():
        assert np.isnan(deviation[:2]).all()
        assert deviation[2] == 0
        assert 0.001 < deviation[3] < 0.1


def test_a_pair_of_another_history_is_refused():
    dates, pairs = dates_and_pairs(make_network(12 * np.arange(9), 2))

    with pytest.raises(ValueError, match="2020-05-09"):
        decorrelation_std_m_yr(np.ones(3, np.float32), dates[:8], pairs, WINDOWS)
