"""How long the simulated mine takes for full-size products: `python -m benchmarks.product_time [--products N]`.

Real orders go through the maker that stands behind the simulated HyP3, on one thread: everything of a product, from the
ground to the finished zip on disk. The first one also makes what all share (heights, land cover, both passes); each
later one shares a date with the one before it, as in a network.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import date
from itertools import pairwise
from pathlib import Path

from sagwatch.simulation.scenario import read_scenario
from sagwatch.simulation.world import Order, ScenarioWorld

PATH = 11
FIRST = date(2023, 1, 4)


def measure(scenario_name: str, count: int, looks: str, folder: Path) -> dict[str, object]:
    """Processor and wall seconds of each of `count` products in a chain; and of one that is asked for again."""
    world = ScenarioWorld(read_scenario(scenario_name))
    bursts = sorted(
        (granule.acquired, granule.name)
        for granule in world.granules
        if granule.path == PATH and granule.is_burst and granule.polarization == "VV"
    )
    chosen = [name for acquired, name in bursts if acquired.date() >= FIRST][: count + 1]
    orders = [
        Order(
            f"product-{number}",
            "INSAR_ISCE_MULTI_BURST",
            {"reference": [first], "secondary": [second], "looks": looks, "apply_water_mask": True},
        )
        for number, (first, second) in enumerate(pairwise(chosen))
    ]
    timed = [_seconds(world, order, folder) for order in orders]
    return {
        "scenario": scenario_name,
        "looks": looks,
        "processor_seconds": [round(processor, 2) for processor, _ in timed],
        "wall_seconds": [round(wall, 2) for _, wall in timed],
        "again_wall_seconds": round(_seconds(world, orders[-1], folder)[1], 4),
        "zip_mb": round(max(file.stat().st_size for file in folder.rglob("*.zip")) / 1e6, 1),
    }


def _seconds(world: ScenarioWorld, order: Order, folder: Path) -> tuple[float, float]:
    processor, wall = time.process_time(), time.perf_counter()
    world.make(order, folder / order.job_id)
    return time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--scenario", default="shaqu_mine")
    words.add_argument("--products", type=int, default=3)
    words.add_argument("--looks", default="5x1", help="5x1 = 20 m, 10x2 = 40 m, 20x4 = 80 m")
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(asked.scenario, asked.products, asked.looks, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
