"""EMS-ESP without Home Assistant's discovery, with payloads written from its system.cpp and entity tables."""

import json

import pytest

from bridges.discovery.ems_esp import EmsEspCollector

INFO = {"version": "3.7.2", "network": "wifi", "hostname": "ems-esp"}
BOILER = {"hppowerlimit": 9000, "hpcurrpower": 1200, "dhw": {"curtemp": 48.2, "seltemp": 50}}
THERMOSTAT = {"hc1": {"seltemp": 21, "currtemp": 20.6}, "hc2": {"mode": "auto"}, "hc9": {"seltemp": 21}}


def hear(*messages):
    collector = EmsEspCollector()
    for topic, content in messages:
        collector.take(topic, content if isinstance(content, bytes) else json.dumps(content).encode())
    return collector


def test_one_that_is_there_is_asked_for_what_is_on_its_bus():
    collector = hear(("ems-esp/info", INFO))
    assert collector.questions() == (
        ("ems-esp/system/publish", "boiler"),
        ("ems-esp/system/publish", "thermostat"),
    )
    assert collector.devices() == []


def test_what_is_on_the_bus_is_named_with_its_driver_and_left_to_its_owner():
    collector = hear(("ems-esp/info", INFO), ("ems-esp/boiler_data", BOILER), ("ems-esp/thermostat_data", THERMOSTAT))
    devices = collector.devices()
    assert [(device.key, device.role, device.driver, device.template) for device in devices] == [
        ("ems_esp:ems-esp/boiler_data/heat pump", "heat_pump", None, None),
        ("ems_esp:ems-esp/boiler_data/hot water", "water_heater", None, None),
        ("ems_esp:ems-esp/thermostat_data/hc1", "thermostat", None, None),
    ]
    assert devices[0].model == "EMS-ESP 3.7.2"
    whys = [device.skipped[0][1] for device in devices]
    assert "ems_esp_heat_pump, base ems-esp, and normal_w (hppowerlimit says 9000 now)" in whys[0]
    assert "ems_esp_hot_water, base ems-esp, and normal_c (dhw.seltemp says 50 now)" in whys[1]
    assert "ems_esp_thermostat, base ems-esp, circuit hc1, and normal_c (hc1.seltemp says 21 now)" in whys[2]
    assert [device.speaks for device in devices] == ["ems-esp/boiler_data"] * 2 + ["ems-esp/thermostat_data"]


def test_what_is_no_longer_on_the_bus_is_gone():
    collector = hear(("ems-esp/boiler_data", BOILER), ("ems-esp/boiler_data", {"outdoortemp": 3}))
    assert collector.devices() == []


@pytest.mark.parametrize(
    "info",
    [b"", b"3.7.2", b"\xff", [], {}, INFO | {"version": 3}, INFO | {"version": "3"}, INFO | {"network": None}],
)
def test_info_of_something_else_is_passed_over(info):
    collector = hear(("frigate/info", info))
    assert (collector.questions(), dict(collector.refused)) == ((), {})


@pytest.mark.parametrize("limit", [None, True, "9000", [], float("1e300"), 10**400])
def test_a_limit_that_is_none_makes_no_heat_pump(limit):
    assert hear(("ems-esp/boiler_data", {"hppowerlimit": limit, "dhw": limit})).devices() == []


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"hppowerlimit": NaN}', b" " * 70_000])
def test_what_is_wrong_is_counted(payload):
    collector = hear(("ems-esp/boiler_data", payload))
    assert collector.devices() == []
    assert sum(collector.refused.values()) == 1


def test_there_are_not_too_many():
    collector = hear(*((f"ems-esp-{number}/info", INFO) for number in range(30)))
    assert len(collector.questions()) == 40
    assert sum(collector.refused.values()) == 10
