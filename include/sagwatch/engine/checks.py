"""What must hold before a stack is solved: looked at in seconds, told with a number and a remedy.

A finding is ``[E101] where and what; what to do`` if the stack is refused, ``[W109] ...`` if it is solved and a person
should know. The number names the matter, the letter says what follows; ``docs/checks.md`` lists them.

Why which is which: refused is what could only give a wrong number or no answer (another grid, another date than the
file's own, a pair twice, a reference without phase, a disk that would fill up). Solved, and said, is what has a defined
answer: a network in pieces has MintPy's, among all best fits the one with the smallest velocities, so that history goes
on across the break without a jump. A site for which that is not good enough sets ``network.in_pieces: refuse``. Two
acquisitions have a displacement and no velocity, which stays unknown.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sagwatch.domain.grid import Grid
from sagwatch.engine import kernel
from sagwatch.engine.hyp3_attributes import grid_attributes
from sagwatch.engine.interferogram import COHERENCE, PHASE, StoredInterferogram, open_hdf5
from sagwatch.engine.network import Network
from sagwatch.engine.velocity import LEAST_EPOCHS_OF_A_LINE
from sagwatch.engine.window import Effort, emission_epochs
from sagwatch.errors import BadRevisionError

#: What is left free for everything else, bytes.
SPARE_BYTES = 500_000_000
_MOST_NAMES = 5
#: Of one pixel, in all files of a revision that have no time, the copied geometry included.
_LAYER_BYTES = 160
_PLACE = ("X_FIRST", "Y_FIRST", "X_STEP", "Y_STEP", "EPSG")


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing that is looked at, and what to do where it is not as it should be."""

    title: str
    remedy: str


