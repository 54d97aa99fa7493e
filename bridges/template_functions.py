"""What Home Assistant's templates may do with values, as far as `bridges.value_template` understands them.

Filters, functions, tests and operators, with Home Assistant's own meaning where it differs from Jinja's (its `float`
has no silent zero, its `round` to no digits is a whole number). Source: Home Assistant's documentation of templating,
2025. Every one costs at most what its bounded operands are long. What is undefined makes the result unknown.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from core.errors import InvalidError

MOST_TEXT: Final = 4096
"""Characters of any text on the way."""
_MOST_ITEMS: Final = 1000
"""Entries of a list that is looked through."""
_MOST_BITS: Final = 128
_MOST_DIGITS: Final = 15
_TRUE: Final = frozenset({"1", "true", "yes", "on", "enable"})
_FALSE: Final = frozenset({"0", "false", "no", "off", "disable"})


class Undefined:
    """What a name or a way through JSON gives where nothing stands."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = Undefined()


class UnknownError(Exception):
    """The template reckons with something that is not there: its value is not known."""


def bounded(value: Any) -> Any:
    """Return a value on the way. Raises InvalidError where it has grown beyond bounds."""
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise InvalidError(f"A text of {len(value)} characters is too long; {MOST_TEXT} are read.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidError("A number is out of range.")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise InvalidError("A number is out of range.")
    return value


def text_of(value: Any) -> str:
    """Return how a template writes a value: as Python does. Raises InvalidError for lists and mappings."""
    if value is UNDEFINED:
        return ""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, int | float):
        return str(value)
    raise InvalidError("A list or a mapping is no single value.")


def truth(value: Any) -> bool:
    """Tell whether a value counts as true."""
    return value is not UNDEFINED and bool(value)


# -- operators


def _numeric(value: Any) -> float:
    if value is UNDEFINED:
        raise UnknownError
    if isinstance(value, int | float):
        return value
    raise InvalidError(f"{_shown(value)} is not a number.")


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "A list or a mapping"
    return f"{value!r:.40}"


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return _numeric(left) + _numeric(right)


def _not_zero(value: Any) -> float:
    if not _numeric(value):
        raise InvalidError("Nothing is divided by zero.")
    return _numeric(value)


OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "Add": _add,
    "Sub": lambda left, right: _numeric(left) - _numeric(right),
    "Mul": lambda left, right: _numeric(left) * _numeric(right),
    "Div": lambda left, right: _numeric(left) / _not_zero(right),
    "FloorDiv": lambda left, right: _numeric(left) // _not_zero(right),
    "Mod": lambda left, right: _numeric(left) % _not_zero(right),
}
SIGNS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "Neg": lambda value: -_numeric(value),
    "Pos": lambda value: +_numeric(value),
}


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise InvalidError("Lists and mappings are not compared.")
    return value


def _equal(left: Any, right: Any) -> bool:
    return bool(_scalar(left) == _scalar(right))


def _ordered(order: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            return order(left, right)
        return order(_numeric(left), _numeric(right))

    return compare


def _contains(item: Any, where: Any) -> bool:
    if where is UNDEFINED:
        return False
    if isinstance(where, str):
        if item is UNDEFINED:
            raise UnknownError
        if not isinstance(item, str):
            raise InvalidError(f"{_shown(item)} is no text, so it is not looked for in one.")
        return item in where
    if isinstance(where, dict):
        return _scalar(item) in where
    return _scalar(item) in _items(where)


COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered(lambda left, right: left < right),
    "lteq": _ordered(lambda left, right: left <= right),
    "gt": _ordered(lambda left, right: left > right),
    "gteq": _ordered(lambda left, right: left >= right),
    "in": _contains,
    "notin": lambda left, right: not _contains(left, right),
}


# -- filters and functions


def _default_or(default: Any, value: Any, wanted: str) -> Any:
    """Return the default that a template gives for what is not as wanted."""
    if default is not UNDEFINED:
        return default
    if value is UNDEFINED:
        raise UnknownError
    raise InvalidError(f"{_shown(value)} is not {wanted}.")


