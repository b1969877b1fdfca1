"""How we reach PostgreSQL, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sagwatch.errors import BadInputError, SagwatchError, TryAgainError

CONNECT_TIMEOUT_SECONDS = 10
#: A dead network is noticed after about idle + interval x count seconds, and not after two hours.
CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "application_name": "sagwatch",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

_WRONG_LOGIN = (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification)
_MAY_PASS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DiskFull,
    psycopg.errors.TooManyConnections,
)


def psycopg_url(url: str) -> URL:
    """The address with psycopg 3 as its driver, whatever driver it names.

    Raises
    ------
    BadInputError
        It is no PostgreSQL address.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as problem:
        raise BadInputError(
            "the database address cannot be read: write postgresql://user:password@host:port/database"
        ) from problem
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise BadInputError(
            f"the ledger needs PostgreSQL with PostGIS, not {parsed.get_backend_name()}: "
            "write postgresql://user:password@host:port/database"
        )
    return parsed.set(drivername="postgresql+psycopg")


@contextmanager
def told_clearly(url: URL) -> Iterator[None]:
    """Turn the driver's errors into ours; what a retry cannot mend stays as it is."""
    where = f"database {url.database} at {url.host or 'the local socket'}:{url.port or 5432}"
    try:
        yield
    except PoolTimeoutError as problem:
        raise TryAgainError(f"{where}: all connections are busy; trying again later") from problem
    except (DBAPIError, psycopg.Error) as problem:
        clear = _in_our_words(problem, where)
        if clear is None:
            raise
        raise clear from problem


def _in_our_words(problem: DBAPIError | psycopg.Error, where: str) -> SagwatchError | None:
    cause = problem.orig if isinstance(problem, DBAPIError) else problem
    text = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if isinstance(cause, _WRONG_LOGIN) or "authentication failed" in text:
        return BadInputError(f"{where} refuses the login ({text}): check user and password of its address")
    if isinstance(cause, psycopg.errors.InvalidCatalogName) or (
        "does not exist" in text and "database" in text
    ):
        return BadInputError(f"{where} does not exist ({text}): create it, or correct the address")
    if isinstance(cause, _MAY_PASS):
        return TryAgainError(f"{where} could not finish ({text}); nothing was written, trying again is safe")
    lost = isinstance(problem, DBAPIError) and problem.connection_invalidated
    if lost or (
        isinstance(cause, psycopg.OperationalError) and cause.sqlstate in {None, "57P01", "57P03", "08006"}
    ):
        return TryAgainError(f"{where} is away ({text}); trying again is safe")
    return None
