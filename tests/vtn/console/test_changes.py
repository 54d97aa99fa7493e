"""Every change leaves a row: one walk through every form, each with the audit rows that it must leave."""

import re
from datetime import timedelta

from sqlalchemy import update

from support.vtn_world import data, fake_fingerprint, usage
from vtn.console import all_pages
from vtn.services import fleet, outbox, programme, provisioning
from vtn.services.outbox import Intent, State
from vtn.store.tables import outbox as outbox_table

_CHANGING = {one.path for one in all_pages() if one.method == "POST"}
_OWN_TESTS = {"/login", "/link/{token}", "/logout"}


class Walk:
    """Sends forms and looks at what the audit says of them."""

    def __init__(self, console):
        self.console = console
        self.walked = set()

    async def step(self, path, actions, status=303, /, who="admin", **fields):
        browser = self.console.browsers[who]
        before = await self.console.last_audit()
        answer = await browser.post(path, status, **fields)
        await self.console.audited(*actions, who=who, since=before)
        self.walked.add(path)
        return answer

    def unwalked(self):
        variable = r"\{\w+:\[[^\]]*\]\{[^}]*\}\}|\{\w+\}"
        patterns = {one: re.sub(variable, "[^/]+", one) for one in _CHANGING}
        return {
            one for one, pattern in patterns.items() if not any(re.fullmatch(pattern, path) for path in self.walked)
        }


async def test_every_change_is_in_the_audit(console):
    walk = Walk(console)
    ven = await console.world.ven("meter home")
    await ven.offer(usage("meter"))
    await _groups(walk, ven)
    await _programme(walk, ven)
    await _enrolment(walk)
    await _reports(walk, ven)
    await _operators(walk)
    await _account(walk)
    await _ven(walk, ven)
    assert walk.unwalked() == _OWN_TESTS


async def _groups(walk, ven):
    await walk.step("/groups", ["create group"], name="North")
    (row,) = await walk.console.world.rows("ven_group")
    await walk.step(f"/groups/{row.id}/name", ["rename group"], name="South")
    bulk = "/fleet/bulk"
    await walk.step(bulk, ["add to group"], action="add", group=row.id, ven_ids=[ven.ven_id])
    await walk.step(bulk, ["remove from group"], action="remove", group=row.id, ven_ids=[ven.ven_id])
    await walk.step(bulk, ["set area"], action="area", area="feeder 7", ven_ids=[ven.ven_id])
    await walk.step(bulk, ["request report"], who="dispatcher", action="report", ven_ids=[ven.ven_id])
    await walk.step(bulk, ["request re-registration"], who="dispatcher", action="reregister", ven_ids=[ven.ven_id])
    await walk.step(f"/groups/{row.id}/deletion", ["delete group"])


async def _programme(walk, ven):
    fields = {"name": "Evening", "market_context": "http://grid/evening"}
    made = await walk.step("/programmes", ["programme"], **fields)
    here = made.headers["Location"]
    await walk.step(here, ["programme"], name="Night", version=1, parameters__product="x")
    await walk.step(f"{here}/members", ["enrol"], ven_ids=[ven.ven_id], consent_version="2026-01")
    await _control_group(walk, here)
    await walk.step(f"{here}/members/{ven.ven_id}/end", ["end enrolment"])
    await _days(walk, f"{here}/days")
    programme = here.rpartition("/")[2]
    await walk.step("/fleet/bulk", ["enrol"], action="enrol", programme=programme, ven_ids=[ven.ven_id])


async def _control_group(walk, here):
    world = walk.console.world
    ids = [(await world.ven(f"one of many {number}", register=False)).ven_id for number in range(20)]
    async with world.tx() as tx:
        await programme.enrol(tx, here.rpartition("/")[2], ids, world.now, who="test")
    actions = ["create group", "add to group", "programme", "draw control group"]
    await walk.step(f"{here}/control-group", actions, share="50")


async def _days(walk, here):
    await walk.step(here, ["add holiday"], day="2026-12-24", name="Christmas Eve")
    await walk.step(f"{here}/2026-12-24/remove", ["remove holiday"])
    await walk.step(f"{here}/outages", ["add outage"], starts_at="2026-01-05T10:00", reason="Cable")
    (row,) = await walk.console.world.rows("outage")
    await walk.step(f"{here}/outages/{row.id}/end", ["end outage"], ends_at="2026-01-05T12:30")
    await walk.step(f"{here}/outages/{row.id}/remove", ["remove outage"])