def _as_float(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _float(value: Any, default: Any = UNDEFINED) -> Any:
    number = _as_float(value)
    return _default_or(default, value, "a number") if number is None else number


def _int(value: Any, default: Any = UNDEFINED) -> Any:
    if isinstance(value, int):
        return int(value)
    number = _as_float(value)
    return _default_or(default, value, "a number") if number is None else int(number)


def _round(value: Any, precision: Any = 0, method: Any = "common", default: Any = UNDEFINED) -> Any:
    number = _as_float(value)
    if number is None:
        return _default_or(default, value, "a number")
    if isinstance(precision, bool) or not isinstance(precision, int) or abs(precision) > _MOST_DIGITS:
        raise InvalidError(f"Numbers are rounded to at most {_MOST_DIGITS} digits, not {_shown(precision)}.")
    factor = 10.0**precision
    if method == "ceil":
        number = math.ceil(number * factor) / factor
    elif method == "floor":
        number = math.floor(number * factor) / factor
    elif method == "half":
        number = round(number * 2) / 2
    elif method == "common":
        number = round(number, precision)
    else:
        raise InvalidError(f"{_shown(method)} is no way of rounding; there are common, ceil, floor and half.")
    return int(number) if precision == 0 and method != "half" else number


def _bool(value: Any, default: Any = UNDEFINED) -> Any:
    if isinstance(value, int | float):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    return _default_or(default, value, "true or false")


def _multiply(value: Any, amount: Any, default: Any = UNDEFINED) -> Any:
    number = _as_float(value)
    return _default_or(default, value, "a number") if number is None else number * _numeric(amount)


def _plus(value: Any, amount: Any, default: Any = UNDEFINED) -> Any:
    number = _as_float(value)
    return _default_or(default, value, "a number") if number is None else number + _numeric(amount)


def _is_number(value: Any) -> bool:
    return _as_float(value) is not None


def _default(value: Any, default_value: Any = "", boolean: Any = False) -> Any:
    if value is UNDEFINED or (truth(boolean) and not truth(value)):
        return default_value
    return value


def _iif(value: Any, if_true: Any = True, if_false: Any = False, if_none: Any = UNDEFINED) -> Any:
    if value is None and if_none is not UNDEFINED:
        return if_none
    return if_true if truth(value) else if_false


def _is_defined(value: Any) -> Any:
    if value is UNDEFINED:
        raise UnknownError
    return value


def _replace(value: Any, old: Any, new: Any) -> str:
    text, before, after = text_of(value), text_of(old), text_of(new)
    if len(text) + text.count(before) * (len(after) - len(before)) > MOST_TEXT:
        raise InvalidError(f"A text of more than {MOST_TEXT} characters is too long.")
    return text.replace(before, after)


def _length(value: Any) -> int:
    if value is UNDEFINED:
        return 0
    if isinstance(value, str | list | dict):
        return len(value)
    raise InvalidError(f"{_shown(value)} has no length.")


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidError(f"{_shown(value)} is no list.")
    if len(value) > _MOST_ITEMS:
        raise InvalidError(f"A list of {len(value)} is too long; {_MOST_ITEMS} are looked through.")
    return value


def _extreme(pick: Callable[[Iterable[float]], float]) -> Callable[..., Any]:
    def choose(value: Any, *others: Any) -> float:
        if value is UNDEFINED:
            raise UnknownError
        numbers = [_numeric(item) for item in ([value, *others] if others else _items(value))]
        if not numbers:
            raise InvalidError("An empty list has no least and no greatest number.")
        return pick(numbers)

    return choose


def _to_json(value: Any) -> str:
    """Return a value as JSON, compact as Home Assistant writes it; stops where it becomes too long."""
    if value is UNDEFINED:
        raise UnknownError
    parts, length = [], 0
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for part in encoder.iterencode(value):
        length += len(part)
        if length > MOST_TEXT:
            raise InvalidError(f"JSON of more than {MOST_TEXT} characters is too long.")
        parts.append(part)
    return "".join(parts)


def _abs(value: Any) -> float:
    return abs(_numeric(value))


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": _abs,
    "add": _plus,
    "bool": _bool,
    "capitalize": lambda value: text_of(value).capitalize(),
    "count": _length,
    "d": _default,
    "default": _default,
    "float": _float,
    "iif": _iif,
    "int": _int,
    "is_defined": _is_defined,
    "is_number": _is_number,
    "length": _length,
    "lower": lambda value: text_of(value).lower(),
    "max": _extreme(max),
    "min": _extreme(min),
    "multiply": _multiply,
    "replace": _replace,
    "round": _round,
    "string": text_of,
    "to_json": _to_json,
    "tojson": _to_json,
    "trim": lambda value: text_of(value).strip(),
    "upper": lambda value: text_of(value).upper(),
}
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "bool": _bool,
    "float": _float,
    "iif": _iif,
    "int": _int,
    "is_number": _is_number,
    "max": _extreme(max),
    "min": _extreme(min),
}


def _is_numeric(value: Any) -> bool:
    return isinstance(value, int | float)


TESTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: value is not UNDEFINED,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "is_number": _is_number,
    "mapping": lambda value: isinstance(value, dict),
    "none": lambda value: value is None,
    "number": _is_numeric,
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
    "undefined": lambda value: value is UNDEFINED,
}


# -- the two methods of JSON data that publishers call


def get(data: Any, key: Any, default: Any = None) -> Any:
    """Return what a mapping has under a key."""
    if data is UNDEFINED:
        raise UnknownError
    if not isinstance(data, dict):
        raise InvalidError(f"{_shown(data)} is no mapping, so it has no get().")
    return data.get(_scalar(key), default)


def split(text: Any, separator: Any = None) -> list[str]:
    """Return the parts of a text."""
    if text is UNDEFINED:
        raise UnknownError
    if not isinstance(text, str) or not (separator is None or (isinstance(separator, str) and separator)):
        raise InvalidError(f"{_shown(text)} cannot be split by {_shown(separator)}.")
    return text.split(separator)


METHODS: Final[Mapping[str, Callable[..., Any]]] = {"get": get, "split": split}
