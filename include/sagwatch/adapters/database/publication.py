"""Puts a revision live: points, series, velocities and the head pointer in the caller's transaction.

Readers see the revision before or this one, never a mixture. History is kept by closing rows, not by changing them:
a tile of 256 points is written again only where one of its values changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, sql
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from sagwatch.adapters.database.bulk import Column, copy_in, copy_out, days_since_2000
from sagwatch.adapters.database.models import PublishedRevision, Revision, Track
from sagwatch.adapters.database.tiles import (
    TILE_PIXELS,
    changed_tiles,
    cut,
    tile_and_position,
    tiles_per_row,
)
from sagwatch.domain.grid import Grid
from sagwatch.domain.point import TILE_SIDE, point_ids
from sagwatch.errors import BadRevisionError, FencedError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

#: A published value is written again when it moved by more than this: mm, and mm/yr.
TOLERANCE = 0.005
#: Columns of `point_velocity` by length of the window in days; 0 is the whole record.
WINDOWS = {0: "velocity", 150: "velocity_150d", 365: "velocity_365d"}
_BATCH_BYTES = 32 * 2**20
_RASTERS = (
    "temporal_coherence",
    "observations",
    "reliable",
    "why_not",
    "zone",
    "evidence",
    "stage",
    "stage_since",
    "stage_confidence",
)
_ORDINAL_OF_2000 = date(2000, 1, 1).toordinal()

Raster = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PublishedArrays:
    """Everything that readers will see of a revision.

    Rasters have shape (rows, columns) of the grid; line of sight, negative away from the satellite; NaN is no-data.
    A pixel is published from the first revision on in which it has an observation.
    """

    grid: Grid
    #: Acquisition dates, ascending.
    epochs: tuple[date, ...]
    #: Shape (epochs, rows, columns), relative to the first epoch.
    los_mm: Raster
    #: By length of the window in days (0, 150, 365).
    velocity_mm_yr: Mapping[int, Raster]
    velocity_sd_mm_yr: Mapping[int, Raster]
    #: As if noise were independent in time (MintPy's), and how many epochs each line used; for the same windows.
    velocity_white_sd_mm_yr: Mapping[int, Raster]
    epochs_used: Mapping[int, Raster]
    temporal_coherence: Raster
    #: Number of interferograms with a value.
    observations: Raster
    reliable: Raster
    #: Codes of the reasons against an alert; a code that is not in ``why_not_texts`` means none.
    why_not: Raster
    why_not_texts: Mapping[int, str]
    #: Indices of zones; an index that is not in ``zone_ids`` means none.
    zone: Raster
    zone_ids: Mapping[int, str]
    #: What the windows prove: numbers in ``evidence_texts``.
    evidence: Raster
    evidence_texts: Mapping[int, str]
    #: Stage of movement: numbers in ``stage_texts``, day since when (`date.toordinal`, 0 unknown), confidence 0 to 1.
    stage: Raster
    stage_texts: Mapping[int, str]
    stage_since: Raster
    stage_confidence: Raster
    #: The first epoch whose values may differ from the head's, where the caller knows it; None compares all.
    changed_from: date | None = None
    #: Why a pixel cannot be seen: codes of ``blind_texts``; a code without a text says nothing against it.
    blind: Raster | None = None
    blind_texts: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.epochs) != sorted(set(self.epochs)) or not self.epochs:
            raise ValueError("epochs must be ascending dates, each once, and at least one")
        shapes = {
            "los_mm": (self.los_mm.shape, (len(self.epochs), *self.grid.shape)),
            **{
                f"velocity {days}": (raster.shape, self.grid.shape)
                for days, raster in self.velocity_mm_yr.items()
            },
            **{
                f"sd {days}": (raster.shape, self.grid.shape)
                for days, raster in self.velocity_sd_mm_yr.items()
            },
        }
        for name in _RASTERS:
            shapes[name] = (getattr(self, name).shape, self.grid.shape)
        for name, (found, expected) in shapes.items():
            if tuple(found) != tuple(expected):
                raise ValueError(f"{name} has shape {found}, the grid asks for {expected}")
        if not set(self.velocity_mm_yr) == set(self.velocity_sd_mm_yr) <= set(WINDOWS):
            raise ValueError(f"velocities and their sd are for the same windows out of {sorted(WINDOWS)}")


@dataclass(frozen=True, slots=True)
class Head:
    """What readers see of a track now; keep it when work begins, hand it back when the result goes live."""

    track_id: str
    revision_id: str | None
    number: int
    fence: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a publication wrote."""

    points_new: int
    points: int
    series_tiles: int
    series_tiles_closed: int
    velocity_tiles: int


