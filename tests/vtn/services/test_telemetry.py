"""EiReport: the data, as it comes in and is stored (catalogue RP-40..RP-55)."""

from datetime import timedelta

import pytest

from core.spans import Duration
from openadr.model.report import (
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    SamplingRate,
)
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W, ItemBase
from openadr.v20b.messages import RegisterReport
from support.vtn_world import HOUR, MINUTE, NOON, data, usage
from vtn.services import report
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.readings import load, series_of


@pytest.fixture
def settings():
    return VtnSettings(
        "vtn",
        wanted_reports=(
            WantedReport("TELEMETRY_USAGE", MINUTE, Duration.of(minutes=5)),
            WantedReport("HISTORY_USAGE", Duration(), history=Duration.of(days=20)),
        ),
    )


async def ask(world, ven, wish):
    async with world.tx() as tx:
        return await report.request(tx, ven.ven_id, wish, world.now, who="test")


async def values(world, ven, resource="meter", quantity="energy_real", kind="sum", as_of=None):
    async with world.db.read() as conn:
        (key,) = [
            one
            for one in await series_of(conn, ven.ven_id)
            if (one.resource_id, one.quantity, one.kind) == (resource, quantity, kind)
        ]
        found = await load(conn, key, 0, 2**33, as_of=as_of)
    return [(int(start), float(value)) for start, value in zip(found.starts_s, found.values, strict=True)]


def at(minutes):
    return int(NOON.timestamp()) + 60 * minutes


async def test_readings_are_stored_in_their_unit(any_world):
    world = any_world
    ven = await world.ven()
    kilo = ItemBase("energyReal", "RealEnergy", "Wh", "k")
    (wish,) = await ven.offer(usage("meter", item_base=kilo))
    answer = await ven.report(data(wish, NOON, 1.5, 2.0))
    assert (answer.response.code, answer.response.request_id, answer.cancel) == (200, "u", None)
    assert await values(world, ven) == [(at(0), 1500), (at(1), 2000)]


async def test_data_shows_that_its_request_arrived(any_world):
    """A VEN that sends what was asked for without an oadrCreatedReport is not asked again."""
    world = any_world
    ven = await world.ven()
    registered = await ven.say(RegisterReport("r", (usage("meter"),), ven.ven_id))
    assert registered.response.ok
    (message,) = await ven.drain(answer=False)
    (wish,) = message.requests
    assert (await ven.report(data(wish, NOON, 1.5))).response.ok
    (row,) = await world.rows("report_request")
    assert row.state == "active"
    world.later(hours=1)
    assert await ven.drain(answer=False) == []


async def test_several_points_and_reports_come_in_one_message(world):
    ven = await world.ven()
    offers = (usage("meter", "heater"), usage("hall", specifier="p", item_base=POWER_REAL_W))
    asked = {wish.specifier_id: wish for wish in await ven.offer(*offers)}
    both = Report(
        asked["usage"].request_id,
        "usage",
        "TELEMETRY_USAGE",
        NOON,
        (ReportInterval((ReportPayload("meter", 1.0), ReportPayload("heater", 2.0)), NOON, MINUTE),),
        NOON,
    )
    assert (await ven.report(both, data(asked["p"], NOON, 60.0, r_id="hall", specifier="p"))).response.code == 200
    assert await values(world, ven, "meter") == [(at(0), 1)]
    assert await values(world, ven, "heater") == [(at(0), 2)]
    assert await values(world, ven, "hall", "power_real", "mean") == [(at(0), 60)]


async def test_rp08_status_reports_become_series_of_their_own(world):
    ven = await world.ven()
    rate = SamplingRate(MINUTE, HOUR)
    source = Target(resource_ids=("heater",))
    line = ReportDescription("s", "x-resourceStatus", "x-notApplicable", source, sampling=rate)
    await ven.offer(ReportOffer("st", "TELEMETRY_STATUS", HOUR, (line,), NOON))
    wish = await ask(world, ven, ReportRequest("s1", "st", ("s",), MINUTE, MINUTE, NOON, Duration()))
    await ven.drain()
    rows = tuple(
        ReportInterval((ReportPayload("s", ResourceStatus(online, override)),), NOON + timedelta(minutes=number))
        for number, (online, override) in enumerate(((True, False), (False, True)))
    )
    await ven.report(Report(wish, "st", "TELEMETRY_STATUS", NOON, rows, NOON))
    assert await values(world, ven, "heater", "online", "instant") == [(at(0), 1), (at(1), 0)]
    assert await values(world, ven, "heater", "override", "instant") == [(at(0), 0), (at(1), 1)]


