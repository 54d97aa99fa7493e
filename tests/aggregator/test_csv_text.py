"""CSV: what a spreadsheet would take for a formula is a word, and a number stays one."""

from datetime import UTC, datetime

from aggregator.csv_text import csv_text


def test_numbers_stay_numbers_and_formulas_become_words():
    row = [-1.4e-14, -5, None, True, datetime(2026, 1, 31, tzinfo=UTC), "=1+1", "-2.5", "-x", "a,b"]
    text = csv_text(list("abcdefghi"), [row])
    assert text.splitlines()[1] == "-1.4e-14,-5,,true,2026-01-31T00:00:00Z,'=1+1,-2.5,'-x,\"a,b\""
