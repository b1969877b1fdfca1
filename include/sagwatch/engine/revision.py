"""A revision: one complete, immutable solution of a track, as a folder that MintPy opens.

::

    <number>-<id>/
      inputs/ifgramStack.h5    virtual: the pixels stay in ../../../interferograms/<id>.h5
      inputs/geometryGeo.h5
      timeseries.h5            virtual: displacement, metres, not masked; the blocks lie in ../../series/
      temporalCoherence.h5  numInvIfgram.h5  avgSpatialCoh.h5
      velocity.h5              whole record, as MintPy's timeseries2velocity
      velocityWindows.h5       recent windows, each with its own uncertainty
      pairsPerEpoch.h5         virtual: which epochs each pixel really observed
      networkParts.h5          into how many pieces each pixel's own network falls
      numTriNonzeroIntAmbiguity.h5  where asked for: how many triangles of interferograms contradict each other
      maskTempCoh.h5  waterMask.h5  maskRedundancy.h5
      updateState.h5           what the next update takes over
      manifest.json            what it was made from, how, and the hash of every file
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagwatch.domain.delay import StoredDelay
from sagwatch.domain.grid import Grid
from sagwatch.engine.arrays import OpenArrays
from sagwatch.engine.checks import Finding, check_disk, needed_bytes, refuse
from sagwatch.engine.closure_files import write_closures
from sagwatch.engine.correction_files import Making, corrected_m, corrected_past_m, write_corrections
from sagwatch.engine.files import ASIDE, folder_aside, one_writer, remove_leftovers, sha256_of
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.manifest import (
    MANIFEST,
    NO_DELAYS,
    WHOLE_RECORD,
    Manifest,
    ReferencePoint,
    RevisionSettings,
    Sealed,
    check_hashes,
    check_inputs,
    check_presence,
    check_sealed,
    describe,
    file_names,
    folder_name,
    inversion_json,
    package_versions,
    read_manifest,
    revision_id,
    settings_json,
    used_delays,
    verify,
    write_manifest,
)
from sagwatch.engine.revision_files import (
    UPDATE_STATE,
    VELOCITIES,
    State,
    make_heads,
    read_line,
    read_state,
    write_series,
    write_solution,
    write_stack,
    write_state,
)
from sagwatch.engine.sealed import CHECKPOINTS, SERIES, STACK, Shared, remove_unnamed, seal
from sagwatch.engine.solve import check_reference
from sagwatch.engine.stack import Stack
from sagwatch.engine.update import Base, Past, Plan, Update, make_plan
from sagwatch.engine.velocity import Line
from sagwatch.engine.window import Effort
from sagwatch.errors import BadRevisionError, DamagedBaseError

log = logging.getLogger(__name__)

# `folder_name`; anything else that lies there (a copy, somebody's notes) is none of ours.
_FOLDER = re.compile(r"\d{6,}-[0-9a-f]{12}")

__all__ = [
    "MANIFEST",
    "WHOLE_RECORD",
    "Layers2D",
    "Manifest",
    "ReferencePoint",
    "Revision",
    "RevisionSettings",
    "build_revision",
    "delete_revision",
    "read_manifest",
    "read_revision",
    "revision_folders",
    "revision_id",
    "solve_past",
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
    effort: Effort | None = None,
    *,
    from_scratch: bool = False,
    delays: Mapping[date, StoredDelay] = NO_DELAYS,
    closures: bool = False,
) -> Path:
    """Solve a stack and write the revision's folder; return it.

    What the newest revision solved, with the same settings, is taken up where it still holds (`update.make_plan`).
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
    from_scratch
        Take up nothing.
    delays
        The troposphere's delay at the acquisitions that have one; used if the settings correct it.
    closures
        Write the layer of `closure_files` too. It changes no number, so it is no part of the revision's id.

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
    used = used_delays(stack.dates, settings, delays)
    identity = revision_id(stack.members, settings, reference, grid, geometry_sha256, delays)
    target = revisions / folder_name(number, identity)
    if target.exists():
        verify(target)
        return target
    effort = effort or Effort()
    track = revisions.parent
    job = _Job(
        target,
        number,
        identity,
        stack,
        grid,
        geometry,
        geometry_sha256,
        settings,
        reference,
        effort,
        used,
        closures,
    )
    with one_writer(track):
        if target.exists():  # somebody else made it while this one waited
            verify(target)
            return target
        remove_leftovers(revisions)
        base = (
            None if from_scratch else _base(revisions, identity, settings, reference, grid, geometry_sha256)
        )
        try:
            try:
                _make(job, base)
            except DamagedBaseError as problem:
                log.warning("%s; everything is solved anew", problem)
                _make(job, None)
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise BadRevisionError(str(Finding(106, True, f"{track}: {problem.strerror}"))) from problem
    return target


