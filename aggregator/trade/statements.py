"""Monthly statements of a contract: every activation of the month, what it cost, what is disputed. Versions are kept.

A month is that of the programme's time zone; an activation belongs to the month in which it starts. A statement is
made from the newest settlements. Made again it is the same, to the byte, unless something of it has changed: then it
is the next version and says what differs from the one before.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, insert, select

from aggregator import money
from aggregator.tables import activation, contract, statement
from aggregator.topics import Topic
from aggregator.trade import contracts, settlements
from aggregator.trade.settlements import Settlement, SettlementFigures
from core.errors import InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Span
from metrics.days import zone_named
from vtn.services import programme
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.engines import SQLITE
from vtn.store.rows import from_json, to_json

_MONTH: Final = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)

_OF_ALL: Final = ("time_zone", "starts_at", "ends_at", "final", "final_at")

DisputeState = Literal["open", "answered", "corrected"]


@dataclass(frozen=True, slots=True)
class StatedDispute:
    """A dispute of one version of a settlement.

    `corrected`: a newer version has followed, and `effect` says by how much its net differs. `answered`: the operator
    has answered, and no version has followed: the effect is 0. While it is `open`, the effect is not known (None).
    """

    settlement_id: str
    settlement_version: int
    disputed_at: datetime
    words: str
    state: DisputeState
    answered_at: datetime | None
    answer: str | None
    effect: str | None


@dataclass(frozen=True, slots=True)
class StatedActivation:
    """One activation of the month as its newest settlement has it; None where nothing is settled yet.

    `local_start` is its start by the wall clock of the statement's time zone, ISO 8601.
    """

    activation_id: str
    direction: str
    starts_at: datetime
    ends_at: datetime
    local_start: str
    cancelled: bool
    settlement_id: str | None
    settlement_version: int | None
    report_version: int | None
    final: bool
    final_at: datetime | None
    figures: SettlementFigures | None
    disputes: tuple[StatedDispute, ...]


@dataclass(frozen=True, slots=True)
class StatementSum:
    """Sums over the settled activations of one currency, exact decimal strings.

    `uncertainty_kwh`: the sum of the half widths of the 90 % intervals, as if all erred alike: at most that; None where
    one of them is not known.
    """

    currency: str
    activations: int
    ordered_kwh: str
    delivered_kwh: str
    deficiency_kwh: str
    uncertainty_kwh: str | None
    price: str
    penalty: str
    net: str


@dataclass(frozen=True, slots=True)
class StatementChange:
    """One value that differs from the version before; None: was not, or is no more, there.

    `activation_id` None: it is one of the sums, in `currency`, or without that of the statement itself.
    """

    activation_id: str | None
    currency: str | None
    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """What a statement says. `final`: the month is over, all of it is final and settled, and no dispute is open.

    `final_at`: from when that is so by the settlements as they are; None where it cannot be said yet.
    """

    programme_id: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    final: bool
    final_at: datetime | None
    activations: tuple[StatedActivation, ...]
    sums: tuple[StatementSum, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement at one version."""

    id: str
    contract_id: str
    party_id: str
    month: str
    version: int
    created_at: datetime
    content: Content
    changes: tuple[StatementChange, ...] = ()


@dataclass(frozen=True, slots=True)
class StatementHead:
    """What a statement says in short; `activations`: how many there are. The rest as in Statement and Content."""

    id: str
    contract_id: str
    party_id: str
    month: str
    version: int
    created_at: datetime
    final: bool
    final_at: datetime | None
    activations: int
    sums: tuple[StatementSum, ...]


def month_span(month: str, zone: ZoneInfo) -> Span:
    """Return a local month, such as `2026-03`, in UTC. Raises InvalidError for what is none of 2000 to 2099."""
    found = _MONTH.fullmatch(month)
    if found is None:
        raise InvalidError("A month is written like 2026-03.", field="month")
    year, number = int(found[1]), int(found[2])
    first = datetime(year, number, 1, tzinfo=zone)
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return Span(first.astimezone(UTC), following.astimezone(UTC))


