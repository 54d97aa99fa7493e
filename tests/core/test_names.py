"""Names say what a thing is: fillers name no parameter and no attribute, and a room has no two classes of one name.

A room is a row of the table in docs (architecture): a folder with its own contract. REST's models may be called as the
service's values are, since their titles are the API's own words.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_TOP = Path(__file__).parents[2]
_BANNED: Final = frozenset({"one", "found", "known", "wish", "of", "whole", "made", "told", "said"})
_ALLOWED: Final = {
    ("aggregator/tariff/price_series.py", "whole"),
    ("aggregator/tariff/tariffs.py", "whole"),
    ("aggregator/api/tariff_models.py", "whole"),
}
"""`whole` says in REST and in the database that a tariff's version replaces all prices before it."""
_ROOMS: Final = (
    "core",
    "openadr",
    "metrics",
    "certs",
    "bridges",
    "ven",
    "web",
    "vtn/services",
    "vtn/store",
    "vtn/transport",
    "vtn/api",
    "vtn/console",
    "aggregator/flexibility",
    "aggregator/selection",
    "aggregator/tariff",
    "aggregator/trade",
    "aggregator/brp_api",
    "aggregator/api",
    "aggregator/console",
    "conformance",
    "evenload",
)
_PARTS: Final = ("evenload/demo", "web/pages")
"""Rooms within a room."""


def _modules(room: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((_TOP / room).rglob("*.py")):
        name = path.relative_to(_TOP).as_posix()
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def _names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield every parameter and every attribute that is declared or set, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                every += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
                yield from ((argument.arg, argument.lineno) for argument in every)
            case ast.ClassDef():
                for part in node.body:
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                        yield part.target.id, part.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr.lstrip("_"), node.lineno


@pytest.mark.parametrize("room", _ROOMS)
def test_no_filler_names_a_parameter_or_an_attribute(room: str) -> None:
    fillers = [
        f"{module}:{line} {name}"
        for module, tree in _modules(room)
        for name, line in _names(tree)
        if name in _BANNED and (module, name) not in _ALLOWED
    ]
    assert not fillers


@pytest.mark.parametrize("room", [*_ROOMS, *_PARTS])
def test_no_two_public_classes_of_a_room_share_a_name(room: str) -> None:
    modules = defaultdict(list)
    inner = [part for part in _PARTS if part != room]
    for module, tree in _modules(room):
        if any(module.startswith(f"{part}/") for part in inner):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(module)
    assert not {name: places for name, places in modules.items() if len(places) > 1}


def test_the_lint_sees_what_it_is_for() -> None:
    tree = ast.parse("class A:\n    told: int\n    def f(self, one):\n        self._known = lambda found: one\n")
    assert {name for name, _ in _names(tree)} >= {"told", "one", "known", "found"}
