"""TLS to a peer that is known by its certificate, not by its host's name: a VTN that calls a VEN (SE-05, SE-07)."""

import ssl
from collections.abc import Callable
from pathlib import Path

from certs.tls import Profile, present, with_profile
from core.errors import InvalidError

Check = Callable[[bytes, str], None]
"""Judges a peer: its certificate (DER), and all that it showed (PEM, its own first). Raises InvalidError to refuse."""


def pinned_context(
    cert: Path, key: Path, check: Check, *, profile: Profile | str = Profile.COMPATIBLE
) -> ssl.SSLContext:
    """Return the context of a client with a certificate of its own, to a server that `check` alone judges.

    A VEN's certificate is a client's: TLS libraries refuse it as a server's, and its host has no name of its own. So
    their check is off, and ours is part of the handshake: nothing is sent to a peer that it refuses. That the peer
    has the certificate's key is proved by TLS in any case. Raises InvalidError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with_profile(context, profile)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = _judged_by(check)
    present(context, cert, key)
    return context


def judge_clients(context: ssl.SSLContext, check: Check) -> None:
    """Have a server that demands client certificates let in only those that pass `check` as well."""
    context.sslobject_class = _judged_by(check)


def _judged_by(check: Check) -> type[ssl.SSLObject]:
    class Judged(ssl.SSLObject):
        """A connection whose handshake fails unless its peer passes."""

        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True)
            if der is None:
                raise ssl.SSLCertVerificationError("It showed no certificate.")
            try:
                shown = self._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # public from 3.13 on
                check(der, "".join(each.public_bytes() for each in shown))
            except InvalidError as error:
                raise ssl.SSLCertVerificationError(str(error)) from error

    return Judged
