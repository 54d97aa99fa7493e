"""Prices for VENs: ELECTRICITY_PRICE events, one a day (FN-AM-12, FN-AM-14).

For today and tomorrow, in the programme's time zone, every VEN of a programme has one event with the prices of its
tariffs, as far as they are known without a gap. New prices change what is still to come of it, never what has elapsed
(EV-34). What ought to be and what is are compared at every turn, from rows alone: a turn that was missed, or done
twice, does no harm.

Network and electricity are added where currency and VAT flag agree. Where they do not, a sum would be wrong, and the
event carries electricity alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import insert, select

from aggregator.tables import price_dispatch, price_signal
from aggregator.tariff import tariffs
from aggregator.tariff.price_plan import (
    Action,
    Cancel,
    Change,
    Create,
    Leave,
    days,
    known,
    next_minute,
    open_dispatches,
    plan,
    quotes,
)
from aggregator.tariff.price_series import run_from
from core.clock import Clock
from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.signal import Signal
from vtn.services import dispatch, programme
from vtn.services.dispatch import Order
from vtn.services.programme import Programme
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import upsert
from vtn.store.tables import dispatch as dispatch_table
from vtn.store.tables import programme as programme_table

_log = structlog.get_logger(__name__)

WHO: Final = "price signals"
_ROUNDS: Final = 2
"""Who is taken out of one event gets another in the second round."""


# -- the switch


async def enabled(conn: Connection, programme_id: str) -> bool:
    """Tell whether prices go to the VENs of a programme: yes, unless it was switched off."""
    query = select(price_signal.c.enabled).where(price_signal.c.programme_id == programme_id)
    return (await conn.execute(query)).scalar_one_or_none() is not False


async def switch(tx: Transaction, programme_id: str, now: datetime, *, on: bool, who: str) -> None:
    """Let prices go to the VENs of a programme, or not: then open price events are cancelled. Raises NotFoundError."""
    await programme.get(tx.conn, programme_id)
    before = await enabled(tx.conn, programme_id)
    if before is on:
        return
    row = {"programme_id": programme_id, "enabled": on, "changed_at": now}
    await upsert(tx.conn, price_signal, row, keys=("programme_id",))
    await tx.audit(who, "price signals", programme_id, before, on, at=now)


# -- doing it


class PriceSignals:
    """Keeps the price events of all programmes right. Any number of processes may have one."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def turn(self) -> None:
        """Do what has to be done now. Call it a few times a minute of machine time."""
        now = self._clock.now()
        async with self._db.read() as conn:
            if not await _anything(conn, now):
                return
            due = [one for one in await programme.newest(conn) if await _todo(conn, one, now)]
        for one in due:
            try:
                await self._supply(one.id)
            except EvenloadError as error:
                _log.warning("prices of a programme could not be sent", programme_id=one.id, why=str(error))

    async def _supply(self, programme_id: str) -> None:
        async with self._db.write() as tx:
            first = (programme_table.c.id == programme_id) & (programme_table.c.version == 1)
            await tx.conn.execute(select(programme_table.c.id).where(first).with_for_update())  # one process at a time
            now = self._clock.now()
            one = await programme.get(tx.conn, programme_id)
            for _ in range(_ROUNDS):
                for action in await _todo(tx.conn, one, now):
                    await self._try(tx, one, action, now)

    async def _try(self, tx: Transaction, programme: Programme, action: Action, now: datetime) -> None:
        """Do one thing; what cannot be done (an operator gave a VEN prices of its own) does not stop the others."""
        try:
            async with tx.savepoint():
                await _do(tx, programme, action, now)
        except (ConflictError, InvalidError, NotFoundError) as error:
            _log.warning(
                "prices could not be sent", programme_id=programme.id, action=type(action).__name__, why=str(error)
            )


async def _todo(conn: Connection, programme: Programme, now: datetime) -> list[Action]:
    return await plan(conn, programme, now, on=await enabled(conn, programme.id))


async def _anything(conn: Connection, now: datetime) -> bool:
    """Tell whether there is any tariff, or any price event that may have to end."""
    if await tariffs.in_force(conn, now):
        return True
    query = (
        select(price_dispatch.c.dispatch_id)
        .join(dispatch_table, dispatch_table.c.id == price_dispatch.c.dispatch_id)
        .where(dispatch_table.c.cancelled_at.is_(None) & (dispatch_table.c.ends_at > now))
        .limit(1)
    )
    return (await conn.execute(query)).first() is not None


async def _do(tx: Transaction, programme: Programme, action: Action, now: datetime) -> None:
    match action:
        case Cancel():
            await dispatch.cancel(tx, action.dispatch_id, now, who=WHO)
        case Leave():
            await dispatch.cancel_event(tx, action.event_id, now, who=WHO)
        case Change():
            whole = _length(action.signals)
            await dispatch.change(
                tx, action.dispatch_id, now, who=WHO, start=action.start, duration=whole, signals=action.signals
            )
        case Create():
            length, comment = _length(action.signals), action.quote.comment
            order = Order(programme.id, action.start, length, action.signals, action.ven_ids, comment=comment)
            network_id, electricity_id = action.quote.key
            made = await dispatch.create(tx, order, now, who=WHO)
            await tx.conn.execute(
                insert(price_dispatch).values(
                    dispatch_id=made,
                    programme_id=programme.id,
                    day=action.day,
                    network_id=network_id,
                    electricity_id=electricity_id,
                )
            )


def _length(signals: tuple[Signal, ...]) -> Duration:
    return Duration.of(seconds=sum(one.duration.exact_s for one in signals[0].intervals))


# -- what people see


@dataclass(frozen=True, slots=True)
class DayOfPrices:
    """How a day's prices stand for the VENs of some areas ("" stands for none).

    `known_until` None: no price of the rest of the day is known.
    """

    day: str
    areas: tuple[str, ...]
    network_id: str | None
    electricity_id: str | None
    known_until: datetime | None
    dispatch_ids: tuple[str, ...]
    remark: str | None


async def status(conn: Connection, programme: Programme, now: datetime) -> list[DayOfPrices]:
    """Return what goes to the VENs of a programme today and tomorrow."""
    found = []
    wanted = await quotes(conn, programme.id, now)
    for day, span in days(now, programme.parameters.time_zone).items():
        open_ = await open_dispatches(conn, programme.id, day, now)
        for quote in wanted:
            run = run_from(await known(conn, quote, span), next_minute(now))
            ids = tuple(row.dispatch_id for row in open_ if (row.network_id, row.electricity_id) == quote.key)
            until = run[-1].end if run else None
            found.append(DayOfPrices(day, quote.areas, *quote.key, until, ids, quote.remark))
    return found
