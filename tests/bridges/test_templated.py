"""Devices that are data: what a template's driver hears, says and refuses, and one on a real broker from lease to end.

The plug of the last test is the worked example of docs/how-to/add-a-device.md, read from there.
"""

import asyncio
import contextlib
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.backoff import Backoff
from bridges.connections import Connection, Handler, Message, NoConnection
from bridges.connections.mqtt import MqttConnection
from bridges.connections.mqtt_options import MqttOptions
from bridges.device import CapabilityKind, Command, Contact, DeviceSpec, Outcome, State, Value
from bridges.drivers import load
from bridges.journal import Journal
from bridges.lease_state import Phase
from bridges.leases import LeaseManager, Pace
from bridges.template import Template
from bridges.templated import TemplatedDevice, create
from core.clock import ManualClock, system_clock
from core.errors import InvalidError, UnavailableError
from core.points import Reading
from support.broker import mosquitto
from support.waiting import until

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "add-a-device.md"

CHARGER = """\
title: A wallbox that says everything in one message
points:
  power: {topic: box/all, path: now.kw, unit: kW}
  current_l2: {topic: box/all, path: phases.1.ma, unit: A, scale: 0.001}
  warmth: {topic: box/all, path: t, quantity: temperature, kind: instant, scale: 0.5, offset: -10}
  energy: {topic: box/all, path: total, unit: kWh}
presence: {topic: box/all, path: alive, online: true, offline: false}
starts: [{topic: box/boot}]
capabilities:
  current_limit:
    unit: A
    low: 6
    high: 32
    normal: 32
    state: {topic: box/all, path: limit, scale: 0.1}
    set: {topic: box/set, payload: '{"limit": {value}, "for": "{value}"}', scale: 0.1, qos: 0, retain: true}
  mode:
    values: [eco, fast]
    normal: eco
    state: {topic: box/all, path: lazy, words: {true: eco, false: fast}}
    set: {topic: box/mode, words: {eco: 1, fast: 0}}
"""


class Wire(NoConnection):
    """A connection to nothing that keeps what is sent."""

    connected = True  # type: ignore[assignment]

    def __init__(self) -> None:
        self.sent: list[tuple[str, object, int, bool]] = []
        self.handlers: dict[str, tuple[Handler, int]] = {}
        self.link: Callable[[bool], None] = lambda _: None
        self.down = False

    def observe(self, observer: Callable[[bool], None]) -> None:
        self.link = observer

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        if self.down:
            raise UnavailableError("the broker is away")
        self.sent.append((topic, payload, qos, retain))

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        assert topic_filter not in self.handlers
        self.handlers[topic_filter] = (handler, qos)


def template(folder: Path, text: str) -> Template:
    path = folder / "thing.yaml"
    path.write_text(text, encoding="utf-8")
    return Template(path)


class House:
    """A device of a template on a wire, and what it told us."""

    def __init__(self, folder: Path, text: str, options: dict[str, object] | None = None) -> None:
        self.wire, self.clock = Wire(), ManualClock(NOW)
        spec = DeviceSpec("box", "thing", "load", None, options or {})
        device = create(template(folder, text), spec, self.wire, self.clock)
        assert isinstance(device, TemplatedDevice)
        self.device = device
        self.readings: list[Reading] = []
        self.states: list[tuple[str, Value]] = []
        self.contacts: list[Contact] = []
        self.device.observe(self.contacts.append)

    async def start(self) -> "House":
        await self.device.start(self.readings.append, lambda kind, value, _: self.states.append((kind, value)))
        return self

    def hear(self, topic: str, payload: object, *, retained: bool = False) -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.wire.handlers[topic][0](Message(topic, raw, retained))


