"""Templates of programmes: each yields a programme, and an event that the schema takes."""

from datetime import timedelta

import pytest
from lxml import etree

from core.errors import InvalidError
from openadr.v20b.names import NAMESPACES
from openadr.v20b.schema import schema
from vtn.api.programme_templates import template, templates

IDS = ("capacity-bidding", "critical-peak-pricing", "der", "ev-rtp", "ev-tou", "fast-dr", "thermostat")


async def test_all_seven_kinds_are_listed(office):
    listed = (await office.get("/v1/programme-templates"))["items"]
    assert tuple(row["id"] for row in listed) == IDS == tuple(templates())
    assert all(row["title"] and row["summary"] and row["signals"] for row in listed)


@pytest.mark.parametrize("name", IDS)
async def test_each_yields_a_programme_and_an_event_that_goes_out(office, name):
    home = await office.world.ven("home")
    body = {"name": "P", "market_context": f"http://grid/{name}", "template": name}
    made = await office.post("/v1/programmes", body, 201)
    kind = template(name)
    assert made["parameters"] == kind.parameters.model_dump(mode="json")
    await office.post(f"/v1/programmes/{made['id']}/enrolments", {"ven_ids": [home.ven_id]}, 200)
    signals = [signal.model_dump(mode="json") for signal in kind.signals]
    start = (office.world.now + timedelta(days=1)).isoformat()
    order = {"programme_id": made["id"], "start": start, "signals": signals}
    assert (await office.post("/v1/dispatches", order, 201))["events"][0]["ven_id"] == home.ven_id
    await home.events()
    root = etree.fromstring(home.raw)
    schema().assertValid(root)
    names = root.xpath("//ei:signalName/text()", namespaces=NAMESPACES)
    assert names == [signal.name for signal in kind.signals]


async def test_what_is_given_beside_a_template_counts(office):
    given = {"notification": "PT5M", "time_zone": "Europe/Berlin"}
    body = {"name": "P", "market_context": "http://grid/own", "template": "fast-dr", "parameters": given}
    parameters = (await office.post("/v1/programmes", body, 201))["parameters"]
    assert {key: parameters[key] for key in given} == given
    assert (parameters["ramp_up"], parameters["settlement_interval"]) == ("PT5M", "PT5M")


async def test_an_unknown_template_is_named_with_those_that_there_are(office):
    body = {"name": "P", "market_context": "http://grid/none", "template": "slow-dr"}
    await office.refused("/v1/programmes", body, "There is no template 'slow-dr'; there are capacity-bidding")
    with pytest.raises(InvalidError, match="fast-dr"):
        template("")
