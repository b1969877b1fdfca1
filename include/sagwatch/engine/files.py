"""Files that are either whole or not there: written aside, flushed to the disk, renamed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from sagwatch.errors import BadRevisionError

ASIDE = ".making-"
_CHUNK = 1 << 20
_BLAKE3 = "blake3:"
_AT_A_TIME = 48


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """Hash a file's content by BLAKE3: as safe as SHA-256 and four times faster, for what is hashed at every update.

    The hash's name comes first, because manifests of earlier versions have SHA-256 without a name.
    """
    digest = blake3()
    for piece in _pieces(path):
        digest.update(piece)
    return _BLAKE3 + digest.hexdigest()


def is_content(path: Path, digest: str) -> bool:
    """Whether a file's content is what a digest says, `digest_of`'s or `sha256_of`'s."""
    return (digest_of if digest.startswith(_BLAKE3) else sha256_of)(path) == digest


def letters_of(digest: str, n: int) -> str:
    """The first letters of a digest, to name a file by."""
    return digest.removeprefix(_BLAKE3)[:n]


def _pieces(path: Path) -> Iterator[memoryview]:
    with path.open("rb", buffering=0) as file:
        # Large pieces, because a thread that has read or hashed one waits for its turn among the others.
        buffer = memoryview(bytearray(min(os.fstat(file.fileno()).st_size + 1, _CHUNK)))
        while size := file.readinto(buffer):
            yield buffer[:size]


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    _flush(os.open(path, os.O_RDONLY))


def _flush(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Disk:
    """Hashes and flushes in the background, all at a time: the disk writes together what waits for it together."""

    def __init__(self) -> None:
        self._pool, self._hashing = ThreadPoolExecutor(_AT_A_TIME), ThreadPoolExecutor(os.cpu_count())
        self._jobs: list[Future[None]] = []
        self._hashes: dict[Path, Future[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        self._hashing.shutdown()

    def flush(self, paths: Iterable[Path]) -> None:
        """Begin to flush files, or folders' lists of names. Files may be renamed from now on."""
        for path in paths:
            self._jobs.append(self._pool.submit(_flush, os.open(path, os.O_RDONLY)))

    def take(self, paths: Iterable[Path]) -> None:
        """Make files read-only, and begin to flush and to hash them; `digest` tells the hash."""
        for path in paths:
            path.chmod(0o444)
            self.flush([path])
            self._hashes[path] = self._hashing.submit(digest_of, path)

    def take_others(self, paths: Iterable[Path]) -> None:
        """Take those files that were not taken yet."""
        self.take(path for path in paths if path not in self._hashes)

    def digest(self, path: Path) -> str:
        """Wait for the hash of a file that was taken, by the path that it had; it may be renamed after this."""
        return self._hashes[path].result()

    def wait(self) -> None:
        """Wait until everything is on the disk."""
        while self._jobs:
            self._jobs.pop().result()


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
def folder_aside(target: Path) -> Iterator[tuple[Path, Disk]]:
    """Give an empty folder beside ``target``; on success it becomes ``target`` at once, durably, read-only.

    The folder is locked while it is being made, so that `remove_leftovers` can tell the work of a live process
    from what a killed one left behind. ``target`` must not exist. What is given to the disk meanwhile is waited for
    before the folder gets its name; a file that is read-only by then was given to it already.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f"{ASIDE}{secrets.token_hex(8)}-{target.name}"
    aside.mkdir()
    lock = os.open(aside, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Disk() as disk:
            yield aside, disk
            below = [(path, path.stat().st_mode) for path in aside.rglob("*")]
            files = [path for path, mode in below if stat.S_ISREG(mode) and mode & 0o222]
            for path in files:
                path.chmod(0o444)
            disk.flush([*files, *(path for path, mode in below if stat.S_ISDIR(mode)), aside])
            disk.wait()
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
