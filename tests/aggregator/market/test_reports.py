"""Reports and settlements: figures against an independent computation, versions, final, pseudonyms (FN-DR-10)."""

import csv
import io
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import pytest

from aggregator.trade import activation_changes, brps, reports, settlements
from aggregator.trade.activation_report import ReportInterval
from aggregator.trade.contracts import Limits
from aggregator.trade.reports import LEAST_VENS
from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Duration
from openadr.model.opt import OptType
from vtn.services.evaluation import stored
from vtn.services.programme import Parameters

from .conftest import SETTINGS, START

HALF, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
END = START + HOUR
POWER_W = 4000


@pytest.fixture
def parameters():
    return {"settlement_interval": Duration.of(minutes=30)}


async def sold(trade, **more):
    """Sell an hour of power, let homes opt in but for one, and meter a steady 2 kW for a month before."""
    await trade.join(more.pop("homes", 12))
    one = await trade.running(trade.wish(*((POWER_W, POWER_W),) * 4), **more)
    await trade.at(trade.now + timedelta(minutes=1))
    called = await trade.called()
    await trade.answer(only=called[1:])
    await trade.answer(OptType.OUT, only=called[:1])
    for ven_id in called:
        days = int((START - DAY * 30).timestamp()) // 1800 * 1800
        steps = (int(START.timestamp()) - days) // 1800
        await trade.consume(ven_id, START - steps * HALF, [2000.0] * steps, step_s=1800)
    return one, called


async def delivered(trade, ven_ids, *watts):
    for ven_id in ven_ids:
        await trade.consume(ven_id, START, [2000.0 - one for one in watts], step_s=1800)


async def report_of(trade, one, **more):
    async with trade.world.db.read() as conn:
        return await reports.get(conn, one.id, **more)


async def settlements_of(trade, one):
    async with trade.world.db.read() as conn:
        return await settlements.listed(conn, activation_id=one.id)


