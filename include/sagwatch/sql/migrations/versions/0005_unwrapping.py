"""Whole cycles: what was done about them in an interferogram."""

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
