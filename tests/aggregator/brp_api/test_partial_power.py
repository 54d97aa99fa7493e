"""What is sold is called: a small order of large resources, over the API from the VEN's levels to its event."""

from datetime import timedelta

import pytest

from aggregator.trade import dispatch_control
from support.vtn_world import World

STALE_AFTER_S = 100.0
FIVE_KW = {"min_w": 5000, "max_w": 5000}


async def levels(market, minimum_w: int, step_w: int) -> None:
    """Say of every VEN at which levels it can be called, as its operator does."""
    for row in await market.world.rows("ven"):
        body = {"minimum_w": minimum_w, "step_w": step_w}
        path = f"/v1/vens/{row.id}/partial-power"
        assert await market.call("PUT", path, 200, body, who="dispatcher") == body


async def large(market):
    """Ten resources of 100 kW, a buyer, and a contract."""
    programme = await market.programme(10, 100_000.0)
    buyer = await market.buyer()
    return buyer, await market.contract(buyer, programme)


async def ordered(world: World) -> list[list[float]]:
    """What the events order, W."""
    return [row.own_values["power"] for row in await world.rows("event")]


async def test_five_kw_of_ten_resources_of_a_hundred_are_called_at_five(market):
    buyer, contract = await large(market)
    await levels(market, 5000, 1000)
    wish = [market.hour(1.0, **FIVE_KW)]
    one = await market.activation(buyer, contract, intervals=wish)
    assert one["status"] == "notified"
    assert one["outlook"]["called"] == 1
    assert one["outlook"]["short_w"] == 0
    (own,) = await ordered(market.world)
    assert set(own) <= {-5000.0, -6000.0, -7000.0}
    chosen = (await market.get(f"/v1/activations/{one['id']}/selection", "viewer"))["items"]
    (called,) = [row for row in chosen if row["reason"] == "called"]
    assert called["power_w"] == -own[0]
    assert called["whole_w"] == 100_000
    await market.turn(later=timedelta(hours=1, minutes=1))
    live = await market.get(f"/v1/activations/{one['id']}/live", "viewer")
    assert live["called_w"] == -own[0]
    for later in (timedelta(hours=1), timedelta(minutes=10)):
        await market.turn(later=later)
        await market.meter()
    evaluated = (await market.world.rows("evaluation"))[-1].result
    energies = {one["ven_id"]: one["ordered_wh"] for one in evaluated["vens"]}
    assert energies[called["ven_id"]] == pytest.approx(-own[0])
    assert max(energies.values()) < 2 * -own[0], "it never answered: who replaces it is called at partial power, too"


async def test_without_partial_power_the_offer_says_what_can_be_had(market):
    buyer, contract = await large(market)
    made = await market.post(
        "/brp/v1/flexibility-requests", buyer, market.wish(contract, intervals=[market.hour(1.0, **FIVE_KW)]), 202
    )
    await market.turn()
    found = await market.get(f"/brp/v1/flexibility-requests/{made['id']}", buyer)
    assert found["status"] == "declined"
    assert "called at their whole power, so that 50000 W are sold at least" in found["status_reason"]


async def test_less_than_partial_power_allows_is_not_sold_either(market):
    buyer, contract = await large(market)
    await levels(market, 20_000, 5000)
    order = {"contract_id": contract.id, "direction": "reduce", "intervals": [market.hour(1.0, power_w=5000)]}
    said = "from their minimum on in steps of 5000 W and more, so that 10000 W are sold at least"
    await market.refused("/brp/v1/activations", buyer, order, said, 409)


async def test_who_is_replaced_is_replaced_at_partial_power(market):
    buyer, contract = await large(market)
    await levels(market, 5000, 1000)
    one = await market.activation(buyer, contract, intervals=[market.hour(1.0, **FIVE_KW)])
    (event,) = await market.world.rows("event")
    async with market.world.tx() as tx:
        await dispatch_control.replace_ven(
            tx, one["id"], event.ven_id, market.world.now, who="operator", stale_after_s=STALE_AFTER_S
        )
    before, after = await ordered(market.world)
    assert after == before


async def test_a_change_keeps_to_the_levels(market):
    buyer, contract = await large(market)
    await levels(market, 5000, 1000)
    one = await market.activation(buyer, contract, intervals=[market.hour(1.0, min_w=250_000, max_w=250_000)])
    path = f"/brp/v1/activations/{one['id']}"
    before = await ordered(market.world)
    interval = one["intervals"][0] | {"power_w": 101_500}
    tag = {"If-Match": (await market.exchange("GET", path, 200, who=buyer))[1]["ETag"]}
    await market.call("PATCH", path, 200, {"intervals": [interval]}, who=buyer, headers=tag)
    after = await ordered(market.world)
    assert all(value % 1000 == 0 and value <= -5000 for own in after for value in own)
    ratio = sum(own[0] for own in after) / sum(own[0] for own in before)
    assert abs(ratio - 101.5 / 250) < 0.01
    tag = {"If-Match": (await market.exchange("GET", path, 200, who=buyer))[1]["ETag"]}
    await market.call("PATCH", path, 200, {"intervals": [interval | {"power_w": 183_300}]}, who=buyer, headers=tag)
    again = await ordered(market.world)
    assert all(value % 1000 == 0 and -100_000 <= value <= -5000 for own in again for value in own)
    ratio = sum(own[0] for own in again) / sum(own[0] for own in before)
    assert 183.3 / 250 - 0.03 < ratio <= 183.3 / 250
