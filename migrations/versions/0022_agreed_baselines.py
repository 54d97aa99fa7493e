"""Powers that were agreed with a VEN, as its baseline."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0022"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "agreed_baseline",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False, comment="the preset that it is for"),
        sa.Column("valid_from", sa.String(length=10), nullable=False, comment="local date of the programme, ISO 8601"),
        sa.Column("profile", columns.JSON, nullable=False, comment="metrics.agreed_profile.AgreedProfile"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_agreed_baseline_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "method", "valid_from", name=op.f("pk_agreed_baseline")),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("agreed_baseline")
