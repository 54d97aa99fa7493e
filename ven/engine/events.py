"""Events: judging a delivery, answering it, remembering it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final, Protocol

from core.errors import ConflictError, InvalidError, NotFoundError, Reason, UnavailableError
from core.ids import new_id
from core.spans import shifted
from openadr.model.contexts import same_context
from openadr.model.event import DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.opt import Availability, Opt, OptType, check_reason
from openadr.v20b.codes import CODES, Code
from openadr.v20b.messages import (
    CancelOpt,
    CreatedEvent,
    CreateOpt,
    DistributeEvent,
    EventResponse,
    Response,
    UnreadableEvent,
)
from ven.engine.actions import Action, EventsChanged, Noted
from ven.memory import Memory
from ven.quarantine import Quarantine
from ven.vtn_state import KnownEvent, Registration, version_key

_KEPT: Final = timedelta(days=30)
"""How long an event is remembered after its end, so that an old version is still known as such (EV-56)."""
_MOST_KEPT: Final = 4 * 1024 * 1024
"""How many bytes of events that are over are remembered: thousands, whatever a VTN sends."""
_HOUSEHOLDS: Final = frozenset({Code.SIGNAL_NOT_SUPPORTED, Code.TARGET_MISMATCH, Code.DEPLOYMENT})
"""The refusals that come of what stands in the household file, and not of the event alone."""
_LONGEST_REASON: Final = 200
_MOST_SCHEDULES: Final = 100


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether this household takes part in an event, and why not. `refusal`: the event asks for what cannot be."""

    opt: OptType
    reason: str = ""
    refusal: Reason | None = None

    @property
    def code(self) -> Code:
        """What the VTN is answered."""
        return Code.OK if self.refusal is None else CODES[self.refusal]


class OptPolicy(Protocol):
    """The household's opinion."""

    def judge(self, event: Event, ven_id: str) -> Verdict:
        """Tell whether an event is sound, and whether the household can and wants to take part (EV-49..EV-52)."""


