"""The assets of the test cases: what each says in cycle n of measuring, and what its registers show by then.

Messages are written by us from the documents that each template names as its `source`; ids are made up. Numbers are
such that no conversion rounds them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from support.itc_home import Asset, Message


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


# -- meters


def senml_meter(n: int, at: datetime) -> Sequence[Message]:
    """SenML pack of RFC 8428: one register."""
    pack = [{"bver": 26, "bn": "urn:dev:meter:home-7:", "n": "energy", "t": at.timestamp(), "u": "Wh", "v": 1000 + n}]
    return [("meter/home-7/measurement", pack)]


def shelly_em(n: int, at: datetime) -> Sequence[Message]:
    """Shelly EM, first generation: a topic for each value."""
    base = "shellies/shellyem-001122/emeter/0"
    return [
        (f"{base}/power", f"{-500.5 + n}"),
        (f"{base}/total", f"{84620.5 + n}"),
        (f"{base}/total_returned", f"{1200.5 + n}"),
        (f"{base}/voltage", "231.5"),
    ]


def emonpi(n: int, at: datetime) -> Sequence[Message]:
    """Write as emonHub does for an emonPi's node."""
    return [("emon/emonpi/power1", str(250 + n)), ("emon/emonpi/pulse1_wh", str(123456 + n))]


def dsmr(n: int, at: datetime) -> Sequence[Message]:
    """Write a telegram of a P1 port as DSMR-reader does."""
    telegram = {
        "timestamp": at.isoformat(),
        "electricity_delivered_1": f"{1500.25 + n}",
        "electricity_delivered_2": "2000.500",
        "electricity_returned_1": "10.000",
        "electricity_returned_2": "20.000",
        "electricity_currently_delivered": f"{0.5 + n}",
        "electricity_currently_returned": "0.000",
        "extra_device_delivered": None,
    }
    return [("dsmr/json", telegram)]


def sitewhere(hardware_id: str, at: datetime, measurements: Mapping[str, float]) -> dict[str, Any]:
    """Return FLEXMETER's single message (deliverable D2.2, 4; the JSON is SiteWhere 1.x's)."""
    request = {"measurements": dict(measurements), "updateState": True, "eventDate": at.isoformat()}
    return {"hardwareId": hardware_id, "type": "DeviceMeasurements", "request": request}


def alert(hardware_id: str, at: datetime, kind: str, level: str = "Critical") -> dict[str, Any]:
    """Return an alert of a FLEXMETER device."""
    request = {"type": kind, "level": level, "message": kind, "eventDate": at.isoformat(), "metadata": {}}
    return {"hardwareId": hardware_id, "type": "DeviceAlert", "request": request}


def apartment(n: int) -> dict[str, float]:
    """Return what a Landis+Gyr E350 of Malmö measures every ten seconds (D2.1, 3.2.1), by FLEXMETER's names."""
    return {
        "electricity.energy.active.consumed.total": 87.5 + n,
        "electricity.energy.active.injected.total": 3.25 + n,
        "electricity.power.active.consumed.l1": 100 + n,
        "electricity.power.active.consumed.l2": 200 + n,
        "electricity.power.active.consumed.l3": 300 + n,
        "electricity.voltage.rms.l1": 231.5,
        "electricity.voltage.rms.l2": 232.5,
        "electricity.voltage.rms.l3": 233.5,
    }


def apartment_registers(n: int) -> dict[str, float]:
    """Return the same in our points and units."""
    return {
        "energy": 87_500 + 1000 * n,
        "export_energy": 3_250 + 1000 * n,
        "power_l1": 100 + n,
        "power_l2": 200 + n,
        "power_l3": 300 + n,
        "voltage_l1": 231.5,
        "voltage_l2": 232.5,
        "voltage_l3": 233.5,
    }


