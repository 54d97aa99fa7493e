"""Webhooks: subscriptions, signatures, retries, what is given up, and whose they are."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from aggregator.topics import Topic
from support.waiting import until
from vtn.services import webhooks
from vtn.services.webhooks import RETRY_AFTER_S, Sender
from web.http_client import STRICT, Guard

PATH = "/brp/v1/webhook-subscriptions"
DELIVERIES = "/brp/v1/webhook-deliveries"


class Receiver:
    """A BRP's server: keeps what came and answers as told."""

    def __init__(self):
        self.came = []
        self.status = 204
        self.go = asyncio.Event()
        self.go.set()
        self.url = ""

    async def hook(self, request):
        self.came.append((request.headers.copy(), await request.read()))
        await self.go.wait()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"} if self.status == 302 else {})


@pytest.fixture
async def receiver(aiohttp_server):
    one = Receiver()
    app = web.Application()
    app.router.add_post("/{rest:.*}", one.hook)
    server = await aiohttp_server(app)
    one.url = f"http://127.0.0.1:{server.port}/hook"
    yield one
    one.go.set()


class Post:
    """The sender of a market, with a clock that the test moves."""

    def __init__(self, market, guard):
        self.now = datetime.now(UTC) + timedelta(seconds=1)
        self.market = market
        self.sender = Sender(market.world.db, guard, utcnow=lambda: self.now)

    async def turn(self, later_s=0):
        self.now = max(self.now, datetime.now(UTC)) + timedelta(seconds=later_s)  # what was published by now is due
        await asyncio.gather(*await self.sender.turn())

    async def row(self):
        (row,) = await self.market.world.rows("webhook_delivery")
        return row


@pytest.fixture
async def post(market):
    made = Post(market, market.desk.guard)
    yield made
    await made.sender.close()


async def publish(market, buyer, kind=Topic.OFFER_CREATED, **data):
    async with market.world.tx() as tx:
        return await webhooks.publish(tx, buyer.party_id, kind, data or {"offer_id": "fof_1"}, market.world.now)


async def test_subscriptions_are_made_read_changed_and_ended(market):
    buyer = await market.buyer()
    body = {"url": "https://brp.example/hook", "events": ["offer.*", "report.published"]}
    made, headers = await market.exchange("POST", PATH, 201, body, who=buyer)
    one = made["subscription"]
    assert headers["Location"] == f"{PATH}/{one['id']}"
    assert made["secret"].startswith("whsec_")
    read, headers = await market.exchange("GET", f"{PATH}/{one['id']}", 200, who=buyer)
    assert read == one
    assert "secret" not in read
    changed = {"url": "https://brp.example/other", "events": []}
    tag = {"If-Match": headers["ETag"]}
    again = await market.call("PUT", f"{PATH}/{one['id']}", 200, changed, who=buyer, headers=tag)
    assert again == one | changed
    await market.call("PUT", f"{PATH}/{one['id']}", 412, changed, who=buyer, headers=tag)
    assert (await market.get(PATH, buyer))["items"] == [again]
    await market.call("DELETE", f"{PATH}/{one['id']}", 204, who=buyer)
    await market.get(f"{PATH}/{one['id']}", buyer, 404)
    await market.call("DELETE", f"{PATH}/{one['id']}", 404, who=buyer)
    assert (await market.get(PATH, buyer))["items"] == []
    actions = [(who, action) for who, action, subject in await market.audited() if subject == one["id"]]
    me = f"brp:{buyer.client_id}"
    assert actions == [(me, "create webhook"), (me, "change webhook"), (me, "end webhook")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"url": "http://brp.example/"}, "use https"),
        ({"url": "https://10.0.0.1/"}, "not a public address"),
        ({"url": "https://[::ffff:169.254.169.254]/latest"}, "not a public address"),
        ({"url": "https://2130706433/"}, ""),
        ({"url": "https://me@brp.example/"}, "no user"),
        ({"url": "gopher://brp.example/"}, "no URL"),
        ({"url": ""}, "/url"),
        ({"url": "https://brp.example/", "events": ["offer.eaten"]}, "no event offer.eaten"),
        ({"url": "https://brp.example/", "events": ["*"]}, "no event *"),
        ({"url": "https://brp.example/", "events": ["offer.*"] * 41}, "/events"),
        ({"url": "https://brp.example/", "secret": "mine"}, "/secret"),
    ],
)
async def test_odd_subscriptions_are_refused(market, body, text):
    buyer = await market.buyer()
    if body["url"] == "https://2130706433/":  # a name like any other, until it is resolved
        await market.post(PATH, buyer, body)
        return
    await market.refused(PATH, buyer, body, text)
    assert await market.world.rows("webhook_subscription") == []


async def test_there_are_twenty_at_most(market):
    buyer = await market.buyer()
    for number in range(20):
        await market.post(PATH, buyer, {"url": f"https://brp.example/{number}"})
    await market.refused(PATH, buyer, {"url": "https://brp.example/20"}, "20 subscriptions", 409)


