"""The outside of a monitored mine, for real: the simulated cloud, PostGIS, Airflow's Connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import yaml
from sqlalchemy import make_url

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.orchestration.monitor import DEFAULT_ARGS
from sagwatch.simulation.running import RunningCloud, start

SITE = {
    "name": "shaqu",
    "title": "Shaqu coal mine",
    "boundary": {
        "type": "Polygon",
        "coordinates": [[[110.8, 37.4], [110.84, 37.4], [110.84, 37.45], [110.8, 37.45], [110.8, 37.4]]],
    },
    "start": "2023-12-30",
    "tracks": [
        {
            "name": "t011a",
            "relative_orbit": 11,
            "direction": "ascending",
            "bursts": ["011_021697_IW3"],
            "looks": "20x4",
            "grid": {
                "epsg": 32649,
                "west": 478720,
                "north": 4148160,
                "pixel_m": 80,
                "columns": 178,
                "rows": 167,
            },
        }
    ],
    "contacts": [{"name": "Mine safety", "email": "mine-safety@example.org", "slack": True}],
}


@dataclass(frozen=True)
class Outside:
    cloud: RunningCloud
    ledger: Ledger
    data: Path
    sites: Path


@pytest.fixture
def sites_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of site files with one good site in it."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "shaqu.yaml").write_text(yaml.safe_dump(SITE))
    monkeypatch.setenv("SAGWATCH_SITES", str(folder))
    return folder


@pytest.fixture
def outside(
    tmp_path: Path,
    postgis_url: str,
    ledger: Ledger,
    sites_folder: Path,
    airflow_database: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Outside]:
    monkeypatch.setenv("SAGWATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(DEFAULT_ARGS, "retry_delay", timedelta(seconds=0.2))
    monkeypatch.setitem(DEFAULT_ARGS, "max_retry_delay", timedelta(seconds=0.5))
    with start(tmp_path / "cloud", job_seconds=0.5) as cloud:
        loader = as_loader(postgis_url)
        for name, connection in connections(loader, cloud.url, cloud.smtp_port).items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        yield Outside(cloud, ledger, tmp_path / "data", sites_folder)


def as_loader(url: str) -> str:
    """The same ledger as the role that production gives to the steps: nothing here needs an owner."""
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("ALTER ROLE sagwatch_loader LOGIN PASSWORD 'for-tests-only'")
    loader = make_url(url).set(username="sagwatch_loader", password="for-tests-only")
    return loader.render_as_string(hide_password=False)


def connections(database_url: str, cloud_url: str, smtp_port: int) -> dict[str, dict[str, object]]:
    """Airflow's Connections, as the launcher makes them."""
    database = make_url(database_url)
    return {
        "sagwatch_database": {
            "conn_type": "postgres",
            "host": database.host,
            "port": database.port,
            "login": database.username,
            "password": database.password,
            "schema": database.database,
        },
        "sagwatch_hyp3": {
            "conn_type": "http",
            "host": cloud_url,
            "password": "any-token",
            "extra": {
                "cmr": cloud_url,
                "clock": cloud_url,
                "poll_seconds": 0.2,
                "lookup_pause_seconds": 0.2,
            },
        },
        "sagwatch_cds": {"conn_type": "http", "host": f"{cloud_url}/api", "password": "any-key"},
        "sagwatch_smtp": {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": smtp_port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "sagwatch@example.org"},
        },
        "sagwatch_slack": {
            "conn_type": "slackwebhook",
            "host": f"{cloud_url}/services",
            "password": "T0/B0/test",
        },
    }
