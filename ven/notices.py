"""What a running gateway wants people to know of itself: a clock in doubt, a full disk."""

from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_LONGEST: Final = 400


class Notices:
    """The notices of one gateway, by subject; what is new or over is logged."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    @property
    def texts(self) -> dict[str, str]:
        """What holds now, by subject."""
        return dict(self._texts)

    def put(self, subject: str, text: str | None) -> None:
        """Say something about a subject, or nothing any more."""
        said = None if text is None else text[:_LONGEST]
        if self._texts.get(subject) == said:
            return
        if said is None:
            del self._texts[subject]
            _log.info("is well again", subject=subject)
        else:
            self._texts[subject] = said
            _log.error(said, subject=subject)
