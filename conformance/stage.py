"""What a dialogue has at hand: VENs to speak for, the operator, the world's time, and a transcript that grows."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from conformance import judge, keys
from conformance import templates as t
from conformance.exchange import Exchange, Headers, Request, Transcript
from conformance.judge import Document
from conformance.operator import EventOrder, Identity, Operator, OperatorRefusedError, SignalOrder, UnableError
from conformance.signing import Signer
from conformance.templates import Message
from conformance.vens.messages import updated_report
from conformance.verdict import Failed
from conformance.wire import Access, Credentials, Line, Outcome, tls_context
from core.clock import machine_now
from core.errors import EvenloadError

_MOST_POLLS: Final = 40
_LONGEST_KEPT: Final = 1 << 18
"""Of a request that is larger the transcript keeps the beginning."""


class BrokenOffError(EvenloadError):
    """A dialogue cannot go on: an answer that it needs did not come."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The VTN's world time, as a function of this machine's: `speed` times as fast, from an origin on."""

    world: datetime
    machine: datetime
    speed: float = 1.0

    def now(self) -> datetime:
        """Return the world's time."""
        return self.world + (machine_now() - self.machine) * self.speed

    @property
    def shown(self) -> dict[str, Any]:
        """What of it a transcript keeps, for `Transcript.machine_time`."""
        return {"world": self.world.isoformat(), "machine": self.machine.isoformat(), "speed": self.speed}

    def sleep_until(self, when: datetime) -> None:
        """Wait for a time of the world."""
        while (left := (when - self.now()).total_seconds()) > 0:
            time.sleep(min(left / self.speed, 1.0))


