"""The accuracy benchmark's results in Markdown: `python -m benchmarks.accuracy_table [--into docs/accuracy.md] FILE`.

Nothing in the tables of docs/accuracy.md is typed by hand: with ``--into`` they are written between its two marks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: python -m benchmarks.accuracy_table -->", "<!-- end of figures -->"
#: The required figures in words, how they are shown, their goals, and whether a figure reaches its goal.
GOALS = {
    "stable_displacement_rmse_mm": (
        "displacement on stable ground, rms error, mm",
        "5 or less",
        lambda run: run["stable_displacement_rmse_mm"] <= 5,
    ),
    "stable_velocity_rmse_mm_yr": (
        "velocity on stable ground, rms error, mm/yr",
        "2 or less",
        lambda run: run["stable_velocity_rmse_mm_yr"] <= 2,
    ),
    "trough_maximum_error_mm_yr": (
        "largest error of an observable trough's maximum, mm/yr",
        "5 % or 5 mm/yr",
        lambda run: run["trough_maximum_within_goal"],
    ),
    "unobservable_flagged_fraction": (
        "unobservable trough pixels that are flagged",
        "0.99 or more",
        lambda run: run["unobservable_flagged_fraction"] >= 0.99,
    ),
    "interval_coverage": (
        "95 % intervals that hold the truth, worst window",
        "0.93 to 0.97",
        lambda run: 0.93 <= run["interval_coverage"] <= 0.97,
    ),
}
#: On stable ground; on no seed may one of Sagwatch's be more than 2 % larger than MintPy's.
ERRORS = ("stable_displacement_rmse_mm", "stable_velocity_rmse_mm_yr")
ALLOWED = 1.02


def seeds_table(runs: Sequence[dict[str, Any]]) -> str:
    """One row for each required figure: Sagwatch, and MintPy in brackets, for every seed."""
    rows = [["", "goal", *(f"seed {run['seed']}" for run in runs), "reached"]]
    for key, (words, goal, reaches) in GOALS.items():
        reached = sum(bool(reaches(run)) for run in runs)
        figures = [f"{_number(run[key])} ({_number(run[f'{key}_mintpy'])})" for run in runs]
        rows.append([words, goal, *figures, f"{reached} of {len(runs)}"])
    worst = [max(run[key] / run[f"{key}_mintpy"] for key in ERRORS) for run in runs]
    figures = [f"{100 * (ratio - 1):+.0f} %" for ratio in worst]
    reached = sum(ratio <= ALLOWED for ratio in worst)
    rows.append(
        [
            "the worse of both errors on stable ground, to MintPy's",
            "+2 %",
            *figures,
            f"{reached} of {len(runs)}",
        ]
    )
    kept = [run["storage_saving_fraction"] for run in runs]
    rows.append(
        [
            "saved of the scenes' storage",
            "0.9",
            *(f"{one:.5f}" for one in kept),
            f"{sum(one >= 0.9 for one in kept)} of {len(runs)}",
        ]
    )
    return _markdown(rows)


def variants_table(run: dict[str, Any], part: str) -> str:
    """One row for each chain and what it corrected."""
    rows = [
        [
            f"seed {run['seed']}, {part} ({run[part]['grid']['pixel_m']:g} m)",
            "displacement, mm",
            "since the first epoch, mm",
            "velocity, mm/yr",
            "365 days, mm/yr",
            "largest trough error, mm/yr",
            "flagged: unobservable, stable",
            "intervals: 150, 365 days, whole",
        ]
    ]
    for who, chain in (("Sagwatch", "sagwatch"), ("MintPy", "mintpy")):
        for what, scores in run[part][chain].items():
            inside = scores["interval_coverage_windows"].values()
            rows.append(
                [
                    f"{who}: {what}",
                    _number(scores["stable_displacement_rmse_mm"]),
                    _number(scores["stable_displacement_since_first_rmse_mm"]),
                    _number(scores["stable_velocity_rmse_mm_yr"]),
                    _number(scores["stable_velocity_365d_rmse_mm_yr"]),
                    _number(scores["trough_maximum_error_mm_yr"]),
                    f"{_number(scores['unobservable_flagged_fraction'])}, {_number(scores['stable_flagged_fraction'])}",
                    ", ".join(_number(share) for share in inside),
                ]
            )
    return _markdown(rows)


def troughs_table(run: dict[str, Any]) -> str:
    """Each source of motion in each stack, as published and as MintPy has it."""
    rows = [
        ["trough", "true, mm/yr", "Sagwatch's error", "MintPy's error", "largest without a flag: true, error"]
    ]
    for part in ("mine", "face"):
        ours = run[part]["sagwatch"][run[part]["published"]]["troughs"]
        theirs = list(run[part]["mintpy"].values())[-1]["troughs"]
        for name, one in ours.items():
            plain = (
                f"{one['unflagged_true_mm_yr']:.0f}, {one['unflagged_error_mm_yr']:+.1f}"
                if "unflagged_true_mm_yr" in one
                else "none"
            )
            rows.append(
                [
                    f"{name}, {run[part]['grid']['pixel_m']:g} m",
                    f"{one['true_mm_yr']:.0f}",
                    *(
                        f"{it['error_mm_yr']:+.1f} ({abs(it['error_percent']):.1f} %)"
                        for it in (one, theirs[name])
                    ),
                    plain,
                ]
            )
    return _markdown(rows)


def budget_table(run: dict[str, Any], part: str) -> str:
    """What each disturbance alone does on stable ground, with the reference pixel as datum."""
    keys = (
        "displacement_rmse_mm",
        "displacement_since_first_rmse_mm",
        "velocity_rmse_mm_yr",
        "velocity_365d_rmse_mm_yr",
    )
    rows = [["alone", "displacement, mm", "since the first epoch, mm", "velocity, mm/yr", "365 days, mm/yr"]]
    rows += [
        [name, *(_number(alone[key]) for key in keys)] for name, alone in run[part]["error_budget"].items()
    ]
    return _markdown(rows)


def weather_table(run: dict[str, Any]) -> str:
    """What a lost and a late ERA5 day do to the displacements of that day."""
    rows = [["ERA5 of a day", "chain", "error, mm", "differs from final ERA5 by, mm"]]
    for who, states in run["mine"]["lost_weather"].items():
        if who != "epochs":
            for state, found in states.items():
                rows.append([state, who, _number(found["error_mm"]), _number(found["effect_mm"])])
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def tables(runs: Sequence[dict[str, Any]]) -> str:
    """The required figures of all seeds, then everything about the first one."""
    first, small = runs[0], ""
    if any(run["small"] for run in runs):
        small = "Only a year and a half of a corner of the mine (`SMALL=1`), so these are no figures of the goals.\n\n"
    return (
        f"{small}In brackets: MintPy's standard chain.\n\n{seeds_table(runs)}\n\n"
        f"Each trough at its fastest observable pixel, seed {first['seed']}; in the last column the fastest pixel that "
        f"carries no flag:\n\n{troughs_table(first)}\n\n"
        f"With and without each correction:\n\n{variants_table(first, 'mine')}\n\n{variants_table(first, 'face')}\n\n"
        f"Each disturbance alone, from its truth, relative to the reference pixel:\n\n{budget_table(first, 'mine')}\n\n"
        f"A lost or late ERA5 day (`era5_only` has no ramp and refers to the pixel, as MintPy's):\n\n"
        f"{weather_table(first)}\n"
    )


def write_into(document: str, text: str) -> str:
    """The document with what stands between the marks replaced.

    Raises
    ------
    ValueError
        A mark is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_table", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="what make bench-accuracy wrote")
    parser.add_argument("--into", type=Path, help="a document with the two marks")
    wish = parser.parse_args(words)
    text = tables([json.loads(file.read_text(encoding="utf-8")) for file in wish.files])
    if wish.into is None:
        print(text)
    else:
        document = wish.into.read_text(encoding="utf-8")
        wish.into.write_text(write_into(document, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
