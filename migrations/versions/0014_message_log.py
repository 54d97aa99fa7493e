"""The log of messages: exchanges with VENs, and the ids that they name. Until now it was in memory."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup, which does not hold these tables' rows."""
    op.create_table(
        "message_log",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column(
            "who",
            sa.String(length=80),
            nullable=False,
            comment="venID; of a stranger the certificate's fingerprint, or nothing",
        ),
        sa.Column("fingerprint", sa.String(length=29), nullable=False, comment="of the certificate, or empty"),
        sa.Column("sender", sa.String(length=4), nullable=False, comment="ven | vtn: who began"),
        sa.Column("profile", sa.String(length=8), nullable=False, comment="2.0a | 2.0b"),
        sa.Column(
            "type",
            sa.String(length=60),
            nullable=True,
            comment="the message's element; null: it has none that could be read",
        ),
        sa.Column("answer_type", sa.String(length=60), nullable=True),
        sa.Column(
            "status",
            sa.Integer(),
            nullable=True,
            comment="HTTP status of the answer; null: there was none, and the body says why",
        ),
        sa.Column(
            "code",
            sa.Integer(),
            nullable=True,
            comment="the first responseCode that is an error, else the answer's",
        ),
        sa.Column("fault", sa.Boolean(), nullable=False),
        sa.Column("request_bytes", sa.Integer(), nullable=False, comment="as long as it was"),
        sa.Column("answer_bytes", sa.Integer(), nullable=False),
        sa.Column("cut", sa.Boolean(), nullable=False, comment="one of the bodies is not kept to its end"),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes that the row takes, about"),
        sa.Column(
            "subjects",
            columns.JSON,
            nullable=False,
            comment="event, report_request, request -> ids that both bodies name",
        ),
        sa.Column("bodies", sa.LargeBinary(), nullable=False, comment="message and answer, packed, without secrets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_log")),
    )
    op.create_index("ix_message_log_at", "message_log", ["at", "id", "size"])
    op.create_index("ix_message_log_who", "message_log", ["who", "at", "id", "size"])
    op.create_table(
        "message_event",
        sa.Column("message_id", sa.String(length=80), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False, comment="which the message or its answer names"),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["message_log.id"],
            name=op.f("fk_message_event_message_id_message_log"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", "event_id", name=op.f("pk_message_event")),
    )
    op.create_index(op.f("ix_message_event_event_id"), "message_event", ["event_id"])


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("message_event")
    op.drop_table("message_log")
