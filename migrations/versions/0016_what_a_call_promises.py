"""What the choice of VENs for an activation promised when it was made."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup. Of activations so far nothing is said."""
    note = "aggregator.trade.activations.Outlook; null: not looked for anybody yet"
    op.add_column("activation", sa.Column("outlook", columns.JSON, nullable=True, comment=note))


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("activation", "outlook")
