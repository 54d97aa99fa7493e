"""What publishers announce, written after their sources: topics and messages of made-up devices.

EMS-ESP 3.7.2: src/core/mqtt.cpp. zigbee2mqtt 1.42 and 2.x: lib/extension/homeassistant.ts (one topic an entity).
zwave-js-ui 9 to 11: api/hass/configurations.ts and api/lib/Gateway.ts. ESPHome 2025: components/mqtt/mqtt_component.cpp
and its neighbours. OpenMQTTGateway 1.7: main/ZmqttDiscovery.ino. OpenDTU 2024: src/MqttHandleHass.cpp. Tasmota 9 with
SetOption19: tasmota/xdrv_12_home_assistant.ino. The device form: Home Assistant's page on MQTT, 2025.
"""

from typing import Any, Final

Announcements = dict[str, Any]

_BOILER: Final = {"ids": ["ems-esp-boiler"], "name": "ems-esp Boiler"}


def _ems(entity: str, path: str = "", **more: Any) -> dict[str, Any]:
    value = f"value_json['{entity}']" if not path else f"value_json['{path}']['{entity}']"
    test = f"{value} is defined" if not path else f"value_json.{path} is defined and {value} is defined"
    topic = "ems-esp/boiler_data"
    return {
        "uniq_id": f"boiler_{entity}",
        "obj_id": f"boiler_{entity}",
        "stat_t": topic,
        "val_tpl": f"{{{{{value} if {test} else 0}}}}",
        "avty": [{"t": topic, "val_tpl": f"{{{{'online' if {test} else 'offline'}}}}"}],
        "avty_mode": "all",
        "dev": _BOILER,
        **more,
    }


EMS_ESP: Final[Announcements] = {
    "homeassistant/binary_sensor/ems-esp/system_status/config": {
        "uniq_id": "system_status",
        "name": "System status",
        "stat_t": "ems-esp/status",
        "pl_on": "online",
        "pl_off": "offline",
        "stat_cla": "measurement",
        "dev_cla": "connectivity",
        "ent_cat": "diagnostic",
        "dev": {"name": "ems-esp", "mf": "EMS-ESP", "mdl": "EMS-ESP", "ids": ["ems-esp"]},
    },
    "homeassistant/sensor/ems-esp/boiler_hppower/config": _ems(
        "hppower",
        name="Compressor power output",
        unit_of_meas="kW",
        stat_cla="measurement",
        dev_cla="power",
        dev=_BOILER | {"mf": "Bosch", "mdl": "Compress 6000AW", "via_device": "ems-esp"},
    ),
    "homeassistant/sensor/ems-esp/boiler_nrgconstotal/config": _ems(
        "nrgconstotal",
        name="Total energy consumption",
        unit_of_meas="kWh",
        stat_cla="total_increasing",
        dev_cla="energy",
    ),
    "homeassistant/sensor/ems-esp/boiler_nrgsupptotal/config": _ems(
        "nrgsupptotal",
        name="Total energy supplied",
        unit_of_meas="kWh",
        stat_cla="total_increasing",
        dev_cla="energy",
    ),
    "homeassistant/sensor/ems-esp/boiler_outdoortemp/config": _ems(
        "outdoortemp", name="Outside temperature", unit_of_meas="°C", stat_cla="measurement", dev_cla="temperature"
    ),
    "homeassistant/sensor/ems-esp/boiler_curburnpow/config": _ems(
        "curburnpow", name="Burner current power", unit_of_meas="%", stat_cla="measurement", dev_cla="power_factor"
    ),
    "homeassistant/number/ems-esp/boiler_hppowerlimit/config": _ems(
        "hppowerlimit",
        name="Power limit",
        cmd_t="ems-esp/boiler/hppowerlimit",
        mode="box",
        step=100,
        min=0,
        max=6000,
        unit_of_meas="W",
        stat_cla="measurement",
        dev_cla="power",
    ),
    "homeassistant/number/ems-esp/boiler_dhw_seltemp/config": _ems(
        "seltemp",
        "dhw",
        name="Dhw Selected temperature",
        cmd_t="ems-esp/boiler/dhw/seltemp",
        mode="box",
        step=1,
        min=30,
        max=70,
        unit_of_meas="°C",
        stat_cla="measurement",
        dev_cla="temperature",
    ),
    "homeassistant/number/ems-esp/boiler_selflowtemp/config": _ems(
        "selflowtemp",
        name="Selected flow temperature",
        cmd_t="ems-esp/boiler/selflowtemp",
        mode="box",
        step=1,
        min=0,
        max=90,
        unit_of_meas="°C",
    ),
    "homeassistant/switch/ems-esp/boiler_heatingactivated/config": _ems(
        "heatingactivated",
        name="Heizen aktiviert",
        cmd_t="ems-esp/boiler/heatingactivated",
        pl_on=True,
        pl_off=False,
    ),
    "homeassistant/select/ems-esp/boiler_pumpmode/config": _ems(
        "pumpmode",
        name="Boiler pump mode",
        cmd_t="ems-esp/boiler/pumpmode",
        ops=["proportional", "deltaP-1", "deltaP-2"],
    ),
    "homeassistant/text/ems-esp/boiler_holiday/config": _ems("holiday", name="Holiday", cmd_t="ems-esp/boiler/holiday"),
}

