"""Short, then one long and one deferred task, then short: the states in which a kill can find a run."""

import os
import time
from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, get_current_context, task


def note(name: str) -> None:
    import psycopg

    context = get_current_context()
    with psycopg.connect(os.environ["SAGWATCH_DATABASE_URL"]) as connection:
        values = [context["run_id"], name, context["ti"].try_number]
        connection.execute("INSERT INTO work VALUES (%s, %s, %s)", values)


class Wait(BaseOperator):
    def execute(self, context):
        note("wait")
        seconds = float(os.environ.get("SMALL_SYSTEM_WAIT_SECONDS", "0.5"))
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=seconds)), method_name="resume")

    def resume(self, context, event=None):
        note("resume")


# As the real DAG does: on a busy machine Airflow may refuse the end of a task that a trigger has just woken.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}


@dag(dag_id="monitor_shaqu", schedule=None, max_active_runs=1, default_args=RETRIES)
def monitor():
    @task
    def detect():
        note("detect")

    @task
    def work():
        note("work")
        if get_current_context()["ti"].try_number == 1:
            time.sleep(float(os.environ.get("SMALL_SYSTEM_WORK_SECONDS", "0")))

    @task
    def publish():
        note("publish")

    detect() >> [work(), Wait(task_id="wait")] >> publish()


monitor()
