"""Push: who works on the line to a VEN, when it is tried again, and which VENs cannot be reached."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup. VENs in push mode were refused so far."""
    op.add_column(
        "ven",
        sa.Column(
            "unreachable_at",
            columns.UTC_TIME,
            nullable=True,
            comment="since when its address takes no messages; null: it does",
        ),
    )
    op.add_column("ven", sa.Column("unreachable_why", sa.Text(), nullable=True))
    op.create_table(
        "push_line",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="in a row"),
        sa.Column(
            "retry_at",
            columns.UTC_TIME,
            nullable=True,
            comment="machine time before which nothing is sent; null: at once",
        ),
        sa.Column(
            "leased_until",
            columns.UTC_TIME,
            nullable=True,
            comment="machine time until which a process works on it; null: nobody does",
        ),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_push_line_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", name=op.f("pk_push_line")),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("push_line")
    op.drop_column("ven", "unreachable_why")
    op.drop_column("ven", "unreachable_at")
