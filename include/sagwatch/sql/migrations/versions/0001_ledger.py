"""The ledger, as it began."""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0001_ledger"
down_revision = None


INSERT_ONLY = """
CREATE FUNCTION sagwatch.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% refused: rows of %.% are only ever inserted', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'Record a new event instead.';
END
$$;
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sagwatch.alert_event
    FOR EACH STATEMENT EXECUTE FUNCTION sagwatch.refuse_change();
-- ALWAYS: also where session_replication_role switches ordinary triggers off.
ALTER TABLE sagwatch.alert_event ENABLE ALWAYS TRIGGER insert_only;
"""


def upgrade() -> None:
    op.create_table(
        "credit_reading",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remaining", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_reading")),
        schema="sagwatch",
    )
    op.create_index(
        op.f("ix_credit_reading_read_at"), "credit_reading", ["read_at"], unique=False, schema="sagwatch"
    )
    op.create_table(
        "operation_event",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("track_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'error')", name=op.f("ck_operation_event_severity")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation_event")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_operation_event_dedupe_key")),
        schema="sagwatch",
    )
    op.create_index(op.f("ix_operation_event_at"), "operation_event", ["at"], unique=False, schema="sagwatch")
    op.create_geospatial_table(
        "site",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column(
            "boundary",
            Geometry(
                geometry_type="POLYGON",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_site")),
        schema="sagwatch",
    )
    op.create_geospatial_index(
        "idx_site_boundary",
        "site",
        ["boundary"],
        unique=False,
        schema="sagwatch",
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_table(
        "track",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("relative_orbit", sa.Integer(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("grid", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("grid_id", sa.Text(), nullable=False),
        sa.Column("reference_row", sa.Integer(), nullable=True),
        sa.Column("reference_column", sa.Integer(), nullable=True),
        sa.Column("reference_latitude", sa.Float(), nullable=True),
        sa.Column("reference_longitude", sa.Float(), nullable=True),
        sa.Column("reference_reason", sa.Text(), nullable=True),
        sa.Column("reference_pinned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("head_revision_id", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("searched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["site"], ["sagwatch.site.name"], name=op.f("fk_track_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_track")),
        schema="sagwatch",
    )
    op.create_table(
        "acquisition",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("granules", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("perpendicular_baseline_m", sa.Float(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state <> 'pending' OR until IS NOT NULL", name=op.f("ck_acquisition_has_deadline")
        ),
        sa.CheckConstraint(
            "state IN ('new', 'used', 'superseded', 'rejected', 'pending', 'unavailable')",
            name=op.f("ck_acquisition_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('rejected', 'unavailable') OR reason IS NOT NULL",
            name=op.f("ck_acquisition_has_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_acquisition_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "date", name=op.f("pk_acquisition")),
        schema="sagwatch",
    )
    op.create_geospatial_table(
        "granule",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("absolute_orbit", sa.Integer(), nullable=True),
        sa.Column("polarisation", sa.Text(), nullable=False),
        sa.Column("burst", sa.Text(), nullable=True),
        sa.Column("frame", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("processing_version", sa.Text(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "footprint",
            Geometry(
                geometry_type="POLYGON",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
            ),
            nullable=True,
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('chosen', 'superseded', 'refused')", name=op.f("ck_granule_state")),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_granule_track_id_track")),
        sa.PrimaryKeyConstraint("track_id", "name", name=op.f("pk_granule")),
        schema="sagwatch",
    )
    op.create_geospatial_index(
        "idx_granule_footprint",
        "granule",
        ["footprint"],
        unique=False,
        schema="sagwatch",
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_index(
        op.f("ix_granule_track_id_date"), "granule", ["track_id", "date"], unique=False, schema="sagwatch"
    )
    op.create_table(
        "pair",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("reference_date", sa.Date(), nullable=False),
        sa.Column("secondary_date", sa.Date(), nullable=False),
        sa.Column("perpendicular_baseline_m", sa.Float(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("reference_date < secondary_date", name=op.f("ck_pair_order")),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_pair_track_id_track")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pair")),
        sa.UniqueConstraint(
            "track_id",
            "reference_date",
            "secondary_date",
            name=op.f("uq_pair_track_id_reference_date_secondary_date"),
        ),
        schema="sagwatch",
    )
    op.create_geospatial_table(
        "point",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("column", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_point_track_id_track")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_point")),
        schema="sagwatch",
    )
    op.create_geospatial_index(
        "idx_point_geom",
        "point",
        ["geom"],
        unique=False,
        schema="sagwatch",
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_index(
        op.f("ix_point_track_id_tile_position"),
        "point",
        ["track_id", "tile", "position"],
        unique=True,
        schema="sagwatch",
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("input_sha256", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("interferograms", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("epochs", sa.ARRAY(sa.Date()), nullable=False),
        sa.Column("reference_row", sa.Integer(), nullable=False),
        sa.Column("reference_column", sa.Integer(), nullable=False),
        sa.Column("summary", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("built_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('built', 'live', 'retired', 'abandoned')", name=op.f("ck_revision_state")
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["sagwatch.revision.id"], name=op.f("fk_revision_parent_id_revision")
        ),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_revision_track_id_track")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
        sa.UniqueConstraint(
            "track_id",
            "input_sha256",
            "config_sha256",
            name=op.f("uq_revision_track_id_input_sha256_config_sha256"),
        ),
        sa.UniqueConstraint("track_id", "number", name=op.f("uq_revision_track_id_number")),
        schema="sagwatch",
    )
    op.create_table(
        "series_tile",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Date(), nullable=False),
        sa.Column("from_number", sa.Integer(), nullable=False),
        sa.Column("until_number", sa.Integer(), nullable=True),
        sa.Column("los_mm", sa.ARRAY(sa.REAL()), nullable=False),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_series_tile_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "tile", "epoch", "from_number", name=op.f("pk_series_tile")),
        schema="sagwatch",
    )
    op.create_index(
        "ix_series_tile_current",
        "series_tile",
        ["track_id", "tile", "epoch"],
        unique=True,
        schema="sagwatch",
        postgresql_where=sa.text("until_number IS NULL"),
    )
    op.create_table(
        "velocity_tile",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=False),
        sa.Column("from_number", sa.Integer(), nullable=False),
        sa.Column("until_number", sa.Integer(), nullable=True),
        sa.Column("velocity_mm_yr", sa.ARRAY(sa.REAL()), nullable=False),
        sa.Column("sd_mm_yr", sa.ARRAY(sa.REAL()), nullable=False),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_velocity_tile_track_id_track")
        ),
        sa.PrimaryKeyConstraint(
            "track_id", "tile", "window_days", "from_number", name=op.f("pk_velocity_tile")
        ),
        schema="sagwatch",
    )
    op.create_index(
        "ix_velocity_tile_current",
        "velocity_tile",
        ["track_id", "window_days", "tile"],
        unique=True,
        schema="sagwatch",
        postgresql_where=sa.text("until_number IS NULL"),
    )
    op.create_table(
        "zone",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("born_epoch", sa.Date(), nullable=False),
        sa.Column("last_epoch", sa.Date(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("updates_unseen", sa.Integer(), nullable=False),
        sa.Column("ended_epoch", sa.Date(), nullable=True),
        sa.Column("parent_zone", sa.Text(), nullable=True),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_zone_track_id_track")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zone")),
        schema="sagwatch",
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("zone_id", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rules_sha256", sa.Text(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("pending_level", sa.Integer(), nullable=False),
        sa.Column("updates_beyond", sa.Integer(), nullable=False),
        sa.Column("updates_below", sa.Integer(), nullable=False),
        sa.Column("raised_epoch", sa.Date(), nullable=True),
        sa.Column("last_epoch", sa.Date(), nullable=False),
        sa.Column("cleared_epoch", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'raised', 'clearing', 'cleared', 'merged')", name=op.f("ck_alert_state")
        ),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_alert_track_id_track")),
        sa.ForeignKeyConstraint(["zone_id"], ["sagwatch.zone.id"], name=op.f("fk_alert_zone_id_zone")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("zone_id", "rule", "episode", name=op.f("uq_alert_zone_id_rule_episode")),
        schema="sagwatch",
    )
    op.create_table(
        "interferogram",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("product_sha256", sa.Text(), nullable=False),
        sa.Column("config_sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("mean_coherence", sa.Float(), nullable=False),
        sa.Column("valid_fraction", sa.Float(), nullable=False),
        sa.Column("perpendicular_baseline_m", sa.Float(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state = 'accepted' OR reason IS NOT NULL", name=op.f("ck_interferogram_has_reason")
        ),
        sa.CheckConstraint(
            "state IN ('accepted', 'excluded', 'withdrawn')", name=op.f("ck_interferogram_state")
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["sagwatch.pair.id"], name=op.f("fk_interferogram_pair_id_pair")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interferogram")),
        schema="sagwatch",
    )
    op.create_index(
        "uq_interferogram_one_accepted",
        "interferogram",
        ["pair_id"],
        unique=True,
        schema="sagwatch",
        postgresql_where=sa.text("state = 'accepted'"),
    )
    op.create_table(
        "job",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("credits", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("hyp3_id", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("file_url", sa.Text(), nullable=True),
        sa.Column("file_bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('intended', 'open', 'succeeded', 'failed', 'expired', 'refused', 'fetched')",
            name=op.f("ck_job_state"),
        ),
        sa.ForeignKeyConstraint(["pair_id"], ["sagwatch.pair.id"], name=op.f("fk_job_pair_id_pair")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job")),
        sa.UniqueConstraint("hyp3_id", name=op.f("uq_job_hyp3_id")),
        sa.UniqueConstraint("pair_id", "attempt", name=op.f("uq_job_pair_id_attempt")),
        schema="sagwatch",
    )
    op.create_index(
        "uq_job_one_live_order",
        "job",
        ["pair_id"],
        unique=True,
        schema="sagwatch",
        postgresql_where=sa.text("state IN ('intended', 'open', 'succeeded')"),
    )
    op.create_table(
        "judgement",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Date(), nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column("rules_sha256", sa.Text(), nullable=False),
        sa.Column("zones", sa.Integer(), nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["sagwatch.revision.id"], name=op.f("fk_judgement_revision_id_revision")
        ),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_judgement_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "epoch", name=op.f("pk_judgement")),
        schema="sagwatch",
    )
    op.create_table(
        "point_velocity",
        sa.Column("point_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column("velocity_mm_yr", sa.REAL(), nullable=True),
        sa.Column("velocity_sd_mm_yr", sa.REAL(), nullable=True),
        sa.Column("velocity_150d_mm_yr", sa.REAL(), nullable=True),
        sa.Column("velocity_150d_sd_mm_yr", sa.REAL(), nullable=True),
        sa.Column("velocity_365d_mm_yr", sa.REAL(), nullable=True),
        sa.Column("velocity_365d_sd_mm_yr", sa.REAL(), nullable=True),
        sa.Column("displacement_mm", sa.REAL(), nullable=True),
        sa.Column("temporal_coherence", sa.REAL(), nullable=True),
        sa.Column("observations", sa.Integer(), nullable=True),
        sa.Column("reliable", sa.Boolean(), nullable=False),
        sa.Column("why_not", sa.Text(), nullable=True),
        sa.Column("zone_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["point_id"], ["sagwatch.point.id"], name=op.f("fk_point_velocity_point_id_point")
        ),
        sa.PrimaryKeyConstraint("point_id", name=op.f("pk_point_velocity")),
        schema="sagwatch",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "published_revision",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["sagwatch.revision.id"], name=op.f("fk_published_revision_revision_id_revision")
        ),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_published_revision_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "number", name=op.f("pk_published_revision")),
        schema="sagwatch",
    )
    op.create_geospatial_table(
        "zone_snapshot",
        sa.Column("zone_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Date(), nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column(
            "geom",
            Geometry(
                geometry_type="MULTIPOLYGON",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeomFromEWKT",
                name="geometry",
                nullable=False,
            ),
            nullable=False,
        ),
        sa.Column("area_m2", sa.Float(), nullable=False),
        sa.Column("pixels", sa.Integer(), nullable=False),
        sa.Column("window_days", sa.Integer(), nullable=False),
        sa.Column("velocity_median_mm_yr", sa.Float(), nullable=False),
        sa.Column("velocity_p95_mm_yr", sa.Float(), nullable=False),
        sa.Column("velocity_sd_mm_yr", sa.Float(), nullable=False),
        sa.Column("displacement_mm", sa.Float(), nullable=True),
        sa.Column("no_data_fraction", sa.Float(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["sagwatch.revision.id"], name=op.f("fk_zone_snapshot_revision_id_revision")
        ),
        sa.ForeignKeyConstraint(
            ["zone_id"], ["sagwatch.zone.id"], name=op.f("fk_zone_snapshot_zone_id_zone")
        ),
        sa.PrimaryKeyConstraint("zone_id", "epoch", name=op.f("pk_zone_snapshot")),
        schema="sagwatch",
    )
    op.create_geospatial_index(
        "idx_zone_snapshot_geom",
        "zone_snapshot",
        ["geom"],
        unique=False,
        schema="sagwatch",
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_table(
        "alert_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Date(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("from_level", sa.Integer(), nullable=False),
        sa.Column("to_level", sa.Integer(), nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "type IN ('raised', 'worse', 'better', 'cleared', 'merged')", name=op.f("ck_alert_event_type")
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["sagwatch.alert.id"], name=op.f("fk_alert_event_alert_id_alert")
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["sagwatch.revision.id"], name=op.f("fk_alert_event_revision_id_revision")
        ),
        sa.ForeignKeyConstraint(
            ["track_id", "epoch"],
            ["sagwatch.judgement.track_id", "sagwatch.judgement.epoch"],
            name=op.f("fk_alert_event_track_id_epoch_judgement"),
        ),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_alert_event_track_id_track")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_event")),
        sa.UniqueConstraint("alert_id", "epoch", "type", name=op.f("uq_alert_event_alert_id_epoch_type")),
        schema="sagwatch",
    )
    op.create_table(
        "product",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("pair_id", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("kept_at", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state <> 'quarantined' OR reason IS NOT NULL", name=op.f("ck_product_has_reason")
        ),
        sa.CheckConstraint("state IN ('accepted', 'quarantined')", name=op.f("ck_product_state")),
        sa.ForeignKeyConstraint(["job_name"], ["sagwatch.job.name"], name=op.f("fk_product_job_name_job")),
        sa.ForeignKeyConstraint(["pair_id"], ["sagwatch.pair.id"], name=op.f("fk_product_pair_id_pair")),
        sa.PrimaryKeyConstraint("sha256", "job_name", name=op.f("pk_product")),
        schema="sagwatch",
    )
    op.create_table(
        "message",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("in_reply_to", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body_text", sa.Text(), nullable=False),
        sa.Column("body_html", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("channel IN ('mail', 'slack')", name=op.f("ck_message_channel")),
        sa.CheckConstraint(
            "state IN ('waiting', 'sending', 'sent', 'refused')", name=op.f("ck_message_state")
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["sagwatch.alert.id"], name=op.f("fk_message_alert_id_alert")),
        sa.ForeignKeyConstraint(
            ["event_id"], ["sagwatch.alert_event.id"], name=op.f("fk_message_event_id_alert_event")
        ),
        sa.ForeignKeyConstraint(["site"], ["sagwatch.site.name"], name=op.f("fk_message_site_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_message_dedupe_key")),
        schema="sagwatch",
    )
    op.create_index(
        "ix_message_waiting",
        "message",
        ["id"],
        unique=False,
        schema="sagwatch",
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.execute(INSERT_ONLY)
