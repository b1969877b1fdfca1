"""What a revision was made from, how, and the hash of every file in it; and the check that it still holds."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sagwatch.domain.delay import FETCHED_METHODS, DelayState, StoredDelay
from sagwatch.domain.grid import Grid
from sagwatch.domain.ids import canonical_json, content_sha256
from sagwatch.engine.checks import Finding
from sagwatch.engine.corrections import CorrectionSettings
from sagwatch.engine.files import is_content, sha256_of
from sagwatch.engine.hyp3_attributes import WAVELENGTH_M
from sagwatch.engine.interferogram import PairKey, StoredInterferogram
from sagwatch.engine.network import InversionSettings
from sagwatch.engine.velocity import Window
from sagwatch.engine.weights import Weight, independent_looks
from sagwatch.errors import BadInputError, BadRevisionError

MANIFEST = "manifest.json"
FORMAT = 2
#: Of the rows of a checkpoint (`sagwatch.engine.kernel`): a revision with others is read, but not taken up.
SOLVER = "2"
WHOLE_RECORD = Window("whole", None, 3)
_REMEDY = "move the revision's folder away, then it is built anew"
STANDARD_WINDOWS = (Window("150d", 150, 8), Window("365d", 365, 16))


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
    corrections: CorrectionSettings | None = None

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


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that revisions share: its first epoch, how many epochs it holds (a checkpoint: how many its rim reaches; a
    part of the stack: its first pair, and how many pairs), its path in the track's folder, its hash."""

    epoch: int
    length: int
    name: str
    digest: str

    @property
    def after(self) -> int:
        """The first epoch after a block."""
        return self.epoch + self.length

    def as_json(self) -> list[Any]:
        return [self.epoch, self.length, self.name, self.digest]


@dataclass(frozen=True)
class Manifest:
    """What a revision was made from, how, and the hash of every file in it.

    ``series``, ``checkpoints`` and ``stack`` are the shared files that it stands on; ``first_solved`` is the epoch from
    which on its own update solved anew, 0 for a batch.
    """

    id: str
    number: int
    grid: Grid
    reference: ReferencePoint
    settings: dict[str, Any]
    epochs: tuple[date, ...]
    members: tuple[StoredInterferogram, ...]
    geometry_sha256: str
    files: dict[str, dict[str, Any]]
    versions: Mapping[str, str]
    series: tuple[Sealed, ...] = ()
    checkpoints: tuple[Sealed, ...] = ()
    stack: tuple[Sealed, ...] = ()
    block_epochs: int = 0
    first_solved: int = 0
    delays: tuple[StoredDelay, ...] = ()

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
            "series": [sealed.as_json() for sealed in self.series],
            "checkpoints": [sealed.as_json() for sealed in self.checkpoints],
            "stack": [sealed.as_json() for sealed in self.stack],
            "block_epochs": self.block_epochs,
            "first_solved": self.first_solved,
        }
        if self.delays:
            content["delays"] = _delays_json(self.delays)
        return content

    @property
    def is_of_this_solver(self) -> bool:
        """Whether a solution can be taken up at its checkpoints."""
        return self.versions.get("solver") == SOLVER

    @cached_property
    def keys(self) -> tuple[PairKey, ...]:
        return tuple(member.key for member in self.members)

    @property
    def shared(self) -> tuple[Sealed, ...]:
        """All files outside its folder that the solution stands on."""
        return self.series + self.checkpoints + self.stack


NO_DELAYS: Mapping[date, StoredDelay] = MappingProxyType({})


def revision_id(
    members: Sequence[StoredInterferogram],
    settings: RevisionSettings,
    reference: ReferencePoint,
    grid: Grid,
    geometry_sha256: str,
    delays: Mapping[date, StoredDelay] = NO_DELAYS,
) -> str:
    """Name a solution by its inputs: the same interferograms, delays and configuration give the same id."""
    days = {day for member in members for day in (member.reference, member.secondary)}
    used = used_delays(sorted(days), settings, delays)
    of_delays = {"delays": [(f"{delay.day}", delay.state, delay.sha256) for delay in used]} if used else {}
    return content_sha256(
        {
            **of_delays,
            "format": FORMAT,
            "interferograms": [(member.name, member.sha256) for member in sorted(members)],
            "settings": settings_json(settings),
            "reference": [reference.row, reference.column],
            "grid": grid.id,
            "geometry": geometry_sha256,
        }
    )


