"""How prices lie in the JSON of somebody else: a mapping, and reading by it. Pure; every document is hostile.

Places are JSON pointers (RFC 6901): `/data/0/price`; the empty one is the whole.
"""

import contextlib
import re
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from aggregator.tariff.price_series import MOST_DECIMALS, MOST_INTERVALS, Price, Series, checked, read_amount, written
from core.errors import InvalidError
from core.spans import Duration

_LONGEST_TEXT: Final = 100
_LONGEST_POINTER: Final = 200
_MOST_HEADERS: Final = 5
_MOST_BITS: Final = 256
_LARGEST: Final = Decimal(10) ** 9
_LONGEST_STEP_S: Final = 366 * 86400
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,40}", re.ASCII)
_OUR_HEADERS: Final = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept", "accept-encoding", "user-agent", "te"}
)
_VARIABLE: Final = re.compile(r"EVENLOAD_TARIFF_[A-Z0-9_]{1,60}", re.ASCII)
_FACTOR: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?", re.ASCII)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_GRAIN: Final = Decimal(1).scaleb(-MOST_DECIMALS)
_WORDS: Final = ("iso", "unix_s", "unix_ms")


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where prices lie in a document, and what its numbers mean.

    `layout` rows: `items` points to a list, and `start`, `end`, `duration`, `value` into each of its items. columns:
    these point to lists of equal length in the document. Without `end` and `duration` each interval lasts `step`; with
    none of the three until the next one begins, and the last as long as the one before it.

    `times` is iso, unix_s, unix_ms, or a pattern of strptime; times without zone are those of `time_zone` (an hour that
    a change of the clocks repeats is told by its place). A `duration` is ISO 8601 text, or seconds. `value` times
    `factor` is the price per kWh: 0.001 for prices per MWh, 0.01 for cents. Prices beyond `lowest` and `highest` are
    errors. `headers` are sent with the request: name -> environment variable (EVENLOAD_TARIFF_...) that holds the text.
    """

    start: str
    value: str
    items: str = ""
    layout: Literal["rows", "columns"] = "rows"
    end: str | None = None
    duration: str | None = None
    step: Duration | None = None
    times: str = "iso"
    time_zone: str | None = None
    factor: str = "1"
    lowest: str = "-10"
    highest: str = "10"
    headers: AnyMapping[str, str] = field(default_factory=dict)


def check_mapping(mapping: Mapping) -> None:
    """Raise InvalidError for a mapping that can fit no document."""
    for name in ("items", "start", "end", "duration", "value"):
        if (place := getattr(mapping, name)) is not None:
            _steps(place, name)
    if mapping.layout == "columns" and mapping.items:
        raise InvalidError("Columns have no items: start, value ... point to lists in the document.", field="items")
    _check_times(mapping)
    if not _FACTOR.fullmatch(mapping.factor) or Decimal(mapping.factor) == 0:
        raise InvalidError("The factor is a decimal above zero, such as 0.001 for prices per MWh.", field="factor")
    if Decimal(read_amount(mapping.lowest)) >= Decimal(read_amount(mapping.highest)):
        raise InvalidError("lowest lies below highest.")
    _check_headers(mapping.headers)


def _check_times(mapping: Mapping) -> None:
    if (mapping.end, mapping.duration, mapping.step).count(None) < 2:  # noqa: PLR2004  one of three at most
        raise InvalidError("Say at most one of end, duration and step.")
    if mapping.step is not None and not (0 < mapping.step.exact_s <= _LONGEST_STEP_S):
        raise InvalidError("The step is a duration such as PT15M or PT1H, up to a year.", field="step")
    if mapping.time_zone is not None and mapping.time_zone not in available_timezones():
        raise InvalidError(
            f"'{mapping.time_zone[:40]}' is not an IANA time zone such as Europe/London.", field="time_zone"
        )
    if mapping.times in _WORDS:
        return
    sample = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    try:
        good = len(mapping.times) <= _LONGEST_TEXT and "%" in mapping.times
        good = good and _by_pattern(sample.strftime(mapping.times), mapping.times).date() == sample.date()
    except (ValueError, re.error):
        good = False
    if not good:
        raise InvalidError(
            f"Times are {', '.join(_WORDS)}, or a pattern of strptime such as %d.%m.%Y %H:%M.", field="times"
        )


def _by_pattern(text: str, pattern: str) -> datetime:
    return datetime.strptime(text, pattern)  # noqa: DTZ007  whoever gets a time without zone has to ask for it


def _check_headers(headers: AnyMapping[str, str]) -> None:
    if len(headers) > _MOST_HEADERS:
        raise InvalidError(f"At most {_MOST_HEADERS} headers can be set.", field="headers")
    for name, variable in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise InvalidError(f"'{name[:40]}' is not a header that can be set.", field="headers")
        if not _VARIABLE.fullmatch(variable):
            raise InvalidError(
                "A header's value is the name of an environment variable that begins with EVENLOAD_TARIFF_.",
                field="headers",
            )


def address(url: str, mapping: Mapping, now: datetime) -> str:
    """Return the URL with {yesterday}, {today} and {tomorrow} replaced by dates in the mapping's time zone (or UTC)."""
    today = now.astimezone(ZoneInfo(mapping.time_zone) if mapping.time_zone else UTC).date()
    for name, days in (("yesterday", -1), ("today", 0), ("tomorrow", 1)):
        url = url.replace(f"{{{name}}}", _day(today, days))
    return url


