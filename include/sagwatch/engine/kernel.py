"""The compiled heart of the solver: the weighted small-baseline solution of one tile of pixels after another.

The unknowns are the positions of the epochs, and a pair is a link between two of them whose conductance is its weight:
the normal matrix of the weighted least squares is the Laplacian of a mesh. Epochs are eliminated in time order. That
replaces the links of an epoch by links between its neighbours (star to mesh), which is Gaussian elimination without any
subtraction (Grassmann, Taksar and Heyman, 1985): conductances are sums of products of positive numbers, so they are
exact to rounding, one by one, and exactly 0 where nothing connects. An epoch without a link left is the last one of its
part of the network, so torn networks are recognised by counting, never by rounding; the part is held there, and moved
when all of it is known.

The pairs are added in order of their earlier epoch, just before it is eliminated. So everything that the pairs with an
earlier epoch before s say about the epochs from s on is a small block of the mesh at s. With a few sums it makes a
*checkpoint* (`sagwatch.engine.window`), and the solution can be taken up again there. A batch is a solution that begins
at epoch 0; an update begins at a late checkpoint; both are the same code and come to the same block, bit for bit.

**What taking up at a checkpoint leaves out, and its bound.** The positions before s stay as they were when the
checkpoint was made. Call K the epochs after s that pairs with an earlier epoch before s touch ("the rim", with s
itself). The exact new solution solves, for each epoch i before s, sum_n w_in (p_i - p_n - y_in) = 0 over its
neighbours n, with the same weights and phases as before. Subtract the two solutions: the change of p_i is a weighted
mean of the changes of its neighbours. A weighted mean lies between the least and the greatest; so, as for the
temperature in a plate, the greatest and the least change of a part that touches the rim are found on the rim. A part
that does not touch it has no change within itself, and the rule of smallest velocities places it between its neighbours
in time by springs of stiffness 1/dt^2: its change is again a weighted mean of theirs. Hence every change before s, and
the difference of any two of them, is at most the *spread*, the greatest minus the least change on the rim. The spread
is computed for each pixel. Where it is above the tolerance the pixel is handed back (``needs_older``), and the
solution is taken up at an older checkpoint; at epoch 0 nothing is left out. What was left out adds up from
checkpoint to checkpoint (``drift``) and is bounded in the same way.

This needs that one part at most has epochs on both sides of s; otherwise the smallest velocities on both sides depend
on each other, and the pixel is handed back too. Epoch s may belong to another part that ends with it, and did so
when the checkpoint was made, if the next epoch is of the part that goes on: then the part of s stays where it is, and
the next epoch counts as one of the rim. A hole in a network, a step that no pair crosses, is 0: both epochs move
together. An epoch without a pair that pairs pass over is placed between its neighbours in closed form. If parts
interlock otherwise, `_move_parts` lets them move against each other until the velocity norm is smallest: the answer of
MintPy's singular value decomposition.

Everything is float64 inside; phases, coherences and displacements are float32 outside. Tiles are independent and
every sum has one fixed order, so the answer does not depend on how many threads share the tiles. All of it is one file,
because numba compiles a cached function anew when its own file changes, not when a file does that it calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Pixels are solved so many at a time: fewer wait more often for memory far apart, more need more of a core's caches.
TILE_PIXELS = 512
# Rows of the working space that lie a power of two apart would compete for the same few places of a cache.
_PADDING = 16
WEIGHT_VARIANCE, WEIGHT_FISHER, WEIGHT_COHERENCE, WEIGHT_NONE = range(4)

# Rows of a checkpoint's float64 array; the rows of the mesh follow from BLOCK on. REAL lacks 1 for each observation.
BASE, REAL, IMAGINARY, SUM_D, SUM_TD, SUM_DD, SUM_LAG, SUM_CROSS, COHERENCE, DRIFT, BLOCK = range(11)
# Rows of its uint16 array. FIRST_SEEN is 1 for the first epoch of the record, 0 if no pair has seen the pixel; LEADS_ON
# is 1 if a pair begins at the checkpoint's epoch. Pairs per epoch of the rim and its labels follow from RIM on.
N_OBSERVATIONS, N_COHERENCE, CLOSED_PARTS, MEETS, FIRST_SEEN, LEADS_ON, RIM = range(7)
# Rows of the line through the whole record.
VELOCITY, VELOCITY_STD, INTERCEPT, INTERCEPT_STD, RESIDUE, CORRELATION = range(6)
LINE_ROWS = 6
# Pairs per epoch are stored as bytes: more than these are told from each other by nobody.
MOST_PAIRS = 255

_LOWEST_COHERENCE = np.float32(0.05)
# MintPy divides by bins of 0.005; for every float32 coherence this product falls into the same bin (tested).
_LOWEST_BIN, _HIGHEST_BIN, _BINS_PER_UNIT = 0.0025, 0.9975, 200.0
_UNSEEN_BIN = 200
_HIGHEST_FISHER = 1.0 - 1e-3
_TURNS_PER_RADIAN = 0.5 / np.pi
# (-1)^k / (2 k)! and (-1)^k / (2 k + 1)!
_C0, _C1, _C2, _C3 = np.float32(1), np.float32(-1 / 2), np.float32(1 / 24), np.float32(-1 / 720)
_C4, _C5, _C6 = np.float32(1 / 40320), np.float32(-1 / 3628800), np.float32(1 / 479001600)
_S1, _S2, _S3 = np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040)
_S4, _S5 = np.float32(1 / 362880), np.float32(-1 / 39916800)


# Functions that are a few loops over the pixels of a tile become part of their callers, and count no references to
# arrays: to hand over some twenty arrays, and to count, costs as much as the loops. They cannot make arrays.
_LOOPS: dict[str, Any] = {"cache": True, "nogil": True, "forceinline": True, "_nrt": False}


class Window(NamedTuple):
    """Which epochs and pairs are solved; epochs are numbered from the checkpoint on.

    ``earlier`` rises. ``first_pair[j]`` is the first pair whose earlier epoch is j or later. ``years`` are MintPy's
    since the record began, ``steps_year`` true ones between neighbours. ``n_before`` epochs lie before the window.
    ``emit`` are the epochs at which a checkpoint is made, ``emit_reach`` how far the rim of each reaches.
    """

    earlier: NDArray[np.int64]
    later: NDArray[np.int64]
    first_pair: NDArray[np.int64]
    steps_year: NDArray[np.float64]
    years: NDArray[np.float64]
    bandwidth: int
    n_before: int
    reach: int
    emit: NDArray[np.int64]
    emit_reach: NDArray[np.int64]


class Rules(NamedTuple):
    """How it is solved; ``coherence_floor`` below 0 masks nothing. ``tolerance_m`` and ``budget_m`` bound what may be
    left out. Without ``keeps_sums`` mean coherence and lines stay unknown, and no checkpoint can be made."""

    kind: int
    looks: int
    table: NDArray[np.float32]
    coherence_floor: np.float32
    least_pairs: float
    metres_per_radian: float
    tolerance_m: float
    budget_m: float
    keeps_sums: bool


class LineTimes(NamedTuple):
    """Sums over the times t of all epochs: number, mean, sum of (t - mean)^2, of t_i + t_(i-1), of t_i t_(i-1)."""

    n: int
    mean: float
    spread: float
    pair_sum: float
    pair_product: float


class Given(NamedTuple):
    """Phase and coherence (n_pairs, n_pixels), the reference's phase (n_pairs,), and the checkpoint's two arrays."""

    phase: NDArray[np.float32]
    coherence: NDArray[np.float32]
    reference: NDArray[np.float32]
    floats: NDArray[np.float64]
    counts: NDArray[np.uint16]


class Result(NamedTuple):
    """What is filled in: by epoch and pixel, by pixel, and by checkpoint, row and pixel."""

    los_m: NDArray[np.floating]
    pairs_per_epoch: NDArray[np.uint8]
    temporal_coherence: NDArray[np.float32]
    mean_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    parts: NDArray[np.uint16]
    redundant: NDArray[np.bool_]
    line: NDArray[np.float32]
    left_out_m: NDArray[np.float64]
    needs_older: NDArray[np.bool_]
    floats: NDArray[np.float64]
    counts: NDArray[np.uint16]


class Tile(NamedTuple):
    """Working space of one thread; the last axis is the pixel within the tile.

    ``y`` is 0 where a pair has not seen the pixel. ``w`` and ``bins`` are those of one pair. ``quality`` is the sum of
    the coherences so far, and how many are no number. ``mesh[j, d]`` is the conductance between the epochs j and
    j + d + 1; once j is eliminated, the share of the later one in the position of j. ``position`` is the right-hand
    side at first. ``ends`` counts the parts that end; ``lonely`` lists epoch and pixel where pairs pass over an epoch
    without a pair, by rising epoch; ``interlocked`` pixels have other parts that pairs of another part pass over.
    """

    y: NDArray[np.float32]
    w: NDArray[np.float32]
    bins: NDArray[np.uint32]
    table: NDArray[np.float32]
    quality: NDArray[np.float64]
    mesh: NDArray[np.float64]
    position: NDArray[np.float64]
    touched: NDArray[np.float32]
    wave: NDArray[np.float32]
    inverse: NDArray[np.float64]
    ends: NDArray[np.float64]
    lonely: NDArray[np.int32]
    n_lonely: NDArray[np.int64]
    interlocked: NDArray[np.bool_]
    open: NDArray[np.bool_]
    held: NDArray[np.bool_]


def float_rows(reach: int) -> int:
    """Rows of a checkpoint's float64 array whose rim reaches so many epochs."""
    return _frozen_row(reach) + reach


