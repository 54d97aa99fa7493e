"""Where tariffs go: to VENs as price events, and to households to read."""

from datetime import datetime, timedelta
from typing import Final

from aggregator.api.tariff_models import (
    HouseholdOut,
    HouseholdTariff,
    HouseholdTotal,
    PriceOut,
    PriceSignalDay,
    PriceSignals,
    PriceSignalSwitch,
)
from aggregator.tariff import household_tariffs, prices
from aggregator.tariff.household_tariffs import HouseholdTariffs
from aggregator.tariff.price_series import Price, Series, current, following
from core.errors import InvalidError
from core.spans import Span, floor_to
from vtn.api.desk import DESK
from vtn.services import programme
from web.api import Context
from web.model import UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_VEN = Keyset("household-tariffs", str)


_AHEAD: Final = timedelta(hours=48)
_LONGEST: Final = timedelta(days=366)
_HOUR_S: Final = 3600


# -- prices on their way to VENs


@operation(
    "GET",
    "/v1/programmes/{programme_id}/price-signals",
    summary="Read the price signals of a programme",
    role="viewer",
    tags=["tariffs"],
    errors=[404],
)
async def read_price_signals(context: Context, programme_id: str) -> PriceSignals:
    """Today and tomorrow in the programme's time zone, by tariffs."""
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        one = await programme.get(conn, programme_id)
        found = await prices.status(conn, one, desk.clock.now())
        return PriceSignals(
            enabled=await prices.enabled(conn, programme_id),
            days=[PriceSignalDay.model_validate(day, from_attributes=True) for day in found],
        )


@operation(
    "PUT",
    "/v1/programmes/{programme_id}/price-signals",
    summary="Switch a programme's price signals on or off",
    role="admin",
    tags=["tariffs"],
    errors=[404],
)
async def switch_price_signals(context: Context, programme_id: str, body: PriceSignalSwitch) -> PriceSignals:
    """Switched off, open price events are cancelled within a minute."""
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await prices.switch(tx, programme_id, desk.clock.now(), on=body.enabled, who=context.principal.name)
    return await read_price_signals(context, programme_id)


# -- households


@operation(
    "GET",
    "/v1/vens/{ven_id}/tariffs",
    summary="Read the tariffs of a household",
    role="viewer",
    tags=["tariffs"],
    errors=[404],
)
async def read_ven_tariffs(
    context: Context, ven_id: str, from_: UtcTime | None = None, until: UtcTime | None = None
) -> HouseholdOut:
    """From the present hour on for two days, unless said; at most a year."""
    desk = context.service(DESK)
    now = desk.clock.now()
    async with desk.db.read() as conn:
        found = await household_tariffs.for_ven(conn, ven_id, _ahead(now, from_, until), now)
    return _household(found, now)


@operation(
    "GET", "/v1/household/tariffs", summary="Read the tariffs of your own household", role="household", tags=["tariffs"]
)
async def read_own_tariffs(
    context: Context,
    from_: UtcTime | None = None,
    until: UtcTime | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[HouseholdOut]:
    """Return an entry for each of its VENs: from the present hour on for two days, unless said; at most a year."""
    desk = context.service(DESK)
    now, party_id = desk.clock.now(), context.principal.party_id
    wanted = _ahead(now, from_, until)
    async with desk.db.read() as conn:
        ven_ids = await household_tariffs.vens_of(conn, party_id) if party_id else []
        page = _BY_VEN.part(ven_ids, limit, cursor, key=lambda ven_id: (ven_id,))
        rows = [_household(await household_tariffs.for_ven(conn, ven_id, wanted, now), now) for ven_id in page.items]
    return Page(items=rows, next=page.next)


def _ahead(now: datetime, start: datetime | None, end: datetime | None) -> Span:
    start = start or floor_to(now, _HOUR_S)
    end = end or start + _AHEAD
    if end - start > _LONGEST:
        raise InvalidError("Ask for a year at most.")
    return span(start, end)


def span(start: datetime, end: datetime) -> Span:
    """Return a span that somebody asks for. Raises InvalidError if it is empty."""
    if start >= end:
        raise InvalidError("A span ends after it begins.")
    return Span(start, end)


def _household(tariffs: HouseholdTariffs, now: datetime) -> HouseholdOut:
    return HouseholdOut(
        ven_id=tariffs.ven_id,
        area=tariffs.area,
        tariffs=[
            HouseholdTariff(
                id=one.tariff.id,
                kind=one.tariff.kind.value,
                name=one.tariff.name,
                currency=one.tariff.currency,
                vat_included=one.tariff.vat_included,
                version=one.version,
                current=_price(current(one.prices, now)),
                next=_price(following(one.prices, now)),
                prices=shown(one.prices),
            )
            for one in tariffs.tariffs
        ],
        totals=[
            HouseholdTotal(
                programme_id=one.programme_id,
                network_id=one.network_id,
                electricity_id=one.electricity_id,
                currency=one.currency,
                vat_included=one.vat_included,
                prices=None if one.prices is None else shown(one.prices),
            )
            for one in tariffs.totals
        ],
    )


def shown(series: Series) -> list[PriceOut]:
    """Return prices as the API writes them."""
    return [PriceOut(start=one.start, end=one.end, per_kwh=one.per_kwh) for one in series]


def _price(price: Price | None) -> PriceOut | None:
    return None if price is None else PriceOut(start=price.start, end=price.end, per_kwh=price.per_kwh)


OPERATIONS = (read_price_signals, switch_price_signals, read_ven_tariffs, read_own_tariffs)
