"""Tariffs (FN-AM-11..14), in the BRP API: those of its programmes and those that hold everywhere."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import ULID, Id, shown
from aggregator.tariff import tariffs
from aggregator.tariff.price_series import MOST_INTERVALS, Price, Series
from aggregator.tariff.tariffs import Kind, Source
from aggregator.trade import contracts
from core.errors import ForbiddenError, InvalidError, NotFoundError
from core.spans import Span
from vtn.store.database import Connection
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_PATH = "/brp/v1/tariffs"
_BY_ID: Final = Keyset("brp-tariffs", str)
_LONGEST_DAYS: Final = 400
PerKwh = Annotated[str, Field(pattern=r"^-?[0-9]{1,7}(\.[0-9]{1,8})?$", examples=["0.2815"])]
"""A price per kWh as a decimal string; negative prices are prices."""


class Tariff(Model):
    """A tariff; its prices are at `/prices`."""

    id: str
    kind: Literal["network", "electricity"]
    name: str
    area: str | None
    """null: everywhere."""
    programme_id: str | None
    """null: for every programme."""
    currency: str
    vat_included: bool
    created_at: UtcTime
    retired_at: UtcTime | None


class TariffPrice(Model):
    """A price in a half-open span of whole minutes."""

    start: UtcTime
    end: UtcTime
    per_kwh: PerKwh


class TariffPrices(Model):
    """Prices of a tariff."""

    tariff_id: str
    version: int
    """The newest version; 0: it has no prices yet."""
    currency: str
    vat_included: bool
    prices: list[TariffPrice]


class NewPrices(Model):
    """Prices to publish: in order, without gaps."""

    prices: Annotated[tuple[TariffPrice, ...], Field(min_length=1, max_length=MOST_INTERVALS)]
    extend: bool = False
    """Only the span of these prices changes; otherwise they replace the whole series."""


_EXAMPLE: dict[str, Any] = {
    "id": f"trf_{ULID}",
    "kind": "electricity",
    "name": "Day ahead",
    "area": None,
    "programme_id": f"prg_{ULID}",
    "currency": "EUR",
    "vat_included": True,
    "created_at": "2026-01-31T12:00:00Z",
    "retired_at": None,
}
_PRICE = {"start": "2026-01-31T17:00:00Z", "end": "2026-01-31T18:00:00Z", "per_kwh": "0.2815"}
_PRICES: dict[str, Any] = {
    "tariff_id": f"trf_{ULID}",
    "version": 4,
    "currency": "EUR",
    "vat_included": True,
    "prices": [_PRICE],
}


@operation(
    "GET",
    _PATH,
    summary="List tariffs, oldest first",
    role="brp",
    scopes=["tariff:read"],
    tags=["tariffs"],
    answer_example={"items": [_EXAMPLE], "next": None},
)
async def list_tariffs(context: Context, limit: Limit = 50, cursor: Cursor | None = None) -> Page[Tariff]:
    """List those of your programmes and those that hold for every programme; retired ones too."""
    after = _BY_ID.decode(cursor)
    async with context.service(BRP).db.read() as conn:
        held = await contracts.by_programme(conn, party_of(context))
        rows = await tariffs.listed(conn, after=after[0] if after else None, limit=limit + 1, programme_ids=held)
    return _BY_ID.page([shown(Tariff, one) for one in rows], limit, key=lambda row: (row.id,))


async def _seen(conn: Connection, tariff_id: str, party_id: str) -> tariffs.Tariff:
    """Return a tariff that a BRP may see. Raises NotFoundError."""
    one = await tariffs.get(conn, tariff_id)
    if one.programme_id is not None and one.programme_id not in await contracts.by_programme(conn, party_id):
        raise NotFoundError(f"No tariff '{tariff_id}'.")
    return one


@operation(
    "GET",
    f"{_PATH}/{{tariff_id}}",
    summary="Read a tariff",
    role="brp",
    scopes=["tariff:read"],
    tags=["tariffs"],
    errors=[404],
    answer_example=_EXAMPLE,
)
async def read_tariff(context: Context, tariff_id: Id) -> Tariff:
    """Return one tariff."""
    async with context.service(BRP).db.read() as conn:
        return shown(Tariff, await _seen(conn, tariff_id, party_of(context)))


@operation(
    "GET",
    f"{_PATH}/{{tariff_id}}/prices",
    summary="Read prices",
    role="brp",
    scopes=["tariff:read"],
    tags=["tariffs"],
    errors=[404],
    answer_example=_PRICES,
)
async def read_prices(
    context: Context,
    tariff_id: Id,
    from_: UtcTime | None = None,
    until: UtcTime | None = None,
    as_of: UtcTime | None = None,
) -> TariffPrices:
    """Return what the newest version brought; with `from` and `until` the prices of that span as they stand.

    `as_of` brings back what was known at that time.
    """
    span = _span(from_, until)
    async with context.service(BRP).db.read() as conn:
        one = await _seen(conn, tariff_id, party_of(context))
        last = await tariffs.newest(conn, tariff_id, as_of)
        series: Series = ()
        if last is not None and span is not None:
            series = await tariffs.series(conn, tariff_id, span, version=last.version)
        elif last is not None and (found := await tariffs.content(conn, tariff_id, last.version)) is not None:
            series = found[1]
    return TariffPrices(
        tariff_id=one.id,
        version=0 if last is None else last.version,
        currency=one.currency,
        vat_included=one.vat_included,
        prices=[shown(TariffPrice, price) for price in series],
    )


def _span(start: datetime | None, until: datetime | None) -> Span | None:
    if start is None and until is None:
        return None
    if start is None or until is None:
        raise InvalidError("Say both 'from' and 'until', or neither.")
    if not start < until or (until - start).days > _LONGEST_DAYS:
        raise InvalidError(f"'until' lies after 'from', by {_LONGEST_DAYS} days at most.")
    return Span(start, until)


@operation(
    "PUT",
    f"{_PATH}/{{tariff_id}}/prices",
    summary="Publish prices: adds a version",
    role="brp",
    scopes=["tariff:write"],
    tags=["tariffs"],
    errors=[404, 409, 412, 428],
    example={"prices": [_PRICE], "extend": True},
    answer_example=_PRICES,
)
async def put_prices(context: Context, tariff_id: Id, body: NewPrices) -> TariffPrices:
    """Publish prices of an electricity tariff of one of your programmes. `If-Match`: the ETag of reading `/prices`.

    Prices that say nothing new make no version.
    """
    party_id, now = party_of(context), context.service(BRP).clock.now()
    old = await read_prices(context, tariff_id)
    async with writing(context) as tx:
        one = await _seen(tx.conn, tariff_id, party_id)
        if one.kind is not Kind.ELECTRICITY or one.programme_id is None:
            raise ForbiddenError("A BRP publishes prices of electricity tariffs of its own programmes.")
        context.require_match(old, required=True)
        await tariffs.put_prices(
            tx,
            tariff_id,
            [Price(price.start, price.end, price.per_kwh) for price in body.prices],
            now,
            who=context.principal.name,
            source=Source.BRP,
            whole=not body.extend,
            read_version=old.version,
        )
    return await read_prices(context, tariff_id)


OPERATIONS = (list_tariffs, read_tariff, read_prices, put_prices)
