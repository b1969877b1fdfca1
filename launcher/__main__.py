"""`python3 -m launcher run|stop|clean|test|status|psql|lock|lint|...`: what the Makefile calls."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from launcher import install, process, services
from launcher.cluster import find_binaries, remove_abandoned
from launcher.instance import Instance, Wish, given_database
from launcher.layout import ROOT, LauncherError, Layout, instances
from launcher.rehearsal import Rehearsal, site_status, summary
from launcher.web_client import WebError

Command = Callable[[argparse.Namespace], int]
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis")


def run(arguments: argparse.Namespace) -> int:
    """Install, start, rehearse; then stay until stopped."""
    began = time.monotonic()
    layout = Layout(ROOT, arguments.site)
    _check_site(layout)
    with _alone(layout):
        wish = Wish.remembered(layout, arguments.executor, arguments.products)
        _check_products(layout, wish)
        _say(began, "checking the machine")
        install.check_machine(ROOT, memory_too=not services.is_running(layout))
        own_database = given_database() is None
        install.ensure_system_packages(database=own_database, redis=wish.executor == "celery")
        install.ensure_environment(ROOT)
        _say(began, "compiling the solver (a minute at the first time)")
        install.compile_solver(ROOT)
        instance = services.prepare(layout, wish)
        try:
            _say(began, f"starting PostGIS, the simulated cloud and Airflow ({wish.executor} executor)")
            services.start(instance)
            _say(began, f"Airflow is up: {instance.airflow_url} (admin / {instance.secrets['admin']})")
            if not arguments.no_rehearsal:
                Rehearsal(instance, began).run(arguments.more)
                _say(began, f"monitor_{layout.site} has run through; this is what there is now:")
                print(summary(instance), flush=True)
            if arguments.detach:
                return 0
            _stay(instance)
        except KeyboardInterrupt:
            print("\nstopping ...", flush=True)
            services.stop_everything(layout)
    return 0


def _say(began: float, words: str) -> None:
    print(f"[{time.monotonic() - began:5.0f} s] {words}", flush=True)


def _check_site(layout: Layout) -> None:
    folder = ROOT / "include" / "sites" / "demonstration"
    if not (folder / f"{layout.site}.yaml").exists():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise LauncherError(
            f"there is no {folder / layout.site}.yaml: SITE is one of {known}, or write that file"
        )


def _check_products(layout: Layout, wish: Wish) -> None:
    scenario = ROOT / "include" / "sagwatch" / "simulation" / "scenarios" / f"{layout.site}.yaml"
    if wish.products is None and not scenario.exists():
        raise LauncherError(
            f"site {layout.site} has no simulated scenario: say `make run SITE={layout.site} PRODUCTS=FOLDER` "
            "with the folder of your HyP3 products"
        )


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """One `make run` per instance at a time; the lock falls with its process, however that ends."""
    layout.make_folders()
    with (layout.home / "lock").open("a+") as lock:
        if not _takes(lock):
            raise LauncherError(
                f"`make run` for {layout.site} is already at work in another terminal: use that one, or "
                "`make stop` first"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _stay(instance: Instance, most_revivals: int = 20) -> None:
    """Stay in the foreground; what dies by itself is started again, and said, but not for ever."""
    print("It stays up until you press Ctrl-C or say `make stop`.", flush=True)
    revived: list[str] = []
    while len(revived) < most_revivals:
        for name in services.revive(instance):
            print(f"{name} ended by itself and is started again", flush=True)
            revived.append(name)
        time.sleep(3)
    raise LauncherError(f"{revived[-1]} does not stay up; look into {instance.layout.log}")


def stop(_: argparse.Namespace) -> int:
    """Stop every instance of this checkout."""
    for layout in instances(ROOT):
        _end_foreground(layout)
        services.stop_everything(layout)
        print(f"{layout.site}: stopped")
    remove_abandoned()
    return 0


def _end_foreground(layout: Layout, patience_seconds: float = 60) -> None:
    """Ask a `make run` in another terminal to end, and wait until its lock falls."""
    path = layout.home / "lock"
    if not path.exists():
        return
    with path.open() as lock:
        if _takes(lock):
            return
        process.send(int(lock.read()), signal.SIGTERM)
        deadline = time.monotonic() + patience_seconds
        while not _takes(lock) and time.monotonic() < deadline:
            time.sleep(0.2)


def _takes(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clean(arguments: argparse.Namespace) -> int:
    """Stop everything and delete all that `make run` and `make test` made, the ledger included."""
    stop(arguments)
    for layout in instances(ROOT):
        services.remove_everything(layout)
    for name in ("var", ".venv", *CACHES):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for folder in [path for path in ROOT.rglob("__pycache__") if ".git" not in path.parts]:
        shutil.rmtree(folder, ignore_errors=True)
    print("nothing is left but the repository (packages that apt installed stay)")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Install what the tests need and run them; a running `make run` is left alone."""
    install.check_machine(ROOT)
    given = os.environ.get("SAGWATCH_TEST_DATABASE_URL")
    install.ensure_system_packages(database=given is None, redis=True, browser=True)
    install.ensure_environment(ROOT)
    install.compile_solver(ROOT)
    side_by_side = str(min(os.cpu_count() or 1, 4))
    return _python("-m", "pytest", "-q", "-n", side_by_side, "--dist", "loadfile", *arguments.words)


