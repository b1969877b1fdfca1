"""Who may do what: people who read cannot write, however they try, and decisions are never changed by anybody."""

import secrets

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import make_url

from launcher.databases import ensure_role
from sagwatch.adapters.database.migrate import migrate
from sagwatch.errors import BadInputError
from tests.database.published import START, TRACK, make_arrays, make_series, make_site, publish

PASSWORD = "correct-horse'battery'%staple:@/"


def login(url, user, password):
    return make_url(url).set(username=user, password=password).render_as_string(hide_password=False)


@pytest.fixture
def analyst_url(postgis_url, ledger):
    """A ledger with data, and the address with which an analyst reads it."""
    migrate(postgis_url, {"analyst": PASSWORD})  # rights on a database are not part of a cloned one
    ledger.sites.sync([make_site()], START)
    publish(ledger, 1, make_arrays(make_series(6)))
    return login(postgis_url, "analyst", PASSWORD)


def test_an_analyst_reads_plain_rows(analyst_url):
    with psycopg.connect(analyst_url) as connection:
        count, site = connection.execute("SELECT count(*), min(site) FROM current_velocities").fetchone()
        series = connection.execute(
            "SELECT * FROM series((SELECT min(point_id) FROM current_velocities))"
        ).fetchall()
        text = connection.execute("SELECT st_astext(geom) FROM current_velocities LIMIT 1").fetchone()[0]
        timeout = connection.execute("SHOW statement_timeout").fetchone()[0]

    assert (count > 500, site, len(series), timeout) == (True, "anyang", 6, "1min")
    assert text.startswith("POINT(110.")


ATTACKS = [
    "INSERT INTO analyst.alerts DEFAULT VALUES",
    "UPDATE analyst.acquisitions SET state = 'used'",
    "UPDATE analyst.pipeline_events SET text = ''",
    "DELETE FROM analyst.messages",
    "DELETE FROM analyst.credit_readings",
    "INSERT INTO analyst.credit_readings VALUES (now(), 1e6)",
    "SELECT * FROM sagwatch.point",
    "SELECT * FROM sagwatch.message",
    "SELECT config FROM sagwatch.site",
    "UPDATE sagwatch.track SET fence = 0",
    "INSERT INTO sagwatch.credit_reading (read_at) VALUES (now())",
    "TRUNCATE sagwatch.alert_event",
    "DROP VIEW analyst.alerts",
    "DROP SCHEMA analyst CASCADE",
    "ALTER VIEW analyst.alerts RENAME TO gone",
    "CREATE TABLE public.mine (a int)",
    "CREATE TABLE analyst.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE TEMP VIEW mine AS SELECT 1",
    "SELECT * INTO public.mine FROM analyst.alerts",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "CREATE ROLE mallory",
    "GRANT sagwatch_loader TO analyst",
    "SET ROLE sagwatch_loader",
    "SET SESSION AUTHORIZATION sagwatch_loader",
    "ALTER ROLE analyst SUPERUSER",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_advisory_lock(7204011697)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/analyst'",
    "SELECT * FROM analyst.alerts FOR UPDATE",
    "LOCK TABLE sagwatch.track IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE analyst.alerts IN ACCESS EXCLUSIVE MODE",
    "SELECT pg_reload_conf()",
    "SET session_replication_role = replica",
    "SELECT nextval('sagwatch.message_id_seq')",
    "REFRESH MATERIALIZED VIEW analyst.alerts",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_analyst_cannot_write_whatever_defaults_are_switched_off(analyst_url_shared, attack):
    refusals = (
        errors.InsufficientPrivilege,
        errors.ObjectNotInPrerequisiteState,
        errors.FeatureNotSupported,
        errors.WrongObjectType,
    )
    with psycopg.connect(analyst_url_shared) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute("SET statement_timeout = 5000")
        connection.commit()
        connection.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(refusals):
            connection.execute(attack)


@pytest.fixture(scope="module")
def shared_url(postgis_server, template_database):
    """One migrated database, as superuser, for everything that may change nothing or does no harm."""
    name = f"sagwatch_attacked_{secrets.token_hex(4)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(postgis_server, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template_database)))
    url = make_url(postgis_server).set(database=name).render_as_string(hide_password=False)
    migrate(url, {"analyst": PASSWORD})
    yield url
    with psycopg.connect(postgis_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def analyst_url_shared(shared_url):
    return login(shared_url, "analyst", PASSWORD)


def test_a_function_of_ours_cannot_be_led_astray_by_the_search_path(analyst_url):
    """SECURITY DEFINER functions with a caller's search path would run the caller's objects as owner."""
    with psycopg.connect(analyst_url) as connection:
        unsafe = connection.execute(
            "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'analyst' "
            "AND prosecdef AND NOT coalesce(proconfig::text LIKE '%search_path=pg_catalog, public, pg_temp%', false)"
        ).fetchall()
        definers = connection.execute(
            "SELECT count(*) FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace "
            "WHERE nspname = 'analyst' AND prosecdef"
        ).fetchone()[0]
    assert (unsafe, definers > 2) == ([], True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sagwatch.alert_event SET sentence = 'nothing happened'",
        "DELETE FROM sagwatch.alert_event",
        "TRUNCATE sagwatch.alert_event CASCADE",
    ],
)
def test_events_are_only_ever_inserted_even_by_a_superuser(shared_url, statement):
    with psycopg.connect(shared_url) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(errors.InsufficientPrivilege, match="only ever inserted"):
            connection.execute(statement)


def as_role(url, role, statement):
    with psycopg.connect(url) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        return connection.execute(statement).rowcount


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("sagwatch_sender", "UPDATE sagwatch.message SET state = 'sent', sent_at = now()"),
        ("sagwatch_sender", "SELECT * FROM sagwatch.message FOR UPDATE SKIP LOCKED"),
        ("sagwatch_loader", "UPDATE sagwatch.track SET searched_at = now()"),
        (
            "sagwatch_loader",
            "INSERT INTO sagwatch.operation_event (at, kind, severity, text, details, dedupe_key) "
            "VALUES (now(), 'k', 'info', 't', '{}', 'd')",
        ),
        ("sagwatch_web", "SELECT * FROM sagwatch.point_velocity"),
        ("sagwatch_web", "SELECT * FROM analyst.current_velocities"),
    ],
)
def test_every_role_can_do_its_work(shared_url, role, statement):
    as_role(shared_url, role, statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("sagwatch_sender", "UPDATE sagwatch.message SET body_text = ''"),
        ("sagwatch_sender", "UPDATE sagwatch.message SET recipient = 'mallory@example.org'"),
        ("sagwatch_sender", "DELETE FROM sagwatch.message"),
        ("sagwatch_sender", "SELECT * FROM sagwatch.alert_event"),
        ("sagwatch_sender", "SELECT * FROM analyst.alerts"),
        ("sagwatch_loader", "UPDATE sagwatch.alert_event SET sentence = ''"),
        ("sagwatch_loader", "DELETE FROM sagwatch.revision"),
        ("sagwatch_loader", "UPDATE sagwatch.judgement SET zones = 0"),
        ("sagwatch_loader", "UPDATE sagwatch.alembic_version SET version_num = 'x'"),
        ("sagwatch_loader", "DROP TABLE sagwatch.point"),
        ("sagwatch_web", "UPDATE sagwatch.alert SET state = 'cleared'"),
        ("sagwatch_web", "INSERT INTO sagwatch.credit_reading (read_at) VALUES (now())"),
    ],
)
def test_no_role_can_do_more_than_its_work(shared_url, role, statement):
    with pytest.raises(errors.InsufficientPrivilege):
        as_role(shared_url, role, statement)


