"""The catalogue of rules: it is sound, faults in it are named, and whoever cites a rule cites one that exists."""

import re
from collections import Counter
from pathlib import Path

import pytest

from conformance.catalogue import TITLES, Chapter, Level, load, read
from core.errors import InvalidError

ROOT = Path(__file__).parents[2]
_CITED = re.compile(r"\b(?:GN|EV|OP|RP|RG|PL|TR|SE|XM|PA)-\d\d\b")
_READ = {".py", ".md", ".yaml", ".html", ".sh", ".toml"}
ENTRY = """
- id: EV-01
  chapter: EV
  side: vtn
  level: M
  text: Numbered.
  check: Read.
  source: [R2, "§8.2"]
"""


def test_it_holds_every_rule() -> None:
    counts = Counter(rule.chapter for rule in load())
    assert dict(counts) == {
        Chapter.GN: 15, Chapter.EV: 72, Chapter.OP: 17, Chapter.RP: 45, Chapter.RG: 16,
        Chapter.PL: 10, Chapter.TR: 14, Chapter.SE: 10, Chapter.XM: 9, Chapter.PA: 6,
    }  # fmt: skip
    assert set(TITLES) == set(Chapter)


def test_a_rule_that_is_checked_says_how() -> None:
    unchecked = {rule.id for rule in load() if rule.check.startswith("Not checked")}
    assert {rule.id for rule in load() if rule.level is Level.OPEN} <= unchecked
    assert not [rule.id for rule in load() if rule.id in unchecked and rule.level in {Level.MUST, Level.SHOULD}]


def test_an_entry_is_read() -> None:
    (rule,) = read(ENTRY)
    assert (rule.id, rule.chapter, rule.side, rule.level) == ("EV-01", "EV", "vtn", "M")
    assert (rule.text, rule.check, rule.source, rule.decision) == ("Numbered.", "Read.", ("R2", "§8.2"), None)
    (decided,) = read(ENTRY + "  decision: Both.\n")
    assert decided.decision == "Both."


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: {", "no YAML"),
        ("id: EV-01", "a list of rules"),
        ("- EV-01", "Entry 1 is no rule"),
        ("- side: vtn", "Entry 1: missing or unknown: chapter, check"),
        (ENTRY.replace("chapter: EV", "chapter: ZZ"), "EV-01: 'ZZ' is not a valid Chapter"),
        (ENTRY.replace("side: vtn", "side: VTN"), "EV-01: 'VTN' is not a valid Side"),
        (ENTRY.replace("level: M", "level: X"), "EV-01: 'X' is not a valid Level"),
        (ENTRY.replace("level: M", "level: [M]"), "EV-01: .* is not a valid Level"),
        (ENTRY.replace("EV-01", "EV-1"), "EV-1: an id of this chapter"),
        (ENTRY.replace("EV-01", "OP-01"), "OP-01: an id of this chapter is EV- and two digits"),
        (ENTRY.replace("text: Numbered.", "text: 7"), "EV-01: a text"),
        (ENTRY.replace("check: Read.", "check:"), "EV-01: a text"),
        (ENTRY.replace('[R2, "§8.2"]', "R2"), "EV-01: source"),
        (ENTRY.replace('[R2, "§8.2"]', "[]"), "EV-01: source"),
        (ENTRY.replace('[R2, "§8.2"]', "[2]"), "EV-01: a text"),
        (ENTRY + "  decision:\n", "EV-01: a text"),
        (ENTRY + "  notes: more\n", "EV-01: missing or unknown: notes"),
        (ENTRY + ENTRY, "EV-01 stands in the catalogue twice"),
        (ENTRY.replace("EV-01", "EV-02") + ENTRY, "EV-01 stands behind EV-02"),
        (ENTRY + ENTRY.replace("EV-01", "GN-07").replace("chapter: EV", "chapter: GN"), "GN-07 stands behind EV-01"),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    with pytest.raises(InvalidError, match=fault):
        read(text)


def test_every_rule_that_is_cited_exists() -> None:
    ids = {rule.id for rule in load()}
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*.*"))]
    cited = {
        (path.relative_to(ROOT).as_posix(), rule_id)
        for path in paths
        if path.suffix in _READ and path.is_file() and path != Path(__file__)
        for rule_id in _CITED.findall(path.read_text("utf-8"))
    }
    assert {rule_id for _, rule_id in cited} >= {"EV-12", "SE-07"}
    assert sorted((path, rule_id) for path, rule_id in cited if rule_id not in ids) == []
