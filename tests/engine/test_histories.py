"""Whatever happens to a track, in any order: the updates end where a batch does, MintPy, and the exact answer.

The suite tries a few dozen histories. `make property-test [EXAMPLES=n] [SEED=n]` tries thousands.
"""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from mintpy.ifgram_inversion import estimate_timeseries

from sagwatch.engine.weights import Weight, weigh
from tests.engine.histories import HISTORIES, History, invent, steps
from tests.engine.memory_track import MemoryTrack

EXAMPLES = int(os.environ.get("SAGWATCH_EXAMPLES", "60"))
CHECKED_PIXELS = 4
#: MintPy's rcond: beyond it, its answer is cut off, and not the exact one.
MINTPY_RCOND = 1e-5


def observed(track: MemoryTrack) -> np.ndarray:
    seen = track.observations(track.present)
    threshold = track.settings.coherence_threshold
    good = np.isfinite(seen.phase_rad) & (seen.phase_rad != 0)
    good &= seen.phase_rad != seen.reference_phase_rad[:, None]
    return good if threshold is None else good & (np.nan_to_num(seen.coherence) >= np.float32(threshold))


def exact(track: MemoryTrack, pixel: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Series in metres by a float64 singular value decomposition, MintPy's, and how far the singular values spread."""
    seen = track.observations(track.present)
    network, good = seen.network, observed(track)[:, pixel]
    y = (seen.phase_rad[:, pixel] - seen.reference_phase_rad)[good].astype(np.float64)
    index = np.arange(network.n_epochs - 1)
    inside = (network.earlier[good, None] <= index) & (index < network.later[good, None])
    velocities = inside * network.steps_year
    root = np.sqrt(weigh(seen.coherence[:, pixel], track.settings.weight, track.settings.looks)[good])
    root = root.astype(np.float64)[:, None]
    values = np.linalg.svd(root * velocities, compute_uv=False)
    kept = values > 1e-10 * values[0]
    velocity = np.linalg.lstsq(root * velocities, root[:, 0] * y, rcond=1e-10)[0]
    series = np.concatenate([[0.0], np.cumsum(velocity * network.steps_year)])
    touches = np.zeros((network.n_epochs, good.sum()))
    rows = np.arange(good.sum())
    touches[network.earlier[good], rows], touches[network.later[good], rows] = -1.0, 1.0
    theirs, _, n = estimate_timeseries(
        touches.T[:, 1:],
        velocities,
        y[:, None],
        network.steps_year[:, None],
        weight_sqrt=None if track.settings.weight is Weight.NONE else root,
        rcond=MINTPY_RCOND,
        min_redundancy=track.settings.min_redundancy,
        print_msg=False,
    )
    assert n in (0, int(good.sum()))
    assert (n > 0) == bool(track.quality.redundant[pixel])
    scale = track.settings.metres_per_radian
    return series * scale, theirs[:, 0] * scale if n else series * np.nan, values[kept][-1] / values[0]


def check_update(track: MemoryTrack) -> None:
    """An update is the batch: counts, masks and numbers, within the bound that it states itself."""
    batch, quality = track.from_scratch(track.present), track.quality
    np.testing.assert_array_equal(np.isnan(track.los_m), np.isnan(batch.los_m))
    np.testing.assert_array_equal(track.counts, batch.pairs_per_epoch)
    for name in ("n_observations", "parts", "redundant"):
        np.testing.assert_array_equal(getattr(quality, name), getattr(batch, name), err_msg=name)
    np.testing.assert_array_equal(quality.n_observations, observed(track).sum(axis=0))
    off_mm = 1000 * np.nan_to_num(np.abs(track.los_m - batch.los_m)).max(axis=0)
    # What is stored is left as it is while a newer solution differs from it by no more than the tolerance.
    bound_mm = 1000 * quality.left_out_m + track.effort.tolerance_mm
    assert np.all(off_mm <= bound_mm + 1e-7), f"the bound does not hold: {off_mm}"
    most_mm = track.effort.budget_mm + track.effort.tolerance_mm
    assert np.all(off_mm <= most_mm + 1e-7), f"off by {off_mm.max()} mm"
    np.testing.assert_allclose(quality.mean_coherence, batch.mean_coherence, rtol=1e-5)
    # A residual phase is off by no more than two positions are, those of the rim when the checkpoint was made included.
    residual_rad = 2 * np.maximum(off_mm / 1000, quality.left_out_m) / abs(track.settings.metres_per_radian)
    agreement = np.abs(quality.temporal_coherence - batch.temporal_coherence)
    assert np.all(np.nan_to_num(agreement) <= 1e-6 + residual_rad)
    np.testing.assert_array_equal(np.isnan(quality.line), np.isnan(batch.line))
    # A slope over at least a day that its two ends pull apart.
    velocity_mm_yr = 1000 * np.nan_to_num(np.abs(quality.line[0] - batch.line[0]))
    span_years = (track.days[-1] - track.days[0]) / 365.25
    largest = np.nan_to_num(np.abs(batch.line[0])) * 1000
    assert np.all(velocity_mm_yr <= 6 * off_mm / span_years + 1e-6 * largest + 1e-4)


def known_epochs(pairs: np.ndarray) -> np.ndarray:
    """From the first that a pair touches on; MintPy lets the first date of a record be without one: it is 0."""
    first = int(np.argmax(pairs > 0))
    return np.arange(pairs.size) >= (first if first > 1 else 0)


def check_truth(track: MemoryTrack, pixels: np.ndarray) -> None:
    """The batch is the exact answer, and MintPy's; what is unknown is NaN."""
    batch = track.batch(track.present)
    for pixel in pixels:
        if batch.n_observations[pixel] == 0:
            assert np.all(np.isnan(batch.los_m[:, pixel]))
            continue
        series_m, mintpy_m, spread = exact(track, pixel)
        # Rounding of float64 itself grows with the square of the spread.
        allowed_mm = 1e-6 + 1e-12 / spread**2
        known = known_epochs(batch.pairs_per_epoch[:, pixel])
        assert np.all(np.isnan(batch.los_m[~known, pixel]))
        ours_mm = 1000 * batch.los_m[known, pixel]
        np.testing.assert_allclose(ours_mm, 1000 * series_m[known], rtol=0, atol=allowed_mm)
        if np.isfinite(mintpy_m[0]) and spread > 3 * MINTPY_RCOND:
            np.testing.assert_allclose(ours_mm, 1000 * mintpy_m[known], rtol=1e-6, atol=2e-3)


def live(history: History) -> MemoryTrack:
    """Go through a history and check every update."""
    track, pairs = invent(history)
    for present, replaced in steps(history, track, pairs):
        track.update(present, replaced)
        check_update(track)
    return track


@pytest.mark.timeout(0)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="SAGWATCH_EXAMPLES" not in os.environ,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(HISTORIES)
def test_a_history_ends_with_the_exact_answer(history):
    track = live(history)

    rng = np.random.default_rng((history.seed, 2))
    check_truth(track, rng.integers(0, track.los_m.shape[1], CHECKED_PIXELS))
