"""The simulated ground and air, as pure arrays: heights, troughs, atmosphere, coherence, phase.

Every field is a function of position (UTM metres), of the scenario's seed and, where it varies, of the date. Fields are
made on a coarse lattice of their own and interpolated, so that products of any looks show the same world.

Signs: displacement is along the line of sight, positive toward the satellite. Phase is HyP3's, positive = away from
the satellite: ``phase = -4 pi / wavelength * displacement``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage
from scipy.special import erf
from skimage.restoration import unwrap_phase

from sagwatch.domain.grid import Grid

from .chance import generator
from .scenario import Rate, Scenario, Trough

WAVELENGTH_M = 299_792_458.0 / 5.405e9
PHASE_PER_METRE = -4.0 * np.pi / WAVELENGTH_M
DAYS_PER_YEAR = 365.25
LATTICE_M = 100.0
TEN_KM = 10_000.0
WATER_COHERENCE = 0.08
UNWRAP_COHERENCE = 0.25
LEAST_COMPONENT_PIXELS = 30

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@lru_cache(maxsize=8)
def _to_utm(epsg: int) -> Transformer:
    return Transformer.from_crs(4326, epsg, always_xy=True)


def area(scenario: Scenario, pixel_m: float) -> Grid:
    """The box of the scenario and its margin, on the lattice that every product of this pixel size shares."""
    west, south, east, north = scenario.box
    corners_x, corners_y = _to_utm(scenario.epsg).transform(
        [west, west, east, east], [south, north, south, north]
    )
    left = np.floor((min(corners_x) - scenario.margin_m) / pixel_m)
    right = np.ceil((max(corners_x) + scenario.margin_m) / pixel_m)
    bottom = np.floor((min(corners_y) - scenario.margin_m) / pixel_m)
    top = np.ceil((max(corners_y) + scenario.margin_m) / pixel_m)
    columns, rows = int(right - left), int(top - bottom)
    return Grid(scenario.epsg, float(left * pixel_m), float(top * pixel_m), pixel_m, columns, rows)


# --- fields made of noise --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lattice:
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
def _lattice(box: tuple[float, float, float, float], epsg: int, margin_m: float) -> _Lattice:
    west, south, east, north = box
    xs, ys = _to_utm(epsg).transform([west, west, east, east], [south, north, south, north])
    reach = margin_m + 2_000.0
    extent = max(max(xs) - min(xs), max(ys) - min(ys)) + 2 * reach
    size = 2 ** int(np.ceil(np.log2(max(2 * extent, 3 * TEN_KM) / LATTICE_M)))
    return _Lattice(np.floor(min(xs) - reach), np.ceil(max(ys) + reach), size)


def _lattice_of(scenario: Scenario) -> _Lattice:
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


@lru_cache(maxsize=64)
def _atmosphere_lattice(seed: int, path: int, day: date, size: int, mm_at_10_km: float) -> Floats:
    # Power law -8/3 over two dimensions: turbulence at scales of kilometres (Hanssen 2001, section 4.7).
    field, spectrum = power_law_field(size, 8.0 / 3.0, generator(seed, "atmosphere", path, day))
    return field * (mm_at_10_km / 1000.0 / difference_rms(spectrum, TEN_KM))


def atmosphere_m(scenario: Scenario, path: int, day: date, grid: Grid) -> Floats:
    """Line-of-sight delay of one pass, metres, positive = looks like motion toward the satellite. Shape of the grid."""
    lattice = _lattice_of(scenario)
    amount = scenario.atmosphere.turbulent_mm_at_10_km
    return lattice.sample(_atmosphere_lattice(scenario.seed, path, day, lattice.size, amount), grid)


@lru_cache(maxsize=8)
def _unit_field(seed: int, word: str, size: int, exponent: float, longest_m: float = np.inf) -> Floats:
    field, _ = power_law_field(size, exponent, generator(seed, word), longest_m)
    # Standardised over the corner of the lattice where the area lies: what users see has the stated spread.
    seen = field[: size // 2, : size // 2]
    return (field - seen.mean()) / seen.std()


def height_m(scenario: Scenario, grid: Grid) -> Floats:
    """Ellipsoidal height: rolling loess hills cut by V-shaped gullies. Shape of the grid."""
    lattice = _lattice_of(scenario)
    hills = lattice.sample(_unit_field(scenario.seed, "hills", lattice.size, 4.0), grid)
    gullies = lattice.sample(_unit_field(scenario.seed, "gullies", lattice.size, 4.0, 2_800.0), grid)
    small = lattice.sample(_unit_field(scenario.seed, "small gullies", lattice.size, 3.5, 900.0), grid)
    # |noise| is creased where the noise changes sign: a branching net of valley floors.
    return (
        960.0 + 70.0 * hills + 95.0 * np.minimum(np.abs(gullies), 1.3) + 30.0 * np.minimum(np.abs(small), 1.3)
    )


# --- motion ----------------------------------------------------------------------------------------------------------


def moved_m(rates: list[Rate], since: date, until: date) -> float:
    """Displacement of a trough's centre between two days, metres along the line of sight."""
    total_mm = 0.0
    ends = [rate.start for rate in rates[1:]] + [date.max]
    for rate, end in zip(rates, ends, strict=True):
        days = (min(end, until) - max(rate.start, since)).days
        if days > 0:
            total_mm += rate.peak_los_mm_yr * days / DAYS_PER_YEAR
    return total_mm / 1000.0


