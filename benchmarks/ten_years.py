"""Ten years of a simulated mine in fast time: `make ten-years FOLDER=...`.

A mine of three longwall faces, a digging outside the licence area and an old gob that creeps is watched from 2016 to
2025, acquisition by acquisition, by the very function that `python -m sagwatch watch` is made of. Its products are
wrapped and really unwrapped, so fast centres alias as they do in life. What people would have been told is written as a
text to be read from top to bottom (`history.txt`), with the messages (`messages.txt`) and pictures beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml

SITE = "ten_years"
EPSG = 32649
BOX = (110.775, 37.395, 110.855, 37.445)
FIRST, LAST = date(2016, 1, 3), date(2025, 12, 30)
#: Acquisitions that come together. Each is judged by itself, so this changes no alert; it only saves time.
BATCH = 12
MAIL = "safety@example.org"


def _polygon(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


#: The licence area ends before the eastern edge of what is watched.
LICENCE = (110.778, 37.397, 110.838, 37.444)
#: Name, west and east end, latitude, first and last day, rates of the passing face (LOS, mm/yr), radius (m).
FACES = (
    ("Face A", 110.788, 110.826, 37.4330, date(2016, 9, 1), date(2019, 5, 1), (-120, -500, -180, -40), 520),
    ("Face B", 110.788, 110.826, 37.4190, date(2020, 3, 1), date(2022, 2, 1), (-250, -1500, -350, -60), 480),
    ("Face C", 110.792, 110.820, 37.4050, date(2024, 2, 1), date(2025, 10, 1), (-60, -130, -80, -20), 560),
)
#: Days after the face has come near at which the rates of `FACES` begin; 0 after the last.
PASSING_DAYS = (0, 70, 190, 280, 560)
ASSETS = {
    "Ventilation shaft": {"type": "Point", "coordinates": [110.8075, 37.4262]},
    "Village school": {"type": "Point", "coordinates": [110.8005, 37.4205]},
    "County road": {"type": "LineString", "coordinates": [[110.776, 37.4265], [110.854, 37.4265]]},
}


def _troughs() -> Iterator[dict[str, Any]]:
    """A face that advances is a row of troughs, each of which begins, sinks fast and fades as the face passes."""
    for name, west, east, latitude, begin, end, rates, radius_m in FACES:
        count = 12
        for k in range(count):
            share = k / (count - 1)
            starts = begin + timedelta(days=round(share * (end - begin).days) - 60)
            steps = zip(PASSING_DAYS, (*rates, 0), strict=True)
            yield {
                "name": f"{name.lower().replace(' ', '_')}_{k}",
                "lon": west + share * (east - west),
                "lat": latitude,
                "radius_m": radius_m,
                "rates": [
                    {"from": starts + timedelta(days=days), "peak_los_mm_yr": rate} for days, rate in steps
                ],
            }
    yield {
        "name": "digging_outside",
        "lon": 110.8465,
        "lat": 37.4120,
        "radius_m": 480,
        "rates": [
            {"from": date(2022, 9, 1), "peak_los_mm_yr": -190},
            {"from": date(2023, 5, 1), "peak_los_mm_yr": 0},
        ],
    }
    yield {
        "name": "old_gob",
        "lon": 110.784,
        "lat": 37.4020,
        "radius_m": 500,
        "rates": [{"from": date(2015, 1, 1), "peak_los_mm_yr": -22}],
    }


def write_scenario(folder: Path) -> Path:
    """What the simulated cloud needs to know."""
    scenario = {
        "name": SITE,
        "seed": 2016,
        "epsg": EPSG,
        "box": list(BOX),
        "margin_m": 400,
        "rehearsal_path": 11,
        "latency_hours": 20,
        "job_seconds": 0,
        "credits_per_month": 8000,
        "tracks": [
            {
                "bursts": ["011_021697_IW3"],
                "frame": 118,
                "direction": "ASCENDING",
                "heading_deg": -12.6,
                "incidence_deg": 42.5,
                "utc": "10:37:02",
                "first": FIRST,
                "last": LAST,
                "first_orbit": 10000,
                "oddities": {
                    "reprocessed_after_days": {60: 30, 200: 8},
                    "late_days": {110: 40},
                    "missing": [150, 151, 222],
                },
            }
        ],
        "atmosphere": {"turbulent_mm_at_10_km": 8.0},
        "coherence": {"median": 0.62, "spread": 0.12, "summer_loss": 0.25, "decay_days": 150},
        "troughs": list(_troughs()),
    }
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario, sort_keys=False), encoding="utf-8")
    return file


def write_site(folder: Path) -> Path:
    """The site file and, in the folder beside it, the mine plan."""
    from pyproj import Transformer

    to_metres = Transformer.from_crs(4326, EPSG, always_xy=True).transform
    west, south = to_metres(BOX[0], BOX[1])
    east, north = to_metres(BOX[2], BOX[3])
    left, top = 80 * round(west / 80), 80 * round(north / 80)
    grid = {
        "epsg": EPSG,
        "west": left,
        "north": top,
        "pixel_m": 80,
        "columns": int((east - left) // 80),
        "rows": int((top - south) // 80),
    }
    site = {
        "name": SITE,
        "title": "Ten-year mine (simulated)",
        "boundary": _polygon(*LICENCE),
        "start": FIRST,
        "tracks": [
            {
                "name": "t011a",
                "relative_orbit": 11,
                "direction": "ascending",
                "bursts": ["011_021697_IW3"],
                "processor": "INSAR_ISCE_MULTI_BURST",
                "looks": "20x4",
                "grid": grid,
            }
        ],
        "network": {"max_days": 30, "max_perpendicular_m": 300, "neighbours": 2, "bridge": True},
        "credits": {"per_month": 8000, "reserve": 0},
        # Batches are older than what the live system sees, and every event shall have its own message here.
        "alerts": {"tilt": {"preset": "poland_mining_area"}, "single_messages_for_days": 400},
        "contacts": [{"name": "Mine safety", "email": MAIL}, {"name": "Operations", "slack": True}],
    }
    file = folder / f"{SITE}.yaml"
    file.write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")
    plan = folder / SITE
    plan.mkdir(exist_ok=True)
    _write_features(plan / "assets.geojson", [({"name": n, "kind": "asset"}, g) for n, g in ASSETS.items()])
    faces = [
        (
            {"name": name, "begin": begin.isoformat(), "end": end.isoformat(), "advance_deg": 90},
            _polygon(west, latitude - 0.0012, east, latitude + 0.0012),
        )
        for name, west, east, latitude, begin, end, _, _ in FACES
    ]
    _write_features(plan / "faces.geojson", faces)
    return file


def _write_features(file: Path, features: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    written = [
        {"type": "Feature", "properties": properties, "geometry": geometry}
        for properties, geometry in features
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": written}, indent=1))


def live(folder: Path, database_url: str, acquisitions: int | None = None) -> None:
    """Let the mine live, batch after batch, to the last message in the outbox."""
    from sagwatch.adapters.asf import AsfCatalogue
    from sagwatch.adapters.clock import CloudClock
    from sagwatch.adapters.database.ledger import Ledger
    from sagwatch.adapters.database.migrate import migrate
    from sagwatch.adapters.hyp3 import Hyp3Cloud
    from sagwatch.adapters.site_files import read_site
    from sagwatch.simulation.running import start
    from sagwatch.steps.retire_revisions import retire_revisions
    from sagwatch.steps.watch_track import Tools, watch_track

    site = read_site(write_site(folder))
    track = site.tracks[0]
    migrate(database_url)
    ledger = Ledger(database_url)
    began = time.monotonic()
    with start(folder / "cloud", scenario=str(write_scenario(folder)), job_seconds=0) as cloud:
        hyp3 = Hyp3Cloud(cloud.url, token="ten-years", lookup_pause_seconds=0.01)
        tools = Tools(ledger, AsfCatalogue(cloud.url), hyp3, CloudClock(cloud.url), folder / "data")
        passes = len(cloud.timeline())
        last = min(passes, acquisitions or passes)
        for count in [*range(BATCH, last, BATCH), last]:
            day = cloud.show(count)[-1]["date"]
            watch_track(site, track, tools, poll_seconds=0.05)
            retire_revisions(ledger, folder / "data", CloudClock(cloud.url).now())
            write_history(folder, database_url)
            print(f"  {count}/{passes} {day}, {time.monotonic() - began:.0f} s", flush=True)
    ledger.close()


def write_history(folder: Path, database_url: str) -> None:
    """What was told, in the order in which people would have read it."""
    with psycopg.connect(database_url) as connection:
        events = connection.execute(
            "SELECT epoch, rule, tell, type, from_level, to_level, zone, sentence FROM analyst.alert_history "
            "ORDER BY epoch, rule, zone"
        ).fetchall()
        messages = connection.execute(
            "SELECT created_at, kind, subject, body_text FROM analyst.messages WHERE channel = 'mail' ORDER BY id"
        ).fetchall()
        slack = connection.execute(
            "SELECT subject, body_text FROM analyst.messages WHERE channel = 'slack' ORDER BY id"
        ).fetchall()
    lines = [
        f"{day} {rule:<10} {tell:<6} {kind:<7} {before}->{after}  {zone}\n    {text}"
        for day, rule, tell, kind, before, after, zone, text in events
    ]
    (folder / "history.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    letters = [f"=== {at:%Y-%m-%d} {kind}: {subject}\n\n{body}" for at, kind, subject, body in messages]
    letters += [f"=== slack: {subject}\n\n{body}" for subject, body in slack]
    (folder / "messages.txt").write_text("\n".join(letters), encoding="utf-8")
    told: dict[tuple[str, str], int] = {}
    for _, rule, tell, *_ in events:
        told[rule, tell] = told.get((rule, tell), 0) + 1
    print(
        f"{len(messages)} mails; "
        + ", ".join(f"{rule} {tell} {n}" for (rule, tell), n in sorted(told.items()))
    )


def draw(folder: Path, database_url: str) -> None:
    """The zone map, the worst alert, and the one outside the licence area."""
    from benchmarks.ten_years_pictures import draw_alert, draw_zone_map

    with psycopg.connect(database_url) as connection:
        print(draw_zone_map(connection, folder, SITE, LICENCE, folder / "zones.png"))
        worst = connection.execute(
            "SELECT zone_id, zone FROM analyst.alert_history WHERE rule = 'R1' ORDER BY to_level DESC, epoch LIMIT 1"
        ).fetchone()
        outside = connection.execute(
            "SELECT zone_id, zone FROM analyst.alert_history WHERE rule = 'R3' AND tell = 'page' LIMIT 1"
        ).fetchone()
        for name, about, found in (
            ("alert-worst", "the fastest zone", worst),
            ("alert-outside", "digging outside the licence area", outside),
        ):
            if found is not None:
                title = f"{found[1]}: {about}"
                print(draw_alert(connection, folder, SITE, found[0], title, folder / f"{name}.png"))


def main(words: Sequence[str] | None = None) -> int:
    from launcher.cluster import temporary_cluster

    parser = argparse.ArgumentParser(prog="python -m benchmarks.ten_years", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--acquisitions", type=int, help="stop after so many")
    wish = parser.parse_args(words)
    wish.folder.mkdir(parents=True)
    with temporary_cluster() as cluster:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {SITE}")
        url = cluster.url(SITE)
        live(wish.folder, url, wish.acquisitions)
        draw(wish.folder, url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
