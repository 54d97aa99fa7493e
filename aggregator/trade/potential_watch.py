"""Tells BRPs when what their contracts can draw on has changed (`potential.changed`).

Looked at are the coming two hours: the p10 of the pool that could be called, in each direction (and area) that the
contract allows. A BRP hears of it when that is a tenth more or less than it heard last, or when it heard nothing for a
day. What it heard is in the deliveries, so that a restart tells nothing twice. Only contracts of BRPs that listen are
reckoned.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import structlog
from sqlalchemy import select

from aggregator.flexibility.pool import pool
from aggregator.grid import Grid
from aggregator.topics import Topic
from aggregator.trade import available_flexibility, contracts
from aggregator.trade.available_flexibility import Scope
from aggregator.trade.contracts import Contract
from core.clock import Clock
from core.errors import EvenloadError
from core.spans import floor_to
from vtn.services import programme
from vtn.services.webhooks import publish, wants
from vtn.store.database import Connection, Database
from vtn.store.tables import webhook_delivery, webhook_subscription

STEP_S: Final = 1800
STEPS: Final = 4
CHANGE: Final = 0.1
"""Part of the power last told by which it has to change."""
LEAST_W: Final = 1000
"""And by so much at least."""
_REMEMBERED: Final = timedelta(days=1)
"""Machine time, like the deliveries."""
_MOST: Final = 1000
_DRAWS: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _View:
    """What is told of: a contract, one direction, one area (None: all)."""

    contract: Contract
    direction: str
    area: str | None

    @property
    def names(self) -> dict[str, str | None]:
        return {"contract_id": self.contract.id, "direction": self.direction, "area": self.area}

    @property
    def key(self) -> tuple[object, ...]:
        return tuple(self.names.values())

    @property
    def pool(self) -> tuple[str, str, str | None]:
        return self.contract.programme_id, self.direction, self.area


class PotentialWatch:
    """One process's look at the pools, every few minutes. Who was silent for `stale_after_s` is left out."""

    def __init__(self, db: Database, clock: Clock, stale_after_s: float) -> None:
        self._db = db
        self._clock = clock
        self._stale_after_s = stale_after_s

    async def turn(self) -> None:
        """Reckon what listening BRPs can draw on, and tell them where it has changed."""
        now = self._clock.now()
        async with self._db.read() as conn:
            parties = await _listening(conn)
            views = [view for party_id in parties for view in await _views(conn, party_id, now)]
            told = {party_id: await _told(conn, party_id) for party_id in parties}
        pools: dict[tuple[str, str, str | None], int] = {}  # several contracts may draw on one
        for view in views:
            try:
                if view.pool not in pools:
                    pools[view.pool] = await self._power_w(view, now)
                if _has_changed(pools[view.pool], told[view.contract.party_id].get(view.key)):
                    await self._tell(view, pools[view.pool], now)
            except EvenloadError as error:
                _log.warning("potential not reckoned", contract=view.contract.id, why=str(error))

    async def _power_w(self, view: _View, now: datetime) -> int:
        async with self._db.read() as conn:
            rules = await programme.get(conn, view.contract.programme_id)
            scope = Scope(rules, view.direction, _ahead(now), view.area)
            fleet = await available_flexibility.load(conn, scope, now, self._stale_after_s)
        found = await asyncio.to_thread(pool, fleet, draws=_DRAWS)
        return int(max(float(np.mean(found.p10_w)), 0.0))

    async def _tell(self, view: _View, power_w: int, now: datetime) -> None:
        """Publish a change, unless another process did so meanwhile."""
        party_id, grid = view.contract.party_id, _ahead(now)
        async with self._db.write() as tx:
            mine = select(webhook_subscription.c.id).where(webhook_subscription.c.party_id == party_id)
            await tx.conn.execute(mine.with_for_update())
            if _has_changed(power_w, (await _told(tx.conn, party_id)).get(view.key)):
                data = {**view.names, "from": grid.start, "until": grid.end, "p10_w": power_w}
                await publish(tx, party_id, Topic.POTENTIAL_CHANGED, data, now)


def _ahead(now: datetime) -> Grid:
    return Grid(floor_to(now, STEP_S), STEP_S, STEPS)


def _has_changed(power_w: int, told_w: int | None) -> bool:
    return told_w is None or abs(power_w - told_w) >= max(LEAST_W, CHANGE * told_w)


async def _listening(conn: Connection) -> list[str]:
    """Return the parties with a subscription to such messages."""
    live = select(webhook_subscription.c.party_id, webhook_subscription.c.events).where(
        webhook_subscription.c.ended_at.is_(None)
    )
    rows = (await conn.execute(live)).all()
    return sorted({row.party_id for row in rows if wants(row.events, Topic.POTENTIAL_CHANGED)})


async def _views(conn: Connection, party_id: str, now: datetime) -> list[_View]:
    known = await contracts.listed(conn, party_id=party_id, limit=_MOST)
    valid = [one for one in known if one.valid_from <= now and (one.valid_to is None or now < one.valid_to)]
    return [
        _View(one, direction, area)
        for one in valid
        for direction in one.limits.directions
        for area in one.limits.areas or (None,)
    ]


async def _told(conn: Connection, party_id: str) -> dict[tuple[object, ...], int]:
    """Return what a party was told last, of what it was told lately, by `_View.key`."""
    query = (
        select(webhook_delivery.c.payload)
        .join(webhook_subscription, webhook_subscription.c.id == webhook_delivery.c.subscription_id)
        .where(webhook_subscription.c.party_id == party_id)
        .where(webhook_subscription.c.ended_at.is_(None))
        .where(webhook_delivery.c.event == Topic.POTENTIAL_CHANGED.value)
        .where(webhook_delivery.c.created_at > datetime.now(UTC) - _REMEMBERED)
        .order_by(webhook_delivery.c.id)
    )
    every = [payload["data"] for payload in (await conn.execute(query)).scalars()]
    return {(one["contract_id"], one["direction"], one["area"]): int(one["p10_w"]) for one in every}