def used_delays(
    dates: Sequence[date], settings: RevisionSettings, delays: Mapping[date, StoredDelay]
) -> tuple[StoredDelay, ...]:
    """Those delays on which a revision of these dates depends."""
    if settings.corrections is None or settings.corrections.troposphere not in FETCHED_METHODS:
        return ()
    return tuple(delays[day] for day in dates if day in delays)


def folder_name(number: int, identity: str) -> str:
    """Name a revision's folder."""
    return f"{number:06d}-{identity[:12]}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a revision's manifest, its own hash at the end."""
    words = canonical_json(manifest.as_json())
    digest = hashlib.sha256(words.encode()).hexdigest()
    (folder / MANIFEST).write_text(f'{words[:-1]},"sha256":"{digest}"}}\n')


def _is_whole(text: str, content: dict[str, Any], claimed: str) -> bool:
    end = f',"sha256":"{claimed}"}}\n'
    if text.endswith(end):
        return hashlib.sha256(f"{text.removesuffix(end)}}}".encode()).hexdigest() == claimed
    # Laid out in another way, as by earlier versions.
    return content_sha256(content) == claimed


def read_manifest(folder: Path) -> Manifest:
    """Read a revision's manifest and check that it is whole."""
    path = folder / MANIFEST
    try:
        text = path.read_text()
        content = json.loads(text)
        claimed = content.pop("sha256")
    except FileNotFoundError:
        raise BadRevisionError(f"{folder} has no {MANIFEST}: it is not a revision") from None
    except (ValueError, KeyError) as problem:
        raise BadRevisionError(f"{path} is damaged: {problem}; {_REMEDY}") from problem
    if not _is_whole(text, content, claimed):
        raise BadRevisionError(f"{path} was changed after it was written; {_REMEDY}")
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
        series=tuple(Sealed(*entry) for entry in content["series"]),
        checkpoints=tuple(Sealed(*entry) for entry in content["checkpoints"]),
        stack=tuple(Sealed(*entry) for entry in content["stack"]),
        block_epochs=content["block_epochs"],
        first_solved=content["first_solved"],
        delays=tuple(_delay_from_json(entry) for entry in content.get("delays", ())),
    )


def verify(folder: Path, *, with_inputs: bool = True) -> Manifest:
    """Check every file of a revision against its manifest, and the interferograms that it stands on.

    Parameters
    ----------
    folder
        The revision.
    with_inputs
        Also hash the interferograms and the files that the revision shares with others, which costs reading all of
        them; without it they only have to be there.

    Raises
    ------
    BadRevisionError
        Names what is missing, damaged or too much.
    """
    manifest = read_manifest(folder)
    present = set(file_names(folder)) - {MANIFEST}
    if present != set(manifest.files):
        missing, extra = sorted(set(manifest.files) - present), sorted(present - set(manifest.files))
        raise BadRevisionError(f"{folder} lacks {missing} and has {extra} too much; {_REMEDY}")
    for name, expected in manifest.files.items():
        if not holds(folder / name, expected):
            raise BadRevisionError(
                f"{folder / name} is damaged: it is not the file of the manifest; {_REMEDY}"
            )
    check_inputs(folder.parent.parent, manifest, hashes=with_inputs)
    return manifest


def check_inputs(track: Path, manifest: Manifest, *, hashes: bool = False) -> None:
    """Check that everything outside its folder that a revision stands on is there; a missing file must not read as 0.

    Raises
    ------
    BadRevisionError
        Names the missing file; with ``hashes`` also one that is not what it was.
    """
    check_sealed(track, manifest.shared, hashes=hashes)
    _check_delays(track, manifest.delays, hashes=hashes)
    check_presence(track / "interferograms", manifest.members)
    if hashes:
        check_hashes(track / "interferograms", manifest.members)


