"""A series is what its report description says: no two data points are taken for one (vtn.services.report_mapping)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.points import Flow, Phase
from core.spans import Duration
from openadr.model.report import (
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    SamplingRate,
)
from openadr.model.target import EVERYTHING, Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase
from support.vtn_world import HOUR, MINUTE, NOON, data, usage
from vtn.services import report
from vtn.services.flows import flow_of, phase_of
from vtn.services.report_mapping import lines_of
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.engines import to_text
from vtn.store.readings import load, series_of
from vtn.store.rows import to_json

HOME = Target(resource_ids=("home",))
RATE = SamplingRate(MINUTE, HOUR)


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


def line(r_id, report_type="usage", reading_type="Direct Read", *, source=HOME, base=ENERGY_REAL_WH, **more):
    return ReportDescription(r_id, report_type, reading_type, source, item_base=base, sampling=RATE, **more)


def offer(*lines, specifier="usage", name="TELEMETRY_USAGE"):
    return ReportOffer(specifier, name, HOUR, lines, NOON)


async def told(world, ven, lines, values, step=HOUR):
    """Offer data points, report one value of each, and return rID -> values as they are read back."""
    (wish,) = await ven.offer(offer(*lines))
    payloads = tuple(ReportPayload(one.r_id, value) for one, value in zip(lines, values, strict=True))
    sent = Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, (ReportInterval(payloads, NOON, step),), NOON)
    assert (await ven.report(sent)).response.code == 200
    return await read(world, ven)


async def read(world, ven):
    async with world.db.read() as conn:
        return {
            (key.point.r_id, key.point.report_type): (await load(conn, key, 0, 2**33)).values.tolist()
            for key in await series_of(conn, ven.ven_id)
        }


APART = {
    "usage and export": (line("imp"), line("exp", "x-export")),
    "usage and export, told apart by the rID alone": (line("imp"), line("exp")),
    "usage and baseline": (line("a"), line("b", "baseline")),
    "set-point and actual": (line("a", "setPoint", base=POWER_REAL_W), line("b", base=POWER_REAL_W)),
    "three phases": tuple(line(f"home/l{number}") for number in (1, 2, 3)),
    "both resources together, and one of them": (line("ab", source=Target(resource_ids=("a", "b"))), line("a")),
    "direct and estimated": (line("a"), line("b", reading_type="Estimated")),
    "a device and the whole": (line("a"), line("b", subject=Target(device_classes=("Water_Heater",)))),
}


@pytest.mark.parametrize("lines", APART.values(), ids=APART)
async def test_data_points_of_one_resource_and_unit_are_series_of_their_own(world, lines):
    values = [100.0 + 800 * number for number in range(len(lines))]
    found = await told(world, await world.ven(), lines, values)
    assert found == {(one.r_id, one.report_type): [value] for one, value in zip(lines, values, strict=True)}


async def test_a_series_keeps_the_description_of_its_data_point(world):
    ven = await world.ven()
    both, heater = Target(resource_ids=("a", "b")), Target(device_classes=("Water_Heater",))
    await told(world, ven, (line("x-exp/l2", "x-export", "Estimated", source=both, subject=heater),), (1.0,))
    async with world.db.read() as conn:
        (key,) = await series_of(conn, ven.ven_id)
    point = key.point
    assert (key.resource_id, key.quantity, key.kind) == ("a+b", "energy_real", "sum")
    assert (point.r_id, point.report_type, point.reading_type) == ("x-exp/l2", "x-export", "Estimated")
    assert (point.sources, point.subject, point.flow, point.phase) == (both, heater, Flow.EXPORT, Phase.L2)


async def test_the_same_r_id_with_another_meaning_is_a_new_series(any_world):
    ven = await any_world.ven()
    await told(any_world, ven, (line("m"),), (100.0,))
    await told(any_world, ven, (line("m", "baseline"),), (900.0,))
    assert await read(any_world, ven) == {("m", "usage"): [100.0], ("m", "baseline"): [900.0]}


async def test_the_same_description_in_another_report_is_the_same_series(world):
    ven = await world.ven()
    swapped = replace(line("m", source=Target(resource_ids=("b", "a"))), sampling=None)
    live, past = (
        offer(line("m", source=Target(resource_ids=("a", "b")))),
        offer(swapped, specifier="past", name="HISTORY_USAGE"),
    )
    (wish,) = await ven.offer(live, past)
    history = ReportRequest("h1", "past", ("m",), start=NOON, duration=Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, history, world.now, who="test")
    await ven.drain()
    await ven.report(
        data(wish, NOON, 1.0, step=HOUR, r_id="m"),
        data(history, HOUR.after(NOON), 2.0, step=HOUR, r_id="m", specifier="past", name="HISTORY_USAGE"),
    )
    assert await read(world, ven) == {("m", "usage"): [1.0, 2.0]}


def lines(*descriptions):
    return lines_of(to_text(to_json(offer(*descriptions))))


@pytest.mark.parametrize(
    ("second", "said", "quality"),
    [(900.0, None, "uncertain"), (100.0, None, "good"), (900.0, "Quality Bad - Non Specific", "good")],
)
async def test_two_values_of_one_time_are_doubted_unless_they_agree(world, second, said, quality):
    """The sender's own bad value comes first here, as the last one of a time is kept."""
    ven = await world.ven()
    (wish,) = await ven.offer(offer(line("meter")))
    payloads = [ReportPayload("meter", second, quality=said), ReportPayload("meter", 100.0)]
    intervals = [ReportInterval((each,), NOON, HOUR) for each in payloads]
    intervals.append(ReportInterval((ReportPayload("meter", 50.0),), NOON + timedelta(hours=1), HOUR))
    world.later(hours=2)
    answer = await ven.report(Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, tuple(intervals), NOON))
    assert answer.response.code == 200
    async with world.db.read() as conn:
        (key,) = await series_of(conn, ven.ven_id)
        found = await load(conn, key, 0, 2**33)
    assert found.words.tolist() == [quality, "good"]


