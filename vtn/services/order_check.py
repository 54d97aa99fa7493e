"""What speaks against an order, found before it goes out. Warnings, no refusals: people may know better."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, or_, select

from core.direction import Direction
from metrics.days import zone_named
from metrics.needs import Need
from metrics.presets import PRESETS
from openadr.model.event import ActivePeriod, Event
from openadr.model.registration import Profile
from openadr.model.signal import Signal
from vtn.services import agreed, programme, recipients
from vtn.services import dispatch as dispatches
from vtn.services.dispatch import Order
from vtn.services.programme import Programme
from vtn.store.database import Connection
from vtn.store.rows import in_parts
from vtn.store.tables import dispatch, event, potential, resource, ven

MOST_W: Final = 100_000.0
"""The power of a VEN of which neither a nameplate nor a potential is known, W: more than homes are connected with."""
_MOST_NAMED: Final = 3
_MOST_DISPATCHES: Final = 5
_MOST_READ: Final = 1000
"""Of so many VENs their own figures are read; of more only the nameplates."""


def direction_of(signals: Sequence[Signal]) -> str | None:
    """Return what signals order of consumption; None where they order nothing of it, or both."""
    signs: set[int] = set()
    for signal in signals:
        values = [interval.value for interval in signal.intervals if interval.value]
        if (signal.name, signal.type) == ("SIMPLE", "level"):
            signs |= {-1 for _ in values}
        elif (signal.name, signal.type) == ("LOAD_DISPATCH", "delta"):
            signs |= {1 if value > 0 else -1 for value in values}
    return {frozenset({each.sign}): each.value for each in Direction}.get(frozenset(signs))


def trial(order: Order, now: datetime) -> Event:
    """Return an event as an order's VENs will get it, for a transport to judge."""
    return Event(
        "trial",
        0,
        "http://example.com",
        now,
        ActivePeriod(order.start, order.duration),
        order.signals,
        order.target,
        priority=order.priority,
        vtn_comment=order.comment,
        baseline=order.baseline,
    )


async def warnings(conn: Connection, order: Order, now: datetime) -> list[str]:
    """Return what speaks against an order, a sentence each. Raises as `dispatch.create` for one that cannot be."""
    rules, ven_ids, _ = await dispatches.checked(conn, order, now)
    vens = await _vens(conn, ven_ids)
    enrolled = set(await programme.enrolled(conn, order.programme_id, now)) if order.selects else set(ven_ids)
    strangers = [ven_id for ven_id in ven_ids if ven_id not in enrolled]
    unregistered = [ven_id for ven_id, one in vens.items() if one.registered_at is None]
    found = _signs(order)
    found += _beside_baseline(order)
    found += _too_new(order, vens)
    if strangers:
        does = "does" if len(strangers) == 1 else "do"
        found.append(f"{_named(strangers, vens)} {does} not take part in this programme.")
    found += await _control(conn, order, rules, vens)
    found += await _unagreed(conn, order, rules, vens)
    found += await _others(conn, order, vens)
    found += await _too_much(conn, order, vens)
    if unregistered:
        does = "is not registered: it gets" if len(unregistered) == 1 else "are not registered: they get"
        found.append(f"{_named(unregistered, vens)} {does} the event only after registering, if in time.")
    return found


async def against_length(conn: Connection, order: Order) -> list[str]:
    """Return whether an order is shorter or longer than its programme's calls, a sentence. Raises NotFoundError."""
    limits = (await programme.get(conn, order.programme_id)).parameters.limits
    end = order.duration.after(order.start) if order.duration else None
    if end is not None and limits.shortest is not None and end < limits.shortest.after(order.start):
        return [f"A call of this programme lasts at least {limits.shortest}, not {order.duration}."]
    if limits.longest is not None and (end is None or end > limits.longest.after(order.start)):
        lasts = f", not {order.duration}" if order.duration else "; this one has no end"
        return [f"A call of this programme lasts at most {limits.longest}{lasts}."]
    return []


