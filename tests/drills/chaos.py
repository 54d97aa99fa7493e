"""Seeded trouble while an event holds the heaters of two homes: every heater must be as it was before the event.

A run is two homes (a Shelly gen1 plug and an iFLEX HEMS, or two whose heaters are behind bundled templates), their
gateways, a broker and a VTN, all of them processes of their own. From its seed come the homes, what goes wrong, when,
and for how long; several things go wrong at once, and one of them is a power cut in mid-event. The witness is the log
of the homes, which knows nothing of gateways; of templated homes also what their meters published: none of it may be
lost or doubled.

    python -m drills.chaos --runs 200 --parallel 4 --json chaos.json     (with `tests` on PYTHONPATH)
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiomqtt
from drills.templated_homes import LOWER_W, NORMAL_W, HeatPump, Kind, homes_of, witness_of
from rich.console import Console

from core.errors import EvenloadError
from core.spans import Span
from evenload.demo.device_messages import Publication, Snapshot, dialect_of, hems_id, meter_topic, shelly_id
from evenload.demo.home_log import LOG_NAME, Entry, HouseLog, read_log, switches
from evenload.demo.households import HEATER, METER, household_dir
from evenload.demo.model import Home, make_home
from evenload.demo.plan import DemoPlan
from evenload.demo.processes import Stage
from evenload.demo.setup import Scene, set_up
from ven.state_files import STORE_FILE
from ven.store import from_microseconds

SPEED = 60.0
"""A minute of the world a second."""
PLAN = replace(DemoPlan(), homes=2, alone=0, history_days=2)
EVENT = timedelta(minutes=15)

_NOTICE = timedelta(minutes=6)
_CLOCK_STEP_S = 30.0
"""What the gateway's clock is off: half an hour of the world."""
_FULL_AT_BYTES = 4096
_READY_S = 90.0
_RESTORED_S = 90.0
"""Machine time after the last trouble in which every device has to be back."""
_STAYS_S = 4.0
_LOOK_S = 0.2
_GATEWAY, _HOUSES, _BROKER, _VTN = "vens-1", "houses", "broker", "vtn"
_KEEPALIVE_S = 5
"""Of the gateways' connections: half an hour of the world until a dead one is noticed would be the event's end."""
_HALF_HOUR_S = 1800
_SETTLED = timedelta(minutes=3)
"""After a broker has come back, or before it is killed, so long its word counts for nothing (world time)."""
_FAKETIME = "faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong: from when (world time after the event's start) and for how long."""

    kind: str
    begin: timedelta
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Script:
    """All that a seed decides."""

    seed: int
    kinds: tuple[str, ...]
    """What the homes' heaters are behind (`templated_homes.KINDS`); none: those of the demo."""
    troubles: tuple[Trouble, ...]
    before: tuple[bool, ...]
    """Whether each home's heater is on before the event."""
    after_power_cut: str
    """What a relay does once power is back: on, off, or last."""


@dataclass(slots=True)
class Outcome:
    """What a run left behind."""

    seed: int
    troubles: list[str]
    back: bool = False
    """Whether every heater was at last, and stayed, as before the event, with no lease left open."""
    kinds: tuple[str, ...] = ()
    shed: list[str] = field(default_factory=list)
    """The homes whose heater was told to go off."""
    readings: int | None = None
    """How many readings of the meters had to be in the gateways' stores; None: that cannot be told of such a run."""
    lost: list[str] = field(default_factory=list)
    """Readings that the broker had confirmed and that no gateway has, or that a gateway has and no meter published."""
    took_s: float = 0.0
    restarts: int = 0
    """How often the gateway ended by itself and was started again, as its service unit would."""
    fault: str = ""


