"""Checks of the machine, the packages of the operating system, and the Python environment from the lock."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cluster import find_binaries
from launcher.layout import LauncherError

LEAST_DISK_GB = 4.0
LEAST_MEMORY_GB = 3.5
COMFORTABLE_MEMORY_GB = 6.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check_machine(root: Path, *, memory_too: bool = True) -> None:
    """Refuse within a second what could only fail later, each with what to do about it."""
    if sys.platform != "linux":
        raise LauncherError("this runs on Linux: use a Debian 12 machine, or the docker-compose.yaml")
    if sys.version_info[:2] != (3, 11):
        raise LauncherError(
            f"Python 3.11 is needed and this is {platform.python_version()}: "
            "install it and say `make run PYTHON=python3.11`"
        )
    if not os.access(root, os.W_OK):
        raise LauncherError(f"{root} cannot be written: clone the repository where you may write")
    free_gb = shutil.disk_usage(root).free / 1e9
    if free_gb < LEAST_DISK_GB and not (root / ".venv" / STAMP).exists():
        raise LauncherError(
            f"only {free_gb:.1f} GB of disk are free at {root}: make room, {LEAST_DISK_GB:g} GB are needed"
        )
    if memory_too:
        _check_memory(available_memory_gb())


def _check_memory(memory_gb: float) -> None:
    if memory_gb < LEAST_MEMORY_GB:
        raise LauncherError(
            f"only {memory_gb:.1f} GB of memory are free: close other programs, "
            f"{COMFORTABLE_MEMORY_GB:g} GB are comfortable"
        )
    if memory_gb < COMFORTABLE_MEMORY_GB:
        print(f"  note: {memory_gb:.1f} GB of memory are free; {COMFORTABLE_MEMORY_GB:g} GB are comfortable")


def available_memory_gb() -> float:
    line = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(line.group(1)) * 1024 / 1e9 if line else float("inf")


def ensure_system_packages(*, database: bool, redis: bool = False, browser: bool = False) -> None:
    """PostGIS, Python's venv and, where asked for, Redis and a browser: found, else installed by apt."""
    wanted: list[str] = []
    if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        wanted.append("python3-venv")
    if database and find_binaries() is None:
        wanted.append("postgis")
    if redis and shutil.which("redis-server") is None:
        wanted.append("redis-server")
    if browser and not any(map(shutil.which, BROWSERS)):
        wanted.append("chromium")
    if wanted:
        _install_with_apt(wanted)


