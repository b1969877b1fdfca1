"""What a revision keeps of its corrections, and how they are read: see `corrections`.

::

    inputs/ERA5.h5 (GACOS.h5)   virtual: the delays stay in ../../../delays/; an acquisition without one is left out
    corrections.h5              per epoch: delay's state, height slope, ramp; per pixel: displacement per baseline
    maskSteady.h5               ground on which ramps and height correlation are estimated (`steady_ground`)
    demErr.h5                   error of the height model, metres, as MintPy's dem_error writes it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.delay import DelayState, StoredDelay
from sagwatch.engine.arrays import map_array
from sagwatch.engine.checks import Finding
from sagwatch.engine.corrections import (
    Corrections,
    CorrectionSettings,
    DelayOf,
    NoDelayAtReferenceError,
    NoSteadyGroundError,
    Scene,
    apply,
    estimate,
    without_topography,
)
from sagwatch.engine.delay_files import DELAY
from sagwatch.engine.eaten import (
    MOST_EATEN_BY_RAMP,
    MOST_EATEN_BY_TOPOGRAPHY,
    PANEL_TROUGH_M,
    eaten_by_ramp,
    eaten_by_topography,
    taken_by_ramp,
)
from sagwatch.engine.interferogram import open_hdf5, read_attributes, write_attributes
from sagwatch.engine.manifest import WHOLE_RECORD, Manifest
from sagwatch.engine.revision_files import VELOCITIES, create_view, write_lines
from sagwatch.engine.steady_ground import decided_at, mask_key, steady_ground
from sagwatch.engine.update import Base, Past
from sagwatch.engine.velocity import Window, fit_windows
from sagwatch.errors import BadRevisionError

CORRECTIONS, STEADY, HEIGHT_ERROR = "corrections.h5", "maskSteady.h5", "demErr.h5"
#: Attributes of the mask: what it comes from, and the last acquisition that had a say in it.
_KEY, _UNTIL = "STEADY_KEY", "STEADY_UNTIL"
_MOST_NAMES = 5
_DATASETS = tuple(entry.name for entry in fields(Corrections))


@dataclass(frozen=True)
class Making:
    """A revision that is being made, as far as its corrections need it.

    Attributes
    ----------
    folder
        With its series and layers.
    track
        The track's folder, where the delays lie.
    manifest
        Of the revision; its files need not be there yet.
    base
        The revision that it was taken up from.
    solve_until
        Solves the record as it was when a day was the newest acquisition.
    """

    folder: Path
    track: Path
    manifest: Manifest
    settings: CorrectionSettings
    base: Base | None
    solve_until: Callable[[date], Past]


def write_corrections(making: Making) -> None:
    """Estimate the corrections of a revision that is being made, and write its velocities anew from corrected series.

    Raises
    ------
    BadRevisionError
        Too little steady ground, or no delay at the reference pixel; the text has numbers, see `checks`.
    """
    folder, manifest, settings = making.folder, making.manifest, making.settings
    with open_hdf5(folder / "timeseries.h5") as file:
        los_m, baselines_m = file["timeseries"][:], file["bperp"][:]
    with open_hdf5(folder / "pairsPerEpoch.h5") as file:
        observed = file["pairsPerEpoch"][:] > 0
    template = read_attributes(folder / "timeseries.h5")
    if settings.needs_steady_ground:
        attributes = {_KEY: mask_key(manifest, settings), _UNTIL: f"{decided_at(manifest.epochs):%Y%m%d}"}
        attributes |= {**template, "FILE_TYPE": "mask", "UNIT": "1"}
        _write_map(folder / STEADY, "mask", _steady(making), attributes)
    dates, scene = manifest.epochs, read_scene(folder, manifest)
    delay_of = stored_delays(making.track, dates, manifest.delays)
    try:
        found, los_m = estimate(dates, los_m, delay_of, baselines_m, scene, settings)
    except (NoSteadyGroundError, NoDelayAtReferenceError) as problem:
        number = 122 if isinstance(problem, NoSteadyGroundError) else 123
        raise BadRevisionError(str(Finding(number, True, f"{making.track}: {problem}"))) from problem
    without_topography(los_m, slice(None), found)
    windows = [WHOLE_RECORD, *(Window(**window) for window in manifest.settings["windows"])]
    shape = (len(dates), -1)
    lines = fit_windows(dates, los_m.reshape(shape), windows, observed.reshape(shape))
    write_lines(folder, lines)
    _write_found(folder / CORRECTIONS, found, manifest)
    height_error_m = found.height_error_m(scene)
    if height_error_m is not None:
        _write_map(
            folder / HEIGHT_ERROR, "dem", height_error_m, {**template, "FILE_TYPE": "dem", "UNIT": "m"}
        )
    if manifest.delays:
        _write_delays(folder, manifest, template)


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


def check_corrections(folder: Path, manifest: Manifest, corrections: Corrections | None) -> list[Finding]:
    """What a person should know of a revision's corrections: what they would eat, and where something stands in.

    ``corrections`` are its `stored_corrections`.
    """
    settings = correction_settings(manifest)
    if settings is None or corrections is None:
        return []
    found = []
    if corrections.ramp is not None and settings.ramp != "none":
        scene = read_scene(folder, manifest)
        shares = eaten_by_ramp(scene, settings.ramp, manifest.grid.pixel_m, refer_to=settings.refer_to)
        if (share := float(shares.max())) > MOST_EATEN_BY_RAMP:
            row, column = np.unravel_index(int(shares.argmax()), shares.shape)
            longitude, latitude = manifest.grid.lon_lat(int(row), int(column))
            where = (
                f"the {settings.ramp} ramp takes up to {share:.0%} of a new trough of {PANEL_TROUGH_M:.0f} m "
                f"(standard deviation) for a tilt, most at {latitude:.4f} N, {longitude:.4f} E"
            )
            found.append(Finding(120, False, where))
        velocity_m_yr = _trusted_velocity(folder)
        share = taken_by_ramp(manifest.epochs, corrections.ramp, scene, velocity_m_yr, settings.refer_to)
        if share > MOST_EATEN_BY_RAMP:
            where = (
                f"the {settings.ramp} ramps grow with time, as air and orbits do not: "
                f"they have taken {share:.0%} of the velocity of the fastest ground"
            )
            found.append(Finding(124, False, where))
    if settings.topography_order is not None and corrections.per_baseline is not None:
        share = eaten_by_topography(manifest.epochs, corrections.baselines_m, settings.topography_order)
        if share > MOST_EATEN_BY_TOPOGRAPHY:
            where = (
                f"the baselines resemble motion: up to {share:.0%} of a trough is taken for a height error"
            )
            found.append(Finding(121, False, where))
    if days := [f"{day}" for day in corrected_by_average(manifest, corrections)]:
        more = f" and {len(days) - _MOST_NAMES} more" if len(days) > _MOST_NAMES else ""
        where = f"the average of the other acquisitions corrects {', '.join(days[:_MOST_NAMES])}{more}"
        found.append(Finding(122, False, where))
    return found


def corrected_by_average(manifest: Manifest, corrections: Corrections | None) -> list[date]:
    """Acquisitions with too little steady ground for a ramp or a dependence on height of their own."""
    if corrections is None:
        return []
    return [day for day, told in zip(manifest.epochs, corrections.stood_in, strict=True) if told]


def steady_until(folder: Path) -> date | None:
    """The last acquisition that had a say in the revision's steady ground; None where nothing asked for any."""
    if not (folder / STEADY).exists():
        return None
    return date.fromisoformat(read_attributes(folder / STEADY)[_UNTIL])


