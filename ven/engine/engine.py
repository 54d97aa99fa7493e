"""The engine of one VEN: what to say next, and what an answer means.

One message is under way at a time. `next_request` hands it out, then exactly one of `received` and `failed` follows.
All of it is stored before it counts, so a new engine on the same store goes on where this one was killed. What one
message raises or fails with stays with it: each has its own back-off, and the others go on.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Final

from core.errors import UnavailableError
from core.ids import new_id
from core.spans import Duration
from openadr.model.opt import Availability, OptType
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import (
    CancelPartyRegistration,
    CancelReport,
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
from ven.engine.actions import Action, Noted, Refused, Registered
from ven.engine.events import EventDesk, Judge
from ven.engine.outbox import Outbox
from ven.engine.pacing import Budget, Retries
from ven.engine.polling import PollTimer, bounded_period
from ven.engine.refusals import name_with_ids, refusal
from ven.engine.registration import Party, Settings
from ven.engine.registration_states import LANES, RIGHT_OF_WAY, Lane, Phase, Turn
from ven.engine.reports import ReportDesk
from ven.quarantine import Quarantine
from ven.reports import Reporter, Sampled
from ven.store import Store, Waiting
from ven.vtn_state import Registration, ReportTask

_COMES_BACK: Final = timedelta(hours=1)
"""After so long a VEN asks to register again that the VTN had unregistered (RG-12)."""
_POLL_LONGEST_S: Final = 60.0
"""A poll that failed is at most so much later than the VTN's frequency wants it."""
_REJECTED_S: Final = 300.0
"""What the VTN rejects on the transport is not sent again unchanged soon (TR-11)."""
_A_MOMENT: Final = timedelta(milliseconds=1)
_MOST_SILENT: Final = 100
"""Reports without anything to say that are passed over in one go."""


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
    """The message that waits for its answer, and where it came from. `key` names its back-off."""

    lane: Lane
    key: Hashable
    message: Message
    waiting: Waiting | None = None
    task: ReportTask | None = None
    sampled: Sampled | None = None


