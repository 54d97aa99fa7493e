"""What collectors share: bounded messages, counted faults, bounded devices."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from bridges.discovery import FoundDevice
from bridges.senml import parse_json
from core.errors import InvalidError

MOST_DEVICES: Final = 500
_MOST_REASONS: Final = 50
_TOO_MANY: Final = f"More than {MOST_DEVICES} devices announce themselves; the rest is left out."


class BoundedCollector:
    """Keeps devices by key; a subclass hears messages in `hear` and puts devices."""

    topics: tuple[str, ...] = ()
    longest = 65_536
    """Bytes of a message."""

    def __init__(self) -> None:
        self._devices: dict[str, FoundDevice] = {}
        self._refused: Counter[str] = Counter()

    @property
    def refused(self) -> Mapping[str, int]:
        """Why messages were refused, and how many."""
        return self._refused

    def questions(self) -> tuple[tuple[str, str], ...]:
        """Return what makes devices say more; nothing, where they say all by themselves."""
        return ()

    def take(self, topic: str, payload: bytes) -> None:
        """Take a message. What is wrong in it is counted in `refused`."""
        if len(payload) > self.longest:
            self.count(f"Announcements of more than {self.longest} bytes are not read.")
            return
        try:
            self.hear(topic, payload)
        except InvalidError as error:
            self.count(str(error))

    def count(self, reason: str) -> None:
        """Count why something was refused; of too many reasons the later ones are left out."""
        if reason in self._refused or len(self._refused) < _MOST_REASONS:
            self._refused[reason] += 1

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message of a size that is not too large. Raises InvalidError."""
        raise NotImplementedError

    def devices(self) -> list[FoundDevice]:
        """Return the devices that are there now, by their keys."""
        return [self._devices[key] for key in sorted(self._devices)]

    def put(self, device: FoundDevice) -> None:
        """Keep a device. Raises InvalidError where there are too many."""
        if device.key not in self._devices and len(self._devices) >= MOST_DEVICES:
            raise InvalidError(_TOO_MANY)
        self._devices[device.key] = device

    def check_room(self, kept: Collection[str], name: str) -> None:
        """Raise InvalidError where something more cannot be kept."""
        if name not in kept and len(kept) >= MOST_DEVICES:
            raise InvalidError(_TOO_MANY)

    def drop(self, prefix: str) -> None:
        """Forget the devices whose keys begin so."""
        self._devices = {key: device for key, device in self._devices.items() if not key.startswith(prefix)}


def mapping(payload: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object. Raises InvalidError."""
    content = parse_json(payload)
    if not isinstance(content, dict):
        raise InvalidError(f"{what} is a JSON object.")
    return content
