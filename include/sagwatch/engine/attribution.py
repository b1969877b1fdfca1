"""Which interferogram of a contradicting triangle is at fault, pixel by pixel.

One rule for every network. A pair is *confirmed* where one of its triangles closes; a pair that none confirms is a
*suspect*. It is *at fault* by ``c`` cycles where all its triangles miss by exactly ``c``, every triangle around them
closes, and no other pair explains the same: then adding ``-c`` to it is the one and only smallest change (in the sum of
absolute cycles) that closes everything. With two neighbours this reads: one triangle alone means its long pair, two
neighbouring triangles that miss by the same mean the pair that they share, all else is ambiguous.

The decision about a pair depends on the triangles within `reach` of it, and on nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sagwatch.engine.closure import UNKNOWN, Cycles, Dates, Triangle, newest

#: A decision looks at a pair's triangles, at theirs, and at what explains those.
_HOPS = 3
_CYCLE = 2 * np.pi

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Repair:
    """What becomes of one interferogram; both arrays have the grid's shape.

    ``cycles`` are whole cycles to add to its phase, ``masked`` pixels lose theirs.
    """

    cycles: Cycles
    masked: Bools

    @property
    def changes(self) -> bool:
        return bool(self.masked.any() or self.cycles.any())

    def apply(self, phase_rad: NDArray[np.float32]) -> NDArray[np.float32]:
        """The phase after the repair, radians."""
        repaired = (phase_rad + _CYCLE * self.cycles).astype(np.float32)
        return np.where(self.masked, np.float32(np.nan), np.where(self.cycles != 0, repaired, phase_rad))


@dataclass(frozen=True)
class Accused:
    """A pair at the bar: whole cycles of the single fault (0: none), and where its data cannot be trusted.

    ``spare``: two other pairs join its dates, so that it can be left out.
    """

    fault: Cycles
    suspect: Bools
    spare: bool


class Network:
    """Pairs and triangles, and who shares what."""

    def __init__(self, every: Sequence[Triangle]) -> None:
        self.triangles = tuple(every)
        self.of_pair: dict[Dates, list[tuple[Triangle, int]]] = {}
        for triangle in self.triangles:
            for pair, sign in triangle.legs:
                self.of_pair.setdefault(pair, []).append((triangle, sign))

    def around(self, some: Sequence[Triangle]) -> list[Triangle]:
        """These and all that share a pair with one of them, in order of dates."""
        pairs = {pair for triangle in some for pair, _ in triangle.legs}
        return sorted({triangle for pair in pairs for triangle, _ in self.of_pair[pair]})

    def reach(self, pair: Dates) -> list[Triangle]:
        """Every triangle that the decision about a pair depends on."""
        found = [triangle for triangle, _ in self.of_pair.get(pair, ())]
        for _ in range(_HOPS if found else 0):
            found = self.around(found)
        return found


class Jury:
    """Decides about pairs; ``cycles`` gives a triangle's closure."""

    def __init__(self, network: Network, cycles: Callable[[Triangle], Cycles]) -> None:
        self.network, self.cycles = network, cycles
        self._faults: OrderedDict[Dates, Cycles] = OrderedDict()

    def accused(self, pair: Dates) -> Accused:
        """What the triangles say about a pair that is in one at least."""
        fault = self._single_fault(pair)
        spare = any(sign < 0 for _, sign in self.network.of_pair[pair])
        unexplained = []
        for triangle, _ in self.network.of_pair[pair]:
            closure, explained = self.cycles(triangle), np.zeros(fault.shape, bool)
            for leg, _ in triangle.legs:
                explained |= self._single_fault(leg) != 0
            unexplained.append((closure != 0) & ~explained | (closure == UNKNOWN))
        return Accused(fault, np.all(unexplained, axis=0) & self._known(pair), spare)

    def contradicted(self, pair: Dates) -> tuple[Bools, Bools]:
        """Pixels that one of its triangles contradicts, and pixels that one has data for."""
        closures = [self.cycles(triangle) for triangle, _ in self.network.of_pair[pair]]
        wrong = np.any([(closure != 0) & (closure != UNKNOWN) for closure in closures], axis=0)
        return wrong, self._known(pair)

    def _known(self, pair: Dates) -> Bools:
        return np.any([self.cycles(one) != UNKNOWN for one, _ in self.network.of_pair[pair]], axis=0)

    def _single_fault(self, pair: Dates) -> Cycles:
        """Cycles by which a pair alone is wrong; 0 where it is not, or where another could be."""
        if pair in self._faults:
            return newest(self._faults, pair)
        fault = self._explains(pair)
        own = [triangle for triangle, _ in self.network.of_pair[pair]]
        for triangle in self.network.around(own):
            if triangle not in own:
                fault[self.cycles(triangle) != 0] = 0
        # A rival is in all of these triangles; where it is in a closed one besides, `_explains` says 0.
        for rival in set.intersection(*({leg for leg, _ in triangle.legs} for triangle in own)) - {pair}:
            fault[self._explains(rival) != 0] = 0
        self._faults[pair] = fault
        return newest(self._faults, pair)

    def _explains(self, pair: Dates) -> Cycles:
        """Cycles that would explain every contradiction of the pair's own triangles; 0 where none or several would."""
        signed = [
            self.cycles(triangle).astype(np.int16) * sign for triangle, sign in self.network.of_pair[pair]
        ]
        unknown = [self.cycles(triangle) == UNKNOWN for triangle, _ in self.network.of_pair[pair]]
        same = np.all([one == signed[0] for one in signed], axis=0) & ~np.any(unknown, axis=0)
        return np.where(same, signed[0], 0).astype(np.int8)


@dataclass(frozen=True)
class Verdict:
    """The rule's way with what is found: ``mask`` or ``repair`` with so many connected pixels at least."""

    repair: bool
    least_pixels: int

    def on(self, accused: Accused) -> Repair:
        """Add the cycles where a fault has company, mask all else that is in doubt if the pair can be spared.

        The shortest pairs stay. They fail last where ground is steep, and without them a pixel's network falls into
        pieces: on the simulated mine that made trough displacements worse, and masking the long pairs only made them
        better (docs/alerts.md).
        """
        cycles = np.zeros(accused.fault.shape, np.int8)
        if self.repair:
            for value in np.unique(accused.fault[accused.fault != 0]):
                cycles[_large(accused.fault == value, self.least_pixels)] = -value
        doubt = (accused.suspect | (accused.fault != 0)) & (cycles == 0)
        return Repair(cycles, doubt & accused.spare)


def _large(mask: Bools, least: int) -> Bools:
    """The parts of a mask, connected by their sides, that have so many pixels at least."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return sizes[labels] >= least
