"""The steps of a new dispatch as forms: everything that was typed lies in the address, so nothing is ever lost."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from aggregator.console.event_fields import MOST_MINUTES, BaselineFields, TargetFields, intervals_of
from aggregator.console.shared import Id, Kilowatts, LocalTime, Words, in_utc, part, watts, zone_of
from aggregator.flexibility.call_limits import allows
from aggregator.trade.dispatch_drafts import PoolOrder
from core.errors import InvalidError
from core.spans import Duration, Span
from openadr.model.signal import Signal
from vtn.api.fields import Printable
from vtn.api.signals import SignalIn
from vtn.console import Form
from vtn.services import programme as programmes
from vtn.services import recipients
from vtn.services.dispatch import Order
from vtn.services.order_check import direction_of
from vtn.services.programme import Limits, Programme
from vtn.services.recipients import Recipient
from vtn.store.database import Connection
from web.model import Model
from web.pages.translations import N_
from web.pages.translations import gettext as _

_MOST_NAMED: Final = 100
_MINUTE: Final = timedelta(minutes=1)

SIGNALS: Final[dict[str, tuple[str, str]]] = {
    "SIMPLE/level": (N_("SIMPLE level (0 to 3)"), ""),
    "ELECTRICITY_PRICE/price": (N_("Price of electricity, per kWh"), "currency"),
    "ELECTRICITY_PRICE/priceRelative": (N_("Price of electricity, added to the usual one, per kWh"), "currency"),
    "ELECTRICITY_PRICE/priceMultiplier": (N_("Price of electricity as a multiple of the usual one"), ""),
    "LOAD_DISPATCH/delta": (N_("LOAD_DISPATCH delta (kW, below zero = consume less)"), "kW"),
    "LOAD_DISPATCH/setpoint": (N_("LOAD_DISPATCH setpoint (kW)"), "kW"),
    "LOAD_DISPATCH/multiplier": (N_("LOAD_DISPATCH multiplier of the usual consumption"), ""),
    "LOAD_DISPATCH/level": (N_("LOAD_DISPATCH level (-10 to 10)"), "W"),
    "LOAD_CONTROL/x-loadControlCapacity": (N_("LOAD_CONTROL capacity (0 to 1)"), ""),
}
"""Signals that the wizard offers: what they are called, and their unit ("currency": the one that is typed)."""


class ProgrammeStep(Model):
    """Which programme, and what kind of order."""

    programme_id: Id
    kind: Literal["target", "signal"] = "target"


class WindowStep(Model):
    """When; `start` is local to the programme."""

    start: LocalTime
    minutes: Annotated[int, Field(ge=1, le=MOST_MINUTES)]


class _Words(Model):
    comment: Annotated[Printable, Field(max_length=2000)] | None = None
    test_event: bool = False


class TargetStep(_Words):
    """A power of the pool."""

    direction: Literal["reduce", "increase"]
    power: Kilowatts
    area: Words | None = None
    group_ids: Annotated[list[Id], Field(max_length=20)] = Field(default_factory=list)


class SignalStep(_Words):
    """A signal to VENs that are named, or to groups, or to everybody in the programme."""

    signal: Annotated[str, Field(max_length=60)]
    values: Annotated[str, Field(max_length=2000)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    group_ids: Annotated[list[Id], Field(max_length=20)] = Field(default_factory=list)
    vens: Annotated[str, Field(max_length=6000)] = ""
    target: TargetFields = Field(default_factory=TargetFields)
    baseline: BaselineFields = Field(default_factory=BaselineFields)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the first two steps say."""

    programme: Programme
    kind: str
    start: datetime
    minutes: int

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone in which its times are typed and shown."""
        return zone_of(self.programme)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + self.minutes * _MINUTE

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the programme's rules say against it."""
        rules = self.programme.parameters
        limits, length = rules.limits, Duration.of(minutes=self.minutes)
        found = []
        if limits.shortest is not None and self.end < limits.shortest.after(self.start):
            found.append(_("A call of this programme lasts at least %(duration)s.", duration=limits.shortest))
        if limits.longest is not None and self.end > limits.longest.after(self.start):
            found.append(
                _(
                    "A call of this programme lasts at most %(most)s, not %(length)s.",
                    most=limits.longest,
                    length=length,
                )
            )
        if not allows(Limits(windows=limits.windows), self.zone, Span(self.start, self.end)):
            spans = [_("%(start)s to %(end)s", start=window.start, end=window.end) for window in limits.windows]
            found.append(
                _(
                    "The programme calls only within its windows: %(windows)s (%(zone)s).",
                    windows=", ".join(spans),
                    zone=rules.time_zone,
                )
            )
        return tuple(found)


