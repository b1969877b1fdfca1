"""How true the numbers are: `make bench-accuracy JSON=FILE SEED=N [SMALL=1]`.

The simulated mine with a seed of its own makes interferograms of track 11, twice: the whole mine over nine years in
pixels of 80 m, and the eastern face while it works in the site's own pixels of 20 m. Sagwatch and MintPy's standard
chain solve the same ones; both are compared with the truth, pixel by pixel and epoch by epoch, with and without each
correction. Keys of the JSON: README.md; what they mean for the study behind this project: docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_chains import (
    PUBLISHED,
    VARIANTS,
    Delays,
    Solved,
    Stack,
    build,
    make_stack,
    solve_mintpy,
    solve_ours,
    store_delays,
)
from benchmarks.accuracy_mine import SeenMine, Span, scenario_of
from benchmarks.accuracy_mintpy import DELAYS, RAW, TROPOSPHERE, MintPyChain
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
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.blind_spots import Blind
from sagwatch.domain.delay import DelayState
from sagwatch.engine.interferogram import read_attributes
from sagwatch.steps.judge import Solution, ground_view

#: The whole mine, and the eastern face (its trough is 400 m wide) as the site sees it.
MINE = Span(date(2017, 1, 1), date(2025, 12, 31))
FACE = Span(date(2018, 1, 1), date(2021, 9, 30), 20, (110.857, 37.426, 110.886, 37.452))
SMALL_MINE = Span(date(2019, 7, 1), date(2020, 12, 31), box=(110.845, 37.420, 110.885, 37.460))
SMALL_FACE = replace(FACE, first=date(2019, 7, 1), last=date(2020, 12, 31))
WINDOWS = {"150": 150, "365": 365, "whole": None}
#: Deviations of a normal distribution to either side that hold 95 % of it.
NORMAL_95 = 1.96
DAYS_BETWEEN_ENDS = 180
LOST_DAYS = 24
#: Where nothing moves, every so many rows and columns are scored, and inverted by MintPy.
THIN = 3
PARTS = ("turbulent", "stratified", "ionospheric", "orbital_precise", "topographic", "bias")
PACKAGES = ("mintpy", "pyaps3", "numpy", "numba", "scikit-image")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Ground:
    """The truth, and the pixels on which everybody is measured, before anybody has answered.

    ``thin``: every third row and column. ``sample``: the same, and all that moves; what MintPy inverts.
    """

    dates: tuple[date, ...]
    moved_m: NDArray[np.float32]
    own_m: Mapping[str, NDArray[np.float32]]
    thin: Mask
    sample: Mask
    land: Mask

    @classmethod
    def of(cls, stack: Stack) -> Ground:
        mine, dates = stack.mine, stack.mine.dates
        moved_m = mine.truth_m(dates)
        thin = np.zeros(mine.grid.shape, bool)
        thin[::THIN, ::THIN] = True
        thin[stack.pixel] = True
        own_m = {name: mine.truth_m(dates, name) for name in mine.sources()}
        moves = ~stable_ground(moved_m, dates)
        return cls(dates, moved_m, own_m, thin, thin | moves, stack.store.read_geometry().land)


@dataclass(frozen=True)
class Judge:
    """The truth, and the pixels on which everybody is measured."""

    dates: tuple[date, ...]
    truth_m: NDArray[np.float32]
    stable: Mask
    still: Mask
    unobservable: Mask
    measured: Mask
    troughs: tuple[Trough, ...]
    ends: tuple[int, ...]
    quietest: int
    pixel_m: float

    def scores(self, solved: Solved) -> dict[str, Any]:
        """All figures of one answer."""
        stable = score_stable(
            solved.los_m,
            solved.velocity_mm_yr,
            self.truth_m,
            self.dates,
            self.stable,
            self.ends,
            self.quietest,
        )
        flagged = solved.flags != Blind.NONE
        troughs = {
            trough.name: score_trough(trough, solved.los_m, self.truth_m, self.dates, flagged)
            for trough in self.troughs
        }
        inside = self.coverages(solved)
        return {
            **{f"stable_{key}": value for key, value in asdict(stable).items()},
            **worst_trough(troughs),
            "troughs": troughs,
            "unobservable_flagged_fraction": flagged_share(flagged, self.unobservable),
            "stable_flagged_fraction": flagged_share(flagged, self.still),
            "stable_flags": {
                kind.name.lower(): flagged_share(solved.flags == kind, self.still)
                for kind in Blind
                if kind != Blind.NONE
            },
            "interval_coverage": min(inside.values(), key=lambda share: -abs(share - 0.95)),
            "interval_coverage_windows": inside,
        }

    def coverages(self, solved: Solved) -> dict[str, float]:
        """Share of the 95 % intervals that hold the truth, by window; mean over many ends of the window."""
        shares: dict[str, list[float]] = {name: [] for name in WINDOWS}
        for end in self.ends:
            own = _intervals(solved, end, self.dates, self.pixel_m)
            for name, days in WINDOWS.items():
                velocity, half = own[name]
                true, _ = velocity_mm_yr(self.truth_m[: end + 1], self.dates[: end + 1], days)
                shares[name].append(coverage(velocity, half, true, self.measured))
        return {name: float(np.nanmean(values)) for name, values in shares.items()}


def worst_trough(troughs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The largest error of any trough's maximum, and whether all of them are within 5 % or 5 mm/yr."""
    if not troughs:
        return {"trough_maximum_error_mm_yr": None, "trough_maximum_within_goal": None}
    return {
        "trough_maximum_error_mm_yr": max(abs(one["error_mm_yr"]) for one in troughs.values()),
        "trough_maximum_within_goal": all(one["within_goal"] for one in troughs.values()),
    }


