"""What VENs say of their own delivery beside the result: with our own gateway's engine, and by hand."""

from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random

import numpy as np
import pytest

from core.direction import Direction
from core.errors import InvalidError
from core.points import Reading
from core.spans import ZERO, Duration
from openadr.model.assessment import DELTA, REPORT_NAME
from openadr.model.report import ReportDescription, ReportOffer, SamplingRate
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH
from support.metered import HALF, metered_ven, send
from support.vtn_world import HOUR, NOON, data, power, usage
from ven.assessment import Assessments
from ven.assessment_report import AssessmentReports
from ven.assessor import Assessor
from ven.engine import Engine, VenSettings
from ven.household import Household
from ven.opt_policy import HouseholdOptPolicy
from ven.quarantine import Quarantine
from ven.readings_store import Ring
from ven.reports import Metered, Reporter, ReportPlan
from ven.store import Store
from vtn.services import evaluation, report, self_assessment, settlement_series
from vtn.services.evaluation_result import IntervalResult, VenResult
from vtn.services.self_assessment import compared
from vtn.services.settings import VtnSettings, WantedReport
from vtn.services.wanted import shortfalls
from vtn.store.readings import Loaded, numbered

QUARTER = Duration.of(minutes=15)
START, END = NOON + timedelta(hours=2), NOON + timedelta(hours=3)


@pytest.fixture
def settings():
    wanted = (
        WantedReport("HISTORY_USAGE", ZERO, history=Duration.of(days=20)),
        WantedReport("TELEMETRY_USAGE", QUARTER, QUARTER),
        WantedReport(REPORT_NAME, ZERO, Duration.of(days=1)),
    )
    return VtnSettings("vtn", wanted_reports=wanted)


# -- our own gateway, with its engine, store and computation, over the wire format


