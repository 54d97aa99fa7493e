"""What readings that are wrong do to a result: one defined outcome each (docs/explanation/metrics.md, "Bad input").

A home uses 200 Wh each quarter of an hour, and 100 Wh during an event of one hour: it delivered 400 Wh.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from core.spans import Duration
from openadr.model.opt import OptType
from openadr.model.report import Report, ReportInterval, ReportPayload, ReportRequest
from openadr.model.units import ENERGY_REAL_WH, ItemBase
from support.vtn_world import NOON, Ven, World, power, usage
from vtn.services import evaluation, load_profile, report, ven_faults
from vtn.store.readings import load, numbered

QUARTER = Duration.of(minutes=15)
STEP = timedelta(minutes=15)
START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)
USUAL = 200.0
DELIVERED = 400.0
GOOD = [100.0] * 4
RULES = {"baseline": "10of10", "settlement_interval": QUARTER, "time_zone": "Europe/London"}


@dataclass
class Home:
    """A home with readings of four weeks before its event, which it opted into."""

    world: World
    ven: Ven
    wish: ReportRequest
    dispatch_id: str
    start: datetime
    level: float = 5_000_000.0
    lasts: Duration | None = QUARTER

    async def tell(self, start: datetime, *values: float) -> None:
        """Report quarters (Wh), or the readings of a register from a start on."""
        edges = [start + n * STEP for n in range(len(values))]
        rows = tuple(
            ReportInterval((ReportPayload("meter", value),), at, self.lasts)
            for at, value in zip(edges, values, strict=True)
        )
        answer = await self.ven.report(
            Report(self.wish.request_id, "usage", "TELEMETRY_USAGE", start, rows, self.world.now)
        )
        assert answer.response.code == 200

    async def result(self):
        whole = await evaluation.evaluate(self.world.db, self.dispatch_id, self.world.now)
        return whole.vens[0]

    async def qualities(self, start: datetime, count: int) -> list[str]:
        """Return what its readings from a start on are marked as, as the console and REST show it."""
        async with self.world.db.read() as conn:
            ((number, key),) = (await numbered(conn, [self.ven.ven_id])).items()
            assert number
            first = int(start.timestamp())
            loaded = await load(conn, key, 0, 2**33)
            words = load_profile.marked(loaded, key, 43_470)
            here = (words.starts_s >= first) & (words.starts_s < first + 900 * count)
            return words.words[here].tolist()


async def home(world, *, register=False, base: ItemBase = ENERGY_REAL_WH, start=START, hours=1) -> Home:
    world.clock.advance(to=start - timedelta(minutes=10))
    ven = await world.ven()
    await ven.offer(usage("meter", item_base=base))
    wish = ReportRequest("w", "usage", ("meter",), QUARTER, QUARTER, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    one = Home(world, ven, wish, "", start, lasts=None if register else QUARTER)
    first = start - timedelta(hours=1) - timedelta(days=28)
    count = 28 * 96 + 4
    if register:
        one.level -= USUAL * count
        await one.tell(first, *(one.level + USUAL * n for n in range(count + 1)))
        one.level += USUAL * count
    else:
        await one.tell(first, *[USUAL] * count)
    one.dispatch_id = await world.dispatch(
        ven, signals=(power(-400.0, each=Duration.of(hours=hours)),), starts_in=start - world.now, rules=RULES
    )
    await ven.opt((await ven.events())[0], OptType.IN)
    return one


def figures(result):
    sources = [one.source for one in result.intervals]
    return (result.delivered_wh, result.coverage, sources)


VEN = "VEN register"


async def test_good_input_is_what_the_others_differ_from(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    await one.tell(START, *GOOD)
    assert figures(await one.result()) == (DELIVERED, 1.0, [VEN] * 4)


async def test_readings_in_the_future_are_kept_as_uncertain_and_never_settled(any_world):
    """Who tells before the event what it will have used has measured nothing; what it measures later counts."""
    one = await home(any_world)
    await one.tell(START, 0.0, 0.0, 0.0, 0.0)
    any_world.clock.advance(to=END)
    result = await one.result()
    assert (result.delivered_wh, [each.source for each in result.intervals]) == (None, [None] * 4)
    assert result.why_unknown.startswith("Readings of the event are missing.")
    assert await one.qualities(START, 4) == ["uncertain"] * 4
    await any_world.faults.flush()
    async with any_world.db.read() as conn:
        (fault,) = await ven_faults.of_ven(conn, one.ven.ven_id)
    assert (fault.kind, fault.subject, fault.count) == ("doubted", "readings of the future", 1)
    assert fault.text.startswith("They begin up to 3300 s after they came")
    await one.tell(START, *GOOD)
    assert figures(await one.result()) == (DELIVERED, 1.0, [VEN] * 4)


async def test_a_clock_that_runs_a_little_ahead_is_believed(world):
    one = await home(world)
    world.clock.advance(to=END - STEP - timedelta(minutes=4))
    await one.tell(START, *GOOD)
    world.clock.advance(to=END)
    assert figures(await one.result()) == (DELIVERED, 1.0, [VEN] * 4)


async def test_an_interval_that_lasts_until_far_in_the_future_is_not_believed(world):
    one = await home(world)
    one.lasts = Duration.of(hours=3)
    await one.tell(NOON, 0.0)
    assert await one.qualities(NOON, 1) == ["good", "uncertain"], "of a quarter of an hour, and of three hours"


async def test_a_negative_register_reading_is_bridged_by_an_estimate(any_world):
    one = await home(any_world, register=True)
    any_world.clock.advance(to=END)
    readings = [one.level + 100.0 * n for n in range(1, 5)]
    readings[1] = -7.0
    await one.tell(START + STEP, *readings)
    assert figures(await one.result()) == (DELIVERED, 1.0, [VEN, "estimate", "estimate", VEN])
    assert await one.qualities(START + STEP, 4) == ["good", "uncertain", "good", "good"]


async def test_the_same_reading_again_changes_nothing(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    await one.tell(START, *GOOD)
    first = await evaluation.evaluate(any_world.db, one.dispatch_id, any_world.now)
    await one.tell(START, *GOOD)
    assert await evaluation.evaluate(any_world.db, one.dispatch_id, any_world.now) == first


async def test_two_values_of_one_interval_in_one_message_make_a_gap(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    rows = [*GOOD, 900.0]
    edges = [START + n * STEP for n in (0, 1, 2, 3, 3)]
    intervals = tuple(
        ReportInterval((ReportPayload("meter", value),), at, QUARTER) for at, value in zip(edges, rows, strict=True)
    )
    sent = Report(one.wish.request_id, "usage", "TELEMETRY_USAGE", START, intervals, any_world.now)
    assert (await one.ven.report(sent)).response.code == 200
    assert figures(await one.result()) == (300.0, 0.75, [VEN, VEN, VEN, None])


async def test_a_later_message_corrects(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    await one.tell(START, 150.0, *GOOD[1:])
    first = await evaluation.evaluate(any_world.db, one.dispatch_id, any_world.now)
    await one.tell(START, *GOOD)
    second = await evaluation.evaluate(any_world.db, one.dispatch_id, any_world.now)
    assert (first.delivered_wh, second.delivered_wh, second.version) == (350.0, DELIVERED, first.version + 1)


async def test_an_exchanged_meter_leaves_a_gap_where_it_was_exchanged(any_world):
    one = await home(any_world, register=True)
    any_world.clock.advance(to=END)
    await one.tell(START + STEP, one.level + 100, one.level + 200, 70_000.0, 70_100.0)
    any_world.clock.advance(to=END + STEP)
    await one.tell(END + STEP, 70_300.0)
    assert figures(await one.result()) == (300.0, 0.75, [VEN, VEN, None, VEN])


async def test_a_gap_costs_its_interval_only(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    await one.tell(START, *GOOD[:2])
    await one.tell(START + 3 * STEP, GOOD[3])
    assert figures(await one.result()) == (300.0, 0.75, [VEN, VEN, None, VEN])


async def test_a_unit_a_thousand_times_too_small_is_more_than_the_connection_carries(any_world):
    one = await home(any_world)
    any_world.clock.advance(to=END)
    await one.tell(START, *(1000 * each for each in GOOD))
    result = await one.result()
    assert (result.delivered_wh, [each.source for each in result.intervals]) == (None, [None] * 4)
    assert await one.qualities(START, 4) == ["uncertain"] * 4


async def test_a_unit_that_is_no_energy_is_not_settled_and_says_so(any_world):
    one = await home(any_world, base=ItemBase("customUnit", "cubic metres", "m3", "none"))
    any_world.clock.advance(to=END)
    await one.tell(START, *GOOD)
    result = await one.result()
    assert (result.delivered_wh, result.counts) == (None, False)
    assert result.why_unknown == (
        "Nothing that it reports is a real energy or power: see the units of its data points."
    )


@pytest.mark.parametrize(
    ("start", "hours"),
    [(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), 3), (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 2)],
    ids=["23 hours", "25 hours"],
)
async def test_on_a_day_of_another_length_every_interval_is_settled_once(any_world, start, hours):
    one = await home(any_world, start=start, hours=hours)
    end = start + timedelta(hours=hours)
    any_world.clock.advance(to=end)
    await one.tell(start, *[100.0] * (4 * hours))
    assert figures(await one.result()) == (DELIVERED * hours, 1.0, [VEN] * (4 * hours))
