"""The engine benchmark: the arithmetic between its stopwatch and its keys, and its synthetic stacks."""

import os
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.against_mintpy import Run, extrapolate, sample_sizes
from benchmarks.figures import bandwidth_fraction, headline, key_of, ratios
from benchmarks.gauges import SyncClock, covered
from benchmarks.stacks import Case, Extent, make_track, open_track
from sagwatch.engine.interferogram import read_layers


def case_figures(epochs: int, neighbours: int = 2, *, gaps: bool = True, update: float = 0.1) -> dict:
    ours = {
        f"threads_{threads}": {
            "update": {
                "seconds": update / threads,
                "sync_seconds": update / 4,
                "bytes_written": 6e6,
                "bytes_to_read": 4e6,
                "peak_memory_bytes": 200.0,
                "memory_after_imports_bytes": 1000,
            },
            "batch": {"seconds": 2.0 / threads, "peak_memory_bytes": 300.0},
        }
        for threads in (1, 2)
    }
    figures = {
        "epochs": epochs,
        "neighbours": neighbours,
        "gaps": gaps,
        "pixels": 10,
        "ours": ours,
        "mintpy": {
            "seconds": 400.0,
            "max_difference_mm": 1e-3 / epochs,
            "counts_that_differ": 0,
            "masks_that_differ": 0,
        },
        "in_memory": {"mintpy_seconds": 300.0, "seconds_threads_1": 0.25, "seconds_threads_2": 0.15},
        "max_difference_batch_mm": 1e-4,
        "state_bytes_per_pixel": 99.0,
        "copy_bytes_per_second": 2e8,
    }
    figures |= {"ratios": ratios(figures), "bandwidth_fraction": bandwidth_fraction(figures)}
    return (
        figures
        if gaps
        else figures | {"peers": {"dolphin": {"speedup": 2.0}, "other": {"absent": "no wheel"}}}
    )


def test_the_fixed_part_and_the_part_of_each_pixel_are_told_apart():
    runs = [Run(size, 5.0 + 0.004 * size) for size in (100, 1100) for _ in range(2)]

    whole = extrapolate(runs, pixels=80_000)

    assert whole.pixel_seconds == pytest.approx(0.004)
    assert whole.fixed_seconds == pytest.approx(5.0)
    assert whole.seconds == pytest.approx(325.0)
    assert whole.spread == pytest.approx(0.0)


def test_repeats_that_disagree_are_told():
    runs = [Run(100, 5.0), Run(1100, 9.0), Run(100, 5.0), Run(1100, 11.0)]

    whole = extrapolate(runs, pixels=10_100)

    assert whole.seconds == pytest.approx(55.0)
    assert whole.spread == pytest.approx((65.0 - 45.0) / 55.0)


def test_a_short_run_is_made_on_all_pixels_and_nothing_is_scaled():
    assert sample_sizes(1000, pixel_seconds=0.001, seconds=10) == (1000,)
    assert sample_sizes(1000, pixel_seconds=0.0, seconds=10) == (1000,)
    assert sample_sizes(80_000, pixel_seconds=0.005, seconds=10) == (200, 2000)

    whole = extrapolate([Run(1000, 8.0), Run(1000, 9.0)], pixels=1000)

    assert (whole.seconds, whole.fixed_seconds) == (8.5, 0.0)


def test_threads_that_wait_for_the_disk_at_the_same_time_count_once():
    assert covered([(0, 2), (1, 3), (5, 6), (5.2, 5.4)]) == pytest.approx(4)
    assert covered([]) == 0


def test_waiting_for_the_disk_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.fsync", lambda _: time.sleep(0.05))
    clock = SyncClock()

    with clock.watching(), (tmp_path / "file").open("w") as file:
        os.fsync(file.fileno())

    assert 0.05 <= clock.seconds() < 0.5


def test_keys_name_the_case():
    assert key_of("ratio", case_figures(240)) == "ratio_240"
    assert key_of("ratio_threads_2", case_figures(240, 4)) == "ratio_240_k4_threads_2"
    assert key_of("ratio", case_figures(60, gaps=False)) == "ratio_60_complete"


def test_the_headline_stands_for_two_neighbours_with_gaps():
    cases = [
        case_figures(60, update=0.05),
        case_figures(240),
        case_figures(240, 4, update=0.2),
        case_figures(240, gaps=False, update=0.4),
    ]

    found = headline(cases)

    assert found["update_speedup_vs_mintpy_240"] == pytest.approx(4000)
    assert found["update_speedup_vs_mintpy_240_threads_2"] == pytest.approx(8000)
    assert found["update_speedup_vs_mintpy_240_k4"] == pytest.approx(2000)
    assert found["update_speedup_vs_mintpy_240_complete"] == pytest.approx(1000)
    assert found["batch_end_to_end_speedup_240"] == pytest.approx(200)
    assert found["batch_speedup_vs_mintpy_240"] == pytest.approx(1200)
    assert found["update_growth_60_to_240"] == pytest.approx(2)
    assert found["batch_speedup_vs_dolphin_240"] == 2.0
    assert found["batch_speedup_vs_other_240"] == "absent: no wheel"
    assert found["max_difference_mm"] == pytest.approx(1e-3 / 60)
    assert found["counts_and_masks_identical"] is True
    assert found["bandwidth_fraction"] == pytest.approx(1e7 / 0.1 / 2e8)
    assert found["sync_fraction"] == pytest.approx(0.25)
    assert found["peak_memory_bytes_per_pixel"] == pytest.approx(30)


def test_a_shorter_record_is_the_beginning_of_the_longest(tmp_path: Path):
    extent = Extent(16, down=2, across=3)
    *_, last = make_track(tmp_path, extent, epochs=8, neighbours=3, gaps=True)
    track = open_track(tmp_path, extent)

    pairs = track.pairs(Case(5, 2, True))

    assert last == (18, 18)
    assert [(m.reference, m.secondary) for m in pairs] == [
        (track.dates[a], track.dates[b]) for a in range(5) for b in range(a + 1, min(a + 3, 5))
    ]
    assert len(track.pairs(Case(8, 3, True), last_epoch=4)) == 9
    assert track.dates[1] - track.dates[0] == timedelta(days=12)
    phase = read_layers(track.store.interferogram_path(pairs[0].id)).phase_rad
    assert phase.shape == (32, 48)
    np.testing.assert_array_equal(phase[:16, :16], phase[16:, 32:])
