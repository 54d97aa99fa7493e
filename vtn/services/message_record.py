"""A VEN's log of messages as a record of the conformance kit: one JSON file, which `evenload conform replay` judges.

The kit judges VTNs of 2.0b by what they say. So messages of 2.0a are left out, and what is not kept to its end.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final

from openadr.model.registration import Profile
from vtn.services import message_log
from vtn.services.message_bodies import unpacked
from vtn.services.message_log import LogFilter, LogLine, MessageSender
from vtn.store.database import Database

LARGEST: Final = 60 << 20
"""The exchanges of a record are at most so many bytes; the kit reads files of 64 MiB."""
_AT_ONCE: Final = 50
_VERSION: Final = 1
_CONTROL: Final = bytes(set(range(0x20)) - set(b"\t\n\r"))
"""As JSON text, these are six times as long as they are; so what has them is written as base64."""


async def record(db: Database, ven_id: str, wanted: LogFilter, *, largest: int = LARGEST) -> AsyncIterator[bytes]:
    """Yield the record of a VEN's messages, a part at a time, the newest first; it ends where the next were too much.

    No connection to the database is held while somebody reads slowly. The record's facts count what is left out, and
    tell whether older messages are missing.
    """
    yield f'{{"version": {_VERSION}, "dialogue": "messages", "broke": "", "newest_first": true, "exchanges": ['.encode()
    room, left_out, separator = largest, 0, b"\n"
    before: tuple[datetime, str] | None = None
    older_missing = False
    while not older_missing:
        async with db.read() as conn:
            lines = await message_log.listing(conn, wanted, before=before, limit=_AT_ONCE, bodies=True)
        judged = [line for line in lines if line.profile == Profile.B and not line.cut]
        left_out += len(lines) - len(judged)
        for exchange in await asyncio.to_thread(_exchanges, judged):
            room -= len(exchange)
            if older_missing := room < 0:
                break
            yield separator + exchange
            separator = b",\n"
        if len(lines) < _AT_ONCE:
            break
        before = (lines[-1].at, lines[-1].id)
    facts = {"headers": "not recorded", "ven": ven_id, "left_out": left_out, "older_missing": older_missing}
    yield f'\n], "facts": {json.dumps(facts)}}}\n'.encode()


def _exchanges(lines: Sequence[LogLine]) -> list[bytes]:
    return [json.dumps(_exchange(line), ensure_ascii=False).encode() for line in lines]


def _exchange(line: LogLine) -> dict[str, Any]:
    """Return an exchange as the kit's records have it. The log has neither addresses nor headers."""
    message, answer = unpacked(line.bodies or b"")
    return {
        "step": f"{line.type or 'unreadable'}:{line.id}",
        "ven": "vtn" if line.sender == MessageSender.VTN else line.who,
        "at": line.at.isoformat(),
        "trouble": "" if line.status is not None else answer.decode("utf-8", "replace"),
        "request": {"method": "POST", "target": "", "headers": []} | _body(message),
        "answer": None if line.status is None else {"status": line.status, "headers": []} | _body(answer),
    }


def _body(body: bytes) -> dict[str, str]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or body.translate(None, _CONTROL) != body:
        return {"base64": base64.b64encode(body).decode()}
    return {"text": text}