async def test_report_and_settlement_equal_an_independent_computation(any_trade):
    trade = any_trade
    one, called = await sold(trade)
    stayed = called[1:]
    await trade.at(END)
    await delivered(trade, stayed, 1000.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    report = await report_of(trade, one, party_id=trade.party_id)
    got = [1000 * len(stayed), 500 * len(stayed)]
    assert [it.start for it in report.intervals] == [START, START + HALF]
    assert [it.ordered_w for it in report.intervals] == [POWER_W, POWER_W]
    assert [it.baseline_w for it in report.intervals] == [2000 * len(stayed)] * 2
    assert [it.actual_w for it in report.intervals] == [1000 * len(stayed), 1500 * len(stayed)]
    assert [it.delivered_w for it in report.intervals] == got
    assert [it.deficiency_w for it in report.intervals] == [max(POWER_W - it, 0) for it in got]
    assert [it.coverage for it in report.intervals] == [1.0, 1.0]
    assert (report.version, report.final, report.method) == (1, False, "10of10/2")
    assert (report.called, report.opted_out, report.vens) == (len(called), 1, None)
    assert (report.uncertainty_wh, report.bias_wh) == (0, 0), "a steady load leaves no doubt"
    (settled,) = await settlements_of(trade, one)
    credited = sum(min(it, POWER_W) for it in got) * Decimal("0.5") / 1000
    lacking = POWER_W * Decimal("0.001") - credited
    price, penalty = (
        (kwh * Decimal(per_kwh)).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        for kwh, per_kwh in ((credited, one.terms.price_per_kwh), (lacking, "0.40"))
    )
    figures = settled.figures
    assert Decimal(figures.delivered_kwh) == credited
    assert Decimal(figures.deficiency_kwh) == lacking
    assert (Decimal(figures.price), Decimal(figures.penalty)) == (price, penalty)
    assert Decimal(figures.net) == price - penalty
    assert (settled.starts_at, settled.ends_at, settled.version, settled.supersedes) == (START, END, 1, None)
    assert (await trade.told())[-2:] == ["report.published", "settlement.published"]


async def ran_a_day_after_the_sale(trade):
    """Sell an hour a day ahead; on that day homes draw 2.3 kW, not 2 kW as before, and give 1 kW of it."""
    await trade.join(12)
    start = START + DAY
    one = await trade.activation(
        await trade.accept(await trade.offer(trade.wish(*((POWER_W, POWER_W),) * 4, start=start)))
    )
    await trade.can(trade.homes)
    await trade.at(max(one.due_at, trade.now))
    await trade.at(trade.now + timedelta(minutes=1))
    await trade.answer()
    called = await trade.called()
    for ven_id in called:
        await trade.consume(ven_id, start - DAY * 20, [2000.0] * (48 * 20 - 26) + [2300.0] * 26 + [1300.0] * 2, 1800)
    await trade.at(start + HOUR)
    await trade.at(start + HOUR + SETTINGS.report_after)
    return await report_of(trade, one), called


async def test_a_sale_a_day_ahead_is_measured_like_any_other(trade):
    report, called = await ran_a_day_after_the_sale(trade)
    assert report.delivered_wh == pytest.approx(1000 * len(called), rel=0.02)
    assert report.unadjusted == 0


@pytest.mark.parametrize("parameters", [{"notification": Duration.of(hours=24)}])
async def test_a_report_says_where_homes_were_told_too_long_ahead_for_an_adjustment(trade):
    report, called = await ran_a_day_after_the_sale(trade)
    assert report.delivered_wh == pytest.approx(700 * len(called), rel=0.02)
    assert report.unadjusted == report.called == len(called)


async def test_late_readings_make_a_version_and_nothing_else_does(trade):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 500.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    first = await report_of(trade, one)
    await trade.at(END + HOUR)
    assert await report_of(trade, one) == first
    await trade.consume(called[1], START - 20 * DAY, [2000.5], step_s=60)
    await trade.at(END + 4 * HOUR)
    versions = [row.version for row in await trade.world.rows("evaluation")]
    assert (versions, await report_of(trade, one)) == ([1, 2], first), "other inputs, but nothing that a report says"
    await delivered(trade, called[1:2], 1500.0, 1500.0)
    await trade.at(END + 6 * HOUR)
    second = await report_of(trade, one)
    assert (second.version, second.delivered_wh) == (2, first.delivered_wh + 1000)
    assert await report_of(trade, one, version=1) == first
    new, old = await settlements_of(trade, one)
    assert (new.version, new.supersedes) == (2, old.id)
    assert [(it.report_version, it.final, it.final_at) for it in (old, new)] == [
        (1, False, END + SETTINGS.final_after),
        (2, False, END + SETTINGS.final_after),
    ]
    assert (second.final, second.final_at) == (False, END + SETTINGS.final_after)
    await trade.at(END + SETTINGS.final_after)
    last = await report_of(trade, one)
    assert (last.version, last.final, last.final_at) == (2, True, END + SETTINGS.final_after)
    assert last.says_the_same(second), "the newest version became final"
    assert not (await report_of(trade, one, version=1)).final
    settled = await settlements_of(trade, one)
    assert [(it.version, it.report_version, it.final) for it in settled] == [(2, 2, True), (1, 1, False)]
    assert (settled[0].figures, settled[0].final_at) == (new.figures, END + SETTINGS.final_after)
    assert (await trade.told())[-2:] == ["report.published", "settlement.published"]
    assert (await trade.activation(one.id)).due_at is None
    await delivered(trade, called[1:2], 0.0, 0.0)
    computed = await reports.evaluated(trade.world.db, one, trade.now)
    async with trade.world.tx() as tx:
        assert await reports.publish_report(tx, one.id, computed, trade.now, who="test", final=True) is None
    async with trade.world.db.read() as conn:
        assert [it.version for it in await reports.versions(conn, one.id, trade.party_id)] == [1, 2]


@pytest.mark.parametrize(("late_w", "version"), [(500.0, 1), (1500.0, 2)], ids=["the same", "a last version"])
async def test_the_result_is_frozen_with_the_final_report(trade, late_w, version):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 500.0, 500.0)
    await trade.at(END + SETTINGS.final_after - timedelta(minutes=1))
    assert await frozen_at(trade) is None
    await delivered(trade, called[1:2], late_w, late_w)
    await trade.at(END + SETTINGS.final_after)
    report = await report_of(trade, one)
    assert (report.version, report.final) == (version, True)
    assert await frozen_at(trade) == trade.now
    await delivered(trade, called[1:2], 0.0, 0.0)
    computed = await reports.evaluated(trade.world.db, one, trade.now)
    assert computed.result.version == version, "what comes in later changes nothing"


@pytest.mark.parametrize(("late_w", "versions"), [(0.0, [1, 2]), (500.0, [1])], ids=["other data", "the same"])
async def test_a_dispute_opens_a_final_report_again(trade, late_w, versions):
    """With other data it becomes a new version, which is open as long as the first one was; else all stays as it is."""
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 500.0, 500.0)
    await trade.at(END + SETTINGS.final_after)
    (first,) = await settlements_of(trade, one)
    assert first.final
    await delivered(trade, called[1:2], late_w, late_w)
    disputed_at = END + SETTINGS.final_after + timedelta(hours=1)
    await trade.at(disputed_at)
    async with trade.world.tx() as tx:
        await settlements.dispute(tx, first.id, "One home gave more.", trade.now, who="brp", party_id=trade.party_id)
    await trade.at(disputed_at + timedelta(minutes=1))
    await trade.at(disputed_at + timedelta(minutes=2))
    async with trade.world.db.read() as conn:
        assert [it.version for it in await reports.versions(conn, one.id, trade.party_id)] == versions
    report = await report_of(trade, one)
    assert report.final is (versions == [1])
    await trade.at(disputed_at + SETTINGS.final_after + timedelta(hours=1))
    assert (await report_of(trade, one)).final
    assert await frozen_at(trade) == trade.now
    assert (await trade.activation(one.id)).due_at is None
    settled = await settlements_of(trade, one)
    assert [(it.report_version, it.final) for it in settled] == [(number, True) for number in reversed(versions)]
    assert [it.supersedes for it in settled][:-1] == [first.id] * (len(versions) - 1)


