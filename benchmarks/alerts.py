"""How good the alerts are: `make bench-alerts JSON=FILE [SEED=N] [SMALL=1]`.

Everything runs through the product's own judgement on simulated ground whose truth is known, acquisition by
acquisition, with the naive rule (any pixel faster than the threshold; over 150 days, and over the whole record after
five stable years) on the same data beside it. Keys of the JSON: README.md.

Scoring uses streams of random numbers that tuning cannot reach: `--tuning` takes the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.stats import chi2

from benchmarks.alert_ground import (
    DAYS_BETWEEN,
    DAYS_PER_YEAR,
    PIXEL_M,
    SCORING,
    SIDE,
    TUNING,
    Scene,
    Trough,
    days_of,
    live_through,
    stream,
)
from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.judgement import Judged
from sagwatch.domain.windows import student_quantile
from sagwatch.steps.judge import Solution, ground_view

ROOT = Path(__file__).resolve().parents[1]
NOISES_MM = (8.0, 15.0)
PEAKS_MM_YR = (-100.0, -200.0, -400.0)
RULES = AlertRules()
ONSET, STOP, END = 20, 46, 72
STABLE_YEARS_EPOCHS = 152
CORRELATIONS = {"rho0": 0.0, "rho03": 0.3, "rho06": 0.6}
_EIGHT = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Sizes:
    """How much ground each measure looks at."""

    stable_scenes: int = 5
    stable_epochs: int = 112
    trough_scenes: int = 7
    coverage_scenes: int = 24
    threshold_scenes: int = 2
    threshold_epochs: int = 360
    face_scenes: int = 3
    points: int = 1_000_000


FULL = Sizes()
SMALL = Sizes(1, 40, 1, 4, 1, 60, 1, 100_000)


@dataclass(frozen=True)
class Run:
    """One scene to be lived through in a process of its own."""

    kind: str
    purpose: int
    seed: int
    number: int
    rms_mm: float
    epochs: int
    peak_mm_yr: float = 0.0

    @property
    def rng(self) -> np.random.Generator:
        kinds = ("stable", "troughs", "threshold", "face")
        return stream(
            self.purpose,
            self.seed,
            kinds.index(self.kind),
            self.number,
            int(self.rms_mm),
            int(-self.peak_mm_yr),
        )


# --- what is measured -------------------------------------------------------------------------------------------------


def stable_ground(run: Run) -> dict[str, Any]:
    """False paged zones on ground that does not move, ours and the naive rule's."""
    scene = Scene(run.rng, run.epochs, run.rms_mm)
    held = 0
    paged, before, naive = 0, np.zeros(scene.shape, bool), 0
    judged_epochs = 0
    for epoch, view, judged in live_through(scene, RULES):
        judged_epochs += 1
        paged += _paged_zones(judged)
        held += any(event.rule == "R8" and event.type == "raised" for event in judged.events)
        if epoch >= 12:
            new, before = _new_zones(view.windows[0].velocity_mm_yr < RULES.levels_mm_yr[0], before)
            naive += new
    km2_years = SIDE**2 * (PIXEL_M / 1000) ** 2 * judged_epochs * DAYS_BETWEEN / DAYS_PER_YEAR
    return {"rms_mm": run.rms_mm, "paged": paged, "naive": naive, "km2_years": km2_years, "held": held}


def _paged_zones(judged: Judged) -> int:
    return len(
        {
            event.subject
            for event in judged.events
            if event.type == "raised" and event.tell == "page" and event.rule != "R8"
        }
    )


def _new_zones(mask: NDArray[np.bool_], before: NDArray[np.bool_]) -> tuple[int, NDArray[np.bool_]]:
    """Connected areas that overlap nothing of the update before, and the mask to compare the next one with."""
    labels, n = label(mask, _EIGHT)
    return n - len(set(np.unique(labels[before & mask]).tolist()) - {0}), mask


