"""Tariffs: what the network and electricity cost, as versions of price series (FN-AM-11..14).

A version never changes. It either replaces the whole series or speaks only for its own span and leaves the rest as it
was; the newest version that speaks for a moment counts. So a version holds only what was put, and `as_of` brings back
every earlier state.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from aggregator.currencies import check_currency
from aggregator.tables import tariff, tariff_version
from aggregator.tariff.price_series import MOST_INTERVALS, Claim, Price, Series, checked, clipped, merged, spoken
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import new_id
from core.spans import Span
from vtn.services import programme
from vtn.store.database import Connection, Transaction
from vtn.store.rows import from_json, to_json

_LONGEST_NAME: Final = 120
_LONGEST_AREA: Final = 80
_MOST_LAYERS: Final = 1000


class Kind(StrEnum):
    """What a tariff is for; a household pays both."""

    NETWORK = "network"
    ELECTRICITY = "electricity"


class Source(StrEnum):
    """Which way a version came in."""

    REST = "rest"
    BRP = "brp"
    FETCH = "fetch"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class NewTariff:
    """A tariff to create: for one area or everywhere (None), for one programme or every one (None)."""

    kind: Kind
    name: str
    currency: str
    vat_included: bool
    area: str | None = None
    programme_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff. Its meaning never changes; what changes are its prices, and that it is retired."""

    id: str
    kind: Kind
    name: str
    area: str | None
    programme_id: str | None
    currency: str
    vat_included: bool
    created_at: datetime
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version without its prices. It speaks for [start, end), or if `whole` replaces all that was before."""

    tariff_id: str
    version: int
    start: datetime
    end: datetime
    whole: bool
    source: str
    created_at: datetime
    created_by: str

    @property
    def claim(self) -> Claim:
        """For which time it speaks."""
        return Claim(self.start, self.end, self.whole)


# -- the tariffs themselves


async def create(tx: Transaction, new: NewTariff, now: datetime, *, who: str) -> Tariff:
    """Create a tariff without prices.

    Raises InvalidError for a bad name, area or currency, NotFoundError for an unknown programme, ConflictError if a
    tariff of the same kind already holds for the same area and programme.
    """
    for what, text, longest in (("name", new.name, _LONGEST_NAME), ("area", new.area, _LONGEST_AREA)):
        if text is not None and not (0 < len(text) <= longest and text.isprintable() and text.strip() == text):
            raise InvalidError(f"A tariff's {what} has 1 to {longest} printable characters, no blanks at its ends.")
    check_currency(new.currency)
    if new.programme_id is not None:
        await programme.get(tx.conn, new.programme_id)
    same = (
        (tariff.c.kind == new.kind)
        & tariff.c.area.is_not_distinct_from(new.area)
        & tariff.c.programme_id.is_not_distinct_from(new.programme_id)
        & _in_force(now)
    )
    twin = (await tx.conn.execute(select(tariff.c.id).where(same).limit(1))).scalar_one_or_none()
    if twin is not None:
        raise ConflictError(f"Tariff {twin} is for the same already: put prices into it, or retire it first.")
    made = Tariff(new_id("trf"), created_at=now, retired_at=None, **asdict(new))
    await tx.conn.execute(insert(tariff).values(**asdict(made)))
    await tx.audit(who, "create tariff", made.id, after=to_json(new), at=now)
    return made


async def retire(tx: Transaction, tariff_id: str, now: datetime, *, who: str) -> Tariff:
    """End a tariff: from now on it is nobody's, takes no prices and is not fetched. A second time changes nothing."""
    old = await get(tx.conn, tariff_id, lock=True)
    if old.retired_at is not None:
        return old
    await tx.conn.execute(update(tariff).where(tariff.c.id == tariff_id).values(retired_at=now))
    await tx.audit(who, "retire tariff", tariff_id, at=now)
    return replace(old, retired_at=now)


