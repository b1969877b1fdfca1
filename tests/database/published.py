"""An invented mine for tests of the ledger: a site, revisions, and arrays to publish."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.database.publication import Written
from sagwatch.adapters.database.published_arrays import PublishedArrays
from sagwatch.adapters.database.revisions import BuiltRevision
from sagwatch.domain.site import Site

START = datetime(2024, 1, 1, tzinfo=UTC)
FIRST_EPOCH = date(2023, 1, 5)
TRACK = "anyang/t011a"


def make_site(name: str = "anyang", rows: int = 20, columns: int = 37, **changes: Any) -> Site:
    """A site with one track; the grid is no whole number of tiles on purpose."""
    west, south, east, north = 110.76, 37.36, 110.92, 37.48
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    grid = {"epsg": 32649, "west": 480000, "north": 4145600, "pixel_m": 80, "columns": columns, "rows": rows}
    track = {
        "name": "t011a",
        "relative_orbit": 11,
        "direction": "ascending",
        "bursts": ["011_021697_IW3"],
        "looks": "20x4",
        "grid": grid,
    }
    return Site.model_validate(
        {
            "name": name,
            "title": "An invented mine",
            "boundary": {"type": "Polygon", "coordinates": [ring]},
            "start": "2023-01-01",
            "tracks": [track],
            **changes,
        }
    )


def epochs(count: int) -> tuple[date, ...]:
    return tuple(FIRST_EPOCH + timedelta(days=12 * i) for i in range(count))


def at(number: int) -> datetime:
    """When revision `number` goes live."""
    return START + timedelta(days=12 * number)


def make_series(count: int, rows: int = 20, columns: int = 37, seed: int = 1) -> np.ndarray:
    """Displacement in mm, shape (count, rows, columns): a bowl that sinks, noise, and holes without data."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    bowl = np.exp(-(((x - columns / 2) / 6) ** 2) - ((y - rows / 2) / 4) ** 2)
    los_mm = -3.0 * np.arange(count)[:, None, None] * bowl + rng.normal(0, 1, (count, rows, columns))
    los_mm -= los_mm[0]
    los_mm[rng.random(los_mm.shape) < 0.01] = np.nan
    los_mm[:, 0, :5] = np.nan
    return los_mm.astype(np.float32)


def make_arrays(los_mm: np.ndarray, days: Sequence[date] | None = None, **changes: Any) -> PublishedArrays:
    shape = los_mm.shape[1:]
    site = make_site(rows=shape[0], columns=shape[1])
    velocity = los_mm[-1] / max(len(los_mm) - 1, 1) * 30.4
    values: dict[str, Any] = {
        "grid": site.tracks[0].grid.grid(),
        "epochs": tuple(days or epochs(len(los_mm))),
        "los_mm": los_mm,
        "velocity_mm_yr": {0: velocity, 150: velocity * 2, 365: np.full(shape, np.nan, np.float32)},
        "velocity_sd_mm_yr": dict.fromkeys((0, 150, 365), np.full(shape, 1.5, np.float32)),
        "velocity_white_sd_mm_yr": dict.fromkeys((0, 150, 365), np.full(shape, 1.2, np.float32)),
        "epochs_used": dict.fromkeys((0, 150, 365), np.full(shape, 13, np.int32)),
        "evidence": np.full(shape, 2, np.uint8),
        "evidence_texts": {0: "beyond threshold", 1: "moving", 2: "cannot tell"},
        "blind": np.zeros(shape, np.uint8),
        "blind_texts": {},
        "temporal_coherence": np.full(shape, 0.9, np.float32),
        "observations": np.isfinite(los_mm).any(axis=0).astype(np.int32) * 5,
        "reliable": np.ones(shape, bool),
        "why_not": np.zeros(shape, np.uint8),
        "why_not_texts": {},
        "zone": np.full(shape, -1, np.int32),
        "zone_ids": {},
        "stage": np.zeros(shape, np.uint8),
        "stage_texts": {0: "stable"},
        "stage_since": np.full(shape, date(2024, 1, 2).toordinal(), np.int32),
        "stage_confidence": np.full(shape, 0.9, np.float32),
        **changes,
    }
    return PublishedArrays(**values)


def make_revision(
    number: int, days: Sequence[date], track_id: str = TRACK, parent: str | None = None
) -> BuiltRevision:
    return BuiltRevision(
        id=f"revision-{number}",
        track_id=track_id,
        number=number,
        parent_id=parent,
        input_sha256=f"input {number}",
        config_sha256="config",
        folder=f"revisions/{number:06d}-revision-{number}",
        manifest_sha256=f"manifest {number}",
        interferograms=[f"interferogram-{i}" for i in range(number)],
        epochs=days,
        reference_row=3,
        reference_column=4,
        summary={},
    )


def publish(ledger: Ledger, number: int, arrays: PublishedArrays, track_id: str = TRACK) -> Written:
    """Write a revision down and put it live, as the steps do."""
    head = ledger.publication.head(track_id)
    built = ledger.revisions.write_down(
        make_revision(number, arrays.epochs, track_id, head.revision_id), at(number)
    )
    with ledger.begin() as session:
        return ledger.publication.put_live(
            session, track_id, built.id, head.revision_id, head.fence, arrays, at(number)
        )