@dataclass(slots=True)
class _TileCount:
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


_SERIES = _TileTable("series_tile", "epoch", "date", ("los_mm",))
_VELOCITIES = _TileTable("velocity_tile", "window_days", "int4", ("velocity_mm_yr", "sd_mm_yr"))


class Publication:
    """Reached as `ledger.publication`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def head(self, track_id: str) -> Head:
        """What readers see now, and the fence that a writer must hand back."""
        with self._ledger.begin() as session:
            found = session.execute(
                select(Track.head_revision_id, Revision.number, Track.fence)
                .outerjoin(Revision, Revision.id == Track.head_revision_id)
                .where(Track.id == track_id)
            ).one_or_none()
        if found is None:
            raise BadRevisionError(f"the ledger knows no track {track_id}")
        return Head(track_id, found[0], found[1] or 0, found[2])

    def put_live(
        self,
        session: Session,
        track_id: str,
        revision_id: str,
        expected_head: str | None,
        fence: int,
        points: PublishedArrays,
        as_of: datetime,
    ) -> Written:
        """Make a built revision the one that readers see, when the caller's transaction commits.

        Parameters
        ----------
        expected_head, fence : as `head` told them before the work began.

        Raises
        ------
        FencedError
            Another writer has published meanwhile; roll back and leave.
        BadRevisionError
            The revision is not one that can go live, or lives on another grid than the track.
        """
        session.flush()
        session.execute(text("SET LOCAL lock_timeout = '60s'"))
        # The server itself ends a writer that was stopped in the middle, so that it cannot hold the track for ever.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
        track = _claim(session, track_id, expected_head, fence)
        revision = _presentable(session, track, revision_id, points)
        connection: Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
        writer = _Writer(connection, track_id, revision_id, revision.number, points)
        written = writer.write()
        _move_head(session, track, revision, as_of)
        return written

    def refresh_points(
        self, session: Session, track_id: str, revision_id: str, fence: int, points: PublishedArrays
    ) -> None:
        """Show zones, reasons and stages anew where an acquisition was judged later than its revision went live.

        Raises
        ------
        FencedError
            Another writer has published meanwhile; roll back and leave.
        """
        session.flush()
        _claim(session, track_id, revision_id, fence)
        connection: Connection[Any] = session.connection().connection.driver_connection  # type: ignore[assignment]
        number = session.get_one(Revision, revision_id).number
        _Writer(connection, track_id, revision_id, number, points).refresh()


def _claim(session: Session, track_id: str, expected_head: str | None, fence: int) -> Track:
    """Lock the track's row; other tables may still refer to it meanwhile."""
    track = session.get(Track, track_id, with_for_update={"key_share": True}, populate_existing=True)
    if track is None:
        raise BadRevisionError(f"the ledger knows no track {track_id}")
    if (track.head_revision_id, track.fence) != (expected_head, fence):
        raise FencedError(
            f"track {track_id} shows revision {track.head_revision_id} (fence {track.fence}), this writer started "
            f"from {expected_head} (fence {fence}): another one has published meanwhile, this one stops"
        )
    return track