async def frozen_at(trade):
    (row,) = await trade.world.rows("dispatch")
    return row.result_final_at


async def test_intervals_have_their_number_and_local_time(trade):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 500.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    async with trade.world.db.read() as conn:
        result = await stored(conn, one.dispatch_id)
    report = await report_of(trade, one)
    assert (report.interval_s, report.time_zone) == (result.interval_s, "UTC")
    first = 13 * 3600 // report.interval_s + 1
    assert [it.number for it in report.intervals] == list(range(first, first + len(report.intervals)))
    assert report.intervals[0].local_start == "2026-01-12T13:00+00:00"
    paris = reports.compose(one, trade.contract, result, END, trade.now, None, Parameters(time_zone="Europe/Paris"))
    assert paris.intervals[0].local_start == "2026-01-12T14:00+01:00"
    assert paris.intervals[0].number == 14 * 3600 // report.interval_s + 1
    row = next(csv.DictReader(io.StringIO(reports.to_csv(report))))
    assert (row["number"], row["local_start"]) == (str(first), "2026-01-12T13:00+00:00")


async def test_rows_of_homes_only_where_the_contract_allows_them_and_enough_were_called(trade):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called, 500.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    async with trade.world.db.read() as conn:
        result = await stored(conn, one.dispatch_id)
    allowed = replace(trade.contract, limits=Limits(per_ven_rows=True))
    report = reports.compose(one, allowed, result, END, trade.now)
    assert len(report.vens) == len(called) >= LEAST_VENS
    text = repr(report)
    assert not any(ven_id in text for ven_id in called)
    assert sorted(it.pseudonym for it in report.vens) == sorted(f"home-{n}" for n in range(1, len(called) + 1))
    assert {(it.opt, it.delivered_wh) for it in report.vens} == {("optIn", 500), ("optOut", None)}
    few = replace(result, vens=result.vens[: LEAST_VENS - 1])
    assert reports.compose(one, allowed, few, END, trade.now).vens is None
    assert reports.compose(one, trade.contract, result, END, trade.now).vens is None
    rows = list(csv.reader(io.StringIO(reports.to_vens_csv(report))))
    assert rows[0][:4] == ["activation_id", "version", "direction", "method"]
    assert rows[0][4:] == ["pseudonym", "opt", "ordered_wh", "delivered_wh"]
    assert len(rows) == 1 + len(called)


async def test_what_is_not_known_is_no_zero_and_is_not_settled_before_it_is_final(trade):
    one, _called = await sold(trade)
    await trade.at(END)
    await trade.at(END + SETTINGS.report_after)
    report = await report_of(trade, one)
    assert (report.coverage, report.delivered_wh, report.deficiency_wh) == (0.0, None, None)
    assert "lack readings of the event" in report.why_unknown
    assert not await settlements_of(trade, one)
    rows = list(csv.DictReader(io.StringIO(reports.to_csv(report))))
    assert [row["start"] for row in rows] == ["2026-01-12T13:00:00Z", "2026-01-12T13:30:00Z"]
    assert [row["deficiency_w"] for row in rows] == ["", ""]
    await trade.at(END + SETTINGS.final_after)
    (settled,) = await settlements_of(trade, one)
    assert (settled.figures.delivered_kwh, settled.figures.deficiency_kwh) == ("0", "4")


async def test_an_activation_that_called_nobody_owes_all_of_it(trade):
    await trade.join(6)
    one = await trade.activation(await trade.accept(await trade.offer(trade.wish(*((2000, 2000),) * 4))))
    for minute in range(6, 90, 6):
        await trade.at(trade.now.replace(hour=12, minute=0) + timedelta(minutes=minute), seen=False)
    await trade.at(END, seen=False)
    await trade.at(END + SETTINGS.report_after, seen=False)
    report = await report_of(trade, one)
    assert (report.called, report.method, report.deficiency_wh) == (0, "none", 2000)
    (settled,) = await settlements_of(trade, one)
    assert (settled.figures.price, settled.figures.penalty, settled.figures.net) == ("0.00", "0.80", "-0.80")


