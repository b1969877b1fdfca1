"""The ledger's tables.

Schema ``sagwatch`` holds the tables, schema ``analyst`` the views for people (``sagwatch/sql``). Nothing that was
decided is overwritten: results carry the revision from and until which they hold, alert events are only inserted.
Times are system or simulated time (``as_of``); dates are acquisition dates.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from geoalchemy2 import Geometry
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sagwatch.domain.provisional import EpochInputs

SCHEMA = "sagwatch"

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA, naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it from the class
        str: Text,
        datetime: DateTime(timezone=True),
        date: Date,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        list[date]: ARRAY(Date),
        list[float]: ARRAY(REAL),
        list[int]: ARRAY(SmallInteger),
        float: Float,
        bytes: LargeBinary,
    }


class Site(Base):
    __tablename__ = "site"
    name: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    boundary: Mapped[Any] = mapped_column(Geometry("POLYGON", srid=4326))
    config: Mapped[dict[str, Any]]
    config_sha256: Mapped[str]
    first_seen_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]


class Track(Base):
    """One viewing geometry; ``head_revision_id`` is what readers see, ``fence`` grows with every publication."""

    __tablename__ = "track"
    id: Mapped[str] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(ForeignKey("site.name"))
    name: Mapped[str]
    relative_orbit: Mapped[int]
    direction: Mapped[str]
    grid: Mapped[dict[str, Any]]
    grid_id: Mapped[str]
    reference_row: Mapped[int | None]
    reference_column: Mapped[int | None]
    reference_latitude: Mapped[float | None]
    reference_longitude: Mapped[float | None]
    reference_reason: Mapped[str | None]
    reference_pinned_at: Mapped[datetime | None]
    incidence_deg: Mapped[float | None] = mapped_column(REAL)
    head_revision_id: Mapped[str | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    searched_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]


class Granule(Base):
    """Everything that the catalogue ever showed for a track, and what became of it."""

    __tablename__ = "granule"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    date: Mapped[date]
    acquired_at: Mapped[datetime]
    platform: Mapped[str]
    absolute_orbit: Mapped[int | None]
    polarisation: Mapped[str]
    burst: Mapped[str | None]
    frame: Mapped[int | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    processing_version: Mapped[str | None]
    published_at: Mapped[datetime | None]
    footprint: Mapped[Any | None] = mapped_column(Geometry("POLYGON", srid=4326))
    state: Mapped[str]
    reason: Mapped[str | None]
    first_seen_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("state IN ('chosen', 'superseded', 'refused')", name="state"),
        Index(None, "track_id", "date"),
    )


class Acquisition(Base):
    """One pass on one day: exactly one state, with its reason or its deadline."""

    __tablename__ = "acquisition"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    date: Mapped[date] = mapped_column(primary_key=True)
    acquired_at: Mapped[datetime]
    platform: Mapped[str]
    granules: Mapped[list[str]]
    perpendicular_baseline_m: Mapped[float | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    until: Mapped[datetime | None]
    first_seen_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint(
            "state IN ('new', 'used', 'superseded', 'rejected', 'pending', 'unavailable')", name="state"
        ),
        CheckConstraint("state NOT IN ('rejected', 'unavailable') OR reason IS NOT NULL", name="has_reason"),
        CheckConstraint("state <> 'pending' OR until IS NOT NULL", name="has_deadline"),
    )


class Pair(Base):
    """A pair that the network wants (or wanted), and why; ``given_up_*`` when no attempt is left."""

    __tablename__ = "pair"
    id: Mapped[str] = mapped_column(primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    reference_date: Mapped[date]
    secondary_date: Mapped[date]
    perpendicular_baseline_m: Mapped[float | None]
    why: Mapped[str]
    wanted: Mapped[bool] = mapped_column(server_default=text("true"))
    planned_at: Mapped[datetime]
    given_up_at: Mapped[datetime | None]
    given_up_reason: Mapped[str | None]
    __table_args__ = (
        UniqueConstraint("track_id", "reference_date", "secondary_date"),
        CheckConstraint("reference_date < secondary_date", name="order"),
    )


class Job(Base):
    """One attempt to have a pair made; written down and committed before HyP3 hears of it."""

    __tablename__ = "job"
    name: Mapped[str] = mapped_column(primary_key=True)
    pair_id: Mapped[str] = mapped_column(ForeignKey("pair.id"))
    attempt: Mapped[int]
    job_type: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    credits: Mapped[float]
    state: Mapped[str]
    hyp3_id: Mapped[str | None] = mapped_column(unique=True)
    message: Mapped[str | None]
    intended_at: Mapped[datetime]
    requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    file_name: Mapped[str | None]
    file_url: Mapped[str | None]
    file_bytes: Mapped[int | None] = mapped_column(BigInteger)
    __table_args__ = (
        UniqueConstraint("pair_id", "attempt"),
        CheckConstraint(
            "state IN ('intended', 'open', 'succeeded', 'failed', 'expired', 'refused', 'fetched')",
            name="state",
        ),
        # A pair has one live order at a time: a second one would be paid twice.
        Index(
            "uq_job_one_live_order",
            "pair_id",
            unique=True,
            postgresql_where=text("state IN ('intended', 'open', 'succeeded')"),
        ),
    )


class Product(Base):
    """The zip that a job made; a quarantined one keeps its reason and its file."""

    __tablename__ = "product"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    job_name: Mapped[str] = mapped_column(ForeignKey("job.name"), primary_key=True)
    pair_id: Mapped[str] = mapped_column(ForeignKey("pair.id"))
    file_name: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    fetched_at: Mapped[datetime]
    state: Mapped[str]
    reason: Mapped[str | None]
    kept_at: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("state IN ('accepted', 'quarantined')", name="state"),
        CheckConstraint("state <> 'quarantined' OR reason IS NOT NULL", name="has_reason"),
    )


class Interferogram(Base):
    """A product on the track's grid, as one immutable HDF5 file (``path`` is relative to the data folder).

    ``unwrapping`` says what was found and done about whole cycles; a treated interferogram names its ``original_id``.
    """

    __tablename__ = "interferogram"
    id: Mapped[str] = mapped_column(primary_key=True)
    pair_id: Mapped[str] = mapped_column(ForeignKey("pair.id"))
    product_sha256: Mapped[str]
    config_sha256: Mapped[str]
    path: Mapped[str]
    file_sha256: Mapped[str]
    mean_coherence: Mapped[float]
    valid_fraction: Mapped[float]
    perpendicular_baseline_m: Mapped[float | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    made_at: Mapped[datetime]
    excluded_by: Mapped[str | None]
    orbits: Mapped[str] = mapped_column(server_default=text("'unknown'"))
    processed_at: Mapped[datetime | None]
    unwrapping: Mapped[dict[str, Any] | None]
    original_id: Mapped[str | None] = mapped_column(ForeignKey("interferogram.id"))
    __table_args__ = (
        CheckConstraint("state IN ('accepted', 'excluded', 'withdrawn')", name="state"),
        CheckConstraint(
            "(state = 'excluded') = (excluded_by IS NOT NULL) AND excluded_by IN ('coherence', 'reference')",
            name="excluded_by",
        ),
        CheckConstraint("orbits IN ('precise', 'restituted', 'unknown')", name="orbits"),
        CheckConstraint("state = 'accepted' OR reason IS NOT NULL", name="has_reason"),
        Index(
            "uq_interferogram_one_accepted",
            "pair_id",
            unique=True,
            postgresql_where=text("state = 'accepted'"),
        ),
    )


class WeatherDelay(Base):
    """A delay map that was made, from which file. Rows are only ever inserted: a preliminary one stays traceable."""

    __tablename__ = "weather_delay"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    date: Mapped[date]
    method: Mapped[str]
    state: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[str]
    source: Mapped[str]
    source_sha256: Mapped[str]
    obtained_at: Mapped[datetime]
    __table_args__ = (
        CheckConstraint("state IN ('preliminary', 'final')", name="state"),
        Index(None, "track_id", "date"),
    )


class Weather(Base):
    """How the search for an acquisition's delay stands; ``delay_id`` is the map that is used now."""

    __tablename__ = "weather"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    date: Mapped[date] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    delay_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("weather_delay.id"))
    reason: Mapped[str | None]
    tries: Mapped[int]
    failures: Mapped[int]
    tried_at: Mapped[datetime]
    next_try_at: Mapped[datetime | None]
    request_id: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("state IN ('none', 'preliminary', 'final')", name="state"),
        CheckConstraint("(state = 'none') = (delay_id IS NULL)", name="has_delay"),
        CheckConstraint("state <> 'none' OR reason IS NOT NULL", name="has_reason"),
    )


