"""Who may push to this gateway: its VTN by mutual TLS, or a proxy on this machine with a secret (SE-03, SE-07)."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from certs.pinned import judge_clients
from certs.provisioning import Identity
from certs.server_trust import ServerTrust
from certs.tls import Profile, server_context
from core.errors import InvalidError
from ven.household import LOOPBACK, Household, Listen


@dataclass(frozen=True, slots=True)
class Door:
    """Where is listened, and how it is seen who knocks. Neither TLS nor a secret: for experiments on loopback."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    proxy_secret: str | None = field(default=None, repr=False)


def door_of(household: Household, listen: Listen, identity: Identity | None, vtn_url: str) -> Door:
    """Return the door of a household. Raises InvalidError where it cannot be guarded.

    By TLS only a certificate passes that the VTN's server could show: of the authority that enrolment gave, for
    servers, with the name by which we call it.
    """
    if listen.proxy_secret is not None:
        return Door(listen.host, listen.port, proxy_secret=listen.proxy_secret)
    if identity is None:
        if listen.host not in LOOPBACK:
            raise InvalidError("vtn.listen needs an identity: run `evenload ven enrol`, or listen on 127.0.0.1.")
        return Door(listen.host, listen.port)
    host = urlsplit(vtn_url).hostname if household.vtn.check_hostname else None
    trust = ServerTrust(identity.ca_path.read_bytes(), host)

    def check(der: bytes, _: str) -> None:
        if not trust.accepts(der):
            raise InvalidError("This is not the VTN's certificate.")

    context = server_context(identity.cert_path, identity.key_path, identity.ca_path, profile=Profile.COMPATIBLE)
    judge_clients(context, check)
    return Door(listen.host, listen.port, context)
