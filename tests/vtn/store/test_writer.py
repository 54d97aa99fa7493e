"""Group commit: no answer before the commit, no failure of others, nothing lost to a kill."""

import asyncio
import random
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, text

from core.errors import ConflictError, InvalidError, UnavailableError
from support.databases import NOON
from support.waiting import until
from vtn.store import Database
from vtn.store import writer as writer_module
from vtn.store.tables import audit
from vtn.store.tables import group as ven_group
from vtn.store.writer import GroupWriter

CHILD = Path(__file__).with_name("writer_child.py")


class Gate:
    """A database whose transactions, when all is done but the commit, wait until they are let through."""

    def __init__(self, database):
        self._database = database
        self.batches = 0
        self.holding = False
        self.open = asyncio.Event()

    @asynccontextmanager
    async def write(self):
        self.batches += 1
        async with self._database.write() as tx:
            yield tx
            self.holding = True
            await self.open.wait()


def add(group_id):
    async def work(tx):
        await tx.conn.execute(insert(ven_group).values(id=group_id, name=group_id))
        tx.changed(group_id)
        return group_id.upper()

    return work


async def stored(database):
    async with database.read() as conn:
        return set(await conn.scalars(select(ven_group.c.id)))


@pytest.fixture
async def writer(database):
    writer = GroupWriter(database)
    await writer.start()
    yield writer
    await writer.close()


async def test_many_submissions_share_one_commit_and_hear_of_it_afterwards(database):
    gate = Gate(database)
    writer = GroupWriter(gate, max_wait_s=5, max_batch=50)
    await writer.start()
    answers = [asyncio.create_task(writer.submit(add(f"g{number}"))) for number in range(50)]
    await until(lambda: gate.holding, "the batch")
    assert not any(answer.done() for answer in answers)
    assert await stored(database) == set()
    gate.open.set()
    assert await asyncio.gather(*answers) == [f"G{number}" for number in range(50)]
    assert len(await stored(database)) == 50
    assert gate.batches == 1
    await writer.close()


async def test_work_that_fails_fails_alone(database, writer):
    heard = []
    database.on_change(heard.append)

    async def odd(tx):
        await add("odd")(tx)
        raise InvalidError("odd")

    async def stray(tx):
        await add("stray")(tx)
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    works = [add("g1"), odd, add("g2"), add("g1"), stray, add("g3")]
    results = await asyncio.gather(*(writer.submit(work) for work in works), return_exceptions=True)
    assert [type(result) for result in results] == [str, InvalidError, str, ConflictError, UnavailableError, str]
    assert await stored(database) == {"g1", "g2", "g3"}
    assert frozenset().union(*heard) == {"g1", "g2", "g3"}
    assert await writer.submit(add("g4")) == "G4"


async def test_when_the_commit_fails_everybody_hears_it(database):
    class Failing:
        @asynccontextmanager
        async def write(self):
            async with database.write() as tx:
                yield tx
                raise UnavailableError("The disk of the database is full.")

    writer = GroupWriter(Failing(), max_wait_s=5, max_batch=3)
    await writer.start()
    works = [add("g1"), add("g2"), add("g1")]
    results = await asyncio.gather(*(writer.submit(work) for work in works), return_exceptions=True)
    assert [str(result) for result in results] == ["The disk of the database is full."] * 3
    assert await stored(database) == set()
    await writer.close()


async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    writer = GroupWriter(database, max_batch=10)
    await writer.start()
    async with database.write() as tx:
        pages = await tx.conn.scalar(text("PRAGMA page_count"))
        await tx.conn.execute(text(f"PRAGMA max_page_count={pages + 60}"))

    def big(number):
        size = 300_000 if number == 13 else 2_000
        return lambda tx: tx.conn.execute(insert(ven_group).values(id=str(number), name=f"{number}" + "x" * size))

    results = await asyncio.gather(*(writer.submit(big(n)) for n in range(100)), return_exceptions=True)
    acknowledged = {str(n) for n, result in enumerate(results) if not isinstance(result, Exception)}
    assert all(isinstance(result, UnavailableError) for result in results if isinstance(result, Exception))
    assert await stored(database) == acknowledged
    assert 0 < len(acknowledged) < 100
    async with database.write() as tx:
        await tx.conn.execute(delete(ven_group))
    assert await writer.submit(add("again")) == "AGAIN"
    await writer.close()
    await database.close()


