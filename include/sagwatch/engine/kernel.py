"""The compiled heart of the solver: the weighted small-baseline solution of one tile of pixels after another.

The unknowns are the displacement steps x_j between neighbouring epochs, not their velocities: then a pair (a, b)
observes the plain sum x_a + ... + x_(b-1), and the normal matrix has the bandwidth of the longest pair. It is
factored as L D L^T in time order, and the pairs are added in order of their earlier epoch, just before the step at
which they begin is eliminated. So everything that the pairs with an earlier epoch before s say about the steps from s
on is a small block of the factorisation at s. With a few sums it makes a *checkpoint* (`sagwatch.engine.checkpoint`),
and the solution can be taken up again there. A batch is a solution that begins at epoch 0; an update begins at a late
checkpoint; both are the same code and come to the same block, bit for bit.

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
the next epoch counts as one of the rim. A pixel whose network has a hole at a step that no pair crosses needs nothing
special: the step is 0. If parts interlock, it goes to `_solve_torn`, which lets them move against each other until the
velocity norm is smallest: the answer of MintPy's singular value decomposition.

Everything is float64 inside; phases, coherences and displacements are float32 outside. Tiles are independent and
every sum has one fixed order, so the answer does not depend on how many threads share the tiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE_PIXELS = 128
WEIGHT_VARIANCE, WEIGHT_FISHER, WEIGHT_COHERENCE, WEIGHT_NONE = range(4)

# A pivot this small against its own diagonal says that the pixel's network may be torn; whether it is torn is
# then decided by counting connected parts, never by rounding.
SUSPICIOUS_PIVOT = 1e-7
# A pivot this small is rounding: the smallest true one is the least weight over the largest and the number of epochs.
ZERO_PIVOT = 1e-11

# Rows of a checkpoint's float64 array; the rows of the factorisation follow from BLOCK on.
BASE, REAL, IMAGINARY, SUM_D, SUM_TD, SUM_DD, SUM_LAG, SUM_CROSS, COHERENCE, DRIFT, BLOCK = range(11)
# Rows of its uint16 array; pairs per epoch of the rim and its labels follow from RIM on.
N_OBSERVATIONS, N_COHERENCE, CLOSED_PARTS, MEETS, KNOWN, LEADS_ON, RIM = range(7)
# Rows of the line through the whole record.
VELOCITY, VELOCITY_STD, INTERCEPT, INTERCEPT_STD, RESIDUE, CORRELATION = range(6)
LINE_ROWS = 6

_LOWEST_COHERENCE = np.float32(0.05)
_LOWEST_BIN, _HIGHEST_BIN, _BIN_STEP = 0.0025, 0.9975, 0.005
_HIGHEST_FISHER = 1.0 - 1e-3
_PI = np.pi


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
    """How it is solved; ``coherence_floor`` below 0 masks nothing. The last two bound what may be left out."""

    kind: int
    looks: int
    table: NDArray[np.float64]
    coherence_floor: np.float32
    least_pairs: float
    metres_per_radian: float
    tolerance_m: float
    budget_m: float


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
    pairs_per_epoch: NDArray[np.uint16]
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
    """Working space of one thread; the last axis is the pixel within the tile."""

    y: NDArray[np.float32]
    w: NDArray[np.float32]
    band: NDArray[np.float64]
    x: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    inverse: NDArray[np.float64]
    position: NDArray[np.float64]
    n_coherence: NDArray[np.float64]
    suspicious: NDArray[np.bool_]
    holes: NDArray[np.int64]
    open: NDArray[np.bool_]
    held: NDArray[np.bool_]


def float_rows(reach: int) -> int:
    """Rows of a checkpoint's float64 array whose rim reaches so many epochs."""
    return BLOCK + reach * (reach + 1) // 2 + 3 * reach


def count_rows(reach: int) -> int:
    """Rows of a checkpoint's uint16 array."""
    return RIM + 2 * (reach + 1)


