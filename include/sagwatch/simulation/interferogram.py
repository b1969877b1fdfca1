"""What the radar makes of ground and air: coherence, noise, bias, wrapping, unwrapping.

Signs: displacement is along the line of sight, positive toward the satellite. Phase is HyP3's, positive = away from
the satellite: ``phase = -4 pi / wavelength * displacement``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

from .air import FREQUENCY_HZ, feigned_m
from .chance import generator
from .ground import cover, dem_error_m, vegetated_share, water
from .motion import displacement_m
from .orbit import slant_range_m
from .passes import baseline_m
from .scenario import Scenario
from .unwrapping import unwrap

WAVELENGTH_M = 299_792_458.0 / FREQUENCY_HZ
PHASE_PER_METRE = -4.0 * np.pi / WAVELENGTH_M
DAYS_PER_YEAR = 365.25
WATER_COHERENCE = 0.08

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def true_coherence(scenario: Scenario, reference: date, secondary: date, grid: Grid) -> Floats:
    """Expected coherence of a pair: land cover, temporal decay, growing season, water. Shape of the grid."""
    rules = scenario.coherence
    days = (secondary - reference).days
    decay = np.exp(-(days - 12) / rules.decay_days)
    season = 1.0 - rules.summer_loss * (_greenness(reference) + _greenness(secondary)) / 2
    # Vegetated (low) ground suffers from season and time, bare ground hardly does.
    base = np.clip(rules.median + rules.spread * cover(scenario, grid), 0.12, 0.97)
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
    scenario: Scenario,
    path: int,
    reference: date,
    secondary: date,
    looks: int,
    grid: Grid,
    restituted: frozenset[date] = frozenset(),
) -> Interferogram:
    """Make a pair: true motion and air, decorrelation, wrapping, and a real unwrapping of the result.

    `restituted` names the dates whose precise orbit was not yet out when the pair was processed.
    """
    rng = generator(scenario.seed, "pair", path, reference, secondary, looks)
    motion = displacement_m(scenario, path, reference, secondary, grid)
    coherence = true_coherence(scenario, reference, secondary, grid)
    if scenario.coherence.strain:
        coherence *= strain_coherence(motion)
    before = feigned_m(scenario, path, reference, grid, restituted=reference in restituted)
    air = feigned_m(scenario, path, secondary, grid, restituted=secondary in restituted) - before
    systematic = phase_bias_m(scenario, reference, secondary, grid)
    systematic += topographic_m(scenario, path, reference, secondary, grid)
    unknown_offset = _static_rad(scenario, path, secondary) - _static_rad(scenario, path, reference)
    phase = PHASE_PER_METRE * (motion + air + systematic) + unknown_offset + rng.uniform(-np.pi, np.pi)
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


def strain_coherence(motion_m: Floats) -> Floats:
    """Share of the coherence that is left where motion differs within a pixel.

    A phase that changes by ``g`` across a pixel leaves ``|sin(g / 2) / (g / 2)|`` of the coherent sum, each way.
    """
    down, right = np.gradient(PHASE_PER_METRE * motion_m)
    return np.abs(np.sinc(down / (2 * np.pi)) * np.sinc(right / (2 * np.pi)))


def phase_bias_m(scenario: Scenario, reference: date, secondary: date, grid: Grid) -> Floats:
    """Bias of a multilooked pair over green ground, metres of feigned motion; it breaks closure and fades."""
    rule = scenario.phase_bias
    if rule is None:
        return np.zeros(grid.shape)
    green = (_greenness(reference) + _greenness(secondary)) / 2
    fading = np.exp(-((secondary - reference).days - 12) / rule.decay_days)
    per_pair_m = rule.los_mm_yr / 1000.0 * 12 / DAYS_PER_YEAR
    return per_pair_m * green * fading * vegetated_share(scenario, grid)


def topographic_m(scenario: Scenario, path: int, reference: date, secondary: date, grid: Grid) -> Floats:
    """Feigned motion of a wrong DEM, metres: ``baseline / (range sin i) x error`` (Fattahi and Amelung 2013)."""
    if not scenario.dem_error_m:
        return np.zeros(grid.shape)
    track = scenario.track(path)
    numbers = (track.pass_on(day).number for day in (reference, secondary))
    first_m, second_m = (baseline_m(scenario, path, number) for number in numbers)
    lever_m = slant_range_m(track.incidence_deg) * np.sin(np.radians(track.incidence_deg))
    return (second_m - first_m) / lever_m * dem_error_m(scenario, grid)


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
