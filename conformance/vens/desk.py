"""What a dialogue with a VEN has at hand: what it said, what it is told, and a transcript that grows.

The VEN speaks in a thread of its own, whenever it likes; the dialogue waits for it. What it is told waits for its
polls, or is pushed to it, if it registered so.
"""

import random
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from lxml import etree

from conformance import judge, signatures
from conformance import templates as t
from conformance.exchange import VTN, Answer, Exchange, Request, Transcript
from conformance.judge import Document
from conformance.listener import Front, Host, Place, Saying
from conformance.operator import UnableError
from conformance.signing import Signer
from conformance.stage import BrokenOffError, Timeline
from conformance.templates import Message
from conformance.vens import messages as m
from conformance.vens.user import User
from conformance.wire import Credentials, Outcome
from core.errors import InvalidError

_LATEST_ANSWER_S: Final = 1.0
_LONGEST_PUSHED: Final = 1 << 18
"""Of what we push that is larger the transcript keeps the beginning; what a VEN says it keeps whole."""
_MOST_KEPT: Final = 256 << 20
"""So many bytes of what a VEN says are kept; one that says more is turned away."""
_BUSY: Final = 503
_OK: Final = 200
_2_0_A: Final = "2.0a"
_LOOK_S: Final = 1.0
MARKET_CONTEXT: Final = "http://conformance.example/programme"
_PREFIX: Final = "/OpenADR2/Simple/2.0b"
Reply = Callable[[Document], Message]


