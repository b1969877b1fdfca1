"""How much of a simulated trough a ramp and a height error take away: `python -m benchmarks.eaten [--seed N]`.

The truth of the mine (scenario ``shaqu_mine``, track 11, 80 m) is corrected as if it had been observed, without noise
and air: what is then missing was eaten. Beside each measured share stands the one that Sagwatch foretells
(`sagwatch.engine.eaten`), on which warnings 120 and 121 are based. About a minute.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_mine import PATH, SeenMine, Span, scenario_of
from sagwatch.engine.corrections import CorrectionSettings, Scene, estimate
from sagwatch.engine.eaten import eaten_by_ramp, eaten_by_topography
from sagwatch.engine.steady_ground import steady_ground
from sagwatch.engine.velocity import elapsed_years, fit_line
from sagwatch.simulation.passes import baseline_m

RECORD = date(2017, 1, 1), date(2025, 12, 31)
#: Parts of the mine: around the eastern panel less and less of the scene is stable.
BOXES: dict[str, tuple[float, float, float, float] | None] = {
    "all of the mine": None,
    "8 x 7 km": (110.82, 37.405, 110.91, 37.468),
    "4 x 3.5 km": (110.845, 37.425, 110.89, 37.455),
    "2.5 x 2 km": (110.856, 37.432, 110.884, 37.450),
}
#: A corner, far from all panels.
REFERENCE = 3, 3
EVERY = 4
ORDERS = (1, 2, 3)
WAVES_YEARS = (None, 2.0, 6.0)
SENSITIVITY_RANGE_M, INCIDENCE_DEG = 850e3, 41.0

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Eaten:
    """Shares of the eastern panel's trough: taken from its maximum, foretold, and put on ground that does not move."""

    maximum: float
    foretold: float
    stable: float


def scene_of(steady: NDArray[np.bool_]) -> Scene:
    flat = np.ones(steady.shape)
    return Scene(900 * flat, INCIDENCE_DEG * flat, SENSITIVITY_RANGE_M * flat, steady, *REFERENCE)


@dataclass(frozen=True)
class Truth:
    """What the mine does; ``los_m`` against the first acquisition and the reference pixel."""

    mine: SeenMine
    dates: tuple[date, ...]
    los_m: NDArray[np.float32]

    @classmethod
    def of(cls, mine: SeenMine, every: int = 1) -> Truth:
        dates = mine.dates[::every]
        los_m = mine.truth_m(dates)
        # Exactly zero would be "no observation": MintPy's ramps do not see it.
        los_m[1:] += 1e-6
        los_m[:, REFERENCE[0], REFERENCE[1]] = 0.0
        return cls(mine, dates, los_m - los_m[:, REFERENCE[0], REFERENCE[1]][:, None, None])


def ramp_shares(truth: Truth, kind: str, mask: str) -> Eaten:
    """What a ramp takes that is fitted to ``everything``, to what ``steady`` ground is found, or off the ``faces``."""
    mine, dates, truth_m = truth.mine, truth.dates, truth.los_m
    steady = np.ones(mine.grid.shape, np.bool_)
    if mask == "steady":
        velocity = fit_line(elapsed_years(dates), truth_m.reshape(len(dates), -1)).velocity_m_yr
        steady = steady_ground(dates, velocity.reshape(steady.shape), steady, (), mine.grid)
    elif mask == "faces":
        steady = ~mine.may_sink
    scene = scene_of(steady)
    _, corrected = estimate(
        dates, truth_m, lambda *_: None, np.zeros(len(dates)), scene, CorrectionSettings(ramp=kind)
    )
    peak = np.unravel_index(int(np.argmin(truth_m[-1])), truth_m.shape[1:])
    deepest = float(truth_m[-1][peak])
    surface = (truth_m[-1] - corrected[-1]) / deepest
    still = np.abs(truth_m[-1]) < 0.005
    return Eaten(
        float(surface[peak]),
        float(eaten_by_ramp(scene, kind, mine.grid.pixel_m)[peak]),
        float(np.abs(surface[still]).max()),
    )


def topography_shares(truth: Truth, order: int, wave_years: float | None) -> Eaten:
    """What a height error takes, with the satellite's own baselines or with some that come and go slowly."""
    mine, dates, truth_m = truth.mine, truth.dates, truth.los_m
    baselines = np.array([baseline_m(mine.scenario, PATH, mine.passes[day]) for day in dates])
    if wave_years is not None:
        baselines = 60 * np.sin(2 * np.pi * elapsed_years(dates) / wave_years)
    baselines -= baselines[0]
    scene = scene_of(np.zeros(mine.grid.shape, np.bool_))
    found, _ = estimate(
        dates, truth_m, lambda *_: None, baselines, scene, CorrectionSettings(topography_order=order)
    )
    final = np.abs(truth_m[-1])
    per_baseline = np.abs(found.per_baseline) * np.abs(baselines).max()
    deep = final > 0.5 * final.max()
    still = np.abs(truth_m).max(axis=0) < 0.005
    return Eaten(
        float((per_baseline[deep] / final[deep]).max()),
        eaten_by_topography(dates, baselines, order),
        float(per_baseline[still].max() / final.max()),
    )


def measure(seed: int, record: tuple[date, date] = RECORD) -> dict[str, Any]:
    """All shares, by what was corrected and how."""
    scenario = scenario_of(seed)
    found: dict[str, Any] = {"seed": seed, "ramp": {}, "topography": {}}
    for name, box in BOXES.items():
        truth = Truth.of(SeenMine(scenario, Span(*record, box=box)), EVERY)
        for kind in ("linear", "quadratic"):
            for mask in ("everything", "steady", "faces"):
                found["ramp"][f"{name}, {kind}, {mask}"] = asdict(ramp_shares(truth, kind, mask))
    truth = Truth.of(SeenMine(scenario, Span(*record, box=BOXES["4 x 3.5 km"])))
    for order in ORDERS:
        for wave in WAVES_YEARS:
            kind = "the satellite's" if wave is None else f"a wave of {wave:.0f} years"
            found["topography"][f"order {order}, baselines {kind}"] = asdict(
                topography_shares(truth, order, wave)
            )
    return found


def table(found: dict[str, Any]) -> str:
    """As Markdown."""
    lines = ["| | eaten of the maximum | foretold | put on stable ground |", "| --- | --- | --- | --- |"]
    for part in ("ramp", "topography"):
        for name, one in found[part].items():
            shares = " | ".join(f"{100 * one[key]:.1f} %" for key in ("maximum", "foretold", "stable"))
            lines.append(f"| {part}: {name} | {shares} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eaten", description=__doc__)
    parser.add_argument("--seed", type=int, default=4021)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    found = measure(chosen.seed)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
