"""What an oadrDistributeEvent holds (catalogue EV, VTN side)."""

from datetime import timedelta

import pytest

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import EventStatus, ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W, currency_per_kwh
from openadr.v20b.messages import DistributeEvent, RequestEvent
from support.vtn_world import HOUR, NOON, intervals, power, simple
from vtn.services import dispatch

TEN = Duration.of(minutes=10)
SPAN = "//ei:eiEventSignal/strm:intervals/ei:interval"


async def request(ven, limit=None):
    return await ven.say(RequestEvent(ven.ven_id, "q1", limit))


async def test_ev01_interval_uids_count_from_zero_in_each_signal(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(power(-1, -2, -3), simple(1, 2, 3)))
    await ven.poll()
    for signal in ven.xpath("//ei:eiEventSignal"):
        texts = signal.xpath(".//*[local-name()='uid']/*[local-name()='text']/text()")
        assert texts == ["0", "1", "2"]


async def test_ev03_every_interval_has_a_duration_and_none_a_start(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(power(-1, -2),))
    await ven.poll()
    assert len(ven.xpath(SPAN)) == 2
    assert len(ven.xpath(f"{SPAN}/xcal:duration")) == 2
    assert ven.xpath(f"{SPAN}/xcal:dtstart") == []


@pytest.mark.parametrize("whole", [Duration.of(minutes=90), Duration.of(hours=3), Duration(1, 0)])
async def test_ev04_interval_durations_must_sum_to_the_events(world, whole):
    ven = await world.ven()
    with pytest.raises(InvalidError, match="last"):
        await world.dispatch(ven, signals=(power(-1, -2),), duration=whole)
    assert await world.rows("dispatch") == []


async def test_ev05_each_interval_has_one_float_payload(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(power(-1.5, -2.25),))
    await ven.poll()
    assert ven.xpath(f"{SPAN}/ei:signalPayload/ei:payloadFloat/ei:value/text()") == ["-1.5", "-2.25"]


async def test_ev06_a_new_event_starts_at_modification_zero(world):
    ven = await world.ven()
    await world.dispatch(ven)
    assert [one.event.modification_number for one in await ven.events()] == [0]


async def test_ev08_ev33_status_is_computed_when_asked_and_changes_no_modification(world):
    ven = await world.ven()
    await world.dispatch(ven, rules={"ramp_up": Duration.of(minutes=10), "start_after": TEN})
    seen = []
    for minutes in (0, 50, 60, 119, 120):
        world.clock.advance(to=NOON + timedelta(minutes=minutes))
        (one,) = (await request(ven)).events
        seen.append((one.status, one.event.modification_number))
    expected = [EventStatus.FAR, EventStatus.NEAR, EventStatus.ACTIVE, EventStatus.ACTIVE, EventStatus.COMPLETED]
    assert seen == [(status, 0) for status in expected]


async def test_ev09_near_begins_with_the_ramp_up_and_without_one_is_skipped(world):
    ven = await world.ven()
    short = {"starts_in": timedelta(minutes=5), "signals": (power(-1, each=TEN),)}
    await world.dispatch(ven, **short, rules={"ramp_up": Duration.of(minutes=4)})
    await world.dispatch(ven, **short)
    for minutes, expected in ((0.9, "far far"), (1, "near far"), (4.9, "near far"), (5, "active active")):
        world.clock.advance(to=NOON + timedelta(minutes=minutes))
        events = (await request(ven)).events
        ramped = [one for one in events if one.event.period.ramp_up]
        plain = [one for one in events if not one.event.period.ramp_up]
        assert " ".join(one.status for one in ramped + plain) == expected, minutes


