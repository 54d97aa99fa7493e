"""The household: what the file `household.yaml` says, as values that have been checked.

`ven.household_file` reads the file. Drivers bring their own options; everything else is here.
"""

import re
from datetime import time, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bridges.connections import ConnectionKind, ConnectionOptions
from bridges.connections.mqtt_options import MqttOptions
from bridges.device import CapabilityKind
from core.errors import InvalidError
from core.fault_words import formed
from core.plausible import HOME_W
from core.spans import Duration
from openadr.model.opt import OptType
from openadr.model.registration import Mode
from openadr.model.signal import WELL_KNOWN_SIGNALS
from openadr.model.target import Target, check_device_classes
from ven import formula
from ven.copy_formats import SITEWHERE_BATCH, TOPICS, CopyFormat
from ven.targets import Targets

_MQTT: Final = "mqtt"
_DAY_S: Final = 86_400
_HOUR_S: Final = 3600
_LEAST_STEP_S: Final = 60
_LEAST_HEARTBEAT_S: Final = 10
_LEAST_CYCLE_S: Final = 120
_LEAST_LEASE_S: Final = 600
_LONGEST_LEASE_S: Final = 7 * _DAY_S


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is written as text, such as PT15M")  # noqa: TRY004  pydantic wants ValueError
    try:
        duration = Duration.parse(value)
        positive = duration.exact_s > 0
    except InvalidError as error:
        raise ValueError(str(error)) from error
    if not positive:
        raise ValueError("a duration here is longer than nothing")
    return duration


Span = Annotated[
    Duration,
    BeforeValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["PT15M", "P20D"]}),
]
"""A positive, exact ISO 8601 duration."""

_IDENT: Final = r"^[^\s/#]+$"
Ident = Annotated[
    str,
    BeforeValidator(formed(re.compile(_IDENT).search, "should have no blanks, / or #; my-home is good")),
    Field(min_length=1, max_length=128, pattern=_IDENT),
]
Word = Annotated[
    float | str,
    Field(
        description="A word such as off; a number in the capability's unit, floor, or a shift from normal (-1K, -25%)."
    ),
]


def _capability(word: object) -> CapabilityKind:
    try:
        return CapabilityKind(str(word))
    except ValueError as error:
        raise ValueError(f"a device has no {word!s:.60}; capabilities are {', '.join(CapabilityKind)}") from error


CapabilityName = Annotated[CapabilityKind, BeforeValidator(_capability)]
CapabilityWords = dict[CapabilityName, Word]
"""What to tell a device, by capability."""


LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


class SignatureUse(StrEnum):
    """How the gateway uses XML signatures (SE-08)."""

    REQUIRED = "required"
    """We sign; what the VTN does not sign well is ignored."""
    OFFERED = "offered"
    """We sign; what the VTN signs badly is ignored."""
    OFF = "off"


class OptMessage(StrEnum):
    """By which message the VTN hears what people choose of an event."""

    CREATED_EVENT = "createdEvent"
    CREATE_OPT = "createOpt"


class Listen(_Part):
    """Where the VTN's messages come in, in push mode."""

    host: str = Field("0.0.0.0", description="Address to listen at.")  # noqa: S104  the VTN is elsewhere
    port: int = Field(8446, ge=1, le=65535, description="And its port.")
    address: str = Field(
        pattern=r"^https?://[^\s?#]+$",
        max_length=1000,
        description="What the VTN is told: how it reaches this gateway, such as https://home.example.com:8446.",
    )
    proxy_secret: str | None = Field(
        None,
        min_length=16,
        max_length=200,
        description="Where TLS ends at a proxy on this machine, which lets only the VTN in: what it says in "
        "X-Proxy-Secret. `host` is a loopback address then.",
    )


