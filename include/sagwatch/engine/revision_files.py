"""The HDF5 files of a revision: MintPy's stack as views of the interferograms, and the solution's layers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.engine.arrays import OpenArray, OpenArrays, create_array, read_array, write_array
from sagwatch.engine.files import ASIDE, Disk
from sagwatch.engine.interferogram import (
    COHERENCE,
    COMPONENT,
    ORIGINAL,
    PHASE,
    StoredInterferogram,
    open_hdf5,
    read_attributes,
    write_attributes,
)
from sagwatch.engine.manifest import WHOLE_RECORD, ReferencePoint, RevisionSettings, Sealed
from sagwatch.engine.sealed import LOS, PAIRS, STACK, Made
from sagwatch.engine.stack import KnownPair, Stack
from sagwatch.engine.update import (
    Layers,
    Stale,
    StoredBlock,
    Targets,
    Update,
    apply_patches,
    open_files,
    stale_after,
)
from sagwatch.engine.velocity import Line, Window
from sagwatch.errors import BadRevisionError

UPDATE_STATE = "updateState.h5"
#: Files of straight lines.
VELOCITIES = ("velocity.h5", "velocityWindows.h5")
_WATER_MASK = "waterMask.h5"
_LAYERS: tuple[tuple[str, str, type, str], ...] = (
    ("temporalCoherence.h5", "temporalCoherence", np.float32, "temporalCoherence"),
    ("avgSpatialCoh.h5", "coherence", np.float32, "coherence"),
    ("numInvIfgram.h5", "mask", np.float32, "mask"),
    ("networkParts.h5", "networkParts", np.uint16, "mask"),
    ("maskRedundancy.h5", "mask", np.bool_, "mask"),
    ("maskTempCoh.h5", "mask", np.bool_, "mask"),
)
_LINE_LAYERS = (
    ("velocity", "velocity_m_yr", "m/year"),
    ("velocityStd", "velocity_std_m_yr", "m/year"),
    ("intercept", "intercept_m", "m"),
    ("interceptStd", "intercept_std_m", "m"),
    ("residue", "residue_m", "m"),
    ("residualCorrelation", "residual_correlation", "1"),
    ("numEpochs", "n_epochs", "1"),
)


@dataclass(frozen=True)
class State:
    """What an update leaves for the next one.

    Attributes
    ----------
    pairs
        What was found out about the interferograms, by id.
    stale
        Where checkpoints do not hold.
    """

    pairs: Mapping[str, KnownPair]
    stale: Stale


def write_state(folder: Path, state: State) -> None:
    """Write what the next update takes over."""
    with h5py.File(folder / UPDATE_STATE, "w", libver="latest") as file:
        write_array(file, "id", np.array([*state.pairs], dtype="S"))
        for entry in fields(KnownPair):
            write_array(
                file, entry.name, np.array([getattr(pair, entry.name) for pair in state.pairs.values()])
            )
        sizes = [pixels.size for pixels in state.stale.values()]
        write_array(
            file, "stale_epoch", np.repeat(np.array([*state.stale], np.uint32), np.array(sizes, np.int64))
        )
        write_array(
            file,
            "stale_pixel",
            np.concatenate([*state.stale.values(), np.zeros(0, np.int64)]).astype(np.uint32),
        )


def read_state(folder: Path) -> State:
    """What an earlier revision left."""
    with open_hdf5(folder / UPDATE_STATE) as file:
        ids = [name.decode() for name in read_array(file, "id").tolist()]
        columns = [read_array(file, entry.name).tolist() for entry in fields(KnownPair)]
        epochs, pixels = read_array(file, "stale_epoch"), read_array(file, "stale_pixel").astype(np.int64)
    return State(
        {name: KnownPair(*row) for name, row in zip(ids, zip(*columns, strict=True), strict=True)},
        {int(epoch): pixels[epochs == epoch] for epoch in np.unique(epochs)},
    )


@dataclass(frozen=True)
class Heads:
    """The files of a revision that do not depend on the solution, and those that wait for its pixels.

    ``attributes`` are those of MintPy's stack, ``template`` is `make_template`'s.
    """

    attributes: Mapping[str, str]
    template: bytes
    targets: Targets


def make_heads(folder: Path, geometry: Path, grid: Grid, update: Update, arrays: OpenArrays) -> Heads:
    """Make all files that the solution fills, and give the revision a copy of the track's geometry."""
    (folder / "inputs").mkdir()
    shutil.copyfile(geometry, folder / "inputs" / "geometryGeo.h5")
    attributes = stack_attributes(update.stack, update.reference, grid)
    template = make_template(update, attributes)
    land = _write_land(folder, template)
    layers = _open_layers(folder, template, update, arrays)
    return Heads(attributes, template, Targets(layers, *open_files(folder, update, arrays), land))


