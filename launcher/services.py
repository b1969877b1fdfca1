"""Everything that runs: the databases, the simulated cloud and Airflow's components, as one instance."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from launcher import process
from launcher.cluster import Cluster, find_binaries, home_of_cluster
from launcher.layout import ROOT, LauncherError, Layout, choose_ports, load_secrets, write_json
from launcher.process import MARK, Service
from launcher.web_client import WebError, get_json

HEALTHY_WITHIN_SECONDS = 180
AIRFLOW_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


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
                "extra": {"cmr": self.cloud_url, "clock": self.cloud_url, "poll_seconds": 1},
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

    def start(self) -> None:
        """Bring everything up, or keep what is up already and was started in the same way."""
        if self._is_up_as_wished():
            print("  everything runs already")
            return
        stop_services(self.layout, self.secrets["instance"])
        self._prepare_databases()
        for service in self.early_services():
            self.start_service(service)
        self._migrate()
        for service in self.airflow_services():
            self.start_service(service)
        write_json(self.layout.run / "fingerprint", self.fingerprint())
        self.wait_until_healthy()

    def _is_up_as_wished(self) -> bool:
        note = self.layout.run / "fingerprint"
        same = note.exists() and json.loads(note.read_text()) == self.fingerprint()
        alive = all(process.running_pid(one.name, self.layout.run) for one in self.services())
        if given_database() is None:
            alive = alive and private_cluster(self.layout, self.secrets, self.ports).is_running()
        return same and alive

    def fingerprint(self) -> str:
        words = {k: v for k, v in self.environment().items() if k.startswith(("SAGWATCH_", "AIRFLOW_"))}
        commands = [list(service.command) for service in self.services()]
        return hashlib.sha256(json.dumps([words, commands], sort_keys=True).encode()).hexdigest()

    def start_service(self, service: Service) -> None:
        process.start(
            service, self.environment(), self.layout.run, self.layout.log, cwd=self.layout.airflow_home
        )

    def _prepare_databases(self) -> None:
        """The server runs; Airflow's database and the ledger exist, with their owners and PostGIS."""
        databases: list[dict] = []
        roles: list[dict] = []
        given = given_database()
        if given is None:
            cluster = private_cluster(self.layout, self.secrets, self.ports)
            cluster.create()
            cluster.start()
            admin = cluster.url("postgres")
            owner = {"role": "sagwatch_owner", "password": self.secrets["owner"], "may_create_roles": True}
            roles = [owner, {"role": "airflow", "password": self.secrets["airflow_database"]}]
            databases = [
                {"name": "airflow", "owner": "airflow"},
                {"name": "sagwatch", "owner": "sagwatch_owner", "postgis": True},
            ]
        else:
            admin = given
            databases = [{"name": urlsplit(self.airflow_database_url).path.lstrip("/")}]
        wish = {"admin_url": admin, "roles": roles, "databases": databases}
        self._by_python("databases", ["-m", "launcher.databases"], json.dumps(wish))

    def _migrate(self) -> None:
        """Both databases get their tables, at the same time; Airflow's interrupted runs are released."""
        write_json(self.layout.airflow_home / "passwords.json", {"admin": self.secrets["admin"]})
        ledger = self._spawn(["-m", "sagwatch", "migrate"])
        airflow = self._spawn(["-m", "launcher.reconcile"])
        for name, started in (("the ledger's tables", ledger), ("Airflow's database", airflow)):
            said, complaint = started.communicate(timeout=300)
            (self.layout.log / "migrate.log").open("a").write(said + complaint)
            if started.returncode != 0:
                raise LauncherError(f"{name} could not be made:\n{_last(said + complaint)}")
            print("".join(line for line in said.splitlines(True) if "goes on" in line), end="")

    def _by_python(self, what: str, words: Sequence[str], told: str) -> None:
        started = self._spawn(words)
        said, complaint = started.communicate(told, timeout=120)
        if started.returncode != 0:
            raise LauncherError(f"{what}:\n{_last(said + complaint)}")

    def _spawn(self, words: Sequence[str]) -> subprocess.Popen[str]:
        environment = self.environment()
        environment["PYTHONPATH"] += f":{ROOT}"
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [str(self.layout.venv_python), *words],
            env=environment,
            cwd=self.layout.home,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def wait_until_healthy(self) -> None:
        """Until Airflow's four parts and the simulated cloud say so; a service that dies is named at once."""
        deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
        while (sick := self._sick_parts()) and time.monotonic() < deadline:
            process.check_alive([one.name for one in self.services()], self.layout.run, self.layout.log)
            time.sleep(0.3)
        if sick:
            raise LauncherError(
                f"not healthy after {HEALTHY_WITHIN_SECONDS} s: {', '.join(sick)}; look into {self.layout.log}"
            )

    def _sick_parts(self) -> list[str]:
        try:
            health = get_json(f"{self.airflow_url}/api/v2/monitor/health")
            sick = [part for part in AIRFLOW_PARTS if (health.get(part) or {}).get("status") != "healthy"]
        except WebError:
            sick = ["api-server"]
        try:
            get_json(f"{self.cloud_url}/clock")
        except WebError:
            sick.append("cloud")
        return sick