async def plan(conn: Connection, form: Form, now: datetime) -> Plan:
    """Read the first two steps. Faults are noted beside their fields, as of `Form.read`.

    Raises FormError (caught by `Form.catching`), NotFoundError for an unknown programme.
    """
    first = part(form, ProgrammeStep)
    one = await programmes.get(conn, first.programme_id)
    window = part(form, WindowStep)
    try:
        start = in_utc(window.start, zone_of(one))
    except InvalidError as error:
        raise InvalidError(str(error), field="start") from error
    found = Plan(one, first.kind, start, window.minutes)
    notice = one.parameters.notification
    if start <= now:
        raise InvalidError(_("This time has passed."), field="start")
    if first.kind == "target":
        if start < notice.after(now):
            raise InvalidError(
                _("The programme gives households %(notice)s of notice. Choose a later start.", notice=notice),
                field="start",
            )
        if found.remarks:
            raise InvalidError(found.remarks[0], field="minutes")
    return found


def suggested_start(programme: Programme, now: datetime) -> datetime:
    """Return the next quarter of an hour that leaves the notice of the programme, and a little time to look."""
    earliest = programme.parameters.notification.after(now) + timedelta(minutes=5)
    quarter = timedelta(minutes=15)
    since = earliest.replace(minute=0, second=0, microsecond=0)
    steps = -(-(earliest - since) // quarter)
    return since + steps * quarter


def target(form: Form, when: Plan) -> PoolOrder:
    """Read the order of a power."""
    step = part(form, TargetStep)
    return PoolOrder(
        programme_id=when.programme.id,
        direction=step.direction,
        start=when.start,
        duration_s=when.minutes * 60,
        power_w=watts(step.power),
        area=step.area,
        group_ids=tuple(step.group_ids),
        comment=step.comment,
        test_event=step.test_event,
    )


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A plain signal, and whom it goes to."""

    order: Order
    vens: tuple[Recipient, ...]
    unit: str
    label: str

    @property
    def signal(self) -> Signal:
        """Its signal."""
        return self.order.signals[0]


async def signal(conn: Connection, form: Form, when: Plan, now: datetime, *, stale_after_s: float) -> Broadcast:
    """Read the order of a plain signal. Raises as `plan`."""
    step = part(form, SignalStep)
    label, unit = SIGNALS.get(step.signal, ("", ""))
    if not label:
        raise InvalidError(_("Choose a signal from the list."), field="signal")
    intervals = intervals_of(step.values, when.minutes, field="values")
    name, kind = step.signal.split("/", 1)
    unit = f"{step.currency}/kWh" if unit == "currency" else unit
    made = SignalIn(name=name, type=kind, unit=unit or None, intervals=intervals).value()
    baseline = step.baseline.value(when.start, when.minutes, when.zone)
    vens = await _whom(conn, step, when.programme, now, stale_after_s)
    order = Order(
        programme_id=when.programme.id,
        start=when.start,
        duration=Duration.of(minutes=when.minutes),
        signals=(made,),
        ven_ids=tuple(one.ven_id for one in vens),
        direction=direction_of((made,)),
        test_event=step.test_event,
        comment=step.comment,
        target=step.target.value(step.target.resource_ids),
        baseline=baseline,
    )
    return Broadcast(order, vens, unit, label)


async def _whom(
    conn: Connection, step: SignalStep, programme: Programme, now: datetime, stale_after_s: float
) -> tuple[Recipient, ...]:
    """Return who gets a signal: those named and those in the groups, or everybody in the programme."""
    words = [word for word in re.split(r"[\s,;]*\n[\s,;]*|[,;]\s*", step.vens.strip()) if word]
    if len(words) > _MOST_NAMED:
        raise InvalidError(
            _("At most %(most)s VENs can be named. Use a group for more.", most=_MOST_NAMED), field="vens"
        )
    vens = await recipients.of(conn, programme.id, words, step.group_ids, now, stale_after_s=stale_after_s)
    if not vens:
        raise InvalidError(
            _("Nobody would be called: the programme has no VENs, or the groups are empty."), field="vens"
        )
    return vens
