"""A BRP's day over REST: potential, request, offer, activation, report, settlement, and what goes wrong on the way."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from aggregator.flexibility.pool import SOLD_SHARE
from aggregator.trade.contracts import Price
from core.errors import InvalidError
from core.spans import Duration
from vtn.services.programme import Limits, Window
from web.operation import Operation

REQUESTS = "/brp/v1/flexibility-requests"
OFFERS = "/brp/v1/flexibility-offers"
ACTIVATIONS = "/brp/v1/activations"
SETTLEMENTS = "/brp/v1/settlements"


@pytest.fixture
async def trade(market):
    """A buyer with a contract about ten homes of 1 kW."""
    programme = await market.programme(10)
    buyer = await market.buyer()
    return buyer, await market.contract(buyer, programme)


async def test_what_a_brp_has_bought_is_never_answered_as_an_error(market, trade, monkeypatch):
    """Whatever fails between the commit and the answer: it says what was done, and the sale stands once."""
    buyer, contract = trade
    wish = await market.post(REQUESTS, buyer, market.wish(contract), 202)
    await market.turn()
    (offer,) = (await market.get(f"{OFFERS}?request_id={wish['id']}", buyer))["items"]

    def broken(*_args, **_kwargs):
        raise InvalidError("It cannot be shown.")

    body = {"option_id": offer["options"][0]["id"]}
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Operation, "write_answer", broken)
        sold = await market.post(f"{OFFERS}/{offer['id']}/acceptance", buyer, body, 201)
    assert sold["type"] == "urn:evenload:problem:not-shown"
    (activation,) = (await market.get(ACTIVATIONS, buyer))["items"]
    assert activation["id"] in sold["detail"]
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["committed, but not shown"]


async def _stated(market, buyer, made, settlement_id):
    """Make the statement of an activation's month, twice, and read it in every form."""
    wish = {"contract_id": made["contract_id"], "month": made["starts_at"][:7]}
    stated = await market.post("/brp/v1/statements", buyer, wish, 200)
    assert await market.post("/brp/v1/statements", buyer, wish, 200) == stated
    path = f"/brp/v1/statements/{stated['id']}"
    assert await market.get(path, buyer) == stated
    assert stated["content"]["activations"][0]["disputes"][0]["words"] == "No!"
    async with market.http.get(path, headers=buyer.headers | {"Accept": "text/csv"}) as answer:
        assert (await answer.text()).count(settlement_id) == 1
    async with market.http.get(f"{path}/pdf", headers=buyer.headers) as answer:
        assert (answer.content_type, (await answer.read())[:5]) == ("application/pdf", b"%PDF-")