@dataclass(frozen=True)
class _Job:
    """What a revision is to be made of; see `build_revision`."""

    target: Path
    number: int
    identity: str
    stack: Stack
    grid: Grid
    geometry: Path
    geometry_sha256: str
    settings: RevisionSettings
    reference: ReferencePoint
    effort: Effort
    delays: tuple[StoredDelay, ...]
    closures: bool


def _make(job: _Job, base: Base | None) -> None:
    """Solve, and make the folder.

    Raises
    ------
    DamagedBaseError
        Nothing was made; without the base it can be.
    """
    stack, effort, reference = job.stack, job.effort, job.reference
    track = job.target.parent.parent
    with Shared(track) as files_of_base:
        plan = _checked_plan(stack, base, effort)
        plan.begin(files_of_base, job.settings.windows)
        refuse(check_disk(track, needed_bytes(stack.network, job.grid.pixels, plan.first, effort)))
        state = State({}, {}) if plan.base is None else _state(plan.base)
        known = {key[2]: state.pairs[key[2]] for key in stack.keys if key in plan.unchanged}
        facts = replace(stack, known=known).facts(reference.row, reference.column)
        check_reference(
            np.array([facts[member.id].reference_phase_rad for member in stack.members], np.float32),
            stack.names,
        )
        _write(job, Update(plan, job.settings, reference, facts, effort, files_of_base, state.stale))


def _write(job: _Job, update: Update) -> None:
    """Solve, and make the folder, which appears when all of it is on the disk."""
    plan, stack, effort, reference = update.plan, update.stack, update.effort, update.reference
    track, facts = job.target.parent.parent, update.facts
    with folder_aside(job.target) as (aside, disk), OpenArrays() as arrays, ThreadPoolExecutor(1) as beside:
        # Beside the kernel, one after the other: what does not depend on what it finds.
        heads = beside.submit(make_heads, aside, job.geometry, job.grid, update, arrays)
        views = beside.submit(lambda: write_stack(aside, update, heads.result().attributes, disk))
        solved = write_solution(aside, update, heads, arrays)
        targets, template = heads.result().targets, heads.result().template
        fitting = beside.submit(update.fit_windows, targets.layers, solved.series)
        disk.take(solved.full)
        parts, all_parts = views.result()
        if job.closures:
            write_closures(aside, template, update)
        sealed = seal(track, [*parts, *solved.made], disk)
        kept = plan.kept(solved.same)
        shared = {kind: _together(kind, kept, sealed) for kind in (SERIES, CHECKPOINTS)} | {
            STACK: tuple(all_parts)
        }
        write_state(aside, State({member.id: facts[member.id] for member in stack.members}, solved.stale))
        write_series(aside, update, template, shared[SERIES])
        disk.take_others(aside / name for name in file_names(aside) if name not in VELOCITIES[1:])
        fitting.result()
        manifest = Manifest(
            id=job.identity,
            number=job.number,
            grid=job.grid,
            reference=reference,
            settings=settings_json(job.settings),
            epochs=stack.dates,
            members=stack.members,
            geometry_sha256=job.geometry_sha256,
            files={},
            versions=package_versions(),
            series=shared[SERIES],
            checkpoints=shared[CHECKPOINTS],
            stack=shared[STACK],
            block_epochs=effort.block_epochs,
            first_solved=plan.first,
            delays=job.delays,
        )
        if job.settings.corrections is not None:
            solve_until = partial(_solve_until, update)
            write_corrections(
                Making(aside, track, manifest, job.settings.corrections, plan.base, solve_until)
            )
            disk.take(aside / name for name in VELOCITIES)
        names = file_names(aside)
        disk.take_others(aside / name for name in names)
        files = {name: describe(aside / name, disk.digest(aside / name)) for name in names}
        manifest = replace(manifest, files=files)
        write_manifest(aside, manifest)


def _state(base: Base) -> State:
    """What the base's update left for the next one, if the file is what its hash says."""
    if base.intact(UPDATE_STATE) is None:
        raise DamagedBaseError(f"{base.folder / UPDATE_STATE} is missing or damaged")
    return read_state(base.folder)


def _solve_until(update: Update, day: date) -> Past:
    """The uncorrected solution as it was when ``day`` was the newest acquisition, in memory."""
    plan = make_plan(update.stack.until(day), update.plan.base, update.effort)
    return replace(update, plan=plan).in_memory()


def solve_past(
    revision: Revision, stack: Stack, settings: RevisionSettings, day: date, effort: Effort | None = None
) -> Past:
    """The corrected solution as it was when ``day`` was the newest acquisition, in memory.

    It is taken up at the checkpoints of a later revision that hold for it, so its price does not grow with the record.

    Parameters
    ----------
    stack
        The revision's interferograms.
    settings
        The revision's.
    """
    effort = effort or Effort()
    manifest, reference = revision.manifest, revision.manifest.reference
    state = read_state(revision.folder)
    past = replace(stack, known=state.pairs).until(day)
    track = revision.folder.parent.parent
    plan = make_plan(past, Base(track, manifest) if manifest.is_of_this_solver else None, effort)
    facts = past.facts(reference.row, reference.column)
    with Shared(track) as shared:
        solved = Update(plan, settings, reference, facts, effort, shared, state.stale).in_memory()
    baselines_m = past.perpendicular_baselines_m[1]
    return replace(
        solved, los_m=corrected_past_m(revision.folder, manifest, solved.dates, solved.los_m, baselines_m)
    )


