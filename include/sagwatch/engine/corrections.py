"""Corrections of a displacement history, in MintPy's order and by its definitions: delays, ramps, residual topography.

Everything is linear and applied on reading: the solver's series stays as it is, and a revision keeps what was
estimated (a few numbers an epoch, one map). A delay that arrives later, or becomes final, changes its own epoch, and
nothing has to be solved again.

- **Troposphere**: ``diff.py timeseries.h5 ERA5.h5``: the delay at each acquisition, referenced to the reference pixel
  and to the first acquisition, is subtracted. MintPy leaves an acquisition without delay as it is, so that it stands
  out by a whole delay; here it gets that of an average acquisition, or one proportional to height.
- **Height correlation**: ``tropo_phase_elevation.py -l 1``: a line through displacement against height / cos(incidence)
  (Doin et al., 2009, J. Appl. Geophys. 69, 35-50), on steady ground.
- **Ramp**: ``remove_ramp.py``: a plane or a quadratic surface through the steady ground of each acquisition.
- **Datum**: a surface is 0 at the reference pixel, or keeps its constant: then displacements refer to the mean of the
  steady ground, and the air over one pixel is in none of them. Without a ramp the surface is that constant.
- **Residual topography**: ``dem_error.py`` (Fattahi and Amelung, 2013, IEEE TGRS 51, 4249-4259): a height error makes a
  displacement of (perpendicular baseline) * (height error) / (slant range * sin(incidence)); it is estimated with
  a polynomial in time beside it. All pixels share baselines and times, so one row of the pseudo-inverse serves all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from math import ceil, factorial, sqrt

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.velocity import mintpy_years
from sagwatch.errors import BadInputError

#: A height error is estimated from so many acquisitions on: fewer leave its error larger than itself.
LEAST_TOPOGRAPHY_EPOCHS = 20
#: Fewer pixels of steady ground say nothing about a whole scene.
LEAST_STEADY_PIXELS = 100
#: Beyond so many pixels MintPy fits a ramp to a regular sample of them.
_MOST_FITTED_PIXELS = 1_000_000
_STRIP_BYTES = 64 * 2**20
_NOWHERE = np.bool_(False)

_N_TERMS = {"none": 1, "linear": 3, "quadratic": 6}


class NoSteadyGroundError(BadInputError):
    """At no acquisition is there enough steady ground to estimate something on."""


class NoDelayAtReferenceError(BadInputError):
    """A delay has no value at the reference pixel, or none can be made of its height."""


#: Gives the stored delay of an epoch for some rows, metres, shape (n_rows, columns); None where there is none.
DelayOf = Callable[[int, slice], NDArray[np.floating] | None]


@dataclass(frozen=True, slots=True)
class CorrectionSettings:
    """What is corrected; see `domain.stack_rules.CorrectionRules`.

    Attributes
    ----------
    topography_order
        Order of the polynomial in time that is estimated beside the height error; None estimates none.
    refer_to
        What displacements refer to: ``point``, the reference pixel; ``steady_ground``, the mean of the steady ground.
    excluded
        Areas (WKT, metres of the grid) that never count as steady ground: the worked faces and what they draw along.
    """

    troposphere: str = "none"
    missing: str = "mean"
    ramp: str = "none"
    topography_order: int | None = None
    refer_to: str = "point"
    excluded: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self.troposphere != "none" or self.fits_surface or self.topography_order is not None

    @property
    def fits_surface(self) -> bool:
        return self.ramp != "none" or self.refer_to == "steady_ground"

    @property
    def needs_steady_ground(self) -> bool:
        return self.fits_surface or self.may_follow_height

    @property
    def may_follow_height(self) -> bool:
        """Whether a delay may be taken from the displacements' own dependence on height."""
        by_height = "height_correlation"
        return self.troposphere == by_height or (self.troposphere != "none" and self.missing == by_height)


@dataclass(frozen=True)
class Scene:
    """What does not change in time; every array has the grid's shape.

    Attributes
    ----------
    height_m, incidence_deg, slant_range_m
        As in ``geometryGeo.h5``.
    steady
        Ground on which ramps and height correlation are estimated.
    row, column
        The reference pixel.
    """

    height_m: NDArray[np.floating]
    incidence_deg: NDArray[np.floating]
    slant_range_m: NDArray[np.floating]
    steady: NDArray[np.bool_]
    row: int
    column: int

    @cached_property
    def path_m(self) -> NDArray[np.float64]:
        """Height over the reference pixel along the line of sight, height / cos(incidence)."""
        path = self.height_m.astype(np.float64) / np.cos(np.radians(self.incidence_deg.astype(np.float64)))
        return path - path[self.row, self.column]


