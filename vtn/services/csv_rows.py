"""Rows that operators send, as CSV or JSON, each taken or refused by itself: what all kinds have in common."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from core.errors import InvalidError
from core.spans import utc

MOST_ROWS: Final = 5_000
MOST_CHARS: Final = 500_000
LONGEST_FIELD: Final = 80


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that was not taken, and why. `line`: its number where it came from, the first is 1."""

    line: int
    reason: str


def read(text: str, columns: Sequence[str]) -> tuple[list[tuple[int, dict[str, str]]], list[Refused]]:
    """Return the rows of a CSV text (RFC 4180), each with its line, and those that are none.

    The first line names the columns, in any order. Raises InvalidError for a text that is too long, for another first
    line and for too many rows.
    """
    if len(text) > MOST_CHARS:
        raise InvalidError(f"The text is longer than {MOST_CHARS} characters; send it in parts.", field="csv")
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    refused: list[Refused] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        if sorted(header) != sorted(columns):
            raise InvalidError(f"The first line names the columns: {','.join(columns)}.", field="csv")
        for fields in lines:
            line = lines.line_num
            if not fields:
                continue
            if len(rows) + len(refused) >= MOST_ROWS:
                raise InvalidError(f"There are more than {MOST_ROWS} rows; send them in parts.", field="csv")
            if len(fields) != len(columns):
                refused.append(Refused(line, f"It has {len(fields)} fields, not {len(columns)}."))
            else:
                rows.append((line, {name: each.strip() for name, each in zip(header, fields, strict=True)}))
    except csv.Error as error:
        raise InvalidError(f"Line {lines.line_num} is no CSV: {error}.", field="csv") from error
    return rows, refused


def check_lengths(row: object, columns: Sequence[str]) -> None:
    """Raise InvalidError if a field of a row is longer than any that can be good."""
    for name in columns:
        if len(getattr(row, name)) > LONGEST_FIELD:
            raise InvalidError(f"Its {name} is longer than {LONGEST_FIELD} characters.")


def moment(text: str, name: str) -> datetime:
    """Return a field as an aware UTC time in whole seconds. Raises InvalidError."""
    try:
        when = datetime.fromisoformat(text)
        exact = utc(when) if when.tzinfo is not None else None
    except (ValueError, OverflowError, InvalidError):
        exact = None
    if exact is None or exact.microsecond:
        raise InvalidError(f"Its {name} is no time in whole seconds with zone, such as 2026-01-31T17:00:00Z.")
    return exact
