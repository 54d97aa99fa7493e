"""${message[:1].upper() + message[1:]}."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = ${'"%s"' % up_revision}
down_revision = ${'"%s"' % down_revision if down_revision else None}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    ${downgrades if downgrades else "pass"}
