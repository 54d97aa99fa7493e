"""Tariffs that are fetched: an address, a mapping, a schedule, and the worker that asks (FN-AM-11, FN-AM-13).

What is due is a row, so that no crash loses it, and two processes never ask for the same one. `due_at` and `last_at`
are machine time; the prices that come in are world time like every other. An answer that is not good in every item
changes nothing: the prices that were there stay, and the row says why.
"""

import asyncio
import os
from collections.abc import Collection
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import delete, insert, select, update
from yarl import URL

from aggregator.tables import tariff, tariff_source
from aggregator.tariff import tariffs
from aggregator.tariff.price_mapping import Mapping, address, check_mapping, read
from aggregator.tariff.price_series import Series
from aggregator.tariff.tariffs import Source
from core.clock import Clock
from core.errors import EvenloadError, InvalidError, NotFoundError
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import from_json, to_json
from web import http_client

_log = structlog.get_logger(__name__)

SHORTEST_S: Final = 60
LONGEST_S: Final = 31 * 86400
_FIRST_WAIT_S: Final = 60.0
_TIMEOUT_S: Final = 20.0
_LEASE: Final = timedelta(minutes=2)
"""How long a process may take for one address; then another may ask."""
_MOST_BYTES: Final = 4 << 20
_AT_ONCE: Final = 8
_LONGEST_ERROR: Final = 500
WHO: Final = "tariff fetcher"


class Fetch(Protocol):
    """Gets JSON from an address: `web.http_client.fetch_json`, with its guard."""

    async def __call__(
        self, url: str, *, headers: AnyMapping[str, str] | None, timeout_s: float, max_bytes: int
    ) -> Any:
        """Return the JSON value. Raises EvenloadError."""


@dataclass(frozen=True, slots=True)
class TariffSource:
    """Where a tariff's prices come from. `every_s`, `due_at` and `last_at` are machine time."""

    tariff_id: str
    url: str
    mapping: Mapping
    every_s: int
    due_at: datetime
    last_at: datetime | None
    last_error: str | None

    @property
    def host(self) -> str:
        """Whom it asks; the rest of the address may hold a key."""
        return URL(self.url).host or ""

    def retry_after_s(self) -> float:
        """Return how long to wait after a failure: a minute, then twice as long as before, up to the usual period."""
        failing = self.last_error is not None and self.last_at is not None
        waited_s = (self.due_at - self.last_at).total_seconds() if failing and self.last_at is not None else 0.0
        return min(float(self.every_s), max(_FIRST_WAIT_S, 2.0 * waited_s))


# -- rows


async def put_source(
    tx: Transaction, tariff_id: str, url: str, mapping: Mapping, every_s: int, now: datetime, *, who: str
) -> None:
    """Say where a tariff's prices come from; it is asked at once. `now` is world time.

    Raises NotFoundError, or InvalidError for an address, mapping or period that cannot be. Whether the address may be
    called at all is decided when it is called.
    """
    await tariffs.get(tx.conn, tariff_id, lock=True)
    _check_url(url)
    check_mapping(mapping)
    if not SHORTEST_S <= every_s <= LONGEST_S:
        raise InvalidError(f"every_s lies between {SHORTEST_S} and {LONGEST_S}.")
    old = await source_of(tx.conn, tariff_id)
    await tx.conn.execute(delete(tariff_source).where(tariff_source.c.tariff_id == tariff_id))
    row = {"tariff_id": tariff_id, "url": url, "mapping": to_json(mapping), "every_s": every_s}
    await tx.conn.execute(insert(tariff_source).values(due_at=datetime.now(UTC), **row))
    before = None
    if old is not None:
        before = {"url": http_client.shown(old.url), "mapping": to_json(old.mapping), "every_s": old.every_s}
    await tx.audit(who, "tariff source", tariff_id, before, row | {"url": http_client.shown(url)}, at=now)


def _check_url(text: str) -> None:
    try:
        url = URL(text)
        good = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None and not url.user
    except ValueError:
        good = False
    if not good or len(text) > http_client.LONGEST_URL or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidError(
            "The URL is an address such as https://example.com/prices, without a password in it.", field="url"
        )


async def remove_source(tx: Transaction, tariff_id: str, now: datetime, *, who: str) -> None:
    """Ask no more; the prices stay. Raises NotFoundError."""
    old = await source_of(tx.conn, tariff_id)
    if old is None:
        raise NotFoundError(f"Tariff '{tariff_id}' has no source.")
    await tx.conn.execute(delete(tariff_source).where(tariff_source.c.tariff_id == tariff_id))
    await tx.audit(who, "remove tariff source", tariff_id, {"url": http_client.shown(old.url)}, at=now)


async def ask_now(tx: Transaction, tariff_id: str, now: datetime, *, who: str) -> None:
    """Let the source be asked at once, out of turn. Raises NotFoundError."""
    due = update(tariff_source).where(tariff_source.c.tariff_id == tariff_id).values(due_at=datetime.now(UTC))
    if not (await tx.conn.execute(due)).rowcount:
        raise NotFoundError(f"Tariff '{tariff_id}' has no source.")
    await tx.audit(who, "ask tariff source", tariff_id, at=now)


