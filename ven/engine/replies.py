"""What became of a message of ours: its answer, or none. What a poll brought goes on to the inbox."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CreatePartyRegistration,
    DistributeEvent,
    Message,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine.actions import Action, Noted, Refused, Registered
from ven.engine.inbox import Inbox
from ven.engine.registration import Registrar
from ven.engine.registration_states import Lane, RegistrationEvent
from ven.engine.reports import ReportHandler
from ven.engine.schedule import Schedule, Sent
from ven.memory import Memory, Waiting

_REJECTED_S: Final = 300.0
"""What the VTN rejects on the transport is not sent again unchanged soon (TR-11)."""


class Failure(StrEnum):
    """Why a message got no OpenADR answer (TR-05, TR-11).

    UNREACHABLE: no answer at all, it may or may not have arrived. BUSY: 503. BROKEN: 500 or an unreadable answer.
    REJECTED: 4xx or 501, sending it again unchanged will not help.
    """

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    BROKEN = "broken"
    REJECTED = "rejected"


class Replies:
    """Understands answers by the request that they answer."""

    def __init__(
        self, memory: Memory, registrar: Registrar, reports: ReportHandler, inbox: Inbox, schedule: Schedule
    ) -> None:
        self._memory = memory
        self._registrar = registrar
        self._reports = reports
        self._inbox = inbox
        self._schedule = schedule

    # -- no answer

    def failed(self, sent: Sent, failure: Failure, now: datetime, after_s: float = 0.0) -> list[Action]:
        """Take notice that a message got no OpenADR answer; `after_s` is how long the VTN wants to be left alone."""
        rejected = failure is Failure.REJECTED and sent.lane in (Lane.OFFER, Lane.SYNC)
        self._schedule.failed(sent, max(after_s, _REJECTED_S) if rejected else after_s)
        if sent.waiting is not None:
            return self._not_taken(sent.waiting, failure)
        if sent.lane is Lane.POLL:
            self._schedule.poll_later(now)
            if failure is not Failure.REJECTED:
                self._doubt(failure, after_s)
        elif sent.lane is Lane.QUERY and failure in (Failure.REJECTED, Failure.BROKEN):
            self._registrar.happened(RegistrationEvent.TOLD)  # a VTN that cannot be asked can still be registered with
        elif sent.task is not None and failure in (Failure.BROKEN, Failure.REJECTED):
            self._reports.postponed(sent.task, now)
        return []

    def _doubt(self, failure: Failure, after_s: float) -> None:
        """Ask for all events: a poll whose answer was lost may have carried the last delivery of one (PL-09).

        A 503 may come from a proxy that lost the answer; it is believed, and asked a little later.
        """
        if failure is Failure.BUSY and not self._registrar.sync_due:
            self._schedule.put_off(Lane.SYNC, after_s)
        self._registrar.sync_due = True

    def _not_taken(self, waiting: Waiting, failure: Failure) -> list[Action]:
        kind = type(waiting.message).__name__
        broke = failure is Failure.BROKEN and self._schedule.outbox.broke(waiting)
        if not broke and failure is not Failure.REJECTED:
            return []
        self._schedule.outbox.bury(waiting, f"{failure.value} {waiting.tries + 1} times")
        text = f"The VTN does not take {kind}; it was set aside."
        return [*self._registrar.said(waiting.message), Noted(text, problem=True)]

    def unusable(
        self, sent: Sent, kind: str, fault: OpenADRError, request_id: str, now: datetime, answer: Message | None = None
    ) -> list[Action]:
        """Take an answer that cannot be read or handled: what a poll brought is refused, anything else has failed."""
        if sent.lane is not Lane.POLL:
            return self.failed(sent, Failure.BROKEN, now)
        self._schedule.poll_later(now)
        return self._inbox.refuse(kind, Response(fault.code, fault.description, request_id), answer)

    # -- an answer

    def received(self, sent: Sent, answer: Message | None, now: datetime) -> list[Action]:
        """Take the answer to a message; None is an empty HTTP 200."""
        name, response, before = type(sent.message).__name__, _response(answer), self._registrar.registration
        if not response.ok:
            self._memory.note_refusal(name, str(int(response.code)), response.description or "", now)
        actions = self._meaning(sent, answer, response, now)
        refused = any(isinstance(action, Refused) for action in actions)
        begins_anew = before is not None and self._registrar.registration is None
        unheard = isinstance(answer, RequestReregistration) and sent.lane is not Lane.POLL
        if (refused or unheard) and not begins_anew:
            self._schedule.failed(sent)
        else:
            self._schedule.arrived(sent)
        problems = any(isinstance(action, Noted) and action.problem for action in actions)
        if not response.ok and not refused and not problems:
            actions = [*actions, Refused(name, response.code, response.description or "")]
        return actions

    def _meaning(self, sent: Sent, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        asked = sent.message
        if isinstance(answer, RequestReregistration) and sent.lane is not Lane.POLL:
            return self._registrar.sent_to_reregister(asked, answer)
        if isinstance(asked, CreatePartyRegistration | QueryRegistration):
            return self._registered(asked, answer, response, now)
        lost = response.code == Code.INVALID_ID and isinstance(asked, Poll | RequestEvent)
        if response.code == Code.NOT_REGISTERED or lost:
            self._registrar.happened(RegistrationEvent.UNKNOWN)
            if sent.lane is Lane.POLL:
                self._schedule.poll_later(now)
            return [Refused(type(asked).__name__, response.code, response.description or "")]
        if sent.waiting is not None:
            return self._taken(sent.waiting, answer, response, now)
        if sent.lane is Lane.POLL:
            return self._polled(answer, response, now)
        return self._answered(sent, answer, response, now)

    def _registered(self, asked: Message, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        actions = self._registrar.answered(asked, answer, response.code, response.description or "")
        confirmed = [action for action in actions if isinstance(action, Registered)]
        if confirmed and not confirmed[0].renewed:
            self._schedule.begin_anew()
        if confirmed and (text := self._schedule.odd_period(now)) is not None:
            actions.append(Noted(text, problem=True))
        return actions

    def _taken(self, waiting: Waiting, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take the answer to a message of the outbox: it has arrived, whatever the VTN thinks of it."""
        self._schedule.outbox.done(waiting)
        actions = self._registrar.said(waiting.message)
        if not response.ok:
            name, code, text = type(waiting.message).__name__, response.code, response.description
            actions.append(Noted(f"The VTN refused {name} ({code}): {text}", problem=True))
        elif isinstance(waiting.message, RegisterReport) and isinstance(answer, RegisteredReport):
            actions += self._reports.offered(answer, self._registrar.confirmed, now)
        return actions

    def _polled(self, message: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take what a poll brought."""
        if message is not None and response.ok and self._inbox.takes(message):
            actions = self._inbox.take(message, now)
            self._schedule.poll_on(now)
            return actions
        self._schedule.poll_later(now)
        if message is None:
            self._doubt(Failure.BROKEN, 0.0)
            return [Refused(Poll.__name__, response.code, "an empty answer is no answer to it")]
        if not response.ok:
            return [Refused(Poll.__name__, response.code, response.description or "")]
        return [] if isinstance(message, OadrResponse) else self._inbox.misplaced(message)

    def _answered(self, sent: Sent, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take the answer to a request that has one of its own."""
        handler = self._HANDLERS.get((type(sent.message), type(answer)))
        if handler is not None and (response.ok or isinstance(answer, UpdatedReport)):
            return handler(self, sent, answer, now)
        if sent.task is not None:
            self._reports.postponed(sent.task, now)
        kind = type(answer).__name__ if answer else "an empty answer"
        text = response.description or f"{kind} is no answer to it"
        return [Refused(type(sent.message).__name__, response.code, text)]

    def _listed(self, _: Sent, answer: DistributeEvent, now: datetime) -> list[Action]:
        self._registrar.sync_due = False
        return self._inbox.take(answer, now)

    def _not_listed(self, _: Sent, __: OadrResponse, ___: datetime) -> list[Action]:
        """Take a plain oadrResponse instead of an empty list: it says nothing, so nothing is cancelled."""
        self._registrar.sync_due = False
        return []

    def _offered(self, sent: Sent, answer: RegisteredReport, now: datetime) -> list[Action]:
        self._registrar.offer_due = False
        actions = self._reports.offered(answer, self._registrar.confirmed, now, periodic=sent.task is not None)
        if sent.task is not None and sent.sampled is not None:
            self._reports.confirmed(sent.task, sent.sampled)
        return actions

    def _reported(self, sent: Sent, answer: UpdatedReport, _: datetime) -> list[Action]:
        if sent.task is None or sent.sampled is None:
            return []
        return self._reports.updated(sent.task, sent.sampled, answer)

    _HANDLERS: Final[
        Mapping[
            tuple[type[Message], type[Message] | type[None]], Callable[["Replies", Sent, Any, datetime], list[Action]]
        ]
    ] = {
        (RequestEvent, DistributeEvent): _listed,
        (RequestEvent, OadrResponse): _not_listed,
        (RegisterReport, RegisteredReport): _offered,
        (UpdateReport, UpdatedReport): _reported,
    }
    """(what we asked, what was answered) -> what it means."""


def _response(answer: Message | None) -> Response:
    """Return the eiResponse of an answer; one that has none (or is empty) counts as success."""
    response = getattr(answer, "response", None)
    return response if isinstance(response, Response) else Response()