def status(arguments: argparse.Namespace) -> int:
    """Say what runs and what the ledger holds."""
    for layout in instances(ROOT):
        instance = services.find(layout)
        up = [s.name for s in instance.services() if process.running_pid(s.name, layout.run) is not None]
        print(f"{layout.site}: {', '.join(up) or 'nothing runs'}")
        if up:
            print(json.dumps(site_status(instance), indent=1) if arguments.json else summary(instance))
    return 0


def psql(arguments: argparse.Namespace) -> int:
    """Open SQL on the ledger, as the analyst who may only read, or as its owner."""
    instance = services.find(Layout(ROOT, arguments.site))
    url = instance.ledger_url if arguments.role == "owner" else instance.analyst_url
    binaries = find_binaries()
    program = binaries["psql"] if binaries else shutil.which("psql")
    if program is None:
        raise LauncherError("there is no psql here: apt-get install postgresql-client")
    words = ["-c", arguments.sql] if arguments.sql else []
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to psql
    password = urlsplit(url).password or ""
    environment = os.environ | {"PGPASSWORD": unquote(password)}  # command lines can be read by everybody
    return subprocess.run([program, url.replace(f":{password}@", "@"), *words], env=environment).returncode


def lock(arguments: argparse.Namespace) -> int:
    """Make requirements.lock from requirements.txt."""
    install.make_lock(ROOT, upgrade=arguments.upgrade)
    return 0


def lint(_: argparse.Namespace) -> int:
    """Style, types and import rules."""
    install.ensure_environment(ROOT)
    codes = [
        _python("-m", "ruff", "check"),
        _python("-m", "ruff", "format", "--check"),
        _python("-m", "mypy"),
        _python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),
    ]
    return max(codes)


def bench(arguments: argparse.Namespace) -> int:
    """Measure, and write the figures as JSON."""
    install.check_machine(ROOT)
    install.ensure_system_packages(database=True)
    install.ensure_environment(ROOT)
    words = ["--sizes", arguments.sizes] if arguments.sizes else []
    return _python("-m", "benchmarks", "--json", str(Path(arguments.file).resolve()), *words)


def bench_alerts(arguments: argparse.Namespace) -> int:
    """Score the alerts on simulated ground, and write the figures as JSON."""
    install.check_machine(ROOT)
    install.ensure_system_packages(database=True)
    install.ensure_environment(ROOT)
    words = ["--small"] if arguments.small else []
    words += ["--seed", str(arguments.seed), "--json", str(Path(arguments.file).resolve())]
    return _python("-m", "benchmarks.alerts", *words)


def bench_accuracy(arguments: argparse.Namespace) -> int:
    """Compare displacements and velocities with the truth of a simulated mine, beside MintPy's."""
    install.check_machine(ROOT)
    install.ensure_system_packages(database=False)
    install.ensure_environment(ROOT)
    words = ["--small"] if arguments.small else []
    words += ["--seed", str(arguments.seed), "--json", str(Path(arguments.file).resolve())]
    return _python("-m", "benchmarks.accuracy", *words)


def ten_years(arguments: argparse.Namespace) -> int:
    """Let a simulated mine live for ten years, and write what people would have been told."""
    install.check_machine(ROOT)
    install.ensure_system_packages(database=True)
    install.ensure_environment(ROOT)
    return _python("-m", "benchmarks.ten_years", "--folder", str(Path(arguments.folder).resolve()))


def bench_engine(arguments: argparse.Namespace) -> int:
    """Measure the engine beside MintPy and its peers, and write the figures as JSON."""
    return _bench("benchmarks.engine", arguments)


def bench_frame(arguments: argparse.Namespace) -> int:
    """Measure the engine on millions of pixels with bounded memory, and write the figures as JSON."""
    return _bench("benchmarks.frame", arguments)


