"""Small VENs as threads: one that registers and polls, and one of 2.0a, which only asks for events."""

import ssl
import threading
from typing import Final, Self

from conformance import judge
from conformance import templates as t
from conformance.exchange import Request
from conformance.judge import Document
from conformance.templates import Message
from conformance.wire import Access, Line

_PERIOD_S: Final = 0.2


class _Small:
    """Does something again and again until it is ended. `base` is the VTN's address without a path."""

    path = ""

    def __init__(self, base: str, context: ssl.SSLContext | None = None) -> None:
        self._line = Line(Access(f"{base}{self.path}"), context)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._over.wait(_PERIOD_S):
            self.turn()

    def turn(self) -> None:
        """Do it once."""

    def post(self, message: Message) -> Document | None:
        """Post a message and return its answer; None without one."""
        length = ("Content-Length", str(len(message.body)))
        headers = (("Host", "kit"), ("Content-Type", "application/xml"), length, ("Connection", "close"))
        request = Request("POST", f"{self.path}/{message.service}", headers, message.body)
        answer = self._line.exchange(request).answer
        return judge.parse(answer.body) if answer is not None and answer.body else None


class SmallVen(_Small):
    """Registers, offers nothing, and polls; with `forgiving` it registers again where it is not known any more."""

    path = "/OpenADR2/Simple/2.0b"

    def __init__(self, base: str, context: ssl.SSLContext | None = None, *, forgiving: bool = True) -> None:
        super().__init__(base, context)
        self._forgiving = forgiving
        self._ven_id: str | None = None

    def turn(self) -> None:
        """Register, or poll."""
        if self._ven_id is None:
            self._register()
            return
        answer = self.post(t.poll(self._ven_id))
        if answer is not None and answer.code == judge.NOT_REGISTERED and self._forgiving:
            self._ven_id = None

    def _register(self) -> None:
        answer = self.post(t.register())
        if answer is None or (ven_id := answer.text("ei:venID")) is None:
            return
        self._ven_id = ven_id
        self.post(t.register_report(ven_id))
        self.post(t.request_event(ven_id))


class SmallVenOf20a(_Small):
    """Asks for events, and answers those that want an answer."""

    path = "/OpenADR2/Simple"

    def turn(self) -> None:
        """Ask, and answer."""
        listed = self.post(t.of_2_0_a(t.request_event("small", "r")))
        if listed is None:
            return
        wanted = "normalize-space(*[local-name() = 'oadrResponseRequired']) = 'always'"
        request_id = listed.text("pyld:requestID") or ""
        events = [each for each in listed.events if each.root.xpath(wanted)]
        if events:
            answers = [t.EventAnswer(each.event_id, each.modification, request_id) for each in events]
            self.post(t.of_2_0_a(t.created_event("small", answers)))
