"""MintPy's own corrections of a revision's series: for scientists who take it on, and as referee of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.delay import FETCHED_METHODS
from sagwatch.engine.correction_files import (
    HEIGHT_ERROR,
    STEADY,
    correction_settings,
    read_corrections,
    read_scene,
    stored_delays,
)
from sagwatch.engine.corrections import CorrectionSettings, relative_delays
from sagwatch.engine.interferogram import open_hdf5, write_attributes
from sagwatch.engine.mintpy_process import MintPyError, copy_plainly, run_program
from sagwatch.engine.revision import Revision

_SERIES = "timeseries"


@dataclass(frozen=True, slots=True)
class CorrectionDifferences:
    """How far the corrected series, its height error and its velocity are from MintPy's own programs."""

    pixels: int
    displacement_max_mm: float
    displacement_rms_mm: float
    velocity_max_mm_yr: float
    height_error_max_m: float | None


def corrected_name(settings: CorrectionSettings) -> str:
    """MintPy's name of the corrected series, as ``timeseries_ERA5_ramp_demErr.h5``."""
    words = [_SERIES]
    if settings.troposphere in FETCHED_METHODS:
        words.append(settings.troposphere.upper())
    elif settings.troposphere == "height_correlation":
        words.append("tropHgt")
    if settings.ramp != "none":
        words.append("ramp")
    if settings.topography_order is not None:
        words.append("demErr")
    return "_".join(words) + ".h5"


def write_corrected(revision: Revision, folder: Path) -> Path | None:
    """Write our corrected series as one plain file of MintPy's; None where nothing is corrected."""
    settings = correction_settings(revision.manifest)
    if settings is None:
        return None
    target = folder / corrected_name(settings)
    copy_plainly(revision.folder / "timeseries.h5", target, (_SERIES,))
    with h5py.File(target, "r+") as file:
        file[_SERIES][:] = revision.los_m()
    return target


def compare_corrections(revision: Revision, folder: Path) -> CorrectionDifferences | None:
    """Correct our own uncorrected series with MintPy's programs in an empty folder, and compare; None: nothing to do.

    An acquisition without delay is given the one that stands in for it, because MintPy would leave it uncorrected.

    Raises
    ------
    MintPyError
        A program failed.
    """
    settings = correction_settings(revision.manifest)
    if settings is None:
        return None
    series = _correct(revision, settings, folder)
    run_program("timeseries2velocity", [series.name, "-o", "velocity.h5"], folder)
    layers, ours_m = revision.layers, revision.los_m()
    with open_hdf5(series) as file:
        theirs_m = file[_SERIES][:]
    # MintPy corrects no pixel that lacks an epoch, and writes 0 there.
    raw_m = revision.raw_los_m()
    compared = layers.land & np.isfinite(ours_m).all(axis=0) & np.isfinite(raw_m).all(axis=0)
    if settings.topography_order is not None:
        compared &= np.any(theirs_m != 0, axis=0)
    with open_hdf5(folder / "velocity.h5") as file:
        velocity_m_yr = file["velocity"][:] - layers.lines["whole"].velocity_m_yr
    height_error_m = None
    if settings.topography_order is not None and (revision.folder / HEIGHT_ERROR).exists():
        with open_hdf5(revision.folder / HEIGHT_ERROR) as ours, open_hdf5(folder / HEIGHT_ERROR) as theirs:
            height_error_m = _largest(ours["dem"][:] - theirs["dem"][:], compared)
    gaps_mm = 1000.0 * (ours_m.astype(np.float64) - theirs_m)[:, compared]
    return CorrectionDifferences(
        pixels=int(compared.sum()),
        displacement_max_mm=float(np.abs(gaps_mm).max(initial=0.0)),
        displacement_rms_mm=float(np.sqrt(np.mean(gaps_mm**2))) if gaps_mm.size else 0.0,
        velocity_max_mm_yr=1000 * _largest(velocity_m_yr, compared),
        height_error_max_m=height_error_m,
    )


def _correct(revision: Revision, settings: CorrectionSettings, folder: Path) -> Path:
    """The chain of MintPy's programs; returns the last file."""
    source, series = revision.folder, folder / "timeseries.h5"
    copy_plainly(source / "timeseries.h5", series, (_SERIES,))
    copy_plainly(source / "inputs" / "geometryGeo.h5", folder / "geometryGeo.h5", ())
    if settings.needs_steady_ground:
        copy_plainly(source / STEADY, folder / STEADY, ())
    if settings.troposphere in FETCHED_METHODS:
        _write_all_delays(revision, folder / "delays.h5")
        series = _run("diff", [series.name, "delays.h5"], folder, "troposphere.h5")
    elif settings.troposphere == "height_correlation":
        words = [series.name, "-g", "geometryGeo.h5", "-m", STEADY, "-l", "1"]
        series = _run("tropo_phase_elevation", words, folder, "troposphere.h5")
    if settings.ramp != "none":
        series = _run("remove_ramp", [series.name, "-m", STEADY, "-s", settings.ramp], folder, "ramp.h5")
    found = read_corrections(source)
    if found.stood_in.any():
        # Where little ground was seen MintPy fits to whatever is left; it is given what stands in.
        with h5py.File(series, "r+") as file:
            file[_SERIES][found.stood_in] = revision.los_with_topography_m()[found.stood_in]
    if settings.topography_order is not None and found.per_baseline is not None:
        words = [series.name, "-g", "geometryGeo.h5", "-p", str(settings.topography_order)]
        series = _run("dem_error", words, folder, "topography.h5")
    return series


def _run(program: str, words: list[str], folder: Path, target: str) -> Path:
    run_program(program, [*words, "-o", target], folder)
    if not (folder / target).exists():
        raise MintPyError(f"{program} ended well but wrote no {target}")
    return folder / target


def _write_all_delays(revision: Revision, target: Path) -> None:
    """MintPy's file of delays with every epoch, those that stand in included."""
    manifest, folder = revision.manifest, revision.folder
    relative_m = relative_delays(
        len(revision.epochs),
        slice(None),
        stored_delays(folder.parent.parent, revision.epochs, manifest.delays),
        read_corrections(folder).height_slope,
        read_scene(folder, manifest),
    )
    with open_hdf5(folder / "timeseries.h5") as file:
        attributes = {key: str(value) for key, value in file.attrs.items()}
    with h5py.File(target, "w") as file:
        file[_SERIES] = np.array(
            [np.zeros(revision.grid.shape) if m is None else m for m in relative_m], np.float32
        )
        file["date"] = np.array([f"{day:%Y%m%d}" for day in revision.epochs], dtype="S8")
        write_attributes(file, attributes)


def _largest(values: NDArray[np.floating], where: NDArray[np.bool_]) -> float:
    kept = np.abs(values[where].astype(np.float64))
    return float(kept.max()) if kept.size else 0.0
