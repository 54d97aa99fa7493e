"""Settlements: what an activation costs, from the figures of its report (UFTP's names). Versions, never overwritten.

Delivered energy is paid up to what was ordered, interval by interval: more earns nothing and makes up for nothing.
What is missing costs a penalty. Money is rounded once, at the end, half to even.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, insert, select, update

from aggregator import money
from aggregator.tables import settlement
from aggregator.topics import Topic
from aggregator.trade import activations
from aggregator.trade.activation_report import ActivationReport
from aggregator.trade.activations import Activation
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from vtn.services import evaluation, result_due
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json

_MAX_WORDS = 2000
_WS_PER_KWH = 3_600_000


@dataclass(frozen=True, slots=True)
class SettlementFigures:
    """Energies in kWh and money as exact decimal strings.

    `delivered_kwh` is what is paid for: in each interval at most what was ordered, at least 0. `price` = delivered x
    price per kWh, `penalty` = deficiency x penalty per kWh, `net` = price - penalty: what the BRP owes the aggregator.
    `uncertainty_kwh` and `bias_kwh` are the report's, and change no money.
    """

    ordered_kwh: str
    delivered_kwh: str
    deficiency_kwh: str
    currency: str
    price_per_kwh: str
    penalty_per_kwh: str
    price: str
    penalty: str
    net: str
    uncertainty_kwh: str | None = None
    bias_kwh: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """A settlement at one version; `supersedes` is the one before. `dispute`: the BRP's words, `answer`: ours.

    `report_version`: of the report that it follows. It is provisional until it is `final`; `final_at` says from when
    late readings change it no more (None: it was made before that was said).
    """

    id: str
    activation_id: str
    contract_id: str
    party_id: str
    version: int
    supersedes: str | None
    starts_at: datetime
    ends_at: datetime
    figures: SettlementFigures
    created_at: datetime
    disputed_at: datetime | None
    dispute: str | None
    report_version: int | None = None
    final: bool = False
    final_at: datetime | None = None
    answered_at: datetime | None = None
    answer: str | None = None


def figures(report: ActivationReport, price_per_kwh: str, penalty_per_kwh: str, currency: str) -> SettlementFigures:
    """Return what a report's intervals cost."""
    ordered = delivered = missing = 0
    for one in report.intervals:
        credited = min(max(one.delivered_w or 0, 0), one.ordered_w)
        ordered += one.ordered_w * one.duration_s
        delivered += credited * one.duration_s
        missing += (one.ordered_w - credited) * one.duration_s
    price = _cost(delivered, price_per_kwh, currency)
    penalty = _cost(missing, penalty_per_kwh, currency)
    return SettlementFigures(
        _kwh(ordered),
        _kwh(delivered),
        _kwh(missing),
        currency,
        price_per_kwh,
        penalty_per_kwh,
        price,
        penalty,
        money.rounded(Decimal(price) - Decimal(penalty), currency),
        None if report.uncertainty_wh is None else _kwh(report.uncertainty_wh * 3600),
        None if report.bias_wh is None else _kwh(report.bias_wh * 3600),
    )


def _cost(energy_ws: int, per_kwh: str, currency: str) -> str:
    return money.rounded(Decimal(energy_ws) * Decimal(per_kwh) / _WS_PER_KWH, currency)


def _kwh(energy_ws: int) -> str:
    return money.unit_price(Decimal(energy_ws) / _WS_PER_KWH)


async def settle(tx: Transaction, activation: Activation, report: ActivationReport, now: datetime, *, who: str) -> str:
    """Add a settlement of a report, superseding the last; return its id. That of the same report may become final."""
    query = select(settlement).where(settlement.c.activation_id == activation.id).order_by(settlement.c.version.desc())
    last = (await tx.conn.execute(query.limit(1).with_for_update())).one_or_none()
    terms = activation.terms
    new = figures(report, terms.price_per_kwh, terms.penalty_per_kwh, terms.currency)
    if last is not None and last.report_version == report.version:
        return await _finalise(tx, activation, last, report, now, who=who)
    settlement_id = new_id("stl")
    await tx.conn.execute(
        insert(settlement).values(
            id=settlement_id,
            activation_id=activation.id,
            contract_id=activation.contract_id,
            party_id=activation.party_id,
            version=1 if last is None else last.version + 1,
            supersedes=None if last is None else last.id,
            starts_at=report.starts_at,
            ends_at=report.ends_at,
            figures=to_json(new),
            created_at=now,
            report_version=report.version,
            final=report.final,
            final_at=report.final_at,
        )
    )
    await tx.audit(who, "settlement", settlement_id, after=to_json(new), at=now)
    await _published(tx, activation, settlement_id, now, final=report.final)
    return settlement_id


