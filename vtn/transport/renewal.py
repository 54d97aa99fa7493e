"""Gateways renew their certificates by themselves: a signing request over the TLS connection of the present one.

Beside OpenADR, which knows nothing of this: `POST {prefix}/evenload/renewal` on the listener for VENs, JSON both ways.
"""

import json
from typing import Final

from aiohttp import web

from certs.authority import Authority
from core.clock import Clock
from core.errors import ConflictError, EvenloadError, ForbiddenError, InvalidError, UnavailableError
from vtn.services import provisioning
from vtn.store.database import Database
from vtn.transport.peer import Peer

PATH: Final = "/evenload/renewal"
_LONGEST: Final = 32_768
_STATUS: Final[dict[type[EvenloadError], int]] = {InvalidError: 422, ForbiddenError: 403, ConflictError: 409}


class Renewals:
    """Answers requests for a new certificate. `vtn_url` is what gateways are told."""

    def __init__(self, db: Database, authority: Authority, vtn_id: str, clock: Clock) -> None:
        self._db = db
        self._authority = authority
        self._vtn_id = vtn_id
        self._clock = clock
        self.vtn_url = ""

    async def answer(self, peer: Peer, body: bytes) -> web.Response:
        """Issue the successor of the certificate that the peer has proven to own. Raises UnavailableError."""
        try:
            csr = _request(body)
            async with self._db.write() as tx:
                got = await provisioning.renew(tx, peer.fingerprint, csr, self._authority, self._clock.now())
        except UnavailableError:
            raise
        except EvenloadError as error:
            status = _STATUS.get(type(error), 422)
            return web.json_response({"detail": str(error)}, status=status)
        bundle = {
            "ven_id": got.ven_id,
            "ven_name": got.ven_name,
            "vtn_id": self._vtn_id,
            "vtn_url": self.vtn_url,
            "certificate": got.certificate_pem,
            "ca": self._authority.ca_pem,
            "fingerprint": got.fingerprint,
        }
        return web.json_response(bundle, status=201)


def _request(body: bytes) -> str:
    try:
        value = json.loads(body.decode()) if len(body) <= _LONGEST else None
    except (ValueError, RecursionError):
        value = None
    match value:
        case {"csr": str(csr)}:
            return csr
    raise InvalidError('Send {"csr": "..."}: a signing request in PEM.')