BATCHES = """\
title: A meter whose gateway speaks for several, in batches
parameters:
  id: {title: Id, description: Of the meter., example: M1}
points:
  energy:
    topic: site/batch
    each: /
    where: {hardwareId: "{id}", kind: measured}
    path: /values/energy.active.total
    time: at
    unit: kWh
  heat: {topic: site/batch, each: /, where: {hardwareId: "{id}"}, path: /values/heating.volume, time: at, unit: m3,
    quantity: volume, kind: register}
"""
RELAY = """\
title: A relay that goes back by itself
presence: {topic: relay/alive, online: [Alive, Awake], offline: Dead}
ask: [{topic: relay/tell, payload: all, every_s: 30}]
capabilities:
  switch:
    values: [on, off]
    normal: on
    state: {topic: relay/state}
    set: {topic: relay/set, payload: '{"to":"{value}"}', lease: '{"to":"{value}","back_after":{lease_s}}'}
"""


async def test_a_batch_is_read_element_by_element_with_the_times_in_it(tmp_path: Path) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    records = [
        {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 2.5}, "at": "2026-03-02T16:59:30Z"},
        {"hardwareId": "M8", "kind": "measured", "values": {"energy.active.total": 9}, "at": "2026-03-02T16:59:30Z"},
        {"hardwareId": "M7", "kind": "guessed", "values": {"energy.active.total": 9}, "at": "2026-03-02T16:59:30Z"},
        {"hardwareId": "M7", "values": {"heating.volume": 0.5}, "at": 1772470740000},
        {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 2.4}, "at": "2026-03-02T16:58:30"},
        {
            "hardwareId": "M7",
            "kind": "measured",
            "values": {"energy.active.total": 2.6},
            "at": "2026-03-02T19:59:40+03:00",
        },
        "no record",
    ]
    house.hear("site/batch", records)
    assert [(one.point, one.start, one.value) for one in house.readings] == [
        ("box.energy", NOW - timedelta(seconds=90), 2400.0),
        ("box.heat", NOW - timedelta(seconds=60), 500.0),
        ("box.energy", NOW - timedelta(seconds=30), 2500.0),
        ("box.energy", NOW - timedelta(seconds=20), 2600.0),
    ]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", -6e10, 2.5e11])
async def test_a_time_at_the_end_of_the_calendar_spoils_no_other_value_now_or_later(tmp_path: Path, at: object) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    good = {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 1}, "at": "2026-03-02T16:59:30Z"}
    house.hear("site/batch", [good | {"at": at}, good])
    assert house.readings[-1].start == NOW - timedelta(seconds=30)
    house.clock.advance(HOUR)
    house.hear("site/batch", [good | {"at": at}])
    house.readings.clear()
    house.hear("site/batch", [good])
    assert [one.start for one in house.readings] == [NOW - timedelta(seconds=30)]


async def test_a_clock_that_is_put_right_leaves_old_readings_their_age(tmp_path: Path) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    one = {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 1}}
    house.hear("site/batch", [one | {"at": "2090-01-01T00:00:00Z"}])
    assert [each.start for each in house.readings] == [NOW]
    house.hear("site/batch", [one | {"at": "2026-03-02T16:30:00Z"}])
    assert [each.start for each in house.readings][1:] == [NOW - 30 * MINUTE]


@pytest.mark.parametrize("payload", [b"1_000", "\u0661\u0662".encode(), "\uff11".encode(), b"0x10", b"nan", b"1 2"])
async def test_a_word_that_other_programs_take_for_no_number_is_none(tmp_path: Path, payload: bytes) -> None:
    house = await House(tmp_path, "title: T\npoints:\n  power: {topic: box/w, unit: W}\n").start()
    with pytest.raises(InvalidError, match="not a number"):
        house.hear("box/w", payload)
    assert house.readings == []


@pytest.mark.parametrize("at", [None, True, "soon", 1e300, "9999-99-99", [1]])
async def test_a_value_whose_time_is_none_is_refused_and_its_neighbours_count(tmp_path: Path, at: object) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    good = {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 1}, "at": "2026-03-02T16:59:30Z"}
    with pytest.raises(InvalidError):
        house.hear("site/batch", [good | {"at": at}, good])
    assert [one.value for one in house.readings] == [1000.0]


@pytest.mark.parametrize("content", [{"a": 1}, "text", 7, [{}] * 5001])
async def test_a_batch_that_is_none_is_refused(tmp_path: Path, content: object) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    with pytest.raises(InvalidError, match=r"no array|too many"):
        house.hear("site/batch", content)
    assert house.readings == []


