"""On PostgreSQL, where requests and processes truly run side by side."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

from aiohttp import web

from aggregator.topics import Topic
from vtn.services import webhooks
from vtn.services.access_tokens import Tokens
from vtn.services.webhooks import Sender

SUBSCRIPTIONS = "/brp/v1/webhook-subscriptions"


async def _statuses(market, buyer, path, body, keys):
    async def send(key):
        headers = buyer.headers | ({"Idempotency-Key": key} if key else {})
        async with market.http.post(path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    return await asyncio.gather(*map(send, keys))


async def test_one_key_sent_at_once_is_done_once(busy_market):
    market, buyer = busy_market, await busy_market.buyer()
    body = {"url": "https://brp.example/hook"}
    answers = await _statuses(market, buyer, SUBSCRIPTIONS, body, ["k"] * 8)
    assert {status for status, _ in answers} <= {201, 409}
    made = [value for status, value in answers if status == 201]
    assert made
    assert all(one == made[0] for one in made)
    assert len(await market.world.rows("webhook_subscription")) == 1
    (again,) = await _statuses(market, buyer, SUBSCRIPTIONS, body, ["k"])
    assert again == (201, made[0])


async def test_an_offer_is_accepted_once(busy_market):
    market = busy_market
    programme = await market.programme(8)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme)
    offer = await market.offer(buyer, contract)
    path = f"/brp/v1/flexibility-offers/{offer['id']}/acceptance"
    answers = await _statuses(market, buyer, path, {"option_id": "full"}, ["a", "b", "c", None])
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409]
    assert len(await market.world.rows("activation")) == 1
    order = {"contract_id": contract.id, "direction": "reduce", "intervals": [market.hour(3, power_w=3000)]}
    answers = await _statuses(market, buyer, "/brp/v1/activations", order, ["d", "e", "f"])
    assert 201 in {status for status, _ in answers} <= {201, 409}


async def test_two_senders_send_each_message_once(busy_market, aiohttp_server):
    market, buyer = busy_market, await busy_market.buyer()
    came = []

    async def hook(request):
        came.append(json.loads(await request.read())["data"]["offer_id"])
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", hook)
    server = await aiohttp_server(app)
    for _ in range(2):
        await market.post(SUBSCRIPTIONS, buyer, {"url": f"http://127.0.0.1:{server.port}/hook"})
    for number in range(10):
        async with market.world.tx() as tx:
            await webhooks.publish(tx, buyer.party_id, Topic.OFFER_CREATED, {"offer_id": number}, market.world.now)
    now = datetime.now(UTC) + timedelta(seconds=1)
    senders = [Sender(market.world.db, market.desk.guard, utcnow=lambda: now) for _ in range(2)]
    for _ in range(4):
        sending = await asyncio.gather(*(sender.turn() for sender in senders))
        await asyncio.gather(*(task for tasks in sending for task in tasks))
    assert sorted(came) == sorted([*range(10), *range(10)])
    assert {row.state for row in await market.world.rows("webhook_delivery")} == {"done"}


async def test_processes_that_start_together_read_each_others_tokens(busy_market):
    db = busy_market.world.db
    signers = [Tokens(db, "urn:evenload:vtn", "brp") for _ in range(3)]
    made = await asyncio.gather(*(one.sign("cli_1", ["flex:read"]) for one in signers))
    for reader in [*signers, Tokens(db, "urn:evenload:vtn", "brp")]:
        reader._loaded_at = float("-inf")
        for token in made:
            assert (await reader.read(token)).client_id == "cli_1"
