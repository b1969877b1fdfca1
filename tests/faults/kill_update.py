"""Kill the making of a revision at random moments: what readers find is the old one or the new one, never a mixture.

`make kill-update [KILLS=n] [SEED=n]`, or `python -m tests.faults.kill_update --kills 50`: the long loop. The suite runs
a few (`test_kill_update.py`).

A process updates a track of 36 acquisitions by two more and is killed (SIGKILL) after a time drawn by chance between
nothing and a little more than it needs. Then every revision that is there must be whole to the last hash. Now and then
the next update is let through: it must give the answer of a batch, and clear half-made folders away; shared files that
no revision names go when the next revision is retired.
"""

from __future__ import annotations

import argparse
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sagwatch.domain.grid import Grid
from sagwatch.engine.files import ASIDE
from sagwatch.engine.manifest import ReferencePoint, RevisionSettings, read_manifest, verify
from sagwatch.engine.revision import read_revision, revision_folders
from sagwatch.engine.window import Effort
from tests.engine.invented_ground import Invented, invent_stack

ROOT = Path(__file__).resolve().parents[2]
GRID = Grid(epsg=32649, west=478880.0, north=4139040.0, pixel_m=80.0, columns=60, rows=60)
SETTINGS = RevisionSettings(range_looks=20, azimuth_looks=4)
EFFORT = Effort(block_epochs=5, threads=2)
#: Every so many kills an update is let through.
EVERY = 10


def build(track: Invented, number: int, before_last: int = 0, *, from_scratch: bool = False) -> Path:
    """Solve all acquisitions but the last few."""
    newest = track.dates[len(track.dates) - 1 - before_last]
    members = [member for member in track.members if member.secondary <= newest]
    point = ReferencePoint(*track.reference)
    return track.store.build_revision(number, members, SETTINGS, point, EFFORT, from_scratch=from_scratch)


@dataclass
class Victim:
    """A process that makes revision 2 as soon as it is told to."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, pickled: Path) -> Victim:
        command = [sys.executable, "-m", "tests.faults.kill_update", "--victim", str(pickled)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return cls(process)

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def be_the_victim(pickled: Path) -> None:
    """Warm up on a copy of the work that is thrown away, then wait for the word."""
    track: Invented = pickle.loads(pickled.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        warm = invent_stack(Path(folder) / "track", n_epochs=24, grid=replace(GRID, columns=8, rows=8))
        build(warm, 1, before_last=2)
        build(warm, 2)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    build(track, 2)
    sys.stdout.write("done\n")
    sys.stdout.flush()


def how_long(pickled: Path, track: Invented) -> float:
    """Seconds that the update takes when nobody disturbs it."""
    victim = Victim.start(pickled)
    began = time.monotonic()
    victim.begin()
    assert victim.process.stdout is not None
    assert victim.process.stdout.readline() == "done\n"
    seconds = time.monotonic() - began
    victim.end()
    track.store.delete_revision(revision_folders(track.store.revisions)[-1].name)
    return seconds


def check_whole(track: Invented) -> str:
    """Every revision is whole; return which is the newest."""
    folders = revision_folders(track.store.revisions)
    assert [read_manifest(folder).number for folder in folders] in ([1], [1, 2])
    for folder in folders:
        verify(folder)
        read_revision(folder)
    return "new" if len(folders) == 2 else "old"


def leftovers(track: Invented) -> list[str]:
    """Half-made folders, and shared files that no revision names."""
    store = track.store
    named = {one.name for folder in revision_folders(store.revisions) for one in read_manifest(folder).shared}
    files = [path for kind in ("series", "checkpoints") for path in (store.folder / kind).glob("*")]
    unnamed = [path.name for path in files if f"{path.parent.name}/{path.name}" not in named]
    return [path.name for path in store.revisions.iterdir() if path.name.startswith(ASIDE)] + unnamed


def check_answer(track: Invented, batch_m: np.ndarray) -> None:
    """The next update clears half-made folders away and gives the right answer; retiring it clears the rest."""
    revision = build(track, 2)
    verify(revision)
    assert not [name for name in leftovers(track) if name.startswith(ASIDE)]
    np.testing.assert_allclose(read_revision(revision).los_m() * 1000, batch_m * 1000, rtol=0, atol=1e-3)
    track.store.delete_revision(revision.name)
    assert leftovers(track) == []


def run(kills: int, seed: int, folder: Path, every: int = EVERY) -> Counter[str]:
    """Kill so many updates; count what was found."""
    chance = random.Random(seed)
    track = invent_stack(folder / "track", n_epochs=36, grid=GRID, gaps=0.08)
    build(track, 1, before_last=2)
    batch = build(track, 3, from_scratch=True)
    batch_m = read_revision(batch).los_m()
    track.store.delete_revision(batch.name)
    pickled = folder / "track.pickle"
    pickled.write_bytes(pickle.dumps(track))
    longest = 1.3 * how_long(pickled, track)
    found: Counter[str] = Counter()
    for number in range(1, kills + 1):
        victim = Victim.start(pickled)
        victim.begin()
        time.sleep(chance.uniform(0.0, longest))
        victim.end()
        state = check_whole(track)
        found[state] += 1
        found["with leftovers"] += bool(leftovers(track))
        if state == "new":
            track.store.delete_revision(revision_folders(track.store.revisions)[-1].name)
        if number % every == 0 or number == kills:
            check_answer(track, batch_m)
            found["right answers after"] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victim", type=Path, help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.victim:
        be_the_victim(wish.victim)
        return 0
    with tempfile.TemporaryDirectory(prefix="sagwatch-kills-") as folder:
        found = run(wish.kills, wish.seed, Path(folder))
    counts = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
    sys.stdout.write(f"{wish.kills} kills: {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