async def test_a_stored_batch_counts_with_its_own_times(tmp_path: Path) -> None:
    house = await House(tmp_path, BATCHES, {"id": "M7"}).start()
    kept = {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 1}, "at": "2026-03-01T00:00:00Z"}
    house.hear("site/batch", [kept], retained=True)
    assert [one.start for one in house.readings] == [datetime(2026, 3, 1, tzinfo=UTC)]


async def test_a_batch_may_say_outside_of_its_elements_whose_it_is(tmp_path: Path) -> None:
    text = BATCHES.partition("  heat:")[0].replace("each: /\n", "each: /parts\n    message: {owner: '{id}'}\n")
    house = await House(tmp_path, text, {"id": "M7"}).start()
    part = {"hardwareId": "M7", "kind": "measured", "values": {"energy.active.total": 1}, "at": "2026-03-02T16:59:30Z"}
    house.hear("site/batch", {"owner": "M8", "parts": [part]})
    assert house.readings == []
    house.hear("site/batch", {"owner": "M7", "parts": [part]})
    assert [one.value for one in house.readings] == [1000.0]


async def relay(tmp_path: Path, state: str) -> House:
    house = await House(tmp_path, RELAY).start()
    house.hear("relay/state", state.encode())
    house.wire.sent.clear()
    return house


def orders(house: House) -> list[object]:
    sent = [payload for topic, payload, _, _ in house.wire.sent if topic == "relay/set"]
    house.wire.sent.clear()
    return sent


async def test_an_order_that_ends_lets_the_device_go_back_by_itself(tmp_path: Path) -> None:
    house = await relay(tmp_path, "on")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 10 * MINUTE)
    assert orders(house) == ['{"to":"off","back_after":660}']  # a minute after us
    house.hear("relay/state", b"off")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 30 * MINUTE)
    assert orders(house) == ['{"to":"off","back_after":1860}']  # asserted again, for longer
    await house.device.apply(CapabilityKind.SWITCH, "on", None)
    assert orders(house) == ['{"to":"on"}']
    assert house.device.describe().capabilities[0].hardware_lease


async def test_a_device_that_is_so_already_is_not_told_to_become_different_later(tmp_path: Path) -> None:
    house = await relay(tmp_path, "off")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 10 * MINUTE)
    assert orders(house) == ['{"to":"off"}']


@pytest.mark.parametrize(("flips_after_s", "again"), [(660, True), (675, True), (400, False), (None, False)])
async def test_a_timer_that_runs_on_takes_nothing_back(tmp_path: Path, flips_after_s: int | None, again: bool) -> None:
    house = await relay(tmp_path, "on")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 10 * MINUTE)
    house.hear("relay/state", b"off")
    house.clock.advance(to=NOW + 2 * MINUTE)
    await house.device.apply(CapabilityKind.SWITCH, "on", None)  # given back early
    house.hear("relay/state", b"on")
    orders(house)
    await asyncio.sleep(0)
    if flips_after_s is not None:
        house.clock.advance(to=NOW + timedelta(seconds=flips_after_s))
        house.hear("relay/state", b"off")
    house.clock.advance(to=NOW + timedelta(seconds=720))
    for _ in range(5):
        await asyncio.sleep(0)
    assert orders(house) == (['{"to":"on"}'] if again else [])


async def leased(tmp_path: Path) -> House:
    """Return a relay that was on, is off for ten minutes, and has said so."""
    house = await relay(tmp_path, "on")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 10 * MINUTE)
    house.hear("relay/state", b"off")
    house.clock.advance(2 * MINUTE)
    orders(house)
    return house


async def flipped(house: House) -> list[object]:
    """Let the relay's timer run out, and return what it is told then."""
    await asyncio.sleep(0)
    house.clock.advance(timedelta(seconds=540))
    house.hear("relay/state", b"off")
    house.clock.advance(timedelta(seconds=30))
    await asyncio.sleep(0.05)
    return orders(house)


BACK = '{"to":"on"}'


