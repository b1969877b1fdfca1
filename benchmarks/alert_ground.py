"""Simulated ground for scoring alerts: the simple noise model of the project's goals, with truth.

Turbulent delay with a power-law spectrum (k^-8/3 in power, scaled to an rms difference at 10 km), white noise, a
reference point of its own noise, and Gaussian troughs. No unwrapping errors: figures from it rank rules, they do not
predict a mine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.grid import Grid
from sagwatch.domain.judge import judge
from sagwatch.domain.judgement import GroundView, Judged, WatchState
from sagwatch.steps.judge import Solution, ground_view

PIXEL_M = 80.0
DAYS_BETWEEN = 12
DAYS_PER_YEAR = 365.25
SIDE = 128
FIRST_DAY = date(2020, 1, 1)
TRACK = "invented/t011a"
#: White noise that goes with an atmosphere (rms difference at 10 km), both in mm.
WHITE_MM = {8.0: 3.0, 15.0: 4.0}
#: Epochs that a view is made of: a year and some more. What is older changes no decision.
EPOCHS_KEPT = 34
#: Streams of random numbers for tuning and for scoring never meet, whatever seed is given.
TUNING, SCORING = 0, 1


def stream(purpose: int, seed: int, *what: int) -> np.random.Generator:
    """The random numbers of one experiment; ``purpose`` is TUNING or SCORING."""
    return np.random.default_rng(np.random.SeedSequence([purpose, seed, *what]))


def days_of(n_epochs: int) -> tuple[date, ...]:
    return tuple(FIRST_DAY + timedelta(days=DAYS_BETWEEN * i) for i in range(n_epochs))


def grid_of(shape: tuple[int, int]) -> Grid:
    return Grid(epsg=32649, west=400_000, north=4_140_000, pixel_m=PIXEL_M, columns=shape[1], rows=shape[0])


def atmosphere_mm(
    rng: np.random.Generator, n_epochs: int, shape: tuple[int, int], rms_mm: float
) -> NDArray[np.float32]:
    """One independent field per epoch, shape (n_epochs, *shape)."""
    side = 2 * max(shape)  # twice the size: the Fourier transform's wrap-around stays outside
    waves_y, waves_x = np.fft.fftfreq(side, PIXEL_M), np.fft.rfftfreq(side, PIXEL_M)
    wave = np.hypot(waves_y[:, None], waves_x[None, :])
    wave[0, 0] = np.inf
    gain = (wave ** (-8 / 6)).astype(np.float32)
    scale = rms_mm / _difference_at_10_km(side, gain)
    result = np.empty((n_epochs, *shape), dtype=np.float32)
    for epoch in range(n_epochs):
        noise = rng.standard_normal((side, side), dtype=np.float32)
        result[epoch] = irfft2(gain * rfft2(noise), s=(side, side))[: shape[0], : shape[1]] * scale
    return result


def _difference_at_10_km(side: int, gain: NDArray[np.float32]) -> float:
    """Root mean square difference of unscaled fields at 10 km, from their spectrum (Wiener-Khinchin)."""
    covariance = irfft2(gain.astype(np.float64) ** 2, s=(side, side))
    lag = round(10_000 / PIXEL_M)
    return float(np.sqrt(2 * (covariance[0, 0] - covariance[0, min(lag, side // 2)])))


@dataclass(frozen=True)
class Trough:
    """A trough; place in pixels, rate LOS in mm/yr (negative away), ``onset`` and ``stop`` in epochs."""

    row: float
    column: float
    peak_mm_yr: float
    onset: int
    stop: int = 10**6
    sigma_m: float = 300.0
    pixels_per_epoch: float = 0.0
    flat: bool = False

    def shape_at(self, epoch: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Share of the peak rate at each pixel, 0 to 1."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        column = self.column + self.pixels_per_epoch * max(0, epoch - self.onset)
        distance = PIXEL_M * np.hypot(rows - self.row, columns - column)
        if self.flat:
            return (distance <= self.sigma_m * 2).astype(np.float32)
        return np.exp(-((distance / self.sigma_m) ** 2) / 2).astype(np.float32)

    def step_mm(self, epoch: int, shape: tuple[int, int]) -> NDArray[np.float32] | float:
        """How far the ground moves from one epoch to the next."""
        if not self.onset <= epoch < self.stop:
            return 0.0
        return self.shape_at(epoch, shape) * (self.peak_mm_yr * DAYS_BETWEEN / DAYS_PER_YEAR)

    def covers(self, pixels: NDArray[np.int64], columns: int, epoch: int) -> bool:
        """Whether an area lies on this trough: one of its pixels is within two sigma of the centre."""
        rows, cols = np.divmod(pixels, columns)
        centre = self.column + self.pixels_per_epoch * max(0, min(epoch, self.stop) - self.onset)
        near = np.hypot(rows - self.row, cols - centre) * PIXEL_M
        return bool((near <= 2 * self.sigma_m).any())


@dataclass
class Scene:
    """Ground that comes epoch by epoch, so that decades need no memory; iterate once."""

    rng: np.random.Generator
    n_epochs: int
    rms_mm: float
    troughs: Sequence[Trough] = ()
    shape: tuple[int, int] = (SIDE, SIDE)
    _moved: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self._moved = np.zeros(self.shape, dtype=np.float32)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Displacement of each epoch in mm, relative to the reference point and not to the first epoch."""
        white = WHITE_MM.get(self.rms_mm, 3.0)
        for epoch in range(self.n_epochs):
            noise = atmosphere_mm(self.rng, 1, self.shape, self.rms_mm)[0]
            noise += self.rng.normal(0, white, self.shape).astype(np.float32)
            field_mm = self._moved + noise
            yield field_mm - field_mm[3, 3]
            for trough in self.troughs:
                self._moved = self._moved + trough.step_mm(epoch, self.shape)


def views(scene: Scene, rules: AlertRules, first: int) -> Iterator[tuple[int, GroundView]]:
    """The ground as the steps see it, from epoch number ``first`` on."""
    days = days_of(scene.n_epochs)
    kept: list[NDArray[np.float32]] = []
    sure = np.ones(scene.shape, dtype=np.float32)
    for epoch, field_mm in enumerate(scene):
        kept = [*kept[-EPOCHS_KEPT + 1 :], field_mm]
        if epoch < first:
            continue
        los_m = np.stack(kept) / np.float32(1000)
        solution = Solution(days[epoch + 1 - len(kept) : epoch + 1], los_m, sure, incidence_deg=39.0)
        yield epoch, ground_view(days[epoch], solution, rules, 0.7, PIXEL_M)


def live_through(scene: Scene, rules: AlertRules, first: int = 7) -> Iterator[tuple[int, GroundView, Judged]]:
    """Judge every epoch of a scene as the steps do."""
    state, grid = WatchState(), grid_of(scene.shape)
    for epoch, view in views(scene, rules, first):
        judged = judge(view, state, rules, grid, TRACK)
        state = judged.state
        yield epoch, view, judged
