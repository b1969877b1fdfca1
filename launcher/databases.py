"""Makes databases, their owners and PostGIS on a server. Run by the environment's Python, for its driver."""

from __future__ import annotations

import json
import sys

import psycopg
from psycopg import sql

from launcher.layout import ROOT

#: PostGIS, and what people who only read must not be able to do.
AS_SUPERUSER = ROOT / "include" / "sagwatch" / "sql" / "as_superuser.sql"


def ensure_role(admin_url: str, role: str, password: str, *, may_create_roles: bool = False) -> None:
    """A role that may log in with this password, and make further roles where it owns the ledger."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        words = f"{'ALTER' if known else 'CREATE'} ROLE {{}} LOGIN PASSWORD {{}}"
        words += " CREATEROLE" if may_create_roles else ""
        connection.execute(sql.SQL(words).format(sql.Identifier(role), sql.Literal(password)))


def ensure_database(admin_url: str, name: str, owner: str | None = None, *, postgis: bool = False) -> None:
    """A database of this name, by default of the connecting role; with PostGIS where asked for."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if not known:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if owner is not None:
                statement += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
            connection.execute(statement)
    if postgis:
        with psycopg.connect(admin_url, dbname=name, autocommit=True) as connection:
            connection.execute(AS_SUPERUSER.read_text(encoding="utf-8"))


def main() -> None:
    """Do what standard input asks: {"admin_url", "roles": [{...}], "databases": [{...}]}."""
    wish = json.load(sys.stdin)
    try:
        for role in wish["roles"]:
            ensure_role(wish["admin_url"], **role)
        for database in wish["databases"]:
            ensure_database(wish["admin_url"], **database)
    except psycopg.Error as error:
        sys.exit(f"the database server refuses: {str(error).strip()}")


if __name__ == "__main__":
    main()