@njit(cache=True, nogil=True, inline="always")
def _frozen_row(reach):
    """From here on a checkpoint knows where the epochs of its rim were, from its own epoch on."""
    return BLOCK + reach * (reach + 1) // 2 + reach + 1


def count_rows(reach: int) -> int:
    """Rows of a checkpoint's uint16 array."""
    return RIM + 2 * (reach + 1)


@njit(cache=True, nogil=True)
def solve_range(first, last, window, rules, times, given, result):
    """Solve the pixels ``first`` to ``last`` (exclusive) tile by tile; fill in their columns of ``result``."""
    n_pairs, n_epochs, size = given.phase.shape[0], window.years.shape[0], TILE_PIXELS + _PADDING
    table = np.zeros(_UNSEEN_BIN + 1, np.float32)
    table[:_UNSEEN_BIN] = rules.table
    flags = np.empty((3, size), np.bool_)
    tile = Tile(
        np.empty((n_pairs, size), np.float32),
        np.empty(size, np.float32),
        np.empty(size, np.uint32),
        table,
        np.empty((2, size)),
        np.empty((n_epochs, window.bandwidth, size)),
        np.empty((n_epochs, size)),
        np.empty((n_epochs, size), np.float32),
        np.empty((3, size), np.float32),
        np.empty(size),
        np.empty(size),
        np.empty((n_epochs * size, 2), np.int32),
        np.zeros(1, np.int64),
        flags[0],
        flags[1],
        flags[2],
    )
    for start in range(first, last, TILE_PIXELS):
        _solve_tile(start, min(TILE_PIXELS, last - start), window, rules, times, given, tile, result)


