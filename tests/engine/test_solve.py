"""The solver gives an invented truth back, and the exact answer where a pixel's network is torn."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sagwatch.engine import kernel
from sagwatch.engine.solve import InversionSettings, Network, Observations, solve, warm_up
from sagwatch.engine.weights import Weight, weigh
from sagwatch.errors import BadInputError

WAVELENGTH_M = 0.05546576
SETTINGS = InversionSettings(WAVELENGTH_M, looks=41)


def make_network(days, neighbours: int) -> Network:
    n = len(days)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, min(a + neighbours, n - 1) + 1)]
    earlier, later = np.array(pairs).T
    return Network(np.asarray(days, dtype=np.int64), earlier, later)


def irregular_days(n_epochs: int, seed: int = 1) -> np.ndarray:
    steps = np.random.default_rng(seed).integers(6, 70, n_epochs - 1)
    return np.concatenate([[0], np.cumsum(steps)])


def adversarial(network: Network, n_pixels: int, seed: int = 5) -> Observations:
    """Random phases and coherences; between a fifth and nine tenths of a pixel's pairs are missing."""
    rng = np.random.default_rng(seed)
    shape = (network.n_pairs, n_pixels)
    phase = rng.normal(0, 5, shape).astype(np.float32)
    missing = rng.random(shape) < rng.uniform(0.2, 0.9, n_pixels)
    phase[missing] = np.where(rng.random(int(missing.sum())) < 0.5, 0.0, np.nan)
    reference = rng.normal(0, 3, network.n_pairs).astype(np.float32)
    return Observations(network, phase, rng.random(shape).astype(np.float32), reference)


def dense_answer(observations: Observations, weight: Weight, pixel: int):
    """The minimum-norm velocities of one pixel by a float64 singular value decomposition; NaN before it is seen."""
    network = observations.network
    phase = observations.phase_rad[:, pixel]
    seen = np.isfinite(phase) & (phase != 0)
    y = (phase - observations.reference_phase_rad).astype(np.float64)[seen]
    design = np.zeros((network.n_pairs, network.n_epochs - 1))
    for i, (a, b) in enumerate(zip(network.earlier, network.later, strict=True)):
        design[i, a:b] = network.steps_year[a:b]
    root = np.sqrt(weigh(observations.coherence[:, pixel], weight, SETTINGS.looks)[seen])
    velocity = np.linalg.lstsq(design[seen] * root[:, None], y * root, rcond=1e-11)[0]
    series = np.concatenate([[0.0], np.cumsum(velocity * network.steps_year)])
    agreement = np.abs(np.mean(np.exp(1j * (y - design[seen] @ velocity)))) if seen.any() else np.nan
    first = np.min(network.earlier[seen], initial=network.n_epochs)
    # The first date is 0 by definition, and MintPy lets it be without a pair.
    series[: first if first > 1 else 0] = np.nan
    return series * SETTINGS.metres_per_radian, agreement, int(seen.sum())


def test_a_known_motion_comes_back_with_the_sign_of_the_satellite():
    network = make_network(irregular_days(15), 3)
    truth_m = -0.2 * network.days[:, None] / 365.25 * np.array([1.0, 0.0, -0.3])
    unwrapped = (truth_m[network.later] - truth_m[network.earlier]) / SETTINGS.metres_per_radian
    assert np.all(unwrapped[:, 0] > 0), "away from the satellite is positive phase"
    reference = np.full(network.n_pairs, 2.5, np.float32)
    phase = (unwrapped + 2.5).astype(np.float32)
    phase[:, 1] += np.float32(1e-4)

    solution = solve(Observations(network, phase, np.full(phase.shape, 0.7, np.float32), reference), SETTINGS)

    np.testing.assert_allclose(solution.los_m, truth_m, atol=2e-5)
    np.testing.assert_array_equal(solution.los_m[0], 0.0)
    np.testing.assert_allclose(solution.temporal_coherence, 1.0, atol=1e-6)
    np.testing.assert_array_equal(solution.parts, 1)


@pytest.mark.parametrize(
    ("neighbours", "weight"),
    [
        (1, Weight.VARIANCE),
        (2, Weight.FISHER),
        (3, Weight.VARIANCE),
        (4, Weight.COHERENCE),
        (3, Weight.NONE),
        (24, Weight.VARIANCE),
    ],
)
def test_torn_and_whole_pixels_equal_a_float64_decomposition(neighbours, weight):
    observations = adversarial(make_network(irregular_days(25), neighbours), 300)
    settings = InversionSettings(WAVELENGTH_M, looks=41, weight=weight)

    solution = solve(observations, settings, float_type=np.float64)

    assert neighbours == 24 or np.max(solution.parts[solution.n_observations > 0]) > 4
    for pixel in range(300):
        series_m, agreement, n = dense_answer(observations, weight, pixel)
        assert solution.n_observations[pixel] == n
        if n:
            np.testing.assert_allclose(
                solution.los_m[:, pixel], series_m, rtol=0, atol=1e-9, err_msg=str(pixel)
            )
            assert solution.temporal_coherence[pixel] == pytest.approx(agreement, abs=1e-6)