class ReferenceCandidate(Base):
    """A place that was fit to be the reference point when one was chosen; rank 1 was taken. Only ever inserted."""

    __tablename__ = "reference_candidate"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    ranked_at: Mapped[datetime] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    row: Mapped[int]
    column: Mapped[int]
    latitude: Mapped[float]
    longitude: Mapped[float]
    score: Mapped[float]
    mean_coherence: Mapped[float]
    temporal_coherence: Mapped[float]
    unrest_mm_yr: Mapped[float]
    above_area_m: Mapped[float | None]


class ReferenceChange(Base):
    """A person moved the reference point: every displacement of the track changes. Only ever inserted."""

    __tablename__ = "reference_change"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    at: Mapped[datetime]
    who: Mapped[str]
    why: Mapped[str]
    old_row: Mapped[int]
    old_column: Mapped[int]
    old_latitude: Mapped[float]
    old_longitude: Mapped[float]
    new_row: Mapped[int]
    new_column: Mapped[int]
    new_latitude: Mapped[float]
    new_longitude: Mapped[float]


class Revision(Base):
    """One complete, immutable solution of a track: a pure function of its interferograms and configuration.

    ``troposphere`` and ``orbits`` say for each of ``epochs`` how good its input was (`domain/provisional.py`);
    ``perpendicular_m`` are their perpendicular baselines against the first one, NULL before they were kept.
    """

    __tablename__ = "revision"
    id: Mapped[str] = mapped_column(primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    number: Mapped[int]
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("revision.id"))
    input_sha256: Mapped[str]
    config_sha256: Mapped[str]
    folder: Mapped[str]
    manifest_sha256: Mapped[str]
    interferograms: Mapped[list[str]]
    epochs: Mapped[list[date]]
    troposphere: Mapped[list[str]]
    orbits: Mapped[list[str]]
    perpendicular_m: Mapped[list[float] | None]
    reference_row: Mapped[int]
    reference_column: Mapped[int]
    summary: Mapped[dict[str, Any]]
    state: Mapped[str]
    built_at: Mapped[datetime]
    published_at: Mapped[datetime | None]

    def inputs(self) -> list[EpochInputs]:
        """How good the input of each epoch is."""
        return [EpochInputs(*one) for one in zip(self.epochs, self.troposphere, self.orbits, strict=True)]

    __table_args__ = (
        UniqueConstraint("track_id", "number"),
        UniqueConstraint("track_id", "input_sha256", "config_sha256"),
        CheckConstraint("state IN ('built', 'live', 'retired', 'abandoned')", name="state"),
        CheckConstraint(
            "cardinality(troposphere) = cardinality(epochs) "
            "AND troposphere <@ '{off,estimated,none,preliminary,final}'::text[]",
            name="troposphere",
        ),
        CheckConstraint(
            "cardinality(orbits) = cardinality(epochs) AND orbits <@ '{unknown,restituted,precise}'::text[]",
            name="orbits",
        ),
    )