@njit(cache=True, nogil=True)
def solve_range(first, last, window, rules, times, given, result):
    """Solve the pixels ``first`` to ``last`` (exclusive) and fill in their columns of ``result``."""
    n_pairs, n_epochs = given.phase.shape[0], window.years.shape[0]
    n_steps = n_epochs - 1
    size = TILE_PIXELS
    tile = Tile(
        np.empty((n_pairs, size), np.float32),
        np.empty((n_pairs, size), np.float32),
        np.empty((n_steps, window.bandwidth, size)),
        np.empty((n_steps, size)),
        np.empty((n_steps, size)),
        np.empty((n_steps, size)),
        np.empty((n_epochs, size)),
        np.empty((2, size)),
        np.empty(size, np.bool_),
        np.empty(size, np.int64),
        np.empty(size, np.bool_),
        np.empty(size, np.bool_),
    )
    for start in range(first, last, size):
        width = min(size, last - start)
        _load(start, width, given, rules, tile.y, tile.w)
        _begin(start, width, window, given, tile)
        _eliminate(start, width, window, tile, result)
        _substitute(width, tile)
        _accumulate(start, width, given, tile)
        for t in range(width):
            parts = given.counts[CLOSED_PARTS, start + t] + tile.holes[t] + 1
            tile.open[t], tile.held[t] = False, False
            if tile.suspicious[t]:
                parts, tile.open[t], tile.held[t] = _solve_torn(start, t, window, given, tile)
            result.parts[start + t] = parts
        _finish(start, width, window, rules, times, given, tile, result)


@njit(cache=True, nogil=True)
def _load(start, width, given, rules, y, w):
    """Reference the phases of a tile; a missing observation gets weight 0 and value 0."""
    zero, endless = np.float32(0.0), np.float32(np.inf)
    for i in range(given.phase.shape[0]):
        r = given.reference[i]
        phase, coherence = given.phase[i, start : start + width], given.coherence[i, start : start + width]
        row_y, row_w = y[i], w[i]
        for t in range(width):
            u = phase[t]
            c = coherence[t] if abs(coherence[t]) < endless else zero
            value = u - r
            # MintPy takes an exact zero, before or after referencing, for "no data".
            seen = (abs(u) < endless) & (u != zero) & (value != zero) & (c >= rules.coherence_floor)
            row_y[t] = value if seen else zero
            row_w[t] = max(c, _LOWEST_COHERENCE) if seen else zero
        if rules.kind == WEIGHT_VARIANCE:
            for t in range(width):
                clipped = min(max(np.float64(row_w[t]), _LOWEST_BIN), _HIGHEST_BIN)
                weight = np.float32(rules.table[int((clipped - _LOWEST_BIN) / _BIN_STEP)])
                row_w[t] = weight if row_w[t] > zero else zero
        elif rules.kind == WEIGHT_FISHER:
            for t in range(width):
                squared = min(np.float64(row_w[t]), _HIGHEST_FISHER) ** 2
                row_w[t] = np.float32(2.0 * rules.looks * squared / (1.0 - squared))
        elif rules.kind == WEIGHT_NONE:
            for t in range(width):
                row_w[t] = np.float32(1.0) if row_w[t] > zero else zero


