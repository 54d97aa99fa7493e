"""How every process of evenload logs: one line an event on standard error, JSON where nobody watches."""

import io
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

# structlog loads rich for coloured tracebacks, which we do not write: 5 MB of each process, and a tenth of a second.
_UNWANTED: Final = "rich"
if _UNWANTED not in sys.modules:
    sys.modules[_UNWANTED] = None  # type: ignore[assignment] # the mark of a package that cannot be imported
    import structlog

    del sys.modules[_UNWANTED]
else:
    import structlog

from core.errors import InvalidError  # noqa: E402

_TAKES_NOTHING: Final = (OSError, ValueError, AttributeError)
"""The last is what None raises: Python has no standard error where it was closed at the start."""


class _StandardError(io.TextIOBase):
    """Whatever standard error is when a line is written, not what it was when logging began.

    A line that it does not take (a file on a full disk, a reader that has gone, no standard error at all) is lost;
    whoever logs goes on.
    """

    def write(self, text: str) -> int:
        """Write a line."""
        with suppress(*_TAKES_NOTHING):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass it on at once."""
        with suppress(*_TAKES_NOTHING):
            sys.stderr.flush()

    def isatty(self) -> bool:
        """Tell whether people watch."""
        with suppress(*_TAKES_NOTHING):
            return sys.stderr.isatty()
        return False


_LONGEST_VALUE: Final = 1000
_LONGEST_LINE: Final = 2000
_MOST_ROWS: Final = 100
_TRACES: Final = ("exception", "stack")


def bounded(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what is said to 2 kB a line, and show what a terminal would obey instead of sending it there.

    Texts come from other people's devices. Traces are ours; their lines may quote such texts, and are cut one by one.
    """
    left = _LONGEST_LINE
    for name, value in line.items():
        if name in _TRACES:
            rows = str(value).split("\n")
            kept = rows if len(rows) <= _MOST_ROWS else [*rows[: _MOST_ROWS // 2], "...", *rows[-_MOST_ROWS // 2 :]]
            line[name] = "\n".join(_visible(row[:_LONGEST_VALUE]) for row in kept)
        elif not isinstance(value, bool | int | float | None):
            text = str(value)
            most = max(0, min(_LONGEST_VALUE, left))
            shown = _visible(text[: most + 1])
            if shown != text or len(text) > most:
                line[name] = shown if len(shown) <= most else f"{shown[:most]}..."
            left -= len(shown)
    return line


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def configure_logs(level: str = "info") -> None:
    """Log to standard error: for people on a terminal, as JSON elsewhere. Time stamps are machine time, UTC.

    Libraries' own warnings come in the same form. Raises InvalidError for a level that there is not.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise InvalidError(f"'{level}' is no log level; use debug, info, warning or error.")
    stream = cast("TextIO", _StandardError())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        bounded,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if stream.isatty()
        else structlog.processors.JSONRenderer(default=str),
    ]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    # It warns of each turn of periodic work that is still busy when the next is due; that one is left out by design.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
