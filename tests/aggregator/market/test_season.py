"""Seasons: what stored results say of a programme's events and homes, on both databases, and their bounds."""

import csv
import io
import math
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from aggregator.tables import activation_report
from aggregator.trade import season
from core.errors import InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.opt import OptType
from vtn.services import evaluation, programme
from vtn.services.programme import Parameters
from vtn.store.tables import dispatch as dispatch_table
from vtn.store.tables import evaluation as evaluation_table

from .conftest import SETTINGS, START
from .test_reports import END, delivered, sold


@pytest.fixture
def parameters():
    return {"settlement_interval": Duration.of(minutes=30)}


async def season_of(trade, **more):
    async with trade.world.db.read() as conn:
        return await season.of_programme(conn, trade.programme.id, trade.now, **more)


async def vens_of(trade, found, **more):
    async with trade.world.db.read() as conn:
        return await season.vens(conn, found, **more)


async def ran(trade):
    """Let an event run: one VEN opts out, the others deliver a kilowatt and then half of one."""
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 1000.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    return one, called


async def test_the_events_are_those_of_the_stored_results(any_trade):
    trade = any_trade
    one, called = await ran(trade)
    found = await season_of(trade)
    (event,) = found.events
    async with trade.world.db.read() as conn:
        result = await evaluation.stored(conn, one.dispatch_id)
    assert (event.dispatch_id, event.version, event.starts_at) == (one.dispatch_id, 1, START)
    assert (event.called, event.opted_in, event.opted_out) == (len(called), len(called) - 1, 1)
    for name in ("ordered_wh", "delivered_wh", "participation_rate"):
        assert getattr(event, name) == pytest.approx(getattr(result, name))
    assert event.ratio == pytest.approx(result.performance_ratio)
    assert event.ratio == pytest.approx(event.delivered_wh / event.ordered_wh), "over all that was ordered"
    assert event.uncertainty_wh == 0, "by the report of the activation: a steady load leaves no doubt"
    sums = found.sums
    assert (sums.events, sums.measured, sums.called, sums.uncertainty_wh) == (1, 1, len(called), 0)
    assert sums.ratio == pytest.approx(event.ratio)


async def test_the_homes_are_summed_up_and_come_in_pages(any_trade):
    trade = any_trade
    one, called = await ran(trade)
    found = await season_of(trade)
    async with trade.world.db.read() as conn:
        result = await evaluation.stored(conn, one.dispatch_id)
    rows = await vens_of(trade, found)
    assert sorted(row.ven_id for row in rows) == sorted(called)
    by_id = {row.ven_id: row for row in result.vens}
    for row in rows:
        its = by_id[row.ven_id]
        assert (row.name, row.calls, row.measured) == (its.ven_name, 1, int(its.delivered_wh is not None))
        assert row.opt_outs == (its.opt == OptType.OUT)
        assert row.delivered_wh == pytest.approx(its.delivered_wh or 0.0)
        assert row.ordered_wh == pytest.approx(its.ordered_wh if its.delivered_wh is not None else 0.0)
    first = await vens_of(trade, found, limit=2)
    following = await vens_of(trade, found, after=first[-1].ven_id, limit=None)
    assert [*first, *following] == rows
    assert await vens_of(trade, found, after=rows[-1].ven_id) == []
    lines = list(csv.DictReader(io.StringIO(season.vens_to_csv(found, rows))))
    assert [line["ven_id"] for line in lines] == [row.ven_id for row in rows]
    assert math.fsum(float(line["delivered_wh"]) for line in lines) == pytest.approx(found.sums.delivered_wh)


async def test_the_newest_version_of_a_result_and_of_a_report_counts(trade):
    one, called = await ran(trade)
    async with trade.world.db.read() as conn:
        result = await evaluation.stored(conn, one.dispatch_id)
    (row,) = await trade.world.rows("evaluation")
    (report,) = await trade.world.rows("activation_report")
    async with trade.world.tx() as tx:
        newer = {**row.result, "version": 2, "delivered_wh": None, "vens": row.result["vens"][:1]}
        values = {"dispatch_id": one.dispatch_id, "version": 2, "method": row.method, "created_at": trade.now}
        await tx.conn.execute(insert(evaluation_table).values(result=newer, input_hash="x", **values))
        said = {"activation_id": one.id, "version": 2, "final": False, "created_at": trade.now}
        newer = {**report.report, "uncertainty_wh": 120}
        await tx.conn.execute(insert(activation_report).values(report=newer, evaluation_version=2, **said))
    found = await season_of(trade)
    (event,) = found.events
    assert (event.version, event.delivered_wh, event.uncertainty_wh) == (2, None, 120.0)
    assert (found.sums.measured, found.sums.ratio, found.sums.uncertainty_wh) == (0, None, None)
    assert [row.ven_id for row in await vens_of(trade, found)] == [result.vens[0].ven_id]
    assert len(called) > 1
    (line,) = csv.DictReader(io.StringIO(season.to_csv(found)))
    assert (line["delivered_wh"], line["uncertainty_wh"], line["final"]) == ("", "120.0", "false")


