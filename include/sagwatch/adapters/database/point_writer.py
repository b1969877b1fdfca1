"""Writes the points of a publication, and what is known of each now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from sagwatch.adapters.database.bulk import Column, copy_in
from sagwatch.adapters.database.published_arrays import WINDOWS, PublishedArrays, Raster
from sagwatch.adapters.database.tiles import tile_and_position
from sagwatch.domain.point import point_ids
from sagwatch.errors import BadRevisionError

_ORDINAL_OF_2000 = date(2000, 1, 1).toordinal()


@dataclass(frozen=True)
class PointWriter:
    """Points of one publication, on the driver's connection, for bulk work."""

    connection: Connection[Any]
    track_id: str
    revision_id: str
    points: PublishedArrays

    def known_and_new(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Flat pixel indices of the points that exist, and of those that this revision adds."""
        row = self.connection.execute(
            # One value of eight bytes a point: a row each would take a second for half a million.
            "SELECT string_agg(int8send(id), ''::bytea) FROM sagwatch.point WHERE track_id = %s",
            [self.track_id],
            binary=True,
        ).fetchone()
        stored = np.frombuffer((row and row[0]) or b"", dtype=">i8").astype(np.int64)
        ids = point_ids(self.track_id, self.points.grid).ravel()
        known = np.sort(stored) - ids[0]
        if known.size and (known[0] < 0 or known[-1] >= ids.size):
            raise BadRevisionError(f"track {self.track_id} has points of another grid; a grid never changes")
        seen = np.asarray(self.points.observations).ravel() > 0
        seen[known] = False
        return known, np.flatnonzero(seen)

    def add(self, new: NDArray[np.int64]) -> None:
        """Add points at flat pixel indices."""
        grid = self.points.grid
        rows, columns = np.divmod(new, grid.columns)
        tile, position = tile_and_position(rows, columns, grid.columns)
        copy_in(
            self.connection,
            sql.Identifier("sagwatch", "point"),
            [
                Column("id", "int8", point_ids(self.track_id, grid).ravel()[new]),
                Column("track_id", "text", self.track_id),
                Column("row", "int4", rows),
                Column("column", "int4", columns),
                Column("tile", "int4", tile),
                Column("position", "int2", position),
                Column("geom", "point", np.stack(grid.lon_lat(rows, columns), axis=-1)),
            ],
            new.size,
        )

    def replace_current(self, known: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Current values of all points, by way of a staging table: rows are changed in place, so readers that
        began before keep what they saw (TRUNCATE would empty the table under them)."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL work_mem = '128MB'")
            cursor.execute(_STAGING)
            flat = np.concatenate([known, new])
            why, why_texts = _legend(self.points.why_not, flat, self.points.why_not_texts)
            zone, zone_ids = _legend(self.points.zone, flat, self.points.zone_ids)
            stage, stage_texts = _legend(self.points.stage, flat, self.points.stage_texts)
            evidence, evidence_texts = _legend(self.points.evidence, flat, self.points.evidence_texts)
            blind, blind_texts = _legend(self.points.blind, flat, self.points.blind_texts)
            columns = [
                *self._current_columns(flat),
                Column("why_not", "int4", why),
                Column("zone", "int4", zone),
                Column("stage", "int4", stage),
                Column("evidence", "int4", evidence),
                Column("blind", "int4", blind),
                Column("is_new", "bool", np.arange(flat.size) >= known.size),
            ]
            copy_in(self.connection, sql.Identifier("sagwatch_staging"), columns, flat.size)
            cursor.execute("ANALYZE sagwatch_staging")
            values = [self.revision_id, why_texts, zone_ids, stage_texts, evidence_texts, blind_texts]
            cursor.execute(_UPDATE_CURRENT, values)
            cursor.execute(_INSERT_CURRENT, values)
            cursor.execute("DROP TABLE sagwatch_staging")

    def _current_columns(self, flat: NDArray[np.int64]) -> Iterator[Column]:
        points = self.points

        def of(raster: Raster) -> NDArray[Any]:
            return np.asarray(raster).ravel()[flat]

        nothing = np.full(points.grid.shape, np.nan, dtype=np.float32)
        none = np.zeros(points.grid.shape, dtype=np.int32)
        yield Column("point_id", "int8", point_ids(self.track_id, points.grid).ravel()[flat])
        for days, name in WINDOWS.items():
            yield Column(f"{name}_mm_yr", "float4", of(points.velocity_mm_yr.get(days, nothing)))
            yield Column(f"{name}_sd_mm_yr", "float4", of(points.velocity_sd_mm_yr.get(days, nothing)))
            yield Column(
                f"{name}_white_sd_mm_yr", "float4", of(points.velocity_white_sd_mm_yr.get(days, nothing))
            )
            yield Column(f"{name}_epochs", "int4", of(points.epochs_used.get(days, none)))
        yield Column("displacement_mm", "float4", of(points.newest_mm))
        yield Column("temporal_coherence", "float4", of(points.temporal_coherence))
        yield Column("stage_confidence", "float4", of(points.stage_confidence))
        since = of(points.stage_since).astype(np.int64)
        yield Column("stage_days", "int4", np.where(since > 0, since - _ORDINAL_OF_2000, _NO_DAY))
        yield Column("observations", "int4", of(points.observations))
        yield Column("reliable", "bool", of(points.reliable).astype(bool))


def _legend(
    codes: Raster, flat: NDArray[np.int64], texts: Mapping[int, str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Codes as places in a list of texts, counted from 1 as SQL does; 0 where there is no text."""
    present, inverse = np.unique(np.asarray(codes).ravel()[flat], return_inverse=True)
    known = [int(code) for code in present if int(code) in texts]
    places = np.array(
        [known.index(int(code)) + 1 if int(code) in texts else 0 for code in present], dtype=np.int64
    )
    return places[inverse] if present.size else np.zeros(0, np.int64), [texts[code] for code in known]


_REALS = [f"{name}{what}" for name in WINDOWS.values() for what in ("_mm_yr", "_sd_mm_yr", "_white_sd_mm_yr")]
_COUNTS = [f"{name}_epochs" for name in WINDOWS.values()]
_REALS += ["displacement_mm", "temporal_coherence", "stage_confidence"]
_NO_DAY = -(2**31)
_STAGING = (
    "CREATE TEMPORARY TABLE sagwatch_staging (point_id bigint, "
    + ", ".join(f"{name} real" for name in _REALS)
    + ", "
    + ", ".join(f"{name} int" for name in _COUNTS)
    + ", observations int, reliable boolean, why_not int, zone int, stage int, evidence int, blind int, "
    "stage_days int, is_new boolean) "
    "ON COMMIT DROP"
)
_NAMES = ["revision_id", *_REALS, *_COUNTS, "observations", "reliable", "stage_since"]
_NAMES += ["why_not", "zone_id", "stage", "evidence", "blind"]
_VALUES = [
    "%s",
    *(f"nullif(staged.{name}, 'NaN')" for name in _REALS),
    *(f"staged.{name}" for name in _COUNTS),
    "staged.observations",
    "staged.reliable",
    f"date '2000-01-01' + nullif(staged.stage_days, {_NO_DAY})",
    "(%s::text[])[staged.why_not]",
    "(%s::text[])[staged.zone]",
    "(%s::text[])[staged.stage]",
    "(%s::text[])[staged.evidence]",
    "(%s::text[])[staged.blind]",
]
_SETTINGS = ", ".join(f"{name} = {value}" for name, value in zip(_NAMES, _VALUES, strict=True))
_UPDATE_CURRENT = (
    f"UPDATE sagwatch.point_velocity held SET {_SETTINGS} FROM sagwatch_staging staged "  # noqa: S608  our own words
    "WHERE held.point_id = staged.point_id AND NOT staged.is_new"
)
_INSERT_CURRENT = (
    f"INSERT INTO sagwatch.point_velocity (point_id, {', '.join(_NAMES)}) "  # noqa: S608  our own words
    f"SELECT staged.point_id, {', '.join(_VALUES)} FROM sagwatch_staging staged "
    "WHERE staged.is_new ORDER BY staged.point_id"
)
