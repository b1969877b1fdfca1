"""Random histories of a track, for property tests: a network, what is missing of it, and the order it arrives in.

A `History` says everything: the same one always makes the same arrays, so a failing example is its own report.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from sagwatch.engine.network import InversionSettings
from sagwatch.engine.weights import Weight
from sagwatch.engine.window import Effort
from tests.engine.memory_track import MemoryTrack, Pair

WAVELENGTH_M = 0.05546576
N_PIXELS = 64
MOST_PAIRS = 450

#: How far apart acquisitions are, days.
CALENDARS = {
    "every 12 days": (12,),
    "every 6 days": (6,),
    "some are missing": (12, 12, 12, 24, 36),
    "any": tuple(range(1, 60)),
    "a long silence now and then": (*(12,) * 15, 250),
}


@dataclass(frozen=True)
class Move:
    """One change of the set of interferograms; ``count`` acquisitions or interferograms."""

    kind: str
    count: int


@dataclass(frozen=True)
class History:
    """What happens to a track.

    Attributes
    ----------
    longest_days
        No pair is longer.
    kept
        Share of the possible pairs that are ordered; a pair of neighbours in time always is.
    missing
        Share of observations that are not there, without pattern.
    patterns
        What is missing by rule in some of the pixels, see `holes`.
    first_fill
        Share of the epochs that the first solution knows.
    """

    seed: int
    n_epochs: int
    calendar: str
    longest_days: int
    kept: float
    missing: float
    patterns: tuple[str, ...]
    weight: Weight
    coherence_threshold: float | None
    min_redundancy: float
    block_epochs: int
    settling_pairs: float
    tolerance_mm: float
    first_fill: float
    moves: tuple[Move, ...]

    def __post_init__(self) -> None:
        assert self.calendar in CALENDARS

    @property
    def settings(self) -> InversionSettings:
        return InversionSettings(WAVELENGTH_M, 41, self.weight, self.min_redundancy, self.coherence_threshold)

    @property
    def effort(self) -> Effort:
        return Effort(
            self.tolerance_mm, 5 * self.tolerance_mm, self.block_epochs, self.settling_pairs, threads=1
        )


MOVES = st.builds(
    Move, st.sampled_from(("acquire", "acquire", "acquire", "late", "withdraw", "replace")), st.integers(1, 6)
)
HISTORIES = st.builds(
    History,
    seed=st.integers(0, 2**31 - 1),
    n_epochs=st.integers(4, 60),
    calendar=st.sampled_from(sorted(CALENDARS)),
    longest_days=st.sampled_from((12, 24, 36, 60, 120, 240, 360)),
    kept=st.sampled_from((0.1, 0.4, 0.8, 1.0)),
    missing=st.sampled_from((0.0, 0.02, 0.1, 0.3, 0.6)),
    patterns=st.lists(
        st.sampled_from(("torn", "silent", "interlocked", "begins late", "ends early", "spring")),
        max_size=3,
    ).map(tuple),
    weight=st.sampled_from(Weight),
    coherence_threshold=st.sampled_from((None, None, 0.4)),
    min_redundancy=st.sampled_from((1.0, 2.0)),
    block_epochs=st.integers(2, 16),
    settling_pairs=st.sampled_from((0.5, 2.0, 4.0, 7.0)),
    tolerance_mm=st.sampled_from((1e-4, 1e-4, 1e-2)),
    first_fill=st.sampled_from((0.1, 0.5, 0.8)),
    moves=st.lists(MOVES, min_size=1, max_size=15).map(tuple),
)


def invent(history: History) -> tuple[MemoryTrack, tuple[Pair, ...]]:
    """A track that knows nothing yet, and all its pairs."""
    rng = np.random.default_rng(history.seed)
    days = np.cumsum(rng.choice(CALENDARS[history.calendar], history.n_epochs))
    pairs = _pairs(history, days, rng)
    gone = holes(history, days, pairs, rng)
    phase, coherence, reference = {}, {}, {}
    for pair, hole in zip(pairs, gone, strict=True):
        phase[pair], coherence[pair] = _layers(rng)
        nothing = np.where(rng.random(N_PIXELS) < 0.5, 0.0, np.nan).astype(np.float32)
        phase[pair] = np.where(hole, nothing, phase[pair])
        reference[pair] = float(np.float32(rng.normal(0, 3)))
    return MemoryTrack(history.settings, history.effort, phase, coherence, reference), tuple(pairs)


def _layers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    coherence = rng.uniform(0.0, 1.0, N_PIXELS).astype(np.float32)
    coherence[rng.random(N_PIXELS) < 0.02] = np.nan
    return rng.normal(0, 4, N_PIXELS).astype(np.float32), coherence


def _pairs(history: History, days: np.ndarray, rng: np.random.Generator) -> list[Pair]:
    numbers = [int(day) for day in days]
    possible = [(a, b) for i, a in enumerate(numbers) for b in numbers[i + 1 :]]
    short = [pair for pair in possible if pair[1] - pair[0] <= history.longest_days]
    kept = min(history.kept, MOST_PAIRS / max(len(short), 1))
    neighbours = set(pairwise(numbers))
    return [pair for pair in short if pair in neighbours or rng.random() < kept] or [possible[0]]


def holes(history: History, days: np.ndarray, pairs: list[Pair], rng: np.random.Generator) -> np.ndarray:
    """Which observations are not there, (pairs, pixels); each pattern strikes a random half of the pixels."""
    a, b = np.array(pairs).T[:, :, None]
    number = {int(day): i for i, day in enumerate(days)}
    parity = np.array([(number[x] + number[y]) % 2 for x, y in pairs])[:, None] > 0
    gone = rng.random((len(pairs), N_PIXELS)) < rng.uniform(0, 2 * history.missing, N_PIXELS)
    for pattern in history.patterns:
        struck = rng.random(N_PIXELS) < 0.5
        when = rng.choice(days, N_PIXELS)
        if pattern == "torn":
            new = (a <= when) & (b > when)
        elif pattern == "silent":
            length = rng.integers(12, 200, N_PIXELS)
            new = ((a >= when) & (a <= when + length)) | ((b >= when) & (b <= when + length))
        elif pattern == "interlocked":
            until = when + rng.integers(30, 300, N_PIXELS)
            new = parity & (b >= when) & (a <= until)
        elif pattern == "begins late":
            new = a < when
        elif pattern == "ends early":
            new = b > when
        else:  # an epoch, or two, that no pair with another one touches hang on springs
            other = days[np.minimum(np.searchsorted(days, when) + 1, days.size - 1)]
            inside = ((a == when) | (a == other)).astype(int) + ((b == when) | (b == other))
            new = inside == 1
        gone |= new & struck
    return gone


def steps(history: History, track: MemoryTrack, pairs: tuple[Pair, ...]):
    """The sets of pairs that the track goes through, each with those whose content was replaced."""
    rng = np.random.default_rng((history.seed, 1))
    days = sorted({day for pair in pairs for day in pair})
    newest = max(2, round(history.first_fill * len(days)))
    present = {pair for pair in pairs if pair[1] <= days[newest - 1]} or {pairs[0]}
    held_back: set[Pair] = set()
    yield frozenset(present), frozenset()
    for move in history.moves:
        replaced: set[Pair] = set()
        if move.kind == "acquire":
            newest = min(newest + move.count, len(days))
            fresh = {pair for pair in pairs if pair[1] <= days[newest - 1]} - present - held_back
            back = {pair for pair in sorted(fresh) if rng.random() < 0.15}
            held_back |= back
            present |= fresh - back
        elif move.kind == "late":
            late = _some(rng, held_back, move.count)
            held_back -= late
            present |= late
        elif move.kind == "withdraw":
            withdrawn = _some(rng, present, min(move.count, len(present) - 1))
            held_back |= withdrawn
            present -= withdrawn
        else:
            replaced = _some(rng, present, move.count)
            for pair in sorted(replaced):
                seen = np.isfinite(track.phase[pair]) & (track.phase[pair] != 0)
                again, track.coherence[pair] = _layers(rng)
                track.phase[pair] = np.where(seen, again, np.float32(0))
        yield frozenset(present), frozenset(replaced)


def _some(rng: np.random.Generator, of: set[Pair], count: int) -> set[Pair]:
    ordered = sorted(of)
    return {ordered[i] for i in rng.permutation(len(ordered))[:count]}