async def test_ev11_ev12_order_active_by_priority_then_start_then_pending_by_start(world):
    ven = await world.ven()
    long = {"signals": (power(-1, each=Duration.of(hours=5)),)}
    names = {
        await world.dispatch(ven, **long, starts_in=timedelta(minutes=5), priority=0): "active, priority 0, earlier",
        await world.dispatch(ven, **long, starts_in=timedelta(minutes=8), priority=2): "active, priority 2, later",
        await world.dispatch(ven, **long, starts_in=timedelta(minutes=6), priority=2): "active, priority 2, earlier",
        await world.dispatch(ven, **long, starts_in=timedelta(minutes=9), priority=1): "active, priority 1",
        await world.dispatch(ven, **long, starts_in=timedelta(hours=4), priority=1): "pending, later",
        await world.dispatch(ven, **long, starts_in=timedelta(hours=3), priority=9): "pending, earlier",
    }
    world.later(minutes=10)
    of_event = {row.id: names[row.dispatch_id] for row in await world.rows("event")}
    assert [of_event[one.event.event_id] for one in await ven.events()] == [
        "active, priority 1",
        "active, priority 2, earlier",
        "active, priority 2, later",
        "active, priority 0, earlier",
        "pending, earlier",
        "pending, later",
    ]


async def test_ev13_ev18_a_reply_limit_cuts_the_list_always_alike(world):
    ven = await world.ven()
    for _ in range(3):
        await world.dispatch(ven)
    whole = [one.event.event_id for one in (await request(ven)).events]
    assert len(whole) == 3
    for limit in (0, 1, 2, 3, 99):
        for _ in range(2):
            assert [one.event.event_id for one in (await request(ven, limit)).events] == whole[:limit]


async def test_ev14_a_cancelled_event_keeps_its_place(world):
    ven = await world.ven()
    ids = [await world.dispatch(ven, starts_in=timedelta(hours=hours)) for hours in (1, 2, 3)]
    before = [one.event.event_id for one in await ven.events()]
    async with world.tx() as tx:
        await dispatch.cancel(tx, ids[1], world.now, who="test")
    after = await ven.events()
    assert [one.event.event_id for one in after] == before
    assert [one.status for one in after] == [EventStatus.FAR, EventStatus.CANCELLED, EventStatus.FAR]


async def test_ev15_pl07_a_poll_and_a_request_list_the_same_whole_list(any_world):
    world = any_world
    ven = await world.ven()
    await world.dispatch(ven, starts_in=timedelta(minutes=1))
    await ven.drain()
    world.later(minutes=2)
    await world.dispatch(ven)
    polled = [one.event.event_id for one in await ven.events()]
    assert len(polled) == 2
    assert [one.event.event_id for one in (await request(ven)).events] == polled


async def test_ev17_with_startafter_a_complete_event_stays_listed_until_its_window_is_over(world):
    ven = await world.ven()
    await world.dispatch(ven, rules={"start_after": Duration.of(minutes=2)})
    world.later(hours=2, minutes=1, seconds=59)
    assert [one.status for one in (await request(ven)).events] == [EventStatus.COMPLETED]
    world.later(seconds=1)
    assert (await request(ven)).events == ()


async def test_ev17_without_startafter_a_complete_event_leaves_the_list(world):
    ven = await world.ven()
    await world.dispatch(ven)
    world.later(hours=2)
    assert (await request(ven)).events == ()


async def test_ev19_ev20_an_answer_has_an_ei_response_and_a_request_id(world):
    ven = await world.ven()
    answer = await request(ven)
    assert isinstance(answer, DistributeEvent)
    assert (answer.response.code, answer.response.request_id, answer.events) == (200, "q1", ())
    assert answer.request_id
    await world.dispatch(ven)
    await ven.events()
    assert ven.xpath("//oadr:oadrDistributeEvent/ei:eiResponse/ei:responseCode/text()") == ["200"]
    assert ven.xpath("string(//oadr:oadrDistributeEvent/pyld:requestID)") != ""


async def test_ev21_ev22_two_vens_of_a_dispatch_get_events_of_their_own(world):
    one, other = await world.ven(), await world.ven()
    await world.dispatch(one, other)
    (first,), (second,) = await one.events(), await other.events()
    assert first.event.event_id != second.event.event_id
    assert first.event.target.ven_ids == (one.ven_id,)
    assert second.event.target.ven_ids == (other.ven_id,)


