"""The tables of the VTN, one database a deployment.

Times are aware UTC. Names of columns carry units where a bare number stands. Other rooms add their tables to METADATA.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which has no time type, keeps it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse times without zone: they are how time zones get lost."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back that SQLite dropped."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A value that JSON can hold; PostgreSQL keeps it parsed."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Name the database's own type. PostgreSQL's dialect takes 2 MB: only who uses it has it."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415  see above

        return dialect.type_descriptor(JSONB(none_as_null=True))


Serial = BigInteger().with_variant(Integer(), "sqlite")
"""An auto-incrementing number; SQLite only increments INTEGER."""


def _id(**options: Any) -> Column[str]:
    return Column("id", String(80), primary_key=True, **options)


def _ven(*, nullable: bool = False, index: bool = False) -> Column[str]:
    return Column("ven_id", String(80), ForeignKey("ven.id", ondelete="CASCADE"), nullable=nullable, index=index)


deployment = Table(
    "deployment",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("vtn_id", String(80), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# -- people, sites, VENs

party = Table(
    "party",
    METADATA,
    _id(),
    Column("kind", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime),
)
party_personal = Table(
    "party_personal",
    METADATA,
    Column("party_id", String(80), ForeignKey("party.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("address", Text),
)
site = Table(
    "site",
    METADATA,
    _id(),
    Column("party_id", String(80), ForeignKey("party.id")),
    Column("time_zone", String(64), nullable=False),
    Column("area", String(80)),
    Column("metering_point", String(80)),
    Column("connection_w", Integer, comment="what fuses or the contract let through, W; null: not known"),
)
ven = Table(
    "ven",
    METADATA,
    _id(comment="the venID"),
    Column("name", Text, nullable=False, unique=True),
    Column("site_id", String(80), ForeignKey("site.id")),
    Column("strict", Boolean, nullable=False, server_default=text("(false)")),
    Column("poll_period_s", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("removed_at", UtcDateTime),
    Column("registration_id", String(80), unique=True),
    Column("registered_at", UtcDateTime),
    Column("profile", Json, comment="what the VEN said of itself: openadr.model.registration.VenProfile"),
    Column("protocol_version", String(8), nullable=False, server_default="2.0b", comment="of OpenADR"),
    Column("mode", String(8), nullable=False, server_default="pull", comment="pull | push"),
    Column("address", Text, comment="where it is pushed to; null: it polls"),
    Column(
        "signatures",
        String(16),
        nullable=False,
        server_default="when_present",
        comment="required | when_present | off",
    ),
    Column(
        "xml_signature",
        Boolean,
        nullable=False,
        server_default=text("(false)"),
        comment="it asked for signed messages when it registered",
    ),
    Column("metadata_at", UtcDateTime, comment="when the VEN last registered its reports"),
    Column("last_seen_at", UtcDateTime),
    Column("unreachable_at", UtcDateTime, comment="since when its address takes no messages; null: it does"),
    Column("unreachable_why", Text),
    Column("minimum_w", Integer, comment="W; null: it is called as a whole"),
    Column("step_w", Integer, comment="W; null: it is called as a whole"),
)
push_line = Table(
    "push_line",
    METADATA,
    Column("ven_id", String(80), ForeignKey("ven.id", ondelete="CASCADE"), primary_key=True),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="in a row"),
    Column("retry_at", UtcDateTime, comment="machine time before which nothing is sent; null: at once"),
    Column("leased_until", UtcDateTime, comment="machine time until which a process works on it; null: nobody does"),
)
ven_certificate = Table(
    "ven_certificate",
    METADATA,
    Column("fingerprint", String(29), primary_key=True),
    _ven(index=True),
    Column("serial", String(48)),
    Column("not_before", UtcDateTime),
    Column("not_after", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)
used_nonce = Table(
    "used_nonce",
    METADATA,
    Column("key", String(32), primary_key=True, comment="of a certificate and a nonce"),
    Column("expires_at", UtcDateTime, nullable=False, index=True, comment="machine time"),
)
waiting_certificate = Table(
    "waiting_certificate",
    METADATA,
    Column("fingerprint", String(29), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("ven_name", Text),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
)
enrolment_code = Table(
    "enrolment_code",
    METADATA,
    Column("code_hash", String(64), primary_key=True),
    _ven(index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("used_at", UtcDateTime),
    Column("request_hash", String(64), comment="the signing request that used it: the same one may be repeated"),
)
resource = Table(
    "resource",
    METADATA,
    _ven(),
    Column("resource_id", String(200), nullable=False),
    Column("device_class", String(80)),
    Column("nominal_w", Integer),
    PrimaryKeyConstraint("ven_id", "resource_id"),
)
group = Table("ven_group", METADATA, _id(), Column("name", Text, nullable=False, unique=True))
group_member = Table(
    "ven_group_member",
    METADATA,
    Column("group_id", String(80), ForeignKey("ven_group.id", ondelete="CASCADE"), nullable=False),
    _ven(),
    PrimaryKeyConstraint("group_id", "ven_id"),
)

# -- programmes, enrolments, contracts

programme = Table(
    "programme",
    METADATA,
    Column("id", String(80), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("market_context", Text, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),
    PrimaryKeyConstraint("id", "version"),
)
enrolment = Table(
    "enrolment",
    METADATA,
    _id(),
    _ven(index=True),
    Column("resource_id", String(200), comment="null: every resource of the VEN"),
    Column("programme_id", String(80), nullable=False, index=True),
    Column("valid_from", UtcDateTime, nullable=False),
    Column("valid_to", UtcDateTime),
    Column("consent_version", String(40)),
    Column("consent_at", UtcDateTime),
)
own_holiday = Table(
    "own_holiday",
    METADATA,
    Column("programme_id", String(80), nullable=False),
    Column("day", String(10), nullable=False, comment="local date of the programme, ISO 8601"),
    Column("name", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    PrimaryKeyConstraint("programme_id", "day"),
)
temperature = Table(
    "temperature",
    METADATA,
    Column("area", String(80), nullable=False, comment="grid area or feeder; empty: everybody"),
    Column("time_s", BigInteger, nullable=False, comment="seconds since 1970, UTC"),
    Column("celsius", Float, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("area", "time_s"),
)
outage = Table(
    "outage",
    METADATA,
    _id(),
    _ven(nullable=True, index=True),
    Column("area", String(80), comment="grid area or feeder; this and ven_id null: everybody"),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, comment="null: it lasts"),
    Column("reason", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
)
agreed_baseline = Table(
    "agreed_baseline",
    METADATA,
    _ven(),
    Column("method", String(40), nullable=False, comment="the preset that it is for"),
    Column("valid_from", String(10), nullable=False, comment="local date of the programme, ISO 8601"),
    Column("profile", Json, nullable=False, comment="metrics.agreed_profile.AgreedProfile"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    PrimaryKeyConstraint("ven_id", "method", "valid_from"),
)
nominated_power = Table(
    "nominated_power",
    METADATA,
    Column("programme_id", String(80), nullable=False),
    Column("day", String(10), nullable=False, comment="UTC day, ISO 8601"),
    Column("source", String(80), nullable=False, comment="the contract that it was nominated under"),
    Column("revision", Integer, nullable=False),
    Column("step_s", Integer, nullable=False),
    Column("power_w", Json, nullable=False, comment="mean power of each step of the day, positive = consumption"),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("programme_id", "day", "source", "revision"),
)

# -- dispatches and events

dispatch = Table(
    "dispatch",
    METADATA,
    _id(),
    Column("programme_id", String(80), nullable=False, index=True),
    Column("programme_version", Integer, nullable=False),
    Column("event", Json, nullable=False, comment="openadr.model.event.Event with empty ids"),
    Column("direction", String(8), comment="reduce | increase, or null for a mere signal"),
    Column("starts_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("cancelled_at", UtcDateTime),
    Column("result_due_at", UtcDateTime, index=True, comment="when its result is computed next; null: nothing is due"),
    Column("result_final_at", UtcDateTime, comment="since when its result is frozen; null: it may change"),
    Column("result_reopened_at", UtcDateTime, comment="when a dispute last opened it again"),
    ForeignKeyConstraint(["programme_id", "programme_version"], ["programme.id", "programme.version"]),
)
event = Table(
    "event",
    METADATA,
    _id(comment="the eventID"),
    Column("dispatch_id", String(80), ForeignKey("dispatch.id"), nullable=False, index=True),
    _ven(),
    Column("modification_number", Integer, nullable=False),
    Column("own_values", Json, comment="signalID -> interval values, where they differ from the dispatch's"),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("listed_until", UtcDateTime, comment="end plus startafter; null: open-ended"),
    Column("cancelled_at", UtcDateTime),
    Column("closed_at", UtcDateTime, comment="a cancellation acknowledged, or given up: no longer listed"),
)
Index("ix_event_ven_open", event.c.ven_id, event.c.closed_at, event.c.listed_until)
delivery = Table(
    "delivery",
    METADATA,
    Column("event_id", String(80), ForeignKey("event.id", ondelete="CASCADE"), nullable=False),
    Column("modification_number", Integer, nullable=False),
    _ven(),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("first_sent_at", UtcDateTime),
    Column("last_sent_at", UtcDateTime),
    Column("answered_at", UtcDateTime),
    PrimaryKeyConstraint("event_id", "modification_number"),
)
opt = Table(
    "opt",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    _ven(),
    Column("event_id", String(80), ForeignKey("event.id", ondelete="CASCADE"), index=True),
    Column("modification_number", Integer),
    Column("source", String(16), nullable=False),
    Column("opt_type", String(8), nullable=False),
    Column("resource_id", String(200), comment="null: the whole VEN"),
    Column("reason", Text),
    Column("response_code", Integer),
    Column("opt_id", String(200)),
    Column("market_context", Text),
    Column("schedule", Json, comment="openadr.model.opt.Opt of an opt schedule"),
    Column("schedule_digest", String(64), comment="SHA-256 of the schedule; null before it was kept"),
    Column("at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, comment="superseded or cancelled"),
    Column("cancelled_at", UtcDateTime, comment="by the VEN: the same schedule sent again is a new one"),
    sqlite_autoincrement=True,
)
Index("ix_opt_ven_opt_id", opt.c.ven_id, opt.c.opt_id)

# -- what VENs shall hear

outbox = Table(
    "outbox",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _ven(),
    Column("kind", String(24), nullable=False, comment="vtn.services.outbox.Intent"),
    Column("subject", String(80), nullable=False, server_default=""),
    Column("state", String(8), nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("done_by", String(8), comment="answer | request: what will tell that a sent row arrived"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False, comment="world time from which a poll may take it"),
    UniqueConstraint("ven_id", "kind", "subject"),
    sqlite_autoincrement=True,  # else SQLite gives the number of a deleted row to the next one
)
Index("ix_outbox_state_due", outbox.c.state, outbox.c.due_at)

ven_fault = Table(
    "ven_fault",
    METADATA,
    _ven(),
    Column("kind", String(16), nullable=False, comment="vtn.services.ven_faults.Kind"),
    Column("subject", String(80), nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("text", Text, nullable=False, comment="the last one's description"),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("ven_id", "kind", "subject"),
)

# -- reports and readings

report_offer = Table(
    "report_offer",
    METADATA,
    _ven(),
    Column("specifier_id", String(200), nullable=False),
    Column("name", String(80), nullable=False),
    Column("offer", Json, nullable=False, comment="openadr.model.report.ReportOffer"),
    Column("registered_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("ven_id", "specifier_id"),
)
report_request = Table(
    "report_request",
    METADATA,
    _id(comment="the reportRequestID"),
    _ven(index=True),
    Column("specifier_id", String(200), nullable=False),
    Column("name", String(80), nullable=False),
    Column("request", Json, nullable=False, comment="openadr.model.report.ReportRequest"),
    Column("state", String(12), nullable=False, comment="queued | unanswered | active | refused | cancelled | done"),
    Column("reason", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("last_report_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
)
own_report = Table(
    "own_report",
    METADATA,
    _ven(),
    Column("request_id", String(80), nullable=False, comment="the VEN's reportRequestID"),
    Column("request", Json, nullable=False, comment="openadr.model.report.ReportRequest"),
    Column("next_at", UtcDateTime, comment="where the next report of a periodic request begins; null: there is one"),
    Column("last", Boolean, nullable=False, comment="it is cancelled, and one report follows (RP-61)"),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("ven_id", "request_id"),
)
series = Table(
    "series",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _ven(),
    Column("resource_id", String(200), nullable=False),
    Column("quantity", String(200), nullable=False, comment="core.points.Quantity, or the rID of what has none"),
    Column("kind", String(16), nullable=False),
    Column("source", String(16), nullable=False, comment="ven | meter file | manual"),
    Column("unit", String(16), nullable=False),
    Column("point", String(32), nullable=False, comment="vtn.store.data_point.digest of the description"),
    Column("r_id", Text, nullable=False),
    Column("report_type", Text, nullable=False),
    Column("reading_type", Text, nullable=False),
    Column("sources", Json, nullable=False, comment="openadr.model.target.Target: all reportDataSources"),
    Column("subject", Json, nullable=False, comment="openadr.model.target.Target: the reportSubject"),
    Column("flow", String(8), nullable=False, comment="import | export | net"),
    Column("phase", String(8), nullable=False, comment="total | l1 | l2 | l3"),
    Column("ambiguous", Boolean, nullable=False, comment="another data point of its report differs by its rID alone"),
    UniqueConstraint("ven_id", "point", "quantity", "kind", "source"),
)
chunk = Table(
    "chunk",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("series_id", Serial, ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("start_s", BigInteger, nullable=False, comment="seconds since 1970, start of the first value"),
    Column("end_s", BigInteger, nullable=False, comment="end of the last value"),
    Column("step_s", Integer, comment="null where offsets say it"),
    Column("offsets", Json, comment="start of each value in seconds after start_s"),
    Column("durations", Json, comment="duration of each value in seconds; null: step_s, or instants"),
    Column("values", Json, nullable=False),
    Column("qualities", Json, comment="one word a value; null: all good"),
    Column("revision", Integer, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("received", Json, comment="when each value came in, in microseconds after received_at; null: 0"),
)
settlement_choice = Table(
    "settlement_choice",
    METADATA,
    _ven(),
    Column("series_id", Serial, ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("chosen_at", UtcDateTime, nullable=False),
    Column("chosen_by", Text, nullable=False),
    PrimaryKeyConstraint("ven_id", "series_id"),
)
Index("ix_chunk_series_span", chunk.c.series_id, chunk.c.start_s, chunk.c.end_s)
potential = Table(
    "potential",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    _ven(index=True),
    Column("resource_id", String(200), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("start_s", BigInteger, nullable=False),
    Column("step_s", Integer, nullable=False),
    Column("p10_w", Json, nullable=False),
    Column("p50_w", Json, nullable=False),
    Column("p90_w", Json, nullable=False),
    Column("source", String(16), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("superseded_at", UtcDateTime, comment="null: in force"),
)
Index("ix_potential_in_force", potential.c.superseded_at, potential.c.ven_id)

# -- decisions and results

evaluation = Table(
    "evaluation",
    METADATA,
    Column("dispatch_id", String(80), ForeignKey("dispatch.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("method", Json, nullable=False, comment="baseline preset with its version and parameters"),
    Column("result", Json, nullable=False),
    Column("input_hash", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("dispatch_id", "version"),
)

# -- what VENs and the VTN said to each other, for people who look for a fault; not in backups

message_log = Table(
    "message_log",
    METADATA,
    _id(),
    Column("at", UtcDateTime, nullable=False, comment="machine time"),
    Column("who", String(80), nullable=False, comment="venID; of a stranger the certificate's fingerprint, or nothing"),
    Column("fingerprint", String(29), nullable=False, comment="of the certificate, or empty"),
    Column("sender", String(4), nullable=False, comment="ven | vtn: who began"),
    Column("profile", String(8), nullable=False, comment="2.0a | 2.0b"),
    Column("type", String(60), comment="the message's element; null: it has none that could be read"),
    Column("answer_type", String(60)),
    Column("status", Integer, comment="HTTP status of the answer; null: there was none, and the body says why"),
    Column("code", Integer, comment="the first responseCode that is an error, else the answer's"),
    Column("fault", Boolean, nullable=False),
    Column("request_bytes", Integer, nullable=False, comment="as long as it was"),
    Column("answer_bytes", Integer, nullable=False),
    Column("cut", Boolean, nullable=False, comment="one of the bodies is not kept to its end"),
    Column("size", Integer, nullable=False, comment="bytes that the row takes, about"),
    Column("subjects", Json, nullable=False, comment="event, report_request, request -> ids that both bodies name"),
    Column("bodies", LargeBinary, nullable=False, comment="message and answer, packed, without secrets"),
    Index("ix_message_log_at", "at", "id", "size"),
    Index("ix_message_log_who", "who", "at", "id", "size"),
)
message_event = Table(
    "message_event",
    METADATA,
    Column("message_id", String(80), ForeignKey("message_log.id", ondelete="CASCADE"), nullable=False),
    Column("event_id", String(120), nullable=False, index=True, comment="which the message or its answer names"),
    PrimaryKeyConstraint("message_id", "event_id"),
)

# -- who may do what, and who did

principal = Table(
    "principal",
    METADATA,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False, comment="viewer | dispatcher | admin | brp | household"),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("password", Text, comment="scrypt, as vtn.services.passwords writes it; null: no login by password"),
    Column("party_id", String(80), ForeignKey("party.id")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, comment="machine time"),
    Column("revoked_at", UtcDateTime),
)
login_link = Table(
    "login_link",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("principal_id", String(80), ForeignKey("principal.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("expires_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("used_at", UtcDateTime, comment="machine time"),
)
console_session = Table(
    "console_session",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("principal_id", String(80), ForeignKey("principal.id"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("seen_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("expires_at", UtcDateTime, nullable=False, comment="machine time"),
)
console_device = Table(
    "console_device",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("principal_id", String(80), ForeignKey("principal.id"), nullable=False, index=True),
    Column("seen_at", UtcDateTime, nullable=False, comment="machine time of the last sign-in"),
)
audit = Table(
    "audit",
    METADATA,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("before", Json),
    Column("after", Json),
    sqlite_autoincrement=True,
)

# -- programs of other parties: clients, tokens, repeated requests, webhooks

api_client = Table(
    "api_client",
    METADATA,
    Column("id", String(80), primary_key=True, comment="the OAuth2 client_id"),
    Column("party_id", String(80), ForeignKey("party.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("certificate", String(64), comment="x5t#S256 of the certificate that tokens are bound to, or null"),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("revoked_at", UtcDateTime, comment="machine time"),
)
token_key = Table(
    "token_key",
    METADATA,
    Column("id", String(80), primary_key=True, comment="the kid"),
    Column("key", Json, nullable=False, comment="private JWK that signs access tokens"),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("retired_at", UtcDateTime, comment="machine time"),
)
idempotency = Table(
    "idempotency",
    METADATA,
    Column("caller", String(80), nullable=False, comment="principal or client"),
    Column("key", String(255), nullable=False),
    Column("request_hash", String(64), nullable=False, comment="method, path and body"),
    Column("status", Integer, comment="null: still in flight"),
    Column("headers", Json),
    Column("body", Text),
    Column("created_at", UtcDateTime, nullable=False, index=True, comment="machine time"),
    PrimaryKeyConstraint("caller", "key"),
)
webhook_subscription = Table(
    "webhook_subscription",
    METADATA,
    _id(),
    Column("party_id", String(80), ForeignKey("party.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False, comment="types, or empty for all"),
    Column("secret", Text, nullable=False, comment="key of the HMAC; the receiver has it too"),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("ended_at", UtcDateTime, comment="machine time"),
)
webhook_delivery = Table(
    "webhook_delivery",
    METADATA,
    _id(),
    Column("subscription_id", String(80), ForeignKey("webhook_subscription.id"), nullable=False, index=True),
    Column("event", String(60), nullable=False),
    Column("payload", Json, nullable=False),
    Column("state", String(8), nullable=False, comment="pending | done | dead"),
    Column("tries", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", UtcDateTime, nullable=False, comment="machine time"),
    Column("done_at", UtcDateTime, comment="machine time"),
    Index("ix_webhook_delivery_due", "state", "due_at"),
)
