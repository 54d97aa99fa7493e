"""What is wrong with a value in a file that people write, in plain words instead of the type checker's."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

_WORDS: Final = {
    "missing": "is missing",
    "tuple_type": "should be a list, such as [a, b]",
    "list_type": "should be a list, such as [a, b]",
    "string_type": "should be a text: put it in quotes",
    "dict_type": "should be a section of names and values",
    "float_parsing": "should be a number, such as 0.4: with a point, and without a unit",
    "float_type": "should be a number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "path_type": "should be a path: a text",
    "invalid_key": "is no name; names are texts, and a number has a point, no comma",
    "model_type": "should be a section of names and values",
    "model_attributes_type": "should be a section of names and values",
}
_LONGEST_NAME: Final = 64
_FEW: Final = 12
_COUNT: Final = re.compile(r"at (?:least|most) (\d+) items?")


def fault_words(kind: str, text: str, given: object, *, unknown: str = "unknown name") -> str:
    """Return what follows a value's name and a colon: `type`, `msg` and `input` of an error of pydantic in plain words.

    `unknown` is said of a name that there is not.
    """
    if kind == "extra_forbidden":
        return unknown
    if given is None and kind in _WORDS:
        return "is empty"
    if kind in ("too_short", "too_long") and (match := _COUNT.search(text)) is not None:
        what = "entry" if match[1] == "1" else "entries"
        return f"should have {match[1]} {what} at {'least' if kind == 'too_short' else 'most'}"
    plain = text.removeprefix("Value error, ").removeprefix("Input ")
    return _WORDS.get(kind, plain.replace("String should match pattern", "should have the form"))


def near_words(name: str, names: Collection[str]) -> str:
    """Return `; do you mean ...?` with the nearest of the names that there are, else all of them where they are few."""
    near = get_close_matches(name[:_LONGEST_NAME].lower(), names, n=2, cutoff=0.6)
    if near:
        return f"; do you mean {' or '.join(near)}?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= _FEW else ""


def faults_in_a_line(errors: Iterable[Mapping[str, Any]]) -> str:
    """Return the errors of a model of pydantic in plain words, each behind the way to its value."""
    return "; ".join(
        f"{'.'.join(map(str, error['loc'])) or 'options'}: {fault_words(error['type'], error['msg'], error['input'])}"
        for error in errors
    )


def formed(is_formed: Callable[[str], object], wanted: str) -> Callable[[object], object]:
    """Return a check that says what is wanted of a text where a regular expression would be shown."""

    def check(value: object) -> object:
        if isinstance(value, str) and not is_formed(value):
            raise ValueError(wanted)
        return value

    return check
