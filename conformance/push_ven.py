"""A VEN that is pushed to: a listener at its address, what it says to what comes there, and when that came (TR-01)."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from conformance import judge
from conformance import templates as t
from conformance.exchange import VTN, Answer, Exchange, Request
from conformance.judge import Document
from conformance.listener import Host, Place, Saying, serving
from conformance.stage import BrokenOffError, Stage, Ven
from conformance.wire import Credentials, is_here

PREFIX: Final = "/OpenADR2/Simple/2.0b"
_OWN_PREFIX: Final = "/conformance"
"""VTN and VEN may share an address: then their prefixes differ (TR-03)."""
_LONGEST_KEPT: Final = 1 << 18
_NOT_ACCEPTABLE: Final = 406
_LOOK_S: Final = 0.05
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to a push: it is answered with a status after a pause, or with None the connection is closed."""

    status: int | None = judge.OK
    pause_s: float = 0.0


@dataclass
class _Push:
    """A push that came. Times are machine time; `answered_s` is taken before the answer leaves, None until then."""

    step: str
    document: Document | None
    came_s: float
    answered_s: float | None = None
    waited: bool = True

    @property
    def name(self) -> str:
        """The message's name; empty for what is none."""
        return "" if self.document is None else self.document.name

    def shown(self, since_s: float) -> dict[str, Any]:
        """Return when it came and was answered, and whether the VTN waited for that; as JSON."""
        answered_s = self.answered_s or time.monotonic()
        return {"came": self.came_s - since_s, "answered": answered_s - since_s, "waited": self.waited}


class PushVen:
    """A VEN in push mode. Each push is an exchange of the transcript, under the step at which it came.

    It answers as a good VEN does, unless `treat` says otherwise. It waits for a push as long as for an answer.
    """

    address: str
    _host: Host

    def __init__(self, ven: Ven) -> None:
        self.ven = ven
        self._changed = threading.Condition()
        self._pushes: list[_Push] = []
        self._treatments: deque[Treatment] = deque()
        self._awaited: list[list[str]] = []
        self._step = "first"
        self._opened_s = time.monotonic()
        self._patience_s = ven.stage.access.timeout_s

    def open(self, host: Host) -> None:
        """Have the listener through which everything comes."""
        self._host = host
        self.address = self.ven.stage.push_address or f"{host.base}{_OWN_PREFIX}"

    def register(self, step: str) -> None:
        """Register in push mode, without ids. Raises BrokenOffError unless it works."""
        self.ven.register(step, pull=False, address=self.address)

    def again(self, step: str) -> Exchange:
        """Register again, with its ids."""
        return self.ven.post(step, self.ven.again(pull=False, address=self.address))

    def leave(self) -> None:
        """Cancel the registration if it lasts, so that nobody calls an address where nobody is."""
        ven = self.ven
        if ven.registration_id:
            ven.post("leave", t.cancel_registration(ven.ven_id, ven.registration_id, ven.stage.token()))

    def step(self, name: str) -> None:
        """Begin a step: what comes from now on belongs to it."""
        with self._changed:
            self._step = name

    def treat(self, *treatments: Treatment) -> None:
        """Treat the next pushes so, one after the other."""
        with self._changed:
            self._treatments = deque(treatments)

    def brings(
        self, step: str, name: str, cause: Callable[[], object], fits: Callable[[Document], bool] = lambda _: True
    ) -> Document | None:
        """Do what has a message of this name pushed, and return it; None where the operator cannot do it.

        Raises BrokenOffError if no such message that `fits` comes in time.
        """
        self.step(step)
        return self.comes(name, fits) if self.ven.stage.able(cause) else None

    def comes(self, name: str, fits: Callable[[Document], bool] = lambda _: True, times: int = 1) -> Document:
        """Return the push of a name that fits in this step: the first one, or the one after so many `times`.

        That it has to come is a fact for the checks. Raises BrokenOffError if it does not come in time.
        """
        step = self._step
        if [step, name] not in self._awaited:
            self._awaited.append([step, name])
        self.ven.stage.fact("awaited", list(self._awaited))

        def there() -> Document | None:
            pushed = [push.document for push in self._pushes if push.step == step and push.name == name]
            fitting = [document for document in pushed if document is not None and fits(document)]
            return fitting[times - 1] if len(fitting) >= times else None

        return self._until(there, f"{step}: {name} was not pushed")

    def opts(self, document: Document) -> None:
        """Answer the events of a delivery by a request of its own, once the delivery itself is answered (TR-13)."""
        self._until(lambda: self._is_at_rest() or None, "a push was not answered")
        if (reply := self.ven.opting(document)) is not None:
            self.ven.say(f"{self._step}:opts", reply)

    def settle(self, quiet_s: float) -> None:
        """Wait until nothing has come for a while (machine time). Raises BrokenOffError if it goes on and on."""
        last_s = time.monotonic()
        until = last_s + quiet_s + self._patience_s
        while (left_s := last_s + quiet_s - time.monotonic()) > 0:
            if last_s > until:
                raise BrokenOffError(f"{self._step}: the VTN pushes on and on")
            time.sleep(left_s)
            with self._changed:
                last_s = max([last_s, *(push.answered_s or time.monotonic() for push in self._pushes)])

    def is_called(self) -> bool:
        """Wait for somebody to open a connection; whether anybody did."""
        until = time.monotonic() + self._patience_s
        while not self._host.calls and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return self._host.calls > 0

    def close(self) -> None:
        """Keep for the checks when each push came, in the order of their exchanges, in seconds of this machine."""
        with self._changed:
            times = [push.shown(self._opened_s) for push in self._pushes]
        stage = self.ven.stage
        for name, value in (("address", self.address), ("times", times), ("calls", self._host.calls)):
            stage.fact(name, value)

    def _is_at_rest(self) -> bool:
        return all(push.answered_s is not None for push in self._pushes)

    def _until(self, there: Callable[[], Found | None], otherwise: str) -> Found:
        """Return what `there` finds as soon as it finds something. Raises BrokenOffError if that takes too long."""
        with self._changed:
            result = self._changed.wait_for(there, self._patience_s)
        if result is None:
            faults = "".join(f"; {fault}" for fault in self._host.faults)
            raise BrokenOffError(f"{otherwise} within {self._patience_s:.0f} s{faults}")
        return result

    # -- what the listener's threads do

    def hear(self, request: Request, fault: str) -> Saying:
        """Keep a push, and return what is said to it."""
        came_s = time.monotonic()
        document = None if fault else _document(request.body)
        with self._changed:
            treatment = self._treatments.popleft() if self._treatments else Treatment()
            push = _Push(self._step, document, came_s)
            self._pushes.append(push)
            answer = self._answer(document, treatment)
            kept = replace(request, body=request.body[:_LONGEST_KEPT])
            trouble = "" if answer else "the connection was closed on purpose"
            at = self.ven.stage.now()
            self.ven.stage.keep(Exchange(push.step, VTN, kept, answer, fault or trouble, at))
            self._changed.notify_all()

        def before(*, waited: bool) -> None:
            with self._changed:
                push.answered_s, push.waited = time.monotonic(), waited
                self._changed.notify_all()

        return Saying(answer, treatment.pause_s, before)

    def _answer(self, document: Document | None, treatment: Treatment) -> Answer | None:
        if treatment.status is None:
            return None
        if treatment.status != judge.OK or document is None:
            status = _NOT_ACCEPTABLE if treatment.status == judge.OK else treatment.status
            return Answer(status, (("Content-Length", "0"),), b"")
        reply = self._reply(document)
        body = b"" if reply is None else reply.body
        kind = (("Content-Type", "application/xml"),) if body else ()
        return Answer(judge.OK, (*kind, ("Content-Length", str(len(body)))), body)

    def _reply(self, document: Document) -> t.Message | None:
        if document.name != "oadrCancelPartyRegistration":
            return self.ven.reply(document)
        request_id, registration_id = document.text("pyld:requestID") or "", self.ven.registration_id
        self.ven.registration_id = ""
        return t.canceled_registration(self.ven.ven_id, registration_id, request_id)