async def test_a_give_back_that_fails_at_first_is_held_against_the_timer(tmp_path: Path) -> None:
    house = await leased(tmp_path)
    house.wire.down = True
    with pytest.raises(UnavailableError):
        await house.device.apply(CapabilityKind.SWITCH, "on", None)
    house.wire.down = False
    await house.device.apply(CapabilityKind.SWITCH, "on", None)
    house.hear("relay/state", b"on")
    assert orders(house) == [BACK]
    assert await flipped(house) == [BACK]


async def test_what_a_person_takes_back_is_held_against_the_timer(tmp_path: Path) -> None:
    house = await leased(tmp_path)
    house.hear("relay/state", b"on")
    assert await flipped(house) == [BACK]


async def test_what_a_person_did_long_before_is_not_the_timer(tmp_path: Path) -> None:
    house = await leased(tmp_path)
    await house.device.apply(CapabilityKind.SWITCH, "on", None)
    house.hear("relay/state", b"on")
    house.hear("relay/state", b"off")  # by hand, and said again whenever it is asked
    orders(house)
    assert await flipped(house) == []


async def test_a_new_order_at_that_moment_is_not_the_timer(tmp_path: Path) -> None:
    house = await leased(tmp_path)
    await house.device.apply(CapabilityKind.SWITCH, "on", None)
    house.clock.advance(timedelta(seconds=535))
    house.device._states.clear()  # so that it takes no timer of its own
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + HOUR)
    house.hear("relay/state", b"on")
    house.hear("relay/state", b"off")
    orders(house)
    house.clock.advance(timedelta(seconds=30))
    await asyncio.sleep(0.05)
    assert orders(house) == []


async def test_a_clock_that_is_set_does_not_hide_a_timer_that_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.clock._LONGEST_NAP_S", 0.02)
    house = await leased(tmp_path)
    await house.device.apply(CapabilityKind.SWITCH, "on", None)
    house.hear("relay/state", b"on")
    orders(house)
    await asyncio.sleep(0)
    house.clock.set(NOW - 24 * HOUR)
    await asyncio.sleep(0.1)
    assert await flipped(house) == [BACK]


async def test_an_order_for_days_is_not_ended_by_a_timer_of_one(tmp_path: Path) -> None:
    house = await relay(tmp_path, "on")
    await house.device.apply(CapabilityKind.SWITCH, "off", NOW + 72 * HOUR)
    assert orders(house) == ['{"to":"off","back_after":259260}']


async def test_an_order_that_leaves_a_device_as_it_was_before_us_has_no_timer(tmp_path: Path) -> None:
    house = await leased(tmp_path)
    await house.device.apply(CapabilityKind.SWITCH, "on", NOW + 30 * MINUTE)  # another event's
    assert orders(house) == [BACK]


@pytest.mark.parametrize("given_back", [True, False])
async def test_a_timer_outlasts_a_restart_and_so_does_who_watches_it(tmp_path: Path, given_back: bool) -> None:
    house = await relay(tmp_path, "on")
    clock, driver = house.clock, house.device
    journal = Journal(tmp_path / "leases.db")
    first = LeaseManager({"box": driver}, journal, clock, lambda _: None)
    await first.recover()
    driver._on_state = first.listener("box")
    async with running(first.run()):
        await first.command(Command("c1", "box", CapabilityKind.SWITCH, "off", NOW + 10 * MINUTE, "event-1"))
        await until(lambda: house.wire.sent, "the order")
        house.hear("relay/state", b"off")
        await until(lambda: first.held()[0].phase is Phase.HELD, "the answer")
        if given_back:
            house.wire.sent.clear()
            await first.release("c1")
            await until(lambda: house.wire.sent, "the give-back")
            house.hear("relay/state", b"on")
            await until(lambda: not first.held(), "the end")
    clock.advance(2 * MINUTE)
    again = House(tmp_path, RELAY)
    again.clock, again.device.clock = clock, clock
    second = LeaseManager({"box": again.device}, journal, clock, lambda _: None)
    await second.recover()
    await again.device.start(again.readings.append, second.listener("box"))
    again.device._quiet = None
    again.hear("relay/state", b"on" if given_back else b"off")
    async with running(second.run()):
        if not given_back:
            await until(lambda: len(again.wire.sent) > 1, "the order once more")
            assert orders(again) == ['{"to":"off","back_after":540}']  # also from now on it goes back by itself
            again.hear("relay/state", b"off")
            await second.release("c1")
            await until(lambda: BACK in [payload for _, payload, _, _ in again.wire.sent], "the give-back")
            again.hear("relay/state", b"on")
            await until(lambda: not second.held(), "the end")
        again.wire.sent.clear()
        assert await flipped(again) == [BACK]
    journal.close()


