"""Homes whose heaters are behind bundled templates: a Tasmota plug, a Shelly gen2 plug, a Zigbee plug, a heat pump.

    python -m drills.templated_homes --run DIR --broker-port 1883 --username houses --password-file FILE --kinds a,b

They live as the demo's homes do (`evenload.demo.simulated_homes`), with the same log; each has the demo's SenML meter.
What they say is written by us from the makers' documents, which each template names, and shares nothing with the
gateway's side. `meter-HOME.jsonl` has what each meter published, and which of it the broker confirmed (QoS 1).
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import aiomqtt

from core.clock import load_clock
from core.errors import InvalidError
from core.spans import floor_to
from evenload.demo.data import data_dir, load_series
from evenload.demo.device_messages import (
    NoOrder,
    Order,
    Publication,
    RefreshOrder,
    Shelly,
    Snapshot,
    SwitchOrder,
    meter_topic,
)
from evenload.demo.home_log import LOG_NAME, Entry, HouseLog, read_log, switches
from evenload.demo.model import Home, Meter, Switch, make_home, make_houses
from evenload.demo.plan import DemoPlan
from evenload.demo.simulated_homes import CLOCK_NAME, Broker, RunningHouse, live

NORMAL_W, LOWER_W = 9000, 1200
"""A heat pump's power limit in normal times, and the lower one that its user may have set."""


@dataclass(frozen=True, slots=True)
class TimedOrder(SwitchOrder):
    """Switch the heater, and back by itself after so many seconds (Shelly gen2's toggle_after)."""

    toggle_after_s: float = 0.0


class Kind(Shelly):
    """A heater's device beside the SenML meter of the demo; subclasses say how it speaks."""

    driver = ""

    def __init__(self, home: Home, directory: Path) -> None:
        super().__init__(home)
        self.home = home
        self.directory = directory
        self.heater_w = 0.0
        self.begin()

    def begin(self) -> None:
        """Make what the device has of its own."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of its driver in the household file."""
        raise NotImplementedError

    @property
    def orders(self) -> tuple[str, ...]:
        """The topics on which it takes orders."""
        raise NotImplementedError

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return *self.orders, f"{meter_topic(self.home)}/get"

    def by_hand(self, *, on: bool) -> Publication:
        """Return what its user's own switch would say to it."""
        raise NotImplementedError

    def heater(self, now: Snapshot) -> list[Publication]:
        """Return what it measures in a minute."""
        raise NotImplementedError

    def minute(self, now: Snapshot) -> list[Publication]:
        self.heater_w = now.heater_w
        meter = [{"bn": self._base, "bt": now.at.timestamp(), **self._register(now.register_wh)}]
        power = {"n": "power", "u": "W", "v": round(now.meter_w, 1)}
        return [*self.heater(now), Publication(meter_topic(self.home), json.dumps([*meter, power]), qos=1)]

    def order(self, topic: str, payload: bytes) -> Order:
        if topic == f"{meter_topic(self.home)}/get":
            return super().order(topic, payload)
        return self.heater_order(topic, payload)

    def heater_order(self, topic: str, payload: bytes) -> Order:
        """Read an order to the device. Raises InvalidError."""
        raise NotImplementedError


def _refuse(payload: bytes) -> InvalidError:
    return InvalidError(f"The device does not know the order {payload!r:.60}.")


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _refuse(payload) from error
    if not isinstance(body, dict):
        raise _refuse(payload)
    return body