def answer_of(message: Message | None, status: int = _OK) -> Answer:
    """Return a message as an HTTP answer, or a status alone."""
    body = b"" if message is None else message.body
    kind = (("Content-Type", "application/xml"),) if body else ()
    return Answer(status, (*kind, ("Content-Length", str(len(body)))), body)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run goes by. Lengths are seconds: `poll_s` of world time, the others of machine time.

    A VEN that is pushed to and says nothing for `quiet_s` has said what it had to say. `market_context`, `resource` and
    `device_class` are the VEN's; `ven_id` is given where it was agreed on before, `vtn_id` is who we are to it. Without
    `checks_host` it is set up not to hold certificates against host names.
    """

    poll_s: int = 2
    patience_s: float = 60.0
    first_s: float = 300.0
    quiet_s: float = 1.5
    market_context: str = MARKET_CONTEXT
    resource: str = ""
    device_class: str = ""
    ven_id: str | None = None
    seed: int = 1
    vtn_id: str = m.VTN_ID
    checks_host: bool = True


@dataclass
class Registration:
    """By which ids a VEN is registered; both are empty for one that is not."""

    ven_id: str = ""
    id: str = ""


Post = Callable[[str, Request, Credentials | None], Outcome]
"""Posts a request to a VEN whose address is given, as a client with a certificate."""


class Desk:
    """One VEN's VTN. The dialogue names its `step`s; whatever is said in one stands under its name.

    Exchanges that a VEN began are "ven" in the transcript, those that were pushed to it "vtn".
    """

    def __init__(self, rules: Rules, timeline: Timeline, post: Post, signer: Signer | None = None) -> None:
        """`signer` signs what is said to a VEN that signs."""
        self.rules = rules
        self.signer = signer
        self.timeline = timeline
        self.events: list[m.Event] = []
        self.offers: list[Document] = []
        """The metadata that the VEN registered last: its oadrReports."""
        self._random = random.Random(rules.seed)  # noqa: S311  repeatable on purpose
        self._changed = threading.Condition()
        self._exchanges: list[Exchange] = []
        self._facts: dict[str, Any] = {"poll_s": rules.poll_s, "speed": timeline.speed}
        self._facts |= {"clock": timeline.shown, "signs": False, "can_sign": signer is not None}
        self._dialogue, self._step = "", "before"
        self._queue: deque[Message] = deque()
        self._sayings: dict[str, deque[Saying | Reply]] = {}
        self._registration = Registration()
        self._empty_polls = 0
        self._post = post
        self._pushing = self._closed = False
        self._posting = 0
        self._kept_bytes = 0
        self._faults: Counter[str] = Counter()
        self.unreachable = ""
        """Why nothing that was pushed arrived, if nothing ever did."""
        self._has_arrived = False
        self._last_said_s = 0.0
        self.address = ""
        """Where it is pushed to; empty: it polls."""
        self.gone: Callable[[], bool] = lambda: False
        """Whether its process has ended, where that can be seen."""
        self.place = Place()
        """What the kit has for TLS."""
        self.host: Host | None = None
        """The server that the VEN calls."""
        self.user = User()
        """Who opts at the VEN."""

    # -- what the dialogue does

    def begin(self, dialogue: str) -> None:
        """Begin a dialogue's transcript; what went before stays with the one before."""
        with self._changed:
            self._dialogue = dialogue
            self._exchanges = []

    def transcript(self, broke: str = "") -> Transcript:
        """Return what has been said in this dialogue, and why not more."""
        with self._changed:
            return Transcript(self._dialogue, tuple(self._exchanges), dict(self._facts), broke)

    def fact(self, name: str, value: Any) -> None:
        """Keep something for the checks; JSON."""
        self._facts[name] = value

    def rename(self, dialogue: str) -> None:
        """Call the dialogue otherwise: it has become another one."""
        with self._changed:
            self._dialogue = dialogue

    def step(self, name: str) -> int:
        """Begin a step; return where it begins, for `wait`."""
        with self._changed:
            self._step = name
            return len(self._exchanges)

    def list_events(self, step: str, *events: m.Event, asks: int = 2) -> None:
        """Begin a step in which these events are listed to a VEN that asks for them, until it has asked so often.

        Raises BrokenOffError if it does not.
        """
        with self._changed:
            since = self.step(step)
            self.events = list(events)
        if not self._until(lambda: len(self.heard("oadrRequestEvent", since)) >= asks, self.rules.patience_s):
            raise BrokenOffError(f"{step}: the VEN does not ask for events")

    @property
    def speaks_2_0_a(self) -> bool:
        """Whether the VEN has said something of the profile 2.0a."""
        return self._facts.get("profile") == _2_0_A

    @property
    def signs(self) -> bool:
        """Whether the VEN signs, or has registered so, and is told all signed."""
        return self.signer is not None and bool(self._facts["signs"])

    def signed(self, message: Message) -> Message:
        """Return a message as the VEN wants it: signed if it signs. What is no message any more stays as it is."""
        if self.signer is None or not self.signs:
            return message
        try:
            return self.signer.sign(message)
        except InvalidError:
            return message

    def token(self) -> str:
        """Return an id that was not used before."""
        return f"{self._random.getrandbits(48):012x}"

    def now(self) -> datetime:
        """Return world time."""
        return self.timeline.now()

    def tell(self, *waiting: Message) -> None:
        """Let the next polls bring these messages, one each."""
        with self._changed:
            self._queue.extend(waiting)
            self._empty_polls = 0
            self._changed.notify_all()

    def say_next(self, name: str, *sayings: Saying | Reply) -> None:
        """Answer the next messages of a name so, in place of the usual answer."""
        with self._changed:
            self._sayings.setdefault(name, deque()).extend(sayings)

    def wait(self, name: str, since: int, what: str = "") -> Document:
        """Return the first message of a name that came since a place. Raises BrokenOffError if none comes in time."""
        said = self.awaited(lambda: self.heard(name, since))
        if not said:
            raise BrokenOffError(f"{self._step}: the VEN sent no {name}{what and ' '}{what}")
        return said[0]

    def awaited(self, look: Callable[[], Sequence[Document]], patience_s: float | None = None) -> Sequence[Document]:
        """Wait until something is there, as long as patience lasts. Raises BrokenOffError if the VEN is gone."""
        self._until(lambda: bool(look()), self.rules.patience_s if patience_s is None else patience_s)
        with self._changed:
            return look()

    def _until(self, holds: Callable[[], bool], patience_s: float) -> bool:
        """Wait until something holds; tell whether it does."""
        deadline = time.monotonic() + patience_s
        with self._changed:
            while not holds():
                if (left := deadline - time.monotonic()) <= 0:
                    return False
                if self.gone():
                    raise BrokenOffError(f"{self._step}: the VEN's process has ended")
                self._changed.wait(min(left, _LOOK_S))
        return True

    def opts(self, step: str, deed: str, *about: str, patience_s: float | None = None) -> Document | None:
        """Have the VEN's user do something, and return the oadrCreateOpt or oadrCancelOpt that comes of it, if any.

        The fact `opted` has the step with what the user could not do; nothing, if it could be done.
        """
        since, unable = self.step(step), ""
        try:
            self.user.does(deed, *about)
        except UnableError as error:
            unable = str(error)
        self._facts["opted"] = self._facts.get("opted", {}) | {step: unable}
        if unable:
            return None
        names = ("oadrCreateOpt", "oadrCancelOpt", "oadrCreatedEvent")
        said = self.awaited(lambda: [each for name in names for each in self.heard(name, since)], patience_s)
        self.settle()
        return next((each for each in said if each.name != "oadrCreatedEvent"), None)

    def pause(self, seconds: float) -> None:
        """Let so much machine time pass, at most as long as patience lasts."""
        time.sleep(min(seconds, self.rules.patience_s))

    def settle(self, polls: int = 2) -> None:
        """Wait until so many polls in a row found nothing: by then the VEN has said what it had to say.

        One that is pushed to has said it when it says nothing for a while. Raises BrokenOffError if a VEN falls silent
        that has to poll, or never falls silent, or is gone.
        """
        if self.address:
            self._quieten()
            return
        with self._changed:
            self._empty_polls = 0
        if not self._until(lambda: self._empty_polls >= polls, self.rules.patience_s):
            raise BrokenOffError(f"{self._step}: the VEN does not poll")

    def _quieten(self) -> None:
        deadline = time.monotonic() + self.rules.patience_s
        while True:
            with self._changed:
                busy = bool(self._queue) or self._pushing
                left = self._last_said_s + self.rules.quiet_s - time.monotonic()
            if not busy and left <= 0:
                return
            if self.gone():
                raise BrokenOffError(f"{self._step}: the VEN's process has ended")
            if time.monotonic() > deadline:
                raise BrokenOffError(f"{self._step}: the VEN does not come to rest")
            time.sleep(0.05 if busy else left)

    def push(self) -> None:
        """Post what waits to a VEN that is pushed to, one message after the other, until `close`; for a thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self.address and self._queue))
                if self._closed:
                    return
                message, self._pushing = self._queue.popleft(), True
            try:
                self.post(message)
            finally:
                with self._changed:
                    self._pushing = False

    def close(self) -> None:
        """Let `push` come to an end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def post(
        self,
        message: Message,
        *,
        service: str = "",
        method: str = "POST",
        kind: str = "application/xml",
        as_it_is: bool = False,
    ) -> Exchange:
        """Push a message, or what has its form, and return the exchange; `as_it_is` without a signature of ours."""
        message = message if as_it_is else self.signed(message)
        return self._posted(message, service or message.service, method, kind, self.place.credentials)

    def post_as(self, client: Credentials | None, message: Message) -> Exchange:
        """Push a message with another certificate than the kit's, or with none."""
        return self._posted(self.signed(message), message.service, "POST", "application/xml", client)

    def _posted(self, message: Message, service: str, method: str, kind: str, client: Credentials | None) -> Exchange:
        with self._changed:
            step = self._step
        address = urlsplit(self.address)
        path = address.path.rstrip("/").removesuffix(_PREFIX) + _PREFIX
        headers = (
            ("Host", address.netloc),
            ("Content-Type", kind),
            ("Content-Length", str(len(message.body))),
            ("Connection", "close"),
        )
        request = Request(method, f"{path}/{service}", headers, message.body)
        with self._changed:
            self._posting += 1
        try:
            outcome = self._post(self.address, request, client)
        except BaseException:
            self._posted_one()
            raise
        answer = outcome.answer
        self._has_arrived = self._has_arrived or answer is not None
        self.unreachable = "" if self._has_arrived else outcome.trouble
        document = _document(answer.body) if answer is not None and answer.body else None
        name = "nothing" if document is None else document.name
        kept = replace(request, body=request.body[:_LONGEST_PUSHED])
        exchange = Exchange(f"{step}:{name}", VTN, kept, answer, outcome.trouble, self._stamp())
        self._keep(exchange)
        self._posted_one()
        return exchange

    def _posted_one(self) -> None:
        with self._changed:
            self._posting -= 1
            self._changed.notify_all()

    def show(self, step: str, host: Host, context: ssl.SSLContext | None, tries: int = 1) -> None:
        """Be another server until the VEN has said something there, or has called in vain so often; then the usual one.

        What it says there stands under the step, before and after that under `back:`. The fact `shown` has how often it
        called. Raises BrokenOffError if a VEN that polls does not come back.
        """
        since = self.step(f"back:{step}")
        front = Front(context, partial(self.hear, step=step), is_shut=context is None)
        with host.meanwhile(front):
            if self.address:
                self.tell(self.delivery(self.event(id=f"while it is shown {step}")))
            self._until(lambda: front.ended >= tries or self._has_said(step, since), self.rules.patience_s)
        self._facts["shown"] = self._facts.get("shown", {}) | {step: front.ended}
        if self.address:
            self.awaited(lambda: self.heard("oadrCreatedEvent", since))
        self.settle(polls=1)

    def _has_said(self, step: str, since: int) -> bool:
        return any(each.step.startswith(f"{step}:") for each in self._exchanges[since:])

    def _keep(self, exchange: Exchange) -> None:
        with self._changed:
            self._exchanges.append(exchange)
            if not exchange.step.endswith(":oadrUpdateReport"):  # data that comes again and again is no unrest
                self._last_said_s = time.monotonic()
            self._changed.notify_all()

    def deliver(self, step: str, *events: m.Event, **rules: Any) -> str:
        """Deliver these events and no others, and give the VEN the time to answer; return the requestID."""
        self.step(step)
        request_id = rules.pop("request_id", None) or self.token()
        with self._changed:
            self.events = list(events)
        self.tell(self.delivery(*events, request_id=request_id, **rules))
        self.settle()
        return request_id

    def delivery(self, *events: m.Event, request_id: str = "", **rules: Any) -> Message:
        """Return an oadrDistributeEvent of ours."""
        usual = {"vtn_id": self.rules.vtn_id}
        return m.distribute_event(events, request_id or self.token(), self.now(), **(usual | rules))

    def event(self, *, starts_in_s: float = 3600.0, **parts: Any) -> m.Event:
        """Return an event of the VEN's market context, in an hour unless told otherwise."""
        start = (self.now() + timedelta(seconds=starts_in_s)).replace(microsecond=0)
        usual: dict[str, Any] = {"id": f"event-{self.token()}", "market_context": self.rules.market_context}
        return m.Event(start=parts.pop("start", start), **(usual | parts))

    @property
    def ven_id(self) -> str:
        """The venID of the VEN that is registered; empty before."""
        return self._registration.ven_id

    @property
    def registration_id(self) -> str:
        """Its registrationID."""
        return self._registration.id

    def forget_registration(self) -> Registration:
        """Take the registration as over, and return what it was."""
        with self._changed:
            held, self._registration = self._registration, Registration()
        return held

    def remember(self, held: Registration) -> None:
        """Know the VEN again by a registration that was forgotten, if it has made no other one."""
        with self._changed:
            if not self._registration.ven_id:
                self._registration = held

    def heard(self, name: str, since: int) -> list[Document]:
        """Return the messages of a name that came in this dialogue since a place."""
        documents = (_document(said_in(each)) for each in self._exchanges[since:])
        return [document for document in documents if document is not None and document.name == name]

    # -- what the VEN does

    def hear(self, request: Request, fault: str, step: str = "") -> Saying:
        """Take a request, as of a step if it is not the one of now, and return what is said to it."""
        document = None if fault else _document(request.body)
        name = "unreadable" if document is None else document.name
        with self._changed:
            # What it answered to a push it said before this, though a thread of its own may read that only now.
            self._changed.wait_for(lambda: not self._posting, _LATEST_ANSWER_S)
            self._kept_bytes += len(request.body)
            if self._kept_bytes > _MOST_KEPT:
                return Saying(answer_of(None, _BUSY))
            if fault:
                self._faults[fault] += 1
            saying = self._saying(document, name, request)
            trouble = fault or ("" if saying.answer else "the connection was closed on purpose")
            self._keep(Exchange(f"{step or self._step}:{name}", "ven", request, saying.answer, trouble, self._stamp()))
        return saying

    @property
    def faults(self) -> tuple[str, ...]:
        """What was wrong with requests that could not be read, with how often."""
        return tuple(
            f"requests that could not be read: {count} ({text})" for text, count in self._faults.most_common(3)
        )

    def _stamp(self) -> datetime:
        return self.timeline.now()

    def _saying(self, document: Document | None, name: str, request: Request) -> Saying:
        if document is None or etree.QName(document.root).namespace not in (t.NAMESPACES["oadr"], t.OF_2_0_A):
            return Saying(answer_of(None, 406))
        self._facts["signs"] = self._facts["signs"] or _signs(document)
        if planned := self._sayings.get(name):
            saying = planned.popleft()
            return saying if isinstance(saying, Saying) else Saying(answer_of(self.signed(saying(document))))
        if request.method != "POST":
            return Saying(answer_of(None, 501))
        if etree.QName(document.root).namespace == t.OF_2_0_A:
            self._facts["profile"] = _2_0_A
            return Saying(answer_of(t.of_2_0_a(self._in_2_0_a(document))))
        return Saying(answer_of(self.signed(self._usual(document))))

    def _in_2_0_a(self, document: Document) -> Message:
        """Return the answer of a VTN to a VEN of 2.0a, which registers with nobody (PA-02)."""
        request_id = document.text("*/pyld:requestID | pyld:eiCreatedEvent/ei:eiResponse/pyld:requestID") or ""
        if document.name == "oadrRequestEvent":
            return self._request_event(document, request_id)
        return m.response(request_id, None, _OK if document.name in ("oadrCreatedEvent", "oadrResponse") else 459)

    def _usual(self, document: Document) -> Message:
        """Return the answer of a VTN to which nothing is special."""
        request_id = document.text("pyld:requestID | pyld:eiRequestEvent/pyld:requestID") or ""
        held = self._registration
        if document.name == "oadrQueryRegistration":
            return self._registered(request_id, held)
        if document.name == "oadrCreatePartyRegistration":
            return self._register(document, request_id)
        if not held.ven_id:
            return m.response(request_id, None, 463)
        usual = self._ANSWERS.get(document.name)
        return m.response(request_id, held.ven_id) if usual is None else usual(self, document, request_id)

    def _register(self, document: Document, request_id: str) -> Message:
        held = self._registration
        pulls = (document.text("oadr:oadrHttpPullModel") or "").strip() in ("true", "1")
        self.address = "" if pulls else _address(document.text("oadr:oadrTransportAddress") or "")
        self._facts["address"] = self.address
        ven_id = held.ven_id or self.rules.ven_id or f"ven-{self.token()}"
        self._facts.setdefault("ven_ids", []).append(ven_id)
        run = f"{self.timeline.machine:%Y%m%d%H%M%S%f}"  # a VEN may remember that of a run with the same seed
        self._registration = Registration(ven_id, held.id or f"reg-{run}-{self.token()}")
        return self._registered(request_id, self._registration)

    def _registered(self, request_id: str, held: Registration) -> Message:
        rules = self.rules
        ids = held.ven_id or None, held.id or None
        return m.created_registration(request_id, rules.poll_s, *ids, vtn_id=rules.vtn_id)

    def _unregister(self, _: Document, request_id: str) -> Message:
        held, self._registration = self._registration, Registration()
        return t.canceled_registration(held.ven_id, held.id, request_id)

    def _poll(self, _: Document, request_id: str) -> Message:
        if self._queue:
            return self._queue.popleft()
        self._empty_polls += 1
        return m.response(request_id, self.ven_id)

    def _request_event(self, _: Document, request_id: str) -> Message:
        return m.distribute_event(self.events, request_id, self.now(), vtn_id=self.rules.vtn_id, answers=True)

    def _register_report(self, document: Document, request_id: str) -> Message:
        self.offers = [Document(each) for each in document.all("oadr:oadrReport")]
        return m.registered_report(self.ven_id, request_id)

    def _update_report(self, _: Document, request_id: str) -> Message:
        return m.updated_report(self.ven_id, request_id)

    def _create_report(self, _: Document, request_id: str) -> Message:
        self._queue.append(t.register_report(self.ven_id))
        return t.created_report(self.ven_id, request_id)

    def _create_opt(self, document: Document, request_id: str) -> Message:
        return m.created_opt(request_id, document.text("ei:optID") or "")

    def _cancel_opt(self, document: Document, request_id: str) -> Message:
        return m.canceled_opt(request_id, document.text("ei:optID") or "")

    _ANSWERS: Final[Mapping[str, Callable[["Desk", Document, str], Message]]] = MappingProxyType(
        {
            "oadrCancelPartyRegistration": _unregister,
            "oadrPoll": _poll,
            "oadrRequestEvent": _request_event,
            "oadrRegisterReport": _register_report,
            "oadrUpdateReport": _update_report,
            "oadrCreateReport": _create_report,
            "oadrCreateOpt": _create_opt,
            "oadrCancelOpt": _cancel_opt,
        }
    )


def _signs(document: Document) -> bool:
    registers_so = (document.text("oadr:oadrXmlSignature") or "").strip() in ("true", "1")
    return registers_so or signatures.is_signed(document)


def _address(text: str) -> str:
    """Return where a VEN is pushed to; nothing if that is no address (RG-04)."""
    try:
        url = urlsplit(text.strip())
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return ""
    return text.strip() if usable and text.strip().isascii() and text.strip().isprintable() else ""


def said_in(exchange: Exchange) -> bytes:
    """Return what the VEN said in an exchange: its request, or its answer to what was pushed."""
    if exchange.ven == "ven":
        return exchange.request.body
    return b"" if exchange.answer is None else exchange.answer.body


def _document(body: bytes) -> Document | None:
    try:
        return judge.parse(body)
    except ValueError:
        return None
