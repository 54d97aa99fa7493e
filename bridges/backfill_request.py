"""Asking a meter for what it remembers: our own convention over MQTT, for meters that count while nobody listens.

A request is published on `{measurement topic}/get`; the meter answers on the measurement topic itself, with arrays of
back-dated records in its own dialect, oldest first.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from bridges.senml import parse_json, read_time
from core.errors import InvalidError
from core.spans import utc


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """The readings of [since, until]; of one device, where several share the topic."""

    since: datetime
    until: datetime
    device: str | None = None


def request_topic(measurement_topic: str) -> str:
    """Return where a meter listens for requests."""
    return f"{measurement_topic}/get"


def write_request(request: HistoryRequest) -> str:
    """Write a request."""
    whole = {"from": utc(request.since).isoformat(), "to": utc(request.until).isoformat()}
    if request.device is not None:
        whole["device"] = request.device
    return json.dumps(whole, separators=(",", ":"))


def read_request(payload: bytes | str) -> HistoryRequest:
    """Read a request. Raises InvalidError."""
    whole = parse_json(payload)
    if not isinstance(whole, dict) or not all(isinstance(whole.get(field), str) for field in ("from", "to")):
        raise InvalidError("A history request is an object with the times 'from' and 'to'.")
    device = whole.get("device")
    return HistoryRequest(read_time(whole["from"]), read_time(whole["to"]), None if device is None else str(device))
