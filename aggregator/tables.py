"""The tables of the aggregator, on the VTN's metadata: one deployment, one database.

Times are aware UTC world time unless a comment says machine time. Energy prices are decimal strings, never floats.
"""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from vtn.store.tables import METADATA, Json, Serial, UtcDateTime


def _id() -> Column[str]:
    return Column("id", String(80), primary_key=True)


def _party() -> Column[str]:
    return Column("party_id", String(80), ForeignKey("party.id"), nullable=False, index=True)


def _contract() -> Column[str]:
    return Column("contract_id", String(80), ForeignKey("contract.id"), nullable=False, index=True)


# -- contracts

contract = Table(
    "contract",
    METADATA,
    _id(),
    Column("party_id", String(80), ForeignKey("party.id"), nullable=False, comment="the BRP"),
    Column("programme_id", String(80), nullable=False),
    Column("limits", Json, nullable=False),
    Column("price", Json),
    Column("valid_from", UtcDateTime, nullable=False),
    Column("valid_to", UtcDateTime),
)

# -- whom to call

selection = Table(
    "selection",
    METADATA,
    _id(),
    Column("dispatch_id", String(80), ForeignKey("dispatch.id"), index=True),
    Column("inputs", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
selection_reason = Table(
    "selection_reason",
    METADATA,
    Column("selection_id", String(80), ForeignKey("selection.id", ondelete="CASCADE"), nullable=False),
    Column("ven_id", String(80), ForeignKey("ven.id", ondelete="CASCADE"), nullable=False),
    Column("reason", String(40), nullable=False),
    Column("power_w", Integer),
    Column("whole_w", Integer, comment="where power_w is less: what it would be ordered as a whole"),
    PrimaryKeyConstraint("selection_id", "ven_id"),
)
dispatch_draft = Table(
    "dispatch_draft",
    METADATA,
    _id(),
    Column("selection_id", String(80), ForeignKey("selection.id", ondelete="CASCADE"), nullable=False),
    Column("pool_order", Json, nullable=False, comment="aggregator.trade.dispatch_drafts.PoolOrder"),
    Column("figures", Json, nullable=False, comment="aggregator.trade.dispatch_drafts.DraftFigures"),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_dispatch_draft_selection_id", "selection_id", unique=True),
)

# -- the trade: nomination, request, offer, activation, report, settlement

nomination = Table(
    "nomination",
    METADATA,
    _contract(),
    Column("day", String(10), nullable=False, comment="UTC day, YYYY-MM-DD"),
    Column("declared_by", String(12), nullable=False, comment="brp | aggregator"),
    Column("revision", Integer, nullable=False),
    Column("step_s", Integer, nullable=False),
    Column("power_w", Json, nullable=False, comment="mean power of each step of the day, positive = consumption"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    PrimaryKeyConstraint("contract_id", "day", "declared_by", "revision"),
)
flexibility_request = Table(
    "flexibility_request",
    METADATA,
    _id(),
    _contract(),
    _party(),
    Column("direction", String(8), nullable=False, comment="reduce | increase"),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("deadline", UtcDateTime, nullable=False, comment="an offer must be out by then"),
    Column("wish", Json, nullable=False, comment="aggregator.trade.requests.Need"),
    Column("status", String(12), nullable=False, comment="received | offered | declined | expired | cancelled"),
    Column("reason", Text, comment="why it was declined, or the BRP's words at cancellation"),
    Column("possible_w", Json, comment="of a declined one: what could have been offered in each interval, W"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Index("ix_flexibility_request_open", "status", "deadline"),
)
flexibility_offer = Table(
    "flexibility_offer",
    METADATA,
    _id(),
    Column("request_id", String(80), ForeignKey("flexibility_request.id"), index=True, comment="null: unsolicited"),
    _contract(),
    _party(),
    Column("direction", String(8), nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("options", Json, nullable=False, comment="tuple of aggregator.trade.offers.Option"),
    Column("status", String(12), nullable=False, comment="open | accepted | revoked | expired"),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("area", String(80), comment="of an unsolicited one; null: everywhere"),
    Index("ix_flexibility_offer_open", "status", "expires_at"),
)
activation = Table(
    "activation",
    METADATA,
    _id(),
    _contract(),
    _party(),
    Column("offer_id", String(80), ForeignKey("flexibility_offer.id"), unique=True, comment="null: a direct order"),
    Column("direction", String(8), nullable=False),
    Column("starts_at", UtcDateTime, nullable=False, index=True),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("intervals", Json, nullable=False, comment="tuple of aggregator.intervals.PowerInterval, as ordered now"),
    Column("terms", Json, nullable=False, comment="aggregator.trade.activations.Terms: option, factor, price"),
    Column("modification_number", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("due_at", UtcDateTime, index=True, comment="when the worker looks at it next; null: nothing left to do"),
    Column("dispatch_id", String(80), ForeignKey("dispatch.id"), unique=True, comment="null: nobody called yet"),
    Column("selection_id", String(80), ForeignKey("selection.id")),
    Column("outlook", Json, comment="aggregator.trade.activations.Outlook; null: not looked for anybody yet"),
    Column("cancelled_at", UtcDateTime),
    Column("cancel_reason", Text),
    Column("completed_at", UtcDateTime),
)
intervention = Table(
    "intervention",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("activation_id", String(80), ForeignKey("activation.id"), nullable=False, index=True),
    Column("at", UtcDateTime, nullable=False),
    Column("ven_id", String(80), ForeignKey("ven.id", ondelete="CASCADE"), nullable=False),
    Column("action", String(12), nullable=False, comment="call | release | replace"),
    Column("reason", String(40), nullable=False),
    Column("power_w", Integer),
    sqlite_autoincrement=True,
)
activation_report = Table(
    "activation_report",
    METADATA,
    Column("activation_id", String(80), ForeignKey("activation.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("report", Json, nullable=False, comment="aggregator.trade.activation_report.ActivationReport"),
    Column("evaluation_version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("activation_id", "version"),
)
settlement = Table(
    "settlement",
    METADATA,
    _id(),
    Column("activation_id", String(80), ForeignKey("activation.id"), nullable=False, index=True),
    _contract(),
    _party(),
    Column("version", Integer, nullable=False),
    Column("supersedes", String(80), ForeignKey("settlement.id")),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("figures", Json, nullable=False, comment="aggregator.trade.settlements.SettlementFigures"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disputed_at", UtcDateTime),
    Column("dispute", Text),
    Column("answered_at", UtcDateTime),
    Column("answer", Text, comment="what the dispute was answered"),
    Column("report_version", Integer, comment="of the activation report that it follows"),
    Column("final", Boolean, nullable=False, server_default=text("(false)"), comment="false: provisional"),
    Column("final_at", UtcDateTime, comment="when it becomes, or became, final"),
    UniqueConstraint("activation_id", "version"),
)
statement = Table(
    "statement",
    METADATA,
    _id(),
    _contract(),
    _party(),
    Column("month", String(7), nullable=False, comment="of the programme's time zone, YYYY-MM"),
    Column("version", Integer, nullable=False),
    Column("content", Json, nullable=False, comment="aggregator.trade.statements.Content"),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("contract_id", "month", "version"),
)

# -- tariffs

tariff = Table(
    "tariff",
    METADATA,
    _id(),
    Column("kind", String(12), nullable=False, comment="network | electricity"),
    Column("name", Text, nullable=False),
    Column("area", String(80), comment="null: everywhere"),
    Column("programme_id", String(80), comment="null: every programme"),
    Column("currency", String(3), nullable=False),
    Column("vat_included", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),
)
tariff_version = Table(
    "tariff_version",
    METADATA,
    Column("tariff_id", String(80), ForeignKey("tariff.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Column("whole", Boolean, nullable=False, comment="replaces everything before; else only its own span"),
    Column("prices", Json, nullable=False, comment="tuple of aggregator.tariff.price_series.Price"),
    Column("source", String(12), nullable=False, comment="rest | brp | fetch | console"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    PrimaryKeyConstraint("tariff_id", "version"),
)
tariff_source = Table(
    "tariff_source",
    METADATA,
    Column("tariff_id", String(80), ForeignKey("tariff.id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("mapping", Json, nullable=False, comment="aggregator.tariff.price_mapping.Mapping"),
    Column("every_s", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("last_at", UtcDateTime, comment="machine time"),
    Column("last_error", Text),
)
price_signal = Table(
    "price_signal",
    METADATA,
    Column("programme_id", String(80), primary_key=True),
    Column("enabled", Boolean, nullable=False, comment="whether prices go to the programme's VENs; no row: yes"),
    Column("changed_at", UtcDateTime, nullable=False),
)
price_dispatch = Table(
    "price_dispatch",
    METADATA,
    Column("dispatch_id", String(80), ForeignKey("dispatch.id"), primary_key=True),
    Column("programme_id", String(80), nullable=False),
    Column("day", String(10), nullable=False, comment="day of the programme's time zone, YYYY-MM-DD"),
    Column("network_id", String(80), ForeignKey("tariff.id"), comment="null: no network tariff in the price"),
    Column("electricity_id", String(80), ForeignKey("tariff.id"), comment="null: no electricity tariff in the price"),
    Index("ix_price_dispatch_day", "programme_id", "day"),
)
