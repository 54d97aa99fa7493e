"""Tariffs and versions in the database; which tariffs a household has."""

from datetime import timedelta

import pytest

from aggregator.tariff import household_tariffs, tariffs
from aggregator.tariff.price_series import Price
from aggregator.tariff.tariffs import Kind, NewTariff, Source
from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Span
from support.vtn_world import NOON
from vtn.services import programme

HOUR = timedelta(hours=1)


def prices(*amounts, first=0):
    return [
        Price(NOON + (first + place) * HOUR, NOON + (first + place + 1) * HOUR, amount)
        for place, amount in enumerate(amounts)
    ]


def span(first, last):
    return Span(NOON + first * HOUR, NOON + last * HOUR)


async def make(world, kind=Kind.ELECTRICITY, currency="EUR", **more):
    async with world.tx() as tx:
        new = NewTariff(kind, "T", currency, more.pop("vat", True), **more)
        return await tariffs.create(tx, new, world.now, who="test")


async def put(world, tariff, *amounts, first=0, **how):
    async with world.tx() as tx:
        given = prices(*amounts, first=first)
        return await tariffs.put_prices(tx, tariff.id, given, world.now, who="ann", **({"source": Source.REST} | how))


async def values(world, tariff, first, last, *args, **how):
    async with world.db.read() as conn:
        found = await tariffs.series(conn, tariff.id, span(first, last), *args, **how)
    return [(int((one.start - NOON) / HOUR), one.per_kwh) for one in found]


async def test_a_version_replaces_extends_or_corrects(any_world):
    world = any_world
    tariff = await make(world)
    assert (await put(world, tariff, "1", "2", "3")).version == 1
    world.later(minutes=1)
    first = world.now
    world.later(minutes=1)
    assert (await put(world, tariff, "4", "5", first=2, whole=False)).version == 2
    assert await values(world, tariff, 0, 9) == [(0, "1"), (1, "2"), (2, "4"), (3, "5")]
    assert (await put(world, tariff, "-6", first=1, whole=False)).version == 3
    assert (await put(world, tariff, "7", first=6, whole=False)).version == 4
    assert await values(world, tariff, 0, 9) == [(0, "1"), (1, "-6"), (2, "4"), (3, "5"), (6, "7")]
    assert await values(world, tariff, 0, 9, first) == [(0, "1"), (1, "2"), (2, "3")]
    assert await values(world, tariff, 0, 9, version=2) == [(0, "1"), (1, "2"), (2, "4"), (3, "5")]
    assert await values(world, tariff, 0, 9, NOON - HOUR) == []
    assert (await put(world, tariff, "8", first=1)).version == 5
    assert await values(world, tariff, 0, 9) == [(1, "8")]
    assert await values(world, tariff, 0, 9, version=4) == [(0, "1"), (1, "-6"), (2, "4"), (3, "5"), (6, "7")]
    assert await values(world, tariff, 1, 2) == [(1, "8")]


async def test_a_version_that_says_nothing_new_is_none(world):
    tariff = await make(world)
    await put(world, tariff, "1", "1", "2")
    assert (await put(world, tariff, "1.0", "1", "2")).version == 1
    assert (await put(world, tariff, "1", first=1, whole=False)).version == 1
    assert (await put(world, tariff, "2", "3", first=2, whole=False)).version == 2
    assert (await put(world, tariff, "2", "3", first=2)).version == 3, "the rest is to go"
    assert len(await world.rows("tariff_version")) == 3
    puts = [row for row in await world.rows("audit") if row.action == "put prices"]
    assert [row.after["version"] for row in puts] == [1, 2, 3]
    assert puts[1].before["version"] == 1
    assert (puts[1].who, puts[1].after["lowest"], puts[1].after["highest"]) == ("ann", "2", "3")


async def test_no_version_ever_changes(world):
    tariff = await make(world)
    seen = []
    for number, whole in enumerate((True, False, False, True, False)):
        await put(world, tariff, str(number), str(-number), first=number, whole=whole)
        rows = await world.rows("tariff_version")
        assert rows[: len(seen)] == seen
        seen = rows
    assert len(seen) == 5


async def test_writers_that_meet_do_not_overwrite_each_other(any_world):
    world = any_world
    tariff = await make(world)
    await put(world, tariff, "1", read_version=0)
    with pytest.raises(ConflictError, match="at version 1, not 0"):
        await put(world, tariff, "2", read_version=0)
    await put(world, tariff, "2", read_version=1)


async def test_a_retired_tariff_takes_no_prices_and_is_nobodys(world):
    ven = await world.ven()
    tariff = await make(world)
    await put(world, tariff, "1")
    async with world.tx() as tx:
        await tariffs.retire(tx, tariff.id, world.now, who="ann")
        await tariffs.retire(tx, tariff.id, world.now, who="ann")
    with pytest.raises(ConflictError, match="retired"):
        await put(world, tariff, "2")
    async with world.db.read() as conn:
        assert (await household_tariffs.for_ven(conn, ven.ven_id, span(0, 2), world.now)).tariffs == ()
    assert await values(world, tariff, 0, 2) == [(0, "1")]
    assert [row.action for row in await world.rows("audit") if row.who == "ann"] == ["put prices", "retire tariff"]
    await make(world)


