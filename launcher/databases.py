"""Makes databases, their owners and PostGIS on a server. Run by the environment's Python, for its driver."""

from __future__ import annotations

import json
import sys

import psycopg
from psycopg import sql


def ensure_role(admin_url: str, role: str, password: str) -> None:
    """A role that may log in with this password."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        words = "ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}"
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
            connection.execute("CREATE EXTENSION IF NOT EXISTS postgis")


def main() -> None:
    """Do what standard input asks: {"admin_url", "roles": {name: password}, "databases": [{...}]}."""
    wish = json.load(sys.stdin)
    try:
        for role, password in wish["roles"].items():
            ensure_role(wish["admin_url"], role, password)
        for database in wish["databases"]:
            ensure_database(wish["admin_url"], **database)
    except psycopg.Error as error:
        sys.exit(f"the database server refuses: {str(error).strip()}")


if __name__ == "__main__":
    main()
