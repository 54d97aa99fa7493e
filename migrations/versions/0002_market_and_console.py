"""The market (requests, offers, activations, tariffs) and the console (sessions)."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.String(length=80), nullable=False, comment="principal or client"),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False, comment="method, path and body"),
        sa.Column("status", sa.Integer(), nullable=True, comment="null: still in flight"),
        sa.Column("headers", columns.JSON, nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "price_signal",
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column(
            "enabled", sa.Boolean(), nullable=False, comment="whether prices go to the programme's VENs; no row: yes"
        ),
        sa.Column("changed_at", columns.UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("programme_id", name=op.f("pk_price_signal")),
    )
    op.create_table(
        "tariff",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False, comment="network | electricity"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("area", sa.String(length=80), nullable=True, comment="null: everywhere"),
        sa.Column("programme_id", sa.String(length=80), nullable=True, comment="null: every programme"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("vat_included", sa.Boolean(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("retired_at", columns.UTC_TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff")),
    )
    op.create_table(
        "token_key",
        sa.Column("id", sa.String(length=80), nullable=False, comment="the kid"),
        sa.Column("key", columns.JSON, nullable=False, comment="private JWK that signs access tokens"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("retired_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_key")),
    )
    op.create_table(
        "brp_client",
        sa.Column("id", sa.String(length=80), nullable=False, comment="the OAuth2 client_id"),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", columns.JSON, nullable=False),
        sa.Column(
            "certificate",
            sa.String(length=64),
            nullable=True,
            comment="x5t#S256 of the certificate that tokens are bound to, or null",
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("revoked_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_brp_client_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brp_client")),
    )
    op.create_index(op.f("ix_brp_client_party_id"), "brp_client", ["party_id"], unique=False)
    op.create_table(
        "tariff_source",
        sa.Column("tariff_id", sa.String(length=80), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("mapping", columns.JSON, nullable=False, comment="aggregator.tariff.price_mapping.Mapping"),
        sa.Column("every_s", sa.Integer(), nullable=False),
        sa.Column("due_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("last_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tariff_id"], ["tariff.id"], name=op.f("fk_tariff_source_tariff_id_tariff")),
        sa.PrimaryKeyConstraint("tariff_id", name=op.f("pk_tariff_source")),
    )
    op.create_table(
        "tariff_version",
        sa.Column("tariff_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False, comment="replaces everything before; else only its own span"),
        sa.Column("prices", columns.JSON, nullable=False, comment="tuple of aggregator.tariff.price_series.Price"),
        sa.Column("source", sa.String(length=12), nullable=False, comment="rest | brp | fetch | console"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["tariff_id"], ["tariff.id"], name=op.f("fk_tariff_version_tariff_id_tariff")),
        sa.PrimaryKeyConstraint("tariff_id", "version", name=op.f("pk_tariff_version")),
    )
    op.create_table(
        "webhook_subscription",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", columns.JSON, nullable=False, comment="types, or empty for all"),
        sa.Column("secret", sa.Text(), nullable=False, comment="key of the HMAC; the receiver has it too"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("ended_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_webhook_subscription_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_subscription")),
    )
    op.create_index(op.f("ix_webhook_subscription_party_id"), "webhook_subscription", ["party_id"], unique=False)
    op.create_table(
        "console_session",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("principal_id", sa.String(length=80), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("seen_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("expires_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principal.id"], name=op.f("fk_console_session_principal_id_principal")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_console_session")),
    )
    op.create_index(op.f("ix_console_session_principal_id"), "console_session", ["principal_id"], unique=False)
    op.create_table(
        "flexibility_request",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False, comment="reduce | increase"),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=False),
        sa.Column("deadline", columns.UTC_TIME, nullable=False, comment="an offer must be out by then"),
        sa.Column("wish", columns.JSON, nullable=False, comment="aggregator.trade.requests.Wish"),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="received | offered | declined | expired | cancelled",
        ),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="why it was declined, or the BRP's words at cancellation"
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("ended_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name=op.f("fk_flexibility_request_contract_id_contract")
        ),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_flexibility_request_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flexibility_request")),
    )
    op.create_index(op.f("ix_flexibility_request_contract_id"), "flexibility_request", ["contract_id"], unique=False)
    op.create_index("ix_flexibility_request_open", "flexibility_request", ["status", "deadline"], unique=False)
    op.create_index(op.f("ix_flexibility_request_party_id"), "flexibility_request", ["party_id"], unique=False)
    op.create_table(
        "login_link",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("principal_id", sa.String(length=80), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("expires_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("used_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.ForeignKeyConstraint(["principal_id"], ["principal.id"], name=op.f("fk_login_link_principal_id_principal")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_login_link")),
    )
    op.create_table(
        "nomination",
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False, comment="UTC day, YYYY-MM-DD"),
        sa.Column("declared_by", sa.String(length=12), nullable=False, comment="brp | aggregator"),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column(
            "power_w",
            columns.JSON,
            nullable=False,
            comment="mean power of each step of the day, positive = consumption",
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["contract_id"], ["contract.id"], name=op.f("fk_nomination_contract_id_contract")),
        sa.PrimaryKeyConstraint("contract_id", "day", "declared_by", "revision", name=op.f("pk_nomination")),
    )
    op.create_index(op.f("ix_nomination_contract_id"), "nomination", ["contract_id"], unique=False)
    op.create_table(
        "price_dispatch",
        sa.Column("dispatch_id", sa.String(length=80), nullable=False),
        sa.Column("programme_id", sa.String(length=80), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False, comment="day of the programme's time zone, YYYY-MM-DD"),
        sa.Column("network_id", sa.String(length=80), nullable=True, comment="null: no network tariff in the price"),
        sa.Column(
            "electricity_id", sa.String(length=80), nullable=True, comment="null: no electricity tariff in the price"
        ),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_price_dispatch_dispatch_id_dispatch")),
        sa.ForeignKeyConstraint(
            ["electricity_id"], ["tariff.id"], name=op.f("fk_price_dispatch_electricity_id_tariff")
        ),
        sa.ForeignKeyConstraint(["network_id"], ["tariff.id"], name=op.f("fk_price_dispatch_network_id_tariff")),
        sa.PrimaryKeyConstraint("dispatch_id", name=op.f("pk_price_dispatch")),
    )
    op.create_index("ix_price_dispatch_day", "price_dispatch", ["programme_id", "day"], unique=False)
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("subscription_id", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("payload", columns.JSON, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False, comment="pending | done | dead"),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("done_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["webhook_subscription.id"],
            name=op.f("fk_webhook_delivery_subscription_id_webhook_subscription"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["state", "due_at"], unique=False)
    op.create_index(op.f("ix_webhook_delivery_subscription_id"), "webhook_delivery", ["subscription_id"], unique=False)
    op.create_table(
        "flexibility_offer",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("request_id", sa.String(length=80), nullable=True, comment="null: unsolicited"),
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=False),
        sa.Column("options", columns.JSON, nullable=False, comment="tuple of aggregator.trade.offers.Option"),
        sa.Column("status", sa.String(length=12), nullable=False, comment="open | accepted | revoked | expired"),
        sa.Column("expires_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("ended_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["contract_id"], ["contract.id"], name=op.f("fk_flexibility_offer_contract_id_contract")
        ),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_flexibility_offer_party_id_party")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["flexibility_request.id"], name=op.f("fk_flexibility_offer_request_id_flexibility_request")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flexibility_offer")),
    )
    op.create_index(op.f("ix_flexibility_offer_contract_id"), "flexibility_offer", ["contract_id"], unique=False)
    op.create_index("ix_flexibility_offer_open", "flexibility_offer", ["status", "expires_at"], unique=False)
    op.create_index(op.f("ix_flexibility_offer_party_id"), "flexibility_offer", ["party_id"], unique=False)
    op.create_index(op.f("ix_flexibility_offer_request_id"), "flexibility_offer", ["request_id"], unique=False)
    op.create_table(
        "activation",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("offer_id", sa.String(length=80), nullable=True, comment="null: a direct order"),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=False),
        sa.Column(
            "intervals",
            columns.JSON,
            nullable=False,
            comment="tuple of aggregator.intervals.PowerInterval, as ordered now",
        ),
        sa.Column(
            "terms", columns.JSON, nullable=False, comment="aggregator.trade.activations.Terms: option, factor, price"
        ),
        sa.Column("modification_number", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column(
            "due_at",
            columns.UTC_TIME,
            nullable=True,
            comment="when the worker looks at it next; null: nothing left to do",
        ),
        sa.Column("dispatch_id", sa.String(length=80), nullable=True, comment="null: nobody called yet"),
        sa.Column("selection_id", sa.String(length=80), nullable=True),
        sa.Column("cancelled_at", columns.UTC_TIME, nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.Column("completed_at", columns.UTC_TIME, nullable=True),
        sa.ForeignKeyConstraint(["contract_id"], ["contract.id"], name=op.f("fk_activation_contract_id_contract")),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_activation_dispatch_id_dispatch")),
        sa.ForeignKeyConstraint(
            ["offer_id"], ["flexibility_offer.id"], name=op.f("fk_activation_offer_id_flexibility_offer")
        ),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_activation_party_id_party")),
        sa.ForeignKeyConstraint(["selection_id"], ["selection.id"], name=op.f("fk_activation_selection_id_selection")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activation")),
        sa.UniqueConstraint("dispatch_id", name=op.f("uq_activation_dispatch_id")),
        sa.UniqueConstraint("offer_id", name=op.f("uq_activation_offer_id")),
    )
    op.create_index(op.f("ix_activation_contract_id"), "activation", ["contract_id"], unique=False)
    op.create_index(op.f("ix_activation_due_at"), "activation", ["due_at"], unique=False)
    op.create_index(op.f("ix_activation_party_id"), "activation", ["party_id"], unique=False)
    op.create_table(
        "activation_report",
        sa.Column("activation_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("report", columns.JSON, nullable=False, comment="aggregator.trade.reports.ActivationReport"),
        sa.Column("evaluation_version", sa.Integer(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["activation_id"], ["activation.id"], name=op.f("fk_activation_report_activation_id_activation")
        ),
        sa.PrimaryKeyConstraint("activation_id", "version", name=op.f("pk_activation_report")),
    )
    op.create_table(
        "intervention",
        sa.Column("id", columns.SERIAL, autoincrement=True, nullable=False),
        sa.Column("activation_id", sa.String(length=80), nullable=False),
        sa.Column("at", columns.UTC_TIME, nullable=False),
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=12), nullable=False, comment="call | release | replace"),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("power_w", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["activation_id"], ["activation.id"], name=op.f("fk_intervention_activation_id_activation")
        ),
        sa.ForeignKeyConstraint(["ven_id"], ["ven.id"], name=op.f("fk_intervention_ven_id_ven"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intervention")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_intervention_activation_id"), "intervention", ["activation_id"], unique=False)
    op.create_table(
        "settlement",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("activation_id", sa.String(length=80), nullable=False),
        sa.Column("contract_id", sa.String(length=80), nullable=False),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("supersedes", sa.String(length=80), nullable=True),
        sa.Column("starts_at", columns.UTC_TIME, nullable=False),
        sa.Column("ends_at", columns.UTC_TIME, nullable=False),
        sa.Column("figures", columns.JSON, nullable=False, comment="aggregator.trade.settlements.Figures"),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.Column("disputed_at", columns.UTC_TIME, nullable=True),
        sa.Column("dispute", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["activation_id"], ["activation.id"], name=op.f("fk_settlement_activation_id_activation")
        ),
        sa.ForeignKeyConstraint(["contract_id"], ["contract.id"], name=op.f("fk_settlement_contract_id_contract")),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f("fk_settlement_party_id_party")),
        sa.ForeignKeyConstraint(["supersedes"], ["settlement.id"], name=op.f("fk_settlement_supersedes_settlement")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement")),
        sa.UniqueConstraint("activation_id", "version", name=op.f("uq_settlement_activation_id_version")),
    )
    op.create_index(op.f("ix_settlement_activation_id"), "settlement", ["activation_id"], unique=False)
    op.create_index(op.f("ix_settlement_contract_id"), "settlement", ["contract_id"], unique=False)
    op.create_index(op.f("ix_settlement_party_id"), "settlement", ["party_id"], unique=False)
    op.add_column("potential", sa.Column("superseded_at", columns.UTC_TIME, nullable=True, comment="null: in force"))
    op.create_index("ix_potential_in_force", "potential", ["superseded_at", "ven_id"], unique=False)
    op.add_column(
        "principal",
        sa.Column(
            "password",
            sa.Text(),
            nullable=True,
            comment="scrypt, as vtn.services.passwords writes it; null: no login by password",
        ),
    )
