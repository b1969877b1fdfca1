"""Pictures of zones and alerts: of the ten-year mine (see `ten_years`), and of any site as it is now:

`. var/SITE/environment; PYTHONPATH=include:. .venv/bin/python -m benchmarks.ten_years_pictures SITE FILE`
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from shapely.geometry import shape

_NOW = """
SELECT longitude, latitude, velocity_150d_mm_yr FROM analyst.current_velocities
WHERE site = %s AND velocity_150d_mm_yr IS NOT NULL
"""
_ZONES_NOW = """
SELECT zones.zone, st_asgeojson(zones.geom), alerts.level FROM analyst.zones
LEFT JOIN analyst.alerts ON alerts.zone_id = zones.zone_id AND alerts.rule = 'R1' AND alerts.open
WHERE zones.site = %s AND zones.live AND zones.geom IS NOT NULL ORDER BY zones.area_m2 DESC
"""
LEVEL_COLOURS = {1: "#e0a100", 2: "#e0601f", 3: "#c01030", 4: "#6a0080"}
_POINTS = """
SELECT longitude, latitude, displacement_mm FROM analyst.current_velocities WHERE displacement_mm IS NOT NULL
"""
_ZONES = """
SELECT zone, zone_id, min(epoch), max(epoch), (array_agg(st_asgeojson(geom) ORDER BY area_m2 DESC))[1],
    (SELECT max(to_level) FROM analyst.alert_history event WHERE event.zone_id = seen.zone_id AND event.rule = 'R1')
