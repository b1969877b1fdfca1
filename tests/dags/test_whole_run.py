"""`monitor_<site>` from the catalogue to the message, in this process, against the simulated cloud and PostGIS."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from sagwatch.adapters.database import models
from sagwatch.adapters.site_files import load_sites
from sagwatch.orchestration.monitor import monitor

from .conftest import Outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def run(outside: Outside) -> tuple[str, dict[str, str]]:
    """Run the DAG once; return its state and the states of its tasks (mapped ones with their number)."""
    site = load_sites(outside.sites)[0]["shaqu"]
    finished: Any = monitor(site, doc_md="").test()
    states = {
        one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]": str(one.state)
        for one in finished.get_task_instances()
    }
    return str(finished.state), states


def count(outside: Outside, thing: Any, *where: Any) -> int:
    with outside.ledger.begin() as session:
        return int(session.scalar(select(func.count()).select_from(thing).where(*where)))


def test_runs_fill_grow_and_then_have_nothing_to_do(outside: Outside) -> None:
    outside.cloud.show(4, path=11)
    state, tasks = run(outside)
    assert state == "success", tasks
    assert set(tasks.values()) == {"success"}
    assert [name for name in tasks if "fetch" in name] == [f"t011a.fetch_product[{n}]" for n in range(5)]
    head = outside.ledger.revisions.head("shaqu/t011a")
    assert len(head.epochs) == 4
    assert count(outside, models.PointVelocity) > 10_000
    assert count(outside, models.Acquisition, models.Acquisition.state == "new") == 0

    state, tasks = run(outside)
    assert state == "success", tasks
    assert {name for name, state in tasks.items() if state == "skipped"} == {
        "t011a.fetch_product",
        "t011a.publish_revision",
    }
    assert outside.ledger.revisions.head("shaqu/t011a").id == head.id

    outside.cloud.show(5, path=11)
    state, tasks = run(outside)
    assert state == "success", tasks
    assert len([name for name in tasks if "fetch" in name]) == 2
    assert len(outside.ledger.revisions.head("shaqu/t011a").epochs) == 5
    assert count(outside, models.Job) == 7


def test_a_bad_product_fails_alone_and_the_run_says_so(outside: Outside) -> None:
    outside.cloud.show(4, path=11)
    orders = tasks_until_ordered(outside)
    outside.cloud.faults(product="wrong_date", product_jobs=[orders[0]])

    state, tasks = run(outside)

    assert state == "failed"
    fetched = sorted(state for name, state in tasks.items() if "fetch_product[" in name)
    assert fetched == ["failed", "success", "success", "success", "success"]
    assert tasks["t011a.publish_revision"] == tasks["deliver_messages"] == "success"
    assert tasks["nothing_failed"] == "failed"
    assert outside.ledger.revisions.head("shaqu/t011a") is not None
    assert count(outside, models.Product, models.Product.state == "quarantined") == 1
    with outside.ledger.begin() as session:
        news = session.scalars(
            select(models.OperationEvent).where(models.OperationEvent.kind == "pipeline")
        ).all()
    assert len(news) == 1
    assert news[0].details["task_id"] == "t011a.fetch_product"
    assert "quarantine" in news[0].text


def tasks_until_ordered(outside: Outside) -> list[str]:
    """Run the first three tasks by hand; return HyP3's ids of the orders."""
    from sagwatch.orchestration import tasks

    for step in (tasks.detect_scenes, tasks.plan_pairs, tasks.submit_jobs):
        step("shaqu", "t011a")
    with outside.ledger.begin() as session:
        return sorted(session.scalars(select(models.Job.hyp3_id)))


def test_a_catalogue_that_is_away_stops_no_product_and_wrong_credentials_are_not_tried_again(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.cloud.show(3, path=11)
    tasks_until_ordered(outside)
    monkeypatch.setattr("sagwatch.orchestration.tasks.detect_scenes", _refuse)

    state, tasks = run(outside)

    assert state == "failed"
    assert tasks["t011a.detect_scenes"] == "failed"
    assert tasks["t011a.plan_pairs"] == tasks["t011a.submit_jobs"] == "upstream_failed"
    assert tasks["t011a.publish_revision"] == "success"
    assert len(outside.ledger.revisions.head("shaqu/t011a").epochs) == 3
    assert _refuse.calls == 1


class _Refuse:
    """A step that needs a person."""

    calls = 0

    def __call__(self, site: str, track: str) -> None:
        from sagwatch.errors import StopAndAskError

        self.calls += 1
        raise StopAndAskError("the token is not accepted")


_refuse = _Refuse()