class Tasmota(Kind):
    """Tasmota 13: `cmnd/T/POWER`, `stat/T/POWER`, `tele/T/LWT`; it measures when asked (here each minute)."""

    driver = "tasmota"

    def begin(self) -> None:
        self.topic = f"tasmota_{self.home.index:06d}"

    @property
    def options(self) -> dict[str, Any]:
        return {"topic": self.topic}

    @property
    def orders(self) -> tuple[str, ...]:
        return f"cmnd/{self.topic}/POWER", f"cmnd/{self.topic}/Status"

    @property
    def will(self) -> Publication | None:
        return Publication(f"tele/{self.topic}/LWT", "Offline", retain=True, qos=1)

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        return [Publication(f"tele/{self.topic}/LWT", "Online", retain=True, qos=1), *self.state(at, on=on)]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:  # noqa: ARG002  it says no time
        word = "ON" if on else "OFF"
        result = Publication(f"stat/{self.topic}/RESULT", json.dumps({"POWER": word}))
        return [result, Publication(f"stat/{self.topic}/POWER", word)]

    def heater(self, now: Snapshot) -> list[Publication]:
        energy = {"Total": round(now.heater_wmin / 60_000, 3), "Power": round(now.heater_w), "Voltage": 231}
        body = {"StatusSNS": {"Time": now.at.strftime("%Y-%m-%dT%H:%M:%S"), "ENERGY": energy}}
        return [Publication(f"stat/{self.topic}/STATUS8", json.dumps(body))]

    def by_hand(self, *, on: bool) -> Publication:
        return Publication(f"cmnd/{self.topic}/POWER", "ON" if on else "OFF", qos=1)

    def heater_order(self, topic: str, payload: bytes) -> Order:
        if topic.endswith("/Status"):
            return NoOrder()  # it says so each minute
        word = payload.decode(errors="replace").upper()
        if word == "":
            return RefreshOrder(introduce=False)
        if word not in ("ON", "OFF", "TOGGLE"):
            raise _refuse(payload)
        return SwitchOrder(None if word == "TOGGLE" else word == "ON")


class Shelly2(Kind):
    """Shelly of the second generation: RPC over MQTT, generic status updates, and `toggle_after`."""

    driver = "shelly2_switch"

    def begin(self) -> None:
        self.id = f"shellyplus1pm-02e7e{self.home.index:07x}"
        self.source = "init"

    @property
    def options(self) -> dict[str, Any]:
        return {"id": self.id}

    @property
    def orders(self) -> tuple[str, ...]:
        return f"{self.id}/rpc", f"{self.id}/command"

    @property
    def will(self) -> Publication | None:
        return Publication(f"{self.id}/online", "false", retain=True, qos=1)

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        return [Publication(f"{self.id}/online", "true", retain=True, qos=1), *self.state(at, on=on)]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:  # noqa: ARG002  as above
        body = {"id": 0, "source": self.source, "output": on, "apower": self.heater_w if on else 0.0}
        return [Publication(f"{self.id}/status/switch:0", json.dumps(body | {"voltage": 231.2}))]

    def heater(self, now: Snapshot) -> list[Publication]:
        body = {"id": 0, "source": self.source, "output": now.heater_on, "apower": round(now.heater_w, 1)}
        body["aenergy"] = {"total": round(now.heater_wmin / 60, 3)}
        return [Publication(f"{self.id}/status/switch:0", json.dumps(body))]

    def by_hand(self, *, on: bool) -> Publication:
        call = {"id": 9, "src": "hand", "method": "Switch.Set", "params": {"id": 0, "on": on}}
        return Publication(f"{self.id}/rpc", json.dumps(call), qos=1)

    def heater_order(self, topic: str, payload: bytes) -> Order:
        if topic.endswith("/command"):
            if payload not in (b"status_update", b"announce"):
                raise _refuse(payload)
            return RefreshOrder(introduce=False)
        call = _object(payload)
        parameters = call.get("params")
        if call.get("method") != "Switch.Set" or not isinstance(parameters, dict) or parameters.get("id") != 0:
            raise _refuse(payload)
        on, after = parameters.get("on"), parameters.get("toggle_after", 0)
        if not isinstance(on, bool) or not isinstance(after, int | float):
            raise _refuse(payload)
        self.source = "MQTT"
        return TimedOrder(on, after)


