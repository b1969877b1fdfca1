"""A third of HyP3's answers are faults, some orders' answers get lost: all converges, nothing is paid twice."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from sagwatch.adapters.database.fingerprint import fingerprint
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.simulation.running import RunningCloud, start
from tests.faults.play import read_books
from tests.faults.small_mine import SITE_NAME, write_small_mine
from tests.faults.worker import Worker, WorkOrder, stages_of

FIRST_FILL, LIVE = 8, 4
PAIRS = 2 * (FIRST_FILL + LIVE) - 3
API_FAULTS = ("api_unavailable", "api_bad_gateway", "api_too_many_requests")


class FaultyDays:
    """Every third request to HyP3 fails, in each step in another way; half of the stages lose an order's answer."""

    def __init__(self, cloud: RunningCloud, seed: int) -> None:
        self._cloud = cloud
        self._rng = random.Random(seed)
        self.lost_answers = 0

    def before_step(self, _stage: int, step: str) -> None:
        drop = int(step == "submit_jobs" and self._rng.random() < 0.5)
        self.lost_answers += drop
        fault = self._rng.choice(API_FAULTS)
        lag_seconds = 0.02 if drop else 0.0
        self._cloud.faults(
            **{fault: True}, api_every=3, drop_after_commit=drop, listing_lag_seconds=lag_seconds
        )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_with_a_third_of_answers_faulty_each_pair_is_ordered_and_paid_once(
    ledger: Ledger, postgis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    mine = write_small_mine(tmp_path / "mine")
    with start(tmp_path / "cloud", scenario=str(mine.scenario_file)) as cloud:
        days = FaultyDays(cloud, seed=30)
        order = WorkOrder(
            database_url=postgis_url,
            cloud_url=cloud.url,
            smtp_port=cloud.smtp_port,
            site_file=str(mine.site_file),
            data=str(tmp_path / "data"),
            note=str(tmp_path / "note.json"),
            stages=stages_of(cloud.timeline(), FIRST_FILL, LIVE),
        )
        with caplog.at_level(logging.INFO):
            Worker(order, days.before_step).run()
        cloud.faults()
        books, requests = read_books(cloud.url), cloud.get("/requests")

    found = fingerprint(ledger, SITE_NAME)
    assert [one["state"] for one in found["acquisitions"]] == ["used"] * (FIRST_FILL + LIVE)
    assert len(found["pairs"]) == PAIRS
    assert [job["name"] for job in books["jobs"]] == [job["name"] for job in found["jobs"]]
    assert [(job["attempt"], job["state"]) for job in found["jobs"]] == [(1, "fetched")] * PAIRS
    assert sum(job["credit_cost"] for job in books["jobs"]) == found["credits"][0]["spent"] == PAIRS
    assert {one["state"] for one in found["messages"]} == {"sent"}
    assert found["points"]["count"] == 3000
    # It was as bad as it should be: orders were repeated, and found by their names after their answers were lost.
    assert days.lost_answers >= 2
    assert requests["POST /jobs"] > 1 + LIVE
    assert "is at HyP3 already, not ordered again" in caplog.text
