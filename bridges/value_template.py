"""Home Assistant's templates for single values, as devices announce them: `{{ value_json.power | float / 10 }}`.

A sandbox by construction: Jinja only parses; what it parsed is turned into our own few operations on JSON data and
texts, and everything else is refused, by name, when the template is read. There are no loops, so the work is bounded by
the length of the template; texts and numbers on the way are bounded, too (`bridges.template_functions`).

Understood: `{{ }}`, `{% if %}`, `{% elif %}`, `{% else %}`, `{% set %}`, inline if, comparisons, `in`, `is`, `and`,
`or`, `not`, arithmetic, `~`, lists and mappings written out, `value`, `value_json` and the ways through it, the filters
and functions of that module, `.get()` and `.split()`. That is what EMS-ESP, zigbee2mqtt, zwave-js-ui, OpenMQTTGateway,
Tasmota and ESPHome announce for what can be measured or set (read in their sources, autumn 2026).
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bridges.senml import parse_json
from bridges.template_forms import path_of, payload_of
from bridges.template_functions import (
    COMPARISONS,
    FILTERS,
    FUNCTIONS,
    METHODS,
    OPERATORS,
    SIGNS,
    TESTS,
    UNDEFINED,
    UnknownError,
    bounded,
    text_of,
    truth,
)
from core.errors import InvalidError

if TYPE_CHECKING:
    from jinja2.nodes import Expr, Node

MOST_TEMPLATE: Final = 4000
"""Characters of a template; those that devices announce have a few hundred."""
_MOST_PAYLOAD: Final = 262_144
_DEEPEST: Final = 60
"""Levels of expressions and blocks in each other."""
_NUMBER: Final = re.compile(r"[+-]?(?!0\d)(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
"""What Home Assistant reads as a number (leading zeros are no number), and what Python writes for small ones."""
_LONGEST_NUMBER: Final = 60
_UNKNOWN: Final = frozenset({"", "None", "unknown"})

_Expression = Callable[["_Scope"], Any]
_Block = Callable[["_Scope", list[str]], None]


class _Scope:
    """The variables while a template is worked out; JSON is parsed when somebody asks for it."""

    def __init__(self, value: float | str, *, json: Callable[[], Any] | None) -> None:
        self._json = json
        self._values: dict[str, Any] = {"value": value}

    def get(self, name: str) -> Any:
        if name == "value_json" and self._json is not None and name not in self._values:
            try:
                self._values[name] = self._json()
            except InvalidError:
                self._values[name] = UNDEFINED
        return self._values.get(name, UNDEFINED)

    def set(self, name: str, value: Any) -> None:
        self._values[name] = value


@dataclass(frozen=True, slots=True)
class ValueTemplate:
    """A template that was read.

    `path` is the way through JSON where the template is no more than that (`a.b` for `{{ value_json.a.b }}`), the
    empty text where it is the payload itself, else None. `payload` is a command template that only puts text around the
    value, with `{value}` in its place, else None.
    """

    text: str
    path: str | None = field(compare=False)
    payload: str | None = field(compare=False)
    _blocks: tuple[_Block, ...] = field(repr=False, compare=False)

    def value(self, payload: str | bytes, json: Callable[[], Any] | None = None) -> str | float | bool | None:
        """Return what a message says: a number where it reads as one, None where that is not known.

        `json` returns its content where that is parsed elsewhere, or raises InvalidError where it is none. Raises
        InvalidError for a payload that the template cannot work with.
        """
        if len(payload) > _MOST_PAYLOAD:
            raise InvalidError(f"A message of {len(payload)} bytes is too long for a template.")
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
        try:
            return _read_result(self._text(_Scope(text, json=json or partial(parse_json, text))))
        except UnknownError:
            return None

    def order(self, value: float | str) -> str:
        """Return the message that sets a value. Raises InvalidError where the template cannot work with it."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        try:
            return self._text(_Scope(bounded(value), json=None))
        except UnknownError as error:
            raise InvalidError("The template for orders reckons with something that is not there.") from error

    def _text(self, scope: _Scope) -> str:
        parts: list[str] = []
        try:
            for block in self._blocks:
                block(scope, parts)
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise InvalidError(f"The template cannot work with this: {error!s:.80}") from error
        return str(bounded("".join(parts))).strip()


