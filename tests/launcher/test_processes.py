"""Services are known again after a restart of the launcher, and nobody else's process is ever harmed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from launcher import process
from launcher.layout import LauncherError
from launcher.process import MARK, Service

SLEEPER = [sys.executable, "-c", "import time; time.sleep(300)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)",
]
# A service whose child survives it, as Airflow's workers survive a killed scheduler.
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
    "print('ready', flush=True); time.sleep(300)",
]


@pytest.fixture
def place(tmp_path):
    """Folders of an instance, its mark, and the certainty that nothing outlives the test."""
    instance = f"test-{os.getpid()}-{tmp_path.name}"
    yield tmp_path, {**os.environ, MARK: instance}, instance
    process.sweep(instance)


def start(place, name, command):
    folder, environment, _ = place
    process.start(Service(name, command), environment, folder, folder, cwd=folder)
    return process.running_pid(name, folder)


def wait_for_log(place, name, word):
    deadline = time.monotonic() + 20
    while word not in (place[0] / f"{name}.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_running_service_is_not_started_twice(place):
    first = start(place, "one", SLEEPER)

    assert first is not None
    assert start(place, "one", SLEEPER) == first


def test_a_service_is_stopped_and_its_note_removed(place):
    pid = start(place, "one", SLEEPER)

    process.stop(["one"], place[0])

    assert process.started_at(pid) is None
    assert not (place[0] / "one.pid").exists()


def test_a_recycled_process_id_is_never_taken_for_the_service(place):
    bystander = subprocess.Popen(SLEEPER)
    try:
        note = {"pid": bystander.pid, "started": process.started_at(bystander.pid) - 1}
        (place[0] / "one.pid").write_text(json.dumps(note))

        assert process.running_pid("one", place[0]) is None
        process.stop(["one"], place[0])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_orphans_of_a_killed_service_are_found_by_the_mark_and_no_one_else_is(place):
    bystander = subprocess.Popen(SLEEPER, env={**os.environ, MARK: "somebody-else"})
    try:
        pid = start(place, "parent", PARENT)
        wait_for_log(place, "parent", "ready")
        os.kill(pid, signal.SIGKILL)
        process.wait_for_end([pid], 5)
        orphans = process.marked(place[2])
        assert len(orphans) == 1

        assert process.sweep(place[2]) == 1

        assert process.marked(place[2]) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_service_deaf_to_sigterm_is_left_to_the_sweep(place):
    pid = start(place, "deaf", STUBBORN)
    wait_for_log(place, "deaf", "deaf")

    process.stop(["deaf"], place[0], patience_seconds=0.3)
    assert process.started_at(pid) is not None

    process.sweep(place[2])
    assert process.started_at(pid) is None


def test_a_service_that_died_is_named_with_the_end_of_its_log(place):
    pid = start(place, "broken", [sys.executable, "-c", "raise SystemExit('no such table: ground')"])
    process.wait_for_end([pid] if pid else [], 10)

    with pytest.raises(LauncherError, match=r"broken has stopped(.|\n)*no such table: ground"):
        process.check_alive(["broken"], place[0], place[0])


def test_a_log_that_has_grown_large_is_put_aside(place, monkeypatch):
    monkeypatch.setattr(process, "LARGEST_LOG_BYTES", 10)
    (place[0] / "one.log").write_text("an old and long story")

    start(place, "one", SLEEPER)

    assert (place[0] / "one.log.1").read_text() == "an old and long story"
    assert (place[0] / "one.log").read_text() == ""
