"""Tariffs in the operator API: their prices, and where these are fetched."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from aggregator.api import tariff_use
from aggregator.api.tariff_models import (
    NewPrices,
    NewSource,
    NewTariffIn,
    TariffOut,
    TariffPrices,
    TariffSourceOut,
    TariffSourceState,
    TariffVersion,
)
from aggregator.api.tariff_use import shown, span
from aggregator.tariff import tariff_source, tariffs
from aggregator.tariff.price_series import Price
from aggregator.tariff.tariff_source import TariffSource
from aggregator.tariff.tariffs import Kind, NewTariff, Source, Version
from core.errors import InvalidError, NotFoundError
from core.spans import Duration
from vtn.api.desk import DESK
from vtn.store.database import Connection
from web.api import Context
from web.model import UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID: Final = Keyset("tariffs", str)
_BY_NUMBER: Final = Keyset("tariff-versions", int)


# -- tariffs


@operation("GET", "/v1/tariffs", summary="List tariffs, oldest first", role="viewer", tags=["tariffs"])
async def list_tariffs(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[TariffOut]:
    """Retired tariffs are listed, too."""
    after = _BY_ID.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        found = await tariffs.listed(conn, after=after[0] if after else None, limit=limit + 1)
        rows = await _shown(conn, found)
    return _BY_ID.page(rows, limit, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/tariffs",
    summary="Create a tariff",
    role="admin",
    tags=["tariffs"],
    status=201,
    errors=[404, 409],
    example={"kind": "electricity", "name": "Day ahead", "currency": "EUR", "vat_included": True},
)
async def create_tariff(context: Context, body: NewTariffIn) -> TariffOut:
    """For each kind, area and programme there is one tariff. It has no prices at first."""
    desk = context.service(DESK)
    new = NewTariff(
        Kind(body.kind), body.name, body.currency, body.vat_included, area=body.area, programme_id=body.programme_id
    )
    async with desk.db.write() as tx:
        made = await tariffs.create(tx, new, desk.clock.now(), who=context.principal.name)
        return (await _shown(tx.conn, [made]))[0]


@operation("GET", "/v1/tariffs/{tariff_id}", summary="Read a tariff", role="viewer", tags=["tariffs"], errors=[404])
async def read_tariff(context: Context, tariff_id: str) -> TariffOut:
    """See its newest version and how its source does; the prices are at `/prices`."""
    async with context.service(DESK).db.read() as conn:
        return (await _shown(conn, [await tariffs.get(conn, tariff_id)]))[0]


@operation(
    "POST",
    "/v1/tariffs/{tariff_id}/retirement",
    summary="Retire a tariff: it applies to nobody from now on",
    role="admin",
    tags=["tariffs"],
    errors=[404],
)
async def retire_tariff(context: Context, tariff_id: str) -> TariffOut:
    """Its versions can still be read."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await tariffs.retire(tx, tariff_id, desk.clock.now(), who=context.principal.name)
    return await read_tariff(context, tariff_id)


async def _shown(conn: Connection, rows: Sequence[tariffs.Tariff]) -> list[TariffOut]:
    ids = [one.id for one in rows]
    versions, sources = await tariffs.newest_of(conn, ids), await tariff_source.sources_of(conn, ids)
    return [
        TariffOut(
            id=one.id,
            kind=one.kind.value,
            name=one.name,
            area=one.area,
            programme_id=one.programme_id,
            currency=one.currency,
            vat_included=one.vat_included,
            created_at=one.created_at,
            retired_at=one.retired_at,
            newest=_version(versions[one.id]) if one.id in versions else None,
            source=_state(sources[one.id]) if one.id in sources else None,
        )
        for one in rows
    ]


def _version(version: Version) -> TariffVersion:
    return TariffVersion.model_validate(version, from_attributes=True, extra="ignore")


def _state(source: TariffSource) -> TariffSourceState:
    return TariffSourceState(
        host=source.host,
        every=Duration.of(seconds=source.every_s),
        due_at=source.due_at,
        last_at=source.last_at,
        last_error=source.last_error,
    )


# -- prices


@operation(
    "GET", "/v1/tariffs/{tariff_id}/prices", summary="Read prices", role="viewer", tags=["tariffs"], errors=[404]
)
async def read_prices(
    context: Context,
    tariff_id: str,
    from_: UtcTime | None = None,
    until: UtcTime | None = None,
    as_of: UtcTime | None = None,
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None,
) -> TariffPrices:
    """Without `from` and `until`: what the newest version brought, or the one named.

    With them: the prices of that span, each from the newest version that speaks for it; `as_of` and `version` bring
    back an earlier state.
    """
    if as_of is not None and version is not None:
        raise InvalidError("Say as_of or version, not both.")
    if (from_ is None) != (until is None):
        raise InvalidError("Say both from and until, or neither.")
    async with context.service(DESK).db.read() as conn:
        one = await tariffs.get(conn, tariff_id)
        number = version
        if as_of is not None:
            last = await tariffs.newest(conn, tariff_id, as_of)
            number = 0 if last is None else last.version
        found = await tariffs.content(conn, tariff_id, number)
        if version is not None and found is None:
            raise NotFoundError(f"Tariff '{tariff_id}' has no version {version}.")
        head, series = found if found is not None else (None, ())
        if from_ is not None and until is not None:
            series = await tariffs.series(conn, tariff_id, span(from_, until), version=number)
    return TariffPrices(
        tariff_id=tariff_id,
        version=0 if head is None else head.version,
        currency=one.currency,
        vat_included=one.vat_included,
        prices=shown(series),
    )


