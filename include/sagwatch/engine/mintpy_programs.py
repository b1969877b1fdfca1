"""MintPy's own programs, run on a copy of a revision: for scientists, for pictures, and as referee of our solver.

They run in a process of their own with one thread, a home of their own and nothing of Airflow's environment. They
never touch the store: MintPy changes files in place.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from sagwatch.engine.correction_files import MASK, delay_file
from sagwatch.engine.delay_files import DELAY
from sagwatch.engine.files import ASIDE
from sagwatch.engine.interferogram import COHERENCE, COMPONENT, PHASE, open_hdf5
from sagwatch.engine.manifest import (
    MANIFEST,
    WHOLE_RECORD,
    Manifest,
    check_inputs,
    read_manifest,
)
from sagwatch.engine.revision import Revision, read_revision
from sagwatch.engine.sealed import LOS
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE
from sagwatch.errors import BadInputError, SagwatchError

_PROGRAM_SECONDS = 6 * 3600
_LAST_LINES = 15
_STACK = "inputs/ifgramStack.h5"
_RAW = "timeseries.h5"
_SERIES = {"timeseries.h5": "timeseries", "pairsPerEpoch.h5": "pairsPerEpoch"}


class MintPyError(SagwatchError):
    """One of MintPy's programs failed; the text ends with its last lines."""


