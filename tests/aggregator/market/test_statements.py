"""Monthly statements: the local month, every activation with what it cost, disputes with their effect, versions."""

import csv
import io
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from aggregator.trade import settlements, statements
from core.errors import ConflictError, InvalidError, NotFoundError
from openadr.model.opt import OptType
from vtn.store.rows import to_json

from .conftest import SETTINGS, START

END = START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("month", "zone", "hours"),
    [
        ("2026-03", "Europe/Paris", 743),
        ("2026-10", "Europe/Paris", 745),
        ("2026-12", "Europe/Paris", 744),
        ("2028-02", "Asia/Kathmandu", 696),
        ("2026-04", "Australia/Lord_Howe", 720.5),
    ],
)
def test_a_month_is_the_zones_own(month, zone, hours):
    span = statements.month_span(month, ZoneInfo(zone))
    assert span.end - span.start == timedelta(hours=hours)
    local = span.start.astimezone(ZoneInfo(zone))
    assert (local.strftime("%Y-%m"), local.day, local.hour, local.minute) == (month, 1, 0, 0)


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "26-01", "2026-1", "1999-12", "2026-01\n", "٢٠٢٦-01", ""])
def test_what_is_no_month_is_refused(month):
    with pytest.raises(InvalidError):
        statements.month_span(month, ZoneInfo("UTC"))


async def settled(trade, *given_w):
    """Sell and meter an hour of 4 kW, with homes that gave so much less than their usual 2 kW."""
    await trade.join(8)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4))
    await trade.at(trade.now + timedelta(minutes=1))
    await trade.answer(OptType.IN)
    called = await trade.called()
    for ven_id in called:
        steps = 30 * 48
        await trade.consume(ven_id, START - timedelta(days=30), [2000.0] * steps, step_s=1800)
    await trade.at(END)
    for ven_id in called:
        await trade.consume(ven_id, START, [2000.0 - watts for watts in given_w], step_s=1800)
    await trade.at(END + timedelta(minutes=11), turns=2)
    return one, called


async def made(trade, month="2026-01"):
    month = START.strftime("%Y-%m") if month == "2026-01" else month
    async with trade.world.tx() as tx:
        return await statements.make(tx, trade.contract.id, month, trade.now, who="brp", party_id=trade.party_id)


async def newest_of(trade, one):
    async with trade.world.db.read() as conn:
        return (await settlements.listed(conn, activation_id=one.id))[0]


async def test_a_statement_says_of_each_activation_what_its_settlement_says(any_trade):
    trade = any_trade
    one, _ = await settled(trade, 500.0, 500.0)
    found = await made(trade)
    newest = await newest_of(trade, one)
    (row,) = found.content.activations
    assert (row.activation_id, row.settlement_id, row.figures) == (one.id, newest.id, newest.figures)
    assert (row.report_version, row.final, row.final_at) == (1, False, newest.final_at)
    (total,) = found.content.sums
    assert (total.net, total.delivered_kwh) == (newest.figures.net, newest.figures.delivered_kwh)
    assert (found.version, found.changes, found.content.final) == (1, (), False)


async def test_the_same_again_is_the_same_to_the_byte_and_a_correction_is_a_version(trade):
    one, called = await settled(trade, 500.0, 500.0)
    first = await made(trade)
    await trade.at(trade.now + timedelta(minutes=5))
    again = await made(trade)
    assert (again, to_json(again), statements.to_csv(again)) == (first, to_json(first), statements.to_csv(first))

    before = await newest_of(trade, one)
    async with trade.world.tx() as tx:
        await settlements.dispute(tx, before.id, "Our meters show less.", trade.now, who="brp", party_id=trade.party_id)
    disputed = await made(trade)
    (dispute,) = disputed.content.activations[0].disputes
    assert (disputed.version, dispute.state, dispute.effect, disputed.content.final_at) == (2, "open", None, None)
    assert [it.what for it in disputed.changes] == ["dispute of version 1", "final_at"]

    await trade.consume(called[0], START, [2000.0, 2000.0], step_s=1800)
    await trade.at(END + SETTINGS.final_after, turns=2)
    after = await newest_of(trade, one)
    corrected = await made(trade)
    (dispute,) = corrected.content.activations[0].disputes
    effect = Decimal(after.figures.net) - Decimal(before.figures.net)
    assert effect < 0
    assert (corrected.version, dispute.state, Decimal(dispute.effect)) == (3, "corrected", effect)
    nets = [(it.activation_id, it.before, it.after) for it in corrected.changes if it.what == "net"]
    assert nets == [(one.id, before.figures.net, after.figures.net), (None, before.figures.net, after.figures.net)]
    async with trade.world.db.read() as conn:
        assert await statements.get(conn, first.id, trade.party_id) == first, "an old version stays as it was"
        rows = await statements.listed(conn, party_id=trade.party_id)
    assert [it.version for it in rows] == [3, 2, 1]


