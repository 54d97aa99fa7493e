"""Looking for devices: listens to announcements for a while, and shows what each device says now."""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bridges.connections import Connection, Message
from bridges.device import CapabilityKind, DeviceSpec, Driver, Value
from bridges.discovery import Collector, FoundDevice
from bridges.discovery.ems_esp import EmsEspCollector
from bridges.discovery.homeassistant import SOURCE as HOME_ASSISTANT
from bridges.discovery.homeassistant import HomeAssistantCollector
from bridges.discovery.shelly import ShellyCollector
from bridges.discovery.tasmota import TasmotaCollector
from bridges.discovery.victron import VictronCollector
from bridges.discovery.zigbee2mqtt import Zigbee2MqttCollector
from bridges.drivers import TemplateModule, load
from bridges.template import Template
from bridges.templated import TemplatedDevice
from bridges.yaml_text import yaml_text
from core.clock import Clock
from core.errors import InvalidError, UnavailableError
from core.points import Reading

COLLECTORS: Final[tuple[Callable[[], Collector], ...]] = (
    ShellyCollector,
    TasmotaCollector,
    Zigbee2MqttCollector,
    VictronCollector,
    EmsEspCollector,
    HomeAssistantCollector,
)
"""The ways to announce oneself; of a device that does so twice, the earlier one counts here."""

_CONNECT_S: Final = 10.0
_LOOK_S: Final = 0.5
_MOST_LIVE: Final = 200
_MOST_QUESTIONS: Final = 300
_LOOKS_AHEAD: Final = 3
"""What the broker keeps is there at once, what devices are asked for a moment later. So much later the announcements
for Home Assistant count, which many devices have besides their own."""
_UNFIT: Final = re.compile(r"[^a-z0-9]+")
_TELLING: Final = re.compile(r"[A-Za-z0-9:/._-]+")
"""Keys that differ enough when only letters and digits are left of them."""
_LONGEST_NAME: Final = 40


@dataclass(slots=True)
class Sight:
    """A device that was found, ready to be used.

    `driver` is the name of its driver: a bundled one, or that of `template`, the text of a file to be written.
    `readings` are its newest values by point name with their units, `states` what its capabilities say.
    """

    device: FoundDevice
    driver: str
    template: str | None
    reads: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    readings: dict[str, tuple[float, str]] = field(default_factory=dict)
    states: dict[str, Value] = field(default_factory=dict)

    def renew(self, device: FoundDevice) -> None:
        """Take what is announced of the device now, if it is used in the same way."""
        same = (device.driver, device.options) == (self.device.driver, self.device.options)
        if same and device.template == self.device.template:
            self.device = device


@dataclass(frozen=True, slots=True)
class Result:
    """What a search saw: devices that can be used, those that cannot (with the reason), refused messages by reason."""

    sights: tuple[Sight, ...]
    unusable: tuple[tuple[FoundDevice, str], ...]
    refused: Mapping[str, int]


