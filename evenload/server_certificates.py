"""The server's own certificates: renewed by our authority in time, and taken up without a restart."""

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from certs.authority import Authority
from certs.files import read_text, write_over
from certs.tls import check_pair
from certs.validity import validity_of_pem
from core.clock import machine_now
from core.errors import EvenloadError, NotFoundError
from evenload.settings import KeyPair, Settings
from openadr.fingerprint import fingerprint_of_pem

_log = structlog.get_logger(__name__)

_GAIN = timedelta(days=1)
"""A new certificate that does not live longer by this much is not worth having: the authority itself ends."""


class ServerCertificates:
    """The certificates of one process, and the TLS contexts that use them. Call `check` every few seconds."""

    def __init__(
        self, settings: Settings, authority: Authority | None, now: Callable[[], datetime] = machine_now
    ) -> None:
        pairs = [*settings.openadr.certificates, *settings.openadr.signing, settings.api.certificate]
        if settings.console is not None:
            pairs.append(settings.console.certificate)
        self._pairs = list(dict.fromkeys(pair for pair in pairs if pair is not None))
        self._ca = settings.openadr.ca
        self._authority = authority
        self._now = now
        self._used: list[tuple[ssl.SSLContext, KeyPair, int]] = []

    @property
    def watched(self) -> Mapping[str, Path]:
        """What has to be renewed in time, name -> file: the server's certificates and the authorities."""
        own = {f"server certificate {pair.cert.name}": pair.cert for pair in self._pairs}
        roots = {self._ca} if self._ca is not None else set()
        if self._authority is not None:
            roots.add(self._authority.directory / "ca.pem")
        files = dict.fromkeys(root.resolve() for root in sorted(roots))
        return own | {f"authority {root.name}": root for root in files}

    def serve(self, context: ssl.SSLContext, pair: KeyPair) -> None:
        """Keep a context's certificate fresh, from now on."""
        self._used.append((context, pair, _stamp(pair)))

    async def check(self) -> None:
        """Load what has changed on the disk into the contexts; connections that are there go on."""
        for number, (context, pair, before) in enumerate(self._used):
            stamp = _stamp(pair)
            if stamp == before:
                continue
            try:
                await asyncio.to_thread(check_pair, pair.cert, pair.key)
            except EvenloadError as error:  # half of it is written, perhaps: what is in use stays in use
                _log.warning("the new server certificate cannot be used", why=str(error))
                continue
            context.load_cert_chain(pair.cert, pair.key)
            self._used[number] = (context, pair, stamp)
            _log.info("server certificate read again", file=str(pair.cert))

    async def renew(self) -> None:
        """Have our authority issue successors of those of its certificates that are due."""
        if self._authority is None:
            return
        for pair in self._pairs:
            try:
                await asyncio.to_thread(self._renew, self._authority, pair)
            except NotFoundError:
                continue  # another authority's: its files are somebody else's to replace
            except EvenloadError as error:
                _log.error("the server certificate could not be renewed", file=str(pair.cert), why=str(error))

    def _renew(self, authority: Authority, pair: KeyPair) -> None:
        pem = read_text(pair.cert, "Issue another one.")
        validity = validity_of_pem(pem)
        if self._now() < validity.renew_at or authority.not_after - validity.end < _GAIN:
            return
        days = max(1, math.ceil(validity.life / timedelta(days=1)))
        issued = authority.renew(fingerprint_of_pem(pem.encode()), days=days)
        write_over(pair.cert, issued.chain_pem)  # the key stays, so that one file changes and always fits
        _log.info("server certificate renewed", file=str(pair.cert), until=issued.record.not_after.isoformat())


def _stamp(pair: KeyPair) -> int:
    try:
        return pair.cert.stat().st_mtime_ns ^ pair.key.stat().st_mtime_ns
    except OSError:
        return 0
