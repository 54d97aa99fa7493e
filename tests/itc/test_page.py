"""The page of the cases names every id, and every test of it; each test says in its name which case it is."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "integration-tests.md"
IDS = {
    *(f"B{number}" for number in range(1, 7)),
    *("F10", "F11", "IT10.01"),
    *(f"ITC{number}.01" for number in range(1, 10)),
    *(f"ITC{number}.02" for number in (1, 4, 5, 6)),
}


def test_the_page_names_every_case_and_each_of_its_tests() -> None:
    rows = re.findall(r"^\| (\S+) \| .*? \| (`tests/.*?) \| .* \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [case for case, _ in rows] == sorted({case for case, _ in rows}, key=[case for case, _ in rows].index)
    assert {case for case, _ in rows} == IDS
    named = set()
    for case, tests in rows:
        begin = f"test_{case.lower().replace('.', '_')}_"
        names = re.findall(r"`tests/itc/(\w+\.py):(\w+)`", tests)
        assert names
        assert all(test.startswith(begin) for _, test in names), case
        named |= set(names)
    assert named == {
        (path.name, node.name)
        for path in HERE.glob("test_*.py")
        if path.name != Path(__file__).name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
