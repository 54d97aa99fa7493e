"""Adding devices to a household file: what its owner wrote stays, and nothing is written that would not be good."""

import os
from pathlib import Path

import pytest

from core.errors import ConflictError, InvalidError
from ven import household_edit
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


def test_a_file_behind_a_link_is_changed_and_the_link_stays(tmp_path):
    real, link = tmp_path / "etc" / "home.yaml", tmp_path / "household.yaml"
    real.parent.mkdir()
    real.write_text(HOUSEHOLD)
    link.symlink_to(real)
    add_devices(link, [PLUG])
    assert link.is_symlink()
    assert [entry.id for entry in load_household(real).devices] == ["boiler", "plug"]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_the_ends_of_lines_stay_as_they_are(path, bom):
    before = (bom + HOUSEHOLD.replace("\n", "\r\n")).encode()
    path.write_bytes(before)
    add_devices(path, [PLUG])
    added = b"  - {id: plug, driver: shelly1, role: plug, with: {id: shellyplug-s-2, relay: 0}}\r\n"
    assert path.read_bytes().replace(added, b"") == before


def test_the_owner_of_the_file_stays(path, monkeypatch):
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _, user, group: given.append((user, group)))
    add_devices(path, [PLUG])
    assert given == [(path.stat().st_uid, path.stat().st_gid)]


def test_what_its_owner_made_read_only_is_not_replaced(path):
    path.chmod(0o440)
    with pytest.raises(ConflictError, match="read-only"):
        add_devices(path, [LAMP])
    assert path.read_text() == HOUSEHOLD
    assert not (path.parent / "templates").exists()


def test_the_file_of_another_user_is_not_made_ours(path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConflictError, match="another user"):
        add_devices(path, [PLUG])
    assert path.read_text() == HOUSEHOLD


def test_what_somebody_else_writes_meanwhile_is_not_lost(path, monkeypatch):
    theirs = HOUSEHOLD.replace("2000", "2200")

    def load_and_edit(draft: Path):
        household = load_household(draft)
        if draft != path:
            path.write_text(theirs)
        return household

    monkeypatch.setattr(household_edit, "load_household", load_and_edit)
    with pytest.raises(ConflictError, match="changed meanwhile"):
        add_devices(path, [LAMP])
    assert path.read_text() == theirs
    assert [each.name for each in path.parent.rglob("*.yaml")] == [path.name]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HOUSEHOLD + "...\n", r"Line 18 ends the file"),
        (
            "{version: 1, name: home, identity: identity, state: state, mqtt: {host: localhost}}\n",
            r"stands in braces",
        ),
    ],
)
def test_a_file_that_cannot_be_added_to_is_refused_with_what_to_do(path, text, reason):
    path.write_text(text)
    with pytest.raises(ConflictError, match=reason):
        add_devices(path, [PLUG])
    assert path.read_text() == text


def test_a_file_with_a_directive_is_added_to(path):
    path.write_text("%YAML 1.2\n# Ours\n---\n" + HOUSEHOLD)
    add_devices(path, [PLUG])
    assert [entry.id for entry in load_household(path).devices] == ["boiler", "plug"]
