"""The figures of accuracy runs as a Markdown table: `python -m benchmarks.accuracy_table FILE...`.

docs/accuracy.md holds what this prints of the files in results/; nothing in that table is typed by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: The required keys in words, and their goals.
GOALS = {
    "stable_displacement_rmse_mm": ("displacement on stable ground, rms error, mm", "5 or less"),
    "stable_velocity_rmse_mm_yr": ("velocity on stable ground, rms error, mm/yr", "2 or less"),
    "trough_maximum_error_mm_yr": ("trough's maximum where observable, error, mm/yr", "5 or less, or 5 %"),
    "unobservable_flagged_fraction": ("unobservable trough pixels that are flagged", "0.99 or more"),
    "interval_coverage": ("95 % intervals that hold the truth, worst window", "0.93 to 0.97"),
}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """One row for each figure, ours and MintPy's beside each other for every seed."""
    heads = ["", "goal", *(f"seed {run['seed']}: {who}" for run in runs for who in ("Sagwatch", "MintPy"))]
    rows = [heads, ["---"] * len(heads)]
    for key, (words, goal) in GOALS.items():
        rows.append([words, goal, *(_number(run[name]) for run in runs for name in (key, f"{key}_mintpy"))])
    kept = "storage_saving_fraction"
    rows.append(
        [
            "saved of the scenes' storage",
            "0.9 or more",
            *(w for run in runs for w in (f"{run[kept]:.5f}", "")),
        ]
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def corrections(run: dict[str, Any]) -> str:
    """One row for each chain and what it corrected."""
    keys = tuple(GOALS)
    rows = [["corrected", *keys], ["---"] * (1 + len(keys))]
    for who, name in (("Sagwatch", "sagwatch"), ("MintPy", "mintpy")):
        for what, scores in run[name].items():
            rows.append([f"{who}: {what}", *(_number(scores[key]) for key in keys)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def budget(run: dict[str, Any]) -> str:
    """What each disturbance alone does on stable ground."""
    keys = (
        "displacement_rmse_mm",
        "displacement_rmse_about_mean_mm",
        "velocity_rmse_mm_yr",
        "velocity_365d_rmse_mm_yr",
    )
    rows = [["alone", *keys], ["---"] * (1 + len(keys))]
    rows += [[name, *(_number(part[key]) for key in keys)] for name, part in run["error_budget"].items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def main(words: Sequence[str]) -> int:
    runs = [json.loads(Path(word).read_text()) for word in words]
    if not runs:
        print("name the files that make bench-accuracy wrote", file=sys.stderr)
        return 2
    print(table(runs))
    for run in runs:
        print(f"\nseed {run['seed']}, by correction\n\n{corrections(run)}\n\nerror budget\n\n{budget(run)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
