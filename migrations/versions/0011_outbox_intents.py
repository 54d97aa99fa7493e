"""What waits for a VEN is named by what it shall hear, no longer by OpenADR 2.0b's message for it."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INTENTS = (
    ("events", "events_changed"),
    ("register_report", "reports_offered"),
    ("create_report", "report_wanted"),
    ("cancel_report", "report_unwanted"),
    ("cancel_registration", "unregister"),
)
_OUTBOX = sa.table("outbox", sa.column("kind", sa.String))


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    _rename(_INTENTS)


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    _rename((before, after) for after, before in _INTENTS)


def _rename(words: Iterable[tuple[str, str]]) -> None:
    kind = _OUTBOX.c.kind
    op.execute(sa.update(_OUTBOX).values(kind=sa.case(dict(words), value=kind, else_=kind)))
