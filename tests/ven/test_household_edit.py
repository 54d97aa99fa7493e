"""Adding devices to a household file: what its owner wrote stays, and nothing is written that would not be good."""

import pytest

from core.errors import ConflictError, InvalidError
from ven.household_edit import NewDevice, add_devices
from ven.household_file import load_household

HOUSEHOLD = """\
# Our home
version: 1
name: home            # as at the VTN
identity: identity
state: state
mqtt: {host: localhost}
devices:   # cellar first
  # the boiler
  - id: boiler
    driver: shelly1
    with: {id: shellyplug-s-1}   # beside the door
    nominal_w: 2000

# What events may do
programmes:
  - match: {signal: LOAD_DISPATCH}
    shed: {order: [boiler]}
"""
TEMPLATE = """\
title: A lamp
presence: {topic: lamp/alive, online: yes, offline: no}
points:
  power: {topic: lamp/power}
"""
PLUG = NewDevice("plug", "shelly1", "plug", {"id": "shellyplug-s-2", "relay": 0})
LAMP = NewDevice("lamp", "found_lamp", "", {}, TEMPLATE)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "household.yaml"
    path.write_text(HOUSEHOLD)
    path.chmod(0o640)
    return path


def test_devices_are_added_and_every_other_line_stays(path):
    add_devices(path, [PLUG, LAMP])
    added = [
        "  - {id: plug, driver: shelly1, role: plug, with: {id: shellyplug-s-2, relay: 0}}",
        "  - {id: lamp, driver: found_lamp}",
    ]
    lines = HOUSEHOLD.splitlines()
    assert path.read_text().splitlines() == [*lines[:12], *added, *lines[12:]]
    assert (path.parent / "templates" / "found_lamp.yaml").read_text() == TEMPLATE
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.id for entry in load_household(path).devices] == ["boiler", "plug", "lamp"]
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("before", ["devices: []\n", "devices: []   # none yet\n", ""])
def test_a_household_without_devices_gets_its_first(path, before):
    head = HOUSEHOLD.partition("devices:")[0]
    path.write_text(head + before)
    add_devices(path, [PLUG])
    assert path.read_text().startswith(head)
    assert [entry.id for entry in load_household(path).devices] == ["plug"]


def test_devices_in_brackets_are_left_to_their_owner(path):
    head = HOUSEHOLD.partition("devices:")[0]
    path.write_text(head + "devices: [{id: boiler, driver: shelly1, with: {id: a}}]\n")
    before = path.read_text()
    with pytest.raises(ConflictError, match="brackets"):
        add_devices(path, [PLUG])
    assert path.read_text() == before


@pytest.mark.parametrize(
    "device",
    [
        NewDevice("boiler", "shelly1", "", {"id": "x"}),
        NewDevice("plug", "nothing_such", "", {}),
        NewDevice("plug", "shelly1", "", {"id": "a/b"}),
        NewDevice("lamp", "found_lamp", "", {}, "title: no use\n"),
    ],
)
def test_what_would_not_be_good_is_not_written(path, device):
    with pytest.raises(InvalidError, match=r"household\.yaml|found_lamp"):
        add_devices(path, [PLUG if device.id != "plug" else LAMP, device])
    assert path.read_text() == HOUSEHOLD
    assert list((path.parent / "templates").glob("*")) == []


def test_somebodys_own_template_is_not_overwritten(path):
    own = path.parent / "templates" / "found_lamp.yaml"
    own.parent.mkdir()
    own.write_text(TEMPLATE.replace("A lamp", "My lamp"))
    with pytest.raises(ConflictError, match="other contents"):
        add_devices(path, [LAMP])
    assert "My lamp" in own.read_text()
    assert path.read_text() == HOUSEHOLD


@pytest.mark.parametrize("text", ["a: b", "'", "{z}", "5", "yes", "ünï", ", ]", "- ", "@", "\\", '"'])
def test_options_are_read_back_as_they_were(path, text):
    add_devices(path, [NewDevice("plug", "shelly1", "plug", {"id": "plug", "prefix": text})])
    assert load_household(path).devices[1].options == {"id": "plug", "prefix": text}
