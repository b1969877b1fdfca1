"""A revision: one complete, immutable solution of a track, as a folder that MintPy opens.

::

    <number>-<id>/
      inputs/ifgramStack.h5    virtual: the pixels stay in ../../../interferograms/<id>.h5
      inputs/geometryGeo.h5
      timeseries.h5            displacement, metres; not masked
      temporalCoherence.h5  numInvIfgram.h5  avgSpatialCoh.h5
      velocity.h5              whole record, as MintPy's timeseries2velocity
      velocityWindows.h5       recent windows, each with its own uncertainty
      pairsPerEpoch.h5         which epochs each pixel really observed
      networkParts.h5          into how many pieces each pixel's own network falls
      maskTempCoh.h5  waterMask.h5  maskRedundancy.h5
      manifest.json            what it was made from, how, and the hash of every file
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import canonical_json, content_sha256
from sagwatch.engine.files import folder_aside, remove_leftovers, sha256_of
from sagwatch.engine.hyp3_attributes import WAVELENGTH_M
from sagwatch.engine.interferogram import (
    COHERENCE,
    COMPONENT,
    PHASE,
    StoredInterferogram,
    open_hdf5,
    read_attributes,
    write_attributes,
)
from sagwatch.engine.solve import InversionSettings
from sagwatch.engine.stack import Block, Stack
from sagwatch.engine.velocity import Line, Window, fit_windows
from sagwatch.engine.weights import Weight, independent_looks
from sagwatch.errors import BadInputError, BadRevisionError

MANIFEST = "manifest.json"
FORMAT = 1
WHOLE_RECORD = Window("whole", None, 3)
STANDARD_WINDOWS = (Window("150d", 150, 8), Window("365d", 365, 16))
_CHUNK_EPOCHS, _CHUNK_SIDE = 16, 64


@dataclass(frozen=True, slots=True)
class RevisionSettings:
    """Everything but the interferograms that changes a revision's numbers."""

    range_looks: int
    azimuth_looks: int
    weight: Weight = Weight.VARIANCE
    min_redundancy: float = 1.0
    coherence_threshold: float | None = None
    min_temporal_coherence: float = 0.7
    windows: tuple[Window, ...] = STANDARD_WINDOWS

    def __post_init__(self) -> None:
        if any(window.days is None for window in self.windows):
            raise BadInputError("the whole record is always solved; name only windows with a number of days")
        names = [window.name for window in self.windows]
        if len(set(names)) != len(names):
            raise BadInputError(f"two windows have one name: {', '.join(names)}")

    @property
    def inversion(self) -> InversionSettings:
        return InversionSettings(
            wavelength_m=WAVELENGTH_M,
            looks=independent_looks(self.range_looks, self.azimuth_looks),
            weight=self.weight,
            min_redundancy=self.min_redundancy,
            coherence_threshold=self.coherence_threshold,
        )


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """The pixel that every displacement of the track refers to, and why it was taken."""

    row: int
    column: int
    reason: str = field(default="", compare=False)


@dataclass(frozen=True)
class Manifest:
    """What a revision was made from, how, and the hash of every file in it."""

    id: str
    number: int
    grid: Grid
    reference: ReferencePoint
    settings: dict[str, Any]
    epochs: tuple[date, ...]
    members: tuple[StoredInterferogram, ...]
    geometry_sha256: str
    files: dict[str, dict[str, Any]]
    versions: dict[str, str]

    @property
    def folder_name(self) -> str:
        return folder_name(self.number, self.id)

    def as_json(self) -> dict[str, Any]:
        content = {
            "format": FORMAT,
            "id": self.id,
            "number": self.number,
            "grid": asdict(self.grid),
            "reference": asdict(self.reference),
            "settings": self.settings,
            "epochs": [day.isoformat() for day in self.epochs],
            "interferograms": [_member_json(member) for member in self.members],
            "geometry_sha256": self.geometry_sha256,
            "files": self.files,
            "versions": self.versions,
        }
        return {**content, "sha256": content_sha256(content)}