async def test_too_much_waiting_work_is_refused(database):
    gate = Gate(database)
    writer = GroupWriter(gate, max_batch=2, max_waiting=3)
    await writer.start()
    first = [asyncio.create_task(writer.submit(add(f"a{number}"))) for number in range(2)]
    await until(lambda: gate.holding, "the batch")
    more = [asyncio.create_task(writer.submit(add(f"b{number}"))) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="busy"):
        await writer.submit(add("c"))
    gate.open.set()
    await asyncio.gather(*first, *more)
    assert await stored(database) == {"a0", "a1", "b0", "b1", "b2"}
    await writer.close()


async def test_closing_finishes_what_was_submitted_and_refuses_the_rest(database):
    writer = GroupWriter(database, max_batch=3)
    await writer.start()
    answers = [asyncio.create_task(writer.submit(add(f"g{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    await writer.close()
    await asyncio.gather(*answers)
    assert len(await stored(database)) == 10
    with pytest.raises(UnavailableError, match="stopping"):
        await writer.submit(add("late"))
    await writer.close()


async def test_a_submitter_who_goes_away_harms_nobody(database):
    gate = Gate(database)
    writer = GroupWriter(gate, max_batch=1)
    await writer.start()
    first = asyncio.create_task(writer.submit(add("g1")))
    await until(lambda: gate.holding, "the batch")
    gone = asyncio.create_task(writer.submit(add("g2")))
    last = asyncio.create_task(writer.submit(add("g3")))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    gate.open.set()
    assert await last == "G3"
    assert await stored(database) == {"g1", "g3"}
    await writer.close()


async def test_submitting_inside_work_is_noticed(writer):
    async def inner(tx):
        return await writer.submit(add("g1"))

    with pytest.raises(RuntimeError, match="for ever"):
        await writer.submit(inner)


def write_until_killed(database_url, enough):
    """Let a process write until it has acknowledged enough, kill it, and return all that it acknowledged."""
    command = [sys.executable, CHILD, database_url, "child"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        acknowledged = [int(child.stdout.readline()) for _ in range(enough)]
        child.kill()
        return acknowledged + [int(line) for line in child.stdout if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_process_loses_nothing_that_it_acknowledged(database_url, seed):
    enough = random.Random(seed).randrange(1, 600)  # noqa: S311  a test's instant, not a secret
    acknowledged = write_until_killed(database_url, enough)
    database = await Database.open(database_url)
    async with database.read() as conn:
        rows = [int(row) for row in await conn.scalars(select(audit.c.subject))]
        assert await conn.scalar(select(func.count()).where(audit.c.at != NOON)) == 0
    await database.close()
    assert len(set(rows)) == len(rows)
    assert set(acknowledged) <= set(rows)


async def test_work_that_cannot_begin_in_time_is_refused_and_never_done(database, monkeypatch):
    writer = GroupWriter(database)
    await writer.start()
    begun, free = asyncio.Event(), asyncio.Event()

    async def slow(_tx):
        begun.set()
        await free.wait()

    first = asyncio.create_task(writer.submit(slow))
    await begun.wait()
    monkeypatch.setattr(writer_module, "LOCK_WAIT_S", 0.1)
    done = []

    async def late(_tx):
        done.append(True)

    with pytest.raises(UnavailableError, match="busy"):
        await writer.submit(late)
    free.set()
    await first
    await writer.close()
    assert done == []