class Zigbee(Kind):
    """A plug behind zigbee2mqtt 2: states as JSON, availability, and the bridge's own state."""

    driver = "zigbee2mqtt_plug"

    def begin(self) -> None:
        self.base = f"z2m-{self.home.id}"
        self.name = f"{self.base}/boiler-plug"

    @property
    def options(self) -> dict[str, Any]:
        return {"name": "boiler-plug", "base": self.base}

    @property
    def orders(self) -> tuple[str, ...]:
        return f"{self.name}/set", f"{self.name}/get"

    @property
    def will(self) -> Publication | None:
        return Publication(f"{self.base}/bridge/state", '{"state":"offline"}', retain=True, qos=1)

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        return [
            Publication(f"{self.base}/bridge/state", '{"state":"online"}', retain=True, qos=1),
            Publication(f"{self.name}/availability", '{"state":"online"}', retain=True, qos=1),
            *self.state(at, on=on),
        ]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:  # noqa: ARG002  as above
        return [Publication(self.name, json.dumps({"state": "ON" if on else "OFF", "linkquality": 120}))]

    def heater(self, now: Snapshot) -> list[Publication]:
        body = {"state": "ON" if now.heater_on else "OFF", "power": round(now.heater_w), "linkquality": 120}
        return [Publication(self.name, json.dumps(body | {"energy": round(now.heater_wmin / 60_000, 2)}))]

    def by_hand(self, *, on: bool) -> Publication:
        return Publication(f"{self.name}/set", json.dumps({"state": "ON" if on else "OFF"}), qos=1)

    def heater_order(self, topic: str, payload: bytes) -> Order:
        body = _object(payload)
        if topic.endswith("/get"):
            return RefreshOrder(introduce=False)
        if body.get("state") not in ("ON", "OFF", "TOGGLE"):
            raise _refuse(payload)
        return SwitchOrder(None if body["state"] == "TOGGLE" else body["state"] == "ON")


class HeatPump(Kind):
    """A heat pump behind EMS-ESP 3.7: its power limit is kept by the controller, also without power."""

    driver = "ems_esp_heat_pump"

    def begin(self) -> None:
        self.base = f"ems-esp-{self.home.id}"
        self.memory = self.directory / f"limit-{self.home.id}"

    @property
    def limit_w(self) -> int:
        """The limit that is set now."""
        try:
            return int(self.memory.read_text(encoding="ascii"))
        except FileNotFoundError:
            return NORMAL_W

    @limit_w.setter
    def limit_w(self, watts: int) -> None:
        fresh = self.memory.with_suffix(".new")
        fresh.write_text(str(watts), encoding="ascii")
        fresh.replace(self.memory)

    @property
    def options(self) -> dict[str, Any]:
        return {"base": self.base, "normal_w": NORMAL_W, "floor_w": 300, "min_interval_s": 30}

    @property
    def orders(self) -> tuple[str, ...]:
        return f"{self.base}/boiler/hppowerlimit", f"{self.base}/boiler/dhw/onetime", f"{self.base}/system/publish"

    @property
    def will(self) -> Publication | None:
        return Publication(f"{self.base}/status", "offline", retain=True, qos=1)

    def hello(self, at: datetime, *, on: bool) -> list[Publication]:
        return [Publication(f"{self.base}/status", "online", retain=True, qos=1), *self.state(at, on=on)]

    def state(self, at: datetime, *, on: bool) -> list[Publication]:  # noqa: ARG002  its limit is its state
        return [self._data(self.limit_w, self.heater_w)]

    def _data(self, limit_w: int, power_w: float) -> Publication:
        body = {"hppowerlimit": limit_w, "hpcurrpower": round(power_w), "dhw": {"curtemp": 47.5, "onetime": "off"}}
        return Publication(f"{self.base}/boiler_data", json.dumps(body))

    def heater(self, now: Snapshot) -> list[Publication]:
        return [self._data(self.limit_w, now.heater_w)]

    def by_hand(self, *, on: bool) -> Publication:
        return Publication(self.orders[0], str(NORMAL_W if on else LOWER_W), qos=1)

    def heater_order(self, topic: str, payload: bytes) -> Order:
        if topic.endswith("/publish"):
            return RefreshOrder(introduce=False)
        try:
            watts = int(float(payload)) if topic == self.orders[0] else -1
        except (ValueError, OverflowError):
            watts = -1
        if not 0 <= watts <= 31_999:
            raise _refuse(payload)
        self.limit_w = watts
        return SwitchOrder(watts >= self.home.heater_w)


