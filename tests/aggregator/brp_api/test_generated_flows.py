"""The whole work of an operator and of a BRP through clients that public generators make of our documents.

Each step runs as a process of its own against the REST listener; between the steps the world's clock moves.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.generated_clients import need_node, python_clients, run, typescript_clients, write_documents

pytestmark = pytest.mark.slow

_PYTHON = """\
import json
import os
import sys
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import get_args

import evenload_brp_api_client as brp
import evenload_operator_api_client as operator
from evenload_brp_api_client import models as bought
from evenload_brp_api_client.api.access import create_token, read_me
from evenload_brp_api_client.api.activations import modify_activation, read_activation, read_live
from evenload_brp_api_client.api.offers import accept_offer, list_offers
from evenload_brp_api_client.api.portfolio import read_potential
from evenload_brp_api_client.api.reports import list_report_versions, read_report
from evenload_brp_api_client.api.requests import create_request, read_request
from evenload_brp_api_client.api.settlements import dispute_settlement, list_settlements
from evenload_operator_api_client import models
from evenload_operator_api_client.api.brps import create_brp
from evenload_operator_api_client.api.contracts import create_contract
from evenload_operator_api_client.api.dispatches import cancel_dispatch, change_dispatch, create_dispatch, read_dispatch
from evenload_operator_api_client.api.fleet import set_site
from evenload_operator_api_client.api.programmes import create_programme, enrol_vens
from evenload_operator_api_client.api.readings import take_meter_data
from evenload_operator_api_client.api.results import evaluate_dispatch, read_result, read_workings
from evenload_operator_api_client.api.vens import create_ven, list_vens

state = json.loads(os.environ["STATE"])
now = datetime.fromisoformat(os.environ["NOW"])
desk = operator.AuthenticatedClient(base_url=os.environ["URL"], token=os.environ["TOKEN"])
buyer = brp.AuthenticatedClient(base_url=os.environ["URL"], token=state.get("token", "none"))
HEAD = "metering_point,series,start,end,energy_wh,quality\\n"


def done(answer, status=200):
    assert answer.status_code == HTTPStatus(status), (answer.status_code, answer.content)
    assert answer.parsed is not None, answer.content
    return answer.parsed


def order(starts_in):
    signal = {"name": "LOAD_DISPATCH", "type": "delta", "unit": "W", "intervals": [{"duration": "PT1H", "value": -500}]}
    start = (now + starts_in).isoformat()
    return {"programme_id": state["programme"], "start": start, "signals": [signal], "ven_ids": state["vens"]}


def operate():
    made = done(create_ven.sync_detailed(client=desk, body=models.NewVen(name="Mill Lane 1")), 201)
    listed = done(list_vens.sync_detailed(client=desk))
    assert made.ven.id in [one.id for one in listed.items]
    site = models.Site.from_dict({"time_zone": "UTC", "metering_point": "MP-1"})
    done(set_site.sync_detailed(state["vens"][0], client=desk, body=site))
    rules = models.NewProgramme.from_dict({"name": "Evenings", "market_context": "http://grid/evenings"})
    programme = done(create_programme.sync_detailed(client=desk, body=rules), 201)
    state["programme"] = programme.id
    wish = models.NewEnrolment(ven_ids=state["vens"])
    enrolled = done(enrol_vens.sync_detailed(programme.id, client=desk, body=wish))
    assert sorted(enrolled.ven_ids) == sorted(state["vens"])
    body = models.NewDispatch.from_dict(order(timedelta(hours=4)))
    state["dispatch"] = done(create_dispatch.sync_detailed(client=desk, body=body), 201).dispatch.id
    body = models.NewDispatch.from_dict(order(timedelta(hours=8)))
    second = done(create_dispatch.sync_detailed(client=desk, body=body), 201).dispatch.id
    tag = read_dispatch.sync_detailed(second, client=desk).headers["ETag"]
    later = models.DispatchChange(start=now + timedelta(hours=9))
    done(change_dispatch.sync_detailed(second, client=desk, body=later, if_match=tag))
    refused = done(change_dispatch.sync_detailed(second, client=desk, body=later, if_match=tag), 412)
    assert isinstance(refused, models.Problem)
    cancelled = done(cancel_dispatch.sync_detailed(second, client=desk)).dispatch
    assert cancelled.cancelled_at == now
    party = done(create_brp.sync_detailed(client=desk, body=models.NewBrp(name="Balance & Co")), 201)
    price = {"currency": "EUR", "per_kwh": "0.20", "penalty_per_kwh": "0.40"}
    terms = {"brp_id": party.brp.id, "programme_id": programme.id, "price": price}
    contract = done(create_contract.sync_detailed(client=desk, body=models.NewContract.from_dict(terms)), 201)
    state.update(contract=contract.id, client_id=party.client.id, secret=party.secret)


