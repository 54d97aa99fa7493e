"""What ends soon, and whom that would cut off: the server's certificates, its authority, VENs' certificates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from certs.validity import validity_of_file
from core.errors import EvenloadError


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate and its end (machine time); `fault` where it cannot be read."""

    name: str
    ends_at: datetime | None
    fault: str = ""

    def text(self, now: datetime) -> str:
        """Return what to tell an operator."""
        if self.ends_at is None:
            return f"The {self.name} cannot be read: {self.fault}"
        day = f"{self.ends_at:%Y-%m-%d %H:%M} UTC"
        return f"The {self.name} ended on {day}." if self.ends_at <= now else f"The {self.name} ends on {day}."


def ends(watched: Mapping[str, Path]) -> list[Expiry]:
    """Return the ends of certificates in files (name -> file), the nearest first."""
    found = []
    for name, path in watched.items():
        try:
            found.append(Expiry(name, validity_of_file(path).end))
        except EvenloadError as error:
            found.append(Expiry(name, None, str(error)))
    return sorted(found, key=lambda row: (row.ends_at is not None, row.ends_at))


def soon(watched: Mapping[str, Path], before: datetime) -> list[Expiry]:
    """Return those that end before a time, or cannot be read."""
    return [one for one in ends(watched) if one.ends_at is None or one.ends_at < before]
