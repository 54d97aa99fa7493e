"""The engine of one VEN: what to say next, and what an answer means.

One message is under way at a time. `next_request` hands it out, then exactly one of `received`, `unreadable` and
`failed` follows. All of it is stored before it counts, so a new engine on the same memory goes on where this one
was killed. What one message raises or fails with stays with it: each has its own back-off, and the others go on.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random

from core.errors import UnavailableError
from openadr.model.opt import Availability, OptType
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.messages import Message
from ven.engine.actions import Action
from ven.engine.events import EventHandler, OptPolicy
from ven.engine.inbox import Inbox
from ven.engine.pushes import Pushes
from ven.engine.refusals import name_with_ids
from ven.engine.registration import Registrar, VenSettings
from ven.engine.registration_states import Phase
from ven.engine.replies import Failure, Replies
from ven.engine.reports import ReportHandler
from ven.engine.schedule import Schedule, Sent
from ven.memory import Memory
from ven.quarantine import Quarantine
from ven.reports import Reporter
from ven.vtn_state import Registration


class Engine:
    """One VEN's side of OpenADR 2.0b.

    World time (`now`) says when something is due; `monotonic` is machine time, for back-off only. While world time is
    `in_doubt`, reports of data wait.
    """

    def __init__(
        self,
        memory: Memory,
        policy: OptPolicy,
        reporter: Reporter,
        settings: VenSettings,
        random: Random,
        *,
        quarantine: Quarantine | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        self._memory = memory
        self._quarantine = quarantine or Quarantine(memory)
        self._registrar = Registrar(memory, settings)
        self._events = EventHandler(memory, policy, random, self._quarantine)
        self._reports = ReportHandler(memory, reporter, self._quarantine)
        clocks = (monotonic, in_doubt)
        self._schedule = Schedule(memory, self._registrar, self._reports, self._quarantine, settings, random, *clocks)
        inbox = Inbox(memory, self._registrar, self._events, self._reports)
        self._replies = Replies(memory, self._registrar, self._reports, inbox, self._schedule)
        self._pushes = Pushes(memory, self._registrar, inbox, self._schedule)
        self._under_way: Sent | None = None

    def start(self, now: datetime) -> None:
        """Read the memory and decide where to go on; also after it failed."""
        self._under_way = None
        self._schedule.start()
        self._memory.drop_unreadable(now)
        self._registrar.start(offers_known=self._reports.offers_known(now))

    @property
    def phase(self) -> Phase:
        """How far this VEN is with its VTN."""
        return self._registrar.phase

    @property
    def registration(self) -> Registration | None:
        """The registration that the VTN has confirmed, if any."""
        return self._registrar.registration

    # -- what to say

    def wake_at(self, now: datetime) -> datetime | None:
        """Return when `next_request` may have something to say, as things stand; None: not until something happens.

        A back-off is told as if world time ran like machine time: where it runs faster, this is too early.
        """
        return self._schedule.wake_at(now)

    def next_request(self, now: datetime) -> Message | None:
        """Return the next message to post, or None if nothing is due. Answers go before the next poll (PL-08)."""
        if self._under_way is not None:
            return None
        self._under_way = self._schedule.next(now)
        return self._under_way.message if self._under_way else None

    # -- what came of it

    def failed(
        self, failure: Failure, now: datetime, *, code: str = "", text: str = "", after_s: float = 0.0
    ) -> list[Action]:
        """Take notice that the message under way got no OpenADR answer.

        `code` and `text` are what the VTN said instead, `after_s` how long it wants to be left alone (Retry-After).
        """
        if (sent := self._ended()) is None:
            return []
        with self._memory.transaction():
            if code:
                self._memory.note_refusal(type(sent.message).__name__, code, text, now)
            return self._replies.failed(sent, failure, now, after_s)

    def unreadable(self, element: str, request_id: str, fault: OpenADRError, now: datetime) -> list[Action]:
        """Take notice of an answer that is a message but holds a value that nobody can read (GN-11).

        What came out of a poll is answered in its own terms, so that the VTN does not repeat it for ever.
        """
        if (sent := self._ended()) is None:
            return []
        with self._memory.transaction():
            self._memory.note_fault("unreadable message", element, fault.description, now)
            return self._replies.unusable(sent, element.removeprefix("oadr"), fault, request_id, now)

    def received(self, answer: Message | None, now: datetime) -> list[Action]:
        """Take the answer to the message under way; None is an empty HTTP 200. Returns what the gateway shall do.

        Everything that follows from it is stored together or not at all; where the memory fails (UnavailableError),
        call `start` again: the VTN will repeat itself. An answer that cannot be handled is refused.
        """
        if (sent := self._ended()) is None:
            return []
        key = name_with_ids(answer)
        if self._quarantine.barred("answer", key):
            return self._contained(sent, answer, "handling it ended this VEN before", now)
        try:
            with self._quarantine.handling("answer", key), self._memory.transaction():
                return self._replies.received(sent, answer, now)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this message
            return self._contained(sent, answer, self._quarantine.caught("answer", key, error, now), now)

    # -- what the VTN pushes

    def pushed(self, message: Message, now: datetime) -> tuple[Message | None, list[Action]]:
        """Take a message that the VTN sends by itself, while none of ours is under way.

        Returns what answers it in the same exchange (None: an empty HTTP 200), and what the gateway shall do. Raises
        ConflictError where this VEN is not registered (RG-13), UnavailableError as `received`.
        """
        self._registrar.confirmed  # noqa: B018  it raises
        key = name_with_ids(message)
        if self._quarantine.barred("push", key):
            return self._not_handled(message, "handling it ended this VEN before")
        try:
            with self._quarantine.handling("push", key), self._memory.transaction():
                return self._pushes.take(message, now)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this message
            return self._not_handled(message, self._quarantine.caught("push", key, error, now))

    def pushed_unreadable(
        self, element: str, request_id: str, fault: OpenADRError, now: datetime
    ) -> tuple[Message | None, list[Action]]:
        """Take a pushed message that holds a value which nobody can read; it is refused in its own terms (GN-11)."""
        self._registrar.confirmed  # noqa: B018  it raises
        with self._memory.transaction():
            self._memory.note_fault("unreadable message", element, fault.description, now)
            return self._pushes.refuse(element.removeprefix("oadr"), fault, request_id)

    def _not_handled(self, message: Message, reason: str) -> tuple[Message | None, list[Action]]:
        self._registrar.reread()
        fault = OpenADRError(Code.COMPLIANCE, f"This VEN cannot handle it: {reason}"[:200])
        with self._memory.transaction():
            return self._pushes.refuse(type(message).__name__, fault, getattr(message, "request_id", ""), message)

    def _ended(self) -> Sent | None:
        """Return the message that is no longer under way, if one was."""
        sent, self._under_way = self._under_way, None
        return sent

    def _contained(self, sent: Sent, answer: Message | None, reason: str, now: datetime) -> list[Action]:
        """Refuse an answer whose handling was given up; what it had changed was taken back."""
        self._registrar.reread()
        fault = OpenADRError(Code.COMPLIANCE, f"This VEN cannot handle it: {reason}"[:200])
        request_id: str = getattr(answer, "request_id", "")
        with self._memory.transaction():
            return self._replies.unusable(sent, type(answer).__name__, fault, request_id, now, answer)

    # -- what people want

    def opt(self, event_id: str, opt: OptType, reason: str, now: datetime, *, qualify: bool = False) -> list[Action]:
        """Opt in or out of a known event by hand; `qualify` says it by oadrCreateOpt.

        Raises NotFoundError for an unknown event, ConflictError for one that is over or was refused.
        """
        with self._memory.transaction():
            say = self._events.qualify if qualify else self._events.opt
            return say(event_id, opt, reason, self._registrar.confirmed, now)

    def withdraw(self, event_id: str, reason: str) -> list[Action]:
        """Give up an event that cannot be carried out here; the VTN hears of it."""
        with self._memory.transaction():
            known = self._memory.event(event_id)
            return self._events.withdraw(known, reason, self._registrar.registration) if known else []

    def schedule_opt(
        self,
        availability: Iterable[Availability],
        opt: OptType,
        reason: str,
        now: datetime,
        market_context: str | None = None,
        *,
        keep_chosen: bool = False,
    ) -> tuple[str, list[Action]]:
        """Make an opt schedule; returns its optID. `keep_chosen`: what people chose of single events stands."""
        registration = self._registrar.confirmed
        with self._memory.transaction():
            return self._events.schedule(
                availability, opt, reason, registration, now, market_context, keep_chosen=keep_chosen
            )

    def cancel_opt(self, opt_id: str) -> None:
        """Cancel an opt schedule."""
        with self._memory.transaction():
            self._events.cancel_schedule(opt_id, self._registrar.confirmed)

    def unregister(self) -> None:
        """Cancel the registration: what waits goes out first, then oadrCancelPartyRegistration."""
        self._memory.push(self._registrar.cancel())
