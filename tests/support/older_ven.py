"""A VEN of OpenADR 2.0a in push mode, written by hand: an HTTPS server, and messages that no codec of ours made."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from lxml import etree

EI_EVENT = "/OpenADR2/Simple/EiEvent"
NAMES = {
    "oadr": "http://openadr.org/oadr-2.0a/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
    "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
}
_DECLARED = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMES.items())
_XML = {"Content-Type": "application/xml"}


@dataclass
class OlderVen:
    """`heard` are the lists of events that were pushed; `status` and `says` are how it answers, `posts` what it then
    posts to the VTN: optIn or optOut, or nothing.
    """

    ven_id: str
    server_tls: ssl.SSLContext
    client_tls: ssl.SSLContext | None = None
    vtn: str = ""
    status: int = 200
    answers_at_once: bool = False
    posts: str | None = "optIn"
    port: int = 0
    heard: list[Any] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    _runner: web.ServerRunner | None = None
    _posting: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, where it listened before if it did."""
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.server_tls).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    def at(self, path: str) -> list[str]:
        """Return what an XPath finds in the list that came last."""
        return list(self.heard[-1].xpath(path, namespaces=NAMES))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        root = etree.fromstring(await request.read())
        self.requests.append((request.method, request.path))
        self.heard.append(root)
        if self.status != 200:
            return web.Response(status=self.status)
        if self.answers_at_once:
            return web.Response(body=self.created("optIn"), headers=_XML)
        if self.vtn and self.posts and self.at("//oadr:oadrEvent"):
            task = asyncio.create_task(self.post(self.created(self.posts)))
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
        return web.Response()

    def created(self, opt_type: str) -> bytes:
        """Return the oadrCreatedEvent for the list that came last."""
        (request_id,) = self.at("pyld:requestID/text()")
        responses = ""
        for event in self.heard[-1].xpath("oadr:oadrEvent", namespaces=NAMES):
            number, event_id = (
                event.xpath(f"string(.//ei:{name})", namespaces=NAMES) for name in ("modificationNumber", "eventID")
            )
            responses += (
                "<ei:eventResponse><ei:responseCode>200</ei:responseCode>"
                f"<pyld:requestID>{request_id}</pyld:requestID><ei:qualifiedEventID><ei:eventID>{event_id}</ei:eventID>"
                f"<ei:modificationNumber>{number}</ei:modificationNumber></ei:qualifiedEventID>"
                f"<ei:optType>{opt_type}</ei:optType></ei:eventResponse>"
            )
        return (
            f'<?xml version="1.0"?><oadr:oadrCreatedEvent {_DECLARED}><pyld:eiCreatedEvent><ei:eiResponse>'
            "<ei:responseCode>200</ei:responseCode><pyld:requestID/></ei:eiResponse><ei:eventResponses>"
            f"{responses}</ei:eventResponses><ei:venID>{self.ven_id}</ei:venID></pyld:eiCreatedEvent>"
            "</oadr:oadrCreatedEvent>"
        ).encode()

    def asks(self) -> bytes:
        """Return an oadrRequestEvent."""
        return (
            f'<?xml version="1.0"?><oadr:oadrRequestEvent {_DECLARED}><pyld:eiRequestEvent><pyld:requestID>q'
            f"</pyld:requestID><ei:venID>{self.ven_id}</ei:venID></pyld:eiRequestEvent></oadr:oadrRequestEvent>"
        ).encode()

    async def post(self, body: bytes) -> None:
        """Post a message to the VTN's EiEvent; its answer is in `answers`."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.vtn + EI_EVENT, data=body, headers=_XML, ssl=self.client_tls or False) as answer,
        ):
            self.answers.append(etree.fromstring(await answer.read()))
