"""Residual topography of the published points."""

revision = "0004_topography"
down_revision = "0003_weather"


def upgrade() -> None:
    pass
