"""The driver of every device that a template describes: it hears topics and publishes orders as the template says."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, Final

import structlog

from bridges import senml
from bridges.connected_device import ConnectedDevice, options_of
from bridges.connections import Connection, Handler, Message
from bridges.device import (
    Capability,
    CapabilityKind,
    Command,
    Contact,
    Device,
    DeviceSpec,
    Driver,
    StateListener,
    Value,
    same,
)
from bridges.senml import finite, parse_json, read_stamp
from bridges.template import (
    LEASE,
    VALUE,
    Ask,
    CapabilityBody,
    CommandTemplate,
    DeviceBody,
    PointSource,
    Presence,
    Start,
    StateSource,
    StateTemplate,
    Template,
    meaning,
)
from bridges.value_template import read
from core.clock import Clock, pause
from core.errors import InvalidError, UnavailableError
from core.points import UNITS, Point, Reading, to_unit
from core.spans import shifted

_log = structlog.get_logger(__name__)

_LONGEST: Final = 64
_LONGEST_INDEX: Final = 10
_MOST_FAULTS: Final = 5
_MOST_ELEMENTS: Final = 5_000
_ONE_START_S: Final = 5.0
"""A device that connects may say so twice: online, then its announcement."""
_GRACE_S: Final = 60
"""A device gives itself back so much later than we do."""
_LONGEST_LEASE_S: Final = 7 * 86_400.0
"""No order lasts longer; a shorter timer would end it early."""
_RETRY_S: Final = 5.0
_EARLY: Final = timedelta(seconds=10)
_LATE: Final = timedelta(seconds=20)
"""A device's timer is so exact, and says so within that time; an order may have come to it late."""
_STATE_PLACE: Final = 3
"""So long is the place of a state in a template; that of a part's is longer."""
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SEGMENT: Final = re.compile(r"[:/]")

_Word = str | bool | float
_Stamped = list[tuple[str, datetime, float]]
"""Values of one message with times of their own: point, time, value."""
_Use = Callable[[_Word, bool], None]
"""Takes what a source says, and whether it was stored on the way."""


