"""From XML text to values. The elements are schema-valid; what cannot be read raises InvalidError or ValueError."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from lxml.etree import _Element

from core.errors import InvalidError
from core.spans import ZERO, Duration

_CACHED_LENGTH: Final = 24
_TIME_LENGTH: Final = 19
_cached_duration = lru_cache(maxsize=1024)(Duration.parse)


def parts(element: _Element) -> dict[str, _Element]:
    """Return the children by tag; of a repeated one the last."""
    return {str(child.tag): child for child in element}


def string(element: _Element) -> str:
    """Return the text as it stands: ids are compared byte for byte."""
    return element.text or ""


def optional(element: _Element | None) -> str | None:
    """Return the text, or None for an absent or empty element (GN-13)."""
    return (element.text or None) if element is not None else None


def token(element: _Element) -> str:
    """Return the text as an xs:token: outer white space cut, inner collapsed."""
    return " ".join((element.text or "").split())


def optional_token(element: _Element | None) -> str | None:
    """Return the token, or None for an absent or empty element."""
    return (token(element) or None) if element is not None else None


def whole(element: _Element) -> int:
    """Return an integer."""
    return int(element.text or "")


def number(element: _Element) -> float:
    """Return an xs:float or xs:decimal; INF, -INF and NaN are legal floats."""
    return float(element.text or "")


def flag(element: _Element) -> bool:
    """Return an xs:boolean."""
    return token(element) in ("true", "1")


def instant(element: _Element) -> datetime:
    """Return an xcal date-time as aware UTC; one without Z is UTC too (GN-04).

    Fractions finer than a microsecond are cut. Raises InvalidError for a time outside the years 1 to 9999.
    """
    return instant_of(element.text or "")


def instant_of(text: str) -> datetime:
    """Return a date-time from its text; see `instant`."""
    text = text.strip()
    try:
        if text[11:13] == "24":  # xs:dateTime's way to write the end of a day
            return _aware(f"{text[:11]}00{text[13:_TIME_LENGTH]}") + timedelta(days=1)
        return _aware(text)
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"'{text[:40]}' is not a time between the years 1 and 9999.") from error


def _aware(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def duration(element: _Element) -> Duration:
    """Return the duration that is the element's own text."""
    text = element.text or ""
    return _cached_duration(text) if len(text) <= _CACHED_LENGTH else Duration.parse(text)


def inner_duration(element: _Element | None) -> Duration | None:
    """Return the duration inside an element of DurationPropType, or None if that element is absent."""
    return duration(element[0]) if element is not None else None


def duration_or_zero(element: _Element | None) -> Duration:
    """Return the duration inside an element of DurationPropType, zero if that element is absent."""
    return duration(element[0]) if element is not None else ZERO
