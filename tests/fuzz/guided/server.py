"""The VTN: its HTTP handler for all five services and for 2.0a, and what VENs answer to pushes.

Where a body goes follows from the body, so that the kept inputs are plain messages and a failure repeats itself.
"""

import asyncio
import contextlib
import hashlib
import itertools
import re
import sqlite3
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import structlog
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from fuzz.guided.decoding import SIGNED_AT
from prometheus_client import CollectorRegistry

from core.spans import Duration
from openadr.v20a.names import NAMESPACES as NAMESPACES_20A
from openadr.v20b import messages as m
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode, message_name
from support.vtn_world import MINUTE, migrated_sqlite, open_copy, power, usage, world_on
from vtn.services import provisioning
from vtn.services.push import PushLine
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.tables import METADATA
from vtn.transport.v20a.service import PATH, Vtn20a
from vtn.transport.v20b.http import SERVICES, Edge, OpenADRServer
from vtn.transport.v20b.push import PushSender
from vtn.transport.v20b.push_address import Addresses
from vtn.transport.v20b.push_client import Reply
from vtn.transport.v20b.service import Vtn20b
from vtn.transport.v20b.signatures import Signatures

_SETTINGS = VtnSettings(
    "vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),), own_reports_after=Duration()
)
_EDGE = Edge(proxy_header="X-Fingerprint", proxy_secret="the secret of a proxy")
_LIVES_FOR = 40
"""A VTN is made anew after so many messages that changed what it has stored."""
_COUNTS = tuple({"waiting_certificate", "ven_fault"} & set(METADATA.tables))
"""Tables that note refusals."""
_DUMP = tuple(
    f'SELECT * FROM "{name}" ORDER BY rowid'  # noqa: S608  names of our own
    for name in METADATA.tables
    if name not in _COUNTS
)
_IN_PART = frozenset({"oadrCreatedEvent", "oadrRegisteredReport", "oadrCancelReport"})
"""Refused in part only: good answers beside a bad one count (EV-48), and so do a receipt of our metadata (RP-13) and
the end of a report beside that of an unknown one (RP-60)."""
_NAME = re.compile(rb"<(?:[\w.-]+:)?(oadr(?!Payload|SignedObject)\w+)")
_SERVICE_OF = {message_name(kind): service for kind, service in m.SERVICES.items()}
_PUSHED = {
    "oadrRegisteredReport": m.RegisterReport("r"),
    "oadrCreatedReport": m.CreateReport("c", ()),
    "oadrCanceledReport": m.CancelReport("c", ("r",)),
    "oadrUpdatedReport": m.UpdateReport("u", ()),
    "oadrResponse": m.RequestReregistration("v"),
    "oadrCanceledPartyRegistration": m.CancelPartyRegistration("c", "r"),
}
"""What is pushed, by the name of the answer to it."""


class Faults:
    """Collects what is logged as our own fault, and nothing else."""

    def __init__(self) -> None:
        self.logged: list[dict] = []
        structlog.configure(processors=[self._take], cache_logger_on_first_use=False)

    def _take(self, _logger: object, method: str, entry: dict) -> dict:
        if method in ("error", "critical", "exception") or "exc_info" in entry:
            self.logged.append(structlog.processors.format_exc_info(None, method, dict(entry)))
        raise structlog.DropEvent