def topography_state(manifest: Manifest, corrections: Corrections | None) -> str:
    """``off``, ``estimated``, or ``not yet``: there are too few acquisitions, or their baselines are all alike."""
    settings = correction_settings(manifest)
    if settings is None or settings.topography_order is None or corrections is None:
        return "off"
    return "not yet" if corrections.per_baseline is None else "estimated"


def _trusted_velocity(folder: Path) -> NDArray[np.float32]:
    with open_hdf5(folder / VELOCITIES[0]) as file:
        velocity_m_yr = file["velocity"][:]
    with open_hdf5(folder / "maskTempCoh.h5") as file:
        return np.where(file["mask"][:], velocity_m_yr, np.nan)


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
    """What does not change in time, of a revision; no ground is steady where nothing asked for it."""
    with open_hdf5(folder / "inputs" / "geometryGeo.h5") as file:
        height_m, incidence_deg, slant_range_m = (
            file[name][:] for name in ("height", "incidenceAngle", "slantRangeDistance")
        )
    steady = np.zeros(height_m.shape, np.bool_)
    if (folder / STEADY).exists():
        with open_hdf5(folder / STEADY) as file:
            steady = file["mask"][:]
    reference = manifest.reference
    return Scene(height_m, incidence_deg, slant_range_m, steady, reference.row, reference.column)