# -- made


async def make(
    tx: Transaction, contract_id: str, month: str, now: datetime, *, who: str, party_id: str | None = None
) -> Statement:
    """Return the statement of a month as of now: the newest version, or a new one if something has changed.

    The BRP hears of a new one. Raises NotFoundError for a contract that is not (the party's), InvalidError for a month
    that has not begun.
    """
    await contracts.get(tx.conn, contract_id, party_id)
    await tx.conn.execute(select(contract.c.id).where(contract.c.id == contract_id).with_for_update())
    new = await _content(tx.conn, contract_id, month, now)
    last = await newest(tx.conn, contract_id, month)
    if last is not None and last.content == new:
        return last
    statement_id, version = new_id("stm"), 1 if last is None else last.version + 1
    held = (await tx.conn.execute(select(contract.c.party_id).where(contract.c.id == contract_id))).scalar_one()
    await tx.conn.execute(
        insert(statement).values(
            id=statement_id,
            contract_id=contract_id,
            party_id=held,
            month=month,
            version=version,
            content=to_json(new),
            created_at=now,
        )
    )
    await tx.audit(who, "statement", statement_id, after={"month": month, "version": version}, at=now)
    told = {"statement_id": statement_id, "contract_id": contract_id, "month": month}
    await publish(tx, held, Topic.STATEMENT_CREATED, told | {"version": version, "final": new.final}, now)
    return await get(tx.conn, statement_id)


async def _content(conn: Connection, contract_id: str, month: str, now: datetime) -> Content:
    held = await contracts.get(conn, contract_id)
    rules = await programme.get(conn, held.programme_id)
    zone = zone_named(rules.parameters.time_zone)
    span = month_span(month, zone)
    if span.end is None or span.start > now:
        raise InvalidError("This month has not begun.", field="month")
    there = (activation.c.contract_id == contract_id) & (activation.c.starts_at >= span.start)
    there &= activation.c.starts_at < span.end
    query = select(activation).where(there & begun()).order_by(activation.c.starts_at, activation.c.id)
    rows = (await conn.execute(query)).all()
    ids = select(activation.c.id).where(there)
    settled: dict[str, list[Settlement]] = {}
    for one in await settlements.of_activations(conn, ids):
        settled.setdefault(one.activation_id, []).append(one)
    stated = tuple(_stated(row, settled.get(row.id, []), zone) for row in rows)
    is_open = any(dispute.state == "open" for one in stated for dispute in one.disputes)
    ends = [one.final_at for one in stated]
    known = [end for end in ends if end is not None]
    whole = len(known) == len(ends) and not is_open
    return Content(
        programme_id=held.programme_id,
        time_zone=rules.parameters.time_zone,
        starts_at=span.start,
        ends_at=span.end,
        final=now >= span.end and not is_open and all(one.final for one in stated),
        final_at=max([span.end, *known]) if whole else None,
        activations=stated,
        sums=tuple(_sums(stated)),
    )


def begun() -> ColumnElement[bool]:
    """Return the condition of what a statement has: activations that were not cancelled before their start."""
    return activation.c.cancelled_at.is_(None) | (activation.c.cancelled_at > activation.c.starts_at)


def _stated(row: Any, versions: Sequence[Settlement], zone: ZoneInfo) -> StatedActivation:
    """Return an activation with its settlements, oldest first."""
    last = versions[-1] if versions else None
    return StatedActivation(
        activation_id=row.id,
        direction=row.direction,
        starts_at=row.starts_at,
        ends_at=last.ends_at if last else row.ends_at,
        local_start=row.starts_at.astimezone(zone).isoformat(timespec="minutes"),
        cancelled=row.cancelled_at is not None,
        settlement_id=last.id if last else None,
        settlement_version=last.version if last else None,
        report_version=last.report_version if last else None,
        final=last is not None and last.final,
        final_at=last.final_at if last else None,
        figures=last.figures if last else None,
        disputes=tuple(
            _dispute(one, one.disputed_at, successor)
            for one, successor in zip_longest(versions, versions[1:])
            if one.disputed_at is not None
        ),
    )


