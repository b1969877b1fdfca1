"""The rehearsal asks Airflow over HTTP: what it does when Airflow forgot everything, or does not answer."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pytest

from launcher.instance import Instance, Wish
from launcher.layout import FIRST_PORTS, LauncherError, Layout, load_secrets, write_json
from launcher.process import started_at
from launcher.rehearsal import Rehearsal
from launcher.web_client import WebError

DATES = [f"2024-{month:02}-01" for month in range(1, 13)]
RUN = "/api/v2/dags/monitor_shaqu/dagRuns/one"


class Stage(ThreadingHTTPServer):
    """Plays Airflow and the simulated cloud: all DAGs are off; answers can be put in a queue."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.turned_on = []
        self.states = []
        self.unread = 0  # so many times nobody has read deliver_messages.py yet

    def answer(self, method, path):
        if path == "/auth/token":
            return 200, {"access_token": "t"}
        if path == "/timeline":
            return 200, [{"date": date, "visible": f"{date}T20:00:00+00:00"} for date in DATES]
        if method == "PATCH":
            self.turned_on.append(path.rpartition("/")[2])
            return 200, {}
        if path == "/api/v2/dags/deliver_messages" and self.unread:
            self.unread -= 1
            return 404, {}
        if path == "/api/v2/dags":
            names = ["monitor_shaqu", "monitor_other"] + ([] if self.unread else ["deliver_messages"])
            return 200, {"dags": [{"dag_id": name, "is_paused": True} for name in names]}
        if path == RUN:
            return self.states.pop(0)
        return 200, {}


class Answers(BaseHTTPRequestHandler):
    def _respond(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.answer(self.command, self.path.partition("?")[0])
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_GET = do_POST = do_PATCH = _respond  # noqa: N815

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def stage():
    server = Stage()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def rehearsal(stage, tmp_path):
    layout = Layout(tmp_path, "shaqu")
    layout.make_folders()
    site_file = tmp_path / "include" / "sites" / "demonstration" / "shaqu.yaml"
    site_file.parent.mkdir(parents=True)
    site_file.write_text("start: 2024-01-01\n")
    port = stage.server_address[1]
    instance = Instance(layout, load_secrets(layout), {**FIRST_PORTS, "airflow": port, "cloud": port}, Wish())
    for service in instance.services():
        write_json(
            layout.run / f"{service.name}.pid", {"pid": os.getpid(), "started": started_at(os.getpid())}
        )
    return Rehearsal(instance, monotonic())


def test_a_wiped_airflow_is_turned_on_again_also_when_nothing_is_ahead(stage, rehearsal):
    write_json(rehearsal.instance.layout.home / "rehearsal.json", DATES)

    (rehearsal.instance.layout.root / "dags").mkdir()
    (rehearsal.instance.layout.root / "dags" / "deliver_messages.py").touch()
    stage.unread = 2

    rehearsal.run()

    assert stage.turned_on == ["monitor_shaqu", "deliver_messages"]


def test_an_api_server_that_is_too_busy_is_asked_again(stage, rehearsal):
    stage.states = [(503, {}), (500, {}), (200, {"state": "running"}), (200, {"state": "success"})]

    rehearsal._wait("one")

    assert stage.states == []


def test_a_run_that_airflow_does_not_know_is_an_error_at_once(stage, rehearsal):
    stage.states = [(404, {}), (200, {"state": "success"})]

    with pytest.raises(WebError, match="404"):
        rehearsal._wait("one")


def test_a_silent_api_server_that_has_died_is_named(stage, rehearsal):
    stage.states = [(503, {}), (200, {"state": "success"})]
    (rehearsal.instance.layout.run / "api-server.pid").unlink()

    with pytest.raises(LauncherError, match="api-server has stopped"):
        rehearsal._wait("one")