async def test_several_words_mean_that_a_device_is_there(tmp_path: Path) -> None:
    house = await House(tmp_path, RELAY).start()
    house.hear("relay/alive", b"Dead")
    assert not house.device.online
    house.hear("relay/alive", b"Awake")
    assert house.device.online
    assert house.contacts == [Contact.LOST, Contact.RESTARTED]


BEHIND = CHARGER.replace("{topic: box/boot}", "{topic: hub/state, equals: up, offline: [down, gone]}")


async def test_a_device_behind_a_gateway_that_is_away_is_away(tmp_path: Path) -> None:
    house = await House(tmp_path, BEHIND).start()
    house.hear("box/all", {"alive": True})
    house.contacts.clear()
    for word in (b"down", b"gone"):
        house.hear("hub/state", word)
    assert not house.device.online
    house.hear("box/all", {"alive": True})  # as it was left
    assert not house.device.online
    house.hear("hub/state", b"starting")
    assert not house.device.online
    house.hear("hub/state", b"up")
    assert house.device.online
    assert (house.contacts[0], house.contacts[-1]) == (Contact.LOST, Contact.RESTARTED)


async def test_a_gateway_that_came_back_while_our_link_was_down_has_restarted(tmp_path: Path) -> None:
    house = await House(tmp_path, BEHIND).start()
    house.hear("hub/state", b"down", retained=True)
    assert not house.device.online
    house.hear("hub/state", b"up", retained=True)
    assert house.device.online
    house.hear("hub/state", b"up", retained=True)  # told once more
    assert house.contacts == [Contact.LOST, Contact.RESTARTED]


async def test_a_device_that_falls_silent_is_reminded(tmp_path: Path) -> None:
    house = await House(tmp_path, RELAY.replace("every_s: 30", "every_s: 5")).start()
    house.wire.sent.clear()
    await until(lambda: house.wire.sent, "the reminder")
    assert house.wire.sent[0][:2] == ("relay/tell", "all")
    await house.device.stop()


async def test_one_message_may_say_everything(tmp_path: Path) -> None:
    house = await House(tmp_path, CHARGER).start()
    everything = {
        "now": {"kw": 7.4},
        "phases": [{}, {"ma": "16000"}],
        "t": 80,
        "total": 12.5,
        "alive": True,
        "limit": 160,
        "lazy": False,
    }
    house.hear("box/all", everything)
    assert house.readings == [
        Reading("box.power", NOW, 7400.0),
        Reading("box.current_l2", NOW, 16.0),
        Reading("box.warmth", NOW, 30.0),
        Reading("box.energy", NOW, 12_500.0),
    ]
    assert house.states == [("current_limit", 16.0), ("mode", "fast")]
    house.hear("box/all", {"total": 13})  # says nothing of the rest
    assert [reading.value for reading in house.readings[4:]] == [13_000.0]
    assert len(house.states) == 2


PUMP = """\
title: A heat pump that takes working out
points:
  power: {topic: pump/data, template: "{{ value_json.kw | float * 1000 }}"}
presence: {topic: pump/link, template: "{{ 'up' if value_json.rssi > -90 else 'down' }}", online: up, offline: down}
starts: [{topic: pump/log, template: "{{ value.split(' ')[0] }}", equals: boot}]
capabilities:
  switch:
    values: [on, off]
    normal: on
    state: {topic: pump/data, template: "{{ value_json.mode != 'standby' }}", words: {true: on, false: off}}
    set: {topic: pump/set}
"""


