"""A set of rules over an archive: what it would have told, and what that is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sagwatch.__main__ import main
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.mine import Mine
from sagwatch.domain.mine_plan import Face
from sagwatch.steps.backtest import Outcome, backtest, draw, report
from sagwatch.steps.judge import Solution
from tests.database.published import make_site
from tests.domain.moving_ground import TRACK, Basin, days_of, grid_of, invent_ground

SITES = Path(__file__).resolve().parents[2] / "include" / "sites" / "demonstration"
SHAPE = (56, 56)
GRID = grid_of(SHAPE)
DAYS = days_of(40)


def square(row: float, column: float) -> dict:
    x, y = GRID.lon_lat(row, column)
    d = 0.002
    ring = [[x - d, y - d], [x + d, y - d], [x + d, y + d], [x - d, y + d], [x - d, y - d]]
    return {"type": "Polygon", "coordinates": [[[float(a), float(b)] for a, b in ring]]}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """A trough over the worked face, one where no plan has anything, and a face over which nothing moves."""
    los_m = invent_ground(
        8, 40, SHAPE, [Basin(-300, 12, row=0.25, column=0.25), Basin(-250, 14, row=0.8, column=0.8)], 4.0, 2.0
    )
    faces = (
        Face(name="worked", begin=DAYS[12], geometry=square(14, 14)),
        Face(name="quiet", begin=DAYS[12], geometry=square(14, 46)),
    )
    mine = Mine.of(make_site().model_copy(update={"faces": faces}), GRID)

    def solution(day):
        n = DAYS.index(day) + 1
        return Solution(tuple(DAYS[:n]), los_m[:n], np.ones(SHAPE, np.float32))

    return backtest(TRACK, GRID, AlertRules(), 0.7, DAYS[7:], solution, mine, factors=(1.0, 0.5, 4.0))


def test_what_is_over_a_face_is_explained_and_what_is_not_counts_as_unexplained(outcomes):
    low, own, high = outcomes

    assert [one.factor for one in outcomes] == [0.5, 1.0, 4.0]
    assert own.found == 1
    assert own.delays_days["quiet"] is None
    assert 0 < own.delays_days["worked"] <= 10 * 12
    assert own.unexplained == 1
    area_km2 = SHAPE[0] * SHAPE[1] * 0.08**2
    years = (DAYS[-1] - DAYS[7]).days / 365.25
    assert own.unexplained_rate == pytest.approx(1 / (area_km2 / 100 * years), rel=0.02)
    assert low.delays_days["worked"] <= own.delays_days["worked"] <= high.delays_days["worked"]


def test_the_report_says_it_in_lines_and_the_curve_is_a_picture(outcomes, tmp_path):
    text = "\n".join(report(outcomes))

    assert "1 of 2" in text
    assert "quiet: no alert near it" in text
    assert "worked: first alert after" in text
    assert draw(outcomes, "An invented mine", tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rules", "{folder}/bad.yaml"], "levels_mm_yr: levels must be negative"),
        (["--rules", "{folder}/none.yaml"], "cannot be read"),
        (["--track", "t999z"], "site shaqu has no track t999z; it has "),
        (["--picture", "{folder}/none/curve"], "--picture says where the curves go"),
    ],
)
def test_what_a_backtest_cannot_use_is_refused_before_anything_runs(
    words, told, tmp_path, capsys, monkeypatch
):
    (tmp_path / "bad.yaml").write_text("levels_mm_yr: [40]")
    monkeypatch.setenv("SAGWATCH_SITES", str(SITES))
    monkeypatch.delenv("SAGWATCH_DATABASE_URL", raising=False)

    code = main(["backtest", "shaqu", *(word.format(folder=tmp_path) for word in words)])

    assert code != 0
    assert told in capsys.readouterr().err
