"""What the VTN says of its own accord, understood by the message alone, whatever way it came: a poll's answer, a push.

Handling a message changes the memory and puts what this VEN answers into the outbox. An answer to a request of ours is
none of this: it stays with its request (`ven.engine.replies`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from openadr.v20b.codes import Code
from openadr.v20b.messages import (
    CancelPartyRegistration,
    CancelReport,
    CreateReport,
    DistributeEvent,
    Message,
    OadrResponse,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine.actions import Action, Noted
from ven.engine.events import EventHandler
from ven.engine.refusals import refusal
from ven.engine.registration import Registrar
from ven.engine.reports import ReportHandler
from ven.memory import Memory


class Inbox:
    """Takes the VTN's own messages, for the VEN that is registered with it."""

    def __init__(self, memory: Memory, registrar: Registrar, events: EventHandler, reports: ReportHandler) -> None:
        self._memory = memory
        self._registrar = registrar
        self._events = events
        self._reports = reports

    def takes(self, message: Message | None) -> bool:
        """Tell whether a message is one that a VTN says of its own accord."""
        return type(message) in self._HANDLERS

    def take(self, message: Message, now: datetime) -> list[Action]:
        """Handle a message that `takes` knows. Raises ConflictError where this VEN is not registered (RG-13)."""
        return self._HANDLERS[type(message)](self, message, now)

    def refuse(self, kind: str, response: Response, message: Message | None = None) -> list[Action]:
        """Answer in its own terms what cannot be handled, so that the VTN does not repeat it for ever (GN-11).

        `kind` is the message's name without `oadr`; of one that could not be read, that is all there is.
        """
        self._memory.push(refusal(kind, response, self._registrar.ven_id, message))
        return [Noted(f"A message of the VTN was refused: {response.description}", problem=True)]

    def misplaced(self, message: Message) -> list[Action]:
        """Refuse a message that a VTN does not say of its own accord (GN-15)."""
        text = f"{type(message).__name__} does not belong into the answer to a poll."
        self._memory.push(OadrResponse(Response(Code.COMPLIANCE, text), self._registrar.confirmed.ven_id))
        return [Noted(text, problem=True)]

    def _is_for_another(self, message: CreateReport | CancelReport) -> bool:
        """Tell whether a message is for another VEN; it is answered then (GN-08)."""
        ven_id = self._registrar.confirmed.ven_id
        if message.ven_id in (None, ven_id):
            return False
        wrong = Response(Code.INVALID_ID, f"This VEN is {ven_id}.", message.request_id)
        self._memory.push(refusal(type(message).__name__, wrong, ven_id, message))
        return True

    def _events_listed(self, message: DistributeEvent, now: datetime) -> list[Action]:
        return self._events.receive(message, self._registrar.confirmed, now)

    def _reports_wanted(self, message: CreateReport, now: datetime) -> list[Action]:
        if self._is_for_another(message):
            return []
        return self._reports.requested(message.requests, message.request_id, self._registrar.confirmed, now)

    def _reports_unwanted(self, message: CancelReport, _: datetime) -> list[Action]:
        return [] if self._is_for_another(message) else self._reports.cancelled(message, self._registrar.confirmed)

    def _reports_offered(self, message: RegisterReport, _: datetime) -> list[Action]:
        """Confirm the VTN's metadata; nothing of it is requested (RP-01)."""
        ven_id = self._registrar.confirmed.ven_id
        code = Code.OK if message.ven_id in (None, ven_id) else Code.INVALID_ID
        self._memory.push(RegisteredReport(Response(code, request_id=message.request_id), ven_id=ven_id))
        return []

    def _data(self, message: UpdateReport, _: datetime) -> list[Action]:
        """Refuse data that we never asked for (RP-55)."""
        response = Response(Code.INVALID_ID, "This VEN has requested no report.", message.request_id)
        self._memory.push(UpdatedReport(response, ven_id=self._registrar.confirmed.ven_id))
        return []

    def _unregistered(self, message: CancelPartyRegistration, _: datetime) -> list[Action]:
        return self._registrar.cancelled_by_vtn(message)

    def _asked_to_reregister(self, message: RequestReregistration, _: datetime) -> list[Action]:
        return self._registrar.asked_to_reregister(message)

    _HANDLERS: Final[Mapping[type[Message] | type[None], Callable[["Inbox", Any, datetime], list[Action]]]] = {
        DistributeEvent: _events_listed,
        CreateReport: _reports_wanted,
        CancelReport: _reports_unwanted,
        RegisterReport: _reports_offered,
        UpdateReport: _data,
        CancelPartyRegistration: _unregistered,
        RequestReregistration: _asked_to_reregister,
    }
    """Message -> what it means."""
