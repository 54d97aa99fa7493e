"""`evenload ven discover` at a real broker: what announces itself is shown, with what it says now, and added."""

import json

import pytest
from paho.mqtt import client, publish
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from evenload.cli import app
from support.broker import mosquitto
from ven.household_file import load_household

PLUG = "shellyplug-s-376D1F"
TASMOTA = {
    "dn": "Dishwasher\x1b[31m [bold]",
    "md": "Sonoff",
    "t": "tasmota_1",
    "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"],
    "ofln": "Offline",
    "onln": "Online",
    "rl": [1],
}
METER = {
    "name": "Grid power",
    "uniq_id": "m1_power",
    "stat_t": "meter/state",
    "val_tpl": "{{ value_json.kw }}",
    "unit_of_meas": "kW",
    "dev_cla": "power",
    "stat_cla": "measurement",
    "dev": {"ids": ["m1"], "name": "Meter", "mf": "ACME"},
}
TWICE = METER | {
    "uniq_id": "t1",
    "stat_t": "stat/tasmota_1/STATUS8",
    "val_tpl": "{{ value_json.StatusSNS.ENERGY.Power }}",
    "unit_of_meas": "W",
    "dev": {"ids": ["t1"], "name": "The same again"},
}
HOUSEHOLD = """\
version: 1
name: home   # ours
identity: identity
state: state
mqtt: {{host: 127.0.0.1, port: {port}, client_id: gateway}}
"""


def retained(topic, words):
    return {"topic": topic, "payload": words if isinstance(words, str) else json.dumps(words), "retain": True}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        announcements = [
            retained("shellies/announce", {"id": PLUG, "model": "SHPLG-S", "fw_ver": "1.14"}),
            retained(f"shellies/{PLUG}/online", "true"),
            retained("tasmota/discovery/AABBCC001122/config", TASMOTA),
            retained("homeassistant/sensor/m1/power/config", METER),
            retained("homeassistant/sensor/t1/power/config", TWICE),
            retained("homeassistant/sensor/bad/config", "no json"),
        ]
        publish.multiple(announcements, hostname=running.host, port=running.port)
        yield running


@pytest.fixture
def household(broker, tmp_path):
    path = tmp_path / "household.yaml"
    path.write_text(HOUSEHOLD.format(port=broker.port))
    return path


def discover(*words):
    return CliRunner().invoke(app, ["ven", "discover", "--seconds", "3", *map(str, words)])


def test_what_announces_itself_is_listed(broker):
    done = discover("--broker", f"{broker.host}:{broker.port}", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(each["source"], each["driver"], each["with"]) for each in told["devices"]] == [
        ("homeassistant", "found_homeassistant_m1", {}),
        ("shelly", "shelly1", {"id": PLUG}),
        ("tasmota", "tasmota", {"topic": "tasmota_1"}),
    ]
    assert told["devices"][0]["reads"] == ["power"]
    assert sum(told["refused"].values()) == 1


def test_the_table_is_for_people(broker, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    done = discover("--broker", f"{broker.host}:{broker.port}")
    assert done.exit_code == 0, done.output
    assert "Dishwasher [31m [bold]" in " ".join(done.stdout.split())  # a name is data
    assert "\x1b[31m" not in done.stdout
    assert "The same again" not in done.stdout
    assert "1 message could not be read" in done.stdout
    assert "client_id" not in done.output  # a guest keeps no session, and need not hear why that might matter
    assert "With --config household.yaml they can be added" in done.stdout


def test_devices_are_added_once(household):
    done = discover("--config", household, "--add", "all")
    assert done.exit_code == 0, done.output
    added = load_household(household)
    assert {entry.id: entry.driver for entry in added.devices} == {
        "meter": "found_homeassistant_m1",
        "shellyplug-s-376d1f": "shelly1",
        "dishwasher-31m-bold": "tasmota",
    }
    assert household.read_text().startswith(HOUSEHOLD.format(port=added.mqtt.port))
    before = household.read_text()
    again = discover("--config", household, "--add", "all")
    assert again.exit_code == 0, again.output
    assert household.read_text() == before
    assert "in the file as" in " ".join(again.stdout.split())


def test_numbers_choose(household):
    done = discover("--config", household, "--add", "2")
    assert done.exit_code == 0, done.output
    assert [entry.driver for entry in load_household(household).devices] == ["shelly1"]
    wrong = discover("--config", household, "--add", "9")
    assert wrong.exit_code == 1
    assert "'9' is no number of a device that can be added" in wrong.output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--broker HOST"),
        (("--broker", "x", "--config", "y"), "--broker HOST"),
        (("--broker", "x", "--add", "all"), "give it with --config"),
        (("--broker", "x:99999"), "is no broker"),
        (("--broker", "127.0.0.1:9"), "is it running"),
    ],
)
def test_what_is_wrong_is_said(words, text, monkeypatch):
    monkeypatch.setattr("bridges.discovery.search._CONNECT_S", 0.5)
    done = discover(*words)
    assert done.exit_code == 1
    assert text in " ".join(done.output.split())


