"""The templates that come with evenload, each against messages written as its source documents them.

A row says what a device of the template hears, and what becomes of it: readings in our units, states, contact; and what
an order looks like on the wire. Ids are made up.
"""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from bridges.connected_device import POINTS
from bridges.connections import Handler, Message, NoConnection
from bridges.device import CapabilityKind, Contact, DeviceSpec, Value
from bridges.drivers import Origin, TemplateModule, load, sources
from bridges.templated import TemplatedDevice
from core.clock import ManualClock
from core.errors import InvalidError
from core.points import Flow, Phase, Quantity, Reading

NOW: Final = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
SOON: Final = NOW + timedelta(minutes=10)


@dataclass(frozen=True)
class Said:
    """A message from the device, and the readings and states in it; `at` is when they were taken."""

    topic: str
    payload: object
    readings: dict[str, float]
    states: dict[str, Value]
    at: datetime


@dataclass(frozen=True)
class Order:
    """An order, and what is sent: `until` is None for one without an end."""

    capability: CapabilityKind
    value: Value
    topic: str
    payload: str
    until: datetime | None
    after: tuple[Said, ...]
    """What the device said before."""
    more: tuple[tuple[str, str], ...] = ()
    """What is sent with it."""


@dataclass(frozen=True)
class Row:
    """What is expected of a template; `presence` is a topic, a message of being there, one of being away."""

    template: str
    options: dict[str, object]
    messages: tuple[Said, ...]
    orders: tuple[Order, ...] = ()
    presence: tuple[str, object, object] | None = None
    start: tuple[str, object] | None = None
    asks: tuple[tuple[str, str], ...] = ()


def says(
    topic: str,
    payload: object,
    readings: dict[str, float] | None = None,
    states: dict[str, Value] | None = None,
    at: datetime = NOW,
) -> Said:
    return Said(topic, payload, readings or {}, states or {}, at)


def order(
    capability: str, value: Value, topic: str, payload: str, *after: Said, until: datetime | None = None
) -> Order:
    return Order(CapabilityKind(capability), value, topic, payload, until, after)


def switched(relay: int, word: str) -> str:
    return f'{{"id":1,"src":"evenload","method":"Switch.Set","params":{{"id":{relay},"on":{word}}}}}'


SHELLY2: Final = "shellyplus1pm-aabbcc001122"
SHELLY2_ON: Final = says(
    f"{SHELLY2}/status/switch:0",
    {
        "id": 0,
        "source": "MQTT",
        "output": True,
        "apower": 1985.4,
        "voltage": 231.2,
        "freq": 50.0,
        "current": 8.61,
        "aenergy": {"total": 12345.678, "by_minute": [33090.0, 0.0, 0.0], "minute_ts": 1772470800},
        "temperature": {"tC": 41.2, "tF": 106.2},
    },
    {"power": 1985.4, "energy": 12345.678, "voltage_l1": 231.2, "current_l1": 8.61},
    {"switch": "on"},
)
SG_READY: Final = "shellyplus2pm-aabbcc001122"
PLUG: Final = "zigbee2mqtt/boiler-plug"
VENUS: Final = "c0619ab00112"
VENUS_ASKS: Final = (
    (f"R/{VENUS}/keepalive", '{ "keepalive-options" : ["suppress-republish"] }'),
    (f"R/{VENUS}/system/0/Ac/Grid", ""),
    (f"R/{VENUS}/system/0/Ac/Consumption", ""),
    (f"R/{VENUS}/system/0/Dc/Battery", ""),
    (f"R/{VENUS}/settings/0/Settings/CGwacs/AcPowerSetPoint", ""),
)
BOILER: Final = says(
    "ems-esp/boiler_data",
    {
        "heatingactive": "on",
        "outdoortemp": -3.2,
        "curflowtemp": 38.4,
        "rettemp": 33.1,
        "nrgconstotal": 5120,
        "nrgsupptotal": 17410,
        "hpcurrpower": 2140,
        "hppowerlimit": 9000,
        "hpactivity": "heating",
        "dhw": {"seltemp": 50, "curtemp": 47.6, "onetime": "off", "activated": "on"},
    },
    {
        "power": 2140,
        "energy": 5_120_000,
        "heat": 17_410_000,
        "outdoor": -3.2,
        "supply_temperature": 38.4,
        "return_temperature": 33.1,
        "tank": 47.6,
    },
    {"import_limit": 9000, "boost": "off"},
)


def measured(path: str, value: object) -> dict[str, object]:
    """Return a single message of a FLEXMETER device, a minute old."""
    return {
        "hardwareId": "M-1042",
        "type": "DeviceMeasurements",
        "request": {"measurements": {path: value}, "updateState": True, "eventDate": "2026-03-02T16:59:00.000Z"},
    }


def alert(kind: str, hardware_id: str = "M-1042") -> dict[str, object]:
    """Return an alert of a FLEXMETER device."""
    request = {"type": kind, "level": "Critical", "message": kind, "eventDate": "2026-03-02T16:59:00.000Z"}
    return {"hardwareId": hardware_id, "type": "DeviceAlert", "request": request}


