"""Powers that were agreed with VENs, as their baselines (`metrics.agreed`): a profile by time of day, or one level.

What becomes valid on a later day leaves the days before as they were, so results stay what they are. Entering another
profile for the same first day replaces it; results that are not final follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import select

from core.errors import InvalidError
from metrics.agreed import Agreed, check_level
from metrics.agreed_profile import AgreedProfile
from metrics.presets import PRESETS
from vtn.services import dispatch
from vtn.services.fleet import named
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, in_parts, to_json, upsert
from vtn.store.tables import agreed_baseline

METHODS: Final = tuple(name for name, method in PRESETS.items() if isinstance(method, Agreed))
"""The presets that rest on what is agreed."""
_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2100


@dataclass(frozen=True, slots=True)
class AgreedBaseline:
    """What was agreed with a VEN, for the method that rests on it."""

    method: str
    profile: AgreedProfile
    created_at: datetime
    created_by: str


async def agree(
    tx: Transaction, ven_ids: Sequence[str], method_id: str, profile: AgreedProfile, now: datetime, *, who: str
) -> int:
    """Say what was agreed with each of some VENs; return how many they are. Raises NotFoundError, InvalidError."""
    method = PRESETS.get(method_id)
    if not isinstance(method, Agreed):
        raise InvalidError(f"'{method_id[:40]}' rests on no agreement; use {' or '.join(METHODS)}.", field="method")
    if method.level:
        check_level(profile)
    if not _FIRST_YEAR <= profile.valid_from.year <= _LAST_YEAR:
        raise InvalidError(f"A first day lies in the years {_FIRST_YEAR} to {_LAST_YEAR}.", field="valid_from")
    ids = await named(tx.conn, ven_ids)
    plain = to_json(profile)
    row = {"method": method_id, "valid_from": profile.valid_from.isoformat(), "profile": plain}
    row |= {"created_at": now, "created_by": who}
    await upsert(
        tx.conn,
        agreed_baseline,
        [{"ven_id": ven_id, **row} for ven_id in ids],
        keys=("ven_id", "method", "valid_from"),
    )
    await tx.audit(who, "agree baseline", method_id, after={"ven_ids": ids, **plain}, at=now)
    await dispatch.look_again(tx, now)
    return len(ids)


async def of_ven(conn: Connection, ven_id: str) -> list[AgreedBaseline]:
    """Return all that was agreed with a VEN, by first day, the earliest first. Raises NotFoundError."""
    await named(conn, [ven_id])
    query = select(agreed_baseline).where(agreed_baseline.c.ven_id == ven_id)
    rows = await conn.execute(query.order_by(agreed_baseline.c.valid_from, agreed_baseline.c.method))
    return [
        AgreedBaseline(row.method, from_json(AgreedProfile, row.profile), row.created_at, row.created_by)
        for row in rows
    ]


async def of_each(
    conn: Connection, method_ids: Sequence[str], ven_ids: Sequence[str], until: date
) -> dict[str, Mapping[str, tuple[AgreedProfile, ...]]]:
    """Return venID -> method -> what is agreed up to a local date, the oldest first; VENs without any are left out."""
    if not method_ids:
        return {}
    found: dict[str, dict[str, tuple[AgreedProfile, ...]]] = {}
    columns = (agreed_baseline.c.ven_id, agreed_baseline.c.method, agreed_baseline.c.profile)
    which = agreed_baseline.c.method.in_(method_ids) & (agreed_baseline.c.valid_from <= until.isoformat())
    query = select(*columns).where(which).order_by(agreed_baseline.c.valid_from)
    for some in in_parts(ven_ids):
        for row in await conn.execute(query.where(agreed_baseline.c.ven_id.in_(some))):
            mine = found.setdefault(row.ven_id, {})
            mine[row.method] = (*mine.get(row.method, ()), from_json(AgreedProfile, row.profile))
    return dict(found)


def first_day(text: str) -> date:
    """Return a first local day. Raises InvalidError for anything but a date such as 2026-01-31."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidError(f"'{text[:20]}' is no day such as 2026-01-31.", field="valid_from") from error
    return day
