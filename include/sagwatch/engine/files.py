"""Files that are either whole or not there: written aside, flushed to the disk, renamed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sagwatch.errors import BadRevisionError

ASIDE = ".making-"
_CHUNK = 1 << 20
_AT_A_TIME = 8


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_durable(paths: Sequence[Path]) -> dict[Path, str]:
    """Make files read-only and wait until they are on the disk; return the hashes of their content.

    Several at a time, because each waits for the disk, which writes them together.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return dict(zip(paths, pool.map(_make_durable, paths), strict=True))


def _make_durable(path: Path) -> str:
    path.chmod(0o444)
    digest = sha256_of(path)
    flush(path)
    return digest


@contextmanager
def file_aside(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``; on success it becomes ``target`` at once, durably.

    An exception, or the loss of the process, leaves ``target`` as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{ASIDE}{secrets.token_hex(8)}-{target.name}"
    try:
        yield aside
        flush(aside)
        aside.chmod(0o444)
        aside.replace(target)
        flush(target.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target``; on success it becomes ``target`` at once, durably, read-only.

    The folder is locked while it is being made, so that `remove_leftovers` can tell the work of a live process
    from what a killed one left behind. ``target`` must not exist. A file that is read-only already was flushed by
    who made it so (`make_durable`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{ASIDE}{secrets.token_hex(8)}-{target.name}"
    aside.mkdir()
    lock = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield aside
        below = sorted(aside.rglob("*"))
        make_durable([path for path in below if path.is_file() and path.stat().st_mode & 0o222])
        for folder in (*(path for path in below if path.is_dir()), aside):
            flush(folder)
        aside.rename(target)
        flush(target.parent)
    finally:
        os.close(lock)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Wait until nobody else changes a track's folder; readers are not concerned."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as problem:
        raise BadRevisionError(
            f"{folder} cannot be written to ({problem.strerror}); give it to the user who runs Sagwatch"
        ) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def remove_leftovers(folder: Path) -> list[str]:
    """Delete the half-made folders of processes that are gone; return their names."""
    removed = []
    for path in sorted(folder.glob(f"{ASIDE}*")):
        if path.is_dir() and not _in_use(path):
            shutil.rmtree(path)
            removed.append(path.name)
    return removed


def _in_use(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