def write_script(seed: int) -> Script:
    """Return what happens in the run of that seed."""
    dice = random.Random(seed)  # noqa: S311  a story, not a secret
    kinds = sorted(TROUBLES)
    homes = HOMES[(seed + seed // len(kinds)) % len(HOMES)]
    first = kinds.pop(seed % len(kinds))  # so many seeds in a row bring every trouble
    chosen = dict.fromkeys((first, *dice.sample(kinds, k=dice.choice((0, 1, 1))), "power-cut"))
    troubles = []
    for kind in chosen:
        if kind == "power-cut":  # a relay that loses its power after it was given back is nobody's to put right
            begin, lasts = dice.uniform(0.5, 12.0), dice.uniform(0.5, 4.0)
        else:
            begin, lasts = dice.uniform(-2.0, 16.0), dice.uniform(0.5, 8.0)
        troubles.append(Trouble(kind, timedelta(minutes=begin), timedelta(minutes=lasts)))
    before = tuple(dice.random() < 0.8 for _ in range(PLAN.homes))
    return Script(seed, homes, tuple(troubles), before, dice.choice(("on", "off", "last")))


class Way:
    """The way to the broker, as a router in between: it can forget its connections, or be away."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._broker_port = 0
        self._ends: set[asyncio.StreamWriter] = set()
        self._deaf: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._away = False

    async def open(self, broker_port: int) -> None:
        """Begin to let connections through."""
        self._broker_port = broker_port
        self._server = await asyncio.start_server(self._let_through, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def forget(self) -> None:
        """Let those who are connected think that they are: what they say goes nowhere, and nobody hangs up."""
        self._deaf |= self._ends

    def go_away(self) -> None:
        """Hang up on everybody, and let nobody in."""
        self._away = True
        for end in list(self._ends):
            end.close()

    def come_back(self) -> None:
        """Let connections through again."""
        self._away = False

    async def close(self) -> None:
        """Be gone."""
        self.go_away()
        if self._server is not None:
            self._server.close()
        for passing in list(self._passing):
            passing.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _let_through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing = asyncio.get_running_loop().create_task(self._pass(reader, writer))
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what both ends of a connection say, until both have hung up."""
        ends = [writer]
        try:
            if self._away:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._broker_port)
            ends.append(back)
            self._ends.update(ends)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except OSError:
            return  # the broker is away
        finally:
            self._ends.difference_update(ends)
            self._deaf.difference_update(ends)
            for end in ends:
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if writer not in self._deaf:
                    writer.write(data)
                    await writer.drain()
        if writer not in self._deaf:
            writer.close()


class ChaosStage(Stage):
    """A stage whose gateway has a clock that can be set, and a way to the broker that can be disturbed."""

    def __init__(self, directory: Path, kinds: Sequence[str] = ()) -> None:
        Stage.__init__(self, directory)
        self.kinds = kinds
        self.way = Way()
        self.clock_file = directory.with_name(f"{directory.name}.offset")
        self.set_clock(0.0)
        self.away: set[str] = set()
        self.restarts = 0

    def set_clock(self, offset_s: float) -> None:
        """Set the gateway's idea of UTC off by that much (machine time)."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.3f}")
        fresh.replace(self.clock_file)  # a reader never meets half a number

    async def start(self, name: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Start a process; the gateway's clock is ours."""
        if name == _GATEWAY:
            environment = (environment or {}) | {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        if name == _HOUSES:
            if not self.way.port:
                await self._furnish(int(dict(pairwise(arguments))["--broker-port"]))
            if self.kinds and arguments[0] != _TEMPLATED:
                arguments = (_TEMPLATED, *arguments[1:], "--kinds", ",".join(self.kinds))
                environment = (environment or {}) | {"PYTHONPATH": os.pathsep.join(sys.path)}
        await Stage.start(self, name, *arguments, environment=environment)

    async def _furnish(self, broker_port: int) -> None:
        """Put what the run has of its own into the household files, before any gateway reads them."""
        await self.way.open(broker_port)
        devices = homes_of(PLAN.seed, self.kinds, self.directory)
        for index in range(1, PLAN.homes + 1):
            home = make_home(PLAN.seed, index)
            path = household_dir(home, self.directory) / "household.yaml"
            household = json.loads(path.read_text(encoding="utf-8"))
            household["mqtt"] |= {"port": self.way.port, "keepalive_s": _KEEPALIVE_S}
            if devices:
                kind = devices[index - 1]
                meter = {"id": METER, "role": "grid_meter", "driver": "senml_meter", "with": {"id": home.id}}
                (heater,) = (each for each in household["devices"] if each["id"] == HEATER)
                household["devices"] = [meter, heater | {"driver": kind.driver, "with": kind.options}]
            path.write_text(json.dumps(household, indent=1), encoding="utf-8")

    async def take_away(self, *names: str) -> None:
        """Kill processes without warning; those that are away already stay away."""
        for name in names:
            if name not in self.away:
                self.away.add(name)
                await self.kill(name)

    async def bring_back(self, *names: str) -> None:
        """Start again what was taken away."""
        for name in names:
            if name in self.away:
                await self.restart(name)
                self.away.discard(name)

    async def supervise(self) -> None:
        """Start the gateway again whenever it ends by itself, as a service unit does."""
        while True:
            process = self.processes[_GATEWAY]
            await process.wait()
            await asyncio.sleep(1.0)
            if self.processes[_GATEWAY] is process and _GATEWAY not in self.away:
                self.restarts += 1
                await self.restart(_GATEWAY)


def faketime() -> Path:
    """Return the library that lets one process have another time. Raises FileNotFoundError where it is missing."""
    for place in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        if (library := Path(place) / _FAKETIME).exists():
            return library
    raise FileNotFoundError("libfaketime is missing; install the package faketime")


class World:
    """A run on its way: what the troubles act on."""

    def __init__(self, scene: Scene, stage: ChaosStage, script: Script) -> None:
        self.scene = scene
        self.stage = stage
        self.script = script
        self.homes = [make_home(PLAN.seed, index) for index in range(1, PLAN.homes + 1)]
        self.kinds = homes_of(PLAN.seed, script.kinds, stage.directory)
        self.dispatch_id = ""
        self.unheld: dict[str, datetime] = {}
        """When a home lost its power and no gateway had told its heater anything; if none does, nobody mends that."""
        self.log = stage.directory / LOG_NAME

    async def sleep(self, world: timedelta) -> None:
        """Sleep so much world time."""
        await self.scene.clock.sleep_until(self.scene.clock.now() + world)

    def states(self) -> list[bool | int]:
        """Return whether each heater is on, by the homes' own log; of a heat pump, its power limit."""
        log = read_log(self.log)
        flips = [switches(log, home.id) for home in self.homes]
        relays: list[bool | int] = [flip[-1].on if flip else True for flip in flips]
        for place, kind in enumerate(self.kinds):
            if isinstance(kind, HeatPump):
                relays[place] = kind.limit_w
        return relays

    def wanted(self) -> list[bool | int]:
        """Return what they were before the event."""
        wanted: list[bool | int] = list(self.script.before)
        log = read_log(self.log)
        for place, home in enumerate(self.homes):
            if self.kinds and isinstance(self.kinds[place], HeatPump):
                wanted[place] = NORMAL_W if wanted[place] else LOWER_W
            elif (cut := self.unheld.get(home.id)) is not None and not any(
                entry.what == "command" and entry.home == home.id and entry.time >= cut for entry in log
            ):
                wanted[place] = self.states()[place]
        return wanted

    def open_leases(self) -> int:
        """Return how many commands the gateways have not closed."""
        return sum(self._count(home, "SELECT COUNT(*) FROM command WHERE closed = 0") for home in self.homes)

    def has_told(self, home: Home) -> bool:
        """Tell whether a home's gateway has told its heater something that it has to take back."""
        return bool(self._count(home, "SELECT COUNT(*) FROM slot WHERE touched = 1"))

    def _count(self, home: Home, query: str) -> int:
        path = household_dir(home, self.stage.directory) / "state" / "journal.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            return int(db.execute(query).fetchone()[0])

    @contextlib.asynccontextmanager
    async def broker(self) -> Any:
        """Connect as the homes' own things do."""
        arguments = self.stage._started[_HOUSES][0]
        values = dict(pairwise(arguments))
        password = Path(values["--password-file"]).read_text(encoding="ascii")
        async with aiomqtt.Client(
            "127.0.0.1", int(values["--broker-port"]), username=values["--username"], password=password, timeout=5
        ) as client:
            yield client

    async def switch(self, home: Home, *, on: bool) -> None:
        """Switch a heater as its user would, before anything begins."""
        word = "on" if on else "off"
        if self.kinds:
            order = self.kinds[home.index - 1].by_hand(on=on)
            topic, body = order.topic, order.payload
        elif home.dialect == "iflex":
            control = {"device": "2", "control_device": {"actuator_id": "284", "command": word}}
            topic, body = f"iflex/{hems_id(home)}/control", json.dumps({"devices_control": [control]})
        else:
            topic, body = f"shellies/{shelly_id(home)}/relay/0/command", word
        async with self.broker() as client:
            await client.publish(topic, body, qos=1)


# -- what can go wrong

Act = Callable[[World, Trouble], Awaitable[None]]


def _killed(*names: str) -> Act:
    async def act(world: World, trouble: Trouble) -> None:
        await world.stage.take_away(*names)
        await world.sleep(trouble.lasts)
        await world.stage.bring_back(*names)

    return act


async def _power_cut(world: World, trouble: Trouble) -> None:
    """Take everything in the homes away at once; relays come back as their makers set them."""
    names = [_GATEWAY, _HOUSES, _BROKER]
    await world.stage.take_away(*names)
    now = world.scene.clock.now()
    world.unheld = {home.id: now for home in world.homes if not world.has_told(home)}
    await world.sleep(trouble.lasts)
    if world.script.after_power_cut != "last" and _HOUSES in world.stage.away:
        with HouseLog(world.log) as log:
            for home in world.homes:
                if world.kinds and isinstance(world.kinds[home.index - 1], HeatPump):
                    continue  # its controller keeps what was set
                log.write(Entry(world.scene.clock.now(), home.id, HEATER, "switch", world.script.after_power_cut))
    order = random.Random(world.script.seed).sample(names, k=len(names))  # noqa: S311  a story, not a secret
    for name in order:
        await world.stage.bring_back(name)
        await world.sleep(timedelta(minutes=1))


def _clock(offset_s: float, *, restart: bool) -> Act:
    async def act(world: World, trouble: Trouble) -> None:
        world.stage.set_clock(offset_s)
        if restart:
            await world.stage.take_away(_GATEWAY)
            await world.stage.bring_back(_GATEWAY)
        await world.sleep(trouble.lasts)
        world.stage.set_clock(0.0)

    return act


async def _full_disk(world: World, trouble: Trouble) -> None:
    """Let the gateway write no file beyond a few kilobytes: SQLite meets what it meets on a full disk."""
    end = world.scene.clock.now() + trouble.lasts
    while world.scene.clock.now() < end:
        _limit(world, _FULL_AT_BYTES)  # again and again: it may have been restarted meanwhile
        await asyncio.sleep(_LOOK_S)
    _limit(world, resource.RLIM_INFINITY)


def _limit(world: World, most: int) -> None:
    process = world.stage.processes.get(_GATEWAY)
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, hard))


