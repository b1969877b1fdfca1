"""Processes that outlive the launcher: start them, know them again, stop them.

A process is known by its id *and* its start time, so a recycled id is never killed. Whatever our services
leave behind when they die by SIGKILL is found by the instance's mark in its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.layout import LauncherError, write_json

MARK = "SAGWATCH_INSTANCE"
LARGEST_LOG_BYTES = 20_000_000  # then it is put aside at the next start


@dataclass(frozen=True)
class Service:
    """A program that runs in the background; its name is the name of its log and pid file."""

    name: str
    command: Sequence[str]
    extra: Mapping[str, str] = field(default_factory=dict)


def started_at(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is no such live process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def working_in(folder: Path) -> list[int]:
    """Processes whose working directory is this folder, as is every PostgreSQL process's its data."""
    return [pid for pid in all_pids() if _working_directory(pid) == folder and started_at(pid) is not None]


def _working_directory(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:  # gone meanwhile, or another user's
        return None


def marked(instance: str) -> list[int]:
    """Live processes that carry this instance's mark, children of killed services among them."""
    needle = f"{MARK}={instance}".encode()
    return [pid for pid in all_pids() if needle in _environment(pid) and started_at(pid) is not None]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or another user's
        return []


def start(service: Service, environment: Mapping[str, str], run: Path, log: Path, cwd: Path) -> None:
    """Start a service in a session of its own, unless it is running already."""
    if running_pid(service.name, run) is not None:
        return
    path = log / f"{service.name}.log"
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab") as stream:
        process = subprocess.Popen(
            list(service.command),
            env={**environment, **service.extra},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    write_json(run / f"{service.name}.pid", {"pid": process.pid, "started": started_at(process.pid)})


def running_pid(name: str, run: Path) -> int | None:
    """The id of a service that was started earlier and still lives."""
    return running_pid_of(run / f"{name}.pid")


def running_pid_of(note: Path) -> int | None:
    """The id in such a note ({"pid", "started"}), if that very process still lives."""
    if not note.exists():
        return None
    known = json.loads(note.read_text())
    alive = known["started"] is not None and started_at(known["pid"]) == known["started"]
    return int(known["pid"]) if alive else None


def check_alive(names: Iterable[str], run: Path, log: Path) -> None:
    """Raise with the end of its log if one of the services has died."""
    for name in names:
        if running_pid(name, run) is None:
            raise LauncherError(
                f"{name} has stopped by itself; the end of {log / name}.log:\n{tail(log / f'{name}.log')}"
            )


def tail(path: Path, lines: int = 15) -> str:
    if not path.exists():
        return "  (no log)"
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 16384))
        text = stream.read().decode(errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


def stop(names: Iterable[str], run: Path, patience_seconds: float = 20) -> None:
    """Ask the named parents to end, and wait.

    Only the parents: a signal to the whole group leaves Airflow's scheduler waiting for workers that died
    holding a semaphore. Whoever does not end is left to `sweep`.
    """
    pids = {name: pid for name in names if (pid := running_pid(name, run)) is not None}
    for pid in pids.values():
        send(pid, signal.SIGTERM)
    wait_for_end(pids.values(), patience_seconds)
    for name in names:
        (run / f"{name}.pid").unlink(missing_ok=True)


def sweep(instance: str) -> int:
    """End whatever still carries the mark; return how many that were. Never the caller itself."""
    victims = [pid for pid in marked(instance) if pid != os.getpid()]
    for pid in victims:
        send(pid, signal.SIGKILL)
    wait_for_end(victims, 5)
    return len(victims)


def wait_for_end(pids: Iterable[int], patience_seconds: float) -> bool:
    deadline = time.monotonic() + patience_seconds
    waiting = list(pids)
    while waiting := [pid for pid in waiting if not _has_ended(pid)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # bury it if it is our child
    return started_at(pid) is None


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
