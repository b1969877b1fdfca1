"""Every route of the page stands behind Airflow's login and permissions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from sagwatch.web.app import HEADERS, create_app

from .conftest import KnownLedger

PATHS = [
    "/",
    "/page.css",
    "/page.js",
    "/map.js",
    "/history.js",
    "/icon.svg",
    "/api/overview",
    "/api/sites/shaqu/alerts",
    "/api/sites/shaqu/tracks/t011a/velocities?window=0",
    "/api/sites/shaqu/tracks/t011a/zones",
    "/api/sites/shaqu/tracks/t011a/blind-spots",
    "/api/sites/shaqu/tracks/t011a/history?row=20&column=30",
]


@pytest.fixture(scope="module")
def airflow_app(airflow_database: None) -> FastAPI:
    """Airflow's own application with our plugin in it, as the API server runs it."""
    from airflow.api_fastapi.app import create_app as airflow_create_app

    return airflow_create_app(apps="core")


@pytest.fixture
def signed_in(
    airflow_app: FastAPI, known: KnownLedger, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, TestClient]]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    address = make_url(known.url)
    connection = {
        "conn_type": "postgres",
        "host": address.host,
        "port": address.port,
        "login": address.username,
        "password": address.password,
        "schema": address.database,
    }
    monkeypatch.setenv("AIRFLOW_CONN_SAGWATCH_DATABASE", json.dumps(connection))
    clients = {}
    for role in ("admin", "viewer", None):
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=str(role), role=role))
        clients[str(role)] = TestClient(airflow_app, headers={"Authorization": f"Bearer {token}"})
    return clients


def test_the_list_of_paths_is_every_route_there_is(known: KnownLedger) -> None:
    app = create_app(known.reader, lambda: None)

    patterns = {path.partition("?")[0] for path in PATHS}
    matched = [
        [p for p in patterns if route.path_regex.match(p)]
        for route in app.routes
        if hasattr(route, "path_regex")
    ]
    assert all(matched), "a route has no path in PATHS, so nobody checks who may see it"


@pytest.mark.parametrize("path", PATHS)
def test_nobody_enters_without_a_login_and_no_forged_one_helps(airflow_app: FastAPI, path: str) -> None:
    anonymous = TestClient(airflow_app)

    assert anonymous.get(f"/sagwatch{path}").status_code == 401
    forged = anonymous.get(f"/sagwatch{path}", headers={"Authorization": "Bearer e30.e30.x"})
    assert forged.status_code == 403


def test_who_may_read_dags_enters_and_who_may_not_does_not(signed_in: dict[str, TestClient]) -> None:
    answers = {
        (path, role): client.get(f"/sagwatch{path}").status_code
        for path in PATHS
        for role, client in signed_in.items()
    }

    assert answers == {
        (path, role): 403 if role == "None" else 200 for path in PATHS for role in ("admin", "viewer", "None")
    }


class _SeesOnly:
    def __init__(self, *sites: str) -> None:
        self.sites = sites

    def may_see(self, site: str) -> bool:
        return site in self.sites


def test_who_may_see_another_site_only_does_not_see_this_one(known: KnownLedger) -> None:
    client = TestClient(create_app(known.reader, lambda: _SeesOnly("elsewhere")))

    assert client.get("/api/overview").json() == {"sites": []}
    for path in PATHS[7:]:
        assert client.get(path).status_code == 403, path


def test_every_answer_forbids_scripts_that_are_not_ours(known: KnownLedger) -> None:
    client = TestClient(create_app(known.reader, lambda: _SeesOnly("shaqu")))

    for path in [*PATHS, "/nothing-here"]:
        answer = client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS, path
    page = client.get("/").text
    assert "<script>" not in page
    assert " onclick" not in page
    assert " style=" not in page


def test_a_bad_question_gets_a_clear_no(known: KnownLedger) -> None:
    client = TestClient(create_app(known.reader, lambda: _SeesOnly("shaqu")))
    expected = {
        "/app.py": 404,
        "/..%2fapp.py": 404,
        "/api/sites/shaqu/tracks/t011a/velocities?window=7": 422,
        "/api/sites/shaqu/tracks/t018d/velocities": 404,
        "/api/sites/shaqu/tracks/t011a/history?row=20&column=1": 404,
        "/api/sites/shaqu/tracks/t011a/history?row=-1&column=1": 422,
        "/api/sites/shaqu/tracks/t011a/history?row=1;drop&column=1": 422,
    }

    assert {path: client.get(path).status_code for path in expected} == expected


def test_a_ledger_that_is_away_is_503_and_tells_no_address() -> None:
    from sagwatch.web.queries import Reader

    away = Reader(lambda: ("postgresql://nobody:secret@127.0.0.1:9/nowhere", None))
    answer = TestClient(create_app(away, lambda: _SeesOnly("shaqu"))).get("/api/overview")

    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert "127.0.0.1" not in answer.text