async def _flood_of_changes(world: World, trouble: Trouble) -> None:
    """Change the event as fast as the VTN takes it; at last it is what it was."""
    end = world.scene.clock.now() + min(trouble.lasts, timedelta(minutes=4))
    watts = PLAN.order_w
    while world.scene.clock.now() < end:
        watts = PLAN.order_w + (1 if watts == PLAN.order_w else 0)
        with contextlib.suppress(EvenloadError):  # a VTN that was killed meanwhile, an event that is over
            async with world.scene.client() as client:
                for _ in range(20):
                    body = {"signals": [_signal(watts)]}
                    await client.patch(f"/dispatches/{world.dispatch_id}", body)
        await asyncio.sleep(0.05)


_RUBBISH = (b"", b"maybe", b"\xff\xfe", b"NaN", b"{}", b"[[[[[[", b'{"devices_state": [null]}', b"1e999", b"x" * 9000)


async def _flood_of_rubbish(world: World, trouble: Trouble) -> None:
    """Send the gateway what no device says, on the topics that it listens to."""
    dice = random.Random(world.script.seed)  # noqa: S311  a story, not a secret
    topics = _topics(world.homes, world.kinds)
    end = world.scene.clock.now() + min(trouble.lasts, timedelta(minutes=4))
    while world.scene.clock.now() < end:
        with contextlib.suppress(aiomqtt.MqttError):
            async with world.broker() as client:
                for _ in range(200):
                    await client.publish(dice.choice(topics), dice.choice(_RUBBISH))
        await asyncio.sleep(0.1)