class Engine:
    """One VEN's side of OpenADR 2.0b in pull mode.

    World time (`now`) says when something is due; `monotonic` is machine time, for back-off only.
    """

    def __init__(
        self,
        store: Store,
        judge: Judge,
        reporter: Reporter,
        settings: Settings,
        random: Random,
        *,
        quarantine: Quarantine | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings
        self._quarantine = quarantine or Quarantine(store)
        self._party = Party(store, settings)
        self._events = EventDesk(store, judge, random, self._quarantine)
        self._reports = ReportDesk(store, reporter, self._quarantine)
        self._timer = PollTimer(settings.jitter, random)
        self._retries = Retries(settings.longest_wait_s, random, monotonic)
        self._outbox = Outbox(store, self._retries)
        self._budget = Budget(settings.burst)
        self._under_way: _UnderWay | None = None
        self._turns: list[Lane] = [Lane.POLL, Lane.REPORT]
        self._reregister = False

    def start(self, now: datetime) -> None:
        """Read the store and decide where to go on; also after a failure of the store."""
        self._under_way = None
        self._reregister = False
        self._timer.at_once()
        self._retries.clear()
        self._outbox.start()
        self._store.drop_unreadable(now)
        self._party.start(offers_known=self._reports.offers_known(now))

    @property
    def phase(self) -> Phase:
        """How far this VEN is with its VTN."""
        return self._party.phase

    @property
    def registration(self) -> Registration | None:
        """The registration that the VTN has confirmed, if any."""
        return self._party.registration

    # -- what to say

    def wake_at(self, now: datetime) -> datetime | None:
        """Return when `next_request` may have something to say, as things stand; None: not until something happens.

        A back-off is told as if world time ran like machine time: where it runs faster, this is too early.
        """
        times = [when for lane in LANES[self.phase] if (when := self._due_at(lane, now)) is not None]
        if self.phase is Phase.OVER and self._party.comes_back and self._timer.at is not None:
            times.append(self._timer.at)
        if (left_s := self._retries.soonest_s()) is not None:
            times.append(now + timedelta(seconds=left_s) + _A_MOMENT)
        return max(min(times), now + self._budget.wait(now)) if times else None

    def next_request(self, now: datetime) -> Message | None:
        """Return the next message to post, or None if nothing is due. Answers go before the next poll (PL-08)."""
        if self._under_way is not None or self._budget.wait(now):
            return None
        with self._store.transaction():
            self._under_way = self._choose(now)
        if self._under_way is None:
            return None
        self._budget.spend()
        return self._under_way.message

    def _choose(self, now: datetime) -> _UnderWay | None:
        if self.phase is Phase.OVER and self._party.comes_back and self._timer.due(now) and not self._outbox.next():
            self._party.turn(Turn.BACK)
            self._timer.at_once()
        lanes = LANES[self.phase]
        order = [lane for lane in lanes if lane not in self._turns] + [lane for lane in self._turns if lane in lanes]
        for lane in order:
            if (chosen := self._take(lane, now)) is not None:
                if lane in self._turns:
                    self._wait_a_turn(lane)
                return chosen
        return None

    def _take(self, lane: Lane, now: datetime) -> _UnderWay | None:
        """Return a lane's message if one is due; what making it raises holds up this lane only."""
        try:
            with self._store.transaction():
                due_at = self._due_at(lane, now)
                return self._MAKERS[lane](self, now) if due_at is not None and due_at <= now else None
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the other lanes go on
            self._quarantine.caught("message", lane, error, now)
            self._retries.failed(lane)
            return None

    def _due_at(self, lane: Lane, now: datetime) -> datetime | None:
        """Return when a lane has something to say; None: it has nothing, or waits for its back-off."""
        if not self._retries.ready(lane):
            return None
        if lane is Lane.POLL:
            return now if self._timer.at is None or self._timer.due(now) else self._timer.at
        if lane is Lane.REPORT:
            due = self._reports.next_due(now, self._held)
            return due[0] if due else None
        idle = (
            (lane is Lane.OFFER and not self._party.offer_due)
            or (lane is Lane.SYNC and not self._party.sync_due)
            or (lane is Lane.ANSWER and self._outbox.next() is None)
        )
        return None if idle else now

    def _held(self, task: ReportTask) -> bool:
        return not self._retries.ready(_report_key(task))

    def _wait_a_turn(self, lane: Lane) -> None:
        if lane in self._turns:
            self._turns.remove(lane)
        self._turns.append(lane)

    def _query(self, _: datetime) -> _UnderWay:
        return _UnderWay(Lane.QUERY, Lane.QUERY, self._party.query())

    def _register(self, _: datetime) -> _UnderWay:
        return _UnderWay(Lane.REGISTER, Lane.REGISTER, self._party.create())

    def _offer(self, now: datetime) -> _UnderWay:
        return _UnderWay(Lane.OFFER, Lane.OFFER, self._reports.offer(self._party.confirmed, now))

    def _answer(self, _: datetime) -> _UnderWay | None:
        waiting = self._outbox.next()
        return _UnderWay(Lane.ANSWER, waiting.seq, waiting.message, waiting=waiting) if waiting else None

    def _sync(self, _: datetime) -> _UnderWay:
        return _UnderWay(Lane.SYNC, Lane.SYNC, RequestEvent(self._party.confirmed.ven_id, new_id("req")))

    def _poll(self, _: datetime) -> _UnderWay:
        return _UnderWay(Lane.POLL, Lane.POLL, Poll(self._party.confirmed.ven_id))

    def _report(self, now: datetime) -> _UnderWay | None:
        for _ in range(_MOST_SILENT):
            due = self._reports.next_due(now, self._held)
            if due is None or due[0] > now:
                return None
            task = due[1]
            message, sampled = self._reports.deliver(task, self._party.confirmed, now)
            if message is not None:
                return _UnderWay(Lane.REPORT, _report_key(task), message, task=task, sampled=sampled)
        self._retries.failed(Lane.REPORT)
        return None

    _MAKERS: Final[dict[Lane, Callable[["Engine", datetime], _UnderWay | None]]] = {
        Lane.QUERY: _query,
        Lane.REGISTER: _register,
        Lane.OFFER: _offer,
        Lane.ANSWER: _answer,
        Lane.SYNC: _sync,
        Lane.POLL: _poll,
        Lane.REPORT: _report,
    }

    # -- what went wrong

    def failed(
        self, failure: Failure, now: datetime, *, code: str = "", text: str = "", after_s: float = 0.0
    ) -> list[Action]:
        """Take notice that the message under way got no OpenADR answer.

        `code` and `text` are what the VTN said instead, `after_s` how long it wants to be left alone (Retry-After).
        """
        sent, self._under_way = self._under_way, None
        if sent is None:
            return []
        with self._store.transaction():
            if code:
                self._store.note_refusal(type(sent.message).__name__, code, text, now)
            return self._failed(sent, failure, now, after_s)

    def _failed(self, sent: _UnderWay, failure: Failure, now: datetime, after_s: float) -> list[Action]:
        self._wait_a_turn(sent.lane)
        if sent.waiting is not None:
            self._outbox.failed(sent.waiting, after_s)
            return self._answer_failed(sent.waiting, failure)
        rejected = failure is Failure.REJECTED and sent.lane in (Lane.OFFER, Lane.SYNC)
        self._retries.failed(
            sent.key,
            least_s=max(after_s, _REJECTED_S) if rejected else after_s,
            longest_s=_POLL_LONGEST_S if sent.lane is Lane.POLL else None,
        )
        if sent.lane is Lane.POLL:
            self._nothing_more(now)
            if failure is not Failure.REJECTED:
                self._doubt(failure, after_s)
        elif sent.lane is Lane.QUERY and failure in (Failure.REJECTED, Failure.BROKEN):
            self._party.turn(Turn.TOLD)  # a VTN that cannot be asked can still be registered with
        elif sent.task is not None and failure in (Failure.BROKEN, Failure.REJECTED):
            self._reports.postponed(sent.task, now)
        return []

    def _doubt(self, failure: Failure, after_s: float) -> None:
        """Ask for all events: a poll whose answer was lost may have carried the last delivery of one (PL-09).

        A 503 may come from a proxy that lost the answer; it is believed, and asked a little later.
        """
        if failure is Failure.BUSY and not self._party.sync_due:
            self._retries.failed(Lane.SYNC, least_s=after_s)
        self._party.sync_due = True

    def _answer_failed(self, waiting: Waiting, failure: Failure) -> list[Action]:
        kind = type(waiting.message).__name__
        broke = failure is Failure.BROKEN and self._outbox.broke(waiting)
        if not broke and failure is not Failure.REJECTED:
            return []
        self._outbox.bury(waiting, f"{failure.value} {waiting.tries + 1} times")
        return [*self._said(waiting.message), Noted(f"The VTN does not take {kind}; it was set aside.", problem=True)]

    def unreadable(self, element: str, request_id: str, fault: OpenADRError, now: datetime) -> list[Action]:
        """Take notice of an answer that is a message but holds a value that nobody can read (GN-11).

        What came out of a poll is answered in its own terms, so that the VTN does not repeat it for ever.
        """
        sent, self._under_way = self._under_way, None
        if sent is None:
            return []
        with self._store.transaction():
            self._store.note_fault("unreadable message", element, fault.description, now)
            response = Response(fault.code, fault.description, request_id)
            return self._refuse(sent, refusal(element.removeprefix("oadr"), response, self._ven_id), fault, now)

    def _refuse(self, sent: _UnderWay, answer: Message, fault: OpenADRError, now: datetime) -> list[Action]:
        """Answer what came out of a poll and cannot be handled; anything else has just failed."""
        if sent.lane is not Lane.POLL:
            return self._failed(sent, Failure.BROKEN, now, 0.0)
        self._store.push(answer)
        self._nothing_more(now)
        return [Noted(f"A message of the VTN was refused: {fault.description}", problem=True)]

    @property
    def _ven_id(self) -> str:
        known = self._party.registration
        return known.ven_id if known else self._settings.ven_id or ""

    # -- what was answered

    def received(self, answer: Message | None, now: datetime) -> list[Action]:
        """Take the answer to the message under way; None is an empty HTTP 200. Returns what the gateway shall do.

        Everything that follows from it is stored together or not at all; where the store fails (UnavailableError),
        call `start` again: the VTN will repeat itself. An answer that cannot be handled is refused.
        """
        sent, self._under_way = self._under_way, None
        if sent is None:
            return []
        key = name_with_ids(answer)
        if self._quarantine.barred("answer", key):
            return self._contained(sent, answer, "handling it ended this VEN before", now)
        try:
            with self._quarantine.handling("answer", key), self._store.transaction():
                return self._understand(sent, answer, now)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this message
            return self._contained(sent, answer, self._quarantine.caught("answer", key, error, now), now)

    def _contained(self, sent: _UnderWay, answer: Message | None, reason: str, now: datetime) -> list[Action]:
        """Refuse an answer whose handling was given up; what it had changed was taken back."""
        self._party.reread()
        fault = OpenADRError(Code.COMPLIANCE, f"This VEN cannot handle it: {reason}"[:200])
        response = Response(fault.code, fault.description, getattr(answer, "request_id", ""))
        with self._store.transaction():
            return self._refuse(sent, refusal(type(answer).__name__, response, self._ven_id, answer), fault, now)

    def _understand(self, sent: _UnderWay, answer: Message | None, now: datetime) -> list[Action]:
        name, response, before = type(sent.message).__name__, _response(answer), self._party.registration
        if not response.ok:
            self._store.note_refusal(name, str(int(response.code)), response.description or "", now)
        actions = self._meaning(sent, answer, response, now)
        refused = any(isinstance(action, Refused) for action in actions)
        begins_anew = before is not None and self._party.registration is None
        unheard = isinstance(answer, RequestReregistration) and sent.lane is not Lane.POLL
        if (refused or unheard) and not begins_anew:
            self._wait_a_turn(sent.lane)
            if sent.waiting is None:
                self._retries.failed(sent.key, longest_s=_POLL_LONGEST_S if sent.lane is Lane.POLL else None)
        else:
            self._retries.over(sent.key)
            if sent.lane in RIGHT_OF_WAY and sent.lane in self._turns:
                self._turns.remove(sent.lane)
        problems = any(isinstance(action, Noted) and action.problem for action in actions)
        if not response.ok and not refused and not problems:
            actions = [*actions, Refused(name, response.code, response.description or "")]
        return actions

    def _meaning(self, sent: _UnderWay, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        asked, text = sent.message, response.description or ""
        if isinstance(answer, RequestReregistration):
            return self._asked_again(sent, answer, now)
        if isinstance(asked, CreatePartyRegistration | QueryRegistration):
            return self._registered(asked, answer, response, now)
        lost = response.code == Code.INVALID_ID and isinstance(asked, Poll | RequestEvent)
        if response.code == Code.NOT_REGISTERED or lost:
            self._party.turn(Turn.UNKNOWN)
            if sent.lane is Lane.POLL:
                self._nothing_more(now)
            if sent.waiting is not None:
                self._outbox.failed(sent.waiting, 0.0)
            return [Refused(type(asked).__name__, response.code, text)]
        if sent.waiting is not None:
            return self._replied(sent.waiting, answer, response, now)
        handler = self._HANDLERS.get((type(asked), type(answer)))
        unfit = isinstance(asked, RegisterReport | RequestEvent) and not response.ok
        return (
            self._stray(sent, answer, response, now) if handler is None or unfit else handler(self, sent, answer, now)
        )

    def _asked_again(self, sent: _UnderWay, answer: RequestReregistration, now: datetime) -> list[Action]:
        polled = sent.lane is Lane.POLL
        if polled:
            self._more(now)
        if sent.waiting is not None:
            self._outbox.failed(sent.waiting, 0.0)
        known = self._party.registration
        self._reregister = polled and known is not None and known.ven_id == answer.ven_id
        return self._party.asked_again(sent.message, answer, reply=polled)

    def _registered(self, asked: Message, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        actions = self._party.answered(asked, answer, response.code, response.description or "")
        known = self._party.registration
        if known is not None and known.poll_freq and any(isinstance(action, Registered) for action in actions):
            wanted, period = str(known.poll_freq), self._period(now)
            if known.poll_freq != Duration.between(now, now + period):
                bounds = "the bounds are vtn.shortest_poll and vtn.longest_poll"
                text = f"The VTN asks to be polled every {wanted}; it is polled every {period}: {bounds}."
                actions.append(Noted(text, problem=True))
        return actions

    def _stray(self, sent: _UnderWay, answer: Message | None, response: Response, now: datetime) -> list[Action]:
        """Take an answer that does not fit; one that came out of a poll is refused politely (GN-15)."""
        name, kind = type(sent.message).__name__, type(answer).__name__ if answer else "an empty answer"
        if sent.task is not None:
            self._reports.postponed(sent.task, now)
        if isinstance(sent.message, Poll):
            self._nothing_more(now)
            if answer is None:
                self._doubt(Failure.BROKEN, 0.0)
            elif response.ok:
                text = f"{kind} does not belong into the answer to a poll."
                self._store.push(OadrResponse(Response(Code.COMPLIANCE, text), self._party.confirmed.ven_id))
                return [Noted(text, problem=True)]
        return [Refused(name, response.code, response.description or f"{kind} is no answer to it")]

    # polling

    def _more(self, now: datetime) -> None:
        self._timer.more(now, self._period(now))

    def _nothing_more(self, now: datetime) -> None:
        self._timer.nothing(now, self._period(now))

    def _period(self, now: datetime) -> timedelta:
        known = self._party.registration
        asked = known.poll_freq if known and known.poll_freq else self._settings.poll
        return bounded_period(asked, self._settings.shortest_poll, self._settings.longest_poll, now)

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
        if message.response is not None and not message.response.ok:
            if sent.lane is Lane.POLL:
                self._nothing_more(now)
            return [Refused(type(sent.message).__name__, message.response.code, message.response.description or "")]
        if sent.lane is Lane.SYNC:
            self._party.sync_due = False
        else:
            self._more(now)
        return self._events.receive(message, self._party.confirmed, now)

    def _no_events(self, _: _UnderWay, __: Message | None, ___: datetime) -> list[Action]:
        """Take a plain oadrResponse instead of an empty list: it says nothing, so nothing is cancelled."""
        self._party.sync_due = False
        return []

    # reports

    def _offered(self, sent: _UnderWay, answer: Message | None, now: datetime) -> list[Action]:
        assert isinstance(answer, RegisteredReport)  # noqa: S101  by the table below
        self._party.offer_due = False
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
        self._outbox.done(waiting)
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

    def withdraw(self, event_id: str, reason: str) -> list[Action]:
        """Give up an event that cannot be carried out here; the VTN hears of it."""
        with self._store.transaction():
            known = self._store.event(event_id)
            return self._events.withdraw(known, reason, self._party.registration) if known else []

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


def _report_key(task: ReportTask) -> tuple[str, str]:
    return ("report", task.id)


def _response(answer: Message | None) -> Response:
    """Return the eiResponse of an answer; one that has none (or is empty) counts as success."""
    response = getattr(answer, "response", None)
    return response if isinstance(response, Response) else Response()
