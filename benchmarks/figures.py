"""From the measurements of the engine benchmark to the keys that others quote, and to the README's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CaseFigures = Mapping[str, Any]
#: Keys without a number of neighbours stand for this one.
USUAL_NEIGHBOURS = 2


def ratios(case: CaseFigures) -> dict[str, float]:
    """How many times faster than MintPy, by what is compared; ours with one thread unless named otherwise."""
    mintpy, memory = case["mintpy"]["seconds"], case["in_memory"]
    found = {}
    for threads, ours in case["ours"].items():
        tail = "" if threads == "threads_1" else f"_{threads}"
        found[f"update_speedup_vs_mintpy{tail}"] = mintpy / ours["update"]["seconds"]
        found[f"batch_end_to_end_speedup{tail}"] = mintpy / ours["batch"]["seconds"]
        found[f"batch_speedup_vs_mintpy{tail}"] = memory["mintpy_seconds"] / memory[f"seconds_{threads}"]
    return found


def bandwidth_fraction(case: CaseFigures) -> float:
    """What an update must read and write over its time, as a fraction of a plain copy's rate."""
    update = case["ours"]["threads_1"]["update"]
    rate = (update["bytes_written"] + update["bytes_to_read"]) / update["seconds"]
    return rate / case["copy_bytes_per_second"]


def key_of(name: str, case: CaseFigures) -> str:
    """``name_240``, ``name_240_k4``, ``name_240_threads_2``, ``name_240_complete``."""
    name, *threads = name.partition("_threads_")
    neighbours = case["neighbours"]
    tail = "" if neighbours == USUAL_NEIGHBOURS else f"_k{neighbours}"
    tail += "" if case["gaps"] else "_complete"
    return f"{name}_{case['epochs']}{tail}{''.join(threads)}"


def headline(cases: Iterable[CaseFigures]) -> dict[str, Any]:
    """The keys of the whole benchmark. Those without suffixes stand for the longest record, 2 neighbours, gaps."""
    cases = list(cases)
    gappy = [case for case in cases if case["gaps"]]
    usual = [case for case in gappy if case["neighbours"] == USUAL_NEIGHBOURS]
    shortest, longest = (choose(usual, key=_epochs) for choose in (min, max))
    found: dict[str, Any] = {}
    for case in cases:
        found |= {key_of(name, case): ratio for name, ratio in case["ratios"].items()}
        found |= _peer_keys(case)
    for neighbours in sorted({case["neighbours"] for case in gappy}):
        found |= _growth([case for case in gappy if case["neighbours"] == neighbours])
    ours, pixels = longest["ours"]["threads_1"], longest["pixels"]
    update, batch = (ours[what]["peak_memory_bytes"] / pixels for what in ("update", "batch"))
    return {
        **found,
        "max_difference_mm": max(case["mintpy"]["max_difference_mm"] for case in gappy),
        "counts_that_differ": sum(case["mintpy"]["counts_that_differ"] for case in gappy),
        "masks_that_differ": sum(case["mintpy"]["masks_that_differ"] for case in gappy),
        "counts_and_masks_identical": not any(
            case["mintpy"][key] for case in gappy for key in ("counts_that_differ", "masks_that_differ")
        ),
        "max_difference_batch_mm": max(case["max_difference_batch_mm"] for case in cases),
        "bandwidth_fraction": longest["bandwidth_fraction"],
        "sync_fraction": ours["update"]["sync_seconds"] / ours["update"]["seconds"],
        "peak_memory_bytes_per_pixel": max(update, batch),
        "peak_memory_update_bytes_per_pixel": update,
        "peak_memory_batch_bytes_per_pixel": batch,
        "memory_after_imports_bytes": ours["update"]["memory_after_imports_bytes"],
        "state_bytes_per_pixel": longest["state_bytes_per_pixel"],
        "shortest_epochs": shortest["epochs"],
        "longest_epochs": longest["epochs"],
    }


def _epochs(case: CaseFigures) -> int:
    return case["epochs"]


def _peer_keys(case: CaseFigures) -> dict[str, Any]:
    """Peers are compared on complete networks only, so their keys do not say so."""
    keys = {
        name: key_of(f"batch_speedup_vs_{name}", {**case, "gaps": True}) for name in case.get("peers", {})
    }
    return {
        key: case["peers"][name].get("speedup", f"absent: {case['peers'][name].get('absent')}")
        for name, key in keys.items()
    }


def _growth(cases: list[CaseFigures]) -> dict[str, float]:
    """Time of an update on the longest record over that on the shortest."""
    shortest, longest = (choose(cases, key=_epochs) for choose in (min, max))
    neighbours = longest["neighbours"]
    tail = "" if neighbours == USUAL_NEIGHBOURS else f"_k{neighbours}"
    name = f"update_growth_{shortest['epochs']}_to_{longest['epochs']}{tail}"
    seconds = [case["ours"]["threads_1"]["update"]["seconds"] for case in (shortest, longest)]
    return {name: seconds[1] / seconds[0]}


def table(cases: Iterable[CaseFigures]) -> str:
    """All cases as Markdown."""
    cases = list(cases)
    head = (
        "stack",
        "MintPy's programs",
        "our update",
        "",
        "our batch, files and all",
        "",
        "inversion in memory: MintPy",
        "ours",
        "",
    )
    rows = [
        (
            case["name"],
            _time(case["mintpy"]["seconds"]),
            _time(case["ours"]["threads_1"]["update"]["seconds"]),
            _times(case["ratios"]["update_speedup_vs_mintpy"]),
            _time(case["ours"]["threads_1"]["batch"]["seconds"]),
            _times(case["ratios"]["batch_end_to_end_speedup"]),
            _time(case["in_memory"]["mintpy_seconds"]),
            _time(case["in_memory"]["seconds_threads_1"]),
            _times(case["ratios"]["batch_speedup_vs_mintpy"]),
        )
        for case in cases
    ]
    return _markdown(head, rows)


def peer_table(cases: Iterable[CaseFigures]) -> str:
    """Peers on the complete stacks, as Markdown."""
    head = ("stack, unweighted, in memory", "solver", "its time", "ours", "", "largest difference")
    rows = []
    for case in cases:
        for name, peer in case.get("peers", {}).items():
            if "absent" in peer:
                rows.append((case["name"], name, f"absent: {peer['absent']}", "", "", ""))
            else:
                figures = (_time(peer["seconds"]), _time(peer["ours_seconds"]), _times(peer["speedup"]))
                rows.append((case["name"], name, *figures, f"{peer['max_difference_mm']:.1e} mm"))
    return _markdown(head, rows)


def key_table(found: Mapping[str, Any]) -> str:
    """Single keys as Markdown."""
    return _markdown(("key", "value"), [(f"`{key}`", _plain(value)) for key, value in found.items()])


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 20 else f"{ratio:.1f} ×"
