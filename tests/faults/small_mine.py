"""A mine of 60 x 50 pixels over ground that is invented: one trough that moves from the start, one that starts live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.outbox import Channel, DraftMessage
from sagwatch.adapters.site_files import read_site
from sagwatch.domain.site import Site

SITE_NAME = "small_mine"
MAIL_RECIPIENT = "safety@example.org"

SCENARIO = """
name: small_mine
seed: 11
epsg: 32649
box: [110.80, 37.40, 110.856, 37.438]
margin_m: 400
rehearsal_path: 11
latency_hours: 20
job_seconds: 0
credits_per_month: 1000
tracks:
  - bursts: ["011_021697_IW3"]
    frame: 118
    direction: ASCENDING
    heading_deg: -12.6
    incidence_deg: 42.5
    utc: "10:37:02"
    first: 2024-01-01
    last: 2024-12-31
    first_orbit: 51883
    oddities:
      reprocessed_after_days: {4: 30}
atmosphere:
  turbulent_mm_at_10_km: 3.0
coherence:
  median: 0.7
  spread: 0.1
  summer_loss: 0.1
  decay_days: 200
troughs:
  - name: old_face
    lon: 110.815
    lat: 37.428
    radius_m: 500
    rates:
      - {from: 2023-06-01, peak_los_mm_yr: -300}
  - name: new_face
    lon: 110.840
    lat: 37.411
    radius_m: 500
    rates:
      - {from: 2024-04-01, peak_los_mm_yr: -600}
"""

SITE = f"""
name: {SITE_NAME}
title: Small mine of the tests
boundary:
  type: Polygon
  coordinates:
    - [[110.80, 37.40], [110.856, 37.40], [110.856, 37.438], [110.80, 37.438], [110.80, 37.40]]
start: 2024-01-01
tracks:
  - name: t011a
    relative_orbit: 11
    direction: ascending
    bursts: [011_021697_IW3]
    processor: INSAR_ISCE_MULTI_BURST
    looks: 20x4
    grid: {{epsg: 32649, west: 482400, north: 4143360, pixel_m: 80, columns: 60, rows: 50}}
network: {{max_days: 30, max_perpendicular_m: 300, neighbours: 2}}
credits: {{per_month: 1000, reserve: 0}}
alerts: {{single_messages_for_days: 5}}
contacts:
  - {{name: Mine safety, email: {MAIL_RECIPIENT}}}
  - {{name: Operations channel, slack: true}}
"""


@dataclass(frozen=True)
class SmallMine:
    """The files that describe it: one for the simulated cloud, one for Sagwatch."""

    scenario_file: Path
    site_file: Path

    @property
    def site(self) -> Site:
        return read_site(self.site_file)


def write_small_mine(folder: Path) -> SmallMine:
    """Write both files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = SmallMine(folder / "scenario.yaml", folder / f"{SITE_NAME}.yaml")
    mine.scenario_file.write_text(SCENARIO)
    mine.site_file.write_text(SITE)
    return mine


def put_messages(ledger: Ledger, channel: Channel, recipient: str, count: int, first: int = 0) -> list[str]:
    """Put so many messages into the outbox; returns their Message-IDs in order."""
    drafts = [
        DraftMessage(
            dedupe_key=f"{channel} {number}",
            site=SITE_NAME,
            alert_id=None,
            event_id=None,
            kind="summary",
            channel=channel,
            recipient=recipient,
            message_id=f"<{channel}-{number}@sagwatch>",
            in_reply_to=None,
            subject=f"number {number}",
            body_text="The ground moves.",
            body_html=None,
        )
        for number in range(first, first + count)
    ]
    as_of = datetime(2024, 6, 1, tzinfo=UTC)
    with ledger.begin() as session:
        assert ledger.outbox.put(session, drafts, as_of) == count
    return [draft.message_id for draft in drafts]
