"""What tests share: a private database, the folder of real products, and an Airflow that is nobody's.

Airflow reads its settings when it is first imported, so they are set here, before any test module is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
_AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="sagwatch-airflow-"))
_TEMPLATE = "sagwatch_template"

os.environ.update(
    AIRFLOW_HOME=str(_AIRFLOW_HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_AIRFLOW_HOME}/airflow.db",
    PYTHONPATH=os.pathsep.join([str(ROOT / "include"), str(ROOT)]),
)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def postgis_server() -> Iterator[str]:
    """Address of a server's first database, as superuser: a throw-away cluster, or the one that is given.

    `SAGWATCH_TEST_DATABASE_URL` names a server on which the tests may create databases and roles.
    """
    given = os.environ.get("SAGWATCH_TEST_DATABASE_URL")
    if given:
        yield given
        return
    from launcher.cluster import temporary_cluster

    with temporary_cluster() as cluster:
        yield cluster.url("postgres")


@pytest.fixture(scope="session")
def template_database(postgis_server: str) -> Iterator[str]:
    """Name of a migrated, empty database that others are cloned from."""
    from sagwatch.adapters.database.migrate import migrate

    name = f"{_TEMPLATE}_{uuid.uuid4().hex[:8]}"
    _create_database(postgis_server, name)
    migrate(_url_of(postgis_server, name))
    yield name
    _drop_database(postgis_server, name)


@pytest.fixture
def postgis_url(postgis_server: str, template_database: str) -> Iterator[str]:
    """Address of a migrated ledger of the test's own, as superuser; made in a tenth of a second."""
    name = f"sagwatch_test_{uuid.uuid4().hex[:12]}"
    _create_database(postgis_server, name, template_database)
    yield _url_of(postgis_server, name)
    _drop_database(postgis_server, name)


@pytest.fixture
def empty_database_url(postgis_server: str) -> Iterator[str]:
    """Address of an empty database of the test's own: no PostGIS, no schema."""
    name = f"sagwatch_test_{uuid.uuid4().hex[:12]}"
    _create_database(postgis_server, name)
    yield _url_of(postgis_server, name)
    _drop_database(postgis_server, name)


@pytest.fixture
def ledger(postgis_url: str) -> Iterator[object]:
    """A ledger of the test's own."""
    from sagwatch.adapters.database.ledger import Ledger

    ledger = Ledger(postgis_url)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's own tables, in the temporary AIRFLOW_HOME."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real products and catalogue answers; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("SAGWATCH_REAL_DATA") or ROOT.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"no folder of real products at {folder}: set SAGWATCH_REAL_DATA to where it is")
    return folder


def _create_database(server: str, name: str, template: str = "template0") -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _drop_database(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _url_of(server: str, database: str) -> str:
    from sqlalchemy import make_url

    return make_url(server).set(database=database).render_as_string(hide_password=False)