@dataclass(frozen=True)
class Layers2D:
    """The layers of a revision without time; each has the grid's shape. Units as in `Solution` and `Line`."""

    temporal_coherence: NDArray[np.float32]
    mean_coherence: NDArray[np.float32]
    n_observations: NDArray[np.uint16]
    parts: NDArray[np.uint16]
    redundant: NDArray[np.bool_]
    land: NDArray[np.bool_]
    reliable: NDArray[np.bool_]
    lines: dict[str, Line]


def revision_id(
    members: Sequence[StoredInterferogram],
    settings: RevisionSettings,
    reference: ReferencePoint,
    grid: Grid,
    geometry_sha256: str,
) -> str:
    """Name a solution by its inputs: the same interferograms and configuration give the same id."""
    return content_sha256(
        {
            "format": FORMAT,
            "interferograms": [(member.name, member.sha256) for member in sorted(members)],
            "settings": _settings_json(settings),
            "reference": [reference.row, reference.column],
            "grid": grid.id,
            "geometry": geometry_sha256,
        }
    )


def folder_name(number: int, identity: str) -> str:
    return f"{number:06d}-{identity[:12]}"


def build_revision(
    revisions: Path,
    number: int,
    stack: Stack,
    grid: Grid,
    geometry: Path,
    settings: RevisionSettings,
    reference: ReferencePoint,
    threads: int | None = None,
) -> Path:
    """Solve a stack and write the revision's folder; return it.

    The folder appears at once or not at all. If it is there already it is verified and left as it is.

    Parameters
    ----------
    revisions
        The track's folder of revisions; the stack's files lie in ``../interferograms`` of it.
    number
        Counts the track's revisions.
    geometry
        The track's ``geometryGeo.h5``.

    Raises
    ------
    BadRevisionError
        An input is missing or is not the one that its hash names.
    BadInputError
        The reference pixel has no phase in some pair; the text names them.
    """
    geometry_sha256 = sha256_of(geometry) if geometry.exists() else ""
    if not geometry_sha256:
        raise BadRevisionError(f"{geometry} is missing; store the geometry of the track's first product")
    identity = revision_id(stack.members, settings, reference, grid, geometry_sha256)
    target = revisions / folder_name(number, identity)
    if target.exists():
        verify(target)
        return target
    remove_leftovers(revisions)
    _check_members(stack)
    with folder_aside(target) as aside:
        _write_inputs(aside, stack, geometry, reference, grid)
        _write_solution(aside, stack, settings, reference, threads)
        manifest = Manifest(
            id=identity,
            number=number,
            grid=grid,
            reference=reference,
            settings=_settings_json(settings),
            epochs=stack.dates,
            members=stack.members,
            geometry_sha256=geometry_sha256,
            files={name: _describe(aside / name) for name in _file_names(aside)},
            versions=_versions(),
        )
        (aside / MANIFEST).write_text(json.dumps(manifest.as_json(), indent=1, default=str) + "\n")
    return target


