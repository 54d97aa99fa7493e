"""Baselines in events (eiEventBaseline): sent as ordered, a VEN's own, and changed for the future only."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.errors import ConflictError, InvalidError
from core.spans import Duration
from openadr.model.signal import Baseline
from openadr.model.units import POWER_REAL_W
from support.vtn_world import HOUR, intervals, power
from vtn.services import dispatch

BASELINE = "//ei:eiEventSignals/ei:eiEventBaseline"
DAY = timedelta(days=1)


def supposed(world, *values, days_ago=0, **changes):
    start = world.now + HOUR.timedelta() - days_ago * DAY
    parts = intervals(*values)
    lasts = Duration.of(hours=len(values))
    return replace(Baseline(start, lasts, parts, "base", "A usual day", ("heater", "plug"), POWER_REAL_W), **changes)


async def change(world, dispatch_id, **what):
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", **what)


async def baseline_of(ven):
    (one,) = await ven.events()
    return one.event.baseline


async def test_ev02_ev03_ev04_ev37_a_baseline_goes_out_as_ordered(any_world):
    world = any_world
    ven = await world.ven()
    baseline = supposed(world, 3140.0, 3170.5, days_ago=1)
    await world.dispatch(ven, signals=(power(-1, -2, -3),), baseline=baseline)
    assert await baseline_of(ven) == baseline
    assert ven.xpath(f"{BASELINE}//xcal:uid/xcal:text/text()") == ["0", "1"]
    assert ven.xpath(f"{BASELINE}//ei:interval/xcal:duration/xcal:duration/text()") == ["PT1H", "PT1H"]
    assert ven.xpath(f"{BASELINE}//ei:interval/xcal:dtstart") == []
    assert ven.xpath(f"{BASELINE}/xcal:duration/xcal:duration/text()") == ["PT2H"]
    assert ven.xpath(f"{BASELINE}/ei:resourceID/text()") == ["heater", "plug"]


@pytest.mark.parametrize(
    "changes",
    [
        {"duration": HOUR},  # EV-04
        {"baseline_id": "ld"},
        {"duration": Duration(), "intervals": intervals(1.0, each=Duration())},
        {"intervals": intervals(1.0, float("nan"))},
        {"intervals": ()},
        {"duration": Duration(12 * 9000), "intervals": intervals(1.0, each=Duration(12 * 9000))},
        {"duration": Duration(12 * 300), "intervals": intervals(1.0, each=Duration(12 * 300))},
    ],
    ids=range(7),
)
async def test_a_baseline_that_breaks_a_rule_is_refused(world, changes):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await world.dispatch(ven, baseline=supposed(world, 1.0, 2.0, **changes))
    assert await world.rows("dispatch") == []


async def test_a_ven_has_a_baseline_of_its_own(any_world):
    world = any_world
    first, second = await world.ven(), await world.ven()
    own = {first.ven_id: {"base": [500.0, 600.0], "ld": [-5.0]}, second.ven_id: {"base": [1000.0, 2000.0]}}
    dispatch_id = await world.dispatch(first, second, baseline=supposed(world, 1000.0, 2000.0), own_values=own)
    kept = {row.ven_id: row.own_values for row in await world.rows("event", dispatch_id=dispatch_id)}
    assert kept == {first.ven_id: {"base": [500.0, 600.0], "ld": [-5.0]}, second.ven_id: None}
    assert [one.value for one in (await baseline_of(first)).intervals] == [500.0, 600.0]
    assert [one.value for one in (await baseline_of(second)).intervals] == [1000.0, 2000.0]
    with pytest.raises(ConflictError, match="values of its own"):
        await change(world, dispatch_id, baseline=supposed(world, 1.0))
    with pytest.raises(InvalidError, match="do not fit"):
        await world.dispatch(first, baseline=supposed(world, 1.0), own_values={first.ven_id: {"base": [1.0, 2.0]}})


async def test_ev07_a_changed_baseline_is_a_modification(world):
    ven = await world.ven()
    baseline = supposed(world, 1000.0)
    dispatch_id = await world.dispatch(ven, baseline=baseline)
    await change(world, dispatch_id, baseline=baseline)
    assert (await ven.events())[0].event.modification_number == 0
    await change(world, dispatch_id, baseline=supposed(world, 900.0))
    await change(world, dispatch_id, signals=(power(-7),))
    (one,) = await ven.events()
    assert one.event.modification_number == 2
    assert [part.value for part in one.event.baseline.intervals] == [900.0], "what is not named stays"


async def test_ev34_what_a_baseline_said_of_the_past_stays(world):
    ven = await world.ven()
    baseline = supposed(world, 1000.0, 2000.0)
    dispatch_id = await world.dispatch(ven, signals=(power(-1, -2),), baseline=baseline)
    world.later(hours=1, minutes=30)
    for changed in (
        replace(baseline, intervals=intervals(1.0, 2000.0)),
        replace(baseline, resource_ids=()),
        replace(baseline, start=baseline.start - DAY),
    ):
        with pytest.raises(ConflictError, match="elapsed"):
            await change(world, dispatch_id, baseline=changed)
    await change(world, dispatch_id, baseline=replace(baseline, intervals=intervals(1000.0, 5.0)))
    assert [one.value for one in (await baseline_of(ven)).intervals] == [1000.0, 5.0]


async def test_a_shorter_dispatch_keeps_its_baselines(world):
    first, second = await world.ven(), await world.ven()
    own = {first.ven_id: {"base": [500.0, 600.0, 700.0]}}
    dispatch_id = await world.dispatch(
        first, second, signals=(power(-1, -2, -3),), baseline=supposed(world, 1.0, 2.0, 3.0), own_values=own
    )
    async with world.tx() as tx:
        await dispatch.reorder(tx, dispatch_id, {}, world.now, who="test", length=2)
    for ven, values in ((first, [500.0, 600.0, 700.0]), (second, [1.0, 2.0, 3.0])):
        (one,) = await ven.events()
        assert len(one.event.signals[0].intervals) == 2
        assert [part.value for part in one.event.baseline.intervals] == values
