"""Velocities of recent windows of time, and how sure they are.

A least-squares line's own standard deviation takes the residuals for independent in time. They are not (atmosphere,
seasons, shared acquisitions), and the deviation comes out too small: at a lag-1 correlation of 0.6 a nominal 95 %
interval covers 66 %. So two numbers are kept: the white one, which is MintPy's, and one corrected by the correlation
that stable ground of the same track shows. That one also has the random walk of decorrelation (`engine.decorrelation`),
which a line follows and no scatter shows.

An interval is about the slope of the straight line through what the ground truly did in the window. Motion that is no
straight line scatters about it as noise does, so its intervals are wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

#: Days of the window that stands for the whole record.
WHOLE_RECORD = 0

#: A line has two parameters.
_LINE_PARAMETERS = 2
_CORRELATIONS = np.linspace(0.0, 0.95, 96)
#: Fewer stable pixels than this say nothing about noise; then all pixels are taken, which can only overstate it.
_LEAST_STABLE_PIXELS = 50


@dataclass(frozen=True)
class WindowVelocity:
    """LOS velocity over a window that ends with the judged acquisition; arrays have shape (rows, columns).

    Attributes
    ----------
    days
        Length of the window; 0 is the whole record.
    velocity_mm_yr
        Negative away from the satellite; NaN where the pixel has fewer than the window's least number of epochs.
    sd_white_mm_yr
        Standard deviation as if residuals were independent in time (MintPy's).
    sd_mm_yr
        The same corrected for correlation in time, and with ``sd_walk_mm_yr`` in it.
    n_epochs
        Epochs that the pixel's line used.
    correlation
        Lag-1 autocorrelation of the noise on stable ground, 0 to 0.95.
    sd_local_mm_yr
        Deviation, corrected too, of the velocity against its surroundings: without the noise that a pixel shares with
        them, above all the reference point's. What judges a contrast. None: ``sd_mm_yr``, which errs towards caution.
    sd_walk_mm_yr
        The part of both deviations that the random walk of decorrelation makes; their squares add. None: not known.
    """

    days: int
    velocity_mm_yr: NDArray[np.float32]
    sd_white_mm_yr: NDArray[np.float32]
    sd_mm_yr: NDArray[np.float32]
    n_epochs: NDArray[np.uint16]
    correlation: float
    sd_local_mm_yr: NDArray[np.float32] | None = None
    sd_walk_mm_yr: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shapes = {
            array.shape for array in (self.velocity_mm_yr, self.sd_white_mm_yr, self.sd_mm_yr, self.n_epochs)
        }
        if len(shapes) != 1:
            raise ValueError(f"window of {self.days} days: arrays of different shapes {sorted(shapes)}")

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the window has a velocity and its deviation."""
        return np.isfinite(self.velocity_mm_yr) & np.isfinite(self.sd_mm_yr)

    @property
    def contrast_sd_mm_yr(self) -> NDArray[np.float32]:
        """Deviation of a pixel's local contrast."""
        return self.sd_mm_yr if self.sd_local_mm_yr is None else self.sd_local_mm_yr

    @property
    def walk_mm_yr(self) -> NDArray[np.float32]:
        """What is known of the walk: 0 where nothing is."""
        return np.zeros_like(self.sd_mm_yr) if self.sd_walk_mm_yr is None else self.sd_walk_mm_yr

    def half_interval(self, probability: float) -> NDArray[np.float64]:
        """From the velocity to a one-sided limit of it, mm/yr; twice as unlikely beyond both (see `half_interval`)."""
        return half_interval(probability, self.n_epochs, self.sd_mm_yr, self.walk_mm_yr)

    def contrast_half_interval(self, probability: float) -> NDArray[np.float64]:
        """The same of its local contrast."""
        return half_interval(probability, self.n_epochs, self.contrast_sd_mm_yr, self.walk_mm_yr)

    @property
    def words(self) -> str:
        return "the whole record" if self.days == WHOLE_RECORD else f"the last {self.days} days"


def student_quantile(probability: float, n_epochs: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """One-sided quantile of Student's t for a line through so many epochs; infinite without a degree of freedom."""
    freedom = np.asarray(n_epochs, dtype=np.int64) - _LINE_PARAMETERS
    table = np.full(max(int(freedom.max(initial=1)), 1) + 1, np.inf)
    from scipy.special import stdtrit  # scipy takes long to load, and most tasks judge nothing

    table[1:] = stdtrit(np.arange(1, table.size), probability)
    return table[np.maximum(freedom, 0)]


def half_interval(
    probability: float,
    n_epochs: NDArray[np.integer] | int,
    sd_mm_yr: NDArray[np.floating] | float,
    walk_mm_yr: NDArray[np.floating] | float,
) -> NDArray[np.float64]:
    """How far a one-sided limit of a line's slope is from it, mm/yr.

    The scatter about a line through few epochs is itself uncertain (Student's quantile); the walk, which all pairs of
    the record have measured, is not (the normal one). Each part gets its own, and their squares add.
    """
    from scipy.special import ndtri

    with np.errstate(invalid="ignore"):  # infinite times nothing: too few epochs have no interval
        scatter = np.sqrt(np.maximum(np.square(sd_mm_yr) - np.square(walk_mm_yr), 0))
        half = np.hypot(student_quantile(probability, n_epochs) * scatter, ndtri(probability) * walk_mm_yr)
    return np.asarray(half, np.float64)


EvidenceClass = Literal["beyond threshold", "moving", "cannot tell"]
EVIDENCE = cast("tuple[EvidenceClass, ...]", get_args(EvidenceClass))
_ONE_SIDED_95 = 0.95


def evidence_classes(windows: Sequence[WindowVelocity], threshold_mm_yr: float) -> NDArray[np.uint8]:
    """What the strongest of some windows proves about each pixel with 95 % (one-sided), as numbers in `EVIDENCE`.

    Motion towards the satellite is motion too; the threshold is negative.
    """
    result = np.full(windows[0].velocity_mm_yr.shape, EVIDENCE.index("cannot tell"), dtype=np.uint8)
    for window in windows:
        half = window.half_interval(_ONE_SIDED_95)
        with np.errstate(invalid="ignore"):
            moving = np.abs(window.velocity_mm_yr) > half
            beyond = window.velocity_mm_yr + half < threshold_mm_yr
        found = np.select([beyond, moving], [0, 1], default=2)
        result = np.minimum(result, found).astype(np.uint8)
    return result


def correct_for_correlation(sd_white: NDArray[np.floating], correlation: float) -> NDArray[np.float32]:
    """Standard deviation of a slope under first-order autoregressive noise: times sqrt((1+r)/(1-r)).

    Exact for long records; at 13 epochs up to 4 % too large for r up to 0.6, at 8 epochs 10 %: it errs towards caution.
    """
    return (sd_white * np.sqrt((1 + correlation) / (1 - correlation))).astype(np.float32)


def pooled_correlation(
    residual_squares: NDArray[np.floating],
    lag_one: NDArray[np.floating],
    n_epochs: NDArray[np.integer],
    stable: NDArray[np.bool_],
) -> float:
    """Lag-1 autocorrelation of the noise, from the residuals of many pixels together.

    A line takes part of the noise with it, so residuals of white noise look negatively correlated (about -2/n): what is
    measured is turned back into the correlation of noise that would show it.

    Parameters
    ----------
    residual_squares
        Sum of squared residuals of each pixel's line.
    lag_one
        Lag-1 autocorrelation of each pixel's residuals.
    n_epochs
        Epochs of each pixel's line.
    stable
        Pixels that do not move, all arrays of one shape. With too few of them every pixel is taken: motion that is no
        straight line then counts as noise, which errs towards caution.

    Returns
    -------
    float
        0 to 0.95; a negative correlation counts as 0, so that the correction never makes anything look surer.
    """
    usable = np.isfinite(residual_squares) & np.isfinite(lag_one) & (n_epochs > _LINE_PARAMETERS + 1)
    chosen = usable & stable
    if np.count_nonzero(chosen) < _LEAST_STABLE_PIXELS:
        chosen = usable
    weight = residual_squares[chosen].astype(np.float64)
    if weight.size == 0 or weight.sum() <= 0:
        return 0.0
    seen = float(np.sum(weight * lag_one[chosen]) / weight.sum())
    n = int(np.median(n_epochs[chosen]))
    return float(np.interp(seen, _residual_correlations(n), _CORRELATIONS))


@lru_cache(maxsize=512)
def _residual_correlations(n: int) -> NDArray[np.float64]:
    """Lag-1 autocorrelation that residuals of a line through n epochs show, for each of ``_CORRELATIONS``.

    The expectation of e(t)·e(t+1) and of e(t)² under AR(1) noise with e = M·noise, M the projection off the line.
    Epochs count as evenly spaced; records longer than 200 epochs are as one of 200, where the effect has vanished.
    """
    n = min(n, 200)
    steps = np.arange(n)
    design = np.column_stack([np.ones(n), steps - steps.mean()])
    off_line = np.eye(n) - design @ np.linalg.pinv(design)
    lags = np.abs(steps[:, None] - steps[None, :])
    shown = []
    for correlation in _CORRELATIONS:
        covariance = off_line @ (correlation**lags) @ off_line
        shown.append(np.trace(covariance, offset=1) / np.trace(covariance))
    return np.maximum.accumulate(np.array(shown))
