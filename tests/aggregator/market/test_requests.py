"""Requests: bounded, answered with an offer or a reason, seen by their own BRP only (aggregator.trade.requests)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from aggregator.tables import contract as contract_table
from aggregator.trade import brps, contracts, offers, requests
from aggregator.trade.contracts import Limits
from aggregator.trade.requests import TRANSITIONS, NeedInterval, RequestEvent, RequestStatus
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from core.spans import Duration
from vtn.services import programme
from vtn.services.programme import Limits as Calls
from vtn.services.programme import Parameters, Window

QUARTER = timedelta(minutes=15)


async def test_a_request_gets_an_offer_of_what_the_pool_can_do(any_trade):
    trade = any_trade
    await trade.join(6)
    request_id = await trade.request()
    assert (await trade.requested(request_id)).status is RequestStatus.RECEIVED
    await trade.market.turn()
    found = await trade.requested(request_id)
    assert found.status is RequestStatus.OFFERED
    (offer_id,) = found.offer_ids
    full = (await trade.offered(offer_id)).options[0]
    assert all(1000 <= one.power_w <= 4000 for one in full.intervals)
    assert await trade.told() == ["request.received", "offer.created", "request.offered"]


async def test_more_than_the_potential_is_declined_with_what_would_be_possible(trade):
    await trade.join(6)
    before = await trade.world.dump(without=("audit", "webhook_delivery", "flexibility_request"))
    request_id = await trade.request(trade.wish((50_000, 60_000), (0, 100)))
    await trade.market.turn()
    found = await trade.requested(request_id)
    assert found.status is RequestStatus.DECLINED
    assert "Over the potential: 50000 W" in found.reason
    last = (await trade.world.rows("webhook_delivery"))[-1]
    assert last.event == "request.declined"
    possible = last.payload["data"]["possible_w"]
    assert len(possible) == 2
    assert all(0 < one < 6000 for one in possible)
    assert await trade.world.dump(without=("audit", "webhook_delivery", "flexibility_request")) == before


async def test_without_any_home_nothing_is_offered(trade):
    request_id = await trade.request(trade.wish((0, 1000)))
    await trade.market.turn()
    found = await trade.requested(request_id)
    assert (found.status, found.reason) == (RequestStatus.DECLINED, "No flexibility is left in that time.")


async def test_a_request_without_an_answer_expires_at_its_deadline(trade):
    await trade.join(6)
    request_id = await trade.request()
    await trade.at((await trade.requested(request_id)).need.deadline)
    assert (await trade.requested(request_id)).status is RequestStatus.EXPIRED


async def test_an_area_and_a_group_narrow_down_whose_flexibility_it_is(trade):
    await trade.join(6)
    request_id = await trade.request(area="elsewhere")
    await trade.market.turn()
    assert (await trade.requested(request_id)).status is RequestStatus.DECLINED
    with pytest.raises(NotFoundError):
        await trade.request(group_ids=("nobody",))


def wrong_wishes(trade):
    good = trade.wish()
    first, second = good.intervals[:2]
    return {
        "past": trade.wish(start=trade.now - QUARTER, deadline=trade.now),
        "too far": trade.wish(start=trade.now + timedelta(days=15)),
        "deadline passed": replace(good, deadline=trade.now),
        "deadline after the start": replace(good, deadline=good.start + QUARTER),
        "no interval": replace(good, intervals=()),
        "too many": trade.wish(*((0, 1),) * 193, duration_s=60),
        "too long": trade.wish((0, 1), duration_s=49 * 3600),
        "a gap": replace(good, intervals=(first, replace(second, start=second.start + QUARTER))),
        "off the minute": replace(good, intervals=(replace(first, start=first.start + timedelta(seconds=1)),)),
        "no time": replace(good, intervals=(replace(first, duration_s=0),)),
        "upside down": replace(good, intervals=(NeedInterval(first.start, 900, 5, 4),)),
        "below zero": replace(good, intervals=(NeedInterval(first.start, 900, -5, 4),)),
        "nothing": trade.wish((0, 0)),
        "enormous": trade.wish((0, 10**12)),
        "no direction": replace(good, direction="up"),
        "no money": replace(good, max_price="cheap"),
        "another product": replace(good, product="balancing"),
        "endless words": replace(good, reason="x" * 501),
    }


async def test_a_wish_that_nobody_could_meet_changes_nothing(trade):
    before = await trade.world.dump()
    for name, wish in wrong_wishes(trade).items():
        with pytest.raises(InvalidError):
            await trade.request(wish)
        assert await trade.world.dump() == before, name


async def test_what_the_contract_does_not_cover_is_forbidden_and_changes_nothing(trade):
    limits = Limits(max_power_w=3000, directions=("reduce",), areas=("north",))
    narrow = await trade.contract_with(limits=limits, valid_to=trade.now + timedelta(hours=2))
    north = trade.wish((0, 3000), area="north")
    outside = [
        replace(north, area=None),
        replace(north, area="south"),
        replace(north, direction="increase"),
        trade.wish((0, 3001), area="north"),
        trade.wish((0, 3000), area="north", start=trade.now + timedelta(hours=2)),
    ]
    before = await trade.world.dump()
    for wish in outside:
        with pytest.raises(ForbiddenError):
            async with trade.world.tx() as tx:
                await requests.create(tx, narrow.id, wish, trade.now, who="brp")
    assert await trade.world.dump() == before
    async with trade.world.tx() as tx:
        await requests.create(tx, narrow.id, north, trade.now, who="brp")


async def test_the_programmes_notice_windows_and_lengths_bind_every_contract(trade):
    limits = Calls(
        shortest=Duration.of(minutes=30), longest=Duration.of(hours=2), windows=(Window("12:00", "16:00", (1, 2)),)
    )
    rules = Parameters(notification=Duration.of(minutes=30), limits=limits)
    async with trade.world.tx() as tx:
        await programme.change(tx, trade.programme.id, "P", rules, trade.now, who="test")
    hour, day = timedelta(hours=1), timedelta(days=1)
    for wish in (
        trade.wish(start=trade.now + timedelta(minutes=29)),
        trade.wish((0, 1)),
        trade.wish(*((0, 1),) * 9),
        trade.wish(start=trade.now + 3 * hour + timedelta(minutes=30)),
        trade.wish(start=trade.now + 2 * day),
    ):
        with pytest.raises(InvalidError):
            await trade.request(wish)
    await trade.request(start=trade.now + day)


async def test_a_brp_sees_and_uses_only_its_own(trade):
    await trade.join(6)
    mine = await trade.request()
    async with trade.world.tx() as tx:
        other = await brps.create(tx, "Rival", trade.now, who="test")
    before = await trade.world.dump()
    async with trade.world.db.read() as conn:
        assert await requests.listed(conn, party_id=other) == []
        assert [one.id for one in await requests.listed(conn, party_id=trade.party_id)] == [mine]
        with pytest.raises(NotFoundError):
            await requests.get(conn, mine, other)
        with pytest.raises(NotFoundError):
            await contracts.get(conn, trade.contract.id, other)
    for attempt in (
        lambda tx: requests.create(tx, trade.contract.id, trade.wish(), trade.now, who="x", party_id=other),
        lambda tx: offers.cancel_request(tx, mine, trade.now, who="x", party_id=other),
    ):
        with pytest.raises(NotFoundError):
            async with trade.world.tx() as tx:
                await attempt(tx)
    assert await trade.world.dump() == before


async def test_a_cancelled_request_takes_its_offers_along_but_not_what_was_bought(trade):
    await trade.join(6)
    offer = await trade.offer()
    async with trade.world.tx() as tx:
        await offers.cancel_request(
            tx, offer.request_id, trade.now, who="brp", party_id=trade.party_id, reason="not needed"
        )
    found = await trade.requested(offer.request_id)
    assert (found.status, found.reason) == (RequestStatus.CANCELLED, "not needed")
    assert (await trade.offered(offer.id)).status == "revoked"
    with pytest.raises(ConflictError):
        await trade.accept(offer)
    bought = await trade.offer()
    await trade.accept(bought)
    with pytest.raises(ConflictError):
        async with trade.world.tx() as tx:
            await offers.cancel_request(tx, bought.request_id, trade.now, who="brp")


async def test_only_so_many_requests_of_a_contract_wait(trade, monkeypatch):
    monkeypatch.setattr(requests, "_MAX_OPEN", 2)
    await trade.request()
    await trade.request()
    with pytest.raises(ConflictError):
        await trade.request()
    await trade.market.turn()
    await trade.request()


async def test_requests_are_listed_newest_first_in_pages(trade):
    made = [await trade.request() for _ in range(3)]
    async with trade.world.db.read() as conn:
        first = await requests.listed(conn, limit=2)
        rest = await requests.listed(conn, before=first[-1].id, limit=2)
        received = await requests.listed(conn, status=RequestStatus.RECEIVED, contract_id=trade.contract.id)
    assert sorted(one.id for one in first + rest) == sorted(made)
    assert [one.id for one in first + rest] == sorted(made, reverse=True)
    assert len(received) == 3


async def test_a_contract_that_ended_sells_nothing_new(trade):
    async with trade.world.tx() as tx:
        await contracts.end(tx, trade.contract.id, trade.now, who="test")
    with pytest.raises(ForbiddenError):
        await trade.request()
    with pytest.raises(ConflictError):
        async with trade.world.tx() as tx:
            await contracts.end(tx, trade.contract.id, trade.now, who="test")
    async with trade.world.tx() as tx:
        await tx.conn.execute(update(contract_table).values(valid_to=None))
    await trade.request()


@pytest.mark.parametrize("status", list(RequestStatus))
async def test_a_request_moves_by_the_table_only(trade, status):
    request_id = await trade.request()
    async with trade.world.db.read() as conn:
        one = replace(await requests.get(conn, request_id), status=status)
    for what in RequestEvent:
        before = await trade.world.dump()
        if what in TRANSITIONS[status]:
            async with trade.world.tx() as tx:
                reached = await requests.move(tx, one, what, trade.now, who="test")
            assert reached is TRANSITIONS[status][what]
            assert (await trade.requested(request_id)).status is reached
        else:
            with pytest.raises(ConflictError):
                async with trade.world.tx() as tx:
                    await requests.move(tx, one, what, trade.now, who="test")
            assert await trade.world.dump() == before