async def test_another_brp_sees_nothing_of_it(market, receiver, post):
    mine, other = await market.buyer("A"), await market.buyer("B")
    one = (await market.post(PATH, mine, {"url": receiver.url}))["subscription"]
    await publish(market, mine)
    await post.turn()
    delivery = (await market.get(DELIVERIES, mine))["items"][0]["id"]
    before = await market.world.dump(without=["audit"])
    assert (await market.get(PATH, other))["items"] == []
    assert (await market.get(DELIVERIES, other))["items"] == []
    assert (await market.get(f"{DELIVERIES}?subscription_id={one['id']}", other))["items"] == []
    await market.get(f"{PATH}/{one['id']}", other, 404)
    await market.call("PUT", f"{PATH}/{one['id']}", 404, {"url": "https://b.example/"}, who=other)
    await market.call("DELETE", f"{PATH}/{one['id']}", 404, who=other)
    await market.post(f"{PATH}/{one['id']}/test", other, status=404)
    await market.get(f"{DELIVERIES}/{delivery}", other, 404)
    await market.post(f"{DELIVERIES}/{delivery}/replay", other, status=404)
    assert await market.world.dump(without=["audit"]) == before


async def test_a_message_is_signed_and_its_receipt_is_the_end_of_it(market, receiver, post):
    buyer = await market.buyer()
    made = await market.post(PATH, buyer, {"url": receiver.url, "events": ["offer.*"]})
    assert await publish(market, buyer, Topic.REPORT_PUBLISHED) == []
    (delivery_id,) = await publish(market, buyer, offer_id="fof_1")
    await post.turn()
    ((headers, body),) = receiver.came
    told = json.loads(body)
    assert told == {"type": "offer.created", "timestamp": told["timestamp"], "data": {"offer_id": "fof_1"}}
    assert headers["Webhook-Id"] == delivery_id
    assert abs(int(headers["Webhook-Timestamp"]) - post.now.timestamp()) < 2
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    signed = f"{delivery_id}.{headers['Webhook-Timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["Webhook-Signature"] == f"v1,{mac}"
    shown = await market.get(f"{DELIVERIES}/{delivery_id}", buyer)
    assert (shown["state"], shown["tries"], shown["last_status"], shown["payload"]) == ("done", 1, 204, told)
    await post.turn(later_s=100_000)
    assert len(receiver.came) == 1


def test_a_known_signature():
    """The example of the Standard Webhooks specification's libraries, computed by hand from its parts."""
    secret = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
    mac = hmac.new(b"0123456789abcdef", b"msg_1.1700000000.{}", hashlib.sha256).digest()
    assert webhooks.sign(secret, "msg_1", 1700000000, b"{}") == "v1," + base64.b64encode(mac).decode()


async def test_it_is_tried_again_ever_later_and_then_given_up(market, receiver, post):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    await publish(market, buyer)
    receiver.status = 500
    assert RETRY_AFTER_S == (60, 120, 240, 480, 960, 1920, 3840, 7680, 14400, 14400)
    await post.turn()
    for number, pause_s in enumerate(RETRY_AFTER_S, 1):
        row = await post.row()
        assert (row.state, row.tries, row.last_status) == ("pending", number, 500)
        await post.turn(later_s=pause_s - 1)
        assert len(receiver.came) == number
        await post.turn(later_s=1)
        assert len(receiver.came) == number + 1
    row = await post.row()
    assert (row.state, row.tries) == ("dead", 11)
    assert len({headers["Webhook-Id"] for headers, _ in receiver.came}) == 1
    await post.turn(later_s=1_000_000)
    assert len(receiver.came) == 11

    (dead,) = (await market.get("/v1/webhook-deliveries?state=dead", "viewer"))["items"]
    assert dead["last_status"] == 500
    receiver.status = 200
    replay = f"/v1/webhook-deliveries/{dead['id']}/replay"
    await market.post(replay, "viewer", status=403)
    assert (await market.post(replay, "dispatcher", status=202))["state"] == "pending"
    await market.post(replay, "dispatcher", status=409)
    await post.turn()
    assert (await post.row()).state == "done"
    assert len(receiver.came) == 12
    assert ("dispatcher", "replay webhook", dead["id"]) in await market.audited()


@pytest.mark.parametrize("status", [199 + 101, 302, 400, 404, 410, 429, 503])
async def test_anything_but_2xx_is_no_receipt_and_no_redirect_is_followed(market, receiver, post, status):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    await publish(market, buyer)
    receiver.status = status
    await post.turn()
    row = await post.row()
    assert (row.state, row.last_status) == ("pending", status)
    assert len(receiver.came) == 1


