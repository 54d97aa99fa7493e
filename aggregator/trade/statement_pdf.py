"""A monthly statement as PDF (extra `[pdf]`): plain words, a drawing, every activation, disputes, what differs.

The same statement gives the same bytes. ReportLab is imported only here, and only when a PDF is asked for. Text that
others wrote is escaped: ReportLab reads markup in paragraphs.
"""

import io
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, Final
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from aggregator.pdf_fonts import BOLD, PLAIN, register_fonts
from aggregator.trade.statements import StatedActivation, Statement, StatementChange
from metrics.days import zone_named

_MOST_ROWS: Final = 1000
"""More activations are counted and left to the CSV, more changes to the JSON: a table takes a millisecond a row."""
_WIDTH: Final = 487.0
"""Points between the margins of A4."""
_MOST_BARS: Final = 62
_MOST_WORDS: Final = 500
_UNKNOWN: Final = "\N{EN DASH}"
_INK, _PALE, _ORDERED, _PAID = "#1c2733", "#d7dde3", "#8a97a5", "#0b62a4"


def to_pdf(stated: Statement, brp: str) -> bytes:
    """Return a statement as PDF. Takes CPU: use a thread. Raises UnavailableError without the extra."""
    register_fonts()
    platypus = import_module("reportlab.platypus")
    out = io.BytesIO()
    title = f"Statement {stated.month}, version {stated.version}"
    sheet = platypus.SimpleDocTemplate(
        out, title=title, author="evenload", invariant=1, leftMargin=48, rightMargin=48, topMargin=48, bottomMargin=48
    )
    sheet.build(_story(stated, brp, title), onFirstPage=_footer(stated), onLaterPages=_footer(stated))
    return out.getvalue()


def _text(words: str, *, size: int = 9, bold: bool = False) -> Any:
    style = import_module("reportlab.lib.styles").ParagraphStyle(
        "text", fontName=BOLD if bold else PLAIN, fontSize=size, leading=size * 1.35, textColor=_INK, spaceAfter=4
    )
    style.splitLongWords = 1
    style.spaceBefore, style.keepWithNext = (size, 1) if bold else (0, 0)
    return import_module("reportlab.platypus").Paragraph(escape(words), style)


def _footer(stated: Statement) -> Any:
    def draw(canvas: Any, sheet: Any) -> None:
        canvas.setFont(PLAIN, 7)
        canvas.drawString(48, 28, f"{stated.id}, version {stated.version}")
        canvas.drawRightString(sheet.pagesize[0] - 48, 28, f"page {canvas.getPageNumber()}")

    return draw


def _story(stated: Statement, brp: str, title: str) -> list[Any]:
    content, zone = stated.content, zone_named(stated.content.time_zone)
    rows, changes = content.activations[:_MOST_ROWS], stated.changes[:_MOST_ROWS]
    story = [
        _text(title, size=18, bold=True),
        _text(f"{brp}, contract {stated.contract_id}"),
        _text(f"{_local(content.starts_at, zone)} to {_local(content.ends_at, zone)} ({content.time_zone})"),
        *(_text(words, size=11) for words in _in_words(stated, zone)),
    ]
    settled = [row for row in rows if row.figures is not None]
    if settled:
        which = "each activation" if len(settled) <= _MOST_BARS else f"the last {_MOST_BARS} activations"
        story += [_text(f"Ordered, and delivered and paid, of {which} (kWh)", bold=True)]
        story += [_drawing(settled[-_MOST_BARS:], zone)]
    if rows:
        heads = ("Start", "Settlement", "Ordered kWh", "Paid kWh", "± kWh", "Net")
        story += [_text("Activations", size=12, bold=True), _table(heads, [_cells(row, zone) for row in rows])]
    if len(rows) < len(content.activations):
        story.append(_text(f"{len(content.activations) - len(rows)} more, with their disputes, are in the CSV."))
    disputes = [dispute for row in rows for dispute in row.disputes]
    if disputes:
        story.append(_text("Disputes", size=12, bold=True))
        cells = [
            (
                f"{dispute.settlement_id}, version {dispute.settlement_version}",
                dispute.words[:_MOST_WORDS],
                dispute.state,
                (dispute.answer or _UNKNOWN)[:_MOST_WORDS],
                dispute.effect or "not known yet",
            )
            for dispute in disputes
        ]
        story.append(_table(("Settlement", "Dispute", "State", "Answer", "Effect on net"), cells))
    if changes:
        story.append(_text(f"What differs from version {stated.version - 1}", size=12, bold=True))
        told = [
            (
                it.activation_id or (f"sum in {it.currency}" if it.currency else "statement"),
                it.what,
                it.before or _UNKNOWN,
                it.after or _UNKNOWN,
            )
            for it in changes
        ]
        story.append(_table(("Of", "Value", "Before", "Now"), told))
        if len(changes) < len(stated.changes):
            story.append(_text(f"{len(stated.changes) - len(changes)} more are in the JSON."))
    return story


