"""What a running gateway wants people to know though its disk may be full: one small file, overwritten in place."""

import json
from pathlib import Path
from typing import Final

import structlog

from core.private import overwrite

_log = structlog.get_logger(__name__)

NOTICES_FILE: Final = "notices.json"
_SIZE: Final = 2048
_LONGEST: Final = 400


class Notices:
    """The notices of one gateway, by subject. Their room is taken at the start, so a full disk does not hide them."""

    def __init__(self, state: Path) -> None:
        self._path = state / NOTICES_FILE
        self._texts: dict[str, str] = {}
        self._write()

    def put(self, subject: str, text: str | None) -> None:
        """Say something about a subject, or nothing any more."""
        if self._texts.get(subject) == text:
            return
        if text is None:
            del self._texts[subject]
            _log.info("is well again", subject=subject)
        else:
            self._texts[subject] = text
            _log.error(text, subject=subject)
        self._write()

    def _write(self) -> None:
        body = json.dumps({subject: text[:_LONGEST] for subject, text in self._texts.items()}, ensure_ascii=True)
        try:
            overwrite(self._path, body.encode("ascii"), _SIZE)
        except OSError as error:
            _log.error("the notices cannot be written", file=str(self._path), reason=str(error))


def read_notices(state: Path) -> dict[str, str]:
    """Return what the gateway last said, by subject."""
    try:
        found = json.loads((state / NOTICES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(subject): str(text) for subject, text in found.items()} if isinstance(found, dict) else {}
