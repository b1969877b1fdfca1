"""What a revision keeps of its corrections, and how they are read: see `corrections`.

::

    inputs/ERA5.h5 (GACOS.h5)   virtual: the delays stay in ../../../delays/; an acquisition without one is left out
    corrections.h5              per epoch: delay's state, height slope, ramp; per pixel: displacement per baseline
    maskSteady.h5               ground on which ramps and height correlation are estimated
    demErr.h5                   error of the height model, metres, as MintPy's dem_error writes it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from shapely import contains_xy, from_wkt

from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.domain.grid import Grid
from sagwatch.engine.arrays import map_array
from sagwatch.engine.corrections import (
    Corrections,
    CorrectionSettings,
    DelayOf,
    Scene,
    apply,
    estimate,
    without_topography,
)
from sagwatch.engine.delay_files import DELAY
from sagwatch.engine.interferogram import open_hdf5, read_attributes, write_attributes
from sagwatch.engine.manifest import WHOLE_RECORD, Manifest
from sagwatch.engine.revision_files import create_view, write_lines
from sagwatch.engine.velocity import Window, elapsed_years, fit_windows
from sagwatch.errors import BadInputError

CORRECTIONS, STEADY, HEIGHT_ERROR = "corrections.h5", "maskSteady.h5", "demErr.h5"
#: Ground that moves faster and has moved further than this against the median is not steady, and what lies around it.
_MOVING_M_YR, _MOVED_M, _AROUND_MOVING_M = 0.02, 0.03, 300.0
_DATASETS = tuple(entry.name for entry in fields(Corrections))


def write_corrections(
    folder: Path, track: Path, grid: Grid, settings: CorrectionSettings, manifest: Manifest
) -> None:
    """Estimate the corrections of a revision that is being made, and write its velocities anew from corrected series.

    Parameters
    ----------
    folder
        The revision's folder with its series and layers.
    track
        The track's folder, where the delays lie.
    manifest
        Of the revision; its files need not be there yet.
    """
    with open_hdf5(folder / "timeseries.h5") as file:
        los_m, baselines_m = file["timeseries"][:], file["bperp"][:]
    with open_hdf5(folder / "pairsPerEpoch.h5") as file:
        observed = file["pairsPerEpoch"][:] > 0
    dates, reference = manifest.epochs, manifest.reference
    steady = _steady_ground(folder, manifest, settings)
    scene = _scene(folder, steady, reference.row, reference.column)
    delay_of = stored_delays(track, dates, manifest.delays)
    try:
        found, los_m = estimate(dates, los_m, delay_of, baselines_m, scene, settings)
    except BadInputError as problem:
        raise BadInputError(f"{track}: {problem}") from problem
    without_topography(los_m, slice(None), found)
    windows = [WHOLE_RECORD, *(Window(**window) for window in manifest.settings["windows"])]
    shape = (len(dates), -1)
    lines = fit_windows(dates, los_m.reshape(shape), windows, observed.reshape(shape))
    write_lines(folder, lines)
    template = read_attributes(folder / "timeseries.h5")
    _write_map(folder / STEADY, "mask", steady, {**template, "FILE_TYPE": "mask", "UNIT": "1"})
    _write_found(folder / CORRECTIONS, found, manifest)
    height_error_m = found.height_error_m(scene)
    if height_error_m is not None:
        _write_map(
            folder / HEIGHT_ERROR, "dem", height_error_m, {**template, "FILE_TYPE": "dem", "UNIT": "m"}
        )
    if manifest.delays:
        _write_delays(folder, manifest, grid, template)


def corrected_m(
    folder: Path, manifest: Manifest, los_m: NDArray[np.float32], rows: slice, *, topography: bool = True
) -> NDArray[np.float32]:
    """Correct some rows of a revision's series; without the topographic term if it is not wanted."""
    settings = correction_settings(manifest)
    if settings is None:
        return los_m
    scene, found = read_scene(folder, manifest), read_corrections(folder)
    delay_of = stored_delays(folder.parent.parent, manifest.epochs, manifest.delays)
    corrected = apply(los_m, rows, delay_of, found, scene, settings)
    return without_topography(corrected, rows, found) if topography else corrected


