"""What the rules about unwrapping errors do on the simulated mine, where the truth is known.

``python -m benchmarks.closure_rules --seed N [--pixel 40] [--from 2019-07-01 --to 2020-12-31] [--json FILE]`` makes
the products of the accuracy benchmark (`accuracy_mine`; of 40 m only around the eastern panel), says which whole cycles
each interferogram has too many, compares that with what each rule of ``corrections.unwrapping.closure`` decides, and
solves what it leaves. An observation is one pixel of one interferogram, on land.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_mine import PATH, SeenMine, Span, scenario_of
from benchmarks.accuracy_scores import find_trough, reach, referenced, rms, score_trough, stable_ground
from sagwatch.engine.closure import CYCLE_RAD, Pair, Triangle
from sagwatch.engine.closure_files import Phases
from sagwatch.engine.faults import Attribution, Closure, Treatment, decide
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes, read_layers
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.reference import choose_reference
from sagwatch.engine.store import TrackStore
from sagwatch.simulation import air, interferogram, motion

#: While the face of the eastern panel advances.
SPAN = Span(date(2019, 7, 1), date(2020, 12, 31))
EASTERN_PANEL = (110.835, 37.415, 110.895, 37.465)
RULES: tuple[Literal["off", "mask", "repair"], ...] = ("off", "mask", "repair")
LEAST_PIXELS = 25
#: Ground that moved so much over the record is the trough.
TROUGH_MM = 20.0
STILL_MM = 3.0
#: Years of velocity end at every so many acquisitions, the last one included.
EVERY = 10

Cycles = NDArray[np.int16]


@dataclass(frozen=True)
class Network:
    """The stored interferograms of a mine, and what is wrong with them."""

    mine: SeenMine
    store: TrackStore
    members: tuple[StoredInterferogram, ...]
    reference: ReferencePoint

    @property
    def pixel(self) -> tuple[int, int]:
        return self.reference.row, self.reference.column

    @cached_property
    def ids(self) -> dict[Pair, str]:
        return {(one.reference, one.secondary): one.id for one in self.members}

    @cached_property
    def phases(self) -> Phases:
        return Phases(self.store.interferograms, *self.pixel)

    @cached_property
    def land(self) -> NDArray[np.bool_]:
        return self.store.read_geometry().land

    @cached_property
    def attribution(self) -> Attribution:
        def closure(triangle: Triangle) -> Closure:
            whole, known = self.phases.cycles(triangle, self.ids)
            return np.where(self.land, whole, 0).astype(np.int16), known & self.land

        return Attribution(self.ids, closure)

    def too_many(self, pair: Pair) -> Cycles:
        """The whole cycles that the stored phase has too many, by the truth; 0 on water and without data."""
        scenario, grid = self.mine.scenario, self.mine.grid
        first, second = pair
        metres = motion.displacement_m(scenario, PATH, first, second, grid)
        metres = metres + air.feigned_m(scenario, PATH, second, grid, restituted=False)
        metres = metres - air.feigned_m(scenario, PATH, first, grid, restituted=False)
        metres = metres + interferogram.phase_bias_m(scenario, first, second, grid)
        metres = metres + interferogram.topographic_m(scenario, PATH, first, second, grid)
        true = interferogram.PHASE_PER_METRE * metres
        error = self.phases.of(self.ids[pair]) - (true - true[self.pixel])
        known = np.isfinite(error) & self.land
        # The reference pixel's own noise is in all of them.
        error = error - np.median(error[known] - CYCLE_RAD * np.round(error[known] / CYCLE_RAD))
        return np.where(known, np.round(np.where(known, error, 0) / CYCLE_RAD), 0).astype(np.int16)


def make_network(mine: SeenMine, folder: Path) -> Network:
    store, members = mine.fill(folder)
    land = store.read_geometry().land
    reference = choose_reference(store.stack(members), mine.settings.inversion, land)
    return Network(mine, store, tuple(members), reference)


def treated(network: Network, rule: str, treatments: Mapping[Pair, Treatment]) -> list[StoredInterferogram]:
    """The interferograms that stand in the stack by a rule."""
    stand = []
    for one in network.members:
        treatment = treatments.get((one.reference, one.secondary))
        if treatment is None or not treatment.changes:
            stand.append(one)
            continue
        source, name = network.store.interferogram_path(one.id), f"{one.id}{rule}"
        layers = read_layers(source)
        layers = replace(layers, phase_rad=treatment.apply(layers.phase_rad))
        digest = network.store.write_interferogram(name, layers, read_attributes(source))
        stand.append(replace(one, id=name, sha256=digest))
    return stand


def decisions(network: Network, rule: str) -> dict[Pair, Treatment]:
    if rule == "off":
        return {}
    where = network.mine.may_sink
    found = {pair: decide(network.attribution, pair, rule, LEAST_PIXELS, where) for pair in network.ids}
    return {pair: one for pair, one in found.items() if one is not None}


def counted(truth: Mapping[Pair, Cycles], treatments: Mapping[Pair, Treatment]) -> dict[str, Any]:
    """What became of the pixels of interferograms (an observation each) that are wrong, and of those that are right."""
    total = dict.fromkeys(("repaired_right", "repaired_wrong", "masked_wrong_ones", "masked_right_ones"), 0)
    for pair, one in treatments.items():
        wrong = truth[pair] != 0
        right = one.repaired & (one.cycles == truth[pair])
        total["repaired_right"] += int(right.sum())
        total["repaired_wrong"] += int((one.repaired & ~right).sum())
        total["masked_wrong_ones"] += int((one.masked & wrong).sum())
        total["masked_right_ones"] += int((one.masked & ~wrong).sum())
    return {**total, "interferograms_changed": sum(one.changes for one in treatments.values())}


def seen_by_closures(network: Network, truth: Mapping[Pair, Cycles]) -> dict[str, Any]:
    """How many observations are wrong, and in how many of them a triangle contradicts itself."""
    wrong = found = observations = 0
    for pair, cycles in truth.items():
        observations += int(np.isfinite(network.phases.of(network.ids[pair]))[network.land].sum())
        bad = cycles != 0
        wrong += int(bad.sum())
        ambiguous = np.zeros(bad.shape, bool)
        for triangle in network.attribution.of(pair):
            ambiguous |= network.phases.cycles(triangle, network.ids)[0] != 0
        found += int((bad & ambiguous).sum())
    return {
        "observations": observations,
        "wrong": wrong,
        "wrong_share": wrong / observations,
        "found_share": found / wrong if wrong else None,
    }


def measure(network: Network) -> dict[str, Any]:
    dates = network.mine.dates
    truth = {pair: network.too_many(pair) for pair in network.ids}
    moved_m = network.mine.truth_m(dates)
    truth_m = referenced(moved_m, network.pixel)
    los_m, rules = {}, {}
    for number, rule in enumerate(RULES, start=1):
        treatments = decisions(network, rule)
        rules[rule] = counted(truth, treatments)
        folder = network.store.build_revision(
            number, treated(network, rule, treatments), network.mine.settings, network.reference
        )
        revision = network.store.read_revision(folder.name)
        los_m[rule] = np.where(revision.layers.land, referenced(revision.los_m(), network.pixel), np.nan)
    # Everybody is measured on the same pixels.
    known = np.logical_and.reduce([np.isfinite(one).all(axis=0) for one in los_m.values()])
    observable = reach(truth_m, network.pixel).observable
    deepest_mm = 1000 * np.abs(moved_m).max(axis=0)
    places = {
        "trough": known & (deepest_mm >= TROUGH_MM),
        "trough_observable": known & observable & (deepest_mm >= TROUGH_MM),
        "still": known & (deepest_mm < STILL_MM),
        "stable": known & stable_ground(moved_m, dates),
    }
    ends = [i for i, day in enumerate(dates) if (day - dates[0]).days >= 365][::-EVERY][::-1]
    own = {name: network.mine.truth_m(dates, name) for name in network.mine.sources()}
    found = [find_trough(name, one, truth_m, dates, network.pixel, ends) for name, one in own.items()]
    for rule, one in los_m.items():
        error_mm = 1000 * (one - truth_m)
        rules[rule] |= {f"{name}_rmse_mm": rms(error_mm[:, where]) for name, where in places.items()}
        if places["trough"].any():
            last_mm = np.abs(error_mm[-1][places["trough"]])
            rules[rule]["trough_last_median_error_mm"] = float(np.median(last_mm))
        scores = {t.name: score_trough(t, one, truth_m, dates) for t in found if t is not None}
        rules[rule]["maximum_error_mm_yr"] = {name: score["error_mm_yr"] for name, score in scores.items()}
        rules[rule]["fastest_tenth_rmse_mm_yr"] = {
            name: score["fastest_tenth_rmse_mm_yr"] for name, score in scores.items()
        }
    return {
        **seen_by_closures(network, truth),
        "epochs": len(dates),
        "interferograms": len(network.members),
        "pixels": {name: int(where.sum()) for name, where in places.items()},
        "rules": rules,
    }


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closure_rules", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="not the one for tuning")
    parser.add_argument("--pixel", type=int, choices=(80, 40), default=80, help="metres")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=SPAN.first)
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=SPAN.last)
    parser.add_argument("--json", type=Path, help="where the figures go; they are printed too")
    wish = parser.parse_args(words)
    box = EASTERN_PANEL if wish.pixel == 40 else None
    mine = SeenMine(scenario_of(wish.seed), Span(wish.first, wish.last, wish.pixel, box))
    with tempfile.TemporaryDirectory(prefix="sagwatch-closure-") as name:
        found = measure(make_network(mine, Path(name)))
    text = json.dumps({"seed": wish.seed, "pixel_m": wish.pixel, **found}, indent=1)
    print(text)
    if wish.json:
        wish.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
