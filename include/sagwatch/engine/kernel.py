"""The compiled heart of the solver: the weighted small-baseline solution of one tile of pixels after another.

The unknowns are the displacement steps x_j between neighbouring epochs, not their velocities: then a pair (a, b)
observes the plain sum x_a + ... + x_(b-1), and the normal matrix has the bandwidth of the longest pair. It is
factored as L D L^T in time order, and the pairs are added in order of their earlier epoch, just before the step at
which they begin is eliminated. So everything that the pairs with an earlier epoch before s say about the steps from s
on is a small block of the factorisation at s. With a few sums it makes a *checkpoint* (`sagwatch.engine.window`),
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
special: the step is 0. An epoch without a pair that pairs pass over is placed between its neighbours in closed form. If
parts interlock otherwise, the pixel goes to `_solve_torn`, which lets them move against each other until the velocity
norm is smallest: the answer of MintPy's singular value decomposition.

Everything is float64 inside; phases, coherences and displacements are float32 outside. Tiles are independent and
every sum has one fixed order, so the answer does not depend on how many threads share the tiles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Pixels are read so many at a time, because short reads far apart wait for memory; they are solved in tiles whose
# working space stays in a core's own cache.
GROUP_PIXELS = 512
_CACHE_BYTES, _SMALLEST_TILE = 2_000_000, 128
WEIGHT_VARIANCE, WEIGHT_FISHER, WEIGHT_COHERENCE, WEIGHT_NONE = range(4)

# A pivot this small against its own diagonal says that the pixel's network may be torn; whether it is torn is
# then decided by counting connected parts, never by rounding.
SUSPICIOUS_PIVOT = 1e-7
# A pivot this small is rounding: the smallest true one is the least weight over the largest and the number of epochs.
ZERO_PIVOT = 1e-11

# Rows of a checkpoint's float64 array; the rows of the factorisation follow from BLOCK on.
BASE, REAL, IMAGINARY, SUM_D, SUM_TD, SUM_DD, SUM_LAG, SUM_CROSS, COHERENCE, DRIFT, BLOCK = range(11)
# Rows of its uint16 array. FIRST_SEEN is 1 for the first epoch of the record, 0 if no pair has seen the pixel; LEADS_ON
# is 1 if a pair begins at the checkpoint's epoch. Pairs per epoch of the rim and its labels follow from RIM on.
N_OBSERVATIONS, N_COHERENCE, CLOSED_PARTS, MEETS, FIRST_SEEN, LEADS_ON, RIM = range(7)
# Rows of the line through the whole record.
VELOCITY, VELOCITY_STD, INTERCEPT, INTERCEPT_STD, RESIDUE, CORRELATION = range(6)
LINE_ROWS = 6

_LOWEST_COHERENCE = np.float32(0.05)
# MintPy divides by bins of 0.005; for every float32 coherence this product falls into the same bin (tested).
_LOWEST_BIN, _HIGHEST_BIN, _BINS_PER_UNIT = 0.0025, 0.9975, 200.0
_HIGHEST_FISHER = 1.0 - 1e-3
_PI, _INVERSE_PI = np.pi, 1.0 / np.pi
# (-1)^k / (2 k)! and (-1)^k / (2 k + 1)!
_C0, _C1, _C2, _C3 = np.float32(1), np.float32(-1 / 2), np.float32(1 / 24), np.float32(-1 / 720)
_C4, _C5, _C6 = np.float32(1 / 40320), np.float32(-1 / 3628800), np.float32(1 / 479001600)
_S1, _S2, _S3 = np.float32(-1 / 6), np.float32(1 / 120), np.float32(-1 / 5040)
_S4, _S5 = np.float32(1 / 362880), np.float32(-1 / 39916800)


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
    table: NDArray[np.float32]
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
    """Working space of one thread; the last axis is the pixel within the tile.

    ``x`` is the position from the second epoch on: steps, until they are summed up. ``band[j, 0]`` is the pivot of step
    j, and its inverse once j is eliminated. ``diagonal[j % rows]`` is what the pivot was before any elimination.
    ``quality`` holds sum and number of coherences of the pairs before each checkpoint, and of all.
    """

    y: NDArray[np.float32]
    w: NDArray[np.float32]
    quality: NDArray[np.float64]
    band: NDArray[np.float64]
    x: NDArray[np.float64]
    diagonal: NDArray[np.float64]
    position: NDArray[np.float64]
    touched: NDArray[np.float32]
    phasor: NDArray[np.float32]
    suspicious: NDArray[np.float64]
    holes: NDArray[np.float64]
    lonely: NDArray[np.float64]
    open: NDArray[np.bool_]
    held: NDArray[np.bool_]


def float_rows(reach: int) -> int:
    """Rows of a checkpoint's float64 array whose rim reaches so many epochs."""
    return BLOCK + reach * (reach + 1) // 2 + 3 * reach


