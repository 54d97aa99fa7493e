"""What the operator's operations work with."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from aiohttp import web

from certs.authority import Authority
from core.clock import Clock
from core.errors import InvalidError
from vtn.services.settings import VtnSettings
from vtn.store.database import Database
from vtn.transport.v20b.push_address import Addresses
from web.attempts import FailureLimit


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of a running VTN that the operator API uses.

    `openadr_url` is what gateways are told, `api_url` where they enrol; a VEN that was silent for `stale_after_s`
    (world time) counts as stale. `client_ca` is the file of the authorities whose clients TLS lets in. `watched` are
    files with certificates (by name) whose end is told `expires_within` before, machine time. `pushes_to` are the
    addresses to which messages may be pushed; None: this VTN does not push. `comparing` lets one comparison of
    baselines run at a time: each takes seconds of CPU. `codes_by_address` counts wrong enrolment codes; in all they
    need no limit, which would keep good ones out: nobody guesses 80 bits.
    """

    db: Database
    clock: Clock
    settings: VtnSettings
    openadr_url: str
    authority: Authority | None
    stale_after_s: float = 60.0
    client_ca: Path | None = None
    api_url: str = ""
    watched: Mapping[str, Path] = field(default_factory=dict)
    expires_within: timedelta = timedelta(days=30)
    pushes_to: Addresses | None = None
    comparing: asyncio.Lock = field(default_factory=asyncio.Lock)
    codes_by_address: FailureLimit = field(default_factory=lambda: FailureLimit(10))

    def check_push_address(self, address: str) -> None:
        """Raise InvalidError, with the reason, for an address to which this VTN does not push."""
        if self.pushes_to is None:
            raise InvalidError("This VTN has no certificate to push with; see openadr.certificates.", field="address")
        try:
            self.pushes_to.check(address)
        except InvalidError as error:
            raise InvalidError(str(error), field="address") from error


DESK: Final = web.AppKey("desk", Desk)