async def test_ev22_an_orders_target_names_no_vens(world):
    one, other = await world.ven(), await world.ven()
    with pytest.raises(InvalidError, match="ven_ids"):
        await world.dispatch(one, target=Target(ven_ids=(other.ven_id,)))


async def test_ev23_the_notification_is_always_there(world):
    ven = await world.ven()
    await world.dispatch(ven)
    await ven.poll()
    assert ven.xpath("//ei:eiActivePeriod/xcal:properties/ei:x-eiNotification/xcal:duration/text()") == ["PT0S"]


@pytest.mark.parametrize("value", [4, -1, 1.5, float("nan"), float("inf")])
async def test_ev24_simple_takes_levels_only(world, value):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await world.dispatch(ven, signals=(simple(value),))


async def test_ev25_simple_is_a_level_without_unit(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(simple(2),))
    await ven.poll()
    assert ven.xpath("//ei:eiEventSignal/ei:signalType/text()") == ["level"]
    assert ven.xpath("//ei:eiEventSignal/*[contains(local-name(), 'temBase') or local-name()='powerReal']") == []
    with pytest.raises(InvalidError):
        await world.dispatch(ven, signals=(Signal("SIMPLE", "level", "s", intervals(1), POWER_REAL_W),))


async def test_ev26_ev27_current_value_is_that_of_the_running_interval(world):
    ven = await world.ven()
    signals = (simple(1, 3, each=TEN), power(-5, -7, each=TEN))
    await world.dispatch(ven, signals=signals, rules={"start_after": TEN})
    seen = []
    for minutes in (0, 60, 69, 70, 79, 80):
        world.clock.advance(to=NOON + timedelta(minutes=minutes))
        (one,) = (await request(ven)).events
        seen.append(tuple(signal.current_value for signal in one.event.signals))
    assert seen == [(0, 0), (1, -5), (1, -5), (3, -7), (3, -7), (0, 0)]


BAD_SIGNALS = {
    "unit of another quantity": Signal("LOAD_DISPATCH", "delta", "s", intervals(1), currency_per_kwh("EUR")),
    "no unit": Signal("LOAD_DISPATCH", "setpoint", "s", intervals(1)),
    "unknown name": Signal("LOAD_SHED", "level", "s", intervals(1)),
    "type of another signal": Signal("ELECTRICITY_PRICE", "setpoint", "s", intervals(1), currency_per_kwh("EUR")),
    "type that no VEN can be told": Signal("x-kettle", "x-boil", "s", intervals(1)),
    "level out of range": Signal("LOAD_DISPATCH", "level", "s", intervals(11), POWER_REAL_W),
    "resource in the signal's target": Signal(
        "LOAD_DISPATCH", "delta", "s", intervals(1), POWER_REAL_W, Target(resource_ids=("r",))
    ),
    "class off the list": Signal(
        "LOAD_DISPATCH", "delta", "s", intervals(1), POWER_REAL_W, Target(device_classes=("Toaster",))
    ),
}


@pytest.mark.parametrize("signal", BAD_SIGNALS.values(), ids=BAD_SIGNALS)
async def test_ev29_ev31_signals_off_the_table_are_refused(world, signal):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await world.dispatch(ven, signals=(signal,))
    assert await world.rows("event") == []


async def test_ev30_signal_ids_must_be_distinct(world):
    ven = await world.ven()
    with pytest.raises(InvalidError, match="distinct"):
        await world.dispatch(ven, signals=(power(-1, signal_id="s"), simple(1, signal_id="s")))


async def test_ev31_a_signals_target_holds_device_classes_or_is_left_out(world):
    ven = await world.ven()
    heaters = Target(device_classes=("Water_Heater", "x-kettle"))
    targeted = Signal("LOAD_DISPATCH", "delta", "s", intervals(-1), POWER_REAL_W, heaters)
    await world.dispatch(ven, signals=(targeted, simple(1)))
    (one,) = await ven.events()
    assert one.event.signals[0].target == heaters
    assert len(ven.xpath("//ei:eiEventSignal/ei:eiTarget")) == 1


