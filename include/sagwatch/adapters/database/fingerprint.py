"""The end state of a site as a few comparable values: two runs that met the same ground must agree in all of them.

What is left out is what may differ without anything being lost or doubled: times of the machine, how often something
was tried, the numbers of revisions and which of them stood in between.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger

#: Velocities in mm/yr and displacements in mm are compared to so many decimals.
DECIMALS = 2
_ROWS_AT_ONCE = 20_000
_TRACKS = "SELECT id FROM sagwatch.track WHERE site = :site ORDER BY id"


def fingerprint(ledger: Ledger, site_name: str) -> dict[str, Any]:
    """What a site has come to: the same however often the system was killed on the way. One snapshot, as JSON.

    Raises
    ------
    BadInputError
        There is no such site.
    """
    ledger.sites.site(site_name)
    with ledger.begin() as session:
        connection = session.connection()
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tracks = connection.scalars(text(_TRACKS), {"site": site_name}).all()
        asked = {"site": site_name, "tracks": list(tracks)}
        found: dict[str, Any] = {name: _rows(connection, query, asked) for name, query in _LISTED.items()}
        return found | {"points": _points(connection, asked), "series": _series(connection, asked)}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What two fingerprints disagree about, a line each; empty where they agree."""
    lines = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if left == right:
            continue
        if not (isinstance(left, list) and isinstance(right, list)):
            lines.append(f"{key}: {left} and {right}")
            continue
        first, second = _as_lines(left), _as_lines(right)
        lines += [f"{key}, only in the first: {line}" for line in first if line not in second]
        lines += [f"{key}, only in the second: {line}" for line in second if line not in first]
        if sorted(first) == sorted(second):
            lines.append(f"{key}: the same rows in another order")
        elif set(first) == set(second):
            lines.append(f"{key}: {len(left)} and {len(right)} rows, some of them more than once")
    return lines


def _as_lines(rows: list[Any]) -> list[str]:
    return [json.dumps(row, sort_keys=True) for row in rows]


def _rows(connection: Connection, query: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = connection.execute(text(query), asked).mappings()
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _points(connection: Connection, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How many points are published, and a hash of which they are and how fast they move."""
    digest, count = hashlib.sha256(), 0
    for row in _streamed(connection, _POINTS, asked):
        count += 1
        point_id, *values, reliable, why_not, zone_id = row
        numbers = [
            "-" if value is None else f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}" for value in values
        ]
        digest.update(f"{point_id} {' '.join(numbers)} {reliable} {why_not} {zone_id}\n".encode())
    return {"count": count, "sha256": digest.hexdigest()}


def _series(connection: Connection, asked: Mapping[str, Any]) -> dict[str, Any]:
    """How many current tiles of displacement there are, a hash of which they are, and one of what they say."""
    which, values, count = hashlib.sha256(), hashlib.sha256(), 0
    for track_id, tile, epoch, los_mm in _streamed(connection, _SERIES, asked):
        count += 1
        which.update(f"{track_id} {tile} {epoch}\n".encode())
        rounded = np.round(np.asarray(los_mm, dtype=np.float64), DECIMALS) + 0.0  # no negative zero
        values.update(np.where(np.isnan(rounded), np.nan, rounded).tobytes())
    return {"count": count, "which_sha256": which.hexdigest(), "los_mm_sha256": values.hexdigest()}


def _streamed(connection: Connection, query: str, asked: Mapping[str, Any]) -> Iterable[Any]:
    """Rows of a large answer, without holding all of them."""
    options = {"yield_per": _ROWS_AT_ONCE}
    return connection.execution_options(**options).execute(text(query), asked)


_LISTED: Mapping[str, str] = {
    "tracks": """
        SELECT track.id, track.reference_row, track.reference_column, head_revision_id, revision.epochs,
            (SELECT array_agg(one ORDER BY one) FROM unnest(revision.interferograms) AS one) AS interferograms
        FROM sagwatch.track LEFT JOIN sagwatch.revision ON revision.id = head_revision_id
        WHERE track.id = ANY(:tracks) ORDER BY track.id
    """,
    "granules": """
        SELECT track_id, name, state, reason FROM sagwatch.granule WHERE track_id = ANY(:tracks)
        ORDER BY track_id, name
    """,
    "acquisitions": """
        SELECT track_id, date, granules, state, reason FROM sagwatch.acquisition WHERE track_id = ANY(:tracks)
        ORDER BY track_id, date
    """,
    "pairs": """
        SELECT id, reference_date, secondary_date, wanted, given_up_reason FROM sagwatch.pair
        WHERE track_id = ANY(:tracks) ORDER BY track_id, reference_date, secondary_date
    """,
    "jobs": """
        SELECT job.name, attempt, state, credits, hyp3_id, file_name
        FROM sagwatch.job JOIN sagwatch.pair ON pair.id = pair_id WHERE track_id = ANY(:tracks) ORDER BY job.name
    """,
    "products": """
        SELECT job_name, sha256, state, reason
        FROM sagwatch.product JOIN sagwatch.pair ON pair.id = pair_id WHERE track_id = ANY(:tracks)
        ORDER BY job_name, sha256
    """,
    "interferograms": """
        SELECT interferogram.id, file_sha256, state, reason
        FROM sagwatch.interferogram JOIN sagwatch.pair ON pair.id = pair_id WHERE track_id = ANY(:tracks)
        ORDER BY interferogram.id
    """,
    "judgements": """
        SELECT track_id, epoch, zones FROM sagwatch.judgement WHERE track_id = ANY(:tracks)
        ORDER BY track_id, epoch
    """,
    "zones": """
        SELECT id, name, born_epoch, last_epoch, episode, updates_unseen, ended_epoch, parent_zone, merged_into,
            (SELECT count(*) FROM sagwatch.zone_snapshot WHERE zone_id = zone.id) AS snapshots
        FROM sagwatch.zone WHERE track_id = ANY(:tracks) ORDER BY id
    """,
    "alerts": """
        SELECT id, subject, rule, state, level, raised_epoch, cleared_epoch FROM sagwatch.alert
        WHERE track_id = ANY(:tracks) ORDER BY id
    """,
    "alert_events": """
        SELECT id, epoch, type, to_level, sentence FROM sagwatch.alert_event WHERE track_id = ANY(:tracks)
        ORDER BY epoch, id
    """,
    # Digests and news about the system tell how things stood at some hour, so kills may change them.
    "messages": """
        SELECT channel, recipient, message_id, kind, state, subject FROM sagwatch.message
        WHERE site = :site AND kind NOT IN ('digest', 'health')
        ORDER BY channel, recipient, id
    """,
    "credits": """
        SELECT coalesce(sum(credits) FILTER (WHERE requested_at IS NOT NULL), 0)::float AS spent
        FROM sagwatch.job JOIN sagwatch.pair ON pair.id = pair_id WHERE track_id = ANY(:tracks)
    """,
}

_POINTS = """
SELECT point_id, velocity_mm_yr, velocity_150d_mm_yr, velocity_365d_mm_yr, displacement_mm, reliable, why_not,
    zone_id
FROM sagwatch.point_velocity JOIN sagwatch.point ON point.id = point_id WHERE track_id = ANY(:tracks)
ORDER BY point_id
"""

_SERIES = """
SELECT track_id, tile, epoch, los_mm FROM sagwatch.series_tile
WHERE track_id = ANY(:tracks) AND until_number IS NULL ORDER BY track_id, tile, epoch
"""
