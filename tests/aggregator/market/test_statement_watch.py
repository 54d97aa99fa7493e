"""Statements that come by themselves: when, once, in which months, and what they cost to find."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import insert, update

from aggregator.tables import activation, settlement
from aggregator.trade import settlements, statement_watch, statements
from aggregator.trade.settlements import SettlementFigures
from aggregator.trade.statement_watch import StatementWatch
from aggregator.trade.worker import TradeWorker
from support.vtn_world import counted_statements
from vtn.services import programme
from vtn.store.rows import to_json
from vtn.store.tables import programme as programme_table

from .conftest import SETTINGS, START
from .test_statements import newest_of, settled

ZONE = "Pacific/Auckland"
MONTH_END = datetime(2026, 1, 31, 11, tzinfo=UTC)
"""Of January in that zone, 13 hours before London's."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIGURES = SettlementFigures("4", "4", "0", "EUR", "0.20", "0.40", "0.80", "0.00", "0.80")


@pytest.fixture
def parameters():
    return {"time_zone": ZONE}


@pytest.fixture(autouse=True)
def looks(monkeypatch):
    """Let each turn look."""
    monkeypatch.setattr(statement_watch, "_EVERY_S", 0.0)


class Book:
    """A contract's activations and settlements, written down without anybody having delivered anything."""

    def __init__(self, trade, contract=None):
        self._trade = trade
        self.contract = contract or trade.contract
        self._rows = 0

    async def began(self, starts_at, **more):
        """Note an activation of an hour; return its id."""
        self._rows += 1
        row = {
            "id": f"act_{self.contract.id}_{self._rows}",
            "contract_id": self.contract.id,
            "party_id": self.contract.party_id,
            "direction": "reduce",
            "starts_at": starts_at,
            "ends_at": starts_at + HOUR,
            "intervals": [],
            "terms": {},
            "modification_number": 0,
            "created_at": starts_at,
            "created_by": "test",
        }
        async with self._trade.world.tx() as tx:
            await tx.conn.execute(insert(activation).values(**(row | more)))
        return row["id"]

    async def settled(self, activation_id, version=1, *, final=False, net="0.80", **more):
        """Note a version of an activation's settlement; return its id."""
        row = {
            "id": f"stl_{activation_id}_{version}",
            "activation_id": activation_id,
            "contract_id": self.contract.id,
            "party_id": self.contract.party_id,
            "version": version,
            "supersedes": None if version == 1 else f"stl_{activation_id}_{version - 1}",
            "starts_at": START,
            "ends_at": START + HOUR,
            "figures": to_json(FIGURES) | {"net": net},
            "created_at": self._trade.now,
            "report_version": version,
            "final": final,
            "final_at": self._trade.now,
        }
        async with self._trade.world.tx() as tx:
            await tx.conn.execute(insert(settlement).values(**(row | more)))
        return row["id"]

    async def changed(self, settlement_id, **values):
        async with self._trade.world.tx() as tx:
            await tx.conn.execute(update(settlement).where(settlement.c.id == settlement_id).values(**values))

    async def versions(self, month="2026-01"):
        """Return whether each version of a month's statement is final, oldest first."""
        async with self._trade.world.db.read() as conn:
            rows = await statements.listed(conn, contract_id=self.contract.id, month=month)
        return [row.final for row in reversed(rows)]


async def who_made(trade):
    return [row.who for row in await trade.world.rows("audit") if row.action == "statement"]


async def test_a_month_is_stated_by_itself_when_it_is_over_and_settled(any_trade):
    trade = any_trade
    book = Book(trade)
    first = await book.began(MONTH_END - HOUR)
    await book.settled(first)
    await book.began(MONTH_END)  # February, there
    await book.began(MONTH_END - DAY, cancelled_at=MONTH_END - 2 * DAY)
    await trade.at(MONTH_END - timedelta(seconds=1))
    assert await book.versions() == []
    await trade.at(MONTH_END, turns=3)
    assert await book.versions() == [False]
    assert await book.versions("2026-02") == []
    assert await who_made(trade) == ["market"]
    assert (await trade.told()).count("statement.created") == 1
    async with trade.world.db.read() as conn:
        stated = await statements.newest(conn, trade.contract.id, "2026-01")
    assert [(row.activation_id, row.local_start) for row in stated.content.activations] == [
        (first, "2026-01-31T23:00+13:00")
    ]


