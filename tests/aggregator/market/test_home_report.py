"""The PDF for a household: what it says is read back by another library than the one that wrote it."""

import io
import re
import sys
from dataclasses import replace

import pytest
from pypdf import PdfReader

from aggregator.trade import home_report
from core.direction import Direction
from core.errors import NotFoundError, UnavailableError
from core.spans import Duration
from metrics.uncertainty import Uncertainty

from .conftest import SETTINGS
from .test_reports import END, delivered, sold


@pytest.fixture
def parameters():
    return {"settlement_interval": Duration.of(minutes=30)}


def text_of(report):
    """Return the words on the only page."""
    (page,) = PdfReader(io.BytesIO(home_report.to_pdf(report))).pages
    return re.sub(r"\s+", " ", page.extract_text())


async def ran(trade):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 1000.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    return one.dispatch_id, called


async def test_a_household_reads_what_it_delivered_and_how_sure_that_is(trade):
    dispatch_id, called = await ran(trade)
    report = await home_report.read(trade.world.db, dispatch_id, called[1])
    text = text_of(report)
    ven = report.ven
    assert f"Result of {ven.ven_name}" in text
    assert "On 2026-01-12, from 13:00 to 14:00 (UTC), your home was asked to use less electricity." in text
    assert f"delivered 0.75 kWh of the {ven.ordered_wh / 1000:.2f} kWh" in text
    assert "In 9 of 10 cases the true value lies between 0.75 kWh and 0.75 kWh" in text, "a steady load leaves no doubt"
    assert ven.days_used[0] in text
    assert "provisional (version 1)" in text
    for word in ("Mean power, kW", "without the event (estimate)", "13:30", "2.00"):
        assert word in text
    assert home_report.to_pdf(report) == home_report.to_pdf(report)
    final = text_of(replace(report, final=True, doubt=Uncertainty(120.0, -40.0, 11), direction=Direction.INCREASE))
    assert "This result is final (version 1)." in final
    assert "lies between 0.67 kWh and 0.91 kWh, judged by 11 days" in final
    assert "credits 0.04 kWh too little in the mean" in final
    assert "asked to use more electricity" in final
    assert "cannot be said yet" in text_of(replace(report, doubt=None))


async def test_who_opted_out_or_is_not_known_is_told_so(trade):
    dispatch_id, called = await ran(trade)
    report = await home_report.read(trade.world.db, dispatch_id, called[0])
    assert "Your home opted out of this event." in text_of(report)
    ven = replace(
        report.ven, opt=None, delivered_wh=None, why_unknown="Readings of the event are missing.", intervals=()
    )
    text = text_of(replace(report, ven=ven))
    assert "is not known. Readings of the event are missing." in text
    assert "Mean power" not in text
    assert "did not take part" in text_of(replace(report, ven=replace(report.ven, opt=None)))
    with pytest.raises(NotFoundError):
        await home_report.read(trade.world.db, dispatch_id, "ven_none")
    with pytest.raises(NotFoundError):
        await home_report.read(trade.world.db, dispatch_id, called[0], version=9)


@pytest.mark.parametrize("name", ["<b>&amp;", "a\u202eb\nc", "x" * 500, "\u00c5ngstr\u00f6m", "\ud800", "\u4e2d"])
async def test_a_name_is_words_and_nothing_else(trade, name):
    dispatch_id, called = await ran(trade)
    report = await home_report.read(trade.world.db, dispatch_id, called[1])
    text = text_of(replace(report, ven=replace(report.ven, ven_name=name)))
    assert "your home was asked" in text
    assert {"<b>&amp;": name, "a\u202eb\nc": "a?b?c", "\u00c5ngstr\u00f6m": name}.get(name, "Result of") in text


async def test_without_the_library_it_says_what_to_install(trade, monkeypatch):
    dispatch_id, called = await ran(trade)
    report = await home_report.read(trade.world.db, dispatch_id, called[1])
    monkeypatch.setitem(sys.modules, "reportlab.pdfbase.pdfmetrics", None)
    with pytest.raises(UnavailableError, match="evenload\\[pdf\\]"):
        home_report.to_pdf(report)
