"""How often the closure rule is right about unwrapping errors, on the simulated mine, where the truth is known.

``python -m benchmarks.closure_rules [--seed N] [--from 2019-01-01] [--dates 25] [--neighbours 2]`` makes interferograms
with real unwrapping, says which whole cycles each has too many, and compares that with what the rule decides.
"""

from __future__ import annotations

import argparse
from datetime import date

import numpy as np
from scipy import ndimage

from sagwatch.engine.closure import CYCLE_RAD, Pair, cycles
from sagwatch.engine.faults import Attribution, decide
from sagwatch.simulation import air, ground, interferogram, motion
from sagwatch.simulation.scenario import Scenario, read_scenario

PATH, LOOKS = 11, 80
PIXEL_M = 80.0
LEAST = (1, 5, 10, 25)


def true_rad(scenario: Scenario, pair: Pair, grid) -> np.ndarray:
    """The phase of a pair without noise and without wrapping, up to a constant."""
    first, second = pair
    metres = motion.displacement_m(scenario, PATH, first, second, grid)
    metres = metres + air.feigned_m(scenario, PATH, second, grid, restituted=False)
    metres = metres - air.feigned_m(scenario, PATH, first, grid, restituted=False)
    metres = metres + interferogram.phase_bias_m(scenario, first, second, grid)
    metres = metres + interferogram.topographic_m(scenario, PATH, first, second, grid)
    return interferogram.PHASE_PER_METRE * metres


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2019, 1, 1))
    parser.add_argument("--dates", type=int, default=25)
    parser.add_argument("--neighbours", type=int, default=2)
    asked = parser.parse_args()
    scenario = read_scenario("shaqu_mine")
    if asked.seed is not None:
        scenario = scenario.model_copy(update={"seed": asked.seed})
    grid = ground.area(scenario, PIXEL_M)
    days = [one.day for one in scenario.track(PATH).passes() if one.day >= asked.first][: asked.dates]
    pairs = [(a, b) for i, a in enumerate(days) for b in days[i + 1 : i + 1 + asked.neighbours]]
    made = {p: interferogram.interferogram(scenario, PATH, *p, LOOKS, grid) for p in pairs}
    land = made[pairs[0]].land
    row, column = reference(made, land)
    phases = {p: one.unwrapped_rad - one.unwrapped_rad[row, column] for p, one in made.items()}
    truth = {}
    for p in pairs:
        true = true_rad(scenario, p, grid)
        error = phases[p] - (true - true[row, column])
        # The reference pixel's own noise is in all of them.
        error -= np.median(error[land] - CYCLE_RAD * np.round(error[land] / CYCLE_RAD))
        truth[p] = np.round(error / CYCLE_RAD).astype(np.int16)

    def closure(triangle):
        whole, known = cycles(*(phases[p].astype(np.float32) for p in triangle.pairs))
        return np.where(land, whole, 0).astype(np.int16), known & land

    report(Attribution(pairs, closure), pairs, truth, made, land)


def reference(made, land) -> tuple[int, int]:
    """The pixel of the best mean coherence that is in the largest component everywhere."""
    coherence = np.mean([one.coherence for one in made.values()], axis=0)
    inside = np.all([one.components == 1 for one in made.values()], axis=0) & land
    return np.unravel_index(np.argmax(np.where(inside, coherence, 0)), land.shape)


def report(attribution: Attribution, pairs, truth, made, land) -> None:
    inner = [p for p in pairs if attribution.of(p)]
    wrong = {p: (truth[p] != 0) & land for p in inner}
    fault = {p: attribution.at_fault(p) for p in inner}
    ambiguous = {p: attribution.ambiguous(p) for p in inner}
    total = sum(int(one.sum()) for one in wrong.values())
    print(
        f"{len(inner)} interferograms of {int(land.sum())} pixels on land; "
        f"{total} observations have whole cycles too many ({total / len(inner) / land.sum():.2%})"
    )
    named = {p: fault[p] != 0 for p in inner}
    right = sum(int((named[p] & (fault[p] == truth[p])).sum()) for p in inner)
    innocent = sum(int((named[p] & (truth[p] == 0)).sum()) for p in inner)
    every = sum(int(named[p].sum()) for p in inner)
    unseen = sum(int((wrong[p] & ~named[p] & ~ambiguous[p]).sum()) for p in inner)
    held = sum(int((wrong[p] & ambiguous[p]).sum()) for p in inner)
    print(
        f"named {every}: right {right}, an innocent one {innocent}, wrong number {every - right - innocent}; "
        f"errors ambiguous {held}, errors that no closure shows {unseen}"
    )
    inside = {p: made[p].components > 0 for p in inner}
    for coherent, label in ((True, "in a connected component"), (False, "in none")):
        where = {p: named[p] & (inside[p] == coherent) for p in inner}
        count = sum(int(where[p].sum()) for p in inner)
        good = sum(int((where[p] & (fault[p] == truth[p])).sum()) for p in inner)
        print(f"  {label}: named {count}, right {good / max(count, 1):.1%}")
    for witnesses in (1, 2, 3):
        where = {p: named[p] & (len(attribution.of(p)) == witnesses) for p in inner}
        count = sum(int(where[p].sum()) for p in inner)
        good = sum(int((where[p] & (fault[p] == truth[p])).sum()) for p in inner)
        large = {p: where[p] & _large(fault[p], 5) for p in inner}
        many = sum(int(large[p].sum()) for p in inner)
        fine = sum(int((large[p] & (fault[p] == truth[p])).sum()) for p in inner)
        print(
            f"  by {witnesses} triangles: named {count}, right {good / max(count, 1):.1%}; "
            f"in regions of 5 pixels {many}, right {fine / max(many, 1):.1%}"
        )
    caught = sum(int((named[p] & wrong[p]).sum()) for p in inner)
    print(
        f"mask: {every} left out, of them wrong {caught / max(every, 1):.1%}; errors left {total - caught} of {total}"
    )
    for least in LEAST:
        repaired = good = broken = masked = masked_good = 0
        for p in inner:
            treated = decide(attribution, p, "repair", least)
            repaired += int(treated.repaired.sum())
            good += int((treated.repaired & (treated.cycles == truth[p])).sum())
            broken += int((treated.repaired & (truth[p] == 0)).sum())
            masked += int(treated.masked.sum())
            masked_good += int((treated.masked & (truth[p] != 0)).sum())
        print(
            f"repair, regions of {least:>3} pixels: repaired {repaired}, right {good / max(repaired, 1):.1%}, "
            f"good ones broken {broken}; masked {masked}, of them wrong {masked_good / max(masked, 1):.1%}; "
            f"errors left {total - good - masked_good + broken} of {total}"
        )
    regions = [ndimage.label(named[p])[1] for p in inner]
    print(f"interferograms that change: {sum(bool(n) for n in regions)} of {len(inner)}")


def _large(fault: np.ndarray, least: int) -> np.ndarray:
    found = np.zeros(fault.shape, bool)
    for number in np.unique(fault[fault != 0]):
        labels, _ = ndimage.label(fault == number)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        found |= sizes[labels] >= least
    return found


if __name__ == "__main__":
    main()
