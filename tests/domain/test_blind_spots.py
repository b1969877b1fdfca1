"""Troughs of known depth, stable ground, holes and contradictions: what is called a blind spot, and what is not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from shapely.geometry import box, mapping

from sagwatch.domain.blind_spots import (
    Blind,
    GradientLimit,
    Steps,
    blind_spots,
    expected_step_mm,
    record_steps,
    steep_faces,
)
from sagwatch.domain.grid import Grid
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Face
from sagwatch.domain.sentence import STEP_LIMIT_MM

SIDE = 60
GRID = Grid(epsg=32649, west=480_000, north=4_145_600, pixel_m=80, columns=SIDE, rows=SIDE)
ROWS, COLUMNS = np.indices((SIDE, SIDE))
ALL = np.ones((SIDE, SIDE), bool)
NONE = ~ALL
DAYS = [date(2020, 1, 1) + timedelta(days=12 * n) for n in range(30)]
LIMIT = GradientLimit(80.0, 12.0, 40.0)


def bowl(depth_mm: float, sigma_px: float = 4.0) -> np.ndarray:
    return -depth_mm * np.exp(-((ROWS - 30.3) ** 2 + (COLUMNS - 29.6) ** 2) / (2 * sigma_px**2))


def series(
    mm_an_interval: np.ndarray, moving: range = range(30), noise_mm: float = 0.0, seed: int = 1
) -> np.ndarray:
    """The same motion in every interval that ends in ``moving``, none in others; noise in every acquisition."""
    counts = np.cumsum([number in moving for number in range(len(DAYS))])
    noise = np.random.default_rng(seed).normal(0, 1, (len(DAYS), SIDE, SIDE)) * noise_mm
    return (counts[:, None, None] * mm_an_interval + noise).astype(np.float32)


def true_step(field: np.ndarray) -> np.ndarray:
    """Largest difference to a neighbour, written without the code that is tested."""
    padded = np.pad(field, 1, mode="edge")
    shifts = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.max([np.abs(field - shifted) for shifted in shifts], axis=0)


def codes(los_mm: np.ndarray, days: list[date] = DAYS, **changes: np.ndarray) -> np.ndarray:
    known = {"has_data": ALL, "reliable": ALL, "land": ALL, **changes}
    return blind_spots(record_steps(days, los_mm, known["land"]), 0.5, **known)


def test_a_jump_while_a_pixel_is_not_seen_is_beyond_the_limit_too():
    """It comes back by an interferogram over two intervals, which cannot tell more than any other."""
    los_mm = np.zeros((len(DAYS), SIDE, SIDE), np.float32)
    los_mm[11:, 30:33, 30:33] = -1.2 * STEP_LIMIT_MM
    seen = codes(los_mm)
    los_mm[11, 30:33, 30:33] = np.nan

    lost = codes(los_mm)

    assert (seen[30:33, 30] == Blind.BEYOND).all()
    assert (lost[30:33, 30] == Blind.BEYOND).all()
    assert (codes(np.where(np.isnan(los_mm), los_mm, 0)) == Blind.NONE).all()


@pytest.mark.parametrize("depth_mm", [110, 160, 300])
def test_a_trough_is_beyond_exactly_where_its_truth_is_within_a_pixel(depth_mm):
    rate = bowl(depth_mm)
    truth = true_step(rate) >= STEP_LIMIT_MM

    found = codes(series(rate, noise_mm=0.2))

    assert truth.sum() > 10
    beyond = found == Blind.BEYOND
    assert not (binary_erosion(truth) & ~beyond).any()
    assert not (beyond & ~binary_dilation(truth)).any()
    assert (found[truth] != Blind.NONE).all()
    assert (found[true_step(rate) < 0.2 * STEP_LIMIT_MM] == Blind.NONE).mean() > 0.97
    # The middle is flat, so no step of its own is steep; it is lost with its rim.
    assert found[30, 30] in (Blind.RINGED, Blind.NEAR, Blind.BEYOND)


def test_a_trough_near_the_limit_is_near_and_a_slow_one_is_nothing():
    steepest = true_step(bowl(1.0)).max()
    near = codes(series(bowl(0.7 * STEP_LIMIT_MM / steepest)))
    slow = codes(series(bowl(0.2 * STEP_LIMIT_MM / steepest)))

    assert set(np.unique(near)) >= {Blind.NEAR}
    assert not (near == Blind.BEYOND).any()
    assert not slow.any()


def test_what_was_lost_once_stays_a_lower_bound_when_the_ground_rests():
    rate = bowl(160)

    found = codes(series(rate, moving=range(5, 7), noise_mm=0.5))

    assert (found[true_step(rate) >= 1.1 * STEP_LIMIT_MM] == Blind.BEYOND).all()


def test_stable_noisy_ground_is_not_flagged():
    flagged = np.mean(
        [codes(series(np.zeros((SIDE, SIDE)), noise_mm=1.5, seed=seed)) > 0 for seed in range(3)]
    )

    assert flagged < 0.01


def test_half_the_pause_lets_twice_the_rate_be_seen():
    """The same ground in mm a year: at 6 days its steps are half as large, and so is what they are measured by."""
    rate = bowl(1.6 * STEP_LIMIT_MM / true_step(bowl(1.0)).max())
    often = [DAYS[0] + timedelta(days=6 * n) for n in range(59)]
    half = (np.arange(59)[:, None, None] * rate / 2).astype(np.float32)

    assert (codes(series(rate)) == Blind.BEYOND).any()
    assert not (codes(half, often) == Blind.BEYOND).any()


def test_a_hole_in_a_trough_is_a_hole_and_one_in_quiet_ground_is_not():
    rate = bowl(160)
    los_mm = series(rate)
    in_trough, quiet = NONE.copy(), NONE.copy()
    in_trough[28:33, 27:32] = True
    quiet[5:9, 5:9] = True
    los_mm[:, in_trough | quiet] = np.nan

    found = codes(los_mm, has_data=~(in_trough | quiet), reliable=~(in_trough | quiet))

    assert (found[in_trough] == Blind.HOLE).all()
    assert (found[quiet] == Blind.INCOHERENT).all()


def test_contradictions_incoherent_ground_and_water():
    quiet = series(np.zeros((SIDE, SIDE)))
    contradicted, incoherent, water = NONE.copy(), NONE.copy(), NONE.copy()
    contradicted[3:6, 3:6] = True
    incoherent[10:15, 10:15] = True
    water[50:53, :] = True
    quiet[:, water] += np.random.default_rng(2).uniform(-50, 50, (30, int(water.sum()))).astype(np.float32)

    found = codes(quiet, contradicted=contradicted, reliable=~(incoherent | water), land=~water)

    assert (found[contradicted] == Blind.CONTRADICTED).all()
    assert (found[incoherent] == Blind.INCOHERENT).all()
    assert (found > 0).sum() == contradicted.sum() + incoherent.sum()


def test_a_ring_with_a_gap_of_a_pixel_still_rings_and_open_ground_does_not():
    ring = NONE.copy()
    ring[20:30, 20:30] = True
    ring[22:28, 22:28] = False  # a step has a pixel on both sides, so a ring is two wide
    ring[20:22, 25] = False
    arc = NONE.copy()
    arc[40:42, 40:50] = True

    def found(steep):
        share = np.where(steep, 0.8, 0.01)
        return blind_spots(Steps(share, share), 0.5, has_data=ALL, reliable=ALL, land=ALL)

    assert (found(ring)[22:28, 22:28] == Blind.RINGED).all()
    assert not (found(arc) == Blind.RINGED).any()


def test_a_speck_is_flagged_alone_and_an_area_with_its_edge():
    share = np.full((SIDE, SIDE), 0.01)
    share[10, 10:13] = 1.2  # a pixel that lost a cycle, between two others
    share[40:42, 30:34] = 0.8
    share[42, 31] = 0.6  # came near it once

    found = blind_spots(
        Steps(share, np.where(share > 0.7, share, 0.01)), 0.5, has_data=ALL, reliable=ALL, land=ALL
    )

    assert (found[10, 10:13] == Blind.BEYOND).all()
    assert (found[9:12, 9:14] != Blind.NONE).sum() == 3
    assert (found[40:42, 30:34] == Blind.NEAR).all()
    assert found[42, 31] == found[43, 31] == found[39, 30] == Blind.NEAR


def test_the_limit_in_other_words():
    assert LIMIT.los_mm == pytest.approx(13.866, abs=0.001)
    assert LIMIT.los_mm_yr == pytest.approx(13.866 * 365.25 / 12, rel=1e-4)
    assert LIMIT.vertical_mm == pytest.approx(13.866 / np.cos(np.radians(40)), rel=1e-4)
    assert GradientLimit(80, 12).vertical_mm is None
    assert GradientLimit.of(
        GRID, [*DAYS[:5], *(DAYS[4] + timedelta(days=6 * n) for n in range(1, 14))], None
    ) == (GradientLimit(80.0, 6.0))
    assert all(kind.words(LIMIT, 0.5) for kind in Blind if kind)
    assert "13.9 mm" in Blind.BEYOND.words(LIMIT, 0.5)


@pytest.mark.parametrize("change", [{"depth_m": None}, {"thickness_m": None}, {"end": None}])
def test_a_face_is_steep_by_its_plan_and_unknown_without_one(change):
    x, y = GRID.west + 1600, GRID.north - 1600
    area = box(x, y - 220, x + 1200, y)
    plan = {"name": "3102", "begin": DAYS[0], "end": DAYS[0] + timedelta(days=600), "advance_deg": 90}
    deep = {"depth_m": 400, "thickness_m": 3.0, "geometry": mapping(area)}
    face = Face(**plan, **deep)

    # W = 2.1 m, r = 200 m, 2 m a day: 1.5203 * 2.1 / 200^2 * 24 m * 80 m = 153.2 mm up and down.
    expected = expected_step_mm(face, area, LIMIT)

    assert expected == pytest.approx(153.2 * np.cos(np.radians(40)), rel=1e-3)
    found = steep_faces(Mine(faces=((face, area),)), GRID, DAYS[3], LIMIT)
    assert found[20, 25]
    assert 20 < found.sum() < 100
    assert not steep_faces(Mine(faces=((face, area),)), GRID, DAYS[0] - timedelta(days=1), LIMIT).any()
    assert expected_step_mm(Face(**{**plan, **deep, **change}), area, LIMIT) is None
    over = codes(series(np.zeros((SIDE, SIDE))), under_face=found)
    np.testing.assert_array_equal(over == Blind.FACE, found)


def test_a_history_of_other_dates_is_refused():
    with pytest.raises(ValueError, match="30 epochs for 29 dates"):
        record_steps(DAYS[:-1], series(bowl(1)), ALL)
