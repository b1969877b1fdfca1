"""What the page is told equals what the ledger holds, and it can only be told."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sagwatch.errors import TryAgainError
from sagwatch.web.queries import NO_DATA, Reader

from .conftest import BLIND_WORDS, EPOCHS, GRID, TRACK, ZONE, KnownLedger, is_blind


def test_the_velocity_layer_is_the_grid_with_no_data_where_nothing_is_published(known: KnownLedger) -> None:
    layer = known.reader.velocities("shaqu", "t011a", 0)

    expected = np.where(known.has_data, np.rint(known.velocity_mm_yr * 10), NO_DATA)
    assert np.abs(layer.tenths_mm_yr - expected).max() <= 1  # the database keeps 32 bits, the edge may round
    np.testing.assert_array_equal(layer.reliable.astype(bool), known.has_data & (np.mgrid[:40, :60][0] > 4))
    raw = layer.to_bytes()
    assert len(raw) == 3 * GRID.pixels
    assert np.frombuffer(raw, "<i2", GRID.pixels)[20 * 60 + 30] == layer.tenths_mm_yr[20, 30]


def test_a_window_without_values_is_all_no_data_and_not_zero(known: KnownLedger) -> None:
    assert (known.reader.velocities("shaqu", "t011a", 365).tenths_mm_yr == NO_DATA).all()


def test_a_track_that_does_not_exist_is_none(known: KnownLedger) -> None:
    assert known.reader.velocities("shaqu", "t018d", 0) is None


def test_a_history_is_the_current_series_of_exactly_that_pixel(known: KnownLedger) -> None:
    point = known.reader.history("shaqu", "t011a", 20, 30)

    years = np.array([(epoch - EPOCHS[0]).days / 365.25 for epoch in EPOCHS])
    assert point["dates"] == EPOCHS
    np.testing.assert_allclose(
        point["displacement_mm"], known.velocity_mm_yr[20, 30] * years, rtol=1e-5, atol=1e-5
    )
    assert point["provisional"] == [False] * (len(EPOCHS) - 2) + [True] * 2
    longitude, latitude = GRID.lon_lat(20, 30)
    assert (point["longitude"], point["latitude"]) == pytest.approx((longitude, latitude))
    assert known.reader.history("shaqu", "t011a", 20, 1) is None


def test_the_interval_of_few_acquisitions_is_students(known: KnownLedger) -> None:
    point, poor = (known.reader.history("shaqu", "t011a", row, 30) for row in (20, 5))

    # Tables of Student's t, 97.5 %: ten and four degrees of freedom.
    assert point["velocity_half_interval_mm_yr"] == pytest.approx(2.228 * 2.0, rel=1e-3)
    assert point["velocity_150d_half_interval_mm_yr"] == pytest.approx(2.776 * 4.0, rel=1e-3)
    assert point["velocity_365d_half_interval_mm_yr"] is None
    assert poor["velocity_150d_half_interval_mm_yr"] is None, "two acquisitions have none"


def test_zones_come_in_columns_and_rows_of_the_grid(known: KnownLedger) -> None:
    (zone,) = known.reader.zones("shaqu", "t011a")

    corners = np.array(zone["polygons"][0][0])
    left, upper, right, lower = ZONE
    np.testing.assert_allclose(corners.min(axis=0), (left, upper), atol=0.02)
    np.testing.assert_allclose(corners.max(axis=0), (right, lower), atol=0.02)
    assert (zone["id"], zone["alerted"]) == ("z1", True)


def test_blind_spots_come_as_pixels_of_the_grid_with_their_words(known: KnownLedger) -> None:
    (kind,) = known.reader.blind_spots("shaqu", "t011a")

    assert kind["words"] == BLIND_WORDS
    assert kind["pixels"] == [
        row * GRID.columns + column
        for row in range(GRID.rows)
        for column in range(GRID.columns)
        if is_blind(row, column)
    ]
    assert known.reader.blind_spots("shaqu", "t999") == []


def test_the_overview_leaves_out_archived_sites_and_counts_every_acquisition(known: KnownLedger) -> None:
    (site,) = known.reader.sites()
    (track,) = site["tracks"]

    assert track["acquisitions"] == {"used": 12, "pending": 1, "rejected": 1}
    assert (track["revision_number"], track["last_epoch"]) == (4, EPOCHS[-1])
    assert track["last_acquisition"] > EPOCHS[-1]
    # One acquisition has one reason and one has two: each is said once.
    assert (track["provisional"], track["provisional_why"]) == (
        2,
        "preliminary weather data, restituted orbits",
    )


def test_an_alert_comes_with_its_last_sentence(known: KnownLedger) -> None:
    (alert,) = known.reader.alerts("shaqu")

    assert (alert["zone_name"], alert["level"], alert["state"]) == ("Zone A", 2, "raised")
    assert "120 ± 8 mm/yr" in alert["sentence"]
    assert known.reader.alerts("elsewhere") == []


@pytest.mark.parametrize(
    "attack",
    [
        f"UPDATE sagwatch.track SET name = 'x' WHERE id = '{TRACK}'",
        "SET default_transaction_read_only = off; DELETE FROM sagwatch.message",
        "CREATE TEMPORARY TABLE mine (x int)",
    ],
)
def test_the_page_cannot_write(known: KnownLedger, attack: str) -> None:
    with pytest.raises(DBAPIError, match=r"read-only|permission denied"), known.reader._connection() as page:
        page.execute(text(attack))


def test_a_ledger_that_is_away_is_said_to_be_away() -> None:
    away = Reader(lambda: ("postgresql://nobody@127.0.0.1:9/nowhere", None))

    with pytest.raises(TryAgainError, match="away"):
        away.sites()