def trough_shape(trough: Trough, epsg: int, grid: Grid) -> Floats:
    """Depth of a trough as a share of its centre's, 1 in the centre. Shape of the grid.

    ``gaussian`` is ``exp(-pi (r/R)^2)``, the influence function of the probability-integral method (Knothe 1957);
    ``probability_integral`` is that function integrated over a square panel of side R.
    """
    centre_x, centre_y = _to_utm(epsg).transform(trough.lon, trough.lat)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    dx, dy = (x - centre_x) / trough.radius_m, (y - centre_y) / trough.radius_m
    if trough.profile == "gaussian":
        return np.exp(-np.pi * dy**2)[:, None] * np.exp(-np.pi * dx**2)[None, :]
    return _panel(dy)[:, None] * _panel(dx)[None, :]


def _panel(offset: Floats) -> Floats:
    """Influence of a strip as wide as one radius, normalised to its middle; offset in radii."""
    root = np.sqrt(np.pi)
    return (erf(root * (offset + 0.5)) - erf(root * (offset - 0.5))) / (2 * erf(root * 0.5))


def displacement_m(scenario: Scenario, since: date, until: date, grid: Grid) -> Floats:
    """True line-of-sight displacement between two days, metres, positive toward the satellite. Shape of the grid."""
    total = np.zeros(grid.shape)
    for trough in scenario.troughs:
        depth_m = moved_m(trough.rates, since, until)
        if depth_m:
            total += depth_m * trough_shape(trough, scenario.epsg, grid)
    return total


# --- what the radar sees ---------------------------------------------------------------------------------------------


def water(scenario: Scenario, grid: Grid) -> Bools:
    """True where the river is. Shape of the grid."""
    if scenario.river is None:
        return np.zeros(grid.shape, dtype=bool)
    lons, lats = zip(*scenario.river.points, strict=True)
    xs, ys = _to_utm(scenario.epsg).transform(lons, lats)
    x, _ = grid.xy(0, np.arange(grid.columns))
    _, y = grid.xy(np.arange(grid.rows), 0)
    nearest = np.full(grid.shape, np.inf)
    for start, end in zip(zip(xs, ys, strict=True), zip(xs[1:], ys[1:], strict=True), strict=False):
        nearest = np.minimum(nearest, _distance_m(x[None, :], y[:, None], start, end))
    return nearest <= scenario.river.width_m / 2


