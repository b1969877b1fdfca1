"""Ground whose truth is known: stable under a turbulent atmosphere, with basins that sink and stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.alert_rules import AlertRules
from sagwatch.domain.grid import Grid
from sagwatch.domain.judgement import Judged, WatchState
from sagwatch.steps.judge import Solution, judge_settled

PIXEL_M = 80.0
DAYS_BETWEEN = 12
RULES = AlertRules()
TRACK = "invented/t011a"
FIRST_DAY = date(2020, 1, 1)


@dataclass(frozen=True)
class Basin:
    """A Gaussian trough: its peak rate (LOS, negative away), and from which epoch until which it sinks."""

    peak_mm_yr: float
    onset: int
    stop: int = 10_000
    row: float = 0.5
    column: float = 0.5
    sigma_m: float = 300.0


def grid_of(shape: tuple[int, int]) -> Grid:
    return Grid(epsg=32649, west=400_000, north=4_140_000, pixel_m=PIXEL_M, columns=shape[1], rows=shape[0])


def days_of(n_epochs: int) -> list[date]:
    return [FIRST_DAY + timedelta(days=DAYS_BETWEEN * i) for i in range(n_epochs)]


def atmosphere_mm(
    rng: np.random.Generator, n_epochs: int, shape: tuple[int, int], rms_mm: float
) -> NDArray[np.float64]:
    """Power-law delay (spectrum k^-8/3) with the given rms difference at 10 km, one field per epoch."""
    side = 256
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(side, PIXEL_M), np.fft.fftfreq(side, PIXEL_M)))
    wave[0, 0] = np.inf
    noise = rng.standard_normal((n_epochs, side, side))
    field = np.real(np.fft.ifft2(wave ** (-8 / 6) * np.fft.fft2(noise)))
    lag = int(10_000 / PIXEL_M)
    at_10_km = np.sqrt(np.mean((field[:, :, lag:] - field[:, :, :-lag]) ** 2))
    return field[:, : shape[0], : shape[1]] * rms_mm / at_10_km


def invent_ground(
    seed: int,
    n_epochs: int,
    shape: tuple[int, int],
    basins: Sequence[Basin] = (),
    atmosphere_rms_mm: float = 8.0,
    white_mm: float = 3.0,
) -> NDArray[np.float32]:
    """LOS displacement since the first epoch in metres, shape (n_epochs, rows, columns)."""
    rng = np.random.default_rng(seed)
    los_mm = atmosphere_mm(rng, n_epochs, shape, atmosphere_rms_mm)
    los_mm += rng.normal(0, white_mm, los_mm.shape)
    los_mm -= los_mm[:, 3:4, 3:4]  # the reference point
    rows, columns = np.indices(shape)
    for basin in basins:
        centre = basin.row * shape[0], basin.column * shape[1]
        distance_m = PIXEL_M * np.hypot(rows - centre[0], columns - centre[1])
        bowl = np.exp(-((distance_m / basin.sigma_m) ** 2) / 2)
        years = np.clip(np.arange(n_epochs) - basin.onset, 0, max(0, basin.stop - basin.onset))
        years = years * DAYS_BETWEEN / 365.25
        los_mm += basin.peak_mm_yr * years[:, None, None] * bowl
    return ((los_mm - los_mm[0]) / 1000).astype(np.float32)


def live_through(
    los_m: NDArray[np.float32],
    epochs: Sequence[int],
    state: WatchState | None = None,
    rules: AlertRules = RULES,
    observed: NDArray[np.bool_] | None = None,
) -> list[Judged]:
    """Judge the epochs (by number) one after the other, as the steps do."""
    shape = los_m.shape[1:]
    dates = days_of(los_m.shape[0])

    def solution_until(epoch: date) -> Solution:
        n = dates.index(epoch) + 1
        return Solution(
            dates=tuple(dates[:n]),
            los_m=los_m[:n],
            temporal_coherence=np.ones(shape, np.float32),
            observed=None if observed is None else observed[:n],
            incidence_deg=39.0,
        )

    days = [dates[i] for i in epochs]
    return judge_settled(TRACK, grid_of(shape), rules, 0.7, days, state or WatchState(), solution_until)


def history(judged: Sequence[Judged], rule: str = "R1") -> list[tuple[int, str, int]]:
    """(epoch number, event type, new level) of every event of a rule."""
    return [
        ((event.epoch - FIRST_DAY).days // DAYS_BETWEEN, event.type, event.to_level)
        for one in judged
        for event in one.events
        if event.rule == rule
    ]
