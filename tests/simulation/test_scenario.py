"""Scenario files: what is shipped holds its story, what is wrong is named."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from sagwatch.simulation.motion import moved_m
from sagwatch.simulation.passes import baseline_m
from sagwatch.simulation.scenario import ScenarioError, read_scenario
from sagwatch.simulation.world import ScenarioWorld, timeline
from tests.simulation.small_world import SMALL, write_small_world


def test_the_demonstration_holds_its_story() -> None:
    scenario = read_scenario("shaqu")
    days = [day for _, day in scenario.track(11).days()]
    rates = {trough.name: trough.rates for trough in scenario.troughs}

    def velocity_mm_yr(face: str, first: int, last: int) -> float:
        span_days = (days[last] - days[first]).days
        return moved_m(rates[face], days[first], days[last]) * 1000 / span_days * 365.25

    assert days[0] == date(2023, 12, 30)
    assert velocity_mm_yr("face_a", 0, 18) == pytest.approx(-180)
    assert velocity_mm_yr("face_a", 18, 31) == pytest.approx(-450)
    assert velocity_mm_yr("face_b", 0, 16) == 0
    assert velocity_mm_yr("face_b", 16, 31) == pytest.approx(-300)
    assert velocity_mm_yr("face_c", 0, 8) == pytest.approx(-200)
    assert velocity_mm_yr("face_c", 8, 31) == 0


def test_the_demonstration_has_an_unbroken_network_for_its_first_32_dates() -> None:
    world = ScenarioWorld(read_scenario("shaqu"))

    for path in (11, 18):
        passes = timeline(world.granules, path)[:32]
        gaps = [(b.acquired.date() - a.acquired.date()).days for a, b in pairwise(passes)]
        assert set(gaps) == {12}
        baselines = [baseline_m(read_scenario("shaqu"), path, number) for number in range(32)]
        assert max(baselines) - min(baselines) < 300
        assert max(map(abs, baselines)) > 60


def test_reprocessed_granules_differ_in_the_suffix_only() -> None:
    world = ScenarioWorld(read_scenario("shaqu"))

    twins = [
        g for g in world.granules if "_IW3_20240428T" in g.name and g.is_burst and g.polarization == "VV"
    ]

    assert len({g.name for g in twins}) == 2
    assert len({g.name[:-10] for g in twins}) == 1
    assert {g.processor_version for g in twins} == {"003.71", "003.91"}
    assert (max(g.published for g in twins) - min(g.published for g in twins)).days == 20


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("seed: 7", "seed: -7", r"small\.yaml: seed: "),
        ("011_021698_IW3", "11_21698_IW3", r"tracks\.0\.bursts: .*not a burst id"),
        ("011_021698_IW3", "012_021698_IW3", "must have one relative orbit"),
        ("rehearsal_path: 11", "rehearsal_path: 12", "is not a path of the tracks"),
        ("box: [110.80", "box: [111.80", "box must be west, south, east, north"),
        ("from: 2024-03-01", "from: 2023-03-01", "must increase"),
        ("margin_m: 200", "marjin_m: 200", r"marjin_m: "),
        ("name: small", "name: [", "not YAML"),
    ],
)
def test_a_wrong_scenario_is_refused_by_file_and_key(tmp_path: Path, old: str, new: str, text: str) -> None:
    file = write_small_world(tmp_path)
    assert old in SMALL
    file.write_text(SMALL.replace(old, new))

    with pytest.raises(ScenarioError, match=text):
        read_scenario(str(file))


def test_an_unknown_scenario_names_the_shipped_ones() -> None:
    with pytest.raises(ScenarioError, match="atlantis: no such scenario; shipped are shaqu"):
        read_scenario("atlantis")
