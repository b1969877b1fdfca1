"""Whole cycles: what was done to an interferogram, and which one it was made from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_unwrapping"
down_revision = "0004_topography"


def upgrade() -> None:
    op.add_column(
        "interferogram",
        sa.Column("unwrapping", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="sagwatch",
    )
    op.add_column("interferogram", sa.Column("original_id", sa.Text(), nullable=True), schema="sagwatch")
    op.create_foreign_key(
        op.f("fk_interferogram_original_id_interferogram"),
        "interferogram",
        "interferogram",
        ["original_id"],
        ["id"],
        source_schema="sagwatch",
        referent_schema="sagwatch",
    )
