"""The real `make run`, killed in the middle: `python -m tests.faults.kill_make_run [--kills 3] [--seed 1] [--more n]`.

Two fresh clones of the last commit. In the first, `make run DETACH=1` runs through undisturbed. In the second, every
process of it (make, the launcher, Airflow with all its children, the simulated cloud, PostgreSQL) gets SIGKILL at
seeded random moments of the rehearsal, and `make run DETACH=1` is said again. When both have come to their end and no
message waits any more, the fingerprints of the ledgers and the books of the clouds must be equal.

The clones share this checkout's `.venv` where it is what the lock says; else each installs its own. It takes two
rehearsals and some minutes more: a killed sender's messages wait five minutes until they may go again. The exit code
is 0 where all agree.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import process
from launcher.install import STAMP
from launcher.layout import ROOT, Layout
from tests.faults.play import Outcome, read_books

SITE = "shaqu"
HEADLINE = "Simulated time runs"
RUN_WITHIN_SECONDS = 3600
#: A message whose sender was killed is free again after five minutes, and its DAG looks every five.
SENT_WITHIN_SECONDS = 1200
LONGEST_DELAY_SECONDS = 15.0
MOST_LINES, LONGEST_LINE = 40, 300


@dataclass
class Clone:
    """A fresh clone and what runs in it."""

    folder: Path
    lives: int = 0
    _make: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def make(self) -> None:
        """Clone the last commit of this checkout."""
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.folder)], check=True)
        own, lock = ROOT / ".venv", self.folder / "requirements.lock"
        stamp = own / STAMP
        if stamp.exists() and stamp.read_text() == hashlib.sha256(lock.read_bytes()).hexdigest():
            (self.folder / ".venv").symlink_to(own.resolve())

    @property
    def layout(self) -> Layout:
        return Layout(self.folder, SITE)

    @property
    def log(self) -> Path:
        """What this life of `make run` says."""
        return self.folder.with_name(f"{self.folder.name}-{self.lives}.log")

    @property
    def stages_done(self) -> int:
        note = self.layout.home / "rehearsal.json"
        return len(json.loads(note.read_text())) if note.exists() else 0

    def begin(self, more: int) -> None:
        """Say `make run DETACH=1`."""
        self.lives += 1
        with self.log.open("wb") as log:
            self._make = subprocess.Popen(
                ["make", "run", "DETACH=1", f"SITE={SITE}", f"MORE={more}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_own_environment(),
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        """Whether `make run` has returned; raises where it failed."""
        assert self._make is not None
        code = self._make.poll()
        if code not in (None, 0):
            raise RuntimeError(
                f"make run ended with {code}; {self.log} ends:\n{self.log.read_text()[-3000:]}"
            )
        return code == 0

    def wait(self) -> None:
        deadline = time.monotonic() + RUN_WITHIN_SECONDS
        while not self.has_ended():
            if time.monotonic() > deadline:
                raise TimeoutError(f"make run does not end; see {self.log}")
            time.sleep(0.5)

    def reaches(self, stages: int) -> bool:
        """Wait until the rehearsal runs and so many of its stages are done; false if it ends before."""
        deadline = time.monotonic() + RUN_WITHIN_SECONDS
        while HEADLINE not in self.log.read_text() or self.stages_done < stages:
            if self.has_ended():
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"the rehearsal does not come to stage {stages}; see {self.log}")
            time.sleep(0.2)
        return True

    def kill(self) -> int:
        """SIGKILL to everything that belongs to it; returns how many processes that were."""
        assert self._make is not None
        doomed: set[int] = set()
        while alive := self._processes():
            doomed |= alive
            for pid in alive:
                process.send(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._make.wait()
        return len(doomed)

    def _processes(self) -> set[int]:
        assert self._make is not None
        secrets = json.loads((self.layout.home / "secrets.json").read_text())
        note = self.layout.home / "postgres-folder"
        postgres = Path(note.read_text()) if note.exists() else self.layout.home / "postgres"
        found = {*process.marked(secrets["instance"]), *process.working_in(postgres / "data")}
        ours = [pid for pid in process.all_pids() if _session_of(pid) == self._make.pid]
        return found | {pid for pid in ours if process.started_at(pid) is not None}

    def outcome(self, began: float) -> Outcome:
        """Wait until the outbox is empty, and look at what there is."""
        deadline = time.monotonic() + SENT_WITHIN_SECONDS
        found = self._fingerprint()
        while any(one["state"] in ("waiting", "sending") for one in found["messages"]):
            if time.monotonic() > deadline:
                break  # it will be told as a difference
            time.sleep(10)
            found = self._fingerprint()
        port = json.loads((self.layout.home / "ports.json").read_text())["cloud"]
        return Outcome(found, read_books(f"http://127.0.0.1:{port}"), [], time.monotonic() - began)

    def _fingerprint(self) -> dict[str, Any]:
        words = f". var/{SITE}/environment && exec .venv/bin/python -m sagwatch fingerprint {SITE}"
        done = subprocess.run(
            ["sh", "-c", words], cwd=self.folder, env=_own_environment(), capture_output=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def end(self) -> None:
        """Stop everything and delete all files but the logs."""
        if self.layout.log.is_dir():
            shutil.copytree(
                self.layout.log, self.folder.with_name(f"{self.folder.name}-log"), dirs_exist_ok=True
            )
        subprocess.run(["make", "clean"], cwd=self.folder, env=_own_environment(), check=False)
        shutil.rmtree(self.folder)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _own_environment() -> dict[str, str]:
    """Without what this checkout told Python and make about itself."""
    astray = ("PYTHON", "SAGWATCH_", "AIRFLOW", "MAKE", "MFLAGS", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(astray)}


def run_undisturbed(folder: Path, more: int) -> Outcome:
    began = time.monotonic()
    clone = Clone(folder)
    clone.make()
    try:
        clone.begin(more)
        clone.wait()
        return clone.outcome(began)
    finally:
        clone.end()


def run_killed(folder: Path, more: int, kills: int, seed: int) -> Outcome:
    """Kill at the seeded stages, so many seconds into each, and go on."""
    began = time.monotonic()
    rng = random.Random(seed)
    stages = sorted(rng.sample(range(10 + more), kills))
    clone = Clone(folder)
    clone.make()
    try:
        clone.begin(more)
        for stage in stages:
            delay_seconds = rng.uniform(0, LONGEST_DELAY_SECONDS)
            if not clone.reaches(stage):
                break
            time.sleep(delay_seconds)
            done = clone.stages_done
            count = clone.kill()
            _say(
                f"killed {count} processes {delay_seconds:.1f} s after stage {stage} was done ({done} done now)"
            )
            clone.begin(more)
        clone.wait()
        return clone.outcome(began)
    finally:
        clone.end()


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def _in_short(outcome: Outcome) -> str:
    found = outcome.fingerprint
    return (
        f"{outcome.seconds:.0f} s, {len(found['acquisitions'])} acquisitions, {len(found['jobs'])} jobs, "
        f"{found['points']['count']} points, {len(found['alert_events'])} alert events, "
        f"{len(found['messages'])} messages"
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill_make_run", description=__doc__)
    parser.add_argument("--kills", type=int, default=3, choices=range(1, 11))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--more", type=int, default=0, help="live acquisitions beyond the usual ten")
    wish = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="sagwatch-kill-make-run-", dir="/var/tmp"))
    folder.chmod(0o711)  # user postgres must be able to pass through
    _say(f"logs are in {folder}")
    undisturbed = run_undisturbed(folder / "undisturbed", wish.more)
    _say(f"undisturbed: {_in_short(undisturbed)}")
    killed = run_killed(folder / "killed", wish.more, wish.kills, wish.seed)
    _say(f"killed: {_in_short(killed)}")
    complaints = killed.complaints(undisturbed)
    _say("NOT EQUAL:" if complaints else "equal: nothing lost, nothing twice")
    for line in complaints[:MOST_LINES]:
        _say(f"  {line[:LONGEST_LINE]}")
    return min(len(complaints), 1)


if __name__ == "__main__":
    sys.exit(main())
