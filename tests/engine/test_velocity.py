"""Lines through displacement histories."""

from datetime import date, timedelta

import numpy as np
import pytest
from mintpy.utils import ptime, time_func

from sagwatch.engine.velocity import Window, elapsed_years, fit_line, fit_windows, mintpy_years
from sagwatch.errors import BadInputError

DATES = [date(2022, 11, 3) + timedelta(days=12 * i) for i in range(45)]


def test_fit_line_recovers_the_invented_rate_and_offset():
    years = elapsed_years(DATES)
    rates_m_yr, offsets_m = np.array([-0.12, 0.0, 0.03]), np.array([0.01, -0.02, 0.0])

    line = fit_line(years, np.outer(years, rates_m_yr) + offsets_m)

    np.testing.assert_allclose(line.velocity_m_yr, rates_m_yr, atol=1e-8)
    np.testing.assert_allclose(line.intercept_m, offsets_m, atol=1e-8)
    np.testing.assert_allclose(line.velocity_std_m_yr, 0.0, atol=1e-8)
    np.testing.assert_array_equal(line.n_epochs, 45)


def test_a_pixel_first_seen_late_has_no_line_of_the_whole_record():
    series = np.outer(elapsed_years(DATES), [-0.1, -0.1]).astype(np.float32)
    series[:20, 1] = np.nan

    velocity_m_yr = fit_windows(DATES, series, [Window("whole", None, 3)])["whole"].velocity_m_yr

    np.testing.assert_array_equal(np.isnan(velocity_m_yr), [False, True])


def test_the_whole_record_is_mintpys_line():
    rng = np.random.default_rng(8)
    series = rng.normal(0, 0.01, (45, 50)).astype(np.float32)
    names = [f"{day:%Y%m%d}" for day in DATES]

    line = fit_windows(DATES, series, [Window("whole", None, 3)])["whole"]

    design, model, squares = time_func.estimate_time_func({"polynomial": 1}, names, series, seconds="38222.2")
    spread = np.linalg.inv(design.T @ design)
    std = np.sqrt(np.outer(np.diag(spread), squares / (45 - 2)))
    np.testing.assert_allclose(line.velocity_m_yr, model[1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(line.intercept_m, model[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(line.velocity_std_m_yr, std[1], rtol=1e-4)
    np.testing.assert_allclose(line.intercept_std_m, std[0], rtol=1e-4)
    np.testing.assert_allclose(line.residue_m, np.sqrt(squares), rtol=1e-5)


def test_mintpys_years_are_mintpys():
    names = [f"{day:%Y%m%d}" for day in DATES]
    theirs = np.array(ptime.yyyymmdd2years(names))

    np.testing.assert_allclose(mintpy_years(DATES), theirs - theirs[0], atol=1e-12)
    assert np.max(np.abs(mintpy_years(DATES) - elapsed_years(DATES))) * 365.25 > 0.2


def test_a_window_sees_only_its_own_days_and_its_first_day_belongs_to_it():
    days = np.array([(day - DATES[-1]).days for day in DATES])
    series = np.where(days < -144, 5.0, -0.3 * days / 365.25)[:, None]

    lines = fit_windows(DATES, series, [Window("w144", 144, 8), Window("w156", 156, 8)])

    assert lines["w144"].n_epochs[0] == 13
    assert lines["w144"].velocity_m_yr[0] == pytest.approx(-0.3, abs=1e-6)
    assert lines["w156"].n_epochs[0] == 14
    assert lines["w156"].velocity_m_yr[0] < -1


def test_an_unobserved_epoch_is_left_out_of_a_window_but_not_of_mintpys_record():
    years = elapsed_years(DATES)
    series = np.outer(years, [-0.2, -0.2])
    series[-3:, 1] = series[-4, 1]
    observed = np.ones(series.shape, np.bool_)
    observed[-3:, 1] = False

    lines = fit_windows(DATES, series, [Window("150d", 150, 8), Window("whole", None, 3)], observed)

    np.testing.assert_allclose(lines["150d"].velocity_m_yr, -0.2, atol=1e-6)
    np.testing.assert_array_equal(lines["150d"].n_epochs, [13, 10])
    assert lines["whole"].velocity_m_yr[1] > -0.199


def test_too_few_epochs_are_unknown_and_not_zero():
    series = np.zeros((5, 3))
    series[2:, 1] = np.nan
    series[:, 2] = np.nan

    line = fit_line(np.arange(5.0), series, least_epochs=4)

    assert line.velocity_m_yr[0] == 0.0
    assert np.all(np.isnan(line.velocity_m_yr[1:]))
    assert np.all(np.isnan(line.velocity_std_m_yr[1:]))
    np.testing.assert_array_equal(line.n_epochs, [5, 2, 0])


def test_lag_one_correlation_tells_slow_noise_from_white():
    rng = np.random.default_rng(2)
    white = rng.normal(size=(400, 200))
    slow = np.zeros_like(white)
    for i in range(1, 400):
        slow[i] = 0.8 * slow[i - 1] + white[i]

    line = fit_line(np.arange(400) / 30.0, np.hstack([white, slow]))

    assert abs(line.residual_correlation[:200].mean()) < 0.02
    assert line.residual_correlation[200:].mean() == pytest.approx(0.8, abs=0.03)


def test_many_pixels_are_cut_into_tiles_without_a_seam():
    series = np.random.default_rng(4).normal(size=(12, 300))
    whole = fit_line(np.arange(12.0), series)

    for part in (slice(0, 7), slice(120, 135), slice(299, 300)):
        alone = fit_line(np.arange(12.0), series[:, part])
        np.testing.assert_array_equal(whole.velocity_m_yr[part], alone.velocity_m_yr)
        np.testing.assert_array_equal(whole.residual_correlation[part], alone.residual_correlation)


def test_bad_windows_and_shapes_are_refused():
    with pytest.raises(BadInputError, match="2 epochs leave no residual"):
        Window("short", 150, 2)
    with pytest.raises(BadInputError, match="-5 days"):
        Window("past", -5, 8)
    with pytest.raises(BadInputError, match="do not match"):
        fit_line(np.arange(4.0), np.zeros((5, 2)))
