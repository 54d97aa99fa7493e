"""Browsers from which an operator signed in, and no keys in the audit: addresses of price sources lose their query."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_AUDIT = sa.table(
    "audit",
    sa.column("id", sa.BigInteger),
    sa.column("action", sa.String),
    sa.column("before", columns.JSON),
    sa.column("after", columns.JSON),
)
_ACTIONS = ("tariff source", "remove tariff source", "create webhook", "change webhook", "end webhook")


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "console_device",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("principal_id", sa.String(length=80), nullable=False),
        sa.Column("seen_at", columns.UTC_TIME, nullable=False, comment="machine time of the last sign-in"),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_console_device_principal_id_principal")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_console_device")),
    )
    op.create_index(op.f("ix_console_device_principal_id"), "console_device", ["principal_id"], unique=False)
    _shorten_addresses()


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("console_device")


def _shorten_addresses() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.select(_AUDIT).where(_AUDIT.c.action.in_(_ACTIONS))).all()
    for row in rows:
        before, after = _short(row.before), _short(row.after)
        if (before, after) != (row.before, row.after):
            changed = sa.update(_AUDIT).where(_AUDIT.c.id == row.id)
            # An absent value is NULL, not JSON's null.
            values = {"before": before, "after": after}
            connection.execute(
                changed.values({name: sa.null() if one is None else one for name, one in values.items()})
            )


def _short(value: object) -> object:
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        return value | {"url": value["url"].partition("?")[0]}
    return value
