"""Unwrapping errors, orbits and blind spots."""

revision = "0005_unwrapping"
down_revision = "0004_topography"


def upgrade() -> None:
    pass
