"""The log of messages as rows, on both databases: filters, pages, bounds."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import NotFoundError
from core.spans import Duration
from support.messages import a_line, kept
from support.vtn_world import NOON
from vtn.services import message_log
from vtn.services.message_bodies import packed, unpacked
from vtn.services.message_log import ROW_BYTES, LogFilter, SubjectKind
from vtn.services.settings import LogBounds


async def minutes(world, wanted=None, **options):
    async with world.db.read() as conn:
        lines = await message_log.listing(conn, wanted or LogFilter(), **options)
    return [int((line.at - NOON) / timedelta(minutes=1)) for line in lines]


def test_rows_of_earlier_versions_can_be_unpacked():
    row = bytes.fromhex("783f1546fda0636060e006874d407e4e8e3e249860e6e8db010081c60990")
    assert unpacked(row) == (b"<oadrPoll/>", b"<oadrResponse/>")


async def test_what_was_kept_is_read_again(any_world):
    subjects = {SubjectKind.EVENT: ["e1", "e2"], SubjectKind.REPORT_REQUEST: ["r1"], SubjectKind.REQUEST: ["q1"]}
    line = a_line(bodies=packed("<ä/>".encode(), b"\xff"), subjects=subjects, fault=True, code=452)
    bare = a_line(who="", fingerprint="", type=None, answer_type=None, status=None, code=None)
    await kept(any_world, line, bare)
    async with any_world.db.read() as conn:
        assert await message_log.get(conn, line.id) == line
        assert await message_log.get(conn, bare.id) == bare
        (first,) = await message_log.listing(conn, LogFilter(ven_id="ven_1"))
        with pytest.raises(NotFoundError):
            await message_log.get(conn, "msg_none")
    assert first == replace(line, bodies=None)
    assert line.named(SubjectKind.EVENT) == ["e1", "e2"]
    assert (line.ven_id, bare.ven_id, a_line(who="AA:01").ven_id) == ("ven_1", None, None)
    assert line.texts() == ("<ä/>", "\ufffd")
    assert first.texts() is None


async def test_lines_are_found(any_world):
    ven = await any_world.ven()
    await kept(
        any_world,
        a_line(0, type="oadrUpdateReport"),
        a_line(1, who=ven.ven_id, subjects={"event": ["e1"], "request": ["e2"]}),
        a_line(2, who=ven.peer.fingerprint, fingerprint=ven.peer.fingerprint, fault=True),
        a_line(3, who="", type="oadrCreatedEvent", subjects={"event": ["e1"]}),
    )
    assert await minutes(any_world) == [3, 2, 1, 0]
    assert await minutes(any_world, LogFilter(ven.ven_id)) == [2, 1]
    assert await minutes(any_world, LogFilter(event_id="e1")) == [3, 1]
    assert await minutes(any_world, LogFilter(event_id="e2")) == []
    assert await minutes(any_world, LogFilter(type="oadrDistributeEvent")) == [3, 2, 1, 0]
    assert await minutes(any_world, LogFilter(type="oadrUpdateReport")) == [0]
    assert await minutes(any_world, LogFilter(faults=True)) == [2]
    since, until = NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)
    assert await minutes(any_world, LogFilter(since=since, until=until)) == [2, 1]
    assert await minutes(any_world, LogFilter(ven.ven_id, "e1", "oadrPoll", since, until)) == [1]
    async with any_world.db.read() as conn:
        assert await message_log.types(conn, ven.ven_id) == ["oadrDistributeEvent", "oadrPoll"]


async def test_pages_go_on_where_the_last_one_ended(any_world):
    lines = [a_line(minute // 2) for minute in range(6)]
    await kept(any_world, *lines)
    seen, before = [], None
    async with any_world.db.read() as conn:
        while page := await message_log.listing(conn, LogFilter(), before=before, limit=1, bodies=True):
            seen += page
            before = page[-1].at, page[-1].id
    assert seen == sorted(lines, key=lambda line: (line.at, line.id), reverse=True)


BOUNDS = LogBounds(Duration.of(days=1), 1000, 1_000_000, 1000, 1_000_000)
SIZE = ROW_BYTES + 1000


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        (BOUNDS, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (replace(BOUNDS, keep=Duration.of(minutes=6)), [9, 8, 7, 6, 5]),
        (replace(BOUNDS, keep=Duration()), []),
        (replace(BOUNDS, lines=3), [9, 8, 7]),
        (replace(BOUNDS, size=3 * SIZE), [9, 8, 7]),
        (replace(BOUNDS, size=3 * SIZE - 1), [9, 8]),
        (replace(BOUNDS, lines_each=2), [9, 8, 7, 0]),  # "b" has 0, 8; "a" the others
        (replace(BOUNDS, size_each=2 * SIZE), [9, 8, 7, 0]),
        (replace(BOUNDS, lines_each=2, lines=1), [9]),
    ],
)
async def test_what_is_beyond_the_bounds_goes_oldest_first(any_world, bounds, left):
    subjects = {"event": ["e"]}
    lines = [a_line(n, who="b" if n in (0, 8) else "a", bodies=bytes(1000), subjects=subjects) for n in range(10)]
    await kept(any_world, *lines)
    now = NOON + timedelta(minutes=10)
    assert await message_log.sweep(any_world.db, bounds, now) == 10 - len(left)
    assert await minutes(any_world) == left
    assert len(await any_world.rows("message_event")) == len(left)
    assert await message_log.sweep(any_world.db, bounds, now) == 0


async def test_many_lines_go_in_portions(any_world, monkeypatch):
    monkeypatch.setattr(message_log, "_AT_ONCE", 7)
    await kept(any_world, *(a_line(n) for n in range(30)))
    assert await message_log.sweep(any_world.db, replace(BOUNDS, lines=1), NOON) == 29
    assert await minutes(any_world) == [29]


async def test_several_processes_sweep_at_once(any_world):
    await kept(any_world, *(a_line(n, subjects={"event": ["e"]}) for n in range(1000)))
    bounds = replace(BOUNDS, lines=10)
    deleted = await asyncio.gather(*(message_log.sweep(any_world.db, bounds, NOON) for _ in range(4)))
    assert sum(deleted) == 990
    assert await minutes(any_world) == list(range(999, 989, -1))


def test_bodies_are_packed_well_and_come_back():
    for request, answer in ((b"", b""), (b"<a/>", b""), (b"", b"<b/>"), (bytes(range(256)) * 300, b"\xff")):
        assert unpacked(packed(request, answer)) == (request, answer)
