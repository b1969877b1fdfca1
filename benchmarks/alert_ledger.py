"""Judges one acquisition of many points against a throw-away ledger and says what that cost."""

from __future__ import annotations

import json
import resource
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks.alert_ground import PIXEL_M, days_of
from sagwatch.domain.judgement import WatchState
from sagwatch.domain.message import Origin
from sagwatch.domain.rules import rules_sha256
from sagwatch.domain.site import Site
from sagwatch.steps.judge import Solution, judge_settled

AS_OF = datetime(2021, 2, 1, tzinfo=UTC)


def _site(side: int) -> Site:
    ring = [[110.7, 37.2], [111.1, 37.2], [111.1, 37.6], [110.7, 37.6], [110.7, 37.2]]
    track = {
        "name": "t011a",
        "relative_orbit": 11,
        "direction": "ascending",
        "bursts": ["011_021697_IW3"],
        "looks": "20x4",
        "grid": {
            "epsg": 32649,
            "west": 480000,
            "north": 4145600,
            "pixel_m": PIXEL_M,
            "columns": side,
            "rows": side,
        },
    }
    return Site.model_validate(
        {
            "name": "invented",
            "title": "An invented mine",
            "boundary": {"type": "Polygon", "coordinates": [ring]},
            "start": "2020-01-01",
            "tracks": [track],
            "contacts": [{"name": "Shift", "email": "shift@example.org", "slack": True}],
        }
    )


def judge_into_a_ledger(los_m: NDArray[np.float32]) -> dict[str, Any]:
    """Judge the last of some acquisitions, with the state of those before, down to the outbox rows.

    Parameters
    ----------
    los_m
        Shape (n_epochs, side, side), metres.
    """
    from launcher.cluster import temporary_cluster
    from sagwatch.adapters.database.ledger import Ledger
    from sagwatch.adapters.database.migrate import migrate
    from sagwatch.adapters.database.revisions import BuiltRevision
    from sagwatch.steps.compose_messages import compose_messages

    n, side = los_m.shape[:2]
    site, days = _site(side), days_of(n)
    track = site.tracks[0]
    grid, digest = track.grid.grid(), rules_sha256(site.alerts)
    sure = np.ones(grid.shape, np.float32)

    def solution(until: Any) -> Solution:
        k = days.index(until) + 1
        return Solution(days[:k], los_m[:k], sure, incidence_deg=39.0)

    with temporary_cluster() as cluster:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE alerts")
        url = cluster.url("alerts")
        migrate(url)
        ledger = Ledger(url)
        ledger.sites.sync([site], AS_OF)
        ledger.revisions.write_down(
            BuiltRevision(
                id="revision-1",
                track_id=track.id,
                number=1,
                parent_id=None,
                input_sha256="input",
                config_sha256="config",
                folder="revisions/1",
                manifest_sha256="manifest",
                interferograms=[],
                epochs=days,
                reference_row=3,
                reference_column=3,
                summary={},
            ),
            AS_OF,
        )
        origin = Origin(
            site.title, track.id, track.direction, "revision-1", 1, 0, "input", 37.4, 110.8, days[-1], None
        )

        def judge_and_write(epoch: Any) -> tuple[int, int]:
            with ledger.begin() as session:
                state: WatchState = ledger.alerts.load_state(session, track.id)
            judged = judge_settled(track.id, grid, site.alerts, 0.7, [epoch], state, solution)
            with ledger.begin() as session:
                for one in judged:
                    ledger.alerts.save_judgement(session, track.id, one, grid, "revision-1", digest, AS_OF)
                messages = compose_messages(ledger.outbox, session, site, judged, origin, AS_OF)
            return sum(len(one.events) for one in judged), messages

        judge_and_write(days[-2])
        began = time.perf_counter()
        events, messages = judge_and_write(days[-1])
        seconds = time.perf_counter() - began
        ledger.close()
    return {
        "judge_1m_points_seconds": round(seconds, 3),
        "judge_1m_points_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "judge_points": side * side,
        "judge_events": events,
        "judge_messages": messages,
    }


def main() -> None:
    """For trying it alone."""
    rng = np.random.default_rng(0)
    print(json.dumps(judge_into_a_ledger(rng.normal(0, 0.004, (31, 300, 300)).astype(np.float32))))


if __name__ == "__main__":
    main()
