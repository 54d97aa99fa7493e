"""VENs that are pushed to: what comes to their address by itself, and what a VTN does when it is not taken there."""

from types import MappingProxyType
from typing import Final

from conformance import keys
from conformance import templates as t
from conformance.judge import Document
from conformance.operator import ReportOrder
from conformance.push_ven import PushVen, Treatment, push_host, pushed_to
from conformance.stage import BrokenOffError, Stage

SLOW_S: Final = 4.5
"""So long an answer is waited for by all who wait for 5 seconds at least (TR-10)."""
SETTLED_S: Final = 2.5
"""Longer than a first pause before a message comes again (TR-11), and than a VTN takes to notice what is new."""
_EVENTS: Final = "oadrDistributeEvent"
_FAR: Final = 200


def push(stage: Stage) -> None:
    """Register, take what a pull VEN would have polled, and never poll: reports, events, requests to go and come."""
    ven = stage.newcomer("a")
    with pushed_to(ven) as pushed:
        pushed.register("register")
        pushed.settle(SETTLED_S)  # the VTN registers its reports first (RP-01)
        ven.post("offer", t.register_report(ven.ven_id, [t.usage_offer()], stage.token()))
        ven.post("asks", t.request_event(ven.ven_id, stage.token()))
        _events(stage, pushed)
        order = ReportOrder("usage", ("power",))
        wants = pushed.brings("wanted", "oadrCreateReport", lambda: stage.operator.request_report(ven.ven_id, order))
        if wants is not None:
            pushed.brings("unwanted", "oadrCancelReport", lambda: stage.operator.cancel_reports(ven.ven_id))
        again = pushed.brings("asked", "oadrRequestReregistration", lambda: stage.operator.reregister(ven.ven_id))
        if again is not None:
            pushed.again("again")
        pushed.brings("ended", "oadrCancelPartyRegistration", lambda: stage.operator.unregister(ven.ven_id))


def _events(stage: Stage, pushed: PushVen) -> None:
    """Have an event created, changed and cancelled, as far as the operator can."""
    handles: list[str] = []

    def create() -> None:
        handles.append(stage.event([pushed.ven], starts_in=_FAR))

    new = pushed.brings("event:new", _EVENTS, create, lambda document: bool(document.events))
    if new is None:
        return
    pushed.opts(new)
    (handle,) = handles
    event_id = new.events[0].event_id

    def changed(document: Document) -> bool:
        return any(event.event_id == event_id and event.modification > 0 for event in document.events)

    later = stage.after(_FAR + 10)
    change = pushed.brings("event:changed", _EVENTS, lambda: stage.operator.change_event(handle, start=later), changed)
    if change is not None:
        pushed.opts(change)
    cancelled = pushed.brings("event:cancelled", _EVENTS, lambda: stage.operator.cancel_event(handle))
    if cancelled is not None:
        pushed.opts(cancelled)


def push_trouble(stage: Stage) -> None:
    """Answer a push late, refuse one and hang up on it until it comes a third time, and say that one is of no use."""
    ven = stage.newcomer("a")
    with pushed_to(ven) as pushed:
        pushed.register("register")
        ven.post("offer", t.register_report(ven.ven_id, [t.usage_offer()], stage.token()))
        pushed.settle(SETTLED_S)
        pushed.treat(Treatment(pause_s=SLOW_S))
        pushed.step("slow")
        handle = stage.event([ven], starts_in=_FAR)
        slow = pushed.comes(_EVENTS)
        stage.event([ven], starts_in=_FAR + 10)  # while the answer to the first one is still to come
        pushed.opts(slow)
        pushed.opts(pushed.comes(_EVENTS, lambda document: len(document.events) > 1))
        pushed.settle(SETTLED_S)

        pushed.treat(Treatment(503), Treatment(None))
        pushed.step("refused")
        changing = stage.operator.change_event
        if not stage.able(lambda: changing(handle, start=stage.after(_FAR + 20))):
            stage.operator.cancel_event(handle)
        pushed.comes(_EVENTS)
        order = ReportOrder("usage", ("power",))
        stage.able(lambda: stage.operator.request_report(ven.ven_id, order))  # it has to wait for its turn
        pushed.opts(pushed.comes(_EVENTS, times=3))
        pushed.settle(SETTLED_S)

        pushed.treat(Treatment(404))
        pushed.step("useless")
        stage.event([ven], starts_in=_FAR + 30)
        pushed.comes(_EVENTS)
        pushed.settle(2 * SETTLED_S)
        pushed.step("after")
        stage.event([ven], starts_in=_FAR + 40)
        pushed.opts(pushed.comes(_EVENTS))


def wrong_server(stage: Stage) -> None:
    """Give an address where a server shows a certificate of an authority that nobody trusts."""
    if not stage.access.is_secure:
        raise BrokenOffError("the VTN is reached without TLS")
    ven = stage.newcomer("a")
    foreign = keys.stranger(stage.directory, f"foreign-{stage.token()}", push_host(stage))
    with pushed_to(ven, foreign) as pushed:
        pushed.register("register")
        if pushed.is_called():
            pushed.settle(SETTLED_S)


DIALOGUES: Final = MappingProxyType({"push": push, "push trouble": push_trouble, "wrong server": wrong_server})
