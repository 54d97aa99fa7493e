"""A tap at the socket: what goes over any HTTP connection of a test session is kept, and judged at its end.

*Which processes.* The one that runs pytest, and its children: they inherit EVENLOAD_TAP (a directory) and a PYTHONPATH
with `tapped/`, whose sitecustomize starts the tap there too. A child that is killed loses nothing: each message is
appended to its process's file at once.

*Which bytes.* The plain text of TLS connections (`ssl.SSLObject`, which asyncio and uvloop use, and `ssl.SSLSocket`)
and plain sockets (not uvloop's), put together as HTTP/1.1 again. Whoever exchanges messages without a socket may hand
them to `record`.

*Which messages are ours*, and have to be valid: those whose HTTP head says so, `User-Agent: evenload` in a request and
`Server: evenload` in an answer. The clients and servers that tests write themselves, to send what is broken, say
something else, and so does a peer such as openleadr: what they send only counts as a type that has occurred.

Nothing here may disturb the program under test: only the standard library, no exception.
"""

import contextlib
import gzip
import os
import secrets
import socket
import ssl
import sys
import weakref
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "EVENLOAD_TAP"
TAPPED: Final = Path(__file__).with_name("tapped")
_STARTS: Final = (b"POST ", b"GET ", b"PUT ", b"PATCH ", b"DELETE ", b"HEAD ", b"OPTIONS ", b"HTTP/1.")
_LONGEST_START: Final = max(map(len, _STARTS))
_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_BODY: Final = 32 * 1024 * 1024
_OURS: Final = {b"user-agent": b"evenload", b"server": b"evenload"}
_UNPACKERS: Final[dict[bytes, Callable[[bytes], bytes]]] = {b"gzip": gzip.decompress, b"deflate": zlib.decompress}
_OADR: Final = "{http://openadr.org/oadr-2.0b/2012/07}"
_OADR_A: Final = "{http://openadr.org/oadr-2.0a/2012/07}"
_ENVELOPE: Final = (
    b'<oadrPayload xmlns="http://openadr.org/oadr-2.0b/2012/07"><oadrSignedObject>%b</oadrSignedObject></oadrPayload>'
)
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>'


class Book:
    """Where one process keeps what it sees: a file of its own, only ever appended to, every message once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: set[bytes] = set()
        self._pid = 0
        self._file = -1

    def keep(self, body: bytes, *, ours: bool) -> None:
        """Append a message unless it is there."""
        digest = blake2b(body, digest_size=16, key=b"ours" if ours else b"").digest()
        if digest in self._seen:
            return
        with contextlib.suppress(OSError):
            if self._pid != os.getpid():  # the first message of this process, or of a fork of it
                self._pid = os.getpid()
                path = self._directory / f"{self._pid}-{secrets.token_hex(4)}.tap"
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(self._file, b"%s %d\n%s\n" % (b"ours" if ours else b"peer", len(body), body))
            self._seen.add(digest)


@cache
def _book() -> Book | None:
    directory = os.environ.get(VARIABLE)
    return Book(Path(directory)) if directory else None


def record(body: bytes, *, ours: bool = True) -> None:
    """Keep a message that went over no socket; nothing happens while the tap is closed."""
    if (book := _book()) is not None:
        book.keep(body, ours=ours)


# -- from bytes to messages


@dataclass(slots=True)
class Stream:
    """One direction of a connection. `keep` gets every XML body, and whether it is ours."""

    keep: Callable[..., None]
    _buffer: bytearray = field(default_factory=bytearray)
    _head: dict[bytes, bytes] | None = None
    _left: int = 0
    _lost: bool = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes. A stream that is no HTTP, or cannot be followed, is left alone from then on."""
        if self._lost:
            return
        self._buffer += data
        while self._read_head() if self._head is None else self._read_body():
            pass

    def _read_head(self) -> bool:
        start = bytes(self._buffer[:_LONGEST_START])
        if not any(start.startswith(one[: len(start)]) for one in _STARTS):
            return self._give_up()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return self._give_up() if len(self._buffer) > _LONGEST_HEAD else False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        pairs = (line.partition(b":") for line in lines)
        self._head = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = self._head.get(b"content-length")
        if length is None and (first.startswith(b"HTTP") and not _bodiless(first)):
            return self._unfollowable()
        if b"transfer-encoding" in self._head or not (length or b"0").isdigit() or int(length or 0) > _LONGEST_BODY:
            return self._unfollowable()
        self._left = int(length or 0)
        return True

    def _read_body(self) -> bool:
        head = self._head
        if head is None or not self._pass_over(head) or len(self._buffer) < self._left:
            return False
        body = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._head = None
        if body:
            self.keep(_unpacked(body, head), ours=_is_ours(head))
        return bool(self._buffer)

    def _pass_over(self, head: dict[bytes, bytes]) -> bool:
        """Drop what has come of a body that is no XML; return whether there is nothing more to drop."""
        if _is_xml(head):
            return True
        dropped = min(self._left, len(self._buffer))
        del self._buffer[:dropped]
        self._left -= dropped
        return self._left == 0

    def _unfollowable(self) -> bool:
        """Give up; but where the message is ours that is a fault, because it would go unjudged."""
        if self._head is not None and _is_ours(self._head) and _is_xml(self._head):
            self.keep(b"(a message without Content-Length, or a very long one)", ours=True)
        return self._give_up()

    def _give_up(self) -> bool:
        self._lost = True
        self._buffer.clear()
        return False


