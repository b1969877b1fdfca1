"""Delays of the troposphere, and the state of every epoch of a revision."""

import sqlalchemy as sa
from alembic import op

revision = "0003_weather"
down_revision = "0002_judgement"

INSERT_ONLY = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sagwatch.weather_delay
    FOR EACH STATEMENT EXECUTE FUNCTION sagwatch.refuse_change();
ALTER TABLE sagwatch.weather_delay ENABLE ALWAYS TRIGGER insert_only;
"""

#: Revisions from before this version: nothing was corrected, nothing is known of their orbits.
UNKNOWN = """
UPDATE sagwatch.revision SET troposphere = array_fill('off'::text, ARRAY[cardinality(epochs)]),
    orbits = array_fill('unknown'::text, ARRAY[cardinality(epochs)])
"""


def upgrade() -> None:
    op.create_table(
        "weather_delay",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=False),
        sa.Column("obtained_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('preliminary', 'final')", name=op.f("ck_weather_delay_state")),
        sa.ForeignKeyConstraint(
            ["track_id"], ["sagwatch.track.id"], name=op.f("fk_weather_delay_track_id_track")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_weather_delay")),
        schema="sagwatch",
    )
    op.create_index(
        op.f("ix_weather_delay_track_id_date"),
        "weather_delay",
        ["track_id", "date"],
        unique=False,
        schema="sagwatch",
    )
    op.execute(INSERT_ONLY)
    op.create_table(
        "weather",
        sa.Column("track_id", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("delay_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('none', 'preliminary', 'final')", name=op.f("ck_weather_state")),
        sa.CheckConstraint("(state = 'none') = (delay_id IS NULL)", name=op.f("ck_weather_has_delay")),
        sa.CheckConstraint("state <> 'none' OR reason IS NOT NULL", name=op.f("ck_weather_has_reason")),
        sa.ForeignKeyConstraint(
            ["delay_id"], ["sagwatch.weather_delay.id"], name=op.f("fk_weather_delay_id_weather_delay")
        ),
        sa.ForeignKeyConstraint(["track_id"], ["sagwatch.track.id"], name=op.f("fk_weather_track_id_track")),
        sa.PrimaryKeyConstraint("track_id", "date", "method", name=op.f("pk_weather")),
        schema="sagwatch",
    )
    for name in ("troposphere", "orbits"):
        op.add_column(
            "revision",
            sa.Column(name, sa.ARRAY(sa.Text()), nullable=True),
            schema="sagwatch",
        )
    op.execute(UNKNOWN)
    for name in ("troposphere", "orbits"):
        op.alter_column("revision", name, nullable=False, schema="sagwatch")
    for name, known in (
        ("troposphere", "{off,estimated,none,preliminary,final}"),
        ("orbits", "{unknown,restituted,precise}"),
    ):
        op.create_check_constraint(
            op.f(f"ck_revision_{name}"),
            "revision",
            f"cardinality({name}) = cardinality(epochs) AND {name} <@ '{known}'::text[]",
            schema="sagwatch",
        )
