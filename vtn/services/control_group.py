"""A programme's control group: drawing one by chance, and what its homes used while nobody called them.

Who is in it is read from the group of VENs as it is now. A member that was called, by any programme, or that had an
outage, is left out of the mean: what it used was not its own choice. What a home exports is taken off.
"""

import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import numpy as np

from core.errors import ConflictError, InvalidError
from core.spans import Span
from metrics.control import Control, ControlMean
from metrics.control_group import LEAST_HOMES
from metrics.days import Bools, Floats, Ints, to_days, to_local_s, zone_named
from metrics.method import Calendar
from vtn.services import event_days, fleet, load_profile, outages, programme
from vtn.services.fleet import Group
from vtn.services.programme import Programme, Spread
from vtn.store.database import Connection, Transaction
from vtn.store.rows import evenly, in_parts

MOST_HOMES: Final = 2_000
"""Of a larger group so many homes speak for all, spread evenly over their ids: the mean of more is hardly surer."""
MOST_ON_DAYS: Final = 300
"""As many of them are asked about months of days."""
MOST_PERCENT: Final = 50
_DAY_S: Final = 86_400
_SOME: Final = 500
_SOME_DAYS: Final = 100
"""Homes that are read at once, of one event and of months."""
_ENOUGH: Final = 0.9
"""Who lacks more of the hours looked at is left out: where homes come and go, the mean changes without any cause."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A control group drawn by chance out of `enrolled` VENs, and the programme's new version, which names it.

    The same `seed`, share and VENs draw the same ones again.
    """

    group: Group
    programme: Programme
    enrolled: int
    seed: int


async def draw(
    tx: Transaction,
    programme_id: str,
    percent: float,
    now: datetime,
    *,
    who: str,
    seed: int | None = None,
    name: str | None = None,
) -> Drawn:
    """Draw that share of a programme's VENs by chance, make a group of them, and let it be the control group.

    Raises NotFoundError; ConflictError where there is a control group, or a group of that name, already; InvalidError
    for a share that leaves too few in it or that no chance decides.
    """
    rules = await programme.get(tx.conn, programme_id)
    if rules.parameters.control_group is not None:
        raise ConflictError("This programme has a control group already; take it out of the programme first.")
    if not 0 < percent <= MOST_PERCENT:
        raise InvalidError(f"A control group is up to {MOST_PERCENT} % of the VENs that take part.", field="share")
    enrolled = await programme.enrolled(tx.conn, programme_id, now)
    count = round(len(enrolled) * percent / 100)
    if count < LEAST_HOMES:
        raise InvalidError(
            f"{percent:g} % of {len(enrolled)} VENs are {count}, and a control group needs {LEAST_HOMES} at least.",
            field="share",
        )
    chance = secrets.randbelow(2**31) if seed is None else seed
    chosen = sorted(random.Random(chance).sample(enrolled, count))  # noqa: S311  to be drawn again, not to be secret
    group = await fleet.create_group(tx, name or f"{rules.name[:50]}: control group {rules.version + 1}", now, who=who)
    for some in in_parts(chosen, fleet.MOST_NAMED):
        await fleet.add_to_group(tx, group.id, some, now, who=who)
    parameters = replace(rules.parameters, control_group=group.id)
    changed = await programme.change(tx, programme_id, rules.name, parameters, now, who=who)
    after = {"group": group.id, "share": percent, "seed": chance, "drawn": count, "enrolled": len(enrolled)}
    await tx.audit(who, "draw control group", f"{changed.id}/{changed.version}", after=after, at=now)
    return Drawn(replace(group, members=count), changed, len(enrolled), chance)