def _bench(module: str, arguments: argparse.Namespace) -> int:
    install.check_machine(ROOT)
    install.ensure_system_packages(database=False)
    install.ensure_environment(ROOT)
    return _python("-m", module, "--json", str(Path(arguments.file).resolve()), *arguments.words)


def kill_test(arguments: argparse.Namespace) -> int:
    """Kill everything at random moments, many times, and compare the end with an undisturbed run."""
    install.check_machine(ROOT)
    install.ensure_system_packages(database=True)
    install.ensure_environment(ROOT)
    return _python("-m", "tests.faults", "--rounds", str(arguments.rounds), "--seed", str(arguments.seed))


def property_test(arguments: argparse.Namespace) -> int:
    """Thousands of random histories of a track: every update must be the batch, MintPy and the exact answer."""
    install.check_machine(ROOT)
    install.ensure_environment(ROOT)
    os.environ["SAGWATCH_EXAMPLES"] = str(arguments.examples)
    words = ["--hypothesis-seed", str(arguments.seed), "--hypothesis-show-statistics"]
    return _python("-m", "pytest", "-q", "tests/engine/test_histories.py", *words)


def kill_update(arguments: argparse.Namespace) -> int:
    """Kill the making of a revision at random moments; what is found must be the old one or the new one."""
    install.check_machine(ROOT)
    install.ensure_environment(ROOT)
    words = ["--kills", str(arguments.kills), "--seed", str(arguments.seed)]
    return _python("-m", "tests.faults.kill_update", *words)


def real_data_test(arguments: argparse.Namespace) -> int:
    """Real interferograms in many orders of arrival; needs SAGWATCH_REAL_DATA."""
    install.check_machine(ROOT)
    install.ensure_environment(ROOT)
    os.environ["SAGWATCH_ORDERS"] = str(arguments.orders)
    return _python("-m", "pytest", "-q", "-ra", "tests/engine/test_real_orders.py")


def _python(*words: str) -> int:
    """Run the environment's Python on the repository."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'include'}:{ROOT}"}
    return subprocess.run(
        [str(ROOT / ".venv" / "bin" / "python"), *words], cwd=ROOT, env=environment
    ).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launcher", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, function: Command) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=function.__doc__)
        one.set_defaults(function=function)
        return one

    one = command("run", run)
    one.add_argument("--site", default="shaqu")
    one.add_argument("--products", help="folder of HyP3 products that the simulated cloud serves")
    one.add_argument("--executor", choices=("local", "celery"), help="Airflow's executor")
    one.add_argument("--more", type=int, default=0, help="live acquisitions beyond the usual ten")
    one.add_argument("--detach", action="store_true", help="return when done and leave everything running")
    one.add_argument("--no-rehearsal", action="store_true", help="only start everything")
    command("stop", stop)
    command("clean", clean)
    command("test", test).add_argument("words", nargs=argparse.REMAINDER, help="for pytest")
    command("status", status).add_argument("--json", action="store_true")
    one = command("psql", psql)
    one.add_argument("--site", default="shaqu")
    one.add_argument("--role", choices=("analyst", "owner"), default="analyst")
    one.add_argument("--sql", help="ask this and return")
    command("lock", lock).add_argument("--upgrade", action="store_true", help="take the newest of everything")
    command("lint", lint)
    one = command("bench", bench)
    one.add_argument("file")
    one.add_argument("--sizes", help="pixel sizes in metres, as 40,20")
    one = command("bench-alerts", bench_alerts)
    one.add_argument("file")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--small", action="store_true")
    one = command("bench-accuracy", bench_accuracy)
    one.add_argument("file")
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--small", action="store_true")
    command("ten-years", ten_years).add_argument("folder")
    for name, function in (("bench-engine", bench_engine), ("bench-frame", bench_frame)):
        one = command(name, function)
        one.add_argument("file")
        one.add_argument("words", nargs=argparse.REMAINDER, help="for the benchmark")
    one = command("kill-test", kill_test)
    one.add_argument("--rounds", type=int, default=3)
    one.add_argument("--seed", type=int, default=1)
    one = command("property-test", property_test)
    one.add_argument("--examples", type=int, default=20_000)
    one.add_argument("--seed", type=int, default=1)
    one = command("kill-update", kill_update)
    one.add_argument("--kills", type=int, default=50)
    one.add_argument("--seed", type=int, default=1)
    command("real-data-test", real_data_test).add_argument("--orders", type=int, default=50)
    return parser


def _on_sigterm(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _on_sigterm)
    arguments = _parser().parse_args()
    try:
        return arguments.function(arguments)
    except (LauncherError, WebError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
