"""Charts: Vega-Lite specifications made here, drawn by the browser, always with a table of the same values beside.

Vega-Lite knows two zones, the browser's and UTC. So that everybody sees the same clock times, values are moved by the
zone's offset at the chart's start, drawn as UTC, and the axis names the zone as it is called then (CET, CEST).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from web.pages.templating import zone_name
from web.pages.translations import gettext as _
from web.pages.translations import ngettext

_Point = tuple[datetime, float | None]
_MOST_POINTS: Final = 600
_MOST_ROWS: Final = 300
_HEIGHT: Final = 260
_TICK_PX: Final = 110
"""Pixels between two ticks, about; with half as many, the labels at both ends still keep off their neighbours."""
_LABEL_GAP: Final = 8
"""Pixels between two labels at least."""
_TICK: Final = (
    "utchours(datum.value) || utcminutes(datum.value) || utcseconds(datum.value)"
    " ? utcFormat(datum.value, utcseconds(datum.value) ? '%H:%M:%S' : '%H:%M') : utcFormat(datum.value, '%d %b')"
)
"""Clock times in 24 hours, and the day where one begins."""
_SECONDS: Final = "utcyearmonthdatehoursminutesseconds"
"""Vega-Lite's way of saying that a tooltip's time is UTC."""
_PRINT_CONFIG: Final[Mapping[str, Any]] = {
    "background": "white",
    "font": "sans-serif",
    "range": {"category": ["#0b62a4", "#b3541e", "#3b7d3b", "#7a4fa3", "#8a6d00", "#5b6470"]},
}


@dataclass(frozen=True, slots=True)
class Line:
    """A series. `step`: each value holds until the next time, the last one until `end`; None and NaN are gaps."""

    name: str
    times: Sequence[datetime]
    values: Sequence[float | None]
    step: bool = False
    dashed: bool = False
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """A range around a step line, such as p10 to p90; the last one holds until `end`."""

    name: str
    times: Sequence[datetime]
    low: Sequence[float | None]
    high: Sequence[float | None]
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for `ui.chart(chart)` in a template. `id` is unique on its page; `columns` and `rows` are its table."""

    id: str
    title: str
    specification: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0
    summary: str = ""

    def printed(self) -> bytes:
        """Return the specification for `ChartLibrary.draw`: in colours for paper, with a width of its own."""
        fixed = {**self.specification, "width": 900, "config": _PRINT_CONFIG, "title": self.title}
        return json.dumps(fixed).encode()


@dataclass(frozen=True, slots=True)
class _Axis:
    """Moves times so that a chart drawn in UTC shows the clock times of a zone, and says its name."""

    name: str
    offset_ms: int = field(default=0)

    def ms(self, when: datetime) -> int:
        return round(when.timestamp() * 1000) + self.offset_ms


def time_chart(
    chart_id: str,
    title: str,
    unit: str,
    lines: Sequence[Line],
    *,
    bands: Sequence[Band] = (),
    zone: tzinfo,
    now: datetime | None = None,
    span: tuple[datetime, datetime] | None = None,
) -> Chart:
    """Return a chart of values over time; long series are thinned out so that their extremes stay.

    `now` is marked by a rule. `span` fixes the time axis, for charts that fill up while they are open. The named data
    sets `lines`, `bands` and `now` can be replaced live by the rows of `line_rows`, `band_rows` and `now_rows`.
    """
    begins = [one.times[0] for one in lines if one.times] + [one.times[0] for one in bands if one.times]
    first = min([*begins, *(span or ())], default=None)
    axis = _axis(zone, first or now or datetime.now(UTC))
    names = list(dict.fromkeys([one.name for one in lines] + [one.name for one in bands]))
    time = _time_encoding(axis, span)
    legend = {"symbolType": "stroke", "symbolOpacity": 1}
    colour = {"field": "s", "type": "nominal", "title": None, "scale": {"domain": names}, "legend": legend}
    dash = {
        "domain": names,
        "range": [[6, 4] if name in {one.name for one in lines if one.dashed} else [1, 0] for name in names],
    }
    value = _value_encoding(lines, bands, unit)
    layers: list[dict[str, Any]] = []
    datasets: dict[str, list[dict[str, Any]]] = {"lines": _line_rows(lines, axis), "bands": [], "now": []}
    if bands:
        datasets["bands"] = _band_rows(bands, axis)
        layers.append(_band_layer(time, colour, value))
    layers += [
        _line_layer(time, colour, dash, value, [one.name for one in lines if one.step is step], step=step)
        for step in (True, False)
        if any(one.step is step for one in lines)
    ]
    if lines:
        layers.append(_point_layer(time, colour, unit))
    if now is not None:
        datasets["now"] = [{"t": axis.ms(now)}]
        layers.append(_now_layer(time))
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": _HEIGHT,
        "autosize": {"type": "fit", "contains": "padding", "resize": True},
        "datasets": datasets,
        "layer": layers,
        "usermeta": {"offset_ms": axis.offset_ms},
    }
    columns, rows, left_out = _table(lines, bands, unit, zone)
    return Chart(chart_id, title, specification, columns, rows, left_out, _summary(lines, unit))


