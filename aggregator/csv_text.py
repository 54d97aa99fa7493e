"""CSV as people and programs take it away: a header, then one line a row (RFC 4180)."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

_NUMBER: Final = re.compile(r"-?[0-9.]+", re.ASCII)
_FORMULA: Final = "=+-@\t\r"


def csv_text(names: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return rows of values under their names. None is empty, a time RFC 3339, a truth value `true` or `false`.

    Words that a spreadsheet would take for a formula get an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case int() | float():
            return str(value)
    text = str(value)
    return f"'{text}" if text[:1] in _FORMULA and text and not _NUMBER.fullmatch(text) else text