def troughs_that_stop(run: Run) -> dict[str, Any]:
    """Delay, misses and clearing for sixteen troughs of one peak rate in one scene."""
    places = [(16 + 32 * i, 16 + 32 * j) for i in range(4) for j in range(4)]
    troughs = [Trough(row, column, run.peak_mm_yr, ONSET, STOP) for row, column in places]
    scene = Scene(run.rng, END, run.rms_mm, troughs)
    raised: dict[int, int] = {}
    cleared: dict[int, int] = {}
    naive: dict[int, int] = {}
    open_zones: dict[str, int] = {}
    for epoch, view, judged in live_through(scene, RULES, 12):
        footprints = {zone.id: zone.footprint.pixels for zone in judged.state.zones}
        for event in (event for event in judged.events if event.rule == "R1"):
            hit = [
                t for t, trough in enumerate(troughs) if trough.covers(footprints[event.subject], SIDE, epoch)
            ]
            for t in hit if event.type == "raised" and epoch > ONSET else []:
                raised.setdefault(t, epoch - ONSET)
                open_zones[event.subject] = t
        for alert in judged.state.alerts:
            t = open_zones.get(alert.subject, -1) if alert.rule == "R1" else -1
            if t >= 0 and alert.is_over and epoch > STOP:
                cleared[t] = epoch - STOP
                del open_zones[alert.subject]
        fast = view.windows[0].velocity_mm_yr < RULES.levels_mm_yr[0]
        for t, (row, column) in enumerate(places):
            if epoch > ONSET and fast[row - 1 : row + 2, column - 1 : column + 2].any():
                naive.setdefault(t, epoch - ONSET)
    return {
        "rms_mm": run.rms_mm,
        "peak_mm_yr": run.peak_mm_yr,
        "troughs": len(troughs),
        "delays": sorted(raised.values()),
        "clear": [cleared.get(t, END - STOP + 1) for t in raised],
        "naive_delays": sorted(naive.values()),
        **_whole_record(run),
    }


def _whole_record(run: Run) -> dict[str, Any]:
    """When the whole record's velocity at a trough's centre passes the threshold, and when it comes back."""
    rng = stream(run.purpose, run.seed, 9, run.number, int(run.rms_mm), int(-run.peak_mm_yr))
    n = STABLE_YEARS_EPOCHS + 900
    moving = np.clip(np.arange(n) - STABLE_YEARS_EPOCHS, 0, None)
    los_mm = run.peak_mm_yr * DAYS_BETWEEN / DAYS_PER_YEAR * moving + rng.normal(0, run.rms_mm / 2, n)
    passed = _first_beyond(los_mm, STABLE_YEARS_EPOCHS)
    stopped = run.peak_mm_yr * DAYS_BETWEEN / DAYS_PER_YEAR * np.minimum(moving, max(30, passed))
    return {
        "whole_record_delay": passed,
        "whole_record_clear": _first_above(stopped, STABLE_YEARS_EPOCHS + max(30, passed)),
    }