FLEXMETER: Final = {
    "electricity.energy.active.consumed.total": (87.1, "energy", 87_100),
    "electricity.energy.active.injected.total": (3.5, "export_energy", 3_500),
    "electricity.power.active.consumed.total": (1200, "power", 1200),
    "electricity.power.active.injected.total": (0, "export_power", 0),
    "electricity.energy.active.consumed.l1": (1, "energy_l1", 1000),
    "electricity.energy.active.consumed.l2": (2, "energy_l2", 2000),
    "electricity.energy.active.consumed.l3": (3, "energy_l3", 3000),
    "electricity.power.active.consumed.l1": (100, "power_l1", 100),
    "electricity.power.active.consumed.l2": (200, "power_l2", 200),
    "electricity.power.active.consumed.l3": (300, "power_l3", 300),
    "electricity.voltage.rms.l1": (231.1, "voltage_l1", 231.1),
    "electricity.voltage.rms.l2": (232.1, "voltage_l2", 232.1),
    "electricity.voltage.rms.l3": (233.1, "voltage_l3", 233.1),
    "electricity.current.rms.l1": (1.1, "current_l1", 1.1),
    "electricity.current.rms.l2": (1.2, "current_l2", 1.2),
    "electricity.current.rms.l3": (1.3, "current_l3", 1.3),
    "electricity.frequency": (49.98, "frequency", 49.98),
}
"""FLEXMETER's name of a measurement, what it says, our point and its value."""
FLEXMETER_SUBSTATION: Final = {
    "electricity.power.active.consumed.total": (120.5, "power", 120_500),
    "electricity.power.active.injected.total": (0, "export_power", 0),
    "electricity.power.reactive.consumed.total": (12.5, "reactive_power", 12_500),
    "electricity.energy.reactive.consumed.total": (5, "reactive_energy", 5000),
    "electricity.energy.reactive.injected.total": (6, "export_reactive_energy", 6000),
}
FLEXMETER_MIDORI: Final = {
    "electricity.power.active.consumed.l1": (350, "power", 350),
    "electricity.power.reactive.consumed.l1": (40, "reactive_power", 40),
    "electricity.instantaneous.rms.volatge.l1": (230.4, "voltage_l1", 230.4),
    "electricity.instantaneous.rms.current.l1": (4.2, "current_l1", 4.2),
}
FLEXMETER_WATER: Final = {"water.volume": (12_345, "volume", 12_345), "water.flowrate": (0.4, "flow", 400)}
FLEXMETER_HEAT: Final = {
    "heating.energy": (12.5, "heat", 12_500_000),
    "heating.power": (4.2, "heat_power", 4200),
    "heating.volume": (1500, "volume", 1500),
    "heating.flowrate": (0.35, "flow", 350),
    "heating.temp.primary.inlet": (82.4, "inlet", 82.4),
    "heating.temp.primary.outlet": (45.1, "outlet", 45.1),
    "heating.temp.secondary.inlet": (55.2, "secondary_inlet", 55.2),
}
ROWS: Final = (
    Row(
        "shelly1",
        {"id": "shellyplug-s-001122"},
        (
            says("shellies/shellyplug-s-001122/relay/0", "off", states={"switch": "off"}),
            says("shellies/shellyplug-s-001122/relay/0/power", "12.50", {"power": 12.5}),
            says("shellies/shellyplug-s-001122/relay/0/energy", "600", {"energy": 10}),
        ),
        (order("switch", "on", "shellies/shellyplug-s-001122/relay/0/command", "on"),),
        ("shellies/shellyplug-s-001122/online", "true", "false"),
        ("shellies/announce", {"id": "shellyplug-s-001122", "mac": "AABBCC001122", "new_fw": False}),
        (("shellies/shellyplug-s-001122/command", "update"),),
    ),
    Row(
        "senml_meter",
        {"id": "home-7"},
        (
            says(
                "meter/home-7/measurement",
                [{"n": "energy", "t": 1772470800, "u": "Wh", "v": 1234500}],
                {"energy": 1_234_500},
            ),
            says(
                "meter/home-7/measurement",
                [{"n": "power", "t": 1772470800, "u": "W", "v": 350}],
                {"power": 350},
                at=NOW - timedelta(minutes=1),
            ),
        ),
    ),
    Row(
        "shelly2_switch",
        {"id": SHELLY2},
        (
            SHELLY2_ON,
            says(f"{SHELLY2}/status/switch:0", {"id": 0, "source": "init", "output": False}, {}, {"switch": "off"}),
        ),
        (
            order(
                "switch",
                "off",
                f"{SHELLY2}/rpc",
                '{"id":1,"src":"evenload","method":"Switch.Set","params":{"id":0,"on":false}}',
            ),
            order(
                "switch",
                "off",
                f"{SHELLY2}/rpc",
                '{"id":1,"src":"evenload","method":"Switch.Set","params":{"id":0,"on":false,"toggle_after":660}}',
                SHELLY2_ON,
                until=SOON,
            ),
            order(
                "switch",
                "on",
                f"{SHELLY2}/rpc",
                '{"id":1,"src":"evenload","method":"Switch.Set","params":{"id":0,"on":true}}',
                SHELLY2_ON,
                until=SOON,
            ),
        ),
        (f"{SHELLY2}/online", "true", "false"),
        asks=((f"{SHELLY2}/command", "status_update"),),
    ),
    Row(
        "shelly2_meter",
        {"id": "shellypro3em-aabbcc001122"},
        (
            says(
                "shellypro3em-aabbcc001122/status/em:0",
                {
                    "id": 0,
                    "a_current": 4.03,
                    "a_voltage": 236.1,
                    "a_act_power": 951.2,
                    "a_aprt_power": 951.9,
                    "a_pf": 1.0,
                    "a_freq": 50.0,
                    "b_current": 4.027,
                    "b_voltage": 236.2,
                    "b_act_power": -951.1,
                    "c_current": 3.03,
                    "c_voltage": 236.3,
                    "c_act_power": 715.4,
                    "n_current": None,
                    "total_current": 11.087,
                    "total_act_power": 715.5,
                },
                {
                    "power": 715.5,
                    "power_l1": 951.2,
                    "power_l2": -951.1,
                    "power_l3": 715.4,
                    "voltage_l1": 236.1,
                    "voltage_l2": 236.2,
                    "voltage_l3": 236.3,
                    "current_l1": 4.03,
                    "current_l2": 4.027,
                    "current_l3": 3.03,
                },
            ),
            says(
                "shellypro3em-aabbcc001122/status/emdata:0",
                {"id": 0, "a_total_act_energy": 100.5, "total_act": 5002.1, "total_act_ret": 30.25},
                {"energy": 5002.1, "export_energy": 30.25},
            ),
        ),
        presence=("shellypro3em-aabbcc001122/online", "true", "false"),
        asks=(("shellypro3em-aabbcc001122/command", "status_update"),),
    ),
    Row(
        "shelly2_meter_1p",
        {"id": "shellyproem50-aabbcc001122", "clamp": 1},
        (
            says(
                "shellyproem50-aabbcc001122/status/em1:1",
                {
                    "id": 1,
                    "current": 22.78,
                    "voltage": 224.6,
                    "act_power": -5080.3,
                    "pf": 0.99,
                    "calibration": "factory",
                },
                {"power": -5080.3, "voltage_l1": 224.6, "current_l1": 22.78},
            ),
            says(
                "shellyproem50-aabbcc001122/status/em1data:1",
                {"id": 1, "total_act_energy": 6644.9, "total_act_ret_energy": 2595.26},
                {"energy": 6644.9, "export_energy": 2595.26},
            ),
        ),
        presence=("shellyproem50-aabbcc001122/online", "true", "false"),
        asks=(("shellyproem50-aabbcc001122/command", "status_update"),),
    ),
    Row(
        "shelly1_meter",
        {"id": "shellyem-001122", "clamp": 1},
        (
            says("shellies/shellyem-001122/emeter/1/power", "-1530.22", {"power": -1530.22}),
            says("shellies/shellyem-001122/emeter/1/voltage", "231.44", {"voltage_l1": 231.44}),
            says("shellies/shellyem-001122/emeter/1/total", "84620.1", {"energy": 84620.1}),
            says("shellies/shellyem-001122/emeter/1/total_returned", "1200.5", {"export_energy": 1200.5}),
        ),
        presence=("shellies/shellyem-001122/online", "true", "false"),
        start=("shellies/announce", {"id": "shellyem-001122", "model": "SHEM"}),
        asks=(("shellies/shellyem-001122/command", "update"),),
    ),
    Row(
        "shelly1_3em",
        {"id": "shellyem3-001122"},
        (
            says("shellies/shellyem3-001122/emeter/0/power", "351.12", {"power_l1": 351.12}),
            says("shellies/shellyem3-001122/emeter/1/power", "-20.01", {"power_l2": -20.01}),
            says("shellies/shellyem3-001122/emeter/2/power", "0.00", {"power_l3": 0}),
            says("shellies/shellyem3-001122/emeter/0/total", "1000.4", {"energy_l1": 1000.4}),
            says("shellies/shellyem3-001122/emeter/1/total", "2000.4", {"energy_l2": 2000.4}),
            says("shellies/shellyem3-001122/emeter/2/total", "3000.4", {"energy_l3": 3000.4}),
            says("shellies/shellyem3-001122/emeter/0/total_returned", "10.0", {"export_energy_l1": 10}),
            says("shellies/shellyem3-001122/emeter/1/total_returned", "20.0", {"export_energy_l2": 20}),
            says("shellies/shellyem3-001122/emeter/2/total_returned", "30.0", {"export_energy_l3": 30}),
            says("shellies/shellyem3-001122/emeter/0/voltage", "231.0", {"voltage_l1": 231}),
            says("shellies/shellyem3-001122/emeter/1/voltage", "232.0", {"voltage_l2": 232}),
            says("shellies/shellyem3-001122/emeter/2/voltage", "233.0", {"voltage_l3": 233}),
            says("shellies/shellyem3-001122/emeter/0/current", "1.52", {"current_l1": 1.52}),
            says("shellies/shellyem3-001122/emeter/1/current", "0.09", {"current_l2": 0.09}),
            says("shellies/shellyem3-001122/emeter/2/current", "0.00", {"current_l3": 0}),
        ),
        presence=("shellies/shellyem3-001122/online", "true", "false"),
        start=("shellies/announce", {"id": "shellyem3-001122", "model": "SHEM-3"}),
        asks=(("shellies/shellyem3-001122/command", "update"),),
    ),
    Row(
        "tasmota",
        {"topic": "tasmota_001122", "relay": "POWER2"},
        (
            says("stat/tasmota_001122/POWER2", "ON", states={"switch": "on"}),
            says("stat/tasmota_001122/POWER2", "OFF", states={"switch": "off"}),
            says(
                "stat/tasmota_001122/STATUS8",
                {
                    "StatusSNS": {
                        "Time": "2026-03-02T18:00:00",
                        "ENERGY": {
                            "TotalStartTime": "2025-09-16T00:00:00",
                            "Total": 514.153,
                            "Yesterday": 1.495,
                            "Today": 0.537,
                            "Power": 56,
                            "ApparentPower": 92,
                            "ReactivePower": 73,
                            "Factor": 0.61,
                            "Voltage": 234,
                            "Current": 0.392,
                        },
                    }
                },
                {"power": 56, "energy": 514_153, "voltage_l1": 234, "current_l1": 0.392},
            ),
        ),
        (
            order("switch", "on", "cmnd/tasmota_001122/POWER2", "ON"),
            order("switch", "off", "cmnd/tasmota_001122/POWER2", "OFF", until=SOON),
        ),
        ("tele/tasmota_001122/LWT", "Online", "Offline"),
        asks=(("cmnd/tasmota_001122/POWER2", ""), ("cmnd/tasmota_001122/Status", "8")),
    ),
    Row(
        "zigbee2mqtt_plug",
        {"name": "boiler-plug"},
        (
            says(
                PLUG,
                {"state": "ON", "power": 1990, "energy": 21.35, "voltage": 229, "current": 8.7, "linkquality": 180},
                {"power": 1990, "energy": 21_350, "voltage_l1": 229, "current_l1": 8.7},
                {"switch": "on"},
            ),
            says(PLUG, {"state": "OFF", "power": None, "update": {"state": "idle"}}, {}, {"switch": "off"}),
        ),
        (
            order("switch", "on", f"{PLUG}/set", '{"state": "ON"}'),
            order("switch", "off", f"{PLUG}/set", '{"state": "OFF"}', until=SOON),
        ),
        (f"{PLUG}/availability", {"state": "online"}, {"state": "offline"}),
        ("zigbee2mqtt/bridge/state", {"state": "online"}),
        ((f"{PLUG}/get", '{"state": ""}'),),
    ),
    Row(
        "zwave_js_plug",
        {"node": "cellar/boiler", "gateway": "home"},
        (
            says(
                "zwave/cellar/boiler/switch_binary/endpoint_0/currentValue",
                {"time": 1772470790000, "value": False},
                states={"switch": "off"},
            ),
            says(
                "zwave/cellar/boiler/meter/endpoint_0/value/66049",
                {"time": 1772470790000, "value": 42.5, "nodeName": "boiler", "nodeLocation": "cellar"},
                {"power": 42.5},
                at=NOW - timedelta(seconds=10),
            ),
            says(
                "zwave/cellar/boiler/meter/endpoint_0/value/65537",
                {"time": 1772470790000, "value": 120.25},
                {"energy": 120_250},
                at=NOW - timedelta(seconds=10),
            ),
            says(
                "zwave/cellar/boiler/meter/endpoint_0/value/66561",
                {"time": 1772470790000, "value": 231},
                {"voltage_l1": 231},
                at=NOW - timedelta(seconds=10),
            ),
            says(
                "zwave/cellar/boiler/meter/endpoint_0/value/66817",
                {"time": 1772470790000, "value": 0.18},
                {"current_l1": 0.18},
                at=NOW - timedelta(seconds=10),
            ),
        ),
        (
            order("switch", "on", "zwave/cellar/boiler/switch_binary/endpoint_0/targetValue/set", "true"),
            order("switch", "off", "zwave/cellar/boiler/switch_binary/endpoint_0/targetValue/set", "false", until=SOON),
        ),
        (
            "zwave/cellar/boiler/status",
            {"time": 1772470790000, "value": True, "status": "Alive", "nodeId": 5},
            {"time": 1772470790000, "value": False, "status": "Dead", "nodeId": 5},
        ),
        ("zwave/_CLIENTS/ZWAVE_GATEWAY-home/status", {"value": True, "time": 1772470790000}),
    ),
    Row(
        "esphome_switch",
        {"prefix": "boiler-plug", "energy_unit": "Wh"},
        (
            says("boiler-plug/switch/relay/state", "ON", states={"switch": "on"}),
            says("boiler-plug/sensor/power/state", "1985.4", {"power": 1985.4}),
            says("boiler-plug/sensor/energy/state", "20500", {"energy": 20_500}),
        ),
        (
            order("switch", "off", "boiler-plug/switch/relay/command", "OFF"),
            order("switch", "on", "boiler-plug/switch/relay/command", "ON", until=SOON),
        ),
        ("boiler-plug/status", "online", "offline"),
    ),
    Row(
        "ems_esp_heat_pump",
        {"normal_w": 9000},
        (
            BOILER,
            says(
                "ems-esp/boiler_data",
                {"hppowerlimit": 2500, "dhw": {"onetime": True}},
                {},
                {"import_limit": 2500, "boost": "on"},
            ),
            says("ems-esp/boiler_data", {"dhw": {"onetime": 0}}, {}, {"boost": "off"}),
        ),
        (
            order("import_limit", 2500, "ems-esp/boiler/hppowerlimit", "2500"),
            order("boost", "on", "ems-esp/boiler/dhw/onetime", "on", until=SOON),
        ),
        ("ems-esp/status", "online", "offline"),
        asks=(("ems-esp/system/publish", "boiler"),),
    ),
    Row(
        "ems_esp_hot_water",
        {"normal_c": 50},
        (says("ems-esp/boiler_data", BOILER.payload, {"tank": 47.6}, {"setpoint": 50}),),
        (order("setpoint", 42.5, "ems-esp/boiler/dhw/seltemp", "42.5"),),
        ("ems-esp/status", "online", "offline"),
        asks=(("ems-esp/system/publish", "boiler"),),
    ),
    Row(
        "ems_esp_thermostat",
        {"normal_c": 21, "circuit": "hc2"},
        (
            says(
                "ems-esp/thermostat_data",
                {
                    "datetime": "02.03.2026 18:00",
                    "hc1": {"seltemp": 15.0, "currtemp": 18.2},
                    "hc2": {"seltemp": 21.0, "currtemp": 20.7, "mode": "auto"},
                },
                {"room": 20.7},
                {"setpoint": 21},
            ),
        ),
        (order("setpoint", 19.5, "ems-esp/thermostat/hc2/seltemp", "19.5"),),
        ("ems-esp/status", "online", "offline"),
        asks=(("ems-esp/system/publish", "thermostat"),),
    ),
    Row(
        "victron",
        {"portal": VENUS, "normal_w": 50},
        (
            says(f"N/{VENUS}/system/0/Ac/Grid/L1/Power", {"value": -120.5}, {"power_l1": -120.5}),
            says(f"N/{VENUS}/system/0/Ac/Grid/L2/Power", {"value": 30}, {"power_l2": 30}),
            says(f"N/{VENUS}/system/0/Ac/Grid/L3/Power", {"value": 0.0}, {"power_l3": 0}),
            says(f"N/{VENUS}/system/0/Ac/Grid/L3/Power", {"value": None}),
            says(f"N/{VENUS}/system/0/Ac/Consumption/L1/Power", {"value": 1000}, {"load_l1": 1000}),
            says(f"N/{VENUS}/system/0/Ac/Consumption/L2/Power", {"value": 500}, {"load_l2": 500}),
            says(f"N/{VENUS}/system/0/Ac/Consumption/L3/Power", {"value": 400}, {"load_l3": 400}),
            says(f"N/{VENUS}/system/0/Dc/Battery/Power", {"value": -500}, {"battery_power": -500}),
            says(f"N/{VENUS}/system/0/Dc/Battery/Soc", {"value": 81.5}, {"charge": 81.5}),
            says(
                f"N/{VENUS}/settings/0/Settings/CGwacs/AcPowerSetPoint",
                {"max": 0, "min": 0, "value": 50.0},
                states={"setpoint": 50},
            ),
        ),
        (
            order("setpoint", -1300, f"W/{VENUS}/settings/0/Settings/CGwacs/AcPowerSetPoint", '{"value": -1300}'),
            order("setpoint", 0, f"W/{VENUS}/settings/0/Settings/CGwacs/AcPowerSetPoint", '{"value": 0}', until=SOON),
        ),
        asks=VENUS_ASKS,
    ),
    Row(
        "victron_grid_meter",
        {"portal": VENUS, "instance": 30},
        (
            says(f"N/{VENUS}/grid/30/Ac/Power", {"value": -120.5}, {"power": -120.5}),
            says(f"N/{VENUS}/grid/30/Ac/Energy/Forward", {"value": 812.31}, {"energy": 812_310}),
            says(f"N/{VENUS}/grid/30/Ac/Energy/Reverse", {"value": 12.5}, {"export_energy": 12_500}),
            says(f"N/{VENUS}/grid/30/Ac/L1/Voltage", {"value": 231.5}, {"voltage_l1": 231.5}),
            says(f"N/{VENUS}/grid/30/Ac/L2/Voltage", {"value": 232.5}, {"voltage_l2": 232.5}),
            says(f"N/{VENUS}/grid/30/Ac/L3/Voltage", {"value": 233.5}, {"voltage_l3": 233.5}),
            says(f"N/{VENUS}/grid/30/Ac/L3/Voltage", {"value": None}),
        ),
        asks=(VENUS_ASKS[0], (f"R/{VENUS}/grid/30/Ac", "")),
    ),
    Row(
        "victron_pv_inverter",
        {"portal": VENUS, "instance": 20},
        (
            says(f"N/{VENUS}/pvinverter/20/Ac/Power", {"value": 936}, {"export_power": 936}),
            says(f"N/{VENUS}/pvinverter/20/Ac/Energy/Forward", {"value": 4215.7}, {"export_energy": 4_215_700}),
            says(f"N/{VENUS}/pvinverter/20/Ac/L1/Voltage", {"value": 231.5}, {"voltage_l1": 231.5}),
            says(f"N/{VENUS}/pvinverter/20/Ac/L2/Voltage", {"value": 232.5}, {"voltage_l2": 232.5}),
            says(f"N/{VENUS}/pvinverter/20/Ac/L3/Voltage", {"value": 233.5}, {"voltage_l3": 233.5}),
            says(f"N/{VENUS}/pvinverter/20/Ac/Power", {"value": None}),
        ),
        asks=(VENUS_ASKS[0], (f"R/{VENUS}/pvinverter/20/Ac", "")),
    ),
    Row(
        "evcc_loadpoint",
        {"loadpoint": 2},
        (
            says("evcc/loadpoints/2/chargePower", "3847.48", {"power": 3847.48}),
            says("evcc/loadpoints/2/chargeTotalImport", "6663.93", {"energy": 6_663_930}),
            says("evcc/loadpoints/2/chargeCurrents/l1", "16.1", {"current_l1": 16.1}),
            says("evcc/loadpoints/2/chargeCurrents/l2", "16", {"current_l2": 16}),
            says("evcc/loadpoints/2/chargeCurrents/l3", "0", {"current_l3": 0}),
            says("evcc/loadpoints/2/vehicleSoc", "61", {"charge": 61}),
            says("evcc/loadpoints/2/mode", "minpv", states={"mode": "minpv"}),
            says("evcc/loadpoints/2/maxCurrent", "16", states={"current_limit": 16}),
        ),
        (
            order("mode", "off", "evcc/loadpoints/2/mode/set", "off"),
            order("current_limit", 6, "evcc/loadpoints/2/maxCurrent/set", "6", until=SOON),
        ),
        ("evcc/status", "online", "offline"),
    ),
    Row(
        "openhab_switch",
        {"item": "Boiler", "inbox": "home/in"},
        (
            says("openhab/out/Boiler/state", "ON", states={"switch": "on"}),
            says("openhab/out/Boiler/state", "OFF", states={"switch": "off"}),
            says("openhab/out/Boiler_Power/state", "1985.4 W", {"power": 1985.4}),
            says("openhab/out/Boiler_Power/state", "0", {"power": 0}),
            says("openhab/out/Boiler_Energy/state", "20.5 kWh", {"energy": 20_500}),
        ),
        (order("switch", "off", "home/in/Boiler/command", "OFF"),),
        ("openhab/status", "ONLINE", "OFFLINE"),
    ),
    Row(
        "emonhub",
        {"node": "emonpi", "power": "power1", "energy": "pulse1_wh"},
        (
            says("emon/emonpi/power1", "-250", {"power": -250}),
            says("emon/emonpi/pulse1_wh", "123456", {"energy": 123_456}),
        ),
    ),
    Row(
        "opendtu",
        {"serial": "116100001122"},
        (
            says("solar/116100001122/0/power", "312.4", {"export_power": 312.4}),
            says("solar/116100001122/0/yieldtotal", "812.355", {"export_energy": 812_355}),
            says("solar/116100001122/0/voltage", "231.9", {"voltage_l1": 231.9}),
            says("solar/116100001122/0/current", "1.35", {"current_l1": 1.35}),
            says("solar/116100001122/0/frequency", "49.99", {"frequency": 49.99}),
            says("solar/116100001122/status/limit_relative", "100.00", states={"export_limit": 100}),
        ),
        (order("export_limit", 40, "solar/116100001122/cmd/limit_nonpersistent_relative", "40"),),
        ("solar/116100001122/status/reachable", "1", "0"),
        ("solar/dtu/status", "online"),
    ),
    Row(
        "dsmr_reader",
        {},
        (
            says(
                "dsmr/json",
                {
                    "id": 4711,
                    "timestamp": "2026-03-02T17:00:00Z",
                    "electricity_delivered_1": "1500.250",
                    "electricity_returned_1": "10.001",
                    "electricity_delivered_2": "2000.500",
                    "electricity_returned_2": "20.002",
                    "electricity_currently_delivered": "0.350",
                    "electricity_currently_returned": "0.000",
                    "phase_currently_delivered_l1": "0.100",
                    "phase_currently_delivered_l2": "0.200",
                    "phase_currently_delivered_l3": "0.050",
                    "extra_device_timestamp": None,
                    "extra_device_delivered": None,
                },
                {
                    "energy": 3_500_750,
                    "export_energy": 30_003,
                    "power": 350,
                    "export_power": 0,
                    "power_l1": 100,
                    "power_l2": 200,
                    "power_l3": 50,
                },
            ),
            says(
                "dsmr/json",
                {"timestamp": "2026-03-02T16:59:50+00:00", "electricity_currently_delivered": "0.4"},
                {"power": 400},
                at=NOW - timedelta(seconds=10),
            ),
        ),
    ),
    Row(
        "slimmelezer",
        {},
        (
            says("slimmelezer/sensor/power_consumed/state", "0.350", {"power": 350}),
            says("slimmelezer/sensor/power_produced/state", "0.000", {"export_power": 0}),
            says("slimmelezer/sensor/voltage_phase_1/state", "231.0", {"voltage_l1": 231}),
            says("slimmelezer/sensor/voltage_phase_2/state", "232.0", {"voltage_l2": 232}),
            says("slimmelezer/sensor/voltage_phase_3/state", "233.0", {"voltage_l3": 233}),
        ),
        presence=("slimmelezer/status", "online", "offline"),
    ),
    Row(
        "tibber_pulse_local",
        {"meter": "01EBZ0100112233"},
        (
            says("01EBZ0100112233/energyImportTotal", "123123.45", {"energy": 123_123.45}),
            says("01EBZ0100112233/energyExportTotal", "345234.56", {"export_energy": 345_234.56}),
            says("01EBZ0100112233/powerTotal", "-411.2", {"power": -411.2}),
        ),
    ),
    Row(
        "home_assistant_statestream",
        {"power": "boiler_power", "energy": "boiler_energy", "power_unit": "kW"},
        (
            says("homeassistant/sensor/boiler_power/state", "1.985", {"power": 1985}),
            says("homeassistant/sensor/boiler_energy/state", "20.5", {"energy": 20_500}),
        ),
    ),
    Row(
        "wled",
        {"topic": "wled/001122"},
        (
            says("wled/001122/g", "128", states={"switch": "on"}),
            says("wled/001122/g", "0", states={"switch": "off"}),
        ),
        (order("switch", "off", "wled/001122", "OFF"), order("switch", "on", "wled/001122", "ON", until=SOON)),
        ("wled/001122/status", "online", "offline"),
    ),
    Row(
        "plain_switch",
        {
            "state_topic": "cellar/boiler/state",
            "command_topic": "cellar/boiler/set",
            "presence_topic": "cellar/boiler/alive",
            "state_on": "1",
            "state_off": "0",
            "command_on": "zu",
            "command_off": "auf",
            "online": "ja",
            "offline": "nein",
        },
        (
            says("cellar/boiler/state", "1", states={"switch": "on"}),
            says("cellar/boiler/state", "0", states={"switch": "off"}),
        ),
        (order("switch", "on", "cellar/boiler/set", "zu"), order("switch", "off", "cellar/boiler/set", "auf")),
        ("cellar/boiler/alive", "ja", "nein"),
    ),
    Row(
        "plain_meter",
        {
            "energy_topic": "cellar/meter",
            "energy_path": "total.in",
            "power_topic": "cellar/meter/power",
            "power_unit": "kW",
        },
        (
            says("cellar/meter", {"total": {"in": 1234.5, "out": 1}}, {"energy": 1_234_500}),
            says("cellar/meter/power", "-0.25", {"power": -250}),
        ),
    ),
    Row(
        "plain_register",
        {"topic": "cellar/meter", "path": "/total.in", "unit": "Wh"},
        (says("cellar/meter", {"total.in": "1234.5"}, {"energy": 1234.5}),),
    ),
    Row(
        "plain_notice",
        {"topic": "kitchen/display"},
        (),
        (
            order("notify", 'Peak hours: "slowly", please', "kitchen/display", 'Peak hours: "slowly", please'),
            order("notify", "", "kitchen/display", ""),
        ),
    ),
    Row(
        "sg_ready_shelly2",
        {"id": SG_READY},
        (
            says(f"{SG_READY}/status/switch:0", {"id": 0, "output": True}),  # one contact alone is no mode yet
            says(f"{SG_READY}/status/switch:1", {"id": 1, "output": False}, states={"mode": "lock"}),
            says(f"{SG_READY}/status/switch:1", {"id": 1, "output": True}, states={"mode": "force"}),
            says(f"{SG_READY}/status/switch:0", {"id": 0, "output": False}, states={"mode": "recommend"}),
            says(f"{SG_READY}/status/switch:1", {"id": 1, "output": False}, states={"mode": "normal"}),
        ),
        tuple(
            replace(
                order("mode", mode, f"{SG_READY}/rpc", switched(0, first)),
                more=((f"{SG_READY}/rpc", switched(1, second)),),
            )
            for mode, first, second in (
                ("lock", "true", "false"),
                ("normal", "false", "false"),
                ("recommend", "false", "true"),
                ("force", "true", "true"),
            )
        ),
        (f"{SG_READY}/online", "true", "false"),
        asks=((f"{SG_READY}/command", "status_update"),),
    ),
    Row("plain_power", {"topic": "cellar/power"}, (says("cellar/power", "351", {"power": 351}),)),
    *(
        Row(
            name,
            {"id": "M-1042"},
            (
                *(
                    says("SiteWhere/input/json", measured(path, value), {point: ours}, at=NOW - timedelta(minutes=1))
                    for path, (value, point, ours) in measurements.items()
                ),
                says("SiteWhere/input/json", measured(next(iter(measurements)), 50) | {"hardwareId": "M-1"}),
                says("SiteWhere/input/json", measured(next(iter(measurements)), 50) | {"type": "DeviceAlert"}),
                says("SiteWhere/input/json", measured("l1.phase.fail", 1)),
            ),
            presence=(
                ("SiteWhere/input/json", measured(next(iter(measurements)), 50), alert("power.failure"))
                if gasps
                else None
            ),
        )
        for name, measurements, gasps in (
            ("flexmeter", FLEXMETER, True),
            ("flexmeter_substation", FLEXMETER_SUBSTATION, True),
            ("flexmeter_midori", FLEXMETER_MIDORI, False),
            ("flexmeter_heat", FLEXMETER_HEAT, False),
            ("flexmeter_water", FLEXMETER_WATER, False),
        )
    ),
    Row(
        "flexmeter_batch",
        {"id": "M-1042"},
        (
            says(
                "SiteWhere/input/jsonbatch",
                {
                    "hardwareId": "M-1042",
                    "measurements": [
                        {
                            "measurements": {path: value for path, (value, _, _) in FLEXMETER.items()},
                            "eventDate": "2026-03-02T16:59:00.000Z",
                        }
                    ],
                    "locations": [],
                    "alerts": [],
                },
                {name: ours for _, name, ours in FLEXMETER.values()},
                at=NOW - timedelta(minutes=1),
            ),
        ),
    ),
)
"""One row for each template."""