def create(template: Template, device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
    """Return the driver of one device of a template. Raises InvalidError where its options are wrong."""
    options = options_of(template.options, device)
    try:
        body = template.body(options)
    except InvalidError as error:
        raise InvalidError(f"Device {device.id} ({device.driver}): {error}") from error
    kind = TemplatedDevice if body.history is None else RememberingDevice
    return kind(device, body, connection, clock)


class TemplatedDevice(ConnectedDevice):
    """One device as its template describes it."""

    def __init__(self, spec: DeviceSpec, body: DeviceBody, connection: Connection, clock: Clock) -> None:
        points = tuple(Point(f"{spec.id}.{name}", *meaning(name, source)) for name, source in body.points.items())
        capabilities = tuple(
            _capability(kind, capability, readable=bool(body.ask)) for kind, capability in body.capabilities.items()
        )
        super().__init__(Device(spec.id, spec.role, points, capabilities, spec.nominal_w), connection, clock)
        self._body = body
        self._names = {id(source): name for name, source in body.points.items()}
        self._units = {point.id.removeprefix(f"{spec.id}."): UNITS[point.quantity] for point in points}
        self._present: bool | None = None
        self._missing: set[int] = set()
        """What stands before the device and is away, by the number of its `starts`."""
        self._back_s = -math.inf
        self._heard: timedelta | None = None
        self._silence = None if body.silence_s is None else timedelta(seconds=body.silence_s)
        self._before: dict[CapabilityKind, Value] = {}
        """What it did before us."""
        self._ordered: dict[CapabilityKind, tuple[Value, timedelta]] = {}
        """What it was told last, and when, by the clock that cannot be set."""
        self._timers: dict[CapabilityKind, asyncio.Task[None]] = {}
        """Who watches out for the ends of its timers."""
        self._templates = {text: read(text) for _, source in body.sources() if (text := source.template) is not None}
        self._parts: dict[CapabilityKind, dict[int, str]] = {}
        """What the relays of a mode do, by their places."""
        self._subscriptions = tuple(self._listen())

    @property
    def online(self) -> bool:
        """Whether the device is believed to be reachable: our link is up and its last will has not spoken."""
        return self.connection.connected and self._present is not False and not self._missing

    def subscriptions(self) -> tuple[tuple[str, Handler, int], ...]:
        """Return topics, handlers and QoS."""
        return self._subscriptions

    def telling(self) -> frozenset[str]:
        """Return the topics on which its values and states come."""
        states = (source.topic for body in self._body.capabilities.values() for _, source in body.sources())
        return frozenset([*states, *(source.topic for source in self._body.points.values())])

    def hush(self) -> None:
        """Take nothing for a person's doing for a moment; how long the device was not heard has its reason now."""
        super().hush()
        self._heard = self.clock.elapsed()

    async def start(self, on_reading: Callable[[Reading], None], on_state: StateListener) -> None:
        """Begin to listen, and to remind the devices that have to be reminded."""
        await super().start(on_reading, on_state)
        for ask in self._body.ask:
            if ask.every_s is not None:
                self.in_background(self._remind(ask, ask.every_s))

    async def greet(self) -> None:
        """Ask for everything the device has to say, where the template knows how."""
        for ask in self._body.ask:
            await self.connection.publish(ask.topic, ask.payload)

    async def _remind(self, ask: Ask, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(UnavailableError):  # it is asked when the link is back
                await self.connection.publish(ask.topic, ask.payload)

    async def apply(self, capability: CapabilityKind, value: Value, until: datetime | None = None) -> None:
        """Send an order, then ask for the state, so that a device that was there already confirms, too."""
        body = self._body.capabilities.get(capability)
        if body is None:
            raise InvalidError(f"{self.device.id} has no {capability}.")
        words = _their_words(self.device.id, capability, body, value)
        lease_s, now = None, self.clock.elapsed()
        if until is None:
            self._before.pop(capability, None)
        elif body.has_lease and self._reverts(capability, value):
            lease_s = self._lease_s(until)
            self._expect(capability, value, now, now + timedelta(seconds=lease_s))
        self._ordered[capability] = value, now
        self.speak()
        await self._tell(body, words, lease_s)
        await self.greet()

    def recall(self, capability: CapabilityKind, before: Value | None, order: Command) -> None:
        """Take notice of the last order of an earlier life: its timer may still run in the device."""
        left = order.until - self.clock.now() + timedelta(seconds=_GRACE_S)
        now = self.clock.elapsed()
        if before is not None:
            self._before[capability] = before
            self._ordered[capability] = order.value, now
        if -_LATE < left <= timedelta(seconds=_LONGEST_LEASE_S + _GRACE_S):
            self._expect(capability, order.value, now if before is not None else None, now + left)

    async def _tell(self, body: CapabilityBody, words: Sequence[str], lease_s: int | None = None) -> None:
        for order, word in zip(body.orders, words, strict=True):
            text = order.payload
            if lease_s is not None and order.lease is not None:
                text = order.lease.replace(LEASE, str(lease_s))
            await self.connection.publish(order.topic, text.replace(VALUE, word), order.qos, retain=order.retain)

    def _expect(self, capability: CapabilityKind, value: Value, since: timedelta | None, flip: timedelta) -> None:
        """Watch out for the end of a timer of the device's own; of several that of the last order counts.

        Its order went out at `since`; None: something else was ordered after it.
        """
        if (before := self._timers.get(capability)) is not None:
            before.cancel()
        self._timers[capability] = self.in_background(self._outlast(capability, value, since, flip))

    async def _outlast(
        self, capability: CapabilityKind, value: Value, since: timedelta | None, flip: timedelta
    ) -> None:
        """Undo what a timer does that ran on after its order: the device was given back, or taken by hand.

        Not every maker says whether a new order, or a hand, ends the timer of an old one. What changes at another time
        is somebody's hand.
        """
        await pause(self.clock, flip + _LATE - self.clock.elapsed())
        change, (last, last_at) = self.changed(capability), self._ordered.get(capability, (value, since))
        if change is None or not flip - _EARLY <= change[0] <= flip + _LATE:
            return
        in_force = since is not None and last_at == since and same(change[1], value)
        state = self.state(capability)
        ours = last_at is not None and last_at >= flip - _EARLY and state is not None and same(state, last)
        if in_force or ours:
            return
        _log.warning("a timer of the device's own ran on; it is given back again", device=self.device.id)
        body, sent = self._body.capabilities[capability], False
        words = _their_words(self.device.id, capability, body, change[1])
        while not sent and self._ordered.get(capability, (value, since))[1] == last_at:
            try:
                await self._tell(body, words)
                sent = True
            except UnavailableError:
                await asyncio.sleep(_RETRY_S)

    def _reverts(self, capability: CapabilityKind, value: Value) -> bool:
        """Tell whether a device that goes back by itself would go back to what it did before us.

        Such a device changes to the other state; one that was as it is told to be would end in another one.
        """
        state, last, change = self.state(capability), self._ordered.get(capability), self.changed(capability)
        if state is not None and last is not None and change is not None and same(change[1], last[0]):
            # It did what it was told, and then something else; what comes soon may still answer an earlier order.
            by_hand = not same(state, last[0]) and change[0] > last[1] + _EARLY
            self._before |= {capability: state} if by_hand else {}
        if state is not None:
            self._before.setdefault(capability, state)
        before = self._before.get(capability)
        return before is not None and not same(before, value)

    def _lease_s(self, until: datetime) -> int:
        """Return the length of a lease: we give the device back first, and only without us it does so itself."""
        left_s = (until - self.clock.now()).total_seconds()
        return math.ceil(min(max(left_s, 0.0), _LONGEST_LEASE_S)) + _GRACE_S

    # -- what is heard

    def _listen(self) -> Iterator[tuple[str, Handler, int]]:
        """Yield one handler a topic: a message may tell several things at once."""
        uses: dict[str, list[tuple[StateTemplate, _Use]]] = {}
        records: dict[str, dict[str, str]] = {}
        for place, source in self._body.sources():
            if isinstance(source, PointSource) and source.record is not None:
                records.setdefault(source.topic, {})[source.record] = str(place[1])
            else:
                uses.setdefault(source.topic, []).append((source, self._use(place, source)))
        qos: dict[str, int] = {}
        for _, source in self._body.sources():
            qos[source.topic] = max(source.qos, qos.get(source.topic, 0))
        for topic, listeners in uses.items():
            yield topic, partial(self._take, listeners), qos[topic]
        for topic, names in records.items():
            yield topic, partial(self._take_records, names), qos[topic]

    def _use(self, place: Sequence[str | int], source: StateTemplate) -> _Use:
        match place[0], source:
            case "points", PointSource():
                return partial(self._take_value, str(place[1]))
            case "capabilities", StateSource() if len(place) > _STATE_PLACE:
                return partial(self._take_part_state, CapabilityKind(str(place[1])), int(place[3]), source)
            case "capabilities", StateSource():
                return partial(self._take_state, CapabilityKind(str(place[1])), source)
            case _, Presence():
                return partial(self._take_presence, source)
            case _, Start():
                return partial(self._take_start, int(place[1]), source)
            case _:
                raise AssertionError(f"a source of no use: {place}")

    def _take(self, listeners: Sequence[tuple[StateTemplate, _Use]], message: Message) -> None:
        """Give every listener its part of a message; a part that is wrong spoils no other. Raises InvalidError."""
        faults: dict[str, None] = {}
        content = _Content(message)
        stamped: _Stamped = []
        for source, use in listeners:
            try:
                if not source.is_json:
                    word = self._word(source, message, content)
                    if word is not None:
                        use(word, message.retained)
                    continue
                around = content.json()
                meant = all(_says(around, path, wanted) for path, wanted in source.message.items())
                parts = _elements(around, source.each) if meant else ()
            except InvalidError as error:
                faults[str(error)] = None
                continue
            for part in parts:
                try:
                    self._take_part(source, use, part, stamped, retained=message.retained)
                except InvalidError as error:
                    faults[str(error)] = None
        self._pass_on_stamped(stamped, retained=message.retained)
        if faults:
            raise InvalidError("; ".join(list(faults)[:_MOST_FAULTS]))

    def _word(self, source: StateTemplate, message: Message, content: "_Content") -> _Word | None:
        """Return what a message says as a whole."""
        if source.template is None:
            return _text(message)
        return self._templates[source.template].value(message.payload, content.json)

    def _take_part(self, source: StateTemplate, use: _Use, part: Any, stamped: _Stamped, *, retained: bool) -> None:
        word = None if source.path is None else _at(part, source.path)
        if word is None or not all(_says(part, path, wanted) for path, wanted in source.where.items()):
            return
        if isinstance(source, PointSource) and source.time is not None:
            stamp = _at(part, source.time)
            if stamp is None:
                raise InvalidError(f"There is no time at {source.time}.")
            stamped.append((self._names[id(source)], read_stamp(stamp), _number(word)))
        else:
            use(word, retained)

    def _pass_on_stamped(self, values: _Stamped, *, retained: bool) -> None:
        """Pass on values that carry their own time, oldest first; they are as old as they say, stored or not."""
        if not values:
            return
        off = self.correction((at for _, at, _ in values), retained=retained)
        if not retained:
            self._note_life()
        for name, at, number in sorted(values, key=itemgetter(1)):
            self._pass_on(name, shifted(at, off.total_seconds()), number, "")

    def _take_records(self, names: dict[str, str], message: Message) -> None:
        """Take a SenML pack: its values carry their own time."""
        records = senml.read(message.payload, None if message.retained else self.clock.now())
        off = self.correction((record.at for record in records), retained=message.retained)
        if not message.retained:
            self._note_life()
        for record in records:
            name = names.get(record.label) or names.get(_SEGMENT.split(record.name)[-1])
            if name is not None and not isinstance(record.value, bool | str | None):
                self._pass_on(name, shifted(record.at, off.total_seconds()), record.value, record.unit)

    def _take_value(self, name: str, word: _Word, retained: bool) -> None:
        if not retained:  # an old value without a time says nothing
            number = _number(word)
            self._note_life()
            self._pass_on(name, self.clock.now(), number, "")

    def _pass_on(self, name: str, at: datetime, value: float, unit: str) -> None:
        source, ours = self._body.points[name], self._units[name]
        converted = to_unit(source.ours(value), unit or source.unit or ours, ours)
        period = None if source.period_s is None else timedelta(seconds=source.period_s)
        self.reading(name, at if source.period_s is None else shifted(at, -source.period_s), converted, period)

    def _take_state(self, kind: CapabilityKind, source: StateSource, word: _Word, retained: bool) -> None:
        value = _our_words(kind, self._body.capabilities[kind], source, word)
        if (warning := source.warn.get(_spelled(word))) is not None:
            _log.warning(warning, device=self.device.id, capability=kind)
        if retained:
            self.note_stored(kind, value)
            return
        self._note_life()
        self.report(kind, value)

    def _take_part_state(
        self, kind: CapabilityKind, index: int, source: StateSource, word: _Word, retained: bool
    ) -> None:
        """Take what one of several relays says; together they say what the device does."""
        body, parts = self._body.capabilities[kind], self._parts.setdefault(kind, {})
        spelled = _spelled(word)
        told = source.words.get(spelled) if source.words else spelled
        if told is None or told not in body.parts[index].set.words.values():
            raise InvalidError(f"{spelled!r:.80} is not the state of a part of a {kind}.")
        parts[index] = told
        if not retained:
            self._note_life()
        values = [
            value
            for value in body.values
            if all(part.set.words[value] == parts.get(place) for place, part in enumerate(body.parts))
        ]
        if values and retained:
            self.note_stored(kind, values[0])
        elif values:
            self.report(kind, values[0])

    def _take_presence(self, presence: Presence, word: _Word, retained: bool) -> None:
        spelled = _spelled(word)
        if spelled in presence.offline:
            self._note_absence()
        elif spelled not in presence.online:
            if presence.online:
                _log.warning("a device's presence is said in an unknown word", device=self.device.id, word=spelled)
        elif retained:
            self._note_life()
        else:
            self._note_return()

    def _take_start(self, number: int, start: Start, word: _Word, retained: bool) -> None:
        spelled = _spelled(word)
        if spelled in start.offline:
            if number not in self._missing:
                self._missing.add(number)
                self.announce(Contact.LOST)
            return
        if start.equals is not None and spelled != start.equals:
            return
        missed = number in self._missing
        self._missing.discard(number)
        if missed or (not retained and time.monotonic() - self._back_s > _ONE_START_S):
            self._note_return()

    def _note_life(self) -> None:
        """Take any sign of life: a device that was away, or silent for too long, is back."""
        heard, now = self._heard, self.clock.elapsed()
        self._heard = now
        silent = self._silence is not None and heard is not None and now - heard > self._silence
        if self._present is False or silent:
            self._note_return()
        self._present = True

    def _note_return(self) -> None:
        """Take notice that the device connected anew: what it does now it started with, or did without us."""
        self._present, self._back_s = True, time.monotonic()
        self.hush()
        self.in_background(self._greet_quietly())
        self.announce(Contact.RESTARTED)

    def _note_absence(self) -> None:
        before, self._present = self._present, False
        if before is not False:
            self.announce(Contact.LOST)


class RememberingDevice(TemplatedDevice):
    """A device that can be asked for its history."""

    async def history(self, since: datetime, until: datetime) -> None:
        """Ask for the readings in [since, until]."""
        memory = self._body.history
        if memory is not None:
            await self.ask_history(memory.topic, since, until, None)


class _Content:
    """The JSON of a message, parsed once for all that ask for it."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._parsed: list[Any] = []
        self._fault = ""

    def json(self) -> Any:
        """Return it. Raises InvalidError for what is none."""
        if self._fault:
            raise InvalidError(self._fault)
        if not self._parsed:
            try:
                self._parsed.append(parse_json(self._message.payload))
            except InvalidError as error:
                self._fault = str(error)
                raise
        return self._parsed[0]


def _capability(kind: CapabilityKind, body: CapabilityBody, *, readable: bool) -> Capability:
    return Capability(
        kind,
        body.normal,
        body.unit,
        body.values,
        body.low,
        body.high,
        body.floor,
        hardware_lease=body.has_lease,
        readable=readable and body.readback,
        min_interval=timedelta(seconds=body.min_interval_s),
        readback=body.readback,
        text=body.text,
    )


def _their_words(device: str, kind: CapabilityKind, body: CapabilityBody, value: Value) -> tuple[str, ...]:
    """Return a value as the device is told it, by each order. Raises InvalidError for what it does not take."""
    return tuple(_their_word(device, kind, body, order, value) for order in body.orders)


def _their_word(device: str, kind: CapabilityKind, body: CapabilityBody, order: CommandTemplate, value: Value) -> str:
    if body.text:
        text = str(value)
        return json.dumps(text)[1:-1] if order.payload != VALUE and order.payload.lstrip()[:1] in ("{", "[") else text
    if body.values:
        if value not in body.values:
            raise InvalidError(f"{kind} of {device} is {' or '.join(body.values)}, not {value!r:.40}.")
        return order.words.get(str(value), str(value))
    if isinstance(value, bool | str):
        raise InvalidError(f"{kind} of {device} is a number, not {value!r:.40}.")
    return f"{finite(order.theirs(value)):.6f}".rstrip("0").rstrip(".")


def _our_words(kind: CapabilityKind, body: CapabilityBody, source: StateSource, word: _Word) -> Value:
    """Return what a device's word on its state means. Raises InvalidError for a word that means nothing."""
    if body.text:
        return _spelled(word)
    if not body.values:
        return finite(source.ours(_number(word)))
    spelled = _spelled(word)
    value = source.words.get(spelled) if source.words else spelled
    if value not in body.values:
        raise InvalidError(f"{spelled!r:.80} is not the state of a {kind}.")
    return value


def _text(message: Message) -> str:
    if len(message.payload) > _LONGEST:
        raise InvalidError(f"{len(message.payload)} bytes are too long for one value.")
    return message.payload.decode("utf-8", "replace").strip()


def _at(node: Any, path: str) -> _Word | None:
    """Return what stands at a path in JSON, None where nothing does. Raises InvalidError for what is no value."""
    node = _node(node, path)
    if node is None or isinstance(node, bool | str | float):
        return node
    if isinstance(node, int):
        try:
            return float(node)
        except OverflowError as error:
            raise InvalidError(f"The number at {path} is out of range.") from error
    raise InvalidError(f"What stands at {path} is no single value.")


def _node(node: Any, path: str) -> Any:
    """Follow a path; None where it leads nowhere."""
    for part in _steps(path):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdecimal() and len(part) < _LONGEST_INDEX and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[str, ...]:
    """Return the steps of a path: a JSON Pointer (RFC 6901), or names with dots between them."""
    if path == "/":
        return ()
    if path.startswith("/"):
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))
    return tuple(path.split("."))