async def test_values_that_are_worked_out(tmp_path: Path) -> None:
    house = await House(tmp_path, PUMP).start()
    house.hear("pump/data", {"kw": "1.5", "mode": "heat"})
    house.hear("pump/data", {"kw": 0, "mode": "standby"})
    assert [reading.value for reading in house.readings] == [1500.0, 0.0]
    assert house.states == [("switch", "on"), ("switch", "off")]
    house.hear("pump/log", b"boot 17")
    assert house.contacts == [Contact.RESTARTED]
    house.hear("pump/data", {"mode": "heat"})  # says nothing of its power, which is no fault
    house.hear("pump/link", {"snr": 3})
    assert len(house.readings) == 2
    assert house.device.online
    house.hear("pump/link", {"rssi": -95})
    assert not house.device.online
    with pytest.raises(InvalidError, match="not a number"):
        house.hear("pump/data", {"kw": "much", "mode": "heat"})


async def test_orders_in_the_words_and_numbers_of_the_device(tmp_path: Path) -> None:
    house = await House(tmp_path, CHARGER).start()
    await house.device.apply(CapabilityKind.CURRENT_LIMIT, 16, None)
    await house.device.apply(CapabilityKind.CURRENT_LIMIT, 6.05, None)
    await house.device.apply(CapabilityKind.MODE, "fast", None)
    assert house.wire.sent == [
        ("box/set", '{"limit": 160, "for": "160"}', 0, True),
        ("box/set", '{"limit": 60.5, "for": "60.5"}', 0, True),
        ("box/mode", "0", 1, False),
    ]
    wrong: list[tuple[Any, Any]] = [("mode", "slow"), ("mode", 1.0), ("current_limit", "eco"), ("switch", "on")]
    for capability, value in [*wrong, ("current_limit", True), ("current_limit", math.nan)]:
        with pytest.raises(InvalidError):
            await house.device.apply(capability, value, None)
    assert len(house.wire.sent) == 3


async def test_what_the_device_can_do_is_described(tmp_path: Path) -> None:
    limit, mode = House(tmp_path, CHARGER).device.describe().capabilities
    assert (limit.name, limit.unit, limit.low, limit.high, limit.normal) == (
        CapabilityKind.CURRENT_LIMIT,
        "A",
        6,
        32,
        32,
    )
    assert (mode.values, mode.normal, mode.readable) == (("eco", "fast"), "eco", False)


async def test_a_part_that_is_wrong_spoils_no_other(tmp_path: Path) -> None:
    house = await House(tmp_path, CHARGER).start()
    with pytest.raises(InvalidError, match="is not the state of a mode"):
        house.hear("box/all", {"now": {"kw": "much"}, "total": 1, "lazy": "perhaps"})
    with pytest.raises(InvalidError, match="'much' is not a number"):
        house.hear("box/all", {"now": {"kw": "much"}, "total": 2})
    assert [reading.value for reading in house.readings] == [1000.0, 2000.0]
    assert house.states == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"total": NaN}',
        b'{"total": 1e999}',
        b'{"total": 1' + b"0" * 400 + b"}",
        b'{"total": 1' + b"0" * 5000 + b"}",
        b'{"total": true}',
        b'{"total": {}}',
        b'{"total": "nan"}',
        b'{"total": 1e308}',
        b"[" * 100_000,
        b'{"alive": {}}',
        b'{"limit": "full"}',
        b'{"limit": [1]}',
    ],
    ids=lambda payload: str(payload[:20]),
)
async def test_nonsense_is_refused_and_changes_nothing(tmp_path: Path, payload: bytes) -> None:
    house = await House(tmp_path, CHARGER).start()
    with pytest.raises(InvalidError):
        house.hear("box/all", payload)
    assert (house.readings, house.states, house.contacts) == ([], [], [])
    assert house.device.online


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"text"', b"{}", b'{"phases": {"1": 2}}', b'{"phases": [1]}'])
async def test_json_that_says_nothing_of_it_is_passed_over(tmp_path: Path, payload: bytes) -> None:
    house = await House(tmp_path, CHARGER).start()
    house.hear("box/all", payload)
    assert (house.readings, house.states) == ([], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["now", "kw", "phases", "ma", "t", "total", "alive", "limit", "lazy"]), inner)
    ),
    max_leaves=12,
)


