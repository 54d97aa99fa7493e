"""How a VEN registers, registers again and leaves, and how it is asked to."""

from types import MappingProxyType
from typing import Final

from conformance import templates as t
from conformance.stage import Stage


def registration(stage: Stage) -> None:
    """Ask, register, ask again, register again with and without ids, cancel wrongly and rightly."""
    ven = stage.newcomer("a")
    ven.post("query:before", t.query(stage.token()))
    first = ven.register("create")
    ven.post("query:after", t.query(stage.token()))
    stage.fact("vtn_id", first.text("ei:vtnID"))
    for number in ("first", "second"):
        ven.post(f"again:{number}", ven.again())
    ven.post("create:unknown ven", t.register(stage.token(), ven_id="no such VEN", name=ven.identity.name))
    ven.post("create:push without address", ven.again(pull=False))
    ven.post("still registered", t.poll(ven.ven_id))
    ven.post("cancel:wrong registration", t.cancel_registration(ven.ven_id, "no such id", stage.token()))
    ven.post("cancel:wrong ven", t.cancel_registration("no such VEN", ven.registration_id, stage.token()))
    ven.post("still registered", t.poll(ven.ven_id))
    ven.post("cancel", t.cancel_registration(ven.ven_id, ven.registration_id, stage.token()))
    ven.post("left", t.poll(ven.ven_id))
    ven.post("query:left", t.query(stage.token()))


def unregistered(stage: Stage) -> None:
    """Speak before registering: every kind of message."""
    ven = stage.newcomer("a")
    ven_id = ven.identity.ven_id or "not known yet"
    for message in t.of_every_kind(ven_id, "none"):
        ven.post(f"unregistered:{message.name}", message)


def asked(stage: Stage) -> None:
    """Be asked to register again, do so, and be told that the registration is over."""
    ven = stage.ven("a")
    if stage.able(lambda: stage.operator.reregister(ven.ven_id)):
        ven.poll("asked to reregister")
        ven.post("reregister:response", t.response(ven.ven_id))
        ven.post("reregister:again", ven.again())
        ven.drain("between")
    stage.operator.unregister(ven.ven_id)
    leaving = ven.poll("told to leave")
    request_id = leaving.text("pyld:requestID") or ""
    ven.post("leaves", t.canceled_registration(ven.ven_id, ven.registration_id, request_id))
    ven.post("left", t.poll(ven.ven_id))


DIALOGUES: Final = MappingProxyType({"registration": registration, "unregistered": unregistered, "asked": asked})