_HC: Final = "value_json.hc1 is undefined or value_json.hc1.mode is undefined"
EMS_ESP_THERMOSTAT: Final[Announcements] = {
    "homeassistant/climate/ems-esp/thermostat_hc1/config": {
        "~": "ems-esp",
        "uniq_id": "thermostat_hc1",
        "name": "Hc1",
        "mode_stat_t": "~/thermostat_data",
        "mode_stat_tpl": f"{{%if {_HC}%}}off{{%elif value_json.hc1.mode=='manual'%}}heat{{%elif "
        "value_json.hc1.mode=='off'%}off{%else%}auto{%endif%}",
        "mode_cmd_t": "~/thermostat/hc1/mode",
        "modes": ["auto", "heat", "off"],
        "temp_cmd_t": "~/thermostat/hc1/seltemp",
        "temp_stat_t": "~/thermostat_data",
        "temp_stat_tpl": "{{value_json.hc1.seltemp if value_json.hc1 is defined and "
        "value_json.hc1.seltemp is defined else 0}}",
        "curr_temp_t": "~/thermostat_data",
        "curr_temp_tpl": "{{value_json.hc1.currtemp if value_json.hc1 is defined and "
        "value_json.hc1.currtemp is defined else 0}}",
        "min_temp": "5",
        "max_temp": "29",
        "temp_step": "0.5",
        "avty": [{"t": "~/thermostat_data", "val_tpl": f"{{{{'offline' if {_HC} else 'online'}}}}"}],
        "dev": {"name": "ems-esp Thermostat", "ids": ["ems-esp-thermostat"], "via_device": "ems-esp"},
    }
}


def _zigbee(object_id: str, **more: Any) -> dict[str, Any]:
    return {
        "availability": [
            {"topic": "zigbee2mqtt/bridge/state", "value_template": "{{ value_json.state }}"},
            {"topic": "zigbee2mqtt/Laundry/availability", "value_template": "{{ value_json.state }}"},
        ],
        "availability_mode": "all",
        "device": {
            "identifiers": ["zigbee2mqtt_0x00158d00000000a1"],
            "manufacturer": "TuYa",
            "model": "Smart plug (with power monitoring) (TS011F_plug_1)",
            "name": "Laundry",
            "via_device": "zigbee2mqtt_bridge_0x00124b0000000001",
        },
        "object_id": f"laundry_{object_id}",
        "origin": {"name": "Zigbee2MQTT", "sw": "2.1.0", "url": "https://www.zigbee2mqtt.io"},
        "state_topic": "zigbee2mqtt/Laundry",
        "unique_id": f"0x00158d00000000a1_{object_id}_zigbee2mqtt",
        "value_template": f"{{{{ value_json.{object_id} }}}}",
        **more,
    }


