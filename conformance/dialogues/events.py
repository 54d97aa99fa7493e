"""Events as they come: what they hold, how they live, change and end, and in which order they are listed."""

from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from conformance import templates as t
from conformance.operator import SignalOrder
from conformance.stage import Stage


def _simple(*values: float, length_s: int) -> tuple[SignalOrder, ...]:
    return (SignalOrder("SIMPLE", "level", tuple((length_s, value) for value in values)),)


def life(stage: Stage) -> None:
    """Look at four events before, while and after they are active: ramped, plain, randomised, and without an end."""
    pace = stage.pace_s
    labels = ("ramped", "plain", "randomised", "open")
    vens = {label: stage.ven(label) for label in labels}
    start = stage.after(5)  # from here on, however long it took to make the VENs
    two = _simple(1, 2, length_s=pace)
    orders: dict[str, dict[str, Any]] = {
        "ramped": {"signals": two, "ramp_up_s": 2 * pace},
        "plain": {"signals": two},
        "randomised": {"signals": _simple(1, length_s=pace), "start_after_s": 2 * pace},
        "open": {"signals": _simple(1, length_s=0)},
    }
    watched = [
        label
        for label, order in orders.items()
        if stage.able(partial(stage.event, [vens[label]], start=start, **order))
    ]
    for paces in (-3.5, -1.0, 0.5, 1.5, 2.5, 3.5):
        stage.timeline.sleep_until(start + timedelta(seconds=paces * pace))
        for label in watched:
            vens[label].events(f"moment:{label}")


def changes(stage: Stage) -> None:
    """Have an event changed and cancelled; withhold the answer to the cancellation, then give it."""
    ven = stage.ven("a")
    start = stage.after(60)
    length = stage.pace_s
    handle = stage.event([ven], start=start, signals=_simple(1, 1, length_s=length))
    ven.answer(ven.poll("version:new"), "answer")
    ven.events("version:unchanged")
    change = stage.operator.change_event
    if stage.able(partial(change, handle, signals=_simple(1, 2, length_s=length))):
        ven.answer(ven.poll("version:values"), "answer")
    if stage.able(partial(change, handle, start=start + timedelta(seconds=length))):
        ven.answer(ven.poll("version:start"), "answer")
    ven.events("version:unchanged again")
    stage.operator.cancel_event(handle)
    cancelled = ven.poll("version:cancelled")
    ven.events("withheld")
    ven.answer(cancelled, "answer")
    ven.events("acknowledged")


def past(stage: Stage) -> None:
    """Try to have an interval changed that has gone by."""
    ven = stage.ven("a")
    pace = stage.pace_s
    start = stage.after(4)
    handle = stage.event([ven], start=start, signals=_simple(1, 2, 3, length_s=pace))
    stage.timeline.sleep_until(start + timedelta(seconds=1.5 * pace))
    changed = _simple(3, 2, 3, length_s=pace)
    stage.refusal("past", lambda: stage.operator.change_event(handle, signals=changed))
    ven.events("afterwards")


def contents(stage: Stage) -> None:
    """Have an event of each kind, and read them."""
    ven, length = stage.ven("a"), 60
    price = SignalOrder("ELECTRICITY_PRICE", "price", ((length, 0.25), (length, 0.5)), "EUR/kWh", id="price")
    simple = SignalOrder("SIMPLE", "level", ((2 * length, 2),), id="simple")
    power = SignalOrder("LOAD_DISPATCH", "setpoint", ((length, 40.0),), "kW")
    control = SignalOrder("LOAD_CONTROL", "x-loadControlCapacity", ((length, 0.5),), device_classes=("Thermostat",))
    kinds: dict[str, dict[str, Any]] = {
        "SIMPLE": {"signals": [simple]},
        "ELECTRICITY_PRICE": {"signals": [price]},
        "LOAD_DISPATCH": {"signals": [power]},
        "several": {"signals": [simple, price]},
        "device class": {"signals": [control]},
        "resource": {"signals": [simple], "resources": ("load1",)},
        "baseline": {"signals": [simple], "baseline": ((length, 3.0), (length, 4.0))},
    }
    for number, (kind, order) in enumerate(kinds.items()):
        if stage.able(partial(stage.event, [ven], starts_in=100 + 60 * number, **order)):
            ven.events(f"kind:{kind}")


