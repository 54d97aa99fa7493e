"""What signals mean here: the one reading of a household's programmes.

The plan carries it out, the opt decision and `evenload explain` ask it, and the flexibility potential promises no more
than it: for (programme, signal, direction), what follows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from bridges.device import CapabilityKind, Device, Value
from core.direction import Direction
from core.spans import Span
from openadr.model.contexts import same_context
from openadr.model.opt import OptType
from openadr.model.signal import Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W
from ven import formula, prices
from ven.household import Household, OptRule, Programme, Step
from ven.levers import Lever, Setting, best, is_storage, levers, table_settings
from ven.targets import names

WATT_SIGNALS: Final = frozenset(
    {
        ("LOAD_DISPATCH", "delta"),
        ("LOAD_DISPATCH", "setpoint"),
        ("LOAD_DISPATCH", "multiplier"),
        ("LOAD_CONTROL", "x-loadControlCapacity"),
        ("LOAD_CONTROL", "x-loadControlPercentOffset"),
    }
)
"""The signals that `shed` and `increase` know how to turn into a number of watts."""

SITE_SIGNALS: Final = frozenset({("LOAD_DISPATCH", "setpoint"), ("LOAD_CONTROL", "x-loadControlCapacity")})
"""The signals that `site` knows how to turn into what the whole site may draw."""

_ENOUGH_W: Final = 1e-6
_ELSEWHERE: Final = ""
"""A market context that no household names: what holds for it holds wherever nothing else is said."""
_CALL: Final = Signal("LOAD_DISPATCH", "delta", "", (), POWER_REAL_W)
"""The signal by which flexibility is called."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from one value of a signal: settings, and a remark on what is asked and not done."""

    settings: tuple[Setting, ...] = ()
    asks: bool = False
    """Whether the value asks for a change at all; a price never does, it leaves the choice to the household."""
    remark: str | None = None


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
        if _in_watts(programme) and (name_of(signal), signal.type) not in WATT_SIGNALS:
            continue
        if programme.site is not None and (name_of(signal), signal.type) not in SITE_SIGNALS:
            continue
        return programme
    return None


def opt_rule(household: Household, market_context: str) -> OptRule | None:
    """Return the rule of the household file that decides on events of a market context; None: it takes part."""
    for rule in household.opt:
        if rule.market_context is None or same_context(rule.market_context, market_context):
            return rule
    return None


def accepts_context(household: Household, market_context: str) -> bool:
    """Tell whether the household takes events of a market context (EV-49)."""
    contexts = household.market_contexts
    return contexts == "any" or any(same_context(one, market_context) for one in contexts)


def targeted(household: Household, target: Target, ven_id: str) -> frozenset[str] | None:
    """Return the devices that an event's target names; None if it names nothing here (EV-50, EV-67).

    Criteria are ORed; none at all, our venID, or something that the whole household belongs to mean everything.
    """
    every = {one.id for one in household.devices}
    if not target or ven_id in target.ven_ids or names(target, household.targets):
        return frozenset(every)
    wanted = {*target.resource_ids}
    resources = [one for one in household.all_resources() if one.id in wanted or names(target, one.targets)]
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


def bare_value(signal: Signal, value: float) -> float:
    """Return a value in its bare unit: 20 at the scale `c` is 0.20, not a trifle more. Raises InvalidError."""
    factor = signal.item_base.factor if signal.item_base else 1.0
    return value if factor == 1.0 else float(f"{value * factor:.12g}")


def effects(
    programme: Programme | None,
    signal: Signal,
    intervals: Sequence[tuple[Span, float]],
    devices: Mapping[str, Device],
    allowed: frozenset[str],
    zone: tzinfo | None,
) -> list[Effect]:
    """Return what each interval of a signal means, for those devices that the event may use.

    `programme` None: nothing here follows the signal. Days are local days of `zone`.
    """
    if programme is None or programme.prices is None:
        return [_effect(programme, signal, value, devices, allowed) for _, value in intervals]
    bare = [(span, bare_value(signal, value)) for span, value in intervals]
    hold = {} if programme.hold is None else {"hold": programme.hold.timedelta()}
    chosen = prices.tables(programme.prices, bare, zone, **hold)
    return [
        _by_table(table, signal, value, devices, allowed) for table, (_, value) in zip(chosen, intervals, strict=True)
    ]


def _effect(
    programme: Programme | None, signal: Signal, value: float, devices: Mapping[str, Device], allowed: frozenset[str]
) -> Effect:
    if programme is None:
        return _by_table({}, signal, value, devices, allowed)
    if programme.levels is not None:
        return _by_table(programme.levels.get(round(value), {}), signal, value, devices, allowed)
    if programme.follow is not None:
        bare = bare_value(signal, value)
        formulas = {
            name: {kind: result for kind, text in each.items() if (result := formula.read(text).of(bare)) is not None}
            for name, each in programme.follow.items()
        }
        return _by_table(formulas, signal, value, devices, allowed)
    return _by_watts(programme, signal, value, devices, allowed)