def count_rows(reach: int) -> int:
    """Rows of a checkpoint's uint16 array."""
    return RIM + 2 * (reach + 1)


def tile_pixels(window: Window) -> int:
    """Pixels of a tile, a divisor of `GROUP_PIXELS`."""
    n_epochs, n_pairs = window.years.size, window.earlier.size
    bytes_per_pixel = 8 * n_pairs + 8 * n_epochs * (window.bandwidth + 2)
    size = GROUP_PIXELS
    while size > _SMALLEST_TILE and size * bytes_per_pixel > _CACHE_BYTES:
        size //= 2
    return size


@njit(cache=True, nogil=True)
def solve_range(first, last, size, window, rules, times, given, result):
    """Solve the pixels ``first`` to ``last`` (exclusive) in tiles of ``size``; fill in their columns of ``result``."""
    n_pairs, n_epochs, n_emitted = given.phase.shape[0], window.years.shape[0], window.emit.shape[0]
    in_group = GROUP_PIXELS // size
    y = np.empty((in_group, n_pairs, size), np.float32)
    w = np.empty((in_group, n_pairs, size), np.float32)
    quality = np.empty((in_group, n_emitted + 1, 2, size))
    band = np.empty((n_epochs - 1, window.bandwidth, size))
    diagonal = np.empty((window.bandwidth, size))
    position = np.empty((n_epochs, size))
    touched = np.empty((n_epochs, size), np.float32)
    phasor, suspicious = np.empty((2, size), np.float32), np.empty(size)
    holes, lonely = np.empty(size), np.empty(size)
    opened, held = np.empty(size, np.bool_), np.empty(size, np.bool_)
    for group in range(first, last, GROUP_PIXELS):
        _load(group, min(GROUP_PIXELS, last - group), window, given, rules, y, w, quality)
        for k in range(in_group):
            start = group + k * size
            width = min(size, last - start)
            if width <= 0:
                break
            tile = Tile(
                y[k],
                w[k],
                quality[k],
                band,
                position[1:],
                diagonal,
                position,
                touched,
                phasor,
                suspicious,
                holes,
                lonely,
                opened,
                held,
            )
            _solve_tile(start, width, window, rules, times, given, tile, result)


@njit(cache=True, nogil=True)
def _solve_tile(start, width, window, rules, times, given, tile, result):
    _begin(start, width, window, given, tile)
    _eliminate(start, width, window, tile, result)
    _substitute(width, tile)
    _accumulate(width, tile)
    for t in range(width):
        parts = given.counts[CLOSED_PARTS, start + t] + np.int64(tile.holes[t] + tile.lonely[t]) + 1
        tile.open[t], tile.held[t] = False, False
        if tile.suspicious[t] == 0.0 and tile.lonely[t] > 0.0:
            _place_lonely_epochs(t, window, tile)
        result.parts[start + t] = parts
    torn = np.flatnonzero(tile.suspicious[:width])
    if torn.size > 0:
        y, w = _columns(torn, tile)
        for k, t in enumerate(torn):
            parts, tile.open[t], tile.held[t] = _solve_torn(start, t, window, given, tile, y[k], w[k])
            result.parts[start + t] = parts
    _finish(start, width, window, rules, times, given, tile, result)


