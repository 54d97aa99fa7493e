"""From events to orders."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.device import Capability, Device
from core.clock import system_clock
from core.spans import Duration
from openadr.model.opt import OptType
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ItemBase, PowerAttributes, currency_per_kwh
from ven.devices import describe
from ven.planning import OPEN_LEASE, plan
from ven.vtn_state import KnownEvent

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ONE = NOON + timedelta(hours=1)
KW = ItemBase("powerReal", "RealPower", "W", scale="k", power=PowerAttributes())


@pytest.fixture
def planned(household, variant):
    """Return a planner: (minute after the start, minute of the end, device, value) of each order."""

    def make(event, *, changes=None, devices=None, horizon=ONE, **known):
        home = variant(**changes) if changes else household
        whole = devices or describe(home, system_clock())
        made = plan(KnownEvent(event, "r", known.pop("opt", OptType.IN), **known), home, whole, "ven-1", horizon)
        start = event.period.start
        return made, [
            ((one.at - start) / timedelta(minutes=1), (one.until - start) / timedelta(minutes=1), one.device, one.value)
            for one in made.orders
        ]

    return make


def simple(*values, minutes=10, classes=()):
    intervals = tuple(Interval(Duration.of(minutes=minutes), float(value)) for value in values)
    return Signal("SIMPLE", "level", "s", intervals, target=Target(device_classes=classes))


def test_delta_switches_devices_off_in_their_order_until_it_is_covered(planned, event):
    assert planned(event(values=((60, -1500.0),)))[1] == [(0, 60, "heater", "off")]
    assert planned(event(values=((60, -2200.0),)))[1] == [(0, 60, "heater", "off"), (0, 60, "plug", "off")]


def test_ev27_an_interval_without_length_does_not_stand_for_the_rest_of_the_event(planned, event):
    assert planned(event(values=((30, -1500.0), (0, -2200.0), (30, 0.0))))[1] == [(0, 30, "heater", "off")]


def test_what_cannot_be_covered_is_noted(planned, event):
    made, orders = planned(event(values=((60, -9000.0),)))
    assert len(orders) == 2
    assert "9000 W are asked, 2500 W can be shed" in made.notes[0]


def test_a_wish_for_more_moves_nothing(planned, event):
    made, orders = planned(event(values=((60, 1000.0),)))
    assert orders == []
    assert "use more" in made.notes[0]


def test_scaled_values_are_watts(planned, event):
    signal = Signal("LOAD_DISPATCH", "delta", "s", (Interval(Duration.of(minutes=60), -2.2),), KW)
    assert len(planned(event(signals=(signal,)))[1]) == 2


@pytest.mark.parametrize(
    ("name", "kind", "value", "count"),
    [
        ("LOAD_DISPATCH", "setpoint", 2500.0, 0),
        ("LOAD_DISPATCH", "setpoint", 600.0, 1),
        ("LOAD_DISPATCH", "setpoint", 0.0, 2),
        ("LOAD_DISPATCH", "multiplier", 0.5, 1),
        ("LOAD_CONTROL", "x-loadControlCapacity", 1.0, 0),
        ("LOAD_CONTROL", "x-loadControlCapacity", 0.5, 1),
        ("LOAD_CONTROL", "x-loadControlCapacity", 0.0, 2),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", -50.0, 1),
    ],
)
def test_other_load_signals(planned, event, name, kind, value, count):
    signal = Signal(name, kind, "s", (Interval(Duration.of(minutes=60), value),))
    programmes = [{"match": {"signal": name}, "shed": {"order": ["heater", "plug"]}}]
    assert len(planned(event(signals=(signal,)), changes={"programmes": programmes})[1]) == count


def test_levels_follow_the_table(planned, event):
    found = planned(event(values=((40, 0),), signals=(simple(0, 1, 3, 2),)))[1]
    assert found == [(10, 30, "plug", "off"), (20, 40, "heater", "off")]  # adjoining equal settings are one order


def test_prices_follow_the_highest_threshold_passed(planned, event):
    rules = [
        {"above": 0.2, "do": {"plug": {"switch": "off"}}},
        {"above": 0.5, "do": {"heater": {"switch": "off"}}},
    ]
    programmes = [{"match": {"signal": "ELECTRICITY_PRICE"}, "prices": rules, "hold": "PT10M"}]
    intervals = tuple(Interval(Duration.of(minutes=10), value) for value in (0.1, 0.3, 0.6))
    signal = Signal("ELECTRICITY_PRICE", "price", "s", intervals, currency_per_kwh("EUR"))
    found = planned(event(values=((30, 0),), signals=(signal,)), changes={"programmes": programmes})[1]
    assert found == [(10, 20, "plug", "off"), (20, 30, "heater", "off")]


def test_the_dearest_hour_stays_the_same_when_the_event_is_cut_short(planned, event):
    rules = [{"dearest": "PT1H", "do": {"plug": {"switch": "off"}}}]
    changes = {"programmes": [{"match": {"signal": "ELECTRICITY_PRICE"}, "prices": rules}]}
    intervals = tuple(Interval(Duration.of(minutes=60), value) for value in (0.2, 0.1, 0.3))
    signal = Signal("ELECTRICITY_PRICE", "price", "s", intervals, currency_per_kwh("EUR"))
    prices = event(values=((180, 0),), signals=(signal,))
    assert planned(prices, changes=changes)[1] == [(120, 180, "plug", "off")]
    assert planned(prices, changes=changes, stop_at=prices.period.start + timedelta(hours=2))[1] == []


def test_a_signal_without_programme_is_noted(planned, event):
    signal = Signal(
        "ELECTRICITY_PRICE", "price", "s", (Interval(Duration.of(minutes=60), 9.0),), currency_per_kwh("EUR")
    )
    made, orders = planned(event(signals=(signal,)))
    assert orders == []
    assert "no programme" in made.notes[0]


def test_the_earlier_programme_claims_its_devices(planned, event):
    both = (simple(1, minutes=60), *event(values=((60, -2000.0),)).signals)
    found = planned(event(signals=both))[1]
    assert found == [(0, 60, "heater", "off"), (0, 60, "plug", "off")]
    made, _ = planned(event(signals=both))
    assert {one.device: one.signal for one in made.orders} == {"heater": "LOAD_DISPATCH", "plug": "SIMPLE"}


def test_signal_classes_narrow_the_devices(planned, event):
    found = planned(event(values=((10, 0),), signals=(simple(3, classes=("Water_Heater",)),)))[1]
    assert found == [(0, 10, "heater", "off")]


def test_the_events_target_narrows_the_devices(planned, event):
    found = planned(event(values=((60, -9000.0),), target=Target(device_classes=("Smart_Appliance",))))[1]
    assert found == [(0, 60, "plug", "off")]


def test_a_programme_of_another_market_context_is_passed_over(planned, event):
    programmes = [
        {
            "match": {"signal": "SIMPLE", "market_context": "http://other/"},
            "levels": {1: {"heater": {"switch": "off"}}},
        },
        {"match": {"signal": "SIMPLE"}, "levels": {1: {"plug": {"switch": "off"}}}},
    ]
    found = planned(event(values=((10, 0),), signals=(simple(1),)), changes={"programmes": programmes})[1]
    assert found == [(0, 10, "plug", "off")]


def test_who_opted_out_has_no_orders(planned, event):
    assert planned(event(), opt=OptType.OUT)[1] == []
    assert planned(event(), code=460)[1] == []


def test_a_random_offset_moves_everything(planned, event):
    assert planned(event(), offset_s=300)[1] == [(5, 65, "heater", "off")]


def test_a_cancelled_event_ends_when_it_says(planned, event):
    assert planned(event(), stop_at=ONE + timedelta(minutes=20))[1] == [(0, 20, "heater", "off")]
    assert planned(event(), stop_at=NOON)[1] == []


def test_test_events_are_dry_runs_unless_told_otherwise(planned, event):
    made, _ = planned(event(test_event="true"))
    assert [one.dry_run for one in made.orders] == [True]  # EV-64
    made, _ = planned(event(test_event="true"), changes={"test_events": "actuate"})
    assert [one.dry_run for one in made.orders] == [False]
    made, _ = planned(event(test_event="false"))
    assert [one.dry_run for one in made.orders] == [False]


def test_an_open_ended_event_is_leased_day_by_day(planned, event):
    made, _ = planned(event(values=((0, -100.0),)), horizon=ONE + 2 * OPEN_LEASE)
    assert [one.at for one in made.orders] == [ONE, ONE + OPEN_LEASE, ONE + 2 * OPEN_LEASE]
    assert all(one.until == one.at + OPEN_LEASE for one in made.orders)
    assert len({one.id for one in made.orders}) == 3


def test_no_event_holds_a_device_longer_than_its_limit(planned, variant, event, household):
    devices = [one.model_dump(by_alias=True) for one in household.devices]
    devices[1]["limits"] = {"max_event": "PT30M"}
    assert planned(event(values=((60, -2000.0),)), changes={"devices": devices})[1] == [(0, 30, "heater", "off")]


def test_floors_and_bounds_hold(planned, event):
    limit = Capability("import_limit", 7000.0, "W", low=0.0, high=7000.0, floor=1500.0)
    devices = {"heater": Device("heater", "x", capabilities=(limit,), nominal_w=2000.0)}
    made, _ = planned(event(values=((60, -100.0),)), devices=devices)
    assert [one.value for one in made.orders] == [1900.0]
    made, _ = planned(event(values=((60, -9000.0),)), devices=devices)
    assert [one.value for one in made.orders] == [1500.0]  # a floor, not zero
    assert "9000 W are asked, 500 W can be shed" in made.notes[0]


@pytest.mark.parametrize(
    ("ramp", "starts"),
    [(Duration.of(minutes=10), {-10.0, -5.0}), (Duration(0, -600), {0.0, 5.0})],
)
def test_ramp_up_spreads_the_first_switching(planned, event, ramp, starts):
    found = planned(event(values=((60, -2500.0),), period={"ramp_up": ramp}))[1]
    assert {one[0] for one in found} == starts  # EV-65
    assert {one[1] for one in found} == {60.0}


@pytest.mark.parametrize(
    ("recovery", "ends"), [(Duration.of(minutes=10), {60.0, 65.0}), (Duration(0, -600), {55.0, 60.0})]
)
def test_recovery_spreads_the_last_switching(planned, event, recovery, ends):
    found = planned(event(values=((60, -2500.0),), period={"recovery": recovery}))[1]
    assert {one[1] for one in found} == ends


def test_a_ramp_longer_than_an_interval_spreads_over_several(planned, event):
    """EV-65: the plug's turn comes in the fourth interval, and the heater's end is in the eighth."""
    signal = simple(3, 2, 3, 3, 1, 3, 3, 3, 1, 3, minutes=5)
    period = {"ramp_up": Duration(0, -30 * 60), "recovery": Duration(0, -30 * 60)}
    found = planned(event(signals=(signal,), values=((50, 0),), period=period))[1]
    assert [one[:2] for one in found if one[2] == "heater"] == [(0, 20), (25, 35)]
    assert [one[:2] for one in found if one[2] == "plug"] == [(15, 50)]


def test_devices_take_their_turns_in_the_order_of_the_programme(planned, event):
    """Not in that in which the event lets them go: the plug, which is free first, is second all the same."""
    signal = simple(3, 2, 2)
    found = planned(event(signals=(signal,), values=((30, 0),), period={"ramp_up": Duration.of(minutes=10)}))[1]
    assert {one[2]: one[0] for one in found} == {"heater": -10, "plug": -5}


@pytest.mark.parametrize(
    ("ramp", "held"), [(Duration.of(minutes=20), (-20.0, 10.0)), (Duration(0, -1200), (0.0, 30.0))]
)
def test_the_longest_time_that_an_event_may_hold_a_device_includes_the_ramp_up(planned, household, event, ramp, held):
    devices = [one.model_dump(by_alias=True) for one in household.devices]
    devices[1]["limits"] = {"max_event": "PT30M"}
    found = planned(event(values=((60, -2000.0),), period={"ramp_up": ramp}), changes={"devices": devices})[1]
    assert found == [(*held, "heater", "off")]


_RAMPS = st.none() | st.integers(-120, 120).map(lambda minutes: Duration(0, 60 * minutes))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(-4000, 500)), min_size=1, max_size=8), _RAMPS, _RAMPS)
def test_orders_keep_to_ramp_up_and_recovery(planned, event, values, ramp_up, recovery):
    made, _ = planned(event(values=tuple(values), period={"ramp_up": ramp_up, "recovery": recovery}))
    length = timedelta(minutes=sum(minutes for minutes, _ in values))
    first = ONE - max(timedelta(), ramp_up.timedelta() if ramp_up else timedelta())
    last = ONE + length + max(timedelta(), recovery.timedelta() if recovery else timedelta())
    for device in ("heater", "plug"):
        mine = [one for one in made.orders if one.device == device]
        assert all(first <= one.at < one.until <= last for one in mine)
        assert all(one.until <= two.at for one, two in pairwise(mine))


def test_ids_are_the_same_after_a_restart_and_differ_by_modification(planned, event):
    first, _ = planned(event())
    again, _ = planned(event())
    assert [one.id for one in first.orders] == [one.id for one in again.orders]
    changed, _ = planned(replace(event(), modification_number=1))
    assert {one.id for one in first.orders}.isdisjoint(one.id for one in changed.orders)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 90), st.floats(-4000, 500)), min_size=1, max_size=12),
    st.integers(0, 3600),
    st.one_of(st.none(), st.integers(-60, 600)),
)
def test_orders_never_overlap_and_never_leave_the_event(planned, event, values, offset_s, stop_min):
    stop = ONE + timedelta(minutes=stop_min) if stop_min is not None else None
    made, _ = planned(event(values=tuple(values)), offset_s=offset_s, stop_at=stop)
    start = ONE + timedelta(seconds=offset_s)
    end = start + timedelta(minutes=sum(length for length, _ in values))
    end = end if stop is None else max(start, min(end, stop))
    assert len({one.id for one in made.orders}) == len(made.orders)
    for device in ("heater", "plug"):
        mine = [one for one in made.orders if one.device == device]
        assert all(start <= one.at < one.until <= end for one in mine)
        assert all(one.until <= two.at for one, two in pairwise(mine))


# -- duties by turns, and the household's own recovery


def duty(value, **limits):
    device = {"id": "heater", "driver": "shelly1", "with": {"id": "h"}, "nominal_w": 2000, "limits": limits}
    levels = {1: {"heater": {"duty": value}}}
    return {"devices": [device], "resources": [], "programmes": [{"match": {"signal": "SIMPLE"}, "levels": levels}]}


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (50, {}, [(0, 15), (30, 45)]),
        (75, {"cycle": "PT20M"}, [(0, 5), (20, 25), (40, 45)]),
        ("-20%", {"cycle": "PT1H"}, [(0, 12)]),
        (0, {}, [(0, 60)]),
        (-5, {}, [(0, 60)]),
        (100, {}, []),
        (50, {"cycle": "PT50M"}, [(0, 25), (50, 60)]),
    ],
)
def test_a_duty_of_a_switch_is_made_by_turns(planned, event, value, limits, expected):
    signal = simple(1, minutes=60)
    made, found = planned(event(values=((60, 0),), signals=(signal,)), changes=duty(value, **limits))
    assert found == [(start, end, "heater", "off") for start, end in expected]
    assert {order.capability for order in made.orders} <= {"switch"}
    assert len({order.id for order in made.orders}) == len(expected)


def test_turns_of_an_event_without_end_are_planned_as_time_goes_on(planned, event):
    signal = Signal("SIMPLE", "level", "s", (Interval(Duration(), 1.0),))
    made, _ = planned(event(values=((0, 0),), signals=(signal,)), changes=duty(50), horizon=ONE + timedelta(days=100))
    assert len(made.orders) < 110
    around = ONE + timedelta(days=99)
    assert any(order.at <= around < order.until for order in made.orders)
    assert not any(order.at <= around + timedelta(minutes=15) < order.until for order in made.orders)


def test_devices_go_back_one_after_the_other_where_the_event_leaves_it_open(planned, event):
    home = {"recovery": "PT10M"}
    assert {one[1] for one in planned(event(values=((60, -2500.0),)), changes=home)[1]} == {60.0, 65.0}
    own = event(values=((60, -2500.0),), period={"recovery": Duration.of(minutes=20)})
    assert {one[1] for one in planned(own, changes=home)[1]} == {60.0, 70.0}
    cancelled = planned(event(values=((60, -2500.0),)), changes=home, stop_at=ONE + timedelta(minutes=30))[1]
    assert {one[1] for one in cancelled} == {30.0}
