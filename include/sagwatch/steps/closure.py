"""Where the newest interferograms contradict each other (`engine.closure`): what rule R7 judges."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.closure import cycles, triangles
from sagwatch.engine.interferogram import ORIGINAL, PHASE, StoredInterferogram, open_hdf5
from sagwatch.engine.stack import Stack


def misclosed(stack: Stack, day: date) -> NDArray[np.bool_] | None:
    """Pixels that a triangle of the interferograms which end on a day contradicts by a cycle or more.

    Returns
    -------
    Shape (rows, columns); None where no triangle of dates ends on that day.
    """
    found: NDArray[np.bool_] | None = None
    members = {(member.reference, member.secondary): member for member in stack.members}
    for triangle in triangles([pair for pair in members if pair[1] <= day]):
        if triangle.last == day:
            wrong = _contradicts(*(_phase(stack, members[pair]) for pair in triangle.pairs))
            found = wrong if found is None else found | wrong
    return found


def _phase(stack: Stack, member: StoredInterferogram) -> NDArray[np.float32]:
    """As it was fetched: what was left out of the solution is not seen any better for that."""
    with open_hdf5(stack.path(member)) as file:
        original = file.attrs.get(ORIGINAL)
        if original is None:
            return file[PHASE][0]
    with open_hdf5(stack.folder / f"{original}.h5") as file:
        return file[PHASE][0]


def _contradicts(
    early: NDArray[np.float32], late: NDArray[np.float32], both: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether the triangle misses by at least half a cycle where most of the scene closes; False without data."""
    closure = early + late - both
    known = np.isfinite(closure)
    # Each interferogram has an unknown constant, so the scene's own median is zero.
    constant = np.median(closure[known]) if known.any() else np.float32(0)
    return cycles(early - constant, late, both)[0] != 0
