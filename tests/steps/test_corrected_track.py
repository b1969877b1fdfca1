"""Topography and ramps from the site's rules to what people read."""

from __future__ import annotations

import logging
from datetime import timedelta

import numpy as np
import pytest
from shapely import from_wkt
from sqlalchemy import text

from sagwatch.adapters.database.publication import TOLERANCE
from sagwatch.domain.site import CorrectionRules, Face
from sagwatch.engine.revision import Revision, read_revision
from sagwatch.steps.audit_track import audit_track
from sagwatch.steps.publish_revision import publish_revision
from sagwatch.steps.stack_members import revision_settings
from sagwatch.web.queries import Reader
from tests.steps.stored_track import AS_OF, StoredTrack, store_track

RULES = CorrectionRules.model_validate({"ramp": {"shape": "linear"}, "topography": {"estimate": True}})


def face_on(stored: StoredTrack, depth_m: float | None) -> Face:
    """A panel under the invented trough."""
    grid = stored.track.grid.grid()
    corners = [
        grid.lon_lat(row, column) for row, column in ((33, 27), (33, 32), (38, 32), (38, 27), (33, 27))
    ]
    ring = [[float(longitude), float(latitude)] for longitude, latitude in corners]
    return Face(
        name="4203", begin="2023-01-01", depth_m=depth_m, geometry={"type": "Polygon", "coordinates": [ring]}
    )


@pytest.fixture
def stored(tmp_path, ledger) -> StoredTrack:
    stored = store_track(tmp_path, ledger, n_epochs=26)
    stored.site = stored.site.model_copy(update={"corrections": RULES, "faces": (face_on(stored, 500.0),)})
    return stored


def read_by_people(stored: StoredTrack, revision: Revision, function: str, **values) -> np.ndarray:
    with stored.ledger.begin() as session:
        found = session.execute(
            text(
                'SELECT point.row, point."column", series.date, series.displacement_mm '
                f"FROM sagwatch.point CROSS JOIN LATERAL analyst.{function} AS series"
            ),
            values,
        ).all()
    number = {day: i for i, day in enumerate(revision.epochs)}
    series = np.full((len(number), *revision.grid.shape), np.nan)
    for row, column, day, value in found:
        if value is not None:
            series[number[day], row, column] = value
    return series


def counts(stored: StoredTrack) -> tuple[int, int]:
    with stored.ledger.begin() as session:
        return tuple(
            session.execute(
                text(
                    "SELECT count(*), count(*) FILTER (WHERE until_number IS NOT NULL) FROM sagwatch.series_tile"
                )
            ).one()
        )


def test_people_read_the_corrected_series_and_an_update_writes_few_tiles(stored, caplog):
    stored.update(stored.until(stored.dates[-2]))
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    before = read_revision(stored.newest)
    then = before.los_m() * 1000
    first_tiles, _ = counts(stored)
    with caplog.at_level(logging.WARNING):
        stored.update(stored.members)
    later = AS_OF + timedelta(days=12)
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, later)
    revision = read_revision(stored.newest)

    shown = read_by_people(stored, revision, "series(point.id)")
    expected = np.where(revision.observed(), revision.los_m() * 1000, np.nan)
    assert np.nanmax(np.abs(shown - expected)) < TOLERANCE
    np.testing.assert_array_equal(np.isnan(shown), np.isnan(expected))
    assert np.nanmax(np.abs(shown - 1000 * revision.raw_los_m())) > 1
    moved = np.nanmax(np.abs(expected[:8] - np.where(before.observed(), then, np.nan)[:8]))
    assert moved > TOLERANCE, "the residual height moved old epochs"
    as_of = read_by_people(
        stored, revision, "series_as_of(point.id, :moment)", moment=AS_OF + timedelta(days=1)
    )
    held = np.where(before.observed(), then, np.nan)
    assert np.nanmax(np.abs(as_of[: len(then)] - held)) < TOLERANCE
    tiles, closed = counts(stored)
    tiles_an_epoch = first_tiles // len(before.epochs)
    # The new acquisition moves the last few epochs of the raw series; the residual height moved all 25.
    assert tiles - first_tiles <= 10 * tiles_an_epoch, (tiles, first_tiles)
    assert closed <= 9 * tiles_an_epoch
    row, column = 12, 15
    dsn = stored.ledger.engine.url.render_as_string(hide_password=False)
    history = Reader(lambda: (dsn, None)).history(stored.site.name, stored.track.name, row, column)
    known = np.isfinite(expected[:, row, column])
    np.testing.assert_allclose(
        np.array(history["displacement_mm"], float)[known], expected[known, row, column], atol=TOLERANCE
    )
    assert history["last_displacement_mm"] == pytest.approx(expected[-1, row, column], abs=TOLERANCE)


def test_the_audit_says_that_corrections_are_mintpys(stored):
    stored.update(stored.members)
    stored.publish()

    audit = audit_track(stored.track, stored.ledger, stored.data, AS_OF)

    assert audit is not None
    assert audit.problems == ()
    assert 0 < audit.differences.corrected_max_mm < 0.01
    assert "corrected displacement (ramp, demErr)" in audit.differences.table()


def test_panels_and_their_draw_are_left_out(stored):
    (excluded,) = revision_settings(stored.site, stored.track).corrections.excluded
    area = from_wkt(excluded)
    west, _, east, _ = area.bounds
    assert east - west == pytest.approx(5 * 80 + 2 * 500 / np.tan(np.radians(55)), abs=30)
    unknown = stored.site.model_copy(update={"faces": (face_on(stored, None),)})
    (wide,) = revision_settings(unknown, stored.track).corrections.excluded
    assert from_wkt(wide).bounds[2] - from_wkt(wide).bounds[0] == pytest.approx(400 + 2 * 400, abs=30)
    off = stored.site.model_copy(update={"corrections": CorrectionRules()})
    assert not revision_settings(off, stored.track).corrections.any
    assert revision_settings(off, stored.track).corrections.excluded == ()


def test_a_ramp_without_a_mine_plan_is_warned_of(stored, caplog):
    stored.site = stored.site.model_copy(update={"faces": ()})
    with caplog.at_level(logging.WARNING):
        stored.update(stored.members)
    assert "W120" in caplog.text
