"""The HDF5 files of a revision: MintPy's stack as views of the interferograms, and the solution's layers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.engine.interferogram import (
    COHERENCE,
    COMPONENT,
    PHASE,
    open_hdf5,
    read_attributes,
    write_attributes,
)
from sagwatch.engine.manifest import WHOLE_RECORD, ReferencePoint, RevisionSettings
from sagwatch.engine.stack import Block, Stack
from sagwatch.engine.velocity import Line, Window, fit_windows

_CHUNK_EPOCHS, _CHUNK_SIDE = 16, 64
_LINE_LAYERS = (
    ("velocity", "velocity_m_yr", "m/year"),
    ("velocityStd", "velocity_std_m_yr", "m/year"),
    ("intercept", "intercept_m", "m"),
    ("interceptStd", "intercept_std_m", "m"),
    ("residue", "residue_m", "m"),
    ("residualCorrelation", "residual_correlation", "1"),
    ("numEpochs", "n_epochs", "1"),
)


def write_inputs(folder: Path, stack: Stack, geometry: Path, reference: ReferencePoint, grid: Grid) -> None:
    """Write the stack that MintPy opens and a copy of the track's geometry."""
    (folder / "inputs").mkdir()
    shutil.copyfile(geometry, folder / "inputs" / "geometryGeo.h5")
    _write_virtual_stack(folder / "inputs" / "ifgramStack.h5", stack, _attributes(stack, reference, grid))


def write_solution(
    folder: Path, stack: Stack, settings: RevisionSettings, reference: ReferencePoint, threads: int | None
) -> None:
    """Solve block by block: the displacement goes to disk, layers without time are kept until the end."""
    attributes = read_attributes(folder / "inputs" / "ifgramStack.h5") | _inversion_attributes(
        stack, settings
    )
    attributes.pop("FILE_TYPE")
    layers = []
    shape = (len(stack.dates), *stack.shape)
    with (
        h5py.File(folder / "timeseries.h5", "w") as series_file,
        h5py.File(folder / "pairsPerEpoch.h5", "w") as count_file,
    ):
        series = _create_series(series_file, stack, "timeseries", np.float32, shape)
        counts = _create_series(count_file, stack, "pairsPerEpoch", np.uint8, shape)
        write_attributes(series_file, _of_series(attributes, stack, "m"))
        write_attributes(count_file, _of_series(attributes, stack, "1"))
        for block in stack.solve_blocks(settings.inversion, reference.row, reference.column, threads):
            height = block.rows.stop - block.rows.start
            series[:, block.rows] = block.solution.los_m.reshape(-1, height, stack.shape[1])
            pairs = np.minimum(block.solution.pairs_per_epoch, 255).astype(np.uint8)
            counts[:, block.rows] = pairs.reshape(-1, height, stack.shape[1])
            layers.append(_layers_of(block, stack, settings))
    merged = {
        name: np.concatenate([layer[name] for layer in layers]).reshape(stack.shape) for name in layers[0]
    }
    _write_layers(folder, stack, settings, merged, attributes)


def read_line(path: Path, suffix: str) -> Line:
    """Read the lines of a velocity file; ``suffix`` names the window, empty for the whole record."""
    with open_hdf5(path) as file:
        return Line(**{attribute: file[dataset + suffix][:] for dataset, attribute, _ in _LINE_LAYERS})


def _write_virtual_stack(path: Path, stack: Stack, attributes: Mapping[str, str]) -> None:
    """Write MintPy's stack file as views of the interferograms' own files."""
    layers: list[tuple[str, type, float]] = [(PHASE, np.float32, np.nan), (COHERENCE, np.float32, np.nan)]
    layers += [(COMPONENT, np.int16, -1)] if stack.has_components else []
    with h5py.File(path, "w", libver="latest") as file:
        for name, kind, fill in layers:
            layout = h5py.VirtualLayout((len(stack.members), *stack.shape), dtype=kind)
            layout.dcpl.set_obj_track_times(False)  # equal inputs make equal files, whatever the clock says
            for i, member in enumerate(stack.members):
                # Relative to the stack's own folder, so that the track's folder can be moved as a whole.
                source = f"../../../{stack.folder.name}/{member.id}.h5"
                layout[i : i + 1] = h5py.VirtualSource(source, name, (1, *stack.shape), dtype=kind)
            # HDF5 shows a missing source as the fill value. NaN, because 0 would read as "stable".
            file.create_virtual_dataset(name, layout, fillvalue=fill)
        pairs, _ = stack.perpendicular_baselines_m()
        file["date"] = np.array([member.name.split("_") for member in stack.members], dtype="S8")
        file["bperp"] = pairs
        file["dropIfgram"] = np.ones(len(stack.members), dtype=np.bool_)
        write_attributes(file, {**attributes, "FILE_TYPE": "ifgramStack"})


def _attributes(stack: Stack, reference: ReferencePoint, grid: Grid) -> dict[str, str]:
    """MintPy's attributes of the whole stack: those of its first pair, its reference point and its span."""
    northing = grid.north - (reference.row + 0.5) * grid.pixel_m
    easting = grid.west + (reference.column + 0.5) * grid.pixel_m
    return read_attributes(stack.path(stack.members[0])) | {
        "NO_DATA_VALUE": "nan",
        "REF_Y": str(reference.row),
        "REF_X": str(reference.column),
        # On a UTM grid MintPy keeps northing and easting under these names.
        "REF_LAT": str(northing),
        "REF_LON": str(easting),
        "START_DATE": f"{stack.dates[0]:%Y%m%d}",
        "END_DATE": f"{stack.dates[-1]:%Y%m%d}",
    }


