"""Zigbee devices by zigbee2mqtt's list; the whole list of converters is asked by test_converters."""

import json

import pytest

from bridges.discovery.search import template_text
from bridges.discovery.zigbee2mqtt import Zigbee2MqttCollector
from bridges.template import Template

STATE = {"type": "binary", "name": "state", "property": "state", "access": 7, "value_on": "ON", "value_off": "OFF"}
DEEP = {"features": [{"features": [{"features": [{"features": [STATE]}]}]}]}
PLUG = [
    {"type": "switch", "features": [STATE]},
    {"type": "numeric", "name": "power", "property": "power", "access": 1, "unit": "W"},
    {"type": "numeric", "name": "energy", "property": "energy", "access": 5, "unit": "kWh"},
    {"type": "numeric", "name": "current", "property": "current_phase_b", "access": 1, "unit": "A"},
    {"type": "numeric", "name": "linkquality", "property": "linkquality", "access": 1, "unit": "lqi"},
    {"type": "enum", "name": "power_outage_memory", "property": "power_outage_memory", "access": 7, "values": ["on"]},
]


def entry(exposes=PLUG, **more):
    about = {"vendor": "TuYa", "model": "TS011F", "description": "Smart plug (with power monitoring)"}
    usual = {"type": "Router", "ieee_address": "0x00158d0001a2b3c4", "friendly_name": "boiler plug"}
    return usual | {"definition": about | {"exposes": exposes}} | more


def hear(*entries):
    collector = Zigbee2MqttCollector()
    collector.take("zigbee2mqtt/bridge/devices", json.dumps(entries).encode())
    return collector


def read(device, folder):
    path = folder / "found.yaml"
    path.write_text(template_text(device.template), encoding="utf-8")
    return Template(path).example


def test_a_plug_becomes_a_template(tmp_path):
    (device,) = hear(entry(), {"type": "Coordinator", "ieee_address": "0x1"}).devices()
    assert (device.key, device.name, device.maker, device.model, device.role) == (
        "zigbee2mqtt:0x00158d0001a2b3c4",
        "boiler plug",
        "TuYa",
        "TS011F",
        "plug",
    )
    body = read(device, tmp_path)
    assert {name: (source.path, source.unit, source.phase) for name, source in body.points.items()} == {
        "power": ("power", "W", "total"),
        "energy": ("energy", "kWh", "total"),
        "current_phase_b": ("current_phase_b", "A", "l2"),
    }
    switch = body.capabilities["switch"]
    assert (switch.state.topic, switch.state.path, switch.state.words) == (
        "zigbee2mqtt/boiler plug",
        "state",
        {"ON": "on", "OFF": "off"},
    )
    assert switch.set.payload.replace("{value}", switch.set.words["off"]) == '{"state": "OFF"}'
    assert body.ask == ()  # its power cannot be asked for
    assert body.starts[0].topic == "zigbee2mqtt/bridge/state"
    assert dict(device.skipped) == {
        "linkquality": "It is no quantity that is kept here.",
        "power_outage_memory": "Features of the type enum are not used here.",
    }


def test_each_switch_is_a_device_and_values_belong_to_the_first(tmp_path):
    features = [{"type": "switch", "features": [STATE | {"property": f"state_{end}"}]} for end in ("l1", "l2")]
    first, second = hear(entry([*features, *PLUG[1:3]])).devices()
    assert (first.name, second.name, second.key) == (
        "boiler plug",
        "boiler plug l2",
        "zigbee2mqtt:0x00158d0001a2b3c4/state_l2",
    )
    assert set(read(first, tmp_path).points) == {"power", "energy"}
    assert read(second, tmp_path).capabilities["switch"].state.path == "state_l2"
    assert read(second, tmp_path).points == {}


def test_words_that_are_true_and_false(tmp_path):
    (device,) = hear(
        entry([{"type": "switch", "features": [STATE | {"value_on": True, "value_off": False}]}])
    ).devices()
    switch = read(device, tmp_path).capabilities["switch"]
    assert switch.state.words == {"true": "on", "false": "off"}
    assert switch.set.payload.replace("{value}", switch.set.words["on"]) == '{"state": true}'


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ("nothing", "no object"),
        (entry(ieee_address="0xZZ"), "no address"),
        (entry(friendly_name="a/+"), "no topic"),
        (entry(friendly_name="bridge/devices"), "no topic"),
        (entry(friendly_name="x" * 300), "no topic"),
        (entry(definition=None), "not supported"),
        (entry([]), "nothing that is of use"),
        (entry("all"), "not supported"),
        (
            entry(
                [7, None, {"type": "switch", "features": "x"}, {"features": [{"features": [{"features": [STATE]}]}]}]
            ),
            "of use",
        ),
        (entry([{"type": "switch", "features": [STATE | {"value_on": {}}]}]), "of use"),
        (entry([{"type": "switch", "features": [STATE | {"property": "a b"}]}]), "of use"),
        (entry([{"type": "switch", "features": [STATE | {"access": 2}]}]), "of use"),
    ],
)
def test_what_cannot_be_used_is_counted_and_the_others_stay(spoilt, words):
    collector = hear(spoilt, entry(ieee_address="0x2"))
    assert [device.key for device in collector.devices()] == ["zigbee2mqtt:0x2"]
    (reason,) = collector.refused
    assert words in reason


@pytest.mark.parametrize("payload", [b"", b"{}", b"null", b"[" * 5000, b" " * 5_000_000])
def test_a_list_that_is_none_changes_nothing(payload):
    collector = hear(entry())
    collector.take("zigbee2mqtt/bridge/devices", payload)
    assert len(collector.devices()) == 1
    assert sum(collector.refused.values()) == 1


def test_a_device_that_left_is_gone():
    collector = hear(entry(), entry(ieee_address="0x2"))
    collector.take("zigbee2mqtt/bridge/devices", json.dumps([entry()]).encode())
    assert [device.key for device in collector.devices()] == ["zigbee2mqtt:0x00158d0001a2b3c4"]