async def test_one_that_was_made_within_the_month_is_not_the_months(any_trade):
    """A BRP asks on the way: what began later would be missing until everything is final."""
    trade = any_trade
    book = Book(trade)
    await book.settled(await book.began(MONTH_END - 5 * DAY))
    await trade.at(MONTH_END - 3 * DAY)
    async with trade.world.tx() as tx:
        await statements.make(tx, trade.contract.id, "2026-01", trade.now, who="somebody")
    await book.settled(await book.began(MONTH_END - HOUR))
    await trade.at(MONTH_END, turns=3)
    assert await who_made(trade) == ["somebody", "market"]
    async with trade.world.db.read() as conn:
        assert len((await statements.newest(conn, trade.contract.id, "2026-01")).content.activations) == 2


async def test_one_that_says_the_same_already_is_not_made_again_and_again(trade):
    book = Book(trade)
    own = await book.settled(await book.began(MONTH_END - 5 * DAY))
    await trade.at(MONTH_END - 3 * DAY)
    async with trade.world.tx() as tx:
        await statements.make(tx, trade.contract.id, "2026-01", trade.now, who="somebody")
    await trade.at(MONTH_END, turns=3)
    assert await book.versions() == [False]
    await book.changed(own, final=True)
    await trade.at(MONTH_END + HOUR, turns=2)
    assert await book.versions() == [False, True]


async def test_it_does_not_wait_for_settlements_for_ever(trade):
    book = Book(trade)
    late = await book.began(MONTH_END - 2 * HOUR)
    await book.settled(await book.began(MONTH_END - HOUR), final=True)
    await trade.at(MONTH_END + 3 * DAY - timedelta(seconds=1))
    assert await book.versions() == []
    await trade.at(MONTH_END + 3 * DAY)
    assert await book.versions() == [False]
    own = await book.settled(late)
    await trade.at(trade.now + HOUR)
    assert await book.versions() == [False], "versions before the final one are made for who asks"
    await book.changed(own, final=True)
    await trade.at(trade.now + HOUR, turns=2)
    assert await book.versions() == [False, True]


async def test_an_open_dispute_holds_the_final_version_up_until_it_is_answered(any_trade):
    trade = any_trade
    book = Book(trade)
    disputed = await book.settled(await book.began(MONTH_END - HOUR), final=True, disputed_at=START, dispute="No!")
    await trade.at(MONTH_END, turns=2)
    assert await book.versions() == [False]
    await book.changed(disputed, answered_at=trade.now, answer="It is so.")
    await trade.at(trade.now + HOUR, turns=2)
    assert await book.versions() == [False, True]


async def test_a_correction_of_a_final_statement_is_stated_when_it_is_final(any_trade):
    trade = any_trade
    book = Book(trade)
    one = await book.began(MONTH_END - HOUR)
    first = await book.settled(one, final=True)
    await book.settled(await book.began(MONTH_END - 2 * HOUR), final=True)
    await trade.at(MONTH_END, turns=2)
    assert await book.versions() == [True]
    await book.changed(first, disputed_at=trade.now, dispute="No!")
    await trade.at(trade.now + HOUR)
    second = await book.settled(one, 2, net="0.70")
    await trade.at(trade.now + HOUR)
    assert await book.versions() == [True], "the correction is provisional"
    await book.changed(second, final=True, disputed_at=trade.now, dispute="Still not!")
    await trade.at(trade.now + HOUR)
    assert await book.versions() == [True], "the correction is disputed"
    await book.changed(second, answered_at=trade.now, answer="It is.")
    await trade.at(trade.now + HOUR, turns=2)
    assert await book.versions() == [True, True]
    async with trade.world.db.read() as conn:
        stated = await statements.newest(conn, trade.contract.id, "2026-01")
    assert ("net", "1.60", "1.50") in [(it.what, it.before, it.after) for it in stated.changes if it.currency]


