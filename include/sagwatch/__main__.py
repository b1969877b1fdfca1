"""`python -m sagwatch ...`: everything that a DAG does, by hand."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagwatch.errors import BadInputError, NoCreditsError, SagwatchError, StopAndAskError, TryAgainError

if TYPE_CHECKING:
    from datetime import date

    from rich.progress import TaskID

    from sagwatch.adapters.database.ledger import Ledger
    from sagwatch.domain.site import Site, Track

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


def _site(name: str) -> Site:
    from sagwatch.orchestration import wiring

    return wiring.site(name)


def _tracks(site: Site, name: str | None) -> tuple[Track, ...]:
    """The track of that name; all without one."""
    try:
        return site.tracks if name is None else (site.track(name),)
    except KeyError as problem:
        raise BadInputError(problem.args[0]) from None


def check_sites(_: argparse.Namespace) -> None:
    from sagwatch.adapters.site_files import load_sites
    from sagwatch.settings import PathSettings

    folder = PathSettings().sites
    sites, problems = load_sites(folder)
    for site in sites.values():
        print(f"{site.name}: {site.title}; tracks {', '.join(track.name for track in site.tracks)}")
    if problems:
        raise BadInputError("\n".join(str(problem) for problem in problems))
    print(f"{len(sites)} site files in {folder}, all in order")


def check_cloud(wish: argparse.Namespace) -> None:
    from sagwatch.adapters.asf import AsfCatalogue
    from sagwatch.adapters.clock import SystemClock
    from sagwatch.adapters.hyp3 import Hyp3Cloud
    from sagwatch.steps.check_cloud import check_cloud

    cloud = Hyp3Cloud(
        token=os.environ.get("EARTHDATA_TOKEN"),
        username=os.environ.get("EARTHDATA_USERNAME"),
        password=os.environ.get("EARTHDATA_PASSWORD"),
    )
    site = _site(wish.site)
    for track in _tracks(site, wish.track):
        for line in check_cloud(site, track, AsfCatalogue(), cloud, SystemClock().now()):
            print(line)


def watch(wish: argparse.Namespace) -> None:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from sagwatch.orchestration import wiring
    from sagwatch.steps.watch_track import Tools, watch_track

    site = _site(wish.site)
    tools = Tools(
        wiring.ledger(),
        wiring.catalogue(),
        wiring.cloud(),
        wiring.clock(),
        wiring.data_folder(),
        wiring.weather_store,
    )
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        for track in site.tracks:
            bar = progress.add_task(track.id, total=None)

            def show(step: str, bar: TaskID = bar, track_id: str = track.id) -> None:
                progress.update(bar, description=f"{track_id} {step}")

            published = watch_track(site, track, tools, wiring.poll_seconds(), wish.patience * 60.0, show)
            end = (
                "nothing new"
                if published is None
                else f"revision {published.number}, {published.events} events"
            )
            progress.update(bar, description=f"{track.id} {end}", total=1, completed=1)


def fetch_weather(wish: argparse.Namespace) -> None:
    from sagwatch.orchestration import wiring
    from sagwatch.steps.fetch_weather import fetch_weather

    site = _site(wish.site)
    if not site.corrections.troposphere.is_fetched:
        print(f"{site.name}: method {site.corrections.troposphere.method} fetches no weather")
    stopped = []
    for track in _tracks(site, wish.track):
        done = fetch_weather(
            site, track, wiring.weather_store, wiring.ledger(), wiring.data_folder(), wiring.clock().now()
        )
        print(f"{track.id}: {done}")
        stopped += [done.stopped] if done.stopped else []
    if stopped:
        raise StopAndAskError(stopped[0])


def rank_places(wish: argparse.Namespace) -> None:
    from sagwatch.orchestration import wiring
    from sagwatch.steps.rank_references import rank_references, ranked_places
    from sagwatch.steps.stack_members import track_store

    site, ledger = _site(wish.site), open_ledger()
    (track,) = _tracks(site, wish.track)
    store = track_store(track, wiring.data_folder())
    # Those that the present reference leaves out are in the stack of another.
    members = ledger.network.with_or_without_reference(track.id)
    if not members:
        raise BadInputError(f"{track.id} has no interferogram yet")
    candidates = rank_references(site, track, store, members)
    places = ranked_places(candidates, store.grid)
    ledger.network.note_candidates(track.id, places, wiring.clock().now())
    for place, candidate in zip(places, candidates, strict=True):
        print(f"{place.rank:3}  {place.latitude:.5f}, {place.longitude:.5f}  {candidate.reason}")


def move_reference(wish: argparse.Namespace) -> None:
    import getpass

    from sagwatch.orchestration import wiring
    from sagwatch.steps.re_reference import re_reference

    if (wish.latitude is None) != (wish.longitude is None):
        raise BadInputError("--latitude and --longitude go together")
    site = _site(wish.site)
    (track,) = _tracks(site, wish.track)
    moved = re_reference(
        site,
        track,
        open_ledger(),
        wiring.data_folder(),
        wiring.clock().now(),
        who=wish.who or getpass.getuser(),
        why=wish.why,
        place=None if wish.latitude is None else (wish.latitude, wish.longitude),
        rank=wish.rank,
    )
    print(
        f"{track.id}: the reference point moved from {moved.old[0]:.5f}, {moved.old[1]:.5f} to {moved.new[0]:.5f}, "
        f"{moved.new[1]:.5f}; it has phase in {moved.seen} of {moved.of} interferograms. The next run solves anew"
    )


def deliver(_: argparse.Namespace) -> None:
    from sagwatch.orchestration import wiring
    from sagwatch.steps.deliver_messages import deliver_messages

    done = deliver_messages(wiring.ledger(), wiring.messengers(), wiring.clock().now())
    print(f"{done.sent} sent, {done.waiting} wait, {done.refused} refused")


def audit(wish: argparse.Namespace) -> None:
    from sagwatch.orchestration import wiring
    from sagwatch.steps.audit_track import audit_track, sample_of

    site, as_of = _site(wish.site), wiring.clock().now()
    given = {"pixels": wish.sample, "seed": wish.seed}
    rules = site.audit.model_copy(update={key: value for key, value in given.items() if value is not None})
    sample = None if wish.all else sample_of(rules, as_of)
    for track in site.tracks:
        found = audit_track(track, open_ledger(), wiring.data_folder(), as_of, sample)
        print(f"{track.id}: {'nothing is published' if found is None else 'equals MintPy'}")
        if found is not None:
            print(found.differences.table())


def backtest(wish: argparse.Namespace) -> None:
    from rich.progress import Progress

    from sagwatch.adapters.site_files import read_rules
    from sagwatch.domain.mine import Mine
    from sagwatch.engine.revision import read_revision
    from sagwatch.settings import PathSettings
    from sagwatch.steps.backtest import backtest, draw, report
    from sagwatch.steps.publish_revision import solutions
    from sagwatch.steps.stack_members import track_store

    site = _site(wish.site)
    rules = read_rules(Path(wish.rules)) if wish.rules else site.alerts
    tracks, folder = _tracks(site, wish.track), Path(wish.picture).parent
    if not folder.is_dir():
        raise BadInputError(f"{folder}: there is no such folder; --picture says where the curves go")
    ledger, data = open_ledger(), PathSettings().data
    for track in tracks:
        head = ledger.revisions.head(track.id)
        if head is None:
            print(f"{track.id}: nothing is published yet")
            continue
        revision = read_revision(data / head.folder)
        with Progress() as progress:
            bar = progress.add_task(track.id, total=len(revision.epochs) - 1)

            def step(_: date, progress: Progress = progress, bar: TaskID = bar) -> None:
                progress.advance(bar)

            outcomes = backtest(
                track.id,
                revision.grid,
                rules,
                site.inversion.min_temporal_coherence,
                revision.epochs[1:],
                solutions(site, track, track_store(track, data), revision),
                Mine.of(site, revision.grid),
                on_epoch=step,
            )
        print("\n".join([track.id, *report(outcomes)]))
        print(draw(outcomes, f"{site.title}, {track.name}", Path(f"{wish.picture}-{track.name}.png")))


def health(_: argparse.Namespace) -> None:
    from sagwatch.orchestration import wiring
    from sagwatch.steps.check_health import check_health

    print(f"{check_health(wiring.ledger(), wiring.clock().now())} new findings; see analyst.operations")


def check_stack(wish: argparse.Namespace) -> None:
    from sagwatch.engine.checks import refuse
    from sagwatch.orchestration import wiring
    from sagwatch.steps.check_stack import check_stack

    site, found = _site(wish.site), []
    for track in site.tracks:
        of_track = check_stack(site, track, open_ledger(), wiring.data_folder())
        for finding in of_track:
            print(f"{track.id}: {finding}")
        if not of_track:
            print(f"{track.id}: nothing stands in the way")
        found += of_track
    refuse(found)


def export_mintpy(wish: argparse.Namespace) -> None:
    from sagwatch.engine.mintpy_programs import export_mintpy
    from sagwatch.settings import PathSettings

    (track,) = _tracks(_site(wish.site), wish.track)
    ledger = open_ledger()
    head = ledger.revisions.head(track.id)
    if head is None:
        raise BadInputError(f"nothing of {track.id} is published yet")
    print(export_mintpy(PathSettings().data / head.folder, Path(wish.target)))


def site_from_products(wish: argparse.Namespace) -> None:
    from sagwatch.steps.site_from_products import site_from_products

    print(site_from_products(Path(wish.folder), wish.name), end="")


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", nargs="?", help="one site; all that are not archived where it is left out")
    parser.add_argument("--json", action="store_true", help="for programs: an object (one site) or a list")


def _site_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site")


def _watch_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument(
        "--patience", type=float, default=300, metavar="MINUTES", help="wait for jobs at most so long"
    )


def _check_cloud_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument("--track", help="one track; all where it is left out")


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--sample", type=int, metavar="N", help="compare N pixels drawn by chance")
    much.add_argument(
        "--all", action="store_true", help="compare all, whatever the site file says (key audit)"
    )
    parser.add_argument("--seed", type=int, help="of the sample; the same seed draws the same pixels")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument("track")
    parser.add_argument("target", help="a folder that does not exist yet")


def _track_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument("track")


def _reference_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument("track")
    parser.add_argument("--latitude", type=float, help="of the new reference point, degrees")
    parser.add_argument("--longitude", type=float)
    parser.add_argument("--rank", type=int, metavar="N", help="or its rank in the view analyst.stable_points")
    parser.add_argument("--why", required=True, help="kept with the act")
    parser.add_argument("--who", help="who decided it; the login name if left out")


def _backtest_arguments(parser: argparse.ArgumentParser) -> None:
    _site_argument(parser)
    parser.add_argument(
        "--rules", help="a file of rules, as under `alerts` in a site file; the site's own if left out"
    )
    parser.add_argument("--track", help="one track; all where it is left out")
    parser.add_argument("--picture", default="backtest", help="where the curves go: PICTURE-<track>.png")


def _products_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder of HyP3 zips of one track")
    parser.add_argument("--name", required=True, help="the new site's name")


COMMANDS: tuple[Command, ...] = (
    Command(
        "migrate",
        "bring the ledger up to this code; SAGWATCH_<LOADER|SENDER|WEB|ANALYST>_PASSWORD give logins",
        lambda _: None,
        migrate,
    ),
    Command("check-sites", "read every site file and say what is wrong with it", lambda _: None, check_sites),
    Command(
        "check-cloud",
        "try the real catalogue and HyP3 without ordering (EARTHDATA_TOKEN, or EARTHDATA_USERNAME and _PASSWORD)",
        _check_cloud_arguments,
        check_cloud,
    ),
    Command(
        "site-from-products",
        "write a site file for a folder of HyP3 zips",
        _products_arguments,
        site_from_products,
    ),
    Command("watch", "what one run of a site's DAG does, here and now", _watch_arguments, watch),
    Command(
        "check-stack",
        "what forbids to solve a site's stacks, or should be known before; docs/checks.md lists the numbers",
        _site_argument,
        check_stack,
    ),
    Command(
        "fetch-weather",
        "the tropospheric delays that a site's acquisitions lack, here and now; they are applied by the next update",
        _check_cloud_arguments,
        fetch_weather,
    ),
    Command(
        "rank-references",
        "rank the places fit to be a track's reference point by all interferograms so far; moves nothing",
        _track_arguments,
        rank_places,
    ),
    Command(
        "re-reference",
        "move a track's reference point; recorded, and the next run solves the track anew",
        _reference_arguments,
        move_reference,
    ),
    Command("deliver", "send what waits in the outbox", lambda _: None, deliver),
    Command(
        "audit", "check the published files, and their numbers against MintPy's", _audit_arguments, audit
    ),
    Command(
        "backtest",
        "what a set of rules would have told about the archive: alerts, delays, chatter, and a curve as a picture",
        _backtest_arguments,
        backtest,
    ),
    Command("health", "rule R8 about the pipeline, here and now", lambda _: None, health),
    Command(
        "export-mintpy",
        "a self-contained MintPy folder that may be changed",
        _export_arguments,
        export_mintpy,
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
