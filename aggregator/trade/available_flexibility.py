"""What can still be sold: the pool's p10, less what is offered or sold already.

An activation that was called has its VENs: they are busy, and no longer in the pool. An open offer and an activation
not called yet are subtracted, in the same direction as watts; in the other direction as the share of that pool, because
a VEN that may have to consume more cannot be sold to consume less. What is sold for a part of the time is missing from
all of it: a VEN is in one event at a time.

What is sold for another time counts where a limit looks at both: of the same day with a limit by the day, within the
rest. As many VENs as it will take, in the order in which they would be called, have had that call already.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select

from aggregator.flexibility import portfolio
from aggregator.flexibility.call_limits import counted
from aggregator.flexibility.fleet import Fleet, Floats
from aggregator.flexibility.pool import SOLD_SHARE, needed, pool
from aggregator.flexibility.portfolio import Promised
from aggregator.flexibility.response import probability
from aggregator.grid import Grid
from aggregator.intervals import PowerInterval
from aggregator.selection import Ask, greedy
from aggregator.tables import activation, contract, flexibility_offer, flexibility_request, intervention
from core.direction import Direction
from core.errors import InvalidError
from core.spans import Span
from metrics.days import zone_named
from vtn.services import potential_arrays
from vtn.services.potential_arrays import Batch
from vtn.services.programme import Programme
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, enrolment
from vtn.store.tables import programme as programme_table

CONFIDENCE: Final = 0.9
"""What is sold is the pool's p10: with this probability at least that much is delivered."""
_SMALLEST_PART: Final = 0.5
_RHO: Final = 0.03
"""Correlation of the responses of two VENs, as the pool has it."""
Stamp = frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose flexibility, when and which way. `is_part`: the time is only a part of calls that may be made."""

    programme: Programme
    direction: str
    grid: Grid
    area: str | None = None
    group_ids: tuple[str, ...] = ()
    is_part: bool = False

    @property
    def span(self) -> Span:
        """Its time."""
        return Span(self.grid.start, self.grid.end)

    def parts(self, most: int) -> "list[Scope]":
        """Return its steps as scopes of their own; several steps in one where there are more than `most`."""
        grid = self.grid
        width = ceil(grid.count / most)
        pieces = [
            Grid(grid.at(first), grid.step_s, min(width, grid.count - first)) for first in range(0, grid.count, width)
        ]
        return [replace(self, grid=piece, is_part=True) for piece in pieces]


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Everything that the answer rests on, read in one snapshot. `stamp` names the sales that were known.

    `nominated_w` (T): what the portfolio is to consume, infinite where nobody said; None: nobody asked.
    """

    scope: Scope
    fleet: Fleet
    contrary: Fleet | None
    sold_w: Floats
    contrary_w: Floats
    stamp: Stamp
    nominated_w: Floats | None = None


@dataclass(frozen=True, slots=True)
class _Sale:
    """Power that somebody may still call for, as the most of its options in each step."""

    id: str
    number: int
    direction: str
    area: str | None
    group_ids: tuple[str, ...]
    options: tuple[tuple[PowerInterval, ...], ...]

    @property
    def grid(self) -> Grid:
        """The steps of its events."""
        return Grid.over(self.options[0])

    def power_w(self, grid: Grid) -> Floats:
        most: Floats = np.max([grid.power_w(option) for option in self.options], axis=0)
        return most

    def overlaps(self, grid: Grid) -> bool:
        return any(one.start < grid.end and one.end > grid.start for option in self.options for one in option)

    def missing_w(self, grid: Grid) -> Floats:
        """Return what it takes from each step: beside its own time as much as in it, for its VENs are in its events."""
        power_w = self.power_w(grid)
        edges = [(one.start, one.end) for option in self.options for one in option]
        first, last = min(edge[0] for edge in edges), max(edge[1] for edge in edges)
        beside = np.array([grid.at(n) >= last or grid.at(n + 1) <= first for n in range(grid.count)], dtype=bool)
        return np.where(beside, power_w.max(initial=0.0), power_w)


async def read(
    conn: Connection, scope: Scope, now: datetime, *, stale_after_s: float, batches: Sequence[Batch] | None = None
) -> Basis:
    """Read what `possible_w` works on, from one snapshot. `batches`: the potentials in force, if read before."""
    sales = await _sales(conn, scope, now)
    here = [one for one in sales if one.overlaps(scope.grid)]
    same = [one.missing_w(scope.grid) for one in here if one.direction == scope.direction]
    other = [one.missing_w(scope.grid) for one in here if one.direction != scope.direction]
    nothing = np.zeros(scope.grid.count)
    contrary_w = np.sum(other, axis=0) if other else nothing
    fleet = await load(conn, scope, now, stale_after_s, batches=batches)
    promised = await _promised(conn, scope, [one for one in sales if one not in here], fleet, now, stale_after_s)
    if promised:
        fleet = await load(conn, scope, now, stale_after_s, promised=promised, batches=batches)
    contrary = None
    if contrary_w.any():
        contrary = await load(conn, scope, now, stale_after_s, contrary=True, promised=promised)
    return Basis(
        scope,
        fleet,
        contrary,
        np.sum(same, axis=0) if same else nothing,
        contrary_w,
        _stamp(sales),
    )


