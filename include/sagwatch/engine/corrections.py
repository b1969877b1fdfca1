"""What is corrected in the displacements, and the pure function that does it: troposphere, ramp, residual topography.

MintPy's order and definitions: ``diff.py timeseries.h5 ERA5.h5`` (or ``tropo_phase_elevation.py``), ``remove_ramp.py``,
``dem_error.py``. Arithmetic is in float64, where MintPy's is in float32; the tests compare with its programs.

A correction has three kinds of terms: what is known of an epoch (its delay, its ramp), what is known of a pixel (its
residual height) and the geometry that joins them. They are small, so a revision keeps them, and the corrected series
is made of them on reading (`Terms.corrected`): a new acquisition changes every pixel's residual height a little, and
so all of the series, without one of its blocks being written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.ramp import Ramp
from sagwatch.engine.topography import residual_height
from sagwatch.engine.troposphere import Air, Maps, height_slope, of_first_epoch, rise
from sagwatch.engine.velocity import mintpy_years
from sagwatch.errors import BadInputError

_STRIP_PIXELS = 4096

Method = Literal["none", "era5", "gacos", "height_correlation"]


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is corrected; the site's rules in the engine's words.

    Attributes
    ----------
    troposphere
        Where delays come from; ``era5`` and ``gacos`` are files, ``height_correlation`` needs none.
    missing
        What stands in for an epoch without a file: the mean of all others, or its own dependence on height.
    ramp
        The surface that is taken off each epoch.
    topography
        Whether the residual height is estimated, beside a polynomial of ``polynomial_order`` in time.
    excluded
        Moving ground: polygons as WKT in metres of the grid's projection. Ramps and height correlation look elsewhere.
    """

    troposphere: Method = "none"
    missing: Literal["mean", "height_correlation"] = "mean"
    ramp: Literal["none", "linear", "quadratic"] = "none"
    topography: bool = False
    polynomial_order: int = 2
    excluded: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self.troposphere != "none" or self.ramp != "none" or self.topography

    @property
    def takes_files(self) -> bool:
        return self.troposphere in ("era5", "gacos")

    @property
    def needs_mask(self) -> bool:
        """Whether something is fitted to the ground that does not move."""
        by_height = self.troposphere == "height_correlation" or (
            self.takes_files and self.missing == "height_correlation"
        )
        return self.ramp != "none" or by_height

    @property
    def suffix(self) -> str:
        """What MintPy would add to the name ``timeseries``."""
        air = {"era5": "_ERA5", "gacos": "_GACOS", "height_correlation": "_tropHgt"}
        parts = (
            air.get(self.troposphere, ""),
            "_ramp" if self.ramp != "none" else "",
            "_demErr" if self.topography else "",
        )
        return "".join(parts)


@dataclass(frozen=True)
class Scene:
    """What stays the same from epoch to epoch; arrays of pixels are flat, in order of rows and columns.

    Attributes
    ----------
    shape
        Rows and columns.
    reference
        The flat pixel that everything refers to.
    height_m
        Height above the reference pixel over the cosine of the incidence angle, metres (`troposphere.rise`).
    sensitivity
        Displacement (m) that one metre of height error feigns for one metre of perpendicular baseline: 1 / (range * sin
        incidence), as in MintPy's ``dem_error``; NaN where the geometry is unknown.
    mask
        Pixels that ramps and height correlation are fitted to; None where nothing needs them.
    """

    shape: tuple[int, int]
    reference: int
    height_m: NDArray[np.float64] = field(repr=False)
    sensitivity: NDArray[np.float64] = field(repr=False)
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        reference: tuple[int, int],
        height_m: NDArray[np.floating],
        incidence_deg: NDArray[np.floating],
        slant_range_m: NDArray[np.floating],
        mask: NDArray[np.bool_] | None = None,
    ) -> Scene:
        """From the layers of MintPy's ``geometryGeo.h5``."""
        pixel = reference[0] * shape[1] + reference[1]
        incidence = np.radians(incidence_deg.ravel().astype(np.float64))
        lever = slant_range_m.ravel().astype(np.float64) * np.sin(incidence)
        with np.errstate(divide="ignore", invalid="ignore"):
            sensitivity = np.where(lever > 0, 1.0 / lever, np.nan)
        return cls(
            shape,
            pixel,
            rise(height_m.ravel(), incidence, pixel),
            sensitivity,
            None if mask is None else mask.ravel(),
        )


