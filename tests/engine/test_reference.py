"""The reference point is chosen on stable, coherent, dry ground, or not at all."""

import itertools
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from sagwatch.domain.grid import Grid
from sagwatch.engine.hyp3_attributes import product_attributes
from sagwatch.engine.interferogram import Layers, StoredInterferogram
from sagwatch.engine.manifest import RevisionSettings
from sagwatch.engine.reference import ReferenceRules, Surroundings, choose_reference, rank_references
from sagwatch.engine.stack import Stack
from sagwatch.engine.store import TrackStore
from sagwatch.errors import BadInputError
from tests.engine.invented_ground import METRES_PER_RADIAN, PARAMETERS

GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=30, rows=24)
SETTINGS = RevisionSettings(20, 4).inversion
LAND = np.ones(GRID.shape, np.bool_)


def make_stack(folder: Path, velocity_m_yr: np.ndarray, coherence: np.ndarray, n_epochs: int = 8) -> Stack:
    """A chain of pairs over ground that moves steadily, with a little noise."""
    rng = np.random.default_rng(11)
    store, members = TrackStore(folder, GRID), []
    days = [date(2024, 1, 4) + timedelta(days=12 * i) for i in range(n_epochs)]
    for a in range(n_epochs - 1):
        phase = velocity_m_yr * 12 / 365.25 / METRES_PER_RADIAN + rng.normal(0, 0.05, GRID.shape) + 3.0
        name = f"S1_021697_IW3_{days[a]:%Y%m%d}_{days[a + 1]:%Y%m%d}_VV_INT80_000{a}"
        phase[np.isnan(coherence)] = 0.0
        layers = Layers.from_product(phase, np.nan_to_num(coherence))
        digest = store.write_interferogram(str(a), layers, product_attributes(name, PARAMETERS, GRID))
        members.append(StoredInterferogram(days[a], days[a + 1], str(a), digest, 10.0))
    return store.stack(members)


def trough() -> np.ndarray:
    """A trough in the middle, -250 mm/yr; the corners are quiet."""
    rows, columns = np.mgrid[: GRID.rows, : GRID.columns]
    return -0.25 * np.exp(-((rows - 12) ** 2 + (columns - 15) ** 2) / (2 * 3.0**2))


def test_the_most_coherent_pixel_is_not_taken_if_it_sinks(tmp_path):
    coherence = np.random.default_rng(1).uniform(0.5, 0.8, GRID.shape)
    coherence[10:15, 13:18] = 0.95

    point = choose_reference(make_stack(tmp_path, trough(), coherence), SETTINGS, LAND)

    assert abs(trough()[point.row, point.column]) < 0.005
    assert coherence[point.row, point.column] > 0.7
    assert "mean coherence 0." in point.reason
    assert "panel" not in point.reason, "nobody knows where they are"
    assert "mm/yr of the median" in point.reason


def test_the_choice_is_the_same_every_time(tmp_path):
    coherence = np.random.default_rng(2).uniform(0.5, 0.9, GRID.shape)
    stack = make_stack(tmp_path, trough(), coherence)

    points = {choose_reference(stack, SETTINGS, LAND) for _ in range(3)}

    assert len(points) == 1


def test_water_and_pixels_that_are_ever_missing_are_left_out(tmp_path):
    coherence = np.full(GRID.shape, 0.6)
    coherence[2:9, 2:9] = 0.9  # water
    coherence[15:22, 2:9] = 0.85  # without data in the first pair
    coherence[2:9, 20:27] = 0.8
    stack = make_stack(tmp_path, np.zeros(GRID.shape), coherence)
    land = LAND.copy()
    land[2:9, 2:9] = False
    holed = coherence.copy()
    holed[15:22, 2:9] = np.nan
    gaps = make_stack(tmp_path / "gaps", np.zeros(GRID.shape), holed, n_epochs=2)
    (tmp_path / "interferograms" / "0.h5").unlink()
    (gaps.folder / "0.h5").rename(tmp_path / "interferograms" / "0.h5")

    point = choose_reference(stack, SETTINGS, land, ReferenceRules(best_share=0.3))

    assert 2 <= point.row < 9
    assert 20 <= point.column < 27


