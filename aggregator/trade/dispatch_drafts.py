"""A dispatch that an operator orders from the pool: selected first, looked at, then confirmed just as it was shown.

A draft is a wish and the selection that was made for it: who would be called, at what power, and why everybody else
would not. It changes nothing for anybody. Confirming it looks again whether those VENs can still be called, and orders
them.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import delete, insert, select, update

from aggregator.flexibility import inputs
from aggregator.flexibility.fleet import Fleet, Floats
from aggregator.flexibility.pool import Pool, Step, pool
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.selection import Ask, Choice
from aggregator.selection import select as choose
from aggregator.tables import dispatch_draft, selection, selection_reason
from aggregator.trade import available_flexibility, members
from aggregator.trade.activation_start import finite, ordered_w, store_reasons
from aggregator.trade.available_flexibility import Basis, Scope
from aggregator.trade.requests import LONGEST, MAX_POWER_W
from core.direction import Direction
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Duration
from openadr.model.event import DeliveredEvent, Event, current_value, status_at
from vtn.services import dispatch, event, programme
from vtn.services.dispatch import Order
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import from_json, to_json

_KEEP: Final = timedelta(days=1)
"""World time after which a draft that nobody confirmed is thrown away."""
_FRESH: Final = timedelta(minutes=30)
"""World time for which a draft can be confirmed: then VENs have reported anew."""
_MINUTE_S: Final = 60
_MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """A power (W) that the pool of a programme shall change its consumption by, from `start` for `duration_s` seconds.

    `area` and `group_ids` narrow the pool down; `comment` is shown to the households.
    """

    programme_id: str
    direction: str
    start: datetime
    duration_s: int
    power_w: int
    area: str | None = None
    group_ids: tuple[str, ...] = ()
    comment: str | None = None
    test_event: bool = False

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + timedelta(seconds=self.duration_s)

    @property
    def grid(self) -> Grid:
        """The steps of its events."""
        return Grid.over((PowerInterval(self.start, self.duration_s, self.power_w),))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What some VENs deliver together, mean over the window, W."""

    p10_w: float
    p50_w: float
    p90_w: float


