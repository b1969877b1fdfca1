"""How true the numbers are: `make bench-accuracy JSON=FILE SEED=N [SMALL=1]`.

The simulated mine with a seed of its own makes interferograms of track 11; Sagwatch and MintPy's standard chain solve
the same ones, relative to the same pixel; both are compared with the truth, pixel by pixel and epoch by epoch, with and
without each correction. Keys of the JSON: README.md; beside the claims of the study behind this project:
docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_mine import SeenMine, Span, scenario_of
from benchmarks.accuracy_mintpy import DELAYS, MASK, RAW, TOPOGRAPHY, TROPOSPHERE, MintPyChain
from benchmarks.accuracy_scores import (
    MOVED_MM,
    Trough,
    coverage,
    find_trough,
    flagged_share,
    reach,
    referenced,
    rms,
    score_stable,
    score_trough,
    stable_ground,
    velocity_mm_yr,
)
from benchmarks.accuracy_weather import weather_hour, write_weather
from sagwatch.domain.site import AlertRules
from sagwatch.engine.interferogram import StoredInterferogram, read_attributes
from sagwatch.engine.manifest import ReferencePoint
from sagwatch.engine.reference import choose_reference
from sagwatch.engine.revision import Revision
from sagwatch.engine.store import TrackStore
from sagwatch.steps.judge import Solution, ground_view

FULL = Span(date(2017, 1, 1), date(2025, 12, 31))
#: The eastern panel while its face advances.
SMALL = Span(date(2019, 7, 1), date(2020, 12, 31), box=(110.845, 37.425, 110.885, 37.455))
WINDOWS = {"150": 150, "365": 365, "whole": None}
DAYS_BETWEEN_ENDS = 90
LOST_DAYS = 24
PARTS = ("turbulent", "stratified", "ionospheric", "orbital_precise", "topographic", "bias")
PACKAGES = ("mintpy", "pyaps3", "numpy", "numba", "scikit-image")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Solved:
    """One chain's answer with some corrections: displacement relative to reference pixel and first epoch."""

    name: str
    los_m: NDArray[np.float32]
    reliable: Mask
    flagged: Mask
    temporal_coherence: NDArray[np.float32]
    corrected_deviation: bool


@dataclass(frozen=True)
class Judge:
    """The truth, and the pixels on which everybody is measured."""

    dates: tuple[date, ...]
    truth_m: NDArray[np.float32]
    stable: Mask
    unobservable: Mask
    measured: Mask
    troughs: tuple[Trough, ...]
    ends: tuple[int, ...]
    pixel_m: float

    def scores(self, solved: Solved) -> dict[str, Any]:
        """All figures of one answer."""
        stable = score_stable(solved.los_m, self.truth_m, self.dates, self.stable, self.ends)
        troughs = {
            trough.name: score_trough(trough, solved.los_m, self.truth_m, self.dates)
            for trough in self.troughs
        }
        inside = self.coverages(solved)
        return {
            **{f"stable_{key}": value for key, value in asdict(stable).items()},
            "trough_maximum_error_mm_yr": max(
                (abs(one["error_mm_yr"]) for one in troughs.values()), default=None
            ),
            "troughs": troughs,
            "unobservable_flagged_fraction": flagged_share(solved.flagged, self.unobservable),
            "interval_coverage": min(inside.values(), key=lambda share: -abs(share - 0.95)),
            "interval_coverage_windows": inside,
        }

    def coverages(self, solved: Solved) -> dict[str, float]:
        """Share of the 95 % intervals that hold the truth, by window; mean over many ends of the window."""
        shares: dict[str, list[float]] = {name: [] for name in WINDOWS}
        for end in self.ends:
            seen, dates = solved.los_m[: end + 1], self.dates[: end + 1]
            own = _intervals(solved, seen, dates, self.pixel_m)
            for name, days in WINDOWS.items():
                velocity, deviation = own[name]
                true, _ = velocity_mm_yr(self.truth_m[: end + 1], dates, days)
                shares[name].append(coverage(velocity, deviation, true, self.measured))
        return {name: float(np.nanmean(values)) for name, values in shares.items()}