async def test_ev32_created_date_time_is_one_and_renewed_with_any_change(world):
    ven = await world.ven()
    moved = await world.dispatch(ven, starts_in=timedelta(hours=2), rules={"ramp_up": TEN})
    await world.dispatch(ven, starts_in=timedelta(hours=9))

    async def created():
        found = {one.event.created_at for one in (await request(ven)).events}
        assert len(found) == 1
        return found.pop() - NOON

    assert await created() == timedelta()
    world.later(minutes=5)
    assert await created() == timedelta()
    async with world.tx() as tx:
        await dispatch.change(tx, moved, world.now, who="test", start=NOON + timedelta(hours=3))
    assert await created() == timedelta(minutes=5)
    world.clock.advance(to=NOON + timedelta(hours=2, minutes=55))
    assert await created() == timedelta(hours=2, minutes=50), "the status became near"
    world.clock.advance(to=NOON + timedelta(hours=3, minutes=30))
    assert await created() == timedelta(hours=3), "the status became active"


async def test_ev35_the_three_basic_signals_and_targets_go_out(any_world):
    world = any_world
    ven = await world.ven()
    signals = (
        simple(1),
        Signal("ELECTRICITY_PRICE", "price", "p", intervals(0.31), currency_per_kwh("EUR")),
        Signal("LOAD_DISPATCH", "setpoint", "l", intervals(500), POWER_REAL_W),
    )
    await world.dispatch(ven, signals=signals, target=Target(resource_ids=("heater",)))
    (one,) = await ven.events()
    assert [(it.name, it.type, it.intervals[0].value, it.item_base) for it in one.event.signals] == [
        (it.name, it.type, it.intervals[0].value, it.item_base) for it in signals
    ]
    assert one.event.target == Target(resource_ids=("heater",))


async def test_ev36_simple_may_go_beside_others(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(simple(1), power(-5)))
    (one,) = await ven.events()
    assert [signal.name for signal in one.event.signals] == ["SIMPLE", "LOAD_DISPATCH"]


async def test_ev38_an_event_that_was_opted_out_of_is_still_listed(world):
    ven = await world.ven()
    await world.dispatch(ven)
    (one,) = await ven.events()
    await ven.opt(one, OptType.OUT)
    assert len((await request(ven)).events) == 1


async def test_ev39_adjacent_events_at_the_seam_the_later_one_rules(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(power(-1),))
    await world.dispatch(ven, starts_in=timedelta(hours=2), signals=(power(-2),))
    world.later(hours=2)
    (one,) = (await request(ven)).events
    assert (one.status, one.event.signals[0].current_value) == (EventStatus.ACTIVE, -2)


async def test_ev66_an_open_ended_event_never_completes(world):
    ven = await world.ven()
    await world.dispatch(ven, signals=(power(-1, each=Duration()),), duration=Duration())
    world.later(days=400)
    (one,) = (await request(ven)).events
    assert (one.status, one.event.signals[0].current_value) == (EventStatus.ACTIVE, -1)


async def test_the_programme_and_the_order_shape_the_event(world):
    ven = await world.ven()
    rules = {
        "notification": Duration.of(minutes=30),
        "start_after": Duration.of(minutes=3),
        "ramp_up": Duration.of(minutes=4),
        "recovery": Duration.of(minutes=5),
        "response_required": ResponseRequired.NEVER,
        "priority": 3,
    }
    game = await world.programme(ven, context="http://grid/<&>", **rules)
    await world.dispatch(ven, under=game, test_event=True, comment="<drill> & rest")
    (one,) = await ven.events()
    period = one.event.period
    assert (period.notification, period.start_after, period.ramp_up, period.recovery) == tuple(rules.values())[:4]
    assert (one.event.priority, one.event.response_required) == (3, ResponseRequired.NEVER)
    assert (one.event.is_test, one.event.vtn_comment, one.event.market_context) == (
        True,
        "<drill> & rest",
        "http://grid/<&>",
    )
    assert period.duration == HOUR
