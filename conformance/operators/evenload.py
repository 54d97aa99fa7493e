"""The adapter for an evenload VTN: its operator API, with an administrator's token."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from conformance import keys
from conformance.exchange import Request
from conformance.operator import (
    EventOrder,
    Identity,
    OperatorRefusedError,
    ReportOrder,
    SignalOrder,
    UnableError,
)
from conformance.operators import restarting
from conformance.wire import Access, Line, tls_context

_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_RESTART_S: Final = 60.0
_LOOK_S: Final = 0.2


@dataclass
class EvenloadOperator:
    """`url` is the operator API's, without /v1. Keys of the VENs that it makes lie in `directory`.

    `restart_command` ends the VTN and starts it again.
    """

    url: str
    token: str
    trust: Path | None
    directory: Path
    restart_command: str | None = None
    _programmes: dict[str, str] = field(default_factory=dict)
    _ven_ids: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the VTN's world time."""
        return datetime.fromisoformat(self._call("GET", "/status")["now"])

    def provide(self, name: str, *, rsa: bool = False) -> Identity:
        """Create a VEN and enrol it with a key of its own."""
        created = self._call("POST", "/vens", {"name": name})
        self._ven_ids.append(created["ven"]["id"])
        key = keys.new_key(rsa_key=rsa)
        bundle = self._call("POST", "/enrolments", {"code": created["code"], "csr": keys.signing_request(key, name)})
        ven_id = bundle["ven_id"]
        return Identity(name, keys.write(self.directory, ven_id, key, bundle["certificate"]), known_as=ven_id)

    def fingerprint(self, ven_id: str) -> str:
        """Return the fingerprint of the VEN's newest certificate."""
        return str(self._call("GET", f"/vens/{ven_id}")["certificates"][-1]["fingerprint"])

    def require_signatures(self, ven: Identity, *, required: bool = True) -> None:
        """Set the VEN's policy."""
        policy = "required" if required else "when_present"
        self._call("PUT", f"/vens/{ven.known_as}/signatures", {"policy": policy})

    def create_event(self, order: EventOrder, ven_ids: Sequence[str]) -> str:
        """Create a dispatch; its id is the handle."""
        body: dict[str, Any] = {
            "programme_id": self._programme(order, ven_ids),
            "start": order.start.isoformat(),
            "signals": [_signal(signal) for signal in order.signals],
            "ven_ids": list(ven_ids),
            "resource_ids": list(order.resources),
            "direction": "reduce",
        }
        if order.priority is not None:
            body["priority"] = order.priority
        if order.baseline:
            body["baseline"] = {"intervals": _intervals(order.baseline)}
        return str(self._call("POST", "/dispatches", body)["dispatch"]["id"])

    def change_event(
        self, handle: str, *, start: datetime | None = None, signals: Sequence[SignalOrder] | None = None
    ) -> None:
        """Change the dispatch."""
        body: dict[str, Any] = {} if start is None else {"start": start.isoformat()}
        if signals is not None:
            body["signals"] = [_signal(signal) for signal in signals]
        self._call("PATCH", f"/dispatches/{handle}", body)

    def cancel_event(self, handle: str) -> None:
        """Cancel the dispatch."""
        self._call("POST", f"/dispatches/{handle}/cancellation")

    def opt(self, handle: str, ven_id: str) -> str | None:
        """Return the effective opt of a VEN."""
        events = self._call("GET", f"/dispatches/{handle}")["events"]
        return next((event["opt"] for event in events if event["ven_id"] == ven_id), None)

    def request_report(self, ven_id: str, order: ReportOrder) -> None:
        """Request a report."""
        body: dict[str, Any] = {
            "specifier_id": order.specifier,
            "r_ids": list(order.r_ids),
            "granularity": f"PT{order.granularity_s}S",
            "report_back": f"PT{order.back_s}S",
        }
        if order.start is not None:
            body["start"] = order.start.isoformat()
        if order.duration_s is not None:
            body["duration"] = f"PT{order.duration_s}S"
        self._call("POST", f"/vens/{ven_id}/report-requests", body)

    def cancel_reports(self, ven_id: str) -> None:
        """Cancel what is still requested of a VEN."""
        for request in self._call("GET", f"/vens/{ven_id}/reports")["requests"]:
            if request["state"] in ("queued", "unanswered", "active"):
                self._call("POST", f"/report-requests/{request['id']}/cancellation")

    def reregister(self, ven_id: str) -> None:
        """Ask for a re-registration."""
        self._call("POST", f"/vens/{ven_id}/reregistration")

    def unregister(self, ven_id: str) -> None:
        """Cancel the registration."""
        self._call("POST", f"/vens/{ven_id}/cancellation")

    def restart(self) -> None:
        """Run the command, and wait for the API."""
        restarting.run(self.restart_command)
        until = time.monotonic() + _RESTART_S
        while True:
            try:
                self.now()
            except UnableError as error:
                if time.monotonic() > until:
                    raise UnableError(f"after the restart: {error}") from error
                time.sleep(_LOOK_S)
            else:
                return

    def tidy(self) -> None:
        """Retire the VENs that were made for the run."""
        while self._ven_ids:
            self._call("DELETE", f"/vens/{self._ven_ids.pop()}")

    def _programme(self, order: EventOrder, ven_ids: Sequence[str]) -> str:
        """Return a programme with the order's market context and rules, in which these VENs take part."""
        parameters: dict[str, Any] = {
            "notification": f"PT{order.notification_s}S",
            "response_required": "always" if order.always else "never",
            "limits": {"rest": "PT0S"},
        }
        if order.ramp_up_s:
            parameters["ramp_up"] = f"PT{order.ramp_up_s}S"
        if order.start_after_s:
            parameters["start_after"] = f"PT{order.start_after_s}S"
        context = order.market_context
        if context not in self._programmes:
            body = {"name": context, "market_context": context, "parameters": parameters}
            self._programmes[context] = self._call("POST", "/programmes", body)["id"]
        programme_id = self._programmes[context]
        self._call("POST", f"/programmes/{programme_id}/enrolments", {"ven_ids": list(ven_ids)})
        return programme_id

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API. Raises OperatorRefusedError for what it refuses, UnableError if it does not answer."""
        access = Access(self.url.rstrip("/").removesuffix("/v1"), self.trust)
        line = Line(access, tls_context(access, None) if access.is_secure else None)
        content = b"" if body is None else json.dumps(body).encode()
        headers = (
            ("Host", urlsplit(access.url).netloc),
            ("Authorization", f"Bearer {self.token}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("Connection", "close"),
        )
        outcome = line.exchange(Request(method, f"{access.path}/v1{path}", headers, content))
        if outcome.answer is None:
            raise UnableError(f"The operator API does not answer: {outcome.trouble}.")
        text = outcome.answer.body.decode("utf-8", "replace")
        if outcome.answer.status >= _SERVER_ERROR:
            raise UnableError(f"The operator API answers {outcome.answer.status}: {_problem(text)}")
        if outcome.answer.status >= _ERROR:
            raise OperatorRefusedError(f"{method} {path}: {outcome.answer.status} {_problem(text)}")
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise UnableError(f"There is no operator API of evenload at {self.url}: its answer is not JSON.") from error


def _problem(text: str) -> str:
    """Return what a problem document (RFC 9457) says, or the text as it is."""
    try:
        problem = json.loads(text)
    except (ValueError, RecursionError):
        return text[:300]
    return str(problem.get("detail") or problem.get("title") or text)[:300] if isinstance(problem, dict) else text[:300]


def _intervals(values: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    return [{"duration": f"PT{length}S", "value": value} for length, value in values]


def _signal(signal: SignalOrder) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": signal.name,
        "type": signal.type,
        "device_classes": list(signal.device_classes),
        "intervals": _intervals(signal.values),
    }
    if signal.unit:
        shown["unit"] = signal.unit
    if signal.id:
        shown["id"] = signal.id
    return shown
