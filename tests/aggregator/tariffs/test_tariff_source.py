"""Fetching prices: good answers become versions, bad ones leave everything as it was and say why."""

import asyncio
import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from aiohttp import web
from sqlalchemy import update

from aggregator.tables import tariff_source as table
from aggregator.tariff import tariff_source, tariffs
from aggregator.tariff.price_mapping import Mapping
from aggregator.tariff.tariff_source import TariffFetcher
from aggregator.tariff.tariffs import Kind, NewTariff
from core.errors import InvalidError, NotFoundError, UnavailableError
from core.spans import Duration, Span
from support.vtn_world import NOON
from web.http_client import Guard, fetch_json

HOUR = timedelta(hours=1)
MAPPING = Mapping(items="/data", start="/start", value="/price", step=Duration.of(hours=1))
URL = "https://prices.example/v1?day={today}"
KEY = "EVENLOAD_TARIFF_KEY"


def answer(*amounts, first=0):
    times = [(NOON + (first + place) * HOUR).isoformat() for place in range(len(amounts))]
    return {"data": [{"start": when, "price": one} for when, one in zip(times, amounts, strict=True)]}


class Site:
    """A source of prices that says what the test wants, and remembers how it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, url, *, headers, **bounds):
        assert bounds == {"timeout_s": 20.0, "max_bytes": 4 << 20}
        self.asked.append((url, dict(headers)))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given


async def sourced(world, mapping=MAPPING, url=URL, every_s=3600):
    async with world.tx() as tx:
        new = NewTariff(Kind.ELECTRICITY, "T", "EUR", True)
        made = await tariffs.create(tx, new, world.now, who="test")
        await tariff_source.put_source(tx, made.id, url, mapping, every_s, world.now, who="ann")
    return made.id


async def row(world, tariff_id):
    async with world.db.read() as conn:
        return await tariff_source.source_of(conn, tariff_id)


async def due(world, tariff_id):
    """Let a source be due without waiting for it."""
    one = await row(world, tariff_id)
    gone = max(timedelta(), one.due_at - datetime.now(UTC)) + timedelta(seconds=1)
    past = {"due_at": one.due_at - gone, "last_at": None if one.last_at is None else one.last_at - gone}
    async with world.tx() as tx:
        await tx.conn.execute(update(table).where(table.c.tariff_id == tariff_id).values(**past))


async def amounts(world, tariff_id):
    async with world.db.read() as conn:
        found = await tariffs.series(conn, tariff_id, Span(NOON - 99 * HOUR, NOON + 99 * HOUR))
    return [one.per_kwh for one in found]


async def test_what_comes_is_a_version_and_then_it_waits(any_world):
    world = any_world
    tariff_id = await sourced(world)
    site = Site(answer(0.1, 0.2), answer(0.2, 0.3, first=1))
    fetcher = TariffFetcher(world.db, world.clock, site)
    await fetcher.turn()
    await fetcher.turn()
    assert site.asked == [("https://prices.example/v1?day=2026-01-12", {})]
    one = await row(world, tariff_id)
    assert one.last_error is None
    assert one.due_at - one.last_at == timedelta(hours=1)
    assert await amounts(world, tariff_id) == ["0.1", "0.2"]
    await due(world, tariff_id)
    await fetcher.turn()
    assert await amounts(world, tariff_id) == ["0.1", "0.2", "0.3"]
    await due(world, tariff_id)
    await fetcher.turn()
    (first, second) = await world.rows("tariff_version")
    assert (first.source, first.created_by, second.whole) == ("fetch", "tariff fetcher", False)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (UnavailableError("prices.example does not answer."), "does not answer"),
        (InvalidError("The answer is not JSON."), "not JSON"),
        (RuntimeError("a fault of ours"), "could not be read"),
        ("<html>Please log in</html>", "nothing at '/data'"),
        (answer(0.1, "NaN"), "Item 1: 'NaN' is no price"),
        (answer(99, 98), "is the factor right"),
        ({"data": answer(0.5)["data"] * 2}, "at the same time"),
        (answer(0.5, first=-48), "which has passed"),
    ],
)
async def test_a_bad_answer_changes_no_price_and_is_said(world, bad, text):
    tariff_id = await sourced(world)
    fetcher = TariffFetcher(world.db, world.clock, Site(answer(0.1, 0.2), bad, answer(0.7)))
    await fetcher.turn()
    before = await world.dump(without=("tariff_source",))
    await due(world, tariff_id)
    await fetcher.turn()
    assert await world.dump(without=("tariff_source",)) == before
    assert text in (await row(world, tariff_id)).last_error
    await due(world, tariff_id)
    await fetcher.turn()
    assert (await row(world, tariff_id)).last_error is None
    assert await amounts(world, tariff_id) == ["0.7", "0.2"]


async def test_it_waits_longer_after_each_failure_up_to_its_period(world):
    tariff_id = await sourced(world, every_s=600)
    fetcher = TariffFetcher(world.db, world.clock, Site(UnavailableError("no")))
    waits = []
    for _ in range(6):
        await fetcher.turn()
        one = await row(world, tariff_id)
        waits.append((one.due_at - one.last_at).total_seconds())
        await due(world, tariff_id)
    assert waits == [60, 120, 240, 480, 600, 600]


async def test_two_processes_ask_once(any_world):
    world = any_world
    tariff_id = await sourced(world)
    site = Site(answer(0.1))
    await asyncio.gather(*(TariffFetcher(world.db, world.clock, site).turn() for _ in range(4)))
    assert len(site.asked) == 1
    assert await amounts(world, tariff_id) == ["0.1"]


async def test_one_source_that_fails_does_not_stop_the_others(world):
    first = await sourced(world)
    async with world.tx() as tx:
        new = NewTariff(Kind.NETWORK, "N", "EUR", True)
        second = (await tariffs.create(tx, new, world.now, who="test")).id
        await tariff_source.put_source(tx, second, URL, MAPPING, 60, world.now, who="test")
    await TariffFetcher(world.db, world.clock, Site(ValueError("odd"), answer(0.4))).turn()
    failed = {one for one in (first, second) if (await row(world, one)).last_error}
    assert len(failed) == 1
    assert await amounts(world, ({first, second} - failed).pop()) == ["0.4"]


@pytest.mark.parametrize("change", ["other url", "removed", "retired"])
async def test_an_answer_to_an_old_question_is_dropped(world, change):
    tariff_id = await sourced(world)

    async def meddle(_url, **_how):
        async with world.tx() as tx:
            if change == "other url":
                await tariff_source.put_source(tx, tariff_id, f"{URL}&new=1", MAPPING, 60, world.now, who="ann")
            elif change == "removed":
                await tariff_source.remove_source(tx, tariff_id, world.now, who="ann")
            else:
                await tariffs.retire(tx, tariff_id, world.now, who="ann")
        return answer(0.1)

    await TariffFetcher(world.db, world.clock, meddle).turn()
    assert await amounts(world, tariff_id) == []
    one = await row(world, tariff_id)
    if change == "removed":
        assert one is None
    elif change == "retired":
        assert "retired" in one.last_error
        await due(world, tariff_id)
        site = Site(answer(0.1))
        await TariffFetcher(world.db, world.clock, site).turn()
        assert site.asked == []
    else:
        assert (one.last_error, one.last_at) == (None, None)


async def test_headers_come_from_the_environment_and_stay_there(world):
    mapping = Mapping(items="/data", start="/start", value="/price", step=Duration.of(hours=1), headers={"X-Key": KEY})
    tariff_id = await sourced(world, mapping)
    site = Site(answer(0.1))
    for unset in ({}, {KEY: ""}, {KEY: "a\r\nb"}):
        await TariffFetcher(world.db, world.clock, site, environment=unset).turn()
        assert f"{KEY} (header X-Key) is not set" in (await row(world, tariff_id)).last_error
        await due(world, tariff_id)
    assert site.asked == []
    await TariffFetcher(world.db, world.clock, site, environment={KEY: "s3cret"}).turn()
    assert [headers for _, headers in site.asked] == [{"X-Key": "s3cret"}]
    assert "s3cret" not in repr(await world.dump())


@pytest.mark.parametrize(
    ("url", "every_s", "text"),
    [
        ("ftp://example.com/", 60, "^url: "),
        ("example.com", 60, "^url: "),
        ("https://", 60, "^url: "),
        ("https://user:pass@example.com/", 60, "^url: "),
        ("https://example.com/a b", 60, "^url: "),
        ("https://exämple.com/", 60, "^url: "),
        ("https://example.com/" + "a" * 2000, 60, "^url: "),
        ("https://example.com:99999/", 60, "^url: "),
        (URL, 59, "every_s"),
        (URL, 32 * 86400, "every_s"),
    ],
)
async def test_an_odd_source_is_refused(world, url, every_s, text):
    with pytest.raises(InvalidError) as refused:
        await sourced(world, url=url, every_s=every_s)
    assert re.search(text, f"{refused.value.field}: {refused.value}")
    assert await world.rows("tariff_source") == []


async def test_every_change_of_a_source_is_in_the_audit(world):
    tariff_id = await sourced(world)
    async with world.tx() as tx:
        await tariff_source.put_source(
            tx, tariff_id, "https://b.example/?token=secret", MAPPING, 60, world.now, who="ann"
        )
        await tariff_source.ask_now(tx, tariff_id, world.now, who="ann")
        await tariff_source.remove_source(tx, tariff_id, world.now, who="ann")
        for work in (tariff_source.ask_now, tariff_source.remove_source):
            with pytest.raises(NotFoundError, match="no source"):
                await work(tx, tariff_id, world.now, who="ann")
        with pytest.raises(NotFoundError, match="No tariff"):
            await tariff_source.put_source(tx, "trf_none", URL, MAPPING, 60, world.now, who="ann")
    told = [row for row in await world.rows("audit") if row.who == "ann"]
    assert [row.action for row in told] == [
        "tariff source", "tariff source", "ask tariff source", "remove tariff source",
    ]  # fmt: skip
    assert (told[1].before["url"], told[1].after["url"]) == (URL.partition("?")[0], "https://b.example/")
    assert "secret" not in str(told), "the query may be a key"


# -- over HTTP


@contextlib.asynccontextmanager
async def served(handler):
    """Serve one address on loopback and yield it."""
    app = web.Application()
    app.router.add_get("/prices", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/prices"
    finally:
        await runner.cleanup()


GUARD = Guard.allowing(["127.0.0.1"])


async def after_a_turn(world, url, guard=GUARD):
    tariff_id = await sourced(world, url=url)
    await TariffFetcher(world.db, world.clock, partial(fetch_json, guard=guard)).turn()
    return tariff_id, (await row(world, tariff_id)).last_error


async def test_prices_come_over_http(world):
    async def good(_request):
        return web.json_response(answer(0.1, -0.25))

    async with served(good) as url:
        tariff_id, error = await after_a_turn(world, url)
    assert error is None
    assert await amounts(world, tariff_id) == ["0.1", "-0.25"]


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (web.Response(text="<html>Hello</html>", content_type="text/html"), "is not JSON"),
        (web.Response(text="", content_type="application/json"), "is not JSON"),
        (web.Response(text="[" * 100_000, content_type="application/json"), "is not JSON"),
        (web.Response(text='{"data": [NaN]}', content_type="application/json"), "is not JSON"),
        (web.Response(text="9" * 5000, content_type="application/json"), "is not JSON"),
        (web.Response(text='{"data": [', content_type="application/json"), "is not JSON"),
        (web.Response(text=" " * (5 << 20), content_type="application/json"), "longer than"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302"),
        (web.Response(status=500, text="{}"), "answered 500"),
        (web.Response(text=json.dumps({"data": []}), content_type="application/json"), "no list"),
    ],
)
async def test_bad_answers_over_http(world, response, text):
    async def bad(_request):
        return response

    async with served(bad) as url:
        tariff_id, error = await after_a_turn(world, url)
    assert text in error
    assert await amounts(world, tariff_id) == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "https://127.0.0.1:1/x", "https://[::1]/x", "https://10.0.0.1/x"]
)
async def test_private_addresses_are_not_asked_unless_allowed(world, url):
    _, error = await after_a_turn(world, url, Guard())
    assert "not a public address" in error or "only spoken with" in error
