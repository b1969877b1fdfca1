"""The series that people read has no residual topography in it, now and as of then; an update writes few tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from sagwatch.adapters.database.publication import TOLERANCE
from sagwatch.web.queries import Reader
from tests.database.published import (
    START,
    TRACK,
    at,
    epochs,
    make_arrays,
    make_revision,
    make_series,
    make_site,
)

SHAPE = 20, 37


@pytest.fixture
def site_ledger(ledger):
    ledger.sites.sync([make_site()], START)
    return ledger


def arrays_of(count, seed, feigned):
    """A series with what the height model feigns still in it, and the truth without."""
    rng = np.random.default_rng(seed)
    baselines = np.concatenate([[0], rng.normal(0, 80, 11)])[:count]
    held = make_series(12)[:count]
    arrays = make_arrays(held, topography_mm_per_m=feigned, perpendicular_m=tuple(baselines.tolist()))
    truth = held - np.nan_to_num(feigned) * baselines[:, None, None]
    return arrays, truth


def publish(ledger, number, arrays):
    head = ledger.publication.head(TRACK)
    built = replace(
        make_revision(number, arrays.epochs, TRACK, head.revision_id), perpendicular_m=arrays.perpendicular_m
    )
    row = ledger.revisions.write_down(built, at(number))
    with ledger.begin() as session:
        return ledger.publication.put_live(
            session, TRACK, row.id, head.revision_id, head.fence, arrays, at(number)
        )


def shown(ledger, count, function, **values):
    with ledger.begin() as session:
        found = session.execute(
            text(
                "SELECT point.row, point.column, series.date, series.displacement_mm "
                f"FROM sagwatch.point CROSS JOIN LATERAL {function} AS series"
            ),
            values,
        ).all()
    days = {day: i for i, day in enumerate(epochs(count))}
    series = np.full((count, *SHAPE), np.nan, np.float32)
    for row, column, day, value in found:
        if value is not None:
            series[days[day], row, column] = value
    return series


def test_people_read_the_series_without_topography_now_and_as_of_then(site_ledger):
    rng = np.random.default_rng(1)
    feigned = rng.normal(0, 0.02, SHAPE).astype(np.float32)
    feigned[4, 4:9] = np.nan
    first, truth = arrays_of(10, 5, feigned)
    second, later_truth = arrays_of(12, 5, (feigned * 1.3).astype(np.float32))
    publish(site_ledger, 1, first)
    written = publish(site_ledger, 2, second)

    now = shown(site_ledger, 12, "analyst.series(point.id)")
    then = shown(site_ledger, 10, "analyst.series_as_of(point.id, :moment)", moment=at(1))

    np.testing.assert_allclose(now, later_truth, atol=TOLERANCE)
    np.testing.assert_allclose(then, truth, atol=TOLERANCE)
    assert np.nanmax(np.abs(truth - first.los_mm)) > 1
    tiles = 2 * 3
    assert (written.series_tiles, written.series_tiles_closed) == (2 * tiles, 0)
    with site_ledger.begin() as session:
        kept = session.execute(text("SELECT from_number, until_number FROM sagwatch.topography_tile")).all()
        current = session.execute(
            text(
                "SELECT point.row, point.column, displacement_mm FROM sagwatch.point_velocity "
                "JOIN sagwatch.point ON point.id = point_id"
            )
        ).all()
    assert sorted(kept, key=str) == sorted([(1, 2)] * tiles + [(2, None)] * tiles, key=str)
    for row, column, value in current:
        expected = later_truth[-1, row, column]
        assert (value is None) == bool(np.isnan(expected))
        if value is not None:
            assert value == pytest.approx(float(expected), abs=TOLERANCE)


def test_a_site_that_estimates_no_more_shows_the_series_as_it_is_held(site_ledger):
    first, _ = arrays_of(6, 5, np.full(SHAPE, 0.05, np.float32))
    publish(site_ledger, 1, first)
    publish(site_ledger, 2, make_arrays(make_series(12)[:6]))

    np.testing.assert_array_equal(shown(site_ledger, 6, "analyst.series(point.id)"), make_series(12)[:6])
    assert not np.allclose(
        shown(site_ledger, 6, "analyst.series_as_of(point.id, :moment)", moment=at(1)),
        first.los_mm,
        equal_nan=True,
    )


def test_baselines_and_the_raster_must_fit_the_epochs(site_ledger):
    held = make_series(12)[:4]
    with pytest.raises(ValueError, match="perpendicular_m"):
        make_arrays(held, topography_mm_per_m=np.zeros(SHAPE, np.float32), perpendicular_m=(0.0, 1.0))
    assert Reader is not None
