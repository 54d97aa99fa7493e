"""The household's opinion of an event: can it, and does it want to (EV-49..EV-52)."""

from collections.abc import Iterable
from typing import Final

from openadr.model.codes import Code
from openadr.model.contexts import same_context
from openadr.model.event import Event
from openadr.model.opt import OptType
from openadr.model.signal import SIGNAL_TABLE, Signal
from openadr.model.target import Target
from ven.engine.events import Verdict
from ven.household import Household, Programme

SHED_TYPES: Final = frozenset(
    {
        ("LOAD_DISPATCH", "delta"),
        ("LOAD_DISPATCH", "setpoint"),
        ("LOAD_DISPATCH", "multiplier"),
        ("LOAD_CONTROL", "x-loadControlCapacity"),
        ("LOAD_CONTROL", "x-loadControlPercentOffset"),
    }
)
"""The signals that a `shed` programme knows how to turn into a number of watts."""

ALWAYS_TAKEN: Final = frozenset({("SIMPLE", "level"), ("ELECTRICITY_PRICE", "price"), ("LOAD_DISPATCH", "setpoint")})
"""What every VEN takes, with or without a programme for it (EV-70)."""


def name_of(signal: Signal) -> str:
    """Return the signal's name as the tables have it."""
    return signal.name if signal.name.startswith("x-") else signal.name.upper()


def programme_for(household: Household, signal: Signal, market_context: str) -> Programme | None:
    """Return the first programme that matches a signal and knows what to do with it, or None."""
    for programme in household.programmes:
        match = programme.match
        if match.signal != name_of(signal) or match.type not in (None, signal.type):
            continue
        if match.market_context is not None and not same_context(match.market_context, market_context):
            continue
        if programme.shed is not None and (name_of(signal), signal.type) not in SHED_TYPES:
            continue
        return programme
    return None


def targeted(household: Household, target: Target, ven_id: str) -> frozenset[str] | None:
    """Return the devices that an event's target names; None if it names nothing here (EV-50, EV-67).

    Criteria are ORed; none at all, or our venID, mean everything.
    """
    every = {one.id for one in household.devices}
    if not target or ven_id in target.ven_ids:
        return frozenset(every)
    resources = [one for one in household.all_resources() if one.id in target.resource_ids]
    found = {name for resource in resources for name in resource.devices}
    found |= {one.id for one in household.devices if one.device_class in target.device_classes}
    return frozenset(found) if resources or found else None


def signal_devices(household: Household, devices: Iterable[str], signal: Signal) -> frozenset[str] | None:
    """Return the devices of a signal: the event's, narrowed by its device classes; None if none is left (EV-68)."""
    classes = signal.target.device_classes
    if not classes:
        return frozenset(devices)
    chosen = frozenset(name for name in devices if (one := household.device(name)) and one.device_class in classes)
    return chosen or None


class HouseholdJudge:
    """Judges events by a household file."""

    def __init__(self, household: Household) -> None:
        self._household = household

    def judge(self, event: Event, ven_id: str) -> Verdict:
        """Tell whether the household can and wants to take part."""
        contexts = self._household.market_contexts
        if contexts != "any" and not any(same_context(one, event.market_context) for one in contexts):
            return _no(Code.TARGET_MISMATCH, f"Market context {event.market_context} is not ours.")
        devices = targeted(self._household, event.target, ven_id)
        if devices is None:
            return _no(Code.TARGET_MISMATCH, "The event's target names nothing here.")
        for signal in event.signals:
            if (reason := self._unsupported(signal, event.market_context)) is not None:
                return _no(Code.SIGNAL_NOT_SUPPORTED, reason)
            if signal_devices(self._household, devices, signal) is None:
                classes = ", ".join(signal.target.device_classes)
                return _no(Code.DEPLOYMENT, f"No resource here is of class {classes}.")
        return self._wanted(event)

    def _unsupported(self, signal: Signal, market_context: str) -> str | None:
        key = (name_of(signal), signal.type)
        programme = programme_for(self._household, signal, market_context)
        if programme is None and key not in ALWAYS_TAKEN:
            return f"Signal {signal.name}/{signal.type} is not supported here."
        unit = signal.item_base.name if signal.item_base else None
        units = SIGNAL_TABLE[key][0] if key in SIGNAL_TABLE else None
        if units is not None and (unit not in units if units else unit is not None):
            return f"{signal.name}/{signal.type} is not supported in {unit or 'no unit'}."
        if unit in ("powerApparent", "powerReactive"):
            return f"{signal.name}/{signal.type} is supported in real power only."
        return None

    def _wanted(self, event: Event) -> Verdict:
        for rule in self._household.opt:
            if rule.market_context is None or same_context(rule.market_context, event.market_context):
                out = rule.decision is OptType.OUT
                return Verdict(rule.decision, Code.OK, rule.reason if out else "")
        return Verdict(OptType.IN)


def _no(code: Code, reason: str) -> Verdict:
    return Verdict(OptType.OUT, code, reason)
