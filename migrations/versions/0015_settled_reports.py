"""A settlement names its report, and says whether and when it is final; programmes keep the interval that they had."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_HALF_HOUR = {"months": 0, "seconds": 1800}
"""By which programmes were settled that said nothing, when they were made."""


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.add_column(
        "settlement",
        sa.Column("report_version", sa.Integer(), nullable=True, comment="of the activation report that it follows"),
    )
    op.add_column(
        "settlement",
        sa.Column(
            "final", sa.Boolean(), server_default=sa.text("(false)"), nullable=False, comment="false: provisional"
        ),
    )
    op.add_column(
        "settlement",
        sa.Column("final_at", columns.UTC_TIME, nullable=True, comment="when it becomes, or became, final"),
    )
    op.execute(
        "UPDATE settlement SET report_version = (SELECT max(r.version) FROM activation_report r"
        " WHERE r.activation_id = settlement.activation_id AND r.created_at <= settlement.created_at)"
    )
    op.execute(
        "UPDATE settlement SET final = true WHERE id NOT IN"
        " (SELECT supersedes FROM settlement WHERE supersedes IS NOT NULL) AND activation_id IN"
        " (SELECT activation_id FROM activation_report WHERE final)"
    )
    _keep_half_hours()


def _keep_half_hours() -> None:
    """Write down the interval of programmes that name none: the default is another one now."""
    programme = sa.table("programme", sa.column("id"), sa.column("version"), sa.column("parameters", columns.JSON))
    conn = op.get_bind()
    for row in conn.execute(sa.select(programme)).all():
        parameters: dict[str, Any] = row.parameters
        if "settlement_interval" not in parameters:
            conn.execute(
                sa.update(programme)
                .where((programme.c.id == row.id) & (programme.c.version == row.version))
                .values(parameters=parameters | {"settlement_interval": _HALF_HOUR})
            )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_column("settlement", "final_at")
    op.drop_column("settlement", "final")
    op.drop_column("settlement", "report_version")
