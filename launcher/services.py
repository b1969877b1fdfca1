"""Starts and stops an instance: databases first, then the simulated cloud, then Airflow's components."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from urllib.parse import urlsplit

from launcher import process
from launcher.cluster import Cluster, find_binaries, home_of_cluster
from launcher.instance import Instance, Wish, given_database
from launcher.layout import (
    FIRST_PORTS,
    ROOT,
    LauncherError,
    Layout,
    choose_ports,
    load_secrets,
    ordered_ports,
    write_json,
)
from launcher.process import MARK, Service
from launcher.web_client import WebError, call, get_json

HEALTHY_WITHIN_SECONDS = 180
STARTS_TASKS = ("scheduler", "worker-1", "worker-2")
AIRFLOW_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def start(instance: Instance) -> None:
    """Bring everything up, or keep what is up already and was started in the same way."""
    if _is_up_as_wished(instance):
        print("  everything runs already")
        return
    stop_services(instance.layout, instance.secrets["instance"])
    _prepare_databases(instance)
    for service in instance.early_services():
        start_service(instance, service)
    _migrate(instance)
    # The scheduler comes last: a task that starts before the API server answers fails at once.
    last = [one for one in instance.airflow_services() if one.name in STARTS_TASKS]
    for service in instance.airflow_services():
        if service not in last:
            start_service(instance, service)
    _wait_until_well(instance, lambda sick: "api-server" not in sick)
    for service in last:
        start_service(instance, service)
    write_json(instance.layout.run / "fingerprint", instance.fingerprint())
    _wait_until_well(instance, lambda sick: not sick)


def _is_up_as_wished(instance: Instance) -> bool:
    note = instance.layout.run / "fingerprint"
    same = note.exists() and json.loads(note.read_text()) == instance.fingerprint()
    alive = all(process.running_pid(one.name, instance.layout.run) for one in instance.services())
    if given_database() is None:
        alive = alive and private_cluster(instance.layout, instance.secrets, instance.ports).is_running()
    return same and alive


def revive(instance: Instance) -> list[str]:
    """Start again what has ended by itself; return the names."""
    dead = [one for one in instance.services() if process.running_pid(one.name, instance.layout.run) is None]
    if given_database() is None:
        private_cluster(instance.layout, instance.secrets, instance.ports).start()
    for service in dead:
        start_service(instance, service)
    return [service.name for service in dead]


def start_service(instance: Instance, service: Service) -> None:
    process.start(
        service,
        instance.environment(),
        instance.layout.run,
        instance.layout.log,
        cwd=instance.layout.airflow_home,
    )


def _prepare_databases(instance: Instance) -> None:
    """The server runs; Airflow's database and the ledger exist, with their owners and PostGIS."""
    databases: list[dict] = []
    roles: list[dict] = []
    given = given_database()
    if given is None:
        cluster = private_cluster(instance.layout, instance.secrets, instance.ports)
        cluster.create()
        cluster.start()
        admin = cluster.url("postgres")
        owner = {"role": "sagwatch_owner", "password": instance.secrets["owner"], "may_create_roles": True}
        roles = [owner, {"role": "airflow", "password": instance.secrets["airflow_database"]}]
        databases = [
            {"name": "airflow", "owner": "airflow"},
            {"name": "sagwatch", "owner": "sagwatch_owner", "postgis": True},
        ]
    else:
        admin = given
        databases = [{"name": urlsplit(instance.airflow_database_url).path.lstrip("/")}]
    wish = {"admin_url": admin, "roles": roles, "databases": databases}
    _by_python(instance, "databases", ["-m", "launcher.databases"], json.dumps(wish))


def _migrate(instance: Instance) -> None:
    """Both databases get their tables, at the same time; Airflow's interrupted runs are released."""
    write_json(instance.layout.airflow_home / "passwords.json", {"admin": instance.secrets["admin"]})
    ledger = _spawn(instance, ["-m", "sagwatch", "migrate"])
    airflow = _spawn(instance, ["-m", "launcher.reconcile"])
    for name, started in (("the ledger's tables", ledger), ("Airflow's database", airflow)):
        said, complaint = started.communicate(timeout=300)
        (instance.layout.log / "migrate.log").open("a").write(said + complaint)
        if started.returncode != 0:
            raise LauncherError(f"{name} could not be made:\n{_last(said + complaint)}")
        print("".join(line for line in said.splitlines(True) if "goes on" in line), end="")


def _by_python(instance: Instance, what: str, words: Sequence[str], told: str) -> None:
    started = _spawn(instance, words)
    said, complaint = started.communicate(told, timeout=120)
    if started.returncode != 0:
        raise LauncherError(f"{what}:\n{_last(said + complaint)}")


def _spawn(instance: Instance, words: Sequence[str]) -> subprocess.Popen[str]:
    environment = instance.environment()
    environment["PYTHONPATH"] += f":{ROOT}"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [str(instance.layout.venv_python), *words],
        env=environment,
        cwd=instance.layout.home,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def _wait_until_well(instance: Instance, well_enough: Callable[[list[str]], bool]) -> None:
    """Until Airflow's parts and the simulated cloud say so; a service that dies is named at once."""
    layout = instance.layout
    started = [path.stem for path in layout.run.glob("*.pid")]
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    while not well_enough(sick := _sick_parts(instance)):
        process.check_alive(started, layout.run, layout.log)
        if time.monotonic() > deadline:
            raise LauncherError(
                f"not healthy after {HEALTHY_WITHIN_SECONDS} s: {', '.join(sick)}; look into {layout.log}"
            )
        time.sleep(0.2)


def _sick_parts(instance: Instance) -> list[str]:
    try:
        health = get_json(f"{instance.airflow_url}/api/v2/monitor/health")
        sick = [part for part in AIRFLOW_PARTS if (health.get(part) or {}).get("status") != "healthy"]
        # Another Airflow may have taken the port while ours was starting; it does not know our password.
        login = {"username": "admin", "password": instance.secrets["admin"]}
        call("POST", f"{instance.airflow_url}/auth/token", login)
    except WebError:
        sick = ["api-server"]
    try:
        get_json(f"{instance.cloud_url}/clock")
    except WebError:
        sick.append("cloud")
    return sick


def _last(text: str, lines: int = 8) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-lines:])


def private_cluster(layout: Layout, secrets: Mapping[str, str], ports: Mapping[str, int]) -> Cluster:
    binaries = find_binaries()
    if binaries is None:
        raise LauncherError("no PostgreSQL with PostGIS here: `make run` installs it")
    return Cluster(home_of_cluster(layout), ports["postgres"], secrets["postgres"], binaries)


def is_running(layout: Layout) -> bool:
    """Whether any process of this instance lives."""
    return (layout.home / "secrets.json").exists() and bool(process.marked(load_secrets(layout)["instance"]))


def prepare(layout: Layout, wish: Wish) -> Instance:
    """The instance of this site, with its folders, secrets and ports; nothing is started yet."""
    layout.make_folders()
    secrets = load_secrets(layout)
    path = layout.home / "ports.json"
    ports = json.loads(path.read_text()) if path.exists() else {}
    instance = Instance(layout, secrets, ports, wish)
    # What runs keeps its doors. What runs only in part may do so because one of its ports is another's now.
    keeps = ports.keys() >= FIRST_PORTS.keys() and ports.items() >= ordered_ports().items()
    if not (keeps and _is_up_as_wished(instance)):
        stop_services(layout, secrets["instance"])
        stop_cluster(layout)
        instance = Instance(layout, secrets, choose_ports(layout), wish)
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