PORTAL = "c0619ab00112"
LATER = "shellyplus1pm-aabbcc001122"
CONFIG = {"mqtt": {"topic_prefix": None, "status_ntf": True}, "switch:0": {"name": "Boiler"}}
GX_FOR_HOME_ASSISTANT = METER | {
    "uniq_id": "gx_grid",
    "stat_t": f"N/{PORTAL}/grid/30/Ac/Power",
    "val_tpl": "{{ value_json.value }}",
    "unit_of_meas": "W",
    "dev": {"ids": ["gx_grid"], "name": "The same meter"},
}
HEATING_FOR_HOME_ASSISTANT = METER | {
    "uniq_id": "outdoor",
    "stat_t": "ems-esp/thermostat_data",
    "val_tpl": "{{ value_json.hc1.seltemp }}",
    "unit_of_meas": "°C",
    "dev_cla": "temperature",
    "dev": {"ids": ["ems-esp-thermostat"], "name": "Thermostat"},
}
ANSWERS = {
    (f"R/{PORTAL}/keepalive", ""): {
        f"N/{PORTAL}/grid/30/DeviceInstance": {"value": 30},
        f"N/{PORTAL}/grid/30/CustomName": {"value": "Main meter"},
        f"N/{PORTAL}/evcharger/40/DeviceInstance": {"value": 40},
    },
    (f"R/{PORTAL}/grid/30/Ac", ""): {f"N/{PORTAL}/grid/30/Ac/Power": {"value": -120.5}},
    (f"{LATER}/rpc", "Shelly.GetConfig"): {"evenload-discover/rpc": {"src": LATER, "result": CONFIG}},
    ("ems-esp/system/publish", "boiler"): {"ems-esp/boiler_data": {"hppowerlimit": 9000}},
    ("ems-esp/system/publish", "thermostat"): {"ems-esp/thermostat_data": {"hc1": {"seltemp": 21}}},
}
"""What devices say that say nothing by themselves, by what they are asked."""


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """A broker with devices that have to be asked, and how often each was."""
    with mosquitto(tmp_path_factory.mktemp("silent")) as running:
        asked = []
        devices = client.Client(CallbackAPIVersion.VERSION2)

        def answer(_, __, message):
            text = message.payload.decode()
            question = message.topic, json.loads(text)["method"] if message.topic.endswith("/rpc") else text
            asked.append(question)
            for topic, words in ANSWERS.get(question, {}).items():
                devices.publish(topic, json.dumps(words))

        devices.on_message = answer
        devices.connect(running.host, running.port)
        devices.subscribe(
            [(topic, 0) for topic in ("R/#", f"{LATER}/rpc", "ems-esp/system/publish", "shellies/command")]
        )
        devices.loop_start()
        kept = [
            retained(f"N/{PORTAL}/system/0/Serial", {"value": PORTAL}),
            retained(f"{LATER}/online", "true"),
            retained("ems-esp/info", {"version": "3.7.2", "network": "wifi"}),
            retained("homeassistant/sensor/gx/power/config", GX_FOR_HOME_ASSISTANT),
            retained("homeassistant/sensor/ems/outdoor/config", HEATING_FOR_HOME_ASSISTANT),
        ]
        publish.multiple(kept, hostname=running.host, port=running.port)
        yield running, asked
        devices.loop_stop()
        devices.disconnect()


def test_devices_that_say_nothing_by_themselves_are_asked_once(silent):
    broker, asked = silent
    asked.clear()
    done = discover("--broker", f"{broker.host}:{broker.port}", "--json")
    assert done.exit_code == 0, done.output
    seen = json.loads(done.stdout)
    assert [(each["source"], each["name"], each["driver"], each["with"]) for each in seen["devices"]] == [
        ("homeassistant", "Thermostat", "found_homeassistant_ems_esp_thermostat", {}),
        ("shelly", "Boiler", "shelly2_switch", {"id": LATER}),
        ("victron", "Main meter", "victron_grid_meter", {"portal": PORTAL, "instance": 30}),
    ]
    assert seen["devices"][2]["values"]["power"] == {"value": -120.5, "unit": "W"}
    assert [each["name"] for each in seen["unusable"]] == [  # the thermostat is used by its other announcement
        "ems-esp heat pump",
        "Victron EV charging station 40",
        f"Victron {PORTAL}",
    ]
    for question in (
        (f"R/{PORTAL}/keepalive", ""),
        ("shellies/command", "announce"),
        (f"{LATER}/rpc", "Shelly.GetConfig"),
    ):
        assert asked.count(question) == 1


def test_what_is_left_to_its_owner_says_how(silent):
    broker, _ = silent
    done = discover("--broker", f"{broker.host}:{broker.port}")
    assert "ems_esp_heat_pump, base ems-esp, and normal_w (hppowerlimit says 9000 now)" in done.stdout