class PublishedRevision(Base):
    """That a revision went live: what readers saw, from when. Rows are only ever inserted.

    ``number`` is what tiles refer to. A revision that returns (a late interferogram was withdrawn again) gets a new
    number, so it may stand here twice.
    """

    __tablename__ = "published_revision"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"))
    published_at: Mapped[datetime]


class Point(Base):
    """A pixel that is published. ``id`` never changes (see domain/point.py)."""

    __tablename__ = "point"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    row: Mapped[int]
    column: Mapped[int]
    tile: Mapped[int]
    position: Mapped[int] = mapped_column(SmallInteger)
    geom: Mapped[Any] = mapped_column(Geometry("POINT", srid=4326))
    __table_args__ = (Index(None, "track_id", "tile", "position", unique=True),)


class PointVelocity(Base):
    """Current values of the head revision, one narrow row a point; LOS, negative away from the satellite."""

    __tablename__ = "point_velocity"
    point_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("point.id"), primary_key=True)
    revision_id: Mapped[str]
    velocity_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_white_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_epochs: Mapped[int | None]
    velocity_150d_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_150d_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_150d_white_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_150d_epochs: Mapped[int | None]
    velocity_365d_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_365d_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_365d_white_sd_mm_yr: Mapped[float | None] = mapped_column(REAL)
    velocity_365d_epochs: Mapped[int | None]
    displacement_mm: Mapped[float | None] = mapped_column(REAL)
    temporal_coherence: Mapped[float | None] = mapped_column(REAL)
    observations: Mapped[int | None]
    reliable: Mapped[bool]
    why_not: Mapped[str | None]
    zone_id: Mapped[str | None]
    evidence: Mapped[str | None]
    blind: Mapped[str | None]
    stage: Mapped[str | None]
    stage_since: Mapped[date | None]
    stage_confidence: Mapped[float | None] = mapped_column(REAL)
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)


