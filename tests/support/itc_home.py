"""A home for the integration test cases: its household file, its real gateway, its devices, and who gets copies.

Gateway, store and MQTT are the real ones, the broker is a real Mosquitto. Devices are an MQTT client of their own, and
their messages are written from their makers' documents. World time moves only when a test says so, so that each value
has an exact time.
"""

import asyncio
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from paho.mqtt import client as paho

from core.clock import ManualClock
from support.broker import Broker
from support.waiting import until
from ven.gateway import Gateway
from ven.household import Household
from ven.household_file import load_household
from ven.state_files import STORE_FILE
from ven.store import from_microseconds

NOON: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NOBODY: Final = "http://127.0.0.1:9/OpenADR2/Simple/2.0b"
"""A VTN that never answers: most cases need none."""

Key = tuple[str, datetime]
"""A value's point and time."""
Message = tuple[str, object]
"""A topic, and a payload: text, bytes, or what becomes JSON."""


@dataclass(frozen=True)
class Asset:
    """A device under test: its driver, its messages of cycle n at a time, and what its registers say in our units."""

    name: str
    driver: str
    options: Mapping[str, object]
    messages: Callable[[int, datetime], Sequence[Message]]
    registers: Callable[[int], Mapping[str, float]]
    more: Mapping[str, object] = field(default_factory=dict)
    """What else its entry in the household file has."""

    def register(self, n: int, at: datetime) -> dict[Key, float]:
        """Return what a gateway has to have of cycle n."""
        return {(f"asset.{point}", at): float(value) for point, value in self.registers(n).items()}


class Home:
    """One household: its files, and its gateways, which come and go."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        assets: Mapping[str, Asset] | Asset,
        *,
        clock: ManualClock | None = None,
        **more: Any,
    ) -> None:
        """`more`: other entries of the household file; `templates` maps names to what the templates say."""
        self.folder = folder
        self.broker = broker
        self.clock = clock or ManualClock(NOON)
        every = {"asset": assets} if isinstance(assets, Asset) else assets
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "templates").mkdir(exist_ok=True)
        for name, template in more.pop("templates", {}).items():
            (folder / "templates" / f"{name}.yaml").write_text(json.dumps(template), encoding="utf-8")
        entries = {
            "version": 1,
            "name": "home",
            "identity": "identity",
            "state": "state",
            "vtn": {"url": NOBODY},
            "mqtt": {"host": broker.host, "port": broker.port, "client_id": f"gateway-{folder.name}"},
            "history": {"days": 0},
            "devices": [
                {"id": name, "driver": asset.driver, "role": "load", "with": dict(asset.options), **asset.more}
                for name, asset in every.items()
            ],
        }
        path = folder / "household.yaml"
        path.write_text(json.dumps(entries | more), encoding="utf-8")
        self.household: Household = load_household(path)

    @asynccontextmanager
    async def gateway(self, *, gets_in: bool = True) -> AsyncIterator[Gateway]:
        """Run the gateway until the block ends; it listens at the broker by then, unless that does not let it in."""
        gateway = Gateway(self.household, clock=self.clock)
        running = asyncio.create_task(gateway.run())
        try:
            if gets_in:
                await until(lambda: running.done() or _listens(gateway), "the gateway at its broker")
            yield gateway
        finally:
            gateway.stop()
            await running

    def stored(self, *points: str) -> dict[Key, float]:
        """Return what devices said, as it is in the gateway's database, read beside it; of these points, or of all."""
        with closing(self._database()) as db:
            rows = db.execute("SELECT point, start_us, value FROM readings").fetchall()
        chosen = {(point, from_microseconds(start)): value for point, start, value in rows if "#" not in point}
        return {key: value for key, value in chosen.items() if not points or key[0] in points}

    def status(self, item: str) -> float | None:
        """Return the newest status reading of the home's resource: online, override, capacity."""
        with closing(self._database()) as db:
            query = "SELECT value FROM readings WHERE point LIKE ? ORDER BY start_us DESC LIMIT 1"
            row = db.execute(query, (f"%#{item}",)).fetchone()
        return None if row is None else float(row[0])

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.household.state / STORE_FILE}?mode=ro", uri=True, timeout=10)