def test_data_points_that_differ_by_their_r_id_alone_are_ambiguous():
    found = lines(line("one"), line("two"), line("exp"), line("l1"), line("l2"), line("kW", base=POWER_REAL_W))
    assert {r_id for r_id, one in found.items() if one.point.ambiguous} == {"one", "two"}


def test_values_are_kept_in_the_unit_that_is_ours():
    found = lines(
        line("f", base=ItemBase("temperature", "temperature", "fahrenheit")),
        line("c", base=ItemBase("customUnit", "water", "l", "k")),
    )
    assert 212 * found["f"].factor + found["f"].offset == pytest.approx(100)
    assert (found["c"].factor, found["c"].unit) == (1000, "l")


@pytest.mark.parametrize(
    ("r_id", "report_type", "reading_type", "subject", "flow"),
    [
        ("home/energy", "usage", "Direct Read", (), Flow.IMPORT),
        ("export-limit-free", "usage", "Direct Read", (), Flow.EXPORT),
        ("activeExport", "usage", "Direct Read", (), Flow.EXPORT),
        ("expert", "usage", "Direct Read", (), Flow.IMPORT),
        ("m", "x-export", "Direct Read", (), Flow.EXPORT),
        ("1-0:2.8.0", "usage", "Direct Read", (), Flow.EXPORT),
        ("1-0:1.8.0", "usage", "Direct Read", (), Flow.IMPORT),
        ("1-0:16.7.0", "usage", "Direct Read", (), Flow.NET),
        ("m", "usage", "Net", (), Flow.NET),
        ("m", "usage", "Direct Read", ("Generation_Systems",), Flow.EXPORT),
    ],
)
def test_the_direction_is_understood_from_the_description(r_id, report_type, reading_type, subject, flow):
    said = line(r_id, report_type, reading_type, subject=Target(device_classes=subject) if subject else EVERYTHING)
    assert flow_of(said) is flow


@pytest.mark.parametrize(
    ("r_id", "phase"),
    [
        ("home/L1", Phase.L1),
        ("l2_power", Phase.L2),
        ("meter l3", Phase.L3),
        ("phase-b", Phase.L2),
        ("1-0:61.7.0", Phase.L3),
        ("vial1", Phase.TOTAL),
        ("total", Phase.TOTAL),
    ],
)
def test_the_phase_is_understood_from_the_r_id(r_id, phase):
    assert phase_of(r_id) is phase


# -- intervals of months (GN-05), and others at the edges of the calendar


async def lasting(world, step, *, start=NOON, value=310_000.0, code=200):
    ven = await world.ven()
    (wish,) = await ven.offer(offer(line("m")))
    interval = ReportInterval((ReportPayload("m", value),), start, step)
    sent = Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, (interval,), start)
    assert (await ven.report(sent)).response.code == code
    async with world.db.read() as conn:
        found = [await load(conn, key, 0, 2**38) for key in await series_of(conn, ven.ven_id)]
    return [(one.durations_s.tolist(), one.values.tolist()) for one in found]


@pytest.mark.parametrize(
    ("months", "start", "days"),
    [
        (1, NOON, 31),
        (1, NOON.replace(month=2), 28),
        (5, NOON, 151),
        (12, NOON, 365),
        (1, NOON.replace(month=3, day=31), 30),
    ],
)
async def test_gn05_intervals_of_months_last_from_their_start(world, months, start, days):
    assert await lasting(world, Duration(months, 0), start=start) == [([days * 86_400], [310_000.0])]


async def test_gn05_months_that_follow_each_other(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("m"))
    assert (await ven.report(data(wish, NOON, 1.0, 2.0, 3.0, step=Duration(1, 0), r_id="m"))).response.code == 200
    async with world.db.read() as conn:
        (key,) = await series_of(conn, ven.ven_id)
        found = await load(conn, key, 0, 2**33)
    assert (found.durations_s / 86_400).tolist() == [31, 28, 31]


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (NOON.replace(year=9999, month=12, day=31), Duration(1, 0)),
        (NOON, Duration(12 * 9999, 0)),
        (NOON, Duration(0, 10**12)),
        (NOON, Duration(0, -1)),
        (NOON, Duration(-1, 0)),
        (NOON.replace(year=1), HOUR),
    ],
)
async def test_intervals_beyond_the_calendar_are_refused_and_do_not_touch_others(world, start, step):
    assert await lasting(world, step, start=start, code=454) == []
    assert await lasting(world, HOUR) == [([3600], [310_000.0])]


async def test_many_intervals_in_one_report_are_all_there(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("m"))
    assert (await ven.report(data(wish, NOON, *map(float, range(5000)), r_id="m"))).response.code == 200
    assert await read(world, ven) == {("m", "usage"): [float(one) for one in range(5000)]}


async def test_a_request_beyond_the_calendar_does_not_stop_the_reports_of_others(world):
    ven = await world.ven()
    await ven.offer(usage("m"))
    endless = ReportRequest("e1", "usage", ("m",), MINUTE, MINUTE, NOON, Duration(12 * (10_000 - NOON.year), 0))
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, endless, world.now, who="test")
    await ven.drain()
    assert (await ven.report(data(endless, NOON, 1.0, r_id="m"))).response.code == 200
    assert await read(world, ven) == {("m", "usage"): [1.0]}
