"""Push mode: what waits for a VEN is posted to its address, and its answer is taken at once. In OpenADR 2.0b:

VTN                                        VEN
| --- oadrDistributeEvent ----------------> |   an empty 200 (TR-13); its oadrCreatedEvent follows as its own request
| --- oadrCreateReport -------------------> |
| <-- 200: oadrCreatedReport -------------- |   the same as if the VEN had posted it

One message a VEN at a time, oldest first: the next one goes when the VEN has taken it. What it does not take stays the
first, and is tried again after 1 s, 2 s, 4 s ... (TR-11). A row is only marked as sent once it has arrived, so that a
process that dies in between leaves it to the next one; the VEN then hears it twice, which does no harm (TR-12).
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from core.clock import Clock, machine_now
from core.errors import EvenloadError, InvalidError, UnavailableError
from openadr.model.registration import Profile
from openadr.signature.values import SignatureError
from openadr.v20b.decode import Decoded, UnreadableError, WireError, decode_noting
from openadr.v20b.encode import encode, message_name
from openadr.v20b.messages import (
    SERVICES,
    CanceledPartyRegistration,
    CanceledReport,
    CancelPartyRegistration,
    CancelReport,
    CreatedReport,
    CreateReport,
    Message,
    OadrResponse,
    RegisteredReport,
    RegisterReport,
    RequestReregistration,
    UpdatedReport,
    UpdateReport,
)
from vtn.services import outbox, push
from vtn.services.message_log import MessageSender
from vtn.services.push import PushLine
from vtn.services.settings import VtnSettings
from vtn.services.ven_cache import VenCache
from vtn.services.ven_faults import VenFaults
from vtn.store.database import Transaction
from vtn.store.writer import GroupWriter
from vtn.transport.message_log import Exchange, Note, ignore
from vtn.transport.v20b.outgoing import Outgoing, Push
from vtn.transport.v20b.push_address import url_of
from vtn.transport.v20b.push_client import PushClient, Reply
from vtn.transport.v20b.service import Vtn20b

_log = structlog.get_logger(__name__)

_ANSWERS: Final[dict[type[Message], type[Message]]] = {
    RegisterReport: RegisteredReport,
    CreateReport: CreatedReport,
    CancelReport: CanceledReport,
    UpdateReport: UpdatedReport,
    RequestReregistration: OadrResponse,
    CancelPartyRegistration: CanceledPartyRegistration,
}
"""How a VEN answers what is pushed to it; oadrDistributeEvent with nothing."""
_OK: Final = 200
_USELESS: Final = frozenset({404, 406, 501})
"""The same message would be answered the same way (TR-11)."""
_AT_ONCE: Final = 50
_IN_A_ROW: Final = 20
_LEASE: Final = timedelta(seconds=30)
"""How much longer than an exchange a line is leased: what this VTN needs itself for a message."""
_LAST_EXCHANGES_S: Final = 5.0
_MOST_DOUBLINGS: Final = 20


class OlderVersion(Protocol):
    """How VENs of a version before 2.0b are pushed to."""

    def carried(self, message: Message) -> Message:
        """Return a message with as much of it as the version can say."""

    def posted(self, address: str, message: Message) -> tuple[str, bytes]:
        """Return where a message is posted, and its bytes. Raises InvalidError for one that the version lacks."""

    async def answered(self, reply: Reply) -> None:
        """Act on the body of a 200."""


class _Outcome(Enum):
    """What became of a message."""

    TAKEN = "taken"
    USELESS = "useless"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PushRules:
    """How lines are tried again: at most every `longest_pause`; after `dead_after` failures a VEN is unreachable."""

    longest_pause: timedelta = timedelta(minutes=5)
    dead_after: int = 5

    def pause(self, failures: int) -> timedelta:
        """Return how long to rest after so many failures in a row: 1 s, doubled each time, 10 % more or less."""
        seconds = 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        return min(timedelta(seconds=seconds), self.longest_pause) * random.uniform(0.9, 1.1)  # noqa: S311  no secret


class PushSender:
    """Pushes what is due. Call `turn` every second, `close` at the end; several processes may do so side by side.

    Each VEN has a task of its own, so that one that hangs delays no other, as long as fewer than 50 hang at a time.
    """

    def __init__(
        self,
        vtn: Vtn20b,
        vens: VenCache,
        writer: GroupWriter,
        faults: VenFaults,
        client: PushClient,
        settings: VtnSettings,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        older: OlderVersion | None = None,
        rules: PushRules | None = None,
        note: Note = ignore,
        utcnow: Callable[[], datetime] = machine_now,
    ) -> None:
        """`note` hears of every exchange, and of messages that found nobody. `older` is for VENs of 2.0a."""
        self._vtn = vtn
        self._vens = vens
        self._writer = writer
        self._faults = faults
        self._client = client
        self._outgoing = Outgoing(settings, clock)
        self._clock = clock
        self._older = older
        self._rules = rules or PushRules()
        self._note = note
        self._utcnow = utcnow
        self._lease = timedelta(seconds=client.timeout_s) + _LEASE
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self._pushes = Counter(
            "evenload_openadr_pushes",
            "Messages pushed to VENs by type and outcome.",
            ("type", "outcome"),
            registry=registry,
        )

    async def turn(self) -> list[asyncio.Task[None]]:
        """Take the lines that are due and start to work on them; return all that are being worked on."""
        self._tasks = {ven_id: task for ven_id, task in self._tasks.items() if not task.done()}
        now = self._utcnow()
        due = [ven_id for ven_id in await self._vens.to_push(now) if ven_id not in self._tasks]
        due = due[: _AT_ONCE - len(self._tasks)]
        if due and not self._stopping:
            for line in await self._writer.submit(lambda tx: push.claim(tx, due, now, now + self._lease)):
                self._tasks[line.ven_id] = asyncio.create_task(self._work(line))
        return list(self._tasks.values())

    async def close(self) -> None:
        """Stop after the exchanges that are under way; what was not finished is pushed by another process, or later."""
        self._stopping = True
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_EXCHANGES_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, line: PushLine) -> None:
        """Push what is due on a line, until the VEN does not take it."""
        try:
            for _ in range(_IN_A_ROW):
                if self._stopping or not await self._push_next(line):
                    break
        except EvenloadError as error:
            _log.warning("push interrupted", ven_id=line.ven_id, why=str(error))
        except Exception:  # noqa: BLE001  one line must not stop the others; its lease runs out
            _log.exception("push failed", ven_id=line.ven_id)
            return
        try:
            await self._writer.submit(lambda tx: push.release(tx, line.ven_id))
        except EvenloadError as error:
            _log.warning("line not released", ven_id=line.ven_id, why=str(error))

    async def _push_next(self, line: PushLine) -> bool:
        """Push one message; return whether to go on."""

        async def take(tx: Transaction) -> Push | None:
            await push.keep(tx, line.ven_id, self._utcnow() + self._lease)
            return await self._outgoing.next_push(tx, line.ven_id)

        waiting = await self._writer.submit(take)
        if waiting is None:
            return False
        older = self._older if line.version is Profile.A else None
        if older is not None:
            waiting = replace(waiting, message=older.carried(waiting.message))
        message = waiting.message
        name = message_name(type(message))
        pushed = partial(Exchange, sender=MessageSender.VTN, ven_id=line.ven_id, profile=line.version, type=name)
        body = b""
        try:
            url, body = await self._posted(line, message)
            reply = await self._client.post(line.ven_id, url, body)
        except UnavailableError as error:
            self._note(pushed(request=body, answer=str(error).encode(), status=None))
            await self._failed(line, name, str(error))
            return False
        except EvenloadError as error:  # the VEN's version cannot carry it: no try will change that
            await self._give_up(line, waiting, str(error))
            return True
        self._note(pushed(fingerprint=reply.peer.fingerprint, request=body, answer=reply.body, status=reply.status))
        if reply.status != _OK:
            await self._refused(line, waiting, reply.status)
            return False
        self._count(name, _Outcome.TAKEN)
        await self._arrived(line, waiting)
        if older is not None:
            await older.answered(reply)
        else:
            await self._take_answer(line, message, reply)
        return True

    async def _posted(self, line: PushLine, message: Message) -> tuple[str, bytes]:
        """Return where a message is posted, and its bytes, signed if the VEN asked for that (SE-08).

        Raises InvalidError for one that cannot be said.
        """
        if line.version is Profile.A:
            if self._older is None:
                raise InvalidError("This VTN does not push to VENs of OpenADR 2.0a.")
            return self._older.posted(line.address, message)
        url = url_of(line.address, SERVICES[type(message)])
        ven = await self._vens.get(line.ven_id)
        if not self._vtn.signatures.asked(ven, None):
            return url, encode(message)
        return url, await self._vtn.signatures.encode(message, None)

    async def _arrived(self, line: PushLine, waiting: Push) -> None:
        async def work(tx: Transaction) -> bool:
            await self._outgoing.arrived(tx, line.ven_id, waiting)
            return await push.fresh(tx, line.ven_id)

        self._vens.seen(line.ven_id)
        if await self._writer.submit(work):
            _log.info("a VEN is reachable again: it took a message", ven_id=line.ven_id)

    async def _refused(self, line: PushLine, waiting: Push, status: int) -> None:
        """Act on a status other than 200: rest, and give up a message that would get the same one again (TR-11)."""
        name = message_name(type(waiting.message))
        why = f"{name} was answered with HTTP {status}."
        if status not in _USELESS:
            await self._failed(line, name, why)
            return
        self._faults.answered(line.ven_id, f"{name} HTTP {status}", "it is not sent again unchanged")
        await self._give_up(line, waiting, why)
        await self._failed(line, name, why, _Outcome.USELESS)

    async def _give_up(self, line: PushLine, waiting: Push, why: str) -> None:
        now = self._clock.now()
        await self._writer.submit(lambda tx: outbox.give_up(tx, line.ven_id, waiting.row, now))
        name = message_name(type(waiting.message))
        _log.warning("a message to push was given up", message=name, why=why, ven_id=line.ven_id)

    async def _failed(self, line: PushLine, name: str, why: str, outcome: _Outcome = _Outcome.FAILED) -> None:
        self._count(name, outcome)
        now, dead_after = self._clock.now(), self._rules.dead_after

        async def work(tx: Transaction) -> tuple[int, bool]:
            return await push.failed(
                tx, line.ven_id, why, self._utcnow(), now, dead_after=dead_after, pause=self._rules.pause
            )

        failures, newly_dead = await self._writer.submit(work)
        if newly_dead:
            _log.warning("a VEN is unreachable", ven_id=line.ven_id, failures=failures, why=why)

    async def _take_answer(self, line: PushLine, message: Message, reply: Reply) -> None:
        """Act on the body of a 200. What is wrong with it is noted, and the row waits for an answer as in pull mode."""
        expected = _ANSWERS.get(type(message))
        name = message_name(type(message))
        if expected is None:
            if reply.body.strip():
                self._faults.answered(line.ven_id, f"{name} with a body", "an empty 200 is the answer to it (TR-13)")
            return
        try:
            decoded = await self._read(reply)
            if type(decoded.message) is not expected:
                got = message_name(type(decoded.message))
                self._faults.answered(line.ven_id, f"{name} with {got}", f"{message_name(expected)} is expected")
                _log.warning("a VEN answered with another message", message=name, answer=got, ven_id=line.ven_id)
                return
            follows = await self._vtn.answered(
                line.ven_id, decoded.message, reply.peer, decoded.repairs, decoded.signature
            )
            if follows is not None:
                await self._confirm(line, follows)
        except UnreadableError as fault:
            await self._vtn.unreadable(fault, reply.peer)
        except WireError as error:
            await self._vtn.not_acceptable(error, reply.peer)
        except SignatureError:
            return  # noted by who found it

    async def _confirm(self, line: PushLine, message: CreatedReport) -> None:
        """Post what is still to be said to an answer, once: the reports themselves tell as much (RP-13)."""
        name = message_name(type(message))
        pushed = partial(Exchange, sender=MessageSender.VTN, ven_id=line.ven_id, type=name)
        url, body = await self._posted(line, message)
        try:
            reply = await self._client.post(line.ven_id, url, body)
        except UnavailableError as error:
            self._note(pushed(request=body, answer=str(error).encode(), status=None))
            self._count(name, _Outcome.FAILED)
            return
        self._note(pushed(fingerprint=reply.peer.fingerprint, request=body, answer=reply.body, status=reply.status))
        self._count(name, _Outcome.TAKEN if reply.status == _OK else _Outcome.FAILED)

    async def _read(self, reply: Reply) -> Decoded:
        if not reply.complete:
            raise WireError("The answer is too long.")
        strict = self._vtn.is_strict_for(await self._vtn.known_by(reply.peer))
        return decode_noting(reply.body, strict=strict, verify=self._vtn.signatures.judge)

    def _count(self, name: str, outcome: _Outcome) -> None:
        self._pushes.labels(name, outcome.value).inc()