class SeriesTile(Base):
    """Displacement in mm of the points of one tile at one epoch, with the revisions for which it holds.

    ``until_number`` is the first revision that no longer shows it; NULL means current. Written only where a value
    changed. An array has 256 places, row by row in the tile; no-data, and places outside the grid, are NaN (never
    NULL: arrays of one size are read and written thousands of times faster). A tile without any data has no row.
    """

    __tablename__ = "series_tile"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    tile: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[date] = mapped_column(primary_key=True)
    from_number: Mapped[int] = mapped_column(primary_key=True)
    until_number: Mapped[int | None]
    los_mm: Mapped[list[float]]
    __table_args__ = (
        Index(
            "ix_series_tile_current",
            "track_id",
            "tile",
            "epoch",
            unique=True,
            postgresql_where=text("until_number IS NULL"),
        ),
    )


class TopographyTile(Base):
    """What a wrong height feigns at the points of a tile: mm of displacement per metre of perpendicular baseline.

    The series is shown without it (`analyst.series`): every revision estimates it anew, and the whole series would have
    to be written again. ``term`` is 0: there is one such term. NaN is not estimated.
    """

    __tablename__ = "topography_tile"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    tile: Mapped[int] = mapped_column(primary_key=True)
    term: Mapped[int] = mapped_column(primary_key=True)
    from_number: Mapped[int] = mapped_column(primary_key=True)
    until_number: Mapped[int | None]
    mm_per_m: Mapped[list[float]]
    __table_args__ = (
        Index(
            "ix_topography_tile_current",
            "track_id",
            "term",
            "tile",
            unique=True,
            postgresql_where=text("until_number IS NULL"),
        ),
    )


class VelocityTile(Base):
    """Velocities of the points of one tile by window, with the revisions for which they hold; NaN is no-data."""

    __tablename__ = "velocity_tile"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    tile: Mapped[int] = mapped_column(primary_key=True)
    window_days: Mapped[int] = mapped_column(primary_key=True)  # 0 is the whole record
    from_number: Mapped[int] = mapped_column(primary_key=True)
    until_number: Mapped[int | None]
    velocity_mm_yr: Mapped[list[float]]
    sd_mm_yr: Mapped[list[float]]
    __table_args__ = (
        Index(
            "ix_velocity_tile_current",
            "track_id",
            "window_days",
            "tile",
            unique=True,
            postgresql_where=text("until_number IS NULL"),
        ),
    )


