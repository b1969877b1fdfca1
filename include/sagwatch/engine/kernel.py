"""The compiled heart of the solver: weighted small-baseline inversion of one tile of pixels after another.

The unknowns are the displacement steps x_j between neighbouring epochs, not their velocities: then a pair (a, b)
observes the plain sum x_a + ... + x_(b-1), and the normal matrix has the bandwidth of the longest pair. It is
factored as L D L^T in time order. A pixel whose own network has a hole cannot be factored this way. It goes to
`_solve_torn`, which lets the disconnected parts move against each other until the velocity norm is smallest:
the answer that MintPy's singular value decomposition gives.

Everything is float64 inside; phases, coherences and displacements are float32 outside. Tiles are independent and
every sum has one fixed order, so the answer does not depend on how many threads share the tiles.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE_PIXELS = 128
WEIGHT_VARIANCE, WEIGHT_FISHER, WEIGHT_COHERENCE, WEIGHT_NONE = range(4)

# A pivot this small against its own diagonal says that the pixel's network may be torn; whether it is torn is
# then decided by counting connected parts, never by rounding.
SUSPICIOUS_PIVOT = 1e-7

_LOWEST_COHERENCE = np.float32(0.05)
_LOWEST_BIN, _HIGHEST_BIN, _BIN_STEP = 0.0025, 0.9975, 0.005
_HIGHEST_FISHER = 1.0 - 1e-3
_PI = np.pi


@njit(cache=True, nogil=True, inline="always")
def _weigh(coherence, kind, looks, table):
    """Weight of one observation; coherence is NaN-free."""
    if kind == WEIGHT_NONE:
        return 1.0
    floored = np.float64(max(coherence, _LOWEST_COHERENCE))
    if kind == WEIGHT_VARIANCE:
        clipped = min(max(floored, _LOWEST_BIN), _HIGHEST_BIN)
        return table[int((clipped - _LOWEST_BIN) / _BIN_STEP)]
    if kind == WEIGHT_FISHER:
        squared = min(floored, _HIGHEST_FISHER) ** 2
        return np.float64(np.float32(2.0 * looks * squared / (1.0 - squared)))
    return floored


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


@njit(cache=True, nogil=True, fastmath={"contract"})
def solve_range(
    first,
    last,
    phase,
    coherence,
    reference,
    earlier,
    later,
    steps_year,
    bandwidth,
    kind,
    looks,
    table,
    coherence_floor,
    least_pairs,
    metres_per_radian,
    los_m,
    temporal_coherence,
    n_observations,
    pairs_per_epoch,
    parts,
    redundant,
):
    """Solve pixels ``first`` to ``last`` (exclusive) and write into the six output arrays.

    ``phase`` and ``coherence`` are (n_pairs, n_pixels); ``los_m`` and ``pairs_per_epoch`` (n_epochs, n_pixels);
    the other outputs (n_pixels,). ``coherence_floor`` below 0 masks nothing.
    """
    n_pairs, n_epochs = phase.shape[0], los_m.shape[0]
    n_steps = n_epochs - 1
    tile = TILE_PIXELS
    y = np.empty((n_pairs, tile))
    w = np.empty((n_pairs, tile))
    band = np.empty((n_steps, bandwidth, tile))
    x = np.empty((n_steps, tile))
    position = np.empty((n_epochs, tile))
    inverse = np.empty((n_steps, tile))
    suspicious = np.empty(tile, np.bool_)
    for start in range(first, last, tile):
        width = min(tile, last - start)
        _load(start, width, phase, coherence, reference, kind, looks, table, coherence_floor, y, w)
        _count(start, width, w, earlier, later, least_pairs, n_observations, pairs_per_epoch, redundant)
        _assemble(width, y, w, earlier, later, band, x)
        _factor_and_substitute(width, band, x, inverse, suspicious)
        _accumulate(width, x, position)
        for t in range(width):
            parts[start + t] = 1
            if n_observations[start + t] == 0:
                parts[start + t] = n_epochs
            elif suspicious[t]:
                parts[start + t] = _solve_torn(
                    y[:, t], w[:, t], earlier, later, steps_year, bandwidth, position[:, t]
                )
        _agreement(start, width, y, w, earlier, later, position, n_observations, temporal_coherence)
        for m in range(n_epochs):
            for t in range(width):
                observed = n_observations[start + t] > 0
                los_m[m, start + t] = position[m, t] * metres_per_radian if observed else np.nan


@njit(cache=True, nogil=True)
def _load(start, width, phase, coherence, reference, kind, looks, table, coherence_floor, y, w):
    """Reference the phases of a tile; a missing observation gets weight 0 and value 0."""
    zero = np.float32(0.0)
    for i in range(phase.shape[0]):
        r = reference[i]
        for t in range(width):
            u = phase[i, start + t]
            c = coherence[i, start + t]
            if np.isnan(c):
                c = zero
            value = u - r
            # MintPy takes an exact zero, before or after referencing, for "no data".
            if np.isnan(u) or u == zero or value == zero or c < coherence_floor:
                y[i, t] = 0.0
                w[i, t] = 0.0
            else:
                y[i, t] = value
                w[i, t] = _weigh(c, kind, looks, table)


@njit(cache=True, nogil=True)
def _count(start, width, w, earlier, later, least_pairs, n_observations, pairs_per_epoch, redundant):
    """Count valid pairs per pixel and per epoch; apply MintPy's redundancy test (the first epoch is exempt)."""
    n_pairs, n_epochs = w.shape[0], pairs_per_epoch.shape[0]
    for t in range(width):
        n_observations[start + t] = 0
    for m in range(n_epochs):
        for t in range(width):
            pairs_per_epoch[m, start + t] = 0
    for i in range(n_pairs):
        a, b = earlier[i], later[i]
        for t in range(width):
            if w[i, t] > 0.0:
                n_observations[start + t] += 1
                pairs_per_epoch[a, start + t] += 1
                pairs_per_epoch[b, start + t] += 1
    for t in range(width):
        redundant[start + t] = n_observations[start + t] > 0
    for m in range(1, n_epochs):
        for t in range(width):
            if pairs_per_epoch[m, start + t] < least_pairs:
                redundant[start + t] = False


