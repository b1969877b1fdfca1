"""What the page asks the ledger: plain SQL, read only, values always as parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, text

from sagwatch.adapters.database.connection import CONNECT_ARGUMENTS, psycopg_url, told_clearly
from sagwatch.domain.windows import half_interval

#: Stands for "no data" among tenths of mm/yr in 16 bits.
NO_DATA = -32768
#: A page that takes longer than this has lost its reader.
STATEMENT_TIMEOUT_MS = 20_000

_VELOCITY_COLUMN = {0: "velocity_mm_yr", 150: "velocity_150d_mm_yr", 365: "velocity_365d_mm_yr"}
WINDOWS_DAYS = tuple(_VELOCITY_COLUMN)


@dataclass(frozen=True, slots=True)
class VelocityLayer:
    """Velocities of a track's whole grid, shape (rows, columns); line of sight, negative away from the satellite."""

    tenths_mm_yr: NDArray[np.int16]
    reliable: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """First all velocities (little-endian 16 bits), then all flags (8 bits), row by row."""
        return self.tenths_mm_yr.astype("<i2").tobytes() + self.reliable.tobytes()


class Reader:
    """Reads the ledger for the page, in transactions that cannot write.

    Parameters
    ----------
    address : called at the first question: the database's address, and the role to take on (None: the login's own).
    """

    def __init__(self, address: Callable[[], tuple[str, str | None]]) -> None:
        self._address = address
        self._engine: Engine | None = None

    def sites(self) -> list[dict[str, Any]]:
        """Every watched site with the freshness and completeness of its tracks."""
        with self._connection() as connection:
            sites = _rows(connection, _SITES)
            tracks = _rows(connection, _TRACKS)
        for site in sites:
            site["tracks"] = [track for track in tracks if track["site"] == site["name"]]
        return sites

    def velocities(self, site: str, track: str, window_days: int) -> VelocityLayer | None:
        """Current velocities over one window; None where there is no such track."""
        # The column's name comes from our own table above; it is never anything a reader wrote.
        statement = _VELOCITIES.format(column=_VELOCITY_COLUMN[window_days])
        with self._connection() as connection:
            grid = _first(connection, _GRID, site=site, track=track)
            if grid is None:
                return None
            rows = connection.execute(text(statement), {"track_id": grid["id"]}).all()
        return _layer(rows, int(grid["rows"]), int(grid["columns"]))

    def zones(self, site: str, track: str) -> list[dict[str, Any]]:
        """Zones that move now, with polygons in (column, row) of the track's grid."""
        with self._connection() as connection:
            zones = _rows(connection, _ZONES, site=site, track=track)
        for zone in zones:
            zone["polygons"] = zone.pop("shape")["coordinates"]
        return zones

    def blind_spots(self, site: str, track: str) -> list[dict[str, Any]]:
        """Why InSAR cannot see somewhere, in words, each with its pixels as row * columns + column."""
        with self._connection() as connection:
            return _rows(connection, _BLIND, site=site, track=track)

    def history(self, site: str, track: str, row: int, column: int) -> dict[str, Any] | None:
        """Current values and displacement history of one point; None where no point is published."""
        with self._connection() as connection:
            point = _first(connection, _POINT, site=site, track=track, row=row, column=column)
            if point is None:
                return None
            series = connection.execute(text(_SERIES), {"point_id": point["point_id"]}).all()
        intervals = {
            name: _half_interval(point[f"{name}_sd_mm_yr"], point[f"{name}_epochs"])
            for name in ("velocity", "velocity_150d", "velocity_365d")
        }
        return {
            **point,
            **{f"{name}_half_interval_mm_yr": half for name, half in intervals.items()},
            "dates": [epoch for epoch, _, _ in series],
            "displacement_mm": [value for _, value, _ in series],
            "provisional": [provisional for _, _, provisional in series],
        }

    def alerts(self, site: str) -> list[dict[str, Any]]:
        """Alerts of a site: open ones first, worst first; those never raised are not news."""
        with self._connection() as connection:
            return _rows(connection, _ALERTS, site=site)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        url, role = self._address()
        if self._engine is None:
            self._engine = _read_only_engine(url, role)
        with told_clearly(psycopg_url(url)), self._engine.connect() as connection:
            yield connection


def _half_interval(sd_mm_yr: float | None, n_epochs: int | None) -> float | None:
    """Half of the 95 % interval as messages have it; all noise counts as scatter, which errs towards caution."""
    if sd_mm_yr is None or n_epochs is None:
        return None
    half = float(half_interval(0.975, n_epochs, sd_mm_yr, 0.0))
    return half if isfinite(half) else None


def _read_only_engine(url: str, role: str | None) -> Engine:
    options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_TIMEOUT_MS}"
    if role is not None:
        options += f" -c role={role}"
    return create_engine(
        psycopg_url(url),
        pool_size=2,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={**CONNECT_ARGUMENTS, "application_name": "sagwatch web", "options": options},
    )


def _rows(connection: Connection, statement: str, **values: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(statement), values).mappings()]


def _first(connection: Connection, statement: str, **values: Any) -> dict[str, Any] | None:
    found = _rows(connection, statement, **values)
    return found[0] if found else None


