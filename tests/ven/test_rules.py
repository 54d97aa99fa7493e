"""The one reading of the household file: what is promised is done, and what is not done is opted out of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.device import Capability, Device
from bridges.yaml_file import FileError
from core.clock import system_clock
from core.direction import Direction
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import OptType
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W, ItemBase, currency_per_kwh
from openadr.v20b.encode import encode
from openadr.v20b.messages import DistributeEvent, Response
from ven.devices import describe
from ven.explain import explain
from ven.household_file import load_household
from ven.opt_policy import HouseholdOptPolicy
from ven.planning import plan
from ven.potential import flexible, potential
from ven.vtn_state import KnownEvent

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = Duration.of(hours=1)
CONTEXTS = ("http://a", "http://b", "http://elsewhere")
SIGN = {Direction.REDUCE: -1.0, Direction.INCREASE: 1.0}
HEAT_ON = {"match": {"signal": "SIMPLE"}, "levels": {1: {"heater": {"switch": "on"}}}}
SHED = {"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater"]}}
ADD = {"match": {"signal": "LOAD_DISPATCH"}, "increase": {"order": ["heater", "plug"]}, "shed": {"order": ["plug"]}}


def one_signal(name, kind, value, unit=None, **more):
    return Signal(name, kind, "s", (Interval(HOUR, value),), unit, **more)


def dispatch(*signals, context="http://elsewhere", target=None):
    return Event("evt", 0, context, NOON, ActivePeriod(NOON, HOUR), signals, target or Target())


def delta(watts, **more):
    return dispatch(one_signal("LOAD_DISPATCH", "delta", watts, POWER_REAL_W), **more)


def orders(home, devices, event):
    return plan(KnownEvent(event, "", OptType.IN), home, devices, "ven-1", NOON).orders


# -- increase


def test_a_home_reports_no_increase_that_it_would_not_carry_out(variant):
    home = variant(programmes=[HEAT_ON, SHED])
    devices = describe(home, system_clock())
    ((mine),) = flexible(home, devices).values()
    assert [(one.device, one.can(Direction.REDUCE), one.can(Direction.INCREASE)) for one in mine] == [
        ("heater", True, False)
    ]
    verdict = HouseholdOptPolicy(home, devices).judge(delta(2000.0), "ven-1")
    assert (verdict.opt, verdict.code) == (OptType.OUT, 200)
    assert "use more" in verdict.reason


def test_an_increase_switches_devices_on_in_their_order(variant):
    home = variant(programmes=[ADD])
    devices = describe(home, system_clock())
    assert [(one.device, one.value) for one in orders(home, devices, delta(1500.0))] == [("heater", "on")]
    assert [one.device for one in orders(home, devices, delta(2400.0))] == ["heater", "plug"]
    assert [(one.device, one.value) for one in orders(home, devices, delta(-300.0))] == [("plug", "off")]
    assert HouseholdOptPolicy(home, devices).judge(delta(2000.0), "ven-1").opt is OptType.IN
    more = dispatch(one_signal("LOAD_DISPATCH", "multiplier", 1.5))
    assert [one.device for one in orders(home, devices, more)] == ["heater"]


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("increase: {order: [meter]}", "cannot be controlled"),
        ("increase: {order: [nobody]}", "There is no device"),
        ("shed: {order: [{device: nobody, do: {switch: off}, changes_w: 5}]}", "There is no device"),
        ("shed: {order: [{device: plug, do: {switch: 5}, changes_w: 5}]}", "switch of 'plug' is on or off, not 5"),
        ("shed: {order: [{device: plug, do: {offset: -2K}, changes_w: 5}]}", "has no offset; it has switch"),
        ("shed: {order: [{device: plug, do: {switch: off}}]}", "do and changes_w go together"),
        ("shed: {order: []}", "should name a device at least"),
        ("shed: {order: [{device: plug, do: {duty: 160}, changes_w: 5}]}", "duty of 'plug' is 0 to 100 %, not 160"),
        ("shed: {order: [{device: plug, do: {duty: -120%}, changes_w: 5}]}", "duty of 'plug' is 0 to 100 %, not -120%"),
        ("shed: {order: [plug, plug]}", "'plug' stands there twice"),
        ("shed: {order: [{device: plug}, 5]}", "order.1: should be a section"),
        ("increase: {order: [plug]}, levels: {1: {plug: {switch: on}}}", "give exactly one"),
    ],
)
def test_an_order_names_what_can_be_used(tmp_path, rule, fault):
    path = tmp_path / "household.yaml"
    path.write_text(
        "version: 1\nname: home\nidentity: id\nstate: state\nmqtt: {host: localhost}\ndevices:\n"
        "  - {id: meter, driver: senml_meter, with: {id: m}, nominal_w: 1}\n"
        "  - {id: plug, driver: shelly1, with: {id: p}, nominal_w: 500}\n"
        f"programmes: [{{match: {{signal: LOAD_DISPATCH}}, {rule}}}]\n",
        encoding="utf-8",
    )
    with pytest.raises(FileError, match=fault):
        load_household(path)


# -- what is promised is done


def _programmes():
    order = st.lists(st.sampled_from(["heater", "plug", "boiler"]), min_size=1, max_size=3, unique=True)
    table = st.fixed_dictionaries({"heater": st.fixed_dictionaries({"switch": st.sampled_from(["on", "off"])})})
    match = st.fixed_dictionaries(
        {"signal": st.sampled_from(["LOAD_DISPATCH", "SIMPLE", "ELECTRICITY_PRICE"])},
        optional={"type": st.sampled_from(["delta", "level", "price"]), "market_context": st.sampled_from(CONTEXTS)},
    )
    in_order = st.fixed_dictionaries({"order": order})
    rule = st.one_of(
        st.fixed_dictionaries({"shed": in_order}),
        st.fixed_dictionaries({"increase": in_order}),
        st.fixed_dictionaries({"shed": in_order, "increase": in_order}),
        st.fixed_dictionaries({"levels": st.dictionaries(st.integers(0, 3), table, max_size=3)}),
        st.fixed_dictionaries(
            {"prices": st.lists(st.fixed_dictionaries({"above": st.floats(0, 1), "do": table}), max_size=2)}
        ),
    )
    return st.lists(st.builds(lambda match, rule: {"match": match, **rule}, match, rule), max_size=4)


def _devices():
    words = st.sampled_from([("on", "off"), ("off",), ("on",), ()])
    bound = st.one_of(st.none(), st.floats(0, 3000))
    switch = st.builds(lambda values: Capability("switch", "on", values=values), words.filter(bool))
    limit = st.builds(lambda low, floor: Capability("import_limit", 5000.0, "W", low=low, floor=floor), bound, bound)
    able = st.lists(st.one_of(switch, limit), max_size=2, unique_by=lambda one: one.name).map(tuple)
    watts = st.one_of(st.none(), st.floats(1, 3000))
    return st.fixed_dictionaries(
        {
            name: st.builds(lambda able, watts, name=name: Device(name, "x", (), able, watts), able, watts)
            for name in ("heater", "plug", "meter")
        }
    )


def _rules():
    rule = st.fixed_dictionaries(
        {"opt": st.sampled_from(["in", "out"])}, optional={"market_context": st.sampled_from(CONTEXTS)}
    )
    return st.lists(rule, max_size=2)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_programmes(), _devices(), _rules(), st.sampled_from(["any", ["http://a"], ["http://b", "http://a"]]))
def test_what_is_promised_is_done_and_what_is_not_done_is_opted_out_of(variant, programmes, devices, rules, contexts):
    home = variant(programmes=programmes, opt=rules, market_contexts=contexts)
    judge = HouseholdOptPolicy(home, devices)
    start_s = int(NOON.timestamp())
    for resource, mine in flexible(home, devices).items():
        drawn = {one.device: {start_s - 86_400 * n: (one.nominal_w or 100.0) / 2 for n in range(1, 15)} for one in mine}
        for direction in Direction:
            (spread,) = potential(mine, drawn, {}, [start_s], direction, 14)
            events = [delta(SIGN[direction], context=one, target=Target(resource_ids=(resource,))) for one in CONTEXTS]
            taken = [one for one in events if judge.judge(one, "ven-1").opt is OptType.IN]
            if spread.p90_w > 0:
                assert any(orders(home, devices, one) for one in taken)
    for watts in (-1.0, 1.0, -5000.0, 5000.0):
        for context in CONTEXTS:
            verdict = judge.judge(delta(watts, context=context), "ven-1")
            if not orders(home, devices, delta(watts, context=context)):
                assert verdict.opt is OptType.OUT
                assert verdict.reason


def test_the_example_household_does_what_it_promises():
    home = load_household(Path(__file__).resolve().parents[2] / "examples" / "household.yaml")
    devices = describe(home, system_clock())
    judge = HouseholdOptPolicy(home, devices)
    can = {way: any(one.can(way) for mine in flexible(home, devices).values() for one in mine) for way in Direction}
    assert can[Direction.REDUCE]
    for way in Direction:
        assert bool(orders(home, devices, delta(SIGN[way] * 500))) is can[way]
        assert (judge.judge(delta(SIGN[way] * 500), "ven-1").opt is OptType.IN) is can[way]


# -- the opt decision and its explanation


@pytest.mark.parametrize(
    ("event", "opt"),
    [
        (delta(-500.0), OptType.IN),
        (delta(500.0), OptType.OUT),
        (delta(0.0), OptType.IN),  # asks for nothing
        (dispatch(one_signal("SIMPLE", "level", 0.0)), OptType.IN),
        (dispatch(one_signal("SIMPLE", "level", 1.0)), OptType.IN),
        (dispatch(one_signal("SIMPLE", "level", 1.0, target=Target(device_classes=("Water_Heater",)))), OptType.OUT),
        (dispatch(one_signal("ELECTRICITY_PRICE", "price", 9.0, currency_per_kwh("EUR"))), OptType.IN),  # asks nothing
        (dispatch(one_signal("LOAD_DISPATCH", "setpoint", 9000.0, POWER_REAL_W)), OptType.IN),  # already so
        (delta(-500.0, target=Target(device_classes=("Smart_Appliance",))), OptType.IN),
    ],
)  # fmt: skip
def test_who_does_nothing_says_so(household, event, opt):
    devices = describe(household, system_clock())
    verdict = HouseholdOptPolicy(household, devices).judge(event, "ven-1")
    assert (verdict.opt, verdict.code) == (opt, 200)
    assert bool(verdict.reason) == (opt is OptType.OUT)
    body = encode(DistributeEvent("vtn", "r", (DeliveredEvent(event, EventStatus.FAR),), Response()))
    (found,) = explain(household, body, NOON, "ven-1")
    assert (found.opt, found.reason) == (opt, verdict.reason)


def test_a_setpoint_that_nothing_here_follows_is_opted_out_of(variant):
    home = variant(programmes=[])
    verdict = HouseholdOptPolicy(home).judge(
        dispatch(one_signal("LOAD_DISPATCH", "setpoint", 9e3, POWER_REAL_W)), "ven-1"
    )
    assert (verdict.opt, verdict.code) == (OptType.OUT, 200)  # EV-70: taken, though nothing follows it


# -- scales


@pytest.mark.parametrize(
    ("value", "scale", "count"),
    [(7.0, "c", 0), (8.0, "c", 1), (0.07, "none", 0), (0.3, "none", 1), (71.0, "m", 1), (0.0003, "k", 1)],
)
def test_a_prices_scale_counts(variant, value, scale, count):
    rule = {"above": 0.07, "do": {"plug": {"switch": "off"}}}
    home = variant(programmes=[{"match": {"signal": "ELECTRICITY_PRICE"}, "prices": [rule]}])
    unit = replace(currency_per_kwh("EUR"), scale=scale)
    event = dispatch(one_signal("ELECTRICITY_PRICE", "price", value, unit))
    assert len(orders(home, describe(home, system_clock()), event)) == count
    body = encode(DistributeEvent("vtn", "r", (DeliveredEvent(event, EventStatus.FAR),), Response()))
    (found,) = explain(home, body, NOON, "ven-1")
    assert len(found.orders) == count


@pytest.mark.parametrize(("value", "scale"), [(-2200.0, "none"), (-2.2, "k"), (-0.0022, "M")])
def test_a_powers_scale_counts(household, value, scale):
    event = dispatch(one_signal("LOAD_DISPATCH", "delta", value, replace(POWER_REAL_W, scale=scale)))
    assert len(orders(household, describe(household, system_clock()), event)) == 2


def test_a_scale_that_nobody_knows_is_refused(household):
    unit = ItemBase("powerReal", "RealPower", "W", scale="dozen", power=POWER_REAL_W.power)
    verdict = HouseholdOptPolicy(household).judge(dispatch(one_signal("LOAD_DISPATCH", "delta", -1.0, unit)), "ven-1")
    assert (verdict.opt, verdict.code) == (OptType.OUT, 460)


# -- the ends of the calendar


@pytest.mark.parametrize("ramp", [Duration(12 * 9999), Duration(0, 10**17), Duration(0, -(10**17)), Duration(1)])
@pytest.mark.parametrize("start", [datetime(1, 1, 1, tzinfo=UTC), NOON, datetime(9998, 12, 31, 23, 59, tzinfo=UTC)])
def test_a_plan_stays_within_the_calendar(household, ramp, start):
    for lasts in (Duration(), HOUR, Duration(12 * 9999)):
        signal = Signal("LOAD_DISPATCH", "delta", "s", (Interval(lasts, -1000.0),), POWER_REAL_W)
        event = Event("evt", 0, "c", NOON, ActivePeriod(start, lasts, ramp_up=ramp, recovery=ramp), (signal,))
        made = plan(KnownEvent(event, "", OptType.IN, 600), household, describe(household, system_clock()), "v", NOON)
        assert all(order.at < order.until for order in made.orders)


def test_an_open_event_of_old_is_still_carried_out(household):
    signal = Signal("LOAD_DISPATCH", "delta", "s", (Interval(Duration(), -1000.0),), POWER_REAL_W)
    event = Event("evt", 0, "c", NOON, ActivePeriod(datetime(1, 1, 1, tzinfo=UTC), Duration()), (signal,))
    horizon = NOON + timedelta(hours=24)
    made = plan(KnownEvent(event, "", OptType.IN), household, describe(household, system_clock()), "v", horizon)
    assert [order.device for order in made.orders if order.at <= NOON < order.until] == ["heater"]
    assert len(made.orders) < 20


def test_a_ramp_up_in_months_counts_back_from_the_start(variant):
    home = variant(programmes=[{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater", "plug"]}}])
    signal = one_signal("LOAD_DISPATCH", "delta", -2500.0, POWER_REAL_W)
    event = Event("evt", 0, "c", NOON, ActivePeriod(NOON, HOUR, ramp_up=Duration(1)), (signal,))
    begins: dict[str, datetime] = {}
    for order in orders(home, describe(home, system_clock()), event):
        begins.setdefault(order.device, order.at)
    assert begins == {
        "heater": datetime(2026, 2, 2, 12, tzinfo=UTC),  # GN-05
        "plug": NOON - timedelta(days=14),
    }


# -- follow

FOLLOWER = """\
title: An inverter and a battery
presence: {topic: pv/alive, online: yes, offline: no}
capabilities:
  export_limit:
    {unit: "%", low: 0, high: 100, normal: 100, state: {topic: pv/limit}, set: {topic: pv/limit/set}}
  mode: {values: [auto, hold], normal: auto, state: {topic: pv/mode}, set: {topic: pv/mode/set}}
