"""The run benchmark measures our steps and not the simulator, on the demonstration's area in any pixel size."""

import argparse
import time
from pathlib import Path

import pytest

from benchmarks.run import LOOKS, SITE_FILE, WAITING, StepTimes, _sizes, write_site
from sagwatch.adapters.site_files import read_site


@pytest.mark.parametrize("pixel_m", sorted(LOOKS))
def test_each_size_is_a_valid_site_over_the_same_ground(pixel_m: int, tmp_path: Path):
    demonstration = read_site(SITE_FILE).tracks[0].grid

    grid = read_site(write_site(pixel_m, tmp_path)).tracks[0].grid

    assert (grid.west, grid.north) == (demonstration.west, demonstration.north)
    assert grid.columns * grid.pixel_m == demonstration.columns * demonstration.pixel_m
    assert grid.rows * grid.pixel_m == demonstration.rows * demonstration.pixel_m


def test_what_the_simulator_needs_is_told_apart():
    times = StepTimes()
    for step, seconds in (
        ("submit_jobs", 0.02),
        (WAITING, 0.2),
        ("fetch_product", 0.02),
        ("submit_jobs", 0.02),
    ):
        times.begin(step)
        time.sleep(seconds)
    times.stop()
    time.sleep(0.05)

    assert list(times.ours) == ["submit_jobs", "fetch_product"]
    assert times.ours["submit_jobs"] >= 0.04
    assert times.waited >= 0.2
    assert sum(times.seconds.values()) == pytest.approx(sum(times.ours.values()) + times.waited)


def test_a_size_that_hyp3_does_not_make_is_refused():
    assert _sizes("40,20") == (40, 20)
    for wrong in ("30", "", "twenty", "40,twenty"):
        with pytest.raises(argparse.ArgumentTypeError, match="pixel sizes in metres"):
            _sizes(wrong)
