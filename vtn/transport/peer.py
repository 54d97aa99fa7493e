"""Who is at the other end of a connection."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: the fingerprint and subject of its certificate (empty without one), and its address.

    On an insecure listener a VEN is who it says it is: by venID, or, registering without one, by oadrVenName: its name
    or venID here. `expires_s` is when the certificate ends, seconds since 1970, infinite where that is unknown.
    """

    fingerprint: str = ""
    subject: str = ""
    address: str = ""
    expires_s: float = math.inf

    def logged(self) -> dict[str, str]:
        """Return what a line of the log says of it."""
        return {"address": self.address, "certificate": self.subject, "fingerprint": self.fingerprint}