def _slopes_mm_yr(los_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope of the line through the first k values, for every k."""
    k = np.arange(1, los_mm.size + 1, dtype=float)
    t = np.arange(los_mm.size, dtype=float)
    mean_t = (k - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (np.cumsum(t * los_mm) - mean_t * np.cumsum(los_mm)) / (k * (k * k - 1) / 12)
    return slope * DAYS_PER_YEAR / DAYS_BETWEEN


def _first_beyond(los_mm: NDArray[np.float64], start: int) -> int:
    beyond = np.flatnonzero(_slopes_mm_yr(los_mm)[start:] < RULES.levels_mm_yr[0])
    return int(beyond[0]) if beyond.size else los_mm.size - start


def _first_above(los_mm: NDArray[np.float64], stop: int) -> int:
    above = np.flatnonzero(_slopes_mm_yr(los_mm)[stop:] > RULES.levels_mm_yr[0])
    return int(above[0]) if above.size else los_mm.size - stop


def at_the_threshold(run: Run) -> dict[str, Any]:
    """Raises of zones whose true rate sits exactly at the threshold for years."""
    places = [(16 + 32 * i, 16 + 32 * j) for i in range(4) for j in range(4)]
    troughs = [Trough(r, c, RULES.levels_mm_yr[0], 0, sigma_m=250.0, flat=True) for r, c in places]
    scene = Scene(run.rng, run.epochs, run.rms_mm, troughs)
    raises = naive = judged_epochs = 0
    before = np.zeros(len(places), bool)
    for epoch, view, judged in live_through(scene, RULES, 30):
        judged_epochs += 1
        raises += sum(event.type == "raised" and event.rule == "R1" for event in judged.events)
        now = np.array([_median_at(view.windows[0].velocity_mm_yr, r, c) for r, c in places])
        now = now < RULES.levels_mm_yr[0]
        naive += int((now & ~before).sum()) if epoch > 30 else 0
        before = now
    years = len(places) * judged_epochs * DAYS_BETWEEN / DAYS_PER_YEAR
    return {"raises": raises, "naive": naive, "zone_years": years}


def _median_at(field: NDArray[np.floating], row: int, column: int) -> float:
    return float(np.nanmedian(field[row - 4 : row + 5, column - 4 : column + 5]))


def moving_faces(run: Run) -> dict[str, Any]:
    """How often the zone over an advancing face changes its id; naive: numbering by the order of the mask."""
    shape = (128, 192)
    rows = (20, 62, 104)
    troughs = [Trough(r, 16, -300.0, 12, sigma_m=350.0, pixels_per_epoch=0.9) for r in rows]
    scene = Scene(run.rng, run.epochs, run.rms_mm, troughs, shape)
    last: dict[int, str] = {}
    naive_last: dict[int, int] = {}
    switches = naive = followed = 0
    for epoch, _, judged in live_through(scene, RULES, 12):
        shown = [zone for zone in judged.state.zones if zone.lives and zone.updates_unseen == 0]
        for t, trough in enumerate(troughs):
            here = [z for z in shown if trough.covers(z.footprint.pixels, shape[1], epoch)]
            if not here:
                continue
            zone = max(here, key=lambda z: (z.footprint.size, z.id))
            followed += 1
            switches += last.get(t, zone.id) != zone.id
            last[t] = zone.id
            place = sorted(shown, key=lambda z: z.footprint.runs).index(zone)
            naive += naive_last.get(t, place) != place
            naive_last[t] = place
    return {"switches": switches, "naive": naive, "zone_years": followed * DAYS_BETWEEN / DAYS_PER_YEAR}


def coverage(purpose: int, seed: int, scenes: int, rho: float) -> dict[str, float]:
    """Share of 95 % intervals that hold the truth, under noise of that lag-1 correlation; worst of the windows."""
    inside: dict[str, list[float]] = {"150": [], "365": [], "whole": [], "naive": []}
    for number in range(scenes):
        rng = stream(purpose, seed, 7, number, round(100 * rho))
        noise = _ar1_mm(rng, 61, 6400, rho)
        truth = -60.0
        years = np.arange(61) * DAYS_BETWEEN / DAYS_PER_YEAR
        los_m = ((noise + truth * years[:, None]) / 1000).astype(np.float32).reshape(61, 80, 80)
        days = days_of(61)
        # The stable ground that the correlation is pooled over: the same noise without the motion.
        los_m[:, :, 40:] -= (truth * years / 1000).astype(np.float32)[:, None, None]
        view = ground_view(
            days[-1], Solution(days, los_m, np.ones((80, 80), np.float32)), RULES, 0.7, PIXEL_M
        )
        for name, window in zip(("150", "365", "whole"), (*view.windows, view.whole), strict=True):
            error = np.abs(window.velocity_mm_yr[:, :40] - truth)
            t = student_quantile(0.975, window.n_epochs[:, :40])
            inside[name].append(float(np.mean(error <= t * window.sd_mm_yr[:, :40])))
            if name == "150":
                inside["naive"].append(float(np.mean(error <= 1.96 * window.sd_white_mm_yr[:, :40])))
    return {name: 100 * float(np.mean(shares)) for name, shares in inside.items()}


def _ar1_mm(rng: np.random.Generator, n_epochs: int, n_points: int, rho: float) -> NDArray[np.float64]:
    noise = rng.normal(0, 6.0, (n_epochs, n_points))
    for epoch in range(1, n_epochs):
        noise[epoch] = rho * noise[epoch - 1] + np.sqrt(1 - rho**2) * noise[epoch]
    return noise


# --- a million points -------------------------------------------------------------------------------------------------


def judge_many_points(points: int, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of judging one acquisition of so many points, to the outbox rows, against PostGIS."""
    result = folder / "points.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.alerts", "--points", str(points), "--json", str(result)],
        check=True,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def _judge_points_here(points: int) -> dict[str, Any]:
    from benchmarks.alert_ledger import judge_into_a_ledger

    side = round(points**0.5)
    rng = stream(SCORING, 1, 8)
    los_m = np.zeros((31, side, side), dtype=np.float32)
    rows, columns = np.ogrid[:side, :side]
    for epoch in range(31):
        los_m[epoch] = rng.normal(0, 4, (side, side))
        for k in range(12):
            row, column = side * (0.1 + 0.07 * k), side * (0.9 - 0.07 * k)
            bowl = np.exp(-(((rows - row) ** 2 + (columns - column) ** 2) / (2 * (side / 60) ** 2)))
            los_m[epoch] -= (300 * epoch * DAYS_BETWEEN / DAYS_PER_YEAR * bowl).astype(np.float32)
    los_m /= np.float32(1000)
    return judge_into_a_ledger(los_m)