FROM analyst.zone_history seen GROUP BY zone, zone_id ORDER BY min(epoch)
"""
_HISTORY = """
SELECT epoch, evidence -> 'windows' -> 0, st_asgeojson(geom) FROM analyst.zone_history
WHERE zone_id = %s ORDER BY epoch
"""
_EVENTS = """
SELECT epoch, rule, type, to_level, sentence FROM analyst.alert_history
WHERE zone_id = %s AND tell = 'page' ORDER BY epoch, rule
"""


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plan(axes: Axes, folder: Path, site: str) -> None:
    """Faces and assets of the mine plan, and the licence area."""
    for feature in json.loads((folder / site / "faces.geojson").read_text())["features"]:
        outline = np.array(feature["geometry"]["coordinates"][0])
        axes.plot(outline[:, 0], outline[:, 1], color="#333333", lw=1)
        properties = feature["properties"]
        axes.annotate(
            f"{properties['name']}, {properties['begin'][:4]} to {properties['end'][:4]}",
            outline[0],
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7,
        )
    for feature in json.loads((folder / site / "assets.geojson").read_text())["features"]:
        place = np.atleast_2d(feature["geometry"]["coordinates"])
        axes.plot(place[:, 0], place[:, 1], "-k" if len(place) > 1 else "^k", lw=0.7, ms=5)
        axes.annotate(
            feature["properties"]["name"], place[0], xytext=(4, -9), textcoords="offset points", fontsize=7
        )


def _outline(axes: Axes, geojson: str, **style: Any) -> None:
    for part in shape(json.loads(geojson)).geoms:
        axes.plot(*part.exterior.xy, **style)


def draw_zone_map(
    connection: psycopg.Connection[Any], folder: Path, site: str, licence: tuple[float, ...], file: Path
) -> Path:
    """Every zone that ever was, at its largest, over the displacement of the whole record."""
    points = np.array(connection.execute(_POINTS).fetchall())
    figure = _figure(8.6, 6.4)
    axes = figure.add_subplot()
    shown = axes.scatter(
        points[:, 0], points[:, 1], c=points[:, 2], s=9, marker="s", cmap="RdYlBu", vmin=-600, vmax=600
    )
    figure.colorbar(shown, ax=axes, label="line-of-sight displacement, mm (minus: away)", shrink=0.8)
    west, south, east, north = licence
    axes.plot(
        [west, east, east, west, west], [south, south, north, north, south], "--", color="#555555", lw=1
    )
    axes.annotate("licence area", (west, south), xytext=(3, 3), textcoords="offset points", fontsize=7)
    _plan(axes, folder, site)
    for name, _, first, last, geojson, level in connection.execute(_ZONES):
        colour = LEVEL_COLOURS.get(level, "#777777")
        _outline(axes, geojson, color=colour, lw=1.8)
        centre = shape(json.loads(geojson)).centroid
        told = f"level {level}" if level else "no alert"
        axes.annotate(
            f"{name}\n{told}\n{first:%Y-%m} to {last:%Y-%m}",
            (centre.x, centre.y),
            ha="center",
            va="center",
            fontsize=7,
            bbox={"fc": "white", "ec": colour, "alpha": 0.8, "pad": 1.5},
        )
    axes.set_aspect(1 / np.cos(np.radians(points[:, 1].mean())))
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    axes.set_title(
        "Ten simulated years: every zone at its largest, coloured by the highest level of its alert"
    )
    figure.savefig(file, dpi=110)
    return file


def draw_alert(
    connection: psycopg.Connection[Any], folder: Path, site: str, zone_id: str, title: str, file: Path
) -> Path:
    """The life of one zone: how fast it was seen to move, what was told when, and the words of the worst message."""
    history = connection.execute(_HISTORY, [zone_id]).fetchall()
    events = connection.execute(_EVENTS, [zone_id]).fetchall()
    figure = _figure(10.5, 6.6)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.6, 1])
    map_axes, axes = upper.subplots(1, 2, width_ratios=[1, 1.5])
    _plan(map_axes, folder, site)
    for _, _, geojson in history[:: max(1, len(history) // 12)]:
        _outline(map_axes, geojson, color="#c01030", lw=0.8, alpha=0.5)
    bounds = np.array([shape(json.loads(row[2])).bounds for row in history])
    map_axes.set_xlim(bounds[:, 0].min() - 0.006, bounds[:, 2].max() + 0.006)
    map_axes.set_ylim(bounds[:, 1].min() - 0.006, bounds[:, 3].max() + 0.006)
    map_axes.set_aspect(1 / np.cos(np.radians(bounds[0, 1])))
    map_axes.tick_params(labelsize=6)
    map_axes.set_title("where it was seen", fontsize=9)
    _speeds(axes, history)
    for epoch, rule, kind, level, _ in events:
        axes.axvline(epoch, color=LEVEL_COLOURS.get(level, "#228833"), lw=0.8)
        axes.annotate(
            f"{rule} {kind}{f' {level}' if level else ''}",
            (epoch, 0.01),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=6.5,
            va="bottom",
            ha="right",
        )
    worst = max((e for e in events if e[1] == "R1"), key=lambda e: (e[3], -e[0].toordinal()))
    words = textwrap.fill(f"{worst[0]}: {worst[4]}", 155)
    lower.text(0.02, 0.95, words, fontsize=8, va="top", family="monospace")
    figure.suptitle(title)
    figure.savefig(file, dpi=110)
    return file


def _speeds(axes: Axes, history: list[tuple[date, dict[str, Any], str]]) -> None:
    days = [row[0] for row in history]
    windows = [row[1] for row in history]
    median = [w["median_mm_yr"] for w in windows]
    low, high = zip(*(w["interval_mm_yr"] for w in windows), strict=True)
    core = [np.nan if w["core_mm_yr"] is None else w["core_mm_yr"] for w in windows]
    axes.fill_between(days, low, high, color="#1f5a8a", alpha=0.2, label="95 % interval of the median")
    axes.plot(days, median, color="#1f5a8a", label="median of the zone, last 150 days")
    axes.plot(days, core, color="#c01030", label="core against its surroundings")
    for level, threshold in enumerate((-40, -100, -300, -600), 1):
        if threshold > min(np.nanmin(core), min(low)):
            axes.axhline(threshold, color=LEVEL_COLOURS[level], ls=":", lw=1)
    axes.set_ylabel("mm/yr along the line of sight")
    axes.legend(fontsize=7, loc="upper right")
    axes.tick_params(labelsize=7)
    axes.set_title("how fast, acquisition by acquisition; lines: messages", fontsize=9)


def draw_now(connection: psycopg.Connection[Any], site: str, file: Path) -> Path:
    """The newest velocities of a site over 150 days, and its living zones."""
    points = np.array(connection.execute(_NOW, [site]).fetchall(), dtype=float)
    fastest = float(np.percentile(np.abs(points[:, 2]), 99))
    figure = _figure(8.4, 5)
    axes = figure.add_subplot()
    shown = axes.scatter(
        points[:, 0],
        points[:, 1],
        c=points[:, 2],
        s=4,
        marker="s",
        cmap="RdYlBu",
        vmin=-fastest,
        vmax=fastest,
    )
    figure.colorbar(shown, ax=axes, label="line-of-sight velocity, last 150 days, mm/yr (minus: away)")
    for name, geojson, level in connection.execute(_ZONES_NOW, [site]):
        _outline(axes, geojson, color="black", lw=1.4)
        place = shape(json.loads(geojson)).representative_point()
        axes.annotate(
            f"{name}\nlevel {level}" if level else name,
            (place.x, place.y),
            ha="center",
            fontsize=7,
            bbox={"fc": "white", "alpha": 0.8, "pad": 1},
        )
    axes.set_aspect(1 / np.cos(np.radians(points[:, 1].mean())))
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    figure.savefig(file, dpi=110)
    return file


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ten_years_pictures", description=__doc__)
    parser.add_argument("site")
    parser.add_argument("file", type=Path)
    wish = parser.parse_args(words)
    with psycopg.connect(os.environ["SAGWATCH_DATABASE_URL"]) as connection:
        print(draw_now(connection, wish.site, wish.file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
