"""How a VEN speaks and is reached: the version of OpenADR, the mode, and the address for push."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup. VENs so far were served by 2.0b in pull mode only."""
    op.add_column(
        "ven", sa.Column("protocol_version", sa.String(8), nullable=False, server_default="2.0b", comment="of OpenADR")
    )
    op.add_column("ven", sa.Column("mode", sa.String(8), nullable=False, server_default="pull", comment="pull | push"))
    op.add_column(
        "ven", sa.Column("address", sa.Text(), nullable=True, comment="where it is pushed to; null: it polls")
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    for column in ("address", "mode", "protocol_version"):
        op.drop_column("ven", column)