PAYLOADS = JSON.map(lambda tree: json.dumps(tree).encode()) | st.binary(max_size=80)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.tuples(PAYLOADS, st.booleans())))
def test_whatever_a_device_says_only_the_message_fails(tmp_path: Path, messages: list[tuple[bytes, bool]]) -> None:
    async def hear() -> House:
        house = await House(tmp_path, CHARGER).start()
        for payload, retained in messages:
            with contextlib.suppress(InvalidError):
                house.hear("box/all", payload, retained=retained)
        return house

    with structlog.testing.capture_logs():
        house = asyncio.run(hear())
    assert all(math.isfinite(reading.value) for reading in house.readings)
    assert all(value in ("eco", "fast") for kind, value in house.states if kind == "mode")
    assert all(math.isfinite(value) for kind, value in house.states if kind == "current_limit")


async def test_a_number_is_a_word_as_the_device_writes_it(tmp_path: Path) -> None:
    text = CHARGER.replace("words: {true: eco, false: fast}", "words: {12345678: eco, 0.5: fast}")
    house = await House(tmp_path, text).start()
    for number in (12345678, 0.5):
        house.hear("box/all", {"lazy": number})
    assert house.states == [("mode", "eco"), ("mode", "fast")]


async def test_a_start_that_anybody_may_announce(tmp_path: Path) -> None:
    house = await House(tmp_path, CHARGER).start()
    house.hear("box/boot", b"", retained=True)
    assert house.contacts == []
    house.hear("box/boot", b"whatever")
    house.hear("box/boot", b"again")
    assert house.contacts == [Contact.RESTARTED]


async def test_a_device_that_was_silent_for_too_long_has_started_anew(tmp_path: Path) -> None:
    """A plug that says nothing of its start: what it says when power comes back is nobody's hand."""
    text = CHARGER.replace("starts: [{topic: box/boot}]", "silence_s: 120")
    text = text.replace("presence: {topic: box/all, path: alive, online: true, offline: false}\n", "")
    house = House(tmp_path, text)
    said: list[tuple[Value, datetime | None]] = []
    await house.device.start(house.readings.append, lambda _, value, at: said.append((value, at)))
    for wait, value, by_itself in ((1, True, False), (2, False, False), (3, True, True)):
        house.clock.advance(wait * MINUTE)
        house.hear("box/all", {"lazy": value})
        assert (said[-1][1] is None) is by_itself
    assert house.contacts == [Contact.RESTARTED]
    house.clock.advance(3 * MINUTE)
    house.wire.link(True)
    house.hear("box/all", {"lazy": False})
    assert house.contacts == [Contact.RESTARTED, Contact.LINK], "it was our link that was silent"


async def test_what_is_stale_is_not_kept_for_us_and_what_must_arrive_is(tmp_path: Path) -> None:
    house = await House(tmp_path, CHARGER).start()
    assert {topic: qos for topic, (_, qos) in house.wire.handlers.items()} == {"box/all": 1, "box/boot": 0}
    wire = Wire()
    plug = load("shelly1").create(DeviceSpec("a", "shelly1", "plug", None, {"id": "s"}), wire, ManualClock(NOW))
    await plug.start(lambda _: None, lambda *_: None)
    assert {topic.removeprefix("shellies/"): qos for topic, (_, qos) in wire.handlers.items()} == {
        "s/online": 1,
        "announce": 0,
        "s/relay/0": 0,
        "s/relay/0/power": 0,
        "s/relay/0/energy": 0,
    }


async def test_a_word_that_people_should_know_of_is_logged() -> None:
    wire = Wire()
    plug = load("shelly1").create(DeviceSpec("a", "shelly1", "plug", None, {"id": "s"}), wire, ManualClock(NOW))
    await plug.start(lambda _: None, lambda *_: None)
    with structlog.testing.capture_logs() as logs:
        wire.handlers["shellies/s/relay/0"][0](Message("shellies/s/relay/0", b"overpower"))
    assert [log["event"] for log in logs] == ["a Shelly switched itself off for too high a load"]
    assert plug.state(CapabilityKind.SWITCH) == "off"


