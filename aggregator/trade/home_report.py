"""What one home did in one event, for its household: from the stored result, in plain words, with a chart, as a PDF.

The library that draws it is an extra (`pip install 'evenload[pdf]'`), and is imported only when a PDF is asked for.
"""

import asyncio
import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from typing import Any, Final
from zoneinfo import ZoneInfo

from aggregator.pdf_fonts import BOLD, PLAIN, register_fonts
from aggregator.trade import uncertainty
from core.direction import Direction
from core.errors import NotFoundError
from metrics.days import zone_named
from metrics.presets import PRESETS
from metrics.uncertainty import Uncertainty
from openadr.model.opt import OptType
from vtn.services import dispatch, evaluation, evaluation_view, programme
from vtn.services.evaluation import Computed
from vtn.services.evaluation_result import VenResult
from vtn.store.database import Database

_LONGEST_NAME: Final = 60
_MOST_DAYS: Final = 12
_A4: Final = (595.28, 841.89)
_MARGIN: Final = 56.0
_WIDTH: Final = _A4[0] - 2 * _MARGIN
_CHART_HEIGHT: Final = 190.0
_AROUND_CHART: Final = 50.0
_MOST_TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class HomeReport:
    """What a household is told. `doubt`: how far the energy is known; None: too few days without an event."""

    programme: str
    zone: ZoneInfo
    direction: Direction
    starts_at: datetime
    ends_at: datetime
    version: int
    final: bool
    citation: str
    ven: VenResult
    doubt: Uncertainty | None


async def read(db: Database, dispatch_id: str, ven_id: str, version: int | None = None) -> HomeReport:
    """Return what a VEN did by a stored result, by default the newest. Raises NotFoundError."""
    async with db.read() as conn:
        ordered = await dispatch.get(conn, dispatch_id)
        rules = await programme.get(conn, ordered.programme_id, ordered.programme_version)
        result = await evaluation.stored(conn, dispatch_id, version)
        ven = next((one for one in result.vens if one.ven_id == ven_id), None)
        if ven is None:
            raise NotFoundError("This VEN has no result of this dispatch.")
        method = PRESETS[result.method.partition("/")[0]]
        computed = Computed(replace(result, vens=(ven,)), method, "")
        inputs = await uncertainty.inputs(conn, computed, rules)
        period = (await evaluation_view.workings(conn, dispatch_id, ven_id)).ordered.period  # its own may end earlier
    direction = Direction(ordered.direction or Direction.REDUCE)
    doubt = None if inputs is None else await asyncio.to_thread(uncertainty.estimated, inputs, direction)
    return HomeReport(
        rules.name,
        zone_named(rules.parameters.time_zone),
        direction,
        period.start,
        period.end or period.start,
        result.version,
        result.final_at is not None,
        method.citation,
        ven,
        doubt,
    )


def sentences(report: HomeReport) -> Iterator[str]:
    """Yield what the report says, a paragraph at a time."""
    ven, zone = report.ven, report.zone
    start, end = report.starts_at.astimezone(zone), report.ends_at.astimezone(zone)
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%H:%M on %Y-%m-%d}"
    verb = "less" if report.direction is Direction.REDUCE else "more"
    when = f"On {start:%Y-%m-%d}, from {start:%H:%M} to {until} ({zone.key})"
    yield f"{when}, your home was asked to use {verb} electricity."
    if ven.opt == OptType.OUT and not ven.counts:
        yield "Your home opted out of this event. That is your right; nothing is credited for it."
    elif ven.delivered_wh is None:
        yield f"What your home delivered is not known. {ven.why_unknown or ''}".rstrip()
    elif not ven.counts:
        yield "Your home did not take part in this event, so nothing is credited for it."
    else:
        share = f", which is {ven.delivered_wh / ven.ordered_wh:.0%}" if ven.ordered_wh > 0 else ""
        yield (
            f"Your home delivered {_kwh(ven.delivered_wh)} of the {_kwh(ven.ordered_wh)} that were asked for{share}. "
            f"Delivered means: used {verb} than it would have without the event."
        )
        yield _doubt(ven.delivered_wh, report.doubt)
    if ven.days_used:
        days = ", ".join(ven.days_used[:_MOST_DAYS])
        yield (
            "What it would have used is an estimate: the mean of similar days without an event "
            f"({days}{', ...' if len(ven.days_used) > _MOST_DAYS else ''}). Method: {report.citation}"
        )
    if report.final:
        yield f"This result is final (version {report.version})."
    else:
        yield f"This result is provisional (version {report.version}): late meter readings may still change it."