def check_presence(folder: Path, members: Sequence[StoredInterferogram]) -> None:
    """Check that every interferogram is there."""
    present = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    for member in members:
        if f"{member.id}.h5" not in present:
            path = folder / f"{member.id}.h5"
            raise BadRevisionError(str(Finding(107, True, f"{path} (pair {member.name}) is missing")))


def check_hashes(folder: Path, members: Sequence[StoredInterferogram]) -> None:
    """Check that interferograms, which are there, are those that their hashes name."""
    for member in members:
        path = folder / f"{member.id}.h5"
        if sha256_of(path) != member.sha256:
            raise BadRevisionError(str(Finding(107, True, f"{path} (pair {member.name}) is damaged")))


def check_sealed(track: Path, files: Sequence[Sealed], *, hashes: bool) -> None:
    """Check that shared files are there, and with ``hashes`` that they are what they were.

    Raises
    ------
    BadRevisionError
        Names the file.
    """
    for sealed in files:
        path = track / sealed.name
        if not path.is_file():
            raise BadRevisionError(f"{path} is gone; {_REMEDY}")
        if hashes and not is_content(path, sealed.digest):
            raise BadRevisionError(f"{path} is damaged; move it and {_REMEDY}")


def _check_delays(track: Path, delays: Sequence[StoredDelay], *, hashes: bool) -> None:
    for delay in delays:
        path = track / delay.name
        if not path.is_file() or (hashes and sha256_of(path) != delay.sha256):
            raise BadRevisionError(
                f"{path} is missing or damaged: the delay of {delay.day}; restore it from a backup, or remove it and "
                "have it fetched again"
            )


def file_names(folder: Path) -> list[str]:
    """List the files below a folder by their relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def describe(path: Path, digest: str) -> dict[str, Any]:
    """What the manifest says of a file of the folder."""
    return {"digest": digest, "bytes": path.stat().st_size}


def holds(path: Path, described: Mapping[str, Any]) -> bool:
    """Whether a file is still what the manifest says of it; earlier versions told its SHA-256."""
    digest = described.get("digest") or described["sha256"]
    return path.stat().st_size == described["bytes"] and is_content(path, digest)


def settings_json(settings: RevisionSettings) -> dict[str, Any]:
    """Settings as plain values; a change of format never changes an id by accident."""
    words = json.loads(canonical_json(asdict(settings)))
    if words["corrections"] is None:
        del words["corrections"]
    return words


def inversion_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a revision's settings on which the solver's series depends: corrections come after it."""
    return {key: value for key, value in settings.items() if key != "corrections"}


def _delays_json(delays: Sequence[StoredDelay]) -> list[list[str]]:
    return [[d.day.isoformat(), d.method, d.state.value, d.name, d.sha256] for d in sorted(delays)]


def _delay_from_json(entry: Sequence[str]) -> StoredDelay:
    day, method, state, name, sha256 = entry
    return StoredDelay(date.fromisoformat(day), method, DelayState(state), name, sha256)


def _member_json(member: StoredInterferogram) -> list[Any]:
    baseline = member.perpendicular_baseline_m
    dates = member.reference.isoformat(), member.secondary.isoformat()
    return [*dates, member.id, member.sha256, baseline if np.isfinite(baseline) else None]


def _member_from_json(entry: Sequence[Any]) -> StoredInterferogram:
    earlier, later, identity, sha256, baseline = entry
    return StoredInterferogram(
        date.fromisoformat(earlier),
        date.fromisoformat(later),
        identity,
        sha256,
        float("nan") if baseline is None else baseline,
    )


@cache
def package_versions() -> Mapping[str, str]:
    """Name the versions that may change the last digit of a result."""
    packages = {name: version(name) for name in ("numpy", "numba", "h5py")}
    return {"python": platform.python_version(), **packages, "solver": SOLVER}