async def test_from_request_to_settlement(market, trade):
    buyer, contract = trade
    me = await market.get("/brp/v1/me", buyer)
    assert [one["id"] for one in me["contracts"]] == [contract.id]

    first, headers = await market.exchange("POST", REQUESTS, 202, market.wish(contract), who=buyer)
    assert first["status"] == "received"
    assert headers["Location"] == f"{REQUESTS}/{first['id']}"
    await market.turn()
    found = await market.get(headers["Location"], buyer)
    assert found["status"] == "offered"
    assert [one["id"] for one in (await market.get(f"{REQUESTS}?status=offered", buyer))["items"]] == [first["id"]]
    assert (await market.get(f"{REQUESTS}?status=received", buyer))["items"] == []

    (offer,) = (await market.get(f"{OFFERS}?request_id={first['id']}", buyer))["items"]
    assert offer["status"] == "open"
    full = offer["options"][0]
    assert 1000 <= full["intervals"][0]["power_w"] <= 4000
    assert full["currency"] == "EUR"

    body = {"option_id": full["id"], "activation_factor": 0.9}
    made, headers = await market.exchange("POST", f"{OFFERS}/{offer['id']}/acceptance", 201, body, who=buyer)
    assert headers["Location"] == f"{ACTIVATIONS}/{made['id']}"
    assert made["status"] == "scheduled"
    assert made["activation_factor"] == 0.9
    assert made["intervals"][0]["power_w"] == int(full["intervals"][0]["power_w"] * 0.9)
    await market.turn()
    assert (await market.get(headers["Location"], buyer))["status"] == "notified"

    await market.turn(later=timedelta(minutes=65))
    live = await market.get(f"{ACTIVATIONS}/{made['id']}/live", buyer)
    assert live["status"] == "active"
    assert live["called"] > 0
    assert live["ordered_w"] == made["intervals"][0]["power_w"]
    await market.get(f"{ACTIVATIONS}/{made['id']}/report", buyer, 404)

    await market.meter()
    for later in (timedelta(hours=1), timedelta(minutes=10)):
        await market.turn(later=later)
        await market.meter()
    assert (await market.get(headers["Location"], buyer))["status"] == "completed"
    report = await market.get(f"{ACTIVATIONS}/{made['id']}/report", buyer)
    assert report["ordered_wh"] == made["intervals"][0]["power_w"]
    assert report["vens"] is None
    (settlement,) = (await market.get(f"{SETTLEMENTS}?activation_id={made['id']}", buyer))["items"]
    assert settlement["figures"]["penalty_per_kwh"] == "0.40"
    disputed = await market.post(f"{SETTLEMENTS}/{settlement['id']}/dispute", buyer, {"reason": "No!"}, 200)
    assert disputed["dispute"] == "No!"
    await market.post(f"{SETTLEMENTS}/{settlement['id']}/dispute", buyer, {"reason": "No!"}, 409)
    assert (await market.get(f"{SETTLEMENTS}/{settlement['id']}", buyer)) == disputed

    await _stated(market, buyer, made, settlement["id"])

    me = f"brp:{buyer.client_id}"
    actions = [action for who, action, _ in await market.audited() if who == me]
    assert actions == ["request", "offer accept", "activation", "dispute settlement", "statement"]


async def test_the_potential_is_what_can_be_sold(market, trade):
    buyer, contract = trade
    start = market.world.now + timedelta(hours=1)
    path = (
        f"/brp/v1/portfolio/potential?contract_id={contract.id}"
        f"&from={start.strftime('%Y-%m-%dT%H:%M:%SZ')}"
        f"&until={(start + timedelta(hours=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}"
    )
    found, headers = await market.exchange("GET", path, 200, who=buyer)
    assert headers["Cache-Control"] == "private, max-age=60"
    assert len(found["intervals"]) == 4
    one = found["intervals"][0]
    assert 0 < one["p10_w"] <= one["p50_w"] <= one["p90_w"] <= 11_000
    assert one["available_w"] == pytest.approx(SOLD_SHARE * one["at_confidence_w"], abs=1)
    assert one["at_confidence_w"] <= one["p10_w"]
    assert found["waterfall"][0]["vens"] == 10
    assert found["learning"]["vens"] == 10
    assert found["learning"]["learning"] + found["learning"]["unheard"] == 10
    assert [one["price_per_kwh"] for one in found["prices"]] == ["0.2125", "0.225", "0.2375", "0.25"]
    await market.call("GET", path, 304, who=buyer, headers={"If-None-Match": headers["ETag"]})

    await market.offer(buyer, contract)
    after = await market.get(path, buyer)
    assert after["intervals"][0]["available_w"] < one["available_w"]
    assert after["intervals"][0]["p50_w"] == one["p50_w"]

    low = await market.get(f"{path}&confidence=0.5&direction=increase&resolution_s=1800", buyer)
    assert [it["duration_s"] for it in low["intervals"]] == [1800, 1800]
    assert low["intervals"][0]["at_confidence_w"] > one["at_confidence_w"]
    for bad in ("&confidence=0.4", "&resolution_s=60", "&direction=down", "&resolution_s=3600&area="):
        await market.get(path + bad, buyer, 422)
    await market.get(path.replace(":00:00Z", ":00:30Z"), buyer, 422)
    await market.get(path.replace("until=2026-01-", "until=2026-02-"), buyer, 422)


async def potential_of(market, buyer, contract, first_hour, last_hour, step_s=3600):
    start, until = (market.world.now + timedelta(hours=hours) for hours in (first_hour, last_hour))
    span = f"from={start.strftime('%Y-%m-%dT%H:%M:%SZ')}&until={until.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    path = f"/brp/v1/portfolio/potential?contract_id={contract.id}&{span}&resolution_s={step_s}"
    return (await market.get(path, buyer))["intervals"]