_0X = "0x00158d00000000a1"
ZIGBEE2MQTT: Final[Announcements] = {
    f"homeassistant/switch/{_0X}/switch/config": _zigbee(
        "state", name=None, command_topic="zigbee2mqtt/Laundry/set", payload_on="ON", payload_off="OFF"
    ),
    f"homeassistant/sensor/{_0X}/power/config": _zigbee(
        "power", device_class="power", unit_of_measurement="W", state_class="measurement"
    ),
    f"homeassistant/sensor/{_0X}/energy/config": _zigbee(
        "energy", device_class="energy", unit_of_measurement="kWh", state_class="total_increasing"
    ),
    f"homeassistant/sensor/{_0X}/voltage/config": _zigbee(
        "voltage", device_class="voltage", unit_of_measurement="V", state_class="measurement"
    ),
    f"homeassistant/sensor/{_0X}/current/config": _zigbee(
        "current", device_class="current", unit_of_measurement="A", state_class="measurement"
    ),
    f"homeassistant/sensor/{_0X}/linkquality/config": _zigbee(
        "linkquality", name="Linkquality", unit_of_measurement="lqi", entity_category="diagnostic"
    ),
    f"homeassistant/switch/{_0X}/child_lock/config": _zigbee(
        "child_lock",
        name="Child lock",
        command_topic="zigbee2mqtt/Laundry/set/child_lock",
        payload_on="LOCK",
        payload_off="UNLOCK",
    ),
    f"homeassistant/select/{_0X}/power_outage_memory/config": _zigbee(
        "power_outage_memory",
        name="Power outage memory",
        command_topic="zigbee2mqtt/Laundry/set/power_outage_memory",
        options=["on", "off", "restore"],
        entity_category="config",
    ),
    f"homeassistant/update/{_0X}/update/config": _zigbee("update", latest_version_topic="zigbee2mqtt/Laundry"),
}


def _zwave(object_id: str, topic: str, **more: Any) -> dict[str, Any]:
    return {
        "value_template": "{{ value_json.value }}",
        "state_topic": f"zwave/Cellar/Heater/{topic}",
        "device": {
            "identifiers": ["zwavejs2mqtt_0xe0000001_node12"],
            "manufacturer": "AEON Labs",
            "model": "Heavy Duty Smart Switch (ZW078)",
            "name": "Cellar-Heater",
            "sw_version": "1.5",
        },
        "name": object_id,
        "unique_id": f"zwavejs2mqtt_0xe0000001_12-{object_id}",
        "availability": [
            {
                "payload_available": "true",
                "payload_not_available": "false",
                "topic": "zwave/Cellar/Heater/status",
                "value_template": "{{'true' if value_json.value else 'false'}}",
            },
            {
                "topic": "zwave/_CLIENTS/ZWAVE_GATEWAY-home/status",
                "value_template": "{{'online' if value_json.value else 'offline'}}",
            },
            {"payload_available": "true", "payload_not_available": "false", "topic": "zwave/driver/status"},
        ],
        "availability_mode": "all",
        **more,
    }


ZWAVE_JS_UI: Final[Announcements] = {
    "homeassistant/switch/Cellar-Heater/switch/config": _zwave(
        "switch",
        "37/0/currentValue",
        payload_on=True,
        payload_off=False,
        command_topic="zwave/Cellar/Heater/37/0/targetValue/set",
    ),
    "homeassistant/sensor/Cellar-Heater/electric_kwh_consumed/config": _zwave(
        "electric_kwh_consumed",
        "50/0/value/65537",
        device_class="energy",
        state_class="total_increasing",
        unit_of_measurement="kWh",
    ),
    "homeassistant/sensor/Cellar-Heater/electric_w_consumed/config": _zwave(
        "electric_w_consumed",
        "50/0/value/66049",
        device_class="power",
        state_class="measurement",
        unit_of_measurement="W",
    ),
    "homeassistant/light/Cellar-Heater/dimmer/config": _zwave(
        "dimmer", "38/0/currentValue", command_topic="zwave/x/set", on_command_type="brightness"
    ),
}