async def _control(conn: Connection, order: Order, rules: Programme, vens: Mapping[str, Any]) -> list[str]:
    """Return who of the programme's control group is called, or left out of groups and areas."""
    control = set(await programme.control_homes(conn, rules.parameters))
    called = sorted(control & set(vens))
    found = []
    if called:
        does, them = ("is", "it is") if len(called) == 1 else ("are", "they are")
        found.append(f"{_named(called, vens)} {does} in the control group: once called, {them} not counted there.")
    members = await recipients.members(conn, order.group_ids, order.areas) if control else set()
    if left_out := len((members & control) - set(vens)):
        does = "VEN of the control group is" if left_out == 1 else "VENs of the control group are"
        found.append(f"{left_out} {does} left out.")
    return found


async def _unagreed(conn: Connection, order: Order, rules: Programme, vens: Mapping[str, Any]) -> list[str]:
    """Return with whom nothing was agreed on which the programme's baseline could rest."""
    method = PRESETS.get(rules.parameters.baseline)
    if order.direction is None or method is None or Need.AGREED not in method.needs:
        return []
    day = order.start.astimezone(zone_named(rules.parameters.time_zone)).date()
    agreements = await agreed.of_each(conn, [method.id], list(vens), day)
    without = [ven_id for ven_id in vens if ven_id not in agreements]
    if not without:
        return []
    have = "has" if len(without) == 1 else "have"
    return [f"{_named(without, vens)} {have} no agreed baseline for that day: what is delivered cannot be measured."]


def _too_new(order: Order, vens: Mapping[str, Any]) -> list[str]:
    """Return which VENs do not get the event, since 2.0a cannot say what it says (PA-03, PA-04)."""
    older = [ven_id for ven_id, row in vens.items() if row.protocol_version == Profile.A]
    does = "speaks OpenADR 2.0a: it does" if len(older) == 1 else "speak OpenADR 2.0a: they do"
    target = order.target
    if older and not any(signal.name == "SIMPLE" for signal in order.signals):
        return [f"{_named(older, vens)} {does} not get the event, since it has no SIMPLE signal."]
    if older and target and not (target.group_ids or target.resource_ids or target.party_ids):
        return [f"{_named(older, vens)} {does} not get the event, since 2.0a has no names for whom it is."]
    return []


def _beside_baseline(order: Order) -> list[str]:
    """Return whether some of an event has no baseline, though it brings one."""
    if order.baseline is None:
        return []
    end = order.duration.after(order.start) if order.duration else None
    known_until = order.baseline.duration.after(order.baseline.start)
    if order.baseline.start <= order.start and end is not None and end <= known_until:
        return []
    return [f"The baseline reaches from {order.baseline.start.isoformat()} to {known_until.isoformat()} only."]


def _signs(order: Order) -> list[str]:
    implied = direction_of(order.signals)
    powers = [one for one in order.signals if (one.name, one.type) == ("LOAD_DISPATCH", "delta")]
    signs = {interval.value > 0 for one in powers for interval in one.intervals if interval.value}
    if len(powers) > 1 and len(signs) > 1:
        return ["The order asks for less and for more consumption at once."]
    if order.direction is not None and implied is not None and order.direction != implied:
        return [f"The order is said to {order.direction} consumption, and its values {implied} it."]
    return []


async def _vens(conn: Connection, ven_ids: Sequence[str]) -> dict[str, Any]:
    columns = select(ven.c.id, ven.c.name, ven.c.registered_at, ven.c.protocol_version)
    return {row.id: row for some in in_parts(ven_ids) for row in await conn.execute(columns.where(ven.c.id.in_(some)))}


# -- other orders


async def _others(conn: Connection, order: Order, vens: Mapping[str, Any]) -> list[str]:
    """Return which other dispatches call the same VENs in that time: against this one, or for the same once more."""
    end = order.duration.after(order.start) if order.duration else None
    query = (
        select(event.c.ven_id, dispatch.c.id, dispatch.c.direction)
        .join(dispatch, dispatch.c.id == event.c.dispatch_id)
        .where(dispatch.c.direction.is_not(None) & event.c.cancelled_at.is_(None))
        .where(or_(dispatch.c.ends_at.is_(None), dispatch.c.ends_at > order.start))
    )
    if end is not None:
        query = query.where(dispatch.c.starts_at < end)
    direction = order.direction or direction_of(order.signals)
    if direction is None:
        return []
    same: dict[tuple[str, str], list[str]] = defaultdict(list)
    for some in in_parts(list(vens)):
        for row in await conn.execute(query.where(event.c.ven_id.in_(some))):
            same[row.direction, row.id].append(row.ven_id)
    # What contradicts comes first.
    ranked = sorted(same.items(), key=lambda item: (item[0][0] == direction, item[0][1]))
    found = []
    for (other, dispatch_id), ven_ids in ranked[:_MOST_DISPATCHES]:
        be = "is" if len(ven_ids) == 1 else "are"
        if other == direction:
            found.append(f"{_named(ven_ids, vens)} {be} called to {other} in that time already, by {dispatch_id}.")
        else:
            found.append(
                f"{_named(ven_ids, vens)} {be} called to {other} in that time, by {dispatch_id}: this order to "
                f"{direction} contradicts it."
            )
    if len(ranked) > _MOST_DISPATCHES:
        more = len(ranked) - _MOST_DISPATCHES
        found.append(f"{more} more dispatch{' calls' if more == 1 else 'es call'} the same VENs in that time.")
    return found