def _last(text: str, lines: int = 8) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


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


def private_cluster(layout: Layout, secrets: Mapping[str, str], ports: Mapping[str, int]) -> Cluster:
    binaries = find_binaries()
    if binaries is None:
        raise LauncherError("no PostgreSQL with PostGIS here: `make run` installs it")
    return Cluster(home_of_cluster(layout), ports["postgres"], secrets["postgres"], binaries)


def prepare(layout: Layout, wish: Wish) -> Instance:
    """The instance of this site, with its folders, secrets and ports; nothing is started yet."""
    layout.make_folders()
    secrets = load_secrets(layout)
    path = layout.home / "ports.json"
    if path.exists() and process.marked(secrets["instance"]):
        ports = json.loads(path.read_text())  # what runs keeps its doors
    else:
        stop_services(layout, secrets["instance"])
        stop_cluster(layout)
        ports = choose_ports(layout)
    instance = Instance(layout, secrets, ports, wish)
    write_json(layout.home / "wish.json", asdict(wish))
    _write_environment_file(instance)
    return instance


def find(layout: Layout) -> Instance:
    """The instance as it was started last."""
    path = layout.home / "ports.json"
    if not path.exists():
        raise LauncherError(f"nothing was ever started for {layout.site}: `make run` first")
    wish = Wish.remembered(layout, None, None)
    return Instance(layout, load_secrets(layout), json.loads(path.read_text()), wish)


def _write_environment_file(instance: Instance) -> None:
    """`. var/<site>/environment` lets a person run `python -m sagwatch` by hand."""
    told = {
        k: v
        for k, v in instance.environment().items()
        if k.startswith(("SAGWATCH_", "AIRFLOW", "PYTHONPATH"))
    }
    told.pop(MARK)  # or `make stop` would end the person's own shell
    path = instance.layout.home / "environment"
    path.touch(0o600)
    path.write_text("".join(f"export {name}={_quoted(value)}\n" for name, value in told.items()))


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\"'\"'") + "'"


def stop_services(layout: Layout, instance_id: str) -> None:
    """Stop Airflow and the cloud, first politely, then whatever still carries the instance's mark."""
    names = [path.stem for path in layout.run.glob("*.pid")]
    process.stop([name for name in names if name != "redis"], layout.run)
    process.stop(["redis"], layout.run)
    process.sweep(instance_id)
    (layout.run / "fingerprint").unlink(missing_ok=True)


def stop_cluster(layout: Layout) -> None:
    """Stop the private cluster, if there is one."""
    known = layout.home / "ports.json"
    home = layout.home
    if find_binaries() is None or not known.exists():
        return
    if (home / "postgres").exists() or (home / "postgres-folder").exists():
        private_cluster(layout, load_secrets(layout), json.loads(known.read_text())).stop()


def stop_everything(layout: Layout) -> None:
    stop_services(layout, load_secrets(layout)["instance"])
    stop_cluster(layout)


def remove_everything(layout: Layout) -> None:
    """Stop the instance and delete all its files, also those outside the checkout."""
    stop_everything(layout)
    outside = layout.home / "postgres-folder"
    if outside.exists():
        shutil.rmtree(outside.read_text(), ignore_errors=True)
    shutil.rmtree(layout.home)