class Gateway:
    """What a gateway has of it, without devices: they have done what they were told."""

    def __init__(self, world, ven, folder, *, power_w, **household):
        self.world, self.ven = world, ven
        plain = {"version": 1, "name": "home", "identity": "identity", "state": folder, "mqtt": {"host": "localhost"}}
        heater = {"hems_id": "H1", "device_id": "2", "actuator_id": "284"}
        plain["devices"] = [{"id": "heater", "driver": "iflex", "with": heater, "nominal_w": 2000}]
        plain["programmes"] = [{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater"]}}]
        self.household = Household.model_validate(plain | {"site": {"time_zone": "UTC"}} | household)
        self.store = Store(folder / "gateway.db")
        self.ring = Ring(self.store, 1_000_000)
        metered = [Metered("home", "meter.energy")]
        quarantine = Quarantine(self.store)
        self.assessor = Assessor(
            self.household, metered, self.store, quarantine, world.clock,
            flush=lambda: None, ready=lambda: True, renewed=lambda: None,
        )  # fmt: skip
        assessed = AssessmentReports(Assessments(self.store), metered, self.household.assess)
        plan = ReportPlan(history_step=QUARTER)
        self.engine = Engine(
            self.store,
            HouseholdOptPolicy(self.household),
            Reporter(self.ring, metered, plan, assessed),
            VenSettings("home", Duration.of(minutes=1), jitter=0.0, burst=10**9),
            Random(1),  # noqa: S311  a test repeats itself
            quarantine=quarantine,
            monotonic=self.elapsed_s,
        )
        self.engine.start(world.now)
        self.live(power_w)

    def elapsed_s(self):
        return self.world.now.timestamp()

    def live(self, power_w):
        """Store a register of 20 days, and of the day to come: None is a reading that was missed."""
        when, total_wh = NOON - timedelta(days=21), 0.0
        readings = []
        while when < NOON + timedelta(days=1):
            watts = power_w(when)
            if watts is not None:
                readings.append(Reading("meter.energy", when, total_wh))
                total_wh += watts / 4
            when += timedelta(minutes=15)
        self.ring.add(readings)

    async def works(self, **span):
        """Let it work minute by minute for that long."""
        for _ in range(int(timedelta(**span) / timedelta(minutes=1))):
            self.world.later(minutes=1)
            while (message := self.engine.next_request(self.world.now)) is not None:
                self.engine.received(await self.ven.say(message), self.world.now)
        await self.assessor.look(self.world.now)


def shed(when):
    return 0.0 if START <= when < END else 1000.0


def busier_day(when):
    """A fifth more than usual since the morning of the event, and half of that in the event."""
    return 600.0 if START <= when < END else 1200.0 if when >= NOON - timedelta(hours=6) else 1000.0


def half_known(when):
    return None if when >= START + timedelta(minutes=45) else shed(when)


async def story(world, folder, **gateway):
    """Run an event of an hour at a real engine; return what it says beside the newest result."""
    ven = await world.ven(register=False)
    home = Gateway(world, ven, folder, **gateway)
    await home.works(minutes=5)
    dispatch_id = await world.dispatch(
        ven,
        signals=(power(-1000.0),),
        starts_in=START - world.now,
        rules={"baseline": "10of10", "settlement_interval": QUARTER},
    )
    await home.works(hours=3, minutes=15)
    await home.works(minutes=5)
    result = await evaluation.evaluate(world.db, dispatch_id, world.now)
    async with world.db.read() as conn:
        found = await self_assessment.of_result(conn, result, Direction.REDUCE)
        basis = (await settlement_series.of(conn, [ven.ven_id]))[ven.ven_id]
    assert [part.key.point.report_type for part in basis.everything] == ["usage", "usage"]
    home.store.close()
    return found, result


async def test_a_gateway_and_its_vtn_agree(world, tmp_path):
    found, result = await story(world, tmp_path, power_w=shed)
    assert (found.agreeing, found.disputed, found.silent) == (1, 0, 0)
    (row,) = found.vens
    assert row.own_wh == pytest.approx(1000, abs=1)
    assert row.result_wh == pytest.approx(result.delivered_wh)
    assert (row.agrees, row.coverage, row.tolerance_wh) == (True, 1.0, pytest.approx(100))
    assert (row.method, row.same_method) == ("10of10", True)


async def test_another_method_may_come_to_another_figure_which_settles_nothing(world, tmp_path):
    found, result = await story(world, tmp_path, power_w=busier_day, assess={"baseline": "10of10-unadjusted"})
    assert (found.agreeing, found.disputed) == (0, 1)
    (row,) = found.vens
    assert (row.own_wh, row.result_wh) == (pytest.approx(400, abs=1), pytest.approx(600, abs=1))
    assert row.difference_ratio == pytest.approx(-1 / 3, abs=0.01)
    assert row.is_disputed
    assert (row.method, row.same_method) == ("10of10-unadjusted", False)
    assert result.delivered_wh == pytest.approx(600, abs=1)


async def test_a_gap_is_left_out_on_both_sides(world, tmp_path):
    found, _ = await story(world, tmp_path, power_w=half_known)
    (row,) = found.vens
    assert (row.agrees, row.coverage) == (True, 0.5)
    assert row.own_wh == pytest.approx(500, abs=1)


async def test_who_opted_out_says_nothing_and_is_not_missed(world, tmp_path):
    found, result = await story(world, tmp_path, power_w=shed, opt=[{"opt": "out"}])
    assert result.opted_out == 1
    assert (found.vens, found.silent) == ((), 0)


# -- VENs of other makes


def word_of(*r_ids, specifier="own", name="TELEMETRY_USAGE", report_type=DELTA, **target):
    """Return an offer of what a VEN thinks of events."""
    lines = tuple(
        ReportDescription(
            r_id,
            report_type,
            "Estimated",
            Target(**target),
            item_base=ENERGY_REAL_WH,
            sampling=SamplingRate(HALF, HOUR),
        )
        for r_id in r_ids
    )
    return ReportOffer(specifier, name, HOUR, lines, NOON)


@dataclass
class Called:
    """A VEN that took part in a dispatch that is evaluated; it offers what it thinks of it as `own`."""

    world: object
    ven: object
    wishes: list
    dispatch_id: str

    async def says(self, *deltas_wh, wish=0, step=HALF, start=START, r_id="delta"):
        request = self.wishes[wish]
        answer = await self.ven.report(data(request, start, *deltas_wh, step=step, r_id=r_id, specifier="own"))
        assert answer.response.code == 200

    async def found(self):
        async with self.world.db.read() as conn:
            result = await evaluation.stored(conn, self.dispatch_id)
            return await self_assessment.of_result(conn, result, Direction.REDUCE)


async def called(world, offer):
    ven, wish, _ = await metered_ven(world, 1)
    dispatch_id = await world.dispatch(
        ven, signals=(power(-200.0),), starts_in=START - world.now, rules={"settlement_interval": HALF}
    )
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, *([200.0] * 6))
    await evaluation.evaluate(world.db, dispatch_id, world.now)
    wanted = await ven.offer(usage("meter"), offer)
    wishes = [one for one in wanted if one.specifier_id == "own"]
    return Called(world, ven, wishes, dispatch_id)


async def test_the_same_points_of_any_ven_are_read(world):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    assert (await home.found()).silent == 1
    await home.says(-50.0, -70.0)
    (row,) = (await home.found()).vens
    assert (row.own_wh, row.method, row.same_method) == (120.0, None, None)
    await home.says(-50.0, -80.0)
    assert (await home.found()).vens[0].own_wh == 130.0, "the newest word counts"


async def test_a_ven_that_computes_by_another_baseline_is_heard(world):
    """It says so by another data point; what the old one said of other times is no word of this event."""
    home = await called(world, word_of("meter/deltaUsage/10of10", resource_ids=("meter",)))
    await home.says(-50.0, start=END, r_id="meter/deltaUsage/10of10")
    wanted = await home.ven.offer(usage("meter"), word_of("meter/deltaUsage/20of20", resource_ids=("meter",)))
    home.wishes[:] = [one for one in wanted if one.specifier_id == "own"]
    await home.says(-50.0, -70.0, r_id="meter/deltaUsage/20of20")
    (row,) = (await home.found()).vens
    assert (row.own_wh, row.method) == (120.0, "20of20")


async def test_what_a_ven_thinks_is_never_settled(world):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    await home.says(-50.0, -70.0)
    async with world.tx() as tx:
        keys = await numbered(tx.conn, [home.ven.ven_id])
        (number,) = (number for number, key in keys.items() if key.point.report_type == DELTA)
        assert not settlement_series.can_settle(keys[number])
        with pytest.raises(InvalidError, match="no metered"):
            await settlement_series.choose(tx, home.ven.ven_id, [number], world.now, who="test")


async def test_a_word_beside_the_event_is_none_of_it(world):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    await home.says(-50.0, start=END)
    await home.says(-50.0, start=START - timedelta(minutes=30))
    assert (await home.found()).vens == ()


async def test_the_energy_of_the_whole_event_is_spread_over_it(world):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    await home.says(-120.0, step=HOUR)
    (row,) = (await home.found()).vens
    assert (row.own_wh, row.coverage) == (120.0, 1.0)


async def test_words_of_sub_meters_do_not_add_to_that_of_what_is_settled(world):
    lines = word_of("delta", resource_ids=("meter",)).descriptions + word_of("b", resource_ids=("boiler",)).descriptions
    home = await called(world, replace(word_of("delta"), descriptions=lines))
    await home.says(-50.0, -70.0)
    await home.says(-500.0, -700.0, r_id="b")
    assert (await home.found()).vens[0].own_wh == 120.0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e30, -1.7e308, 40_000.0])
