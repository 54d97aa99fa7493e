"""A VEN of the profile 2.0a, which has EiEvent alone: it asks, and answers."""

from types import MappingProxyType
from typing import Final

from conformance import judge
from conformance import templates as t
from conformance.exchange import Exchange
from conformance.operator import SignalOrder
from conformance.stage import BrokenOffError, Stage
from conformance.templates import Message
from conformance.verdict import Failed

PROFILE_A: Final = "profile 2.0a"
VEN_OF_2_0_A: Final = "VEN of 2.0a"
"""What is said in these, with a VTN and with a VEN, is none of 2.0b's messages."""
_PRICE: Final = SignalOrder("ELECTRICITY_PRICE", "price", ((60, 0.3),), "EUR/kWh")


def profile_a(stage: Stage) -> None:
    """Ask for events before and after three were made, one without SIMPLE; opt in; see one change."""
    ven = stage.newcomer("a")
    ven.ven_id = ven.ven_id or ven.identity.known_as
    path = f"{stage.access.path.removesuffix('/2.0b')}/EiEvent"

    def post(step: str, message: Message) -> Exchange:
        return ven.post(step, t.of_2_0_a(message), path=path)

    def ask(step: str) -> Exchange:
        return post(step, t.request_event(ven.ven_id, stage.token()))

    first = ask("asked:first")
    if first.answer is None or first.answer.status != judge.OK:
        raise BrokenOffError("2.0a is not served")
    if not ven.ven_id:
        raise BrokenOffError("a VEN of 2.0a needs a venID that was agreed on")
    handle = stage.event([ven], starts_in=60)
    stage.event([ven], starts_in=80, signals=(_PRICE, SignalOrder("SIMPLE", "level", ((60, 2.0),))))
    stage.event([ven], starts_in=100, signals=(_PRICE,))
    try:
        listed = judge.answer(ask("asked:events"), "oadrDistributeEvent")
    except Failed as failed:
        raise BrokenOffError(str(failed)) from failed
    request_id = listed.text("pyld:requestID") or ""
    answers = [t.EventAnswer(each.event_id, each.modification, request_id, "optIn") for each in listed.events]
    if answers:
        post("opted", t.created_event(ven.ven_id, answers))
    if stage.able(lambda: stage.operator.change_event(handle, start=stage.after(70))):
        ask("asked:changed")


DIALOGUES: Final = MappingProxyType({PROFILE_A: profile_a})