async def test_rp48_bad_quality_and_values_that_are_no_numbers_are_missing_values(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    await ven.report(data(wish, NOON, 99.0, quality="Quality Bad - Device Failure"))
    await ven.report(data(wish, NOON + timedelta(minutes=1), float("nan"), float("inf"), 5.0))
    rows = await world.rows("chunk")
    assert [row.values for row in rows] == [[None], [None, None, 5]]
    assert [row.qualities for row in rows] == [["bad"], ["bad", "bad", "good"]]


async def test_rp52_the_report_id_is_ignored(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    for number, odd in enumerate(("", "0", "x" * 500, "wish")):
        report_ = data(wish, NOON + timedelta(minutes=number), 1.0, report_id=odd)
        assert (await ven.report(report_)).response.code == 200
    assert len(await values(world, ven)) == 4


async def test_rp53_the_same_report_again_changes_nothing(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    for _ in range(2):
        assert (await ven.report(data(wish, NOON, 1.0, 2.0))).response.code == 200
    assert len(await world.rows("chunk")) == 1
    assert await values(world, ven) == [(at(0), 1), (at(1), 2)]


async def test_rp53_corrected_data_counts_and_the_old_stays(any_world):
    world = any_world
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    await ven.report(data(wish, NOON, 1.0, 2.0))
    world.later(hours=1)
    await ven.report(data(wish, NOON, 1.0, 7.0))
    assert await values(world, ven) == [(at(0), 1), (at(1), 7)]
    assert await values(world, ven, as_of=NOON + timedelta(minutes=30)) == [(at(0), 1), (at(1), 2)]


@pytest.mark.parametrize("r_id", ["0", " ", "a/b?c=<&>", "Ünï😀", "x" * 200])
async def test_rp54_an_r_id_may_be_any_text(any_world, r_id):
    world = any_world
    ven = await world.ven()
    line = ReportDescription(r_id, "usage", "Direct Read", sampling=SamplingRate(MINUTE, HOUR))
    (wish,) = await ven.offer(ReportOffer("usage", "TELEMETRY_USAGE", HOUR, (line,), NOON))
    assert (await ven.report(data(wish, NOON, 1.0, r_id=r_id))).response.code == 200
    assert await values(world, ven, r_id, r_id, "instant") == [(at(0), 1)]


WRONG = {
    "reportRequestID": {"request": "none such"},
    "reportSpecifierID": {"specifier": "none such"},
    "rID": {"r_id": "none such"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_rp55_wrong_ids_are_452_and_nothing_of_the_message_is_stored(any_world, wrong):
    world = any_world
    ven, other = await world.ven(), await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    await other.offer(usage("meter"))
    before = await world.dump()
    bad = data(wrong.get("request", wish), NOON, 2.0, **{name: one for name, one in wrong.items() if name != "request"})
    answer = await ven.report(data(wish, NOON, 1.0), bad)
    assert (answer.response.code, answer.response.request_id) == (452, "u")
    assert (await other.report(data(wish, NOON, 1.0))).response.code == 452, "another VEN's request"
    assert await world.dump() == before


async def test_times_and_durations_that_make_no_sense_are_refused(any_world):
    world = any_world
    ven = await world.ven()
    (wish,) = await ven.offer(usage("meter"))
    before = await world.dump()
    without_start = Report(
        wish.request_id, "usage", "TELEMETRY_USAGE", NOON, (ReportInterval((ReportPayload("meter", 1.0),)),)
    )
    for bad, code in (
        (data(wish, NOON, 1.0, step=Duration.of(seconds=-60)), 454),
        (data(wish, NOON, 1.0, step=Duration(-1, 0)), 454),
        (data(wish, NOON, 1.0, step=Duration(12 * 100, 0)), 454),
        (data(wish, NOON.replace(year=1912), 1.0), 454),
        (without_start, 459),
    ):
        assert (await ven.report(bad)).response.code == code
    assert await world.dump() == before


async def test_an_update_without_reports_is_answered(world):
    ven = await world.ven()
    assert (await ven.report()).response.code == 200
