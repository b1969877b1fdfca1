from __future__ import annotations

import numpy as np
import pytest

from sagwatch.domain.windows import (
    EVIDENCE,
    WindowVelocity,
    correct_for_correlation,
    evidence_classes,
    half_interval,
    pooled_correlation,
    student_quantile,
)
from sagwatch.engine.velocity import fit_line


def autoregressive(rng: np.random.Generator, n_epochs: int, n_pixels: int, rho: float) -> np.ndarray:
    noise = np.empty((n_epochs, n_pixels))
    noise[0] = rng.standard_normal(n_pixels)
    for i in range(1, n_epochs):
        noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(n_pixels)
    return noise


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("n_epochs", [13, 31])
def test_the_pooled_correlation_is_that_of_the_noise_although_a_line_was_fitted(rho, n_epochs):
    years = np.arange(n_epochs) * 12 / 365.25
    noise = autoregressive(np.random.default_rng(4), n_epochs, 20_000, rho)

    line = fit_line(years, noise.astype(np.float32))

    found = pooled_correlation(
        line.residue_m.astype(float) ** 2,
        line.residual_correlation,
        line.n_epochs,
        np.ones(20_000, bool),
    )
    assert found == pytest.approx(rho, abs=0.03)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_the_corrected_deviation_is_the_true_scatter_of_slopes(rho):
    years = np.arange(13) * 12 / 365.25
    noise = autoregressive(np.random.default_rng(5), 13, 20_000, rho)
    line = fit_line(years, noise.astype(np.float32))

    corrected = correct_for_correlation(line.velocity_std_m_yr, rho)

    scatter = line.velocity_m_yr.std()
    assert np.sqrt(np.mean(corrected**2)) == pytest.approx(scatter, rel=0.06)
    if rho == 0.6:
        assert np.sqrt(np.mean(line.velocity_std_m_yr**2)) < 0.6 * scatter


def test_moving_pixels_do_not_spoil_the_pooled_correlation():
    squares, lag, n = np.ones(200), np.full(200, -0.15), np.full(200, 13)
    lag[100:] = 0.9
    stable = np.arange(200) < 100

    assert pooled_correlation(squares, lag, n, stable) < 0.1
    assert pooled_correlation(squares, lag, n, np.zeros(200, bool)) > 0.5, "without stable ground: caution"


def test_without_residuals_nothing_is_correlated():
    nothing = np.full(10, np.nan)

    assert pooled_correlation(nothing, nothing, np.zeros(10, int), np.ones(10, bool)) == 0.0


def test_student_quantiles_are_those_of_the_tables():
    found = student_quantile(0.975, np.array([[2, 3], [12, 62]]))

    np.testing.assert_allclose(found, [[np.inf, 12.7062], [2.2281, 2.0003]], atol=1e-4)


def test_the_walk_has_the_normal_quantile_and_the_scatter_that_of_its_few_epochs():
    found = half_interval(
        0.975, np.array([12, 12, 12, 2]), np.array([5.0, 5, 5, 5]), np.array([0.0, 5, 3, 5])
    )

    np.testing.assert_allclose(
        found[:3], [5 * 2.2281, 5 * 1.95996, np.hypot(4 * 2.2281, 3 * 1.95996)], rtol=1e-4
    )
    assert not np.isfinite(found[3]), "a line through two epochs has no interval"


def test_a_window_refuses_arrays_of_different_shapes():
    good = np.zeros((2, 3), np.float32)

    with pytest.raises(ValueError, match="window of 150 days"):
        WindowVelocity(150, good, good, good[:1], good.astype(np.uint16), 0.0)


def test_what_a_window_proves_about_a_point_is_one_of_three_and_the_strongest_window_counts():
    velocity = np.array([[-80.0, -50.0, -20.0, 60.0, np.nan]], np.float32)
    sd = np.full(velocity.shape, 20, np.float32)
    n = np.full(velocity.shape, 13, np.uint16)
    short = WindowVelocity(150, velocity, sd, sd, n, 0.0)
    long = WindowVelocity(365, velocity, sd / 4, sd / 4, n, 0.0)

    def told(*windows):
        return [EVIDENCE[code] for code in evidence_classes(windows, -40.0)[0]]

    # t of 11 degrees of freedom, one-sided 95 %: 1.796, so half an interval of 36 and of 9 mm/yr
    assert told(short) == ["beyond threshold", "moving", "cannot tell", "moving", "cannot tell"]
    assert told(short, long) == ["beyond threshold", "beyond threshold", "moving", "moving", "cannot tell"]
