"""What an instance keeps: folders, secrets, ports."""

import json
import socket
import stat
import subprocess
import sys

import pytest

from launcher.layout import (
    FIRST_PORTS,
    ROOT,
    LauncherError,
    Layout,
    choose_ports,
    instances,
    load_secrets,
    ordered_ports,
    port_is_free,
)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    for name in FIRST_PORTS:
        monkeypatch.delenv(f"SAGWATCH_{name.upper()}_PORT", raising=False)
    layout = Layout(tmp_path, "shaqu")
    layout.make_folders()
    return layout


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("site", ["", "../elsewhere", "Shaqu", "a b", "x;rm"])
def test_a_name_that_is_no_site_is_refused(tmp_path, site):
    with pytest.raises(LauncherError, match="no site name"):
        Layout(tmp_path, site)


def test_secrets_are_made_once_and_nobody_else_reads_them(layout):
    first = load_secrets(layout)

    assert load_secrets(layout) == first
    assert stat.S_IMODE((layout.home / "secrets.json").stat().st_mode) == 0o600
    assert len(first["jwt"]) >= 64  # shorter ones make Airflow's library warn
    assert len(set(first.values())) == len(first)
    assert instances(layout.root) == [layout]


def test_a_secret_that_an_older_version_did_not_know_is_added(layout):
    first = load_secrets(layout)
    path = layout.home / "secrets.json"
    path.write_text(json.dumps({name: value for name, value in first.items() if name != "analyst"}))

    later = load_secrets(layout)

    assert later["analyst"] != first["analyst"]
    assert {**later, "analyst": None} == {**first, "analyst": None}


def test_every_port_is_another_one_and_stays_the_same_next_time(layout):
    ports = choose_ports(layout)

    assert set(ports) == set(FIRST_PORTS)
    assert len(set(ports.values())) == len(ports)
    assert choose_ports(layout) == ports


def test_a_port_that_was_taken_meanwhile_is_given_up(layout, taken_port):
    ports = choose_ports(layout)
    (layout.home / "ports.json").write_text(json.dumps({**ports, "cloud": taken_port}))

    assert choose_ports(layout)["cloud"] != taken_port


def test_two_that_start_at_the_same_time_get_different_ports(layout, tmp_path):
    """Neither listens yet: the first one's choice must bind a launcher in another process all the same."""
    chosen = choose_ports(layout)
    code = (
        "import json, pathlib; from launcher.layout import Layout, choose_ports;"
        f"other = Layout(pathlib.Path({str(tmp_path / 'other')!r}), 'shaqu'); other.make_folders();"
        "print(json.dumps(choose_ports(other)))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert not set(chosen.values()) & set(json.loads(told.stdout).values())


def test_an_ordered_port_is_taken_as_it_is_or_refused_by_name(layout, taken_port, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    monkeypatch.setenv("SAGWATCH_AIRFLOW_PORT", str(free))
    assert choose_ports(layout)["airflow"] == free

    monkeypatch.setenv("SAGWATCH_AIRFLOW_PORT", str(taken_port))
    assert not port_is_free(taken_port)
    with pytest.raises(LauncherError, match=rf"{taken_port} \(SAGWATCH_AIRFLOW_PORT\) is taken"):
        choose_ports(layout)


@pytest.mark.parametrize("nonsense", ["http", "0", "80", "70000", "-1"])
def test_an_ordered_port_that_is_none_is_refused(monkeypatch, nonsense):
    monkeypatch.setenv("SAGWATCH_CLOUD_PORT", nonsense)

    with pytest.raises(LauncherError, match="SAGWATCH_CLOUD_PORT"):
        ordered_ports()
