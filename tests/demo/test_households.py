"""The generated household files are what a gateway accepts, and its planner finds the heater in them."""

import json
from dataclasses import replace

import pytest

from core.clock import system_clock
from evenload.demo.households import household, household_dir
from evenload.demo.model import make_home
from evenload.demo.plan import DemoPlan
from openadr.model.opt import OptType
from ven.devices import describe, metered
from ven.household_file import load_household

PLAN = replace(DemoPlan(), opt_out=5)
MQTT = {"host": "127.0.0.1", "port": 1883, "username": "gateway", "password_file": "gateway.password"}


@pytest.mark.parametrize("index", range(1, PLAN.homes + 1))
def test_a_gateway_accepts_the_file(tmp_path, index):
    path = tmp_path / "household.yaml"
    path.write_text(json.dumps(household(index, PLAN, tmp_path, MQTT)))
    found = load_household(path)
    home = make_home(PLAN.seed, index)
    assert found.name == home.id
    assert found.identity == household_dir(home, tmp_path) / "identity"
    assert found.mqtt.client_id == f"ven-{home.id}"
    assert [rule.decision for rule in found.opt] == ([OptType.OUT] if index == PLAN.opt_out else [])

    devices = describe(found, system_clock())
    assert devices["heater"].capability("switch").values == ("on", "off")
    assert devices["heater"].nominal_w == home.heater_w >= PLAN.order_w
    (resource,) = metered(found, devices)
    assert (resource.resource, resource.register) == (home.id, "meter.energy")


def test_the_newcomer_s_gateway_asks_for_no_past(tmp_path):
    plan = replace(PLAN, newcomer=3)
    days = {index: household(index, plan, tmp_path, MQTT)["history"]["days"] for index in range(1, plan.homes + 1)}
    assert days.pop(3) == 0
    assert set(days.values()) == {plan.history_days}


def test_nobody_opts_out_where_the_plan_names_nobody(tmp_path):
    plan = replace(PLAN, opt_out=None)
    assert not any(household(index, plan, tmp_path, MQTT)["opt"] for index in range(1, plan.homes + 1))
