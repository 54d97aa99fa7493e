"""The log file of a household: one JSON line for each decision about an event and each command to a device."""

import json
from datetime import datetime
from pathlib import Path

import structlog

from bridges.device import Outcome
from core.clock import Clock
from core.private import private_file
from ven.vtn_state import KnownEvent

_log = structlog.get_logger(__name__)


class HouseholdLog:
    """Appends to the file at `path`; None: the household keeps none. `ven_name` tells households of one file apart."""

    def __init__(self, path: Path | None, ven_name: str, clock: Clock) -> None:
        self._path = path
        self._ven_name = ven_name
        self._clock = clock

    def opt(self, event: KnownEvent) -> None:
        """Note what was decided about an event, in the process's log, too."""
        span = event.span if event.runs else None
        line = {
            "modification": event.event.modification_number,
            "opt": event.opt.value,
            "code": int(event.code),
            "reason": event.reason,
            "cancelled": event.stop_at is not None,
            "start": _text(span.start if span else None),
            "end": _text(span.end if span else None),
        }
        _log.info("opt decided", kind="opt", **line, event_id=event.event.event_id)
        self._append({"kind": "opt", "event": event.event.event_id, **line})

    def command(self, outcome: Outcome) -> None:
        """Note what became of a command."""
        command = outcome.command
        self._append(
            {
                "kind": "command",
                "id": command.id,
                "event": command.by,
                "device": command.device,
                "capability": command.capability,
                "value": command.value,
                "until": command.until.isoformat(),
                "state": outcome.state.value,
                "detail": outcome.detail,
            }
        )

    def _append(self, line: dict[str, object]) -> None:
        if self._path is None:
            return
        try:
            private_file(self._path)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": self._clock.now().isoformat(), "ven": self._ven_name, **line}) + "\n")
        except OSError as error:
            _log.error("the log file cannot be written", file=str(self._path), reason=str(error))


def _text(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
