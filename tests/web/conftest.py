"""A small ledger whose contents the tests know: one mine, one track, a trough that sinks, one alert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from geoalchemy2.shape import from_shape
from pyproj import Transformer
from shapely import transform
from shapely.geometry import MultiPolygon, Point, box

from sagwatch.adapters.database import models
from sagwatch.adapters.database.ledger import Ledger
from sagwatch.domain.grid import Grid
from sagwatch.domain.point import TILE_SIDE, point_ids
from sagwatch.web.queries import Reader

GRID = Grid(epsg=32649, west=480000, north=4147200, pixel_m=80, columns=60, rows=40)
TRACK = "shaqu/t011a"
EPOCHS = [date(2024, 1, 11) + timedelta(days=12 * n) for n in range(12)]
NOW = datetime(2024, 6, 1, tzinfo=UTC)
BLIND_WORDS = "beyond the gradient limit <i>"
#: Zone in (column, row) of the grid: left, upper, right, lower.
ZONE = (25, 15, 35, 25)


@dataclass(frozen=True)
class KnownLedger:
    reader: Reader
    url: str
    velocity_mm_yr: np.ndarray
    has_data: np.ndarray


def known_velocity() -> tuple[np.ndarray, np.ndarray]:
    """A bowl of -120 mm/yr in the middle of stable ground; the first three columns have no data."""
    row, column = np.mgrid[: GRID.rows, : GRID.columns]
    velocity = -120.0 * np.exp(-((row - 20) ** 2 + (column - 30) ** 2) / 40.0) + 1.5
    return velocity, column >= 3


@pytest.fixture
def known(postgis_url: str) -> Iterator[KnownLedger]:
    ledger = Ledger(postgis_url)
    velocity, has_data = known_velocity()
    with ledger.begin() as session:
        session.add_all([_site(), _site("archived", archived=True)])
        session.flush()
        session.add(_track())
        session.flush()
        session.add(_revision())
        session.flush()
        session.get(models.Track, TRACK).head_revision_id = "r1"
        session.add_all(_acquisitions())
        session.add_all(_points(has_data))
        session.flush()
        session.add_all(_values(velocity, has_data))
        session.add_all(_series(velocity, has_data))
        for thing in _alert():
            session.add(thing)
            session.flush()
    ledger.close()
    return KnownLedger(Reader(lambda: (postgis_url, "sagwatch_web")), postgis_url, velocity, has_data)


def is_blind(row: int, column: int) -> bool:
    """The steep flank of the bowl, three rows and four columns of it."""
    return 20 <= row < 23 and 32 <= column < 36


def _site(name: str = "shaqu", archived: bool = False) -> models.Site:
    return models.Site(
        name=name,
        title="Shaqu, <b>Shanxi</b>",
        boundary=from_shape(box(110.77, 37.38, 110.9, 37.46), srid=4326),
        config={},
        config_sha256="c",
        first_seen_at=NOW,
        changed_at=NOW,
        archived_at=NOW if archived else None,
    )


def _track() -> models.Track:
    grid = {name: getattr(GRID, name) for name in ("epsg", "west", "north", "pixel_m", "columns", "rows")}
    return models.Track(
        id=TRACK,
        site="shaqu",
        name="t011a",
        relative_orbit=11,
        direction="ascending",
        grid=grid,
        grid_id=GRID.id,
        fence=1,
        searched_at=NOW,
    )


def _revision() -> models.Revision:
    return models.Revision(
        id="r1",
        track_id=TRACK,
        number=4,
        input_sha256="i",
        config_sha256="c",
        folder="x",
        manifest_sha256="m",
        interferograms=[],
        epochs=EPOCHS,
        troposphere=["final"] * (len(EPOCHS) - 2) + ["preliminary"] * 2,
        orbits=["precise"] * (len(EPOCHS) - 1) + ["restituted"],
        reference_row=1,
        reference_column=5,
        summary={},
        state="live",
        built_at=NOW,
        published_at=NOW,
    )


def _acquisitions() -> list[models.Acquisition]:
    states = ["used"] * 12 + ["pending", "rejected"]
    return [
        models.Acquisition(
            track_id=TRACK,
            date=EPOCHS[0] + timedelta(days=12 * n),
            acquired_at=NOW,
            platform="S1A",
            granules=["g"],
            state=state,
            reason="HH polarisation" if state == "rejected" else None,
            until=NOW if state == "pending" else None,
            first_seen_at=NOW,
            changed_at=NOW,
        )
        for n, state in enumerate(states)
    ]


def _places(has_data: np.ndarray) -> list[tuple[int, int, int]]:
    ids = point_ids(TRACK, GRID)
    return [(int(ids[r, c]), int(r), int(c)) for r, c in np.argwhere(has_data)]


def _tile(row: int, column: int) -> tuple[int, int]:
    per_row = -(-GRID.columns // TILE_SIDE)
    tile = row // TILE_SIDE * per_row + column // TILE_SIDE
    return tile, row % TILE_SIDE * TILE_SIDE + column % TILE_SIDE


def _points(has_data: np.ndarray) -> list[models.Point]:
    points = []
    for id_, row, column in _places(has_data):
        longitude, latitude = GRID.lon_lat(row, column)
        tile, position = _tile(row, column)
        points.append(
            models.Point(
                id=id_,
                track_id=TRACK,
                row=row,
                column=column,
                tile=tile,
                position=position,
                geom=from_shape(Point(longitude, latitude), srid=4326),
            )
        )
    return points


def _values(velocity: np.ndarray, has_data: np.ndarray) -> list[models.PointVelocity]:
    return [
        models.PointVelocity(
            point_id=id_,
            revision_id="r1",
            velocity_mm_yr=velocity[row, column],
            velocity_sd_mm_yr=2.0,
            velocity_epochs=12,
            velocity_150d_mm_yr=velocity[row, column] * 1.1,
            velocity_150d_sd_mm_yr=4.0,
            velocity_150d_epochs=6 if row > 5 else 2,
            velocity_365d_mm_yr=None,
            reliable=bool(row > 4),
            why_not=None if row > 4 else "temporal coherence 0.42 is below 0.7",
            observations=20,
            blind=BLIND_WORDS if is_blind(row, column) else None,
        )
        for id_, row, column in _places(has_data)
    ]


def _series(velocity: np.ndarray, has_data: np.ndarray) -> list[models.SeriesTile]:
    tiles: dict[int, list[tuple[int, float]]] = {}
    for _, row, column in _places(has_data):
        tile, position = _tile(row, column)
        tiles.setdefault(tile, []).append((position, float(velocity[row, column])))
    rows = []
    for tile, members in tiles.items():
        for epoch in EPOCHS:
            values: list[float | None] = [None] * TILE_SIDE**2
            years = (epoch - EPOCHS[0]).days / 365.25
            for position, rate in members:
                values[position] = rate * years
            rows.append(
                models.SeriesTile(
                    track_id=TRACK, tile=tile, epoch=epoch, from_number=4, until_number=None, los_mm=values
                )
            )
        rows.append(
            models.SeriesTile(
                track_id=TRACK,
                tile=tile,
                epoch=EPOCHS[0],
                from_number=1,
                until_number=4,
                los_mm=[99.0] * TILE_SIDE**2,
            )
        )
    return rows


def _alert() -> list[object]:
    left, upper, right, lower = ZONE
    corners = box(
        GRID.west + left * 80, GRID.north - lower * 80, GRID.west + right * 80, GRID.north - upper * 80
    )
    to_lon_lat = Transformer.from_crs(32649, 4326, always_xy=True).transform
    shape = transform(corners, to_lon_lat, interleaved=False)
    judgement = models.Judgement(
        track_id=TRACK, epoch=EPOCHS[-1], revision_id="r1", rules_sha256="x", zones=1, judged_at=NOW
    )
    zone = models.Zone(
        id="z1",
        track_id=TRACK,
        name="Zone A",
        born_epoch=EPOCHS[8],
        last_epoch=EPOCHS[-1],
        episode=1,
        updates_unseen=0,
    )
    snapshot = models.ZoneSnapshot(
        zone_id="z1",
        epoch=EPOCHS[-1],
        revision_id="r1",
        geom=from_shape(MultiPolygon([shape]), srid=4326),
        area_m2=640000,
        pixels=100,
        window_days=150,
        velocity_median_mm_yr=-80,
        velocity_p95_mm_yr=-120,
        velocity_sd_mm_yr=4,
        no_data_fraction=0,
        evidence={},
    )
    alert = models.Alert(
        id="a1",
        track_id=TRACK,
        subject="z1",
        zone_id="z1",
        rule="R1",
        rules_sha256="x",
        episode=1,
        state="raised",
        level=2,
        pending_level=2,
        updates_beyond=2,
        updates_below=0,
        raised_epoch=EPOCHS[9],
        last_epoch=EPOCHS[-1],
    )
    event = models.AlertEvent(
        id="e1",
        alert_id="a1",
        track_id=TRACK,
        epoch=EPOCHS[-1],
        type="raised",
        from_state="pending",
        to_state="raised",
        from_level=0,
        to_level=2,
        revision_id="r1",
        evidence={},
        sentence=(
            "Level 2 since 2024-12-01. "
            "Ground moves away from the satellite at 120 ± 8 mm/yr <script>alert(1)</script>. "
            "Blind spots: steep ground."
        ),
        decided_at=NOW,
    )
    return [judgement, zone, snapshot, alert, event]