def _doubt(delivered_wh: float, doubt: Uncertainty | None) -> str:
    if doubt is None:
        return "How exact that is cannot be said yet: there are too few days without an event to compare with."
    middle_wh = delivered_wh - doubt.bias_wh
    low_wh, high_wh = middle_wh - doubt.half_width_wh, middle_wh + doubt.half_width_wh
    text = (
        f"How exact is that? In 9 of 10 cases the true value lies between {_kwh(low_wh)} and {_kwh(high_wh)}, "
        f"judged by {doubt.days} days without an event."
    )
    if round(abs(doubt.bias_wh)) == 0:
        return text
    way = "too much" if doubt.bias_wh > 0 else "too little"
    return (
        f"{text} On these days the method credits {_kwh(abs(doubt.bias_wh))} {way} in the mean, which this allows for."
    )


def _kwh(energy_wh: float) -> str:
    return f"{energy_wh / 1000:.2f} kWh"


def to_pdf(report: HomeReport) -> bytes:
    """Return the report as a PDF, of one page as a rule; the same report gives the same bytes. Takes CPU: use a thread.

    Raises UnavailableError where the library that draws it is not installed.
    """
    register_fonts()
    split = import_module("reportlab.lib.utils").simpleSplit
    raw = io.BytesIO()
    canvas = import_module("reportlab.pdfgen.canvas").Canvas(raw, pagesize=_A4, invariant=1, pageCompression=1)
    title = f"Result of {_printable(report.ven.ven_name)}"
    canvas.setTitle(title)
    y = _A4[1] - _MARGIN
    for text, font, size in (
        (title, BOLD, 16),
        (_printable(report.programme), PLAIN, 11),
        *((_printable(one, longest=1200), PLAIN, 10) for one in sentences(report)),
    ):
        for line in split(text, font, size, _WIDTH):
            canvas.setFont(font, size)
            canvas.drawString(_MARGIN, y, line)
            y -= size * 1.4
        y -= 7
    if report.ven.intervals:
        if y < _MARGIN + _CHART_HEIGHT + _AROUND_CHART:
            canvas.showPage()
            y = _A4[1] - _MARGIN
        _draw_chart(canvas, report, y - _CHART_HEIGHT - 14)
    canvas.showPage()
    canvas.save()
    return raw.getvalue()


def _draw_chart(canvas: Any, report: HomeReport, bottom: float) -> None:
    """Draw what was used and what would have been, as steps, with their axes."""
    intervals = report.ven.intervals
    used = [one.actual_w for one in intervals]
    usual = [one.baseline_w for one in intervals]
    known = [one / 1000 for one in (*used, *usual) if one is not None]
    high, low = max([*known, 0.1]), min([*known, 0.0])
    left, width = _MARGIN + 34, _WIDTH - 34

    def at(value_kw: float) -> float:
        return bottom + (value_kw - low) / (high - low) * _CHART_HEIGHT

    canvas.setFont(BOLD, 10)
    canvas.drawString(_MARGIN, bottom + _CHART_HEIGHT + 14, "Mean power, kW")
    canvas.setFont(PLAIN, 8)
    canvas.setStrokeGray(0.8)
    for step in range(5):
        value = low + (high - low) * step / 4
        canvas.line(left, at(value), left + width, at(value))
        canvas.drawRightString(left - 4, at(value) - 3, f"{value:.2f}")
    for number in range(0, len(intervals), -(-len(intervals) // _MOST_TICKS)):
        when = intervals[number].start.astimezone(report.zone)
        canvas.drawString(left + width * number / len(intervals), bottom - 12, f"{when:%H:%M}")
    for values, colour, dash, name, x in (
        (usual, (0.35, 0.35, 0.35), (4, 3), "without the event (estimate)", left),
        (used, (0.04, 0.38, 0.64), (), "used", left + 210),
    ):
        canvas.setStrokeColorRGB(*colour)
        canvas.setLineWidth(1.6)
        canvas.setDash(*([list(dash)] if dash else []))
        _draw_steps(canvas, values, left, width / len(intervals), at)
        canvas.line(x, bottom - 28, x + 24, bottom - 28)
        canvas.setDash()
        canvas.drawString(x + 30, bottom - 31, name)


def _draw_steps(canvas: Any, values_w: Sequence[float | None], left: float, step: float, at: Any) -> None:
    before: float | None = None
    for number, value_w in enumerate(values_w):
        if value_w is not None:
            y, x = at(value_w / 1000), left + number * step
            if before is not None:
                canvas.line(x, before, x, y)
            canvas.line(x, y, x + step, y)
            before = y
        else:
            before = None


def _printable(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return a text of bounded length without what steers: controls, directions, line breaks."""
    shown = "".join("?" if unicodedata.category(char)[0] == "C" else char for char in text[:longest])
    return f"{shown} ..." if len(text) > longest else shown
