"""Activations are found by their start: the months of statements are looked for again and again."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_index(op.f("ix_activation_starts_at"), "activation", ["starts_at"])


def downgrade() -> None:
    """Take the schema back."""
    op.drop_index(op.f("ix_activation_starts_at"), "activation")