async def test_what_no_connection_carries_is_no_word(world, odd):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    await home.says(odd, -70.0)
    (row,) = (await home.found()).vens
    assert (row.own_wh, row.coverage) == (70.0, 0.5)


async def test_a_dispute_is_shown_while_the_result_stays_as_it_is(world):
    home = await called(world, word_of("delta", resource_ids=("meter",)))
    await home.says(5000.0, 5000.0)
    found = await home.found()
    assert (found.disputed, found.agreeing) == (1, 0)
    assert (await evaluation.evaluate(world.db, home.dispatch_id, world.now)).version == 1


async def test_other_vens_are_not_said_to_lack_it(world):
    ven = await world.ven()
    await ven.offer(usage("meter"))
    async with world.db.read() as conn:
        offers = await report.offered(conn, ven.ven_id)
    assert offers
    assert not [text for text in shortfalls(world.settings.wanted_reports, offers, world.now) if REPORT_NAME in text]


# -- the comparison alone


def ven_result(*delivered_w, baseline_w=1000.0, counts=True, why=None):
    intervals = tuple(
        IntervalResult(
            START + n * timedelta(minutes=30), 1800, 500.0, baseline_w, 0.0, watts, None if watts == "not due" else 1.0
        )
        for n, watts in enumerate(delivered_w)
    )
    intervals = tuple(
        replace(one, delivered_w=0.0)
        if one.coverage is None
        else replace(one, coverage=float(one.delivered_w is not None))
        for one in intervals
    )
    return VenResult(
        "ven", "home", "evt", "optIn", None, counts, 500.0, 0.0, None, None, "", (), intervals, why_unknown=why
    )  # fmt: skip


