"""The whole launcher with real Airflow and a real database, killed in the middle of a run."""

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from launcher import process, services
from launcher.cluster import find_binaries
from launcher.instance import Wish
from launcher.layout import Layout, load_secrets
from launcher.rehearsal import FINISHED, Airflow, Rehearsal, plan, summary
from launcher.web_client import get_json

SMALL_SYSTEM = Path(__file__).parent / "small_system"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL with PostGIS on this machine"),
]


@pytest.fixture
def layout(monkeypatch):
    """A checkout of the small system that uses this environment; nothing of it outlives the test."""
    root = Path(tempfile.mkdtemp(prefix="sagwatch-test-system-"))
    root.chmod(0o755)
    shutil.copytree(SMALL_SYSTEM, root, dirs_exist_ok=True)
    (root / "plugins").mkdir(exist_ok=True)
    (root / ".venv").symlink_to(sys.prefix)
    layout = Layout(root, "shaqu")
    for name in [name for name in os.environ if name.startswith(("SAGWATCH_", "AIRFLOW"))]:
        monkeypatch.delenv(name)
    yield layout
    if (layout.home / "secrets.json").exists():
        process.sweep(load_secrets(layout)["instance"])
        services.remove_everything(layout)
    shutil.rmtree(root)


def bring_up(layout):
    instance = services.prepare(layout, Wish())
    services.start(instance)
    return instance, Airflow(instance.airflow_url, instance.secrets["admin"], "monitor_shaqu")


def kill_everything(instance):
    cluster = services.private_cluster(instance.layout, instance.secrets, instance.ports)
    victims = process.marked(instance.secrets["instance"]) + process.working_in(cluster.data)
    for pid in victims:
        process.send(pid, signal.SIGKILL)
    assert process.wait_for_end(victims, 10)
    return len(victims)


def wait_until(condition, patience_seconds):
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def test_a_run_goes_on_at_once_after_everything_was_killed_in_the_middle(layout, monkeypatch, capsys):
    """One task runs and another waits deferred when the kill comes; neither waits for a heartbeat."""
    monkeypatch.setenv("SMALL_SYSTEM_WORK_SECONDS", "120")
    monkeypatch.setenv("SMALL_SYSTEM_WAIT_SECONDS", "3")
    instance, airflow = bring_up(layout)
    airflow.wait_for_dag()
    airflow.unpause()
    stages = plan(get_json(f"{instance.cloud_url}/timeline"), "2024-01-01")
    run = airflow.trigger(stages[0], 1)

    def states():
        return {task["task_id"]: task["state"] for task in airflow.tasks(run)}

    wait_until(lambda: states().get("work") == "running" and states().get("wait") == "deferred", 90)
    assert kill_everything(instance) > 10
    monkeypatch.setenv("SMALL_SYSTEM_WORK_SECONDS", "0")

    instance, airflow = bring_up(layout)
    began = time.monotonic()
    wait_until(lambda: airflow.state(run) in FINISHED, 150)

    assert airflow.state(run) == "success"
    assert time.monotonic() - began < 150  # Airflow by itself would wait five minutes for the heartbeat
    assert "goes on where it was interrupted: monitor_shaqu" in capsys.readouterr().out
    with psycopg.connect(instance.ledger_url) as connection:
        work = connection.execute("SELECT task, max(attempt) FROM work GROUP BY 1 ORDER BY 1").fetchall()
    assert work == [("detect", 1), ("publish", 1), ("resume", 1), ("wait", 1), ("work", 2)]

    # The rehearsal takes the run that the kill interrupted for what it is, and does the rest.
    Rehearsal(instance, time.monotonic()).run()
    with psycopg.connect(instance.ledger_url) as connection:
        assert connection.execute("SELECT count(DISTINCT run) FROM work").fetchone() == (len(stages),)
    assert instance.airflow_url in summary(instance)

    services.stop_everything(layout)
    assert process.marked(instance.secrets["instance"]) == []
    assert process.working_in(layout.home / "postgres" / "data") == []
