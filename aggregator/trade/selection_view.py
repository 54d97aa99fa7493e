"""Who was chosen for a dispatch and why, and what the choice was made from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Select, func, or_, select

from aggregator.flexibility import inputs, pool
from aggregator.flexibility.fleet import Reason
from aggregator.tables import dispatch_draft, selection, selection_reason
from vtn.store.database import Connection
from vtn.store.tables import site, ven


@dataclass(frozen=True, slots=True)
class SelectedVen:
    """One VEN of a selection: why it was called or not; `power_w`: what it was ordered, mean over the window.

    `whole_w`: what it would have been ordered as a whole, where it was called at partial power.
    """

    ven_id: str
    name: str
    area: str | None
    reason: Reason
    power_w: int
    whole_w: int | None


@dataclass(frozen=True, slots=True)
class About:
    """What a selection was made from and what came out; fields that were not stored are None.

    `target_w`: mean of what was wanted; `tightest`: how many of the free VENs have one call left, or none.
    """

    id: str
    method: str | None
    elapsed_s: float | None
    cost: float | None
    bound: float | None
    gap: float | None
    target_w: float | None
    expected_w: float | None
    short_w: float | None
    waterfall: tuple[pool.Step, ...]
    last_call: int
    unlimited: bool
    mean_calls: float
    most_calls: int


async def counts(conn: Connection, selection_id: str) -> dict[str, int]:
    """Return reason -> how many VENs it was, in the order of `Reason`."""
    query = select(selection_reason.c.reason, func.count().label("vens")).group_by(selection_reason.c.reason)
    rows = await conn.execute(query.where(selection_reason.c.selection_id == selection_id))
    found = {row.reason: int(row.vens) for row in rows}
    return {one.value: found[one.value] for one in Reason if one.value in found}


async def reasons(
    conn: Connection,
    selection_id: str,
    *,
    reason: str | None = None,
    text: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[SelectedVen]:
    """Return VENs of a selection by name, at most `limit` after the name `after`."""
    query = _reasons(selection_id).order_by(ven.c.name).limit(limit)
    if reason is not None:
        query = query.where(selection_reason.c.reason == reason)
    if text:
        query = query.where(or_(*(one.icontains(text, autoescape=True) for one in (ven.c.name, ven.c.id, site.c.area))))
    if after is not None:
        query = query.where(ven.c.name > after)
    return [_selected(row) for row in await conn.execute(query)]


async def by_id(
    conn: Connection, selection_id: str, *, after: str | None = None, limit: int = 200
) -> list[SelectedVen]:
    """Return VENs of a selection by venID, at most `limit` after the venID `after`."""
    query = _reasons(selection_id).order_by(selection_reason.c.ven_id).limit(limit)
    if after is not None:
        query = query.where(selection_reason.c.ven_id > after)
    return [_selected(row) for row in await conn.execute(query)]


def _reasons(selection_id: str) -> Select[Any]:
    return (
        select(selection_reason, ven.c.name, site.c.area)
        .join(ven, ven.c.id == selection_reason.c.ven_id)
        .outerjoin(site, site.c.id == ven.c.site_id)
        .where(selection_reason.c.selection_id == selection_id)
    )


def _selected(row: Any) -> SelectedVen:
    return SelectedVen(row.ven_id, row.name, row.area, Reason(row.reason), row.power_w or 0, row.whole_w)


async def about(conn: Connection, selection_id: str) -> About:
    """Return the figures of a selection; takes CPU for a large fleet."""
    joined = selection.outerjoin(dispatch_draft, dispatch_draft.c.selection_id == selection.c.id)
    query = select(selection.c.inputs, dispatch_draft.c.figures).select_from(joined)
    row = (await conn.execute(query.where(selection.c.id == selection_id))).one()
    result: dict[str, Any] = row.inputs.get("result") or {}
    fleet = inputs.from_json(row.inputs["fleet"])
    steps = (row.figures or {}).get("waterfall") or ()
    waterfall = tuple(pool.Step(**one) for one in steps) if steps else pool.pool(fleet, draws=500).waterfall
    few = fleet.calls_left < 2**31
    return About(
        id=selection_id,
        method=result.get("method"),
        elapsed_s=result.get("elapsed_s"),
        cost=result.get("cost"),
        bound=result.get("bound"),
        gap=result.get("gap"),
        target_w=_mean(row.inputs.get("target_w")),
        expected_w=_mean(result.get("expected_w")),
        short_w=_mean(result.get("short_w")),
        waterfall=waterfall,
        last_call=int((fleet.calls_left[few] <= 1).sum()),
        unlimited=not few.any(),
        mean_calls=float(fleet.calls.mean()) if fleet.calls.size else 0.0,
        most_calls=int(fleet.calls.max(initial=0)),
    )


def _mean(runs: Any) -> float | None:
    values = inputs.unrolled(runs or ())
    return float(np.mean(values)) if values else None