def _by_table(
    table: Mapping[str, Mapping[CapabilityKind, Value]],
    signal: Signal,
    value: float,
    devices: Mapping[str, Device],
    allowed: frozenset[str],
) -> Effect:
    usable = {name: wanted for name, wanted in table.items() if name in allowed}
    settings = tuple(table_settings(usable, devices))
    asks = _asks(signal, value)
    return Effect(settings, asks, None if settings or not asks else f"{value:g} is asked; nothing here follows it")


def _asks(signal: Signal, value: float) -> bool:
    """Tell whether a value that means no number of watts asks for anything."""
    if "PRICE" in signal.name.upper() or signal.type.startswith("price"):
        return False
    if (name_of(signal), signal.type) in WATT_SIGNALS and signal.type != "setpoint":
        return abs(asked_w(signal, value, 1.0)) > _ENOUGH_W
    return value != 0 or signal.type == "setpoint"


# -- signals that ask for watts


def _in_watts(programme: Programme) -> bool:
    return programme.shed is not None or programme.increase is not None


def order_of(programme: Programme, direction: Direction) -> Sequence[Step]:
    """Return the devices that a programme uses one after the other in a direction."""
    order = programme.shed if direction is Direction.REDUCE else programme.increase
    return order.order if order is not None else ()


def _by_watts(
    programme: Programme, signal: Signal, value: float, devices: Mapping[str, Device], allowed: frozenset[str]
) -> Effect:
    """Use devices in their order until what is asked is covered; what they all draw is what shares are of."""
    usable = {name: devices[name] for name in allowed if name in devices}
    asked = asked_w(signal, value, _whole_w(programme, usable))
    direction, left_w = (Direction.REDUCE if asked > 0 else Direction.INCREASE), abs(asked)
    settings: list[Setting] = []
    for step in order_of(programme, direction):
        if left_w <= _ENOUGH_W:
            break
        device = usable.get(step.device)
        means = best(levers(device, direction, step), left_w) if device is not None else None
        if means is not None:
            mine, change_w = means.change(left_w)
            settings += mine
            left_w -= change_w
    remark = None
    if left_w > _ENOUGH_W:
        change_w = abs(asked) - left_w
        remark = f"{abs(asked):g} W are asked, {change_w:g} W can be shed"
        if direction is Direction.INCREASE:
            remark = f"asks to use more: {abs(asked):g} W are asked, {change_w:g} W can be added"
    return Effect(tuple(settings), abs(asked) > _ENOUGH_W, remark)


def _whole_w(programme: Programme, devices: Mapping[str, Device]) -> float:
    """Return what a programme's devices draw without an event, all of them running."""
    steps = {step.device: step for direction in Direction for step in order_of(programme, direction)}
    return math.fsum(
        device.nominal_w or steps[name].changes_w or 0.0
        for name, device in devices.items()
        if name in steps and not is_storage(device)
    )


def site_w(signal: Signal, value: float, connection_w: float) -> float:
    """Return what a signal allows the whole site, W: a set point as it is, a capacity as a share of the connection."""
    bare = bare_value(signal, value)
    return bare if name_of(signal) == "LOAD_DISPATCH" else bare * connection_w


def asked_w(signal: Signal, value: float, whole_w: float) -> float:
    """Return how many watts less are asked for of devices that draw `whole_w`; negative for more."""
    bare = bare_value(signal, value)
    match name_of(signal), signal.type:
        case "LOAD_DISPATCH", "delta":
            return -bare
        case "LOAD_DISPATCH", "setpoint":
            return max(0.0, whole_w - bare)
        case ("LOAD_DISPATCH", "multiplier") | ("LOAD_CONTROL", "x-loadControlCapacity"):
            return (1.0 - bare) * whole_w
        case "LOAD_CONTROL", "x-loadControlPercentOffset":
            return -bare / 100.0 * whole_w
    return 0.0


# -- what may be promised


def callable_devices(
    household: Household, devices: Mapping[str, Device], direction: Direction
) -> dict[str, tuple[Step, Lever]]:
    """Return the devices that LOAD_DISPATCH/delta changes in a direction, in any market context that is taken part in.

    With each the lever that reaches furthest. Flexibility is called by nothing else, so nothing else is promised.
    """
    found: dict[str, tuple[Step, Lever]] = {}
    for context in _contexts(household):
        rule = opt_rule(household, context)
        if not accepts_context(household, context) or (rule is not None and rule.decision is OptType.OUT):
            continue
        programme = programme_for(household, _CALL, context)
        for step in order_of(programme, direction) if programme is not None else ():
            device = devices.get(step.device)
            means = best(levers(device, direction, step), math.inf) if device is not None else None
            if means is not None:
                found[step.device] = step, means
    return found


def _contexts(household: Household) -> Iterable[str]:
    """Return every market context that the household file tells apart."""
    named = [programme.match.market_context for programme in household.programmes]
    named += [rule.market_context for rule in household.opt]
    listed = () if household.market_contexts == "any" else household.market_contexts
    return dict.fromkeys([_ELSEWHERE, *(context for context in named if context is not None), *listed])