def _install_with_apt(wanted: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise LauncherError(
            f"missing: {', '.join(wanted)}. This is no Debian or Ubuntu, so please install them with your "
            "package manager (PostGIS 3.3 or newer for PostgreSQL 15 or newer, its pg_config on PATH; "
            "or give SAGWATCH_DATABASE_URL)"
        )
    before = _as_root()
    print(f"  missing: {', '.join(wanted)}. Asking the package lists ...", flush=True)
    _apt(before, "update", "-q")
    packages = [_postgis_package() if one == "postgis" else one for one in wanted]
    print(
        f"  installing with apt: {', '.join(packages)} and what they need (PostGIS: about 140 MB)", flush=True
    )
    if "postgis" in wanted:
        _forbid_the_main_cluster(before)
    _apt(before, "install", "-y", "-q", "--no-install-recommends", *packages)


def _as_root() -> list[str]:
    """What to put before a command that needs root; refuses, with the line to type, where there is no way."""
    if os.geteuid() == 0:
        return []
    may_ask = shutil.which("sudo") is not None and (
        sys.stdin.isatty()
        or subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode == 0
    )
    if may_ask:
        return ["sudo"]
    raise LauncherError(
        "packages of the system are missing and this user may not install them. As root, type:\n"
        "  apt-get update && apt-get install --no-install-recommends postgresql-15-postgis-3 python3-venv"
    )


def _apt(before: Sequence[str], *words: str) -> None:
    command = [*before, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        last = "\n".join(f"  {line}" for line in done.stdout.splitlines()[-8:])
        raise LauncherError(f"`{' '.join(command)}` failed; check the network and /etc/apt:\n{last}")


def _postgis_package() -> str:
    """The newest PostGIS that this Debian or Ubuntu has, as postgresql-15-postgis-3."""
    found = subprocess.run(
        ["apt-cache", "--names-only", "search", r"^postgresql-[0-9]+-postgis-3$"],
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    packages = [(int(line.split("-")[1]), line.split(" ")[0]) for line in found if line]
    if not packages or max(packages)[0] < 15:
        raise LauncherError(
            "apt offers no PostGIS 3 for PostgreSQL 15 or newer: use Debian 12 or newer, or give the address "
            "of a server as SAGWATCH_DATABASE_URL=postgresql://user:password@host:5432/sagwatch"
        )
    return max(packages)[1]


def _forbid_the_main_cluster(before: Sequence[str]) -> None:
    """Debian would make and start a cluster of its own on port 5432, which nobody asked for."""
    folder = Path("/etc/postgresql-common")
    if folder.exists():
        return  # PostgreSQL was here before us: leave its settings alone
    script = (
        f"mkdir -p {folder}/createcluster.d && "
        f"echo 'create_main_cluster = false' > {folder}/createcluster.d/sagwatch.conf"
    )
    subprocess.run([*before, "sh", "-c", script], check=True)


STAMP = "sagwatch-lock"
HALF_DONE = "sagwatch-installing"


def ensure_environment(root: Path) -> None:
    """`.venv` holds exactly what requirements.lock pins; a stamp makes the next time a matter of nothing."""
    venv = root / ".venv"
    lock = root / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = venv / STAMP
    if stamp.exists() and stamp.read_text() == digest and (venv / "bin" / "python").exists():
        return
    if (venv / HALF_DONE).exists():
        print("  an earlier installation was interrupted: starting it again")
        shutil.rmtree(venv)
    count = len(re.findall(r"^[a-z0-9][^\s=]*==", lock.read_text(), re.MULTILINE))
    print(f"  installing {count} Python packages, each checked by its hash (about 300 MB) ...", flush=True)
    if not (venv / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(venv)], "making .venv")
    (venv / HALF_DONE).touch()
    python = str(venv / "bin" / "python")
    if not _install_with_uv(python, venv, root, lock):
        # Old pips refuse extras in a hashed file unless they are told not to resolve: the lock has resolved.
        words = ["install", "-q", "--no-deps", "--require-hashes", "--no-cache-dir", "-r", str(lock)]
        _run([python, "-m", "pip", *words], "pip")
    _run([python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/", _packages_folder(python)], None)
    stamp.write_text(digest)
    (venv / HALF_DONE).unlink()


def compile_solver(root: Path) -> None:
    """The solver's machine code, made once and kept beside its source: no update ever waits for it.

    A minute after the code has changed, two seconds otherwise. Where it fails, the first update compiles.
    """
    environment = os.environ | {"PYTHONPATH": str(root / "include")}
    python = str(root / ".venv" / "bin" / "python")
    _run([python, "-c", "from sagwatch.engine.solve import warm_up; warm_up()"], None, environment)


def _packages_folder(python: str) -> str:
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()


def _install_with_uv(python: str, venv: Path, root: Path, lock: Path) -> bool:
    """uv does in seconds what takes pip minutes; false where it cannot be had or fails here."""
    tools = venv / "tools"
    cache = venv / "uv-cache"
    bootstrap = ["install", "-q", "--no-cache-dir", "--require-hashes", "--upgrade", "--target", str(tools)]
    try:
        _run([python, "-m", "pip", *bootstrap, "-r", str(root / "launcher" / "uv.lock")], "fetching uv")
        uv = [str(tools / "bin" / "uv"), "pip", "install", "-q", "--python", python]
        environment = {"UV_CACHE_DIR": str(cache), **pip_settings_for_uv(python), **os.environ}
        _run([*uv, "--require-hashes", "-r", str(lock)], "uv", environment)
    except LauncherError as error:
        print(f"  {error}\n  going on with pip, which takes some minutes", flush=True)
        return False
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    return True


def pip_settings_for_uv(python: str) -> dict[str, str]:
    """What pip is told about indexes on this machine (files and variables), in uv's words."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    # Lines read "global.index-url='https://...'" or ":env:.cert='...'"; later ones win.
    settings = dict(re.findall(r"^[^=]*\.([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    words = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "find-links": "UV_FIND_LINKS",
        "trusted-host": "UV_INSECURE_HOST",
        "default-timeout": "UV_HTTP_TIMEOUT",
        "cert": "SSL_CERT_FILE",
        "proxy": "HTTPS_PROXY",
    }
    told = {uv: settings[pip].replace(r"\n", " ").strip() for pip, uv in words.items() if pip in settings}
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = ",".join(told["UV_FIND_LINKS"].split())
    # pip takes the best of all indexes, and so must uv; what is taken is pinned by hash all the same.
    return told | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def _run(
    command: list[str], what: str | None, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> None:
    done = subprocess.run(
        command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0 and what is not None:
        last = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-8:])
        raise LauncherError(f"{what} failed:\n{last}")


def make_lock(root: Path, *, upgrade: bool) -> None:
    """Resolve requirements.txt into requirements.lock, with the pins it has where they still fit."""
    ensure_environment(root)
    python = str(root / ".venv" / "bin" / "python")
    uv = str(root / ".venv" / "tools" / "bin" / "uv")
    environment = {**pip_settings_for_uv(python), **os.environ}
    words = ["pip", "compile", "-q", "--generate-hashes", "--no-header", "--no-strip-extras"]
    words += ["--upgrade"] if upgrade else []
    # For the oldest 3.11, which needs a package more than the newest; named without folders, as comments show.
    words += ["--python-version", "3.11.0", "--python", python]
    _run([uv, *words, "requirements.txt", "-o", "requirements.lock"], "uv", environment, root)
    print("requirements.lock is made; `make run` or `make test` installs it")
