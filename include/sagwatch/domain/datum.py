"""Whether the reference moved: then everything seems to move with it, and nothing may be said about the ground.

What all quiet pixels share is the reference point's own motion and atmosphere. A step or a drift of it beyond that
noise is no news about the mine but about the datum (rule R8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.zone_series import DAYS_PER_YEAR

_MOST_PIXELS = 4000
#: Looks at the acquisitions of so many days for a drift, at so many at least, if there are at least so many of them,
_DAYS, _EPOCHS, _LEAST_OF_A_DRIFT = 372, 31, 20
#: and at so many for a step, of which the last ones would be after it.
_EPOCHS_OF_A_STEP, _AFTER_STEP = 13, 2
_SURE = 0.9995
_LEAST_STEP_MM = 10.0
_LEAST_DRIFT_MM_YR = 15.0
#: A step that lessens the squares by so many times their mean stands beside the drift.
_LIKELY_STEP = 7.0
#: The reference moves everything alike: in so many of the quiet pixels at most that share of the motion is missing.
_NEARLY_ALL = 0.8
_LIKE_THE_OTHERS = 0.5


@dataclass(frozen=True, slots=True)
class DatumMotion:
    """How the quiet ground moved as a whole, which the reference point did to it; LOS."""

    kind: Literal["step", "drift"]
    amount: float
    sd: float

    @property
    def words(self) -> str:
        unit = "mm" if self.kind == "step" else "mm/yr"
        return (
            f"the quiet ground as a whole shows a {self.kind} of {self.amount:+.0f} ± {2 * self.sd:.0f} {unit} along "
            "the line of sight, as if the reference itself had moved"
        )


def is_shared(
    dates: Sequence[date], los_m: NDArray[np.floating], quiet: NDArray[np.bool_], motion: DatumMotion
) -> bool:
    """Whether nearly all of the quiet ground moved like that; a wide trough would leave the rest where it was.

    Parameters as of `common_mode_mm`.
    """
    values = _newest(dates, los_m, quiet)
    days = np.array([day.toordinal() for day in dates[-values.shape[0] :]], dtype=np.float64)
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.size:
        return True
    if motion.kind == "step":
        before = values[-_EPOCHS_OF_A_STEP:-_AFTER_STEP]
        moved = values[-_AFTER_STEP:].mean(axis=0) - before.mean(axis=0)
        alike = moved / motion.amount > _LIKE_THE_OTHERS
    else:
        # Against what they share, or the season of all of them would count.
        beside = np.linalg.pinv(_line_and_season(days))[1] @ (
            values - np.median(values, axis=1, keepdims=True)
        )
        alike = np.abs(beside / motion.amount) < _LIKE_THE_OTHERS
    return float(np.mean(alike)) >= _NEARLY_ALL


def common_mode_mm(
    dates: Sequence[date], los_m: NDArray[np.floating], quiet: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Median displacement of the quiet ground at each of the newest acquisitions, mm; NaN without data.

    Parameters
    ----------
    dates
        Of the acquisitions of ``los_m``, rising.
    los_m
        LOS displacement, metres, shape (n_epochs, rows, columns).
    quiet
        Ground without a proved motion, shape (rows, columns).

    Returns
    -------
    shape (n_newest,)
        Of about a year, and of 31 acquisitions at least.
    """
    values = _newest(dates, los_m, quiet)
    known = np.isfinite(values).any(axis=1)
    result = np.full(values.shape[0], np.nan)
    result[known] = np.nanmedian(values[known], axis=1)
    return result


def _newest(
    dates: Sequence[date], los_m: NDArray[np.floating], quiet: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Displacement in mm of (some of) the quiet pixels at the newest acquisitions, shape (n_epochs, n_pixels)."""
    chosen = np.flatnonzero(quiet.ravel())
    chosen = chosen[:: max(1, -(-chosen.size // _MOST_PIXELS))]
    newest = los_m[-max(_EPOCHS, sum((dates[-1] - day).days <= _DAYS for day in dates)) :]
    return newest.reshape(newest.shape[0], -1)[:, chosen].astype(np.float64) * 1000


def datum_motion(dates: Sequence[date], common_mm: NDArray[np.float64]) -> DatumMotion | None:
    """A step at one of the last acquisitions, or a drift over them, beyond the noise of the reference point.

    ``dates`` belong to ``common_mm``, as `common_mode_mm` gives it. None with too few acquisitions to know.
    """
    known = np.isfinite(common_mm)
    values = common_mm[known]
    days = np.array([day.toordinal() for day in dates], dtype=np.float64)[known]
    step = _step(values[-_EPOCHS_OF_A_STEP:]) if values.size >= _EPOCHS_OF_A_STEP - 3 else None
    return step or (_drift(days, values) if values.size >= _LEAST_OF_A_DRIFT else None)


def _step(values: NDArray[np.float64]) -> DatumMotion | None:
    before, after = values[:-_AFTER_STEP], values[-_AFTER_STEP:]
    noise = float(np.std(before, ddof=1))
    sd = noise * float(np.sqrt(1 / before.size + 1 / after.size))
    amount = float(after.mean() - before.mean())
    if abs(amount) > max(_LEAST_STEP_MM, _quantile(before.size - 1) * sd):
        return DatumMotion("step", amount, sd)
    return None


def _drift(days: NDArray[np.float64], values: NDArray[np.float64]) -> DatumMotion | None:
    design, tried = _drift_model(days, values)
    rate, sd, freedom, _ = _slope(design, values)
    if abs(rate) > max(_LEAST_DRIFT_MM_YR, _quantile(freedom, tried) * sd):
        return DatumMotion("drift", rate, sd)
    return None


def _drift_model(days: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Columns whose second is a rate a year, shape (n_days, 4 or 5), and how many steps were tried for the fifth.

    A line beside a season, and a step where it is likely, or what is left of a step would look like a drift. Without
    the season, the air between a reference and ground of another height would be taken for a drift for much of each
    year. With it, a reference that begins to sink is also found earlier: its bend is no line.
    """
    plain = _line_and_season(days)
    stepped = [np.column_stack([plain, np.arange(days.size) >= first]) for first in range(2, days.size - 1)]
    squares = [_slope(design, values)[3] for design in stepped]
    best, freedom = int(np.argmin(squares)), days.size - plain.shape[1] - 1
    gain = (_slope(plain, values)[3] - squares[best]) / max(squares[best] / freedom, 1e-12)
    return (stepped[best], len(stepped)) if gain > _LIKELY_STEP else (plain, 1)


def _line_and_season(days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Offset, rate a year, and a wave of a year, shape (n_days, 4)."""
    years = (days - days.mean()) / DAYS_PER_YEAR
    phase = 2 * np.pi * years
    return np.column_stack([np.ones(years.size), years, np.sin(phase), np.cos(phase)])


def _slope(design: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float, int, float]:
    """The second column's parameter, its deviation, the degrees of freedom and the sum of squares left."""
    found, *_ = np.linalg.lstsq(design, values, rcond=None)
    squares = float(np.sum((values - design @ found) ** 2))
    freedom = values.size - design.shape[1]
    variance = np.linalg.inv(design.T @ design)[1, 1] * squares / freedom
    return float(found[1]), float(np.sqrt(variance)), freedom, squares


def _quantile(freedom: int, tried: int = 1) -> float:
    """Student's, as sure for the best of so many tries as for one (Bonferroni)."""
    from scipy.special import stdtrit  # scipy is slow to load, and tasks that judge nothing import this

    return float(stdtrit(freedom, 1 - (1 - _SURE) / tried))
