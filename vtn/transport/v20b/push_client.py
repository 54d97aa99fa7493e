"""One HTTP request to a VEN in push mode: to whom, what is sent, and how long and how much is waited for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from certs.pinned import pinned_context
from certs.tls import Profile
from core.clock import machine_now
from core.errors import EvenloadError, InvalidError, UnavailableError
from openadr.fingerprint import fingerprint
from vtn.services.ven_cache import VenCache
from vtn.transport.peer import Peer
from vtn.transport.v20b.push_address import Addresses
from web import http_client

TIMEOUT_S: Final = 10.0
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class OwnTls:
    """The VTN's certificate, shown to VENs; the authorities that theirs come from (None: whichever); the suites."""

    cert: Path
    key: Path
    ca: Path | None = None
    profile: Profile | str = Profile.COMPATIBLE


@dataclass(frozen=True, slots=True)
class Reply:
    """What a VEN answered. A `body` that is not `complete` was cut, since it is longer than any answer."""

    status: int
    body: bytes = field(repr=False)
    complete: bool
    peer: Peer


class PushClient:
    """Posts messages to VENs."""

    def __init__(
        self, vens: VenCache, addresses: Addresses, tls: OwnTls | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Without `tls` only addresses that may be plain can be reached. `timeout_s`: for one exchange (TR-10)."""
        self._vens = vens
        self._addresses = addresses
        self._tls = tls
        self.timeout_s = timeout_s

    async def post(self, ven_id: str, url: str, body: bytes) -> Reply:
        """Post a message to a service of a VEN and return what it answers, whatever that is.

        Nothing is sent unless the server shows a certificate that is registered for this VEN (SE-07). Requests are
        never compressed (TR-08), and redirects not followed. Raises UnavailableError, with the reason.
        """
        pin = _Pin(self._vens, ven_id, None if self._tls is None else self._tls.ca)
        try:
            self._addresses.check(url)  # the operator may have changed the rules since the VEN registered
            if self._tls is None and not self._addresses.plain:
                raise InvalidError("This VTN has no certificate to push with.")
            own = self._tls
            tls = None if own is None else pinned_context(own.cert, own.key, pin.check, profile=own.profile)
            answer = await http_client.post(
                url,
                body,
                guard=self._addresses.guard,
                headers={"Content-Type": "application/xml", "Accept": "application/xml"},
                timeout_s=self.timeout_s,
                max_bytes=_MOST_BYTES,
                tls=tls,
            )
        except EvenloadError as error:
            raise UnavailableError(pin.refusal or str(error)) from error
        return Reply(answer.status, answer.body, answer.complete, Peer(pin.fingerprint, address=url))


class _Pin:
    """Judges the server of one VEN, and keeps what it found."""

    def __init__(self, vens: VenCache, ven_id: str, ca: Path | None) -> None:
        self._vens = vens
        self._ven_id = ven_id
        self._ca = ca
        self.fingerprint = ""
        self.refusal = ""

    def check(self, der: bytes, shown: str) -> None:
        """Raise InvalidError unless the certificate is this VEN's, valid now, and of our authorities."""
        self.fingerprint = fingerprint(der)
        try:
            self._judge(shown)
        except InvalidError as error:
            self.refusal = str(error)
            raise

    def _judge(self, shown: str) -> None:
        from certs.acceptance import check_client  # noqa: PLC0415  see there

        if self._vens.owner(self.fingerprint) != self._ven_id:
            raise InvalidError(f"Its server's certificate {self.fingerprint} is not registered for this VEN.")
        check_client(shown, None if self._ca is None else _read(self._ca), machine_now())


def _read(ca: Path) -> str:
    try:
        return ca.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidError(f"{ca} cannot be read.") from error
