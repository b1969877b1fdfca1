"""docker-compose.yaml and Dockerfile, read by the real tools; no engine is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
AIRFLOW = ["api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2"]


def example_environment(without: str | None = None) -> dict[str, str]:
    """What .env.example asks for, filled in."""
    names = re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    filled = {name: value or f"secret-{name.lower()}" for name, value in names if name != without}
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **filled}


def compose(
    *words: str, environment: dict[str, str], folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "docker-compose"), "--env-file", os.devnull, "-f", "docker-compose.yaml", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def merged() -> dict[str, Any]:
    answer = compose("config", "--format", "json", environment=example_environment())
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_compose_accepts_the_file_when_everything_is_filled_in() -> None:
    answer = compose("config", "-q", environment=example_environment())

    assert (answer.returncode, answer.stderr) == (0, "")


def test_compose_refuses_a_wrong_key(tmp_path: Path) -> None:
    spoilt = (ROOT / "docker-compose.yaml").read_text().replace("    shm_size:", "    shm_sise:")
    (tmp_path / "docker-compose.yaml").write_text(spoilt)

    assert compose("config", "-q", environment=example_environment(), folder=tmp_path).returncode != 0


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "SAGWATCH_LOADER_PASSWORD",
        "SAGWATCH_WEB_PASSWORD",
        "AIRFLOW_DATABASE_PASSWORD",
        "REDIS_PASSWORD",
        "AIRFLOW_ADMIN_PASSWORD",
        "AIRFLOW_JWT_SECRET",
        "AIRFLOW_SECRET_KEY",
        "AIRFLOW_FERNET_KEY",
        "EARTHDATA_TOKEN",
        "SMTP_HOST",
        "SMTP_FROM",
    ],
)
def test_a_secret_that_is_missing_is_named_and_has_no_default(name: str) -> None:
    answer = compose("config", "-q", environment=example_environment(without=name))

    assert answer.returncode != 0
    assert name in answer.stderr


def test_the_compose_specification_accepts_the_file() -> None:
    command = [
        str(TOOLS / "check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yaml",
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert answer.returncode == 0, answer.stdout


def test_the_dockerfile_pleases_its_linter() -> None:
    answer = subprocess.run(
        [str(TOOLS / "hadolint"), "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (answer.returncode, answer.stdout) == (0, "")


def test_every_service_that_stays_says_whether_it_is_well_and_nothing_is_open_to_the_world(
    merged: dict[str, Any],
) -> None:
    services = merged["services"]

    assert set(services) == {*AIRFLOW, "postgres", "redis", "init"}
    for name, service in services.items():
        assert (name == "init") != ("healthcheck" in service), name
    published = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert [(name, port["host_ip"], port["target"]) for name, port in published] == [
        ("api-server", "127.0.0.1", 8080)
    ]


def test_all_components_of_airflow_share_settings_secrets_and_data(merged: dict[str, Any]) -> None:
    services = merged["services"]

    for name in AIRFLOW:
        service = services[name]
        assert service["environment"] == services["scheduler"]["environment"], name
        assert {volume["target"] for volume in service["volumes"]} >= {
            "/var/lib/sagwatch/data",
            "/var/lib/sagwatch/logs",
        }
        assert service["depends_on"]["init"]["condition"] == "service_completed_successfully"
        assert service["cap_drop"] == ["ALL"]


def test_the_connections_are_those_that_the_wiring_asks_for(merged: dict[str, Any]) -> None:
    from sagwatch.orchestration import wiring

    environment = merged["services"]["worker-1"]["environment"]
    found = {
        name.removeprefix("AIRFLOW_CONN_").lower(): json.loads(value)
        for name, value in environment.items()
        if name.startswith("AIRFLOW_CONN_")
    }

    assert set(found) == {wiring.DATABASE, wiring.WEB, wiring.HYP3, wiring.SMTP, wiring.SLACK}
    assert found["sagwatch_database"]["login"] == "sagwatch_loader"
    assert found["sagwatch_web"]["login"] == "sagwatch_web"
    assert found["sagwatch_smtp"]["extra"]["from_email"] == "secret-smtp_from"


def test_every_setting_of_airflow_is_one_that_airflow_knows(merged: dict[str, Any]) -> None:
    from airflow.configuration import conf

    for name in merged["services"]["scheduler"]["environment"]:
        if name.startswith("AIRFLOW__"):
            _, section, option = name.split("__")
            assert conf.get(section.lower(), option.lower(), fallback="?") is not None, name
            assert option.lower() in conf.configuration_description[section.lower()]["options"], name


def test_the_image_runs_as_nobody_special_and_takes_only_what_it_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert [line for line in lines if line.startswith("USER")] == ["USER 50000:50000"]
    assert any("--require-hashes" in line for line in lines)
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert allowed[0] == "*"
    copied = [
        word for line in lines if line.startswith("COPY") for word in line.split()[1:-1] if "=" not in word
    ]
    for source in copied:
        assert f"!{source}" in allowed or source == "/opt/venv", source


def test_no_secret_and_no_mirror_stands_in_the_files() -> None:
    for name in ("Dockerfile", "docker-compose.yaml", ".env.example"):
        text = (ROOT / name).read_text()
        assert not re.search(r"index-url|extra-index|trusted-host", text), name
    values = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["x-environment"]
    for name, value in values.items():
        if re.search(r"KEY|SECRET|PASSWORD", name):
            assert value.startswith("${"), name
