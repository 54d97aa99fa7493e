"""The engine of one VEN: what to say next, and what an answer means.

One message is under way at a time. `next_request` hands it out, then exactly one of `received` and `failed` follows.
All of it is stored before it counts, so a new engine on the same store goes on where this one was killed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Final

from core.ids import new_id
from core.spans import Duration
from openadr.model.codes import Code, OpenADRError
from openadr.model.opt import Availability, OptType
from openadr.v20b.messages import (
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
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
from ven.engine.actions import Action, Noted, Refused
from ven.engine.events import EventDesk, Judge
from ven.engine.party import Party, Settings
from ven.engine.phases import REPLYING, Phase, Turn
from ven.engine.polling import PollTimer
from ven.engine.reports import ReportDesk
from ven.known import Registration, ReportTask
from ven.reports import Reporter, Sampled
from ven.store import Store, Waiting

_MOST_TRIES: Final = 10
_COMES_BACK: Final = Duration.of(hours=1)
"""After so long a VEN asks to register again that the VTN had unregistered (RG-12)."""


class Failure(StrEnum):
    """Why a message got no OpenADR answer (TR-05, TR-11).

    UNREACHABLE: no answer at all, it may or may not have arrived. BUSY: 503. BROKEN: 500 or an unreadable answer.
    REJECTED: 4xx or 501, sending it again unchanged will not help.
    """

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    BROKEN = "broken"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """The message that waits for its answer, and where it came from."""

    message: Message
    waiting: Waiting | None = None
    task: ReportTask | None = None
    sampled: Sampled | None = None


class Engine:
    """One VEN's side of OpenADR 2.0b in pull mode."""

    def __init__(self, store: Store, judge: Judge, reporter: Reporter, settings: Settings, random: Random) -> None:
        self._store = store
        self._settings = settings
        self._party = Party(store, settings)
        self._events = EventDesk(store, judge, random)
        self._reports = ReportDesk(store, reporter)
        self._timer = PollTimer(settings.jitter, random)
        self._under_way: _UnderWay | None = None
        self._report_next = False
        self._reregister = False

    def start(self, now: datetime) -> None:
        """Read the store and decide where to go on; also after a failure of the store."""
        self._under_way = None
        self._reregister = False
        self._timer.at = None
        self._party.start(offers_known=self._reports.offers_known(now))

    @property
    def phase(self) -> Phase:
        """What has to be said to the VTN next."""
        return self._party.phase

    @property
    def registration(self) -> Registration | None:
        """The registration that the VTN has confirmed, if any."""
        return self._party.registration

    # -- what to say

    def wake_at(self, now: datetime) -> datetime | None:
        """Return when `next_request` will have something to say, as things stand; None: not until something happens."""
        if self.phase not in (Phase.SERVING, Phase.OVER):
            return now
        if self._store.first_waiting() is not None:
            return now
        if self.phase is Phase.OVER:
            return self._timer.at if self._party.comes_back else None
        due = self._reports.next_due(now)
        poll_at = self._timer.at or now
        return min(poll_at, due[0]) if due else poll_at

    def next_request(self, now: datetime) -> Message | None:
        """Return the next message to post, or None if nothing is due. Answers go before the next poll (PL-08)."""
        if self._under_way is not None:
            return None
        with self._store.transaction():
            self._under_way = self._choose(now)
        return self._under_way.message if self._under_way else None

    def _choose(self, now: datetime) -> _UnderWay | None:
        if self.phase in REPLYING and (waiting := self._store.first_waiting()) is not None:
            return _UnderWay(waiting.message, waiting=waiting)
        if self.phase is Phase.SERVING:
            return self._serve(now)
        if self.phase is Phase.OVER and self._party.comes_back and self._timer.due(now):
            self._party.turn(Turn.BACK)
        maker = self._MAKERS.get(self.phase)
        return _UnderWay(maker(self, now)) if maker else None

    def _serve(self, now: datetime) -> _UnderWay | None:
        """Choose between a poll and a report; where both are due they take turns."""
        poll_due = self._timer.due(now)
        if not poll_due or self._report_next:
            report = self._report(now)
            if report is not None:
                self._report_next = False
                return report
        if not poll_due:
            return None
        self._report_next = True
        return _UnderWay(Poll(self._party.confirmed.ven_id))

    def _report(self, now: datetime) -> _UnderWay | None:
        while (due := self._reports.next_due(now)) is not None and due[0] <= now:
            message, sampled = self._reports.deliver(due[1], self._party.confirmed, now)
            if message is not None:
                return _UnderWay(message, task=due[1], sampled=sampled)
        return None

    def _query(self, _: datetime) -> Message:
        return self._party.query()

    def _register(self, _: datetime) -> Message:
        return self._party.create()

    def _offer(self, now: datetime) -> Message:
        return self._reports.offer(self._party.confirmed, now)

    def _sync(self, _: datetime) -> Message:
        return RequestEvent(self._party.confirmed.ven_id, new_id("req"))

    _MAKERS: Final = {
        Phase.ASKING: _query,
        Phase.REGISTERING: _register,
        Phase.OFFERING: _offer,
        Phase.SYNCING: _sync,
    }

    # -- what went wrong

    def failed(self, failure: Failure, now: datetime) -> list[Action]:
        """Take notice that the message under way got no OpenADR answer."""
        sent, self._under_way = self._under_way, None
        if sent is None:
            return []
        if isinstance(sent.message, Poll) and failure is Failure.UNREACHABLE:
            self._party.turn(Turn.IN_DOUBT)
        if isinstance(sent.message, QueryRegistration) and failure in (Failure.REJECTED, Failure.BROKEN):
            self._party.turn(Turn.TOLD)  # a VTN that cannot be asked can still be registered with
        with self._store.transaction():
            if sent.waiting is not None:
                return self._reply_failed(sent.waiting, failure)
            if sent.task is not None and failure in (Failure.BROKEN, Failure.REJECTED):
                self._reports.postponed(sent.task, now)
        return []

    def _reply_failed(self, waiting: Waiting, failure: Failure) -> list[Action]:
        kind = type(waiting.message).__name__
        if failure is Failure.BROKEN:
            self._store.tried(waiting.seq)
        hopeless = failure is Failure.REJECTED or (failure is Failure.BROKEN and waiting.tries + 1 >= _MOST_TRIES)
        if not hopeless:
            return []
        self._store.bury(waiting.seq, f"{failure.value} {waiting.tries + 1} times")
        return [*self._said(waiting.message), Noted(f"The VTN does not take {kind}; it was set aside.", problem=True)]

    def unreadable(self, element: str, request_id: str, fault: OpenADRError, now: datetime) -> list[Action]:
        """Take notice of an answer that is a message but holds a value that nobody can read (GN-11).

        What came out of a poll is answered in its own terms, so that the VTN does not repeat it for ever.
        """
        sent = self._under_way
        if sent is None or not isinstance(sent.message, Poll):
            return self.failed(Failure.BROKEN, now)
        self._under_way = None
        ven_id = self._party.confirmed.ven_id
        response = Response(fault.code, fault.description, request_id)
        answers: dict[str, Message] = {
            "oadrDistributeEvent": CreatedEvent(ven_id, replace(response, request_id="")),
            "oadrCreateReport": CreatedReport(response, ven_id=ven_id),
            "oadrRegisterReport": RegisteredReport(response, ven_id=ven_id),
            "oadrCancelReport": CanceledReport(response, ven_id=ven_id),
            "oadrUpdateReport": UpdatedReport(response, ven_id=ven_id),
        }
        with self._store.transaction():
            self._store.push(answers.get(element, OadrResponse(response, ven_id)))
            self._nothing_more(now)
        return [Noted(f"An unreadable {element} was refused: {fault.description}", problem=True)]

    # -- what was answered

    def received(self, answer: Message | None, now: datetime) -> list[Action]:
        """Take the answer to the message under way; None is an empty HTTP 200. Returns what the gateway shall do.

        Everything that follows from it is stored together or not at all; where the store fails (UnavailableError),
        call `start` again: the VTN will repeat itself.
        """
        sent, self._under_way = self._under_way, None
        if sent is None:
            return []
        with self._store.transaction():
            return self._understand(sent, answer, now)

    def _understand(self, sent: _UnderWay, answer: Message | None, now: datetime) -> list[Action]:
        asked, response = sent.message, _response(answer)
        text = response.description or ""
        if isinstance(answer, RequestReregistration):
            polled = self.phase in REPLYING and isinstance(asked, Poll)
            if polled:
                self._more(now)
            known = self._party.registration
            self._reregister = polled and known is not None and known.ven_id == answer.ven_id
            return self._party.asked_again(asked, answer, reply=polled)
        if isinstance(asked, CreatePartyRegistration | QueryRegistration):
            return self._party.answered(asked, answer, response.code, text)
        lost = response.code == Code.INVALID_ID and isinstance(asked, Poll | RequestEvent)
        if response.code == Code.NOT_REGISTERED or lost:
            self._party.turn(Turn.UNKNOWN)
            return [Refused(type(asked).__name__, response.code, text)]
        if sent.waiting is not None:
            return self._replied(sent.waiting, answer, response, now)
        handler = self._HANDLERS.get((type(asked), type(answer)))
        unfit = isinstance(asked, RegisterReport | RequestEvent) and not response.ok
        return (
            self._stray(sent, answer, response, now) if handler is None or unfit else handler(self, sent, answer, now)
        )

    def _stray(self, sent: _UnderWay, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take an answer that does not fit; one that came out of a poll is refused politely (GN-15)."""
        name, kind = type(sent.message).__name__, type(answer).__name__ if answer else "an empty answer"
        if sent.task is not None:
            self._reports.postponed(sent.task, now)
        if isinstance(sent.message, Poll):
            self._nothing_more(now)
            if answer is not None and response.ok:
                text = f"{kind} does not belong into the answer to a poll."
                refusal = Response(Code.COMPLIANCE, text)
                self._store.push(OadrResponse(refusal, self._party.confirmed.ven_id))
                return [Noted(text, problem=True)]
        return [Refused(name, response.code, response.description or f"{kind} is no answer to it")]

    # polling

    def _more(self, now: datetime) -> None:
        self._timer.more(now, self._period)

    def _nothing_more(self, now: datetime) -> None:
        self._timer.nothing(now, self._period)

    @property
    def _period(self) -> Duration:
        known = self._party.registration
        return known.poll_freq if known and known.poll_freq else self._settings.poll

    def _nothing_new(self, _: _UnderWay, answer: Message | None, now: datetime) -> list[Action]:
        self._nothing_more(now)
        response = _response(answer)
        return [] if response.ok else [Refused("Poll", response.code, response.description or "")]

    def _cancelled_by_vtn(self, _: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        assert isinstance(message, CancelPartyRegistration)  # noqa: S101  by the table below
        actions = self._party.cancelled_by_vtn(message)
        if self.phase is Phase.OVER:
            self._timer.nothing(now, _COMES_BACK)
        else:
            self._more(now)
        return actions

    def _delivered(self, sent: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        assert isinstance(message, DistributeEvent)  # noqa: S101  by the table below
        if isinstance(sent.message, RequestEvent):
            self._party.turn(Turn.SYNCED)
        else:
            self._more(now)
        if message.response is not None and not message.response.ok:
            return [Refused(type(sent.message).__name__, message.response.code, message.response.description or "")]
        return self._events.receive(message, self._party.confirmed, now)

    def _no_events(self, _: _UnderWay, __: Message | None, ___: datetime) -> list[Action]:
        """Take a plain oadrResponse instead of an empty list: it says nothing, so nothing is cancelled."""
        self._party.turn(Turn.SYNCED)
        return []

    # reports

    def _offered(self, sent: _UnderWay, answer: Message | None, now: datetime) -> list[Action]:
        assert isinstance(answer, RegisteredReport)  # noqa: S101  by the table below
        self._party.turn(Turn.OFFERED)
        actions = self._reports.offered(answer, self._party.confirmed, now)
        if sent.task is not None and sent.sampled is not None:
            self._reports.confirmed(sent.task, sent.sampled)
        return actions

    def _updated(self, sent: _UnderWay, answer: Message | None, _: datetime) -> list[Action]:
        assert isinstance(answer, UpdatedReport)  # noqa: S101  by the table below
        if sent.task is None or sent.sampled is None:
            return []
        return self._reports.updated(sent.task, sent.sampled, answer)

    def _asked_for_reports(self, _: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        assert isinstance(message, CreateReport)  # noqa: S101  by the table below
        self._more(now)
        if (wrong := self._wrong_ven(message.ven_id, message.request_id)) is not None:
            self._store.push(wrong)
            return []
        return self._reports.requested(message.requests, message.request_id, self._party.confirmed, now)

    def _report_cancelled(self, _: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        assert isinstance(message, CancelReport)  # noqa: S101  by the table below
        self._more(now)
        if (wrong := self._wrong_ven(message.ven_id, message.request_id)) is not None:
            self._store.push(wrong)
            return []
        return self._reports.cancelled(message, self._party.confirmed)

    def _wrong_ven(self, ven_id: str | None, request_id: str) -> Message | None:
        """Return the answer to a message for another VEN (GN-08), or None."""
        known = self._party.confirmed
        if ven_id is None or ven_id == known.ven_id:
            return None
        return OadrResponse(Response(Code.INVALID_ID, f"This VEN is {known.ven_id}.", request_id), known.ven_id)

    def _vtn_offers(self, _: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        """Confirm the VTN's metadata; nothing of it is requested (RP-01)."""
        assert isinstance(message, RegisterReport)  # noqa: S101  by the table below
        self._more(now)
        known = self._party.confirmed
        wrong = message.ven_id not in (None, known.ven_id)
        response = Response(Code.INVALID_ID if wrong else Code.OK, request_id=message.request_id)
        self._store.push(RegisteredReport(response, ven_id=known.ven_id))
        return []

    def _vtn_reports(self, _: _UnderWay, message: Message | None, now: datetime) -> list[Action]:
        """Refuse data that we never asked for (RP-55)."""
        assert isinstance(message, UpdateReport)  # noqa: S101  by the table below
        self._more(now)
        response = Response(Code.INVALID_ID, "This VEN has requested no report.", message.request_id)
        self._store.push(UpdatedReport(response, ven_id=self._party.confirmed.ven_id))
        return []

    _HANDLERS: Final[
        dict[
            tuple[type[Message], type[Message] | type[None]],
            Callable[["Engine", _UnderWay, Message | None, datetime], list[Action]],
        ]
    ] = {
        (Poll, OadrResponse): _nothing_new,
        (Poll, DistributeEvent): _delivered,
        (Poll, CreateReport): _asked_for_reports,
        (Poll, RegisterReport): _vtn_offers,
        (Poll, CancelReport): _report_cancelled,
        (Poll, UpdateReport): _vtn_reports,
        (Poll, CancelPartyRegistration): _cancelled_by_vtn,
        (RequestEvent, DistributeEvent): _delivered,
        (RequestEvent, OadrResponse): _no_events,
        (RegisterReport, RegisteredReport): _offered,
        (UpdateReport, UpdatedReport): _updated,
    }
    """(what we said, what came back) -> what it means (catalogue 0)."""

    # waiting answers

    def _replied(self, waiting: Waiting, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take the answer to a message of the outbox: it has arrived, whatever the VTN thinks of it."""
        self._store.done(waiting.seq)
        actions = self._said(waiting.message)
        if not response.ok:
            name, code, text = type(waiting.message).__name__, response.code, response.description
            actions.append(Noted(f"The VTN refused {name} ({code}): {text}", problem=True))
        elif isinstance(waiting.message, RegisterReport) and isinstance(answer, RegisteredReport):
            actions += self._reports.offered(answer, self._party.confirmed, now)
        return actions

    def _said(self, message: Message) -> list[Action]:
        """Do what was put off until a message was out."""
        if isinstance(message, OadrResponse) and self._reregister:
            self._reregister = False
            self._party.turn(Turn.ASKED_AGAIN)
        if isinstance(message, CancelPartyRegistration):
            return self._party.erase("this VEN cancelled the registration")
        return []

    # -- what people want

    def opt(self, event_id: str, opt: OptType, reason: str, now: datetime, *, qualify: bool = False) -> list[Action]:
        """Opt in or out of a known event by hand; `qualify` says it by oadrCreateOpt.

        Raises NotFoundError for an unknown event, ConflictError for one that is over or was refused.
        """
        with self._store.transaction():
            say = self._events.qualify if qualify else self._events.opt
            return say(event_id, opt, reason, self._party.confirmed, now)

    def schedule_opt(
        self,
        availability: Iterable[Availability],
        opt: OptType,
        reason: str,
        now: datetime,
        market_context: str | None = None,
    ) -> tuple[str, list[Action]]:
        """Make an opt schedule; returns its optID."""
        with self._store.transaction():
            return self._events.schedule(availability, opt, reason, self._party.confirmed, now, market_context)

    def cancel_opt(self, opt_id: str) -> None:
        """Cancel an opt schedule."""
        with self._store.transaction():
            self._events.cancel_schedule(opt_id, self._party.confirmed)

    def unregister(self) -> None:
        """Cancel the registration: what waits goes out first, then oadrCancelPartyRegistration."""
        self._store.push(self._party.cancel())


def _response(answer: Message | None) -> Response:
    """Return the eiResponse of an answer; one that has none (or is empty) counts as success."""
    response = getattr(answer, "response", None)
    return response if isinstance(response, Response) else Response()