def test_a_lonely_coherent_pixel_is_not_trusted(tmp_path):
    coherence = np.full(GRID.shape, 0.3)
    coherence[3, 3] = 0.99
    coherence[15:21, 20:26] = 0.7

    point = choose_reference(make_stack(tmp_path, np.zeros(GRID.shape), coherence), SETTINGS, LAND)

    assert 15 <= point.row < 21
    assert 20 <= point.column < 26


def test_a_product_that_ends_some_pixels_earlier_keeps_the_reference(tmp_path):
    """The grid has 24 x 30 pixels, so three at each side are its edge."""
    coherence = np.full(GRID.shape, 0.6)
    coherence[:, -3:] = coherence[-3:, :] = 0.95
    coherence[8:15, 8:15] = 0.7

    point = choose_reference(
        make_stack(tmp_path, np.zeros(GRID.shape), coherence), SETTINGS, LAND, ReferenceRules(best_share=0.3)
    )

    assert 8 <= point.row < 15
    assert 8 <= point.column < 15


def test_two_epochs_are_enough_to_choose(tmp_path):
    coherence = np.random.default_rng(3).uniform(0.5, 0.9, GRID.shape)
    stack = make_stack(tmp_path, trough(), coherence, n_epochs=2)

    point = choose_reference(stack, SETTINGS, LAND)

    assert abs(trough()[point.row, point.column]) < 0.02


def test_ground_that_moves_everywhere_is_refused(tmp_path):
    slope = np.linspace(-0.3, 0.0, GRID.columns) * np.ones((GRID.rows, 1))

    with pytest.raises(BadInputError, match=r"scatter by \d+ mm/yr.*name a reference point in the site file"):
        choose_reference(make_stack(tmp_path, slope, np.full(GRID.shape, 0.8)), SETTINGS, LAND)


def test_nothing_suitable_is_refused_with_the_reason(tmp_path):
    stack = make_stack(tmp_path, np.zeros(GRID.shape), np.full(GRID.shape, 0.35))

    with pytest.raises(
        BadInputError, match=r"720 of 720 pixels are land.*mean coherence is 0.35 \(at least 0.4"
    ):
        choose_reference(stack, SETTINGS, LAND)
    with pytest.raises(BadInputError, match="0 of 720 pixels are land"):
        choose_reference(stack, SETTINGS, ~LAND)
    lonely = np.full(GRID.shape, 0.2)
    lonely[::8, ::8] = 0.9
    with pytest.raises(BadInputError, match="has 5 others within"):
        choose_reference(make_stack(tmp_path / "b", np.zeros(GRID.shape), lonely), SETTINGS, LAND)


def test_candidates_lie_off_the_panels_and_near_the_area_in_height_and_say_so(tmp_path):
    coherence = np.random.default_rng(5).uniform(0.55, 0.6, GRID.shape)
    coherence[4:9, 4:9] = 0.9  # the most coherent ground is over a panel
    coherence[4:9, 20:26] = 0.8  # the next lies on a ridge
    coherence[15:21, 20:26] = 0.7
    undermined = np.zeros(GRID.shape, np.bool_)
    undermined[:12, :14] = True
    above = np.zeros(GRID.shape)
    above[:12, 16:] = 200.0
    stack = make_stack(tmp_path, np.zeros(GRID.shape), coherence)
    rules = ReferenceRules(best_share=0.5, apart=4)

    plain = rank_references(stack, SETTINGS, Surroundings(LAND), rules)
    ranked = rank_references(stack, SETTINGS, Surroundings(LAND, undermined, above), rules)

    assert 4 <= plain[0].row < 9
    assert 4 <= plain[0].column < 9
    assert 15 <= ranked[0].row < 21
    assert 20 <= ranked[0].column < 26
    assert not any(undermined[one.row, one.column] for one in ranked)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert all(
        max(abs(a.row - b.row), abs(a.column - b.column)) > 4 for a, b in itertools.combinations(ranked, 2)
    )
    assert "+0 m above the area's median" in ranked[0].reason
    assert "on land, off the panels, " in ranked[0].reason
    ridge = next(one for one in ranked if one.above_area_m == 200.0)
    assert ridge.score == pytest.approx(ridge.mean_coherence * ridge.temporal_coherence / 5)
    with pytest.raises(
        BadInputError, match=r"720 of 720 pixels are land, 0 of them off the panels.*datum.draw_m"
    ):
        rank_references(stack, SETTINGS, Surroundings(LAND, ~undermined | undermined), rules)