def line_rows(chart: Chart, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the rows of data set `lines`, for a live chart."""
    return _line_rows(lines, _axis_of(chart))


def band_rows(chart: Chart, bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Return the rows of data set `bands`, for a live chart."""
    return _band_rows(bands, _axis_of(chart))


def now_rows(chart: Chart, now: datetime) -> list[dict[str, Any]]:
    """Return the row of data set `now`, for a live chart."""
    return [{"t": _axis_of(chart).ms(now)}]


def _axis_of(chart: Chart) -> _Axis:
    return _Axis("", chart.specification["usermeta"]["offset_ms"])


def _axis(zone: tzinfo, at: datetime) -> _Axis:
    offset = at.astimezone(zone).utcoffset()
    return _Axis(zone_name(zone, at), round(offset.total_seconds() * 1000) if offset else 0)


def _time_encoding(axis: _Axis, span: tuple[datetime, datetime] | None) -> dict[str, Any]:
    scale: dict[str, Any] = {"type": "utc"}
    if span is not None:
        scale["domain"] = [axis.ms(span[0]), axis.ms(span[1])]
    title = _("Time in %(zone)s", zone=axis.name)
    ticks = {
        "labelExpr": _TICK,
        "tickCount": {"expr": f"width / {_TICK_PX}"},
        "labelOverlap": "greedy",
        "labelSeparation": _LABEL_GAP,
        "labelFlush": True,
    }
    return {"field": "t", "type": "temporal", "scale": scale, "title": title, "axis": ticks}


def _value_encoding(lines: Sequence[Line], bands: Sequence[Band], unit: str) -> dict[str, Any]:
    """Return the value axis. Around a single value it gets some room: else each of its ticks would say the same."""
    series = [*(one.values for one in lines), *(row for one in bands for row in (one.low, one.high))]
    values = {value for each in series for value in map(_known, each) if value is not None}
    scale: dict[str, Any] = {"zero": False, "nice": True, "padding": 6}
    if len(values) == 1:
        (value,) = values
        room = abs(value) / 10 or 1.0
        around = [value - room, value + room]
        scale["domain"] = around if bands else {"unionWith": around}  # a band's two edges cannot be united with more
    return {"type": "quantitative", "title": unit, "scale": scale}


def _line_layer(
    time: dict[str, Any],
    colour: dict[str, Any],
    dash: dict[str, Any],
    value: dict[str, Any],
    names: Sequence[str],
    *,
    step: bool,
) -> dict[str, Any]:
    return {
        "data": {"name": "lines"},
        "transform": [{"filter": {"field": "s", "oneOf": names}}],
        "mark": {"type": "line", "interpolate": "step-after" if step else "linear", "clip": True},
        "encoding": {
            "x": time,
            "y": {"field": "v", **value},
            "color": colour,
            "strokeDash": {**colour, "scale": dash},
        },
    }


def _point_layer(time: dict[str, Any], colour: dict[str, Any], unit: str) -> dict[str, Any]:
    """Return points that show under the pointer, with what they say: a line by itself tells its first value only."""
    under = {"type": "point", "on": "pointerover", "clear": "pointerout"}
    return {
        "data": {"name": "lines"},
        "transform": [{"filter": {"field": "v", "valid": True}}],
        "params": [{"name": "under", "select": under}],
        "mark": {"type": "point", "filled": True, "size": 130, "clip": True},
        "encoding": {
            "x": time,
            "y": {"field": "v", "type": "quantitative", "title": unit},
            "color": colour,
            "opacity": {"condition": {"param": "under", "empty": False, "value": 1}, "value": 0},
            "tooltip": [
                {
                    "field": "t",
                    "type": "temporal",
                    "timeUnit": _SECONDS,
                    "title": _("Time"),
                    "format": "%d %b %H:%M:%S",
                },
                {"field": "s", "type": "nominal", "title": _("Series")},
                {"field": "v", "type": "quantitative", "title": unit, "format": ",.1f"},
            ],
        },
    }


def _band_layer(time: dict[str, Any], colour: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {"name": "bands"},
        "mark": {"type": "area", "opacity": 0.25, "interpolate": "step-after", "clip": True},
        "encoding": {
            "x": time,
            "y": {"field": "low", **value},
            "y2": {"field": "high"},
            "color": colour,
        },
    }


def _now_layer(time: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {"name": "now"},
        "mark": {"type": "rule", "strokeDash": [2, 3], "strokeWidth": 1.5, "clip": True},
        "encoding": {"x": {**time}},
    }


def _line_rows(lines: Sequence[Line], axis: _Axis) -> list[dict[str, Any]]:
    rows = []
    for one in lines:
        points = thinned(list(zip(one.times, map(_known, one.values), strict=True)))
        rows += [{"t": axis.ms(when), "s": one.name, "v": value} for when, value in _held(points, one)]
    return rows


def _held(points: Sequence[_Point], line: Line) -> Sequence[_Point]:
    """Return the points of a step line with each value held until the gap, or the end, that follows it.

    A mark that steps draws a value only as far as the next one: without this the step before a gap is not seen, and an
    order of one constant power not at all.
    """
    if not line.step:
        return points
    if line.end is not None:
        points = [*points, (line.end, None)]
    held: list[_Point] = []
    for when, value in points:
        if value is None and held and held[-1][1] is not None:
            held.append((when, held[-1][1]))
        held.append((when, value))
    return held


def _band_rows(bands: Sequence[Band], axis: _Axis) -> list[dict[str, Any]]:
    rows = []
    for one in bands:
        edges = list(zip(one.times, map(_known, one.low), map(_known, one.high), strict=True))
        if one.end is not None and edges:
            edges.append((one.end, *edges[-1][1:]))
        rows += [
            {"t": axis.ms(when), "s": one.name, "low": low, "high": high}
            for when, low, high in edges
            if low is not None and high is not None
        ]
    return rows


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def thinned(points: Sequence[_Point], most: int = _MOST_POINTS) -> Sequence[_Point]:
    """Return at most about `most` points: of each stretch the lowest and the highest, in their order; gaps stay."""
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / most)
    kept: list[_Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        known = [(value, place) for place, (_, value) in enumerate(stretch) if value is not None]
        places = {min(known)[1], max(known)[1]} if known else {0}
        if known and len(known) < len(stretch):
            places.add(next(place for place, (_, value) in enumerate(stretch) if value is None))
        kept += [stretch[place] for place in sorted(places)]
    return kept


_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


def _table(
    lines: Sequence[Line], bands: Sequence[Band], unit: str, zone: tzinfo
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], int]:
    """Return headings, the newest rows, and how many older ones are left out."""
    columns: list[tuple[str, dict[datetime, float | None]]] = [
        (one.name, dict(zip(one.times, map(_known, one.values), strict=True))) for one in lines
    ]
    for band in bands:
        low, high = _("%(series)s, low", series=band.name), _("%(series)s, high", series=band.name)
        for name, values in ((low, band.low), (high, band.high)):
            columns.append((name, dict(zip(band.times, map(_known, values), strict=True))))
    times = sorted({when for _, values in columns for when in values})
    shown = times[-_MOST_ROWS:]
    rows = tuple(
        (when.astimezone(zone).strftime(_TIME_FORMAT), *(_figure(values.get(when)) for _, values in columns))
        for when in shown
    )
    return (_("Time"), *(f"{name} ({unit})" for name, _ in columns)), rows, len(times) - len(shown)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _summary(lines: Sequence[Line], unit: str) -> str:
    """Return in words what a person who cannot see the chart would ask first."""
    parts = []
    for one in lines:
        known = [value for value in map(_known, one.values) if value is not None]
        if known:
            low, high = f"{min(known):,.1f}", f"{max(known):,.1f}"
            facts = {"series": one.name, "low": low, "high": high, "unit": unit}
            if low == high:
                text = ngettext(
                    "%(series)s: %(num)s value of %(low)s %(unit)s",
                    "%(series)s: %(num)s values of %(low)s %(unit)s",
                    len(known),
                    **facts,
                )
            else:
                text = ngettext(
                    "%(series)s: %(num)s value from %(low)s to %(high)s %(unit)s",
                    "%(series)s: %(num)s values from %(low)s to %(high)s %(unit)s",
                    len(known),
                    **facts,
                )
            parts.append(text)
        else:
            parts.append(_("%(series)s: no values", series=one.name))
    return "; ".join(parts)