def _day(today: date, days: int) -> str:
    return (today + timedelta(days=days)).isoformat()


def read(mapping: Mapping, document: object) -> Series:
    """Return the prices of a document. Raises InvalidError, naming the item, for what is no good series of prices.

    Items may come oldest or newest first. Refused: gaps, duplicates, disorder, prices beyond `lowest` and `highest`.
    """
    rows = _rows(mapping, document)
    clock = _Clock(mapping)
    starts: list[datetime] = []
    for number, row in rows:
        starts.append(clock.read(row.start, number, after=starts[-1] if starts else None))
        if len(starts) > 1 and starts[-1] <= starts[-2]:
            what = "at the same time as" if starts[-1] == starts[-2] else "before"
            raise InvalidError(f"Item {number} begins {what} the item that it follows: {starts[-1].isoformat()}.")
    ends = _ends(mapping, rows, starts, clock)
    prices = [
        Price(start, end, _amount(mapping, row.value, number))
        for (number, row), start, end in zip(rows, starts, ends, strict=True)
    ]
    return checked(prices)


# -- the items


@dataclass(frozen=True, slots=True)
class _Row:
    start: object
    end: object
    value: object


def _rows(mapping: Mapping, document: object) -> list[tuple[int, _Row]]:
    """Return the items with their numbers in the document, in the order of time."""
    end = mapping.end if mapping.end is not None else mapping.duration
    if mapping.layout == "columns":
        places = [mapping.start, mapping.value, *([end] if end is not None else [])]
        columns = [_list(_find(document, place), place) for place in places]
        if len({len(column) for column in columns}) > 1:
            raise InvalidError(f"The lists at {', '.join(places)} are not equally long.")
        rows = [_Row(one[0], one[2] if end is not None else None, one[1]) for one in zip(*columns, strict=True)]
    else:
        items = _list(_find(document, mapping.items), mapping.items)
        rows = [
            _Row(
                _find(item, mapping.start, number),
                _find(item, end, number) if end is not None else None,
                _find(item, mapping.value, number),
            )
            for number, item in enumerate(items)
        ]
    numbered = list(enumerate(rows))
    first, last = (_Clock(mapping).rough(rows[place].start, numbered[place][0]) for place in (0, -1))
    return numbered[::-1] if last < first else numbered