@contextmanager
def pushed_to(ven: Ven, foreign: Credentials | None = None) -> Iterator[PushVen]:
    """Give a VEN an address of its own while the context lasts; with `foreign` it shows that certificate there.

    Raises BrokenOffError where the VTN could not reach it, InvalidError.
    """
    stage = ven.stage
    place = _place(stage, foreign or ven.identity.credentials, anybody=foreign is not None)
    pushed = PushVen(ven)
    with serving(place, pushed.hear) as host:
        pushed.open(host)
        try:
            yield pushed
        finally:
            pushed.leave()
            pushed.close()


def push_host(stage: Stage) -> str:
    """Return the host by which the VTN knows us."""
    return urlsplit(stage.push_address or "").hostname or "127.0.0.1"


def _place(stage: Stage, credentials: Credentials | None, *, anybody: bool) -> Place:
    host, port = push_host(stage), 0
    if stage.push_address:
        port = urlsplit(stage.push_address).port or (443 if stage.access.is_secure else 80)
        host = host if is_here(stage.push_address) else ("::" if ":" in host else "0.0.0.0")  # noqa: S104  the tester's
    elif not is_here(stage.access.url):
        raise BrokenOffError("the VTN is on another machine: --push-address says where it reaches this one")
    if not stage.access.is_secure or credentials is None:
        return Place(host, port)
    trust = stage.access.trust
    return Place(host, port, credentials.certificate, credentials.key, trust, anybody=anybody or trust is None)


def _document(body: bytes) -> Document | None:
    try:
        return judge.parse(body)
    except ValueError:
        return None
