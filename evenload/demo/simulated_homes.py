"""The houses: one process that speaks only MQTT and keeps its own log.

    python -m evenload.demo.simulated_homes --run DIR --broker-port 1883 --username houses --password-file FILE

The run's directory gives the world's time (`clock.json`) and takes the log (`houses.jsonl`). Every home has its own
connection. A restarted process reads its log and goes on as if nothing had happened.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiomqtt

from core.clock import Clock, load_clock
from core.errors import EvenloadError, InvalidError
from core.spans import ceil_to, floor_to
from evenload.demo.data import data_dir, load_series
from evenload.demo.device_messages import (
    MAX_PAYLOAD,
    HistoryOrder,
    NoOrder,
    Order,
    Publication,
    RefreshOrder,
    Snapshot,
    SwitchOrder,
    dialect_of,
)
from evenload.demo.home_log import LOG_NAME, Entry, HouseLog, What, read_log, switches
from evenload.demo.model import HALF_HOUR, MINUTE, Meter, Minute, Switch, make_houses
from evenload.demo.plan import DemoPlan

CLOCK_NAME: Final = "clock.json"
"""The clock's file name in the run's directory (`core.clock`)."""

IGNORE_COMMANDS: Final = "ignore-commands"
"""The fault with which houses neither switch nor answer."""

_MOST_MINUTES = 5
_FIRST_RETRY_S, _LAST_RETRY_S = 0.2, 5.0
_FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker, and as whom the houses log in."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None


class RunningHouse:
    """One home, alive: its meter and heater, its language, its connection to the broker."""

    def __init__(
        self, meter: Meter, clock: Clock, log: HouseLog, *, ignore_commands: bool = False, remembers: bool = True
    ) -> None:
        self.home = meter.house.home
        self._meter = meter
        self._clock = clock
        self._log = log
        self._ignore_commands = ignore_commands
        self._remembers = remembers
        self._dialect = dialect_of(self.home)
        self._heater_wmin = 0.0
        self._out_of_touch = False
        self._leaving = False

    def leave(self) -> None:
        """Be about to go: to be called before `run` is cancelled.

        A cancellation alone can get lost: in Python 3.11 `asyncio.wait_for` swallows one that comes together with the
        broker's answer.
        """
        self._leaving = True

    async def run(self, broker: Broker) -> None:
        """Live until `leave` and cancelled; while the broker is away the meter goes on counting."""
        retry_s = _FIRST_RETRY_S
        while not self._leaving:
            try:
                async with self._connected(broker) as client, asyncio.TaskGroup() as tasks:
                    retry_s = _FIRST_RETRY_S
                    tasks.create_task(self._measure(client))
                    tasks.create_task(self._obey(client))
            except* aiomqtt.MqttError as lost:
                if not self._out_of_touch:
                    self._note("house", "error", f"no broker: {lost.exceptions[0]}")
                self._out_of_touch = True
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, _LAST_RETRY_S)

    @contextlib.asynccontextmanager
    async def _connected(self, broker: Broker) -> AsyncIterator[aiomqtt.Client]:
        """Connect, listen and say hello; say goodbye when cancelled."""
        will = self._dialect.will
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=f"house-{self.home.id}",
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
        )
        async with client:
            for topic in self._dialect.subscriptions:
                await client.subscribe(topic, qos=1)
            await self._greet(client)
            self._note("house", "online", "")
            self._out_of_touch = False
            try:
                yield client
            finally:
                if self._leaving:
                    await self._farewell(client)

    async def _farewell(self, client: aiomqtt.Client) -> None:
        """Say what the last will would say; a broker that does not listen is not waited for."""
        will = self._dialect.will
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await _send(client, [will] if will else [])
            self._note("house", "offline", "")

    async def _measure(self, client: aiomqtt.Client) -> None:
        """Publish what the devices measured, every minute of the world."""
        while not self._leaving:
            await self._clock.sleep_until(self._meter.at + MINUTE)
            for now in self._live():
                await _send(client, self._dialect.minute(now))

    def _live(self) -> list[Snapshot]:
        """Advance to the present minute and return what to publish: after a long pause only the latest minutes."""
        present = floor_to(self._clock.now(), 60)
        snapshots: deque[Snapshot] = deque(maxlen=_MOST_MINUTES)
        for minute in self._meter.advance(present):
            self._heater_wmin += minute.heater_w
            snapshots.append(self._snapshot(minute))
        return list(snapshots)

    def _snapshot(self, minute: Minute) -> Snapshot:
        end = minute.start + MINUTE
        return Snapshot(
            at=end,
            register_wh=self._meter.register_at(end),
            meter_w=minute.total_w,
            heater_w=minute.heater_w,
            heater_wmin=self._heater_wmin,
            heater_on=self._meter.on,
        )

    async def _obey(self, client: aiomqtt.Client) -> None:
        """Follow orders as they arrive. A retained one is not for now: who obeys it switches for nobody."""
        messages = aiter(client.messages)
        while not self._leaving:
            message = await anext(messages)
            if message.retain:
                continue
            try:
                order = self._read(message)
            except InvalidError as error:
                self._note("house", "error", str(error))
            else:
                await self._follow(client, order)

    def _read(self, message: aiomqtt.Message) -> Order:
        if len(message.payload) > MAX_PAYLOAD:
            raise InvalidError(f"An order of {len(message.payload)} bytes is too long.")
        return self._dialect.order(message.topic.value, message.payload)

    async def _follow(self, client: aiomqtt.Client, order: Order) -> None:
        match order:
            case SwitchOrder(on):
                await self._switch(client, on=not self._meter.on if on is None else on)
            case HistoryOrder() if self._remembers:
                await self._recall(client, order)
            case RefreshOrder(introduce=True):
                await self._greet(client)
            case RefreshOrder():
                await self._tell_state(client)
            case HistoryOrder() | NoOrder():
                pass

    async def _switch(self, client: aiomqtt.Client, *, on: bool) -> None:
        """Switch the heater, log it, then answer with its state."""
        self._note("heater", "command", _word(on=on))
        if self._ignore_commands:
            self._note("heater", "ignored", _word(on=on))
            return
        if on != self._meter.on:
            flip = self._meter.switch(Switch(self._clock.now(), on))
            self._log.write(Entry(flip.at, self.home.id, "heater", "switch", _word(on=on)))
        await self._tell_state(client)

    async def _tell_state(self, client: aiomqtt.Client) -> None:
        on = self._meter.on
        await _send(client, self._dialect.state(self._clock.now(), on=on))
        self._note("heater", "state", _word(on=on))

    async def _recall(self, client: aiomqtt.Client, order: HistoryOrder) -> None:
        """Send the half-hourly register readings of the past that was asked for."""
        oldest, latest = ceil_to(self._meter.register_start, 1800), self._meter.at
        kept = (oldest + n * HALF_HOUR for n in range((latest - oldest) // HALF_HOUR + 1))
        stamps = [at for at in kept if order.start <= at <= order.end]
        await _send(client, self._dialect.history((at, self._meter.register_at(at)) for at in stamps))
        self._note("meter", "history", str(len(stamps)))

    async def _greet(self, client: aiomqtt.Client) -> None:
        on = self._meter.on
        await _send(client, self._dialect.hello(self._clock.now(), on=on))
        self._note("heater", "state", _word(on=on))

    def _note(self, device: str, what: What, value: str) -> None:
        self._log.write(Entry(self._clock.now(), self.home.id, device, what, value))


async def _send(client: aiomqtt.Client, publications: Iterable[Publication]) -> None:
    for one in publications:
        await client.publish(one.topic, one.payload, one.qos, one.retain)


def _word(*, on: bool) -> str:
    return "on" if on else "off"


def running_houses(
    plan: DemoPlan, clock: Clock, log_path: Path, log: HouseLog, *, ignore_commands: bool = False
) -> list[RunningHouse]:
    """Return the plan's homes, alive at the present minute, their heaters as the log left them."""
    past = read_log(log_path)
    now = floor_to(clock.now(), 60)
    running = []
    for house in make_houses(plan.seed, plan.homes, load_series(data_dir())):
        meter = Meter(house, plan.register_start, now, switches(past, house.home.id))
        meter.register_at(now)  # the days of the history are made here once, not when the first minute is due
        remembers = house.home.index != plan.newcomer
        running.append(RunningHouse(meter, clock, log, ignore_commands=ignore_commands, remembers=remembers))
    return running