def _distance_m(x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Distance of points to a segment."""
    along = np.subtract(end, start)
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0.0, 1.0)
    return np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])


def true_coherence(scenario: Scenario, reference: date, secondary: date, grid: Grid) -> Floats:
    """Expected coherence of a pair: land cover, temporal decay, growing season, water. Shape of the grid."""
    lattice = _lattice_of(scenario)
    rules = scenario.coherence
    cover = lattice.sample(_unit_field(scenario.seed, "land cover", lattice.size, 2.6), grid)
    days = (secondary - reference).days
    decay = np.exp(-(days - 12) / rules.decay_days)
    season = 1.0 - rules.summer_loss * (_greenness(reference) + _greenness(secondary)) / 2
    # Vegetated (low) ground suffers from season and time, bare ground hardly does.
    base = np.clip(rules.median + rules.spread * cover, 0.12, 0.97)
    lost = 1.0 - (1.0 - decay * season) * np.clip(1.3 - base, 0.1, 1.0)
    return np.where(water(scenario, grid), WATER_COHERENCE, np.clip(base * lost, 0.05, 0.97))


def _greenness(day: date) -> float:
    """0 in winter, 1 at the end of July."""
    year_share = (day.timetuple().tm_yday - 210) / DAYS_PER_YEAR
    return max(0.0, float(np.cos(2 * np.pi * year_share))) ** 2


def phase_noise_rad(coherence: Floats, looks: int, rng: np.random.Generator) -> Floats:
    """Decorrelation noise of one interferogram.

    The average of ``looks`` products of two circular Gaussian signals with this coherence: drawn as the sum of a
    constant ``coherence`` and complex noise of variance ``(1 - coherence^2) / looks`` (large-looks limit).
    """
    scale = np.sqrt((1.0 - coherence**2) / (2.0 * looks))
    quadrature = rng.standard_normal((2, *coherence.shape)) * scale
    return np.angle(coherence + quadrature[0] + 1j * quadrature[1])


@dataclass(frozen=True)
class Interferogram:
    """Layers of one pair, all of the grid's shape. Phases in radians, positive = away from the satellite."""

    unwrapped_rad: NDArray[np.float32]
    wrapped_rad: NDArray[np.float32]
    coherence: NDArray[np.float32]
    components: NDArray[np.float32]
    land: Bools


def interferogram(
    scenario: Scenario, path: int, reference: date, secondary: date, looks: int, grid: Grid
) -> Interferogram:
    """Make a pair: true motion and air, decorrelation, wrapping, and a real unwrapping of the result."""
    rng = generator(scenario.seed, "pair", path, reference, secondary, looks)
    coherence = true_coherence(scenario, reference, secondary, grid)
    motion = displacement_m(scenario, reference, secondary, grid)
    air = atmosphere_m(scenario, path, secondary, grid) - atmosphere_m(scenario, path, reference, grid)
    unknown_offset = _static_rad(scenario, path, secondary) - _static_rad(scenario, path, reference)
    phase = PHASE_PER_METRE * (motion + air) + unknown_offset + rng.uniform(-np.pi, np.pi)
    noisy = phase + phase_noise_rad(coherence, effective_looks(looks), rng)
    estimated = np.clip(coherence + rng.normal(0, 0.02, grid.shape), 0.01, 0.99)
    wrapped = np.angle(np.exp(1j * noisy))
    unwrapped, components = unwrap(wrapped, estimated)
    return Interferogram(
        _never_zero(unwrapped),
        _never_zero(wrapped),
        estimated.astype(np.float32),
        components.astype(np.float32),
        ~water(scenario, grid),
    )


def effective_looks(nominal_looks: int) -> int:
    """Independent looks after HyP3's Goldstein filter, which averages more than the multi-looking alone.

    The filter is not simulated; at 5x1 looks its window of neighbours is worth about a fivefold number of looks.
    """
    return max(nominal_looks, 25)


def _static_rad(scenario: Scenario, path: int, day: date) -> float:
    """The unknown constant of one pass: nothing means anything until it is referenced."""
    return float(generator(scenario.seed, "constant", path, day).uniform(-20.0, 20.0))


def _never_zero(phase: Floats) -> NDArray[np.float32]:
    """0 means no data in a product, so a valid zero moves by the least visible amount."""
    single = phase.astype(np.float32)
    single[single == 0] = np.float32(1e-6)
    return single


def unwrap(wrapped: Floats, coherence: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Unwrap where the coherence allows it; number the connected parts.

    Returns
    -------
    unwrapped : radians
        Congruent with ``wrapped`` everywhere. Ground outside any part takes the multiple of 2 pi of the nearest part.
    components : 0 = in no part, 1 = the largest part
        Parts are unwrapped independently: the multiple of 2 pi between two parts is unknown, as in real products.
    """
    components = _components(ndimage.uniform_filter(coherence, 3) >= UNWRAP_COHERENCE)
    inside = components > 0
    if not inside.any():
        return wrapped.copy(), components
    masked = np.ma.masked_array(wrapped, mask=~inside)
    unwrapped = np.asarray(unwrap_phase(masked, rng=0).filled(0.0))
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    neighbour = unwrapped[nearest[0], nearest[1]]
    cycles = np.round((np.where(inside, unwrapped, neighbour) - wrapped) / (2 * np.pi))
    return wrapped + 2 * np.pi * cycles, components


def _components(good: Bools) -> NDArray[np.intp]:
    labels, count = ndimage.label(good)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = [label for label in np.argsort(-sizes, kind="stable") if sizes[label] >= LEAST_COMPONENT_PIXELS]
    rank = np.zeros(count + 1, dtype=np.intp)
    rank[order] = np.arange(1, len(order) + 1)
    return rank[labels]
