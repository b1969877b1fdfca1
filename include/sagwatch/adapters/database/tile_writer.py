"""Writes the histories of a publication in tiles of 256 points: a tile only where one of its values changed.

History is kept by closing rows, not by changing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql

from sagwatch.adapters.database.bulk import Column, copy_in, copy_out, days_since_2000
from sagwatch.adapters.database.published_arrays import PublishedArrays
from sagwatch.adapters.database.tiles import TILE_PIXELS, changed_tiles, cut, tiles_per_row
from sagwatch.domain.grid import Grid
from sagwatch.domain.point import TILE_SIDE

#: A published value is written again when it moved by more than this: mm, and mm/yr.
TOLERANCE = 0.005
_BATCH_BYTES = 32 * 2**20


@dataclass(slots=True)
class TileCount:
    """How many tiles were written, and how many that were shown before ended."""

    written: int = 0
    closed: int = 0


@dataclass(frozen=True)
class _TileTable:
    """A table of tiles with their history: its name, its key besides track and tile, its arrays."""

    name: str
    key: str
    key_kind: str
    arrays: tuple[str, ...]
    identifier: sql.Identifier = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "identifier", sql.Identifier("sagwatch", self.name))


_TOPOGRAPHY = _TileTable("topography_tile", "term", "int4", ("mm_per_m",))
_SERIES = _TileTable("series_tile", "epoch", "date", ("los_mm",))
_VELOCITIES = _TileTable("velocity_tile", "window_days", "int4", ("velocity_mm_yr", "sd_mm_yr"))


@dataclass(frozen=True)
class TileWriter:
    """Tiles of one publication, on the driver's connection, for bulk work."""

    connection: Connection[Any]
    track_id: str
    number: int
    points: PublishedArrays

    def write_series(self) -> TileCount:
        """Displacement histories, from the first epoch on that may have changed."""
        points = self.points
        self._close_missing_epochs()
        start = points.changed_from or points.epochs[0]
        first = next((i for i, epoch in enumerate(points.epochs) if epoch >= start), len(points.epochs))
        keys = days_since_2000(points.epochs[first:])
        count = TileCount()
        if keys.size:
            for offset, rows in _bands(points.grid, len(keys)):
                new = cut(np.asarray(points.los_mm[first:, rows]))
                self._write_tiles(_SERIES, keys, offset, [new], count)
        return count

    def write_topography(self) -> None:
        """As fine as the longest baseline asks for; NaN everywhere ends what was shown before."""
        points, term = self.points, np.zeros(1, np.int32)
        found, longest_m = points.topography_mm_per_m, 1.0
        if found is None:
            found = np.full(points.grid.shape, np.nan, np.float32)
        elif points.perpendicular_m is not None:
            longest_m = max(1.0, float(np.abs(points.perpendicular_m).max()))
        for offset, rows in _bands(points.grid, 1):
            new = cut(np.asarray(found)[None, rows].astype(np.float32))
            self._write_tiles(_TOPOGRAPHY, term, offset, [new], TileCount(), TOLERANCE / longest_m)

    def write_velocities(self) -> TileCount:
        """Velocities and their deviations, of all windows."""
        points, count = self.points, TileCount()
        windows = np.array(sorted(points.velocity_mm_yr), dtype=np.int32)
        if windows.size == 0:
            return count
        for offset, rows in _bands(points.grid, 2 * len(windows)):
            arrays = [
                cut(np.stack([np.asarray(source[int(days)])[rows] for days in windows]))
                for source in (points.velocity_mm_yr, points.velocity_sd_mm_yr)
            ]
            self._write_tiles(_VELOCITIES, windows, offset, arrays, count)
        return count

    def _close_missing_epochs(self) -> None:
        """Epochs that the new revision does not have (a withdrawn acquisition) end with it."""
        self.connection.execute(
            "UPDATE sagwatch.series_tile SET until_number = %s "
            "WHERE track_id = %s AND until_number IS NULL AND epoch <> ALL(%s)",
            [self.number, self.track_id, list(self.points.epochs)],
        )

    def _write_tiles(
        self,
        table: _TileTable,
        keys: NDArray[np.int32],
        offset: int,
        new: list[NDArray[np.float32]],
        count: TileCount,
        tolerance: float = TOLERANCE,
    ) -> None:
        """Write the tiles of one band that changed; ``new`` arrays have shape (keys, tiles, 256)."""
        old, exists = self._current_tiles(table, keys, offset, new[0].shape)
        changed = np.zeros(new[0].shape[:2], dtype=bool)
        has_data = np.zeros_like(changed)
        for new_values, old_values in zip(new, old, strict=True):
            changed |= changed_tiles(new_values, old_values, tolerance)
            has_data |= ~np.isnan(new_values).all(axis=-1)
        self._close(table, keys, offset, changed & exists)
        key_index, tile_index = np.nonzero(changed & has_data)
        copy_in(
            self.connection,
            table.identifier,
            [
                Column("track_id", "text", self.track_id),
                Column("tile", "int4", tile_index + offset),
                Column(table.key, table.key_kind, keys[key_index]),
                Column("from_number", "int4", self.number),
                *(
                    Column(name, "float4[]", values[key_index, tile_index])
                    for name, values in zip(table.arrays, new, strict=True)
                ),
            ],
            key_index.size,
        )
        count.written += int(key_index.size)
        count.closed += int((changed & exists).sum())

    def _current_tiles(
        self, table: _TileTable, keys: NDArray[np.int32], offset: int, shape: tuple[int, ...]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
        """What is shown now of one band, NaN where nothing is; and where there is a row."""
        query = sql.SQL(
            "SELECT tile, {key}, {arrays} FROM {table} WHERE track_id = %s AND until_number IS NULL "
            "AND tile BETWEEN %s AND %s AND {key} >= {least}"
        ).format(
            key=sql.Identifier(table.key),
            arrays=sql.SQL(", ").join(map(sql.Identifier, table.arrays)),
            table=table.identifier,
            least=sql.SQL("date '2000-01-01' + %s" if table.key_kind == "date" else "%s"),
        )
        fields = [("tile", "int4", 1), ("key", table.key_kind, 1)]
        fields += [(name, "float4[]", TILE_PIXELS) for name in table.arrays]
        last = offset + shape[1] - 1
        found = copy_out(self.connection, query, [self.track_id, offset, last, int(keys[0])], fields)
        tile, key = found["tile"].astype(np.int64) - offset, np.searchsorted(keys, found["key"])
        known = key < len(keys)
        known[known] = keys[key[known]] == found["key"][known]
        exists = np.zeros(shape[:2], dtype=bool)
        exists[key[known], tile[known]] = True
        old = [np.full(shape, np.nan, dtype=np.float32) for _ in table.arrays]
        for values, name in zip(old, table.arrays, strict=True):
            values[key[known], tile[known]] = found[name][known]
        return old, exists

    def _close(
        self, table: _TileTable, keys: NDArray[np.int32], offset: int, which: NDArray[np.bool_]
    ) -> None:
        key_index, tile_index = np.nonzero(which)
        if key_index.size == 0:
            return
        key = "date '2000-01-01' + ended.key" if table.key_kind == "date" else "ended.key"
        statement = sql.SQL(
            "UPDATE {table} held SET until_number = %s FROM unnest(%s::int[], %s::int[]) AS ended (tile, key) "
            "WHERE held.track_id = %s AND held.until_number IS NULL AND held.tile = ended.tile AND held.{name} = "
        ).format(table=table.identifier, name=sql.Identifier(table.key)) + sql.SQL(key)
        tiles = (tile_index + offset).tolist()
        self.connection.execute(statement, [self.number, tiles, keys[key_index].tolist(), self.track_id])


def _bands(grid: Grid, layers: int) -> Iterator[tuple[int, slice]]:
    """The grid in bands of whole tiles, of a bounded size in memory: number of the first tile, rows."""
    bytes_a_tile_row = layers * tiles_per_row(grid.columns) * TILE_PIXELS * 8
    height = max(1, _BATCH_BYTES // bytes_a_tile_row) * TILE_SIDE
    for top in range(0, grid.rows, height):
        yield (top // TILE_SIDE) * tiles_per_row(grid.columns), slice(top, min(top + height, grid.rows))