@dataclass(frozen=True, slots=True)
class DraftFigures:
    """What a draft would bring. Powers are means over the window in W; `cost` in the programme's currency.

    `called` the chosen VENs together, `pool` everybody who can be called, `reserve_w` what those in reserve are
    expected to give. `promised_w`: offered or sold already in that time; `possible_w`: what is left to sell.
    """

    method: str
    called: Forecast
    pool: Forecast
    waterfall: tuple[Step, ...]
    called_vens: int
    reserve_vens: int
    ordered_w: float
    expected_w: float
    short_w: float
    reserve_w: float
    promised_w: float
    possible_w: float
    cost: float
    bound: float | None
    gap: float | None
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it is stored. `dispatch_id`: what it became; None: nothing yet."""

    id: str
    selection_id: str
    order: PoolOrder
    figures: DraftFigures
    created_at: datetime
    created_by: str
    dispatch_id: str | None

    def is_fresh(self, now: datetime) -> bool:
        """Tell whether it can still be confirmed."""
        return now - self.created_at <= _FRESH and self.order.start > now


# -- made


async def draft(db: Database, order: PoolOrder, now: datetime, *, stale_after_s: float, who: str) -> str:
    """Select VENs for a wish, store who and why, and return the draft's id; nobody is called.

    Raises InvalidError for a wish that no pool could meet, NotFoundError for an unknown programme.
    """
    _check(order, now)
    async with db.read() as conn:
        rules = await programme.get(conn, order.programme_id)
        scope = Scope(rules, order.direction, order.grid, order.area, order.group_ids)
        basis = await available_flexibility.read(conn, scope, now, stale_after_s=stale_after_s)
    draft_id, selection_id = new_id("drf"), new_id("sel")
    seed = zlib.crc32(selection_id.encode())
    chosen, figures = await asyncio.to_thread(_select, basis, order, seed)
    async with db.write() as tx:
        await _forget(tx, now)
        await _store(tx, selection_id, order, basis.fleet, chosen, seed, now)
        await tx.conn.execute(
            insert(dispatch_draft).values(
                id=draft_id,
                selection_id=selection_id,
                pool_order=to_json(order),
                figures=to_json(figures),
                created_by=who,
                created_at=now,
            )
        )
        after = {"wish": to_json(order), "called": figures.called_vens, "expected_w": round(figures.expected_w)}
        await tx.audit(who, "draft dispatch", draft_id, after=after, at=now)
    return draft_id


def _check(order: PoolOrder, now: datetime) -> None:
    if order.direction not in set(Direction):
        raise InvalidError("The direction is reduce or increase.", field="direction")
    if order.start <= now:
        raise InvalidError(f"The start has passed; it is {now.isoformat()}.", field="start")
    if order.start.timestamp() % _MINUTE_S or order.duration_s % _MINUTE_S or order.duration_s <= 0:
        raise InvalidError("A dispatch begins on a whole minute and lasts whole minutes.", field="start")
    if order.duration_s > LONGEST.total_seconds():
        raise InvalidError(f"A dispatch lasts at most {LONGEST.total_seconds() / 3600:.0f} hours.", field="minutes")
    if not 0 < order.power_w <= MAX_POWER_W:
        raise InvalidError("The power must be above zero.", field="power")


def _select(basis: Basis, order: PoolOrder, seed: int) -> tuple[Choice, DraftFigures]:
    fleet = basis.fleet
    everybody = pool(fleet)
    ask = Ask(np.full(fleet.size[1], float(order.power_w)))
    choice = choose(fleet, ask, seed=seed)
    called, standing_by = list(choice.called), list(choice.reserve)
    ours = pool(_part(fleet, called))
    reserve_w = fleet.p50_w[standing_by].mean(axis=1) @ fleet.reliability[standing_by] if standing_by else 0.0
    figures = DraftFigures(
        method=choice.method,
        called=_forecast(ours),
        pool=_forecast(everybody),
        waterfall=everybody.waterfall,
        called_vens=len(called),
        reserve_vens=len(standing_by),
        ordered_w=float(sum(ordered_w(choice))),
        expected_w=float(choice.expected_w.mean()),
        short_w=float(choice.short_w.max(initial=0.0)),
        reserve_w=float(reserve_w),
        promised_w=float(basis.sold_w.max(initial=0.0)),
        possible_w=float(available_flexibility.possible_w(basis).min(initial=np.inf)) if fleet.size[1] else 0.0,
        cost=_cost(fleet, choice),
        bound=finite(choice.bound),
        gap=finite(choice.gap),
        elapsed_s=choice.elapsed_s,
    )
    return choice, figures


def _part(fleet: Fleet, rows: Sequence[int]) -> Fleet:
    """Return only some VENs of a fleet, as free to be called."""
    index = np.array(rows, dtype=np.int64)
    powers = ("nameplate_w", "p10_w", "p50_w", "p90_w", "reliability", "price")
    counts = ("calls_left", "calls", "last_call_s", "area")
    return replace(
        fleet,
        ven_ids=tuple(fleet.ven_ids[row] for row in rows),
        barred=tuple(fleet.barred[row] for row in rows),
        **{name: getattr(fleet, name)[index] for name in (*powers, *counts)},
    )


def _forecast(pool: Pool) -> Forecast:
    return Forecast(*(float(row.mean()) if row.size else 0.0 for row in (pool.p10_w, pool.p50_w, pool.p90_w)))


def _cost(fleet: Fleet, choice: Choice) -> float:
    """Return what the rewards of the called VENs come to, if each responds as often as usual."""
    energy_kwh = choice.power_w.sum(axis=1) * fleet.step_s / 3.6e6
    return float(energy_kwh @ (np.nan_to_num(fleet.price) * np.nan_to_num(fleet.reliability)))


async def _store(
    tx: Transaction, selection_id: str, order: PoolOrder, fleet: Fleet, choice: Choice, seed: int, now: datetime
) -> None:
    content: dict[str, Any] = {
        "activation_id": None,
        "seed": seed,
        "target_w": inputs.runs(np.full(fleet.size[1], float(order.power_w))),
        "fleet": await asyncio.to_thread(inputs.to_json, fleet),
        "reserve": [fleet.ven_ids[row] for row in choice.reserve],
        "orders": {fleet.ven_ids[row]: inputs.runs(choice.power_w[row]) for row in choice.called},
        "result": {
            "method": choice.method,
            "expected_w": inputs.runs(choice.expected_w),
            "short_w": inputs.runs(choice.short_w),
            "cost": finite(choice.cost),
            "bound": finite(choice.bound),
            "gap": finite(choice.gap),
            "elapsed_s": finite(choice.elapsed_s),
        },
    }
    await tx.conn.execute(insert(selection).values(id=selection_id, dispatch_id=None, inputs=content, created_at=now))
    await store_reasons(tx, selection_id, fleet, choice)


async def _forget(tx: Transaction, now: datetime) -> None:
    """Throw old drafts away that became nothing, with their selections."""
    open_ = selection.c.dispatch_id.is_(None) & (dispatch_draft.c.created_at < now - _KEEP)
    query = select(selection.c.id).join(dispatch_draft, dispatch_draft.c.selection_id == selection.c.id).where(open_)
    old = list((await tx.conn.execute(query)).scalars())
    for table, column in (
        (dispatch_draft, dispatch_draft.c.selection_id),
        (selection_reason, selection_reason.c.selection_id),
        (selection, selection.c.id),
    ):
        await tx.conn.execute(delete(table).where(column.in_(old)))


# -- read


async def get(conn: Connection, draft_id: str) -> Draft:
    """Return a draft. Raises NotFoundError, also for one that was thrown away."""
    query = (
        select(dispatch_draft, selection.c.dispatch_id)
        .join(selection, selection.c.id == dispatch_draft.c.selection_id)
        .where(dispatch_draft.c.id == draft_id)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError("This draft is not there (any more); begin a new dispatch.")
    return Draft(
        row.id,
        row.selection_id,
        from_json(PoolOrder, row.pool_order),
        from_json(DraftFigures, row.figures),
        row.created_at,
        row.created_by,
        row.dispatch_id,
    )


async def orders(conn: Connection, draft: Draft) -> dict[str, Floats]:
    """Return venID -> power (T), W, of those whom a draft would call."""
    query = select(selection.c.inputs["orders"]).where(selection.c.id == draft.selection_id)
    found = (await conn.execute(query)).scalar_one_or_none() or {}
    return {ven_id: np.array(inputs.unrolled(row), np.float64) for ven_id, row in found.items()}


def order(order: PoolOrder, powers: Mapping[str, Floats]) -> Order:
    """Return the dispatch of a draft: a LOAD_DISPATCH event with its own values for each VEN."""
    grid = order.grid
    return Order(
        programme_id=order.programme_id,
        start=order.start,
        duration=Duration.of(seconds=order.duration_s),
        signals=(members.signal(grid),),
        ven_ids=tuple(powers),
        own_values={ven_id: members.values(power_w, order.direction) for ven_id, power_w in powers.items()},
        direction=order.direction,
        test_event=order.test_event,
        comment=order.comment,
    )


class _Undo(Exception):  # noqa: N818  no error: it ends a transaction that was only a rehearsal
    """Nothing of this is kept."""


async def rehearse(db: Database, order: Order, now: datetime, *, who: str) -> tuple[DeliveredEvent, ...]:
    """Return the events that an order's first VEN would get for it, just as they would be sent; nothing is kept.

    Raises what `dispatch.create` raises.
    """
    sent: tuple[DeliveredEvent, ...] = ()
    with contextlib.suppress(_Undo):
        async with db.write() as tx:
            dispatch_id = await dispatch.create(tx, order, now, who=who)
            listed = await event.of_dispatch(tx.conn, dispatch_id)
            sent = tuple(_as_sent(one, now) for _, one in listed)
            raise _Undo
    return sent


def _as_sent(event: Event, now: datetime) -> DeliveredEvent:
    """Return an event as a delivery of this moment has it."""
    signals = tuple(replace(signal, current_value=current_value(signal, event, now)) for signal in event.signals)
    return DeliveredEvent(replace(event, signals=signals), status_at(event, now))


# -- confirmed


async def confirm(db: Database, draft_id: str, now: datetime, *, stale_after_s: float, who: str) -> str:
    """Order what a draft shows and return the dispatch's id; dispatch, events and selection are committed together.

    Raises ConflictError for a draft that was confirmed already, is too old, calls nobody, or names VENs that cannot be
    called any more.
    """
    async with db.write() as tx:
        one = await get(tx.conn, draft_id)
        await available_flexibility.lock(tx, one.order.programme_id, now)
        one = await get(tx.conn, draft_id)
        if one.dispatch_id is not None:
            raise ConflictError("This draft was confirmed already.")
        if not one.is_fresh(now):
            raise ConflictError("This draft is too old, or its start has passed; choose again.")
        powers = await orders(tx.conn, one)
        if not powers:
            raise ConflictError("Nobody would be called; ask for another time or a wider pool.")
        await _check_free(tx.conn, one, powers, now, stale_after_s)
        dispatch_id = await dispatch.create(tx, order(one.order, powers), now, who=who)
        made_from = update(selection).where(selection.c.id == one.selection_id)
        await tx.conn.execute(made_from.values(dispatch_id=dispatch_id))
        after = {"dispatch_id": dispatch_id, "called": len(powers)}
        await tx.audit(who, "confirm draft", draft_id, after=after, at=now)
    return dispatch_id


async def _check_free(
    conn: Connection, draft: Draft, powers: Mapping[str, Floats], now: datetime, stale_after_s: float
) -> None:
    """Raise ConflictError if one of the chosen cannot be called any more."""
    wish = draft.order
    rules = await programme.get(conn, wish.programme_id)
    scope = Scope(rules, wish.direction, wish.grid, wish.area, wish.group_ids)
    fleet = await available_flexibility.load(conn, scope, now, stale_after_s)
    free = {ven_id for ven_id, why in zip(fleet.ven_ids, fleet.barred, strict=True) if why is None}
    gone = sorted(set(powers) - free)
    if gone:
        known = dict(zip(fleet.ven_ids, fleet.barred, strict=True))
        shown = ", ".join(f"{ven_id} ({known.get(ven_id) or 'takes no part'})" for ven_id in gone[:_MOST_NAMED])
        more = f" and {len(gone) - _MOST_NAMED} more" if len(gone) > _MOST_NAMED else ""
        raise ConflictError(f"{len(gone)} of the chosen VENs cannot be called any more: {shown}{more}. Choose again.")
