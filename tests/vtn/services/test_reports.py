"""EiReport: metadata both ways, requests, data, cancellation (catalogue RP)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.report import (
    METADATA,
    ReportDescription,
    ReportOffer,
    ReportRequest,
    SamplingRate,
)
from openadr.v20b.messages import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    OadrResponse,
    RegisteredReport,
    RegisterReport,
    Response,
)
from support.vtn_world import HOUR, MINUTE, NOON, counted_statements, data, usage
from vtn.services import report
from vtn.services.settings import VtnSettings, WantedReport

DAY = Duration.of(days=1)
HALF = Duration.of(minutes=30)


@pytest.fixture
def settings():
    return VtnSettings(
        "vtn",
        wanted_reports=(
            WantedReport("TELEMETRY_USAGE", MINUTE, Duration.of(minutes=5)),
            WantedReport("HISTORY_USAGE", Duration(), history=Duration.of(days=20)),
        ),
    )


async def requests(world, ven):
    """Return reportRequestID -> (state, reason)."""
    async with world.db.read() as conn:
        return {one.request.request_id: (one.state, one.reason) for one in await report.requests_of(conn, ven.ven_id)}


async def ask(world, ven, wish):
    async with world.tx() as tx:
        return await report.request(tx, ven.ven_id, wish, world.now, who="test")


# -- metadata


async def test_rp01_our_metadata_comes_out_of_the_first_poll_without_reports(world):
    ven = await world.ven(register=False)
    await ven.register()
    message = await ven.poll()
    assert isinstance(message, RegisterReport)
    assert (message.offers, message.ven_id, message.report_request_id) == ((), ven.ven_id, None)
    answer = await ven.say(RegisteredReport(Response(200, "OK", message.request_id), (), ven.ven_id))
    assert isinstance(answer, OadrResponse)
    assert (answer.response.code, answer.response.request_id) == (200, message.request_id)
    assert isinstance(await ven.poll(), OadrResponse)


async def test_rp03_new_metadata_replaces_everything_and_asks_anew(any_world):
    world = any_world
    ven = await world.ven()
    (old,) = await ven.offer(usage("meter"))
    (new,) = await ven.offer(usage("meter", specifier="other"))
    assert new.specifier_id == "other"
    assert await requests(world, ven) == {
        old.request_id: ("cancelled", "new metadata"),
        new.request_id: ("active", None),
    }
    async with world.db.read() as conn:
        assert [one.specifier_id for one in await report.offered(conn, ven.ven_id)] == ["other"]


async def test_rp14_periodic_metadata_does_not_end_running_requests(any_world):
    world = any_world
    ven = await world.ven()
    (first,) = await ven.offer(usage("a", "b"), usage("c", specifier="t", name="TELEMETRY_STATUS"))
    for _ in range(3):
        world.later(hours=1)
        await ven.report(data(first, world.now, 1.0, r_id="a"))
        again = replace(usage("a", "b"), created_at=world.now)
        asked = await ven.offer(usage("c", specifier="t", name="TELEMETRY_STATUS"), again)
        assert asked == [replace(first, start=world.now - timedelta(minutes=30))], "sent again, from the newest data on"
        assert await requests(world, ven) == {first.request_id: ("active", None)}
    (row,) = await world.rows("ven")
    assert row.metadata_at == world.now
    await ven.offer(usage("a"), usage("c", specifier="t", name="TELEMETRY_STATUS"))
    assert (await requests(world, ven))[first.request_id] == ("cancelled", "new metadata")


async def test_a_report_that_is_wanted_since_is_asked_for_when_the_metadata_comes_again(world):
    ven = await world.ven()
    assert len(await ven.offer(usage("a"))) == 1
    wanted = (
        WantedReport("TELEMETRY_USAGE", MINUTE, Duration.of(minutes=5)),
        WantedReport("TELEMETRY_USAGE", HOUR, HOUR),
    )
    async with world.tx() as tx:
        await report.register(tx, ven.ven_id, (usage("a"),), VtnSettings("vtn", wanted_reports=wanted), world.now)
    assert {asked.granularity for message in await ven.drain() for asked in message.requests} == {MINUTE, HOUR}
    assert len(await requests(world, ven)) == 2


async def test_rp02_metadata_without_reports_is_fine(world):
    ven = await world.ven()
    assert await ven.offer() == []


@pytest.mark.parametrize(
    "offers",
    [
        (usage("a"), usage("b")),
        (usage("a", "a"),),
        (
            ReportOffer(
                "s", "TELEMETRY_USAGE", HOUR, (ReportDescription("r", "usage", "Direct Read"),), NOON
            ),
        ),
    ],
    ids=["specifier twice", "rID twice", "telemetry without sampling rate"],
)  # fmt: skip
async def test_rp05_rp07_metadata_that_contradicts_itself_is_459_and_changes_nothing(world, offers):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    before = await world.dump()
    answer = await ven.say(RegisterReport("r", offers, ven.ven_id))
    assert isinstance(answer, RegisteredReport)
    assert (answer.response.code, answer.response.request_id) == (459, "r")
    assert await world.dump() == before


@pytest.mark.parametrize("specifier", [True, False])
async def test_names_too_long_for_the_store_are_454(any_world, specifier):
    ven = await any_world.ven()
    long = "x" * 201
    offer = usage("meter", specifier=long) if specifier else usage(long)
    assert (await ven.say(RegisterReport("r", (offer,), ven.ven_id))).response.code == 454


async def test_rp14_rp06_a_request_for_our_metadata_is_answered_with_it(any_world):
    world = any_world
    ven = await world.ven()
    answer = await ven.say(CreateReport("q", (ReportRequest("meta 7", METADATA, ()),), ven.ven_id))
    assert isinstance(answer, CreatedReport)
    assert (answer.response.code, answer.response.request_id, answer.pending) == (200, "q", ("meta 7",))
    message = await ven.poll()
    assert isinstance(message, RegisterReport)
    assert message.report_request_id == "meta 7"
    await ven.say(RegisteredReport(Response(), (), ven.ven_id))
    assert isinstance(await ven.poll(), OadrResponse)
    world.later(hours=1)
    assert isinstance(await ven.poll(), OadrResponse)


async def test_rp14_a_request_id_too_long_for_the_store_is_454(world):
    ven = await world.ven()
    message = CreateReport("q", (ReportRequest("m" * 81, METADATA, ()),), ven.ven_id)
    assert (await ven.say(message)).response.code == 454


async def test_rp20_data_that_we_do_not_offer_is_461(world):
    ven = await world.ven()
    answer = await ven.say(CreateReport("q", (ReportRequest("r", "prices", ("p",)),), ven.ven_id))
    assert isinstance(answer, CreatedReport)
    assert (answer.response.code, answer.response.request_id) == (461, "q")


async def test_rp13_requests_piggybacked_on_the_answer_to_our_empty_metadata_are_461(world):
    ven = await world.ven(register=False)
    await ven.register()
    await ven.poll()
    answer = await ven.say(RegisteredReport(Response(), (ReportRequest("r", "prices", ("p",)),), ven.ven_id))
    assert answer.response.code == 461


# -- requests


async def test_rp20_only_what_is_offered_can_be_asked(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    for wish in (
        ReportRequest("r1", "none such", ("meter",)),
        ReportRequest("r2", "usage", ("meter", "none such")),
    ):
        with pytest.raises(InvalidError):
            await ask(world, ven, wish)
    assert len(await requests(world, ven)) == 1


async def test_rp21_request_ids_are_unique(world):
    one, other = await world.ven(), await world.ven()
    ids = [wish.request_id for ven in (one, other) for wish in await ven.offer(usage("a"), usage("b", specifier="2"))]
    assert len(set(ids)) == 4


async def test_rp22_rp23_what_a_request_holds(world):
    ven = await world.ven()
    await ven.say(RegisterReport("r", (usage("meter"),), ven.ven_id))
    await ven.poll()
    kinds = ven.xpath("//ei:reportSpecifier/ei:specifierPayload/ei:readingType/text()")
    assert kinds == ["x-notApplicable"]
    names = {node.tag.split("}")[1] for node in ven.xpath("//ei:specifierPayload/*")}
    assert names == {"rID", "readingType"}
    properties = {node.tag.split("}")[1] for node in ven.xpath("//ei:reportInterval/xcal:properties/*")}
    assert properties <= {"dtstart", "duration"}


async def test_rp24_a_one_shot_request_is_done_with_its_first_report(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    one_shot = await ask(world, ven, ReportRequest("once", "usage", ("meter",)))
    (message,) = await ven.drain()
    assert message.requests[0].report_back == Duration()
    assert (await requests(world, ven))[one_shot] == ("active", None)
    await ven.report(data(one_shot, NOON, 5.0))
    assert (await requests(world, ven))[one_shot] == ("done", None)


async def test_rp25_rp26_rp28_wanted_telemetry_is_periodic_for_ever(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter", "heater"))
    assert (wish.granularity, wish.report_back) == (MINUTE, Duration.of(minutes=5))
    assert (wish.start, wish.duration, wish.r_ids) == (NOON, Duration(), ("meter", "heater"))
    for _ in range(3):
        await ven.report(data(wish, world.now, 1.0))
        world.later(days=9)
    assert await requests(world, ven) == {wish.request_id: ("active", None)}


async def test_wanted_telemetry_begins_where_half_hourly_history_ends(world):
    ven = await world.ven()
    world.later(minutes=44, seconds=3.5)
    (wish,) = await ven.offer(usage("meter"))
    assert wish.start == NOON + timedelta(minutes=30)


async def test_rp27_wanted_telemetry_keeps_to_the_offered_rate(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter", min_period=HALF))
    assert (wish.granularity, wish.report_back) == (HALF, HALF)


async def test_rp27_a_granularity_out_of_range_cannot_be_asked(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    for granularity, back in ((Duration.of(seconds=59), HOUR), (HOUR, HALF)):
        with pytest.raises(InvalidError, match="Granularity"):
            await ask(world, ven, ReportRequest("r", "usage", ("meter",), granularity, back, NOON, Duration()))


async def test_rp29_rp30_wanted_history_reaches_as_far_back_as_is_offered(world):
    ven = await world.ven()
    long = usage("meter", specifier="h", name="HISTORY_USAGE", duration=Duration.of(days=40))
    short = usage("meter", specifier="s", name="HISTORY_USAGE", duration=Duration.of(days=7))
    asked = {wish.specifier_id: wish for wish in await ven.offer(long, short)}
    for specifier, days in (("h", 20), ("s", 7)):
        wish = asked[specifier]
        assert (wish.start, wish.duration) == (NOON - timedelta(days=days), Duration.of(days=days))
        assert (wish.granularity, wish.report_back) == (Duration(), Duration())


async def test_rp30_more_history_than_offered_cannot_be_asked(world):
    ven = await world.ven()
    await ven.offer(usage("meter", specifier="h", name="HISTORY_USAGE", duration=DAY))
    two_days = ReportRequest("r", "h", ("meter",), start=NOON - timedelta(days=2), duration=Duration.of(days=2))
    with pytest.raises(InvalidError, match="offered"):
        await ask(world, ven, two_days)


async def test_history_is_done_when_its_span_has_come(world):
    ven = await world.ven()
    offer = usage("meter", specifier="h", name="HISTORY_USAGE", duration=DAY)
    (wish,) = await ven.offer(offer)
    named = {"specifier": "h", "name": "HISTORY_USAGE", "step": HALF}
    await ven.report(data(wish, wish.start, *[1.0] * 24, **named))
    assert (await requests(world, ven))[wish.request_id] == ("active", None)
    await ven.report(data(wish, wish.start + timedelta(hours=12), *[1.0] * 24, **named))
    assert (await requests(world, ven))[wish.request_id] == ("done", None)
    answer = await ven.report(data(wish, wish.start, 1.0, **named))
    assert (answer.response.code, answer.cancel) == (200, None), "a late copy of what is done is welcome"


async def test_rp20_a_refused_request_is_noted_with_its_reason(world):
    ven = await world.ven()
    await ven.say(RegisterReport("r", (usage("meter"),), ven.ven_id))
    message = await ven.poll()
    wish = message.requests[0]
    answer = await ven.say(CreatedReport(Response(461, "not today", message.request_id), (), ven.ven_id))
    assert (answer.response.code, answer.response.request_id) == (200, message.request_id)
    assert await requests(world, ven) == {wish.request_id: ("refused", "461 not today")}


@pytest.mark.parametrize("back", [Duration.of(minutes=15), Duration()], ids=["periodic", "once"])
async def test_a_request_that_never_brought_data_says_since_when(world, back):
    ven = await world.ven()
    await ven.offer(usage("a", "b", specifier="s", name="TELEMETRY_STATUS"))
    wish = ReportRequest("rq", "s", ("a", "b"), MINUTE if back else Duration(), back, world.now, Duration())
    await ask(world, ven, wish)

    async def missing():
        async with world.db.read() as conn:
            return (await report.get(conn, "rq")).missing_since(world.now)

    world.later(hours=9)
    assert await missing() is None, "it was not asked yet"
    await ven.drain()
    asked_at = world.now
    assert await missing() is None
    world.later(minutes=40, seconds=1)
    assert await missing() == back.after(asked_at)
    await ven.report(data("rq", world.now, 1.0, r_id="a", specifier="s", name="TELEMETRY_STATUS"))
    assert await missing() is None
    last = world.now
    world.later(hours=1)
    assert await missing() == (back.after(last) if back else None)


async def test_rp31_an_answer_with_an_empty_request_id_means_what_it_lists(world):
    ven = await world.ven()
    await ven.say(RegisterReport("r", (usage("a"), usage("b", specifier="two")), ven.ven_id))
    first, second = [(await ven.poll()).requests[0].request_id for _ in range(2)]
    await ven.say(CreatedReport(Response(), (second,), ven.ven_id))
    assert {one: state for one, (state, _) in (await requests(world, ven)).items()} == {
        first: "queued",
        second: "active",
    }
    await ven.say(CreatedReport(Response(), (), ven.ven_id))
    assert (await requests(world, ven))[first] == ("active", None)


async def test_an_offer_that_cannot_be_asked_does_not_spoil_the_registration(world):
    ven = await world.ven()
    monthly = SamplingRate(Duration(1, 0), Duration(1, 0))
    line = ReportDescription("r", "usage", "Direct Read", sampling=monthly)
    asked = await ven.offer(ReportOffer("m", "TELEMETRY_USAGE", HOUR, (line,), NOON), usage("meter"))
    assert "usage" in {wish.specifier_id for wish in asked}
    async with world.db.read() as conn:
        assert len(await report.offered(conn, ven.ven_id)) == 2


# -- cancel


async def test_rp60_a_report_of_ours_that_does_not_exist_cannot_be_cancelled(world):
    ven = await world.ven()
    answer = await ven.say(CancelReport("q", ("none such",), ven_id=ven.ven_id))
    assert isinstance(answer, CanceledReport)
    assert (answer.response.code, answer.response.request_id) == (452, "q")


async def test_rp60_rp61_the_operator_stops_a_report(any_world):
    world = any_world
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    async with world.tx() as tx:
        await report.cancel(tx, wish.request_id, world.now, who="test")
    message = await ven.poll()
    assert isinstance(message, CancelReport)
    assert (message.report_request_ids, message.report_to_follow) == ((wish.request_id,), False)
    answer = await ven.say(CanceledReport(Response(200, "OK", message.request_id), (), ven.ven_id))
    assert (answer.response.code, answer.response.request_id) == (200, message.request_id)
    assert isinstance(await ven.poll(), OadrResponse)
    assert (await world.outbox(ven))["report_unwanted", wish.request_id] == "done"
    assert (await requests(world, ven))[wish.request_id][0] == "cancelled"
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await report.cancel(tx, wish.request_id, world.now, who="test")
    with pytest.raises(NotFoundError):
        async with world.tx() as tx:
            await report.cancel(tx, "none such", world.now, who="test")


async def test_a_request_that_was_never_sent_is_cancelled_in_silence(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    asked = await ask(world, ven, ReportRequest("once", "usage", ("meter",)))
    async with world.tx() as tx:
        await report.cancel(tx, asked, world.now, who="test")
    assert isinstance(await ven.poll(), OadrResponse)
    assert set((await world.outbox(ven)).values()) == {"done"}


async def test_rp62_reports_that_we_cancelled_are_told_so_in_the_answer(world):
    ven = await world.ven()
    asked = await ven.offer(usage("meter"), usage("heater", specifier="two"))
    gone, live = asked
    async with world.tx() as tx:
        await report.cancel(tx, gone.request_id, world.now, who="test")
    r_id = {wish.request_id: ("meter" if wish.specifier_id == "usage" else "heater") for wish in asked}
    reports = [data(one, NOON, 1.0, specifier=one.specifier_id, r_id=r_id[one.request_id]) for one in (gone, live)]
    answer = await ven.report(*reports)
    assert answer.response.code == 200
    assert answer.cancel.report_request_ids == (gone.request_id,)
    assert answer.cancel.report_to_follow is False
    assert len(await world.rows("chunk")) == 2, "data that came is kept"
    assert (await ven.report(reports[1])).cancel is None


async def test_many_offers_take_as_many_statements_as_few(world):
    ven = await world.ven()
    counts = {}
    for number in (3, 300):
        offers = tuple(usage("meter", specifier=f"{number} {index}") for index in range(number))
        with counted_statements() as statements:
            assert (await ven.say(RegisterReport("r", offers, ven.ven_id))).response.ok
        counts[number] = len(statements)
        asked = [one for one in await world.rows("report_request") if one.state == "queued"]
        assert {one.specifier_id for one in asked} == {offer.specifier_id for offer in offers}
        assert len(await world.rows("outbox", ven_id=ven.ven_id, kind="report_wanted", state="pending")) >= number
    assert counts[300] <= counts[3] + 5
    assert len(await world.rows("audit", action="request report")) == 303


async def test_many_pending_requests_are_noted_with_few_statements(world):
    ven = await world.ven()
    offers = tuple(usage("meter", specifier=f"{index}") for index in range(40))
    await ven.say(RegisterReport("r", offers, ven.ven_id))
    asked = [message.requests[0].request_id for message in await ven.drain(answer=False)]
    with counted_statements() as statements:
        await ven.say(CreatedReport(Response(200, "OK", "none of them"), tuple(asked), ven.ven_id))
    assert len(statements) < 20
    sent = [one.state for one in await world.rows("report_request") if one.id in asked]
    assert set(sent) == {"active"}


async def test_many_requests_for_our_metadata_are_queued_with_few_statements(world):
    ven = await world.ven()
    wanted = tuple(ReportRequest(f"m{index}", METADATA, ()) for index in range(200))
    with counted_statements() as statements:
        pending = (await ven.say(CreateReport("q", wanted, ven.ven_id))).pending
    assert sorted(pending) == sorted(f"m{n}" for n in range(200))
    assert len(statements) < 20
    assert len(await world.rows("outbox", ven_id=ven.ven_id, kind="reports_offered", state="pending")) == 200