def _layer(points: Sequence[Any], rows: int, columns: int) -> VelocityLayer:
    tenths = np.full((rows, columns), NO_DATA, dtype=np.int16)
    reliable = np.zeros((rows, columns), dtype=np.uint8)
    if points:
        row, column, velocity, sure = (list(part) for part in zip(*points, strict=True))
        values = np.clip(np.rint(np.asarray(velocity, dtype=np.float64) * 10), -32767, 32767)
        tenths[row, column] = values.astype(np.int16)
        reliable[row, column] = sure
    return VelocityLayer(tenths, reliable)


_SITES = """
SELECT name, title FROM sagwatch.site WHERE archived_at IS NULL ORDER BY name
"""

_TRACKS = """
SELECT track.id, track.site, track.name, track.direction, track.relative_orbit, track.searched_at,
       (track.grid ->> 'rows')::int AS rows, (track.grid ->> 'columns')::int AS columns,
       (track.grid ->> 'pixel_m')::float AS pixel_m,
       head.number AS revision_number, head.published_at, head.epochs[cardinality(head.epochs)] AS last_epoch,
       (SELECT count(*) FROM analyst.epochs WHERE epochs.site = track.site AND epochs.track = track.name
        AND epochs.provisional) AS provisional,
       (SELECT string_agg(DISTINCT reason, ', ') FROM analyst.epochs, unnest(string_to_array(why, ', ')) AS reason
        WHERE epochs.site = track.site AND epochs.track = track.name AND epochs.provisional) AS provisional_why,
       (SELECT max(date) FROM sagwatch.acquisition WHERE track_id = track.id) AS last_acquisition,
       (SELECT count(*) FROM sagwatch.job JOIN sagwatch.pair ON pair.id = job.pair_id
        WHERE pair.track_id = track.id AND job.state IN ('intended', 'open', 'succeeded')) AS open_jobs,
       (SELECT coalesce(jsonb_object_agg(state, number), '{}')
        FROM (SELECT state, count(*) AS number FROM sagwatch.acquisition WHERE track_id = track.id GROUP BY state)
             AS counted) AS acquisitions
FROM sagwatch.track LEFT JOIN sagwatch.revision head ON head.id = track.head_revision_id
WHERE track.archived_at IS NULL
ORDER BY track.name
"""

_GRID = """
SELECT id, (grid ->> 'rows')::int AS rows, (grid ->> 'columns')::int AS columns
FROM sagwatch.track WHERE site = :site AND name = :track
"""

_VELOCITIES = """
SELECT point.row, point."column", value.{column}, value.reliable
FROM sagwatch.point JOIN sagwatch.point_velocity value ON value.point_id = point.id
WHERE point.track_id = :track_id AND value.{column} IS NOT NULL
"""

_ZONES = """
SELECT zone.id, zone.name,
       EXISTS (SELECT FROM sagwatch.alert WHERE alert.zone_id = zone.id AND alert.rule = 'R1'
               AND alert.state IN ('raised', 'clearing')) AS alerted,
       ST_AsGeoJSON(ST_Affine(
           ST_Transform(snapshot.geom, (track.grid ->> 'epsg')::int),
           1 / pixel, 0, 0, -1 / pixel, -(track.grid ->> 'west')::float / pixel, (track.grid ->> 'north')::float / pixel
       ), 2)::jsonb AS shape
FROM sagwatch.track
CROSS JOIN LATERAL (SELECT (track.grid ->> 'pixel_m')::float AS pixel) AS lattice
JOIN sagwatch.zone ON zone.track_id = track.id AND zone.ended_epoch IS NULL AND zone.merged_into IS NULL
CROSS JOIN LATERAL (
    SELECT geom FROM sagwatch.zone_snapshot WHERE zone_id = zone.id ORDER BY epoch DESC LIMIT 1
) AS snapshot
WHERE track.site = :site AND track.name = :track
ORDER BY zone.id
"""

_BLIND = """
SELECT value.blind AS words,
       array_agg(
           point.row * (track.grid ->> 'columns')::int + point."column" ORDER BY point.row, point."column"
       ) AS pixels
FROM sagwatch.track
JOIN sagwatch.point ON point.track_id = track.id
JOIN sagwatch.point_velocity value ON value.point_id = point.id
WHERE track.site = :site AND track.name = :track AND value.blind IS NOT NULL
GROUP BY value.blind ORDER BY value.blind
"""

_POINT = """
SELECT point.id AS point_id,
       ST_X(point.geom) AS longitude, ST_Y(point.geom) AS latitude,
       velocity_mm_yr, velocity_sd_mm_yr, velocity_epochs, velocity_150d_mm_yr, velocity_150d_sd_mm_yr,
       velocity_150d_epochs, velocity_365d_mm_yr, velocity_365d_sd_mm_yr, velocity_365d_epochs,
       displacement_mm AS last_displacement_mm,
       temporal_coherence, observations, reliable, why_not, zone_id, blind
FROM sagwatch.point
JOIN sagwatch.track ON track.id = point.track_id
JOIN sagwatch.point_velocity ON point_velocity.point_id = point.id
WHERE track.site = :site AND track.name = :track AND point.row = :row AND point."column" = :column
"""

_SERIES = """
SELECT date, displacement_mm, provisional FROM analyst.series(:point_id) WHERE displacement_mm IS NOT NULL ORDER BY date
"""

_ALERTS = """
SELECT alert_id AS id, track, zone_id, rule, state, level, zone AS zone_name, since AS raised_epoch, last_epoch,
       cleared_epoch, sentence, provisional
FROM analyst.alerts
WHERE site = :site
ORDER BY NOT open, level DESC, since DESC, alert_id
"""
