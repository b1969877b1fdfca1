"""Residual topography of the published points."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004_topography"
down_revision = "0003_weather"


def upgrade() -> None:
    op.add_column(
        "revision",
        sa.Column("perpendicular_m", postgresql.ARRAY(sa.REAL()), nullable=True),
        schema="sagwatch",
    )
    op.create_table(
        "topography_tile",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("from_number", sa.Integer(), nullable=False),
        sa.Column("until_number", sa.Integer(), nullable=True),
        sa.Column("mm_per_m", postgresql.ARRAY(sa.REAL()), nullable=False),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_topography_tile_track_id_track")
        ),
        sa.PrimaryKeyConstraint("track_id", "tile", "from_number", name=op.f("pk_topography_tile")),
        schema="sagwatch",
    )
    op.create_index(
        "ix_topography_tile_current",
        "topography_tile",
        ["track_id", "tile"],
        unique=True,
        schema="sagwatch",
        postgresql_where=sa.text("until_number IS NULL"),
    )
