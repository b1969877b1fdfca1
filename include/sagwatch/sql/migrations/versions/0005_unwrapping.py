"""What was found out about whole cycles in interferograms, and where InSAR cannot see."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_unwrapping"
down_revision = "0004_topography"


def upgrade() -> None:
    unwrapping = sa.Column("unwrapping", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    op.add_column("interferogram", unwrapping, schema="sagwatch")
    op.add_column("point_velocity", sa.Column("blind", sa.Text(), nullable=True), schema="sagwatch")