def _esphome(component: str, object_id: str, **more: Any) -> dict[str, Any]:
    return {
        "name": object_id.replace("_", " ").capitalize(),
        "stat_t": f"utility-meter/{component}/{object_id}/state",
        "avty_t": "utility-meter/status",
        "uniq_id": f"ESP{component}{object_id}",
        "dev": {
            "ids": "a4cf12000001",
            "name": "utility-meter",
            "sw": "2025.8.0",
            "mdl": "esp32dev",
            "mf": "Espressif",
            "cns": [["mac", "a4cf12000001"]],
        },
        **more,
    }


_POWER: Final = {"dev_cla": "power", "unit_of_meas": "kW", "stat_cla": "measurement"}
_WATTS: Final = {"dev_cla": "power", "unit_of_meas": "W", "stat_cla": "measurement"}
_WH: Final = {"dev_cla": "energy", "unit_of_meas": "Wh", "stat_cla": "total_increasing"}
_ENERGY: Final = {"dev_cla": "energy", "unit_of_meas": "kWh", "stat_cla": "total_increasing"}
ESPHOME: Final[Announcements] = {
    "homeassistant/sensor/utility-meter/power_consumed/config": _esphome("sensor", "power_consumed", **_POWER),
    "homeassistant/sensor/utility-meter/power_produced/config": _esphome("sensor", "power_produced", **_POWER),
    "homeassistant/sensor/utility-meter/energy_consumed_tariff_1/config": _esphome(
        "sensor", "energy_consumed_tariff_1", **_ENERGY
    ),
    "homeassistant/sensor/utility-meter/energy_consumed_tariff_2/config": _esphome(
        "sensor", "energy_consumed_tariff_2", **_ENERGY
    ),
    "homeassistant/sensor/utility-meter/energy_produced_total/config": _esphome(
        "sensor", "energy_produced_total", **_ENERGY
    ),
    "homeassistant/sensor/utility-meter/voltage_phase_1/config": _esphome(
        "sensor", "voltage_phase_1", dev_cla="voltage", unit_of_meas="V", stat_cla="measurement"
    ),
    "homeassistant/sensor/utility-meter/voltage_phase_2/config": _esphome(
        "sensor", "voltage_phase_2", dev_cla="voltage", unit_of_meas="V", stat_cla="measurement"
    ),
    "homeassistant/sensor/utility-meter/uptime/config": _esphome(
        "sensor", "uptime", dev_cla="duration", unit_of_meas="s", stat_cla="total_increasing", ent_cat="diagnostic"
    ),
    "homeassistant/switch/utility-meter/relay/config": _esphome(
        "switch", "relay", cmd_t="utility-meter/switch/relay/command"
    ),
    "homeassistant/button/utility-meter/restart/config": _esphome(
        "button", "restart", cmd_t="utility-meter/button/restart/command", ent_cat="config"
    ),
}

