"""The ledger: one database that is the memory of everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from sagwatch.adapters.database.acquisitions import Acquisitions
from sagwatch.adapters.database.alerts import Alerts
from sagwatch.adapters.database.connection import CONNECT_ARGUMENTS, psycopg_url, told_clearly
from sagwatch.adapters.database.migrate import refuse_other_version
from sagwatch.adapters.database.network import Network
from sagwatch.adapters.database.operations import Operations
from sagwatch.adapters.database.orders import Orders
from sagwatch.adapters.database.outbox import Outbox
from sagwatch.adapters.database.products import Products
from sagwatch.adapters.database.publication import Publication
from sagwatch.adapters.database.revisions import Revisions
from sagwatch.adapters.database.sites import Sites
from sagwatch.adapters.database.unwrapping import Unwrapping
from sagwatch.adapters.database.weather import WeatherRecords


class Ledger:
    """One attribute per concern; each method of theirs is one transaction, unless it takes a session.

    A small pool: a task needs one connection, a page of the web app a few.
    """

    def __init__(self, url: str) -> None:
        self._address = psycopg_url(url)
        self.engine = create_engine(
            self._address,
            pool_size=2,
            max_overflow=6,
            pool_timeout=30,
            pool_pre_ping=True,
            connect_args=CONNECT_ARGUMENTS,
        )
        event.listen(self.engine, "connect", _refuse_other_version)
        self.sites = Sites(self)
        self.acquisitions = Acquisitions(self)
        self.orders = Orders(self)
        self.products = Products(self)
        self.network = Network(self)
        self.operations = Operations(self)
        self.weather = WeatherRecords(self)
        self.revisions = Revisions(self)
        self.alerts = Alerts(self)
        self.outbox = Outbox(self)
        self.publication = Publication(self)
        self.unwrapping = Unwrapping(self)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back by any exception.

        Raises
        ------
        TryAgainError
            The database is away, or two transactions stood in each other's way. A connection lost while
            committing leaves open whether it was committed; steps ask the ledger again, so trying again is safe.
        BadInputError
            Wrong address, login or version of the database.
        """
        with (
            told_clearly(self._address),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Let all connections go."""
        self.engine.dispose()


def _refuse_other_version(connection: psycopg.Connection[Any], _record: object) -> None:
    """Every new connection looks at the version, so an old worker stops after a migration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('sagwatch.alembic_version') IS NOT NULL")
        known = cursor.fetchone() == (True,)
        found = (
            cursor.execute("SELECT version_num FROM sagwatch.alembic_version").fetchone() if known else None
        )
    connection.rollback()
    refuse_other_version(found[0] if found else None)