@dataclass(frozen=True)
class Solved:
    """What an update made.

    Attributes
    ----------
    made
        New blocks of the series and new checkpoints, which lie in the revision's folder until they are sealed.
    full
        All files that are full now.
    same
        First epochs of the base's blocks that stay although they were solved again.
    stale
        Where the checkpoints that stay hold no more.
    series
        The blocks that the windows lie in, for `Update.fit_windows`.
    """

    made: Sequence[Made]
    full: Sequence[Path]
    same: set[int]
    stale: Stale
    series: Sequence[StoredBlock]


def write_solution(folder: Path, update: Update, heads: Future[Heads], arrays: OpenArrays) -> Solved:
    """Solve, and fill all files but the windows' lines."""
    patches, same = update.solve(lambda: heads.result().targets)
    targets = heads.result().targets
    blocks = apply_patches(folder, update, patches, arrays)
    for block in targets.blocks:
        if block.made.epoch in same:
            block.made.path.unlink()
        else:
            blocks.append(block)
    made = [*(block.made for block in blocks), *(checkpoint.made for checkpoint in targets.checkpoints)]
    layers = (*(layer[0] for layer in _LAYERS), VELOCITIES[0], _WATER_MASK)
    full = [*(one.path for one in made), *(folder / name for name in layers)]
    series = update.series_of_windows({block.made.epoch: block.read() for block in blocks})
    return Solved(made, full, same, stale_after(update.plan, update.stale, patches), series)


def write_series(folder: Path, update: Update, template: bytes, blocks: Sequence[Sealed]) -> None:
    """Write MintPy's series as views of the sealed blocks, relative, so that the track can be moved as a whole."""
    stack = update.stack
    baselines_m = stack.perpendicular_baselines_m[1]
    layers = (("timeseries.h5", LOS, np.float32, np.nan, "m"), ("pairsPerEpoch.h5", PAIRS, np.uint8, 0, "1"))
    for file_name, dataset, kind, fill, unit in layers:
        with open_file(template, folder / file_name, "timeseries", unit) as file:
            sources = [(block.epoch, block.length, f"../../{block.name}") for block in blocks]
            create_view(file, dataset, (len(stack.dates), *stack.shape), kind, fill, sources)
            write_array(file, "date", np.array([f"{day:%Y%m%d}" for day in stack.dates], dtype="S8"))
            write_array(file, "bperp", baselines_m)


def read_line(path: Path, suffix: str) -> Line:
    """Read the lines of a velocity file; ``suffix`` names the window, empty for the whole record."""
    with open_hdf5(path) as file:
        return Line(**{attribute: file[dataset + suffix][:] for dataset, attribute, _ in _LINE_LAYERS})


def write_lines(folder: Path, lines: Mapping[str, Line]) -> None:
    """Put other lines into a revision's velocity files, by name of window; flat arrays."""
    for file_name, names in (
        (VELOCITIES[0], [WHOLE_RECORD.name]),
        (VELOCITIES[1], [name for name in lines if name != WHOLE_RECORD.name]),
    ):
        # The file was sealed as the solver left it, so this is a file of its own.
        aside = folder / f"{ASIDE}{file_name}"
        shutil.copyfile(folder / file_name, aside)
        with h5py.File(aside, "r+", libver="latest") as file:
            for name in names:
                suffix = "" if name == WHOLE_RECORD.name else f"_{name}"
                for dataset, attribute, _ in _LINE_LAYERS:
                    layer = file[dataset + suffix]
                    layer[:] = getattr(lines[name], attribute).reshape(layer.shape)
        aside.replace(folder / file_name)