async def get(conn: Connection, tariff_id: str, *, lock: bool = False) -> Tariff:
    """Return a tariff, locked against other changes if so wished. Raises NotFoundError."""
    query = select(tariff).where(tariff.c.id == tariff_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFoundError(f"No tariff '{tariff_id}'.")
    return _tariff(row)


async def listed(
    conn: Connection, *, after: str | None = None, limit: int = 500, programme_ids: Collection[str] | None = None
) -> list[Tariff]:
    """Return tariffs, retired ones too, by id after `after`.

    With `programme_ids` only those of these programmes and those for every programme: what a BRP may see.
    """
    query = select(tariff).order_by(tariff.c.id).limit(limit)
    if after is not None:
        query = query.where(tariff.c.id > after)
    if programme_ids is not None:
        query = query.where(or_(tariff.c.programme_id.is_(None), tariff.c.programme_id.in_(programme_ids)))
    return [_tariff(row) for row in await conn.execute(query)]


async def in_force(conn: Connection, now: datetime) -> list[Tariff]:
    """Return every tariff that is not retired."""
    return [_tariff(row) for row in await conn.execute(select(tariff).where(_in_force(now)).order_by(tariff.c.id))]


def _in_force(now: datetime) -> ColumnElement[bool]:
    return or_(tariff.c.retired_at.is_(None), tariff.c.retired_at > now)


def _tariff(row: Any) -> Tariff:
    fields = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's documented name
    return Tariff(**(fields | {"kind": Kind(row.kind)}))


# -- prices


async def put_prices(
    tx: Transaction,
    tariff_id: str,
    prices: Sequence[Price],
    now: datetime,
    *,
    who: str,
    source: Source,
    whole: bool = True,
    read_version: int | None = None,
) -> Version:
    """Add a version and return it; if that would say nothing new, return the newest as it is.

    `whole`: the series is what was put and nothing else. Otherwise what was put counts in its span, and everything
    else stays. `read_version` is the version that the writer has read (0: none). Raises NotFoundError; InvalidError
    for a series that is not good; ConflictError for a retired tariff, or if somebody else added a version since.
    """
    series_ = checked(prices)
    one = await get(tx.conn, tariff_id, lock=True)
    if one.retired_at is not None:
        raise ConflictError(f"Tariff {tariff_id} is retired.")
    last = await newest(tx.conn, tariff_id)
    number = 0 if last is None else last.version
    if read_version is not None and read_version != number:
        raise ConflictError(f"Tariff {tariff_id} is at version {number}, not {read_version}: read it again.")
    if last is not None and await _says(tx.conn, last, series_, whole=whole):
        return last
    made = Version(tariff_id, number + 1, series_[0].start, series_[-1].end, whole, source.value, now, who)
    await tx.conn.execute(
        insert(tariff_version).values(
            tariff_id=tariff_id,
            version=made.version,
            starts_at=made.start,
            ends_at=made.end,
            whole=whole,
            prices=to_json(series_),
            source=source.value,
            created_at=now,
            created_by=who,
        )
    )
    amounts = [price.amount for price in series_]
    told = {"intervals": len(series_), "lowest": str(min(amounts)), "highest": str(max(amounts))}
    await tx.audit(who, "put prices", tariff_id, to_json(last), to_json(made) | told, at=now)
    return made


async def _says(conn: Connection, last: Version, new: Series, *, whole: bool) -> bool:
    """Tell whether the present series already says what a new version would."""
    if whole:
        return last.whole and merged((await _prices(conn, last.tariff_id, {last.version}))[last.version]) == merged(new)
    present = await series(conn, last.tariff_id, Span(new[0].start, new[-1].end))
    return merged(present) == merged(new)


async def newest(conn: Connection, tariff_id: str, as_of: datetime | None = None) -> Version | None:
    """Return the newest version, or the one that was the newest at `as_of`; None if there was none."""
    found = await versions(conn, tariff_id, limit=1, as_of=as_of)
    return found[0] if found else None


async def newest_of(conn: Connection, tariff_ids: Collection[str]) -> dict[str, Version]:
    """Return the newest version of each of some tariffs, where there is one."""
    last = (
        select(tariff_version.c.tariff_id, func.max(tariff_version.c.version).label("version"))
        .where(tariff_version.c.tariff_id.in_(tariff_ids))
        .group_by(tariff_version.c.tariff_id)
        .subquery()
    )
    same = (last.c.tariff_id == tariff_version.c.tariff_id) & (last.c.version == tariff_version.c.version)
    rows = await conn.execute(select(*_HEAD).join(last, same))
    return {row.tariff_id: _version(row) for row in rows}


_HEAD: Final = [column for column in tariff_version.c if column.name != "prices"]


async def versions(
    conn: Connection,
    tariff_id: str,
    *,
    before: int | None = None,
    limit: int = 100,
    as_of: datetime | None = None,
) -> list[Version]:
    """Return versions without their prices, the newest first: those below number `before`, made by `as_of`."""
    where = tariff_version.c.tariff_id == tariff_id
    if before is not None:
        where &= tariff_version.c.version < before
    if as_of is not None:
        where &= tariff_version.c.created_at <= as_of
    query = select(*_HEAD).where(where).order_by(tariff_version.c.version.desc()).limit(limit)
    return [_version(row) for row in await conn.execute(query)]


def _version(row: Any) -> Version:
    return Version(
        row.tariff_id, row.version, row.starts_at, row.ends_at, row.whole, row.source, row.created_at, row.created_by
    )


async def series(
    conn: Connection, tariff_id: str, span: Span, as_of: datetime | None = None, *, version: int | None = None
) -> Series:
    """Return the prices of a span (which has an end), as they stand now, stood at `as_of`, or at a version.

    Prices that reach beyond the span are cut; where nobody gave a price there is a gap. Raises InvalidError for a span
    that holds too many.
    """
    where = tariff_version.c.tariff_id == tariff_id
    if as_of is not None:
        where &= tariff_version.c.created_at <= as_of
    if version is not None:
        where &= tariff_version.c.version <= version
    base = select(func.max(tariff_version.c.version)).where(where & tariff_version.c.whole).scalar_subquery()
    touching = (tariff_version.c.starts_at < span.end) & (tariff_version.c.ends_at > span.start)
    query = select(*_HEAD).where(
        where & (tariff_version.c.version >= func.coalesce(base, 0)) & or_(touching, tariff_version.c.whole)
    )
    heads = [_version(row) for row in await conn.execute(query.order_by(tariff_version.c.version.desc()))]
    parts = spoken([one.claim for one in heads], span)
    numbers = {heads[index].version for index, _ in parts}
    if len(numbers) > _MOST_LAYERS:
        raise InvalidError(f"More than {_MOST_LAYERS} versions speak for this span; ask for a shorter one.")
    prices = await _prices(conn, tariff_id, numbers)
    found = [one for index, part in parts for one in clipped(prices[heads[index].version], part)]
    if len(found) > MOST_INTERVALS:
        raise InvalidError(f"The span holds more than {MOST_INTERVALS} prices; ask for a shorter one.")
    return tuple(sorted(found, key=lambda row: row.start))


async def _prices(conn: Connection, tariff_id: str, numbers: Collection[int]) -> dict[int, Series]:
    query = select(tariff_version.c.version, tariff_version.c.prices).where(
        (tariff_version.c.tariff_id == tariff_id) & tariff_version.c.version.in_(numbers)
    )
    return {row.version: from_json(tuple[Price, ...], row.prices) for row in await conn.execute(query)}


async def content(conn: Connection, tariff_id: str, version: int | None = None) -> tuple[Version, Series] | None:
    """Return the newest version, or the one of that number, with what was put; None if there is none."""
    found = await versions(conn, tariff_id, before=None if version is None else version + 1, limit=1)
    if not found or (version is not None and found[0].version != version):
        return None
    number = found[0].version
    return found[0], (await _prices(conn, tariff_id, {number}))[number]