def test_redundancy_and_counts_equal_a_plain_statement_of_the_rule():
    observations = adversarial(make_network(irregular_days(12), 3), 400)
    network = observations.network

    solution = solve(observations, InversionSettings(WAVELENGTH_M, 41, min_redundancy=2))

    seen = np.isfinite(observations.phase_rad) & (observations.phase_rad != 0)
    touches = np.array([seen[(network.earlier == m) | (network.later == m)].sum(axis=0) for m in range(12)])
    np.testing.assert_array_equal(solution.pairs_per_epoch, touches)
    expected = np.all(touches[1:] >= 2, axis=0) & seen.any(axis=0)
    np.testing.assert_array_equal(solution.redundant, expected)
    assert 0 < expected.sum() < 400


def test_a_pixel_without_observations_is_unknown_and_not_stable():
    network = make_network(irregular_days(6), 2)
    observations = adversarial(network, 3)
    observations.phase_rad[:, 1] = 0.0
    observations.phase_rad[:, 2] = np.nan

    solution = solve(observations, SETTINGS)

    assert np.all(np.isnan(solution.los_m[:, 1:]))
    assert np.all(np.isnan(solution.temporal_coherence[1:]))
    np.testing.assert_array_equal(solution.n_observations[1:], 0)
    np.testing.assert_array_equal(solution.redundant[1:], False)
    np.testing.assert_array_equal(solution.parts[1:], 6)


def test_a_phase_that_equals_the_reference_is_missing_as_in_mintpy():
    network = make_network(irregular_days(5), 2)
    observations = adversarial(network, 1)
    observations.phase_rad[:] = 1.0
    observations.phase_rad[2, 0] = observations.reference_phase_rad[2]

    assert solve(observations, SETTINGS).n_observations[0] == network.n_pairs - 1


def test_a_coherence_below_the_threshold_is_missing_and_one_on_it_is_not():
    network = make_network(irregular_days(5), 2)
    observations = adversarial(network, 1)
    observations.phase_rad[:] = 1.0
    observations.coherence[:] = 0.9
    observations.coherence[0] = np.float32(0.3)
    observations.coherence[1] = np.nextafter(np.float32(0.3), np.float32(0))
    observations.coherence[2] = np.nan
    settings = InversionSettings(WAVELENGTH_M, looks=41, coherence_threshold=0.3)

    assert solve(observations, settings).n_observations[0] == network.n_pairs - 2
    assert solve(observations, SETTINGS).n_observations[0] == network.n_pairs


def test_the_reference_pixel_rests_by_definition():
    observations = adversarial(make_network(irregular_days(6), 2), 10)
    network = observations.network
    observations.phase_rad[:, 4] = observations.reference_phase_rad
    with_reference = Observations(
        network, observations.phase_rad, observations.coherence, observations.reference_phase_rad, 4
    )

    solution = solve(with_reference, SETTINGS)

    np.testing.assert_array_equal(solution.los_m[:, 4], 0.0)
    assert solution.temporal_coherence[4] == 1.0
    assert solution.n_observations[4] == network.n_pairs
    assert solution.redundant[4]


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_a_pair_without_phase_at_the_reference_pixel_is_refused_by_name(broken):
    observations = adversarial(make_network(irregular_days(6), 2), 2)
    reference = observations.reference_phase_rad.copy()
    reference[3] = broken

    with pytest.raises(BadInputError, match=r"\[E105\] .*pair 3; reject the pair"):
        Observations(observations.network, observations.phase_rad, observations.coherence, reference)


def test_threads_change_nothing_not_even_the_last_bit():
    observations = adversarial(make_network(irregular_days(30), 2), 3001)

    one, many = solve(observations, SETTINGS, threads=1), solve(observations, SETTINGS, threads=5)

    for name in ("los_m", "temporal_coherence", "n_observations", "pairs_per_epoch", "parts", "redundant"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name), err_msg=name)


def test_two_callers_at_once_do_not_disturb_each_other():
    stacks = [adversarial(make_network(irregular_days(20), 2), 2000, seed) for seed in range(4)]
    alone = [solve(stack, SETTINGS, threads=1).los_m for stack in stacks]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda stack: solve(stack, SETTINGS, threads=2).los_m, stacks))

    for expected, got in zip(alone, together, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("days", "earlier", "later", "message"),
    [
        ([0, 12, 12], [0], [1], "must rise from 0"),
        ([5, 12], [0], [1], "must rise from 0"),
        ([0, 12], [1], [0], "the earlier one first"),
        ([0, 12], [0], [2], "name two of the epochs"),
        ([0, 12], [], [], "one earlier and one later"),
    ],
)
def test_an_impossible_network_is_refused(days, earlier, later, message):
    with pytest.raises(BadInputError, match=message):
        Network(np.array(days), np.array(earlier, dtype=np.int64), np.array(later, dtype=np.int64))


def test_warming_up_compiles_the_very_code_that_is_used_later():
    warm_up()
    compiled = len(kernel.solve_range.signatures)

    solve(adversarial(make_network(irregular_days(6), 2), 10), SETTINGS)

    assert compiled >= 1
    assert len(kernel.solve_range.signatures) == compiled


def test_more_pairs_than_a_byte_holds_are_stored_as_255_and_counted_in_full():
    n = 300
    network = Network(np.array([0, 12]), np.zeros(n, np.int64), np.ones(n, np.int64))
    phase = np.full((n, 2), 1.5, np.float32)
    observations = Observations(network, phase, np.full_like(phase, 0.5), np.full(n, 0.5, np.float32), 0)

    solution = solve(observations, InversionSettings(wavelength_m=0.0555, looks=5))

    np.testing.assert_array_equal(solution.pairs_per_epoch, 255)
    np.testing.assert_array_equal(solution.n_observations, n)
