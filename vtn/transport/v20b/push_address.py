"""The addresses of VENs in push mode: which are called, and where a message is posted (RG-04, TR-03)."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final, Self

from core.errors import InvalidError
from web.http_client import STRICT, Guard

_PREFIX: Final = "/OpenADR2/Simple/2.0b"
_LOOPBACK: Final = frozenset({("localhost", None), ("127.0.0.1", None), ("::1", None)})


@dataclass(frozen=True, slots=True)
class Addresses:
    """Which addresses VENs may name: https, where `guard` allows it; with `plain` http too, on this machine only."""

    guard: Guard = field(default=STRICT)
    plain: bool = False

    @classmethod
    def on_loopback(cls) -> Self:
        """Return those of an insecure listener: only VENs on this machine, by http too."""
        networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
        return cls(Guard(_LOOPBACK, networks), plain=True)

    def check(self, address: str) -> None:
        """Raise InvalidError, with the reason, for an address that is never called."""
        url = self.guard.check_url(address)
        if url.scheme != "https" and not self.plain:
            raise InvalidError("Messages are pushed by https only.")
        if url.query_string or "?" in address:
            raise InvalidError("The address is a base: what follows it is the service's path, not a query.")


def url_of(address: str, service: str) -> str:
    """Return where a message for a service is posted; the address may already end in the path of the services."""
    base = address.rstrip("/").removesuffix(_PREFIX).rstrip("/")
    return f"{base}{_PREFIX}/{service}"