class Stage:
    """One dialogue's surroundings. Whatever is said goes into the transcript, under the name of its step.

    `pace_s` is the length (world time) of what is waited for: an interval, a ramp-up. What is random comes from the
    seed, so that a run can be repeated; only names that have to be new at the VTN hold the time, too.
    """

    def __init__(
        self,
        name: str,
        access: Access,
        operator: Operator,
        timeline: Timeline,
        directory: Path,
        seed: int,
        pace_s: int,
        expired: Credentials | None = None,
        push_address: str | None = None,
    ) -> None:
        self.access = access
        self.operator = operator
        self.timeline = timeline
        self.directory = directory
        self.pace_s = pace_s
        self.expired = expired
        self.push_address = push_address
        self._name = name
        self._run = f"{timeline.world:%Y%m%d%H%M%S%f}"
        self._random = random.Random(f"{seed} {name}")  # noqa: S311  repeatable on purpose
        self._exchanges: list[Exchange] = []
        self._facts: dict[str, Any] = {"pace_s": pace_s, "clock": timeline.shown}
        self._events: list[str] = []
        self._unable: list[str] = []
        self._vens: list[Ven] = []

    def transcript(self, broke: str = "") -> Transcript:
        """Return what has been said so far, and why not more."""
        reasons = [*dict.fromkeys(self._unable), *([broke] if broke else [])]
        return Transcript(self._name, tuple(self._exchanges), dict(self._facts), "; ".join(reasons))

    def fact(self, name: str, value: Any) -> None:
        """Keep something for the checks; JSON."""
        self._facts[name] = value

    def token(self) -> str:
        """Return an id that was not used before."""
        return f"{self._random.getrandbits(48):012x}"

    def now(self) -> datetime:
        """Return world time."""
        return self.timeline.now()

    def after(self, paces: float) -> datetime:
        """Return the time that is so many paces away, in whole seconds."""
        return (self.now() + timedelta(seconds=paces * self.pace_s)).replace(microsecond=0)

    def keep(self, exchange: Exchange) -> None:
        """Add an exchange to the transcript."""
        self._exchanges.append(exchange)

    # -- VENs

    def stranger(self, label: str, credentials: Credentials | None, suites: str = "") -> "Ven":
        """Return somebody with these credentials, or with none, who has not registered."""
        context = tls_context(self.access, credentials, suites) if self.access.is_secure else None
        return Ven(self, label, Identity(label, credentials), Line(self.access, context))

    def newcomer(self, label: str, *, rsa: bool = False) -> "Ven":
        """Return a VEN that the VTN's operator has made, and that has not registered."""
        identity = self.operator.provide(f"conformance {self._name} {label} {self._run}{self.token()}", rsa=rsa)
        context = tls_context(self.access, identity.credentials) if self.access.is_secure else None
        ven = Ven(self, label, identity, Line(self.access, context), ven_id=identity.ven_id or "")
        self._vens.append(ven)
        return ven

    def ven(self, label: str) -> "Ven":
        """Return a VEN that has registered afresh and emptied its queue. Raises BrokenOffError."""
        ven = self.newcomer(label)
        ven.register("setup")
        ven.drain("setup")
        return ven

    @contextmanager
    def signing_ven(self, label: str, *, rsa: bool = False) -> Iterator[tuple["Ven", Signer]]:
        """Yield a VEN that has registered and has to sign, and what signs for it; in the end it has to no more.

        Raises UnableError, and BrokenOffError for a VEN without a certificate.
        """
        ven = self.newcomer(label, rsa=rsa)
        if ven.identity.credentials is None:
            raise BrokenOffError("a VEN without a certificate cannot sign")
        ven.signer = signer = Signer(ven.identity.credentials)
        self.operator.require_signatures(ven.identity)
        try:
            ven.register("setup")
            ven.drain("setup")
            yield ven, signer
        finally:
            self.operator.require_signatures(ven.identity, required=False)

    def foreign_credentials(self) -> Credentials:
        """Return a certificate of an authority that nobody trusts."""
        return keys.stranger(self.directory, f"stranger-{self.token()}")

    # -- events

    def market_context(self) -> str:
        """Return a market context that was not used before."""
        return f"http://conformance.example/p{self._run}/{self.token()}"

    def event(
        self,
        vens: Sequence["Ven"],
        *,
        starts_in: float = 10,
        signals: Sequence[SignalOrder] = (),
        start: datetime | None = None,
        **rules: Any,
    ) -> str:
        """Have an event created, `starts_in` paces from now; return its handle. Without signals it is SIMPLE 1."""
        chosen = tuple(signals) or (SignalOrder("SIMPLE", "level", ((60, 1.0),)),)
        context = rules.pop("market_context", None) or self.market_context()
        order = EventOrder(start or self.after(starts_in), chosen, context, **rules)
        handle = self.operator.create_event(order, [ven.ven_id for ven in vens])
        self._events.append(handle)
        return handle

    def able(self, action: Callable[[], object]) -> bool:
        """Have the operator do something; whether it could. What it could not is a reason for what is not seen."""
        try:
            action()
        except UnableError as error:
            self._unable.append(str(error))
            return False
        return True

    def refusal(self, name: str, attempt: Callable[[], object]) -> None:
        """Try what the operator's interface has to refuse, and keep what it said: nothing if it did not refuse."""
        try:
            attempt()
        except UnableError as error:
            self._unable.append(str(error))
        except OperatorRefusedError as error:
            self.fact(f"refused {name}", str(error))
        else:
            self.fact(f"refused {name}", "")

    def tidy(self) -> None:
        """Cancel what this dialogue has ordered, as far as it can be."""
        for handle in self._events:
            try:
                self.operator.cancel_event(handle)
            except EvenloadError:
                continue