async def test_words_alone_change_no_final_statement_but_one_that_was_asked_for_is_made_final_again(trade):
    book = Book(trade)
    one = await book.settled(await book.began(MONTH_END - HOUR), final=True)
    await trade.at(MONTH_END, turns=2)
    await book.changed(one, disputed_at=trade.now, dispute="No!")
    await trade.at(trade.now + HOUR)
    await book.changed(one, answered_at=trade.now, answer="It is so.")
    await trade.at(trade.now + HOUR)
    assert await book.versions() == [True]
    await book.changed(one, answered_at=None)
    async with trade.world.tx() as tx:
        await statements.make(tx, trade.contract.id, "2026-01", trade.now, who="brp")
    await trade.at(trade.now + HOUR)
    assert await book.versions() == [True, False]
    await book.changed(one, answered_at=trade.now)
    await trade.at(trade.now + HOUR, turns=2)
    assert await book.versions() == [True, False, True]
    assert await who_made(trade) == ["market", "brp", "market"]


async def test_the_story_of_an_activation_that_was_delivered_and_disputed(trade):
    """With the real reports and settlements: final, stated, disputed, corrected, stated again."""
    one, called = await settled(trade, 500.0, 500.0)
    await trade.at(START + HOUR + SETTINGS.final_after, turns=2)
    await trade.at(MONTH_END - timedelta(minutes=1))
    book = Book(trade)
    assert await book.versions() == []
    await trade.at(MONTH_END, turns=2)
    assert await book.versions() == [True]
    before = await newest_of(trade, one)
    async with trade.world.tx() as tx:
        await settlements.dispute(tx, before.id, "Our meters show less.", trade.now, who="brp", party_id=trade.party_id)
    await trade.consume(called[0], START, [2000.0, 2000.0], step_s=1800)
    await trade.at(trade.now + timedelta(minutes=1), turns=3)
    assert (await newest_of(trade, one)).version == 2
    assert await book.versions() == [True]
    await trade.at(trade.now + SETTINGS.final_after, turns=3)
    after = await newest_of(trade, one)
    assert (after.version, after.final) == (2, True)
    assert await book.versions() == [True, True]
    async with trade.world.db.read() as conn:
        stated = await statements.newest(conn, trade.contract.id, "2026-01")
    (row,) = stated.content.activations
    assert (row.settlement_id, [it.state for it in row.disputes]) == (after.id, ["corrected"])


async def test_two_workers_at_once_make_one_version(any_trade):
    trade = any_trade
    books = [Book(trade), Book(trade, await trade.contract_with())]
    for book in books:
        await book.settled(await book.began(MONTH_END - HOUR))
    markets = [TradeWorker(trade.world.db, trade.world.clock, SETTINGS) for _ in range(3)]
    trade.world.clock.advance(to=MONTH_END)
    for _ in range(2):
        await asyncio.gather(*(market.turn() for market in markets))
    assert [await book.versions() for book in books] == [[False], [False]]
    assert (await trade.told()).count("statement.created") == 2


async def test_two_processes_that_found_the_same_month_look_again_before_they_make_it(any_trade):
    trade = any_trade
    book = Book(trade)
    one = await book.settled(await book.began(MONTH_END - HOUR))
    trade.world.clock.advance(to=MONTH_END)
    watches = [StatementWatch(trade.world.db, trade.world.clock) for _ in range(2)]
    async with trade.world.db.read() as conn:
        (key,), (same,) = [await watch.due(conn, trade.now, 50) for watch in watches]
    assert key == same
    await asyncio.gather(*(watch.make(key) for watch in watches))
    await book.changed(one, report_version=2)
    await watches[0].make(key)
    assert await book.versions() == [False], "the month has changed since, but is not final"


async def test_a_fault_in_one_contract_does_not_hold_up_the_others(trade, monkeypatch):
    bad, good = Book(trade), Book(trade, await trade.contract_with())
    for book in (bad, good):
        await book.settled(await book.began(MONTH_END - HOUR))
    real = statements.make

    async def make(tx, contract_id, *more, **words):
        if contract_id == bad.contract.id:
            raise RuntimeError("a fault")
        return await real(tx, contract_id, *more, **words)

    monkeypatch.setattr(statements, "make", make)
    await trade.at(MONTH_END)
    assert (await bad.versions(), await good.versions()) == ([], [False])
    monkeypatch.setattr(statements, "make", real)
    fresh = TradeWorker(trade.world.db, trade.world.clock, SETTINGS)
    await fresh.turn()
    assert (await bad.versions(), await good.versions()) == ([False], [False])


