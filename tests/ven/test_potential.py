"""The gateway's own flexibility potential: what it is made of, and when it is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.connections import NoConnection
from bridges.device import Capability, CapabilityKind, Command, Device, Outcome, Rank, State
from bridges.lease_state import Lease, Phase
from core.clock import ManualClock
from core.direction import Direction
from core.errors import InvalidError
from core.points import Kind, Point, Quantity, Reading
from core.spans import Duration, Span
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.potential import REPORT_TYPES, Quantile, quantile_of, r_id
from openadr.model.report import ReportRequest, check_offers
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import RegisterReport, Response, UpdatedReport, UpdateReport
from ven.consumption_history import ConsumptionMemory, Source, held_spans, source_of
from ven.daily_use import DailyUse
from ven.devices import describe
from ven.engine.reports import ReportHandler
from ven.gateway import Gateway
from ven.household import Household
from ven.planning import plan
from ven.potential import Flexible, Forecaster, Spread, Storage, absences, filled, flexible, potential, quantiles
from ven.readings_store import Ring
from ven.reports import Metered, Reporter, ReportPlan
from ven.store import Store
from ven.vtn_state import KnownEvent, Registration

from .conftest import HOUSEHOLD

NOON = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
HALF_HOUR = timedelta(minutes=30)
NOON_S = int(NOON.timestamp())
DAY_S = 86_400
HEATER = Flexible("heater", 2000.0, 0.0)
ME = Registration("reg", "ven-1", "vtn")


def past(*powers, start_s=NOON_S):
    """Return what was drawn in the half hour of that time, yesterday first."""
    return {start_s - day * DAY_S: power for day, power in enumerate(powers, 1)}


def now(devices, drawn, direction=Direction.REDUCE, absent=None, start_s=NOON_S):
    (spread,) = potential(devices, drawn, absent or {}, [start_s], direction, 14)
    return spread


# -- which devices


def test_devices_that_a_call_sheds_can_be_reduced(household):
    found = flexible(household, describe(household, None))
    assert found == {"home": (Flexible("heater", 2000.0, 0.0), Flexible("plug", 500.0, 0.0))}


def test_only_what_a_call_switches_on_increases(variant):
    levels = {"match": {"signal": "SIMPLE"}, "levels": {1: {"plug": {"switch": "on"}}}}
    call = {"match": {"signal": "LOAD_DISPATCH"}, "increase": {"order": ["plug"]}}
    home = variant(programmes=[levels])
    assert flexible(home, describe(home, None)) == {}  # no LOAD_DISPATCH reaches it
    home = variant(programmes=[levels, call])
    assert flexible(home, describe(home, None)) == {"home": (Flexible("plug", 500.0, None, increases=True),)}


def test_a_limit_leaves_its_floor(household):
    limit = Capability("import_limit", 2000.0, "W", low=100.0, floor=600.0)
    devices = {"heater": Device("heater", "heater", (), (limit,), 2000.0)}
    assert flexible(household, devices) == {"home": (Flexible("heater", 2000.0, 600.0),)}


def test_who_opts_out_of_everything_offers_nothing(variant):
    home = variant(opt=[{"opt": "out"}])
    assert flexible(home, describe(home, None)) == {}
    picky = variant(opt=[{"opt": "out", "market_context": "http://elsewhere"}])
    assert flexible(picky, describe(picky, None)) != {}


def test_a_device_of_two_resources_counts_once(variant):
    home = variant(resources=[{"id": "a", "devices": ["heater", "plug"]}, {"id": "b", "devices": ["heater"]}])
    assert list(flexible(home, describe(home, None))) == ["a"]


# -- how much


def test_the_middle_is_what_was_drawn_at_that_time():
    spread = now([HEATER], {"heater": past(1500, 1600, 1700, 1600, 1500, 1700, 1600)})
    assert spread.p50_w == 1600
    assert spread.p10_w < 1500
    assert 1700 < spread.p90_w <= 2000


def test_few_days_say_little():
    one = now([HEATER], {"heater": past(1600)})
    many = now([HEATER], {"heater": past(*[1600] * 14)})
    assert one.p50_w == many.p50_w == 1600
    assert one.p10_w < many.p10_w
    assert one.p90_w > many.p90_w


def test_older_days_do_not_count_and_other_hours_only_until_this_one_is_known():
    assert now([HEATER], {"heater": {NOON_S - 15 * DAY_S: 900.0}}) == Spread(0.0, 200.0, 2000.0)
    other = {NOON_S - 1800: 900.0}
    assert now([HEATER], {"heater": other}) == Spread(0.0, 900.0, 2000.0)
    assert now([HEATER], {"heater": other | past(100)}).p50_w == 100


def test_a_floor_stays():
    limited = Flexible("heater", 2000.0, 500.0)
    assert now([limited], {"heater": past(*[1500] * 9)}).p50_w == 1000
    assert now([limited], {"heater": past(*[300] * 9)}).p50_w == 0


def test_devices_are_added_day_by_day():
    plug = Flexible("plug", 500.0, 0.0)
    drawn = {"heater": past(2000, 0, 2000, 0, 2000), "plug": past(0, 500, 0, 500, 0)}
    spread = now([HEATER, plug], drawn)
    assert spread.p50_w == 2000  # never both at once
    assert spread.p90_w < 2500


def test_an_increase_is_what_is_left_to_the_nominal_power():
    plug = Flexible("plug", 500.0, None, increases=True)
    drawn = {"plug": past(*[100] * 9)}
    assert now([plug], drawn, Direction.INCREASE).p50_w == 400
    assert now([plug], drawn, Direction.REDUCE) == Spread()
    assert now([Flexible("plug", None, None, increases=True)], drawn, Direction.INCREASE) == Spread()


def test_what_is_out_of_reach_has_none_until_it_is_back():
    drawn = {"heater": past(*[1600] * 9)}
    assert now([HEATER], drawn, absent={"heater": NOON + HALF_HOUR}) == Spread()
    assert now([HEATER], drawn, absent={"heater": NOON}).p50_w == 1600


def test_a_home_that_has_not_learnt_its_heater_yet_offers_widely_by_nameplate():
    assert now([HEATER], {"heater": {}}) == Spread(0.0, 200.0, 2000.0)
    assert now([HEATER], {"heater": {}}, absent={"heater": NOON + HALF_HOUR}) == Spread(), "device state counts"


def test_the_first_half_hours_count_whatever_the_time_of_day():
    first = {NOON_S - 7200: 1600.0, NOON_S - 5400: 0.0, NOON_S - 3600: 1600.0}
    spread = now([HEATER], {"heater": first})
    assert spread == Spread(0.0, 1600.0, 2000.0), "and the range is wide"
    yesterday = {NOON_S - DAY_S: 400.0}
    assert now([HEATER], {"heater": first | yesterday}).p50_w == 400, "the same time of another day says more"


@given(st.lists(st.floats(0, 5000), max_size=30), st.floats(0, 3000))
def test_quantiles_ascend_between_nothing_and_everything(samples, most):
    spread = quantiles(samples, most)
    assert 0 <= spread.p10_w <= spread.p50_w <= spread.p90_w <= round(most) + 1


# -- from the meter


def test_a_device_without_a_past_of_its_own_gets_its_share_of_the_meter():
    meter = {NOON_S - 1800 * n: (2300.0 if n < 10 else 300.0) for n in range(48)}
    own = {NOON_S - 1800 * n: 1600.0 for n in range(3)}  # 1600 of the 2000 W above the base load
    whole = filled([HEATER], {"heater": own}, meter)
    assert 1500 < whole["heater"][NOON_S - 1800 * 5] < 1600
    assert whole["heater"][NOON_S - 1800] == 1600
    assert whole["heater"][NOON_S - 1800 * 20] == 0
    assert len(own) == 3
    silent = filled([HEATER], {"heater": {NOON_S: 0.0}}, meter)
    assert 0 < silent["heater"][NOON_S - 1800] < 300
    never = filled([HEATER, Flexible("plug", 500.0, 0.0)], {}, meter)
    assert never["heater"][NOON_S] == pytest.approx(800)
    assert never["plug"][NOON_S] == pytest.approx(200)
    assert filled([HEATER], {}, {}) == {"heater": {}}


def test_no_share_is_more_than_the_device_can_draw():
    meter = {NOON_S - 1800 * n: (9000.0 if n < 10 else 0.0) for n in range(48)}
    assert max(filled([HEATER], {}, meter)["heater"].values()) == 2000


# -- what was drawn


def register(ring, point, start, hours, power_w, every=HALF_HOUR):
    steps = int(timedelta(hours=hours) / every)
    wh = power_w * every.total_seconds() / 3600
    ring.add([Reading(point, start + every * n, wh * n) for n in range(steps + 1)])


def test_the_past_is_read_from_register_or_power():
    ring = Ring(Store(None), 10_000)
    register(ring, "m.energy", NOON - timedelta(days=2), 48, 700.0)
    ring.add([Reading("h.power", NOON - timedelta(minutes=n), 900.0) for n in range(1, 91)])
    sources = {"meter": Source("m.energy"), "heater": Source(power="h.power"), "dead": Source("x", "y")}
    memory = ConsumptionMemory(ring, sources, HALF_HOUR, 14)
    memory.refresh(NOON, {})
    assert len(memory.of("meter")) == 96
    assert set(memory.of("meter").values()) == {700.0}
    assert memory.of("heater") == {NOON_S - 1800 * n: 900.0 for n in (1, 2, 3)}
    assert memory.of("dead") == {}


def test_the_running_step_counts_as_far_as_it_has_come():
    ring = Ring(Store(None), 10_000)
    memory = ConsumptionMemory(ring, {"heater": Source(power="h.power")}, HALF_HOUR, 14)
    ring.add([Reading("h.power", NOON + timedelta(minutes=n), 900.0) for n in range(10)])
    memory.refresh(NOON + timedelta(minutes=10), {})
    assert memory.of("heater") == {}
    ring.add([Reading("h.power", NOON + timedelta(minutes=n), 900.0) for n in range(10, 15)])
    memory.refresh(NOON + timedelta(minutes=15), {})
    assert memory.of("heater") == {NOON_S: 900.0}
    ring.add([Reading("h.power", NOON + timedelta(minutes=n), 300.0) for n in range(15, 30)])
    memory.refresh(NOON + HALF_HOUR, {})
    assert memory.of("heater") == {NOON_S: 600.0}


def test_a_step_that_was_hardly_seen_says_nothing():
    ring = Ring(Store(None), 10_000)
    memory = ConsumptionMemory(ring, {"heater": Source(power="h.power")}, HALF_HOUR, 14)
    ring.add([Reading("h.power", NOON + timedelta(minutes=n), 0.0) for n in range(20, 60)])
    memory.refresh(NOON + 2 * HALF_HOUR, {})
    assert memory.of("heater") == {NOON_S + 1800: 0.0}


def test_what_events_held_is_left_out_and_the_hour_after():
    ring = Ring(Store(None), 10_000)
    register(ring, "h.energy", NOON - timedelta(hours=10), 10, 900.0)
    memory = ConsumptionMemory(ring, {"heater": Source("h.energy")}, HALF_HOUR, 14)
    held = {"heater": [Span(NOON - timedelta(hours=4, minutes=10), NOON - timedelta(hours=3))]}
    memory.refresh(NOON, held)
    gone = {NOON_S - 1800 * n for n in range(1, 21)} - set(memory.of("heater"))
    assert gone == {NOON_S - 1800 * n for n in range(5, 10)}


def test_older_readings_count_once_asked_for_anew():
    ring = Ring(Store(None), 10_000)
    memory = ConsumptionMemory(ring, {"meter": Source("m.energy")}, HALF_HOUR, 14)
    memory.refresh(NOON, {})
    register(ring, "m.energy", NOON - timedelta(days=2), 48, 700.0)
    memory.refresh(NOON, {})
    assert len(memory.of("meter")) < 10
    memory.forget()
    memory.refresh(NOON, {})
    assert len(memory.of("meter")) == 96


def test_the_journal_tells_when_events_held_a_device():
    def step(ident, state, minute, rank=Rank.EVENT):
        command = Command(ident, "heater", "switch", "off", NOON + timedelta(hours=2), "evt", rank)
        return Outcome(command, state, NOON + timedelta(minutes=minute))

    steps = [
        step("a", State.JOURNALLED, 0), step("a", State.SENT, 1), step("a", State.CONFIRMED, 2),
        step("a", State.RESTORED, 60), step("b", State.REFUSED, 3), step("c", State.SENT, 90),
        step("d", State.SENT, 5, Rank.USER),
    ]  # fmt: skip
    at = NOON + timedelta(minutes=100)
    minute = timedelta(minutes=1)
    assert held_spans(steps, at) == {"heater": [Span(NOON + minute, NOON + 60 * minute), Span(NOON + 90 * minute, at)]}


def test_exports_and_phases_are_no_draw(household):
    devices = describe(household, None)
    assert source_of(devices["meter"]).register == "meter.energy"
    bare = Device("x", "plug", (Point("x.state", Quantity.STATE, Kind.INSTANT),))
    assert source_of(bare) is None


# -- as the devices are now


class Present:
    def __init__(self, state="on", normal="on"):
        self._state, self._normal = state, normal

    def state(self, _):
        return self._state

    def describe(self):
        return Device("it", "plug", (), (Capability(CapabilityKind.SWITCH, self._normal, values=("on", "off")),))


def test_absence_is_reach_lease_or_hand():
    plug, gone = Flexible("plug", 500.0, 0.0), Flexible("gone", 500.0, 0.0)
    drivers = {"heater": Present("off"), "plug": Present(), "gone": Present()}
    command = Command("c", "heater", "switch", "off", NOON + timedelta(hours=1), "evt")
    held = [Lease(command, holds=True, phase=Phase.HELD, previous="on")]
    lost = {"gone": NOON - timedelta(minutes=2), "plug": NOON - timedelta(minutes=1)}
    until = absences(drivers, [HEATER, plug, gone], held, ["plug"], lost, NOON)
    assert until["heater"] == NOON + timedelta(hours=1)
    assert until["plug"] == NOON + timedelta(hours=2)
    assert until["gone"].year == 9999
    off = absences({"heater": Present("off")}, [HEATER], [], [], {}, NOON)
    assert off == {"heater": NOON + timedelta(hours=2)}
    assert absences({"heater": Present()}, [HEATER], [], [], {}, NOON) == {}


@pytest.mark.parametrize(
    ("state", "normal", "until"),
    [
        ("on", "off", NOON + timedelta(hours=2)),
        ("on", "on", datetime.max.replace(tzinfo=UTC)),
        ("off", "on", None),
        ("off", "off", None),
        (None, "off", None),
    ],
)
def test_what_is_on_already_cannot_be_switched_on(state, normal, until):
    """An order to switch it on would change nothing; before, only what was on counted, and what was off did not."""
    plug = Flexible("plug", 500.0, None, increases=True)
    now = absences({"plug": Present(state, normal)}, [plug], [], [], {}, NOON, Direction.INCREASE)
    assert now == ({} if until is None else {"plug": until})


def test_what_was_used_often_enough_today_has_none():
    midnight = NOON + timedelta(hours=12)
    for state, at in (("on", NOON), ("off", NOON)):
        until = absences({"heater": Present(state)}, [HEATER], [], [], {}, at, spent={"heater": midnight})
        assert until == {"heater": midnight}
    assert absences({"heater": Present()}, [HEATER], [], [], {}, NOON, spent={"plug": midnight}) == {}


async def test_a_device_that_no_event_may_use_today_is_not_offered(variant):
    """`limits.max_per_day` as the executor keeps it; at midnight it is offered again, unless it is never used."""
    clock = ManualClock(NOON)
    for most, until in ((1, NOON + timedelta(hours=12)), (0, datetime.max.replace(tzinfo=UTC))):
        devices = [{"id": "heater", "driver": "shelly1", "with": {"id": "p"}, "limits": {"max_per_day": most}}]
        home = variant(devices=devices, resources=[], programmes=[], site={"time_zone": "UTC"})
        use = DailyUse(home, Store(None), clock)
        assert use.spent(NOON, ()) == ({} if most else {"heater": until})
        assert use.allows("evt", "heater") is bool(most)
        assert use.spent(NOON, ()) == {"heater": until}
        assert use.spent(NOON + timedelta(hours=12), ()) == ({} if most else {"heater": until})


# -- the same rules as the plan

CAPABILITIES = {
    CapabilityKind.SWITCH: Capability(CapabilityKind.SWITCH, "on", values=("on", "off")),
    CapabilityKind.MODE: Capability(CapabilityKind.MODE, "pv", values=("off", "pv", "now")),
    CapabilityKind.BOOST: Capability(CapabilityKind.BOOST, "off", values=("on", "off")),
    CapabilityKind.IMPORT_LIMIT: Capability(
        CapabilityKind.IMPORT_LIMIT, 9000.0, "W", low=0.0, high=9000.0, floor=300.0
    ),
    CapabilityKind.EXPORT_LIMIT: Capability(CapabilityKind.EXPORT_LIMIT, 100.0, "%", low=0.0, high=100.0),
    CapabilityKind.CURRENT_LIMIT: Capability(CapabilityKind.CURRENT_LIMIT, 16.0, "A", low=6.0, high=32.0, floor=6.0),
    CapabilityKind.SETPOINT: Capability(CapabilityKind.SETPOINT, 50.0, "Cel", low=30.0, high=60.0),
    CapabilityKind.OFFSET: Capability(CapabilityKind.OFFSET, 0.0, "K", low=-3.0, high=3.0),
    CapabilityKind.STORAGE_POWER: Capability(CapabilityKind.STORAGE_POWER, 0.0, "W", low=-3000.0, high=3000.0),
    CapabilityKind.SOC_TARGET: Capability(CapabilityKind.SOC_TARGET, 80.0, "%", low=10.0, high=100.0),
    CapabilityKind.DUTY: Capability(CapabilityKind.DUTY, 1.0, "", low=0.0, high=1.0),
    CapabilityKind.NOTIFY: Capability(CapabilityKind.NOTIFY, "", text=True, readback=False),
}


def test_the_table_has_every_capability():
    assert set(CAPABILITIES) == set(CapabilityKind)


def called(home, devices, event, watts):
    """Return the devices that the plan gives orders when a call of so many watts comes, and what the orders are."""
    known = KnownEvent(event(values=((60, watts),)), "req", OptType.IN)
    return {order.device: order.value for order in plan(known, home, devices, "ven-1", NOON + timedelta(days=1)).orders}


RULES = {
    "both orders": {"shed": {"order": ["it"]}, "increase": {"order": ["it"]}},
    "shed": {"shed": {"order": ["it"]}},
    "increase": {"increase": {"order": ["it"]}},
    "another device": {"shed": {"order": ["other"]}, "increase": {"order": ["other"]}},
    "none": None,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("nominal_w", [2000.0, 250.0, None])
@pytest.mark.parametrize("kind", CapabilityKind)
def test_what_is_offered_is_what_a_call_would_do(variant, event, kind, nominal_w, rule):
    """Of every capability: a device is offered in a direction exactly if a call in it would give it an order."""
    entries = [{"id": name, "driver": "shelly1", "with": {"id": name}} for name in ("it", "other")]
    programmes = [{"match": {"signal": "LOAD_DISPATCH"}, **RULES[rule]}] if RULES[rule] else []
    home = variant(devices=entries, resources=[{"id": "home", "devices": ["it"]}], programmes=programmes)
    devices = {
        "it": Device("it", "plug", (), (CAPABILITIES[kind],), nominal_w),
        "other": Device("other", "plug", (), (), None),
    }
    offered = flexible(home, devices).get("home", ())
    for direction, watts in ((Direction.REDUCE, -100_000.0), (Direction.INCREASE, 100_000.0)):
        orders = called(home, devices, event, watts)
        # What an inverter would feed in nobody knows, and so nothing of it is promised.
        promised = "it" in orders and kind is not CapabilityKind.EXPORT_LIMIT
        assert promised == any(each.can(direction) for each in offered), (direction, orders)
        spread = now(offered, {"it": past(*[200.0] * 9)}, direction) if offered else Spread()
        if "it" not in orders:
            assert spread == Spread()
    for each in offered:
        if kind is CapabilityKind.IMPORT_LIMIT:
            assert called(home, devices, event, -100_000.0)["it"] == each.floor_w == 300.0


# -- the report


class Home:
    """A household whose reports a test asks for."""

    def __init__(self, **changes):
        base = {
            "version": 1, "name": "home", "identity": "i", "state": "s", "mqtt": {"host": "localhost"},
            "devices": [
                {"id": "meter", "driver": "senml_meter", "with": {"id": "m"}, "role": "grid_meter"},
                {"id": "heater", "driver": "shelly1", "with": {"id": "h"}, "nominal_w": 2000},
            ],
            "resources": [{"id": "home", "meter": "meter", "devices": ["heater"]}],
            "programmes": [{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater"]}}],
        }  # fmt: skip
        self.household = Household.model_validate(base | changes)
        self.store = Store(None)
        self.ring = Ring(self.store, 100_000)
        self.forecaster = Forecaster(self.ring, self.household, describe(self.household, None))
        metered = [Metered("home", "meter.energy")]
        self.desk = ReportHandler(self.store, Reporter(self.ring, metered, ReportPlan(), self.forecaster))
        for day in range(1, 8):
            register(self.ring, "heater.energy", NOON - timedelta(days=day), 23.5, 1000.0 + day)

    def offer(self, at=NOON):
        message = self.desk.offer(ME, at)
        check_offers(message.offers)
        read = decode(encode(message), strict=True)
        assert isinstance(read, RegisterReport)
        return next(one for one in read.offers if one.name == "x-FLEXIBILITY_POTENTIAL")

    def ask(self, at=NOON, back=30, r_ids=None, **more):
        ids = tuple(line.r_id for line in self.offer().descriptions) if r_ids is None else r_ids
        length = Duration.of(minutes=back)
        wish = ReportRequest("rr", "x-FLEXIBILITY_POTENTIAL", ids, length, length, at, Duration(), **more)
        self.desk.requested([wish], "q", ME, at)
        assert self.store.report_task("rr") is not None

    def refresh(self, at, absent=None):
        self.forecaster.refresh(at, dict.fromkeys(Direction, absent or {}), {})

    def send(self, at, *, arrives=True):
        """Deliver what is due and return it as the VTN reads it, or None."""
        due = self.desk.next_due(at)
        if due is None or due[0] > at:
            return None
        message, sampled = self.desk.deliver(due[1], ME, at)
        read = decode(encode(message), strict=True)
        assert isinstance(read, UpdateReport)
        if arrives:
            self.desk.updated(due[1], sampled, UpdatedReport(Response()))
        return read.reports[0]


def minutes(number):
    return NOON + timedelta(minutes=number)


def test_the_metadata_says_what_is_to_come():
    offer = Home().offer()
    assert offer.duration == Duration.of(days=1)
    lines = {line.r_id: line for line in offer.descriptions}
    assert list(lines) == ["home/reduce/p10", "home/reduce/p50", "home/reduce/p90", "home/nominal"]
    reduce = lines["home/reduce/p50"]
    assert reduce.report_type == "upRegulationCapacityAvailable"
    assert reduce.item_base.name == "powerReal"
    assert reduce.source.resource_ids == ("home",)
    assert reduce.sampling.on_change
    assert REPORT_TYPES[Direction.INCREASE] == "downRegulationCapacityAvailable"
    assert quantile_of(r_id("a/b", Direction.INCREASE, Quantile.P90)) is Quantile.P90
    assert quantile_of("whatever") is Quantile.P50


def test_a_household_without_devices_offers_no_potential():
    home = Home(programmes=[])
    assert all(one.name != "x-FLEXIBILITY_POTENTIAL" for one in home.desk.offer(ME, NOON).offers)


def test_nothing_is_told_before_it_is_known():
    home = Home()
    home.ask()
    assert home.desk.next_due(NOON) is None
    home.refresh(NOON)
    assert home.send(NOON) is not None


def test_the_report_covers_a_day_in_half_hours():
    home = Home()
    home.ask()
    home.refresh(NOON)
    report = home.send(NOON)
    assert len(report.intervals) == 48
    assert {one.duration for one in report.intervals} == {Duration.of(minutes=30)}
    assert report.start == NOON
    first = {one.r_id: one.value for one in report.intervals[0].payloads}
    assert first["home/nominal"] == 2000
    assert first["home/reduce/p50"] == pytest.approx(1004, abs=2)
    assert first["home/reduce/p10"] < first["home/reduce/p50"] < first["home/reduce/p90"]
    assert len(report.intervals[1].payloads) == 3


def test_only_what_was_asked_for_is_told():
    home = Home()
    home.ask(r_ids=("home/reduce/p50",))
    home.refresh(NOON)
    report = home.send(NOON)
    assert {one.r_id for interval in report.intervals for one in interval.payloads} == {"home/reduce/p50"}


def test_it_comes_periodically():
    home = Home()
    home.ask()
    home.refresh(NOON)
    assert home.send(NOON) is not None
    home.refresh(minutes(29))
    assert home.send(minutes(29)) is None
    home.refresh(minutes(30))
    report = home.send(minutes(30))
    assert report.start == minutes(30)
    assert home.send(minutes(31)) is None


def test_a_change_is_told_at_once_but_not_too_often():
    home = Home()
    home.ask()
    home.refresh(NOON)
    home.send(NOON)
    home.refresh(minutes(2), {"heater": minutes(90)})
    assert home.send(minutes(4)) is None
    report = home.send(minutes(5))
    values = [interval.payloads[1].value for interval in report.intervals]
    assert values[:3] == [0, 0, 0]
    assert values[3] > 900
    assert home.send(minutes(12)) is None
    home.refresh(minutes(13))
    assert home.send(minutes(13)).intervals[0].payloads[1].value > 900


def test_a_small_change_waits():
    home = Home(potential={"threshold_w": 5000})
    home.ask()
    home.refresh(NOON)
    home.send(NOON)
    home.refresh(minutes(2), {"heater": minutes(90)})
    assert home.send(minutes(20)) is None


def test_a_change_that_did_not_arrive_is_told_again():
    home = Home()
    home.ask()
    home.refresh(NOON)
    home.send(NOON)
    home.refresh(minutes(2), {"heater": minutes(90)})
    assert home.send(minutes(6), arrives=False) is not None
    assert home.send(minutes(7)) is not None
    assert home.send(minutes(8)) is None


def test_after_a_restart_the_vtn_hears_again():
    home = Home()
    home.ask()
    home.refresh(NOON)
    home.send(NOON)
    home.forecaster._sent.clear()
    assert home.send(minutes(3)) is None
    assert home.send(minutes(5)) is not None


def test_once_is_once():
    home = Home()
    home.ask(back=0)
    home.refresh(NOON)
    assert home.send(NOON) is not None
    assert home.store.report_task("rr") is None


def test_a_bounded_request_ends():
    home = Home()
    ids = tuple(line.r_id for line in home.offer().descriptions)
    length = Duration.of(minutes=30)
    wish = ReportRequest("rr", "x-FLEXIBILITY_POTENTIAL", ids, length, length, NOON, Duration.of(minutes=60))
    home.desk.requested([wish], "q", ME, NOON)
    for minute in (0, 30, 60):
        home.refresh(minutes(minute))
        assert home.send(minutes(minute)) is not None
    assert home.store.report_task("rr") is None


def test_a_plan_without_sense_is_refused(variant):
    for wrong in ({"step": "PT7M"}, {"horizon": "PT50M"}, {"horizon": "P8D"}, {"step": "PT30S"}, {"days": 0}):
        with pytest.raises((ValueError, InvalidError)):
            variant(potential=wrong)


# -- in the running gateway


async def test_a_device_that_stays_away_loses_its_potential(tmp_path, variant):
    home = variant(state=str(tmp_path), vtn={"url": "http://127.0.0.1:9/OpenADR2/Simple/2.0b"})
    gateway = Gateway(home, connections={"mqtt": NoConnection()}, clock=ManualClock(NOON))
    try:
        for day in range(1, 8):
            register(gateway._ring, "plug.energy", NOON - timedelta(days=day), 23.5, 400.0)
            register(gateway._ring, "meter.energy", NOON - timedelta(days=day), 23.5, 3000.0 if day % 2 else 500.0)
        task = gateway._reporter.begin(ReportRequest("rr", "x", ("home/reduce/p90",)), "x-FLEXIBILITY_POTENTIAL", NOON)

        def first(at):
            gateway._potential.look(at)
            return gateway._reporter.sample(task, at).report.intervals[0].payloads[0].value

        assert gateway._reporter.due_at(task, NOON) is None
        assert first(NOON) > 400
        assert gateway._reporter.due_at(task, NOON) == NOON
        assert first(minutes(1)) > 400
        assert first(minutes(2)) == 0
    finally:
        gateway.close()


def known_past(gateway):
    """Let both devices and the meter have a week behind them, and nothing be out of reach."""
    for day in range(1, 8):
        for device, power in (("plug", 400.0), ("heater", 1500.0)):
            register(gateway._ring, f"{device}.energy", NOON - timedelta(days=day), 23.5, power)
        register(gateway._ring, "meter.energy", NOON - timedelta(days=day), 23.5, 3000.0 if day % 2 else 500.0)


def told(gateway, at):
    """Return start -> p90 of what can be reduced, as a report would say it now."""
    request = ReportRequest("rr", "x", ("home/reduce/p90",))
    task = gateway._reporter.begin(request, "x-FLEXIBILITY_POTENTIAL", NOON)
    gateway._potential.look(at)
    intervals = gateway._reporter.sample(task, at).report.intervals
    return {one.start: one.payloads[0].value for one in intervals}


async def test_in_hours_without_events_nothing_is_offered(tmp_path, variant):
    """Neither in quiet hours nor where the household opted out of everything: a call then would be answered optOut."""
    quiet = [{"from": "18:00", "to": "20:15"}]
    home = variant(
        state=str(tmp_path),
        vtn={"url": "http://127.0.0.1:9/OpenADR2/Simple/2.0b"},
        quiet=quiet,
        site={"time_zone": "UTC"},
    )
    gateway = Gateway(home, connections={"mqtt": NoConnection()}, clock=ManualClock(NOON))
    try:
        known_past(gateway)
        away = Availability(minutes(600), Duration.of(hours=1))
        gateway.store.put_opt(Opt("a", OptType.OUT, "economic", NOON, availability=(away,)))
        elsewhere = replace(away, start=minutes(720))
        gateway.store.put_opt(
            Opt("b", OptType.OUT, "economic", NOON, availability=(elsewhere,), market_context="http://x")
        )
        gateway.store.put_opt(Opt("c", OptType.IN, "economic", NOON, availability=(replace(away, start=NOON),)))
        nothing = [start for start, value in told(gateway, NOON).items() if value == 0]
        assert nothing == [*(minutes(360 + 30 * n) for n in range(5)), minutes(600), minutes(630)]
    finally:
        gateway.close()


async def test_a_device_that_was_used_often_enough_offers_nothing_until_midnight(tmp_path, variant):
    devices = [each | {"limits": {"max_per_day": 1}} for each in HOUSEHOLD["devices"]]
    home = variant(
        state=str(tmp_path),
        vtn={"url": "http://127.0.0.1:9/OpenADR2/Simple/2.0b"},
        devices=devices,
        site={"time_zone": "UTC"},
    )
    gateway = Gateway(home, connections={"mqtt": NoConnection()}, clock=ManualClock(NOON))
    try:
        known_past(gateway)
        assert all(value > 0 for value in told(gateway, NOON).values())
        for device in ("heater", "plug"):
            assert gateway._executor._daily.allows("evt", device)
        values = told(gateway, NOON)
        assert [start for start, value in values.items() if value == 0] == [minutes(30 * n) for n in range(24)]
    finally:
        gateway.close()


# -- batteries, and steps of their own


BATTERY = Flexible("battery", 3000.0, 0.0, increases=True, storage=Storage(3000.0, 2000.0, 10_000.0))


def held(*shares, start_s=NOON_S):
    return {"battery": {start_s - day * DAY_S: 10_000.0 * share for day, share in enumerate(shares, 1)}}


def battery(stored, drawn=(), direction=Direction.REDUCE):
    (spread,) = potential([BATTERY], {"battery": past(*drawn)}, {}, [NOON_S], direction, 14, stored)
    return spread


def test_a_battery_gives_what_it_holds_for_an_hour():
    assert battery(held(*[0.5] * 14)).p50_w == 3000
    assert battery(held(*[0.1] * 14)).p50_w == 1000
    assert battery(held(*[0.0] * 14)).p50_w == 0


def test_a_battery_that_charges_gives_that_too_and_one_that_discharges_gives_less():
    assert battery(held(*[0.1] * 14), [1500] * 14).p50_w == 2500
    assert battery(held(*[0.5] * 14), [-2000] * 14).p50_w == 1000
    assert battery(held(*[0.5] * 14), [-2000] * 14, Direction.INCREASE).p50_w == 2000  # no more than it may


def test_a_battery_takes_what_it_has_room_for():
    assert battery(held(*[0.5] * 14), direction=Direction.INCREASE).p50_w == 2000
    assert battery(held(*[0.95] * 14), direction=Direction.INCREASE).p50_w == 500
    assert battery(held(*[1.0] * 14), direction=Direction.INCREASE).p50_w == 0


def test_what_it_holds_now_goes_before_what_it_held_then():
    stored = held(*[0.9] * 14)
    stored["battery"][NOON_S] = 0.0
    assert battery(stored).p50_w == 0


def test_a_battery_of_which_nobody_knows_what_it_holds_can_only_cease_to_charge():
    assert battery({}, [1500] * 14).p50_w == 1500
    assert battery({}, [1500] * 14, Direction.INCREASE).p50_w == 0
    unknown = Flexible("battery", 3000.0, 0.0, increases=True, storage=Storage(3000.0, 2000.0))
    (spread,) = potential([unknown], {}, {}, [NOON_S], Direction.REDUCE, 14, held(*[0.5] * 14))
    assert spread == Spread()


def test_the_meters_surplus_is_no_batterys():
    whole = filled([HEATER, BATTERY], {}, {NOON_S - index * 1800: 1000.0 + index for index in range(20)})
    assert whole["heater"]
    assert not whole["battery"]


def test_a_step_of_its_own_promises_no_more_than_it_brings(variant):
    step = {"device": "heater", "do": {"switch": "off"}, "changes_w": 700}
    home = variant(programmes=[{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": [step]}}])
    ((found,),) = flexible(home, describe(home, None)).values()
    assert found.most_w(Direction.REDUCE) == 700
    assert now([found], {"heater": past(*[1500] * 9)}).p50_w == 700
    assert now([found], {"heater": past(*[300] * 9)}).p50_w == 300


@pytest.mark.parametrize("told", ["now", "never"])
def test_a_home_with_a_battery_reports_what_it_holds(variant, told):
    """From the readings in the store to the potential, by the template of the household's own."""
    storage = Capability("storage_power", 0.0, "W", low=-3000.0, high=3000.0)
    charge = Point("battery.charge", Quantity.CHARGE, Kind.INSTANT)
    devices = {"battery": Device("battery", "battery", (charge,), (storage,), 3000.0)}
    home = variant(
        devices=[{"id": "battery", "driver": "plain_switch", "role": "battery", "nominal_w": 3000, "storage_wh": 5000}],
        resources=[{"id": "home", "devices": ["battery"]}],
        programmes=[
            {"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["battery"]}, "increase": {"order": ["battery"]}}
        ],
    )
    store = Store(None)
    ring = Ring(store, 1000)
    if told == "now":
        ring.add([Reading("battery.charge", NOON - timedelta(minutes=5), 40.0)])
    forecaster = Forecaster(ring, home, devices)
    forecaster.refresh(NOON, {}, {})
    spreads = forecaster._now.spreads
    assert spreads["home", Direction.REDUCE][NOON_S].p50_w == (2000 if told == "now" else 0)
    assert spreads["home", Direction.INCREASE][NOON_S].p50_w == (3000 if told == "now" else 0)
    later = NOON_S + 7200
    assert spreads["home", Direction.REDUCE][later].p50_w == 0  # what it will hold then, nobody knows yet