def request():
    form = {"grant_type": "client_credentials", "client_id": state["client_id"], "client_secret": state["secret"]}
    assert brp.Client in get_args(create_token.sync_detailed.__annotations__["client"]), "no token is needed"
    open_ = brp.Client(base_url=os.environ["URL"])
    token = done(create_token.sync_detailed(client=open_, body=bought.CreateTokenBody.from_dict(form)))
    state["token"] = token.access_token
    client = brp.AuthenticatedClient(base_url=os.environ["URL"], token=token.access_token)
    assert [one.id for one in done(read_me.sync_detailed(client=client)).contracts] == [state["contract"]]
    span = {"from_": now + timedelta(hours=1), "until": now + timedelta(hours=2)}
    potential = done(read_potential.sync_detailed(client=client, contract_id=state["contract"], **span))
    assert potential.intervals[0].available_w > 0
    interval = {"start": span["from_"].isoformat(), "duration_s": 3600, "min_w": 500, "max_w": 2000}
    wish = {"contract_id": state["contract"], "direction": "reduce", "intervals": [interval]}
    body = bought.NewRequest.from_dict(wish | {"deadline": (now + timedelta(minutes=20)).isoformat()})
    made = done(create_request.sync_detailed(client=client, body=body, idempotency_key="wish-1"), 202)
    again = done(create_request.sync_detailed(client=client, body=body, idempotency_key="wish-1"), 202)
    assert again.id == made.id
    state["request"] = made.id


def accept():
    found = done(read_request.sync_detailed(state["request"], client=buyer))
    assert found.status == "offered", found
    (offer,) = done(list_offers.sync_detailed(client=buyer, request_id=found.id)).items
    body = bought.Acceptance(option_id=offer.options[0].id)
    made = done(accept_offer.sync_detailed(offer.id, client=buyer, body=body, idempotency_key="yes-1"), 201)
    state["activation"] = made.id


def modify():
    answer = read_activation.sync_detailed(state["activation"], client=buyer)
    one = done(answer)
    assert one.status == "notified"
    less = [each.to_dict() | {"power_w": each.power_w - 100} for each in one.intervals]
    body = bought.Change.from_dict({"intervals": less})
    stale = modify_activation.sync_detailed(one.id, client=buyer, body=body, if_match='"stale"')
    assert isinstance(done(stale, 412), bought.Problem)
    changed = done(modify_activation.sync_detailed(one.id, client=buyer, body=body, if_match=answer.headers["ETag"]))
    assert changed.modification_number == 1


def follow():
    live = done(read_live.sync_detailed(state["activation"], client=buyer))
    assert (live.status, live.called > 0) == ("active", True)


def settle():
    report = done(read_report.sync_detailed(state["activation"], client=buyer))
    assert report.ordered_wh > 0 and len(report.intervals) == 4
    versions = done(list_report_versions.sync_detailed(state["activation"], client=buyer)).items
    assert versions[-1].version == report.version
    (settlement,) = done(list_settlements.sync_detailed(client=buyer, activation_id=state["activation"])).items
    assert settlement.figures.penalty_per_kwh == "0.40"
    body = bought.Dispute(reason="Our meters show more.")
    disputed = done(dispute_settlement.sync_detailed(settlement.id, client=buyer, body=body))
    assert disputed.dispute == body.reason