async def test_each_interval_of_the_potential_speaks_for_itself(market):
    """Neither a window, nor the longest call, nor where what homes said ends, empties the other intervals."""
    hours = {"shortest": Duration.of(hours=2), "longest": Duration.of(hours=3)}
    evening = await market.programme(10, limits=Limits(windows=(Window("14:00", "18:00"),), **hours))
    buyer = await market.buyer()
    contract = await market.contract(buyer, evening)
    shown = await potential_of(market, buyer, contract, 1, 7)
    assert [one["available_w"] > 0 for one in shown] == [False, True, True, True, True, False]
    far = await potential_of(market, buyer, contract, 25, 49)
    assert [one["available_w"] > 0 for one in far] == [False, *[True] * 4, *[False] * 19]
    fine = await potential_of(market, buyer, contract, 25, 49, step_s=900)
    assert [one["start"] for one in fine[::4]] == [one["start"] for one in far]
    assert [one["available_w"] > 0 for one in fine] == [False] * 4 + [True] * 16 + [False] * 76


async def test_a_sale_takes_from_the_potential_of_its_own_time(market, trade):
    buyer, contract = trade
    before = await potential_of(market, buyer, contract, 1, 5)
    await market.post(
        ACTIVATIONS,
        buyer,
        {"contract_id": contract.id, "direction": "reduce", "intervals": [market.hour(2, power_w=4000)]},
        201,
    )
    sold = await potential_of(market, buyer, contract, 1, 5)
    assert [one["available_w"] for one in sold][::2] == [one["available_w"] for one in before][::2]
    assert sold[1]["available_w"] == before[1]["available_w"] - 4000
    await market.turn(later=timedelta(hours=1))
    called = await potential_of(market, buyer, contract, 0, 4)
    assert 0 < called[1]["p50_w"] < called[0]["p50_w"] == before[0]["p50_w"]


async def test_what_nobody_can_do_is_declined_with_what_is_possible(market, trade):
    buyer, contract = trade
    wish = market.wish(contract, intervals=[market.hour(1, min_w=50_000, max_w=60_000)])
    made = await market.post(REQUESTS, buyer, wish, 202)
    await market.turn()
    found = await market.get(f"{REQUESTS}/{made['id']}", buyer)
    assert found["status"] == "declined"
    assert "Possible in each interval" in found["status_reason"]
    assert (await market.get(OFFERS, buyer))["items"] == []


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"direction": "down"}, 422, "/direction"),
        ({"intervals": []}, 422, "/intervals"),
        ({"deadline": "2020-01-01T00:00:00Z"}, 422, "deadline"),
        ({"deadline": "2026-01-31T12:00:00"}, 422, "/deadline"),
        ({"contract_id": "ctr_none"}, 404, "No contract"),
        ({"group_ids": ["grp_none"]}, 404, "No group"),
        ({"max_price": "1e3"}, 422, "/max_price"),
        ({"max_price": 0.5}, 422, "/max_price"),
        ({"product": "other"}, 422, "product"),
        ({"power_kw": 5}, 422, "/power_kw"),
        ({"reason": "x" * 501}, 422, "/reason"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused_and_changes_nothing(market, trade, change, status, text):
    buyer, contract = trade
    before = await market.world.dump()
    await market.refused(REQUESTS, buyer, market.wish(contract) | change, text, status)
    assert await market.world.dump() == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"max_w": -1}, "/intervals/0/max_w"),
        ({"max_w": 10**18}, "/intervals/0/max_w"),
        ({"max_w": 1000.5}, "/intervals/0/max_w"),
        ({"min_w": 5000, "max_w": 100}, "min_w"),
        ({"duration_s": 0}, "/intervals/0/duration_s"),
        ({"duration_s": 90}, "whole minute"),
        ({"start": "2026-01-31T11:00:00Z"}, "past"),
        ({"max_w": 0, "min_w": 0}, "some power"),
    ],
)
async def test_an_interval_that_cannot_be_is_refused(market, trade, change, text):
    buyer, contract = trade
    wish = market.wish(contract)
    wish["intervals"] = [wish["intervals"][0] | change]
    before = await market.world.dump()
    problem = await market.post(REQUESTS, buyer, wish, 422)
    told = f"{problem['detail']} {problem.get('errors')}"
    assert text in told or text == "past", told
    assert await market.world.dump() == before


