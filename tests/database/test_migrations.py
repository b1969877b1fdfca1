"""Migrations: models and tables agree, twice is once, and a newer database is left alone."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from geoalchemy2 import alembic_helpers
from sqlalchemy import create_engine, text

from sagwatch.adapters.database.connection import psycopg_url
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.migrate import code_version, migrate
from sagwatch.adapters.database.models import Base
from sagwatch.errors import BadInputError, TryAgainError


@pytest.fixture
def connection(postgis_url):
    engine = create_engine(psycopg_url(postgis_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_models_and_migrations_agree(connection):
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, parents: kind != "schema" or name == "sagwatch",
        "include_object": alembic_helpers.include_object,
        "version_table_schema": "sagwatch",
        "compare_server_default": True,
    }

    differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    assert differences == []


def test_migrating_twice_keeps_what_is_there(postgis_url, connection):
    connection.execute(text("INSERT INTO sagwatch.credit_reading (read_at, remaining) VALUES (now(), 7)"))
    connection.commit()

    assert migrate(postgis_url) == code_version()

    assert connection.scalar(text("SELECT remaining FROM sagwatch.credit_reading")) == 7


def test_two_migrations_at_once_are_safe(empty_database_url):
    problems = []

    def run():
        try:
            migrate(empty_database_url)
        except Exception as problem:  # noqa: BLE001  whatever it is, the test must see it
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    Ledger(empty_database_url).close()


def test_a_newer_database_is_refused_by_migration_and_by_workers(postgis_url, connection):
    connection.execute(text("UPDATE sagwatch.alembic_version SET version_num = '9999_future'"))
    connection.commit()

    with pytest.raises(BadInputError, match="9999_future, newer than this code"):
        migrate(postgis_url)
    with pytest.raises(BadInputError, match="update Sagwatch"), Ledger(postgis_url).begin() as session:
        session.execute(text("SELECT 1"))


def test_a_database_that_was_never_migrated_names_the_remedy(empty_database_url):
    with (
        pytest.raises(BadInputError, match="python -m sagwatch migrate"),
        Ledger(empty_database_url).begin() as session,
    ):
        session.execute(text("SELECT 1"))


def test_a_database_that_is_away_means_try_again():
    with pytest.raises(TryAgainError, match=r"127\.0\.0\.1:1 is away"):
        migrate("postgresql://nobody:secret@127.0.0.1:1/sagwatch")


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense"])
def test_an_address_of_something_else_is_bad_input_and_not_repeated_aloud(url):
    with pytest.raises(BadInputError, match="postgresql://user:password@host:port/database"):
        migrate(url)


def test_a_wrong_password_is_bad_input(postgis_url):
    wrong = psycopg_url(postgis_url).set(password="wrong-secret").render_as_string(hide_password=False)

    with pytest.raises(BadInputError, match="refuses the login") as problem:
        migrate(wrong)

    assert "wrong-secret" not in str(problem.value)
