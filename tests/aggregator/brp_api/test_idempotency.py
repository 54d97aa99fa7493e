"""Idempotency-Key: done once, answered alike, whatever happens in between."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from core.errors import UnavailableError
from vtn.services import webhooks
from vtn.services.idempotency import forget_old
from vtn.store.tables import idempotency

PATH = "/brp/v1/webhook-subscriptions"
BODY = {"url": "https://brp.example/hook"}


def key(name="k1"):
    return {"Idempotency-Key": name}


async def test_the_same_request_is_done_once_and_answered_alike(market):
    buyer = await market.buyer()
    first, one = await market.exchange("POST", PATH, 201, BODY, who=buyer, headers=key())
    again, two = await market.exchange("POST", PATH, 201, BODY, who=buyer, headers=key('"k1"'))
    assert again == first
    assert two["Location"] == one["Location"]
    assert (one.get("Idempotency-Replayed"), two["Idempotency-Replayed"]) == (None, "?1")
    assert len(await market.world.rows("webhook_subscription")) == 1
    assert [action for _, action, _ in await market.audited() if action == "create webhook"] == ["create webhook"]
    await market.post(PATH, buyer, BODY, headers=key("k2"))
    await market.post(PATH, buyer, BODY)
    assert len(await market.world.rows("webhook_subscription")) == 3


async def test_the_key_with_another_request_is_refused(market):
    buyer = await market.buyer()
    made = await market.post(PATH, buyer, BODY, headers=key())
    other = {"url": "https://brp.example/other"}
    problem = await market.post(PATH, buyer, other, 422, headers=key())
    assert "another request" in problem["detail"]
    test = f"{PATH}/{made['subscription']['id']}/test"
    await market.post(test, buyer, None, 422, headers=key())
    assert len(await market.world.rows("webhook_subscription")) == 1
    assert await market.world.rows("webhook_delivery") == []


async def test_keys_belong_to_their_client(market):
    for name in ("A", "B"):
        await market.post(PATH, await market.buyer(name), BODY, headers=key())
    assert len(await market.world.rows("webhook_subscription")) == 2


async def test_a_refusal_is_remembered_and_changes_nothing(market):
    buyer = await market.buyer()
    bad = {"url": "http://brp.example/"}
    first = await market.post(PATH, buyer, bad, 422, headers=key())
    again = await market.post(PATH, buyer, bad, 422, headers=key())
    assert again == first
    assert again["request_id"] == first["request_id"]
    await market.post(PATH, buyer, BODY, 422, headers=key())
    assert await market.world.rows("webhook_subscription") == []


@pytest.mark.parametrize("bad", ["", " ", "a b", 'a"b', "x" * 256, "é"])
async def test_an_odd_key_is_refused(market, bad):
    buyer = await market.buyer()
    await market.post(PATH, buyer, BODY, 400, headers=key(bad))
    assert await market.world.rows("idempotency") == []


async def test_a_malformed_body_uses_no_key_up(market):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"uri": "x"}, 422, headers=key())
    await market.post(PATH, buyer, BODY, headers=key())


async def test_only_one_of_many_at_once_is_done(market, monkeypatch):
    buyer = await market.buyer()
    entered, go = asyncio.Event(), asyncio.Event()
    original = webhooks.subscribe

    async def slow(*args, **more):
        entered.set()
        await go.wait()
        return await original(*args, **more)

    monkeypatch.setattr(webhooks, "subscribe", slow)
    first = asyncio.create_task(market.post(PATH, buyer, BODY, headers=key()))
    await entered.wait()
    # SQLite has one writer at a time, so these wait for the first and then find its answer.
    others = [asyncio.create_task(market.post(PATH, buyer, BODY, headers=key())) for _ in range(3)]
    go.set()
    answers = await asyncio.gather(first, *others)
    assert all(answer == answers[0] for answer in answers)
    assert len(await market.world.rows("webhook_subscription")) == 1


async def _in_flight(market, buyer, age_s):
    """Leave a key as a request that is at work, or that was cut off, leaves it."""
    await market.post(PATH, buyer, {"url": "https://brp.example/x"}, headers=key())
    (row,) = await market.world.rows("idempotency")
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    async with market.world.tx() as tx:
        await tx.conn.execute(update(idempotency).values(status=None, headers=None, body=None, created_at=at))
        await tx.conn.execute(webhooks.webhook_subscription.delete())
    return row


async def test_a_request_at_work_is_a_conflict(market):
    buyer = await market.buyer()
    await _in_flight(market, buyer, 5)
    problem, headers = await market.exchange(
        "POST", PATH, 409, {"url": "https://brp.example/x"}, who=buyer, headers=key()
    )
    assert "still at work" in problem["detail"]
    assert headers["Retry-After"] == "1"
    assert await market.world.rows("webhook_subscription") == []


async def test_a_request_that_was_cut_off_can_be_sent_again(market):
    buyer = await market.buyer()
    await _in_flight(market, buyer, 61)
    made = await market.post(PATH, buyer, {"url": "https://brp.example/x"}, headers=key())
    assert made == await market.post(PATH, buyer, {"url": "https://brp.example/x"}, headers=key())
    assert len(await market.world.rows("webhook_subscription")) == 1


async def test_a_request_that_was_taken_over_commits_nothing(market, monkeypatch):
    buyer = await market.buyer()
    original = webhooks.subscribe

    async def overtaken(tx, *args, **more):
        made = await original(tx, *args, **more)
        await tx.conn.execute(update(idempotency).values(created_at=datetime.now(UTC) + timedelta(seconds=1)))
        return made

    monkeypatch.setattr(webhooks, "subscribe", overtaken)
    problem = await market.post(PATH, buyer, BODY, 409, headers=key())
    assert "sent again" in problem["detail"]
    assert await market.world.rows("webhook_subscription") == []


@pytest.mark.parametrize("error", [RuntimeError("boom"), UnavailableError("The disk is full.")])
async def test_after_a_failure_of_ours_the_key_is_free_again(market, monkeypatch, error):
    buyer = await market.buyer()
    original = webhooks.subscribe

    async def failing(*args, **more):
        await original(*args, **more)
        raise error

    monkeypatch.setattr(webhooks, "subscribe", failing)
    status = 503 if isinstance(error, UnavailableError) else 500
    async with market.http.post(PATH, json=BODY, headers=buyer.headers | key()) as answer:
        assert answer.status == status
    assert await market.world.rows("idempotency") == []
    assert await market.world.rows("webhook_subscription") == []
    monkeypatch.setattr(webhooks, "subscribe", original)
    await market.post(PATH, buyer, BODY, headers=key())


async def test_keys_are_forgotten_after_a_day(market):
    buyer = await market.buyer()
    await market.post(PATH, buyer, BODY, headers=key())
    old = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    async with market.world.tx() as tx:
        await tx.conn.execute(update(idempotency).values(created_at=old))
    await market.post(PATH, buyer, {"url": "https://brp.example/new"}, headers=key())
    assert len(await market.world.rows("webhook_subscription")) == 2
    async with market.world.tx() as tx:
        await tx.conn.execute(update(idempotency).values(created_at=old))
        await forget_old(tx, datetime.now(UTC))
        assert (await tx.conn.execute(select(idempotency.c.key))).all() == []