async def _broker_restarted(world: World, trouble: Trouble) -> None:
    """Have the broker end politely and start at once, again and again."""
    end = world.scene.clock.now() + trouble.lasts
    while world.scene.clock.now() < end:
        if _BROKER not in world.stage.away:
            world.stage.away.add(_BROKER)
            process = world.stage.processes[_BROKER]
            process.terminate()
            await process.wait()
            await world.stage.bring_back(_BROKER)
        await world.sleep(timedelta(minutes=2))


async def _half_open(world: World, trouble: Trouble) -> None:
    """Have the router forget the gateways' connections: neither side is told."""
    world.stage.way.forget()
    await world.sleep(trouble.lasts)


async def _retained_duplicates(world: World, trouble: Trouble) -> None:
    """While the gateways are off the broker, have it keep what devices said long ago, again and out of order."""
    world.stage.way.go_away()
    try:
        with contextlib.suppress(aiomqtt.MqttError):
            async with world.broker() as client:
                for each in _stale(world):
                    await client.publish(each.topic, each.payload, qos=0, retain=True)
        await world.sleep(trouble.lasts)
    finally:
        world.stage.way.come_back()


def _stale(world: World) -> list[Publication]:
    """Return states of twenty minutes ago, both ways, and the last readings of templated homes' meters once more."""
    then, stale = world.scene.clock.now() - timedelta(minutes=20), []
    for home in world.homes:
        speaks = world.kinds[home.index - 1] if world.kinds else dialect_of(home)
        for on in (True, False, not world.script.before[home.index - 1]):
            stale += speaks.state(then, on=on)
        for _, at, register_wh in read_witness(home, world.stage.directory)[-6:]:
            stale.append(Publication(meter_topic(home), json.dumps(_pack(at, register_wh))))
    return stale


