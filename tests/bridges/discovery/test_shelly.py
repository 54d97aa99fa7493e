"""Shellys, as they announce themselves or publish what they do."""

import json

import pytest

from bridges.discovery.shelly import ShellyCollector


def announce(**words):
    return json.dumps(
        {"id": "shellyplug-s-376D1F", "model": "SHPLG-S", "fw_ver": "20230913-112531/v1.14.0"} | words
    ).encode()


def found(collector):
    return [(each.key, each.driver, dict(each.options), each.role) for each in collector.devices()]


def test_a_plug_of_the_first_generation_announces_itself():
    shellies = ShellyCollector()
    shellies.take("shellies/announce", announce())
    assert found(shellies) == [("shelly:shellyplug-s-376D1F/0", "shelly1", {"id": "shellyplug-s-376D1F"}, "plug")]
    (device,) = shellies.devices()
    assert (device.maker, device.model) == ("Shelly", "Plug S (20230913-112531/v1.14.0)")


def test_each_relay_is_a_device():
    shellies = ShellyCollector()
    shellies.take("shellies/announce", announce(id="shellyswitch25-AABBCC", model="SHSW-25"))
    assert [options for _, _, options, _ in found(shellies)] == [
        {"id": "shellyswitch25-AABBCC", "relay": 0},
        {"id": "shellyswitch25-AABBCC", "relay": 1},
    ]


def test_a_meter_is_none_that_is_switched():
    shellies = ShellyCollector()
    shellies.take("shellies/announce", announce(id="shellyem3-AABBCC", model="SHEM-3"))
    assert found(shellies) == [("shelly:shellyem3-AABBCC", "shelly1_3em", {"id": "shellyem3-AABBCC"}, "grid_meter")]


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("shellyplus1pm-aabbcc001122/status/switch:0", b'{"id":0,"output":true,"apower":8.9}'),
        (
            "shellyplus1pm-aabbcc001122/events/rpc",
            b'{"src":"shellyplus1pm-aabbcc001122","method":"NotifyFullStatus","params":{"ts":1.5,"switch:0":{"id":0},"sys":{}}}',
        ),
    ],
)
def test_later_ones_are_known_by_what_they_publish(topic, payload):
    shellies = ShellyCollector()
    shellies.take(topic, payload)
    (device,) = shellies.devices()
    assert (device.driver, device.options, device.model) == (
        "shelly2_switch",
        {"id": "shellyplus1pm-aabbcc001122"},
        "plus1pm",
    )


def test_channels_and_meters_of_later_ones():
    shellies = ShellyCollector()
    for component in ("switch:1", "em:0", "em1:1", "emdata:0", "wifi", "switch:99"):
        shellies.take(f"shellypro3em-aabbcc001122/status/{component}", b"{}")
    assert [(driver, options) for _, driver, options, _ in found(shellies)] == [
        ("shelly2_meter_1p", {"id": "shellypro3em-aabbcc001122", "clamp": 1}),
        ("shelly2_meter", {"id": "shellypro3em-aabbcc001122"}),
        ("shelly2_switch", {"id": "shellypro3em-aabbcc001122", "switch": 1}),
    ]


def test_what_is_no_shelly_is_passed_over():
    shellies = ShellyCollector()
    shellies.take("heatpump/status/switch:0", b"{}")
    shellies.take("frigate/events/rpc", b"no json")
    assert (shellies.devices(), dict(shellies.refused)) == ([], {})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        announce(id="../x"),
        announce(id="shelly+/#"),
        announce(model="SHBTN-1"),
        b" " * 70_000,
    ],
)
def test_what_is_wrong_is_counted(payload):
    shellies = ShellyCollector()
    shellies.take("shellies/announce", payload)
    assert shellies.devices() == []
    assert sum(shellies.refused.values()) == 1


def test_there_are_not_too_many():
    shellies = ShellyCollector()
    for number in range(600):
        shellies.take("shellies/announce", announce(id=f"shellyplug-s-{number:06X}"))
    assert len(shellies.devices()) == 500
    assert sum(shellies.refused.values()) == 100
