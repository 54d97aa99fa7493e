"""From values to XML text. Everything that is written comes through here, so that nothing can break the XML."""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from core.errors import InvalidError
from core.spans import Duration, utc

_UNSAFE: Final = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_REPLACEMENT: Final = "\ufffd"
_UNSIGNED_INT: Final = 2**32 - 1

duration_text: Final = lru_cache(maxsize=1024)(Duration.__str__)
"""Return the canonical text of a duration (GN-05). A message repeats few of them many times."""


def escape(text: str) -> str:
    """Return text as element content. Characters that XML cannot carry become U+FFFD."""
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(lambda match: _ESCAPES.get(match[0], _REPLACEMENT), text)


def leaf(tag: str, text: str) -> str:
    """Return an element with text."""
    return f"<{tag}>{escape(text)}</{tag}>"


def optional(tag: str, text: str | None) -> str:
    """Return an element with text, or nothing for None and for empty text, which means the same (GN-13)."""
    return f"<{tag}>{escape(text)}</{tag}>" if text else ""


def leaves(tag: str, texts: Iterable[str]) -> str:
    """Return one element for each text."""
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def instant(when: datetime) -> str:
    """Return a time in UTC with a literal Z (GN-04). Raises InvalidError for a time without zone."""
    if when.tzinfo is not UTC:
        when = utc(when)
    return f"{when.isoformat()[:-6]}Z"


def dtstart(when: datetime) -> str:
    """Return an xcal:dtstart."""
    return f"<xcal:dtstart><xcal:date-time>{instant(when)}</xcal:date-time></xcal:dtstart>"


def lasting(tag: str, length: Duration) -> str:
    """Return an element of DurationPropType."""
    return f"<{tag}><xcal:duration>{duration_text(length)}</xcal:duration></{tag}>"


def flag(value: bool) -> str:
    """Return an xs:boolean."""
    return "true" if value else "false"


def number(value: float) -> str:
    """Return an xs:float that reads back as the same double."""
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


def decimal(value: float) -> str:
    """Return an xs:decimal, which has no exponent. Raises InvalidError for INF and NaN."""
    if not math.isfinite(value):
        raise InvalidError(f"{value} cannot be written as a decimal number.")
    return format(Decimal(repr(float(value))), "f")


def whole(value: int, most: int = _UNSIGNED_INT) -> str:
    """Return an xs:unsignedInt. Raises InvalidError outside 0 to `most`."""
    if not 0 <= value <= most:
        raise InvalidError(f"{value} is not between 0 and {most}.")
    return str(int(value))