class EventHandler:
    """Handles event deliveries and opts for one VEN. Everything it decides is stored before it is answered."""

    def __init__(self, memory: Memory, policy: OptPolicy, random: Random, quarantine: Quarantine) -> None:
        self._quarantine = quarantine
        self._memory = memory
        self._policy = policy
        self._random = random

    def receive(self, message: DistributeEvent, registration: Registration, now: datetime) -> list[Action]:
        """Take a delivery: process each event, answer those that want it, cancel what is missing (EV-60)."""
        if message.vtn_id != registration.vtn_id:
            text = f"This VEN belongs to VTN {registration.vtn_id}, not {message.vtn_id[:80]}."
            self._memory.push(CreatedEvent(registration.ven_id, Response(Code.INVALID_ID, text)))
            return [Noted(f"A delivery of events was refused: {text}", problem=True)]
        changed: list[str] = []
        answers: list[EventResponse] = []
        problems: list[Action] = []
        for delivered in message.events:
            answer, new = self._take_alone(delivered, message.request_id, registration, now, problems)
            changed += [delivered.event.event_id] if new else []
            if answer is not None and delivered.event.response_required is ResponseRequired.ALWAYS:
                answers.append(answer)
        wanted = (one for one in message.unreadable if one.response_required is ResponseRequired.ALWAYS)
        answers += [_refusal(one, message.request_id) for one in wanted]
        listed = {one.event.event_id for one in message.events} | {one.event_id for one in message.unreadable}
        changed += self._cancel_missing(listed, now)
        if answers:
            self._memory.push(CreatedEvent(registration.ven_id, Response(), tuple(answers)))
        self._memory.forget_events(before=now)
        self._memory.trim_events(now + _KEPT, _MOST_KEPT)
        return [*([EventsChanged(tuple(dict.fromkeys(changed)))] if changed else []), *problems]

    def _take_alone(
        self,
        delivered: DeliveredEvent,
        request_id: str,
        registration: Registration,
        now: datetime,
        problems: list[Action],
    ) -> tuple[EventResponse | None, bool]:
        """Take one event; whatever it raises is its own refusal, so that the others of its delivery go on (EV-53)."""
        try:
            with self._memory.transaction():
                return self._take(delivered, request_id, registration, now)
        except UnavailableError:
            raise  # the memory, not the event
        except Exception as error:  # noqa: BLE001  nothing that a VTN can write may stop a gateway
            reason = self._quarantine.caught("event", version_key(delivered.event), error, now)
            text = f"This event cannot be handled: {reason}"[:_LONGEST_REASON]
            problems.append(Noted(f"Event {delivered.event.event_id[:80]} was refused: {text}", problem=True))
            return _answer(delivered.event, request_id, OptType.OUT, Code.COMPLIANCE, text), False

    def _take(
        self, delivered: DeliveredEvent, request_id: str, registration: Registration, now: datetime
    ) -> tuple[EventResponse | None, bool]:
        """Return the answer to an event, None if none is due, and whether something changed."""
        event = delivered.event
        if delivered.status is EventStatus.CANCELLED and not event.cancelled:
            event = replace(event, cancelled=True)
        known = self._memory.event(event.event_id)
        if known is not None and event.modification_number < known.event.modification_number:
            text = f"Modification {known.event.modification_number} is known."
            return _answer(event, request_id, known.opt, Code.OUT_OF_SEQUENCE, text), False
        if event.cancelled:
            return self._cancel(event, known, request_id, now)
        if known is not None and _same(known.event, event) and (known.event.cancelled or known.stop_at is None):
            if delivered.status is EventStatus.COMPLETED or known.over(now):
                return None, False  # it was answered while there was something to answer
            if known.code not in _HOUSEHOLDS or not self._suits(event, registration):
                if known.request_id != request_id:
                    self._put(replace(known, request_id=request_id), now)
                return _answer(event, request_id, known.opt, known.code, known.reason), False
        fresh = self._decide(event, known, request_id, registration, now)
        self._put(fresh, now)
        return _answer(event, request_id, fresh.opt, fresh.code, fresh.reason), True

    def _suits(self, event: Event, registration: Registration) -> bool:
        """Tell whether nothing is wrong with an event that was refused: the household file may be another one now."""
        return self._policy.judge(event, registration.ven_id).refusal is None

    def _decide(
        self, event: Event, known_event: KnownEvent | None, request_id: str, registration: Registration, now: datetime
    ) -> KnownEvent:
        verdict = self._policy.judge(event, registration.ven_id)
        offset_s = 0
        if verdict.refusal is None:
            try:
                offset_s = self._offset(event, known_event)
            except InvalidError as error:
                verdict = Verdict(OptType.OUT, str(error), Reason.BREAKS_A_RULE)
        if verdict.refusal is None:
            span = KnownEvent(event, request_id, verdict.opt, offset_s).span
            verdict = self._by_schedule(event, verdict, span.start, span.end)
            begun = known_event is not None and known_event.runs
            if not begun and span.end is not None and span.end <= now:
                text = f"The event was over at {span.end:%Y-%m-%d %H:%M:%SZ}."
                verdict = Verdict(OptType.OUT, text, Reason.INVALID_DATA)
        by_hand = known_event is not None and known_event.by_hand and verdict.refusal is None
        if known_event is not None and by_hand:
            verdict = Verdict(known_event.opt, known_event.reason)
        reason = verdict.reason[:_LONGEST_REASON]
        return KnownEvent(event, request_id, verdict.opt, offset_s, verdict.code, reason, by_hand=by_hand)

    def _offset(self, event: Event, known_event: KnownEvent | None) -> int:
        """Return the random delay; a modification keeps it unless startafter changed (EV-61). Raises InvalidError.

        An event that was refused has none to keep.
        """
        drawn = known_event is not None and known_event.code == Code.OK
        if known_event is not None and drawn and known_event.event.period.start_after == event.period.start_after:
            return known_event.offset_s
        return self._random.randint(0, event.period.window_s)

    def _by_schedule(self, event: Event, verdict: Verdict, start: datetime, end: datetime | None) -> Verdict:
        if verdict.opt is OptType.OUT:
            return verdict
        for opt in self._memory.opts():
            if opt.opt_type is OptType.OUT and _concerns(opt, event, start, end):
                return Verdict(OptType.OUT, f"opt schedule: {opt.reason}", verdict.refusal)
        return verdict

    def _cancel(
        self, event: Event, known_event: KnownEvent | None, request_id: str, now: datetime
    ) -> tuple[EventResponse, bool]:
        """Cancel on the VTN's word; an unknown event is only answered (EV-57, EV-58)."""
        answer = _answer(event, request_id, OptType.IN)
        if known_event is None:
            return answer, False
        first = not known_event.event.cancelled
        stop_at = self._stop_at(known_event, now) if known_event.stop_at is None else known_event.stop_at
        body = replace(known_event.event, cancelled=True, modification_number=event.modification_number)
        self._put(replace(known_event, event=body, request_id=request_id, stop_at=stop_at), now)
        return answer, first

    def _cancel_missing(self, listed: set[str], now: datetime) -> list[str]:
        return [
            known.event.event_id
            for known in self._memory.events()
            if known.event.event_id not in listed and known.code == Code.OK and self._cancel_as_missing(known, now)
        ]

    def _cancel_as_missing(self, event: KnownEvent, now: datetime) -> bool:
        try:
            if event.stop_at is not None or event.over(now):
                return False
            self._put(replace(event, stop_at=self._stop_at(event, now)), now)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this event
            self.set_aside(event, self._quarantine.caught("event", version_key(event.event), error, now))
        return True

    def set_aside(self, event: KnownEvent, reason: str) -> None:
        """Refuse a stored event that cannot be carried out: from now on it is only remembered."""
        text = f"This VEN cannot carry it out: {reason}"[:_LONGEST_REASON]
        self._memory.put_event(replace(event, opt=OptType.OUT, code=Code.COMPLIANCE, reason=text, by_hand=False))

    def withdraw(self, known_event: KnownEvent, reason: str, registration: Registration | None) -> list[Action]:
        """Set a stored event aside and tell the VTN, with the delivery's requestID (EV-44, GN-11)."""
        self.set_aside(known_event, reason)
        event = known_event.event
        if registration is not None and _may_be_named(known_event):
            answer = _answer(event, known_event.request_id, OptType.OUT, Code.COMPLIANCE, reason)
            self._memory.push(CreatedEvent(registration.ven_id, Response(), (answer,)))
        return [EventsChanged((event.event_id,))]

    def _stop_at(self, event: KnownEvent, now: datetime) -> datetime:
        """Return when a cancelled event stops here: at once, or randomised if it runs and was randomised (EV-62)."""
        if event.start > now or not event.runs:
            return now
        return shifted(now, self._random.randint(0, event.event.period.window_s))

    def _put(self, event: KnownEvent, now: datetime) -> None:
        settled = event.code != Code.OK or event.over(now)
        end = now if settled else event.span.end
        kept = None if end is None else shifted(max(end, now), _KEPT.total_seconds())
        self._memory.put_event(event, kept)

    # -- opts

    def opt(self, event_id: str, opt: OptType, reason: str, registration: Registration, now: datetime) -> list[Action]:
        """Change the opt of a known event by hand and tell the VTN, with the delivery's requestID (EV-44, EV-47).

        An event that wants no response (EV-41), or that was cancelled (EV-59), is only changed here. Raises
        NotFoundError, or ConflictError where the event is over or was refused.
        """
        known = self._changeable(event_id, now)
        if known.opt is opt:
            return []
        self._put(replace(known, opt=opt, reason=reason, by_hand=True), now)
        if _may_be_named(known):
            answer = _answer(known.event, known.request_id, opt, Code.OK, reason)
            self._memory.push(CreatedEvent(registration.ven_id, Response(), (answer,)))
        return [EventsChanged((event_id,))]

    def qualify(
        self, event_id: str, opt: OptType, reason: str, registration: Registration, now: datetime
    ) -> list[Action]:
        """Like `opt`, by oadrCreateOpt: from then on only another one changes it (OP-01, OP-08).

        Raises ConflictError for an event that wants no response (OP-10), or that was cancelled (EV-59), InvalidError
        for a reason that is no optReason.
        """
        check_reason(reason)
        known = self._changeable(event_id, now)
        if known.stop_at is not None:
            raise ConflictError(f"Event {event_id} was cancelled; nothing more is said of it.")
        if known.event.response_required is ResponseRequired.NEVER:
            raise ConflictError(f"Event {event_id} wants no response; OpenADR allows no oadrCreateOpt for it.")
        self._put(replace(known, opt=opt, reason=reason, by_hand=True), now)
        number = known.event.modification_number
        body = Opt(new_id("opt"), opt, reason, now, event_id=event_id, modification_number=number)
        self._memory.push(CreateOpt(registration.ven_id, new_id("req"), body))
        return [EventsChanged((event_id,))]

    def schedule(
        self,
        availability: Iterable[Availability],
        opt: OptType,
        reason: str,
        registration: Registration,
        now: datetime,
        market_context: str | None = None,
        *,
        keep_chosen: bool = False,
    ) -> tuple[str, list[Action]]:
        """Make an opt schedule and return its optID; events inside an optOut one are not carried out (OP-02).

        With `keep_chosen` those stay as they are of which people chose, singly, whether to take part. Schedules that
        are over are forgotten. Raises InvalidError for one without a span, for a reason that is no optReason, and where
        too many are kept.
        """
        check_reason(reason)
        self._forget_schedules(now)
        if len(self._memory.opts()) >= _MOST_SCHEDULES:
            raise InvalidError(f"This gateway keeps at most {_MOST_SCHEDULES} opt schedules; cancel one first.")
        body = Opt(new_id("opt"), opt, reason, now, availability=tuple(availability), market_context=market_context)
        if not body.availability:
            raise InvalidError("An opt schedule needs at least one span of time.")
        self._memory.put_opt(body)
        self._memory.push(CreateOpt(registration.ven_id, new_id("req"), body))
        changed = []
        for known in self._memory.events():
            chosen = known.by_hand and keep_chosen
            if opt is OptType.OUT and known.runs and not known.over(now) and not chosen:
                span = known.span
                if _concerns(body, known.event, span.start, span.end):
                    self._put(replace(known, opt=opt, reason=f"opt schedule: {reason}"), now)
                    changed.append(known.event.event_id)
        return body.opt_id, [EventsChanged(tuple(changed))] if changed else []

    def _forget_schedules(self, now: datetime) -> None:
        for opt in self._memory.opts():
            ends = [available.span.end for available in opt.availability]
            if all(end is not None and end <= now for end in ends):
                self._memory.drop_opt(opt.opt_id)

    def cancel_schedule(self, opt_id: str, registration: Registration) -> None:
        """Cancel an opt schedule; opts that qualify an event cannot be cancelled so (OP-13)."""
        if all(one.opt_id != opt_id for one in self._memory.opts()):
            raise NotFoundError(f"There is no opt schedule '{opt_id}'.")
        self._memory.drop_opt(opt_id)
        self._memory.push(CancelOpt(registration.ven_id, new_id("req"), opt_id))

    def _changeable(self, event_id: str, now: datetime) -> KnownEvent:
        known = self._memory.event(event_id)
        if known is None:
            raise NotFoundError(f"There is no event '{event_id}'.")
        if known.code != Code.OK:
            raise ConflictError(f"Event {event_id} was refused: {known.reason}")
        if known.over(now):
            raise ConflictError(f"Event {event_id} is over.")
        return known


