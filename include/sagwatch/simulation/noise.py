"""Random fields with a power law, made on a coarse periodic lattice and interpolated onto any grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage

from sagwatch.domain.grid import Grid

from .chance import generator
from .scenario import Scenario

LATTICE_M = 100.0
TEN_KM = 10_000.0

Floats = NDArray[np.float64]


@lru_cache(maxsize=8)
def to_utm(epsg: int) -> Transformer:
    return Transformer.from_crs(4326, epsg, always_xy=True)


@dataclass(frozen=True)
class Lattice:
    """The periodic square lattice of one scenario on which noise is made, at least twice as wide as the area."""

    west: float
    north: float
    size: int

    def sample(self, field: Floats, grid: Grid) -> Floats:
        """The field at the pixel centres of a grid, cubic between lattice points."""
        x, _ = grid.xy(0, np.arange(grid.columns))
        _, y = grid.xy(np.arange(grid.rows), 0)
        rows, columns = (self.north - y) / LATTICE_M, (x - self.west) / LATTICE_M
        window_rows = slice(max(int(rows[0]) - 4, 0), min(int(rows[-1]) + 6, self.size))
        window_columns = slice(max(int(columns[0]) - 4, 0), min(int(columns[-1]) + 6, self.size))
        window = field[window_rows, window_columns]
        where = np.meshgrid(rows - window_rows.start, columns - window_columns.start, indexing="ij")
        return ndimage.map_coordinates(window, where, order=3, mode="nearest")


@lru_cache(maxsize=8)
def _lattice(box: tuple[float, float, float, float], epsg: int, margin_m: float) -> Lattice:
    west, south, east, north = box
    xs, ys = to_utm(epsg).transform([west, west, east, east], [south, north, south, north])
    reach = margin_m + 2_000.0
    extent = max(max(xs) - min(xs), max(ys) - min(ys)) + 2 * reach
    size = 2 ** int(np.ceil(np.log2(max(2 * extent, 3 * TEN_KM) / LATTICE_M)))
    return Lattice(np.floor(min(xs) - reach), np.ceil(max(ys) + reach), size)


def lattice_of(scenario: Scenario) -> Lattice:
    return _lattice(scenario.box, scenario.epsg, scenario.margin_m)


def _wavenumber(size: int) -> Floats:
    """Radial wavenumber in cycles per metre; the mean is set to infinity so that it carries no power."""
    along = np.fft.fftfreq(size, LATTICE_M)
    k = np.hypot(along[:, None], along[None, :])
    k[0, 0] = np.inf
    return k


def power_law_field(
    size: int, exponent: float, rng: np.random.Generator, longest_m: float = np.inf
) -> tuple[Floats, Floats]:
    """A random field with power spectrum ``k ** -exponent``, without waves longer than ``longest_m``, and the spectrum.

    Returns
    -------
    field, spectrum : shape (size, size)
        The field has the autocovariance ``ifft2(spectrum)`` in the mean over all fields.
    """
    wavenumber = _wavenumber(size)
    spectrum = wavenumber**-exponent * (1.0 - np.exp(-((wavenumber * longest_m) ** 4)))
    noise = np.fft.fft2(rng.standard_normal((size, size)))
    return np.fft.ifft2(noise * np.sqrt(spectrum)).real, spectrum


def difference_rms(spectrum: Floats, distance_m: float) -> float:
    """RMS difference of two points of a field with this spectrum, ``sqrt(2 (C(0) - C(r)))``."""
    covariance = np.fft.ifft2(spectrum).real
    steps = round(distance_m / LATTICE_M)
    apart = (covariance[0, steps] + covariance[steps, 0]) / 2
    return float(np.sqrt(2 * (covariance[0, 0] - apart)))


@lru_cache(maxsize=8)
def unit_field(seed: int, word: str, size: int, exponent: float, longest_m: float = np.inf) -> Floats:
    field, _ = power_law_field(size, exponent, generator(seed, word), longest_m)
    # Standardised over the corner of the lattice where the area lies: what users see has the stated spread.
    seen = field[: size // 2, : size // 2]
    return (field - seen.mean()) / seen.std()
