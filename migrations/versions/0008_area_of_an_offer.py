"""The area of an offer that nobody asked for: only its homes are called for it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column(
        "flexibility_offer",
        sa.Column("area", sa.String(80), nullable=True, comment="of an unsolicited one; null: everywhere"),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("flexibility_offer", "area")
