"""What was odd in VENs' messages, and opt schedules that their VEN cancelled."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column(
        "opt",
        sa.Column(
            "cancelled_at",
            columns.UTC_TIME,
            nullable=True,
            comment="by the VEN: the same schedule sent again is a new one",
        ),
    )
    op.create_table(
        "ven_fault",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="vtn.services.ven_faults.Kind"),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="the last one's description"),
        sa.Column("first_at", columns.UTC_TIME, nullable=False),
        sa.Column("last_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_ven_fault_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "kind", "subject", name=op.f("pk_ven_fault")),
    )
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps no comments
        op.alter_column(
            "report_request",
            "state",
            existing_type=sa.String(length=12),
            existing_nullable=False,
            comment="queued | unanswered | active | refused | cancelled | done",
            existing_comment="queued | active | refused | cancelled | done",
        )
