"""Straight lines through displacement histories: the velocity of the whole record and of recent windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.kernel import (
    CORRELATION,
    INTERCEPT,
    INTERCEPT_STD,
    LINE_ROWS,
    RESIDUE,
    VELOCITY,
    VELOCITY_STD,
)
from sagwatch.engine.lines import fit_range
from sagwatch.engine.network import DAYS_PER_YEAR
from sagwatch.errors import BadInputError

LEAST_EPOCHS_OF_A_LINE = 3


@dataclass(frozen=True)
class Line:
    """A least-squares line through each pixel's history; every array has shape (n_pixels,).

    Attributes
    ----------
    velocity_m_yr
        Slope, negative away from the satellite. NaN where the pixel has too few epochs.
    intercept_m
        Value of the line at time 0 of the years that were given.
    velocity_std_m_yr
        Standard deviation of the slope from the scatter about the line, as MintPy's ``residue`` option: it takes
        the residuals for independent in time, which they are not; see ``residual_correlation``.
    intercept_std_m
        The same for the intercept.
    residue_m
        Root of the sum of squared residuals.
    residual_correlation
        Lag-1 autocorrelation of the residuals, -1 to 1; 0 if the residuals vanish.
    n_epochs
        How many epochs the line used.
    """

    velocity_m_yr: NDArray[np.float32]
    intercept_m: NDArray[np.float32]
    velocity_std_m_yr: NDArray[np.float32]
    intercept_std_m: NDArray[np.float32]
    residue_m: NDArray[np.float32]
    residual_correlation: NDArray[np.float32]
    n_epochs: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time before the newest epoch over which a velocity is judged.

    ``days`` of None is the whole record.
    """

    name: str
    days: int | None
    least_epochs: int

    def __post_init__(self) -> None:
        if self.days is not None and self.days <= 0:
            raise BadInputError(f"window {self.name}: {self.days} days must be positive")
        if self.least_epochs < LEAST_EPOCHS_OF_A_LINE:
            raise BadInputError(
                f"window {self.name}: {self.least_epochs} epochs leave no residual; "
                f"use {LEAST_EPOCHS_OF_A_LINE} or more"
            )


def mintpy_years(dates: Sequence[date]) -> NDArray[np.float64]:
    """Years since the first date as MintPy counts them: calendar year plus day of year over 365.25.

    A turn of the year counts up to a day more or less than it lasts. This is kept for the whole-record velocity, so
    that it equals MintPy's ``velocity.h5``; windows use elapsed time.
    """
    years = np.array([day.year + (day.timetuple().tm_yday - 1) / DAYS_PER_YEAR for day in dates])
    return years - years[0]


def elapsed_years(dates: Sequence[date]) -> NDArray[np.float64]:
    """Years of 365.25 days since the first date."""
    return np.array([(day - dates[0]).days for day in dates], dtype=np.float64) / DAYS_PER_YEAR


def fit_line(
    years: NDArray[np.float64],
    los_m: NDArray[np.floating],
    observed: NDArray[np.bool_] | None = None,
    least_epochs: int = LEAST_EPOCHS_OF_A_LINE,
) -> Line:
    """Fit a straight line through each pixel's displacement history.

    Parameters
    ----------
    years
        Shape (n_epochs,), time of each epoch in years, rising.
    los_m
        Shape (n_epochs, n_pixels), LOS displacement in metres; NaN is left out.
    observed
        Shape (n_epochs, n_pixels); False leaves an epoch out of a pixel's line. None keeps all.
    least_epochs
        A pixel with fewer epochs gets NaN.
    """
    if los_m.ndim != 2 or years.shape != los_m.shape[:1]:
        raise BadInputError(f"times {years.shape} do not match a history of shape {los_m.shape}")
    n_pixels = los_m.shape[1]
    used = np.ones(los_m.shape, np.uint8) if observed is None else observed.view(np.uint8)
    rows = np.empty((LINE_ROWS, n_pixels), np.float32)
    n_epochs = np.empty(n_pixels, np.uint16)
    least = max(least_epochs, LEAST_EPOCHS_OF_A_LINE)
    fit_range(
        0,
        n_pixels,
        np.ascontiguousarray(years, np.float64),
        np.ascontiguousarray(los_m),
        np.ascontiguousarray(used),
        least,
        rows,
        n_epochs,
    )
    return Line(
        velocity_m_yr=rows[VELOCITY],
        intercept_m=rows[INTERCEPT],
        velocity_std_m_yr=rows[VELOCITY_STD],
        intercept_std_m=rows[INTERCEPT_STD],
        residue_m=rows[RESIDUE],
        residual_correlation=rows[CORRELATION],
        n_epochs=n_epochs,
    )


def fit_windows(
    dates: Sequence[date],
    los_m: NDArray[np.floating],
    windows: Sequence[Window],
    observed: NDArray[np.bool_] | None = None,
) -> dict[str, Line]:
    """Fit the line of each window that ends with the newest epoch (its first day belongs to it).

    The whole record uses MintPy's years and every epoch, observed or not, so that it is MintPy's velocity; the
    windows use elapsed time and only what a pixel really observed.

    Parameters
    ----------
    dates
        The epochs, rising.
    los_m, observed
        As in `fit_line`.
    """
    lines = {}
    for window in windows:
        first, years = window_years(dates, window)
        if window.days is None:
            # All epochs or no line: a pixel first seen late has none, as in ``velocity.h5``.
            seen, least = None, max(window.least_epochs, len(dates))
        else:
            seen = None if observed is None else observed[first:]
            least = window.least_epochs
        lines[window.name] = fit_line(years, los_m[first:], seen, least)
    return lines


def window_years(dates: Sequence[date], window: Window) -> tuple[int, NDArray[np.float64]]:
    """The first epoch of a window that ends with the newest one, and the times of its epochs in years."""
    first = first_of(window, dates)
    return first, mintpy_years(dates) if window.days is None else elapsed_years(dates)[first:]


def first_of(window: Window, dates: Sequence[date]) -> int:
    """The first epoch of a window that ends with the newest one."""
    if window.days is None:
        return 0
    return next(i for i, day in enumerate(dates) if (dates[-1] - day).days <= window.days)
