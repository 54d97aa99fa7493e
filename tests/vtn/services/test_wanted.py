"""What the VTN asks of a VEN's reports: within what is offered (RP-27), and what cannot be had."""

from datetime import timedelta

import pytest

from core.errors import InvalidError
from core.spans import ZERO, Duration
from openadr.model.report import ReportDescription, ReportOffer, ReportRequest, SamplingRate
from support.vtn_world import HOUR, MINUTE, NOON, usage
from vtn.services import report, wanted
from vtn.services.settings import VtnSettings, WantedReport

SECOND = Duration.of(seconds=1)
TEN_S = Duration.of(seconds=10)
TELEMETRY = WantedReport("TELEMETRY_USAGE", TEN_S, MINUTE)


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(TELEMETRY, WantedReport("HISTORY_USAGE", ZERO, history=HOUR)))


def offer(**rates):
    lines = tuple(
        ReportDescription(r_id, "usage", "Direct Read", sampling=SamplingRate(*rate)) for r_id, rate in rates.items()
    )
    return ReportOffer("usage", "TELEMETRY_USAGE", HOUR, lines, NOON)


def asked(*requests):
    return {request.r_ids: (request.granularity, request.report_back) for request in requests}


def test_a_granularity_above_the_longest_sampling_period_is_not_asked():
    fast = offer(meter=(SECOND, SECOND))
    assert asked(*wanted.requests_for(TELEMETRY, fast, NOON)) == {("meter",): (SECOND, MINUTE)}


def test_data_points_that_cannot_be_sampled_alike_are_asked_for_apart():
    mixed = offer(a=(SECOND, SECOND), b=(SECOND, HOUR), c=(HOUR, HOUR), d=(SECOND, SECOND))
    requests = wanted.requests_for(TELEMETRY, mixed, NOON)
    assert asked(*requests) == {("a", "d"): (SECOND, MINUTE), ("b",): (TEN_S, MINUTE), ("c",): (HOUR, HOUR)}
    assert len({request.request_id for request in requests}) == 3
    for request in requests:
        wanted.check_within(request, mixed, NOON)


def test_a_list_of_odd_sampling_rates_becomes_no_flood():
    odd = offer(
        **{f"p{n}": (Duration.of(hours=1, seconds=n), HOUR) for n in range(100)}, a=(SECOND, HOUR), b=(SECOND, HOUR)
    )
    requests = wanted.requests_for(TELEMETRY, odd, NOON)
    assert len(requests) == 10
    assert requests[0].r_ids == ("a", "b")
    assert "91 data points are not asked for" in wanted.shortfalls((TELEMETRY,), (odd,), NOON)[-1]


@pytest.mark.parametrize("longest", [ZERO, SECOND], ids=["zero", "below the shortest"])
def test_a_longest_period_that_says_nothing_does_not_count(longest):
    assert asked(*wanted.requests_for(TELEMETRY, offer(a=(MINUTE, longest)), NOON)) == {("a",): (MINUTE, MINUTE)}


async def test_each_request_for_a_data_point_reaches_the_ven(world):
    ven = await world.ven()
    requests = await ven.offer(offer(a=(SECOND, SECOND), b=(SECOND, HOUR)))
    assert asked(*requests) == {("a",): (SECOND, MINUTE), ("b",): (TEN_S, MINUTE)}
    async with world.db.read() as conn:
        states = {one.request.r_ids: one.state for one in await report.requests_of(conn, ven.ven_id)}
    assert states == {("a",): "active", ("b",): "active"}


async def test_an_operator_cannot_ask_above_what_is_offered(world):
    ven = await world.ven()
    await ven.offer(offer(a=(SECOND, TEN_S)))
    for granularity, fits in ((TEN_S, True), (MINUTE, False)):
        request = ReportRequest(f"r{fits}", "usage", ("a",), granularity, HOUR, NOON, ZERO)
        async with world.tx() as tx:
            if fits:
                await report.request(tx, ven.ven_id, request, NOON, who="test")
            else:
                with pytest.raises(InvalidError, match="PT10S at the longest"):
                    await report.request(tx, ven.ven_id, request, NOON, who="test")


@pytest.mark.parametrize(
    "rates", [{"granularity": SECOND}, {"granularity": HOUR}, {"report_back": HOUR}], ids=["fine", "coarse", "periodic"]
)
async def test_rp27_a_history_is_asked_without_rates(world, rates):
    ven = await world.ven()
    await ven.offer(usage("a", specifier="h", name="HISTORY_USAGE"))
    request = ReportRequest("r", "h", ("a",), start=NOON - timedelta(hours=1), duration=HOUR, **rates)
    async with world.tx() as tx:
        with pytest.raises(InvalidError, match="as it was kept"):
            await report.request(tx, ven.ven_id, request, NOON, who="test")


def test_what_cannot_be_had_is_said():
    wants = (TELEMETRY, WantedReport("HISTORY_USAGE", ZERO, history=HOUR), WantedReport("TELEMETRY_STATUS", TEN_S))
    months = usage("m", specifier="m", min_period=Duration(12 * 9000))
    offers = (
        offer(a=(SECOND, SECOND), b=(SECOND, HOUR)),
        usage("h", specifier="h", name="HISTORY_USAGE", duration=MINUTE),
    )
    assert wanted.shortfalls(wants, offers, NOON) == [
        "TELEMETRY_USAGE: a comes every PT1S; PT10S is wanted.",
        "HISTORY_USAGE: 'h' reaches back PT1M, not PT1H.",
        "TELEMETRY_STATUS is wanted and not offered.",
    ]
    assert "cannot be asked for" in wanted.shortfalls((TELEMETRY,), (months,), NOON)[0]
    assert wanted.shortfalls(wants, (), NOON) == []
