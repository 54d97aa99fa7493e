"""Somebody else's words on a terminal."""

from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 500


def in_a_line(words: str, longest: int = _LONGEST) -> str:
    """Return somebody else's words as a single line for a terminal, cut at so many characters."""
    return "".join(char for char in " ".join(words.split())[:longest] if char.isprintable())


def printable_lines(lines: Iterable[str]) -> str:
    """Return lines for a terminal: what somebody else wrote into one neither ends it nor steers the terminal."""
    return "\n".join(
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line) for line in lines
    )
