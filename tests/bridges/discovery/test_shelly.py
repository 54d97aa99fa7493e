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


CONFIG = {
    "mqtt": {"enable": True, "topic_prefix": "cellar/boiler", "status_ntf": True, "enable_rpc": True},
    "sys": {"device": {"name": "Cellar", "mac": "AABBCC001122"}},
    "switch:0": {"id": 0, "name": "Boiler"},
    "switch:1": {"id": 1, "name": None},
    "input:0": {"id": 0},
}


def answer(config, **words):
    return json.dumps(
        {"id": 1, "src": "shellyplus2pm-aabbcc001122", "dst": "evenload-discover", "result": config} | words
    ).encode()


def test_the_first_generation_is_asked_for_its_announcement():
    assert ShellyCollector().questions() == (("shellies/command", "announce"),)


def test_later_ones_that_are_online_are_asked_once_and_need_not_publish():
    shellies = ShellyCollector()
    for _ in range(2):
        shellies.take("cellar/boiler/online", b"true")
    (topic, question), *more = shellies.questions()[1:]
    assert (topic, more) == ("cellar/boiler/rpc", [])
    asked = json.loads(question)
    assert asked["method"] == "Shelly.GetConfig"
    assert f"{asked['src']}/rpc" in shellies.topics
    shellies.take(f"{asked['src']}/rpc", answer(CONFIG))
    assert [(device.name, device.model, device.options) for device in shellies.devices()] == [
        ("Boiler", "plus2pm", {"id": "cellar/boiler"}),
        ("Cellar switch 1", "plus2pm", {"id": "cellar/boiler", "switch": 1}),
    ]


def test_a_topic_that_was_not_changed_is_the_id():
    shellies = ShellyCollector()
    shellies.take("shellyplus2pm-aabbcc001122/online", b"true")
    shellies.take("evenload-discover/rpc", answer({"mqtt": {"topic_prefix": None}, "em:0": {}}))
    assert found(shellies) == [
        (
            "shelly:shellyplus2pm-aabbcc001122/em:0",
            "shelly2_meter",
            {"id": "shellyplus2pm-aabbcc001122"},
            "grid_meter",
        )
    ]


def test_one_that_will_not_publish_says_what_to_switch_on():
    shellies = ShellyCollector()
    shellies.take("cellar/boiler/online", b"true")
    shellies.take("evenload-discover/rpc", answer(CONFIG | {"mqtt": CONFIG["mqtt"] | {"status_ntf": False}}))
    assert all("Generic status update" in device.skipped[0][1] for device in shellies.devices())


def test_a_name_that_was_answered_stays():
    shellies = ShellyCollector()
    shellies.take("shellyplus2pm-aabbcc001122/online", b"true")
    shellies.take("evenload-discover/rpc", answer({"switch:0": {"name": "Boiler"}}))
    shellies.take("shellyplus2pm-aabbcc001122/status/switch:0", b"{}")
    assert [device.name for device in shellies.devices()] == ["Boiler"]


def test_later_ones_that_announce_themselves_are_asked():
    shellies = ShellyCollector()
    shellies.take("shellies/announce", announce(id="shellyplus2pm-aabbcc001122", model="SNSW-102P16EU", gen=2))
    assert [topic for topic, _ in shellies.questions()] == ["shellies/command", "shellyplus2pm-aabbcc001122/rpc"]
    assert dict(shellies.refused) == {}


@pytest.mark.parametrize("topic", ["a b/online", "$SYS#/online"])
def test_what_can_be_no_prefix_is_not_asked(topic):
    shellies = ShellyCollector()
    shellies.take(topic, b"true")
    shellies.take("cellar/boiler/online", b"false")
    assert len(shellies.questions()) == 1


def test_not_too_many_are_asked():
    shellies = ShellyCollector()
    for number in range(300):
        shellies.take(f"device-{number}/online", b"true")
    assert len(shellies.questions()) == 201


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        answer(CONFIG, src="x"),
        answer(CONFIG, src=None),
        answer(None, error={"code": 404, "message": "No handler for Shelly.GetConfig"}),
        answer(CONFIG | {"mqtt": {"topic_prefix": "never/asked"}}),
        answer(CONFIG | {"mqtt": {"topic_prefix": ["cellar/boiler"]}}),
        answer(CONFIG | {"mqtt": []}),
    ],
)
def test_an_answer_that_is_wrong_is_counted(payload):
    shellies = ShellyCollector()
    shellies.take("cellar/boiler/online", b"true")
    shellies.take("evenload-discover/rpc", payload)
    assert shellies.devices() == []
    assert sum(shellies.refused.values()) == 1


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
