from __future__ import annotations

import numpy as np
import pytest

from sagwatch.domain.contrast import contrast_noise, local_contrast


def brute_force(field: np.ndarray, width: int) -> np.ndarray:
    half = width // 2
    padded = np.pad(field, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width))
    return field - np.nanmedian(windows, axis=(-1, -2))


def test_small_surroundings_are_exactly_the_moving_median():
    field = np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32)
    field[5:9, 7:15] = np.nan

    found = local_contrast(field, pixel_m=80, ring_m=80 * 9)

    np.testing.assert_allclose(found, brute_force(field, 9), atol=1e-6)


def test_what_is_wider_than_the_surroundings_cancels_and_a_trough_stays():
    rows, columns = np.indices((120, 120))
    slope = 0.5 * rows + 0.3 * columns  # up to 96 mm/yr across the site
    trough = -80.0 * (np.hypot(rows - 60, columns - 60) < 5)

    found = local_contrast((slope + trough).astype(np.float32), pixel_m=80, ring_m=2900)

    inside = slice(20, 100)
    np.testing.assert_allclose(found[inside, inside], trough[inside, inside], atol=3.0)


def test_ground_that_is_known_to_move_is_nobodys_surroundings():
    field = np.zeros((60, 60), np.float32)
    field[10:50, 10:50] = -100.0  # wider than the surroundings
    background = np.ones(field.shape, bool)
    background[10:50, 10:50] = False

    assert local_contrast(field, 80, 2000)[30, 30] == pytest.approx(0)
    assert local_contrast(field, 80, 2000, background)[30, 30] == pytest.approx(-100)


def test_missing_stays_missing_and_alone_means_no_contrast():
    field = np.full((20, 20), np.nan, np.float32)
    assert np.isnan(local_contrast(field, 80, 2900)).all()

    field[4, 4] = -50
    found = local_contrast(field, 80, 2900, np.zeros(field.shape, bool))
    assert found[4, 4] == pytest.approx(0)
    assert np.isfinite(found).sum() == 1


def test_the_noise_of_the_contrast_is_not_misled_by_a_quarter_of_moving_ground():
    contrast = np.random.default_rng(2).normal(0, 6.0, (100, 100))
    contrast[:50, :50] -= 300

    assert contrast_noise(contrast, np.ones(contrast.shape, bool)) == pytest.approx(6.0 * 1.5, rel=0.2)
    assert contrast_noise(contrast, contrast > -100) == pytest.approx(6.0, rel=0.05)
