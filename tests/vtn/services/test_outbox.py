"""The outbox: pending, sent, done or dead."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.event import ResponseRequired
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedReport,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
)
from support.vtn_world import counted_statements, fake_fingerprint, power, usage
from vtn.services import dispatch, outbox, pending, registration, report
from vtn.services.outbox import Intent
from vtn.services.settings import VtnSettings, WantedReport
from vtn.transport.peer import Peer
from vtn.transport.v20b.service import EMPTY


@pytest.fixture
def settings():
    wanted = WantedReport("TELEMETRY_USAGE", Duration.of(minutes=1), Duration.of(minutes=5))
    return VtnSettings("vtn", poll_period=Duration.of(seconds=40), max_tries=3, wanted_reports=(wanted,))


async def states(world, ven):
    return [row.state for row in await world.rows("outbox", ven_id=ven.ven_id)]


async def test_resend_time_is_two_poll_periods_but_at_least_a_minute():
    assert VtnSettings("v", poll_period=Duration.of(seconds=40)).resend_after == Duration.of(seconds=80)
    assert VtnSettings("v", poll_period=Duration.of(seconds=1)).resend_after == Duration.of(seconds=60)


async def test_pl02_one_message_a_poll_in_order_and_then_an_empty_answer(world):
    ven = await world.ven()
    await world.dispatch(ven)
    world.later(seconds=1)
    async with world.tx() as tx:
        await registration.ask_to_reregister(tx, ven.ven_id, world.now, who="test")
    world.later(seconds=1)
    async with world.tx() as tx:
        await registration.ask_to_cancel(tx, ven.ven_id, world.now, who="test")
    kinds = [type(await ven.poll()) for _ in range(5)]
    assert kinds == [DistributeEvent, RequestReregistration, CancelPartyRegistration, OadrResponse, OadrResponse]


async def test_rp01_after_a_registration_our_metadata_comes_before_the_events(any_world):
    world = any_world
    ven = await world.ven(register=False)
    await world.dispatch(ven)
    await ven.register()
    first, second = await ven.drain()
    assert isinstance(first, RegisterReport)
    assert isinstance(second, DistributeEvent)


async def test_pl04_a_row_just_sent_is_not_due_and_comes_again_after_its_time(any_world):
    world = any_world
    ven = await world.ven()
    await world.dispatch(ven)
    (one,) = await ven.events()
    world.later(seconds=79)
    assert isinstance(await ven.poll(), OadrResponse)
    world.later(seconds=1)
    (again,) = await ven.events()
    assert again.event.event_id == one.event.event_id
    await ven.opt(again)
    world.later(hours=1)
    assert isinstance(await ven.poll(), OadrResponse)
    assert await states(world, ven) == ["done", "done"]


async def test_what_is_never_answered_dies_after_the_last_try(world):
    ven = await world.ven()
    await world.dispatch(ven)
    sent = []
    for _ in range(6):
        sent.append(isinstance(await ven.poll(), DistributeEvent))
        world.later(seconds=80)
    assert sent == [True] * 3 + [False] * 3
    assert (await world.outbox(ven))["events_changed", ""] == "dead"


async def ignore_everything(world, ven):
    """Poll until the VEN was told everything as often as it is, and answer nothing."""
    for _ in range(8):
        await ven.poll()
        world.later(seconds=80)


async def of_ven(world, ven):
    async with world.db.read() as conn:
        return await report.requests_of(conn, ven.ven_id)


async def test_a_report_request_whose_message_was_given_up_is_unanswered(any_world):
    world = any_world
    ven = await world.ven()
    await ven.say(RegisterReport("r", (usage("meter"),), ven.ven_id))
    await ignore_everything(world, ven)
    (asked,) = await of_ven(world, ven)
    assert (asked.state, asked.reason) == ("unanswered", "The VEN did not answer the request.")
    # A late answer counts all the same, and so does one to a request that was sent again.
    request_id = asked.request.request_id
    await ven.say(CreatedReport(Response(200, "OK", request_id), (request_id,), ven.ven_id))
    (asked,) = await of_ven(world, ven)
    assert (asked.state, asked.reason) == ("active", None)
    assert (await world.outbox(ven))["report_wanted", request_id] == "done"


async def test_an_unanswered_report_request_can_be_sent_again(world):
    ven = await world.ven()
    await ven.say(RegisterReport("r", (usage("meter"),), ven.ven_id))
    await ignore_everything(world, ven)
    async with world.tx() as tx:
        (row,) = await pending.unanswered(tx.conn, ven.ven_id)
        await pending.send_again(tx, row.id, world.now, who="test")
    assert [one.state for one in await of_ven(world, ven)] == ["queued"]
    (message,) = await ven.drain()
    assert message.requests[0].request_id == row.subject
    assert [one.state for one in await of_ven(world, ven)] == ["active"]


async def test_the_cancellation_of_a_report_that_was_ignored_says_so(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    async with world.tx() as tx:
        await report.cancel(tx, wish.request_id, world.now, who="test")
    await ignore_everything(world, ven)
    (asked,) = await of_ven(world, ven)
    assert (asked.state, asked.reason) == ("cancelled", "cancelled by the operator; the VEN did not answer")


async def test_a_cancelled_registration_that_was_ignored_says_so_until_it_is_answered(world):
    ven = await world.ven()
    async with world.tx() as tx:
        await registration.ask_to_cancel(tx, ven.ven_id, world.now, who="test")
    await ignore_everything(world, ven)
    async with world.db.read() as conn:
        (row,) = await pending.unanswered(conn, ven.ven_id)
    assert (row.kind, row.tries) == ("unregister", 3)
    await ven.say(CanceledPartyRegistration(Response(), ven.registration_id, ven.ven_id))
    async with world.db.read() as conn:
        assert await pending.unanswered(conn, ven.ven_id) == []
        assert await registration.current(conn, ven.ven_id) is None


async def test_a_change_wakes_a_dead_mark(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven, starts_in=timedelta(hours=5))
    for _ in range(4):
        await ven.poll()
        world.later(seconds=80)
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", start=world.now + timedelta(hours=9))
    assert [one.event.modification_number for one in await ven.events()] == [1]


async def test_two_changes_before_a_poll_are_one_delivery(world):
    ven = await world.ven()
    await world.dispatch(ven)
    await world.dispatch(ven)
    assert len(await ven.events()) == 2
    assert isinstance(await ven.poll(), OadrResponse)


async def test_pl07_a_mere_status_change_triggers_no_delivery(world):
    ven = await world.ven()
    await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one)
    for minutes in (59, 2, 70):
        world.later(minutes=minutes)
        assert isinstance(await ven.poll(), OadrResponse)


async def test_without_answer_the_next_request_closes_the_row(any_world):
    world = any_world
    ven = await world.ven()
    await world.dispatch(ven, rules={"response_required": ResponseRequired.NEVER})
    await ven.events()
    assert (await world.outbox(ven))["events_changed", ""] == "sent"
    assert isinstance(await ven.poll(), OadrResponse)
    assert (await world.outbox(ven))["events_changed", ""] == "done"


async def test_a_refused_request_closes_nothing(world):
    ven, other = await world.ven(), await world.ven()
    await world.dispatch(ven, rules={"response_required": ResponseRequired.NEVER})
    await ven.events()
    await other.say(Poll(ven.ven_id))
    await ven.say(Poll("none such"))
    assert (await world.outbox(ven))["events_changed", ""] == "sent"


@pytest.mark.parametrize("by_registration", [False, True])
async def test_rg09_a_reregistration_request_is_done_by_response_or_registration(world, by_registration):
    ven = await world.ven()
    async with world.tx() as tx:
        await registration.ask_to_reregister(tx, ven.ven_id, world.now, who="test")
    assert isinstance(await ven.poll(), RequestReregistration)
    await ven.poll()
    assert (await world.outbox(ven))["reregister", ""] == "sent", "a mere request is no answer"
    if by_registration:
        await ven.register()
    else:
        answer = await ven.say(OadrResponse(Response(), ven.ven_id))
        assert answer.response.code == 200
    assert (await world.outbox(ven))["reregister", ""] == "done"


async def test_each_answer_closes_its_own_row_only(world):
    ven = await world.ven()
    offers = (usage("a", specifier="one"), usage("b", specifier="two"))
    await ven.say(RegisterReport("r", offers, ven.ven_id))
    asked = await ven.drain(answer=False)
    assert [type(one) for one in asked] == [CreateReport, CreateReport]
    first, second = (one.requests[0].request_id for one in asked)
    await ven.say(RegisteredReport(Response(), (), ven.ven_id))
    assert (await world.outbox(ven))["report_wanted", first] == "sent"
    await ven.say(CreatedReport(Response(200, "OK", asked[1].request_id), (second,), ven.ven_id))
    assert [(await world.outbox(ven))["report_wanted", one] for one in (first, second)] == ["sent", "done"]
    await ven.say(CreatedReport(Response(461, "no", asked[0].request_id), (second,), ven.ven_id))
    assert [(await world.outbox(ven))["report_wanted", one] for one in (first, second)] == ["done", "done"]
    async with world.db.read() as conn:
        assert {(one.request.request_id, one.state) for one in await report.requests_of(conn, ven.ven_id)} == {
            (first, "refused"),
            (second, "active"),
        }


@pytest.mark.parametrize("again", [True, False], ids=["new registration", "cancellation"])
async def test_a_new_registration_or_a_cancellation_clears_the_queue(any_world, again):
    world = any_world
    ven = await world.ven()
    await world.dispatch(ven)
    await ven.poll()
    async with world.tx() as tx:
        await registration.ask_to_reregister(tx, ven.ven_id, world.now, who="test")
    if again:
        await ven.register()
        assert [type(one) for one in await ven.drain()] == [RegisterReport, DistributeEvent]
    else:
        await ven.say(CancelPartyRegistration("c", ven.registration_id, ven.ven_id))
        assert set(await states(world, ven)) == {"done"}


async def test_marks_of_events_that_are_over_are_given_up_after_a_moment(any_world):
    world = any_world
    silent, busy = await world.ven(), await world.ven()
    await world.dispatch(silent, busy)
    await world.dispatch(busy, starts_in=timedelta(hours=5))

    async def sweep():
        async with world.tx() as tx:
            return await outbox.expire(tx, world.now)

    assert await sweep() == 0
    world.later(hours=2, seconds=59)
    assert await sweep() == 0
    world.later(seconds=1)
    assert await sweep() == 1
    assert (await world.outbox(silent))["events_changed", ""] == "dead"
    assert (await world.outbox(busy))["events_changed", ""] == "pending"
    assert isinstance(await silent.poll(), OadrResponse)


async def test_ev60_an_event_that_was_cut_short_is_told_by_a_list_without_it(world):
    ven = await world.ven()
    dispatch_id = await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one)
    world.later(minutes=90)
    end = Duration.of(minutes=30, seconds=5)
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", duration=end, signals=(power(-1000.0, each=end),))
    world.later(seconds=10)
    async with world.tx() as tx:
        await outbox.expire(tx, world.now)
    assert await ven.events() == []
    assert isinstance(await ven.poll(), OadrResponse)
    assert (await world.outbox(ven))["events_changed", ""] == "done"


async def test_two_vens_do_not_see_each_others_messages(world):
    one, other = await world.ven(), await world.ven()
    await world.dispatch(one)
    assert isinstance(await other.poll(), OadrResponse)
    await other.offer(usage("meter"))
    (mine,) = await one.events()
    await one.opt(mine)
    assert (await world.outbox(other))["reports_offered", ""] == "done"


async def test_what_waits_is_counted(world):
    ven = await world.ven()
    await world.dispatch(ven)
    async with world.db.read() as conn:
        assert await outbox.count_open(conn, world.now) == {"done": 1, "pending": 1}


async def test_what_is_planned_for_later_does_not_wait_yet(world):
    ven = await world.ven()
    due_at = world.now + timedelta(hours=1)
    async with world.tx() as tx:
        await outbox.plan(tx, ven.ven_id, Intent.REREGISTER, world.now, {"": due_at})
    async with world.db.read() as conn:
        assert await outbox.count_open(conn, world.now) == {"done": 1}
        assert await outbox.count_open(conn, due_at) == {"done": 1, "pending": 1}
    assert isinstance(await ven.poll(), OadrResponse)
    world.later(hours=1)
    assert isinstance(await ven.poll(), RequestReregistration)


async def test_an_empty_poll_touches_no_sql(any_world):
    world = any_world
    vens = [await world.ven() for _ in range(3)]
    await world.dispatch(vens[0])
    await vens[0].opt((await vens[0].events())[0])
    for ven in vens:
        await ven.poll()
    with counted_statements() as statements:
        for _ in range(50):
            for ven in vens:
                assert await world.vtn.answer("OadrPoll", Poll(ven.ven_id), ven.peer) is EMPTY
    assert statements == []


async def test_a_poll_while_a_row_waits_for_its_resend_time_touches_no_sql(world):
    ven = await world.ven()
    await world.dispatch(ven)
    await ven.events()
    await ven.poll()
    with counted_statements() as statements:
        for _ in range(20):
            await ven.poll()
    assert statements == []


async def test_refused_polls_of_known_vens_touch_no_sql(world):
    one, other = await world.ven(), await world.ven()
    await one.poll()
    with counted_statements() as statements:
        for wrong in ("none such", other.ven_id):
            await one.say(Poll(wrong))
    assert statements == []


async def test_a_change_through_another_connection_is_seen_after_a_resync(world):
    ven = await world.ven()
    await ven.poll()
    async with world.db._writer.begin() as conn:  # behind everybody's back: no notice
        await conn.exec_driver_sql("UPDATE outbox SET state = 'pending', tries = 0, due_at = '2026-01-01 00:00:00'")
    assert isinstance(await ven.poll(), OadrResponse)
    world.directory.resync()
    assert isinstance(await ven.poll(), RegisterReport)


async def test_pl03_wrong_ven_id_is_exactly_452(world):
    ven = await world.ven()
    for wrong in ("none such", ven.ven_id.upper(), f" {ven.ven_id}", "0"):
        answer = await ven.say(Poll(wrong))
        assert isinstance(answer, OadrResponse)
        assert answer.response.code == 452


async def test_an_unknown_certificate_waits_to_be_let_in(world):
    ven = await world.ven()
    stranger = Peer(fake_fingerprint(200), "commonName=stranger")
    for _ in range(3):
        assert (await ven.say(Poll(ven.ven_id), peer=stranger)).response.code == 463
    (row,) = await world.rows("waiting_certificate")
    assert (row.fingerprint, row.subject, row.attempts) == (stranger.fingerprint, stranger.subject, 3)