def read_manifest(folder: Path) -> Manifest:
    """Read a revision's manifest and check that it is whole."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text())
        claimed = content.pop("sha256")
    except FileNotFoundError:
        raise BadRevisionError(f"{folder} has no {MANIFEST}: it is not a revision") from None
    except (ValueError, KeyError) as problem:
        raise BadRevisionError(f"{path} is damaged: {problem}; build the revision again") from problem
    if content_sha256(content) != claimed:
        raise BadRevisionError(f"{path} was changed after it was written; build the revision again")
    if content["format"] != FORMAT:
        raise BadRevisionError(f"{path} has format {content['format']}, this version reads {FORMAT}")
    return Manifest(
        id=content["id"],
        number=content["number"],
        grid=Grid(**content["grid"]),
        reference=ReferencePoint(**content["reference"]),
        settings=content["settings"],
        epochs=tuple(date.fromisoformat(day) for day in content["epochs"]),
        members=tuple(_member_from_json(entry) for entry in content["interferograms"]),
        geometry_sha256=content["geometry_sha256"],
        files=content["files"],
        versions=content["versions"],
    )


def verify(folder: Path, *, with_inputs: bool = True) -> Manifest:
    """Check every file of a revision against its manifest, and the interferograms that it stands on.

    Parameters
    ----------
    folder
        The revision.
    with_inputs
        Also hash the interferograms, which costs reading all of them.

    Raises
    ------
    BadRevisionError
        Names what is missing, damaged or too much.
    """
    manifest = read_manifest(folder)
    present = set(_file_names(folder)) - {MANIFEST}
    if present != set(manifest.files):
        missing, extra = sorted(set(manifest.files) - present), sorted(present - set(manifest.files))
        raise BadRevisionError(f"{folder} lacks {missing} and has {extra} too much; build the revision again")
    for name, expected in manifest.files.items():
        if _describe(folder / name) != expected:
            raise BadRevisionError(f"{folder / name} is damaged: it is not the file of the manifest")
    check_sources(folder / "inputs" / "ifgramStack.h5")
    if with_inputs:
        _check_hashes(folder.parent.parent / "interferograms", manifest.members)
    return manifest


def check_sources(stack_file: Path) -> None:
    """Check that every interferogram behind a virtual stack is there; a missing one must never read as 0.

    Raises
    ------
    BadRevisionError
        Names the missing files.
    """
    with open_hdf5(stack_file) as file:
        names = {
            s.file_name for d in (PHASE, COHERENCE) if file[d].is_virtual for s in file[d].virtual_sources()
        }
    missing = sorted(name for name in names if not (stack_file.parent / name).is_file())
    if missing:
        raise BadRevisionError(f"{stack_file} stands on interferograms that are gone: {', '.join(missing)}")


@dataclass(frozen=True)
class Revision:
    """A revision opened for reading; `read_revision` makes it."""

    folder: Path
    manifest: Manifest
    layers: Layers2D

    @property
    def grid(self) -> Grid:
        return self.manifest.grid

    @property
    def epochs(self) -> tuple[date, ...]:
        return self.manifest.epochs

    def los_m(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """Displacement of some rows, shape (n_epochs, n_rows, n_columns), metres, unmasked."""
        with open_hdf5(self.folder / "timeseries.h5") as file:
            return file["timeseries"][:, rows]

    def observed(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Whether a pair touches the pixel at the epoch; shape as `los_m`."""
        with open_hdf5(self.folder / "pairsPerEpoch.h5") as file:
            return file["pairsPerEpoch"][:, rows] > 0

    def series_m(self, row: int, column: int) -> NDArray[np.float32]:
        """Displacement history of one pixel, shape (n_epochs,), metres."""
        return read_series(self.folder, row, column)


def read_revision(folder: Path) -> Revision:
    """Open a revision; its inputs must be there, its hashes are not checked (see `verify`)."""
    manifest = read_manifest(folder)
    check_sources(folder / "inputs" / "ifgramStack.h5")
    layers = Layers2D(
        temporal_coherence=_layer(folder, "temporalCoherence.h5", "temporalCoherence"),
        mean_coherence=_layer(folder, "avgSpatialCoh.h5", "coherence"),
        n_observations=_layer(folder, "numInvIfgram.h5", "mask").astype(np.uint16),
        parts=_layer(folder, "networkParts.h5", "networkParts").astype(np.uint16),
        redundant=_layer(folder, "maskRedundancy.h5", "mask"),
        land=_layer(folder, "waterMask.h5", "waterMask"),
        reliable=_layer(folder, "maskTempCoh.h5", "mask"),
        lines={
            WHOLE_RECORD.name: _read_line(folder / "velocity.h5", ""),
            **{
                window["name"]: _read_line(folder / "velocityWindows.h5", f"_{window['name']}")
                for window in manifest.settings["windows"]
            },
        },
    )
    return Revision(folder, manifest, layers)


def read_series(folder: Path, row: int, column: int) -> NDArray[np.float32]:
    """Read the displacement history of one pixel, shape (n_epochs,), metres."""
    with open_hdf5(folder / "timeseries.h5") as file:
        return file["timeseries"][:, row, column]


# --- writing -----------------------------------------------------------------------------------------------


def _check_members(stack: Stack) -> None:
    _check_hashes(stack.folder, stack.members)


def _check_hashes(folder: Path, members: Sequence[StoredInterferogram]) -> None:
    for member in members:
        path = folder / f"{member.id}.h5"
        if not path.is_file():
            raise BadRevisionError(f"{path} (pair {member.name}) is missing; fetch the product again")
        if sha256_of(path) != member.sha256:
            raise BadRevisionError(f"{path} (pair {member.name}) is damaged; fetch the product again")


