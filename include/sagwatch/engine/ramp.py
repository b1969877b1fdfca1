"""A plane or a quadric through the displacements of each epoch, as MintPy's ``remove_ramp.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

#: Beyond so many pixels MintPy's ``deramp`` fits to a regular sample of them.
_MOST_PIXELS = 1_000_000
_TERMS = {"linear": ((1, 0), (0, 1), (0, 0)), "quadratic": ((2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (0, 0))}


@dataclass(frozen=True)
class Ramp:
    """The surface: ``linear`` has coefficients of row, column, 1; ``quadratic`` of row², column², row * column, row,
    column, 1. Rows and columns count from 0, as in MintPy's coefficients (``--save-ramp-coeff``).
    """

    kind: str
    shape: tuple[int, int]
    reference: int

    @property
    def n_coefficients(self) -> int:
        return len(_TERMS[self.kind])

    def surface(self, pixels: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.float64]:
        """Values of each term at some flat pixels against the reference pixel, shape (n_coefficients, n)."""
        at = np.arange(self.shape[0] * self.shape[1])[pixels]
        return self._terms(at) - self._terms(np.array([self.reference]))

    def fitter(self, mask: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """A function from displacements (n_pixels,) to coefficients, fitted to the masked pixels that are known.

        As in MintPy, a value of exactly 0 does not count; that is the reference pixel. Less than a few pixels give no
        ramp: NaN.
        """
        chosen = np.flatnonzero(mask)
        terms = self._terms(chosen)
        # Squares of hundreds of rows beside ones: scaled, the normal equations lose no digit that matters.
        scale = np.maximum(np.abs(terms).max(axis=1, initial=0.0), 1.0)
        scaled = terms / scale[:, None]
        all_of_them = scaled @ scaled.T

        def fit(los_m: NDArray[np.float64]) -> NDArray[np.float64]:
            values = los_m[chosen]
            counted = np.isfinite(values) & (values != 0.0)
            n = int(np.count_nonzero(counted))
            if n > _MOST_PIXELS:
                counted &= self._sample(n)[chosen]
            if np.count_nonzero(counted) < 2 * self.n_coefficients:
                return np.full(self.n_coefficients, np.nan)
            if n == values.size and n <= _MOST_PIXELS:
                normal, right = all_of_them, scaled @ values
            else:
                some = scaled[:, counted]
                normal, right = some @ some.T, some @ values[counted]
            found = np.linalg.lstsq(normal, right, rcond=None)[0]
            return np.asarray(found / scale, np.float64)

        return fit

    def _terms(self, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        row, column = np.divmod(pixels.astype(np.float64), self.shape[1])
        return np.array([row**a * column**b for a, b in _TERMS[self.kind]])

    @cached_property
    def _flat(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, columns = np.divmod(np.arange(self.shape[0] * self.shape[1]), self.shape[1])
        return rows, columns

    def _sample(self, n: int) -> NDArray[np.bool_]:
        step = math.ceil(math.sqrt(n / _MOST_PIXELS))
        rows, columns = self._flat
        first = step // 2
        return (
            (rows >= first)
            & (columns >= first)
            & ((rows - first) % step == 0)
            & ((columns - first) % step == 0)
        )
