"""Whole cycles: which interferogram a treated one stands for."""

import sqlalchemy as sa
from alembic import op

revision = "0008_unwrapping"
down_revision = "0007_blind_spots"


def upgrade() -> None:
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