class Search:
    """Listens for devices over one connection, for as long as its context lasts."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._collectors = [make() for make in COLLECTORS]
        self._sights: dict[str, Sight] = {}
        self._unusable: dict[str, tuple[FoundDevice, str]] = {}
        self._twice: set[str] = set()
        """Devices that announced themselves in another way already: their values come on the same topics."""
        self._telling: dict[str, str] = {}
        """Topics on which values come, and by which announcement they are known."""
        self._drivers: list[Driver] = []
        self._asked: set[tuple[str, str]] = set()
        self._looks: Counter[str] = Counter()
        """How often announcements for Home Assistant were seen that do not count yet."""

    @asynccontextmanager
    async def listening(self, drafts: Path) -> AsyncIterator["Search"]:
        """Listen. `drafts` is an empty folder for templates. Raises UnavailableError if the other side is away."""
        tasks = [asyncio.create_task(self._connection.run())]
        try:
            await self._connected()
            for collector in self._collectors:
                for topic in collector.topics:
                    await self._connection.subscribe(topic, _handler(collector), 0)
            await self._ask()
            tasks.append(asyncio.create_task(self._look(drafts)))
            yield self
            for driver in self._drivers:
                with suppress(UnavailableError):
                    await driver.stop()
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):  # not that it was cancelled
                    raise outcome

    async def _connected(self) -> None:
        up = asyncio.Event()
        self._connection.observe(lambda there: up.set() if there else None)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await up.wait()
        except TimeoutError:
            text = "The broker cannot be reached: is it running, and are host, port and password right?"
            raise UnavailableError(text) from None

    async def _look(self, drafts: Path) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look_once(drafts)

    async def _look_once(self, drafts: Path) -> None:
        await self._ask()
        for device in self._found():
            if device.key in self._sights:
                self._sights[device.key].renew(device)
            elif not self._is_known(device):
                await self._use(device, drafts)

    async def _ask(self) -> None:
        """Ask what was not asked yet. What cannot be sent now is asked later."""
        for question in [each for collector in self._collectors for each in collector.questions()]:
            if question in self._asked or len(self._asked) >= _MOST_QUESTIONS:
                continue
            with suppress(UnavailableError):
                await self._connection.publish(*question, 0)
                self._asked.add(question)

    def _is_known(self, device: FoundDevice) -> bool:
        """Return whether a device need not be looked at, or not yet."""
        if device.key in self._twice:
            return True
        if device.key in self._unusable:  # what it announces now may be another thing
            return self._unusable[device.key][0] == device
        if device.source != HOME_ASSISTANT:
            return False
        self._looks[device.key] += 1
        return self._looks[device.key] <= _LOOKS_AHEAD

    def _found(self) -> Iterator[FoundDevice]:
        for collector in self._collectors:
            yield from collector.devices()

    async def _use(self, device: FoundDevice, drafts: Path) -> None:
        """Listen to what a device says."""
        self._unusable.pop(device.key, None)
        try:
            sight, driver = self._sight(device, drafts)
        except InvalidError as error:
            self._unusable[device.key] = (device, str(error))
            return
        telling = driver.telling() if isinstance(driver, TemplatedDevice) else frozenset[str]()
        if any(self._telling.get(topic, device.source) != device.source for topic in telling):
            self._twice.add(device.key)
            return
        self._telling |= dict.fromkeys(telling, device.source)
        self._sights[device.key] = sight
        if len(self._drivers) < _MOST_LIVE:
            self._drivers.append(driver)
            with suppress(UnavailableError):
                await driver.start(partial(_note, sight, driver), partial(_note_state, sight))

    def _sight(self, device: FoundDevice, drafts: Path) -> tuple[Sight, Driver]:
        if device.template is None and device.driver is None:
            if device.speaks or len(device.skipped) == 1:  # its owner can
                raise InvalidError(device.skipped[0][1])
            why = f" {device.skipped[0][0]}: {device.skipped[0][1]}" if device.skipped else ""
            raise InvalidError(f"Nothing of it can be used here.{why}")
        spec = DeviceSpec("found", device.driver or "", device.role, None, device.options)
        if device.template is None:
            name, text, module = device.driver or "", None, load(device.driver or "")
        else:
            name, text = template_name(device.key), template_text(device.template)
            path = drafts / f"{name}.yaml"
            path.write_text(text, encoding="utf-8")
            module = TemplateModule(Template(path))
        driver = module.create(replace(spec, driver=name), self._connection, self._clock)
        about = driver.describe()
        reads = tuple(point.id.removeprefix("found.") for point in about.points)
        return Sight(device, name, text, reads, tuple(one.name for one in about.capabilities)), driver

    def result(self) -> Result:
        """Return what was seen until now."""
        refused: dict[str, int] = {}
        for collector in self._collectors:
            for reason, count in collector.refused.items():
                refused[reason] = refused.get(reason, 0) + count
        there = {device.key for device in self._found()}
        sights = [sight for key, sight in sorted(self._sights.items()) if key in there]
        unusable = [each for key, each in sorted(self._unusable.items()) if key in there and not self._heard(each[0])]
        return Result(tuple(sights), tuple(unusable), refused)

    def _heard(self, device: FoundDevice) -> bool:
        """Return whether a device that cannot be used by itself is, by another announcement."""
        return bool(device.speaks) and any(topic.startswith(device.speaks) for topic in self._telling)


def _handler(collector: Collector) -> Callable[[Message], None]:
    return lambda message: collector.take(message.topic, message.payload)


def _note(sight: Sight, driver: Driver, reading: Reading) -> None:
    units = {point.id: point.unit for point in driver.describe().points}
    sight.readings[reading.point.removeprefix("found.")] = (reading.value, units.get(reading.point, ""))


def _note_state(sight: Sight, kind: CapabilityKind, value: Value, _: datetime | None) -> None:
    sight.states[kind] = value


def template_name(key: str) -> str:
    """Return the file name of a device's own template, always the same for the same device, and its alone."""
    name = "found_" + _UNFIT.sub("_", key.lower()).strip("_")[:_LONGEST_NAME]
    tells_all = _TELLING.fullmatch(key) is not None and len(key) <= _LONGEST_NAME
    return name if tells_all else f"{name}_{sha256(key.encode()).hexdigest()[:8]}"


def template_text(template: Mapping[str, Any]) -> str:
    """Return a template as the text of its file."""
    return yaml_text(template)


async def search(connection: Connection, clock: Clock, seconds: float) -> Result:
    """Listen for so long and return what was seen. Raises UnavailableError if the other side is away."""
    finder = Search(connection, clock)
    with tempfile.TemporaryDirectory() as drafts:
        async with finder.listening(Path(drafts)):
            await asyncio.sleep(seconds)
        return finder.result()
