"""SenML in JSON: read what devices really send, write what RFC 8428 says (or what iFLEX HEMS expect)."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from core.errors import InvalidError
from core.spans import utc

MAX_RECORDS: Final = 20_000
_MS_FROM = 1e11
"""Seconds reach this in the year 5138, milliseconds did in 1973: a larger time is in milliseconds."""
_RELATIVE_BELOW = 2.0**28
"""Times below this count from now (RFC 8428, 4.5.3)."""
_VERSION = 10
_SECONDARY_UNITS = 1 << 4
"""The feature that allows the units of RFC 8798 (RFC 9100, 4)."""
_SECONDARY = frozenset({"ms", "min", "h", "MHz", "kW", "kVA", "kvar", "Ah", "Wh", "kWh", "varh", "kvarh", "kVAh"})
_STRICT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")

SenmlValue = float | bool | str


class Dialect(StrEnum):
    """How to write. STRICT is RFC 8428; IFLEX is one object a message, milliseconds, and names with spaces."""

    STRICT = "strict"
    IFLEX = "iflex"


@dataclass(frozen=True, slots=True)
class Record:
    """One resolved record: base fields are folded in, the time is absolute (aware UTC).

    `base` and `label` are the two parts of the name, as iFLEX tells device and sensor apart. `value` is a number, a
    boolean, or text (also for `vd`, which stays base64); None where a record only carries a `sum`.
    """

    base: str
    label: str
    at: datetime
    value: SenmlValue | None
    unit: str = ""
    sum: float | None = None

    @property
    def name(self) -> str:
        """The full name."""
        return self.base + self.label


def read(payload: bytes | str, now: datetime | None) -> tuple[Record, ...]:
    """Read a pack; `now` (aware UTC) is what relative times count from.

    Without `now`, records of relative time are left out: a pack that a broker has kept may be of any age. Tolerates a
    bare object for an array, times in milliseconds, ISO times (without zone: UTC), spaces in names.
    Raises InvalidError for anything that is not SenML, for fields that must be understood and are not (names that end
    in `_`), and for versions with features we do not know.
    """
    parsed = parse_json(payload)
    items = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(items, list):
        raise InvalidError("A SenML pack is an array of records.")
    if len(items) > MAX_RECORDS:
        raise InvalidError(f"A SenML pack of {len(items)} records is too long; send at most {MAX_RECORDS}.")
    base = _Base()
    records = []
    for item in items:
        if not isinstance(item, dict):
            raise InvalidError("A SenML record is an object.")
        base.update(item)
        if (record := base.resolve(item, now)) is not None:
            records.append(record)
    return tuple(records)


def parse_json(payload: bytes | str) -> Any:
    """Parse JSON from outside: no NaN, no endless nesting, no endless numbers. Raises InvalidError."""
    try:
        text = payload if isinstance(payload, str) else payload.decode(json.detect_encoding(payload), "surrogatepass")
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"This is not JSON: {error}") from error


def _no_constant(name: str) -> float:
    raise InvalidError(f"{name} is not a number.")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
"""Made once: `json.loads` makes a new one for each message that it is to read otherwise than by default."""


def _number(item: dict[str, Any], field: str) -> float | None:
    value = item.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidError(f"The field '{field}' must be a number.")
    try:
        return finite(float(value))
    except OverflowError as error:
        raise InvalidError(f"The field '{field}' is out of range.") from error


def finite(number: float) -> float:
    """Return a number from outside. Raises InvalidError for NaN and infinity."""
    if not math.isfinite(number):
        raise InvalidError("A number is out of range.")
    return number


def _text(item: dict[str, Any], field: str) -> str | None:
    value = item.get(field)
    if value is None or isinstance(value, str):
        return value
    raise InvalidError(f"The field '{field}' must be text.")


def _seconds(item: dict[str, Any], field: str) -> float | None:
    """Return a time field in seconds, or None."""
    value = item.get(field)
    if isinstance(value, str):
        return read_time(value).timestamp()
    number = _number(item, field)
    return number / 1000 if number is not None and abs(number) > _MS_FROM else number


def read_time(text: str) -> datetime:
    """Read an ISO time; one without zone is UTC. Raises InvalidError."""
    try:
        when = datetime.fromisoformat(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"{text!r:.40} is not a time.") from error


def read_stamp(stamp: str | float) -> datetime:
    """Read a time as devices write it: ISO text, or seconds or milliseconds since 1970. Raises InvalidError."""
    if isinstance(stamp, bool):
        raise InvalidError("true and false are no times.")
    if isinstance(stamp, str):
        return read_time(stamp)
    try:
        return datetime.fromtimestamp(stamp / 1000 if abs(stamp) > _MS_FROM else stamp, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidError(f"{stamp!r:.40} is not a time.") from error


class _Base:
    """The base fields, which hold from their record on."""

    def __init__(self) -> None:
        self.name, self.unit, self.time, self.value, self.sum = "", "", 0.0, 0.0, 0.0

    def update(self, item: dict[str, Any]) -> None:
        version = _number(item, "bver")
        if version is not None and version > _VERSION and version != _VERSION + _SECONDARY_UNITS:
            raise InvalidError(f"SenML version {version:g} has features that we do not know.")
        if unknown := [field for field in item if field.endswith("_")]:
            raise InvalidError(f"The SenML field '{unknown[0]:.40}' must be understood, and is not.")
        if (name := _text(item, "bn")) is not None:
            self.name = name
        if (unit := _text(item, "bu")) is not None:
            self.unit = unit
        if (time := _seconds(item, "bt")) is not None:
            self.time = time
        if (value := _number(item, "bv")) is not None:
            self.value = value
        if (total := _number(item, "bs")) is not None:
            self.sum = total

    def resolve(self, item: dict[str, Any], now: datetime | None) -> Record | None:
        value = self._value(item)
        total = _number(item, "s")
        at = self._at(item, now)
        if at is None or (value is None and total is None):
            return None  # a record without a time, or of base fields only
        label = _text(item, "n") or ""
        if not self.name + label:
            raise InvalidError("A SenML record has no name.")
        return Record(
            base=self.name,
            label=label,
            at=at,
            value=value,
            unit=_text(item, "u") or self.unit,
            sum=None if total is None else finite(self.sum + total),
        )

    def _value(self, item: dict[str, Any]) -> SenmlValue | None:
        given = [field for field in ("v", "vs", "vb", "vd") if item.get(field) is not None]
        if len(given) > 1:
            raise InvalidError("A SenML record has more than one value.")
        if not given:
            return None
        if given == ["v"]:
            number = _number(item, "v")
            return None if number is None else finite(number + self.value)
        if given == ["vb"]:
            if not isinstance(item["vb"], bool):
                raise InvalidError("The field 'vb' must be true or false.")
            return bool(item["vb"])
        return _text(item, given[0])

    def _at(self, item: dict[str, Any], now: datetime | None) -> datetime | None:
        seconds = self.time + (_seconds(item, "t") or 0.0)
        try:
            if seconds < _RELATIVE_BELOW:
                return None if now is None else now + timedelta(seconds=seconds)
            return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
        except OverflowError as error:
            raise InvalidError("The time of a SenML record is outside the calendar.") from error


def write(records: Iterable[Record], dialect: Dialect = Dialect.STRICT) -> str:
    """Write records. Raises InvalidError for what the dialect cannot say (a name with spaces in STRICT)."""
    return _write_iflex(records) if dialect is Dialect.IFLEX else _write_strict(records)


def _write_strict(records: Iterable[Record]) -> str:
    items: list[dict[str, Any]] = []
    base = None
    for record in records:
        if not _STRICT_NAME.fullmatch(record.name):
            raise InvalidError(f"{record.name!r:.80} is not a SenML name (letters, digits, - : . / _).")
        item: dict[str, Any] = {}
        if record.base != base:
            base = item["bn"] = record.base
        if record.label:
            item["n"] = record.label
        items.append(item | {"t": _shortest(utc(record.at).timestamp())} | _payload(record))
    if items and any(item.get("u") in _SECONDARY for item in items):
        items[0] = {"bver": _VERSION + _SECONDARY_UNITS} | items[0]
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _write_iflex(records: Iterable[Record]) -> str:
    items = [
        {"bn": record.base, "t": round(utc(record.at).timestamp() * 1000), "n": record.label} | _payload(record)
        for record in records
    ]
    whole: object = items[0] if len(items) == 1 else items
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _payload(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = {"u": record.unit} if record.unit else {}
    if isinstance(record.value, bool):
        fields["vb"] = record.value
    elif isinstance(record.value, str):
        fields["vs"] = record.value
    elif record.value is not None:
        fields["v"] = _shortest(record.value)
    if record.sum is not None:
        fields["s"] = _shortest(record.sum)
    if any(isinstance(value, float) and not math.isfinite(value) for value in fields.values()):
        raise InvalidError(f"{record.name}: SenML has no way to write {record.value}.")
    return fields


def _shortest(number: float) -> float | int:
    return int(number) if float(number).is_integer() and abs(number) < 2**53 else float(number)