def read(text: str) -> ValueTemplate:
    """Read a template. Raises InvalidError that names what is not understood."""
    if len(text) > MOST_TEMPLATE:
        raise InvalidError(f"A template of {len(text)} characters is too long; {MOST_TEMPLATE} are read.")
    body = _parsed(text)
    reader = _Reader(body)
    blocks = tuple(reader.blocks(body, 0))
    return ValueTemplate(text, path_of(body), payload_of(body), blocks)


def _parsed(text: str) -> "Sequence[Node]":
    from jinja2 import Environment, TemplateError  # noqa: PLC0415  only where a template is read
    from jinja2.parser import Parser  # noqa: PLC0415

    try:
        # Environment.parse does no more, but compiles a frame of its own to raise errors from.
        return Parser(Environment(), text).parse().body  # noqa: S701  nothing is rendered, let alone HTML
    except (TemplateError, RecursionError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise InvalidError(f"This is no template: {reason:.120}") from error


def _read_result(text: str) -> str | float | bool | None:
    """Return what a template's text says, as Home Assistant reads it."""
    if text in _UNKNOWN:
        return None
    if text in ("True", "False"):
        return text == "True"
    if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
        return float(bounded(float(text)))
    return text


class _Reader:
    """Turns what Jinja parsed into operations of ours; whatever it has no row for is refused."""

    def __init__(self, body: "Sequence[Node]") -> None:
        self._names = {"value", "value_json"}
        self._expressions: Mapping[str, Callable[[Any, int], _Expression]] = {
            "And": self._and,
            "Call": self._call,
            "Compare": self._compare,
            "Concat": self._concat,
            "CondExpr": self._inline_if,
            "Const": self._const,
            "Dict": self._dict,
            "Filter": self._filter,
            "Getattr": self._getattr,
            "Getitem": self._getitem,
            "List": self._list,
            "Name": self._name,
            "Not": self._not,
            "Or": self._or,
            "Test": self._test,
            "Tuple": self._list,
            **dict.fromkeys(OPERATORS, self._operator),
            **dict.fromkeys(SIGNS, self._sign),
        }
        self._note_names(body, 0)

    def blocks(self, body: "Sequence[Node]", depth: int) -> list[_Block]:
        """Return what a template, or a branch of it, does. Raises InvalidError."""
        return [block for node in body for block in self._block(node, depth + 1)]

    def _note_names(self, body: "Sequence[Any]", depth: int) -> None:
        """Collect what is ever set: in Jinja it is seen in the branches after it, too."""
        _check_depth(depth)
        for node in body:
            kind = type(node).__name__
            if kind == "Assign" and type(node.target).__name__ == "Name":
                self._names.add(node.target.name)
            elif kind == "If":
                for branch in (node, *node.elif_):
                    self._note_names(branch.body, depth + 1)
                self._note_names(node.else_, depth + 1)

    def _block(self, node: Any, depth: int) -> list[_Block]:
        _check_depth(depth)
        match type(node).__name__:
            case "Output":
                return [self._output(part, depth) for part in node.nodes]
            case "If":
                return [self._if(node, depth)]
            case "Assign" if type(node.target).__name__ == "Name":
                return [self._assign(node.target.name, self._expression(node.node, depth))]
            case kind:
                raise InvalidError(f"Templates with {_BLOCKS.get(kind, kind)} are not understood.")

    def _output(self, node: Any, depth: int) -> _Block:
        if type(node).__name__ == "TemplateData":
            text = str(node.data)
            return lambda _, parts: parts.append(text)
        expression = self._expression(node, depth)

        def write(scope: _Scope, parts: list[str]) -> None:
            parts.append(text_of(expression(scope)))

        return write

    def _if(self, node: Any, depth: int) -> _Block:
        branches = [
            (self._expression(branch.test, depth), self.blocks(branch.body, depth)) for branch in (node, *node.elif_)
        ]
        otherwise = self.blocks(node.else_, depth)

        def decide(scope: _Scope, parts: list[str]) -> None:
            chosen = next((body for test, body in branches if truth(test(scope))), otherwise)
            for block in chosen:
                block(scope, parts)

        return decide

    @staticmethod
    def _assign(name: str, expression: _Expression) -> _Block:
        return lambda scope, _: scope.set(name, expression(scope))

    # -- expressions

    def _expression(self, node: "Expr", depth: int) -> _Expression:
        _check_depth(depth)
        kind = type(node).__name__
        if kind not in self._expressions:
            raise InvalidError(f"Templates with {_BLOCKS.get(kind, kind)} are not understood.")
        work = self._expressions[kind](node, depth + 1)
        return lambda scope: bounded(work(scope))

    def _all(self, nodes: "Sequence[Expr]", depth: int) -> list[_Expression]:
        return [self._expression(node, depth) for node in nodes]

    @staticmethod
    def _const(node: Any, _: int) -> _Expression:
        value = bounded(node.value)
        return lambda _: value

    def _name(self, node: Any, _: int) -> _Expression:
        name = node.name
        if name not in self._names:
            raise InvalidError(f"{name:.40} is nothing that a template here knows; there are value and value_json.")
        return lambda scope: scope.get(name)

    def _getattr(self, node: Any, depth: int) -> _Expression:
        data, name = self._expression(node.node, depth), node.attr
        return lambda scope: _item(data(scope), name)

    def _getitem(self, node: Any, depth: int) -> _Expression:
        data, key = self._expression(node.node, depth), self._expression(node.arg, depth)
        return lambda scope: _item(data(scope), key(scope))

    def _list(self, node: Any, depth: int) -> _Expression:
        items = self._all(node.items, depth)
        return lambda scope: [item(scope) for item in items]

    def _dict(self, node: Any, depth: int) -> _Expression:
        if any(type(pair.key).__name__ != "Const" for pair in node.items):
            raise InvalidError("Mappings whose keys are reckoned are not understood.")
        keys = [bounded(pair.key.value) for pair in node.items]
        values = self._all([pair.value for pair in node.items], depth)
        return lambda scope: dict(zip(keys, [value(scope) for value in values], strict=True))

    def _and(self, node: Any, depth: int) -> _Expression:
        left, right = self._all((node.left, node.right), depth)
        return lambda scope: right(scope) if truth(value := left(scope)) else value

    def _or(self, node: Any, depth: int) -> _Expression:
        left, right = self._all((node.left, node.right), depth)
        return lambda scope: value if truth(value := left(scope)) else right(scope)

    def _not(self, node: Any, depth: int) -> _Expression:
        value = self._expression(node.node, depth)
        return lambda scope: not truth(value(scope))

    def _inline_if(self, node: Any, depth: int) -> _Expression:
        test, then = self._all((node.test, node.expr1), depth)
        otherwise = None if node.expr2 is None else self._expression(node.expr2, depth)

        def decide(scope: _Scope) -> Any:
            if truth(test(scope)):
                return then(scope)
            return UNDEFINED if otherwise is None else otherwise(scope)

        return decide

    def _concat(self, node: Any, depth: int) -> _Expression:
        parts = self._all(node.nodes, depth)
        return lambda scope: "".join(text_of(part(scope)) for part in parts)

    def _operator(self, node: Any, depth: int) -> _Expression:
        left, right = self._all((node.left, node.right), depth)
        work = OPERATORS[type(node).__name__]
        return lambda scope: work(left(scope), right(scope))

    def _sign(self, node: Any, depth: int) -> _Expression:
        value, work = self._expression(node.node, depth), SIGNS[type(node).__name__]
        return lambda scope: work(value(scope))

    def _compare(self, node: Any, depth: int) -> _Expression:
        first = self._expression(node.expr, depth)
        others = [(COMPARISONS[operand.op], self._expression(operand.expr, depth)) for operand in node.ops]

        def compare(scope: _Scope) -> bool:
            left = first(scope)
            for work, other in others:
                right = other(scope)
                if not work(left, right):
                    return False
                left = right
            return True

        return compare

    def _test(self, node: Any, depth: int) -> _Expression:
        if node.name in ("in", "eq", "==") and len(node.args or ()) == 1:
            work = COMPARISONS["in" if node.name == "in" else "eq"]
            left, right = self._all((node.node, node.args[0]), depth)
            return lambda scope: work(left(scope), right(scope))
        if node.name not in TESTS or node.args or node.kwargs:
            raise InvalidError(f"The test 'is {node.name:.40}' is not understood; there are {', '.join(TESTS)}.")
        value, test = self._expression(node.node, depth), TESTS[node.name]
        return lambda scope: test(value(scope))

    def _filter(self, node: Any, depth: int) -> _Expression:
        if node.name not in FILTERS:
            raise InvalidError(f"The filter '{node.name:.40}' is not understood; there are {', '.join(FILTERS)}.")
        if node.node is None:
            raise InvalidError("Filters over blocks are not understood.")
        return self._calling(node.name, FILTERS[node.name], [node.node, *node.args], node, depth)

    def _call(self, node: Any, depth: int) -> _Expression:
        target = node.node
        match type(target).__name__:
            case "Name" if target.name in FUNCTIONS and target.name not in self._names:
                return self._calling(target.name, FUNCTIONS[target.name], node.args, node, depth)
            case "Getattr" if target.attr in METHODS:
                return self._calling(target.attr, METHODS[target.attr], [target.node, *node.args], node, depth)
            case "Name":
                name = target.name
            case "Getattr":
                name = f".{target.attr}"
            case _:
                name = "this"
        raise InvalidError(f"The call {name:.40}() is not understood; there are {', '.join([*FUNCTIONS, *METHODS])}.")

    def _calling(
        self, name: str, work: Callable[..., Any], nodes: "Sequence[Expr]", call: Any, depth: int
    ) -> _Expression:
        if call.dyn_args is not None or call.dyn_kwargs is not None:
            raise InvalidError(f"{name} with * or ** is not understood.")
        arguments = self._all(nodes, depth)
        named = {pair.key: self._expression(pair.value, depth) for pair in call.kwargs}
        try:
            inspect.signature(work).bind(*arguments, **named)
        except TypeError as error:
            raise InvalidError(f"{name} does not take these arguments: {error}.") from error

        def run(scope: _Scope) -> Any:
            return work(
                *[argument(scope) for argument in arguments], **{key: value(scope) for key, value in named.items()}
            )

        return run


_BLOCKS: Final = {
    "Assign": "'set' of several names",
    "AssignBlock": "'set' blocks",
    "Block": "blocks",
    "CallBlock": "'call' blocks",
    "Extends": "'extends'",
    "FilterBlock": "'filter' blocks",
    "For": "loops",
    "FromImport": "imports",
    "Import": "imports",
    "Include": "'include'",
    "Macro": "macros",
    "NSRef": "namespaces",
    "Pow": "powers (**)",
    "Slice": "slices",
    "With": "'with' blocks",
}


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidError(f"Templates with more than {_DEEPEST} levels of nesting are not understood.")


def _item(data: Any, key: Any) -> Any:
    """Return what stands in JSON data under a key or at a place; of Python's objects nothing is ever reached."""
    if data is UNDEFINED:
        raise UnknownError
    if isinstance(data, dict):
        return data.get(key, UNDEFINED) if key is None or isinstance(key, str | int | float) else UNDEFINED
    if isinstance(data, list | str) and isinstance(key, int) and -len(data) <= key < len(data):
        return data[key]
    return UNDEFINED
