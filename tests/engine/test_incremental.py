"""An update is the batch: whatever the network, its holes, and the order in which interferograms come and go."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagwatch.engine.network import InversionSettings
from sagwatch.engine.weights import Weight
from sagwatch.engine.window import Effort
from tests.engine.memory_track import MemoryTrack
from tests.engine.test_solve import WAVELENGTH_M, dense_answer

N_PIXELS = 40
patient = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def invent(
    seed,
    n_epochs,
    neighbours,
    missing,
    tolerance_mm=1e-4,
    block_epochs=5,
    long_pairs=0.0,
    settling_pairs=7.0,
    weight=Weight.VARIANCE,
):
    """Random phases and coherences on irregular days; ``missing`` is the share of observations that are not there."""
    rng = np.random.default_rng(seed)
    days = np.cumsum(rng.integers(6, 40, n_epochs))
    pairs = [
        (int(days[a]), int(days[b]))
        for a in range(n_epochs)
        for b in range(a + 1, n_epochs)
        if b - a <= neighbours or (long_pairs and b - a < 12 and rng.random() < long_pairs)
    ]
    phase, coherence, reference = {}, {}, {}
    share = rng.uniform(0, 2 * missing, N_PIXELS)
    for pair in pairs:
        phase[pair] = rng.normal(0, 4, N_PIXELS).astype(np.float32)
        hole = rng.random(N_PIXELS) < share
        phase[pair][hole] = np.where(rng.random(int(hole.sum())) < 0.5, 0.0, np.nan)
        coherence[pair] = rng.uniform(0.1, 0.95, N_PIXELS).astype(np.float32)
        reference[pair] = float(rng.normal(0, 3))
    effort = Effort(tolerance_mm, 5 * tolerance_mm, block_epochs, settling_pairs, threads=1)
    track = MemoryTrack(InversionSettings(WAVELENGTH_M, 41, weight), effort, phase, coherence, reference)
    return track, pairs


def check_against_batch(track, tolerance_mm):
    batch = track.batch(track.present)
    quality = track.quality
    np.testing.assert_array_equal(np.isnan(track.los_m), np.isnan(batch.los_m))
    np.testing.assert_allclose(track.los_m * 1000, batch.los_m * 1000, rtol=0, atol=tolerance_mm)
    np.testing.assert_array_equal(track.counts, batch.pairs_per_epoch)
    np.testing.assert_array_equal(quality.n_observations, batch.n_observations)
    np.testing.assert_array_equal(quality.parts, batch.parts)
    np.testing.assert_array_equal(quality.redundant, batch.redundant)
    off_mm = np.nan_to_num(np.abs(track.los_m - batch.los_m).max(axis=0)) * 1000
    # A residual phase is off by no more than two displacements are, and so is the mean of the phasors.
    residual_rad = 2 * np.max(off_mm) / abs(track.settings.metres_per_radian * 1000)
    np.testing.assert_allclose(
        quality.temporal_coherence, batch.temporal_coherence, rtol=0, atol=1e-6 + residual_rad
    )
    # What is stored is left as it is while a newer solution differs from it by no more than the tolerance.
    bound_mm = quality.left_out_m * 1000 + track.effort.tolerance_mm
    assert np.all(off_mm <= bound_mm + 1e-9), "the bound does not hold"
    return off_mm


def in_order(pairs, days):
    """The pairs known at each acquisition from the third on."""
    return [frozenset(pair for pair in pairs if pair[1] <= day) for day in days[2:]]


@patient
@given(
    seed=st.integers(0, 10**6),
    neighbours=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.05, 0.2, 0.4]),
    long_pairs=st.sampled_from([0.0, 0.1]),
)
def test_acquisitions_one_by_one_are_the_batch(seed, neighbours, missing, long_pairs):
    track, pairs = invent(seed, 45, neighbours, missing, long_pairs=long_pairs)
    days = sorted({day for pair in pairs for day in pair})

    for known in in_order(pairs, days):
        track.update(known)

    check_against_batch(track, 1e-3)
    if missing <= 0.05 and neighbours < 4 and not long_pairs:
        assert track.last.newest.first > 0


@patient
@given(
    seed=st.integers(0, 10**6),
    neighbours=st.integers(1, 3),
    missing=st.sampled_from([0.0, 0.1, 0.3]),
    data=st.data(),
)
def test_any_order_of_arrival_and_withdrawal_is_the_batch(seed, neighbours, missing, data):
    track, pairs = invent(seed, 30, neighbours, missing)
    rng = np.random.default_rng(seed)
    present = frozenset(pairs[:20])
    track.update(present)
    for _ in range(data.draw(st.integers(1, 8))):
        absent = [pair for pair in pairs if pair not in present]
        late = rng.permutation(len(absent))[: rng.integers(0, 12)] if absent else []
        gone = rng.permutation(len(present))[: rng.integers(0, 3)]
        ordered = sorted(present)
        present = (present | {absent[i] for i in late}) - {ordered[i] for i in gone}
        track.update(present)
        check_against_batch(track, 1e-3)


def test_where_a_checkpoint_was_made_too_early_the_update_goes_further_back():
    """With the rule switched off the same updates are wrong, so it is the rule that makes them right."""
    off_mm = {}
    for tolerance_mm in (1e-4, 1e9):
        track, pairs = invent(3, 45, 2, 0.1, tolerance_mm, settling_pairs=1.0)
        days = sorted({day for pair in pairs for day in pair})
        went_back = 0
        for known in in_order(pairs, days):
            went_back += len(track.update(known).older)
        off_mm[tolerance_mm] = np.nanmax(np.abs(track.los_m - track.batch(track.present).los_m)) * 1000
        if tolerance_mm < 1:
            check_against_batch(track, 1e-3)
            assert went_back > 20
    assert off_mm[1e-4] <= 5e-4
    assert off_mm[1e9] > 0.01


@patient
@given(seed=st.integers(0, 10**6), neighbours=st.integers(2, 4), missing=st.sampled_from([0.05, 0.3, 0.5]))
def test_the_bound_holds_where_it_is_put_to_work(seed, neighbours, missing):
    track, pairs = invent(seed, 40, neighbours, missing, 1e-2, block_epochs=3, settling_pairs=0.5)
    days = sorted({day for pair in pairs for day in pair})

    for known in in_order(pairs, days):
        track.update(known)

    assert np.all(check_against_batch(track, 6e-2) <= 6e-2)


@pytest.mark.parametrize("neighbours", [1, 2, 3])
@pytest.mark.parametrize("missing", [0.0, 0.1, 0.35])
def test_a_series_kept_up_to_date_is_the_float64_decomposition(neighbours, missing):
    track, pairs = invent(neighbours, 50, neighbours, missing, tolerance_mm=5e-8)
    days = sorted({day for pair in pairs for day in pair})
    for known in in_order(pairs, days):
        track.update(known)

    seen = track.observations(track.present)
    for pixel in range(N_PIXELS):
        series_m, _, n = dense_answer(seen, Weight.VARIANCE, pixel)
        if n:
            np.testing.assert_allclose(track.los_m[:, pixel] * 1000, series_m * 1000, rtol=0, atol=1e-6)
    if missing == 0.0:
        assert track.last.newest.first > 0, "nothing was left as it was: the test shows nothing"