def corrected_past_m(
    folder: Path,
    manifest: Manifest,
    dates: Sequence[date],
    los_m: NDArray[np.float32],
    baselines_m: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Correct an earlier state of the record with the delays known now; the rest is estimated from it alone."""
    settings = correction_settings(manifest)
    if settings is None:
        return los_m
    delay_of = stored_delays(folder.parent.parent, dates, manifest.delays)
    found, corrected = estimate(dates, los_m, delay_of, baselines_m, read_scene(folder, manifest), settings)
    return without_topography(corrected, slice(None), found)


def correction_settings(manifest: Manifest) -> CorrectionSettings | None:
    """What the revision corrects; None where nothing."""
    words = manifest.settings.get("corrections")
    return None if words is None else CorrectionSettings(**{**words, "excluded": tuple(words["excluded"])})


def stored_delays(track: Path, dates: Sequence[date], delays: Sequence[StoredDelay]) -> DelayOf:
    """Read delays row by row where they are needed."""
    known = {delay.day: delay for delay in delays}

    def delay_of(epoch: int, rows: slice) -> NDArray[np.floating] | None:
        delay = known.get(dates[epoch])
        return None if delay is None else map_array(track / delay.name, DELAY)[0, rows]

    return delay_of


def delay_states(dates: Sequence[date], delays: Sequence[StoredDelay]) -> tuple[DelayState, ...]:
    """The state of the delay at each date."""
    known = {delay.day: delay.state for delay in delays}
    return tuple(known.get(day, DelayState.NONE) for day in dates)


def read_scene(folder: Path, manifest: Manifest) -> Scene:
    """What does not change in time, of a revision."""
    with open_hdf5(folder / STEADY) as file:
        steady = file["mask"][:]
    return _scene(folder, steady, manifest.reference.row, manifest.reference.column)


def read_corrections(folder: Path) -> Corrections:
    """What a revision estimated."""
    with open_hdf5(folder / CORRECTIONS) as file:
        found: dict[str, Any] = {name: file[name][:] if name in file else None for name in _DATASETS}
    return Corrections(**found)


def delays_file(manifest: Manifest) -> str:
    """MintPy's name of the file of delays."""
    return f"inputs/{manifest.settings['corrections']['troposphere'].upper()}.h5"


def _scene(folder: Path, steady: NDArray[np.bool_], row: int, column: int) -> Scene:
    with open_hdf5(folder / "inputs" / "geometryGeo.h5") as file:
        height_m, incidence_deg, slant_range_m = (
            file[name][:] for name in ("height", "incidenceAngle", "slantRangeDistance")
        )
    return Scene(height_m, incidence_deg, slant_range_m, steady, row, column)


def _steady_ground(folder: Path, manifest: Manifest, settings: CorrectionSettings) -> NDArray[np.bool_]:
    """Land that is coherent, outside the excluded areas, and not moving against the rest of the scene."""
    grid, least_coherence = manifest.grid, float(manifest.settings["min_temporal_coherence"])
    years = elapsed_years(manifest.epochs)[-1]
    limit = max(_MOVING_M_YR, _MOVED_M / years)
    with open_hdf5(folder / "temporalCoherence.h5") as file, np.errstate(invalid="ignore"):
        steady = file["temporalCoherence"][:] >= least_coherence
    with open_hdf5(folder / "waterMask.h5") as file:
        steady &= file["waterMask"][:]
    with open_hdf5(folder / "velocity.h5") as file:
        velocity = file["velocity"][:]
    known = steady & np.isfinite(velocity)
    if known.any():
        moving = known & (np.abs(velocity - np.median(velocity[known])) > limit)
        around = max(1, round(_AROUND_MOVING_M / grid.pixel_m))
        # A lone pixel is noise; ground that moves is wider than that.
        moving = binary_dilation(_in_company(moving), iterations=around)
        steady &= ~moving
    if settings.excluded:
        rows, columns = np.indices(grid.shape)
        x, y = grid.xy(rows, columns)
        for area in settings.excluded:
            steady &= ~contains_xy(from_wkt(area), x, y)
    return steady


def _in_company(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels with at least four of their eight neighbours."""
    padded = np.pad(mask, 1).astype(np.uint8)
    rows, columns = mask.shape
    total = sum(padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3))
    return np.asarray(mask & (total >= 5))


def _write_map(path: Path, name: str, values: NDArray[np.generic], attributes: Mapping[str, str]) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset(name, data=values, track_times=False)
        write_attributes(file, attributes)


def _write_found(path: Path, found: Corrections, manifest: Manifest) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file["date"] = np.array([f"{day:%Y%m%d}" for day in manifest.epochs], dtype="S8")
        file["delay_state"] = np.array(delay_states(manifest.epochs, manifest.delays), dtype="S")
        for name in _DATASETS:
            if (values := getattr(found, name)) is not None:
                file.create_dataset(name, data=values, track_times=False)


def _write_delays(folder: Path, manifest: Manifest, grid: Grid, template: Mapping[str, str]) -> None:
    """MintPy's file of delays; it has no dates without one, as MintPy's own."""
    delays = sorted(manifest.delays)
    with h5py.File(folder / delays_file(manifest), "w", libver="latest") as file:
        sources = [(i, 1, f"../../../{delay.name}") for i, delay in enumerate(delays)]
        create_view(file, DELAY, (len(delays), *grid.shape), np.float32, np.nan, sources)
        file["date"] = np.array([f"{delay.day:%Y%m%d}" for delay in delays], dtype="S8")
        unreferenced = {k: v for k, v in template.items() if not k.startswith("REF_")}
        write_attributes(file, {**unreferenced, "FILE_TYPE": "timeseries", "UNIT": "m"})
