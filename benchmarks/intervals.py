"""How often the published 95 % intervals hold the truth: `python -m benchmarks.intervals --json FILE --seed N [N ...]`.

Several seeds of the simulated mine, since all pixels of an acquisition share the reference pixel's air and its
intervals hold or fail together: one seed is a handful of independent trials. To be quick MintPy does not run, and the
true stratified delay is taken away where a site would have ERA5's. Two minutes a seed on a free machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import MINE, WINDOWS, ends_of
from benchmarks.accuracy_chains import Stack, make_stack
from benchmarks.accuracy_mine import SeenMine, scenario_of
from benchmarks.accuracy_scores import reach, referenced, stable_ground, velocity_mm_yr
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.steps.judge import Solution, ground_view

TWO_SIDED_95 = 0.975


def measure(stack: Stack) -> dict[str, dict[str, float]]:
    """Percentages by window, means over many ends of it: of all pixels that can be measured, and of the moving ones.

    ``scatter_percent`` is without the random walk of decorrelation, ``half_width_mm_yr`` the median interval's half.
    """
    mine, dates = stack.mine, stack.mine.dates
    settings = replace(mine.settings, corrections=CorrectionSettings(topography_order=2))
    revision = stack.store.read_revision(
        stack.store.build_revision(1, stack.members, settings, stack.reference).name
    )
    los_m = referenced(revision.los_m(), stack.pixel)
    los_m -= referenced(mine.disturbance_m("stratified", dates), stack.pixel)
    moved_m = mine.truth_m(dates)
    truth_m = referenced(moved_m, stack.pixel)
    layers = revision.layers
    known = layers.reliable & layers.land & np.isfinite(los_m).all(axis=0)
    measured = known & reach(truth_m, stack.pixel).observable
    moving = measured & ~stable_ground(moved_m, dates)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in WINDOWS}
    for end in ends_of(dates):
        day, upto = dates[end], slice(0, end + 1)
        pairs = tuple((one.reference, one.secondary) for one in stack.members if one.secondary <= day)
        solution = Solution(dates[upto], los_m[upto], layers.temporal_coherence, pairs=pairs)
        view = ground_view(day, solution, AlertRules(), 0.7, mine.grid.pixel_m)
        for (name, days), window in zip(WINDOWS.items(), (*view.windows, view.whole), strict=True):
            error = np.abs(window.velocity_mm_yr - velocity_mm_yr(truth_m[upto], dates[upto], days)[0])
            half = window.half_interval(TWO_SIDED_95)
            scatter = replace(
                window,
                sd_mm_yr=np.sqrt(window.sd_mm_yr**2 - window.walk_mm_yr**2),
                sd_walk_mm_yr=None,
            ).half_interval(TWO_SIDED_95)
            rows[name].append(
                (
                    _percent(error <= half, measured),
                    _percent(error <= half, moving),
                    _percent(error <= scatter, measured),
                    float(np.median(half[measured])),
                )
            )
    keys = ("percent", "moving_percent", "scatter_percent", "half_width_mm_yr")
    return {
        name: dict(zip(keys, np.mean(found, axis=0).round(2).tolist(), strict=True))
        for name, found in rows.items()
    }


def _percent(inside: NDArray[np.bool_], pixels: NDArray[np.bool_]) -> float:
    return 100 * float(inside[pixels].mean())


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--seed", type=int, nargs="+", required=True)
    wish = parser.parse_args(words)
    seeds = {}
    for seed in wish.seed:
        with tempfile.TemporaryDirectory(prefix="sagwatch-intervals-") as folder:
            seeds[str(seed)] = measure(make_stack(SeenMine(scenario_of(seed), MINE), Path(folder)))
        print(seed, seeds[str(seed)], flush=True)
    figures = {"benchmark": "intervals", "mean": _mean(list(seeds.values())), "seeds": seeds}
    wish.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def _mean(seeds: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: round(float(np.mean([one[name][key] for one in seeds])), 2) for key in seeds[0][name]}
        for name in WINDOWS
    }


if __name__ == "__main__":
    sys.exit(main())