def delete_revision(revisions: Path, name: str) -> None:
    """Delete a revision, and the shared files that no other one stands on; interferograms stay."""
    with one_writer(revisions.parent):
        manifest = read_manifest(revisions / name)
        doomed = revisions / f"{ASIDE}deleted-{manifest.folder_name}"
        (revisions / name).rename(doomed)
        shutil.rmtree(doomed)
        try:
            folders = revision_folders(revisions)
            named = {sealed.name for folder in folders for sealed in read_manifest(folder).shared}
        except BadRevisionError as problem:
            # Nobody knows what it stands on, so everything stays until it is moved away.
            log.warning("%s; until then no shared file is deleted", problem)
            return
        remove_unnamed(revisions.parent, named)


def revision_folders(revisions: Path) -> list[Path]:
    """All complete revisions in a track's folder of them, oldest first."""
    return sorted(path for path in revisions.glob("*-*") if path.is_dir() and _FOLDER.fullmatch(path.name))


def _base(
    revisions: Path,
    identity: str,
    settings: RevisionSettings,
    reference: ReferencePoint,
    grid: Grid,
    geometry_sha256: str,
) -> Base | None:
    """The newest revision, if its solution can be taken up; one that is to be made anew cannot."""
    folders = revision_folders(revisions)
    if not folders:
        return None
    try:
        manifest = read_manifest(folders[-1])
    except BadRevisionError as problem:
        log.warning("%s; everything is solved anew", problem)
        return None
    same = (
        inversion_json(manifest.settings) == inversion_json(settings_json(settings))
        and manifest.reference == reference
        and manifest.grid == grid
        and manifest.geometry_sha256 == geometry_sha256
        and manifest.is_of_this_solver
        and manifest.id != identity
    )
    return Base(revisions.parent, manifest) if same else None


def _checked_plan(stack: Stack, base: Base | None, effort: Effort) -> Plan:
    """Plan the update; every file is there, and every new one is what its hash says."""
    plan = make_plan(stack, base, effort)
    try:
        if plan.base is not None:
            # Hashes are looked at when a file is taken up.
            check_sealed(plan.base.track, (*plan.blocks, *plan.checkpoints), hashes=False)
    except BadRevisionError as problem:
        log.warning("%s; everything is solved anew", problem)
        plan = make_plan(stack, None, effort)
    check_presence(stack.folder, stack.members)
    # Those of the base were checked when they came in, and are again by every audit.
    check_hashes(stack.folder, [member for member in stack.members if member.key not in plan.unchanged])
    return plan


def _together(kind: str, kept: Sequence[Sealed], fresh: Sequence[Sealed]) -> tuple[Sealed, ...]:
    """The shared files of one kind, by rising epoch; a fresh one takes the place of one that was kept."""
    of_kind = {sealed.epoch: sealed for sealed in (*kept, *fresh) if sealed.name.startswith(f"{kind}/")}
    return tuple(of_kind[epoch] for epoch in sorted(of_kind))


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
        """Corrected displacement of some rows, shape (n_epochs, n_rows, n_columns), metres, unmasked."""
        return corrected_m(self.folder, self.manifest, self.raw_los_m(rows), rows)

    def los_with_topography_m(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """The same, but for the term of the height error (`correction_files.read_corrections`)."""
        return corrected_m(self.folder, self.manifest, self.raw_los_m(rows), rows, topography=False)

    def raw_los_m(self, rows: slice = slice(None)) -> NDArray[np.float32]:
        """As the inversion left it: MintPy's ``timeseries.h5``."""
        with open_hdf5(self.folder / "timeseries.h5") as file:
            return file["timeseries"][:, rows]

    def observed(self, rows: slice = slice(None)) -> NDArray[np.bool_]:
        """Whether a pair touches the pixel at the epoch; shape as `los_m`."""
        with open_hdf5(self.folder / "pairsPerEpoch.h5") as file:
            return file["pairsPerEpoch"][:, rows] > 0


def read_revision(folder: Path) -> Revision:
    """Open a revision; its inputs must be there, its hashes are not checked (see `verify`)."""
    manifest = read_manifest(folder)
    check_inputs(folder.parent.parent, manifest)
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


def _layer(folder: Path, file_name: str, dataset: str) -> NDArray[Any]:
    with open_hdf5(folder / file_name) as file:
        return file[dataset][:]
