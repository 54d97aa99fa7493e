"""Templates that are less than one: no more than a way through JSON, or text around the value of an order."""

from collections.abc import Sequence
from typing import Any, Final

from bridges.template_functions import MOST_TEXT

_ROUNDED: Final = frozenset({"float", "int", "round", "string"})


def path_of(body: "Sequence[Any]") -> str | None:
    """Return the way through JSON where a template is no more than that."""
    if len(body) != 1 or type(body[0]).__name__ != "Output":
        return None
    parts = [part for part in body[0].nodes if type(part).__name__ != "TemplateData" or part.data.strip()]
    if len(parts) != 1:
        return None
    node = parts[0]
    if type(node).__name__ == "Name" and node.name == "value":
        return ""
    if type(node).__name__ == "Filter" and node.name == "is_defined":
        return _way(node.node)
    if type(node).__name__ == "CondExpr" and type(node.expr2).__name__ == "Const":
        # What EMS-ESP writes: the constant stands in where nothing was said, which is no reading.
        way = _way(node.expr1)
        return way if way in _defined(node.test) else None
    return _way(node)


def _defined(test: Any) -> set[str | None]:
    """Return the ways that a test asks to be defined, where it asks nothing else."""
    match type(test).__name__:
        case "And":
            left, right = _defined(test.left), _defined(test.right)
            return left | right if left and right else set()
        case "Test" if test.name == "defined":
            return {_way(test.node)} - {None}
        case _:
            return set()


def _way(node: Any) -> str | None:
    parts: list[str] = []
    while True:
        match type(node).__name__:
            case "Getattr":
                parts.append(node.attr)
            case "Getitem" if type(node.arg).__name__ == "Const" and not isinstance(node.arg.value, bool):
                key = node.arg.value
                if not isinstance(key, str) and not (isinstance(key, int) and key >= 0):
                    return None
                parts.append(str(key))
            case "Name" if node.name == "value_json" and parts:
                plain = all(part and "." not in part and part.isprintable() for part in parts)
                return ".".join(reversed(parts)) if plain else None
            case _:
                return None
        node = node.node


def payload_of(body: "Sequence[Any]") -> str | None:
    """Return a command template that only puts text around the value; a number's form is ours to choose."""
    if len(body) != 1 or type(body[0]).__name__ != "Output":
        return None
    parts, values = [], 0
    for part in body[0].nodes:
        node = part
        while type(node).__name__ == "Filter" and node.name in _ROUNDED and not (node.args or node.kwargs):
            node = node.node
        if type(node).__name__ == "TemplateData":
            parts.append(node.data)
        elif type(node).__name__ == "Name" and node.name == "value":
            parts.append("{value}")
            values += 1
        else:
            return None
    text = "".join(parts).strip()
    return text if values == 1 == text.count("{value}") and len(text) <= MOST_TEXT else None