@njit(cache=True, nogil=True)
def _solve_tile(start, width, window, rules, times, given, tile, result):
    _begin(start, width, window, given, tile)
    _eliminate(start, width, window, rules, given, tile, result)
    _substitute(start, width, given, tile)
    for t in range(width):
        result.parts[start + t] = given.counts[CLOSED_PARTS, start + t] + np.int64(tile.ends[t])
        if tile.interlocked[t]:
            _move_parts(start, t, window, given, tile)
    _place_lonely_epochs(window, tile)
    _finish(start, width, window, rules, times, given, tile, result)


@njit(cache=True, nogil=True)
def _place_lonely_epochs(window, tile):
    """Put epochs without a pair where the smallest velocities put them: each step in proportion to its time squared.

    Between two epochs that are seen, sum (step / dt)^2 is smallest for a given sum of steps if step / dt^2 is one
    number (its Lagrange multiplier).
    """
    for k in range(tile.n_lonely[0]):
        m, t = tile.lonely[k]
        after, squares = m, window.steps_year[m - 1] ** 2
        while after == m or tile.touched[after, t] == np.float32(0.0):
            squares += window.steps_year[after] ** 2
            after += 1
        before = tile.position[m - 1, t]
        share = window.steps_year[m - 1] ** 2 / squares
        tile.position[m, t] = before + share * (tile.position[after, t] - before)


@njit(**_LOOPS)
def _load_pair(start, width, i, rules, given, tile):
    """Reference the phases of a pair, weigh them, and add its coherences to their sum if that is kept."""
    phase, coherence = given.phase[i, start : start + width], given.coherence[i, start : start + width]
    _refer(phase, coherence, given.reference[i], rules, tile.y[i], tile.w)
    _weigh(width, rules, tile.table, tile.bins, tile.w)
    if rules.keeps_sums:
        _add_coherence(coherence, tile.quality[0], tile.quality[1])


@njit(**_LOOPS)
def _add_coherence(coherence, total, unknown):
    """MintPy's average leaves out what is no number; that is rare, and counted only where there is any."""
    endless = np.float32(np.inf)
    n_unknown = 0
    for t in range(coherence.shape[0]):
        finite = abs(coherence[t]) < endless
        total[t] += np.float64(coherence[t]) if finite else 0.0
        n_unknown += 0 if finite else 1
    if n_unknown > 0:
        for t in range(coherence.shape[0]):
            unknown[t] += 0.0 if abs(coherence[t]) < endless else 1.0


@njit(**_LOOPS)
def _refer(phase, coherence, reference, rules, y, w):
    """Referenced phase, 0 where nothing is seen; coherence in place of the weight."""
    zero, endless = np.float32(0.0), np.float32(np.inf)
    for t in range(phase.shape[0]):
        u = phase[t]
        c = coherence[t] if abs(coherence[t]) < endless else zero
        value = u - reference
        # MintPy takes an exact zero, before or after referencing, for "no data".
        seen = (abs(u) < endless) & (u != zero) & (value != zero) & (c >= rules.coherence_floor)
        y[t] = value if seen else zero
        w[t] = max(c, _LOWEST_COHERENCE) if seen else zero


@njit(**_LOOPS, error_model="numpy")
def _weigh(width, rules, table, bins, w):
    """Turn coherences into weights."""
    zero, unseen = np.float32(0.0), np.uint32(_UNSEEN_BIN)
    if rules.kind == WEIGHT_VARIANCE:
        # Two loops: the first one is vectorised.
        for t in range(width):
            clipped = min(np.float64(w[t]), _HIGHEST_BIN)
            number = np.uint32((max(clipped, _LOWEST_BIN) - _LOWEST_BIN) * _BINS_PER_UNIT)
            bins[t] = number if w[t] > zero else unseen
        for t in range(width):
            w[t] = table[bins[t]]
    elif rules.kind == WEIGHT_FISHER:
        for t in range(width):
            squared = min(np.float64(w[t]), _HIGHEST_FISHER) ** 2
            w[t] = np.float32(2.0 * rules.looks * squared / (1.0 - squared))
    elif rules.kind == WEIGHT_NONE:
        for t in range(width):
            w[t] = np.float32(1.0) if w[t] > zero else zero