# -- powers


async def _too_much(conn: Connection, order: Order, vens: Mapping[str, Any]) -> list[str]:
    """Return which VENs are ordered more than they can: by nameplate, by their potential, or by any sense."""
    shared_w = _most_w(order.signals, {})
    ordered_w = dict.fromkeys(vens, shared_w) | {
        ven_id: _most_w(order.signals, own) for ven_id, own in order.own_values.items() if ven_id in vens
    }
    asked = [ven_id for ven_id, power_w in ordered_w.items() if power_w]
    limit_w = await _limits(conn, asked) if asked else {}
    over = [ven_id for ven_id in asked if ordered_w[ven_id] > limit_w.get(ven_id, MOST_W)]
    if not over:
        return []
    worst = max(over, key=lambda ven_id: ordered_w[ven_id] / max(limit_w.get(ven_id, MOST_W), 1.0))
    least = f"{limit_w[worst]:,.0f} W" if worst in limit_w else f"the {MOST_W / 1000:,.0f} kW that a home can have"
    text = f"{ordered_w[worst]:,.0f} W, more than {least}"
    if len(over) == 1:
        return [f"{vens[worst].name} is ordered {text}."]
    return [f"{_named(over, vens)} are ordered more than they can: {vens[worst].name} {text}."]


def _most_w(signals: Sequence[Signal], own: Mapping[str, Sequence[float]]) -> float:
    """Return the largest power (W) of any interval that signals order of one VEN; 0 where they name none."""
    most_w = 0.0
    for signal in signals:
        if signal.name != "LOAD_DISPATCH" or signal.type not in ("delta", "setpoint") or signal.item_base is None:
            continue
        values = own.get(signal.signal_id) or [interval.value for interval in signal.intervals]
        most_w = max(most_w, max(map(abs, values), default=0.0) * signal.item_base.factor)
    return most_w


async def _limits(conn: Connection, ven_ids: Collection[str]) -> dict[str, float]:
    """Return what VENs can have or change at most (W), as far as anything is known: nameplates, or their own word."""
    found: dict[str, float] = {}
    nominal = select(resource.c.ven_id, func.sum(resource.c.nominal_w).label("power_w")).group_by(resource.c.ven_id)
    figures = select(potential.c.ven_id, potential.c.direction, potential.c.p90_w).where(
        potential.c.superseded_at.is_(None)
    )
    read = list(ven_ids) if len(ven_ids) <= _MOST_READ else []
    for some in in_parts(read):
        told: dict[tuple[str, str], float] = defaultdict(float)
        for row in await conn.execute(figures.where(potential.c.ven_id.in_(some))):
            told[row.ven_id, row.direction] += max((value or 0.0 for value in row.p90_w), default=0.0)
        for (ven_id, _), power_w in told.items():
            found[ven_id] = max(found.get(ven_id, 0.0), power_w)
    for some in in_parts(list(ven_ids)):
        plates = await conn.execute(nominal.where(resource.c.ven_id.in_(some) & resource.c.nominal_w.is_not(None)))
        for plate in plates:
            found[plate.ven_id] = max(found.get(plate.ven_id, 0.0), float(plate.power_w))
    return {ven_id: power_w for ven_id, power_w in found.items() if power_w > 0}


def _named(ven_ids: Sequence[str], vens: Mapping[str, Any]) -> str:
    """Return the names of a few VENs, and how many more there are."""
    names = sorted(str(vens[ven_id].name) for ven_id in ven_ids)
    shown, more = names[:_MOST_NAMED], len(names) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