def _pack(at: datetime, register_wh: float) -> list[dict[str, Any]]:
    return [{"bn": "urn:dev:x:", "t": at.timestamp(), "n": "energy", "u": "J", "v": round(register_wh * 3600)}]


def _topics(homes: Sequence[Home], kinds: Sequence[Kind]) -> list[str]:
    if kinds:
        now = datetime(2013, 11, 20, tzinfo=UTC)
        return [each.topic for kind in kinds for each in (*kind.hello(now, on=True), *kind.minute(_SNAPSHOT))]
    topics = []
    for home in homes:
        if home.dialect == "iflex":
            topics += [f"iflex/{hems_id(home)}/{name}" for name in ("state", "measurement", "config")]
        else:
            topics += [f"shellies/{shelly_id(home)}/{name}" for name in ("online", "relay/0", "relay/0/power")]
    return topics


TROUBLES: dict[str, Act] = {
    "gateway-killed": _killed(_GATEWAY),
    "homes-killed": _killed(_HOUSES),
    "broker-killed": _killed(_BROKER),
    "broker-restarted": _broker_restarted,
    "vtn-killed": _killed(_VTN),
    "broker-and-gateway-killed": _killed(_BROKER, _GATEWAY),
    "homes-and-broker-killed": _killed(_HOUSES, _BROKER),
    "all-killed": _killed(_GATEWAY, _HOUSES, _BROKER, _VTN),
    "power-cut": _power_cut,
    "clock-back": _clock(-_CLOCK_STEP_S, restart=False),
    "clock-forward": _clock(_CLOCK_STEP_S, restart=False),
    "reboot-with-clock-back": _clock(-_CLOCK_STEP_S, restart=True),
    "reboot-with-clock-forward": _clock(_CLOCK_STEP_S, restart=True),
    "disk-full": _full_disk,
    "changes-flooded": _flood_of_changes,
    "rubbish-flooded": _flood_of_rubbish,
    "half-open": _half_open,
    "retained-duplicates": _retained_duplicates,
}
"""Everything that can go wrong, by name."""


_BROKER_KILLED = frozenset(
    {"power-cut", "broker-killed", "broker-and-gateway-killed", "homes-and-broker-killed", "all-killed"}
)
HOMES: tuple[tuple[str, ...], ...] = ((), ("tasmota", "shelly2"), ("zigbee", "heat-pump"))
"""Which homes a run has; none: the demo's."""
_TEMPLATED = "drills.templated_homes"
_SNAPSHOT = Snapshot(datetime(2013, 11, 20, tzinfo=UTC), 0.0, 0.0, 0.0, 0.0, heater_on=True)


# -- a run