class Vtn(_Part):
    """How to talk to the VTN; the rest comes from enrolment."""

    url: str | None = Field(None, description="OpenADR base URL, where it differs from the one enrolment gave.")
    poll: Span = Field(Duration.of(minutes=1), description="Poll period (world time) if the VTN names none.")
    jitter: float = Field(0.1, ge=0, le=1, description="Share of the poll period that is added at random.")
    time_out_s: float = Field(10, ge=5, le=600, description="Seconds to wait for an answer.")
    shortest_poll: Span = Field(Duration.of(seconds=1), description="Not polled more often, whatever the VTN asks for.")
    longest_poll: Span = Field(Duration.of(hours=1), description="Not polled more rarely, whatever the VTN asks for.")
    longest_wait_s: float = Field(60, ge=1, le=3600, description="Longest pause before a message is tried again.")
    query: bool = Field(True, description="Ask who the VTN is before registering.")
    check_hostname: bool = Field(True, description="Compare the server's certificate with the URL's host name.")
    signatures: SignatureUse = Field(
        SignatureUse.OFF,
        description="XML signatures: required (we sign, and ignore what the VTN does not sign well), offered (we sign, "
        "and ignore what it signs badly), off.",
    )
    opts: OptMessage = Field(
        OptMessage.CREATED_EVENT,
        description="By which message the VTN hears what people choose of an event: createdEvent, or createOpt for a "
        "VTN that serves EiOpt.",
    )

    mode: Mode = Field(Mode.PULL, description="pull: ask the VTN for messages; push: it sends them to `listen`.")
    listen: Listen | None = Field(None, description="Needed in push mode.")

    @model_validator(mode="after")
    def _listens(self) -> Self:
        if (self.mode is Mode.PUSH) != (self.listen is not None):
            raise ValueError("mode: push and listen go together")
        if self.listen is not None and self.listen.proxy_secret and self.listen.host not in LOOPBACK:
            raise ValueError("listen.proxy_secret is for a proxy on this machine: listen.host is 127.0.0.1 or ::1")
        plain = self.url is not None and self.url.startswith("http://")
        if self.listen is not None and self.listen.address.startswith("http://") and not plain:
            raise ValueError(
                "listen.address begins with https://: a VTN that is called by https pushes by nothing else"
            )
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if not 1 <= self.shortest_poll.exact_s <= self.longest_poll.exact_s <= _DAY_S:
            raise ValueError("shortest_poll is a second at least, longest_poll not shorter and a day at most")
        return self


Number = Annotated[float, Field(allow_inf_nan=False)]


class CapabilityLimits(_Part):
    """What the household knows better than the driver about one capability."""

    floor: Number | None = Field(None, description="Least value that an event may ask for.")
    low: Number | None = None
    high: Number | None = None
    normal: Number | str | None = Field(None, description="Restored when the state before is not known.")
    min_interval: Span | None = Field(None, description="Least time between two writes.")


_COMFORT: Final = re.compile(r"(?:([^\s/#<>]+)\.)?([a-z][a-z0-9_]*)\s*([<>]=?)\s*(-?[0-9]+(?:\.[0-9]+)?)")


class ComfortRule(_Part):
    """When a device is given back in the middle of an event, because people would miss it."""

    when: Annotated[
        str,
        BeforeValidator(formed(_COMFORT.fullmatch, "should compare a point with a number, such as tank < 42")),
        Field(max_length=200, description="A point of this device, or device.point, compared with a number."),
    ]
    release: tuple[CapabilityName, ...] = Field((), description="What is given back; left out, all of the device.")

    def reading(self) -> tuple[str | None, str]:
        """Return the device (None: its own) and the point that is compared."""
        device, point, _, _ = self._parts()
        return device, point

    def holds(self, value: float) -> bool:
        """Tell whether it applies at a value of the point, in the point's unit."""
        _, _, sign, number = self._parts()
        bound = float(number)
        return {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[sign]

    def _parts(self) -> tuple[str | None, str, str, str]:
        match = _COMFORT.fullmatch(self.when)
        if match is None:
            raise InvalidError(f"'{self.when}' compares nothing.")
        return match[1], match[2], match[3], match[4]


class DeviceLimits(_Part):
    """Limits on what events may do to a device."""

    max_event: Span | None = Field(None, description="Longest time that one event may hold the device.")
    max_per_day: int | None = Field(None, ge=0, le=1000, description="Most events that may use it on one local day.")
    max_time_per_day: Span | None = Field(
        None, description="Longest time that events may hold it on one local day, all together."
    )
    cycle: Span = Field(
        Duration.of(minutes=30), description="Length of one turn of off and on, where a duty is asked of a mere switch."
    )

    @field_validator("cycle")
    @classmethod
    def _slow(cls, cycle: Duration) -> Duration:
        if not _LEAST_CYCLE_S <= cycle.exact_s <= _DAY_S:
            raise ValueError("cycle is two minutes at least, and a day at most")
        return cycle


class DeviceEntry(_Part):
    """One device."""

    id: Ident
    driver: str = Field(description="Name of the driver or template.")
    connection: Ident | None = Field(None, description="One of `connections`, where its driver could use several.")
    options: dict[str, object] = Field(default_factory=dict, alias="with", description="The driver's own options.")
    role: str = Field("load", description="What it is to the household: grid_meter, water_heater, plug ...")
    device_class: str | None = Field(None, alias="class", description="OpenADR end-device class.")
    nominal_w: float | None = Field(
        None, gt=0, description="Watts that it draws when it runs; of a battery, that it charges and gives at most."
    )
    storage_wh: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="Watt-hours that a battery gives from full to empty; without it, none is promised.",
    )
    capabilities: dict[CapabilityName, CapabilityLimits] = Field(default_factory=dict)
    limits: DeviceLimits = Field(default_factory=DeviceLimits)
    comfort: tuple[ComfortRule, ...] = Field((), max_length=20, description="When events give it back early.")

    @field_validator("device_class")
    @classmethod
    def _known_class(cls, name: str | None) -> str | None:
        try:
            check_device_classes(Target(device_classes=(name,) if name else ()))
        except InvalidError as error:
            raise ValueError(str(error)) from error
        return name


