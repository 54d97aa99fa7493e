"""How likely a VEN responds: the mean of a Beta distribution over what it did when it was called.

It begins at 0.8 with the weight of five calls; each later call of a VEN takes 3 % off the weight of those before.
Only what was seen counts: a refusal or silence, and a delivery that was measured. Who says yes and is not measured
proves nothing, and who has no meter at all is not judged (NaN).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import numpy as np
from sqlalchemy import ColumnElement, Select, case, func, select

from aggregator.flexibility.fleet import Floats
from openadr.model.event import Event, ResponseRequired
from openadr.model.opt import OptSource, OptType
from vtn.services import learning
from vtn.services.opt import SPEAKS_FOR_VEN
from vtn.store.database import Connection
from vtn.store.rows import from_json
from vtn.store.tables import dispatch, evaluation, event, opt

PRIOR: Final = (4.0, 1.0)
DECAY: Final = 0.97
ACTIVE_FROM: Final = 0.5
"""The performance ratio from which a VEN counts as active."""
_MOST_DISPATCHES: Final = 30
"""With the decay, what lies further back weighs 40 % at most."""

_RANK: Final = case((opt.c.source == OptSource.OPERATOR, 2), (opt.c.source == OptSource.CREATE_OPT, 1), else_=0)


def effective_opts(events: Select[Any]) -> Select[Any]:
    """Return the query of (event_id, opt_type): the opt that counts for the whole VEN (OP-08) in each of the events."""
    place = func.row_number().over(partition_by=opt.c.event_id, order_by=(_RANK.desc(), opt.c.sequence.desc()))
    ranked = (
        select(opt.c.event_id, opt.c.opt_type, place.label("place"))
        .where(opt.c.event_id.in_(events) & SPEAKS_FOR_VEN)
        .subquery()
    )
    return select(ranked.c.event_id, ranked.c.opt_type).where(ranked.c.place == 1)


async def reliability(conn: Connection, index: Mapping[str, int], members: Select[Any], now: datetime) -> Floats:
    """Return the probability (N) that each VEN responds; `index` gives its place, `members` selects the venIDs.

    Active means: it answered optIn, or was not to answer, and was measured to deliver half of what was asked. A call
    that it followed and nobody could measure (yet) is left out. NaN for a VEN without a meter (`learning.metered`).
    """
    recent = await _recent(conn, now)
    opts = effective_opts(select(event.c.id).where(event.c.dispatch_id.in_(recent))).subquery()
    query = (
        select(event.c.ven_id, event.c.dispatch_id, event.c.cancelled_at, opts.c.opt_type)
        .select_from(event.outerjoin(opts, opts.c.event_id == event.c.id))
        .where(event.c.dispatch_id.in_(recent) & event.c.ven_id.in_(members))
    )
    newest_first = {dispatch_id: place for place, dispatch_id in enumerate(recent)}
    rows = [
        (newest_first[dispatch_id], ven_id, dispatch_id, said or recent[dispatch_id].silence)
        for ven_id, dispatch_id, cancelled_at, said in await conn.execute(query)
        if ven_id in index and (cancelled_at is None or cancelled_at > recent[dispatch_id].starts_at)
    ]
    ratios = await _ratios(conn, recent)
    seen: defaultdict[str, list[bool]] = defaultdict(list)
    for _, ven_id, dispatch_id, said in sorted(rows, key=itemgetter(0)):
        ratio = ratios.get((dispatch_id, ven_id))
        if said != OptType.IN:
            seen[ven_id].append(False)
        elif ratio is not None:
            seen[ven_id].append(ratio >= ACTIVE_FROM)
    metered = await learning.metered(conn, members)
    return np.array([learnt(seen[ven_id]) if ven_id in metered else np.nan for ven_id in index], dtype=np.float64)


def learnt(active: Iterable[bool]) -> float:
    """Return the probability that a VEN responds, from whether it was active in each of its calls, newest first."""
    weight = 1.0
    good, bad = PRIOR
    for one in active:
        good, bad = (good + weight, bad) if one else (good, bad + weight)
        weight *= DECAY
    return good / (good + bad)


@dataclass(frozen=True, slots=True)
class _Call:
    """When a dispatch began, and what silence meant in it: where no answer was wanted, that a VEN stayed in."""

    starts_at: datetime
    silence: OptType | None


async def _recent(conn: Connection, now: datetime) -> dict[str, _Call]:
    """Return the dispatches that ended last, newest first; tests and mere signals are no calls."""
    query = (
        select(dispatch.c.id, dispatch.c.starts_at, dispatch.c.event)
        .where(dispatch.c.direction.is_not(None) & (dispatch.c.ends_at <= now))
        .order_by(dispatch.c.ends_at.desc(), dispatch.c.id.desc())
        .limit(_MOST_DISPATCHES)
    )
    found = [(row.id, row.starts_at, from_json(Event, row.event)) for row in await conn.execute(query)]
    return {
        dispatch_id: _Call(starts_at, OptType.IN if shared.response_required is ResponseRequired.NEVER else None)
        for dispatch_id, starts_at, shared in found
        if not shared.is_test
    }


async def _ratios(conn: Connection, dispatch_ids: Collection[str]) -> dict[tuple[str, str], float]:
    """Return (dispatch, VEN) -> performance ratio in the newest evaluation, where it is known."""
    query = newest_results(conn.dialect.name, dispatch_ids, ("performance_ratio",))
    return {
        (dispatch_id, ven_id): float(ratio)
        for dispatch_id, ven_id, ratio in await conn.execute(query)
        if ratio is not None
    }


def newest_results(
    dialect: str, dispatch_ids: Collection[str], names: Sequence[str], *, only: str | None = None
) -> Select[Any]:
    """Return the query of (dispatch_id, ven_id, named fields) of each VEN (or only of one) in the newest evaluations.

    The database takes the results apart: whole ones would be megabytes.
    """
    last = (
        select(evaluation.c.dispatch_id, func.max(evaluation.c.version).label("version"))
        .where(evaluation.c.dispatch_id.in_(dispatch_ids))
        .group_by(evaluation.c.dispatch_id)
        .subquery()
    )
    newest = (evaluation.c.dispatch_id == last.c.dispatch_id) & (evaluation.c.version == last.c.version)
    fields = ("ven_id", *names)
    if dialect == "postgresql":
        one: ColumnElement[Any] = func.jsonb_array_elements(evaluation.c.result["vens"]).column_valued(
            "one", joins_implicitly=True
        )
        columns = [func.jsonb_extract_path_text(one, name).label(name) for name in fields]
    else:
        one = (
            func.json_each(evaluation.c.result, "$.vens")
            .table_valued("value", name="one", joins_implicitly=True)
            .c.value
        )
        columns = [func.json_extract(one, f"$.{name}").label(name) for name in fields]
    query = select(evaluation.c.dispatch_id, *columns).join(last, newest)
    return query if only is None else query.where(columns[0] == only)