# --- all of it --------------------------------------------------------------------------------------------------------

_KINDS = {
    "stable": stable_ground,
    "troughs": troughs_that_stop,
    "threshold": at_the_threshold,
    "face": moving_faces,
}


def _live(run: Run) -> tuple[Run, dict[str, Any]]:
    return run, _KINDS[run.kind](run)


def plan(sizes: Sizes, purpose: int, seed: int) -> list[Run]:
    runs = [
        Run("troughs", purpose, seed, n, rms, END, peak)
        for peak in PEAKS_MM_YR
        for rms in NOISES_MM
        for n in range(sizes.trough_scenes)
    ]
    runs += [
        Run("stable", purpose, seed, n, rms, sizes.stable_epochs)
        for rms in NOISES_MM
        for n in range(sizes.stable_scenes)
    ]
    runs += [
        Run("threshold", purpose, seed, n, 8.0, sizes.threshold_epochs) for n in range(sizes.threshold_scenes)
    ]
    runs += [Run("face", purpose, seed, n, 8.0, 100) for n in range(sizes.face_scenes)]
    return runs


def upper_bound(count: int, exposure: float) -> float:
    """One-sided 95 % upper bound of a Poisson rate per unit of exposure."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / exposure)


def summarise(found: Sequence[tuple[Run, dict[str, Any]]]) -> dict[str, Any]:
    def of(kind: str, **wanted: float) -> list[dict[str, Any]]:
        return [
            one
            for run, one in found
            if run.kind == kind and all(getattr(run, name) == value for name, value in wanted.items())
        ]

    figures: dict[str, Any] = {}
    for rms in NOISES_MM:
        scenes = of("stable", rms_mm=rms)
        area = sum(one["km2_years"] for one in scenes) / 100
        name = f"false_zones_per_100km2_year_{rms:g}mm"
        figures[name] = upper_bound(sum(one["paged"] for one in scenes), area)
        figures[f"{name}_count"] = sum(one["paged"] for one in scenes)
        figures[f"{name}_km2_years"] = area * 100
        figures[f"naive_{name}"] = sum(one["naive"] for one in scenes) / area
        years = area * 100 / (SIDE**2 * (PIXEL_M / 1000) ** 2)
        figures[f"data_health_alerts_per_track_year_{rms:g}mm"] = (
            sum(one.get("held", 0) for one in scenes) / years
        )
    episodes = missed = naive_missed = 0
    clear: list[int] = []
    for peak in PEAKS_MM_YR:
        scenes = of("troughs", peak_mm_yr=peak)
        for rms in (None, *NOISES_MM):
            some = [one for one in scenes if rms in (None, one["rms_mm"])]
            delays = [delay for one in some for delay in one["delays"]]
            times = [n for one in some for n in one["clear"]]
            tail = "" if rms is None else f"_{rms:g}mm"
            key = f"delay_epochs_{-peak:g}{tail}"
            figures[key] = _quantile(delays, 50)
            figures[f"{key}_p90"] = _quantile(delays, 90)
            figures[f"epochs_to_clear_p95_{-peak:g}{tail}"] = _quantile(times, 95)
            figures[f"naive_{key}"] = _quantile([d for one in some for d in one["naive_delays"]], 50)
        figures[f"naive_whole_record_delay_epochs_{-peak:g}"] = _quantile(
            [one["whole_record_delay"] for one in scenes], 50
        )
        episodes += sum(one["troughs"] for one in scenes)
        missed += sum(one["troughs"] - len(one["delays"]) for one in scenes)
        naive_missed += sum(one["troughs"] - len(one["naive_delays"]) for one in scenes)
        clear += [n for one in scenes for n in one["clear"]]
    figures |= {"episodes": episodes, "missed_episodes": missed, "naive_missed_episodes": naive_missed}
    figures["epochs_to_clear_p95"] = _quantile(clear, 95)
    figures["naive_whole_record_epochs_to_clear_p95"] = _quantile(
        [one["whole_record_clear"] for one in of("troughs")], 95
    )
    for kind, name in (
        ("threshold", "raises_per_zone_year_at_threshold"),
        ("face", "id_switches_per_zone_year"),
    ):
        years = sum(one["zone_years"] for one in of(kind))
        count = "raises" if kind == "threshold" else "switches"
        figures[name] = sum(one[count] for one in of(kind)) / years
        figures[f"naive_{name}"] = sum(one["naive"] for one in of(kind)) / years
        figures[f"{name}_zone_years"] = years
    return figures


def _quantile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if len(values) else None


def measure(sizes: Sizes, purpose: int, seed: int, processes: int, only: str = "") -> dict[str, Any]:
    """Everything, as the keys of the JSON."""
    runs = [run for run in plan(sizes, purpose, seed) if only in ("", run.kind)]
    found = []
    began = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for done, one in enumerate(pool.map(_live, runs), 1):
            found.append(one)
            print(f"  {done}/{len(runs)} {one[0].kind}, {time.monotonic() - began:.0f} s", flush=True)
    figures = _only_known(summarise(found)) if not only else _only_known(summarise_part(found, only))
    if not only:
        for name, rho in CORRELATIONS.items():
            shares = coverage(purpose, seed, sizes.coverage_scenes, rho)
            worst = max(("150", "365", "whole"), key=lambda key: abs(shares[key] - 95))
            figures[f"interval_coverage_{name}"] = shares[worst]
            figures[f"interval_coverage_{name}_windows"] = shares
            figures[f"naive_interval_coverage_{name}"] = shares["naive"]
    return figures


def summarise_part(found: Sequence[tuple[Run, dict[str, Any]]], only: str) -> dict[str, Any]:
    """Of one kind of scene, for tuning: the others are empty."""
    empty = {
        "stable": {"km2_years": float("nan"), "paged": 0, "naive": 0},
        "threshold": {"raises": 0, "naive": 0, "zone_years": float("nan")},
        "face": {"switches": 0, "naive": 0, "zone_years": float("nan")},
    }
    padded = list(found)
    for kind, figures in empty.items():
        if kind != only:
            padded += [(Run(kind, 0, 0, 0, rms, 0), figures) for rms in NOISES_MM]
    return summarise(padded)


def _only_known(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: v for key, v in figures.items() if v is not None and v == v}  # NaN: unknown


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--seed", type=int, default=1, help="another seed is other ground")
    parser.add_argument("--small", action="store_true", help="a minute instead of a quarter of an hour")
    parser.add_argument(
        "--tuning", action="store_true", help="ground for tuning: never the ground of the scores"
    )
    parser.add_argument("--only", choices=sorted(_KINDS), default="", help="one kind of scene")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--points", type=int, help=argparse.SUPPRESS)
    wish = parser.parse_args(words)
    if wish.points is not None:
        figures = _judge_points_here(wish.points)
    else:
        sizes = SMALL if wish.small else FULL
        began = time.monotonic()
        figures = {
            "benchmark": "alerts",
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": wish.seed,
            "ground": "tuning" if wish.tuning else "scoring",
            "sizes": asdict(sizes),
            **measure(sizes, TUNING if wish.tuning else SCORING, wish.seed, wish.processes, wish.only),
        }
        if not wish.only:
            with tempfile.TemporaryDirectory(prefix="sagwatch-benchmark-") as folder:
                figures |= judge_many_points(sizes.points, Path(folder))
        figures["seconds"] = round(time.monotonic() - began, 1)
    wish.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