async def of_event(conn: Connection, rules: Programme, event: Span) -> Control | None:
    """Return what the control group used from a day before an event to its end; None: the programme has none.

    Counted are members that were in no event and had no outage in that time, and of which nine tenths of it is known.
    Where readings that are longer than an interval are spread by what was ordered, it goes on for a day: so far they
    may reach.
    """
    if rules.parameters.control_group is None:
        return None
    step_s, by_order = rules.parameters.interval_s, rules.parameters.spread is Spread.BY_ORDER
    period = Span(event.start - timedelta(seconds=_DAY_S), event.end or event.start)
    starts_s, looked_at = _grid(period, step_s, load_profile.LONGEST_S if by_order else 0)
    ven_ids = evenly(await programme.control_homes(conn, rules.parameters), MOST_HOMES)
    busy = await event_days.others(conn, ven_ids, None, period)
    dark = await outages.of_each(conn, ven_ids, period)
    mean = ControlMean(starts_s, step_s)
    for some in in_parts([ven_id for ven_id in ven_ids if ven_id not in busy and ven_id not in dark], _SOME):
        energy_wh = await _energies(conn, some, starts_s, step_s)
        mean.add(energy_wh[np.isfinite(energy_wh[:, :looked_at]).mean(axis=1) >= _ENOUGH])
    return mean.control()


async def on_days(conn: Connection, rules: Programme, period: Span) -> Control | None:
    """Return what the control group used on days long past, for placebo events; None: the programme has none.

    Of at most `MOST_ON_DAYS` of its homes. A local day counts of a home that no event and no outage of it touches and
    of which nine tenths are known.
    """
    if rules.parameters.control_group is None:
        return None
    step_s = rules.parameters.interval_s
    starts_s, _ = _grid(period, step_s, 0)
    ven_ids = evenly(await programme.control_homes(conn, rules.parameters), MOST_ON_DAYS)
    busy = await event_days.others(conn, ven_ids, None, period)
    dark = await outages.of_each(conn, ven_ids, period)
    zone = zone_named(rules.parameters.time_zone)
    days = to_local_s(starts_s, zone) // _DAY_S

    def touched(ven_id: str) -> Iterable[tuple[int, int]]:
        for span in (*busy.get(ven_id, ()), *dark.get(ven_id, ())):
            last = min(span.end or period.end or period.start, period.end or period.start)
            yield to_days(span.start.astimezone(zone).date()), to_days(last.astimezone(zone).date())

    mean = ControlMean(starts_s, step_s)
    for some in in_parts(ven_ids, _SOME_DAYS):
        energy_wh = await _energies(conn, some, starts_s, step_s)
        for row, ven_id in zip(energy_wh, some, strict=True):
            row[~_measured(row, days)] = np.nan
            for first, last in touched(ven_id):
                row[(days >= first) & (days <= last)] = np.nan
        mean.add(energy_wh)
    return mean.control()


def with_control(calendars: Mapping[str, Calendar], control: Control | None) -> dict[str, Calendar]:
    """Return calendars that know of a control group, the same for all."""
    return {ven_id: replace(calendar, control=control) for ven_id, calendar in calendars.items()}


def _grid(period: Span, step_s: int, after_s: int) -> tuple[Ints, int]:
    """Return the starts of the intervals of a period and of some seconds after it, and how many are the period's."""
    first = int(period.start.timestamp()) // step_s
    end = ceil((period.end or period.start).timestamp() / step_s)
    return np.arange(first, end + ceil(after_s / step_s), dtype=np.int64) * step_s, end - first


async def _energies(conn: Connection, ven_ids: Sequence[str], starts_s: Ints, step_s: int) -> Floats:
    """Return the energies (Wh) of VENs in intervals (k, n)."""
    span = int(starts_s[0]), int(starts_s[-1]) + step_s
    readings = await load_profile.energy_of_each(conn, dict.fromkeys(ven_ids, span), step_s)
    return np.array([readings[ven_id].energy_wh for ven_id in ven_ids])


def _measured(energy_wh: Floats, days: Ints) -> Bools:
    """Tell which intervals (n,) lie in local days `days` (n,) of which enough is known."""
    _, place = np.unique(days, return_inverse=True)
    share = np.bincount(place, np.isfinite(energy_wh)) / np.bincount(place)
    enough: Bools = (share >= _ENOUGH)[place]
    return enough
