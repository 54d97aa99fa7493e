"""One VEN as its page shows it, how far a request has come, and the audit as people read it."""

from datetime import timedelta

import pytest

from core.errors import NotFoundError
from core.spans import Duration
from openadr.model.opt import Availability, Opt, OptType
from openadr.v20b.messages import CreateOpt
from support.vtn_world import data, usage
from vtn.services import audit_log, potential, potential_forecast, report, ven_view
from vtn.services.audit_log import AuditFilter
from vtn.services.potential import Figures
from vtn.services.potential_forecast import Outlooks


async def test_a_ven_with_all_that_it_said(any_world):
    world = any_world
    ven = await world.ven("home")
    await ven.offer(usage("meter"))
    dispatch = await world.dispatch(ven)
    (event,) = await ven.events()
    await ven.opt(event, OptType.OUT)
    span = Availability(world.now + timedelta(days=1), Duration.of(hours=2))
    schedule = Opt("o1", OptType.OUT, "notParticipating", world.now, availability=(span,))
    await ven.say(CreateOpt(ven.ven_id, "r", schedule))
    async with world.db.read() as conn:
        one = await ven_view.read(conn, ven.ven_id)
        said = await ven_view.opts(conn, ven.ven_id)
        (called,) = await ven_view.events(conn, ven.ven_id)
        with pytest.raises(NotFoundError):
            await ven_view.read(conn, "nobody")
    assert (one.name, [each.id for each in one.resources]) == ("home", ["meter"])
    assert [each.fingerprint for each in one.certificates] == [ven.peer.fingerprint]
    assert one.profile is not None
    assert (called.dispatch_id, called.event_id) == (dispatch, event.event.event_id)
    assert [(each.source, each.spans) for each in said] == [
        ("createOpt", ((span.start, span.start + timedelta(hours=2)),)),
        ("createdEvent", ()),
    ]


async def test_a_request_is_followed_there_and_back(world):
    ven = await world.ven()
    async with world.tx() as tx:
        assert await ven_view.testable_report(tx.conn, ven.ven_id) is None
    await ven.offer(usage("meter", specifier="h", name="HISTORY_USAGE"), usage("meter"))
    async with world.tx() as tx:
        assert await ven_view.testable_report(tx.conn, ven.ven_id) == "TELEMETRY_USAGE"
        request_id = await report.request_now(tx, ven.ven_id, "TELEMETRY_USAGE", world.now, who="test")

    async def trip():
        async with world.db.read() as conn:
            return await ven_view.round_trip(conn, ven.ven_id, request_id)

    queued = await trip()
    assert (queued.sent_at, queued.answered_at, queued.data_at, queued.over) == (None, None, None, False)
    world.later(seconds=7)
    await ven.drain()
    fetched = await trip()
    assert fetched.sent_at == fetched.answered_at == queued.queued_at + timedelta(seconds=7)
    world.later(seconds=2)
    await ven.report(data(request_id, world.now - timedelta(minutes=1), 10.0))
    done = await trip()
    assert done.over
    assert done.data_at == queued.queued_at + timedelta(seconds=9)
    async with world.db.read() as conn:
        with pytest.raises(NotFoundError):
            await ven_view.round_trip(conn, "another", request_id)


async def test_the_audit_is_read_by_who_what_and_when(any_world):
    world = any_world
    async with world.tx() as tx:
        for number in range(5):
            await tx.audit("Ann" if number % 2 else "bob", f"act {number}", f"thing_{number}", at=world.now)
            world.later(hours=1)
    async with world.db.read() as conn:
        assert [one.action for one in await audit_log.listing(conn, AuditFilter(who="Ann"))] == ["act 3", "act 1"]
        assert [one.action for one in await audit_log.listing(conn, AuditFilter(text="THING_2"))] == ["act 2"]
        assert [one.action for one in await audit_log.listing(conn, AuditFilter(text="%"))] == []
        since = AuditFilter(since=world.now - timedelta(hours=2))
        assert [one.action for one in await audit_log.listing(conn, since)] == ["act 4", "act 3"]
        first = await audit_log.listing(conn, AuditFilter(), limit=2)
        rest = await audit_log.listing(conn, AuditFilter(), before=first[-1].id)
        assert [one.action for one in (*first, *rest)] == ["act 4", "act 3", "act 2", "act 1", "act 0"]
        assert await audit_log.actions(conn) == [f"act {number}" for number in range(5)]
        assert [one.subject for one in await audit_log.listing(conn, AuditFilter(text="thing_1"))] == ["thing_1"]


async def test_the_outlook_sums_fresh_figures_and_is_kept_for_a_minute(world):
    vens = [await world.ven() for _ in range(4)]
    start_s = int(world.now.timestamp())
    async with world.tx() as tx:
        for number, ven in enumerate(vens[:2]):
            first = start_s + 1800 * number
            powers = (tuple([100.0] * 4), tuple([200.0] * 4), tuple([300.0] * 4))
            await potential.derived(tx, ven.ven_id, [Figures("r", "reduce", first, 1800, *powers)], world.now)
        old = world.now - timedelta(days=3)
        gone = Figures("r", "increase", start_s - 3 * 86400, 1800, (1.0,), (2.0,), (3.0,))
        await potential.derived(tx, vens[2].ven_id, [gone], old)
    ticks = [0.0]
    outlooks = Outlooks(lambda: ticks[0])
    async with world.db.read() as conn:
        found = await outlooks.today(conn, world.now)
        assert found.reduce.p50_w[:6] == (200.0, 400.0, 400.0, 400.0, 200.0, 0.0)
        assert found.reduce.p10_w[0] == 100.0
        assert found.increase.p90_w == (0.0,) * potential_forecast.STEPS
        assert (found.vens, found.from_history, found.stale, found.silent) == (2, 2, 1, 1)
        assert await outlooks.today(conn, world.now) is found
        ticks[0] = 60.0
        assert await outlooks.today(conn, world.now) is not found