@njit(cache=True, nogil=True)
def _begin(start, width, window, given, tile):
    """Lay the checkpoint's block under the epochs that it reaches."""
    tile.ends[:] = 0.0
    tile.n_lonely[0] = 0
    for t in range(width):
        tile.quality[0, t] = given.floats[COHERENCE, start + t]
        tile.quality[1, t] = 0.0
    tile.interlocked[:], tile.open[:], tile.held[:] = False, False, False
    for m in range(tile.mesh.shape[1] + 1):
        _clear(m, tile)
    for m in range(window.reach + 1):
        for t in range(width):
            tile.touched[m, t] = given.counts[RIM + m, start + t]
    row = BLOCK
    for j in range(window.reach):
        for d in range(window.reach - j):
            for t in range(width):
                tile.mesh[j, d, t] = given.floats[row, start + t]
            row += 1
    for j in range(window.reach + 1):
        for t in range(width):
            tile.position[j, t] = given.floats[row + j, start + t]


@njit(**_LOOPS)
def _clear(m, tile):
    """Make an epoch's rows ready; just before they are needed, while they come into the core's cache anyway."""
    if m < tile.mesh.shape[0]:
        tile.mesh[m] = 0.0
        tile.position[m] = 0.0
        tile.touched[m] = np.float32(0.0)


@njit(cache=True, nogil=True)
def _eliminate(start, width, window, rules, given, tile, result):
    """Add the pairs in time order and eliminate epoch after epoch; write down the block at each checkpoint."""
    n_epochs, bandwidth = tile.mesh.shape[0], tile.mesh.shape[1]
    emitted = 0
    for j in range(n_epochs):
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_block(start, width, window, given, tile, result, emitted)
            emitted += 1
        for i in range(window.first_pair[j], window.first_pair[j + 1]):
            _load_pair(start, width, i, rules, given, tile)
            _lay_pair(width, tile, i, j, window.later[i])
        reach = min(bandwidth, n_epochs - 1 - j)
        if _eliminate_epoch(width, tile, j, reach) > 0:
            _end_parts(width, tile, j, reach)
        _clear(j + bandwidth + 1, tile)


@njit(**_LOOPS, fastmath={"contract"})
def _lay_pair(width, tile, i, a, b):
    """Add a pair to the mesh and to the right-hand side.

    Several short loops here and below, not one: the compiler vectorises a loop only while the arrays in it are few.
    """
    y, w = tile.y[i], tile.w
    one, none = np.float32(1.0), np.float32(0.0)
    link, touched_a, touched_b = tile.mesh[a, b - a - 1], tile.touched[a], tile.touched[b]
    for t in range(width):
        link[t] += w[t]
        pairs = one if w[t] > none else none
        touched_a[t] += pairs
        touched_b[t] += pairs
    before, after = tile.position[a], tile.position[b]
    for t in range(width):
        pull = np.float64(w[t]) * np.float64(y[t])
        before[t] -= pull
        after[t] += pull


@njit(**_LOOPS, error_model="numpy", fastmath={"contract"})
def _eliminate_epoch(width, tile, j, reach):
    """Replace epoch j by links between its neighbours; return in how many pixels it has none, so that a part ends."""
    inverse, pull = tile.inverse, tile.position[j]
    for t in range(width):
        inverse[t] = 0.0
    for d in range(reach):
        link = tile.mesh[j, d]
        for t in range(width):
            inverse[t] += link[t]
    n_ended = 0
    for t in range(width):
        total = inverse[t]
        n_ended += 0 if total > 0.0 else 1
        inverse[t] = 1.0 / total if total > 0.0 else 0.0
    for d in range(reach):
        share, target = tile.mesh[j, d], tile.position[j + d + 1]
        for t in range(width):
            share[t] *= inverse[t]
            target[t] += share[t] * pull[t]
        for e in range(d + 1, reach):
            link, changed = tile.mesh[j, e], tile.mesh[j + d + 1, e - d - 1]
            for t in range(width):
                changed[t] += share[t] * link[t]
    for t in range(width):
        pull[t] *= inverse[t]
    return n_ended


@njit(**_LOOPS)
def _end_parts(width, tile, j, reach):
    """Note where epoch j is the last one of its part."""
    inverse, ends, link = tile.inverse, tile.ends, tile.mesh[j, 0]
    crossing, none = tile.wave[0], np.float32(0.0)
    crossing[:] = none
    for d in range(1, reach + 1):
        touched = tile.touched[j + d]
        for t in range(width):
            crossing[t] += touched[t]
    for t in range(width):
        ends[t] += 1.0 if inverse[t] == 0.0 else 0.0
    for t in range(width):
        crossing[t] = crossing[t] if inverse[t] == 0.0 else none
    for t in range(width):
        # No pair crosses the step to the next epoch: it is 0, and both move together.
        link[t] += 1.0 if (inverse[t] == 0.0) & (crossing[t] == none) else 0.0
    n_crossed = 0
    for t in range(width):
        n_crossed += 1 if crossing[t] > none else 0
    t = 0
    while n_crossed > 0:
        if crossing[t] > none:
            n_crossed -= 1
            if j > 0 and tile.touched[j, t] == none:
                tile.lonely[tile.n_lonely[0]] = j, t
                tile.n_lonely[0] += 1
            else:
                tile.interlocked[t] = True
        t += 1


