"""What one running Sagwatch consists of: its services, their addresses, and what each of them is told."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from launcher.layout import LauncherError, Layout
from launcher.process import MARK, Service


@dataclass(frozen=True)
class Wish:
    """What the user asked for; what he leaves out next time is as it was."""

    executor: str = "local"
    products: str | None = None

    def __post_init__(self) -> None:
        if self.executor not in ("local", "celery"):
            raise LauncherError(f"EXECUTOR={self.executor} is not known: say local or celery")
        if self.products is not None and not any(Path(self.products).glob("*.zip")):
            raise LauncherError(
                f"PRODUCTS={self.products} holds no *.zip: give the folder of your HyP3 products"
            )

    @classmethod
    def remembered(cls, layout: Layout, executor: str | None, products: str | None) -> Wish:
        path = layout.home / "wish.json"
        last = json.loads(path.read_text()) if path.exists() else {}
        absolute = str(Path(products).expanduser().resolve()) if products else last.get("products")
        return cls(executor or last.get("executor", "local"), absolute)


@dataclass(frozen=True)
class Instance:
    """One site's running system: where it is, what it is told, who listens where."""

    layout: Layout
    secrets: Mapping[str, str]
    ports: Mapping[str, int]
    wish: Wish

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['airflow']}"

    @property
    def cloud_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['cloud']}"

    @property
    def ledger_url(self) -> str:
        """The ledger, as its owner."""
        return given_database() or self._private_url("sagwatch", "sagwatch_owner", "owner")

    @property
    def analyst_url(self) -> str:
        """The ledger, as somebody who reads."""
        parts = urlsplit(self.ledger_url)
        host = parts.netloc.rpartition("@")[2]
        return f"postgresql://analyst:{self.secrets['analyst']}@{host}{parts.path}"

    @property
    def airflow_database_url(self) -> str:
        """Airflow's own database: beside the ledger, on the same server."""
        given = given_database()
        if given is None:
            return self._private_url("airflow", "airflow", "airflow_database")
        beside = f"{urlsplit(given).path.lstrip('/')}_airflow"
        default = urlsplit(given)._replace(path=f"/{beside}").geturl()
        return os.environ.get("SAGWATCH_AIRFLOW_DATABASE_URL", default)

    def _private_url(self, database: str, role: str, secret: str) -> str:
        return f"postgresql://{role}:{self.secrets[secret]}@127.0.0.1:{self.ports['postgres']}/{database}"

    def environment(self) -> dict[str, str]:
        """What every component is told; secrets travel here and not on command lines."""
        home = self.layout.home
        return {
            **_inherited(),
            MARK: self.secrets["instance"],
            "SPT_NOENV": "1",  # a changed process title must not write over the mark
            "PYTHONPATH": str(self.layout.root / "include"),
            "PYTHONUNBUFFERED": "1",
            "NUMBA_CACHE_DIR": str(home / "numba"),
            "MPLCONFIGDIR": str(home / "matplotlib"),
            "SAGWATCH_SITES": str(self.layout.root / "include" / "sites" / "demonstration"),
            "SAGWATCH_DATA": str(self.layout.data),
            "SAGWATCH_DATABASE_URL": self.ledger_url,
            "SAGWATCH_ANALYST_PASSWORD": self.secrets["analyst"],
            **self._connections(),
            **self._airflow_settings(),
            **(self._celery_settings() if self.wish.executor == "celery" else {}),
        }

    def _connections(self) -> dict[str, str]:
        """Airflow's Connections; one that names the simulated cloud is all that is simulated about it."""
        ledger = urlsplit(self.ledger_url)
        connections = {
            "sagwatch_database": {
                "conn_type": "postgres",
                "host": ledger.hostname,
                "port": ledger.port or 5432,
                "login": ledger.username,
                "password": ledger.password,
                "schema": ledger.path.lstrip("/"),
            },
            "sagwatch_hyp3": {
                "conn_type": "http",
                "host": self.cloud_url,
                "password": self.secrets["cloud_token"],
                "extra": {
                    "cmr": self.cloud_url,
                    "clock": self.cloud_url,
                    "poll_seconds": 1,
                    "lookup_pause_seconds": 0.2,
                },
            },
            "sagwatch_cds": {
                "conn_type": "http",
                "host": f"{self.cloud_url}/api",
                "password": self.secrets["cloud_token"],
            },
            "sagwatch_smtp": {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": self.ports["smtp"],
                "extra": {
                    "disable_ssl": True,
                    "disable_tls": True,
                    "from_email": "sagwatch@example.org",
                },
            },
            "sagwatch_slack": {
                "conn_type": "slackwebhook",
                "host": f"{self.cloud_url}/services",
                "password": "T0/B0/demonstration",
            },
        }
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(words) for name, words in connections.items()}

    def _airflow_settings(self) -> dict[str, str]:
        root, home, secrets = self.layout.root, self.layout.airflow_home, self.secrets
        settings = {
            "CORE__DAGS_FOLDER": root / "dags",
            "CORE__PLUGINS_FOLDER": root / "plugins",
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": True,
            "CORE__EXECUTOR": "CeleryExecutor" if self.wish.executor == "celery" else "LocalExecutor",
            "CORE__PARALLELISM": 8,
            "CORE__FERNET_KEY": secrets["fernet"],
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
            # Both: tasks call the execution API at the base URL, whose default is another port.
            "API__BASE_URL": self.airflow_url,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": self.ports["airflow"],
            "API__WORKERS": 1,
            "API__SECRET_KEY": secrets["api"],
            "API_AUTH__JWT_SECRET": secrets["jwt"],
            # psycopg 3 was seen to end the scheduler with an error at SIGTERM; psycopg 2 never.
            "DATABASE__SQL_ALCHEMY_CONN": self.airflow_database_url.replace(
                "postgresql://", "postgresql+psycopg2://", 1
            ),
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.2,
            "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
            "LOGGING__WORKER_LOG_SERVER_PORT": self.ports["worker_log"],
            "LOGGING__TRIGGER_LOG_SERVER_PORT": self.ports["trigger_log"],
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{k}": str(v) for k, v in settings.items()}

    def _celery_settings(self) -> dict[str, str]:
        backend = self.airflow_database_url.replace("postgresql://", "db+postgresql+psycopg2://", 1)
        return {
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": backend,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
        }

    def early_services(self) -> list[Service]:
        """What Airflow needs to find: the simulated cloud and, for Celery, the queue."""
        python, home, ports = str(self.layout.venv_python), self.layout.home, self.ports
        cloud = [python, "-m", "sagwatch.simulation", "--folder", str(home / "cloud")]
        cloud += ["--port", str(ports["cloud"]), "--smtp-port", str(ports["smtp"])]
        if self.wish.products is not None:
            cloud += ["--products", self.wish.products]
        else:
            cloud += ["--scenario", self.layout.site]
        services = [Service("cloud", cloud)]
        if self.wish.executor == "celery":
            (home / "redis").mkdir(exist_ok=True)
            words = (
                f"--port {ports['redis']} --bind 127.0.0.1 --save '' --appendonly yes --daemonize no".split()
            )
            redis = ["redis-server", *(word.strip("'") for word in words), "--dir", str(home / "redis")]
            services.append(Service("redis", redis))
        return services

    def airflow_services(self) -> list[Service]:
        airflow = [str(self.layout.venv_python), "-m", "airflow"]
        parts = ["api-server", "scheduler", "dag-processor", "triggerer"]
        services = [Service(part, [*airflow, part]) for part in parts]
        if self.wish.executor == "celery":
            second = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["worker_log_2"])}
            worker = [*airflow, "celery", "worker", "-q", "default"]
            services.append(Service("worker-1", [*worker, "-H", "w1@%h"]))
            services.append(Service("worker-2", [*worker, "-H", "w2@%h"], second))
        return services

    def services(self) -> list[Service]:
        return [*self.early_services(), *self.airflow_services()]

    def fingerprint(self) -> str:
        """Differs when anything that the services were started with has changed, their code included."""
        words = {k: v for k, v in self.environment().items() if k.startswith(("SAGWATCH_", "AIRFLOW_"))}
        commands = [list(service.command) for service in self.services()]
        root = self.layout.root
        code = [
            [str(path.relative_to(root)), path.stat().st_mtime_ns]
            for folder in ("include", "dags", "plugins", "launcher")
            for path in sorted((root / folder).rglob("*"))
            if path.suffix in (".py", ".yaml", ".sql", ".html")
        ]
        return hashlib.sha256(json.dumps([words, commands, code], sort_keys=True).encode()).hexdigest()


def _inherited() -> dict[str, str]:
    """The user's own environment, without what would lead Airflow or Python astray."""
    astray = ("AIRFLOW_", "AIRFLOW__", "PYTHON", "SAGWATCH_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(astray)}


def given_database() -> str | None:
    """A database server that the user brought, instead of a private one."""
    url = os.environ.get("SAGWATCH_DATABASE_URL")
    if url is not None and not (url.startswith("postgresql://") and urlsplit(url).path.strip("/")):
        raise LauncherError("SAGWATCH_DATABASE_URL must read postgresql://user:password@host:5432/database")
    return url