async def test_outside_the_contract_is_forbidden(market):
    programme = await market.programme(3)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme, max_power_w=2000, directions=("reduce",), direct_orders=False)
    await market.post(REQUESTS, buyer, market.wish(contract), 403)
    ok = [market.hour(1, min_w=0, max_w=2000)]
    await market.post(REQUESTS, buyer, market.wish(contract, intervals=ok, direction="increase"), 403)
    order = {"contract_id": contract.id, "direction": "reduce", "intervals": [market.hour(1, power_w=100)]}
    await market.post(ACTIVATIONS, buyer, order, 403)
    await market.post(REQUESTS, buyer, market.wish(contract, intervals=ok), 202)


async def test_an_offer_is_accepted_once(market, trade):
    buyer, contract = trade
    offer = await market.offer(buyer, contract)
    path = f"{OFFERS}/{offer['id']}/acceptance"
    await market.refused(path, buyer, {"option_id": "none"}, "No option", 404)
    for factor in (0.001, 0, 1.01, -1, "1"):
        await market.post(path, buyer, {"option_id": "full", "activation_factor": factor}, 422)
    key = {"Idempotency-Key": "accept-1"}
    made = await market.post(path, buyer, {"option_id": "full"}, headers=key)
    assert await market.post(path, buyer, {"option_id": "full"}, headers=key) == made
    problem = await market.post(path, buyer, {"option_id": "full"}, 409)
    assert made["id"] in problem["detail"]
    await market.post(path, buyer, {"option_id": "reduced"}, 422, headers=key)
    assert len(await market.world.rows("activation")) == 1
    cancel = f"{REQUESTS}/{offer['request_id']}/cancellation"
    await market.refused(cancel, buyer, {}, made["id"], 409)


async def test_an_expired_offer_cannot_be_accepted(market, trade):
    buyer, contract = trade
    offer = await market.offer(buyer, contract, hours_ahead=3)
    market.world.later(hours=1, seconds=1)
    await market.refused(f"{OFFERS}/{offer['id']}/acceptance", buyer, {"option_id": "full"}, "expired", 409)
    await market.turn()
    assert (await market.get(f"{OFFERS}/{offer['id']}", buyer))["status"] == "expired"
    assert await market.world.rows("activation") == []


async def test_a_request_is_withdrawn(market, trade):
    buyer, contract = trade
    offer = await market.offer(buyer, contract)
    path = f"{REQUESTS}/{offer['request_id']}/cancellation"
    done = await market.post(path, buyer, {"reason": "sold elsewhere"}, 200)
    assert (done["status"], done["status_reason"]) == ("cancelled", "sold elsewhere")
    assert (await market.get(f"{OFFERS}/{offer['id']}", buyer))["status"] == "revoked"
    await market.post(path, buyer, {}, 409)
    await market.post(f"{OFFERS}/{offer['id']}/acceptance", buyer, {"option_id": "full"}, 409)


async def test_an_activation_is_changed_and_cancelled(market, trade):
    buyer, contract = trade
    one = await market.activation(buyer, contract)
    path = f"{ACTIVATIONS}/{one['id']}"
    less = [one["intervals"][0] | {"power_w": 1000}]
    await market.call("PATCH", path, 428, {"intervals": less}, who=buyer)
    tag = {"If-Match": (await market.exchange("GET", path, 200, who=buyer))[1]["ETag"]}
    more = [one["intervals"][0] | {"power_w": 9000}]
    await market.call("PATCH", path, 422, {"intervals": more}, who=buyer, headers=tag)
    await market.call("PATCH", path, 412, {"intervals": less, "modification_number": 7}, who=buyer, headers=tag)
    changed = await market.call("PATCH", path, 200, {"intervals": less}, who=buyer, headers=tag)
    assert (changed["modification_number"], changed["intervals"][0]["power_w"]) == (1, 1000)
    assert changed["accepted"] == one["accepted"]
    await market.call("PATCH", path, 412, {"intervals": less}, who=buyer, headers=tag)
    await market.call("PATCH", path, 412, {"intervals": less}, who=buyer, headers={"If-Match": '"x"'})
    done = await market.post(f"{path}/cancellation", buyer, {"reason": "over"}, 200)
    assert (done["status"], done["cancel_reason"]) == ("cancelled", "over")
    await market.post(f"{path}/cancellation", buyer, {}, 409)
    tag = {"If-Match": (await market.exchange("GET", path, 200, who=buyer))[1]["ETag"]}
    await market.call("PATCH", path, 409, {"intervals": less}, who=buyer, headers=tag)
    (event, *_) = await market.world.rows("event")
    assert event.cancelled_at is not None


