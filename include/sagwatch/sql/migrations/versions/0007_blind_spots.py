"""Where InSAR cannot see: per point, and the angle that the gradient limit of a track needs."""

import sqlalchemy as sa
from alembic import op

revision = "0007_blind_spots"
down_revision = "0006_network"


def upgrade() -> None:
    op.add_column("point_velocity", sa.Column("blind", sa.Text(), nullable=True), schema="sagwatch")
    op.add_column("track", sa.Column("incidence_deg", sa.REAL(), nullable=True), schema="sagwatch")
