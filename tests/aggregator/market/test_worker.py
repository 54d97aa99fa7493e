"""The worker: cut off at any moment, or run twice at once, it does everything once (aggregator.trade.worker)."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from aggregator.trade import activation_start, offers, worker
from aggregator.trade.worker import TradeWorker
from core.errors import UnavailableError
from vtn.services.programme import Limits as CallLimits

from .conftest import SETTINGS, START, Trade

MINUTE = timedelta(minutes=1)
END = START + timedelta(hours=1)
MOMENTS = [
    START - timedelta(minutes=50),
    START - timedelta(minutes=1),
    START + timedelta(seconds=20),
    START + 30 * MINUTE,
    END,
    END + SETTINGS.report_after,
    END + SETTINGS.final_after,
]
ONCE = [
    "request.received",
    "offer.created",
    "request.offered",
    "offer.accepted",
    "activation.scheduled",
    "activation.notified",
    "activation.started",
    "activation.completed",
    "report.published",  # nobody knows what was delivered: no meter has spoken
    "report.published",  # the last one, and so it is settled
    "settlement.published",
]


class Cut:
    """A database whose transactions are lost at their end, as by kill -9, whenever `lost` says so."""

    def __init__(self, db, lost):
        self._db = db
        self._lost = lost
        self.writes = 0

    @contextlib.asynccontextmanager
    async def write(self):
        self.writes += 1
        async with self._db.write() as tx:
            yield tx
            if self._lost(self.writes):
                raise UnavailableError("cut off")

    def read(self):
        return self._db.read()


async def whole_story(trade: Trade, turn) -> None:
    """Request, accept, call, run, report; `turn` does the market's work at each moment."""
    await trade.join(8)
    request_id = await trade.request(trade.wish(*((3000, 3000),) * 4))
    await turn()
    (offer_id,) = (await trade.requested(request_id)).offer_ids
    await trade.accept(await trade.offered(offer_id))
    await turn()
    for moment in MOMENTS:
        trade.world.clock.advance(to=moment)
        await trade.seen()
        await trade.answer()
        await turn()


async def check(trade: Trade) -> None:
    assert await trade.told() == ONCE
    assert len(await trade.world.rows("dispatch")) == 1
    assert len(await trade.world.rows("selection")) == 1
    assert [(row.version, row.final) for row in await trade.world.rows("activation_report")] == [(1, True)]
    assert len(await trade.world.rows("settlement")) == 1
    (one,) = await trade.world.rows("activation")
    assert (one.due_at, one.completed_at) == (None, END)


async def test_each_step_is_done_once_however_often_the_worker_turns(trade):
    async def turns():
        for _ in range(3):
            await trade.market.turn()

    await whole_story(trade, turns)
    await check(trade)
    before = await trade.world.dump()
    await turns()
    assert await trade.world.dump() == before, "with nothing due nothing is written"


async def test_what_was_cut_off_is_done_by_the_next_turn(any_trade, monkeypatch):
    trade = any_trade
    monkeypatch.setattr(worker, "_PAUSE_S", 0.0)
    cut = Cut(trade.world.db, lambda number: number % 2 == 1)
    market = TradeWorker(cut, trade.world.clock, SETTINGS)

    async def turns():
        for _ in range(5):
            await market.turn()

    await whole_story(trade, turns)
    await check(trade)
    assert cut.writes >= 2 * len(MOMENTS)


async def test_two_workers_at_once_do_everything_once(any_trade):
    trade = any_trade
    markets = [TradeWorker(trade.world.db, trade.world.clock, SETTINGS) for _ in range(2)]

    async def turns():
        for _ in range(2):
            await asyncio.gather(*(market.turn() for market in markets))

    await whole_story(trade, turns)
    await check(trade)


async def test_one_bad_row_does_not_hold_up_the_others(trade, monkeypatch):
    await trade.join(8)
    bad = await trade.request(trade.wish((0, 1000)))
    good = await trade.request(trade.wish((0, 1000), start=START + timedelta(hours=3)))
    real = offers.compose

    def compose(wish, *more):
        if wish.start == START:
            raise RuntimeError("a fault")
        return real(wish, *more)

    monkeypatch.setattr(offers, "compose", compose)
    await trade.market.turn()
    assert (await trade.requested(good)).status == "offered"
    assert (await trade.requested(bad)).status == "received"
    monkeypatch.setattr(offers, "compose", real)
    await trade.market.turn()
    assert (await trade.requested(bad)).status == "received", "not hammered each second"
    fresh = TradeWorker(trade.world.db, trade.world.clock, SETTINGS)
    await fresh.turn()
    assert (await trade.requested(bad)).status == "offered"


async def test_what_changes_during_the_selection_is_selected_anew(trade, monkeypatch):
    await trade.join(8)
    activation_id = await trade.accept(await trade.offer(trade.wish((3000, 3000))))
    real = activation_start.choose
    raced = []

    def choose(*arguments, **more):
        if not raced:
            raced.append(True)
            asyncio.run_coroutine_threadsafe(race(), loop).result()
        return real(*arguments, **more)

    async def race():
        await trade.world.dispatch(*trade.homes[:2], under=trade.programme)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(activation_start, "choose", choose)
    await trade.market.turn()
    assert (await trade.activation(activation_id)).dispatch_id is None
    await trade.market.turn()
    one = await trade.activation(activation_id)
    called = {row.ven_id for row in await trade.world.rows("event", dispatch_id=one.dispatch_id)}
    assert called
    assert called.isdisjoint(home.ven_id for home in trade.homes[:2])


@pytest.mark.parametrize("parameters", [{"limits": CallLimits(per_day=1)}])
async def test_nobody_is_called_more_often_than_the_programme_allows(trade):
    await trade.join(12)
    await trade.running(trade.wish((3000, 3000)))
    later = START + timedelta(hours=3)
    activation_id = await trade.accept(await trade.offer(trade.wish((3000, 3000), start=later)))
    await trade.at(later - timedelta(hours=1))
    assert (await trade.activation(activation_id)).dispatch_id is not None
    rows = await trade.world.rows("event")
    assert len({row.ven_id for row in rows}) == len(rows)