def _subject(change: StatementChange) -> str:
    return change.activation_id or (f"sum in {change.currency}" if change.currency else "statement")


def _in_words(stated: Statement, zone: ZoneInfo) -> list[str]:
    content = stated.content
    words = [
        f"{each.activations} of {len(content.activations)} activations are settled. Of {each.ordered_kwh} kWh ordered, "
        f"{each.delivered_kwh} kWh were delivered and are paid"
        + (f", give or take {each.uncertainty_kwh} kWh at most" if each.uncertainty_kwh is not None else "")
        + f". The price is {each.price} {each.currency}, the penalty for what was missing {each.penalty} "
        f"{each.currency}: {'you get' if each.net.startswith('-') else 'you owe'} {each.net.lstrip('-')} "
        f"{each.currency}."
        for each in content.sums
    ] or ["Nothing is settled in this month."]
    if content.final:
        words.append("This statement is final.")
    elif content.final_at is not None:
        words.append(f"This statement is provisional; it can be final from {_local(content.final_at, zone)} on.")
    else:
        words.append("This statement is provisional: something is not settled yet, or a dispute is open.")
    return words


def _cells(row: StatedActivation, zone: ZoneInfo) -> tuple[str, ...]:
    state = "not settled yet"
    if row.settlement_version is not None:
        state = f"version {row.settlement_version}, {'final' if row.final else 'provisional'}"
    start, figures = _local(row.starts_at, zone), row.figures
    if figures is None:
        return (start, state, _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)
    width, net = figures.uncertainty_kwh or _UNKNOWN, f"{figures.net} {figures.currency}"
    return (start, state, figures.ordered_kwh, figures.delivered_kwh, width, net)


def _local(when: datetime, zone: ZoneInfo) -> str:
    return when.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    platypus = import_module("reportlab.platypus")
    cells = [[_text(it, size=7, bold=True) for it in heads], *([_text(it, size=7) for it in row] for row in rows)]
    table = platypus.LongTable(cells, colWidths=[_WIDTH / len(heads)] * len(heads), repeatRows=1)
    table.setStyle([("LINEBELOW", (0, 0), (-1, -1), 0.5, _PALE), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return table


def _drawing(rows: Sequence[StatedActivation], zone: ZoneInfo) -> Any:
    """Draw two bars for each activation, on one scale that begins at zero."""
    shapes, colors = import_module("reportlab.graphics.shapes"), import_module("reportlab.lib.colors")
    width, height, floor, left = _WIDTH, 150.0, 26.0, 44.0
    sheet = shapes.Drawing(width, height)
    pairs = [(float(row.figures.ordered_kwh), float(row.figures.delivered_kwh)) for row in rows if row.figures]
    most = max((max(pair) for pair in pairs), default=0.0) or 1.0
    tall, step = height - floor - 24, (width - left) / len(rows)

    def label(x: float, y: float, words: str, anchor: str = "middle") -> None:
        sheet.add(shapes.String(x, y, words, fontName=PLAIN, fontSize=7, textAnchor=anchor))

    for part in (0.0, 0.5, 1.0):
        y = floor + part * tall
        sheet.add(shapes.Line(left, y, width, y, strokeColor=colors.HexColor(_PALE), strokeWidth=0.5))
        label(left - 4, y - 2, f"{most * part:.4g}", "end")
    every = max(1, -(-len(rows) // 8))
    bar = min(step * 0.4, 40.0)
    for number, (row, pair) in enumerate(zip(rows, pairs, strict=True)):
        middle = left + (number + 0.5) * step
        for x, value, color in ((middle - bar, pair[0], _ORDERED), (middle, pair[1], _PAID)):
            sheet.add(
                shapes.Rect(x, floor, bar, value / most * tall, fillColor=colors.HexColor(color), strokeColor=None)
            )
        if number % every == 0:
            label(middle, floor - 11, row.starts_at.astimezone(zone).strftime("%d %b %H:%M"))
    for x, words, color in ((left, "ordered", _ORDERED), (left + 90, "delivered and paid", _PAID)):
        sheet.add(shapes.Rect(x, height - 12, 8, 8, fillColor=colors.HexColor(color), strokeColor=None))
        label(x + 12, height - 11, words, "start")
    return sheet