KINDS: dict[str, Callable[[Home, Path], Kind]] = {
    "tasmota": Tasmota,
    "shelly2": Shelly2,
    "zigbee": Zigbee,
    "heat-pump": HeatPump,
}


def homes_of(seed: int, kinds: Sequence[str], directory: Path) -> list[Kind]:
    """Return the devices of homes, one of each kind."""
    return [KINDS[kind](make_home(seed, index), directory) for index, kind in zip(count(1), kinds, strict=False)]


def witness_of(home: Home, directory: Path) -> Path:
    """Return the file with what a home's meter published."""
    return directory / f"meter-{home.id}.jsonl"


class TemplatedHouse(RunningHouse):
    """A house that speaks as its kind does; its meter's readings are noted as they go, and when they have arrived."""

    def __init__(self, meter: Meter, clock: Any, log: HouseLog, kind: Kind) -> None:
        super().__init__(meter, clock, log)
        self._dialect = kind
        self._witness = witness_of(kind.home, kind.directory)
        self._timer: asyncio.Task[None] | None = None

    async def _measure(self, client: aiomqtt.Client) -> None:
        while not self._leaving:
            await self._clock.sleep_until(self._meter.at + timedelta(minutes=1))
            for now in self._live():
                for each in self._dialect.minute(now):
                    if each.qos:
                        self._note_reading("published", now)
                    await client.publish(each.topic, each.payload, each.qos, each.retain)
                    if each.qos:
                        self._note_reading("confirmed", now)

    def _note_reading(self, what: str, now: Snapshot) -> None:
        with self._witness.open("a", encoding="ascii") as file:
            file.write(json.dumps([what, now.at.isoformat(), now.register_wh]) + "\n")

    async def _follow(self, client: aiomqtt.Client, order: Order) -> None:
        await super()._follow(client, order)
        if isinstance(order, SwitchOrder) and self._timer is not None:
            self._timer.cancel()
        if isinstance(order, TimedOrder) and order.toggle_after_s > 0:
            after = timedelta(seconds=order.toggle_after_s)
            self._timer = asyncio.create_task(self._toggle(client, self._clock.now() + after))

    async def _toggle(self, client: aiomqtt.Client, when: datetime) -> None:
        """Switch back by itself, also where the broker is away."""
        await self._clock.sleep_until(when)
        on = not self._meter.on
        flip = self._meter.switch(Switch(self._clock.now(), on))
        self._log.write(Entry(flip.at, self.home.id, "heater", "switch", "on" if on else "off"))
        self._note("heater", "ignored", "timer")
        with contextlib.suppress(aiomqtt.MqttError):  # it is told at the next connection
            await self._tell_state(client)


async def _run(arguments: argparse.Namespace) -> None:
    directory = arguments.run
    clock = load_clock(directory / CLOCK_NAME)
    kinds = arguments.kinds.split(",")
    plan = DemoPlan(arguments.seed, len(kinds), clock.epoch)
    broker = Broker("127.0.0.1", arguments.broker_port, arguments.username, arguments.password_file.read_text().strip())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    past, now = read_log(directory / LOG_NAME), floor_to(clock.now(), 60)
    with HouseLog(directory / LOG_NAME) as log:
        houses: list[RunningHouse] = []
        made = make_houses(plan.seed, plan.homes, load_series(data_dir()))
        for house, kind in zip(made, homes_of(plan.seed, kinds, directory), strict=True):
            meter = Meter(house, plan.register_start, now, switches(past, house.home.id))
            meter.register_at(now)
            houses.append(TemplatedHouse(meter, clock, log, kind))
        await live(houses, broker, stop)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the houses until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m drills.templated_homes")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--broker-port", type=int, required=True)
    parser.add_argument("--username", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--homes", type=int)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--kinds", required=True)
    asyncio.run(_run(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
