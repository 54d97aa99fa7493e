"""The adapter that starts openleadr's VTN and operates it: what that package offers its users, and no more."""

import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from conformance import keys
from conformance.operator import (
    EventOrder,
    Identity,
    OperatorRefusedError,
    ReportOrder,
    SignalOrder,
    UnableError,
)
from conformance.wire import Credentials

_PATIENCE_S: Final = 10.0
AUTHORITY: Final = "authority"
OWN: Final = "vtn"


@dataclass
class OpenleadrOperator:
    """A running server. Without an authority it is reached over plain HTTP, and its VENs are known by their venIDs."""

    port: int
    directory: Path | None
    authority: Credentials | None
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """Where its VENs post."""
        scheme = "http" if self.authority is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/OpenADR2/Simple/2.0b"

    def now(self) -> datetime:
        """Return the real time."""
        return datetime.now(UTC)

    def provide(self, name: str, *, rsa: bool = False) -> Identity:
        """Have it know a VEN, which has no id of its own choice when it registers."""
        if self.directory is None or self.authority is None:
            if rsa:
                raise UnableError("it is reached without TLS")
            self._ask("provide", name=name)
            return Identity(name)
        credentials = keys.issued(self.directory, f"ven-{secrets.token_hex(6)}", self.authority, rsa_key=rsa)
        self._ask("provide", name=name, fingerprint=keys.fingerprint(credentials.certificate))
        return Identity(name, credentials)

    def fingerprint(self, ven_id: str) -> str:
        """Return what it told its user of the certificate with which the VEN registered."""
        shown = self._ask("shown", ven_id=ven_id)["fingerprint"]
        if shown is None:
            raise UnableError("it is reached without TLS")
        return str(shown)

    def require_signatures(self, ven: Identity, *, required: bool = True) -> None:
        """Start it anew with or without signatures: it has one setting for all VENs, for when it begins."""
        if self.authority is None:
            raise UnableError("it is reached without TLS")
        self._begin_anew("--signed" if required else "")

    def create_event(self, order: EventOrder, ven_ids: Sequence[str]) -> str:
        """Add an event for one VEN; its handle is venID and eventID."""
        if len(ven_ids) != 1 or len(order.signals) != 1 or order.signals[0].device_classes or order.signals[0].unit:
            raise UnableError("add_event makes an event of one signal without unit, for one VEN")
        if order.start_after_s:
            raise UnableError("add_event has no parameter for startafter")
        if order.baseline:
            raise UnableError("add_event has no parameter for a baseline")
        signal = order.signals[0]
        event = {
            "start": order.start.isoformat(),
            "values": signal.values,
            "signal_name": signal.name,
            "signal_type": signal.type,
            "market_context": order.market_context,
            "response_required": "always" if order.always else "never",
            "ramp_up_s": order.ramp_up_s,
        }
        if order.resources:
            event["targets"] = [{"resource_id": resource} for resource in order.resources]
        answer = self._ask("event", ven_id=ven_ids[0], event=event, priority=order.priority or 0)
        return f"{ven_ids[0]} {answer['event_id']}"

    def change_event(
        self, handle: str, *, start: datetime | None = None, signals: Sequence[SignalOrder] | None = None
    ) -> None:
        """Raise UnableError."""
        raise UnableError("openleadr has no way to change an event")

    def cancel_event(self, handle: str) -> None:
        """Cancel it."""
        ven_id, _, event_id = handle.partition(" ")
        self._ask("cancel", ven_id=ven_id, event_id=event_id)

    def opt(self, handle: str, ven_id: str) -> str | None:
        """Return what its callback was told last."""
        opt = self._ask("opt", ven_id=ven_id, event_id=handle.partition(" ")[2])["opt"]
        return None if opt is None else str(opt)

    def request_report(self, ven_id: str, order: ReportOrder) -> None:
        """Raise UnableError: reports are asked for as they are registered, and not later."""
        raise UnableError("openleadr cannot ask for a report later than its registration")

    def cancel_reports(self, ven_id: str) -> None:
        """Raise UnableError."""
        raise UnableError("openleadr has no way to cancel a report")

    def reregister(self, ven_id: str) -> None:
        """Raise UnableError: it asks by itself, when it does not know a VEN."""
        raise UnableError("openleadr has no way to ask for a re-registration")

    def unregister(self, ven_id: str) -> None:
        """Raise UnableError."""
        raise UnableError("openleadr has no way to cancel a registration")

    def restart(self) -> None:
        """Start another process, which knows the same VENs: they are in its user's database."""
        self._begin_anew()

    def _begin_anew(self, *how: str) -> None:
        vens = self._ask("vens")["vens"]
        _end(self.process)
        self.process = _start(self.port, self.directory, *how)
        self._ask("know", vens=vens)

    def _ask(self, command: str, **details: object) -> dict[str, Any]:
        """Order something and return the answer. Raises UnableError if the process has ended."""
        assert self.process.stdin is not None  # noqa: S101  it was opened with pipes
        assert self.process.stdout is not None  # noqa: S101
        try:
            self.process.stdin.write(json.dumps({"do": command} | details) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise UnableError(f"openleadr's VTN has ended with {self.process.poll()}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise OperatorRefusedError(str(answer["refused"]))
        return answer


@contextlib.contextmanager
def started(directory: Path | None = None) -> Iterator[OpenleadrOperator]:
    """Run openleadr's VTN while the context lasts. Raises UnableError if it does not start.

    With a directory, where its keys are kept then, it is by mutual TLS, and what it says is signed.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    authority = None
    if directory is not None:
        authority = keys.authority(directory, AUTHORITY)
        keys.issued(directory, OWN, authority, "127.0.0.1")
    operator = OpenleadrOperator(port, directory, authority, _start(port, directory))
    try:
        yield operator
    finally:
        _end(operator.process)


def _start(port: int, directory: Path | None, *how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "conformance.operators.openleadr_server", str(port)]
    command += [] if directory is None else [str(directory), *filter(None, how)]
    process = subprocess.Popen(  # noqa: S603  a module of ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    if not process.stdout or not process.stdout.readline():
        _end(process)
        raise UnableError("openleadr's VTN does not start; it needs the packages termcolor and async-timeout, too")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
