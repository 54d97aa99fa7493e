"""What VENs ask this VTN to report to them."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "own_report",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("request_id", sa.String(length=80), nullable=False, comment="the VEN's reportRequestID"),
        sa.Column("request", columns.JSON, nullable=False, comment="openadr.model.report.ReportRequest"),
        sa.Column(
            "next_at",
            columns.UTC_TIME,
            nullable=True,
            comment="where the next report of a periodic request begins; null: there is one",
        ),
        sa.Column("last", sa.Boolean(), nullable=False, comment="it is cancelled, and one report follows (RP-61)"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_own_report_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "request_id", name=op.f("pk_own_report")),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("own_report")
