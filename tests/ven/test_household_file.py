"""Household files: what is good is read, what is wrong is named with its line."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from bridges import connected_device
from bridges.connections import ConnectionKind, NoConnection
from bridges.drivers import load
from bridges.yaml_file import FileError
from core.clock import system_clock
from core.errors import InvalidError
from core.points import Flow, Kind, Phase, Point, Quantity
from core.spans import Duration
from ven.devices import describe, make_driver, metered
from ven.household import DeviceEntry, Household
from ven.household_file import load_household, schema

PHASES = (("power_l1", Phase.L1), ("power", Phase.TOTAL))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

GOOD = """\
version: 1
name: home
identity: id
state: /var/lib/x
mqtt: {host: localhost, password_file: secret, username: me}
devices:
  - id: heater
    driver: iflex
    with:
      hems_id: H1
      device_id: "2"
      actuator_id: "284"
    nominal_w: 2000
programmes:
  - match: {signal: LOAD_DISPATCH}
    shed: {order: [heater]}
"""


def read(tmp_path, text):
    path = tmp_path / "household.yaml"
    path.write_text(text, encoding="utf-8")
    return load_household(path)


def faults(tmp_path, text):
    with pytest.raises(FileError) as caught:
        read(tmp_path, text)
    assert "household.yaml" in str(caught.value)
    return [(one.line, one.column, one.text) for one in caught.value.faults]


def test_paths_are_taken_from_the_files_own_folder(tmp_path):
    household = read(tmp_path, GOOD)
    assert household.identity == tmp_path / "id"
    assert str(household.state) == "/var/lib/x"
    assert household.mqtt.password_file == tmp_path / "secret"


def test_the_default_resource_is_the_household_itself(tmp_path):
    (resource,) = read(tmp_path, GOOD).all_resources()
    assert (resource.id, resource.meter, resource.devices) == ("home", None, ("heater",))


def test_the_example_is_good_and_fits_the_schema():
    household = load_household(EXAMPLES / "household.yaml")
    assert household.device("heater").limits.max_event == Duration.of(hours=4)
    devices = describe(household, system_clock())
    assert metered(household, devices)[0].register == "meter.energy"
    jsonschema.Draft202012Validator.check_schema(schema())
    tree = YAML(typ="safe").load(EXAMPLES / "household.yaml")
    jsonschema.validate(tree, schema())
    tree["devices"][1]["with"]["colour"] = "red"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, schema())


def test_a_meter_that_names_its_export_first_is_read_by_its_import(tmp_path):
    household = load_household(EXAMPLES / "household.yaml")
    devices = describe(household, system_clock())
    names = ("export_power", "export_energy", "power", "energy")
    points = tuple(connected_device.point("meter", name) for name in names)
    found = metered(household, devices | {"meter": replace(devices["meter"], points=points)})[0]
    assert (found.register, found.power, found.export) == ("meter.energy", "meter.power", "meter.export_energy")


def test_a_phase_is_not_taken_for_the_meter():
    household = load_household(EXAMPLES / "household.yaml")
    devices = describe(household, system_clock())
    l1, total = (Point(f"meter.{name}", Quantity.POWER_REAL, Kind.INSTANT, Flow.NET, phase) for name, phase in PHASES)
    read = [
        metered(household, devices | {"meter": replace(devices["meter"], points=points)})[0].power
        for points in ((l1,), (l1, total))
    ]
    assert read == [None, "meter.power"]


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "words"),
    [
        ("version: 1", "version: 2", 1, 1, "version"),
        ("name: home", "nam: home", 2, 1, "nam: unknown name"),
        ("nominal_w: 2000", "nominal_w: much", 13, 5, "devices.0.nominal_w"),
        ("nominal_w: 2000", "nominal_w: -5", 13, 5, "greater than 0"),
        ("driver: iflex", "driver: magic", 8, 5, "magic"),
        ("      hems_id: H1\n", "", 9, 5, "devices.0.with.hems_id: is missing"),
        ('device_id: "2"', 'device_ids: "2"', 11, 7, "unknown name"),
        ("{order: [heater]}", "{order: [boiler]}", 16, 20, "There is no device 'boiler'"),
        ("{order: [heater]}", "{order: []}", 16, 12, "a device at least"),
        ("signal: LOAD_DISPATCH", "signal: LOAD_DISPACH", 15, 13, "knows no signal"),
        ("    nominal_w: 2000\n", "", 15, 20, "nominal_w"),
        ("mqtt: {host: localhost, password_file: secret, username: me}\n", "", 6, 5, "mqtt"),
        ("mqtt: {host: localhost", "mqtt: {port: 99999, host: localhost", 5, 8, "mqtt.port"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path, old, new, line, column, words):
    assert old in GOOD
    found = faults(tmp_path, GOOD.replace(old, new))
    assert any((one[0], one[1]) == (line, column) and words in one[2] for one in found), found


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        ("resources: [{id: r, meter: nothing}]", "There is no device 'nothing'"),
        ("resources: [{id: r, devices: [nothing]}]", "There is no device 'nothing'"),
        ("resources: [{id: r}, {id: r}]", "two resources 'r'"),
        ("reports: {min_period: PT0S}", "longer than nothing"),
        ("reports: {min_period: 60}", "written as text"),
        ("history: {step: P1M}", "calendar"),
        ("opt: [{opt: maybe}]", "opt"),
        ("test_events: yes", "test_events"),
    ],
)
def test_more_faults(tmp_path, tail, words):
    (line, _, text), *_ = faults(tmp_path, f"{GOOD}{tail}\n")
    assert line == 17
    assert words in text


TWO = GOOD.replace(
    "mqtt: {host: localhost, password_file: secret, username: me}\n",
    "connections:\n"
    "  cellar: {kind: mqtt, host: a, password_file: secret, username: me}\n"
    "  roof: {host: b, tls: {ca: ca.pem}}\n",
)


def test_a_device_names_its_connection(tmp_path):
    household = read(tmp_path, TWO.replace("    driver: iflex\n", "    driver: iflex\n    connection: roof\n"))
    assert household.connections["cellar"].password_file == tmp_path / "secret"
    assert household.connections["roof"].tls.ca == tmp_path / "ca.pem"
    assert household.connection_name(household.devices[0], ConnectionKind.MQTT) == "roof"
    jsonschema.validate(YAML(typ="safe").load((tmp_path / "household.yaml").read_text()), schema())


@pytest.mark.parametrize(
    ("mqtt", "others", "own", "name"),
    [
        ({}, {}, None, "mqtt"),
        (None, {"roof": {}}, None, "roof"),
        (None, {"mqtt": {}, "roof": {}}, None, "mqtt"),
        ({}, {"roof": {}}, None, "mqtt"),
        ({}, {"roof": {}}, "roof", "roof"),
    ],
)
def test_without_a_word_a_device_uses_the_only_connection_or_mqtt(household, mqtt, others, own, name):
    values = household.model_dump(by_alias=True) | {"mqtt": mqtt, "connections": others}
    home = Household.model_validate(values)
    entry = home.devices[0].model_copy(update={"connection": own})
    assert home.connection_name(entry, ConnectionKind.MQTT) == name
    if own is None:
        assert home.connection_name(entry, None) is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (TWO, 9, "Say which way device heater is reached: `connection: cellar` or `connection: roof`"),
        (TWO.replace("driver: iflex", "driver: iflex\n    connection: attic"), 11, "There is no connection 'attic'"),
        (TWO.replace("kind: mqtt", "kind: pigeon"), 6, "connections.cellar.kind: should be 'mqtt'"),
        (TWO.replace("host: b", "hots: b"), 7, "connections.roof.hots: unknown name"),
        (TWO + "mqtt: {}\n", 1, "short for a connection of that name"),
        (GOOD.replace("driver: iflex", "driver: iflex\n    connection: roof"), 9, "There is no connection 'roof'"),
    ],
)
def test_a_connection_that_does_not_fit_is_named(tmp_path, text, line, words):
    if "short for" in words:
        text = text.replace("  cellar:", "  mqtt:")
    found = faults(tmp_path, text)
    assert any(words in one[2] and one[0] in (line, 0) for one in found), found


def test_a_device_that_needs_no_connection_is_given_none(household):
    entry = household.devices[0].model_copy(update={"connection": "mqtt"})
    with pytest.raises(InvalidError, match="needs no connection: leave `connection` out"):
        household.connection_name(entry, None)


@pytest.mark.parametrize(
    ("programme", "words"),
    [
        ("levels: {1: {heater: {switch: low}}}", "switch of 'heater' is on or off, not low"),
        ("levels: {1: {heater: {import_limit: 5}}}", "has no import_limit; it has switch"),
        ("levels: {1: {oven: {switch: 'off'}}}", "There is no device 'oven'"),
        ("prices: [{above: 0.3, do: {oven: {switch: 'off'}}}]", "There is no device 'oven'"),
        ("levels: {}\n    shed: {order: [heater]}", "exactly one"),
    ],
)
def test_programmes_fit_their_devices(tmp_path, programme, words):
    text = GOOD + f"  - match: {{signal: SIMPLE}}\n    {programme}\n"
    found = faults(tmp_path, text)
    assert any(words in one[2] and one[0] >= 17 for one in found), found


def test_two_devices_of_one_name_are_named(tmp_path):
    second = "  - {id: heater, driver: shelly1, with: {id: s1}}\nprogrammes:"
    found = faults(tmp_path, GOOD.replace("programmes:", second))
    assert any("two devices 'heater'" in one[2] and one[0] == 14 for one in found)


def test_capabilities_that_the_device_lacks_are_named(tmp_path):
    found = faults(
        tmp_path, GOOD.replace("    nominal_w: 2000\n", "    nominal_w: 2000\n    capabilities: {steam: {floor: 3}}\n")
    )
    assert any("has no steam" in one[2] and one[0] == 14 for one in found)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("switch: {normal: onn}", "switch.normal is on or off, not onn"),
        ("switch: {normal: 7}", "switch.normal is on or off, not 7"),
        ("switch: {floor: .nan}", "finite"),
        ("import_limit: {normal: full}", "import_limit.normal is a number, not 'full'"),
        ("import_limit: {normal: .inf}", "finite"),
        ("import_limit: {floor: 8000, high: 4000}", "nothing between 8000 and 4000"),
    ],
)
def test_a_normal_state_is_one_that_the_device_takes(tmp_path, limits, words):
    driver, _, _ = limits.partition(":")
    device = {
        "switch": "driver: shelly1, with: {id: a}",
        "import_limit": "driver: ems_esp_heat_pump, with: {normal_w: 9}",
    }
    head = "version: 1\nname: h\nidentity: id\nstate: st\nmqtt: {}\ndevices"
    text = f"{head}:\n  - {{id: d, {device[driver]}, capabilities: {{{limits}}}}}\n"
    path = tmp_path / "household.yaml"
    path.write_text(text)
    with pytest.raises(InvalidError, match=words):
        load_household(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: 1\n  name: [", 2),
        ("version: 1\nname: a\nname: b\n", 3),
        ("- 1\n- 2\n", 1),
        ("just words", 1),
        ("", 1),
    ],
)
def test_what_is_not_a_household_at_all(tmp_path, text, line):
    assert faults(tmp_path, text)[0][0] == line


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        load_household(tmp_path / "none.yaml")


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "household.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="UTF-8"):
        load_household(tmp_path / "household.yaml")


def test_aliases_that_explode_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "beyond any household" in faults(tmp_path, "\n".join(lines))[0][2]


def test_a_huge_or_deep_file_is_refused(tmp_path):
    assert "longer" in faults(tmp_path, "x: " + "a" * 300_000)[0][2]
    assert faults(tmp_path, "x: " + "[" * 5000 + "]" * 5000)


def test_limits_of_the_household_narrow_a_device():
    entry = DeviceEntry.model_validate(
        {
            "id": "plug",
            "driver": "shelly1",
            "with": {"id": "s"},
            "capabilities": {"switch": {"min_interval": "PT5M", "normal": "off"}},
        }
    )
    capability = make_driver(entry, load("shelly1"), NoConnection(), system_clock()).describe().capability("switch")
    assert capability.min_interval.total_seconds() == 300
    assert capability.normal == "off"


def test_a_household_without_resources_takes_its_meter(household):
    bare = Household.model_validate(household.model_dump(by_alias=True) | {"resources": []})
    (resource,) = bare.all_resources()
    assert (resource.id, resource.meter, resource.devices) == ("home", "meter", ("heater", "plug"))


def test_every_default_of_the_schema_is_one_that_the_schema_takes():
    document = schema()
    jsonschema.Draft202012Validator.check_schema(document)
    waiting, defaults = [document], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            if "default" in part and part["default"] is not None:
                defaults += 1
                jsonschema.Draft202012Validator({**part, "$defs": document["$defs"]}).validate(part["default"])
    assert defaults > 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: my home", "name: should have no blanks, / or #; my-home is good"),
        ("quiet: {from: '22:00', to: '06:00'}", "quiet: should be a list, such as [a, b]"),
        ("quiet: [{from: 22, to: '06:00'}]", "quiet.0.from: should be a text: put it in quotes"),
        ("quiet: [{from: '6:00', to: '22:00'}]", "quiet.0.from: should be a time of day, from 00:00 to 23:59"),
        (
            "quiet: [{from: '22:00', to: '06:00', days: fri}]",
            "quiet.0.days: should be a list, such as [a, b]",
        ),
        (
            "quiet: [{from: '22:00', to: '06:00', days: []}]",
            "quiet.0.days: should name days; leave it out for",
        ),
        ("quiet: [{from: '22:00', to: '06:00', days: [fry]}]", "quiet.0.days.0: should be 'mon', 'tue'"),
        ("targets: [north]", "targets: should be a section of names and values"),
        ("targets: {groups: north}", "targets.groups: should be a list, such as [a, b]"),
        ("targets: {delivery_points: [735999000000000017]}", "targets.delivery_points.0: should be a text: put it in"),
        ("targets: {location: [59, 18]}", "targets.location: should be a section of names and values"),
    ],
)
def test_faults_are_said_in_plain_words(tmp_path, text, words):
    name = text.partition(":")[0]
    others = "\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{name}:"))
    (fault,) = faults(tmp_path, f"{others}\n{text}\n")
    assert fault[2].startswith(words)


@pytest.mark.parametrize(
    ("programme", "column", "said"),
    [
        (
            "{match: {signal: LOAD_DISPATCH, type: setpiont}, shed: {order: [heater]}}",
            37,
            "LOAD_DISPATCH has no type setpiont; do you mean setpoint?",
        ),
        (
            "{match: {signal: SIMPLE}, shed: {order: [heater]}}",
            6,
            "No event would use this: shed answers LOAD_CONTROL/",
        ),
        (
            "{match: {signal: LOAD_DISPATCH, type: delta}, site: {meter: heater, order: [heater]}}",
            6,
            "No event would use this: site answers LOAD_CONTROL/x-loadControlCapacity, LOAD_DISPATCH/setpoint.",
        ),
        (
            "{match: {signal: SIMPLE}, levels: {7: {heater: {switch: 'off'}}}}",
            40,
            "SIMPLE has the levels 1, 2 and 3, and 0 for none; 7 never comes.",
        ),
        (
            "{match: {signal: LOAD_DISPATCH}, shed: {order: [haeter]}}",
            53,
            "There is no device 'haeter'; do you mean heater?",
        ),
    ],
)
def test_a_programme_that_no_event_would_use_is_named(tmp_path, programme, column, said):
    text = GOOD[: GOOD.index("programmes:")] + f"programmes:\n  - {programme}\n"
    found = [(where, words) for line, where, words in faults(tmp_path, text) if line == 15]
    assert any(where == column and words.startswith(said) for where, words in found), found


def test_a_signal_of_ones_own_has_types_and_levels_of_ones_own(tmp_path):
    programme = "{match: {signal: x-mine, type: x-level}, levels: {7: {}}}"
    text = GOOD[: GOOD.index("programmes:")] + f"programmes:\n  - {programme}\n"
    assert read(tmp_path, text).programmes[0].match.type == "x-level"


def test_unknown_names_within_a_programme_and_a_device_are_told_with_the_nearest(tmp_path):
    text = GOOD.replace("shed: {order: [heater]}", "shed: {ordr: [heater]}").replace("nominal_w", "nominal")
    said = [words for _, _, words in faults(tmp_path, text)]
    assert "devices.0.nominal: unknown name; do you mean nominal_w?" in said
    assert "programmes.0.shed.ordr: unknown name; do you mean order?" in said
