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
from vtn.services.settings import VtnSettings
from vtn.store.database import Database
from web.attempts import FailureLimit


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of a running VTN that the operator API uses.

    `openadr_url` is what gateways are told, `api_url` where they enrol; a VEN that was silent for `stale_after_s`
    (world time) counts as stale. `client_ca` is the file of the authorities whose clients TLS lets in. `watched` are
    files with certificates (by name) whose end is told `expires_within` before, machine time. `comparing` lets one
    comparison of baselines run at a time: each takes seconds of CPU. `codes_by_address` counts wrong enrolment codes;
    in all they need no limit, which would keep good ones out: nobody guesses 80 bits.
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
    comparing: asyncio.Lock = field(default_factory=asyncio.Lock)
    codes_by_address: FailureLimit = field(default_factory=lambda: FailureLimit(10))


DESK: Final = web.AppKey("desk", Desk)
