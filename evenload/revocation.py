"""Keeps the three places that know of revoked certificates in step: the VTN's own rows, the authority, and TLS.

The VTN's rows are what counts, on every message. An operator's revocation reaches the authority at once (the operator
API sees to that); what `evenload certs revoke` did is carried over to the rows here; and a list that TLS uses is read
again when it has changed.
"""

import asyncio
import ssl
from pathlib import Path

import structlog

from certs.authority import Authority
from core.clock import Clock
from core.errors import UnavailableError
from vtn.services import provisioning
from vtn.store.database import Database

_log = structlog.get_logger(__name__)


class Revocations:
    """Looks at the files of one VTN process; call `check` every few seconds."""

    def __init__(self, db: Database, clock: Clock, authority: Authority | None) -> None:
        self._db = db
        self._clock = clock
        self._authority = authority
        self._read: dict[Path, int] = {}
        self._tls: tuple[ssl.SSLContext, Path] | None = None

    async def renew_list(self) -> None:
        """Write our authority's list anew when it is due: TLS refuses everybody once it has expired."""
        if self._authority is not None:
            await asyncio.to_thread(self._authority.keep_crl)

    def watch(self, context: ssl.SSLContext, crl: Path) -> None:
        """Read this list again into a TLS context whenever it changes."""
        self._tls = (context, crl)
        self._read[crl] = _stamp(crl)

    async def check(self) -> None:
        """Carry over what has changed since the last time. Raises UnavailableError; the next turn tries again."""
        if self._tls is not None:
            context, crl = self._tls
            if (stamp := _stamp(crl)) != self._read.get(crl):
                _reload(context, crl)
                self._read[crl] = stamp
        if self._authority is not None:
            register = self._authority.directory / "register.db"
            if (stamp := _stamp(register)) != self._read.get(register):
                await self._carry_over(self._authority)
                self._read[register] = stamp

    async def _carry_over(self, authority: Authority) -> None:
        """Revoke in the VTN what was revoked in the authority."""
        revoked = {one.fingerprint for one in await asyncio.to_thread(authority.issued) if one.revoked_at is not None}
        if not revoked:
            return
        async with self._db.read() as conn:
            valid = await provisioning.valid_certificates(conn)
        for fingerprint in sorted(revoked & valid):
            async with self._db.write() as tx:
                await provisioning.revoke_certificate(tx, fingerprint, self._clock.now(), who="certificate authority")
            _log.info("revoked in the authority, now here too", fingerprint=fingerprint)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _reload(context: ssl.SSLContext, crl: Path) -> None:
    try:
        context.load_verify_locations(crl)
    except (OSError, ssl.SSLError) as error:
        raise UnavailableError(f"{crl}: the revocation list cannot be read: {error}.") from error
