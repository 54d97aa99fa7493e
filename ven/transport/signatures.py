"""XML signatures on the gateway's side: what we say is signed, and what the VTN says is verified (SE-08 to SE-10).

A signature of the VTN counts if its certificate could be that of the VTN's TLS server: of the authority that enrolment
gave, for servers, with the name by which we call it. Times are machine time.
"""

from urllib.parse import urlsplit

from lxml.etree import _Element

from certs.provisioning import Identity
from certs.server_trust import ServerTrust
from core.clock import machine_now
from core.errors import InvalidError
from openadr.signature.replay import NonceMemory
from openadr.signature.sign import Signer, new_nonce
from openadr.signature.values import Fault, SignatureError, Verified
from openadr.signature.verify import WINDOW, Verifier

_MOST_NONCES = 10_000


class Signatures:
    """Signs with a gateway's identity and verifies its VTN. Keys are read once."""

    def __init__(self, identity: Identity, url: str, *, required: bool, check_hostname: bool = True) -> None:
        """Read the identity's keys; with `required` an answer without a good signature is none. Raises InvalidError."""
        host = urlsplit(url).hostname if check_hostname else None
        try:
            self._signer = Signer(identity.key_path.read_bytes(), identity.cert_path.read_bytes())
            self._trust = ServerTrust(identity.ca_path.read_bytes(), host)
        except OSError as error:
            raise InvalidError(f"{identity.directory} cannot be read: {error.strerror}.") from error
        self._required = required
        self._verifier = Verifier()
        self._nonces = NonceMemory(WINDOW, _MOST_NONCES)

    def sign(self, body: bytes) -> bytes:
        """Return a message of ours with a signature."""
        return self._signer.sign(body, machine_now(), new_nonce())

    def verify(self, payload: _Element) -> Verified | None:
        """Return what a signature of the VTN covers, None without. Raises SignatureError if it is bad or missing."""
        verified = self._verifier.verify(payload, self._trust.accepts)
        if verified is not None:
            self._nonces.use(verified, machine_now())
        else:
            self.refuse_unsigned()
        return verified

    def refuse_unsigned(self) -> None:
        """Raise SignatureError if what is not signed counts for nothing."""
        if self._required:
            raise SignatureError(Fault.MISSING, "the VTN must sign its messages.")