async def test_a_direct_order(market, trade):
    buyer, contract = trade
    order = {"contract_id": contract.id, "direction": "increase", "intervals": [market.hour(1, power_w=2000)]}
    key = {"Idempotency-Key": "order-1"}
    made = await market.post(ACTIVATIONS, buyer, order, headers=key)
    assert (made["offer_id"], made["option_id"], made["activation_factor"]) == (None, None, 1.0)
    assert await market.post(ACTIVATIONS, buyer, order, headers=key) == made
    assert len(await market.world.rows("activation")) == 1
    too_much = order | {"intervals": [market.hour(1, power_w=50_000)]}
    await market.refused(ACTIVATIONS, buyer, too_much, "Possible in each interval", 409)
    past = order | {"intervals": [market.hour(-1, power_w=100)]}
    problem = await market.post(ACTIVATIONS, buyer, past, 422)
    assert problem["detail"]
    assert [one["id"] for one in (await market.get(ACTIVATIONS, buyer))["items"]] == [made["id"]]


async def test_many_accept_at_once_and_one_gets_it(market, trade):
    buyer, contract = trade
    offer = await market.offer(buyer, contract)
    path = f"{OFFERS}/{offer['id']}/acceptance"

    async def accept(number):
        headers = buyer.headers | {"Idempotency-Key": f"k{number}"}
        async with market.http.post(path, json={"option_id": "full"}, headers=headers) as answer:
            return answer.status

    assert sorted(await asyncio.gather(*map(accept, range(5)))) == [201, 409, 409, 409, 409]
    assert len(await market.world.rows("activation")) == 1


async def test_the_report_in_every_form(market, trade):
    buyer, contract = trade
    one = await market.reported(buyer, contract)
    path = f"{ACTIVATIONS}/{one['id']}/report"
    report, headers = await market.exchange("GET", path, 200, who=buyer)
    assert headers["Vary"] == "Accept"
    assert report["version"] == 1
    text, headers = await market.exchange("GET", path, 200, who=buyer, headers={"Accept": "text/csv"})
    lines = text.split("\r\n")
    assert lines[0].startswith("activation_id,version,direction,method,start,duration_s,ordered_w,baseline_w")
    assert len(lines) == len(report["intervals"]) + 2
    assert headers["Content-Disposition"] == f'attachment; filename="{one["id"]}-1-intervals.csv"'
    await market.call("GET", path, 304, who=buyer, headers={"Accept": "text/csv", "If-None-Match": headers["ETag"]})
    homes = await market.call("GET", f"{path}?rows=vens", 200, who=buyer, headers={"Accept": "text/csv"})
    assert homes == "activation_id,version,direction,method,pseudonym,opt,ordered_wh,delivered_wh\r\n"
    for accept in (
        "*/*",
        "application/json, text/csv",
        "text/csv;q=0.5, application/json",
        "text/csv;q=x",
        "image/png",
    ):
        _, headers = await market.exchange("GET", path, 200, who=buyer, headers={"Accept": accept})
        assert headers["Content-Type"].startswith("application/json")
    assert await market.get(f"{path}?version=1", buyer) == report
    await market.get(f"{path}?version=2", buyer, 404)
    await market.get(f"{path}?version=0", buyer, 422)
    await market.get(f"{path}?final=true", buyer, 404)
    (version,) = (await market.get(f"{path}/versions", buyer))["items"]
    assert (version["version"], version["final"]) == (1, False)
    await market.turn(later=timedelta(days=8))
    last = await market.get(f"{path}?final=true", buyer)
    assert last["final"]
    assert [it["version"] for it in (await market.get(f"{path}/versions", buyer))["items"]] == [1], (
        "it is final as it was"
    )
    assert last["version"] == 1


