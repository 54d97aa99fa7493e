"""What the benchmark measures, compares and writes; test_tiny_run.py has it run."""

import pytest

from benchmarks import gateway
from benchmarks.__main__ import main
from benchmarks.cases import CASES, Figure
from benchmarks.load import DriveError, Ven
from benchmarks.results import compare, table, write_page


def test_a_case_that_there_is_not_is_refused(capsys):
    assert main(["--cases", "poll,flying"]) == 2
    assert "No such case: flying" in capsys.readouterr().err


def test_what_is_no_checkout_is_no_peer(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--cases", "poll", "--against", str(tmp_path)])
    assert "is no checkout of evenload" in capsys.readouterr().err


def test_against_another_checkout_the_table_names_it():
    row = compare(CASES["poll"], [Figure(99.0, 1.0, 0.1)], [Figure(100.0, 1.0, 0.1)])
    assert "| before |" in table([row], "before")
    assert "**0.99** (0.99 to 0.99)" in table([row], "before")


def test_ratios_are_of_pairs_and_say_how_many_times_better():
    fast, slow = [Figure(value, 1.0, 0.1) for value in (10.0, 30.0)], [Figure(5.0, 2.0, 0.2)] * 2
    row = compare(CASES["poll"], fast, slow)
    assert (row.ratio.least, row.ratio.median, row.ratio.most) == (2.0, 4.0, 6.0)
    row = compare(CASES["memory-1000"], fast, slow)
    assert (row.ratio.least, row.ratio.most) == (5 / 30, 0.5)
    assert row.driver_cpu == 0.2


def test_the_table_replaces_the_one_before(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text("a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nb\n")
    row = compare(CASES["dispatch-1000"], [Figure(0.5, 400.0, 0.1)], [Figure(1.5, 900.0, 0.1)])
    write_page(page, [row], {"rounds": 1})
    text = page.read_text()
    assert text.startswith("a\n<!-- measured: begin -->\n")
    assert text.endswith("<!-- measured: end -->\nb\n")
    assert "| dispatch-1000 | 0.50 s (0.50 to 0.50) | 1.50 s (1.50 to 1.50) | **3.0** (3.0 to 3.0) |" in text
    assert "old" not in text


@pytest.mark.parametrize("answer", [b"", b"<oadrResponse><responseCode>452</responseCode></oadrResponse>"])
def test_an_answer_that_is_not_the_right_one_ends_the_measurement(answer):
    script = gateway.poll_for_ever(Ven("home", "ven_1"))
    next(script)
    with pytest.raises(DriveError, match="Expected oadrResponse with 200"):
        script.send(answer)