MATTERS = {
    101: Matter("another grid", "clip the product to the track's grid and store it again"),
    102: Matter("a pair twice", "withdraw all but one of its interferograms"),
    103: Matter("other dates", "the file is another one than the ledger says: fetch the product again"),
    104: Matter("too few acquisitions", "wait for the next one, or widen network.max_days"),
    105: Matter(
        "no phase at the reference point",
        "reject the pair, or choose another reference point on stable, dry ground",
    ),
    106: Matter("too little disk", "make room, or move the data folder (SAGWATCH_DATA)"),
    107: Matter("a file is missing or damaged", "restore it from a backup, or fetch the product again"),
    108: Matter("no geometry on the track's grid", "store the geometry of one of the track's products again"),
    109: Matter(
        "a network in pieces", "order a pair that joins them: network.bridge, or a larger network.max_days"
    ),
    120: Matter(
        "a ramp would eat a trough",
        "set corrections.ramp.shape to none, or draw the panels into the mine plan so that they are left out",
    ),
    121: Matter(
        "a height error would eat a trough",
        "lower corrections.topography.polynomial_order, or set corrections.topography.estimate to false",
    ),
    122: Matter(
        "too little steady ground",
        "lower corrections.exclude_around_faces_m, or set corrections.ramp.shape to none, datum.refer_to to point and "
        "the troposphere's method to era5",
    ),
    123: Matter("no delay at the reference point", "choose another reference point: re-reference"),
    124: Matter(
        "a ramp has eaten motion",
        "set corrections.ramp.shape to none, or draw what moves into the mine plan so that it is left out",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; ``refused`` where the stack must not be solved."""

    number: int
    refused: bool
    where: str

    @property
    def code(self) -> str:
        return f"{'E' if self.refused else 'W'}{self.number}"

    def __str__(self) -> str:
        return f"[{self.code}] {self.where}; {MATTERS[self.number].remedy}"


def refuse(findings: Iterable[Finding]) -> None:
    """Stop where a finding forbids to go on.

    Raises
    ------
    BadRevisionError
        Tells all of them, one a line.
    """
    if fatal := [str(finding) for finding in findings if finding.refused]:
        raise BadRevisionError("\n".join(fatal))


def check_members(members: Sequence[StoredInterferogram], *, refuse_pieces: bool = False) -> list[Finding]:
    """Look at the dates and the network alone; no file is opened."""
    if not members:
        return [Finding(104, True, "there is no interferogram, and one of two acquisitions is the least")]
    counts = Counter(member.name for member in members)
    twice = sorted(name for name, count in counts.items() if count > 1)
    found = [Finding(102, True, f"there are {counts[name]} interferograms of pair {name}") for name in twice]
    dates = sorted({day for member in members for day in (member.reference, member.secondary)})
    if len(dates) < LEAST_EPOCHS_OF_A_LINE:
        found.append(
            Finding(104, False, f"{len(dates)} acquisitions have a displacement, but no velocity yet")
        )
    groups = pieces(members)
    if len(groups) > 1:
        spans = ", ".join(f"{group[0]} to {group[-1]}" for group in groups[:_MOST_NAMES])
        more = f" and {len(groups) - _MOST_NAMES} more" if len(groups) > _MOST_NAMES else ""
        found.append(
            Finding(109, refuse_pieces, f"the network falls into {len(groups)} pieces ({spans}{more})")
        )
    return found


def pieces(members: Sequence[StoredInterferogram]) -> list[list[date]]:
    """The acquisitions that pairs connect with each other, piece by piece, each and all by rising date."""
    dates = sorted({day for member in members for day in (member.reference, member.secondary)})
    index = {day: i for i, day in enumerate(dates)}
    ends = np.array([(index[member.reference], index[member.secondary]) for member in members]).T
    joined = coo_array((np.ones(len(members)), (ends[0], ends[1])), shape=(len(dates),) * 2)
    count, labels = connected_components(joined, directed=False)
    groups = [[day for day, label in zip(dates, labels, strict=True) if label == k] for k in range(count)]
    return sorted(groups)


def check_files(
    folder: Path, grid: Grid, geometry: Path, members: Iterable[StoredInterferogram]
) -> list[Finding]:
    """Look at the headers of interferograms and of the geometry: there, whole, on the grid, of the dates.

    The pixels are not read; their hashes are compared when a file is first used, and by every audit.
    """
    found = [
        finding for member in members for finding in _check_file(folder / f"{member.id}.h5", grid, member)
    ]
    try:
        with open_hdf5(geometry) as file:
            shapes = {file[name].shape for name in ("height", "waterMask") if name in file}
    except BadRevisionError as problem:
        return [*found, Finding(108, True, str(problem))]
    if shapes != {grid.shape}:
        found.append(
            Finding(108, True, f"{geometry} has pixels {sorted(shapes)}, the track's grid {grid.shape}")
        )
    return found


def check_reference(phase_rad: NDArray[np.float32], names: Sequence[str]) -> list[Finding]:
    """Refuse pairs that say nothing about the reference pixel; one such pair poisons every other pixel."""
    unusable = ~np.isfinite(phase_rad) | (phase_rad == 0)
    bad = [name for name, wrong in zip(names, unusable, strict=True) if wrong]
    if not bad:
        return []
    shown = ", ".join(bad[:_MOST_NAMES]) + (
        f" and {len(bad) - _MOST_NAMES} more" if len(bad) > _MOST_NAMES else ""
    )
    return [Finding(105, True, f"no phase at the reference pixel in pair {shown}")]


def check_disk(folder: Path, needed: int, spare: int = SPARE_BYTES) -> list[Finding]:
    """Refuse to begin what would fill the disk; a write that fails half-way helps nobody. Bytes."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free >= needed + spare:
        return []
    where = f"{folder}: {free / 1e9:.1f} GB are free, the next revision needs {(needed + spare) / 1e9:.1f} GB"
    return [Finding(106, True, where)]


def needed_bytes(network: Network, pixels: int, first: int, effort: Effort) -> int:
    """What a revision writes that solves from epoch ``first`` on, bytes: series, checkpoints, layers without time.

    A few pixels are taken up further back, so that a block or two before are written again.
    """
    first = max(first - 2 * effort.block_epochs, 0)
    series = 5 * (network.n_epochs - first)
    checkpoints = 0
    for epoch in emission_epochs(network, first, effort):
        reach = network.reach(epoch)
        checkpoints += 8 * kernel.float_rows(reach) + 2 * kernel.count_rows(reach)
    return pixels * (series + checkpoints + _LAYER_BYTES)


def _check_file(path: Path, grid: Grid, member: StoredInterferogram) -> list[Finding]:
    try:
        with open_hdf5(path) as file:
            shapes = {file[name].shape[1:] for name in (PHASE, COHERENCE) if name in file}
            attributes = {key: str(file.attrs.get(key)) for key in _PLACE}
            dates = [text.decode() for text in file["date"][0]] if "date" in file else []
    except BadRevisionError as problem:
        return [Finding(107, True, f"pair {member.name}: {problem}")]
    if shapes != {grid.shape}:
        return [Finding(101, True, f"{path} has {sorted(shapes)} pixels, the track's grid {grid.shape}")]
    expected = grid_attributes(grid)
    other = [f"{key} {attributes[key]}" for key in _PLACE if not _same(attributes[key], expected[key])]
    if other:
        wanted = ", ".join(
            f"{key} {expected[key]}" for key in _PLACE if not _same(attributes[key], expected[key])
        )
        return [Finding(101, True, f"{path} lies at {', '.join(other)}, the track's grid at {wanted}")]
    if "_".join(dates) != member.name:
        return [Finding(103, True, f"{path} is of {' and '.join(dates)}, expected is pair {member.name}")]
    return []


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


def check_stack(
    folder: Path,
    grid: Grid,
    geometry: Path,
    members: Sequence[StoredInterferogram],
    fresh: Collection[str] | None = None,
    *,
    refuse_pieces: bool = False,
) -> list[Finding]:
    """Everything that can be known of a stack before it is solved, but for its reference and the disk.

    Parameters
    ----------
    folder
        Where the interferograms lie.
    fresh
        Ids of interferograms whose files have not been looked at before; by default all.
    """
    found = check_members(members, refuse_pieces=refuse_pieces)
    looked_at = [member for member in members if fresh is None or member.id in fresh]
    return found + check_files(folder, grid, geometry, looked_at)