def stored_corrections(folder: Path, manifest: Manifest) -> Corrections | None:
    """What a revision estimated; None where it corrects nothing."""
    return None if correction_settings(manifest) is None else read_corrections(folder)


def read_corrections(folder: Path) -> Corrections:
    """What a revision that corrects something estimated."""
    with open_hdf5(folder / CORRECTIONS) as file:
        found: dict[str, Any] = {name: file[name][:] if name in file else None for name in _DATASETS}
    return Corrections(**found)


def delays_file(manifest: Manifest) -> str:
    """MintPy's name of the file of delays."""
    return f"inputs/{manifest.settings['corrections']['troposphere'].upper()}.h5"


def _steady(making: Making) -> NDArray[np.bool_]:
    """The mask of the revision before where nothing has a new say in it, otherwise decided now."""
    folder, manifest, base = making.folder, making.manifest, making.base
    key = mask_key(manifest, making.settings)
    if base is not None and (earlier := base.intact(STEADY)) is not None:
        with open_hdf5(earlier) as file:
            if file.attrs.get(_KEY) == key:
                return file["mask"][:]
    until = decided_at(manifest.epochs)
    if until == manifest.epochs[-1]:
        dates = manifest.epochs
        with open_hdf5(folder / "temporalCoherence.h5") as file:
            agreement = file["temporalCoherence"][:]
        with open_hdf5(folder / VELOCITIES[0]) as file:
            velocity_m_yr = file["velocity"][:]
    else:
        past = making.solve_until(until)
        dates, agreement, shape = past.dates, past.temporal_coherence, (len(past.dates), -1)
        lines = fit_windows(dates, past.los_m.reshape(shape), [WHOLE_RECORD], past.observed.reshape(shape))
        velocity_m_yr = lines[WHOLE_RECORD.name].velocity_m_yr.reshape(agreement.shape)
    with open_hdf5(folder / "waterMask.h5") as file, np.errstate(invalid="ignore"):
        coherent = file["waterMask"][:] & (agreement >= float(manifest.settings["min_temporal_coherence"]))
    return steady_ground(dates, velocity_m_yr, coherent, making.settings.excluded, manifest.grid)


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


def _write_delays(folder: Path, manifest: Manifest, template: Mapping[str, str]) -> None:
    """MintPy's file of delays; it has no dates without one, as MintPy's own."""
    delays = sorted(manifest.delays)
    with h5py.File(folder / delays_file(manifest), "w", libver="latest") as file:
        sources = [(i, 1, f"../../../{delay.name}") for i, delay in enumerate(delays)]
        create_view(file, DELAY, (len(delays), *manifest.grid.shape), np.float32, np.nan, sources)
        file["date"] = np.array([f"{delay.day:%Y%m%d}" for delay in delays], dtype="S8")
        unreferenced = {k: v for k, v in template.items() if not k.startswith("REF_")}
        write_attributes(file, {**unreferenced, "FILE_TYPE": "timeseries", "UNIT": "m"})
