"""The structure of the code: no two modules import each other, and OpenADR's codes stand where its versions do."""

import ast
import io
import re
import tokenize
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
ROOMS = ("core", "openadr", "metrics", "certs", "bridges", "ven", "web", "vtn", "aggregator", "conformance", "evenload")


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the modules that can reach themselves, a list for each circle (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for target in imports[module]:
            if target not in number:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], number[target])
        if lowest[module] == number[module]:
            start = stack.index(module)
            circle = stack[start:]
            del stack[start:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in imports:
        if module not in number:
            visit(module)
    return found


def test_a_circle_is_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_modules_stand_in_a_circle():
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    assert cycles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


SPEAKERS = ("openadr/v20b", "vtn/transport", "ven/engine")
"""Who may name a response code of OpenADR; all else gives reasons (core.errors.Reason)."""
SPEAKING_OF_OPENADR = ("core", "openadr", "ven", "vtn", "aggregator", "evenload")
_CODE = re.compile(r"\b4[56]\d\b")


def codes_in(source: str) -> list[str]:
    """Return the response codes that a module names: as a member of `Code`, as a number, or in a text or comment."""
    named = [
        f"Code.{node.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
    ]
    told = (tokenize.NUMBER, tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    numbers = [number for token in tokens if token.type in told for number in _CODE.findall(token.string)]
    return [name for name in named if name != "Code.OK"] + numbers


def test_a_code_is_found_wherever_it_stands():
    assert codes_in('"""Raises 452."""\nraise OpenADRError(Code.COMPLIANCE, f"{x}: 463")  # GN-15: 459\n') == [
        "Code.COMPLIANCE", "452", "463", "459",
    ]  # fmt: skip
    assert codes_in("code = 460\n") == ["460"]
    assert codes_in("ok = Code.OK, 1450, 4500, 200\n") == []


def test_only_the_versions_of_openadr_name_its_codes():
    modules = (path for room in SPEAKING_OF_OPENADR for path in (ROOT / room).rglob("*.py"))
    elsewhere = (path for path in modules if not path.relative_to(ROOT).as_posix().startswith(SPEAKERS))
    assert {str(path): codes for path in elsewhere if (codes := codes_in(path.read_text("utf-8")))} == {}
