"""Device templates: what a YAML file says of a kind of device whose messages are only data.

A template names its parameters; `{name}` in any of its texts stands for one. Filled in with the options of a device it
is a `DeviceBody`, which `bridges.templated` turns into a driver. What is wrong in a template is found when it is read,
with its parameters' defaults and examples filled in, and named with file, line and column.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import SchemaError

from bridges.connected_device import POINTS
from bridges.connections import ConnectionKind
from bridges.device import CapabilityKind, same
from bridges.value_template import MOST_TEMPLATE, read
from bridges.yaml_file import FileError, Place, YamlFile
from core.errors import InvalidError
from core.fault_words import faults_in_a_line, near_words
from core.points import UNITS, Flow, Kind, Phase, Quantity, to_unit

VALUE: Final = "{value}"
"""Stands in an order for the value in the device's words."""
LEASE: Final = "{lease_s}"
"""Stands in an order for the seconds after which the device itself goes back."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_IN_ORDERS: Final = frozenset({VALUE, LEASE})


def _as_text(value: object) -> object:
    """Take `true` and `1`, which people write without quotes, for the words that a device would send."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _as_texts(value: object) -> object:
    """Take a single word for a list of it."""
    return tuple(_as_text(each) for each in value) if isinstance(value, list) else (_as_text(value),)


def _readable(text: str) -> str:
    try:
        read(text)
    except InvalidError as error:
        raise ValueError(str(error)) from error
    return text


Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=200)]
Topic = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=512, pattern=r"^[^+#\x00]+$")]
Word = Annotated[str, BeforeValidator(_as_text), Field(max_length=64)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_as_texts), Field(min_length=1, max_length=20)]
JsonPath = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Parameter(_Part):
    """What a household says of its own device. Without a default it must be said; then the example shows how."""

    title: str = Field(min_length=1, max_length=60)
    description: str = Field(min_length=1, max_length=200)
    type: Literal["text", "integer", "number"] = "text"
    pattern: str | None = Field(None, max_length=200)
    max_length: int = Field(64, ge=1, le=512)
    values: tuple[Word, ...] = ()
    low: Number | None = None
    high: Number | None = None
    default: str | int | float | None = None
    example: str | int | float | None = None

    @model_validator(mode="after")
    def _one_to_try(self) -> Self:
        if self.default is None and self.example is None:
            raise ValueError("give a default, or an example")
        if self.type == "text" and (self.low is not None or self.high is not None):
            raise ValueError("low and high are for numbers: add `type: number` or `type: integer`")
        if self.type != "text" and (self.pattern is not None or self.values):
            raise ValueError("pattern and values are for text")
        return self

    def field(self) -> tuple[Any, Any]:
        """Return the parameter as a field of the model of a device's options."""
        default: Any = ... if self.default is None else self.default
        about: dict[str, Any] = {"title": self.title, "description": self.description, "validate_default": True}
        if self.values:
            return Literal[self.values], Field(default, **about)
        if self.type == "text":
            return str, Field(default, min_length=1, max_length=self.max_length, pattern=self.pattern, **about)
        kind = int if self.type == "integer" else float
        return kind, Field(default, ge=self.low, le=self.high, allow_inf_nan=False, **about)


class Head(_Part):
    """What a template says of itself.

    `firmware` and `source` say which version it was written against, and whose document or code says so; `limits` are
    sentences for people; `roles` what such devices usually are in a home.
    """

    title: str = Field(min_length=1, max_length=100)
    description: str = Field("", max_length=1000)
    firmware: str = Field("", max_length=200)
    source: str = Field("", max_length=500)
    limits: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = Field((), max_length=20)
    roles: tuple[Name, ...] = Field((), max_length=10)
    connection: ConnectionKind = ConnectionKind.MQTT
    parameters: dict[Name, Parameter] = Field(default_factory=dict, max_length=30)


_HEAD: Final = tuple(Head.model_fields)
_NO_PATTERN: Final = re.compile(r"^\s*error: (.+)$", re.MULTILINE)


