"""Partial power: the levels at which a VEN with a set-point can be called, as its operator says.

A VEN of which nothing is said is called as a whole. The level is told by the event: a LOAD_DISPATCH signal with the
VEN's own values. OpenADR 2.0a has no such signal, so its VENs are always called as a whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from core.errors import InvalidError, NotFoundError
from vtn.store.database import Connection, Transaction
from vtn.store.rows import in_parts
from vtn.store.tables import ven

MOST_W: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class PartialPower:
    """A VEN can be called at any multiple of `step_w` that is not below `minimum_w` (itself a multiple), whole W."""

    minimum_w: int
    step_w: int

    def __post_init__(self) -> None:
        if not 0 < self.step_w <= self.minimum_w <= MOST_W:
            raise InvalidError(f"A step is 1 W at least, a minimum one step at least and {MOST_W} W at most.")
        if self.minimum_w % self.step_w:
            raise InvalidError("The minimum is a whole number of steps.", field="minimum_w")


async def partial_power_of(conn: Connection, ven_id: str) -> PartialPower | None:
    """Return at which levels a VEN can be called; None: as a whole. Raises NotFoundError for one that is not there."""
    query = select(ven.c.minimum_w, ven.c.step_w).where((ven.c.id == ven_id) & ven.c.removed_at.is_(None))
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    return None if row.minimum_w is None else PartialPower(row.minimum_w, row.step_w)


async def of_vens(conn: Connection, ven_ids: Iterable[str]) -> dict[str, PartialPower]:
    """Return at which levels VENs can be called; those that are called as a whole are left out."""
    found: dict[str, PartialPower] = {}
    for some in in_parts(ven_ids):
        query = select(ven.c.id, ven.c.minimum_w, ven.c.step_w).where(ven.c.id.in_(some) & ven.c.step_w.is_not(None))
        found |= {row.id: PartialPower(row.minimum_w, row.step_w) for row in await conn.execute(query)}
    return found


async def set_partial_power(
    tx: Transaction, ven_id: str, levels: PartialPower | None, now: datetime, *, who: str
) -> None:
    """Say at which levels a VEN can be called (None: as a whole), from the next call on. Raises NotFoundError."""
    before = await partial_power_of(tx.conn, ven_id)
    if levels == before:
        return
    minimum_w, step_w = (None, None) if levels is None else (levels.minimum_w, levels.step_w)
    await tx.conn.execute(update(ven).where(ven.c.id == ven_id).values(minimum_w=minimum_w, step_w=step_w))
    await tx.audit(who, "set partial power", ven_id, before, levels, at=now)
