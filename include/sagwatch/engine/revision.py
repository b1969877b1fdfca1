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
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.grid import Grid
from sagwatch.engine.files import folder_aside, remove_leftovers, sha256_of
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.manifest import (
    MANIFEST,
    WHOLE_RECORD,
    Manifest,
    ReferencePoint,
    RevisionSettings,
    check_hashes,
    check_sources,
    describe,
    file_names,
    folder_name,
    package_versions,
    read_manifest,
    revision_id,
    settings_json,
    verify,
)
from sagwatch.engine.revision_files import read_line, write_inputs, write_solution
from sagwatch.engine.stack import Stack
from sagwatch.engine.velocity import Line
from sagwatch.errors import BadRevisionError

__all__ = [
    "MANIFEST",
    "WHOLE_RECORD",
    "Layers2D",
    "Manifest",
    "ReferencePoint",
    "Revision",
    "RevisionSettings",
    "build_revision",
    "read_manifest",
    "read_revision",
    "read_series",
    "revision_id",
    "verify",
]


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

    The folder appears at once or not at all. If it is there already it is verified and left as it is:
    a damaged one is evidence and is never overwritten.

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
    check_hashes(stack.folder, stack.members)
    with folder_aside(target) as aside:
        write_inputs(aside, stack, geometry, reference, grid)
        write_solution(aside, stack, settings, reference, threads)
        manifest = Manifest(
            id=identity,
            number=number,
            grid=grid,
            reference=reference,
            settings=settings_json(settings),
            epochs=stack.dates,
            members=stack.members,
            geometry_sha256=geometry_sha256,
            files={name: describe(aside / name) for name in file_names(aside)},
            versions=package_versions(),
        )
        (aside / MANIFEST).write_text(json.dumps(manifest.as_json(), indent=1, default=str) + "\n")
    return target


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
            WHOLE_RECORD.name: read_line(folder / "velocity.h5", ""),
            **{
                window["name"]: read_line(folder / "velocityWindows.h5", f"_{window['name']}")
                for window in manifest.settings["windows"]
            },
        },
    )
    return Revision(folder, manifest, layers)


def read_series(folder: Path, row: int, column: int) -> NDArray[np.float32]:
    """Read the displacement history of one pixel, shape (n_epochs,), metres."""
    with open_hdf5(folder / "timeseries.h5") as file:
        return file["timeseries"][:, row, column]


def _layer(folder: Path, file_name: str, dataset: str) -> NDArray[Any]:
    with open_hdf5(folder / file_name) as file:
        return file[dataset][:]
