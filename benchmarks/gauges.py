"""What is measured beside the time: memory, waiting for the disk, a plain copy, the library below MintPy."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

_CORE_NAMES = ("scipy_openblas_get_corename", "scipy_openblas_get_corename64_", "openblas_get_corename")


@dataclass(frozen=True)
class Memory:
    """Bytes of this process that are resident now, and the most that ever were; mapped files count."""

    now: int
    most: int

    @classmethod
    def read(cls) -> Memory:
        return cls(_status("VmRSS"), _status("VmHWM"))


class OwnMemory:
    """The most memory that is not a mapped file, above what there was at the beginning; looked at by a thread."""

    def __init__(self, every_seconds: float = 0.02) -> None:
        self._every, self._end = every_seconds, threading.Event()
        self._first = self._most = _status("RssAnon")
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        self._end.set()
        return self._most - self._first

    def _watch(self) -> None:
        while not self._end.wait(self._every):
            self._most = max(self._most, _status("RssAnon"))


def _status(key: str) -> int:
    """A line of what the system says of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


@dataclass
class SyncClock:
    """Keeps when the process waited for the disk."""

    waits: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch ``os.fsync`` and ``os.fdatasync`` of all threads."""
        before = os.fsync, os.fdatasync
        os.fsync, os.fdatasync = (self._watched(wait) for wait in before)
        try:
            yield
        finally:
            os.fsync, os.fdatasync = before

    def _watched(self, wait):  # type: ignore[no-untyped-def]
        def watched(descriptor: int) -> None:
            began = time.perf_counter()
            wait(descriptor)
            self.waits.append((began, time.perf_counter()))

        return watched

    def seconds(self) -> float:
        """How long at least one thread waited."""
        return covered(self.waits)


def covered(stretches: Iterable[tuple[float, float]]) -> float:
    """How much of the time line the stretches cover; where they overlap it counts once."""
    total, after = 0.0, float("-inf")
    for begin, end in sorted(stretches):
        total += max(0.0, end - max(begin, after))
        after = max(after, end)
    return total


def copy_bytes_per_second(folder: Path, size: int, repeats: int = 5) -> float:
    """What a plain copy of a file of ``size`` bytes reaches, read (from the cache), written and synced."""
    source, target = folder / "copy-source", folder / "copy-target"
    source.write_bytes(os.urandom(size))
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())
        took.append(time.perf_counter() - began)
        target.unlink()
    source.unlink()
    return 2 * size / median(took)


def openblas_kernel() -> str:
    """Name of the processor that SciPy's OpenBLAS computes for, or why it is unknown."""
    import scipy.linalg  # noqa: F401  it loads the library

    paths = {
        line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "openblas" in line
    }
    for path in sorted(paths, key=lambda name: "scipy.libs" not in name):
        library = ctypes.CDLL(path)
        for name in _CORE_NAMES:
            if hasattr(library, name):
                ask = getattr(library, name)
                ask.restype = ctypes.c_char_p
                return ask().decode()
    return "unknown: SciPy was not built with an OpenBLAS that tells"