def _make_stack_parts(folder: Path, update: Update) -> tuple[list[Made], list[Sealed]]:
    """Make the parts of MintPy's stack: views of the pairs that begin within a few epochs.

    In parts, because the price of one view grows with the number of its sources. Returns the new parts, and those of
    the base that still hold, at their place in this stack.
    """
    stack, facts, base = update.stack, update.facts, update.plan.base
    known = {}
    if base is not None:
        for part in base.manifest.stack:
            known[base.manifest.keys[part.epoch : part.after]] = part
    blocks = stack.network.earlier // update.effort.block_epochs
    borders = np.flatnonzero(np.diff(blocks, prepend=-1, append=-1))
    made: list[Made] = []
    kept: list[Sealed] = []
    for first, after in pairwise(borders.tolist()):
        members = stack.members[first:after]
        there = known.get(stack.keys[first:after])
        if there is not None and _is_intact(update.shared.begin(there, _as_it_is)):
            kept.append(replace(there, epoch=first))
            continue
        made.append(one := Made.aside(folder, STACK, first, after - first))
        # Relative to the part's own folder, so that the track's folder can be moved as a whole.
        sources = [(i, 1, f"../{stack.folder.name}/{member.id}.h5") for i, member in enumerate(members)]
        with h5py.File(one.path, "w", libver="latest") as file:
            for name, kind, fill in _stack_layers(members, facts):
                create_view(file, name, (len(members), *stack.shape), kind, fill, sources)
    return made, kept


def _as_it_is(_: Path, part: Sealed) -> Sealed:
    return part


def _is_intact(part: Future[Sealed]) -> bool:
    """A part is a few kilobytes; one that is gone or damaged is made anew, at the same place."""
    try:
        part.result()
    except BadRevisionError:
        return False
    return True


def _stack_layers(
    members: Sequence[StoredInterferogram], facts: Mapping[str, KnownPair]
) -> list[tuple[str, type, float]]:
    layers: list[tuple[str, type, float]] = [(PHASE, np.float32, np.nan), (COHERENCE, np.float32, np.nan)]
    return layers + ([(COMPONENT, np.int16, -1)] if all(facts[m.id].has_components for m in members) else [])


def write_stack(
    folder: Path, update: Update, attributes: Mapping[str, str], disk: Disk
) -> tuple[list[Made], list[Sealed]]:
    """Write MintPy's stack file as a view of parts. Returns those that are new and to be sealed, and all of them."""
    made, parts = _make_stack_parts(folder, update)
    disk.take(one.path for one in made)
    parts = sorted([*parts, *(one.sealed(disk) for one in made)], key=attrgetter("epoch"))
    sources = [(part.epoch, part.length, f"../../../{part.name}") for part in parts]
    stack = update.stack
    with h5py.File(folder / "inputs" / "ifgramStack.h5", "w", libver="latest") as file:
        write_attributes(file, {**attributes, "FILE_TYPE": "ifgramStack"})
        for name, kind, fill in _stack_layers(stack.members, update.facts):
            create_view(file, name, (len(stack.members), *stack.shape), kind, fill, sources)
        write_array(file, "date", np.array([name.split("_") for name in stack.names], dtype="S8"))
        write_array(file, "bperp", stack.perpendicular_baselines_m[0])
        write_array(file, "dropIfgram", np.ones(len(stack.members), dtype=np.bool_))
    return made, parts


def create_view(
    file: h5py.File,
    name: str,
    shape: tuple[int, int, int],
    kind: type,
    fill: float,
    sources: Sequence[tuple[int, int, str]],
) -> None:
    """Make a virtual dataset of (first layer, number of layers, file); the low level is seven times faster.

    HDF5 shows a missing source as the fill value. NaN, because 0 would read as "stable".
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.VIRTUAL)
    properties.set_fill_value(np.array(fill, dtype=kind))
    properties.set_obj_track_times(False)  # equal inputs make equal files, whatever the clock says
    whole = h5s.create_simple(shape)
    for first, length, source in sources:
        whole.select_hyperslab((first, 0, 0), (1, 1, 1), block=(length, *shape[1:]))
        part = h5s.create_simple((length, *shape[1:]))
        properties.set_virtual(whole, source.encode(), name.encode(), part)
    whole.select_all()
    h5d.create(file.id, name.encode(), h5t.py_create(np.dtype(kind)), whole, properties)


def stack_attributes(stack: Stack, reference: ReferencePoint, grid: Grid) -> dict[str, str]:
    """MintPy's attributes of the whole stack: those of its first pair, its reference point and its span."""
    northing = grid.north - (reference.row + 0.5) * grid.pixel_m
    easting = grid.west + (reference.column + 0.5) * grid.pixel_m
    of_first = read_attributes(stack.path(stack.members[0]))
    of_first.pop(ORIGINAL, None)  # of that pair only
    return of_first | {
        "NO_DATA_VALUE": "nan",
        "REF_Y": str(reference.row),
        "REF_X": str(reference.column),
        # On a UTM grid MintPy keeps northing and easting under these names.
        "REF_LAT": str(northing),
        "REF_LON": str(easting),
        "START_DATE": f"{stack.dates[0]:%Y%m%d}",
        "END_DATE": f"{stack.dates[-1]:%Y%m%d}",
    }


