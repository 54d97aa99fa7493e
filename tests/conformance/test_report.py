"""How a run is told."""

import io
import json
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from lxml import html
from rich.console import Console

from conformance.check import check
from conformance.exchange import Answer, Exchange, Request, Transcript
from conformance.report import files, page, table
from conformance.report.summary import summary
from conformance.verdict import Failed, Result, Verdict, printable

_HOSTILE = "<script>alert(1)</script>\x00\x1b[31m & \udcff"


@check("EV-12", "x")
def _must(_transcript):
    """Events come in order."""


@check("RP-53", "x")
def _may(_transcript):
    """A report may come twice."""


@check("SX-01", "x")
def _own(_transcript):
    """No DOCTYPE."""


def _run(*verdicts):
    at = datetime(2026, 1, 12, tzinfo=UTC)
    body = _HOSTILE.encode("utf-8", "surrogateescape")
    exchange = Exchange("step", "a", Request("POST", "/x", (), b"<a/>"), Answer(200, (), body), "", at)
    checks = (_must, _may, _own)
    results = [
        Result(each.rule, verdict, printable(_HOSTILE) if verdict is not Verdict.PASS else "", (exchange,))
        for each, verdict in zip(checks, verdicts, strict=True)
    ]
    return summary("https://<vtn>", checks, results, {"TR-01": "not built"})


@pytest.mark.parametrize(
    ("verdicts", "broken"),
    [
        ((Verdict.PASS, Verdict.PASS, Verdict.PASS), []),
        ((Verdict.FAIL, Verdict.FAIL, Verdict.FAIL), ["EV-12", "SX-01"]),
        ((Verdict.NOT_OBSERVABLE, Verdict.FAIL, Verdict.NOT_APPLICABLE), []),
    ],
)
def test_what_must_or_should_hold_decides(verdicts, broken):
    assert [row.result.rule for row in _run(*verdicts).broken] == broken


def test_the_table_has_what_passed_with_a_note():
    out = io.StringIO()
    noted = summary(
        "a VTN", (_must, _may), [Result("EV-12", Verdict.PASS, "by SHA-1"), Result("RP-53", Verdict.PASS)], {}
    )
    table.show(noted, Console(file=out, width=120))
    assert "by SHA-1" in out.getvalue()
    assert "RP-53" not in out.getvalue()


def test_the_table_names_what_did_not_pass():
    console = Console(file=io.StringIO(), width=200)
    table.show(_run(Verdict.FAIL, Verdict.PASS, Verdict.NOT_OBSERVABLE), console)
    text = console.file.getvalue()
    assert "Broken: EV-12" in text
    assert "RP-53" not in text
    assert "1 more rules have no check: TR-01" in text
    assert "\x1b" not in text, "what a VTN sends does not steer a terminal"


def test_what_a_check_says_is_printable():
    @check("EV-12", "x")
    def fails(_transcript):
        raise Failed(_HOSTILE)

    assert fails.of_transcript(Transcript("x")).reason == "<script>alert(1)</script>\ufffd\ufffd[31m & \ufffd"


def test_junit_has_failures_and_what_was_skipped():
    root = ET.fromstring(files.as_junit(_run(Verdict.FAIL, Verdict.FAIL, Verdict.PASS)))  # noqa: S314  our own
    cases = {case.get("name").split()[0]: [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {"EV-12": ["failure"], "RP-53": ["skipped"], "SX-01": []}
    assert [suite.get("failures") for suite in root] == ["1", "0", "0"]


def test_json_has_a_row_a_rule():
    shown = json.loads(files.as_json(_run(Verdict.FAIL, Verdict.PASS, Verdict.PASS)))
    assert [(row["rule"], row["level"], row["verdict"]) for row in shown["rows"]] == [
        ("EV-12", "M", "fail"),
        ("RP-53", "O", "pass"),
        ("SX-01", "S", "pass"),
    ]
    assert shown["not_run"] == [{"rule": "TR-01", "reason": "not built"}]


def test_nothing_that_a_vtn_sends_is_markup_on_the_page():
    text = page.as_html(_run(Verdict.FAIL, Verdict.PASS, Verdict.PASS))
    root = html.fromstring(text.encode("utf-8", "replace"))
    assert root.xpath("//script | //link | //img | //@src | //iframe") == []
    assert any("alert(1)" in each for each in root.xpath("//pre/text()"))
    assert root.xpath("//a/@href") == ["#EV-12"]
    assert root.xpath("//section/@id") == ["EV-12"]