def result():
    start = now.replace(minute=0, second=0)
    rows = "".join(
        f"MP-1,import,{(start - timedelta(minutes=m)).isoformat()},{(start - timedelta(minutes=m - 15)).isoformat()},"
        "100,validated\\n"
        for m in (60, 45, 30, 15)
    )
    taken = done(take_meter_data.sync_detailed(client=desk, body=models.MeterData(csv=HEAD + rows)))
    assert (taken.accepted, taken.refused) == (4, [])
    made = done(evaluate_dispatch.sync_detailed(state["dispatch"], client=desk))
    found = done(read_result.sync_detailed(state["dispatch"], client=desk, version=made.version))
    assert found.called == len(found.vens) == len(state["vens"])
    assert found.ordered_wh == 500 * len(state["vens"])
    how = done(read_workings.sync_detailed(state["dispatch"], state["vens"][0], client=desk))
    assert [one.source for one in how.series][0] == "settlement meter"
    assert how.signals[0].intervals[0].value == -500


globals()[sys.argv[1]]()
print(json.dumps(state))
"""

_TYPESCRIPT = """\
import createClient, { type Middleware } from "openapi-fetch";
import type { paths as OfBrp } from "./brp.js";
import type { components, paths as OfOperator } from "./operator.js";

const state = JSON.parse(process.env.STATE!);
const now = new Date(process.env.NOW!);
const baseUrl = process.env.URL!;
const desk = createClient<OfOperator>({ baseUrl, headers: { Authorization: `Bearer ${process.env.TOKEN}` } });
const buyer = createClient<OfBrp>({ baseUrl });
const authorized: Middleware = {
  onRequest({ request }) {
    if (state.token) request.headers.set("Authorization", `Bearer ${state.token}`);
    return request;
  },
};
buyer.use(authorized);

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

type Problem = components["schemas"]["Problem"];
type Shown<T> = Exclude<T, Problem | string | undefined>; // what was done may not be shown, and reports may be CSV

function done<T>(answer: { data?: T; error?: unknown; response: Response }, status = 200): Shown<T> {
  check(answer.response.status === status, `${answer.response.status}: ${JSON.stringify(answer.error ?? answer.data)}`);
  check(answer.response.headers.get("Content-Type")!.startsWith("application/json"), "it is shown as JSON");
  return answer.data as Shown<T>;
}

const after = (minutes: number) => new Date(now.getTime() + minutes * 60_000).toISOString();

function order(minutes: number): components["schemas"]["NewDispatch"] {
  const intervals = [{ duration: "PT1H", value: -500 }];
  const signals = [{ name: "LOAD_DISPATCH", type: "delta", unit: "W", intervals }];
  return { programme_id: state.programme, start: after(minutes), signals, ven_ids: state.vens };
}

