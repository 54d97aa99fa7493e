"""What is possible instead of a declined request, free names of removed VENs, results that come by themselves."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0007"
down_revision = "0006"
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
    op.add_column(
        "dispatch",
        sa.Column(
            "result_due_at",
            columns.UTC_TIME,
            nullable=True,
            comment="when its result is computed next; null: nothing is due",
        ),
    )
    op.create_index(op.f("ix_dispatch_result_due_at"), "dispatch", ["result_due_at"], unique=False)
    op.execute(
        "UPDATE dispatch SET result_due_at = starts_at WHERE direction IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM evaluation WHERE evaluation.dispatch_id = dispatch.id)"
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_index(op.f("ix_dispatch_result_due_at"), "dispatch")
    op.drop_column("dispatch", "result_due_at")
    op.drop_column("flexibility_request", "possible_w")
