"""Somebody else's words on a terminal."""

from typing import Final

_LONGEST: Final = 500


def in_a_line(words: str, longest: int = _LONGEST) -> str:
    """Return somebody else's words as a single line for a terminal, cut at so many characters."""
    return "".join(char for char in " ".join(words.split())[:longest] if char.isprintable())
