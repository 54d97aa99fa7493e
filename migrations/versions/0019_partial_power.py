"""Minimum and step of the power at which a VEN can be called, and what it would have been ordered as a whole."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_WHY = "W; null: it is called as a whole"


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column("ven", sa.Column("minimum_w", sa.Integer(), nullable=True, comment=_WHY))
    op.add_column("ven", sa.Column("step_w", sa.Integer(), nullable=True, comment=_WHY))
    op.add_column(
        "selection_reason",
        sa.Column(
            "whole_w", sa.Integer(), nullable=True, comment="where power_w is less: what it would be ordered as a whole"
        ),
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("selection_reason", "whole_w")
    op.drop_column("ven", "step_w")
    op.drop_column("ven", "minimum_w")
