"""Real interferograms of Mexico City: whatever order they arrive in, whatever is solved at a time, the end is the same.

The suite tries two orders; `make real-data-test [ORDERS=n]` tries many.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from sagwatch.adapters.site_files import read_site
from sagwatch.domain.judge import WatchState
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.revision import Revision, read_revision, solve_past
from sagwatch.engine.store import TrackStore
from sagwatch.engine.window import Effort
from sagwatch.steps.judge import Solution, judge_settled
from tests.conftest import ROOT
from tests.engine.test_real_stack import GRID, SETTINGS, mexico_city

pytestmark = pytest.mark.real_data

__all__ = ["mexico_city"]

ORDERS = int(os.environ.get("SAGWATCH_ORDERS", "2"))
SITE = ROOT / "include" / "sites" / "demonstration" / "mexico_city.yaml"
REFERENCE = ReferencePoint(*GRID.row_column(longitude=-99.17947732, latitude=19.43816124))
#: Short blocks, so that nine acquisitions have checkpoints at all.
EFFORT = Effort(block_epochs=2, settling_pairs=0.5)


def alerts(store: TrackStore, revision: Revision) -> list[tuple[str, ...]]:
    """What the site's rules say of the revision, acquisition by acquisition."""
    rules = read_site(SITE).alerts
    stack = store.stack(revision.manifest.members)

    def until(day):
        past = solve_past(revision, stack, SETTINGS, day, EFFORT)
        pairs = tuple((one.reference, one.secondary) for one in stack.until(day).members)
        return Solution(past.dates, past.los_m, past.temporal_coherence, past.observed, pairs=pairs)

    judged = judge_settled("mexico_city/t005a", GRID, rules, 0.7, revision.epochs[3:], WatchState(), until)
    return [(str(event.type), event.sentence) for one in judged for event in one.events]


def link_store(store: TrackStore, folder: Path) -> TrackStore:
    """A store of its own over the same interferograms."""
    for name in ("interferograms", "geometry"):
        (folder / name).mkdir(parents=True)
        for path in (store.folder / name).iterdir():
            os.link(path, folder / name / path.name)
    return TrackStore(folder, GRID)


@pytest.fixture(scope="module")
def at_once(mexico_city, tmp_path_factory):
    """Everything solved together: the revision, and its alerts."""
    store, members = mexico_city
    own = link_store(store, tmp_path_factory.mktemp("at_once") / "t005a")
    revision = read_revision(own.build_revision(1, members, SETTINGS, REFERENCE, EFFORT))
    return revision, alerts(own, revision)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(ORDERS))
def test_any_order_and_any_batching_end_the_same(mexico_city, at_once, tmp_path, seed):
    store, members = mexico_city
    expected, expected_alerts = at_once
    own = link_store(store, tmp_path / "t005a")
    rng = np.random.default_rng(seed)
    order = [members[i] for i in rng.permutation(len(members))]
    if seed % 2:
        order.sort(key=lambda member: member.secondary)
    borders = sorted({len(order), *rng.integers(1, len(order), int(rng.integers(1, 12))).tolist()})

    for number, border in enumerate(borders, 1):
        folder = own.build_revision(number, order[:border], SETTINGS, REFERENCE, EFFORT)

    revision = read_revision(folder)
    assert revision.manifest.id == expected.manifest.id
    assert revision.manifest.members == expected.manifest.members
    np.testing.assert_allclose(revision.los_m() * 1000, expected.los_m() * 1000, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(revision.observed(), expected.observed())
    for name in ("n_observations", "parts", "redundant", "reliable", "land"):
        np.testing.assert_array_equal(getattr(revision.layers, name), getattr(expected.layers, name))
    assert expected_alerts
    assert alerts(own, revision) == expected_alerts
