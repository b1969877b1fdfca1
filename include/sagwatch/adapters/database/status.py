"""Where a site stands, in numbers: for the command line and the end of a rehearsal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from sagwatch.errors import BadInputError

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """Counts over all tracks of a site.

    ``worst_velocity_mm_yr`` is the most negative line-of-sight velocity of a reliable point over any window.
    ``revision``, ``last_epoch`` and ``mintpy_folder`` (below the data folder) are of the track published last;
    ``equals_mintpy`` is whether the newest audit of every track found no difference, ``audited`` the newest of them.
    """

    site: str
    acquisitions: int
    pairs: int
    jobs: int
    interferograms: int
    credits_spent: float
    credits_remaining: float | None
    points: int
    worst_velocity_mm_yr: float | None
    zones: int
    alerts_open: int
    events: int
    messages_sent: int
    messages_waiting: int
    unexplained: int
    revision: int | None
    last_epoch: date | None
    mintpy_folder: str | None
    audited: date | None
    equals_mintpy: bool | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_status(ledger: Ledger, site: str | None = None) -> list[SiteStatus]:
    """The status of one site, archived or not, or of all that are watched, by name; one snapshot of the ledger.

    Raises
    ------
    BadInputError
        There is no such site.
    """
    if site is not None:
        ledger.sites.site(site)
    with ledger.begin() as session:
        rows = session.execute(text(_STATUS), {"site": site}).mappings().all()
    if not rows and site is not None:
        raise BadInputError(f"the ledger knows no site {site}")
    return [SiteStatus(**{one.name: row[one.name] for one in fields(SiteStatus)}) for row in rows]


_STATUS = """
WITH track AS (SELECT id, site, head_revision_id FROM sagwatch.track),
head AS (
    SELECT DISTINCT ON (track.site) track.site, revision.number, revision.folder,
        revision.epochs[cardinality(revision.epochs)] AS last_epoch
    FROM track JOIN sagwatch.revision ON revision.id = track.head_revision_id
    ORDER BY track.site, revision.published_at DESC, track.id
)
SELECT
    site.name AS site,
    (SELECT count(*) FROM sagwatch.acquisition JOIN track ON track.id = track_id WHERE track.site = site.name)
        AS acquisitions,
    (SELECT count(*) FROM sagwatch.pair JOIN track ON track.id = track_id WHERE wanted AND track.site = site.name)
        AS pairs,
    job.jobs,
    (SELECT count(*) FROM sagwatch.interferogram JOIN sagwatch.pair ON pair.id = pair_id
        JOIN track ON track.id = pair.track_id WHERE interferogram.state = 'accepted' AND track.site = site.name)
        AS interferograms,
    job.credits_spent,
    (SELECT remaining FROM sagwatch.credit_reading ORDER BY read_at DESC, id DESC LIMIT 1) AS credits_remaining,
    point.points,
    point.worst_velocity_mm_yr,
    (SELECT count(*) FROM sagwatch.zone JOIN track ON track.id = track_id
        WHERE ended_epoch IS NULL AND merged_into IS NULL AND track.site = site.name) AS zones,
    (SELECT count(*) FROM sagwatch.alert JOIN track ON track.id = track_id
        WHERE state IN ('raised', 'clearing') AND rule = 'R1' AND track.site = site.name) AS alerts_open,
    (SELECT count(*) FROM sagwatch.alert_event JOIN track ON track.id = track_id WHERE track.site = site.name)
        AS events,
    (SELECT count(*) FROM sagwatch.message WHERE state = 'sent' AND message.site = site.name) AS messages_sent,
    (SELECT count(*) FROM sagwatch.message WHERE state IN ('waiting', 'sending') AND message.site = site.name)
        AS messages_waiting,
    (SELECT count(*) FROM analyst.unexplained_acquisitions WHERE unexplained_acquisitions.site = site.name)
        AS unexplained,
    head.number AS revision,
    head.last_epoch,
    head.folder AS mintpy_folder,
    audit.at::date AS audited,
    audit.equals_mintpy
FROM sagwatch.site
LEFT JOIN head ON head.site = site.name
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, coalesce(sum(credits) FILTER (WHERE requested_at IS NOT NULL), 0) AS credits_spent
    FROM sagwatch.job JOIN sagwatch.pair ON pair.id = pair_id JOIN track ON track.id = pair.track_id
    WHERE track.site = site.name
) AS job
CROSS JOIN LATERAL (
    SELECT count(*) AS points, round(min(
        least(velocity_mm_yr, velocity_150d_mm_yr, velocity_365d_mm_yr)
    ) FILTER (WHERE reliable)::numeric, 1)::float AS worst_velocity_mm_yr
    FROM sagwatch.point_velocity JOIN sagwatch.point ON point.id = point_id JOIN track ON track.id = point.track_id
    WHERE track.site = site.name
) AS point
LEFT JOIN LATERAL (
    SELECT at, bool_and(equals_mintpy) AS equals_mintpy FROM (
        SELECT DISTINCT ON (track_id) track_id, max(at) OVER () AS at, equals_mintpy
        FROM analyst.audits WHERE audits.site = site.name ORDER BY track_id, audits.at DESC
    ) AS newest GROUP BY at
) AS audit ON true
WHERE CASE WHEN CAST(:site AS text) IS NULL THEN site.archived_at IS NULL ELSE site.name = :site END
ORDER BY site.name
"""