def said(*values_wh):
    """Return a word for each half hour from the start on."""
    starts = int(START.timestamp()) + 1800 * np.arange(len(values_wh))
    return Loaded(starts, np.full(len(starts), 1800), np.array(values_wh, float), np.full(len(starts), "estimated"))


def test_only_intervals_that_count_and_that_both_know_are_compared():
    row = compared(ven_result(400.0, "not due", None, 600.0), [said(-210.0, -9000.0, -500.0, -290.0)], Direction.REDUCE)
    assert (row.own_wh, row.result_wh, row.coverage) == (500.0, 500.0, pytest.approx(2 / 3))
    assert row.agrees


def test_what_only_the_ven_knows_is_told_and_not_compared():
    row = compared(ven_result(None, None, counts=False, why="No readings."), [said(-100.0, -200.0)], Direction.REDUCE)
    assert (row.own_wh, row.result_wh, row.agrees, row.is_disputed) == (300.0, None, None, False)
    assert row.coverage == 0.0


@pytest.mark.parametrize(("own_wh", "agrees"), [(-1099.0, True), (-1101.0, False), (-901.0, True), (-899.0, False)])
def test_a_tenth_is_agreement(own_wh, agrees):
    row = compared(ven_result(2000.0, baseline_w=2000.0), [said(own_wh)], Direction.REDUCE)
    assert (row.agrees, row.tolerance_wh) == (agrees, pytest.approx(100.0))


def test_a_small_delivery_is_not_known_to_a_tenth():
    row = compared(ven_result(20.0, baseline_w=2000.0), [said(-50.0)], Direction.REDUCE)
    assert (row.tolerance_wh, row.agrees) == (50.0, True)


def test_more_consumption_is_delivered_where_that_was_ordered():
    row = compared(ven_result(1000.0), [said(500.0)], Direction.INCREASE)
    assert (row.own_wh, row.agrees) == (500.0, True)


def test_resources_add_up_and_a_missing_one_leaves_its_intervals_out():
    row = compared(ven_result(1000.0, 1000.0), [said(-300.0, -300.0), said(-200.0)], Direction.REDUCE)
    assert (row.own_wh, row.coverage) == (500.0, 0.5)


def test_no_delivery_has_no_share():
    row = compared(ven_result(0.0), [said(0.0)], Direction.REDUCE)
    assert (row.difference_ratio, row.agrees) == (None, True)