OPENMQTTGATEWAY: Final[Announcements] = {
    "homeassistant/sensor/A0B1C2D3E4F5-power/config": {
        "stat_t": "+/+/RN8209toMQTT",
        "dev_cla": "power",
        "unit_of_meas": "W",
        "name": "NRG power",
        "uniq_id": "A0B1C2D3E4F5-power",
        "val_tpl": "{{ value_json.power | is_defined }}",
        "state_class": "measurement",
        "device": {
            "name": "OMG_RN8209",
            "ids": ["A0B1C2D3E4F5"],
            "mf": "OMG_community",
            "mdl": '["RN8209"]',
            "sw": "v1.7.0",
        },
    },
    "homeassistant/binary_sensor/A0B1C2D3E4F5-inUse/config": {
        "stat_t": "home/OMG_RN8209/RN8209toMQTT",
        "avty_t": "home/OMG_RN8209/LWT",
        "dev_cla": "power",
        "name": "NRG inUse",
        "uniq_id": "A0B1C2D3E4F5-inUse",
        "val_tpl": "{% if value_json.power > 0.02 -%} on {% else %} off {%- endif %}",
        "pl_on": "on",
        "pl_off": "off",
        "device": {"name": "OMG_RN8209", "ids": ["A0B1C2D3E4F5"]},
    },
    "homeassistant/sensor/A0B1C2D3E4F5-energy/config": {
        "stat_t": "home/OMG_RN8209/RN8209toMQTT",
        "avty_t": "home/OMG_RN8209/LWT",
        "dev_cla": "energy",
        "unit_of_meas": "kWh",
        "name": "energy",
        "uniq_id": "A0B1C2D3E4F5-energy",
        "val_tpl": "{{ value_json.energy | is_defined | float / 1000 }}",
        "state_class": "total_increasing",
        "device": {"name": "OMG_RN8209", "ids": ["A0B1C2D3E4F5"]},
    },
    "homeassistant/switch/A0B1C2D3E4F5-discovery/config": {
        "stat_t": "home/OMG_RN8209/SYStoMQTT",
        "avty_t": "home/OMG_RN8209/LWT",
        "name": "SYS: Auto discovery",
        "uniq_id": "A0B1C2D3E4F5-discovery",
        "val_tpl": "{{ value_json.discovery }}",
        "pl_on": '{"discovery":true,"save":true}',
        "pl_off": '{"discovery":false,"save":true}',
        "pl_avail": "online",
        "pl_not_avail": "offline",
        "stat_on": True,
        "stat_off": False,
        "cmd_t": "home/OMG_RN8209/commands/MQTTtoSYS/config",
        "device": {"name": "OMG_RN8209", "ids": ["A0B1C2D3E4F5"]},
    },
}


def _opendtu(component: str, object_id: str, **more: Any) -> tuple[str, dict[str, Any]]:
    serial = "114100000001"
    return f"homeassistant/{component}/{serial}/{object_id}/config", {
        "uniq_id": f"{serial}_{object_id}",
        "avty_t": "solar/dtu/status",
        "pl_avail": "online",
        "pl_not_avail": "offline",
        "dev": {
            "name": "Roof",
            "ids": serial,
            "mf": "Hoymiles",
            "mdl": "HM-800",
            "via_device": "a0b1c2",
        },
        **more,
    }


_LIMIT: Final = {"stat_t": "solar/114100000001/status/limit_absolute", "ent_cat": "config", "unit_of_meas": "W"}
OPENDTU: Final[Announcements] = dict(
    [
        _opendtu("sensor", "ch0_Power", name="Power", stat_t="solar/114100000001/0/power", exp_aft=60, **_WATTS),
        _opendtu("sensor", "ch0_YieldDay", name="YieldDay", stat_t="solar/114100000001/0/yieldday", **_WH),
        _opendtu("sensor", "ch0_YieldTotal", name="YieldTotal", stat_t="solar/114100000001/0/yieldtotal", **_ENERGY),
        _opendtu(
            "number",
            "limit_nonpersistent_absolute",
            name="Limit NonPersistent Absolute",
            cmd_t="solar/114100000001/cmd/limit_nonpersistent_absolute",
            min=0,
            max=2250,
            **_LIMIT,
        ),
        _opendtu(
            "number",
            "limit_persistent_absolute",
            name="Limit Persistent Absolute",
            cmd_t="solar/114100000001/cmd/limit_persistent_absolute",
            min=0,
            max=2250,
            **_LIMIT,
        ),
        _opendtu(
            "binary_sensor",
            "reachable",
            name="Reachable",
            stat_t="solar/114100000001/status/reachable",
            dev_cla="connectivity",
            pl_on="1",
            pl_off="0",
        ),
        _opendtu(
            "button", "restart", name="Restart Inverter", cmd_t="solar/114100000001/cmd/restart", ent_cat="config"
        ),
    ]
)