class AlertRule(Base):
    """A version of a site's rules: what judgements were made with. Rows are only ever inserted."""

    __tablename__ = "alert_rule"
    site: Mapped[str] = mapped_column(ForeignKey("site.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str]
    rules: Mapped[dict[str, Any]]
    valid_from: Mapped[datetime]
    __table_args__ = (UniqueConstraint("site", "sha256"),)


class Influence(Base):
    """How far mining reaches: the 10 mm contour of a published revision, LOS against quiet ground."""

    __tablename__ = "influence"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"), primary_key=True)
    epoch: Mapped[date]
    limit_mm: Mapped[float]
    area_m2: Mapped[float]
    geom: Mapped[Any] = mapped_column(Geometry("MULTIPOLYGON", srid=4326))


class Judgement(Base):
    """That an acquisition was judged, once, on which solution and with which rules."""

    __tablename__ = "judgement"
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"), primary_key=True)
    epoch: Mapped[date] = mapped_column(primary_key=True)
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"))
    rules_sha256: Mapped[str]
    zones: Mapped[int]
    judged_at: Mapped[datetime]


class Zone(Base):
    """An area that moves, followed over time."""

    __tablename__ = "zone"
    id: Mapped[str] = mapped_column(primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    name: Mapped[str]
    born_epoch: Mapped[date]
    last_epoch: Mapped[date]
    episode: Mapped[int]
    updates_unseen: Mapped[int]
    ended_epoch: Mapped[date | None]
    parent_zone: Mapped[str | None]
    merged_into: Mapped[str | None]


class ZoneSnapshot(Base):
    """A zone as one acquisition showed it; LOS velocities."""

    __tablename__ = "zone_snapshot"
    zone_id: Mapped[str] = mapped_column(ForeignKey("zone.id"), primary_key=True)
    epoch: Mapped[date] = mapped_column(primary_key=True)
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"))
    geom: Mapped[Any] = mapped_column(Geometry("MULTIPOLYGON", srid=4326))
    area_m2: Mapped[float]
    pixels: Mapped[int]
    window_days: Mapped[int]
    velocity_median_mm_yr: Mapped[float]
    velocity_p95_mm_yr: Mapped[float]
    velocity_sd_mm_yr: Mapped[float]
    displacement_mm: Mapped[float | None]
    no_data_fraction: Mapped[float]
    evidence: Mapped[dict[str, Any]]


class Alert(Base):
    """A rule's state about a zone."""

    __tablename__ = "alert"
    id: Mapped[str] = mapped_column(primary_key=True)
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    subject: Mapped[str]
    zone_id: Mapped[str | None] = mapped_column(ForeignKey("zone.id"))
    rule: Mapped[str]
    rules_sha256: Mapped[str]
    episode: Mapped[int]
    state: Mapped[str]
    level: Mapped[int]
    pending_level: Mapped[int]
    updates_beyond: Mapped[int]
    updates_below: Mapped[int]
    raised_epoch: Mapped[date | None]
    last_epoch: Mapped[date]
    cleared_epoch: Mapped[date | None]
    __table_args__ = (
        UniqueConstraint("track_id", "subject", "rule", "episode"),
        CheckConstraint("state IN ('pending', 'raised', 'clearing', 'cleared', 'merged')", name="state"),
    )


class AlertEvent(Base):
    """What happened to an alert. Rows are only ever inserted (a trigger refuses anything else)."""

    __tablename__ = "alert_event"
    id: Mapped[str] = mapped_column(primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))
    track_id: Mapped[str] = mapped_column(ForeignKey("track.id"))
    epoch: Mapped[date]
    type: Mapped[str]
    from_state: Mapped[str]
    to_state: Mapped[str]
    from_level: Mapped[int]
    to_level: Mapped[int]
    revision_id: Mapped[str] = mapped_column(ForeignKey("revision.id"))
    evidence: Mapped[dict[str, Any]]
    sentence: Mapped[str]
    decided_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("alert_id", "epoch", "type"),
        ForeignKeyConstraint(
            ["track_id", "epoch"], ["sagwatch.judgement.track_id", "sagwatch.judgement.epoch"]
        ),
        CheckConstraint("type IN ('raised', 'worse', 'better', 'cleared', 'merged')", name="type"),
    )


class Message(Base):
    """The outbox: what one contact is sent about one event or one summary; sent at least once."""

    __tablename__ = "message"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    site: Mapped[str] = mapped_column(ForeignKey("site.name"))
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alert.id"))
    event_id: Mapped[str | None] = mapped_column(ForeignKey("alert_event.id"))
    kind: Mapped[str]
    channel: Mapped[str]
    recipient: Mapped[str]
    message_id: Mapped[str]
    in_reply_to: Mapped[str | None]
    subject: Mapped[str]
    body_text: Mapped[str]
    body_html: Mapped[str | None]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    lease_until: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("channel IN ('mail', 'slack')", name="channel"),
        CheckConstraint("state IN ('waiting', 'sending', 'sent', 'refused')", name="state"),
        Index("ix_message_waiting", "id", postgresql_where=text("state IN ('waiting', 'sending')")),
    )


class OperationEvent(Base):
    """Something about the pipeline (never about the ground) that a person should know."""

    __tablename__ = "operation_event"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime]
    site: Mapped[str | None]
    track_id: Mapped[str | None]
    kind: Mapped[str]
    severity: Mapped[str]
    text: Mapped[str]
    details: Mapped[dict[str, Any]]
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    __table_args__ = (
        Index(None, "at"),
        CheckConstraint("severity IN ('info', 'warning', 'error')", name="severity"),
    )


class CreditReading(Base):
    """What HyP3 said about the account's credits, and when."""

    __tablename__ = "credit_reading"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    read_at: Mapped[datetime]
    remaining: Mapped[float | None]
    __table_args__ = (Index(None, "read_at"),)