async def test_a_programme_whose_zone_was_struck_off_does_not_hold_up_the_others(trade):
    other = await trade.world.programme(context="http://example.com/other")
    async with trade.world.tx() as tx:
        bad = to_json(other.parameters) | {"time_zone": "Mars/Olympus"}
        await tx.conn.execute(update(programme_table).where(programme_table.c.id == other.id).values(parameters=bad))
    book = Book(trade)
    await book.settled(await book.began(MONTH_END - HOUR))
    await trade.at(MONTH_END)
    assert await book.versions() == [False]


async def test_no_statement_of_months_that_are_long_over_or_in_which_nothing_began(trade):
    book = Book(trade)
    long_over = datetime(2025, 9, 30, 11, tzinfo=UTC)  # September's end there
    await book.settled(await book.began(long_over - HOUR), final=True)
    await book.settled(await book.began(long_over + HOUR), final=True)
    await book.began(datetime(2025, 12, 5, tzinfo=UTC), cancelled_at=datetime(2025, 12, 5, tzinfo=UTC))
    await trade.at(datetime(2026, 1, 12, 13, tzinfo=UTC), turns=2)
    months = [(row.contract_id, row.month) for row in await trade.world.rows("statement")]
    assert months == [(trade.contract.id, "2025-10")]
    assert not await book.versions("2025-09")


async def test_so_many_in_a_turn_and_the_rest_in_the_next(trade):
    books = [Book(trade), *[Book(trade, await trade.contract_with()) for _ in range(4)]]
    for book in books:
        await book.settled(await book.began(MONTH_END - HOUR))
    watch = StatementWatch(trade.world.db, trade.world.clock)
    async with trade.world.db.read() as conn:
        parts = [await watch.due(conn, MONTH_END, 2) for _ in range(3)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert len({key for part in parts for key in part}) == 5


async def test_it_looks_every_ten_minutes_and_what_is_stated_is_read_once(any_trade, monkeypatch):
    trade = any_trade
    for book in [Book(trade), *[Book(trade, await trade.contract_with()) for _ in range(3)]]:
        await book.settled(await book.began(MONTH_END - HOUR), final=True)
    trade.world.clock.advance(to=MONTH_END)
    watch = StatementWatch(trade.world.db, trade.world.clock)

    async def look():
        with counted_statements() as counted:
            async with trade.world.db.read() as conn:
                keys = await watch.due(conn, trade.now, 50)
            for key in keys:
                await watch.make(key)
        return len(keys), [one for one in counted if not one.startswith(("BEGIN", "PRAGMA"))]

    assert (await look())[0] == 4
    assert (await look())[0] == 4, "they are final: once more is looked whether they have everything"
    keys, counted = await look()
    assert (keys, len(counted)) == (0, 3)
    assert not any("settlement_version" in one for one in counted)
    monkeypatch.setattr(statement_watch, "_EVERY_S", 600.0)
    await look()
    assert await look() == (0, [])


@pytest.mark.parametrize(
    ("now", "zone", "first", "last"),
    [
        (datetime(2026, 2, 1, tzinfo=UTC), "UTC", "2026-01", "2025-10"),
        (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), "UTC", "2025-12", "2025-10"),
        (datetime(2026, 1, 31, 11, tzinfo=UTC), ZONE, "2026-01", "2025-10"),
        (datetime(2026, 4, 1, 6, 59, tzinfo=UTC), "America/Los_Angeles", "2026-02", "2025-12"),
        (datetime(2000, 2, 1, tzinfo=UTC), "UTC", "2000-01", "2000-01"),
    ],
)
def test_the_months_that_are_over(now, zone, first, last):
    months = list(statement_watch._months_over(zone, now))
    assert (months[0].name, months[-1].name) == (first, last)
    assert all(earlier.end == later.start for later, earlier in pairwise(months))
    assert all(now - statement_watch.LOOK_BACK < one.end <= now for one in months)


@pytest.mark.parametrize("year", [1, 1999, 2101, 9999])
def test_a_clock_that_is_far_off_has_no_months(year):
    assert list(statement_watch._months_over("UTC", datetime(year, 6, 1, tzinfo=UTC))) == []


async def test_the_zones_of_programmes_are_those_of_their_newest_versions(any_trade):
    trade = any_trade
    other = await trade.world.programme(context="http://example.com/other")
    async with trade.world.tx() as tx:
        await programme.change(tx, trade.programme.id, "x", other.parameters, trade.now, who="test")
    async with trade.world.db.read() as conn:
        assert await programme.time_zones(conn) == {trade.programme.id: "UTC", other.id: "UTC"}