async def test_rows_of_homes_need_the_contract_and_five_of_them(market):
    programme = await market.programme(10)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme, per_ven_rows=True)
    one = await market.reported(buyer, contract)
    report = await market.get(f"{ACTIVATIONS}/{one['id']}/report", buyer)
    if report["called"] >= 5:
        assert [row["pseudonym"] for row in report["vens"]] == [f"home-{n + 1}" for n in range(report["called"])]
    else:
        assert report["vens"] is None
    names = {ven.name for ven in await market.world.rows("ven")} | {ven.id for ven in await market.world.rows("ven")}
    assert not any(name in repr(report) for name in names)


async def test_a_baseline_is_nominated_before_its_day(market, trade):
    buyer, contract = trade
    day = (market.world.now + timedelta(days=1)).strftime("%Y-%m-%d")
    path = "/brp/v1/portfolio/baseline"
    body = {"contract_id": contract.id, "day": day, "step_s": 3600, "power_w": list(range(24))}
    first = await market.call("PUT", path, 200, body, who=buyer)
    assert (first["revision"], first["declared_by"]) == (1, "brp")
    assert await market.call("PUT", path, 200, body, who=buyer) == first
    assert (await market.call("PUT", path, 200, body | {"power_w": [-5] * 24}, who=buyer))["revision"] == 2
    theirs = await market.call("PUT", "/v1/nominations", 200, body, who="dispatcher")
    assert theirs["declared_by"] == "aggregator"
    found = await market.get(f"{path}?contract_id={contract.id}&day={day}", buyer)
    assert [(one["declared_by"], one["revision"]) for one in found["items"]] == [
        ("aggregator", 1),
        ("brp", 1),
        ("brp", 2),
    ]
    today = market.world.now.strftime("%Y-%m-%d")
    await market.call("PUT", path, 409, body | {"day": today}, who=buyer)
    for change in ({"power_w": [1] * 25}, {"step_s": 60}, {"day": "2026-02-31"}, {"day": "x"}, {"power_w": [0.5] * 24}):
        await market.call("PUT", path, 422, body | change, who=buyer)


async def test_programmes_tell_the_rules(market):
    programme = await market.programme()
    other = await market.programme()
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme)
    (one,) = (await market.get("/brp/v1/programmes", buyer))["items"]
    assert one["id"] == programme.id
    assert one["contract_ids"] == [contract.id]
    assert one["baseline"]["method"].startswith("10of10/")
    assert await market.get(f"/brp/v1/programmes/{programme.id}", buyer) == one
    await market.get(f"/brp/v1/programmes/{other.id}", buyer, 404)


async def test_an_offer_that_nobody_asked_for_and_its_revocation(market, trade):
    buyer, contract = trade
    body = {
        "contract_id": contract.id,
        "direction": "increase",
        "intervals": [market.hour(2, power_w=3000)],
        "expires_at": (market.world.now + timedelta(hours=1)).isoformat(),
    }
    await market.post("/v1/flexibility-offers", "viewer", body, 403)
    made = await market.post("/v1/flexibility-offers", "dispatcher", body)
    assert made["request_id"] is None
    assert made["options"][0]["intervals"][0]["power_w"] == 3000
    (seen,) = (await market.get(OFFERS, buyer))["items"]
    assert seen == made
    too_much = body | {"intervals": [market.hour(2, power_w=90_000)]}
    await market.refused("/v1/flexibility-offers", "dispatcher", too_much, "Possible in each interval")
    done = await market.post(f"/v1/flexibility-offers/{made['id']}/revocation", "dispatcher", None, 200)
    assert done["status"] == "revoked"
    await market.post(f"/v1/flexibility-offers/{made['id']}/revocation", "dispatcher", None, 409)
    await market.post(f"{OFFERS}/{made['id']}/acceptance", buyer, {"option_id": "full"}, 409)
    assert ("dispatcher", "offer revoke", made["id"]) in await market.audited()