def _listens(gateway: Gateway) -> bool:
    """Tell whether the broker has all of its subscriptions."""
    drivers = gateway._drivers.values()
    return all(each.connected for each in gateway._connections.values()) and all(
        driver._listening for driver in drivers
    )


# -- what is at the broker


class Client:
    """An MQTT client with a thread of its own: it speaks for devices, or collects."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _, __, message: self.heard.append((message.topic, message.payload))
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_connect = lambda *_: (
            self._client.subscribe([(topic, 1) for topic in topics]) if topics else None
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        if topics:
            assert self._subscribed.wait(15), "the broker takes no subscription"

    def _connected(self, *_: object) -> None:
        if self._topics:
            self._client.subscribe(self._topics)

    def say(self, topic: str, payload: object, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        text = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        self._client.publish(topic, text, 1, retain=retain).wait_for_publish(15)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def client(broker: Broker, *topics: str) -> Iterator[Client]:
    """Have a client until the block ends; with topics it has subscribed to them."""
    made = Client(broker, *topics)
    try:
        yield made
    finally:
        made.close()


class Sink(Client):
    """A data platform that takes copies of readings as plain JSON, each under the point and time that it names."""

    def rows(self) -> list[tuple[Key, float]]:
        """Return what came, in its order."""
        rows = []
        for topic, payload in list(self.heard):
            *_, device, point = topic.split("/")
            fields = json.loads(payload)
            rows.append(((f"{device}.{point}", datetime.fromisoformat(fields["t"])), float(fields["v"])))
        return rows

    def received(self) -> dict[Key, float]:
        """Return what is there by point and time; the same twice is one, something else under the same is a fault."""
        rows = self.rows()
        kept = dict(rows)
        assert set(rows) == set(kept.items()), "a point has two values at one time"
        return kept

    def twice(self) -> list[Key]:
        """Return what came more than once."""
        return [key for key, count in Counter(key for key, _ in self.rows()).items() if count > 1]


@contextmanager
def sink(broker: Broker, name: str) -> Iterator[Sink]:
    """Have a platform that takes the copies of a home until the block ends."""
    made = Sink(broker, f"{name}/#")
    try:
        yield made
    finally:
        made.close()


def copy(name: str, **more: object) -> dict[str, object]:
    """Return a household's entry that has its devices' readings copied to a `sink` of that name."""
    return {"id": "cdmp", "topic": f"{name}/{{device}}/{{point}}", "points": ["asset*"], **more}


# -- the judgement


class Verdict(StrEnum):
    """How a cycle of measuring ended; D8.1 calls a test suspended whose values are incorrect, or where none came."""

    PASSED = "passed"
    INCORRECT = "incorrect"
    NONE = "none"


def verdict(register: Mapping[Key, float], received: Mapping[Key, float]) -> Verdict:
    """Compare what a meter's register said in one cycle with what is there of it."""
    there = {key: received[key] for key in register if key in received}
    if not there:
        return Verdict.NONE
    return Verdict.PASSED if there == register else Verdict.INCORRECT


async def play(
    home: Home,
    asset: Asset,
    device: Client,
    cycles: range,
    step: timedelta,
    arrived: Callable[[], Mapping[Key, float]] | None = None,
) -> list[dict[Key, float]]:
    """Let an asset measure for some cycles, each of which arrives before the next; return its registers by cycle."""
    there = arrived or home.stored
    registers = []
    for n in cycles:
        register = asset.register(n, home.clock.now())
        for topic, payload in asset.messages(n, home.clock.now()):
            device.say(topic, payload)
        await until(lambda: register.keys() <= there().keys(), f"cycle {n} of {asset.name}")  # noqa: B023  used at once
        registers.append(register)
        home.clock.advance(step)
    return registers


def together(registers: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    """Return what several cycles said."""
    return {key: value for register in registers for key, value in register.items()}