class ResourceEntry(_Part):
    """An OpenADR resource: one meter and the devices behind it."""

    id: Ident
    meter: Ident | None = Field(None, description="Device whose register counts the resource's energy.")
    devices: tuple[Ident, ...] = Field((), description="Devices that events may use.")
    targets: Targets = Field(default_factory=Targets, description="By what an event means this resource alone.")


class Match(_Part):
    """Which signals a programme is about."""

    signal: str
    type: str | None = None
    market_context: str | None = None

    @field_validator("signal")
    @classmethod
    def _known_signal(cls, name: str) -> str:
        if name not in WELL_KNOWN_SIGNALS and not name.startswith("x-"):
            raise ValueError(
                f"OpenADR knows no signal {name}; it knows {', '.join(sorted(WELL_KNOWN_SIGNALS))} and x-..."
            )
        return name


class Step(_Part):
    """A device in an order that is told something of its own, and by how much that changes what it draws."""

    device: Ident
    do: CapabilityWords | None = Field(None, min_length=1, description="What it is told, such as {offset: -2K}.")
    changes_w: float | None = Field(
        None, gt=0, le=1e9, description="By how many watts that changes what it draws while it runs."
    )

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.do is None) != (self.changes_w is None):
            raise ValueError("do and changes_w go together: what the device is told, and what that brings")
        return self


class Shed(_Part):
    """Use devices one after the other until what they draw covers what is asked."""

    order: tuple[
        Annotated[
            Step,
            BeforeValidator(
                lambda step: {"device": step} if isinstance(step, str) else step, json_schema_input_type=Ident | Step
            ),
        ],
        ...,
    ] = Field(
        max_length=500, json_schema_extra={"minItems": 1}, description="Devices by name, or with what each is told."
    )

    @field_validator("order")
    @classmethod
    def _once(cls, order: tuple[Step, ...]) -> tuple[Step, ...]:
        if not order:
            raise ValueError("should name a device at least")
        names = [step.device for step in order]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' stands there twice; each device has one place in an order")
        return order


class SiteRule(Shed):
    """Keep what the whole site draws, or feeds in, below what a signal says, by devices in their order."""

    meter: Ident = Field(description="The device that measures the site.")
    feed_in: bool = Field(False, description="Whether the limit is on what is fed in; else on what is drawn.")
    margin_w: float = Field(
        200, ge=0, le=1e6, description="So many watts of room are left before a device is given back."
    )


