"""Charts: what goes to the browser, what stands in the table, and what the child process draws."""

import json
import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import UnavailableError
from web.pages.assets import ChartLibrary
from web.pages.charts import Band, Line, band_rows, line_rows, now_rows, thinned, time_chart

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
TIMES = [NOON + timedelta(minutes=n) for n in range(4)]
BERLIN = ZoneInfo("Europe/Berlin")


def _chart(**more):
    lines = [Line("power", TIMES, [1.0, None, math.nan, 4.0]), Line("target", TIMES[:1], [2.0], step=True, dashed=True)]
    return time_chart("c", "Title", "kW", lines, bands=[Band("power", TIMES[:1], [0.5], [1.5])], zone=BERLIN, **more)


def test_times_are_shown_as_the_zone_has_them_and_gaps_stay_gaps():
    chart = _chart()
    rows = chart.specification["datasets"]["lines"]
    assert [row["v"] for row in rows] == [1.0, None, None, 4.0, 2.0]
    assert datetime.fromtimestamp(rows[0]["t"] / 1000, UTC).hour == 13
    text = json.dumps(chart.specification, allow_nan=False)
    assert "Time in Europe/Berlin (CET)" in text
    plain = time_chart("c", "T", "kW", [Line("x", TIMES, [1.0] * 4)], zone=UTC)
    assert "Time in UTC" in json.dumps(plain.specification)


def test_the_table_has_the_same_values():
    chart = _chart()
    assert chart.columns == ("Time", "power (kW)", "target (kW)", "power, low (kW)", "power, high (kW)")
    assert chart.rows[0] == ("2026-01-12 13:00:00", "1.0", "2.0", "0.5", "1.5")
    assert chart.rows[1] == ("2026-01-12 13:01:00", "", "", "", "")
    assert chart.summary == "power: 2 values from 1.0 to 4.0 kW; target: 1 value of 2.0 kW"


@pytest.mark.parametrize("end", [None, NOON + timedelta(hours=1)])
def test_an_order_of_one_constant_step_is_drawn_from_its_start_to_its_end(end):
    edges = [NOON] if end else [NOON, NOON + timedelta(hours=1)]
    values = [1.5] if end else [1.5, None]
    chart = time_chart("c", "Title", "kW", [Line("target", edges, values, step=True, end=end)], zone=UTC)
    rows = chart.specification["datasets"]["lines"]
    last = (NOON + timedelta(hours=1)).timestamp() * 1000
    assert [(row["t"], row["v"]) for row in rows] == [(NOON.timestamp() * 1000, 1.5), (last, 1.5), (last, None)]
    assert len(chart.rows) == len(edges), "the table has the values, not how they are drawn"


def test_the_step_before_a_gap_is_drawn_and_the_gap_stays():
    line = Line("target", TIMES, [1.0, None, math.nan, 4.0], step=True)
    rows = time_chart("c", "Title", "kW", [line], zone=UTC).specification["datasets"]["lines"]
    assert [row["v"] for row in rows] == [1.0, 1.0, None, None, 4.0]


def test_the_last_range_of_a_band_is_drawn_until_its_end():
    end = TIMES[-1] + timedelta(minutes=1)
    chart = time_chart("c", "T", "kW", [], bands=[Band("p", TIMES, [1.0] * 4, [2.0] * 4, end=end)], zone=UTC)
    rows = chart.specification["datasets"]["bands"]
    assert [row["t"] for row in rows] == [when.timestamp() * 1000 for when in (*TIMES, end)]


@pytest.mark.parametrize(("value", "domain"), [(2.0, [1.8, 2.2]), (-500.0, [-550.0, -450.0]), (0.0, [-1.0, 1.0])])
def test_an_axis_of_one_value_has_room_for_ticks_that_differ(value, domain):
    line = Line("target", TIMES, [value] * 4, step=True)
    chart = time_chart("c", "Title", "kW", [line], zone=UTC)
    scales = [layer["encoding"]["y"].get("scale", {}) for layer in chart.specification["layer"]]
    assert {"unionWith": domain} in [scale.get("domain") for scale in scales]
    band = Band("power", TIMES, [value] * 4, [value] * 4)
    banded = time_chart("c", "Title", "kW", [line], bands=[band], zone=UTC)
    scales = [layer["encoding"]["y"].get("scale", {}) for layer in banded.specification["layer"]]
    assert domain in [scale.get("domain") for scale in scales]
    varied = time_chart("c", "Title", "kW", [Line("target", TIMES, [1.0, 2.0, 3.0, 4.0])], zone=UTC)
    assert not any("domain" in layer["encoding"]["y"].get("scale", {}) for layer in varied.specification["layer"])


def test_live_rows_use_the_same_axis():
    chart = _chart(now=NOON, span=(NOON, NOON + timedelta(hours=1)))
    first = chart.specification["datasets"]
    assert line_rows(chart, [Line("power", TIMES, [1.0, None, math.nan, 4.0])]) == first["lines"][:4]
    assert band_rows(chart, [Band("power", TIMES[:1], [0.5], [1.5])]) == first["bands"]
    assert now_rows(chart, NOON) == first["now"]


def test_a_chart_without_values_is_one():
    chart = time_chart("c", "Title", "W", [Line("power", [], [])], zone=UTC, now=NOON)
    assert (chart.rows, chart.summary) == ((), "power: no values")


def test_long_series_keep_their_extremes_and_gaps():
    points = [(NOON + timedelta(seconds=n), float(n % 100)) for n in range(10_000)]
    points[4321] = (points[4321][0], 9999.0)
    points[5432] = (points[5432][0], None)
    kept = thinned(points, 600)
    assert len(kept) <= 700
    values = [value for _, value in kept]
    assert 9999.0 in values
    assert None in values
    assert [when for when, _ in kept] == sorted(when for when, _ in kept)
    assert thinned(points[:600], 600) == points[:600]


def test_long_tables_say_what_they_leave_out():
    times = [NOON + timedelta(seconds=n) for n in range(1000)]
    chart = time_chart("c", "T", "W", [Line("p", times, [1.0] * 1000)], zone=UTC)
    assert (len(chart.rows), chart.left_out) == (300, 700)


async def test_the_library_is_written_once_and_charts_are_drawn(tmp_path, monkeypatch):
    library = ChartLibrary(tmp_path / "cache")
    path = await library.ready()
    assert b"vegaEmbed" in path.read_bytes()[-200:]
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert library.url.endswith(path.name)
    svg = await library.draw(_chart().printed(), "svg")
    assert svg.startswith(b"<svg")
    monkeypatch.setattr(ChartLibrary, "_child", None)
    assert await library.ready() == path


async def test_a_chart_that_cannot_be_drawn_is_a_clear_error(tmp_path, monkeypatch):
    library = ChartLibrary(tmp_path)
    with pytest.raises(UnavailableError, match="could not be drawn"):
        await library.draw(b"no JSON", "png")
    monkeypatch.setattr(library, "_version", None)
    assert not library.is_installed
    with pytest.raises(UnavailableError, match="pip install"):
        await library.draw(b"{}", "svg")
