"""XML signatures: what is asked of a VEN, whether it asked for them itself, and which nonces were used."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup. VENs that asked for signatures were refused so far."""
    op.add_column(
        "ven",
        sa.Column(
            "signatures",
            sa.String(16),
            nullable=False,
            server_default="when_present",
            comment="required | when_present | off",
        ),
    )
    op.add_column(
        "ven",
        sa.Column(
            "xml_signature",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("(false)"),
            comment="it asked for signed messages when it registered",
        ),
    )
    op.create_table(
        "used_nonce",
        sa.Column("key", sa.String(length=32), nullable=False, comment="of a certificate and a nonce"),
        sa.Column("expires_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_used_nonce")),
    )
    op.create_index(op.f("ix_used_nonce_expires_at"), "used_nonce", ["expires_at"])


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("used_nonce")
    op.drop_column("ven", "xml_signature")
    op.drop_column("ven", "signatures")
