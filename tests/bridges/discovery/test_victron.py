"""Victron's GX devices, with payloads written from dbus-flashmq's README."""

import json

import pytest

from bridges.discovery.victron import VictronCollector

PORTAL = "c0619ab00112"
SERIAL = f"N/{PORTAL}/system/0/Serial"
GRID = f"N/{PORTAL}/grid/30"


def value(content):
    return json.dumps({"value": content}).encode()


def hear(*messages):
    collector = VictronCollector()
    for topic, payload in messages:
        collector.take(topic, payload)
    return collector


def test_a_grid_meter_is_found_with_its_options_and_names():
    collector = hear(
        (f"{GRID}/CustomName", value("Main\x1b meter")),
        (f"{GRID}/DeviceInstance", value(30)),
        (f"{GRID}/ProductName", value("Carlo Gavazzi EM24")),
    )
    (device,) = collector.devices()
    assert (device.key, device.name, device.model, device.role, device.driver, device.options) == (
        f"victron:{PORTAL}/grid/30",
        "Main meter",
        "Carlo Gavazzi EM24",
        "grid_meter",
        "victron_grid_meter",
        {"portal": PORTAL, "instance": 30},
    )


def test_one_without_a_name_of_its_own_is_called_what_it_is():
    (device,) = hear(
        (f"N/{PORTAL}/pvinverter/20/DeviceInstance", value(20)), (f"N/{PORTAL}/pvinverter/20/CustomName", value(None))
    ).devices()
    assert (device.name, device.role, device.driver) == ("Victron PV inverter 20", "pv", "victron_pv_inverter")


def test_a_name_alone_is_no_device():
    assert hear((f"{GRID}/ProductName", value("EM24"))).devices() == []


@pytest.mark.parametrize(("service", "words"), [("battery", "the driver victron"), ("evcharger", "evcc_loadpoint")])
def test_what_no_template_fits_is_named_with_what_its_owner_can_do(service, words):
    (device,) = hear((f"N/{PORTAL}/{service}/40/DeviceInstance", value(40))).devices()
    assert (device.driver, device.template) == (None, None)
    assert words in device.skipped[0][1]
    assert device.speaks == f"N/{PORTAL}/{service}/40/"


def test_a_system_is_asked_for_everything_and_left_to_its_owner():
    collector = hear((SERIAL, value(PORTAL)), (SERIAL, value(PORTAL)))
    assert collector.questions() == ((f"R/{PORTAL}/keepalive", ""),)
    (device,) = collector.devices()
    assert (device.driver, device.template) == (None, None)
    assert "normal_w" in device.skipped[0][1]


@pytest.mark.parametrize("payload", [b"", value(None)])
@pytest.mark.parametrize(("topic", "there"), [(SERIAL, PORTAL), (f"{GRID}/DeviceInstance", 30)])
def test_one_that_went_away_is_forgotten(topic, there, payload):
    collector = hear((topic, value(there)), (topic, payload))
    assert (collector.devices(), collector.questions()) == ([], ())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (f"{GRID}/DeviceInstance", value(31)),
        (f"{GRID}/DeviceInstance", value(True)),
        (f"{GRID}/DeviceInstance", value([30])),
        (f"{GRID}/DeviceInstance", b'{"value": NaN}'),
        (f"{GRID}/DeviceInstance", b"[]"),
        (f"{GRID}/DeviceInstance", b"\xff"),
        (f"{GRID}/DeviceInstance", b" " * 70_000),
        (f"N/{PORTAL}/grid/99999/DeviceInstance", value(99999)),
        (SERIAL, value("other")),
        (SERIAL, value([PORTAL])),
        ("N/a b/system/0/Serial", value("a b")),
    ],
)
def test_what_is_wrong_is_counted(topic, payload):
    collector = hear((topic, payload))
    assert (collector.devices(), collector.questions()) == ([], ())
    assert sum(collector.refused.values()) == 1


def test_there_are_not_too_many():
    collector = VictronCollector()
    for number in range(600):
        collector.take(f"N/{number}/system/0/Serial", value(str(number)))
        collector.take(f"{GRID.removesuffix('30')}{number}/CustomName", value("x"))
        collector.take(f"{GRID.removesuffix('30')}{number}/DeviceInstance", value(number))
    assert len(collector.questions()) == 20
    assert len(collector.devices()) == 500
