"""The first schema: every table and the view `reading`."""

import sqlalchemy as sa
from alembic import op

from migrations import columns, views

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "audit",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", columns.UTC_TIME, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("before", columns.JSON, nullable=True),
        sa.Column("after", columns.JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("vtn_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_table(
        "party",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("erased_at", columns.UTC_TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_party")),
    )
    op.create_table(
        "programme",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("market_context", sa.Text(), nullable=False),
        sa.Column("parameters", columns.JSON, nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("retired_at", columns.UTC_TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_programme")),
    )
    op.create_table(
        "ven_group",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ven_group")),
        sa.UniqueConstraint("name", name=op.f("uq_ven_group_name")),
    )
    op.create_table(
        "waiting_certificate",
        sa.Column("fingerprint", sa.String(length=29), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("ven_name", sa.Text(), nullable=True),
        sa.Column("first_seen_at", columns.UTC_TIME, nullable=False),
        sa.Column("last_seen_at", columns.UTC_TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_waiting_certificate")),
    )
    op.create_table(
        "contract",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False, comment="the BRP"),
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("limits", columns.JSON, nullable=False),
        sa.Column("price", columns.JSON, nullable=True),
        sa.Column("valid_from", columns.UTC_TIME, nullable=False),
        sa.Column("valid_to", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_contract_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract")),
    )
    op.create_table(
        "dispatch",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("programme_version", sa.Integer(), nullable=False),
        sa.Column("event", columns.JSON, nullable=False, comment="openadr.model.event.Event with empty ids"),
        sa.Column(
            "direction", sa.String(length=8), nullable=True, comment="reduce | increase, or null for a mere signal"
        ),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("cancelled_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["programme_id", "programme_version"],
            ["programme.id", "programme.version"],
            name=op.f("fk_dispatch_programme_id_programme_version_programme"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatch")),
    )
    op.create_index(op.f("ix_dispatch_programme_id"), "dispatch", ["programme_id"], unique=False)
    op.create_table(
        "party_personal",
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["party_id"], ["party.id"], name=op.f("fk_party_personal_party_id_party"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("party_id", name=op.f("pk_party_personal")),
    )
    op.create_table(
        "principal",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role", sa.String(length=16), nullable=False, comment="viewer | dispatcher | admin | brp | household"
        ),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("expires_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.Column("revoked_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_principal_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("name", name=op.f("uq_principal_name")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_principal_token_hash")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("area", sa.String(length=80), nullable=True),
        sa.Column("metering_point", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_site_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "evaluation",
        sa.Column("dispatch_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("method", columns.JSON, nullable=False, comment="baseline preset with its version and parameters"),
        sa.Column("result", columns.JSON, nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_evaluation_dispatch_id_dispatch")),
        sa.PrimaryKeyConstraint("dispatch_id", "version", name=op.f("pk_evaluation")),
    )
    op.create_table(
        "selection",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("dispatch_id", sa.String(length=80), nullable=True),
        sa.Column("inputs", columns.JSON, nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_selection_dispatch_id_dispatch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selection")),
    )
    op.create_index(op.f("ix_selection_dispatch_id"), "selection", ["dispatch_id"], unique=False)
    op.create_table(
        "ven",
        sa.Column("id", sa.String(length=80), nullable=False, comment="the venID"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("site_id", sa.String(length=80), nullable=True),
        sa.Column("strict", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("poll_period_s", sa.Integer(), nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("removed_at", columns.UTC_TIME, nullable=True),
        sa.Column("registration_id", sa.String(length=80), nullable=True),
        sa.Column("registered_at", columns.UTC_TIME, nullable=True),
        sa.Column(
            "profile",
            columns.JSON,
            nullable=True,
            comment="what the VEN said of itself: openadr.model.registration.VenProfile",
        ),
        sa.Column("metadata_at", columns.UTC_TIME, nullable=True, comment="when the VEN last registered its reports"),
        sa.Column("last_seen_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"], name=op.f("fk_ven_site_id_site")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ven")),
        sa.UniqueConstraint("name", name=op.f("uq_ven_name")),
        sa.UniqueConstraint("registration_id", name=op.f("uq_ven_registration_id")),
    )
    op.create_table(
        "enrolment",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("resource_id", sa.String(length=200), nullable=True, comment="null: every resource of the VEN"),
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("valid_from", columns.UTC_TIME, nullable=False),
        sa.Column("valid_to", columns.UTC_TIME, nullable=True),
        sa.Column("consent_version", sa.String(length=40), nullable=True),
        sa.Column("consent_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_enrolment_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment")),
    )
    op.create_index(op.f("ix_enrolment_programme_id"), "enrolment", ["programme_id"], unique=False)
    op.create_index(op.f("ix_enrolment_ven_id"), "enrolment", ["ven_id"], unique=False)
    op.create_table(
        "enrolment_code",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("expires_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("used_at", columns.UTC_TIME, nullable=True),
        sa.Column(
            "request_hash",
            sa.String(length=64),
            nullable=True,
            comment="the signing request that used it: the same one may be repeated",
        ),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_enrolment_code_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_enrolment_code")),
    )
    op.create_index(op.f("ix_enrolment_code_ven_id"), "enrolment_code", ["ven_id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.String(length=80), nullable=False, comment="the eventID"),
        sa.Column("dispatch_id", sa.String(length=80), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column(
            "own_values",
            columns.JSON,
            nullable=True,
            comment="signalID -> interval values, where they differ from the dispatch's",
        ),
        sa.Column("changed_at", columns.UTC_TIME, nullable=False),
        sa.Column("listed_until", columns.UTC_TIME, nullable=True, comment="end plus startafter; null: open-ended"),
        sa.Column("cancelled_at", columns.UTC_TIME, nullable=True),
        sa.Column(
            "closed_at",
            columns.UTC_TIME,
            nullable=True,
            comment="a cancellation acknowledged, or given up: no longer listed",
        ),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_event_dispatch_id_dispatch")),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_event_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index(op.f("ix_event_dispatch_id"), "event", ["dispatch_id"], unique=False)
    op.create_index("ix_event_ven_open", "event", ["ven_id", "closed_at", "listed_until"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("subject", sa.String(length=80), server_default="", nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "done_by",
            sa.String(length=8),
            nullable=True,
            comment="answer | request: what will tell that a sent row arrived",
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("sent_at", columns.UTC_TIME, nullable=True),
        sa.Column("due_at", columns.UTC_TIME, nullable=False, comment="world time from which a poll may take it"),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_outbox_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("ven_id", "kind", "subject", name=op.f("uq_outbox_ven_id_kind_subject")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_state_due", "outbox", ["state", "due_at"], unique=False)
    op.create_table(
        "potential",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("resource_id", sa.String(length=200), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("start_s", sa.BigInteger(), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column("p10_w", columns.JSON, nullable=False),
        sa.Column("p50_w", columns.JSON, nullable=False),
        sa.Column("p90_w", columns.JSON, nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("issued_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_potential_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_potential")),
    )
    op.create_index(op.f("ix_potential_ven_id"), "potential", ["ven_id"], unique=False)
    op.create_table(
        "report_offer",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("specifier_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("offer", columns.JSON, nullable=False, comment="openadr.model.report.ReportOffer"),
        sa.Column("registered_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_report_offer_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "specifier_id", name=op.f("pk_report_offer")),
    )
    op.create_table(
        "report_request",
        sa.Column("id", sa.String(length=80), nullable=False, comment="the reportRequestID"),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("specifier_id", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("request", columns.JSON, nullable=False, comment="openadr.model.report.ReportRequest"),
        sa.Column(
            "state", sa.String(length=12), nullable=False, comment="queued | active | refused | cancelled | done"
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("answered_at", columns.UTC_TIME, nullable=True),
        sa.Column("last_report_at", columns.UTC_TIME, nullable=True),
        sa.Column("ended_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_report_request_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_request")),
    )
    op.create_index(op.f("ix_report_request_ven_id"), "report_request", ["ven_id"], unique=False)
    op.create_table(
        "resource",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("resource_id", sa.String(length=200), nullable=False),
        sa.Column("device_class", sa.String(length=80), nullable=True),
        sa.Column("nominal_w", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_resource_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("ven_id", "resource_id", name=op.f("pk_resource")),
    )
    op.create_table(
        "selection_reason",
        sa.Column("selection_id", sa.String(length=80), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("power_w", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["selection_id"],
            ["selection.id"],
            name=op.f("fk_selection_reason_selection_id_selection"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"], ["ven.id"], name=op.f("fk_selection_reason_ven_id_ven"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("selection_id", "ven_id", name=op.f("pk_selection_reason")),
    )
    op.create_table(
        "series",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("resource_id", sa.String(length=200), nullable=False),
        sa.Column(
            "quantity",
            sa.String(length=200),
            nullable=False,
            comment="core.points.Quantity, or the rID of what has none",
        ),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False, comment="ven | meter file | manual"),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_series_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "ven_id",
            "resource_id",
            "quantity",
            "kind",
            "source",
            name=op.f("uq_series_ven_id_resource_id_quantity_kind_source"),
        ),
    )
    op.create_table(
        "ven_certificate",
        sa.Column("fingerprint", sa.String(length=29), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("serial", sa.String(length=48), nullable=True),
        sa.Column("not_before", columns.UTC_TIME, nullable=True),
        sa.Column("not_after", columns.UTC_TIME, nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("revoked_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_ven_certificate_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_ven_certificate")),
    )
    op.create_index(op.f("ix_ven_certificate_ven_id"), "ven_certificate", ["ven_id"], unique=False)
    op.create_table(
        "ven_group_member",
        sa.Column("group_id", sa.String(length=80), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["ven_group.id"], name=op.f("fk_ven_group_member_group_id_ven_group"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"], ["ven.id"], name=op.f("fk_ven_group_member_ven_id_ven"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "ven_id", name=op.f("pk_ven_group_member")),
    )
    op.create_table(
        "chunk",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("series_id", columns.SERIAL, nullable=False),
        sa.Column("start_s", sa.BigInteger(), nullable=False, comment="seconds since 1970, start of the first value"),
        sa.Column("end_s", sa.BigInteger(), nullable=False, comment="end of the last value"),
        sa.Column("step_s", sa.Integer(), nullable=True, comment="null where offsets say it"),
        sa.Column("offsets", columns.JSON, nullable=True, comment="start of each value in seconds after start_s"),
        sa.Column(
            "durations",
            columns.JSON,
            nullable=True,
            comment="duration of each value in seconds; null: step_s, or instants",
        ),
        sa.Column("values", columns.JSON, nullable=False),
        sa.Column("qualities", columns.JSON, nullable=True, comment="one word a value; null: all good"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("received_at", columns.UTC_TIME, nullable=False),
        sa.Column(
            "received",
            columns.JSON,
            nullable=True,
            comment="when each value came in, in microseconds after received_at; null: 0",
        ),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_chunk_series_id_series"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk")),
    )
    op.create_index("ix_chunk_series_span", "chunk", ["series_id", "start_s", "end_s"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("event_id", sa.String(length=80), nullable=False),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("queued_at", columns.UTC_TIME, nullable=False),
        sa.Column("first_sent_at", columns.UTC_TIME, nullable=True),
        sa.Column("last_sent_at", columns.UTC_TIME, nullable=True),
        sa.Column("answered_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"], ["event.id"], name=op.f("fk_delivery_event_id_event"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_delivery_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id", "modification_number", name=op.f("pk_delivery")),
    )
    op.create_table(
        "opt",
        sa.Column("sequence", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("event_id", sa.String(length=80), nullable=True),
        sa.Column("modification_number", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("opt_type", sa.String(length=8), nullable=False),
        sa.Column("resource_id", sa.String(length=200), nullable=True, comment="null: the whole VEN"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("response_code", sa.Integer(), nullable=True),
        sa.Column("opt_id", sa.String(length=200), nullable=True),
        sa.Column("market_context", sa.Text(), nullable=True),
        sa.Column("schedule", columns.JSON, nullable=True, comment="openadr.model.opt.Opt of an opt schedule"),
        sa.Column("at", columns.UTC_TIME, nullable=False),
        sa.Column("ended_at", columns.UTC_TIME, nullable=True, comment="superseded or cancelled"),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_opt_event_id_event"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_opt_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_opt")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_opt_event_id"), "opt", ["event_id"], unique=False)
    op.create_index("ix_opt_ven_opt_id", "opt", ["ven_id", "opt_id"], unique=False)
    op.execute(views.READING_1[op.get_bind().dialect.name])
