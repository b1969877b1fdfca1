"""A zone's own history against its surroundings, and what tests of it say: trend, acceleration, displacement.

The double difference takes out what zone and surroundings share (atmosphere wider than the trough, the reference
point's own motion), so the tests look at the ground and not at the weather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid

DAYS_PER_YEAR = 365.25
#: More pixels than this make a median no better, only slower.
_MOST_PIXELS = 600
_LEAST_BACKGROUND = 20
_LEAST_EPOCHS = 4
_MAD_TO_SIGMA = 1.4826
_ONE_SIDED_95 = 0.95


@dataclass(frozen=True, eq=False)
class ZoneSeries:
    """LOS displacement of a zone against its surroundings.

    ``los_mm`` has shape (n_epochs,), negative away from the satellite, relative to the first epoch that has a value;
    epochs without one are left out. ``correlation`` is the lag-1 autocorrelation of the noise on stable ground.
    """

    dates: tuple[date, ...]
    los_mm: NDArray[np.float64]
    correlation: float

    @property
    def years(self) -> NDArray[np.float64]:
        """Before the newest epoch, so zero or negative."""
        last = self.dates[-1]
        return np.array([(day - last).days for day in self.dates], dtype=np.float64) / DAYS_PER_YEAR

    @property
    def inflation(self) -> float:
        """What correlated noise does to a standard deviation of slopes and means."""
        return float(np.sqrt((1 + self.correlation) / (1 - self.correlation)))

    def since(self, days: int) -> ZoneSeries:
        """The part that is not older than so many days before its end."""
        keep = [i for i, day in enumerate(self.dates) if (self.dates[-1] - day).days <= days]
        return ZoneSeries(tuple(self.dates[i] for i in keep), self.los_mm[keep], self.correlation)

    def beginning(self, day: date) -> ZoneSeries | None:
        """The part that is not older than a day; None where too little is left to look at."""
        keep = [i for i, one in enumerate(self.dates) if one >= day]
        if len(keep) < _LEAST_EPOCHS:
            return None
        return ZoneSeries(tuple(self.dates[i] for i in keep), self.los_mm[keep], self.correlation)

    @property
    def noise_mm(self) -> float:
        """Standard deviation of one epoch, from how much neighbouring steps differ; robust to motion and outliers."""
        if self.los_mm.size < _LEAST_EPOCHS:
            return float("nan")
        bends = np.diff(self.los_mm, 2)
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(bends - np.median(bends)))) / np.sqrt(6.0)
        return spread / np.sqrt(max(0.05, 1 - self.correlation))


def zone_series(
    pixels: NDArray[np.int64],
    dates: Sequence[date],
    los_m: NDArray[np.floating],
    background: NDArray[np.bool_],
    grid: Grid,
    ring_m: float,
    correlation: float,
) -> ZoneSeries | None:
    """Median of the zone's pixels minus the median of the quiet ground around, epoch by epoch.

    Parameters
    ----------
    pixels
        Pixel numbers of the zone, row by row.
    los_m
        Shape (n_epochs, rows, columns), metres; NaN is no data.
    background
        Shape (rows, columns): ground that may count as surroundings.

    Returns
    -------
    None where too few epochs have a value in both.
    """
    zone_mm = _median_mm(los_m.reshape(len(dates), -1), _thinned(pixels))
    los_mm = zone_mm - surroundings_mm(pixels, dates, los_m, background, grid, ring_m)
    known = np.flatnonzero(np.isfinite(los_mm)).tolist()
    if len(known) < _LEAST_EPOCHS:
        return None
    values = los_mm[known]
    return ZoneSeries(tuple(dates[i] for i in known), values - values[0], correlation)


def surroundings_mm(
    pixels: NDArray[np.int64],
    dates: Sequence[date],
    los_m: NDArray[np.floating],
    background: NDArray[np.bool_],
    grid: Grid,
    ring_m: float,
) -> NDArray[np.float64]:
    """Median of the quiet ground around, epoch by epoch, mm; 0 where there is too little of it. As in `zone_series`."""
    outside = _thinned(_surroundings(pixels, background, grid, ring_m))
    if outside.size < _LEAST_BACKGROUND:
        return np.zeros(len(dates))
    return _median_mm(los_m.reshape(len(dates), -1), outside)


def _thinned(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    return pixels[:: max(1, -(-pixels.size // _MOST_PIXELS))]


def _surroundings(
    pixels: NDArray[np.int64], background: NDArray[np.bool_], grid: Grid, ring_m: float
) -> NDArray[np.int64]:
    rows, columns = np.divmod(pixels, grid.columns)
    reach = max(1, round(ring_m / 2 / grid.pixel_m))
    box = np.zeros(grid.shape, dtype=bool)
    box[
        max(0, rows.min() - reach) : rows.max() + reach + 1,
        max(0, columns.min() - reach) : columns.max() + reach + 1,
    ] = True
    box.ravel()[pixels] = False
    return np.flatnonzero((box & background).ravel())


def _median_mm(flat_m: NDArray[np.floating], pixels: NDArray[np.int64]) -> NDArray[np.float64]:
    values = flat_m[:, pixels].astype(np.float64) * 1000
    known = np.isfinite(values).any(axis=1)
    result = np.full(values.shape[0], np.nan)
    result[known] = np.nanmedian(values[known], axis=1)
    return result


@dataclass(frozen=True, slots=True)
class Fit:
    """Least squares with the parameters' standard deviations, corrected for correlated noise."""

    values: NDArray[np.float64]
    deviations: NDArray[np.float64]
    freedom: int
    squares: float

    def probability(self, index: int) -> float:
        """That chance alone would make the parameter so far from zero (two-sided; equals the F-test of leaving it
        out)."""
        if not self.deviations[index] > 0:
            return 0.0 if self.values[index] else 1.0
        from scipy.special import stdtr  # scipy is slow to load, and tasks that judge nothing import this

        return float(2 * stdtr(self.freedom, -abs(self.values[index] / self.deviations[index])))


