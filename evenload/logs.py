"""How every process of evenload logs: one line an event on standard error, JSON where nobody watches."""

import io
import logging
import sys
from typing import TextIO, cast

import structlog

from core.errors import InvalidError


class _StandardError(io.TextIOBase):
    """Whatever standard error is when a line is written, not what it was when logging began."""

    def write(self, text: str) -> int:
        """Write a line."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Pass it on at once."""
        sys.stderr.flush()


def configure_logs(level: str = "info") -> None:
    """Log to standard error: for people on a terminal, as JSON elsewhere. Time stamps are machine time, UTC.

    Libraries' own warnings come in the same form. Raises InvalidError for a level that there is not.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise InvalidError(f"'{level}' is no log level; use debug, info, warning or error.")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    stream = cast("TextIO", _StandardError())
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
