"""The services behind a dispatch that an operator orders from the pool, on both kinds of database."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from aggregator.flexibility import inputs
from aggregator.trade import dispatch_changes, dispatch_drafts, dispatch_progress, selection_view
from aggregator.trade.dispatch_changes import DispatchChange
from aggregator.trade.dispatch_drafts import PoolOrder
from core.errors import ConflictError, InvalidError, NotFoundError
from support import market_homes
from support.databases import DIALECTS
from support.vtn_world import World, open_copy, world_on
from vtn.services import partial_power
from vtn.services.partial_power import PartialPower
from vtn.store import Database

STALE_AFTER_S = 3600.0


@pytest_asyncio.fixture(params=DIALECTS)
async def any_world(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "sqlite":
        database = open_copy(migrated, tmp_path / "world.db")
    else:
        database = await Database.open(request.getfixturevalue("postgresql_url"))
    async with world_on(database) as world:
        yield world


async def drafted(world: World, **more) -> tuple[str, market_homes.Homes]:
    homes = await market_homes.seed(world.db, world.now, [f"home {n}" for n in range(9)], days=1)
    wish = PoolOrder(homes.programme.id, "reduce", world.now + timedelta(hours=1), 3600, 3000, **more)
    draft_id = await dispatch_drafts.draft(world.db, wish, world.now, stale_after_s=STALE_AFTER_S, who="dan")
    return draft_id, homes


async def test_a_draft_is_confirmed_changed_and_one_is_replaced(any_world: World) -> None:
    draft_id, homes = await drafted(any_world)
    async with any_world.db.read() as conn:
        one = await dispatch_drafts.get(conn, draft_id)
        powers = await dispatch_drafts.orders(conn, one)
        counts = await selection_view.counts(conn, one.selection_id)
        about = await selection_view.about(conn, one.selection_id)
        assert await dispatch_changes.surplus(conn, one.selection_id) >= 1
    assert sum(counts.values()) == len(homes.ven_ids)
    assert counts["called"] == len(powers) == one.figures.called_vens
    assert [step.name for step in about.waterfall][-1] == "offer"
    assert one.figures.called.p10_w <= one.figures.called.p50_w <= one.figures.called.p90_w
    dispatch_id = await dispatch_drafts.confirm(
        any_world.db, draft_id, any_world.now, stale_after_s=STALE_AFTER_S, who="dan"
    )
    gone = min(powers)
    async with any_world.tx() as tx:
        await dispatch_changes.modify(tx, dispatch_id, DispatchChange(1500.0), any_world.now, who="dan")
        successor = await dispatch_changes.replace_ven(tx, dispatch_id, gone, any_world.now, who="dan")
    assert successor is not None
    async with any_world.db.read() as conn:
        now = await dispatch_progress.read(conn, dispatch_id, any_world.now)
    assert now.selection_id == one.selection_id
    assert {row.ven_id for row in now.rows if row.state == "released"} == {gone}
    assert successor in {row.ven_id for row in now.rows}
    with pytest.raises(ConflictError, match="already"):
        await dispatch_drafts.confirm(any_world.db, draft_id, any_world.now, stale_after_s=STALE_AFTER_S, who="dan")


async def test_the_inputs_of_a_draft_choose_the_same_again(any_world: World) -> None:
    draft_id, _ = await drafted(any_world)
    (row,) = await any_world.rows("selection")
    fleet = inputs.from_json(row.inputs["fleet"])
    ask = dispatch_drafts.Ask(np.array(inputs.unrolled(row.inputs["target_w"])))
    choice = dispatch_drafts.choose(fleet, ask, seed=row.inputs["seed"])
    assert sorted(row.inputs["orders"]) == sorted(fleet.ven_ids[one] for one in choice.called)
    (draft,) = await any_world.rows("dispatch_draft")
    assert (draft.id, draft.selection_id) == (draft_id, row.id)


async def test_old_drafts_are_thrown_away_with_the_next_one(any_world: World) -> None:
    old, homes = await drafted(any_world)
    any_world.later(days=2)
    wish = PoolOrder(homes.programme.id, "reduce", any_world.now + timedelta(hours=1), 3600, 3000)
    await dispatch_drafts.draft(any_world.db, wish, any_world.now, stale_after_s=STALE_AFTER_S, who="dan")
    async with any_world.db.read() as conn:
        with pytest.raises(NotFoundError):
            await dispatch_drafts.get(conn, old)


async def test_a_rehearsal_leaves_nothing_behind(any_world: World) -> None:
    draft_id, _ = await drafted(any_world)
    async with any_world.db.read() as conn:
        one = await dispatch_drafts.get(conn, draft_id)
        powers = await dispatch_drafts.orders(conn, one)
    before = await any_world.dump()
    (sent,) = await dispatch_drafts.rehearse(
        any_world.db, dispatch_drafts.order(one.order, dict([min(powers.items())])), any_world.now, who="dan"
    )
    assert sent.event.signals[0].intervals[0].value < 0
    assert await any_world.dump() == before


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"power_w": 0}, "power"),
        ({"duration_s": 90}, "minute"),
        ({"direction": "up"}, "direction"),
        ({"start_s": -60}, "passed"),
    ],
)
async def test_what_no_pool_can_meet_is_refused(any_world: World, more: dict, why: str) -> None:
    fields = {"start_s": 3600} | more
    start = any_world.now + timedelta(seconds=fields.pop("start_s"))
    wish = PoolOrder(
        **({"programme_id": "p", "direction": "reduce", "start": start, "duration_s": 600, "power_w": 1} | fields)
    )
    with pytest.raises(InvalidError, match=why):
        await dispatch_drafts.draft(any_world.db, wish, any_world.now, stale_after_s=STALE_AFTER_S, who="dan")


async def test_a_small_order_is_drafted_changed_and_replaced_at_partial_power(any_world: World) -> None:
    homes = await market_homes.seed(any_world.db, any_world.now, [f"home {n}" for n in range(9)], days=1)
    async with any_world.tx() as tx:
        for ven_id in homes.ven_ids:
            await partial_power.set_partial_power(tx, ven_id, PartialPower(50, 10), any_world.now, who="dan")
    wish = PoolOrder(homes.programme.id, "reduce", any_world.now + timedelta(hours=1), 3600, 100)
    draft_id = await dispatch_drafts.draft(any_world.db, wish, any_world.now, stale_after_s=STALE_AFTER_S, who="dan")
    async with any_world.db.read() as conn:
        one = await dispatch_drafts.get(conn, draft_id)
        powers = await dispatch_drafts.orders(conn, one)
        (called,) = await selection_view.reasons(conn, one.selection_id, reason="called")
    ((ven_id, power_w),) = powers.items()
    assert (power_w % 10 == 0).all()
    assert 100 <= power_w.max() <= 200
    assert called.whole_w is not None
    assert called.power_w == round(power_w.mean()) < called.whole_w
    dispatch_id = await dispatch_drafts.confirm(
        any_world.db, draft_id, any_world.now, stale_after_s=STALE_AFTER_S, who="dan"
    )
    async with any_world.tx() as tx:
        await dispatch_changes.modify(tx, dispatch_id, DispatchChange(62.0), any_world.now, who="dan")
        successor = await dispatch_changes.replace_ven(tx, dispatch_id, ven_id, any_world.now, who="dan")
    orders = {row.ven_id: row.own_values["power"] for row in await any_world.rows("event")}
    assert orders[successor] == orders[ven_id]
    assert all(value % 10 == 0 and -200 < value <= -50 for value in orders[ven_id])