def _bodiless(status_line: bytes) -> bool:
    status = status_line[9:12]
    return status in (b"204", b"304") or status.startswith(b"1")


def _is_ours(head: dict[bytes, bytes]) -> bool:
    return any(head.get(name) == value for name, value in _OURS.items())


def _is_xml(head: dict[bytes, bytes]) -> bool:
    kind = head.get(b"content-type", b"")
    return b"xml" in kind and b"svg" not in kind  # the console's pictures are no messages


def _unpacked(body: bytes, head: dict[bytes, bytes]) -> bytes:
    unpack = _UNPACKERS.get(head.get(b"content-encoding", b"").lower())
    if unpack is None:
        return body
    try:
        return unpack(body)
    except (OSError, EOFError, zlib.error):
        return body  # as it came, which is no XML: if it is ours, that is told


# -- at the sockets


class Connections:
    """The streams of all open connections of this process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._streams: weakref.WeakKeyDictionary[Any, tuple[Stream, Stream]] = weakref.WeakKeyDictionary()

    def saw(self, connection: Any, buffers: Iterable[Any], count: int, *, sent: bool) -> None:
        """Take the first `count` bytes of some buffers: they went over a connection."""
        with contextlib.suppress(Exception):  # the program under test goes on whatever happens here
            streams = self._streams.get(connection)
            if streams is None:
                streams = self._streams[connection] = (Stream(self._book.keep), Stream(self._book.keep))
            for buffer in buffers:
                view = memoryview(buffer).cast("B")[:count]
                streams[sent].feed(view)
                count -= len(view)


def start() -> None:
    """Open the tap in this process, if EVENLOAD_TAP says where to; again changes nothing."""
    book = _book()
    if book is None or getattr(ssl.SSLObject.read, "tapped", False):
        return
    connections = Connections(book)
    tls: tuple[type, ...] = (ssl.SSLObject, ssl.SSLSocket)
    for kind in tls:
        _replace(kind, "read", partial(_read, connections))
        _replace(kind, "write", partial(_send, connections))
    for kind in (ssl.SSLSocket, socket.socket):
        _replace(kind, "send", partial(_send, connections))
    for name, act in (("sendall", _send_all), ("sendmsg", _send_many), ("recv", _receive), ("recv_into", _fill)):
        _replace(socket.socket, name, partial(act, connections))


def _replace(kind: type, name: str, act: Callable[..., Any]) -> None:
    original = getattr(kind, name)

    def tapped(self: Any, *arguments: Any, **named: Any) -> Any:
        return act(original, self, *arguments, **named)

    tapped.tapped = True  # type: ignore[attr-defined]
    setattr(kind, name, tapped)


def _read(tap: Connections, original: Any, self: Any, length: int = 1024, buffer: Any = None) -> Any:
    got = original(self, length, buffer)
    tap.saw(self, (got if buffer is None else buffer,), len(got) if buffer is None else got, sent=False)
    return got


def _receive(tap: Connections, original: Any, self: Any, size: int, flags: int = 0) -> Any:
    got = original(self, size, flags)
    if not flags:  # else it may have only been looked at
        tap.saw(self, (got,), len(got), sent=False)
    return got


def _fill(tap: Connections, original: Any, self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> Any:
    got = original(self, buffer, nbytes, flags)
    if not flags:
        tap.saw(self, (buffer,), got, sent=False)
    return got


def _send(tap: Connections, original: Any, self: Any, data: Any, *flags: int) -> Any:
    count = original(self, data, *flags)
    tap.saw(self, (data,), count, sent=True)
    return count


def _send_all(tap: Connections, original: Any, self: Any, data: Any, *flags: int) -> None:
    original(self, data, *flags)
    tap.saw(self, (data,), sys.maxsize, sent=True)


def _send_many(tap: Connections, original: Any, self: Any, buffers: Iterable[Any], *rest: Any) -> Any:
    parts = list(buffers)
    count = original(self, parts, *rest)
    tap.saw(self, parts, count, sent=True)
    return count


# -- the judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: how many different valid messages per type, how many we sent, and what is wrong with ours."""

    counts: Counter[str]
    ours: int
    faults: tuple[str, ...]
    types: frozenset[str]

    @property
    def missing(self) -> list[str]:
        """The types that have not occurred."""
        return sorted(self.types - set(self.counts))

    def __str__(self) -> str:
        found = ", ".join(f"{name.removeprefix('oadr')} {count}" for name, count in sorted(self.counts.items()))
        wrong = f", {len(self.faults)} INVALID" if self.faults else ""
        types = f"{len(self.counts)} of {len(self.types)} types"
        total = f"{self.counts.total()} different messages ({self.ours} ours)"
        return f"OpenADR at the sockets: {total}, {types}{wrong}: {found or 'none'}"