async def run(seed: int, directory: Path) -> Outcome:
    """Play the run of a seed; raises AssertionError or EvenloadError where it could not begin."""
    script = write_script(seed)
    told = [f"{one.kind} {_minutes(one.begin)}+{_minutes(one.lasts)}" for one in script.troubles]
    outcome = Outcome(seed, told, kinds=script.kinds)
    stage = ChaosStage(directory, script.kinds)
    try:
        scene = await set_up(PLAN, SPEED, stage, Console(quiet=True))
        world = World(scene, stage, script)
        window = await _begin(world)
        supervisor = asyncio.create_task(stage.supervise())
        try:
            async with asyncio.TaskGroup() as troubles:
                for trouble in script.troubles:
                    troubles.create_task(_play(world, trouble, window.start))
            await scene.clock.sleep_until(window.end or window.start)
            await _judge(world, outcome)
            await _judge_readings(world, outcome, window.start)
        finally:
            supervisor.cancel()
            outcome.restarts = stage.restarts
        stage.check()
    finally:
        await stage.stop()
        await stage.way.close()
    return outcome


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.1f}"


async def _play(world: World, trouble: Trouble, start: datetime) -> None:
    await world.scene.clock.sleep_until(start + trouble.begin)
    await TROUBLES[trouble.kind](world, trouble)


async def _begin(world: World) -> Span:
    """Have the heaters as the script says, and both gateways opted in to the event; return its window."""
    scene = world.scene
    async with asyncio.timeout(_READY_S), scene.client() as client:
        while not all(ven["metadata_at"] for ven in await client.all("/vens")):
            world.stage.check()
            await asyncio.sleep(_LOOK_S)
        for home, on in zip(world.homes, world.script.before, strict=True):
            await world.switch(home, on=on)
        while world.states() != world.wanted():  # noqa: ASYNC110  another process' file
            await asyncio.sleep(_LOOK_S)
        start = scene.clock.now() + _NOTICE
        (programme,) = await client.all("/programmes")
        body = {"programme_id": programme["id"], "start": start.isoformat(), "signals": [_signal(PLAN.order_w)]}
        answer = await client.post("/dispatches", body | {"direction": "reduce"})
        world.dispatch_id = str(answer["dispatch"]["id"])
        while True:
            dispatch = await client.get(f"/dispatches/{world.dispatch_id}")
            if [event["opt"] for event in dispatch["events"]] == ["optIn"] * PLAN.homes:
                return Span(start, start + EVENT)
            await asyncio.sleep(_LOOK_S)


def _signal(watts: float) -> dict[str, Any]:
    minutes = int(EVENT.total_seconds() // 60)
    return {
        "name": "LOAD_DISPATCH",
        "type": "delta",
        "unit": "W",
        "intervals": [{"duration": f"PT{minutes}M", "value": -watts}],
    }


async def _judge(world: World, outcome: Outcome) -> None:
    """Wait until every heater is as before and no lease is open, and see that it stays so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_RESTORED_S):
            while world.states() != world.wanted() or world.open_leases():
                world.stage.check((_GATEWAY,))
                await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(_STAYS_S)
    states, want, leases = world.states(), world.wanted(), world.open_leases()
    outcome.back = states == want and leases == 0
    if not outcome.back:
        outcome.fault = f"heaters {states} instead of {want}, {leases} leases open"
    log = read_log(world.log)
    ordered = {entry.home for entry in log if entry.what == "command" and entry.value == "off"}
    outcome.shed = sorted(ordered)


def read_witness(home: Home, directory: Path) -> list[tuple[str, datetime, float]]:
    """Return what a templated home's meter did, oldest first: published or confirmed, when, its register (Wh)."""
    with contextlib.suppress(FileNotFoundError):
        lines = witness_of(home, directory).read_text(encoding="ascii").split("\n")[:-1]
        rows = []
        for line in lines:
            with contextlib.suppress(ValueError):  # cut short by a kill
                what, at, register_wh = json.loads(line)
                rows.append((what, datetime.fromisoformat(at), register_wh))
        return rows
    return []


def read_stored(home: Home, directory: Path) -> dict[datetime, float]:
    """Return the meter's register readings that a home's gateway has."""
    path = household_dir(home, directory) / "state" / STORE_FILE
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        rows = db.execute("SELECT start_us, value FROM readings WHERE point = ?", (f"{METER}.energy",)).fetchall()
    return {from_microseconds(start): value for start, value in rows}


async def _judge_readings(world: World, outcome: Outcome, since: datetime) -> None:
    """See whether every reading that the broker confirmed is in the store, once, and nothing that no meter said."""
    wrong_clock = any("clock" in trouble.kind or trouble.kind == "disk-full" for trouble in world.script.troubles)
    if not world.kinds or wrong_clock:  # by a wrong clock readings count from their arrival, and a full disk takes none
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_RESTORED_S):
            while _misses(world, since)[1]:  # noqa: ASYNC110  another process' file
                await asyncio.sleep(_LOOK_S)
    outcome.readings, outcome.lost = _misses(world, since)