@njit(cache=True, nogil=True)
def _columns(pixels, tile):
    """Phases and weights of some pixels, pixel by pixel: one by one they would be reads far apart."""
    n_pairs = tile.y.shape[0]
    y, w = np.empty((pixels.size, n_pairs), np.float32), np.empty((pixels.size, n_pairs), np.float32)
    for i in range(n_pairs):
        for k, t in enumerate(pixels):
            y[k, i], w[k, i] = tile.y[i, t], tile.w[i, t]
    return y, w


@njit(cache=True, nogil=True)
def _place_lonely_epochs(t, window, tile):
    """Put epochs without a pair where the smallest velocities put them: each step in proportion to its time squared.

    Between two epochs that are seen, sum (step / dt)^2 is smallest for a given sum of steps if step / dt^2 is one
    number (its Lagrange multiplier).
    """
    before = 0
    for m in range(1, window.years.shape[0]):
        if tile.touched[m, t] == np.float32(0.0):
            continue
        if m > before + 1:
            squares = 0.0
            for j in range(before, m):
                squares += window.steps_year[j] ** 2
            step = (tile.position[m, t] - tile.position[before, t]) / squares
            for j in range(before, m - 1):
                tile.position[j + 1, t] = tile.position[j, t] + step * window.steps_year[j] ** 2
        before = m


