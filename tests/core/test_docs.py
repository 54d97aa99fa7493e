"""The docs lead where they say: links and anchors, files and functions of the code, pages that code mentions."""

import ast
import configparser
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridges.drivers import TEMPLATES
from docs.reference.generate import PAGES as GENERATED
from ven.household_file import load_household

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
OURS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
"""The folders of the repository: a path in the text that begins with one of them is one of ours."""

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(r"([\w.-]+(?:/[\w.-]+)*/?)(?::([A-Za-z_][\w.]*))?")
_FILE = re.compile(r"[\w-]+\.py")
_MENTION = re.compile(r"\bdocs/[\w/-]+\.md\b")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", text), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", _LINK.sub(lambda link: link[0].split("]")[0], heading).lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def broken_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere."""
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", page.read_text("utf-8")))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text("utf-8"))):
            yield target


def names_in(source: str) -> set[str]:
    """Return what a module defines: functions, classes with their members, and names that are assigned."""

    def within(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    yield prefix + name
                case ast.ClassDef(name=name):
                    yield prefix + name
                    yield from within(node.body, f"{prefix}{name}.")
                case ast.Assign(targets=targets):
                    yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name)):
                    yield prefix + name
                case _:
                    pass

    return set(within(ast.parse(source).body, ""))


def broken_paths(text: str) -> Iterator[str]:
    """Yield the files, folders and functions of the code that a text names and that are not there."""
    for code in _CODE.findall(_FENCE.sub("", text)):
        path = _PATH.fullmatch(code)
        if path is None:
            continue
        place = ROOT / path[1]
        if "/" in path[1]:
            if path[1].split("/")[0] not in OURS:
                continue
            there = place.exists()
        elif _FILE.fullmatch(path[1]):
            there = any(any((ROOT / folder).rglob(path[1])) for folder in OURS)
        else:
            continue
        if not there or (path[2] and (not place.is_file() or path[2] not in names_in(place.read_text("utf-8")))):
            yield code


def test_what_is_broken_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`: c\n\n## Two\n\n## Two\n")
    assert anchors(page.read_text()) == {"a-b-c", "two", "two-1"}
    other = tmp_path / "other.md"
    good = "# F\n[a](page.md) [b](page.md#two-1) [c](https://x.org/y) `[d](no)` [e](#f)\n```\n[g](no)\n# H\n```\n"
    other.write_text(good)
    assert list(broken_links(other)) == []
    other.write_text(good + "[a](no.md) [b](page.md#three) [h](#h)")
    assert list(broken_links(other)) == ["no.md", "page.md#three", "#h"]
    assert list(broken_paths("`core/clock.py` `core/clock.py:Clock.now` `core/` `clock.py` `a/b` `vtn.toml`")) == []
    assert list(broken_paths("`core/no.py` `core/clock.py:no` `no_such.py` `vtn/nowhere/`")) == [
        "core/no.py",
        "core/clock.py:no",
        "no_such.py",
        "vtn/nowhere/",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []
    if page.name != "CHANGELOG.md":  # what it tells of may be gone
        assert list(broken_paths(page.read_text("utf-8"))) == []


def test_pages_that_code_mentions_are_there() -> None:
    sources = [ROOT / "Makefile", ROOT / "pyproject.toml"]
    sources += [
        path for folder in OURS for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ".html"}
    ]
    mentions = ((path, page) for path in sources for page in _MENTION.findall(path.read_text("utf-8")))
    assert [(str(path), page) for path, page in mentions if not (ROOT / page).is_file()] == []


def test_contracts_that_catch_a_mistake_are_there() -> None:
    page = (ROOT / "docs" / "contributing" / "where-to-add.md").read_text("utf-8")
    caught = re.findall(r"Import rules?:(.*?)(?:\n\n|\Z)", page, re.DOTALL)
    named = {" ".join(name.split()) for text in caught for name in re.findall(r'"([^"]+)"', text)}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert named
    assert named <= {contract["name"] for contract in contracts}


def test_the_index_has_every_page() -> None:
    """Those of single devices are listed by the page on devices."""
    index = ROOT / "docs" / "index.md"
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in (index, ROOT / "docs" / "reference" / "devices.md")
        for target in _LINK.findall(page.read_text("utf-8"))
    }
    assert [str(page) for page in PAGES if index.parent in page.parents and page != index and page not in linked] == []


@pytest.mark.parametrize("name", GENERATED)
def test_the_reference_says_what_the_code_says(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text("utf-8") == GENERATED[name](), "stale: run `make reference`"


@pytest.mark.parametrize("name", sorted(path.stem for path in TEMPLATES.glob("*.yaml")))
def test_the_example_on_a_devices_page_is_good(name: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "devices" / f"{name}.md").read_text("utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "household.yaml"
    path.write_text(f"version: 1\nname: home\nidentity: identity\nstate: state\n{shown}", encoding="utf-8")
    assert load_household(path).devices[0].driver == name


def test_the_page_on_others_names_the_versions_that_tests_run() -> None:
    page = (ROOT / "docs" / "reference" / "interop.md").read_text("utf-8")
    named = dict(
        re.findall(
            r"^\| (openleadr's VEN|openleadr's VTN|pyOADR-VEN|openapi-python-client|HATasmota|zigbee2mqtt)"
            r"[^|]*\| ([\d.]+) \|",
            page,
            re.MULTILINE,
        )
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    dependencies = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    (openleadr,) = (name.partition("==")[2] for name in dependencies if name.startswith("openleadr=="))
    (hatasmota,) = (name.partition("==")[2] for name in dependencies if name.startswith("hatasmota=="))
    generators = (ROOT / "tests" / "support" / "generated_clients.py").read_text("utf-8")
    (client,) = re.findall(r'"openapi-python-client==([\d.]+)"', generators)
    radio = (ROOT / "tests" / "support" / "zigbee2mqtt.py").read_text("utf-8")
    (zigbee2mqtt,) = re.findall(r'"zigbee2mqtt@([\d.]+)"', radio)
    agent = (ROOT / "tests" / "interop" / "test_pyoadr_ven.py").read_text("utf-8")
    (pyoadr,) = re.findall(r'"pyOADR-VEN==([\d.]+)"', agent)
    assert named == {
        "openleadr's VEN": openleadr,
        "openleadr's VTN": openleadr,
        "pyOADR-VEN": pyoadr,
        "openapi-python-client": client,
        "HATasmota": hatasmota,
        "zigbee2mqtt": zigbee2mqtt,
    }


@pytest.mark.parametrize(("name", "page"), [("evenload-ven", "gateway"), ("evenload-vtn", "operating")])
def test_the_steps_before_a_service_fit_its_unit(name: str, page: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=False)
    unit.read(ROOT / "examples" / f"{name}.service")
    service = unit["Service"]
    steps = (ROOT / "docs" / "how-to" / f"{page}.md").read_text("utf-8")
    home = f"/var/lib/{service['StateDirectory']}"
    program, config = service["ExecStart"].split()[0], service["ExecStart"].split()[-1]
    assert f"sudo cp examples/{name}.service /etc/systemd/system/" in steps
    assert f"venv {program.removesuffix('/bin/evenload')}" in steps
    assert f"install -d -m 700 -o {service['User']} -g {service['Group']} {home}" in steps
    assert (config if page == "gateway" else config.removesuffix("/vtn.toml")) in steps
    assert config.startswith(f"{home}/")
    assert service["WorkingDirectory"].startswith(home)


def test_a_server_may_hold_many_connections() -> None:
    assert "\nLimitNOFILE=524288\n" in (ROOT / "examples" / "evenload-vtn.service").read_text("utf-8")