@dataclass(frozen=True)
class Corrections:
    """What was estimated; epochs along the first axis.

    Attributes
    ----------
    height_slope
        Shape (n_epochs,): relative delay per metre of `Scene.path_m`; NaN where a stored delay is used or stands in.
    ramp
        Shape (n_epochs, n_terms), metres: of ``(1)``, ``(row, column, 1)`` or
        ``(row², column², row column, row, column, 1)``.
    per_baseline
        Shape (rows, columns): displacement per metre of perpendicular baseline; NaN where it could not be estimated,
        because an epoch is missing: such a pixel stays uncorrected.
    baselines_m
        Shape (n_epochs,): perpendicular baselines against the first epoch.
    stood_in
        Shape (n_epochs,): True where too little steady ground was seen, so that the average of the other acquisitions
        stands in for the ramp or the delay.
    """

    height_slope: NDArray[np.float64] | None
    ramp: NDArray[np.float64] | None
    per_baseline: NDArray[np.float32] | None
    baselines_m: NDArray[np.float32]
    stood_in: NDArray[np.bool_]

    def height_error_m(self, scene: Scene) -> NDArray[np.float32] | None:
        """Error of the height model, shape (rows, columns), metres; NaN where it is unknown."""
        if self.per_baseline is None:
            return None
        sine = np.sin(np.radians(scene.incidence_deg.astype(np.float64)))
        return (self.per_baseline * scene.slant_range_m * sine).astype(np.float32)

    def topography_m(self, epoch: int, rows: slice = slice(None)) -> NDArray[np.float32] | None:
        """Displacement that the height error feigns at an epoch, metres; 0 where it could not be estimated."""
        if self.per_baseline is None:
            return None
        return np.nan_to_num(self.per_baseline[rows]) * self.baselines_m[epoch]


def estimate(
    dates: Sequence[date],
    los_m: NDArray[np.float32],
    delay_of: DelayOf,
    baselines_m: NDArray[np.float32],
    scene: Scene,
    settings: CorrectionSettings,
) -> tuple[Corrections, NDArray[np.float32]]:
    """Estimate all corrections of a history.

    Parameters
    ----------
    los_m
        Shape (n_epochs, rows, columns), metres since the first epoch, referenced to the reference pixel.
    baselines_m
        Shape (n_epochs,), against the first epoch.

    Returns
    -------
    The corrections, and the history without delays and ramps but with the topographic term (see `without_topography`).

    Raises
    ------
    NoSteadyGroundError
        At no acquisition is there enough steady ground. Where it lacks at some, they get the average of the others:
        left as they are they would stand out by all that was taken off the others.
    NoDelayAtReferenceError
        The reference pixel has no delay, or no height where the delay is taken from heights.
    """
    slope, stood_in = _height_slopes(los_m, delay_of, scene, settings)
    corrected = los_m.copy()
    _subtract_delays(corrected, slice(None), delay_of, slope, scene, settings)
    ramp = None
    if settings.fits_surface:
        ramp, unfitted = _fit_ramps(corrected, scene, settings.ramp)
        stood_in |= unfitted
        _subtract_ramps(corrected, slice(None), ramp, scene, settings)
    per_baseline = None
    if settings.topography_order is not None:
        row = topography_row(dates, baselines_m, settings.topography_order)
        per_baseline = None if row is None else _project(row, corrected)
    return Corrections(slope, ramp, per_baseline, np.asarray(baselines_m, np.float32), stood_in), corrected


def apply(
    los_m: NDArray[np.float32],
    rows: slice,
    delay_of: DelayOf,
    corrections: Corrections,
    scene: Scene,
    settings: CorrectionSettings,
) -> NDArray[np.float32]:
    """Correct some rows of a history with what was estimated: all but the topographic term."""
    corrected = los_m.copy()
    _subtract_delays(corrected, rows, delay_of, corrections.height_slope, scene, settings)
    if corrections.ramp is not None:
        _subtract_ramps(corrected, rows, corrections.ramp, scene, settings)
    return corrected


def without_topography(
    los_m: NDArray[np.float32], rows: slice, corrections: Corrections
) -> NDArray[np.float32]:
    """Subtract the topographic term of some rows; the history itself is changed, and returned."""
    for epoch in range(los_m.shape[0]):
        term = corrections.topography_m(epoch, rows)
        if term is not None:
            los_m[epoch] -= term
    return los_m


def topography_row(
    dates: Sequence[date], baselines_m: NDArray[np.floating], order: int
) -> NDArray[np.float64] | None:
    """Weights, shape (n_epochs,), whose product with a history is its displacement per metre of baseline.

    None where baselines and polynomial cannot be told apart: too few epochs, or baselines that are one.
    """
    years = mintpy_years(dates)
    polynomial = [years**k / factorial(k) for k in range(order + 1)]
    design = np.column_stack([np.asarray(baselines_m, np.float64), *polynomial])
    scaled = design / np.abs(design).max(axis=0).clip(1e-12)
    if len(dates) < LEAST_TOPOGRAPHY_EPOCHS or np.linalg.matrix_rank(scaled) < design.shape[1]:
        return None
    return np.linalg.pinv(design)[0]