const steps: Record<string, () => Promise<void>> = {
  async operate() {
    const { ven } = done(await desk.POST("/v1/vens", { body: { name: "Mill Lane 1" } }), 201);
    const { items } = done(await desk.GET("/v1/vens"));
    check(items.some((one) => one.id === ven.id), "the VEN is listed");
    const site = { params: { path: { ven_id: state.vens[0] } }, body: { time_zone: "UTC", metering_point: "MP-1" } };
    done(await desk.PUT("/v1/vens/{ven_id}/site", site));
    const rules = { name: "Evenings", market_context: "http://grid/evenings" };
    state.programme = done(await desk.POST("/v1/programmes", { body: rules }), 201).id;
    const enrolment = { params: { path: { programme_id: state.programme } }, body: { ven_ids: state.vens } };
    done(await desk.POST("/v1/programmes/{programme_id}/enrolments", enrolment));
    state.dispatch = done(await desk.POST("/v1/dispatches", { body: order(240) }), 201).dispatch.id;
    const path = { dispatch_id: done(await desk.POST("/v1/dispatches", { body: order(480) }), 201).dispatch.id };
    const read = await desk.GET("/v1/dispatches/{dispatch_id}", { params: { path } });
    const header = { "If-Match": read.response.headers.get("ETag")! };
    const change = { params: { path, header }, body: { start: after(540) } };
    done(await desk.PATCH("/v1/dispatches/{dispatch_id}", change));
    const refused = await desk.PATCH("/v1/dispatches/{dispatch_id}", change);
    check(refused.response.status === 412 && refused.error!.status === 412, "a stale tag is refused");
    const cancelled = done(await desk.POST("/v1/dispatches/{dispatch_id}/cancellation", { params: { path } }));
    check(cancelled.dispatch.cancelled_at !== null, "it is cancelled");
    const party = done(await desk.POST("/v1/brps", { body: { name: "Balance & Co" } }), 201);
    const price = { currency: "EUR", per_kwh: "0.20", penalty_per_kwh: "0.40" };
    const terms = { brp_id: party.brp.id, programme_id: state.programme, price };
    state.contract = done(await desk.POST("/v1/contracts", { body: terms }), 201).id;
    Object.assign(state, { client_id: party.client.id, secret: party.secret });
  },

  async request() {
    const form = { grant_type: "client_credentials" as const, client_id: state.client_id, client_secret: state.secret };
    const bodySerializer = (body: object) => new URLSearchParams(body as Record<string, string>);
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    state.token = done(await buyer.POST("/brp/v1/token", { body: form, bodySerializer, headers })).access_token;
    const me = done(await buyer.GET("/brp/v1/me"));
    check(me.contracts.length === 1 && me.contracts[0].id === state.contract, "its contract");
    const query = { contract_id: state.contract, from: after(60), until: after(120) };
    const potential = done(await buyer.GET("/brp/v1/portfolio/potential", { params: { query } }));
    check(potential.intervals[0].available_w > 0, "there is something to sell");
    const intervals = [{ start: after(60), duration_s: 3600, min_w: 500, max_w: 2000 }];
    const body = { contract_id: state.contract, direction: "reduce" as const, intervals, deadline: after(20) };
    const wish = { params: { header: { "Idempotency-Key": "wish-1" } }, body };
    state.request = done(await buyer.POST("/brp/v1/flexibility-requests", wish), 202).id;
    const again = done(await buyer.POST("/brp/v1/flexibility-requests", wish), 202);
    check(again.id === state.request, "one key is one request");
  },

  async accept() {
    const path = { request_id: state.request };
    const found = done(await buyer.GET("/brp/v1/flexibility-requests/{request_id}", { params: { path } }));
    check(found.status === "offered", found.status);
    const query = { request_id: found.id };
    const { items } = done(await buyer.GET("/brp/v1/flexibility-offers", { params: { query } }));
    const params = { path: { offer_id: items[0].id }, header: { "Idempotency-Key": "yes-1" } };
    const body = { option_id: items[0].options[0].id };
    state.activation = done(
      await buyer.POST("/brp/v1/flexibility-offers/{offer_id}/acceptance", { params, body }), 201,
    ).id;
  },

  async modify() {
    const path = { activation_id: state.activation };
    const read = await buyer.GET("/brp/v1/activations/{activation_id}", { params: { path } });
    const one = done(read);
    check(one.status === "notified", one.status);
    const body = { intervals: one.intervals.map((each) => ({ ...each, power_w: each.power_w - 100 })) };
    const stale = { params: { path, header: { "If-Match": '"stale"' } }, body };
    const refused = await buyer.PATCH("/brp/v1/activations/{activation_id}", stale);
    check(refused.response.status === 412, "a stale tag is refused");
    const fresh = { params: { path, header: { "If-Match": read.response.headers.get("ETag")! } }, body };
    const changed = done(await buyer.PATCH("/brp/v1/activations/{activation_id}", fresh));
    check(changed.modification_number === 1, "it is changed");
  },

  async follow() {
    const path = { activation_id: state.activation };
    const live = done(await buyer.GET("/brp/v1/activations/{activation_id}/live", { params: { path } }));
    check(live.status === "active" && live.called > 0, live.status);
  },

  async settle() {
    const path = { activation_id: state.activation };
    const report = done(await buyer.GET("/brp/v1/activations/{activation_id}/report", { params: { path } }));
    check(report.ordered_wh > 0 && report.intervals.length === 4, "an hour of quarters");
    const csv = await buyer.GET("/brp/v1/activations/{activation_id}/report", {
      params: { path }, headers: { Accept: "text/csv" }, parseAs: "text",
    });
    check(String(csv.data).startsWith("activation_id,version,"), "the same as CSV");
    const query = { activation_id: state.activation };
    const [settlement] = done(await buyer.GET("/brp/v1/settlements", { params: { query } })).items;
    check(settlement.figures.penalty_per_kwh === "0.40", settlement.figures.penalty_per_kwh);
    const disputed = done(await buyer.POST("/brp/v1/settlements/{settlement_id}/dispute", {
      params: { path: { settlement_id: settlement.id } }, body: { reason: "Our meters show more." },
    }));
    check(disputed.dispute === "Our meters show more.", "it is disputed");
  },

  async result() {
    const hour = now.getTime() - (now.getTime() % 3_600_000);
    const at = (quarter: number) => new Date(hour - quarter * 900_000).toISOString();
    const rows = [4, 3, 2, 1].map((one) => `MP-1,import,${at(one)},${at(one - 1)},100,validated`);
    const csv = ["metering_point,series,start,end,energy_wh,quality", ...rows].join("\\n");
    const taken = done(await desk.POST("/v1/meter-data", { body: { csv } }));
    check(taken.accepted === 4 && taken.refused.length === 0, JSON.stringify(taken));
    const path = { dispatch_id: state.dispatch };
    const made = done(await desk.POST("/v1/dispatches/{dispatch_id}/evaluation", { params: { path } }));
    const query = { version: made.version };
    const found = done(await desk.GET("/v1/dispatches/{dispatch_id}/result", { params: { path, query } }));
    check(found.called === state.vens.length && found.ordered_wh === 500 * state.vens.length, "all were called");
    const one = { params: { path: { ...path, ven_id: state.vens[0] as string } } };
    const how = done(await desk.GET("/v1/dispatches/{dispatch_id}/result/vens/{ven_id}", one));
    check(how.series[0].source === "settlement meter", how.series[0].source);
  },
};

