"""What SQL shows is the corrected series, at every time, and an update writes little of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from sagwatch.adapters.database.ledger import Ledger
from sagwatch.adapters.site_files import read_site
from sagwatch.domain.site import Site
from sagwatch.engine.correction_files import STEADY
from sagwatch.engine.interferogram import open_hdf5
from sagwatch.engine.revision import read_revision
from sagwatch.steps.publish_revision import publish_revision
from tests.steps.stored_track import AS_OF, StoredTrack, store_track

ROOT = Path(__file__).resolve().parents[2]
TOPOGRAPHY = {"topography": {"estimate": True}}


@pytest.fixture
def stored(tmp_path, ledger: Ledger) -> StoredTrack:
    return store_track(tmp_path, ledger, n_epochs=24, corrections=TOPOGRAPHY)


def rows(stored: StoredTrack, statement: str, **values):
    with stored.ledger.begin() as session:
        return session.execute(text(statement), values).all()


def shown(stored: StoredTrack, moment=None) -> dict:
    """What SQL shows of every tenth point: by row and column, one value per epoch, mm."""
    function = "analyst.series(point.id)" if moment is None else "analyst.series_as_of(point.id, :moment)"
    found = rows(
        stored,
        'SELECT point."row", point."column", array_agg(displacement_mm ORDER BY date) '
        f"FROM sagwatch.point CROSS JOIN {function} WHERE point.id % 10 = 0 GROUP BY 1, 2",
        **({} if moment is None else {"moment": moment}),
    )
    return {(row, column): np.array(values, np.float64) for row, column, values in found}


def publish(stored: StoredTrack, hours: int):
    as_of = AS_OF + timedelta(hours=hours)
    done = publish_revision(stored.site, stored.track, stored.ledger, stored.data, as_of)
    assert done is not None
    return done


def compare(shown_mm: dict, folder) -> None:
    revision = read_revision(folder)
    los_mm = np.where(revision.observed(), revision.los_m() * 1000, np.nan)
    assert len(shown_mm) > 30
    for (row, column), values in shown_mm.items():
        np.testing.assert_allclose(values, los_mm[:, row, column], rtol=0, atol=0.02)


def test_sql_shows_the_series_without_residual_topography(stored) -> None:
    members = stored.members
    last = stored.dates[-1]
    stored.update([m for m in members if m.secondary < last])
    first = publish(stored, 0)
    before = stored.newest
    stored.update(members)
    second = publish(stored, 1)
    after = stored.newest

    compare(shown(stored), after)
    revision = read_revision(after)
    assert np.nanmax(np.abs(revision.los_m() - revision.raw_los_m())) > 1e-4, "something was corrected"
    ((current,),) = rows(stored, "SELECT max(published_at) FROM sagwatch.published_revision")
    ((earlier,),) = rows(stored, "SELECT min(published_at) FROM sagwatch.published_revision")
    assert earlier < current
    compare(shown(stored, earlier), before)
    assert first.number < second.number
    ((old_epochs,),) = rows(
        stored,
        "SELECT count(*) FROM sagwatch.series_tile WHERE from_number = (SELECT max(number) FROM sagwatch.revision) "
        "AND epoch < :border",
        border=stored.dates[8],
    )
    assert old_epochs == 0, "the term is estimated anew, but old epochs are not written again"
    newest_mm = rows(
        stored,
        "SELECT displacement_mm, (SELECT displacement_mm FROM analyst.series(point_id) ORDER BY date DESC LIMIT 1) "
        "FROM sagwatch.point_velocity WHERE displacement_mm IS NOT NULL LIMIT 50",
    )
    np.testing.assert_allclose(*zip(*newest_mm, strict=True), rtol=0, atol=0.02)


def test_the_ledger_says_whether_residual_topography_is_taken_away(stored) -> None:
    said = []
    for hours, last in enumerate((stored.dates[15], stored.dates[-1])):
        stored.update(stored.until(last))
        publish(stored, hours)
        said += rows(stored, "SELECT DISTINCT topography FROM analyst.epochs")
    assert said == [("not yet",), ("estimated",)], "20 acquisitions are needed"


def test_what_the_real_site_asks_for_is_published_and_said(tmp_path, ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr("sagwatch.engine.corrections.LEAST_STEADY_PIXELS", 20)
    real = read_site(ROOT / "include" / "sites" / "shaqu.yaml")
    stored = store_track(tmp_path, ledger, n_epochs=24, corrections=real.corrections.model_dump())
    stored.site = Site.model_validate(stored.site.model_dump() | {"datum": real.datum.model_dump()})
    ledger.sites.sync([stored.site], AS_OF)
    assert (stored.site.datum.refer_to, stored.site.corrections.ramp.shape) == ("steady_ground", "linear")

    stored.update(stored.members)
    publish(stored, 0)

    compare(shown(stored), stored.newest)
    revision = read_revision(stored.newest)
    with open_hdf5(stored.newest / STEADY) as file:
        steady = file["mask"][:]
    means = np.nanmean(revision.los_m()[:, steady], axis=1)
    np.testing.assert_allclose(means, 0, atol=2e-4, err_msg="it is the datum")
    row, column = stored.invented.reference
    assert np.abs(revision.los_m()[:, row, column]).max() > 5e-4, "and the reference pixel is not"
    asked = "SELECT refer_to, steady_until FROM analyst.reference_points"
    assert rows(stored, asked) == [("steady_ground", stored.dates[-1])]
    assert rows(stored, "SELECT DISTINCT why FROM analyst.epochs") == [("no weather data yet",)]