def _intervals(
    solved: Solved, end: int, dates: tuple[date, ...], pixel_m: float
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Velocity and half of its 95 % interval by window at an epoch: as published, or white as MintPy has it."""
    los_m, dates = solved.los_m[: end + 1], dates[: end + 1]
    if solved.observed is None:
        found = {name: velocity_mm_yr(los_m, dates, days) for name, days in WINDOWS.items()}
        if end + 1 == solved.los_m.shape[0]:
            found["whole"] = solved.velocity_mm_yr, solved.deviation_mm_yr
        return {name: (velocity, NORMAL_95 * sd) for name, (velocity, sd) in found.items()}
    solution = Solution(
        dates,
        los_m,
        solved.temporal_coherence,
        solved.observed[: end + 1],
        pairs=tuple(pair for pair in solved.pairs if pair[1] <= dates[-1]),
    )
    view = ground_view(dates[-1], solution, AlertRules(), 0.7, pixel_m)
    windows = (*view.windows, view.whole)
    return {
        name: (window.velocity_mm_yr, window.half_interval(0.975))
        for name, window in zip(WINDOWS, windows, strict=True)
    }


# --- what is measured -------------------------------------------------------------------------------------------------


def make_judge(stack: Stack, ground: Ground, answers: Sequence[Solved], quietest: date) -> Judge:
    dates, land = ground.dates, ground.land
    truth_m = referenced(ground.moved_m, stack.pixel)
    # Where any answer knows nothing or calls a pixel unreliable, nobody is measured.
    common = np.logical_and.reduce([one.reliable & np.isfinite(one.los_m).all(axis=0) for one in answers])
    ends = ends_of(dates)
    moving = np.logical_or.reduce(
        [1000 * np.abs(one).max(axis=0) >= MOVED_MM for one in ground.own_m.values()]
    )
    limit = reach(truth_m, stack.pixel)
    troughs = [
        find_trough(name, one, truth_m, dates, stack.pixel, ends, common)
        for name, one in ground.own_m.items()
    ]
    still = stable_ground(ground.moved_m, dates) & land & ground.thin
    return Judge(
        dates=dates,
        truth_m=truth_m,
        stable=still & common,
        still=still,
        unobservable=moving & land & ~limit.observable,
        measured=common & limit.observable & ground.thin,
        troughs=tuple(trough for trough in troughs if trough is not None),
        ends=ends,
        quietest=dates.index(quietest),
        pixel_m=stack.mine.grid.pixel_m,
    )


def ends_of(dates: Sequence[date]) -> tuple[int, ...]:
    """Epochs, half a year apart, that end windows: from the end of the first year to the last epoch."""
    ends, due = [len(dates) - 1], dates[-1].toordinal() - DAYS_BETWEEN_ENDS
    for i in range(len(dates) - 1, -1, -1):
        if dates[i].toordinal() <= due and (dates[i] - dates[0]).days >= 365:
            ends.append(i)
            due = dates[i].toordinal() - DAYS_BETWEEN_ENDS
    return tuple(reversed(ends))


def error_budget(stack: Stack, judge: Judge, uncorrected: Solved) -> dict[str, dict[str, float]]:
    """What each disturbance alone does on stable ground, from its truth: the inversion passes it on as it is.

    What belongs to an acquisition, or to its baseline, agrees in all pairs; so the solution contains exactly this. The
    bias does not, and is near. ``rest`` is what the uncorrected error has beyond them: decorrelation noise, wrong
    cycles, and how far the bias is from what is said of it.
    """
    parts = {
        name: referenced(
            stack.mine.bias_m(judge.dates) if name == "bias" else stack.mine.disturbance_m(name, judge.dates),
            stack.pixel,
        )
        for name in PARTS
    }
    parts["rest"] = uncorrected.los_m - judge.truth_m - sum(parts.values())
    found = {}
    for name, part_m in parts.items():
        none = np.zeros_like(part_m)
        velocity = velocity_mm_yr(part_m, judge.dates, None)[0]
        scores = score_stable(part_m, velocity, none, judge.dates, judge.stable, judge.ends, judge.quietest)
        found[name] = {key: value for key, value in asdict(scores).items() if key != "pixels"}
    return found


def lost_weather(
    stack: Stack, judge: Judge, chain: MintPyChain, final: Delays, folder: Path
) -> dict[str, Any]:
    """What it does to an epoch on stable ground that its ERA5 is preliminary, or lost and stood in for by rule.

    ``error``: of the displacement. ``effect``: its difference to the one with final ERA5. Sagwatch with ERA5 alone
    stands beside MintPy's, which leaves an epoch without delay as it was, and with all that it publishes.
    """
    most = min(LOST_DAYS, len(judge.dates) // 4)
    chosen = np.unique(np.linspace(1, len(judge.dates) - 1, most).round().astype(int))
    days = [judge.dates[i] for i in chosen]
    attributes = read_attributes(chain.folder / RAW)
    weather = write_weather(stack.mine.scenario, days, attributes, folder / "preliminary", preliminary=True)
    early_m = chain.delays_of(days, weather_hour(attributes), weather, "inputs/ERA5T.h5")
    early = {**final, **store_delays(stack, days, early_m, DelayState.PRELIMINARY)}
    known = {day: delay for day, delay in final.items() if day not in days}

    answers = {}
    for who, name in (("era5_only", "troposphere"), ("published", PUBLISHED)):
        settings = VARIANTS[name].corrections
        assert settings is not None
        by_height = replace(settings, missing="height_correlation")
        answers[who] = {
            "final": build(stack, settings, final).los_m(),
            "preliminary": build(stack, settings, early).los_m(),
            "lost_mean": build(stack, settings, known).los_m(),
            "lost_height_correlation": build(stack, by_height, known).los_m(),
        }
    lost = chain.difference(RAW, chain.without(days, "inputs/lost.h5"), "timeseries_lost.h5")
    answers["mintpy"] = {"final": chain.read(TROPOSPHERE, "timeseries"), "lost": lost}

    def on_stable(series_m: NDArray[np.float32]) -> NDArray[np.float64]:
        """Without each pixel's mean of the other epochs, mm."""
        series = 1000 * series_m[:, judge.stable].astype(np.float64)
        return np.asarray(series[chosen] - np.delete(series, chosen, axis=0).mean(axis=0))

    true = on_stable(judge.truth_m)
    return {
        "epochs": len(days),
        **{
            who: {
                state: {
                    "error_mm": rms(on_stable(los_m) - true),
                    "effect_mm": rms(on_stable(los_m) - on_stable(states["final"])),
                }
                for state, los_m in states.items()
            }
            for who, states in answers.items()
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


def measure(name: str, mine: SeenMine, folder: Path) -> dict[str, Any]:
    """One stack, solved and scored."""
    clock = _Clock(name, times := {})
    stack = make_stack(mine, folder)
    ground = Ground.of(stack)
    clock.lap("products")
    raw = build(stack, None, {})
    kept = storage(stack)
    clock.lap("inversion")
    chain, mintpy = solve_mintpy(stack, raw, ground.sample, folder)
    clock.lap("mintpy")
    final = store_delays(stack, mine.dates, chain.read(DELAYS, "timeseries")) if mine.scenario.weather else {}
    ours = solve_ours(stack, final)
    clock.lap("sagwatch")
    judge = make_judge(stack, ground, [*ours.values(), *mintpy.values()], chain.quietest)
    found = {
        **kept,
        "published": PUBLISHED if PUBLISHED in ours else "none",
        "sagwatch": {name: judge.scores(one) for name, one in ours.items()},
        "mintpy": {name: judge.scores(one) for name, one in mintpy.items()},
        "mintpy_dates_left_out": chain.excluded,
        "quietest_date": chain.quietest.isoformat(),
        "error_budget": error_budget(stack, judge, ours["none"]),
        "lost_weather": lost_weather(stack, judge, chain, final, folder) if final else None,
        "grid": asdict(mine.grid),
        "epochs": len(judge.dates),
        "interferograms": len(stack.members),
        "first": judge.dates[0].isoformat(),
        "last": judge.dates[-1].isoformat(),
        "reference": {"row": stack.pixel[0], "column": stack.pixel[1], "reason": stack.reference.reason},
        "pixels": {name: int(getattr(judge, name).sum()) for name in ("stable", "unobservable", "measured")},
    }
    clock.lap("scores")
    return {**found, "phase_seconds": times}


def required(mine: Mapping[str, Any], face: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the goals are about, of what Sagwatch publishes and of MintPy's last step.

    Of the whole mine; but a trough that the face's stack has is taken from there, and of the two shares of flagged
    pixels the smaller one.
    """
    found = {}
    for suffix, chain in (("", "sagwatch"), ("_mintpy", "mintpy")):
        whole, near = (_final(part, chain) for part in (mine, face))
        shares = [part["unobservable_flagged_fraction"] for part in (whole, near)]
        figures = {
            **whole,
            **worst_trough({**whole["troughs"], **near["troughs"]}),
            "unobservable_flagged_fraction": np.nanmin(shares) if np.isfinite(shares).any() else None,
        }
        found |= {f"{key}{suffix}": figures[key] for key in (*REQUIRED, "trough_maximum_within_goal")}
    return found


def _final(part: Mapping[str, Any], chain: str) -> dict[str, Any]:
    answers = part[chain]
    return dict(answers[part["published"]] if chain == "sagwatch" else list(answers.values())[-1])


class _Clock:
    """Notes how long each phase took."""

    def __init__(self, stack: str, times: dict[str, float]) -> None:
        self._stack, self._times, self._since = stack, times, time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._times[name] = round(now - self._since, 1)
        self._since = now
        print(f"{self._stack}, {name}: {self._times[name]} s", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument(
        "--seed", type=int, required=True, help="ground, air and noise; not the one for tuning"
    )
    parser.add_argument("--small", action="store_true", help="some minutes: it shows that the program works")
    parser.add_argument("--without", default="", help="take disturbances away, as turbulence,bias")
    parser.add_argument("--keep", type=Path, help="work in this new folder and keep it")
    wish = parser.parse_args(words)
    without = [name for name in wish.without.split(",") if name]
    began = time.monotonic()
    spans = {
        "mine": SMALL_MINE if wish.small else MINE,
        "face": SMALL_FACE if wish.small else FACE,
    }
    with tempfile.TemporaryDirectory(prefix="sagwatch-accuracy-") as temporary:
        works = {}
        with ProcessPoolExecutor(len(spans), mp_context=get_context("spawn")) as pool:
            for name, span in spans.items():
                folder = (wish.keep or Path(temporary)) / name
                folder.mkdir(parents=True)
                mine = SeenMine(scenario_of(wish.seed, without), span)
                works[name] = pool.submit(measure, name, mine, folder)
            found = {name: work.result() for name, work in works.items()}
    figures = {
        "benchmark": "accuracy",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "seed": wish.seed,
        "small": wish.small,
        "without": without,
        **required(found["mine"], found["face"]),
        "storage_saving_fraction": found["mine"]["storage_saving_fraction"],
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