def _elements(content: Any, each: str | None) -> Sequence[Any]:
    """Return the parts of a message that are read singly."""
    if each is None:
        return (content,)
    elements = _node(content, each)
    if elements is None:
        return ()
    if not isinstance(elements, list):
        raise InvalidError(f"What stands at {each} is no array.")
    if len(elements) > _MOST_ELEMENTS:
        raise InvalidError(f"{len(elements)} elements at {each} are too many; at most {_MOST_ELEMENTS} are read.")
    return elements


def _says(part: Any, path: str, wanted: str) -> bool:
    node = _node(part, path)
    if node is None or isinstance(node, dict | list):
        return False
    spelled = _spelled(node) if isinstance(node, bool | str | float) else str(node)
    return spelled == wanted


def _spelled(word: _Word) -> str:
    """Return a word as JSON spells it."""
    if isinstance(word, bool):
        return "true" if word else "false"
    if isinstance(word, float):
        return f"{word:.15g}"
    return word[:_LONGEST]


def _number(word: _Word) -> float:
    if isinstance(word, bool):
        raise InvalidError(f"{_spelled(word)} is not a number.")
    if isinstance(word, str) and not _NUMBER.fullmatch(word.strip()):  # Python's own reads 1_000, and other alphabets
        raise InvalidError(f"{word!r:.80} is not a number.")
    return finite(float(word))