class PriceRule(_Part):
    """What to do by the price: above or below a threshold, or in the dearest or cheapest hours of a day."""

    above: float | None = Field(None, allow_inf_nan=False, description="While the price is above this.")
    below: float | None = Field(None, allow_inf_nan=False, description="While the price is below this.")
    until: float | None = Field(
        None, allow_inf_nan=False, description="With above or below: once begun, until the price is back at this."
    )
    dearest: Span | None = Field(None, description="In that many of the dearest hours of a local day, such as PT3H.")
    cheapest: Span | None = Field(None, description="In that many of its cheapest hours.")
    do: dict[Ident, CapabilityWords] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [self.above, self.below, self.dearest, self.cheapest]
        if sum(condition is not None for condition in given) != 1:
            raise ValueError("give exactly one of above, below, dearest and cheapest")
        if self.hours is not None:
            if self.until is not None:
                raise ValueError("until goes with above or below")
            if self.hours >= timedelta(days=1):
                raise ValueError("the dearest or cheapest hours of a day are less than a day")
        elif self.until is not None and not self._back_at(self.until):
            raise ValueError("until is lower than above, or higher than below")
        return self

    def _back_at(self, until: float) -> bool:
        return until < self.above if self.above is not None else until > (self.below or 0.0)

    @property
    def hours(self) -> timedelta | None:
        """How long a day it applies, of a rule by rank."""
        span = self.dearest or self.cheapest
        return None if span is None else span.timedelta()

    def holds(self, price: float, *, running: bool) -> bool:
        """Tell whether a threshold applies at a price (per kWh, bare), where it did just before or not."""
        if self.above is not None:
            return price > (self.until if running and self.until is not None else self.above)
        return self.below is not None and price < (self.until if running and self.until is not None else self.below)

    def precedence(self) -> tuple[int, float]:
        """Return its place among rules that apply at once; the lowest counts."""
        if self.above is not None:
            return 0, -self.above
        if self.below is not None:
            return 1, self.below
        return (2 if self.dearest is not None else 3), (self.hours or timedelta()).total_seconds()


