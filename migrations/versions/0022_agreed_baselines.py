"""Powers that were agreed with a VEN, or nominated for all of a programme, as a baseline."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "agreed_baseline",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False, comment="the preset that it is for"),
        sa.Column("valid_from", sa.String(length=10), nullable=False, comment="local date of the programme, ISO 8601"),
        sa.Column("profile", columns.JSON, nullable=False, comment="metrics.agreed_profile.AgreedProfile"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_agreed_baseline_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "method", "valid_from", name=op.f("pk_agreed_baseline")),
    )
    op.create_table(
        "nominated_power",
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False, comment="UTC day, ISO 8601"),
        sa.Column("source", sa.String(length=80), nullable=False, comment="the contract that it was nominated under"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column(
            "power_w",
            columns.JSON,
            nullable=False,
            comment="mean power of each step of the day, positive = consumption",
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("programme_id", "day", "source", "revision", name=op.f("pk_nominated_power")),
    )
    # What BRPs nominated so far.
    op.execute(
        sa.text(
            "INSERT INTO nominated_power (programme_id, day, source, revision, step_s, power_w, created_at) "
            "SELECT c.programme_id, n.day, n.contract_id, n.revision, n.step_s, n.power_w, n.created_at "
            "FROM nomination n JOIN contract c ON c.id = n.contract_id WHERE n.declared_by = 'brp'"
        )
    )


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("nominated_power")
    op.drop_table("agreed_baseline")
