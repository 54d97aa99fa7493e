"""Hears what VENs and the VTN say to each other, and writes it to the log of messages off the answers' path.

A line that cannot be stored, or for which there is no room in memory, is lost; an answer never waits for one. Empty
polls are not heard of. Secrets are blanked before anything is stored.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from itertools import islice
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from core.clock import machine_now
from core.errors import EvenloadError
from core.ids import new_id
from openadr.model.registration import Profile
from vtn.services import message_log
from vtn.services.message_bodies import packed
from vtn.services.message_log import LogLine, MessageSender, SubjectKind
from vtn.services.settings import LogBounds
from vtn.services.ven_cache import VenCache
from vtn.store.database import Database
from vtn.transport.redaction import redacted

_log = structlog.get_logger(__name__)

_BODY_BYTES: Final = 64 << 10
"""A longer body is cut."""
_DATA: Final = "oadrUpdateReport"
_MOST_REPORTERS: Final = 100_000
_MOST_WAITING: Final = 2000
_MOST_WAITING_BYTES: Final = 16 << 20
_PORTION: Final = 100
"""So many lines are one transaction: answers wait no longer than for these."""
_MOST_SUBJECTS: Final = 20
_LONGEST_SUBJECT: Final = 120
_SUBJECTS: Final = (
    (SubjectKind.EVENT, b"eventID"),
    (SubjectKind.REPORT_REQUEST, b"reportRequestID"),
    (SubjectKind.REQUEST, b"requestID"),
)
_TEXT: Final = re.compile(rb"(?:\s[^<>]{0,150})?>([^<>\0]{1,200})</")
"""What follows the name of an element with text. Both lengths are bounded: bodies made for it would take seconds."""
_MESSAGE: Final = re.compile(rb"<(?:[^<>\s/]*:)?(oadr(?!Payload\b|SignedObject\b)[A-Z][A-Za-z]{1,50})\b")
_MOST_TEXTS: Final = 300
_HEAD_BYTES: Final = 16_000
"""Within them, the message's element comes: a signature may stand before it."""
_OK: Final = 200
_GOOD: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A message and its answer as they went over the wire, at the other end a VEN, or a stranger.

    `ven_id` is what the VEN says of itself, where there is no certificate that says it; `type` is the message's
    element, where it could be read; `good`: its answer says so. Without a `status` (HTTP's) there was no answer, and
    `answer` says why.
    """

    sender: MessageSender = MessageSender.VEN
    fingerprint: str = ""
    ven_id: str = ""
    profile: Profile = Profile.B
    type: str = ""
    request: bytes
    answer: bytes
    status: int | None = _OK
    good: bool = False


Note = Callable[[Exchange], None]
"""Hears of an exchange. It returns at once and raises nothing."""


def ignore(_exchange: Exchange) -> None:
    """Keep no log."""


@dataclass(frozen=True, slots=True)
class _Heard:
    at: datetime
    who: str
    exchange: Exchange

    @property
    def size(self) -> int:
        return len(self.exchange.request) + len(self.exchange.answer)


class MessageLog:
    """The log of one process. Call `flush` every second and at the end, `sweep` now and then."""

    def __init__(
        self,
        db: Database,
        vens: VenCache,
        bounds: LogBounds,
        registry: CollectorRegistry,
        *,
        utcnow: Callable[[], datetime] = machine_now,
    ) -> None:
        self._db = db
        self._vens = vens
        self._bounds = bounds
        self._utcnow = utcnow
        self._waiting: list[_Heard] = []
        self._waiting_bytes = 0
        self._failing = False
        self._reports_again_s: dict[str, float] = {}
        """When a report of a VEN is kept again, machine time."""
        self._lost = Counter(
            "evenload_message_log_lost",
            "Exchanges with VENs that are missing from the log of messages.",
            registry=registry,
        )

    def note(self, exchange: Exchange) -> None:
        """Have an exchange written with the next flush, if there is room until then."""
        if not self._bounds.keep:
            return
        heard = _Heard(self._utcnow(), self._who(exchange), exchange)
        if exchange.good and exchange.type == _DATA and not self._is_wanted(heard.who):
            return
        if len(self._waiting) >= _MOST_WAITING or self._waiting_bytes + heard.size > _MOST_WAITING_BYTES:
            self._lost.inc()
            return
        self._waiting.append(heard)
        self._waiting_bytes += heard.size

    def _is_wanted(self, who: str) -> bool:
        """Tell whether a report of data that was taken is to be kept, and note that one is."""
        now_s = time.monotonic()
        if now_s < self._reports_again_s.get(who, -math.inf):
            return False
        if len(self._reports_again_s) >= _MOST_REPORTERS:
            self._reports_again_s.clear()
        self._reports_again_s[who] = now_s + self._bounds.report_every.exact_s
        return True

    def _who(self, exchange: Exchange) -> str:
        if exchange.fingerprint and exchange.sender is MessageSender.VEN:  # whatever it says that it is
            return self._vens.owner(exchange.fingerprint) or exchange.fingerprint
        return exchange.ven_id if self._vens.has(exchange.ven_id) else ""

    async def flush(self) -> None:
        """Write what was heard since the last time. What cannot be written is lost, and the log says so once."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for start in range(0, len(waiting), _PORTION):
            portion = waiting[start : start + _PORTION]
            lines = await asyncio.to_thread(_lines, portion)
            self._lost.inc(len(portion) - len(lines))
            try:
                async with self._db.write() as tx:
                    await message_log.keep(tx, lines)
            except EvenloadError as error:
                self._lost.inc(len(waiting) - start)
                if not self._failing:
                    _log.warning("the log of messages cannot be written; exchanges are missing", why=str(error))
                self._failing = True
                return
            self._failing = False

    async def sweep(self) -> None:
        """Delete what is beyond the bounds."""
        await message_log.sweep(self._db, self._bounds, self._utcnow())


def _lines(heard: Sequence[_Heard]) -> list[LogLine]:
    lines = []
    for each in heard:
        try:
            lines.append(_line(each.at, each.who, each.exchange))
        except Exception:  # noqa: BLE001  one message must not cost the others their lines
            _log.exception("a message cannot be logged", who=each.who)
    return lines


def _line(at: datetime, who: str, exchange: Exchange) -> LogLine:
    request, answer = redacted(exchange.request[:_BODY_BYTES]), redacted(exchange.answer[:_BODY_BYTES])
    code = _code(request, answer)
    return LogLine(
        id=new_id("msg"),
        at=at,
        who=who,
        fingerprint=exchange.fingerprint,
        sender=exchange.sender,
        profile=exchange.profile,
        type=exchange.type or _type(request),
        answer_type=_type(answer),
        status=exchange.status,
        code=code,
        fault=exchange.status != _OK or (code is not None and code not in _GOOD),
        request_bytes=len(exchange.request),
        answer_bytes=len(exchange.answer),
        cut=max(len(exchange.request), len(exchange.answer)) > _BODY_BYTES,
        bodies=packed(request, answer),
        subjects=_subjects(request, answer),
    )


def _type(body: bytes) -> str | None:
    message = _MESSAGE.search(body, 0, _HEAD_BYTES)
    return None if message is None else message[1].decode()


def _code(request: bytes, answer: bytes) -> int | None:
    """Return the first responseCode that is an error, else the answer's."""
    codes = [int(text) for body in (answer, request) for text in _texts(body, b"responseCode") if _is_code(text)]
    return next((code for code in codes if code not in _GOOD), next(iter(codes), None))


def _is_code(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdecimal()  # noqa: PLR2004


def _subjects(request: bytes, answer: bytes) -> dict[str, list[str]]:
    """Return the ids that both name by kind, each once, at most twenty, events' before others'."""
    named = (
        (kind, text)
        for kind, name in _SUBJECTS
        for body in (request, answer)
        for text in _texts(body, name)
        if len(text) <= _LONGEST_SUBJECT
    )
    subjects: dict[str, list[str]] = {}
    for kind, text in islice(dict.fromkeys(named), _MOST_SUBJECTS):
        subjects.setdefault(kind, []).append(text)
    return subjects


def _texts(body: bytes, name: bytes) -> Iterator[str]:
    """Yield the texts of elements of a name. To find the name first is faster by far than to search by expression."""
    place = body.find(name)
    for _ in range(_MOST_TEXTS):
        if place < 0:
            return
        place += len(name)
        match = _TEXT.match(body, place)
        if match is not None and (text := unescape(match[1].decode("utf-8", "replace")).strip()):
            yield text
        place = body.find(name, place)