async def test_an_answered_dispute_without_a_correction_has_no_effect(trade):
    one, _ = await settled(trade, 500.0, 500.0)
    newest = await newest_of(trade, one)
    async with trade.world.tx() as tx:
        with pytest.raises(ConflictError):
            await settlements.answer(tx, newest.id, "Why?", trade.now, who="op")
        await settlements.dispute(tx, newest.id, "Less!", trade.now, who="brp")
        await settlements.answer(tx, newest.id, "The meters agree.", trade.now, who="op")
        with pytest.raises(ConflictError):
            await settlements.answer(tx, newest.id, "Again.", trade.now, who="op")
    (dispute,) = (await made(trade)).content.activations[0].disputes
    assert (dispute.state, dispute.answer, dispute.effect) == ("answered", "The meters agree.", "0.00")


async def test_it_is_final_when_the_month_is_over_and_all_of_it_is_final(trade):
    await settled(trade, 500.0, 500.0)
    await trade.at(END + SETTINGS.final_after, turns=2)
    span = statements.month_span(START.strftime("%Y-%m"), ZoneInfo(trade.programme.parameters.time_zone))
    early = await made(trade)
    assert early.content.final is (trade.now >= span.end)
    await trade.at(span.end)
    late = await made(trade)
    assert late.content.final
    assert late.content.final_at >= span.end


async def test_an_activation_that_is_not_settled_yet_stands_there_without_figures(trade):
    await trade.join(8)
    one = await trade.running(trade.wish(*((4000, 4000),) * 4))
    found = (await made(trade)).content
    (row,) = found.activations
    assert (row.activation_id, row.settlement_id, row.figures, row.disputes) == (one.id, None, None, ())
    assert (found.sums, found.final, found.final_at) == ((), False, None)


async def test_a_month_without_activations_and_one_to_come(trade):
    empty = await made(trade, "2020-02")
    assert (empty.content.activations, empty.content.sums, empty.content.final) == ((), (), True)
    with pytest.raises(InvalidError):
        await made(trade, "2099-12")


async def test_that_it_became_final_is_a_difference(trade):
    month = trade.now.strftime("%Y-%m")
    assert not (await made(trade, month)).content.final
    trade.world.clock.advance(timedelta(days=32))
    last = await made(trade, month)
    assert (last.version, last.content.final) == (2, True)
    assert ("final", "False", "True") in [(one.what, one.before, one.after) for one in last.changes]


async def test_a_list_has_statements_in_short(any_trade):
    trade = any_trade
    await settled(trade, 500.0, 500.0)
    whole = await made(trade)
    async with trade.world.db.read() as conn:
        (head,) = await statements.listed(conn, contract_id=trade.contract.id)
        assert await statements.listed(conn, before=head.id) == []
    content = whole.content
    assert (head.id, head.version, head.activations) == (whole.id, 1, len(content.activations))
    assert (head.sums, head.final, head.final_at) == (content.sums, content.final, content.final_at)


async def test_only_of_ones_own_contract(trade):
    async with trade.world.tx() as tx:
        with pytest.raises(NotFoundError):
            await statements.make(tx, trade.contract.id, "2020-02", trade.now, who="x", party_id="pty_other")


async def test_csv_has_a_line_for_each_activation(trade):
    one, _ = await settled(trade, 500.0, 500.0)
    found = await made(trade)
    (row,) = csv.DictReader(io.StringIO(statements.to_csv(found), newline=""))
    newest = await newest_of(trade, one)
    assert (row["activation_id"], row["net"], row["currency"]) == (one.id, newest.figures.net, "EUR")
    assert (row["version"], row["final"], row["disputes"]) == ("1", "False", "")


async def test_the_brp_hears_of_each_version_once(trade):
    month = trade.now.strftime("%Y-%m")
    first = await made(trade, month)
    await made(trade, month)
    trade.world.clock.advance(timedelta(days=32))
    last = await made(trade, month)
    rows = [row for row in await trade.world.rows("webhook_delivery") if row.event == "statement.created"]
    assert [row.payload["data"] for row in rows] == [
        {"statement_id": it.id, "contract_id": trade.contract.id, "month": month, "version": number, "final": final}
        for it, number, final in ((first, 1, False), (last, 2, True))
    ]
