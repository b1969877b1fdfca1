"""The weather: analytic fields of pressure, temperature and vapour, and the delay that a radar suffers in them.

One set of fields, twice used: the simulated CDS writes them on pressure levels as ERA5, and the interferograms are
delayed by their refractivity. Fields vary with season, hour and synoptic waves of a few days, and slowly in space;
everything is a smooth function of time, longitude, latitude and height, and of the seed.

The column is simple: temperature falls by 6.5 K/km up to 11 km and stays constant above; pressure is that of dry air at
rest; vapour pressure falls exponentially.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

from .chance import generator
from .scenario import Scenario
from .scenario_physics import Weather

GRAVITY = 9.80665
R_DRY, R_VAPOUR = 287.05, 461.495
LAPSE_K_M, TROPOPAUSE_M = 6.5e-3, 11_000.0
#: Refractivity of Smith and Weintraub as in Jolivet et al. 2011: K/Pa, K/Pa, K^2/Pa.
K1, K2, K3 = 0.776, 0.716, 3750.0
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
DAYS_PER_YEAR = 365.25
WAVES = 14
SHORTEST_DAYS, LONGEST_DAYS = 3.0, 25.0
#: Gradients hold near the site and level off beyond so many degrees, so that far corners stay plausible.
GRADIENT_REACH_DEG = 4.0
TABLE_TOP_M, TABLE_STEP_M = 16_000.0, 25.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Air:
    """Columns of air: what stands at sea level, and how fast vapour falls. All of one shape."""

    sea_level_pa: Floats
    sea_level_k: Floats
    vapour_pa: Floats
    vapour_scale_m: Floats

    def temperature_k(self, height_m: Floats) -> Floats:
        return self.sea_level_k - LAPSE_K_M * np.minimum(height_m, TROPOPAUSE_M)

    def pressure_pa(self, height_m: Floats) -> Floats:
        """Hydrostatic pressure of dry air at a height."""
        below = self.temperature_k(height_m) / self.sea_level_k
        tropospheric = self.sea_level_pa * below ** (GRAVITY / (R_DRY * LAPSE_K_M))
        above_m = np.maximum(height_m - TROPOPAUSE_M, 0.0)
        return tropospheric * np.exp(-GRAVITY * above_m / (R_DRY * self.temperature_k(height_m)))

    def height_m(self, pressure_pa: float) -> Floats:
        """Where the pressure is this; the inverse of `pressure_pa`."""
        exponent = R_DRY * LAPSE_K_M / GRAVITY
        tropospheric = self.sea_level_k * (1 - (pressure_pa / self.sea_level_pa) ** exponent) / LAPSE_K_M
        top = np.full_like(self.sea_level_pa, TROPOPAUSE_M)
        scale_m = R_DRY * self.temperature_k(top) / GRAVITY
        stratospheric = TROPOPAUSE_M + scale_m * np.log(self.pressure_pa(top) / pressure_pa)
        return np.where(tropospheric <= TROPOPAUSE_M, tropospheric, stratospheric)

    def vapour_pressure_pa(self, height_m: Floats) -> Floats:
        return self.vapour_pa * np.exp(-height_m / self.vapour_scale_m)

    def specific_humidity(self, height_m: Floats) -> Floats:
        """kg of vapour per kg of moist air."""
        ratio = R_VAPOUR / R_DRY
        vapour = self.vapour_pressure_pa(height_m)
        return vapour / (ratio * self.pressure_pa(height_m) - (ratio - 1) * vapour)

    def zenith_delay_m(self, height_m: Floats) -> Floats:
        """One-way delay straight up from each of some heights; the last axis is height.

        Hydrostatic: ``1e-6 k1 Rd P / g``; wet: the integral of ``1e-6 ((k2 - k1 Rd / Rv) e / T + k3 e / T^2)``
        (Jolivet et al. 2011, as PyAPS computes it).
        """
        column = Air(*(np.asarray(value)[..., None] for value in vars(self).values()))
        steps_m = np.arange(TABLE_TOP_M, height_m.min() - TABLE_STEP_M, -TABLE_STEP_M)
        share = column.vapour_pressure_pa(steps_m) / column.temperature_k(steps_m)
        wet = 1e-6 * ((K2 - K1 * R_DRY / R_VAPOUR) * share + K3 * share / column.temperature_k(steps_m))
        layers = (wet[..., 1:] + wet[..., :-1]) / 2 * TABLE_STEP_M
        below_top = np.concatenate([np.zeros((*layers.shape[:-1], 1)), np.cumsum(layers, axis=-1)], axis=-1)
        flat = below_top.reshape(-1, steps_m.size)
        wet_m = np.stack([np.interp(height_m, steps_m[::-1], one[::-1]) for one in flat])
        dry_m = 1e-6 * K1 * R_DRY / GRAVITY * column.pressure_pa(height_m)
        return dry_m + wet_m.reshape(dry_m.shape)


def air(scenario: Scenario, moment: datetime, lon: Floats, lat: Floats, *, preliminary: bool = False) -> Air:
    """The air over some places at a moment; as ERA5T believed it if `preliminary`. Shape of the places."""
    seed = scenario.seed
    days = (moment - EPOCH).total_seconds() / 86_400.0
    winter = np.cos(2 * np.pi * (days - 15.0) / DAYS_PER_YEAR)  # 1 in the middle of January
    afternoon = np.cos(2 * np.pi * (days + _longitude(scenario) / 360.0 - 15.0 / 24.0))

    def wave(word: str, spread: float) -> float:
        return spread * _synoptic(seed, word, days)

    west, south, east, north = scenario.box
    x = GRADIENT_REACH_DEG * np.tanh((lon - (west + east) / 2) / GRADIENT_REACH_DEG)
    y = GRADIENT_REACH_DEG * np.tanh((lat - (south + north) / 2) / GRADIENT_REACH_DEG)

    def field(word: str, middle: float, spread: float, slope: float) -> Floats:
        """A wave in time about a mean, tilted in space by slopes per degree that are waves themselves."""
        tilt = wave(f"{word} east", slope) * x + wave(f"{word} north", slope) * y
        return middle + wave(word, spread) + tilt

    kelvin = field("temperature", 289.0 - 12.0 * winter + 3.0 * afternoon, 3.0, 0.4) - 0.6 * y
    relative = np.clip(field("humidity", 0.5 - 0.15 * winter, 0.12, 0.02), 0.1, 0.95)
    vapour = relative * _saturation_pa(kelvin)
    if preliminary and scenario.weather is not None:
        vapour = vapour * _preliminary_factor(seed, scenario.weather, moment)
    return Air(
        sea_level_pa=100.0 * field("pressure", 1015.0 + 7.0 * winter, 5.0, 0.5),
        sea_level_k=kelvin,
        vapour_pa=vapour,
        vapour_scale_m=np.full(kelvin.shape, np.clip(2000.0 + wave("scale", 200.0), 1400.0, 2600.0)),
    )


def _longitude(scenario: Scenario) -> float:
    west, _, east, _ = scenario.box
    return (west + east) / 2


def _preliminary_factor(seed: int, weather: Weather, moment: datetime) -> float:
    drawn = generator(seed, "preliminary", f"{moment:%Y%m%d%H}").standard_normal()
    return float(np.clip(1.0 + weather.preliminary_vapour_error * drawn, 0.3, 1.7))


@lru_cache(maxsize=64)
def _waves(seed: int, word: str) -> tuple[Floats, Floats]:
    """Angular frequencies (per day) and phases of a stationary process."""
    rng = generator(seed, "weather", word)
    periods = np.exp(rng.uniform(np.log(SHORTEST_DAYS), np.log(LONGEST_DAYS), WAVES))
    return 2 * np.pi / periods, rng.uniform(0, 2 * np.pi, WAVES)


def _synoptic(seed: int, word: str, days: float) -> float:
    """A smooth random function of time with mean 0 and standard deviation 1."""
    frequency, phase = _waves(seed, word)
    return float(np.sqrt(2.0 / WAVES) * np.cos(frequency * days + phase).sum())


def _saturation_pa(kelvin: Floats) -> Floats:
    """Over water (Buck 1981)."""
    return 611.21 * np.exp(17.502 * (kelvin - 273.16) / (kelvin - 32.19))


def zenith_delay_m(scenario: Scenario, moment: datetime, heights_m: Floats, grid: Grid) -> Floats:
    """True one-way zenith delay over a grid with these heights, metres. Shape of the grid.

    The air is evaluated over the grid's four corners and taken linearly between them: fields are that smooth.
    """
    rows, columns = grid.shape
    lon, lat = grid.lon_lat(np.array([0, 0, rows - 1, rows - 1]), np.array([0, columns - 1, 0, columns - 1]))
    levels_m = np.arange(heights_m.min() - 2 * TABLE_STEP_M, heights_m.max() + 2 * TABLE_STEP_M, TABLE_STEP_M)
    tables = air(scenario, moment, lon, lat).zenith_delay_m(levels_m)
    down = np.linspace(0, 1, rows)[:, None]
    right = np.linspace(0, 1, columns)[None, :]
    weights = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)
    delay_m = np.zeros(grid.shape)
    for weight, table in zip(weights, tables, strict=True):
        delay_m += weight * np.interp(heights_m, levels_m, table)
    return delay_m