@operation(
    "PUT",
    "/v1/tariffs/{tariff_id}/prices",
    summary="Save prices: adds a version",
    role="admin",
    tags=["tariffs"],
    errors=[404, 409, 412, 428],
    example={"prices": [{"start": "2026-01-31T12:00:00Z", "duration": "PT1H", "per_kwh": "0.2815"}]},
)
async def put_prices(context: Context, tariff_id: str, body: NewPrices) -> TariffVersion:
    """Replace the series; with `extend` only the span of what is put. `If-Match`: the ETag of reading the prices.

    Prices that say nothing new make no version: the newest is returned.
    """
    desk = context.service(DESK)
    old = await read_prices(context, tariff_id)
    context.require_match(old, required=True)
    series = [Price(one.start, one.until(), one.per_kwh) for one in body.prices]
    async with desk.db.write() as tx:
        made = await tariffs.put_prices(
            tx,
            tariff_id,
            series,
            desk.clock.now(),
            who=context.principal.name,
            source=Source.REST,
            whole=not body.extend,
            read_version=old.version,
        )
    return _version(made)


@operation(
    "GET",
    "/v1/tariffs/{tariff_id}/versions",
    summary="List a tariff's versions, newest first",
    role="viewer",
    tags=["tariffs"],
    errors=[404],
)
async def list_tariff_versions(
    context: Context, tariff_id: str, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[TariffVersion]:
    """Who put what, when, and by which way."""
    after = _BY_NUMBER.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        await tariffs.get(conn, tariff_id)
        found = await tariffs.versions(conn, tariff_id, before=after[0] if after else None, limit=limit + 1)
    return _BY_NUMBER.page([_version(one) for one in found], limit, key=lambda row: (row.version,))


# -- where prices are fetched


@operation(
    "GET",
    "/v1/tariffs/{tariff_id}/source",
    summary="Read a tariff's price source",
    role="admin",
    tags=["tariffs"],
    errors=[404],
)
async def read_tariff_source(context: Context, tariff_id: str) -> TariffSourceOut:
    """For administrators, because an address may hold a key; how it does is in the tariff itself."""
    async with context.service(DESK).db.read() as conn:
        one = await tariff_source.source_of(conn, tariff_id)
    if one is None:
        raise NotFoundError(f"Tariff '{tariff_id}' has no source.")
    return TariffSourceOut.of(one)


@operation(
    "PUT",
    "/v1/tariffs/{tariff_id}/source",
    summary="Set a tariff's price source",
    role="admin",
    tags=["tariffs"],
    errors=[404, 409],
)
async def put_tariff_source(context: Context, tariff_id: str, body: NewSource) -> TariffSourceOut:
    """Ask it at once, then `every` so often. The tariff's `source` tells what came of it."""
    desk = context.service(DESK)
    if body.every.months:
        raise InvalidError("Say how often in days, hours or minutes.", field="every")
    async with desk.db.write() as tx:
        who, now = context.principal.name, desk.clock.now()
        mapping = body.mapping.mapping()
        await tariff_source.put_source(tx, tariff_id, body.url, mapping, body.every.exact_s, now, who=who)
    return await read_tariff_source(context, tariff_id)


@operation(
    "DELETE",
    "/v1/tariffs/{tariff_id}/source",
    summary="Remove a tariff's price source; its prices stay",
    role="admin",
    tags=["tariffs"],
    errors=[404],
)
async def remove_tariff_source(context: Context, tariff_id: str) -> None:
    """Keep what was fetched."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await tariff_source.remove_source(tx, tariff_id, desk.clock.now(), who=context.principal.name)


@operation(
    "POST",
    "/v1/tariffs/{tariff_id}/source/request",
    summary="Fetch a tariff's prices now",
    role="dispatcher",
    tags=["tariffs"],
    status=202,
    errors=[404],
)
async def request_tariff_source(context: Context, tariff_id: str) -> None:
    """Within a few seconds the tariff's `source` tells what came of it."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await tariff_source.ask_now(tx, tariff_id, desk.clock.now(), who=context.principal.name)


OPERATIONS = (
    list_tariffs,
    create_tariff,
    read_tariff,
    retire_tariff,
    read_prices,
    put_prices,
    list_tariff_versions,
    read_tariff_source,
    put_tariff_source,
    remove_tariff_source,
    request_tariff_source,
    *tariff_use.OPERATIONS,
)