FLEXMETER = Asset(
    "E350 behind FLEXMETER's gateway",
    "flexmeter",
    {"id": "M-1042"},
    lambda n, at: [("SiteWhere/input/json", sitewhere("M-1042", at, apartment(n)))],
    apartment_registers,
)
SMART_METERS = (
    Asset("meter with SenML", "senml_meter", {"id": "home-7"}, senml_meter, lambda n: {"energy": 1000 + n}),
    Asset(
        "Shelly EM",
        "shelly1_meter",
        {"id": "shellyem-001122"},
        shelly_em,
        lambda n: {"power": -500.5 + n, "energy": 84620.5 + n, "export_energy": 1200.5 + n, "voltage_l1": 231.5},
    ),
    Asset(
        "emonPi",
        "emonhub",
        {"node": "emonpi", "power": "power1", "energy": "pulse1_wh"},
        emonpi,
        lambda n: {"power": 250 + n, "energy": 123456 + n},
    ),
    Asset(
        "P1 port",
        "dsmr_reader",
        {},
        dsmr,
        lambda n: {
            "energy": 3_500_750 + 1000 * n,
            "export_energy": 30_000,
            "power": 500 + 1000 * n,
            "export_power": 0,
        },
    ),
    FLEXMETER,
)


# -- charging points, batteries, inverters, transformers


def evcc(n: int, at: datetime) -> Sequence[Message]:
    """Write a loadpoint as evcc publishes it."""
    base = "evcc/loadpoints/1"
    return [
        (f"{base}/chargePower", f"{3800.5 + n}"),
        (f"{base}/chargeTotalImport", f"{6663.5 + n}"),
        (f"{base}/chargeCurrents/l1", "16.5"),
        (f"{base}/vehicleSoc", str(61 + n)),
    ]


CHARGING_POINT = Asset(
    "charging point behind evcc",
    "evcc_loadpoint",
    {},
    evcc,
    lambda n: {"power": 3800.5 + n, "energy": 6_663_500 + 1000 * n, "current_l1": 16.5, "charge": 61 + n},
)


def battery(name: str, portal: str) -> Asset:
    """Return a battery behind a GX device (Victron's dbus-flashmq)."""
    return Asset(
        name,
        "victron",
        {"portal": portal, "normal_w": 50},
        lambda n, _: [
            (f"N/{portal}/system/0/Dc/Battery/Power", {"value": -500.5 + n}),
            (f"N/{portal}/system/0/Dc/Battery/Soc", {"value": 80.5 + n}),
        ],
        lambda n: {"battery_power": -500.5 + n, "charge": 80.5 + n},
    )


COMMUNITY_BATTERY = battery("community battery", "c0619ab00199")
HOME_BATTERY = battery("home battery", "c0619ab00112")
INVERTER = Asset(
    "Hoymiles inverter behind OpenDTU",
    "opendtu",
    {"serial": "116100001122"},
    lambda n, _: [
        ("solar/116100001122/0/power", f"{312.5 + n}"),
        ("solar/116100001122/0/yieldtotal", f"{812.5 + n}"),
        ("solar/116100001122/0/voltage", "231.5"),
        ("solar/116100001122/0/current", "1.25"),
        ("solar/116100001122/0/frequency", "50.25"),
    ],
    lambda n: {
        "export_power": 312.5 + n,
        "export_energy": 812_500 + 1000 * n,
        "voltage_l1": 231.5,
        "current_l1": 1.25,
        "frequency": 50.25,
    },
)
TRANSFORMER = Asset(
    "meter of an MV/LV substation",
    "flexmeter_substation",
    {"id": "S-7"},
    lambda n, at: [
        (
            "SiteWhere/input/json",
            sitewhere(
                "S-7",
                at,
                {
                    "electricity.power.active.consumed.total": 120.5 + n,
                    "electricity.power.active.injected.total": 0,
                    "electricity.power.reactive.consumed.total": 12.5,
                    "electricity.energy.reactive.consumed.total": 5.5 + n,
                    "electricity.energy.reactive.injected.total": 6.5 + n,
                },
            ),
        )
    ],
    lambda n: {
        "power": 120_500 + 1000 * n,
        "export_power": 0,
        "reactive_power": 12_500,
        "reactive_energy": 5_500 + 1000 * n,
        "export_reactive_energy": 6_500 + 1000 * n,
    },
)


# -- plugs