def _answer(event: Event, request_id: str, opt: OptType, code: int = Code.OK, text: str = "") -> EventResponse:
    return EventResponse(event.event_id, event.modification_number, opt, request_id, code, text or None)


def _may_be_named(event: KnownEvent) -> bool:
    """Tell whether the VTN may hear of an event unasked: not if it wants no answer, or cancelled it (EV-41, EV-59)."""
    return event.event.response_required is ResponseRequired.ALWAYS and event.stop_at is None


def _refusal(event: UnreadableEvent, request_id: str) -> EventResponse:
    """Answer an event that cannot be read: the others of its delivery go on (EV-53)."""
    number = event.modification_number
    why = event.why[:_LONGEST_REASON]
    return EventResponse(event.event_id, number, OptType.OUT, request_id, Code.INVALID_DATA, why)


def _same(event: Event, other: Event) -> bool:
    """Tell whether two versions of an event are alike but for what a VTN may renew at will (EV-07)."""
    return _bare(event) == _bare(other)


def _bare(event: Event) -> str:
    """Return an event as text: there NaN, which a VTN may well send, equals itself."""
    signals = tuple(replace(signal, current_value=None) for signal in event.signals)
    bare = replace(event, created_at=event.period.start, cancelled=False, signals=signals)
    return json.dumps(asdict(bare), default=str)


def _concerns(opt: Opt, event: Event, start: datetime, end: datetime | None) -> bool:
    if opt.market_context is not None and not same_context(opt.market_context, event.market_context):
        return False
    for one in opt.availability:
        span = one.span
        if (end is None or span.start < end) and (span.end is None or start < span.end):
            return True
    return False
