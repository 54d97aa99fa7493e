"""The run as a table for people at a terminal."""

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.fleet import Lives
from conformance.report.summary import Row, Summary
from conformance.verdict import Verdict, printable

_MOST_TROUBLES: Final = 10

_STYLES: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.NOT_OBSERVABLE: "yellow",
}


def show(summary: Summary, console: Console, *, every: bool = False) -> None:
    """Print what did not pass, or with a note (with `every` all rules), then the chapters with their counts."""
    rows = [row for row in summary.rows if every or row.result.reason or row.result.verdict is not Verdict.PASS]
    if rows:
        console.print(_rules(rows))
    console.print(_chapters(summary))
    if summary.unrun:
        console.print(f"{len(summary.unrun)} more rules have no check: {', '.join(summary.unrun)}")
    unseen = summary.counts()[Verdict.NOT_OBSERVABLE]
    verdict = Text(f"No must and no should was seen broken; {unseen} rules were not observable.", "green")
    if summary.broken:
        verdict = Text(f"Broken: {', '.join(row.result.rule for row in summary.broken)}", "bold red")
    console.print(verdict)


def show_fleet(outcome: Lives, console: Console) -> None:
    """Print what came of a fleet."""
    rows = Table(
        "Message", "sent", "a second", "refused", "failed", "median ms", "95 % ms", "longest ms",
        title=Text(f"{outcome.registered} of {outcome.vens} VENs registered"),
    )  # fmt: skip
    for row in outcome.rows:
        times = (f"{value:.1f}" if value is not None else "" for value in (row.median_ms, row.p95_ms, row.longest_ms))
        rows.add_row(
            row.name, f"{row.sent:,}", f"{row.sent / outcome.lasted_s:.1f}", str(row.refused), str(row.failed), *times
        )
    console.print(rows)
    for trouble, count in sorted(outcome.troubles.items(), key=lambda item: -item[1])[:_MOST_TROUBLES]:
        console.print(Text(f"{count:,} times: {printable(trouble)}", "bold red"))


def _rules(rows: Iterable[Row]) -> Table:
    table = Table("Rule", "Level", "Verdict", "What it asks, and what was seen")
    for row in rows:
        told = Text(row.text)
        if row.result.reason:
            told.append(f"\n{row.result.reason}", _STYLES[row.result.verdict])
        verdict = Text(row.result.verdict.value, _STYLES[row.result.verdict])
        table.add_row(row.result.rule, row.level.value, verdict, told)
    return table


def _chapters(summary: Summary) -> Table:
    table = Table("Chapter", *(verdict.value for verdict in Verdict), title=Text(summary.subject))
    for chapter in (*summary.chapters, None):
        counts = summary.counts(chapter)
        table.add_row(chapter or "all", *(str(counts[verdict]) for verdict in Verdict))
    return table
