"""Statements as PDF, read back with another library: what stands in them, hostile words, sizes, the same bytes."""

import io
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pypdf
import pytest

from aggregator.trade.settlements import SettlementFigures
from aggregator.trade.statement_pdf import to_pdf
from aggregator.trade.statements import (
    Content,
    StatedActivation,
    StatedDispute,
    Statement,
    StatementChange,
    StatementSum,
)
from core.errors import UnavailableError

FIRST = datetime(2026, 3, 28, 17, tzinfo=UTC)
FIGURES = SettlementFigures("83.2", "82.9", "0.3", "EUR", "0.25", "0.4", "20.72", "0.12", "20.60", "4.1", "-0.35")


def row(number, **more):
    start = FIRST + timedelta(days=number)
    disputes = more.pop("disputes", ())
    figures = more.pop("figures", FIGURES)
    return StatedActivation(
        f"act_{number}", "reduce", start, start + timedelta(hours=1), start.isoformat(), False, f"stl_{number}", 1, 1,
        False, None, figures, disputes,
    )  # fmt: skip


def statement(*rows, changes=(), **more):
    total = StatementSum("EUR", len(rows), "166.4", "165.8", "0.6", "8.2", "41.44", "0.24", "41.20")
    content = Content("prg_1", "Europe/Paris", FIRST, FIRST + timedelta(days=30), False, None, rows, (total,))
    return Statement("stm_1", "ctr_1", "pty_1", "2026-03", 2, FIRST, replace(content, **more), changes)


def read(raw):
    return " ".join(" ".join(one.extract_text().split()) for one in pypdf.PdfReader(io.BytesIO(raw)).pages)


def test_it_says_in_words_what_the_month_cost():
    text = read(to_pdf(statement(row(0), row(1)), "Balance & Cö"))
    assert "Balance & Cö" in text
    assert "2 of 2 activations are settled. Of 166.4 kWh ordered, 165.8 kWh were delivered and are paid" in text
    assert "give or take 8.2 kWh at most" in text
    assert "you owe 41.20 EUR" in text
    assert "provisional" in text
    assert "2026-03-28 18:00 CET" in text
    assert "2026-03-29 19:00 CEST" in text, "clocks went forward in between"
    assert "stm_1, version 2" in text


def test_disputes_and_differences_stand_in_it():
    dispute = StatedDispute("stl_0", 1, FIRST, "<b>Less</b> & 'less'</para>", "answered", FIRST, "No.", "0.00")
    change = StatementChange("act_0", None, "net", "20.60", "19.00")
    text = read(to_pdf(statement(row(0, disputes=(dispute,)), changes=(change,)), "B"))
    assert "<b>Less</b> & 'less'</para>" in text, "what others wrote is no markup"
    assert "What differs from version 1" in text
    assert "19.00" in text


def test_the_same_statement_is_the_same_bytes():
    one = statement(row(0), row(1))
    assert to_pdf(one, "B") == to_pdf(one, "B")


def test_an_empty_month_and_one_without_figures():
    assert "Nothing is settled in this month." in read(to_pdf(statement(sums=()), "B"))
    assert "not settled yet" in read(to_pdf(statement(replace(row(0), settlement_version=None, figures=None)), "B"))


def test_a_long_month_goes_over_pages_and_is_bounded():
    raw = to_pdf(statement(*(row(number) for number in range(1003))), "B")
    assert "3 more, with their disputes, are in the CSV." in read(raw)
    assert len(raw) < 1_000_000


def test_a_long_word_does_not_break_the_page():
    dispute = StatedDispute("stl_0", 1, FIRST, "x" * 2000, "open", None, "\x00\x07漢" * 900, None)
    assert "xxx" in read(to_pdf(statement(row(0, disputes=(dispute,))), "n" * 300))


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "reportlab.pdfbase.pdfmetrics", None)
    with pytest.raises(UnavailableError, match=r"evenload\[pdf\]"):
        to_pdf(statement(), "B")
