"""A failed task becomes one row about the pipeline, and a ledger that is away hides no failure."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.orchestration.callbacks import note_failure, site_and_track

from .conftest import connections


@dataclass
class Instance:
    """What a callback reads of Airflow's task instance."""

    dag_id: str = "monitor_shaqu"
    task_id: str = "t011a.update_stack"
    run_id: str = "scheduled__1"
    map_index: int = -1
    try_number: int = 1


def connect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    wired = connections(url, "http://127.0.0.1:9", 9)
    wired["sagwatch_hyp3"]["extra"] = {}
    for name, connection in wired.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def test_a_failed_task_is_one_row_however_often_it_is_told(
    ledger: Ledger, postgis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, postgis_url)
    context = {"ti": Instance(), "exception": ValueError("line one\nline two")}

    note_failure(context)
    note_failure(context)
    note_failure({"ti": Instance(map_index=3), "exception": "killed"})

    with ledger.begin() as session:
        rows = session.scalars(select(models.OperationEvent).order_by(models.OperationEvent.id)).all()
    assert [(row.kind, row.severity, row.site, row.track_id) for row in rows] == [
        ("pipeline", "error", "shaqu", "shaqu/t011a")
    ] * 2
    assert rows[0].text == "monitor_shaqu t011a.update_stack failed: ValueError: line one line two"
    assert rows[1].text == "monitor_shaqu t011a.update_stack (part 3) failed: killed"
    assert rows[0].details["run_id"] == "scheduled__1"


def test_a_ledger_that_is_away_is_logged_and_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, "postgresql://nobody@127.0.0.1:9/nowhere")

    with caplog.at_level(logging.ERROR):
        note_failure({"ti": Instance(), "exception": ValueError("why")})

    assert "could not be written" in caplog.text


@pytest.mark.parametrize(
    ("dag_id", "task_id", "expected"),
    [
        ("monitor_shaqu", "t011a.fetch_product", ("shaqu", "shaqu/t011a")),
        ("monitor_mexico_city", "deliver_messages", ("mexico_city", None)),
        ("maintain", "heartbeat", (None, None)),
        ("deliver_messages", "deliver_messages", (None, None)),
    ],
)
def test_the_row_names_the_site_and_the_track(
    dag_id: str, task_id: str, expected: tuple[str | None, str | None]
) -> None:
    assert site_and_track(dag_id, task_id) == expected
