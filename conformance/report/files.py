"""The run as JSON and as JUnit XML, for machines."""

import json
from typing import Any
from xml.etree import ElementTree as ET

from conformance.record import shown_exchange
from conformance.report.summary import Row, Summary
from conformance.verdict import Verdict, printable


def as_json(summary: Summary) -> str:
    """Return rows of subject, rule, level, verdict, reason, and the exchanges of failures; then what was not run."""
    return json.dumps(
        {
            "subject": summary.subject,
            "rows": [_shown(summary.subject, row) for row in summary.rows],
            "not_run": [{"rule": rule, "reason": reason} for rule, reason in summary.unrun.items()],
        },
        indent=1,
        ensure_ascii=False,
    )


def _shown(subject: str, row: Row) -> dict[str, Any]:
    return {
        "subject": subject,
        "rule": row.result.rule,
        "level": row.level.value,
        "verdict": row.result.verdict.value,
        "reason": row.result.reason,
        "exchanges": [shown_exchange(exchange) for exchange in row.result.exchanges],
    }


def as_junit(summary: Summary) -> str:
    """Return a JUnit test suite a chapter, a test case a rule. What is no must or should is skipped when it fails."""
    suites = ET.Element("testsuites", name=printable(summary.subject))
    for chapter in summary.chapters:
        rows = [row for row in summary.rows if row.chapter == chapter]
        failures = sum(row in summary.broken for row in rows)
        skipped = sum(row.result.verdict is not Verdict.PASS for row in rows) - failures
        suite = ET.SubElement(
            suites, "testsuite", name=chapter, tests=str(len(rows)), failures=str(failures), skipped=str(skipped)
        )
        for row in rows:
            case = ET.SubElement(suite, "testcase", classname=chapter, name=f"{row.result.rule} {row.text}")
            if row in summary.broken:
                ET.SubElement(case, "failure", message=printable(row.result.reason)).text = _messages(row)
            elif row.result.verdict is not Verdict.PASS:
                ET.SubElement(case, "skipped", message=printable(f"{row.result.verdict.value}: {row.result.reason}"))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


def _messages(row: Row) -> str:
    shown = [json.dumps(shown_exchange(exchange), indent=1, ensure_ascii=False) for exchange in row.result.exchanges]
    return printable("\n".join(shown))
