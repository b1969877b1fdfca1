"""What is particular about one pass of a track."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from .chance import generator
from .scenario import Scenario


def baseline_m(scenario: Scenario, path: int, number: int) -> float:
    """Perpendicular baseline of one pass to the nominal orbit of its track, metres."""
    drawn = generator(scenario.seed, "baseline", path, number).normal(0.0, scenario.baseline_std_m)
    return float(np.clip(drawn, -scenario.baseline_limit_m, scenario.baseline_limit_m))


def has_precise_orbit(scenario: Scenario, acquired: datetime, processed: datetime | None) -> bool:
    """Whether the precise orbit of a pass was out when a processor ran; always without a rule about orbits."""
    if scenario.orbits is None or processed is None:
        return True
    return processed >= acquired + timedelta(days=scenario.orbits.precise_after_days)