def make_template(update: Update, attributes: Mapping[str, str]) -> bytes:
    """Make a file with nothing but the attributes of all files of an inversion: a copy is faster than writing them."""
    dates = update.stack.dates
    own = {
        "REF_DATE": f"{dates[0]:%Y%m%d}",
        "DATE12": f"{dates[0]:%Y%m%d}_{dates[-1]:%Y%m%d}",
    }
    inherited = {key: value for key, value in attributes.items() if key not in ("FILE_TYPE", "UNIT")}
    with h5py.File("template", "w", driver="core", backing_store=False, libver="latest") as file:
        write_attributes(file, {**inherited, **_inversion_attributes(update.stack, update.settings), **own})
        file.flush()
        return file.id.get_file_image()


@contextmanager
def open_file(template: bytes, path: Path, file_type: str, unit: str) -> Iterator[h5py.File]:
    """Begin a file of the inversion: `make_template`'s attributes, MintPy's type and a unit."""
    path.write_bytes(template)
    with h5py.File(path, "r+", libver="latest") as file:
        write_attributes(file, {"FILE_TYPE": file_type, "UNIT": unit})
        yield file


def _open_layers(folder: Path, template: bytes, update: Update, arrays: OpenArrays) -> Layers:
    """Make the files without time, their pixels still to be written."""
    shape = update.stack.shape
    n_pixels = update.n_pixels
    layers: list[OpenArray] = []
    for file_name, dataset, kind, file_type in _LAYERS:
        with open_file(template, folder / file_name, file_type, "1") as file:
            at = create_array(file, dataset, shape, kind).get_offset()
        layers += arrays.open(folder / file_name, n_pixels, [(at, kind)])
    windows: dict[str, tuple[str, Window | None]] = {WHOLE_RECORD.name: (VELOCITIES[0], None)}
    windows |= {window.name: (VELOCITIES[1], window) for window in update.settings.windows}
    lines, line_epochs = {}, {}
    for file_name in VELOCITIES:
        places = {}
        with open_file(template, folder / file_name, "velocity", "m/year") as file:
            for name, (of_file, window) in windows.items():
                if of_file == file_name:
                    places[name] = _create_line(file, "" if window is None else f"_{name}", window, shape)
        for name, of_line in places.items():
            *lines[name], line_epochs[name] = arrays.open(folder / file_name, n_pixels, of_line)
    agreement, coherence, observations, parts, redundant, reliable = layers
    return Layers(agreement, coherence, observations, parts, redundant, reliable, lines, line_epochs)


def _create_line(
    file: h5py.File, suffix: str, window: Window | None, shape: tuple[int, int]
) -> list[tuple[int, type]]:
    """Reserve the layers of a line; return where each begins, and its type."""
    places: list[tuple[int, type]] = []
    for dataset, attribute, unit in _LINE_LAYERS:
        kind = np.uint16 if attribute == "n_epochs" else np.float32
        layer = create_array(file, dataset + suffix, shape, kind)
        write_attributes(layer, {"UNIT": unit})
        if window is not None:
            h5py.Dataset(layer).attrs["WINDOW_DAYS"] = window.days
        places.append((layer.get_offset(), kind))
    return places


def _write_land(folder: Path, template: bytes) -> NDArray[np.bool_]:
    """Write MintPy's water mask from the geometry; return it flat."""
    with open_hdf5(folder / "inputs" / "geometryGeo.h5") as file:
        land = read_array(file, "waterMask")
    with open_file(template, folder / _WATER_MASK, "waterMask", "1") as file:
        write_array(file, "waterMask", land)
    return land.reshape(-1)


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
