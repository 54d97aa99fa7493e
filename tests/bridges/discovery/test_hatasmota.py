"""Tasmota's announcements, read by us and by HATasmota, with which Home Assistant reads them: both find the same.

The messages are ours, with everything in them that HATasmota requires.
"""

import asyncio
import json
from datetime import UTC, datetime

import hatasmota.discovery as peer
import pytest
import voluptuous
from hatasmota.mqtt import ReceiveMessage, TasmotaMQTTClient
from hatasmota.relay import TasmotaRelayConfig
from hypothesis import given
from hypothesis import strategies as st

from bridges.connections import NoConnection
from bridges.device import DeviceSpec
from bridges.discovery.tasmota import TasmotaCollector
from bridges.drivers import load
from core.clock import ManualClock

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
MAC = "AABBCC001122"
PLACE = f"tasmota/discovery/{MAC}"
OPTIONS = ("4", "11", "13", "17", "20", "30", "68", "73", "82", "114", "117")
CONFIG = {
    "ip": "192.0.2.7",
    "dn": "Boiler",
    "fn": ["Boiler", None],
    "hn": "tasmota-001122",
    "mac": MAC,
    "md": "Sonoff POW R3",
    "ty": 0,
    "if": 0,
    "ofln": "Offline",
    "onln": "Online",
    "state": ["OFF", "ON", "TOGGLE", "HOLD"],
    "sw": "14.2.0",
    "t": "tasmota_001122",
    "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"],
    "rl": [1, 0, 0, 0, 0, 0, 0, 0],
    "swc": [-1] * 8,
    "swn": [None] * 8,
    "btn": [0] * 8,
    "so": dict.fromkeys(OPTIONS, 0),
    "lk": 0,
    "lt_st": 0,
    "ver": 1,
}
USUAL = {
    "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"],
    "state": ["OFF", "ON", "TOGGLE", "HOLD"],
    "ofln": "Offline",
    "onln": "Online",
    "mac": MAC,
}
CHANGED = {
    "ft": "home/%topic%/%prefix%/",
    "tp": ["c", "s", "t"],
    "state": ["AUS", "EIN", "UM", "HALT"],
    "ofln": "away",
    "onln": "there",
    "mac": "AABBCC001123",
}


def of_home_assistant(config, sensors=None):
    """Return the relays and the paths of values that HATasmota finds, None where it refuses the device."""
    devices, values = [], []

    async def device_found(device, _):
        devices.append(device)

    async def sensors_found(found, _):
        values.extend(".".join(map(str, each.value_path)) for each, _ in found if hasattr(each, "value_path"))

    async def subscribe(_, topics):
        hear = topics["discovery_topic"]["msg_callback"]
        await hear(ReceiveMessage(f"{PLACE}/config", json.dumps(config), 0, retain=True))
        if sensors is not None:
            await hear(ReceiveMessage(f"{PLACE}/sensors", json.dumps(sensors), 0, retain=True))
        return topics

    async def run():
        client = TasmotaMQTTClient(None, subscribe, None)
        await peer.TasmotaDiscovery("tasmota/discovery", client).start_discovery(device_found, sensors_found)

    try:
        asyncio.run(run())
    except voluptuous.Invalid:
        return None, []
    if not devices:
        return None, []
    entities = [*peer.get_switch_entities(devices[0]), *peer.get_light_entities(devices[0])]
    return [each for each, _ in entities if isinstance(each, TasmotaRelayConfig)], values


def ours(config, sensors=None):
    collector = TasmotaCollector()
    collector.take(f"{PLACE}/config", json.dumps(config).encode())
    if sensors is not None:
        collector.take(f"{PLACE}/sensors", json.dumps(sensors).encode())
    return collector.devices()


def body(options):
    """Return what our driver hears and says with these options."""
    spec = DeviceSpec("relay", "tasmota", "", None, options)
    return load("tasmota").create(spec, NoConnection(), ManualClock(NOW))._body


def place(options):
    """Return where a relay of ours is told, in HATasmota's words: POWER1 is the relay of a device with one."""
    topic = body(options).capabilities["switch"].set.topic
    return f"{topic}1" if topic.endswith("/POWER") else topic


KINDS = st.lists(st.sampled_from([0, 1, 2, 3]), min_size=8, max_size=8)
TOPICS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


@given(KINDS, TOPICS, st.booleans())
def test_the_same_relays_are_found(kinds, topic, lights):
    config = CONFIG | {"rl": kinds, "t": topic, "so": CONFIG["so"] | {"30": int(lights)}}
    theirs, _ = of_home_assistant(config)
    found = ours(config)
    assert {place(device.options): device.role for device in found} == {
        f"{relay.command_topic}POWER{relay.idx + 1}": "plug" if relay.platform == "switch" else "" for relay in theirs
    }
    for device, relay in zip(found, sorted(theirs, key=lambda each: each.idx), strict=True):
        switch, presence = body(device.options).capabilities["switch"], body(device.options).presence
        assert switch.state.topic.startswith(relay.result_topic.removesuffix("RESULT"))
        assert switch.set.words == {"on": relay.state_power_on, "off": relay.state_power_off}
        assert switch.state.words == {relay.state_power_on: "on", relay.state_power_off: "off"}
        assert presence.topic == relay.availability_topic
        assert presence.online == (relay.availability_online,)
        assert presence.offline == (relay.availability_offline,)


@pytest.mark.parametrize("name", USUAL)
def test_what_was_changed_is_refused_because_the_template_would_be_wrong(name):
    config = CONFIG | {name: CHANGED[name]}
    assert ours(config) == []
    theirs, _ = of_home_assistant(config)
    usual, _ = of_home_assistant(CONFIG)
    assert theirs != usual


@given(st.sets(st.sampled_from(["ft", "tp", "state", "ofln", "onln", "mac"])))
def test_nothing_that_is_usual_is_refused(names):
    config = CONFIG | {name: CHANGED[name] for name in names}
    assert bool(ours(config)) == (of_home_assistant(config) == of_home_assistant(CONFIG))


@pytest.mark.parametrize(
    ("energy", "readable"),
    [
        ({"TotalStartTime": "2026-01-01T00:00:00", "Total": 1.5, "Power": 0, "Voltage": 230, "Current": 0.1}, True),
        ({"TotalStartTime": "2026-01-01T00:00:00", "Total": [1.5, 2.5], "Power": [0, 7], "Voltage": 230}, False),
        (None, False),
    ],
)
def test_the_same_values_are_read(energy, readable):
    sensors = {"sn": {"Time": "2026-03-02T12:00:00"} | ({"ENERGY": energy} if energy else {}), "ver": 1}
    _, values = of_home_assistant(CONFIG, sensors)
    (device,) = ours(CONFIG, sensors)
    points = body(device.options).points
    assert all(points[name].path.removeprefix("StatusSNS.") in values for name in ("power", "energy")) == readable
    assert (device.skipped == ()) == readable
