"""The structure of the code: no two modules import each other, by whatever way round."""

import grimp

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
