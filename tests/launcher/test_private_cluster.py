"""The private PostgreSQL cluster: durable, closed to strangers, and up again after any kill."""

import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

from launcher import cluster as cluster_module
from launcher import process
from launcher.cluster import (
    TEMPORARY_PREFIX,
    Cluster,
    find_binaries,
    home_of_cluster,
    remove_abandoned,
    temporary_cluster,
)
from launcher.databases import ensure_database, ensure_role
from launcher.layout import LauncherError, Layout, any_free_port, write_json

pytestmark = pytest.mark.skipif(find_binaries() is None, reason="no PostgreSQL with PostGIS on this machine")


@pytest.fixture(scope="module")
def durable():
    """A cluster as `make run` has it, in a folder that user postgres reaches."""
    folder = Path(tempfile.mkdtemp(prefix="sagwatch-test-cluster-"))
    cluster = Cluster(folder, any_free_port(), secrets.token_urlsafe(12), find_binaries())
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


@pytest.fixture
def running(durable):
    durable.start()
    return durable


def ask(cluster, question, **words):
    with psycopg.connect(cluster.url("postgres"), autocommit=True, **words) as connection:
        return connection.execute(question).fetchone()[0]


def test_it_is_durable_and_listens_on_loopback_only(running):
    assert ask(running, "SHOW fsync") == "on"
    assert ask(running, "SHOW synchronous_commit") == "on"
    assert ask(running, "SHOW full_page_writes") == "on"
    assert ask(running, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(running, "SHOW unix_socket_directories") == ""


def test_nobody_comes_in_without_the_password(running):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(running, "SELECT 1", password="guess")


def test_creating_and_starting_again_changes_nothing(running):
    before = ask(running, "SELECT system_identifier::text FROM pg_control_system()")

    running.create()
    running.start()

    assert ask(running, "SELECT system_identifier::text FROM pg_control_system()") == before


def test_what_was_committed_survives_the_kill_of_every_process(running):
    ask(running, "SELECT pg_current_wal_lsn()")
    with psycopg.connect(running.url("postgres")) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ground (sunk_mm float)")
        connection.execute("INSERT INTO ground VALUES (-41)")
    before = ask(running, "SELECT count(*) FROM ground")

    for pid in process.working_in(running.data):
        process.send(pid, signal.SIGKILL)  # children of a killed server end by themselves
    running.start()

    assert ask(running, "SELECT count(*) FROM ground") == before


def test_a_pid_file_that_names_a_living_stranger_does_not_forbid_the_start(running):
    """After a reboot the old server's id belongs to somebody else, whom PostgreSQL would take for itself."""
    running.stop()
    stranger = os.getppid()
    (running.data / "postmaster.pid").write_text(f"{stranger}\n{running.data}\n1\n{running.port}\n")
    assert not running.is_running()

    running.start()

    assert running.is_running()
    assert process.started_at(stranger) is not None


def test_orphaned_back_ends_of_a_killed_server_do_not_forbid_the_start(running):
    os.kill(running.postmaster(), signal.SIGKILL)

    running.start()

    assert ask(running, "SELECT 1") == 1


def test_a_half_made_cluster_is_made_again(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="sagwatch-test-cluster-"))
    cluster = Cluster(folder, any_free_port(), "secret", find_binaries(), durable=False)
    try:
        (folder / "data").mkdir()
        (folder / "data" / "PG_VERSION").write_text("15")  # as initdb leaves it when killed early

        cluster.create()
        cluster.start()

        assert ask(cluster, "SELECT 1") == 1
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def test_databases_and_roles_are_made_once_and_the_password_is_renewed(running):
    for password in ("first", "second"):
        ensure_role(running.url("postgres"), "keeper", password, may_create_roles=True)
        ensure_database(running.url("postgres"), "kept", "keeper", postgis=True)

    with psycopg.connect(running.url("kept", "keeper", "second"), autocommit=True) as connection:
        assert connection.execute("SELECT postgis_version()").fetchone()[0].startswith("3")
        connection.execute("CREATE ROLE made_by_keeper")
        connection.execute("DROP ROLE made_by_keeper")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(running.url("kept", "keeper", "first"))


def test_a_refusal_of_the_server_is_told_in_its_own_words(running):
    broken = Cluster(running.folder, running.port, running.password, running.binaries)
    with pytest.raises(LauncherError, match=r"initdb failed \(1\)"):
        broken._run("initdb", "-D", str(running.data))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server to user postgres")
def test_a_checkout_that_user_postgres_cannot_reach_gets_a_folder_elsewhere(tmp_path, monkeypatch, capsys):
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    layout = Layout(closed, "shaqu")
    layout.make_folders()

    home = home_of_cluster(layout)

    assert closed not in home.parents
    assert "cannot reach" in capsys.readouterr().out
    assert home_of_cluster(layout) == home  # and it is found again
    assert not home.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server to user postgres")
def test_a_checkout_that_user_postgres_reaches_keeps_its_cluster():
    folder = Path(tempfile.mkdtemp(prefix="sagwatch-test-open-"))
    try:
        folder.chmod(0o755)
        layout = Layout(folder, "shaqu")
        layout.make_folders()

        assert home_of_cluster(layout) == layout.home / "postgres"
    finally:
        shutil.rmtree(folder)


def test_a_throw_away_cluster_leaves_nothing():
    with temporary_cluster() as cluster:
        assert ask(cluster, "SHOW fsync") == "off"
        assert process.working_in(cluster.data)

    assert not cluster.folder.exists()
    assert process.working_in(cluster.data) == []


def test_a_throw_away_cluster_of_a_killed_owner_is_removed_and_a_living_one_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster_module.tempfile, "gettempdir", lambda: str(tmp_path))
    living, dead = tmp_path / f"{TEMPORARY_PREFIX}living", tmp_path / f"{TEMPORARY_PREFIX}dead"
    for folder, started in ((living, process.started_at(os.getpid())), (dead, 1)):
        folder.mkdir()
        write_json(folder / "owner", {"pid": os.getpid(), "started": started})

    remove_abandoned()

    assert living.exists()
    assert not dead.exists()
