"""What was odd in VENs' messages, and opt schedules that their VEN cancelled."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATES_BEFORE = "queued | active | refused | cancelled | done"
_STATES = "queued | unanswered | active | refused | cancelled | done"


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
    _comment_state(_STATES_BEFORE, _STATES)


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    _comment_state(_STATES, _STATES_BEFORE)
    op.drop_table("ven_fault")
    op.drop_column("opt", "cancelled_at")


def _comment_state(before: str, after: str) -> None:
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps no comments
        op.alter_column(
            "report_request",
            "state",
            existing_type=sa.String(length=12),
            existing_nullable=False,
            comment=after,
            existing_comment=before,
        )
