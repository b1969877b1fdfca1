"""A site seen from both sides, as the real one is: two tracks on the whole way, which never mix."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.simulation.running import start
from sagwatch.web.queries import Reader
from tests.faults.small_mine import SCENARIO, SITE, SITE_NAME
from tests.faults.worker import Worker, WorkOrder

DESCENDING = {
    "bursts": ["018_037368_IW2"],
    "frame": 467,
    "direction": "DESCENDING",
    "heading_deg": -167.4,
    "incidence_deg": 41.4,
    "utc": "22:37:14",
    "first": "2024-01-06",
    "last": "2024-12-31",
    "first_orbit": 51956,
}
TRACKS = ("t011a", "t018d")
#: Ten acquisitions of each track, and three days on which one of them is new.
STAGES = [datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(days=n) for n in (0, 7, 13, 19, 25)]


@pytest.fixture
def lived(tmp_path: Path, ledger: Ledger, postgis_url: str):
    scenario, site = yaml.safe_load(SCENARIO), yaml.safe_load(SITE)
    scenario["tracks"].append(DESCENDING)
    site["tracks"].append(
        site["tracks"][0]
        | {"name": "t018d", "relative_orbit": 18, "direction": "descending", "bursts": DESCENDING["bursts"]}
    )
    files = {name: tmp_path / f"{name}.yaml" for name in ("scenario", SITE_NAME)}
    files["scenario"].write_text(yaml.safe_dump(scenario))
    files[SITE_NAME].write_text(yaml.safe_dump(site))
    with start(tmp_path / "cloud", scenario=str(files["scenario"])) as cloud:
        order = WorkOrder(
            database_url=postgis_url,
            cloud_url=cloud.url,
            smtp_port=cloud.smtp_port,
            site_file=str(files[SITE_NAME]),
            data=str(tmp_path / "data"),
            note=str(tmp_path / "note.json"),
            stages=[stage.isoformat() for stage in STAGES],
        )
        worker = Worker(order)
        ledger.sites.sync_site(worker.site, worker.clock.now())
        worker.run()
        yield ledger, cloud.messages()


def rows(ledger: Ledger, statement: str) -> list[tuple]:
    with ledger.begin() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def test_two_tracks_of_a_site_go_all_the_way_and_never_mix(lived, postgis_url):
    ledger, messages = lived

    # Every pair, job, interferogram and revision belongs to one track, and is made of its own days.
    days = dict.fromkeys(TRACKS, frozenset())
    for track, epochs in rows(ledger, "SELECT split_part(track_id, '/', 2), epochs FROM sagwatch.revision"):
        days[track] |= set(epochs)
    assert all(len(of) >= 11 for of in days.values())
    assert not days["t011a"] & days["t018d"]
    for track, first, second, state in rows(
        ledger, "SELECT track, reference_date, secondary_date, state FROM analyst.interferograms"
    ):
        assert {first, second} <= days[track], (track, first, second, state)
    granules = rows(
        ledger,
        "SELECT split_part(pair.track_id, '/', 2), job.parameters::text FROM sagwatch.job "
        "JOIN sagwatch.pair ON pair.id = job.pair_id",
    )
    bursts = {"t011a": "021697_IW3", "t018d": "037368_IW2"}
    assert {track for track, _ in granules} == set(TRACKS)
    assert all(bursts[track] in words for track, words in granules)

    # The same ground, twice: points of their own, and a trough that both see at the same place.
    points = rows(
        ledger,
        "SELECT track, count(*), count(DISTINCT point_id) FROM analyst.current_velocities GROUP BY 1 ORDER BY 1",
    )
    assert points == [(track, 3000, 3000) for track in TRACKS]
    assert rows(ledger, "SELECT count(DISTINCT point_id) FROM analyst.current_velocities") == [(6000,)]
    fastest = rows(
        ledger,
        "SELECT DISTINCT ON (track) track, velocity_150d_mm_yr, longitude, latitude FROM analyst.current_velocities "
        "WHERE reliable ORDER BY track, velocity_150d_mm_yr",
    )
    for (_, speed, longitude, latitude), name in zip(fastest, TRACKS, strict=True):
        assert speed < -150, name
        assert (longitude, latitude) == (pytest.approx(110.815, abs=0.006), pytest.approx(37.428, abs=0.005))

    # Both raise the alarm over it, each by its own name, and every message arrives once.
    zones = rows(
        ledger, "SELECT track, zone FROM analyst.alerts WHERE open AND rule = 'R1' ORDER BY track, zone"
    )
    assert {track for track, _ in zones} == set(TRACKS)
    assert {message["copies"] for message in messages} == {1}
    told = [f"{message}" for message in messages if message["kind"] == "mail"]
    assert all(any(track in words for words in told) for track in TRACKS)

    # A message of one names the other's zone, as long as that is there.
    names = {zone: track for track, zone in zones}
    later = [message["text"] for message in messages if "ground is moving" in message.get("subject", "")]
    assert later
    for words in later:
        (side,) = re.findall(r"Other side: track (\S+) \(\w+\) shows it too, as (zone \w+): on 2024-", words)
        assert names[side[1]] == side[0]
        assert f"Data: track {SITE_NAME}/{side[0]}" not in words
    with ledger.begin() as session:
        (mine,) = session.execute(
            text("SELECT id FROM sagwatch.zone WHERE track_id LIKE '%t011a' LIMIT 1")
        ).one()
        session.execute(
            text("UPDATE sagwatch.zone SET ended_epoch = last_epoch WHERE track_id LIKE '%t018d'")
        )
        (gone,) = ledger.alerts.other_views(session, f"{SITE_NAME}/t011a", [mine])[mine]
        session.rollback()
    assert gone.words.startswith("track t018d (descending) shows no zone there up to 2024-05-")

    # And the page has both.
    reader = Reader(lambda: (postgis_url, None))
    (shown,) = [one for one in reader.sites() if one["name"] == SITE_NAME]
    assert [one["name"] for one in shown["tracks"]] == list(TRACKS)
    for track in TRACKS:
        assert reader.velocities(SITE_NAME, track, 150) is not None
        assert reader.zones(SITE_NAME, track)
        assert reader.history(SITE_NAME, track, 10, 16)
