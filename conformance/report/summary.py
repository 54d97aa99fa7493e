"""What a run came to: what was tried, and whether the VTN holds what it must."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conformance import catalogue
from conformance.catalogue import Level
from conformance.check import Check
from conformance.verdict import Result, Verdict

_BINDING: Final = frozenset({Level.MUST, Level.SHOULD})


@dataclass(frozen=True, slots=True)
class Row:
    """A check and its result. `level` and `rule_text` are the catalogue's; rules of the kit's own (SX) are a should."""

    check: Check
    result: Result
    level: Level = Level.SHOULD
    rule_text: str = ""

    @property
    def chapter(self) -> str:
        """The two letters with which the rule's id begins."""
        return self.result.rule.partition("-")[0]

    @property
    def text(self) -> str:
        """What the check asks, in a line."""
        return (self.check.judge.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows of a run, against `subject`; `unrun` names rules without a check, with the reason."""

    subject: str
    rows: tuple[Row, ...]
    unrun: Mapping[str, str]

    @property
    def chapters(self) -> tuple[str, ...]:
        """The chapters that occur, in order."""
        return tuple(dict.fromkeys(row.chapter for row in self.rows))

    def counts(self, chapter: str | None = None) -> Counter[Verdict]:
        """Return how often each verdict occurs, in one chapter or in all."""
        return Counter(row.result.verdict for row in self.rows if chapter in (None, row.chapter))

    @property
    def broken(self) -> tuple[Row, ...]:
        """The musts and shoulds that failed."""
        return tuple(row for row in self.rows if row.result.verdict is Verdict.FAIL and row.level in _BINDING)


def summary(subject: str, checks: Sequence[Check], results: Sequence[Result], unrun: Mapping[str, str]) -> Summary:
    """Put checks, their results and the catalogue together. Raises InvalidError for a broken catalogue."""
    rules = {rule.id: rule for rule in catalogue.load()}
    rows = []
    for check, result in zip(checks, results, strict=True):
        rule = rules.get(result.rule)
        rows.append(Row(check, result) if rule is None else Row(check, result, rule.level, rule.text))
    return Summary(subject, tuple(rows), unrun)
