"""Which rule excludes an interferogram, its orbits; candidates for the reference point, and acts that move it."""

import sqlalchemy as sa
from alembic import op

revision = "0006_network"
down_revision = "0005_unwrapping"

#: What was stored before tells it by its reason, and by when its job was ordered (precise orbits: 21 days).
_FILL = """
UPDATE sagwatch.interferogram SET excluded_by = CASE
    WHEN reason LIKE 'mean coherence%' THEN 'coherence' ELSE 'reference' END
WHERE state = 'excluded';
UPDATE sagwatch.interferogram SET processed_at = job.requested_at
FROM sagwatch.product JOIN sagwatch.job ON job.name = product.job_name
WHERE product.sha256 = interferogram.product_sha256 AND product.pair_id = interferogram.pair_id;
UPDATE sagwatch.interferogram SET orbits = CASE
    WHEN processed_at < pair.secondary_date + interval '21 days' THEN 'restituted' ELSE 'precise' END
FROM sagwatch.pair WHERE pair.id = interferogram.pair_id AND processed_at IS NOT NULL;
"""
_INSERT_ONLY = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sagwatch.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION sagwatch.refuse_change();
ALTER TABLE sagwatch.{table} ENABLE ALWAYS TRIGGER insert_only;
"""


def upgrade() -> None:
    op.add_column("interferogram", sa.Column("excluded_by", sa.Text(), nullable=True), schema="sagwatch")
    op.add_column(
        "interferogram",
        sa.Column("orbits", sa.Text(), server_default=sa.text("'unknown'"), nullable=False),
        schema="sagwatch",
    )
    op.add_column(
        "interferogram",
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        schema="sagwatch",
    )
    op.execute(_FILL)
    op.create_check_constraint(
        op.f("ck_interferogram_excluded_by"),
        "interferogram",
        "(state = 'excluded') = (excluded_by IS NOT NULL) AND excluded_by IN ('coherence', 'reference')",
        schema="sagwatch",
    )
    op.create_check_constraint(
        op.f("ck_interferogram_orbits"),
        "interferogram",
        "orbits IN ('precise', 'restituted', 'unknown')",
        schema="sagwatch",
    )
    op.create_table(
        "reference_candidate",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("ranked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("column", sa.Integer(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("mean_coherence", sa.Float(), nullable=False),
        sa.Column("temporal_coherence", sa.Float(), nullable=False),
        sa.Column("unrest_mm_yr", sa.Float(), nullable=False),
        sa.Column("above_area_m", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_reference_candidate_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "ranked_at", "rank", name=op.f("pk_reference_candidate")),
        schema="sagwatch",
    )
    op.create_table(
        "reference_change",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("old_row", sa.Integer(), nullable=False),
        sa.Column("old_column", sa.Integer(), nullable=False),
        sa.Column("old_latitude", sa.Float(), nullable=False),
        sa.Column("old_longitude", sa.Float(), nullable=False),
        sa.Column("new_row", sa.Integer(), nullable=False),
        sa.Column("new_column", sa.Integer(), nullable=False),
        sa.Column("new_latitude", sa.Float(), nullable=False),
        sa.Column("new_longitude", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_reference_change_track_id_track")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_change")),
        schema="sagwatch",
    )
    for table in ("reference_candidate", "reference_change"):
        op.execute(_INSERT_ONLY.format(table=table))