@dataclass(frozen=True)
class Series:
    """Displacements of all pixels as arrays of some epochs each, mapped or in memory; shapes (n, n_pixels), metres."""

    blocks: tuple[NDArray[Any], ...]

    @property
    def n_epochs(self) -> int:
        return sum(block.shape[0] for block in self.blocks)

    def epoch(self, number: int) -> NDArray[np.float64]:
        for block in self.blocks:
            if number < block.shape[0]:
                return block[number].astype(np.float64)
            number -= block.shape[0]
        raise IndexError(number)

    def strip(self, pixels: slice) -> NDArray[np.float64]:
        """All epochs of some pixels."""
        return np.concatenate([block[:, pixels] for block in self.blocks], dtype=np.float64)


@dataclass(frozen=True)
class Terms:
    """What is known of every epoch and every pixel: all that makes a raw series a corrected one.

    Attributes
    ----------
    ramps
        Shape (n_epochs, n_coefficients) in MintPy's order; None without ramps. NaN where an epoch has none.
    perpendicular_m
        Baseline of every epoch against the first, shape (n_epochs,).
    residual_height_m
        Shape (n_pixels,); NaN where it is unknown, and nothing is taken off there; None if it is not estimated.
    """

    scene: Scene
    air: Air | None
    ramp: Ramp | None
    ramps: NDArray[np.float64] | None
    perpendicular_m: NDArray[np.float64]
    residual_height_m: NDArray[np.float32] | None = None

    def corrected(
        self, raw_m: NDArray[np.floating], pixels: slice, *, topography: bool = True
    ) -> NDArray[np.float64]:
        """The corrected series of some pixels, shape (n_epochs, n) like ``raw_m``; without ``topography`` that term
        stays in it."""
        los_m = raw_m.astype(np.float64)
        nothing = los_m == 0.0
        if self.air is not None:
            los_m -= self.air.strip(pixels)
        if self.ramp is not None and self.ramps is not None:
            los_m -= np.nan_to_num(self.ramps) @ self.ramp.surface(pixels)
        # As MintPy: exactly 0 is an epoch that no pair saw, before which nothing had moved; air did not make it.
        los_m[nothing] = 0.0
        if topography and self.residual_height_m is not None:
            los_m -= np.multiply.outer(self.perpendicular_m, self.feigned(pixels))
        return los_m

    def feigned(self, pixels: slice = slice(None)) -> NDArray[np.float64]:
        """Displacement that the residual height feigns for each metre of baseline (m/m); 0 where it is unknown."""
        if self.residual_height_m is None:
            return np.zeros_like(self.scene.sensitivity[pixels])
        return np.nan_to_num(self.residual_height_m[pixels] * self.scene.sensitivity[pixels])


@dataclass(frozen=True)
class Known:
    """What is taken over of an epoch from an earlier revision in which it was the same."""

    slope: float
    ramp: NDArray[np.float64]


