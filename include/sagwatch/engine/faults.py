"""Which interferogram is at fault where a network contradicts itself, from the closures of its triangles alone.

An interferogram is *named* where every triangle that it lies in misses by the same cycles (with the right sign), no
other triangle near misses at all, and no other interferogram explains as much: taking those cycles away is the
smallest change that closes the network. In a network of two neighbours this reads: one triangle alone is wrong, so is
its long pair; two in a row are wrong by the same cycles, so is the pair they share. It is *suspect* where all its
triangles contradict themselves and nobody is named for it: two faults at once, or the newest triangle, whose next one
is not there yet.

``mask`` leaves out what is named, where two shorter pairs join the same dates, and what is suspect, where these two
show more motion away from the satellite and two more triangles near miss the same way: that is how the cycles of ground
that sinks are lost. So every pixel's network stays whole. The shortest pairs stay although they may be wrong: they fail
last where ground is steep. (On two seeds of the simulated mine, masking them too made troughs worse, and masking other
suspects made ground at rest worse.) ``repair`` takes cycles away where two triangles name the pair and a region agrees,
and masks the rest. One triangle is no proof: where two interferograms err together, the rule may name a third one that
did not. So nothing is done on ground that no face draws along, where it would do more harm than good. What both do to a
trough of known truth: `benchmarks/closure_rules.py`, docs/accuracy.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from sagwatch.domain.ids import content_sha256, opaque_id
from sagwatch.engine.closure import CYCLE_RAD, Pair, Triangle, triangles

Cycles = NDArray[np.int16]
#: The closure of a triangle in whole cycles (0 where unknown), and where it is known.
Closure = tuple[Cycles, NDArray[np.bool_]]

#: Grows when the rule changes what is decided.
RULE = 2
_KEPT = 32
#: So many triangles must agree before a phase is changed and not only left out.
REPAIR_WITNESSES = 2
#: Ground that sinks loses cycles again and again, noise does not: so many triangles near must miss the same way.
LAGGING_TRIANGLES = 3


class Attribution:
    """Finds the interferogram at fault, pixel by pixel; what was computed last stays in memory."""

    def __init__(self, pairs: Collection[Pair], closure: Callable[[Triangle], Closure]) -> None:
        self._closure = lru_cache(_KEPT)(closure)
        self._of: dict[Pair, set[Triangle]] = defaultdict(set)
        for triangle in triangles(pairs):
            for pair in triangle.pairs:
                self._of[pair].add(triangle)
        self._needed = lru_cache(_KEPT)(self._needed_by)
        self._at_fault = lru_cache(_KEPT)(self._unique)

    def of(self, pair: Pair) -> list[Triangle]:
        """The triangles that a pair lies in."""
        return sorted(self._of.get(pair, ()))

    def at_fault(self, pair: Pair) -> Cycles:
        """The cycles that a pair has too many, where the fault is its beyond doubt; else 0."""
        if not self.of(pair):
            raise ValueError(f"no triangle has pair {pair}")
        return self._at_fault(pair)

    def ambiguous(self, pair: Pair) -> NDArray[np.bool_]:
        """Where a triangle of the pair contradicts itself and nobody knows by whose fault."""
        found = []
        for triangle in self.of(pair):
            wrong = self._closure(triangle)[0] != 0
            for one in triangle.pairs:
                wrong = wrong & (self._at_fault(one) == 0)
            found.append(wrong)
        return np.logical_or.reduce(found)

    def suspect(self, pair: Pair) -> NDArray[np.bool_]:
        """Where every known triangle of the pair contradicts itself, and none of its pairs is named for it."""
        accused = np.zeros(self._closure(self.of(pair)[0])[1].shape, np.bool_)
        cleared = accused.copy()
        for triangle in self.of(pair):
            whole, known = self._closure(triangle)
            unexplained = whole != 0
            for one in triangle.pairs:
                unexplained = unexplained & (self._at_fault(one) == 0)
            accused |= unexplained
            cleared |= known & ~unexplained
        return accused & ~cleared

    def spare(self, pair: Pair) -> NDArray[np.bool_]:
        """Where two shorter pairs join its dates, so that the network stays whole without it."""
        return np.logical_or.reduce(
            [self._closure(triangle)[1] & (triangle.sign(pair) < 0) for triangle in self.of(pair)]
        )

    def lags(self, pair: Pair) -> NDArray[np.bool_]:
        """Where two shorter pairs show more motion away from the satellite, by whole cycles, again and again."""
        own = np.logical_or.reduce(
            [(self._closure(triangle)[0] > 0) & (triangle.sign(pair) < 0) for triangle in self.of(pair)]
        )
        if not own.any():
            return own
        near = np.sum([self._closure(triangle)[0] > 0 for triangle in self.depends_on(pair)], axis=0)
        return own & (near >= LAGGING_TRIANGLES)

    def witnesses(self, pair: Pair) -> NDArray[np.uint8]:
        """How many triangles of the pair are known at each pixel."""
        return np.sum([self._closure(triangle)[1] for triangle in self.of(pair)], axis=0).astype(np.uint8)

    def depends_on(self, pair: Pair) -> list[Triangle]:
        """All triangles that have a say in what is decided about a pair."""
        mates = self._mates({pair})
        return sorted({triangle for one in mates for triangle in self._of[one] | self._beside(one)})

    def _mates(self, pairs: Collection[Pair]) -> set[Pair]:
        """The pairs, and those that share a triangle with one of them."""
        return set(pairs) | {
            mate for pair in pairs for triangle in self._of.get(pair, ()) for mate in triangle.pairs
        }

    def _near(self, found: set[Triangle]) -> set[Triangle]:
        return {other for triangle in found for pair in triangle.pairs for other in self._of[pair]}

    def _beside(self, pair: Pair) -> set[Triangle]:
        """Triangles that share a pair with its own, or with such a one: a second fault may hide in between."""
        return self._near(self._near(self._of[pair])) - self._of[pair]

    def _needed_by(self, pair: Pair) -> Cycles:
        """The cycles too many in this pair that its own triangles agree on; 0 where they do not."""
        needed: Cycles | None = None
        for triangle in self.of(pair):
            whole, known = self._closure(triangle)
            cycles = (triangle.sign(pair) * whole).astype(np.int16)
            if needed is None:
                needed, seen, agrees = cycles, known, np.ones(known.shape, np.bool_)
                continue
            agrees = agrees & (~known | ~seen | (cycles == needed))
            needed, seen = np.where(seen, needed, cycles), seen | known
        if needed is None:
            raise ValueError(f"no triangle has pair {pair}")
        return np.where(agrees, needed, 0).astype(np.int16)

    def _unique(self, pair: Pair) -> Cycles:
        fault = self._needed(pair)
        for triangle in self._beside(pair):
            fault = np.where(self._closure(triangle)[0] == 0, fault, 0)
        for rival in self._mates({pair}) - {pair}:
            # It explains as much if it lies in all of the pair's triangles that are known; others are silent by now.
            shared = self._of[pair] & self._of[rival]
            as_much = self._needed(rival) != 0
            for triangle in self._of[pair] - shared:
                as_much = as_much & ~self._closure(triangle)[1]
            fault = np.where(as_much, 0, fault)
        return fault.astype(np.int16)


@dataclass(frozen=True)
class Treatment:
    """What is done to an interferogram; both have the grid's shape.

    Attributes
    ----------
    cycles
        Whole cycles that are taken away.
    masked
        Where its phase is left out.
    ambiguous
        Where it may be at fault, or one of its triangles contradicts itself by nobody's name, and nothing is done.
    """

    cycles: Cycles
    masked: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]

    @property
    def repaired(self) -> NDArray[np.bool_]:
        return self.cycles != 0

    @property
    def changes(self) -> bool:
        return bool(self.masked.any() or self.repaired.any())

    @property
    def sha256(self) -> str:
        """Names what is changed, not how it came to it."""
        where = np.flatnonzero(self.masked | self.repaired)
        what = np.where(self.masked, 0, self.cycles).ravel()[where]
        return content_sha256([where.tolist(), what.tolist()])

    def apply(self, phase_rad: NDArray[np.float32]) -> NDArray[np.float32]:
        """The treated phase: cycles taken away, NaN where it is left out."""
        mended = phase_rad - np.float32(CYCLE_RAD) * self.cycles.astype(np.float32)
        return np.where(self.masked, np.float32(np.nan), mended).astype(np.float32)

    def as_json(self) -> dict[str, int]:
        return {
            "masked": int(self.masked.sum()),
            "repaired": int(self.repaired.sum()),
            "ambiguous": int(self.ambiguous.sum()),
        }


def decide(
    attribution: Attribution,
    pair: Pair,
    rule: Literal["mask", "repair"],
    least_pixels: int,
    where: NDArray[np.bool_] | None = None,
) -> Treatment | None:
    """What is to be done to an interferogram; None if it lies in no triangle, so that nothing contradicts it.

    Parameters
    ----------
    rule
        ``mask`` leaves its phase out where it may be at fault and can be spared; ``repair`` takes the cycles away where
        two triangles and a region agree, and masks the rest.
    least_pixels
        A region (pixels that touch by their sides, the same cycles) that is smaller is masked.
    where
        Pixels at which anything is done, shape of the grid; None is all. Elsewhere it is only told.
    """
    if not attribution.of(pair):
        return None
    fault = attribution.at_fault(pair)
    repaired, here = np.zeros(fault.shape, np.bool_), np.True_ if where is None else where
    if rule == "repair":
        repaired = _regions(np.where(attribution.witnesses(pair) >= REPAIR_WITNESSES, fault, 0), least_pixels)
        repaired &= here
    named, suspect = (fault != 0) & ~repaired, attribution.suspect(pair)
    masked = here & (named & attribution.spare(pair) | suspect & attribution.lags(pair))
    return Treatment(
        np.where(repaired, fault, 0).astype(np.int16),
        masked,
        (named | suspect | attribution.ambiguous(pair)) & ~masked,
    )


def decision_key(
    attribution: Attribution,
    pair: Pair,
    ids: Mapping[Pair, str],
    rule: str,
    least_pixels: int,
    reference: tuple[int, int],
    areas: Sequence[str] = (),
) -> str:
    """Names everything that a decision depends on: as long as it stays, so does the decision."""
    triangles_by_ids = [[ids[one] for one in triangle.pairs] for triangle in attribution.depends_on(pair)]
    least = least_pixels if rule == "repair" else 0
    return opaque_id("decision", RULE, rule, least, list(reference), list(areas), ids[pair], triangles_by_ids)


def _regions(fault: Cycles, least_pixels: int) -> NDArray[np.bool_]:
    large = np.zeros(fault.shape, np.bool_)
    for cycles in np.unique(fault[fault != 0]):
        regions, _ = label(fault == cycles)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        large |= sizes[regions] >= least_pixels
    return large
