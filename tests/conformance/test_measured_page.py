"""The page that `make conformance` writes."""

from conformance.check import check
from conformance.report.summary import summary
from conformance.verdict import Result, Verdict
from docs.reference.measure_conformance import merged, page


@check("EV-12", "x")
def _first(_transcript):
    """Events come in order."""


@check("RG-05", "x")
def _second(_transcript):
    """A registration is answered in full."""


def _run(subject, reason):
    results = [Result("EV-12", Verdict.FAIL, reason), Result("RG-05", Verdict.PASS)]
    return summary(subject, (_first, _second), results, {"TR-01": "no push", "XM-01": "no XMPP", "XM-02": "no XMPP"})


def test_the_page_counts_by_chapter_and_lists_what_did_not_pass():
    lines = page([_run("evenload", "two | three"), _run("another", "<b>\n" + "x" * 500)]).splitlines()
    assert lines[0] == "# Conformance, measured"
    assert lines.count("| EV | 0 | 1 | 0 | 0 |") == 2
    assert lines.count("| all | 1 | 1 | 0 | 0 |") == 2
    assert "| EV-12 | M | fail | two / three |" in lines
    assert not [line for line in lines if line.startswith("| RG-05")]
    (odd,) = (line for line in lines if "&lt;b>" in line)
    assert len(odd) < 300
    assert "- XM-01, XM-02: no XMPP." in lines


def test_of_two_runs_the_one_counts_that_saw_more():
    def results(*verdicts):
        return [Result(f"SE-{number}", verdict) for number, verdict in enumerate(verdicts)]

    plain = results(Verdict.NOT_OBSERVABLE, Verdict.NOT_OBSERVABLE, Verdict.FAIL, Verdict.PASS, Verdict.PASS)
    secure = results(Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.NOT_OBSERVABLE)
    assert merged(plain, secure) == results(Verdict.PASS, Verdict.FAIL, Verdict.FAIL, Verdict.PASS, Verdict.PASS)