async def test_operators_see_and_end_everything(market, trade):
    buyer, contract = trade
    one = await market.reported(buyer, contract)
    (listed,) = (await market.get(f"/v1/activations?brp_id={buyer.party_id}", "viewer"))["items"]
    assert listed["id"] == one["id"]
    assert listed["brp_id"] == buyer.party_id
    assert listed["dispatch_id"] is not None
    assert await market.get(f"/v1/activations/{one['id']}", "viewer") == listed
    await market.get(f"/v1/activations/{one['id']}/live", "viewer")
    report = await market.get(f"/v1/activations/{one['id']}/report", "viewer")
    made_from = {"dispatch_id": listed["dispatch_id"], "result_version": 1}
    assert report == await market.get(f"{ACTIVATIONS}/{one['id']}/report", buyer) | made_from
    assert len((await market.get("/v1/settlements", "viewer"))["items"]) == 1
    assert len((await market.get("/v1/flexibility-requests", "viewer"))["items"]) == 1
    assert (await market.get("/v1/flexibility-offers?status=accepted", "viewer"))["items"][0]["activation_id"] == one[
        "id"
    ]
    await market.post(f"/v1/activations/{one['id']}/cancellation", "dispatcher", {}, 409)
    second = await market.activation(buyer, contract)
    await market.post(f"/v1/activations/{second['id']}/cancellation", "viewer", {}, 403)
    ended = await market.post(f"/v1/activations/{second['id']}/cancellation", "dispatcher", {"reason": "fault"}, 200)
    assert ended["status"] == "cancelled"
    assert (await market.get(f"{ACTIVATIONS}/{second['id']}", buyer))["cancel_reason"] == "fault"


async def test_money_is_exact(market):
    programme = await market.programme(10)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme, Price("EUR", "0.1", "0", "0.123456"))
    one = await market.reported(buyer, contract)
    (settlement,) = (await market.get(SETTLEMENTS, buyer))["items"]
    figures = settlement["figures"]
    assert (figures["price_per_kwh"], figures["penalty_per_kwh"]) == ("0.1", "0.123456")
    assert figures["ordered_kwh"] == f"{one['intervals'][0]['power_w'] / 1000:g}"
    assert all(isinstance(value, str) for name, value in figures.items() if name not in ("uncertainty_kwh", "bias_kwh"))
    assert figures["uncertainty_kwh"] is figures["bias_kwh"] is None, "there are no days to tell it from"


async def test_a_season_is_read_by_operators(market, trade):
    buyer, contract = trade
    one = await market.reported(buyer, contract)
    path = f"/v1/programmes/{contract.programme_id}/season"
    found, headers = await market.exchange("GET", path, 200, who="viewer")
    (event,) = found["events"]
    assert event["starts_at"] == one["starts_at"]
    await market.call("GET", path, 304, who="viewer", headers={"If-None-Match": headers["ETag"]})
    text, _ = await market.exchange("GET", path, 200, who="viewer", headers={"Accept": "text/csv"})
    assert text.splitlines()[1].startswith(f"{contract.programme_id},{event['dispatch_id']},")
    rows = (await market.get(f"{path}/vens", "viewer"))["items"]
    assert len(rows) == event["called"] > 1
    page = await market.get(f"{path}/vens?limit=1", "viewer")
    following = await market.get(f"{path}/vens?cursor={page['next']}", "viewer")
    assert [*page["items"], *following["items"]] == rows
    for bad in ("first=2026-02-31", "until=x", "first=2020-01-01", "until=0001-01-02", "first=2026-W05-6"):
        await market.get(f"{path}?{bad}", "viewer", 422)
    await market.get("/v1/programmes/prg_none/season", "viewer", 404)
    path = f"/v1/dispatches/{event['dispatch_id']}/result/vens/{rows[0]['ven_id']}/report"
    headers = {"Authorization": f"Bearer {market.operators['viewer']}"}
    async with market.http.get(path, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/pdf")
        assert (await answer.read()).startswith(b"%PDF-")
    await market.get(f"{path}?version=9", "viewer", 404)