def _misses(world: World, since: datetime) -> tuple[int, list[str]]:
    """Return how many readings have to be there, and what is wrong with them."""
    count, wrong = 0, []
    newest = world.scene.clock.now() - _SETTLED
    for home in world.homes:
        witness = read_witness(home, world.stage.directory)
        stored = read_stored(home, world.stage.directory)
        published = {at: wh for _, at, wh in witness}
        confirmed = {at for what, at, _ in witness if what == "confirmed" and since <= at <= newest}
        count += len(confirmed)
        wrong += [
            f"{home.id} lost {at:%H:%M}" for at in sorted(confirmed - stored.keys()) if not _risky(world, at, since)
        ]
        for at, wh in stored.items():
            if at >= since and not math.isclose(published.get(at, math.inf), wh, abs_tol=0.01):
                wrong.append(f"{home.id} has {wh:.3f} at {at:%H:%M:%S}, published {published.get(at)}")
    return count, wrong


def _risky(world: World, at: datetime, start: datetime) -> bool:
    """Tell whether a broker that was killed may have confirmed that and not have kept it."""
    return any(
        start + trouble.begin - _SETTLED <= at <= start + trouble.begin + trouble.lasts + _SETTLED
        for trouble in world.script.troubles
        if trouble.kind in _BROKER_KILLED
    )


def play(seed: int, place: Path) -> Outcome:
    """Play the run of a seed from begin to end; its files are kept below `place` only if a device did not come back."""
    directory, began = place / f"run-{seed}", time.monotonic()
    try:
        outcome = asyncio.run(run(seed, directory))
    except (AssertionError, EvenloadError, TimeoutError, OSError, ExceptionGroup) as error:
        outcome = Outcome(seed, [trouble.kind for trouble in write_script(seed).troubles], fault=repr(error))
    outcome.took_s = round(time.monotonic() - began, 1)
    if outcome.back and not outcome.lost:
        shutil.rmtree(directory, ignore_errors=True)
    return outcome


def play_many(seeds: Sequence[int], parallel: int, place: Path, show: Callable[[Outcome], None]) -> list[Outcome]:
    """Play the runs of these seeds, each in a process of its own, several at a time."""
    outcomes = []
    workers = ProcessPoolExecutor(parallel, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with workers as pool:
        for playing in as_completed([pool.submit(play, seed, place) for seed in seeds]):
            outcomes.append(playing.result())
            show(outcomes[-1])
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Play many runs and tell how they ended; exit 0 if every device came back."""
    parser = argparse.ArgumentParser(
        prog="python -m drills.chaos", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the outcomes to this file")
    arguments = parser.parse_args(argv)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    place = Path(tempfile.mkdtemp(prefix="evenload-chaos-"))
    started = datetime.now(UTC)

    def show(outcome: Outcome) -> None:
        word = "back" if outcome.back else "NOT BACK"
        homes = " and ".join(outcome.kinds or ("iflex", "shelly1"))
        what = f"{homes}: {', '.join(outcome.troubles)}  {outcome.fault[:400]} {'; '.join(outcome.lost)[:400]}"
        counts = f"shed {len(outcome.shed)} restarts {outcome.restarts} readings {outcome.readings}"
        sys.stdout.write(f"{outcome.seed:4d} {word:8} {outcome.took_s:5.1f} s {counts}  {what}\n")
        sys.stdout.flush()

    seeds = range(arguments.first, arguments.first + arguments.runs)
    outcomes = play_many(seeds, arguments.parallel, place, show)
    counts = Counter(outcome.back and not outcome.lost for outcome in outcomes)
    shed = sum(len(outcome.shed) for outcome in outcomes)
    took_s = (datetime.now(UTC) - started).total_seconds()
    sys.stdout.write(
        f"{counts[True]} of {len(outcomes)} runs left every device as it was and lost or doubled no reading; "
        f"{shed} of {PLAN.homes * len(outcomes)}"
        f" heaters were shed; {took_s:.0f} s\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    if counts[False]:
        sys.stdout.write(f"The files of the others lie in {place}.\n")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main())
