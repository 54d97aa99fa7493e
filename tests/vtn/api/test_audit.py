"""Every change leaves a row: who, what, when. One walk through every operation that changes anything."""

from datetime import timedelta

from support.vtn_world import data, fake_fingerprint, usage
from vtn.api import OPERATIONS
from vtn.services import result_due
from web.operation import inspect_handler

_CHANGING = {one.id for one in map(inspect_handler, OPERATIONS) if one.description.method != "GET"}


class Walk:
    """Calls operations and looks at what the audit says of them."""

    def __init__(self, office):
        self.office = office
        self.walked = set()

    async def step(self, operation, actions, method, path, body=None, status=200, who="admin"):
        before = await self.office.audit()
        made = await self.office.call(method, path, status, body, who=None if operation == "redeem_code" else who)
        fresh = (await self.office.audit())[: -len(before) or None]
        assert sorted(row["action"] for row in fresh) == sorted(actions), operation
        if operation != "redeem_code":
            assert {row["who"] for row in fresh} == ({who} if actions else set())
        self.walked.add(operation)
        return made


async def test_every_change_is_in_the_audit(office):
    walk = Walk(office)
    ven = await office.world.ven("meter home")
    await ven.offer(usage("meter"))
    newcomer = await _enrolment(walk, ven)
    programme = await _programme(walk, [ven.ven_id, newcomer])
    await _days(walk, programme)
    await _fleet(walk, ven)
    await _control_group(walk)
    await _report(walk, ven)
    await _dispatch(walk, ven, programme, newcomer)
    await _ending(walk, ven, newcomer, programme)
    assert walk.walked == _CHANGING


async def _days(walk, programme):
    here, holiday = f"/v1/programmes/{programme}/holidays", {"day": "2026-12-24", "name": "Eve"}
    await walk.step("add_holiday", ["add holiday"], "POST", here, holiday, 201)
    await walk.step("remove_holiday", ["remove holiday"], "DELETE", f"{here}/2026-12-24", status=204)
    dark = {"starts_at": "2026-01-05T10:00:00Z", "reason": "Cable"}
    made = await walk.step("add_outage", ["add outage"], "POST", "/v1/outages", dark, 201)
    path, ended = f"/v1/outages/{made['id']}", {"ends_at": "2026-01-05T12:00:00Z"}
    await walk.step("end_outage", ["end outage"], "POST", f"{path}/end", ended)
    await walk.step("take_meter_data", ["take in meter data"], "POST", "/v1/meter-data", {"rows": []})
    await walk.step("take_temperatures", ["take in temperatures"], "POST", "/v1/temperatures", {"rows": []})
    await walk.step("remove_outage", ["remove outage"], "DELETE", path, status=204)


async def _enrolment(walk, ven):
    office, step = walk.office, walk.step

    made = await step("create_ven", ["create VEN", "enrolment code"], "POST", "/v1/vens", {"name": "A"}, 201)
    here = f"/v1/vens/{made['ven']['id']}"
    code = await step("create_enrolment_code", ["enrolment code"], "POST", f"{here}/enrolment-codes", status=201)
    redemption = {"code": code["code"], "csr": office.signing_request()}
    bundle = await step("redeem_code", ["add certificate"], "POST", "/v1/enrolments", redemption, 201)
    accepted = {"fingerprint": fake_fingerprint(200)}
    await step("add_certificate", ["add certificate"], "POST", f"{here}/certificates", accepted, 201)
    path = f"/v1/certificates/{bundle['fingerprint']}/revocation"
    await step("revoke_certificate", ["revoke certificate"], "POST", path, status=204)
    path, policy = f"/v1/vens/{ven.ven_id}/signatures", {"policy": "off"}
    await step("set_signatures", ["set signatures"], "PUT", path, policy)
    older = await office.world.ven(register=False)
    path, address = f"/v1/vens/{older.ven_id}/push-address", {"address": "https://10.0.0.5"}
    await step("set_push_address", ["register", "set push address"], "PUT", path, address)
    asked = ["request re-registration"]
    await step("request_reregistration", asked, "POST", f"/v1/vens/{ven.ven_id}/reregistration", status=202)
    return made["ven"]["id"]


async def _programme(walk, ven_ids):
    step = walk.step
    body = {"name": "P", "market_context": "http://grid/p"}
    programme = (await step("create_programme", ["programme"], "POST", "/v1/programmes", body, 201))["id"]
    change = {"name": "Q", "parameters": {"notification": "PT1M"}}
    await step("change_programme", ["programme"], "PUT", f"/v1/programmes/{programme}", change)
    ids = {"ven_ids": ven_ids}
    await step("enrol_vens", ["enrol", "enrol"], "POST", f"/v1/programmes/{programme}/enrolments", ids)
    return programme


async def _control_group(walk):
    step, world = walk.step, walk.office.world
    crowd = [ven.ven_id for ven in await world.vens(20)]
    body = {"name": "R", "market_context": "http://grid/r"}
    programme = (await step("create_programme", ["programme"], "POST", "/v1/programmes", body, 201))["id"]
    ids = {"ven_ids": crowd}
    await step("enrol_vens", ["enrol"] * 20, "POST", f"/v1/programmes/{programme}/enrolments", ids)
    noted = ["create group", "add to group", "programme", "draw control group"]
    await step("draw_control_group", noted, "POST", f"/v1/programmes/{programme}/control-group", {"share": 50}, 201)