@dataclass(frozen=True, slots=True)
class Differences:
    """How far a revision is from what MintPy's own programs make of the same interferograms.

    Pixels are those that MintPy inverts: on land, observed, and passing its redundancy test. ``torn`` counts only
    pixels whose own network falls into parts, ``whole`` the others. ``of_pixels`` is how many there are; with a
    ``seed`` only a random sample of them was compared.
    """

    epochs: int
    pairs: int
    pixels: int
    torn_pixels: int
    whole_max_mm: float
    whole_rms_mm: float
    torn_max_mm: float
    torn_rms_mm: float
    velocity_max_mm_yr: float
    velocity_rms_mm_yr: float
    velocity_std_max_mm_yr: float
    temporal_coherence_max: float
    counts_that_differ: int
    #: Of the corrected series, where something is corrected: against MintPy's programs on our own raw series.
    corrected_max_mm: float = 0.0
    corrected_rms_mm: float = 0.0
    corrections: str = ""
    of_pixels: int = 0
    seed: int | None = None

    @property
    def max_mm(self) -> float:
        return max(self.whole_max_mm, self.torn_max_mm)

    def _drawn_from(self) -> str:
        return "all pixels" if self.seed is None else f"{self.of_pixels:,} pixels by chance, seed {self.seed}"

    def _of_corrections(self) -> list[tuple[str, str]]:
        if not self.corrections:
            return []
        difference = _pair(self.corrected_max_mm, self.corrected_rms_mm, "mm")
        return [(f"corrected displacement ({self.corrections}): largest, rms", difference)]

    def table(self) -> str:
        """The differences as a Markdown table."""
        rows = (
            ("pixels compared, of them with a torn network", f"{self.pixels:,}, {self.torn_pixels:,}"),
            ("drawn from", self._drawn_from()),
            ("epochs, interferograms", f"{self.epochs}, {self.pairs}"),
            ("displacement, whole network: largest, rms", _pair(self.whole_max_mm, self.whole_rms_mm, "mm")),
            ("displacement, torn network: largest, rms", _pair(self.torn_max_mm, self.torn_rms_mm, "mm")),
            *self._of_corrections(),
            ("velocity: largest, rms", _pair(self.velocity_max_mm_yr, self.velocity_rms_mm_yr, "mm/yr")),
            ("standard deviation of velocity: largest", f"{self.velocity_std_max_mm_yr:.1e} mm/yr"),
            ("temporal coherence: largest", f"{self.temporal_coherence_max:.1e}"),
            ("pixels whose number of observations differs", f"{self.counts_that_differ}"),
        )
        return "\n".join(
            ["| difference to MintPy | |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]
        )


def run_program(
    name: str, arguments: Sequence[str], folder: Path, *, seconds: float = _PROGRAM_SECONDS
) -> str:
    """Run one of MintPy's programs, for example ``view``, in a folder; return what it printed.

    Raises
    ------
    MintPyError
        It failed, or took longer than ``seconds``.
    """
    name = name.removesuffix(".py")
    with tempfile.TemporaryDirectory(prefix="sagwatch-mintpy-") as home:
        command = [sys.executable, "-m", f"mintpy.cli.{name}", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MintPyError(f"{name} did not end within {seconds:.0f} s in {folder}") from None
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise MintPyError(
            f"{name} {' '.join(arguments)} failed with code {done.returncode} in {folder}:\n{last}"
        )
    return done.stdout


def export_mintpy(revision: Path, target: Path) -> Path:
    """Copy a revision to a plain MintPy folder that stands alone: it can travel, and MintPy may change it.

    The series stays unmasked, with NaN where nothing is known; ``maskRedundancy.h5`` marks the pixels that
    MintPy's own inversion would have set to 0. Where something is corrected the corrected series stands beside it,
    under the name that MintPy would give it (``timeseries_ERA5_ramp_demErr.h5``).

    Raises
    ------
    BadInputError
        ``target`` exists.
    """
    manifest = read_manifest(revision)
    if target.exists():
        raise BadInputError(f"{target} exists; name a folder that does not, so that nothing is overwritten")
    check_inputs(revision.parent.parent, manifest)
    target.parent.mkdir(parents=True, exist_ok=True)
    virtual = {**_SERIES, **({delay_file(manifest.corrections): DELAY} if manifest.delays else {})}
    aside = target.parent / f"{ASIDE}{secrets.token_hex(8)}-{target.name}"
    try:
        (aside / "inputs").mkdir(parents=True)
        for name in (*manifest.files, MANIFEST):
            if name not in (_STACK, *virtual):
                shutil.copyfile(revision / name, aside / name)
        _copy_stack(revision / _STACK, aside / _STACK)
        for name, dataset in virtual.items():
            _copy_plainly(revision / name, aside / name, (dataset,))
        if manifest.corrections.any:
            _write_series(aside / _RAW, aside / _corrected_name(manifest), read_revision(revision).los_m())
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


@dataclass(frozen=True, slots=True)
class Sample:
    """So many pixels, drawn by chance from those that MintPy inverts; the same seed draws the same."""

    pixels: int
    seed: int

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise BadInputError(f"a sample of {self.pixels} pixels compares nothing; draw 1 or more")

    def draw(self, eligible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the sample among the eligible pixels; all of them where there are no more."""
        flat = np.flatnonzero(eligible)
        drawn = np.random.default_rng(self.seed).choice(flat, min(self.pixels, flat.size), replace=False)
        mask = np.zeros(eligible.shape, np.bool_)
        mask.ravel()[drawn] = True
        return mask


def compare_with_mintpy(
    revision: Path, scratch: Path | None = None, sample: Sample | None = None
) -> Differences:
    """Solve a revision's interferograms with MintPy's own programs and compare.

    Parameters
    ----------
    scratch
        Where the copy goes for the while; by default the system's temporary folder.
    sample
        Compare only these pixels. MintPy inverts pixel by pixel: all pixels of a large stack cost minutes to hours.
    """
    manifest = read_manifest(revision)
    with tempfile.TemporaryDirectory(prefix="sagwatch-audit-", dir=scratch) as name:
        folder = Path(name)
        (folder / "inputs").mkdir()
        _copy_stack(revision / "inputs" / "ifgramStack.h5", folder / "inputs" / "ifgramStack.h5")
        shutil.copyfile(revision / "waterMask.h5", folder / "waterMask.h5")
        ours = read_revision(revision)
        eligible = _inverted_by_mintpy(ours)
        compared = eligible if sample is None else sample.draw(eligible)
        if sample is not None:
            # MintPy inverts what is not water, so all others are called water; its reference pixel always counts.
            (folder / "waterMask.h5").chmod(0o644)
            compared[manifest.reference.row, manifest.reference.column] = True
            with h5py.File(folder / "waterMask.h5", "r+") as file:
                file["waterMask"][:] = compared
        run_program("ifgram_inversion", _inversion_arguments(manifest), folder)
        final = _RAW
        if manifest.corrections.any:
            final = _correct_by_mintpy(ours, folder, compared)
        run_program("timeseries2velocity", [final, "-o", "velocity.h5"], folder)
        found = _differences(ours, folder, compared)
        if manifest.corrections.any:
            found = _with_corrected(found, ours, folder / final, compared)
        return replace(found, of_pixels=int(eligible.sum()), seed=None if sample is None else sample.seed)


def _corrected_name(manifest: Manifest) -> str:
    return f"timeseries{manifest.corrections.suffix}.h5"


def _correct_by_mintpy(ours: Revision, folder: Path, compared: NDArray[np.bool_]) -> str:
    """Correct our raw series with MintPy's programs; return the name of the corrected series.

    An epoch without delay stands on what stands in for it with us: MintPy has no answer there. ``dem_error`` goes
    pixel by pixel and skips those that are not known throughout, so those that are not compared are made unknown.
    """
    corrections, name = ours.manifest.corrections, "series.h5"
    _write_series(ours.folder / _RAW, folder / name, ours.raw_los_m())
    for needed in ("inputs/geometryGeo.h5", *([MASK] if corrections.needs_mask else [])):
        shutil.copyfile(ours.folder / needed, folder / needed)
    done = ""
    if corrections.troposphere == "height_correlation":
        done = "_tropHgt"
        arguments = [name, "-g", "inputs/geometryGeo.h5", "-m", MASK, "-o", f"timeseries{done}.h5"]
        run_program("tropo_phase_elevation", arguments, folder)
    elif ours.manifest.delays and ours.terms is not None and ours.terms.air is not None:
        done = f"_{corrections.troposphere.upper()}"
        air = ours.terms.air
        delays = np.array([air.epoch(i) for i in range(len(ours.epochs))], np.float32)
        source = ours.folder / delay_file(corrections)
        _write_series(source, folder / "delays.h5", delays.reshape(-1, *ours.grid.shape))
        run_program("diff", [name, "delays.h5", "-o", f"timeseries{done}.h5", "--force"], folder)
    name = f"timeseries{done}.h5" if done else name
    if corrections.ramp != "none":
        done += "_ramp"
        arguments = [name, "-m", MASK, "-s", corrections.ramp, "-o", f"timeseries{done}.h5"]
        run_program("remove_ramp", arguments, folder)
        name = f"timeseries{done}.h5"
    if corrections.topography:
        done += "_demErr"
        with h5py.File(folder / name, "r+") as file:
            file[LOS][:] = np.where(compared, file[LOS][:], np.nan)
        arguments = [name, "-g", "inputs/geometryGeo.h5", "-p", str(corrections.polynomial_order)]
        run_program("dem_error", [*arguments, "-o", f"timeseries{done}.h5"], folder)
        name = f"timeseries{done}.h5"
    return name


def _with_corrected(
    found: Differences, ours: Revision, theirs: Path, compared: NDArray[np.bool_]
) -> Differences:
    """Add how far the corrected series are apart, where a pixel is known at all epochs."""
    mine = ours.los_m().astype(np.float64)
    used = compared & np.isfinite(ours.raw_los_m()).all(axis=0)
    gap_mm = 1000.0 * (mine[:, used] - _read(theirs, LOS)[:, used])
    return replace(
        found,
        # A NaN on one side only stays one, and is a problem then.
        corrected_max_mm=_largest(gap_mm),
        corrected_rms_mm=_root_mean(gap_mm**2),
        corrections=ours.manifest.corrections.suffix.strip("_").replace("_", ", "),
    )


def _write_series(template: Path, target: Path, los_m: NDArray[np.float32]) -> None:
    """A plain series with the dates and attributes of another file."""
    with open_hdf5(template) as source, h5py.File(target, "w") as file:
        file[LOS] = los_m
        for name in ("date", "bperp"):
            if name in source:
                file[name] = source[name][:]
        for key, value in source.attrs.items():
            file.attrs[key] = value


def _inverted_by_mintpy(ours: Revision) -> NDArray[np.bool_]:
    """Pixels on land, observed, and passing MintPy's redundancy test; the reference pixel is one of them."""
    layers = ours.layers
    inverted = layers.land & layers.redundant & (layers.n_observations > 0)
    inverted[ours.manifest.reference.row, ours.manifest.reference.column] = True
    return inverted


def _environment(home: str) -> dict[str, str]:
    """Only what a program needs; more threads make MintPy slower, and its own limit does not bind."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TZ") if key in os.environ}
    return kept | {
        "HOME": home,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": home,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _copy_stack(source: Path, target: Path) -> None:
    """Copy a virtual stack to one that holds its pixels, laid out as MintPy would, pair by pair."""
    _copy_plainly(source, target, (PHASE, COHERENCE, COMPONENT))


def _copy_plainly(source: Path, target: Path, layers: Sequence[str]) -> None:
    """Copy a file with virtual layers to one that holds their pixels."""
    with open_hdf5(source) as virtual, h5py.File(target, "w") as plain:
        for name in virtual:
            if name not in layers:
                plain[name] = virtual[name][:]
                continue
            layer = virtual[name]
            maxshape = (None, *layer.shape[1:])
            copy = plain.create_dataset(name, layer.shape, layer.dtype, maxshape=maxshape, chunks=True)
            for i in range(layer.shape[0]):
                copy[i] = layer[i]
        for key, value in virtual.attrs.items():
            plain.attrs[key] = value


def _inversion_arguments(manifest: Manifest) -> list[str]:
    settings = manifest.settings
    arguments = ["inputs/ifgramStack.h5", "-w", str(settings["weight"]), "-m", "waterMask.h5"]
    arguments += ["--min-redundancy", str(settings["min_redundancy"])]
    if settings["coherence_threshold"] is not None:
        arguments += ["--mask-dset", COHERENCE, "--mask-thres", str(settings["coherence_threshold"])]
    return arguments


def _differences(ours: Revision, folder: Path, inverted: NDArray[np.bool_]) -> Differences:
    layers, line = ours.layers, ours.layers.lines[WHOLE_RECORD.name]
    torn = inverted & (layers.parts > 1)
    # float64 before subtracting, or the difference would itself be rounded.
    gap_mm = np.zeros(ours.grid.shape)
    square_mm2 = np.zeros(ours.grid.shape)
    pairs_so_far = np.cumsum(ours.observed(), axis=0, dtype=np.uint16)
    # First seen late: unknown before, where MintPy's smallest velocities say 0, and without a line.
    late = pairs_so_far[1] == 0
    has_line = inverted & ~late & (len(ours.epochs) >= LEAST_EPOCHS_OF_A_LINE)
    with open_hdf5(folder / "timeseries.h5") as file, open_hdf5(ours.folder / "timeseries.h5") as own:
        for epoch in range(len(ours.epochs)):
            theirs, mine = (one["timeseries"][epoch].astype(np.float64) for one in (file, own))
            mine[late & (pairs_so_far[epoch] == 0) & np.isnan(mine)] = 0.0
            step_mm = np.where(inverted, 1000.0 * (mine - theirs), 0.0)
            gap_mm = np.maximum(gap_mm, np.abs(step_mm))
            square_mm2 += step_mm**2 / len(ours.epochs)
    velocity_mm_yr = 1000.0 * (line.velocity_m_yr - _read(folder / "velocity.h5", "velocity"))
    std_mm_yr = 1000.0 * (line.velocity_std_m_yr - _read(folder / "velocity.h5", "velocityStd"))
    agreement = layers.temporal_coherence - _read(folder / "temporalCoherence.h5", "temporalCoherence")
    counts = np.where(inverted, layers.n_observations, 0) != _read(folder / "numInvIfgram.h5", "mask")
    whole = inverted & ~torn
    return Differences(
        epochs=len(ours.epochs),
        pairs=len(ours.manifest.members),
        pixels=int(inverted.sum()),
        torn_pixels=int(torn.sum()),
        whole_max_mm=_largest(gap_mm[whole]),
        whole_rms_mm=_root_mean(square_mm2[whole]),
        torn_max_mm=_largest(gap_mm[torn]),
        torn_rms_mm=_root_mean(square_mm2[torn]),
        velocity_max_mm_yr=_largest(velocity_mm_yr[has_line]),
        velocity_rms_mm_yr=_root_mean(velocity_mm_yr[has_line] ** 2),
        velocity_std_max_mm_yr=_largest(std_mm_yr[has_line]),
        temporal_coherence_max=_largest(agreement[inverted]),
        counts_that_differ=int(counts.sum()),
    )


def _read(path: Path, dataset: str) -> NDArray[np.float64]:
    with open_hdf5(path) as file:
        return file[dataset][:].astype(np.float64)


def _largest(values: NDArray[np.floating]) -> float:
    return float(np.max(np.abs(values))) if values.size else 0.0


def _root_mean(squares: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(squares))) if squares.size else 0.0


def _pair(largest: float, rms: float, unit: str) -> str:
    return f"{largest:.1e} {unit}, {rms:.1e} {unit}"