def several_vens(stage: Stage) -> None:
    """Have one event for two VENs: each gets its own."""
    vens = [stage.ven(label) for label in ("a", "b")]
    stage.event(vens, starts_in=60)
    for ven in vens:
        ven.events(f"shared:{ven.label}")


def refusals(stage: Stage) -> None:
    """Try to have events that OpenADR does not know."""
    ven = stage.ven("a")
    orders = {
        "SIMPLE 4": [SignalOrder("SIMPLE", "level", ((60, 4.0),))],
        "SIMPLE -1": [SignalOrder("SIMPLE", "level", ((60, -1.0),))],
        "SIMPLE 1.5": [SignalOrder("SIMPLE", "level", ((60, 1.5),))],
        "unequal lengths": [
            SignalOrder("SIMPLE", "level", ((60, 1.0),)),
            SignalOrder("ELECTRICITY_PRICE", "price", ((90, 0.25),), "EUR/kWh"),
        ],
        "price in W": [SignalOrder("ELECTRICITY_PRICE", "price", ((60, 0.25),), "W")],
        "SIMPLE setpoint": [SignalOrder("SIMPLE", "setpoint", ((60, 1.0),))],
    }
    for name, signals in orders.items():
        stage.refusal(name, partial(stage.event, [ven], starts_in=60, signals=signals))
    ven.events("afterwards")


def order(stage: Stage) -> None:
    """Have active events of several priorities and pending ones, of several market contexts, and read the list."""
    ven = stage.ven("a")
    pace = stage.pace_s
    start = stage.after(6)
    active = {"priority 2": (0, 2), "no priority": (1, 0), "priority 1": (2, 1)}
    handles = {
        name: stage.event(
            [ven],
            start=start + timedelta(seconds=offset),
            signals=_simple(1, length_s=60 * pace),
            priority=priority,
        )
        for name, (offset, priority) in active.items()
    }
    for starts_in in (90, 70, 110, 110):
        stage.event([ven], start=start + timedelta(seconds=starts_in * pace))
    stage.timeline.sleep_until(start + timedelta(seconds=2 + pace / 2))
    ven.events("list")
    for limit in (1, 2, 6, 99):
        ven.events(f"limited:{limit}", limit)
    ven.events("limited:6 again", 6)
    stage.operator.cancel_event(handles["priority 2"])
    ven.events("one cancelled")


def answers(stage: Stage) -> None:
    """Answer several events in every way, rightly and wrongly."""
    ven = stage.ven("a")
    handles = [stage.event([ven], starts_in=60 + 30 * number) for number in range(3)]
    delivery = ven.drain("delivery", opt=None)[-1]
    request_id = delivery.text("pyld:requestID") or ""
    first, second, third = (event.event_id for event in ven.events("listed").events)

    def answer(event_id: str, opt: str = "optIn", *, code: int = 200, modification: int = 0) -> t.EventAnswer:
        return t.EventAnswer(event_id, modification, request_id, opt, code)

    mixed = [answer(first), answer(second, "optOut", code=460)]
    ven.post("mixed", t.created_event(ven.ven_id, mixed))
    ven.post("separate", t.created_event(ven.ven_id, [answer(third)]))
    stage.fact("opts", [stage.operator.opt(handle, ven.ven_id) for handle in handles])
    ven.post("faulty:unknown event", t.created_event(ven.ven_id, [answer("no such event")]))
    ven.post("faulty:stale", t.created_event(ven.ven_id, [answer(first, modification=7)]))
    both = [answer("no such event"), answer(first, modification=7)]
    ven.post("faulty:both", t.created_event(ven.ven_id, both))
    ven.post("failure", t.created_event(ven.ven_id, [], code=459))
    ven.post("later", t.created_event(ven.ven_id, [answer(first, "optOut")]))
    stage.fact("opts later", [stage.operator.opt(handle, ven.ven_id) for handle in handles])


DIALOGUES: Final = MappingProxyType(
    {
        "life": life,
        "changes": changes,
        "past": past,
        "contents": contents,
        "several VENs": several_vens,
        "refusals": refusals,
        "order": order,
        "answers": answers,
    }
)
