"""TLS handshakes that fail leave a trace: a refused client never reaches HTTP, where everything else is logged."""

import ssl
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_NOT_YET: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Logged(ssl.SSLObject):
    """A connection whose failed handshake is logged once."""

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises what ssl raises."""
        try:
            super().do_handshake()
        except _NOT_YET:
            raise
        except ssl.SSLError as error:
            _log.warning("client refused", why=getattr(error, "verify_message", None) or error.reason or str(error))
            raise


def log_refusals(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have a server context log each handshake that it refuses: no, foreign or expired certificate (SE-03, SE-04)."""
    context.sslobject_class = _Logged
    return context