@njit(cache=True, nogil=True, fastmath={"contract"})
def _substitute(start, width, given, tile):
    """From the last epoch back to the first; then begin with the position of the checkpoint."""
    n_epochs, bandwidth = tile.mesh.shape[0], tile.mesh.shape[1]
    for j in range(n_epochs - 2, -1, -1):
        position = tile.position[j]
        for d in range(min(bandwidth, n_epochs - 1 - j)):
            share, known = tile.mesh[j, d], tile.position[j + d + 1]
            for t in range(width):
                position[t] += share[t] * known[t]
    origin, base = tile.inverse, given.floats[BASE, start : start + width]
    origin[:] = tile.position[0]
    for m in range(n_epochs):
        position = tile.position[m]
        for t in range(width):
            position[t] = (position[t] - origin[t]) + base[t]


@njit(cache=True, nogil=True)
def _emit_block(start, width, window, given, tile, result, number):
    """Write down what the pairs so far say: their coherence, the epochs from here on, and which of them they connect.

    Label 0 is an epoch that no pair so far touches; equal labels are connected by the pairs so far.
    """
    e, reach = window.emit[number], window.emit_reach[number]
    floats, counts = result.floats[number], result.counts[number]
    for t in range(width):
        floats[COHERENCE, start + t] = tile.quality[0, t]
        known = window.first_pair[e] - tile.quality[1, t]
        counts[N_COHERENCE, start + t] = given.counts[N_COHERENCE, start + t] + known
    row = BLOCK
    for j in range(reach):
        for d in range(reach - j):
            for t in range(width):
                floats[row, start + t] = tile.mesh[e + j, d, t]
            row += 1
    for j in range(reach + 1):
        for t in range(width):
            floats[row + j, start + t] = tile.position[e + j, t]
    for b in range(reach + 1):
        for t in range(width):
            counts[RIM + b, start + t] = np.uint16(tile.touched[e + b, t])
    label = np.empty(reach + 1, np.int64)
    for t in range(width):
        closed = np.int64(given.counts[CLOSED_PARTS, start + t]) + np.int64(tile.ends[t])
        counts[CLOSED_PARTS, start + t] = closed
        for b in range(reach + 1):
            label[b] = b + 1 if tile.touched[e + b, t] > np.float32(0.0) else 0
        for a in range(reach):
            for b in range(a + 1, reach + 1):
                if tile.mesh[e + a, b - a - 1, t] > 0.0 and label[a] != label[b]:
                    one, other = label[a], label[b]
                    for c in range(reach + 1):
                        label[c] = one if label[c] == other else label[c]
        for b in range(reach + 1):
            counts[RIM + reach + 1 + b, start + t] = label[b]


