"""Delays of the troposphere, and the state of every epoch of a revision."""

revision = "0003_weather"
down_revision = "0002_judgement"


def upgrade() -> None:
    pass