TASMOTA: Final[Announcements] = {
    "homeassistant/switch/302F1B_RL_1/config": {
        "name": "Boiler plug",
        "stat_t": "tele/plug_302F1B/STATE",
        "avty_t": "tele/plug_302F1B/LWT",
        "pl_avail": "Online",
        "pl_not_avail": "Offline",
        "cmd_t": "cmnd/plug_302F1B/POWER",
        "val_tpl": "{{value_json.POWER}}",
        "pl_off": "OFF",
        "pl_on": "ON",
        "uniq_id": "302F1B_RL_1",
        "dev": {"ids": ["302F1B"], "name": "Boiler plug", "mdl": "Generic", "sw": "9.1.0", "mf": "Tasmota"},
    },
} | {
    f"homeassistant/sensor/302F1B_ENERGY_{name}/config": {
        "name": f"Boiler plug ENERGY {name}",
        "stat_t": "tele/plug_302F1B/SENSOR",
        "avty_t": "tele/plug_302F1B/LWT",
        "pl_avail": "Online",
        "pl_not_avail": "Offline",
        "uniq_id": f"302F1B_ENERGY_{name}",
        "dev": {"ids": ["302F1B"]},
        "unit_of_meas": unit,
        "frc_upd": True,
        "val_tpl": f"{{{{value_json['ENERGY']['{name}']}}}}",
    }
    for name, unit in {
        "TotalStartTime": " ",
        "Total": "kWh",
        "Yesterday": "kWh",
        "Today": "kWh",
        "Period": "Wh",
        "Power": "W",
        "ApparentPower": "VA",
        "ReactivePower": "VAr",
        "Factor": "Cos φ",
        "Voltage": "V",
        "Current": "A",
    }.items()
}

WALLBOX: Final[Announcements] = {
    "homeassistant/device/wb0001/config": {
        "~": "wallbox/wb0001",
        "dev": {"ids": "wb0001", "name": "Garage", "mf": "Example", "mdl": "Wallbox 11", "sn": "wb0001"},
        "o": {"name": "example2mqtt", "sw": "1.0", "url": "https://example.org"},
        "avty_t": "~/status",
        "stat_t": "~/state",
        "cmps": {
            "power": {
                "p": "sensor",
                "dev_cla": "power",
                "unit_of_meas": "kW",
                "val_tpl": "{{ value_json.power }}",
                "uniq_id": "wb1_p",
            },
            "energy_total": {
                "p": "sensor",
                "dev_cla": "energy",
                "unit_of_meas": "Wh",
                "stat_cla": "total",
                "val_tpl": "{{ value_json['energy.total'] }}",
                "uniq_id": "wb1_e",
            },
            "energy_session": {
                "p": "sensor",
                "dev_cla": "energy",
                "unit_of_meas": "Wh",
                "val_tpl": "{{ value_json.session }}",
                "uniq_id": "wb1_s",
            },
            "charge_current": {
                "p": "number",
                "unit_of_meas": "A",
                "min": 6,
                "max": 16,
                "cmd_t": "~/set",
                "cmd_tpl": '{"amps": {{ value | int }}}',
                "val_tpl": "{{ value_json.amps }}",
                "uniq_id": "wb1_c",
            },
            "charging": {
                "p": "switch",
                "cmd_t": "~/set",
                "cmd_tpl": '{"charge": {{ iif(value == "ON", 1, 0) }}}',
                "val_tpl": '{{ "ON" if value_json.charge == 1 else "OFF" }}',
                "uniq_id": "wb1_w",
            },
            "mode": {
                "p": "select",
                "ops": ["normal", "eco", "off"],
                "cmd_t": "~/mode/set",
                "stat_t": "~/mode",
                "uniq_id": "wb1_m",
            },
            "plugged": {
                "p": "binary_sensor",
                "dev_cla": "plug",
                "val_tpl": "{{ value_json.plugged }}",
                "pl_on": True,
                "pl_off": False,
                "uniq_id": "wb1_g",
            },
            "old": {"p": "sensor"},
        },
    }
}
