"""The machine is looked at before anything happens to it, and every refusal says what to do."""

import hashlib
import platform
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from launcher import install
from launcher.layout import ROOT, LauncherError


def test_another_python_is_refused_with_the_word_that_helps(monkeypatch, tmp_path):
    monkeypatch.setattr(install.sys, "version_info", (3, 13, 0))

    with pytest.raises(LauncherError, match=r"3\.11 is needed and this is .*PYTHON=python3\.11"):
        install.check_machine(tmp_path)


def test_a_full_disk_is_refused_before_the_installation_and_not_after(monkeypatch, tmp_path):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    with pytest.raises(LauncherError, match=r"only 1\.5 GB of disk are free"):
        install.check_machine(tmp_path, memory_too=False)

    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / install.STAMP).touch()
    install.check_machine(tmp_path, memory_too=False)


def test_too_little_memory_is_refused_and_little_is_noted(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(install, "available_memory_gb", lambda: 1.2)
    with pytest.raises(LauncherError, match=r"only 1\.2 GB of memory"):
        install.check_machine(tmp_path)

    monkeypatch.setattr(install, "available_memory_gb", lambda: 5.0)
    install.check_machine(tmp_path)
    assert "5.0 GB" in capsys.readouterr().out


def test_without_the_right_to_install_the_line_to_type_is_given(monkeypatch):
    monkeypatch.setattr(install, "find_binaries", lambda: None)
    monkeypatch.setattr(install.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(install.shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)

    with pytest.raises(
        LauncherError, match="apt-get install --no-install-recommends postgresql-15-postgis-3"
    ):
        install.ensure_system_packages(database=True)


def test_on_another_system_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(install.shutil, "which", lambda _: None)

    with pytest.raises(LauncherError, match=r"missing: redis-server, chromium.*no Debian"):
        install.ensure_system_packages(database=False, redis=True, browser=True)


def test_nothing_is_installed_where_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(install, "find_binaries", lambda: "found")
    monkeypatch.setattr(install.shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(install, "_install_with_apt", lambda wanted: pytest.fail(f"would install {wanted}"))

    install.ensure_system_packages(database=True, redis=True, browser=True)


def settings_from(monkeypatch, listed):
    answer = SimpleNamespace(stdout=listed, returncode=0)
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: answer)
    return install.pip_settings_for_uv("python")


def test_uv_is_told_what_pip_is_told(monkeypatch):
    listed = (
        "global.cert='/etc/ssl/mine.pem'\n"
        "global.index-url='https://index.example/simple'\n"
        "global.extra-index-url='\\nhttps://a.example/simple\\nhttps://b.example/simple'\n"
        ":env:.find-links='/wheels /more'\n"
        ":env:.default-timeout='60'\n"
        "global.progress-bar='off'\n"
    )

    assert settings_from(monkeypatch, listed) == {
        "SSL_CERT_FILE": "/etc/ssl/mine.pem",
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_HTTP_TIMEOUT": "60",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_a_machine_without_pip_settings_tells_uv_nothing_but_the_strategy(monkeypatch):
    assert settings_from(monkeypatch, "") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


class Installation:
    """A checkout whose installer notes what it is asked and does not reach for the network."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.asked = []
        self.fails = False
        (root / "requirements.lock").write_text("numpy==2.0 \\\n    --hash=sha256:00\n")
        monkeypatch.setattr(install, "_install_with_uv", lambda *_: self.packages())
        monkeypatch.setattr(install, "_run", self.run)
        monkeypatch.setattr(install, "_packages_folder", lambda _: "packages")

    def run(self, command, *_):
        self.asked.append(command)
        if "venv" in command:
            (self.root / ".venv" / "bin").mkdir(parents=True)
            (self.root / ".venv" / "bin" / "python").touch()

    def packages(self):
        if self.fails:
            raise KeyboardInterrupt
        self.asked.append(["uv"])
        return True


@pytest.fixture
def installation(tmp_path, monkeypatch):
    return Installation(tmp_path, monkeypatch)


def test_the_second_time_nothing_is_installed(installation):
    install.ensure_environment(installation.root)
    assert ["uv"] in installation.asked
    installation.asked.clear()

    install.ensure_environment(installation.root)

    assert installation.asked == []


def test_a_changed_lock_is_installed_into_the_same_environment(installation):
    install.ensure_environment(installation.root)
    installation.asked.clear()
    lock = installation.root / "requirements.lock"
    lock.write_text(lock.read_text() + "scipy==1.0 \\\n    --hash=sha256:01\n")

    install.ensure_environment(installation.root)

    assert ["uv"] in installation.asked
    assert not any("venv" in command for command in installation.asked)
    stamp = installation.root / ".venv" / install.STAMP
    assert stamp.read_text() == hashlib.sha256(lock.read_bytes()).hexdigest()


def test_an_interrupted_installation_begins_anew(installation):
    installation.fails = True
    with pytest.raises(KeyboardInterrupt):
        install.ensure_environment(installation.root)
    (installation.root / ".venv" / "half-a-package").touch()
    installation.fails = False

    install.ensure_environment(installation.root)

    assert not (installation.root / ".venv" / "half-a-package").exists()


def test_where_uv_cannot_pip_installs_the_same_lock_by_hash(installation, monkeypatch):
    monkeypatch.setattr(install, "_install_with_uv", lambda *_: False)

    install.ensure_environment(installation.root)

    pip = next(command for command in installation.asked if "pip" in command)
    assert "--require-hashes" in pip
    assert "--no-deps" in pip
    assert pip[-1] == str(installation.root / "requirements.lock")


def test_the_worker_of_celery_can_be_imported_with_what_is_locked(tmp_path):
    """Airflow's provider and Celery were once locked in versions that cannot work together."""
    ask = "import airflow.providers.celery.executors.celery_executor_utils as utils; print(utils.__name__)"
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the commands need to begin."""
    shutil.copytree(ROOT / "launcher", tmp_path / "launcher", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "tests" / "launcher" / "small_system" / "include", tmp_path / "include")
    return tmp_path


def make(checkout, *words):
    command = ["make", *words, f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(platform.system() != "Linux" or shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "SITE=nowhere"], "SITE is one of shaqu"),
        (["run", "SITE=../etc"], "is no site name"),
        (["run", "PRODUCTS=/nonexistent"], "holds no *.zip"),
        (["run"], "PRODUCTS=FOLDER"),  # this copy has no simulated scenario
        (["psql"], "`make run` first"),
        (["bench-run"], "make bench-run JSON=FILE"),
        (["bench-engine"], "make bench-engine JSON=FILE"),
        (["bench-frame"], "make bench-frame JSON=FILE"),
    ],
)
def test_a_wrong_word_gets_one_clear_line_and_changes_nothing(checkout, words, expected):
    done = make(checkout, *words)

    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_stop_status_and_clean_are_content_where_nothing_is(checkout):
    for word in ("stop", "status", "clean"):
        assert make(checkout, word).returncode == 0
    assert not (checkout / "var").exists()


def test_a_second_run_at_the_same_time_is_told_about_the_first(checkout):
    home = checkout / "var" / "shaqu"
    home.mkdir(parents=True)
    hold = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(home / "lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        done = make(checkout, "run")
    finally:
        holder.kill()
        holder.wait()

    assert done.returncode == 2
    assert "already at work" in done.stderr


def test_a_solver_that_cannot_be_compiled_beforehand_stops_nothing(tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$PYTHONPATH $2" > {tmp_path}/said; exit 1\n')
    python.chmod(0o755)

    install.compile_solver(tmp_path)

    assert (
        (tmp_path / "said")
        .read_text()
        .startswith(f"{tmp_path}/include from sagwatch.engine.solve import warm_up")
    )