@njit(cache=True, nogil=True, fastmath={"contract"})
def _assemble(width, y, w, earlier, later, band, x):
    """Build the banded normal matrix (diagonal d above the main one in band[:, d]) and the right-hand side."""
    band[:] = 0.0
    x[:] = 0.0
    for i in range(y.shape[0]):
        a, b = earlier[i], later[i]
        for j in range(a, b):
            for t in range(width):
                x[j, t] += w[i, t] * y[i, t]
            for d in range(b - j):
                for t in range(width):
                    band[j, d, t] += w[i, t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _factor_and_substitute(width, band, x, inverse, suspicious):
    """Solve the banded system in place by L D L^T; mark the pixels with a suspicious pivot."""
    n_steps, bandwidth = band.shape[0], band.shape[1]
    diagonal = np.empty((n_steps, width))
    for j in range(n_steps):
        for t in range(width):
            diagonal[j, t] = band[j, 0, t]
    suspicious[:] = False
    for j in range(n_steps):
        reach = min(bandwidth, n_steps - j)
        for t in range(width):
            pivot = band[j, 0, t]
            if pivot <= SUSPICIOUS_PIVOT * diagonal[j, t]:
                suspicious[t] = True
                inverse[j, t] = 0.0
            else:
                inverse[j, t] = 1.0 / pivot
        for d in range(1, reach):
            for t in range(width):
                factor = band[j, d, t] * inverse[j, t]
                x[j + d, t] -= factor * x[j, t]
                for e in range(d, reach):
                    band[j + d, e - d, t] -= factor * band[j, e, t]
    for j in range(n_steps - 1, -1, -1):
        reach = min(bandwidth, n_steps - j)
        for d in range(1, reach):
            for t in range(width):
                x[j, t] -= band[j, d, t] * x[j + d, t]
        for t in range(width):
            x[j, t] *= inverse[j, t]


@njit(cache=True, nogil=True)
def _accumulate(width, x, position):
    """Sum the steps to positions, the first epoch at 0."""
    for t in range(width):
        position[0, t] = 0.0
    for j in range(x.shape[0]):
        for t in range(width):
            position[j + 1, t] = position[j, t] + x[j, t]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _agreement(start, width, y, w, earlier, later, position, n_observations, temporal_coherence):
    """Temporal coherence: how well the unweighted residual phases of a pixel agree (Pepe and Lanari, 2006)."""
    real = np.zeros(width)
    imaginary = np.zeros(width)
    for i in range(y.shape[0]):
        a, b = earlier[i], later[i]
        for t in range(width):
            residual = y[i, t] - (position[b, t] - position[a, t])
            cosine, sine = _cosine_sine(residual)
            valid = 1.0 if w[i, t] > 0.0 else 0.0
            real[t] += valid * cosine
            imaginary[t] += valid * sine
    for t in range(width):
        n = n_observations[start + t]
        if n > 0:
            temporal_coherence[start + t] = np.sqrt(real[t] * real[t] + imaginary[t] * imaginary[t]) / n
        else:
            temporal_coherence[start + t] = np.nan


@njit(cache=True, nogil=True)
def _solve_torn(y, w, earlier, later, steps_year, bandwidth, position):
    """Solve one pixel whose network may fall into parts; return the number of parts.

    Each part is solved by itself; then the parts are shifted against each other so that the sum of squared
    velocities is smallest. The shifts solve a small system: the graph Laplacian of the parts, where every step
    of time that leads from one part to another is a spring of stiffness 1/dt^2.
    """
    n_epochs = position.shape[0]
    part, n_parts = _connected_parts(w, earlier, later, n_epochs)
    _solve_parts(y, w, earlier, later, bandwidth, part, position)
    if n_parts > 1:
        shift = _smallest_velocity_shifts(position, part, n_parts, steps_year)
        for m in range(n_epochs):
            position[m] += shift[part[m]]
    origin = position[0]
    for m in range(n_epochs):
        position[m] -= origin
    return n_parts


@njit(cache=True, nogil=True)
def _connected_parts(w, earlier, later, n_epochs):
    """Label the epochs by connected part, numbered in order of their first epoch."""
    root = np.arange(n_epochs)
    for i in range(w.shape[0]):
        if w[i] > 0.0:
            a, b = earlier[i], later[i]
            while root[a] != a:
                root[a] = root[root[a]]
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            # The smaller epoch is always the root, so a part is named by its first epoch.
            if a < b:
                root[b] = a
            else:
                root[a] = b
    part = np.empty(n_epochs, np.int64)
    n_parts = 0
    for m in range(n_epochs):
        a = m
        while root[a] != a:
            a = root[a]
        if a == m:
            part[m] = n_parts
            n_parts += 1
        else:
            part[m] = part[a]
    return part, n_parts


@njit(cache=True, nogil=True)
def _solve_parts(y, w, earlier, later, bandwidth, part, position):
    """Least squares with the last epoch of every part held at 0: full rank, and banded in time order."""
    n_epochs = position.shape[0]
    normal = np.zeros((n_epochs, bandwidth + 1))
    right = np.zeros(n_epochs)
    held = np.zeros(n_epochs, np.bool_)
    seen = np.zeros(n_epochs, np.bool_)
    for m in range(n_epochs - 1, -1, -1):
        held[m] = not seen[part[m]]
        seen[part[m]] = True
    for i in range(y.shape[0]):
        a, b = earlier[i], later[i]
        if w[i] > 0.0:
            normal[a, 0] += w[i]
            right[a] -= w[i] * y[i]
            if not held[b]:
                normal[b, 0] += w[i]
                normal[a, b - a] -= w[i]
                right[b] += w[i] * y[i]
    for j in range(n_epochs):
        reach = min(bandwidth + 1, n_epochs - j)
        if held[j]:
            continue
        for d in range(1, reach):
            factor = normal[j, d] / normal[j, 0]
            if factor != 0.0:
                right[j + d] -= factor * right[j]
                for e in range(d, reach):
                    normal[j + d, e - d] -= factor * normal[j, e]
    for j in range(n_epochs - 1, -1, -1):
        position[j] = 0.0
        if not held[j]:
            total = right[j]
            for d in range(1, min(bandwidth + 1, n_epochs - j)):
                total -= normal[j, d] * position[j + d]
            position[j] = total / normal[j, 0]


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