async def live(houses: Sequence[RunningHouse], broker: Broker, stop: asyncio.Event) -> None:
    """Run the houses until `stop` is set; a house that fails ends all."""
    async with asyncio.TaskGroup() as tasks:
        alive = [tasks.create_task(house.run(broker)) for house in houses]
        await stop.wait()
        for house, task in zip(houses, alive, strict=True):
            house.leave()
            task.cancel()


async def _run(arguments: argparse.Namespace) -> None:
    clock = load_clock(arguments.run / CLOCK_NAME)
    plan = DemoPlan(arguments.seed, arguments.homes, clock.epoch, newcomer=arguments.newcomer)
    broker = Broker(arguments.broker_host, arguments.broker_port, arguments.username, _password(arguments))
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    log_path = arguments.run / LOG_NAME
    with HouseLog(log_path) as log:
        ignore = arguments.fault == IGNORE_COMMANDS
        await live(running_houses(plan, clock, log_path, log, ignore_commands=ignore), broker, stop)


def _password(arguments: argparse.Namespace) -> str | None:
    if arguments.password_file is None:
        return None
    try:
        return str(arguments.password_file.read_text(encoding="utf-8")).strip("\r\n")
    except (OSError, ValueError) as error:
        raise InvalidError(f"The password file {arguments.password_file} cannot be read: {error}") from error


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    usual = DemoPlan()
    parser = argparse.ArgumentParser(prog="python -m evenload.demo.simulated_homes", description="The demo's houses.")
    parser.add_argument("--run", type=Path, required=True, help="the run's directory: clock.json in, houses.jsonl out")
    parser.add_argument("--broker-host", default="127.0.0.1")
    parser.add_argument("--broker-port", type=int, default=1883)
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--homes", type=int, default=usual.homes)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--newcomer", type=int, help="the home (from 1) whose meter remembers nothing")
    parser.add_argument("--fault", choices=[IGNORE_COMMANDS], help="make the houses misbehave")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the houses until SIGTERM; return the exit code."""
    failures: list[BaseException] = []
    try:
        asyncio.run(_run(_arguments(argv)))
    except* EvenloadError as errors:
        failures.append(errors)
    while failures:
        error = failures.pop()
        if not isinstance(error, BaseExceptionGroup):
            sys.stderr.write(f"{error}\n")
            return 1
        failures.extend(error.exceptions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