@njit(cache=True, nogil=True)
def _load(start, width, window, given, rules, y, w, quality):
    """Reference the phases of a group; a missing observation gets weight 0 and value 0. Sum the coherences."""
    size = y.shape[2]
    quality[:] = 0.0
    emitted = 0
    for i in range(given.phase.shape[0]):
        while emitted < window.emit.shape[0] and i == window.first_pair[window.emit[emitted]]:
            quality[:, emitted + 1] = quality[:, emitted]
            emitted += 1
        for k in range(-(-width // size)):
            here = start + k * size
            there = min(here + size, start + width)
            phase, coherence = given.phase[i, here:there], given.coherence[i, here:there]
            _load_pair(phase, coherence, given.reference[i], rules, y[k, i], w[k, i])
            _add_coherence(coherence, quality[k, emitted, 0], quality[k, emitted, 1])
    # A checkpoint after the last pair's earlier epoch has seen all of them.
    for rest in range(emitted, window.emit.shape[0]):
        quality[:, rest + 1] = quality[:, rest]


@njit(cache=True, nogil=True)
def _add_coherence(coherence, total, known):
    """MintPy's average leaves out what is no number."""
    for t in range(coherence.shape[0]):
        finite = abs(coherence[t]) < np.float32(np.inf)
        total[t] += np.float64(coherence[t]) if finite else 0.0
        known[t] += 1.0 if finite else 0.0


@njit(cache=True, nogil=True)
def _load_pair(phase, coherence, reference, rules, y, w):
    zero, endless, table = np.float32(0.0), np.float32(np.inf), rules.table
    width = phase.shape[0]
    for t in range(width):
        u = phase[t]
        c = coherence[t] if abs(coherence[t]) < endless else zero
        value = u - reference
        # MintPy takes an exact zero, before or after referencing, for "no data".
        seen = (abs(u) < endless) & (u != zero) & (value != zero) & (c >= rules.coherence_floor)
        y[t] = value if seen else zero
        w[t] = max(c, _LOWEST_COHERENCE) if seen else zero
    if rules.kind == WEIGHT_VARIANCE:
        for t in range(width):
            clipped = min(max(np.float64(w[t]), _LOWEST_BIN), _HIGHEST_BIN)
            weight = table[np.uint32((clipped - _LOWEST_BIN) * _BINS_PER_UNIT)]
            w[t] = weight if w[t] > zero else zero
    elif rules.kind == WEIGHT_FISHER:
        for t in range(width):
            squared = min(np.float64(w[t]), _HIGHEST_FISHER) ** 2
            w[t] = np.float32(2.0 * rules.looks * squared / (1.0 - squared))
    elif rules.kind == WEIGHT_NONE:
        for t in range(width):
            w[t] = np.float32(1.0) if w[t] > zero else zero


@njit(cache=True, nogil=True)
def _begin(start, width, window, given, tile):
    """Lay the checkpoint's block of the factorisation under the steps that it reaches."""
    tile.band[:] = 0.0
    tile.x[:] = 0.0
    tile.diagonal[:] = 0.0
    tile.holes[:] = 0.0
    tile.lonely[:] = 0.0
    tile.suspicious[:] = 0.0
    tile.touched[:] = np.float32(0.0)
    for m in range(window.reach + 1):
        for t in range(width):
            tile.touched[m, t] = given.counts[RIM + m, start + t]
    for t in range(width):
        tile.position[0, t] = given.floats[BASE, start + t]
    row = BLOCK
    for j in range(window.reach):
        for d in range(window.reach - j):
            for t in range(width):
                tile.band[j, d, t] = given.floats[row, start + t]
            row += 1
    for j in range(window.reach):
        for t in range(width):
            tile.x[j, t] = given.floats[row + j, start + t]
            _diagonal(tile, j)[t] = given.floats[row + window.reach + j, start + t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _eliminate(start, width, window, tile, result):
    """Add the pairs in time order and eliminate step after step; write down the block at each checkpoint."""
    n_steps, bandwidth = tile.band.shape[0], tile.band.shape[1]
    holes, lonely, suspicious = tile.holes, tile.lonely, tile.suspicious
    one, none = np.float32(1.0), np.float32(0.0)
    emitted = 0
    for j in range(n_steps):
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_block(start, width, window, tile, result, emitted)
            emitted += 1
        for i in range(window.first_pair[j], window.first_pair[j + 1]):
            b = window.later[i]
            y, w = tile.y[i], tile.w[i]
            touched_a, touched_b = tile.touched[j], tile.touched[b]
            for t in range(width):
                touched_a[t] += one if w[t] > none else none
                touched_b[t] += one if w[t] > none else none
            for k in range(j, b):
                x, diagonal = tile.x[k], _diagonal(tile, k)
                for t in range(width):
                    x[t] += np.float64(w[t]) * np.float64(y[t])
                    diagonal[t] += w[t]
                for d in range(b - k):
                    band = tile.band[k, d]
                    for t in range(width):
                        band[t] += w[t]
        pivot, diagonal = tile.band[j, 0], _diagonal(tile, j)
        for t in range(width):
            holes[t] += 0.0 if diagonal[t] > 0.0 else 1.0
        # An epoch without a pair that pairs pass over is a part of its own: the zero pivot of the step after it.
        seen, may_be_lonely = tile.touched[j], j > 0
        for t in range(width):
            alone = may_be_lonely & (diagonal[t] > 0.0) & (seen[t] == none)
            lonely[t] += 1.0 if alone & (pivot[t] <= ZERO_PIVOT * diagonal[t]) else 0.0
        for t in range(width):
            small = (diagonal[t] > 0.0) & (pivot[t] <= SUSPICIOUS_PIVOT * diagonal[t])
            explained = may_be_lonely & (seen[t] == none) & (pivot[t] <= ZERO_PIVOT * diagonal[t])
            unexplained = (small & (not explained)) | (
                (diagonal[t] > 0.0) & (seen[t] == none) & (not explained)
            )
            suspicious[t] = 1.0 if unexplained else suspicious[t]
        inverse = pivot
        for t in range(width):
            inverse[t] = 0.0 if pivot[t] <= ZERO_PIVOT * diagonal[t] else 1.0 / pivot[t]
        diagonal[:] = 0.0
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
        x, inverse = tile.x[j], tile.band[j, 0]
        for d in range(1, min(bandwidth, n_steps - j)):
            row, known = tile.band[j, d], tile.x[j + d]
            for t in range(width):
                x[t] -= row[t] * known[t]
        for t in range(width):
            x[t] *= inverse[t]


@njit(cache=True, nogil=True)
def _accumulate(width, tile):
    """Sum the steps to positions, beginning with that of the checkpoint."""
    for j in range(tile.x.shape[0]):
        position, before = tile.position[j + 1], tile.position[j]
        for t in range(width):
            position[t] += before[t]


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
            floats[row + reach + j, start + t] = _diagonal(tile, e + j)[t]
    for t in range(width):
        # Marked here, labelled by `_label` where the simple case does not hold.
        connected = _connected_rim(tile, e, reach, t)
        result.counts[number, RIM + reach + 1, start + t] = (
            1 if connected >= 0 and tile.suspicious[t] == 0.0 else 0
        )
        result.counts[number, CLOSED_PARTS, start + t] = np.uint16(tile.holes[t] + tile.lonely[t])
        for b in range(reach + 1):
            result.counts[number, RIM + b, start + t] = np.uint16(tile.touched[e + b, t])
        for b in range(1, reach + 1):
            result.counts[number, RIM + reach + 1 + b, start + t] = 1 if b <= connected else 0


@njit(cache=True, nogil=True, inline="always")
def _diagonal(tile, step):
    """Of a step that is not eliminated yet."""
    return tile.diagonal[step % tile.diagonal.shape[0]]


@njit(cache=True, nogil=True)
def _connected_rim(tile, e, reach, t):
    """How many epochs after e the pairs so far connect with it, if these are the next ones; -1 if it is not so simple.

    The block is positive definite exactly if all its epochs are connected.
    """
    n = reach
    while n > 0 and _diagonal(tile, e + n - 1)[t] == 0.0:
        n -= 1
    if n == 0:
        return 0
    if n == 1:
        return 1 if tile.band[e, 0, t] > SUSPICIOUS_PIVOT * _diagonal(tile, e)[t] else -1
    block = np.empty((n, n))
    for j in range(n):
        for d in range(n - j):
            block[j, j + d] = tile.band[e + j, d, t]
    for j in range(n):
        if not block[j, j] > SUSPICIOUS_PIVOT * _diagonal(tile, e + j)[t]:
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
    root = _roots(start, t, window, given, tile.w[:, t], e)
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
def _roots(start, t, window, given, w, before):
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
        if w[i] > 0.0:
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
    n_epochs = window.years.shape[0]
    sums = np.empty((BLOCK, width))
    numbers = np.zeros((RIM, width))
    touched = tile.touched
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
            _add_epoch(width, window, tile, sums, j)
            # The first epoch of the record is exempt from MintPy's redundancy test.
            if j - 1 + window.n_before > 0:
                _test_redundancy(width, touched[j - 1], rules, numbers[MEETS])
        if emitted < window.emit.shape[0] and window.emit[emitted] == j:
            _emit_sums(start, width, window, given, tile, result, emitted, sums, numbers)
            emitted += 1
        for i in range(window.first_pair[j], window.first_pair[j + 1]):
            _add_pair(width, window, tile, sums, numbers, i)
    if n_epochs - 1 + window.n_before > 0:
        _test_redundancy(width, touched[n_epochs - 1], rules, numbers[MEETS])
    _write(start, width, window, rules, times, given, tile, result, sums, numbers, touched)


@njit(cache=True, nogil=True)
def _test_redundancy(width, pairs, rules, meets):
    """A pixel fails for good if one epoch has fewer pairs than MintPy asks for."""
    for t in range(width):
        meets[t] = meets[t] if pairs[t] >= rules.least_pairs else 0.0


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_epoch(width, window, tile, sums, j):
    """Add an epoch to the sums from which lines are made.

    Several short loops here and below, not one: the compiler vectorises a loop only while the arrays in it are few.
    """
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


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_pair(width, window, tile, sums, numbers, i):
    """Add a pair to the counts and to the sum of residual phasors (Pepe and Lanari, 2006), unweighted."""
    a, b = window.earlier[i], window.later[i]
    y, w = tile.y[i], tile.w[i]
    before, after = tile.position[a], tile.position[b]
    none = np.float32(0.0)
    angle, sign = tile.phasor[0], tile.phasor[1]
    for t in range(width):
        residual = np.float64(y[t]) - (after[t] - before[t])
        half_turns = np.floor(residual * _INVERSE_PI + 0.5)
        angle[t] = residual - half_turns * _PI
        sign[t] = 1.0 - 2.0 * (half_turns - 2.0 * np.floor(half_turns * 0.5))
    real, imaginary = sums[REAL], sums[IMAGINARY]
    for t in range(width):
        cosine = sign[t] * _cosine(angle[t] * angle[t])
        real[t] += cosine if w[t] > none else none
    for t in range(width):
        sine = sign[t] * angle[t] * _sine_over_angle(angle[t] * angle[t])
        imaginary[t] += sine if w[t] > none else none
    seen = numbers[N_OBSERVATIONS]
    for t in range(width):
        seen[t] += 1.0 if w[t] > none else 0.0


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
def _emit_sums(start, width, window, given, tile, result, number, sums, numbers):
    """Write down the sums of a checkpoint; the block is there already."""
    e, reach = window.emit[number], window.emit_reach[number]
    floats, counts = result.floats[number], result.counts[number]
    frozen = BLOCK + reach * (reach + 1) // 2 + 2 * reach
    for t in range(width):
        for row in range(BLOCK):
            floats[row, start + t] = sums[row, t]
        floats[BASE, start + t] = tile.position[e, t]
        floats[COHERENCE, start + t] += tile.quality[number, 0, t]
        floats[DRIFT, start + t] = result.left_out_m[start + t]
        for b in range(1, reach + 1):
            floats[frozen + b - 1, start + t] = tile.position[e + b, t] - tile.position[e, t]
        counts[N_OBSERVATIONS, start + t] = numbers[N_OBSERVATIONS, t]
        known = numbers[N_OBSERVATIONS, t] > 0.0
        counts[FIRST_SEEN, start + t] = _first_seen(start, t, window, given, tile) if known else 0
        counts[N_COHERENCE, start + t] = numbers[N_COHERENCE, t] + tile.quality[number, 1, t]
        counts[LEADS_ON, start + t] = 0
        counts[MEETS, start + t] = numbers[MEETS, t]
        if counts[RIM + reach + 1, start + t] == 0:
            _label(start, t, window, given, tile, result, number)
        else:
            counts[CLOSED_PARTS, start + t] += given.counts[CLOSED_PARTS, start + t]
    for i in range(window.first_pair[e], window.first_pair[e + 1]):
        for t in range(width):
            counts[LEADS_ON, start + t] |= tile.w[i, t] > 0.0


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
def _write(start, width, window, rules, times, given, tile, result, sums, numbers, touched):
    """Fill in the result."""
    unknown = np.nan
    seen, scale = numbers[N_OBSERVATIONS], rules.metres_per_radian
    for m in range(window.years.shape[0]):
        los_m, position = result.los_m[m, start : start + width], tile.position[m]
        for t in range(width):
            # Adding 0 turns -0 into 0.
            los_m[t] = position[t] * scale + 0.0 if seen[t] > 0.0 else unknown
        counts, pairs = result.pairs_per_epoch[m, start : start + width], touched[m]
        for t in range(width):
            counts[t] = np.uint16(np.int32(pairs[t]))
    last = window.emit.shape[0]
    for t in range(width):
        n, n_coherence = numbers[N_OBSERVATIONS, t], numbers[N_COHERENCE, t] + tile.quality[last, 1, t]
        length = np.sqrt(sums[REAL, t] ** 2 + sums[IMAGINARY, t] ** 2)
        total = sums[COHERENCE, t] + tile.quality[last, 0, t]
        result.temporal_coherence[start + t] = length / n if n > 0.0 else unknown
        result.mean_coherence[start + t] = total / n_coherence if n_coherence > 0.0 else unknown
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
        if first == 0 or first > 2 or times.n < 3:
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
def _solve_torn(start, t, window, given, tile, y, w):
    """Solve one pixel whose network may fall into interlocking parts; return the number of parts of the whole record.

    Each part is solved by itself; then the parts are shifted against each other so that the sum of squared
    velocities is smallest. The shifts solve a small system: the graph Laplacian of the parts, where the time that leads
    from one part to another is a spring. An epoch without a pair is a part of its own too, but one that only lies
    between its neighbours: it is left out here and placed afterwards, and the steps to it and from it are springs in
    series. Also tells whether several parts go on before the checkpoint, so that this solution does not hold.
    """
    n_epochs = window.years.shape[0]
    seen = np.empty(n_epochs, np.int64)
    node = np.empty(n_epochs, np.int64)
    n_seen = 0
    for m in range(n_epochs):
        node[m] = -1
        if m == 0 or tile.touched[m, t] > np.float32(0.0):
            seen[n_seen], node[m] = m, n_seen
            n_seen += 1
    root = _roots(start, t, window, given, w, n_epochs)
    part = np.empty(n_seen, np.int64)
    n_parts = 0
    for k in range(n_seen):
        a = _find(root, seen[k])
        if a == seen[k]:
            part[k] = n_parts
            n_parts += 1
        else:
            part[k] = part[node[a]]
    position = _solve_parts(start, t, window, given, y, w, node, part)
    origin = position[0]
    for k in range(n_seen):
        position[k] -= origin if part[k] == 0 else 0.0
    n_free, goes_on = _hold_to_checkpoint(start, t, window, given, node, part, n_parts, position)
    if n_free > 1:
        shift = _smallest_velocity_shifts(position, part, n_free, seen, window.steps_year)
        for k in range(n_seen):
            position[k] += shift[part[k]]
    base = given.floats[BASE, start + t]
    for k in range(n_seen):
        tile.position[seen[k], t] = position[k] + base
    _place_lonely_epochs(t, window, tile)
    for m in range(seen[n_seen - 1] + 1, n_epochs):
        tile.position[m, t] = tile.position[m - 1, t]
    closed = np.int64(given.counts[CLOSED_PARTS, start + t])
    return closed + n_parts + n_epochs - n_seen, goes_on, n_free < n_parts


@njit(cache=True, nogil=True)
def _hold_to_checkpoint(start, t, window, given, node, part, n_parts, position):
    """Bring the part that goes on before the checkpoint to where it was, if that is not the part of the first epoch.

    It is then at rest like the first one, so it takes its number, 0. Returns the number of parts that are left, and
    whether several go on before the checkpoint, so that this solution does not hold.
    """
    reach = window.reach
    frozen = BLOCK + reach * (reach + 1) // 2 + 2 * reach
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
def _solve_parts(start, t, window, given, y, w, node, part):
    """Least squares with the last epoch of every part held at 0: full rank, and banded in time order.

    Unknowns are the positions of the epochs that are seen; ``node`` numbers them, -1 is none.
    """
    n, width = part.shape[0], window.bandwidth + 1
    normal = np.zeros((n, width))
    right = np.zeros(n)
    held = np.zeros(n, np.bool_)
    last = np.full(n, -1)
    for j in range(n):
        last[part[j]] = j
    for k in last:
        if k >= 0:
            held[k] = True
    _add_checkpoint(start, t, window, given, node, part, normal, right)
    for i in range(window.earlier.shape[0]):
        weight = np.float64(w[i])
        if weight > 0.0:
            a, b = node[window.earlier[i]], node[window.later[i]]
            pull = weight * np.float64(y[i])
            normal[a, 0] += weight
            normal[b, 0] += weight
            normal[a, b - a] -= weight
            right[a] -= pull
            right[b] += pull
    for j in range(n):
        if held[j]:
            continue
        reach = min(width, n - j)
        inverse = 1.0 / normal[j, 0]
        for d in range(1, reach):
            factor = normal[j, d] * inverse
            if factor != 0.0:
                right[j + d] -= factor * right[j]
                for e in range(d, reach):
                    normal[j + d, e - d] -= factor * normal[j, e]
    position = np.zeros(n)
    for j in range(n - 1, -1, -1):
        if not held[j]:
            total = right[j]
            for d in range(1, min(width, n - j)):
                total -= normal[j, d] * position[j + d]
            position[j] = total / normal[j, 0]
    return position


@njit(cache=True, nogil=True)
def _add_checkpoint(start, t, window, given, node, part, normal, right):
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
            if node[a] >= 0 and node[b] >= 0 and part[node[a]] == part[node[b]]:
                normal[node[a], node[b] - node[a]] += positions[a, b]
    for j in range(reach):
        value = given.floats[row + j, start + t]
        if node[j + 1] >= 0:
            right[node[j + 1]] += value
        if node[j] >= 0:
            right[node[j]] -= value


@njit(cache=True, nogil=True)
def _smallest_velocity_shifts(position, part, n_parts, seen, steps_year):
    """Shifts of the parts, the first part at rest, that make the sum of squared velocities smallest.

    Between two epochs that follow each other, the least sum of squared velocities for a given step is its square over the
    sum of the squared times between them (see `_place_lonely_epochs`): a spring.
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
