"""From the operator's order to a home's devices: what an event's target means at a gateway, over the wire."""

import pytest

from ven.explain import as_text, explain
from ven.household import Household

HOME = {
    "version": 1,
    "name": "home",
    "identity": "identity",
    "state": "state",
    "mqtt": {"host": "localhost"},
    "devices": [
        {"id": "wall", "driver": "shelly1", "with": {"id": "p1"}, "class": "EVSE", "nominal_w": 2000},
        {"id": "pump", "driver": "shelly1", "with": {"id": "p2"}, "class": "Pool_Pump", "nominal_w": 500},
    ],
    "resources": [
        {"id": "garage", "devices": ["wall"], "targets": {"groups": ["chargers"], "meters": ["urn:uuid:2"]}},
        {"id": "garden", "devices": ["pump"]},
    ],
    "targets": {
        "groups": ["north & east"],
        "parties": ["dso-7"],
        "aggregated_pnodes": ["LZ_NORTH"],
        "delivery_points": ["0735"],
        "transports": [{"receipt": "A", "delivery": "B"}],
        "location": {"latitude": 59.33, "longitude": 18.06},
    },
    "programmes": [{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["wall", "pump"]}}],
}
BOTH = ["pump", "wall"]


def _square(latitude, longitude):
    corners = [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    return [{"latitude": latitude + up, "longitude": longitude + right} for up, right in corners]


@pytest.mark.parametrize(
    ("order", "devices"),
    [
        ({}, BOTH),
        ({"target": {"group_ids": ["north & east"]}}, BOTH),
        ({"target": {"group_names": ["south", "chargers"]}}, ["wall"]),
        ({"target": {"group_ids": ["south"]}}, None),
        ({"target": {"group_ids": ["south"]}, "resource_ids": ["garden"]}, ["pump"]),
        ({"target": {"party_ids": ["dso-7"]}}, BOTH),
        ({"target": {"party_ids": ["dso-8"]}}, None),
        ({"target": {"aggregated_pnodes": ["LZ_NORTH"]}}, BOTH),
        ({"target": {"pnodes": ["LZ_NORTH"]}}, None),
        ({"target": {"delivery_points": ["0735"]}}, BOTH),
        ({"target": {"meters": ["urn:uuid:2"]}}, ["wall"]),
        ({"target": {"transports": [{"receipt": "A", "delivery": "B"}]}}, BOTH),
        ({"target": {"transports": [{"receipt": "B", "delivery": "A"}]}}, None),
        ({"target": {"service_areas": [_square(40, 18), _square(59, 18)]}}, BOTH),
        ({"target": {"service_locations": [_square(59, 18)]}}, BOTH),
        ({"target": {"service_areas": [_square(40, 18)]}}, None),
        ({"target": {"device_classes": ["Pool_Pump"]}}, ["pump"]),
    ],
)
async def test_ev67_what_is_ordered_is_done_by_whom_it_is_for(office, order, devices):
    ven = await office.world.ven()
    signal = {"name": "LOAD_DISPATCH", "type": "delta", "unit": "kW", "intervals": [{"duration": "PT1H", "value": -9}]}
    programme = await office.programme(ven)
    await office.post("/v1/dispatches", office.order(programme, signals=[signal], **order))
    await ven.events()
    (found,) = explain(Household.model_validate(HOME), ven.raw, office.world.now, ven.ven_id)
    assert found.code == (462 if devices is None else 200)
    assert sorted({order.device for order in found.orders}) == (devices or [])


async def test_ev37_a_baseline_is_shown_at_home(office):
    ven = await office.world.ven()
    baseline = {
        "name": "Usual",
        "unit": "kW",
        "intervals": [{"duration": "PT30M", "value": value} for value in (1, 2.5)],
    }
    order = office.order(await office.programme(ven), baseline=baseline)
    await office.post("/v1/dispatches", order)
    await ven.events()
    found = explain(Household.model_validate(HOME), ven.raw, office.world.now, ven.ven_id)
    assert "  the VTN's baseline Usual: 1 to 2.5 kW" in as_text(found).splitlines()
