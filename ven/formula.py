"""Formulas of household files: what a device shall be set to, worked out of a signal's value. Arithmetic alone."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from core.errors import InvalidError

_LONGEST: Final = 200
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
)
_FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = MappingProxyType(
    {"min": min, "max": max, "abs": abs, "round": round}
)
_HOW: Final = "it is made of value, numbers, + - * / ( ), min, max, abs and round, such as max(6, value * 25)"


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read, for instance `value * 100`."""

    text: str
    tree: ast.expr

    def of(self, value: float) -> float | None:
        """Return what it makes of a signal's value; None where that is no number, or the value is none."""
        if not math.isfinite(value):
            return None
        try:
            result = _worked_out(self.tree, value)
        except (ZeroDivisionError, OverflowError):
            return None
        return result if math.isfinite(result) else None


def read(text: str) -> Formula:
    """Read a formula. Raises InvalidError that says what it may be made of."""
    if len(text) > _LONGEST:
        raise InvalidError(f"A formula has at most {_LONGEST} letters.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        _check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidError(f"'{text}' is no formula: {_HOW}.") from error
    return Formula(text, tree)


def _check(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=number) if isinstance(number, int | float) and not isinstance(number, bool):
            float(number)
        case ast.Name(id="value"):
            pass
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check(left)
            _check(right)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if _takes(name, len(arguments)):
            for argument in arguments:
                _check(argument)
        case _:
            raise ValueError(ast.dump(node)[:_LONGEST])


def _takes(name: str, count: int) -> bool:
    return name in _FUNCTIONS and (count == 1 if name in ("abs", "round") else count > 1)


def _worked_out(node: ast.expr, value: float) -> float:
    match node:
        case ast.Constant(value=number) if isinstance(number, int | float):
            return float(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_worked_out(operand, value)
        case ast.UnaryOp(operand=operand):
            return _worked_out(operand, value)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_worked_out(left, value), _worked_out(right, value))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return float(_FUNCTIONS[name](*(_worked_out(argument, value) for argument in arguments)))
    return value