def _height_slopes(
    los_m: NDArray[np.float32], delay_of: DelayOf, scene: Scene, settings: CorrectionSettings
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
    """Relative delay per metre of path for the epochs that need one; and which of them had too little ground."""
    n_epochs, whole = los_m.shape[0], slice(None)
    stood_in = np.zeros(n_epochs, np.bool_)
    if not settings.may_follow_height:
        return None, stood_in
    if np.isnan(scene.path_m[scene.row, scene.column]):
        raise NoDelayAtReferenceError(
            f"the reference pixel (row {scene.row}, column {scene.column}) has no height to follow: the height "
            "model has a hole there"
        )
    everywhere = settings.troposphere == "height_correlation"
    delays = [None if everywhere else delay_of(epoch, whole) for epoch in range(n_epochs)]
    slopes = np.full(n_epochs, np.nan)
    for epoch in range(1, n_epochs):
        if delays[epoch] is None:
            slopes[epoch] = _slope(los_m[epoch], scene)
            stood_in[epoch] = np.isnan(slopes[epoch])
    known = [epoch for epoch in range(1, n_epochs) if delays[epoch] is not None]
    if everywhere:
        slopes[0] = 0.0
        _average_stands_in(slopes, stood_in, scene)
    elif delays[0] is None and known:
        # What is left of the others is the delay of the first one, with the other sign.
        rest = []
        for epoch in known:
            field = los_m[epoch].copy()
            _take_away(field, _referenced(delays[epoch], scene))
            rest.append(_slope(field, scene))
        if np.isfinite(rest).any():
            slopes[0] = -float(np.nanmean(rest))
    return slopes, stood_in


def _slope(field: NDArray[np.floating], scene: Scene) -> float:
    """NaN where too little steady ground is seen. Exact zeros count, as in MintPy's program (and not in its ramps)."""
    used = scene.steady & np.isfinite(field) & np.isfinite(scene.path_m)
    if used.sum() < LEAST_STEADY_PIXELS:
        return np.nan
    design = np.column_stack([np.ones(int(used.sum())), scene.path_m[used]])
    return float(np.linalg.lstsq(design, field[used].astype(np.float64), rcond=None)[0][1])


def _average_stands_in(values: NDArray[np.float64], unfitted: NDArray[np.bool_], scene: Scene) -> None:
    """Give the epochs that could not be fitted the average of the others; the first epoch is no other."""
    fitted = ~unfitted
    fitted[0] = False
    if unfitted.any() and not fitted.any():
        raise NoSteadyGroundError(
            f"at no acquisition are {LEAST_STEADY_PIXELS} pixels of steady ground known "
            f"({int(scene.steady.sum())} pixels are steady at all), so neither ramp nor correlation with height can be "
            "estimated"
        )
    if unfitted.any():
        values[unfitted] = values[fitted].mean(axis=0)


def _referenced(
    delay: NDArray[np.floating] | None, scene: Scene, origin: float | None = None
) -> NDArray[np.float64]:
    assert delay is not None
    at = float(delay[scene.row, scene.column]) if origin is None else origin
    return delay.astype(np.float64) - at


def _subtract_delays(
    los_m: NDArray[np.float32],
    rows: slice,
    delay_of: DelayOf,
    slope: NDArray[np.float64] | None,
    scene: Scene,
    settings: CorrectionSettings,
) -> None:
    if settings.troposphere == "none":
        return
    for epoch, delay_m in enumerate(relative_delays(los_m.shape[0], rows, delay_of, slope, scene)):
        if delay_m is not None:
            _take_away(los_m[epoch], delay_m)


def relative_delays(
    n_epochs: int,
    rows: slice,
    delay_of: DelayOf,
    slope: NDArray[np.float64] | None,
    scene: Scene,
) -> Iterator[NDArray[np.float64] | None]:
    """Delays of some rows epoch by epoch, relative to the reference pixel and the first epoch; None is no correction.

    ``slope`` is `Corrections.height_slope`: where it is a number it stands in, relative to the first epoch already.
    """
    path = scene.path_m[rows]
    origins = [_at_reference(delay_of, epoch, scene) for epoch in range(n_epochs)]
    known = [epoch for epoch in range(n_epochs) if origins[epoch] is not None]
    slopes = np.full(n_epochs, np.nan) if slope is None else slope
    average = np.zeros(path.shape)
    if any(origins[epoch] is None and np.isnan(slopes[epoch]) for epoch in range(n_epochs)):
        for epoch in known:
            average += _referenced(delay_of(epoch, rows), scene, origins[epoch]) / len(known)
    first = average
    if origins[0] is not None:
        first = _referenced(delay_of(0, rows), scene, origins[0])
    elif np.isfinite(slopes[0]):
        first = slopes[0] * path
    yield None
    for epoch in range(1, n_epochs):
        if origins[epoch] is not None:
            yield _referenced(delay_of(epoch, rows), scene, origins[epoch]) - first
        elif np.isfinite(slopes[epoch]):
            # Its displacements tell the difference to the first epoch, whose delay is in it already.
            yield slopes[epoch] * path
        else:
            yield average - first if known else None


def _at_reference(delay_of: DelayOf, epoch: int, scene: Scene) -> float | None:
    row = delay_of(epoch, slice(scene.row, scene.row + 1))
    if row is None:
        return None
    value = float(row[0, scene.column])
    if not np.isfinite(value):
        raise NoDelayAtReferenceError(
            f"the delay of epoch {epoch} has no value at the reference pixel (row {scene.row}, column {scene.column}): "
            "the height model has a hole there"
        )
    return value


def ramp_terms(kind: str, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> NDArray[np.float64]:
    """Columns of MintPy's design matrix, shape (n_pixels, n_terms)."""
    one = np.ones(rows.size)
    if kind == "none":
        return one[:, None]
    if kind == "linear":
        return np.column_stack([rows, columns, one])
    return np.column_stack([rows**2, columns**2, rows * columns, rows, columns, one])


def _fit_ramps(
    los_m: NDArray[np.float32], scene: Scene, shape: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Coefficients by epoch; and at which epochs too little ground was seen, so that the average stands in."""
    ramps = np.zeros((los_m.shape[0], _N_TERMS[shape]))
    unfitted = np.zeros(los_m.shape[0], np.bool_)
    for epoch in range(1, los_m.shape[0]):
        used = scene.steady & np.isfinite(los_m[epoch]) & (los_m[epoch] != 0)
        if used.sum() < LEAST_STEADY_PIXELS:
            unfitted[epoch] = True
            continue
        used = _sampled(used)
        row, column = (index.astype(np.float64) for index in np.nonzero(used))
        values = los_m[epoch][used].astype(np.float64)
        ramps[epoch] = np.linalg.lstsq(ramp_terms(shape, row, column), values, rcond=None)[0]
    _average_stands_in(ramps, unfitted, scene)
    return ramps, unfitted


def _sampled(used: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of very many pixels every second, third, ... row and column, as MintPy's ``deramp`` does."""
    step = ceil(sqrt(used.sum() / _MOST_FITTED_PIXELS))
    if step <= 1:
        return used
    sampled = np.zeros_like(used)
    every = slice(step // 2, None, step)
    sampled[every, every] = used[every, every]
    return sampled


def _subtract_ramps(
    los_m: NDArray[np.float32],
    rows: slice,
    ramp: NDArray[np.float64],
    scene: Scene,
    settings: CorrectionSettings,
) -> None:
    """Subtract the surfaces, each 0 at the reference pixel unless steady ground is the datum."""
    shape = settings.ramp
    n_rows, n_columns = scene.height_m.shape
    row, column = np.meshgrid(np.arange(n_rows)[rows], np.arange(n_columns), indexing="ij")
    terms = ramp_terms(shape, row.ravel().astype(np.float64), column.ravel().astype(np.float64))
    if settings.refer_to == "point":
        terms -= ramp_terms(shape, np.array([float(scene.row)]), np.array([float(scene.column)]))
    # The reference pixel is an exact zero too, but one that is known, and it moves against steady ground.
    known = (row == scene.row) & (column == scene.column) & (settings.refer_to != "point")
    for epoch in range(1, los_m.shape[0]):
        _take_away(los_m[epoch], (terms @ ramp[epoch]).reshape(los_m.shape[1:]), known)


def _take_away(
    field_m: NDArray[np.float32], term_m: NDArray[np.float64], known: NDArray[np.bool_] | np.bool_ = _NOWHERE
) -> None:
    """Subtract in place; an exact zero is an epoch before which no pair saw anything move, and stays, as in MintPy."""
    np.subtract(field_m, term_m, out=field_m, where=(field_m != 0) | known, casting="same_kind")


def _project(row: NDArray[np.float64], los_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """The product of weights and histories, in float64 but never with all of it in memory twice."""
    n_epochs, n_rows, n_columns = los_m.shape
    result = np.empty((n_rows, n_columns), np.float32)
    step = max(1, _STRIP_BYTES // (8 * n_epochs * n_columns))
    for first in range(0, n_rows, step):
        strip = los_m[:, first : first + step].astype(np.float64)
        result[first : first + step] = np.tensordot(row, strip, axes=1)
    return result