class Server:
    """A VTN with a registered VEN that has events and reports, made anew now and then."""

    def __init__(self, certificate: bytes | None = None) -> None:
        """`certificate`, PEM, is shown by the VEN on TLS and signs its messages; without it has none that is real."""
        self._certificate = certificate
        self._loop = asyncio.new_event_loop()
        self._directory = tempfile.TemporaryDirectory()
        self._template = Path(self._directory.name) / "template.db"
        self._path = Path(self._directory.name) / "vtn.db"
        self.answers: Counter[tuple[str, int]] = Counter()
        """How often which message was answered with which response code or HTTP status."""
        self._faults = Faults()
        self._stack = contextlib.AsyncExitStack()
        migrated_sqlite(self._path)  # the first is made in a thread of its own: not with our numbers
        self._ids = _numbered_ids()
        self._ids.__enter__()
        self._loop.run_until_complete(self._furnish())
        self._loop.run_until_complete(self._begin())

    def take(self, body: bytes) -> None:
        """Post a body. Raises AssertionError for a 5xx, a logged fault, or a refused message that changed something."""
        self._loop.run_until_complete(self._take(body))

    def close(self) -> None:
        """End the VTN and throw its database away."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()
        self._ids.__exit__(None, None, None)
        self._directory.cleanup()

    async def _take(self, body: bytes) -> None:
        if self._changes >= _LIVES_FOR:
            await self._stack.aclose()
            await self._begin()
        self._faults.logged.clear()
        before = self._version()
        name = match[1].decode() if (match := _NAME.search(body[:4096])) else ""
        refused = await (self._push if _pushes(name, body) else self._post)(name, body)
        assert not self._faults.logged, self._faults.logged
        if self._version() == before:
            return  # nothing was committed
        self._changes += 1
        if refused and name not in _IN_PART:
            assert self._digest() == self._stored, f"{name} was refused, and changed what is stored"
        await self._settle()

    async def _furnish(self) -> None:
        """Store two VENs, with resources, a report that is asked for and an event."""
        async with world_on(open_copy(self._path, self._template), _SETTINGS) as world:
            self.ven, other = await world.ven(), await world.ven()
            self.fingerprint = self.ven.peer.fingerprint
            if self._certificate is not None:
                async with world.tx() as tx:
                    self.fingerprint = await provisioning.add_certificate(
                        tx, self.ven.ven_id, self._certificate.decode(), world.now, who="test"
                    )
            self.requests = await self.ven.offer(usage("meter", "car"))
            await world.dispatch(self.ven, other, signals=(power(-1000.0),))
            self.events = await self.ven.events()

    async def _begin(self) -> None:
        """Start a VTN on what was stored."""
        for old in self._path.parent.glob(f"{self._path.name}*"):
            old.unlink()
        self._changes = 0
        database = open_copy(self._template, self._path)
        world = self._world = await self._stack.enter_async_context(world_on(database, _SETTINGS))
        signatures = Signatures(world.directory, world.writer, now=lambda: SIGNED_AT)
        vtn = Vtn20b(world.writer, world.directory, _SETTINGS, world.clock, world.faults, signatures, Addresses())
        older = Vtn20a(vtn, world.writer, world.directory, world.clock)
        self._http = OpenADRServer(vtn, _EDGE, CollectorRegistry(), others={PATH: older.answer})
        client, registry = SimpleNamespace(timeout_s=1.0), CollectorRegistry()
        self._sender = PushSender(
            vtn, world.directory, world.writer, world.faults, client, _SETTINGS, world.clock, registry
        )
        self._sqlite = sqlite3.connect(self._path)
        self._stack.callback(self._sqlite.close)
        await self._settle()

    async def _settle(self) -> None:
        """Let the VEN say something good: with it the VTN knows that what it sent last has arrived."""
        ven = await self._world.directory.get(self.ven.ven_id)
        if ven is None or ven.awaits_request:
            status, body = await self._request("EiRegisterParty", encode(m.QueryRegistration("q")))
            assert _code(status, body) == 200, (status, body)
        if ven is None or ven.registration_id is None:
            self._changes = _LIVES_FOR  # it cancelled: nothing but refusals would follow
        self._stored = self._digest()

    def _version(self) -> int:
        """Return what changes with each commit; far cheaper than looking at what is stored."""
        return self._sqlite.execute("PRAGMA data_version").fetchone()[0]

    def _digest(self) -> str:
        return hashlib.sha256(repr([self._sqlite.execute(query).fetchall() for query in _DUMP]).encode()).hexdigest()

    async def _post(self, name: str, body: bytes) -> bool:
        """Post a body to where it belongs, now and then elsewhere; return whether it was refused."""
        service = _service(name, body)
        status, answer = await self._request(service, body)
        assert status in (200, 403, 406), f"{service}: {status} {answer!r} {self._faults.logged}"
        code = (_code_20a if service == PATH else _code)(status, answer)
        self.answers[name, code] += 1
        return code != 200

    async def _push(self, name: str, body: bytes) -> bool:
        """Take a body as the answer to a push. Whether it was refused cannot be seen from outside."""
        line = PushLine(self.ven.ven_id, "https://ven.example")
        pushed = _PUSHED.get(name, m.RegisterReport("r"))
        await self._sender._take_answer(line, pushed, Reply(200, body, True, self.ven.peer))
        return False

    async def _request(self, service: str, body: bytes) -> tuple[int, bytes]:
        path = service if service == PATH else f"/OpenADR2/Simple/2.0b/{service}"
        headers = {
            "Content-Type": "application/xml",
            "X-Fingerprint": self.fingerprint,
            "X-Proxy-Secret": _EDGE.proxy_secret,
        }
        content = StreamReader(BaseProtocol(self._loop), 2**16, loop=self._loop)
        content.feed_data(body)
        content.feed_eof()
        request = make_mocked_request("POST", path, headers, payload=content, loop=self._loop)
        response = await self._http.handle(request)
        assert isinstance(response, web.Response)
        return response.status, bytes(response.body or b"")


def _pushes(name: str, body: bytes) -> bool:
    chance = zlib.crc32(body)
    return chance % 4 == 0 if name in _PUSHED else chance % 64 == 0


def _service(name: str, body: bytes) -> str:
    if NAMESPACES_20A["oadr"].encode() in body:
        return PATH
    odd = zlib.crc32(body) >> 8
    if odd % 16 == 0:
        return sorted(SERVICES)[odd // 16 % len(SERVICES)]
    return _SERVICE_OF.get(name, "EiReport")


def _code(status: int, answer: bytes) -> int:
    """Return the response code of an answer, which must be a message, or the HTTP status."""
    if status != 200:
        return status
    response = getattr(decode(answer, strict=True), "response", None)
    return 200 if response is None else response.code


def _code_20a(status: int, answer: bytes) -> int:
    match = re.search(rb"responseCode>(\d+)<", answer)
    return int(match[1]) if status == 200 and match else status


@contextlib.contextmanager
def _numbered_ids():
    """Number the ids that the VTN gives, so that kept messages can name them."""
    numbers = itertools.count(1)
    counted = SimpleNamespace(randbits=lambda _bits: next(numbers), token_bytes=None)
    with mock.patch.multiple("core.ids", secrets=counted, time=SimpleNamespace(time_ns=lambda: 0)):
        yield
