"""The household's opinion of an event: can it, and does it want to (EV-49..EV-52)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bridges.device import Device
from core.clock import system_clock
from core.errors import InvalidError, Reason
from core.spans import shifted
from openadr.model.event import Event, check_event
from openadr.model.opt import OptType
from openadr.model.signal import SIGNAL_TABLE, Signal
from openadr.model.units import SCALES
from ven.devices import describe
from ven.engine.events import Verdict
from ven.household import Household
from ven.planning import Planned, plan
from ven.quiet_hours import are_quiet
from ven.rules import accepts_context, name_of, opt_rule, programme_for, signal_devices, targeted
from ven.vtn_state import KnownEvent

ALWAYS_TAKEN: Final = frozenset({("SIMPLE", "level"), ("ELECTRICITY_PRICE", "price"), ("LOAD_DISPATCH", "setpoint")})
"""What every VEN takes, with or without a programme for it (EV-70)."""


Withheld = Callable[[KnownEvent, Sequence[Planned]], Mapping[str, str]]
"""Takes an event and its orders, and returns device -> why the event would not get it."""


def _nothing(_: KnownEvent, __: Sequence[Planned]) -> Mapping[str, str]:
    return {}


class HouseholdOptPolicy:
    """Judges events by a household file."""

    def __init__(
        self, household: Household, devices: Mapping[str, Device] | None = None, withheld: Withheld = _nothing
    ) -> None:
        """Without `devices`, what the drivers say of them is asked for; `withheld` knows of the day so far."""
        self._withheld = withheld
        self._household = household
        self._devices = describe(household, system_clock()) if devices is None else devices

    def judge(self, event: Event, ven_id: str) -> Verdict:
        """Tell whether an event is sound, and whether the household can and wants to take part.

        An event that asks for something of which nothing would be done here is opted out of.
        """
        if not accepts_context(self._household, event.market_context):
            return _no(Reason.TARGET_MISMATCH, f"Market context {event.market_context} is not ours.")
        devices = targeted(self._household, event.target, ven_id)
        if devices is None:
            return _no(Reason.TARGET_MISMATCH, "The event's target names nothing here.")
        for signal in event.signals:
            if (reason := self._unsupported(signal, event.market_context)) is not None:
                return _no(Reason.SIGNAL_NOT_SUPPORTED, reason)
            if signal_devices(self._household, devices, signal) is None:
                classes = ", ".join(signal.target.device_classes)
                return _no(Reason.NO_RESOURCE, f"No resource here is of class {classes}.")
        try:
            check_event(event)
        except InvalidError as error:
            return _no(Reason.BREAKS_A_RULE, str(error))
        return self._wanted(event, ven_id)

    def _unsupported(self, signal: Signal, market_context: str) -> str | None:
        key = (name_of(signal), signal.type)
        programme = programme_for(self._household, signal, market_context)
        if programme is None and key not in ALWAYS_TAKEN:
            return f"Signal {signal.name}/{signal.type} is not supported here."
        unit = signal.item_base.name if signal.item_base else None
        units = SIGNAL_TABLE[key][0] if key in SIGNAL_TABLE else None
        if units is not None and (unit not in units if units else unit is not None):
            return f"{signal.name}/{signal.type} is not supported in {unit or 'no unit'}."
        if signal.item_base is not None and signal.item_base.scale not in SCALES:
            return f"{signal.name}/{signal.type} is not supported at the scale '{signal.item_base.scale}'."
        if unit in ("powerApparent", "powerReactive"):
            return f"{signal.name}/{signal.type} is supported in real power only."
        return None

    def _wanted(self, event: Event, ven_id: str) -> Verdict:
        rule = opt_rule(self._household, event.market_context)
        if rule is not None and rule.decision is OptType.OUT:
            return Verdict(OptType.OUT, reason=rule.reason)
        start = event.period.start
        if self._is_quiet(event):
            return Verdict(OptType.OUT, reason="quiet hours")
        known = KnownEvent(event, "", OptType.IN)
        follows = plan(known, self._household, self._devices, ven_id, horizon=start)
        if follows.asks and not follows.orders:
            return Verdict(OptType.OUT, reason=follows.notes[0] if follows.notes else "no device here follows it")
        withheld = self._withheld(known, follows.orders) if follows.asks else {}
        if withheld and all(order.device in withheld for order in follows.orders):
            name = follows.orders[0].device
            return Verdict(OptType.OUT, reason=f"{name}: {withheld[name]}")
        return Verdict(OptType.IN)

    def _is_quiet(self, event: Event) -> bool:
        """Tell whether an event could reach into quiet hours, with the longest of its random delays (EV-61)."""
        period = event.period
        try:
            end = None if period.end is None else shifted(period.end, period.window_s)
        except InvalidError:
            return False  # no event at all: refused for its random start
        return are_quiet(self._household.quiet, self._household.site.zone, period.start, end)


def _no(refusal: Reason, reason: str) -> Verdict:
    return Verdict(OptType.OUT, reason, refusal)
