"""Ground that moves too fast to be seen is flagged, quiet ground is not, on invented ground whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from sagwatch.domain.blind_spots import (
    Blind,
    BlindView,
    GradientLimit,
    blind_spots,
    blind_words,
    steepest_steps_mm_yr,
)
from sagwatch.domain.sentence import STEP_LIMIT_MM

DATES = tuple(date(2023, 1, 1) + timedelta(days=12 * i) for i in range(40))
SHAPE = (50, 60)


def bowl(width: float = 6.0) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.exp(-((rows - 25) ** 2 + (columns - 30) ** 2) / (2 * width**2))


def view_of(los_m: np.ndarray, **changes) -> BlindView:
    everywhere = np.ones(SHAPE, bool)
    view = BlindView(DATES, los_m, 24.0, everywhere, everywhere, ~everywhere)
    return replace(view, **changes)


def aliased(rate_mm_yr: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A bowl as it comes out when each 12 days are unwrapped from the outside in, row by row; and its true steps, mm.

    A step of more than half a wavelength's half between neighbours loses whole cycles.
    """
    moved_mm = rate_mm_yr * 12 / 365.25 * bowl()
    steps = np.diff(moved_mm, axis=1, prepend=0)
    lost = 2 * STEP_LIMIT_MM
    seen_mm = np.cumsum(steps - lost * np.round(steps / lost), axis=1)
    noise = np.random.default_rng(seed).normal(0, 2.0, (len(DATES), *SHAPE))
    return (seen_mm * np.arange(len(DATES))[:, None, None] + noise) / 1000, np.abs(steps)


def test_the_steepest_step_is_that_of_the_time_when_it_was_steepest():
    times = np.clip(np.arange(40) - 15, 0, 10)[:, None, None]
    los_m = -0.004 * times * (np.arange(SHAPE[1]) >= 30)[None, None, :] * np.ones((1, *SHAPE))

    steps = steepest_steps_mm_yr(DATES, los_m)

    assert steps[20, 29] == pytest.approx(0.004 * 1000 / 12 * 365.25)
    np.testing.assert_array_equal(steps > 0, np.isin(np.arange(SHAPE[1]), (29, 30)) & np.ones(SHAPE, bool))


@pytest.mark.parametrize("rate_mm_yr", [-4500.0, -9000.0])
def test_what_loses_cycles_is_flagged_and_quiet_ground_is_not(rate_mm_yr):
    los_m, steps_mm = aliased(rate_mm_yr)
    unseen, quiet = steps_mm > STEP_LIMIT_MM, bowl() < 0.001
    assert unseen.sum() > 20

    code = blind_spots(view_of(los_m), 0.5)

    assert (code[unseen] > 0).mean() >= 0.99
    assert (code[quiet] > 0).mean() <= 0.02


def test_the_floor_of_a_trough_is_flagged_although_it_looks_flat():
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inner = np.maximum(np.abs(rows - 25), np.abs(columns - 30)) <= 8
    los_m = -0.012 * np.arange(40)[:, None, None] * inner

    code = blind_spots(view_of(los_m), 0.5)

    assert code[25, 30] == Blind.INSIDE
    assert code[25, 38] == Blind.NEAR_LIMIT
    assert code[2, 2] == 0


def test_slow_ground_is_not_flagged_and_each_other_reason_has_its_code():
    los_m = -0.002 * np.arange(40)[:, None, None] * bowl()[None]
    quiet = view_of(los_m)
    assert not blind_spots(quiet, 0.5).any()

    hole = bowl() > 0.9
    ring = (bowl() > 0.3) & ~hole
    unreliable, contradicted = np.zeros(SHAPE, bool), np.zeros(SHAPE)
    unreliable[3, 4], contradicted[42:45, 49:52], contradicted[44, 53], contradicted[5, 50] = True, 9, 1, 9
    code = blind_spots(
        replace(
            quiet,
            has_data=~hole,
            moving=ring,
            reliable=~unreliable,
            contradicted=contradicted,
            triangles=np.full(SHAPE, 80),
        ),
        0.5,
    )

    assert (code[hole] == Blind.HOLE).all()
    assert code[3, 4] == Blind.LOW_COHERENCE
    assert code[44, 50] == Blind.CONTRADICTED
    assert code[44, 52] == Blind.INSIDE
    assert code[44, 53] == 0, "one triangle of eighty is an accident"
    assert code[5, 50] == Blind.CONTRADICTED
    assert code[5, 51] == 0, "one pixel says nothing about its neighbours"
    assert code[10, 10] == 0


def test_no_data_is_no_step():
    los_m = np.zeros((40, *SHAPE))
    los_m[:, 10:20, 10:20] = np.nan

    assert not steepest_steps_mm_yr(DATES, los_m).any()


def test_the_limit_is_a_quarter_wavelength_in_the_time_of_a_pair():
    limit = GradientLimit.of(24, 80, incidence_deg=60)

    assert limit.los_mm_yr == pytest.approx(55.46576 / 4 * 365.25 / 24)
    assert limit.vertical_mm_yr == pytest.approx(2 * limit.los_mm_yr)
    assert "211 mm/yr (422 if vertical) over 80 m" in blind_words(int(Blind.NEAR_LIMIT), limit)
    assert blind_words(0, limit) == ""
    assert blind_words(int(Blind.HOLE | Blind.LOW_COHERENCE), limit).count(";") == 1
