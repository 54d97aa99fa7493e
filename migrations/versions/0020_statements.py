"""Monthly statements per contract, and what a dispute was answered."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "statement",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False, comment="of the programme's time zone, YYYY-MM"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", columns.JSON, nullable=False, comment="aggregator.trade.statements.Content"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["contract_id"], ["contract.id"], name=op.f("fk_statement_contract_id_contract")),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_statement_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
        sa.UniqueConstraint("contract_id", "month", "version", name=op.f("uq_statement_contract_id_month_version")),
    )
    op.create_index(op.f("ix_statement_contract_id"), "statement", ["contract_id"])
    op.create_index(op.f("ix_statement_party_id"), "statement", ["party_id"])
    op.add_column("settlement", sa.Column("answered_at", columns.UTC_TIME, nullable=True))
    op.add_column("settlement", sa.Column("answer", sa.Text(), nullable=True, comment="what the dispute was answered"))


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("settlement", "answer")
    op.drop_column("settlement", "answered_at")
    op.drop_table("statement")
