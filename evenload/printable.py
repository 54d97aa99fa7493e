"""Texts of other people's devices, made fit for a terminal; and values, made fit for JSON."""

import unicodedata
from dataclasses import asdict, is_dataclass
from typing import Any

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return the text with every control, direction and line-breaking character made a visible `?`."""
    return "".join("?" if unicodedata.category(char) in _UNSAFE else char for char in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made printable."""
    return "\n".join(map(printable, text.split("\n")))


def plain(value: Any) -> Any:
    """Return what JSON has no word for as something that it has."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
