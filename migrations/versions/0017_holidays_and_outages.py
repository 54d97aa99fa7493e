"""Days and times that are like no others: holidays, outages; and results that are final until a dispute."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "own_holiday",
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False, comment="local date of the programme, ISO 8601"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("programme_id", "day", name=op.f("pk_own_holiday")),
    )
    op.create_table(
        "outage",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=True),
        sa.Column(
            "area", sa.String(length=80), nullable=True, comment="grid area or feeder; this and ven_id null: everybody"
        ),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=True, comment="null: it lasts"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_outage_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outage")),
    )
    with op.batch_alter_table("outage", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outage_ven_id"), ["ven_id"], unique=False)

    with op.batch_alter_table("dispatch", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "result_final_at",
                columns.UTC_TIME,
                nullable=True,
                comment="since when its result is frozen; null: it may change",
            )
        )
        batch_op.add_column(
            sa.Column(
                "result_reopened_at", columns.UTC_TIME, nullable=True, comment="when a dispute last opened it again"
            )
        )
    op.execute(
        # What was final stays so: a report of an activation, and a result that nothing computes any more.
        "UPDATE dispatch SET result_final_at ="
        " (SELECT max(evaluation.created_at) FROM evaluation WHERE evaluation.dispatch_id = dispatch.id)"
        " WHERE dispatch.id IN (SELECT activation.dispatch_id FROM activation"
        " JOIN activation_report ON activation_report.activation_id = activation.id WHERE activation_report.final)"
        " OR (dispatch.result_due_at IS NULL AND dispatch.id NOT IN"
        " (SELECT activation.dispatch_id FROM activation WHERE activation.dispatch_id IS NOT NULL))"
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    with op.batch_alter_table("dispatch", schema=None) as batch_op:
        batch_op.drop_column("result_reopened_at")
        batch_op.drop_column("result_final_at")

    with op.batch_alter_table("outage", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_outage_ven_id"))

    op.drop_table("outage")
    op.drop_table("own_holiday")
