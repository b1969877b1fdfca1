"""Kill everything at random moments, and compare the end with a run that nobody disturbed.

`make kill-test [ROUNDS=n SEED=n]`, or `python -m tests.faults --rounds 3 --seed 1 --kills 20`: the long loop. The suite
runs a short form of the same (`test_kill.py`).

One round lets the small mine of the tests live through a first fill and some live acquisitions while the watching
process, the simulated cloud and the PostgreSQL server are killed (SIGKILL) and started again. The moments are seeded
and spread over all stages and steps: "0.3 s after fetch_product began at the third live acquisition". Afterwards the
fingerprint of the ledger and the cloud's own books must equal those of the undisturbed run, and after one daily
maintenance nothing half made may lie about. Three rounds of 20 kills take five to ten minutes. The exit code is 0
where all agree.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from launcher.cluster import Cluster, temporary_cluster
from sagwatch.adapters.database.migrate import migrate
from tests.faults.play import LIVE, VICTIMS, Crew, Outcome, Play

STEPS = (
    "detect_scenes",
    "plan_pairs",
    "submit_jobs",
    "wait_for_jobs",
    "fetch_product",
    "update_stack",
    "publish_revision",
    "deliver_messages",
)
#: How often each victim is chosen; the database only where it is the play's own.
WEIGHTS = (7, 2, 1, 2)
LONGEST_DELAY_SECONDS = 0.7
#: Of what is said about a round that did not end as it should.
MOST_LINES, LONGEST_LINE = 30, 300


@dataclass(frozen=True)
class Moment:
    """When somebody dies: so many seconds after a step began, at that stage or a later one."""

    stage: int
    step: str
    delay_seconds: float
    victim: str

    def __lt__(self, other: Moment) -> bool:
        return (self.stage, STEPS.index(self.step)) < (other.stage, STEPS.index(other.step))


def random_moments(seed: int, count: int, stages: int, database_too: bool = False) -> list[Moment]:
    """Moments in the order in which a worker comes to them; the first fill is stage 0."""
    rng = random.Random(seed)
    weights = WEIGHTS if database_too else (*WEIGHTS[:-1], 0)
    moments = [
        Moment(
            stage=rng.randrange(stages),
            step=rng.choice(STEPS),
            delay_seconds=rng.uniform(0, LONGEST_DELAY_SECONDS),
            victim=rng.choices(VICTIMS, weights)[0],
        )
        for _ in range(count)
    ]
    return sorted(moments)


class Killer:
    """Kills at the given moments; a `Disturber`."""

    def __init__(self, moments: Iterable[Moment]) -> None:
        self._ahead = list(moments)
        self.killed: list[Moment] = []

    def watch(self, crew: Crew) -> None:
        """Where the worker has come to the next moment, wait out its delay and kill."""
        crew.worker.join(0.01)
        if not self._ahead or not any(self._is_time(*words) for words in crew.heard()):
            return
        moment = self._ahead[0]
        crew.worker.join(moment.delay_seconds)
        if crew.worker.exitcode is not None:
            return  # it has finished, or failed by itself
        self._ahead.pop(0)
        crew.kill(moment.victim)
        self.killed.append(moment)

    def _is_time(self, stage: int, step: str) -> bool:
        return stage >= self._ahead[0].stage and step == self._ahead[0].step


@contextmanager
def new_ledger(cluster: Cluster, name: str) -> Iterator[str]:
    """Address of a migrated, empty ledger on a server of our own."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(cluster.url(name))
    yield cluster.url(name)


def long_loop(rounds: int, seed: int, kills: int, folder: Path) -> int:
    """Perform undisturbed once, then disturbed as often as asked; say what comes out, return how many rounds failed."""
    failed = 0
    with temporary_cluster() as cluster:
        with new_ledger(cluster, "undisturbed") as url:
            undisturbed = Play(folder / "undisturbed", url).perform()
        _say(f"undisturbed: {undisturbed.seconds:.0f} s; {in_short(undisturbed)}")
        for number in range(seed, seed + rounds):
            with new_ledger(cluster, f"seed_{number}") as url:
                killer = Killer(random_moments(number, kills, LIVE + 1, database_too=True))
                outcome = Play(folder / f"seed_{number}", url, cluster).perform(killer)
            complaints = outcome.complaints(undisturbed)
            failed += bool(complaints)
            _say(f"seed {number}: {outcome.seconds:.0f} s; {_kills_in_short(killer.killed)}")
            _say("  NOT EQUAL:" if complaints else "  equal to the undisturbed run, nothing left over")
            for line in complaints[:MOST_LINES]:
                _say(f"    {line[:LONGEST_LINE]}")
            if len(complaints) > MOST_LINES:
                _say(f"    and {len(complaints) - MOST_LINES} more")
    _say(f"{rounds - failed} of {rounds} rounds ended as if nothing had happened")
    return failed


def in_short(outcome: Outcome) -> str:
    found = outcome.fingerprint
    return (
        f"{len(found['acquisitions'])} acquisitions, {len(found['jobs'])} jobs, {found['points']['count']} points, "
        f"{len(found['alert_events'])} alert events, {len(found['messages'])} messages"
    )


def _kills_in_short(killed: Sequence[Moment]) -> str:
    def counted(names: Iterable[str]) -> str:
        return ", ".join(f"{name} {count}x" for name, count in Counter(names).most_common())

    who = counted(moment.victim for moment in killed)
    where = counted(moment.step for moment in killed)
    return f"{len(killed)} kills\n  who: {who}\n  in or after: {where}"


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first round; the next has the next number"
    )
    parser.add_argument("--kills", type=int, default=20, help="in each round")
    wish = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="sagwatch-kill-loop-"))
    failed = long_loop(wish.rounds, wish.seed, wish.kills, folder)
    if failed:
        _say(f"files and logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return min(failed, 1)
