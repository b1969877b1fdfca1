"""Brings a database up to this code: schemas, tables, views, roles and grants, all or nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from psycopg import sql
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import ProgrammingError

import sagwatch.sql
from sagwatch.adapters.database.connection import CONNECT_ARGUMENTS, psycopg_url, told_clearly
from sagwatch.errors import BadInputError

log = logging.getLogger(__name__)

SQL_FOLDER = Path(sagwatch.sql.__file__).parent
#: Any number will do, as long as every version of Sagwatch uses the same.
_LOCK = 7_204_011_697

#: Views and functions of schema `analyst`, by file `sql/views/<name>.sql`; a later one may use earlier ones.
VIEWS = (
    "velocity_class",
    "current_velocities",
    "series",
    "velocities_as_of",
    "nearest_point",
    "alerts",
    "zones",
    "points_below_threshold",
    "acquisitions",
    "interferograms",
    "unfinished_work",
    "freshness",
    "operations",
)

#: Roles that may be given a login by a password; `analyst` is a member of the group sagwatch_analyst.
LOGIN_ROLES = {
    "loader": "sagwatch_loader",
    "sender": "sagwatch_sender",
    "web": "sagwatch_web",
    "analyst": "analyst",
}


def code_version() -> str:
    """The newest migration that this code knows."""
    return max(path.stem for path in (SQL_FOLDER / "migrations" / "versions").glob("[0-9]*.py"))


def refuse_other_version(found: str | None) -> None:
    """Stop before an old worker meets a newer database, or the other way round.

    Raises
    ------
    BadInputError
        The database is not at this code's version.
    """
    expected = code_version()
    if found is None or found < expected:
        raise BadInputError(
            f"the database is at version {found or 'none'}, this code needs {expected}: "
            "run `python -m sagwatch migrate`"
        )
    if found > expected:
        _refuse_newer(found)


def _refuse_newer(found: str) -> None:
    raise BadInputError(
        f"the database is at version {found}, newer than this code ({code_version()}): "
        "update Sagwatch here; an older one must not write into it"
    )


def migrate(url: str, passwords: Mapping[str, str] | None = None) -> str:
    """Bring the database up to this code in one transaction; doing it twice, or two at once, is safe.

    Parameters
    ----------
    url : address of the database, as the role that is to own the ledger.
    passwords : by short name of a role (see `LOGIN_ROLES`): those named may log in with it.

    Returns
    -------
    The version that the database has now.

    Raises
    ------
    BadInputError
        The database is newer than the code, PostGIS is missing, or the role may not do what is needed.
    TryAgainError
        The database is away.
    """
    address = psycopg_url(url)
    engine = create_engine(address, poolclass=NullPool, connect_args=CONNECT_ARGUMENTS)
    with told_clearly(address), engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        found = _version_of(connection)
        if found is not None and found > code_version():
            _refuse_newer(found)
        _as_superuser(connection)
        _require_postgis(connection)
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS sagwatch"))
        _upgrade_tables(connection)
        _make_roles(connection)
        _recreate_views(connection)
        _run_file(connection, "grants.sql")
        _give_logins(connection, passwords or {})
    return code_version()


def _version_of(connection: Connection) -> str | None:
    known = connection.scalar(text("SELECT to_regclass('sagwatch.alembic_version') IS NOT NULL"))
    return connection.scalar(text("SELECT version_num FROM sagwatch.alembic_version")) if known else None


def _as_superuser(connection: Connection) -> None:
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        _run_file(connection, "as_superuser.sql")


def _require_postgis(connection: Connection) -> None:
    if connection.scalar(text("SELECT count(*) FROM pg_extension WHERE extname = 'postgis'")) == 0:
        raise BadInputError(
            f"database {connection.engine.url.database} has no PostGIS and this role may not add it: let a superuser "
            f"run include/sagwatch/sql/as_superuser.sql there (CREATE EXTENSION postgis)"
        )


def _upgrade_tables(connection: Connection) -> None:
    from alembic import command  # only a migration needs it, every task imports this file
    from alembic.config import Config

    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(SQL_FOLDER / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _make_roles(connection: Connection) -> None:
    try:
        with connection.begin_nested():
            _run_file(connection, "roles.sql")
    except ProgrammingError as problem:
        raise BadInputError(
            "this role may not create roles: give it CREATEROLE, or let a superuser run "
            f"include/sagwatch/sql/roles.sql first ({problem.orig})"
        ) from problem


def _recreate_views(connection: Connection) -> None:
    """Drop and make again everything in schema `analyst`.

    Raises
    ------
    BadInputError
        Somebody built a view of their own on ours; dropping ours would silently take theirs along.
    """
    strangers = connection.scalars(text(_STRANGERS)).all()
    if strangers:
        raise BadInputError(
            f"views outside schema analyst are built on ours ({', '.join(strangers)}): drop them, migrate, and "
            "create them again"
        )
    connection.execute(text("DROP SCHEMA IF EXISTS analyst CASCADE"))
    connection.execute(text("CREATE SCHEMA analyst"))
    for name in VIEWS:
        _run_file(connection, f"views/{name}.sql")


_STRANGERS = """
SELECT DISTINCT theirs.oid::regclass::text
FROM pg_depend
JOIN pg_rewrite ON pg_depend.classid = 'pg_rewrite'::regclass AND pg_depend.objid = pg_rewrite.oid
JOIN pg_class theirs ON theirs.oid = pg_rewrite.ev_class
LEFT JOIN pg_class ours ON pg_depend.refclassid = 'pg_class'::regclass AND ours.oid = pg_depend.refobjid
LEFT JOIN pg_proc our_function
    ON pg_depend.refclassid = 'pg_proc'::regclass AND our_function.oid = pg_depend.refobjid
JOIN pg_namespace our_schema ON our_schema.oid = coalesce(ours.relnamespace, our_function.pronamespace)
JOIN pg_namespace their_schema ON their_schema.oid = theirs.relnamespace
WHERE our_schema.nspname = 'analyst' AND their_schema.nspname <> 'analyst'
ORDER BY 1
"""


def _run_file(connection: Connection, name: str) -> None:
    """Run a file of ours as it stands: no parameters, so that % and : keep their meaning in SQL."""
    driver = connection.connection.driver_connection
    driver.execute((SQL_FOLDER / name).read_text(encoding="utf-8"))  # type: ignore[union-attr]


def _give_logins(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Let roles log in; the server gets the password's SCRAM verifier, so its log never sees the password."""
    unknown = sorted(set(passwords) - set(LOGIN_ROLES))
    if unknown:
        raise BadInputError(f"no role is called {unknown[0]!r}: there are {', '.join(LOGIN_ROLES)}")
    driver = connection.connection.driver_connection
    assert driver is not None
    for name, password in passwords.items():
        role = LOGIN_ROLES[name]
        known = driver.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None
        verifier = driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        words = f"{'ALTER' if known else 'CREATE'} ROLE {{}} LOGIN PASSWORD {{}}"
        driver.execute(sql.SQL(words).format(sql.Identifier(role), sql.Literal(verifier)))
        if role == "analyst":
            _run_file(connection, "analyst_login.sql")
        log.info("role %s may log in", role)
