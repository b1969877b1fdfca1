"""From Airflow's Connections to what the steps need. The only place that knows their names.

=====================  ===========================================================================================
``sagwatch_database``  the ledger, as the role that may write (owner or sagwatch_loader)
``sagwatch_web``       the ledger, as a role that may read; if missing, the page takes on role ``sagwatch_web`` itself
``sagwatch_hyp3``      HyP3: ``host`` (empty is ASF's own), ``password`` an Earthdata token, or ``login`` and
                       ``password``; extra: ``cmr`` (address of another catalogue), ``clock`` (address of a cloud that
                       drives time), ``poll_seconds``, ``lookup_pause_seconds``
``sagwatch_cds``       weather (ERA5), where a site wants it: ``password`` the access token of a Climate Data Store
                       account; ``host`` (empty is the official store), with http:// and port
``sagwatch_smtp``      mail (provider SMTP)
``sagwatch_slack``     Slack (provider Slack, Incoming Webhook)
=====================  ===========================================================================================

Nothing here runs while a DAG is being read.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy import URL

from sagwatch.adapters.site_files import load_sites
from sagwatch.domain.site import Site
from sagwatch.errors import BadInputError, StopAndAskError
from sagwatch.settings import PathSettings
from sagwatch.steps.ports import Catalogue, Clock, InsarCloud, Messenger, WeatherStore

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

DATABASE, WEB, HYP3, CDS, SMTP, SLACK = (
    "sagwatch_database",
    "sagwatch_web",
    "sagwatch_hyp3",
    "sagwatch_cds",
    "sagwatch_smtp",
    "sagwatch_slack",
)
DEFAULT_POLL_SECONDS = 60.0


def site(name: str) -> Site:
    """A site as its file describes it now.

    Raises
    ------
    SiteFileError
        The file is broken.
    BadInputError
        There is none.
    """
    folder = sites_folder()
    sites, problems = load_sites(folder)
    if name in sites:
        return sites[name]
    for problem in problems:
        if problem.file.stem == name:
            raise problem
    raise BadInputError(f"no site {name} in {folder}; there are {', '.join(sorted(sites)) or 'none'}")


def sites_folder() -> Path:
    """Where the site files are."""
    return PathSettings().sites


def data_folder() -> Path:
    """Where interferograms, revisions and downloads are."""
    return PathSettings().data


def ledger() -> Ledger:
    """The ledger; one pool of connections a process."""
    return _ledger(database_url(DATABASE))


@cache
def _ledger(url: str) -> Ledger:
    from sagwatch.adapters.database.ledger import Ledger

    return Ledger(url)


def clock() -> Clock:
    """The system's clock, unless the cloud's Connection names one that drives time itself."""
    from sagwatch.adapters.clock import CloudClock, SystemClock

    address = _extra("clock")
    return CloudClock(address) if address else SystemClock()


def catalogue() -> Catalogue:
    """NASA's catalogue, or the one that the cloud's Connection names."""
    from sagwatch.adapters.asf import AsfCatalogue

    return AsfCatalogue(base_url=_extra("cmr"))


def cloud() -> InsarCloud:
    """HyP3 with the credentials of its Connection."""
    from sagwatch.adapters.hyp3 import LOOKUP_PAUSE_SECONDS, Hyp3Cloud

    connection = _connection(HYP3)
    options: dict[str, Any] = {"url": connection.host} if connection.host else {}
    if connection.login:
        options |= {"username": connection.login, "password": connection.password}
    else:
        options |= {"token": connection.password}
    pause = float(_extra("lookup_pause_seconds") or LOOKUP_PAUSE_SECONDS)
    return Hyp3Cloud(lookup_pause_seconds=pause, **options)


def weather_store() -> WeatherStore:
    """The Climate Data Store with the key of its Connection."""
    from sagwatch.adapters.era5 import ClimateDataStore

    connection = _connection(CDS)
    host = connection.host or ""
    if host and connection.port and "://" not in host:
        host = f"{connection.conn_type or 'http'}://{host}:{connection.port}"
    return ClimateDataStore(connection.password, host or None)


def poll_seconds() -> float:
    """How often the wait asks HyP3."""
    return float(_extra("poll_seconds") or DEFAULT_POLL_SECONDS)


def messengers() -> dict[str, Messenger]:
    """Who carries a message, by channel of the outbox."""
    from sagwatch.orchestration.messengers import AirflowMailer, SlackPoster

    return {"mail": AirflowMailer(SMTP, clock()), "slack": SlackPoster(SLACK)}


def database_url(connection_id: str) -> str:
    """The address that a database Connection names, for psycopg 3."""
    connection = _connection(connection_id)
    if not (connection.host and connection.schema):
        raise StopAndAskError(f"Connection {connection_id} needs a host and a schema (the database's name)")
    return URL.create(
        "postgresql+psycopg",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
    ).render_as_string(hide_password=False)


def web_database_url() -> tuple[str, str | None]:
    """The address for the web page, and the role that it must take on first (None where it logs in as that)."""
    try:
        return database_url(WEB), None
    except StopAndAskError:
        return database_url(DATABASE), "sagwatch_web"


def _extra(key: str) -> Any:
    return _connection(HYP3).extra_dejson.get(key)


def _connection(connection_id: str) -> Connection:
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException as problem:
        raise StopAndAskError(
            f"Airflow has no Connection {connection_id}: add it under Admin, Connections, "
            f"or as environment variable AIRFLOW_CONN_{connection_id.upper()}"
        ) from problem