def _dispute(disputed: Settlement, at: datetime, successor: Settlement | None) -> StatedDispute:
    state: DisputeState = "open"
    effect = None
    if successor is not None:
        state = "corrected"
        more = Decimal(successor.figures.net) - Decimal(disputed.figures.net)
        effect = money.rounded(more, disputed.figures.currency)
    elif disputed.answered_at is not None:
        state, effect = "answered", money.rounded(Decimal(0), disputed.figures.currency)
    return StatedDispute(
        disputed.id, disputed.version, at, disputed.dispute or "", state, disputed.answered_at, disputed.answer, effect
    )


def _sums(stated: Iterable[StatedActivation]) -> list[StatementSum]:
    by_currency: dict[str, list[SettlementFigures]] = {}
    for one in stated:
        if one.figures is not None:
            by_currency.setdefault(one.figures.currency, []).append(one.figures)
    return [_sum(currency, ones) for currency, ones in sorted(by_currency.items())]


def _sum(currency: str, ones: Sequence[SettlementFigures]) -> StatementSum:
    def energy(values: Iterable[str]) -> str:
        return money.unit_price(sum(map(Decimal, values), Decimal(0)))

    def cost(values: Iterable[str]) -> str:
        return money.rounded(sum(map(Decimal, values), Decimal(0)), currency)

    widths = [one.uncertainty_kwh for one in ones if one.uncertainty_kwh is not None]
    return StatementSum(
        currency=currency,
        activations=len(ones),
        ordered_kwh=energy(one.ordered_kwh for one in ones),
        delivered_kwh=energy(one.delivered_kwh for one in ones),
        deficiency_kwh=energy(one.deficiency_kwh for one in ones),
        uncertainty_kwh=energy(widths) if len(widths) == len(ones) else None,
        price=cost(one.price for one in ones),
        penalty=cost(one.penalty for one in ones),
        net=cost(one.net for one in ones),
    )


# -- compared


def differences(before: Content, after: Content) -> tuple[StatementChange, ...]:
    """Return every value that differs between two versions: by activation, in the sums, of the statement itself."""
    old = {one.activation_id: _facts(one) for one in before.activations}
    new = {one.activation_id: _facts(one) for one in after.activations}
    changes = [
        StatementChange(key, None, *change)
        for key in [*new, *(old.keys() - new.keys())]
        for change in _differing(old.get(key, {}), new.get(key, {}))
    ]
    sums = [{one.currency: _texts(to_json(one)) for one in content.sums} for content in (before, after)]
    for currency in sorted({*sums[0], *sums[1]}):
        found = _differing(sums[0].get(currency, {}), sums[1].get(currency, {}))
        changes += [StatementChange(None, currency, *change) for change in found]
    whole = [_texts({name: to_json(getattr(each, name)) for name in _OF_ALL}) for each in (before, after)]
    changes += [StatementChange(None, None, *change) for change in _differing(*whole)]
    return tuple(changes)


def _facts(row: StatedActivation) -> dict[str, str | None]:
    """Return what a row says, name -> text."""
    facts = to_json(row)
    figures, disputes = facts.pop("figures") or {}, facts.pop("disputes")
    for dispute in disputes:
        figures[f"dispute of version {dispute['settlement_version']}"] = dispute["state"]
    return _texts(facts | figures)


def _texts(facts: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in facts.items()}


