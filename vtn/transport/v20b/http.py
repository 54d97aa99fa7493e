"""The HTTP edge of OpenADR: TLS identity, methods, content types, sizes, status codes (catalogue section 7)."""

import asyncio
import gzip
import math
import posixpath
import re
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

from core.errors import EvenloadError, UnavailableError
from openadr.fingerprint import fingerprint
from openadr.signature.values import SignatureError
from openadr.v20b.decode import MAX_BYTES, Decoded, UnreadableError, WireError, decode_noting
from openadr.v20b.encode import encode, message_name
from openadr.v20b.messages import Message
from vtn.transport.message_log import Exchange, Note, ignore
from vtn.transport.peer import Peer
from vtn.transport.v20b.known_polls import KnownPolls
from vtn.transport.v20b.service import EMPTY, Vtn20b
from vtn.transport.v20b.signatures import Signature
from web.plain_response import PlainResponse
from web.posts import RefusedError, body_of, check_proxy, check_xml

_log = structlog.get_logger(__name__)

SERVICES: Final = frozenset({"EiEvent", "EiOpt", "EiReport", "EiRegisterParty", "OadrPoll"})
_LARGE: Final = 64 * 1024
"""A body of more bytes is read in a thread, so that nobody else waits for it."""
_LONGEST_SUBJECT: Final = 300
_FINGERPRINT: Final = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){9}")
_CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda body: gzip.compress(body, compresslevel=1),
    "deflate": zlib.compress,
}


@dataclass(frozen=True, slots=True)
class Edge:
    """How the listener is reached.

    `proxy_header` carries the client's fingerprint where TLS ends at a proxy; it only counts together with
    `proxy_secret` in `X-Proxy-Secret`. `insecure` (loopback only) takes the VEN from the message. A body must arrive
    within `read_timeout_s` (machine time).
    """

    prefix: str = ""
    max_body_bytes: int = MAX_BYTES
    insecure: bool = False
    proxy_header: str | None = None
    proxy_secret: str | None = None
    read_timeout_s: float = 30.0


Beside = Callable[[Peer, bytes], Awaitable[web.Response]]
"""Answers a post that is no OpenADR message: of whom, and its body. May raise UnavailableError."""
Answer = Callable[[Peer, bytes], Awaitable[tuple[str, bytes]]]
"""Answers a message of another version of OpenADR: its kind, and the answer. May raise what `Vtn20b.answer` does."""


