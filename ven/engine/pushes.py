"""What the VTN pushes: it means what it means in the answer to a poll, and is answered in the same exchange (TR-13)."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CanceledReport,
    CreatedReport,
    DistributeEvent,
    Message,
    OadrResponse,
    RegisteredReport,
    Response,
    UpdatedReport,
)
from ven.engine.actions import Action, Noted
from ven.engine.inbox import Inbox
from ven.engine.registration import Registrar
from ven.engine.registration_states import Phase
from ven.engine.schedule import Schedule
from ven.memory import Memory

_ANSWERS: Final = (
    RegisteredReport,
    CreatedReport,
    CanceledReport,
    UpdatedReport,
    CanceledPartyRegistration,
    OadrResponse,
)
"""What answers a pushed message at once; an oadrCreatedEvent is a request of its own."""


class Pushes:
    """Takes pushed messages. What the inbox puts into the outbox as the answer is taken from there."""

    def __init__(self, memory: Memory, registrar: Registrar, inbox: Inbox, schedule: Schedule) -> None:
        self._memory = memory
        self._registrar = registrar
        self._inbox = inbox
        self._schedule = schedule

    def take(self, message: Message, now: datetime) -> tuple[Message | None, list[Action]]:
        """Handle a message; return its answer and what follows from it. Raises as `Inbox.take`."""
        if not self._inbox.takes(message):
            text = f"{type(message).__name__} is nothing that a VTN sends to a VEN by itself."
            ven_id = self._registrar.confirmed.ven_id
            return OadrResponse(Response(Code.COMPLIANCE, text), ven_id), [Noted(text, problem=True)]
        answer, actions = self._answered(type(message).__name__, lambda: self._inbox.take(message, now))
        if self._registrar.phase is Phase.OVER:
            self._schedule.poll_on(now)  # from now on it counts when to come back (RG-12)
        return answer, actions

    def refuse(
        self, kind: str, fault: OpenADRError, request_id: str, message: Message | None = None
    ) -> tuple[Message | None, list[Action]]:
        """Refuse a message that cannot be handled, in its own terms (GN-11); `kind` is its name without `oadr`."""
        response = Response(fault.code, fault.description, request_id)
        return self._answered(kind, lambda: self._inbox.refuse(kind, response, message))

    def _answered(self, kind: str, work: Callable[[], list[Action]]) -> tuple[Message | None, list[Action]]:
        before = set(self._memory.waiting_seqs())
        actions = work()
        if kind == DistributeEvent.__name__:
            return None, actions
        for seq in self._memory.waiting_seqs():
            if seq not in before and isinstance(answer := self._memory.waiting(seq).message, _ANSWERS):
                self._memory.done(seq)
                return answer, [*actions, *self._registrar.said(answer)]
        return None, actions
