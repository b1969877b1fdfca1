"""Where one running Sagwatch keeps its things: folders, generated secrets, ports.

Every site of the demonstration has an instance of its own (`var/<site>`), because two simulated clouds
tell two different times and one ledger cannot hold both.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What listens, and where the search for a free port begins. All lie below the range that the kernel
# hands out for outgoing connections, so a port that was free stays free.
FIRST_PORTS = {
    "airflow": 8080,
    "cloud": 8180,
    "smtp": 8225,
    "postgres": 5433,
    "worker_log": 8793,
    "trigger_log": 8894,
    "redis": 6380,
    "worker_log_2": 8993,
}


class LauncherError(Exception):
    """Something that a person must mend; the message is one line and says how."""


@dataclass(frozen=True)
class Layout:
    """The folders of one instance."""

    root: Path
    site: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", self.site):
            raise LauncherError(
                f"SITE={self.site!r} is no site name: small letters, digits and _, as in its YAML file"
            )

    @property
    def home(self) -> Path:
        return self.root / "var" / self.site

    @property
    def venv_python(self) -> Path:
        return self.root / ".venv" / "bin" / "python"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def airflow_home(self) -> Path:
        return self.home / "airflow"

    def make_folders(self) -> None:
        for folder in (self.home, self.log, self.run, self.data, self.airflow_home):
            folder.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o711)  # user postgres must be able to pass through to its cluster


def instances(root: Path) -> list[Layout]:
    """Every instance that was ever made in this checkout."""
    return [Layout(root, path.parent.name) for path in sorted(root.glob("var/*/secrets.json"))]


def load_secrets(layout: Layout) -> dict[str, str]:
    """The passwords and keys of this instance, made at random the first time (file mode 0600)."""
    path = layout.home / "secrets.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    makers: dict[str, Callable[[], str]] = {
        "instance": lambda: secrets.token_hex(8),
        "postgres": lambda: secrets.token_urlsafe(24),
        "airflow_database": lambda: secrets.token_urlsafe(24),
        "admin": lambda: secrets.token_urlsafe(9),
        "jwt": lambda: secrets.token_urlsafe(64),
        "api": lambda: secrets.token_urlsafe(64),
        "fernet": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "cloud_token": lambda: secrets.token_urlsafe(24),
        "owner": lambda: secrets.token_urlsafe(24),
        "analyst": lambda: secrets.token_urlsafe(12),
    }
    missing = {name: make() for name, make in makers.items() if name not in known}
    if missing:
        known |= missing
        write_json(path, known)
    return known


def write_json(path: Path, content: object) -> None:
    """Write a small private file so that a reader sees the old one or the new one, never half."""
    aside = path.with_suffix(f".{os.getpid()}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_claims: dict[int, tuple[Path, socket.socket]] = {}


def claim_port(port: int, holder: Path) -> bool:
    """Whether the port is free and no other launcher has chosen it; it is then the holder's.

    A service needs seconds until it listens, in which another `make run` would find the port free too. So we
    hold an abstract socket of its name: it leaves no file, knows no users, and falls with this process.
    """
    if not port_is_free(port):
        return False
    if port in _claims:
        return _claims[port][0] == holder
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0sagwatch-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims[port] = (holder, claim)
    return True


def any_free_port() -> int:
    """A port for something short-lived."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ordered_ports() -> dict[str, int]:
    """The ports that the user fixed: `SAGWATCH_AIRFLOW_PORT=9000`, and so on for every name."""
    ordered = {name: os.environ.get(f"SAGWATCH_{name.upper()}_PORT") for name in FIRST_PORTS}
    for name, port in ordered.items():
        if port is not None and not (port.isdecimal() and 1023 < int(port) < 65536):
            raise LauncherError(
                f"SAGWATCH_{name.upper()}_PORT={port} is no port: give a number from 1024 to 65535"
            )
    return {name: int(port) for name, port in ordered.items() if port is not None}


def choose_ports(layout: Layout) -> dict[str, int]:
    """A port for everything that listens: the one ordered, else last time's, else the next free one.

    If an ordered port is taken, it is an error and not a reason to move: somebody may have written the
    address down.
    """
    path = layout.home / "ports.json"
    last: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports = ordered_ports()
    for name, port in ports.items():
        if not claim_port(port, layout.home):
            raise LauncherError(
                f"port {port} (SAGWATCH_{name.upper()}_PORT) is taken: stop what listens there, or set "
                "another, or none"
            )
    for name, first in FIRST_PORTS.items():
        if name not in ports:
            candidates = [*([last[name]] if name in last else []), *range(first, first + 90)]
            ports[name] = _first_free(name, [one for one in candidates if one not in ports.values()], layout)
    write_json(path, ports)
    return ports


def _first_free(name: str, candidates: list[int], layout: Layout) -> int:
    for port in candidates:
        if claim_port(port, layout.home):
            return port
    raise LauncherError(
        f"no free port for {name} from {FIRST_PORTS[name]} on: set SAGWATCH_{name.upper()}_PORT to one that is"
    )