async def source_of(conn: Connection, tariff_id: str) -> TariffSource | None:
    """Return a tariff's source, or None."""
    return (await sources_of(conn, [tariff_id])).get(tariff_id)


async def sources_of(conn: Connection, tariff_ids: Collection[str]) -> dict[str, TariffSource]:
    """Return the sources of some tariffs, by tariff; those that have none are not in it."""
    rows = await conn.execute(select(tariff_source).where(tariff_source.c.tariff_id.in_(tariff_ids)))
    return {row.tariff_id: _source(row) for row in rows}


def _source(row: Any) -> TariffSource:
    mapping = from_json(Mapping, row.mapping)
    return TariffSource(row.tariff_id, row.url, mapping, row.every_s, row.due_at, row.last_at, row.last_error)


# -- the worker


class TariffFetcher:
    """Asks the sources that are due. Any number of processes may have one."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        fetch: Fetch = http_client.fetch_json,
        *,
        environment: AnyMapping[str, str] = os.environ,
    ) -> None:
        self._db = db
        self._clock = clock
        self._fetch = fetch
        self._environment = environment

    async def turn(self) -> None:
        """Ask what is due now, and store what came. Call it every few seconds of machine time."""
        due = await self._take()
        await asyncio.gather(*(self._serve(one) for one in due))

    async def _take(self) -> list[TariffSource]:
        """Return some sources that are due, leased: nobody else takes them for a while."""
        now = datetime.now(UTC)
        query = (
            select(tariff_source)
            .join(tariff, tariff.c.id == tariff_source.c.tariff_id)
            .where((tariff_source.c.due_at <= now) & tariff.c.retired_at.is_(None))
            .order_by(tariff_source.c.due_at)
            .limit(_AT_ONCE)
        )
        async with self._db.read() as conn:
            if (await conn.execute(query)).first() is None:
                return []
        async with self._db.write() as tx:
            rows = (await tx.conn.execute(query.with_for_update(of=tariff_source, skip_locked=True))).all()
            ids = [row.tariff_id for row in rows]
            leased = update(tariff_source).where(tariff_source.c.tariff_id.in_(ids)).values(due_at=now + _LEASE)
            await tx.conn.execute(leased)
        return [_source(row) for row in rows]

    async def _serve(self, source: TariffSource) -> None:
        error: str | None = None
        try:
            prices = await self._ask(source)
            await self._keep(source, prices)
        except EvenloadError as refusal:
            error = str(refusal)[:_LONGEST_ERROR]
        except Exception:  # noqa: BLE001  a stranger's document must not stop the other sources
            _log.exception("a tariff source broke the fetcher", tariff_id=source.tariff_id)
            error = "The answer could not be read; the log of the server says more."
        if error is not None:
            _log.warning("a tariff could not be fetched", tariff_id=source.tariff_id, why=error)
            await self._note(source, error)

    async def _ask(self, source: TariffSource) -> Series:
        """Return the prices that the source has now. Raises EvenloadError."""
        headers = {}
        for name, variable in source.mapping.headers.items():
            if not (text := self._environment.get(variable, "")) or not (text.isascii() and text.isprintable()):
                raise InvalidError(f"The environment variable {variable} (header {name}) is not set to printable text.")
            headers[name] = text
        url = address(source.url, source.mapping, self._clock.now())
        document = await self._fetch(url, headers=headers, timeout_s=_TIMEOUT_S, max_bytes=_MOST_BYTES)
        prices = await asyncio.to_thread(read, source.mapping, document)
        if prices[-1].end <= self._clock.now():
            raise InvalidError(f"The newest price ends at {prices[-1].end.isoformat()}, which has passed.")
        return prices

    async def _keep(self, source: TariffSource, prices: Series) -> None:
        async with self._db.write() as tx:
            if not await _still(tx, source):
                return
            now = self._clock.now()
            await tariffs.put_prices(tx, source.tariff_id, prices, now, who=WHO, source=Source.FETCH, whole=False)
            await _set(tx, source, None, float(source.every_s))

    async def _note(self, source: TariffSource, error: str) -> None:
        async with self._db.write() as tx:
            if await _still(tx, source):
                await _set(tx, source, error, source.retry_after_s())


async def _still(tx: Transaction, source: TariffSource) -> bool:
    """Tell whether the source is the one that was asked: it may have been changed or removed meanwhile."""
    where = tariff_source.c.tariff_id == source.tariff_id
    row = (await tx.conn.execute(select(tariff_source).where(where).with_for_update())).one_or_none()
    if row is None:
        return False
    now = _source(row)
    return replace(now, due_at=source.due_at) == source


async def _set(tx: Transaction, source: TariffSource, error: str | None, wait_s: float) -> None:
    now = datetime.now(UTC)
    due = {"last_at": now, "last_error": error, "due_at": now + timedelta(seconds=wait_s)}
    await tx.conn.execute(update(tariff_source).where(tariff_source.c.tariff_id == source.tariff_id).values(**due))
