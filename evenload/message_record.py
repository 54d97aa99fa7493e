"""The message log as a record that `evenload conform replay` judges: what the VTN answered, in the order of the log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from conformance import record
from conformance.exchange import Answer, Exchange, Request, Transcript
from core.errors import ConflictError, UnavailableError

_PART: Final = 200
"""So many exchanges are one file: whatever is in them, the kit reads it."""
_NOT_KEPT: Final = {"headers": "not recorded"}


def save(directory: Path, messages: Sequence[Mapping[str, Any]]) -> int:
    """Write logged messages, as the operator API has them, newest first, to a new or empty directory; return how many.

    The kit judges VTNs of 2.0b by their answers. So these are left out: what was pushed, where the VEN answers, 2.0a,
    and what is not kept to its end. Raises ConflictError for a directory that has something in it, UnavailableError if
    it cannot be written.
    """
    exchanges = [_exchange(message) for message in reversed(messages) if _is_judged(message)]
    transcripts = [
        Transcript(f"messages {start // _PART + 1}", tuple(exchanges[start : start + _PART]), _NOT_KEPT)
        for start in range(0, len(exchanges), _PART)
    ]
    if not transcripts:
        return 0
    try:
        if directory.is_dir() and any(directory.iterdir()):
            raise ConflictError(f"{directory} is not empty. Name a new directory.")
        record.save(directory, transcripts)
    except OSError as error:
        raise UnavailableError(f"{directory} cannot be written: {error.strerror}.") from error
    return len(exchanges)


def _is_judged(message: Mapping[str, Any]) -> bool:
    return message["sender"] == "ven" and message["profile"] == "2.0b" and not message["cut"]


def _exchange(message: Mapping[str, Any]) -> Exchange:
    """Return an exchange of the kit. The log has neither addresses nor headers."""
    return Exchange(
        f"{message['type'] or 'unreadable'}:{message['id']}",
        message["ven_id"] or message["fingerprint"] or "",
        Request("POST", "", (), message["message"].encode()),
        Answer(message["status"], (), message["answer"].encode()),
        "",
        datetime.fromisoformat(message["at"]),
    )
