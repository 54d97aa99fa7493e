"""Baseline nominations (D-prognoses): what each side says the portfolio will consume on a day. Revisions, kept.

A portfolio cannot consume less by more than it was to consume: no more is offered as a reduction. What the BRP
nominates is the baseline of a programme whose preset is `nominated` (`vtn.services.nominated`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
from sqlalchemy import insert, select

from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from aggregator.tables import activation, flexibility_offer, nomination
from aggregator.trade import contracts
from aggregator.trade.contracts import HORIZON, Contract
from core.errors import ConflictError, InvalidError, NotFoundError
from metrics.needs import Need
from metrics.presets import PRESETS
from vtn.services import nominated, programme
from vtn.store.database import Connection, Transaction

Side = Literal["brp", "aggregator"]
STEPS_S: Final = (300, 900, 1800, 3600)
_DAY_S: Final = 86400
_MOST_W: Final = 10**12


@dataclass(frozen=True, slots=True)
class Nomination:
    """One revision. `power_w`: mean power of each step of the UTC day, whole W, positive = consumption."""

    contract_id: str
    day: str
    declared_by: str
    revision: int
    step_s: int
    power_w: tuple[int, ...]
    created_at: datetime
    created_by: str


async def declare(
    tx: Transaction,
    contract_id: str,
    day: str,
    side: Side,
    step_s: int,
    power_w: Sequence[int],
    now: datetime,
    *,
    who: str,
    party_id: str | None = None,
) -> Nomination:
    """Add a revision for a UTC day (YYYY-MM-DD); the same powers again are no revision.

    Raises ConflictError once the day has begun (the gate is closed), and for the BRP's word on a day of which something
    is offered or sold that is to be measured by it; NotFoundError for another's contract, InvalidError for steps that
    do not make a day.
    """
    contract = await contracts.get(tx.conn, contract_id, party_id, lock=True)
    midnight = _midnight(day)
    if step_s not in STEPS_S or len(power_w) != _DAY_S // step_s:
        raise InvalidError(f"A step lasts {', '.join(map(str, STEPS_S))} s, and the steps make up a day.")
    if any(abs(one) > _MOST_W for one in power_w):
        raise InvalidError("A power is a number of whole watts.")
    if midnight <= now:
        raise ConflictError(f"The gate for {day} closed when the day began (UTC).")
    if midnight > now + HORIZON:
        raise InvalidError(f"Nominations are taken at most {HORIZON.days} days ahead.")
    if midnight < contract.valid_from.replace(hour=0, minute=0, second=0, microsecond=0) or (
        contract.valid_to is not None and midnight >= contract.valid_to
    ):
        raise ConflictError("The contract is not valid on that day.")
    last = await _newest(tx.conn, contract_id, day, side)
    powers = tuple(power_w)
    if last is not None and (last.step_s, last.power_w) == (step_s, powers):
        return last
    if side == "brp" and await _is_relied_on(tx.conn, contract, midnight, now):
        raise ConflictError(f"What is offered or sold of {day} is measured by what was nominated so far; that stays.")
    new = Nomination(contract_id, day, side, 1 if last is None else last.revision + 1, step_s, powers, now, who)
    await tx.conn.execute(
        insert(nomination).values(
            contract_id=contract_id,
            day=day,
            declared_by=side,
            revision=new.revision,
            step_s=step_s,
            power_w=list(powers),
            created_at=now,
            created_by=who,
        )
    )
    if side == "brp":
        await nominated.put(tx, contract.programme_id, contract_id, day, new.revision, step_s, powers, now)
    subject = f"{contract_id}/{day}/{side}/{new.revision}"
    await tx.audit(who, "nomination", subject, after={"energy_wh": sum(powers) * step_s // 3600}, at=now)
    return new


async def _is_relied_on(conn: Connection, contract: Contract, midnight: datetime, now: datetime) -> bool:
    """Tell whether something of a UTC day is sold, or offered to be, whose baseline is the nomination.

    Whoever has bought could otherwise make its own bill, until those who are called are told (which may be much later).
    """
    rules = await programme.get(conn, contract.programme_id)
    method = PRESETS.get(rules.parameters.baseline)
    if method is None or Need.NOMINATED not in method.needs:
        return False
    end = midnight + timedelta(days=1)
    for table, stands in (
        (activation, activation.c.cancelled_at.is_(None)),
        (flexibility_offer, (flexibility_offer.c.status == "open") & (flexibility_offer.c.expires_at > now)),
    ):
        there = (table.c.contract_id == contract.id) & (table.c.starts_at < end) & (table.c.ends_at > midnight) & stands
        if (await conn.execute(select(table.c.id).where(there).limit(1))).first() is not None:
            return True
    return False


async def get(conn: Connection, contract_id: str, day: str, side: Side, party_id: str | None = None) -> Nomination:
    """Return the newest revision for a day. Raises NotFoundError."""
    await contracts.get(conn, contract_id, party_id)
    _midnight(day)
    found = await _newest(conn, contract_id, day, side)
    if found is None:
        raise NotFoundError(f"Nothing was nominated for {day}.")
    return found


async def revisions(conn: Connection, contract_id: str, day: str, party_id: str | None = None) -> list[Nomination]:
    """Return what both sides nominated for a day, every revision, oldest first."""
    await contracts.get(conn, contract_id, party_id)
    _midnight(day)
    query = select(nomination).where((nomination.c.contract_id == contract_id) & (nomination.c.day == day))
    rows = await conn.execute(query.order_by(nomination.c.created_at, nomination.c.declared_by, nomination.c.revision))
    return [_nomination(row) for row in rows]


async def consumption_w(conn: Connection, contract_id: str, grid: Grid) -> Floats:
    """Return the least power (W) nominated in each step of a grid, (count,); infinite where nothing is, 0 at least.

    The aggregator's newest word counts, where it has given none the BRP's.
    """
    found = np.full(grid.count, np.inf)
    for day in sorted({grid.at(step).date() for step in range(grid.count)}):
        own = await _newest(conn, contract_id, day.isoformat(), "aggregator")
        said = own or await _newest(conn, contract_id, day.isoformat(), "brp")
        if said is None:
            continue
        first_s = int(_midnight(said.day).timestamp())
        edges_s = grid.start_s + grid.step_s * np.arange(grid.count + 1)
        for number, power_w in enumerate(said.power_w):
            start_s = first_s + number * said.step_s
            touched = (edges_s[:-1] < start_s + said.step_s) & (edges_s[1:] > start_s)
            found[touched] = np.minimum(found[touched], max(power_w, 0))
    return found


async def _newest(conn: Connection, contract_id: str, day: str, side: Side) -> Nomination | None:
    query = (
        select(nomination)
        .where(nomination.c.contract_id == contract_id)
        .where((nomination.c.day == day) & (nomination.c.declared_by == side))
        .order_by(nomination.c.revision.desc())
        .limit(1)
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _nomination(row)


def _nomination(row: Any) -> Nomination:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for a row as a mapping
    return Nomination(**values | {"power_w": tuple(row.power_w)})


def _midnight(day: str) -> datetime:
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != day:
        raise InvalidError(f"'{day[:20]}' is no day such as 2026-01-31.")
    return datetime(parsed.year, parsed.month, parsed.day, tzinfo=UTC)