def messages(directory: Path) -> dict[bytes, bool]:
    """Return every kept message, and whether one of us has sent it. A record that a kill cut off is passed over."""
    found: dict[bytes, bool] = {}
    for path in sorted(directory.glob("*.tap")):
        for ours, body in _records(path.read_bytes()):
            found[body] = found.get(body, False) or ours
    return found


def _records(content: bytes) -> Iterator[tuple[bool, bytes]]:
    at = 0
    while (end := content.find(b"\n", at)) >= 0:
        who, _, length = content[at:end].partition(b" ")
        at = end + 1 + int(length)
        if at >= len(content):
            return
        yield who == b"ours", content[end + 1 : at]
        at += 1


def judge(directory: Path) -> Verdict:
    """Judge everything that was kept against the official schema."""
    bench = _Bench()
    counts: Counter[str] = Counter()
    faults: list[str] = []
    kept = messages(directory)
    for body, ours in kept.items():
        name, fault = bench.judge(body)
        if fault is None:
            counts[name] += 1
        elif ours:
            faults.append(f"{name}: {fault}\n    {body[:600].decode('utf-8', 'replace')}")
    return Verdict(counts, sum(kept.values()), tuple(faults), bench.types)


class _Bench:
    """The official schema, and what it calls a message. It shares nothing with the codec but the place of the files."""

    @cached_property
    def _schema(self) -> Any:
        from openadr.v20b.schema import schema  # noqa: PLC0415  the tapped children have no use for it

        return schema()

    @cached_property
    def types(self) -> frozenset[str]:
        """The messages that an oadrSignedObject may hold."""
        from lxml import etree  # noqa: PLC0415  as above

        from openadr.v20b.schema import XS, schema_folder  # noqa: PLC0415  as above

        root = etree.parse(schema_folder() / "oadr_20b.xsd").getroot()
        (signed,) = (one for one in root.iterchildren(f"{XS}element") if one.get("name") == "oadrSignedObject")
        return frozenset(one.get("ref", "").rpartition(":")[2] for one in signed.iter(f"{XS}element") if one.get("ref"))

    def judge(self, body: bytes) -> tuple[str, str | None]:
        """Return the name of a message, and its first fault or None."""
        from lxml import etree  # noqa: PLC0415  as above

        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True)
            root = etree.fromstring(body, parser)
            if str(root.tag).startswith(_OADR_A):  # there is no schema of 2.0a; its messages are 2.0b's, bare
                text = body.replace(_OADR_A[1:-1].encode(), _OADR[1:-1].encode()).removeprefix(_DECLARATION)
                root = etree.fromstring(_ENVELOPE % text, parser)
        except etree.XMLSyntaxError as error:
            return "not XML", str(error)
        inner = root.find(f"{_OADR}oadrSignedObject/*")
        name = str((root if inner is None else inner).tag).removeprefix(_OADR)
        try:
            valid = self._schema.validate(root)
        except etree.XMLSchemaValidateError as error:
            return name, str(error)
        return name, None if valid else str(next(iter(self._schema.error_log), "not valid"))
