"""Tasmota's own discovery."""

import json

import pytest

from bridges.discovery.tasmota import TasmotaCollector

MAC = "AABBCC001122"
CONFIG = {
    "ip": "192.0.2.7",
    "dn": "Boiler",
    "fn": ["Boiler", None],
    "hn": "tasmota-001122",
    "mac": MAC,
    "md": "Sonoff POW R3",
    "ofln": "Offline",
    "onln": "Online",
    "state": ["OFF", "ON", "TOGGLE", "HOLD"],
    "sw": "14.2.0",
    "t": "tasmota_001122",
    "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"],
    "rl": [1, 0, 0, 0],
    "ver": 1,
}
SENSORS = {"sn": {"Time": "2026-03-02T12:00:00", "ENERGY": {"Total": 1.5, "Power": 0}}, "ver": 1}


def hear(collector, config=None, sensors=SENSORS):
    collector.take(f"tasmota/discovery/{MAC}/config", json.dumps(CONFIG | (config or {})).encode())
    if sensors is not None:
        collector.take(f"tasmota/discovery/{MAC}/sensors", json.dumps(sensors).encode())
    return collector.devices()


def test_a_plug_is_found():
    (device,) = hear(TasmotaCollector())
    assert (device.key, device.name, device.model, device.driver, device.options) == (
        f"tasmota:{MAC}/1",
        "Boiler",
        "Sonoff POW R3",
        "tasmota",
        {"topic": "tasmota_001122"},
    )
    assert device.skipped == ()


def test_one_without_an_energy_sensor_says_so():
    (device,) = hear(TasmotaCollector(), sensors=None)
    assert device.skipped == (("power, energy", "It announced no energy sensor."),)


def test_each_relay_is_a_device_with_its_name():
    devices = hear(TasmotaCollector(), {"rl": [1, 2, 1], "fn": ["Left", None, "Right"]})
    assert [(device.name, device.options["relay"]) for device in devices] == [("Left", "POWER1"), ("Right", "POWER3")]


@pytest.mark.parametrize("others", [{"rl": [3, 3, 1]}, {"rl": [2, 0, 1]}, {"rl": [0, 0, 1]}])
def test_the_only_relay_among_others_keeps_its_number(others):
    (device,) = hear(TasmotaCollector(), others)
    assert (device.name, device.options["relay"]) == ("Boiler", "POWER3")


def test_a_relay_that_its_owner_calls_a_light_is_no_plug():
    (device,) = hear(TasmotaCollector(), {"so": {"30": 1}})
    assert (device.role, device.driver) == ("", "tasmota")


def test_one_that_measures_several_channels_says_so():
    sensors = {"sn": {"ENERGY": {"Total": [1.5, 2.5], "Power": [0, 7]}}}
    (device,) = hear(TasmotaCollector(), sensors=sensors)
    assert device.skipped == (("power, energy", "It measures several channels, and sends lists."),)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"ft": "home/%topic%/%prefix%/"}, "FullTopic"),
        ({"tp": ["c", "s", "t"]}, "prefixes"),
        ({"onln": "up"}, "last will"),
        ({"state": ["AUS", "EIN", "UM", "HALT"]}, "StateText"),
        ({"state": "OFF"}, "StateText"),
        ({"mac": "AABBCC001123"}, "not its own"),
        ({"rl": [True]}, "without a relay"),
        ({"t": "a/b"}, "topic that can be used"),
        ({"t": None}, "topic that can be used"),
        ({"rl": []}, "without a relay"),
        ({"rl": "many"}, "without a relay"),
    ],
)
def test_what_cannot_be_used_is_counted_with_its_reason(config, words):
    collector = TasmotaCollector()
    assert hear(collector, config, sensors=None) == []
    (reason,) = collector.refused
    assert words in reason


def test_one_that_is_taken_back_is_gone():
    collector = TasmotaCollector()
    hear(collector)
    collector.take(f"tasmota/discovery/{MAC}/config", b"")
    assert collector.devices() == []


@pytest.mark.parametrize("topic", ["tasmota/discovery/x/config", f"tasmota/discovery/{MAC}/config"])
def test_a_message_that_is_none_is_counted(topic):
    collector = TasmotaCollector()
    collector.take(topic, b"[1]")
    assert (collector.devices(), sum(collector.refused.values())) == ([], 1)


def test_there_are_not_too_many():
    collector = TasmotaCollector()
    for number in range(600):
        config = CONFIG | {"t": f"t{number}", "mac": f"{number:012X}"}
        collector.take(f"tasmota/discovery/{number:012X}/config", json.dumps(config).encode())
        collector.take(f"tasmota/discovery/{number + 5000:012X}/sensors", json.dumps(SENSORS).encode())
    assert len(collector.devices()) == 500