@dataclass
class Ven:
    """A VEN, good or malicious. `ven_id` and `registration_id` are what the VTN gave it."""

    stage: Stage
    label: str
    identity: Identity
    line: Line
    ven_id: str = ""
    registration_id: str = ""
    vtn_id: str = ""
    signer: Signer | None = None
    """What signs all that it says; None: it does not sign."""

    def post(
        self,
        step: str,
        message: Message,
        *,
        service: str | None = None,
        path: str | None = None,
        method: str = "POST",
        headers: Headers = (),
        parts: Sequence[bytes] = (),
        pause_s: float = 0.0,
    ) -> Exchange:
        """Send a message; return the exchange. `headers` replace the usual ones of their names; a "" leaves one out."""
        message = message if self.signer is None else self.signer.sign(message)
        usual = {
            "Host": self.line.host,
            "Content-Type": "application/xml",
            "Content-Length": str(len(message.body)),
            "User-Agent": "openadr-conformance",
            "Connection": "close",
        }
        sent = tuple((name, value) for name, value in (usual | dict(headers)).items() if value)
        target = path or f"{self.line.access.path}/{service or message.service}"
        request = Request(method, target, sent, message.body)
        outcome: Outcome = self.line.exchange(request, parts=parts, pause_s=pause_s)
        kept = replace(request, body=request.body[:_LONGEST_KEPT])
        exchange = Exchange(step, self.label, kept, outcome.answer, outcome.trouble, self.stage.now())
        self.stage.keep(exchange)
        return exchange

    def say(self, step: str, message: Message, *names: str) -> Document:
        """Send a message and return the answer, which the dialogue needs. Raises BrokenOffError."""
        try:
            return judge.answer(self.post(step, message), *names)
        except Failed as failed:
            raise BrokenOffError(str(failed)) from failed

    def register(self, step: str = "register", **parts: Any) -> Document:
        """Register without ids. Raises BrokenOffError unless it works."""
        parts = {"xml_signature": self.signer is not None} | parts
        message = t.register(self.stage.token(), name=self.identity.name, ven_id=self.identity.ven_id, **parts)
        answer = self.say(step, message, "oadrCreatedPartyRegistration")
        self.ven_id = answer.text("ei:venID") or self.ven_id
        self.registration_id = answer.text("ei:registrationID") or ""
        self.vtn_id = answer.text("ei:vtnID") or ""
        if not self.ven_id or not self.registration_id:
            raise BrokenOffError(f"{step}: the VTN gave no ids, responseCode {answer.code}")
        return answer

    def again(self, **parts: Any) -> Message:
        """Return the oadrCreatePartyRegistration of a VEN that is registered, with its ids."""
        usual = {"name": self.identity.name, "ven_id": self.ven_id, "registration_id": self.registration_id}
        signs = {"xml_signature": self.signer is not None}
        return t.register(self.stage.token(), **(usual | signs | parts))

    def poll(self, step: str = "poll") -> Document:
        """Poll. Raises BrokenOffError without an OpenADR answer."""
        return self.say(step, t.poll(self.ven_id))

    def drain(self, step: str = "drain", opt: str | None = "optIn") -> list[Document]:
        """Poll until nothing waits, answering all that comes (events only if `opt` is given); return what came."""
        came: list[Document] = []
        for _ in range(_MOST_POLLS):
            document = self.poll(step)
            if document.name == "oadrResponse":
                return came
            came.append(document)
            self.answer(document, step, opt)
        raise BrokenOffError(f"{step}: the queue never ends")

    def answer(self, document: Document, step: str, opt: str | None = "optIn") -> None:
        """Give the logical answer to what a poll brought."""
        reply = self.reply(document)
        if document.name == "oadrDistributeEvent" and opt is not None:
            reply = self.opting(document, opt)
        if document.name == "oadrRequestReregistration":  # what a VTN returns to an oadrResponse is not said (RG-09)
            self.post(f"{step}:answer", t.response(self.ven_id))
        elif reply is not None:
            self.say(f"{step}:answer", reply)

    def reply(self, document: Document) -> Message | None:
        """Return what answers a message of the VTN; nothing answers events, where none of them is opted for."""
        request_id = document.text("pyld:requestID") or ""
        match document.name:
            case "oadrRegisterReport":
                return t.registered_report(self.ven_id, request_id)
            case "oadrCreateReport":
                ids = document.texts("oadr:oadrReportRequest/ei:reportRequestID")
                return t.created_report(self.ven_id, request_id, ids)
            case "oadrUpdateReport":
                return updated_report(self.ven_id, request_id)
            case "oadrCancelReport":
                return t.canceled_report(self.ven_id, request_id)
            case "oadrRequestReregistration":
                return t.response(self.ven_id)
        return None

    def opting(self, document: Document, opt: str = "optIn") -> Message | None:
        """Return the oadrCreatedEvent for the events of a delivery that ask for an answer; None without any."""
        request_id = document.text("pyld:requestID") or ""
        answers = [
            t.EventAnswer(event.event_id, event.modification, request_id, opt)
            for event in document.events
            if event.text("oadr:oadrResponseRequired") == "always"
        ]
        return t.created_event(self.ven_id, answers) if answers else None

    def events(self, step: str, reply_limit: int | None = None) -> Document:
        """Ask for the events. Raises BrokenOffError without an OpenADR answer."""
        return self.say(step, t.request_event(self.ven_id, self.stage.token(), reply_limit))