class OpenADRServer:
    """Takes HTTP requests, hands messages to the transport, and never stops for a bad one."""

    def __init__(
        self,
        vtn: Vtn20b,
        edge: Edge,
        registry: CollectorRegistry,
        note: Note = ignore,
        beside: Mapping[str, Beside] = MappingProxyType({}),
        others: Mapping[str, Answer] = MappingProxyType({}),
    ) -> None:
        """`note` hears of every exchange but empty polls.

        `beside` answers posts to other addresses of this listener, path -> what answers; `others` those in other
        versions of OpenADR.
        """
        self._note = note
        self._vtn = vtn
        self._edge = edge
        self._beside = {f"{edge.prefix.rstrip('/')}{path}": answer for path, answer in beside.items()}
        self._others = {f"{edge.prefix.rstrip('/')}{path}": answer for path, answer in others.items()}
        self._base = f"{edge.prefix.rstrip('/')}/OpenADR2/Simple/2.0b/"
        self._usual = {(f"{self._base}{service}", "application/xml"): service for service in SERVICES}
        self._peers: WeakKeyDictionary[object, Peer] = WeakKeyDictionary()
        self._polls = KnownPolls()
        self._body = partial(body_of, most_bytes=edge.max_body_bytes, within_s=edge.read_timeout_s)
        self._empty = encode(EMPTY)
        self._empty_coded = {coding: compress(self._empty) for coding, compress in _CODINGS.items()}
        self._messages = Counter(
            "evenload_openadr_messages",
            "OpenADR messages by type and HTTP status.",
            ("type", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "evenload_openadr_seconds", "Time to answer an OpenADR message.", ("type",), registry=registry
        )
        self._meters: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def runner(self) -> web.ServerRunner:
        """Return the aiohttp runner of this listener."""
        return web.ServerRunner(web.Server(self.handle), access_log=None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        begun = time.perf_counter()
        kind = "?"
        peer: Peer | None = None
        try:
            service = self._service(request)
            peer = self._peer(request)
            _check_valid(peer)
            if service in SERVICES:
                kind, answer = await self._answer(service, await self._body(request), peer)
                response = self._respond(request, answer)
            elif service in self._others:
                kind, answer = await self._others[service](peer, await self._body(request))
                response = self._respond(request, answer)
            else:
                kind, response = service, await self._beside[service](peer, await self._body(request))
        except RefusedError as refused:
            _log.warning("request refused", status=refused.status, why=refused.why, **_named(peer, request))
            response = PlainResponse(status=refused.status, text=refused.why + "\n")
            response.force_close()
        except WireError as error:
            response = PlainResponse(status=error.status, text=f"{error}\n")
        except SignatureError as error:  # ignored, but not in silence: somebody has to find out why (SE-08)
            response = PlainResponse(status=403, text=f"{error}\n")
        except UnavailableError as error:
            _log.error("cannot answer", why=str(error), **_named(peer, request))
            response = PlainResponse(status=503, text=f"{error}\n", headers={"Retry-After": "5"})
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # noqa: BLE001  one bad message must not stop the server
            _log.exception("unexpected fault", **_named(peer, request))
            response = PlainResponse(status=500, text="Internal error.\n")
        self._measure(kind, response.status, time.perf_counter() - begun)
        return response

    def _measure(self, kind: str, status: int, seconds: float) -> None:
        """Count a message. prometheus-client looks a labelled meter up under a lock, so each is kept."""
        meters = self._meters.get((kind, status))
        if meters is None:
            meters = self._messages.labels(kind, str(status)), self._seconds.labels(kind)
            self._meters[kind, status] = meters
        counter, histogram = meters
        counter.inc()
        histogram.observe(seconds)

    def _service(self, request: web.BaseRequest) -> str:
        """Return the OpenADR service that is asked, or the path of another one beside it."""
        usual = self._usual.get((request.path, request.headers.get("Content-Type", "")))
        if usual is not None and request.method == "POST":
            return usual
        if request.path in self._beside and request.method == "POST":
            return request.path
        path = posixpath.normpath(request.path)
        service = path.removeprefix(self._base)
        if service not in SERVICES and service not in self._others:
            raise RefusedError(404, f"No service at {path[:200]}; services are below {self._base}.")
        if request.method != "POST":
            raise RefusedError(501, "OpenADR messages are posted.")
        check_xml(request)
        return service

    async def _answer(self, service: str, body: bytes, peer: Peer) -> tuple[str, bytes]:
        ven = await self._vtn.known_by(peer)
        try:
            strict = self._vtn.is_strict_for(ven)
            known = self._polls.get(body, self._vtn.signatures.judge_claim, strict=strict)
            decoded = known or await self._decode(body, strict=strict)
        except UnreadableError as fault:
            told = await self._encode(await self._vtn.unreadable(fault, peer), peer)
            self._heard(peer, body, told)
            return "?", told
        except WireError as error:
            await self._vtn.not_acceptable(error, peer)
            self._heard(peer, body, str(error).encode(), status=error.status)
            raise
        message = decoded.message
        try:
            answer = await self._vtn.answer(service, message, peer, decoded.repairs, decoded.signature)
            if answer is EMPTY and not self._vtn.signatures.asked(ven, decoded.signature):
                return type(message).__name__, self._empty
            told = await self._encode(answer, peer, decoded.signature)
        except Exception as error:
            self._heard(peer, body, _shown(error), message, status=_status_of(error))
            raise
        if answer is not EMPTY:
            self._heard(peer, body, told, message, answer)
        return type(message).__name__, told

    def _heard(self, peer: Peer, body: bytes, answer: bytes, *spoken: Message, status: int = 200) -> None:
        """Have an exchange noted: its bodies, and of the message and its answer what could be read."""
        named = next(filter(None, (getattr(each, "ven_id", None) for each in spoken)), "")
        name = message_name(type(spoken[0])) if spoken else ""
        given = getattr(spoken[-1], "response", None) if len(spoken) > 1 else None
        self._note(
            Exchange(
                fingerprint=peer.fingerprint,
                ven_id=named,
                type=name,
                request=body,
                answer=answer,
                status=status,
                good=given is not None and given.ok,
            )
        )

    async def _encode(self, answer: Message, peer: Peer, signature: Signature = None) -> bytes:
        """Return the bytes of an answer, signed where that is asked for: then they differ each time."""
        ven = await self._vtn.known_by(peer)  # anew: it may just have registered
        if not self._vtn.signatures.asked(ven, signature):
            return encode(answer)
        return await self._vtn.signatures.encode(answer, signature)

    async def _decode(self, body: bytes, *, strict: bool) -> Decoded:
        limit = self._edge.max_body_bytes
        judge = self._vtn.signatures.judge
        if len(body) > _LARGE:
            return await asyncio.to_thread(decode_noting, body, strict=strict, verify=judge, max_bytes=limit)
        decoded = decode_noting(body, strict=strict, verify=judge, max_bytes=limit)
        self._polls.put(body, decoded, strict=strict)
        return decoded

    def _respond(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Answer 200, compressed if the VEN accepts that (TR-05, TR-08)."""
        headers = {"Content-Type": "application/xml"}
        accepted = request.headers.get("Accept-Encoding")
        coding = _coding(accepted) if accepted else None
        if coding is not None:
            headers["Content-Encoding"] = coding
            body = self._empty_coded[coding] if body is self._empty else _CODINGS[coding](body)
        return PlainResponse(body=body, headers=headers)

    def _peer(self, request: web.BaseRequest) -> Peer:
        """Return who speaks, from the connection's certificate (SE-07) or from the configured proxy."""
        edge = self._edge
        if edge.proxy_header is not None:
            check_proxy(request, edge.proxy_secret or "")
            names = request.headers.getall(edge.proxy_header, [])
            name = names[0].upper() if len(names) == 1 else ""  # of two, a client may have sent one
            if _FINGERPRINT.fullmatch(name) is None:
                raise RefusedError(
                    403, "The proxy named no certificate: its header must hold one fingerprint like AA:BB:..."
                )
            return Peer(name, "named by the proxy", request.remote or "")
        if edge.insecure:
            return _anybody(request.remote or "")
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport else None
        peer = self._peers.get(tls) if tls is not None else None
        if peer is None:
            der = tls.getpeercert(binary_form=True) if tls else None
            if tls is None or der is None:
                raise RefusedError(403, "A client certificate is needed.")
            told = tls.getpeercert() or {}
            expires_s = ssl.cert_time_to_seconds(told["notAfter"]) if "notAfter" in told else math.inf
            peer = Peer(fingerprint(der), _subject(told), request.remote or "", expires_s)
            self._peers[tls] = peer  # a connection cannot change its certificate; whether it still counts is asked anew
        return peer


def _status_of(error: Exception) -> int:
    if isinstance(error, SignatureError):
        return 403
    return 503 if isinstance(error, UnavailableError) else 500


def _shown(error: Exception) -> bytes:
    return str(error).encode() if isinstance(error, EvenloadError) else b"Internal error."


def _check_valid(peer: Peer) -> None:
    """Raise RefusedError if a certificate has expired since the handshake, when the connection began (SE-04)."""
    if time.time() >= peer.expires_s:
        raise RefusedError(403, "The client's certificate has expired (SE-04).")


@lru_cache(maxsize=1024)
def _anybody(address: str) -> Peer:
    """Return who speaks from an address, and shows no certificate."""
    return Peer(address=address)


def _named(peer: Peer | None, request: web.BaseRequest) -> dict[str, str]:
    return (peer or _anybody(request.remote or "")).logged()


def _subject(certificate: dict[str, object] | None) -> str:
    names = (certificate or {}).get("subject", ())
    text = ", ".join(f"{key}={value}" for rdn in names for key, value in rdn)  # type: ignore[attr-defined]
    return text[:_LONGEST_SUBJECT]


def _coding(accepted: str) -> str | None:
    """Return the content coding to use for an Accept-Encoding header, None for none (TR-08)."""
    wanted = {}
    for part in accepted.split(","):
        name, _, weight = part.partition(";")
        wanted[name.strip().lower()] = re.fullmatch(r"\s*q=0(\.0*)?\s*", weight) is None
    return next((coding for coding in _CODINGS if wanted.get(coding, wanted.get("*", False))), None)