async def _fleet(walk, ven):
    step = walk.step
    group = (await step("create_group", ["create group"], "POST", "/v1/groups", {"name": "north"}, 201))["id"]
    await step("rename_group", ["rename group"], "PUT", f"/v1/groups/{group}", {"name": "south"})
    action = {"action": "add_to_group", "group_id": group, "ven_ids": [ven.ven_id]}
    await step("act_on_fleet", ["add to group"], "POST", "/v1/fleet/actions", action)
    site = {"time_zone": "Europe/London", "area": "A"}
    await step("set_site", ["set site"], "PUT", f"/v1/vens/{ven.ven_id}/site", site)
    path, levels = f"/v1/vens/{ven.ven_id}/partial-power", {"minimum_w": 600, "step_w": 200}
    await step("set_partial_power", ["set partial power"], "PUT", path, levels)
    await step("delete_partial_power", ["set partial power"], "DELETE", path, status=204)
    body = {"method": "firm-level", "valid_from": "2026-01-31", "weekdays_w": [3000], "ven_ids": [ven.ven_id]}
    await step("agree_baseline", ["agree baseline"], "POST", "/v1/agreed-baselines", body)
    await step("delete_group", ["delete group"], "DELETE", f"/v1/groups/{group}", status=204)


async def _report(walk, ven):
    step, world = walk.step, walk.office.world
    request = {"specifier_id": "usage", "r_ids": ["meter"], "report_back": "PT5M", "granularity": "PT1M"}
    request |= {"start": world.now.isoformat(), "duration": "PT0S"}
    path = f"/v1/vens/{ven.ven_id}/report-requests"
    report = await step("request_report", ["request report"], "POST", path, request, 201, "dispatcher")
    await ven.drain()
    await ven.report(data(report["id"], world.now, *[10.0] * 60))
    path, choice = f"/v1/vens/{ven.ven_id}/settlement-series", {"connection_w": 24_000}
    await step("choose_settlement", ["set connection", "choose settlement series"], "PUT", path, choice)
    path = f"/v1/report-requests/{report['id']}/cancellation"
    await step("cancel_report", ["cancel report"], "POST", path, who="dispatcher")


async def _dispatch(walk, ven, programme, newcomer):
    office, step, world = walk.office, walk.step, walk.office.world
    order = office.order(programme)
    await step("check_dispatch", [], "POST", "/v1/dispatches/check", order, 200, "dispatcher")
    whole = await step("create_dispatch", ["dispatch"], "POST", "/v1/dispatches", order, 201, "dispatcher")
    dispatch = f"/v1/dispatches/{whole['dispatch']['id']}"
    events = {one["ven_id"]: f"/v1/events/{one['id']}" for one in whole["events"]}
    later = {"start": (world.now + timedelta(hours=2)).isoformat()}
    await step("change_dispatch", ["change dispatch"], "PATCH", dispatch, later, who="dispatcher")
    own = {"load_dispatch": [-500]}
    await step("change_event_values", ["change event"], "PUT", f"{events[ven.ven_id]}/values", own, who="dispatcher")
    path = f"{events[newcomer]}/cancellation"
    await step("cancel_event", ["cancel event"], "POST", path, who="dispatcher")
    for message in await ven.drain(answer=False):
        for one in getattr(message, "events", ()):
            await ven.opt(one)
    world.later(hours=4)
    path = f"{dispatch}/evaluation"
    await step("evaluate_dispatch", ["evaluate dispatch"], "POST", path, who="dispatcher")
    again = await office.post(path, status=200)
    assert again["version"] == 1
    assert len([row for row in await office.audit() if row["action"] == "evaluate dispatch"]) == 1
    async with world.tx() as tx:
        await result_due.freeze(tx, dispatch.rpartition("/")[2], world.now)
    reason = {"reason": "The meter shows less."}
    await step("dispute_result", ["dispute result"], "POST", f"{dispatch}/dispute", reason, 204, who="dispatcher")
    other = await office.post("/v1/dispatches", office.order(programme))
    path = f"/v1/dispatches/{other['dispatch']['id']}/cancellation"
    await step("cancel_dispatch", ["cancel dispatch"], "POST", path, who="dispatcher")


async def _ending(walk, ven, newcomer, programme):
    step = walk.step
    path = f"/v1/programmes/{programme}/enrolments/{ven.ven_id}"
    await step("end_enrolment", ["end enrolment"], "DELETE", path, status=204)
    await step(
        "cancel_registration", ["cancel registration"], "POST", f"/v1/vens/{ven.ven_id}/cancellation", status=202
    )
    path = f"/v1/vens/{newcomer}/household-tokens"
    await step("create_household_token", ["create household", "create principal"], "POST", path, {}, 201)
    await step("remove_ven", ["remove VEN"], "DELETE", f"/v1/vens/{newcomer}", status=204)
    operator = await step("create_principal", ["create principal"], "POST", "/v1/principals", {"name": "b"}, 201)
    path = f"/v1/principals/{operator['principal']['id']}/revocation"
    await step("revoke_principal", ["revoke principal"], "POST", path, status=204)
