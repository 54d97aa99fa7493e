"""`evenload ven setup` at a real broker: from an empty directory to a household file that is good."""

import json

import pytest
from paho.mqtt import publish
from typer.testing import CliRunner

from evenload.cli import app
from support.broker import mosquitto
from ven import setup_command
from ven.household_file import load_household

PLUG = "shellyplug-s-376D1F"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        words = [
            ("shellies/announce", json.dumps({"id": PLUG, "model": "SHPLG-S", "fw_ver": "1.14"})),
            ("shellies/announce/of/the/other", "{}"),
            ("shellyplus1pm-aabbcc001122/status/switch:0", '{"id":0,"output":true,"apower":1800.5}'),
        ]
        publish.multiple(
            [{"topic": topic, "payload": payload, "retain": True} for topic, payload in words],
            hostname=running.host,
            port=running.port,
        )
        yield running


@pytest.fixture
def at(broker, tmp_path):
    """Return where it is set up, and the words that say so."""
    return tmp_path / "household.yaml", ["--config", tmp_path / "household.yaml", "--seconds", "2", "--broker",
                                         f"{broker.host}:{broker.port}"]  # fmt: skip


def setup(*words, typed=None):
    return CliRunner().invoke(app, ["ven", "setup", *map(str, words)], input=typed)


def test_without_questions_all_that_is_found_goes_in(at):
    path, words = at
    done = setup(*words, "--name", "Müller 7/a", "--yes")
    assert done.exit_code == 0, done.output
    home = load_household(path)
    assert home.name == "Muller-7-a"
    assert {entry.id: entry.driver for entry in home.devices} == {
        "shellyplug-s-376d1f": "shelly1",
        "shellyplus1pm-aabbcc001122": "shelly2_switch",
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert "evenload ven run --config" in done.output


def test_questions_are_asked_until_there_is_an_answer(at, monkeypatch):
    path, words = at
    told = []
    monkeypatch.setattr(setup_command, "_somebody_is_there", lambda: True)
    monkeypatch.setattr(setup_command, "fetch_ca", lambda *args: told.append(args))

    def enrolled(*args):
        told.append(args)
        return type("Identity", (), {"ven_name": "h", "ven_id": "v", "vtn_id": "V", "vtn_url": "https://v"})

    monkeypatch.setattr(setup_command, "enrol", enrolled)
    typed = ["home", "", "7", "1", "many", "1500", "https://vtn.example:8444", "AA:BB", "6YQR-EKSA"]
    done = setup(*words, typed="\n".join(typed) + "\n")
    assert done.exit_code == 0, done.output
    assert "'7' is no number of a device" in done.output
    assert "'many' is no number of watts" in done.output
    home = load_household(path)
    assert [(entry.id, entry.nominal_w) for entry in home.devices] == [("shellyplug-s-376d1f", 1500)]
    assert told[0] == ("https://vtn.example:8444", "AA:BB", path.parent / "vtn-ca.pem")
    assert told[1][:3] == ("6YQR-EKSA", "https://vtn.example:8444", path.parent / "vtn-ca.pem")


def test_what_is_there_is_left_alone(at):
    path, words = at
    path.write_text("mine")
    done = setup(*words, "--yes")
    assert done.exit_code == 1
    assert "is there already" in done.output
    assert path.read_text() == "mine"


def test_enrolment_needs_all_of_its_words(at):
    path, words = at
    done = setup(*words, "--yes", "--vtn", "https://vtn.example:8444")
    assert done.exit_code == 1
    assert "needs all of --vtn, --sha256 and --code" in done.output
    assert not path.exists()