await steps[process.argv[2]]();
console.log(JSON.stringify(state));
"""


async def _work(market: Any, step: Callable[..., str]) -> None:
    """Let a client do all the steps of the operator and of the BRP, in the market with four homes."""
    vens = [await market.world.ven() for _ in range(4)]
    await market.world.metered(*vens)
    await market.can(vens)
    state: dict[str, Any] = {"vens": sorted(one.ven_id for one in vens)}

    async def does(name: str) -> None:
        nonlocal state
        access = {"URL": str(market.http.make_url("/")).rstrip("/"), "TOKEN": market.operators["admin"]}
        told = await asyncio.to_thread(
            step, name, STATE=json.dumps(state), NOW=market.world.now.isoformat().replace("+00:00", "Z"), **access
        )
        state = json.loads(told.strip().splitlines()[-1])

    await does("operate")
    await does("request")
    await market.turn()
    await does("accept")
    await market.turn()
    await does("modify")
    await market.turn(later=timedelta(minutes=65))
    await does("follow")
    for later in (timedelta(hours=1), timedelta(minutes=10)):
        await market.turn(later=later)
        await market.meter()
    await market.turn(later=timedelta(minutes=1))
    await does("settle")
    market.world.clock.advance(timedelta(hours=3))
    await does("result")
    assert {one.name for one in await market.world.rows("ven")} > {"Mill Lane 1"}


async def test_a_python_client_does_the_whole_work(market: Any, tmp_path: Path) -> None:
    write_documents(tmp_path)
    python = await asyncio.to_thread(python_clients, tmp_path)
    (tmp_path / "work.py").write_text(_PYTHON)
    await _work(market, lambda name, **environment: run(python, "work.py", name, cwd=tmp_path, **environment))


async def test_a_typescript_client_does_the_whole_work(market: Any, tmp_path: Path) -> None:
    need_node()
    write_documents(tmp_path)
    (tmp_path / "work.ts").write_text(_TYPESCRIPT)
    await asyncio.to_thread(typescript_clients, tmp_path, "work")
    await _work(market, lambda name, **environment: run("node", "work.js", name, cwd=tmp_path, **environment))