async def test_what_is_cancelled_while_it_runs_is_reported_until_then(trade):
    one, called = await sold(trade)
    await trade.at(START + timedelta(minutes=30))
    async with trade.world.tx() as tx:
        await activation_changes.cancel(tx, one.id, trade.now, who="brp", reason="enough")
    await delivered(trade, called[1:], 1000.0)
    await trade.at(trade.now + timedelta(minutes=1))
    assert await trade.world.rows("activation_report") == []
    await trade.at(START + timedelta(minutes=30) + SETTINGS.report_after)
    report = await report_of(trade, one)
    assert (report.ends_at, len(report.intervals)) == (START + HALF, 1)
    assert report.intervals[0].ordered_w == POWER_W
    assert report.intervals[0].delivered_w == 1000 * (len(called) - 1)


async def test_a_settlement_is_disputed_once_by_its_own_brp(trade):
    one, called = await sold(trade)
    await trade.at(END)
    await delivered(trade, called[1:], 500.0, 500.0)
    await trade.at(END + SETTINGS.report_after)
    (settled,) = await settlements_of(trade, one)

    async def dispute(settlement_id, words="The meters disagree.", **more):
        async with trade.world.tx() as tx:
            await settlements.dispute(tx, settlement_id, words, trade.now, who="brp", **more)

    before = await trade.world.dump()
    for expected, attempt in (
        (NotFoundError, dispute(settled.id, party_id="pty_other")),
        (NotFoundError, dispute("stl_none")),
        (InvalidError, dispute(settled.id, " ")),
    ):
        with pytest.raises(expected):
            await attempt
    assert await trade.world.dump() == before
    await dispute(settled.id, party_id=trade.party_id)
    async with trade.world.db.read() as conn:
        disputed = await settlements.get(conn, settled.id, trade.party_id)
    assert (disputed.dispute, disputed.disputed_at) == ("The meters disagree.", trade.now)
    with pytest.raises(ConflictError):
        await dispute(settled.id)
    await delivered(trade, called[1:2], 1500.0, 1500.0)
    await trade.at(END + 6 * HOUR)
    with pytest.raises(ConflictError, match="superseded"):
        await dispute(settled.id)


async def test_another_brp_sees_no_report(trade):
    one, _called = await sold(trade)
    async with trade.world.tx() as tx:
        rival = await brps.create(tx, "Rival", trade.now, who="test")
    await trade.at(END)
    with pytest.raises(NotFoundError):
        await report_of(trade, one)
    await trade.at(END + SETTINGS.report_after)
    with pytest.raises(NotFoundError):
        await report_of(trade, one, party_id=rival)
    with pytest.raises(NotFoundError):
        await report_of(trade, one, version=2)
    async with trade.world.db.read() as conn:
        assert await settlements.listed(conn, party_id=rival) == []
    with pytest.raises(ConflictError):
        async with trade.world.tx() as tx:
            await reports.publish_report(tx, one.id, None, START, who="test", final=False)


def interval(ordered_w, delivered_w, duration_s=1800):
    return ReportInterval(START, duration_s, ordered_w, None, None, delivered_w, 0, 1.0)


class Report:
    def __init__(self, *intervals, uncertainty_wh=None, bias_wh=None):
        self.intervals = intervals
        self.uncertainty_wh, self.bias_wh = uncertainty_wh, bias_wh


def test_a_settlement_says_how_far_what_it_pays_for_is_known():
    report = Report(interval(1000, 800), uncertainty_wh=4100, bias_wh=-350)
    figures = settlements.figures(report, "0.30", "0.50", "EUR")
    assert (figures.uncertainty_kwh, figures.bias_kwh, figures.delivered_kwh) == ("4.1", "-0.35", "0.4")
    assert settlements.figures(Report(), "0", "0", "EUR").uncertainty_kwh is None


def test_over_delivery_earns_nothing_and_makes_up_for_nothing():
    figures = settlements.figures(Report(interval(1000, 5000), interval(1000, -500)), "0.30", "0.50", "EUR")
    assert (figures.ordered_kwh, figures.delivered_kwh, figures.deficiency_kwh) == ("1", "0.5", "0.5")
    assert (figures.price, figures.penalty, figures.net) == ("0.15", "0.25", "-0.10")


def test_money_is_rounded_once_half_to_even():
    figures = settlements.figures(Report(interval(10, 10, 3600)), "0.5", "0.1", "EUR")
    assert (figures.delivered_kwh, figures.price) == ("0.01", "0.00")
    figures = settlements.figures(Report(interval(30, 30, 3600)), "0.5", "0.1", "EUR")
    assert figures.price == "0.02"
    figures = settlements.figures(Report(interval(10**9, 10**9, 3600)), "0.123456", "0", "JPY")
    assert (figures.price, figures.penalty) == ("123456", "0")