async def _enrolment(walk):
    world = walk.console.world
    await walk.step("/enrolment/vens", ["create VEN", "enrolment code"], name="new home")
    (new,) = [row for row in await world.rows("ven") if row.name == "new home"]
    await walk.step(f"/enrolment/codes/{new.id}", ["enrolment code"])
    await walk.step(f"/enrolment/codes/{new.id}/withdrawal", ["withdraw code"])
    async with world.tx() as tx:
        for number in (200, 201, 202):
            await provisioning.note_waiting(tx, fake_fingerprint(number), "commonName=x", world.now)
    path = "/enrolment/certificates/accept"
    await walk.step(path, ["add certificate"], fingerprint=fake_fingerprint(200), ven_id=new.id)
    named = {"fingerprint": fake_fingerprint(201), "new_name": "another"}
    await walk.step(path, ["create VEN", "add certificate"], **named)
    await walk.step("/enrolment/certificates/refuse", ["refuse certificate"], fingerprint=fake_fingerprint(202))
    await walk.step(f"/fleet/{new.id}/certificates/{fake_fingerprint(200)}/revocation", ["revoke certificate"])


async def _reports(walk, ven):
    world = walk.console.world
    here = f"/fleet/{ven.ven_id}"
    fields = {"specifier_id": "usage", "r_ids": ["meter"], "report_back": "PT5M", "granularity": "PT1M"}
    await walk.step(f"{here}/reports", ["request report"], who="dispatcher", **fields)
    (row,) = [row for row in await world.rows("report_request") if row.request["report_back"]["seconds"] == 300]
    await walk.step(f"{here}/reports/{row.id}/cancellation", ["cancel report"], who="dispatcher")
    test = await walk.step(f"{here}/test", ["request report"], who="dispatcher")
    world.later(seconds=5)
    await ven.drain()
    request_id = test.headers["Location"].rpartition("/")[2]
    await ven.report(data(request_id, world.now - timedelta(minutes=1), 10.0))
    page = await walk.console.dispatcher.get(test.headers["Location"])
    assert "passed" in page.main
    settled = ["set connection", "choose settlement series"]
    await walk.step(f"{here}/settlement-series", settled, connection_w=24_000)
    file = "metering_point,series,start,end,energy_wh,quality\nMP1,import,a,b,1,validated\n"
    await walk.step("/meter-data", ["take in meter data"], 200, csv=file)
    await walk.step(
        "/meter-data/temperatures", ["take in temperatures"], 200, temperatures="area,time,celsius\n,now,1\n"
    )
    async with world.tx() as tx:
        await outbox.put(tx, ven.ven_id, Intent.REREGISTER, world.now)
        await tx.conn.execute(update(outbox_table).values(state=State.DEAD))
    (dead,) = [row for row in await world.rows("outbox") if row.kind == Intent.REREGISTER]
    await walk.step(f"/messages/{dead.id}/again", ["send again"], who="dispatcher")


async def _operators(walk):
    await walk.step("/settings/operators", ["create principal"], name="Bea", role="dispatcher", days=30)
    (bea,) = [row for row in await walk.console.world.rows("principal") if row.name == "Bea"]
    here = f"/settings/operators/{bea.id}"
    await walk.step(f"{here}/link", ["sign-in link"])
    await walk.step(f"{here}/password", ["set password"], password="a long enough pass phrase")
    browser = await walk.console.browser("Bea")
    handle = next(
        row.token_hash[:16] for row in await walk.console.world.rows("console_session") if row.csrf == browser.csrf
    )
    await walk.step(f"/settings/sessions/{handle}/end", ["sign out"])
    await browser.get("/fleet", 303)
    await walk.step(f"{here}/revocation", ["revoke principal"])


async def _account(walk):
    other = await walk.console.browser("viewer")
    sessions = await walk.console.world.rows("console_session")
    handle = next(row.token_hash[:16] for row in sessions if row.csrf == other.csrf)
    await walk.step(f"/account/sessions/{handle}/end", ["sign out"], who="viewer")
    new = {"password": "a long enough pass phrase", "again": "a long enough pass phrase"}
    await walk.step("/account/password", ["set password"], who="viewer", **new)


async def _ven(walk, ven):
    here = f"/fleet/{ven.ven_id}"
    await walk.step(f"{here}/site", ["set site"], time_zone="Europe/Athens", area="feeder 9")
    await walk.step(f"{here}/partial-power", ["set partial power"], minimum_w=600, step_w=200)
    agreed = {"method": "fixed-profile", "valid_from": "2026-01-31", "weekdays_w": "300"}
    await walk.step(f"{here}/agreed-baseline", ["agree baseline"], **agreed)
    await walk.step(f"{here}/code", ["enrolment code"])
    older = await walk.console.world.ven("older", register=False)
    pushed = ["register", "set push address"]
    await walk.step(f"/fleet/{older.ven_id}/push-address", pushed, address="https://10.0.0.5/ven")
    await walk.step(f"{here}/reregistration", ["request re-registration"], who="dispatcher")
    await walk.step(f"{here}/cancellation", ["cancel registration"])
    await walk.step(f"{here}/removal", ["remove VEN"])
    async with walk.console.world.db.read() as conn:
        rows = await fleet.listing(conn, fleet.Filter(text="meter home"), walk.console.world.now, 60.0)
    assert rows == []
