"""What VENs answer to events, and when a cancelled event leaves the list (EV-16, EV-42..EV-48)."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.event import EventStatus, ResponseRequired
from openadr.model.opt import OptType
from openadr.v20b.messages import (
    CreatedEvent,
    DistributeEvent,
    EventResponse,
    OadrResponse,
    RequestEvent,
    Response,
)
from support.vtn_world import power
from vtn.services import dispatch, opt


async def said(world, dispatch_id, ven):
    async with world.db.read() as conn:
        return (await opt.effective(conn, dispatch_id))[ven.ven_id][0]


async def cancel(world, dispatch_id):
    async with world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, world.now, who="test")


async def statuses(ven):
    answer = await ven.say(RequestEvent(ven.ven_id, "q"))
    return [one.status for one in answer.events]


async def test_ev16_a_cancelled_event_is_listed_until_it_is_acknowledged(any_world):
    world = any_world
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one)
    await cancel(world, dispatch_id)
    (gone,) = await ven.events()
    assert (gone.status, gone.event.modification_number) == (EventStatus.CANCELLED, 1)
    assert await statuses(ven) == [EventStatus.CANCELLED]
    world.later(minutes=2)
    assert [one.status for one in await ven.events()] == [EventStatus.CANCELLED]
    assert (await ven.opt(gone)).response.code == 200
    assert await statuses(ven) == []
    assert isinstance(await ven.poll(), OadrResponse)
    assert set((await world.outbox(ven)).values()) == {"done"}


async def test_ev16_a_cancelled_event_is_given_up_after_a_number_of_tries(world):
    ven = await world.ven()
    await cancel(world, await world.dispatch(ven, signals=(power(-1, each=Duration()),), duration=Duration()))
    tries = 0
    while isinstance(await ven.poll(), DistributeEvent):
        tries += 1
        world.later(minutes=1)
    assert tries == world.settings.max_tries
    assert (await world.outbox(ven))["events_changed", ""] == "dead"
    assert await statuses(ven) == []


async def test_ev16_a_cancelled_event_is_listed_no_longer_than_it_would_have_run(world):
    ven = await world.ven()
    await cancel(world, await world.dispatch(ven))
    world.later(hours=2)
    assert await statuses(ven) == []


async def test_ev16_ev41_a_cancelled_event_without_answers_leaves_after_the_next_request(world):
    ven = await world.ven()
    endless = {"signals": (power(-1, each=Duration()),), "duration": Duration()}
    dispatch_id = await world.dispatch(ven, **endless, rules={"response_required": ResponseRequired.NEVER})
    assert [one.status for one in await ven.events()] == [EventStatus.FAR]
    assert isinstance(await ven.poll(), OadrResponse)
    await cancel(world, dispatch_id)
    assert [one.status for one in await ven.events()] == [EventStatus.CANCELLED]
    assert isinstance(await ven.poll(), OadrResponse)
    assert await statuses(ven) == []


async def test_ev42_answers_may_come_together_or_one_by_one(world):
    ven = await world.ven()
    ids = [await world.dispatch(ven) for _ in range(3)]
    first, second, third = await ven.events()
    await ven.created(
        (first.event.event_id, 0, OptType.IN, 200),
        (second.event.event_id, 0, OptType.OUT, 200),
    )
    assert (await world.outbox(ven))["events_changed", ""] == "sent"
    await ven.opt(third)
    assert (await world.outbox(ven))["events_changed", ""] == "done"
    assert [await said(world, one, ven) for one in ids] == [OptType.IN, OptType.OUT, OptType.IN]


async def test_ev46_each_event_response_has_a_code_of_its_own(world):
    ven = await world.ven()
    ids = [await world.dispatch(ven) for _ in range(2)]
    good, bad = await ven.events()
    answer = await ven.created(
        (good.event.event_id, 0, OptType.IN, 200),
        (bad.event.event_id, 0, OptType.OUT, 460),
    )
    assert answer.response.code == 200
    rows = {row.event_id: row.response_code for row in await world.rows("opt")}
    assert rows == {good.event.event_id: 200, bad.event.event_id: 460}
    assert [await said(world, one, ven) for one in ids] == [OptType.IN, OptType.OUT]
    assert (await world.outbox(ven))["events_changed", ""] == "done"


async def test_ev46_a_failure_without_event_responses_answers_no_event(world):
    ven = await world.ven()
    await world.dispatch(ven)
    await ven.events()
    answer = await ven.created(response=Response(452, "wrong vtnID"))
    assert answer.response.code == 200
    assert (await world.outbox(ven))["events_changed", ""] == "sent"
    world.later(minutes=1)
    assert len(await ven.events()) == 1


async def test_ev47_a_later_opt_out_is_recorded(any_world):
    world = any_world
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one)
    assert await said(world, dispatch_id, ven) is OptType.IN
    world.later(hours=1, minutes=10)
    await ven.opt(one, OptType.OUT)
    assert await said(world, dispatch_id, ven) is OptType.OUT
    assert len(await world.rows("opt")) == 2


async def test_ev47_tr12_the_same_answer_again_is_no_news(world):
    ven = await world.ven()
    await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one)
    before = await world.dump()
    world.later(minutes=1)
    assert (await ven.opt(one)).response.code == 200
    assert await world.dump() == before


async def test_ev48_an_unknown_event_is_452_and_the_good_answer_beside_it_counts(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    answer = await ven.created(("none such", 0, OptType.IN, 200), (one.event.event_id, 0, OptType.IN, 200))
    assert answer.response.code == 452
    assert await said(world, dispatch_id, ven) is OptType.IN


async def test_ev48_another_modification_is_450_and_not_recorded(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    assert (await ven.opt(one, modification=1)).response.code == 450
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", start=world.now + timedelta(hours=2))
    assert (await ven.opt(one)).response.code == 450, "stale"
    assert await world.rows("opt") == []
    (new,) = await ven.events()
    assert (await ven.opt(new)).response.code == 200


async def test_ev48_another_vens_event_is_as_good_as_unknown(any_world):
    world = any_world
    one, other = await world.ven(), await world.ven()
    await world.dispatch(one)
    (theirs,) = await one.events()
    before = await world.dump()
    assert (await other.opt(theirs)).response.code == 452
    assert await world.dump() == before


async def test_events_that_were_requested_and_answered_do_not_come_out_of_a_poll_again(world):
    ven = await world.ven()
    await world.dispatch(ven)
    listed = await ven.say(RequestEvent(ven.ven_id, "q"))
    await ven.opt(listed.events[0])
    assert isinstance(await ven.poll(), OadrResponse)


async def test_a_new_event_beside_an_answer_to_the_old_one_is_not_lost(world):
    ven = await world.ven()
    await world.dispatch(ven)
    (one,) = await ven.events()
    await world.dispatch(ven, rules={"response_required": ResponseRequired.NEVER})
    await ven.opt(one)
    assert len(await ven.events()) == 2


async def test_what_happened_to_each_modification_is_kept(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    created_at = world.now
    world.later(minutes=1)
    (one,) = await ven.events()
    world.later(minutes=1)
    await ven.opt(one)
    world.later(minutes=1)
    await cancel(world, dispatch_id)
    first, second = await world.rows("delivery")
    minute = timedelta(minutes=1)
    assert (first.queued_at, first.first_sent_at, first.last_sent_at, first.answered_at) == (
        created_at,
        created_at + minute,
        created_at + minute,
        created_at + 2 * minute,
    )
    assert (second.modification_number, second.queued_at, second.first_sent_at) == (1, created_at + 3 * minute, None)


@pytest.mark.parametrize(
    ("opt_type", "description", "reason"),
    [
        (OptType.OUT, "mustRun", "mustRun"),
        (OptType.OUT, "  the car\nmust leave ", "the car must leave"),
        (OptType.OUT, "x" * 500, "x" * 200),
        (OptType.OUT, "OK", None),
        (OptType.OUT, None, None),
        (OptType.IN, "participating", None),
    ],
    ids=["word", "sentence", "long", "OK", "nothing", "optIn"],
)
async def test_why_a_ven_opts_out_reaches_the_operator(world, opt_type, description, reason):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (sent,) = await ven.events()
    answer = EventResponse(sent.event.event_id, 0, opt_type, "q", 200, description)
    for _ in range(2):
        await ven.say(CreatedEvent(ven.ven_id, Response(), (answer,)))
    async with world.db.read() as conn:
        assert (await opt.effective(conn, dispatch_id))[ven.ven_id] == (opt_type, reason)
    assert len(await world.rows("opt")) == 1, "a resend is no news (TR-12)"


async def test_another_reason_is_news(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (sent,) = await ven.events()
    for reason in ("economic", "mustRun"):
        answer = EventResponse(sent.event.event_id, 0, OptType.OUT, "q", 200, reason)
        await ven.say(CreatedEvent(ven.ven_id, Response(), (answer,)))
    async with world.db.read() as conn:
        assert (await opt.effective(conn, dispatch_id))[ven.ven_id] == (OptType.OUT, "mustRun")