@pytest.fixture
def ordinary_owner_url(postgis_server, empty_database_url):
    """A database whose owner may create roles and nothing else, as `make run` and sensible servers have it."""
    role, password = f"owner_{secrets.token_hex(4)}", secrets.token_hex(8)
    ensure_role(postgis_server, role, password)
    name = make_url(empty_database_url).database
    with psycopg.connect(postgis_server, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(role)))
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role))
        )
    return login(empty_database_url, role, password)


def test_an_owner_without_postgis_is_told_what_a_superuser_must_do(ordinary_owner_url):
    with pytest.raises(BadInputError, match=r"as_superuser\.sql"):
        migrate(ordinary_owner_url)


def test_an_owner_who_is_no_superuser_can_migrate_and_publish(ordinary_owner_url, empty_database_url):
    from sagwatch.adapters.database.ledger import Ledger
    from sagwatch.adapters.database.migrate import SQL_FOLDER

    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute((SQL_FOLDER / "as_superuser.sql").read_text())
    migrate(ordinary_owner_url)
    migrate(ordinary_owner_url)

    ledger = Ledger(ordinary_owner_url)
    ledger.sites.sync([make_site()], START)
    publish(ledger, 1, make_arrays(make_series(3)))
    assert ledger.publication.head(TRACK).number == 1
    ledger.close()


def test_the_loader_role_is_enough_to_publish(postgis_url, ledger):
    from sagwatch.adapters.database.ledger import Ledger

    migrate(postgis_url, {"loader": PASSWORD})
    loader = Ledger(login(postgis_url, "sagwatch_loader", PASSWORD))
    loader.sites.sync([make_site()], START)

    publish(loader, 1, make_arrays(make_series(3)))
    publish(loader, 2, make_arrays(make_series(4)))

    assert ledger.publication.head(TRACK).number == 2
    loader.close()


def test_a_view_built_on_ours_is_named_and_kept(postgis_url):
    with psycopg.connect(postgis_url) as connection:
        connection.execute("CREATE VIEW public.my_alerts AS SELECT * FROM analyst.alerts")

    with pytest.raises(BadInputError, match="my_alerts"):
        migrate(postgis_url)

    with psycopg.connect(postgis_url) as connection:
        assert connection.execute("SELECT count(*) FROM public.my_alerts").fetchone() == (0,)


def test_a_password_for_an_unknown_role_is_refused(postgis_url):
    with pytest.raises(BadInputError, match="no role is called 'root'"):
        migrate(postgis_url, {"root": "x"})