async def load(
    conn: Connection,
    scope: Scope,
    now: datetime,
    stale_after_s: float,
    *,
    contrary: bool = False,
    promised: Sequence[Promised] = (),
    batches: Sequence[Batch] | None = None,
) -> Fleet:
    """Return the programme's VENs as candidates in the scope (or in the other direction)."""
    direction = scope.direction
    if contrary:
        direction = Direction(direction).opposite
    return await portfolio.load(
        conn,
        scope.programme,
        scope.span,
        scope.grid.step_s,
        direction,
        now,
        stale_after_s=stale_after_s,
        area=scope.area,
        group_ids=scope.group_ids,
        batches=batches,
        promised=promised,
        is_part=scope.is_part,
    )


async def potentials(conn: Connection, scope: Scope) -> list[Batch]:
    """Return the potentials in force of the programme's VENs, for several looks at them."""
    members = select(enrolment.c.ven_id).where(enrolment.c.programme_id == scope.programme.id)
    return await potential_arrays.batches(conn, ven_ids=members)


async def _promised(
    conn: Connection, scope: Scope, sales: Sequence[_Sale], fleet: Fleet, now: datetime, stale_after_s: float
) -> list[Promised]:
    """Return whom sales of other times will call, as far as a limit of the programme may look at them.

    Nothing where every VEN of the fleet has calls left for all of them.
    """
    free = np.array([why is None for why in fleet.barred], dtype=bool)
    enough = fleet.calls_left[free].min(initial=np.iinfo(np.int64).max) > len(sales)
    if not sales or not free.any() or (enough and not scope.programme.parameters.limits.rest):
        return []
    batches = await potentials(conn, scope)
    found: list[Promised] = []
    for sale in sorted(sales, key=lambda row: (row.grid.start, row.id)):
        grid = sale.grid
        theirs = Scope(scope.programme, sale.direction, grid, sale.area, sale.group_ids)
        candidates = await load(conn, theirs, now, stale_after_s, promised=found, batches=batches)
        power_w = sale.power_w(grid)
        if not any(why is None for why in candidates.barred):
            # So far ahead nobody's potential is known yet: as if they could then what they can now.
            candidates, power_w = fleet, np.full(fleet.size[1], power_w.max())
        ven_ids = await asyncio.to_thread(_takes, candidates, power_w)
        found.append(Promised(ven_ids, grid.start, grid.end))
    return found


def _takes(fleet: Fleet, power_w: Floats) -> tuple[str, ...]:
    """Return the VENs that power takes to be as sure as what is offered: those that would be called, and who follows.

    Takes CPU: use a thread.
    """
    choice = greedy(fleet, Ask(power_w))
    can = np.nan_to_num(fleet.p50_w).mean(axis=1) if fleet.size[1] else np.zeros(len(fleet.ven_ids))
    free = [n for n, why in enumerate(fleet.barred) if why is None and fleet.calls_left[n] > 0 and can[n] > 0]
    queue = list(dict.fromkeys([*choice.called, *choice.reserve, *free]))
    if not queue:
        return ()
    try:
        each_w, chance = float(can[queue].mean()), float(probability(fleet.reliability[queue]).mean())
        count = needed(float(power_w.max()) / SOLD_SHARE, each_w, chance, rho=_RHO, confidence=CONFIDENCE)
    except InvalidError:  # no number of such VENs is sure enough
        count = len(queue)
    return tuple(fleet.ven_ids[n] for n in queue[: max(count, len(choice.called))])


def possible_w(basis: Basis) -> Floats:
    """Return the power (W, whole, never negative) that can be offered in each step, (T,). Takes CPU: use a thread."""
    free = pool(basis.fleet).offer_w
    if basis.contrary is not None:
        other = pool(basis.contrary).offer_w
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(basis.contrary_w > 0, basis.contrary_w / other, 0.0)
        free = free * (1.0 - np.clip(share, 0.0, 1.0))
    left = free - basis.sold_w
    if basis.nominated_w is not None and basis.scope.direction == Direction.REDUCE:
        left = np.minimum(left, basis.nominated_w - basis.sold_w)
    return np.floor(np.maximum(left, 0.0) + 1e-6)


def least_w(basis: Basis) -> Floats:
    """Return the power (W) in each step, (T,), below which nothing is sold.

    It is half of the smallest call: of the least that a home gives at partial power, or as a whole. Who sold less would
    call for more than twice of it, or nobody.
    """
    free = _free(basis.fleet)
    power_w = np.nan_to_num(basis.fleet.p50_w[free])
    power_w = np.fmin(power_w, basis.fleet.set_points[0][free, None])
    smallest = np.where(power_w > 0, power_w, np.inf).min(axis=0, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest * _SMALLEST_PART, 0.0)


def step_w(basis: Basis) -> int | None:
    """Return the smallest step (W) in which homes can be called at partial power; None: they are called as a whole."""
    steps = basis.fleet.set_points[1][_free(basis.fleet)]
    steps = steps[np.isfinite(steps)]
    return int(steps.min()) if steps.size else None


