"""Reports that this VTN offers to VENs: what they may have, when it comes, and how it ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.spans import EARLIEST, LATEST, Duration
from openadr.model.report import BAD, ESTIMATED, GOOD, METADATA, ReportRequest
from openadr.model.target import Target
from openadr.v20b import messages as m
from support.metered import HALF, metered_ven
from support.vtn_world import HOUR, MINUTE, NOON, counted_statements, data, usage
from vtn.services import report
from vtn.services.settings import VtnSettings
from vtn.services.ven_cache import VenCache
from vtn.transport.v20b.service import Vtn20b

FIVE = Duration.of(minutes=5)
DAY = Duration.of(days=1)
FOR_EVER = Duration()


@pytest.fixture
def settings():
    return VtnSettings("vtn", own_reports_after=MINUTE)


def once(name="TELEMETRY_USAGE", request_id="r", **parts):
    return ReportRequest(request_id, name, ("energy",), **parts)


def periodic(request_id="r", *, start=NOON, granularity=MINUTE, back=FIVE, duration=FOR_EVER):
    return ReportRequest(request_id, "TELEMETRY_USAGE", ("energy",), granularity, back, start, duration)


def history(start, duration=FOR_EVER, request_id="r"):
    return once("HISTORY_USAGE", request_id, start=start, duration=duration)


async def ask(ven, *requests):
    return await ven.say(m.CreateReport("q", requests, ven.ven_id))


async def fetch(ven, *, code=200, cancel=None):
    """Poll for one report, answer it, and return it; None if none waits."""
    message = await ven.poll()
    if not isinstance(message, m.UpdateReport):
        assert isinstance(message, m.OadrResponse), message
        return None
    answer = m.UpdatedReport(m.Response(code, "OK", message.request_id), cancel, ven.ven_id)
    assert (await ven.say(answer)).response.code == 200
    (brought,) = message.reports
    return brought


async def fetch_all(ven):
    came = []
    while (one := await fetch(ven)) is not None:
        came.append(one)
        assert len(came) < 2000
    return came


def values(brought):
    return {one.start: one.payloads[0].value for one in brought.intervals}


def qualities(brought):
    return {payload.quality for one in brought.intervals for payload in one.payloads}


# -- what is offered


async def test_rp04_rp10_a_ven_is_offered_its_own_energy_alone(any_world):
    ven, other = await any_world.ven(register=False), await any_world.ven()
    await ven.register()
    offered = await ven.poll()
    assert [one.name for one in offered.offers] == ["TELEMETRY_USAGE", "HISTORY_USAGE"]
    assert {point.source for one in offered.offers for point in one.descriptions} == {Target(ven_ids=(ven.ven_id,))}
    assert other.ven_id.encode() not in ven.raw


async def test_a_ven_gets_nobody_elses_energy(any_world):
    await metered_ven(any_world, 1, days=2)
    ven = await any_world.ven()
    await ask(ven, history(NOON - timedelta(days=1)))
    brought = await fetch(ven)
    assert qualities(brought) == {BAD}
    assert set(values(brought).values()) == {0.0}


async def test_without_the_setting_nothing_is_offered_and_what_was_asked_ends(world):
    ven = await world.ven()
    await ask(ven, periodic())
    world.vtn._settings = world.vtn._outgoing._settings = replace(world.settings, own_reports_after=None)
    world.later(minutes=6)
    assert await fetch(ven) is None
    assert await world.rows("own_report") == []
    answer = await ask(ven, once())
    assert (answer.response.code, answer.pending) == (461, ())
    await ven.register()
    assert (await ven.poll()).offers == ()


# -- one report


async def test_rp24_rp51_a_one_shot_request_brings_the_newest_minute_that_is_known(any_world):
    ven, _, wh = await metered_ven(any_world, 3, days=2)
    any_world.later(hours=1)  # nothing came in the last hour
    answer = await ask(ven, once(granularity=HOUR))
    assert (answer.response.code, answer.pending) == (200, ("r",))
    brought = await fetch(ven)
    (interval,) = brought.intervals
    assert (interval.start, interval.duration) == (NOON - timedelta(minutes=1), MINUTE)
    assert interval.payloads[0].value == pytest.approx(wh[NOON - timedelta(minutes=30)] / 30, abs=1e-3)
    assert (interval.payloads[0].quality, brought.request_id, brought.name) == (GOOD, "r", "TELEMETRY_USAGE")
    assert await fetch(ven) is None
    assert await any_world.rows("own_report") == []


async def test_rp48_what_is_not_known_is_a_placeholder(world):
    ven = await world.ven()
    await ask(ven, once())
    brought = await fetch(ven)
    assert [(one.payloads[0].value, one.payloads[0].quality) for one in brought.intervals] == [(0.0, BAD)]


async def test_an_estimate_is_called_one(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest("w", "usage", ("meter",), MINUTE, MINUTE, NOON - timedelta(hours=1), FOR_EVER)
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    start = NOON - timedelta(minutes=2)
    assert (await ven.report(data(wish, start, 10.0, 12.0, quality=ESTIMATED))).response.code == 200
    await ask(ven, once())
    (interval,) = (await fetch(ven)).intervals
    assert (interval.payloads[0].value, interval.payloads[0].quality) == (12.0, ESTIMATED)


@pytest.mark.parametrize(
    ("duration", "count"), [(Duration.of(hours=2), 4), (FOR_EVER, 20), (Duration.of(days=3), 20)], ids=str
)
async def test_rp28_rp29_a_history_begins_where_it_is_asked_from_and_ends_now(any_world, duration, count):
    ven, _, wh = await metered_ven(any_world, 4, days=2)
    start = NOON - timedelta(hours=10)
    await ask(ven, history(start, duration))
    brought = await fetch(ven)
    wanted = {at: value for at, value in wh.items() if start <= at < start + timedelta(minutes=30 * count)}
    assert values(brought) == pytest.approx(wanted)
    assert qualities(brought) == {GOOD}
    assert brought.start == start
    assert {one.duration for one in brought.intervals} == {HALF}
    assert await fetch(ven) is None


async def test_a_history_of_everything_reaches_back_as_far_as_is_offered(world):
    ven = await world.ven()
    await ask(ven, history(NOON - timedelta(days=4000)))
    brought = await fetch(ven)
    assert (brought.start, len(brought.intervals)) == (NOON - timedelta(days=7), 7 * 48)


@pytest.mark.parametrize("start", [EARLIEST, datetime(1969, 12, 31, 23, 50, tzinfo=UTC)], ids=str)
async def test_a_history_may_lie_before_all_meters(world, start):
    ven = await world.ven()
    await ask(ven, history(start, HOUR))
    brought = await fetch(ven)
    assert (len(brought.intervals), qualities(brought)) == (2, {BAD})


# -- periodic reports


async def test_rp25_rp46_periodic_reports_follow_each_other(any_world):
    ven, wish, _ = await metered_ven(any_world, 5, days=1)
    answer = await ask(ven, periodic(duration=Duration.of(minutes=10)))
    assert (answer.response.code, answer.pending) == (200, ("r",))
    any_world.later(minutes=5)
    assert await fetch(ven) is None, "it waits a minute for the readings"
    any_world.later(minutes=1)
    first = await fetch(ven)
    assert (first.start, len(first.intervals), qualities(first)) == (NOON, 5, {BAD})
    assert await fetch(ven) is None
    any_world.later(minutes=5)
    await ven.report(data(wish, NOON, 600.0, step=HALF))
    second = await fetch(ven)
    assert values(second) == pytest.approx({NOON + timedelta(minutes=n): 20.0 for n in range(5, 10)})
    any_world.later(minutes=30)
    assert await fetch(ven) is None, "its time is over"
    assert await any_world.rows("own_report") == []


async def test_rp28_the_first_report_waits_for_its_start(world):
    ven = await world.ven()
    start = NOON + timedelta(hours=2)
    await ask(ven, periodic(start=start))
    world.later(hours=2, minutes=5)
    assert await fetch(ven) is None
    world.later(minutes=1)
    assert (await fetch(ven)).start == start


async def test_a_request_outlasts_the_process_that_took_it(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic())
    another = VenCache(any_world.db, any_world.clock)
    any_world.vtn = Vtn20b(any_world.writer, another, any_world.settings, any_world.clock, any_world.faults)
    any_world.later(minutes=6)
    assert (await fetch(ven)).start == NOON
    assert (await fetch(ven)) is None


async def test_a_granularity_that_does_not_divide_the_report_leaves_no_hole(world):
    ven = await world.ven()
    two = Duration.of(minutes=2)
    await ask(ven, periodic(granularity=two, duration=Duration.of(minutes=11)))
    world.later(minutes=13)
    came = await fetch_all(ven)
    assert [len(one.intervals) for one in came] == [2, 3]
    starts = [at for one in came for at in values(one)]
    assert starts == [NOON + timedelta(minutes=2 * n) for n in range(5)]


async def test_what_a_ven_did_not_fetch_for_more_than_a_day_is_passed_over(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic(granularity=HOUR, back=HOUR))
    any_world.later(days=3, minutes=1)
    came = await fetch_all(ven)
    assert [one.start for one in came] == [NOON + timedelta(days=2, hours=n) for n in range(1, 24)]


async def test_of_a_request_that_is_over_the_last_day_is_sent(world):
    ven = await world.ven()
    start = NOON - timedelta(days=100)
    await ask(ven, periodic(start=start, granularity=HOUR, back=HOUR, duration=Duration.of(days=50)))
    came = await fetch_all(ven)
    assert [one.start for one in came] == [NOON - timedelta(days=51, hours=-n) for n in range(24)]


async def test_tr12_a_report_that_is_not_answered_comes_again_and_then_ends(world):
    ven = await world.ven()
    await ask(ven, periodic())
    world.later(minutes=6)
    first = (await ven.poll()).reports
    assert isinstance(await ven.poll(), m.OadrResponse)
    for _ in range(world.settings.max_tries - 1):
        world.later(seconds=60)
        again = (await ven.poll()).reports
        assert [one.start for one in again] == [one.start for one in first]
    world.later(seconds=60)
    assert isinstance(await ven.poll(), m.OadrResponse)
    assert await world.rows("own_report") == []


async def test_an_answer_moves_on_the_request_that_it_names(world):
    ven = await world.ven()
    await ask(ven, periodic("a"), periodic("b"))
    world.later(minutes=6)
    assert [(await ven.poll()).request_id for _ in range(2)] == ["a", "b"]
    await ven.say(m.UpdatedReport(m.Response(200, "OK", "b"), None, ven.ven_id))
    began = {row.request_id: row.next_at for row in await world.rows("own_report")}
    assert began == {"a": NOON, "b": NOON + timedelta(minutes=5)}
    await ven.say(m.UpdatedReport(m.Response(200, "OK", "b"), None, ven.ven_id))
    await ven.say(m.UpdatedReport(m.Response(200, "OK", ""), None, ven.ven_id))
    assert {row.next_at for row in await world.rows("own_report")} == {NOON + timedelta(minutes=5)}


async def test_rp55_a_ven_that_does_not_know_a_report_hears_no_more_of_it(world):
    ven = await world.ven()
    await ask(ven, periodic())
    world.later(minutes=6)
    assert await fetch(ven, code=452) is not None
    world.later(minutes=5)
    assert await fetch(ven) is None
    assert await world.rows("own_report") == []


async def test_a_report_that_a_ven_cannot_take_does_not_come_again(world):
    ven = await world.ven()
    await ask(ven, periodic())
    world.later(minutes=11)
    assert (await fetch(ven, code=454)).start == NOON
    assert (await fetch(ven)).start == NOON + timedelta(minutes=5)


# -- asking


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (replace(once(), specifier_id="no such"), 452),
        (replace(once(), r_ids=("no such",)), 452),
        (once(request_id="r" * 81), 454),
        (periodic(granularity=FOR_EVER), 454),
        (periodic(granularity=Duration.of(seconds=30)), 454),
        (periodic(granularity=Duration.of(hours=2), back=DAY), 454),
        (periodic(granularity=Duration(months=1), back=Duration(months=1)), 454),
        (periodic(back=Duration.of(seconds=30)), 454),
        (periodic(back=Duration.of(days=2)), 454),
        (periodic(back=-FIVE), 454),
        (periodic(start=None, duration=None), 459),
        (history(NOON - timedelta(days=40), Duration.of(days=8)), 454),
        (history(NOON - timedelta(days=40), Duration(months=12 * 9999)), 454),
        (history(NOON, HOUR), 454),
        (once("HISTORY_USAGE"), 459),
        (replace(history(NOON - timedelta(days=1)), granularity=HOUR), 454),
        (ReportRequest("r", METADATA, (), report_back=Duration.of(seconds=59)), 454),
        (ReportRequest("r", METADATA, (), report_back=-MINUTE), 454),
    ],
    ids=str,
)
async def test_rp20_rp27_rp30_what_is_not_offered_is_refused_and_nothing_of_its_message_is_kept(world, asked, code):
    ven = await world.ven()
    await ask(ven, periodic("runs"))
    before = await world.dump(without=("ven_fault",))
    answer = await ask(ven, once(request_id="good"), asked)
    assert (answer.response.code, answer.pending) == (code, ("runs",)), answer.response.description
    assert await world.dump(without=("ven_fault",)) == before
    await world.faults.flush()
    assert [row.kind for row in await world.rows("ven_fault", ven_id=ven.ven_id)] == ["refused"]


@pytest.mark.parametrize(
    ("start", "code"), [(EARLIEST, 200), (LATEST - timedelta(hours=2), 200), (LATEST, 454)], ids=str
)
async def test_a_request_at_the_end_of_the_calendar_harms_nobody(any_world, start, code):
    ven = await any_world.ven()
    wish = periodic(
        start=start.replace(microsecond=0), granularity=HOUR, back=HOUR, duration=Duration(months=12 * 9999)
    )
    assert (await ask(ven, wish)).response.code == code
    assert len(await fetch_all(ven)) == (23 if start.year == 1 else 0)


async def test_tr12_the_same_request_again_is_no_new_one(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic())
    any_world.later(minutes=6)
    await fetch(ven)
    before = await any_world.dump()
    assert (await ask(ven, periodic())).pending == ("r",)
    assert await any_world.dump() == before
    await ask(ven, periodic(back=Duration.of(minutes=10)))
    any_world.later(minutes=5)
    assert len((await fetch(ven)).intervals) == 10


async def test_another_request_of_the_same_id_takes_its_place(world):
    ven = await world.ven()
    await ask(ven, ReportRequest("r", METADATA, (), report_back=HOUR))
    await ask(ven, periodic())
    assert await ven.drain() == []
    world.later(minutes=6)
    assert (await fetch(ven)).start == NOON
    await ask(ven, ReportRequest("r", METADATA, ()))
    assert [one.report_request_id for one in await ven.drain()] == ["r"]
    world.later(hours=2)
    assert await ven.drain() == []
    assert await world.rows("own_report") == []


async def test_rp13_a_request_may_come_along_with_the_receipt_of_the_metadata(any_world):
    ven = await any_world.ven(register=False)
    await ven.register()
    offered = await ven.poll()
    receipt = m.RegisteredReport(m.Response(200, "OK", offered.request_id), (once(),), ven.ven_id)
    answer = await ven.say(receipt)
    assert isinstance(answer, m.CreatedReport)
    assert (answer.response.code, answer.response.request_id, answer.pending) == (200, offered.request_id, ("r",))
    assert (await fetch(ven)).request_id == "r"
    assert await any_world.outbox(ven) == {("reports_offered", ""): "done", ("report_due", "r"): "done"}


async def test_a_ven_has_at_most_200_requests(world):
    ven = await world.ven()
    with counted_statements() as statements:
        assert (await ask(ven, *(periodic(f"r{n}") for n in range(200)))).response.code == 200
    assert len(statements) < 20
    assert (await ask(ven, once(request_id="too many"))).response.code == 454
    assert (await ask(ven, periodic("r7"))).response.code == 200, "one that is kept already"
    assert len(await world.rows("own_report")) == 200


async def test_rp14_metadata_comes_periodically(any_world):
    ven = await any_world.ven()
    wish = ReportRequest("meta", METADATA, (), report_back=HOUR, start=NOON, duration=Duration.of(hours=2))
    assert (await ask(ven, wish, periodic("data", duration=MINUTE))).pending == ("data", "meta")
    for _ in range(2):
        (offered,) = await ven.drain()
        assert (offered.report_request_id, len(offered.offers)) == ("meta", 2)
        any_world.later(minutes=2)
        said = await fetch(ven)
        assert (said is not None) == (any_world.now < NOON + HOUR.timedelta()), "unchanged metadata ends nothing"
        any_world.later(minutes=58)
    assert await ven.drain() == []
    assert await any_world.rows("own_report") == []


async def test_rg08_registering_afresh_ends_everything(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic(), ReportRequest("meta", METADATA, (), report_back=HOUR))
    await ven.register()
    assert await any_world.rows("own_report") == []
    any_world.later(hours=2)
    assert [type(one) for one in await ven.drain()] == [m.RegisterReport]


# -- cancelling


async def stop(ven, *ids, follow=False):
    return await ven.say(m.CancelReport("c", ids, report_to_follow=follow, ven_id=ven.ven_id))


async def test_rp60_a_report_is_cancelled(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic("a"), periodic("b"), once(request_id="c"), ReportRequest("meta", METADATA, ()))
    answer = await stop(ven, "a", "c", "meta")
    assert (answer.response.code, answer.pending) == (200, ("b",))
    any_world.later(minutes=6)
    assert [one.request_id for one in await fetch_all(ven)] == ["b"]


async def test_rp60_an_unknown_report_is_named_and_the_others_end(world):
    ven = await world.ven()
    await ask(ven, periodic("a"), periodic("b"))
    answer = await stop(ven, "no such", "a")
    assert (answer.response.code, answer.pending) == (452, ("b",))
    assert "no such" in answer.response.description


async def test_a_ven_cannot_cancel_anothers_report(world):
    ven, other = await world.ven(), await world.ven()
    await ask(ven, periodic())
    assert (await stop(other, "r")).response.code == 452
    assert len(await world.rows("own_report")) == 1


async def test_a_cancelled_report_that_is_on_its_way_does_not_come_again(world):
    ven = await world.ven()
    await ask(ven, periodic())
    world.later(minutes=6)
    sent = await ven.poll()
    await stop(ven, "r")
    await ven.say(m.UpdatedReport(m.Response(200, "OK", sent.request_id), None, ven.ven_id))
    world.later(hours=1)
    assert await fetch(ven) is None
    assert await world.rows("own_report") == []


@pytest.mark.parametrize("start", [NOON, NOON + timedelta(hours=5)], ids=["running", "not begun"])
async def test_rp61_one_last_report_follows_at_once(any_world, start):
    ven = await any_world.ven()
    await ask(ven, periodic(start=start))
    any_world.later(minutes=3)
    answer = await stop(ven, "r", follow=True)
    assert (answer.response.code, answer.pending) == (200, ("r",))
    last = await fetch(ven)
    assert last.request_id == "r"
    assert len(last.intervals) == (3 if start == NOON else 1)
    any_world.later(hours=6)
    assert await fetch(ven) is None
    assert await any_world.rows("own_report") == []


async def test_rp62_the_answer_to_a_report_may_cancel_it(any_world):
    ven = await any_world.ven()
    await ask(ven, periodic("a"), periodic("b"))
    any_world.later(minutes=6)
    assert (await fetch(ven, cancel=m.CancelReport("c", ("a",), ven_id=ven.ven_id))).request_id == "a"
    assert (await fetch(ven, cancel=m.CancelReport("c", ("b",), True, ven.ven_id))).request_id == "b"
    assert (await fetch(ven)).request_id == "b"
    any_world.later(minutes=6)
    assert await fetch(ven) is None
