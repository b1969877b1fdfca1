"""`python -m sagwatch ...`: everything that a DAG does, by hand."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagwatch.errors import BadInputError, NoCreditsError, SagwatchError, StopAndAskError, TryAgainError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

#: What the shell gets, by kind of error (sysexits.h: usage, temporary failure, no permission).
EXIT_CODES: tuple[tuple[type[SagwatchError], int], ...] = (
    (BadInputError, 64),
    (TryAgainError, 75),
    (NoCreditsError, 75),
    (StopAndAskError, 77),
    (SagwatchError, 1),
)


@dataclass(frozen=True)
class Command:
    """One word of the command line; heavy imports wait inside `run`."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], None]


def database_url() -> str:
    """Address of the ledger from the environment."""
    url = os.environ.get("SAGWATCH_DATABASE_URL", "")
    if not url:
        raise BadInputError("set SAGWATCH_DATABASE_URL to postgresql://user:password@host:port/database")
    return url


def open_ledger() -> Ledger:
    from sagwatch.adapters.database.ledger import Ledger

    return Ledger(database_url())


def migrate(_: argparse.Namespace) -> None:
    from sagwatch.adapters.database.migrate import LOGIN_ROLES, migrate

    given = {name: os.environ.get(f"SAGWATCH_{name.upper()}_PASSWORD", "") for name in LOGIN_ROLES}
    version = migrate(database_url(), {name: password for name, password in given.items() if password})
    print(f"the ledger is at version {version}")


def status(wish: argparse.Namespace) -> None:
    from sagwatch.adapters.database.status import read_status

    found = [one.as_dict() for one in read_status(open_ledger(), wish.site)]
    if wish.json:
        print(json.dumps(found[0] if wish.site else found, default=str, indent=1))
        return
    for one in found:
        print(f"{one.pop('site')}")
        for key, value in one.items():
            print(f"  {key.replace('_', ' '):<24}{'-' if value is None else value}")


def fingerprint(wish: argparse.Namespace) -> None:
    from sagwatch.adapters.database.fingerprint import fingerprint

    print(json.dumps(fingerprint(open_ledger(), wish.site), indent=1))


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", nargs="?", help="one site; all that are not archived where it is left out")
    parser.add_argument("--json", action="store_true", help="for programs: an object (one site) or a list")


COMMANDS: tuple[Command, ...] = (
    Command(
        "migrate",
        "bring the ledger up to this code; SAGWATCH_<LOADER|SENDER|WEB|ANALYST>_PASSWORD give logins",
        lambda _: None,
        migrate,
    ),
    Command("status", "what there is, in numbers", _status_arguments, status),
    Command(
        "fingerprint",
        "the end state of a site as JSON; equal for runs over the same ground, however often they were killed",
        lambda parser: parser.add_argument("site"),
        fingerprint,
    ),
)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; an error of ours becomes one clear line and an exit code."""
    parser = argparse.ArgumentParser(prog="python -m sagwatch", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        one = commands.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(one)
        one.set_defaults(run=command.run)
    wish = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        wish.run(wish)
    except SagwatchError as problem:
        print(f"sagwatch {wish.command}: {problem}", file=sys.stderr)
        return next(code for kind, code in EXIT_CODES if isinstance(problem, kind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
