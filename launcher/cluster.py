"""A private PostgreSQL cluster with PostGIS: a durable one for the product, a throw-away one for tests."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from launcher import process
from launcher.layout import LauncherError, Layout, any_free_port, write_json

SUPERUSER = "sagwatch_admin"
LEAST_POSTGRES = 15
LEAST_POSTGIS = (3, 3)
SETTINGS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c jit=off -c timezone=UTC"
FORGETFUL = " -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
TEMPORARY_PREFIX = "sagwatch-postgres-"


@dataclass(frozen=True)
class Binaries:
    """PostgreSQL's programs, of an installation that has PostGIS."""

    folder: Path
    postgres: int
    postgis: str

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def find_binaries() -> Binaries | None:
    """The newest PostgreSQL on this machine that has a PostGIS we can use, or None.

    Debian puts its programs on no PATH, so we look where it keeps them; elsewhere `pg_config` knows.
    """
    found = [
        Binaries(folder, version, postgis)
        for folder, share in _installations()
        if (folder / "initdb").exists()
        and (version := _postgres_version(folder)) >= LEAST_POSTGRES
        and _numbers(postgis := _postgis_version(share)) >= LEAST_POSTGIS
    ]
    return max(found, key=lambda one: (one.postgres, _numbers(one.postgis)), default=None)


def _installations() -> Iterator[tuple[Path, Path]]:
    for folder in Path("/usr/lib/postgresql").glob("*/bin"):
        yield folder, Path("/usr/share/postgresql") / folder.parent.name
    programs = [shutil.which("pg_config"), *map(str, Path("/usr").glob("pgsql-*/bin/pg_config"))]
    for program in filter(None, programs):
        told = subprocess.run([program, "--bindir", "--sharedir"], capture_output=True, text=True)
        if told.returncode == 0:
            bin_folder, share_folder = told.stdout.split("\n")[:2]
            yield Path(bin_folder), Path(share_folder)


def _postgres_version(folder: Path) -> int:
    told = subprocess.run([folder / "initdb", "--version"], capture_output=True, text=True).stdout
    return (_numbers(told) or (0,))[0]


def _postgis_version(share: Path) -> str:
    control = share / "extension" / "postgis.control"
    line = re.search(r"default_version = '([\d.]+)'", control.read_text()) if control.exists() else None
    return line.group(1) if line else ""


def _numbers(text: str) -> tuple[int, ...]:
    first = re.search(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in first.group().split(".")) if first else ()