def _free(fleet: Fleet) -> npt.NDArray[np.bool_]:
    return np.array([why is None for why in fleet.barred], dtype=bool) & (fleet.calls_left > 0)


def per_interval(grid: Grid, power_w: Floats, bounds: Sequence[tuple[datetime, datetime]]) -> list[int]:
    """Return the least power (whole W) of the steps of each interval."""
    step = timedelta(seconds=grid.step_s)
    slices = [slice((first - grid.start) // step, (last - grid.start) // step) for first, last in bounds]
    return [int(power_w[one].min()) for one in slices]


async def lock(tx: Transaction, programme_id: str, now: datetime) -> None:
    """Keep others from selling flexibility of the same VENs until this transaction ends."""
    programmes = await _shared(tx.conn, programme_id, now)
    query = select(programme_table.c.id).where(programme_table.c.id.in_(programmes))
    ordered = query.order_by(programme_table.c.id, programme_table.c.version)
    await tx.conn.execute(ordered.with_for_update(key_share=True))


async def holds(conn: Connection, basis: Basis, now: datetime) -> bool:
    """Tell whether nothing was offered, sold or raised since; call it with the lock held."""
    return _stamp(await _sales(conn, basis.scope, now)) <= basis.stamp


async def calls(conn: Connection) -> tuple[int, int]:
    """Return how often anybody was called: while it stays the same, no VEN got busy and no limit was used up."""
    dispatches = await conn.execute(select(func.count()).select_from(dispatch))
    interventions = await conn.execute(select(func.count()).select_from(intervention))
    return int(dispatches.scalar_one()), int(interventions.scalar_one())


async def _shared(conn: Connection, programme_id: str, now: datetime) -> list[str]:
    """Return the programmes that have VENs in common with one, itself included."""
    mine, theirs = enrolment.alias("mine"), enrolment.alias("theirs")
    query = (
        select(theirs.c.programme_id)
        .distinct()
        .join(mine, mine.c.ven_id == theirs.c.ven_id)
        .where((mine.c.programme_id == programme_id) & (mine.c.valid_to.is_(None) | (mine.c.valid_to > now)))
        .where(theirs.c.valid_to.is_(None) | (theirs.c.valid_to > now))
    )
    return sorted({*(await conn.execute(query)).scalars(), programme_id})


async def _sales(conn: Connection, scope: Scope, now: datetime) -> list[_Sale]:
    """Return what is offered or sold and not called yet, of VENs that may be the same.

    In the scope's time, and of its own programme also in the time that its call limits look at.
    """
    programmes = await _shared(conn, scope.programme.id, now)
    rules = scope.programme.parameters
    looked_at = counted(rules.limits, zone_named(rules.time_zone), scope.span)
    found = [*await _open_offers(conn, scope.span, programmes, now), *await _uncalled(conn, scope.span, programmes)]
    if looked_at is not None:
        own = [scope.programme.id]
        found += [*await _open_offers(conn, looked_at, own, now), *await _uncalled(conn, looked_at, own)]
    unique = {one.id: one for one in found}.values()
    return [one for one in unique if None in (scope.area, one.area) or scope.area == one.area]


async def _open_offers(conn: Connection, span: Span, programmes: Sequence[str], now: datetime) -> list[_Sale]:
    offer = flexibility_offer.c
    query = (
        select(offer.id, offer.direction, offer.options, offer.area, flexibility_request.c.wish)
        .join(contract, contract.c.id == offer.contract_id)
        .join(flexibility_request, flexibility_request.c.id == offer.request_id, isouter=True)
        .where((offer.status == "open") & (offer.expires_at > now) & contract.c.programme_id.in_(programmes))
        .where((offer.starts_at < span.end) & (offer.ends_at > span.start))
    )
    return [
        _Sale(
            row.id,
            0,
            row.direction,
            row.wish.get("area") if row.wish else row.area,
            tuple((row.wish or {}).get("group_ids") or ()),
            tuple(from_json(tuple[PowerInterval, ...], option["intervals"]) for option in row.options),
        )
        for row in await conn.execute(query)
    ]


async def _uncalled(conn: Connection, span: Span, programmes: Sequence[str]) -> list[_Sale]:
    one = activation.c
    query = (
        select(one.id, one.modification_number, one.direction, one.intervals, one.terms)
        .join(contract, contract.c.id == one.contract_id)
        .where(one.dispatch_id.is_(None) & one.cancelled_at.is_(None) & contract.c.programme_id.in_(programmes))
        .where((one.starts_at < span.end) & (one.ends_at > span.start))
    )
    return [
        _Sale(
            row.id,
            row.modification_number,
            row.direction,
            row.terms.get("area"),
            tuple(row.terms.get("group_ids") or ()),
            (from_json(tuple[PowerInterval, ...], row.intervals),),
        )
        for row in await conn.execute(query)
    ]


def _stamp(sales: Sequence[_Sale]) -> Stamp:
    return frozenset((one.id, one.number) for one in sales)