class Scaled(_Part):
    """How the device's number and ours belong together: ours = theirs x scale + offset."""

    scale: Number = 1.0
    offset: Number = 0.0

    @model_validator(mode="after")
    def _no_zero(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale is not zero")
        return self

    def ours(self, theirs: float) -> float:
        """Return our number for the device's."""
        return theirs * self.scale + self.offset

    def theirs(self, ours: float) -> float:
        """Return the device's number for ours."""
        return (ours - self.offset) / self.scale


class StateTemplate(_Part):
    """Where something is heard: the payload as it is, or what lies in it.

    A path leads through JSON: `switch.output`, `phases.0.power`, or a JSON Pointer (RFC 6901) where keys have dots:
    `/values/power.total`. `each` leads to an array whose elements are read singly, `/` being the message itself; only
    those count in which each path of `where` says its word, and only messages in which those of `message` do. Or a
    `template` works the value out, as those of Home Assistant do (`bridges.value_template`). `qos` 0 suits what carries
    no time of its own and would be stale after a wait at the broker.
    """

    topic: Topic
    path: JsonPath | None = None
    template: Annotated[str, Field(min_length=1, max_length=MOST_TEMPLATE), AfterValidator(_readable)] | None = None
    each: JsonPath | None = None
    where: dict[JsonPath, Word] = Field(default_factory=dict, max_length=10)
    message: dict[JsonPath, Word] = Field(default_factory=dict, max_length=10)
    qos: Literal[0, 1] = 0

    @property
    def is_json(self) -> bool:
        """Whether the payload is JSON, not a single word."""
        return self.path is not None or self.each is not None or bool(self.where or self.message)

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if self.path is None and self.is_json:
            raise ValueError("each, where and message are for JSON: give the value's path, too")
        if self.template is not None and self.is_json:
            raise ValueError("path and template are two ways to the value; give one of them")
        return self


class PointSource(StateTemplate, Scaled):
    """Where a point's values come from, and what they are.

    `time` leads to when it was taken (ISO text, UTC unless it says otherwise; or seconds or milliseconds since 1970);
    without it that is its arrival. `record` is the name of a SenML record, which carries its own time. A point whose
    name is one of the usual ones needs no `quantity`. `period_s`: the seconds up to its time that a mean or a sum
    covers.
    """

    time: JsonPath | None = None
    record: Text | None = None
    unit: str | None = Field(None, max_length=20)
    quantity: Quantity | None = None
    kind: Kind | None = None
    flow: Flow = Flow.IMPORT
    phase: Phase = Phase.TOTAL
    period_s: Annotated[Number, Field(gt=0, le=86_400)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.record is not None and (self.is_json or self.template is not None):
            raise ValueError("path and template are for JSON, record for SenML; give one of them")
        if self.time is not None and self.path is None:
            raise ValueError("time is for JSON: give the value's path, too")
        if self.quantity is not None and self.kind is None:
            raise ValueError("a quantity needs a kind: instant, mean, sum or register")
        return self


class StateSource(StateTemplate, Scaled):
    """Where a device says what it does: in words (`words`: theirs to ours) or numbers. `warn`: words to be logged."""

    words: dict[Word, str] = Field(default_factory=dict, max_length=50)
    warn: dict[Word, str] = Field(default_factory=dict, max_length=50)


class CommandTemplate(Scaled):
    """How a device is told: `{value}` in the payload is the value in its words (`words`: ours to theirs), or number.

    `lease` is the payload of an order that ends: after `{lease_s}` seconds the device itself goes back to what it did
    before (a hardware lease).
    """

    topic: Topic
    payload: Annotated[str, BeforeValidator(_as_text), Field(max_length=2000)] = VALUE
    lease: Annotated[str, Field(max_length=2000)] | None = None
    words: dict[Word, Word] = Field(default_factory=dict, max_length=50)
    qos: Literal[0, 1] = 1
    retain: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if VALUE not in self.payload:
            raise ValueError("the payload has no {value} in it, so every order would be the same")
        if self.lease is not None and not all(part in self.lease for part in (VALUE, LEASE)):
            raise ValueError("a lease has {value} and {lease_s} in it")
        if self.lease is not None and self.retain:
            raise ValueError("an order that ends is not retained: the device would begin it anew at each connection")
        return self


class RelayPart(_Part):
    """One of several relays that together make a mode: what each mode is to it, and where it says what it does.

    The words of `set` are ours to theirs, all of them; those of `state`, theirs to the words of `set`.
    """

    state: StateSource
    set: CommandTemplate


class CapabilityBody(_Part):
    """Something the device can be told: one of `values`, a number of `unit`, or (`text`) any text.

    Told by `set`, and heard by `state`, without which orders count as sent and are never confirmed; or by several
    relays (`parts`).
    """

    values: tuple[Word, ...] = Field((), max_length=50)
    text: bool = False
    unit: str = Field("", max_length=20)
    low: Number | None = None
    high: Number | None = None
    floor: Number | None = None
    normal: Annotated[str, Field(max_length=64)] | Number
    min_interval_s: Annotated[Number, Field(ge=0, le=86_400)] = 0.0
    state: StateSource | None = None
    set: CommandTemplate | None = None
    parts: tuple[RelayPart, ...] = Field((), max_length=8)

    @property
    def readback(self) -> bool:
        """Whether the device says what it does."""
        return self.state is not None or bool(self.parts)

    @property
    def orders(self) -> tuple[CommandTemplate, ...]:
        """What is sent when it is told something."""
        return (self.set,) if self.set is not None else tuple(part.set for part in self.parts)

    @property
    def has_lease(self) -> bool:
        """Whether the device goes back by itself."""
        return self.set is not None and self.set.lease is not None

    def sources(self) -> Iterator[tuple[Place, StateSource]]:
        """Yield where it says what it does, and where the template says so."""
        if self.state is not None:
            yield ("state",), self.state
        yield from ((("parts", index, "state"), part.state) for index, part in enumerate(self.parts))

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        if self.parts and (self.set is not None or self.state is not None):
            raise ValueError("parts stand instead of state and set")
        if not self.orders:
            raise ValueError("say how it is told: set, or parts")
        if any(order.lease is not None for order in self.orders) and self.state is None:
            raise ValueError("a lease needs a state: what the device goes back to has to be known")
        if self.text and (self.values or self.unit or self.floor is not None):
            raise ValueError("a text has no values, unit or bounds")
        return self

    @model_validator(mode="after")
    def _words_fit(self) -> Self:
        heard = self.state.words.values() if self.state is not None else ()
        told = self.set.words if self.set is not None else {}
        if self.text:
            if not isinstance(self.normal, str):
                raise ValueError("normal is a text here, such as ''")
        elif self.values:
            if self.normal not in self.values:
                raise ValueError(f"normal is one of the values {', '.join(self.values)}, not {self.normal}")
            unknown = {*heard, *told} - set(self.values)
            if unknown:
                raise ValueError(f"{', '.join(sorted(unknown))} is none of the values {', '.join(self.values)}")
        elif isinstance(self.normal, str):
            raise ValueError("without values it takes numbers, and normal is one, too")
        elif heard or told:
            raise ValueError("words need the values that they stand for")
        elif (
            self.state is not None
            and self.set is not None
            and not same(self.state.ours(self.set.theirs(self.normal)), self.normal)
        ):
            raise ValueError("state and set have different scales: what is set would never be confirmed")
        return self

    @model_validator(mode="after")
    def _parts_tell_all_values(self) -> Self:
        for part in self.parts:
            if set(part.set.words) != set(self.values):
                raise ValueError(f"each part has a word in set for each of the values: {', '.join(self.values)}")
            strange = set(part.state.words.values()) - set(part.set.words.values())
            if strange:
                raise ValueError(f"{', '.join(sorted(strange))} is no word that the part is told")
        ways = [tuple(part.set.words[value] for part in self.parts) for value in self.values if self.parts]
        if len(set(ways)) < len(ways):
            raise ValueError("two of the values are the same to all parts")
        return self


class Presence(StateTemplate):
    """Where the device, or its last will, says whether it is there; other words than these change nothing.

    Without `online` it only says that it goes (a last gasp): whatever it says afterwards means that it is there.
    """

    online: Words = ()
    offline: Words
    qos: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if not set(self.online).isdisjoint(self.offline):
            raise ValueError("online and offline are different words")
        return self


class Start(StateTemplate):
    """A message by which a device announces its start: any, or only those that say `equals`.

    With `offline` it is said by what stands before the device: while that is away, nobody reaches the device.
    """

    equals: Word | None = None
    offline: Annotated[tuple[Word, ...], BeforeValidator(_as_texts), Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.offline and (self.equals is None or self.equals in self.offline):
            raise ValueError("offline needs equals, the word for being there, which is another one")
        return self


class Ask(_Part):
    """What makes a device say everything at once; with `every_s` also so often, for one that falls silent else."""

    topic: Topic
    every_s: Annotated[Number, Field(ge=5, le=86_400)] | None = None
    payload: Annotated[str, BeforeValidator(_as_text), Field(max_length=2000)] = ""


class Memory(_Part):
    """A device that remembers its readings and is asked for them by our convention (`bridges.backfill_request`)."""

    topic: Topic


class DeviceBody(_Part):
    """A template whose parameters are filled in: all that its driver needs to know.

    `silence_s` is for a device that speaks by itself more often than that, and does not say when it starts: what it
    says after a longer silence comes after a power cut, not from a person.
    """

    presence: Presence | None = None
    starts: tuple[Start, ...] = Field((), max_length=10)
    silence_s: Annotated[Number, Field(ge=1, le=86_400)] | None = None
    ask: tuple[Ask, ...] = Field((), max_length=10)
    history: Memory | None = None
    points: dict[Name, PointSource] = Field(default_factory=dict, max_length=100)
    capabilities: dict[CapabilityKind, CapabilityBody] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if not self.points and not self.capabilities:
            raise ValueError("give points that are read, or capabilities that are set")
        return self

    def sources(self) -> Iterator[tuple[Place, StateTemplate]]:
        """Yield everything that is listened to, and where the template says so."""
        if self.presence is not None:
            yield ("presence",), self.presence
        yield from ((("starts", index), start) for index, start in enumerate(self.starts))
        for name, body in self.capabilities.items():
            yield from ((("capabilities", name, *place), source) for place, source in body.sources())
        yield from ((("points", name), source) for name, source in self.points.items())


def meaning(name: str, source: PointSource) -> tuple[Quantity, Kind, Flow, Phase]:
    """Return what a point is. Raises InvalidError where its name does not say, and the template neither."""
    if source.quantity is not None and source.kind is not None:
        return source.quantity, source.kind, source.flow, source.phase
    if name not in POINTS:
        raise InvalidError(f"{name} is none of the usual points ({', '.join(POINTS)}): give it a quantity and a kind.")
    quantity, kind, flow, phase = POINTS[name]
    return quantity, source.kind or kind, flow, phase


class Template:
    """A template that was read and found good: the options of its devices, and what becomes of them."""

    def __init__(self, path: Path) -> None:
        """Read a template; its file's name is its own. Raises FileError."""
        file = YamlFile(path, "template")
        self.name = path.stem
        names = (*_HEAD, *DeviceBody.model_fields)
        if unknown := [name for name in file.values if name not in names]:
            listed = f"; there are {', '.join(names)}"
            raise FileError(
                [
                    file.fault((name,), f"{name}: unknown name{near_words(str(name), names) or listed}")
                    for name in unknown
                ]
            )
        self.head = _validated(file, Head, {name: file.values[name] for name in _HEAD if name in file.values})
        self._rest = {name: value for name, value in file.values.items() if name not in _HEAD}
        faults = list(_unknown_placeholders(self._rest, frozenset(self.head.parameters)))
        if faults:
            raise FileError([file.fault(place, text) for place, text in faults])
        self.options = _options_model(file, self.name, self.head)
        examples = {name: what.example for name, what in self.head.parameters.items() if what.default is None}
        try:
            self.example = _body(self._rest, self.options.model_validate(examples))
        except ValidationError as error:
            prefix: Place = ("parameters",) if error.title == self.options.__name__ else ()
            raise FileError(file.faults(error, prefix, None if prefix else DeviceBody)) from error
        faults = list(_contradictions(self.example))
        if faults:
            raise FileError([file.fault(place, text) for place, text in faults])

    def body(self, options: BaseModel) -> DeviceBody:
        """Fill in a device's options. Raises InvalidError where they do not fit into the template's texts."""
        try:
            return _body(self._rest, options)
        except ValidationError as error:
            raise InvalidError(faults_in_a_line(error.errors())) from error


def _validated(file: YamlFile, model: type[Head], values: Mapping[str, Any]) -> Head:
    try:
        return model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise FileError(file.faults(error, model=model)) from error


def _options_model(file: YamlFile, name: str, head: Head) -> type[BaseModel]:
    """Return the model of a device's options. Raises FileError for a parameter that contradicts itself."""
    config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, protected_namespaces=())
    fields: dict[str, Any] = {}
    for parameter, what in head.parameters.items():
        if f"{{{parameter}}}" in _IN_ORDERS or hasattr(BaseModel, parameter):
            text = f"a parameter cannot be named {parameter}; take another name"
            raise FileError([file.fault(("parameters", parameter), text)])
        fields[parameter] = what.field()
        try:
            create_model("Trial", __config__=config, **{parameter: fields[parameter]}).model_validate(
                {parameter: what.example if what.default is None else what.default}
            )
        except (SchemaError, TypeError) as error:
            text = f"{parameter}: {error!s:.200}"
            if (match := _NO_PATTERN.search(str(error))) is not None:
                text = f"{parameter}.pattern: is no regular expression: {match[1]}"
            raise FileError([file.fault(("parameters", parameter, "pattern"), text)]) from error
        except ValidationError as error:
            raise FileError(file.faults(error, ("parameters",))) from error
    return create_model(f"{name}_options", __config__=config, __doc__=head.title, **fields)


def _body(rest: Mapping[str, Any], options: BaseModel) -> DeviceBody:
    given = options.model_dump()
    # A text may hold others, as a topic holds an id; what stands in those is no placeholder any more.
    plain = {
        name: value
        for name, value in given.items()
        if not isinstance(value, str) or not any(word in value for word in _IN_ORDERS)
    }
    values = {name: _filled(value, plain) if isinstance(value, str) else value for name, value in given.items()}
    return DeviceBody.model_validate_json(json.dumps(_rendered(rest, values), default=str))


def _rendered(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _rendered(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_rendered(value, values) for value in node]
    if isinstance(node, str):
        alone = _PLACEHOLDER.fullmatch(node)
        return values[alone[1]] if alone and alone[1] in values else _filled(node, values)
    return node


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


def _unknown_placeholders(node: Any, names: frozenset[str], place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _unknown_placeholders(value, names, (*place, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _unknown_placeholders(value, names, (*place, index))
    elif isinstance(node, str):
        for name in _PLACEHOLDER.findall(node):
            if name not in names and f"{{{name}}}" not in _IN_ORDERS:
                yield place, f"There is no parameter '{name}'; there are {', '.join(sorted(names)) or 'none'}."


def _contradictions(body: DeviceBody) -> Iterator[tuple[Place, str]]:
    """Yield what only shows when the parts of a template are seen together."""
    heard = any(capability.readback for capability in body.capabilities.values())
    if heard and body.presence is None and not body.starts and body.silence_s is None:
        why = "what a device does after a power cut would be taken for somebody's hand"
        yield ("capabilities",), f"Say how its start is known, by presence, starts or silence_s: {why}."
    senml: dict[str, bool] = {}
    records: set[tuple[str, str]] = set()
    for place, source in body.sources():
        record = source.record if isinstance(source, PointSource) else None
        is_senml = record is not None
        if record is not None and (source.topic, record) in records:
            yield place, f"The record {record} of {source.topic} is another point already."
        records.add((source.topic, record or ""))
        if senml.setdefault(source.topic, is_senml) != is_senml:
            yield place, f"{source.topic} is SenML for one point and not for another."
    for name, source in body.points.items():
        try:
            quantity, kind, _, _ = meaning(name, source)
            to_unit(1.0, source.unit or UNITS[quantity], UNITS[quantity])
        except InvalidError as error:
            yield ("points", name), str(error)
            continue
        if (kind in (Kind.MEAN, Kind.SUM)) != (source.period_s is not None):
            yield ("points", name), "A mean or a sum needs period_s, and nothing else has one."