async def test_the_brp_replays_and_tests_by_itself(market, receiver, post):
    buyer = await market.buyer()
    one = (await market.post(PATH, buyer, {"url": receiver.url, "events": ["report.*"]}))["subscription"]
    queued, headers = await market.exchange("POST", f"{PATH}/{one['id']}/test", 202, who=buyer)
    assert (queued["state"], queued["event"]) == ("pending", "webhook.test")
    assert headers["Location"] == f"{DELIVERIES}/{queued['id']}"
    await post.turn()
    await market.post(f"{DELIVERIES}/{queued['id']}/replay", buyer, status=202)
    await post.turn()
    ids = [headers["Webhook-Id"] for headers, _ in receiver.came]
    assert ids == [queued["id"]] * 2
    assert json.loads(receiver.came[0][1])["data"] == {"subscription_id": one["id"]}


async def test_an_address_that_leads_inside_is_never_called(market, receiver):
    """It was allowed when it was subscribed, or its name has changed since: the check is made at each call."""
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    await publish(market, buyer)
    strict = Post(market, STRICT)
    await strict.turn()
    row = await strict.row()
    assert (row.state, row.tries, row.last_status) == ("pending", 1, None)
    assert row.last_error == "The address is not public and not allowed by the operator."
    assert receiver.came == []


async def test_a_receiver_that_hangs_delays_nobody_else(market, receiver, post, aiohttp_server):
    slow, quick = await market.buyer("slow"), await market.buyer("quick")
    other = Receiver()
    app = web.Application()
    app.router.add_post("/hook", other.hook)
    server = await aiohttp_server(app)
    receiver.go.clear()
    await market.post(PATH, slow, {"url": receiver.url})
    await market.post(PATH, quick, {"url": f"http://127.0.0.1:{server.port}/hook"})
    await publish(market, slow)
    await post.sender.turn()
    await until(lambda: receiver.came)
    await publish(market, quick)
    post.now += timedelta(seconds=1)
    sending = await post.sender.turn()
    await until(lambda: other.came)
    receiver.go.set()
    await asyncio.gather(*sending)
    assert {row.state for row in await market.world.rows("webhook_delivery")} == {"done"}


async def test_what_a_killed_process_had_taken_is_sent_by_another(market, receiver, post):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    await publish(market, buyer)
    receiver.go.clear()
    await post.sender.turn()
    await until(lambda: receiver.came)
    await post.sender.close()
    receiver.go.set()
    second = Post(market, market.desk.guard)
    second.now = post.now
    await second.turn()
    assert len(receiver.came) == 1  # leased still
    await second.turn(later_s=121)
    assert len(receiver.came) == 2
    assert (await second.row()).state == "done"


async def test_two_processes_do_not_send_twice(market, receiver):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    for number in range(12):
        await publish(market, buyer, offer_id=f"fof_{number}")
    posts = [Post(market, Guard.allowing(["127.0.0.1"])) for _ in range(2)]
    for _ in range(3):
        await asyncio.gather(*(one.turn(later_s=1) for one in posts))
    sent = [json.loads(body)["data"]["offer_id"] for _, body in receiver.came]
    assert sorted(sent) == sorted(f"fof_{number}" for number in range(12))


async def test_an_ended_subscription_gets_nothing_more(market, receiver, post):
    buyer = await market.buyer()
    one = (await market.post(PATH, buyer, {"url": receiver.url}))["subscription"]
    await publish(market, buyer)
    await market.call("DELETE", f"{PATH}/{one['id']}", 204, who=buyer)
    assert await publish(market, buyer) == []
    await post.turn()
    assert receiver.came == []
    row = await post.row()
    assert (row.state, row.last_error) == ("dead", "subscription ended")
    await market.post(f"{DELIVERIES}/{row.id}/replay", buyer, status=404)


async def test_deliveries_come_in_pages_and_by_state(market, receiver, post):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    ids = []
    for number in range(5):
        ids += await publish(market, buyer, offer_id=f"fof_{number}")
    await post.turn()
    ids += await publish(market, buyer)
    seen, path = [], f"{DELIVERIES}?limit=2"
    while path:
        page = await market.get(path, buyer)
        seen += [one["id"] for one in page["items"]]
        path = f"{DELIVERIES}?limit=2&cursor={page['next']}" if page["next"] else None
    assert seen == sorted(ids, reverse=True)
    assert [one["id"] for one in (await market.get(f"{DELIVERIES}?state=pending", buyer))["items"]] == ids[-1:]
    await market.get(f"{DELIVERIES}?state=lost", buyer, 422)
    await market.get(f"{DELIVERIES}?cursor=x", buyer, 422)


async def test_old_receipts_are_forgotten_and_what_is_dead_is_not(market, receiver, post):
    buyer = await market.buyer()
    await market.post(PATH, buyer, {"url": receiver.url})
    await publish(market, buyer)
    await post.turn()
    table = webhooks.webhook_delivery
    row = dict((await post.row())._mapping)
    async with market.world.tx() as tx:
        await tx.conn.execute(table.insert().values(row | {"id": "whd_dead", "state": "dead"}))
        await webhooks.forget_old(tx, datetime.now(UTC) + timedelta(days=29))
        assert len((await tx.conn.execute(table.select())).all()) == 2
        await webhooks.forget_old(tx, datetime.now(UTC) + timedelta(days=31))
    assert (await post.row()).id == "whd_dead"
