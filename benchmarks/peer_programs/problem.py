"""How the benchmark and a peer's program speak: files in the folder that they both stand in."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 3


class Problem:
    """An unweighted inversion of complete pixels. ``phase`` has shape (pairs, rows, columns), radians, float32."""

    def __init__(self, folder: Path) -> None:
        words = json.loads((folder / "problem.json").read_text())
        self.earlier: list[int] = words["earlier"]
        self.later: list[int] = words["later"]
        self.days: list[int] = words["days"]
        self.wavelength_m: float = words["wavelength_m"]
        self.phase = np.load(folder / "phase.npy")


def time_and_tell(solve: Callable[[], Any], *, series_m: Callable[[Any], np.ndarray], **facts: Any) -> None:
    """Call once to warm up, then several times; leave the answer and the times in the folder."""
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        answer = solve()
        seconds.append(time.perf_counter() - began)
    folder = Path(sys.argv[1])
    np.save(folder / "series.npy", series_m(answer))
    told = {"warm_up_seconds": seconds[0], "seconds_of_each": seconds[1:], **facts}
    (folder / "told.json").write_text(json.dumps(told))
