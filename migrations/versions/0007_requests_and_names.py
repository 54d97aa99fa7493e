"""What would have been possible where a request was declined; the names of removed VENs are free again."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0007"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column(
        "flexibility_request",
        sa.Column(
            "possible_w",
            columns.JSON,
            nullable=True,
            comment="of a declined one: what could have been offered in each interval, W",
        ),
    )
    op.execute("UPDATE ven SET name = name || ' (removed, ' || id || ')' WHERE removed_at IS NOT NULL")
