"""The lines to VENs in push mode (TR-01): who works on one, when it is tried again, and which are dead.

A line is what waits for one VEN. Who works on it holds a lease: processes share the lines, and one VEN's messages
keep their order. Of a process that dies the lease runs out. Leases and pauses are machine time, all else world time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update

from openadr.model.registration import Mode, Profile
from vtn.store.database import Transaction
from vtn.store.rows import upsert
from vtn.store.tables import push_line, ven

_LONGEST_WHY: Final = 300


@dataclass(frozen=True, slots=True)
class PushLine:
    """A leased line: whose, where to, and in which version."""

    ven_id: str
    address: str
    version: Profile = Profile.B


async def claim(tx: Transaction, ven_ids: Sequence[str], now: datetime, until: datetime) -> list[PushLine]:
    """Lease the lines of those VENs that may be tried and that nobody works on; `now` and `until` are machine time."""
    rows = [{"ven_id": ven_id} for ven_id in sorted(ven_ids)]
    await upsert(tx.conn, push_line, rows, keys=("ven_id",), update=())
    free = or_(push_line.c.leased_until.is_(None), push_line.c.leased_until <= now)
    rested = or_(push_line.c.retry_at.is_(None), push_line.c.retry_at <= now)
    pushed = (ven.c.mode == Mode.PUSH) & ven.c.address.is_not(None) & ven.c.registration_id.is_not(None)
    query = (
        select(push_line.c.ven_id, ven.c.address, ven.c.protocol_version)
        .join(ven, ven.c.id == push_line.c.ven_id)
        .where(push_line.c.ven_id.in_(ven_ids) & free & rested & pushed & ven.c.removed_at.is_(None))
        .order_by(push_line.c.ven_id)
        .with_for_update(of=push_line, skip_locked=True)
    )
    lines = [
        PushLine(row.ven_id, row.address, Profile(row.protocol_version)) for row in (await tx.conn.execute(query)).all()
    ]
    mine = push_line.c.ven_id.in_([line.ven_id for line in lines])
    await tx.conn.execute(update(push_line).where(mine).values(leased_until=until))
    tx.changed(*(line.ven_id for line in lines))
    return lines


async def keep(tx: Transaction, ven_id: str, until: datetime) -> None:
    """Work on a line for longer (machine time)."""
    await tx.conn.execute(update(push_line).where(push_line.c.ven_id == ven_id).values(leased_until=until))


async def release(tx: Transaction, ven_id: str) -> None:
    """Work on a line no longer."""
    await tx.conn.execute(update(push_line).where(push_line.c.ven_id == ven_id).values(leased_until=None))
    tx.changed(ven_id)


async def failed(
    tx: Transaction,
    ven_id: str,
    why: str,
    machine_now: datetime,
    now: datetime,
    *,
    dead_after: int,
    pause: Callable[[int], timedelta],
) -> tuple[int, bool]:
    """Count a failure in a row, and rest as long as `pause` says after so many (machine time).

    With `dead_after` of them the VEN is unreachable. Returns how many there are, and whether that made it unreachable.
    """
    line = push_line.c.ven_id == ven_id
    counted = update(push_line).where(line).values(failures=push_line.c.failures + 1).returning(push_line.c.failures)
    failures = int((await tx.conn.execute(counted)).scalar_one())
    await tx.conn.execute(update(push_line).where(line).values(retry_at=machine_now + pause(failures)))
    tx.changed(ven_id)
    if failures < dead_after:
        return failures, False
    reason = "".join(char if char.isprintable() else " " for char in why[:_LONGEST_WHY])
    alive = (ven.c.id == ven_id) & ven.c.unreachable_at.is_(None)
    marked = await tx.conn.execute(update(ven).where(alive).values(unreachable_at=now))
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(unreachable_why=reason))
    return failures, bool(marked.rowcount)


async def fresh(tx: Transaction, ven_id: str) -> bool:
    """Forget failures: the VEN took a message, sent one, or is reached in another way now.

    Returns whether it was unreachable.
    """
    failing = (push_line.c.ven_id == ven_id) & (push_line.c.failures > 0)
    await tx.conn.execute(update(push_line).where(failing).values(failures=0, retry_at=None))
    dead = (ven.c.id == ven_id) & ven.c.unreachable_at.is_not(None)
    revived = await tx.conn.execute(update(ven).where(dead).values(unreachable_at=None, unreachable_why=None))
    tx.changed(ven_id)
    return bool(revived.rowcount)
