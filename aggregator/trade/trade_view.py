"""How the trade stands, in numbers and lists, for the market's board."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select

from aggregator.tables import activation, flexibility_offer, flexibility_request, settlement
from aggregator.trade import activations, brps, contracts, settlements
from aggregator.trade.activations import Activation, ActivationStatus
from aggregator.trade.settlements import Settlement
from vtn.services import programme as programmes
from vtn.store.database import Connection
from vtn.store.tables import webhook_delivery

DISPUTED: Final = "disputed"


@dataclass(frozen=True, slots=True)
class Names:
    """What ids are called: BRPs, programmes, and contracts as `BRP, programme`."""

    brps: Mapping[str, str]
    programmes: Mapping[str, str]
    contracts: Mapping[str, str]


async def names(conn: Connection) -> Names:
    """Return the names of everything that the market's pages mention."""
    brp_names = {brp.id: brp.name for brp in await brps.listed(conn)}
    known = {one.id: one.name for one in await programmes.newest(conn)}
    found: dict[str, str] = {}
    after: str | None = None
    while page := await contracts.listed(conn, after=after, limit=500):
        for one in page:
            found[one.id] = f"{brp_names.get(one.party_id, '?')}, {known.get(one.programme_id, '?')}"
        after = page[-1].id
    return Names(brp_names, known, found)


@dataclass(frozen=True, slots=True)
class Board:
    """Counts of what is open or needs somebody."""

    requests: Mapping[str, int]
    offers: Mapping[str, int]
    activations: Mapping[str, int]
    disputed: int
    settlements: int
    deliveries: Mapping[str, int]


async def board(conn: Connection, now: datetime) -> Board:
    """Return how the trade stands."""
    requests = select(flexibility_request.c.status, func.count()).group_by(flexibility_request.c.status)
    offers = select(flexibility_offer.c.status, func.count()).group_by(flexibility_offer.c.status)
    deliveries = select(webhook_delivery.c.state, func.count()).group_by(webhook_delivery.c.state)
    by_status = {}
    for status in ActivationStatus:
        query = select(func.count()).select_from(activation).where(is_at(status, now))
        by_status[status.value] = int((await conn.execute(query)).scalar_one())
    all_of = select(func.count()).select_from(settlement)
    return Board(
        {row[0]: int(row[1]) for row in await conn.execute(requests)},
        {row[0]: int(row[1]) for row in await conn.execute(offers)},
        by_status,
        int((await conn.execute(all_of.where(_disputed()))).scalar_one()),
        int((await conn.execute(all_of)).scalar_one()),
        {row[0]: int(row[1]) for row in await conn.execute(deliveries)},
    )


def is_at(status: ActivationStatus, now: datetime) -> ColumnElement[bool]:
    """Match activations of a status, as `Activation.status` computes it."""
    column = activation.c
    here = column.cancelled_at.is_(None)
    over = column.completed_at.is_not(None) | (column.ends_at <= now)
    match status:
        case ActivationStatus.CANCELLED:
            return column.cancelled_at.is_not(None)
        case ActivationStatus.COMPLETED:
            return here & over
        case ActivationStatus.ACTIVE:
            return here & ~over & (column.starts_at <= now)
        case ActivationStatus.NOTIFIED:
            return here & ~over & (column.starts_at > now) & column.dispatch_id.is_not(None)
        case ActivationStatus.SCHEDULED:
            return here & ~over & (column.starts_at > now) & column.dispatch_id.is_(None)


async def listed_activations(
    conn: Connection,
    now: datetime,
    *,
    status: ActivationStatus | None = None,
    party_id: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Activation]:
    """Return activations of a status (and a party), newest first."""
    query = select(activation.c.id).order_by(activation.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(is_at(status, now))
    if party_id is not None:
        query = query.where(activation.c.party_id == party_id)
    if before is not None:
        query = query.where(activation.c.id < before)
    return [await activations.get(conn, one) for one in (await conn.execute(query)).scalars().all()]


def _disputed() -> ColumnElement[bool]:
    """Match settlements that are disputed and not superseded since."""
    newer = settlement.alias("newer")
    superseded = select(newer.c.id).where(newer.c.supersedes == settlement.c.id).correlate(settlement).exists()
    return settlement.c.disputed_at.is_not(None) & ~superseded


async def disputed(conn: Connection, *, before: str | None = None, limit: int = 50) -> list[Settlement]:
    """Return settlements that are disputed and not superseded since, newest first."""
    query = select(settlement.c.id).where(_disputed()).order_by(settlement.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(settlement.c.id < before)
    return [await settlements.get(conn, one) for one in (await conn.execute(query)).scalars().all()]
