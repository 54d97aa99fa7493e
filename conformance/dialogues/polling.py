"""The queue that a pull VEN empties by polling."""

from types import MappingProxyType
from typing import Final

from conformance import templates as t
from conformance.stage import Stage


def queue(stage: Stage) -> None:
    """Have three things queued, and poll four times."""
    ven = stage.ven("a")
    ven.post("empty", t.poll(ven.ven_id))
    ven.post("asks", t.create_report(ven.ven_id, "metadata", request_id=stage.token()))
    stage.event([ven], starts_in=60)
    queued = ["oadrRegisterReport", "oadrDistributeEvent"]
    if stage.able(lambda: stage.operator.reregister(ven.ven_id)):
        queued.append("oadrRequestReregistration")
    stage.fact("queued", queued)
    for number in range(len(queued) + 1):
        ven.answer(ven.poll(f"queue:{number}"), f"queue:{number}")
    ven.post("emptied", t.poll(ven.ven_id))
    ven.post("wrong ven", t.poll("no such VEN"))


def unanswered(stage: Stage) -> None:
    """Give no answer to what a poll brought, and poll on until it comes again."""
    ven = stage.ven("a")
    ven.post("asks", t.create_report(ven.ven_id, "metadata", request_id=stage.token()))
    first = ven.poll("withheld:first")
    stage.event([ven], starts_in=60)
    ven.post("withheld:next", t.poll(ven.ven_id))
    stage.fact("withheld", first.name)


def delivery(stage: Stage) -> None:
    """Poll when an event is new, unchanged, changed and cancelled."""
    ven = stage.ven("a")
    ven.post("listed:none", t.request_event(ven.ven_id, stage.token()))
    handle = stage.event([ven], starts_in=60)
    stage.event([ven], starts_in=90)
    ven.answer(ven.poll("new"), "new")
    ven.events("listed:new")
    ven.post("unchanged", t.poll(ven.ven_id))
    if stage.able(lambda: stage.operator.change_event(handle, start=stage.after(70))):
        ven.answer(ven.poll("changed"), "changed")
        ven.events("listed:changed")
    stage.operator.cancel_event(handle)
    ven.answer(ven.poll("cancelled"), "cancelled")
    ven.post("at rest", t.poll(ven.ven_id))


DIALOGUES: Final = MappingProxyType({"queue": queue, "unanswered": unanswered, "delivery": delivery})
