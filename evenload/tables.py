"""Tables for people, as `evenload.output` prints them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenload.printable import plain, printable


def print_listing(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], file: TextIO) -> None:
    """Print rows with a head; `columns` picks and orders what is shown."""
    names = list(columns) or list(rows[0])
    table = Table(header_style="bold", box=None)
    for name in names:
        table.add_column(Text(printable(name).replace("_", " ")))
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    _console(file).print(table)


def print_card(fields: Mapping[str, Any], columns: Sequence[str], file: TextIO) -> None:
    """Print the names and values of one object."""
    table = Table(show_header=False, box=None)
    for name in columns or fields:
        table.add_row(Text(printable(name).replace("_", " "), style="bold"), _cell(fields.get(name)))
    _console(file).print(table)


def print_text(text: str, file: TextIO) -> None:
    """Print a text that stands for an empty table."""
    _console(file).print(Text(text))


def _console(file: TextIO) -> Console:
    """Return where it is printed: only a terminal has a width to fit into; a pipe gets whole lines."""
    return Console(file=file, width=None if file.isatty() else 10_000, highlight=False)


def _cell(value: Any) -> Text:
    """Return a value as text without markup: `[red]` in a device's name stays what it is."""
    match value:
        case None:
            return Text("")
        case bool():
            return Text("yes" if value else "no")
        case dict() | list():
            return Text(json.dumps(value, default=plain))
        case _:
            return Text(printable(str(value)))