def test_an_option_that_does_not_fit_names_the_device(tmp_path: Path) -> None:
    text = "title: T\nparameters: {id: {title: I, description: I., example: a}}\npoints: {power: {topic: '{id}'}}\n"
    with pytest.raises(InvalidError, match=r"Device box \(thing\): id: is missing"):
        House(tmp_path, text, {"ident": 1})
    with pytest.raises(InvalidError, match=r"Device box \(thing\): points\.power\.topic: should have the form"):
        House(tmp_path, text, {"id": "a/+"})


# -- the worked example of the docs


def example() -> str:
    """Return the template that docs/how-to/add-a-device.md explains."""
    after = DOCS.read_text(encoding="utf-8").split("## Adding a device with a YAML file")[1]
    block = re.search(r"```yaml\n(.*?)```", after, re.DOTALL)
    assert block is not None
    return block[1]


class Plug:
    """The plug of the example, on the other side of a broker; it speaks no English."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.relay = connection, "geschlossen"
        self.orders: list[str] = []

    async def start(self) -> None:
        await self.connection.subscribe("grobi/GR-00417/do", self.obey)

    async def obey(self, message: Message) -> None:
        order = json.loads(message.payload)
        if "relay" in order:
            self.orders.append(order["relay"])
            self.relay = {"zu": "geschlossen", "auf": "offen"}[order["relay"]]
        load = {"mw": 1_500_000 if self.relay == "geschlossen" else 0, "kwh": 2.5}
        await self.connection.publish("grobi/GR-00417/now", json.dumps({"relay": self.relay, "load": load}), 0)


@contextlib.asynccontextmanager
async def running(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_device_that_is_only_a_file_is_leased_read_back_and_restored(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "grobi_plug.yaml").write_text(example(), encoding="utf-8")
    clock, outcomes, readings = system_clock(), list[Outcome](), list[Reading]()

    def states() -> list[State]:
        return [outcome.state for outcome in outcomes]

    with mosquitto(tmp_path) as broker:
        reached = [MqttOptions(host=broker.host, port=broker.port, client_id=name) for name in ("gateway", "plug")]
        ours, theirs = (MqttConnection(options, Backoff(0.05, 0.2)) for options in reached)
        plug = Plug(theirs)
        await plug.start()
        spec = DeviceSpec("heater", "grobi_plug", "plug", 1500.0, {"serial": "GR-00417"})
        driver = load("grobi_plug", tmp_path / "templates").create(spec, ours, clock)
        journal = Journal(tmp_path / "leases.db")
        keeper = LeaseManager({"heater": driver}, journal, clock, outcomes.append, Pace(ack_s=0.5, settle_s=0.1))
        await keeper.recover()
        await driver.start(readings.append, keeper.listener("heater"))
        async with running(ours.run(), theirs.run()):
            await until(lambda: theirs.connected and ours.connected, "both at the broker")
            await theirs.publish("grobi/GR-00417/alive", "ja", retain=True)
            await ours.publish("grobi/GR-00417/do", '{"tell": "all"}')
            await until(lambda: driver.state(CapabilityKind.SWITCH) == "on", "the plug's own word")
            async with running(keeper.run()):
                end = clock.now() + 60 * MINUTE
                await keeper.command(Command("c1", "heater", CapabilityKind.SWITCH, "off", end, "event-1"))
                await until(lambda: State.CONFIRMED in states(), "the plug's answer")
                assert plug.relay == "offen"
                await keeper.release("c1")
                await until(lambda: State.RESTORED in states(), "the restoring")
            assert plug.relay == "geschlossen"
            await theirs.publish("grobi/GR-00417/alive", "nein")
            await until(lambda: not driver.online, "its last word")
        journal.close()
    assert plug.orders == ["auf", "zu"]
    assert states() == [State.JOURNALLED, State.SENT, State.CONFIRMED, State.RESTORED]
    assert {(reading.point, reading.value) for reading in readings} == {
        ("heater.power", 1500.0),
        ("heater.power", 0.0),
        ("heater.energy", 2500.0),
    }
