"""Outdoor temperatures of grid areas, or of everybody."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "temperature",
        sa.Column("area", sa.String(length=80), nullable=False, comment="grid area or feeder; empty: everybody"),
        sa.Column("time_s", sa.BigInteger(), nullable=False, comment="seconds since 1970, UTC"),
        sa.Column("celsius", sa.Float(), nullable=False),
        sa.Column("received_at", columns.UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("area", "time_s", name=op.f("pk_temperature")),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("temperature")
