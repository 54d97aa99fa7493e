"""The certificate authority: issue, renew, revoke; enrolment bundles. May import `core` and `openadr`."""

from certs.authority import Authority, Issued, Kind
from certs.enrolment import Identity, discard, new_key_and_request, store_bundle
from certs.keys import KeyType
from certs.register import Record
from certs.tls import Profile, client_context, peer_fingerprint, server_context

__all__ = [
    "Authority",
    "Identity",
    "Issued",
    "KeyType",
    "Kind",
    "Profile",
    "Record",
    "client_context",
    "discard",
    "new_key_and_request",
    "peer_fingerprint",
    "server_context",
    "store_bundle",
]