def _write_inputs(folder: Path, stack: Stack, geometry: Path, reference: ReferencePoint, grid: Grid) -> None:
    (folder / "inputs").mkdir()
    shutil.copyfile(geometry, folder / "inputs" / "geometryGeo.h5")
    _write_virtual_stack(folder / "inputs" / "ifgramStack.h5", stack, _attributes(stack, reference, grid))


def _write_virtual_stack(path: Path, stack: Stack, attributes: Mapping[str, str]) -> None:
    """Write MintPy's stack file as views of the interferograms' own files."""
    layers = [(PHASE, np.float32, np.nan), (COHERENCE, np.float32, np.nan)]
    layers += [(COMPONENT, np.int16, -1)] if stack.has_components else []
    with h5py.File(path, "w", libver="latest") as file:
        for name, kind, fill in layers:
            layout = h5py.VirtualLayout((len(stack.members), *stack.shape), dtype=kind)
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


def _write_solution(
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


def _layers_of(block: Block, stack: Stack, settings: RevisionSettings) -> dict[str, NDArray[np.generic]]:
    """Everything without time that a block of pixels yields, flat."""
    solution = block.solution
    lines = fit_windows(
        stack.dates, solution.los_m, (WHOLE_RECORD, *settings.windows), solution.pairs_per_epoch > 0
    )
    layers: dict[str, NDArray[np.generic]] = {
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


_LINE_LAYERS = (
    ("velocity", "velocity_m_yr", "m/year"),
    ("velocityStd", "velocity_std_m_yr", "m/year"),
    ("intercept", "intercept_m", "m"),
    ("interceptStd", "intercept_std_m", "m"),
    ("residue", "residue_m", "m"),
    ("residualCorrelation", "residual_correlation", "1"),
    ("numEpochs", "n_epochs", "1"),
)


def _write_layers(
    folder: Path,
    stack: Stack,
    settings: RevisionSettings,
    layers: dict[str, NDArray[np.generic]],
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
    layers: Mapping[str, NDArray[np.generic]],
    attributes: Mapping[str, str],
    window: Window | None,
    suffix: str,
) -> None:
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


# --- reading and describing ----------------------------------------------------------------------------------


def _layer(folder: Path, file_name: str, dataset: str) -> NDArray[Any]:
    with open_hdf5(folder / file_name) as file:
        return file[dataset][:]


def _read_line(path: Path, suffix: str) -> Line:
    with open_hdf5(path) as file:
        return Line(**{attribute: file[dataset + suffix][:] for dataset, attribute, _ in _LINE_LAYERS})


def _file_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _describe(path: Path) -> dict[str, Any]:
    """Hash, size and the shapes of the datasets in a file."""
    shapes: dict[str, list[int]] = {}
    with open_hdf5(path) as file:
        file.visititems(
            lambda name, item: shapes.update({name: list(item.shape)} if hasattr(item, "shape") else {})
        )
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size, "datasets": shapes}


def _settings_json(settings: RevisionSettings) -> dict[str, Any]:
    """Settings as plain values; a change of format never changes an id by accident."""
    return json.loads(canonical_json(asdict(settings)))


def _member_json(member: StoredInterferogram) -> dict[str, Any]:
    baseline = member.perpendicular_baseline_m
    return {
        "reference": member.reference.isoformat(),
        "secondary": member.secondary.isoformat(),
        "id": member.id,
        "sha256": member.sha256,
        "perpendicular_baseline_m": baseline if np.isfinite(baseline) else None,
    }


def _member_from_json(entry: Mapping[str, Any]) -> StoredInterferogram:
    baseline = entry["perpendicular_baseline_m"]
    return StoredInterferogram(
        reference=date.fromisoformat(entry["reference"]),
        secondary=date.fromisoformat(entry["secondary"]),
        id=entry["id"],
        sha256=entry["sha256"],
        perpendicular_baseline_m=float("nan") if baseline is None else baseline,
    )


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "numba", "h5py")}
    return {"python": platform.python_version(), **packages}