def find_terms(
    corrections: Corrections,
    series: Series,
    dates: Sequence[date],
    maps: Maps,
    perpendicular_m: NDArray[np.floating],
    scene: Scene,
    known: Mapping[int, Known] | None = None,
    use: Callable[[slice, NDArray[np.float64]], None] | None = None,
) -> Terms:
    """Find everything that is taken off a raw series.

    Parameters
    ----------
    series
        Metres against the first epoch and the reference pixel; NaN is unknown.
    maps
        Delay of every epoch, flat, absolute; None where there is none.
    perpendicular_m
        Baseline of every epoch against the first, metres.
    known
        Epochs that need not be looked at again.
    use
        Is handed the corrected series strip by strip, so that who needs it does not read everything again.

    Raises
    ------
    BadInputError
        The delay is unknown at the reference pixel, or a ramp has no pixels to be fitted to.
    """
    known = known or {}
    if corrections.needs_mask and (scene.mask is None or not scene.mask.any()):
        raise BadInputError(
            "no pixel outside moving ground is coherent, so ramps and heights have no ground to stand on"
        )
    air = _air(corrections, series, maps, scene, known)
    baselines = perpendicular_m.astype(np.float64)
    terms = Terms(scene, air, None, None, baselines)
    if corrections.ramp != "none":
        ramp = Ramp(corrections.ramp, scene.shape, scene.reference)
        terms = replace(terms, ramp=ramp, ramps=_ramps(ramp, series, terms, known))
    height = None
    if corrections.topography:
        height = np.full(scene.sensitivity.size, np.nan, np.float32)
        terms = replace(terms, residual_height_m=height)
    if height is None and use is None:
        return terms
    years = mintpy_years(dates)
    for pixels in strips(scene.sensitivity.size):
        los_m = terms.corrected(series.strip(pixels), pixels, topography=False)
        if height is not None:
            height[pixels] = residual_height(
                los_m, years, baselines, scene.sensitivity[pixels], corrections.polynomial_order
            )
            los_m -= np.multiply.outer(baselines, terms.feigned(pixels))
        if use is not None:
            use(pixels, los_m)
    return terms


def correct(
    corrections: Corrections,
    los_m: NDArray[np.floating],
    dates: Sequence[date],
    maps: Sequence[NDArray[np.floating] | None],
    perpendicular_m: NDArray[np.floating],
    scene: Scene,
) -> tuple[NDArray[np.float32], Terms]:
    """Correct a series in memory, shape (n_epochs, rows, columns); `find_terms` has the rest.

    ``maps`` have shape (rows, columns).
    """
    raw = los_m.reshape(los_m.shape[0], -1)
    flat = Maps(tuple(None if one is None else one.reshape(-1) for one in maps))
    out = np.empty(raw.shape, np.float32)

    def keep(pixels: slice, corrected: NDArray[np.float64]) -> None:
        out[:, pixels] = corrected

    terms = find_terms(corrections, Series((raw,)), dates, flat, perpendicular_m, scene, use=keep)
    return out.reshape(los_m.shape), terms


def strips(n_pixels: int) -> list[slice]:
    """Pixels in pieces whose whole history fits the caches."""
    return [slice(a, min(a + _STRIP_PIXELS, n_pixels)) for a in range(0, n_pixels, _STRIP_PIXELS)]


def _air(
    corrections: Corrections, series: Series, maps: Maps, scene: Scene, known: Mapping[int, Known]
) -> Air | None:
    n_epochs = series.n_epochs
    if corrections.troposphere == "none" or (corrections.takes_files and not maps.present):
        return None
    slopes = np.zeros(n_epochs)
    if corrections.troposphere == "height_correlation":
        air = Air(Maps((None,) * n_epochs), "height_correlation", slopes, scene.height_m, scene.reference)
        wanted = range(1, n_epochs)
    else:
        air = Air(maps, corrections.missing, slopes, scene.height_m, scene.reference)
        wanted = range(0) if corrections.missing == "mean" else range(n_epochs)
    air.check()
    mask = cast(NDArray[np.bool_], scene.mask)
    for number in wanted:
        if air.maps.of[number] is not None:
            continue
        if number in known and number > 0:
            slopes[number] = known[number].slope
            continue
        # Others in the frame of the first epoch's air, so that what is known of it is not estimated again.
        first = number == 0
        displacement = of_first_epoch(series.epoch, air) if first else series.epoch(number) + air.epoch(0)
        slopes[number] = height_slope(displacement, scene.height_m, mask, scene.shape)
    return air


def _ramps(ramp: Ramp, series: Series, terms: Terms, known: Mapping[int, Known]) -> NDArray[np.float64]:
    ramps = np.zeros((series.n_epochs, ramp.n_coefficients))
    fit = ramp.fitter(cast(NDArray[np.bool_], terms.scene.mask))
    # The first epoch is 0 by definition, which MintPy leaves alone.
    for number in range(1, series.n_epochs):
        if number in known:
            ramps[number] = known[number].ramp
            continue
        los_m = series.epoch(number)
        if terms.air is not None:
            los_m = np.where(los_m == 0.0, 0.0, los_m - terms.air.difference(number))
        ramps[number] = fit(los_m)
    return ramps
