"""What many VENs say at once is done with few statements, and each gets its own answer."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from openadr.model.opt import OptType
from openadr.v20b.messages import DistributeEvent, OadrResponse, Poll
from support.vtn_world import MINUTE, NOON, counted_statements, data, usage
from vtn.services import event, outbox, telemetry
from vtn.services.event import Answer
from vtn.services.settings import VtnSettings, WantedReport


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


async def test_polls_and_answers_of_many_each_get_their_own(any_world):
    world = any_world
    vens = [await world.ven() for _ in range(12)]
    await world.dispatch(*vens[:10])
    got = await asyncio.gather(*(ven.poll() for ven in vens))
    assert all(isinstance(one, DistributeEvent) for one in got[:10])
    assert all(isinstance(one, OadrResponse) for one in got[10:])
    events = await world.rows("event")
    owner = {row.id: row.ven_id for row in events}
    assert [owner[one.events[0].event.event_id] for one in got[:10]] == [ven.ven_id for ven in vens[:10]]
    await asyncio.gather(*(ven.opt(one.events[0]) for ven, one in zip(vens[1:10], got[1:], strict=False)))
    states = [await world.outbox(ven) for ven in vens[:10]]
    assert [state["events_changed", ""] for state in states] == ["sent", *["done"] * 9]
    assert len(await world.rows("opt")) == 9


async def test_statements_do_not_grow_with_the_vens(any_world):
    world = any_world
    vens = [await world.ven() for _ in range(9)]
    asked = {ven.ven_id: (await ven.offer(usage("meter")))[0] for ven in vens}
    await asyncio.gather(*(ven.report(data(asked[ven.ven_id], NOON, 1.0)) for ven in vens))
    await world.dispatch(*vens)

    async def statements(chosen, minute):
        names = [ven.ven_id for ven in chosen]
        reports = {name: [data(asked[name], NOON - timedelta(minutes=minute), 1.0)] for name in names}
        with counted_statements() as seen:
            async with world.tx() as tx:
                rows = await outbox.take(tx, names, world.now, world.settings)
                lists = await event.deliver(tx, dict.fromkeys(rows), world.now)
                said = {name: [_in(one.events[0].event)] for name, one in lists.items()}
                assert set((await event.record_answers(tx, said, world.now)).values()) == {None}
                taken = await telemetry.record(tx, reports, world.now)
                assert [one.unwanted for one in taken.values()] == [()] * len(names)
            assert len(rows) == len(names)
        return len([one for one in seen if "series" not in one or "INSERT" in one])

    assert await statements(vens[:8], 10) == await statements(vens[8:], 20)


def _in(one):
    return Answer(one.event_id, one.modification_number, OptType.IN, 200)


async def test_a_bad_report_among_good_ones_harms_nobody(any_world):
    world = any_world
    vens = [await world.ven() for _ in range(4)]
    asked = [(await ven.offer(usage("meter")))[0] for ven in vens]
    reports = [data(one, NOON, 1.0) for one in asked]
    reports[1] = data("rrq_nobody", NOON, 1.0)
    reports[2] = data(asked[2], NOON, 1.0, r_id="nobody")
    codes = [one.response.code for one in await asyncio.gather(*map(lambda v, r: v.report(r), vens, reports))]
    assert codes == [200, 452, 452, 200]
    assert {row.ven_id for row in await world.rows("series")} == {vens[0].ven_id, vens[3].ven_id}


async def test_polls_of_others_do_not_wait_while_hints_are_read_again(world, monkeypatch):
    changed, other = await world.ven(), await world.ven()
    await world.directory.refresh()
    gate = asyncio.Event()
    read = world.db.read

    @contextlib.asynccontextmanager
    async def slow():
        await gate.wait()
        async with read() as conn:
            yield conn

    monkeypatch.setattr(world.db, "read", slow)
    async with world.tx() as tx:
        tx.changed(changed.ven_id)
    waiting = asyncio.create_task(world.vtn.answer("OadrPoll", Poll(changed.ven_id), changed.peer))
    await asyncio.sleep(0)
    answer = await world.vtn.answer("OadrPoll", Poll(other.ven_id), other.peer)
    assert (answer.response.code, waiting.done()) == (200, False)
    gate.set()
    assert (await waiting).response.code == 200