async def test_there_is_one_tariff_of_a_kind_for_the_same(any_world):
    world = any_world
    game = await world.programme()
    for where in ({}, {"area": "north"}, {"programme_id": game.id}, {"area": "north", "programme_id": game.id}):
        await make(world, **where)
        await make(world, Kind.NETWORK, **where)
        with pytest.raises(ConflictError, match="is for the same already"):
            await make(world, **where, currency="CHF")


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (NewTariff(Kind.NETWORK, "", "EUR", True), "name"),
        (NewTariff(Kind.NETWORK, " x", "EUR", True), "name"),
        (NewTariff(Kind.NETWORK, "x" * 121, "EUR", True), "name"),
        (NewTariff(Kind.NETWORK, "x\n", "EUR", True), "name"),
        (NewTariff(Kind.NETWORK, "x", "EUR", True, area=""), "area"),
        (NewTariff(Kind.NETWORK, "x", "eur", True), "ISO 4217"),
    ],
)
async def test_an_odd_tariff_is_refused(world, new, text):
    with pytest.raises(InvalidError, match=text):
        async with world.tx() as tx:
            await tariffs.create(tx, new, world.now, who="test")


async def test_a_tariff_of_no_programme_is_refused(world):
    with pytest.raises(NotFoundError, match="programme"):
        await make(world, programme_id="prg_none")
    async with world.db.read() as conn:
        with pytest.raises(NotFoundError, match="No VEN"):
            await household_tariffs.for_ven(conn, "nobody", span(0, 1), world.now)
        with pytest.raises(NotFoundError, match="No tariff"):
            await tariffs.get(conn, "trf_none")


async def test_a_long_series_is_asked_for_in_parts(world):
    tariff = await make(world)
    minute = timedelta(minutes=1)
    many = [Price(NOON + n * minute, NOON + (n + 1) * minute, str(n)) for n in range(10_000)]
    async with world.tx() as tx:
        await tariffs.put_prices(tx, tariff.id, many, world.now, who="test", source=Source.REST)
    await put(world, tariff, "1", first=200, whole=False)
    with pytest.raises(InvalidError, match="more than 10000 prices"):
        await values(world, tariff, 0, 300)
    assert len(await values(world, tariff, 0, 100)) == 6000


async def test_a_household_has_the_tariffs_of_its_area_and_programmes(world, street):
    ven, other = await world.ven(), await world.ven()
    game, away = await world.programme(ven), await world.programme(other)
    await street.home(ven, area="north")
    general = await make(world)
    north = await make(world, Kind.NETWORK, area="north")
    await make(world, Kind.NETWORK, area="south")
    special = await make(world, programme_id=game.id)
    await make(world, programme_id=away.id)
    await put(world, special, "0.2", "0.3", "-0.1")
    await put(world, north, "0.05", "0.06", first=1)
    async with world.db.read() as conn:
        found = await household_tariffs.for_ven(conn, ven.ven_id, span(0, 9), world.now)
        elsewhere = await household_tariffs.for_ven(conn, other.ven_id, span(0, 9), world.now)
    assert (found.area, elsewhere.area) == ("north", None)
    assert {one.tariff.id: one.version for one in found.tariffs} == {north.id: 1, special.id: 1}
    (total,) = found.totals
    assert (total.programme_id, total.network_id, total.electricity_id) == (game.id, north.id, special.id)
    assert (total.currency, total.vat_included) == ("EUR", True)
    assert [one.per_kwh for one in total.prices] == ["0.35", "-0.04"]
    assert elsewhere.totals == ()
    async with world.tx() as tx:
        await programme.end_enrolment(tx, game.id, ven.ven_id, world.now, who="test")
    async with world.db.read() as conn:
        left = await household_tariffs.for_ven(conn, ven.ven_id, span(0, 9), world.now)
    assert {one.tariff.id for one in left.tariffs} == {north.id, general.id}
    assert [one.programme_id for one in left.totals] == [None]


@pytest.mark.parametrize("network", [{"currency": "CHF"}, {"vat": False}])
async def test_what_cannot_be_added_is_listed_apart(world, network):
    ven = await world.ven()
    await put(world, await make(world), "0.2")
    await put(world, await make(world, Kind.NETWORK, **network), "0.1")
    async with world.db.read() as conn:
        found = await household_tariffs.for_ven(conn, ven.ven_id, span(0, 9), world.now)
    assert [[price.per_kwh for price in one.prices] for one in found.tariffs] == [["0.1"], ["0.2"]]
    (total,) = found.totals
    assert (total.prices, total.currency, total.vat_included) == (None, None, None)


async def test_a_brp_sees_the_tariffs_of_its_programmes_and_those_for_all(world):
    mine, other = await world.programme(), await world.programme()
    general = await make(world)
    special = await make(world, programme_id=mine.id)
    await make(world, programme_id=other.id)
    async with world.db.read() as conn:
        seen = await tariffs.listed(conn, programme_ids=[mine.id])
        assert [one.id for one in seen] == [general.id, special.id]
        assert len(await tariffs.listed(conn)) == 3
        assert [one.id for one in await tariffs.listed(conn, programme_ids=[])] == [general.id]
