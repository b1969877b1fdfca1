"""An incremental track in memory: the least that is needed to keep a solution up to date, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.network import InversionSettings, Network
from sagwatch.engine.solve import Observations, Solution, solve
from sagwatch.engine.update import still_holds
from sagwatch.engine.window import Checkpoint, Effort, Renewed, Taken, WindowSolution, solve_from

Pair = tuple[int, int]


@dataclass
class MemoryTrack:
    """Pairs are named by their two days; ``phase`` and ``coherence`` hold what each says of the pixels."""

    settings: InversionSettings
    effort: Effort
    phase: dict[Pair, NDArray[np.float32]]
    coherence: dict[Pair, NDArray[np.float32]]
    reference: dict[Pair, float]
    present: frozenset[Pair] = frozenset()
    days: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    los_m: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    counts: NDArray[np.uint16] = field(default_factory=lambda: np.zeros((0, 0), np.uint16))
    checkpoints: dict[int, Checkpoint] = field(default_factory=dict)
    stale: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    last: Renewed | None = None
    quality: WindowSolution | None = None

    def observations(self, pairs: frozenset[Pair]) -> Observations:
        ordered = sorted(pairs)
        days = np.array(sorted({day for pair in ordered for day in pair}))
        index = {int(day): i for i, day in enumerate(days)}
        network = Network(
            days - days[0],
            np.array([index[a] for a, _ in ordered]),
            np.array([index[b] for _, b in ordered]),
        )
        return Observations(
            network,
            np.array([self.phase[pair] for pair in ordered]),
            np.array([self.coherence[pair] for pair in ordered]),
            np.array([self.reference[pair] for pair in ordered], np.float32),
        )

    def batch(self, pairs: frozenset[Pair]) -> Solution:
        return solve(self.observations(pairs), self.settings, threads=1, float_type=np.float64)

    def from_scratch(self, pairs: frozenset[Pair]) -> WindowSolution:
        """Everything that an update gives, without taking up anything."""
        alone = MemoryTrack(self.settings, self.effort, self.phase, self.coherence, self.reference)
        return alone.update(pairs).newest

    def update(self, pairs: frozenset[Pair], replaced: frozenset[Pair] = frozenset()) -> Renewed:
        """Go from the present pairs to those; ``replaced`` are present, but say something else than before."""
        seen = self.observations(pairs)
        changed = min((a for a, _ in (pairs ^ self.present) | replaced), default=10**9)
        days = np.array(sorted({day for pair in pairs for day in pair}))
        before, after = self.days.tolist(), days.tolist()
        holds = [
            epoch
            for epoch, checkpoint in sorted(self.checkpoints.items())
            if still_holds(epoch, checkpoint.reach, before, after, changed)
        ]
        taken = [
            Taken(epoch, lambda epoch=epoch: self.checkpoints[epoch], np.flatnonzero(self.stale[epoch]))
            for epoch in holds
        ]
        n_pixels = seen.phase_rad.shape[1]

        def source(first_pair, pixels):
            part = slice(None) if pixels is None else pixels
            return (
                np.ascontiguousarray(seen.phase_rad[first_pair:, part]),
                np.ascontiguousarray(seen.coherence[first_pair:, part]),
            )

        renewed = solve_from(
            seen.network,
            seen.reference_phase_rad,
            source,
            taken,
            self.settings,
            self.effort,
            n_pixels,
            np.float64,
        )
        self._take_over(renewed, days, n_pixels, holds)
        self.present = pairs
        return renewed

    def _take_over(self, renewed: Renewed, days, n_pixels: int, holds: list[int]) -> None:
        los_m, counts = np.full((days.size, n_pixels), np.nan), np.zeros((days.size, n_pixels), np.uint16)
        newest = renewed.newest
        if newest.first:
            los_m[: newest.first], counts[: newest.first] = (
                self.los_m[: newest.first],
                self.counts[: newest.first],
            )
        los_m[newest.first :], counts[newest.first :] = newest.los_m, newest.pairs_per_epoch
        kept = {epoch: self.checkpoints[epoch] for epoch in holds}
        kept |= {checkpoint.epoch: checkpoint for checkpoint in newest.checkpoints}
        self.last, self.quality = renewed, newest
        known = self.stale
        self.stale = {epoch: np.zeros(n_pixels, np.bool_) for epoch in kept}
        self.stale |= {epoch: known[epoch] for epoch in holds}
        tolerance_m = self.effort.tolerance_mm / 1000
        for pixels, solution in renewed.older:
            old = los_m[solution.first : newest.first, pixels]
            fresh = solution.los_m[: newest.first - solution.first]
            differs = ~((np.abs(old - fresh) <= tolerance_m) | (np.isnan(old) & np.isnan(fresh)))
            los_m[solution.first :, pixels] = solution.los_m
            counts[solution.first :, pixels] = solution.pairs_per_epoch
            for epoch in holds:
                news = np.any(differs[: max(epoch - solution.first, 0)], axis=0)
                self.stale[epoch][pixels[news]] = True
        self.days, self.los_m, self.counts, self.checkpoints = days, los_m, counts, kept