async def test_an_event_without_a_result_is_shown_and_one_to_come_is_not(trade):
    one, _called = await sold(trade)
    await trade.at(START + timedelta(minutes=10))
    (event,) = (await season_of(trade)).events
    assert (event.dispatch_id, event.version, event.ordered_wh, event.called) == (one.dispatch_id, None, None, None)
    found = await season_of(trade, until=START.date())
    assert (found.events, found.sums.ratio, found.sums.participation_rate) == ((), None, None)
    assert await vens_of(trade, found) == []


async def repeated(trade, excesses):
    """Store a result of an event of each day before, in which the first VEN's load before was so far above usual."""
    one, _called = await ran(trade)
    (row,) = await trade.world.rows("dispatch", id=one.dispatch_id)
    (result,) = await trade.world.rows("evaluation")
    async with trade.world.tx() as tx:
        for number, excess_w in enumerate(excesses, start=1):
            columns = row._asdict() | {"id": f"dsp_{number}", "starts_at": row.starts_at - timedelta(days=number)}
            await tx.conn.execute(insert(dispatch_table).values(**columns))
            first, *others = result.result["vens"]
            before = {"excess_w": excess_w, "z": None, "actual_w": 500.0 + excess_w, "usual_w": 500.0}
            flags = ["raised_before"] if excess_w > 150 else []
            vens = [{**first, "flags": flags, "before": before}, *({**one, "before": None} for one in others)]
            columns = result._asdict() | {"dispatch_id": f"dsp_{number}", "result": {**result.result, "vens": vens}}
            await tx.conn.execute(insert(evaluation_table).values(**columns))
        stripped = [{k: v for k, v in one.items() if k not in ("flags", "before")} for one in result.result["vens"]]
        # the event itself has a result of an edition that knew nothing of it
        await tx.conn.execute(
            update(evaluation_table)
            .where(evaluation_table.c.dispatch_id == one.dispatch_id)
            .values(result={**result.result, "vens": stripped})
        )
    return result.result["vens"][0]["ven_id"]


@pytest.mark.parametrize(
    ("excesses", "flagged", "systematic"),
    [
        ((100.0, 200.0, 300.0, 200.0, 200.0), 4, True),
        ((1000.0, 0.0, 0.0, 0.0, 0.0), 1, False),
        ((300.0, 300.0, 300.0, 300.0), 4, None),
    ],
)
async def test_who_raises_its_load_before_events_again_and_again_is_seen(any_trade, excesses, flagged, systematic):
    trade = any_trade
    ven_id = await repeated(trade, excesses)
    rows = {row.ven_id: row for row in await vens_of(trade, await season_of(trade))}
    ramp = rows.pop(ven_id)
    assert (ramp.calls, ramp.compared, ramp.flagged) == (len(excesses) + 1, len(excesses), flagged)
    assert ramp.excess_w == pytest.approx(math.fsum(excesses) / len(excesses))
    assert ramp.systematic is systematic
    assert {(row.compared, row.flagged, row.excess_w, row.systematic) for row in rows.values()} == {(0, 0, None, None)}


def test_a_span_is_of_local_days_and_ends_today_by_default():
    rules = programme.Programme("p", 1, "P", "http://x", Parameters(time_zone="Europe/Paris"), START)
    now = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
    span = season.span_of(rules, None, None, now)
    assert (span.first, span.until) == (date(2026, 1, 2), date(2026, 4, 2))
    assert (span.starts_at, span.ends_at) == (
        datetime(2026, 1, 1, 23, tzinfo=UTC),
        datetime(2026, 4, 1, 22, tzinfo=UTC),
    )
    assert (span.until - span.first).days == season.USUAL_DAYS


@pytest.mark.parametrize(
    ("first", "until"),
    [(date(2026, 1, 1), date(2026, 1, 1)), (date(2026, 1, 2), date(2026, 1, 1)), (date(2024, 1, 1), date(2026, 1, 1))],
)
async def test_a_span_has_a_length_and_a_bound(trade, first, until):
    with pytest.raises(InvalidError, match="1 to 366 days"):
        await season_of(trade, first=first, until=until)


async def test_too_many_events_are_refused_and_an_unknown_programme_is_not_found(trade, monkeypatch):
    await ran(trade)
    monkeypatch.setattr(season, "MOST_EVENTS", 0)
    with pytest.raises(InvalidError, match="shorter"):
        await season_of(trade)
    async with trade.world.db.read() as conn:
        with pytest.raises(NotFoundError):
            await season.of_programme(conn, "prg_none", trade.now)
