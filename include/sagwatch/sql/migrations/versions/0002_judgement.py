"""Rules as versioned data, alerts about what is no zone, the boundary of mining influence, stages of points."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0002_judgement"
down_revision = "0001_ledger"

INSERT_ONLY = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sagwatch.alert_rule
    FOR EACH STATEMENT EXECUTE FUNCTION sagwatch.refuse_change();
ALTER TABLE sagwatch.alert_rule ENABLE ALWAYS TRIGGER insert_only;
"""


def upgrade() -> None:
    op.create_table(
        "alert_rule",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("rules", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["sagwatch.site.name"], name=op.f("fk_alert_rule_site_site")),
        sa.PrimaryKeyConstraint("site", "version", name=op.f("pk_alert_rule")),
        sa.UniqueConstraint("site", "sha256", name=op.f("uq_alert_rule_site_sha256")),
        schema="sagwatch",
    )
    op.execute(INSERT_ONLY)
    op.create_geospatial_table(
        "influence",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("revision_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Date(), nullable=False),
        sa.Column("limit_mm", sa.Float(), nullable=False),
        sa.Column("area_m2", sa.Float(), nullable=False),
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
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_influence_track_id_track")
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["sagwatch.revision.id"], name=op.f("fk_influence_revision_id_revision")
        ),
        sa.PrimaryKeyConstraint("track_id", "revision_id", name=op.f("pk_influence")),
        schema="sagwatch",
    )
    op.create_geospatial_index(
        "idx_influence_geom",
        "influence",
        ["geom"],
        unique=False,
        schema="sagwatch",
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.add_column("alert", sa.Column("subject", sa.Text(), nullable=True), schema="sagwatch")
    op.execute("UPDATE sagwatch.alert SET subject = zone_id")
    op.alter_column("alert", "subject", nullable=False, schema="sagwatch")
    op.alter_column("alert", "zone_id", nullable=True, schema="sagwatch")
    op.drop_constraint("uq_alert_zone_id_rule_episode", "alert", schema="sagwatch")
    op.create_unique_constraint(
        op.f("uq_alert_track_id_subject_rule_episode"),
        "alert",
        ["track_id", "subject", "rule", "episode"],
        schema="sagwatch",
    )
    names = ("velocity", "velocity_150d", "velocity_365d")
    columns: list[sa.Column[Any]] = [
        *(sa.Column(f"{name}_white_sd_mm_yr", sa.REAL(), nullable=True) for name in names),
        *(sa.Column(f"{name}_epochs", sa.Integer(), nullable=True) for name in names),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("stage_since", sa.Date(), nullable=True),
        sa.Column("stage_confidence", sa.REAL(), nullable=True),
    ]
    for column in columns:
        op.add_column("point_velocity", column, schema="sagwatch")
