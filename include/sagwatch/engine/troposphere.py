"""The delay of the troposphere at each epoch: from files, from an average epoch, or from heights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sagwatch.errors import BadInputError

#: MintPy's ``tropo_phase_elevation.py`` averages so many pixels in each direction before it fits.
LOOKS = 8
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Maps:
    """Delay of every epoch, flat, metres, absolute; None where there is none."""

    of: tuple[NDArray[np.floating] | None, ...] = field(repr=False)

    @cached_property
    def present(self) -> tuple[int, ...]:
        return tuple(number for number, one in enumerate(self.of) if one is not None)


@dataclass(frozen=True)
class Air:
    """The troposphere's delay of every epoch and pixel, flat; metres of LOS displacement that it feigns.

    Attributes
    ----------
    stand_in
        What an epoch without a map gets: ``mean``, the mean of all maps, so it lies where an average epoch lies (0
        would mean that there was no air, metres away); ``height_correlation``, its slope times the height.
    slopes
        Delay per metre of ``height_m``, shape (n_epochs,), where an epoch stands on it.
    height_m
        See `rise`; 0 at the reference pixel.
    """

    maps: Maps
    stand_in: str
    slopes: NDArray[np.float64]
    height_m: NDArray[np.float64] = field(repr=False)
    reference: int

    def check(self) -> None:
        """Raises BadInputError where a map does not know the reference pixel: every other pixel refers to it."""
        bad = [number for number in self.maps.present if not np.isfinite(self._map(number)[self.reference])]
        if bad:
            raise BadInputError(
                f"the delay of epoch {bad[0]} (of {len(bad)}) is unknown at the reference pixel; make it anew"
            )

    def epoch(self, number: int) -> NDArray[np.float64]:
        """Delay of an epoch against the reference pixel, shape (n_pixels,)."""
        if self.maps.of[number] is not None:
            delay = self._map(number)
        elif self.stand_in == "mean":
            delay = self._mean
        else:
            return self.slopes[number] * self.height_m
        return delay - delay[self.reference]

    def difference(self, number: int) -> NDArray[np.float64]:
        """Delay of an epoch against the first one and the reference pixel."""
        return self.epoch(number) - self._first

    def strip(self, pixels: slice) -> NDArray[np.float64]:
        """Delay of all epochs against the first and the reference pixel, shape (n_epochs, n)."""
        found = np.empty((len(self.maps.of), self.height_m[pixels].size))
        for number in self.maps.present:
            delay = self.maps.of[number]
            if delay is not None:
                found[number] = delay[pixels]
                found[number] -= float(delay[self.reference])
        absent = [number for number, one in enumerate(self.maps.of) if one is None]
        if self.stand_in == "mean" and absent:
            found[absent] = found[list(self.maps.present)].mean(axis=0)
        elif absent:
            found[absent] = np.multiply.outer(self.slopes[absent], self.height_m[pixels])
        found -= found[0].copy()
        return found

    def _map(self, number: int) -> NDArray[np.float64]:
        delay = self.maps.of[number]
        if delay is None:
            raise BadInputError(f"epoch {number} has no delay: this is a fault of Sagwatch, report it")
        return delay.astype(np.float64)

    @cached_property
    def _first(self) -> NDArray[np.float64]:
        return self.epoch(0)

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        total = np.zeros(self.height_m.size)
        for number in self.maps.present:
            total += self._map(number)
        return total / len(self.maps.present)


def rise(
    height_m: NDArray[np.floating], incidence_rad: NDArray[np.float64], reference: int
) -> NDArray[np.float64]:
    """What MintPy's ``tropo_phase_elevation`` takes for the height: over the cosine of the incidence angle, against the
    reference pixel; metres, flat."""
    slanted = height_m.astype(np.float64) / np.cos(incidence_rad)
    return np.asarray(slanted - slanted[reference], np.float64)


def height_slope(
    displacement_m: NDArray[np.float64],
    height_m: NDArray[np.float64],
    mask: NDArray[np.bool_],
    shape: tuple[int, int],
) -> float:
    """Displacement per metre of height, from a straight line over averages of 8 x 8 pixels (Doin et al. 2009,
    doi:10.1016/j.jappgeo.2009.03.010, as MintPy computes it).

    Parameters
    ----------
    displacement_m, height_m
        Flat, as `rise`.
    mask
        Flat; pixels that count, where both are known.

    Returns
    -------
    0 where less than two averages are known: then nothing is corrected.
    """
    counted = mask & np.isfinite(displacement_m) & np.isfinite(height_m)
    n = _block_sums(counted.astype(np.float64), shape)
    full = n > 0
    # Less than 2 x 2 averages say nothing of a slope.
    if np.count_nonzero(full) < 4:
        return 0.0
    d = _block_sums(np.where(counted, displacement_m, 0.0), shape)[full] / n[full]
    h = _block_sums(np.where(counted, height_m, 0.0), shape)[full] / n[full]
    h -= h.mean()
    spread = float(h @ h)
    return float(h @ d) / spread if spread > 0 else 0.0


def of_first_epoch(series: Callable[[int], NDArray[np.float64]], air: Air) -> NDArray[np.float64]:
    """Displacement of the first epoch against its nearest epochs with a delay, their delay taken off.

    The series says 0 of it by definition; its own air shows in all others, with the opposite sign. A few epochs,
    because the ground moves.
    """
    near = [number for number in air.maps.present if number > 0][:_NEIGHBOURS]
    return -np.mean([series(number) - air.epoch(number) for number in near], axis=0)


def _block_sums(flat: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over squares of 8 x 8 pixels; the rest at the far edges is left out, as MintPy does."""
    rows, columns = (max(size // LOOKS, 0) for size in shape)
    cropped = flat.reshape(shape)[: rows * LOOKS, : columns * LOOKS]
    return cropped.reshape(rows, LOOKS, columns, LOOKS).sum(axis=(1, 3))