@njit(cache=True, nogil=True, inline="always")
def _start_label(start, t, window, given, epoch):
    """The label that the checkpoint gives to an epoch of its rim."""
    return given.counts[RIM + window.reach + 1 + epoch, start + t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _finish(start, width, window, rules, times, given, tile, result):
    """Quality, counts, sums and lines of a tile whose positions are known; the sums at each checkpoint."""
    n_epochs = window.years.shape[0]
    sums = np.empty((BLOCK, width))
    numbers = np.zeros((RIM, width), np.float32)
    for row in range(BLOCK):
        for t in range(width):
            sums[row, t] = given.floats[row, start + t]
    for row in range(RIM):
        for t in range(width):
            numbers[row, t] = given.counts[row, start + t]
    _measure_change(start, width, window, rules, given, tile, result)
    emitted = 0
    for j in range(n_epochs):
        if j > 0:
            if rules.keeps_sums:
                _add_epoch(width, window, tile, sums, j)
            # The first epoch of the record is exempt from MintPy's redundancy test.
            if j - 1 + window.n_before > 0:
                _test_redundancy(width, tile.touched[j - 1], rules, numbers[MEETS])
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_sums(start, width, window, given, tile, result, emitted, sums, numbers)
            emitted += 1
        if window.first_pair[j] < window.first_pair[j + 1]:
            _add_pairs(width, window, tile, sums, numbers, j)
    if n_epochs - 1 + window.n_before > 0:
        _test_redundancy(width, tile.touched[n_epochs - 1], rules, numbers[MEETS])
    _write(start, width, window, rules, times, given, tile, result, sums, numbers)


@njit(**_LOOPS)
def _test_redundancy(width, pairs, rules, meets):
    """A pixel fails for good if one epoch has fewer pairs than MintPy asks for."""
    least, fails = np.float32(rules.least_pairs), np.float32(0.0)
    for t in range(width):
        meets[t] = meets[t] if pairs[t] >= least else fails


@njit(**_LOOPS, fastmath={"contract"})
def _add_epoch(width, window, tile, sums, j):
    """Add an epoch to the sums from which lines are made."""
    year, year_before = window.years[j], window.years[j - 1]
    position, before = tile.position[j], tile.position[j - 1]
    first, second = sums[SUM_D], sums[SUM_TD]
    for t in range(width):
        first[t] += position[t]
        second[t] += year * position[t]
    first, second = sums[SUM_DD], sums[SUM_LAG]
    for t in range(width):
        first[t] += position[t] * position[t]
        second[t] += position[t] * before[t]
    first = sums[SUM_CROSS]
    for t in range(width):
        first[t] += position[t] * year_before + before[t] * year


@njit(**_LOOPS, fastmath={"contract"})
def _add_pairs(width, window, tile, sums, numbers, a):
    """Add the pairs that begin at an epoch to the counts and to the sum of residual phasors, unweighted.

    Temporal coherence of Pepe and Lanari (2006). With s and c, sine and cosine of half the residual, the phasor is
    1 - 2 s^2 and 2 s c; s and c are series of a quarter turn at most.
    """
    one, two, none, half = np.float32(1.0), np.float32(2.0), np.float32(0.0), np.float32(np.pi)
    angle, cosines, sines = tile.wave[0], tile.wave[1], tile.wave[2]
    cosines[:], sines[:] = none, none
    seen, before = numbers[N_OBSERVATIONS], tile.position[a]
    for i in range(window.first_pair[a], window.first_pair[a + 1]):
        y, after = tile.y[i], tile.position[window.later[i]]
        for t in range(width):
            turns = (np.float64(y[t]) - (after[t] - before[t])) * _TURNS_PER_RADIAN
            angle[t] = turns - np.floor(turns + 0.5)
        for t in range(width):
            x = angle[t] * half
            s = x * _sine_over_angle(x * x) if y[t] != none else none
            cosines[t] += s * s
            sines[t] += s * _cosine(x * x)
        for t in range(width):
            seen[t] += one if y[t] != none else none
    real, imaginary = sums[REAL], sums[IMAGINARY]
    for t in range(width):
        real[t] -= two * cosines[t]
        imaginary[t] += two * sines[t]


@njit(cache=True, nogil=True)
def _measure_change(start, width, window, rules, given, tile, result):
    """How much may have changed before the checkpoint: the spread of the changes on its rim, plus the drift so far."""
    reach = window.reach
    frozen = _frozen_row(reach)
    for t in range(width):
        least, greatest = 0.0, 0.0
        for b in range(1, reach + 1):
            # A part that ends at the checkpoint lies between its neighbours in time: the next epoch is one of them.
            if _start_label(start, t, window, given, b) > 0 or (b == 1 and tile.held[t]):
                now = tile.position[b, t] - tile.position[0, t]
                change = now - given.floats[frozen + b - 1, start + t]
                least, greatest = min(least, change), max(greatest, change)
        spread_m = (greatest - least) * abs(rules.metres_per_radian)
        left_out_m = given.floats[DRIFT, start + t] + spread_m
        result.left_out_m[start + t] = left_out_m
        beyond = spread_m > rules.tolerance_m or left_out_m > rules.budget_m
        result.needs_older[start + t] = window.n_before > 0 and (beyond or tile.open[t])


@njit(cache=True, nogil=True)
def _emit_sums(start, width, window, given, tile, result, number, sums, numbers):
    """Write down the sums of a checkpoint; its block and its coherence are there already."""
    e, reach = window.emit[number], window.emit_reach[number]
    floats, counts = result.floats[number], result.counts[number]
    frozen = _frozen_row(reach)
    for t in range(width):
        for row in range(REAL, COHERENCE):
            floats[row, start + t] = sums[row, t]
        floats[BASE, start + t] = tile.position[e, t]
        floats[DRIFT, start + t] = result.left_out_m[start + t]
        for b in range(1, reach + 1):
            floats[frozen + b - 1, start + t] = tile.position[e + b, t] - tile.position[e, t]
        counts[N_OBSERVATIONS, start + t] = numbers[N_OBSERVATIONS, t]
        known = numbers[N_OBSERVATIONS, t] > 0.0
        counts[FIRST_SEEN, start + t] = _first_seen(start, t, window, given, tile) if known else 0
        counts[LEADS_ON, start + t] = 0
        counts[MEETS, start + t] = numbers[MEETS, t]
    for i in range(window.first_pair[e], window.first_pair[e + 1]):
        for t in range(width):
            counts[LEADS_ON, start + t] |= tile.y[i, t] != 0.0


@njit(cache=True, nogil=True, inline="always")
def _first_seen(start, t, window, given, tile):
    """The first epoch that a pair so far touches, counted from 1; 0 if there is none."""
    first = np.int64(given.counts[FIRST_SEEN, start + t])
    m = 0
    while first == 0 and m < window.years.shape[0]:
        if tile.touched[m, t] > np.float32(0.0):
            first = window.n_before + m + 1
        m += 1
    return first


@njit(cache=True, nogil=True)
def _write(start, width, window, rules, times, given, tile, result, sums, numbers):
    """Fill in the result."""
    unknown, most = np.nan, np.float32(MOST_PAIRS)
    seen, scale = numbers[N_OBSERVATIONS], rules.metres_per_radian
    for m in range(window.years.shape[0]):
        los_m, position = result.los_m[m, start : start + width], tile.position[m]
        for t in range(width):
            # Adding 0 turns -0 into 0.
            los_m[t] = position[t] * scale + 0.0 if seen[t] > 0.0 else unknown
        counts, pairs = result.pairs_per_epoch[m, start : start + width], tile.touched[m]
        for t in range(width):
            counts[t] = np.uint8(np.int32(min(pairs[t], most)))
    n_pairs = window.earlier.shape[0]
    for t in range(width):
        n = numbers[N_OBSERVATIONS, t]
        n_coherence = numbers[N_COHERENCE, t] + n_pairs - tile.quality[1, t]
        length = np.sqrt((n + sums[REAL, t]) ** 2 + sums[IMAGINARY, t] ** 2)
        result.temporal_coherence[start + t] = length / n if n > 0.0 else unknown
        known = rules.keeps_sums and n_coherence > 0.0
        result.mean_coherence[start + t] = tile.quality[0, t] / n_coherence if known else unknown
        result.n_observations[start + t] = n
        result.redundant[start + t] = n > 0.0 and numbers[MEETS, t] > 0.0
        if n == 0.0:
            result.parts[start + t] = window.n_before + window.years.shape[0]
        elif given.counts[FIRST_SEEN, start + t] == 0:
            first = _first_seen(start, t, window, given, tile) - 1 - window.n_before
            # MintPy lets the first date of the record be without a pair: it is 0 by definition.
            for m in range(first if first > 1 or window.n_before > 0 else 0):
                result.los_m[m, start + t] = unknown
    _draw_lines(start, width, window, rules, times, given, tile, result, sums)


@njit(cache=True, nogil=True)
def _draw_lines(start, width, window, rules, times, given, tile, result, sums):
    """The straight line through the whole record from its sums, as MintPy's ``timeseries2velocity``.

    A pixel that is not known from the beginning has none.
    """
    last = tile.position.shape[0] - 1
    scale = rules.metres_per_radian
    for t in range(width):
        first = _first_seen(start, t, window, given, tile)
        if first == 0 or first > 2 or times.n < 3 or not rules.keeps_sums:
            for row in range(LINE_ROWS):
                result.line[row, start + t] = np.nan
            continue
        total = sums[SUM_D, t]
        slope = (sums[SUM_TD, t] - times.mean * total) / times.spread
        middle = total / times.n
        intercept = middle - slope * times.mean
        squares = sums[SUM_DD, t] - times.n * middle * middle - slope * slope * times.spread
        squares = max(squares, 0.0)
        both = 2.0 * total - tile.position[last, t]
        lagged = sums[SUM_LAG, t] - intercept * both - slope * sums[SUM_CROSS, t]
        lagged += intercept * intercept * (times.n - 1)
        lagged += intercept * slope * times.pair_sum + slope * slope * times.pair_product
        noise = squares / (times.n - 2)
        size = abs(scale)
        result.line[VELOCITY, start + t] = slope * scale
        result.line[VELOCITY_STD, start + t] = size * np.sqrt(noise / times.spread)
        result.line[INTERCEPT, start + t] = intercept * scale
        result.line[INTERCEPT_STD, start + t] = size * np.sqrt(
            noise * (1.0 / times.n + times.mean * times.mean / times.spread)
        )
        result.line[RESIDUE, start + t] = size * np.sqrt(squares)
        # Below this the sum of squares is the rounding of its own terms.
        vanishes = squares <= 1e-13 * sums[SUM_DD, t]
        result.line[CORRELATION, start + t] = 0.0 if vanishes else lagged / squares


@njit(cache=True, nogil=True)
def _move_parts(start, t, window, given, tile):
    """Move the interlocking parts of one pixel against each other until the sum of squared velocities is smallest.

    Each part is solved already, with its last epoch at an arbitrary place. The shifts solve a small system: the
    graph Laplacian of the parts, where the time that leads from one part to another is a spring. An epoch without a
    pair is a part of its own too, but one that only lies between its neighbours: it is left out here and placed
    afterwards, and the steps to it and from it are springs in series. Also tells whether several parts go on before
    the checkpoint, so that this solution does not hold.
    """
    n_epochs = window.years.shape[0]
    name = np.empty(n_epochs, np.int64)
    for m in range(n_epochs - 1, -1, -1):
        name[m] = m
        for d in range(min(tile.mesh.shape[1], n_epochs - 1 - m)):
            if tile.mesh[m, d, t] > 0.0:
                name[m] = name[m + d + 1]
                break
    seen, node = np.empty(n_epochs, np.int64), np.full(n_epochs, -1)
    number, part = np.full(n_epochs, -1), np.empty(n_epochs, np.int64)
    position = np.empty(n_epochs)
    base = given.floats[BASE, start + t]
    n_seen, n_parts = 0, 0
    for m in range(n_epochs):
        # An epoch without a pair that no pair passes over moves with the next one, or is the last.
        stays = m == 0 or m == n_epochs - 1 or tile.mesh[m, 0, t] > 0.0
        if stays or tile.touched[m, t] > np.float32(0.0):
            if number[name[m]] < 0:
                number[name[m]] = n_parts
                n_parts += 1
            seen[n_seen], node[m] = m, n_seen
            part[n_seen], position[n_seen] = number[name[m]], tile.position[m, t] - base
            n_seen += 1
    part, position = part[:n_seen], position[:n_seen]
    n_free, tile.open[t] = _hold_to_checkpoint(start, t, window, given, node, part, n_parts, position)
    tile.held[t] = n_free < n_parts
    if n_free > 1:
        shift = _smallest_velocity_shifts(position, part, n_free, seen, window.steps_year)
        for k in range(n_seen):
            position[k] += shift[part[k]]
    for k in range(n_seen):
        tile.position[seen[k], t] = position[k] + base


@njit(cache=True, nogil=True)
def _hold_to_checkpoint(start, t, window, given, node, part, n_parts, position):
    """Bring the part that goes on before the checkpoint to where it was, if that is not the part of the first epoch.

    It is then at rest like the first one, so it takes its number, 0. Returns the number of parts that are left, and
    whether several go on before the checkpoint, so that this solution does not hold.
    """
    reach = window.reach
    frozen = _frozen_row(reach)
    other, moved = 0, 0.0
    several = False
    for b in range(1, reach + 1):
        if _start_label(start, t, window, given, b) > 0 and part[node[b]] != 0:
            several |= other > 0 and other != part[node[b]]
            if other == 0:
                other = part[node[b]]
                moved = given.floats[frozen + b - 1, start + t] - position[node[b]]
    if other == 0:
        return n_parts, False
    # The first epoch's part must end there, and have ended there when the checkpoint was made (or the first epoch was
    # where a pair put it that has been withdrawn since); and the next epoch must be of the part that goes on.
    several |= given.counts[LEADS_ON, start + t] > 0
    several |= node[1] < 0 or part[node[1]] != other
    for k in range(1, part.shape[0]):
        several |= part[k] == 0
    for k in range(part.shape[0]):
        if part[k] == other:
            position[k] += moved
            part[k] = 0
        elif part[k] > other:
            part[k] -= 1
    return n_parts - 1, several


@njit(cache=True, nogil=True)
def _smallest_velocity_shifts(position, part, n_parts, seen, steps_year):
    """Shifts of the parts, the first part at rest, that make the sum of squared velocities smallest.

    Between two epochs that follow each other, the least sum of squared velocities for a given step is its square over
    the sum of the squared times between them (see `_place_lonely_epochs`): a spring.
    """
    size = n_parts - 1
    stiffness = np.zeros((size, size))
    pull = np.zeros(size)
    for j in range(part.shape[0] - 1):
        p, q = part[j] - 1, part[j + 1] - 1
        if p == q:
            continue
        squares = 0.0
        for m in range(seen[j], seen[j + 1]):
            squares += steps_year[m] * steps_year[m]
        spring = 1.0 / squares
        step = position[j + 1] - position[j]
        if p >= 0:
            stiffness[p, p] += spring
            pull[p] += spring * step
        if q >= 0:
            stiffness[q, q] += spring
            pull[q] -= spring * step
        if p >= 0 and q >= 0:
            stiffness[p, q] -= spring
            stiffness[q, p] -= spring
    shift = np.zeros(n_parts)
    shift[1:] = _solve_symmetric(stiffness, pull)
    return shift


@njit(cache=True, nogil=True)
def _solve_symmetric(matrix, right):
    """Dense Cholesky without LAPACK; the matrix is a grounded Laplacian, so it is positive definite."""
    n = right.shape[0]
    for j in range(n):
        for i in range(j):
            factor = matrix[i, j] / matrix[i, i]
            if factor != 0.0:
                right[j] -= factor * right[i]
                for k in range(j, n):
                    matrix[j, k] -= factor * matrix[i, k]
    for j in range(n - 1, -1, -1):
        for k in range(j + 1, n):
            right[j] -= matrix[j, k] * right[k]
        right[j] /= matrix[j, j]
    return right


@njit(cache=True, nogil=True, inline="always")
def _cosine(q):
    """Cosine of a quarter turn at most, whose square is ``q``, to 1e-7 by series.

    Plain float32 arithmetic, so that the loop over pixels is vectorised; libm's calls would be most of the time.
    """
    return _C0 + q * (_C1 + q * (_C2 + q * (_C3 + q * (_C4 + q * (_C5 + q * _C6)))))


@njit(cache=True, nogil=True, inline="always")
def _sine_over_angle(q):
    """Sine of a quarter turn at most over the angle, whose square is ``q``, to 1e-7 by series."""
    return _C0 + q * (_S1 + q * (_S2 + q * (_S3 + q * (_S4 + q * _S5))))
