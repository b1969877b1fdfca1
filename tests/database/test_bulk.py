"""Bulk copies and tiles: what PostgreSQL reads is what numpy wrote, and a raster survives being cut."""

from datetime import date

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from sagwatch.adapters.database.bulk import Column, copy_in, copy_out, days_since_2000
from sagwatch.adapters.database.tiles import TILE_PIXELS, changed_tiles, cut, tile_and_position

KINDS = {
    "a": ("int2", "smallint", np.array([1, -2, 3], np.int16)),
    "b": ("int4", "int", np.array([2**31 - 1, -(2**31), 0], np.int32)),
    "c": ("int8", "bigint", np.array([2**62, -1, 5], np.int64)),
    "d": ("float4", "real", np.array([1.5, -0.1, np.nan], np.float32)),
    "e": ("bool", "boolean", np.array([True, False, True])),
}


@pytest.fixture
def connection(postgis_url):
    with psycopg.connect(postgis_url) as connection:
        yield connection


def test_every_kind_arrives_as_postgresql_understands_it(connection):
    columns = ", ".join(f"{name} {declared}" for name, (_, declared, _) in KINDS.items())
    connection.execute(
        f"CREATE TABLE t ({columns}, day date, word text, place geometry(Point, 4326), many real[])"
    )
    days = [date(1999, 12, 31), date(2000, 1, 1), date(2024, 2, 29)]
    many = np.arange(6, dtype=np.float32).reshape(3, 2)

    copy_in(
        connection,
        sql.Identifier("t"),
        [
            *(Column(name, kind, values) for name, (kind, _, values) in KINDS.items()),
            Column("day", "date", days_since_2000(days)),
            Column("word", "text", "Erzählung/t011a"),
            Column("place", "point", np.array([[110.8, 37.4], [-99.2, 19.4], [0, 0]])),
            Column("many", "float4[]", many),
        ],
        3,
    )

    found = connection.execute(
        "SELECT a, b, c, d, e, day, word, st_asewkt(place), many FROM t ORDER BY day"
    ).fetchall()
    assert [row[:3] for row in found] == [(1, 2**31 - 1, 2**62), (-2, -(2**31), -1), (3, 0, 5)]
    np.testing.assert_array_equal(np.array([row[3] for row in found], np.float32), KINDS["d"][2])
    assert [row[4:7] for row in found] == [
        (flag, day, "Erzählung/t011a") for flag, day in zip([True, False, True], days, strict=True)
    ]
    assert found[0][7] == "SRID=4326;POINT(110.8 37.4)"
    assert [row[8] for row in found] == many.tolist()

    back = copy_out(
        connection,
        sql.SQL("SELECT c, many FROM t ORDER BY day"),
        [],
        [("c", "int8", 1), ("many", "float4[]", 2)],
    )
    np.testing.assert_array_equal(back["c"], KINDS["c"][2])
    np.testing.assert_array_equal(back["many"], many)


def test_many_chunks_keep_their_order_and_none_is_fine(connection):
    connection.execute("CREATE TABLE t (place serial, a int)")
    values = np.arange(20_001, dtype=np.int32)

    copy_in(connection, sql.Identifier("t"), [Column("a", "int4", values)], values.size)
    copy_in(connection, sql.Identifier("t"), [Column("a", "int4", values[:0])], 0)

    found = copy_out(connection, sql.SQL("SELECT a FROM t ORDER BY place"), [], [("a", "int4", 1)])
    np.testing.assert_array_equal(found["a"], values)
    assert copy_out(connection, sql.SQL("SELECT a FROM t WHERE false"), [], [("a", "int4", 1)])["a"].size == 0


def test_a_row_of_another_width_is_an_error_and_not_nonsense(connection):
    with pytest.raises(ValueError, match="bytes"):
        copy_out(connection, sql.SQL("SELECT NULL::int"), [], [("a", "int4", 1)])


@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_cutting_puts_every_pixel_where_its_tile_and_position_say(rows, columns):
    rasters = np.arange(2 * rows * columns, dtype=np.float32).reshape(2, rows, columns)
    row, column = np.divmod(np.arange(rows * columns), columns)

    tiles = cut(rasters)
    tile, position = tile_and_position(row, column, columns)

    np.testing.assert_array_equal(tiles[:, tile, position], rasters.reshape(2, -1))
    assert np.isnan(tiles).sum() == tiles.size - rasters.size
    assert tiles.shape[2] == TILE_PIXELS


def test_a_tile_changes_by_more_than_the_tolerance_or_by_losing_or_gaining_data():
    old = np.zeros((5, TILE_PIXELS), np.float32)
    old[3, 0] = np.nan
    new = old.copy()
    new[0, 7] = 0.004
    new[1, 7] = -0.006
    new[2, 7] = np.nan
    new[3, 0] = 0

    np.testing.assert_array_equal(changed_tiles(new, old, 0.005), [False, True, True, True, False])