def fit(design: NDArray[np.float64], series: ZoneSeries) -> Fit | None:
    """Fit the columns of a design to a series; None without three degrees of freedom."""
    n, parameters = design.shape
    if n - parameters < 3 or np.linalg.matrix_rank(design) < parameters:
        return None
    values, *_ = np.linalg.lstsq(design, series.los_mm, rcond=None)
    squares = float(np.sum((series.los_mm - design @ values) ** 2))
    covariance = np.linalg.inv(design.T @ design) * squares / (n - parameters)
    deviations = np.sqrt(np.diag(covariance)) * series.inflation
    return Fit(values.astype(np.float64), deviations, n - parameters, squares)


@dataclass(frozen=True, slots=True)
class TrendChange:
    """The rate of the recent window minus the rate of the year before it; mm/yr, negative is faster sinking."""

    before_mm_yr: float
    now_mm_yr: float
    change_mm_yr: float
    sd_mm_yr: float
    probability: float


def trend_change(series: ZoneSeries, recent_days: int, least_epochs: int) -> TrendChange | None:
    """A line that may bend once, where the recent window begins; None with too few epochs on either side."""
    part = series.since(recent_days + 365)
    years = part.years
    bend = -recent_days / DAYS_PER_YEAR
    if min((years >= bend).sum(), (years < bend).sum()) < least_epochs:
        return None
    design = np.column_stack([np.ones(years.size), years, np.clip(years - bend, 0, None)])
    found = fit(design, part)
    if found is None:
        return None
    _, before, change = found.values
    return TrendChange(
        float(before), float(before + change), float(change), float(found.deviations[2]), found.probability(2)
    )


@dataclass(frozen=True, slots=True)
class Acceleration:
    """Curvature over the last year, and the rates of its thirds, oldest first; mm/yr and mm/yr²."""

    curvature_mm_yr2: float
    sd_mm_yr2: float
    probability: float
    rates_mm_yr: tuple[float, float, float]

    @property
    def faster_each_time(self) -> bool:
        first, second, third = self.rates_mm_yr
        return third < second < first and third < 0

    @property
    def inverse_velocity_yr_per_m(self) -> tuple[float | None, ...]:
        """For the advisory plot of Fukuzono's method; a failure date is never drawn from 12-day data."""
        return tuple(round(-1000 / rate, 2) if rate < 0 else None for rate in self.rates_mm_yr)


def acceleration(series: ZoneSeries, least_epochs: int) -> Acceleration | None:
    """Test the last year for a bend downwards; None with too few epochs in one of its thirds."""
    part = series.since(365)
    years = part.years
    bounds = np.linspace(years[0], 0, 4)
    thirds = [(years >= bounds[i] - 1e-9) & (years <= bounds[i + 1] + 1e-9) for i in range(3)]
    if years[0] > -0.75 or min(third.sum() for third in thirds) < least_epochs:
        return None
    found = fit(np.column_stack([np.ones(years.size), years, years**2 / 2]), part)
    if found is None:
        return None
    first, second, third = (float(np.polyfit(years[mask], part.los_mm[mask], 1)[0]) for mask in thirds)
    return Acceleration(
        float(found.values[2]), float(found.deviations[2]), found.probability(2), (first, second, third)
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """Displacement since a day, LOS in mm against the surroundings, with its standard deviation."""

    since: date
    los_mm: float
    sd_mm: float
    freedom: int

    @property
    def upper_mm(self) -> float:
        """It has moved at least so far, with 95 % certainty (one-sided)."""
        from scipy.special import stdtrit

        return self.los_mm + float(stdtrit(self.freedom, _ONE_SIDED_95)) * self.sd_mm


def moved_since(series: ZoneSeries, baseline: date | None) -> Moved | None:
    """Mean of the three newest epochs minus that of the three first since the baseline."""
    keep = [i for i, day in enumerate(series.dates) if baseline is None or day >= baseline]
    if len(keep) < 6 or not np.isfinite(series.noise_mm):
        return None
    values = series.los_mm[keep]
    moved = float(np.mean(values[-3:]) - np.mean(values[:3]))
    sd = float(series.noise_mm * np.sqrt(2 / 3) * series.inflation)
    return Moved(series.dates[keep[0]], moved, sd, max(3, len(keep) - 3))