async def _finalise(
    tx: Transaction, activation: Activation, last: Any, report: ActivationReport, now: datetime, *, who: str
) -> str:
    """Let the settlement of a report be final with it."""
    if report.final and not last.final:
        values = {"final": True, "final_at": report.final_at}
        await tx.conn.execute(update(settlement).where(settlement.c.id == last.id).values(values))
        await tx.audit(who, "final settlement", last.id, at=now)
        await _published(tx, activation, last.id, now, final=True)
    return str(last.id)


async def _published(
    tx: Transaction, activation: Activation, settlement_id: str, now: datetime, *, final: bool
) -> None:
    told = {"settlement_id": settlement_id, "activation_id": activation.id, "final": final}
    await publish(tx, activation.party_id, Topic.SETTLEMENT_PUBLISHED, told, now)


async def get(conn: Connection, settlement_id: str, party_id: str | None = None, *, lock: bool = False) -> Settlement:
    """Return a settlement (of a party), locked if so wished. Raises NotFoundError."""
    query = select(settlement).where(settlement.c.id == settlement_id)
    if party_id is not None:
        query = query.where(settlement.c.party_id == party_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No settlement '{settlement_id}'.")
    return _settlement(row)


async def listed(
    conn: Connection,
    *,
    party_id: str | None = None,
    contract_id: str | None = None,
    activation_id: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Settlement]:
    """Return settlements (of a party), every version, newest first, at most `limit` before the id `before`."""
    query = select(settlement).order_by(settlement.c.id.desc()).limit(limit)
    wanted = {"party_id": party_id, "contract_id": contract_id, "activation_id": activation_id}
    for column, value in wanted.items():
        if value is not None:
            query = query.where(settlement.c[column] == value)
    if before is not None:
        query = query.where(settlement.c.id < before)
    return _settlements((await conn.execute(query)).all())


async def of_activations(conn: Connection, activation_ids: Select[Any]) -> list[Settlement]:
    """Return the settlements of the activations whose ids a query gives, every version, oldest first."""
    query = select(settlement).where(settlement.c.activation_id.in_(activation_ids))
    order = query.order_by(settlement.c.activation_id, settlement.c.version)
    return _settlements((await conn.execute(order)).all())


async def dispute(
    tx: Transaction, settlement_id: str, words: str, now: datetime, *, who: str, party_id: str | None = None
) -> None:
    """Note that the BRP disputes a settlement, and open the result that it was made from again.

    Raises ConflictError for one that is superseded or disputed already.
    """
    one = await get(tx.conn, settlement_id, party_id, lock=True)
    if not words.strip() or len(words) > _MAX_WORDS:
        raise InvalidError(f"A dispute says why, in 1 to {_MAX_WORDS} characters.")
    newer = select(settlement.c.id).where(settlement.c.supersedes == one.id)
    if (successor := (await tx.conn.execute(newer)).scalar_one_or_none()) is not None:
        raise ConflictError(f"This settlement was superseded by '{successor}'; dispute that one.")
    if one.disputed_at is not None:
        raise ConflictError("This settlement is disputed already.")
    where = settlement.c.id == one.id
    await tx.conn.execute(update(settlement).where(where).values(disputed_at=now, dispute=words.strip()))
    await tx.audit(who, "dispute settlement", one.id, after={"words": words.strip()}, at=now)
    ran = (await activations.get(tx.conn, one.activation_id)).dispatch_id
    if ran is not None and await evaluation.final_at(tx.conn, ran) is not None:
        await result_due.reopen(tx, ran, words, now, who=who)


async def answer(tx: Transaction, settlement_id: str, words: str, now: datetime, *, who: str) -> None:
    """Answer the dispute of a settlement. Raises ConflictError where there is none, or it is answered already."""
    one = await get(tx.conn, settlement_id, lock=True)
    if not words.strip() or len(words) > _MAX_WORDS:
        raise InvalidError(f"An answer has 1 to {_MAX_WORDS} characters.")
    if one.disputed_at is None:
        raise ConflictError("This settlement is not disputed.")
    if one.answered_at is not None:
        raise ConflictError("This dispute is answered already.")
    where = settlement.c.id == one.id
    await tx.conn.execute(update(settlement).where(where).values(answered_at=now, answer=words.strip()))
    await tx.audit(who, "answer dispute", one.id, after={"words": words.strip()}, at=now)


def _settlements(rows: Sequence[Any]) -> list[Settlement]:
    return [_settlement(row) for row in rows]


def _settlement(row: Any) -> Settlement:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for a row as a mapping
    values["figures"] = from_json(SettlementFigures, row.figures)
    return Settlement(**values)
