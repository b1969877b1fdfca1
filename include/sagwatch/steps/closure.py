"""Where interferograms contradict each other: the sum of three unwrapped phases round a triangle of dates.

Without unwrapping errors it is small (noise and filtering); a whole cycle or more means that one of the three is wrong
there. The integer ambiguity of a triplet is MintPy's own measure of unwrapping errors (Yunjun et al. 2019,
doi:10.1016/j.cageo.2019.104331, section 3.2).
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.interferogram import PHASE, StoredInterferogram, open_hdf5
from sagwatch.engine.stack import Stack

_CYCLE = 2 * np.pi


def misclosed(stack: Stack, day: date) -> NDArray[np.bool_] | None:
    """Pixels that a triangle of the interferograms which end on a day contradicts by a cycle or more.

    Returns
    -------
    Shape (rows, columns); None where no triangle of dates ends on that day.
    """
    found: NDArray[np.bool_] | None = None
    members = {(member.reference, member.secondary): member for member in stack.members}
    ending = sorted(reference for reference, secondary in members if secondary == day)
    for i, first in enumerate(ending):
        for middle in ending[i + 1 :]:
            if (first, middle) not in members:
                continue
            triangle = [members[first, middle], members[middle, day], members[first, day]]
            wrong = _contradicts(*(_phase(stack, member) for member in triangle))
            found = wrong if found is None else found | wrong
    return found


def _phase(stack: Stack, member: StoredInterferogram) -> NDArray[np.float32]:
    with open_hdf5(stack.path(member)) as file:
        return file[PHASE][0]


def _contradicts(
    early: NDArray[np.float32], late: NDArray[np.float32], both: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether the triangle misses by at least half a cycle where most of the scene closes; False without data."""
    closure = early.astype(np.float64) + late - both
    known = np.isfinite(closure)
    if not known.any():
        return np.zeros(closure.shape, dtype=bool)
    # Each interferogram has an unknown constant, so the scene's own median is zero.
    cycles = np.round((closure - np.median(closure[known])) / _CYCLE)
    return np.where(known, cycles != 0, False)
