"""The driver: many keep-alive connections, one VEN each, on one event loop.

What a VEN says is a *script*: a generator that yields a request and gets the answer's body back. Every connection sends
its next request as soon as it has the answer to the last one.
"""

import asyncio
import os
import ssl
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from openadr.signature.sign import Signer

Request: TypeAlias = tuple[str, bytes]
"""Which service, and the message for it."""
Script: TypeAlias = Generator[Request, bytes, None]

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_AT_ONCE = 50
_WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.01


class DriveError(Exception):
    """The server did not do what it should; measuring it makes no sense."""


@dataclass(slots=True)
class Ven:
    """One simulated VEN: its ids, its own TLS identity where the server wants one, and how many reports it sent."""

    name: str
    ven_id: str = ""
    fingerprint: str = ""
    context: ssl.SSLContext | None = None
    report_request_id: str = ""
    reports: int = 0
    signer: Signer | None = None
    """What signs its messages, where the case has them signed."""
    prepared: deque[bytes] = field(default_factory=deque)
    """Signed polls for the next stretch: each goes out once."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a stretch of load showed. `driver_cpu` and `server_cpu` are shares of one core."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    server_cpu: float
    driver_cpu: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for one answer, in microseconds."""
        return self.server_cpu * self.seconds / max(1, self.answers) * 1e6


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_MB


class _Line(asyncio.Protocol):
    """One VEN's connection."""

    def __init__(self, fleet: "Fleet", ven: Ven) -> None:
        self.ven = ven
        self._fleet = fleet
        self._script: Script | None = None
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def begin(self, script: Script) -> None:
        self._script = script
        self._go_on(None)

    def _go_on(self, answer: bytes | None) -> None:
        script = self._script
        if script is None:
            return
        try:
            service, body = next(script) if answer is None else script.send(answer)
        except StopIteration:
            self._end(None)
        except DriveError as error:
            self._end(error)
        else:
            self._sent_at = time.perf_counter()
            self.transport.write(self._fleet.head(service, len(body)) + body)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        split = received.find(b"\r\n\r\n")
        if split < 0:
            return
        head = received[:split].lower()
        at = head.find(b"content-length:")
        end = split + 4 + (int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0)
        if len(received) < end:
            return
        self._received = b""
        if received[9:12] != b"200":
            self._end(DriveError(f"HTTP {received[9:12].decode()}: {received[split + 4 :][:300]!r}"))
            return
        self._fleet.took(time.perf_counter() - self._sent_at)
        if self._fleet.stopping:
            self._end(None)
        else:
            self._go_on(received[split + 4 : end])

    def connection_lost(self, error: Exception | None) -> None:
        self._end(DriveError(f"{self.ven.name} lost its connection: {error or 'closed by the server'}"))

    def _end(self, error: DriveError | None) -> None:
        script, self._script = self._script, None
        if script is not None:
            script.close()
            self._fleet.ended(error)


@dataclass(slots=True)
class Fleet:
    """VENs with an open connection each. Open it with `connect`, and `close` it."""

    url: str
    pid: int
    vens: Sequence[Ven]
    stopping: bool = False
    _lines: list[_Line] = field(default_factory=list)
    _heads: dict[str, bytes] = field(default_factory=dict)
    _times: list[float] = field(default_factory=list)
    _running: int = 0
    _waiting: deque[tuple[_Line, Script]] = field(default_factory=deque)
    _done: asyncio.Event = field(default_factory=asyncio.Event)
    _error: DriveError | None = None

    async def connect(self) -> None:
        """Open all connections."""
        where = urlsplit(self.url)
        host, port = where.hostname or "", where.port or 0
        loop = asyncio.get_running_loop()

        async def one(ven: Ven) -> _Line:
            _, line = await loop.create_connection(lambda: _Line(self, ven), host, port, ssl=ven.context)
            return line

        for first in range(0, len(self.vens), _AT_ONCE):
            self._lines += await asyncio.gather(*map(one, self.vens[first : first + _AT_ONCE]))

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.transport.close()
        await asyncio.sleep(0)

    async def run(
        self, script: Callable[[Ven], Script], *, within_s: float = _WITHIN_S, at_once: int | None = None
    ) -> Load:
        """Let every VEN go through its script, `at_once` at a time (all by default).

        Raises DriveError if one fails or it takes too long.
        """
        return await self._measured(script, self._finish(within_s), at_once)

    async def drive(self, script: Callable[[Ven], Script], *, warm_s: float, seconds: float) -> Load:
        """Let every VEN repeat its endless script; measure for some seconds after a time of warming up.

        Measured on until there is an answer: with few VENs, and a long commit, a short stretch may have none. Raises
        DriveError if there is none for a minute.
        """

        async def stretch() -> None:
            await asyncio.sleep(seconds)
            patience = time.perf_counter() + _WITHIN_S
            while not self._times and self._error is None:
                if time.perf_counter() > patience:
                    raise DriveError(f"Not one answer within {_WITHIN_S:.0f} s.")
                await asyncio.sleep(_LOOK_S)

        async def warm_up() -> None:
            await asyncio.sleep(warm_s)

        await self._measured(script, warm_up())
        load = await self._measured(None, stretch())
        self.stopping = True
        await self._finish(_WITHIN_S)
        return load

    async def _measured(self, script: Callable[[Ven], Script] | None, until: Any, at_once: int | None = None) -> Load:
        if script is not None:
            self.stopping, self._error, self._running = False, None, len(self._lines)
            self._done.clear()
            self._waiting.extend((line, script(line.ven)) for line in self._lines)
        self._times.clear()
        server, driver, begun = cpu_seconds(self.pid), time.process_time(), time.perf_counter()
        for _ in range(min(at_once or len(self._waiting), len(self._waiting))):
            self._begin_next()
        await until
        seconds = time.perf_counter() - begun
        server, driver = cpu_seconds(self.pid) - server, time.process_time() - driver
        if self._error is not None:
            raise self._error
        times = sorted(self._times) or [0.0]
        return Load(
            answers=len(self._times),
            seconds=seconds,
            p50_ms=times[len(times) // 2] * 1e3,
            p99_ms=times[len(times) * 99 // 100] * 1e3,
            server_cpu=server / seconds,
            driver_cpu=driver / seconds,
        )

    async def _finish(self, within_s: float) -> None:
        try:
            await asyncio.wait_for(self._done.wait(), within_s)
        except TimeoutError:
            raise DriveError(f"{self._running} VENs were not served within {within_s:.0f} s.") from None
        if self._error is not None:
            raise self._error

    def _begin_next(self) -> None:
        if self._waiting:
            line, script = self._waiting.popleft()
            line.begin(script)

    # -- told by the lines

    def head(self, service: str, length: int) -> bytes:
        """Return the head of a request."""
        known = self._heads.get(service)
        if known is None:
            where = urlsplit(self.url)
            known = self._heads[service] = (
                f"POST {where.path}/{service} HTTP/1.1\r\nHost: {where.netloc}\r\n"
                "Content-Type: application/xml\r\nContent-Length: "
            ).encode()
        return b"%b%d\r\n\r\n" % (known, length)

    def took(self, seconds: float) -> None:
        """Note the time of one answer."""
        self._times.append(seconds)

    def ended(self, error: DriveError | None) -> None:
        """Note that a script ended."""
        self._running -= 1
        self._error = self._error or error
        self._begin_next()
        if self._running == 0 or error is not None:
            self._done.set()