def _intervals(
    solved: Solved, los_m: NDArray[np.float32], dates: tuple[date, ...], pixel_m: float
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Velocity and standard deviation by window: as published, or white as MintPy has it."""
    if not solved.corrected_deviation:
        return {name: velocity_mm_yr(los_m, dates, days) for name, days in WINDOWS.items()}
    view = ground_view(
        dates[-1], Solution(dates, los_m, solved.temporal_coherence), AlertRules(), 0.7, pixel_m
    )
    windows = (*view.windows, view.whole)
    return {
        name: (window.velocity_mm_yr, window.sd_mm_yr) for name, window in zip(WINDOWS, windows, strict=True)
    }


# --- the two chains ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stack:
    """Stored interferograms and the pixel that both chains refer to."""

    mine: SeenMine
    store: TrackStore
    members: list[StoredInterferogram]
    reference: ReferencePoint

    @property
    def pixel(self) -> tuple[int, int]:
        return self.reference.row, self.reference.column


def make_stack(mine: SeenMine, folder: Path) -> Stack:
    store, members = mine.fill(folder)
    land = store.read_geometry().land
    reference = choose_reference(store.stack(members), mine.settings.inversion, land)
    return Stack(mine, store, members, reference)


def solve_ours(stack: Stack) -> dict[str, Solved]:
    """Sagwatch's answers, by what was corrected; the last one is what a site publishes."""
    folder = stack.store.build_revision(1, stack.members, stack.mine.settings, stack.reference)
    revision = stack.store.read_revision(folder.name)
    return {"none": _ours("none", revision, stack)}


def _ours(name: str, revision: Revision, stack: Stack) -> Solved:
    layers = revision.layers
    reliable = layers.reliable & layers.land
    return Solved(
        name=name,
        los_m=referenced(revision.los_m(), stack.pixel),
        reliable=reliable,
        # There is no blind-spot layer yet: a pixel is flagged where it is not reliable.
        flagged=~reliable,
        temporal_coherence=layers.temporal_coherence,
        corrected_deviation=True,
    )


def solve_mintpy(stack: Stack, folder: Path) -> tuple[MintPyChain, dict[str, Solved]]:
    """MintPy's answers after each step of its standard chain; the last one is its result."""
    revisions = sorted(stack.store.revisions.glob("*-*"))
    chain = MintPyChain.on(revisions[0], folder / "mintpy")
    attributes = read_attributes(chain.folder / RAW)
    if stack.mine.scenario.weather is not None:
        chain.troposphere(
            write_weather(stack.mine.scenario, stack.mine.dates, attributes, folder / "weather")
        )
    chain.topography()
    chain.velocity()
    reliable = chain.read(MASK, "mask") > 0
    agreement = chain.read("temporalCoherence.h5", "temporalCoherence")
    steps = {"none": RAW, "troposphere": TROPOSPHERE, "troposphere+topography": TOPOGRAPHY}
    found = {}
    for name, file in steps.items():
        if not (chain.folder / file).exists():
            continue  # a mine without weather
        los_m = referenced(chain.read(file, "timeseries"), stack.pixel)
        found[name] = Solved(name, los_m, reliable, ~reliable, agreement, corrected_deviation=False)
    return chain, found


# --- what is measured -------------------------------------------------------------------------------------------------


def make_judge(stack: Stack, answers: Sequence[Solved]) -> Judge:
    mine, dates = stack.mine, stack.mine.dates
    moved_m = mine.truth_m(dates)
    truth_m = referenced(moved_m, stack.pixel)
    # Where any answer knows nothing or calls a pixel unreliable, nobody is measured.
    common = np.logical_and.reduce([one.reliable & np.isfinite(one.los_m).all(axis=0) for one in answers])
    land = stack.store.read_geometry().land
    ends = _ends(dates)
    own = {name: mine.truth_m(dates, name) for name in mine.sources()}
    moving = np.logical_or.reduce([1000 * np.abs(one).max(axis=0) >= MOVED_MM for one in own.values()])
    limit = reach(truth_m, stack.pixel)
    troughs = [find_trough(name, one, truth_m, dates, stack.pixel, ends) for name, one in own.items()]
    return Judge(
        dates=dates,
        truth_m=truth_m,
        stable=stable_ground(moved_m, dates) & common,
        unobservable=moving & land & ~limit.observable,
        measured=common & limit.observable,
        troughs=tuple(trough for trough in troughs if trough is not None),
        ends=ends,
        pixel_m=mine.grid.pixel_m,
    )


def _ends(dates: Sequence[date]) -> tuple[int, ...]:
    """Epochs, a season apart, that end windows: from the end of the first year to the last epoch."""
    ends, due = [len(dates) - 1], dates[-1].toordinal() - DAYS_BETWEEN_ENDS
    for i in range(len(dates) - 1, -1, -1):
        if dates[i].toordinal() <= due and (dates[i] - dates[0]).days >= 365:
            ends.append(i)
            due = dates[i].toordinal() - DAYS_BETWEEN_ENDS
    return tuple(reversed(ends))


def error_budget(stack: Stack, judge: Judge, uncorrected: Solved) -> dict[str, dict[str, float]]:
    """What each disturbance alone does on stable ground, from its truth: the inversion passes it on as it is.

    What belongs to an acquisition, or to its baseline, agrees in all pairs; so the solution contains exactly this. The
    bias does not, and is near. ``rest`` is what the uncorrected solution's error has beyond them: decorrelation noise,
    wrong cycles, and how far the bias is from what is said of it.
    """
    parts = {}
    for name in PARTS:
        made = (
            stack.mine.bias_m(judge.dates) if name == "bias" else stack.mine.disturbance_m(name, judge.dates)
        )
        parts[name] = referenced(made, stack.pixel)
    parts["rest"] = uncorrected.los_m - judge.truth_m - sum(parts.values())
    found = {}
    for name, part_m in parts.items():
        scores = score_stable(part_m, np.zeros_like(part_m), judge.dates, judge.stable, judge.ends)
        found[name] = {key: value for key, value in asdict(scores).items() if key != "pixels"}
    return found


def lost_weather(
    stack: Stack, judge: Judge, chain: MintPyChain, mintpy: Mapping[str, Solved], folder: Path
) -> dict[str, Any]:
    """Error of an epoch's displacement on stable ground when its ERA5 is final, preliminary, or lost."""
    most = min(LOST_DAYS, len(judge.dates) // 4)
    chosen = np.unique(np.linspace(1, len(judge.dates) - 1, most).round().astype(int))
    days = [judge.dates[i] for i in chosen]
    attributes = read_attributes(chain.folder / RAW)
    weather = write_weather(stack.mine.scenario, days, attributes, folder / "preliminary", preliminary=True)
    early = chain.delays_of(days, weather_hour(attributes), weather, "inputs/ERA5T.h5")
    final = chain.read(DELAYS, "timeseries")
    raw = mintpy["none"].los_m

    def corrected(delay_m: NDArray[np.float32]) -> NDArray[np.float32]:
        at_pixel = (delay_m - final[0])[:, stack.pixel[0], stack.pixel[1]]
        return raw[chosen] - (delay_m - final[0] - at_pixel[:, None, None])

    lost = chain.difference(RAW, chain.without(days, "inputs/lost.h5"), "timeseries_lost.h5")
    states = {
        "final": corrected(final[chosen]),
        "preliminary": corrected(early),
        "lost_mintpy": referenced(lost, stack.pixel)[chosen],
    }
    return {
        "epochs": len(days),
        **{
            f"{name}_displacement_rmse_mm": rms(1000 * (los_m - judge.truth_m[chosen])[:, judge.stable])
            for name, los_m in states.items()
        },
    }


def storage(stack: Stack) -> dict[str, Any]:
    """What is kept on the disk for a track, beside the scenes that its acquisitions were cut from."""
    kept = sum(file.stat().st_size for file in stack.store.folder.rglob("*") if file.is_file())
    scenes = sum(stack.mine.scene_bytes.values())
    return {
        "storage_kept_bytes": kept,
        "storage_scene_bytes": scenes,
        "storage_scenes": len(stack.mine.scene_bytes),
        "storage_saving_fraction": 1 - kept / scenes,
    }


REQUIRED = (
    "stable_displacement_rmse_mm",
    "stable_velocity_rmse_mm_yr",
    "trough_maximum_error_mm_yr",
    "unobservable_flagged_fraction",
    "interval_coverage",
)


def measure(mine: SeenMine, folder: Path) -> dict[str, Any]:
    """Everything, as the keys of the JSON."""
    times: dict[str, float] = {}
    clock = _Clock(times)
    stack = make_stack(mine, folder)
    clock.lap("products")
    ours = solve_ours(stack)
    kept = storage(stack)
    clock.lap("sagwatch")
    chain, mintpy = solve_mintpy(stack, folder)
    clock.lap("mintpy")
    judge = make_judge(stack, [*ours.values(), *mintpy.values()])
    our_scores = {name: judge.scores(one) for name, one in ours.items()}
    their_scores = {name: judge.scores(one) for name, one in mintpy.items()}
    lost = lost_weather(stack, judge, chain, mintpy, folder) if mine.scenario.weather else None
    budget = error_budget(stack, judge, ours["none"])
    clock.lap("scores")
    published, standard = list(our_scores.values())[-1], list(their_scores.values())[-1]
    return {
        **{key: published[key] for key in REQUIRED},
        **{f"{key}_mintpy": standard[key] for key in REQUIRED},
        **kept,
        "published": list(our_scores)[-1],
        "sagwatch": our_scores,
        "mintpy": their_scores,
        "mintpy_dates_left_out": chain.excluded,
        "error_budget": budget,
        "lost_weather": lost,
        "grid": asdict(mine.grid),
        "epochs": len(judge.dates),
        "interferograms": len(stack.members),
        "first": judge.dates[0].isoformat(),
        "last": judge.dates[-1].isoformat(),
        "reference": {"row": stack.pixel[0], "column": stack.pixel[1], "reason": stack.reference.reason},
        "pixels": {name: int(getattr(judge, name).sum()) for name in ("stable", "unobservable", "measured")},
        "phase_seconds": times,
    }


class _Clock:
    """Notes how long each phase took."""

    def __init__(self, times: dict[str, float]) -> None:
        self._times, self._since = times, time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._times[name] = round(now - self._since, 1)
        self._since = now
        print(f"  {name}: {self._times[name]} s", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument(
        "--seed", type=int, required=True, help="ground, air and noise; not the one for tuning"
    )
    parser.add_argument(
        "--small", action="store_true", help="a minute or two: it shows that the program works"
    )
    parser.add_argument("--pixel", type=int, choices=(80, 40), help="size of a pixel, metres")
    parser.add_argument("--without", default="", help="take disturbances away, as turbulence,bias")
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    wish = parser.parse_args(words)
    without = [name for name in wish.without.split(",") if name]
    span = SMALL if wish.small else FULL
    span = replace(span, pixel_m=wish.pixel) if wish.pixel else span
    began = time.monotonic()
    mine = SeenMine(scenario_of(wish.seed, without), span)
    with tempfile.TemporaryDirectory(prefix="sagwatch-accuracy-") as name:
        folder = wish.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(mine, folder)
    figures = {
        "benchmark": "accuracy",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "seed": wish.seed,
        "small": wish.small,
        "without": without,
        **found,
        "seconds": round(time.monotonic() - began, 1),
    }
    wish.json.write_text(json.dumps(_only_known(figures), indent=1) + "\n", encoding="utf-8")
    return 0


def _only_known(value: Any) -> Any:
    """JSON has no NaN: what is not known is null."""
    if isinstance(value, dict):
        return {key: _only_known(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_only_known(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())