"""
FOLLOWS = """\
version: 1
name: home
identity: identity
state: state
mqtt: {host: localhost}
devices:
  - {id: pv, driver: inverter, role: pv_inverter}
programmes:
  - match: {signal: LOAD_CONTROL}
    follow: {pv: {export_limit: value * 100}}
"""


def following(tmp_path, text=FOLLOWS):
    (tmp_path / "templates").mkdir(exist_ok=True)
    (tmp_path / "templates" / "inverter.yaml").write_text(FOLLOWER)
    (tmp_path / "household.yaml").write_text(text)
    home = load_household(tmp_path / "household.yaml")
    return home, describe(home, system_clock())


@pytest.mark.parametrize(("value", "limit"), [(0.6, 60.0), (1.0, 100.0), (0.0, 0.0), (7.0, 100.0)])
def test_a_device_follows_a_signal_by_a_formula(tmp_path, value, limit):
    home, devices = following(tmp_path)
    event = dispatch(one_signal("LOAD_CONTROL", "x-loadControlCapacity", value))
    assert [(order.device, order.capability, order.value) for order in orders(home, devices, event)] == [
        ("pv", "export_limit", pytest.approx(limit))
    ]


def test_a_formula_without_a_result_orders_nothing(tmp_path):
    home, devices = following(tmp_path, FOLLOWS.replace("value * 100", "10 / value"))
    assert orders(home, devices, dispatch(one_signal("LOAD_CONTROL", "x-loadControlCapacity", 0.0))) == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("value * 100", "value ^ 2", "is no formula"),
        ("export_limit: value", "setpoint: value", "has no setpoint"),
        ("export_limit: value", "mode: value", "auto or hold, no number"),
        ("follow: {pv:", "follow: {roof:", "There is no device 'roof'"),
        ("follow:", "levels: {1: {}}\n    follow:", "exactly one of"),
    ],
)
def test_a_formula_that_fits_nothing_is_named_with_its_place(tmp_path, old, new, words):
    with pytest.raises(FileError, match=words) as raised:
        following(tmp_path, FOLLOWS.replace(old, new))
    assert raised.value.faults[0].line >= 9