def _list(value: object, place: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise InvalidError(f"At '{place}' there is no list with anything in it.")
    if len(value) > MOST_INTERVALS:
        raise InvalidError(f"At '{place}' there are {len(value)} items; {MOST_INTERVALS} at most.")
    return value


def _steps(pointer: str, name: str = "") -> list[str]:
    """Return the steps of a JSON pointer. Raises InvalidError."""
    if (pointer and not pointer.startswith("/")) or len(pointer) > _LONGEST_POINTER or re.search(r"~(?![01])", pointer):
        raise InvalidError(f"'{pointer[:40]}' is no JSON pointer such as /data/0/price.", field=name)
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _find(value: object, pointer: str, number: int | None = None) -> object:
    for step in _steps(pointer):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            where = "The document" if number is None else f"Item {number}"
            raise InvalidError(f"{where} has nothing at '{pointer}'.")
    return value


# -- times


class _Clock:
    """Reads the times of one document."""

    def __init__(self, mapping: Mapping) -> None:
        self._times = mapping.times
        self._zone = ZoneInfo(mapping.time_zone) if mapping.time_zone else None

    def rough(self, raw: object, number: int) -> datetime:
        """Return a time that tells only which end of a list is older."""
        when = self._parse(raw, number)
        return (when if when.tzinfo is None else _in_utc(when, number)).replace(tzinfo=None)

    def read(self, raw: object, number: int, *, after: datetime | None) -> datetime:
        """Return a time as UTC; one that the clocks show twice is the first that lies after `after`."""
        when = self._parse(raw, number)
        if when.tzinfo is not None:
            return _in_utc(when, number)
        if self._zone is None:
            raise InvalidError(f"Item {number}: '{_shown(raw)}' has no time zone; state time_zone.")
        first, second = (_in_utc(when.replace(tzinfo=self._zone, fold=fold), number) for fold in (0, 1))
        if first.astimezone(self._zone).replace(tzinfo=None) != when:
            raise InvalidError(f"Item {number}: '{_shown(raw)}' does not exist: the clocks go forward.")
        return second if after is not None and first <= after else first

    def _parse(self, raw: object, number: int) -> datetime:
        try:
            match self._times, raw:
                case (("unix_s" | "unix_ms"), bool()):
                    pass
                case "unix_s", int() | float():
                    return datetime.fromtimestamp(raw, UTC)
                case "unix_ms", int() | float():
                    return datetime.fromtimestamp(raw / 1000, UTC)
                case "iso", str() if len(raw) <= _LONGEST_TEXT:
                    return datetime.fromisoformat(raw)
                case pattern, str() if pattern not in _WORDS and len(raw) <= _LONGEST_TEXT:
                    return _by_pattern(raw, pattern)
        except (ValueError, OverflowError, OSError):
            pass  # said below
        raise InvalidError(f"Item {number}: '{_shown(raw)}' is no time as '{self._times}' has it.")


def _in_utc(when: datetime, number: int) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise InvalidError(f"Item {number}: the time is outside the calendar.") from error


def _ends(mapping: Mapping, rows: list[tuple[int, _Row]], starts: list[datetime], clock: _Clock) -> list[datetime]:
    if mapping.end is not None:
        return [clock.read(row.end, number, after=start) for (number, row), start in zip(rows, starts, strict=True)]
    if mapping.duration is not None:
        return [start + _length(row.end, number) for (number, row), start in zip(rows, starts, strict=True)]
    if mapping.step is not None:
        return [start + mapping.step.timedelta() for start in starts]
    if len(starts) == 1:
        raise InvalidError("A single item does not say how long it lasts: state end, duration or step.")
    return [*starts[1:], starts[-1] + (starts[-1] - starts[-2])]


def _length(raw: object, number: int) -> timedelta:
    seconds: float | None = None
    if isinstance(raw, str) and len(raw) <= _LONGEST_TEXT:
        with contextlib.suppress(InvalidError):
            seconds = Duration.parse(raw).exact_s
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        seconds = raw
    if seconds is None or not 0 < seconds <= _LONGEST_STEP_S:
        raise InvalidError(f"Item {number}: '{_shown(raw)}' is no duration such as PT1H, nor seconds, up to a year.")
    return timedelta(seconds=seconds)


# -- prices


def _amount(mapping: Mapping, raw: object, number: int) -> str:
    value = _number(raw)
    if value is None:
        raise InvalidError(f"Item {number}: '{_shown(raw)}' is no price.")
    amount = written((value * Decimal(mapping.factor)).quantize(_GRAIN, ROUND_HALF_EVEN))
    if not Decimal(mapping.lowest) <= Decimal(amount) <= Decimal(mapping.highest):
        raise InvalidError(
            f"Item {number}: {amount} per kWh is not between {mapping.lowest} and {mapping.highest}; is the factor "
            "right?"
        )
    return amount


def _number(raw: object) -> Decimal | None:
    """Return a number that arithmetic can bear, or None."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    if isinstance(raw, int) and raw.bit_length() > _MOST_BITS:
        return None
    try:
        value = Decimal(str(raw)) if len(str(raw)) <= _LONGEST_TEXT else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() and abs(value) <= _LARGEST else None


def _shown(raw: Any) -> str:
    """Return a piece of a foreign document that can stand in a message."""
    if isinstance(raw, dict | list) or (isinstance(raw, int) and raw.bit_length() > _MOST_BITS):
        return f"a {type(raw).__name__}"
    text = str(raw)
    return "".join(char if char.isprintable() else "?" for char in text[:40])
