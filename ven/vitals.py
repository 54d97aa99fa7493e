"""What a running gateway shows of itself: whether VTN, connections and devices answer, and what people should know.

One small file in the state directory, overwritten in place: the disk may be full. Whether the process lives says its
lock, which the kernel takes back however it ends.
"""

import fcntl
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from bridges.device import CapabilityKind, Value
from core.private import overwrite

_log = structlog.get_logger(__name__)

VITALS_FILE: Final = "vitals.json"
LOCK_FILE: Final = "gateway.lock"
_ROOM: Final = 8192
_TIMES_EVERY_S: Final = 30.0
"""How often the file is written where nothing but times changed: it may lie on a memory card."""


@dataclass(frozen=True, slots=True)
class VtnContact:
    """When the VTN last answered, and since when it has not, with what came instead."""

    url: str
    last_answer: datetime | None = None
    silent_since: datetime | None = None
    reason: str = ""
    listens_at: str | None = None
    """Where it sends its messages, in push mode."""
    deaf_because: str = ""
    """Why nothing listens there; empty: something does."""
    last_push: datetime | None = None

    def answered(self, now: datetime) -> "VtnContact":
        """Return the contact after an answer."""
        return replace(self, last_answer=now, silent_since=None, reason="")

    def pushed(self, now: datetime) -> "VtnContact":
        """Return the contact after a message that the VTN sent by itself."""
        return replace(self, last_push=now)

    def listening(self) -> "VtnContact":
        """Return the contact now that the VTN can push."""
        return replace(self, deaf_because="")

    def deaf(self, reason: str) -> "VtnContact":
        """Return the contact while nothing can listen for the VTN."""
        return replace(self, deaf_because=reason)

    def unanswered(self, now: datetime, reason: str) -> "VtnContact":
        """Return the contact after a message that got none."""
        return replace(self, silent_since=self.silent_since or now, reason=reason)


@dataclass(frozen=True, slots=True)
class ConnectionContact:
    """Whether a connection to devices is up, and since when that is so.

    `silent_s`: seconds of the host's time since the other side was last heard; None if it never was.
    """

    kind: str
    address: str
    connected: bool
    since: datetime
    silent_s: float | None = None
    unused: dict[str, int] = field(default_factory=dict)
    """How many messages came to nothing since the start, by why."""


@dataclass(frozen=True, slots=True)
class DeviceContact:
    """Whether a device is believed reachable, and what it last said of itself, by capability."""

    online: bool
    states: dict[CapabilityKind, Value | None]
    taken_back: bool = False
    """Its user holds it against an event that still runs."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at a gateway. `seen` is the time of the look; `stopped` is set by a clean stop."""

    started: datetime
    seen: datetime
    vtn: VtnContact
    connections: dict[str, ConnectionContact] = field(default_factory=dict)
    devices: dict[str, DeviceContact] = field(default_factory=dict)
    stopped: datetime | None = None
    notices: dict[str, str] = field(default_factory=dict)
    """What people should know beside that, by subject."""


_ADAPTER: Final = TypeAdapter(Vitals)


class VitalsFile:
    """The file, as the running gateway writes it."""

    def __init__(self, state: Path) -> None:
        self._path = state / VITALS_FILE
        self._written: Vitals | None = None
        self._written_s = 0.0

    def put(self, vitals: Vitals) -> None:
        """Write what has changed, mere times only now and then. A disk that takes nothing is logged."""
        last, now_s = self._written, time.monotonic()
        unchanged = last is not None and _without_times(last) == _without_times(vitals)
        if unchanged and now_s - self._written_s < _TIMES_EVERY_S:
            return
        self._written, self._written_s = vitals, now_s
        try:
            overwrite(self._path, _ADAPTER.dump_json(vitals), _ROOM)
        except OSError as error:
            _log.error("the file for `ven status` cannot be written", file=str(self._path), reason=str(error))


def _without_times(vitals: Vitals) -> Vitals:
    vtn = replace(vitals.vtn, last_answer=vitals.started) if vitals.vtn.last_answer else vitals.vtn
    vtn = replace(vtn, last_push=vitals.started) if vtn.last_push else vtn
    connections = {name: replace(contact, silent_s=None, unused={}) for name, contact in vitals.connections.items()}
    return replace(vitals, seen=vitals.started, vtn=vtn, connections=connections)


def read_vitals(state: Path) -> Vitals | None:
    """Return what the gateway last wrote, or None: it never did, or the file cannot be read."""
    try:
        return _ADAPTER.validate_json((state / VITALS_FILE).read_bytes().rstrip())
    except (OSError, ValidationError):
        return None


def process_runs(state: Path) -> bool:
    """Tell whether a gateway holds the lock of this state directory."""
    try:
        with (state / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