def _differing(old: dict[str, str | None], new: dict[str, str | None]) -> list[tuple[str, str | None, str | None]]:
    names = dict.fromkeys([*new, *old])
    return [(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


# -- read


async def get(conn: Connection, statement_id: str, party_id: str | None = None) -> Statement:
    """Return a statement (of a party) with what differs from the version before. Raises NotFoundError."""
    query = select(statement).where(statement.c.id == statement_id)
    if party_id is not None:
        query = query.where(statement.c.party_id == party_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No statement '{statement_id}'.")
    return await _with_changes(conn, row)


async def newest(conn: Connection, contract_id: str, month: str) -> Statement | None:
    """Return the newest statement of a contract's month."""
    query = select(statement).where((statement.c.contract_id == contract_id) & (statement.c.month == month))
    row = (await conn.execute(query.order_by(statement.c.version.desc()).limit(1))).one_or_none()
    return None if row is None else await _with_changes(conn, row)


async def _with_changes(conn: Connection, row: Any) -> Statement:
    content = from_json(Content, row.content)
    same = (statement.c.contract_id == row.contract_id) & (statement.c.month == row.month)
    query = select(statement.c.content).where(same & (statement.c.version == row.version - 1))
    before = (await conn.execute(query)).scalar_one_or_none()
    changes = () if before is None else differences(from_json(Content, before), content)
    return Statement(row.id, row.contract_id, row.party_id, row.month, row.version, row.created_at, content, changes)


async def listed(
    conn: Connection,
    *,
    party_id: str | None = None,
    contract_id: str | None = None,
    month: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[StatementHead]:
    """Return statements in short, every version, newest first, at most `limit` before the id `before`.

    The database takes what is short out of each: a month can be megabytes.
    """
    of, content = statement.c, statement.c.content
    length = func.json_array_length if conn.dialect.name == SQLITE else func.jsonb_array_length
    query = (
        select(
            *(of.id, of.contract_id, of.party_id, of.month, of.version, of.created_at),
            content["final"].as_boolean().label("final"),
            content["final_at"].as_string().label("final_at"),
            content["sums"].label("sums"),
            length(content["activations"]).label("activations"),
        )
        .order_by(of.id.desc())
        .limit(limit)
    )
    for column, value in {"party_id": party_id, "contract_id": contract_id, "month": month}.items():
        if value is not None:
            query = query.where(of[column] == value)
    if before is not None:
        query = query.where(of.id < before)
    return [
        StatementHead(
            *(one.id, one.contract_id, one.party_id, one.month, one.version, one.created_at),
            final=one.final,
            final_at=None if one.final_at is None else datetime.fromisoformat(one.final_at),
            activations=one.activations,
            sums=from_json(tuple[StatementSum, ...], one.sums),
        )
        for one in (await conn.execute(query)).all()
    ]


_NAMES: Final = (
    *("activation_id", "direction", "starts_at", "ends_at", "local_start", "cancelled"),
    *("settlement_id", "settlement_version", "report_version", "final", "final_at"),
)
_FIGURES: Final = (
    *("ordered_kwh", "delivered_kwh", "deficiency_kwh", "uncertainty_kwh", "bias_kwh"),
    *("currency", "price_per_kwh", "penalty_per_kwh", "price", "penalty", "net"),
)


def to_csv(stated: Statement) -> str:
    """Return a statement as CSV (RFC 4180): a header, then one line an activation; empty: not known."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("statement_id", "month", "version", *_NAMES, *_FIGURES, "disputes", "dispute_effect"))
    for row in stated.content.activations:
        facts = to_json(row)
        figures = facts["figures"] or {}
        states = " ".join(dispute.state for dispute in row.disputes)
        effects = " ".join(dispute.effect or "?" for dispute in row.disputes)
        values = [*(facts[name] for name in _NAMES), *(figures.get(name) for name in _FIGURES), states, effects]
        writer.writerow(["" if it is None else it for it in (stated.id, stated.month, stated.version, *values)])
    return text.getvalue()
