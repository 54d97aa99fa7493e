"""A VTN that pushes to one VEN, well or with one deliberate fault: the kit's tests play at it, as its operator too."""

import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from conformance import judge
from conformance import templates as t
from conformance.exchange import Answer, Request
from conformance.listener import Place, Saying, serving
from conformance.operator import Identity
from conformance.vens import messages as m
from conformance.wire import Access, Credentials, Line
from core.clock import machine_now

_NOTICE = "<ei:x-eiNotification><xcal:duration>PT0S</xcal:duration></ei:x-eiNotification>"


@dataclass(frozen=True)
class Faults:
    """What it does otherwise than a good VTN."""

    prefix: str = "/OpenADR2/Simple/2.0b"
    patience_s: float = 10.0
    first_pause_s: float = 1.0
    repeats_useless: bool = False
    pushes_events: bool = True
    checks_servers: bool = True
    takes_push: bool = True


@dataclass
class PushingVtn:
    """Its VEN, its events, and what waits to be pushed; `certificate`, `key` and `ca` are there where it speaks TLS."""

    faults: Faults
    home: Path | None = None
    address: str = ""
    events: dict = field(default_factory=dict)
    waiting: list = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    over: bool = False

    # -- what its operator can do

    def now(self):
        return machine_now()

    def provide(self, name, *, rsa=False):
        del rsa
        return Identity(name, self.home and Credentials(self.home / "ven.pem", self.home / "ven.key"))

    def create_event(self, order, ven_ids):
        del ven_ids
        event = m.Event(f"event-{len(self.events)}", order.start, order.market_context, extra=_NOTICE)
        self.events[event.id] = event
        self._tell_events()
        return event.id

    def change_event(self, handle, *, start=None, signals=None):
        del signals
        old = self.events[handle]
        self.events[handle] = replace(old, start=start, modification=old.modification + 1)
        self._tell_events()

    def cancel_event(self, handle):
        old = self.events[handle]
        self.events[handle] = replace(old, status="cancelled", modification=old.modification + 1)
        self._tell_events()

    def request_report(self, ven_id, order):
        self._tell(m.create_report(ven_id, [m.Want("r", order.specifier, order.r_ids)], "r"))

    def cancel_reports(self, ven_id):
        self._tell(t.cancel_report(ven_id, ["r"]))

    def reregister(self, ven_id):
        self._tell(t.request_reregistration(ven_id))

    def unregister(self, ven_id):
        self._tell(t.cancel_registration(ven_id, "registration"))

    def _tell_events(self):
        if self.faults.pushes_events:
            self._tell(m.distribute_event(list(self.events.values()), "events", machine_now()))

    def _tell(self, message):
        with self.changed:
            self.waiting.append(message)
            self.changed.notify_all()

    # -- what it answers

    def hear(self, request, fault):
        assert not fault
        answer = self._answer(judge.parse(request.body))
        return Saying(Answer(200, (("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))), answer))

    def _answer(self, document):
        request_id = document.text("pyld:requestID | pyld:eiRequestEvent/pyld:requestID") or ""
        match document.name:
            case "oadrCreatePartyRegistration" if not self.faults.takes_push:
                return m.created_registration(request_id, None, code=459).body
            case "oadrCreatePartyRegistration":
                is_new = not self.address
                self.address = document.text("oadr:oadrTransportAddress")
                if is_new:
                    self._tell(t.register_report("ven", (), "offer"))
                return m.created_registration(request_id, 10, "ven", "registration").body
            case "oadrCancelPartyRegistration":
                self.address = ""
                return t.canceled_registration("ven", "registration", request_id).body
            case "oadrRequestEvent":
                return m.distribute_event([], "events", machine_now(), answers=True).body
            case "oadrRegisterReport":
                return m.registered_report("ven", request_id).body
            case _:
                return m.response(request_id, "ven").body

    # -- how it pushes

    def push(self):
        """Push what waits, one after the other, until it is over; for a thread."""
        pause_s = self.faults.first_pause_s
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.over or (self.address and self.waiting))
                if self.over:
                    return
                message = self.waiting[0]
            status = self._post(message)
            with self.changed:
                if status == 200 or (status == 404 and not self.faults.repeats_useless):
                    self.waiting.remove(message)
                    pause_s = self.faults.first_pause_s
                else:
                    self.changed.wait_for(lambda: self.over, pause_s)
                    pause_s *= 2

    def _post(self, message):
        url = urlsplit(self.address)
        headers = (
            ("Host", url.netloc),
            ("Content-Type", "application/xml"),
            ("Content-Length", str(len(message.body))),
            ("Connection", "close"),
        )
        request = Request("POST", f"{url.path}{self.faults.prefix}/{message.service}", headers, message.body)
        access = Access(self.address, timeout_s=self.faults.patience_s)
        outcome = Line(access, self._context() if access.is_secure else None).exchange(request)
        return outcome.answer.status if outcome.answer else None

    def _context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_cert_chain(self.home / "server.pem", self.home / "server.key")
        context.load_verify_locations(self.home / "ca" / "ca.pem")
        if not self.faults.checks_servers:
            context.verify_mode = ssl.CERT_NONE
        return context


@contextmanager
def pushing_vtn(faults, home=None):
    """Run such a VTN while the context lasts; yield it and how it is reached. With `home`, a PKI, by TLS."""
    vtn = PushingVtn(faults, home)
    trust = home and home / "ca" / "ca.pem"
    place = Place() if home is None else Place("127.0.0.1", 0, home / "server.pem", home / "server.key", trust)
    pushing = threading.Thread(target=vtn.push)
    pushing.start()
    try:
        with serving(place, vtn.hear) as host:
            yield vtn, Access(host.url, trust, timeout_s=8)
    finally:
        with vtn.changed:
            vtn.over = True
            vtn.changed.notify_all()
        pushing.join()