def zwave(n: int, at: datetime) -> Sequence[Message]:
    """Write a Z-Wave plug's meter as zwave-js-ui does, with its own time."""
    base, stamp = "zwave/cellar/boiler/meter/endpoint_0/value", _milliseconds(at)
    return [
        (f"{base}/66049", {"time": stamp, "value": 42.5 + n}),
        (f"{base}/65537", {"time": stamp, "value": 120.25 + n}),
    ]


PLUGS = (
    Asset(
        "Shelly Plug S",
        "shelly1",
        {"id": "shellyplug-s-001122"},
        lambda n, _: [
            ("shellies/shellyplug-s-001122/relay/0/power", f"{12.5 + n}"),
            ("shellies/shellyplug-s-001122/relay/0/energy", str(600 + 60 * n)),
        ],
        lambda n: {"power": 12.5 + n, "energy": 10 + n},
    ),
    Asset(
        "Tasmota plug",
        "tasmota",
        {"topic": "tasmota_001122"},
        lambda n, _: [
            (
                "stat/tasmota_001122/STATUS8",
                {"StatusSNS": {"ENERGY": {"Total": 514.5 + n, "Power": 56 + n, "Voltage": 234, "Current": 0.25}}},
            )
        ],
        lambda n: {"power": 56 + n, "energy": 514_500 + 1000 * n, "voltage_l1": 234, "current_l1": 0.25},
    ),
    Asset(
        "Z-Wave plug",
        "zwave_js_plug",
        {"node": "cellar/boiler", "gateway": "home"},
        zwave,
        lambda n: {"power": 42.5 + n, "energy": 120_250 + 1000 * n},
    ),
    Asset(
        "Zigbee plug",
        "zigbee2mqtt_plug",
        {"name": "boiler-plug"},
        lambda n, _: [("zigbee2mqtt/boiler-plug", {"state": "ON", "power": 1990 + n, "energy": 21.25 + n})],
        lambda n: {"power": 1990 + n, "energy": 21_250 + 1000 * n},
    ),
)
PLUG = PLUGS[0]


# -- sensors that no template of ours has: a household's own


def _own(title: str, topic: str, points: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    said = {name: {"topic": topic, "kind": "instant", **point} for name, point in points.items()}
    return {"title": title, "points": said}


TEMPLATES = {
    "environment_sensor": _own(
        "Environmental sensor behind zigbee2mqtt",
        "zigbee2mqtt/living-room",
        {
            "temperature": {"path": "temperature", "unit": "C", "quantity": "temperature"},
            "humidity": {"path": "humidity", "quantity": "count"},
            "brightness": {"path": "illuminance", "quantity": "count"},
            "co2": {"path": "co2", "quantity": "count"},
            "particles": {"path": "pm25", "quantity": "count"},
            "noise": {"path": "noise", "quantity": "count"},
            "open": {"template": "{{ 0 if value_json.contact else 1 }}", "quantity": "state"},
        },
    ),
    "wristband": _own(
        "Wristband behind a phone",
        "wearable/band-3",
        {
            "heart_rate": {"path": "hr.bpm", "time": "ts", "quantity": "count"},
            "skin_temperature": {"path": "skin.celsius", "time": "ts", "unit": "C", "quantity": "temperature"},
        },
    ),
}
ENVIRONMENT = Asset(
    "environmental sensor",
    "environment_sensor",
    {},
    lambda n, _: [
        (
            "zigbee2mqtt/living-room",
            {
                "temperature": 21.5 + n,
                "humidity": 40.5 + n,
                "illuminance": 310 + n,
                "co2": 612 + n,
                "pm25": 7,
                "noise": 38.5,
                "contact": n % 2 == 0,
                "battery": 97,
            },
        )
    ],
    lambda n: {
        "temperature": 21.5 + n,
        "humidity": 40.5 + n,
        "brightness": 310 + n,
        "co2": 612 + n,
        "particles": 7,
        "noise": 38.5,
        "open": n % 2,
    },
)
WRISTBAND = Asset(
    "wristband",
    "wristband",
    {},
    lambda n, at: [
        ("wearable/band-3", {"ts": _milliseconds(at), "hr": {"bpm": 62 + n}, "skin": {"celsius": 33.5 + n / 4}})
    ],
    lambda n: {"heart_rate": 62 + n, "skin_temperature": 33.5 + n / 4},
)
