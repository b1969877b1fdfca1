"""Where interferograms contradict each other: three unwrapped phases round a triangle of dates, in whole cycles.

Without unwrapping errors the sum is small (noise and filtering); a cycle or more means that one of the three is wrong
there. This integer ambiguity is MintPy's measure of unwrapping errors (Yunjun et al. 2019,
doi:10.1016/j.cageo.2019.104331, equations 8 and 9). It cannot see an error that all interferograms of one date share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

Pair = tuple[date, date]
CYCLE_RAD = 2 * np.pi


@dataclass(frozen=True, slots=True, order=True)
class Triangle:
    """Three dates whose three interferograms exist."""

    first: date
    middle: date
    last: date

    @property
    def pairs(self) -> tuple[Pair, Pair, Pair]:
        """The two short ones, then the long one, which counts negative."""
        return (self.first, self.middle), (self.middle, self.last), (self.first, self.last)

    def sign(self, pair: Pair) -> int:
        """How a cycle too many in one of its pairs shows in the closure: 1 or -1."""
        return -1 if pair == (self.first, self.last) else 1


def triangles(pairs: Collection[Pair]) -> list[Triangle]:
    """All triangles of dates among pairs, rising."""
    later: dict[date, set[date]] = defaultdict(set)
    for reference, secondary in pairs:
        later[reference].add(secondary)
    return sorted(
        Triangle(first, middle, last)
        for first, seconds in later.items()
        for middle in seconds
        for last in seconds & later.get(middle, set())
    )


def cycles(
    early: NDArray[np.float32], late: NDArray[np.float32], both: NDArray[np.float32]
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The closure of a triangle in whole cycles, and where it is known; 0 where it is not.

    Parameters
    ----------
    early, late, both
        Phase from the first to the middle date, from the middle to the last, from the first to the last, radians,
        each with 0 at the same reference.
    """
    # MintPy's order and precision; half a cycle belongs to the upper integer, as in its wrapping to [-pi, pi).
    closure = (early - both) + late
    known = np.isfinite(closure)
    whole = np.floor(np.where(known, closure, 0.0) / np.float32(CYCLE_RAD) + np.float32(0.5))
    return whole.astype(np.int16), known