ANYBODYS: Final = ("plain_notice", "plain_switch", "plain_meter", "plain_register", "plain_power", "senml_meter")
"""For whatever fits, or a standard: they have no maker."""
WRONG: Final = (
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"null",
    b"nan",
    b"-inf",
    b"1e999",
    b"unavailable",
    b"about 12.5",
    b"[1]",
    b'"text"',
    b'{"x": 1}',
    b'{"value": {}}',
    b'{"value": null}',
    b'{"value": NaN}',
    b"[" * 100_000,
)


class Wire(NoConnection):
    """A connection to nothing that keeps what is sent."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []
        self.handlers: dict[str, Handler] = {}

    async def publish(self, topic: str, payload: bytes | str, _qos: int = 1, *, retain: bool = False) -> None:
        assert not retain, "an order that stays at the broker would be obeyed again after a power cut"
        self.sent.append((topic, payload))

    async def subscribe(self, topic_filter: str, handler: Handler, _qos: int = 1) -> None:
        self.handlers[topic_filter] = handler


class House:
    """A device of a template on a wire, and what it told us."""

    def __init__(self, row: Row) -> None:
        self.wire, self.clock = Wire(), ManualClock(NOW)
        spec = DeviceSpec("it", row.template, "load", None, row.options)
        device = load(row.template).create(spec, self.wire, self.clock)
        assert isinstance(device, TemplatedDevice)
        self.device = device
        self.readings: list[Reading] = []
        self.states: list[tuple[str, Value]] = []
        self.contacts: list[Contact] = []
        self.device.observe(self.contacts.append)

    async def start(self) -> "House":
        await self.device.start(self.readings.append, lambda kind, value, _: self.states.append((kind, value)))
        return self

    async def stop(self) -> None:
        await self.device.stop()

    def hear(self, topic: str, payload: object) -> None:
        self.wire.handlers[topic](Message(topic, _raw(payload)))


def _raw(payload: object) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()


def _each(select: Callable[[Row], Any]) -> pytest.MarkDecorator:
    rows = [row for row in ROWS if select(row)]
    return pytest.mark.parametrize("row", rows, ids=[f"{row.template}-{index}" for index, row in enumerate(rows)])


def _roles(name: str) -> tuple[str, ...]:
    module = load(name)
    assert isinstance(module, TemplateModule)
    return module.template.head.roles


def test_every_template_has_a_row() -> None:
    ours = {name for name, source in sources().items() if source.origin is Origin.TEMPLATE}
    assert {row.template for row in ROWS} == ours


@_each(lambda row: row.messages)
async def test_messages_become_readings_and_states(row: Row) -> None:
    house = await House(row).start()
    for said in row.messages:
        house.readings.clear()
        house.states.clear()
        house.hear(said.topic, said.payload)
        assert {reading.point: pytest.approx(reading.value) for reading in house.readings} == {
            f"it.{name}": value for name, value in said.readings.items()
        }
        assert {reading.start for reading in house.readings} <= {said.at}
        assert dict(house.states) == said.states
    heard = {name for said in row.messages for name in said.readings}
    assert heard == {point.id.removeprefix("it.") for point in house.device.describe().points}
    assert {kind for said in row.messages for kind in said.states} == {
        capability.name for capability in house.device.describe().capabilities if capability.readback
    }
    await house.stop()


@_each(lambda row: row.orders)
async def test_orders_as_the_maker_wants_them(row: Row) -> None:
    for wanted in row.orders:
        house = await House(row).start()
        for said in wanted.after:
            house.hear(said.topic, said.payload)
        house.wire.sent.clear()
        await house.device.apply(wanted.capability, wanted.value, wanted.until)
        assert house.wire.sent == [(wanted.topic, wanted.payload), *wanted.more, *row.asks]
        await house.stop()


@_each(lambda row: row.presence)
async def test_presence(row: Row) -> None:
    assert row.presence is not None
    topic, here, away = row.presence
    house = await House(row).start()
    house.hear(topic, away)
    assert not house.device.online
    house.hear(topic, here)
    assert house.device.online
    assert house.contacts == [Contact.LOST, Contact.RESTARTED]
    await house.stop()


async def test_only_its_own_last_gasp_is_one() -> None:
    (row,) = (row for row in ROWS if row.template == "flexmeter_batch")
    house = await House(row).start()
    for said in (alert("l1.phase.fail"), alert("power.failure", "M-1"), measured("electricity.frequency", 50)):
        house.hear("SiteWhere/input/json", said)
    assert house.device.online
    house.hear("SiteWhere/input/json", alert("power.failure"))
    assert not house.device.online
    house.hear(row.messages[0].topic, row.messages[0].payload)
    assert house.device.online
    assert house.contacts == [Contact.LOST, Contact.RESTARTED]
    await house.stop()


@_each(lambda row: row.start)
async def test_starts(row: Row) -> None:
    assert row.start is not None
    house = await House(row).start()
    house.hear(*row.start)
    assert house.contacts == [Contact.RESTARTED]
    await house.stop()


@_each(lambda row: row.asks)
async def test_it_is_asked_when_the_link_comes(row: Row) -> None:
    house = await House(row).start()
    assert house.wire.sent == list(row.asks)
    await house.stop()


@_each(lambda _: True)
@pytest.mark.parametrize("payload", WRONG, ids=lambda payload: repr(payload[:20]))
async def test_nothing_of_a_wrong_message_becomes_a_value(row: Row, payload: bytes) -> None:
    house = await House(row).start()
    for topic in house.wire.handlers:
        with suppress(InvalidError):
            house.hear(topic, payload)
    assert (house.readings, house.states, house.contacts) == ([], [], [])
    assert house.device.online
    await house.stop()


@_each(lambda row: row.messages)
async def test_what_others_say_is_nothing_to_us(row: Row) -> None:
    """A message of one topic on each of the others: only what is said there counts, and all of it is finite."""
    house = await House(row).start()
    own = {(said.topic, json.dumps(said.payload)) for said in row.messages}
    for topic in house.wire.handlers:
        for said in row.messages:
            if (topic, json.dumps(said.payload)) not in own:
                with suppress(InvalidError):
                    house.hear(topic, said.payload)
    assert all(math.isfinite(reading.value) for reading in house.readings)
    await house.stop()


@_each(lambda _: True)
def test_heads_name_their_source(row: Row) -> None:
    module = load(row.template)
    assert isinstance(module, TemplateModule)
    head = module.template.head
    assert head.firmware or row.template.startswith("plain_")
    assert head.source or row.template in ANYBODYS
    assert head.roles
    for text in (head.title, head.firmware, head.source):
        assert not text.endswith(".")
    for sentence in (head.description, *head.limits):
        assert re.search(r"[.)]$", sentence.strip())
    for what in head.parameters.values():
        assert re.search(r"\.$", what.description)
        assert not what.title.endswith(".")


@_each(lambda _: True)
async def test_points_mean_what_their_names_say(row: Row) -> None:
    for point in House(row).device.describe().points:
        name = point.id.removeprefix("it.")
        usual = POINTS.get(name)
        if usual is not None:
            assert point.quantity is usual[0]
            assert point.flow in (usual[2], Flow.NET)
            assert point.phase is usual[3]
        if match := re.search(r"_l([123])$", name):
            assert point.phase is Phase(f"l{match[1]}")
        if name.startswith("export"):
            assert point.flow is Flow.EXPORT


@_each(lambda row: "grid_meter" in _roles(row.template))
async def test_what_a_meter_counts_is_its_total(row: Row) -> None:
    """The gateway takes a meter's first register and first power without a phase; there is one of each at most."""
    points = House(row).device.describe().points
    totals = [point for point in points if point.phase is Phase.TOTAL and point.flow is not Flow.EXPORT]
    for quantity in (Quantity.ENERGY_REAL, Quantity.POWER_REAL):
        assert len([point for point in totals if point.quantity is quantity]) <= 1


@pytest.mark.parametrize("word", ["x' or 'y", 'a"b', "{value}", "{{ 1 }}", "\\"])
def test_a_word_of_a_plain_switch_stays_a_word(word: str) -> None:
    (row,) = (row for row in ROWS if row.template == "plain_switch")
    with pytest.raises(InvalidError, match="state_on"):
        House(replace(row, options=row.options | {"state_on": word}))