@njit(cache=True, nogil=True)
def _begin(start, width, window, given, tile):
    """Lay the checkpoint's block of the factorisation under the steps that it reaches."""
    tile.band[:] = 0.0
    tile.x[:] = 0.0
    tile.diagonal[:] = 0.0
    tile.holes[:] = 0
    tile.suspicious[:] = False
    row = BLOCK
    for j in range(window.reach):
        for d in range(window.reach - j):
            for t in range(width):
                tile.band[j, d, t] = given.floats[row, start + t]
            row += 1
    for j in range(window.reach):
        for t in range(width):
            tile.x[j, t] = given.floats[row + j, start + t]
            tile.diagonal[j, t] = given.floats[row + window.reach + j, start + t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _eliminate(start, width, window, tile, result):
    """Add the pairs in time order and eliminate step after step; write down the block at each checkpoint."""
    n_steps, bandwidth = tile.band.shape[0], tile.band.shape[1]
    emitted = 0
    for j in range(n_steps):
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_block(start, width, window, tile, result, emitted)
            emitted += 1
        for i in range(window.first_pair[j], window.first_pair[j + 1]):
            b = window.later[i]
            y, w = tile.y[i], tile.w[i]
            for k in range(j, b):
                x, diagonal = tile.x[k], tile.diagonal[k]
                for t in range(width):
                    x[t] += np.float64(w[t]) * np.float64(y[t])
                    diagonal[t] += w[t]
                for d in range(b - k):
                    band = tile.band[k, d]
                    for t in range(width):
                        band[t] += w[t]
        inverse, pivot, diagonal = tile.inverse[j], tile.band[j, 0], tile.diagonal[j]
        for t in range(width):
            zero = pivot[t] <= ZERO_PIVOT * diagonal[t]
            covered = diagonal[t] > 0.0
            inverse[t] = 0.0 if zero else 1.0 / pivot[t]
            tile.holes[t] += 0 if covered else 1
            tile.suspicious[t] |= covered & (pivot[t] <= SUSPICIOUS_PIVOT * diagonal[t])
        reach = min(bandwidth, n_steps - j)
        for d in range(1, reach):
            target, source = tile.x[j + d], tile.x[j]
            row = tile.band[j, d]
            for t in range(width):
                target[t] -= row[t] * inverse[t] * source[t]
            for e in range(d, reach):
                changed, other = tile.band[j + d, e - d], tile.band[j, e]
                for t in range(width):
                    changed[t] -= row[t] * inverse[t] * other[t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _substitute(width, tile):
    """From the last step back to the first."""
    n_steps, bandwidth = tile.band.shape[0], tile.band.shape[1]
    for j in range(n_steps - 1, -1, -1):
        x, inverse = tile.x[j], tile.inverse[j]
        for d in range(1, min(bandwidth, n_steps - j)):
            row, known = tile.band[j, d], tile.x[j + d]
            for t in range(width):
                x[t] -= row[t] * known[t]
        for t in range(width):
            x[t] *= inverse[t]


@njit(cache=True, nogil=True)
def _accumulate(start, width, given, tile):
    """Sum the steps to positions, beginning with that of the checkpoint."""
    for t in range(width):
        tile.position[0, t] = given.floats[BASE, start + t]
    for j in range(tile.x.shape[0]):
        for t in range(width):
            tile.position[j + 1, t] = tile.position[j, t] + tile.x[j, t]


@njit(cache=True, nogil=True)
def _emit_block(start, width, window, tile, result, number):
    """Write down what the pairs so far say about the steps from here on, and which epochs of the rim they connect."""
    e, reach = window.emit[number], window.emit_reach[number]
    floats = result.floats[number]
    row = BLOCK
    for j in range(reach):
        for d in range(reach - j):
            for t in range(width):
                floats[row, start + t] = tile.band[e + j, d, t]
            row += 1
    for j in range(reach):
        for t in range(width):
            floats[row + j, start + t] = tile.x[e + j, t]
            floats[row + reach + j, start + t] = tile.diagonal[e + j, t]
    for t in range(width):
        # Marked here, labelled by `_label` where the simple case does not hold.
        connected = _connected_rim(tile, e, reach, t)
        result.counts[number, RIM + reach + 1, start + t] = (
            1 if connected >= 0 and not tile.suspicious[t] else 0
        )
        result.counts[number, CLOSED_PARTS, start + t] = tile.holes[t]
        for b in range(1, reach + 1):
            result.counts[number, RIM + reach + 1 + b, start + t] = 1 if b <= connected else 0


@njit(cache=True, nogil=True)
def _connected_rim(tile, e, reach, t):
    """How many epochs after e the pairs so far connect with it, if these are the next ones; -1 if it is not so simple.

    The block is positive definite exactly if all its epochs are connected.
    """
    n = reach
    while n > 0 and tile.diagonal[e + n - 1, t] == 0.0:
        n -= 1
    if n == 0:
        return 0
    if n == 1:
        return 1 if tile.band[e, 0, t] > SUSPICIOUS_PIVOT * tile.diagonal[e, t] else -1
    block = np.empty((n, n))
    for j in range(n):
        for d in range(n - j):
            block[j, j + d] = tile.band[e + j, d, t]
    for j in range(n):
        if not block[j, j] > SUSPICIOUS_PIVOT * tile.diagonal[e + j, t]:
            return -1
        for k in range(j + 1, n):
            for m in range(k, n):
                block[k, m] -= block[j, k] * block[j, m] / block[j, j]
    return n


@njit(cache=True, nogil=True)
def _label(start, t, window, given, tile, result, number):
    """Label the rim of a checkpoint by connected part and count the parts that end before it; for hard cases.

    Label 0 is an epoch that no pair so far touches; equal labels are connected by the pairs so far.
    """
    e, reach = window.emit[number], window.emit_reach[number]
    root = _roots(start, t, window, given, tile, e)
    n_epochs = root.shape[0]
    ends = np.zeros(n_epochs, np.int64)
    begins_before = np.zeros(n_epochs, np.bool_)
    for m in range(n_epochs):
        a = _find(root, m)
        ends[a] = m
        begins_before[a] |= m < e or (m <= window.reach and _start_label(start, t, window, given, m) > 0)
    closed = np.int64(given.counts[CLOSED_PARTS, start + t])
    for m in range(e):
        closed += 1 if root[m] == m and ends[m] < e else 0
    result.counts[number, CLOSED_PARTS, start + t] = closed
    for b in range(reach + 1):
        a = _find(root, e + b)
        result.counts[number, RIM + reach + 1 + b, start + t] = a + 1 if begins_before[a] else 0


@njit(cache=True, nogil=True, inline="always")
def _start_label(start, t, window, given, epoch):
    """The label that the checkpoint gives to an epoch of its rim."""
    return given.counts[RIM + window.reach + 1 + epoch, start + t]


@njit(cache=True, nogil=True)
def _find(root, epoch):
    while root[epoch] != epoch:
        root[epoch] = root[root[epoch]]
        epoch = root[epoch]
    return epoch


@njit(cache=True, nogil=True)
def _roots(start, t, window, given, tile, before):
    """Join the epochs that the checkpoint and the pairs with an earlier epoch before ``before`` connect.

    The smaller epoch is always the root, so a part is named by its first epoch.
    """
    root = np.arange(window.years.shape[0])
    for m in range(1, window.reach + 1):
        for n in range(m):
            label = _start_label(start, t, window, given, m)
            if label > 0 and label == _start_label(start, t, window, given, n):
                _join(root, n, m)
    for i in range(window.first_pair[before]):
        if tile.w[i, t] > 0.0:
            _join(root, window.earlier[i], window.later[i])
    return root


@njit(cache=True, nogil=True)
def _join(root, one, other):
    a, b = _find(root, one), _find(root, other)
    if a < b:
        root[b] = a
    else:
        root[a] = b


@njit(cache=True, nogil=True, fastmath={"contract"})
def _finish(start, width, window, rules, times, given, tile, result):
    """Quality, counts, sums and lines of a tile whose positions are known; the sums at each checkpoint."""
    n_epochs, reach = window.years.shape[0], window.reach
    sums = np.empty((BLOCK, width))
    numbers = np.zeros((RIM, width))
    touched = np.zeros((n_epochs, width))
    for row in range(BLOCK):
        for t in range(width):
            sums[row, t] = given.floats[row, start + t]
    for row in range(RIM):
        for t in range(width):
            numbers[row, t] = given.counts[row, start + t]
    for m in range(reach + 1):
        for t in range(width):
            touched[m, t] = given.counts[RIM + m, start + t]
    total = numbers[N_OBSERVATIONS].copy()
    for i in range(tile.w.shape[0] if window.emit.shape[0] > 0 else 0):
        for t in range(width):
            total[t] += 1.0 if tile.w[i, t] > 0.0 else 0.0
    _measure_change(start, width, window, rules, given, tile, result)
    emitted = 0
    for j in range(n_epochs):
        if j > 0:
            _add_epoch(width, window, tile, sums, j)
            # The first epoch of the record is exempt from MintPy's redundancy test.
            if j - 1 + window.n_before > 0:
                for t in range(width):
                    numbers[MEETS, t] *= 1.0 if touched[j - 1, t] >= rules.least_pairs else 0.0
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_sums(start, width, window, given, tile, result, emitted, sums, numbers, touched, total)
            emitted += 1
        for i in range(window.first_pair[j], window.first_pair[j + 1]):
            _add_pair(start, width, window, given, tile, sums, numbers, touched, i)
    for t in range(width):
        if n_epochs - 1 + window.n_before > 0:
            numbers[MEETS, t] *= 1.0 if touched[n_epochs - 1, t] >= rules.least_pairs else 0.0
    _write(start, width, window, rules, times, given, tile, result, sums, numbers, touched)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_epoch(width, window, tile, sums, j):
    """Add an epoch to the sums from which lines are made."""
    year, year_before = window.years[j], window.years[j - 1]
    position, before = tile.position[j], tile.position[j - 1]
    for t in range(width):
        d = position[t]
        sums[SUM_D, t] += d
        sums[SUM_TD, t] += year * d
        sums[SUM_DD, t] += d * d
        sums[SUM_LAG, t] += d * before[t]
        sums[SUM_CROSS, t] += d * year_before + before[t] * year


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_pair(start, width, window, given, tile, sums, numbers, touched, i):
    """Add a pair to the counts and to the sum of residual phasors (Pepe and Lanari, 2006), unweighted."""
    a, b = window.earlier[i], window.later[i]
    y, w = tile.y[i], tile.w[i]
    before, after = tile.position[a], tile.position[b]
    coherence = given.coherence[i, start : start + width]
    touched_a, touched_b = touched[a], touched[b]
    real, imaginary, total = sums[REAL], sums[IMAGINARY], sums[COHERENCE]
    seen, known = numbers[N_OBSERVATIONS], numbers[N_COHERENCE]
    for t in range(width):
        cosine, sine = _cosine_sine(np.float64(y[t]) - (after[t] - before[t]))
        valid = 1.0 if w[t] > 0.0 else 0.0
        real[t] += valid * cosine
        imaginary[t] += valid * sine
        touched_a[t] += valid
        touched_b[t] += valid
        seen[t] += valid
    for t in range(width):
        finite = abs(coherence[t]) < np.float32(np.inf)
        total[t] += np.float64(coherence[t]) if finite else 0.0
        known[t] += 1.0 if finite else 0.0


@njit(cache=True, nogil=True)
def _measure_change(start, width, window, rules, given, tile, result):
    """How much may have changed before the checkpoint: the spread of the changes on its rim, plus the drift so far."""
    reach = window.reach
    frozen = BLOCK + reach * (reach + 1) // 2 + 2 * reach
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
def _emit_sums(start, width, window, given, tile, result, number, sums, numbers, touched, total):
    """Write down the sums of a checkpoint; the block is there already. ``total`` counts all pairs of a pixel.

    A pixel that no pair has seen is unknown, in the stored series too; one that is seen later only begins at 0.
    """
    e, reach = window.emit[number], window.emit_reach[number]
    floats, counts = result.floats[number], result.counts[number]
    frozen = BLOCK + reach * (reach + 1) // 2 + 2 * reach
    for t in range(width):
        for row in range(BLOCK):
            floats[row, start + t] = sums[row, t]
        floats[BASE, start + t] = tile.position[e, t]
        floats[DRIFT, start + t] = result.left_out_m[start + t]
        for b in range(1, reach + 1):
            floats[frozen + b - 1, start + t] = tile.position[e + b, t] - tile.position[e, t]
        counts[N_OBSERVATIONS, start + t] = numbers[N_OBSERVATIONS, t]
        counts[KNOWN, start + t] = total[t] > 0.0
        counts[N_COHERENCE, start + t] = numbers[N_COHERENCE, t]
        counts[LEADS_ON, start + t] = 0
        counts[MEETS, start + t] = numbers[MEETS, t]
        for b in range(reach + 1):
            counts[RIM + b, start + t] = touched[e + b, t]
        if counts[RIM + reach + 1, start + t] == 0:
            _label(start, t, window, given, tile, result, number)
        else:
            counts[CLOSED_PARTS, start + t] += given.counts[CLOSED_PARTS, start + t]
    for i in range(window.first_pair[e], window.first_pair[e + 1]):
        for t in range(width):
            counts[LEADS_ON, start + t] |= tile.w[i, t] > 0.0


@njit(cache=True, nogil=True)
def _write(start, width, window, rules, times, given, tile, result, sums, numbers, touched):
    """Fill in the result."""
    unknown = np.nan
    for m in range(window.years.shape[0]):
        for t in range(width):
            seen = numbers[N_OBSERVATIONS, t] > 0.0
            # Adding 0 turns -0 into 0.
            result.los_m[m, start + t] = (
                tile.position[m, t] * rules.metres_per_radian + 0.0 if seen else unknown
            )
            result.pairs_per_epoch[m, start + t] = touched[m, t]
    for t in range(width):
        n, n_coherence = numbers[N_OBSERVATIONS, t], numbers[N_COHERENCE, t]
        length = np.sqrt(sums[REAL, t] ** 2 + sums[IMAGINARY, t] ** 2)
        result.temporal_coherence[start + t] = length / n if n > 0.0 else unknown
        result.mean_coherence[start + t] = sums[COHERENCE, t] / n_coherence if n_coherence > 0.0 else unknown
        result.n_observations[start + t] = n
        result.redundant[start + t] = n > 0.0 and numbers[MEETS, t] > 0.0
        if n == 0.0:
            result.parts[start + t] = window.n_before + window.years.shape[0]
        # Seen for the first time: what was unknown before the checkpoint is now known to begin at 0. Or not seen any
        # more, because what saw it was withdrawn: then what was 0 is unknown again.
        if window.n_before > 0 and (given.counts[KNOWN, start + t] > 0) != (n > 0.0):
            result.needs_older[start + t] = True
    _draw_lines(start, width, rules, times, tile, result, sums, numbers)


@njit(cache=True, nogil=True)
def _draw_lines(start, width, rules, times, tile, result, sums, numbers):
    """The straight line through the whole record from its sums, as MintPy's ``timeseries2velocity``."""
    last = tile.position.shape[0] - 1
    scale = rules.metres_per_radian
    for t in range(width):
        if numbers[N_OBSERVATIONS, t] == 0.0 or times.n < 3:
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
def _solve_torn(start, t, window, given, tile):
    """Solve one pixel whose network may fall into interlocking parts; return the number of parts of the whole record.

    Each part is solved by itself; then the parts are shifted against each other so that the sum of squared
    velocities is smallest. The shifts solve a small system: the graph Laplacian of the parts, where every step
    of time that leads from one part to another is a spring of stiffness 1/dt^2. Also tells whether several parts go on
    before the checkpoint, so that this solution does not hold.
    """
    n_epochs = window.years.shape[0]
    root = _roots(start, t, window, given, tile, n_epochs)
    part = np.empty(n_epochs, np.int64)
    n_parts = 0
    for m in range(n_epochs):
        a = _find(root, m)
        if a == m:
            part[m] = n_parts
            n_parts += 1
        else:
            part[m] = part[a]
    closed = np.int64(given.counts[CLOSED_PARTS, start + t])
    position = np.empty(n_epochs)
    _solve_parts(start, t, window, given, tile, part, position)
    origin = position[0]
    for m in range(n_epochs):
        position[m] -= origin if part[m] == 0 else 0.0
    n_free, goes_on = _hold_to_checkpoint(start, t, window, given, part, n_parts, position)
    held = n_free < n_parts
    if n_free > 1:
        shift = _smallest_velocity_shifts(position, part, n_free, window.steps_year)
        for m in range(n_epochs):
            position[m] += shift[part[m]]
    for m in range(n_epochs):
        tile.position[m, t] = position[m] + given.floats[BASE, start + t]
    return closed + n_parts, goes_on, held


@njit(cache=True, nogil=True)
def _hold_to_checkpoint(start, t, window, given, part, n_parts, position):
    """Bring the part that goes on before the checkpoint to where it was, if that is not the part of the first epoch.

    It is then at rest like the first one, so it takes its number, 0. Returns the number of parts that are left, and
    whether several go on before the checkpoint, so that this solution does not hold.
    """
    reach = window.reach
    frozen = BLOCK + reach * (reach + 1) // 2 + 2 * reach
    other, moved = 0, 0.0
    several = False
    for b in range(1, reach + 1):
        if _start_label(start, t, window, given, b) > 0 and part[b] != 0:
            several |= other > 0 and other != part[b]
            if other == 0:
                other = part[b]
                moved = given.floats[frozen + b - 1, start + t] - position[b]
    if other == 0:
        return n_parts, False
    # The first epoch's part must end there, and have ended there when the checkpoint was made (or the first epoch was
    # where a pair put it that has been withdrawn since); and the next epoch must be of the part that goes on.
    several |= given.counts[LEADS_ON, start + t] > 0
    several |= part[1] != other
    for m in range(1, part.shape[0]):
        several |= part[m] == 0
    for m in range(part.shape[0]):
        if part[m] == other:
            position[m] += moved
            part[m] = 0
        elif part[m] > other:
            part[m] -= 1
    return n_parts - 1, several


@njit(cache=True, nogil=True)
def _solve_parts(start, t, window, given, tile, part, position):
    """Least squares with the last epoch of every part held at 0: full rank, and banded in time order."""
    n_epochs = position.shape[0]
    bandwidth = window.bandwidth
    normal = np.zeros((n_epochs, bandwidth + 1))
    right = np.zeros(n_epochs)
    held = np.zeros(n_epochs, np.bool_)
    seen = np.zeros(n_epochs, np.bool_)
    for m in range(n_epochs - 1, -1, -1):
        held[m] = not seen[part[m]]
        seen[part[m]] = True
    _add_checkpoint(start, t, window, given, part, normal, right)
    for i in range(window.earlier.shape[0]):
        weight = np.float64(tile.w[i, t])
        if weight > 0.0:
            a, b = window.earlier[i], window.later[i]
            pull = weight * np.float64(tile.y[i, t])
            normal[a, 0] += weight
            normal[b, 0] += weight
            normal[a, b - a] -= weight
            right[a] -= pull
            right[b] += pull
    for j in range(n_epochs):
        if held[j]:
            continue
        for d in range(1, min(bandwidth + 1, n_epochs - j)):
            factor = normal[j, d] / normal[j, 0]
            if factor != 0.0:
                right[j + d] -= factor * right[j]
                for e in range(d, min(bandwidth + 1, n_epochs - j)):
                    normal[j + d, e - d] -= factor * normal[j, e]
    for j in range(n_epochs - 1, -1, -1):
        position[j] = 0.0
        if not held[j]:
            total = right[j]
            for d in range(1, min(bandwidth + 1, n_epochs - j)):
                total -= normal[j, d] * position[j + d]
            position[j] = total / normal[j, 0]


@njit(cache=True, nogil=True)
def _add_checkpoint(start, t, window, given, part, normal, right):
    """Add the checkpoint's block, which knows steps, to the normal equations of positions, part by part."""
    reach = window.reach
    positions = np.zeros((reach + 1, reach + 1))
    row = BLOCK
    for j in range(reach):
        for k in range(j, reach):
            value = given.floats[row, start + t]
            row += 1
            for _ in range(1 if j == k else 2):
                positions[j + 1, k + 1] += value
                positions[j, k] += value
                positions[j + 1, k] -= value
                positions[j, k + 1] -= value
                j, k = k, j
    for a in range(reach + 1):
        for b in range(a, reach + 1):
            if part[a] == part[b]:
                normal[a, b - a] += positions[a, b]
    for j in range(reach):
        value = given.floats[row + j, start + t]
        right[j + 1] += value
        right[j] -= value


@njit(cache=True, nogil=True)
def _smallest_velocity_shifts(position, part, n_parts, steps_year):
    """Shifts of the parts, the first part at rest, that make the sum of squared velocities smallest."""
    size = n_parts - 1
    stiffness = np.zeros((size, size))
    pull = np.zeros(size)
    for j in range(steps_year.shape[0]):
        p, q = part[j] - 1, part[j + 1] - 1
        if p == q:
            continue
        spring = 1.0 / (steps_year[j] * steps_year[j])
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
def _cosine_sine(angle):
    """Cosine and sine to 1e-11 by series; plain arithmetic, so that the loop over pixels is vectorised."""
    half_turns = np.floor(angle / _PI + 0.5)
    r = angle - half_turns * _PI
    sign = 1.0 - 2.0 * (half_turns - 2.0 * np.floor(half_turns * 0.5))
    s = r * r
    cosine = 1.0 + s * (
        -1 / 2
        + s
        * (
            1 / 24
            + s
            * (
                -1 / 720
                + s
                * (
                    1 / 40320
                    + s * (-1 / 3628800 + s * (1 / 479001600 + s * (-1 / 87178291200 + s / 20922789888000)))
                )
            )
        )
    )
    sine = r * (
        1.0
        + s
        * (
            -1 / 6
            + s
            * (
                1 / 120
                + s
                * (
                    -1 / 5040
                    + s * (1 / 362880 + s * (-1 / 39916800 + s * (1 / 6227020800 + s * (-1 / 1307674368000))))
                )
            )
        )
    )
    return sign * cosine, sign * sine
