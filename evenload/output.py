"""What commands print: tables for people, JSON for scripts.

Names and texts in it come from other people's devices: nothing that a terminal would obey goes through.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any, TextIO

from core.spans import day_in_words
from evenload.printable import plain, printable


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
        json.dump(data, out, default=plain, indent=1)
        out.write("\n")
        return
    from evenload.tables import print_card, print_listing, print_text  # noqa: PLC0415  help and JSON need no tables

    if isinstance(data, Sequence) and not isinstance(data, str):
        rows = [_fields(row) for row in data]
        if rows:
            print_listing(rows, columns, out)
        else:
            print_text(empty, out)
    else:
        print_card(_fields(data), columns, out)


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


def _fields(row: Any) -> Mapping[str, Any]:
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    return row if isinstance(row, Mapping) else {"value": row}