def _create_series(
    file: h5py.File, stack: Stack, name: str, kind: type, shape: tuple[int, ...]
) -> h5py.Dataset:
    chunks = tuple(
        min(size, most) for size, most in zip(shape, (_CHUNK_EPOCHS, _CHUNK_SIDE, _CHUNK_SIDE), strict=True)
    )
    file["date"] = np.array([f"{day:%Y%m%d}" for day in stack.dates], dtype="S8")
    file["bperp"] = stack.perpendicular_baselines_m()[1]
    return file.create_dataset(name, shape, kind, chunks=chunks, track_times=False)


def _of_series(attributes: Mapping[str, str], stack: Stack, unit: str) -> dict[str, str]:
    first = f"{stack.dates[0]:%Y%m%d}"
    return {**attributes, "FILE_TYPE": "timeseries", "UNIT": unit, "REF_DATE": first}


def _layers_of(block: Block, stack: Stack, settings: RevisionSettings) -> dict[str, NDArray[Any]]:
    """Everything without time that a block of pixels yields, flat."""
    solution = block.solution
    lines = fit_windows(
        stack.dates, solution.los_m, (WHOLE_RECORD, *settings.windows), solution.pairs_per_epoch > 0
    )
    layers: dict[str, NDArray[Any]] = {
        "temporalCoherence": solution.temporal_coherence,
        "coherence": block.mean_coherence,
        "observations": solution.n_observations.astype(np.float32),
        "networkParts": solution.parts,
        "redundant": solution.redundant,
    }
    for name, line in lines.items():
        suffix = "" if name == WHOLE_RECORD.name else f"_{name}"
        layers |= {dataset + suffix: getattr(line, attribute) for dataset, attribute, _ in _LINE_LAYERS}
    return layers


def _write_layers(
    folder: Path,
    stack: Stack,
    settings: RevisionSettings,
    layers: dict[str, NDArray[Any]],
    attributes: Mapping[str, str],
) -> None:
    """Write the files without time."""
    with open_hdf5(folder / "inputs" / "geometryGeo.h5") as file:
        land = file["waterMask"][:]
    redundant = layers["redundant"]
    with np.errstate(invalid="ignore"):
        reliable = (layers["temporalCoherence"] >= settings.min_temporal_coherence) & redundant & land
    single = (
        ("temporalCoherence.h5", "temporalCoherence", layers["temporalCoherence"], "temporalCoherence"),
        ("avgSpatialCoh.h5", "coherence", layers["coherence"], "coherence"),
        ("numInvIfgram.h5", "mask", layers["observations"], "mask"),
        ("networkParts.h5", "networkParts", layers["networkParts"], "mask"),
        ("maskRedundancy.h5", "mask", redundant, "mask"),
        ("maskTempCoh.h5", "mask", reliable, "mask"),
        ("waterMask.h5", "waterMask", land, "waterMask"),
    )
    for file_name, dataset, array, file_type in single:
        with h5py.File(folder / file_name, "w") as file:
            file.create_dataset(dataset, data=array, track_times=False)
            write_attributes(file, {**attributes, "FILE_TYPE": file_type, "UNIT": "1"})
    _write_lines(folder / "velocity.h5", stack, layers, attributes, None, "")
    with h5py.File(folder / "velocityWindows.h5", "w") as file:
        write_attributes(file, {**attributes, "FILE_TYPE": "velocity", "UNIT": "m/year"})
    for window in settings.windows:
        _write_lines(folder / "velocityWindows.h5", stack, layers, attributes, window, f"_{window.name}")


def _write_lines(
    path: Path,
    stack: Stack,
    layers: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str],
    window: Window | None,
    suffix: str,
) -> None:
    """Add the layers of one window, or of the whole record, to a velocity file."""
    first, last = f"{stack.dates[0]:%Y%m%d}", f"{stack.dates[-1]:%Y%m%d}"
    with h5py.File(path, "a") as file:
        for dataset, _, unit in _LINE_LAYERS:
            created = file.create_dataset(dataset + suffix, data=layers[dataset + suffix], track_times=False)
            created.attrs["UNIT"] = unit
            if window is not None:
                created.attrs["WINDOW_DAYS"] = window.days
        span = {"START_DATE": first, "END_DATE": last, "DATE12": f"{first}_{last}", "REF_DATE": first}
        write_attributes(file, {**attributes, **span, "FILE_TYPE": "velocity", "UNIT": "m/year"})


def _inversion_attributes(stack: Stack, settings: RevisionSettings) -> dict[str, str]:
    """What MintPy notes about an inversion in the files that come from it."""
    masked = settings.coherence_threshold is not None
    values = {
        "obsDatasetName": PHASE,
        "numIfgram": len(stack.members),
        "weightFunc": settings.weight.value,
        "maskDataset": COHERENCE if masked else None,
        "maskThreshold": settings.coherence_threshold if masked else 0.4,
        "minRedundancy": settings.min_redundancy,
        "minNormVelocity": True,
    }
    return {f"mintpy.networkInversion.{key}": str(value) for key, value in values.items()}
