"""What is wrong with a value in a file that people write, in plain words instead of the type checker's."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

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


def names_at(model: type[BaseModel], place: Iterable[str | int]) -> list[str]:
    """Return the names that a section has, by the way from the top of a model; none where that is not known."""
    kinds: list[Any] = [model]
    for part in place:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return [field.alias or name for kind in kinds if _is_model(kind) for name, field in kind.model_fields.items()]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: str | int) -> list[Any]:
    """Return the kinds of value that stand under a name, or at a place, of a value of some kind."""
    if _is_model(kind):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return _plain(fields[part].annotation) if part in fields else []
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        return _plain(inner[1])
    return _plain(inner[0]) if origin in (list, tuple) and inner else []


def _plain(kind: Any) -> list[Any]:
    """Return the kinds that a union, or what is annotated, stands for."""
    if get_origin(kind) in (UnionType, Union):
        return [each for member in get_args(kind) for each in _plain(member)]
    return _plain(get_args(kind)[0]) if get_origin(kind) is Annotated else [kind]


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
