"""Lets simulated time run: a first fill, then one acquisition after the other, each a run of the DAG.

It uses the doors that people use: Airflow's REST API and the simulated cloud's clock. What is done is noted,
so an interrupted rehearsal goes on where it stopped; doing a step twice would change nothing anyway.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from launcher import process
from launcher.instance import Instance
from launcher.layout import LauncherError, write_json
from launcher.web_client import WebError, call, get_json

FIRST_FILL = 20
LIVE_RUNS = 10
LIVE_RUNS_OF_A_SHORT_ARCHIVE = 4
RUN_WITHIN_SECONDS = 1800
FINISHED = ("success", "failed")
#: DAGs that belong to no site; each has a file of its name in dags/.
UPKEEP = ("deliver_messages", "maintain")


@dataclass(frozen=True)
class Stage:
    """One run of the DAG: the newest acquisition it can see, and from when (UTC) the catalogue shows that."""

    date: str
    visible: datetime
    acquisitions: int


def plan(timeline: Sequence[dict[str, str]], start: str, more: int = 0) -> list[Stage]:
    """The first fill, then live acquisitions one by one, from the cloud's list of what is visible when.

    Parameters
    ----------
    timeline
        Items of `date` (ISO) and `visible` (ISO, UTC), as the simulated cloud's `GET /timeline` says.
    start
        The site's first day; what was acquired before does not count.
    more
        Live acquisitions beyond the usual number.
    """
    first_seen: dict[str, datetime] = {}  # a date shows again when it is reprocessed
    for one in timeline:
        visible = datetime.fromisoformat(one["visible"])
        if one["date"] >= start:
            first_seen[one["date"]] = min(visible, first_seen.get(one["date"], visible))
    seen = sorted((visible, date) for date, visible in first_seen.items())
    if not seen:
        raise LauncherError(
            f"the simulated cloud shows no acquisition from {start} on: check the site's start"
        )
    live = min(LIVE_RUNS + more, len(seen) - 1)
    if len(seen) < FIRST_FILL + LIVE_RUNS:
        live = min(LIVE_RUNS_OF_A_SHORT_ARCHIVE + more, len(seen) - 1)
    filled = min(FIRST_FILL, len(seen) - live)
    ends = [filled, *range(filled + 1, filled + live + 1)]
    starts = [0, *ends[:-1]]
    return [
        Stage(seen[end - 1][1], seen[end - 1][0], end - begin)
        for begin, end in zip(starts, ends, strict=True)
    ]


class Airflow:
    """What the rehearsal asks of Airflow's REST API."""

    def __init__(self, url: str, password: str, dag: str) -> None:
        self._url = url
        self._password = password
        self._dag = f"{url}/api/v2/dags/{dag}"
        self.dag = dag
        self._token: str | None = None

    def _call(self, method: str, url: str, body: Any = None) -> Any:
        if self._token is None:
            login = {"username": "admin", "password": self._password}
            self._token = call("POST", f"{self._url}/auth/token", login)["access_token"]
        try:
            return call(method, url, body, self._token)
        except WebError as error:
            if error.status != 401:
                raise
            self._token = None  # a token lives for a day, a rehearsal may be left standing for longer
            return self._call(method, url, body)

    def wait_for_dag(self, dag: str | None = None, patience_seconds: float = 120) -> None:
        """Until Airflow has read this DAG's file; by default the site's."""
        dag = dag or self.dag
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                self._call("GET", f"{self._url}/api/v2/dags/{dag}")
                return
            except WebError as error:
                if error.status != 404:
                    raise
            if time.monotonic() > deadline:
                raise LauncherError(f"Airflow does not show {dag}:\n{self._import_errors()}")
            time.sleep(0.5)

    def _import_errors(self) -> str:
        errors = self._call("GET", f"{self._url}/api/v2/importErrors")["import_errors"]
        return "\n".join(one["stack_trace"].strip()[-1500:] for one in errors) or "  no import error is known"

    def unpause(self) -> bool:
        """Turn this site's DAG on, and those that belong to no site; say whether this one was off."""
        was_off = False
        for dag in self._call("GET", f"{self._url}/api/v2/dags?limit=200")["dags"]:
            of_a_site = dag["dag_id"].startswith(("monitor_", "audit_"))
            if dag["is_paused"] and (dag["dag_id"] == self.dag or not of_a_site):
                self._call("PATCH", f"{self._url}/api/v2/dags/{dag['dag_id']}", {"is_paused": False})
                was_off |= dag["dag_id"] == self.dag
        return was_off

    def active_run(self) -> str | None:
        """A run that is under way or waits for its turn."""
        runs = self._call("GET", f"{self._dag}/dagRuns?state=running&state=queued&limit=1")["dag_runs"]
        return runs[0]["dag_run_id"] if runs else None

    def runs_of(self, stage: Stage) -> list[dict[str, Any]]:
        """The runs made for a stage so far, oldest first."""
        runs = self._call("GET", f"{self._dag}/dagRuns?limit=100&order_by=-run_after")["dag_runs"]
        ours = [run for run in runs if run["dag_run_id"].startswith(f"rehearsal_{stage.date}_")]
        return sorted(ours, key=lambda run: int(run["dag_run_id"].rpartition("_")[2]))

    def trigger(self, stage: Stage, attempt: int) -> str:
        run_id = f"rehearsal_{stage.date}_{attempt}"
        self._call("POST", f"{self._dag}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        return run_id

    def state(self, run_id: str) -> str:
        return self._call("GET", f"{self._dag}/dagRuns/{run_id}")["state"]

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        return self._call("GET", f"{self._dag}/dagRuns/{run_id}/taskInstances?limit=500")["task_instances"]

    def failure(self, run_id: str) -> str:
        """Which tasks failed, and the last words of the first one's log."""
        failed = [task for task in self.tasks(run_id) if task["state"] == "failed"]
        if not failed:
            return "no task failed; look at the run's page"
        first = min(failed, key=lambda task: task["end_date"] or "")
        names = ", ".join(f"{one['task_id']}[{one['map_index']}]" for one in failed)
        return f"failed: {names}\nthe end of the log of {first['task_id']}:\n{self._log(run_id, first)}"

    def _log(self, run_id: str, task: dict[str, Any]) -> str:
        where = f"{self._dag}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
        items = self._call("GET", f"{where}?map_index={task['map_index']}&full_content=true")["content"]
        return "\n".join(f"  {line}" for item in items for line in _words(item))[-4000:]


def _words(item: Any) -> Iterator[str]:
    """A structured log line as a person reads it."""
    if not isinstance(item, dict):
        yield str(item)
        return
    if not str(item.get("event", "")).startswith("::"):
        yield f"{str(item.get('level', '')).upper():8}{item.get('event', '')}"
    for detail in item.get("error_detail") or []:
        yield f"{detail.get('exc_type')}: {detail.get('exc_value')}"


@dataclass
class Rehearsal:
    """One instance led through its stages."""

    instance: Instance
    began: float

    def __post_init__(self) -> None:
        site = self.instance.layout.site
        self._airflow = Airflow(self.instance.airflow_url, self.instance.secrets["admin"], f"monitor_{site}")
        self._note = self.instance.layout.home / "rehearsal.json"

    def run(self, more: int = 0) -> None:
        """Go through every stage that is not done yet."""
        self._wait_for_dags()
        timeline = get_json(f"{self.instance.cloud_url}/timeline")
        done = self._done()
        stages = plan(timeline, self._site_start(), max(0, len(done) - 1 - LIVE_RUNS) + more)
        ahead = [stage for stage in stages if stage.date not in done]
        if not ahead:
            self._airflow.unpause()  # Airflow's database may be a new one, in which every DAG is off
            return
        before = self._status() if done else {}  # the ledger meets the site in its first run
        print(_headline(len(stages), len(ahead)), flush=True)
        for stage in ahead:
            self._advance_clock(stage)
            self._let_it_run(stage, just_turned_on=self._airflow.unpause())
            done.append(stage.date)
            write_json(self._note, done)
            status = self._status()
            print(_line(stage, before, status, time.monotonic() - self.began), flush=True)
            before = status

    def _wait_for_dags(self) -> None:
        """All that is to be turned on; a new Airflow database knows none of them for some seconds."""
        self._airflow.wait_for_dag()
        for name in UPKEEP:
            if (self.instance.layout.root / "dags" / f"{name}.py").exists():
                self._airflow.wait_for_dag(name)

    def _done(self) -> list[str]:
        return json.loads(self._note.read_text()) if self._note.exists() else []

    def _site_start(self) -> str:
        file = self.instance.layout.root / "include" / "sites" / "demonstration"
        text = (file / f"{self.instance.layout.site}.yaml").read_text()
        found = re.search(r"^start:\s*['\"]?(\d{4}-\d\d-\d\d)", text, re.MULTILINE)
        return found.group(1) if found else "0000-00-00"

    def _advance_clock(self, stage: Stage) -> None:
        """To an hour after the acquisition shows in the catalogue; time never goes back."""
        wanted = stage.visible + timedelta(hours=1)
        now = datetime.fromisoformat(get_json(f"{self.instance.cloud_url}/clock")["now"])
        if now < wanted:
            call("PUT", f"{self.instance.cloud_url}/clock", {"now": wanted.isoformat()})

    def _let_it_run(self, stage: Stage, *, just_turned_on: bool) -> None:
        if just_turned_on and (run_id := self._first_scheduled_run()):
            self._wait(run_id)
            return
        runs = self._airflow.runs_of(stage)
        if runs and runs[-1]["state"] != "failed":
            run_id = runs[-1]["dag_run_id"]  # interrupted, and going on
        else:
            run_id = self._airflow.trigger(stage, len(runs) + 1)
        self._wait(run_id)

    def _first_scheduled_run(self, patience_seconds: float = 5) -> str | None:
        """The run that Airflow makes by itself when a DAG with a schedule is turned on; None if it has none."""
        deadline = time.monotonic() + patience_seconds
        while (run_id := self._airflow.active_run()) is None and time.monotonic() < deadline:
            time.sleep(0.3)
        return run_id

    def _wait(self, run_id: str) -> None:
        deadline = time.monotonic() + RUN_WITHIN_SECONDS
        names = [service.name for service in self.instance.services()]
        layout = self.instance.layout
        while (state := self._state_if_told(run_id)) not in FINISHED:
            process.check_alive(names, layout.run, layout.log)
            if time.monotonic() > deadline:
                raise LauncherError(f"run {run_id} does not end; look at {self.instance.airflow_url}")
            time.sleep(0.4)
        if state == "failed":
            raise LauncherError(
                f"run {run_id} of {self._airflow.dag} failed. {self._airflow.failure(run_id)}\n"
                f"The system stays up: {self.instance.airflow_url} (admin / "
                f"{self.instance.secrets['admin']}). `make run` tries again, `make stop` ends it."
            )

    def _state_if_told(self, run_id: str) -> str | None:
        """None from an API server that is too busy to answer: the run goes on all the same, so ask again."""
        try:
            return self._airflow.state(run_id)
        except WebError as error:
            if 400 <= error.status < 500:
                raise
            return None

    def _status(self) -> dict[str, Any]:
        return site_status(self.instance)


def site_status(instance: Instance) -> dict[str, Any]:
    """What the ledger says about the site (`python -m sagwatch status SITE --json`)."""
    command = [str(instance.layout.venv_python), "-m", "sagwatch", "status", instance.layout.site, "--json"]
    done = subprocess.run(command, env=instance.environment(), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise LauncherError(f"the ledger's status cannot be read:\n{done.stderr.strip()[-1500:]}")
    return json.loads(done.stdout)


def _headline(stages: int, ahead: int) -> str:
    words = "newest acquisition  new  interferograms  revision    worst  zones  alerts  messages  elapsed"
    return f"Simulated time runs: {ahead} of {stages} runs of the DAG are ahead\n  {words}"


def _line(stage: Stage, before: dict[str, Any], now: dict[str, Any], elapsed_seconds: float) -> str:
    worst = now.get("worst_velocity_mm_yr")
    new_pairs = _count(now, "interferograms") - _count(before, "interferograms")
    return (
        f"  {stage.date:<18}  {stage.acquisitions:>3}  {f'+{new_pairs}':>14}  {now.get('revision') or '-':>8}"
        f"  {'-' if worst is None else f'{worst:.0f}':>7}  {_count(now, 'zones'):>5}"
        f"  {_count(now, 'alerts_open'):>6}  {_count(now, 'messages_sent'):>8}"
        f"  {elapsed_seconds // 60:>3.0f}:{elapsed_seconds % 60:02.0f}"
    )


def _count(status: dict[str, Any], key: str) -> int:
    return int(status.get(key) or 0)


def summary(instance: Instance) -> str:
    """What a person wants to know at the end."""
    status = site_status(instance)
    worst = status.get("worst_velocity_mm_yr")
    rows = {
        "Airflow": f"{instance.airflow_url}   login: admin   password: {instance.secrets['admin']}",
        "the DAG": f"{instance.airflow_url}/dags/monitor_{instance.layout.site}",
        "simulated cloud": f"{instance.cloud_url}   (its mails, Slack posts and jobs)",
        "acquisitions": f"{_count(status, 'acquisitions')}, the newest of {status.get('last_epoch')}",
        "pairs, jobs": f"{_count(status, 'pairs')} pairs, {_count(status, 'jobs')} jobs, "
        f"{_count(status, 'credits_spent')} credits spent, {_count(status, 'credits_remaining')} left this month",
        "points": f"{_count(status, 'points')} in revision {status.get('revision')}",
        "worst velocity": "-" if worst is None else f"{worst:.0f} mm/yr in the line of sight",
        "zones, alerts": f"{_count(status, 'zones')} zones, {_count(status, 'alerts_open')} open alerts",
        "messages": f"{_count(status, 'messages_sent')} sent, {_count(status, 'messages_waiting')} waiting",
        "MintPy files": str(instance.layout.data / (status.get("mintpy_folder") or "")),
        "SQL": f"make psql{_site_word(instance)}   (views in schema analyst; try \\dv)",
        "logs": str(instance.layout.log),
        "stop": "make stop",
    }
    return "\n".join(f"  {name:<16} {words}" for name, words in rows.items())


def _site_word(instance: Instance) -> str:
    return "" if instance.layout.site == "shaqu" else f" SITE={instance.layout.site}"
