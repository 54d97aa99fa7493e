"""A schedule for many resources stands in one row; the others know it by its digest."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column(
        "opt",
        sa.Column(
            "schedule_digest",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of the schedule; null before it was kept",
        ),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("opt", "schedule_digest")
