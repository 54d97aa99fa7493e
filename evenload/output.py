"""What commands print: tables for people, JSON for scripts.

Names and texts in it come from other people's devices: nothing that a terminal would obey goes through.
"""

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.spans import day_in_words

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return the text with every control, direction and line-breaking character made a visible `?`."""
    return "".join("?" if unicodedata.category(char) in _UNSAFE else char for char in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made printable."""
    return "\n".join(map(printable, text.split("\n")))


def show(
    data: Any,
    *,
    as_json: bool,
    columns: Sequence[str] = (),
    empty: str = "Nothing there yet.",
    file: TextIO | None = None,
) -> None:
    """Print a listing as a table, one object as name and value, or either as JSON.

    `data` is a mapping or dataclass, or a sequence of them; `columns` picks and orders what the table shows; JSON
    always shows all. `file` is standard output unless said.
    """
    out = file if file is not None else sys.stdout
    if as_json:
        json.dump(data, out, default=_plain, indent=1)
        out.write("\n")
        return
    # Only a terminal has a width to fit into; a pipe gets whole lines.
    console = Console(file=out, width=None if out.isatty() else 10_000, highlight=False)
    if isinstance(data, Sequence) and not isinstance(data, str):
        rows = [_fields(row) for row in data]
        console.print(_listing(rows, columns) if rows else Text(empty))
    else:
        console.print(_card(_fields(data), columns))


def say_unknown(result: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print why a result's energy, or a part of it, is not known, and from when it will be; nothing if it is."""
    if result.get("why_unknown"):
        print(printable(result["why_unknown"]), file=file)
    if result.get("measurable_from"):
        day = day_in_words(date.fromisoformat(result["measurable_from"]))
        print(f"Events like this one can be measured from about {day} on.", file=file)


def say_odd(vens: Sequence[Mapping[str, Any]], file: TextIO | None = None) -> None:
    """Print how many VENs of a result looked odd just before the event; nothing if none did."""
    for flag, change in (("raised_before", "more"), ("lowered_before", "less")):
        if number := sum(flag in ven.get("flags", ()) for ven in vens):
            who = f"{number} VEN" if number == 1 else f"{number} VENs"
            print(f"{who} used {change} than usual just before the event.", file=file)


def say_learning(learning: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print how many VENs have no baseline yet, and from when they will; nothing if all have one."""
    if learning["learning"]:
        number, day = learning["learning"], day_in_words(date.fromisoformat(learning["ready_on"]))
        are = "VEN is" if number == 1 else "VENs are"
        print(f"{number} {are} learning: what they deliver can be measured from about {day} on.", file=file)
    if learning["unheard"]:
        number = learning["unheard"]
        print(f"No meter reading of {number} {'VEN' if number == 1 else 'VENs'} has come yet.", file=file)


def _listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Table:
    names = list(columns) or list(rows[0])
    table = Table(header_style="bold", box=None)
    for name in names:
        table.add_column(Text(printable(name).replace("_", " ")))
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    return table


def _card(fields: Mapping[str, Any], columns: Sequence[str]) -> Table:
    table = Table(show_header=False, box=None)
    for name in columns or fields:
        table.add_row(Text(printable(name).replace("_", " "), style="bold"), _cell(fields.get(name)))
    return table


def _cell(value: Any) -> Text:
    """Return a value as text without markup: `[red]` in a device's name stays what it is."""
    match value:
        case None:
            return Text("")
        case bool():
            return Text("yes" if value else "no")
        case dict() | list():
            return Text(json.dumps(value, default=_plain))
        case _:
            return Text(printable(str(value)))


def _fields(row: Any) -> Mapping[str, Any]:
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    return row if isinstance(row, Mapping) else {"value": row}


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