class Programme(_Part):
    """One rule from signal values to settings: levels, prices, devices to shed or increase, or a limit of the site."""

    match: Match
    levels: dict[int, dict[Ident, CapabilityWords]] | None = Field(
        None, description="SIMPLE: level -> device -> settings."
    )
    shed: Shed | None = Field(None, description="LOAD_DISPATCH and LOAD_CONTROL: the devices in their order.")
    increase: Shed | None = Field(None, description="Where those signals ask for more: the devices to switch on.")
    prices: tuple[PriceRule, ...] | None = Field(
        None, max_length=50, description="Prices: thresholds, and the dearest or cheapest hours of a day."
    )
    hold: Span | None = Field(
        None, description="Prices: how long what was begun, or left, stays so at least; left out, PT15M."
    )
    site: SiteRule | None = Field(
        None, description="LOAD_DISPATCH setpoint, LOAD_CONTROL x-loadControlCapacity: what the whole site may draw."
    )
    follow: dict[Ident, dict[CapabilityName, Annotated[str, Field(max_length=200)]]] | None = Field(
        None,
        min_length=1,
        description="device -> capability -> formula of the signal's value in its bare unit, such as value * 100.",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        in_watts = self.shed is not None or self.increase is not None
        rules = (self.levels, self.prices, self.follow, self.site)
        if [*(rule is not None for rule in rules), in_watts].count(True) != 1:
            raise ValueError("give exactly one of levels, shed (with or without increase), prices, follow and site")
        if self.hold is not None and self.prices is None:
            raise ValueError("hold goes with prices")
        return self

    @property
    def rule(self) -> str:
        """Which of its rules it has."""
        return next(name for name in ("levels", "prices", "follow", "site", "shed", "increase") if getattr(self, name))

    @field_validator("follow")
    @classmethod
    def _formulas(
        cls, follow: dict[str, dict[CapabilityKind, str]] | None
    ) -> dict[str, dict[CapabilityKind, str]] | None:
        for settings in (follow or {}).values():
            for text in settings.values():
                try:
                    formula.read(text)
                except InvalidError as error:
                    raise ValueError(str(error).rstrip(".")) from error
        return follow


class OptRule(_Part):
    """When not to take part."""

    decision: OptType = Field(alias="opt")
    market_context: str | None = Field(None, description="Only events of this market context; without it, all.")
    reason: str = Field("notParticipating", max_length=100)

    @field_validator("decision", mode="before")
    @classmethod
    def _plain_word(cls, value: object) -> object:
        return {"in": "optIn", "out": "optOut"}.get(str(value), value)


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"

    @property
    def number(self) -> int:
        """Its number, from 0 for Monday."""
        return list(Weekday).index(self)


_CLOCK_TIME: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
ClockTime = Annotated[
    str,
    BeforeValidator(formed(re.compile(_CLOCK_TIME).search, "should be a time of day, from 00:00 to 23:59")),
    Field(pattern=_CLOCK_TIME),
]


class Quiet(_Part):
    """Hours in which the household takes no part, such as 22:00 to 06:00; local time of the site."""

    start: ClockTime = Field(alias="from", description="When they begin, HH:MM.")
    end: ClockTime = Field(alias="to", description="When they end; at or before the beginning: on the next day.")
    days: tuple[Weekday, ...] = Field((), max_length=7, description="On which days they begin; left out, on all.")

    @field_validator("days")
    @classmethod
    def _some_days(cls, days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if not days:
            raise ValueError("should name days; leave it out for all days")
        return days

    @property
    def begins(self) -> time:
        """When they begin."""
        return time.fromisoformat(self.start)

    @property
    def ends(self) -> time:
        """When they end."""
        return time.fromisoformat(self.end)

    def __str__(self) -> str:
        days = f" ({', '.join(self.days)})" if self.days else ""
        return f"{'all day' if self.start == self.end == '00:00' else f'{self.start} to {self.end}'}{days}"


class History(_Part):
    """The meters' past."""

    step: Span = Field(Duration.of(minutes=30), description="Interval of a HISTORY_USAGE report.")
    days: int = Field(20, ge=0, le=400, description="How far the meters are asked back on the first start.")
    offer: Span = Field(Duration.of(days=60), description="How much history is offered to the VTN.")
    wait_s: float = Field(30, ge=0, le=3600, description="Seconds that history reports wait for the meters at most.")


class Reports(_Part):
    """How reports are sampled."""

    min_period: Span = Field(Duration.of(minutes=1), description="Shortest interval that is offered.")
    max_period: Span = Field(Duration.of(hours=1), description="Longest interval that is offered.")
    settle: Span = Field(Duration.of(minutes=5), description="World time that a due report waits for its last reading.")
    one_value_per_interval: bool = Field(False, description="For VTNs that read only one value in an interval.")


class PotentialPlan(_Part):
    """How the household's flexibility potential is computed and reported."""

    step: Span = Field(Duration.of(minutes=30), description="Length of one interval, a divisor of a day.")
    horizon: Span = Field(Duration.of(days=1), description="How far ahead; whole steps, at most a week.")
    days: int = Field(14, ge=1, le=60, description="Past days that are looked at.")
    threshold_w: float = Field(200, ge=0, description="A change by more than this is reported at once.")
    least: Span = Field(Duration.of(minutes=5), description="Least time between two reports of a change.")

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        step_s, horizon_s = self.step.exact_s, self.horizon.exact_s
        if _DAY_S % step_s or step_s < _LEAST_STEP_S:
            raise ValueError("step is a divisor of a day, a minute at least")
        if horizon_s % step_s or horizon_s > 7 * _DAY_S:
            raise ValueError("horizon is a number of whole steps, a week at most")
        return self


class Assess(_Part):
    """The gateway's own view of what events brought; it needs the extra `assess`."""

    enabled: bool = Field(True, description="Compute it after each event, and offer it to the VTN as a report.")
    baseline: str = Field(
        "10of10",
        pattern=r"^[A-Za-z0-9-]+$",
        max_length=60,
        description="The baseline method: best the one of the programme, which the operator knows.",
    )
    step: Span = Field(Duration.of(minutes=15), description="Length of one interval: a divisor of an hour.")
    wait: Span = Field(Duration.of(minutes=15), description="World time after the end, for the last readings.")

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        if self.step.exact_s < _LEAST_STEP_S or _HOUR_S % self.step.exact_s:
            raise ValueError("step is a divisor of an hour, a minute at least")
        return self


class Site(_Part):
    """Where the household stands."""

    connection_w: float = Field(
        HOME_W,
        ge=1000,
        le=100_000_000,
        description="Watts that fuse or contract let through; readings above it are not believed. 3 x 63 A: 43470.",
    )
    time_zone: str | None = Field(
        None, description="Its time zone, such as Europe/Zurich, for quiet hours; without it, this machine's."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (OSError, ValueError, KeyError) as error:
                raise ValueError(f"'{name}' is no time zone; one is Europe/Zurich") from error
        return name

    @property
    def zone(self) -> tzinfo | None:
        """Its time zone; None for this machine's."""
        return ZoneInfo(self.time_zone) if self.time_zone else None


class Limits(_Part):
    """Bounds on what the gateway stores."""

    readings: int = Field(2_000_000, ge=1000, le=100_000_000, description="Readings kept; the oldest go first.")
    lease: Span = Field(
        Duration.of(days=1), description="Longest lease that an event takes at once; renewed while the event runs."
    )

    @field_validator("lease")
    @classmethod
    def _sane_lease(cls, lease: Duration) -> Duration:
        if not _LEAST_LEASE_S <= lease.exact_s <= _LONGEST_LEASE_S:
            raise ValueError("lease is between PT10M and P7D")
        return lease


class Copy(_Part):
    """Readings that are passed on to a broker, for whoever wants them."""

    id: Ident
    connection: Ident | None = Field(None, description="One of `connections`; left out, the only one, else mqtt.")
    format: CopyFormat = Field(CopyFormat.JSON, description="json, senml (RFC 8428), iflex, or sitewhere.")
    topic: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        pattern=r"^[^+#\x00]+$",
        description="With {home}, {device}, {point} and {hardware_id}; left out, the usual one of the format.",
    )
    points: tuple[str, ...] = Field((), max_length=100, description="Such as meter.energy or meter.*; left out, all.")
    names: dict[str, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict, max_length=500, description="What points are called there, by point: meter.energy: E."
    )
    hardware_id: str | None = Field(
        None, min_length=1, max_length=100, description="Who we are there; left out, the household's name."
    )
    batch: int = Field(1, ge=1, le=1000, description="Most readings that go together.")
    keep: int = Field(100_000, ge=100, le=10_000_000, description="Most readings that wait; the oldest go first.")

    def place(self) -> str:
        """Return its topic, with what is to be filled in."""
        if self.topic is not None:
            return self.topic
        batch = self.format is CopyFormat.SITEWHERE and self.batch > 1
        return SITEWHERE_BATCH if batch else TOPICS[self.format]


class HeartbeatPlan(_Part):
    """A sign of life at a broker."""

    connection: Ident | None = Field(None, description="One of `connections`; left out, the only one, else mqtt.")
    topic: str = Field("evenload/{home}/heartbeat", min_length=1, max_length=512, pattern=r"^[^+#\x00]+$")
    every: Span = Field(Duration.of(minutes=1), description="How often.")

    @field_validator("every")
    @classmethod
    def _not_too_often(cls, every: Duration) -> Duration:
        if every.exact_s < _LEAST_HEARTBEAT_S:
            raise ValueError("every is ten seconds at least")
        return every


class Household(_Part):
    """A household file."""

    version: Literal[1]
    name: Ident
    identity: Path = Field(description="Directory with key and certificates, made by `evenload ven enrol`.")
    state: Path = Field(description="Directory for the gateway's database and journal.")
    clock: Path | None = Field(None, description="Clock file of an accelerated run; without it, the host's time.")
    log_file: Path | None = Field(None, description="One JSON line for every step of a command and every opt.")
    vtn: Vtn = Field(default_factory=Vtn)
    mqtt: MqttOptions | None = Field(None, description="The MQTT broker; short for a connection named mqtt.")
    connections: dict[Ident, ConnectionOptions] = Field(
        default_factory=dict, max_length=50, description="The ways to devices, by name."
    )
    templates: Path = Field(Path("templates"), description="Directory with device templates of the household's own.")
    devices: tuple[DeviceEntry, ...] = Field((), max_length=500)
    resources: tuple[ResourceEntry, ...] = Field((), max_length=100)
    targets: Targets = Field(
        default_factory=Targets, description="By what an event means all of this household, beside its venID."
    )
    programmes: tuple[Programme, ...] = Field((), max_length=100)
    opt: tuple[OptRule, ...] = Field((), max_length=100, description="The first rule that fits decides; else opt in.")
    quiet: tuple[Quiet, ...] = Field(
        (), max_length=20, description="Hours without events; the VTN is told a week ahead, by an opt schedule."
    )
    market_contexts: tuple[str, ...] | Literal["any"] = Field("any", description="Which programmes' events to accept.")
    recovery: Span | None = Field(
        None, description="Over how long devices go back, one after the other, where an event names no recovery."
    )
    test_events: Literal["dry_run", "actuate"] = Field("dry_run", description="What a test event does.")
    on_stop: Literal["restore", "keep"] = Field("restore", description="What a clean stop does to held devices.")
    history: History = Field(default_factory=History)
    reports: Reports = Field(default_factory=Reports)
    potential: PotentialPlan = Field(default_factory=PotentialPlan)
    assess: Assess = Field(default_factory=Assess)
    site: Site = Field(default_factory=Site)
    limits: Limits = Field(default_factory=Limits)
    copies: tuple[Copy, ...] = Field((), max_length=10, description="Where readings are passed on to.")
    heartbeat: HeartbeatPlan | None = Field(None, description="Say at a broker that the gateway lives.")

    @model_validator(mode="after")
    def _one_mqtt(self) -> Self:
        if self.mqtt is not None and _MQTT in self.connections:
            raise ValueError("`mqtt` is short for a connection of that name; give one of them")
        return self

    def all_connections(self) -> dict[str, ConnectionOptions]:
        """Return the connections by name, the one of the section `mqtt` among them."""
        return ({} if self.mqtt is None else {_MQTT: self.mqtt}) | self.connections

    def connection_name(self, entry: DeviceEntry, kind: ConnectionKind | None) -> str | None:
        """Return which connection a device uses whose driver needs that kind; None where it needs none.

        Without a word of its own it is the only one of that kind, else the one named mqtt. Raises InvalidError that
        says what to write.
        """
        kinds: dict[str, str] = {name: options.kind for name, options in self.all_connections().items()}
        chosen = entry.connection
        if kind is None:
            if chosen is not None:
                raise InvalidError(f"Device {entry.id} needs no connection: leave `connection` out.")
            return None
        if chosen is not None:
            if chosen not in kinds:
                raise InvalidError(f"There is no connection '{chosen}'; there are {', '.join(kinds) or 'none'}.")
            if kinds[chosen] != kind:
                raise InvalidError(
                    f"Device {entry.id} needs a connection of kind {kind}; '{chosen}' is {kinds[chosen]}."
                )
            return chosen
        fitting = [name for name in kinds if kinds[name] == kind]
        if not fitting:
            raise InvalidError(
                f"Device {entry.id} needs a connection of kind {kind}: describe one in `connections`"
                " (or, for mqtt, in the section `mqtt`)."
            )
        if len(fitting) > 1 and _MQTT not in fitting:
            ways = " or ".join(f"`connection: {name}`" for name in fitting)
            raise InvalidError(f"Say which way device {entry.id} is reached: {ways}.")
        return fitting[0] if len(fitting) == 1 else _MQTT

    def broker_name(self, chosen: str | None, what: str) -> str:
        """Return by which connection something goes that names one or none. Raises InvalidError: what to write."""
        ways = list(self.all_connections())  # all of them lead to brokers
        if chosen is not None:
            if chosen not in ways:
                raise InvalidError(f"There is no connection '{chosen}'; there are {', '.join(ways) or 'none'}.")
            return chosen
        if not ways:
            raise InvalidError(f"A broker is needed for {what}: describe one in the section `mqtt`.")
        if len(ways) > 1 and _MQTT not in ways:
            raise InvalidError(f"Say where to send {what}: {' or '.join(f'`connection: {name}`' for name in ways)}.")
        return ways[0] if len(ways) == 1 else _MQTT

    def device(self, device_id: str) -> DeviceEntry | None:
        """Return a device by its id, or None."""
        return next((one for one in self.devices if one.id == device_id), None)

    def all_resources(self) -> tuple[ResourceEntry, ...]:
        """Return the resources; without any in the file, one for the whole household."""
        if self.resources:
            return self.resources
        meter = next((one.id for one in self.devices if "meter" in one.role), None)
        others = tuple(one.id for one in self.devices if one.id != meter)
        return (ResourceEntry(id=self.name, meter=meter, devices=others),)
