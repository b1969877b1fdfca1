"""The DAG files: they load, cheaply, from site files alone, and a broken one stops no other."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule

from sagwatch.orchestration.monitor import DEFAULT_ARGS

from .conftest import SITE

DAGS = Path(__file__).resolve().parents[2] / "dags"
STEPS = [
    "detect_scenes",
    "plan_pairs",
    "submit_jobs",
    "wait_for_jobs",
    "fetch_product",
    "update_stack",
    "publish_revision",
]


HEAVY = """
asf_search hyp3_sdk rasterio h5py scipy numba mintpy matplotlib geoalchemy2 psycopg requests
sagwatch.steps.publish_revision sagwatch.engine sagwatch.adapters.database.ledger
"""


def dag_bag() -> DagBag:
    return DagBag(dag_folder=str(DAGS))


def test_every_site_has_its_dags_and_no_file_has_an_error(sites_folder: Path) -> None:
    bag = dag_bag()

    assert bag.import_errors == {}
    assert set(bag.dags) == {"monitor_shaqu", "audit_shaqu", "deliver_messages", "maintain"}


def test_the_sites_that_ship_load() -> None:
    bag = dag_bag()

    assert bag.import_errors == {}
    assert "monitor_shaqu" in bag.dags


def test_the_graph_of_a_track_is_the_way_of_the_data(sites_folder: Path) -> None:
    dag = dag_bag().dags["monitor_shaqu"]

    for earlier, later in pairwise(STEPS):
        assert dag.get_task(f"t011a.{later}").upstream_task_ids == {f"t011a.{earlier}"}
    assert dag.get_task("deliver_messages").upstream_task_ids == {"t011a.publish_revision"}
    assert {task.task_id for task in dag.tasks if not task.downstream_task_ids} == {"nothing_failed"}
    assert dag.max_active_runs == 1
    assert not dag.catchup


@pytest.mark.parametrize(
    ("method", "fetched"), [("none", False), ("era5", True), ("gacos", True), ("height_correlation", False)]
)
def test_weather_is_fetched_where_the_method_asks_for_it(
    sites_folder: Path, method: str, fetched: bool
) -> None:
    site = {**SITE, "corrections": {"troposphere": {"method": method}}}
    (sites_folder / "shaqu.yaml").write_text(yaml.safe_dump(site))

    dag = dag_bag().dags["monitor_shaqu"]

    assert ("t011a.fetch_weather" in dag.task_ids) == fetched
    if fetched:
        weather = dag.get_task("t011a.fetch_weather")
        assert weather.upstream_task_ids == {"t011a.fetch_product"}
        assert weather.downstream_task_ids == {"t011a.update_stack"}
        assert weather.trigger_rule == TriggerRule.ALL_DONE


def test_two_tracks_go_side_by_side_and_are_delivered_together(sites_folder: Path) -> None:
    second = {**SITE["tracks"][0], "name": "t018d", "relative_orbit": 18, "direction": "descending"}
    second["bursts"] = ["018_037368_IW2"]
    (sites_folder / "shaqu.yaml").write_text(yaml.safe_dump({**SITE, "tracks": [*SITE["tracks"], second]}))

    dag = dag_bag().dags["monitor_shaqu"]

    assert dag.get_task("deliver_messages").upstream_task_ids == {
        "t011a.publish_revision",
        "t018d.publish_revision",
    }
    assert not dag.get_task("t018d.detect_scenes").upstream_task_ids


def test_a_broken_site_file_is_named_with_its_key_and_stops_no_other_site(sites_folder: Path) -> None:
    (sites_folder / "other.yaml").write_text(yaml.safe_dump({**SITE, "name": "other", "patience_minutez": 5}))

    bag = dag_bag()

    assert "monitor_shaqu" in bag.dags
    assert "monitor_other" not in bag.dags
    ((file, complaint),) = bag.import_errors.items()
    assert file.endswith("check_site_files.py")
    for word in ("other.yaml", "patience_minutez", "patience_minutes"):
        assert word in complaint


def test_every_task_has_a_time_limit_tells_of_its_failure_and_knows_what_to_try_again(
    sites_folder: Path,
) -> None:
    for dag in dag_bag().dags.values():
        for task in dag.tasks:
            kwargs = getattr(task, "partial_kwargs", None) or vars(task)
            assert kwargs["execution_timeout"] is not None, task.task_id
            assert kwargs["retry_policy"] is DEFAULT_ARGS["retry_policy"], task.task_id
            if task.task_id != "nothing_failed":
                assert kwargs["on_failure_callback"], task.task_id


@pytest.mark.parametrize("file", sorted(path.name for path in DAGS.glob("*.py")))
def test_reading_a_dag_file_imports_nothing_heavy(file: str, sites_folder: Path) -> None:
    heavy = HEAVY.split()
    code = (
        "import sys, runpy, airflow.sdk; before = set(sys.modules);"
        f"runpy.run_path({str(DAGS / file)!r});"
        f"print([name for name in {heavy!r} if name in set(sys.modules) - before])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert answer.stdout.strip().splitlines()[-1] == "[]"