def server_user() -> str | None:
    """Who must run PostgreSQL: it refuses root, so root lends it to user postgres; else ourselves (None)."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise LauncherError(
            "PostgreSQL refuses to run as root and there is no user postgres: run as an ordinary user, or "
            "make one with `useradd --system postgres`"
        ) from None


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL server with its data in `folder`, listening on loopback only."""

    folder: Path
    port: int
    password: str = field(repr=False)
    binaries: Binaries
    durable: bool = True

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """`postgresql://user:password@127.0.0.1:port/database`, by default as superuser."""
        secret = quote(password if password is not None else self.password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the cluster unless it is there; a half-made one (no version file yet) is made again."""
        if (self.data / "PG_VERSION").exists() and (self.folder / "created").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        make_private_folder(self.folder)
        password_file = self.folder / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        _give_to_server_user(password_file)
        words = f"-U {SUPERUSER} --auth=scram-sha-256 -E UTF8 --locale=C.UTF-8".split()
        words += [f"--pwfile={password_file}", "-D", str(self.data)]
        try:
            self._run("initdb", *words, *([] if self.durable else ["--no-sync"]))
        finally:
            password_file.unlink()
        (self.folder / "created").touch()

    def start(self) -> None:
        """Start the server, also after it or its parent was killed; it recovers by itself."""
        if self._answers():
            return
        self._end_orphans()
        # Nobody works in the data folder now. The killed server's id may live on, as another program's or as
        # a zombie, and its pid file would then forbid the start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        options = f"-p {self.port} {SETTINGS}" + ("" if self.durable else FORGETFUL)
        log = self.folder / "server.log"
        try:
            self._run(
                "pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60", "-o", options, "start"
            )
        except LauncherError as error:
            raise LauncherError(f"{error}; the end of {log}:\n{process.tail(log)}") from None

    def stop(self) -> None:
        if self.is_running():
            self._pg_ctl("stop", "-m", "fast")
        self._end_orphans()

    def is_running(self) -> bool:
        return self.postmaster() is not None

    def _answers(self, patience_seconds: float = 60) -> bool:
        """Whether the server takes connections; one that is on its way up or down is waited for."""
        deadline = time.monotonic() + patience_seconds
        while self.is_running() and time.monotonic() < deadline:
            words = ["-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run([self.binaries["pg_isready"], *words]).returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def postmaster(self) -> int | None:
        """The server's process id; its pid file alone proves nothing, so its working directory must agree."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in process.working_in(self.data) else None

    def _end_orphans(self) -> None:
        """Back ends of a killed server hold its shared memory and would forbid a new start."""
        orphans = process.working_in(self.data)
        if process.wait_for_end(orphans, patience_seconds=3):
            return
        for pid in process.working_in(self.data):
            process.send(pid, signal.SIGKILL)
        process.wait_for_end(orphans, patience_seconds=10)

    def _pg_ctl(self, action: str, *words: str) -> None:
        self._run("pg_ctl", action, "-D", str(self.data), "-w", "-t", "60", *words)

    def _run(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's programs as the user who may, with its words kept in a file.

        Not a pipe: the server inherits it and would keep it open for ever.
        """
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [self.binaries[program], *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
                start_new_session=True,
                **_as_server_user(),
            )
            output.seek(0)
            said = output.read().strip()
        if done.returncode != 0:
            raise LauncherError(f"PostgreSQL's {program} failed ({done.returncode}): {said}")


def _as_server_user() -> dict:
    user = server_user()
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _give_to_server_user(path: Path) -> None:
    user = server_user()
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def make_private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _give_to_server_user(folder)


def home_of_cluster(layout: Layout) -> Path:
    """`var/<site>/postgres`, or a folder outside the checkout where user postgres cannot reach that one.

    A checkout under a closed home folder (mode 0700) is such a case. The choice is written down, so that it
    holds when the checkout is moved and `make clean` finds the folder.
    """
    note = layout.home / "postgres-folder"
    if note.exists():
        return Path(note.read_text())
    inside = layout.home / "postgres"
    make_private_folder(inside)
    if _server_user_reaches(inside):
        return inside
    inside.rmdir()
    parent = Path("/var/lib") if os.access("/var/lib", os.W_OK) else Path("/var/tmp")
    outside = parent / f"sagwatch-{layout.site}-{secrets.token_hex(6)}"
    note.write_text(str(outside))
    print(f"  user postgres cannot reach {inside}, so the database lives in {outside}")
    return outside


def _server_user_reaches(folder: Path) -> bool:
    probe = ["/bin/sh", "-c", f'cd "{folder}"']
    return subprocess.run(probe, cwd="/", stderr=subprocess.DEVNULL, **_as_server_user()).returncode == 0


@contextmanager
def temporary_cluster() -> Iterator[Cluster]:
    """A throw-away cluster for tests: about a second to make, forgets everything at a power cut.

    Yields a running `Cluster`; `cluster.url("postgres")` is its first database. What an earlier, killed
    owner left behind is removed first.
    """
    binaries = find_binaries()
    if binaries is None:
        raise LauncherError("no PostgreSQL with PostGIS here: `make test` installs it")
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    write_json(folder / "owner", {"pid": os.getpid(), "started": process.started_at(os.getpid())})
    cluster = Cluster(folder, any_free_port(), secrets.token_urlsafe(12), binaries, durable=False)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        _end(cluster)


def remove_abandoned() -> None:
    """Remove throw-away clusters whose owner is no more (killed in the middle of a test)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        if os.access(folder, os.W_OK) and _owner_is_gone(folder):
            for pid in process.working_in(folder / "data"):
                process.send(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def _owner_is_gone(folder: Path) -> bool:
    path = folder / "owner"
    if not path.exists():  # between its making and its note, or being removed
        return time.time() - folder.stat().st_mtime > 60
    return process.running_pid_of(path) is None


def _end(cluster: Cluster) -> None:
    """No ceremony for data that nobody will read."""
    pid = cluster.postmaster()
    if pid is not None:
        process.send(pid, signal.SIGQUIT)
        process.wait_for_end(process.working_in(cluster.data), patience_seconds=10)
    shutil.rmtree(cluster.folder, ignore_errors=True)