def _presentable(session: Session, track: Track, revision_id: str, points: PublishedArrays) -> Revision:
    revision = session.get(Revision, revision_id, populate_existing=True)
    if revision is None or revision.track_id != track.id:
        raise BadRevisionError(
            f"track {track.id} has no revision {revision_id}: write it down before it goes live"
        )
    if revision.state != "built":
        raise BadRevisionError(f"revision {revision_id} is {revision.state}, only a built one can go live")
    if list(points.epochs) != list(revision.epochs):
        raise BadRevisionError(f"revision {revision_id} has other epochs than what is to be published of it")
    if points.grid.id != track.grid_id:
        raise BadRevisionError(
            f"revision {revision_id} is on grid {points.grid.id}, track {track.id} on {track.grid_id}"
        )
    last = session.scalar(
        select(func.max(PublishedRevision.number)).where(PublishedRevision.track_id == track.id)
    )
    if last is not None and revision.number <= last:
        raise BadRevisionError(
            f"revision number {revision.number} is not after {last}, which was live already"
        )
    return revision


def _move_head(session: Session, track: Track, revision: Revision, as_of: datetime) -> None:
    if track.head_revision_id is not None:
        before = session.get(Revision, track.head_revision_id)
        if before is not None:
            before.state = "retired"
    revision.state, revision.published_at = "live", as_of
    track.head_revision_id, track.fence = revision.id, track.fence + 1
    session.add(
        PublishedRevision(
            track_id=track.id, number=revision.number, revision_id=revision.id, published_at=as_of
        )
    )
    session.flush()


@dataclass(frozen=True)
class _Writer:
    """One publication on the driver's connection, for bulk work."""

    connection: Connection[Any]
    track_id: str
    revision_id: str
    number: int
    points: PublishedArrays

    def write(self) -> Written:
        known, new = self._known_and_new()
        self._add_points(new)
        self._replace_current(known, new)
        series = self._write_series()
        velocities = self._write_velocities()
        return Written(new.size, known.size + new.size, series.written, series.closed, velocities.written)

    def refresh(self) -> None:
        """Current values of the points that are there; histories stay."""
        known, _ = self._known_and_new()
        self._replace_current(known, np.empty(0, dtype=np.int64))

    def _known_and_new(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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

    def _add_points(self, new: NDArray[np.int64]) -> None:
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

    def _replace_current(self, known: NDArray[np.int64], new: NDArray[np.int64]) -> None:
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
            codes = self.points.evidence if self.points.blind is None else self.points.blind
            blind, blind_texts = _legend(codes, flat, self.points.blind_texts)
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
        yield Column("displacement_mm", "float4", of(points.los_mm[-1]))
        yield Column("temporal_coherence", "float4", of(points.temporal_coherence))
        yield Column("stage_confidence", "float4", of(points.stage_confidence))
        since = of(points.stage_since).astype(np.int64)
        yield Column("stage_days", "int4", np.where(since > 0, since - _ORDINAL_OF_2000, _NO_DAY))
        yield Column("observations", "int4", of(points.observations))
        yield Column("reliable", "bool", of(points.reliable).astype(bool))

    def _write_series(self) -> _TileCount:
        points = self.points
        self._close_missing_epochs()
        start = points.changed_from or points.epochs[0]
        first = next((i for i, epoch in enumerate(points.epochs) if epoch >= start), len(points.epochs))
        keys = days_since_2000(points.epochs[first:])
        count = _TileCount()
        if keys.size:
            for offset, rows in _bands(points.grid, len(keys)):
                new = cut(np.asarray(points.los_mm[first:, rows]))
                self._write_tiles(_SERIES, keys, offset, [new], count)
        return count

    def _write_velocities(self) -> _TileCount:
        points, count = self.points, _TileCount()
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
        count: _TileCount,
    ) -> None:
        """Write the tiles of one band that changed; ``new`` arrays have shape (keys, tiles, 256)."""
        old, exists = self._current_tiles(table, keys, offset, new[0].shape)
        changed = np.zeros(new[0].shape[:2], dtype=bool)
        has_data = np.zeros_like(changed)
        for new_values, old_values in zip(new, old, strict=True):
            changed |= changed_tiles(new_values, old_values, TOLERANCE)
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
